"""Figures page: AP over IoU, precision-recall, classes and training curves in the style of the figures."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import streamlit as st

from pages.components import background, roles, scores_jobs
from pages.components import state_keys as keys
from pages.components.text import plain
from pages.figures import common
from pages.figures.gallery import choose_split
from sai_core.dataset import DataRoot, PredictionSet
from sai_core.errors import SaiError
from sai_core.figures.gallery import set_note
from sai_core.figures.paper import curves
from sai_core.figures.paper.style import FigureFormat, PaperStyle
from sai_core.jobs import Job, wait_briefly
from sai_core.taxonomy import CLASS_NAMES

AP_CURVE: Final[str] = "AP over IoU"
PRECISION_RECALL: Final[str] = "Precision and recall"
CLASS_BARS: Final[str] = "Classes"
TRAINING: Final[str] = "Training"
KINDS: Final[tuple[str, ...]] = (AP_CURVE, PRECISION_RECALL, CLASS_BARS, TRAINING)
_ALL: Final[str] = "All classes"
Draw = Callable[[FigureFormat, PaperStyle], bytes]


def draw(root: DataRoot) -> None:
    """Draw this part of the page."""
    prefix = keys.FIGURES_CURVES
    left, right = st.columns([1, 2.6], gap="medium")
    with left:
        kind = st.selectbox("Curve", KINDS, key=f"{prefix}kind", persist_state="session")
        made = _training() if kind == TRAINING else _scores(root, str(kind))
        style = common.choose_style(panels=False)
    if made is None or style is None:
        return
    with right:
        if isinstance(made, Job):
            background.ready(made, again=scores_jobs.queue())
            return
        signature, name, file = made
        try:
            seen = common.preview_style(style)
            preview = common.picture(("curve", *signature, repr(seen)), lambda: file("png", seen))
        except SaiError as error:
            st.error(plain(error))
            return
        st.image(preview, width=common.preview_width(style))
        common.downloads(name, lambda file_format: file(file_format, style), key=f"{prefix}download_")


def _scores(root: DataRoot, kind: str) -> tuple[tuple[Any, ...], str, Draw] | Job[Any] | None:
    """What to draw from scores, or the calculation to wait for."""
    prefix = keys.FIGURES_CURVES
    sets = common.sets_of(root)
    if not sets:
        st.info("Curves need predictions: `predictions/<system>/<recording>.json`, or a folder under **Data**.")
        return None
    chosen = st.multiselect(
        "Systems",
        list(sets),
        default=list(sets)[:3],
        format_func=lambda n: sets[n].title,
        key=f"{prefix}systems",
        persist_state="session",
        max_selections=7,
    )
    recordings = choose_split(root, f"{prefix}split")
    details: dict[str, Any] = {}
    if kind == AP_CURVE:
        details["micro"] = st.checkbox(
            "Micro (all classes pooled)", key=f"{prefix}micro", persist_state="session", help="Off: mean over classes."
        )
    elif kind == PRECISION_RECALL:
        details["threshold"] = st.segmented_control(
            "Soft IoU",
            curves.OFFICIAL_IOUS,
            default=0.5,
            required=True,
            key=f"{prefix}iou",
            persist_state="session",
        )
        name = st.selectbox("Class", [_ALL, *CLASS_NAMES], key=f"{prefix}class", persist_state="session")
        details["category_id"] = None if name == _ALL else CLASS_NAMES.index(name)
    else:
        details["figure_name"] = st.selectbox(
            "Figure", curves.BAR_FIGURES, key=f"{prefix}figure", persist_state="session"
        )
    if not chosen:
        st.info("Choose at least one system.")
        return None
    systems = [sets[name] for name in chosen]
    selections = [scores_jobs.select(system, recordings) for system in systems]
    tasks = [scores_jobs.system(selection, "2026-06-30") for selection in selections if selection.labels]
    if not tasks:
        st.info("None of these recordings has both labels and predictions of a chosen system.")
        return None
    wait_briefly(tasks, 0.4)
    open_task = next((task for task in tasks if task.result is None), None)
    if open_task is not None:
        return open_task
    results = [task.result for task in tasks if task.result is not None]
    for problem in [p for result in results for p in result.problems]:
        st.warning(plain(problem))
    by_name = {s.name: s for s in systems}
    scores = {by_name[result.name].title: result.scores for result in results}
    names = {name for result in results for name in result.recordings}
    used: list[PredictionSet] = [by_name[result.name] for result in results]
    note = set_note([r for r in recordings if r.name in names], used)
    renderers: dict[str, Callable[..., bytes]] = {
        AP_CURVE: curves.render_ap_over_iou,
        PRECISION_RECALL: curves.render_precision_recall,
        CLASS_BARS: curves.render_class_bars,
    }
    render = renderers[kind]

    def file(file_format: FigureFormat, style: PaperStyle) -> bytes:
        return render(scores, file_format, style=style, note=note, **details)

    signature = (kind, tuple(selection.signature for selection in selections), repr(sorted(details.items())))
    return signature, common.safe_name(kind.lower().replace(" ", "_")), file


def _training() -> tuple[tuple[Any, ...], str, Draw] | None:
    prefix = keys.FIGURES_CURVES
    roles.note_on_paths()
    folder = roles.path_field(
        "Run folder",
        key=f"{prefix}run",
        persist_state="session",
        placeholder="runs/...",
        help="A folder of `python -m sai_core train` or of the Train page; its metrics.csv is drawn.",
    ).strip()
    if not folder:
        st.info("Give the folder of a training run.")
        return None
    try:
        log = curves.read_training_log(folder)
    except SaiError as error:
        st.error(plain(error))
        return None
    columns = st.multiselect(
        "Curves", list(log.columns), default=curves.default_curves(log), key=f"{prefix}columns_{log.name}"
    )
    logarithmic = st.checkbox("Logarithmic", key=f"{prefix}log", persist_state="session")
    if not columns:
        st.info("Choose at least one curve.")
        return None

    def file(file_format: FigureFormat, style: PaperStyle) -> bytes:
        return curves.render_training(log, columns, file_format, style=style, note=log.name, logarithmic=logarithmic)

    signature = ("training", folder, len(log.x), tuple(columns), logarithmic, float(log.x[-1]) if len(log.x) else 0.0)
    return signature, common.safe_name("training", log.name), file
