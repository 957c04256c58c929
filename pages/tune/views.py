"""What the tuning page shows beside the settings; one function for each view."""

from __future__ import annotations

import base64
import html
import re
from collections.abc import Callable, Hashable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, cast

import cv2
import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from pages.components import address, background, plotting, roles
from pages.components import state_keys as keys
from pages.components.text import plain, shown
from pages.tune import charts, jobs, sliders, tables
from sai_core.dataset import DataRoot, Recording, open_frames
from sai_core.errors import InputError, SaiError
from sai_core.files import FileSignature, file_signature, file_signatures
from sai_core.fusion import FusionSearch, search_weights
from sai_core.fusion.job import fuse_into_set
from sai_core.fusion.search import fusion_table
from sai_core.jobs import Job
from sai_core.metrics import THRESHOLDS
from sai_core.postprocess import PipelineSettings, System, list_systems, save_system
from sai_core.postprocess.calibration import uncalibrated
from sai_core.postprocess.systems import system_toml, systems_folder
from sai_core.taxonomy import CLASS_COLORS, CLASS_NAMES, N_CLASSES
from sai_core.tuning import (
    Calibration,
    TuningResult,
    TuningSet,
    fit_calibration,
    heat_map,
    precision_recall_curves,
    search_thresholds,
)
from sai_core.tuning.calibration import METHODS, Method, calibration_table
from sai_core.tuning.frames import changed_frames, frame_change
from sai_core.tuning.report import search_sentence
from sai_core.tuning.search import OBJECTIVES, Objective
from sai_core.tuning.submission import SubmissionReport, export_submission
from sai_core.viewing.changes import ADDED, DROPPED, KEPT, panels
from sai_core.workspace import clean_name

CURVE_FLOOR: Final[float] = 0.05
"""Score from which the curves go: below, there is little but noise, and much of it."""

_CHART_HEIGHT: Final[int] = 470


@dataclass(frozen=True)
class Scene:
    """What every view works on.

    Attributes
    ----------
    root : DataRoot
    recordings : dict of str to Recording
        Those of the set.
    bench : Bench
    system : System
        The saved one.
    settings : PipelineSettings
        As they stand.
    now, saved : TuningResult
    systems : list of System
    raw_name : str
        Prediction set that the raw detections belong to.
    """

    root: DataRoot
    recordings: dict[str, Recording]
    bench: jobs.Bench
    system: System
    settings: PipelineSettings
    now: TuningResult
    saved: TuningResult
    systems: list[System]
    raw_name: str


def classes(scene: Scene) -> None:
    """Figures of each class."""
    table = tables.class_table(scene.now.evaluation, scene.saved.evaluation, scene.settings)
    tables.draw_class_table(table)
    st.caption(
        f"Revision 2026-06-30. Δ: against {plain(scene.system.display_name)} as saved. Computed in "
        f"{1000 * scene.now.seconds:.0f} ms; exporting and evaluating the files gives the same figures to the last "
        f"digit."
    )
    for warning in scene.now.evaluation.warnings:
        st.caption(plain(warning))


def curves(scene: Scene) -> None:
    """Precision over recall, with the point where each class stands."""
    columns = st.columns([2, 3], vertical_alignment="center")
    iou = columns[0].segmented_control(
        "Soft IoU of a hit", THRESHOLDS["2026-06-30"], default=0.5, key=keys.TUNE_IOU, required=True
    )
    columns[1].caption(
        "Click a curve to move the class's threshold there. Curves: this system with every threshold at "
        f"{CURVE_FLOOR:g}; large marks: what the current settings keep. Tracking sees different detections at a "
        f"different threshold, so a mark may lie beside its curve."
    )
    low = replace(scene.settings, min_score=CURVE_FLOOR, min_score_per_class={}, min_coverage=0.0)
    job = scene.bench.evaluation(low)
    job.wait(2.0)
    if not _ready(job, scene):
        return
    drawn = precision_recall_curves(job.value.scores, threshold=iou or 0.5)
    kept = {c.category_id: c for c in precision_recall_curves(scene.now.scores, threshold=iou or 0.5)}
    thresholds = {c: scene.settings.min_score_per_class.get(c, scene.settings.min_score) for c in range(N_CLASSES)}
    points = {c: (float(curve.recall[-1]), float(curve.precision[-1])) for c, curve in kept.items() if len(curve.score)}
    key = f"{keys.TUNE_CHART}_{st.session_state.get(keys.TUNE_CHART, 0)}"
    figure = charts.curves_chart(drawn, points, thresholds=thresholds, height=_CHART_HEIGHT)
    plotting.draw(figure, key=key, alt="Precision-recall curves", on_select=lambda: _curve_clicked(key))


