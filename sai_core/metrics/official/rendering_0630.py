"""Energy maps of revision 2026-06-30: points of an annotation to its map on the 100 x 50 canvas.

The rules (metric canvas of 100 columns by 50 rows, one pixel per 3.6 degrees of the label grid; column ``c`` is
canvas coordinate ``x = 3.6 c``, no half-pixel offset):

* coordinates are scaled in float32 by float32(100/360) and float32(50/180);
* seam: if the largest gap between a polygon's sorted columns exceeds 50, every column at or below the gap's left end
  gets + 100, and the polygon is drawn on 200 columns, whose halves are then folded by their maximum;
* a polygon of three points or more is filled by linear interpolation over the Delaunay triangulation of its points
  in file order; where Qhull refuses (coincident or axis-aligned collinear points), and for one or two points, each
  point paints its nearest pixel (half to even), the maximum wins;
* negative values are clipped to 0; an annotation is the maximum of its polygons, divided by its peak where that
  exceeds 1e-8.

The triangulation must be Qhull's, on the points in file order, because points on a lattice have ambiguous diagonals.
It is nearly all of the cost and stays; everything around it is done differently from
:func:`scipy.interpolate.griddata`, with the same result to a few units of the last place:

* griddata inverts one matrix per triangle and then looks each of 10,000 pixels up. Dense regions have hundreds of
  triangles and cover some forty pixels, so here the few (triangle, pixel) pairs whose boxes meet are listed for many
  polygons at once and only those are computed;
* where that could differ by more than rounding (a needle-shaped triangle meets a pixel, or triangles overlap) the
  polygon is given to scipy's own interpolator on the full grid;
* polygons with the same points (labels written twice, static regions) share one triangulation.

Maps are kept sparse (:class:`SparseMaps`): a region covers about one pixel in a hundred.

References
----------
Official ``evaluate.py`` at commit d4df662 (behaviour; agrees bit for bit in the pixels that are set, to 1e-15 in
their values).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from itertools import pairwise
from typing import Final

import numpy as np
import numpy.typing as npt
from scipy.interpolate import LinearNDInterpolator
from scipy.spatial import Delaunay, QhullError

from sai_core.annotations.table import AnnotationTable, gather_ranges, point_blocks
from sai_core.errors import InputError
from sai_core.progress import Progress, no_progress

MAP_WIDTH: Final[int] = 100
MAP_HEIGHT: Final[int] = 50
N_PIXELS: Final[int] = MAP_WIDTH * MAP_HEIGHT

_EPS: Final[float] = 100 * np.finfo(np.float64).eps
"""Slack of scipy's point-in-triangle test, in barycentric units."""

_NEEDLE: Final[float] = 1e-4
"""Triangles whose doubled area is below this part of their longest squared edge are left to scipy: its rounding
there is larger than the slack of its own test, and only itself can reproduce that."""

_NEAR_NEEDLE: Final[float] = 0.1
"""How far outside a needle (in barycentric units) a pixel cannot be taken for inside by rounding: the weights of
scipy are off by less than a millionth of themselves down to needles of relative area 1e-10."""

_ON_NEEDLE: Final[float] = 1e-6
"""For needles without any area: pixels this near to their line, in their longest edges, are left to scipy."""

_REPORT_POLYGONS: Final[int] = 25
"""Polygons between two reports of progress: some 20 ms, after which a job gives way (sai_core.jobs)."""

_BLOCK_POINTS: Final[int] = 1 << 20
"""Points that are unpacked and rendered at once; with what is made of them some 150 MB."""

_KNOWN_PLANS: Final[int] = 20_000
"""Plans that are kept from block to block, for regions that come again: some 4 kB each."""

_LONG_KEY: Final[int] = 1024
"""Bytes of points from which a region is known by their hash."""

_CHUNK_TRIANGLES: Final[int] = 60_000
"""Triangles handled in one go; keeps the temporary arrays at a few megabytes."""

