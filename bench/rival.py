#!/usr/bin/env python3
"""PyTorch's side of the comparison: the same cases, the same commands as `slimgrad bench worker`.

    {"do": "prepare", "id": ID, "case": {...}, "method": M, "record": FILE, "optimizer": O, "layout": L}

`case` is what slimgrad's worker answered, FILE what it recorded: inputs, weights, results, gradients and
updated parameters. The same step is made here from the same values; if any result differs, the answer is
an error and nothing is timed. Methods: vanilla, and instant by bench/rival_models.py's LowRankLinear; of a
case of pictures torchvision and pillow.
"""

import argparse
import json
import sys
import time
import weakref
from itertools import zip_longest
from pathlib import Path

import torch
from safetensors.torch import load_file

from rival_models import Blocks, compress, image_model, low_rank_backward

TOLERANCE = 1e-3  # of the Euclidean length of each result
# Where a ReLU makes of a rounding error at zero one of the whole gradient behind it. PyTorch's own two memory layouts
# differ by up to 0.5 and 4 percent there.
RELU_TOLERANCE = {"resnet20": 2e-2, "resnet50": 1e-1}


class Difference(Exception):
    pass


def compare(name: str, got: torch.Tensor, expected: torch.Tensor, tolerance: float = TOLERANCE) -> None:
    """Raises Difference unless |got - expected| <= tolerance |expected|."""
    if got.shape != expected.shape:
        raise Difference(f"'{name}' has the shape {tuple(got.shape)}, not {tuple(expected.shape)}")
    error = torch.linalg.vector_norm((got - expected).double()).item()
    scale = torch.linalg.vector_norm(expected.double()).item()
    if not error <= tolerance * scale + 1e-12:
        raise Difference(f"'{name}' differs by {error:.3g} of {scale:.3g}, more than {tolerance:g} of it")


class Step:
    """A training step: forward, backward, AdamW."""

    def __init__(self, case: dict, command: dict, record: dict):
        self.vision = case["kind"] == "images"
        projectors = {name: t for name, t in record.items() if name[:2] in ("P.", "Q.")}
        if command["method"] == "vanilla":
            projectors = {}
        elif self.vision:
            raise ValueError("the operator under PyTorch is for linear layers; models of images have vanilla only")
        self.model = image_model(case["model"]) if self.vision else Blocks(case, projectors)
        weights = {name[2:]: t for name, t in record.items() if name.startswith("w.")}
        missing = self.model.load_state_dict(weights, strict=False)
        wrong = missing.unexpected_keys + [k for k in missing.missing_keys
                                           if not k.endswith(("running_mean", "running_var", "num_batches_tracked"))]
        if wrong:
            raise Difference(f"the models have different parameters: {wrong}")
        for name, p in self.model.named_parameters():
            p.requires_grad_("g." + name in record)
        self.trained = [(name, p) for name, p in self.model.named_parameters() if p.requires_grad]
        self.tolerance = RELU_TOLERANCE.get(case["model"], TOLERANCE)
        self.x = record["in.x"].clone()
        if command.get("layout") == "channels_last":
            self.model = self.model.to(memory_format=torch.channels_last)
            self.x = self.x.contiguous(memory_format=torch.channels_last)
        self.labels = record["in.labels"].long() if self.vision else None
        self.gy = None if self.vision else record["in.gy"].clone()
        self.optimizer = torch.optim.AdamW([p for _, p in self.trained], lr=1e-5, weight_decay=0.01,
                                           fused=command.get("optimizer") == "adamw-fused")
        self.verify(record)

    def forward(self) -> torch.Tensor:
        y = self.model(self.x)
        return torch.nn.functional.cross_entropy(y, self.labels) if self.vision else y

    def verify(self, record: dict) -> None:
        y = self.forward()
        compare("out.y", y.detach(), record["out.y"])
        y.backward(self.gy)
        movement = {}
        for name, p in self.trained:
            compare("g." + name, p.grad, record["g." + name], self.tolerance)
            # From equal gradients: where one is near zero, rounding alone decides the sign of the update.
            p.grad = torch.empty_like(p).copy_(record["g." + name])  # in the layout of p
            movement[name] = record["new." + name] - record["w." + name]
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        for name, p in self.trained:
            compare("new." + name, p.detach() - record["w." + name], movement[name], 2e-2)

    def run(self) -> dict:
        start = time.perf_counter()
        y = self.forward()
        forward = time.perf_counter()
        y.backward(self.gy)
        backward = time.perf_counter()
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        end = time.perf_counter()
        return {"forward": forward - start, "backward": backward - forward, "optimizer": end - backward}


