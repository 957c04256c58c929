"""From candidates to the points of their regions, and from tracks and regions to annotations.

Three ways to write a region of the detector's own map (a fourth, ``field``, is in
:mod:`sai_core.postprocess.field_regions`); each makes a candidate's points from its RoI map, its box and the options
alone:

``top_k``
    The official export: the strongest cells of the RoI map, at their centres. The evaluator fills only their hull,
    so that the rim of the region is lost.
``region``
    The connected parts of the mask (cells that reach a level), sampled at the very pixels at which the evaluator of
    2026-06-30 reads its map (every 3.6 degrees). The RoI map has priority: the full-frame map is looked at only where
    the RoI map has nothing.
``hull``
    The same samples within the convex shape around the strongest cells: compact, without outliers of the mask.

How the samples survive the evaluator (see :mod:`sai_core.metrics.official.rendering_0630`): it interpolates linearly
over the Delaunay triangulation of a part's points and reads the result at whole pixels of 3.6 degrees. A point *at* a
pixel gives that pixel its own value, whatever the diagonals of the triangulation. Points on the outer edge would fall
off where float32 rounds a coordinate inwards, and one point or a straight row of them has no triangle at all. So a
pixel that lacks a neighbour in its part is written 0.1 degree further out on that side, and twice where it lacks both:
the hull then contains all pixels of the part, always. The rest of the value, 1/37 of the difference to the neighbour,
is the price. All coordinates are multiples of 0.1, so rounding in a later compression does no harm. A part over the
seam is written as two polygons, between which lies no pixel. A region between the pixels is written at the one nearest
to its peak: an annotation that the evaluator renders as nothing can only be a false positive.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final, Literal

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from sai_core.annotations.notes import NO_NOTES
from sai_core.annotations.table import AnnotationTable
from sai_core.detections.table import Detections
from sai_core.errors import InputError
from sai_core.geometry import ERP_HEIGHT, ERP_WIDTH
from sai_core.postprocess.tracking import Tracks

Method = Literal["top_k", "region", "hull"]
Int64 = npt.NDArray[np.int64]
Float64 = npt.NDArray[np.float64]

_COLUMNS: Final[int] = 100
_ROWS: Final[int] = 50
_PIXEL_DEG: Final[float] = 3.6
"""The evaluator's canvas: 100 columns by 50 rows, column c at x = 3.6 c (no half pixel)."""

_PIXEL_CENTRE: Final[float] = 0.5
"""A box reaches from the left edge of its first pixel to the right edge of its last; a label pixel is written, and read
by the evaluator, as the whole number of its left and upper edge. So the centre of pixel x, at x + 0.5 on the box, is x
in the file. (The official export leaves this out; so does ``top_k``.)"""

_NUDGE_DEG: Final[float] = 0.1
_CHUNK: Final[int] = 1024
"""Regions made at once."""

_HULL_DIRECTIONS: Final[int] = 32
"""Sides of the convex shape around the strongest cells: its area exceeds the hull's by about one percent."""


@dataclass(frozen=True, eq=False)
class Regions:
    """Points of the regions of some candidates.

    Attributes
    ----------
    rows : int64, shape (n,)
        Candidate of each region, rising.
    polygon_offsets, point_offsets : int64, shape (n + 1,) and (n_polygons + 1,)
        As in :class:`~sai_core.annotations.table.AnnotationTable`, with regions for annotations.
    points_xy : float64, shape (n_points, 2)
        Canvas coordinates in [0, 360] x [0, 180], label grid.
    energy : float64, shape (n_points,)
        In [0, 1].
    not_formed : int64, shape (m,)
        Those of ``rows`` that label code could form no region for and that have the detector's own instead, rising.
    """

    rows: Int64
    polygon_offsets: Int64
    point_offsets: Int64
    points_xy: Float64
    energy: Float64
    not_formed: Int64 = field(default_factory=lambda: np.zeros(0, dtype=np.int64))

    def __len__(self) -> int:
        return int(self.rows.shape[0])


