"""Values and gradients against formulas in NumPy."""

import gc

import numpy as np
import pytest

import slimgrad as sg


def run(precision, f, *arrays, gy=None):
    """y and the gradient of each array, of f applied to inputs of a tape."""
    tape = precision.sg.Tape()
    inputs = [tape.input(a) for a in arrays]
    y = f(*inputs)
    tape.backward(y, gy)
    return y.numpy(), [np.asarray(tape.gradient(x)) for x in inputs]


def test_products(precision):
    a, b, gy = precision.normal(4, 3, 5), precision.normal(4, 5, 2), precision.normal(4, 3, 2)
    y, (ga, gb) = run(precision, lambda x, z: x @ z, a, b, gy=gy)
    precision.close(y, a @ b)
    precision.close(ga, gy @ b.transpose(0, 2, 1))
    precision.close(gb, a.transpose(0, 2, 1) @ gy)
    w = precision.normal(7, 5)
    precision.close(sg.matmul(sg.tensor(a), sg.tensor(w), transpose_b=True), a @ w.T)
    precision.close(
        sg.matmul_sum(sg.tensor(a), sg.tensor(gy)), np.einsum("blm,bln->mn", a, gy)
    )


def test_arithmetic_broadcasts(precision):
    a, b = precision.normal(4, 3), precision.normal(3, seed=1)
    gy = precision.normal(4, 3, seed=2)
    y, (ga, gb) = run(precision, lambda x, z: (x * z - z) / 4 + 2 * x + 1 - x * 3, a, b, gy=gy)
    precision.close(y, (a * b - b) / 4 - a + 1)
    precision.close(ga, gy * (b / 4 - 1))
    precision.close(gb, (gy * (a - 1) / 4).sum(0))


def test_elementary_functions(precision):
    x = np.abs(precision.normal(3, 4)) + 1
    gy = precision.normal(3, 4, seed=1)
    for f, value, slope in [
        (sg.exp, np.exp(x), np.exp(x)),
        (sg.log, np.log(x), 1 / x),
        (sg.tanh, np.tanh(x), 1 - np.tanh(x) ** 2),
        (sg.sqrt, np.sqrt(x), 0.5 / np.sqrt(x)),
        (lambda v: sg.pow(v, 3), x**3, 3 * x**2),
    ]:
        y, (gx,) = run(precision, f, x, gy=gy)
        precision.close(y, value)
        precision.close(gx, gy * slope)


def test_shapes_and_sums(precision):
    x = precision.normal(2, 3, 4)
    y, (gx,) = run(precision, lambda v: sg.sum(sg.transpose(v, [2, 0, 1]) * 2), x)
    precision.close(y, 2 * x.sum())
    precision.close(gx, np.full_like(x, 2))
    y, (gx,) = run(precision, lambda v: sg.sum(sg.mean(sg.slice(v, 2, 1, 2), 1)), x)
    precision.close(y, x[:, :, 1:3].mean(1).sum())
    expected = np.zeros_like(x)
    expected[:, :, 1:3] = 1 / 3
    precision.close(gx, expected)
    y, _ = run(precision, lambda v: sg.sum(sg.concat([v, sg.reshape(v, [2, 3, 4])], 1)), x)
    precision.close(y, 2 * x.sum())


def test_cross_entropy(precision):
    logits, labels = precision.normal(6, 5), np.array([0, 4, 2, 2, 1, 3])
    y, (gx,) = run(precision, lambda v: sg.cross_entropy(v, labels), logits)
    p = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    precision.close(y, -np.log(p[np.arange(6), labels]).mean())
    precision.close(gx, (p - np.eye(5)[labels]) / 6)
    with pytest.raises(sg.Error, match="label"):
        run(precision, lambda v: sg.cross_entropy(v, [0, 0, 0, 9, 0, 0]), logits)
    with pytest.raises(sg.Error, match="expected integers, got dtype float64"):
        run(precision, lambda v: sg.cross_entropy(v, np.zeros(6)), logits)


def test_linear(precision):
    layer = precision.sg.nn.Linear(5, 3, seed=1)
    x, gy = precision.normal(2, 7, 5), precision.normal(2, 7, 3, seed=1)
    y, (gx,) = run(precision, layer, x, gy=gy)
    w, b = np.asarray(layer.weight.value), np.asarray(layer.bias.value)
    assert np.abs(w).max() <= 5**-0.5
    precision.close(y, x @ w.T + b)
    precision.close(gx, gy @ w)
    precision.close(layer.weight.grad, np.einsum("blc,bld->cd", gy, x))
    precision.close(layer.bias.grad, gy.sum((0, 1)))


