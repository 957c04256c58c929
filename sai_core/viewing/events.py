"""Where a recording goes wrong: misses, false positives and confusions, frame by frame, and joined to events.

Built on the assignment of the 2026-06-30 metric (per frame and class, largest total soft IoU). A pair counts as found
when its soft IoU reaches a threshold; what is left over is a miss or a false positive, and a missed label with a
left-over prediction of *another* class close to it is one confusion rather than a miss and a false positive.

Errors of one kind and class that follow each other in time at one place are one event (:func:`join_errors`): what
somebody who looks for mistakes wants to see once, not once a frame.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from sai_core.annotations.table import AnnotationTable
from sai_core.drawing.maps import peak_points
from sai_core.errors import InputError
from sai_core.geometry import directions_to_vectors, great_circle_deg, pixel_to_direction, vectors_to_directions

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

MISS: Final[int] = 0
FALSE_POSITIVE: Final[int] = 1
CONFUSION: Final[int] = 2
KIND_NAMES: Final[tuple[str, ...]] = ("missed", "false positive", "confusion")

CONFUSION_RADIUS_DEG: Final[float] = 20.0
"""Spatial gate of a confusion: the 20 degrees of the DCASE localisation metrics and of the 2026-04-02 matching."""

JOIN_GAP_FRAMES: Final[int] = 3
"""Frames without the error that an event goes on over: 0.3 s, less than what is heard as two."""

JOIN_ANGLE_DEG: Final[float] = 20.0
"""Largest angle from one error of an event to the next; the gate of a confusion."""


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


@dataclass(frozen=True, eq=False)
class JoinedErrors:
    """Errors joined to events, sorted by first frame, then kind, class and direction. Each shape (events,).

    Attributes
    ----------
    first, last : int64
        Frames, the last one included.
    kind : uint8
    category : int64
        Class of the label; of the prediction where it is a false positive.
    taken_for : int64
        Class that a confusion was predicted as; -1 for the other kinds.
    frames : int64
        Wrong frames in it: what it costs. At most ``last - first + 1``.
    score : float64
        Highest score of its predictions; NaN for what was missed and without scores.
    azimuth_deg, elevation_deg : float64
        Mean direction of the strongest points (of the labels; of the predictions for a false positive).
    event_of : int64, shape (errors,)
        Event of each error, in the order of the :class:`ErrorEvents` that were joined.
    """

    first: IntArray
    last: IntArray
    kind: npt.NDArray[np.uint8]
    category: IntArray
    taken_for: IntArray
    frames: IntArray
    score: FloatArray
    azimuth_deg: FloatArray
    elevation_deg: FloatArray
    event_of: IntArray

    def __len__(self) -> int:
        return int(self.first.shape[0])


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


def join_errors(
    errors: ErrorEvents,
    labels: AnnotationTable,
    predictions: AnnotationTable,
    *,
    gap_frames: int = JOIN_GAP_FRAMES,
    angle_deg: float = JOIN_ANGLE_DEG,
) -> JoinedErrors:
    """Errors of one kind and class (of one pair of classes, for confusions) joined in time and place.

    An error goes on with an event whose last error is at most ``gap_frames + 1`` frames earlier and at most
    ``angle_deg`` away; in each frame the nearest pairs are joined first, and an event takes one error a frame. Every
    error is in exactly one event. The order of the rows within a frame does not matter.

    Parameters
    ----------
    errors : ErrorEvents
    labels, predictions : AnnotationTable
        The tables that the errors' rows are of.
    gap_frames : int
    angle_deg : float

    Returns
    -------
    JoinedErrors
    """
    n = len(errors)
    of_label = errors.kind != FALSE_POSITIVE
    category, taken_for = np.full(n, -1, dtype=np.int64), np.full(n, -1, dtype=np.int64)
    vectors, score = np.zeros((n, 3)), np.full(n, np.nan)
    for rows, mine, table in (
        (errors.label_row, of_label, labels),
        (errors.prediction_row, ~of_label, predictions),
    ):
        azimuth, elevation, _ = peak_directions(table)
        category[mine] = table.category_id[rows[mine]]
        vectors[mine] = np.nan_to_num(directions_to_vectors(azimuth[rows[mine]], elevation[rows[mine]]))
    confused, predicted = errors.kind == CONFUSION, errors.prediction_row >= 0
    taken_for[confused] = predictions.category_id[errors.prediction_row[confused]]
    score[predicted] = predictions.score[errors.prediction_row[predicted]]

    keys = list(zip(errors.kind.tolist(), category.tolist(), taken_for.tolist(), strict=True))
    event_of = np.full(n, -1, dtype=np.int64)
    going_on: dict[tuple[int, int, int], dict[int, int]] = {}  # by key: event -> its last error
    n_events = 0
    nearest = float(np.cos(np.deg2rad(angle_deg))) - 1e-12
    starts = np.flatnonzero(np.diff(errors.frame, prepend=-1)) if n else np.zeros(0, dtype=np.int64)
    for start, stop in zip(starts.tolist(), [*starts.tolist(), n][1:], strict=True):
        frame = int(errors.frame[start])
        by_key: dict[tuple[int, int, int], list[int]] = {}
        for error in range(start, stop):
            by_key.setdefault(keys[error], []).append(error)
        for key, here in by_key.items():
            before = going_on.setdefault(key, {})
            for event in [e for e, last in before.items() if frame - int(errors.frame[last]) > gap_frames + 1]:
                del before[event]
            if before:
                events = list(before)
                near = vectors[here] @ vectors[[before[event] for event in events]].T
                while near.size and near.max() >= nearest:
                    i, j = divmod(int(np.argmax(near)), near.shape[1])
                    event_of[here[i]] = events[j]
                    near[i, :] = near[:, j] = -2.0
            for error in here:
                if event_of[error] < 0:
                    event_of[error] = n_events
                    n_events += 1
                before[int(event_of[error])] = error
    return _joined(errors, event_of, n_events, category, taken_for, score, vectors)


def _joined(
    errors: ErrorEvents,
    event_of: IntArray,
    n_events: int,
    category: IntArray,
    taken_for: IntArray,
    score: FloatArray,
    vectors: FloatArray,
) -> JoinedErrors:
    """Facts of events from those of their errors, in order."""
    head = np.unique(event_of, return_index=True)[1]  # the first error of each event: errors are sorted by frame
    last = np.zeros(n_events, dtype=np.int64)
    np.maximum.at(last, event_of, errors.frame)
    highest = np.full(n_events, -np.inf)
    np.fmax.at(highest, event_of, score)
    total = np.zeros((n_events, 3))
    np.add.at(total, event_of, vectors)
    azimuth, elevation = vectors_to_directions(total)
    nowhere = np.linalg.norm(total, axis=1) < 1e-9
    azimuth, elevation = np.where(nowhere, np.nan, azimuth), np.where(nowhere, np.nan, elevation)
    order = np.lexsort((elevation, azimuth, taken_for[head], category[head], errors.kind[head], errors.frame[head]))
    rank = np.empty(n_events, dtype=np.int64)
    rank[order] = np.arange(n_events)
    head = head[order]
    return JoinedErrors(
        first=errors.frame[head],
        last=last[order],
        kind=errors.kind[head],
        category=category[head],
        taken_for=taken_for[head],
        frames=np.bincount(event_of, minlength=n_events).astype(np.int64)[order],
        score=np.where(np.isfinite(highest), highest, np.nan)[order],
        azimuth_deg=azimuth[order],
        elevation_deg=elevation[order],
        event_of=rank[event_of],
    )