def export_regions(
    energy: npt.NDArray[np.floating],
    boxes_xyxy: npt.NDArray[np.floating],
    frame: npt.NDArray[np.integer],
    rows: Int64,
    *,
    method: Method = "top_k",
    top_k: int = 20,
    min_energy: float = 0.1,
    region_level: float = 0.2,
    region_parts: int = 2,
    full_energy: npt.NDArray[np.floating] | None = None,
    hull_margin_deg: float = 0.0,
) -> Regions:
    """Points of the regions of some candidates.

    Parameters
    ----------
    energy : floating, shape (n, cell rows, cell columns)
        RoI maps of all candidates, [0, 1], stretched over their boxes. Only those of ``rows`` are read.
    boxes_xyxy : float, shape (n, 4)
        Canvas pixels, label grid; columns may leave [0, 360).
    frame : int, shape (n,)
        Needed for ``full_energy``.
    rows : int64
        The candidates, each once.
    method : {"top_k", "region", "hull"}
        See the module.
    top_k : int
        Strongest cells of ``top_k`` and ``hull``; 0 for all.
    min_energy : float
        Smallest energy of a cell that is used, in [0, 1].
    region_level : float
        ``region`` and ``hull``: smallest energy as a share of the map's peak.
    region_parts : int
        ``region``: most connected parts, those with the highest peaks.
    full_energy : floating, shape (n_frames, h, w), optional
        Full-frame maps; taken within the box where the RoI map has no cell of ``min_energy``.
    hull_margin_deg : float
        ``hull``: how far the region reaches beyond its cells' centres.

    Raises
    ------
    InputError
        An option out of range, an unknown method.
    """
    if top_k < 0 or not 0.0 <= min_energy <= 1.0:
        raise InputError(f"export: top_k {top_k} must be >= 0 and min_energy {min_energy} in [0, 1].")
    if not 0.0 <= region_level <= 1.0 or region_parts < 1 or hull_margin_deg < 0:
        raise InputError(
            f"export: region_level {region_level} must be in [0, 1], region_parts {region_parts} at least 1 and "
            f"hull_margin_deg {hull_margin_deg} at least 0."
        )
    if method not in ("top_k", "region", "hull"):
        raise InputError(f"export: {method!r} is not known; choose top_k, region or hull.")
    chosen = np.unique(np.asarray(rows, dtype=np.int64))
    limit = float(energy.dtype.type(min_energy))
    parts = []
    for start in range(0, len(chosen), _CHUNK):
        some = chosen[start : start + _CHUNK]
        maps = _as_float64(energy[some])
        boxes = np.asarray(boxes_xyxy, dtype=np.float64)[some]
        if method == "top_k":
            parts.append(_strongest_cells(maps, boxes, top_k, limit))
            continue
        boxes = boxes - _PIXEL_CENTRE
        if full_energy is not None and full_energy.size:
            maps = _with_fallback(maps, boxes, np.asarray(frame[some]), full_energy, limit)
        if method == "region":
            parts.append(_region_points(maps, boxes, limit, region_level, region_parts))
        else:
            parts.append(_hull_points(maps, boxes, limit, region_level, top_k, hull_margin_deg))
    polygons = np.concatenate([p[0] for p in parts]) if parts else np.zeros(0, np.int64)
    points = np.concatenate([p[1] for p in parts]) if parts else np.zeros(0, np.int64)
    xy = np.concatenate([p[2] for p in parts]) if parts else np.zeros((0, 2))
    values = np.concatenate([p[3] for p in parts]) if parts else np.zeros(0)
    return Regions(chosen, _offsets(polygons), _offsets(points), xy, values)


_Points = tuple[Int64, Int64, Float64, Float64]
"""Polygons of each region, points of each polygon, coordinates, energies."""


def _as_float64(values: npt.NDArray) -> Float64:
    return values.astype(np.float64)


def _offsets(counts: Int64) -> Int64:
    return np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)


