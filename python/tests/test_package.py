"""What is public is documented and typed."""

import importlib.util
import inspect
import pathlib
import re
import subprocess
import sys

import pytest

import slimgrad as sg

modules = [sg, sg.nn, sg.optim, sg.models, sg.data, sg.float64, sg.float64.nn, sg.float64.models, sg.float64.data]
ordinary = {"__init__", "__call__", "__getitem__", "__len__", "__enter__", "__exit__", "__dlpack__"}


def public():
    """Every public name: functions, classes, and the members of classes."""
    for module in modules:
        yield module.__name__, module
        for name in module.__all__:
            value = getattr(module, name)
            yield f"{module.__name__}.{name}", value
            if not inspect.isclass(value) or not value.__module__.startswith("slimgrad"):
                continue
            for member, what in vars(value).items():
                if not member.startswith("_") or member in ordinary:
                    yield f"{module.__name__}.{name}.{member}", what


def documented(what):
    """Whether there is a docstring beyond the signature; a constructor without arguments needs none."""
    what = getattr(what, "fget", what)
    signatures = getattr(what, "__nb_signature__", None)
    if signatures is None:
        return bool((inspect.getdoc(what) or "").strip())
    return any(doc or text == "def __init__(self) -> None" for text, doc, _ in signatures)


def test_every_public_name_has_a_docstring():
    silent = [
        name
        for name, what in public()
        if not documented(what) and not (isinstance(what, property) and what.__doc__)
    ]
    assert not silent


def test_all_is_what_it_should_be():
    assert {"Tape", "Tensor", "tensor", "nn", "optim", "Calibrator", "Function", "BackwardRule"} <= set(sg.__all__)
    for module in modules:
        assert len(set(module.__all__)) == len(module.__all__)
    assert sorted(sg.nn.__all__) == sorted(sg.float64.nn.__all__)
    assert sg.__version__ == sg.info()["version"]
    assert issubclass(sg.Error, ValueError)


@pytest.mark.parametrize("page", ["README.md", "python/README.md"])
def test_the_readmes_code_runs(page, capsys):
    text = (pathlib.Path(__file__).parents[2] / page).read_text()
    (code,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    exec(compile(code, page, "exec"), {})
    assert capsys.readouterr().out


def test_stubs_are_installed():
    folder = pathlib.Path(sg.__file__).parent
    if not (folder / "_core" / "f32.pyi").exists():
        pytest.skip("not an installed package")
    assert (folder / "py.typed").exists()
    text = (folder / "_core" / "f64.pyi").read_text()
    assert "class Tensor" in text and "class Linear(LinearMap)" in text


@pytest.mark.skipif(importlib.util.find_spec("mypy") is None, reason="mypy is not installed")
def test_examples_type_check(tmp_path):
    if not (pathlib.Path(sg.__file__).parent / "_core" / "f32.pyi").exists():
        pytest.skip("not an installed package")
    examples = sorted((pathlib.Path(__file__).parents[1] / "examples").glob("*.py"))
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--cache-dir", str(tmp_path), *map(str, examples)],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout
