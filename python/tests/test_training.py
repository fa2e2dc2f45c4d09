"""Optimisers, calibration, data: against formulas and against each other."""

import numpy as np
import pytest

import slimgrad as sg


def one_step(precision, make, gradient, steps=3):
    """The weight of a layer after some steps with one gradient."""
    layer = precision.sg.nn.Linear(3, 2, bias=False, seed=0)
    start = np.array(layer.weight.value)
    optimizer = make(layer)
    for _ in range(steps):
        layer.weight.grad = gradient
        optimizer.step()
    assert optimizer.steps == steps
    return start, np.asarray(layer.weight.value)


def test_sgd(precision):
    g = precision.normal(2, 3)
    start, got = one_step(precision, lambda m: sg.optim.SGD(m, 0.1, momentum=0.9), g)
    precision.close(got, start - 0.1 * g * (1 + 1.9 + 2.71))


def test_adamw(precision):
    g = precision.normal(2, 3)
    start, got = one_step(precision, lambda m: sg.optim.AdamW(m, 0.1, weight_decay=0.5), g)
    w = start.astype(np.float64)
    for _ in range(3):  # a constant gradient: both moments, corrected, are g and g²
        w = w * (1 - 0.1 * 0.5) - 0.1 * g / (np.abs(g) + 1e-8)
    precision.close(got, w)


def test_optimizers_refuse_nonsense():
    layer = sg.nn.Linear(2, 2)
    with pytest.raises(sg.Error):
        sg.optim.AdamW(layer, lr=-1)
    layer.weight.grad = np.full((2, 2), 3, np.float32)
    assert sg.clip_grad_norm(layer, 1.0) == pytest.approx(6)
    assert np.linalg.norm(layer.weight.grad) == pytest.approx(1, rel=1e-5)
    assert sg.optim.lr_factor("linear", 25, 100) == 0.75
    assert sg.optim.lr_factor("cosine", 100, 100, min_lr_rate=0.01) == pytest.approx(0.01)


def test_calibration_and_low_rank_backward(precision):
    """INSTANT on one layer, from its definition: eigenvectors of Σ x xᵀ, offset, products."""
    x, gy = precision.normal(4, 9, 5), precision.normal(4, 9, 6, seed=1)
    layer = precision.sg.nn.Linear(5, 6, bias=False, seed=0)
    calibrator = precision.sg.Calibrator(layer, rank_x=3, rank_g=4, side="token")

    def backward():
        tape = precision.sg.Tape()
        v = tape.input(x)
        tape.backward(layer(v), gy)
        return np.asarray(tape.gradient(v))

    calibrator.calibrate(backward)
    layer.zero_grad()
    precision.sg.meter.reset()
    gx, w = backward(), np.asarray(layer.weight.value)

    def projection(a, rank):  # PᵀP = U Uᵀ / e
        values, vectors = np.linalg.eigh(np.einsum("blc,bmc->lm", a, a, dtype=np.float64))
        share = (values[-rank:] ** 2).sum() / (values**2).sum()
        return vectors[:, -rank:] @ vectors[:, -rank:].T / share

    precision.close(gx, projection(gy, 4) @ (gy @ w))
    expected = np.einsum("blc,lm,bmd->cd", gy, projection(x, 3), x)
    precision.close(layer.weight.grad, expected)
    assert layer.rule.name == "instant" and layer.rule.P.shape == (3, 9)
    assert layer.rule.side_x == "token" and layer.rule.Q.shape == (4, 9)
    (ranks,) = calibrator.ranks()
    assert (ranks.rank_x, ranks.rank_g) == (3, 4)
    assert precision.sg.meter.phase("compress") == 2 * 4 * 3 * 9 * 5

    state = calibrator.state()
    other = precision.sg.nn.Linear(5, 6, bias=False, seed=0)
    precision.sg.Calibrator(other).restore(state)
    assert sg.identical(other.rule.P, layer.rule.P)


def test_watched_steps_make_the_subspaces_that_a_calibration_makes(precision):
    half = precision.sg
    x, gy = precision.normal(4, 9, 5), precision.normal(4, 9, 6, seed=1)

    def layer_and_calibrator():
        layer = half.nn.Linear(5, 6, bias=False, seed=0)
        return layer, half.Calibrator(layer, rank_x=3, rank_g=4, side="token")

    def step(layer, samples):
        layer.zero_grad()
        tape = half.Tape()
        tape.backward(layer(tape.input(x[:samples])), gy[:samples])

    for watched, samples in [(("exactly",), 4), (("share", 2), 2)]:
        expected, calibrator = layer_and_calibrator()
        calibrator.calibrate(lambda: step(expected, samples))
        layer, calibrator = layer_and_calibrator()
        calibrator.watch(*watched)
        step(layer, 4)
        calibrator.renew(keep=0.5)
        calibrator.watch("nothing")
        step(layer, 4)
        assert layer.rule.name == "instant"
        assert sg.identical(layer.rule.P, expected.rule.P)
        assert sg.identical(layer.rule.Q, expected.rule.Q)
    for wrong in [("often",), ("share", -1), ("share", 1, 0)]:
        with pytest.raises(sg.Error):
            calibrator.watch(*wrong)


