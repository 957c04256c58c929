"""Scores: official figures of every system at hand, published ones beside them, and the frames behind each."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Final, Literal

import pandas as pd
import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from pages.components import address, background, data_bar, predictions, roles, scores_jobs, set_survey, text
from pages.components import state_keys as keys
from pages.components.text import plain
from pages.scores import embedding, export, label_sets, moments, views
from sai_core.dataset import DataRoot, PredictionSet, Recording, labelled_by_name
from sai_core.errors import SaiError
from sai_core.jobs import Job, wait_briefly
from sai_core.metrics import REVISION_NOTES, REVISIONS, Revision, is_soft
from sai_core.metrics.official.published import PUBLISHED
from sai_core.metrics.reading.systems import SystemResult
from sai_core.reporting import ReportOptions
from sai_core.survey.membership import groups_of_recordings
from sai_core.workspace import workspace
from sai_core.workspace.marks import read_marks

ALL_SPLITS: Final[str] = "all splits"
# how often the figures of what is being scored are drawn again
_REFRESH: Final[str] = "1s"
# time after which what is scored by now is shown, be it nothing: sooner, it would only flicker
_WORTH_A_TABLE_S: Final[float] = 0.8

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
            "None of these recordings has labels, so there is nothing to score against. Labels are expected in "
            "`labels_dev/<split>/<recording>_std.json`; the Explorer shows predictions without labels."
        )
        return
    if not root.prediction_sets:
        st.info(
            "There are no predictions to score. Put them into `predictions/<system>/<recording>.json` in the data "
            "root, add a folder under **Data**, *More predictions*, or predict here."
        )
        predictions.offer(root, key="scores")
        return
    selections = {s.name: scores_jobs.select(s, recordings) for s in root.prediction_sets}
    # in the order in which they are scored: files with few points first
    by_size = sorted((n for n, s in selections.items() if s.labels), key=lambda n: selections[n].n_bytes)
    tasks = {n: scores_jobs.system(selections[n], revision) for n in by_size}
    tasks = {n: tasks[n] for n in selections if n in tasks}
    # what is in the store is there at once; anything else shows its progress
    wait_briefly(tasks.values(), 0.4)
    systems = {n: t.result for n, t in tasks.items() if t.result is not None and t.result.results}
    by_name, left_out = labelled_by_name(recordings)
    problems = left_out + _problems(selections, tasks, systems)
    for known in systems.values():
        problems += known.after_the_end(by_name)
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
        st.button("Resume what was stopped", icon=":material/play_arrow:", on_click=scores_jobs.resume)
    if not systems:
        for problem in problems:
            st.error(plain(problem))
        if not tasks:
            st.info(
                "No prediction file belongs to one of these recordings: names of labels and predictions must agree."
            )
        elif running:
            st.caption("Tables appear here as soon as the first system is scored; other pages stay usable meanwhile.")
        _draw_rest(selections, tasks, revision)
        return
    if problems:
        with bar.popover(str(len(problems)), icon=":material/warning:", help="Notes on these figures"):
            for problem in problems:
                st.warning(plain(problem))
    waiting = [name for name, task in tasks.items() if task.active and name not in systems]
    view, chosen, second = _choose_view(systems, waiting, f"{keys.SCORES_MISSING}_{root.path}")
    if view == label_sets.LABELS:
        label_sets.draw(root, recordings, revision)
        return
    if pending := [name for name in dict.fromkeys((chosen, second)) if name in waiting]:
        names = " and ".join(plain(name) for name in pending)
        st.info(f"{names} {'is' if len(pending) == 1 else 'are'} still being scored; the view appears here after that.")
        _draw_rest(selections, tasks, revision)
        return
    splits = _splits(recordings)
    budget, slices, ranking, field = None, None, None, None
    if view == views.SELD:
        min_score = st.slider(
            "Predictions from score",
            0.0,
            1.0,
            0.3,
            0.05,
            key=keys.SCORES_SELD,
            persist_state="session",
            help="These figures ignore ranking: every prediction from this score on counts.",
            width=340,
        )
        fielded = scores_jobs.field(selections[chosen], systems[chosen], float(min_score))
        fielded.wait(0.5)
        if not background.ready(fielded, button="Stop", again=scores_jobs.later()):
            return
        field = fielded.result
    if view == views.RANKING and frozenset.intersection(*(frozenset(s.recordings) for s in systems.values())):
        ranked = scores_jobs.ranking(selections, systems, n=resamples, seed=seed)
        ranked.wait(0.5)
        if not background.ready(ranked, button="Stop", again=scores_jobs.queue()):
            return
        ranking = ranked.result
    if view == views.SLICES:
        groups = _groups(root, splits)
        sliced = scores_jobs.slices(selections[chosen], systems[chosen], splits, groups, seed=seed)
        sliced.wait(0.5)
        if not background.ready(sliced, button="Stop", again=scores_jobs.later()):
            return
        slices = sliced.result
    if view == views.BUDGET and is_soft(revision):
        job = scores_jobs.budget(selections[chosen], systems[chosen])
        job.wait(0.5)
        if not background.ready(job, button="Stop", again=scores_jobs.later()):
            return
        budget = job.result
    scene = views.Scene(
        root,
        revision,
        systems,
        {n: t.result for n, t in intervals.items() if t.result is not None},
        {n: t.result for n, t in agnostic.items() if t.result is not None},
        {s.name: "stand-in" for s in root.prediction_sets if s.is_stand_in},
        any(r.is_simulated for r in recordings if r.has_labels),
        systems[chosen],
        systems.get(second),
        budget,
        slices,
        ranking,
        field,
    )
    options = ReportOptions(revision=revision, resamples=resamples, seed=seed, app=address.app())
    _export(bar, view, scene, recordings, options)
    if view not in (*views.OF_ALL, views.COMPARE):
        _headline(scene)
    if view == embedding.EMBEDDING:
        embedding.draw(scene, selections[chosen], splits, _groups(root, splits), seed=seed)
    elif view not in views.SIDE:
        views.VIEWS[view](scene)
        _frames(view, scene, recordings, selections, narrow=False)
    else:
        left, right = st.columns([1.4, 1], gap="medium")
        with left:
            views.VIEWS[view](scene)
        with right:
            _frames(view, scene, recordings, selections, narrow=True)
    _draw_rest(selections, tasks, revision)


def _draw_rest(
    selections: Mapping[str, scores_jobs.Selection], tasks: Mapping[str, Job[SystemResult]], revision: Revision
) -> None:
    """What is not in the tables: systems that are not scored to the end, recordings that could not be scored."""
    unfinished = {n: t for n, t in tasks.items() if t.active or t.state == "cancelled"}
    if unfinished:
        every = _REFRESH if any(t.active for t in unfinished.values()) else None
        totals = {n: len(selections[n].labels) for n in unfinished}
        st.fragment(_draw_unfinished, run_every=every)(unfinished, totals, revision)
    _draw_failures(tasks)


def _draw_unfinished(tasks: Mapping[str, Job[SystemResult]], totals: Mapping[str, int], revision: Revision) -> None:
    """What is known by now of systems that are being scored, or whose scoring was stopped."""
    rows = []
    for name, task in tasks.items():
        if task.active and task.seconds < _WORTH_A_TABLE_S:
            continue
        known = scores_jobs.so_far(task, name, revision)
        n = len(known.results)
        row = {"System": text.shown(name), "Scored": f"{n} of {totals[name]}", "Failed": len(known.failures)}
        macro = known.evaluation.macro if n else None
        figures = (macro.mean_ap, macro.pearson_r) if macro is not None else (None, None)
        rows.append(row | dict(zip(("Macro mAP", "Macro Pearson r"), figures, strict=True)))
    if rows:
        st.caption("Not all recordings are scored yet, the smallest first. These figures change until the last is in.")
        figure = st.column_config.NumberColumn(format="%.4f")
        st.dataframe(
            pd.DataFrame(rows),
            hide_index=True,
            height="content",
            column_config={"Macro mAP": figure, "Macro Pearson r": figure},
        )


def _draw_failures(tasks: Mapping[str, Job[SystemResult]]) -> None:
    """Recordings that could not be scored, a row each."""
    rows = [
        {"System": text.shown(name), "Recording": text.shown(failure.recording), "Why": text.shown(failure.error)}
        for name, task in tasks.items()
        if task.result is not None
        for failure in task.result.failures
    ]
    if rows:
        n = len(rows)
        with st.expander(f"{n} recording{'s' * (n > 1)} could not be scored", icon=":material/error:"):
            st.dataframe(pd.DataFrame(rows), hide_index=True, height="content")


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
        labelled, left_out = labelled_by_name(recordings)
        simulated = sum(r.is_simulated for r in labelled.values())
        words = f"{len(labelled)} labelled recording{'s' * (len(labelled) != 1)}"
        if simulated:
            words += " · :orange-badge[simulated]" if simulated == len(labelled) else f" · {simulated} simulated"
        if left_out:
            words += " · :orange-badge[some left out]"
        st.markdown(words, width="stretch", help=plain(" ".join(left_out)) or None)
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
                help="Also shows figures by the other revisions of the evaluator, each marked with its revision. "
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
                f"{name}: {missing} of {selection.n_labelled} labelled recordings have no predictions and are left "
                f"out with their labels, as the official evaluator does."
            )
        task = tasks.get(name)
        if task is not None and task.error:
            problems.append(f"{name}: {task.error}")
        if task is not None and task.result is not None:
            problems += [f"{name}: {p}" for p in task.result.problems]
        if name in systems:
            problems += [f"{name}: {w}" for w in systems[name].evaluation.warnings]
    return problems


def _choose_view(systems: Mapping[str, SystemResult], waiting: list[str], memory: str) -> tuple[str, str, str]:
    """View, system and second system; those of a view of their own may be among the ``waiting``.

    ``memory``: key of what was asked for and is not scored here, which is said until another is chosen.
    """
    names = list(systems)
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        every = [*views.VIEWS, embedding.EMBEDDING, label_sets.LABELS]
        view = address.view(keys.SCORES_VIEW, every, views.SYSTEMS)
        st.space("stretch")
        chosen, second = names[0], names[1] if len(names) > 1 else ""
        options = [*names, *waiting]
        shown: dict[str, str] = {}
        if view not in (*views.OF_ALL, label_sets.LABELS):
            chosen = shown[keys.SCORES_SYSTEM] = _choose_system("System", keys.SCORES_SYSTEM, options, 0, memory)
        if view == views.COMPARE and len(options) > 1:
            second = shown[keys.SCORES_OTHER] = _choose_system("Second system", keys.SCORES_OTHER, options, 1, memory)
    for key, name in shown.items():
        if asked := st.session_state[memory].get(key):
            st.warning(f"{plain(asked)} is not scored here; shown is {plain(name)}.", icon=":material/link_off:")
    return view, chosen, second


def _choose_system(label: str, key: str, names: list[str], index: int, memory: str) -> str:
    missing: dict[str, str] = st.session_state.setdefault(memory, {})
    asked = address.bound(key, names, names[index])
    if asked:
        missing[key] = asked
    return st.selectbox(
        label,
        names,
        key=key,
        persist_state="session",
        label_visibility="collapsed",
        width=220,
        on_change=_forget,
        args=(missing, key),
    )


def _forget(missing: dict[str, str], key: str) -> None:
    missing.pop(key, None)


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


def _export(
    bar: DeltaGenerator,
    view: str,
    scene: views.Scene,
    recordings: tuple[Recording, ...],
    options: ReportOptions,
) -> None:
    """Download buttons of the view's table, and the report."""
    try:
        files = export.export(view, scene)
    except SaiError:  # two systems without a common recording: the view says so
        return
    stem = f"scores_{view.lower().replace(' ', '_')}_{scene.revision}"
    with bar.popover("Export", icon=":material/download:"):
        for label, text, ending, kind in (
            ("CSV", files.csv, "csv", "text/csv"),
            ("LaTeX (booktabs)", files.latex, "tex", "text/x-tex"),
            ("JSON, as on the command line", files.json, "json", "application/json"),
        ):
            st.download_button(label, text, f"{stem}.{ending}", kind, on_click="ignore", width="stretch")
        st.caption(", ".join(plain(title) for title in files.titles))
        names = {scene.chosen.name} if view not in (*views.OF_ALL, views.COMPARE) else set(scene.systems)
        if view == views.COMPARE and scene.second is not None:
            names = {scene.chosen.name, scene.second.name}
        st.markdown(f"**Report** of {plain(', '.join(n for n in scene.systems if n in names))}")
        systems = [s for s in scene.root.prediction_sets if s.name in names]
        _reports(scene.root, recordings, systems, options)


