"""What is known of a whole set, shared by all sessions and by the pages that list recordings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import streamlit as st

from pages.components import background, scores_jobs
from pages.components.text import plain
from sai_core.dataset import DataRoot, PredictionSet
from sai_core.files import file_signatures
from sai_core.jobs import Job, JobQueue
from sai_core.progress import Progress
from sai_core.survey.index import Group, Survey, groups_of
from sai_core.survey.table import SetTable, table_of, unusable_files
from sai_core.workspace import workspace
from sai_core.workspace.marks import Marks, path_of_marks, read_marks


@dataclass(frozen=True)
class Seen:
    """A set as it is known at the moment.

    Attributes
    ----------
    table : SetTable
    marks : Marks
        The user's tags, notes and views.
    job : Job or None
        The work that finds out the rest; None when nothing is missing.
    kept : dict
        For what pages make of the table; lives as long as it.
    """

    table: SetTable
    marks: Marks
    job: Job[None] | None
    kept: dict[str, Any]


@st.cache_resource(show_spinner=False)
def survey() -> Survey:
    """The one memory of what files hold."""
    return Survey(scores_jobs.score_store())


def _queue() -> JobQueue:
    # one set after another: they share the disk and the processor
    return background.queue("survey", at_once=1)


@st.cache_resource(ttl=5, max_entries=8, show_spinner=False)
def _groups(
    _root: DataRoot, key: tuple[object, ...], _predictions: PredictionSet | None, _scored: tuple[PredictionSet, ...]
) -> tuple[Group, ...]:
    groups = groups_of(_root, predictions=_predictions, scored=_scored)
    survey().load(groups)
    return groups


@st.cache_resource(ttl=5, max_entries=8, show_spinner=False)
def _table(
    _root: DataRoot,
    key: tuple[object, ...],
    generation: int,
    of_marks: object,
    _groups: tuple[Group, ...],
    _scored: tuple[PredictionSet, ...],
    _marks: Marks,
) -> tuple[SetTable, dict[str, Any]]:
    return table_of(survey(), _root, _groups, systems=_scored, marks=_marks.recordings), {}


@st.cache_resource(ttl=5, max_entries=8, show_spinner=False)
def _unusable(_root: DataRoot, key: tuple[object, ...], generation: int) -> dict[str, int]:
    return unusable_files(survey(), _root)


def unusable(root: DataRoot) -> dict[str, int]:
    """Files that are known to be unusable, by kind; nothing is looked at."""
    sets = tuple((s.name, str(s.folder), len(s)) for s in root.prediction_sets)
    return _unusable(root, (str(root.path), root.label_set, len(root.recordings), sets), survey().generation)


def seen(root: DataRoot, systems: Sequence[PredictionSet] = (), *, start: bool = True) -> Seen:
    """What is known of a set; what is not is looked at in the background.

    Parameters
    ----------
    root : DataRoot
    systems : sequence of PredictionSet
        Those whose known scores are columns; the annotations of the first are added up, too.
    start : bool
        False looks at nothing: for pages that only show what is known.
    """
    scored = tuple(systems)
    key = (str(root.path), root.label_set, len(root.recordings), *((s.name, str(s.folder), len(s)) for s in scored))
    groups = _groups(root, key, scored[0] if scored else None, scored)
    place = workspace()
    of_marks = file_signatures([path_of_marks(place, root.path)])
    marks = _marks(root.path, of_marks)
    table, kept = _table(root, key, survey().generation, of_marks, groups, scored, marks)
    job = _queue().find(key)
    if start and table.n_missing and (job is None or job.state == "done"):

        def work(progress: Progress) -> None:
            survey().look(groups, progress=progress)

        job = _queue().submit(
            key,
            work,
            title=f"Looking at {root.path.name}",
            reuse="active",
            when_cancelled="Stopped; what was found stays.",
        )
        if job.wait(0.3):  # nothing much was missing
            table, kept = _table(root, key, survey().generation, of_marks, groups, scored, marks)
    return Seen(table, marks, job if job is not None and (job.active or job.state != "done") else None, kept)


@st.cache_resource(max_entries=32, show_spinner=False)
def _marks(root: Any, of_marks: object) -> Marks:
    return read_marks(workspace(), root)


def watch(found: Seen) -> None:
    """How far the look at a set is; the page is drawn again as more is known, and when it has ended."""
    if found.job is not None:
        st.fragment(_watch, run_every="1500ms")(found.job, survey().generation)


def _watch(job: Job[None], generation: int) -> None:
    if not job.active:
        if job.state == "done":
            st.rerun()
        line = st.container(horizontal=True, vertical_alignment="center", gap="small")
        (line.info if job.state == "cancelled" else line.error)(plain(job.error), width="stretch")
        line.button("Go on", icon=":material/refresh:", key="survey_again", on_click=_queue().remove, args=(job,))
        return
    if survey().generation != generation:
        st.rerun()
    line = st.container(horizontal=True, vertical_alignment="center", gap="small")
    left = f" · {background.span(job.seconds_left)} left" if job.seconds_left and job.seconds_left > 10 else ""
    line.progress(job.fraction, plain(f"{job.title}: {job.text}{left}"))
    line.button("Stop", icon=":material/close:", key="survey_stop", disabled=job.cancelling, on_click=job.cancel)
