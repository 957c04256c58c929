"""Review: go through likely label errors, decide with one key each, and take the corrected labels away."""

from __future__ import annotations

import getpass

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from pages.components import address, background, data_bar
from pages.components import state_keys as keys
from pages.components.text import plain
from pages.review import jobs, panels
from pages.review.session import show_desk
from sai_core.dataset import DataRoot, PredictionSet
from sai_core.errors import SaiError
from sai_core.files import user_path
from sai_core.review import ReviewStore, default_review_path, second_review
from sai_core.review.entries import check_reviewer


def main() -> None:
    """Draw the page."""
    bar = st.container(horizontal=True, vertical_alignment="center", gap="small", key="sai_review_bar")
    root = data_bar.choose_filled_root(bar)
    if root is None:
        return
    systems = _choose_systems(bar, root)
    settings, filter_box = panels.choose_settings(bar)
    reviewer = _reviewer(bar)
    path, file_box = panels.review_file(bar, default_review_path(root.path, root.label_set))
    store = _open_store(path, root)
    if store is None or reviewer is None:
        return
    if not path and (warning := second_review(root.path)):
        st.warning(plain(warning))
    job = jobs.queue(root, systems, settings)
    job.wait(0.5)
    if not background.ready(job, button="", again=jobs.queues()):
        return
    queue = job.value
    filters = panels.choose_filters(bar, filter_box, queue, store.history())
    panels.results(bar, file_box, root, systems, store, reviewer)
    for problem in queue.problems[:5]:
        st.warning(plain(problem))
    show_desk(root, systems, queue, store, reviewer, filters)


def _choose_systems(bar: DeltaGenerator, root: DataRoot) -> list[PredictionSet]:
    by_name = {s.name: s for s in root.prediction_sets}
    if not by_name:
        return []
    names = bar.multiselect(
        "Systems",
        list(by_name),
        default=list(by_name)[: jobs.MAX_SYSTEMS],
        key=keys.REVIEW_SYSTEMS,
        max_selections=jobs.MAX_SYSTEMS,
        persist_state="session",
        label_visibility="collapsed",
        placeholder="Prediction sets",
        help="Predictions that are held against the labels.",
        width=300,
    )
    return [by_name[name] for name in names if name in by_name]


def _reviewer(bar: DeltaGenerator) -> str | None:
    try:
        default = check_reviewer(getpass.getuser())
    except (OSError, KeyError, SaiError):
        default = "reviewer"
    with bar:
        name = address.text_field(
            "Reviewer",
            name=keys.REVIEW_NAME,
            default=default,
            max_chars=60,
            label_visibility="collapsed",
            icon=":material/person:",
            help="Your name in the log: every decision is kept under it.",
            width=150,
        )
    try:
        return check_reviewer(name)
    except SaiError as error:
        st.error(plain(error))
        return None


def _open_store(path: str, root: DataRoot) -> ReviewStore | None:
    try:
        chosen = user_path(path, what="review file") if path else default_review_path(root.path, root.label_set)
        store = jobs.store(str(chosen.absolute()), str(root.path))
        store.history()  # a line that cannot be read is told here, and nothing is decided on half of a log
        return store
    except SaiError as error:
        st.error(plain(error))
    return None


main()
