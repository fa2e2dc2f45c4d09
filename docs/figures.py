#!/usr/bin/env python3
"""Draws the figures of the pages in docs/ from measurements of the program.

    ./run figures snr runs/figures      a figure, or three, of every runs/figures/NAME/snr.json
    ./run figures mrpc runs/mrpc        the tables of mrpc.md and their figure, of finished runs
    ./run figures rivals runs/rivals    the same of rivals.md, of finished comparisons
    ./run figures beyond runs/beyond    and of beyond.md
    ./run figures gact runs/gact        and of gact.md

The figure of NAME becomes docs/images/snr-NAME.svg, a second one snr-NAME-WHAT.svg. Equal numbers
make equal bytes.
"""

import argparse
import json
import sys
from functools import partial
from math import exp, inf, isfinite, log, nan
from pathlib import Path

from comparisons import draw_comparisons
from mrpc import draw_mrpc
from plot_style import GREY, plt, save, series, share_label

ROOT = Path(__file__).resolve().parent.parent
RATIOS = [("measured", "measured (eq. 20)"), ("predicted", "predicted (eq. 31)"),
          ("exact", "exact")]
RATIO = "signal-to-noise ratio of g_x"


def column(rows: list[dict], key: str) -> list[float]:
    """Numbers of rows; JSON has the word "inf", and null for a number that does not exist."""
    return [nan if row[key] is None else float(row[key]) for row in rows]


def drawable(values: list[float]) -> list[float]:
    return [v if isfinite(v) else nan for v in values]


def draw_sweep(rows: list[dict], axis: str, label: str):
    """The three ratios along one axis; lines break where the rank changes, as in Fig. 7."""
    figure, ax = plt.subplots()
    pieces, start = [], 0
    for i in range(1, len(rows) + 1):
        if i == len(rows) or (axis == "epsilon" and rows[i]["rank"] != rows[start]["rank"]):
            pieces.append(rows[start:i])
            start = i
    for i, (key, name) in enumerate(RATIOS):
        style = series(i, marker=False)
        if key == "measured":  # broad and pale: the theory lies on it where it is right
            style |= {"linewidth": 5, "alpha": 0.45, "solid_capstyle": "butt"}
        for piece in pieces:
            x = column(piece, axis)
            ax.plot(x, drawable(column(piece, key)), label=name if piece is pieces[0] else None,
                    **style)
            if key == "measured":
                ax.fill_between(x, drawable(column(piece, "measured_low")),
                                drawable(column(piece, "measured_high")), color=style["color"],
                                alpha=0.2, linewidth=0)
    ax.set_xlabel(label)
    ax.set_ylabel(RATIO)
    return figure, ax


def draw_offset(document: dict):
    rows = document["rows"]
    figure, ax = draw_sweep(rows, "alpha", "α, the scale of the projection")
    first = rows[0]
    marks = [(1 / first["epsilon"], "1/ε"), (float(first["best_alpha"]), "1 + N/S")]
    if abs(float(first["best_alpha_w"]) / marks[1][0] - 1) > 0.02:
        marks.append((float(first["best_alpha_w"]), "1 + N_w/S_w"))
    for (alpha, word), dash in zip(marks, [(0, (1, 2)), (0, (6, 3)), (0, (6, 2, 1, 2))]):
        ax.axvline(alpha, color=GREY, linewidth=1.2, linestyle=dash, label=f"α = {word}")
    ax.legend()
    return {"": figure}


def draw_epsilon(document: dict):
    figure, ax = draw_sweep(document["rows"], "epsilon", "ε, the share of energy that R keeps")
    ax.set_yscale("log")
    ax.legend()
    return {"": figure}


def draw_oversample(document: dict):
    figure, ax = draw_sweep(document["rows"], "oversample", "p, directions added to the rank")
    ax.set_yscale("log")
    ax.legend()
    return {"": figure}


def name_layers(ax, names: list[str]) -> None:
    ax.set_xticks(range(len(names)), names, rotation=90, fontsize=9)
    ax.set_xlim(-0.6, len(names) - 0.4)


def draw_ratios(rows: list[dict]):
    """Three marks a layer, a panel for each choice of ε and p."""
    choices = sorted({(row["epsilon"], row["oversample"]) for row in rows})
    figure, axes = plt.subplots(len(choices), 1, sharex=True, squeeze=False,
                                figsize=(7.4, 2.6 * len(choices) + 1.6))
    for (epsilon, oversample), ax in zip(choices, axes[:, 0]):
        chosen = [r for r in rows if (r["epsilon"], r["oversample"]) == (epsilon, oversample)]
        for i, (key, name) in enumerate(RATIOS):
            style = series(i) | {"linestyle": "none"}
            values = drawable(column(chosen, key))
            x = [layer + (0, -0.22, 0.22)[i] for layer in range(len(chosen))]
            ax.plot(x, values, label=name, **style)
            if key == "measured":
                ax.vlines(x, drawable(column(chosen, "measured_low")),
                          drawable(column(chosen, "measured_high")), color=style["color"])
        ax.set_yscale("log")
        ax.set_ylabel("SNR of g_x")
        ax.set_title(f"ε = {epsilon:g}, p = {oversample}")
        name_layers(ax, [row["name"] for row in chosen])
    axes[0, 0].legend()
    return figure


def draw_errors(layers: list[dict], gradient: str):
    figure, ax = plt.subplots(figsize=(7.4, 4.4))
    for i, (key, name) in enumerate([("local", "layer alone"),
                                     ("accumulated", "through depth")]):
        ax.plot(range(len(layers)), column([row[key][gradient] for row in layers], "error"),
                label=name, **series(i))
    name_layers(ax, [row["name"] for row in layers])
    ax.set_ylabel(f"relative error of {gradient[0]}_{gradient[1]}")
    ax.set_ylim(bottom=0)
    ax.legend()
    return figure


