"""Class-constrained IoU tracking with coasting, and gating of whole tracks.

The rules are those of the official script (``model.py`` and ``run_inference.py`` at 8abeded): detections are matched
to tracks of the same class by the Hungarian algorithm on 1 - IoU, a pair counts from a minimal IoU on, a track that
is not seen coasts for up to ``max_age`` frames with its score decaying, then ends. One deliberate difference in the
computation, none in the result: the assignment is solved per class, which is the same optimum as one matrix with
prohibitive costs across classes.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Final

import numpy as np
import numpy.typing as npt
from scipy.optimize import linear_sum_assignment

from sai_core.detections.boxes import paired_iou
from sai_core.detections.table import Detections
from sai_core.errors import InputError

_BLOCK_PAIRS: Final[int] = 500_000
"""Pairs of boxes compared in one go: some 60 MB of temporary arrays."""

_TINY_IOU: Final[float] = 1e-6
"""Below such a threshold pairs without any overlap, or with one that 1 - IoU loses in float32, can be matches."""


@dataclass(frozen=True, eq=False)
class Tracks:
    """Tracked detections: one row per track and frame, sorted by frame.

    Within a frame, seen tracks come first in the order of their detections, then coasting ones, oldest first.

    Attributes
    ----------
    frame : int32, shape (n,)
    track_id : int64, shape (n,)
        Numbered from 0 in order of appearance.
    detection : int64, shape (n,)
        Row of the detection that is shown: the frame's own, or the last one seen while coasting. Class, box, distance
        and energy are that row's.
    score : float64, shape (n,)
        The detection's score, or the decayed one while coasting.
    coasting : bool, shape (n,)
    hits : int64, shape (n,)
        Frames in which the track has been seen so far.
    """

    frame: npt.NDArray[np.int32]
    track_id: npt.NDArray[np.int64]
    detection: npt.NDArray[np.int64]
    score: npt.NDArray[np.float64]
    coasting: npt.NDArray[np.bool_]
    hits: npt.NDArray[np.int64]

    def __len__(self) -> int:
        return int(self.frame.shape[0])

    def take(self, rows: npt.NDArray[np.int64] | npt.NDArray[np.bool_]) -> Tracks:
        """Return a new container with the chosen rows."""
        return Tracks(
            self.frame[rows],
            self.track_id[rows],
            self.detection[rows],
            self.score[rows],
            self.coasting[rows],
            self.hits[rows],
        )


def track(
    detections: Detections,
    *,
    n_frames: int | None = None,
    iou: float = 0.3,
    max_age: int = 5,
    coast_decay: float = 0.9,
    wrap: bool = True,
) -> Tracks:
    """Link detections over time.

    Parameters
    ----------
    detections : Detections
        After thresholds and NMS. The order within a frame decides the numbers of new tracks.
    n_frames : int, optional
        Length of the recording, so that tracks coast into frames without detections; the last detection's frame + 1
        when left out.
    iou : float
        Smallest IoU of a match.
    max_age : int
        Frames that an unseen track coasts; 0 for none.
    coast_decay : float
        Factor on the score for each coasting frame.
    wrap : bool
        Whether columns are circular. The official script's are not.

    Returns
    -------
    Tracks

    Raises
    ------
    InputError
        An option out of range.
    """
    if not 0.0 <= iou <= 1.0 or not 0.0 <= coast_decay <= 1.0 or max_age < 0:
        raise InputError(
            f"tracker: iou {iou} and coast_decay {coast_decay} must be in [0, 1] and max_age {max_age} >= 0."
        )
    last = int(detections.frame[-1]) + 1 if len(detections) else 0
    total = last if n_frames is None else n_frames
    if total < last:
        raise InputError(f"tracker: the recording has {total} frames but a detection is in frame {last - 1}.")
    following, track_id, hits = _linked(detections, iou=float(np.float32(iou)), reach=max_age + 1, wrap=wrap)
    return _rows(detections, following, track_id, hits, n_frames=total, max_age=max_age, coast_decay=coast_decay)


def _linked(detections: Detections, *, iou: float, reach: int, wrap: bool) -> tuple[list[int], list[int], list[int]]:
    """Each detection's successor in its track (-1: none), its track, and how often that was seen."""
    n = len(detections)
    following = [-1] * n
    track_id, hits = [-1] * n, [0] * n
    category = detections.category_id.tolist()
    tiny = iou < _TINY_IOU
    window = _Windows(detections, reach=reach, wrap=wrap, smallest=-1.0 if tiny else 0.0)
    n_tracks = 0
    bounds = [0, *(np.flatnonzero(np.diff(detections.frame)) + 1).tolist(), n] if n else [0]
    for start, stop in pairwise(bounds):
        owner: dict[int, int] = {}
        pairs = [p for p in window.pairs(start, stop) if following[p[0]] < 0]
        if pairs:
            owner = _match(pairs, following, track_id, window, category, start, stop, iou, tiny)
        for row in range(start, stop):
            before = owner.get(row, -1)
            if before < 0:
                track_id[row], hits[row] = n_tracks, 1
                n_tracks += 1
            else:
                following[before] = row
                track_id[row], hits[row] = track_id[before], hits[before] + 1
    return following, track_id, hits


