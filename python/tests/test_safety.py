"""What users give by mistake: an sg.Error in the library's words, never a crash or a wrong answer."""

import dataclasses
import decimal

import numpy as np
import pytest

import slimgrad as sg


class Told(sg.Function):
    """y = 2 a; its gradients are what a test says."""

    name = "told"

    def __init__(self, *gradients):
        self.gradients = gradients

    def forward(self, inputs, saved):
        sg.count(inputs[0].size)
        return 2 * np.asarray(inputs[0])

    def backward(self, gy, saved):
        sg.count(0)
        return self.gradients


def test_gradients_of_the_wrong_shape_are_errors(precision):
    def run(*gradients):
        bias = precision.sg.nn.Parameter(np.zeros(10, precision.dtype))
        tape = precision.sg.Tape()
        x = tape.input(np.zeros((2, 3), precision.dtype))
        tape.backward(sg.sum(tape.apply(Told(*gradients), [x, tape.parameter(bias)])))
        return bias

    def zeros(*shape):
        return np.zeros(shape, precision.dtype)

    assert run(zeros(2, 3), zeros(10)).grad.shape == (10,)
    message = r"\[told\] backward gave a gradient of shape \(20000,\) for input 1 of shape \(10,\)"
    with pytest.raises(sg.Error, match=message):
        run(zeros(2, 3), zeros(20000))
    with pytest.raises(sg.Error, match=r"shape \(9,\) for input 1 of shape \(10,\)"):
        run(zeros(2, 3), zeros(9))
    with pytest.raises(sg.Error, match=r"shape \(\) for input 0 of shape \(2, 3\)"):
        run(0.0, zeros(10))
    with pytest.raises(sg.Error, match="gave no gradient for input 1, which needs one"):
        run(zeros(2, 3), None)


def test_a_gradient_of_ones_own_stays_ones_own(precision):
    mine = np.ones(10, precision.dtype)
    bias = precision.sg.nn.Parameter(np.zeros(10, precision.dtype))
    tape = precision.sg.Tape()
    x = tape.input(np.zeros((2, 3), precision.dtype))
    y = tape.apply(Told(np.zeros((2, 3), precision.dtype), mine), [x, tape.parameter(bias)])
    tape.backward(sg.sum(y))
    np.asarray(bias.grad)[:] = 7  # as clipping does
    assert (mine == 1).all()


def test_optimizers_check_gradients_set_by_hand(precision):
    layer = precision.sg.nn.Linear(3, 10)
    with pytest.raises(sg.Error, match=r"expected a gradient of shape \(10,\), got \(20000,\)"):
        layer.bias.grad = np.zeros(20000, precision.dtype)
    with pytest.raises(sg.Error, match=r"expected shape \(10,\), got \(3,\)"):
        layer.bias.value = np.zeros(3, precision.dtype)
    with pytest.raises(sg.Error, match="expected lr >= 0"):
        sg.optim.SGD(layer, lr=0.1).lr = float("nan")


def test_the_gradient_of_an_input_made_after_backward(precision):
    tape = precision.sg.Tape()
    x = tape.input(np.ones(3, precision.dtype))
    tape.backward(sg.sum(x))
    with pytest.raises(sg.Error, match="made after backward"):
        tape.gradient(tape.input(np.ones(3, precision.dtype)))


# --- values that change between forward and backward ----------------------------------------------


def between(precision, change, **options):
    """x W, then `change`, then backward."""
    x = precision.normal(4, 5)
    layer = precision.sg.nn.Linear(5, 3)
    tensor = sg.tensor(x)
    tape = precision.sg.Tape(**options)
    y = sg.sum(sg.exp(layer(tape.input(tensor))))
    change(x, tensor, layer)
    tape.backward(y)


def test_changes_that_the_library_makes_are_found(precision):
    def step(x, tensor, layer):
        for parameter in (layer.weight, layer.bias):
            parameter.grad = np.ones(parameter.shape, precision.dtype)
        sg.optim.AdamW(layer).step()

    def assign(x, tensor, layer):
        layer.weight.value = np.zeros((3, 5), precision.dtype)

    def write(x, tensor, layer):
        tensor[0, 0] = 1

    between(precision, lambda *_: None)
    for change in (step, assign):
        with pytest.raises(sg.Error, match=r"\[linear\] 'w' was changed after it had been kept"):
            between(precision, change)
    with pytest.raises(sg.Error, match=r"\[linear\] 'x' was changed after it had been kept"):
        between(precision, write)