def _reports(
    root: DataRoot, recordings: tuple[Recording, ...], systems: list[PredictionSet], options: ReportOptions
) -> None:
    """One click makes a report, the next downloads it."""
    endings: tuple[tuple[Literal["html", "pdf"], str], ...] = (("html", "text/html"), ("pdf", "application/pdf"))
    for ending, kind in endings:

        def begin(ending: Literal["html", "pdf"] = ending) -> None:
            scores_jobs.report(root, recordings, systems, options, ending, wanted=True)

        job = scores_jobs.report(root, recordings, systems, options, ending, wanted=False)
        if job is None:
            roles.button(f"Make it as {ending.upper()}", on_click=begin, icon=":material/article:", width="stretch")
        elif background.ready(job, button="Stop", again=scores_jobs.later()):
            st.download_button(
                f"Download {ending.upper()}",
                job.value,
                f"report_{options.revision}.{ending}",
                kind,
                icon=":material/download:",
                on_click="ignore",
                width="stretch",
            )


def _splits(recordings: tuple[Recording, ...]) -> dict[str, str]:
    """Split of each labelled recording; of a name in two splits the first."""
    splits: dict[str, str] = {}
    for recording in recordings:
        if recording.has_labels:
            splits.setdefault(recording.name, recording.split)
    return splits


