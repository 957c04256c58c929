"""The views of the scores page: each a table or a chart whose marks lead to frames."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, cast

import numpy as np
import streamlit as st

from pages.components import plotting
from pages.components import state_keys as keys
from pages.components.text import plain
from pages.scores import charts, tables
from pages.scores.moments import Focus, focus_of_cell
from sai_core.dataset import DataRoot
from sai_core.errors import SaiError
from sai_core.metrics import THRESHOLDS, Revision, confusion_matrix, is_soft
from sai_core.metrics.evaluation.scores import Figures
from sai_core.metrics.official.published import Track, published_rows, track_of_name
from sai_core.metrics.reading.budget import (
    ERROR_KINDS,
    Budget,
    ErrorKind,
    budget_by_class,
    budget_table,
    describe_kind,
    pairs_table,
)
from sai_core.metrics.reading.calibration import reliability_curve
from sai_core.metrics.reading.diagnostics import BootstrapResult, Interval
from sai_core.metrics.reading.ranking import Ranking, classes_won_table, ranking_table, wins_table
from sai_core.metrics.reading.seld import FieldFigures, hota_table, seld_table
from sai_core.metrics.reading.slices import MIN_RECORDINGS, SliceFigures, Slices, slices_table, worst_table
from sai_core.metrics.reading.systems import SystemResult
from sai_core.metrics.reading.tables import Table, class_table, difference_table, recordings_table, systems_table
from sai_core.taxonomy import CLASS_COLORS, CLASS_NAMES, N_CLASSES, class_name

SYSTEMS: Final[str] = "Systems"
CLASSES: Final[str] = "Classes"
RECORDINGS: Final[str] = "Recordings"
CURVES: Final[str] = "PR curves"
CONFUSION: Final[str] = "Confusion"
CALIBRATION: Final[str] = "Calibration"
BUDGET: Final[str] = "Budget"
SLICES: Final[str] = "Slices"
SELD: Final[str] = "SELD, HOTA"
RANKING: Final[str] = "Ranking"
OF_ALL: Final[tuple[str, ...]] = (SYSTEMS, RANKING)
"""Views of all systems, in which none is chosen."""

COMPARE: Final[str] = "Compare"
SIDE: Final[tuple[str, ...]] = (CURVES, CONFUSION, CALIBRATION)
"""Views whose list of frames is beside the chart; the others are as wide as the page."""

SIDE_HEIGHT_PX: Final[int] = 520
WORST: Final[str] = "worst"
ALL_CLASSES: Final[str] = "All classes"


@dataclass(frozen=True)
class Scene:
    """Everything that is known when a view is drawn.

    Attributes
    ----------
    root : DataRoot
    revision : str
    systems : dict of str to SystemResult
        Those that are scored, by name.
    intervals : dict of str to BootstrapResult
        Those that are computed.
    agnostic : dict of str to Figures
        Likewise.
    kinds : dict of str to str
        ``"stand-in"`` for made-up prediction sets.
    simulated : bool
        Some of the recordings are.
    chosen, second : SystemResult
        The system that views of one system show, and the second one of a comparison.
    budget, slices : Budget, Slices or None
        Of the chosen system, in the views that show them.
    ranking : Ranking or None
        Of all systems, in the view that shows it.
    field : FieldFigures or None
        SELD scores and HOTA of the chosen system, in the view that shows them.
    """

    root: DataRoot
    revision: Revision
    systems: Mapping[str, SystemResult]
    intervals: Mapping[str, BootstrapResult]
    agnostic: Mapping[str, Figures | None]
    kinds: Mapping[str, str]
    simulated: bool
    chosen: SystemResult
    second: SystemResult | None
    budget: Budget | None = None
    slices: Slices | None = None
    ranking: Ranking | None = None
    field: FieldFigures | None = None


def threshold_choice(revision: Revision) -> float:
    """IoU threshold that counts, curves and calibration use; the widget is drawn by :func:`choose_threshold`."""
    return float(st.session_state.get(f"{keys.SCORES_THRESHOLD}_{revision}", 0.5))


def choose_threshold(revision: Revision) -> float:
    """Draw the choice of the IoU threshold."""
    options = [round(t, 2) for t in THRESHOLDS[revision]]
    return float(
        st.selectbox(
            "IoU",
            options,
            index=options.index(0.5),
            format_func=lambda t: f"IoU {t:g}",
            key=f"{keys.SCORES_THRESHOLD}_{revision}",
            persist_state="session",
            label_visibility="collapsed",
            help="The IoU from which a detection counts as right.",
            width=110,
        )
    )


def _set(view: str, focus: Focus | None) -> None:
    """Remember a figure, or forget the one of this view when its selection was taken back."""
    before = st.session_state.get(keys.SCORES_FOCUS)
    if focus is not None:
        st.session_state[keys.SCORES_FOCUS] = focus
    elif isinstance(before, Focus) and before.view == view:
        del st.session_state[keys.SCORES_FOCUS]


# --- systems ---------------------------------------------------------------------------------------------------------


def _system_cell(key: str, table: Table, threshold: float) -> None:
    cell = tables.cell_key(key)
    if cell is None:
        _set(SYSTEMS, None)
        return
    row, column = cell
    name = table.rows[row]
    if table.sources[row] == "published":
        _set(SYSTEMS, Focus(SYSTEMS, "published", name, name))
        return
    column = "macro_mAP" if column == "row" else column
    _set(SYSTEMS, focus_of_cell(SYSTEMS, name, column, category=None, row="micro", threshold=threshold))


def _system_dot(key: str) -> None:
    data = plotting.clicked(key)
    if not data:
        _set(SYSTEMS, None)
    elif data[0]:
        _set(SYSTEMS, Focus(SYSTEMS, "ap", str(data[0]), "mAP · macro", row="macro"))


def _all_revisions() -> bool:
    return bool(st.session_state.get(keys.SCORES_ALL_REVISIONS, False))


def systems_of(scene: Scene) -> list[Table]:
    """Tables 1 and 2 where they have rows, or the one table of 2026-04-02."""
    tracks: tuple[Track, ...] = ("A", "B") if is_soft(scene.revision) else ("A",)
    made = [
        systems_table(
            list(scene.systems.values()),
            revision=scene.revision,
            track=track,
            all_revisions=_all_revisions(),
            agnostic=scene.agnostic,
            simulated=scene.simulated,
        )
        for track in tracks
    ]
    return [table for table in made if table.rows]


def draw_systems(scene: Scene) -> None:
    """Tables 1 and 2 with published rows, and a chart of the macro mAP."""
    left, right = st.columns([3.7, 1], gap="medium")
    made = systems_of(scene)
    with left:
        for number, table in enumerate(made):
            st.markdown(f"**{plain(table.title)}**")
            key = f"scores_systems_{scene.revision}_{number}"
            tables.draw(
                table,
                key=key,
                on_select=_system_cell,
                args=(key, table, threshold_choice(scene.revision)),
                kinds=dict(scene.kinds),
                at_most=330,
                name_width=min(170, 26 + 7 * max(len(name) for name in table.rows)),
            )
        notes = [max((t.note for t in made), key=len)]
        if not any("published" in t.sources for t in made):
            notes.append("No figures are published by this revision; **Options** adds those by the others.")
        if is_soft(scene.revision) and any(track_of_name(name) is None for name in scene.systems):
            notes.append(
                "Files do not say which inputs their system uses, so a system whose name does not say it either is in "
                "both tables."
            )
        st.caption(plain(" ".join(notes)))
    with right:
        names = list(scene.systems)
        intervals = [_macro_interval(scene, name) for name in names]
        published = [
            row
            for track in cast(tuple[Track, ...], ("A", "B"))
            for row in published_rows(track, None if _all_revisions() else scene.revision)
            if "macro_mAP" in row.figures
        ]
        key = f"scores_dots_{scene.revision}"
        plotting.draw(
            charts.system_dots(
                names, intervals, published, scene.revision, height=90 + 30 * (len(names) + len(published))
            ),
            key=key,
            on_select=_system_dot,
            args=(key,),
            alt="Macro mAP of every system",
        )


def _macro_interval(scene: Scene, name: str) -> Interval:
    known = scene.intervals.get(name)
    if known is not None:
        return known.interval("mAP")
    return Interval(scene.systems[name].evaluation.macro.mean_ap, math.nan, math.nan)


# --- classes ---------------------------------------------------------------------------------------------------------


def _class_cell(key: str, view: str, table: Table, system: str, threshold: float) -> None:
    cell = tables.cell_key(key)
    if cell is None:
        _set(view, None)
        return
    row, column = cell
    category = row if row < N_CLASSES else None
    name = "class" if category is not None else table.rows[row]
    column = "mAP" if column == "row" else column
    _set(view, focus_of_cell(view, system, column, category=category, row=name, threshold=threshold))


def _class_bar(key: str, system: str) -> None:
    data = plotting.clicked(key)
    category = int(data[0]) if data else None
    title = f"mAP · {class_name(category)}" if category is not None else ""
    _set(CLASSES, Focus(CLASSES, "ap", system, title, category=category) if category is not None else None)


def classes_of(scene: Scene) -> Table:
    """Per-class table of the chosen system."""
    return class_table(scene.chosen, bootstrap=scene.intervals.get(scene.chosen.name))


def draw_classes(scene: Scene) -> None:
    """Per-class table and bars."""
    table = classes_of(scene)
    left, right = st.columns([3.1, 1], gap="medium")
    key = f"scores_classes_{scene.revision}_{scene.chosen.name}"
    with left:
        tables.draw(
            table,
            key=key,
            on_select=_class_cell,
            args=(key, CLASSES, table, scene.chosen.name, threshold_choice(scene.revision)),
            name_width=140,
        )
        st.caption(plain(table.note))
    with right:
        bars = f"scores_bars_{scene.revision}_{scene.chosen.name}"
        plotting.draw(
            charts.class_bars(table, height=tables.height_px(len(table.rows))),
            key=bars,
            on_select=_class_bar,
            args=(bars, scene.chosen.name),
            alt="mAP of every class",
        )


# --- recordings ------------------------------------------------------------------------------------------------------


def _recording_cell(key: str, table: Table, system: str, threshold: float) -> None:
    cell = tables.cell_key(key)
    if cell is None:
        _set(RECORDINGS, None)
        return
    row, column = cell
    recording = table.rows[row] if row < len(table.rows) - table.summary_rows else ""
    column = "macro_mAP" if column == "row" else column
    focus = focus_of_cell(
        RECORDINGS, system, column, category=None, row="micro", threshold=threshold, recording=recording
    )
    _set(RECORDINGS, focus)


def recordings_of(scene: Scene) -> Table:
    """Per-recording table of the chosen system."""
    return recordings_table(scene.chosen, threshold=threshold_choice(scene.revision))


def draw_recordings(scene: Scene) -> None:
    """Per-recording table."""
    threshold = choose_threshold(scene.revision)
    table = recordings_table(scene.chosen, threshold=threshold)
    key = f"scores_recordings_{scene.revision}_{scene.chosen.name}"
    tables.draw(
        table, key=key, on_select=_recording_cell, args=(key, table, scene.chosen.name, threshold), at_most=420,
        name_width=190,
    )  # fmt: skip
    st.caption(plain(table.note))


# --- curves ----------------------------------------------------------------------------------------------------------


def _curve_point(key: str, system: str, threshold: float) -> None:
    data = plotting.clicked(key)
    if not data:
        _set(CURVES, None)
        return
    category, score = int(data[0]), float(data[1])
    where = class_name(category) if category >= 0 else "all classes pooled"
    _set(
        CURVES,
        Focus(
            CURVES,
            "ap",
            system,
            f"{where} at score ≥ {score:.3f}, IoU {threshold:g}",
            row="class" if category >= 0 else "micro",
            category=category if category >= 0 else None,
            threshold=threshold,
            low=score,
        ),
    )


def _choose_class(scene: Scene) -> int | None:
    with_labels = [c for c in range(N_CLASSES) if scene.chosen.evaluation.per_class[c].n_labels]
    name = st.selectbox(
        "Class",
        [ALL_CLASSES, *(CLASS_NAMES[c] for c in with_labels)],
        key=keys.SCORES_CLASS,
        persist_state="session",
        label_visibility="collapsed",
        width=200,
    )
    return CLASS_NAMES.index(name) if name in CLASS_NAMES else None


def draw_curves(scene: Scene) -> None:
    """Precision-recall curves of all classes with labels."""
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        threshold = choose_threshold(scene.revision)
        chosen = _choose_class(scene)
        st.caption("Click a point to see what is wrong at that operating point.", width="stretch")
    rows = scene.chosen.evaluation.per_class
    per_class = {
        c: scene.chosen.curve(threshold=threshold, category_id=c) for c in range(N_CLASSES) if rows[c].n_labels
    }
    key = f"scores_curves_{scene.revision}_{scene.chosen.name}_{threshold}_{chosen}"
    plotting.draw(
        charts.curves(per_class, scene.chosen.curve(threshold=threshold), chosen=chosen, height=SIDE_HEIGHT_PX),
        key=key,
        on_select=_curve_point,
        args=(key, scene.chosen.name, threshold),
        alt="Precision-recall curves",
    )


# --- confusion -------------------------------------------------------------------------------------------------------


def _confusion_cell(key: str, system: str) -> None:
    data = plotting.clicked(key)
    if not data:
        _set(CONFUSION, None)
        return
    label, prediction = (int(v) if int(v) < N_CLASSES else None for v in data[:2])
    if label is None and prediction is None:
        return
    label_name = class_name(label) if label is not None else "no label"
    prediction_name = class_name(prediction) if prediction is not None else "nothing"
    title = f"label {label_name}, prediction {prediction_name}"
    _set(CONFUSION, Focus(CONFUSION, "confusion", system, title, category=label, predicted=prediction))


def draw_confusion(scene: Scene) -> None:
    """Confusion matrix of pairs within 20 degrees."""
    results = scene.chosen.results
    shares = st.toggle("Shares instead of counts", key=keys.SCORES_SHARES, persist_state="session")
    key = f"scores_confusion_{scene.revision}_{scene.chosen.name}_{shares}"
    matrix = confusion_matrix([r.across for r in results])
    plotting.draw(
        charts.confusion(matrix, shares=shares, height=SIDE_HEIGHT_PX + 20),
        key=key,
        on_select=_confusion_cell,
        args=(key, scene.chosen.name),
        alt="Confusion matrix",
    )
    st.caption(
        "Labels and predictions of a frame whose strongest points are within 20 degrees, one to one, whatever their "
        "classes. Click a cell for its frames."
    )


# --- calibration -----------------------------------------------------------------------------------------------------


def _calibration_bar(key: str, system: str, category: int | None, threshold: float) -> None:
    data = plotting.clicked(key)
    if not data:
        _set(CALIBRATION, None)
        return
    low, high = float(data[0]), float(data[1])
    where = class_name(category) if category is not None else "all classes"
    title = f"{where}, scores {low:.2f} to {high:.2f}"
    _set(
        CALIBRATION,
        Focus(
            CALIBRATION, "detections", system, title, row="micro", category=category, threshold=threshold, low=low,
            high=high,
        ),
    )  # fmt: skip


def draw_calibration(scene: Scene) -> None:
    """Reliability curve with the expected calibration error."""
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        threshold = choose_threshold(scene.revision)
        category = _choose_class(scene)
        curve = reliability_curve(scene.chosen.scores, threshold=threshold, category_id=category)
        figures = " · ".join(
            f"{name} **{'–' if math.isnan(value) else f'{value:.4f}'}**"
            for name, value in (
                ("expected calibration error", curve.expected_error),
                ("largest", curve.largest_error),
                ("Brier score", curve.brier),
            )
        )
        st.markdown(figures, width="stretch")
    key = f"scores_reliability_{scene.revision}_{scene.chosen.name}_{threshold}_{category}"
    plotting.draw(
        charts.reliability(
            curve, color=CLASS_COLORS[category] if category is not None else None, height=SIDE_HEIGHT_PX - 30
        ),
        key=key,
        on_select=_calibration_bar,
        args=(key, scene.chosen.name, category, threshold),
        alt="Precision against score",
    )
    st.caption(
        "Bars: share of right detections in each bin of scores, with Wilson 95 % intervals (detections taken as "
        "independent); diamonds: the same at the bin's mean score; dashed line: perfect calibration."
    )


# --- error budget ----------------------------------------------------------------------------------------------------


def _budget_focus(system: str, kind: str, category: int | None) -> Focus:
    error = cast(ErrorKind, kind)
    row = "macro" if category is None else "class"
    title = describe_kind(error, category)
    return Focus(BUDGET, "budget", system, title, row=row, category=category, measure=kind)


def _budget_bar(key: str, system: str, category: int | None) -> None:
    data = plotting.clicked(key)
    kind = str(data[0]) if data else ""
    _set(BUDGET, _budget_focus(system, kind, category) if kind else None)


def _budget_cell(key: str, system: str, category: int | None) -> None:
    cell = tables.cell_key(key)
    known = cell is not None and cell[0] < len(ERROR_KINDS)
    _set(BUDGET, _budget_focus(system, ERROR_KINDS[cell[0]], category) if cell is not None and known else None)


def _budget_class_cell(key: str, system: str) -> None:
    cell = tables.cell_key(key)
    if cell is None or cell[1] not in ERROR_KINDS:
        _set(BUDGET, None)
        return
    _set(BUDGET, _budget_focus(system, cell[1], cell[0] if cell[0] < N_CLASSES else None))


def budgets_of(scene: Scene) -> list[Table]:
    """Tables of the chosen system's budget: gains, classes, pairs; none before it is made."""
    return [make(scene.budget) for make in (budget_table, budget_by_class, pairs_table)] if scene.budget else []


