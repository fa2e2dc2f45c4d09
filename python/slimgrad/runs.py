"""Whole training runs: the loop of the command-line program."""

from __future__ import annotations

import json
import math
import operator
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
    `from_` stands for `from`. resume: a run directory to go on with instead, under its own options,
    to the same bits.
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


_FIGURES = {
    "accuracy": ("accuracy",),
    "f1": ("f1",),
    "matthews": ("matthews",),
    "backward_flops": ("flops", "backward_linear"),
    "backward_flops_with_calibration": ("flops", "backward_linear_with_calibration"),
    "saved_per_sample": ("bytes", "saved_per_sample"),
    "saved_per_sample_linear": ("bytes", "saved_per_sample_linear"),
    "rss_peak": ("bytes", "rss_peak"),
    "seconds_forward": ("seconds", "forward"),
    "seconds_backward": ("seconds", "backward"),
    "seconds_calibrate": ("seconds", "calibrate"),
    "mean_rank_x": ("ranks", "mean_x"),
    "mean_rank_g": ("ranks", "mean_g"),
}


def compare(methods, *, seeds=1, out, overwrite=False, quiet=False, **options) -> dict:
    """Trains with several methods under the same seeds, each run in a process of its own.

        sg.compare(["vanilla", "instant"], seeds=3, epochs=5, out="runs/compare")

    Returns {"runs": [directories], "methods": [{"method", "seeds", figures}]}, where a figure
    (accuracy, f1, backward_flops, saved_per_sample, ...) is {"mean", "sd"} over the seeds, sd None for
    one seed, or None where a method has no such figure. Also writes `out`/compare.json and
    `out`/report.html. overwrite: replace a comparison, and its runs, that `out` holds. Raises
    sg.Error with the message of a run that failed, and if `out` is in use.
    """
    methods, seeds, options = _checked(methods, seeds, options)
    out = _path("compare", "out", out)
    overwrite = _yes_or_no("compare", "overwrite", overwrite)
    quiet = _yes_or_no("compare", "quiet", quiet)
    directory = _core.Comparison(out, overwrite)
    try:
        return _compare_in(directory, methods, seeds, out, overwrite, quiet, options)
    finally:
        directory.close()


def _compare_in(directory, methods, seeds, out, overwrite, quiet, options):
    _warn([directory.note()] if directory.note() else [], 4)
    first = options.get("seed", 0)
    jobs = {
        method: [
            dict(options, method=method, seed=seed, out=os.path.join(out, f"{method}-seed{seed}"))
            for seed in range(first, first + seeds)
        ]
        for method in methods
    }
    _core.check_places([job for of_method in jobs.values() for job in of_method], overwrite)
    document: dict = {"runs": [], "methods": []}
    for method, of_method in jobs.items():
        summaries = []
        for job in of_method:
            summaries.append(_run_alone(job, overwrite, quiet))
            document["runs"].append(job["out"])
        row = {"method": method, "seeds": seeds}
        row.update((name, _statistics(summaries, path)) for name, path in _FIGURES.items())
        document["methods"].append(row)
    directory.write("compare.json", json.dumps(document, indent=2) + "\n")
    report(document["runs"], os.path.join(out, "report.html"))
    return document


def _checked(methods, seeds, options):
    """What compare() is given, if every run that it asks for may be."""
    methods = methods if isinstance(methods, str) else list(methods)
    if isinstance(methods, str) or not methods or not all(isinstance(m, str) for m in methods):
        raise _core.Error(f"[compare] expected a list of methods, got {methods!r}")
    if len(set(methods)) < len(methods):
        raise _core.Error(f"[compare] expected each method once, got {methods}")
    options = _words("compare", options)
    for own in ("method", "out"):
        if own in options:
            raise _core.Error(f"[compare] {own} is not an option of the runs: leave it out")
    try:
        seeds = operator.index(seeds)
        _core.check_seeds(seeds)
    except (TypeError, OverflowError):
        raise _core.Error(f"[compare] expected a whole number as seeds, got {seeds!r}") from None
    idle = []
    for method in methods:
        idle.append(set(_core.check_run(dict(options, method=method))))
        _core.check_run(dict(options, method=method, seed=options.get("seed", 0) + seeds - 1))
    _warn(sorted(set.intersection(*idle)), 4)
    return methods, seeds, options


def report(runs, path) -> None:
    """Writes one HTML page that compares finished runs; it needs no network."""
    runs = [runs] if isinstance(runs, (str, bytes, os.PathLike)) else list(runs)
    runs = [_path("report", "runs", run) for run in runs]
    _core.write_report(runs, _path("report", "path", path))


def _run_alone(options, overwrite, quiet):
    """One run in a process of its own, so that its peak memory is its own. One with a method that
    only this process knows runs here."""
    if options["method"] in methods_.own:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # which options have no effect, compare() has said
            summary = train(overwrite=overwrite, quiet=quiet, **options)
        if not summary:
            raise KeyboardInterrupt
        return summary
    job = json.dumps({"options": options, "overwrite": overwrite, "quiet": quiet})
    with subprocess.Popen(
        [sys.executable, "-m", "slimgrad._run"],
        text=True,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as done:
        try:
            output, _ = done.communicate(job)
        except KeyboardInterrupt:
            done.wait()  # Ctrl-C has reached the run too: it saves
            raise
    answer = json.loads(output) if output else {}
    if "error" in answer:
        raise _core.Error(answer["error"])
    if done.returncode != 0:
        raise RuntimeError(f"[compare] the run '{options['out']}' ended with {done.returncode}")
    return answer


def _statistics(summaries, path):
    values = []
    for summary in summaries:
        value = summary
        for key in path:
            value = value.get(key)
        if isinstance(value, (int, float)):
            values.append(value)
    if not values:
        return None
    mean = sum(values) / len(values)
    if len(values) < 2:
        return {"mean": mean, "sd": None}
    squares = sum((value - mean) ** 2 for value in values)
    return {"mean": mean, "sd": math.sqrt(squares / (len(values) - 1))}
