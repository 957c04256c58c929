"""Tune: post-processing settings on stored raw detections, with their figures as you move a slider."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from pages.components import address, background, data_bar, predictions, roles
from pages.components import state_keys as keys
from pages.components.text import plain
from pages.tune import jobs, sliders, views
from sai_core.dataset import DataRoot, Recording
from sai_core.errors import SaiError
from sai_core.files import user_path
from sai_core.postprocess import System, list_systems, load_system
from sai_core.postprocess.systems import refused_systems, systems_folders
from sai_core.tuning import RawSet, TuningResult
from sai_core.workspace import set_at

# how long a run of the page waits for figures; most are ready in a tenth of that (a comment: Streamlit would show a
# string that stands by itself)
_BRIEFLY_S = 0.45


@dataclass(frozen=True)
class Choice:
    """What is tuned."""

    root: DataRoot
    raw: RawSet
    recordings: list[Recording]
    system: System
    systems: list[System]
    teacher: Path | None


def main() -> None:
    """Draw the page."""
    bar = st.container(horizontal=True, vertical_alignment="center", gap="small", key="sai_bar")
    root = data_bar.choose_root(bar)
    if root is None:
        return
    choice = _choose(bar, root)
    if choice is None:
        return
    if choice.system.needs_teacher and choice.teacher is None:
        st.info(
            f"{plain(choice.system.name)} needs a teacher: give the folder of a DCASE system's CSV files "
            "(`<recording>.csv`) under **System**, or choose another system."
        )
        return
    opening = jobs.opening(choice.raw, choice.recordings, choice.teacher)
    opening.wait(_BRIEFLY_S)
    if not background.ready(opening, button="", again=jobs.openings()):
        if opening.active:
            st.caption("The label regions are rendered once and kept; next time this takes only a moment.")
        return
    _workbench(choice, opening.value)


def _choose(bar: DeltaGenerator, root: DataRoot) -> Choice | None:
    # an added folder may hold raw detections alone, from which no submission was written yet
    added = tuple(entry for entry in data_bar.predictions_added() if os.sep in entry and _may_be_opened(entry))
    folders = (*(str(s.folder) for s in root.prediction_sets), *added)
    sets = jobs.raw_sets(root, str(root.path), folders)
    if not sets:
        _say_no_raw(root)
        return None
    by_folder = {str(s.folder): s for s in sets}
    unknown: list[str] = []

    with bar:
        options = list(by_folder)
        unknown.append(address.choice(keys.TUNE_RAW, options, options[0]))
        folder = st.selectbox(
            "Raw detections",
            options,
            format_func=lambda f: _raw_line(by_folder[f]),
            key=keys.TUNE_RAW,
            label_visibility="collapsed",
            help="The raw detections that predict keeps beside its files.",
            width=280,
        )
        raw = by_folder[folder]
        scopes = _scopes(root, raw)
        if not scopes:
            st.info(
                f"None of the {len(raw.stores)} recordings of {plain(raw.name)} has labels in this data root, so there "
                "is nothing to tune against. Choose another root under **Data**."
            )
            return None
        names = list(scopes)
        unknown.append(address.choice(keys.TUNE_SCOPE, names, names[0]))
        scope = st.selectbox(
            "Recordings",
            names,
            format_func=lambda s: _scope_line(s, scopes[s]),
            key=keys.TUNE_SCOPE,
            label_visibility="collapsed",
            width=330,
        )
        systems = list_systems(systems_folders())
        system_names = [s.name for s in systems]
        default = _system_of(raw, system_names)
        if st.session_state.get(keys.TUNE_SYSTEM_OF, folder) != folder:
            # other detections: their own system first, as they were predicted
            st.session_state[keys.TUNE_SYSTEM] = default
        st.session_state[keys.TUNE_SYSTEM_OF] = folder
        by_name = {s.name: s for s in systems}
        unknown.append(address.choice(keys.TUNE_SYSTEM, system_names, default))
        name = st.selectbox(
            "System",
            system_names,
            format_func=lambda n: predictions.system_line(by_name[n]),
            key=keys.TUNE_SYSTEM,
            label_visibility="collapsed",
            width=220,
        )
        with st.popover("System", icon=":material/settings_input_component:"):
            file = roles.path_field(
                "A system of your own, from a file",
                key=keys.TUNE_SYSTEM_FILE,
                persist_state="session",
                placeholder="path of a .toml file; overrides the list",
            ).strip()
            teacher = roles.path_field(
                "Teacher",
                key=keys.TUNE_TEACHER,
                persist_state="session",
                placeholder="folder of a DCASE system's CSV files",
                help="For systems with a teacher prior: <recording>.csv in this folder or right below it.",
            ).strip()
            about = by_name[name]
            st.markdown(f"**{plain(about.display_name)}** · {plain(about.title)} · version {about.version}")
            if about.description:
                st.caption(plain(about.description))
    own = _made_with(raw)
    if own and own not in system_names and not file:
        st.info(
            plain(
                f"{raw.name} was predicted with the system {own}, which is no longer in the list; tuning begins "
                f"with {name}. The set's own settings are in its set.json."
            )
        )
    for value in filter(None, unknown):
        st.warning(plain(f"The link names '{value}', which is not there; the first choice is shown instead."))
    data_bar.say_problems(tuple(refused_systems(systems_folders())))
    address.write({keys.TUNE_RAW: folder, keys.TUNE_SCOPE: scope, keys.TUNE_SYSTEM: name})
    system = by_name[name]
    if file:
        try:
            system = load_system(user_path(file, what="system file"))
        except SaiError as error:
            st.error(plain(error))
            return None
    try:
        teacher_path = user_path(teacher, what="teacher") if teacher else None
    except SaiError as error:
        st.error(plain(error))
        return None
    mark = f"{file or name}|{system.settings.to_dict()}"
    if st.session_state.get(keys.TUNE_LOADED) != mark or not sliders.values():
        sliders.load(system, mark=mark)
    return Choice(root, raw, scopes[scope], system, systems, teacher_path)


def _may_be_opened(entry: str) -> bool:
    try:
        return bool(user_path(entry))
    except SaiError:  # told under Data
        return False


def _system_of(raw: RawSet, names: list[str]) -> str:
    """The system that these detections were predicted with, where that is known; else the official baseline's."""
    return next(name for name in (_made_with(raw), "Baseline", names[0]) if name in names)


