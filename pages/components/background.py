"""Background work on pages: queues that all sessions share, and the one fragment that watches their jobs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import streamlit as st

from pages.components.text import plain
from sai_core import permissions
from sai_core.jobs import Job, JobQueue

_WORTH_AN_ESTIMATE_S: Final[float] = 10.0
_SPAN_LIMIT: Final[int] = 90
"""Seconds and minutes up to which a span is told in them."""


@st.cache_resource(show_spinner=False)
def queue(name: str, *, at_once: int | None = None, keep: int = 32) -> JobQueue:
    """The one queue of a name, for all sessions of the app."""
    return JobQueue(name, at_once=at_once, keep=keep)


def ready(job: Job[Any], *, title: str = "", button: str = "Cancel", again: JobQueue | None = None) -> bool:
    """Whether a job is done; if not, the page shows how far it is, or why there is no result.

    Parameters
    ----------
    job : Job
    title : str
        What is done; the job's own when left out.
    button : str
        Label of the button that cancels; none when empty.
    again : JobQueue, optional
        The job's queue, to offer another try of a job that has no result.
    """
    if job.active:
        watch([job], title=title, button=button)
        return False
    if job.state == "done":
        return True
    st.error(plain(job.error))
    if again is not None and permissions.allowed(job.needs):
        st.button("Try again", key=f"again_{job.number}", icon=":material/refresh:", on_click=again.remove, args=(job,))
    return False


def watch(jobs: Sequence[Job[Any]], *, title: str = "", button: str = "Cancel", every: str = "400ms") -> None:
    """Progress of active jobs; refreshes itself, and runs the page again as soon as one of them has ended."""
    st.fragment(_watch, run_every=every)(tuple(jobs), title, button)


def _watch(jobs: tuple[Job[Any], ...], title: str, button: str) -> None:
    if not all(job.active for job in jobs):
        st.rerun()
    current = max(jobs, key=lambda job: (job.state == "running", job.fraction))
    parts = [": ".join(part for part in (title or current.title, current.text or "starting") if part)]
    if current.cancelling:
        parts = [f"{title or current.title or 'The work'}: stopping"]
    elif (left := current.seconds_left) is not None and left > _WORTH_AN_ESTIMATE_S and " left" not in current.text:
        parts.append(f"{span(left)} left")
    if len(jobs) > 1:
        parts.append(f"{len(jobs) - 1} more waiting")
    line = st.container(horizontal=True, vertical_alignment="center", gap="small")
    line.progress(current.fraction, plain(" · ".join(parts)))
    if button and all(permissions.allowed(job.needs) for job in jobs):
        line.button(
            button,
            key=f"stop_{jobs[0].number}",
            icon=":material/close:",
            disabled=all(job.cancelling for job in jobs),
            on_click=_cancel,
            args=(jobs,),
        )


def _cancel(jobs: tuple[Job[Any], ...]) -> None:
    for job in jobs:
        job.cancel()


def span(seconds: float) -> str:
    """A time in words: ``75 s``, ``12 min``, ``3 h 20 min``."""
    seconds = round(seconds)
    if seconds < _SPAN_LIMIT:
        return f"{seconds} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < _SPAN_LIMIT else f"{minutes // 60} h {minutes % 60} min"
