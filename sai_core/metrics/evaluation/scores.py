"""Results of one recording, and their exact merge into the figures of a set.

:class:`RecordingScores` keeps what the figures are made of (one row per detection and per matched pair), not
figures, so that the scores of recordings that were evaluated apart, in other processes or on other days merge into
exactly the bits that evaluating them together gives, in whatever order they come. For this every sum runs over rows
in one order:

* average precision: score descending, then recording name, frame, class, annotation index;
* means (Pearson r, distance error): recording name, frame, class, annotation index.

Detections with equal scores are therefore in a stable, documented order. The official order of ties depends on the
order of annotations, on the CPU and on the NumPy version; where ties could move a figure, the evaluation says so and
gives the range.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from itertools import pairwise
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from sai_core.annotations.notes import NO_NOTES, FileNotes, notes_json, summarise_notes
from sai_core.errors import InputError
from sai_core.geometry import FRAME_RATE_HZ
from sai_core.metrics.official.average_precision import average_precision_0630, interpolated_precision_coco
from sai_core.metrics.official.revisions import (
    REVISIONS,
    THRESHOLDS,
    Revision,
    is_soft,
    leaves_out_absent_classes,
    shown_thresholds,
)
from sai_core.taxonomy import CLASS_NAMES, N_CLASSES

Int64 = npt.NDArray[np.int64]
Float64 = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class RecordingScores:
    """What one revision of the metric found in one recording.

    Attributes
    ----------
    recording : str
        Its name.
    revision : str
        Which metric: one of :data:`REVISIONS`.
    n_labels, n_detections : int64, shape (13,)
        Annotations per class that count. (2026-04-02 drops those whose rendered peak is below 1e-9.)
    detection_frame : int32, shape (n,)
        Frame of each detection that enters the average precision. (2026-04-02 keeps the 100 best per frame and
        class.)
    detection_category : int16, shape (n,)
        Its class.
    detection_index : int64, shape (n,)
        Its annotation index in the prediction table.
    detection_score : float64, shape (n,)
        Its score; 0 where the file has none.
    detection_iou : float64, shape (n,)
        Soft IoU with the assigned label, 0 without one. 2026-04-02: largest mask IoU with a label of its
        frame and class.
    detection_label : int64, shape (n,)
        Annotation index of the assigned label, -1 without one. 2026-04-02: of the label matched at IoU
        0.50, -1 without one.
    detection_hit : bool, shape (n, n_thresholds)
        True positive at each of :data:`THRESHOLDS`.
    label_frame : int32, shape (m,)
        Frame of each label that counts.
    label_category : int16, shape (m,)
        Its class.
    label_index : int64, shape (m,)
        Its annotation index in the label table.
    pair_frame, pair_category, pair_label, pair_prediction : int32, int16, int64, int64, shape (k,)
        Matched pairs: the official assignment, or (2026-04-02) peaks within 20 degrees.
    pair_pearson : float64, shape (k,)
        Pearson r; NaN where undefined.
    pair_distance_ape : float64, shape (k,)
        Absolute distance error in percent of the label's distance, a missing predicted distance counting as 0 cm;
        NaN where the label has none above 1e-3 cm.
    notes_of_labels, notes_of_predictions : FileNotes
        What the readers of the two files left out or guessed.
    """

    recording: str
    revision: Revision
    n_labels: Int64
    n_detections: Int64
    detection_frame: npt.NDArray[np.int32]
    detection_category: npt.NDArray[np.int16]
    detection_index: Int64
    detection_score: Float64
    detection_iou: Float64
    detection_label: Int64
    detection_hit: npt.NDArray[np.bool_]
    label_frame: npt.NDArray[np.int32]
    label_category: npt.NDArray[np.int16]
    label_index: Int64
    pair_frame: npt.NDArray[np.int32]
    pair_category: npt.NDArray[np.int16]
    pair_label: Int64
    pair_prediction: Int64
    pair_pearson: Float64
    pair_distance_ape: Float64
    notes_of_labels: FileNotes = NO_NOTES
    notes_of_predictions: FileNotes = NO_NOTES

    def __post_init__(self) -> None:
        if self.revision not in REVISIONS:
            raise InputError(
                f"{self.recording}: unknown revision {self.revision!r}; use one of {', '.join(REVISIONS)}."
            )
        for name, dtype in _COLUMNS.items():
            object.__setattr__(self, name, np.asarray(getattr(self, name), dtype=dtype))
        for prefix in ("detection_", "label_", "pair_"):
            lengths = {len(getattr(self, name)) for name in _COLUMNS if name.startswith(prefix)}
            if len(lengths) != 1:
                raise InputError(f"{self.recording}: the {prefix[:-1]} columns differ in length.")
        if self.n_labels.shape != (N_CLASSES,) or self.n_detections.shape != (N_CLASSES,):
            raise InputError(f"{self.recording}: counts need one entry per class.")
        if self.detection_hit.shape != (len(self.detection_frame), len(THRESHOLDS[self.revision])):
            raise InputError(f"{self.recording}: detection_hit needs one column per threshold.")

    def __len__(self) -> int:
        return len(self.detection_frame)


_COLUMNS: Final[dict[str, type]] = {
    "n_labels": np.int64,
    "n_detections": np.int64,
    "detection_frame": np.int32,
    "detection_category": np.int16,
    "detection_index": np.int64,
    "detection_score": np.float64,
    "detection_iou": np.float64,
    "detection_label": np.int64,
    "detection_hit": np.bool_,
    "label_frame": np.int32,
    "label_category": np.int16,
    "label_index": np.int64,
    "pair_frame": np.int32,
    "pair_category": np.int16,
    "pair_label": np.int64,
    "pair_prediction": np.int64,
    "pair_pearson": np.float64,
    "pair_distance_ape": np.float64,
}


def as_revision(scores: RecordingScores, revision: Revision) -> RecordingScores:
    """The same matching judged by another revision of the soft metric.

    Parameters
    ----------
    scores : RecordingScores
        Of any revision in :data:`SOFT_REVISIONS`, or of ``revision`` itself.
    revision : str

    Returns
    -------
    RecordingScores
        Bit for bit what scoring by ``revision`` gives: rendering, assignment and Pearson r are the same in all of them,
        true positives follow from the IoU.

    Raises
    ------
    InputError
        The matching of one revision does not serve the other.
    """
    if scores.revision == revision:
        return scores
    if not (is_soft(scores.revision) and is_soft(revision)):
        raise InputError(
            f"{scores.recording}: scores of {scores.revision} cannot be judged by {revision}; score again."
        )
    return replace(
        scores,
        revision=revision,
        detection_hit=soft_hits(scores.detection_iou, scores.detection_label, revision),
    )


def soft_hits(iou: Float64, label: Int64, revision: Revision) -> npt.NDArray[np.bool_]:
    """True positives at the thresholds of a soft revision: an assigned label, and an IoU of at least the threshold.

    Parameters
    ----------
    iou : float64, shape (n,)
        Soft IoU with the assigned label.
    label : int64, shape (n,)
        Annotation index of that label, -1 without one.
    revision : str

    Returns
    -------
    hit : bool, shape (n, n_thresholds)
    """
    return (iou[:, None] >= np.array(THRESHOLDS[revision])) & (label >= 0)[:, None]


_NOTES: Final[tuple[str, str]] = ("notes_of_labels", "notes_of_predictions")


def distance_ape(label_cm: npt.NDArray[np.float64], prediction_cm: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Absolute distance error in percent of the label's distance, as revision 2026-04-02 counts it.

    Parameters
    ----------
    label_cm, prediction_cm : float64, shape (n,)
        Distances of matched pairs; NaN = not given, which counts as 0 cm for a prediction (100 percent).

    Returns
    -------
    percent : float64, shape (n,)
        NaN where the label has no distance above 1e-3 cm.
    """
    truth = np.nan_to_num(label_cm, nan=0.0)
    usable = truth > 1e-3
    percent = np.full(truth.shape, np.nan)
    np.divide(np.abs(truth - np.nan_to_num(prediction_cm, nan=0.0)), truth, out=percent, where=usable)
    return percent * 100.0