def _curve_clicked(key: str) -> None:
    data = plotting.clicked(key)
    if not data or len(data) != 2:
        return
    category_id, score = int(data[0]), float(data[1])
    if sliders.values()["quality"]:
        st.toast("These scores are the quality network's, which no threshold sees: nothing was set.")
        return
    # thresholds are of scores before calibration
    curves = {key: sliders.values()[key] for key in ("temperature", "isotonic")}
    score = uncalibrated(score, category_id, **curves)
    # rounded down, so that the detection that was clicked is kept
    chosen = {**sliders.values()["min_score_per_class"], category_id: int(score * 1000) / 1000}
    sliders.put(min_score_per_class=chosen)
    st.session_state[keys.TUNE_CHART] = st.session_state.get(keys.TUNE_CHART, 0) + 1


def heat(scene: Scene) -> None:
    """MAP over score threshold and NMS IoU."""
    key = ("heat", replace(scene.settings, min_score=0.0, nms_iou=0.0).part("candidates", "select", "export"))
    job = scene.bench.jobs.find(key)
    settings = scene.settings

    def work(tuning_set: TuningSet, progress: Any) -> Any:
        return heat_map(tuning_set, settings, progress=progress)

    if job is None or job.error:
        if job is not None:
            st.warning(plain(job.error))
        st.caption(
            "Every cell is a full evaluation with that score threshold and NMS IoU, all other settings unchanged."
        )

        def compute() -> None:
            scene.bench.background(key, work, title="Heat map")

        # a callback, since a run of the page that the next click cuts short would forget the button
        roles.button("Compute the heat map", icon=":material/grid_on:", key=f"{keys.TUNE_HEAT}_go", on_click=compute)
        return
    if not background.ready(job, button="Stop"):
        return
    left, right = st.columns([2, 3], vertical_alignment="center")
    average = left.segmented_control(
        "Average", ("macro", "micro"), default="macro", key=keys.TUNE_HEAT_AVERAGE, required=True
    )
    right.caption("Click a cell to use its values. Ring: current settings; dark square: the best of these cells.")
    if scene.settings.min_score_per_class:
        n = len(scene.settings.min_score_per_class)
        st.caption(f"{n} classes have a threshold of their own, which the score threshold here does not change.")
    chart = f"{keys.TUNE_HEAT}_{st.session_state.get(keys.TUNE_CHART, 0)}"
    at = (scene.settings.min_score, scene.settings.nms_iou)
    figure = charts.heat_chart(job.value, average=average or "macro", at=at, height=_CHART_HEIGHT)
    plotting.draw(figure, key=chart, alt="Heat map of mAP", on_select=lambda: _heat_clicked(chart))


def _heat_clicked(key: str) -> None:
    data = plotting.clicked(key)
    if data and len(data) == 2:
        sliders.put(min_score=float(data[0]), nms_iou=float(data[1]))
        st.session_state[keys.TUNE_CHART] = st.session_state.get(keys.TUNE_CHART, 0) + 1


def _seed(place: DeltaGenerator) -> int:
    """Field for the seed of the split into halves, one for all views that split."""
    return int(
        place.number_input(
            "Seed", 0, 2**31 - 1, value=0, step=1, key=keys.TUNE_SEED, help="Seed of the split into halves."
        )
    )


def _asked(
    scene: Scene,
    place: DeltaGenerator,
    key: tuple[Hashable, ...],
    work: Callable[[TuningSet, Any], Any],
    *,
    button: tuple[str, str],
    title: str,
    memory: str,
) -> Job[Any] | None:
    """Button (label and icon) that begins a long task on the settings; the task of this session, None before any.

    The last one stays, also when what it found has been taken over and is the settings now.
    """
    key = (*key, scene.settings.part("candidates", "select", "export"))

    def begin() -> None:
        scene.bench.background(key, work, title=title)
        st.session_state[memory] = key

    roles.button(button[0], place=place, icon=button[1], type="primary", on_click=begin)
    return scene.bench.jobs.find(st.session_state.get(memory, key))


