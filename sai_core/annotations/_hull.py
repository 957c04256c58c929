"""Convex hulls of point lists on the canvas (what the evaluator of 2026-06-30 fills)."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt


def hull_area(points_xy: npt.NDArray[np.float64]) -> float:
    """Area of the convex hull in square units of the points; 0 for fewer than three or collinear points."""
    hull = convex_hull(points_xy)
    if len(hull) < 3:
        return 0.0
    x, y = points_xy[hull, 0], points_xy[hull, 1]
    return float(abs(np.dot(x, np.roll(y, -1)) - np.dot(y, np.roll(x, -1))) / 2)


def convex_hull(points_xy: npt.NDArray[np.float64]) -> npt.NDArray[np.int64]:
    """Indices of the corners of the convex hull in order around it (monotone chain; collinear points are no corners).

    Parameters
    ----------
    points_xy : float, shape (n, 2)

    Returns
    -------
    int64, shape (m,)
        Empty for no points; one or two indices where all points coincide or lie on a line.
    """
    order = np.lexsort((points_xy[:, 1], points_xy[:, 0]))
    ordered = points_xy[order]
    if len(ordered) > 8:
        # only the lowest and the highest point of each column can be a corner: dense regions have few columns
        column_start = np.flatnonzero(np.diff(ordered[:, 0], prepend=np.nan) != 0)
        column_end = np.append(column_start[1:], len(ordered)) - 1
        order = order[np.unique(np.concatenate([column_start, column_end]))]
    corners = [(x, y, k) for (x, y), k in zip(points_xy[order].tolist(), order.tolist(), strict=True)]
    if not corners:
        return np.zeros(0, dtype=np.int64)
    lower = _chain(corners)
    upper = _chain(corners[::-1])
    return np.array([k for _, _, k in lower[:-1] + upper[:-1]] or [corners[0][2]], dtype=np.int64)


def _chain(points: list[tuple[float, float, int]]) -> list[tuple[float, float, int]]:
    kept: list[tuple[float, float, int]] = []
    for x, y, k in points:
        while len(kept) > 1:
            (ax, ay, _), (bx, by, _) = kept[-2], kept[-1]
            if (bx - ax) * (y - ay) - (by - ay) * (x - ax) > 0:
                break
            kept.pop()
        if not kept or (x, y) != kept[-1][:2]:
            kept.append((x, y, k))
    return kept