def _strongest_cells(maps: Float64, boxes: Float64, top_k: int, limit: float) -> _Points:
    """The official choice: cells that reach the limit, else the single strongest, by falling energy."""
    n, height, width = maps.shape
    flat = maps.reshape(n, height * width)
    count = flat.shape[1] if top_k == 0 else min(top_k, flat.shape[1])
    order = np.argsort(-flat, axis=1, kind="stable")[:, :count]
    values = np.take_along_axis(flat, order, axis=1)
    kept = np.maximum((values >= limit).sum(axis=1), 1)
    x, y = _cell_centres(order, boxes, height, width)
    outside = (x < 0) | (x > ERP_WIDTH)
    xy = np.stack([np.where(outside, np.mod(x, ERP_WIDTH), x), np.clip(y, 0, ERP_HEIGHT)], axis=-1)
    written = np.arange(count) < kept[:, None]
    return np.ones(n, np.int64), kept.astype(np.int64), np.round(xy[written], 4), np.round(values[written], 6)


def _cell_centres(cell: Int64, boxes: Float64, height: int, width: int) -> tuple[Float64, Float64]:
    row, column = np.divmod(cell, width)
    x = boxes[:, :1] + (column + 0.5) / width * (boxes[:, 2:3] - boxes[:, :1])
    y = boxes[:, 1:2] + (row + 0.5) / height * (boxes[:, 3:4] - boxes[:, 1:2])
    return x, y


def _with_fallback(
    maps: Float64, boxes: Float64, frame: npt.NDArray[np.integer], full: npt.NDArray[np.floating], limit: float
) -> Float64:
    """RoI maps, with the full-frame map over the box in place of those that have nothing."""
    empty = np.flatnonzero(maps.max(axis=(1, 2), initial=0.0) < limit)
    if not len(empty):
        return maps
    _, height, width = maps.shape
    cells = np.broadcast_to(np.arange(height * width), (len(empty), height * width))
    x, y = _cell_centres(cells, boxes[empty], height, width)
    rows, columns = full.shape[1:]
    column = np.floor(np.mod(x, ERP_WIDTH) / ERP_WIDTH * columns).astype(np.int64) % columns
    row = np.clip(np.floor(y / ERP_HEIGHT * rows).astype(np.int64), 0, rows - 1)
    seen = full[frame[empty][:, None], row, column].astype(np.float64).reshape(-1, height, width)
    result = maps.copy()
    # where it has nothing either, the RoI map's own peak is the better guess
    better = seen.max(axis=(1, 2)) >= limit
    result[empty[better]] = seen[better]
    return result


def _region_points(maps: Float64, boxes: Float64, limit: float, level: float, n_parts: int) -> _Points:
    peak = maps.max(axis=(1, 2), initial=0.0)
    mask = maps >= np.maximum(limit, level * peak)[:, None, None]
    part = _strongest_parts(maps, mask, n_parts)
    owner, column, row = _pixels_in_boxes(boxes)
    cell_row, cell_column, value = _sample(maps, boxes, owner, column, row)
    part_of_pixel = part[owner, cell_row, cell_column]
    inside = part_of_pixel > 0
    return _write(maps, boxes, owner[inside], part_of_pixel[inside], column[inside], row[inside], value[inside])


def _strongest_parts(maps: Float64, mask: npt.NDArray[np.bool_], n_parts: int) -> Int64:
    """Connected parts of each mask, numbered from 1 by falling peak; 0 outside and for parts beyond ``n_parts``."""
    plane = np.zeros((3, 3, 3), dtype=bool)
    plane[1] = True
    labelled, n_found = ndimage.label(mask, structure=plane)
    if not n_found:
        return labelled.astype(np.int64)
    peaks = ndimage.maximum(maps, labelled, np.arange(1, n_found + 1))
    owner = np.zeros(n_found, dtype=np.int64)
    owner[labelled[mask] - 1] = np.nonzero(mask)[0]
    order = np.lexsort((-peaks, owner))
    first = np.searchsorted(owner[order], owner[order], side="left")
    rank = np.empty(n_found, dtype=np.int64)
    rank[order] = np.arange(n_found) - first
    number = np.concatenate([[0], np.where(rank < n_parts, rank + 1, 0)])
    return number[labelled]


