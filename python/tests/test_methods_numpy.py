"""Methods of the table against the same formulas in NumPy, written from their papers."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

import slimgrad as sg

SIDES = ["token", "channel", "auto"]
SHAPES = [(3, 7, 5, 9), (2, 8, 8, 8), (4, 5, 12, 3), (1, 19, 6, 11)]  # (B, L, Cx, Cy)


def problem(shape, seed=0):
    batch, tokens, cx, cy = shape
    rng = np.random.default_rng([seed, *shape])
    draw = rng.standard_normal
    return draw((batch, tokens, cx)), draw((cy, cx)), draw((batch, tokens, cy)), draw(cy)


def close(actual, expected, what):
    assert actual.shape == expected.shape, what
    assert np.abs(actual - expected).max() <= 1e-10 * max(np.abs(expected).max(), 1e-300), what


def on_axis(pi, samples, side):
    """Multiplies the tokens or the channels of (B, L, C) by the symmetric matrix `pi`."""
    return np.einsum("lm,bmc->blc" if side == "token" else "mc,blm->blc", pi, samples)


def chosen(side, tokens, channels):
    side = side if side != "auto" else "token" if tokens <= channels else "channel"
    return side, tokens if side == "token" else channels


# --- random: P and Q are Gaussian, N(0, 1/R)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_random(shape):
    x, w, gy, bias = problem(shape)
    batch, tokens, cx, cy = shape
    for side_x, side_g, rank in itertools.product(SIDES, SIDES, (1, 3, 999)):
        what = f"{shape} {side_x} {side_g} {rank}"
        r = sg.lab.linear(
            x, w, gy, method="random", side_x=side_x, side_g=side_g, rank=rank, seed=3, bias=bias
        )
        on_x, n_x = chosen(side_x, tokens, cx)
        on_g, n_g = chosen(side_g, tokens, cy)
        assert r.P.shape == (min(rank, n_x), n_x) and r.Q.shape == (min(rank, n_g), n_g), what
        assert (r.side_x, r.side_g) == (on_x, on_g), what
        close(r.y, np.einsum("blc,oc->blo", x, w) + bias, f"y: {what}")
        projected = on_axis(r.P.T @ r.P, x, on_x)
        close(r.gw, np.einsum("blo,blc->oc", gy, projected), f"gw: {what}")
        close(r.gx, np.einsum("blo,oc->blc", on_axis(r.Q.T @ r.Q, gy, on_g), w), f"gx: {what}")
        close(r.gb, gy.sum(axis=(0, 1)), f"gb: {what}")

        rx, rg = len(r.P), len(r.Q)
        once_x, once_g = 2 * rx * cx * cy, 2 * rg * cx * cy  # on the channel side once a batch
        assert r.saved_bytes == 8 * batch * rx * (cx if on_x == "token" else tokens), what
        assert (r.projector_bytes, r.calibrate_flops) == (0, 0), what
        assert r.flops == {
            "forward": 2 * batch * tokens * cx * cy,
            "compress": 2 * batch * rx * tokens * cx,
            "g_w": 2 * batch * rx * tokens * cy + once_x * (batch if on_x == "token" else 1),
            "g_x": 2 * batch * rg * tokens * (cx + cy) + once_g * (batch if on_g == "token" else 1),
        }, what


def test_random_draws_by_its_seed_with_the_variance_it_says():
    x, w, gy, _ = problem((1, 64, 64, 64))
    linear = lambda seed, **o: sg.lab.linear(x, w, gy, method="random", seed=seed, **o)  # noqa: E731
    a, again, b = linear(1, rank=32), linear(1, rank=32), linear(2, rank=32)
    assert np.array_equal(a.gw, again.gw) and np.array_equal(a.P, again.P)
    assert not np.array_equal(a.P, b.P) and not np.array_equal(a.P, a.Q)
    for basis in (a.P, a.Q, b.P, b.Q):  # 2048 entries: standard errors of 0.022 and 0.031
        scaled = basis * np.sqrt(32)
        assert abs(scaled.mean()) < 0.1 and abs(scaled.var() - 1) < 0.14
    assert linear(1).rank_x == 16 and linear(1, ratio=2).rank_g == 32
    assert linear(1, rank=32, rank_x=5).rank_x == 5
    for bad in ({"rank": 0}, {"ratio": 0}, {"redraw_every": -1}, {"rank": 1.5}):
        with pytest.raises(sg.Error, match=next(iter(bad))):
            linear(1, **bad)


def test_random_is_right_on_average_only():
    x, w, gy, _ = problem((2, 5, 4, 3))
    exact = sg.lab.linear(x, w, gy, method="vanilla")
    for side in ("token", "channel"):
        draws = [
            sg.lab.linear(x, w, gy, method="random", rank=999, side=side, seed=seed)
            for seed in range(3000)
        ]
        for name in ("gw", "gx"):
            truth = getattr(exact, name)
            values = np.array([getattr(r, name) for r in draws])
            z = (values.mean(0) - truth) / (values.std(0) / np.sqrt(len(values)))
            assert np.abs(z).max() < 5 and np.mean(z**2) < 2.5, (side, name)
            assert values.std(0).mean() > 0.2 * np.abs(truth).mean(), "full rank is not exact"


# --- ESPACE: x is projected on the leading eigenvectors of C_X, in forward too


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_espace(shape):
    batch, tokens, cx, cy = shape
    x, w, gy, bias = problem(shape)
    pairs = [problem((24, tokens, cx, cy), seed)[0:3:2] for seed in (1, 2)]
    for side, rank in itertools.product(SIDES, (1, 2, None, 999)):
        what = f"{shape} {side} {rank}"
        options = {} if rank is None else {"rank": rank}
        r = sg.lab.linear(
            x, w, gy, method="espace", calibration=pairs, side=side, bias=bias, **options
        )
        on, n = chosen(side, tokens, cx)
        kept = min(rank or max(n // 4, 1), n)
        product = "blc,bmc->lm" if on == "token" else "blc,bld->cd"
        gram = sum(np.einsum(product, x0, x0) for x0, _ in pairs)
        u = np.linalg.eigh(gram)[1][:, ::-1][:, :kept]
        pi = u @ u.T
        close(r.P.T @ r.P, pi, f"P: {what}")
        assert r.Q is None and r.rank_x == kept and r.rank_g is None, what
        projected = on_axis(pi, x, on)
        close(r.y, np.einsum("blc,oc->blo", projected, w) + bias, f"y: {what}")
        close(r.gw, np.einsum("blo,blc->oc", gy, projected), f"gw: {what}")
        close(r.gx, on_axis(pi, np.einsum("blo,oc->blc", gy, w), on), f"gx: {what}")
        close(r.gb, gy.sum(axis=(0, 1)), f"gb: {what}")

        with_w = 2 * kept * cx * cy * (batch if on == "token" else 1)
        back = cx if on == "token" else cx + cy  # on the token side P g is there already
        assert r.saved_bytes == 8 * batch * kept * (cx if on == "token" else tokens), what
        assert r.projector_bytes == 8 * kept * n, what
        assert r.flops == {
            "forward": 2 * batch * kept * tokens * (cx + cy) + with_w,
            "compress": 0,
            "g_w": 2 * batch * kept * tokens * cy + with_w,
            "g_x": 2 * batch * kept * tokens * back + with_w,
        }, what


def test_espace_at_full_rank_is_vanilla():
    x, w, gy, _ = problem((3, 7, 5, 9))
    exact = sg.lab.linear(x, w, gy, method="vanilla")
    for side in ("token", "channel"):
        full = sg.lab.linear(x, w, gy, method="espace", ratio=1, side=side)
        for name in ("y", "gw", "gx"):
            close(getattr(full, name), getattr(exact, name), f"{side} {name}")
