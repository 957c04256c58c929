"""Decisions about classes: a frame-level router, and which classes are the most reliable."""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

from sai_core.taxonomy import N_CLASSES

RELIABILITY_PRIOR: Final[int] = 50
"""Imaginary detections of reliability 0 in every class: five seconds of one source, so that a class with a handful of
lucky detections is not the most reliable one."""

_SMALLEST: Final[float] = 1e-12


def route_classes(
    frame: npt.NDArray[np.integer],
    class_scores: npt.NDArray[np.floating],
    objectness: npt.NDArray[np.floating],
    *,
    n_frames: int,
    weight: float,
    n_neighbours: int,
) -> npt.NDArray[np.int64]:
    """Class of each candidate by a router that looks at all candidates of the frames around.

    The router's opinion of a frame is the mean of the class scores of its candidates and those of the neighbouring
    frames, weighted by objectness. The class is the largest of ``own ** (1 - weight) * router ** weight``.

    Parameters
    ----------
    frame : int, shape (n,)
    class_scores : float, shape (n, 13)
    objectness : float, shape (n,)
    n_frames : int
    weight : float
        In [0, 1].
    n_neighbours : int
        Frames before and after.

    Returns
    -------
    category_id : int64, shape (n,)
    """
    weighted = np.asarray(class_scores, dtype=np.float64) * np.asarray(objectness, dtype=np.float64)[:, None]
    key = np.asarray(frame, dtype=np.int64)[:, None] * N_CLASSES + np.arange(N_CLASSES)
    summed = np.bincount(key.reshape(-1), weights=weighted.reshape(-1), minlength=n_frames * N_CLASSES)
    running = np.zeros((n_frames + 1, N_CLASSES))
    np.cumsum(summed.reshape(n_frames, N_CLASSES), axis=0, out=running[1:])
    index = np.arange(n_frames)
    router = running[np.minimum(index + n_neighbours + 1, n_frames)] - running[np.maximum(index - n_neighbours, 0)]
    router /= np.maximum(router.sum(axis=1, keepdims=True), _SMALLEST)
    own = np.log(np.maximum(np.asarray(class_scores, dtype=np.float64), _SMALLEST))
    pooled = np.log(np.maximum(router, _SMALLEST))[frame]
    return ((1 - weight) * own + weight * pooled).argmax(axis=1).astype(np.int64)


def class_reliability(
    category_id: npt.NDArray[np.integer], good: npt.NDArray[np.floating]
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.int64]]:
    """Sum of what speaks for each class and number of detections, shape (13,) each; add those of several recordings."""
    category = np.asarray(category_id, dtype=np.int64)
    total = np.bincount(category, weights=good, minlength=N_CLASSES).astype(np.float64)
    return total, np.bincount(category, minlength=N_CLASSES)


def most_reliable(total: npt.NDArray[np.float64], count_of: npt.NDArray[np.int64], *, count: int) -> tuple[int, ...]:
    """The ``count`` classes with the highest ``total / (count_of + 50)``, among those that have detections; sorted."""
    reliability = total / (count_of + RELIABILITY_PRIOR)
    order = np.argsort(-reliability, kind="stable")
    return tuple(sorted(int(c) for c in order[:count] if count_of[c] > 0))