Int64 = npt.NDArray[np.int64]
Float64 = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class SparseMaps:
    """Energy maps of many annotations, non-zero pixels only.

    Attributes
    ----------
    offsets : int64, shape (n + 1,)
        Map ``i`` owns entries ``offsets[i]:offsets[i + 1]``.
    pixels : uint16, shape (n_entries,)
        ``row * 100 + column`` on the metric canvas (label grid, 3.6 degrees a pixel), rising within a map.
    values : float64, shape (n_entries,)
        In (0, 1], 1 at the peak (for peaks above 1e-8).
    painted : bool, shape (n,)
        No polygon of the annotation could be triangulated; the official map is float32 then, and so is the
        arithmetic between two such maps.

    Raises
    ------
    InputError
        Arrays that do not fit together.
    """

    offsets: Int64
    pixels: npt.NDArray[np.uint16]
    values: Float64
    painted: npt.NDArray[np.bool_]

    def __post_init__(self) -> None:
        n = self.painted.shape[0]
        if self.offsets.shape != (n + 1,) or self.pixels.shape != self.values.shape or self.values.ndim != 1:
            raise InputError("Sparse maps: the arrays do not fit together.")
        if self.offsets[0] != 0 or self.offsets[-1] != len(self.pixels) or np.any(np.diff(self.offsets) < 0):
            raise InputError("Sparse maps: the offsets must rise from 0 to the number of entries.")

    def __len__(self) -> int:
        return int(self.painted.shape[0])

    @cached_property
    def sums(self) -> Float64:
        """Sum of each map, shape (n,)."""
        owner = np.repeat(np.arange(len(self)), np.diff(self.offsets))
        return np.bincount(owner, weights=self.values, minlength=len(self)).astype(np.float64, copy=False)

    def dense(self, indices: npt.ArrayLike) -> Float64:
        """Maps as an array of shape (k, 50, 100), row 0 = elevation +90, column 0 = azimuth +180."""
        chosen = np.atleast_1d(np.asarray(indices, dtype=np.int64))
        index, offsets = gather_ranges(self.offsets, chosen)
        maps = np.zeros((len(chosen), N_PIXELS))
        owner = np.repeat(np.arange(len(chosen)), np.diff(offsets))
        maps[owner, self.pixels[index]] = self.values[index]
        return maps.reshape(-1, MAP_HEIGHT, MAP_WIDTH)

    @classmethod
    def empty(cls) -> SparseMaps:
        """No maps at all."""
        return cls(np.zeros(1, np.int64), np.zeros(0, np.uint16), np.zeros(0), np.zeros(0, np.bool_))


def render_table_0630(
    table: AnnotationTable, *, plans: Plans | None = None, progress: Progress = no_progress
) -> SparseMaps:
    """Maps of all annotations of a recording.

    Parameters
    ----------
    table : AnnotationTable
        Coordinates on the label grid; order of polygons and points as in the file.
    plans : dict, optional
        Triangulations by points, kept between calls: for regions that are rendered again with other energies.
    progress : Progress
        Told every few hundred polygons; dense regions take 2 ms each.

    Returns
    -------
    maps : SparseMaps
        One map per annotation, in the table's order. An annotation without points, or whose region is smaller than
        the 3.6-pixel grid, has an empty map.
    """
    known: Plans = {} if plans is None else plans
    n_polygons = len(table.point_offsets) - 1
    parts: list[SparseMaps] = []
    for rows, points in point_blocks(table, most=_BLOCK_POINTS):
        first, last = (int(table.polygon_offsets[i]) for i in (rows.start, rows.stop))
        counts = np.diff(table.polygon_offsets[rows.start : rows.stop + 1])
        parts.append(
            _render(
                table.xy_of(points),
                table.energy_of(points),
                table.point_offsets[first : last + 1] - points.start,
                np.repeat(np.arange(len(counts)), counts),
                len(counts),
                known,
                progress,
                done=(first, n_polygons),
            )
        )
        if plans is None and len(known) > _KNOWN_PLANS:
            known = {}
    return _joined(parts)


def _joined(parts: list[SparseMaps]) -> SparseMaps:
    """Maps of consecutive annotations as one."""
    if len(parts) == 1:
        return parts[0]
    if not parts:
        return SparseMaps.empty()
    counts = np.concatenate([np.diff(part.offsets) for part in parts])
    return SparseMaps(
        np.concatenate([[0], np.cumsum(counts)]).astype(np.int64),
        np.concatenate([part.pixels for part in parts]),
        np.concatenate([part.values for part in parts]),
        np.concatenate([part.painted for part in parts]),
    )


