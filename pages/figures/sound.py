"""Figures page: what is heard in a video."""

from __future__ import annotations

from pathlib import Path
from typing import Final, Literal

import streamlit as st

from pages.components.text import plain, shown
from sai_core.annotations import read_annotations, read_dcase_csv
from sai_core.dataset import Recording
from sai_core.errors import SaiError
from sai_core.figures.heard import Heard
from sai_core.figures.paper.material import System
from sai_core.files import file_signature
from sai_core.geometry import FRAME_RATE_HZ
from sai_core.listening.job import HeardBeam, Hearing, Mode
from sai_core.listening.lines import towards
from sai_core.listening.sources import Sources, Track, sources_of

Choice = Literal["all", "ears", "direction", "source"]

_WORDS: Final[dict[Choice, str]] = {
    "all": "All channels",
    "ears": "Two ears",
    "direction": "A direction",
    "source": "One source",
}
_MODES: Final[dict[Mode, str]] = {"solo": "Alone", "beam": "Beam", "around": "All but it"}
_BEAMS: Final[dict[HeardBeam, str]] = {
    "max-re": "max-rE",
    "cardioid": "Cardioid",
    "hypercardioid": "Hypercardioid",
    "adaptive": "Adaptive: zeros where other sound comes from",
}


def choose(prefix: str, recording: Recording, system: System) -> Heard | None:
    """Widgets of what is heard; None for the mean of all channels."""
    if recording.audio_path is None:
        return None
    choice: Choice = st.selectbox(
        "Sound", list(_WORDS), format_func=_WORDS.__getitem__, key=f"{prefix}sound", persist_state="session"
    )
    if choice == "all":
        return None
    if choice == "ears":
        yaw = _degrees("Head turned to the left (°)", -180, 180, f"{prefix}yaw")
        return Heard(Hearing(mode="all", binaural=True, yaw_deg=yaw))
    if choice == "direction":
        left, right = st.columns(2)
        with left:
            azimuth = _degrees("Azimuth (°)", -180, 180, f"{prefix}azimuth")
        with right:
            elevation = _degrees("Elevation (°)", -90, 90, f"{prefix}elevation")
        beam: HeardBeam = st.selectbox(
            "Beam", list(_BEAMS), format_func=_BEAMS.__getitem__, key=f"{prefix}beam", persist_state="session"
        )
        return Heard(Hearing(mode="beam", beam=beam), towards(azimuth, elevation))
    return _source(prefix, recording, system)


def _source(prefix: str, recording: Recording, system: System) -> Heard | None:
    """A source of the labels or of the system, followed over its time."""
    tables: dict[str, Path] = {}
    labels = recording.metadata_path or recording.label_path
    if labels is not None:
        tables["Labels"] = labels
    if system.path is not None:
        tables[system.title] = system.path
    found: dict[tuple[str, int, int], tuple[Sources, Track]] = {}
    for name, path in tables.items():
        try:
            there = _sources(str(path), recording.name, file_signature(path))
        except SaiError as error:
            st.warning(plain(error))
            continue
        for track in there.tracks:
            found[name, track.category_id, track.number] = (there, track)
    if not found:
        st.info("Neither labels nor predictions have a source here; all channels are heard.")
        return None

    def line(key: tuple[str, int, int]) -> str:
        track = found[key][1]
        return shown(f"{key[0]}: {track}, {track.start / FRAME_RATE_HZ:.1f} to {track.stop / FRAME_RATE_HZ:.1f} s")

    # in the key, because a source of another recording is none here
    chosen = st.selectbox("Source", list(found), format_func=line, key=f"{prefix}source_{recording.name}")
    mode: Mode = st.segmented_control(
        "Heard", list(_MODES), default="solo", required=True, format_func=_MODES.__getitem__, key=f"{prefix}mode_heard"
    )
    sources, track = found[chosen]
    return Heard(Hearing(mode=mode), track, sources)


def _degrees(label: str, low: int, high: int, key: str) -> float:
    return float(st.number_input(label, low, high, 0, key=key, persist_state="session"))


@st.cache_resource(max_entries=16, show_spinner=False)
def _sources(path: str, name: str, signature: object) -> Sources:
    if path.endswith(".csv"):
        return sources_of(read_dcase_csv(Path(path)))
    return sources_of(read_annotations(Path(path), recording=name))