def _match(
    pairs: list[tuple[int, int, float]],
    following: list[int],
    track_id: list[int],
    window: _Windows,
    category: list[int],
    start: int,
    stop: int,
    iou: float,
    tiny: bool,
) -> dict[int, int]:
    """Detection -> the earlier one whose track it continues.

    Where every track meets one detection and every detection one track, that is the optimal assignment; only the
    other classes' matrices are solved.
    """
    met_earlier: set[int] = set()
    met_later: set[int] = set()
    contested: set[int] = set()
    for earlier, later, _ in pairs:
        if tiny or earlier in met_earlier or later in met_later:
            contested.add(category[later])
        met_earlier.add(earlier)
        met_later.add(later)
    owner = {j: i for i, j, overlap in pairs if overlap >= iou and category[j] not in contested}
    for class_id in contested:
        later_rows = [row for row in range(start, stop) if category[row] == class_id]
        # oldest track first, as in a list of tracks
        alive = [i for i in window.earlier(later_rows[0]) if following[i] < 0]
        alive.sort(key=track_id.__getitem__)
        row_of = {i: k for k, i in enumerate(alive)}
        column_of = {j: k for k, j in enumerate(later_rows)}
        overlap_of = np.zeros((len(alive), len(later_rows)), dtype=np.float32)
        for i, j, overlap in pairs:
            if category[j] == class_id:
                overlap_of[row_of[i], column_of[j]] = overlap
        rows, columns = linear_sum_assignment(np.float32(1) - overlap_of)
        for i, j, overlap in zip(rows.tolist(), columns.tolist(), overlap_of[rows, columns].tolist(), strict=True):
            if overlap >= iou:
                owner[later_rows[j]] = alive[i]
    return owner


class _Windows:
    """For every detection those of its class in the frames before it, and their IoU, for many frames at once.

    A live track shows a detection of the last ``reach`` frames, so these are all pairs that the tracker can ask for.
    """

    def __init__(self, detections: Detections, *, reach: int, wrap: bool, smallest: float) -> None:
        # sorted by class and frame, the earlier detections of a class within reach are neighbours
        order = np.lexsort((detections.frame, detections.category_id))
        span = int(detections.frame[-1]) + reach + 2 if len(detections) else 1
        key = detections.category_id[order].astype(np.int64) * span + detections.frame[order]
        first = np.searchsorted(key, key - reach)
        # of one class only: a frame below 0 would reach into the class before
        first = np.maximum(first, np.searchsorted(key, key - key % span))
        self._order, self._boxes, self._wrap = order, detections.boxes_xyxy, wrap
        self._smallest = smallest
        self._first = np.empty(len(order), dtype=np.int64)
        self._count = np.empty(len(order), dtype=np.int64)
        self._first[order] = first
        self._count[order] = np.searchsorted(key, key) - first
        self._total = np.concatenate([[0], np.cumsum(self._count)])
        self._pairs: list[tuple[int, int, float]] = []
        self._begin: list[int] = []
        self._start = self._stop = 0

    def earlier(self, row: int) -> list[int]:
        """Detections of its class in the frames within reach before it."""
        first = int(self._first[row])
        earlier: list[int] = self._order[first : first + int(self._count[row])].tolist()
        return earlier

    def pairs(self, start: int, stop: int) -> list[tuple[int, int, float]]:
        """``(earlier, later, IoU)`` of the detections ``start:stop`` of a frame, where that is above ``smallest``."""
        if stop > self._stop:
            self._fill(start, stop)
        return self._pairs[self._begin[start - self._start] : self._begin[stop - self._start]]

    def _fill(self, start: int, stop: int) -> None:
        total = self._total
        stop = max(int(np.searchsorted(total, total[start] + _BLOCK_PAIRS, side="right")) - 1, stop)
        count = self._count[start:stop]
        later = np.repeat(np.arange(start, stop), count)
        within = np.arange(later.shape[0]) - np.repeat(total[start:stop] - total[start], count)
        earlier = self._order[np.repeat(self._first[start:stop], count) + within]
        overlap = paired_iou(self._boxes[earlier], self._boxes[later], wrap=self._wrap)
        some = overlap > self._smallest
        earlier, later, overlap = earlier[some], later[some], overlap[some]
        self._pairs = list(zip(earlier.tolist(), later.tolist(), overlap.tolist(), strict=True))
        self._begin = np.searchsorted(later, np.arange(start, stop + 1)).tolist()
        self._start, self._stop = start, stop


