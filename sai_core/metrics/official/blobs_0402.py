"""Energy maps of revision 2026-04-02: every point a spherical Gaussian blob on the 360 x 180 canvas.

The rules (official grid: column ``c`` is azimuth ``c - 180``, row ``r`` is elevation ``90 - r * 180 / 179``):

* a point at azimuth ``x - 180`` and elevation ``90 - y * 180 / 179`` adds ``energy * exp(-4 h / (2 sigma^2))`` with
  ``h`` the haversine of the angle to the pixel and sigma 6 degrees;
* only inside of a window: 4 sigma up and down, and ``4 sigma / max(cos(elevation), 0.087)`` to the sides, at most
  180 degrees, rounded outwards to whole pixels. Near the poles this cuts blobs off;
* a window over the seam is drawn in two parts, columns ``[0, right mod 360)`` and ``[left mod 360, 360)``. Where the
  window is wider than the canvas the parts overlap and their common columns are drawn twice, or, where its right end
  alone reaches over, nearly nothing is drawn.

Everything is float32, point after point in file order, in the official order of operations: the rounding of the
official maps moves a Pearson r by 1e-8, ten times more than the agreement asked for, so it is reproduced bit by bit
(as far as NumPy's float32 ``exp`` and ``sin`` are the same; their results do not depend on the array's layout).

What makes it fast nevertheless: annotations of one place are drawn together (neighbouring frames of a source share
most of their pixels), so that the blob of a point is computed once for all of them; and adding the blobs up, weighted
by their energies and in each annotation's own order, is a product of a sparse float32 matrix (annotations x points)
with the blobs. SciPy's sparse product adds the entries of a row one after the other, multiplying and adding in two
roundings as NumPy does (:func:`_sparse_product_is_sequential` makes sure of it on the machine at hand).

References
----------
Official ``evaluate.py`` at commit 84b2cd1 (behaviour).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt
from scipy import sparse

from sai_core.annotations.table import AnnotationTable, gather_ranges
from sai_core.errors import InputError
from sai_core.geometry import ERP_HEIGHT, ERP_WIDTH

try:
    # what csr_array @ array calls, without its checks, which would take longer than the product of a strip
    from scipy.sparse._sparsetools import csr_matvecs
except ImportError:  # a private module: any release may move it
    csr_matvecs = None  # type: ignore[assignment]

SIGMA_DEG: Final[float] = 6.0
MASK_FRACTION: Final[float] = 0.10
"""A pixel belongs to the mask from this part of the map's peak on."""

MIN_PEAK: Final[float] = 1e-9
"""Annotations whose map stays below are dropped."""

_SIGMA_RAD: Final[float] = math.radians(SIGMA_DEG)
_CUTOFF_RAD: Final[float] = 4.0 * _SIGMA_RAD
_EXPONENT: Final = np.float32(-4.0 * (0.5 / (_SIGMA_RAD * _SIGMA_RAD)))
_MIN_COS: Final[float] = 0.087

_COLUMN_AZIMUTH_RAD: Final = np.radians((np.arange(ERP_WIDTH, dtype=np.float32) / ERP_WIDTH) * 360.0 - 180.0)
_ROW_ELEVATION_RAD: Final = np.radians(90.0 - (np.arange(ERP_HEIGHT, dtype=np.float32) / (ERP_HEIGHT - 1)) * 180.0)
_ROW_COS: Final = np.cos(_ROW_ELEVATION_RAD)

_GROUP: Final[int] = 64
"""Annotations drawn together at most: blobs are shared, and their number stays that of one place."""

_GROUP_POINTS: Final[int] = 48_000
"""Points drawn together at most."""

_OPEN_GROUPS: Final[int] = 12
"""Groups that may still grow: about as many as there are sources in a few frames."""

_GROWTH: Final[float] = 1.5
"""A group's box may exceed that of each member by this factor; sharing blobs is worth about as much."""

_GROWTH_SPARSE: Final[float] = 1.4
"""The same for annotations of few points, which hardly ever share one."""

