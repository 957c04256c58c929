"""Regions that a reviewer draws: boxes, lassos and brush strokes on the canvas, and what energy they get.

Everything is on the **label grid**, whole pixels of one degree. A *field* is a region as an array: float64
(180, 360), NaN outside. Columns wrap: a box or a stroke may cross the seam.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Final

import cv2
import numpy as np
import numpy.typing as npt

from sai_core.annotations.table import AnnotationTable
from sai_core.drawing.maps import annotation_patch
from sai_core.errors import InputError
from sai_core.geometry import ERP_HEIGHT, ERP_WIDTH
from sai_core.review.edits import Parts

Field = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]

RIM_ENERGY: Final[float] = 0.25
"""Energy at the rim of a drawn region, as a share of its peak: that of the published labels, whose amplitudes never
fall below about 0.22 after standardisation."""

DEFAULT_PEAK: Final[float] = 1.0
_DECIMALS: Final[int] = 4
"""Drawn energies are kept to four decimals: far below what an eye or an 8-bit map shows, a third of the text."""


def empty_field() -> Field:
    """Field without a pixel."""
    return np.full((ERP_HEIGHT, ERP_WIDTH), np.nan)


def field_of(table: AnnotationTable, index: int) -> Field:
    """Region of an annotation: dense pixels as stored; sparse points filled as the Explorer shows them."""
    return parts_to_field(table.polygons(index)) if _is_whole(table, index) else _filled(table, index)


def _is_whole(table: AnnotationTable, index: int) -> bool:
    xy, _ = table.points(index)
    return bool(len(xy) and np.all(xy == np.floor(xy)) and np.isnan(table.score[index]))


def _filled(table: AnnotationTable, index: int) -> Field:
    field = empty_field()
    patch = annotation_patch(table, index)
    if patch.values.size:
        rows = np.arange(patch.y0, patch.y0 + patch.values.shape[0])
        values = np.round(patch.values.astype(np.float64), _DECIMALS)
        field[np.ix_(rows, patch.columns())] = np.where(values > 0, values, np.nan)
    return field


def parts_to_field(parts: Parts) -> Field:
    """Field of polygon lists on whole pixels; the stronger of two points on one pixel counts."""
    field = empty_field()
    for points, energy in parts:
        x = points[:, 0].astype(np.int64) % ERP_WIDTH
        y = np.clip(points[:, 1].astype(np.int64), 0, ERP_HEIGHT - 1)
        np.fmax.at(field, (y, x), energy)
    return field


def field_to_parts(field: Field) -> Parts:
    """Connected parts (8 neighbours, the seam parts them) as label files have them, pixels row by row."""
    mask = ~np.isnan(field)
    count, labels = cv2.connectedComponents(mask.astype(np.uint8), connectivity=8)
    parts: Parts = []
    for number in range(1, count):
        y, x = np.nonzero(labels == number)
        parts.append((np.column_stack([x, y]).astype(np.float64), field[y, x]))
    return parts


def box_mask(x0: float, y0: float, x1: float, y1: float) -> Mask:
    """Pixels of a box from column ``x0`` to the right until ``x1`` (past the seam if ``x1 < x0``), rows in any order.

    Raises
    ------
    InputError
        Numbers outside the canvas.
    """
    _check_points([(x0, y0), (x1, y1)])
    top, bottom = sorted((int(min(y0, ERP_HEIGHT - 1)), int(min(y1, ERP_HEIGHT - 1))))
    left, right = int(x0) % ERP_WIDTH, int(x1) % ERP_WIDTH
    columns = np.arange(left, right + 1 + (ERP_WIDTH if right < left else 0)) % ERP_WIDTH
    mask = np.zeros((ERP_HEIGHT, ERP_WIDTH), dtype=bool)
    mask[top : bottom + 1, columns] = True
    return mask


def lasso_mask(points: Sequence[Sequence[float]]) -> Mask:
    """Pixels inside a closed line; a step of more than half the canvas goes through the seam.

    Raises
    ------
    InputError
        Fewer than three points, too many, or points outside the canvas.
    """
    if not 3 <= len(points) <= 10_000:
        raise InputError(f"A lasso needs 3 to 10000 points, got {len(points)}.")
    _check_points(points)
    line = np.asarray(points, dtype=np.float64)
    steps = np.diff(line[:, 0])
    steps -= ERP_WIDTH * np.round(steps / ERP_WIDTH)
    x = line[0, 0] + np.concatenate([[0.0], np.cumsum(steps)])
    left = int(np.floor(x.min()))
    if x.max() - left >= 2 * ERP_WIDTH:
        raise InputError("The lasso goes round the sphere twice; draw a smaller one.")
    canvas = np.zeros((ERP_HEIGHT, 2 * ERP_WIDTH + 1), dtype=np.uint8)
    corners = np.column_stack([np.floor(x) - left, np.minimum(np.floor(line[:, 1]), ERP_HEIGHT - 1)])
    cv2.fillPoly(canvas, [corners.astype(np.int32)], 1)
    mask = np.zeros((ERP_HEIGHT, ERP_WIDTH), dtype=bool)
    rows, columns = np.nonzero(canvas)
    mask[rows, (columns + left) % ERP_WIDTH] = True
    return mask


def fill_mask(field: Field, mask: Mask) -> Field:
    """New region of exactly the mask's pixels.

    Pixels that the old region has keep their energy. New ones get a dome: the old peak (1 without an old region) at
    the pixels farthest from the mask's rim, :data:`RIM_ENERGY` of it at the rim.
    """
    known = ~np.isnan(field)
    peak = float(field[known].max()) if known.any() else DEFAULT_PEAK
    # three copies side by side, so that the seam is no rim
    wide = np.pad(np.tile(mask, (1, 3)).astype(np.uint8), 1)
    depth = cv2.distanceTransform(wide, cv2.DIST_L2, 5)[1:-1, 1 + ERP_WIDTH : 1 + 2 * ERP_WIDTH].astype(np.float64)
    deepest = float(depth[mask].max()) if mask.any() else 1.0
    share = (depth - 1.0) / max(deepest - 1.0, 1e-9) if deepest > 1.0 else np.ones_like(depth)
    dome = np.round(peak * (RIM_ENERGY + (1 - RIM_ENERGY) * np.clip(share, 0.0, 1.0)), _DECIMALS)
    return np.where(mask, np.where(known, field, dome), np.nan)


def brush(field: Field, points: Sequence[Sequence[float]], *, radius_px: float, energy: float, erase: bool) -> Field:
    """Paint energy along points, or take pixels away.

    Parameters
    ----------
    field : Field
        Not changed.
    points : sequence of (x, y)
        Canvas coordinates along the stroke; steps between them are filled.
    radius_px : float
        In [0.5, 60] pixels (degrees).
    energy : float
        In (0, 1]: at the stroke's middle; it falls to :data:`RIM_ENERGY` of it at the rim. A pixel keeps the stronger
        of old and new.
    erase : bool
        Take the pixels out of the region instead.

    Raises
    ------
    InputError
        Options out of range.
    """
    if not 0.5 <= radius_px <= 60 or not 0 < energy <= 1:
        raise InputError(f"A brush of radius {radius_px:g} and energy {energy:g}; use 0.5 to 60 pixels and 0 to 1.")
    if not 1 <= len(points) <= 10_000:
        raise InputError(f"A stroke needs 1 to 10000 points, got {len(points)}.")
    _check_points(points)
    line = np.asarray(points, dtype=np.float64)
    centres = [line[:1]]
    for a, b in pairwise(line):
        step = b - a
        step[0] -= ERP_WIDTH * np.round(step[0] / ERP_WIDTH)
        n = int(np.ceil(np.hypot(*step) / max(radius_px / 3, 0.5)))
        if n:
            centres.append(a + step * (np.arange(1, n + 1) / n)[:, None])
    nearest = np.full((ERP_HEIGHT, ERP_WIDTH), np.inf)
    reach = int(np.ceil(radius_px)) + 1
    for x, y in np.concatenate(centres):
        columns = np.arange(int(np.floor(x)) - reach, int(np.floor(x)) + reach + 1)
        rows = np.arange(max(int(y) - reach, 0), min(int(y) + reach, ERP_HEIGHT - 1) + 1)
        distance = np.hypot(columns[None, :] + 0.5 - x, rows[:, None] + 0.5 - y)
        where = np.ix_(rows, columns % ERP_WIDTH)
        nearest[where] = np.minimum(nearest[where], distance)
    inside = nearest <= radius_px
    if not inside.any():  # a brush thinner than a pixel, between pixel centres
        inside[int(min(line[0, 1], ERP_HEIGHT - 1)), int(line[0, 0]) % ERP_WIDTH] = True
        nearest[inside] = 0.0
    if erase:
        return np.where(inside, np.nan, field)
    painted = np.round(energy * (1 - (1 - RIM_ENERGY) * np.where(inside, nearest, 0.0) / radius_px), _DECIMALS)
    return np.where(inside, np.fmax(field, painted), field)


def union(fields: Sequence[Field]) -> Field:
    """Pixels of any field, the stronger energy where several have one."""
    result = empty_field()
    for field in fields:
        result = np.fmax(result, field)
    return result


def _check_points(points: Sequence[Sequence[float]]) -> None:
    for point in points:
        x, y = point
        if not (-1e-6 <= x <= ERP_WIDTH + 1e-6 and -1e-6 <= y <= ERP_HEIGHT + 1e-6):
            raise InputError(f"The point ({x}, {y}) is outside the canvas of {ERP_WIDTH} x {ERP_HEIGHT}.")
