"""Optimisers. They take models of either precision."""

from __future__ import annotations

from . import _core
from ._core.f32 import Optimizer

__all__ = ["Adam", "AdamW", "Optimizer", "SGD", "lr_factor"]


def _betas(betas):
    try:
        beta1, beta2 = betas
    except (TypeError, ValueError):
        raise _core.Error(f"[optimizer] expected betas as two numbers, got {betas!r}") from None
    return {"beta1": beta1, "beta2": beta2}


def SGD(model, lr, *, momentum=0.0, nesterov=False, weight_decay=0.0):
    """Stochastic gradient descent with momentum, Nesterov's form of it, and L2 weight decay."""
    return _core.make_optimizer(
        model, "sgd", lr, momentum=momentum, nesterov=nesterov, weight_decay=weight_decay
    )


def Adam(model, lr=1e-3, *, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.0):
    """Adam (Kingma and Ba, 2015); weight decay is part of the gradient."""
    return _core.make_optimizer(
        model, "adam", lr, **_betas(betas), epsilon=eps, weight_decay=weight_decay
    )


def AdamW(model, lr=1e-3, *, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.0):
    """AdamW (Loshchilov and Hutter, 2019); weight decay shrinks the weights beside the update."""
    return _core.make_optimizer(
        model, "adamw", lr, **_betas(betas), epsilon=eps, weight_decay=weight_decay
    )


def lr_factor(schedule, step, total_steps, *, warmup=0, step_size=0, gamma=0.1, min_lr_rate=0.0):
    """The factor of the base learning rate at a step, a pure function of it.

    schedule: "constant", "step", "cosine" or "linear", after `warmup` steps of linear warm-up.
    min_lr_rate: the factor at the end of "cosine" and "linear".
    """
    return _core.lr_factor(schedule, step, total_steps, warmup, step_size, gamma, min_lr_rate)
