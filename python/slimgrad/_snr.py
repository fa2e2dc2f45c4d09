"""Appendix C of INSTANT: the signal-to-noise ratio of a compressed g_x."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from . import _core
from .lab import precision_of

__all__ = ["SnrResult", "SnrSource", "snr"]

SnrSource = _core.f64.SnrSource


@dataclass(frozen=True)
class SnrResult:
    """The three ratios for one rank R and one scale α, and what they are made of.

    predicted = α² S / ((α−1)² S + N) is eq. 31; exact the same with S_w and N_w; measured eq. 20.
    """

    predicted: float
    exact: float
    measured: float
    interval: tuple[float, float]  # around measured, at the asked confidence
    samples: int
    rank: int  # R
    alpha: float  # α
    best_alpha: float  # 1 + N/S, which maximises eq. 31
    best_alpha_w: float  # 1 + N_w/S_w, which maximises the exact ratio
    S: float  # Σ_{i≤R} σ_i
    N: float  # Σ_{i>R} σ_i
    Sw: float  # Σ_{i≤R} w_i
    Nw: float  # Σ_{i>R} w_i
    sigma: NDArray[Any] = field(repr=False, compare=False)  # eigenvalues of C = E[g gᵀ], descending
    weighted: NDArray[Any] = field(repr=False, compare=False)  # w_i = tr(Wᵀ E[gᵀ u_i u_iᵀ g] W)


def snr(
    gy_samples: ArrayLike | SnrSource,
    w: ArrayLike | None = None,
    epsilon: float = 0.95,
    oversample: int = 0,
    offset: str = "paper",
    *,
    rank: int | None = None,
    alpha: float | None = None,
    side: str = "token",
    confidence: float = 0.99,
    samples: int = 10_000,
    draw: int = 0,
) -> SnrResult:
    """Signal-to-noise ratio of g_x = α Π g W against g W, with Π on R leading directions of g.

    gy_samples: g of shape (samples, L, Cy), with w (Cy, Cx), both float32 or both float64. All
    samples make C = E[g gᵀ], the covariance of `exact` and the measurement, so exact and measured
    agree to rounding, and both differ from predicted by what Appendix C assumes.

    Or gy_samples is a sg.SnrSource: then predicted and exact are those of its population, and
    measured takes `samples` fresh draws (of the stream `draw`).

    R: by epsilon on squared eigenvalues, plus oversample; or `rank`. α: by offset, which is paper
    (1/ε), none (1), energy (1/e) or signal (1/e₁, the best for eq. 31); or `alpha`.

    Raises sg.Error for unknown words, values out of range, shapes that do not fit and values that
    are not finite.

    >>> s = sg.snr(g, w, epsilon=0.95)
    >>> s.predicted, s.exact, s.measured, s.interval
    """
    options = (epsilon, oversample, rank, offset, alpha, side, confidence)
    if isinstance(gy_samples, SnrSource):
        if w is not None:
            raise _core.Error("[snr] a source brings its own w; leave w out")
        values = _core.f64.snr_of_source(gy_samples, samples, draw, *options)
    else:
        if w is None:
            raise _core.Error("[snr] expected w of shape (Cy, Cx) beside the samples")
        half = precision_of(gy_samples, "snr")
        values = half.snr_of_samples(gy_samples, w, *options)
    values["sigma"] = np.asarray(values["sigma"])
    values["weighted"] = np.asarray(values["weighted"])
    return SnrResult(**values)
