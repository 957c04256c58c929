"""Which detections are kept: thresholds, NMS, caps. Each function returns row indices of its input.

Indices, not copies: a caller chains them on the columns that it needs, and the expensive energy maps are gathered
once at the end.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from sai_core.detections.boxes import paired_iou
from sai_core.errors import InputError
from sai_core.taxonomy import N_CLASSES


def _in_unit_interval(value: float, name: str) -> float:
    if not 0.0 <= value <= 1.0:
        raise InputError(f"{name} is {value}; a number from 0 to 1 is needed.")
    return float(value)


def score_threshold(
    score: npt.NDArray[np.floating],
    category_id: npt.NDArray[np.integer],
    *,
    minimum: float = 0.35,
    per_class: Mapping[int, float] | None = None,
) -> npt.NDArray[np.int64]:
    """Rows whose score reaches the threshold of their class.

    Parameters
    ----------
    score : float, shape (n,)
    category_id : int, shape (n,)
        0..12.
    minimum : float
        Threshold of every class that ``per_class`` does not name.
    per_class : mapping of category_id to threshold, optional
        The report's "class-wise score selection".

    Returns
    -------
    rows : int64
        Ascending. A score equal to its threshold is kept, compared in the score's own precision.

    Raises
    ------
    InputError
        A threshold outside [0, 1], an unknown class.
    """
    thresholds = np.full(N_CLASSES, _in_unit_interval(minimum, "score threshold"))
    for class_id, value in (per_class or {}).items():
        if not 0 <= class_id < N_CLASSES:
            raise InputError(f"score threshold for class {class_id}: classes are 0..{N_CLASSES - 1}.")
        thresholds[class_id] = _in_unit_interval(value, f"score threshold of class {class_id}")
    limit = thresholds.astype(score.dtype)[category_id]
    return np.flatnonzero(score >= limit).astype(np.int64)


def _group_bounds(*keys: npt.NDArray[np.integer]) -> npt.NDArray[np.int64]:
    """Bounds of runs of equal keys in sorted columns: run ``i`` is ``bounds[i]:bounds[i + 1]``."""
    n = keys[0].shape[0]
    if n == 0:
        return np.zeros(1, dtype=np.int64)
    change = np.zeros(n - 1, dtype=bool)
    for key in keys:
        change |= np.diff(key) != 0
    return np.concatenate([[0], np.flatnonzero(change) + 1, [n]]).astype(np.int64)


def _order(
    frame: npt.NDArray[np.integer],
    category_id: npt.NDArray[np.integer],
    score: npt.NDArray[np.floating],
    tie_break: npt.NDArray[np.floating] | None = None,
) -> npt.NDArray[np.int64]:
    """Frame, then class, then falling score; equal scores by falling ``tie_break``, else in their order."""
    keys = (-score, category_id, frame) if tie_break is None else (-tie_break, -score, category_id, frame)
    return np.lexsort(keys).astype(np.int64)


def nms_per_class(
    frame: npt.NDArray[np.integer],
    category_id: npt.NDArray[np.integer],
    score: npt.NDArray[np.floating],
    boxes_xyxy: npt.NDArray[np.floating],
    *,
    iou: float = 0.3,
    wrap: bool = True,
    at_most: int | None = None,
    tie_break: npt.NDArray[np.floating] | None = None,
) -> npt.NDArray[np.int64]:
    """Greedy non-maximum suppression among detections of one class in one frame.

    Parameters
    ----------
    frame, category_id, score : shape (n,)
    boxes_xyxy : float, shape (n, 4)
        Canvas pixels.
    iou : float
        A box is dropped if its IoU with a stronger kept one is larger than this.
    wrap : bool
        Whether columns are circular (:func:`sai_core.detections.boxes.paired_iou`). The official script's are not.
    at_most : int, optional
        Keep only so many of each class in each frame, as :func:`cap_per_class` would afterwards, but without the
        work for the rest.
    tie_break : float, shape (n,), optional
        Equal scores are taken by falling value of this; in their order when left out.

    Returns
    -------
    rows : int64
        Sorted by frame, then class, then falling score: the order in which the official script hands detections to
        its tracker, which decides track numbers.
    """
    _in_unit_interval(iou, "NMS IoU")
    if at_most is not None and at_most < 1:
        raise InputError(f"cap per class is {at_most}; at least 1 is needed.")
    order = _order(frame, category_id, score, tie_break)
    boxes = np.asarray(boxes_xyxy, dtype=np.float32)[order]
    bounds = _group_bounds(frame[order], category_id[order])
    group = np.repeat(np.arange(len(bounds) - 1), np.diff(bounds))
    kept = np.zeros(len(order), dtype=bool)
    # all groups at once: each round takes the strongest that is left of every group and drops what it covers
    left = np.arange(len(order))
    n_rounds = 0
    while len(left) and (at_most is None or n_rounds < at_most):
        of = group[left]
        is_first = np.concatenate([[True], of[1:] != of[:-1]])
        leader = left[is_first]
        kept[leader] = True
        n_rounds += 1
        rest = left[~is_first]
        if not len(rest):
            break
        leader_of = leader[np.cumsum(is_first)[~is_first] - 1]
        left = rest[paired_iou(boxes[leader_of], boxes[rest], wrap=wrap) <= np.float32(iou)]
    return order[kept]


def cap_per_class(
    frame: npt.NDArray[np.integer],
    category_id: npt.NDArray[np.integer],
    score: npt.NDArray[np.floating],
    *,
    at_most: int = 3,
) -> npt.NDArray[np.int64]:
    """Keep the ``at_most`` strongest of each class in each frame; rows as in :func:`nms_per_class`.

    Raises
    ------
    InputError
        ``at_most`` below 1.
    """
    if at_most < 1:
        raise InputError(f"cap per class is {at_most}; at least 1 is needed.")
    order = _order(frame, category_id, score)
    return order[_rank(frame[order], category_id[order]) < at_most]


def _rank(frame: npt.NDArray[np.integer], category_id: npt.NDArray[np.integer]) -> npt.NDArray[np.int64]:
    """Place of each row within its run of equal frame and class."""
    bounds = _group_bounds(frame, category_id)
    return np.arange(frame.shape[0]) - np.repeat(bounds[:-1], np.diff(bounds))


def cap_by_count(
    frame: npt.NDArray[np.integer],
    category_id: npt.NDArray[np.integer],
    score: npt.NDArray[np.floating],
    limits: npt.NDArray[np.integer],
) -> npt.NDArray[np.bool_]:
    """Which rows are among the strongest of their frame and class, as many as that frame and class may have.

    Parameters
    ----------
    frame, category_id, score : shape (n,)
        In any order; of equal scores the earlier row counts as stronger.
    limits : int, shape (n_frames, 13)
        How many each frame may keep of each class.

    Returns
    -------
    keep : bool, shape (n,)
    """
    order = _order(frame, category_id, score)
    keep = np.zeros(len(order), dtype=bool)
    keep[order] = _rank(frame[order], category_id[order]) < limits[frame[order], category_id[order]]
    return keep


def lower_to_coverage(
    thresholds: Mapping[int, float],
    frame: npt.NDArray[np.integer],
    category_id: npt.NDArray[np.integer],
    score: npt.NDArray[np.floating],
    *,
    n_frames: int,
    share: float,
    floor: float,
) -> dict[int, float]:
    """Lower each class's threshold until its detections cover a share of the frames.

    Parameters
    ----------
    thresholds : mapping of category_id to float
        One for each of the 13 classes.
    frame, category_id, score : shape (n,)
    n_frames : int
    share : float
        Part of the recording's frames that should have a detection of the class, in [0, 1].
    floor : float
        No threshold is lowered below this.

    Returns
    -------
    dict of int to float
        Never higher than before.
    """
    wanted = int(np.ceil(share * n_frames))
    lowered = dict(thresholds)
    if wanted == 0 or not len(frame):
        return lowered
    key = np.asarray(frame, dtype=np.int64) * N_CLASSES + category_id
    flat = np.full(n_frames * N_CLASSES, -1.0)
    np.maximum.at(flat, key, np.asarray(score, dtype=np.float64))
    best = flat.reshape(n_frames, N_CLASSES)
    # the wanted-th best frame of each class
    reached = np.partition(best, n_frames - wanted, axis=0)[n_frames - wanted]
    for class_id, before in lowered.items():
        lowered[class_id] = min(before, max(float(reached[class_id]), floor))
    return lowered
