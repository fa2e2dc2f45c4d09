"""One linear layer under INSTANT, written a second time from the formulas of the paper.

It shares no code with slimgrad, follows no architecture and saves no work: every projection is a
dense matrix, every count a closed form. It exists to disagree with the library when one of the two
is wrong.

    y = x Wᵀ + b      x (B, L, Cx), W (Cy, Cx), g = g_y (B, L, Cy)
    g_w = Σ_b g_bᵀ x_b,  g_x = g W,  g_b = Σ g      (vanilla)

A compressed x slot replaces x by Π x in g_w, a compressed g slot replaces g by Π g in g_x, with
Π = Σ_{i ≤ R} u_i u_iᵀ / e on the axis that is compressed.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass
class Subspace:
    """A projection on R directions, divided by the share that the offset makes up for."""

    side: str
    rank: int
    dense: np.ndarray  # PᵀP: (n, n)
    gap: float  # (σ_R - σ_{R+1}) / σ_1: how well the subspace is determined
    margin: float  # distance of the kept shares from epsilon: how well the rank is determined


@dataclass
class Reference:
    y: np.ndarray
    gx: np.ndarray
    gw: np.ndarray
    gb: np.ndarray | None
    x_slot: Subspace | None
    g_slot: Subspace | None
    saved_numbers: int
    flops: dict[str, int]


def subspace(samples, side, epsilon, oversample, rank, offset) -> Subspace:
    """The leading eigenvectors of Σ_b s_b s_bᵀ (token side) or Σ_b s_bᵀ s_b (channel side)."""
    if side == "auto":
        tokens, channels = samples[0].shape[1:]
        side = "token" if tokens <= channels else "channel"
    product = "blc,bmc->lm" if side == "token" else "blc,bld->cd"
    gram = sum(np.einsum(product, s, s) for s in samples)
    sigma, vectors = np.linalg.eigh(gram)
    sigma, vectors = np.maximum(sigma[::-1], 0.0), vectors[:, ::-1]

    n = len(sigma)
    energy = np.cumsum(sigma**2) / (np.sum(sigma**2) or 1.0)
    margin = float("inf")
    if rank is not None:
        kept = min(rank, n)
    elif epsilon == 1.0:
        kept = n
    else:
        k = next((i + 1 for i in range(n) if energy[i] >= epsilon), 1)
        kept = min(k + oversample, n)
        margin = float(np.min(np.abs(energy - epsilon)))

    powers = {"none": None, "energy": 2, "signal": 1}[offset]
    share = 1.0
    if powers is not None and sigma[0] > 0:
        share = np.sum(sigma[:kept] ** powers) / np.sum(sigma**powers)
    u = vectors[:, :kept]
    gap = (sigma[kept - 1] - sigma[kept]) / (sigma[0] or 1.0) if kept < n else float("inf")
    return Subspace(side, kept, u @ u.T / share, float(gap), margin)


def apply(space: Subspace | None, samples):
    if space is None:
        return samples
    if space.side == "token":
        return np.einsum("lm,bmc->blc", space.dense, samples)
    return np.einsum("blc,cd->bld", samples, space.dense)


def linear(
    x,
    w,
    gy,
    method,
    calibration,
    epsilon=0.95,
    oversample=0,
    rank_x=None,
    rank_g=None,
    side_x="token",
    side_g="token",
    offset="energy",
    bias=None,
) -> Reference:
    x, w, gy = (np.asarray(a, dtype=np.float64) for a in (x, w, gy))
    pairs = [tuple(np.asarray(a, dtype=np.float64) for a in pair) for pair in calibration]
    batch, tokens, cx = x.shape
    cy = w.shape[0]

    x_slot = g_slot = None
    if method in ("compress-x", "instant"):
        x_slot = subspace([p[0] for p in pairs], side_x, epsilon, oversample, rank_x, offset)
    if method in ("compress-gy", "instant"):
        g_slot = subspace([p[1] for p in pairs], side_g, epsilon, oversample, rank_g, offset)

    y = np.einsum("blc,oc->blo", x, w)
    if bias is not None:
        y = y + np.asarray(bias, dtype=np.float64)

    exact = 2 * batch * tokens * cx * cy
    flops = {"forward": exact, "compress": 0, "g_w": exact, "g_x": exact}
    saved = batch * tokens * cx
    if x_slot:
        r = x_slot.rank
        flops["compress"] = batch * 2 * r * tokens * cx
        if x_slot.side == "token":
            flops["g_w"] = batch * (2 * r * tokens * cy + 2 * r * cx * cy)
            saved = batch * r * cx
        else:
            flops["g_w"] = batch * 2 * tokens * cy * r + 2 * r * cx * cy
            saved = batch * tokens * r
    if g_slot:
        r = g_slot.rank
        if g_slot.side == "token":
            flops["g_x"] = batch * (2 * r * tokens * cy + 2 * r * cy * cx + 2 * r * tokens * cx)
        else:
            flops["g_x"] = batch * (2 * tokens * cy * r + 2 * tokens * r * cx) + 2 * r * cx * cy

    return Reference(
        y=y,
        gx=np.einsum("blo,oc->blc", apply(g_slot, gy), w),
        gw=np.einsum("blo,blc->oc", gy, apply(x_slot, x)),
        gb=None if bias is None else gy.sum(axis=(0, 1)),
        x_slot=x_slot,
        g_slot=g_slot,
        saved_numbers=saved,
        flops=flops,
    )
