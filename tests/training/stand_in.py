"""The stand-in trainer (:mod:`tests.training.fake_trainer`) in place of ``train``, and waiting for what it does."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from sai_core.training import launch
from sai_core.training.launch import LaunchSpec

TRAINER = str(Path(__file__).with_name("fake_trainer.py"))


def trainer(*options: str) -> launch.Arguments:
    """Arguments of the stand-in, for :func:`sai_core.training.launch.launch`."""

    def arguments(spec: LaunchSpec, run: Path, resume: bool) -> list[str]:
        return [TRAINER, f"--run={run}", *options, *(["--resume"] if resume else [])]

    return arguments


def wait_until(condition: Callable[[], object], seconds: float = 60.0) -> None:
    """Look again until the condition is true; fail when it never is."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "the condition did not come true"
        time.sleep(0.05)
