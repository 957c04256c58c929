"""Label audio: STAIRS26 energy labels from a 32-channel recording and its DCASE metadata, and a look at the result."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import streamlit as st

from pages.components import address, background, sources
from pages.components import state_keys as keys
from pages.components.text import plain
from pages.components.viewer import viewer
from sai_core.dataset import DataRoot, PredictionSet, Recording, demo_root, open_data_root
from sai_core.errors import InputError, SaiError
from sai_core.files import user_path
from sai_core.jobs import Job, JobQueue
from sai_core.progress import Progress, no_progress
from sai_core.viewing.recording_view import RecordingView, open_view

if TYPE_CHECKING:
    from sai_core.labelling.job import LabelReport

_INTRO = (
    "Energy labels are made from the 32 channels of an Eigenmike em32 and the DCASE metadata of the recording, by the "
    "recipe of the STAIRS26 labels. Your files are only read; the label goes to a folder of your choice."
)


def _jobs() -> JobQueue:
    """Label of each recording (root, split, name); one after another, since each takes the whole processor."""
    return background.queue("label", at_once=1)


def main() -> None:
    """Draw the page."""
    chosen = _choose_recording()
    if chosen is None:
        return
    root, recording = chosen
    key = (str(root.path), recording.split, recording.name)
    job: Job[LabelReport] | None = _jobs().find(key)
    if job is None or not background.ready(job):
        if job is None or not job.active:
            st.caption(_INTRO)
            _form(root, recording, key)
        return
    with st.expander("Make this label again, with other options"):
        _form(root, recording, key)
    _result(recording, job.value)


def _choose_recording() -> tuple[DataRoot, Recording] | None:
    left, right = st.columns([3, 2], vertical_alignment="bottom")
    with left:
        path = address.text_field(
            "Data root",
            name=keys.LABEL_ROOT,
            default=str(demo_root()),
            help="A folder with eigen_dev/<split>/<recording>.wav and metadata_dev/<split>/<recording>.csv.",
        ).strip()
    try:
        root = open_data_root(path)
    except SaiError as error:
        st.error(plain(str(error)))
        return None
    ready = [r for r in root.recordings if r.eigen_path is not None and r.metadata_path is not None]
    if not ready:
        st.info(
            "This folder has no recording with both 32-channel audio (`eigen_dev`) and metadata (`metadata_dev`). "
            "The demo recordings ship without the 32 channels; make some with "
            "`python -m sai_core simulate --out data/sim --recordings 2 --seconds 20 --seed 1` and open `data/sim`."
        )
        return None
    by_id = {f"{r.split}/{r.name}" if r.split else r.name: r for r in ready}
    name = right.selectbox("Recording", list(by_id), key=keys.LABEL_RECORDING)
    return root, by_id[name]


def _form(root: DataRoot, recording: Recording, key: tuple[str, ...]) -> None:
    # the form is away while a label is made, and must come back as it was
    with st.form("label", border=True):
        folder = st.text_input(
            "Output folder",
            value=str(Path.home() / "sai-labels"),
            key=keys.LABEL_FOLDER,
            persist_state="session",
            help="Outside of the data root. The file is <split>/<recording>_std.json in it.",
        )
        options = st.container(horizontal=True, gap="large")
        fixed = options.checkbox(
            "Without the official code's quirks",
            key=keys.LABEL_FIXED,
            persist_state="session",
            help="Off: agrees with the published labels to the pixel. On: no gap at seam and poles, regions of two "
            "parts are written once, no row of the metadata is lost (docs/labels.md lists all).",
        )
        with_raw = options.checkbox("Also write raw amplitudes", key=keys.LABEL_RAW, persist_state="session")
        replace_older = options.checkbox(
            "Replace an older file of this folder", key=keys.LABEL_REPLACE, persist_state="session"
        )
        go = st.form_submit_button("Make the label", type="primary", icon=":material/graphic_eq:")
    if not go:
        return
    if not folder.strip():
        st.error("Give an output folder, outside of the data root.")
        return
    try:
        output_dir = user_path(folder, what="output folder")
    except SaiError as error:
        st.error(plain(error))
        return

    def work(progress: Progress) -> LabelReport:
        # torch is loaded here, not with the page
        from sai_core.labelling.job import LabelSettings, label_recording_of_root

        return label_recording_of_root(
            recording,
            root.path,
            output_dir=output_dir,
            with_raw=with_raw,
            replace_older=replace_older,
            settings=LabelSettings(official_quirks=not fixed),
            progress=progress,
        )

    title = f"Labelling {recording.name}"
    _jobs().submit(key, work, title=title, when_cancelled="Cancelled; no file was written.", reuse="active")
    st.rerun()


def _result(recording: Recording, report: LabelReport) -> None:
    """What was made in one line, then the recording with its new label."""
    n, frames = len(report.labels.table), report.labels.n_frames
    other = " · prediction panel: the label of the data root" if recording.label_path else ""
    line = st.container(horizontal=True, vertical_alignment="center", gap="small")
    line.markdown(
        f":green[:material/check_circle:] {n} annotations in {frames} frames, made in {report.seconds:.1f} s "
        f"in {report.labels.dtype} "
        f"· ground-truth panel: this new label{other} · *Over video: beamformer* is the map of the 32 channels",
        width="content",
    )
    with line.popover("File and notes", icon=":material/description:"):
        st.code(str(report.out_path), language=None)
        for note in report.notes:
            st.write(plain(note))
    try:
        viewer(_view(recording, report), key=keys.LABEL_PLAYER)
    except SaiError as error:
        st.error(plain(str(error)))


def _view(recording: Recording, report: LabelReport) -> RecordingView:
    """The recording with its new label as ground truth and the 32 channels as the only sound, opened once."""
    if recording.eigen_path is None:
        raise InputError(f"{recording.name}: the 32-channel recording is gone.")
    # without the 4-channel files every acoustic layer comes from the 32 channels
    shown = replace(recording, label_path=report.out_path, mic_path=None, foa_path=None)
    systems: dict[str, PredictionSet] = {}
    if recording.label_path is not None:
        name = "label of the data root"
        systems["A"] = PredictionSet(name, recording.label_path.parent, {recording.name: recording.label_path})
    return sources.view_of(
        ("label", str(report.out_path), report.seconds),
        lambda: open_view(shown, systems, cache=sources.block_cache(), progress=no_progress),
    )


main()
