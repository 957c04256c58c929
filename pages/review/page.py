"""Review: go through likely label errors, decide with one key each, and take the corrected labels away."""

from __future__ import annotations

import getpass
from dataclasses import replace
from pathlib import Path

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from pages.components import address, background, data_bar
from pages.components import state_keys as keys
from pages.components.text import plain
from pages.review import jobs, panels
from pages.review.session import show_desk
from sai_core import permissions
from sai_core.dataset import DataRoot, PredictionSet
from sai_core.errors import SaiError
from sai_core.files import user_path
from sai_core.jobs import Job
from sai_core.review import Item, Queue, QueueSettings, ReviewStore, default_review, second_review
from sai_core.review.databases import ServerReview
from sai_core.review.desk import Desk, Material
from sai_core.review.entries import check_reviewer
from sai_core.review.known import session_of


def main() -> None:
    """Draw the page."""
    bar = st.container(horizontal=True, vertical_alignment="center", gap="xsmall", key="sai_review_bar")
    root = data_bar.choose_filled_root(bar)
    if root is None:
        return
    systems = _choose_systems(bar, root)
    settings, filter_box, reach_box = panels.choose_settings(bar)
    reviewer = _reviewer(bar)
    try:
        usual = default_review(root.path, root.label_set)
    except SaiError as error:
        st.error(plain(error))
        return
    path, file_box = panels.review_file(bar, usual)
    store = _open_store(path, usual, root)
    if store is None or reviewer is None:
        return
    queue = _queue(bar, root, systems, settings, store, reviewer)
    if queue is None:
        return
    panels.show_reach(reach_box, queue)
    chosen = panels.asked_moments(root)
    filters = panels.choose_filters(bar, filter_box, queue, store.history())
    filters = replace(filters, moments=chosen)
    known = panels.known_items(bar, root, systems, queue, settings, store, reviewer)
    searching = jobs.queue(root, systems, settings).result is not queue  # it is of the first recordings alone
    made, absent = panels.made_items(None if searching else chosen, root, queue)

    def desk_of() -> Desk:
        def load(item: Item) -> Material:
            return jobs.material_of(root, systems, item)

        return Desk(queue, store, reviewer, load, known=known.items, made=made)

    filters = panels.like_one(bar, root, queue, desk_of, filters)
    panels.decide_all(bar, desk_of, store, reviewer, filters)
    panels.results(bar, file_box, root, systems, store, reviewer)
    second = "" if path else second_review(root.path, root.label_set)
    # behind their count, so that the desk keeps the height of a small screen
    heard = filters.alike.notes if filters.alike is not None else ()
    if remarks := [*([second] if second else []), *queue.remarks(), *heard, *([known.note] if known.note else [])]:
        with bar.popover(str(len(remarks)), icon=":material/warning:", help="Notes on this queue"):
            for remark in remarks:
                st.warning(plain(remark))
    if queue.foreign:  # before anything is decided, least of all everything at once
        more = len(queue.foreign) - 1
        st.warning(plain(queue.foreign[0] + (f" ({more} more like this in the notes above.)" if more else "")))
    panels.show_moments(chosen, desk_of, systems, absent, searching=searching)
    show_desk(root, systems, desk_of, filters)


def _queue(
    bar: DeltaGenerator,
    root: DataRoot,
    systems: list[PredictionSet],
    settings: QueueSettings,
    store: ReviewStore,
    reviewer: str,
) -> Queue | None:
    """The queue, or its first recordings while the others are searched; None before there is an item."""
    job = jobs.queue(root, systems, settings)
    job.wait(0.5)
    # items with known answers are mixed into the whole queue alone
    part = jobs.so_far(job) if job.active and not session_of(store.history(), reviewer)[0] else None
    if part is not None:
        with bar:  # above the desk it would push it aside
            background.watch([job], title="More is searched", button="")
        return part
    if background.ready(job, button="", again=jobs.queues()):
        return job.value
    if job.active:
        st.fragment(_show_when_there, run_every="1s")(job)
    return None


def _show_when_there(job: Job[Queue]) -> None:
    if jobs.so_far(job) is not None:
        st.rerun()


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
        help="Predictions that the labels are compared with.",
        width=220,
    )
    return [by_name[name] for name in names if name in by_name]


def _reviewer(bar: DeltaGenerator) -> str | None:
    somebody = permissions.person()
    if somebody is not None:  # who signed in, and nobody else
        may = permissions.allowed("decide")
        bar.markdown(
            f":material/person: {plain(somebody.name)}" + ("" if may else " :orange-badge[looks on]"),
            width="content",
            help="Your name in the log: every decision is kept under it."
            if may
            else "You can look at everything here; a decision is refused: that needs the role reviewer.",
        )
        try:
            return check_reviewer(somebody.name)
        except SaiError as error:
            st.error(plain(error))
            return None
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
            width=105,
        )
    try:
        return check_reviewer(name)
    except SaiError as error:
        st.error(plain(error))
        return None


def _open_store(path: str, usual: Path | ServerReview, root: DataRoot) -> ReviewStore | None:
    try:
        store = jobs.store(user_path(path, what="review file").absolute() if path else usual, str(root.path))
        store.history()  # a line that cannot be read is told here, and nothing is decided on half of a log
        return store
    except SaiError as error:
        st.error(plain(error))
    return None


main()