def render_map_0630(
    points_xy: npt.ArrayLike, energy: npt.ArrayLike, *, polygon_offsets: npt.ArrayLike | None = None
) -> Float64:
    """Map of one annotation on the metric canvas.

    Parameters
    ----------
    points_xy : array_like of float, shape (n, 2)
        Canvas coordinates in [0, 360] x [0, 180], label grid, file order.
    energy : array_like of float, shape (n,)
        Energy of each point.
    polygon_offsets : array_like of int, shape (n_polygons + 1,), optional
        First point of each polygon list, and ``n``; by default all points form one polygon.

    Returns
    -------
    map : float64, shape (50, 100)
        In [0, 1], label grid at 3.6 degrees a pixel; row 0 is elevation +90, column 0 azimuth +180. All zero for a
        region that falls between the pixels.

    Raises
    ------
    InputError
        Wrong shapes, or coordinates or energies that are not finite.

    Examples
    --------
    >>> render_map_0630([[10, 20], [11, 22]], [0.5, 1.0]).nonzero()
    (array([6]), array([3]))
    """
    points = np.asarray(points_xy, dtype=np.float64)
    values = np.asarray(energy, dtype=np.float64)
    if points.ndim != 2 or points.shape[1] != 2 or values.shape != (len(points),):
        raise InputError(f"Points need shape (n, 2) and one energy each, got {points.shape} and {values.shape}.")
    if not (np.isfinite(points).all() and np.isfinite(values).all()):
        raise InputError("Points and energies must be finite numbers.")
    if polygon_offsets is None:
        offsets = np.array([0, len(points)], dtype=np.int64)
    else:
        offsets = np.asarray(polygon_offsets, dtype=np.int64)
        if offsets.ndim != 1 or offsets.size < 1 or offsets[0] != 0 or offsets[-1] != len(points):
            raise InputError(f"polygon_offsets must rise from 0 to {len(points)}.")
        if np.any(np.diff(offsets) < 0):
            raise InputError(f"polygon_offsets must rise from 0 to {len(points)}.")
    owner = np.zeros(len(offsets) - 1, dtype=np.int64)
    return _render(points, values, offsets, owner, 1).dense([0])[0]


def scale_points(points_xy: npt.NDArray[np.floating], offsets: Int64) -> Float64:
    """Columns and rows of points on the 200 x 50 extended canvas: scaled in float32, seam unwrapped per polygon.

    Parameters
    ----------
    points_xy : floating, shape (n, 2)
        Canvas coordinates, label grid.
    offsets : int64, shape (n_polygons + 1,)
        Points of each polygon.

    Returns
    -------
    xy : float64, shape (n, 2)
        Values that are exactly representable in float32; x in [0, 200], y in [0, 50].
    """
    x = points_xy[:, 0].astype(np.float32) * np.float32(MAP_WIDTH / 360)
    y = points_xy[:, 1].astype(np.float32) * np.float32(MAP_HEIGHT / 180)
    starts = offsets[:-1][np.diff(offsets) > 0]
    stops = offsets[1:][np.diff(offsets) > 0]
    if len(starts):
        # a gap of more than half the canvas needs a span of more than that
        wide = np.maximum.reduceat(x, starts) - np.minimum.reduceat(x, starts) > MAP_WIDTH / 2
        for start, stop in zip(starts[wide].tolist(), stops[wide].tolist(), strict=True):
            in_order = np.sort(x[start:stop])
            gaps = np.diff(in_order)
            widest = int(np.argmax(gaps))
            if gaps[widest] > MAP_WIDTH / 2:
                part = x[start:stop]
                part[part <= in_order[widest]] += np.float32(MAP_WIDTH)
    scaled = np.empty((len(x), 2))
    scaled[:, 0], scaled[:, 1] = x, y
    return scaled


@dataclass
class _Plan:
    """Where one polygon's pixels get their values from: three points and their weights, or a single point."""

    pixels: Int64
    """Pixel on the folded canvas, shape (k,); may repeat (fold, painting)."""
    vertices: Int64
    """Points of the polygon, shape (k, 3)."""
    weights: Float64
    """Barycentric weights, shape (k, 3)."""
    painted: bool
    triangulation: Delaunay | None = None
    """Set where scipy's own interpolator must be used; the arrays are empty then."""


