"""What the parts of the Figures page share: the look, background work, downloads, folders to write to."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Final, Literal, TypeVar, get_args

import streamlit as st

from pages.components import background, sources
from pages.components import state_keys as keys
from pages.components.text import plain
from sai_core.dataset import DataRoot, PredictionSet, Recording
from sai_core.dataset.outputs import check_output
from sai_core.drawing.colormaps import SEQUENTIAL
from sai_core.drawing.maps import MapMode
from sai_core.errors import InputError, SaiError
from sai_core.figures.paper.panels import SCALES, Scale
from sai_core.figures.paper.style import (
    FORMATS,
    MIME,
    ONE_COLUMN_MM,
    THEMES,
    TWO_COLUMN_MM,
    FigureFormat,
    PaperStyle,
    suggested_fonts,
)
from sai_core.files import resolved
from sai_core.jobs import JobQueue

L = TypeVar("L", bound=str)

_PREVIEW_PX: Final[int] = 1280
"""Pixels across a preview, somewhat more than the page shows of it."""

_WIDTHS: Final[dict[str, float]] = {"One column": ONE_COLUMN_MM, "Two columns": TWO_COLUMN_MM, "Other": 0.0}


def workshop() -> JobQueue:
    """Background work of the page by what it depends on; one at a time."""
    return background.queue("figures", at_once=1, keep=24)


@st.cache_resource(show_spinner=False)
def fonts() -> list[str]:
    """Families to offer; looking for them takes a moment on some machines."""
    return suggested_fonts()


@st.cache_resource(max_entries=64, show_spinner=False)
def picture(signature: tuple[Any, ...], _draw: Callable[[], bytes]) -> bytes:
    """Drawn preview, kept by everything that it depends on."""
    return _draw()


def preview_style(style: PaperStyle) -> PaperStyle:
    """The same look at the resolution of the page."""
    return replace(style, dpi=int(min(max(_PREVIEW_PX / style.width_mm * 25.4, 72), 400)))


def preview_width(style: PaperStyle) -> int | Literal["stretch"]:
    """Width on the page: narrow figures stay narrower than wide ones, so that their type does not look huge."""
    return "stretch" if style.width_mm > 120 else 700


def choose_layout(prefix: str, words: Mapping[L, str], *, about: str | None = None) -> L:
    """Widget of how panels are put together; the first is the default."""
    return st.segmented_control(
        "Layout",
        list(words),
        default=next(iter(words)),
        required=True,
        format_func=words.__getitem__,
        key=f"{prefix}layout",
        persist_state="session",
        help=about,
    )


def choose_maps(prefix: str) -> tuple[MapMode, Scale]:
    """Widgets of how energies become maps and colours."""
    mode: MapMode = st.selectbox(
        "Maps",
        get_args(MapMode),
        key=f"{prefix}mode",
        persist_state="session",
        help="full: one degree a pixel; official: what the evaluator of 2026-06-30 scores; points: stored points.",
    )
    scale: Scale = st.selectbox(
        "Energy scale",
        SCALES,
        format_func={"fixed": "0 to 1", "per-map": "each map's peak"}.__getitem__,
        key=f"{prefix}scale",
        persist_state="session",
        help="The fixed scale keeps amplitudes comparable between maps and systems.",
    )
    return mode, scale


def choose_colormap(prefix: str) -> str:
    """Widget of the colours of the energy."""
    return st.selectbox(
        "Colours",
        SEQUENTIAL,
        key=f"{prefix}colormap",
        persist_state="session",
        help="Colours of the energy; all are perceptually uniform.",
    )


def choose_min_score(prefix: str) -> float:
    """Widget of the lowest score of a prediction that is drawn."""
    score: float = st.slider(
        "Predictions from a score of",
        0.0,
        1.0,
        0.0,
        0.05,
        key=f"{prefix}min_score",
        persist_state="session",
        help="Weaker predictions are left out, and the figure's note says so. A submission keeps many of them: they "
        "cost little average precision, but clutter a figure.",
    )
    return score


def choose_style(*, panels: bool = True) -> PaperStyle | None:
    """Widgets of the look; None when a value is refused, which has been told."""
    prefix = keys.FIGURES_STYLE
    width = st.segmented_control(
        "Width",
        list(_WIDTHS),
        default="Two columns" if panels else "One column",
        required=True,
        key=f"{prefix}width{'' if panels else '_curves'}",
        persist_state="session",
        help=f"One column is {ONE_COLUMN_MM:g} mm, two are {TWO_COLUMN_MM:g} mm. Files are made in exactly this size: "
        "place them without scaling, so that the type keeps its size.",
    )
    width_mm = _WIDTHS[str(width)]
    if not width_mm:
        width_mm = st.number_input(
            "Width in mm", 40.0, 500.0, 120.0, 1.0, key=f"{prefix}width_mm", persist_state="session"
        )
    left, right = st.columns([2, 1])
    font = left.selectbox("Font", fonts(), key=f"{prefix}font", persist_state="session", help="Embedded in PDF files.")
    size = right.number_input(
        "Size in pt", 4.0, 20.0, 7.0, 0.5, format="%.1f", key=f"{prefix}size", persist_state="session"
    )
    left, middle, right = st.columns(3)
    theme = left.selectbox(
        "Page", THEMES, key=f"{prefix}theme", persist_state="session", help="White for print, dark for slides."
    )
    colormap = SEQUENTIAL[0]
    if panels:
        with middle:
            colormap = choose_colormap(prefix)
    dpi = right.number_input(
        "PNG dpi", 72, 1200, 300, 50, key=f"{prefix}dpi", persist_state="session", help="Journals ask for 300 or more."
    )
    try:
        return PaperStyle(
            width_mm=float(width_mm),
            font=str(font),
            font_size_pt=float(size),
            dpi=int(dpi),
            theme=theme,
            colormap=str(colormap),
        )
    except SaiError as error:
        st.error(plain(error))
        return None


def downloads(name: str, draw: Callable[[FigureFormat], bytes], *, key: str) -> None:
    """Buttons for the three formats; a file is drawn when its button is pressed."""
    with st.container(horizontal=True, gap="small"):
        for file_format in FORMATS:
            label = file_format.upper()
            st.download_button(
                label,
                data=_Later(draw, file_format),
                file_name=f"{name}.{file_format}",
                mime=MIME[file_format],
                key=f"{key}{file_format}",
                icon=":material/download:",
                on_click="ignore",
                type="primary" if file_format == "pdf" else "secondary",
                help={
                    "pdf": "Vector text and outlines, fonts embedded (TrueType)",
                    "svg": "Vectors, text as outlines",
                    "png": "Pixels, at the chosen resolution",
                }[file_format],
            )


class _Later:
    """A file that is drawn when it is asked for."""

    def __init__(self, draw: Callable[[FigureFormat], bytes], file_format: FigureFormat) -> None:
        self._draw, self._format = draw, file_format

    def __call__(self) -> bytes:
        return self._draw(self._format)


def output_file(text: str, name: str, root: DataRoot) -> Path | None:
    """File in a folder that the user typed; None when the field is empty.

    Raises
    ------
    InputError
        A folder inside the data root, or a file that is there already.
    """
    if not text.strip():
        return None
    folder = resolved(check_output(text, root=root, folder=True))
    if folder.is_relative_to(root.path):
        raise InputError(f"{folder}: lies inside the data root; choose a folder outside {root.path}.")
    if folder.exists() and not folder.is_dir():
        raise InputError(f"{folder}: is a file; give a folder.")
    path = folder / name
    if path.exists():
        raise InputError(f"{path}: exists already; choose another folder, or remove it.")
    return path


def recording_ids(root: DataRoot) -> dict[str, Recording]:
    """Recordings by what the address calls them."""
    return {f"{r.split}/{r.name}" if r.split else r.name: r for r in root.recordings}


def recording_line(recording: Recording, n_recordings: int) -> str:
    """One line of a picker."""
    parts = [" / ".join(part for part in (recording.split, recording.name) if part)]
    parts += sources.summary(recording, n_recordings=n_recordings)
    if recording.is_simulated:
        parts.append("simulated")
    return "   ·   ".join(parts)


def sets_of(root: DataRoot) -> dict[str, PredictionSet]:
    """Prediction sets by name."""
    return {chosen.name: chosen for chosen in root.prediction_sets}


def safe_name(*parts: object) -> str:
    """File name of parts that may hold anything."""
    text = "_".join(str(part) for part in parts if str(part))
    cleaned = "".join(c if c.isalnum() or c in "-_." else "_" for c in text).strip("._")
    return os.fspath(cleaned[:120] or "figure")