def draw_budget(scene: Scene) -> None:
    """What each kind of error costs: alone, one after the other, per class and in pairs."""
    budget = scene.budget
    if budget is None:
        st.info(
            "The error budget follows the soft matching of the later revisions; 2026-04-02 matches otherwise. Choose "
            "another revision above."
        )
        return
    gains, classes, pairs = budgets_of(scene)
    name = scene.chosen.name
    shown = focus(BUDGET, scene)
    left, right = st.columns([1, 1.15], gap="medium")
    with left:
        category = _choose_class(scene)
        key = f"scores_budget_{scene.revision}_{name}_{category}"
        plotting.draw(
            charts.budget_path(
                budget, category=category, chosen=shown[0].measure if shown else "", height=SIDE_HEIGHT_PX - 190
            ),
            key=key,
            on_select=_budget_bar,
            args=(key, name, category),
            alt="mAP as one kind of error after the other is put right",
        )
    with right:
        st.markdown("**Each kind by itself**")
        key = f"scores_budget_gains_{scene.revision}_{name}"
        tables.draw(gains, key=key, on_select=_budget_cell, args=(key, name, category), name_width=96)
        st.caption(plain(gains.note))
    key = f"scores_budget_classes_{scene.revision}_{name}"
    tables.draw(classes, key=key, on_select=_budget_class_cell, args=(key, name), name_width=140)
    with st.expander("Two kinds right"):
        tables.draw(pairs, key=f"scores_budget_pairs_{scene.revision}_{name}", on_select=lambda: None, name_width=105)
        st.caption(plain(pairs.note))


