"""sg.snr against Appendix C written with NumPy."""

from __future__ import annotations

import numpy as np
import pytest

import slimgrad as sg


def problem(dtype=np.float64, samples=200, tokens=9, cy=12, cx=5):
    rng = np.random.default_rng(3)
    mix = np.linalg.qr(rng.standard_normal((tokens, tokens)))[0] * 0.7 ** np.arange(tokens)
    g = mix @ rng.standard_normal((samples, tokens, cy)) @ np.diag(0.8 ** np.arange(cy))
    return g.astype(dtype), rng.standard_normal((cy, cx)).astype(dtype)


def appendix_c(g, w, epsilon, oversample, offset, side):
    """R, α, predicted, exact and measured, each from its definition with dense matrices."""
    g, w = g.astype(np.float64), w.astype(np.float64)
    product = "blc,bmc->lm" if side == "token" else "blc,bld->cd"
    sigma, u = np.linalg.eigh(np.einsum(product, g, g) / len(g))
    sigma, u = np.maximum(sigma[::-1], 0), u[:, ::-1]
    share = np.cumsum(sigma**2) / np.sum(sigma**2)
    rank = min(int(np.argmax(share >= epsilon)) + 1 + oversample, len(sigma))
    alpha = {
        "paper": 1 / epsilon,
        "none": 1.0,
        "energy": np.sum(sigma**2) / np.sum(sigma[:rank] ** 2),
        "signal": np.sum(sigma) / np.sum(sigma[:rank]),
    }[offset]
    signal, noise = np.sum(sigma[:rank]), np.sum(sigma[rank:])
    kept = u[:, :rank] @ u[:, :rank].T
    project = "lm,bmc->blc" if side == "token" else "cd,bld->blc"
    gx, kept_gx = g @ w, np.einsum(project, kept, g) @ w
    signal_w = np.sum(kept_gx**2) / len(g)
    noise_w = np.sum((gx - kept_gx) ** 2) / len(g)
    return {
        "rank": rank,
        "alpha": alpha,
        "predicted": alpha**2 * signal / ((alpha - 1) ** 2 * signal + noise),
        "exact": alpha**2 * signal_w / ((alpha - 1) ** 2 * signal_w + noise_w),
        "measured": np.sum((alpha * kept_gx) ** 2) / np.sum((gx - alpha * kept_gx) ** 2),
    }


@pytest.mark.parametrize("side", ["token", "channel"])
@pytest.mark.parametrize("offset", ["paper", "none", "energy", "signal"])
def test_formulas(side, offset):
    for dtype, tolerance in ((np.float64, 1e-10), (np.float32, 1e-4)):
        g, w = problem(dtype)
        for epsilon, oversample in ((0.7, 0), (0.95, 0), (0.95, 2)):
            s = sg.snr(g, w, epsilon=epsilon, oversample=oversample, offset=offset, side=side)
            expected = appendix_c(g, w, epsilon, oversample, offset, side)
            assert s.rank == expected.pop("rank")
            for name, value in expected.items():
                assert getattr(s, name) == pytest.approx(value, rel=tolerance), name
            assert s.interval[0] < s.measured < s.interval[1]
            assert s.samples == 200
            assert s.S + s.N == pytest.approx(np.sum(s.sigma), rel=1e-12)
            assert s.Sw + s.Nw == pytest.approx(np.sum(s.weighted), rel=1e-12)


def test_defaults_are_those_of_the_paper():
    g, w = problem()
    s = sg.snr(g, w)
    assert s.alpha == 1 / 0.95 and s == sg.snr(g, w, epsilon=0.95, oversample=0, offset="paper")


def test_alpha_and_rank_of_ones_own():
    g, w = problem()
    s = sg.snr(g, w, rank=4, alpha=1.5)
    assert (s.rank, s.alpha) == (4, 1.5)
    best = sg.snr(g, w, rank=4, alpha=s.best_alpha)
    assert best.predicted == pytest.approx((s.S + s.N) / s.N, rel=1e-12)


def test_a_separable_source_confirms_eq_31():
    hits = 0
    for seed in range(10):
        s = sg.snr(sg.SnrSource(seed=seed), samples=5000)
        assert s.predicted == pytest.approx(s.exact, rel=1e-9)
        hits += s.interval[0] <= s.predicted <= s.interval[1]
    assert hits >= 9


def test_a_source_that_is_not_separable_refutes_it():
    source = sg.SnrSource(separable=False, contrast=16, seed=1)
    s = sg.snr(source, offset="none", samples=5000)
    assert s.predicted / s.exact == pytest.approx(16, rel=1e-9)
    assert s.interval[0] <= s.exact <= s.interval[1] < s.predicted


def test_a_source_draws_the_samples_it_says():
    source = sg.SnrSource(seed=2)
    whole, part = source.draw(10), source.draw(4, first=6)
    assert whole.shape == (10, 12, 8) and np.array_equal(whole[6:], part)
    assert not np.array_equal(whole, source.draw(10, draw=1))
    assert source.w.shape == (8, 8)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"epsilon": 2.0}, "epsilon"),
        ({"offset": "papre"}, "unknown offset 'papre'.*paper"),
        ({"side": "auto"}, "side"),
        ({"w": np.zeros((5, 5))}, r"snr"),
        ({"w": None}, "w of shape"),
        ({"gy_samples": np.full((200, 9, 12), np.inf)}, "sample 0 .* inf"),
        ({"gy_samples": np.zeros((3, 2, 12), np.int64)}, "float32 or float64"),
    ],
)
def test_bad_input_is_named(change, message):
    g, w = problem()
    with pytest.raises(sg.Error, match=message):
        sg.snr(**{"gy_samples": g, "w": w, **change})
