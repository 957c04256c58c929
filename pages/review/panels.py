"""The bar of the review page: what is listed, the review file, and what comes out of a review."""

from __future__ import annotations

import math
import tempfile
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from functools import partial
from itertools import cycle
from pathlib import Path
from typing import Any, Final

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from pages.components import address, background, predictions, roles
from pages.components import state_keys as keys
from pages.components.text import plain
from pages.review import jobs
from sai_core import permissions
from sai_core.dataset import DataRoot, PredictionSet
from sai_core.errors import SaiError
from sai_core.progress import Progress
from sai_core.review import (
    KIND_TITLES,
    Item,
    Queue,
    QueueSettings,
    ReviewStore,
    export_review,
    keep_label_set,
    known,
    revised_scores,
    statistics,
)
from sai_core.review.chosen import ChosenMoments, kept_moments
from sai_core.review.databases import ServerReview
from sai_core.review.desk import SHOW_TITLES, SHOWS, BulkReport, Desk, Filters, place
from sai_core.review.export import ExportReport, RevisedScores
from sai_core.review.history import History, Policy
from sai_core.review.known import KnownItems
from sai_core.review.queue import MOMENT, left_out
from sai_core.review.store import review_lines
from sai_core.runs.kinds import LABELS_OPTION
from sai_core.taxonomy import class_name
from sai_core.workspace import workspace

_MAX_UPLOAD_MB = 200


def choose_settings(bar: DeltaGenerator) -> tuple[QueueSettings, DeltaGenerator, DeltaGenerator]:
    """Draw the **Filter** popover with the queue's thresholds.

    Gives them, a place for the filters, and one for what the least score leaves out (:func:`show_reach`).
    """
    box = bar.popover("Filter", icon=":material/filter_list:")
    filters = box.container()
    box.divider()
    confident = box.slider(
        "Confident predictions",
        0.01,
        0.99,
        QueueSettings().confident,
        0.01,
        key=keys.REVIEW_CONFIDENT,
        persist_state="session",
        help="Lowest score at which a prediction without a label is listed. Systems may have scales of their own: "
        "what it leaves out of each stands below.",
    )
    frames = box.slider(
        "Shortest event (frames)",
        1,
        20,
        2,
        key=keys.REVIEW_MIN_FRAMES,
        persist_state="session",
        help="Shorter events of the first three kinds are ignored. One frame is 100 ms.",
    )
    # below both thresholds: a sentence for each system would push the second one out of a small window
    return QueueSettings(confident=float(confident), min_frames=int(frames)), filters, box.container()


def show_reach(box: DeltaGenerator, queue: Queue) -> None:
    """Say what the least score leaves out of each system."""
    for reach in queue.reach:
        box.caption(plain(reach.sentence()))


def choose_filters(bar: DeltaGenerator, box: DeltaGenerator, queue: Queue, history: History) -> Filters:
    """Draw which items are listed."""
    places = cycle(box.columns(2))
    show = bar.segmented_control(
        "Show",
        list(SHOWS),
        default="open",
        format_func=lambda name: SHOW_TITLES[name],
        key=keys.REVIEW_SHOW,
        persist_state="session",
        label_visibility="collapsed",
    )

    def several(label: str, options: list[Any], key: str, shown: Any = str) -> tuple[Any, ...]:
        # a choice that the data no longer offers must not keep everything else hidden
        kept = st.session_state.get(key)
        if kept and set(kept) - set(options):
            st.session_state[key] = [choice for choice in kept if choice in options]
        return tuple(
            next(places).multiselect(
                label, options, key=key, format_func=shown, persist_state="session", placeholder="all"
            )
        )

    items = queue.items
    if (asked := address.asked(keys.RECORDING)) is not None:
        known = {place(i) for i in items}
        st.session_state[keys.REVIEW_RECORDINGS] = [asked] if asked in known else []
        if asked not in known:
            st.info(
                plain(
                    f"Nothing suspicious was found in {asked} with these systems and thresholds; all items are listed."
                )
            )
    if (category := address.asked(keys.REVIEW_CLASS)) is not None:
        st.session_state[keys.REVIEW_CLASSES] = [c for c in {i.category_id for i in items} if str(c) == category]
    kinds = several("Kind", list(KIND_TITLES), keys.REVIEW_KINDS, lambda kind: KIND_TITLES[kind])
    classes = several("Class", sorted({i.category_id for i in items}), keys.REVIEW_CLASSES, class_name)
    splits = several("Split", sorted({i.split for i in items}), keys.REVIEW_SPLITS, lambda s: s or "(none)")
    recordings = several("Recording", sorted({place(i) for i in items}), keys.REVIEW_RECORDINGS)
    tags = several("Tag", sorted({t for s in history.items.values() for t in s.tags}), keys.REVIEW_TAGS)
    return Filters(
        show=show or "open", kinds=kinds, categories=classes, recordings=recordings, splits=splits, tags=tags
    )


