"""Label audio: 32 channels and DCASE metadata to energy labels, one recording or a whole split, each seen at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pandas as pd
import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from pages.components import address, background, data_bar, roles, sources
from pages.components import state_keys as keys
from pages.components.text import plain
from pages.components.viewer import viewer
from sai_core import permissions
from sai_core.dataset import DataRoot, PredictionSet, Recording
from sai_core.errors import InputError, SaiError
from sai_core.files import user_path
from sai_core.jobs import Job, JobQueue
from sai_core.progress import Progress, no_progress
from sai_core.viewing.recording_view import RecordingView, open_view
from sai_core.workspace import label_facts, workspace

_INTRO = (
    "Energy labels are made from the 32 channels of an Eigenmike em32 and the DCASE metadata of a recording, by the "
    "recipe of the STAIRS26 labels. Your files are only read; the labels are kept as a label set in the workspace, "
    "which every page can use as ground truth."
)
# finished labels that are listed: more than any set has recordings
_KEPT_JOBS = 4000


@dataclass(frozen=True)
class Made:
    """A label that was made: what the page tells of it.

    Attributes
    ----------
    path : Path
    n_annotations, n_frames : int
    dtype : str
    seconds : float
    notes : tuple of str
    """

    path: Path
    n_annotations: int
    n_frames: int
    dtype: str
    seconds: float
    notes: tuple[str, ...]


def _jobs() -> JobQueue:
    """Label of each recording (root, split, name); one after another, since each takes the whole processor."""
    return background.queue("label", at_once=1, keep=_KEPT_JOBS)


def main() -> None:
    """Draw the page."""
    if old := address.asked(keys.LABEL_ROOT):  # links from before the page looked where all others do
        st.session_state[keys.ROOT] = old
    bar = st.container(horizontal=True, vertical_alignment="center", gap="small", key="sai_bar")
    root = data_bar.choose_root(bar)
    if root is None:
        return
    ready = [r for r in root.recordings if r.eigen_path is not None and r.metadata_path is not None]
    if not ready:
        _say_nothing_to_label(root)
        return
    recording = _choose_recording(bar, ready)
    jobs = {id(r): _jobs().find(_key(root, r)) for r in ready}
    job: Job[Made] | None = jobs[id(recording)]
    active = [j for j in jobs.values() if j is not None and j.active]
    if active:
        background.watch(active, title=f"{len(active)} labels to make" if len(active) > 1 else "", button="Cancel")
    if job is None or job.state != "done":
        if job is not None and not job.active:
            st.error(plain(job.error))
        if not active:
            st.caption(_INTRO)
            _form(root, recording, ready)
    else:
        with st.expander("Make this label again with other options, or make more labels"):
            _form(root, recording, ready)
    _list(root, ready, [j for j in jobs.values()])
    if job is not None and job.state == "done":
        _result(recording, job.value)


def _key(root: DataRoot, recording: Recording) -> tuple[str, ...]:
    return str(root.path), recording.split, recording.name


def _say_nothing_to_label(root: DataRoot) -> None:
    n = len(root.recordings)
    st.info(
        f"None of the {n} recordings here has both 32-channel audio (`eigen_dev`) and metadata (`metadata_dev`). Open "
        "a folder with both under **Data**. The demo recordings ship without the 32 channels; two short ones can be "
        "simulated here, or more of them in a terminal (`python -m sai_core simulate --help`)."
    )
    _offer_simulation()


def _offer_simulation() -> None:
    """Recordings to try the page with: simulated in the background, then opened by a click."""
    target = workspace().folder("simulated")
    queue = background.queue("simulate", at_once=1)
    job = queue.find(str(target))
    if job is not None and job.state != "done":
        background.ready(job, again=queue)
        return
    if (target / "manifest.json").is_file():
        st.button(
            "Open the simulated recordings",
            key="label_open_simulated",
            icon=":material/folder_open:",
            type="primary",
            on_click=data_bar.open_root,
            args=(str(target),),
        )
        return

    def work(progress: Progress) -> None:
        # loaded here, not with the page
        from sai_core.simulation.dataset import SimulationOptions, simulate_dataset

        options = SimulationOptions(seed=1, seconds=10.0, labels=False, video_wh=(960, 480))
        simulate_dataset(workspace().ready("simulated"), options, recordings=2, progress=progress)

    if roles.button(
        "Simulate two recordings of 10 s",
        key="label_simulate",
        icon=":material/auto_awesome:",
        help="With 32 and 4 channels, ambisonics, metadata and video, without labels; kept in the workspace.",
    ):
        queue.submit(str(target), work, title="Simulating", reuse="unfailed", needs="make")
        st.rerun()


def _choose_recording(bar: DeltaGenerator, ready: Sequence[Recording]) -> Recording:
    by_id = {f"{r.split}/{r.name}" if r.split else r.name: r for r in ready}
    names = list(by_id)
    # without the metadata's labels at first: that is what one comes for
    address.choice(keys.LABEL_RECORDING, names, names[0])
    with bar:
        name = st.selectbox(
            "Recording",
            names,
            key=keys.LABEL_RECORDING,
            format_func=lambda key: key if by_id[key].has_labels else f"{key}  ·  no label",
            label_visibility="collapsed",
        )
    address.write({keys.LABEL_RECORDING: name})
    return by_id[name]


def _form(root: DataRoot, recording: Recording, ready: Sequence[Recording]) -> None:
    without = [r for r in ready if not r.has_labels]
    same_split = [r for r in ready if r.split == recording.split]
    scopes = {"this recording": [recording]}
    if without and without != [recording]:
        scopes[f"the {len(without)} without a label"] = without
    if len(same_split) > 1:
        scopes[f"all {len(same_split)} of {recording.split or 'this folder'}"] = same_split
    if len(ready) > len(same_split):
        scopes[f"all {len(ready)}"] = list(ready)
    # the form is away while a label is made, and must come back as it was
    with st.container(border=True):
        first = st.container(horizontal=True, gap="medium", vertical_alignment="bottom")
        scope = first.segmented_control(
            "Make labels for", list(scopes), default="this recording", key=keys.LABEL_SCOPE, required=True
        )
        chosen = scopes.get(str(scope), [recording])
        suggested = f"{root.path.name} labels"
        folder = str(st.session_state.get(keys.LABEL_FOLDER, "")).strip()
        name = first.text_input(
            "Name of the set",
            key=keys.LABEL_NAME,
            persist_state="session",
            placeholder=suggested,
            disabled=bool(folder),
            help="The labels are kept in the workspace under this name; every page can use them as ground truth "
            "(**Data**, *Labels*).",
        ).strip()
        options = st.container(horizontal=True, gap="large", vertical_alignment="center")
        fixed = options.checkbox(
            "Without the official code's quirks",
            key=keys.LABEL_FIXED,
            persist_state="session",
            help="Off: agrees with the published labels to the pixel. On: no gap at seam and poles, regions of two "
            "parts are written once, no row of the metadata is lost (docs/labels.md lists all).",
        )
        with_raw = options.checkbox("Also write raw amplitudes", key=keys.LABEL_RAW, persist_state="session")
        replace_older = options.checkbox(
            "Replace older files of this set", key=keys.LABEL_REPLACE, persist_state="session"
        )
        folder = ""
        if permissions.paths_allowed():
            with st.expander("Save elsewhere"):
                folder = st.text_input(
                    "Output folder",
                    key=keys.LABEL_FOLDER,
                    persist_state="session",
                    placeholder="the workspace",
                    help="Outside the data root. The files are <split>/<recording>_std.json in it.",
                ).strip()
        n = len(chosen)
        go = roles.button(
            "Make the label" if n == 1 else f"Make {n} labels",
            type="primary",
            icon=":material/graphic_eq:",
            key="label_go",
        )
    if not go:
        return
    try:
        if folder:
            output_dir = user_path(folder, what="output folder")
        else:
            from sai_core.labelling.job import LabelSettings

            names = [f"{r.split}/{r.name}" if r.split else r.name for r in chosen]
            facts = label_facts(LabelSettings(official_quirks=not fixed), data=root.path, recordings=names)
            if name:
                output_dir = workspace().begin("labels", name, facts, exist_ok=True).folder
            else:
                output_dir = workspace().go_on("labels", suggested, facts).folder
    except SaiError as error:
        st.error(plain(error))
        return
    for labelled in chosen:
        _submit(root, labelled, output_dir, with_raw=with_raw, replace_older=replace_older, quirks=not fixed)
    st.rerun()


def _submit(
    root: DataRoot, recording: Recording, output_dir: Path, *, with_raw: bool, replace_older: bool, quirks: bool
) -> None:
    here = workspace()

    def work(progress: Progress) -> Made:
        # torch is loaded here, not with the page
        from sai_core.labelling.job import LabelSettings, label_recording_of_root

        # nobody renames the set meanwhile, or throws it away
        with here.writing_into(output_dir, part=recording.name):
            report = label_recording_of_root(
                recording,
                root.path,
                output_dir=output_dir,
                with_raw=with_raw,
                replace_older=replace_older,
                settings=LabelSettings(official_quirks=quirks),
                progress=progress,
            )
        labels = report.labels
        return Made(report.out_path, len(labels.table), labels.n_frames, labels.dtype, report.seconds, report.notes)

    _jobs().submit(
        _key(root, recording),
        work,
        title=f"Labelling {recording.name}",
        when_cancelled="Cancelled; no file was written.",
        reuse="active",
        needs="make",
    )


def _list(root: DataRoot, ready: Sequence[Recording], jobs: Sequence[Job[Made] | None]) -> None:
    """What became of each recording, where there is more than one."""
    started = [(r, job) for r, job in zip(ready, jobs, strict=True) if job is not None]
    if len(started) < 2:
        return
    rows = [
        {
            "recording": f"{r.split}/{r.name}" if r.split else r.name,
            "state": {"done": "made", "queued": "waiting"}.get(job.state, job.state),
            "annotations": job.value.n_annotations if job.state == "done" else None,
            "seconds": job.value.seconds if job.state == "done" else None,
            "remarks": job.error or (" ".join(job.value.notes) if job.state == "done" else ""),
        }
        for r, job in started
    ]
    n_failed = sum(job.state == "failed" for _, job in started)
    title = f"{sum(job.state == 'done' for _, job in started)} of {len(started)} labels made"
    with st.expander(title + (f", {n_failed} failed" if n_failed else ""), expanded=bool(n_failed)):
        st.dataframe(
            pd.DataFrame(rows),
            hide_index=True,
            height="content" if len(rows) <= 8 else 300,
            column_config={"seconds": st.column_config.NumberColumn(format="%.1f")},
        )


def _result(recording: Recording, made: Made) -> None:
    """What was made in one line, then the recording with its new label."""
    panel = " · prediction panel: the label of the data root" if recording.label_path else ""
    line = st.container(horizontal=True, vertical_alignment="center", gap="small")
    line.markdown(
        f":green[:material/check_circle:] {made.n_annotations} annotations in {made.n_frames} frames, made in "
        f"{made.seconds:.1f} s in {made.dtype} "
        f"· ground-truth panel: this new label{panel} · *Over video: beamformer* is the map of the 32 channels",
        width="content",
    )
    with line.popover("File and notes", icon=":material/description:"):
        st.code(str(made.path), language=None)
        for note in made.notes:
            st.write(plain(note))
    name = _set_of(made.path)
    if name and st.session_state.get(keys.LABELS) != name:
        line.button(
            "Use this set on all pages",
            icon=":material/rule:",
            type="tertiary",
            key="label_use",
            on_click=data_bar.choose_labels,
            args=(name,),
            help="Every page then shows these labels as ground truth and scores against them; switch back under "
            "**Data**, *Labels*.",
        )
    try:
        viewer(_view(recording, made), key=keys.LABEL_PLAYER)
    except SaiError as error:
        st.error(plain(str(error)))


def _set_of(path: Path) -> str:
    """Name of the workspace's label set that a file is in; "" for a file elsewhere."""
    return next((s.name for s in workspace().sets("labels") if path.is_relative_to(s.folder)), "")


def _view(recording: Recording, made: Made) -> RecordingView:
    """The recording with its new label as ground truth and the 32 channels as the only sound, opened once."""
    if recording.eigen_path is None:
        raise InputError(f"{recording.name}: the 32-channel audio is gone.")
    # without the 4-channel files every acoustic layer comes from the 32 channels
    shown = replace(recording, label_path=made.path, mic_path=None, foa_path=None)
    systems: dict[str, PredictionSet] = {}
    if recording.label_path is not None and recording.label_path != made.path:
        name = "label of the data root"
        systems["A"] = PredictionSet(name, recording.label_path.parent, {recording.name: recording.label_path})
    return sources.view_of(
        ("label", str(made.path), made.seconds),
        lambda: open_view(shown, systems, cache=sources.block_cache(), progress=no_progress),
    )


main()