# --- slices ----------------------------------------------------------------------------------------------------------


def _slice_focus(system: str, part: SliceFigures) -> Focus:
    title = f"{part.attribute}: {part.value}"
    return Focus(SLICES, "slice", system, title, row="macro", measure=part.attribute, slice_value=part.value)


def _slice_cell(key: str, system: str, parts: Sequence[SliceFigures]) -> None:
    cell = tables.cell_key(key)
    _set(SLICES, _slice_focus(system, parts[cell[0]]) if cell is not None else None)


def slices_shown(scene: Scene) -> list[Table]:
    """All slices, and the worst; none before they are made."""
    return [slices_table(scene.slices), worst_table(scene.slices)] if scene.slices else []


def draw_slices(scene: Scene) -> None:
    """Figures of parts of the set, and the parts that surely lose."""
    slices = scene.slices
    if slices is None:
        return
    name = scene.chosen.name
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        names = [WORST, *dict.fromkeys(part.attribute for part in slices.slices)]
        attribute = st.segmented_control(
            "Attribute",
            names,
            required=True,
            default=WORST,
            key=keys.SCORES_ATTRIBUTE,
            persist_state="session",
            label_visibility="collapsed",
            format_func=str.capitalize,
        )
    parts = slices.worst() if attribute == WORST else slices.of(str(attribute))
    table = worst_table(slices) if attribute == WORST else slices_table(slices, parts)
    if not parts:
        n = len(slices.whole.recordings)
        st.info(
            "No slice with enough labels surely loses: the lower bound of each loss is 0 or less. All slices are "
            f"behind the buttons above. Intervals are over {n} recording{'' if n == 1 else 's'}"
            f"{'' if n >= MIN_RECORDINGS else f', and on fewer than {MIN_RECORDINGS} nothing is sure'}."
        )
        return
    left, right = st.columns([3.1, 1], gap="medium")
    with left:
        key = f"scores_slices_{scene.revision}_{name}_{attribute}"
        tables.draw(table, key=key, on_select=_slice_cell, args=(key, name, parts), name_width=230, at_most=420)
        st.caption(plain(table.note))
    with right:
        bars = f"scores_slice_bars_{scene.revision}_{name}_{attribute}"
        plotting.draw(
            charts.slice_bars(parts, height=max(160, 70 + 28 * len(parts))),
            key=bars,
            on_select=_slice_bar,
            args=(bars, name, parts),
            alt="Loss of every slice",
        )


