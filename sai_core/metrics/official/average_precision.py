"""Average precision of both revisions, from sorted columns.

Both are 101-point interpolations, but not the same numbers: 2026-06-30 counts in float32 and accumulates the
101 precisions in float32 (hence the tolerance of 1e-6 that others see between machines; the steps here are the
official ones, so that the result is the same float32), 2026-04-02 is COCO's in double precision.

References
----------
Official ``evaluate.py`` at commits d4df662 and 84b2cd1; COCO evaluation as in ``pycocotools`` 2.0.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

Float64 = npt.NDArray[np.float64]
Bool = npt.NDArray[np.bool_]

RECALL_LEVELS: Final[Float64] = np.linspace(0.0, 1.0, 101)
RECALL_LEVELS.flags.writeable = False


def average_precision_0630(hits: npt.ArrayLike, n_labels: int) -> float:
    """AP of revision 2026-06-30.

    Parameters
    ----------
    hits : array_like of bool, shape (n,)
        Whether each detection is a true positive, best score first.
    n_labels : int
        Labels that could have been found.

    Returns
    -------
    float
        In [0, 1] (up to float32 rounding); NaN without labels, 0 with labels but without detections.

    Examples
    --------
    >>> average_precision_0630([True, True], 2)
    1.0
    >>> average_precision_0630([], 3)
    0.0
    """
    hit = np.asarray(hits, dtype=np.float32)
    if n_labels == 0:
        return float("nan")
    if not len(hit):
        return 0.0
    recall, precision = precision_recall_0630(hit, n_labels)
    envelope = np.maximum.accumulate(precision[::-1])[::-1]
    # recall is float32 and the levels are not: 0.29 is reached by 29 of 100 only where float32(0.29) >= 0.29
    first = np.searchsorted(recall.astype(np.float64), RECALL_LEVELS, side="left")
    reached = first < len(envelope)
    # cumsum adds one after the other in float32, as the official loop does; sum would add in pairs
    total = np.cumsum(envelope[first[reached]], dtype=np.float32)
    return float(total[-1] / np.float32(len(RECALL_LEVELS))) if len(total) else 0.0


def precision_recall_0630(
    hits: npt.ArrayLike, n_labels: int
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """Recall and precision after each detection, best score first, in float32 as the official code has them.

    Parameters
    ----------
    hits : array_like of bool, shape (n,)
        Whether each detection is a true positive.
    n_labels : int
        At least 1.

    Returns
    -------
    recall, precision : float32, shape (n,)
        Recall rises; precision has 1e-9 in its denominator.
    """
    hit = np.asarray(hits, dtype=np.float32)
    n_hits = np.cumsum(hit)
    n_misses = np.cumsum(np.float32(1) - hit)
    return n_hits / np.float32(n_labels), n_hits / (n_hits + n_misses + np.float32(1e-9))


def interpolated_precision_coco(hits: npt.NDArray[np.bool_], n_labels: int) -> Float64:
    """COCO's precision at the 101 recall levels.

    Parameters
    ----------
    hits : bool, shape (n,) or (n_thresholds, n)
        Whether each detection is a true positive, best score first.
    n_labels : int
        At least 1.

    Returns
    -------
    precision : float64, shape (101,) or (n_thresholds, 101)
        Largest precision at or beyond each level, 0 beyond the highest recall.
    """
    flags = np.atleast_2d(hits)
    n_hits = np.cumsum(flags, axis=1).astype(np.float64)
    n_misses = np.cumsum(~flags, axis=1).astype(np.float64)
    recall = n_hits / n_labels
    precision = n_hits / (n_misses + n_hits + np.spacing(1))
    envelope = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
    levels = np.zeros((len(flags), len(RECALL_LEVELS)))
    for row, (row_recall, row_envelope) in enumerate(zip(recall, envelope, strict=True)):
        first = np.searchsorted(row_recall, RECALL_LEVELS, side="left")
        reached = first < len(row_envelope)
        levels[row, reached] = row_envelope[first[reached]]
    return levels[0] if hits.ndim == 1 else levels
