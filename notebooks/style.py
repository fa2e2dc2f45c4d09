"""One look for the figures of all notebooks.

The colours are those of Okabe and Ito ("Color Universal Design", 2008), which colour-blind readers
can tell apart. Every series also has a line style and a marker of its own, and maps of values use
cividis, whose lightness rises evenly: so all of it survives a black-and-white printer.
"""

import matplotlib
import matplotlib.pyplot as plt

BLACK, GREY = "#000000", "#8C8C8C"
BLUE, ORANGE, GREEN = "#0072B2", "#E69F00", "#009E73"
VERMILION, PURPLE, SKY = "#D55E00", "#CC79A7", "#56B4E9"

SERIES = [
    {"color": BLUE, "linestyle": "-", "marker": "o"},
    {"color": ORANGE, "linestyle": (0, (5, 2)), "marker": "s"},
    {"color": GREEN, "linestyle": "-.", "marker": "^"},
    {"color": PURPLE, "linestyle": ":", "marker": "D"},
    {"color": BLACK, "linestyle": (0, (3, 1, 1, 1, 1, 1)), "marker": "v"},
]
# The four backward modes look the same in every figure.
MODES = dict(zip(("vanilla", "compress-x", "compress-gy", "instant"), SERIES[4:] + SERIES[:3]))
HATCHES = ["", "///", "...", "xxx", "\\\\\\"]
MAP = "cividis"

matplotlib.rcParams.update(
    {
        "figure.dpi": 110,
        "figure.figsize": (7.4, 3.7),
        "figure.constrained_layout.use": True,
        "font.size": 11,
        "axes.titlesize": 11.5,
        "axes.titlelocation": "left",
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.grid": True,
        "axes.axisbelow": True,
        "grid.color": "#E4E4E4",
        "grid.linewidth": 0.7,
        "lines.linewidth": 2,
        "lines.markersize": 5.5,
        "legend.frameon": False,
        "image.cmap": MAP,
        "hatch.linewidth": 0.6,
    }
)


def line(series, marker=True, **more):
    """Arguments of plot for one of SERIES or MODES, with or without its marker."""
    return {**series, **({} if marker else {"marker": ""}), **more}


def label(ax, x, y, text, color=BLACK, dx=6, dy=0, ha="left", va="center", **more):
    """Writes the name of a curve beside it, `dx`, `dy` points from a data point."""
    ax.annotate(
        text,
        (x, y),
        xytext=(dx, dy),
        textcoords="offset points",
        color=color,
        ha=ha,
        va=va,
        **more,
    )


def picture(ax, values, title, limit=None):
    """A matrix as an image, on a scale that is symmetric about zero."""
    limit = abs(values).max() if limit is None else limit
    image = ax.imshow(values, aspect="auto", vmin=-limit, vmax=limit, interpolation="nearest")
    ax.set_title(title)
    ax.grid(False)
    return image


__all__ = [name for name in dir() if name.isupper()] + ["label", "line", "picture", "plt"]