_DENSE_POINTS: Final[int] = 150

_APART_PX: Final[int] = 24
"""Boxes whose upper left corners are further apart are never drawn together."""

_MAX_WIDTH: Final[int] = 120
"""Wider boxes are drawn in parts."""

_STRIP_BYTES: Final[int] = 1 << 20
"""Blobs are computed for a few rows at a time, so that they are still in the processor's cache when they are added."""

Float32 = npt.NDArray[np.float32]
Float64 = npt.NDArray[np.float64]
Int32 = npt.NDArray[np.int32]
Int64 = npt.NDArray[np.int64]


class Box(NamedTuple):
    """Part of the canvas: rows ``top`` to ``bottom``, ``width`` columns from ``left`` on, round the seam if need be."""

    top: int
    bottom: int
    left: int
    width: int

    @property
    def columns(self) -> Int64:
        """Its columns in order, each in 0..359."""
        return np.arange(self.left, self.left + self.width) % ERP_WIDTH

    @property
    def over_seam(self) -> bool:
        """Whether it holds columns on both sides of the seam."""
        return self.left + self.width > ERP_WIDTH

    def union(self, box: Box, *, margin: int = 0) -> Box:
        """Smallest box around both, with ``margin`` more pixels on every side (up to the whole canvas)."""
        top = max(min(self.top, box.top) - margin, 0)
        bottom = min(max(self.bottom, box.bottom) + margin, ERP_HEIGHT)
        # from either left edge, whichever way round is shorter
        apart = (box.left - self.left) % ERP_WIDTH
        left, width = self.left, max(self.width, apart + box.width)
        apart = (ERP_WIDTH - apart) % ERP_WIDTH
        if max(box.width, apart + self.width) < width:
            left, width = box.left, max(box.width, apart + self.width)
        width += 2 * margin
        if width >= ERP_WIDTH:
            return Box(top, bottom, 0, ERP_WIDTH)
        return Box(top, bottom, (left - margin) % ERP_WIDTH, width)


WHOLE_CANVAS: Final = Box(0, ERP_HEIGHT, 0, ERP_WIDTH)


def render_map_0402(points_xy: npt.ArrayLike, energy: npt.ArrayLike) -> Float32:
    """Map of one annotation of revision 2026-04-02.

    Parameters
    ----------
    points_xy : array_like of float, shape (n, 2)
        Canvas coordinates in file order, any finite numbers.
    energy : array_like of float, shape (n,)
        Energy of each point.

    Returns
    -------
    map : float32, shape (180, 360)
        Official grid (module docstring); the sum of the points' blobs.

    Raises
    ------
    InputError
        Wrong shapes, or numbers that are not finite.
    """
    points = np.asarray(points_xy, dtype=np.float64)
    values = np.asarray(energy, dtype=np.float64)
    if points.ndim != 2 or points.shape[1] != 2 or values.shape != (len(points),):
        raise InputError(f"Points need shape (n, 2) and one energy each, got {points.shape} and {values.shape}.")
    if not (np.isfinite(points).all() and np.isfinite(values).all()):
        raise InputError("Points and energies must be finite numbers.")
    return _draw(points, values, np.array([0, len(points)]), WHOLE_CANVAS, np.array([[0, ERP_HEIGHT]]))[0]


