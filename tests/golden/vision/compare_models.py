#!/usr/bin/env python3
"""Compares the models of images with those of torchvision and timm: random weights, all gradients.

    pip install torch==2.13.0 torchvision timm
    ./run python                  # then, with the Python of .venv and these packages in it:
    python tests/golden/vision/compare_models.py [MODEL...]

The other library makes a model, with running statistics of BatchNorm that are not 0 and 1; slimgrad
gets its values under the names of `file_names`, and every value has to find its place. Both compute
logits and the gradients of Σ y ∘ g, in training and in evaluation. Allowed are

    logits          max |difference| / max |logit|:        1e-4 in float32, 1e-9 in float64
    gradients       |difference| / |gradient| (2-norms):   1e-3 in float32, 1e-9 in float64

PyTorch's own float32 is held against float64 too. Near the kink of a ReLU rounding changes a gradient
as a whole; so in float32 an error up to twice that of PyTorch is allowed. A gradient that is 0 but for
rounding, as that of a bias before a convolution and a normalisation, is held against the gradient of the
scale beside it.
"""
import argparse
import gc
import pathlib
import sys

import numpy as np
import timm
import torch
import torchvision

import slimgrad as sg

sys.path.insert(0, str(pathlib.Path(__file__).parent.parent))
from vision import with_exact_distances

CLASSES = 10
# Ours, the maker of theirs, the side of the images.
MODELS = {
    "resnet18": (lambda: torchvision.models.resnet18(num_classes=CLASSES), 64),
    "resnet50": (lambda: torchvision.models.resnet50(num_classes=CLASSES), 64),
    "mobilenetv2": (lambda: torchvision.models.mobilenet_v2(num_classes=CLASSES, dropout=0.0), 64),
    "mobilenetv2 timm": (lambda: timm.create_model("mobilenetv2_100", num_classes=CLASSES), 64),
    "efficientnet-lite0": (lambda: timm.create_model("tf_efficientnet_lite0", num_classes=CLASSES), 64),
    "efficientformer-l1": (lambda: timm.create_model("efficientformer_l1", num_classes=CLASSES), 224),
    "efficientformerv2-s0": (lambda: timm.create_model("efficientformerv2_s0", num_classes=CLASSES,
                                                       img_size=64), 64),
    "swinv2-s": (lambda: timm.create_model("swinv2_small_window8_256", num_classes=CLASSES, img_size=64,
                                             drop_path_rate=0.0), 64),
    "vit-ti16": (lambda: timm.create_model("vit_tiny_patch16_224", num_classes=CLASSES, img_size=64), 64),
    "deit-ti": (lambda: timm.create_model("deit_tiny_patch16_224", num_classes=CLASSES, img_size=96), 96),
    "vit-b32": (lambda: torchvision.models.vit_b_32(num_classes=CLASSES, image_size=64), 64),
    "vit-b16": (lambda: torchvision.models.vit_b_16(num_classes=CLASSES, image_size=64), 64),
}


def randomise(model, seed):
    """All values that libraries start at 0 or 1, too, so that none can be mistaken for another."""
    generator = torch.Generator().manual_seed(seed)
    draw = lambda t: torch.rand(t.shape, generator=generator, dtype=torch.float64)
    with torch.no_grad():
        for name, value in model.state_dict().items():
            if name.endswith("running_var"):
                value.copy_(0.5 + draw(value))
            elif name.endswith("running_mean"):
                value.copy_(0.2 * draw(value) - 0.1)
            elif value.is_floating_point() and value.ndim <= 1:
                value.add_(0.1 * draw(value))
            elif name.split(".")[-1] in ("cls_token", "class_token", "pos_embed", "pos_embedding"):
                value.copy_(0.2 * draw(value) - 0.1)
            elif value.is_floating_point() and not value.any():
                value.copy_(0.2 * draw(value) - 0.1)  # torchvision's last layer of a ViT


