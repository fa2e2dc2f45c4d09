"""Copies, pickles, and what the garbage collector may take."""

import copy
import gc
import pickle
import weakref

import numpy as np
import pytest

import slimgrad as sg


class Remembers(sg.BackwardRule):
    """The exact rule, with something to hold on to."""

    def __init__(self, held=None):
        self.held = held

    def save(self, x, saved, call):
        if call.gw:
            saved.keep("x", x.matrix)

    def backward(self, gy, w, saved, call):
        gw = sg.linear_gw(gy, saved["x"]) if call.gw else None
        return sg.linear_gx(gy, w) if call.gx else None, gw


class Two(sg.nn.Module):
    """A model written in Python."""

    def __init__(self):
        super().__init__()
        self.first = sg.nn.Linear(4, 3, seed=1)
        self.rest = [sg.nn.BatchNorm1d(3), sg.nn.Linear(3, 2, bias=False, seed=2)]
        self.scale = sg.nn.Parameter(np.full(2, 3, np.float32))
        self.note = "mine"

    def forward(self, x):
        x = self.first(x)
        for part in self.rest:
            x = part(x)
        return x * x.tape.parameter(self.scale)


def gone(make):
    """Whether what `make` gives a weak reference to dies without it."""
    reference = make()
    gc.collect()
    return reference() is None


def run(module, x):
    tape = sg.Tape()
    y = module(tape.input(x))
    tape.backward(sg.sum(y))
    return tape, y


# --- the garbage collector ------------------------------------------------------------------------


def test_a_rule_that_refers_to_its_layer_is_freed():
    def of_layer():
        layer = sg.nn.Linear(3, 3)
        layer.rule = Remembers(layer)
        run(layer, np.ones((2, 4, 3), np.float32))
        return weakref.ref(layer.rule)

    def of_parameter():
        layer = sg.nn.Linear(3, 3)
        layer.rule = Remembers(layer.weight)
        return weakref.ref(layer.rule)

    def inside_a_model():
        model = sg.models.make("vit-micro", channels=1, height=8, width=8)
        for layer in sg.linear_maps(model):
            layer.rule = Remembers((layer, model))
        return weakref.ref(model)

    def inside_attention():
        attention = sg.nn.MultiHeadAttention(4, 2)
        q = sg.linear_maps(attention)[0]
        q.rule = Remembers(q)
        return weakref.ref(attention)

    def without_backward():
        layer = sg.nn.Linear(3, 3)
        tape = sg.Tape()
        layer.rule = Remembers((layer, tape, layer(tape.input(np.ones((2, 4, 3), np.float32)))))
        return weakref.ref(tape)

    for make in (of_layer, of_parameter, inside_a_model, inside_attention, without_backward):
        assert gone(make), make.__name__


def test_models_that_know_their_surroundings_are_freed():
    def optimizer():
        model = Two()
        model.optimizer = sg.optim.AdamW(model)
        model.calibrator = sg.Calibrator(model)
        return weakref.ref(model)

    def value():
        model = Two()
        _, model.hidden = run(model, np.ones((3, 4), np.float32))
        return weakref.ref(model)

    def parent():
        model = Two()
        chain = sg.nn.Sequential(model, sg.nn.ReLU())
        model.parent = chain
        return weakref.ref(chain)

    def listed():
        model = Two()
        model.names = (model.named_modules(), model.named_parameters(), sg.linear_maps(model))
        return weakref.ref(model)

    def function():
        tape = sg.Tape()
        x = tape.input(np.ones(2, np.float32))

        class Holds(sg.Function):
            """Holds a value of the tape that runs it."""

            value = x

            def forward(self, inputs, saved):
                sg.count(0)
                return np.array(inputs[0])

        tape.apply(Holds(), [x])
        return weakref.ref(tape)

    for make in (optimizer, value, parent, listed, function):
        assert gone(make), make.__name__


def test_listing_parts_makes_no_cycle():
    gc.collect()
    gc.disable()
    try:
        model = Two()
        model.named_modules(), model.named_parameters(), sg.linear_maps(model), model.state_dict()
        chain = sg.nn.Sequential(model)
        chain.named_modules(), sg.linear_maps(chain)
        references = [weakref.ref(model), weakref.ref(chain)]
        del model, chain
        assert [reference() for reference in references] == [None, None]
    finally:
        gc.enable()


