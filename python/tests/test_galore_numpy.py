"""GaLore against the same mathematics in NumPy, through an optimiser's set_projection."""

import numpy as np
import pytest

import slimgrad as sg

LR, BETAS, EPS, DECAY, SCALE, RANK = 0.05, (0.9, 0.99), 1e-8, 0.1, 0.25, 2


def run(precision, layer, optimizer, steps, shape):
    """Steps of loss = Σ y ⊙ t, t another one each time: g_w is known and of full rank."""
    for step in range(steps):
        x = precision.normal(3, 4, shape[1], seed=10 + step)
        t = precision.normal(3, 4, shape[0], seed=50 + step)
        tape = precision.sg.Tape()
        y = layer(tape.constant(x))
        tape.backward(sg.sum(y * tape.constant(t)))
        optimizer.step()
        layer.zero_grad()


def galore(w, shape, steps, every):
    """AdamW on R, whose moments begin anew with each basis."""
    right = shape[0] >= shape[1]
    m = v = 0.0
    for step in range(steps):
        x = np.random.default_rng(10 + step).standard_normal((3, 4, shape[1]))
        t = np.random.default_rng(50 + step).standard_normal((3, 4, shape[0]))
        g = np.einsum("blo,blc->oc", t, x)
        if step % every == 0:
            u, _, vh = np.linalg.svd(g, full_matrices=False)
            basis = vh[:RANK] if right else u[:, :RANK].T
            m = v = 0.0
        r = g @ basis.T if right else basis @ g
        m = BETAS[0] * m + (1 - BETAS[0]) * r
        v = BETAS[1] * v + (1 - BETAS[1]) * r**2
        mean, square = m / (1 - BETAS[0] ** (step + 1)), v / (1 - BETAS[1] ** (step + 1))
        update = mean / (np.sqrt(square) + EPS)
        w = w * (1 - LR * DECAY) - LR * SCALE * (update @ basis if right else basis.T @ update)
    return w


@pytest.mark.parametrize("shape", [(7, 5), (5, 7)])
def test_galore_is_its_formulas(precision, shape):
    layer = precision.sg.nn.Linear(shape[1], shape[0], bias=False)
    layer.weight.value = sg.tensor(precision.normal(*shape))
    optimizer = sg.optim.AdamW(layer, lr=LR, betas=BETAS, eps=EPS, weight_decay=DECAY)
    optimizer.set_projection(
        layer, "galore", rank=RANK, redraw_every=2, scale=SCALE, moments="reset"
    )
    run(precision, layer, optimizer, 5, shape)
    expected = galore(precision.normal(*shape).astype(float), shape, 5, 2)
    precision.close(layer.weight.value, expected)
    compressed = (shape[0], RANK) if shape[0] >= shape[1] else (RANK, shape[1])
    assert optimizer.state["exp_avg.weight"].shape == compressed


def test_what_cannot_be_projected():
    model = sg.nn.Linear(6, 6)
    optimizer = sg.optim.SGD(model, lr=0.1)
    for message, method, options in [
        ("method 'instant' projects no gradients", "instant", {}),
        ("there is nothing to project", "galore", {"rank": 6}),
        ("method 'galore' has no option 'order'", "galore", {"order": 3}),
        ("unknown option 'rang'", "galore", {"rang": 3}),
    ]:
        with pytest.raises(sg.Error, match=message):
            optimizer.set_projection(model, method, **options)
    with pytest.raises(sg.Error, match="'galore' changes nothing in the layers. Hint: optimizer"):
        sg.Calibrator(model, "galore")
    with pytest.raises(sg.Error, match="'lora' trains adapters, and the model has none"):
        sg.Calibrator(model, "lora")


@pytest.mark.parametrize(
    "call",
    [
        lambda: sg.Calibrator(sg.nn.Linear(6, 6), "instant", order=3),
        lambda: sg.adapt(sg.nn.Linear(6, 6), "lora", order=3),
        lambda: sg.lab.linear(np.ones((1, 6, 6)), np.ones((6, 6)), np.ones((1, 6, 6)), order=3),
    ],
)
def test_options_of_other_methods_are_refused(call):
    with pytest.raises(sg.Error, match="has no option 'order'"):
        call()
