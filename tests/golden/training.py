"""Golden values of 20 training steps of mlp, vit-tiny and resnet20, in float64.

Initial weights and batches come from streams that C++ draws as well, in golden_training_test.cpp,
so the file holds, for each model, only

    loss          of every step, before its update
    grad_norm     of all gradients together at the first step
    end.<name>    of each parameter and buffer after the last step: the sum of its elements, the sum
                  of their absolute values, the first and the last of them
"""
import torch
import torch.nn.functional as F

import models
from stream import integers, values, words

SEED, STEPS, BATCHES = 20, 20, 5

RUNS = {
    "mlp": (models.Mlp, 16,
            lambda p: torch.optim.SGD(p, lr=0.05, momentum=0.9, nesterov=True, weight_decay=1e-3)),
    "vit-tiny": (models.VitTiny, 2, lambda p: torch.optim.AdamW(p, lr=1e-4, weight_decay=0.05)),
    "resnet20": (models.ResNet20, 4,
                 lambda p: torch.optim.SGD(p, lr=0.005, momentum=0.9, weight_decay=5e-4)),
}


def initial(name, shape, seed=SEED):
    """Matrices and kernels: within the least power of two that is at least 1/sqrt(fan_in). Vectors:
    within 1/8 of 0, or of 1 for the scales of normalisations and running variances."""
    if len(shape) < 2:
        centre = float(name.endswith(("weight", "var")))
        return values(shape, seed, name, centre=centre, spread=1 / 8)
    fan_in, spread = int(torch.Size(shape[1:]).numel()), 1.0
    while (spread / 2) ** 2 * fan_in >= 1:
        spread /= 2
    return values(shape, seed, name, spread=spread)


def summary(t):
    t = t.detach().reshape(-1)
    return torch.stack([t.sum(), t.abs().sum(), t[0], t[-1]])


def train(name):
    make, batch, optimiser = RUNS[name]
    model = make()
    with torch.no_grad():
        for key, p in model.named_parameters():
            p.copy_(torch.from_numpy(initial(key, tuple(p.shape))))
    optimiser = optimiser(model.parameters())
    losses, grad_norm = [], None
    for step in range(STEPS):
        x = torch.from_numpy(values((batch, 3, 32, 32), SEED, f"{name}/x", a=step % BATCHES))
        labels = torch.from_numpy(integers((batch,), 10, SEED, f"{name}/labels", a=step % BATCHES))
        loss = F.cross_entropy(model(x), labels)
        optimiser.zero_grad()
        loss.backward()
        if step == 0:
            grad_norm = torch.stack([p.grad.norm() for p in model.parameters()]).norm()
        optimiser.step()
        losses.append(loss.detach())
    tensors = {f"{name}/loss": torch.stack(losses), f"{name}/grad_norm": grad_norm.reshape(1)}
    for key, t in [*model.named_parameters(), *model.named_buffers()]:
        if not key.endswith("num_batches_tracked"):
            tensors[f"{name}/end.{key}"] = summary(t)
    return tensors


def make():
    # The first words of a stream, to tell a change of the generator from a change of the training.
    tensors = {"stream": torch.from_numpy(words(8, SEED, "stream", a=3).astype("float64"))}
    for name in RUNS:
        tensors |= train(name)
        print(name, tensors[f"{name}/loss"].tolist())
    return tensors
