"""Calibration that is fitted: on one part of the recordings, and reported on the other, with intervals.

What a curve is made from are the detections that the settings keep: score, and whether it is a true positive of the
official matching at one IoU threshold. Curves rise strictly (:mod:`sai_core.postprocess.calibration`), so that nothing
else is kept than before and the order within a class stays: the AP of a class changes by no more than the rounding of
scores does.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, Literal, get_args

import numpy as np
import numpy.typing as npt
from scipy.optimize import isotonic_regression, minimize_scalar

from sai_core.errors import InputError
from sai_core.metrics import RecordingScores, bootstrap
from sai_core.metrics.reading.calibration import ReliabilityCurve, reliability_curve, score_bin, threshold_column
from sai_core.metrics.reading.tables import Column, Source, Table
from sai_core.postprocess import PipelineSettings
from sai_core.progress import Progress, no_progress
from sai_core.taxonomy import CLASS_NAMES, N_CLASSES
from sai_core.tuning.bench import TuningSet
from sai_core.tuning.search import division, part_names

Float64 = npt.NDArray[np.float64]
Bool = npt.NDArray[np.bool_]
Method = Literal["temperature", "isotonic"]
METHODS: Final[tuple[str, ...]] = get_args(Method)

MIN_DETECTIONS: Final[int] = 50
"""Detections that a class needs for a curve of its own; with fewer it takes that of all classes together."""

BINS: Final[int] = 10
"""Bins of the expected calibration error, and most bins of equal numbers that an isotonic curve is made from."""

_LOG_TEMPERATURES: Final[tuple[float, float]] = (math.log(0.05), math.log(20.0))
_DECIMALS: Final[int] = 6

SURE_FROM: Final[int] = 6
"""Recordings from which a difference can be sure: of five, equal signs alone have a probability of 2 / 2^5."""

FIGURES: Final[dict[str, str]] = {
    "macro_map": "macro mAP",
    "micro_map": "micro mAP",
    "f1": "macro F1, one threshold for all classes",
    "ece": "expected calibration error",
    "class_ece": "expected calibration error, mean of classes",
    "brier": "Brier score",
}
"""What is reported, by name; the last three are better when smaller."""


@dataclass(frozen=True)
class Change:
    """A figure before and after, with 95 % intervals by bootstrap over recordings; NaN where there is none.

    Attributes
    ----------
    before, after : tuple of float
        Value, low, high.
    difference : tuple of float
        After less before; its interval is of the same draws.
    """

    before: tuple[float, float, float]
    after: tuple[float, float, float]
    difference: tuple[float, float, float]


@dataclass(frozen=True, eq=False)
class CalibrationPart:
    """One part of the data, before and after.

    Attributes
    ----------
    names : tuple of str
        Recordings, or halves of one.
    changes : dict of str to Change
        By the names of :data:`FIGURES`.
    before, after : ReliabilityCurve
        Of all classes.
    """

    names: tuple[str, ...]
    changes: dict[str, Change]
    before: ReliabilityCurve
    after: ReliabilityCurve


@dataclass(frozen=True, eq=False)
class Calibration:
    """A fitted calibration.

    Attributes
    ----------
    settings : PipelineSettings
        The given ones with the fitted curves.
    method : {"temperature", "isotonic"}
    iou : float
        What counts as right.
    seed : int
        Of the division of the recordings, and of the intervals.
    fitted, held_out : CalibrationPart
        Where the curves were fitted (which flatters), and where not.
    by_time : bool
        The parts are the halves of one recording: no intervals.
    pooled : tuple of int
        Classes with too few detections in the fitted part, which take the curve of all classes together.
    threshold_before, threshold_after : float
        Common score threshold with the best macro F1 in the fitted part; F1 is told with it in both.
    n_resamples : int
    """

    settings: PipelineSettings
    method: Method
    iou: float
    seed: int
    fitted: CalibrationPart
    held_out: CalibrationPart
    by_time: bool
    pooled: tuple[int, ...]
    threshold_before: float
    threshold_after: float
    n_resamples: int

    def sentence(self) -> str:
        """What it changed where it was not fitted."""
        ece = self.held_out.changes["ece"]
        where = (
            "the second half of the recording" if self.by_time else f"{_count(len(self.held_out.names))} not fitted on"
        )
        if math.isnan(ece.before[0]):
            return f"There is no detection in {where}, so nothing can be said about the calibration."
        text = f"Expected calibration error {ece.before[0]:.4f} to {ece.after[0]:.4f} on {where}"
        low, high = ece.difference[1:]
        if math.isnan(low):
            return f"{text}; too few recordings for an interval."
        sure = "surely better" if high < 0 else "surely worse" if low > 0 else "not surely different"
        if len(self.held_out.names) < SURE_FROM:
            sure = f"on fewer than {SURE_FROM} recordings nothing is sure"
        return f"{text} (95 % interval of the change {low:+.4f} to {high:+.4f}: {sure})."

    def to_json(self) -> dict[str, Any]:
        """Everything as a JSON object; undefined is None."""

        def part(half: CalibrationPart) -> dict[str, Any]:
            changes = {
                name: {key: [_null(v) for v in getattr(change, key)] for key in ("before", "after", "difference")}
                for name, change in half.changes.items()
            }
            return {"names": list(half.names), **changes}

        values = self.settings.to_dict()
        return {
            "revision": "2026-06-30",
            "method": self.method,
            "iou": self.iou,
            "seed": self.seed,
            "by_time": self.by_time,
            "resamples": self.n_resamples,
            "pooled_classes": list(self.pooled),
            "threshold_before": _null(self.threshold_before),
            "threshold_after": _null(self.threshold_after),
            "temperature": values["temperature"],
            "isotonic": values["isotonic"],
            "fitted": part(self.fitted),
            "held_out": part(self.held_out),
        }


def _null(value: float) -> float | None:
    return None if math.isnan(value) else value


def _count(n: int) -> str:
    return f"{n} recording{'s' * (n != 1)}"


def fit_calibration(
    tuning_set: TuningSet,
    settings: PipelineSettings,
    *,
    method: Method = "isotonic",
    iou: float = 0.5,
    seed: int = 0,
    n_resamples: int = 1000,
    progress: Progress = no_progress,
) -> Calibration:
    """Fit a curve for every class on half of the recordings, and report on both halves.

    Parameters
    ----------
    tuning_set : TuningSet
        With one recording its first half in time is fitted on, and there are no intervals.
    settings : PipelineSettings
        A calibration that they have is replaced; "before" is without any.
    method : {"temperature", "isotonic"}
        One number a class (the likeliest), or a curve of up to ten points by isotonic regression.
    iou : float
        0.25, 0.5 or 0.75: what counts as right.
    seed : int
    n_resamples : int
        Of the intervals.
    progress : Progress
        May raise :class:`sai_core.errors.CancelledError`.

    Raises
    ------
    InputError
        An unknown method or threshold; no detections, or none that is right, in the fitted part; settings with a
        quality network.
    """
    if method not in METHODS:
        raise InputError(f"method {method!r} is not known; choose {' or '.join(METHODS)}.")
    if settings.quality:
        raise InputError(
            "quality: its network replaces the scores that would be calibrated; choose a system without one."
        )
    column = threshold_column("2026-06-30", iou)
    divide = division(tuning_set, seed)
    plain = replace(settings, temperature={}, isotonic={})
    before = divide(tuning_set.evaluate(plain).scores)
    progress(0.3, "detections are matched")
    score, category, hit = _detections(before[0], column)
    if not hit.any():
        raise InputError(
            "No detection of the fitted part is right at this IoU, so that there is nothing to calibrate with; take "
            "more recordings, another seed or a lower threshold."
        )
    few = np.bincount(category, minlength=N_CLASSES) < MIN_DETECTIONS
    own: dict[int, Any] = {}
    for c in range(N_CLASSES):
        chosen = np.ones(len(score), np.bool_) if few[c] else category == c
        own[c] = (
            _temperature(score[chosen], hit[chosen]) if method == "temperature" else _knots(score[chosen], hit[chosen])
        )
    found = replace(plain, temperature=own) if method == "temperature" else replace(plain, isotonic=own)
    after = divide(tuning_set.evaluate(found).scores)
    progress(0.5, "curves are fitted")
    thresholds = _best_threshold(before[0], column), _best_threshold(after[0], column)
    by_time = len(tuning_set) == 1
    parts = []
    for k, names in enumerate(part_names(tuning_set, seed)):
        parts.append(_part(names, before[k], after[k], column, iou, thresholds, n_resamples, seed))
        progress(0.75 + 0.25 * k, "figures")
    return Calibration(
        found,
        method,
        iou,
        seed,
        parts[0],
        parts[1],
        by_time,
        tuple(np.flatnonzero(few).tolist()),
        *thresholds,
        n_resamples,
    )


def _detections(scores: Sequence[RecordingScores], column: int) -> tuple[Float64, npt.NDArray[np.int64], Bool]:
    return (
        np.concatenate([s.detection_score for s in scores]),
        np.concatenate([s.detection_category for s in scores]).astype(np.int64),
        np.concatenate([s.detection_hit[:, column] for s in scores]),
    )


def _temperature(score: Float64, hit: Bool) -> float:
    """The temperature under which the outcomes are likeliest."""
    p = np.clip(score, 1e-6, 1 - 1e-6)
    logit = np.where(hit, 1.0, -1.0) * np.log(p / (1 - p))

    def loss(log_temperature: float) -> float:
        return float(np.logaddexp(0.0, -logit / math.exp(log_temperature)).mean())

    found = minimize_scalar(loss, bounds=_LOG_TEMPERATURES, method="bounded")
    return round(math.exp(found.x), _DECIMALS)


def _knots(score: Float64, hit: Bool) -> tuple[tuple[float, float], ...]:
    """Middles of the steps of the isotonic regression of up to ten bins with equal numbers of detections."""
    order = np.argsort(score, kind="stable")
    n_bins = int(np.clip(len(order) // 20, 1, BINS))
    bins = [part for part in np.array_split(order, n_bins) if len(part)]
    count = np.array([len(part) for part in bins], dtype=np.float64)
    # half a detection of each outcome more: no step is 0 or 1, which would tie what is ordered
    precision = np.array([(hit[part].sum() + 0.5) / (len(part) + 1) for part in bins])
    middle = np.array([score[part].mean() for part in bins])
    fitted = isotonic_regression(precision, weights=count)
    starts = fitted.blocks[:-1]
    weight = np.add.reduceat(count, starts)
    x = np.round(np.add.reduceat(middle * count, starts) / weight, _DECIMALS)
    y = np.round(fitted.x[starts], _DECIMALS)
    knots: list[tuple[float, float]] = []
    for a, b in zip(x.tolist(), y.tolist(), strict=True):
        # equal scores may fill several bins, and rounding may join two steps
        if 0 < a < 1 and 0 < b < 1 and (not knots or (a > knots[-1][0] and b > knots[-1][1])):
            knots.append((a, b))
    if not knots:
        raise InputError("All scores are 0 or 1, so that there is nothing to calibrate.")
    return tuple(knots)


def _counts(scores: Sequence[RecordingScores], column: int, at_least: float) -> tuple[Float64, Float64, Float64]:
    """Labels, kept and right detections of each recording and class, shape (n_recordings, 13) each."""
    labels, kept, right = (np.zeros((len(scores), N_CLASSES)) for _ in range(3))
    for k, s in enumerate(scores):
        labels[k] = s.n_labels
        chosen = s.detection_score >= at_least
        kept[k] = np.bincount(s.detection_category[chosen], minlength=N_CLASSES)
        right[k] = np.bincount(s.detection_category[chosen & s.detection_hit[:, column]], minlength=N_CLASSES)
    return labels, kept, right


def _f1(labels: Float64, kept: Float64, right: Float64) -> Float64:
    """Mean over classes with labels, along the last axis; NaN where there is none."""
    with np.errstate(divide="ignore", invalid="ignore"):
        each = np.where(labels > 0, 2 * right / (labels + kept), np.nan)
    n = (labels > 0).sum(axis=-1)
    return np.where(n > 0, np.nansum(each, axis=-1) / np.maximum(n, 1), np.nan)


def _best_threshold(scores: Sequence[RecordingScores], column: int) -> float:
    """Common threshold with the best macro F1, the highest of equally good ones, among 200 quantiles of the scores."""
    every = np.concatenate([s.detection_score for s in scores])
    tried = np.unique(np.quantile(every, np.linspace(0, 1, 200), method="lower"))[::-1]
    values = [float(_f1(*(part.sum(axis=0) for part in _counts(scores, column, t)))) for t in tried]
    return float(tried[int(np.nanargmax(values))]) if not np.isnan(values).all() else float(tried[-1])


def _part(
    names: tuple[str, ...],
    before: Sequence[RecordingScores],
    after: Sequence[RecordingScores],
    column: int,
    iou: float,
    thresholds: tuple[float, float],
    n_resamples: int,
    seed: int,
) -> CalibrationPart:
    rng = np.random.default_rng(seed)
    n = len(before)
    # the draws of the metrics' bootstrap, which has its own generator of the same seed
    draws = rng.integers(0, n, (n_resamples, n)) if n else np.zeros((n_resamples, 0), np.int64)
    weights = np.zeros((n_resamples + 1, n))
    np.add.at(weights, (np.arange(n_resamples)[:, None], draws), 1)
    weights[-1] = 1
    sides = [
        _samples(scores, weights, column, threshold, n_resamples, seed)
        for scores, threshold in zip((before, after), thresholds, strict=True)
    ]
    changes = {
        name: Change(
            *(_interval(values, n) for values in (sides[0][name], sides[1][name], sides[1][name] - sides[0][name]))
        )
        for name in FIGURES
    }
    curves = [reliability_curve(scores, threshold=iou, n_bins=BINS) for scores in (before, after)]
    return CalibrationPart(names, changes, *curves)


def _samples(
    scores: Sequence[RecordingScores], weights: Float64, column: int, at_least: float, n_resamples: int, seed: int
) -> dict[str, Float64]:
    """Figures of each resample and, last, of the recordings themselves."""
    drawn = bootstrap(scores, n=n_resamples, seed=seed)
    k = len(drawn.evaluation.thresholds)
    result = {
        "macro_map": np.append(drawn.macro[:, k], drawn.evaluation.macro.mean_ap),
        "micro_map": np.append(drawn.micro[:, k], drawn.evaluation.micro.mean_ap),
        "f1": _f1(*(weights @ part for part in _counts(scores, column, at_least))),
    }
    # per recording, class and bin: detections, sum of scores, true positives, squared errors
    sums = np.zeros((len(scores), N_CLASSES * BINS, 4))
    edges = np.linspace(0.0, 1.0, BINS + 1)
    for row, s in enumerate(scores):
        place = s.detection_category.astype(np.int64) * BINS + score_bin(s.detection_score, edges)
        hit = s.detection_hit[:, column]
        for part, values in enumerate((np.ones(len(s)), s.detection_score, hit, (s.detection_score - hit) ** 2)):
            sums[row, :, part] = np.bincount(place, weights=values, minlength=N_CLASSES * BINS)
    total = np.einsum("nr,rbk->nbk", weights, sums).reshape(len(weights), N_CLASSES, BINS, 4)
    with np.errstate(divide="ignore", invalid="ignore"):
        pooled = total.sum(axis=1)
        count = pooled[..., 0].sum(axis=1)
        result["ece"] = np.abs(pooled[..., 2] - pooled[..., 1]).sum(axis=1) / count
        result["brier"] = pooled[..., 3].sum(axis=1) / count
        of_class = np.abs(total[..., 2] - total[..., 1]).sum(axis=2) / total[..., 0].sum(axis=2)
    known = ~np.isnan(of_class)
    n_known = known.sum(axis=1)
    result["class_ece"] = np.where(
        n_known > 0, np.where(known, of_class, 0).sum(axis=1) / np.maximum(n_known, 1), np.nan
    )
    return result


def _interval(samples: Float64, n_recordings: int) -> tuple[float, float, float]:
    value, drawn = float(samples[-1]), samples[:-1]
    drawn = drawn[~np.isnan(drawn)]
    if n_recordings < 2 or not len(drawn):
        return value, math.nan, math.nan
    low, high = np.percentile(drawn, [2.5, 97.5])
    return value, float(low), float(high)


def calibration_table(found: Calibration, part: Literal["fitted", "held_out"] = "held_out") -> Table:
    """Figures before and after, with intervals, of one of the parts."""
    half: CalibrationPart = getattr(found, part)
    columns = [
        Column(f"{key}_{end}", title, better="", digits=4, group=group)
        for key, group in (("before", "before"), ("after", "after"), ("difference", "change"))
        for end, title in (("", "value"), ("_low", "from"), ("_high", "to"))
    ]
    values = [
        [value for key in ("before", "after", "difference") for value in getattr(change, key)]
        for change in half.changes.values()
    ]
    where = "fitted on" if part == "fitted" else "held out"
    note = (
        f"Right is a true positive at IoU {found.iou:g}. F1: detections from score {found.threshold_before:.3f} on "
        f"before and {found.threshold_after:.3f} after, the best for the fitted part."
    )
    if found.by_time or len(half.names) < 2:
        note += " One recording: no intervals."
    else:
        note += f" 95 % intervals: bootstrap over recordings, {found.n_resamples} resamples, seed {found.seed}."
    if found.pooled:
        names = ", ".join(CLASS_NAMES[c] for c in found.pooled)
        note += f" With fewer than {MIN_DETECTIONS} detections, and so on the curve of all classes: {names}."
    title = f"calibration by {found.method} · {where}: {_count(len(half.names))} · revision 2026-06-30"
    sources: tuple[Source, ...] = tuple("measured" for _ in values)
    return Table(title, note, "Figure", tuple(FIGURES.values()), sources, tuple(columns), np.array(values))