class Pictures:
    """A folder of pictures as a test set is read: decoded, resized so that the shorter side is 8/7 of `side`, the
    middle cut out, values 0 to 1. By torchvision's operations on tensors, or by Pillow."""

    def __init__(self, case: dict, command: dict, record: dict):
        classes = [sorted(str(p) for p in folder.rglob("*") if p.is_file())
                   for folder in sorted(Path(case["directory"], "train").iterdir())]
        # slimgrad reads one of each class in turn.
        self.files = [file for turn in zip_longest(*classes) for file in turn if file]
        self.side, self.pillow = case["side"], command["method"] == "pillow"
        got, expected = self.read(), record["out.x"]
        if got.shape != expected.shape:
            raise Difference(f"the images have the shape {tuple(got.shape)}, not {tuple(expected.shape)}")
        # Decoders of JPEG round in their own ways; without one the filter is all there is.
        error, lossless = (got - expected).abs() * 255, all(f.endswith(".png") for f in self.files)
        far = error.max().item() if lossless else error.square().mean().sqrt().item()
        if far > 1.001:
            raise Difference(f"the images differ by {far:.2f} of 255 {'at most' if lossless else 'on average'}")

    def image(self, file: str) -> torch.Tensor:
        from torchvision.io import decode_image, ImageReadMode
        from torchvision.transforms.v2 import functional as F

        short = (self.side * 8 + 6) // 7
        if self.pillow:
            from PIL import Image

            picture = F.pil_to_tensor(F.center_crop(F.resize(Image.open(file).convert("RGB"), short), self.side))
        else:
            picture = F.center_crop(F.resize(decode_image(file, ImageReadMode.RGB), short, antialias=True), self.side)
        return picture.to(torch.float32) / 255

    def read(self) -> torch.Tensor:
        return torch.cat([torch.stack([self.image(f) for f in self.files[i:i + 32]])
                          for i in range(0, len(self.files), 32)])

    def run(self) -> dict:
        start = time.perf_counter()
        for i in range(0, len(self.files), 32):
            torch.stack([self.image(f) for f in self.files[i:i + 32]])
        return {"read": time.perf_counter() - start}


