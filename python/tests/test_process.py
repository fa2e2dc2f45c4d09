"""One process with other libraries: NumPy's own OpenBLAS, PyTorch's MKL and OpenMP."""

import importlib.util
import json
import os
import subprocess
import sys

import pytest

import slimgrad as sg

work = """
import json, os, sys
for name in sys.argv[1].split(","):
    __import__(name)
import numpy as np
import slimgrad as sg

rng = np.random.default_rng(0)
a, b = (rng.standard_normal((300, 300)) for _ in range(2))
expected = a @ b
double = np.asarray(sg.matmul(sg.tensor(a), sg.tensor(b)))
single = np.asarray(sg.matmul(sg.tensor(a, dtype="float32"), sg.tensor(b, dtype="float32")))
values, _ = sg.eigh(sg.tensor(a @ a.T))
sg.set_num_threads(1)
one = np.asarray(sg.matmul(sg.tensor(a), sg.tensor(b)))
threads = sg.get_num_threads()
sg.set_num_threads(2)
other = None
if "torch" in sys.modules:
    import torch
    torch.set_num_threads(2)
    for _ in range(3):  # both libraries in turn
        t = torch.from_numpy(a) @ torch.from_numpy(b)
        sg.matmul(sg.tensor(a), sg.tensor(b))
    other = float((t - torch.from_dlpack(sg.matmul(sg.tensor(a), sg.tensor(b)))).abs().max())
print(json.dumps({
    "double": float(np.abs(double - expected).max()),
    "single": float(np.abs(single - expected).max()),
    "one": float(np.abs(one - expected).max()),
    "eigh": float(np.abs(np.array(values[::-1]) - np.linalg.eigvalsh(a @ a.T)).max()),
    "numpy": float(np.abs(a @ b - expected).max()),
    "torch": other,
    "threads": [threads, sg.get_num_threads()],
    "kernels": sg.info()["kernels"],
    "detected": sg.info()["kernels_detected"],
    "openmp": sg.info()["openmp"],
    "spincount": os.environ.get("GOMP_SPINCOUNT"),
    "coretype": os.environ.get("OPENBLAS_CORETYPE"),
}))
"""


def run(order, **environment):
    """What the work above prints in a process that imports modules in this order."""
    clean = {k: v for k, v in os.environ.items() if k not in ("OPENBLAS_CORETYPE", "OMP_NUM_THREADS", "OMP_WAIT_POLICY")}
    done = subprocess.run(
        [sys.executable, "-X", "faulthandler", "-c", work, order],
        capture_output=True,
        text=True,
        timeout=300,
        env={**clean, **environment},
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def flags():
    """What the processor offers, as the system states it."""
    with open("/proc/cpuinfo") as file:
        for line in file:
            if line.startswith("flags"):
                return set(line.split())
    return set()


@pytest.mark.parametrize(
    "order", ["numpy,slimgrad", "slimgrad,numpy", "torch,slimgrad", "slimgrad,torch"]
)
def test_import_order(order):
    if "torch" in order and importlib.util.find_spec("torch") is None:
        pytest.skip("PyTorch is not installed")
    result = run(order)
    assert result["double"] < 1e-10 and result["one"] < 1e-10 and result["numpy"] < 1e-10
    assert result["single"] < 1e-3 and result["eigh"] < 1e-8
    assert result["threads"] == [1, 2]
    assert result["openmp"]
    # slimgrad corrects OpenBLAS's choice of kernels by itself, and leaves the environment alone.
    if "avx512bw" in flags():
        assert result["kernels"] in ("SkylakeX", "SapphireRapids")
    elif "avx2" in flags():
        assert result["kernels"] in ("Haswell", "Zen")
    assert result["spincount"] is None and result["coretype"] is None
    if "torch" in order:
        assert result["torch"] < 1e-10


def test_the_users_choices_are_respected():
    assert run("numpy,slimgrad", OPENBLAS_CORETYPE="Haswell")["kernels"] == "Haswell"
    assert run("numpy,slimgrad", GOMP_SPINCOUNT="77")["spincount"] == "77"


def test_waiting_threads_do_not_spin():
    """After a parallel product, a process that only waits uses no processor time."""
    code = """
import resource, time
import numpy as np
import slimgrad as sg
sg.set_num_threads(2)
x = sg.normal((512, 512), seed=0)
x @ x
before = resource.getrusage(resource.RUSAGE_SELF)
time.sleep(0.5)
after = resource.getrusage(resource.RUSAGE_SELF)
print(after.ru_utime - before.ru_utime)
"""
    clean = {k: v for k, v in os.environ.items() if k != "OMP_WAIT_POLICY"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=clean)
    assert float(done.stdout) < 0.1, done.stderr


def test_the_environment_may_ask_for_more_threads_than_are_taken(tmp_path):
    code = f"""
import slimgrad as sg
options = dict(model="mlp", limit_train=32, limit_test=8, batch=16, steps=1, quiet=True)
print(sg.train(out={str(tmp_path / "run")!r}, **options)["config"]["threads"] <= 300)
"""
    environment = {**os.environ, "OMP_NUM_THREADS": "300"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment)
    assert done.stdout == "True\n", done.stderr


def test_threads_are_checked():
    before = sg.get_num_threads()
    for wrong in (0, -1, 3000, 2**32 + 1):
        with pytest.raises(sg.Error, match=f"as threads, got {wrong}"):
            sg.set_num_threads(wrong)
    assert sg.get_num_threads() == before
