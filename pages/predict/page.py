"""Predict: run a detector over recordings in the background, and look at everything that it saw."""

from __future__ import annotations

from typing import TYPE_CHECKING

import streamlit as st

from pages.components import data_bar, predictions
from pages.components import state_keys as keys
from pages.components.text import plain
from pages.predict import form, job_list, raw
from sai_core.errors import SaiError
from sai_core.tuning import raw_set
from sai_core.workspace import workspace

if TYPE_CHECKING:  # loads torch
    from sai_core.inference.job import PredictionJob


def main() -> None:
    """Draw the page."""
    _show_my_results_everywhere()
    bar = st.container(horizontal=True, vertical_alignment="center", gap="small", key="sai_bar")
    root = data_bar.choose_filled_root(bar)
    if root is None:
        return
    with bar:
        st.caption(plain(root.path))
    left, right = st.columns([5, 6], gap="large")
    with left:
        st.subheader("Detect sources in recordings", anchor=False)
        request = form.form(root)
        if request is not None:
            try:
                job = predictions.queue().request(request)
            except SaiError as error:
                st.error(plain(error))
            else:
                job_list.remember(job)
    with right:
        st.subheader("Jobs", anchor=False)
        if problem := st.session_state.pop(keys.PREDICT_SAID, ""):
            st.error(plain(problem))
        job_list.show_queue()
    st.subheader("What the network saw", anchor=False, divider="gray")
    raw.show_raw(root)


def _show_my_results_everywhere() -> None:
    """Show what this session's jobs write outside the workspace among *More predictions*, once it holds a file.

    What that network saw is shown below, too.
    """
    mine: list[PredictionJob] = st.session_state.get(keys.PREDICT_MINE, [])
    waiting = []
    for job in mine:
        over = not job.active
        if job.written:
            if not job.request.out.is_relative_to(workspace().path):  # what is kept there, all pages find by themselves
                data_bar.add_predictions(str(job.request.out))
            if (seen := raw_set(job.request.out)) is not None:
                st.session_state[keys.PREDICT_RAW] = str(seen.folder)
        elif not over:
            waiting.append(job)
    mine[:] = waiting


main()
