"""The bar of the review page: what is listed, the review file, and what comes out of a review."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from pages.components import address, background, predictions
from pages.components import state_keys as keys
from pages.components.text import plain
from pages.review import jobs
from sai_core.dataset import DataRoot, PredictionSet
from sai_core.errors import SaiError
from sai_core.progress import Progress
from sai_core.review import (
    KIND_TITLES,
    Queue,
    QueueSettings,
    ReviewStore,
    export_review,
    keep_label_set,
    revised_scores,
    statistics,
)
from sai_core.review.desk import SHOW_TITLES, SHOWS, Filters, place
from sai_core.review.export import ExportReport, RevisedScores
from sai_core.review.history import History, Policy
from sai_core.review.store import write_review_file
from sai_core.runs.kinds import LABELS_OPTION
from sai_core.taxonomy import class_name
from sai_core.workspace import workspace

_MAX_UPLOAD_MB = 200


def choose_settings(bar: DeltaGenerator) -> tuple[QueueSettings, DeltaGenerator]:
    """Draw the **Filter** popover with the queue's thresholds; gives them and the popover, for the filters."""
    box = bar.popover("Filter", icon=":material/filter_list:")
    filters = box.container()
    box.divider()
    confident = box.slider(
        "Confident predictions",
        0.05,
        0.95,
        0.5,
        0.05,
        key=keys.REVIEW_CONFIDENT,
        persist_state="session",
        help="Least score of a prediction without a label that is worth a look.",
    )
    frames = box.slider(
        "Shortest event, frames",
        1,
        20,
        2,
        key=keys.REVIEW_MIN_FRAMES,
        persist_state="session",
        help="Shorter events of the first three kinds are passed over. One frame is 100 ms.",
    )
    return QueueSettings(confident=float(confident), min_frames=int(frames)), filters


def choose_filters(bar: DeltaGenerator, box: DeltaGenerator, queue: Queue, history: History) -> Filters:
    """Draw which items are listed."""
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
            box.multiselect(label, options, key=key, format_func=shown, persist_state="session", placeholder="all")
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


def review_file(bar: DeltaGenerator, default: Path) -> tuple[str, DeltaGenerator]:
    """Draw where the review file is; gives the chosen path ("" for the usual place), and the popover for more."""
    box = bar.popover("File", icon=":material/database:", help="Review file, import, log")
    with box:
        text = address.text_field(
            "Review file",
            name=keys.REVIEW_FILE,
            placeholder=str(default),
            help="Decisions are kept here, outside of your data. Empty: the usual place of this data root.",
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
    with bar.popover("Results", icon=":material/output:"):
        _export(root, systems, store, reviewer)
        st.divider()
        _scores(root, systems, store)
        st.divider()
        _statistics(store)


def _importing(store: ReviewStore) -> None:
    st.caption(plain(store.path))
    upload = st.file_uploader(
        "Add somebody else's review (.jsonl or .sqlite)",
        type=["jsonl", "sqlite"],
        key=keys.REVIEW_IMPORT,
        max_upload_size=_MAX_UPLOAD_MB,
        help="Decisions that are here already are not added twice.",
    )
    path = st.text_input("or its path on this machine", key=keys.REVIEW_IMPORT_PATH).strip()
    if st.button("Import", disabled=upload is None and not path):
        try:
            if upload is not None:
                with tempfile.TemporaryDirectory(prefix="sai-review-") as folder:
                    copy = Path(folder) / "upload"
                    copy.write_bytes(upload.getbuffer())
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
        "differences and the log; every page can take them for the truth.",
    ).strip()
    folder = st.text_input(
        "Folder",
        key=keys.REVIEW_FOLDER,
        persist_state="session",
        placeholder="the workspace",
        help="To keep them elsewhere, outside of the data root: labels of all recordings in the official layout, the "
        "differences, statistics and the log.",
    ).strip()
    policy: Policy = st.radio(
        "Where several have decided",
        ["latest", "agreed"],
        format_func=lambda name: {"latest": "the latest decision", "agreed": "only what all agree on"}[name],
        key=keys.REVIEW_POLICY,
        persist_state="session",
        horizontal=True,
    )
    line = st.container(horizontal=True)
    mine = line.checkbox("Only my decisions", key=keys.REVIEW_ONLY, persist_state="session")
    older = bool(folder) and line.checkbox("Replace an older export", key=keys.REVIEW_REPLACE)
    key = ("export", str(store.path))
    if st.button("Export", type="primary", icon=":material/save:"):
        history, only = store.history(), reviewer if mine else None

        def work(progress: Progress) -> tuple[str, ExportReport]:
            if folder:
                report = export_review(
                    root, history, folder, policy=policy, reviewer=only, replace_older=older, progress=progress
                )
                return "", report
            stored, report = keep_label_set(root, history, name, policy=policy, reviewer=only, progress=progress)
            return stored.name, report

        jobs.outcomes().submit(key, work, title="Exporting", reuse="active")
    _follow(key, lambda made: _exported(root, systems, *made))


def _follow(key: tuple[str, ...], show: Callable[[Any], None]) -> None:
    """Show how far a job is, and then what became of it."""
    job = jobs.outcomes().find(key)
    if job is not None and background.ready(job, button=""):
        show(job.value)


def _exported(root: DataRoot, systems: list[PredictionSet], name: str, report: ExportReport) -> None:
    words = (
        f"{report.n_recordings} label files written, {report.n_changed} of them changed; "
        f"{report.n_differences} annotations differ. Folder: {report.folder}"
    )
    st.success(plain(words))
    if report.n_skipped:
        st.warning(f"{report.n_skipped} changes were about labels that the files do not have any more; skipped.")
    if not name:
        return
    labels = {keys.LABELS: name}
    with st.container(horizontal=True, gap="medium"):
        address.page_link("explorer", "See them", icon=":material/visibility:", query=labels)
        address.page_link("scores", "Score against them", icon=":material/leaderboard:", query=labels)
        address.page_link(
            "train", "Train on them", icon=":material/model_training:", query=_retraining(root, systems, name)
        )


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
        keys.TRAIN_OVERRIDES: f"start.detector={checkpoint}" if checkpoint else "",
    }


def _scores(root: DataRoot, systems: list[PredictionSet], store: ReviewStore) -> None:
    st.markdown("**Scores against the corrected labels**")
    key = ("scores", str(store.path))
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
    with tempfile.TemporaryDirectory(prefix="sai-review-") as folder:
        path = Path(folder) / "review.jsonl"
        write_review_file(store.entries(), path)
        data = path.read_bytes()
    st.download_button("Download the log", data, "review.jsonl", "application/jsonl", icon=":material/download:")