def render_boxes_0402(
    table: AnnotationTable, indices: npt.ArrayLike, boxes: Sequence[Box], *, extents: Sequence[Box] | None = None
) -> list[Float32]:
    """Parts of the maps of several annotations; the same bits as in their whole maps.

    Parameters
    ----------
    table : AnnotationTable
        The annotations.
    indices : array_like of int, shape (n,)
        Which; annotations of neighbouring frames gain when they are given together.
    boxes : sequence of Box, length n
        What to draw of each.
    extents : sequence of Box, length n, optional
        Where the annotations themselves are, by which they are put together; by default ``boxes``.

    Returns
    -------
    list of float32 arrays, shape (bottom - top, width)
        In the order of ``indices``; an empty array for an annotation without points.
    """
    chosen = np.asarray(indices, dtype=np.int64)
    offsets = table.point_offsets[table.polygon_offsets]
    counts = (offsets[chosen + 1] - offsets[chosen]).tolist()
    maps: list[Float32] = [_NOTHING] * len(chosen)
    for group in _neighbours(boxes if extents is None else extents, counts):
        box = boxes[group[0]]
        for k in group[1:]:
            box = box.union(boxes[k])
        point, bounds = gather_ranges(offsets, chosen[group])
        rows = np.array([boxes[k][:2] for k in group]) - box.top
        drawn = _draw(table.points_xy[point], table.energy[point], bounds, box, rows)
        for k, values in zip(group, drawn, strict=True):
            own = boxes[k]
            right = (own.left - box.left) % ERP_WIDTH if box.width < ERP_WIDTH else own.left
            if own.over_seam and box.width == ERP_WIDTH:
                maps[k] = values[own.top - box.top : own.bottom - box.top, own.columns]
            else:
                maps[k] = values[own.top - box.top : own.bottom - box.top, right : right + own.width]
    return maps


_NOTHING: Final = np.zeros((0, 0), np.float32)


def _neighbours(boxes: Sequence[Box], counts: list[int]) -> list[list[int]]:
    """Groups of annotations that are worth drawing together; those without points are left out.

    Each annotation joins the first open group whose box it hardly enlarges, in the order given, so that a slowly
    moving source keeps together over the frames.
    """
    groups: list[list[int]] = []
    is_open: list[tuple[list[int], Box, int]] = []
    for k, (box, n) in enumerate(zip(boxes, counts, strict=True)):
        if not (n and box.width):
            continue
        top, bottom, left, width = box
        growth = _GROWTH if n > _DENSE_POINTS else _GROWTH_SPARSE
        for i, (group, around, total) in enumerate(is_open):
            # far-off groups first: these few comparisons are made a million times in a long recording
            if around.top - top > _APART_PX or top - around.top > _APART_PX or total + n > _GROUP_POINTS:
                continue
            if _APART_PX < (left - around.left) % ERP_WIDTH < ERP_WIDTH - _APART_PX:
                continue
            common = around.union(box)
            size = (common.bottom - common.top) * common.width
            smaller = min((bottom - top) * width, (around.bottom - around.top) * around.width)
            if size <= growth * smaller:
                group.append(k)
                is_open[i] = (group, common, total + n)
                if len(group) == _GROUP:
                    groups.append(group)
                    del is_open[i]
                break
        else:
            if len(is_open) == _OPEN_GROUPS:
                groups.append(is_open.pop(0)[0])
            is_open.append(([k], box, n))
    return groups + [entry[0] for entry in is_open]