def test_rules_of_living_models_stay():
    model = sg.models.make("vit-micro", channels=1, height=8, width=8)
    for layer in sg.linear_maps(model):
        layer.rule = Remembers(layer)  # nothing else refers to these objects
    del layer
    for _ in range(3):
        gc.collect()
    assert all(isinstance(layer.rule, Remembers) for layer in sg.linear_maps(model))
    run(model, np.ones((2, 1, 8, 8), np.float32))
    layer = sg.nn.Linear(3, 3)
    layer.rule = Remembers(layer)
    tape = sg.Tape()
    y = sg.sum(layer(tape.input(np.ones((2, 4, 3), np.float32))))
    weight = layer.weight
    del layer
    gc.collect()
    tape.backward(y)  # the tape keeps the layer, and its rule
    assert weight.grad is not None


def test_what_is_inside_a_replaced_part_stays_alive():
    class Holder(sg.nn.Module):
        """Has attention."""

        def __init__(self):
            super().__init__()
            self.attention = sg.nn.MultiHeadAttention(4, 2, seed=3)

    model = Holder()
    q = dict(model.named_modules())["attention.q"]
    weight = dict(model.named_parameters())["attention.q.weight"]
    before = np.array(q.weight.value)
    model.attention = sg.nn.MultiHeadAttention(4, 2, seed=4)
    gc.collect()
    junk = [sg.nn.MultiHeadAttention(4, 2, seed=5) for _ in range(20)]
    np.testing.assert_array_equal(np.asarray(q.weight.value), before)
    np.testing.assert_array_equal(np.asarray(weight.value), before)
    del junk


def test_payloads_are_not_shared_with_a_later_owner_at_the_same_address():
    made = []

    class Keeps(sg.Function):
        """Keeps something for an owner that dies at once."""

        def forward(self, inputs, saved):
            sg.count(0)
            saved.keep_once("x", object(), inputs[0], lambda: made.append(1) or np.ones(2, np.float32))
            return np.array(inputs[0])

    tape = sg.Tape()
    x = tape.input(np.ones(2, np.float32))
    for _ in range(10):
        tape.apply(Keeps(), [x])
    assert len(made) == 10


# --- copies ---------------------------------------------------------------------------------------

ways = [copy.copy, copy.deepcopy, lambda x: pickle.loads(pickle.dumps(x))]


@pytest.mark.parametrize("way", ways, ids=["copy", "deepcopy", "pickle"])
def test_tensors_and_parameters_are_copied(precision, way):
    for shape in ((3, 4), (), (0, 2)):
        t = sg.tensor(precision.normal(*shape) if shape else np.ones((), precision.dtype))
        again = way(t)
        assert sg.identical(t, again) and again.dtype == precision.dtype
        assert not np.shares_memory(np.asarray(t), np.asarray(again))
    parameter = precision.sg.nn.Parameter(precision.normal(3))
    parameter.requires_grad = False
    parameter.grad = precision.normal(3)
    again = way(parameter)
    assert sg.identical(parameter.value, again.value) and type(again) is type(parameter)
    assert again.requires_grad is False and again.grad is None


def layers(nn):
    return [
        (nn.Linear(4, 3, seed=1), (2, 4)),
        (nn.Linear(4, 3, bias=False), (2, 5, 4)),
        (nn.Conv2d(2, 4, kernel=(3, 1), stride=2, padding=(1, 0), groups=2, seed=5), (2, 2, 5, 4)),
        (nn.LayerNorm(4, eps=0.1), (3, 4)),
        (nn.BatchNorm1d(4, momentum=0.5), (3, 4)),
        (nn.BatchNorm2d(2), (3, 2, 2, 2)),
        (nn.MultiHeadAttention(4, 2, fused_qkv=True, bias=False), (2, 3, 4)),
        (nn.MultiHeadAttention(4, 2, seed=3), (2, 3, 4)),
        (nn.ReLU(), (2, 2)),
        (nn.SiLU(), (2, 2)),
        (nn.GELU("tanh"), (2, 2)),
        (nn.Softmax(), (2, 2)),
        (nn.Flatten(), (2, 2, 2)),
        (nn.Dropout(0.25), (2, 50)),
        (nn.MaxPool2d(2), (1, 1, 4, 4)),
        (nn.AvgPool2d((2, 1), stride=1, padding=(1, 0)), (1, 1, 4, 4)),
        (nn.AvgPool2d(3, stride=1, padding=1, count_include_pad=False), (1, 1, 4, 4)),
        (nn.ReLU6(), (2, 2)),
        (nn.DropPath(0.25), (50, 2)),
        (nn.LayerScale(2, 0.5), (1, 2, 4, 4)),
        (nn.SamePad2d(3, stride=(2, 1)), (1, 1, 4, 4)),
        (nn.UpsampleBilinear2d(2), (1, 1, 4, 4)),
        (nn.GlobalAvgPool2d(), (1, 1, 4, 4)),
        (nn.Sequential(nn.Linear(4, 3, seed=7), nn.ReLU()), (2, 4)),
    ]


