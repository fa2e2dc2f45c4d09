"""Functions, rules and models written in Python."""

import gc
import importlib.util
import pathlib

import numpy as np
import pytest

import slimgrad as sg

examples = pathlib.Path(__file__).parents[1] / "examples"


def example(name):
    """An example as a module."""
    spec = importlib.util.spec_from_file_location(name, examples / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class Square(sg.Function):
    """y = x²."""

    name = "square"

    def forward(self, inputs, saved):
        saved.keep("x", inputs[0])
        sg.count(inputs[0].size)
        return np.asarray(inputs[0]) ** 2

    def backward(self, gy, saved):
        x = np.asarray(saved["x"])
        sg.count(2 * x.size)
        return 2 * x * np.asarray(gy)


def test_function(precision):
    x, gy = precision.normal(3, 4), precision.normal(3, 4, seed=1)
    precision.sg.meter.reset()
    tape = precision.sg.Tape()
    v = tape.input(x)
    y = tape.apply(Square(), [v])
    assert precision.sg.ledger.saved_by_layer == {"square": x.nbytes}
    tape.backward(y, gy)
    precision.close(y.value, x**2)
    precision.close(tape.gradient(v), 2 * x * gy)
    assert precision.sg.meter.layer("square") == {"forward": 12, "backward": 24}


def test_gradcheck_finds_mistakes(capsys):
    assert sg.gradcheck(
        lambda tape, inputs: tape.apply(Square(), inputs), [np.random.default_rng(0).normal(size=5)]
    ).max_error < 1e-6
    example("02_own_function").main()
    assert "with the mistake it says: [gradcheck]" in capsys.readouterr().out
    layer = sg.float64.nn.MultiHeadAttention(6, 2)
    assert sg.gradcheck(layer, np.random.default_rng(0).normal(size=(2, 3, 6))).checked > 36


class Broken(Square):
    """Fails in one of its methods."""

    def __init__(self, **methods):
        for name, method in methods.items():
            setattr(self, name, method)


def apply(function, x=None):
    tape = sg.Tape()
    y = tape.apply(function, [tape.input(np.ones((2, 2), np.float32) if x is None else x)])
    tape.backward(sg.sum(y))


def test_functions_that_are_wrong():
    def fails(inputs, saved):
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        apply(Broken(forward=fails))
    with pytest.raises(ZeroDivisionError):
        apply(Broken(backward=lambda gy, saved: 1 / 0))
    with pytest.raises(sg.Error, match="forward counted no FLOPs"):
        apply(Broken(forward=lambda inputs, saved: inputs[0]))
    with pytest.raises(sg.Error, match=r"\[square\] expected float32 values, got float64"):
        apply(Broken(forward=lambda inputs, saved: np.zeros(2)))
    with pytest.raises(sg.Error, match="was not kept|'y'"):
        apply(Broken(backward=lambda gy, saved: saved["y"]))
    with pytest.raises(sg.Error, match="one gradient for each of its 1 inputs, got 2"):
        apply(Broken(backward=lambda gy, saved: (sg.count(0), gy)[1:] + (gy,)))
    with pytest.raises(sg.Error, match="expected a sg.Function"):
        apply(object())
    with pytest.raises(NotImplementedError, match="must write forward"):
        apply(sg.Function())


def test_saved_is_valid_only_inside_its_call():
    stash = []

    def forward(inputs, saved):
        stash.append(saved)
        return Square.forward(Square(), inputs, saved)

    apply(Broken(forward=forward))
    with pytest.raises(sg.Error, match="only inside the call"):
        stash[0].keep("late", np.zeros(2, np.float32))

    def backward(gy, saved):
        saved.keep("late", gy)

    with pytest.raises(sg.Error, match="backward may read, not keep"):
        apply(Broken(backward=backward))


def test_what_is_kept_is_an_activation_or_exact():
    def keep(kind):
        def forward(inputs, saved):
            saved.keep("other", inputs[0], kind=kind)
            return Square.forward(Square(), inputs, saved)

        apply(Broken(forward=forward))

    keep("activation")
    keep("exact")
    with pytest.raises(sg.Error, match="unknown kind 'mask'; known: activation, exact$"):
        keep("mask")


class Dense(sg.BackwardRule):
    """The exact rule, in NumPy."""

    def save(self, x, saved, call):
        if call.gw:
            saved.keep("x", x.matrix)

    def backward(self, gy, w, saved, call):
        gy, w = np.asarray(gy), np.asarray(w)
        gw = np.einsum("blc,bld->cd", gy, np.asarray(saved["x"])) if call.gw else None
        sg.count(4 * gy.size * w.shape[1])
        return gy @ w, gw


def test_rule_equals_the_exact_one(precision):
    x, gy = precision.normal(2, 7, 5), precision.normal(2, 7, 3, seed=1)
    results = []
    for rule in (None, Dense()):
        layer = precision.sg.nn.Linear(5, 3, seed=0)
        layer.rule = rule
        tape = precision.sg.Tape()
        v = tape.input(x)
        tape.backward(layer(v), gy)
        results.append((tape.gradient(v), layer.weight.grad, layer.bias.grad))
    for exact, own in zip(*results):
        precision.close(own, exact)
    assert layer.rule is rule
    layer.rule = None
    assert layer.rule.name == "vanilla"


def test_rule_on_a_convolution_and_checked_by_gradcheck():
    conv = sg.float64.nn.Conv2d(2, 3, kernel=3, padding=1)
    conv.rule = Dense()
    assert sg.gradcheck(conv, np.random.default_rng(0).normal(size=(2, 2, 4, 4))).max_error < 1e-6


def test_rules_that_are_wrong():
    class Wrong(Dense):
        def __init__(self, result):
            self.result = result

        def backward(self, gy, w, saved, call):
            sg.count(0)
            return self.result

    def backward(rule):
        layer = sg.nn.Linear(5, 3)
        layer.rule = rule
        tape = sg.Tape()
        tape.backward(sg.sum(layer(tape.input(np.ones((2, 7, 5), np.float32)))))

    with pytest.raises(sg.Error, match=r"\[Wrong\] backward must give a tuple \(gx, gw\)"):
        backward(Wrong(None))
    with pytest.raises(sg.Error, match=r"\[Wrong\] backward must give gx, got None"):
        backward(Wrong((None, None)))
    with pytest.raises(sg.Error, match=r"must give g_x of shape \(2, 7, 5\), got \(1,\)"):
        backward(Wrong((np.zeros(1, np.float32), np.zeros((3, 5), np.float32))))
    with pytest.raises(sg.Error, match="expected a sg.BackwardRule"):
        backward("instant")
    with pytest.raises(NotImplementedError, match="must write save"):
        backward(sg.BackwardRule())


def test_users_rule_trains_the_demo_model(capsys):
    module = example("03_own_rule")
    exact = module.train(None, 12)
    vanilla = sg.meter.phase("g_w")
    losses = module.train(module.RandomTokens(rank=24), 12)
    assert losses[0] == exact[0]  # forward is exact
    assert np.mean(losses[-4:]) < losses[0] - 0.2
    assert 0 < sg.meter.phase("compress") < sg.meter.phase("g_w") < vanilla
    assert "random-tokens" in capsys.readouterr().out


def test_users_rule_counts_what_it_does():
    rule = example("03_own_rule").RandomTokens(rank=4)
    batch, tokens, cx, cy = 2, 16, 5, 3
    layer = sg.nn.Linear(cx, cy, bias=False)
    layer.rule = rule
    rule.projector(tokens)
    sg.meter.reset()
    tape = sg.Tape()
    y = layer(tape.input(np.ones((batch, tokens, cx), np.float32)))
    assert sg.ledger["saved"].live == 4 * batch * 4 * cx
    tape.backward(y, np.ones((batch, tokens, cy), np.float32))
    assert sg.meter.layer("linear") == {
        "forward": 2 * batch * tokens * cx * cy,
        "compress": 2 * batch * 4 * tokens * cx,
        "g_w": 2 * batch * 4 * tokens * cy + 2 * batch * 4 * cx * cy,
        "g_x": 2 * batch * tokens * cx * cy,
    }


def test_layers_that_share_x_share_what_a_rule_keeps():
    rule = example("03_own_rule").RandomTokens(rank=4)
    attention = sg.nn.MultiHeadAttention(8, 2)
    for layer in sg.linear_maps(attention):
        layer.rule = rule
    tape = sg.Tape()
    attention(tape.constant(np.ones((2, 16, 8), np.float32)))
    kept = sg.ledger.saved_by_layer
    per_layer = sg.tensor(np.zeros((2, 4, 8), np.float32)).nbytes  # x̂: (B, R, C)
    assert kept["q"] == kept["proj"] == per_layer
    assert "k" not in kept and "v" not in kept


def models(namespace):
    class Rows(namespace.nn.Module):
        """The rows of an image as tokens."""

        def __init__(self):
            super().__init__()
            self.first = namespace.nn.Linear(6, 8, seed=1)
            self.rest = [namespace.nn.Linear(8, 8, seed=2), namespace.nn.GELU()]
            self.scale = namespace.nn.Parameter(np.ones(8, namespace.zeros((1,)).dtype))

        def forward(self, x):
            x = self.first(x)
            for part in self.rest:
                x = part(x)
            return x * x.tape.parameter(self.scale)

    return Rows


def test_models_written_in_python(precision):
    model = models(precision.sg)()
    names = [name for name, _ in model.named_parameters()]
    assert names == ["first.weight", "first.bias", "rest.0.weight", "rest.0.bias", "scale"]
    assert model.rest[0].path == "rest.0" and model.kind == "Rows"
    chain = precision.sg.nn.Sequential(model, precision.sg.nn.Linear(8, 2))
    assert model.rest[0].path == "0.rest.0"
    optimizer = sg.optim.SGD(chain, lr=0.1)
    scale = model.scale.value.clone()
    tape = precision.sg.Tape()
    tape.backward(sg.sum(chain(tape.constant(precision.normal(2, 3, 6)))))
    precision.close(np.asarray(model.first.bias.grad).shape, (8,))
    optimizer.step()
    assert not sg.identical(scale, model.scale.value)
    if precision.name == "float64":
        assert sg.gradcheck(chain, precision.normal(2, 3, 6)).max_error < 1e-6


def test_replaced_parts_do_not_dangle(precision):
    model = models(precision.sg)()
    optimizer = sg.optim.AdamW(model)
    calibrator = precision.sg.Calibrator(model, "instant")
    model.first = precision.sg.nn.Linear(6, 8)
    gc.collect()
    optimizer.step()
    assert calibrator.ranks()
    del model
    gc.collect()
    optimizer.step()
    calibrator.ranks()


def test_a_model_without_forward_says_so():
    class Nothing(sg.nn.Module):
        """Nothing."""

    with pytest.raises(sg.Error):
        Nothing()(sg.Tape().input(np.ones((1, 1), np.float32)))
    with pytest.raises(TypeError):

        class Mine(sg.nn.Linear):
            """Layers of the library are final."""