def mask_boxes(table: AnnotationTable, indices: npt.ArrayLike) -> tuple[list[Box], npt.NDArray[np.bool_]]:
    """Boxes that hold the masks (pixels from 10 % of the map's peak on) of annotations, without drawing them.

    The map is bounded from above per row (a blob is nowhere stronger in a row than straight above or below its
    point) and per column, and its peak from below by its value at the strongest point and at the centre of energy;
    rows and columns whose bound stays under 10 % of that cannot hold a pixel of the mask.

    Parameters
    ----------
    table : AnnotationTable
        The annotations.
    indices : array_like of int, shape (n,)
        Which.

    Returns
    -------
    boxes : list of Box
        Mostly a few pixels larger than the mask. Where blobs come near a pole, all columns of the rows; where the
        bounds do not hold (negative energies, points outside the canvas), all that can be reached at all; empty
        without points.
    certain : bool, shape (n,)
        Whether the map's peak is certainly above :data:`MIN_PEAK`.
    """
    chosen = np.asarray(indices, dtype=np.int64)
    n = len(chosen)
    offsets = table.point_offsets[table.polygon_offsets]
    point, bounds = gather_ranges(offsets, chosen)
    owner = np.repeat(np.arange(n), np.diff(bounds))
    x, y = table.points_xy[point].T
    e = table.energy[point]
    fits = (y >= 0) & (y <= ERP_HEIGHT - 1) & (x >= 0) & (x <= ERP_WIDTH) & (e >= 0)
    bounded = np.diff(bounds) > 0
    bounded[owner[~fits]] = False
    total = np.bincount(owner, weights=e, minlength=n)
    bounded[np.bincount(owner, weights=e > _STRONG, minlength=n) == 0] = False
    keep = bounded[owner]
    owner, x, y, e = owner[keep], x[keep], y[keep], e[keep]
    filled = np.flatnonzero(bounded)
    if not len(filled):
        return [_rows_of_windows(table.points_xy[point[a:b], 1]) for a, b in pairwise(bounds.tolist())], bounded
    low = np.zeros(n)
    polar = np.zeros(n, np.bool_)
    polar[owner[(y < _POLAR_ROWS) | (y > ERP_HEIGHT - 1 - _POLAR_ROWS)]] = True
    starts = np.searchsorted(owner, filled)
    strongest = np.flatnonzero(e == np.maximum.reduceat(e, starts)[np.searchsorted(filled, owner)])
    strongest = strongest[np.unique(owner[strongest], return_index=True)[1]]
    at = np.zeros((2, n))
    at[:, filled] = x[strongest], y[strongest]
    weight = e / total[owner]
    aside = (x - at[0, owner] + ERP_WIDTH / 2) % ERP_WIDTH - ERP_WIDTH / 2
    centre = at[0] + np.bincount(owner, weights=weight * aside, minlength=n)
    middle = np.bincount(owner, weights=weight * y, minlength=n)
    # single precision is plenty for a bound with a slack of a thousandth
    x32, y32, e32 = x.astype(np.float32), y.astype(np.float32), e.astype(np.float32)
    cosine32 = np.cos(np.deg2rad(90 - y32 * np.float32(_ROW_DEG)))
    # near a pole a window goes all round; between columns 179 and 180 both its ends stick out, and it is cut off
    everywhere = cosine32 < np.float32(_FULL_COS)
    cut = (x32 >= 179) & (x32 <= 180) & polar[owner]
    for column, row in (at, (centre, middle)):
        column32 = np.round(column).astype(np.float32)
        row32 = np.round(row).astype(np.float32)
        away, below = x32 - column32[owner], y32 - row32[owner]
        away -= np.round(away / ERP_WIDTH) * np.float32(ERP_WIDTH)
        # well inside of the window, whatever its rounding
        near = (np.abs(below) < 23) & (everywhere | (np.abs(away) < 23)) & ~cut
        hav = np.sin(np.deg2rad(away) / 2) ** 2 * cosine32
        hav *= np.cos(np.deg2rad(90 - row32 * np.float32(_ROW_DEG)))[owner]
        hav += np.sin(np.deg2rad(below * np.float32(_ROW_DEG)) / 2) ** 2
        value = np.bincount(owner, weights=np.where(near, e32 * np.exp(_EXPONENT * hav), np.float32(0)), minlength=n)
        low = np.maximum(low, value)
    certain = bounded.copy()
    bounded &= low > 0
    # columns drawn twice, near a pole, count twice
    limit = MASK_FRACTION * low * (1 - 1e-3) / np.where(polar, 2.0, 1.0)

    row_bin = np.floor(y).astype(np.int64)
    per_row = np.bincount(owner * ERP_HEIGHT + row_bin, weights=e, minlength=n * ERP_HEIGHT).reshape(n, -1)
    in_rows = per_row.astype(np.float32) @ _row_bound() >= limit[:, None]
    top = np.argmax(in_rows, axis=1)
    bottom = ERP_HEIGHT - np.argmax(in_rows[:, ::-1], axis=1)

    # the narrower the circle of latitude, the wider the blob: the smallest product of cosines that occurs
    lowest, highest = np.full(n, np.inf), np.full(n, -np.inf)
    lowest[filled], highest[filled] = np.minimum.reduceat(y, starts), np.maximum.reduceat(y, starts)
    cosine = np.minimum(
        np.cos(np.deg2rad(90 - np.where(bounded, lowest, 90) * _ROW_DEG)),
        np.cos(np.deg2rad(90 - np.where(bounded, highest, 90) * _ROW_DEG)),
    )
    cosine *= np.maximum(np.minimum(_ROW_COS[top], _ROW_COS[bottom - 1]), 0)
    level = np.floor(cosine * _COSINE_LEVELS).astype(np.int64)
    column_bin = np.floor(x).astype(np.int64) % ERP_WIDTH
    per_column = np.bincount(owner * ERP_WIDTH + column_bin, weights=e, minlength=n * ERP_WIDTH).reshape(n, -1)
    per_column = per_column.astype(np.float32)
    in_columns = np.ones((n, ERP_WIDTH), np.bool_)
    tame = bounded & ~polar
    for value in np.unique(level[tame]).tolist():
        some = np.flatnonzero(tame & (level == value))
        in_columns[some] = per_column[some] @ _column_bound(value) >= limit[some, None]
    boxes = []
    edges = in_columns & ~np.roll(in_columns, 1, axis=1)
    n_edges, width, left = edges.sum(axis=1), in_columns.sum(axis=1), np.argmax(edges, axis=1)
    for k in range(n):
        if not bounded[k]:
            boxes.append(_rows_of_windows(table.points_xy[point[bounds[k] : bounds[k + 1]], 1]))
        elif not n_edges[k]:
            boxes.append(Box(int(top[k]), int(bottom[k]), 0, ERP_WIDTH))
        else:
            arc = (int(left[k]), int(width[k])) if n_edges[k] == 1 else _around(np.flatnonzero(in_columns[k]))
            boxes.append(Box(int(top[k]), int(bottom[k]), *arc))
    return boxes, certain


