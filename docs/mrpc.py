"""The tables and the picture of docs/mrpc.md, from the runs that examples/mrpc.sh has made.

`./run figures mrpc runs/mrpc` calls it. Measurements of `slimgrad snr --source RUN --out RUN/snr`
that lie in the runs fill a column of their own.
"""

import json
import sys
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


def mean_snr(run: dict) -> float | None:
    """Of the layers of a run, measured at its own ε and p."""
    file = Path(run["directory"]) / "snr/snr.json"
    if not file.exists():
        return None
    for mean_of in json.loads(file.read_text())["means"]:
        if all(mean_of[key] == run["config"][key] for key in ("epsilon", "oversample")):
            return mean_of["measured"]
    return None


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
            spread([mean_snr(run) for run in row], 1, 2)]) + " |")
    majority = runs[0]["majority_baseline"]
    lines.append(f"| majority class | {100 * majority['accuracy']:.1f} | | "
                 f"{100 * majority['f1']:.1f} | | | | |")
    return "\n".join(lines)


def table_against_vanilla(runs: list[dict], blocks: str, head: str, cells) -> str:
    """A row a method: cells(its runs, and vanilla's, None in vanilla's own row)."""
    columns = head.count("|") - 1
    lines = [head, "|---" * columns + "|"]
    vanilla = chosen(runs, blocks, *METHODS[0][1:])
    for name, *method in METHODS:
        row = chosen(runs, blocks, *method)
        if row and vanilla:
            made = cells(row, None if method[0] == "vanilla" else vanilla)
        else:
            made = ["not run"] + [""] * (columns - 2)
        lines.append(f"| {name} | {' | '.join(made)} |")
    return "\n".join(lines)


def cost_table(runs: list[dict], blocks: str) -> str:
    def cells(row: list[dict], vanilla: list[dict] | None) -> list[str]:
        def cell(group: str, key: str, scale: float, digits: int) -> str:
            def mean_of(runs: list[dict]) -> float:
                return mean([run[group][key] for run in runs])

            text = f"{mean_of(row) * scale:.{digits}f}"
            return f"{text} ({mean_of(vanilla) / mean_of(row):.2f}× less)" if vanilla else text

        return [cell("flops", "backward_linear", 1e-12, 2),
                cell("flops", "backward_linear_with_calibration", 1e-12, 2),
                cell("bytes", "saved_per_sample", 1 / 1024, 0),
                cell("bytes", "saved_per_sample_linear", 1 / 1024, 0)]

    return table_against_vanilla(
        runs, blocks, "| | backward of linear layers, TFLOP | with calibration "
        "| saved a sample, KiB | its linear layers' part |", cells)


def time_table(runs: list[dict], blocks: str) -> str:
    def cells(row: list[dict], vanilla: list[dict] | None) -> list[str]:
        def step(of: list[dict], *phases: str) -> float:
            return mean([1e3 * sum(run["seconds"][phase] for phase in phases) / run["steps"]
                         for run in of])

        whole = ("forward", "backward", "optimizer", "calibrate")
        ratio = f" ({step(vanilla, *whole) / step(row, *whole):.2f}×)" if vanilla else ""
        return [*(f"{step(row, phase):.0f}" for phase in whole), f"{step(row, *whole):.0f}{ratio}",
                f"{mean([run['bytes']['rss_peak'] for run in row]) / 2**20:.0f}"]

    return table_against_vanilla(runs, blocks, "| ms a step | forward | backward | optimizer "
                                 "| calibration | together | peak MiB |", cells)


def draw_mrpc(directory: Path, images: Path) -> None:
    runs = summaries(directory)
    if not runs:
        sys.exit(f"figures.py: {directory} holds no finished run; examples/mrpc.sh makes them")
    for title, blocks in BLOCKS:
        print(f"\n## {title}")
        for table in (accuracy_table, cost_table, time_table):
            print(f"\n{table(runs, blocks)}")
    panels = [(title, [(name, [100 * run["accuracy"] for run in chosen(runs, blocks, *method)])
                       for name, *method in METHODS]) for title, blocks in BLOCKS]
    draw_seeds(panels, "accuracy on MRPC's dev set, %", images / "mrpc.svg",
               ("majority class", 100 * runs[0]["majority_baseline"]["accuracy"]))
