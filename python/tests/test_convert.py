"""python -m slimgrad.convert: what it reads, and what it refuses in one line."""

from __future__ import annotations

import json
import sys
import types

import numpy as np
import pytest

import slimgrad as sg
from slimgrad import convert as convert_
from slimgrad.convert import convert, main


def weights(seed=0):
    return {"a.weight": np.random.default_rng(seed).standard_normal((3, 4)).astype("float32"),
            "a.bias": np.ones(3, "float32")}


@pytest.fixture
def saved(tmp_path):
    """A directory of timm's."""
    directory = tmp_path / "resnet18"
    directory.mkdir()
    sg.data.save_safetensors(str(directory / "model.safetensors"), weights(), {})
    (directory / "config.json").write_text(json.dumps({"architecture": "resnet18"}))
    return directory


def test_a_directory_becomes_two_files(saved, tmp_path):
    record = convert(saved, tmp_path / "out")
    assert record == {"source": "resnet18", "architecture": "resnet18", "tensors": 2, "values": 15}
    assert json.loads((tmp_path / "out" / "source.json").read_text()) == record
    got = sg.data.load_safetensors(str(tmp_path / "out" / "model.safetensors"))
    for name, value in weights().items():
        np.testing.assert_array_equal(np.asarray(got[name]), value)


@pytest.mark.parametrize("wrapper", ["module.", "_orig_mod.module.", "model._orig_mod."])
def test_names_lose_what_wrappers_put_before_all_of_them(wrapper, tmp_path):
    file = tmp_path / "w.safetensors"
    tensors = {f"{wrapper}{n}": v for n, v in weights().items()}
    sg.data.save_safetensors(str(file), tensors | {"n_averaged": np.ones(1, "float32")}, {})
    convert(file, tmp_path / "out")
    got = sg.data.load_safetensors(str(tmp_path / "out" / "model.safetensors"))
    assert sorted(got) == ["a.bias", "a.weight"]


def test_an_architecture_of_transformers_is_the_first_of_its_list(saved, tmp_path):
    (saved / "config.json").write_text(json.dumps({"architectures": ["ViTForImageClassification"]}))
    assert convert(saved, tmp_path / "out")["architecture"] == "ViTForImageClassification"


def line(capsys, *arguments):
    assert main([str(a) for a in arguments]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    return said


def test_what_cannot_be_read_is_one_line(saved, tmp_path, capsys):
    out = tmp_path / "out"
    assert "there is no such file" in line(capsys, tmp_path / "absent", out)
    empty = tmp_path / "empty"
    empty.mkdir()
    assert "expected one of model.safetensors, pytorch_model.bin" in line(capsys, empty, out)
    (saved / "config.json").write_text("{")
    assert "config.json" in line(capsys, saved, out)
    (saved / "config.json").write_text("[1]")
    assert "expected an object, got list" in line(capsys, saved, out)
    (saved / "config.json").unlink()
    assert convert(saved, out)["architecture"] is None
    assert "has a model.safetensors. Hint: --overwrite" in line(capsys, saved, out)
    assert main([str(saved), str(out), "--overwrite"]) == 0
    broken = weights()
    broken["a.bias"][1] = np.inf
    sg.data.save_safetensors(str(saved / "model.safetensors"), broken, {})
    assert "a.bias holds a value that is not finite" in line(capsys, saved, tmp_path / "other")
    assert not (tmp_path / "other").exists()
    (saved / "model.safetensors").write_bytes(b"\0" * 20)
    assert "model.safetensors" in line(capsys, saved, tmp_path / "other")
    blocked = tmp_path / "file"
    blocked.write_text("")
    sg.data.save_safetensors(str(saved / "model.safetensors"), weights(), {})
    assert "cannot write" in line(capsys, saved, blocked / "out")


def test_without_pytorch_its_files_are_refused_with_a_hint(tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    (tmp_path / "w.pth").write_bytes(b"PK")
    assert "Hint: pip install torch" in line(capsys, tmp_path / "w.pth", tmp_path / "out")


class Floating:
    """As much of torch.Tensor as is read."""

    def __init__(self, value, floating=True):
        self.value, self.floating = value, floating

    def is_floating_point(self):
        return self.floating

    def detach(self):
        return self

    def to(self, dtype):
        return Floating(self.value.astype(dtype))

    def contiguous(self):
        return self

    def numpy(self):
        return self.value


def pytorch_that_loads(found):
    """A stand-in for PyTorch, which no test needs; it insists on weights_only."""

    def load(path, *, map_location, weights_only):
        assert map_location == "cpu" and weights_only is True
        if isinstance(found, Exception):
            raise found
        return found

    return types.SimpleNamespace(load=load, Tensor=Floating, float32="float32")


@pytest.mark.parametrize("key", [None, *convert_._STATES])
def test_the_weights_of_a_training_checkpoint_are_found(key, tmp_path, monkeypatch):
    state = {n: Floating(v.astype("float64")) for n, v in weights().items()}
    state["a.num_batches_tracked"] = Floating(np.array(3), floating=False)
    state[0] = Floating(np.ones(2))
    found = state if key is None else {"epoch": 3, "optimizer": {}, key: state}
    monkeypatch.setitem(sys.modules, "torch", pytorch_that_loads(found))
    (tmp_path / "w.pth").write_bytes(b"PK")
    assert convert(tmp_path / "w.pth", tmp_path / "out")["tensors"] == 2


@pytest.mark.parametrize("found, said", [
    (RuntimeError("Weights only load failed. Re-run with weights_only=False"), "Weights only load failed\n"),
    ([1, 2], "expected a dictionary of tensors, got list"),
    ({"epoch": 3}, "expected tensors, got none"),
])
def test_files_of_pytorch_that_hold_no_weights(found, said, tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "torch", pytorch_that_loads(found))
    (tmp_path / "w.pth").write_bytes(b"PK")
    assert said in line(capsys, tmp_path / "w.pth", tmp_path / "out")


def test_a_model_reads_what_was_converted(tmp_path):
    model = sg.models.make("mobilenetv2", channels=1, classes=3)
    state = {n: np.asarray(p.value) for n, p in model.named_parameters()}
    state |= {n: np.asarray(b) for n, b in model.named_buffers()}
    renamed = {model.file_names(n)[1][0]: v for n, v in state.items()}
    assert "features.0.0.weight" in renamed
    sg.data.save_safetensors(str(tmp_path / "w.safetensors"), renamed, {})
    convert(tmp_path / "w.safetensors", tmp_path / "out")
    summary = sg.train(model="mobilenetv2", from_=str(tmp_path / "out"), limit_train=16, limit_test=8, batch=8,
                       steps=1, quiet=True, out=str(tmp_path / "run"))
    assert summary["fresh"] == ["classifier.weight", "classifier.bias"]
