"""Charts of a report. Each draws itself into the axes of a page or of a picture."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Final

import numpy as np

from sai_core.figures.paper.style import SYSTEM_COLORS
from sai_core.metrics.evaluation.oracles import ERROR_KINDS
from sai_core.metrics.reading.budget import KIND_TITLES, Budget
from sai_core.metrics.reading.calibration import ReliabilityCurve, curve_points
from sai_core.metrics.reading.diagnostics import BootstrapResult, PrecisionRecallCurve
from sai_core.metrics.reading.ranking import Ranking
from sai_core.metrics.reading.systems import SystemResult
from sai_core.taxonomy import CLASS_COLORS, CLASS_NAMES, N_CLASSES

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_BLUE: Final[str] = SYSTEM_COLORS[0]
_GREEN: Final[str] = SYSTEM_COLORS[2]
_GREY: Final[str] = "#8a93a6"


@dataclass(frozen=True)
class Chart:
    """What draws itself, and how high it wants to be at the width of a page.

    Attributes
    ----------
    draw : callable
        Gets axes.
    height_mm : float
    alt : str
        What it shows, for those who do not see it.
    """

    draw: Callable[[Axes], None]
    height_mm: float
    alt: str


def _bare(axes: Axes) -> None:
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)


def _with_labels(system: SystemResult) -> list[int]:
    return [c for c in range(N_CLASSES) if system.evaluation.per_class[c].n_labels]


def _class_interval(system: SystemResult, samples: BootstrapResult, category: int) -> tuple[float, float] | None:
    """Lower and upper end of a class's mAP (95 %); None of a single recording, or where no resample has labels."""
    drawn = samples.per_class_map[:, category]
    drawn = drawn[~np.isnan(drawn)]
    if len(system.recordings) < 2 or not len(drawn):
        return None
    low, high = np.percentile(drawn, [2.5, 97.5]).tolist()
    return low, high


def end_of_bars(results: Sequence[SystemResult], samples: Sequence[BootstrapResult]) -> float:
    """Where the axis of :func:`class_bars` ends, the same for all systems of a report, so that bars can be compared.

    The largest mAP or upper end of an interval, rounded up to a tenth (below 0.1 to a fiftieth); 1 at most.
    """
    largest = 0.0
    for system, drawn in zip(results, samples, strict=True):
        for c in _with_labels(system):
            interval = _class_interval(system, drawn, c)
            largest = max(largest, float(np.nan_to_num(system.evaluation.per_class[c].mean_ap)))
            largest = max(largest, interval[1] if interval is not None else 0.0)
    if largest <= 0:
        return 1.0
    step = 0.1 if largest > 0.1 else 0.02
    # a value on a step needs no further one
    return min(round(step * math.ceil(largest / step - 1e-9), 2), 1.0)


def class_bars(system: SystemResult, samples: BootstrapResult, *, end: float = 1.0) -> Chart:
    """MAP of each class with labels, with its interval; the axis goes from 0 to ``end``, which its title states."""
    rows = _with_labels(system)

    def draw(axes: Axes) -> None:
        values = np.array([system.evaluation.per_class[c].mean_ap for c in rows])
        place = np.arange(len(rows))
        axes.barh(place, np.nan_to_num(values), color=[CLASS_COLORS[c] for c in rows], height=0.66)
        for k, c in enumerate(rows):
            interval = _class_interval(system, samples, c)
            if interval is not None:
                axes.plot(interval, [k, k], color="black", linewidth=0.9)
        axes.set_yticks(place, [CLASS_NAMES[c] for c in rows])
        axes.invert_yaxis()
        axes.set_xlim(0, end)
        title = "mAP, with 95 % interval" if len(system.recordings) > 1 else "mAP"
        axes.set_xlabel(title if end == 1 else f"{title} (the axis ends at {end:g}, not at 1)")
        axes.grid(axis="x", linewidth=0.3)
        axes.set_axisbelow(True)
        _bare(axes)

    return Chart(draw, 14 + 5.2 * max(len(rows), 1), "mAP of each class")