def clear_filters() -> None:
    """Let everything through again; for callbacks, and before the widgets are drawn."""
    st.session_state[keys.REVIEW_ALIKE] = ""
    for key in (keys.REVIEW_KINDS, keys.REVIEW_CLASSES, keys.REVIEW_SPLITS, keys.REVIEW_RECORDINGS, keys.REVIEW_TAGS):
        st.session_state[key] = []


def asked_moments(root: DataRoot) -> ChosenMoments | None:
    """The moments that a link narrows the queue down to; to be called before the filters are drawn.

    A link that names something else, without moments, leads to the whole queue; one with moments to all of them,
    whatever was filtered before.
    """
    came = st.query_params.get(keys.REVIEW_MOMENTS, "")
    if came and came != st.session_state.get(keys.REVIEW_MOMENTS) and address.is_new(keys.REVIEW_MOMENTS):
        clear_filters()
    elsewhere = keys.RECORDING in st.query_params or keys.ITEM in st.query_params
    if not came and elsewhere and address.is_new(keys.REVIEW_MOMENTS):
        forget_moments()
    address.remembered(keys.REVIEW_MOMENTS)
    key = str(st.session_state[keys.REVIEW_MOMENTS])
    return kept_moments(key, root.path) if key else None


def forget_moments() -> None:
    """List the whole queue again."""
    st.session_state[keys.REVIEW_MOMENTS] = ""


def made_items(chosen: ChosenMoments | None, root: DataRoot, queue: Queue) -> tuple[list[Item], int]:
    """Items made of the chosen moments of which the queue has none, and how many are in recordings without labels."""
    if chosen is None:
        return [], 0
    there = {(r.split, r.name) for r in root.recordings} - set(queue.unread)
    return chosen.made_items(queue.items, recordings=there)


def show_moments(
    chosen: ChosenMoments | None,
    desk_of: Callable[[], Desk],
    systems: list[PredictionSet],
    absent: int,
    *,
    searching: bool,
) -> None:
    """Say which moments the queue is narrowed down to, with the way back; nothing where it is the whole one."""
    if not st.session_state[keys.REVIEW_MOMENTS]:
        return
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        if chosen is None:
            st.markdown(
                ":material/link_off: The moments that this link names are not kept here any more, or are of other "
                "data; the whole queue is listed.",
                width="content",
            )
        else:
            items = [item for item in desk_of().items if chosen.holds(item)]
            made = sum(item.kind == MOMENT for item in items)
            left = chosen.without_item(item for item in items if item.kind != MOMENT) - absent
            suspicious = _counted(len(items) - made, "item")
            words = f"{_counted(len(chosen), 'moment')} of {chosen.title}: {suspicious} of the queue"
            if searching:
                words += " so far"
            elif left:
                words += f", and {_counted(made, 'item')} made of the {left:,} in which nothing is suspicious"
            if absent:
                words += f", {absent:,} in recordings whose labels are not here or cannot be read"
            if chosen.system and chosen.system not in {system.name for system in systems}:
                words += f". {chosen.system} is not among the systems chosen here"
            st.markdown(f":material/filter_center_focus: {plain(words)}", width="content")
        st.button(
            "Whole queue",
            key=f"{keys.REVIEW_MOMENTS}_forget",
            icon=":material/close:",
            type="tertiary",
            on_click=forget_moments,
        )


def _counted(n: int, what: str) -> str:
    return f"{n:,} {what}{'' if n == 1 else 's'}"


def known_items(
    bar: DeltaGenerator,
    root: DataRoot,
    systems: list[PredictionSet],
    queue: Queue,
    settings: QueueSettings,
    store: ReviewStore,
    reviewer: str,
) -> KnownItems:
    """Items with known answers, where the reviewer has chosen to have some; progress until they are made."""
    share, seed = known.session_of(store.history(), reviewer)
    if not share:
        return KnownItems(())
    job = jobs.known_items(root, systems, queue, settings, share=share, seed=seed, reviewer=reviewer)
    job.wait(0.5)
    with bar:
        return job.value if background.ready(job, button="") else KnownItems(())