def search(scene: Scene) -> None:
    """Best threshold of each class, honestly."""
    left, middle, right = st.columns([2, 1, 2], vertical_alignment="bottom")
    objective = left.selectbox(
        "Best by",
        OBJECTIVES,
        key=keys.TUNE_OBJECTIVE,
        help="mAP and AP50 hardly punish weak false positives, so they lead to low thresholds; F1 (at IoU 0.50) "
        "counts each of them.",
    )
    seed = _seed(middle)
    n = len(scene.bench.tuning_set)
    settings = scene.settings

    def work(tuning_set: TuningSet, progress: Any) -> Any:
        return settings, search_thresholds(
            tuning_set, settings, objective=cast(Objective, objective), seed=seed, progress=progress
        )

    button = ("Search thresholds", ":material/search:")
    key = ("search", objective, seed)
    job = _asked(scene, right, key, work, button=button, title="Search", memory=keys.TUNE_SEARCH)
    if job is None:
        st.caption(
            "Thresholds are chosen on one half of the recordings and reported on the other, so that the figures do "
            "not flatter the choice."
            if n > 1
            else "With a single recording, its first half in time is searched and the second reported; a whole split "
            "is the fairer test."
        )
        return
    if not background.ready(job, button="Stop"):
        return
    start, found = job.value
    st.markdown(f"**{plain(search_sentence(found))}**")
    names = [
        " · ".join(part.names[:4]) + (" ..." if len(part.names) > 4 else "")
        for part in (found.searched, found.held_out)
    ]
    st.caption(plain(f"Searched: {names[0]}. Held out: {names[1]}. Best by {found.objective}, seed {found.seed}."))
    tables.draw_search_frame(tables.search_frame(found, start))
    if found.settings.min_score_per_class == scene.settings.min_score_per_class:
        st.caption("These thresholds are in use.")
    else:
        st.button(
            "Use these thresholds",
            icon=":material/check:",
            on_click=sliders.put,
            kwargs={"min_score_per_class": dict(found.settings.min_score_per_class)},
        )


def calibrate(scene: Scene) -> None:
    """Fit curves from scores to precision on one half, show what they do on the other."""
    left, middle, right = st.columns([2, 1, 2], vertical_alignment="bottom")
    method = left.selectbox(
        "Method",
        METHODS[::-1],
        key=keys.TUNE_METHOD,
        help="isotonic: a rising curve of up to ten points for each class. temperature: one number for each class that "
        "the logit of a score is divided by; for few recordings.",
    )
    seed = _seed(middle)
    settings = scene.settings

    def work(tuning_set: TuningSet, progress: Any) -> Any:
        return fit_calibration(tuning_set, settings, method=cast(Method, method), seed=seed, progress=progress)

    button = ("Fit", ":material/balance:")
    key = ("calibrate", method, seed)
    job = _asked(scene, right, key, work, button=button, title="Calibration", memory=keys.TUNE_CALIBRATION)
    if job is None:
        st.caption(
            "A detection with score 0.7 should be right seven times in ten (IoU 0.50). The curves are fitted on one "
            "half of the recordings and judged on the other. They keep the same detections in the same order within "
            "their class: what changes is how classes compare, and what a score says."
        )
        return
    if not background.ready(job, button="Stop"):
        return
    found: Calibration = job.value
    st.markdown(f"**{plain(found.sentence())}**")
    table, chart = st.columns([3, 2], gap="medium")
    with table:
        tables.draw_calibration_frame(tables.calibration_frame(found))
        st.caption(plain(calibration_table(found).note))
    with chart:
        figure = charts.reliability_chart(found.held_out.before, found.held_out.after, height=300)
        plotting.draw(figure, key="tune_reliability", alt="Precision against score, before and after, held out")
    if (found.settings.temperature, found.settings.isotonic) == (settings.temperature, settings.isotonic):
        st.caption("This calibration is in use.")
    else:
        st.button(
            "Use this calibration",
            icon=":material/check:",
            on_click=sliders.put,
            kwargs={"temperature": dict(found.settings.temperature), "isotonic": dict(found.settings.isotonic)},
        )