def _groups(root: DataRoot, splits: dict[str, str]) -> dict[str, dict[str, tuple[str, ...]]]:
    """Tags and saved views that recordings are in; says what is left out, or not known yet."""
    marks = read_marks(workspace(), root.path)
    table, notes = None, [marks.problem] if marks.problem else []
    if marks.views:
        seen = set_survey.seen(root)
        set_survey.watch(seen)
        if seen.table.n_missing:
            notes.append("Slices by saved views follow as soon as all recordings have been looked at.")
        else:
            table = seen.table
    groups, unfit = groups_of_recordings(marks, splits, table)
    if notes := [*notes, *unfit]:
        st.caption(plain(" ".join(notes)))
    return groups


def _frames(
    view: str,
    scene: views.Scene,
    recordings: tuple[Recording, ...],
    selections: Mapping[str, scores_jobs.Selection],
    *,
    narrow: bool,
) -> None:
    """The list of frames behind the chosen figure."""
    found = views.focus(view, scene)
    if found is None:
        focus = st.session_state[keys.SCORES_FOCUS]
        sources = {row.system: row.source for row in PUBLISHED}
        source = next((s for name, s in sources.items() if focus.system.startswith(name)), "")
        st.info(f"{plain(focus.system)} is a published figure; its frames are not at hand. Source: {plain(source)}.")
        return
    focus, system = found
    moments.show(
        focus,
        system,
        second=scene.systems[focus.rival] if focus.rival else scene.second,
        budget=scene.budget,
        slices=scene.slices,
        others=[rival for name, rival in scene.systems.items() if name != system.name],
        splits=_splits(recordings),
        files=selections[system.name].pairs,
        root=str(scene.root.path),
        narrow=narrow,
        height=views.SIDE_HEIGHT_PX if narrow else 290,
    )


main()