@dataclass(frozen=True)
class Figures:
    """One row of the table: a class, the macro mean or the micro (pooled) row.

    Attributes
    ----------
    name : str
        Class name, ``"macro"`` or ``"micro"``.
    n_labels, n_detections, n_pairs, n_distance_pairs : int
        Counts behind the figures; ``n_pairs`` and ``n_distance_pairs`` are the pairs with a defined value.
    ap : tuple of float
        AP at each threshold of the revision; NaN = undefined.
    mean_ap : float
        Their mean; NaN = undefined.
    pearson_r : float
        In [-1, 1]; NaN = undefined.
    distance_mape : float
        Percent; NaN = undefined.
    """

    name: str
    n_labels: int
    n_detections: int
    n_pairs: int
    n_distance_pairs: int
    ap: tuple[float, ...]
    mean_ap: float
    pearson_r: float
    distance_mape: float


@dataclass(frozen=True)
class Failure:
    """A recording that could not be scored.

    Attributes
    ----------
    recording : str
    error : str
        Why, in one sentence.
    machine_at_fault : bool
        Memory or disk, not one of its files.
    """

    recording: str
    error: str
    machine_at_fault: bool = False


@dataclass(frozen=True)
class Evaluation:
    """Figures of a set of recordings by one revision.

    Attributes
    ----------
    revision : str
        Which metric: belongs beside every figure.
    thresholds : tuple of float
        IoU thresholds of the AP columns.
    per_class : tuple of Figures
        Index = ``category_id``.
    macro : Figures
        Mean over the classes that have labels (2026-05-28 and 2026-05-18: labels and detections); Pearson r over those
        with a value.
    micro : Figures
        All classes pooled. 2026-04-02 defines pooled Pearson r and distance error only; its AP is NaN here.
    recordings : tuple of str
        Evaluated recordings, sorted.
    warnings : tuple of str
        One sentence each.
    left_out : mapping
        For ``"labels"`` and ``"predictions"``: how many annotations the readers left out, and of which classes
        (:func:`sai_core.annotations.notes.notes_json`).
    failures : tuple of Failure
        Recordings that could not be scored: they are not in the figures, with all their labels.
    """

    revision: Revision
    thresholds: tuple[float, ...]
    per_class: tuple[Figures, ...]
    macro: Figures
    micro: Figures
    recordings: tuple[str, ...]
    warnings: tuple[str, ...] = ()
    left_out: Mapping[str, Any] = field(default_factory=dict, hash=False)
    failures: tuple[Failure, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Figures as the JSON object of the command line; undefined is None."""
        if self.revision == "2026-04-02":
            return {
                "revision": self.revision,
                "mask_mAP": _null(self.macro.mean_ap),
                "mask_AP50": _null(self.macro.ap[0]),
                "pearson_r": _null(self.micro.pearson_r),
                "distance_mape": _null(self.micro.distance_mape),
                "per_class": {
                    str(c): {"AP": _null(row.mean_ap), "AP50": _null(row.ap[0])} for c, row in enumerate(self.per_class)
                },
                **self._remarks(),
            }
        return {
            "revision": self.revision,
            "macro": self._averages(self.macro),
            "micro": {
                **self._averages(self.micro),
                "n_labels": self.micro.n_labels,
                "n_detections": self.micro.n_detections,
                "n_pairs": self.micro.n_pairs,
            },
            "per_class": {
                str(c): {
                    "name": row.name,
                    "n_labels": row.n_labels,
                    "n_detections": row.n_detections,
                    **{k: v for k, v in self._averages(row).items() if k.startswith("AP")},
                    "mAP": _null(row.mean_ap),
                    "pearson_r": _null(row.pearson_r),
                    "n_pairs": row.n_pairs,
                }
                for c, row in enumerate(self.per_class)
            },
            "recordings": list(self.recordings),
            **self._remarks(),
        }

    def _remarks(self) -> dict[str, Any]:
        return {
            "left_out": dict(self.left_out),
            "warnings": list(self.warnings),
            "failures": [{"recording": f.recording, "error": f.error} for f in self.failures],
        }

    def ap_at(self, row: Figures) -> dict[str, float]:
        """AP by column name (``AP25``, ...) at the thresholds that have one; NaN = undefined."""
        shown = shown_thresholds(self.revision)
        return {f"AP{100 * t:.0f}": v for t, v in zip(self.thresholds, row.ap, strict=True) if t in shown}

    def _averages(self, row: Figures) -> dict[str, Any]:
        ap: dict[str, Any] = {name: _null(value) for name, value in self.ap_at(row).items()}
        if len(ap) < len(self.thresholds):
            ap["AP"] = {f"{t:.2f}": _null(v) for t, v in zip(self.thresholds, row.ap, strict=True)}
        return {"mAP": _null(row.mean_ap), **ap, "pearson_r": _null(row.pearson_r)}


def _null(value: float) -> float | None:
    return None if math.isnan(value) else float(value)


def ordered(scores: Iterable[RecordingScores]) -> list[RecordingScores]:
    """Scores by recording name.

    Raises
    ------
    InputError
        Two scores of one recording, or of different revisions.
    """
    in_order = sorted(scores, key=lambda s: s.recording)
    for before, after in pairwise(in_order):
        if before.recording == after.recording:
            raise InputError(f"{before.recording}: is given twice; give each recording once.")
        if before.revision != after.revision:
            raise InputError(f"Scores of the revisions {before.revision} and {after.revision} cannot be merged.")
    return in_order


def best_first(scores: Sequence[RecordingScores]) -> tuple[Int64, Int64]:
    """Stable order of all detections of a set, best score first.

    Parameters
    ----------
    scores : sequence of RecordingScores
        In the order of :func:`ordered`.

    Returns
    -------
    order : int64, shape (n,)
        Positions in the concatenation of the recordings' detections: score descending, then recording, frame, class,
        annotation index.
    recording : int64, shape (n,)
        Position in ``scores`` of each detection of the concatenation (not reordered).
    """
    recording = np.repeat(np.arange(len(scores)), [len(s) for s in scores])
    if not len(recording):
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    keys = [
        _joined(scores, "detection_index"),
        _joined(scores, "detection_category"),
        _joined(scores, "detection_frame"),
        recording,
        -_joined(scores, "detection_score"),
    ]
    return np.lexsort(keys), recording


def _joined(scores: Sequence[RecordingScores], name: str) -> npt.NDArray[Any]:
    return np.concatenate([getattr(s, name) for s in scores])


def merge(
    scores: Iterable[RecordingScores],
    *,
    revision: Revision | None = None,
    warnings: Sequence[str] = (),
    failures: Sequence[Failure] = (),
    judge_ties: bool = True,
) -> Evaluation:
    """Figures of a set from the scores of its recordings.

    Parameters
    ----------
    scores : iterable of RecordingScores
        Each recording once, all of one revision, in any order: the result is the same to the last bit. May be empty
        (every figure undefined).
    revision : str, optional
        That of the scores; tells an empty set's, which is 2026-06-30 by default.
    warnings : sequence of str
        Sentences to keep; those about failures, about what the readers left out and about ties are added.
    failures : sequence of Failure
        Recordings that belong to the set and could not be scored.
    judge_ties : bool
        Look for ties that could move a figure, which takes as long as the figures; without, none is warned of.

    Returns
    -------
    Evaluation

    Raises
    ------
    InputError
        A recording twice, or scores of different revisions.
    """
    in_order = ordered(scores)
    revision = in_order[0].revision if in_order else revision or REVISIONS[0]
    evaluation = _merge(in_order, revision)
    sides = {
        "labels": [(s.recording, s.notes_of_labels) for s in in_order],
        "predictions": [(s.recording, s.notes_of_predictions) for s in in_order],
    }
    sentences = [sentence for side, notes in sides.items() for sentence in summarise_notes(notes, what=side)]
    if failures:
        n = len(failures)
        sentence = f"{n} of {n + len(in_order)} recordings could not be scored and "
        sentence += ("is" if n == 1 else "are") + " left out of the figures with all labels there."
        warnings = [sentence, *warnings]
    ties = _tie_warning(in_order, evaluation) if judge_ties else ()
    return replace(
        evaluation,
        failures=tuple(failures),
        warnings=(*warnings, *_other_data(in_order, evaluation), *sentences, *ties),
        left_out={side: notes_json(notes) for side, notes in sides.items()},
    )


def _other_data(scores: Sequence[RecordingScores], evaluation: Evaluation) -> list[str]:
    """One sentence where nothing is found and predictions go on long after the labels: names alone may agree."""
    if evaluation.macro.mean_ap > 0 or not evaluation.micro.n_labels:
        return []
    ends = [(s.recording, s.label_frame.max(initial=-1), s.detection_frame.max(initial=-1)) for s in scores]
    late = [(name, labels, found) for name, labels, found in ends if labels >= 0 and found > labels + FRAME_RATE_HZ]
    if not late:
        return []
    name, labels, found = late[0]
    return [
        f"Every score is 0, and in {len(late)} of {len(scores)} recording{'s' * (len(scores) != 1)} predictions go on "
        f"for more than a second after the last label ({name}: labels to frame {labels}, predictions to frame "
        f"{found}): are these predictions of other data?"
    ]


def _merge(scores: Sequence[RecordingScores], revision: Revision) -> Evaluation:
    return _merge_soft(scores, revision) if is_soft(revision) else _merge_0402(scores)


def _pair_means(scores: Sequence[RecordingScores]) -> list[tuple[float, int, float, int]]:
    """Pearson r, its count, distance error, its count: of each class and, last, of all pairs."""
    if not scores:
        return [(math.nan, 0, math.nan, 0)] * (N_CLASSES + 1)
    recording = np.repeat(np.arange(len(scores)), [len(s.pair_frame) for s in scores])
    category = _joined(scores, "pair_category")
    keys = (_joined(scores, "pair_prediction"), category, _joined(scores, "pair_frame"), recording)
    order = np.lexsort(keys)
    category = category[order]
    columns = [_joined(scores, name)[order] for name in ("pair_pearson", "pair_distance_ape")]
    rows = []
    for chosen in [category == c for c in range(N_CLASSES)] + [np.ones(len(order), np.bool_)]:
        row: list[Any] = []
        for column in columns:
            values = column[chosen & ~np.isnan(column)]
            row += [float(np.mean(values)) if len(values) else math.nan, len(values)]
        rows.append((row[0], row[1], row[2], row[3]))
    return rows


def _totals(scores: Sequence[RecordingScores], name: str) -> Int64:
    return (
        np.sum([getattr(s, name) for s in scores], axis=0, dtype=np.int64) if scores else np.zeros(N_CLASSES, np.int64)
    )


def _mean(values: Iterable[float]) -> float:
    defined = [v for v in values if not math.isnan(v)]
    return float(np.mean(defined)) if defined else math.nan


def _merge_soft(scores: Sequence[RecordingScores], revision: Revision) -> Evaluation:
    thresholds = THRESHOLDS[revision]
    leaves_out = leaves_out_absent_classes(revision)
    n_labels, n_detections = _totals(scores, "n_labels"), _totals(scores, "n_detections")
    order, _ = best_first(scores)
    category = _joined(scores, "detection_category")[order] if scores else np.zeros(0, np.int16)
    hit = _joined(scores, "detection_hit")[order] if scores else np.zeros((0, len(thresholds)), np.bool_)
    means = _pair_means(scores)

    def row(name: str, chosen: npt.NDArray[np.bool_] | slice, labels: int, detections: int, k: int) -> Figures:
        ap = tuple(average_precision_0630(column, labels) for column in hit[chosen].T)
        if leaves_out and not detections:
            ap = (math.nan,) * len(thresholds)
        pearson, n_pairs, distance, n_distance = means[k]
        return Figures(name, labels, detections, n_pairs, n_distance, ap, float(np.mean(ap)), pearson, distance)

    per_class = tuple(
        row(CLASS_NAMES[c], category == c, int(n_labels[c]), int(n_detections[c]), c) for c in range(N_CLASSES)
    )
    micro = row("micro", slice(None), int(n_labels.sum()), int(n_detections.sum()), N_CLASSES)
    macro = Figures(
        "macro",
        micro.n_labels,
        micro.n_detections,
        micro.n_pairs,
        micro.n_distance_pairs,
        tuple(_mean(figures.ap[t] for figures in per_class) for t in range(len(thresholds))),
        _mean(figures.mean_ap for figures in per_class),
        _mean(figures.pearson_r for figures in per_class),
        _mean(figures.distance_mape for figures in per_class),
    )
    return Evaluation(revision, thresholds, per_class, macro, micro, tuple(s.recording for s in scores))


def _merge_0402(scores: Sequence[RecordingScores]) -> Evaluation:
    thresholds = THRESHOLDS["2026-04-02"]
    n_labels, n_detections = _totals(scores, "n_labels"), _totals(scores, "n_detections")
    order, _ = best_first(scores)
    category = _joined(scores, "detection_category")[order] if scores else np.zeros(0, np.int16)
    hit = _joined(scores, "detection_hit")[order] if scores else np.zeros((0, len(thresholds)), np.bool_)
    means = _pair_means(scores)
    undefined = (math.nan,) * len(thresholds)
    # shape (thresholds, recall levels, classes): the official means run over this array in this order
    precision = np.full((len(thresholds), 101, N_CLASSES), np.nan)
    per_class = []
    for c in range(N_CLASSES):
        ap, mean_ap = undefined, math.nan
        # without any detection in the whole set the official AP is not computed at all
        if n_labels[c] and n_detections.sum():
            precision[:, :, c] = interpolated_precision_coco(hit[category == c].T, int(n_labels[c]))
            ap = tuple(float(np.mean(level)) for level in precision[:, :, c])
            mean_ap = float(np.mean(precision[:, :, c].ravel()))
        pearson, n_pairs, distance, n_distance = means[c]
        per_class.append(
            Figures(
                CLASS_NAMES[c],
                int(n_labels[c]),
                int(n_detections[c]),
                n_pairs,
                n_distance,
                ap,
                mean_ap,
                pearson,
                distance,
            )
        )
    pearson, n_pairs, distance, n_distance = means[N_CLASSES]
    counts = (int(n_labels.sum()), int(n_detections.sum()), n_pairs, n_distance)
    overall = precision[~np.isnan(precision)]
    macro = Figures(
        "macro",
        *counts,
        tuple(float(np.mean(p[~np.isnan(p)])) if len(overall) else math.nan for p in precision),
        float(np.mean(overall)) if len(overall) else math.nan,
        _mean(figures.pearson_r for figures in per_class),
        _mean(figures.distance_mape for figures in per_class),
    )
    micro = Figures("micro", *counts, undefined, math.nan, pearson, distance)
    return Evaluation("2026-04-02", thresholds, tuple(per_class), macro, micro, tuple(s.recording for s in scores))


def tie_range(scores: Iterable[RecordingScores]) -> tuple[float, float]:
    """Lowest and highest macro mAP that any order of equal scores can give.

    Parameters
    ----------
    scores : iterable of RecordingScores
        Of one revision.

    Returns
    -------
    low, high : float
        With the false positives of every tie first, and with its true positives first; equal where no tie matters,
        NaN without labels. The official figure lies between them, whatever its order.
    """
    in_order = ordered(scores)
    if not in_order:
        return math.nan, math.nan
    low, high = (_merge([_with_ties(in_order, sign)], in_order[0].revision).macro.mean_ap for sign in (-1, 1))
    return low, high


def _with_ties(scores: Sequence[RecordingScores], sign: int) -> RecordingScores:
    """All detections as one recording, hits of each tie last (sign -1) or first (+1), threshold by threshold."""
    category, score = _joined(scores, "detection_category"), _joined(scores, "detection_score")
    hit = _joined(scores, "detection_hit")
    columns = []
    for column in hit.T:
        columns.append(column[np.lexsort((-sign * column.astype(np.int8), category, -score))])
    order = np.lexsort((category, -score))
    n = len(order)
    index = np.arange(n)
    first = scores[0]
    return replace(
        first,
        n_labels=_totals(scores, "n_labels"),
        n_detections=_totals(scores, "n_detections"),
        detection_frame=np.zeros(n, np.int32),
        detection_category=category[order],
        detection_index=index,
        detection_score=score[order],
        detection_iou=np.zeros(n),
        detection_label=np.full(n, -1),
        detection_hit=np.stack(columns, axis=1) if n else hit,
    )


def _tie_warning(scores: Sequence[RecordingScores], evaluation: Evaluation) -> tuple[str, ...]:
    """A sentence where detections with equal scores differ at a threshold within a class."""
    if not scores or not sum(len(s) for s in scores):
        return ()
    category, score = _joined(scores, "detection_category"), _joined(scores, "detection_score")
    hit = _joined(scores, "detection_hit")
    order = np.lexsort((score, category))
    tied = (np.diff(category[order]) == 0) & (np.diff(score[order]) == 0)
    if not tied.any():
        return ()
    start = np.concatenate([[0], np.flatnonzero(~tied) + 1])
    size = np.diff(np.append(start, len(order)))
    n_hits = np.add.reduceat(hit[order].astype(np.int64), start, axis=0)
    mixed = ((n_hits > 0) & (n_hits < size[:, None])).any(axis=1)
    if not mixed.any():
        return ()
    low, high = tie_range(scores)
    return (
        f"{int(size[mixed].sum())} detections share their score with another of their class that a threshold judges "
        f"differently; the order of ties is ours (score, recording, frame, class, index), and with other orders the "
        f"macro mAP lies between {low:.6f} and {high:.6f} (here {evaluation.macro.mean_ap:.6f}).",
    )


assert set(_COLUMNS) | {"recording", "revision", *_NOTES} == {f.name for f in fields(RecordingScores)}