Plans = dict[bytes, _Plan]
"""Plans of polygons by the bytes of their scaled points, or, of many points, by their hash."""


@dataclass
class _Pending:
    """Triangulated polygons that wait for their pixels."""

    keys: list[bytes] = field(default_factory=list)
    points: list[Float64] = field(default_factory=list)
    triangulations: list[Delaunay] = field(default_factory=list)
    n_triangles: int = 0


def _render(
    points_xy: Float64,
    energy: Float64,
    point_offsets: Int64,
    polygon_owner: Int64,
    n: int,
    known: Plans | None = None,
    progress: Progress = no_progress,
    *,
    done: tuple[int, int] | None = None,
) -> SparseMaps:
    """Render polygons ``point_offsets`` that belong to annotations ``polygon_owner`` (rising).

    ``done``: how many polygons were rendered before, and how many there are in all, for reports.
    """
    scaled = scale_points(points_xy, point_offsets)
    value = energy.astype(np.float32).astype(np.float64)
    bounds = point_offsets.tolist()
    before, total = done or (0, len(bounds) - 1)
    known = {} if known is None else known
    plans: Plans = {}
    pending = _Pending()
    keys: list[bytes | None] = []
    for polygon, (start, stop) in enumerate(pairwise(bounds)):
        if polygon % _REPORT_POLYGONS == 0:
            progress((before + polygon) / (total + 1), f"{before + polygon} of {total} regions rendered")
        if start == stop:
            keys.append(None)
            continue
        points = scaled[start:stop]
        key = points.tobytes()
        if len(key) > _LONG_KEY:  # gigabytes of points are not kept to tell a few repeated regions
            key = hashlib.blake2b(key, digest_size=32).digest()
        keys.append(key)
        if key in known or key in plans:
            continue
        plan = _prepare(points, key, pending)
        # triangulated polygons leave a mark, which _resolve fills
        plans[key] = plan if plan is not None else _EMPTY_PLAN
        if pending.n_triangles > _CHUNK_TRIANGLES:
            plans.update(_resolve(pending))
            pending = _Pending()
    plans.update(_resolve(pending))
    # only now: marks of a call that was stopped must not be taken for plans
    known.update(plans)

    used = [(p, key, known[key]) for p, key in enumerate(keys) if key is not None]
    owners = polygon_owner[[p for p, _, _ in used]] if used else np.zeros(0, np.int64)
    painted = np.ones(n, np.bool_)
    painted[owners[[not plan.painted for _, _, plan in used]] if used else owners] = False
    if not used:
        return SparseMaps(np.zeros(n + 1, np.int64), np.zeros(0, np.uint16), np.zeros(0), painted)
    counts = np.array([len(plan.pixels) for _, _, plan in used])
    starts = point_offsets[[p for p, _, _ in used]]
    vertices = np.concatenate([plan.vertices for _, _, plan in used]) + np.repeat(starts, counts)[:, None]
    weights = np.concatenate([plan.weights for _, _, plan in used])
    corner = value[vertices]
    pixels = [plan.pixels for _, _, plan in used]
    # summed in the order of the vertices, as scipy does
    entries = [weights[:, 0] * corner[:, 0] + weights[:, 1] * corner[:, 1] + weights[:, 2] * corner[:, 2]]
    entry_owners = [np.repeat(owners, counts)]
    for owner, (p, _, plan) in zip(owners.tolist(), used, strict=True):
        if plan.triangulation is not None:
            some_pixels, some_entries = _interpolate_by_scipy(plan.triangulation, value[bounds[p] : bounds[p + 1]])
            pixels.append(some_pixels)
            entries.append(some_entries)
            entry_owners.append(np.full(len(some_pixels), owner))
    return _combine(np.concatenate(entry_owners), np.concatenate(pixels), np.concatenate(entries), painted, n)


