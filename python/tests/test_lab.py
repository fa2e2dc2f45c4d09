"""sg.lab.linear against the same mathematics written independently (reference.py)."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

import reference
import slimgrad as sg

METHODS = ["vanilla", "compress-x", "compress-gy", "instant"]
SIDES = ["token", "channel", "auto"]
OFFSETS = ["none", "energy", "signal"]
# (B, L, Cx, Cy): ragged, square, wide, long, one sample, one token, one channel
SHAPES = [
    (3, 7, 5, 9),
    (2, 8, 8, 8),
    (4, 5, 12, 3),
    (2, 19, 6, 11),
    (1, 6, 9, 4),
    (3, 1, 5, 4),
    (2, 6, 1, 3),
]
TOLERANCE = {np.float64: 1e-10, np.float32: 1e-4}


def correlated(rng, batch, tokens, channels):
    """Samples whose tokens and channels are both correlated, as those of a network are."""

    def mix(n):
        rotation = np.linalg.qr(rng.standard_normal((n, n)))[0]
        return rotation * 0.7 ** np.arange(n)

    return mix(tokens) @ rng.standard_normal((batch, tokens, channels)) @ mix(channels).T


def problem(shape, dtype=np.float64, seed=0):
    batch, tokens, cx, cy = shape
    rng = np.random.default_rng([seed, *shape])
    x, gy = correlated(rng, batch, tokens, cx), correlated(rng, batch, tokens, cy)
    w, bias = rng.standard_normal((cy, cx)), rng.standard_normal(cy)
    # Enough samples to determine every direction of either axis.
    pairs = [(correlated(rng, 24, tokens, cx), correlated(rng, 24, tokens, cy)) for _ in range(2)]
    cast = lambda a: np.asarray(a, dtype=dtype)  # noqa: E731
    return cast(x), cast(w), cast(gy), cast(bias), [(cast(a), cast(b)) for a, b in pairs]


def close(actual, expected, tolerance, what):
    assert actual.shape == expected.shape, what
    scale = np.abs(expected).max()
    assert np.abs(actual - expected).max() <= tolerance * max(scale, 1e-300), what


def check(shape, method, dtype=np.float64, seed=0, with_bias=False, side="token", **options):
    x, w, gy, bias, pairs = problem(shape, dtype, seed)
    bias = bias if with_bias else None
    options.setdefault("oversample", 0)
    sides = {slot: options.pop(slot, None) for slot in ("side_x", "side_g")}
    expected = reference.linear(
        x, w, gy, method, pairs, bias=bias,
        side_x=sides["side_x"] or side, side_g=sides["side_g"] or side, **options,
    )  # fmt: skip
    slots = [slot for slot in (expected.x_slot, expected.g_slot) if slot]
    if dtype == np.float32:  # a rank or a subspace on the edge is another question
        assert all(slot.margin > 1e-5 and slot.gap > 1e-3 for slot in slots), "a near-tie"

    r = sg.lab.linear(
        x, w, gy, method=method, calibration=pairs, bias=bias, side=side, **sides, **options
    )
    tolerance = TOLERANCE[dtype]
    what = f"{shape} {method} {side} {sides} {options}"
    for name in ("y", "gx", "gw"):
        assert getattr(r, name).dtype == dtype
        close(getattr(r, name), getattr(expected, name), tolerance, f"{name}: {what}")
    if with_bias:
        close(r.gb, expected.gb, tolerance, f"gb: {what}")
    else:
        assert r.gb is None

    for slot, basis, rank in ((expected.x_slot, r.P, r.rank_x), (expected.g_slot, r.Q, r.rank_g)):
        if slot is None:
            assert basis is None and rank is None, what
        else:
            assert rank == slot.rank == len(basis), what
            close(basis.T @ basis, slot.dense, tolerance, f"projector: {what}")
    assert r.saved_bytes == expected.saved_numbers * np.dtype(dtype).itemsize, what
    assert r.flops == expected.flops, what
    return r


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("method", METHODS)
def test_every_side_and_offset(shape, method):
    for side, offset in itertools.product(SIDES, OFFSETS):
        check(shape, method, side=side, offset=offset)
        check(shape, method, side=side, offset=offset, epsilon=0.8, oversample=2, with_bias=True)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_fixed_ranks(shape):
    _, tokens, cx, cy = shape
    for side, offset in itertools.product(SIDES, OFFSETS):
        for rank_x, rank_g in [(1, 1), (2, 3), (tokens, tokens), (cx, cy), (999, 999)]:
            check(shape, "instant", side=side, offset=offset, rank_x=rank_x, rank_g=rank_g)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_each_slot_on_its_own_side(shape):
    for side_x, side_g in itertools.product(SIDES, SIDES):
        check(shape, "instant", side_x=side_x, side_g=side_g)
    check(shape, "instant", side="channel", side_x="token")
    check(shape, "instant", side="channel", side_g="token")


@pytest.mark.parametrize("epsilon", [0.1, 0.5, 0.9, 0.99, 0.9999, 1.0])
def test_ranks_of_epsilon(epsilon):
    for oversample in (0, 1, 100):
        check((3, 7, 5, 9), "instant", epsilon=epsilon, oversample=oversample)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("method", METHODS)
def test_single_precision(shape, method):
    for side, offset in itertools.product(SIDES, OFFSETS):
        check(shape, method, np.float32, side=side, offset=offset)
        check(shape, method, np.float32, side=side, offset=offset, rank_x=1, rank_g=1)
        check(shape, method, np.float32, side=side, rank_x=999, rank_g=999, with_bias=True)


def test_full_rank_is_vanilla():
    x, w, gy, _, pairs = problem((3, 7, 5, 9))
    exact = sg.lab.linear(x, w, gy, method="vanilla")
    full = sg.lab.linear(x, w, gy, method="instant", calibration=pairs, epsilon=1.0)
    close(full.gx, exact.gx, 1e-12, "gx")
    close(full.gw, exact.gw, 1e-12, "gw")


def test_without_calibration_the_sample_itself_is_used():
    x, w, gy, _, _ = problem((3, 7, 5, 9))
    implied = sg.lab.linear(x, w, gy, method="instant", rank_x=2, rank_g=2)
    given = sg.lab.linear(x, w, gy, method="instant", calibration=[(x, gy)], rank_x=2, rank_g=2)
    assert np.array_equal(implied.gx, given.gx) and np.array_equal(implied.gw, given.gw)


def test_all_zero_gradients_are_defined():
    x, w, gy, _, _ = problem((3, 7, 5, 9))
    r = sg.lab.linear(x, w, 0 * gy, method="instant", calibration=[(0 * x, 0 * gy)], oversample=2)
    assert r.rank_x == r.rank_g == 3
    close(r.P @ r.P.T, np.eye(3), 1e-12, "an orthonormal basis")
    assert not r.gx.any() and not r.gw.any()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"method": "instan"}, "unknown method 'instan'"),
        ({"side": "left"}, "unknown side 'left'. Known: token, channel, auto"),
        ({"offset": "both"}, "unknown offset 'both'"),
        ({"epsilon": 0.0}, "epsilon"),
        ({"oversample": -1}, "oversample"),
        ({"rank_x": 0}, "rank"),
        ({"calibration": []}, "no pairs"),
        ({"bias": np.zeros(4)}, r"bias of shape \(9,\)"),
        ({"gy": np.zeros((3, 7, 8))}, r"gy of shape \(3, 7, 9\)"),
        ({"w": np.zeros((9, 6))}, "expected x of shape"),
        ({"x": np.full((3, 7, 5), np.nan)}, "x has values that are not finite"),
    ],
)
def test_bad_input_is_named(change, message):
    x, w, gy, _, pairs = problem((3, 7, 5, 9))
    arguments = {"x": x, "w": w, "gy": gy, "method": "instant", "calibration": pairs, **change}
    with pytest.raises(sg.Error, match=message):
        sg.lab.linear(**arguments)


def test_mixed_precision_is_refused():
    x, w, gy, _, _ = problem((3, 7, 5, 9))
    with pytest.raises((sg.Error, TypeError), match="float"):
        sg.lab.linear(x, w.astype(np.float32), gy)
