"""The tables and the pictures of docs/rivals.md, docs/beyond.md and docs/gact.md, from the comparisons that
examples/rivals.sh, beyond.sh and gact.sh have made.

`./run figures rivals runs/rivals` calls it. A part that has not been run is named and left out.
"""

import json
import sys
from pathlib import Path
from statistics import mean

from plot_style import COLOURS, GREY, MARKERS, plt, save, share_label
from runs import spread

# Name, directory, the blocks that train in its rows (none: it has only one choice of them), metrics.
PARTS = {"rivals": [("images", "images", None, ["accuracy"]),
                    ("cifar", "cifar", None, ["accuracy"]),
                    ("mrpc", "mrpc", "all", ["accuracy", "f1"]),
                    ("mrpc-last", "mrpc", "last:1", ["accuracy", "f1"])],
         "beyond": [("images", "images", None, ["accuracy"]),
                    ("mrpc", "mrpc", None, ["accuracy", "f1"]),
                    ("cifar", "cifar", None, ["accuracy"])],
         "gact": [(part, part, None, ["accuracy", "f1"] if part == "mrpc" else ["accuracy"])
                  for part in ("images", "mrpc", "cifar", "resnet")]}
WORDS = {"accuracy": "accuracy", "f1": "F1"}


class Row:
    """A method of a comparison, with the summaries of its runs by seed."""

    def __init__(self, spec: str, summaries: list[dict]):
        self.runs, self.config = summaries, summaries[0]["config"]
        # What all rows of a table share is no part of a name, nor is the end of "last:1".
        method, *options = spec.split(":")
        self.name = " ".join([method, *(option.removesuffix("=true") for option in options
                                        if "=" in option and
                                        not option.startswith(("lr=", "train-blocks=")))])

    def values(self, *keys: str) -> list[float]:
        found = []
        for run in self.runs:
            for key in keys:
                run = run[key]
            if run is not None:
                found.append(run)
        return found

    def mean(self, *keys: str) -> float:
        return mean(self.values(*keys))

    def step(self, *phases: str) -> float:
        """Milliseconds that these phases take of a training step."""
        return mean(1e3 * sum(run["seconds"][phase] for phase in phases) / run["steps"]
                    for run in self.runs)


def rows_of(directory: Path, blocks: str | None) -> list[Row]:
    document = json.loads((directory / "compare.json").read_text())
    by_spec: dict[str, list[dict]] = {}
    for place in document["runs"]:
        run = json.loads((directory / Path(place).name / "summary.json").read_text())
        by_spec.setdefault(Path(place).name.rpartition("-seed")[0], []).append(run)
    rows = [Row(method["method"], runs)
            for method, runs in zip(document["methods"], by_spec.values())]
    return [row for row in rows if blocks in (None, row.config["train_blocks"])]


def results(rows: list[Row], metrics: list[str]) -> list[str]:
    head = [f"{WORDS[metric]} of the {which} epoch, %" for which in ("last", "best")
            for metric in metrics]
    lines = ["| | " + " | ".join(head) + " | train loss |", "|---" * (len(head) + 2) + "|"]
    for row in rows:
        cells = [spread(row.values(metric), 100, 1) for metric in metrics]
        cells += [spread(row.values(f"best_{metric}"), 100, 1) for metric in metrics]
        loss = spread([run["epochs"][-1]["train_loss"] for run in row.runs], 1, 3)
        lines.append(f"| {row.name} | {' | '.join(cells)} | {loss} |")
    majority = rows[0].runs[0]["majority_baseline"]
    cells = [f"{100 * majority[metric]:.1f}" for metric in metrics]
    return [*lines, f"| majority class | {' | '.join(cells * 2)} | |"]


def costs(rows: list[Row]) -> list[str]:
    lines = ["| | backward of linear maps, GFLOP a step | with calibration | kept by linear maps, KiB a sample "
             "| by the whole model | optimizer, MiB | peak, MiB |", "|---" * 7 + "|"]
    vanilla = rows[0]

    def cell(row: Row, keys: tuple[str, ...], scale: float, digits: int, a_step: bool = False) -> str:
        def figure(of: Row) -> float:
            return of.mean(*keys) / (of.mean("steps") if a_step else 1)

        text = f"{figure(row) * scale:.{digits}f}"
        return text if row is vanilla else f"{text} ({figure(vanilla) / figure(row):.2f}×)"

    for row in rows:
        lines.append(f"| {row.name} | " + " | ".join([
            cell(row, ("flops", "backward_linear"), 1e-9, 3, True),
            cell(row, ("flops", "backward_linear_with_calibration"), 1e-9, 3, True),
            cell(row, ("bytes", "saved_per_sample_linear"), 1 / 1024, 1),
            cell(row, ("bytes", "saved_per_sample"), 1 / 1024, 1),
            cell(row, ("bytes", "optimizer"), 1 / 2**20, 2),
            f"{row.mean('bytes', 'rss_peak') / 2**20:.0f}"]) + " |")
    return lines