def _hull_points(maps: Float64, boxes: Float64, limit: float, level: float, top_k: int, margin_deg: float) -> _Points:
    n, height, width = maps.shape
    flat = maps.reshape(n, height * width)
    count = flat.shape[1] if top_k == 0 else min(top_k, flat.shape[1])
    order = np.argsort(-flat, axis=1, kind="stable")[:, :count]
    values = np.take_along_axis(flat, order, axis=1)
    used = (values >= np.maximum(limit, level * values[:, :1])) & (values > 0)
    used[:, 0] = True
    x, y = _cell_centres(order, boxes, height, width)
    angle = np.arange(_HULL_DIRECTIONS) * (2 * np.pi / _HULL_DIRECTIONS)
    # one axis at a time: all directions at once would hold 32 times the cells
    support = np.empty((n, _HULL_DIRECTIONS))
    for k, a in enumerate(angle.tolist()):
        along = np.where(used, x * np.cos(a) + y * np.sin(a), -np.inf)
        support[:, k] = along.max(axis=1) + margin_deg
    left, right = support[:, _HULL_DIRECTIONS // 2], support[:, 0]
    top, bottom = support[:, 3 * _HULL_DIRECTIONS // 4], support[:, _HULL_DIRECTIONS // 4]
    around = np.stack([-left, -top, np.minimum(right, -left + ERP_WIDTH), bottom], axis=1)
    owner, column, row = _pixels_in_boxes(around)
    px, py = column * _PIXEL_DEG, row * _PIXEL_DEG
    inside = np.ones(len(owner), dtype=bool)
    for k, a in enumerate(angle.tolist()):
        inside &= px * np.cos(a) + py * np.sin(a) <= support[owner, k]
    owner, column, row = owner[inside], column[inside], row[inside]
    _, _, value = _sample(maps, boxes, owner, column, row)
    # within the hull everything belongs to the region; a dip of the map below the limit would only tear it
    value = np.maximum(value, np.minimum(limit, flat.max(axis=1, initial=0.0)[owner]))
    return _write(maps, boxes, owner, np.ones(len(owner), np.int64), column, row, value)


def _pixels_in_boxes(boxes: Float64) -> tuple[Int64, Int64, Int64]:
    """The evaluator's pixels within each box: box, column (may leave 0..99 over the seam), row."""
    slack = 1e-9
    low = np.ceil(boxes[:, :2] / _PIXEL_DEG - slack).astype(np.int64)
    high = np.floor(boxes[:, 2:] / _PIXEL_DEG + slack).astype(np.int64)
    low[:, 1] = np.maximum(low[:, 1], 0)
    high[:, 1] = np.minimum(high[:, 1], _ROWS - 1)
    # no column twice in a box that goes all the way round
    high[:, 0] = np.minimum(high[:, 0], low[:, 0] + _COLUMNS - 1)
    size = np.maximum(high - low + 1, 0)
    counts = size[:, 0] * size[:, 1]
    owner = np.repeat(np.arange(len(boxes)), counts)
    within = np.arange(len(owner)) - np.repeat(np.cumsum(counts) - counts, counts)
    down, right = np.divmod(within, np.maximum(size[owner, 0], 1))
    return owner, low[owner, 0] + right, low[owner, 1] + down


def _sample(maps: Float64, boxes: Float64, owner: Int64, column: Int64, row: Int64) -> tuple[Int64, Int64, Float64]:
    """RoI maps at pixels: nearest cell, and value interpolated between the centres of cells (clamped at the rim)."""
    _, height, width = maps.shape
    span = np.maximum(boxes[:, 2:] - boxes[:, :2], 1e-9)
    u = (column * _PIXEL_DEG - boxes[owner, 0]) / span[owner, 0] * width
    v = (row * _PIXEL_DEG - boxes[owner, 1]) / span[owner, 1] * height
    cell_column = np.clip(np.floor(u).astype(np.int64), 0, width - 1)
    cell_row = np.clip(np.floor(v).astype(np.int64), 0, height - 1)
    u, v = np.clip(u - 0.5, 0, width - 1), np.clip(v - 0.5, 0, height - 1)
    c0, r0 = np.floor(u).astype(np.int64), np.floor(v).astype(np.int64)
    c1, r1 = np.minimum(c0 + 1, width - 1), np.minimum(r0 + 1, height - 1)
    fx, fy = u - c0, v - r0
    above = maps[owner, r0, c0] * (1 - fx) + maps[owner, r0, c1] * fx
    below = maps[owner, r1, c0] * (1 - fx) + maps[owner, r1, c1] * fx
    return cell_row, cell_column, above * (1 - fy) + below * fy


def _write(
    maps: Float64, boxes: Float64, owner: Int64, part: Int64, column: Int64, row: Int64, value: Float64
) -> _Points:
    """Polygons that the evaluator fills with the values at the pixels (see the module)."""
    n, height, width = maps.shape
    missing = np.setdiff1d(np.arange(n), owner)
    if len(missing):
        flat = maps[missing].reshape(len(missing), height * width)
        at = flat.argmax(axis=1)
        x, y = _cell_centres(at[:, None], boxes[missing], height, width)
        owner = np.concatenate([owner, missing])
        part = np.concatenate([part, np.ones(len(missing), np.int64)])
        column = np.concatenate([column, np.round(x[:, 0] / _PIXEL_DEG).astype(np.int64)])
        row = np.concatenate([row, np.clip(np.round(y[:, 0] / _PIXEL_DEG), 0, _ROWS - 1).astype(np.int64)])
        value = np.concatenate([value, flat.max(axis=1)])
    # a map of zeros has a region too: the evaluator needs an energy above 0 to see it
    value = np.maximum(np.round(value, 4), 1e-4)
    turn, column = np.divmod(column, _COLUMNS)
    # one polygon for each region, part and side of the seam; the sides in order of the canvas
    n_turns = int(turn.max(initial=0) - turn.min(initial=0)) + 1
    n_parts = int(part.max(initial=1)) + 1
    polygon = (owner * n_parts + part) * n_turns + (turn - turn.min(initial=0))
    order = np.lexsort((column, row, polygon))
    polygon, column, row, owner, value = polygon[order], column[order], row[order], owner[order], value[order]

    stride = _COLUMNS + 2
    key = (polygon * (_ROWS + 2) + row + 1) * stride + column + 1
    has_left, has_right = _contains(key, key - 1), _contains(key, key + 1)
    has_up, has_down = _contains(key, key - stride), _contains(key, key + stride)
    copies_x = 1 + (~has_left & ~has_right)
    copies_y = 1 + (~has_up & ~has_down)
    copies = copies_x * copies_y
    index = np.repeat(np.arange(len(key)), copies)
    copy = np.arange(len(index)) - np.repeat(np.cumsum(copies) - copies, copies)
    copy_y, copy_x = np.divmod(copy, copies_x[index])
    # with both sides open the first copy goes left (up) and the second right (down)
    shift_x = np.where(copies_x[index] == 2, 2 * copy_x - 1, has_left[index].astype(np.int64) - has_right[index])
    shift_y = np.where(copies_y[index] == 2, 2 * copy_y - 1, has_up[index].astype(np.int64) - has_down[index])
    x = np.round(column[index] * _PIXEL_DEG + _NUDGE_DEG * shift_x, 1)
    y = np.round(row[index] * _PIXEL_DEG + _NUDGE_DEG * shift_y, 1)
    xy = np.stack([np.clip(x, 0, ERP_WIDTH), np.clip(y, 0, ERP_HEIGHT)], axis=-1)

    starts = np.flatnonzero(np.concatenate([[True], polygon[1:] != polygon[:-1]])) if len(polygon) else polygon
    n_polygons = np.bincount(owner[starts], minlength=n)
    n_points = np.add.reduceat(copies, starts) if len(starts) else starts
    return n_polygons.astype(np.int64), n_points.astype(np.int64), xy, value[index]


def evaluator_pixels(left: float, top: float, right: float, bottom: float) -> tuple[Int64, Int64, Float64, Float64]:
    """Pixels of the evaluator's canvas in a rectangle of label pixels, edges included: column, row, x and y of each."""
    _, column, row = _pixels_in_boxes(np.array([[left, top, right, bottom]], dtype=np.float64))
    return column, row, column.astype(np.float64) * _PIXEL_DEG, row.astype(np.float64) * _PIXEL_DEG


def joined_regions(parts: Sequence[Regions]) -> Regions:
    """Regions of several sets of candidates, no candidate twice, in order of their rows."""
    rows = np.concatenate([part.rows for part in parts])
    order = np.argsort(rows, kind="stable")
    everything = Regions(
        rows,
        _offsets(np.concatenate([np.diff(part.polygon_offsets) for part in parts])),
        _offsets(np.concatenate([np.diff(part.point_offsets) for part in parts])),
        np.concatenate([part.points_xy for part in parts]),
        np.concatenate([part.energy for part in parts]),
    )
    polygon_index, polygon_offsets = _gathered(everything.polygon_offsets, order)
    point_index, point_offsets = _gathered(everything.point_offsets, polygon_index)
    return Regions(
        rows[order],
        polygon_offsets,
        point_offsets,
        everything.points_xy[point_index],
        everything.energy[point_index],
    )


def write_pixels(owner: Int64, part: Int64, column: Int64, row: Int64, energy: Float64, *, n: int) -> Regions:
    """Regions from pixels of the evaluator's canvas, written so that it reads each pixel's own energy (see the module).

    Parameters
    ----------
    owner : int64, shape (m,)
        Region of each pixel, 0..n - 1; every region has one.
    part : int64, shape (m,)
        Connected part of its region, from 1.
    column, row : int64, shape (m,)
        On the canvas of 100 x 50; columns from 100 on are those beyond the seam.
    energy : float64, shape (m,)
        At least 0.
    n : int
        Regions.
    """
    nothing, boxes = np.zeros((n, 1, 1)), np.zeros((n, 4))
    polygons, points, xy, values = _write(nothing, boxes, owner, part, column, row, energy)
    return Regions(np.arange(n), _offsets(polygons), _offsets(points), xy, values)


def _contains(sorted_keys: Int64, wanted: Int64) -> npt.NDArray[np.bool_]:
    at = np.minimum(np.searchsorted(sorted_keys, wanted), max(len(sorted_keys) - 1, 0))
    return sorted_keys[at] == wanted if len(sorted_keys) else np.zeros(0, dtype=bool)


def to_annotations(
    tracks: Tracks, detections: Detections, regions: Regions, *, recording: str, score_decimals: int = 6
) -> AnnotationTable:
    """The table of tracks whose regions are known; a coasting frame repeats the region last seen.

    Parameters
    ----------
    tracks, detections : Tracks, Detections
        Rows of ``tracks`` refer to rows of ``detections``.
    regions : Regions
        Of every row that is shown, and any others.
    recording : str
        Name written into the table.
    score_decimals : int
        Scores are rounded; distances to 4 decimals of a centimetre, as by the official script.

    Raises
    ------
    InputError
        A region is missing.
    """
    at = np.searchsorted(regions.rows, tracks.detection)
    found = at < len(regions)
    if not found.all() or not np.array_equal(regions.rows[at], tracks.detection):
        raise InputError(f"{recording}: the regions of some tracks are missing.")
    polygon_index, polygon_offsets = _gathered(regions.polygon_offsets, at)
    point_index, point_offsets = _gathered(regions.point_offsets, polygon_index)
    notes = NO_NOTES
    if n := int(np.isin(tracks.detection, regions.not_formed).sum()):
        notes = notes.with_note(
            "not_formed",
            f"the field is too weak for a region of {n} of {len(tracks)} annotations; "
            "they have the detector's own energies.",
        )
    return AnnotationTable(
        recording,
        tracks.frame,
        detections.category_id[tracks.detection],
        tracks.track_id,
        np.round(detections.distance_cm[tracks.detection], 4),
        np.round(tracks.score, score_decimals),
        polygon_offsets,
        point_offsets,
        regions.points_xy[point_index],
        regions.energy[point_index],
        notes=notes,
    )


def _gathered(offsets: Int64, chosen: Int64) -> tuple[Int64, Int64]:
    """Children of the chosen parents, one after the other, and their new offsets."""
    counts = offsets[chosen + 1] - offsets[chosen]
    new = _offsets(counts)
    index = np.arange(new[-1]) + np.repeat(offsets[chosen] - new[:-1], counts)
    return index.astype(np.int64), new
