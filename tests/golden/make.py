#!/usr/bin/env python3
"""Writes the golden files beside this script: what PyTorch computes, for the tests to compare with.

    pip install torch==2.13.0 numpy torchvision timm
    python tests/golden/make.py [layers] [optim] [training] [vision]     # nothing: all of them

Everything is drawn from fixed streams and computed in float64 on one thread.
"""
import json
import pathlib
import sys

import torch

import layers
import optim
import training
import vision

VERSION = "1"  # of the format; tests/golden.h expects the same


def save(path, tensors, metadata):
    """Writes float64 tensors as safetensors. The format's own library orders the metadata anew each
    time; here the same values make the same bytes."""
    header, begin = {"__metadata__": metadata}, 0
    for name, t in sorted(tensors.items()):
        end = begin + 8 * t.numel()
        header[name] = {"dtype": "F64", "shape": list(t.shape), "data_offsets": [begin, end]}
        begin = end
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for _, t in sorted(tensors.items()):
            file.write(t.detach().double().numpy().astype("<f8").tobytes())


def main():
    makers = {"layers": layers.make, "optim": optim.make, "training": training.make,
              "vision": vision.make}
    torch.set_default_dtype(torch.float64)
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    version = torch.__version__.split("+")[0]
    for name in sys.argv[1:] or makers:
        path = pathlib.Path(__file__).with_name(f"{name}.safetensors")
        tensors = makers[name]()
        save(path, tensors, {"magic": "slimgrad-golden", "version": VERSION, "torch": version})
        print(f"{path.name}: {len(tensors)} tensors, {path.stat().st_size} bytes")


if __name__ == "__main__":
    main()
