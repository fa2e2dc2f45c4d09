"""Golden values of the optimisers, the schedules and gradient clipping.

Two parameters, `a` and `b`, start from `init.*` and meet the gradients `grads.*`, one row a step.
An optimiser's case stores them after every step, a schedule's case its factor at every step.
"""
import torch
from torch.optim import lr_scheduler as schedulers

from layers import random

STEPS, SHAPES = 12, {"a": (2, 3), "b": (4,)}

OPTIMISERS = {
    "sgd": (torch.optim.SGD, dict(lr=0.1)),
    "sgd_decay": (torch.optim.SGD, dict(lr=0.1, weight_decay=0.05)),
    "sgd_momentum": (torch.optim.SGD, dict(lr=0.1, momentum=0.9, weight_decay=0.05)),
    "sgd_nesterov": (torch.optim.SGD, dict(lr=0.1, momentum=0.9, weight_decay=0.05, nesterov=True)),
    "adam": (torch.optim.Adam, dict(lr=0.01)),
    "adam_options": (torch.optim.Adam,
                     dict(lr=0.01, betas=(0.8, 0.95), eps=1e-3, weight_decay=0.1)),
    "adamw": (torch.optim.AdamW, dict(lr=0.01, weight_decay=0)),
    "adamw_options": (torch.optim.AdamW,
                      dict(lr=0.01, betas=(0.8, 0.95), eps=1e-3, weight_decay=0.1)),
}

TOTAL, WARMUP = 20, 5


def optimisers(tensors):
    init = {key: random(f"optim/{key}", shape) for key, shape in SHAPES.items()}
    grads = {key: random(f"optim/grads.{key}", (STEPS, *shape)) for key, shape in SHAPES.items()}
    for key in SHAPES:
        tensors[f"init.{key}"], tensors[f"grads.{key}"] = init[key], grads[key]
    for name, (cls, options) in OPTIMISERS.items():
        params = {key: value.clone().requires_grad_() for key, value in init.items()}
        optimiser = cls(params.values(), foreach=False, **options)
        trace = {key: [] for key in params}
        for step in range(STEPS):
            for key, p in params.items():
                p.grad = grads[key][step].clone()
            optimiser.step()
            for key, p in params.items():
                trace[key].append(p.detach().clone())
        for key in params:
            tensors[f"{name}/{key}"] = torch.stack(trace[key])


def factors(make, warmup):
    """The rate at each step, at a base rate of 1, as a training loop sees it."""
    optimiser = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    schedule = make(optimiser)
    if warmup:
        rise = schedulers.LinearLR(optimiser, start_factor=1 / warmup, total_iters=warmup - 1)
        schedule = schedulers.SequentialLR(optimiser, [rise, schedule], milestones=[warmup])
    rates = []
    for _ in range(TOTAL):
        rates.append(optimiser.param_groups[0]["lr"])
        optimiser.step()
        schedule.step()
    return torch.tensor(rates)


def schedules(tensors):
    for warmup in (0, WARMUP):
        rest = TOTAL - warmup
        for name, make in {
            "constant": lambda o: schedulers.ConstantLR(o, factor=1.0),
            "step": lambda o: schedulers.StepLR(o, step_size=4, gamma=0.3),
            "cosine": lambda o: schedulers.CosineAnnealingLR(o, T_max=rest),
            "linear": lambda o: schedulers.LinearLR(o, 1.0, end_factor=0.0, total_iters=rest),
        }.items():
            tensors[f"{name}_{warmup}/factors"] = factors(make, warmup)


def clipping(tensors):
    for name, max_norm in {"clip_below": 0.5, "clip_above": 100.0}.items():
        params = {key: torch.zeros(shape, requires_grad=True) for key, shape in SHAPES.items()}
        for key, p in params.items():
            p.grad = tensors[f"grads.{key}"][0].clone()
        norm = torch.nn.utils.clip_grad_norm_(params.values(), max_norm)
        tensors[f"{name}/norm"] = norm.reshape(1)
        for key, p in params.items():
            tensors[f"{name}/{key}"] = p.grad


def make():
    tensors = {}
    optimisers(tensors)
    schedules(tensors)
    clipping(tensors)
    return tensors
