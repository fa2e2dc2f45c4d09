"""Whole training runs: the loop of the command-line program."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import warnings

import numpy as np

from . import _core
from . import methods as methods_


def run_options() -> dict[str, tuple[object, str]]:
    """Every option of a run: its default, and what it means and may be. The same words as on the
    command line."""
    return {name: (json.loads(default), text) for name, default, text in _core.run_options()}


def train(*, resume=None, overwrite=False, quiet=False, stop=None, **options) -> dict:
    """Trains a model into a run directory and returns its summary.

        sg.train(model="vit-micro", method="instant", epsilon=0.95, steps=100, out="runs/a")
        sg.train(data="mrpc", data_dir="MRPC", from_="all-MiniLM-L6-v2", out="runs/b")

    options: those of `slimgrad train`, with underscores; `sg.run_options()` lists them. `out` is
    needed: a directory that is absent, empty, or holds a run that overwrite allows to replace.
    `from_` stands for `from`. pad="batch" fills texts up to the longest of their batch, not to
    max_length, for methods that need no fixed length. resume: a run directory to go on with instead,
    under its own options, to the same bits.
    stop: a function of the step, asked before each, and again while the step calibrates and the epoch
    after it is evaluated; if it is true the run saves a checkpoint and train returns {}. Ctrl-C saves
    a checkpoint too and raises KeyboardInterrupt.

    A run measures itself: it resets the meter of this thread and the peaks of the ledger. Raises
    sg.Error for an unknown option, a value out of range or data that cannot be read.
    """
    if resume is not None:
        if options or overwrite:
            raise _core.Error(
                "[train] resume takes every option from the run's config.json: leave out "
                f"{next(iter(options), 'overwrite')}"
            )
        config = None
    else:
        config = _words("train", options)
        if not config.get("out"):
            raise _core.Error("[train] expected out, the run directory to create")
        _warn(_core.check_run(config), 3)
    if stop is not None and not callable(stop):
        raise _core.Error(f"[train] expected a function of the step as stop, got {stop!r}")
    overwrite = _yes_or_no("train", "overwrite", overwrite)
    quiet = _yes_or_no("train", "quiet", quiet)
    resume = "" if resume is None else _path("train", "resume", resume)
    summary = _core.train(config, resume, overwrite, quiet, stop)
    return json.loads(summary) if summary is not None else {}


def _words(place, options):
    """Options as the program has them: paths as texts, numbers of NumPy as numbers, and from_ for
    from, a word of Python. None counts as not given."""
    words = {}
    for name, value in options.items():
        name = "from" if name == "from_" else name
        if value is None:
            continue
        if name in words:
            raise _core.Error(f"[{place}] expected {name} once: leave out from or from_")
        if isinstance(value, os.PathLike):
            value = _path(place, name, value)
        words[name] = value.item() if isinstance(value, np.generic) else value
    return words


def _path(place, name, value):
    try:
        return os.fsdecode(value)
    except TypeError:
        raise _core.Error(f"[{place}] expected a path as {name}, got {value!r}") from None


def _yes_or_no(place, name, value):
    if not isinstance(value, (bool, np.bool_)):
        raise _core.Error(f"[{place}] expected True or False as {name}, got {value!r}")
    return bool(value)


def _warn(notes, depth):
    """Says which options have no effect, in the name of whoever called this module."""
    for note in notes:
        warnings.warn(note, stacklevel=depth)


def compare(
    methods, *, seeds=1, out, overwrite=False, resume=False, quiet=False, **options
) -> dict:
    """Trains with several methods under the same seeds: `slimgrad compare`.

        sg.compare(["vanilla", "instant:oversample=7"], seeds=3, epochs=5, out="runs/compare")

    methods: names, each with options of its own if it has any, as on the command line: those come
    before `options`, which are those of sg.train for all runs. Returns {"runs": [directories],
    "methods": [{"method", "seeds", "epochs", figures}], "majority_baseline": metrics}, where a figure
    (accuracy, best_f1, backward_flops, saved_per_sample, optimizer_bytes, ...) is {"mean", "sd"} over
    the seeds, sd None for one seed, or None where a method has no such figure. Writes the same into
    `out`/compare.json, a table into `out`/compare.md, and `out`/report.html. overwrite: replace a
    comparison, and its runs, that `out` holds. resume: go on with it, and keep the runs that have
    finished.

    Each run has a process of its own, so that its peak memory is its own; one with a method or an
    option that only this process knows (sg.register_method) runs in this one. Ctrl-C saves the run
    that is under way and raises KeyboardInterrupt. Raises sg.Error, before the first run, if a run
    may not be as it is asked for or `out` is in use, and with the message of a run that failed.
    """
    methods = methods if isinstance(methods, str) else list(methods)
    if isinstance(methods, str) or not methods or not all(isinstance(m, str) for m in methods):
        raise _core.Error(f"[compare] expected a list of methods, got {methods!r}")
    options = _words("compare", options)
    for own in ("method", "out"):
        if own in options:
            raise _core.Error(f"[compare] {own} is not an option of the runs: leave it out")
    quiet = _yes_or_no("compare", "quiet", quiet)
    document = _core.compare(
        methods,
        seeds.item() if isinstance(seeds, np.generic) else seeds,
        _path("compare", "out", out),
        _yes_or_no("compare", "overwrite", overwrite),
        _yes_or_no("compare", "resume", resume),
        options,
        lambda run, found: _run_one(json.loads(run), found, quiet),
        lambda note: _warn([note], 4),
    )
    return json.loads(document)


def report(runs, path) -> None:
    """Writes one HTML page that compares finished runs; it needs no network."""
    runs = [runs] if isinstance(runs, (str, bytes, os.PathLike)) else list(runs)
    runs = [_path("report", "runs", run) for run in runs]
    _core.write_report(runs, _path("report", "path", path))


def _run_one(options, found, quiet):
    """Brings one run of a comparison to its end."""
    if found == "part":
        call = {"resume": options["out"], "quiet": quiet}
    else:
        call = {"overwrite": found == "other", "quiet": quiet, **options}
    own = not methods_.own.isdisjoint(options["method"].split("+"))
    if own or not methods_.own_options.isdisjoint(options):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # which options have no effect, compare() has said
            train(**call)
    else:
        _run_alone(call, options["out"])


def _run_alone(call, out):
    """sg.train(**call) in a process of its own."""
    with subprocess.Popen(
        [sys.executable, "-m", "slimgrad._run"],
        text=True,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as run:
        try:
            refused, _ = run.communicate(json.dumps(call))
        except KeyboardInterrupt:
            run.wait()  # Ctrl-C has reached the run too: it saves
            raise
    if refused:
        raise _core.Error(json.loads(refused))
    if run.returncode != 0:
        raise _core.Error(f"[compare] the run '{out}' failed with status {run.returncode}")