def theirs_as_ours(model, ours, state):
    """Fills our model; returns, for each of our parameters, the names of theirs."""
    places, seen = {}, set()
    targets = [(n, p.value) for n, p in ours.named_parameters()] + list(ours.named_buffers())
    for name, target in targets:
        found = [f for f in model.file_names(name) if all(part in state for part in f)]
        assert found, f"no place for {name}"
        values = np.concatenate([state[part].numpy() for part in found[0]])
        np.asarray(target)[...] = values.reshape(target.shape)
        places[name] = found[0]
        seen.update(found[0])
    left = [n for n in state if n not in seen and not n.endswith(("num_batches_tracked", "attention_bias_idxs"))]
    assert not left, f"left over: {left}"
    return places


def run_theirs(model, dtype, x, g, training):
    model = model.to(dtype).train(training)
    model.zero_grad()
    y = model(x.to(dtype))
    (y * g.to(dtype)).sum().backward()
    return {"logits": y.detach().double().numpy()} | {
        n: p.grad.double().numpy() for n, p in model.named_parameters()}


def run_ours(model, places, x, g, training, dtype):
    for _, p in model.named_parameters():
        p.grad = None
    tape = (sg.float64 if dtype == "float64" else sg).Tape(training=training)
    y = model(tape.constant(x.numpy().astype(dtype)))
    tape.backward(y, g.numpy().astype(dtype))
    results = {"logits": np.asarray(y.value).astype(np.float64)}
    for name, p in model.named_parameters():
        results[name] = np.asarray(p.grad).astype(np.float64)
    return results


def errors(got, exact, places):
    """Of the logits, and the worst of the gradients with its name. `places`: what each is called in `exact`."""
    logits = np.abs(got["logits"] - exact["logits"]).max() / np.abs(exact["logits"]).max()
    wanted = {name: np.concatenate([exact[p] for p in parts]) for name, parts in places.items()
              if parts[0] in exact}
    worst = (0.0, "")
    for name, want in wanted.items():
        beside = wanted.get(name.removesuffix("bias") + "weight", want)
        size = max(np.linalg.norm(want), 1e-3 * np.linalg.norm(beside))
        worst = max(worst, (np.linalg.norm(got[name].reshape(want.shape) - want) / size, name))
    return logits, *worst


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("models", nargs="*", default=list(MODELS))
    parser.add_argument("--batch", type=int, default=4)
    args = parser.parse_args()
    failed = False
    print(f"{'':37}{'logits':>9}{'gradients':>11}   the worst of them")
    for case in args.models:
        make, side = MODELS[case]
        torch.manual_seed(1)
        theirs = make().double()
        randomise(theirs, 2)
        state = {n: v.clone() for n, v in theirs.state_dict().items()}
        x, g = torch.randn(args.batch, 3, side, side).double(), torch.randn(args.batch, CLASSES).double()
        for training in (False, True):
            with_exact_distances(theirs.double()).load_state_dict(state)
            exact = run_theirs(theirs, torch.float64, x, g, training)
            theirs.load_state_dict(state)
            single = run_theirs(theirs, torch.float32, x, g, training)
            for dtype, models, allowed in (("float64", sg.float64.models, (1e-9, 1e-9)),
                                           ("float32", sg.models, (1e-4, 1e-3))):
                ours = models.make(case.split()[0], height=side, width=side, classes=CLASSES)
                places = theirs_as_ours(ours, ours, state)
                got = run_ours(ours, places, x, g, training, dtype)
                logits, gradient, name = errors(got, exact, places)
                note = ""
                if dtype == "float32":
                    renamed = {n: np.concatenate([single[p] for p in parts])
                               for n, parts in places.items() if parts[0] in single}
                    other = errors(renamed | {"logits": single["logits"]}, exact, places)
                    allowed = [max(a, 2 * o) for a, o in zip(allowed, other)]
                    note = f" (PyTorch's float32: {other[0]:.0e}, {other[1]:.0e})"
                bad = not (logits <= allowed[0] and gradient <= allowed[1])
                failed |= bad
                mode = "training" if training else "evaluation"
                print(f"{case:18} {dtype} {mode:10}{logits:9.1e}{gradient:11.1e}   {name}{note}"
                      f"{'   FAILED' if bad else ''}", flush=True)
                del ours
        gc.collect()
    raise SystemExit(1 if failed else 0)


if __name__ == "__main__":
    main()
