"""The laboratory: one linear layer differentiated once, with all that came out of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from . import _core
from ._core import Error

__all__ = ["LinearResult", "Quantised", "allocate_bits", "linear", "quantise"]


@dataclass(frozen=True, repr=False)
class LinearResult:
    """What one forward and one backward of a linear layer made, kept and cost.

    Counts are those of the library's meter and ledger, for the whole batch.
    """

    y: NDArray[Any]  # (B, L, Cy)
    gx: NDArray[Any]  # (B, L, Cx)
    gw: NDArray[Any]  # (Cy, Cx)
    gb: NDArray[Any] | None  # (Cy,); None without a bias
    P: NDArray[Any] | None  # (rank_x, n), scaled as it is used; None where x is not compressed
    Q: NDArray[Any] | None  # (rank_g, n); None where gy is not compressed
    U: NDArray[Any] | None  # (B, L, R): the basis of each sample's gy (sketch; orthonormal columns on the token side)
    kept: float | None  # the share of all gy² that the sketch holds
    rank_x: int | None
    rank_g: int | None
    side_x: str | None  # "token" or "channel"
    side_g: str | None
    saved_bytes: int  # held between forward and backward
    projector_bytes: int  # P and Q
    flops: dict[str, int]  # forward, compress, g_w, g_x
    calibrate_flops: int  # all that made P and Q

    def __repr__(self) -> str:
        ranks = f"rank_x={self.rank_x}, rank_g={self.rank_g}"
        return f"LinearResult({ranks}, saved_bytes={self.saved_bytes}, flops={self.flops})"


def precision_of(array: ArrayLike, where: str) -> Any:
    """The half of the library that computes in the dtype of an array."""
    try:
        dtype = np.dtype(getattr(array, "dtype", None) or np.asarray(array).dtype)
    except (TypeError, ValueError) as error:
        raise Error(f"[{where}] expected an array of float32 or float64: {error}") from None
    if dtype == np.float32:
        return _core.f32
    if dtype == np.float64:
        return _core.f64
    raise Error(f"[{where}] expected float32 or float64 values, got {dtype}")


def linear(
    x: ArrayLike,
    w: ArrayLike,
    gy: ArrayLike,
    method: str = "instant",
    calibration: Sequence[tuple[ArrayLike, ArrayLike]] | None = None,
    epsilon: float = 0.95,
    oversample: int = 5,
    rank_x: int | None = None,
    rank_g: int | None = None,
    side: str = "token",
    side_x: str | None = None,
    side_g: str | None = None,
    offset: str = "energy",
    bias: ArrayLike | None = None,
    grid: tuple[int, int] | None = None,
    seed: int = 0,
    **options: Any,
) -> LinearResult:
    """Differentiates one linear layer y = x Wᵀ + b, in the library's own tape, layer and rules.

    x: (B, L, Cx), w: (Cy, Cx), gy: (B, L, Cy), bias: (Cy,); all float32, or all float64 for the
    double build of the library.

    calibration: pairs (x0, gy0) from which the projectors are made, as if each were one batch.
    Without it the layer is calibrated on (x, gy) itself: the best that the subspaces can do.

    method: one of sg.method_names(). epsilon: share of the energy Σ σᵢ² that the
    ranks keep; oversample: directions added to that; rank_x, rank_g: fix the ranks instead. side:
    token, channel or auto (the shorter axis of each slot); side_x, side_g: of one slot only.
    offset: none, energy or signal. grid: (h, w) of the tokens, for methods that treat them as an
    image; tokens before them (a class token) are those that are more than h·w. seed: of methods
    that draw. options: the method's own, as in `slimgrad info --methods`.

    It always compresses as asked, also a single token, a full rank or one beyond break-even. Raises
    sg.Error for unknown words, values out of range, shapes that do not fit and values that are not
    finite.

    >>> r = sg.lab.linear(x, w, gy, method="instant", rank_x=4, rank_g=4)
    >>> r.gw, r.saved_bytes, r.flops["g_w"]
    """
    half = precision_of(x, "lab.linear")
    values = half.lab_linear(
        x, w, gy, method, calibration, bias,
        epsilon=epsilon, oversample=oversample, rank_x=rank_x, rank_g=rank_g,
        side=side, side_x=side_x, side_g=side_g,
        offset=offset, grid=grid, seed=seed, **options,
    )  # fmt: skip
    return LinearResult(**values)


@dataclass(frozen=True)
class Quantised:
    """A value that was kept in few bits."""

    value: NDArray[Any]  # what comes back
    variance: NDArray[Any]  # of each element of it, over all roundings
    saved_bytes: int  # codes, and two numbers for each scale


def quantise(
    x: ArrayLike,
    bits: int = 4,
    scales: str = "group",
    group_size: int = 256,
    seed: int = 0,
    purpose: str = "quantise",
    step: int = 0,
) -> Quantised:
    """Keeps a value in 1, 2, 4 or 8 bits an element, by stochastic rounding (GACT), and gives it back.

    x: (B, ...), float32 or float64. Elements that share a scale lie between their least and their
    largest value. scales: "group" (so many in the order of memory, within a sample), "token" (a row
    of (L, C), a pixel of (C, H, W)) or "channel". Sample b is rounded by sg.Stream(seed, purpose,
    step, b), two draws of 16 bits a word.

    Raises sg.Error for other words and for values that are not finite.

    >>> q = sg.lab.quantise(x, bits=2)
    >>> abs(q.value - x).max(), q.saved_bytes
    """
    half = precision_of(x, "lab.quantise")
    return Quantised(**half.lab_quantise(x, str(bits), scales, group_size, seed, purpose, step))


def allocate_bits(values: dict[str, tuple[int, float]], average: float) -> dict[str, int]:
    """Bits for kept values, so many on average over all elements, as GACT chooses them.

    values: by name, how many elements, and the sensitivity c: b bits add c / (2^b - 1)² to the
    variance of the gradient. Bits are 32, 8, 4, 2 or 1.

    >>> sg.lab.allocate_bits({"q": (1000, 4.0), "x": (4000, 0.1)}, average=3)
    """
    bits: dict[str, int] = _core.f32.lab_allocate_bits(values, average)
    return bits
