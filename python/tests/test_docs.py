"""docs/: the tables that are made from finished runs."""

import json
import sys
from pathlib import Path

import pytest

DOCS = Path(__file__).resolve().parents[2] / "docs"
sys.path.insert(0, str(DOCS))
mrpc = pytest.importorskip("mrpc", reason="docs/ is not beside these tests")
from runs import spread, summaries  # noqa: E402  after the path


def finished(out: Path, method: str, seed: int, accuracy: float, flops: float, oversample: int = 7,
             snr: list = ()) -> None:
    run = out / f"{method}-{oversample}-seed{seed}"
    (run / "snr").mkdir(parents=True)
    (run / "summary.json").write_text(json.dumps({
        "config": {"method": method, "oversample": oversample, "seed": seed, "epsilon": 0.95,
                   "train_blocks": "all"},
        "steps": 2, "accuracy": accuracy, "f1": accuracy / 2, "train_loss": 0.5,
        "ranks": {"mean_x": None if method == "vanilla" else 8.0, "mean_g": None},
        "flops": {"backward_linear": flops, "backward_linear_with_calibration": 2 * flops},
        "bytes": {"saved_per_sample": 4096, "saved_per_sample_linear": 1024, "rss_peak": 2**20},
        "seconds": {"forward": 3, "backward": 5, "optimizer": 1, "calibrate": 2},
        "majority_baseline": {"accuracy": 0.684, "f1": 0.812}}))
    if snr:
        means = [{"epsilon": 0.95, "oversample": p, "measured": m} for p, m in snr]
        (run / "snr/snr.json").write_text(json.dumps({"means": means}))


def row(table: str, name: str) -> list:
    [line] = [line for line in table.splitlines() if line.startswith(f"| {name} |")]
    return [cell.strip() for cell in line.strip("|").split("|")][1:]


def test_spread_is_mean_and_sample_deviation():
    assert spread([0.79, 0.81, 0.83], 100, 1) == "81.0 ± 2.0"
    assert spread([0.5], 1, 2) == "0.50", "one run has no deviation"
    assert spread([None, None]) == "–"


def test_a_row_holds_the_runs_of_its_method_and_p(tmp_path):
    for seed, accuracy in enumerate([0.80, 0.82]):
        finished(tmp_path, "vanilla", seed, accuracy, flops=8e12)
        finished(tmp_path, "instant", seed, accuracy - 0.02, flops=2e12)
        finished(tmp_path, "instant", seed, accuracy - 0.1, flops=1e12, oversample=0)
    (tmp_path / "instant-15-seed0").mkdir()  # begun and not finished
    runs = summaries(tmp_path)
    table = mrpc.accuracy_table(runs, "all")
    assert row(table, "vanilla")[:3] == ["81.0 ± 1.4", "80.0, 82.0", "40.5 ± 0.7"]
    assert row(table, "INSTANT-7")[1] == "78.0, 80.0"
    assert row(table, "INSTANT-0")[1] == "70.0, 72.0"
    assert row(table, "INSTANT-15")[0] == "–"
    assert row(table, "majority class")[:3] == ["68.4", "", "81.2"]
    costs = mrpc.cost_table(runs, "all")
    assert row(costs, "vanilla")[:2] == ["8.00", "16.00"]
    assert row(costs, "INSTANT-7")[:2] == ["2.00 (4.00× less)", "4.00 (4.00× less)"]
    assert row(costs, "INSTANT-7")[-1] == "1 (1.00× less)"
    assert row(costs, "INSTANT-15") == ["not run", "", "", ""]
    times = mrpc.time_table(runs, "all")
    assert row(times, "vanilla") == ["1500", "2500", "500", "1000", "5500", "1"]
    assert row(times, "INSTANT-7")[-2] == "5500 (1.00×)"
    assert row(mrpc.cost_table(runs, "last:1"), "vanilla")[0] == "not run"


def test_snr_is_that_of_the_runs_own_p(tmp_path):
    for seed, measured in enumerate([4.0, None]):  # None: infinite in every layer
        finished(tmp_path, "instant", seed, 0.8, 1e12, snr=[(0, 1.0), (7, measured)])
    finished(tmp_path, "instant", 0, 0.8, 1e12, oversample=15, snr=[(7, 1.0)])
    table = mrpc.accuracy_table(summaries(tmp_path), "all")
    assert row(table, "INSTANT-7")[-1] == "4.00"
    assert row(table, "INSTANT-15")[-1] == "–", "measured at another p"
