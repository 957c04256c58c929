"""The prior from another system's output: which of its sources a candidate belongs to, and how many there are.

The report (section 4.2) associates the peak of a detection's mask with the nearest output of a DCASE 2023 system in
the same frame by angular distance; a reliable match keeps the mask and takes the teacher's label, its counts constrain
how many detections of a class a frame keeps, and scores are re-ranked. What it does not say is our choice: a match is
reliable within a radius that is a setting, and the score moves towards 1 with a match and towards 0 without.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from sai_core.annotations.dcase import DcaseMetadata
from sai_core.geometry import great_circle_deg
from sai_core.taxonomy import N_CLASSES


@dataclass(frozen=True, eq=False)
class TeacherMatch:
    """The nearest teacher output of each candidate's frame.

    Attributes
    ----------
    category_id : int16, shape (n,)
        Its class; -1 where the teacher has nothing in the frame.
    angle_deg : float64, shape (n,)
        Great-circle angle to it; infinite where there is none.
    """

    category_id: npt.NDArray[np.int16]
    angle_deg: npt.NDArray[np.float64]


def match_teacher(
    frame: npt.NDArray[np.integer],
    azimuth_deg: npt.NDArray[np.floating],
    elevation_deg: npt.NDArray[np.floating],
    teacher: DcaseMetadata,
) -> TeacherMatch:
    """Nearest teacher output by great-circle angle, in the same frame, whatever its class.

    Parameters
    ----------
    frame : int, shape (n,)
        Zero-based 100 ms frame of each candidate, in any order.
    azimuth_deg, elevation_deg : float, shape (n,)
        Direction of its peak.
    teacher : DcaseMetadata
        Of equally near outputs the first of the file is taken. Several candidates may have the same.
    """
    n = len(frame)
    category = np.full(n, -1, dtype=np.int16)
    angle = np.full(n, np.inf)
    order = np.argsort(teacher.frame, kind="stable")
    sorted_frames = teacher.frame[order]
    low = np.searchsorted(sorted_frames, frame, side="left")
    counts = np.searchsorted(sorted_frames, frame, side="right") - low
    some = np.flatnonzero(counts)
    if not len(some):
        return TeacherMatch(category, angle)
    counts = counts[some]
    starts = np.cumsum(counts) - counts
    candidate = np.repeat(some, counts)
    output = order[np.arange(len(candidate)) - np.repeat(starts, counts) + np.repeat(low[some], counts)]
    angles = great_circle_deg(
        azimuth_deg[candidate], elevation_deg[candidate], teacher.azimuth_deg[output], teacher.elevation_deg[output]
    )
    angle[some] = np.minimum.reduceat(angles, starts)
    nearest = np.flatnonzero(angles == angle[candidate])
    # written backwards, so that the first of equals stays
    category[candidate[nearest[::-1]]] = teacher.category_id[output[nearest[::-1]]]
    return TeacherMatch(category, angle)


def rerank(
    score: npt.NDArray[np.floating], matched: npt.NDArray[np.bool_], *, weight: float
) -> npt.NDArray[np.floating]:
    """Scores moved towards 1 with a reliable match and towards 0 without.

    Parameters
    ----------
    score : floating, shape (n,)
        In [0, 1].
    matched : bool, shape (n,)
    weight : float
        ``w`` of ``s + w (1 - s)`` and ``(1 - w) s``, in [0, 1]. The order within each of the two groups stays (at 1,
        where all matched candidates have score 1, there is none).
    """
    if weight == 0:
        return score
    w = score.dtype.type(weight)
    whole = score.dtype.type(1)
    return np.where(matched, score + w * (whole - score), (whole - w) * score)


def teacher_counts(teacher: DcaseMetadata, *, n_frames: int) -> npt.NDArray[np.int64]:
    """Outputs of the teacher for each frame and class, shape (n_frames, 13); rows beyond the recording are left out."""
    within = teacher.frame < n_frames
    key = teacher.frame[within].astype(np.int64) * N_CLASSES + teacher.category_id[within]
    return np.bincount(key, minlength=n_frames * N_CLASSES).reshape(n_frames, N_CLASSES)
