"""Whole runs from Python, and how they end early."""

import json
import os
import signal
import subprocess
import sys
import time
import warnings
from pathlib import Path

import numpy as np
import pytest

import slimgrad as sg

# Some runs below are vanilla, which calibrates nothing.
pytestmark = pytest.mark.filterwarnings("ignore:calibrate_batches has no effect")

small = dict(
    model="vit-micro",
    batch=16,
    limit_train=128,
    limit_test=64,
    calibrate_batches=1,
    quiet=True,
)


def test_train_returns_the_summary(tmp_path):
    threads = sg.get_num_threads()
    summary = sg.train(method="instant", rank_x=4, rank_g=4, steps=3, threads=1, out=tmp_path / "a", **small)
    assert summary == json.loads((tmp_path / "a" / "summary.json").read_text())
    assert summary["method"] == "instant" and summary["steps"] == 3
    assert summary["flops"]["compress"] > 0 and summary["layers"]
    assert sg.get_num_threads() == threads
    sg.report([tmp_path / "a"], tmp_path / "a.html")
    assert "<html" in (tmp_path / "a.html").read_text()


def test_train_refuses_nonsense(tmp_path):
    with pytest.raises(sg.Error, match="expected out"):
        sg.train(steps=1)
    with pytest.raises(sg.Error, match="unknown option 'step'.*Known: data"):
        sg.train(step=1, out=tmp_path / "x")
    with pytest.raises(sg.Error, match="expected a whole number from 0 to .* as steps, got 'many'"):
        sg.train(steps="many", out=tmp_path / "x")
    with pytest.raises(sg.Error, match="unknown model 'vit-huge'"):
        sg.train(model="vit-huge", out=tmp_path / "x")
    with pytest.raises(sg.Error, match="leave out steps"):
        sg.train(resume=tmp_path, steps=3)
    default, meaning = sg.run_options()["epsilon"]
    assert default == 0.95 and "energy" in meaning


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"lr": float("nan")}, "as lr, got nan"),
        ({"lr": float("inf")}, "as lr, got inf"),
        ({"lr": "1e-3"}, "as lr, got '1e-3'"),
        ({"lr": [1e-3]}, r"expected a number, a text, True or False as lr, got '\[0.001\]'"),
        ({"lr": np.array([1e-3])}, "as lr, got 'array"),
        ({"lr": 1e-3j}, "as lr"),
        ({"lr": 10**400}, "as lr, got inf"),
        ({"epochs": True}, "as epochs, got 'true'"),
        ({"epochs": np.float64(2)}, "as epochs, got 2"),
        ({"epochs": 2**62 + 1}, "from 1 to 1000000 as epochs, got 4611686018427387905"),
        ({"epochs": 2**70}, "as epochs, got inf"),
        ({"epochs": np.int64(-1)}, "as epochs, got -1"),
        ({"seed": -1}, "as seed, got -1"),
        ({"threads": 3000}, "as threads, got 3000"),
        ({"augment": 1}, "true or false as augment, got 1"),
        ({"optimizer": 3}, "one of sgd, adam, adamw as optimizer, got 3"),
        ({"vocab": 3}, "a text as vocab"),
        ({"data": "\udcff"}, "expected UTF-8 as data"),
        ({"side_x": "left"}, "unknown side_x 'left'"),
        ({"lr_": 1}, "unknown option 'lr_'"),
        ({"from_": "a", "from": "b"}, "expected from once"),
        ({"epsilon": 0}, "as epsilon, got 0"),
        ({"rank_g": 0}, "as rank_g, got 0"),
        ({"overwrite": 1}, "True or False as overwrite, got 1"),
        ({"stop": 3}, "a function of the step as stop, got 3"),
    ],
)
def test_every_value_is_checked_with_the_librarys_words(tmp_path, options, message):
    with pytest.raises(sg.Error, match=message) as error:
        sg.train(**{"out": tmp_path / "x", "steps": 1, **small, **options})
    assert "\n" not in str(error.value) and not (tmp_path / "x").exists()
    if options.keys() & {"stop"}:
        return
    with pytest.raises(sg.Error, match=message):
        sg.compare(["vanilla"], **{"out": tmp_path / "x", "steps": 1, **small, **options})
    assert not (tmp_path / "x").exists()


def test_numbers_of_numpy_and_paths_are_taken(tmp_path):
    options = dict(small, batch=np.int32(16), lr=np.float32(1e-3), augment=np.bool_(False), dropout=None)
    summary = sg.train(steps=np.uint8(1), out=tmp_path / "a", seed=2**63 - 1, **options)
    assert summary["steps"] == 1 and summary["config"]["lr"] == float(np.float32(1e-3))
    assert summary["config"]["seed"] == 2**63 - 1
    document = sg.compare(["vanilla"], seeds=np.int64(2), seed=np.int8(3), steps=1, out=tmp_path / "b", **small)
    assert [Path(run).name for run in document["runs"]] == ["vanilla-seed3", "vanilla-seed4"]


