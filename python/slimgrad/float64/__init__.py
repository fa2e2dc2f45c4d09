"""The package in double precision: `sg.float64.nn.Linear(3, 4, seed=0)`, `sg.float64.Tape()`.

Functions that tell the precision by their arguments (`sg.matmul`, `sg.cross_entropy`,
`sg.optim.AdamW`, `sg.gradcheck`, ...) are those of `sg` itself.
"""

from .._core.f64 import Calibrator, Tape, Tensor, Var, normal, uniform, zeros
from ..measure import Ledger as _Ledger
from ..measure import Meter as _Meter
from . import data, models, nn

meter = _Meter("float64")
ledger = _Ledger("float64")

__all__ = [
    "Calibrator",
    "Tape",
    "Tensor",
    "Var",
    "data",
    "ledger",
    "meter",
    "models",
    "nn",
    "normal",
    "uniform",
    "zeros",
]
