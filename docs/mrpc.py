"""The tables and the picture of docs/mrpc.md, from the runs that examples/mrpc.sh has made.

`./run figures mrpc runs/mrpc` calls it. Measurements of `slimgrad snr --source RUN --out RUN/snr`
that lie in the runs fill a column of their own.
"""

import json
import sys
from math import exp, isfinite, log
from pathlib import Path
from statistics import mean

from runs import draw_seeds, spread, summaries

# Name, method, oversample: the rows of both tables, in order.
METHODS = [("vanilla", "vanilla", None), ("compress-x, p = 7", "compress-x", 7),
           ("compress-gy, p = 7", "compress-gy", 7),
           *((f"INSTANT-{p}", "instant", p) for p in (0, 7, 15, 25))]
BLOCKS = [("Whole model", "all"), ("Last block", "last:1")]


def chosen(runs: list[dict], blocks: str, method: str, oversample: int | None) -> list[dict]:
    """The runs of one row, by seed."""
    return [run for run in runs
            if run["config"]["train_blocks"] == blocks and run["config"]["method"] == method
            and oversample in (None, run["config"]["oversample"])]


def geometric_mean_of_snr(run: dict) -> float | None:
    """Of the measured ratios of a run's layers, at the run's own ε and p."""
    file = Path(run["directory"]) / "snr/snr.json"
    if not file.exists():
        return None
    config = run["config"]
    ratios = [float(row["measured"]) for row in json.loads(file.read_text())["rows"]
              if row["epsilon"] == config["epsilon"] and row["oversample"] == config["oversample"]
              and row["measured"] is not None]  # null: of nothing to nothing
    ratios = [log(ratio) for ratio in ratios if isfinite(ratio)]
    return exp(mean(ratios)) if ratios else None


def accuracy_table(runs: list[dict], blocks: str) -> str:
    lines = ["| | accuracy, % | by seed | F1, % | train loss | rank x | rank g | SNR of g_x |",
             "|---|---|---|---|---|---|---|---|"]
    for name, method, oversample in METHODS:
        row = chosen(runs, blocks, method, oversample)
        lines.append(f"| {name} | " + " | ".join([
            spread([run["accuracy"] for run in row], 100, 1),
            ", ".join(f"{100 * run['accuracy']:.1f}" for run in row) or "–",
            spread([run["f1"] for run in row], 100, 1),
            spread([run["train_loss"] for run in row], 1, 3),
            spread([run["ranks"]["mean_x"] for run in row], 1, 1),
            spread([run["ranks"]["mean_g"] for run in row], 1, 1),
            spread([geometric_mean_of_snr(run) for run in row], 1, 2)]) + " |")
    majority = runs[0]["majority_baseline"]
    lines.append(f"| majority class | {100 * majority['accuracy']:.1f} | | "
                 f"{100 * majority['f1']:.1f} | | | | |")
    return "\n".join(lines)


def less(values: list[float], vanilla: list[float]) -> str:
    return f"{mean(vanilla) / mean(values):.2f}× less"


def cost_table(runs: list[dict], blocks: str) -> str:
    lines = ["| | backward of linear layers, TFLOP | with calibration | saved a sample, KiB "
             "| its linear layers' part | peak MiB | forward s | backward s | calibration s "
             "| training s |", "|---|---|---|---|---|---|---|---|---|---|"]
    vanilla = chosen(runs, blocks, *METHODS[0][1:])
    for name, method, oversample in METHODS:
        row = chosen(runs, blocks, method, oversample)
        if not row or not vanilla:
            lines.append(f"| {name} | not run | | | | | | | | |")
            continue

        def cell(group: str, key: str, scale: float, digits: int) -> str:
            values = [run[group][key] for run in row]
            text = f"{mean(values) * scale:.{digits}f}"
            if row == vanilla:
                return text
            return f"{text} ({less(values, [run[group][key] for run in vanilla])})"

        def seconds(*phases: str) -> str:
            return f"{mean([sum(run['seconds'][phase] for phase in phases) for run in row]):.0f}"

        lines.append(f"| {name} | " + " | ".join([
            cell("flops", "backward_linear", 1e-12, 2),
            cell("flops", "backward_linear_with_calibration", 1e-12, 2),
            cell("bytes", "saved_per_sample", 1 / 1024, 0),
            cell("bytes", "saved_per_sample_linear", 1 / 1024, 0),
            f"{mean([run['bytes']['rss_peak'] for run in row]) / 2**20:.0f}",
            seconds("forward"), seconds("backward"), seconds("calibrate"),
            seconds("forward", "backward", "optimizer", "calibrate")]) + " |")
    return "\n".join(lines)


def draw_mrpc(directory: Path, images: Path) -> None:
    runs = summaries(directory)
    if not runs:
        sys.exit(f"figures.py: {directory} holds no finished run; examples/mrpc.sh makes them")
    for title, blocks in BLOCKS:
        print(f"\n## {title}\n{accuracy_table(runs, blocks)}\n\n{cost_table(runs, blocks)}\n")
    panels = [(title, [(name, [100 * run["accuracy"] for run in chosen(runs, blocks, *method)])
                       for name, *method in METHODS]) for title, blocks in BLOCKS]
    draw_seeds(panels, "accuracy on MRPC's dev set, %", images / "mrpc.svg",
               ("majority class", 100 * runs[0]["majority_baseline"]["accuracy"]))