_ROW_DEG: Final[float] = 180.0 / (ERP_HEIGHT - 1)
_POLAR_ROWS: Final[float] = 9.0
"""Rows from a pole in which a blob's window may reach round the canvas (24 degrees / cos(elevation) > 180)."""

_FULL_COS: Final[float] = 0.12
"""Cosine of an elevation at which a window certainly goes all round (24 degrees / 0.12 = 200 degrees)."""

_STRONG: Final[float] = 1e-6
"""A point of this energy lifts the map above :data:`MIN_PEAK` wherever it lies: even the windows that are cut most
hold a pixel within 10 degrees of the point, where its blob has a quarter of its height."""

_COSINE_LEVELS: Final[int] = 24

_WINDOW_ROWS: Final[int] = 26
"""Rows from a point that its window certainly stays within."""


def _rows_of_windows(y: Float64) -> Box:
    """All columns of every row that points at these heights can reach."""
    if not len(y):
        return Box(0, 0, 0, 0)
    top = min(max(math.floor(y.min()) - _WINDOW_ROWS, 0), ERP_HEIGHT)
    bottom = min(max(math.ceil(y.max()) + _WINDOW_ROWS + 1, top), ERP_HEIGHT)
    return Box(top, bottom, 0, ERP_WIDTH)


def _around(columns: Int64) -> tuple[int, int]:
    """Left edge and width of the shortest arc that holds all of some columns."""
    gaps = np.diff(np.append(columns, columns[0] + ERP_WIDTH))
    widest = int(np.argmax(gaps))
    left = int(columns[(widest + 1) % len(columns)])
    width = ERP_WIDTH - int(gaps[widest]) + 1
    return (0, ERP_WIDTH) if width >= ERP_WIDTH else (left, width)


