"""Scores of systems, computed in the background once for all sessions."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal
from weakref import WeakKeyDictionary

import streamlit as st

from pages.components import background
from sai_core.dataset import DataRoot, PredictionSet, Recording, labelled_by_name
from sai_core.errors import InputError
from sai_core.files import file_signature
from sai_core.jobs import Job, JobQueue
from sai_core.metrics.evaluation.score_store import RecordingResult, ScoreStore
from sai_core.metrics.evaluation.scores import Failure, Figures
from sai_core.metrics.official.revisions import Revision
from sai_core.metrics.reading.budget import Budget, budget_of_files
from sai_core.metrics.reading.diagnostics import BootstrapResult, bootstrap
from sai_core.metrics.reading.embedding import Embedding, embedding_of_files
from sai_core.metrics.reading.ranking import Ranking, rank_systems
from sai_core.metrics.reading.seld import FieldFigures, field_figures_of_files
from sai_core.metrics.reading.slices import Groups, Slices, slices_of_files
from sai_core.metrics.reading.systems import (
    SystemResult,
    class_agnostic_of_system,
    in_order,
    score_system,
    size_of,
)
from sai_core.progress import Progress
from sai_core.reporting import ReportOptions, as_html, as_pdf, gather_report

_OnResult = Callable[[RecordingResult | Failure], object]


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
    def pairs(self) -> dict[str, tuple[Path, Path]]:
        """Labels and predictions of each recording."""
        return {name: (self.labels[name], self.predictions[name]) for name in self.labels}

    @property
    def n_bytes(self) -> int:
        """Size of the prediction files: systems with few points do not wait for those with many."""
        return sum(map(size_of, self.predictions.values()))

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
    found = labelled_by_name(recordings)[0].items()
    labels = {name: r.label_path for name, r in found if r.label_path is not None}
    both = [name for name in labels if name in system.files]
    return Selection(system, {n: labels[n] for n in both}, {n: system.files[n] for n in both}, len(labels))


@st.cache_resource(show_spinner=False)
def score_store() -> ScoreStore:
    """The one memory of scores, for all sessions."""
    return ScoreStore()


def queue() -> JobQueue:
    """Scores of systems by what they depend on.

    One works at a time, that with the smallest files (:class:`_Turns`): systems share the processor, and rendered
    labels are made once. Kept are those of a few systems with both revisions, for some sessions.
    """
    return background.queue("scores", keep=96)


class _Turns:
    """Who goes first among systems that are scored at the same time: the one with the smallest files.

    A system of dense regions may take minutes a recording; one that comes later and needs seconds does not wait for it.
    """

    def __init__(self) -> None:
        self._present: list[tuple[int, int]] = []
        self._numbers = itertools.count()
        self._changed = threading.Condition()

    @contextmanager
    def joined(self, n_bytes: int, progress: Progress) -> Iterator[Progress]:
        """Progress that comes back only when no smaller system is at work; it hears of a cancellation meanwhile."""
        mine = (n_bytes, next(self._numbers))
        with self._changed:
            self._present.append(mine)

        def report(fraction: float, message: str) -> None:
            progress(fraction, message)
            while True:
                with self._changed:
                    if min(self._present) == mine or self._changed.wait_for(lambda: min(self._present) == mine, 0.2):
                        return
                progress(fraction, "waiting, a smaller system is scored first")

        try:
            yield report
        finally:
            with self._changed:
                self._present.remove(mine)
                self._changed.notify_all()


@st.cache_resource(show_spinner=False)
def _turns() -> _Turns:
    return _Turns()


def later() -> JobQueue:
    """What is made from scores: intervals, class-agnostic figures. No system that is still scored holds it up."""
    return background.queue("scores-later", at_once=1, keep=96)


def resume() -> None:
    """Forget what was stopped, so that it is asked for again."""
    for jobs in (queue(), later()):
        jobs.remove_unfinished()


class _SoFar:
    """What is known of systems while they are scored."""

    def __init__(self) -> None:
        self._found: WeakKeyDictionary[Job[SystemResult], list[RecordingResult | Failure]] = WeakKeyDictionary()
        self._results: WeakKeyDictionary[Job[SystemResult], SystemResult] = WeakKeyDictionary()
        self._lock = threading.Lock()

    def submit(
        self, key: Hashable, work: Callable[[Progress, _OnResult], SystemResult], *, title: str
    ) -> Job[SystemResult]:
        found: list[RecordingResult | Failure] = []
        with self._lock:  # whoever asks first: the job and its list belong together
            job = queue().submit(key, lambda progress: work(progress, found.append), title=title)
            self._found.setdefault(job, found)
        return job

    def result(self, job: Job[SystemResult], name: str, revision: Revision) -> SystemResult:
        with self._lock:
            found = tuple(self._found.get(job, ()))
            known = self._results.get(job)
        if known is not None and len(known.results) + len(known.failures) == len(found):
            return known
        failures = [r for r in found if isinstance(r, Failure)]
        made = in_order(name, revision, [r for r in found if not isinstance(r, Failure)], failures)
        with self._lock:
            self._results[job] = made
        return made


@st.cache_resource(show_spinner=False)
def _so_far() -> _SoFar:
    return _SoFar()


def system(selection: Selection, revision: Revision) -> Job[SystemResult]:
    """Scores of a system; started at the first call."""
    name, store, turns, n_bytes = selection.system.name, score_store(), _turns(), selection.n_bytes

    def work(progress: Progress, on_result: _OnResult) -> SystemResult:
        with turns.joined(n_bytes, progress) as politely:
            politely(0.0, "")
            return score_system(
                store,
                name,
                selection.labels,
                selection.predictions,
                revision=revision,
                progress=politely,
                on_result=on_result,
            )

    return _so_far().submit(("system", revision, selection.signature), work, title=f"{name}: scores")


def so_far(job: Job[SystemResult], name: str, revision: Revision) -> SystemResult:
    """The recordings of a system that are scored by now; the same object until there are more."""
    return _so_far().result(job, name, revision)


def agnostic(selection: Selection, system: SystemResult) -> Job[Figures | None]:
    """Figures with all classes merged."""
    store = score_store()

    def work(progress: Progress) -> Figures | None:
        return class_agnostic_of_system(store, system, selection.labels, selection.predictions, progress=progress)

    key = ("agnostic", system.revision, selection.signature, system.recordings)
    return later().submit(key, work, title=f"{system.name}: class-agnostic AP")


def budget(selection: Selection, system: SystemResult) -> Job[Budget]:
    """Error budget of a system."""
    store, name = score_store(), system.name
    labels = {n: selection.labels[n] for n in system.recordings}

    def work(progress: Progress) -> Budget:
        return budget_of_files(
            store, labels, selection.predictions, name=name, revision=system.revision, progress=progress
        )

    key = ("budget", system.revision, selection.signature, system.recordings)
    return later().submit(key, work, title=f"{name}: error budget")


def ranking(
    selections: Mapping[str, Selection], systems: Mapping[str, SystemResult], *, n: int, seed: int
) -> Job[Ranking]:
    """All systems on their common recordings."""
    chosen = list(systems.values())

    def work(progress: Progress) -> Ranking:
        return rank_systems(chosen, n_resamples=n, seed=seed, progress=progress)

    parts = tuple((name, selections[name].signature, system.recordings) for name, system in systems.items())
    return queue().submit(("ranking", chosen[0].revision, parts, n, seed), work, title="Ranking of all systems")


def slices(
    selection: Selection, system: SystemResult, splits: Mapping[str, str], groups: Mapping[str, Groups], *, seed: int
) -> Job[Slices]:
    """Figures of parts of the set; ``groups``: tags and views that recordings are in."""
    name = system.name

    def work(progress: Progress) -> Slices:
        return slices_of_files(
            system.scores,
            selection.labels,
            selection.predictions,
            name=name,
            splits=splits,
            groups=groups,
            seed=seed,
            progress=progress,
        )

    of_user = tuple((n, *sorted(groups[n].items())) for n in sorted(groups))
    parts = (selection.signature, system.recordings, tuple(sorted(splits.items())), of_user)
    key = ("slices", system.revision, *parts, seed)
    return later().submit(key, work, title=f"{name}: slices")


def embedding(selection: Selection, system: SystemResult, stores: Mapping[str, Path], *, seed: int) -> Job[Embedding]:
    """Embeddings of a system's detections."""

    def work(progress: Progress) -> Embedding:
        return embedding_of_files(system, selection.labels, selection.predictions, stores, seed=seed, progress=progress)

    stamps: list[tuple[Any, ...]] = []
    for name, store in stores.items():
        try:
            stamps.append((name, file_signature(store / "store.json")))
        except InputError:  # gone since the folder was looked at: its recording is without one
            stamps.append((name, (str(store), -1, -1)))
    key = ("embedding", system.revision, selection.signature, system.recordings, tuple(stamps), seed)
    return later().submit(key, work, title=f"{system.name}: embeddings")