def draw_layers(document: dict):
    figures = {"": draw_ratios(document["rows"])}
    if "errors" in document:
        for gradient in ("gx", "gw"):
            figures[f"errors-{gradient}"] = draw_errors(document["errors"]["layers"], gradient)
    return figures


def draw_staleness(document: dict):
    """Geometric means over the layers whose ratios are finite."""
    def ratio(row, key):
        return inf if row[key] is None else float(row[key])

    logs: dict = {}
    for row in document["rows"]:
        if all(0 < ratio(row, key) < inf for key in ("stale", "fresh")):
            for key in ("stale", "fresh"):
                logs.setdefault((row["oversample"], key), {}).setdefault(
                    row["steps"], []).append(log(ratio(row, key)))
    figure, ax = plt.subplots()
    names = {"stale": "directions of step 0", "fresh": "calibrated now"}
    for i, ((oversample, key), by_steps) in enumerate(sorted(logs.items())):
        steps = sorted(by_steps)
        ax.plot(steps, [exp(sum(by_steps[s]) / len(by_steps[s])) for s in steps],
                label=f"p = {oversample}, {names[key]}", **series(i))
    ax.set_xlabel("steps of training since calibration")
    ax.set_ylabel("SNR of g_x, geometric mean over layers")
    ax.set_ylim(bottom=0)
    ax.legend()
    return {"": figure}


def draw_spectrum(document: dict):
    """Fig. 3 for every layer: how fast the energy is gathered, and how many values hold ε of it."""
    rows = [row for row in document["rows"] if row["epsilon"] == document["rows"][-1]["epsilon"]]
    epsilon, names = rows[0]["epsilon"], [row["name"] for row in rows]
    curves, ax = plt.subplots()
    for row in rows:
        energy = row["eigenvalues"]["energy"]
        ax.plot(range(1, len(energy) + 1), [100 * e for e in energy], color=GREY, alpha=0.45,
                linewidth=1)
    ax.axhline(100 * epsilon, color=series(1)["color"], linestyle="--", linewidth=1.2)
    ax.set_xlabel("eigenvalues of C, all samples")
    ax.set_ylabel("% of the energy of g_y, a line for each layer")
    ax.set_ylim(0, 101)
    ax.set_xlim(left=1)

    counts, ax = plt.subplots(figsize=(7.4, 4.4))
    for i, (values, count, label) in enumerate([
            ("eigenvalues", "all", "eigenvalues of C, all samples"),
            ("eigenvalues", "sample", "eigenvalues of one sample, mean"),
            ("singular_values", "sample", "singular values of one sample, mean")]):
        ax.plot(range(len(rows)), column([row[values] for row in rows], count), label=label,
                **series(i) | {"linestyle": "none"})
    name_layers(ax, names)
    ax.set_ylabel(f"values that hold {100 * epsilon:g} %")
    ax.set_ylim(bottom=0)
    ax.legend()
    return {"": counts, "energy": curves}


def draw_rank(document: dict):
    """Errors of g_x and g_w of every method, against its rank and against its FLOPs."""
    figure, axes = plt.subplots(2, 2, sharey="row", figsize=(9.6, 7.4))
    panels = [("rank", "R"), ("flops", "FLOPs of backward, as a share of vanilla's")]
    for i, method in enumerate(dict.fromkeys(row["method"] for row in document["means"])):
        rows = [row for row in document["means"] if row["method"] == method]
        style = series(i) | ({"color": GREY} if method == "optimum" else {})
        for gradient, line in zip(("gx", "gw"), axes):
            for (key, label), ax in zip(panels, line):
                points = [(row[key], row[f"{gradient}_error"]) for row in rows if row[key]]
                if points:
                    ax.plot(*zip(*points), label=method, **style)
                ax.set_xscale("log", base=2)
                ax.set_yscale("log")
                ax.set_xlabel(label)
            line[0].set_ylabel(f"err² of {gradient[0]}_{gradient[1]}")
    for ax in axes[:, 0]:
        ax.set_xticks(sorted({row["rank"] for row in document["means"]}))
        ax.xaxis.set_major_formatter("{x:.0f}")
    for ax in axes[:, 1]:
        ax.xaxis.set_major_formatter(share_label)
    handles, labels = axes[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=len(labels))
    return {"": figure}


DRAW = {"rank": draw_rank, "epsilon": draw_epsilon, "oversample": draw_oversample, "offset": draw_offset,
        "staleness": draw_staleness, "spectrum": draw_spectrum, None: draw_layers}


def draw_snr(measurements: Path, images: Path) -> None:
    files = sorted(measurements.glob("*/snr.json"))
    if not files:
        sys.exit(f"figures.py: {measurements} holds no NAME/snr.json; docs/snr.md has the commands")
    for file in files:
        document = json.loads(file.read_text())
        for part, figure in DRAW[document["sweep"]](document).items():
            name = "-".join(["snr", file.parent.name, *([part] if part else [])])
            save(figure, images / f"{name}.svg")


PAGES = {"snr": draw_snr, "mrpc": draw_mrpc, "rivals": partial(draw_comparisons, "rivals"),
         "beyond": partial(draw_comparisons, "beyond"), "gact": partial(draw_comparisons, "gact")}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("page", choices=PAGES, help="whose figures")
    parser.add_argument("measurements", type=Path, help="directory of NAME/snr.json, or of runs")
    parser.add_argument("--images", type=Path, default=ROOT / "docs/images")
    args = parser.parse_args()
    PAGES[args.page](args.measurements, args.images)


if __name__ == "__main__":
    main()
