"""Figures page: Fig. 3 of the report for any frame and systems, with a live preview."""

from __future__ import annotations

import streamlit as st

from pages.components import address
from pages.components import state_keys as keys
from pages.components.text import plain
from pages.figures import common
from sai_core.dataset import DataRoot, PredictionSet, Recording
from sai_core.errors import SaiError
from sai_core.figures.paper.material import Material, open_material, system_of_set
from sai_core.figures.paper.panels import (
    NAMES,
    NOTES,
    Layout,
    PanelOptions,
    caption,
    frame_note,
    frame_rows,
    render_frame,
)
from sai_core.figures.paper.style import FigureFormat, PaperStyle
from sai_core.files import file_signatures

_LAYOUT_WORDS: dict[Layout, str] = {"grid": "As in the report", "stacked": "Stacked"}
_NAME_WORDS = {"auto": "where there is room", "panel": "beside outlines", "legend": "in a legend", "none": "nowhere"}
_NOTE_WORDS = {"figure": "under the figure", "caption": "in the caption only"}


def draw(root: DataRoot, recording: Recording, systems: list[PredictionSet], n_frames: int) -> None:
    """Draw this part of the page."""
    left, right = st.columns([1, 2.6], gap="medium")
    with left:
        frame = st.number_input(
            "Frame",
            0,
            max(n_frames - 1, 0),
            step=1,
            key=keys.FIGURES_FRAME,
            help=f"Counted from 0, 100 ms each; this recording has {n_frames}.",
        )
        options = choose_options()
        style = common.choose_style()
    if style is None:
        return
    with right:
        show(root, recording, systems, int(frame), options, style)


def choose_options(prefix: str = keys.FIGURES_PANELS, *, layouts: bool = True) -> PanelOptions:
    """Widgets of what the panels hold."""
    layout: Layout = "grid"
    if layouts:
        layout = common.choose_layout(
            prefix,
            _LAYOUT_WORDS,
            about="One row per system and four columns; or RGB and ground truth once at the top, which suits a single "
            "journal column.",
        )
    min_score = common.choose_min_score(prefix)
    with st.expander("Maps, names, note"):
        mode, scale = common.choose_maps(prefix)
        names = st.selectbox(
            "Class names", NAMES, format_func=_NAME_WORDS.__getitem__, key=f"{prefix}names", persist_state="session"
        )
        note = st.selectbox(
            "Recording, simulated, stand-in",
            NOTES,
            format_func=_NOTE_WORDS.__getitem__,
            key=f"{prefix}note",
            persist_state="session",
            help="Made-up data must be marked as such: in the figure, or in the caption that you print with it.",
        )
        outlines = st.checkbox("Outlines", value=True, key=f"{prefix}outlines", persist_state="session")
        scale_bar = st.checkbox("Scale bar", value=True, key=f"{prefix}scale_bar", persist_state="session")
    return PanelOptions(
        mode=mode,
        scale=scale,
        layout=layout,
        names=names,
        outlines=outlines,
        scale_bar=scale_bar,
        note=note,
        min_score=min_score,
    )


def show(
    root: DataRoot,
    recording: Recording,
    systems: list[PredictionSet],
    frame: int,
    options: PanelOptions,
    style: PaperStyle,
) -> None:
    """Preview, caption and downloads."""
    without = [s.title for s in systems if recording.name not in s.files]

    def opened() -> Material:
        return open_material(recording, [system_of_set(s, recording.name) for s in systems])

    def file(file_format: FigureFormat, style: PaperStyle = style) -> bytes:
        with opened() as material:
            return render_frame(material, frame, file_format, options=options, style=style)

    paths = [recording.label_path, recording.video_path, recording.frames_dir]
    paths += [s.files.get(recording.name) for s in systems]
    seen = common.preview_style(style)
    signature = (recording.split, recording.name, frame, tuple(s.name for s in systems), file_signatures(paths))
    try:
        preview = common.picture(("frame", *signature, repr(options), repr(seen)), lambda: file("png", seen))
        with opened() as material:
            text = caption(
                frame_rows(material, frame, mode=options.mode, min_score=options.min_score),
                options,
                note=frame_note(material, frame, min_score=options.min_score),
                number="Fig. 3",
            )
            problems = material.problems
    except SaiError as error:
        st.error(plain(error))
        return
    for problem in problems:
        st.warning(plain(problem))
    if without:
        st.info(plain(f"No predictions for this recording: {', '.join(without)}."))
    st.image(preview, width=common.preview_width(style))
    line = st.container(horizontal=True, vertical_alignment="center", gap="small")
    with line:
        common.downloads(
            common.safe_name("fig3", recording.name, f"frame{frame}"), file, key=f"{keys.FIGURES_PANELS}download_"
        )
        names = [s.name for s in systems]
        query = address.explorer_query(
            root=str(root.path),
            recording=recording.name,
            split=recording.split,
            frame=frame,
            a=names[0] if names else "",
            b=names[1] if len(names) > 1 else "",
        )
        if st.button("Open in the Explorer", icon=":material/visibility:", type="tertiary"):
            address.go("explorer", query)
    with st.expander("Caption for the paper", expanded=True):
        st.code(text, language=None, wrap_lines=True)
