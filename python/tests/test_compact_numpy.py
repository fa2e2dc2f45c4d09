"""Methods of the table against the same mathematics in NumPy, by sg.lab.linear."""

import numpy as np
import pytest

import slimgrad as sg

# --- compact ------------------------------------------------------------------------------------


def compact_problem(shape, dtype=np.float64):
    batch, tokens, cx, cy = shape
    rng = np.random.default_rng([7, *shape])
    arrays = [(batch, tokens, cx), (cy, cx), (batch, tokens, cy), (cy,)]
    return [rng.standard_normal(s).astype(dtype) for s in arrays]


@pytest.mark.parametrize("dtype, tolerance", [(np.float64, 1e-10), (np.float32, 1e-4)])
@pytest.mark.parametrize("shape", [(3, 7, 10, 6), (1, 5, 4, 9), (2, 1, 6, 3)])
@pytest.mark.parametrize("rank", [1, 4])
def test_compact_is_a_sketch_of_the_channels(shape, rank, dtype, tolerance):
    batch, tokens, cx, cy = shape
    x, w, gy, bias = compact_problem(shape, dtype)
    r = sg.lab.linear(x, w, gy, method="compact", rank=rank, bias=bias, seed=5)
    assert r.P.shape == (rank, cx) and r.Q is None and r.side_x == "channel"

    z = np.einsum("blc,rc->blr", x, r.P)
    sketch = np.einsum("blo,blr->or", gy, z)
    for name, actual, expected in [
        ("y", r.y, x @ w.T + bias),
        ("gx", r.gx, gy @ w),
        ("gb", r.gb, gy.sum((0, 1))),
        ("gw", r.gw, sketch @ r.P),
    ]:
        assert np.abs(actual - expected).max() <= tolerance * np.abs(expected).max(), name

    size = np.dtype(dtype).itemsize
    assert r.saved_bytes == size * batch * tokens * rank
    assert r.projector_bytes == 0 and r.calibrate_flops == 0
    assert r.flops == {
        "forward": 2 * batch * tokens * cx * cy,
        "compress": 2 * batch * tokens * cx * rank,
        "g_w": 2 * batch * tokens * cy * rank,
        "g_x": 2 * batch * tokens * cx * cy,
    }


def test_compact_draws_p_from_the_seed():
    x, w, gy, _ = compact_problem((2, 3, 40, 4))
    draw = lambda seed: sg.lab.linear(x, w, gy, method="compact", ratio=2, seed=seed).P  # noqa: E731
    assert np.array_equal(draw(1), draw(1)) and not np.array_equal(draw(1), draw(2))
    entries = np.concatenate([draw(seed).ravel() for seed in range(60)])
    # N(0, 1/r): the mean and the mean of the squares, each within four standard errors.
    n, variance = entries.size, 1 / 20
    assert abs(entries.mean()) < 4 * np.sqrt(variance / n)
    assert abs((entries**2).mean() - variance) < 4 * variance * np.sqrt(2 / n)


def test_compact_is_right_on_average():
    x, w, gy, _ = compact_problem((2, 5, 8, 4))
    exact = np.einsum("blo,blc->oc", gy, x)
    found = np.array(
        [sg.lab.linear(x, w, gy, method="compact", rank=2, seed=seed).gw for seed in range(600)]
    )
    error = lambda a: a.std(0) / np.sqrt(len(a))  # noqa: E731  of the mean
    assert np.all(np.abs(found.mean(0) - exact) < 4.5 * error(found))
    share = (found * exact).sum((1, 2)) / (exact**2).sum()
    assert abs(share.mean() - 1) < 4 * error(share) < 0.3


def test_compact_refuses_what_is_out_of_range():
    x, w, gy, _ = compact_problem((2, 3, 4, 4))
    for options in [{"rank": 0}, {"scale": 0.0}, {"moments": "drop"}, {"ratio": 0}]:
        with pytest.raises(sg.Error, match=next(iter(options))):
            sg.lab.linear(x, w, gy, method="compact", **options)
