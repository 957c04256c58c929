"""Scores of systems, computed in the background once for all sessions."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, TypeVar

import streamlit as st

from pages.components.sources import Job
from sai_core.dataset import PredictionSet, Recording
from sai_core.errors import CancelledError, InputError
from sai_core.files import file_signature
from sai_core.metrics.diagnostics import BootstrapResult, bootstrap
from sai_core.metrics.score_store import ScoreStore, SystemResult, class_agnostic_of_system, score_system
from sai_core.metrics.scores import Figures, Revision
from sai_core.progress import Progress

Result = TypeVar("Result")

_MAX_JOBS: Final[int] = 96
"""Finished calculations kept: a few systems with both revisions and their intervals, for some sessions."""


@dataclass
class Task(Job[Result]):
    """A job that can be stopped and that says what it is.

    Attributes
    ----------
    title : str
        What is calculated.
    """

    title: str = ""
    _stop: threading.Event = field(default_factory=threading.Event)

    @property
    def running(self) -> bool:
        """Whether it has not ended."""
        return not self._done.is_set()

    @property
    def stopped(self) -> bool:
        """Whether it was asked to stop."""
        return self._stop.is_set()

    def stop(self) -> None:
        """Ask it to stop; what is finished so far stays in the store."""
        self._stop.set()

    def begin(self, work: Callable[[Progress], Result], turn: threading.Lock) -> None:
        """Run ``work`` in the background when it is its turn."""

        def wait_and_work(progress: Progress) -> Result:
            def report(fraction: float, message: str) -> None:
                if self._stop.is_set():
                    raise CancelledError("Stopped.")
                progress(fraction, message)

            report(0.0, "waiting for another calculation")
            # one after the other: they share the processor, and rendered labels are made once
            while not turn.acquire(timeout=0.2):
                report(0.0, "waiting for another calculation")
            try:
                return work(report)
            finally:
                turn.release()

        self.start(wait_and_work)


@dataclass(frozen=True)
class Selection:
    """Files to score: one system on some recordings.

    Attributes
    ----------
    system : PredictionSet
    labels, predictions : dict of str to Path
        By recording name, only those that have both.
    n_labelled : int
        Recordings with labels, with or without predictions.
    """

    system: PredictionSet
    labels: dict[str, Path]
    predictions: dict[str, Path]
    n_labelled: int

    @property
    def signature(self) -> tuple[Any, ...]:
        """Changes whenever one of the files does."""
        parts: list[Any] = [self.system.name, str(self.system.folder)]
        for name in self.labels:
            for path in (self.labels[name], self.predictions[name]):
                try:
                    parts.append(file_signature(path))
                except InputError:  # gone since the folder was looked at: the evaluation will tell
                    parts.append((str(path), -1, -1))
        return tuple(parts)


def select(system: PredictionSet, recordings: Iterable[Recording]) -> Selection:
    """Files of a system for the labelled recordings among some; a name in two splits counts once, the first."""
    labels: dict[str, Path] = {}
    for recording in recordings:
        if recording.label_path is not None:
            labels.setdefault(recording.name, recording.label_path)
    both = [name for name in labels if name in system.files]
    return Selection(system, {n: labels[n] for n in both}, {n: system.files[n] for n in both}, len(labels))


class Board:
    """All calculations of the page by what they depend on."""

    def __init__(self) -> None:
        self.store = ScoreStore()
        self._tasks: OrderedDict[tuple[Any, ...], Task[Any]] = OrderedDict()
        self._lock = threading.Lock()
        self._turn = threading.Lock()

    def _task(self, key: tuple[Any, ...], title: str, work: Callable[[Progress], Any]) -> Task[Any]:
        with self._lock:
            task = self._tasks.get(key)
            if task is None:
                task = self._tasks[key] = Task(title=title)
                task.begin(work, self._turn)
            self._tasks.move_to_end(key)
            while len(self._tasks) > _MAX_JOBS:
                # the oldest that has ended; running ones stay to be found again
                old = next((k for k, t in self._tasks.items() if not t.running), None)
                if old is None:
                    break
                del self._tasks[old]
            return task

    def forget_failed(self) -> None:
        """Let what was stopped or failed start again."""
        with self._lock:
            for key in [k for k, t in self._tasks.items() if not t.running and t.result is None]:
                del self._tasks[key]

    def system(self, selection: Selection, revision: Revision) -> Task[SystemResult]:
        """Scores of a system; started at the first call."""

        def work(progress: Progress) -> SystemResult:
            return score_system(
                self.store,
                selection.system.name,
                selection.labels,
                selection.predictions,
                revision=revision,
                progress=progress,
            )

        return self._task(("system", revision, selection.signature), f"{selection.system.name}: scores", work)

    def agnostic(self, selection: Selection, system: SystemResult) -> Task[Figures | None]:
        """Figures with all classes merged."""

        def work(progress: Progress) -> Figures | None:
            return class_agnostic_of_system(
                self.store, system, selection.labels, selection.predictions, progress=progress
            )

        key = ("agnostic", system.revision, selection.signature, system.recordings)
        return self._task(key, f"{system.name}: class-agnostic AP", work)

    def intervals(self, selection: Selection, system: SystemResult, *, n: int, seed: int) -> Task[BootstrapResult]:
        """Bootstrap of a system's figures."""

        def work(progress: Progress) -> BootstrapResult:
            return bootstrap(system.scores, n=n, seed=seed, progress=progress)

        key = ("intervals", system.revision, selection.signature, system.recordings, n, seed)
        return self._task(key, f"{system.name}: 95 % intervals", work)


@st.cache_resource(show_spinner=False)
def board() -> Board:
    """The one board of the app."""
    return Board()


def wait_briefly(tasks: Iterable[Task[Any]], seconds: float) -> None:
    """Give calculations that are nearly instant (all in the store) the time to end, so that nothing flickers."""
    end = time.monotonic() + seconds
    for task in tasks:
        task.wait(max(0.0, end - time.monotonic()))