def _combine(owner: Int64, pixels: Int64, entry: Float64, painted: npt.NDArray[np.bool_], n: int) -> SparseMaps:
    """Maximum per annotation and pixel, divided by the annotation's peak."""
    positive = entry > 0
    key = owner[positive] * N_PIXELS + pixels[positive]
    entry = entry[positive]
    if not len(key):
        return SparseMaps(np.zeros(n + 1, np.int64), np.zeros(0, np.uint16), np.zeros(0), painted)
    order = np.argsort(key, kind="stable")
    key, entry = key[order], entry[order]
    first = np.flatnonzero(np.concatenate([[True], key[1:] != key[:-1]]))
    entry = np.maximum.reduceat(entry, first)
    key = key[first]
    owner = key // N_PIXELS
    offsets = np.searchsorted(owner, np.arange(n + 1)).astype(np.int64)
    filled = np.flatnonzero(np.diff(offsets))
    peak = np.ones(n)
    peak[filled] = np.maximum.reduceat(entry, offsets[filled])
    # a painted map is float32 in the official code, and so is the limit that it is compared with
    limit = np.where(painted, float(np.float32(1e-8)), 1e-8)
    peak = np.where(peak > limit, peak, 1.0)[owner]
    values = entry / peak
    single = painted[owner]
    values[single] = (entry[single].astype(np.float32) / peak[single].astype(np.float32)).astype(np.float64)
    return SparseMaps(offsets, (key % N_PIXELS).astype(np.uint16), values, painted)


_EMPTY_PLAN: Final = _Plan(np.zeros(0, np.int64), np.zeros((0, 3), np.int64), np.zeros((0, 3)), False)


def _prepare(points: Float64, key: bytes, pending: _Pending) -> _Plan | None:
    """Plan of a polygon that is painted, or None after queueing its triangulation."""
    if len(points) >= 3:
        try:
            triangulation = Delaunay(points)
        except (QhullError, ValueError):
            pass
        else:
            pending.keys.append(key)
            pending.points.append(points)
            pending.triangulations.append(triangulation)
            pending.n_triangles += len(triangulation.simplices)
            return None
    columns = np.clip(np.rint(points[:, 0]), 0, 2 * MAP_WIDTH - 1).astype(np.int64)
    rows = np.clip(np.rint(points[:, 1]), 0, MAP_HEIGHT - 1).astype(np.int64)
    vertices = np.repeat(np.arange(len(points))[:, None], 3, axis=1)
    weights = np.zeros((len(points), 3))
    weights[:, 0] = 1.0
    return _Plan(rows * MAP_WIDTH + columns % MAP_WIDTH, vertices, weights, True)