def test_checking_finds_changes_through_numpy(precision):
    def write(x, tensor, layer):
        x[0, 0] += 1

    def train_by_hand(x, tensor, layer):
        np.asarray(layer.weight.value)[:] *= 0.5

    between(precision, lambda *_: None, check_saved=True)
    with pytest.raises(sg.Error, match="'x' was changed"):
        between(precision, write, check_saved=True)
    with pytest.raises(sg.Error, match="'w' was changed"):
        between(precision, train_by_hand, check_saved=True)
    between(precision, write)  # not seen without


def test_checking_finds_functions_that_change_what_they_are_given():
    class Rude(sg.Function):
        """Writes to its input, or to the gradient."""

        def __init__(self, forward):
            self.in_forward = forward

        def forward(self, inputs, saved):
            sg.count(0)
            y = np.array(inputs[0])
            if self.in_forward:
                np.asarray(inputs[0])[0] = 3
            return y

        def backward(self, gy, saved):
            sg.count(0)
            if not self.in_forward:
                np.asarray(gy)[0] = 3
            return gy

    for forward, what in ((True, "forward must not change its inputs"), (False, "must not change the gradient")):
        tape = sg.Tape(check_saved=True)
        with pytest.raises(sg.Error, match=what):
            tape.backward(sg.sum(tape.apply(Rude(forward), [tape.input(np.ones(2, np.float32))])))


# --- odd values -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "value",
    [
        None, "1.5", ["1", "2"], [1, None], [[1, 2], [3]], [1 + 2j], True, [True, False], object(), {1: 2}, b"12",
        [2**70], [decimal.Decimal(1)], [np.datetime64("2020")], [1e39],
    ],
    ids=repr,
)  # fmt: skip
def test_odd_values_are_no_tensors(value):
    with pytest.raises(sg.Error, match=r"\[tensor\]"):
        sg.tensor(value)


def test_nothing_is_no_value(precision):
    tape = precision.sg.Tape()
    layer = precision.sg.nn.Linear(2, 2)
    for call in (
        lambda: tape.input(None),
        lambda: tape.constant(None),
        lambda: tape.apply(None, []),
        lambda: layer(None),
        lambda: precision.sg.nn.Parameter(None),
        lambda: setattr(layer.weight, "value", None),
        lambda: precision.sg.nn.Embedding(3, 2).lookup(None, [0]),
        lambda: precision.sg.nn.Embedding(3, 2).lookup(tape, None),
        lambda: precision.sg.nn.Conv2d(1, 1, kernel=None),
        lambda: sg.lab.linear(precision.normal(1, 2, 2), None, precision.normal(1, 2, 2)),
        lambda: sg.gradcheck(layer, None),
    ):
        with pytest.raises(sg.Error, match="NoneType|object|None"):
            call()


def test_conversions_by_dtype():
    assert sg.tensor(np.array([True, False]), dtype="float32")[0] == 1
    assert sg.tensor([1e39], dtype="float64")[0] == 1e39
    assert sg.tensor([np.inf, np.nan]).shape == (2,)
    assert sg.tensor([]).shape == (0,)
    assert sg.tensor(2**20).item() == 2**20
    for array in (np.array([1j]), np.array(["1"]), np.array([None]), np.array(["2020"], "M8[Y]")):
        with pytest.raises(sg.Error, match="cannot become float32"):
            sg.tensor(array, dtype="float32")
    with pytest.raises(sg.Error, match="expected float32 or float64 values, got float16"):
        sg.tensor([1.0], dtype="float16")
    with pytest.raises(sg.Error, match="expected dtype float32 or float64"):
        sg.tensor([1.0], dtype="nonsense")
    with pytest.raises(sg.Error, match="do not fit into float32"):
        sg.tensor(np.array([1e300]), dtype="float32")


def test_numbers_that_do_not_fit():
    with pytest.raises(sg.Error, match="too large for float32"):
        sg.Tape().input(2**2000)
    with pytest.raises(sg.Error, match="1e[+]?39 does not fit into float32"):
        sg.Tape().constant(1e39)
    with pytest.raises(sg.Error, match="does not fit into float32"):
        sg.zeros((2,)) * 1e39
    assert np.isinf(sg.Tape().constant(float("inf")).item())


