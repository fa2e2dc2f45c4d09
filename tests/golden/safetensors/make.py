#!/usr/bin/env python3
"""Makes mixed.safetensors beside this script: every element type, as the Python package writes it.

Needs torch and safetensors (made with torch 2.13, safetensors 0.8.0).
"""
import pathlib

import torch
from safetensors.torch import save_file

values = torch.tensor([[0.0, -1.5, 0.333251953125], [65504.0, 6.103515625e-05, -5.9604644775390625e-08]])
tensors = {
    "f16": values.to(torch.float16),
    "bf16": torch.tensor([1.0, -0.0078125, 3.3895313892515355e38, float("inf")]).to(torch.bfloat16),
    "f32": values.clone(),
    "f64": torch.tensor([[3.141592653589793], [-2.0**-1074]], dtype=torch.float64),
    "i64": torch.tensor([2**53 + 1, -(2**62)]),
    "i32": torch.tensor([-(2**31), 7], dtype=torch.int32),
    "i16": torch.tensor([-32768, 7], dtype=torch.int16),
    "i8": torch.tensor([-128, 7], dtype=torch.int8),
    "u8": torch.tensor([255, 7, 0], dtype=torch.uint8),
    "bool": torch.tensor([True, False, True]),
    "scalar": torch.tensor(2.5),
    "empty": torch.zeros(0, 3),
    "ünïcode \"name\"": torch.ones(1),
}
save_file(tensors, pathlib.Path(__file__).with_name("mixed.safetensors"), {"format": "pt"})
save_file(
    {"w": torch.arange(6, dtype=torch.float32).reshape(2, 3), "b": torch.full((3,), -0.5),
     "step": torch.tensor([42]), "state": torch.tensor([1, 2, 3], dtype=torch.uint8)},
    pathlib.Path(__file__).with_name("plain.safetensors"), {"note": "one \"line\"\n and ü"})
