"""FLOPs and bytes: readings of the meter and the ledger, and names to count under."""

from __future__ import annotations

from typing import NamedTuple

from . import _core


def _build(dtype):
    return {"float32": _core.f32, "float64": _core.f64}[dtype]


class Meter:
    """The FLOP counter of the calling thread, for one precision: `sg.meter`, `sg.float64.meter`."""

    def __init__(self, dtype: str):
        """The meter of "float32" or "float64"."""
        self._core = _build(dtype)

    @property
    def counts(self) -> dict[tuple[str, str], int]:
        """FLOPs by (layer, phase)."""
        return self._core.meter_counts()

    @property
    def total(self) -> int:
        """All FLOPs since the last reset."""
        return sum(self.counts.values())

    def phase(self, name: str) -> int:
        """FLOPs of one phase, over all layers: forward, compress, g_w, g_x, calibrate, ..."""
        return sum(n for (_, phase), n in self.counts.items() if phase == name)

    def layer(self, name: str) -> dict[str, int]:
        """FLOPs of one layer, by phase."""
        return {phase: n for (layer, phase), n in self.counts.items() if layer == name}

    def reset(self) -> None:
        """Forgets every count."""
        self._core.meter_reset()


class Held(NamedTuple):
    """Bytes held now, and the most that were held at once since the last reset."""

    live: int
    peak: int


class Ledger:
    """Bytes that slimgrad holds in one precision, by category: `sg.ledger`, `sg.float64.ledger`."""

    def __init__(self, dtype: str):
        """The ledger of "float32" or "float64"."""
        self._core = _build(dtype)

    def __getitem__(self, category: str) -> Held:
        """One of parameters, gradients, saved, optimizer, projectors, workspace, total."""
        held = self._core.ledger_held()
        if category not in held:
            raise _core.Error(
                f"[ledger] unknown category '{category}'; known: {', '.join(held)}"
            )
        return Held(*held[category])

    def as_dict(self) -> dict[str, Held]:
        """All categories."""
        return {name: Held(*held) for name, held in self._core.ledger_held().items()}

    @property
    def saved_by_layer(self) -> dict[str, int]:
        """Bytes that each layer keeps for backward now."""
        return self._core.ledger_saved_by_layer()

    def reset_peaks(self) -> None:
        """Starts a new measurement: peaks fall to the live values."""
        self._core.ledger_reset_peaks()


def count(flops: int) -> None:
    """Counts FLOPs that were computed outside slimgrad, in NumPy say.

    Inside a Function or BackwardRule of one's own they go to the meter of the precision that runs
    it, else to that of float32.
    """
    build = _core.f64 if _core.executing_bits() == 64 else _core.f32
    build.meter_add(flops)


class _Scope:
    _kind = ""

    def __init__(self, name: str):
        """What is counted while it is open goes under this name."""
        self._scopes = [getattr(build, self._kind)(name) for build in (_core.f32, _core.f64)]

    def __enter__(self):
        """Opens the scope on this thread."""
        for scope in self._scopes:
            scope.enter()
        return self

    def __exit__(self, *error):
        """Closes it."""
        for scope in reversed(self._scopes):
            scope.exit()


class phase(_Scope):
    """`with sg.phase("compress"):` names the phase of what is counted inside, in both precisions."""

    _kind = "PhaseScope"


class layer(_Scope):
    """`with sg.layer("fc1"):` names the layer of what is counted inside, in both precisions."""

    _kind = "LayerScope"
