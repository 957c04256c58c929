"""Revision 2026-06-30 within a recording: soft IoU, assignment and Pearson r of sparse maps.

Only pairs of the same frame and class are ever compared. Most (frame, class) groups hold one label and one
prediction, so everything but the few larger assignment problems is done for all pairs of a recording at once.

The numbers follow the official arithmetic: IoU is computed in double precision and rounded to float32 (between two
painted maps it is float32 throughout), the assignment maximises the float32 matrix with predictions as rows, Pearson
r is taken over the pixels where the label's map is above 0.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
from scipy.optimize import linear_sum_assignment

from sai_core.annotations.table import AnnotationTable, gather_ranges
from sai_core.metrics.official.rendering_0630 import N_PIXELS, SparseMaps
from sai_core.taxonomy import N_CLASSES

Int64 = npt.NDArray[np.int64]
Float64 = npt.NDArray[np.float64]

_CHUNK_PAIRS: Final[int] = 256
"""Pairs compared at once: the dense maps of one side stay at 10 MB."""


@dataclass(frozen=True, eq=False)
class AssignedPairs:
    """Pairs of the official assignment of a recording, in the order of the predictions.

    Attributes
    ----------
    prediction, label : int64, shape (n,)
        Annotation indices.
    iou : float64, shape (n,)
        Soft IoU, a float32 value; may be 0.
    pearson : float64, shape (n,)
        NaN where undefined.
    """

    prediction: Int64
    label: Int64
    iou: Float64
    pearson: Float64


def group_keys(table: AnnotationTable) -> npt.NDArray[np.int64]:
    """One number per (frame, class), shape (n,)."""
    return table.frame.astype(np.int64) * N_CLASSES + table.category_id


def candidate_pairs(label_keys: Int64, prediction_keys: Int64) -> tuple[Int64, Int64]:
    """Every (prediction, label) pair with equal keys, ordered by key, then prediction, then label.

    Parameters
    ----------
    label_keys, prediction_keys : int64, shape (n,)
        One number per group, e.g. ``frame * 13 + category_id``.

    Returns
    -------
    prediction, label : int64
        Indices of the pairs.
    """
    label_order = np.argsort(label_keys, kind="stable")
    prediction_order = np.argsort(prediction_keys, kind="stable")
    sorted_labels = label_keys[label_order]
    wanted = prediction_keys[prediction_order]
    low = np.searchsorted(sorted_labels, wanted, side="left")
    counts = np.searchsorted(sorted_labels, wanted, side="right") - low
    prediction = np.repeat(prediction_order, counts)
    within = np.arange(len(prediction)) - np.repeat(np.cumsum(counts) - counts, counts)
    return prediction, label_order[np.repeat(low, counts) + within]


def soft_iou(a: SparseMaps, b: SparseMaps, index_a: Int64, index_b: Int64) -> Float64:
    """Soft IoU ``sum(min) / sum(max)`` of pairs of maps.

    Parameters
    ----------
    a, b : SparseMaps
        Maps of the two sides.
    index_a, index_b : int64, shape (n,)
        The pairs.

    Returns
    -------
    iou : float64, shape (n,)
        In [0, 1], rounded to float32 as in the official matrix; 0 where ``sum(max)`` is below 1e-8.
    """
    iou = np.zeros(len(index_a))
    for chunk, owner, _, value_a, value_b in _paired_entries(a, b, index_a, index_b):
        n = chunk.stop - chunk.start
        shared = np.bincount(owner, weights=np.minimum(value_a, value_b), minlength=n)
        total = a.sums[index_a[chunk]] + b.sums[index_b[chunk]] - shared
        defined = total >= 1e-8
        np.divide(shared, total, out=iou[chunk], where=defined)
    for i in np.flatnonzero(a.painted[index_a] & b.painted[index_b]).tolist():
        map_a = a.dense(index_a[i])[0].astype(np.float32)
        map_b = b.dense(index_b[i])[0].astype(np.float32)
        whole = np.maximum(map_a, map_b).sum()
        iou[i] = np.minimum(map_a, map_b).sum() / whole if whole >= np.float32(1e-8) else 0.0
    # a sum in another order than that of the numerator may exceed 1 by a rounding error
    return np.minimum(iou, 1.0).astype(np.float32).astype(np.float64)


def pearson_inside(labels: SparseMaps, predictions: SparseMaps, index_label: Int64, index_prediction: Int64) -> Float64:
    """Pearson r of pairs over the pixels where the label's map is above 0.

    Returns
    -------
    pearson : float64, shape (n,)
        In [-1, 1]; NaN with fewer than two such pixels or a standard deviation below 1e-12 on either side.
    """
    result = np.full(len(index_label), np.nan)
    for chunk, owner, count, a, b in _paired_entries(labels, predictions, index_label, index_prediction):
        n = chunk.stop - chunk.start
        with np.errstate(divide="ignore", invalid="ignore"):
            a = a - (np.bincount(owner, weights=a, minlength=n) / count)[owner]
            b = b - (np.bincount(owner, weights=b, minlength=n) / count)[owner]
            deviation_a = np.sqrt(np.bincount(owner, weights=a * a, minlength=n) / count)
            deviation_b = np.sqrt(np.bincount(owner, weights=b * b, minlength=n) / count)
            r = np.bincount(owner, weights=a * b, minlength=n) / count / (deviation_a * deviation_b)
        defined = (count >= 2) & (deviation_a >= 1e-12) & (deviation_b >= 1e-12)
        result[chunk][defined] = r[defined]
    return result


def _paired_entries(
    a: SparseMaps, b: SparseMaps, index_a: Int64, index_b: Int64
) -> Iterator[tuple[slice, Int64, Int64, Float64, Float64]]:
    """Chunks of pairs: the non-zero pixels of ``a`` (pair in the chunk, count per pair), values of ``a`` and ``b``."""
    dense = np.zeros(min(_CHUNK_PAIRS, len(index_a)) * N_PIXELS)
    for start in range(0, len(index_a), _CHUNK_PAIRS):
        chunk = slice(start, min(start + _CHUNK_PAIRS, len(index_a)))
        # neighbouring pairs mostly share no map of b, so each pair gets a row of its own
        entries, offsets = gather_ranges(b.offsets, index_b[chunk])
        rows = np.repeat(np.arange(len(offsets) - 1) * N_PIXELS, np.diff(offsets))
        where = rows + b.pixels[entries]
        dense[where] = b.values[entries]
        entries, offsets = gather_ranges(a.offsets, index_a[chunk])
        count = np.diff(offsets)
        owner = np.repeat(np.arange(len(count)), count)
        values_b = dense[owner * N_PIXELS + a.pixels[entries]]
        dense[where] = 0.0
        yield chunk, owner, count, a.values[entries], values_b


def assign_pairs(
    labels: SparseMaps, predictions: SparseMaps, label_keys: Int64, prediction_keys: Int64
) -> AssignedPairs:
    """Official assignment within every group: total soft IoU is maximal; pairs with IoU 0 are pairs too.

    Parameters
    ----------
    labels, predictions : SparseMaps
        Maps of the annotations.
    label_keys, prediction_keys : int64, shape (n,)
        Group of each annotation (frame and class).

    Returns
    -------
    AssignedPairs
        Ordered by prediction.
    """
    index_prediction, index_label = candidate_pairs(label_keys, prediction_keys)
    iou = soft_iou(predictions, labels, index_prediction, index_label)
    pair = optimal_pairs(index_prediction, prediction_keys[index_prediction], iou)
    index_prediction, index_label = index_prediction[pair], index_label[pair]
    pearson = pearson_inside(labels, predictions, index_label, index_prediction)
    return AssignedPairs(index_prediction, index_label, iou[pair], pearson)


def optimal_pairs(index_prediction: Int64, group: Int64, iou: Float64) -> Int64:
    """Which of the candidate pairs the official assignment takes.

    Parameters
    ----------
    index_prediction : int64, shape (n,)
        Prediction of each pair, as :func:`candidate_pairs` lists them.
    group : int64, shape (n,)
        Its frame and class.
    iou : float64, shape (n,)
        As :func:`soft_iou` gives it.

    Returns
    -------
    pair : int64
        Positions among the candidates, in the order of the predictions.
    """
    edges = np.concatenate([[0], np.flatnonzero(np.diff(group)) + 1, [len(group)]])
    starts, stops = (edges[:-1], edges[1:]) if len(group) else (edges[:0], edges[:0])
    chosen = np.zeros(len(group), np.bool_)
    single = stops - starts == 1
    chosen[starts[single]] = True
    for start, stop in zip(starts[~single].tolist(), stops[~single].tolist(), strict=True):
        n_labels = int(np.count_nonzero(index_prediction[start:stop] == index_prediction[start]))
        matrix = iou[start:stop].astype(np.float32).reshape(-1, n_labels)
        rows, columns = linear_sum_assignment(-matrix)
        chosen[start + rows * n_labels + columns] = True
    pair = np.flatnonzero(chosen)
    return pair[np.argsort(index_prediction[pair], kind="stable")]
