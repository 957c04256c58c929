"""Explorer: look at a recording frame by frame, with labels, predictions and sound."""

from __future__ import annotations

from urllib.parse import urlencode
from uuid import uuid4

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from pages.components import address, background, data_bar, predictions, sources, text
from pages.components import state_keys as keys
from pages.components.text import plain
from pages.components.viewer import viewer
from sai_core.dataset import DataRoot, PredictionSet, Recording
from sai_core.errors import SaiError
from sai_core.tuning import raw_set
from sai_core.viewing.recording_view import SYSTEM_KEYS

NO_SYSTEM = "none"
MOST_FURTHER = len(SYSTEM_KEYS) - 2


def main() -> None:
    """Draw the page."""
    bar = st.container(horizontal=True, vertical_alignment="center", gap="small", key="sai_bar")
    root = data_bar.choose_filled_root(bar, acoustic_weights=True)
    if root is None:
        return
    recording, systems = _choose_recording(bar, root)
    if not root.prediction_sets and any(r.array_path is not None for r in root.recordings):
        predictions.offer(root, key="explorer")
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
            reader=str(st.session_state.setdefault(keys.EXPLORER_READER, uuid4().hex)),
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
    if not view.n_frames and view.reading:  # nothing but annotations: there is nothing to look at meanwhile
        jobs = [job for key in view.reading if (job := sources.reading(view, key)) is not None]
        if not jobs:
            st.rerun()
        background.watch(jobs, button="")
        return
    if not view.n_frames:
        st.info(
            f"{plain(recording.name)} has nothing to show: neither labels, predictions, video nor audio could be "
            "opened. Choose another recording, or another folder under **Data**."
        )
        return
    if fault := address.frame_fault(view.n_frames):
        st.warning(plain(fault))
    place = address.shown(keys.ROOT, keys.LABELS, keys.RECORDING, keys.SYSTEM_A, keys.SYSTEM_B, keys.SYSTEMS_MORE)
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
        ("Video", "figures", {keys.FIGURES_VIEW: "Video"}, "A video of this recording"),
        ("Review", "review", {}, "Likely label errors in this recording, nearest to this frame first"),
    ]
    if not recording.has_labels and recording.eigen_path is not None and recording.metadata_path is not None:
        links.append(("Label audio", "label", {}, "Make labels from the 32 channels of this recording"))
    if "A" in systems:
        links.append(("Scores", "scores", {}, "Scores of this system"))
        if (raw := raw_set(systems["A"].folder)) is not None:
            more = {keys.TUNE_RAW: str(raw.folder)}
            links.append(("Tune", "tune", more, "Try settings of this system on its raw detections"))
    return [
        {"title": title, "href": f"./{page}?{urlencode({**moment, **more})}", "help": note}
        for title, page, more, note in links
    ]


def _choose_recording(bar: DeltaGenerator, root: DataRoot) -> tuple[Recording, dict[str, PredictionSet]]:
    few = len(root.recordings) <= sources.LONG_LIST and not sources.much_metadata(root)
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
            format_func=lambda key: _recording_line(by_id[key], root, metadata=few),
            key=keys.RECORDING,
            label_visibility="collapsed",
        )
        first = options[1] if by_name else NO_SYSTEM
        names: dict[str, str] = {}
        for key, widget, default in (("A", keys.SYSTEM_A, first), ("B", keys.SYSTEM_B, NO_SYSTEM)):
            # "no predictions" where there is nothing else is no choice: the first set that appears is shown
            held = widget if by_name else f"{widget}_without"

            def shown(name: str, key: str = key) -> str:
                return f"{key}  ·  {by_name[name].title}" if name in by_name else f"{key}  ·  no predictions"

            gone = str(st.session_state.get(widget, default))
            unknown.append(address.choice(widget, options, default, key=held))
            if gone not in options and same_data and not unknown[-1]:
                unknown.append(gone)
            names[key] = st.selectbox(
                f"Predictions {key}",
                options,
                format_func=shown,
                key=held,
                label_visibility="collapsed",
                width=240,
            )
    more = _more_systems(bar, list(by_name), taken=tuple(names.values()))
    unknown += [name for name in more if name not in by_name]
    names |= dict(zip(SYSTEM_KEYS[2:], more, strict=False))
    for value in filter(None, unknown):
        st.warning(plain(f"'{value}' is not in these data ({root.path}); the first choice is shown instead."))
    systems = {keys.SYSTEM_A: names["A"], keys.SYSTEM_B: names["B"]} if by_name else {}
    address.write({keys.RECORDING: chosen, keys.SYSTEM_A: None, keys.SYSTEM_B: None, **systems})
    address.write({keys.SYSTEMS_MORE: "\n".join(name for name in more if name in by_name) or None})
    return by_id[chosen], {key: by_name[name] for key, name in names.items() if name in by_name}


def _more_systems(bar: DeltaGenerator, options: list[str], *, taken: tuple[str, ...]) -> list[str]:
    """Names of further prediction sets, beside A and B; also those that an address names and that are not there."""
    key, free = keys.SYSTEMS_MORE, [name for name in options if name not in taken]
    asked = address.asked(key)
    if asked is None and not address.navigated() and key not in st.session_state:
        asked = st.session_state.get(keys.REMEMBERED, {}).get(key)
    named = list(st.session_state.get(key, ())) if asked is None and not address.navigated() else None
    named = list(sources.entries(asked or "")) if named is None else named
    gone = [name for name in named if name not in options]
    if not free:
        return gone
    st.session_state[key] = [name for name in named if name in free][:MOST_FURTHER]
    count = len(st.session_state[key])
    title = f"More · {count}" if count else "More"
    with bar, st.popover(title, icon=":material/grid_view:", help="Further predictions, side by side"):
        chosen = st.multiselect(
            "Further predictions",
            free,
            key=key,
            max_selections=MOST_FURTHER,
            format_func=text.shown,
            placeholder="Choose prediction sets",
            help="With three or more sets the player shows all of them as small maps of one frame, each with its own "
            "figures; a click on one shows it alone.",
        )
    return [*chosen, *gone]


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


def _recording_line(recording: Recording, root: DataRoot, *, metadata: bool) -> str:
    """One line of the picker: where, how long, and what there is of it."""
    summary = sources.summary(recording, n_recordings=len(root.recordings), metadata=metadata)
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
    # what there is comes before how much: in a narrow window the end is cut off
    return "   ·   ".join([" / ".join(parts), ", ".join(has), *summary])


main()
