"""Data sets, batches and safetensors files, in double."""

from .._core import image_data_names as names
from .._core.f64 import Batch, ImageData, ImageSplits, Loader, load_safetensors, save_safetensors
from .._core.f64 import load_images as load

__all__ = [
    "Batch",
    "ImageData",
    "ImageSplits",
    "Loader",
    "load",
    "load_safetensors",
    "names",
    "save_safetensors",
]