def field(selection: Selection, system: SystemResult, min_score: float) -> Job[FieldFigures]:
    """SELD scores and HOTA of a system."""

    def work(progress: Progress) -> FieldFigures:
        return field_figures_of_files(
            system, selection.labels, selection.predictions, min_score=min_score, progress=progress
        )

    key = ("field", system.revision, selection.signature, system.recordings, min_score)
    return later().submit(key, work, title=f"{system.name}: SELD scores and HOTA")


def report(
    root: DataRoot,
    recordings: Sequence[Recording],
    systems: Sequence[PredictionSet],
    options: ReportOptions,
    ending: Literal["html", "pdf"],
    *,
    wanted: bool,
) -> Job[bytes] | None:
    """The file of a report; None where nobody has wanted it yet."""
    chosen = [select(s, recordings) for s in systems]
    key = ("report", ending, options, str(root.path), root.label_set, tuple(s.signature for s in chosen))
    if not wanted:
        return later().find(key)

    def work(progress: Progress) -> bytes:
        found = gather_report(root, recordings, systems, options, store=score_store(), progress=progress)
        return as_html(found) if ending == "html" else as_pdf(found)

    return later().submit(key, work, title=f"Report ({ending.upper()})", needs="make")


def intervals(selection: Selection, system: SystemResult, *, n: int, seed: int) -> Job[BootstrapResult]:
    """Bootstrap of a system's figures."""

    def work(progress: Progress) -> BootstrapResult:
        return bootstrap(system.scores, n=n, seed=seed, progress=progress)

    key = ("intervals", system.revision, selection.signature, system.recordings, n, seed)
    return later().submit(key, work, title=f"{system.name}: 95 % intervals")
