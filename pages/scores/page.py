"""Scores: official figures of every system at hand, published ones beside them, and the frames behind each."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Final

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from pages.components import address, background, data_bar, predictions, scores_jobs
from pages.components import state_keys as keys
from pages.components.text import plain
from pages.scores import export, label_sets, moments, views
from sai_core.dataset import DataRoot, Recording
from sai_core.errors import SaiError
from sai_core.jobs import Job, wait_briefly
from sai_core.metrics import REVISION_NOTES, REVISIONS, Revision, is_soft
from sai_core.metrics.official.published import PUBLISHED
from sai_core.metrics.reading.systems import SystemResult

ALL_SPLITS: Final[str] = "all splits"
_REVISION_HELP: Final[str] = "Revision of the official evaluator.\n\n" + "\n\n".join(
    f"{revision}: {note}." for revision, note in REVISION_NOTES.items()
)


def main() -> None:
    """Draw the page."""
    bar = st.container(horizontal=True, vertical_alignment="center", gap="small", key="sai_bar")
    root = data_bar.choose_filled_root(bar)
    if root is None:
        return
    recordings, revision, resamples, seed, common_only = _choose(bar, root)
    if not any(r.has_labels for r in recordings):
        st.info(
            "There are no labels among these recordings, so there is nothing to score against. Expected are "
            "`labels_dev/<split>/<recording>_std.json`; predictions alone can be looked at in the Explorer."
        )
        return
    if not root.prediction_sets:
        st.info(
            "There are no predictions to score. Expected are `predictions/<system>/<recording>.json` in the data root, "
            "a folder of your choice under **Data**, *More predictions*, or a set that is made here."
        )
        predictions.offer(root, key="scores")
        return
    selections = {s.name: scores_jobs.select(s, recordings) for s in root.prediction_sets}
    tasks = {n: scores_jobs.system(s, revision) for n, s in selections.items() if s.labels}
    # what is in the store is there at once; anything else shows its progress
    wait_briefly(tasks.values(), 0.4)
    systems = {n: t.result for n, t in tasks.items() if t.result is not None and t.result.results}
    problems = _problems(selections, tasks, systems)
    if common_only and systems:
        common = frozenset.intersection(*(frozenset(s.recordings) for s in systems.values()))
        systems = {n: s.only(common) for n, s in systems.items()}
        if not common:
            st.warning("No recording is common to all systems; switch *Only common recordings* off under **Options**.")
            return
    intervals = {n: scores_jobs.intervals(selections[n], s, n=resamples, seed=seed) for n, s in systems.items()}
    agnostic = {n: scores_jobs.agnostic(selections[n], s) for n, s in systems.items()}
    wait_briefly(intervals.values(), 0.2)
    every: list[Job[Any]] = [*tasks.values(), *intervals.values(), *agnostic.values()]
    running = [t for t in every if t.active]
    problems += [f"{t.title}: {t.error}" for t in every[len(tasks) :] if t.error]
    if running:
        background.watch(running, button="Stop")
    elif any(t.state == "cancelled" for t in every):
        st.button(
            "Resume what was stopped", icon=":material/play_arrow:", on_click=scores_jobs.queue().remove_unfinished
        )
    if not systems:
        for problem in problems:
            st.error(plain(problem))
        if not tasks:
            st.info(
                "No prediction file belongs to one of these recordings: names of labels and predictions must agree."
            )
        elif running:
            st.caption("Tables appear here as soon as the first system is scored; other pages stay usable meanwhile.")
        return
    if problems:
        with bar.popover(
            str(len(problems)), icon=":material/warning:", help="What a reader of these figures must know"
        ):
            for problem in problems:
                st.warning(plain(problem))
    view, chosen, other = _choose_view(systems)
    if view == label_sets.LABELS:
        label_sets.draw(root, recordings, revision)
        return
    scene = views.Scene(
        root,
        revision,
        systems,
        {n: t.result for n, t in intervals.items() if t.result is not None},
        {n: t.result for n, t in agnostic.items() if t.result is not None},
        {s.name: "stand-in" for s in root.prediction_sets if s.is_stand_in},
        any(r.is_simulated for r in recordings if r.has_labels),
        systems[chosen],
        systems.get(other),
    )
    _export(bar, view, scene)
    if view not in (views.SYSTEMS, views.COMPARE):
        _headline(scene)
    if view not in views.SIDE:
        views.VIEWS[view](scene)
        _frames(view, scene, recordings, narrow=False)
        return
    left, right = st.columns([1.4, 1], gap="medium")
    with left:
        views.VIEWS[view](scene)
    with right:
        _frames(view, scene, recordings, narrow=True)


def _choose(bar: DeltaGenerator, root: DataRoot) -> tuple[tuple[Recording, ...], Revision, int, int, bool]:
    """Recordings, revision and options."""
    with bar:
        splits = [ALL_SPLITS, *(s for s in root.splits if s)]
        address.bound(keys.SCORES_SPLIT, splits, ALL_SPLITS)
        split = st.selectbox(
            "Split",
            splits,
            key=keys.SCORES_SPLIT,
            persist_state="session",
            label_visibility="collapsed",
            width=170,
        )
        address.bound(keys.SCORES_REVISION, REVISIONS, REVISIONS[0])
        revision = st.segmented_control(
            "Revision",
            list(REVISIONS),
            required=True,
            key=keys.SCORES_REVISION,
            persist_state="session",
            label_visibility="collapsed",
            help=_REVISION_HELP,
        )
        recordings = root.recordings if split == ALL_SPLITS else root.in_split(split)
        labelled = [r for r in recordings if r.has_labels]
        simulated = sum(r.is_simulated for r in labelled)
        words = f"{len(labelled)} labelled recording{'s' * (len(labelled) != 1)}"
        if simulated:
            words += " · :orange-badge[simulated]" if simulated == len(labelled) else f" · {simulated} simulated"
        st.markdown(words, width="stretch")
        with st.popover("Options", icon=":material/tune:"):
            common = st.toggle(
                "Only common recordings",
                key=keys.SCORES_COMMON,
                persist_state="session",
                help="Score every system on the recordings that all of them have. Off: each on its own, as the "
                "official evaluator does.",
            )
            resamples = st.number_input(
                "Bootstrap resamples", 100, 10_000, 1000, 100, key=keys.SCORES_RESAMPLES, persist_state="session"
            )
            st.toggle(
                "Published figures of all revisions",
                key=keys.SCORES_ALL_REVISIONS,
                persist_state="session",
                help="Also those by other revisions of the evaluator than the chosen one, each marked with its own. "
                "Figures of different revisions are not comparable.",
            )
            seed = st.number_input("Seed", 0, 2**31 - 1, 0, key=keys.SCORES_SEED, persist_state="session")
            st.caption("Recordings are drawn with replacement; the same seed gives the same intervals.")
    return tuple(recordings), revision or REVISIONS[0], int(resamples), int(seed), bool(common)


def _problems(
    selections: Mapping[str, scores_jobs.Selection],
    tasks: Mapping[str, Job[SystemResult]],
    systems: Mapping[str, SystemResult],
) -> list[str]:
    """What a reader of the figures must know, escaped."""
    problems = []
    for name, selection in selections.items():
        missing = selection.n_labelled - len(selection.labels)
        if missing:
            problems.append(
                f"{name}: {missing} of {selection.n_labelled} labelled recordings have no predictions and are left out "
                "with their labels, as by the official evaluator."
            )
        task = tasks.get(name)
        if task is not None and task.error:
            problems.append(f"{name}: {task.error}")
        if task is not None and task.result is not None:
            problems += [f"{name}: {p}" for p in task.result.problems]
        if name in systems:
            problems += [f"{name}: {w}" for w in systems[name].evaluation.warnings]
    return problems


def _choose_view(systems: Mapping[str, SystemResult]) -> tuple[str, str, str]:
    """View, system and second system."""
    names = list(systems)
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        every = [*views.VIEWS, label_sets.LABELS]
        address.bound(keys.SCORES_VIEW, every, views.SYSTEMS)
        view = st.segmented_control(
            "View",
            every,
            required=True,
            key=keys.SCORES_VIEW,
            persist_state="session",
            label_visibility="collapsed",
        )
        st.space("stretch")
        view = view or views.SYSTEMS
        chosen, other = names[0], names[1] if len(names) > 1 else ""
        if view not in (views.SYSTEMS, label_sets.LABELS):
            chosen = _choose_system("System", keys.SCORES_SYSTEM, names, 0)
        if view == views.COMPARE and len(names) > 1:
            other = _choose_system("Second system", keys.SCORES_OTHER, names, 1)
    return view, chosen, other


def _choose_system(label: str, key: str, names: list[str], index: int) -> str:
    # not of another folder, nor one that is not scored yet
    address.bound(key, names, names[index])
    return st.selectbox(
        label,
        names,
        key=key,
        persist_state="session",
        label_visibility="collapsed",
        width=220,
    )


def _headline(scene: views.Scene) -> None:
    """The chosen system's main figures with their intervals."""
    evaluation = scene.chosen.evaluation
    samples = scene.intervals.get(scene.chosen.name)
    agnostic = scene.agnostic.get(scene.chosen.name)
    april = not is_soft(scene.revision)
    row = "micro" if april else "macro"

    def interval(name: str, row: str) -> str | None:
        if samples is None:
            return None
        found = samples.interval(name, row=row)
        return None if math.isnan(found.low) else f"{found.low:.3f} – {found.high:.3f}"

    ap50 = dict(zip(evaluation.thresholds, evaluation.macro.ap, strict=True))[0.5]
    items: list[tuple[str, float, str | None]] = [
        ("Mask mAP" if april else "Macro mAP", evaluation.macro.mean_ap, interval("mAP", "macro")),
        ("Mask AP50" if april else "Macro AP50", ap50, interval("AP50", "macro")),
    ]
    if not april:
        items.append(("Micro mAP", evaluation.micro.mean_ap, interval("mAP", "micro")))
    pearson = evaluation.micro.pearson_r if april else evaluation.macro.pearson_r
    items += [
        (f"{row.capitalize()} Pearson r", pearson, interval("pearson_r", row)),
        ("Class-agnostic AP", agnostic.mean_ap if agnostic is not None else math.nan, None),
        ("Matched-class F1", scene.chosen.class_f1[0], None),
    ]
    with st.container(horizontal=True, border=True, gap="medium"):
        st.markdown(f":small[:gray[Revision]]  \n**{scene.revision}**", width="content")
        for title, value, between in items:
            figure = "–" if math.isnan(value) else f"{value:.4f}"
            interval_text = f" :small[:gray[{between}]]" if between else ""
            st.markdown(f":small[:gray[{title}]]  \n**{figure}**{interval_text}", width="stretch")


