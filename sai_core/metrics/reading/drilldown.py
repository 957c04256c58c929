"""From a figure back to the frames behind it, those that hurt it most first.

A *moment* is one label, one detection or one pair in one frame. What it costs a figure is a counterfactual, exact for
the figure's own formula:

* a detection that is no true positive: the AP gained if it were not there;
* a detection whose soft IoU with its label is above 0 but too small: the AP gained if it reached the threshold (the
  label it misses is the same moment, and not listed again);
* a label that nothing overlaps: the AP gained if it were found by a detection ranked first, which is the same for all
  missed labels of a class; among them the one with the most energy comes first;
* a pair: the gain of the mean (Pearson r, angle, distance) if it were left out.

For the mean over thresholds (mAP) costs are averaged over thresholds, for the macro row divided by the number of
classes in the mean, for the micro row taken from the pooled ranking.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, Final, Literal

import numpy as np
import numpy.typing as npt

from sai_core.errors import InputError
from sai_core.metrics.evaluation.matching import SpatialMatches
from sai_core.metrics.evaluation.score_store import RecordingResult
from sai_core.metrics.evaluation.scores import best_first
from sai_core.metrics.official.average_precision import RECALL_LEVELS
from sai_core.metrics.official.revisions import THRESHOLDS, is_soft, leaves_out_absent_classes
from sai_core.metrics.reading.calibration import threshold_column
from sai_core.taxonomy import CLASS_NAMES, N_CLASSES

Int64 = npt.NDArray[np.int64]
Float64 = npt.NDArray[np.float64]
Bool = npt.NDArray[np.bool_]

Row = Literal["class", "macro", "micro"]

FOUND: Final[int] = 0
MISSED: Final[int] = 1
FALSE_POSITIVE: Final[int] = 2
SMALL_OVERLAP: Final[int] = 3
WRONG_CLASS: Final[int] = 4
DUPLICATE: Final[int] = 5
PAIR: Final[int] = 6
ONLY_FIRST: Final[int] = 7
ONLY_SECOND: Final[int] = 8
TAKEN_FOR: Final[int] = 9
ONLY: Final[int] = 10

KIND_NAMES: Final[tuple[str, ...]] = (
    "found",
    "missed",
    "false positive",
    "overlap too small",
    "wrong class",
    "duplicate",
    "pair",
    "found by the first only",
    "found by the second only",
    "taken for another class",
    "found by no other system",
)
"""What is wrong, by code. WRONG_CLASS: a detection that points at a label of another class; TAKEN_FOR: that label."""


@dataclass(frozen=True, eq=False)
class Moments:
    """Places in recordings, in the order in which they should be looked at.

    Attributes
    ----------
    recording : object (str), shape (n,)
    frame : int64, shape (n,)
        First frame.
    last_frame : int64, shape (n,)
        Last frame; equals ``frame`` but for stretches (:func:`stretches`).
    category : int64, shape (n,)
        Class that the figure is about.
    kind : int64, shape (n,)
        Index into :data:`KIND_NAMES`.
    other_category : int64, shape (n,)
        Class of the label (WRONG_CLASS) or of the detection (TAKEN_FOR) on the other side; -1 without.
    iou, score : float64, shape (n,)
        Of the detection; NaN where there is none.
    value : float64, shape (n,)
        What the figure is a mean of (Pearson r, degrees, cm, percent), or the energy of a label; NaN without.
    hurt : float64, shape (n,)
        What it costs the figure (module docstring); NaN where nothing is lost by it.
    label, prediction : int64, shape (n,)
        Annotation indices; -1 without.
    copies : int64, shape (n,)
        Rows that were joined (:func:`copies_joined`), 1 for one of its own.
    """

    recording: npt.NDArray[np.object_]
    frame: Int64
    last_frame: Int64
    category: Int64
    kind: Int64
    other_category: Int64
    iou: Float64
    score: Float64
    value: Float64
    hurt: Float64
    label: Int64
    prediction: Int64
    copies: Int64

    def __len__(self) -> int:
        return len(self.frame)

    def take(self, index: npt.ArrayLike | slice) -> Moments:
        """Chosen moments in the given order (integers, a mask or a slice)."""
        chosen = index if isinstance(index, slice) else np.asarray(index)
        return Moments(**{f.name: getattr(self, f.name)[chosen] for f in fields(self)})

    def sorted(self) -> Moments:
        """What hurts most first; of equals the larger value (energy), then recording and frame."""
        keys = (
            self.frame,
            self.recording.astype(str),
            -np.nan_to_num(self.value, nan=-np.inf, neginf=-1e308),
            -np.nan_to_num(self.hurt, nan=-1e308),
        )
        return self.take(np.lexsort(keys))


def _moments(recording: str, frame: npt.ArrayLike, **columns: npt.ArrayLike) -> Moments:
    """Moments of one recording; absent columns get their "nothing" value."""
    frames = np.asarray(frame, dtype=np.int64)
    n = len(frames)

    def column(name: str, default: float, dtype: type) -> npt.NDArray[Any]:
        return np.broadcast_to(np.asarray(columns.get(name, default), dtype=dtype), (n,)).copy()

    return Moments(
        np.full(n, recording, dtype=object),
        frames,
        frames.copy(),
        column("category", -1, np.int64),
        column("kind", PAIR, np.int64),
        column("other_category", -1, np.int64),
        column("iou", math.nan, np.float64),
        column("score", math.nan, np.float64),
        column("value", math.nan, np.float64),
        column("hurt", math.nan, np.float64),
        column("label", -1, np.int64),
        column("prediction", -1, np.int64),
        column("copies", 1, np.int64),
    )


def of_detections(result: RecordingResult, index: npt.NDArray[np.integer[Any]], **more: npt.ArrayLike) -> Moments:
    """Rows of the detections at some positions of the scored ones."""
    scores = result.scores
    return _moments(
        result.recording,
        scores.detection_frame[index],
        category=scores.detection_category[index],
        iou=scores.detection_iou[index],
        score=scores.detection_score[index],
        label=scores.detection_label[index],
        prediction=scores.detection_index[index],
        **more,
    )


def of_labels(result: RecordingResult, label: Int64, frame: npt.ArrayLike, **more: npt.ArrayLike) -> Moments:
    """Rows of labels, by their annotation indices."""
    return _moments(result.recording, frame, value=result.label_energy[label], label=label, **more)


def _of_predictions(result: RecordingResult, prediction: Int64, frame: npt.ArrayLike, **more: npt.ArrayLike) -> Moments:
    """Rows of predictions, by their annotation indices, with the IoU of those that are scored."""
    iou = np.full(len(result.prediction_score), np.nan)
    iou[result.scores.detection_index] = result.scores.detection_iou
    known = {"iou": iou[prediction], "score": result.prediction_score[prediction], "prediction": prediction}
    return _moments(result.recording, frame, **{**known, **more})


def join(parts: Sequence[Moments]) -> Moments:
    """All moments of several, in their order."""
    if not parts:
        return _moments("", [])
    return Moments(**{f.name: np.concatenate([getattr(p, f.name) for p in parts]) for f in fields(Moments)})


def copies_joined(moments: Moments) -> Moments:
    """Rows of the copies of one label as one: the official labelling code writes a region once per part.

    Copies follow each other in the file and have recording, frame, class and energy in common; here all else that is
    shown, too. The evaluator counts each, so figures and costs stay those of one; ``copies`` says how many there are.
    """
    of_label = (moments.label >= 0) & ~np.isnan(moments.value) & (moments.kind != PAIR)
    # as text, in which undefined equals undefined; energies of copies differ in the last digits of their sums
    columns = [getattr(moments, f.name).tolist() for f in fields(Moments) if f.name not in ("label", "prediction")]
    rows = [tuple(f"{v:.9g}" if isinstance(v, float) else v for v in row) for row in zip(*columns, strict=True)]
    last: dict[tuple[object, ...], tuple[int, int]] = {}
    kept, copies = np.ones(len(moments), np.bool_), moments.copies.copy()
    for k in np.argsort(moments.label, kind="stable").tolist():
        if not of_label[k]:
            continue
        first, before = last.get(rows[k], (k, -2))
        label = int(moments.label[k])
        if label == before + 1:
            kept[k] = False
            copies[first] += copies[k]
        else:
            first = k
        last[rows[k]] = (first, label)
    return replace(moments, copies=copies).take(kept)


def stretches(moments: Moments, *, gap_frames: int = 2) -> Moments:
    """Moments of one kind, recording and class in neighbouring frames as one, costs added up.

    Costs of single moments do not add up exactly (each is what the figure gains if that one alone were right), so the
    sum orders stretches; it is no prediction. The other columns are those of the moment that hurts most.

    Parameters
    ----------
    moments : Moments
        Any order.
    gap_frames : int
        Largest distance of frames that still counts as neighbouring.

    Returns
    -------
    Moments
        What hurts most first.
    """
    if not len(moments):
        return moments
    _, recording = np.unique(moments.recording.astype(str), return_inverse=True)
    keys = (moments.frame, moments.other_category, moments.category, moments.kind, recording)
    order = np.lexsort(keys)
    ordered_keys = [key[order] for key in keys]
    new = np.ones(len(order), np.bool_)
    new[1:] = np.diff(ordered_keys[0]) > gap_frames
    for key in ordered_keys[1:]:
        new[1:] |= np.diff(key) != 0
    group = np.cumsum(new) - 1
    starts = np.flatnonzero(new)
    hurt = moments.hurt[order]
    total = np.add.reduceat(np.nan_to_num(hurt), starts)
    total[np.logical_and.reduceat(np.isnan(hurt), starts)] = math.nan
    # the worst of each group: first after sorting by group, then cost
    worst = order[np.lexsort((-np.nan_to_num(hurt, nan=-1e308), group))[starts]]
    chosen = moments.take(worst)
    values = {f.name: getattr(chosen, f.name) for f in fields(Moments)}
    values |= {
        "frame": ordered_keys[0][starts],
        "last_frame": np.maximum.reduceat(moments.last_frame[order], starts),
        "hurt": total,
    }
    return Moments(**values).sorted()


@dataclass(frozen=True, eq=False)
class ApLosses:
    """What detections and labels cost an average precision.

    Attributes
    ----------
    ap : float
        101-point AP in double precision; NaN without labels.
    if_absent, if_right : float64, shape (n,)
        AP gained if a detection were not there, and if it were a true positive of a label not found so far; 0 for
        true positives. In the order given.
    if_found : float
        AP gained if one more label were found, by a detection ranked first; NaN where all are found.
    """

    ap: float
    if_absent: Float64
    if_right: Float64
    if_found: float


def ap_losses(hit: Bool, n_labels: int, *, single: bool = False) -> ApLosses:
    """Exact counterfactuals of the interpolated AP, for all detections at once.

    Parameters
    ----------
    hit : bool, shape (n,)
        True positives, best score first.
    n_labels : int
        Labels that could be found.
    single : bool
        A recall level counts as reached as in the float32 comparison of the soft metric.

    Returns
    -------
    ApLosses

    Notes
    -----
    With the precisions ``p[j]`` at the true positives and their running maxima from the end ``E[j]``, AP is the mean of
    ``E`` at the first true positive of each recall level. Taking away a false positive behind ``g`` true positives
    lowers the rank of those after it by one: their maxima become ``R[j]``, and those before it ``max(E[j], R[g])``. All
    false positives between two true positives so cost the same. Turning one at rank ``k`` into a true positive inserts
    ``(g + 1) / k`` and raises the counts of those after it by one. Each needs one row of 101 levels.
    """
    n = len(hit)
    zero = np.zeros(n)
    if n_labels <= 0:
        return ApLosses(math.nan, zero, zero.copy(), math.nan)
    rank = np.flatnonzero(hit) + 1.0
    m = len(rank)
    recall = np.arange(1, max(n_labels, m + 1) + 1) / n_labels
    if single:
        recall = recall.astype(np.float32).astype(np.float64)
    # level l is reached by the true positive number first[l] (0-based)
    first = np.searchsorted(recall, RECALL_LEVELS, side="left")
    count = np.arange(1, m + 1)

    def maxima(values: Float64) -> Float64:
        """Maximum from each true positive to the end, and 0 beyond it."""
        return np.append(np.maximum.accumulate(values[::-1])[::-1], 0.0)

    now = maxima(count / rank)
    # a false positive is only ever taken away before a true positive of rank > 1
    absent = maxima(count / np.maximum(rank - 1, 1))
    right = maxima((count + 1) / rank)
    reached, beyond = first[first < m], first[first < m + 1]
    ap = float(now[reached].sum()) / len(RECALL_LEVELS)

    wrong = np.flatnonzero(~hit)
    before = np.searchsorted(rank, wrong + 1)  # true positives ahead of each
    if_absent, if_right = zero, zero.copy()
    gaps, position = np.unique(before, return_inverse=True)
    gain = np.zeros(len(gaps))
    for part in _chunks(len(gaps)):
        g = gaps[part][:, None]
        rows = np.where(reached < g, np.maximum(now[reached], absent[g]), absent[reached])
        gain[part] = rows.sum(axis=1) / len(RECALL_LEVELS) - ap
    if_absent[wrong] = gain[position]
    gain = np.zeros(len(wrong))
    for part in _chunks(len(wrong)):
        g = before[part][:, None]
        here = np.maximum((g + 1) / (wrong[part][:, None] + 1), right[g])
        ahead = np.maximum(now[np.minimum(beyond, m)], here)
        behind = right[np.maximum(beyond - 1, 0)]
        rows = np.where(beyond < g, ahead, np.where(beyond == g, here, behind))
        gain[part] = rows.sum(axis=1) / len(RECALL_LEVELS) - ap
    if_right[wrong] = gain
    if_found = math.nan
    if m < n_labels:
        found = np.append(1.0, np.maximum.accumulate(((count + 1) / (rank + 1))[::-1])[::-1])
        if_found = float(found[beyond].sum()) / len(RECALL_LEVELS) - ap
    return ApLosses(ap, np.maximum(if_absent, 0.0), np.maximum(if_right, 0.0), if_found)


def _chunks(n: int, step: int = 16_384) -> list[slice]:
    """Rows handled at once: 101 levels of 16,384 rows are 13 MB."""
    return [slice(start, min(start + step, n)) for start in range(0, n, step)]


def _wrong_classes(matches: SpatialMatches) -> tuple[Int64, Int64]:
    """Class of the label that each prediction points at by mistake, by annotation index; -1 without.

    And the class of the prediction that points at each label by mistake.
    """
    n_predictions = int(max(matches.pair_prediction.max(initial=-1), matches.false.max(initial=-1))) + 1
    n_labels = int(max(matches.pair_label.max(initial=-1), matches.missed.max(initial=-1))) + 1
    of_prediction, of_label = np.full(n_predictions, -1, np.int64), np.full(n_labels, -1, np.int64)
    is_confused = matches.pair_label_category != matches.pair_prediction_category
    of_prediction[matches.pair_prediction[is_confused]] = matches.pair_label_category[is_confused]
    of_label[matches.pair_label[is_confused]] = matches.pair_prediction_category[is_confused]
    return of_prediction, of_label


def _at(values: Int64, index: Int64) -> Int64:
    """Values by index, -1 beyond the end."""
    result = np.full(len(index), -1, np.int64)
    known = (index >= 0) & (index < len(values))
    result[known] = values[index[known]]
    return result


def ap_moments(
    results: Sequence[RecordingResult],
    *,
    row: Row = "class",
    category_id: int | None = None,
    threshold: float | None = None,
    min_score: float | None = None,
) -> Moments:
    """What an average precision loses, and where.

    Parameters
    ----------
    results : sequence of RecordingResult
        Of one revision; the figure is that of exactly these recordings.
    row : {"class", "macro", "micro"}
        Which figure's ranking counts.
    category_id : int, optional
        0..12; needed for ``row="class"``, otherwise narrows the list.
    threshold : float, optional
        One of the revision's IoU thresholds; by default all of them (mAP).
    min_score : float, optional
        Only what is wrong when detections below this score are left out: an operating point.

    Returns
    -------
    Moments
        What hurts most first. Missed labels of 2026-04-02 are those at IoU 0.5, whatever the threshold, since only
        there it is kept which label a detection takes.

    Raises
    ------
    InputError
        A threshold that the revision does not have, a class outside 0..12.
    """
    if category_id is None and row == "class":
        raise InputError("row 'class' needs a category_id.")
    if category_id is not None and not 0 <= category_id < N_CLASSES:
        raise InputError(f"category_id must lie in 0..{N_CLASSES - 1}, got {category_id}.")
    in_order = sorted(results, key=lambda r: r.recording)
    if not in_order:
        return join([])
    revision = in_order[0].scores.revision
    if threshold is None:
        columns = list(range(len(THRESHOLDS[revision])))
    else:
        columns = [threshold_column(revision, threshold)]
    if_absent, if_right, if_found = losses_of(in_order, row, columns)
    label_column = columns[0] if is_soft(revision) else 0
    # a label that a detection overlaps, though too little, is that detection's moment
    parts, start = [], 0
    thresholds = np.array(THRESHOLDS[revision])[columns]
    for result in in_order:
        scores = result.scores
        stop = start + len(scores)
        hits = scores.detection_hit[:, columns]
        wrong = ~hits.all(axis=1)
        if min_score is not None:
            wrong &= scores.detection_score >= min_score
        if category_id is not None:
            wrong &= scores.detection_category == category_id
        index = np.flatnonzero(wrong)
        of_prediction, of_label = _wrong_classes(result.across)
        partner = _at(of_prediction, scores.detection_index[index])
        iou = scores.detection_iou[index]
        kind = np.full(len(index), FALSE_POSITIVE)
        kind[partner >= 0] = WRONG_CLASS
        kind[iou > 0] = SMALL_OVERLAP
        # large enough for the smallest threshold missed, yet no true positive: its label was taken
        missed_at = np.where(hits[index], np.inf, thresholds).min(axis=1, initial=np.inf)
        kind[(iou > 0) & (iou >= missed_at)] = DUPLICATE
        cost = np.where((kind == SMALL_OVERLAP)[:, None], if_right[start:stop][index], if_absent[start:stop][index])
        parts.append(
            of_detections(
                result,
                index,
                kind=kind,
                other_category=np.where(kind == WRONG_CLASS, partner, -1),
                hurt=cost.mean(axis=1),
            )
        )
        start = stop
        parts.append(_missed(result, label_column, category_id, min_score, if_found, of_label))
    return join(parts).sorted()


def losses_of(results: Sequence[RecordingResult], row: Row, columns: list[int]) -> tuple[Float64, Float64, Float64]:
    """What detections and missed labels cost a figure.

    Parameters
    ----------
    results : sequence of RecordingResult
        Sorted by recording.
    row : {"class", "macro", "micro"}
        Which figure's ranking counts.
    columns : list of int
        Thresholds of the revision, by position.

    Returns
    -------
    if_absent, if_right : float64, shape (n_detections, n_columns)
        Of each detection of the recordings, one recording after the other (:class:`ApLosses`).
    if_found : float64, shape (13,)
        Of a missed label of each class, mean of the thresholds.
    """
    scores = [r.scores for r in results]
    revision = scores[0].revision
    single = is_soft(revision)
    order, _ = best_first(scores)
    category = np.concatenate([s.detection_category for s in scores])[order]
    hit = np.concatenate([s.detection_hit for s in scores])[order][:, columns]
    n_labels = np.sum([s.n_labels for s in scores], axis=0)
    if_absent, if_right = np.zeros((2, len(order), len(columns)))
    if_found = np.zeros((N_CLASSES, len(columns)))
    counted = n_labels > 0
    if leaves_out_absent_classes(revision):
        counted &= np.sum([s.n_detections for s in scores], axis=0) > 0
    n_defined = max(int(np.count_nonzero(counted)), 1)
    groups: list[tuple[Any, Bool, int]]
    if row == "micro":
        groups = [(slice(None), np.ones(len(order), np.bool_), int(n_labels.sum()))]
    else:
        groups = [(c, category == c, int(n_labels[c])) for c in range(N_CLASSES)]
    for classes, chosen, labels in groups:
        position = order[chosen]
        for t in range(len(columns)):
            losses = ap_losses(hit[chosen, t], labels, single=single)
            if_absent[position, t], if_right[position, t] = losses.if_absent, losses.if_right
            if_found[classes, t] = np.nan_to_num(losses.if_found)
    if row != "micro":
        if_found[~counted] = 0.0  # a class that is left out of the mean costs nothing
    share = 1 / n_defined if row == "macro" else 1.0
    return if_absent * share, if_right * share, if_found.mean(axis=1) * share


def _missed(
    result: RecordingResult,
    column: int,
    category_id: int | None,
    min_score: float | None,
    if_found: Float64,
    of_label: Int64,
) -> Moments:
    """Labels that nothing overlaps (or nothing above a score)."""
    scores = result.scores
    counted = np.ones(len(scores), np.bool_) if min_score is None else scores.detection_score >= min_score
    taken = scores.detection_label[scores.detection_hit[:, column] & counted]
    # pairs of the official matching that overlap: their labels are the detections' moments
    score_of = np.zeros(0 if not len(scores) else int(scores.detection_index.max()) + 1, np.bool_)
    score_of[scores.detection_index[counted & (scores.detection_iou > 0)]] = True
    overlapping = scores.pair_prediction < len(score_of)
    overlapping[overlapping] = score_of[scores.pair_prediction[overlapping]]
    left = ~np.isin(scores.label_index, np.concatenate([taken, scores.pair_label[overlapping]]))
    if category_id is not None:
        left &= scores.label_category == category_id
    index = scores.label_index[left]
    category = scores.label_category[left].astype(np.int64)
    partner = _at(of_label, index)
    return of_labels(
        result,
        index,
        scores.label_frame[left],
        category=category,
        kind=np.where(partner >= 0, TAKEN_FOR, MISSED),
        other_category=partner,
        hurt=if_found[category] if len(category) else np.zeros(0),
    )


def label_moments(
    results: Sequence[RecordingResult], *, category_id: int | None = None, threshold: float = 0.5
) -> Moments:
    """Every label of a class, missed ones first, then by energy.

    ``kind`` is FOUND, SMALL_OVERLAP or MISSED at the threshold; ``hurt`` is undefined.
    """
    parts = []
    for result in sorted(results, key=lambda r: r.recording):
        scores = result.scores
        column = threshold_column(scores.revision, threshold) if is_soft(scores.revision) else 0
        chosen = _chosen(scores.label_category, category_id)
        index = scores.label_index[chosen]
        n = len(result.label_energy)
        detection = np.full(n, -1, np.int64)
        by_index = np.full(len(result.prediction_score), -1, np.int64)
        by_index[scores.detection_index] = np.arange(len(scores))
        detection[scores.pair_label] = by_index[scores.pair_prediction]
        with_label = scores.detection_label >= 0
        detection[scores.detection_label[with_label]] = np.flatnonzero(with_label)
        partner = detection[index]
        known = partner >= 0
        iou, score, hit = np.full(len(index), np.nan), np.full(len(index), np.nan), np.zeros(len(index), np.bool_)
        iou[known], score[known] = scores.detection_iou[partner[known]], scores.detection_score[partner[known]]
        hit[known] = scores.detection_hit[partner[known], column] & (
            scores.detection_label[partner[known]] == index[known]
        )
        kind = np.where(hit, FOUND, np.where(np.nan_to_num(iou) > 0, SMALL_OVERLAP, MISSED))
        parts.append(
            of_labels(
                result,
                index,
                scores.label_frame[chosen],
                category=scores.label_category[chosen],
                kind=kind,
                iou=iou,
                score=score,
                prediction=np.where(known, scores.detection_index[partner], -1) if len(scores) else -1,
            )
        )
    moments = join(parts)
    worse = np.select([moments.kind == MISSED, moments.kind == SMALL_OVERLAP], [0, 1], 2)
    return moments.take(np.lexsort((moments.frame, moments.recording.astype(str), -moments.value, worse)))


def detection_moments(
    results: Sequence[RecordingResult],
    *,
    category_id: int | None = None,
    threshold: float = 0.5,
    score_range: tuple[float, float] | None = None,
) -> Moments:
    """Every detection of a class, or those of a bin of scores; wrong ones first, the most confident first.

    Parameters
    ----------
    results : sequence of RecordingResult
    category_id : int, optional
    threshold : float
        IoU threshold of the revision that tells right from wrong.
    score_range : (float, float), optional
        Edges of one bin as in :func:`~sai_core.metrics.reading.calibration.reliability_curve`: the lower one belongs to
        it; the outermost bins are open.

    Returns
    -------
    Moments
        ``hurt`` of a wrong detection is its score, of a right one undefined.
    """
    parts = []
    for result in sorted(results, key=lambda r: r.recording):
        scores = result.scores
        column = threshold_column(scores.revision, threshold)
        chosen = _chosen(scores.detection_category, category_id)
        if score_range is not None:
            low, high = score_range
            above = scores.detection_score >= low if low > 0 else True
            below = scores.detection_score < high if high < 1 else True
            chosen = chosen & above & below
        index = np.flatnonzero(chosen)
        of_prediction, _ = _wrong_classes(result.across)
        partner = _at(of_prediction, scores.detection_index[index])
        hit, iou = scores.detection_hit[index, column], scores.detection_iou[index]
        kind = np.full(len(index), FALSE_POSITIVE)
        kind[partner >= 0] = WRONG_CLASS
        kind[iou > 0] = SMALL_OVERLAP
        kind[(iou >= threshold) & ~hit] = DUPLICATE
        kind[hit] = FOUND
        parts.append(
            of_detections(
                result,
                index,
                kind=kind,
                other_category=np.where(kind == WRONG_CLASS, partner, -1),
                hurt=np.where(hit, np.nan, scores.detection_score[index]),
            )
        )
    return join(parts).sorted()


def _chosen(category: npt.NDArray[np.int16], category_id: int | None) -> Bool:
    return np.ones(len(category), np.bool_) if category_id is None else category == category_id


PairMeasure = Literal["pearson_r", "angle_deg", "distance_cm", "distance_mape", "official_mape"]


def pair_moments(
    results: Sequence[RecordingResult], measure: PairMeasure, *, row: Row = "micro", category_id: int | None = None
) -> Moments:
    """Pairs behind a mean, those that pull it down most first.

    Parameters
    ----------
    results : sequence of RecordingResult
    measure : str
        ``pearson_r`` and ``official_mape`` over the pairs of the official matching, the others over pairs of one class
        within 20 degrees.
    row : {"class", "macro", "micro"}
        Which mean: of a class, of the class means, or of all pairs.
    category_id : int, optional
        0..12; by default all classes.

    Returns
    -------
    Moments
        ``value`` is the pair's own figure; ``hurt`` what the mean improves by when the pair is left out, so negative
        for pairs that are better than the mean, NaN for the only pair of a class.
    """
    parts = []
    for result in sorted(results, key=lambda r: r.recording):
        scores, near = result.scores, result.within
        if measure in ("pearson_r", "official_mape"):
            value = scores.pair_pearson if measure == "pearson_r" else scores.pair_distance_ape
            frame, category, label, prediction = (
                scores.pair_frame,
                scores.pair_category,
                scores.pair_label,
                scores.pair_prediction,
            )
        else:
            value = _place_error(near, measure)
            frame, category = near.pair_frame, near.pair_label_category
            label, prediction = near.pair_label, near.pair_prediction
        known = ~np.isnan(value)
        parts.append(
            _of_predictions(
                result,
                prediction[known],
                frame[known],
                category=category[known],
                kind=PAIR,
                value=value[known],
                label=label[known],
            )
        )
    moments = join(parts)
    sign = -1.0 if measure == "pearson_r" else 1.0
    hurt = np.full(len(moments), np.nan)
    if row == "micro":
        groups = [np.ones(len(moments), np.bool_)]
    else:
        groups = [moments.category == c for c in range(N_CLASSES)]
    n_defined = sum(bool(g.any()) for g in groups)
    for group in groups:
        n = int(group.sum())
        if n > 1:
            hurt[group] = sign * (moments.value[group] - moments.value[group].mean()) / (n - 1)
    if row == "macro":
        hurt /= max(n_defined, 1)
    values = {f.name: getattr(moments, f.name) for f in fields(Moments)}
    chosen = Moments(**{**values, "hurt": hurt})
    if category_id is not None:
        chosen = chosen.take(chosen.category == category_id)
    return chosen.sorted()


def _place_error(matches: SpatialMatches, measure: str) -> Float64:
    """Angle, or distance error of pairs that have one (as :func:`sai_core.metrics.pair_errors` counts them)."""
    if measure == "angle_deg":
        return matches.pair_angle_deg
    truth, guess = matches.pair_label_cm, matches.pair_prediction_cm
    error = np.where((truth > 1e-3) & ~np.isnan(guess), np.abs(guess - truth), np.nan)
    if measure == "distance_cm":
        return error
    if measure != "distance_mape":
        raise InputError(f"Unknown measure {measure!r}.")
    return np.divide(100 * error, truth, out=np.full(len(error), np.nan), where=truth > 1e-3)


def confusion_moments(
    results: Sequence[RecordingResult], *, label_category: int | None, prediction_category: int | None
) -> Moments:
    """What one cell of the confusion matrix counts.

    Parameters
    ----------
    results : sequence of RecordingResult
    label_category, prediction_category : int or None
        Classes; None for the margins: no label there (false), no prediction there (missed).

    Returns
    -------
    Moments
        Missed labels by energy, the others by score (``hurt`` of a mistake is its score); ``category`` is the label's
        class where there is a label.

    Raises
    ------
    InputError
        Neither class given: that cell counts nothing.
    """
    if label_category is None and prediction_category is None:
        raise InputError("A cell needs a class of labels or of predictions.")
    parts = []
    for result in sorted(results, key=lambda r: r.recording):
        matches = result.across
        if prediction_category is None:
            chosen = matches.missed_category == label_category
            frame, index = matches.missed_frame[chosen], matches.missed[chosen]
            parts.append(of_labels(result, index, frame, category=label_category or 0, kind=MISSED))
            continue
        if label_category is None:
            chosen = matches.false_category == prediction_category
            frame, index = matches.false_frame[chosen], matches.false[chosen]
            score = result.prediction_score[index]
            false = {"category": prediction_category, "kind": FALSE_POSITIVE, "iou": np.nan, "hurt": score}
            parts.append(_of_predictions(result, index, frame, **false))
            continue
        chosen = (matches.pair_label_category == label_category) & (
            matches.pair_prediction_category == prediction_category
        )
        index = matches.pair_prediction[chosen]
        if label_category == prediction_category:
            what: dict[str, npt.ArrayLike] = {"kind": FOUND}
        else:
            score = result.prediction_score[index]
            what = {"kind": TAKEN_FOR, "other_category": prediction_category, "iou": np.nan, "hurt": score}
        parts.append(
            _of_predictions(
                result,
                index,
                matches.pair_frame[chosen],
                category=label_category,
                value=matches.pair_angle_deg[chosen],
                label=matches.pair_label[chosen],
                **what,
            )
        )
    return join(parts).sorted()


def direction_moments(results: Sequence[RecordingResult], *, confused: bool) -> Moments:
    """What is wrong by direction alone, of all classes.

    Parameters
    ----------
    results : sequence of RecordingResult
    confused : bool
        True: pairs within 20 degrees whose classes differ (what lowers the matched-class F1). False: labels and
        detections that nothing points at (what is lost whatever the classes are).
    """
    classes = range(N_CLASSES)
    cells: list[tuple[int | None, int | None]]
    if confused:
        cells = [(label, prediction) for label in classes for prediction in classes if label != prediction]
    else:
        cells = [(c, None) for c in classes] + [(None, c) for c in classes]
    parts = [
        confusion_moments(results, label_category=label, prediction_category=prediction) for label, prediction in cells
    ]
    return join(parts).sorted()


def difference_moments(
    first: Sequence[RecordingResult],
    second: Sequence[RecordingResult],
    *,
    category_id: int | None = None,
    threshold: float = 0.5,
) -> Moments:
    """Labels that one system finds at an IoU threshold and the other does not, in recordings that both have.

    Returns
    -------
    Moments
        By label energy. ``kind`` is ONLY_FIRST or ONLY_SECOND; ``iou`` and ``score`` are those of the system that
        finds the label; ``hurt`` is undefined.
    """
    sides = ((first, second, ONLY_FIRST), (second, first, ONLY_SECOND))
    return join(
        [
            only_moments(mine, [theirs], category_id=category_id, threshold=threshold, kind=kind)
            for mine, theirs, kind in sides
        ]
    ).sorted()


def only_moments(
    mine: Sequence[RecordingResult],
    others: Sequence[Sequence[RecordingResult]],
    *,
    category_id: int | None = None,
    threshold: float = 0.5,
    kind: int = ONLY,
) -> Moments:
    """Labels that one system finds at an IoU threshold and none of others does, in recordings that all have.

    Parameters
    ----------
    mine : sequence of RecordingResult
        Of the one system.
    others : sequence of sequences of RecordingResult
        Of each other system.
    category_id : int, optional
        One class only.
    threshold : float
        IoU.
    kind : int
        What the moments are called, by :data:`KIND_NAMES`.

    Returns
    -------
    Moments
        By label energy; ``iou`` and ``score`` are those of the system, ``hurt`` is undefined.
    """
    by_name = [{r.recording: r for r in results} for results in others]
    parts = []
    for result in sorted(mine, key=lambda r: r.recording):
        theirs = [known[result.recording] for known in by_name if result.recording in known]
        if len(theirs) < len(by_name):
            continue
        scores, detection = result.scores, _true_positives(result, threshold)
        for rival in theirs:
            found = rival.scores.detection_label[_true_positives(rival, threshold)]
            detection = detection[~np.isin(scores.detection_label[detection], found)]
        if category_id is not None:
            detection = detection[scores.detection_category[detection] == category_id]
        value = result.label_energy[scores.detection_label[detection]]
        parts.append(of_detections(result, detection, kind=kind, value=value))
    return join(parts).sorted()


def _true_positives(result: RecordingResult, threshold: float) -> Int64:
    """Positions of the detections that take a label at a threshold (2026-04-02: at 0.5)."""
    scores = result.scores
    column = threshold_column(scores.revision, threshold) if is_soft(scores.revision) else 0
    return np.flatnonzero(scores.detection_hit[:, column] & (scores.detection_label >= 0))


def describe(kind: int, other_category: int) -> str:
    """What is wrong, in words; arguments are a moment's."""
    if kind == WRONG_CLASS and other_category >= 0:
        return f"wrong class: label is {CLASS_NAMES[other_category]}"
    if kind == TAKEN_FOR and other_category >= 0:
        return f"taken for {CLASS_NAMES[other_category]}"
    return KIND_NAMES[kind]
