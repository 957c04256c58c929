"""Energy maps of annotations on the 360 x 180 canvas, and their outlines.

All maps are on the **label grid** (:mod:`sai_core.geometry`): the value of pixel ``(x, y)`` is the energy at canvas
coordinate ``(x, y)``, painted on the square ``[x, x + 1) x [y, y + 1)``. That is how label files store dense regions
and how the official evaluator samples its own, coarser canvas.

A map is kept as a :class:`Patch` (a bounding box with values) because a region covers a few per cent of the canvas;
columns of a patch run past 359 where the region crosses the seam and are taken modulo 360.

Three renderings are offered:

``full``
    Dense integer regions (labels) paint their pixels as stored; sparse points (predictions) are interpolated
    linearly over their Delaunay triangulation, as the official evaluator does, but at one degree a pixel.
``official``
    What the evaluator of 2026-06-30 scores: its 100 x 50 canvas, each annotation divided by its own peak.
``points``
    The stored points alone, each on its nearest pixel.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final, Literal, get_args

import cv2
import numpy as np
import numpy.typing as npt
from scipy.spatial import Delaunay, QhullError

from sai_core.annotations.table import AnnotationTable
from sai_core.errors import check_known
from sai_core.geometry import ERP_HEIGHT, ERP_WIDTH, unwrap_columns
from sai_core.metrics.official.rendering_0630 import MAP_HEIGHT, MAP_WIDTH, render_map_0630

FloatArray = npt.NDArray[np.float64]
MapMode = Literal["full", "official", "points"]
MAP_MODES: Final[tuple[str, ...]] = get_args(MapMode)

_DENSE_PAIRS_PER_POINT: Final[float] = 0.9
"""A filled region has nearly two 4-neighbour pairs a pixel, a scatter of the strongest cells far below one."""


@dataclass(frozen=True, eq=False)
class Patch:
    """Values in a bounding box of the canvas, label grid.

    Attributes
    ----------
    x0, y0 : int
        Column (0..359) and row (0..179) of the first value.
    values : float32, shape (height, width)
        Energy, >= 0; column ``i`` lies on canvas column ``(x0 + i) % 360``. May be empty.
    """

    x0: int
    y0: int
    values: npt.NDArray[np.float32]

    @property
    def peak(self) -> float:
        """Largest value; 0 for an empty patch."""
        return float(self.values.max()) if self.values.size else 0.0

    def columns(self) -> npt.NDArray[np.int64]:
        """Canvas column of every patch column, shape (width,)."""
        return (self.x0 + np.arange(self.values.shape[1])) % ERP_WIDTH


EMPTY_PATCH: Final[Patch] = Patch(0, 0, np.zeros((0, 0), dtype=np.float32))


def annotation_patch(table: AnnotationTable, index: int, *, mode: MapMode = "full") -> Patch:
    """Energy map of one annotation (maximum over its polygon lists), label grid.

    Parameters
    ----------
    table : AnnotationTable
    index : int
        Row of the table.
    mode : {"full", "official", "points"}
        See the module's description.

    Returns
    -------
    Patch
        New arrays. Empty for an annotation without points.

    Raises
    ------
    InputError
        Unknown mode.
    """
    check_known("Map rendering", mode, MAP_MODES)
    if mode == "official":
        return _official_patch(table, index)
    polygons = table.polygons(index)
    render = _point_patch if mode == "points" else _polygon_patch
    return merge_patches(render(points, energy) for points, energy in polygons)


def merge_patches(patches: Iterable[Patch]) -> Patch:
    """Pixel-wise maximum of patches as one patch over their common bounding box (seam-safe); empty for none."""
    kept = [patch for patch in patches if patch.values.size]
    if not kept:
        return EMPTY_PATCH
    if len(kept) == 1:
        return kept[0]
    starts = np.array([patch.x0 for patch in kept], dtype=np.float64)
    widths = np.array([patch.values.shape[1] for patch in kept])
    x0, width = _common_columns(starts, widths)
    y0 = min(patch.y0 for patch in kept)
    y1 = max(patch.y0 + patch.values.shape[0] for patch in kept)
    values = np.zeros((y1 - y0, width), dtype=np.float32)
    for patch in kept:
        height, span = patch.values.shape
        rows = slice(patch.y0 - y0, patch.y0 - y0 + height)
        offset = (patch.x0 - x0) % ERP_WIDTH
        if offset + span <= width:
            part = values[rows, offset : offset + span]
            np.maximum(part, patch.values, out=part)
        else:  # the common box is the whole circle: wrap inside it
            columns = (offset + np.arange(span)) % width
            values[rows, columns] = np.maximum(values[rows, columns], patch.values)
    return Patch(x0, y0, values)


def merged_canvas(patches: Iterable[Patch]) -> npt.NDArray[np.float32]:
    """Pixel-wise maximum of patches on the whole canvas, float32 (180, 360), label grid; zeros for none."""
    canvas = np.zeros((ERP_HEIGHT, ERP_WIDTH), dtype=np.float32)
    for patch in patches:
        if not patch.values.size:
            continue
        height, width = patch.values.shape
        rows = slice(patch.y0, patch.y0 + height)
        first = min(width, ERP_WIDTH - patch.x0)
        part = canvas[rows, patch.x0 : patch.x0 + first]
        np.maximum(part, patch.values[:, :first], out=part)
        if width > first:
            part = canvas[rows, : width - first]
            np.maximum(part, patch.values[:, first:], out=part)
    return canvas


def outlines(patch: Patch, *, tolerance_px: float = 0.35) -> list[npt.NDArray[np.float32]]:
    """Closed outlines of the region where a patch is positive.

    Parameters
    ----------
    patch : Patch
    tolerance_px : float
        Douglas-Peucker tolerance in pixels; 0.35 keeps a one-degree staircase from being drawn as one.

    Returns
    -------
    list of float32, shape (n, 2)
        Canvas coordinates (x, y) of pixel *centres* (pixel + 0.5), label grid; x runs past 360 over the seam, so a
        region is one curve. Outer boundaries only.
    """
    if not patch.values.size:
        return []
    mask = np.pad((patch.values > 0).astype(np.uint8), 1)
    contours, _ = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    shift = np.array([patch.x0 - 0.5, patch.y0 - 0.5], dtype=np.float32)
    return [
        cv2.approxPolyDP(contour, tolerance_px, True).reshape(-1, 2).astype(np.float32) + shift for contour in contours
    ]


_PEAK_POINTS: Final[int] = 1 << 19


def peak_points(table: AnnotationTable) -> tuple[FloatArray, FloatArray]:
    """Strongest point of every annotation.

    Returns
    -------
    xy : float64, shape (n, 2)
        Canvas coordinates as stored (label grid); the first maximum in file order; NaN without points.
    energy : float64, shape (n,)
        Its energy; NaN without points.
    """
    n = len(table)
    xy = np.full((n, 2), np.nan)
    peak = np.full(n, np.nan)
    starts = table.point_offsets[table.polygon_offsets]
    filled = np.flatnonzero(np.diff(starts) > 0)
    first_filled = 0
    while first_filled < filled.size:  # some points at a time: a large table holds them packed
        begin = int(starts[filled[first_filled]])
        last_filled = int(np.searchsorted(starts[filled + 1], begin + _PEAK_POINTS, side="right"))
        block = filled[first_filled : max(last_filled, first_filled + 1)]
        first_filled += len(block)
        energy = table.energy_of(slice(begin, int(starts[block[-1] + 1])))
        maxima = np.maximum.reduceat(energy, starts[block] - begin)
        # first position, at or after each start, where the segment's maximum stands
        owner = np.repeat(np.arange(block.size), starts[block + 1] - starts[block])
        position = np.flatnonzero(energy == maxima[owner])
        first = np.full(block.size, -1, dtype=np.int64)
        first[owner[position][::-1]] = position[::-1]
        xy[block] = table.xy_of(first + begin)
        peak[block] = maxima
    return xy, peak


def _common_columns(starts: FloatArray, widths: npt.NDArray[np.int64]) -> tuple[int, int]:
    """First column and width of the shortest run of columns that holds all intervals on the circle."""
    order = np.argsort(starts, kind="stable")
    begin = starts[order]
    end = begin + widths[order]
    # what reaches past the seam covers the first columns too
    reach = np.maximum.accumulate(np.concatenate([[end.max() - ERP_WIDTH], end]))
    gaps = begin - reach[:-1]
    widest = int(np.argmax(gaps))
    if gaps[widest] <= 0:
        return 0, ERP_WIDTH
    x0 = int(begin[widest])
    return x0 % ERP_WIDTH, int(ERP_WIDTH - gaps[widest])


def _is_dense(columns: npt.NDArray[np.int64], rows: npt.NDArray[np.int64], shape: tuple[int, int]) -> bool:
    mask = np.zeros(shape, dtype=bool)
    mask[rows, columns] = True
    pairs = np.count_nonzero(mask[:, 1:] & mask[:, :-1]) + np.count_nonzero(mask[1:] & mask[:-1])
    return bool(pairs >= _DENSE_PAIRS_PER_POINT * columns.size)


def _polygon_patch(points: FloatArray, energy: FloatArray) -> Patch:
    """One polygon list at full resolution."""
    if not len(energy):
        return EMPTY_PATCH
    # x = 360 is legal and is column 0; x just under it must not round out of the canvas
    x = unwrap_columns(np.where(points[:, 0] >= ERP_WIDTH, points[:, 0] - ERP_WIDTH, points[:, 0]))
    y = np.minimum(points[:, 1], ERP_HEIGHT - 1)
    strength = np.maximum(energy, 0.0)
    if len(energy) >= 4 and np.all(x == np.floor(x)) and np.all(y == np.floor(y)):
        left, top = int(x.min()), int(y.min())
        columns, rows = x.astype(np.int64) - left, y.astype(np.int64) - top
        shape = (int(rows.max()) + 1, int(columns.max()) + 1)
        if _is_dense(columns, rows, shape):
            return _painted(left, top, columns, rows, strength, shape)
    if len(energy) >= 3:
        left, top = int(np.ceil(x.min())), int(np.ceil(y.min()))
        right, bottom = int(np.floor(x.max())), int(np.floor(y.max()))
        if right >= left and bottom >= top:
            try:
                triangles = Delaunay(np.column_stack([x, y])).simplices
            except QhullError:  # collinear or coincident points: no triangle to fill
                return _nearest(x, y, strength)
            values = _interpolated(x, y, strength, triangles, left, top, (bottom - top + 1, right - left + 1))
            if values.any() or not strength.any():
                return _folded(left, top, values)
    return _nearest(x, y, strength)


_PAIRS_AT_ONCE: Final[int] = 500_000
"""Triangles times pixels: some 60 MB of temporary arrays."""

_SLACK: Final[float] = 1e-9
"""How far outside of a triangle, in barycentric weights, a pixel still counts as on its edge."""


def _interpolated(
    x: FloatArray,
    y: FloatArray,
    strength: FloatArray,
    triangles: npt.NDArray[np.integer[Any]],
    left: int,
    top: int,
    shape: tuple[int, int],
) -> npt.NDArray[np.float32]:
    """Values at whole pixels, linear within each triangle, 0 outside; float32 (height, width) from (left, top).

    As :class:`scipy.interpolate.LinearNDInterpolator` gives them, which looks up the triangle of each pixel and tries
    them all where its walk ends in a lattice of points, as predictions are: there it takes forty times as long.
    """
    values = np.zeros(shape, dtype=np.float32)
    px, py = x[triangles], y[triangles]
    # doubled areas; a triangle without any has no pixel that a neighbour has not
    area = (px[:, 1] - px[:, 0]) * (py[:, 2] - py[:, 0]) - (px[:, 2] - px[:, 0]) * (py[:, 1] - py[:, 0])
    longest = np.maximum(np.ptp(px, axis=1), np.ptp(py, axis=1))
    some = np.abs(area) > 1e-10 * longest**2
    px, py, area, corner = px[some], py[some], area[some], strength[triangles[some]]
    first_x, first_y = np.ceil(px.min(axis=1)).astype(np.int64), np.ceil(py.min(axis=1)).astype(np.int64)
    width = np.floor(px.max(axis=1)).astype(np.int64) - first_x + 1
    count = width * (np.floor(py.max(axis=1)).astype(np.int64) - first_y + 1)
    cuts = np.flatnonzero(np.diff(np.cumsum(count) // _PAIRS_AT_ONCE)) + 1
    for part in np.split(np.arange(len(count)), cuts):
        t = np.repeat(part, count[part])
        k = np.arange(len(t)) - np.repeat(np.cumsum(count[part]) - count[part], count[part])
        column, row = first_x[t] + k % width[t], first_y[t] + k // width[t]
        dx, dy = px[t] - column[:, None], py[t] - row[:, None]
        first = (dx[:, 1] * dy[:, 2] - dx[:, 2] * dy[:, 1]) / area[t]
        second = (dx[:, 2] * dy[:, 0] - dx[:, 0] * dy[:, 2]) / area[t]
        third = 1.0 - first - second
        inside = np.minimum(np.minimum(first, second), third) >= -_SLACK
        value = first * corner[t, 0] + second * corner[t, 1] + third * corner[t, 2]
        values[row[inside] - top, column[inside] - left] = np.maximum(value[inside], 0.0)
    return values


def _point_patch(points: FloatArray, energy: FloatArray) -> Patch:
    if not len(energy):
        return EMPTY_PATCH
    x = unwrap_columns(np.where(points[:, 0] >= ERP_WIDTH, points[:, 0] - ERP_WIDTH, points[:, 0]))
    return _nearest(x, points[:, 1], np.maximum(energy, 0.0))


def _nearest(x: FloatArray, y: FloatArray, energy: FloatArray) -> Patch:
    """Points on their nearest pixels, maximum where two share one."""
    columns = np.rint(x).astype(np.int64)
    rows = np.clip(np.rint(y), 0, ERP_HEIGHT - 1).astype(np.int64)
    left, top = int(columns.min()), int(rows.min())
    shape = (int(rows.max()) - top + 1, int(columns.max()) - left + 1)
    return _painted(left, top, columns - left, rows - top, energy, shape)


def _painted(
    left: int,
    top: int,
    columns: npt.NDArray[np.int64],
    rows: npt.NDArray[np.int64],
    energy: FloatArray,
    shape: tuple[int, int],
) -> Patch:
    values = np.zeros(shape, dtype=np.float32)
    np.maximum.at(values, (rows, columns), energy.astype(np.float32))
    return _folded(left, top, values)


def _folded(left: int, top: int, values: npt.NDArray[np.float32]) -> Patch:
    """Patch at extended column ``left``; a box wider than the circle is folded onto it by maximum."""
    if values.shape[1] > ERP_WIDTH:
        head = values[:, :ERP_WIDTH].copy()
        extra = values.shape[1] - ERP_WIDTH
        np.maximum(head[:, :extra], values[:, ERP_WIDTH:], out=head[:, :extra])
        values = head
    return Patch(left % ERP_WIDTH, top, values)


def _official_patch(table: AnnotationTable, index: int) -> Patch:
    """The 2026-06-30 evaluator's map of an annotation, its 100 x 50 cells blown up to the canvas."""
    points, energy = table.points(index)
    first, last = int(table.polygon_offsets[index]), int(table.polygon_offsets[index + 1])
    offsets = table.point_offsets[first : last + 1] - table.point_offsets[first]
    canvas = render_map_0630(points, energy, polygon_offsets=offsets).astype(np.float32)
    # cell c of the evaluator stands for canvas coordinate 3.6 c and is drawn to its right, as label pixels are
    columns = (np.arange(ERP_WIDTH) * MAP_WIDTH) // ERP_WIDTH
    rows = (np.arange(ERP_HEIGHT) * MAP_HEIGHT) // ERP_HEIGHT
    return crop(canvas[rows][:, columns])


def crop(canvas: npt.NDArray[np.float32]) -> Patch:
    """Smallest patch that holds every positive pixel of a whole canvas (180, 360), seam-safe."""
    rows = np.flatnonzero(canvas.any(axis=1))
    columns = np.flatnonzero(canvas.any(axis=0))
    if not rows.size:
        return EMPTY_PATCH
    x0, width = _common_columns(columns.astype(np.float64), np.ones(columns.size, dtype=np.int64))
    index = (x0 + np.arange(width)) % ERP_WIDTH
    top, bottom = int(rows[0]), int(rows[-1]) + 1
    return Patch(x0, top, np.ascontiguousarray(canvas[top:bottom][:, index]))
