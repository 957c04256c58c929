"""Explorer: look at a recording frame by frame, with labels, predictions and sound."""

from __future__ import annotations

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from pages.components import address, sources
from pages.components import state_keys as keys
from pages.components.entry import through_app
from pages.components.text import plain
from pages.components.viewer import viewer
from sai_core.dataset import DataRoot, PredictionSet, Recording, demo_root
from sai_core.errors import SaiError
from sai_core.figures.recording_view import is_simulated, system_title

NO_SYSTEM = "none"


def main() -> None:
    """Draw the page."""
    bar = st.container(horizontal=True, vertical_alignment="center", gap="small", key="sai_bar")
    root = _choose_root(bar)
    if root is None:
        return
    if not root.recordings:
        st.info(
            f"{plain(root.path)} holds no recording. Expected are folders such as "
            "`labels_dev/<split>/<recording>_std.json`, `mic_dev/<split>/<recording>.wav` and "
            "`video_dev/<split>/<recording>.mp4`; any of them is enough. Choose another folder under **Data**."
        )
        _say_problems(root.problems)
        return
    recording, systems = _choose_recording(bar, root)
    slot = st.empty()

    def progress(fraction: float, message: str) -> None:
        slot.progress(min(max(fraction, 0.0), 1.0), message)

    try:
        view = sources.recording_view(
            root,
            recording.name,
            recording.split,
            systems,
            lam32_weights=str(st.session_state.get(keys.LAM32_WEIGHTS, "")).strip(),
            progress=progress,
        )
    except SaiError as error:
        st.error(plain(error))
        return
    finally:
        slot.empty()
    for problem in view.problems:
        st.error(plain(problem))
    if not view.n_frames:
        st.info(
            f"{plain(recording.name)} has nothing to show: neither labels, predictions, video nor audio could be "
            "opened. Choose another recording, or another folder under **Data**."
        )
        return
    viewer(view)


def _choose_root(bar: DeltaGenerator) -> DataRoot | None:
    """Data folder and a folder of predictions anywhere; both in the address."""
    demo = str(demo_root())
    with bar.popover("Data", icon=":material/folder_open:"):
        path = st.text_input(
            "Data root",
            value=demo,
            key=keys.ROOT,
            bind="query-params",
            help="A folder in the official layout: labels_dev, mic_dev, video_dev ... Any part of it is enough.",
        )
        extra = st.text_input(
            "More predictions",
            key=keys.PREDICTION_FOLDER,
            bind="query-params",
            placeholder="folder or file, anywhere",
            help="Prediction files outside of the data root: <recording>.json or <recording>_inference.json.",
        )
        st.text_input(
            "UpLAM weights",
            key=keys.UPLAM_WEIGHTS,
            bind="query-params",
            placeholder="those that ship with the program",
            help="For the acoustic map over the video: the official UpLAM.pth or a file trained here.",
        )
        st.text_input(
            "LAM-32 weights",
            key=keys.LAM32_WEIGHTS,
            bind="query-params",
            placeholder="lam_32_ch.pth",
            help="For the acoustic map of 32-channel recordings (eigen_dev).",
        )
        st.caption("Files are only read, never changed.")
    path, extra = path.strip() or demo, extra.strip()
    try:
        return sources.data_root(path, extra)
    except SaiError as error:
        st.error(plain(error))
        if path == demo:
            st.info("The demo recordings are missing from this copy of the program; choose a folder under **Data**.")
        else:
            st.info("Correct the path under **Data**; an empty *Data root* opens the demo recordings.")
    return None


def _choose_recording(bar: DeltaGenerator, root: DataRoot) -> tuple[Recording, dict[str, PredictionSet]]:
    by_id = {f"{r.split}/{r.name}" if r.split else r.name: r for r in root.recordings}
    by_name = {s.name: s for s in root.prediction_sets}
    recording_ids, options = list(by_id), [NO_SYSTEM, *by_name]
    unknown: list[str] = []

    def start(name: str, choices: list[str], default: str) -> int:
        value, missing = address.choice(name, choices, default)
        if missing and name not in st.session_state:
            unknown.append(missing)
        return choices.index(value)

    with bar:
        chosen = st.selectbox(
            "Recording",
            recording_ids,
            index=start(keys.RECORDING, recording_ids, recording_ids[0]),
            format_func=lambda key: _recording_line(by_id[key], root),
            key=keys.RECORDING,
            label_visibility="collapsed",
        )
        first = options[1] if by_name else NO_SYSTEM
        names: dict[str, str] = {}
        for key, widget, default in (("A", keys.SYSTEM_A, first), ("B", keys.SYSTEM_B, NO_SYSTEM)):

            def shown(name: str, key: str = key) -> str:
                return f"{key}  ·  {system_title(by_name[name])}" if name in by_name else f"{key}  ·  no predictions"

            names[key] = st.selectbox(
                f"Predictions {key}",
                options,
                index=start(widget, options, default),
                format_func=shown,
                key=widget,
                label_visibility="collapsed",
                width=240,
            )
        if root.problems:
            with st.popover(str(len(root.problems)), icon=":material/warning:", help="Files that were left out"):
                _say_problems(root.problems)
    for value in unknown:
        st.warning(plain(f"The link names '{value}', which is not in {root.path}; the first choice is shown instead."))
    address.write({keys.RECORDING: chosen, keys.SYSTEM_A: names["A"], keys.SYSTEM_B: names["B"]})
    return by_id[chosen], {key: by_name[name] for key, name in names.items() if name in by_name}


def _recording_line(recording: Recording, root: DataRoot) -> str:
    """One line of the picker: where, how long, and what there is of it."""
    summary = sources.summary(recording, n_recordings=len(root.recordings))
    parts = [part for part in (recording.split, recording.name) if part]
    has = [
        word
        for word, there in (
            ("labels", recording.has_labels),
            ("video", recording.has_video),
            ("audio", recording.has_audio),
        )
        if there
    ]
    n_sets = sum(recording.name in s.files for s in root.prediction_sets)
    if n_sets:
        has.insert(1 if recording.has_labels else 0, f"{n_sets} prediction{'s' if n_sets > 1 else ''}")
    if is_simulated(recording):
        has.append("simulated")
    return "   ·   ".join([" / ".join(parts), *summary, ", ".join(has)])


def _say_problems(problems: tuple[str, ...]) -> None:
    for problem in problems[:20]:
        st.warning(plain(problem))
    if len(problems) > 20:
        st.caption(f"... and {len(problems) - 20} more.")


through_app()
main()
