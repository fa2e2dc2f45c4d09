"""One look for the figures of these pages, and one way to store them.

The colours are those of Okabe and Ito ("Color Universal Design", 2008), which colour-blind readers
can tell apart. Every series also has a dash and a marker of its own, for prints without colour.
"""

import io
from pathlib import Path

import matplotlib

matplotlib.use("svg")
import matplotlib.pyplot as plt  # noqa: E402  the backend comes first

COLOURS = ["#0072B2", "#D55E00", "#009E73", "#CC79A7"]
MARKERS = ["o", "s", "^", "D", "v"]
DASHES = ["-", (0, (5, 2)), (0, (1, 1.5)), "-."]
GREY = "#555555"

matplotlib.rcParams.update({
    "svg.hashsalt": "slimgrad", "svg.fonttype": "none",  # text stays text
    "font.size": 11, "lines.linewidth": 1.8, "lines.markersize": 5, "legend.frameon": False,
    "figure.figsize": (7.4, 4.2), "figure.constrained_layout.use": True,
    "axes.titlesize": 11, "axes.titleweight": "bold", "axes.titlelocation": "left",
    "axes.grid": True, "axes.axisbelow": True, "grid.color": "#dddddd",
    "axes.spines.top": False, "axes.spines.right": False})


def series(i: int, marker: bool = True) -> dict:
    """Arguments of plot for the i-th series."""
    return {"color": COLOURS[i % len(COLOURS)], "linestyle": DASHES[i % len(DASHES)],
            "marker": MARKERS[i % len(MARKERS)] if marker else ""}


def share_label(share: float, _position=None) -> str:
    """The label of a tick on an axis of shares: 1/4, not 0.25."""
    return f"{share:.3g}" if share >= 1 else f"1/{1 / share:.3g}"


def save(figure, picture: Path) -> None:
    """Writes an SVG that is the same, byte for byte, whenever the numbers are."""
    picture.parent.mkdir(parents=True, exist_ok=True)
    drawn = io.StringIO()
    figure.savefig(drawn, format="svg", metadata={"Date": None})
    plt.close(figure)
    # matplotlib leaves blanks at the ends of lines.
    new = picture.with_suffix(".new")
    new.write_text("".join(f"{line.rstrip()}\n" for line in drawn.getvalue().splitlines()))
    new.replace(picture)
    print(f"wrote {picture}")