def fuse(scene: Scene) -> None:
    """Mix prediction sets: weights searched on one half, reported on the other; kept as a set."""
    files = {s.name: {n: f for n, f in s.files.items() if n in scene.recordings} for s in scene.root.prediction_sets}
    files = {name: found for name, found in files.items() if found}
    left, middle, right = st.columns([4, 1, 2], vertical_alignment="bottom")
    chosen = left.multiselect(
        "Prediction sets", list(files), default=list(files)[:2], format_func=shown, key=keys.TUNE_FUSED
    )
    seed = _seed(middle)
    labels = {name: r.label_path for name, r in scene.recordings.items() if r.label_path is not None}
    systems = {name: files[name] for name in chosen}
    read = [*labels.values(), *(file for of in systems.values() for file in of.values())]
    key = ("fuse", tuple(chosen), seed, file_signatures(read))

    def work(tuning_set: TuningSet, progress: Any) -> Any:
        return search_weights(systems, labels, seed=seed, progress=progress)

    def begin() -> None:
        scene.bench.background(key, work, title="Fusion")

    roles.button(
        "Search weights",
        place=right,
        icon=":material/join:",
        type="primary",
        on_click=begin,
        disabled=len(chosen) < 2,
    )
    job = scene.bench.jobs.find(key)
    if job is None:
        st.caption(
            "Regions of several prediction sets that point the same way become one. How much each set counts is "
            "searched on one half of the recordings and reported on the other, each set by itself beside it."
        )
        return
    if not background.ready(job, button="Stop", again=scene.bench.jobs):
        return
    found: FusionSearch = job.value
    st.markdown(f"**{plain(found.sentence())}**")
    tables.draw_fusion_frame(fusion_table(found))
    st.caption(plain(fusion_table(found).note.removesuffix(found.sentence())))
    if sum(weight > 0 for weight in found.weights) < 2:
        return
    name = st.text_input("Name", value=clean_name(" and ".join(chosen)), key=keys.TUNE_FUSED_NAME).strip()
    kept = ("fused", key, name)

    def keep(tuning_set: TuningSet, progress: Any) -> Any:
        everything = {s.name: dict(s.files) for s in scene.root.prediction_sets if s.name in chosen}
        return fuse_into_set(
            {name: everything[name] for name in found.names},
            found.weights,
            name=name or None,
            data=str(scene.root.path),
            settings=found.settings,
            seed=found.seed,
            progress=progress,
        )

    def begin_keeping() -> None:
        scene.bench.background(kept, keep, title="Fusing")
        st.session_state[keys.TUNE_FUSION] = kept

    roles.button("Keep as a prediction set", icon=":material/save:", on_click=begin_keeping)
    writing = scene.bench.jobs.find(st.session_state.get(keys.TUNE_FUSION))
    if writing is not None and background.ready(writing, button="Stop"):
        stored, report = writing.value
        st.success(plain(f"{stored.name}: {report.n_detections:,} detections of {len(report.recordings)} recordings."))
        for sentence in report.notes:
            st.warning(plain(sentence))
        for recording, what in report.compressed:
            st.warning(plain(f"{recording}: {'; '.join(what.lines())}"))