def _slice_bar(key: str, system: str, parts: Sequence[SliceFigures]) -> None:
    data = plotting.clicked(key)
    _set(SLICES, _slice_focus(system, parts[int(data[0])]) if data else None)


# --- SELD scores, HOTA -----------------------------------------------------------------------------------------------


def seld_of(scene: Scene) -> list[Table]:
    """SELD scores and HOTA of the chosen system; none before they are made."""
    if scene.field is None:
        return []
    return [make(scene.field, name=scene.chosen.name) for make in (seld_table, hota_table)]


def draw_seld(scene: Scene) -> None:
    """What the field reports beside the official figures."""
    if scene.field is None:
        return
    for table in seld_of(scene):
        key = f"scores_seld_{table.row_title}_{scene.chosen.name}_{scene.field.min_score}"
        tables.draw(table, key=key, on_select=lambda: None, name_width=150)
        st.caption(plain(table.note))
    deciles = ", ".join(f"{r:.3f}" for _, _, r in scene.field.pearson)
    st.caption(f"Pearson r by the energy of labels, the weakest tenth first: {deciles or '–'}.")


# --- ranking ---------------------------------------------------------------------------------------------------------


def _ranking_cell(key: str, names: tuple[str, ...]) -> None:
    cell = tables.cell_key(key)
    if cell is None:
        _set(RANKING, None)
        return
    row, column = cell
    if column == "n_only":
        _set(RANKING, Focus(RANKING, "only", names[row], "labels that no other system finds · IoU 0.5", threshold=0.5))
        return
    rival = 0 if column.startswith("behind") or column == "p" else row
    if column.startswith("over_"):
        rival = int(column.removeprefix("over_")) - 1
    if rival != row:
        _set(RANKING, _one_finds(names[row], names[rival]))
        return
    _set(RANKING, Focus(RANKING, "ap", names[row], "mAP · macro", row="macro"))


