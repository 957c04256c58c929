"""Several submissions of a recording to one: regions that point the same way become one region.

Frame by frame and class by class, best first (weight times score), a detection joins the nearest cluster within the
radius that has none of its system yet, or begins one; so two detections of one system never become one. A cluster of
one detection, or of detections with the same region, keeps that region to the last digit. Of others each region is
turned on the sphere until its middle lies on the cluster's (weighted mean direction), and the mean of the maps is
written as the detectors that ship write theirs (:mod:`sai_core.postprocess.export`, ``region``).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Annotated, Any, Final, Literal

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from sai_core.annotations.table import AnnotationTable, gather_ranges
from sai_core.errors import InputError
from sai_core.geometry import directions_to_vectors, vectors_to_directions
from sai_core.metrics.evaluation.oracles import middles, turned
from sai_core.metrics.official.directions import annotation_point_offsets
from sai_core.metrics.official.rendering_0630 import MAP_HEIGHT, MAP_WIDTH, N_PIXELS, render_table_0630
from sai_core.postprocess.export import write_pixels
from sai_core.settings import Settings, about
from sai_core.taxonomy import N_CLASSES

Int64 = npt.NDArray[np.int64]
Float64 = npt.NDArray[np.float64]

_DECIMALS: Final[int] = 9
"""Of scores: what the finest systems write (:func:`sai_core.postprocess.pipeline.annotate`)."""

_LEAST: Final[float] = 1e-9
"""Weight in means of a detection with score 0."""

_CHUNK: Final[int] = 2000
"""Fused regions made at once: 80 MB of maps."""


@dataclass(frozen=True, kw_only=True)
class FusionSettings(Settings):
    """How detections become one."""

    radius_deg: Annotated[
        float,
        about(
            "largest angle between the middles of a detection and of a cluster that it joins",
            label="Radius",
            unit="degrees",
            ge=0,
            le=180,
        ),
    ] = 20.0
    absent: Annotated[
        float,
        about(
            "how much the weight of a system counts in the mean score that has the recording but not the detection: 0 "
            "asks nobody who is not there, 1 counts silence as a score of 0",
            label="Silence counts",
            ge=0,
            le=1,
        ),
    ] = 0.5
    level: Annotated[
        float,
        about("smallest energy of a fused region's pixels, as a share of its peak", label="Region level", ge=0, lt=1),
    ] = 0.2
    region: Annotated[
        Literal["mean", "heaviest"],
        about(
            "region of what became one: the mean of the members' maps by weight times score, or the region of the "
            "system with the largest weight (the others then have a say in score, distance and class only)",
            label="Region",
        ),
    ] = "mean"
    class_votes: Annotated[
        bool,
        about(
            "detections of different classes join, too, and the class with the largest sum of weight times score wins; "
            "who says otherwise counts as a score of 0",
            label="Vote on the class",
        ),
    ] = False


@dataclass(frozen=True, eq=False)
class Clusters:
    """Which detections became one.

    Attributes
    ----------
    system, row : int64, shape (n,)
        Each detection that has a weight: its system, and its row there; by cluster, the strongest first.
    offsets : int64, shape (n_clusters + 1,)
        Cluster ``i`` owns the detections ``offsets[i]:offsets[i + 1]``. Clusters are ordered by frame, then by the
        first system that has a detection in them and its row.
    """

    system: Int64
    row: Int64
    offsets: Int64

    def __len__(self) -> int:
        return len(self.offsets) - 1


def fuse_tables(
    tables: Sequence[AnnotationTable | None], weights: Sequence[float], settings: FusionSettings | None = None
) -> AnnotationTable:
    """One table of several of the same recording.

    Parameters
    ----------
    tables : sequence of AnnotationTable or None
        One a system; None for a system without this recording, which then has no say.
    weights : sequence of float
        One a system, at least 0; a system of weight 0 has no say.
    settings : FusionSettings, optional

    Returns
    -------
    AnnotationTable
        Score: mean of the members' scores by weight. Distance: mean by weight times score, of those that have one.
        Instances: as the first of the systems numbers them that has the detection, later systems above the numbers of
        those before. The same tables again are the table, in its order.

    Raises
    ------
    InputError
        Weights that do not fit, no table, a score that is missing.
    """
    settings = settings or FusionSettings()
    parts, weight = with_a_say(tables, weights)
    return joined(parts, weight, cluster(parts, weight, settings), settings)


def with_a_say(
    tables: Sequence[AnnotationTable | None], weights: Sequence[float]
) -> tuple[list[AnnotationTable], Float64]:
    """Tables of systems that have the recording and a weight, and those weights.

    Raises
    ------
    InputError
        As :func:`fuse_tables`.
    """
    share = check_weights(weights, len(tables))
    found = [table for table in tables if table is not None]
    if not found:
        raise InputError("There is no table to fuse.")
    there = [k for k, table in enumerate(tables) if table is not None and share[k] > 0]
    parts = [table for table in (tables[k] for k in there) if table is not None]
    for part in parts:
        if np.isnan(part.score).any():
            raise InputError(f"{part.recording}: has annotations without a score; labels cannot be fused.")
    if not parts:  # a recording that only systems without a weight have
        return [AnnotationTable.empty(found[0].recording)], np.ones(1)
    return parts, share[there]


def check_weights(weights: Sequence[float], n: int) -> Float64:
    """Weights as an array.

    Raises
    ------
    InputError
        Another number than of systems, one that is negative or not finite, all 0.
    """
    share = np.asarray(weights, dtype=np.float64)
    if share.shape != (n,):
        raise InputError(f"{len(share)} weights do not fit {n} systems; give one for each.")
    if not np.isfinite(share).all() or (share < 0).any() or not share.any():
        raise InputError("Weights must be numbers of at least 0, one of them above.")
    return share


def cluster(parts: Sequence[AnnotationTable], weight: Float64, settings: FusionSettings) -> Clusters:
    """Which detections of several systems belong together (module docstring)."""
    system = np.repeat(np.arange(len(parts)), [len(p) for p in parts])
    row = np.concatenate([np.arange(len(p)) for p in parts])
    frame = np.concatenate([p.frame for p in parts]).astype(np.int64)
    category = np.concatenate([p.category_id for p in parts]).astype(np.int64)
    score = np.concatenate([p.score for p in parts])
    strength = weight[system] * score
    vector = np.concatenate([_middle_vectors(p) for p in parts])
    group = frame if settings.class_votes else frame * N_CLASSES + category
    order = np.lexsort((row, system, -strength, group))
    limit = float(np.cos(np.deg2rad(settings.radius_deg))) - 1e-12
    number = np.empty(len(order), np.int64)
    n = 0
    starts = np.flatnonzero(np.diff(group[order], prepend=-1))
    for start, stop in pairwise([*starts.tolist(), len(order)]):
        sums: list[Float64] = []
        owners: list[set[int]] = []
        seeds: list[float] = []
        for at in order[start:stop].tolist():
            best, nearest = -1, (limit, 0.0)
            for k, total in enumerate(sums):
                if int(system[at]) in owners[k]:
                    continue
                cosine = float(total @ vector[at]) / max(float(np.sqrt(total @ total)), 1e-12)
                # of clusters in the same place the one with the likest score: copies find each other
                rank = (round(cosine, 12), -abs(seeds[k] - float(score[at])))
                if cosine >= limit and (best < 0 or rank > nearest):
                    best, nearest = k, rank
            if best < 0:
                best = len(sums)
                sums.append(np.zeros(3))
                owners.append(set())
                seeds.append(float(score[at]))
            sums[best] = sums[best] + max(float(strength[at]), _LEAST) * vector[at]
            owners[best].add(int(system[at]))
            number[at] = n + best
        n += len(sums)
    # clusters by frame, then as the first system that has one orders them
    first = np.full(n, np.iinfo(np.int64).max)
    key = (frame * len(parts) + system) * (max(map(len, parts), default=0) + 1) + row
    np.minimum.at(first, number, key)
    rank_of = np.empty(n, np.int64)
    rank_of[np.argsort(first)] = np.arange(n)
    place = rank_of[number]
    members = np.lexsort((row, system, -strength, place))
    offsets = np.searchsorted(place[members], np.arange(n + 1)).astype(np.int64)
    return Clusters(system[members], row[members], offsets)


def _middle_vectors(table: AnnotationTable) -> Float64:
    offsets = annotation_point_offsets(table)
    owner = np.repeat(np.arange(len(table)), np.diff(offsets))
    return directions_to_vectors(*middles(table.points_xy[offsets[0] : offsets[-1]], owner, len(table)))


def mean_scores(
    parts: Sequence[AnnotationTable], weight: Float64, clusters: Clusters, absent: float
) -> tuple[Float64, Int64]:
    """Score and class of each cluster, shape (n_clusters,); ``absent`` as in :class:`FusionSettings`."""
    n = len(clusters)
    owner = np.repeat(np.arange(n), np.diff(clusters.offsets))
    before = np.cumsum([0, *(len(p) for p in parts)])
    member = before[clusters.system] + clusters.row
    member_score = np.concatenate([p.score for p in parts])[member]
    category = np.concatenate([p.category_id for p in parts])[member].astype(np.int64)
    w = weight[clusters.system]
    votes = np.zeros((n, N_CLASSES))
    np.add.at(votes, (owner, category), np.maximum(w * member_score, _LEAST))
    winner = votes.argmax(axis=1) if n else np.zeros(0, np.int64)
    total = np.bincount(owner, weights=w, minlength=n)
    silent = np.maximum(weight.sum() - total, 0.0)
    score = np.bincount(owner, weights=np.where(category == winner[owner], w * member_score, 0.0), minlength=n)
    return np.round(score / (total + absent * silent), _DECIMALS), winner


def joined(
    parts: Sequence[AnnotationTable], weight: Float64, clusters: Clusters, settings: FusionSettings
) -> AnnotationTable:
    """The table of clusters (:func:`fuse_tables` says what is in it)."""
    n = len(clusters)
    score, winner = mean_scores(parts, weight, clusters, settings.absent)
    every = _concatenated(parts)
    before = np.cumsum([0, *(len(p) for p in parts)])
    member = before[clusters.system] + clusters.row
    owner = np.repeat(np.arange(n), np.diff(clusters.offsets))
    strength = np.maximum(weight[clusters.system] * every.score[member], _LEAST)

    cm = every.distance_cm[member]
    has = ~np.isnan(cm)
    sum_of = np.bincount(owner[has], weights=(strength * cm)[has], minlength=n)
    count = np.bincount(owner[has], weights=strength[has], minlength=n)
    distance = np.where(count > 0, np.round(sum_of / np.maximum(count, 1e-300), 4), np.nan)
    # one number only is that number, to the last digit
    single = np.flatnonzero(np.diff(clusters.offsets) == 1)
    distance[single] = cm[clusters.offsets[single]]

    # instances of later systems lie above those of the systems before
    above = np.cumsum([0, *(int(p.instance_id.max(initial=-1)) + 1 for p in parts)])
    of_first = np.lexsort((clusters.system, owner))[clusters.offsets[:-1]]
    own = every.instance_id[member[of_first]]
    instance = np.where(own < 0, own, own + above[clusters.system[of_first]])

    region = _regions(every, member, owner, strength, clusters, settings)
    # kept regions first (of the heaviest member, of equals the strongest), made ones behind
    heaviest = np.lexsort((np.arange(len(member)), -weight[clusters.system], owner))[clusters.offsets[:-1]]
    kept = member[heaviest]
    source = np.where(region.of < 0, kept, len(every) + region.of)
    both = _concatenated([every, region.table])
    polygons, polygon_offsets = gather_ranges(both.polygon_offsets, source)
    points, point_offsets = gather_ranges(both.point_offsets, polygons)
    return AnnotationTable(
        every.recording,
        np.concatenate([p.frame for p in parts])[kept],
        winner.astype(np.int16),
        instance,
        distance,
        score,
        polygon_offsets,
        point_offsets,
        both.points_xy[points],
        both.energy[points],
    )


@dataclass(frozen=True, eq=False)
class _Made:
    """Regions that were made: their table, and which of them belongs to each cluster (-1: it keeps its own)."""

    table: AnnotationTable
    of: Int64


def _regions(
    every: AnnotationTable,
    member: Int64,
    owner: Int64,
    strength: Float64,
    clusters: Clusters,
    settings: FusionSettings,
) -> _Made:
    of = np.full(len(clusters), -1, np.int64)
    several = np.flatnonzero((np.diff(clusters.offsets) > 1) & (settings.region == "mean"))
    different = np.array(
        [k for k in several.tolist() if not _all_equal(every, member[clusters.offsets[k] : clusters.offsets[k + 1]])],
        np.int64,
    )
    made: list[AnnotationTable] = []
    n_made = 0
    for start in range(0, len(different), _CHUNK):
        some = different[start : start + _CHUNK]
        rows, offsets = gather_ranges(clusters.offsets, some)
        table, drawn = _mean_regions(
            every, member[rows], np.repeat(np.arange(len(some)), np.diff(offsets)), strength[rows], settings.level
        )
        made.append(table)
        of[some[drawn]] = n_made + np.arange(len(drawn))
        n_made += len(drawn)
    return _Made(_concatenated(made) if made else AnnotationTable.empty(every.recording), of)


def _all_equal(table: AnnotationTable, rows: Int64) -> bool:
    """Whether annotations have the same points and energies in the same order."""
    (first_xy, first_energy), *others = (table.points(int(row)) for row in rows)
    return all(np.array_equal(first_xy, xy) and np.array_equal(first_energy, energy) for xy, energy in others)


def _mean_regions(
    every: AnnotationTable, member: Int64, owner: Int64, strength: Float64, level: float
) -> tuple[AnnotationTable, Int64]:
    """Mean region of each owner, and the owners that have one (all but those whose members are rendered as nothing)."""
    n = int(owner.max()) + 1
    polygons, polygon_offsets = gather_ranges(every.polygon_offsets, member)
    points, point_offsets = gather_ranges(every.point_offsets, polygons)
    xy, energy = every.points_xy[points], every.energy[points]
    per_member = np.diff(point_offsets[polygon_offsets])
    of_point = np.repeat(np.arange(len(member)), per_member)
    vectors = directions_to_vectors(*middles(xy, of_point, len(member)))
    mean = np.stack([np.bincount(owner, weights=strength * v, minlength=n) for v in vectors.T], axis=1)
    mean[~mean.any(axis=1)] = (1.0, 0.0, 0.0)
    azimuth, elevation = vectors_to_directions(mean)
    xy = turned(xy, of_point, azimuth[owner], elevation[owner])
    maps = render_table_0630(
        AnnotationTable(
            every.recording,
            np.zeros(len(member), np.int32),
            np.zeros(len(member), np.int16),
            np.arange(len(member)),
            np.full(len(member), np.nan),
            np.ones(len(member)),
            polygon_offsets,
            point_offsets,
            xy,
            energy,
        )
    )
    has_pixels = np.diff(maps.offsets) > 0
    peak = np.zeros(len(member))
    np.maximum.at(peak, of_point, energy)
    share = np.where(has_pixels, strength, 0.0)
    total = np.bincount(owner, weights=share, minlength=n)
    of_entry = np.repeat(np.arange(len(member)), np.diff(maps.offsets))
    of_pixel = owner[of_entry] * N_PIXELS + maps.pixels
    flat = np.bincount(of_pixel, weights=share[of_entry] * maps.values, minlength=n * N_PIXELS).astype(np.float64)
    field = flat.reshape(n, N_PIXELS)
    drawn = np.flatnonzero((total > 0) & (field.max(axis=1, initial=0.0) > 0))
    field = field[drawn] / total[drawn, None]
    # energies as the members have them, whose maps have a peak of 1
    strength_of = np.bincount(owner, weights=share * peak, minlength=n)[drawn] / total[drawn]
    field *= (strength_of / field.max(axis=1))[:, None]
    made, pixel = np.nonzero(field >= level * field.max(axis=1, keepdims=True) + 1e-12)
    row_of, column = np.divmod(pixel, MAP_WIDTH)
    unrolled = column + _beyond_seam(made, column, len(drawn))
    part = _parts(made, unrolled, row_of, len(drawn))
    regions = write_pixels(made, part, unrolled, row_of, field[made, pixel], n=len(drawn))
    m = len(drawn)
    table = AnnotationTable(
        every.recording,
        np.zeros(m, np.int32),
        np.zeros(m, np.int16),
        np.arange(m),
        np.full(m, np.nan),
        np.ones(m),
        regions.polygon_offsets,
        regions.point_offsets,
        regions.points_xy,
        regions.energy,
    )
    return table, drawn


def _beyond_seam(owner: Int64, column: Int64, n: int) -> Int64:
    """What to add to each pixel's column, so that the widest empty stretch of its region lies outside: 0 or 100."""
    used = np.zeros((n, MAP_WIDTH), np.bool_)
    used[owner, column] = True
    cut = np.zeros(n, np.int64)
    for k in range(n):
        at = np.flatnonzero(used[k])
        gaps = np.diff(np.append(at, at[0] + MAP_WIDTH))
        cut[k] = at[(int(gaps.argmax()) + 1) % len(at)]
    return np.where(column < cut[owner], MAP_WIDTH, 0)