def sketches(rows: list[Row]) -> list[str]:
    """What the sketches of all layers did, by the summaries; nothing where no method makes any."""
    lines = ["| sketches | mean rank | of layers | energy kept, mean | the layer with least, mean "
             "| least of any step | calls left exact |", "|---" * 7 + "|"]
    for row in rows:
        records = [layer["sketch"] for run in row.runs for layer in run["layers"] if "sketch" in layer]
        made = [record for record in records if record["rank"] is not None]
        if not made:
            continue
        ranks, kept = [r["rank"] for r in made], [r["kept"] for r in made]
        exact = sum(r["exact"] for r in records) / sum(r["calls"] for r in records)
        lines.append(f"| {row.name} | {mean(ranks):.1f} | {min(ranks):.1f} to {max(ranks):.1f} "
                     f"| {mean(kept):.3f} | {min(kept):.3f} | {min(r['least_kept'] for r in made):.3f} "
                     f"| {100 * exact:.1f} % |")
    return lines if len(lines) > 2 else []


def times(rows: list[Row]) -> list[str]:
    """Of runs that had the machine for themselves: the seconds of others say little."""
    phases = ("forward", "backward", "optimizer", "calibrate")
    lines = ["| ms a step | forward | backward | optimizer | calibration | together |",
             "|---" * 6 + "|"]
    for row in rows:
        cells = [f"{row.step(phase):.1f}" for phase in phases]
        together = f"{row.step(*phases):.1f} ({rows[0].step(*phases) / row.step(*phases):.2f}×)"
        lines.append(f"| {row.name} | {' | '.join(cells)} | {together} |")
    return lines


def padding(rows: list[Row]) -> list[str]:
    """Each length against its own vanilla."""
    lines = []
    for length in sorted({row.config["max_length"] for row in rows}, reverse=True):
        chosen = [row for row in rows if row.config["max_length"] == length]
        lines += [f"{length} tokens:", "", *costs(chosen), "", *times(chosen), ""]
    return lines


def front(points: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """Those that no other point beats in both cost (smaller) and metric (larger), by cost."""
    best: list[tuple[float, float]] = []
    for cost, metric in sorted(points, key=lambda p: (p[0], -p[1])):
        if not best or metric > best[-1][1]:
            best.append((cost, metric))
    return best


def draw(rows: list[Row], metric: str, picture: Path, whole: bool) -> None:
    """Accuracy against FLOPs and against bytes of the linear maps or of the whole model, in shares of vanilla's;
    up and left is better."""
    vanilla, methods = rows[0], list(dict.fromkeys(row.config["method"] for row in rows))
    panels = [(("flops", "backward_linear_with_calibration"),
               "FLOPs of backward, linear maps, with calibration"),
              (("bytes", "saved_per_sample"), "bytes kept for backward by the whole model") if whole else
              (("bytes", "saved_per_sample_linear"), "bytes kept for backward by linear maps")]
    figure, axes = plt.subplots(1, 2, sharey=True, figsize=(9.6, 4.8))
    for ax, (keys, label) in zip(axes, panels):
        points = [(row.mean(*keys) / vanilla.mean(*keys), 100 * row.mean(metric)) for row in rows]
        edge = front(points)
        ax.step([x for x, _ in edge], [y for _, y in edge], where="post", color=GREY, linewidth=1)
        named = set()
        for row, (x, y) in zip(rows, points):
            i = methods.index(row.config["method"])
            values = [100 * value for value in row.values(metric)]
            ax.vlines(x, min(values), max(values), color=COLOURS[i % len(COLOURS)], linewidth=1)
            ax.plot(x, y, MARKERS[i % len(MARKERS)], color=COLOURS[i % len(COLOURS)], markersize=7,
                    markeredgecolor="black", markeredgewidth=0.6,
                    label=None if methods[i] in named else methods[i])
            named.add(methods[i])
        ax.set_xscale("log", base=2)
        ax.xaxis.set_major_formatter(share_label)
        ax.set_xlabel(f"{label}\n(share of vanilla's)")
    axes[0].set_ylabel(f"{WORDS[metric]} of the last epoch, %")
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=4, fontsize=9)
    save(figure, picture)


def draw_comparisons(page: str, directory: Path, images: Path) -> None:
    made = 0
    for name, place, blocks, metrics in PARTS[page]:
        if not (directory / place / "compare.json").exists():
            print(f"{name}: not run; examples/{page}.sh {place} makes it", file=sys.stderr)
            continue
        rows = rows_of(directory / place, blocks)
        if not rows:
            continue
        print(f"\n## {name}\n")
        tables = [results(rows, metrics), costs(rows), sketches(rows), times(rows)]
        print("\n\n".join("\n".join(table) for table in tables if table))
        draw(rows, metrics[-1], images / f"{page}-{name}.svg", page == "gact")
        made += 1
    if (directory / "padding" / "compare.json").exists():
        print("\n## padding\n")
        print("\n".join(padding(rows_of(directory / "padding", None))))
        made += 1
    if not made:
        sys.exit(f"figures.py: {directory} holds no comparison; examples/{page}.sh makes them")