def _one_finds(first: str, second: str) -> Focus:
    title = f"labels that only {first} or only {second} finds · IoU 0.5"
    return Focus(RANKING, "difference", first, title, threshold=0.5, rival=second)


def _ranking_class_cell(key: str, names: tuple[str, ...]) -> None:
    cell = tables.cell_key(key)
    if cell is None or not cell[1].startswith("of_"):
        _set(RANKING, None)
        return
    category, name = cell[0], names[int(cell[1].removeprefix("of_")) - 1]
    _set(RANKING, Focus(RANKING, "ap", name, f"mAP · {class_name(category)}", category=category))


def rankings_of(scene: Scene) -> list[Table]:
    """The ranking and the classes won; none before they are made."""
    makers = (ranking_table, wins_table, classes_won_table)
    return [make(scene.ranking) for make in makers] if scene.ranking else []


def draw_ranking(scene: Scene) -> None:
    """All systems on their common recordings: which is better, and how sure that is."""
    ranking = scene.ranking
    if ranking is None:
        st.info("The systems have no scored recording in common, so they cannot be ranked.")
        return
    table, wins, classes = rankings_of(scene)
    name_width = min(160, 26 + 7 * max(len(name) for name in ranking.names))
    left, right = st.columns([2.5, 1], gap="medium")
    with left:
        st.markdown(f"**{plain(table.title)}**")
        key = f"scores_ranking_{scene.revision}_{ranking.names}"
        tables.draw(table, key=key, on_select=_ranking_cell, args=(key, ranking.names), name_width=name_width)
        st.caption(plain(table.note))
    with right:
        st.markdown("**Classes won**")
        key = f"scores_wins_{scene.revision}_{ranking.names}"
        tables.draw(wins, key=key, on_select=_ranking_cell, args=(key, ranking.names), name_width=name_width)
        st.caption(plain(wins.note))
    with st.expander("Every class by every system"):
        key = f"scores_classes_won_{scene.revision}_{ranking.names}"
        tables.draw(classes, key=key, on_select=_ranking_class_cell, args=(key, ranking.names), name_width=140)
        st.caption(plain(classes.note))


