"""Makes safetensors of a PyTorch checkpoint: python -m slimgrad.convert SOURCE OUT

SOURCE is a file of torch.save (zip, or the pickle of older versions), a safetensors file, or a directory
of timm or Hugging Face with config.json and the weights. OUT becomes a directory of two files, which
`slimgrad train --from OUT` reads for a model of images:

    model.safetensors   the tensors under the names that they have in SOURCE
    source.json         where they come from, and the architecture if SOURCE says it

Files of PyTorch are opened with weights_only=True: nothing in them is executed. That needs PyTorch
(pip install torch); safetensors do not.
"""

from __future__ import annotations

import argparse
import json
import pathlib
import sys

import numpy as np

from . import _core
from .data import save_safetensors

# Under these keys of a training checkpoint stand the weights, the likeliest first.
_STATES = ("state_dict_ema", "model_ema", "state_dict", "model_state_dict", "model_state", "model")
# What wrappers put before every name: DataParallel, torch.compile, Lightning.
_WRAPPERS = ("module.", "_orig_mod.", "model.")
# What is counted beside weights.
_COUNTS = ("num_batches_tracked", "n_averaged", "position_ids")
# In a directory, the likeliest first.
_WEIGHTS = ("model.safetensors", "pytorch_model.bin", "pytorch_model.safetensors", "model.pt", "model.pth")


__all__ = ["convert", "main"]


def _fail(text):
    raise _core.Error(f"[convert] {text}")


def _safetensors(path: pathlib.Path) -> dict:
    return {name: np.asarray(value) for name, value in _core.f32.load_safetensors(str(path)).items()}


def _state(found, path: pathlib.Path) -> dict:
    """The dictionary of tensors in what torch.load gave."""
    for key in _STATES:
        if isinstance(found, dict) and isinstance(found.get(key), dict):
            found = found[key]
            break
    if not isinstance(found, dict):
        _fail(f"'{path}': expected a dictionary of tensors, got {type(found).__name__}")
    return found


def _pytorch(path: pathlib.Path) -> dict:
    try:
        import torch
    except ImportError:
        _fail(f"'{path}' is a file of PyTorch, and that is not installed. Hint: pip install torch")
    try:
        found = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # of the pickle, of the archive, of the file
        # What follows the first sentence is advice to open it unsafely.
        reason = " ".join(str(error).split()).split(". ")[0]
        _fail(f"'{path}': PyTorch cannot open it with weights_only: {reason[:200]}")
    # Tables of indices are no weights.
    tensors = {name: t for name, t in _state(found, path).items()
               if isinstance(name, str) and isinstance(t, torch.Tensor) and t.is_floating_point()}
    values = {}
    for name, t in tensors.items():
        try:
            values[name] = t.detach().to(torch.float32).contiguous().numpy()
        except (RuntimeError, TypeError) as error:  # a sparse one, say
            _fail(f"'{path}': {name}: {str(error).splitlines()[0][:200]}")
    return values


def _unwrapped(tensors: dict) -> dict:
    """Without what wrappers put before all names, however many there are around each other."""
    for wrapper in _WRAPPERS:
        if tensors and all(name.startswith(wrapper) for name in tensors):
            return _unwrapped({name[len(wrapper):]: value for name, value in tensors.items()})
    return tensors


def _architecture(directory: pathlib.Path) -> str | None:
    """What config.json calls the model: timm's name, or the class of transformers."""
    try:
        config = json.loads((directory / "config.json").read_text("utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        _fail(f"'{directory / 'config.json'}': {error}")
    if not isinstance(config, dict):
        _fail(f"'{directory / 'config.json'}': expected an object, got {type(config).__name__}")
    named = config.get("architecture") or config.get("architectures")
    return named[0] if isinstance(named, list) and named else named if isinstance(named, str) else None


def _weights_in(directory: pathlib.Path) -> pathlib.Path:
    for name in _WEIGHTS:
        if (directory / name).is_file():
            return directory / name
    _fail(f"'{directory}': expected one of {', '.join(_WEIGHTS)}")


def convert(source, out, *, overwrite: bool = False) -> dict:
    """Writes `out` from `source`, as `python -m slimgrad.convert` does, and returns what source.json holds:
    `source`, `architecture` (or None), `tensors` (how many), `values` (in all of them).

    Raises sg.Error, one line that names the file, if it cannot be read, holds no tensors or a value that
    is not finite, and if `out` is there already and overwrite is not set.
    """
    source, out = pathlib.Path(source), pathlib.Path(out)
    if not source.exists():
        _fail(f"'{source}': there is no such file or directory")
    weights = _weights_in(source) if source.is_dir() else source
    if (out / "model.safetensors").exists() and not overwrite:
        _fail(f"'{out}' has a model.safetensors. Hint: --overwrite, or another directory")
    tensors = _safetensors(weights) if weights.suffix == ".safetensors" else _pytorch(weights)
    tensors = _unwrapped({n: v for n, v in tensors.items() if not n.endswith(_COUNTS)})
    if not tensors:
        _fail(f"'{weights}': expected tensors, got none")
    for name, value in tensors.items():
        if not np.isfinite(value).all():
            _fail(f"'{weights}': {name} holds a value that is not finite")
    record = {
        "source": source.resolve().name,
        "architecture": _architecture(source) if source.is_dir() else None,
        "tensors": len(tensors),
        "values": int(sum(value.size for value in tensors.values())),
    }
    try:
        out.mkdir(parents=True, exist_ok=True)
        save_safetensors(str(out / "model.safetensors"), tensors, {"format": "pt"})
        (out / "source.json").write_text(json.dumps(record, indent=2) + "\n", "utf-8")
    except OSError as error:
        _fail(f"cannot write '{out}': {error.strerror or error}")
    return record


def main(arguments=None) -> int:
    """The command; returns its exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m slimgrad.convert", description="PyTorch's weights as safetensors.",
        epilog="then: slimgrad train --model MODEL --from OUT")
    parser.add_argument("source", help="a file of torch.save or safetensors, or a directory of timm or Hugging Face")
    parser.add_argument("out", help="the directory to write")
    parser.add_argument("--overwrite", action="store_true", help="replace the weights that OUT holds")
    asked = parser.parse_args(arguments)
    try:
        record = convert(asked.source, asked.out, overwrite=asked.overwrite)
    except _core.Error as error:
        print(f"slimgrad.convert: {error}", file=sys.stderr)
        return 2
    architecture = f", {record['architecture']}" if record["architecture"] else ""
    print(f"{asked.out}: {record['tensors']} tensors, {record['values']:,} values{architecture}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
