"""Methods of the table against NumPy references that are written from their formulas."""

import copy

import numpy as np
import pytest

import slimgrad as sg

# --- lora: y = x Wᵀ + b + (α/r) (x Aᵀ) Bᵀ, W and b frozen


@pytest.fixture
def adapted(precision):
    """A layer with an adapter whose B is not 0, and its matrices by name."""
    layer = precision.sg.nn.Linear(6, 5, seed=1)
    layer.add_adapter(rank=2, alpha=3.0, seed=4)
    dict(layer.named_parameters())["lora_B.weight"].value = precision.normal(5, 2, seed=9)
    return layer, {name: np.array(p.value) for name, p in layer.named_parameters()}


def lora_step(precision, layer):
    x, gy = precision.normal(4, 7, 6), precision.normal(4, 7, 5, seed=1)
    tape = precision.sg.Tape()
    v = tape.input(x)
    y = layer(v)
    tape.backward(y, gy)
    return x, gy, y.numpy(), np.asarray(tape.gradient(v))


def test_lora_is_its_formulas(precision, adapted):
    layer, p = adapted
    w, b, a, up = (p[n] for n in ("weight", "bias", "lora_A.weight", "lora_B.weight"))
    x, gy, y, gx = lora_step(precision, layer)
    s = 3.0 / 2
    precision.close(y, x @ w.T + b + s * (x @ a.T) @ up.T)
    precision.close(gx, gy @ w + s * (gy @ up) @ a)
    grads = {name: q.grad for name, q in layer.named_parameters()}
    precision.close(grads["lora_A.weight"], s * np.einsum("blr,blc->rc", gy @ up, x))
    precision.close(grads["lora_B.weight"], s * np.einsum("bly,blr->yr", gy, x @ a.T))
    assert grads["weight"] is None and grads["bias"] is None
    assert layer.adapter == (2, 3.0)


def test_lora_with_a_rule_on_its_three_maps(precision, adapted):
    """Projectors of full rank change nothing; smaller ones leave forward exact."""
    layer, _ = adapted
    _, _, y, gx = lora_step(precision, layer)
    exact = {name: np.array(q.grad) for name, q in layer.named_parameters() if q.grad is not None}
    for rank, same in [(100, True), (1, False)]:
        calibrator = precision.sg.Calibrator(layer, "lora+instant", rank_x=rank, rank_g=rank)
        calibrator.calibrate(lambda: lora_step(precision, layer))
        _, _, y_low, gx_low = lora_step(precision, layer)
        precision.close(y_low, y)
        assert np.allclose(gx_low, gx, rtol=0, atol=1e-4 * np.abs(gx).max()) == same
        for name, parameter in layer.named_parameters():
            if name in exact and same:
                scale = np.abs(exact[name]).max()
                assert np.abs(np.asarray(parameter.grad) - exact[name]).max() < 1e-3 * scale, name
        layer.zero_grad()
    assert len(sg.linear_maps(layer)) == 3


def test_an_adapted_layer_can_be_copied(precision, adapted):
    layer, p = adapted
    other = copy.deepcopy(layer)
    assert other.adapter == layer.adapter
    assert [q.requires_grad for _, q in other.named_parameters()] == [False, False, True, True]
    for name, value in other.named_parameters():
        assert np.array_equal(np.asarray(value.value), p[name]), name
    assert np.array_equal(lora_step(precision, other)[2], lora_step(precision, layer)[2])


def test_a_model_is_adapted_and_trained(precision):
    model = precision.sg.models.make("vit-micro", channels=1, height=28, width=28)
    sg.adapt(model, "lora+instant", seed=3, rank=4, rank_x=6, rank_g=6)
    trained = [name for name, p in model.named_parameters() if p.requires_grad]
    assert "blocks.0.fc1.lora_A.weight" in trained and "head.bias" in trained
    assert not any("norm" in name or name.endswith("fc1.weight") for name in trained)
    groups = {layer.path: layer.input_group for layer in sg.linear_maps(model)}
    assert groups["blocks.0.fc1.lora_A"] == groups["blocks.0.fc1"] == "blocks.0.fc1"
    assert groups["blocks.0.fc1.lora_B"] == "blocks.0.fc1.lora_B"
    again = copy.deepcopy(model)
    assert [n for n, p in again.named_parameters() if p.requires_grad] == trained
    sg.adapt(model, "instant")  # changes no model
    with pytest.raises(sg.Error, match="the model has adapters already"):
        sg.adapt(model, "lora")
    layer = precision.sg.nn.Linear(3, 4)
    with pytest.raises(sg.Error, match="expected an adapter of rank 1 to 3, got 4"):
        layer.add_adapter(rank=4)
    assert layer.adapter is None


def test_lora_runs(tmp_path):
    run = dict(model="vit-micro", limit_train=64, limit_test=16, batch=16, steps=3, threads=1, quiet=True)
    alone = sg.train(method="lora", rank=8, out=tmp_path / "lora", **run)
    both = sg.train(method="lora+instant", rank=8, alpha=2.0, out=tmp_path / "both", **run)
    assert both["bytes"]["saved_per_sample_linear"] < alone["bytes"]["saved_per_sample_linear"]
    assert {"blocks.0.fc1", "blocks.0.fc1.lora_A", "blocks.0.fc1.lora_B"} <= {
        layer["name"] for layer in both["layers"]
    }
    assert (tmp_path / "both" / "adapter.safetensors").exists()


# --- end of lora
