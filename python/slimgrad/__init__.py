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
from . import data, float64, lab, models, nn, optim
from ._core import (
    Error,
    adapt,
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
from ._core.f32 import Calibrator, Tape, Tensor, Var, normal, random_words, uniform, zeros
from ._cost import Document, cost
from ._snr import SnrResult, SnrSource, snr
from ._trace import trace
from .function import BackwardRule, Function
from .gradcheck import gradcheck
from .measure import Ledger, Meter, count, layer, phase
from .methods import Option, method_names, register_method
from .runs import compare, report, run_options, train
from .tensor import from_dlpack, tensor

__version__ = info()["version"]

Error.__module__ = "slimgrad"

meter = Meter("float32")
ledger = Ledger("float32")

__all__ = [
    "BackwardRule",
    "Calibrator",
    "Error",
    "Function",
    "Ledger",
    "Meter",
    "Option",
    "Tape",
    "Tensor",
    "Var",
    "adapt",
    "clip_grad_norm",
    "compare",
    "concat",
    "count",
    "cross_entropy",
    "data",
    "eigh",
    "exp",
    "float64",
    "from_dlpack",
    "get_num_threads",
    "gradcheck",
    "identical",
    "info",
    "layer",
    "ledger",
    "linear_forward",
    "linear_gw",
    "linear_gx",
    "linear_maps",
    "log",
    "matmul",
    "matmul_sum",
    "mean",
    "meter",
    "method_names",
    "models",
    "mse",
    "nn",
    "normal",
    "optim",
    "phase",
    "pow",
    "random_words",
    "register_method",
    "report",
    "reshape",
    "run_options",
    "set_num_threads",
    "slice",
    "softmax",
    "sqrt",
    "sum",
    "sum_rows",
    "sum_squares",
    "tanh",
    "tensor",
    "trace",
    "train",
    "transpose",
    "uniform",
    "zeros",
]
