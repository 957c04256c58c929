"""Figures page: best, median and worst frames of every class of a system."""

from __future__ import annotations

from dataclasses import replace

import pandas as pd
import streamlit as st

from pages.components import address, background, roles, scores_jobs
from pages.components import state_keys as keys
from pages.components.text import plain
from pages.figures import common
from pages.figures.frame_figure import choose_options
from sai_core.dataset import DataRoot, PredictionSet, Recording
from sai_core.errors import SaiError
from sai_core.figures.gallery import (
    KINDS,
    PACKINGS,
    ClassExamples,
    Packing,
    choose_examples,
    make_gallery,
    render_class,
    write_gallery,
)
from sai_core.figures.paper.panels import PanelOptions
from sai_core.figures.paper.style import FigureFormat, PaperStyle
from sai_core.files import file_signatures
from sai_core.jobs import Job
from sai_core.metrics import RecordingScores
from sai_core.progress import Progress
from sai_core.taxonomy import class_name

_PACKING_WORDS = {
    "pdf": "one PDF",
    "zip-pdf": "ZIP of PDF files",
    "zip-png": "ZIP of PNG files",
    "zip-svg": "ZIP of SVG files",
}
ALL_SPLITS = "all splits"


def draw(root: DataRoot) -> None:
    """Draw this part of the page."""
    sets = common.sets_of(root)
    if not sets:
        st.info("A gallery needs predictions: `predictions/<system>/<recording>.json`, or a folder under **Data**.")
        return
    prefix = keys.FIGURES_GALLERY
    left, right = st.columns([1, 2.6], gap="medium")
    with left:
        name = st.selectbox(
            "System",
            list(sets),
            format_func=lambda n: sets[n].title,
            key=f"{prefix}system",
            persist_state="session",
        )
        recordings = choose_split(root, f"{prefix}split")
        kinds = st.pills(
            "Frames",
            KINDS,
            default=KINDS,
            selection_mode="multi",
            key=f"{prefix}kinds",
            persist_state="session",
            help="By soft IoU of the pairs that the metric of 2026-06-30 matches and that overlap at all.",
        )
        options = replace(choose_options(prefix, layouts=False), layout="grid")
        style = common.choose_style()
    if style is None:
        return
    with right:
        selection = scores_jobs.select(sets[name], recordings)
        if not selection.labels:
            st.info("None of these recordings has both labels and predictions of this system.")
            return
        job = scores_jobs.system(selection, "2026-06-30")
        job.wait(0.4)
        if not background.ready(job, again=scores_jobs.queue()):
            return
        scored = job.value
        for problem in scored.problems:
            st.warning(plain(problem))
        names = frozenset(scored.recordings)
        usable = [r for r in recordings if r.name in names and r.label_path == selection.labels[r.name]]
        classes = [c for c in choose_examples(scored.scores, kinds) if c.examples] if kinds else []
        if not classes:
            st.info("No prediction overlaps a label of its class here, or no kind of frame is chosen.")
            return
        _show(root, sets[name], usable, classes, scored.scores, tuple(kinds), options, style)


def choose_split(root: DataRoot, key: str) -> tuple[Recording, ...]:
    """Recordings of a split, or all."""
    splits = [ALL_SPLITS, *(s for s in root.splits if s)]
    split = st.selectbox("Recordings", splits, key=key, persist_state="session")
    return root.recordings if split == ALL_SPLITS else root.in_split(split)


