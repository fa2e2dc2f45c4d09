"""The sketch against the same mathematics in NumPy, by sg.lab.linear."""

import numpy as np
import pytest

import slimgrad as sg

SHAPES = [(3, 12, 10, 7), (2, 5, 9, 14), (1, 1, 4, 3)]


def problem(shape, rank=None):
    """x, w, gy; gy with singular values that fall, or of a rank."""
    batch, tokens, cx, cy = shape
    rng = np.random.default_rng([5, *shape])
    gy = rng.standard_normal((batch, tokens, cy))
    u, s, vh = np.linalg.svd(gy, full_matrices=False)
    s = s * 0.6 ** np.arange(s.shape[-1])
    if rank is not None:
        s[..., rank:] = 0
    gy = (u * s[:, None, :]) @ vh
    return rng.standard_normal((batch, tokens, cx)), rng.standard_normal((cy, cx)), gy


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("rank", [1, 3, 100])
@pytest.mark.parametrize("power", [0, 1])
def test_both_products_are_of_the_projected_gradient(shape, rank, power):
    x, w, gy = problem(shape)
    batch, tokens, cx, cy = shape
    r = sg.lab.linear(x, w, gy, method="sketch", rank=rank, power=power, side="token", seed=4)
    R = min(rank, tokens)
    assert r.U.shape == (batch, tokens, R) and r.rank_g == R and r.side_g == "token"
    np.testing.assert_allclose(
        np.einsum("blr,bls->brs", r.U, r.U), np.broadcast_to(np.eye(R), (batch, R, R)), atol=1e-12
    )
    low = r.U @ (r.U.transpose(0, 2, 1) @ gy)
    np.testing.assert_allclose(r.gx, low @ w, atol=1e-10 * np.abs(gy @ w).max())
    gw = np.einsum("blo,blc->oc", low, x)
    np.testing.assert_allclose(r.gw, gw, atol=1e-10 * np.abs(gw).max())
    np.testing.assert_allclose(r.kept, (low**2).sum() / (gy**2).sum(), rtol=1e-10)
    assert r.saved_bytes == 8 * x.size and r.projector_bytes == 0 and r.calibrate_flops == 0


def test_it_is_near_the_best_subspace_and_power_steps_help():
    x, w, gy = problem((4, 40, 10, 30))
    s = np.linalg.svd(gy, compute_uv=False)
    best = (s[:, :6] ** 2).sum() / (s**2).sum()
    kept = [
        np.mean(
            [
                sg.lab.linear(x, w, gy, method="sketch", rank=6, power=q, seed=seed).kept
                for seed in range(20)
            ]
        )
        for q in (0, 1, 3)
    ]
    assert kept[0] < kept[1] < kept[2] < best + 1e-12
    # Halko, Martinsson and Tropp, theorem 10.5: of 6 directions, 4 and two more.
    tail = (s[:, 4:] ** 2).sum() / (s**2).sum()
    assert 1 - kept[0] < (1 + 4 / (2 - 1)) * tail


@pytest.mark.parametrize("side", ["token", "channel"])
def test_gradients_of_low_rank_and_zero_are_exact(side):
    for rank in (0, 1, 2):
        x, w, gy = problem((3, 12, 10, 7), rank)
        r = sg.lab.linear(x, w, gy, method="sketch", rank=3, side=side, seed=4)
        np.testing.assert_allclose(r.gx, gy @ w, atol=1e-10)
        np.testing.assert_allclose(r.gw, np.einsum("blo,blc->oc", gy, x), atol=1e-10)
        assert np.isfinite(r.U).all() and abs(r.kept - 1) < 1e-12


def test_a_tolerance_finds_its_rank():
    x, w, gy = problem((4, 40, 10, 30))
    ranks = []
    for tolerance in (0.3, 0.05, 0.001):
        r = sg.lab.linear(x, w, gy, method="sketch", tolerance=tolerance, side="token", seed=4)
        assert r.kept >= 1 - tolerance
        ranks.append(r.rank_g)
    assert ranks == sorted(ranks) and ranks[0] < ranks[-1]


@pytest.mark.parametrize("bits, size", [("8", 1), ("4", 0.5)])
def test_x_may_be_kept_in_few_bits(bits, size):
    x, w, gy = problem((3, 12, 100, 7))
    exact = np.einsum("blo,blc->oc", gy, x)
    draws = [
        sg.lab.linear(x, w, gy, method="sketch", rank=100, keep_x=bits, seed=seed)
        for seed in range(200)
    ]
    groups = -(-12 * 100 // 256)
    assert draws[0].saved_bytes == 3 * (12 * 100 * size + groups * 2 * 8)
    gw = np.array([r.gw for r in draws])
    error = gw.std(0) / np.sqrt(len(draws))
    assert np.all(np.abs(gw.mean(0) - exact) < 5 * error)
    np.testing.assert_allclose(draws[0].gx, gy @ w, atol=1e-10)
