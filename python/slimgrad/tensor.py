"""Tensors from arrays."""

from __future__ import annotations

import numpy as np

from ._core import Error, f32, f64


def tensor(value, dtype=None):
    """A tensor of `value`: an array, a tensor, or nested lists of numbers.

    Arrays of float32 and float64 keep their dtype, and their memory is shared: no copy is made
    unless the array is read-only, misaligned or not in row-major order. Lists become float32, and
    `dtype` ("float32" or "float64") converts integers, booleans and numbers of other precisions.

    Raises sg.Error for arrays of another dtype, as integers, and for what is no number: None, text,
    complex numbers, lists of unequal lengths. A number too large for the dtype is an error too.
    """
    if isinstance(value, (f32.Tensor, f64.Tensor)):
        array = np.asarray(value)
    elif hasattr(value, "__dlpack__") or hasattr(value, "__array__"):
        if dtype is None and not isinstance(value, np.ndarray):
            return from_dlpack(value)
        array = np.asarray(value)
    else:
        array = _numbers(value)
        dtype = dtype or np.float32
    if dtype is not None:
        array = _converted(array, dtype)
    if array.dtype == np.float32:
        return f32.tensor(array)
    if array.dtype == np.float64:
        return f64.tensor(array)
    raise Error(
        f"[tensor] expected float32 or float64 values, got {array.dtype}. "
        "Hint: x.astype('float32')"
    )


def _numbers(value):
    """Nested lists of numbers as an array."""
    try:
        array = np.asarray(value)
    except (TypeError, ValueError, OverflowError) as error:
        raise Error(f"[tensor] expected numbers in lists of equal lengths: {error}") from None
    if array.dtype.kind not in "iuf":
        what = type(value).__name__ if array.ndim == 0 else f"lists of dtype {array.dtype}"
        raise Error(f"[tensor] expected numbers, got {what}")
    return array


def _converted(array, dtype):
    """An array of numbers in another dtype."""
    try:
        dtype = np.dtype(dtype)
    except TypeError as error:
        raise Error(f"[tensor] expected dtype float32 or float64: {error}") from None
    if array.dtype == dtype:
        return array
    if array.dtype.kind not in "biuf":
        raise Error(f"[tensor] values of dtype {array.dtype} cannot become {dtype}")
    with np.errstate(over="ignore"):
        converted = array.astype(dtype)
    if dtype.kind == "f" and (np.isinf(converted) & np.isfinite(array)).any():
        raise Error(f"[tensor] values up to {np.abs(array).max():g} do not fit into {dtype}")
    return converted


def from_dlpack(array):
    """A tensor on the memory of any CPU array that speaks DLPack or the buffer protocol.

    Raises sg.Error for values other than float32 and float64.
    """
    kind = str(getattr(array, "dtype", "")).rpartition(".")[2]
    return (f64 if kind == "float64" else f32).tensor(array)