def _export(bar: DeltaGenerator, view: str, scene: views.Scene) -> None:
    """Download buttons of the view's table."""
    try:
        files = export.export(view, scene)
    except SaiError:  # two systems without a common recording: the view says so
        return
    stem = f"scores_{view.lower().replace(' ', '_')}_{scene.revision}"
    with bar.popover("Export", icon=":material/download:"):
        for label, text, ending, kind in (
            ("CSV", files.csv, "csv", "text/csv"),
            ("LaTeX (booktabs)", files.latex, "tex", "text/x-tex"),
            ("JSON, as the command line", files.json, "json", "application/json"),
        ):
            st.download_button(label, text, f"{stem}.{ending}", kind, on_click="ignore", width="stretch")
        st.caption(", ".join(plain(title) for title in files.titles))


def _frames(view: str, scene: views.Scene, recordings: tuple[Recording, ...], *, narrow: bool) -> None:
    """The list of frames behind the chosen figure."""
    found = views.focus(view, scene)
    if found is None:
        focus = st.session_state[keys.SCORES_FOCUS]
        sources = {row.system: row.source for row in PUBLISHED}
        source = next((s for name, s in sources.items() if focus.system.startswith(name)), "")
        st.info(f"{plain(focus.system)} is published: there are no frames behind it here. Source: {plain(source)}.")
        return
    focus, system = found
    splits: dict[str, str] = {}
    for recording in recordings:
        if recording.has_labels:
            splits.setdefault(recording.name, recording.split)
    moments.show(
        focus,
        system,
        other=scene.other,
        splits=splits,
        root=str(scene.root.path),
        narrow=narrow,
        height=views.SIDE_HEIGHT_PX if narrow else 290,
    )


main()