# --- two systems -----------------------------------------------------------------------------------------------------


def _difference_cell(key: str, table: Table, first: str, second: str, threshold: float) -> None:
    cell = tables.cell_key(key)
    if cell is None:
        _set(COMPARE, None)
        return
    row, column = cell
    category = row if row < N_CLASSES else None
    figure, _, side = column.partition(".")
    if side in ("first", "second"):
        system = first if side == "first" else second
        name = "class" if category is not None else table.rows[row]
        _set(COMPARE, focus_of_cell(COMPARE, system, figure, category=category, row=name, threshold=threshold))
        return
    _set(COMPARE, _difference(first, category, threshold))


def _difference(first: str, category: int | None, threshold: float) -> Focus:
    where = class_name(category) if category is not None else "all classes"
    title = f"labels that only one system finds · {where} · IoU {threshold:g}"
    return Focus(COMPARE, "difference", first, title, category=category, threshold=threshold)


def _difference_bar(key: str, first: str, threshold: float) -> None:
    data = plotting.clicked(key)
    if not data:
        _set(COMPARE, None)
        return
    row = int(data[0])
    _set(COMPARE, _difference(first, row if row < N_CLASSES else None, threshold))


def comparison_of(scene: Scene) -> Table | None:
    """Table of two systems; None without a second one."""
    if scene.second is None:
        return None
    samples = None
    first, second = (scene.intervals.get(s.name) for s in (scene.chosen, scene.second))
    if first is not None and second is not None and first.evaluation.recordings == second.evaluation.recordings:
        samples = (first, second)
    return difference_table(scene.chosen, scene.second, samples=samples)