def curves(per_class: Mapping[int, PrecisionRecallCurve], pooled: PrecisionRecallCurve, threshold: float) -> Chart:
    """Precision over recall, one line a class, all pooled dashed."""

    def draw(axes: Axes) -> None:
        for c, curve in per_class.items():
            at = curve_points(len(curve.recall), at_most=80)
            name = f"{CLASS_NAMES[c]}  {curve.average_precision:.3f}"
            axes.plot(curve.recall[at], curve.precision[at], color=CLASS_COLORS[c], label=name)
        at = curve_points(len(pooled.recall), at_most=80)
        name = f"all pooled  {pooled.average_precision:.3f}"
        axes.plot(pooled.recall[at], pooled.precision[at], color="black", linestyle=(0, (4, 2)), label=name)
        axes.set_xlim(0, 1.01)
        axes.set_ylim(0, 1.02)
        axes.set_xlabel("Recall")
        axes.set_ylabel(f"Precision (IoU {threshold:g})")
        axes.grid(linewidth=0.3)
        axes.legend(loc="center left", bbox_to_anchor=(1.01, 0.5), title="AP")
        _bare(axes)

    return Chart(draw, 84, "Precision over recall of each class")


def reliability(curve: ReliabilityCurve, threshold: float) -> Chart:
    """Precision over score."""

    def draw(axes: Axes) -> None:
        axes.plot([0, 1], [0, 1], color=_GREY, linewidth=0.7, linestyle=(0, (1, 2)))
        there = curve.count > 0
        x, y = curve.mean_score[there], curve.precision[there]
        axes.errorbar(
            x, y, yerr=[y - curve.low[there], curve.high[there] - y], color=_BLUE, marker="o", markersize=3,
            elinewidth=0.7,
        )  # fmt: skip
        axes.set_xlim(0, 1)
        axes.set_ylim(0, 1.02)
        axes.set_xlabel("Score")
        axes.set_ylabel(f"Precision (IoU {threshold:g})")
        axes.grid(linewidth=0.3)
        _bare(axes)

    return Chart(draw, 62, "Precision over score")


def waterfall(budget: Budget) -> Chart:
    """Macro mAP as one kind of error after the other is put right."""

    def draw(axes: Axes) -> None:
        values = [evaluation.macro.mean_ap for evaluation in budget.path]
        names = ["as it is", *(KIND_TITLES[kind] for kind in ERROR_KINDS), "Extent"]
        bottoms = [0.0, *values[:-1], values[-1]]
        tops = [values[0], *values[1:], 1.0]
        colors = [_GREY, *[_GREEN if b >= a else SYSTEM_COLORS[1] for a, b in pairwise(values)]]
        for k, (low, high) in enumerate(zip(bottoms, tops, strict=True)):
            color = [*colors, "#d4d7dc"][k]
            axes.barh(k, high - low, left=low, color=color, height=0.62)
            text = f"{high:.3f}" if k == 0 else f"{high - low:+.3f}"
            axes.text(max(low, high) + 0.008, k, text, va="center", fontsize="small")
        axes.set_yticks(range(len(names)), names)
        axes.invert_yaxis()
        axes.set_xlim(0, 1.09)
        axes.set_xticks(np.linspace(0, 1, 6))
        axes.set_xlabel("Macro mAP, one kind of error after the other put right")
        axes.grid(axis="x", linewidth=0.3)
        axes.set_axisbelow(True)
        _bare(axes)

    return Chart(draw, 62, "Macro mAP as one kind of error after the other is put right")


def ranked(ranking: Ranking) -> Chart:
    """Macro mAP of each system on the common recordings, with its interval."""

    def draw(axes: Axes) -> None:
        for k, (value, low, high) in enumerate(
            zip(ranking.value.tolist(), ranking.low.tolist(), ranking.high.tolist(), strict=True)
        ):
            axes.plot([low, high], [k, k], color=SYSTEM_COLORS[k % len(SYSTEM_COLORS)], linewidth=1.6)
            axes.plot([value], [k], marker="o", color=SYSTEM_COLORS[k % len(SYSTEM_COLORS)], markersize=5)
        axes.set_yticks(range(len(ranking.names)), ranking.names)
        axes.invert_yaxis()
        axes.set_ylim(len(ranking.names) - 0.5, -0.5)
        axes.set_xlabel("Macro mAP, with 95 % interval")
        axes.grid(axis="x", linewidth=0.3)
        _bare(axes)

    return Chart(draw, 18 + 6 * len(ranking.names), "Macro mAP of each system")
