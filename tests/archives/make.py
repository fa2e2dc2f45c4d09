#!/usr/bin/env python3
"""Makes the files of this folder: MATLAB's in the layout of those of Oxford's 102 flowers (pip install scipy), and an
archive with a sparse file (GNU tar)."""
import gzip
import pathlib
import subprocess
import tempfile

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

with tempfile.TemporaryDirectory() as folder:
    with open(pathlib.Path(folder, "sparse"), "wb") as file:
        file.seek(8192)
        file.write(b"x" * 4096)
        file.truncate(20000)
    tar = subprocess.run(["tar", "--sparse", "--mtime=@0", "--owner=0", "--group=0", "--numeric-owner", "-cf", "-", "sparse"],
                         cwd=folder, check=True, capture_output=True).stdout
    (here / "sparse.tar.gz").write_bytes(gzip.compress(tar, mtime=0))