@lru_cache(maxsize=1)
def _row_bound() -> Float32:
    """Largest blob value in row r (axis 1) of a point between rows b and b + 1 (axis 0)."""
    b, r = np.arange(ERP_HEIGHT)[:, None], np.arange(ERP_HEIGHT)[None, :]
    apart = np.maximum(np.maximum(b - r, r - b - 1), 0) * _ROW_DEG
    return np.exp(float(_EXPONENT) * np.sin(np.deg2rad(apart) / 2) ** 2).astype(np.float32)


@lru_cache(maxsize=_COSINE_LEVELS + 1)
def _column_bound(level: int) -> Float32:
    """Largest blob value in column c (axis 1) of a point between columns b and b + 1 (axis 0), round the seam."""
    b, c = np.arange(ERP_WIDTH)[:, None], np.arange(ERP_WIDTH)[None, :]
    apart = np.minimum((b - c) % ERP_WIDTH, (c - b - 1) % ERP_WIDTH)
    apart[(c == b) | (c == (b + 1) % ERP_WIDTH)] = 0
    hav = level / _COSINE_LEVELS * np.sin(np.deg2rad(apart) / 2) ** 2
    return np.exp(float(_EXPONENT) * hav).astype(np.float32)


@dataclass(frozen=True, eq=False)
class _Windows:
    """Where the blobs of some points are drawn: rows ``top`` to ``bottom``, columns by ``left`` and ``right``."""

    azimuth: Float32
    elevation: Float32
    cosine: Float32
    top: Int64
    bottom: Int64
    left: Int64
    right: Int64


def _windows(x: Float64, y: Float64) -> _Windows:
    azimuth = np.radians((x / ERP_WIDTH) * 360.0 - 180.0)
    elevation = np.radians(90.0 - (y / (ERP_HEIGHT - 1)) * 180.0)
    # the scalar cosine: NumPy's may differ in the last bit, which the rounding to float32 or to pixels could show
    if len(elevation) > _DENSE_POINTS:
        rows, row_of = np.unique(elevation, return_inverse=True)
        cosine = np.array([math.cos(v) for v in rows.tolist()])[row_of]
    else:
        cosine = np.array([math.cos(v) for v in elevation.tolist()])
    low = np.maximum(-math.pi / 2, elevation - _CUTOFF_RAD)
    high = np.minimum(math.pi / 2, elevation + _CUTOFF_RAD)
    top = np.maximum(0, np.floor((math.pi / 2 - high) / math.pi * (ERP_HEIGHT - 1)))
    bottom = np.minimum(ERP_HEIGHT, np.ceil((math.pi / 2 - low) / math.pi * (ERP_HEIGHT - 1)) + 1)
    half = np.minimum(math.pi, _CUTOFF_RAD / np.maximum(cosine, _MIN_COS))
    azimuth_deg, half_deg = np.degrees(azimuth), np.degrees(half)
    left = np.floor((azimuth_deg - half_deg + 180.0) / 360.0 * ERP_WIDTH)
    right = np.ceil((azimuth_deg + half_deg + 180.0) / 360.0 * ERP_WIDTH) + 1
    return _Windows(
        azimuth.astype(np.float32),
        elevation.astype(np.float32),
        cosine.astype(np.float32),
        *(v.astype(np.int64) for v in (top, bottom, left, right)),
    )


def _times(windows: _Windows, box: Box) -> npt.NDArray[np.uint8]:
    """How often each blob draws each column of the box: 0, 1 or 2; shape (n, width)."""
    left, right = windows.left, windows.right
    column = box.columns
    # a window that lies on the canvas at least in part, and is no wider: its columns, round the seam
    if ((right - left <= ERP_WIDTH) & (left < ERP_WIDTH) & (right > 0)).all():
        return ((column - left[:, None]) % ERP_WIDTH < (right - left)[:, None]).view(np.uint8)
    inside = (left >= 0) & (right <= ERP_WIDTH)
    wrapped_left, wrapped_right = left % ERP_WIDTH, right % ERP_WIDTH
    wrapped_right[wrapped_right == 0] = ERP_WIDTH
    after = column >= np.where(inside, left, wrapped_left)[:, None]
    before = column < np.where(inside, right, wrapped_right)[:, None]
    # inside: from left to right; over the seam: from left on, and up to right
    return np.where(inside[:, None], after * before, after.astype(np.uint8) + before).astype(np.uint8)


