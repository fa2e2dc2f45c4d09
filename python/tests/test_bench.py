"""The driver of the benchmarks (bench/), with workers that are made up: no time, no PyTorch."""

import json
import struct
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "bench"))
contest = pytest.importorskip("contest")
import report  # noqa: E402

FAKE = """
import json, sys
for line in sys.stdin:
    command = json.loads(line)
    what = command["do"]
    if what == "run":
        answer = {"seconds": {"forward": 1.0, "backward": float(command["id"][-1]), "backward.fc1": 0.5}}
    elif what == "prepare":
        case = {"name": command["case"], "flop_ratio": 2.0}
        answer = {"error": "no such case"} if command["id"] == "bad9" else {"case": case}
    else:
        answer = {}
    print(json.dumps(answer), flush=True)
"""


@pytest.fixture
def worker():
    with contest.Worker([sys.executable, "-c", FAKE], contest.environment(1, False)) as made:
        yield made


class Say:
    stopped = False

    def __call__(self, text):
        pass


def contestants(*names):
    return [contest.Contestant(name, "slimgrad", {"method": "vanilla"}) for name in names]


def test_every_contestant_runs_once_a_round(worker):
    outcome = contest.run("case", contestants("a1", "b2"), {"slimgrad": worker}, 3, 1, Say())
    assert outcome.rounds == 3 and outcome.refused == {}
    assert outcome.seconds["a1"]["backward"] == [1.0] * 3
    assert outcome.seconds["b2"]["backward"] == [2.0] * 3
    assert outcome.flop_ratio == {"a1": 2.0, "b2": 2.0}


def test_who_cannot_be_prepared_does_not_run(worker):
    outcome = contest.run("case", contestants("a1", "bad9"), {"slimgrad": worker}, 2, 0, Say())
    assert list(outcome.seconds) == ["a1"]
    assert outcome.refused == {"bad9": "no such case"}


def test_ctrl_c_keeps_the_rounds_that_are_complete(worker):
    class Stopping(Say):
        def __call__(self, text):
            if "round 3" in text:
                raise KeyboardInterrupt

    say = Stopping()
    outcome = contest.run("case", contestants("a1", "b2"), {"slimgrad": worker}, 9, 0, say)
    assert say.stopped and outcome.rounds == 2
    assert outcome.seconds["a1"]["forward"] == [1.0, 1.0]


def test_a_worker_that_dies_is_an_error():
    with contest.Worker([sys.executable, "-c", "raise SystemExit(3)"], {}) as dead:
        with pytest.raises(contest.WorkerError):
            dead.ask(do="hello")


def test_settings_by_hand_do_not_reach_the_workers(monkeypatch):
    monkeypatch.setenv("OPENBLAS_CORETYPE", "Prescott")
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    assert "OPENBLAS_CORETYPE" not in contest.environment(2, True)
    assert contest.environment(2, True)["OMP_NUM_THREADS"] == "2"
    assert contest.environment(1, False, "Haswell")["OPENBLAS_CORETYPE"] == "Haswell"


def test_spoiling_changes_one_value(tmp_path):
    header = json.dumps({"a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]},
                         "b": {"dtype": "F32", "shape": [2], "data_offsets": [4, 12]}}).encode()
    file = tmp_path / "x.safetensors"
    file.write_bytes(struct.pack("<Q", len(header)) + header + struct.pack("<3f", 1, 2, 3))
    contest.spoil(file, "b")
    assert struct.unpack("<3f", file.read_bytes()[-12:]) == (1, 3, 3)


def results(build="x"):
    def one(**seconds):
        return {"threads": 2, "build": build, "flop_ratio": {"instant R16": 4.0}, "seconds": seconds}

    phases = lambda backward, compress=0.0: {"backward": [backward] * 3, "compress": [compress] * 3,
                                             "backward.fc1": [9.0] * 3}
    step = lambda seconds: {"forward": [seconds] * 3, "backward": [seconds] * 3, "optimizer": [0.0] * 3}
    environment = {"cpu": "a processor", "system": "Linux", "slimgrad": "0.1", "revision": "abc", "date": "today"}
    return {"settings": {"rounds": 3}, "environment": environment, "build": "x", "memory": {}, "contests": {
        "linear/minilm-32x128x384 @2": one(**{"vanilla": phases(8.0), "vanilla q,k,v": phases(10.0),
                                              "instant R16": phases(2.0, 0.5)}),
        "step/minilm-32x128x384 @2": one(**{"vanilla": step(4.0), "instant": step(2.0),
                                            "torch adamw": step(6.0), "torch adamw-fused": step(5.0)}),
        "calibrate/minilm-32x128x384 @2": one(instant={"gram": [1.0] * 3, "decompose": [1.0] * 3})}}


def test_tables_hold_the_ratios():
    made = report.tables(results())
    linear = dict(zip(*made["linears"][1]))
    assert linear["speed-up"].startswith("3.20x"), "against the faster vanilla, compression included"
    assert linear["realised"] == "80 %" and linear["goal"] == "80 %"
    step = dict(zip(*made["steps"][1]))
    assert step["vanilla against PyTorch"].startswith("1.25x"), "against the faster of both"
    # 4 s, and of the calibration 5 passes of 8 s and 2 s: 42 / 200.
    assert step["against PyTorch's vanilla"].startswith(f"{10 / 4.21:.2f}x")
    share = dict(zip(*made["calibration"][1]))
    assert share["both, of training: N_t = 200"] == f"{100 * 2 / (200 * 4 + 42):.2f} %"
    assert report.tables(results(build="older")) == {}, "another build's figures are no table"
    refused = results()
    refused["contests"]["step/resnet20-128 @2"] = {"threads": 2, "build": "x", "flop_ratio": {}, "seconds": {}}
    assert report.tables(refused)["steps"] == made["steps"], "what was refused has no figures"


def test_a_page_is_changed_between_its_marks_only(tmp_path):
    page = tmp_path / "performance.md"
    page.write_text("<!-- bench:machine -->\n<!-- end -->\nbefore\n<!-- bench:linears -->\nold\n<!-- end -->\nafter\n<!-- bench:other -->\nkept\n<!-- end -->\n")
    made = report.tables(results())
    report.update(page, made, results())
    once = page.read_text()
    assert "a processor, Linux; slimgrad 0.1 at abc, PyTorch absent; today; 3 rounds." in once
    assert "old" not in once and "kept" in once and "| minilm-32x128x384 | 16 | 2 |" in once
    assert "\nbefore\n" in once and "\nafter\n" in once
    report.update(page, made, results())
    assert page.read_text() == once


def test_ratios_to_another_build_are_this_over_the_other():
    seconds = {f"{method} {side}": {"forward": [time] * 3, "backward": [time] * 3, "backward.fc1": [9] * 3}
               for method in ("vanilla", "instant") for side, time in (("this", 1.0), ("other", 2.0))}
    results = {"contests": {"against 0123 step/tiny @2": {"threads": 2, "seconds": seconds}}}
    rows = report.against(results)[1:]
    assert [row[:3] for row in rows] == [["tiny", "2", "vanilla"], ["tiny", "2", "instant"]]
    assert all(row[-1] == "0.50x (0.50–0.50)" for row in rows)
