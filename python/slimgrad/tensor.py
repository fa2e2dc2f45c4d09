"""Tensors from arrays."""

from __future__ import annotations

import numpy as np

from ._core import Error, f32, f64


def tensor(value, dtype=None):
    """A tensor of `value`: an array, a tensor, or nested lists of numbers.

    Arrays of float32 and float64 keep their dtype, and their memory is shared: no copy is made
    unless the array is read-only, misaligned or not in row-major order. Lists become float32, and
    `dtype` ("float32" or "float64") converts anything.

    Raises sg.Error for arrays of another dtype, as integers.
    """
    if isinstance(value, (f32.Tensor, f64.Tensor)):
        array = np.asarray(value)
    elif hasattr(value, "__dlpack__") or hasattr(value, "__array__"):
        if dtype is None and not isinstance(value, np.ndarray):
            return from_dlpack(value)
        array = np.asarray(value)
    else:
        array = np.asarray(value, dtype=dtype or np.float32)
    if dtype is not None:
        array = array.astype(dtype, copy=False)
    if array.dtype == np.float32:
        return f32.tensor(array)
    if array.dtype == np.float64:
        return f64.tensor(array)
    raise Error(
        f"[tensor] expected float32 or float64 values, got {array.dtype}. "
        "Hint: x.astype('float32')"
    )


def from_dlpack(array):
    """A tensor on the memory of any CPU array that speaks DLPack or the buffer protocol.

    Raises sg.Error for values other than float32 and float64.
    """
    kind = str(getattr(array, "dtype", "")).rpartition(".")[2]
    return (f64 if kind == "float64" else f32).tensor(array)
