"""Which label belongs to which prediction, frame by frame: what the pages draw and the diagnostics count.

:func:`match_recording` gives the official pairs of revision 2026-06-30 with their errors, and what is left on both
sides. :func:`spatial_matches` pairs by direction alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Final

import numpy as np
import numpy.typing as npt
from scipy.optimize import linear_sum_assignment

from sai_core.annotations.table import AnnotationTable
from sai_core.errors import InputError
from sai_core.geometry import great_circle_deg
from sai_core.metrics.evaluation.map_cache import cached_maps_0630
from sai_core.metrics.official.directions import official_peak_angles_rad, region_peak_direction
from sai_core.metrics.official.pairing_0630 import assign_pairs, candidate_pairs, group_keys
from sai_core.progress import Progress, no_progress, part_of

Int64 = npt.NDArray[np.int64]
Float64 = npt.NDArray[np.float64]

MATCH_ANGLE_DEG: Final[float] = 20.0
"""Largest great-circle angle of a spatial match: that of the evaluator of 2026-04-02 and of SAID's class F1."""

_FORBIDDEN: Final[float] = 1e9
"""Cost of a pair that must not be matched: any number of allowed pairs is cheaper."""


@dataclass(frozen=True, eq=False)
class RecordingMatches:
    """Labels and predictions of one recording, paired.

    All indices are annotation indices of the two tables; frame and class are looked up there.

    Attributes
    ----------
    pair_label, pair_prediction : int64, shape (n,)
        The official assignment of revision 2026-06-30 within each frame and class, ordered by prediction. A pair may
        have IoU 0: the official assignment has no gate.
    iou : float64, shape (n,)
        Soft IoU of each pair, in [0, 1].
    pearson : float64, shape (n,)
        Pearson r over the label's pixels; NaN where undefined.
    angular_error_deg : float64, shape (n,)
        Great-circle angle between the strongest points (label grid; dense integer labels at their pixels' centres);
        NaN where one side has no points.
    distance_error_cm : float64, shape (n,)
        Prediction minus label; NaN where one side has no distance.
    missed : int64
        Labels without a pair, or whose pair has IoU 0; rising.
    false : int64
        Predictions without a pair, or whose pair has IoU 0; rising.
    confused_label, confused_prediction : int64, shape (m,)
        A missed label and a false prediction of another class that point the same way (within the given angle, in
        the same frame): a mistake of class, not of place. One-to-one, as many as possible, then the smallest total
        angle. They stay members of ``missed`` and ``false``.
    confused_angle_deg : float64, shape (m,)
        Great-circle angle between their strongest points.
    """

    pair_label: Int64
    pair_prediction: Int64
    iou: Float64
    pearson: Float64
    angular_error_deg: Float64
    distance_error_cm: Float64
    missed: Int64
    false: Int64
    confused_label: Int64
    confused_prediction: Int64
    confused_angle_deg: Float64

    def __len__(self) -> int:
        return len(self.pair_label)


def match_recording(
    labels: AnnotationTable,
    predictions: AnnotationTable,
    *,
    angle_deg: float = MATCH_ANGLE_DEG,
    use_cache: bool = True,
    progress: Progress = no_progress,
) -> RecordingMatches:
    """Pair labels and predictions of a recording by the official assignment of 2026-06-30, with errors.

    Parameters
    ----------
    labels, predictions : AnnotationTable
        Coordinates on the label grid; either may be empty.
    angle_deg : float
        How far apart a missed label and a false prediction may be to count as a confusion, degrees in (0, 180].
    use_cache : bool
        Keep the rendered maps of both sides on disk.
    progress : Progress
        Told while maps are rendered.

    Returns
    -------
    RecordingMatches

    Raises
    ------
    InputError
        An angle outside (0, 180].
    """
    _check_angle(angle_deg)
    label_maps = cached_maps_0630(labels, use_cache=use_cache, progress=part_of(progress, 0.0, 0.8))
    prediction_maps = cached_maps_0630(predictions, use_cache=use_cache, progress=part_of(progress, 0.8, 1.0))
    pairs = assign_pairs(label_maps, prediction_maps, group_keys(labels), group_keys(predictions))
    label_direction = region_peak_direction(labels)
    prediction_direction = region_peak_direction(predictions)
    angle = great_circle_deg(
        *(v[pairs.label] for v in label_direction), *(v[pairs.prediction] for v in prediction_direction)
    )
    overlapping = pairs.iou > 0
    missed = _others(len(labels), pairs.label[overlapping])
    false = _others(len(predictions), pairs.prediction[overlapping])

    # candidates: same frame, another class, near enough
    false_at, missed_at = candidate_pairs(
        labels.frame[missed].astype(np.int64), predictions.frame[false].astype(np.int64)
    )
    prediction, label = false[false_at], missed[missed_at]
    apart = great_circle_deg(*(v[label] for v in label_direction), *(v[prediction] for v in prediction_direction))
    allowed = (apart <= angle_deg) & (labels.category_id[label] != predictions.category_id[prediction])
    chosen = least_cost_pairs(labels.frame[label], label, prediction, apart, allowed)
    return RecordingMatches(
        pairs.label,
        pairs.prediction,
        pairs.iou,
        pairs.pearson,
        angle,
        predictions.distance_cm[pairs.prediction] - labels.distance_cm[pairs.label],
        missed,
        false,
        label[chosen],
        prediction[chosen],
        apart[chosen],
    )


def _check_angle(angle_deg: float) -> None:
    if not 0 < angle_deg <= 180:
        raise InputError(f"angle_deg must lie in (0, 180], got {angle_deg}.")


