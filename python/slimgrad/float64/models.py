"""The named models, in double."""

from .._core import model_names as names
from .._core import select_train_blocks
from .._core.f64 import BlockModel
from .._core.f64 import make_model as make

__all__ = ["BlockModel", "make", "names", "select_train_blocks"]