@pytest.mark.parametrize("bad", [2**63, -(2**63) - 1, 2**64, 10**30, 10**400])
def test_integers_that_do_not_fit(precision, bad):
    half = precision.sg
    x = half.zeros((2, 3))
    calls = [
        lambda: half.zeros((bad,)),
        lambda: half.normal((2,), seed=2**64 + abs(bad)),
        lambda: half.normal((bad,), seed=0),
        lambda: half.uniform([bad], seed=1),
        lambda: half.Tape(step=-1 if bad < 0 else 2 * bad**2),
        lambda: half.Tape(first_sample=bad),
        lambda: half.nn.Linear(bad, 2),
        lambda: half.nn.Linear(2, 2, seed=-1),
        lambda: half.nn.Conv2d(1, bad),
        lambda: half.nn.Conv2d(1, 1, kernel=bad),
        lambda: half.nn.Conv2d(1, 1, stride=(1, bad)),
        lambda: half.nn.MaxPool2d(bad),
        lambda: half.nn.LayerNorm(bad),
        lambda: half.nn.BatchNorm1d(bad),
        lambda: half.nn.Embedding(2, bad),
        lambda: half.nn.MultiHeadAttention(bad, 1),
        lambda: half.models.make("mlp", classes=bad),
        lambda: x.rows(0, bad),
        lambda: x.reshape((bad,)),
        lambda: sg.reshape(x, [bad]),
        lambda: sg.transpose(x, [0, bad]),
        lambda: sg.slice(x, 0, 0, bad),
        lambda: sg.concat([x, x], bad),
        lambda: sg.sum(x, bad),
        lambda: half.nn.Sequential()[bad],
        lambda: sg.cost("bert-base", tokens=bad),
        lambda: sg.cost("bert-base", method="instant", rank_x=bad, rank_g=1),
        lambda: half.Calibrator(half.nn.Linear(2, 2), rank_x=bad),
        lambda: sg.optim.lr_factor("constant", bad, 10),
        lambda: sg.set_num_threads(bad),
        lambda: sg.count(bad),
        lambda: sg.SnrSource(tokens=bad),
    ]
    for call in calls:
        with pytest.raises(sg.Error, match="expected (an integer|a whole number) from"):
            call()
    with pytest.raises(sg.Error, match="got a far larger one"):
        half.zeros((10**5000,))


def test_sizes_that_overflow(precision):
    half = precision.sg
    large = 2**40
    x = half.zeros((4, 3))
    for call in (
        lambda: half.zeros((large, large)),
        lambda: half.zeros((2**62,)),
        lambda: half.zeros((large, 2**11)),  # 8 or 16 petabytes
        lambda: half.zeros((-1, -1)),
        lambda: x.rows(2, 2**63 - 1),
        lambda: sg.slice(x, 0, 2, 2**63 - 1),
        lambda: x.reshape((large, large)),
        lambda: half.nn.Linear(2**62, 4),
        lambda: half.models.make("mlp", classes=2**62),
        lambda: sg.cost("mlp", classes=2**62),
        lambda: sg.cost("bert-base", tokens=10**11),
        lambda: sg.cost("bert-base", batch=2**62),
    ):
        with pytest.raises(sg.Error):
            call()
    sg.meter.reset()
    sg.count(2**62)
    with pytest.raises(sg.Error, match="does not fit into 64 bits"):
        sg.count(2**62)
    sg.meter.reset()


