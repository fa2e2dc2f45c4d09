"""GACT against NumPy: quantised values under the same random words, and the choice of bits."""

import heapq
import json

import numpy as np
import pytest
import slimgrad as sg

SEED, PURPOSE, STEP = 7, "test", 3


def draws(count, sample):
    """u of one sample: two of 16 bits a word, 256 at a time."""
    words = np.array(
        sg.random_words(-(-count // 2), seed=SEED, purpose=PURPOSE, a=STEP, b=sample), dtype="<u4"
    )
    return words.view("<u2")[:count].astype(np.float64) / 2**16


def groups(shape, scales, size):
    """Indices of the elements of a sample that share a scale, and the order of rows of codes."""
    index = np.arange(int(np.prod(shape)))
    if scales == "group":
        rows = [index[i : i + size] for i in range(0, len(index), size)]
        return rows, rows
    matrix = index.reshape(shape[0], -1) if len(shape) == 3 else index.reshape(-1, shape[-1])
    by_row = (scales == "token") == (len(shape) != 3)
    return (list(matrix) if by_row else list(matrix.T)), list(matrix)


def quantised(x, bits, scales, size):
    """The formulas of GACT, sample by sample, in double."""
    back = np.empty(x.shape, dtype=np.float64)
    for b, sample in enumerate(x.astype(np.float64)):
        flat, out = sample.ravel(), np.empty(sample.size)
        sharing, rows = groups(sample.shape, scales, size)
        # Draws come in the order of rows, and each 256 of a row begin a block of their own.
        u, used = np.empty(sample.size), 0
        blocks = [row[i : i + 256] for row in rows for i in range(0, len(row), 256)]
        words = draws(256 * len(blocks), b)
        for block in blocks:
            u[block] = words[used : used + len(block)]
            used += 256
        for group in sharing:
            least, largest = flat[group].min(), flat[group].max()
            step = (largest - least) / (2**bits - 1)
            codes = (flat[group] - least) / step if step > 0 else 0 * flat[group]
            codes = np.clip(np.floor(codes + u[group]), 0, 2**bits - 1)
            out[group] = least + codes * step
        back[b] = out.reshape(sample.shape)
    return back


@pytest.mark.parametrize("bits", [1, 2, 4, 8])
@pytest.mark.parametrize("scales,size", [("group", 256), ("group", 64), ("token", 0), ("channel", 0)])
@pytest.mark.parametrize("shape", [(2, 9, 70), (3, 300), (2, 3, 5, 7)])
def test_values_are_those_of_numpy(bits, scales, size, shape):
    x = np.random.default_rng(1).normal(size=shape)
    options = {"group_size": size} if size else {}
    got = sg.lab.quantise(x, bits, scales, seed=SEED, purpose=PURPOSE, step=STEP, **options)
    expected = quantised(x, bits, scales, size)
    assert got.value.dtype == np.float64
    np.testing.assert_allclose(got.value, expected, rtol=0, atol=1e-12)
    # In single precision a code may fall to the other side where it is next to a whole number.
    single = sg.lab.quantise(
        x.astype(np.float32), bits, scales, seed=SEED, purpose=PURPOSE, step=STEP, **options
    )
    different = np.abs(single.value - expected) > 1e-4
    assert different.mean() < 0.002


def test_the_variance_is_that_of_a_fraction():
    x = np.linspace(0, 3, 61).reshape(1, 61)
    q = sg.lab.quantise(x, bits=2)
    fraction = np.modf(x)[0]
    np.testing.assert_allclose(q.variance, fraction * (1 - fraction), atol=1e-9)
    assert q.saved_bytes == -(-61 * 2 // 8) + 2 * 8


def allocated(values, average):
    """GACT's greedy, from 32 bits down the ladder."""
    ladder = {32: 8, 8: 4, 4: 2, 2: 1}
    bits = dict.fromkeys(values, 32)
    heap = []

    def offer(order, name):
        if bits[name] == 1:
            return
        elements, c = values[name]
        below = ladder[bits[name]]
        added = c / (2**below - 1) ** 2 - c / (2 ** bits[name] - 1) ** 2
        heapq.heappush(heap, (added / (elements * (bits[name] - below)), order, name, below))

    for order, name in enumerate(values):
        offer(order, name)
    limit = average * sum(elements for elements, _ in values.values())
    while sum(values[n][0] * bits[n] for n in values) > limit and heap:
        _, order, name, below = heapq.heappop(heap)
        bits[name] = below
        offer(order, name)
    return bits


@pytest.mark.parametrize("average", [1, 1.5, 2, 3, 4, 7.3, 32])
def test_the_choice_of_bits_is_that_of_numpy(average):
    random = np.random.default_rng(2)
    for _ in range(20):
        values = {
            f"layer{i} x": (int(random.integers(1, 5000)), float(np.exp(random.normal(0, 4))))
            for i in range(30)
        }
        assert sg.lab.allocate_bits(values, average) == allocated(values, average)


def test_bad_input_is_one_line():
    x = np.zeros((2, 8), dtype=np.float32)
    with pytest.raises(sg.Error, match="unknown bits '3'. Known: 1, 2, 4, 8, 32"):
        sg.lab.quantise(x, bits=3)
    with pytest.raises(sg.Error, match="unknown scales 'row'"):
        sg.lab.quantise(x, scales="row")
    with pytest.raises(sg.Error, match="multiple of 8"):
        sg.lab.quantise(x, group_size=12)
    x[1, 3] = np.nan
    with pytest.raises(sg.Error, match="a value of sample 1 is not finite"):
        sg.lab.quantise(x)
    with pytest.raises(sg.Error, match="at least 1 bit"):
        sg.lab.allocate_bits({"a": (1, 1.0)}, 0.5)


def test_a_tape_keeps_in_few_bits():
    x, gy = sg.normal((2, 8, 64), seed=1), sg.normal((2, 8, 32), seed=2)
    layer = sg.nn.Linear(64, 32, seed=3)

    def run(**options):
        tape = sg.Tape(seed=5, **options)
        y = layer(tape.input(x))
        held = sg.ledger["saved"].live
        tape.backward(y, gy)
        gradient = np.array(layer.weight.grad)
        layer.zero_grad()
        return gradient, held

    exact, all_bits = run()
    few, eight_bits = run(method="gact", bits=8)
    fewer, two_bits = run(method="gact", bits=2)
    assert all_bits == 2 * 8 * 64 * 4
    assert eight_bits == 2 * (8 * 64 + 2 * 8)
    assert two_bits == 2 * (8 * 64 // 4 + 2 * 8)
    errors = [np.linalg.norm(g - exact) / np.linalg.norm(exact) for g in (few, fewer)]
    assert 0 < errors[0] < 0.02 < errors[1] < 1
    with pytest.raises(sg.Error, match="unknown bits '3'"):
        sg.Tape(method="gact", bits=3)
    with pytest.raises(sg.Error, match="method 'vanilla' has no option 'bits'"):
        sg.Tape(bits=4)


def test_the_laboratory_and_cost_know_it():
    rng = np.random.default_rng(3)
    x, w, gy = (rng.normal(size=s).astype(np.float32) for s in ((2, 16, 64), (32, 64), (2, 16, 32)))
    exact = sg.lab.linear(x, w, gy, method="vanilla")
    few = sg.lab.linear(x, w, gy, method="gact", bits=4)
    np.testing.assert_array_equal(few.y, exact.y)
    np.testing.assert_array_equal(few.gx, exact.gx)
    assert 0 < np.linalg.norm(few.gw - exact.gw) < 0.3 * np.linalg.norm(exact.gw)
    assert few.saved_bytes == 2 * (16 * 64 // 2 + 4 * 8)
    both = sg.lab.linear(x, w, gy, method="instant+gact", rank_x=4, rank_g=4)
    assert both.saved_bytes == sg.lab.linear(x, w, gy, rank_x=4, rank_g=4).saved_bytes

    cost = sg.cost("vit-micro", method="gact", channels=1, height=28, width=28, whole_model=True)
    assert cost.whole_model.times_less.saved_bytes > 4
    assert json.dumps(cost)


@pytest.mark.parametrize("bad", [{"seed": -1}, {"seed": 1 << 64}, {"step": -1}])
def test_quantise_refuses_numbers_that_are_no_words(bad):
    with pytest.raises(sg.Error, match="expected an integer from 0 to 18446744073709551615"):
        sg.lab.quantise(np.ones((2, 4, 8), np.float32), **bad)


def test_what_cannot_be_quantised_is_named():
    with pytest.raises(sg.Error, match=r"^\[lab.quantise\] a value of sample 0 is not finite"):
        sg.lab.quantise(np.array([[1, np.nan]], np.float32))
    with pytest.raises(sg.Error, match=r"^\[lab.quantise\] a value of sample 0 is not finite"):
        sg.lab.quantise(np.array([[3e38, -3e38]], np.float32))
    with pytest.raises(sg.Error, match=r"^\[lab.quantise\] expected 1, 2, 4 or 8 bits, got 32"):
        sg.lab.quantise(np.ones((1, 8), np.float32), bits=32)
    with pytest.raises(sg.Error, match=r"expected 0 to \d+ elements of 'q', got -5"):
        sg.lab.allocate_bits({"q": (-5, 1.0), "x": (10, 1.0)}, 3)


def test_a_tape_says_what_it_cannot_do():
    with pytest.raises(sg.Error, match="levels L2 choose bits in a run"):
        sg.Tape(method="gact", level="L2")
    with pytest.raises(sg.Error, match="kept_bits: 'fc x': unknown bits '3'"):
        sg.Tape(method="gact", kept_bits={"fc x": 3})
