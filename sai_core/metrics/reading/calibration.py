"""Whether scores mean what they say: precision against score (reliability), and how far they are apart.

A detection with score 0.7 should be right seven times in ten. "Right" is a true positive of the official matching at
one IoU threshold.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from sai_core.errors import InputError
from sai_core.metrics.evaluation.scores import RecordingScores, ordered
from sai_core.metrics.official.revisions import THRESHOLDS, Revision
from sai_core.taxonomy import N_CLASSES

Int64 = npt.NDArray[np.int64]
Float64 = npt.NDArray[np.float64]

_Z_95: float = 1.959963984540054
"""Two-sided 95 % quantile of the standard normal distribution."""


@dataclass(frozen=True, eq=False)
class ReliabilityCurve:
    """Detections in bins of their score.

    Attributes
    ----------
    edges : float64, shape (n_bins + 1,)
        Bin ``i`` holds scores in ``[edges[i], edges[i + 1])``, the last one its upper edge too.
    count : int64, shape (n_bins,)
        Detections.
    mean_score, precision : float64, shape (n_bins,)
        Mean score and share of true positives; NaN for an empty bin.
    low, high : float64, shape (n_bins,)
        Wilson 95 % interval of ``precision``; it takes detections for independent, which neighbouring frames are not.
    expected_error : float
        Expected calibration error: mean of ``|precision - mean_score|`` over detections; NaN without any.
    largest_error : float
        Its maximum over bins.
    brier : float
        Mean squared difference of score and outcome.
    """

    edges: Float64
    count: Int64
    mean_score: Float64
    precision: Float64
    low: Float64
    high: Float64
    expected_error: float
    largest_error: float
    brier: float


def threshold_column(revision: Revision, threshold: float) -> int:
    """Column of ``detection_hit`` that belongs to an IoU threshold.

    Raises
    ------
    InputError
        The revision does not have that threshold.
    """
    for column, value in enumerate(THRESHOLDS[revision]):
        if math.isclose(value, threshold, abs_tol=1e-9):
            return column
    shown = ", ".join(f"{t:g}" for t in THRESHOLDS[revision])
    raise InputError(f"Revision {revision} has the IoU thresholds {shown}, not {threshold:g}.")


def reliability_curve(
    scores: Iterable[RecordingScores], *, threshold: float = 0.5, category_id: int | None = None, n_bins: int = 10
) -> ReliabilityCurve:
    """Reliability of the scores of a class, or of all classes together.

    Parameters
    ----------
    scores : iterable of RecordingScores
        Of one revision.
    threshold : float
        One of the revision's IoU thresholds: what counts as right.
    category_id : int, optional
        0..12; by default all classes.
    n_bins : int
        Equal bins of [0, 1]. Scores outside count in the outermost bins.

    Returns
    -------
    ReliabilityCurve

    Raises
    ------
    InputError
        A threshold that the revision does not have, a class outside 0..12, no bin.
    """
    if category_id is not None and not 0 <= category_id < N_CLASSES:
        raise InputError(f"category_id must lie in 0..{N_CLASSES - 1}, got {category_id}.")
    if n_bins < 1:
        raise InputError(f"n_bins must be at least 1, got {n_bins}.")
    in_order = ordered(scores)
    score, hit = np.zeros(0), np.zeros(0, np.bool_)
    if in_order:
        column = threshold_column(in_order[0].revision, threshold)
        score = np.concatenate([s.detection_score for s in in_order])
        hit = np.concatenate([s.detection_hit[:, column] for s in in_order])
        if category_id is not None:
            chosen = np.concatenate([s.detection_category for s in in_order]) == category_id
            score, hit = score[chosen], hit[chosen]
    edges = np.linspace(0.0, 1.0, n_bins + 1)
    index = score_bin(score, edges)
    count = np.bincount(index, minlength=n_bins)
    n_hits = np.bincount(index, weights=hit, minlength=n_bins)
    total = np.bincount(index, weights=score, minlength=n_bins)
    with np.errstate(invalid="ignore"):
        mean_score, precision = total / count, n_hits / count
        low, high = _wilson(precision, count)
    gap = np.nan_to_num(np.abs(precision - mean_score))
    n = len(score)
    return ReliabilityCurve(
        edges,
        count.astype(np.int64),
        mean_score,
        precision,
        low,
        high,
        float(np.sum(gap * count) / n) if n else math.nan,
        float(gap.max()) if n else math.nan,
        float(np.mean((score - hit) ** 2)) if n else math.nan,
    )


def curve_points(n: int, *, at_most: int = 200) -> Int64:
    """Positions of the points of a curve of ``n`` to draw: evenly spread, both ends among them, shape (<= at_most,)."""
    return np.unique(np.linspace(0, n - 1, min(n, at_most)).round().astype(np.int64)) if n else np.zeros(0, np.int64)


def score_bin(score: Float64, edges: Float64) -> Int64:
    """Bin of each score, shape (n,); a score on an edge belongs to the bin above it, 1 to the last."""
    return np.clip(np.searchsorted(edges, score, side="right") - 1, 0, len(edges) - 2).astype(np.int64)


def _wilson(share: Float64, n: Int64) -> tuple[Float64, Float64]:
    """Wilson score interval of a share of ``n``, which always holds the share; NaN where n is 0."""
    with np.errstate(divide="ignore", invalid="ignore"):
        centre = (share + _Z_95**2 / (2 * n)) / (1 + _Z_95**2 / n)
        half = _Z_95 / (1 + _Z_95**2 / n) * np.sqrt(share * (1 - share) / n + _Z_95**2 / (4 * n * n))
    # at shares of 0 and 1 rounding would put a bound past the share
    return np.minimum(np.clip(centre - half, 0, 1), share), np.maximum(np.clip(centre + half, 0, 1), share)
