#!/usr/bin/env python3
"""Makes the MATLAB files of this folder, in the layout of those of Oxford's 102 flowers (pip install scipy)."""
import pathlib

import numpy as np
from scipy.io import savemat

here = pathlib.Path(__file__).parent
labels = {"labels": np.array([[2, 1, 2, 1, 2, 102]], dtype=np.uint8)}
savemat(here / "imagelabels.mat", labels, do_compression=True)
savemat(here / "setid.mat", {
    "trnid": np.array([[1, 2]], dtype=np.uint16),
    "valid": np.array([[6]], dtype=np.uint16),
    "tstid": np.array([[3, 4, 5]], dtype=np.uint16),
}, do_compression=True)
numbers = [-3, 0, 40_000, 123_456]
savemat(here / "kinds.mat", {
    "int8": np.array([[-3, 7]], dtype=np.int8),
    "int32": np.array([numbers], dtype=np.int32),
    "float64": np.array([numbers], dtype=np.float64),
}, do_compression=False)
savemat(here / "fraction.mat", {"x": np.array([[0.5]])})
savemat(here / "text.mat", {"x": "hello"})
