"""Bringing a submission under the size limit while changing its figures as little as possible.

Steps, each only as far as needed:

1. Compact text (no spaces, shortest numbers): loses nothing.
2. Rounding: coordinates to 3, 2, then 1 decimals, energies to 4, then 3 significant digits of the annotation's peak,
   scores to as many decimals as keep all of them apart. On sparse and dense regions of the oracle set the rendered
   maps (evaluator of 2026-06-30) keep a soft IoU of at least 0.999 with the original.
3. Thinning: at most K points in each part, the same K for all. Which points stay decides what is lost. Keeping the
   strongest, as the official exporter does, cuts the rim off, and the evaluator fills only the convex hull of what is
   left: 20 of 600 points kept that way have a mean soft IoU of 0.05 with the original region. Here the peak and
   well-spread corners of the hull come first, then points far from those already taken: 0.94 (0.90 with 12 points,
   0.85 with 8, 0.98 with 80). A part is never thinned to something that the evaluator renders as nothing.
4. Dropping detections, lowest score first.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from sai_core.annotations._hull import convex_hull
from sai_core.annotations.table import AnnotationTable, point_blocks
from sai_core.annotations.writing import MAX_SUBMISSION_BYTES, rounded, submission_pieces
from sai_core.errors import InputError
from sai_core.geometry import ERP_HEIGHT, ERP_WIDTH, unwrap_columns
from sai_core.progress import Progress, no_progress

MIN_POINTS: Final[int] = 12
"""Points that thinning leaves in each part before detections are dropped (see the module for what fewer cost)."""

_ROUNDINGS: Final[tuple[tuple[int, int], ...]] = ((3, 4), (2, 3), (1, 3))
_LEADING_CORNERS: Final[int] = 8
_SPREAD_POINTS: Final[int] = 96
"""How many points are chosen by spread; any more are taken by energy, since the region is covered by then."""
_ENERGY_WEIGHT: Final[float] = 0.5
"""Weight of a difference in energy against one in position (both relative to the part's extent) in spreading."""
_METRIC_WIDTH, _METRIC_HEIGHT = 100, 50
_INSIDE: Final[float] = 1e-6
"""Cross product (square pixels) by which a pixel must be inside; the evaluator computes in float32."""
_SHORTEST_POINT: Final[int] = len(b"[0,0,0],")
_EMPTY_BYTES: Final[int] = len(b'{"annotations":[]}')
_CHUNK_POINTS: Final[int] = 1 << 20


@dataclass(frozen=True)
class CompressionReport:
    """What was done to a submission.

    Attributes
    ----------
    max_bytes, n_bytes : int
        The limit, and the exact size of the file that :func:`~sai_core.annotations.write_submission_json` writes.
    n_annotations_before, n_annotations, n_points_before, n_points : int
        Counts before and after.
    coordinate_decimals, energy_digits : int or None
        Rounding; None: none.
    max_points_per_part : int or None
        Thinning; None: none.
    highest_dropped_score : float or None
        Score of the best detection that was dropped; None: none was.
    """

    max_bytes: int
    n_bytes: int
    n_annotations_before: int
    n_annotations: int
    n_points_before: int
    n_points: int
    coordinate_decimals: int | None = None
    energy_digits: int | None = None
    max_points_per_part: int | None = None
    highest_dropped_score: float | None = None

    @property
    def lossless(self) -> bool:
        """Whether nothing but the way numbers are written has changed."""
        return self.coordinate_decimals is None and self.max_points_per_part is None and not self.n_dropped

    @property
    def n_dropped(self) -> int:
        """Detections that were dropped."""
        return self.n_annotations_before - self.n_annotations

    def lines(self) -> list[str]:
        """The report in sentences."""
        lines = [f"{self.n_bytes:,} bytes (limit {self.max_bytes:,})"]
        if self.lossless:
            lines.append("nothing lost: the text was only written more compactly")
        if self.coordinate_decimals is not None:
            lines.append(
                f"coordinates rounded to {self.coordinate_decimals} decimals, energies to {self.energy_digits} digits"
            )
        if self.max_points_per_part is not None:
            lines.append(
                f"at most {self.max_points_per_part} points in each part: {self.n_points:,} of "
                f"{self.n_points_before:,} points kept"
            )
        if self.n_dropped:
            lines.append(
                f"{self.n_dropped:,} of {self.n_annotations_before:,} detections dropped, "
                f"scores up to {self.highest_dropped_score:g}"
            )
        return lines


def compress_submission(
    table: AnnotationTable,
    *,
    max_bytes: int = MAX_SUBMISSION_BYTES,
    min_points: int = MIN_POINTS,
    progress: Progress = no_progress,
) -> tuple[AnnotationTable, CompressionReport]:
    """Make a submission fit.

    Parameters
    ----------
    table : AnnotationTable
        Predictions; an absent score counts as 0 (as in the evaluator) and stays absent. Not changed.
    max_bytes : int
        Largest size of the text that ``write_submission_json`` writes (before gzip).
    min_points : int
        Thinning stops here, then detections are dropped; at least 3.
    progress : Progress
        Called while points are ranked.

    Notes
    -----
    Packed points (:mod:`sai_core.annotations._packed`) are unpacked a block at a time, and only as many points of a
    part are put in order as could fit: a submission of a gigabyte needs a fraction of that in memory.

    Returns
    -------
    compressed : AnnotationTable
        Annotations, parts and points in their old order; the same object if it fitted.
    report : CompressionReport
        What was lost, and the exact size.

    Raises
    ------
    InputError
        A limit below that of an empty file, ``min_points`` below 3, or a table that cannot be written.
    """
    if max_bytes < _EMPTY_BYTES:
        raise InputError(f"max_bytes is {max_bytes}; an empty submission alone has {_EMPTY_BYTES} bytes.")
    if min_points < 3:
        raise InputError(f"min_points is {min_points}; a region needs at least 3 points.")
    size = _text_size(table, max_bytes)
    if size is not None:
        return table, _report(table, table, max_bytes, size)
    shorter = _rounded_scores(table)
    frame_bytes = _frame_bytes(shorter)
    decimals, digits = _ROUNDINGS[-1]
    # where not even the shortest numbers would fit, no rounding needs a look
    for decimals, digits in _ROUNDINGS if _SHORTEST_POINT * table.n_points <= 1.1 * max_bytes else ():
        # the estimate saves writing a large table three times; close calls are decided by writing
        if _estimate(shorter, decimals, digits).sum() + frame_bytes > 1.1 * max_bytes:
            continue
        candidate = _rounded_points(shorter, decimals, digits)
        size = _text_size(candidate, max_bytes)
        if size is not None:
            return candidate, _report(
                table, candidate, max_bytes, size, coordinate_decimals=decimals, energy_digits=digits
            )
    budget = max_bytes - frame_bytes
    leading = _leading_points(shorter, max(_most_points(shorter, budget), min_points), progress)
    lengths = _estimate(_replaced(shorter, **leading.columns(shorter)), decimals, digits)
    limit = _largest_limit(leading.rank, lengths, budget, min_points)
    while True:
        candidate = _rounded_points(_thinned(shorter, leading, limit), decimals, digits)
        size = _text_size(candidate, max_bytes)
        if size is not None or limit == min_points:
            break
        limit -= 1
    if size is None:
        candidate, size = _without_lowest(candidate, max_bytes)
    kept = len(candidate)
    dropped = None
    if kept < len(table):
        scores = np.sort(np.nan_to_num(table.score, nan=0.0))
        dropped = float(scores[len(table) - kept - 1])
    return candidate, _report(
        table,
        candidate,
        max_bytes,
        size,
        coordinate_decimals=decimals,
        energy_digits=digits,
        max_points_per_part=limit,
        highest_dropped_score=dropped,
    )


def _report(
    before: AnnotationTable,
    after: AnnotationTable,
    max_bytes: int,
    n_bytes: int,
    *,
    coordinate_decimals: int | None = None,
    energy_digits: int | None = None,
    max_points_per_part: int | None = None,
    highest_dropped_score: float | None = None,
) -> CompressionReport:
    return CompressionReport(
        max_bytes,
        n_bytes,
        len(before),
        len(after),
        before.n_points,
        after.n_points,
        coordinate_decimals,
        energy_digits,
        max_points_per_part,
        highest_dropped_score,
    )


def _text_size(table: AnnotationTable, max_bytes: int) -> int | None:
    """Exact size of the text, or None as soon as it is known to be over the limit."""
    size = 0
    for piece in submission_pieces(table):
        size += len(piece)
        if size > max_bytes:
            return None
    return size


_POINT_COLUMNS: Final = ("points_xy", "energy")


def _replaced(table: AnnotationTable, **columns: npt.NDArray) -> AnnotationTable:
    names = (
        "frame",
        "category_id",
        "instance_id",
        "distance_cm",
        "score",
        "polygon_offsets",
        "point_offsets",
    )
    others: dict[str, Any] = {name: columns.get(name, getattr(table, name)) for name in names}
    if not columns.keys() & set(_POINT_COLUMNS) and (packed := table._packed) is not None:
        return AnnotationTable.of_packed(table.recording, others, packed)
    points: dict[str, Any] = {name: columns.get(name) for name in _POINT_COLUMNS}
    points = {name: getattr(table, name) if values is None else values for name, values in points.items()}
    return AnnotationTable(table.recording, **others, **points)


def _rounded_scores(table: AnnotationTable) -> AnnotationTable:
    """Scores with as few decimals as keep different scores different; distances to a tenth of a millimetre."""
    n_different = len(np.unique(table.score))
    score = table.score
    for decimals in range(4, 12):
        shorter = rounded(table.score, decimals)
        if len(np.unique(shorter)) == n_different:
            score = shorter
            break
    return _replaced(table, score=score, distance_cm=rounded(table.distance_cm, 2))


def _energy_decimals(table: AnnotationTable, digits: int) -> npt.NDArray[np.int64]:
    """Decimals for each annotation that leave its peak so many digits; at least ``digits``, at most 15.

    Relative to the peak because the evaluator divides each annotation's map by it: a faint annotation needs as many
    digits as a strong one.
    """
    bounds = table.point_offsets[table.polygon_offsets]
    peak = np.ones(len(table))
    for rows, points in point_blocks(table):
        filled = rows.start + np.flatnonzero(np.diff(bounds[rows.start : rows.stop + 1]))
        if len(filled):
            peak[filled] = np.maximum.reduceat(table.energy_of(points), bounds[filled] - points.start)
    exponent = np.floor(np.log10(np.where(peak > 1e-12, peak, 1.0))).astype(np.int64)
    return np.clip(digits - 1 - exponent, digits, 15)


def _per_point(table: AnnotationTable, values: npt.NDArray) -> npt.NDArray:
    return np.repeat(values, np.diff(table.point_offsets[table.polygon_offsets]))


def _rounded_points(table: AnnotationTable, decimals: int, digits: int) -> AnnotationTable:
    energy_decimals = _per_point(table, _energy_decimals(table, digits))
    return _replaced(table, points_xy=rounded(table.points_xy, decimals), energy=rounded(table.energy, energy_decimals))


def _frame_bytes(table: AnnotationTable) -> int:
    """Size of the text without its points (exact)."""
    empty = _replaced(
        table,
        point_offsets=np.zeros_like(table.point_offsets),
        points_xy=np.zeros((0, 2)),
        energy=np.zeros(0),
    )
    return sum(len(piece) for piece in submission_pieces(empty))


def _estimate(table: AnnotationTable, decimals: int, digits: int) -> npt.NDArray[np.uint8]:
    """Bytes that each point's text will have after rounding, with its comma (a little off for tiny energies)."""
    result = np.empty(table.n_points, dtype=np.uint8)
    energy_decimals = _per_point(table, _energy_decimals(table, digits).astype(np.int8))
    for start in range(0, table.n_points, _CHUNK_POINTS):
        part = slice(start, start + _CHUNK_POINTS)
        xy = table.xy_of(part)
        length = _number_lengths(xy[:, 0], np.int64(decimals)) + _number_lengths(xy[:, 1], np.int64(decimals))
        length += _number_lengths(table.energy_of(part), energy_decimals[part].astype(np.int64))
        # brackets, two commas inside, one behind
        result[part] = np.minimum(length + 5, 255)
    return result


def _number_lengths(values: npt.NDArray[np.float64], decimals: npt.NDArray | np.int64) -> npt.NDArray[np.int64]:
    """Characters of numbers written with at most so many decimals, zeros at the end left out."""
    scaled = np.round(np.minimum(np.abs(values), 1e12) * 10.0**decimals)
    whole = np.floor(scaled / 10.0**decimals)
    shown = np.broadcast_to(decimals, values.shape).astype(np.int64)
    for _ in range(int(np.max(decimals, initial=0))):
        shorter = (shown > 0) & (np.mod(scaled, 10.0) == 0)
        if not shorter.any():
            break
        scaled = np.where(shorter, scaled / 10.0, scaled)
        shown = shown - shorter
    digits = np.floor(np.log10(np.maximum(whole, 1.0))).astype(np.int64) + 1
    return digits + np.where(shown > 0, shown + 1, 0) + ((values < 0) & (scaled > 0))


@dataclass(frozen=True)
class _Leading:
    """The points of a table that thinning may keep: those that matter most in their part.

    Attributes
    ----------
    offsets : int64, shape (n_parts + 1,)
        Part ``p`` has the entries ``offsets[p]:offsets[p + 1]``.
    index : int64, shape (k,)
        Points of the table, rising.
    rank : int32, shape (k,)
        Place of each in the order of importance within its part (0 first).
    """

    offsets: npt.NDArray[np.int64]
    index: npt.NDArray[np.int64]
    rank: npt.NDArray[np.int32]

    def columns(self, table: AnnotationTable) -> dict[str, npt.NDArray]:
        """Columns of the table with these points alone."""
        return {
            "point_offsets": self.offsets,
            "points_xy": table.xy_of(self.index),
            "energy": table.energy_of(self.index),
        }


def _most_points(table: AnnotationTable, budget: int) -> int:
    """A number of points in each part that surely does not fit with one more, however short their numbers are."""
    counts = np.diff(table.point_offsets)
    # parts with at least 1, 2, ... points: how many points each further rank adds
    longer = len(counts) - np.cumsum(np.bincount(counts))
    return int(np.searchsorted(_SHORTEST_POINT * np.cumsum(longer), budget, side="right")) + 1


def _leading_points(table: AnnotationTable, most: int, progress: Progress) -> _Leading:
    """At most ``most`` points of each part, a block of the table at a time."""
    n_parts = len(table.point_offsets) - 1
    offsets = np.zeros(n_parts + 1, np.int64)
    np.cumsum(np.minimum(np.diff(table.point_offsets), most), out=offsets[1:])
    index, rank = np.empty(offsets[-1], np.int64), np.empty(offsets[-1], np.int32)
    for rows, points in point_blocks(table):
        xy, energy = table.xy_of(points), table.energy_of(points)
        first, last = (int(table.polygon_offsets[row]) for row in (rows.start, rows.stop))
        bounds = (table.point_offsets[first : last + 1] - points.start).tolist()
        for part, (start, stop) in zip(range(first, last), pairwise(bounds), strict=True):
            order = np.arange(stop - start)
            if stop - start > 3:
                order = importance_order(xy[start:stop], energy[start:stop], most=most)
            in_file = np.argsort(order)
            place = slice(int(offsets[part]), int(offsets[part + 1]))
            index[place] = points.start + start + order[in_file]
            rank[place] = in_file
            if part % 256 == 0:
                progress(part / n_parts, "choosing points")
    return _Leading(offsets, index, rank)


def importance_order(
    points_xy: npt.NDArray[np.float64], energy: npt.NDArray[np.float64], *, most: int | None = None
) -> npt.NDArray[np.int64]:
    """Indices of a part's points, those first that matter most to its rendered map (evaluator of 2026-06-30).

    Parameters
    ----------
    points_xy : float, shape (n, 2)
        Canvas coordinates (label grid); a part over the seam is made contiguous here.
    energy : float, shape (n,)
    most : int, optional
        Only the first so many.

    Returns
    -------
    int64, shape (n,) or (min(n, most),)
        A permutation, or its beginning. Every beginning of it of three or more points that are not collinear spans a
        region: the peak, then corners of the convex hull and points far from all before, in turn (farthest-point
        sampling), then the rest by energy.
    """
    n = len(energy)
    wanted = n if most is None else min(n, most)
    if n == 0:
        return np.zeros(0, dtype=np.int64)
    xy = np.column_stack([unwrap_columns(points_xy[:, 0]), points_xy[:, 1]])
    extent = max(float(np.ptp(xy, axis=0).max()), 1e-9)
    peak = max(float(energy.max()), 1e-12)
    # a row each: sums over the short axis of columns would take most of the time
    features = np.vstack([xy.T / extent, _ENERGY_WEIGHT * np.clip(energy, -peak, peak) / peak])
    is_corner = np.zeros(n, dtype=bool)
    is_corner[convex_hull(xy)] = True
    corner_distance = np.where(is_corner, np.inf, -1.0)
    feature_distance = np.full(n, np.inf)
    order: list[int] = []
    apart, squared = np.empty((3, n)), np.empty(n)

    def take(index: int) -> None:
        order.append(index)
        np.subtract(features, features[:, index, None], out=apart)
        np.multiply(apart, apart, out=apart)
        np.add(apart[0], apart[1], out=squared)
        np.minimum(corner_distance, squared, out=corner_distance)
        np.add(squared, apart[2], out=squared)
        np.minimum(feature_distance, squared, out=feature_distance)
        feature_distance[index] = -1.0
        is_corner[index] = False
        corner_distance[index] = -1.0

    take(int(np.argmax(energy)))
    n_corners = int(is_corner.sum())
    while len(order) < min(wanted, _SPREAD_POINTS):
        if n_corners and (len(order) <= _LEADING_CORNERS or len(order) % 2 == 0):
            index = int(np.argmax(corner_distance))
            n_corners -= 1
        else:
            index = int(np.argmax(feature_distance))
            n_corners -= int(is_corner[index])
        take(index)
    if len(order) == wanted:
        return np.array(order, dtype=np.int64)
    taken = np.zeros(n, dtype=bool)
    taken[order] = True
    rest = np.argsort(-energy, kind="stable")
    return np.concatenate([np.array(order, dtype=np.int64), rest[~taken[rest]]])[:wanted]


def _largest_limit(ranks: npt.NDArray[np.int32], lengths: npt.NDArray[np.uint8], budget: int, min_points: int) -> int:
    """Largest number of points per part whose text fits into the budget; at least ``min_points``."""
    by_rank = np.bincount(ranks, weights=lengths, minlength=1)
    # limit K keeps ranks 0..K-1
    return max(int(np.searchsorted(np.cumsum(by_rank), budget, side="right")), min_points)


def _thinned(table: AnnotationTable, leading: _Leading, limit: int) -> AnnotationTable:
    keep = leading.rank < limit
    kept = np.concatenate([[0], np.cumsum(keep)])[leading.offsets]
    index = leading.index[keep]
    xy = table.xy_of(index)
    pieces: list[npt.NDArray[np.int64]] = []
    done = 0
    counts = np.diff(kept)
    for part in np.flatnonzero(np.diff(table.point_offsets) > limit).tolist():
        start, stop = int(kept[part]), int(kept[part + 1])
        if renders(xy[start:stop]):
            continue
        whole = np.arange(table.point_offsets[part], table.point_offsets[part + 1])
        if renders(table.xy_of(slice(int(whole[0]), int(whole[-1]) + 1))):
            pieces += [index[done:start], whole]
            counts[part], done = len(whole), stop
    index = np.concatenate([*pieces, index[done:]])
    return _replaced(
        table,
        point_offsets=np.concatenate([[0], np.cumsum(counts)]),
        points_xy=table.xy_of(index),
        energy=table.energy_of(index),
    )


def renders(points_xy: npt.NDArray[np.float64]) -> bool:
    """Whether the convex hull of a part covers a pixel of the 100 x 50 canvas of the evaluator of 2026-06-30.

    Parameters
    ----------
    points_xy : float, shape (n, 2)
        Canvas coordinates (label grid). Fewer than three points are painted as pixels and always render.
    """
    if len(points_xy) < 3:
        return len(points_xy) > 0
    xy = np.column_stack([unwrap_columns(points_xy[:, 0]), points_xy[:, 1]])
    xy = xy * np.array([_METRIC_WIDTH / ERP_WIDTH, _METRIC_HEIGHT / ERP_HEIGHT])
    hull = xy[convex_hull(xy)]
    if len(hull) < 3:
        # on a line: painted as pixels when it is parallel to an axis
        return bool(np.any(np.ptp(xy, axis=0) == 0))
    low, high = np.ceil(hull.min(axis=0)), np.floor(np.minimum(hull.max(axis=0), [1e9, _METRIC_HEIGHT - 1]))
    columns, rows = np.meshgrid(np.arange(low[0], high[0] + 1), np.arange(low[1], high[1] + 1))
    if not columns.size:
        return False
    pixels = np.column_stack([columns.reshape(-1), rows.reshape(-1)])
    edges = np.roll(hull, -1, axis=0) - hull
    offsets = pixels[:, None, :] - hull[None, :, :]
    side = edges[None, :, 0] * offsets[:, :, 1] - edges[None, :, 1] * offsets[:, :, 0]
    # strictly inside: an edge pixel may be lost to rounding
    return bool(np.any(np.all(side > _INSIDE, axis=1)))


def _without_lowest(table: AnnotationTable, max_bytes: int) -> tuple[AnnotationTable, int]:
    """Drop the detections with the lowest scores; of equal scores, the later ones first."""
    lengths = np.array([len(piece) for piece in submission_pieces(table)][:-1], dtype=np.int64)
    # every piece but the first begins with a comma, the first with the head of the file
    lengths[0] -= len(b'{"annotations":[') - 1
    order = np.argsort(-np.nan_to_num(table.score, nan=0.0), kind="stable")
    total = np.cumsum(lengths[order]) + _EMPTY_BYTES - 1
    n_kept = int(np.searchsorted(total, max_bytes, side="right"))
    kept = table.take(np.sort(order[:n_kept]))
    size = _text_size(kept, max_bytes)
    assert size is not None
    return kept, size