def test_sketches_say_what_they_did(precision):
    layer = precision.sg.nn.Linear(5, 6, seed=0)
    calibrator = precision.sg.Calibrator(layer, "sketch", rank=2, side="token")
    for _ in range(3):
        tape = precision.sg.Tape()
        tape.backward(layer(tape.input(precision.normal(4, 9, 5))), precision.normal(4, 9, 6, seed=1))
    ((_, of_layer),) = calibrator.sketches().items()
    assert (of_layer["calls"], of_layer["exact"], of_layer["rank"]) == (3, 0, 2)
    assert 0.2 < of_layer["least_kept"] <= of_layer["kept"] < 1
    assert calibrator.sketches() == {}


def test_calibration_that_raises_leaves_the_rules():
    layer = sg.nn.Linear(4, 4)
    calibrator = sg.Calibrator(layer, "compress-x")

    def fails():
        raise LookupError("no batch")

    with pytest.raises(LookupError, match="no batch"):
        calibrator.calibrate(fails)
    assert layer.rule.name == "vanilla"
    with pytest.raises(sg.Error, match="unknown option 'epsilom'; known: epsilon"):
        sg.Calibrator(layer, epsilom=0.9)
    with pytest.raises(sg.Error, match="unknown method 'magic'"):
        sg.Calibrator(layer, "magic")
    for options, message in [
        ({"epsilon": np.nan}, "a number above 0 and at most 1 as epsilon, got nan"),
        ({"epsilon": True}, "as epsilon, got 'True'"),
        ({"rank_x": 1.5}, "as rank_x, got '1.5'"),
        ({"rank_x": 2**70}, "as rank_x, got '1180591620717411303424'"),
        ({"oversample": "7"}, "as oversample, got ''7''"),
        ({"side": 3}, "as side, got '3'"),
        ({"min_tokens": 0}, "as min_tokens, got 0"),
    ]:
        with pytest.raises(sg.Error, match=message):
            sg.Calibrator(layer, "compress-x", **options)
    sg.Calibrator(layer, "compress-x", rank_x=np.int64(2), epsilon=np.float32(0.5))


def test_batches_are_functions_of_the_step(precision):
    data = precision.sg.data.load("embedded-images")
    assert data.train.images.shape == (6000, 1, 28, 28) and len(data.test) == 1500
    loader = precision.sg.data.Loader(data.train, 50, seed=3)
    batch = loader.batch(7)
    assert sg.identical(batch.x, loader.batch(7).x)
    np.testing.assert_array_equal(batch.labels, data.train.labels[batch.indices])
    pixels = data.train.images[batch.indices] / 255
    precision.close(batch.x, (pixels - data.train.mean[0]) / data.train.std[0])
    assert sg.identical(batch.part(10, 5).x, sg.tensor(np.asarray(batch.x)[10:15].copy()))
    with pytest.raises(sg.Error, match="unknown"):
        precision.sg.data.load("imagenet")


def test_weights_pass_through_safetensors(precision, tmp_path):
    make = precision.sg.models.make
    a, b = (make("mlp", channels=1, height=4, width=4, seed=s) for s in (0, 1))
    file = str(tmp_path / "mlp.safetensors")
    precision.sg.data.save_safetensors(file, a.state_dict(), {"made by": "a test"})
    for name, tensor in precision.sg.data.load_safetensors(file).items():
        np.asarray(b.state_dict()[name])[:] = np.asarray(tensor)
    for name, tensor in a.state_dict().items():
        assert sg.identical(tensor, b.state_dict()[name])
    with pytest.raises(sg.Error, match="no.safetensors"):
        precision.sg.data.load_safetensors(str(tmp_path / "no.safetensors"))


def test_frozen_blocks(precision):
    model = precision.sg.models.make("vit-micro", channels=1, height=28, width=28)
    sg.models.select_train_blocks(model, "last:1")
    trained = [name for name, p in model.named_parameters() if p.requires_grad]
    assert trained and all(not name.startswith("blocks.0") for name in trained)
    assert len(model.blocks) == 4
    model.requires_grad_(False)
    assert not any(p.requires_grad for _, p in model.named_parameters())
    with pytest.raises(sg.Error, match="known: mlp"):
        precision.sg.models.make("gpt-9")
