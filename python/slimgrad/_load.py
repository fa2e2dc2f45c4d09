"""Loads the compiled part with an OpenMP whose waiting threads soon fall asleep.

Threads that spin while they wait take the processor from other libraries of the process (PyTorch,
NumPy) and from other programs. libgomp reads GOMP_SPINCOUNT once, when it is loaded; the variable
is gone again afterwards, so child processes and other libraries keep their own habits.
"""

import os

_chosen = "OMP_WAIT_POLICY" in os.environ or "GOMP_SPINCOUNT" in os.environ
if not _chosen:
    os.environ["GOMP_SPINCOUNT"] = "10000"
try:
    from . import _core  # noqa: F401
finally:
    if not _chosen:
        del os.environ["GOMP_SPINCOUNT"]
