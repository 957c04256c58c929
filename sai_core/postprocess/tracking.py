"""Class-constrained IoU tracking with coasting, and gating of whole tracks.

The rules are those of the official script (``model.py`` and ``run_inference.py`` at 8abeded): detections are matched
to tracks of the same class by the Hungarian algorithm on 1 - IoU, a pair counts from a minimal IoU on, a track that
is not seen coasts for up to ``max_age`` frames with its score decaying, then ends. One deliberate difference in the
computation, none in the result: the assignment is solved per class, which is the same optimum as one matrix with
prohibitive costs across classes.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
from scipy.optimize import linear_sum_assignment

from sai_core.errors import InputError
from sai_core.postprocess.boxes import paired_iou
from sai_core.postprocess.detections import Detections

_BLOCK_PAIRS: Final[int] = 500_000
"""Pairs of boxes compared in one go: some 60 MB of temporary arrays."""


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
    starts = np.searchsorted(detections.frame, np.arange(total + 1)).tolist()
    category = detections.category_id.tolist()
    scores = detections.score.astype(np.float64).tolist()
    overlaps = _Overlaps(detections, reach=max_age + 1, wrap=wrap)
    smallest = float(np.float32(iou))
    # live tracks, oldest first: id -> [detection row, age, hits, score shown last]
    live: dict[int, list] = {}
    rows: list[tuple[int, int, int, float, bool, int]] = []
    next_id = 0
    for frame in range(total):
        start, stop = starts[frame], starts[frame + 1]
        if start == stop and not live:
            continue
        owner: dict[int, int] = {}
        if live and stop > start:
            overlaps.reach(start, stop)
            owner = _match(overlaps, live, start, stop, category, smallest)
        matched = set(owner.values())
        unseen = [track_id for track_id in live if track_id not in matched]
        for row in range(start, stop):
            track_id = owner.get(row, -1)
            if track_id < 0:
                track_id = next_id
                next_id += 1
                live[track_id] = [row, 0, 0, 0.0]
            state = live[track_id]
            state[:] = [row, 0, state[2] + 1, scores[row]]
            rows.append((frame, track_id, row, scores[row], False, state[2]))
        for track_id in unseen:
            state = live[track_id]
            state[1] += 1
            if state[1] > max_age:
                del live[track_id]
            else:
                state[3] *= coast_decay
                rows.append((frame, track_id, state[0], state[3], True, state[2]))
    columns = list(zip(*rows, strict=True)) if rows else [(), (), (), (), (), ()]
    return Tracks(
        np.array(columns[0], dtype=np.int32),
        np.array(columns[1], dtype=np.int64),
        np.array(columns[2], dtype=np.int64),
        np.array(columns[3], dtype=np.float64),
        np.array(columns[4], dtype=bool),
        np.array(columns[5], dtype=np.int64),
    )


class _Overlaps:
    """IoU of every detection with those of its class in the frames before it, computed for many frames at once.

    A live track shows a detection of the last ``reach`` frames, so these are all pairs that the tracker can ask for.
    """

    def __init__(self, detections: Detections, *, reach: int, wrap: bool) -> None:
        # sorted by class and frame, the earlier detections of a class within reach are neighbours
        order = np.lexsort((detections.frame, detections.category_id))
        span = int(detections.frame[-1]) + reach + 2 if len(detections) else 1
        key = detections.category_id[order].astype(np.int64) * span + detections.frame[order]
        self._first = np.searchsorted(key, key - reach)
        # of one class only: a frame below 0 would reach into the class before
        self._first = np.maximum(self._first, np.searchsorted(key, key - key % span))
        self._count = np.searchsorted(key, key) - self._first
        self._order, self._boxes, self._wrap = order, detections.boxes_xyxy, wrap
        self._position = np.empty(len(order), dtype=np.int64)
        self._position[order] = np.arange(len(order))
        self._total = np.concatenate([[0], np.cumsum(self._count[self._position])])
        self._place: list[int] = self._position.tolist()
        self._begin: list[int] = self._first.tolist()
        self._block: list[float] = []
        self._offset: list[int] = []
        self._start = self._stop = 0

    def of(self, row: int, earlier: Sequence[int]) -> list[float]:
        """IoU of a detection of the frame that was reached last with earlier ones of its class."""
        at = self._offset[row - self._start] - self._begin[self._place[row]]
        block, place = self._block, self._place
        return [block[at + place[e]] for e in earlier]

    def reach(self, row: int, end: int) -> None:
        """Have the pairs of a frame's detections ``row:end`` ready; frames come in order."""
        if end <= self._stop:
            return
        total = self._total
        stop = max(int(np.searchsorted(total, total[row] + _BLOCK_PAIRS, side="right")) - 1, end)
        at = self._position[row:stop]
        count = self._count[at]
        later = np.repeat(np.arange(row, stop), count)
        within = np.arange(later.shape[0]) - np.repeat(total[row:stop] - total[row], count)
        earlier = self._order[np.repeat(self._first[at], count) + within]
        self._block = paired_iou(self._boxes[earlier], self._boxes[later], wrap=self._wrap).tolist()
        self._offset = (total[row:stop] - total[row]).tolist()
        self._start, self._stop = row, stop


def _match(
    overlaps: _Overlaps, live: dict[int, list], start: int, stop: int, category: list[int], smallest: float
) -> dict[int, int]:
    """Row of a detection -> track it continues."""
    owner: dict[int, int] = {}
    by_class: dict[int, list[int]] = {}
    for track_id, state in live.items():
        by_class.setdefault(category[state[0]], []).append(track_id)
    candidates: dict[int, list[int]] = {}
    for row in range(start, stop):
        if category[row] in by_class:
            candidates.setdefault(category[row], []).append(row)
    for class_id, rows in candidates.items():
        track_ids = by_class[class_id]
        shown = [live[t][0] for t in track_ids]
        overlap = [overlaps.of(row, shown) for row in rows]
        if len(rows) == 1 == len(track_ids):
            pairs: Iterable[tuple[int, int]] = ((0, 0),)
        else:
            cost = np.float32(1) - np.array(overlap, dtype=np.float32).T
            pairs = zip(*(v.tolist() for v in linear_sum_assignment(cost)), strict=True)
        for i, j in pairs:
            if overlap[j][i] >= smallest:
                owner[rows[j]] = track_ids[i]
    return owner


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
    first = np.full(n, np.iinfo(np.int64).max)
    final = np.full(n, -1)
    np.minimum.at(first, tracks.track_id, tracks.frame)
    np.maximum.at(final, tracks.track_id, tracks.frame)
    good = (hits >= min_hits) & (mean >= min_mean_score) & (final - first + 1 >= min_length)
    return good[tracks.track_id]