def test_wrong_types_in_containers_are_named():
    with pytest.raises(sg.Error, match=r"expected kernel as an integer or two of them, got 'three'"):
        sg.nn.Conv2d(1, 1, kernel="three")
    with pytest.raises(sg.Error, match=r"got \(1, 2, 3\)"):
        sg.nn.Conv2d(1, 1, stride=(1, 2, 3))
    with pytest.raises(sg.Error, match="got 2.5"):
        sg.nn.Conv2d(1, 1, padding=2.5)
    with pytest.raises(sg.Error, match="expected a module of float32, got <class 'int'>"):
        sg.nn.Sequential(3)
    with pytest.raises(sg.Error, match="expected a module of float32, got .*f64.Linear"):
        sg.nn.Sequential(sg.float64.nn.Linear(2, 2))
    with pytest.raises(sg.Error, match=r"\[gradcheck\] expected a Var of a float64 tape, got .*float"):
        sg.gradcheck(lambda tape, inputs: 3.0, [np.ones(2)])
    with pytest.raises(sg.Error, match="expected a module or a function, got <class 'int'>"):
        sg.gradcheck(3, [np.ones(2)])
    with pytest.raises(sg.Error, match="expected a list of arrays for a function"):
        sg.gradcheck(lambda tape, inputs: inputs[0], np.ones(2))
    for betas in (0.9, (0.9,), (0.9, 0.99, 0.999)):
        with pytest.raises(sg.Error, match="expected betas as two numbers"):
            sg.optim.Adam(sg.nn.Linear(2, 2), betas=betas)
    with pytest.raises(sg.Error, match="expected an array of float32 or float64"):
        sg.lab.linear([[1], [1, 2]], np.ones((2, 2)), np.ones((1, 1, 2)))
    with pytest.raises(sg.Error, match=r"the call has 1 inputs, asked for number 5"):

        class Asks(sg.Function):
            """Asks for an input that there is not."""

            def forward(self, inputs, saved):
                saved.needs(5)

        tape = sg.Tape()
        tape.apply(Asks(), [tape.input(np.ones(2, np.float32))])


# --- indices and labels ---------------------------------------------------------------------------


def test_indices_are_integers_in_range(precision):
    table = precision.sg.nn.Embedding(4, 2)

    def lookup(indices):
        tape = precision.sg.Tape()
        return table.lookup(tape, indices).shape

    assert lookup([0, 3]) == (2, 2)
    assert lookup(np.array([[1, 2]], np.uint8)) == (1, 2, 2)
    assert lookup(np.array([[1, 2], [3, 0]], np.int64)[:, ::-1]) == (2, 2, 2)
    assert lookup(2) == (2,)
    assert lookup([]) == (0, 2)
    with pytest.raises(sg.Error, match=r"\[embedding\] expected integers, got dtype float64"):
        lookup([0.9, 2.9])
    with pytest.raises(sg.Error, match="expected integers, got dtype bool"):
        lookup([True, False])
    with pytest.raises(sg.Error, match="expected integers, got dtype <U1"):
        lookup(["1"])
    with pytest.raises(sg.Error, match="expected integers, got dtype object"):
        lookup([None])
    with pytest.raises(sg.Error, match="expected integers: .*inhomogeneous"):
        lookup([[1], [1, 2]])
    with pytest.raises(sg.Error, match="fit into 32 bits, got 4294967296"):
        lookup([2**32])
    with pytest.raises(sg.Error, match="fit into 32 bits, got -2147483649"):
        lookup(np.array([-(2**31) - 1]))
    with pytest.raises(sg.Error, match="fit into 32 bits, got 18446744073709551615"):
        lookup(np.array([2**64 - 1], np.uint64))
    with pytest.raises(sg.Error, match="index 4 at position 1 is outside the table of 4 rows"):
        lookup([0, 4])
    with pytest.raises(sg.Error, match="expected a float.* tape, got"):
        table.lookup([0], [0])


def test_labels_are_integers_in_range(precision):
    def loss(labels, **options):
        tape = precision.sg.Tape()
        return sg.cross_entropy(tape.input(precision.normal(2, 3)), labels, **options).item()

    assert loss([0, 2]) == loss(np.array([0, 2], np.uint8)) > 0
    for bad, message in [
        ([0, 2**32], "fit into 32 bits, got 4294967296"),
        ([0, 2**70], "expected integers, got dtype object"),
        ([0.0, 1.0], "expected integers, got dtype float64"),
        ([0, 3], "the label of sample 1 is 3"),
        ([True, False], "got dtype bool"),
        (None, "got dtype object"),
    ]:
        with pytest.raises(sg.Error, match=message):
            loss(bad)
    with pytest.raises(sg.Error, match="expected an integer from -2147483648"):
        loss([0, 1], ignore_index=2**32)


# --- models ---------------------------------------------------------------------------------------


