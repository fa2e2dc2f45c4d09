#!/usr/bin/env python3
"""The ablations of docs/ablations.md: runs what is missing, then prints the tables and draws the figure.

    python3 docs/ablations.py --data-dir DIR            every run, their tables and the figure
    python3 docs/ablations.py --data-dir DIR --draw     tables and figure of the runs that exist

Runs that are finished are kept, one that was stopped goes on from its checkpoint. Drawing needs
matplotlib; the runs need only the program that `./run build` makes.
"""

import argparse
import subprocess
import sys
from pathlib import Path
from statistics import mean

from runs import draw_seeds, spread, summaries

ROOT = Path(__file__).resolve().parent.parent
COMMON = ("--data cifar10 --limit-train 10000 --limit-test 5000 --model vit-tiny --seeds 3 "
          "--epochs 3 --batch 128 --lr 1e-3 --weight-decay 0.05 --warmup 50 --augment "
          "--threads 1 --log-every 10").split()
# Each experiment: its methods and what differs from the defaults of the program.
EXPERIMENTS = {
    "slots": (["vanilla", "compress-x", "compress-gy", "instant"],
              ["--calibrate-every", "50", "--oversample", "5"]),
    "p0": (["instant"], ["--calibrate-every", "50", "--oversample", "0"]),
    "once": (["instant"], ["--calibrate-every", "0", "--oversample", "5"]),
    "once-p0": (["instant"], ["--calibrate-every", "0", "--oversample", "0"]),
    "none": (["instant"], ["--calibrate-every", "50", "--oversample", "5", "--offset", "none"]),
}
# What each panel shows: title, then (label, experiment, method) in order.
PANELS = [
    ("Which slot is compressed",
     [("neither", "slots", "vanilla"), ("x", "slots", "compress-x"),
      ("g_y", "slots", "compress-gy"), ("both", "slots", "instant")]),
    ("When it is calibrated",
     [("every 50, p = 5", "slots", "instant"), ("every 50, p = 0", "p0", "instant"),
      ("once, p = 5", "once", "instant"), ("once, p = 0", "once-p0", "instant")]),
    ("What makes up for the rest",
     [("energy", "slots", "instant"), ("none", "none", "instant")]),
]


def run(experiment: str, program: Path, data_dir: Path, out: Path) -> None:
    methods, options = EXPERIMENTS[experiment]
    place = out / experiment
    command = [str(program), "compare", *COMMON, "--data-dir", str(data_dir),
               "--methods", ",".join(methods), *options, "--out", str(place)]
    if place.exists():
        command.append("--resume")
    print("$", " ".join(command), flush=True)
    subprocess.run(command, check=True)


def runs_of(out: Path, experiment: str, method: str) -> list[dict]:
    return summaries(out / experiment, f"{method}-seed*")


def table(out: Path, rows: list[tuple[str, str, str]]) -> str:
    vanilla = mean(s["flops"]["backward_linear"] for s in runs_of(out, "slots", "vanilla"))
    lines = ["| | test accuracy, % | by seed | against the first row, seed by seed | train loss "
             "| backward of linear layers, with calibration | calibration's share | mean rank x "
             "| mean rank g |", "|---|---|---|---|---|---|---|---|---|"]
    first: list[float] = []
    for label, experiment, method in rows:
        runs = runs_of(out, experiment, method)
        if not runs:
            lines.append(f"| {label} | not run | | | | | | | |")
            continue
        accuracies = [r["accuracy"] for r in runs]
        first = first or accuracies
        differences = [a - b for a, b in zip(accuracies, first)]
        total = [r["flops"]["backward_linear_with_calibration"] for r in runs]
        share = [1 - r["flops"]["backward_linear"] / t for r, t in zip(runs, total)]
        lines.append(
            f"| {label} | {spread(accuracies, 100)} | "
            f"{', '.join(format(100 * a, '.1f') for a in accuracies)} | "
            f"{spread(differences, 100) if any(differences) else '–'} | "
            f"{spread([r['epochs'][-1]['train_loss'] for r in runs], 1, 3)} | "
            f"{vanilla / mean(total):.2f}× less | {100 * mean(share):.0f} % | "
            f"{spread([r['ranks']['mean_x'] for r in runs], 1, 1)} | "
            f"{spread([r['ranks']['mean_g'] for r in runs], 1, 1)} |")
    return "\n".join(lines)


def draw(out: Path, picture: Path) -> None:
    panels = [(title, [(label, [100 * run["accuracy"] for run in runs_of(out, experiment, method)])
                       for label, experiment, method in rows]) for title, rows in PANELS]
    draw_seeds(panels, "test accuracy, %", picture)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-dir", type=Path, help="directory of CIFAR-10's binary files")
    parser.add_argument("--out", type=Path, default=ROOT / "runs/ablations", help="where runs go")
    parser.add_argument("--program", type=Path, default=ROOT / "build/slimgrad")
    parser.add_argument("--picture", type=Path, default=ROOT / "docs/images/ablations.svg")
    parser.add_argument("--draw", action="store_true", help="run nothing")
    args = parser.parse_args()
    if not args.draw:
        if args.data_dir is None:
            parser.error("expected --data-dir, the directory of CIFAR-10's binary files, or --draw")
        if not args.program.exists():
            parser.error(f"{args.program} does not exist; ./run build makes it")
        for experiment in EXPERIMENTS:
            try:
                run(experiment, args.program, args.data_dir, args.out)
            except subprocess.CalledProcessError as error:
                sys.exit(error.returncode)
    if not runs_of(args.out, "slots", "vanilla"):
        parser.error(f"{args.out} holds no finished run of vanilla to compare with")
    for title, rows in PANELS:
        print(f"\n### {title}\n\n{table(args.out, rows)}")
    draw(args.out, args.picture)


if __name__ == "__main__":
    main()
