"""Tuning sets and their evaluations, shared by all sessions; everything slow runs in the background."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, TypeVar

import streamlit as st

from pages.components import background
from sai_core.dataset import DataRoot, Recording
from sai_core.files import file_signatures
from sai_core.jobs import Job, JobQueue, Reuse
from sai_core.postprocess import PipelineSettings
from sai_core.progress import Progress
from sai_core.tuning import RawSet, TuningResult, TuningSet, find_raw_sets, open_raw_set

Result = TypeVar("Result")

_MAX_SETS: Final[int] = 3
"""Opened sets; each holds at most 512 MB of rendered maps, mostly far less."""


@dataclass(eq=False)
class Bench:
    """An opened set with what was computed for it.

    Attributes
    ----------
    tuning_set : TuningSet
    jobs : JobQueue
        Figures of some settings, heat maps, searches; the set itself sees to who goes first.
    """

    tuning_set: TuningSet
    jobs: JobQueue = field(default_factory=lambda: JobQueue("tune", keep=64))

    def evaluation(self, settings: PipelineSettings, *, wanted_by: Hashable = None) -> Job[TuningResult]:
        """Figures of settings; ahead of everything that was started by :meth:`background`.

        Given who wants them, their next wish takes the place of this one.
        """

        def work(progress: Progress) -> TuningResult:
            with self.tuning_set.first():
                return self.tuning_set.evaluate(settings, progress=progress)

        key = ("evaluate", settings.part("candidates", "select", "export"))
        return self.jobs.submit(key, work, title="Figures", wanted_by=wanted_by)

    def background(
        self, key: Hashable, work: Callable[[TuningSet, Progress], Result], *, title: str, reuse: Reuse = "unfailed"
    ) -> Job[Result]:
        """A long task on the set, which lets evaluations go first."""

        def calmly(progress: Progress) -> Result:
            with self.tuning_set.background():
                return work(self.tuning_set, progress)

        return self.jobs.submit(key, calmly, title=title, reuse=reuse, needs="make")


@st.cache_resource(ttl=5, max_entries=16, show_spinner=False)
def raw_sets(_root: DataRoot, root: str, folders: tuple[str, ...]) -> list[RawSet]:
    """Raw detections below a root and below some folders; looked for again after five seconds."""
    return find_raw_sets(dict.fromkeys([Path(root) / "predictions", *map(Path, folders)]))


def openings() -> JobQueue:
    """Sets that are opened or have been."""
    return background.queue("tune-sets", keep=_MAX_SETS)


def opening(raw: RawSet, recordings: list[Recording], teacher: Path | None) -> Job[Bench]:
    """The bench of some recordings: opened at the first call, shared by all sessions until a file changes."""
    labels = {r.name: r.label_path for r in recordings if r.label_path is not None}
    stores = {name: raw.stores[name] for name in labels}
    key = (
        tuple(stores),
        file_signatures(path / "store.json" for path in stores.values()),
        file_signatures([*labels.values(), teacher]),
    )
    return openings().submit(
        key,
        lambda progress: Bench(open_raw_set(stores, labels, teacher_folder=teacher, progress=progress)),
        title="Opening",
    )
