#!/usr/bin/env python3
"""How much the bits of each kept value matter, by three passes for each and by one step: docs/sensitivities.py RUN RUN

Both are runs of level L2 that differ in `sensitivity`. The first choice of bits of each is read from its metrics.jsonl.
"""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path


def first_choice(run: Path) -> dict[str, dict]:
    """By the name of the value: elements, sensitivity, bits."""
    for line in (run / "metrics.jsonl").read_text().splitlines():
        entry = json.loads(line)
        if entry.get("type") == "bits":
            return {value["name"]: value for value in entry["values"]}
    sys.exit(f"'{run}' has chosen no bits: expected a run of level L2")


def ranks(values: list[float]) -> list[float]:
    """Ranks from 1; equal values share the mean of theirs."""
    order = sorted(range(len(values)), key=values.__getitem__)
    result = [0.0] * len(values)
    i = 0
    while i < len(order):
        j = i
        while j + 1 < len(order) and values[order[j + 1]] == values[order[i]]:
            j += 1
        for k in order[i : j + 1]:
            result[k] = (i + j) / 2 + 1
        i = j + 1
    return result


def correlation(x: list[float], y: list[float]) -> float:
    """Pearson's; of ranks it is Spearman's."""
    mean_x, mean_y = sum(x) / len(x), sum(y) / len(y)
    dx, dy = [v - mean_x for v in x], [v - mean_y for v in y]
    product = sum(a * b for a, b in zip(dx, dy))
    return product / math.sqrt(sum(a * a for a in dx) * sum(b * b for b in dy))


def main() -> None:
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    one, other = (first_choice(Path(run)) for run in sys.argv[1:])
    names = [name for name in one if name in other]
    a, b = ([choice[name]["sensitivity"] for name in names] for choice in (one, other))
    same = sum(one[name]["bits"] == other[name]["bits"] for name in names)
    ratio = sorted(y / x for x, y in zip(a, b) if x > 0)
    print(f"{len(names)} values; rank correlation (Spearman) {correlation(ranks(a), ranks(b)):.3f}; "
          f"{same} have the same bits; second / first: median {ratio[len(ratio) // 2]:.2f}, "
          f"from {ratio[0]:.2f} to {ratio[-1]:.2f}\n")
    print("| value | elements | sensitivity | bits | sensitivity | bits |\n|---|---:|---:|---:|---:|---:|")
    for name in sorted(names, key=lambda n: -one[n]["sensitivity"] / one[n]["elements"]):
        cells = [f"{choice[name]['sensitivity']:.2e} | {choice[name]['bits']}" for choice in (one, other)]
        print(f"| `{name}` | {one[name]['elements']} | {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