def test_options_without_effect_are_named(tmp_path):
    with pytest.warns(UserWarning, match="momentum has no effect: the optimizer is adamw") as seen:
        sg.train(method="instant", momentum=0.5, steps=1, out=tmp_path / "a", **small)
        sg.compare(["instant"], momentum=0.5, steps=1, out=tmp_path / "d", **small)
    assert [Path(warning.filename).name for warning in seen] == [Path(__file__).name] * 2
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        # A whole configuration: what is as by default says nothing.
        config = json.loads((tmp_path / "a" / "config.json").read_text()) | {"momentum": 0.9}
        sg.train(**{**config, "out": tmp_path / "b"}, quiet=True)
        sg.compare(["vanilla", "instant"], epsilon=0.9, steps=1, out=tmp_path / "c", **small)


def test_compare_refuses_nonsense(tmp_path):
    for methods, seeds, message in [
        ("vanilla", 1, "a list of methods, got 'vanilla'"),
        ([], 1, "a list of methods"),
        (["vanilla", "vanilla"], 1, "each method once"),
        ([1], 1, "a list of methods"),
        (["vanilla"], 10**8, "from 1 to 1000 as seeds, got 100000000"),
        (["vanilla"], 1.5, "a whole number from 1 to 1000 as seeds, got 1.5"),
        (["vanilla"], 2**70, "a whole number from 1 to 1000 as seeds, got inf"),
        (["vanilla"], None, "a number, a text, True or False as seeds, got 'None'"),
        (["instant:oversample"], 1, "expected option=value after the method, got 'oversample'"),
        (["instant:oversample=many"], 1, "as oversample, got 'many'"),
        (["vanilla:seed=3"], 1, "'seed' is not for a method to choose"),
        (["vanilla", "caf\udce9"], 1, "expected UTF-8 as methods"),
    ]:
        with pytest.raises(sg.Error, match=message):
            sg.compare(methods, seeds=seeds, out=tmp_path / "x", **small)
    with pytest.raises(sg.Error, match="as seed, got 9223372036854775808"):
        sg.compare(["vanilla"], seeds=2, seed=2**63 - 1, out=tmp_path / "x", **small)
    with pytest.raises(sg.Error, match="a path as out"):
        sg.compare(["vanilla"], out=3, **small)
    with pytest.raises(sg.Error, match="leave out one of them"):
        sg.compare(["vanilla"], out=tmp_path / "x", resume=True, overwrite=True, **small)
    with pytest.raises(sg.Error, match="method is not an option of the runs"):
        sg.compare(["vanilla"], out=tmp_path / "x", method="instant", **small)
    assert not (tmp_path / "x").exists()


def test_compare_looks_at_every_place_before_its_first_run(tmp_path):
    out = tmp_path / "out"
    (out / "instant-seed0").mkdir(parents=True)
    (out / "instant-seed0" / "mine").write_text("mine")
    with pytest.raises(sg.Error, match="is not empty and holds no run"):
        sg.compare(["vanilla", "instant"], steps=1, out=out, **small)
    assert not (out / "vanilla-seed0").exists()
    sg.compare(["vanilla"], steps=1, out=tmp_path / "b", **small)
    begun = tmp_path / "b" / "vanilla-seed0"
    before = (begun / "summary.json").read_text()
    with pytest.raises(sg.Error, match="expected another directory as out"):
        sg.compare(["compress-x", "vanilla"], from_=begun, overwrite=True, steps=1, out=tmp_path / "b", **small)
    assert (begun / "summary.json").read_text() == before


def test_stop_and_resume_give_the_same_bits(tmp_path):
    through = sg.train(steps=4, out=tmp_path / "through", **small)
    assert sg.train(steps=4, out=tmp_path / "cut", stop=lambda step: step == 2, **small) == {}
    resumed = sg.train(resume=tmp_path / "cut", quiet=True)
    assert resumed["loss"] == through["loss"]
    weights = (tmp_path / "through" / "model.safetensors").read_bytes()
    assert (tmp_path / "cut" / "model.safetensors").read_bytes() == weights


def test_a_run_that_is_complete_stays_as_it_is(tmp_path):
    summary = sg.train(steps=2, out=tmp_path / "a", **small)
    before = (tmp_path / "a" / "summary.json").stat().st_mtime_ns
    assert sg.train(resume=tmp_path / "a", quiet=True) == summary
    assert (tmp_path / "a" / "summary.json").stat().st_mtime_ns == before


