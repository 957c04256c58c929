"""Tuning sets and their evaluations, shared by all sessions; everything slow runs in a thread of its own."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, TypeVar, cast

import streamlit as st

from pages.components.sources import Job
from sai_core.dataset import DataRoot, Recording
from sai_core.errors import CancelledError
from sai_core.postprocess import PipelineSettings
from sai_core.progress import Progress
from sai_core.tuning import RawSet, TuningResult, TuningSet, find_raw_sets, open_raw_set

Result = TypeVar("Result")

_MAX_SETS: Final[int] = 3
"""Opened sets; each holds at most 512 MB of rendered maps, mostly far less."""

_MAX_JOBS: Final[int] = 64
"""Finished jobs of a set: figures of some settings, heat maps, searches."""


@dataclass
class Task(Job[Result]):
    """A job that can be stopped."""

    _stop: threading.Event = field(default_factory=threading.Event)

    @property
    def running(self) -> bool:
        """Whether it has not ended."""
        return not self._done.is_set()

    def stop(self) -> None:
        """Ask it to end soon."""
        self._stop.set()

    def begin(self, work: Callable[[Progress], Result]) -> None:
        """Run ``work`` in the background; it ends at its next report after :meth:`stop`."""

        def stoppable(progress: Progress) -> Result:
            def report(fraction: float, message: str) -> None:
                if self._stop.is_set():
                    raise CancelledError("Stopped.")
                progress(fraction, message)

            return work(report)

        self.start(stoppable)


class Tasks:
    """The last tasks by key; one that failed or was stopped is started anew when it is asked for again."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._tasks: OrderedDict[Hashable, Task[Any]] = OrderedDict()
        self._lock = threading.Lock()

    def find(self, key: Hashable) -> Task[Any] | None:
        """The task of a key, if it is there."""
        with self._lock:
            return self._tasks.get(key)

    def get(self, key: Hashable, work: Callable[[Progress], Result], *, again: bool = False) -> Task[Result]:
        """The task of a key, started if it is not there; ``again``: also if it failed or was stopped."""
        with self._lock:
            task = self._tasks.get(key)
            ended_badly = task is not None and not task.running and task.result is None
            if task is None or task._stop.is_set() or (again and ended_badly):
                task = Task()
                self._tasks[key] = task
                task.begin(work)
            self._tasks.move_to_end(key)
            for old in list(self._tasks):
                if len(self._tasks) <= self._limit:
                    break
                if not self._tasks[old].running:
                    del self._tasks[old]
        return cast(Task[Result], task)


@dataclass(eq=False)
class Bench:
    """An opened set with what was computed for it.

    Attributes
    ----------
    opening : Task of TuningSet
    tasks : Tasks
    """

    opening: Task[TuningSet]
    tasks: Tasks = field(default_factory=lambda: Tasks(_MAX_JOBS))

    @property
    def tuning_set(self) -> TuningSet:
        """The set, once it is open."""
        assert self.opening.result is not None
        return self.opening.result

    def evaluation(self, settings: PipelineSettings) -> Task[TuningResult]:
        """Figures of settings; ahead of everything that was started by :meth:`background`."""
        tuning_set = self.tuning_set

        def work(progress: Progress) -> TuningResult:
            with tuning_set.first():
                return tuning_set.evaluate(settings, progress=progress)

        return self.tasks.get(("evaluate", settings.part("candidates", "select", "export")), work)

    def background(
        self, key: Hashable, work: Callable[[TuningSet, Progress], Result], *, again: bool = False
    ) -> Task[Result]:
        """A long task on the set, which lets evaluations go first."""
        tuning_set = self.tuning_set

        def calmly(progress: Progress) -> Result:
            with tuning_set.background():
                return work(tuning_set, progress)

        return self.tasks.get(key, calmly, again=again)


class _Benches:
    def __init__(self) -> None:
        self._benches: OrderedDict[Hashable, Bench] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: Hashable, open_: Callable[[Progress], TuningSet]) -> Bench:
        with self._lock:
            bench = self._benches.get(key)
            # an opening that failed was told by the page that asked; the files may be there by now
            if bench is None or (not bench.opening.running and bench.opening.result is None):
                bench = Bench(Task())
                bench.opening.begin(open_)
                self._benches[key] = bench
            self._benches.move_to_end(key)
            while len(self._benches) > _MAX_SETS:
                _, old = self._benches.popitem(last=False)
                old.opening.stop()
        return bench


@st.cache_resource(show_spinner=False)
def _benches() -> _Benches:
    return _Benches()


@st.cache_resource(ttl=5, max_entries=16, show_spinner=False)
def raw_sets(_root: DataRoot, root: str, extra: str, sets: tuple[str, ...]) -> list[RawSet]:
    """Raw detections of a root and of a folder of further predictions; looked for again after five seconds."""
    folders = [Path(root) / "predictions", *(Path(folder) for folder in sets)]
    return find_raw_sets([*folders, Path(extra)] if extra else folders)


def bench(raw: RawSet, recordings: list[Recording], teacher: Path | None) -> Bench:
    """The bench of some recordings: opened at the first call, shared by all sessions until a file changes."""
    labels = {r.name: r.label_path for r in recordings if r.label_path is not None}
    stores = {name: raw.stores[name] for name in labels}
    key = (
        tuple((name, str(path), _stamp(path / "store.json"), _stamp(labels[name])) for name, path in stores.items()),
        None if teacher is None else (str(teacher), _stamp(teacher)),
    )
    return _benches().get(key, lambda progress: open_raw_set(stores, labels, teacher_folder=teacher, progress=progress))


def _stamp(path: Path) -> tuple[int, int]:
    try:
        status = path.stat()
    except OSError:
        return -1, -1
    return status.st_size, status.st_mtime_ns
