"""Precision-recall curves of all classes at once, with the point where a system stands."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from sai_core.errors import InputError
from sai_core.metrics import THRESHOLDS, RecordingScores
from sai_core.metrics.evaluation.scores import best_first, ordered
from sai_core.metrics.official.average_precision import precision_recall_0630
from sai_core.taxonomy import N_CLASSES

Float64 = npt.NDArray[np.float64]

MAX_POINTS: Final[int] = 300
"""Points of a drawn curve."""


@dataclass(frozen=True, eq=False)
class Curve:
    """Precision and recall of one class when only detections from a score on are kept.

    Attributes
    ----------
    category_id : int
    n_labels : int
        Always above 0; classes without labels have no curve.
    score, recall, precision : float64, shape (k,)
        Falling score; the last detection of every score stands for all that share it. At most
        :data:`MAX_POINTS`, evenly thinned.
    """

    category_id: int
    n_labels: int
    score: Float64
    recall: Float64
    precision: Float64

    def at(self, threshold: float) -> tuple[float, float]:
        """Recall and precision when detections below ``threshold`` are dropped; (0, 1) when none is left."""
        kept = int(np.searchsorted(-self.score, -threshold, side="right"))
        if kept == 0:
            return 0.0, 1.0
        return float(self.recall[kept - 1]), float(self.precision[kept - 1])


def precision_recall_curves(scores: Iterable[RecordingScores], *, threshold: float = 0.5) -> list[Curve]:
    """One curve for each class that has labels.

    Parameters
    ----------
    scores : iterable of RecordingScores
        Of revision 2026-06-30.
    threshold : float
        Soft IoU from which a pair is a hit: 0.25, 0.5 or 0.75.

    Raises
    ------
    InputError
        Another threshold.
    """
    in_order = ordered(scores)
    thresholds = THRESHOLDS["2026-06-30"]
    if threshold not in thresholds:
        raise InputError(f"IoU threshold {threshold:g}: choose one of {', '.join(f'{t:g}' for t in thresholds)}.")
    if not in_order:
        return []
    column = thresholds.index(threshold)
    order, _ = best_first(in_order)
    hit = np.concatenate([s.detection_hit[:, column] for s in in_order])[order]
    score = np.concatenate([s.detection_score for s in in_order])[order]
    category = np.concatenate([s.detection_category for s in in_order])[order]
    n_labels = np.sum([s.n_labels for s in in_order], axis=0)
    curves = []
    for c in range(N_CLASSES):
        if n_labels[c] == 0:
            continue
        chosen = category == c
        recall, precision = precision_recall_0630(hit[chosen], int(n_labels[c]))
        mine = score[chosen]
        # a threshold keeps all detections of a score or none
        last = np.flatnonzero(np.append(np.diff(mine) != 0, True)) if len(mine) else np.zeros(0, dtype=np.int64)
        if len(last) > MAX_POINTS:
            last = last[np.unique(np.linspace(0, len(last) - 1, MAX_POINTS).round().astype(np.int64))]
        curves.append(
            Curve(c, int(n_labels[c]), mine[last], recall[last].astype(np.float64), precision[last].astype(np.float64))
        )
    return curves
