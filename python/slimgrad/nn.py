"""Layers, in float32; `sg.float64.nn` has the same in double."""

from ._core import f32 as _half
from ._core.f32 import (
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
from ._modules import prepare as _prepare

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
