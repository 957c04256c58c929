"""Where a recording goes wrong: misses, false positives and confusions, frame by frame.

Built on the assignment of the 2026-06-30 metric (per frame and class, largest total soft IoU). A pair counts as found
when its soft IoU reaches a threshold; what is left over is a miss or a false positive, and a missed label with a
left-over prediction of *another* class close to it is one confusion rather than a miss and a false positive.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from sai_core.annotations.table import AnnotationTable
from sai_core.drawing.maps import peak_points
from sai_core.errors import InputError
from sai_core.geometry import great_circle_deg, pixel_to_direction

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

MISS: Final[int] = 0
FALSE_POSITIVE: Final[int] = 1
CONFUSION: Final[int] = 2
KIND_NAMES: Final[tuple[str, ...]] = ("missed", "false positive", "confusion")

CONFUSION_RADIUS_DEG: Final[float] = 20.0
"""Spatial gate of a confusion: the 20 degrees of the DCASE localisation metrics and of the 2026-04-02 matching."""


@dataclass(frozen=True, eq=False)
class ErrorEvents:
    """Errors of a recording, sorted by frame.

    Attributes
    ----------
    frame : int64, shape (n,)
    kind : uint8, shape (n,)
        :data:`MISS`, :data:`FALSE_POSITIVE` or :data:`CONFUSION`.
    label_row, prediction_row : int64, shape (n,)
        Rows of the two tables; -1 where the kind has none.
    """

    frame: IntArray
    kind: npt.NDArray[np.uint8]
    label_row: IntArray
    prediction_row: IntArray

    def __len__(self) -> int:
        return int(self.frame.shape[0])


def peak_directions(table: AnnotationTable) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Azimuth and elevation in degrees of every annotation's strongest point, and its energy; each shape (n,).

    Label grid; half a pixel is added, so that the direction is the centre of the pixel that a map paints. NaN for an
    annotation without points.
    """
    xy, energy = peak_points(table)
    azimuth, elevation = pixel_to_direction(xy[:, 0] + 0.5, np.minimum(xy[:, 1] + 0.5, 180.0))
    return azimuth, elevation, energy


def error_events(
    labels: AnnotationTable,
    predictions: AnnotationTable,
    label_row: npt.ArrayLike,
    prediction_row: npt.ArrayLike,
    soft_iou: npt.ArrayLike,
    *,
    threshold: float = 0.25,
    radius_deg: float = CONFUSION_RADIUS_DEG,
) -> ErrorEvents:
    """Misses, false positives and confusions of a recording.

    Parameters
    ----------
    labels, predictions : AnnotationTable
    label_row, prediction_row : int, shape (pairs,)
        The metric's assigned pairs as rows of the tables.
    soft_iou : float, shape (pairs,)
        Soft IoU of each pair; a pair below ``threshold`` is not found.
    threshold : float
        In (0, 1].
    radius_deg : float
        Largest angle between the strongest points of a confused pair. Pairs are taken nearest first.

    Returns
    -------
    ErrorEvents

    Raises
    ------
    InputError
        Columns of different lengths.
    """
    label_index = np.asarray(label_row, dtype=np.int64).reshape(-1)
    prediction_index = np.asarray(prediction_row, dtype=np.int64).reshape(-1)
    iou = np.asarray(soft_iou, dtype=np.float64).reshape(-1)
    if not label_index.shape == prediction_index.shape == iou.shape:
        raise InputError("The columns of matched pairs must have one length.")
    found = iou >= threshold
    missed = np.ones(len(labels), dtype=bool)
    missed[label_index[found]] = False
    extra = np.ones(len(predictions), dtype=bool)
    extra[prediction_index[found]] = False
    confused = _confusions(labels, predictions, np.flatnonzero(missed), np.flatnonzero(extra), radius_deg)
    missed[confused[:, 0]] = False
    extra[confused[:, 1]] = False
    miss_rows, extra_rows = np.flatnonzero(missed), np.flatnonzero(extra)
    none = np.full
    frame = np.concatenate(
        [labels.frame[miss_rows], predictions.frame[extra_rows], labels.frame[confused[:, 0]]]
    ).astype(np.int64)
    kind = np.repeat(
        np.array([MISS, FALSE_POSITIVE, CONFUSION], dtype=np.uint8), [miss_rows.size, extra_rows.size, len(confused)]
    )
    rows = np.concatenate([miss_rows, none(extra_rows.size, -1), confused[:, 0]]).astype(np.int64)
    guesses = np.concatenate([none(miss_rows.size, -1), extra_rows, confused[:, 1]]).astype(np.int64)
    order = np.lexsort((kind, frame))
    return ErrorEvents(frame[order], kind[order], rows[order], guesses[order])


def _confusions(
    labels: AnnotationTable,
    predictions: AnnotationTable,
    missed: IntArray,
    extra: IntArray,
    radius_deg: float,
) -> IntArray:
    """``(label row, prediction row)`` of left-overs of different classes within the radius, nearest first."""
    taken: list[tuple[int, int]] = []
    azimuth_l, elevation_l, _ = peak_directions(labels)
    azimuth_p, elevation_p, _ = peak_directions(predictions)
    label_frames = labels.frame[missed]
    for frame in np.intersect1d(label_frames, predictions.frame[extra]).tolist():
        rows = missed[label_frames == frame]
        guesses = extra[predictions.frame[extra] == frame]
        angle = great_circle_deg(
            azimuth_l[rows][:, None], elevation_l[rows][:, None], azimuth_p[guesses], elevation_p[guesses]
        )
        angle = np.where(labels.category_id[rows][:, None] == predictions.category_id[guesses], np.inf, angle)
        angle = np.nan_to_num(angle, nan=np.inf)
        while angle.size and angle.min() <= radius_deg:
            i, j = np.unravel_index(int(np.argmin(angle)), angle.shape)
            taken.append((int(rows[i]), int(guesses[j])))
            angle[i, :] = np.inf
            angle[:, j] = np.inf
    return np.array(taken, dtype=np.int64).reshape(-1, 2)