def draw_compare(scene: Scene) -> None:
    """Two systems side by side with differences."""
    if scene.second is None:
        st.info("Two scored systems are needed: add predictions under **Data**, *More predictions*.")
        return
    try:
        table = comparison_of(scene)
    except SaiError as error:
        st.error(plain(error))
        return
    assert table is not None
    st.markdown(f"**{plain(table.title)}**")
    threshold = threshold_choice(scene.revision)
    left, right = st.columns([3.1, 1], gap="medium")
    names = scene.chosen.name, scene.second.name
    with left:
        key = f"scores_compare_{scene.revision}_{names}"
        tables.draw(
            table, key=key, on_select=_difference_cell, args=(key, table, *names, threshold), name_width=140
        )  # fmt: skip
        st.caption(plain(table.note))
    with right:
        bars = f"scores_compare_bars_{scene.revision}_{names}"
        plotting.draw(
            charts.differences(table, height=tables.height_px(len(table.rows))),
            key=bars,
            on_select=_difference_bar,
            args=(bars, names[0], threshold),
            alt="Difference of mAP per class",
        )


VIEWS: Final[dict[str, Callable[[Scene], None]]] = {
    SYSTEMS: draw_systems,
    CLASSES: draw_classes,
    RECORDINGS: draw_recordings,
    CURVES: draw_curves,
    CONFUSION: draw_confusion,
    CALIBRATION: draw_calibration,
    BUDGET: draw_budget,
    SLICES: draw_slices,
    SELD: draw_seld,
    RANKING: draw_ranking,
    COMPARE: draw_compare,
}