@pytest.mark.parametrize("way", ways, ids=["copy", "deepcopy", "pickle"])
def test_layers_are_copied(precision, way):
    for layer, shape in layers(precision.sg.nn):
        x = precision.normal(*shape)
        run_of = precision.sg.Tape
        layer(run_of().constant(x))  # so that running statistics have moved
        layer.requires_grad_(False)
        again = way(layer)
        assert type(again) is type(layer)
        states = [module.state_dict() for module in (layer, again)]
        assert list(states[0]) == list(states[1])
        for name, tensor in states[0].items():
            assert sg.identical(tensor, states[1][name])
            if not (way is copy.copy and isinstance(layer, precision.sg.nn.Sequential)):
                assert not np.shares_memory(np.asarray(tensor), np.asarray(states[1][name]))
        assert not any(p.requires_grad for _, p in again.named_parameters())
        y, z = (module(run_of().constant(x)).numpy() for module in (layer, again))
        np.testing.assert_array_equal(y, z)
    norm = precision.sg.nn.BatchNorm2d(2)
    norm.frozen = True
    assert way(norm).frozen
    table = precision.sg.nn.Embedding(5, 2, padding_index=1)
    again = way(table)
    assert sg.identical(table.weight.value, again.weight.value)
    tape = precision.sg.Tape()
    tape.backward(sg.sum(again.lookup(tape, [1, 2])))
    assert np.asarray(again.weight.grad)[1].tolist() == [0, 0]


@pytest.mark.parametrize("way", ways[1:], ids=["deepcopy", "pickle"])
def test_models_are_copied(way):
    model = Two()
    model.myself = model
    model.rest[1].rule = Remembers(model.first)
    model.first.compressible = False
    model.first.input_group = "together"
    again = way(model)
    assert again.note == "mine" and again.myself is again
    assert again.rest[0].path == "rest.0" and again.kind == "Two"
    assert isinstance(again.rest[1].rule, Remembers) and again.rest[1].rule.held is again.first
    assert again.first.compressible is False and again.first.input_group == "together"
    x = np.random.default_rng(0).normal(size=(3, 4)).astype(np.float32)
    for module in (model, again):
        run(module, x)
    for (name, mine), (other, its) in zip(model.named_parameters(), again.named_parameters()):
        assert name == other and sg.identical(mine.grad, its.grad)
    np.asarray(again.scale.value)[:] = 0
    assert np.asarray(model.scale.value)[0] == 3

    named = sg.models.make("vit-micro", channels=1, height=8, width=8, classes=3, seed=9)
    twin = way(named)
    assert all(sg.identical(t, twin.state_dict()[n]) for n, t in named.state_dict().items())
    assert [m.path for m in twin.blocks] == [m.path for m in named.blocks]
    double = way(sg.float64.models.make("mlp", channels=1, height=2, width=2))
    assert double.state_dict()["head.weight"].dtype == np.float64


def test_what_cannot_be_copied_says_so():
    model = Two()
    tape, y = run(model, np.ones((3, 4), np.float32))
    calibrator = sg.Calibrator(model, "instant", rank_x=1, rank_g=1)
    optimizer = sg.optim.AdamW(model)
    for what, name in [(tape, "tape"), (y, "var"), (calibrator, "calibrator"), (optimizer, "optimizer"),
                       (model.first.rule, "rule")]:  # fmt: skip
        for way in ways:
            with pytest.raises(sg.Error, match=rf"\[{name}\] it can be neither copied nor pickled. Hint"):
                way(what)


def test_the_state_of_a_calibration_is_pickled_and_its_rules_are_not():
    model = sg.models.make("vit-micro", channels=1, height=8, width=8)
    images = np.random.default_rng(0).normal(size=(4, 1, 8, 8)).astype(np.float32)

    def batches():
        tape = sg.Tape(update_statistics=False)
        tape.backward(sg.cross_entropy(model(tape.constant(images)), [0, 1, 2, 3]))

    calibrator = sg.Calibrator(model, "instant", rank_x=2, rank_g=2)
    calibrator.calibrate(batches)
    with pytest.raises(sg.Error, match="a layer with the rule '.*' can be neither copied"):
        copy.deepcopy(model)
    state = pickle.loads(pickle.dumps(calibrator.state()))
    for slot, again in zip(calibrator.state(), state):
        assert (slot.name, slot.found.rank, slot.found.side) == (again.name, again.found.rank, again.found.side)
        assert sg.identical(slot.basis, again.basis)
    for layer in sg.linear_maps(model):
        layer.rule = None
    twin = copy.deepcopy(model)
    other = sg.Calibrator(twin, "instant", rank_x=2, rank_g=2)
    other.restore(state)
    assert [r.rank_x for r in other.ranks()] == [r.rank_x for r in calibrator.ranks()]
