"""INSTANT's options beyond the paper against the same mathematics in NumPy, by sg.lab.linear."""

import numpy as np
import pytest

import slimgrad as sg


@pytest.fixture
def problem():
    """x, w, gy; rows of gy of very different size, one of nothing."""
    rng = np.random.default_rng(3)
    gy = rng.standard_normal((6, 12, 7)) / (1 + np.arange(12)[:, None] ** 2)
    gy[:, 4] = 0
    return rng.standard_normal((6, 12, 10)), rng.standard_normal((7, 10)), gy


def eigenvectors(c):
    values, vectors = np.linalg.eigh(c)
    return values[::-1], vectors.T[::-1]


@pytest.mark.parametrize("rank", [1, 3, 8])
def test_weighted_rows(problem, rank):
    x, w, gy = problem
    r = sg.lab.linear(
        x, w, gy, method="compress-x", weight_rows=True, rank_x=rank, side="token", offset="none"
    )
    d = np.sqrt((gy**2).sum((0, 2)))
    _, vectors = eigenvectors(np.einsum("l,blc,bmc,m->lm", d, x, x, d))
    p = vectors[:rank]
    with np.errstate(divide="ignore"):
        inverse = np.where(d > 0, 1 / d, 0)
    gw = np.einsum("rl,blo,rm,bmc->oc", p * inverse, gy, p * d, x)
    np.testing.assert_allclose(r.gw, gw, atol=1e-10 * np.abs(gw).max())
    np.testing.assert_allclose(r.gx, gy @ w, atol=1e-12)


@pytest.mark.parametrize("budget", [0.35, 0.5, 0.8, 1])
def test_a_budget_buys_the_directions_that_hold_most(problem, budget):
    x, w, gy = problem
    r = sg.lab.linear(x, w, gy, method="instant", budget=budget, side="token", offset="none")
    spectra = [eigenvectors(np.einsum("blc,bmc->lm", a, a))[0] for a in (x, gy)]
    shares = np.concatenate([s / s.sum() for s in spectra])
    # Both slots cost the same for a direction: R / R* of the exact product.
    tokens, cx, cy = 12, 10, 7
    break_even = tokens * cx * cy / (tokens * cx + tokens * cy + cx * cy)
    count = int(budget * 2 * break_even)
    more = [i for i in np.argsort(-shares) if i % tokens][: count - 2]
    assert r.rank_x == 1 + sum(i < tokens for i in more) and r.rank_g == count - r.rank_x
    exact = 2 * 2 * x.shape[0] * tokens * cx * cy
    assert r.flops["compress"] + r.flops["g_w"] + r.flops["g_x"] <= budget * exact


def test_a_complement_is_unbiased(problem):
    x, w, gy = problem
    draws = [
        sg.lab.linear(x, w, gy, method="instant", rank_x=3, rank_g=2, complement=2, side="token", seed=seed)
        for seed in range(400)
    ]
    for found, exact in [
        ([r.gx for r in draws], gy @ w),
        ([r.gw for r in draws], np.einsum("blo,blc->oc", gy, x)),
    ]:
        found = np.array(found)
        error = found.std(0) / np.sqrt(len(draws))
        assert np.all(np.abs(found.mean(0) - exact) < 5 * error + 1e-12)
