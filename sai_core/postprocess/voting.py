"""Box voting: a region is the mean of what all candidates around it say.

A detector puts many candidates on one source, in its frame and in those around it, each with a box and an energy map
that are a little off in another way. NMS keeps the one with the highest score, which need not be the one that fits
best. Voting leaves choice and score alone and gives the kept region the weighted mean of box and map of all candidates
that overlap with it (after Gidaris and Komodakis, ICCV 2015; here also over time and over energy maps). A
candidate's vote weighs

    score of its strongest class x IoU of the boxes x (1 - |frames apart| / (n_frames + 1))

and only boxes of at least the given IoU vote. Maps are averaged cell by cell, each stretched over its own box.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt
from scipy import sparse

from sai_core.detections.boxes import paired_iou
from sai_core.errors import InputError
from sai_core.geometry import ERP_WIDTH

Int64 = npt.NDArray[np.int64]

_PAIRS_AT_ONCE: Final[int] = 200_000


def vote_regions(
    frame: npt.NDArray[np.integer],
    boxes_xyxy: npt.NDArray[np.floating],
    energy: npt.NDArray[np.floating],
    score: npt.NDArray[np.floating],
    rows: Int64,
    *,
    iou: float,
    n_frames: int,
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """Boxes and energy maps of some candidates by the votes of all.

    Parameters
    ----------
    frame : int, shape (n,)
        Non-decreasing.
    boxes_xyxy : float, shape (n, 4)
        Canvas pixels, label grid; columns may leave [0, 360), and boxes on both sides of the seam are neighbours.
    energy : floating, shape (n, cell rows, cell columns)
        Read where a candidate votes.
    score : float, shape (n,)
        Of each candidate's strongest class, in [0, 1].
    rows : int64, shape (k,)
        Candidates whose regions are wanted.
    iou : float
        Smallest IoU with the candidate's own box, in (0, 1]; its own vote always counts.
    n_frames : int
        Frames before and after that vote; 0 for the candidate's own frame alone.

    Returns
    -------
    boxes_xyxy : float32, shape (k, 4)
        Beside the candidate's own box, in the same turn of the cylinder.
    energy : float32, shape (k, cell rows, cell columns)

    Raises
    ------
    InputError
        ``iou`` or ``n_frames`` out of range.
    """
    if not 0.0 < iou <= 1.0 or n_frames < 0:
        raise InputError(f"voting: iou {iou} must be in (0, 1] and n_frames {n_frames} at least 0.")
    rows = np.asarray(rows, dtype=np.int64)
    boxes = np.asarray(boxes_xyxy, dtype=np.float32)
    when = np.asarray(frame, dtype=np.int64)
    first = np.searchsorted(when, when[rows] - n_frames, side="left")
    count = np.searchsorted(when, when[rows] + n_frames, side="right") - first
    voted = boxes[rows].astype(np.float64)
    maps = np.zeros((len(rows), *energy.shape[1:]), dtype=np.float32)
    ends = np.cumsum(count)
    begin = 0
    while begin < len(rows):
        # as many regions as have so many neighbours together, and at least one
        done = ends[begin - 1] if begin else 0
        end = max(int(np.searchsorted(ends, done + _PAIRS_AT_ONCE, side="right")), begin + 1)
        part = slice(begin, end)
        owner = np.repeat(np.arange(end - begin), count[part])
        start = np.repeat(np.cumsum(count[part]) - count[part], count[part])
        voter = np.arange(len(owner)) - start + np.repeat(first[part], count[part])
        target = rows[part][owner]
        overlap = paired_iou(boxes[target], boxes[voter], wrap=True).astype(np.float64)
        counts = (overlap >= iou) | (voter == target)
        owner, voter, target, overlap = owner[counts], voter[counts], target[counts], overlap[counts]
        apart = np.abs(when[voter] - when[target])
        weight = np.asarray(score, dtype=np.float64)[voter] * overlap * (1.0 - apart / (n_frames + 1.0))
        # a candidate without a score has its own box, and no other
        total = np.bincount(owner, weights=weight, minlength=end - begin)
        alone = total[owner] <= 0.0
        weight = np.where(alone, voter == target, weight / np.where(total > 0.0, total, 1.0)[owner])
        shift = boxes[voter].astype(np.float64) - boxes[target]
        turn = np.round((shift[:, 0] + shift[:, 2]) / (2 * ERP_WIDTH)) * ERP_WIDTH
        shift[:, [0, 2]] -= turn[:, None]
        for corner in range(4):
            voted[part, corner] += np.bincount(owner, weights=weight * shift[:, corner], minlength=end - begin)
        seen, at = np.unique(voter, return_inverse=True)
        matrix = sparse.csr_matrix((weight.astype(np.float32), (owner, at)), shape=(end - begin, len(seen)))
        flat = np.asarray(energy[seen], dtype=np.float32).reshape(len(seen), -1)
        maps[part] = (matrix @ flat).reshape(end - begin, *energy.shape[1:])
        begin = end
    return voted.astype(np.float32), maps
