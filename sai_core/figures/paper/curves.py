"""Curves and bars in the style of the paper figures: AP over IoU, precision over recall, classes, training.

All scores are of the metric of revision 2026-06-30 (soft IoU), from :class:`sai_core.metrics.RecordingScores`. AP over
IoU extends its three thresholds to any: a detection counts where the soft IoU with its assigned label reaches the
threshold, everything else is as in the official table, whose values lie on the curve.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from sai_core.errors import InputError, check_known
from sai_core.figures.paper.style import SYSTEM_DASHES, FigureFormat, PaperStyle, drawing, figure_bytes, new_figure
from sai_core.files import user_path
from sai_core.metrics import RecordingScores, merge, precision_recall_curve
from sai_core.metrics.evaluation.scores import best_first, ordered
from sai_core.metrics.official.average_precision import average_precision_0630
from sai_core.taxonomy import N_CLASSES, SHORT_NAMES, class_color, class_name

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Float64 = npt.NDArray[np.float64]
Scores = Mapping[str, Sequence[RecordingScores]]
"""Scores of the recordings of each system, by the name to be shown."""

IOU_STEPS: Final[tuple[float, ...]] = tuple(k / 100 for k in range(5, 100, 5))
OFFICIAL_IOUS: Final[tuple[float, ...]] = (0.25, 0.5, 0.75)
BAR_FIGURES: Final[tuple[str, ...]] = ("mAP", "AP25", "AP50", "AP75", "Pearson r")


def ap_over_iou(scores: Sequence[RecordingScores], thresholds: Sequence[float] = IOU_STEPS) -> tuple[Float64, Float64]:
    """Average precision at any soft-IoU threshold.

    Parameters
    ----------
    scores : sequence of RecordingScores
        Revision 2026-06-30.
    thresholds : sequence of float
        In (0, 1].

    Returns
    -------
    macro : float64, shape (n,)
        Mean over the classes that have labels; NaN without labels.
    micro : float64, shape (n,)
        All classes pooled.

    Raises
    ------
    InputError
        Scores of the other revision, whose IoU is of masks and is not kept for each pair.
    """
    in_order = ordered(scores)
    if any(scored.revision != "2026-06-30" for scored in in_order):
        raise InputError("AP over IoU needs scores of revision 2026-06-30.")
    macro, micro = np.full((2, len(thresholds)), np.nan)
    if not in_order:
        return macro, micro
    order, _ = best_first(in_order)
    iou = np.concatenate([scored.detection_iou for scored in in_order])[order]
    paired = np.concatenate([scored.detection_label for scored in in_order])[order] >= 0
    category = np.concatenate([scored.detection_category for scored in in_order])[order]
    n_labels = np.sum([scored.n_labels for scored in in_order], axis=0)
    with_labels = np.flatnonzero(n_labels)
    for k, threshold in enumerate(thresholds):
        hit = paired & (iou >= threshold)
        if len(with_labels):
            values = [average_precision_0630(hit[category == c], int(n_labels[c])) for c in with_labels]
            macro[k] = float(np.mean(values))
        micro[k] = average_precision_0630(hit, int(n_labels.sum()))
    return macro, micro


def render_ap_over_iou(
    scores: Scores, file_format: FigureFormat, *, style: PaperStyle, note: str = "", micro: bool = False
) -> bytes:
    """AP over the IoU threshold, one curve a system; the official thresholds are marked."""
    curves = {name: ap_over_iou(scored)[1 if micro else 0] for name, scored in scores.items()}
    marks = {name: ap_over_iou(scored, OFFICIAL_IOUS)[1 if micro else 0] for name, scored in scores.items()}

    def draw(axes: Axes) -> None:
        for i, (name, values) in enumerate(curves.items()):
            colour, dash = style.system_color(i), SYSTEM_DASHES[i % len(SYSTEM_DASHES)]
            mean = float(np.mean(marks[name]))
            label = f"{name} (mAP {mean:.3f})" if not math.isnan(mean) else f"{name} (no labels)"
            axes.plot(IOU_STEPS, values, color=colour, linestyle=dash, label=label)
            axes.plot(OFFICIAL_IOUS, marks[name], "o", color=colour, markersize=2.6)
        _finish(axes, "Soft IoU threshold", f"{'Micro' if micro else 'Macro'} AP", xlim=(0, 1), ylim=(0, _top(curves)))
        axes.set_xticks([0, 0.25, 0.5, 0.75, 1])
        axes.legend(loc="upper right")

    return _render(draw, file_format, style=style, note=note)


def render_precision_recall(
    scores: Scores,
    file_format: FigureFormat,
    *,
    style: PaperStyle,
    note: str = "",
    threshold: float = 0.5,
    category_id: int | None = None,
) -> bytes:
    """Precision over recall at one of the official IoU thresholds, of a class or all classes pooled."""
    curves = {
        name: precision_recall_curve(scored, threshold=threshold, category_id=category_id)
        for name, scored in scores.items()
    }

    def draw(axes: Axes) -> None:
        for i, (name, curve) in enumerate(curves.items()):
            value = curve.average_precision
            label = f"{name} (AP {value:.3f})" if not math.isnan(value) else f"{name} (no labels)"
            colour, dash = style.system_color(i), SYSTEM_DASHES[i % len(SYSTEM_DASHES)]
            # a point for every detection is no use in print and would make the file large: corners of the steps
            recall, precision = _corners(curve.recall, curve.precision)
            axes.plot(recall, precision, color=colour, linestyle=dash, label=label)
        what = "all classes" if category_id is None else class_name(category_id)
        _finish(axes, "Recall", "Precision", xlim=(0, 1), ylim=(0, 1.02))
        axes.set_title(f"{what}, soft IoU ≥ {threshold:g}", pad=3)
        axes.legend(loc="best")

    return _render(draw, file_format, style=style, note=note)


def _corners(recall: Float64, precision: Float64) -> tuple[Float64, Float64]:
    """Curve without the points that lie between two others at one recall."""
    if len(recall) < 3:
        return recall, precision
    same_before = np.concatenate([[False], recall[1:] == recall[:-1]])
    same_after = np.concatenate([recall[1:] == recall[:-1], [False]])
    keep = ~(same_before & same_after)
    return recall[keep], precision[keep]


def render_class_bars(
    scores: Scores, file_format: FigureFormat, *, style: PaperStyle, note: str = "", figure_name: str = "mAP"
) -> bytes:
    """One group of bars a class in its colour, one bar a system; systems differ by hatching.

    Raises
    ------
    InputError
        An unknown figure.
    """
    check_known("Figure", figure_name, BAR_FIGURES)
    evaluations = {name: merge(scored) for name, scored in scores.items()}
    column = BAR_FIGURES.index(figure_name) - 1

    def value(row: Any) -> float:
        return row.mean_ap if column < 0 else row.ap[column] if column < 3 else row.pearson_r

    classes = [
        c
        for c in range(N_CLASSES)
        if any(e.per_class[c].n_labels or e.per_class[c].n_detections for e in evaluations.values())
    ]
    hatches = ("", "////", "....", "xxxx", "----", "oo", "++")

    def draw(axes: Axes) -> None:
        from matplotlib.patches import Patch

        width = 0.82 / max(len(evaluations), 1)
        for i, evaluation in enumerate(evaluations.values()):
            for place, c in enumerate(classes):
                height = value(evaluation.per_class[c])
                x = place + (i - (len(evaluations) - 1) / 2) * width
                if math.isnan(height):
                    axes.text(x, 0, "–", ha="center", va="bottom", fontsize=0.8 * style.font_size_pt)
                    continue
                axes.bar(
                    x,
                    height,
                    0.92 * width,
                    facecolor=class_color(c) if i == 0 else style.page_color,
                    edgecolor=class_color(c),
                    hatch=hatches[i % len(hatches)],
                    linewidth=0.7,
                )
        axes.set_xticks(range(len(classes)), [SHORT_NAMES[c] for c in classes], rotation=35, ha="right",
                        rotation_mode="anchor")  # fmt: skip
        axes.tick_params(axis="x", length=0)
        heights = [value(e.per_class[c]) for e in evaluations.values() for c in classes]
        highest = max((h for h in heights if not math.isnan(h)), default=0.0)
        lowest = min((h for h in heights if not math.isnan(h)), default=0.0)
        _finish(axes, "", figure_name, xlim=(-0.6, max(len(classes), 1) - 0.4),
                ylim=(min(0.0, 1.1 * lowest), 1.25 * highest or 1.0))  # fmt: skip
        axes.grid(visible=False, axis="x")
        axes.axhline(0, color=style.text_color, linewidth=0.5)
        entries = [
            Patch(
                facecolor=style.text_color if i == 0 else style.page_color,
                edgecolor=style.text_color,
                hatch=hatches[i % len(hatches)],
                linewidth=0.6,
                label=f"{name} (macro {value(evaluation.macro):.3f})",
            )
            for i, (name, evaluation) in enumerate(evaluations.items())
        ]
        axes.legend(handles=entries, loc="upper right", ncols=min(3, len(entries)) if style.width_mm > 120 else 1)

    return _render(draw, file_format, style=style, note=note, extra_mm=2.6 * style.em_mm)


@dataclass(frozen=True, eq=False)
class TrainingLog:
    """A run's ``metrics.csv``.

    Attributes
    ----------
    name : str
        The run folder's name.
    x_name : str
        What ``x`` counts: ``step`` or ``epoch``.
    x : float64, shape (n,)
        Rising; steps of later stages follow on those of earlier ones.
    columns : mapping of str to float64, shape (n,)
        Numeric columns; NaN where a row has no value.
    stage_starts : tuple of float
        Where stages after the first begin on the x axis.
    """

    name: str
    x_name: str
    x: Float64
    columns: Mapping[str, Float64]
    stage_starts: tuple[float, ...]


_X_COLUMNS: Final[tuple[str, ...]] = ("step", "epoch", "iteration")
_NOT_CURVES: Final[frozenset[str]] = frozenset({"stage", "seconds", "time", "hours", *_X_COLUMNS})
_MAX_LOG_BYTES: Final[int] = 64 << 20


def read_training_log(run: str | Path) -> TrainingLog:
    """Read the ``metrics.csv`` of a run folder (or the file itself).

    Raises
    ------
    InputError
        No such file, no column ``step`` or ``epoch``, no numbers.
    """
    path = user_path(run, what="run folder")
    path = path / "metrics.csv" if path.is_dir() else path
    try:
        if path.stat().st_size > _MAX_LOG_BYTES:
            raise InputError(f"{path}: is larger than 64 MB; that is not a training log.")
        with open(path, encoding="utf-8", newline="") as stream:
            rows = list(csv.DictReader(stream))
    except OSError as error:
        raise InputError(
            f"{run}: has no readable metrics.csv ({error.strerror or error}); give a run folder."
        ) from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path}: is not a CSV file ({error}).") from error
    names = [name for name in (rows[0] if rows else {}) if name]
    x_name = next((name for name in _X_COLUMNS if name in names), None)
    if x_name is None:
        raise InputError(f"{path}: needs a column named step or epoch and at least one row.")
    table = {name: np.array([_number(row.get(name)) for row in rows]) for name in names}
    x, starts = _running(table[x_name], table.get("stage"))
    keep = ~np.isnan(x)
    columns = {
        name: values[keep]
        for name, values in table.items()
        if name not in _NOT_CURVES and not np.isnan(values[keep]).all()
    }
    if not columns:
        raise InputError(f"{path}: holds no numbers to draw yet.")
    return TrainingLog(path.parent.name or path.stem, x_name, x[keep], columns, starts)


def default_curves(log: TrainingLog) -> list[str]:
    """Columns worth drawing first: losses and validation figures, at most four."""
    wanted = [name for name in log.columns if any(key in name.lower() for key in ("loss", "val", "map"))]
    return (wanted or list(log.columns))[:4]


def render_training(
    log: TrainingLog,
    columns: Sequence[str],
    file_format: FigureFormat,
    *,
    style: PaperStyle,
    note: str = "",
    logarithmic: bool = False,
) -> bytes:
    """Training curves of a run; dashed verticals where a stage begins.

    Raises
    ------
    InputError
        A column that the log lacks, or none.
    """
    unknown = [name for name in columns if name not in log.columns]
    if unknown or not columns:
        raise InputError(
            f"{log.name}: has no column {unknown[0]!r}; there are {', '.join(log.columns)}."
            if unknown
            else f"{log.name}: choose at least one column."
        )

    def draw(axes: Axes) -> None:
        for i, name in enumerate(columns):
            values = log.columns[name]
            there = ~np.isnan(values)
            sparse = there.sum() <= 40
            axes.plot(
                log.x[there],
                values[there],
                color=style.system_color(i),
                linestyle=SYSTEM_DASHES[i % len(SYSTEM_DASHES)],
                marker="o" if sparse else None,
                markersize=2.0,
                label=name,
            )
        for start in log.stage_starts:
            axes.axvline(start, color=style.muted_color, linewidth=0.7, linestyle=(0, (4, 2)), zorder=0)
        _finish(axes, log.x_name.capitalize(), "Value")
        if logarithmic:
            axes.set_yscale("log")
            # plain numbers: powers of ten would be typeset as formulas, which are off for the sake of file names
            axes.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
            axes.yaxis.set_minor_formatter(lambda value, _: "")
        axes.legend(loc="best")

    return _render(draw, file_format, style=style, note=note)


def _number(text: object) -> float:
    try:
        return float(str(text).strip()) if text not in (None, "") else math.nan
    except ValueError:
        return math.nan


def _running(x: Float64, stage: Float64 | None) -> tuple[Float64, tuple[float, ...]]:
    """Steps that begin anew with every stage, put one after the other."""
    if stage is None or len(x) < 2:
        return x, ()
    running, starts, offset = x.copy(), [], 0.0
    for k in range(1, len(x)):
        if stage[k] != stage[k - 1] and x[k] <= x[k - 1]:
            offset = float(running[k - 1])
            starts.append(offset)
        running[k] = x[k] + offset
    return running, tuple(starts)


def _top(curves: Mapping[str, Float64]) -> float:
    highest = max((float(np.nanmax(v)) for v in curves.values() if not np.isnan(v).all()), default=0.0)
    return min(1.02, 1.2 * highest) or 1.0


def _finish(
    axes: Axes, x: str, y: str, *, xlim: tuple[float, float] | None = None, ylim: tuple[float, float] | None = None
) -> None:
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    if xlim is not None:
        axes.set_xlim(*xlim)
    if ylim is not None:
        axes.set_ylim(*ylim)
    axes.grid(visible=True)
    axes.set_axisbelow(True)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)


def _render(
    draw: Callable[[Axes], None], file_format: FigureFormat, *, style: PaperStyle, note: str, extra_mm: float = 0.0
) -> bytes:
    """Figure with one pair of axes and a note below, 0.62 as high as wide (at most 90 mm)."""
    em = style.em_mm
    lines = _note_lines(note, style)
    note_mm = 1.15 * em * len(lines) + (0.4 * em if lines else 0.0)
    plot_mm = min(0.62 * style.width_mm, 90.0)
    height = plot_mm + note_mm + extra_mm
    with drawing(style):
        figure: Figure = new_figure(style, height)
        left, right, top, bottom = 4.6 * em, 1.0 * em, 1.9 * em, 3.4 * em + extra_mm + note_mm
        axes = figure.add_axes(
            (
                left / style.width_mm,
                bottom / height,
                1 - (left + right) / style.width_mm,
                1 - (top + bottom) / height,
            )
        )
        draw(axes)
        for number, line in enumerate(lines):
            y = (note_mm - 0.2 * em - 1.15 * em * number) / height
            figure.text(0.5, y, line, ha="center", va="top", fontsize=0.86 * style.font_size_pt)
        return figure_bytes(figure, style, file_format, title=note)


def _note_lines(note: str, style: PaperStyle) -> list[str]:
    if not note:
        return []
    per_line = max(20, int(style.width_mm / (0.46 * style.em_mm)))
    lines: list[str] = []
    for part in note.split(" · "):
        if lines and len(lines[-1]) + 3 + len(part) <= per_line:
            lines[-1] += f" · {part}"
        else:
            lines.append(part)
    return lines
