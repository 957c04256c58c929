"""Home: what is loaded, what is missing, and three things to do next, on one screen."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Final

import cv2
import streamlit as st

from pages.components import address, background, data_bar, set_survey
from pages.components import state_keys as keys
from pages.components.text import plain
from pages.home import sets
from sai_core.annotations import read_annotations
from sai_core.dataset import DataRoot, Recording, demo_root, open_frames
from sai_core.dataset.inventory import MATERIALS, Inventory, next_steps, take_inventory
from sai_core.drawing.colormaps import sequential_lut
from sai_core.drawing.still import busiest_frame, still
from sai_core.files import file_signatures
from sai_core.progress import Progress
from sai_core.taxonomy import CLASS_COLORS, CLASS_NAMES
from sai_core.workspace import KINDS, workspace

_ICONS = {
    "explorer": ":material/visibility:",
    "predict": ":material/network_node:",
    "tune": ":material/tune:",
    "scores": ":material/leaderboard:",
    "review": ":material/rate_review:",
    "figures": ":material/image:",
    "train": ":material/model_training:",
    "label": ":material/graphic_eq:",
    "doctor": ":material/stethoscope:",
}
_SHORTCUTS = """
| where | key | does |
| --- | --- | --- |
| Explorer | ← → | one frame back or forward; ten with Shift |
| Explorer | Space | play, stop |
| Explorer | N, P | next, previous error |
| Explorer | 1 to 6 | one panel large, and back |
| Explorer | + − 0 | zoom in, out, whole panorama |
| Explorer | M | step through the sources |
| Explorer | [ ] L | loop: begin, end, on or off |
| Explorer | S | save the panels as a picture |
| Explorer | ? | this list, in the page |
| Review | the page lists its own | one key per decision, undo, redo |
"""


DATA: Final[str] = "Recordings"
WORKSPACE: Final[str] = "Workspace"
VIEWS: Final[tuple[str, ...]] = (DATA, WORKSPACE)


def main() -> None:
    """Draw the page."""
    if keys.RECORDING in st.query_params:
        # a link to a moment that was made before there was a home page
        address.go("explorer", st.query_params.to_dict(), replace=True)
    left, right = st.columns([3, 2], vertical_alignment="bottom")
    with left:
        st.title("SAI Explorer", anchor=False)
        st.markdown(
            "See, hear and score semantic acoustic imaging: data, official metrics and detectors of DCASE 2026 Task 3."
        )
    with right:
        bar = st.container(horizontal=True, horizontal_alignment="right", vertical_alignment="center")
    root = data_bar.choose_root(bar)
    n_sets = sum(len(workspace().sets(kind)) for kind in KINDS)
    with bar:
        counted = {WORKSPACE: f"{WORKSPACE} ({n_sets})"} if n_sets else {}
        view = address.view(keys.HOME_VIEW, VIEWS, DATA, labels=counted)
    if root is None:
        return
    if view == WORKSPACE:
        sets.show(root)
        return
    inventory = _inventory(root, str(root.path), tuple(s.name for s in root.prediction_sets), len(root.recordings))
    loaded, picture = st.columns([2, 3], gap="medium")
    with loaded:
        _loaded(root, inventory)
    with picture:
        _moment(root)
    st.subheader("Do next", anchor=False)
    for column, step in zip(st.columns(3), next_steps(inventory)[:3], strict=True):
        with column.container(border=True, height="stretch"):
            address.page_link(step.page, f"**{step.title}**", icon=_ICONS[step.page])
            st.caption(plain(step.why))
    with st.expander("Keyboard"):
        st.markdown(_SHORTCUTS)


@st.cache_resource(ttl=60, max_entries=8, show_spinner=False)
def _inventory(_root: DataRoot, path: str, systems: tuple[str, ...], n: int) -> Inventory:
    return take_inventory(_root)


def _loaded(root: DataRoot, inventory: Inventory) -> None:
    if root.path == demo_root():
        st.markdown("**Demo recordings** that ship with the program: simulated, not recorded.")
    else:
        st.markdown(f"**{plain(root.path.name)}**  ·  {plain(root.path)}")
    if not inventory.n_recordings:
        data_bar.say_empty(root)
        return
    count, length, systems = st.columns(3)
    count.metric("Recordings", inventory.n_recordings, border=True)
    known, note = _known_length(root, inventory)
    length.metric("Audio", known, border=True, help=note)
    systems.metric("Systems", len(inventory.systems), border=True)
    lines = []
    unusable = set_survey.unusable(root)
    for kind, words in MATERIALS.items():
        n = inventory.having[kind]
        state = "all" if n == inventory.n_recordings else (f"{n} of {inventory.n_recordings}" if n else "none")
        if broken := unusable.get(kind, 0):
            state += f", :red[{broken} file{'s' * (broken != 1)} cannot be used]"
        mark = ":green[:material/check_circle:]" if n else ":gray[:material/remove:]"
        lines.append(f"| {mark} | {words} | {state} |")
    st.markdown("| | what | recordings |\n| --- | --- | --- |\n" + "\n".join(lines))
    address.page_link("dataset", "All recordings in a table, with statistics", icon=":material/dataset:")
    if inventory.systems:
        names = [f"{plain(name)} ({n}{', stand-in' if made_up else ''})" for name, n, made_up in inventory.systems]
        st.caption("Systems: " + ", ".join(names[:6]) + (" ..." if len(names) > 6 else ""))


def _moment(root: DataRoot) -> None:
    """A moment of the first recording that has labels, as a link into the Explorer."""
    recording = next((r for r in root.recordings if r.has_labels and r.has_video), None)
    recording = recording or next((r for r in root.recordings if r.has_labels), None)
    if recording is None or recording.label_path is None:
        st.info("There are no labels to show a picture of; the Explorer shows what there is.")
        return
    # a label of 270 MB takes its time, and the rest of the page must not wait for it
    path = recording.label_path
    queue = background.queue("home-moment", at_once=1)
    job = queue.submit(
        (recording.name, file_signatures([path, recording.frames_dir or recording.video_path])),
        lambda progress: _still(recording, path, progress),
        title=f"Drawing a moment of {recording.name}",
    )
    job.wait(0.4)
    if not background.ready(job, again=queue, button=""):
        return
    data, frame, classes = job.value
    encoded = base64.b64encode(data).decode("ascii")
    names = ", ".join(CLASS_NAMES[c] for c in classes)
    st.image(f"data:image/jpeg;base64,{encoded}", width="stretch", alt=f"Panorama with energy of {names}")
    # constant text and colours of the program's own, no data
    stops = ", ".join("rgb({},{},{})".format(*sequential_lut()[i]) for i in range(0, 256, 51))
    scale = (
        f'<small>energy 0</small> <span style="display:inline-block;width:7em;height:0.7em;border-radius:2px;'
        f'vertical-align:middle;background:linear-gradient(90deg, {stops})"></span> <small>1</small>'
    )
    dots = (
        f'<span style="color:{CLASS_COLORS[c]}" aria-hidden="true">●</span> <small>{CLASS_NAMES[c]}</small>'
        for c in classes
    )
    st.html(" &nbsp; ".join([*dots, scale]))
    text, link = st.columns([3, 1], vertical_alignment="center")
    simulated = " (simulated)" if recording.is_simulated else ""
    text.caption(f"{plain(recording.name)}{simulated}, {frame / 10:.1f} s: ground truth over the picture")
    with link:
        moment = address.explorer_query(
            root=str(root.path), recording=recording.name, split=recording.split, frame=frame
        )
        address.page_link("explorer", "Open this moment", icon=":material/open_in_full:", query=moment)


def _still(recording: Recording, path: Path, progress: Progress) -> tuple[bytes, int, tuple[int, ...]]:
    """JPEG of the busiest moment, its frame, its classes."""
    table = read_annotations(path, recording=recording.name, progress=progress)
    frame = busiest_frame(table)
    picture = None
    frames = open_frames(recording, size=(720, 360)) if recording.has_video else None
    if frames is not None:
        with frames:
            picture = frames.frame(min(frame, frames.n_frames - 1)) if frames.n_frames else None
    drawn = still(table, frame, picture)
    _, encoded = cv2.imencode(".jpg", drawn[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 90])
    span = table.frame_slice(frame)
    return encoded.tobytes(), frame, tuple(sorted(set(table.category_id[span].tolist())))


def _known_length(root: DataRoot, inventory: Inventory) -> tuple[str, str | None]:
    """Length of all audio as text; of a long list as far as the Dataset page has looked at it, which is said."""
    n_with = sum(r.audio_path is not None for r in root.recordings)
    partly = None if n_with == len(root.recordings) else f"Of the {n_with} recordings with audio."
    if inventory.seconds is not None:
        return _length(inventory.seconds), partly
    seconds = [s.duration_s for s in set_survey.seen(root, start=False).table.sounds if s is not None]
    if not seconds:
        return "–", "Page **Dataset** adds it up."
    if len(seconds) < n_with:
        partly = f"Of {len(seconds)} recordings; page **Dataset** looks at the others."
    return _length(sum(seconds)), partly


def _length(seconds: float) -> str:
    whole = round(seconds)
    if whole < 3600:
        return f"{whole // 60}:{whole % 60:02d} min"
    return f"{whole // 3600}:{whole % 3600 // 60:02d} h"


main()