def _resolve(pending: _Pending) -> Iterator[tuple[bytes, _Plan]]:
    """Pixels, vertices and weights of the queued polygons."""
    if not pending.keys:
        return
    n_polygons = len(pending.keys)
    n_points = np.array([len(v) for v in pending.points])
    n_triangles = np.array([len(t.simplices) for t in pending.triangulations])
    x, y = np.ascontiguousarray(np.concatenate(pending.points).T)
    polygon = np.repeat(np.arange(n_polygons), n_triangles)
    simplices = np.concatenate([t.simplices for t in pending.triangulations])
    corners = simplices + np.repeat(np.cumsum(n_points) - n_points, n_triangles)[:, None]
    triangle, column, row = _meeting_pixels(x, y, corners)

    polygon, simplices, corners = polygon[triangle], simplices[triangle], corners[triangle]
    # exact: the coordinates are float32, so differences and products of two fit into a double
    dx0, dx1, dx2 = (x[corners[:, i]] - column for i in range(3))
    dy0, dy1, dy2 = (y[corners[:, i]] - row for i in range(3))
    cross0, cross1, cross2 = dx1 * dy2 - dx2 * dy1, dx2 * dy0 - dx0 * dy2, dx0 * dy1 - dx1 * dy0
    area = cross0 + cross1 + cross2
    with np.errstate(divide="ignore", invalid="ignore"):
        weights = np.empty((len(area), 3))
        np.divide(cross0, area, out=weights[:, 0])
        np.divide(cross1, area, out=weights[:, 1])
    weights[:, 2] = 1.0 - weights[:, 0] - weights[:, 1]
    lowest = np.minimum(np.minimum(weights[:, 0], weights[:, 1]), weights[:, 2])
    inside = lowest >= -_EPS  # the weights sum to 1, so none exceeds 1 by more than twice the slack

    odd = np.zeros(n_polygons, np.bool_)
    longest = (dx0 - dx1) ** 2 + (dy0 - dy1) ** 2
    np.maximum(longest, (dx1 - dx2) ** 2 + (dy1 - dy2) ** 2, out=longest)
    np.maximum(longest, (dx2 - dx0) ** 2 + (dy2 - dy0) ** 2, out=longest)
    needle = np.flatnonzero(np.abs(area) <= _NEEDLE * longest)
    if len(needle):
        # doubled areas that the pixel spans with the edges: small for all three where it is on the needle's line
        spanned = np.max([np.abs(cross0[needle]), np.abs(cross1[needle]), np.abs(cross2[needle])], axis=0)
        near = (lowest[needle] > -_NEAR_NEEDLE) | (spanned <= _ON_NEEDLE * longest[needle])
        odd[polygon[needle[near]]] = True

    extended = (polygon * MAP_HEIGHT + row) * (2 * MAP_WIDTH) + column
    hit = np.flatnonzero(inside)
    hit = hit[np.argsort(extended[hit], kind="stable")]
    if len(hit):
        same = extended[hit[1:]] == extended[hit[:-1]]
        # a pixel inside of two triangles at once, not on their common edge: an imprecise triangulation
        interior = lowest[hit] > 1e-9
        odd[polygon[hit[1:][same & interior[1:]]]] = True
        odd[polygon[hit[:-1][same & interior[:-1]]]] = True
        hit = hit[np.concatenate([[True], ~same])]
    pixel = row[hit] * MAP_WIDTH + column[hit] % MAP_WIDTH
    bounds = np.searchsorted(polygon[hit], np.arange(n_polygons + 1)).tolist()
    vertices, weights = simplices[hit], weights[hit]
    for p, key in enumerate(pending.keys):
        if odd[p]:
            empty = _EMPTY_PLAN
            yield key, _Plan(empty.pixels, empty.vertices, empty.weights, False, pending.triangulations[p])
        else:
            part = slice(bounds[p], bounds[p + 1])
            yield key, _Plan(pixel[part], vertices[part], weights[part], False)


def _meeting_pixels(x: Float64, y: Float64, corners: npt.NDArray[np.integer]) -> tuple[Int64, Int64, Int64]:
    """Pixels in the box of each triangle (points ``corners``, shape (k, 3)): triangle, column, row of every pair."""
    # above scipy's widest slack for points beside a degenerate triangle (1.5e-8 in barycentric units)
    slack = 1e-6
    used = np.arange(len(corners))
    bounds: list[Int64] = []
    for coordinate, last in ((x, 2 * MAP_WIDTH - 1), (y, MAP_HEIGHT - 1)):
        a, b, c = (coordinate[corners[used, i]] for i in range(3))
        low = np.ceil(np.minimum(np.minimum(a, b), c) - slack)
        high = np.floor(np.maximum(np.maximum(a, b), c) + slack)
        low, high = np.maximum(low, 0).astype(np.int64), np.minimum(high, last).astype(np.int64)
        # in a dense region most triangles fall between the pixels: drop them before the next coordinate
        some = np.flatnonzero(high >= low)
        used = used[some]
        bounds = [v[some] for v in (*bounds, low, high)]
    low_x, high_x, low_y, high_y = bounds
    width = high_x - low_x + 1
    counts = width * (high_y - low_y + 1)
    pair = np.repeat(np.arange(len(used)), counts)
    within = np.arange(len(pair)) - np.repeat(np.cumsum(counts) - counts, counts)
    down, right = np.divmod(within, width[pair])
    return used[pair], low_x[pair] + right, low_y[pair] + down


_GRID_COLUMNS, _GRID_ROWS = np.meshgrid(np.arange(2 * MAP_WIDTH), np.arange(MAP_HEIGHT))


def _interpolate_by_scipy(triangulation: Delaunay, values: Float64) -> tuple[Int64, Float64]:
    """Pixels and values of a polygon by scipy's own interpolator, on the whole extended canvas in its order."""
    extended = LinearNDInterpolator(triangulation, values, fill_value=0.0)(_GRID_COLUMNS, _GRID_ROWS)
    extended = np.nan_to_num(extended, nan=0.0)
    rows, columns = np.nonzero(extended > 0)
    return rows * MAP_WIDTH + columns % MAP_WIDTH, extended[rows, columns]