def like_one(
    bar: DeltaGenerator, root: DataRoot, queue: Queue, desk_of: Callable[[], Desk], filters: Filters
) -> Filters:
    """Filters for the items that are like one, where the desk has asked for them; progress until they are found."""
    chosen = st.session_state.get(keys.REVIEW_ALIKE)
    if not chosen:
        return filters
    desk = desk_of()
    item = desk.by_id.get(chosen)
    if item is None:  # other systems or thresholds
        st.session_state[keys.REVIEW_ALIKE] = ""
        return filters
    job = jobs.alike(root, queue, desk, item)
    job.wait(0.3)
    with bar:  # above the desk it would push it aside, and Streamlit would make it anew
        ready = background.ready(job, button="Stop")
    if not ready:
        if not job.active:
            st.session_state[keys.REVIEW_ALIKE] = ""  # the sentence is there; the list is the whole one again
        return filters
    return replace(filters, alike=job.value)


def review_file(bar: DeltaGenerator, default: Path | ServerReview) -> tuple[str, DeltaGenerator]:
    """Draw where the review file is; gives the chosen path ("" for the usual place), and the popover for more."""
    box = bar.popover("File", icon=":material/database:", help="Review file, import, log")
    with box:
        text = roles.path_in_address(
            "Review file",
            name=keys.REVIEW_FILE,
            placeholder=str(default),
            help="Decisions are kept here, outside your data. Empty: the usual place of this data root.",
        )
    return text.strip(), box


def results(
    bar: DeltaGenerator,
    file_box: DeltaGenerator,
    root: DataRoot,
    systems: list[PredictionSet],
    store: ReviewStore,
    reviewer: str,
) -> None:
    """Draw import (into the file's popover), export, scores and statistics."""
    with file_box:
        _importing(store)
    # drawn anew when it is opened: the desk decides without the rest of the page
    box = bar.popover("Results", icon=":material/output:", key=keys.REVIEW_RESULTS, on_change="rerun")
    with box:
        _export(root, systems, store, reviewer)
        st.divider()
        _scores(root, systems, store)
        st.divider()
        _statistics(store)
        st.divider()
        _known(store, reviewer)


def _known(store: ReviewStore, reviewer: str) -> None:
    st.markdown("**Items with known answers**")
    history = store.history()
    share, seed = known.session_of(history, reviewer)
    st.caption(
        "Errors are put into labels and predictions that nothing speaks against, and the items that come of them are "
        "mixed into your list. They look like the others; your answers to them are kept apart from all other results."
    )
    line = st.container(horizontal=True, vertical_alignment="bottom")
    percent = line.slider(
        "Share of the list (%)", 5, 50, round(100 * share) or 10, 5, key=keys.REVIEW_SHARE, persist_state="session"
    )
    number = line.number_input(
        "Seed",
        0,
        2**31 - 1,
        seed,
        key=keys.REVIEW_SEED,
        persist_state="session",
        help="Draws the errors; reviewers with the same seed get the same ones.",
        width=120,
    )
    line = st.container(horizontal=True)
    words = "Mix them in" if not share else "Mix in these instead"
    if roles.button(words, needs="decide", place=line, icon=":material/shuffle:"):
        known.start(store, reviewer, share=percent / 100, seed=int(number))
        st.rerun()
    words = f"Stop: {share:.0%} are mixed in"
    if share and roles.button(words, needs="decide", place=line, icon=":material/stop:"):
        known.start(store, reviewer, share=0, seed=seed)
        st.rerun()
    if rows := known.report(history):
        st.dataframe([_known_row(row) for row in rows], hide_index=True, width="stretch")
        st.caption("With 95 % intervals (Wilson). Time: median, from an item's showing to the answer.")


def _known_row(row: dict[str, Any]) -> dict[str, Any]:
    seconds = row["seconds"]
    return {
        "Reviewer": row["reviewer"],
        "Wrong": row["wrong"],
        "Error": row["kind"],
        "Answered": row["n"],
        "Right": row["right"],
        "Missed or false alarm": row["n"] - row["right"] - row["unsure"],
        "Unsure": row["unsure"],
        "Share right": f"{row['rate']:.2f} ({row['low']:.2f} to {row['high']:.2f})",
        "Time": "" if seconds is None else f"{seconds:.1f} s",
    }


def decide_all(
    bar: DeltaGenerator, desk_of: Callable[[], Desk], store: ReviewStore, reviewer: str, filters: Filters
) -> None:
    """Draw one decision about everything that the filters let through."""
    box = bar.popover(
        "All listed",
        icon=":material/done_all:",
        help="One decision for all items in the list",
        key=keys.REVIEW_ALL,
        on_change="rerun",  # or its numbers would be those before the last decisions
    )
    with box:
        desk = desk_of()
        items = desk.undecided(filters)
        key = ("decide all", store.name, reviewer)
        job = jobs.outcomes().find(key)
        if job is None or not job.active:
            _decide_all_buttons(desk, items, filters, key)
        _follow(key, _decided_all, stop="Stop")


