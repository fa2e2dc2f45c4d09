"""What finished runs say: their summaries, means over seeds, and a picture with a mark for each seed."""

import json
from pathlib import Path
from statistics import mean, stdev


def summaries(directory: Path, pattern: str = "*") -> list[dict]:
    """summary.json of every finished run in a directory of `slimgrad compare`, in order of seeds;
    "directory" says where it lies."""
    found = [json.loads(path.read_text()) | {"directory": str(path.parent)}
             for path in directory.glob(f"{pattern}/summary.json")]
    return sorted(found, key=lambda run: run["config"]["seed"])


def spread(values: list[float], scale: float = 1, digits: int = 2) -> str:
    """Mean ± sample standard deviation."""
    values = [v * scale for v in values if v is not None]
    if not values:
        return "–"
    sd = f" ± {stdev(values):.{digits}f}" if len(values) > 1 else ""
    return f"{mean(values):.{digits}f}{sd}"


def draw_seeds(panels: list[tuple[str, list[tuple[str, list[float]]]]], label: str,
               picture: Path, baseline: tuple[str, float] | None = None) -> None:
    """Panels of (title, rows of (name, a value a seed)), one below the other on one axis."""
    from plot_style import COLOURS, GREY, MARKERS, plt, save

    sizes = [len(rows) for _, rows in panels]
    figure, axes = plt.subplots(len(panels), 1, sharex=True, squeeze=False,
                                figsize=(7, 0.45 * sum(sizes) + 0.7 * len(panels) + 0.1),
                                height_ratios=sizes)
    for axis, (title, rows) in zip(axes[:, 0], panels):
        for y, (_, values) in enumerate(rows):
            if not values:
                continue
            colour = COLOURS[y % len(COLOURS)]
            axis.plot([mean(values)] * 2, [y - 0.3, y + 0.3], color=colour, linewidth=2.5)
            for seed, value in enumerate(values):
                axis.plot(value, y, MARKERS[seed % len(MARKERS)], color=colour, markersize=7,
                          markeredgecolor="black", markeredgewidth=0.6)
            axis.annotate(f"{mean(values):.1f}", (mean(values), y - 0.3), va="bottom",
                          ha="center", fontsize=9)
        if baseline:
            axis.axvline(baseline[1], color=GREY, linestyle="--", linewidth=1.2)
            axis.annotate(baseline[0], (baseline[1], len(rows) - 0.45), xytext=(3, 2),
                          textcoords="offset points", fontsize=9, color=GREY)
        axis.set_yticks(range(len(rows)), [name for name, _ in rows])
        axis.set_ylim(len(rows) - 0.4, -0.75)
        axis.grid(axis="y", visible=False)
        axis.set_title(title)
    axes[-1, 0].set_xlabel(f"{label}  (a mark a seed, the bar their mean)")
    save(figure, picture)
