"""Scores of systems, computed in the background once for all sessions."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import streamlit as st

from pages.components import background
from sai_core.dataset import PredictionSet, Recording
from sai_core.errors import InputError
from sai_core.files import file_signature
from sai_core.jobs import Job, JobQueue
from sai_core.metrics.evaluation.score_store import ScoreStore
from sai_core.metrics.evaluation.scores import Figures
from sai_core.metrics.official.revisions import Revision
from sai_core.metrics.reading.diagnostics import BootstrapResult, bootstrap
from sai_core.metrics.reading.systems import SystemResult, class_agnostic_of_system, score_system
from sai_core.progress import Progress


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


@st.cache_resource(show_spinner=False)
def _store() -> ScoreStore:
    return ScoreStore()


def queue() -> JobQueue:
    """All calculations of the page by what they depend on.

    One after another: they share the processor, and rendered labels are made once. Kept are those of a few systems with
    both revisions and their intervals, for some sessions.
    """
    return background.queue("scores", at_once=1, keep=96)


def system(selection: Selection, revision: Revision) -> Job[SystemResult]:
    """Scores of a system; started at the first call."""
    name, store = selection.system.name, _store()

    def work(progress: Progress) -> SystemResult:
        return score_system(store, name, selection.labels, selection.predictions, revision=revision, progress=progress)

    return queue().submit(("system", revision, selection.signature), work, title=f"{name}: scores")


def agnostic(selection: Selection, system: SystemResult) -> Job[Figures | None]:
    """Figures with all classes merged."""
    store = _store()

    def work(progress: Progress) -> Figures | None:
        return class_agnostic_of_system(store, system, selection.labels, selection.predictions, progress=progress)

    key = ("agnostic", system.revision, selection.signature, system.recordings)
    return queue().submit(key, work, title=f"{system.name}: class-agnostic AP")


def intervals(selection: Selection, system: SystemResult, *, n: int, seed: int) -> Job[BootstrapResult]:
    """Bootstrap of a system's figures."""

    def work(progress: Progress) -> BootstrapResult:
        return bootstrap(system.scores, n=n, seed=seed, progress=progress)

    key = ("intervals", system.revision, selection.signature, system.recordings, n, seed)
    return queue().submit(key, work, title=f"{system.name}: 95 % intervals")