def _decide_all_buttons(desk: Desk, items: list[Item], filters: Filters, key: tuple[str, ...]) -> None:
    if not items:
        st.caption("Nothing in this list is undecided.")
        return
    kinds = Counter(item.kind for item in items)
    st.markdown(f"**{len(items)} undecided** in this list, as **Filter** narrows it down:")
    st.markdown("\n".join(f"- {n} {KIND_TITLES[kind]}" for kind, n in kinds.most_common()))
    n = len(items)
    names = {
        "accept": f"Accept all {n}: take every proposal",
        "reject": f"Reject all {n}: the labels stay",
        "unsure": f"Unsure about all {n}",
    }
    for verdict, words in names.items():
        if roles.button(words, needs="decide", key=f"{keys.REVIEW_ALL}_{verdict}", width="stretch"):
            work = partial(_decide_all_of, desk, verdict, filters)
            jobs.outcomes().submit(
                key,
                work,
                title="Deciding",
                reuse="active",
                when_cancelled="Stopped; nothing was decided.",
                needs="decide",
            )
            st.rerun()
    st.caption("Items that are already decided are left alone. Undo (Z) reverts all of them at once.")


def _decide_all_of(desk: Desk, verdict: str, filters: Filters, progress: Progress) -> BulkReport:
    return desk.decide_all(verdict, filters, progress=progress)


def _decided_all(report: BulkReport) -> None:
    st.success(plain(f"{report.text[:1].upper()}{report.text[1:]}."))
    if report.problems:
        n = len(report.problems)
        items = "1 item was" if n == 1 else f"{n} items were"
        st.warning(plain(f"{items} left undecided: {report.problems[0]}"))


def _importing(store: ReviewStore) -> None:
    st.caption(plain(store.name))
    upload = st.file_uploader(
        "Add another reviewer's file (.jsonl or .sqlite)",
        type=["jsonl", "sqlite"],
        key=keys.REVIEW_IMPORT,
        max_upload_size=_MAX_UPLOAD_MB,
        help="Decisions that are already here are not added again.",
    )
    path = roles.path_field("or its path on this machine", key=keys.REVIEW_IMPORT_PATH).strip()
    if roles.button("Import", disabled=upload is None and not path):
        try:
            if upload is not None:
                with tempfile.TemporaryDirectory(prefix="sai-review-") as folder:
                    copy = Path(folder) / "upload"
                    copy.write_bytes(upload.getbuffer())
                    with permissions.opening(Path(folder)):
                        report = store.import_file(copy)
            else:
                report = store.import_file(path)
            names = ", ".join(report.reviewers) or "nobody"
            st.success(plain(f"{report.n_new} of {report.n_lines} lines were new, by {names}."))
        except SaiError as error:
            st.error(plain(error))


def _export(root: DataRoot, systems: list[PredictionSet], store: ReviewStore, reviewer: str) -> None:
    st.markdown("**Corrected labels**")
    name = st.text_input(
        "Name of the label set",
        key=keys.REVIEW_SET,
        persist_state="session",
        placeholder=f"{root.label_set or root.path.name} corrected",
        help="The corrected labels of all recordings are kept in the workspace under this name, with the "
        "differences and the log; every page can use them as ground truth.",
    ).strip()
    folder = roles.path_field(
        "Folder",
        key=keys.REVIEW_FOLDER,
        persist_state="session",
        placeholder="the workspace",
        help="To keep them elsewhere, outside the data root: labels of all recordings in the official layout, the "
        "differences, statistics and the log.",
    ).strip()
    policy: Policy = st.radio(
        "Where several reviewers have decided",
        ["latest", "agreed"],
        format_func=lambda name: {"latest": "the latest decision", "agreed": "only what all agree on"}[name],
        key=keys.REVIEW_POLICY,
        persist_state="session",
        horizontal=True,
    )
    line = st.container(horizontal=True)
    mine = line.checkbox("Only my decisions", key=keys.REVIEW_ONLY, persist_state="session")
    older = bool(folder) and line.checkbox("Replace an older export", key=keys.REVIEW_REPLACE)
    key = ("export", store.name)
    if roles.button("Export", type="primary", icon=":material/save:"):
        history, only = store.history(), reviewer if mine else None

        def work(progress: Progress) -> tuple[str, ExportReport]:
            if folder:
                report = export_review(
                    root, history, folder, policy=policy, reviewer=only, replace_older=older, progress=progress
                )
                return "", report
            stored, report = keep_label_set(root, history, name, policy=policy, reviewer=only, progress=progress)
            return stored.name, report

        jobs.outcomes().submit(key, work, title="Exporting", reuse="active", needs="make")
    _follow(key, lambda made: _exported(root, systems, *made))