def _rows(
    detections: Detections,
    following: list[int],
    track_ids: list[int],
    hits: list[int],
    *,
    n_frames: int,
    max_age: int,
    coast_decay: float,
) -> Tracks:
    """All rows of linked detections: those seen, and the frames after each that its track coasts."""
    n = len(detections)
    after = np.array(following, dtype=np.int64)
    track_id = np.array(track_ids, dtype=np.int64)
    frame = detections.frame.astype(np.int64)
    until = np.full(n, n_frames, dtype=np.int64)
    until[after >= 0] = frame[after[after >= 0]]
    n_coasting = np.minimum(until - frame - 1, max_age)
    score = detections.score.astype(np.float64)
    row = [np.arange(n)]
    ages = [np.zeros(n, dtype=np.int64)]
    scores = [score]
    for age in range(1, int(n_coasting.max(initial=0)) + 1):
        # multiplied once a frame, so that the result is that of a running product to the last bit
        score = score * coast_decay
        coasting = np.flatnonzero(n_coasting >= age)
        row.append(coasting)
        ages.append(np.full(len(coasting), age))
        scores.append(score[coasting])
    detection, age_of = np.concatenate(row), np.concatenate(ages)
    shown = frame[detection] + age_of
    place = np.where(age_of > 0, track_id[detection], detection)
    order = np.lexsort((place, age_of > 0, shown))
    detection = detection[order]
    return Tracks(
        shown[order].astype(np.int32),
        track_id[detection],
        detection,
        np.concatenate(scores)[order],
        age_of[order] > 0,
        np.array(hits, dtype=np.int64)[detection],
    )


def gate_tracks(
    tracks: Tracks, *, min_hits: int = 2, min_mean_score: float = 0.0, min_length: int = 1
) -> npt.NDArray[np.bool_]:
    """Which rows belong to tracks worth keeping. Looks at the whole recording (not causal), as the official export.

    Parameters
    ----------
    tracks : Tracks
    min_hits : int
        Frames in which the track must have been seen.
    min_mean_score : float
        Smallest mean score over the frames in which it was seen (the report's confidence-based gating).
    min_length : int
        Frames from first to last, coasting included.

    Returns
    -------
    keep : bool, shape (len(tracks),)
    """
    if len(tracks) == 0:
        return np.zeros(0, dtype=bool)
    n = int(tracks.track_id.max()) + 1
    seen = ~tracks.coasting
    hits = np.bincount(tracks.track_id[seen], minlength=n)
    mean = np.bincount(tracks.track_id[seen], weights=tracks.score[seen], minlength=n) / np.maximum(hits, 1)
    # rows are sorted by frame, and of several values for one index the last is stored
    first = np.zeros(n, dtype=np.int64)
    first[tracks.track_id[::-1]] = tracks.frame[::-1]
    final = np.zeros(n, dtype=np.int64)
    final[tracks.track_id] = tracks.frame
    good = (hits >= min_hits) & (mean >= min_mean_score) & (final - first + 1 >= min_length)
    return good[tracks.track_id]
