"""Class-constrained IoU tracking with coasting, and gating of whole tracks.

The rules are those of the official script (``model.py`` and ``run_inference.py`` at 8abeded): detections are matched
to tracks of the same class by the Hungarian algorithm on 1 - IoU, a pair counts from a minimal IoU on, a track that
is not seen coasts for up to ``max_age`` frames with its score decaying, then ends. One deliberate difference in the
computation, none in the result: the assignment is solved per class, which is the same optimum as one matrix with
prohibitive costs across classes.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.optimize import linear_sum_assignment

from sai_core.errors import InputError
from sai_core.postprocess.boxes import pairwise_iou
from sai_core.postprocess.detections import Detections


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
    starts = np.searchsorted(detections.frame, np.arange(total + 1))
    category = detections.category_id.tolist()
    scores = detections.score.astype(np.float64).tolist()
    # live tracks, oldest first: id -> [detection row, age, hits, score shown last]
    live: dict[int, list] = {}
    rows: list[tuple[int, int, int, float, bool, int]] = []
    next_id = 0
    for frame in range(total):
        start, stop = int(starts[frame]), int(starts[frame + 1])
        if start == stop and not live:
            continue
        owner: dict[int, int] = {}
        if live and stop > start:
            owner = _match(detections, live, start, stop, category, iou=iou, wrap=wrap)
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


def _match(
    detections: Detections,
    live: dict[int, list],
    start: int,
    stop: int,
    category: list[int],
    *,
    iou: float,
    wrap: bool,
) -> dict[int, int]:
    """Row of a detection -> track it continues."""
    owner: dict[int, int] = {}
    by_class: dict[int, list[int]] = {}
    for track_id, state in live.items():
        by_class.setdefault(category[state[0]], []).append(track_id)
    for class_id in sorted({category[row] for row in range(start, stop)} & by_class.keys()):
        track_ids = by_class[class_id]
        candidates = [row for row in range(start, stop) if category[row] == class_id]
        overlap = pairwise_iou(
            detections.boxes_xyxy[[live[t][0] for t in track_ids]], detections.boxes_xyxy[candidates], wrap=wrap
        )
        for i, j in zip(*linear_sum_assignment(1.0 - overlap), strict=True):
            if overlap[i, j] >= np.float32(iou):
                owner[candidates[j]] = track_ids[i]
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
