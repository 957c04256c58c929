"""How long a run will take, from earlier runs on this machine or a few of its own steps, and what that rests on."""

from __future__ import annotations

import socket
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final

from sai_core.runs import watch
from sai_core.runs.watch import RunSummary

_LEAST_STEPS: Final[int] = 50
"""Steps of an earlier run from which its pace counts; the first ones warm caches up."""

_FREE: Final[frozenset[str]] = frozenset(
    ("name", "seed", "epochs", "kind", "data_roots", "options", "start", "loss", "checkpoint_minutes", "log_every")
)
"""Settings that do not change how long a step takes."""


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """Time that a run will take.

    Attributes
    ----------
    seconds : float
        Training and validation, without preparing the data.
    steps : int
    rests_on : str
        What was measured, one clause: "as run small-a took on this machine".
    device : str
        ``cpu``, ``cuda``, ...
    prepare_s : float or None
        Preparing the data, where nothing of them is in the cache; None where it is not known.
    memory_mb : float or None
        Largest memory of the process (CPU) or of the GPU.
    memory_limit_mb : float or None
        What there is of it.
    """

    seconds: float
    steps: int
    rests_on: str
    device: str = "cpu"
    prepare_s: float | None = None
    memory_mb: float | None = None
    memory_limit_mb: float | None = None

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)

    def sentences(self) -> tuple[str, ...]:
        """For reading: the time and what it rests on, then what comes on top, then the memory."""
        found = [f"About {span(self.seconds)} for {self.steps:,} steps on {self.device}: {self.rests_on}."]
        if self.prepare_s is not None and self.prepare_s >= 60:
            found.append(f"Preparing the data takes up to {span(self.prepare_s)} more, less where the cache has them.")
        if self.memory_mb is not None:
            limit = f" of {size(self.memory_limit_mb)}" if self.memory_limit_mb is not None else ""
            found.append(f"Memory: {size(self.memory_mb)}{limit}.")
        return tuple(found)


def span(seconds: float) -> str:
    """A duration for reading, in the unit that fits."""
    if seconds < 90:
        return f"{max(seconds, 1):.0f} s"
    if seconds < 5400:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h" if seconds < 172_800 else f"{seconds / 86_400:.1f} days"


def size(megabytes: float) -> str:
    """A size of memory for reading."""
    return f"{megabytes:.0f} MB" if megabytes < 1000 else f"{megabytes / 1024:.1f} GB"


def from_earlier_runs(
    runs: Iterable[RunSummary], config: Mapping[str, Any], *, kind: str, device: str, steps: int | None
) -> Estimate | None:
    """Estimate from the newest run of this machine whose steps cost the same; None where there is none.

    Parameters
    ----------
    runs : iterable of RunSummary
        Newest first.
    config : mapping
        Settings of the new run, as ``config.json`` holds them.
    kind, device : str
        Of the new run; device as it is asked for (``auto``, ...).
    steps : int or None
        Of the new run; None: as many as the earlier run had, if data and options are the same.
    """
    wanted = _costs(config)
    for run in runs:
        if run.kind != kind or run.host != socket.gethostname() or run.step < _LEAST_STEPS:
            continue
        earlier = watch.read_json(run.path / "config.json")
        if _costs(earlier) != wanted or earlier.get("device", "auto") != device:
            continue
        total = steps
        if total is None:
            alike = all((earlier.get(name) or None) == (config.get(name) or None) for name in ("data_roots", "options"))
            old, new = earlier.get("epochs"), config.get("epochs")
            if not alike or not run.steps:
                continue
            total = round(run.steps * new / old) if isinstance(old, int) and isinstance(new, int) and old else run.steps
        pace = _seconds_per_step(run)
        if pace is not None:
            return Estimate(
                seconds=pace * total,
                steps=total,
                rests_on=f"as run {run.name} took on this machine ({run.step:,} steps at {pace:.2g} s, validation "
                "included)",
                device=device,
                memory_mb=run.gpu_memory_mb if run.gpu_memory_mb is not None else run.memory_mb,
            )
    return None


def _costs(config: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in config.items() if key not in _FREE and key != "device"}


def _seconds_per_step(run: RunSummary) -> float | None:
    paces = [
        float(c.hours[-1]) * 3600 / float(c.step[-1])
        for c in watch.read_curves(run.path)
        if c.part == "train" and len(c) and c.step[-1] >= _LEAST_STEPS and c.hours[-1] > 0
    ]
    return max(paces, default=None)