def _show(
    root: DataRoot,
    system: PredictionSet,
    recordings: list[Recording],
    classes: list[ClassExamples],
    scores: list[RecordingScores],
    kinds: tuple[str, ...],
    options: PanelOptions,
    style: PaperStyle,
) -> None:
    prefix = keys.FIGURES_GALLERY
    by_id = {chosen.category_id: chosen for chosen in classes}
    category = st.pills(
        "Class",
        list(by_id),
        default=next(iter(by_id)),
        required=True,
        format_func=class_name,
        key=f"{prefix}class",
        label_visibility="collapsed",
    )
    shown = by_id.get(category if category is not None else -1, classes[0])

    def page(file_format: FigureFormat, style: PaperStyle = style) -> bytes:
        return render_class(shown, recordings, system, file_format, options=options, style=style)

    seen = common.preview_style(style)
    paths = [path for r in recordings for path in (r.label_path, system.files[r.name])]
    signature = ("gallery", str(root.path), system.name, repr(shown), repr(options), file_signatures(paths))
    try:
        st.image(
            common.picture((*signature, repr(seen)), lambda: page("png", seen)),
            width=common.preview_width(style),
        )
    except SaiError as error:
        st.error(plain(error))
        return
    common.downloads(
        common.safe_name("gallery", system.name, class_name(shown.category_id)), page, key=f"{prefix}page_"
    )
    _all_at_once(root, system, recordings, scores, (*signature, kinds, repr(style)), kinds, options, style)
    with st.expander("All chosen frames"):
        _table(root, system, recordings, classes)


def _all_at_once(
    root: DataRoot,
    system: PredictionSet,
    recordings: list[Recording],
    scores: list[RecordingScores],
    signature: tuple[object, ...],
    kinds: tuple[str, ...],
    options: PanelOptions,
    style: PaperStyle,
) -> None:
    prefix = keys.FIGURES_GALLERY
    line = st.container(horizontal=True, vertical_alignment="bottom", gap="small")
    packing: Packing = line.selectbox(
        "All classes",
        PACKINGS,
        format_func=_PACKING_WORDS.__getitem__,
        key=f"{prefix}packing",
        persist_state="session",
        width=190,
    )
    folder = roles.path_field(
        "Folder (empty: download)",
        place=line,
        key=f"{prefix}folder",
        persist_state="session",
        placeholder="outside the data root",
        width=260,
    )
    # the class that is looked at does not matter for the whole
    key = ("all", *signature[:3], *signature[4:], packing, folder)
    name = f"{common.safe_name('gallery', system.name)}.{'pdf' if packing == 'pdf' else 'zip'}"
    shop = common.workshop()
    job: Job[bytes] | None = shop.find(key)
    busy = bool(job and job.active)
    if roles.button("Make all classes", place=line, icon=":material/auto_awesome_mosaic:", disabled=busy):
        try:
            path = common.output_file(folder, name, root)
        except SaiError as error:
            st.error(plain(error))
            return

        def work(progress: Progress) -> bytes:
            data = make_gallery(
                recordings,
                system,
                packing,
                kinds=kinds,  # type: ignore[arg-type]
                options=options,
                style=style,
                scores=scores,
                progress=progress,
            )
            if path is not None:
                write_gallery(data, path)
            return data

        job = shop.submit(key, work, title="Gallery", reuse="active", needs="make")
        job.wait(0.3)
    if job is None or not background.ready(job):
        return
    if folder.strip():
        st.success(plain(f"Written: {folder.strip()}/{name} ({len(job.value) / 1e6:.1f} MB)."))
    else:
        st.download_button(
            f"{name} ({len(job.value) / 1e6:.1f} MB)",
            data=job.value,
            file_name=name,
            mime="application/pdf" if packing == "pdf" else "application/zip",
            icon=":material/download:",
            type="primary",
            on_click="ignore",
        )


def _table(root: DataRoot, system: PredictionSet, recordings: list[Recording], classes: list[ClassExamples]) -> None:
    splits = {r.name: r.split for r in recordings}
    rows = [
        {
            "class": class_name(example.category_id),
            "kind": example.kind,
            "recording": example.recording,
            "frame": example.frame,
            "soft IoU": example.soft_iou,
            "open": address.explorer_link(
                root=str(root.path),
                recording=example.recording,
                split=splits.get(example.recording, ""),
                frame=example.frame,
                a=system.name,
            ),
        }
        for chosen in classes
        for example in chosen.examples
    ]
    st.dataframe(
        pd.DataFrame(rows),
        hide_index=True,
        width="stretch",
        column_config={
            "soft IoU": st.column_config.NumberColumn(format="%.3f"),
            "open": st.column_config.LinkColumn(display_text="Explorer"),
        },
    )
