"""Methods of one's own: a rule and an entry, and everything knows them."""

import json

import numpy as np
import pytest

import slimgrad as sg


class EveryNthToken(sg.BackwardRule):
    """g_w from every n-th token, n times as large."""

    name = "py-every-nth"

    def __init__(self, stride):
        self.stride = stride

    def save(self, x, saved, call):
        if call.gw:
            saved.keep("x", np.ascontiguousarray(np.asarray(x.matrix)[:, :: self.stride]))

    def backward(self, gy, w, saved, call):
        gx = sg.linear_gx(gy, w) if call.gx else None
        if not call.gw:
            return gx, None
        some = np.ascontiguousarray(np.asarray(gy)[:, :: self.stride])
        share = some.shape[1] / gy.shape[1]
        return gx, sg.linear_gw(sg.tensor(some), saved["x"]) * (1 / share)


SEEN = []


def make(layer, py_stride):
    SEEN.append((layer, py_stride))
    return EveryNthToken(py_stride)


@pytest.fixture(scope="module", autouse=True)
def registered():
    stride = sg.Option(2, low=1, high=9, help="keep every n-th token")
    sg.register_method(
        "py-every-nth", make, x_slot="every n-th token of x", options={"py_stride": stride}
    )
    sg.register_method(
        "py-words",
        lambda layer, **options: SEEN.append(options),  # gives None: the exact rule
        options={
            "py_share": sg.Option(0.5, low=0.0, high=1.0, help="a number"),
            "py_word": sg.Option("a", words=["a", "b"], help="a word"),
            "py_flag": sg.Option(False, help="yes or no"),
        },
    )


RUN = dict(model="vit-micro", limit_train=64, limit_test=16, batch=16, steps=3, threads=1, quiet=True)


def test_it_trains_and_is_told_its_options(tmp_path):
    assert {"vanilla", "instant", "py-every-nth"} <= set(sg.method_names())
    exact = sg.train(method="vanilla", out=tmp_path / "exact", **RUN)
    SEEN.clear()
    every = sg.train(method="py-every-nth", py_stride=1, out=tmp_path / "every", **RUN)
    assert ("blocks.0.fc1", 1) in SEEN and not any(layer == "head" for layer, _ in SEEN)
    assert every["loss"] == pytest.approx(exact["loss"], rel=1e-4)
    SEEN.clear()
    half = sg.train(method="py-every-nth", out=tmp_path / "half", **RUN)
    assert {stride for _, stride in SEEN} == {2}
    assert half["bytes"]["saved_per_sample_linear"] < exact["bytes"]["saved_per_sample_linear"]
    assert json.loads((tmp_path / "every" / "config.json").read_text())["py_stride"] == 1


def test_it_has_a_row_in_a_comparison(tmp_path):
    specs = ["vanilla", "py-every-nth", "py-every-nth:py-stride=4"]
    found = sg.compare(specs, out=tmp_path / "compare", **RUN)
    assert [row["method"] for row in found["methods"]] == specs
    saved = [row["saved_per_sample_linear"]["mean"] for row in found["methods"]]
    assert saved[0] > saved[1] > saved[2]
    assert (tmp_path / "compare" / "report.html").exists()
    assert sg.compare(specs, out=tmp_path / "compare", resume=True, **RUN) == found


def test_all_runs_of_a_comparison_may_be_given_its_options(tmp_path):
    SEEN.clear()
    sg.compare(["vanilla", "py-every-nth"], py_stride=4, out=tmp_path / "compare", **RUN)
    assert {stride for _, stride in SEEN} == {4}


def test_a_stopped_run_goes_on_to_the_same_bits(tmp_path):
    sg.train(method="py-every-nth", out=tmp_path / "whole", **RUN)
    assert sg.train(method="py-every-nth", out=tmp_path / "run", stop=lambda step: step == 2, **RUN) == {}
    sg.train(resume=tmp_path / "run", quiet=True)
    weights = [(tmp_path / name / "model.safetensors").read_bytes() for name in ("whole", "run")]
    assert weights[0] == weights[1]


@pytest.mark.parametrize("half", [sg, sg.float64])
def test_a_calibrator_installs_it_in_either_precision(half):
    model = half.models.make("vit-micro", channels=1, height=28, width=28)
    SEEN.clear()
    calibrator = half.Calibrator(model, "py-words", py_share=0.25, py_word="b")
    assert not calibrator.needed
    assert SEEN[0] == {"py_share": 0.25, "py_word": "b", "py_flag": False}
    assert all(layer.rule.name == "vanilla" for layer in sg.linear_maps(model))
    half.Calibrator(model, "py-words", py_flag=True)
    assert SEEN[-1]["py_flag"] is True
    for wrong in (1, "yes"):
        with pytest.raises(sg.Error, match="expected true or false as py_flag"):
            half.Calibrator(model, "py-words", py_flag=wrong)


def test_what_it_costs_is_not_guessed():
    with pytest.raises(sg.Error, match="method 'py-every-nth' has no closed form"):
        sg.cost("vit-micro", method="py-every-nth")


def test_what_cannot_be():
    def refused(message, name="py-other", rule=make, **options):
        with pytest.raises(sg.Error, match=message):
            sg.register_method(name, rule, options=options)

    refused("there is already a method 'instant'", "instant")
    refused("expected a function as rule", rule=3)
    refused("there is already an option 'py_stride'", py_stride=sg.Option(3))
    refused("'lr' is an option of every run already", lr=sg.Option(2.0, low=1.0, high=9.0))
    refused("expected options of small letters, digits and '_', got ''", **{"": sg.Option(3)})
    refused("expected a name of letters", "a/b")
    refused("expected a number, a text, True or False as the default of 'n'", n=sg.Option([1]))
    refused("expected a whole number from 0 to 4 as n, got 5", n=sg.Option(5, low=0, high=4))
    model = sg.nn.Linear(3, 4)
    with pytest.raises(sg.Error, match="expected a whole number from 1 to 9 as py_stride, got 10"):
        sg.Calibrator(model, "py-every-nth", py_stride=10)
    with pytest.raises(sg.Error, match="unknown py_word 'c'. Known: a, b"):
        sg.Calibrator(model, "py-words", py_word="c")
