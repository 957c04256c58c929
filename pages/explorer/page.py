"""Explorer: look at a recording frame by frame, with labels, predictions and sound."""

from __future__ import annotations

from urllib.parse import urlencode

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from pages.components import address, data_bar, sources
from pages.components import state_keys as keys
from pages.components.text import plain
from pages.components.viewer import viewer
from sai_core.dataset import DataRoot, PredictionSet, Recording
from sai_core.errors import SaiError
from sai_core.tuning import raw_set

NO_SYSTEM = "none"


def main() -> None:
    """Draw the page."""
    bar = st.container(horizontal=True, vertical_alignment="center", gap="small", key="sai_bar")
    root = data_bar.choose_filled_root(bar, acoustic_weights=True)
    if root is None:
        return
    recording, systems = _choose_recording(bar, root)
    slot = st.empty()

    def progress(fraction: float, message: str) -> None:
        slot.progress(min(max(fraction, 0.0), 1.0), plain(message))

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
    for note in view.notes:
        st.warning(plain(note))
    if not view.n_frames:
        st.info(
            f"{plain(recording.name)} has nothing to show: neither labels, predictions, video nor audio could be "
            "opened. Choose another recording, or another folder under **Data**."
        )
        return
    place = address.shown(keys.ROOT, keys.LABELS, keys.RECORDING, keys.SYSTEM_A, keys.SYSTEM_B)
    viewer(view, place=place, links=_onward(root, recording, systems))


def _onward(root: DataRoot, recording: Recording, systems: dict[str, PredictionSet]) -> list[dict[str, str]]:
    """What one does next with a moment, as links that carry recording, frame and systems along."""
    moment = address.explorer_query(
        root=str(root.path),
        recording=recording.name,
        split=recording.split,
        a=systems["A"].name if "A" in systems else "",
        b=systems["B"].name if "B" in systems else "",
    )
    links = [
        ("Figure", "figures", {keys.FIGURES_VIEW: "Fig. 3"}, "This frame as a figure for a paper"),
        ("Video", "figures", {keys.FIGURES_VIEW: "Video"}, "A film from this recording"),
        ("Review", "review", {}, "Likely label errors of this recording, those near this frame first"),
    ]
    if "A" in systems:
        links.append(("Scores", "scores", {}, "Scores of this system"))
        if (raw := raw_set(systems["A"].folder)) is not None:
            more = {keys.TUNE_RAW: str(raw.folder)}
            links.append(("Tune", "tune", more, "Settings of this system, tried on its raw detections"))
    return [
        {"title": title, "href": f"./{page}?{urlencode({**moment, **more})}", "help": text}
        for title, page, more, text in links
    ]


def _choose_recording(bar: DeltaGenerator, root: DataRoot) -> tuple[Recording, dict[str, PredictionSet]]:
    by_id = {f"{r.split}/{r.name}" if r.split else r.name: r for r in root.recordings}
    by_name = {s.name: s for s in root.prediction_sets}
    recording_ids, options = list(by_id), [NO_SYSTEM, *by_name]
    unknown = [address.choice(keys.RECORDING, recording_ids, recording_ids[0])]
    same_data = st.session_state.get(keys.EXPLORER_ROOT) == str(root.path)
    st.session_state[keys.EXPLORER_ROOT] = str(root.path)
    with bar:
        _step(recording_ids, -1, "Previous recording", "chevron_left")
        _step(recording_ids, 1, "Next recording", "chevron_right")
        chosen = st.selectbox(
            "Recording",
            recording_ids,
            format_func=lambda key: _recording_line(by_id[key], root),
            key=keys.RECORDING,
            label_visibility="collapsed",
        )
        first = options[1] if by_name else NO_SYSTEM
        names: dict[str, str] = {}
        for key, widget, default in (("A", keys.SYSTEM_A, first), ("B", keys.SYSTEM_B, NO_SYSTEM)):

            def shown(name: str, key: str = key) -> str:
                return f"{key}  ·  {by_name[name].title}" if name in by_name else f"{key}  ·  no predictions"

            gone = str(st.session_state.get(widget, default))
            unknown.append(address.choice(widget, options, default))
            if gone not in options and same_data and not unknown[-1]:
                unknown.append(gone)
            names[key] = st.selectbox(
                f"Predictions {key}",
                options,
                format_func=shown,
                key=widget,
                label_visibility="collapsed",
                width=240,
            )
    for value in filter(None, unknown):
        st.warning(plain(f"'{value}' is not among these data ({root.path}); the first choice is shown instead."))
    address.write({keys.RECORDING: chosen, keys.SYSTEM_A: names["A"], keys.SYSTEM_B: names["B"]})
    return by_id[chosen], {key: by_name[name] for key, name in names.items() if name in by_name}


def _step(recordings: list[str], by: int, what: str, icon: str) -> None:
    """Button to the neighbour of the recording that is chosen."""
    at = recordings.index(st.session_state[keys.RECORDING]) + by

    def go() -> None:
        st.session_state[keys.RECORDING] = recordings[at]

    there = 0 <= at < len(recordings)
    st.button(
        "",
        key=f"explorer_step_{by}",
        icon=f":material/{icon}:",
        type="tertiary",
        help=f"{what}: {plain(recordings[at])}" if there else f"{what}: there is none",
        disabled=not there,
        on_click=go,
    )


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
    if recording.is_simulated:
        has.append("simulated")
    return "   ·   ".join([" / ".join(parts), *summary, ", ".join(has)])


main()
