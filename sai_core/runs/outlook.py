"""Before a run is started: everything that is wrong with it, all at once, and how long it will take."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from sai_core import permissions
from sai_core.errors import EnvironmentProblem, InputError
from sai_core.progress import Progress, no_progress
from sai_core.runs import launch, watch
from sai_core.runs.estimate import Estimate, from_earlier_runs
from sai_core.runs.kinds import kind_of
from sai_core.runs.launch import LaunchSpec

_EVERY_S: Final[float] = 0.2
_LONGEST_S: Final[float] = 900.0
"""Seconds after which a check is given up."""


@dataclass(frozen=True)
class Outlook:
    """What is known of a run before its start.

    Attributes
    ----------
    faults : tuple of (str, str)
        Field (as :class:`sai_core.runs.kinds.FieldError` has it; "" for none) and sentence of everything that is wrong.
    estimate : Estimate or None
        None where something is wrong, or nothing is known.
    note : str
        Why there is no estimate.
    decided : tuple of str
        What is left out of the data, and other choices made for the run, a sentence each.
    """

    faults: tuple[tuple[str, str], ...] = ()
    estimate: Estimate | None = None
    note: str = ""
    decided: tuple[str, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "faults": [{"field": field, "sentence": sentence} for field, sentence in self.faults],
            "estimate": None if self.estimate is None else self.estimate.as_dict(),
            "note": self.note,
            "decided": list(self.decided),
        }


def look_ahead(
    spec: LaunchSpec, folders: Iterable[Path], *, run: Path | None = None, progress: Progress = no_progress
) -> Outlook:
    """Check a run and estimate its time; imports the trainer (and torch), and may make some steps.

    Parameters
    ----------
    spec : LaunchSpec
    folders : iterable of Path
        Runs folders with earlier runs; an estimate that rests on one of them costs nothing.
    run : Path, optional
        Where it would be; nothing is written there.
    progress : Progress
    """
    found = launch.faults(spec, run)
    if found:
        return Outlook(tuple((str(getattr(error, "field", "")), str(error)) for error in found))
    kind = kind_of(spec.kind)
    config, inputs = launch.resolved(spec)
    estimator = kind.estimator()
    try:
        steps = None if estimator is None else estimator.count_steps(config, inputs)
        decided = () if estimator is None else tuple(estimator.decided(config, inputs))
        settings = config.as_dict() if hasattr(config, "as_dict") else asdict(config)
        known = json.loads(json.dumps({"kind": kind.name, **settings, **inputs.as_dict()}))
        for folder in dict.fromkeys(folders):
            earlier = from_earlier_runs(
                watch.list_runs(folder), known, kind=kind.name, device=inputs.device, steps=steps
            )
            if earlier is not None:
                return Outlook(estimate=earlier, decided=decided)
        if estimator is not None:
            return Outlook(estimate=estimator.measure(config, inputs, progress=progress), decided=decided)
    except InputError as error:
        return Outlook(((str(getattr(error, "field", "")), str(error)),))
    return Outlook(
        note=f"How long it takes is known once a run of this kind ({kind.title}) with these settings and data has been "
        "made on this machine."
    )


def look_ahead_apart(spec: LaunchSpec, run: Path, *, progress: Progress = no_progress) -> Outlook:
    """:func:`look_ahead` in a process of its own, whose memory and threads are not the caller's.

    Parameters
    ----------
    spec : LaunchSpec
    run : Path
        Where the run would be; nothing is written there.
    progress : Progress
        May raise :class:`~sai_core.progress.CancelledError`, which ends the process.

    Raises
    ------
    InputError
        What is wrong even before the process is started.
    EnvironmentProblem
        The process cannot be started, ended without an answer, or took too long.
    """
    permissions.check("train", "check a training", str(run))
    launch.check_named(spec)
    command = [sys.executable, *launch.train_arguments(spec, run), "--check", "--json", "--quiet"]
    started = time.monotonic()
    try:
        process = subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, **spec.environment},
            cwd=Path(__file__).resolve().parents[2],
        )
    except OSError as error:
        raise EnvironmentProblem(f"The check cannot be started ({error.strerror or error}).") from error
    try:
        while True:
            try:
                out, err = process.communicate(timeout=_EVERY_S)
                break
            except subprocess.TimeoutExpired:
                waited = time.monotonic() - started
                progress(min(waited / 60.0, 0.95), "checking settings and data, timing some steps")
                if waited > _LONGEST_S:
                    raise EnvironmentProblem(f"The check took more than {_LONGEST_S / 60:.0f} min.") from None
    finally:
        if process.poll() is None:
            process.kill()
            process.communicate()
    lines = out.strip().splitlines()
    try:
        return _from_plain(json.loads(lines[-1]))
    except (IndexError, ValueError, KeyError, TypeError):
        words = err.strip().splitlines()
        reason = words[-1][:300] if words else f"exit code {process.returncode}"
        raise EnvironmentProblem(f"The check ended without an answer ({reason}).") from None


def _from_plain(raw: Mapping[str, Any]) -> Outlook:
    estimate = raw["estimate"]
    return Outlook(
        tuple((str(fault["field"]), str(fault["sentence"])) for fault in raw["faults"]),
        None if estimate is None else Estimate(**estimate),
        str(raw["note"]),
        tuple(map(str, raw["decided"])),
    )
