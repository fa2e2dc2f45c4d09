"""What more than one notebook needs: a small model, trained for a while, and a look inside it."""

import numpy as np

import slimgrad as sg


def batches(batch_size=64, seed=0):
    """The training images that ship with slimgrad: 6,000 of Fashion-MNIST, 28 x 28."""
    return sg.data.Loader(sg.data.load("embedded-images").train, batch_size, seed=seed)


def make_vit(seed=0):
    """A vision transformer of four blocks and width 96 that sees an image as 49 tokens."""
    return sg.models.make("vit-micro", channels=1, height=28, width=28, seed=seed)


def train_vit(steps, seed=0):
    """The model after `steps` steps of AdamW, and loss_of(tape, batch) for it."""
    model, loader = make_vit(seed), batches(seed=seed)

    def loss_of(tape, batch):
        return sg.cross_entropy(model(tape.constant(batch.x)), batch.labels)

    optimizer = sg.optim.AdamW(model, lr=1e-3)
    for step in range(steps):
        model.zero_grad()
        tape = sg.Tape()
        tape.backward(loss_of(tape, loader.batch(step)))
        optimizer.step()
    return model, loss_of


class Recorder(sg.BackwardRule):
    """The exact rule, watched: copies x on the way there and g_y on the way back."""

    def __init__(self, w):
        self.x, self.gy, self.w = [], [], np.array(w)

    def save(self, x, saved, call):
        self.x.append(np.array(x.matrix))
        if call.gw:
            saved.keep("x", x.matrix)

    def backward(self, gy, w, saved, call):
        self.gy.append(np.array(gy))
        gx = sg.linear_gx(gy, w) if call.gx else None  # g W
        gw = sg.linear_gw(gy, saved["x"]) if call.gw else None  # gᵀ x
        return gx, gw


def record(model, loss_of, first_step, batches=8, loader=None):
    """x, g_y and W of every compressible layer over some batches, by the layer's name."""
    loader = loader or globals()["batches"]()
    layers = {layer.path: layer for layer in sg.linear_maps(model) if layer.compressible}
    recorders = {name: Recorder(layer.weight.value) for name, layer in layers.items()}
    for name, layer in layers.items():
        layer.rule = recorders[name]
    for step in range(first_step, first_step + batches):
        tape = sg.Tape(update_statistics=False)
        tape.backward(loss_of(tape, loader.batch(step)))
    model.zero_grad()
    for layer in layers.values():
        layer.rule = None  # the exact rule again
    return {name: r for name, r in recorders.items() if r.gy and r.gy[0].shape[1] > 1}


def train(method, steps=120, smooth=15, **options):
    """A fresh model under a method, calibrated every 40 steps if it is of that kind.

    Gives the training loss, the mean of `smooth` steps, and the FLOPs of its linear maps by phase.
    """
    model, loader, losses = make_vit(), batches(batch_size=32), []

    def loss_of(tape, batch):
        return sg.cross_entropy(model(tape.constant(batch.x)), batch.labels)

    def calibrate():
        for step in range(2):
            tape = sg.Tape(update_statistics=False)
            tape.backward(loss_of(tape, loader.batch(steps + step)))

    optimizer = sg.optim.AdamW(model, lr=1e-3)
    calibrator = sg.Calibrator(model, method=method, **options)
    sg.meter.reset()
    for step in range(steps):
        if step % 40 == 0:
            calibrator.calibrate(calibrate)
        model.zero_grad()
        tape = sg.Tape(step=step, method=method, **options)
        loss = loss_of(tape, loader.batch(step))
        losses.append(loss.item())
        tape.backward(loss)
        optimizer.step()
    flops = {p: sg.meter.phase(p) for p in ("compress", "g_w", "g_x", "calibrate")}
    return np.convolve(losses, np.ones(smooth) / smooth, "valid"), flops