def _others(n: int, taken: Int64) -> Int64:
    left = np.ones(n, np.bool_)
    left[taken] = False
    return np.flatnonzero(left)


def least_cost_pairs(
    group: npt.NDArray[np.integer], row: Int64, column: Int64, cost: Float64, allowed: npt.NDArray[np.bool_]
) -> Int64:
    """Positions of the chosen pairs among the candidates: per group as many as possible, then the least total cost.

    Every candidate of a group must be listed (all rows times all columns, in any order); disallowed ones are never
    chosen, and only matter for the shape of the problem.
    """
    busy = np.flatnonzero(np.isin(group, group[allowed]))
    busy = busy[np.lexsort((column[busy], row[busy], group[busy]))]
    edges = [0, *(np.flatnonzero(np.diff(group[busy])) + 1).tolist(), len(busy)] if len(busy) else [0]
    chosen: list[Int64] = []
    for start, stop in pairwise(edges):
        part = busy[start:stop]
        if len(part) == 1:
            chosen.append(part)
            continue
        n_rows = len(np.unique(row[part]))
        matrix = np.where(allowed[part], cost[part], _FORBIDDEN).reshape(n_rows, -1)
        rows, columns = linear_sum_assignment(matrix)
        picked = part[rows * matrix.shape[1] + columns]
        chosen.append(picked[allowed[picked]])
    return np.concatenate(chosen) if chosen else np.zeros(0, np.int64)


@dataclass(frozen=True, eq=False)
class SpatialMatches:
    """Labels and predictions of one recording paired by direction.

    Attributes
    ----------
    recording : str
        Its name.
    pair_label, pair_prediction : int64, shape (n,)
        Annotation indices of the pairs, ordered by frame, then label.
    pair_frame : int32, shape (n,)
        Their frame.
    pair_label_category, pair_prediction_category : int16, shape (n,)
        Their classes.
    pair_angle_deg : float64, shape (n,)
        Great-circle angle between their strongest points (label grid, pixel centres).
    pair_label_cm, pair_prediction_cm : float64, shape (n,)
        Their distances; NaN where not given.
    missed, missed_frame, missed_category : int64, int32, int16
        Labels without a pair.
    false, false_frame, false_category : int64, int32, int16
        Predictions without a pair.
    """

    recording: str
    pair_label: Int64
    pair_prediction: Int64
    pair_frame: npt.NDArray[np.int32]
    pair_label_category: npt.NDArray[np.int16]
    pair_prediction_category: npt.NDArray[np.int16]
    pair_angle_deg: Float64
    pair_label_cm: Float64
    pair_prediction_cm: Float64
    missed: Int64
    missed_frame: npt.NDArray[np.int32]
    missed_category: npt.NDArray[np.int16]
    false: Int64
    false_frame: npt.NDArray[np.int32]
    false_category: npt.NDArray[np.int16]

    def __len__(self) -> int:
        return len(self.pair_label)


def spatial_matches(
    labels: AnnotationTable,
    predictions: AnnotationTable,
    *,
    angle_deg: float = MATCH_ANGLE_DEG,
    same_class: bool = False,
) -> SpatialMatches:
    """Pair labels and predictions of each frame by the direction of their strongest points.

    One-to-one within a frame, at most ``angle_deg`` apart, as many pairs as possible, then the smallest total angle.
    Angles for this are read on the official grid (:mod:`sai_core.metrics.official.directions`), so that the pairs are
    those of SAID's diagnostic (``same_class=False``) and of the evaluator of 2026-04-02 (``same_class=True``, for
    annotations with positive energy). Annotations without points are never paired.

    Parameters
    ----------
    labels, predictions : AnnotationTable
        Coordinates on the label grid; either may be empty.
    angle_deg : float
        Degrees in (0, 180].
    same_class : bool
        Pair only annotations of one class.

    Returns
    -------
    SpatialMatches

    Raises
    ------
    InputError
        An angle outside (0, 180].
    """
    _check_angle(angle_deg)
    prediction, label = candidate_pairs(labels.frame.astype(np.int64), predictions.frame.astype(np.int64))
    label_azimuth, label_elevation = (v[label] for v in official_peak_angles_rad(labels))
    azimuth, elevation = (v[prediction] for v in official_peak_angles_rad(predictions))
    haversine = (
        np.sin((label_elevation - elevation) / 2) ** 2
        + np.cos(label_elevation) * np.cos(elevation) * np.sin((label_azimuth - azimuth) / 2) ** 2
    )
    angle = np.rad2deg(2 * np.arcsin(np.sqrt(np.clip(haversine, 0, 1))))
    allowed = angle <= angle_deg  # False for NaN
    if same_class:
        allowed &= labels.category_id[label] == predictions.category_id[prediction]
    chosen = least_cost_pairs(labels.frame[label], label, prediction, np.nan_to_num(angle, nan=_FORBIDDEN), allowed)
    label, prediction = label[chosen], prediction[chosen]
    missed, false = _others(len(labels), label), _others(len(predictions), prediction)
    label_direction = region_peak_direction(labels)
    prediction_direction = region_peak_direction(predictions)
    return SpatialMatches(
        labels.recording,
        label,
        prediction,
        labels.frame[label],
        labels.category_id[label],
        predictions.category_id[prediction],
        great_circle_deg(*(v[label] for v in label_direction), *(v[prediction] for v in prediction_direction)),
        labels.distance_cm[label],
        predictions.distance_cm[prediction],
        missed,
        labels.frame[missed],
        labels.category_id[missed],
        false,
        predictions.frame[false],
        predictions.category_id[false],
    )