def _made_with(raw: RawSet) -> str:
    """Name of the system that these detections were predicted with; empty where it is not known."""
    made = set_at("predictions", raw.folder.parent)
    return made.facts.system if made is not None else ""


def _raw_line(raw: RawSet) -> str:
    n = len(raw.stores)
    return f"{raw.name}  ·  {n} recording{'s' * (n != 1)}"


def _scopes(root: DataRoot, raw: RawSet) -> dict[str, list[Recording]]:
    """What has both raw detections and labels: everything, splits, single recordings."""
    ready = [r for r in root.recordings if r.name in raw.stores and r.label_path is not None]
    scopes: dict[str, list[Recording]] = {}
    for split in dict.fromkeys(r.split for r in ready):
        mine = [r for r in ready if r.split == split]
        if len(mine) > 1:
            scopes[f"{split}/*"] = mine
    if len(scopes) > 1 and len({r.name for r in ready}) == len(ready):
        scopes["*"] = ready
    singles = {f"{r.split}/{r.name}": [r] for r in ready}
    # all recordings first: thresholds of one alone hold for no other
    return {**dict(reversed(scopes.items())), **singles}


def _scope_line(scope: str, recordings: list[Recording]) -> str:
    first = recordings[0]
    simulated = "  ·  simulated" if all(r.is_simulated for r in recordings) else ""
    if not scope.endswith("*"):
        return f"{first.split} / {first.name}{simulated}" if first.split else f"{first.name}{simulated}"
    where = "all splits" if scope == "*" else first.split or "all"
    return f"{where}  ·  {len(recordings)} recordings{simulated}"