def _parts(owner: Int64, column: Int64, row: Int64, n: int) -> Int64:
    """Connected part of each pixel, numbered from 1 in each region; neighbours touch at edges or corners."""
    mask = np.zeros((n, MAP_HEIGHT, 2 * MAP_WIDTH), np.bool_)
    mask[owner, row, column] = True
    plane = np.zeros((3, 3, 3), np.bool_)
    plane[1] = True
    labelled, _ = ndimage.label(mask, structure=plane)
    number = labelled[owner, row, column].astype(np.int64)
    first = np.full(n, np.iinfo(np.int64).max)
    np.minimum.at(first, owner, number)
    return number - first[owner] + 1


def _concatenated(tables: Sequence[AnnotationTable]) -> AnnotationTable:
    """Annotations of several tables, one behind the other; all in frame 0, since frames would not rise."""
    polygon_offsets = [np.zeros(1, np.int64)]
    point_offsets = [np.zeros(1, np.int64)]
    n_polygons = n_points = 0
    for table in tables:
        polygon_offsets.append(n_polygons + table.polygon_offsets[1:])
        point_offsets.append(n_points + table.point_offsets[1:])
        n_polygons, n_points = n_polygons + len(table.point_offsets) - 1, n_points + table.n_points

    def column(name: str) -> npt.NDArray[Any]:
        return np.concatenate([getattr(table, name) for table in tables])

    return AnnotationTable(
        tables[0].recording,
        np.zeros(sum(map(len, tables)), np.int32),
        column("category_id"),
        column("instance_id"),
        column("distance_cm"),
        column("score"),
        np.concatenate(polygon_offsets),
        np.concatenate(point_offsets),
        column("points_xy"),
        column("energy"),
    )
