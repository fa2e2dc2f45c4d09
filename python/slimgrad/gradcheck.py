"""Gradients against finite differences."""

from __future__ import annotations

from . import _core


def gradcheck(target, inputs, *, step=None, tolerance=None, max_elements=0, seed=1):
    """Compares gradients with central differences; raises sg.Error where they differ.

    target: a module of either precision, whose input and parameters are checked, with `inputs` one
    array; or a function f(tape, inputs) -> Var, with `inputs` a list of arrays. Double precision is
    sharp (tolerance 1e-6), single precision a coarse look (5e-2). max_elements: how many elements
    of each tensor to check, 0 for all.

    Returns a report with max_error, checked and skipped (elements at a kink).
    """
    options = dict(step=step, tolerance=tolerance, max_elements=max_elements, seed=seed)
    for build in (_core.f64, _core.f32):
        if isinstance(target, build.Module):
            return build.gradcheck_module(target, inputs, **options)
    if not callable(target):
        raise _core.Error(f"[gradcheck] expected a module or a function, got {type(target)}")
    if not isinstance(inputs, (list, tuple)):
        raise _core.Error(f"[gradcheck] expected a list of arrays for a function, got {type(inputs)}")
    inputs = list(inputs)
    double = all(str(getattr(x, "dtype", "")) == "float64" for x in inputs)
    build = _core.f64 if double else _core.f32
    name = getattr(target, "__name__", type(target).__name__)
    return build.gradcheck_function(name, target, inputs, **options)