def test_convolution(precision):
    layer = precision.sg.nn.Conv2d(2, 3, kernel=3, stride=2, padding=1, seed=0)
    x = precision.normal(2, 2, 5, 6)
    y, _ = run(precision, lambda v: layer(v), x, gy=precision.normal(2, 3, 3, 3))
    w, b = np.asarray(layer.weight.value), np.asarray(layer.bias.value)
    padded = np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1)))
    expected = np.empty((2, 3, 3, 3))
    for i in range(3):
        for j in range(3):
            window = padded[:, :, 2 * i : 2 * i + 3, 2 * j : 2 * j + 3]
            expected[:, :, i, j] = np.einsum("bckl,ockl->bo", window, w) + b
    precision.close(y, expected)


def test_normalisation_and_activations(precision):
    nn = precision.sg.nn
    x = precision.normal(4, 6)
    centred = x - x.mean(1, keepdims=True)
    y, _ = run(precision, nn.LayerNorm(6), x, gy=x)
    precision.close(y, centred / np.sqrt((centred**2).mean(1, keepdims=True) + 1e-5))
    y, (gx,) = run(precision, nn.ReLU(), x, gy=x)
    precision.close(y, np.maximum(x, 0))
    precision.close(gx, np.where(x > 0, x, 0))
    y, _ = run(precision, nn.SiLU(), x, gy=x)
    precision.close(y, x / (1 + np.exp(-x)))
    y, _ = run(precision, nn.Softmax(), x, gy=x)
    precision.close(y, np.exp(x) / np.exp(x).sum(1, keepdims=True))
    batch = nn.BatchNorm1d(6)
    run(precision, batch, x, gy=x)
    precision.close(batch.running_mean, 0.1 * x.mean(0))


def test_embedding(precision):
    table = precision.sg.nn.Embedding(10, 3, seed=2)
    tape = precision.sg.Tape()
    y = table.lookup(tape, [[1, 1], [9, 0]])
    precision.close(y.value, np.asarray(table.weight.value)[[[1, 1], [9, 0]]])
    tape.backward(sg.sum(y))
    np.testing.assert_array_equal(
        np.asarray(table.weight.grad)[:, 0], [1, 2, 0, 0, 0, 0, 0, 0, 0, 1]
    )


def test_dropout_is_addressed(precision):
    drop = precision.sg.nn.Dropout(0.5)
    x = np.ones((4, 100), precision.dtype)

    def mask(**options):
        tape = precision.sg.Tape(**options)
        return drop(tape.constant(x)).numpy()

    np.testing.assert_array_equal(mask(seed=1, step=3), mask(seed=1, step=3))
    assert (mask(seed=1, step=3) != mask(seed=1, step=4)).any()
    np.testing.assert_array_equal(mask(training=False), x)


def test_lifetimes(precision):
    """Temporaries may die in any order."""
    x = precision.normal(2, 3)
    y = precision.sg.nn.Linear(3, 4)(precision.sg.Tape().input(x))
    gc.collect()
    z = sg.sum(sg.exp(y))
    gc.collect()
    assert np.isfinite(z.item())
    tape = precision.sg.Tape()
    loss = sg.sum(precision.sg.nn.Linear(3, 4)(tape.input(x)))
    gc.collect()
    tape.backward(loss)  # adds to parameters of a layer that only the tape knows


def test_a_leaked_value_says_that_its_tape_is_gone():
    leaked = []

    def f(tape, inputs):
        leaked.append(inputs[0])
        return sg.sum(inputs[0])

    sg.gradcheck(f, [np.ones(2)])
    gc.collect()
    with pytest.raises(sg.Error, match="the tape of this value is gone"):
        sg.exp(leaked[0])


def test_nothing_is_saved_after_backward(precision):
    ledger = precision.sg.ledger
    layer = precision.sg.nn.Linear(5, 3)
    x = precision.normal(2, 7, 5)
    tape = precision.sg.Tape()
    y = sg.sum(layer(tape.constant(x)))
    assert ledger["saved"].live == x.nbytes  # NumPy's own memory, kept for backward
    assert ledger.saved_by_layer == {"linear": x.nbytes}
    tape.backward(y)
    assert ledger["saved"].live == 0
    with pytest.raises(sg.Error, match="already run backward"):
        tape.backward(y)


def test_flops_are_counted_by_layer_and_phase(precision):
    meter = precision.sg.meter
    meter.reset()
    layer = precision.sg.nn.Linear(5, 3, bias=False)
    with sg.layer("outside"), sg.phase("mine"):
        sg.tensor(precision.normal(4, 5)) @ sg.tensor(precision.normal(5, 6))
    run(precision, layer, precision.normal(2, 7, 5), gy=precision.normal(2, 7, 3))
    product = 2 * 2 * 7 * 5 * 3
    assert meter.layer("linear") == {"forward": product, "g_w": product, "g_x": product}
    assert meter.counts[("outside", "mine")] == 2 * 4 * 5 * 6
    assert meter.total == 3 * product + 240
    meter.reset()
    assert meter.total == 0
