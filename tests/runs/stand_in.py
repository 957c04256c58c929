"""The stand-in trainer (:mod:`tests.runs.fake_trainer`) in place of ``train``; waiting for runs, ending them."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import psutil

from sai_core.runs import launch, watch
from sai_core.runs.launch import LaunchSpec

TRAINER = str(Path(__file__).with_name("fake_trainer.py"))


def trainer(*options: str) -> launch.Arguments:
    """Arguments of the stand-in, for :func:`sai_core.runs.launch.launch`."""

    def arguments(spec: LaunchSpec, run: Path, resume: bool) -> list[str]:
        return [TRAINER, f"--run={run}", *options, *(["--resume"] if resume else [])]

    return arguments


def wait_until(condition: Callable[[], object], seconds: float = 60.0) -> None:
    """Look again until the condition is true; fail when it never is."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "the condition did not come true"
        time.sleep(0.05)


def end_runs(folder: Path) -> None:
    """End whatever still runs in a runs folder; a run may end by itself meanwhile."""
    for run in watch.list_runs(folder):
        for process in watch.processes(run.path):
            with suppress(psutil.NoSuchProcess):
                process.kill()
