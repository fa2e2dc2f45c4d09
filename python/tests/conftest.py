"""Both precisions of the package, for tests that hold in either."""

from __future__ import annotations

import numpy as np
import pytest

import slimgrad as sg


class Precision:
    """One precision: its part of the package, its dtype, and how closely results must agree."""

    def __init__(self, name: str):
        self.name = name
        self.sg = sg if name == "float32" else sg.float64
        self.dtype = np.dtype(name)
        self.rtol = 1e-4 if name == "float32" else 1e-10

    def normal(self, *shape, seed=0):
        """Standard normal values, as an array."""
        return np.random.default_rng(seed).standard_normal(shape).astype(self.dtype)

    def close(self, got, expected):
        """Asserts agreement to this precision, relative to the largest expected value."""
        got, expected = np.asarray(got), np.asarray(expected)
        assert got.shape == expected.shape
        scale = max(np.abs(expected).max(initial=0), 1e-300)
        np.testing.assert_allclose(got, expected, rtol=0, atol=self.rtol * scale)


@pytest.fixture(params=["float32", "float64"])
def precision(request) -> Precision:
    return Precision(request.param)