def _draw(points_xy: Float64, energy: Float64, bounds: Int64, box: Box, wanted: Int64) -> Float32:
    """What annotations, owning the points ``bounds[i]:bounds[i + 1]``, draw in a box: shape (n, rows, width).

    Only the box's rows ``wanted[i, 0]`` to ``wanted[i, 1]`` are certain to be drawn for annotation ``i``.
    """
    n_maps = len(bounds) - 1
    if box.width > _MAX_WIDTH:
        # columns that are drawn twice cost a blob of their own, in narrow parts only where they lie
        edges = np.linspace(0, box.width, -(-box.width // _MAX_WIDTH) + 1).astype(int).tolist()
        parts = [Box(box.top, box.bottom, (box.left + a) % ERP_WIDTH, b - a) for a, b in pairwise(edges)]
        return np.concatenate([_draw(points_xy, energy, bounds, part, wanted) for part in parts], axis=2)
    values = np.zeros((n_maps, box.bottom - box.top, box.width), np.float32)
    order = np.lexsort((points_xy[:, 0], points_xy[:, 1]))
    x, y = points_xy[order].T
    new = np.ones(len(order), np.bool_)
    new[1:] = (np.diff(x) != 0) | (np.diff(y) != 0)
    which = np.empty(len(order), np.int32)
    which[order] = np.cumsum(new, dtype=np.int32) - 1
    windows = _windows(x[new], y[new])
    times = _times(windows, box)
    top, bottom = windows.top, windows.bottom
    elevation, cosine = windows.elevation, windows.cosine
    column_azimuth = _COLUMN_AZIMUTH_RAD[box.columns]
    aside = _square_sine(column_azimuth - windows.azimuth[:, None])
    strength = energy.astype(np.float32)
    second = np.flatnonzero((times > 1).any(axis=1))
    if len(second):
        # a column that is drawn twice gets the same number once more, right after the first time
        again = np.zeros(len(windows.top), np.int64)
        again[second] = 1
        repeats = 1 + again[which]
        strength = np.repeat(strength, repeats)
        repeated = np.ones(len(strength), np.bool_)
        repeated[np.cumsum(repeats) - repeats] = False
        which = np.repeat(which, repeats)
        which[repeated] = (len(again) + np.cumsum(again) - 1)[which[repeated]]
        bounds = np.concatenate([[0], np.cumsum(repeats)])[bounds].astype(np.int32)
    drawn = np.greater(times, 0)
    aside[~drawn] = np.inf  # infinitely far away: the blob is exactly 0 there

    owner = np.repeat(np.arange(n_maps, dtype=np.int32), np.diff(bounds))
    n_blobs, rows = len(top), np.arange(box.top, box.bottom)
    far = _square_sine(_ROW_ELEVATION_RAD[rows] - elevation[:, None])
    far[(rows < top[:, None]) | (rows >= bottom[:, None])] = np.inf
    weight = cosine[:, None] * _ROW_COS[rows]
    # at the poles the weight may be negative or 0, and infinity times that is no distance
    polar: npt.NDArray[np.bool_] = np.any(weight <= 0, axis=0)
    height = max(1, _STRIP_BYTES // (4 * max(n_blobs, 1) * box.width))
    # one piece of memory for all strips: fresh pages would cost as much as what is computed in them
    space = np.empty((n_blobs + len(second)) * min(height, len(rows)) * box.width, np.float32)
    for start in range(0, len(rows), height):
        strip = slice(start, start + height)
        used = np.flatnonzero((top <= rows[strip][-1]) & (bottom > rows[start]))
        if not len(used):
            continue
        # blobs are in the order of rows, so the used ones are mostly a stretch
        part = slice(0, n_blobs) if len(second) else slice(int(used[0]), int(used[-1]) + 1)
        apart = aside[part]
        if polar[strip].any():
            apart = np.where(drawn[part], apart, np.float32(0))
        n_rows, n_here = len(rows[strip]), part.stop - part.start
        blobs = space[: (n_here + len(second)) * n_rows * box.width].reshape(-1, n_rows, box.width)
        _compute_blobs(far[part, strip], weight[part, strip], apart, out=blobs[:n_here])
        if polar[strip].any():
            blobs[:n_here] *= drawn[part][:, None, :]
        if len(second):
            np.multiply(blobs[second], (times[second] > 1)[:, None, :], out=blobs[n_here:])
        here, row_bounds, weights = which, bounds, strength
        busy = (wanted[:, 0] < start + n_rows) & (wanted[:, 1] > start)
        if n_here < n_blobs or not busy.all():
            taken = which >= part.start
            taken &= which < part.stop + len(second)
            if not busy.all():
                taken &= busy[owner]
            chosen = np.flatnonzero(taken)
            here, row_bounds, weights = which[chosen] - part.start, np.searchsorted(chosen, bounds), strength[chosen]
        total = _weighted_sums(weights, here, row_bounds.astype(np.int32), blobs.reshape(len(blobs), -1))
        values[:, strip] = total.reshape(n_maps, -1, box.width)
    return values


def _square_sine(angle: Float32) -> Float32:
    """Squared sine of half an angle: the haversine's parts."""
    return np.sin(angle / np.float32(2.0)) ** 2


def _compute_blobs(far: Float32, weight: Float32, aside: Float32, *, out: Float32) -> None:
    """Blobs of unit energy, shape (n, rows, columns), in the official order of operations."""
    np.multiply(weight[:, :, None], aside[:, None, :], out=out)
    out += far[:, :, None]
    out *= _EXPONENT
    np.exp(out, out=out)


def _weighted_sums(weights: Float32, index: Int32, bounds: Int32, blobs: Float32) -> Float32:
    """Sums of weighted blobs, shape (n_maps, pixels): each map's entries one after the other, in float32."""
    if _sparse_product_is_sequential():
        return _sparse_product(weights, index, bounds, blobs)
    result = np.zeros((len(bounds) - 1, blobs.shape[1]), np.float32)
    for row, (start, stop) in enumerate(pairwise(bounds.tolist())):
        for k in range(start, stop):
            result[row] += blobs[index[k]] * weights[k]
    return result


def _sparse_product(weights: Float32, index: Int32, bounds: Int32, blobs: Float32) -> Float32:
    """Product of a sparse matrix, given by its rows, with the blobs."""
    n_maps = len(bounds) - 1
    if csr_matvecs is None:
        return sparse.csr_array((weights, index, bounds), shape=(n_maps, len(blobs))) @ blobs
    result = np.zeros((n_maps, blobs.shape[1]), np.float32)
    csr_matvecs(n_maps, len(blobs), blobs.shape[1], bounds, index, weights, blobs.ravel(), result.ravel())
    return result


@lru_cache(maxsize=1)
def _sparse_product_is_sequential() -> bool:
    """Whether SciPy's sparse product rounds as one NumPy multiplication and addition after the other.

    A build whose compiler fuses the two into one rounding (it may on some processors), or adds in another order,
    would give other last bits than the official code.
    """
    rng = np.random.default_rng(0)
    blobs = rng.uniform(0, 1, (64, 67)).astype(np.float32)
    weights = rng.uniform(0, 1, 64).astype(np.float32)
    index = rng.permutation(64).astype(np.int32)
    product = _sparse_product(weights, index, np.array([0, 64], np.int32), blobs)
    total = np.zeros(67, np.float32)
    for k, weight in zip(index.tolist(), weights, strict=True):
        total += blobs[k] * weight
    return product.dtype == np.float32 and bool(np.array_equal(product[0], total))