def test_a_model_that_forgets_super_says_so(precision):
    Module = precision.sg.nn.Module
    message = r"must call super\(\).__init__\(\)"

    class Forgets(Module):
        """Does not call super().__init__()."""

        def __init__(self):
            self.layer = precision.sg.nn.Linear(2, 2)

    class Below(Forgets):
        """Its base does not either."""

        def __init__(self):
            super().__init__()

    @dataclasses.dataclass
    class Data(Module):
        """Gets its __init__ after the class was made."""

        size: int

        def forward(self, x):
            return x

    for make in (Forgets, Below):
        with pytest.raises(sg.Error, match=rf"\[{make.__name__}\] .*{message}"):
            make()
    data = Data(3)
    x = precision.sg.Tape().input(precision.normal(2, 2))
    for use in (
        lambda: data(x),
        data.named_parameters,
        data.named_modules,
        data.named_buffers,
        data.zero_grad,
        data.state_dict,
        data.requires_grad_,
        lambda: data.path,
        lambda: sg.linear_maps(data),
        lambda: sg.optim.SGD(data, lr=1),
        lambda: sg.clip_grad_norm(data, 1.0),
        lambda: precision.sg.Calibrator(data),
        lambda: precision.sg.nn.Sequential(data),
    ):
        with pytest.raises(sg.Error, match=rf"\[Data\] .*{message}"):
            use()


def test_forward_must_give_a_value():
    class Mine(sg.nn.Module):
        """Gives an array."""

        def forward(self, x):
            return x.numpy()

    with pytest.raises(sg.Error, match=r"\[0.forward\] expected a Var of a float32 tape"):
        sg.nn.Sequential(Mine())(sg.Tape().input(np.ones((2, 2), np.float32)))


def test_parts_that_a_model_shows_twice_count_once(precision):
    layer = precision.sg.nn.Linear(2, 2)
    chain = precision.sg.nn.Sequential(layer, layer)
    assert [name for name, _ in chain.named_parameters()] == ["0.weight", "0.bias"]
    assert [name for name, _ in chain.named_modules()] == ["", "0"]
    assert len(sg.linear_maps(chain)) == 1
    assert list(chain) == [layer, layer] and chain[-1] is layer
    for parameter in (layer.weight, layer.bias):
        parameter.grad = np.full(parameter.shape, 3, precision.dtype)
    assert sg.clip_grad_norm(chain, 1.0) == pytest.approx(54**0.5)
    gradients = np.concatenate([np.ravel(layer.weight.grad), np.ravel(layer.bias.grad)])
    assert np.linalg.norm(gradients) == pytest.approx(1, rel=1e-5)
    if precision.name == "float64":
        assert sg.gradcheck(chain, precision.normal(3, 2)).max_error < 1e-6

    class Knows(precision.sg.nn.Module):
        """Refers to itself and to its parent."""

        def __init__(self):
            super().__init__()
            self.me, self.layer, self.again = self, layer, layer

    model = Knows()
    model.child = Knows()
    model.child.parent = model
    assert [name for name, _ in model.named_modules()] == ["", "layer", "child"]
    assert list(model.state_dict()) == ["layer.weight", "layer.bias"]


def test_scale_does_not_change_a_result(precision):
    x, gy = precision.normal(4, 12, 6), precision.normal(4, 12, 5, seed=1)
    x *= 0.5 ** np.arange(12, dtype=precision.dtype)[:, None]
    gy *= 0.85 ** np.arange(12, dtype=precision.dtype)[:, None]
    w = precision.normal(5, 6, seed=2)

    def result(x, gy):
        exact = sg.lab.linear(x, w, gy, method="vanilla")
        mine = sg.lab.linear(x, w, gy, epsilon=0.9, oversample=0)
        unit = np.abs(exact.gx).max()  # NumPy's own squares would under- or overflow
        error = np.linalg.norm((mine.gx - exact.gx) / unit) / np.linalg.norm(exact.gx / unit)
        return mine.rank_x, mine.rank_g, error

    expected = result(x, gy)
    assert expected[1] > 1 and np.isfinite(expected[2])
    scales = (2.0**-80, 2.0**60) if precision.name == "float32" else (2.0**-500, 2.0**256)
    for scale in scales:
        got = result(x, gy * precision.dtype.type(scale))
        assert got[:2] == expected[:2]
        assert np.allclose(got[2], expected[2], rtol=1e-5)
        assert result(x * precision.dtype.type(scale), gy)[:2] == expected[:2]