def frame(scene: Scene) -> None:
    """Four panels of a moment: labels, saved, as it stands, and what changed."""
    names = [r.name for r in scene.bench.tuning_set.recordings]
    if st.session_state.get(keys.TUNE_FRAME_RECORDING) not in names:
        st.session_state[keys.TUNE_FRAME_RECORDING] = names[0]
    left, middle, right = st.columns([3, 5, 3], vertical_alignment="bottom")
    name = left.selectbox("Recording", names, key=keys.TUNE_FRAME_RECORDING)
    recording = scene.bench.tuning_set.recording(name)
    before, after = (scene.bench.tuning_set.resolved(s) for s in (scene.system.settings, scene.settings))
    changes = changed_frames(recording, before, after).tolist()
    last = max(recording.n_frames - 1, 1)
    if keys.TUNE_FRAME not in st.session_state:
        st.session_state[keys.TUNE_FRAME] = min(changes[0] if changes else 0, last)
    st.session_state[keys.TUNE_FRAME] = min(st.session_state[keys.TUNE_FRAME], last)
    number = int(middle.slider("Frame (100 ms)", 0, last, key=keys.TUNE_FRAME))
    with right.container(horizontal=True, gap="small"):
        earlier, later = [k for k in changes if k < number], [k for k in changes if k > number]
        for icon, text, targets, index in (
            ("skip_previous", "Previous change", earlier, -1),
            ("skip_next", "Next change", later, 0),
        ):
            st.button(
                "",
                icon=f":material/{icon}:",
                key=f"{keys.TUNE_FRAME}_{icon}",
                help=text,
                disabled=not targets,
                on_click=_go_to,
                args=(targets[index] if targets else number,),
            )
        there = scene.recordings[name]
        link = address.explorer_link(
            root=str(scene.root.path), recording=name, split=there.split, frame=number, a=scene.raw_name
        )
        st.link_button("Explorer", link, icon=":material/visibility:", help="This moment in the Explorer")
    change = frame_change(recording, before, after, number)
    pictures = panels(recording, change, number, _video_frame(there, number))
    titles = (
        "Labels",
        f"{scene.system.display_name} as saved: {len(change.before)}",
        f"Current: {len(change.after)}",
        f"Change: {len(change.kept)} kept, {len(change.dropped)} dropped, {len(change.added)} added",
    )
    drawn = (recording.labels.take(recording.labels.frame == number), change.before, change.after)
    classes = sorted({c for table in drawn for c in table.category_id.tolist()})
    marks = [(CLASS_COLORS[c], CLASS_NAMES[c]) for c in classes]
    marks += [(KEPT, "kept"), (DROPPED, "dropped, dashed"), (ADDED, "added")]
    st.html(
        "<div style='display:grid;grid-template-columns:1fr 1fr;gap:6px'>"
        + "".join(_panel(title, picture) for title, picture in zip(titles, pictures, strict=True))
        + "</div><div style='font-size:.82rem;margin-top:6px'>"
        + "".join(
            f"<span style='white-space:nowrap;margin-right:1em'><span style='background:{colour};display:inline-block;"
            f"width:.8em;height:.8em;border-radius:2px'></span> {word}</span>"
            for colour, word in marks
        )
        + f"<span>{len(changes)} of {recording.n_frames} frames change</span></div>"
    )
    for sentence in change.after.notes.sentences():
        st.caption(f"In this frame {sentence}")


def _panel(title: str, picture: Any) -> str:
    """One picture with its title on it; the title is escaped, it may hold a system's name."""
    ok, data = cv2.imencode(".webp", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_WEBP_QUALITY, 88])
    assert ok
    encoded, text = base64.b64encode(data.tobytes()).decode("ascii"), html.escape(title)
    return (
        f"<div style='position:relative'><img alt='{text}' src='data:image/webp;base64,{encoded}' "
        "style='width:100%;display:block;border-radius:6px'><span style='position:absolute;left:8px;top:6px;"
        "padding:1px 7px;border-radius:4px;background:rgba(16,19,26,.78);color:#e6e9ef;font-size:.82rem'>"
        f"{text}</span></div>"
    )


def _go_to(number: int) -> None:
    st.session_state[keys.TUNE_FRAME] = number


@st.cache_resource(max_entries=4, show_spinner=False)
def _video(signature: FileSignature, _recording: Recording) -> Any:
    return open_frames(_recording)


def _video_frame(recording: Recording, number: int) -> Any:
    """Picture of a frame; None where there is no video, or it cannot be read."""
    path = recording.frames_dir or recording.video_path
    if path is None:
        return None
    try:
        return _video(file_signature(path), recording).frame(number)
    except SaiError:
        return None


def compare(scene: Scene) -> None:
    """Two systems on the same recordings."""
    standing = "current"
    options = [standing, *(s.name for s in scene.systems)]
    by_name = {s.name: s for s in scene.systems}

    def title(name: str) -> str:
        return by_name[name].display_name if name in by_name else f"{scene.system.name}, {standing}"

    for key, start in ((keys.TUNE_COMPARE_A, scene.system.name), (keys.TUNE_COMPARE_B, standing)):
        if st.session_state.get(key) not in options:
            st.session_state[key] = start if start in options else options[0]
    columns = st.columns(2)
    chosen = [
        column.selectbox(label, options, key=key, format_func=title)
        for column, label, key in zip(
            columns, ("System A (hollow)", "System B (filled)"), (keys.TUNE_COMPARE_A, keys.TUNE_COMPARE_B), strict=True
        )
    ]
    results = []
    for name in chosen:
        settings = scene.settings if name == standing else by_name[name].settings
        job = scene.bench.evaluation(settings)
        job.wait(1.0)
        if not _ready(job, scene):
            return
        results.append(job.value.evaluation)
    names = (title(chosen[0]), title(chosen[1]))
    left, right = st.columns([2, 3], gap="medium")
    with left:
        tables.draw_compare_frame(tables.compare_frame(results[0], results[1], names))
    with right:
        figure = charts.compare_chart(results[0], results[1], names, height=330)
        plotting.draw(figure, key="tune_compare_chart", alt="mAP of each class, two systems")


