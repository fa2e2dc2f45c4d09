"""The table of methods, and methods of one's own."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from . import _core

__all__ = ["Option", "method_names", "register_method"]

#: Methods, and options of theirs, that only this process knows.
own: set[str] = set()
own_options: set[str] = set()


class Option(NamedTuple):
    """An option of a method: its default, and what it may be."""

    default: bool | int | float | str
    low: int | float | None = None
    high: int | float | None = None
    words: Sequence[str] = ()
    help: str = ""


Option.default.__doc__ = "Its type is that of all values."
Option.low.__doc__ = "The least that a number may be."
Option.high.__doc__ = "The most that a number may be."
Option.words.__doc__ = "All that a text may be; without them it may be anything."
Option.help.__doc__ = "What it means, in a line."


def method_names() -> list[str]:
    """The methods that `method=` may be."""
    return _core.method_names()


def register_method(
    name: str,
    rule: Callable[..., Any],
    *,
    help: str = "",
    x_slot: str = "",
    g_slot: str = "",
    options: Mapping[str, Option] | None = None,
) -> None:
    """Adds a method of one's own: `sg.train`, `sg.compare`, `sg.Calibrator` and the rest know it.

        sg.register_method(
            "every-nth-token",
            lambda layer, stride: EveryNthToken(stride),
            x_slot="every n-th token of x",
            options={"stride": sg.Option(2, low=1, high=1000, help="keep every n-th token")},
        )
        sg.compare(["vanilla", "every-nth-token"], stride=4, steps=100, out="runs/own")

    rule: called for every layer that a method may compress, with its path and the options by name;
    gives a sg.BackwardRule, or None for the exact one. help, x_slot, g_slot: what the method is,
    what it keeps of x and how it makes g_x, in a few words.

    Other processes do not know it: `sg.compare` runs it in this one, as all runs that are given its
    options, and a run is resumed where it is registered. Call it before other threads
    use slimgrad. Raises sg.Error for a name that is taken, or an option that runs have already, or
    another method with another meaning.
    """
    if not callable(rule):
        raise _core.Error(f"[method] expected a function as rule, got {rule!r}")
    of_runs = {key for key, *_ in _core.run_options()} - set(_core.own_options())
    for key in options or {}:
        if key in of_runs:
            raise _core.Error(f"[method] {name!r}: {key!r} is an option of every run already")
    listed = [
        (key, o.default, o.low, o.high, list(o.words), o.help) for key, o in (options or {}).items()
    ]
    for half in (_core.f32, _core.f64):
        half.add_method(name, rule, help or name, x_slot or "x", g_slot or "g W", listed)
    own.add(name)
    own_options.update(options or {})