def test_one_at_a_time_uses_a_directory_and_others_are_left_alone(tmp_path):
    seen = []

    def stop(step):
        with pytest.raises(sg.Error, match="is in use by process") as error:
            sg.train(resume=tmp_path / "a", quiet=True)
        seen.append(str(error.value))
        return True

    assert sg.train(steps=2, out=tmp_path / "a", stop=stop, **small) == {}
    assert len(seen) == 1
    assert sg.train(resume=tmp_path / "a", quiet=True)["steps"] == 2
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "model.safetensors").write_text("my weights")
    for overwrite in (False, True):
        with pytest.raises(sg.Error, match="is not empty and holds no run"):
            sg.train(steps=2, out=tmp_path / "mine", overwrite=overwrite, **small)
    assert (tmp_path / "mine" / "model.safetensors").read_text() == "my weights"


def test_what_stop_raises_comes_out_after_a_checkpoint(tmp_path):
    def stop(step):
        if step == 1:
            raise LookupError("enough")
        return False

    with pytest.raises(LookupError, match="enough"):
        sg.train(steps=4, out=tmp_path / "a", stop=stop, **small)
    assert (tmp_path / "a" / "checkpoint.safetensors").exists()


@pytest.mark.parametrize("calibrating", [False, True])
def test_ctrl_c_saves_and_raises_keyboard_interrupt(tmp_path, calibrating):
    # A test run in the background inherits that Ctrl-C is ignored; this process is to heed it.
    code = """
import signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)
import slimgrad as sg
method = dict(method="instant", calibrate_batches=1_000_000) if sys.argv[2] == "True" else {}
try:
    sg.train(steps=100000, batch=16, limit_train=128, out=sys.argv[1], quiet=True, **method)
except KeyboardInterrupt:
    print("interrupted")
"""
    run = tmp_path / "run"
    process = subprocess.Popen(
        [sys.executable, "-c", code, str(run), str(calibrating)], stdout=subprocess.PIPE, text=True
    )
    metrics = run / "metrics.jsonl"
    deadline = time.monotonic() + 120
    try:
        while not (metrics.exists() and (calibrating or metrics.stat().st_size > 0)):
            assert process.poll() is None and time.monotonic() < deadline
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        assert process.communicate(timeout=120)[0] == "interrupted\n"
    finally:
        process.kill()
    assert process.returncode == 0
    assert (run / "checkpoint.safetensors").exists()


def test_train_on_texts_and_from_a_run(tmp_path):
    options = dict(data="embedded-text", batch=8, max_length=32, limit_train=32, limit_test=16, quiet=True)
    first = sg.train(model="bert-tiny", steps=2, out=tmp_path / "a", **options)
    assert first["f1"] >= 0 and first["majority_baseline"]["f1"] == pytest.approx(2 / 3)
    again = sg.train(from_=tmp_path / "a", lr=0, steps=1, out=tmp_path / "b", **options)
    assert again["accuracy"] == first["accuracy"] and again["model"] == "bert-tiny"
    with pytest.raises(sg.Error, match="no such file or directory"):
        sg.train(from_=tmp_path / "none", out=tmp_path / "c", **options)


def test_texts_filled_up_to_the_longest_of_their_batch(tmp_path):
    options = dict(data="embedded-text", model="bert-tiny", batch=8, max_length=96, limit_train=32, limit_test=16)
    options.update(steps=3, quiet=True)
    rows = sg.compare(["vanilla", "vanilla:pad=batch", "sketch:rank=4:pad=batch"], out=tmp_path / "c", **options)["methods"]
    filled, shorter, sketched = (row["backward_flops"]["mean"] for row in rows)
    assert sketched < shorter < filled
    run = sg.train(pad="batch", out=tmp_path / "a", **options)
    assert run["tokens"]["per_sample"] < 96 and run["config"]["pad"] == "batch"
    assert sg.run_options()["pad"][0] == "fixed"
    with pytest.raises(sg.Error, match="'instant' calibrates projectors along the tokens of x and g_y"):
        sg.train(method="instant", pad="batch", out=tmp_path / "b", **options)
    with pytest.raises(sg.Error, match="pad is for texts, data 'embedded-images' are images"):
        sg.train(pad="batch", out=tmp_path / "b", **small)


