"""Scores that mean what they say: a rising curve of each class from the score of a detection to its precision.

It stands behind everything else in the selection, so that no threshold changes its meaning and nothing else is kept
than without it; the curves rise strictly, so that the order within a class stays. What changes is how classes compare
with each other, and what a score of 0.7 says. Curves are fitted by :mod:`sai_core.tuning.calibration`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

Float64 = npt.NDArray[np.float64]
Knots = Sequence[Sequence[float]]
"""Points (score, precision) of a curve, both rising strictly within (0, 1)."""


def calibrated(
    score: npt.ArrayLike,
    category_id: npt.NDArray[np.integer],
    *,
    temperature: Mapping[int, float],
    isotonic: Mapping[int, Knots],
) -> Float64:
    """Scores on the curves of their classes; classes without one keep theirs to the bit.

    Parameters
    ----------
    score : float, shape (n,)
        In [0, 1].
    category_id : int, shape (n,)
    temperature : mapping of category_id to float
        ``T``: the logit of a score is divided by it; 1 changes nothing (Guo et al., 2017).
    isotonic : mapping of category_id to sequence of (score, precision)
        Knots; straight lines between them, from (0, 0) to the first, from the last to (1, 1).

    Returns
    -------
    score : float64, shape (n,)
        In [0, 1]; 0 and 1 stay.
    """
    result = np.array(score, dtype=np.float64)
    for category in {*temperature, *isotonic}:
        own = np.flatnonzero(category_id == category)
        result[own] = _curve(result[own], temperature.get(category, 1.0), isotonic.get(category, ()))
    return result


def uncalibrated(
    score: float, category_id: int, *, temperature: Mapping[int, float], isotonic: Mapping[int, Knots]
) -> float:
    """The score that :func:`calibrated` turns into this one: what to set for a threshold read off calibrated scores."""
    x, y = _with_ends(isotonic.get(category_id, ()))
    back = float(np.interp(score, y, x))
    return float(_curve(np.array([back]), 1.0 / temperature.get(category_id, 1.0), ())[0])


def _curve(score: Float64, temperature: float, knots: Knots) -> Float64:
    if temperature != 1.0:
        # the logistic function of logit / T, without the infinite logits of 0 and 1
        with np.errstate(divide="ignore"):
            power = np.log([score, 1.0 - score]) / temperature
        power = np.exp(power - power.max(axis=0))
        score = power[0] / power.sum(axis=0)
    return np.interp(score, *_with_ends(knots)) if len(knots) else score


def _with_ends(knots: Knots) -> tuple[Float64, Float64]:
    points = np.array([(0.0, 0.0), *map(tuple, knots), (1.0, 1.0)])
    return points[:, 0], points[:, 1]
