"""slimgrad: low-rank backpropagation, to read, to measure, to trust.

    import slimgrad as sg

    model = sg.models.make("vit-micro", channels=1, height=28, width=28)
    tape = sg.Tape()
    loss = sg.cross_entropy(model(tape.constant(images)), labels)
    tape.backward(loss)

Everything here computes in float32; `sg.float64` is the same package in double. Functions such as
`sg.matmul` take either and tell by their arguments.
"""

from . import _load  # noqa: F401  (first: it loads the compiled part)
from . import data, float64, models, nn, optim
from ._core import (
    Error,
    clip_grad_norm,
    concat,
    cross_entropy,
    eigh,
    exp,
    get_num_threads,
    identical,
    info,
    linear_forward,
    linear_gw,
    linear_gx,
    linear_maps,
    log,
    matmul,
    matmul_sum,
    mean,
    mse,
    pow,
    reshape,
    set_num_threads,
    slice,
    softmax,
    sqrt,
    sum,
    sum_rows,
    sum_squares,
    tanh,
    transpose,
)
from ._core.f32 import Calibrator, Tape, Tensor, Var, normal, uniform, zeros
from .function import BackwardRule, Function
from .gradcheck import gradcheck
from .measure import Ledger, Meter, count, layer, phase
from .runs import compare, report, run_options, train
from .tensor import from_dlpack, tensor

__version__ = info()["version"]

meter = Meter("float32")
ledger = Ledger("float32")

__all__ = [name for name in dir() if not name.startswith("_") and name not in ("function", "measure", "runs")]
