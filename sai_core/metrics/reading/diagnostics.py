"""What users want beside the official figures: curves, errors, confusions, intervals.

Everything here is computed from :class:`~sai_core.metrics.RecordingScores` (the official matching, by soft IoU or mask
IoU) or from :class:`~sai_core.metrics.SpatialMatches` (matching by direction), so that nothing is rendered again. Rows
carry frames and annotation indices, so that a page can go from any number to the frames behind it (:func:`find_missed`,
:func:`find_false_positives`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from sai_core.errors import InputError
from sai_core.metrics.evaluation.evaluate import Source, score_recordings
from sai_core.metrics.evaluation.matching import SpatialMatches
from sai_core.metrics.evaluation.scores import Evaluation, Figures, RecordingScores, best_first, merge, ordered
from sai_core.metrics.official.average_precision import (
    RECALL_LEVELS,
    interpolated_precision_coco,
    precision_recall_0630,
)
from sai_core.metrics.official.revisions import THRESHOLDS, Revision, is_soft, leaves_out_absent_classes
from sai_core.progress import Progress, no_progress
from sai_core.taxonomy import N_CLASSES

Int64 = npt.NDArray[np.int64]
Float64 = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class PrecisionRecallCurve:
    """Precision and recall after each detection, best score first.

    Attributes
    ----------
    recall, precision, score : float64, shape (n,)
        One point per detection; ties in the stable order of :func:`sai_core.metrics.evaluation.scores.best_first`.
    n_labels : int
        Labels that could have been found.
    average_precision : float
        AP as in the table of the revision; NaN without labels.
    """

    recall: Float64
    precision: Float64
    score: Float64
    n_labels: int
    average_precision: float


def precision_recall_curve(
    scores: Iterable[RecordingScores], *, threshold: float = 0.5, category_id: int | None = None
) -> PrecisionRecallCurve:
    """Precision-recall curve of a class, or of all classes pooled.

    Parameters
    ----------
    scores : iterable of RecordingScores
        Of one revision, in any order.
    threshold : float
        One of the revision's IoU thresholds.
    category_id : int, optional
        0..12; by default all classes pooled (the micro row).

    Returns
    -------
    PrecisionRecallCurve
        Without labels recall is all NaN.

    Raises
    ------
    InputError
        A threshold that the revision does not have, a class outside 0..12.
    """
    in_order = ordered(scores)
    if category_id is not None and not 0 <= category_id < N_CLASSES:
        raise InputError(f"category_id must lie in 0..{N_CLASSES - 1}, got {category_id}.")
    if not in_order:
        empty = np.zeros(0)
        return PrecisionRecallCurve(empty, empty, empty, 0, math.nan)
    column = _threshold_column(in_order[0].revision, threshold)
    order, _ = best_first(in_order)
    hit = np.concatenate([s.detection_hit[:, column] for s in in_order])[order]
    score = np.concatenate([s.detection_score for s in in_order])[order]
    n_labels = np.sum([s.n_labels for s in in_order], axis=0)
    if category_id is not None:
        chosen = np.concatenate([s.detection_category for s in in_order])[order] == category_id
        hit, score, n_labels = hit[chosen], score[chosen], n_labels[category_id : category_id + 1]
    n = int(n_labels.sum())
    with np.errstate(divide="ignore", invalid="ignore"):
        recall, precision = precision_recall_0630(hit, n)
    evaluation = merge(in_order)
    row = evaluation.micro if category_id is None else evaluation.per_class[category_id]
    ap = row.ap[column]
    if math.isnan(ap) and n and category_id is None:
        # 2026-04-02 defines no pooled AP: that of the curve drawn here, by its own rule
        ap = float(np.mean(interpolated_precision_coco(hit, n)))
    known = recall.astype(np.float64) if n else np.full(len(hit), np.nan)
    return PrecisionRecallCurve(known, precision.astype(np.float64), score, n, ap)


def _threshold_column(revision: Revision, threshold: float) -> int:
    thresholds = THRESHOLDS[revision]
    for column, value in enumerate(thresholds):
        if math.isclose(value, threshold, abs_tol=1e-9):
            return column
    shown = ", ".join(f"{t:g}" for t in thresholds)
    raise InputError(f"Revision {revision} has the IoU thresholds {shown}, not {threshold:g}.")


@dataclass(frozen=True, eq=False)
class ErrorCounts:
    """Misses and false positives at one IoU threshold.

    Attributes
    ----------
    threshold : float
        IoU threshold.
    recordings : tuple of str
        Rows of the arrays, sorted.
    missed : int64, shape (n_recordings, 13)
        Labels without a detection of their class that reaches the threshold.
    false_positives : int64, shape (n_recordings, 13)
        Detections that are no true positive at the threshold.
    """

    threshold: float
    recordings: tuple[str, ...]
    missed: Int64
    false_positives: Int64


def count_errors(scores: Iterable[RecordingScores], *, threshold: float = 0.5) -> ErrorCounts:
    """Misses and false positives per recording and class at an IoU threshold.

    Raises
    ------
    InputError
        A threshold that the revision does not have.
    """
    in_order = ordered(scores)
    missed, false = np.zeros((2, len(in_order), N_CLASSES), np.int64)
    for row, recording_scores in enumerate(in_order):
        column = _threshold_column(recording_scores.revision, threshold)
        hits = np.bincount(
            recording_scores.detection_category[recording_scores.detection_hit[:, column]], minlength=N_CLASSES
        )
        missed[row] = recording_scores.n_labels - hits
        false[row] = recording_scores.n_detections - hits
    return ErrorCounts(threshold, tuple(s.recording for s in in_order), missed, false)


def find_missed(scores: RecordingScores, *, threshold: float = 0.5) -> tuple[Int64, npt.NDArray[np.int32]]:
    """Labels of a recording that no detection reaches at an IoU threshold: what is behind :class:`ErrorCounts`.

    Parameters
    ----------
    scores : RecordingScores
        For 2026-04-02 only 0.5 is possible: which label a detection takes is kept for that threshold alone.
    threshold : float
        IoU threshold of the revision.

    Returns
    -------
    label : int64
        Annotation indices in the label table, rising.
    frame : int32
        Their frames.

    Raises
    ------
    InputError
        A threshold that the revision does not have, or that does not tell labels apart.
    """
    column = _threshold_column(scores.revision, threshold)
    if not is_soft(scores.revision) and column:
        raise InputError("Revision 2026-04-02 keeps the labels behind its detections at the threshold 0.5 only.")
    found = scores.detection_label[scores.detection_hit[:, column]]
    left = ~np.isin(scores.label_index, found)
    return scores.label_index[left], scores.label_frame[left]


def find_false_positives(scores: RecordingScores, *, threshold: float = 0.5) -> tuple[Int64, npt.NDArray[np.int32]]:
    """Detections of a recording that are no true positive at an IoU threshold, best score first.

    Returns
    -------
    prediction : int64
        Annotation indices in the prediction table.
    frame : int32
        Their frames.

    Raises
    ------
    InputError
        A threshold that the revision does not have.
    """
    wrong = np.flatnonzero(~scores.detection_hit[:, _threshold_column(scores.revision, threshold)])
    wrong = wrong[np.argsort(-scores.detection_score[wrong], kind="stable")]
    return scores.detection_index[wrong], scores.detection_frame[wrong]


def confusion_matrix(matches: Iterable[SpatialMatches]) -> Int64:
    """Classes of labels against classes of the predictions that point the same way.

    Parameters
    ----------
    matches : iterable of SpatialMatches
        Matched without regard to class (``same_class=False``); otherwise all pairs lie on the diagonal.

    Returns
    -------
    matrix : int64, shape (14, 14)
        Row = class of the label, column = class of the prediction; column 13 counts labels that nothing points at
        (missed), row 13 predictions that point at no label (false). ``matrix[13, 13]`` is 0.
    """
    size = N_CLASSES + 1
    matrix = np.zeros((size, size), np.int64)
    for recording_matches in matches:
        np.add.at(matrix, (recording_matches.pair_label_category, recording_matches.pair_prediction_category), 1)
        matrix[:N_CLASSES, N_CLASSES] += np.bincount(recording_matches.missed_category, minlength=N_CLASSES)
        matrix[N_CLASSES, :N_CLASSES] += np.bincount(recording_matches.false_category, minlength=N_CLASSES)
    return matrix


def matched_class_f1(matches: Iterable[SpatialMatches]) -> tuple[float, Float64]:
    """Macro F1 of the class of labels and predictions that point the same way (SAID's diagnostic).

    Labels and predictions of a frame are matched by the great-circle angle between their strongest points, without
    regard to class, at most 20 degrees apart (:func:`sai_core.metrics.spatial_matches` with its defaults).
    Only matched pairs count: a class's precision is the share of its matched predictions whose label is of the
    class, its recall the share of its matched labels whose prediction is. The macro mean is over the classes that
    have labels, matched or not; a class none of whose labels is matched gets 0. Detection plays no part in it: it
    answers whether what was found was named rightly.

    Parameters
    ----------
    matches : iterable of SpatialMatches
        ``same_class=False``.

    Returns
    -------
    macro : float
        In [0, 1]; NaN without labels (SAID's program gives 0 there).
    per_class : float64, shape (13,)
        NaN for classes without labels.

    References
    ----------
    SAID (Kong et al., DCASE 2026 Task 3), documentation of its ``matched_class_macro_f1``.
    """
    matrix = confusion_matrix(matches)
    pairs = matrix[:N_CLASSES, :N_CLASSES]
    right = np.diag(pairs).astype(np.float64)
    # 2 TP / (2 TP + FP + FN): the harmonic mean of precision and recall, 0 without any
    total = pairs.sum(axis=0) + pairs.sum(axis=1)
    per_class = np.divide(2 * right, total, out=np.zeros(N_CLASSES), where=total > 0)
    per_class[matrix[:N_CLASSES].sum(axis=1) == 0] = np.nan
    defined = per_class[~np.isnan(per_class)]
    return (float(defined.mean()) if len(defined) else math.nan), per_class


@dataclass(frozen=True)
class PairErrors:
    """Errors of place of matched pairs of one class, or of all.

    Attributes
    ----------
    n_pairs : int
        Pairs.
    mean_deg, median_deg, p90_deg : float
        Great-circle angle between the strongest points; NaN without pairs.
    n_distances : int
        Pairs in which both sides have a distance and the label's exceeds 1e-3 cm.
    mean_abs_cm, median_abs_cm, bias_cm : float
        Absolute and signed (prediction minus label) distance error; NaN without distances.
    mape : float
        Mean absolute distance error in percent of the label's distance; NaN without. Unlike the official figure of
        2026-04-02 this leaves pairs out whose prediction has no distance.
    """

    n_pairs: int
    mean_deg: float
    median_deg: float
    p90_deg: float
    n_distances: int
    mean_abs_cm: float
    median_abs_cm: float
    bias_cm: float
    mape: float


def pair_errors(matches: Iterable[SpatialMatches]) -> tuple[tuple[PairErrors, ...], PairErrors]:
    """Localisation and distance errors of matched pairs whose classes agree.

    Parameters
    ----------
    matches : iterable of SpatialMatches
        Best with ``same_class=True``; of others, the pairs off the diagonal are left out.

    Returns
    -------
    per_class : tuple of 13 PairErrors
        Index = ``category_id``.
    overall : PairErrors
        All classes pooled.
    """
    parts = list(matches)
    columns = {
        name: np.concatenate([np.zeros(0), *(getattr(m, name) for m in parts)])
        for name in (
            "pair_label_category",
            "pair_prediction_category",
            "pair_angle_deg",
            "pair_label_cm",
            "pair_prediction_cm",
        )
    }
    same = columns["pair_label_category"] == columns["pair_prediction_category"]
    category = columns["pair_label_category"]

    def errors(chosen: npt.NDArray[np.bool_]) -> PairErrors:
        angle = columns["pair_angle_deg"][chosen]
        truth, guess = columns["pair_label_cm"][chosen], columns["pair_prediction_cm"][chosen]
        usable = (truth > 1e-3) & ~np.isnan(guess)
        signed, truth = (guess - truth)[usable], truth[usable]
        size = np.abs(signed)
        return PairErrors(
            n_pairs=len(angle),
            mean_deg=_or_nan(np.mean, angle),
            median_deg=_or_nan(np.median, angle),
            p90_deg=_or_nan(lambda v: np.percentile(v, 90), angle),
            n_distances=len(signed),
            mean_abs_cm=_or_nan(np.mean, size),
            median_abs_cm=_or_nan(np.median, size),
            bias_cm=_or_nan(np.mean, signed),
            mape=_or_nan(np.mean, size / truth * 100.0),
        )

    return tuple(errors(same & (category == c)) for c in range(N_CLASSES)), errors(same)


def _or_nan(statistic: Callable[[Float64], Any], values: Float64) -> float:
    return float(statistic(values)) if len(values) else math.nan


def class_agnostic_figures(
    labels: Mapping[str, Source],
    predictions: Mapping[str, Source],
    *,
    revision: Revision = "2026-06-30",
    workers: int = 1,
    progress: Progress = no_progress,
    allow_large: bool = False,
    use_cache: bool = True,
) -> Figures:
    """Figures with all classes merged into one: whether sources are found, whatever they are called.

    Labels and predictions are matched across classes within each frame; everything else is as in
    :func:`sai_core.metrics.evaluate`, whose options these are. SAID calls the ``mean_ap`` of 2026-06-30
    "class-agnostic AP" and that of 2026-04-02 "Mask AP". A class is then present wherever anything is, so that
    2026-05-28 and 2026-06-30 differ for a set without any detection alone.

    Returns
    -------
    Figures
        Named ``"all classes"``.
    """
    names = sorted(set(labels) & set(predictions))
    scores = score_recordings(
        labels,
        {name: predictions[name] for name in names},
        revision=revision,
        workers=workers,
        progress=progress,
        allow_large=allow_large,
        use_cache=use_cache,
        class_agnostic=True,
    )
    if not scores:
        return Figures("all classes", 0, 0, 0, 0, (math.nan,) * len(THRESHOLDS[revision]), *(math.nan,) * 3)
    return replace(merge(scores).per_class[0], name="all classes")


@dataclass(frozen=True)
class Interval:
    """A figure with its bootstrap interval: ``low <= high``; all NaN where undefined."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, eq=False)
class BootstrapResult:
    """Figures of resampled sets of recordings.

    Attributes
    ----------
    evaluation : Evaluation
        Of the set itself.
    macro, micro : float64, shape (n, k)
        Rows = resamples. Columns: AP at each threshold, their mean (mAP), Pearson r, distance error in percent.
    per_class_map : float64, shape (n, 13)
        mAP of each class; NaN where a resample holds no label of it.
    """

    evaluation: Evaluation
    macro: Float64
    micro: Float64
    per_class_map: Float64

    def interval(self, name: str, *, level: float = 0.95, row: str = "macro") -> Interval:
        """Percentile interval of a figure.

        Parameters
        ----------
        name : str
            ``"mAP"``, ``"AP25"`` (or another threshold of the revision), ``"pearson_r"`` or ``"distance_mape"``.
        level : float
            Coverage in (0, 1).
        row : {"macro", "micro"}
            Which row.

        Raises
        ------
        InputError
            An unknown name, row or level.
        """
        if row not in ("macro", "micro"):
            raise InputError(f"row must be 'macro' or 'micro', got {row!r}.")
        if not 0 < level < 1:
            raise InputError(f"level must lie in (0, 1), got {level}.")
        figures: Figures = getattr(self.evaluation, row)
        names = [f"AP{100 * t:.0f}" for t in self.evaluation.thresholds] + ["mAP", "pearson_r", "distance_mape"]
        if name not in names:
            raise InputError(f"Unknown figure {name!r}; use one of {', '.join(names)}.")
        column = names.index(name)
        samples = getattr(self, row)[:, column]
        value = [*figures.ap, figures.mean_ap, figures.pearson_r, figures.distance_mape][column]
        samples = samples[~np.isnan(samples)]
        if not len(samples):
            return Interval(value, math.nan, math.nan)
        low, high = np.percentile(samples, [50 * (1 - level), 50 * (1 + level)])
        return Interval(value, float(low), float(high))


def bootstrap(
    scores: Sequence[RecordingScores], *, n: int = 1000, seed: int = 0, progress: Progress = no_progress
) -> BootstrapResult:
    """Resample recordings with replacement, as often as there are, ``n`` times.

    Recordings, not frames, are drawn: frames of a recording are far from independent. A recording that is drawn
    twice counts twice, detections next to each other in the order of scores.

    Parameters
    ----------
    scores : sequence of RecordingScores
        Of one revision; with fewer than two recordings every resample is the set itself.
    n : int
        Resamples.
    seed : int
        Same seed, same result.
    progress : Progress
        Told from time to time.

    Returns
    -------
    BootstrapResult

    Raises
    ------
    InputError
        ``n`` below 1.

    Notes
    -----
    AP is accumulated in double precision here, so the resamples differ from the official float32 by up to 1e-6.
    """
    if n < 1:
        raise InputError(f"n must be at least 1, got {n}.")
    in_order = ordered(scores)
    evaluation = merge(in_order)
    thresholds = evaluation.thresholds
    width = len(thresholds) + 3
    if not in_order:
        nothing = np.full((n, width), np.nan)
        return BootstrapResult(evaluation, nothing, nothing.copy(), np.full((n, N_CLASSES), np.nan))
    rng = np.random.default_rng(seed)
    draws = rng.integers(0, len(in_order), (n, len(in_order)))
    # weights[i, r]: how often resample i holds recording r
    weights = np.zeros((n, len(in_order)))
    np.add.at(weights, (np.arange(n)[:, None], draws), 1)
    order, recording = best_first(in_order)
    category = np.concatenate([s.detection_category for s in in_order])[order]
    hit = np.concatenate([s.detection_hit for s in in_order])[order]
    source = recording[order]
    n_labels = weights @ np.stack([s.n_labels for s in in_order])
    # weighted sums and counts of Pearson r and distance error, shape (n, 13, 2)
    totals, counts = (np.einsum("nr,krc->nck", weights, sums) for sums in _pair_sums(in_order))
    groups: list[tuple[list[int], npt.NDArray[np.bool_]]] = [([c], category == c) for c in range(N_CLASSES)]
    groups.append((list(range(N_CLASSES)), np.ones(len(category), np.bool_)))
    table = np.full((N_CLASSES + 1, n, width), np.nan)
    for row, (classes, chosen) in enumerate(groups):
        # 2026-04-02 has no pooled AP, and none at all without any detection in the set
        soft = is_soft(evaluation.revision)
        if soft or (row < N_CLASSES and len(hit)):
            drawn = weights[:, source[chosen]]
            ap = _weighted_ap(hit[chosen], drawn, n_labels[:, classes].sum(axis=1), single=soft)
            if leaves_out_absent_classes(evaluation.revision):
                ap[drawn.sum(axis=1) == 0] = np.nan
            table[row, :, : len(thresholds)] = ap
        table[row, :, len(thresholds)] = table[row, :, : len(thresholds)].mean(axis=1)
        total, count = (sums[:, classes].sum(axis=1) for sums in (totals, counts))
        np.divide(total, count, out=table[row, :, len(thresholds) + 1 :], where=count > 0)
        progress((row + 1) / len(groups), f"{row + 1} of {len(groups)} rows")
    defined = ~np.isnan(table[:N_CLASSES])
    n_defined = defined.sum(axis=0)
    total = np.where(defined, table[:N_CLASSES], 0).sum(axis=0)
    macro = np.where(n_defined > 0, total / np.maximum(n_defined, 1), np.nan)
    return BootstrapResult(evaluation, macro, table[N_CLASSES], table[:N_CLASSES, :, len(thresholds)].T)


def _pair_sums(scores: Sequence[RecordingScores]) -> tuple[Float64, Float64]:
    """Sums and counts of Pearson r (0) and distance error (1), shape (2, n_recordings, 13)."""
    values, counts = np.zeros((2, 2, len(scores), N_CLASSES))
    for row, recording_scores in enumerate(scores):
        for k, column in enumerate((recording_scores.pair_pearson, recording_scores.pair_distance_ape)):
            known = ~np.isnan(column)
            category = recording_scores.pair_category[known]
            values[k, row] = np.bincount(category, weights=column[known], minlength=N_CLASSES)
            counts[k, row] = np.bincount(category, minlength=N_CLASSES)
    return values, counts


_BOOTSTRAP_CELLS: Final[int] = 4_000_000
"""Resamples times detections handled at once: 32 MB per temporary array."""


def _weighted_ap(hit: npt.NDArray[np.bool_], weights: Float64, n_labels: Float64, *, single: bool) -> Float64:
    """101-point AP of detections (best score first) that count several times, shape (n_resamples, n_thresholds).

    NaN without labels. With ``single`` a level counts as reached as in the float32 comparison of the soft metric.
    """
    n, n_detections = weights.shape
    result = np.where(n_labels > 0, 0.0, np.nan)[:, None] * np.ones(hit.shape[1])
    step = max(1, _BOOTSTRAP_CELLS // max(n_detections, 1))
    for start in range(0, n, step):
        part = slice(start, start + step)
        seen = np.cumsum(weights[part], axis=1)
        for t, column in enumerate(hit.T):
            # precision rises at hits only, so its maxima are there
            at = np.flatnonzero(column)
            if not len(at):
                continue
            hits = np.cumsum(weights[part][:, at], axis=1)
            precision = hits / (seen[:, at] + 1e-9)
            envelope = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
            for i, labels in enumerate(n_labels[part].tolist()):
                if not labels:
                    continue
                recall = hits[i] / labels
                if single:
                    recall = recall.astype(np.float32).astype(np.float64)
                first = np.searchsorted(recall, RECALL_LEVELS, side="left")
                result[start + i, t] = envelope[i, first[first < len(at)]].sum() / len(RECALL_LEVELS)
    return result