def save(scene: Scene) -> None:
    """Save as a system, export the submission."""
    left, right = st.columns(2, gap="medium")
    with left.container(border=True):
        st.markdown("**Save as a system**")
        name = st.text_input("Name", value=f"{scene.system.name} tuned", key=keys.TUNE_NAME).strip()
        folder = systems_folder()
        st.caption(plain(f"A TOML file in {folder}; predict, systems, tune and this page find it by its name."))
        message: tuple[bool, str] | None = st.session_state.pop(keys.TUNE_SAID, None)
        with st.container(horizontal=True):
            roles.button("Save", icon=":material/save:", type="primary", on_click=_save, args=(scene.system, folder))
            try:
                text = system_toml(scene.system.with_settings(scene.settings, name=name))
                st.download_button(
                    "Download", text, f"{_file_name(name)}.toml", "application/toml", icon=":material/download:"
                )
            except SaiError as error:
                st.caption(plain(error))
        if message is not None:
            (st.success if message[0] else st.error)(plain(message[1]))
    with right.container(border=True):
        st.markdown("**Export the submission**")
        folder_text = roles.path_field(
            "Folder",
            value=str(Path.home() / "sai-submissions" / _file_name(scene.system.name)),
            key=keys.TUNE_FOLDER,
            help="Outside the data root. One <recording>.json per recording, compressed where it would exceed 20 MB.",
        ).strip()
        n = len(scene.bench.tuning_set)
        again = st.checkbox("Replace files with these names", key=keys.TUNE_REPLACE)
        key = ("export", folder_text, again, scene.settings.part("candidates", "select", "export"))
        roles.note_on_paths()
        if roles.button(
            f"Export {n} file{'s' * (n > 1)}", icon=":material/upload_file:", disabled=not folder_text, type="primary"
        ):
            root, settings = scene.root.path, scene.settings

            def work(tuning_set: TuningSet, progress: Any) -> SubmissionReport:
                return export_submission(
                    tuning_set, settings, Path(folder_text), data_root=root, replace_older=again, progress=progress
                )

            scene.bench.background(key, work, title="Export", reuse="active").wait(1.0)
            st.session_state[keys.TUNE_EXPORT] = key
        job = scene.bench.jobs.find(st.session_state.get(keys.TUNE_EXPORT))
        if job is not None and background.ready(job, button="Stop"):
            report: SubmissionReport = job.value
            st.success(plain(f"{len(report.files)} files, {report.n_bytes / 2**20:.2f} MB, in {report.folder}"))
            for recording, what in report.compressed:
                st.warning(plain(f"{recording}: {'; '.join(what.lines())}"))


def _file_name(name: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-") or "system"


def _save(system: System, folder: Path) -> None:
    # name and settings as they are now, not as the last run of the page saw them
    name = str(st.session_state[keys.TUNE_NAME]).strip()
    try:
        if name.casefold() in {s.name.casefold() for s in list_systems()}:
            raise InputError(f"{name} comes with the program; give your system a name of its own.")
        tuned = system.with_settings(sliders.current(), name=name)
        path = folder / f"{_file_name(name)}.toml"
        save_system(tuned, path)
    except SaiError as error:
        st.session_state[keys.TUNE_SAID] = (False, str(error))
        return
    st.session_state[keys.TUNE_SAID] = (True, f"{tuned.name}, version {tuned.version}, saved in {path}")


def _ready(job: Job[Any], scene: Scene) -> bool:
    return background.ready(job, button="Stop", again=scene.bench.jobs)


VIEWS: Final[dict[str, Callable[[Scene], None]]] = {
    "Classes": classes,
    "Curves": curves,
    "Heat map": heat,
    "Search": search,
    "Calibrate": calibrate,
    "Fuse": fuse,
    "Frame": frame,
    "Compare": compare,
    "Save, export": save,
}
