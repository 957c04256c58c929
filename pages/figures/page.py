"""Figures: Fig. 3 for any frame, galleries by class, curves, and videos, as files for papers and talks."""

from __future__ import annotations

from typing import Final

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from pages.components import address, data_bar
from pages.components import state_keys as keys
from pages.components.text import plain
from pages.figures import common, curves, frame_figure, gallery, video
from sai_core.dataset import DataRoot, PredictionSet, Recording
from sai_core.errors import SaiError
from sai_core.figures.paper.material import open_material, system_of_set
from sai_core.files import file_signatures

FIGURE_3: Final[str] = "Fig. 3"
GALLERY: Final[str] = "Gallery"
CURVES: Final[str] = "Curves"
VIDEO: Final[str] = "Video"
VIEWS: Final[tuple[str, ...]] = (FIGURE_3, GALLERY, CURVES, VIDEO)
NO_SYSTEM: Final[str] = "none"


def main() -> None:
    """Draw the page."""
    bar = st.container(horizontal=True, vertical_alignment="center", gap="small", key="sai_bar")
    root = data_bar.choose_filled_root(bar)
    if root is None:
        return
    with bar:
        view = address.view(keys.FIGURES_VIEW, VIEWS, FIGURE_3)
    if view == GALLERY:
        gallery.draw(root)
        return
    if view == CURVES:
        curves.draw(root)
        return
    recording, systems = _choose_moment(bar, root)
    extent = _extent(recording, systems)
    if extent is None:
        return
    n_frames, liveliest = extent
    if not n_frames:
        st.info(
            f"{plain(recording.name)} has nothing to draw: neither labels, predictions, video nor audio could be "
            "opened. Choose another recording, or another folder under **Data**."
        )
        return
    frame = int(st.session_state.get(keys.FIGURES_FRAME, liveliest))
    st.session_state[keys.FIGURES_FRAME] = min(max(frame, 0), n_frames - 1)
    if view == VIDEO:
        video.draw(root, recording, systems, n_frames)
    else:
        frame_figure.draw(root, recording, systems, n_frames)
    _write_address(recording, systems)


def _choose_moment(bar: DeltaGenerator, root: DataRoot) -> tuple[Recording, list[PredictionSet]]:
    """Recording and systems; a link's moment is taken over once."""
    recordings, sets = common.recording_ids(root), common.sets_of(root)
    _follow_link(recordings, sets)
    ids = list(recordings)
    if st.session_state.get(keys.FIGURES_RECORDING) not in recordings:
        address.choice(keys.RECORDING, ids, ids[0], key=keys.FIGURES_RECORDING)
    chosen_sets = [name for name in st.session_state.get(keys.FIGURES_SYSTEMS, list(sets)[:2]) if name in sets]
    st.session_state[keys.FIGURES_SYSTEMS] = chosen_sets
    with bar:
        chosen = st.selectbox(
            "Recording",
            ids,
            format_func=lambda key: common.recording_line(recordings[key], len(ids)),
            key=keys.FIGURES_RECORDING,
            persist_state="session",
            label_visibility="collapsed",
        )
        names = st.multiselect(
            "Systems",
            list(sets),
            format_func=lambda name: sets[name].title,
            key=keys.FIGURES_SYSTEMS,
            persist_state="session",
            label_visibility="collapsed",
            placeholder="systems, one row each" if sets else "no predictions",
            max_selections=6,
            width=360,
        )
    return recordings[chosen], [sets[name] for name in names]


def _follow_link(recordings: dict[str, Recording], sets: dict[str, PredictionSet]) -> None:
    """Take over the moment in the address: somebody followed a link, or went back."""
    names = (keys.RECORDING, keys.FRAME, keys.SYSTEM_A, keys.SYSTEM_B)
    link = {name: value for name in names if (value := address.asked(name)) is not None}
    recording = link.get(keys.RECORDING)
    if recording is not None and recording not in recordings:
        st.warning(
            plain(f"The link names '{recording}', which is not in this data root; another one is shown instead.")
        )
    elif recording is not None:
        st.session_state[keys.FIGURES_RECORDING] = recording
    if keys.FRAME in link:
        st.session_state[keys.FIGURES_FRAME] = address.frame()
    named = [link[key] for key in (keys.SYSTEM_A, keys.SYSTEM_B) if link.get(key, NO_SYSTEM) != NO_SYSTEM]
    systems = [name for name in named if name in sets]
    for name in named:
        if name not in sets:
            st.warning(plain(f"The link names the system '{name}', which is not among these predictions; left out."))
    if systems:
        st.session_state[keys.FIGURES_SYSTEMS] = list(dict.fromkeys(systems))


def _write_address(recording: Recording, systems: list[PredictionSet]) -> None:
    """Make the address a link to what is shown, in the Explorer's words."""
    shown = [system.name for system in systems[:2]] + [NO_SYSTEM] * (2 - len(systems[:2]))
    values = {
        keys.RECORDING: f"{recording.split}/{recording.name}" if recording.split else recording.name,
        keys.FRAME: str(st.session_state[keys.FIGURES_FRAME]),
        keys.SYSTEM_A: shown[0],
        keys.SYSTEM_B: shown[1],
    }
    address.write(values)


def _extent(recording: Recording, systems: list[PredictionSet]) -> tuple[int, int] | None:
    """Frames of a recording, and the one with most to see; None when a file cannot be read, which has been told."""
    paths = [recording.label_path, recording.audio_path, recording.video_path, recording.frames_dir]
    paths += [system.files.get(recording.name) for system in systems]
    slot = st.empty()

    def progress(fraction: float, message: str) -> None:
        slot.progress(min(max(fraction, 0.0), 1.0), plain(message))

    try:
        lengths = _extents()
        key = file_signatures(paths)
        if key not in lengths:
            with open_material(recording, [system_of_set(s, recording.name) for s in systems], progress=progress) as m:
                lengths[key] = (m.n_frames, m.liveliest_frame)
            while len(lengths) > 256:
                lengths.pop(next(iter(lengths)), None)
        return lengths[key]
    except SaiError as error:
        st.error(plain(error))
        return None
    finally:
        slot.empty()


@st.cache_resource(show_spinner=False)
def _extents() -> dict[tuple[object, ...], tuple[int, int]]:
    """Extents of opened recordings by the stamps of their files."""
    return {}


main()