def test_compare(tmp_path):
    result = sg.compare(["vanilla", "compress-x"], seeds=2, steps=2, out=tmp_path / "c", **small)
    assert len(result["runs"]) == 4
    vanilla, compressed = result["methods"]
    assert vanilla["method"] == "vanilla" and vanilla["accuracy"]["sd"] is not None
    assert vanilla["mean_rank_x"] is None
    assert compressed["saved_per_sample"]["mean"] < vanilla["saved_per_sample"]["mean"]
    summary = json.loads((Path(result["runs"][0]) / "summary.json").read_text())
    assert vanilla["optimizer_bytes"]["mean"] == summary["bytes"]["optimizer"] > 0
    assert result["majority_baseline"] == summary["majority_baseline"]
    assert result == json.loads((tmp_path / "c" / "compare.json").read_text())
    assert "majority class" in (tmp_path / "c" / "compare.md").read_text()
    assert (tmp_path / "c" / "report.html").exists()
    with pytest.raises(sg.Error, match="holds another comparison"):
        sg.compare(["vanilla"], steps=2, out=tmp_path / "c", **small)
    sg.compare(["vanilla"], steps=2, out=tmp_path / "c", overwrite=True, **small)
    assert not (tmp_path / "c" / "slimgrad.lock").exists()
    with pytest.raises(sg.Error, match="unknown method 'magic'"):
        sg.compare(["magic"], out=tmp_path / "d", steps=1, **small)
    with pytest.raises(sg.Error, match="from 1 to 1000 as seeds, got 0"):
        sg.compare(["vanilla"], seeds=0, out=tmp_path / "d", **small)


def test_methods_of_a_comparison_have_options_of_their_own(tmp_path):
    specs = ["instant:rank-x=4:rank-g=4:epochs=2", "instant:rank_x=8:rank_g=4:lr-step=3"]
    with pytest.warns(UserWarning, match="lr-step=3: lr_step has no effect: the schedule") as seen:
        result = sg.compare(specs, out=tmp_path / "c", **small)
    assert Path(seen[0].filename).name == Path(__file__).name
    first, second = result["methods"]
    assert [first["method"], second["method"]] == specs
    assert (first["mean_rank_x"]["mean"], second["mean_rank_x"]["mean"]) == (4, 8)
    assert (first["epochs"], second["epochs"]) == (2, 1)
    assert first["best_accuracy"]["mean"] >= first["accuracy"]["mean"]
    assert "best accuracy %" in (tmp_path / "c" / "compare.md").read_text()


def test_a_comparison_goes_on_where_it_was_stopped(tmp_path):
    def compare(**more):
        return sg.compare(["vanilla", "instant"], steps=3, out=tmp_path / "c", **more, **small)

    straight = compare()
    # One run finished, of the other only the checkpoint is there.
    finished, half = (tmp_path / "c" / f"{method}-seed0" for method in ("vanilla", "instant"))
    before = (finished / "summary.json").stat().st_mtime_ns
    (half / "summary.json").unlink()
    resumed = compare(resume=True)
    assert (finished / "summary.json").stat().st_mtime_ns == before
    assert (half / "summary.json").exists()
    assert [row["accuracy"] for row in resumed["methods"]] == [row["accuracy"] for row in straight["methods"]]
    with pytest.raises(sg.Error, match="was run with other options: batch is 8 and was 16"):
        sg.compare(["vanilla"], steps=3, out=tmp_path / "c", resume=True, **{**small, "batch": 8})


def test_ctrl_c_in_a_comparison_saves_and_it_goes_on(tmp_path):
    code = """
import json, signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)
import slimgrad as sg
try:
    sg.compare(["compress-x"], out=sys.argv[1], **json.loads(sys.argv[2]))
except KeyboardInterrupt:
    print("interrupted")
"""
    options = dict(small, steps=300, threads=1)
    process = subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path / "c"), json.dumps(options)],
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    run = tmp_path / "c" / "compress-x-seed0"
    deadline = time.monotonic() + 120
    try:
        while not ((run / "metrics.jsonl").exists() and (run / "metrics.jsonl").stat().st_size > 0):
            assert process.poll() is None and time.monotonic() < deadline
            time.sleep(0.05)
        os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to the run as well
        assert process.communicate(timeout=120)[0] == "interrupted\n"
    finally:
        process.kill()
    assert (run / "checkpoint.safetensors").exists() and not (run / "summary.json").exists()
    assert not (tmp_path / "c" / "slimgrad.lock").exists()
    [row] = sg.compare(["compress-x"], out=tmp_path / "c", resume=True, **options)["methods"]
    assert row["seeds"] == 1 and (run / "summary.json").exists()


def test_a_run_that_fails_says_why_in_the_comparison(tmp_path):
    with pytest.raises(sg.Error, match="step .*Hint: a lower --lr") as error:
        sg.compare(["vanilla"], lr=1e30, optimizer="sgd", steps=9, out=tmp_path / "c", **small)
    assert "\n" not in str(error.value)
