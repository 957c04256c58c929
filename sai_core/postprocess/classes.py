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

_LEAST_SCORE: Final[float] = 1e-5
_LEAST_BACKGROUND: Final[float] = 1e-4
"""Shares below these count as these: a detector that is sure may be wrong."""


def heard_scores(
    class_scores: npt.NDArray[np.floating], log_heard: npt.NDArray[np.floating], *, weight: float
) -> npt.NDArray[np.float32]:
    """Class scores of which a part is what a wideband listener heard in a candidate's direction.

    Of the 13 classes and of nothing (the background), ``detector ** (1 - weight) * listener ** weight``, brought to a
    sum of 1.

    Parameters
    ----------
    class_scores : float, shape (n, 13)
        By the detector; what is left of 1 is background.
    log_heard : float, shape (n, 14)
        Natural logarithms of the listener's probabilities: the classes, then nothing.
    weight : float
        In [0, 1]; 0 keeps the detector's, 1 leaves everything to the listener.

    Returns
    -------
    float32, shape (n, 13)
    """
    own = np.asarray(class_scores, dtype=np.float64)
    background = np.maximum(1.0 - own.sum(axis=1, keepdims=True), _LEAST_BACKGROUND)
    both = np.log(np.maximum(np.concatenate([own, background], axis=1), _LEAST_SCORE))
    mixed = (1.0 - weight) * both + weight * np.asarray(log_heard, dtype=np.float64)
    mixed = np.exp(mixed - mixed.max(axis=1, keepdims=True))
    return (mixed / mixed.sum(axis=1, keepdims=True))[:, :N_CLASSES].astype(np.float32)


def same_place(
    category_id: npt.NDArray[np.integer], *, before: npt.NDArray[np.floating], after: npt.NDArray[np.floating]
) -> npt.NDArray[np.int64]:
    """Classes that stand where ``category_id`` stood when scores change: the likeliest stays the likeliest.

    A network that gives several classes of a region (``predict --classes``) has a row for each; the second row is to
    have the second of the new scores.

    Parameters
    ----------
    category_id : int, shape (n,)
    before, after : float, shape (n, 13)
    """
    own = np.take_along_axis(np.asarray(before), np.asarray(category_id, dtype=np.int64)[:, None], axis=1)
    place = (np.asarray(before) > own).sum(axis=1, keepdims=True)
    order = np.argsort(-np.asarray(after), axis=1, kind="stable")
    return np.take_along_axis(order, place, axis=1)[:, 0].astype(np.int64)


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
