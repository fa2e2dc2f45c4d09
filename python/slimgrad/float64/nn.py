"""Layers, in double."""

from .._core import f64 as _half
from .._core.f64 import (
    AvgPool2d,
    BatchNorm1d,
    BatchNorm2d,
    Conv2d,
    Dropout,
    Embedding,
    Flatten,
    GELU,
    GlobalAvgPool2d,
    LayerNorm,
    Linear,
    LinearMap,
    MaxPool2d,
    Module,
    MultiHeadAttention,
    Parameter,
    ReLU,
    Sequential,
    SiLU,
    Softmax,
)
from .._modules import prepare as _prepare

_prepare(_half)

__all__ = [
    "AvgPool2d",
    "BatchNorm1d",
    "BatchNorm2d",
    "Conv2d",
    "Dropout",
    "Embedding",
    "Flatten",
    "GELU",
    "GlobalAvgPool2d",
    "LayerNorm",
    "Linear",
    "LinearMap",
    "MaxPool2d",
    "Module",
    "MultiHeadAttention",
    "Parameter",
    "ReLU",
    "Sequential",
    "SiLU",
    "Softmax",
]