def _follow(key: tuple[str, ...], show: Callable[[Any], None], *, stop: str = "") -> None:
    """Show how far a job is, and then what became of it."""
    job = jobs.outcomes().find(key)
    if job is not None and background.ready(job, button=stop):
        show(job.value)


def _exported(root: DataRoot, systems: list[PredictionSet], name: str, report: ExportReport) -> None:
    words = (
        f"{report.n_recordings} label files written, {report.n_changed} of them changed; "
        f"{report.n_differences} annotations differ. Folder: {report.folder}"
    )
    st.success(plain(words))
    for remark in report.remarks():
        st.warning(plain(remark))
    if not name:
        return
    labels = {keys.LABELS: name}
    with st.container(horizontal=True, gap="medium"):
        address.page_link("explorer", "See them", icon=":material/visibility:", query=labels)
        address.page_link("scores", "Score against them", icon=":material/leaderboard:", query=labels)
        address.page_link(
            "train", "Train on them", icon=":material/model_training:", query=_retraining(root, systems, name)
        )


_GENTLY: Final[tuple[str, ...]] = ("optimiser.rate=5e-5", "optimiser.warmup_steps=10")
"""For weights that know most already: the recipe's rate is for random ones, and unlearns (docs/workspace.md)."""


def _retraining(root: DataRoot, systems: list[PredictionSet], labels: str) -> dict[str, str]:
    """What the Train page is to begin with: these labels, and the detector whose predictions were reviewed."""
    own = {stored.folder: stored.facts.checkpoint for stored in workspace().sets("predictions")}
    checkpoint = next((own[s.folder] for s in systems if own.get(s.folder, "").endswith(".safetensors")), "")
    recipe = "small_a"
    with suppress(SaiError):  # one that has gone is told when the run is started
        if checkpoint and predictions.checkpoint_facts(Path(checkpoint)).kind == "track B":
            recipe = "small_b"
    return {
        keys.TRAIN_KIND: "detector",
        keys.TRAIN_RECIPE: recipe,
        keys.TRAIN_DATA: str(root.path),
        keys.TRAIN_OPTION + LABELS_OPTION: labels,
        keys.TRAIN_OVERRIDES: "\n".join((f"start.detector={checkpoint}", *_GENTLY)) if checkpoint else "",
    }


def _scores(root: DataRoot, systems: list[PredictionSet], store: ReviewStore) -> None:
    st.markdown("**Scores against the corrected labels**")
    key = ("scores", store.name)
    if st.button("Score", icon=":material/leaderboard:", disabled=not systems):
        history = store.history()
        policy = st.session_state.get(keys.REVIEW_POLICY, "latest")
        jobs.outcomes().submit(
            key,
            lambda progress: revised_scores(root, systems, history, policy=policy, progress=progress),
            title="Scoring",
            reuse="active",
        )
    _follow(key, _scored)


def _scored(rows: list[RevisedScores]) -> None:
    st.dataframe(_scores_table(rows), hide_index=True, width="stretch")
    st.caption("Official metric of 2026-06-30, macro; all recordings that the system has predictions for.")
    if rows[0].n_unread:
        st.warning(left_out(rows[0].n_unread, "scores"))


def _scores_table(rows: list[RevisedScores]) -> list[dict[str, Any]]:
    return [
        {
            "System": row.system,
            "Figure": name,
            "Original": None if math.isnan(before) else round(before, 4),
            "Corrected": None if math.isnan(after) else round(after, 4),
            "Change": None if math.isnan(before) or math.isnan(after) else round(after - before, 4),
        }
        for row in rows
        for name, before, after in row.figures()
    ]


def _statistics(store: ReviewStore) -> None:
    st.markdown("**Statistics**")
    facts = statistics(store.history())
    if not facts["n_lines"]:
        st.caption("Nothing is decided yet.")
        return
    for name, counts in facts["by_reviewer"].items():
        st.markdown(plain(f"{name}: " + ", ".join(f"{n} {action}" for action, n in counts.items())))
    for row in facts["agreement"]:
        kappa = "undefined" if row["kappa"] is None else f"{row['kappa']:.2f}"
        first, second = row["reviewers"]
        st.markdown(plain(f"{first} and {second}: {row['n_items']} items in common, Cohen's kappa {kappa}"))
    data = "".join(review_lines(store.entries()))
    st.download_button("Download the log", data, "review.jsonl", "application/jsonl", icon=":material/download:")