class Linears:
    """The linear maps of transformer blocks. Their values are in sets that all workloads of a case use in turn,
    enough of them to be out of every cache."""

    made = weakref.WeakValueDictionary()

    class Sets(list):
        """Values by name, and whose turn it is."""
        turn = 0

    def __init__(self, case: dict, command: dict, record: dict):
        self.low_rank, self.layers = command["method"] != "vanilla", case["layers"]
        self.projectors = {name: t for name, t in record.items() if name[:2] in ("P.", "Q.")}
        key = json.dumps([case["batch"], case["tokens"], case["width"], case["layers"]])
        self.sets = self.made.get(key)
        if self.sets is None:
            self.made[key] = self.sets = self.Sets()
            for _ in range(case["sets"]):
                values = {name: t.clone() for name, t in record.items() if name[:2] in ("in", "w.")}
                for part in "kv":  # they share the x of q here too
                    if "in.x." + part in values:
                        values["in.x." + part] = values["in.x.q"]
                self.sets.append(values)
        values = self.sets[0]
        if any(not torch.equal(values[name], t) for name, t in record.items() if name in values):
            raise Difference("the inputs are not those of the workloads before")
        self.run_on(values)
        for layer in self.layers:
            compare("g.x." + layer, values["gx." + layer], record["g.x." + layer])
            compare("g.w." + layer, values["gw." + layer], record["g.w." + layer])
            compare("g.b." + layer, values["gb." + layer], record["g.b." + layer])

    def run(self) -> dict:
        self.sets.turn = (self.sets.turn + 1) % len(self.sets)
        return self.run_on(self.sets[self.sets.turn])

    def run_on(self, values: dict) -> dict:
        kept, seconds, projectors = {}, {"compress": 0.0, "backward": 0.0}, self.projectors
        for layer in self.layers:
            start = time.perf_counter()
            x = values["in.x." + layer]
            kept[layer] = compress(projectors["P." + layer], x) if self.low_rank else x
            seconds["compress." + layer] = time.perf_counter() - start
            seconds["compress"] += seconds["compress." + layer]
        for layer in reversed(self.layers):
            gy, w = values["in.gy." + layer], values["w." + layer]
            start = time.perf_counter()
            if self.low_rank:
                gx, gw = low_rank_backward(gy, w, kept[layer],
                                           projectors["P." + layer], projectors["Q." + layer])
            else:
                gx = gy @ w
                gw = gy.flatten(0, 1).t() @ kept[layer].flatten(0, 1)
            gb = gy.sum((0, 1))
            seconds["backward." + layer] = time.perf_counter() - start
            seconds["backward"] += seconds["backward." + layer]
            values["gx." + layer], values["gw." + layer], values["gb." + layer] = gx, gw, gb
        return seconds


def memory(command: dict) -> dict:
    """Peak resident memory (VmHWM) of a few training steps beyond what the process held before."""

    def status(key: str) -> int:
        with open("/proc/self/status", encoding="ascii") as lines:
            return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(key))

    with open("/proc/self/clear_refs", "w", encoding="ascii") as refs:
        refs.write("5")  # the high-water mark starts here
    before, case = status("VmRSS:"), command["case"]
    projectors = {}
    for i in range(case["blocks"] if command["method"] == "instant" else 0):
        for layer in ("attention.qkv", "attention.proj", "fc1", "fc2"):
            for slot in "PQ":
                rows = torch.linalg.qr(torch.randn(case["tokens"], command["rank"]))[0].t()
                projectors[f"{slot}.{i}.{layer}"] = rows.contiguous()
    model = Blocks(case, projectors)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-5, fused=True)
    x = torch.randn(case["batch"], case["tokens"], case["width"])
    gy = torch.randn_like(x)
    for _ in range(command["steps"]):
        model(x).backward(gy)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
    return {"peak_rss": status("VmHWM:") - before}


def answer(command: dict, workloads: dict) -> dict:
    what = command["do"]
    if what == "hello":
        return {"name": "torch", "version": torch.__version__}
    if what == "threads":
        torch.set_num_threads(command["threads"])
        return {"threads": torch.get_num_threads()}
    if what == "prepare":
        make = {"linears": Linears, "pictures": Pictures}.get(command["case"]["kind"], Step)
        workloads[command["id"]] = make(command["case"], command, load_file(command["record"]))
        return {}
    if what == "run":
        return {"seconds": workloads[command["id"]].run()}
    if what == "drop":
        del workloads[command["id"]]
        return {}
    if what == "memory":
        return memory(command)
    raise ValueError(f"unknown command '{what}'; known: hello, prepare, threads, run, drop, memory, quit")


def main() -> None:
    argparse.ArgumentParser(description=__doc__.splitlines()[0]).parse_args()
    torch.set_num_interop_threads(1)
    workloads: dict = {}
    for line in sys.stdin:
        try:
            command = json.loads(line)
            if command["do"] == "quit":
                return
            result = answer(command, workloads)
        except Difference as difference:
            result = {"error": f"PyTorch and slimgrad differ: {difference}"}
        except Exception as error:  # whatever it is, the driver must hear of it
            result = {"error": f"{type(error).__name__}: {error}".splitlines()[0]}
        print(json.dumps(result), flush=True)


if __name__ == "__main__":
    main()
