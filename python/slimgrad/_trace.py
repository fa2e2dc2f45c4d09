"""One training step as a timeline."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from typing import Any

import numpy as np

from . import _core
from ._cost import Document
from .runs import _path, _warn, _words, _yes_or_no

__all__ = ["trace"]


def trace(
    methods: Iterable[str] = ("vanilla", "instant"),
    *,
    warmup_steps: int = 2,
    out: str | os.PathLike[str] | None = None,
    chrome: str | os.PathLike[str] | None = None,
    quiet: bool = False,
    **options: Any,
) -> Document:
    """One training step of each method, watched: who holds which bytes when, and what each call takes.

    The result is what `slimgrad trace --json` prints (docs/trace.md): `methods`, each with `peak`,
    `moments`, `calls` and `held`, and `holders`, the largest holders at the peak of the first method.

    methods: names, each with options of its own if it has any, as in sg.compare. warmup_steps: steps
    of training before the one that is watched. out: an HTML page to write, which needs no network.
    chrome: a file for Perfetto. options: those of sg.train. All methods begin from the same weights
    and see the same batch; the batch is of all, so no method may choose it for itself.

    A trace resets the peaks of sg.ledger. Ctrl-C ends it between two steps. Raises sg.Error, before
    the first step, for options that will not do and for files that are there and not slimgrad's own.

    >>> t = sg.trace(["vanilla", "instant"], model="vit-micro", batch=32)
    >>> [(m.method, m.peak.bytes, m.saved_after_forward) for m in t.methods]
    """
    methods = methods if isinstance(methods, str) else list(methods)
    if isinstance(methods, str) or not methods or not all(isinstance(m, str) for m in methods):
        raise _core.Error(f"[trace] expected a list of methods, got {methods!r}")
    words = _words("trace", options)
    for own in ("method", "checkpoint_every", "log_every", "limit_test"):
        if own in words:
            raise _core.Error(f"[trace] {own} is not an option of a trace: leave it out")
    document = _core.trace(
        methods,
        warmup_steps.item() if isinstance(warmup_steps, np.generic) else warmup_steps,
        "" if out is None else _path("trace", "out", out),
        "" if chrome is None else _path("trace", "chrome", chrome),
        _yes_or_no("trace", "quiet", quiet),
        words,
        lambda note: _warn([note], 4),
    )
    result = json.loads(document, object_hook=Document)
    assert isinstance(result, Document)
    return result