def _say_no_raw(root: DataRoot) -> None:
    with st.container(border=True):
        st.markdown("**No raw detections yet.** Tuning starts from what a network saw before any threshold.")
        st.markdown(
            "A detector keeps them beside its predictions. Predict once, here or with the command below, or add a "
            "folder of raw detections under **Data**, *More predictions*."
        )
        predictions.offer(root, key="tune")
        st.code(
            f"python -m sai_core predict --data {root.path} --split {(root.splits or ('SPLIT',))[0]} "
            "--checkpoint energy_seg_best.pth",
            language="bash",
        )


@st.fragment
def _workbench(choice: Choice, bench: jobs.Bench) -> None:
    """Settings to the left, figures to the right; a moved slider runs this function alone."""
    if failures := bench.tuning_set.failures:
        n = len(failures)
        with st.expander(
            f"{n} recording{'s' * (n > 1)} could not be opened: no figure counts them", icon=":material/error:"
        ):
            for failure in failures:
                st.warning(plain(f"{failure.recording}: {failure.error}"))
    left, right = st.columns([1.15, 2.5], gap="medium")
    with left:
        sliders.form(choice.system.settings)
    with right:
        _results(choice, bench)


def _results(choice: Choice, bench: jobs.Bench) -> None:
    problem = sliders.problem()
    if problem:
        st.error(plain(problem))
        return
    settings = sliders.current()
    # a slider that moves on stops the figures that nobody will look at any more
    session = st.session_state.setdefault(f"{keys.TUNE_LOADED}_session", uuid4().hex)
    now_job = bench.evaluation(settings, wanted_by=session)
    saved_job = bench.evaluation(choice.system.settings)
    now_job.wait(_BRIEFLY_S)
    saved_job.wait(_BRIEFLY_S if now_job.result is not None else 0.0)
    running = [job for job in (now_job, saved_job) if job.active]
    for job in (now_job, saved_job):
        if job.error:
            background.ready(job, again=bench.jobs)
            return
    now, saved = now_job.result, saved_job.result
    if now is None or saved is None:
        shown: TuningResult | None = st.session_state.get(f"{keys.TUNE_LOADED}_shown")
        _headline(shown, saved or shown, pending=True)
        background.watch(running, button="", every="150ms")
        return
    st.session_state[f"{keys.TUNE_LOADED}_shown"] = now
    _headline(now, saved, pending=False)
    view = st.segmented_control(
        "View",
        list(views.VIEWS),
        default="Classes",
        key=keys.TUNE_VIEW,
        required=True,
        label_visibility="collapsed",
    )
    scene = views.Scene(
        choice.root,
        {r.name: r for r in choice.recordings},
        bench,
        choice.system,
        settings,
        now,
        saved,
        choice.systems,
        choice.raw.name,
    )
    try:
        views.VIEWS[view or "Classes"](scene)
    except SaiError as error:
        st.error(plain(error))


def _headline(now: TuningResult | None, saved: TuningResult | None, *, pending: bool) -> None:
    """Seven figures with their change; those of the last settings while new ones are computed."""
    with st.container(horizontal=True, gap="small", key="tune_headline"):
        if now is None or saved is None:
            st.markdown("Evaluating ...")
            return
        for label, of in (
            ("Macro mAP", lambda r: r.evaluation.macro.mean_ap),
            ("Micro mAP", lambda r: r.evaluation.micro.mean_ap),
            ("AP25", lambda r: r.evaluation.macro.ap[0]),
            ("AP50", lambda r: r.evaluation.macro.ap[1]),
            ("AP75", lambda r: r.evaluation.macro.ap[2]),
            ("Pearson", lambda r: r.evaluation.macro.pearson_r),
        ):
            value, change = of(now), of(now) - of(saved)
            _metric(label, "–" if value != value else f"{value:.4f}", f"{change:+.4f}" if abs(change) >= 5e-5 else "")
        change = now.n_detections - saved.n_detections
        _metric(
            "Detections …" if pending else "Detections",
            f"{now.n_detections:,}",
            f"{change:+,}" if change else "",
            good=False,
        )


def _metric(label: str, value: str, change: str, *, good: bool = True) -> None:
    """One figure; a line for the change is always there, so that nothing jumps when it comes."""
    if change:
        st.metric(label, value, change, delta_color="normal" if good else "off", border=True)
    else:
        st.metric(label, value, "as saved", delta_color="off", delta_arrow="off", border=True)


main()