def default_focus(view: str, scene: Scene) -> Focus:
    """What is listed before anything is chosen: what costs the system's macro mAP most."""
    if view == COMPARE and scene.second is not None:
        return _difference(scene.chosen.name, None, threshold_choice(scene.revision))
    if view == BUDGET and scene.budget is not None:
        gains = {kind: scene.budget.gain((kind,)) for kind in ERROR_KINDS}
        return _budget_focus(scene.chosen.name, max(ERROR_KINDS, key=lambda k: np.nan_to_num(gains[k])), None)
    if view == SLICES and scene.slices is not None and (worst := scene.slices.worst()):
        return _slice_focus(scene.chosen.name, worst[0])
    if view == RANKING and scene.ranking is not None:
        return Focus(view, "ap", scene.ranking.names[0], "mAP · macro", row="macro")
    if view == SELD:
        title = "angular error · macro"
        return Focus(view, "pairs", scene.chosen.name, title, row="macro", measure="angle_deg")
    if view == CONFUSION:
        return Focus(view, "direction", scene.chosen.name, "right place, wrong class", confused=True)
    return Focus(view, "ap", scene.chosen.name, "mAP · macro", row="macro")


def focus(view: str, scene: Scene) -> tuple[Focus, SystemResult] | None:
    """The chosen figure of this view and its system; the default where there is none (any more).

    None for a published figure, which has no frames.
    """
    chosen: Any = st.session_state.get(keys.SCORES_FOCUS)
    if isinstance(chosen, Focus) and chosen.view == view:
        if chosen.kind == "published":
            return None
        valid = chosen.threshold is None or any(abs(chosen.threshold - t) < 1e-9 for t in THRESHOLDS[scene.revision])
        one_system = view not in (*OF_ALL, COMPARE)
        valid = valid and (not chosen.rival or chosen.rival in scene.systems)
        if valid and chosen.system in scene.systems and not (one_system and chosen.system != scene.chosen.name):
            return chosen, scene.systems[chosen.system]
    chosen = default_focus(view, scene)
    return chosen, scene.systems[chosen.system]
