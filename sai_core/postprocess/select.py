"""Which detections are kept: thresholds, NMS, caps. Each function returns row indices of its input.

Indices, not copies: a caller chains them on the columns that it needs, and the expensive energy maps are gathered
once at the end.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from sai_core.errors import InputError
from sai_core.postprocess.boxes import pairwise_iou
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
    frame: npt.NDArray[np.integer], category_id: npt.NDArray[np.integer], score: npt.NDArray[np.floating]
) -> npt.NDArray[np.int64]:
    """Frame, then class, then falling score; equal scores keep their order."""
    return np.lexsort((-score, category_id, frame)).astype(np.int64)


def nms_per_class(
    frame: npt.NDArray[np.integer],
    category_id: npt.NDArray[np.integer],
    score: npt.NDArray[np.floating],
    boxes_xyxy: npt.NDArray[np.floating],
    *,
    iou: float = 0.3,
    wrap: bool = True,
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
        Whether columns are circular (:func:`sai_core.postprocess.boxes.pairwise_iou`). The official script's are not.

    Returns
    -------
    rows : int64
        Sorted by frame, then class, then falling score: the order in which the official script hands detections to
        its tracker, which decides track numbers.
    """
    _in_unit_interval(iou, "NMS IoU")
    order = _order(frame, category_id, score)
    bounds = _group_bounds(frame[order], category_id[order])
    kept: list[npt.NDArray[np.int64]] = []
    for start, stop in zip(bounds[:-1].tolist(), bounds[1:].tolist(), strict=True):
        rows = order[start:stop]
        if stop - start == 1:
            kept.append(rows)
            continue
        overlap = pairwise_iou(boxes_xyxy[rows], boxes_xyxy[rows], wrap=wrap) > iou
        alive = np.ones(stop - start, dtype=bool)
        for i in range(stop - start):
            if alive[i]:
                alive[i + 1 :] &= ~overlap[i, i + 1 :]
        kept.append(rows[alive])
    return np.concatenate(kept) if kept else np.zeros(0, dtype=np.int64)


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
    bounds = _group_bounds(frame[order], category_id[order])
    rank = np.arange(order.shape[0]) - np.repeat(bounds[:-1], np.diff(bounds))
    return order[rank < at_most]
