"""Labels between keyframes: direction on the great circle, region turned with it, energy and distance in between.

A *keyframe* is an annotation of a source in a frame; what is made here are the annotations of the frames between two of
them that have none. Everything is on the **label grid**, regions are fields (:mod:`sai_core.review.regions`).

* The direction is that of the region's centre (mean of its pixels' directions, weighted by energy) and moves on the
  great circle at an even pace; of two opposite directions it goes round by way of the left.
* Each keyframe's region is turned onto that direction as a solid shape on the sphere: in azimuth, then in elevation, so
  that what is upright stays so. Near the poles it gets wider on the canvas, as it must.
* The outline goes over from the first to the second by the mean of their signed distances, the energy by the mean of
  their energies (where only one has a pixel, the other counts as its own weakest one), its peak evenly.
* The distance goes over in a straight line; unknown at one end, it is unknown in between.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from typing import Any, Final

import cv2
import numpy as np
import numpy.typing as npt

from sai_core.geometry import (
    ERP_HEIGHT,
    ERP_WIDTH,
    direction_to_pixel,
    directions_to_vectors,
    pixel_to_direction,
    vectors_to_directions,
)
from sai_core.review.edits import Parts, new_key, parts_to_json
from sai_core.review.regions import Field, Mask, field_to_parts, parts_to_field

MAX_FILLED_FRAMES: Final[int] = 600
"""Most frames between two keyframes: a minute."""

_DECIMALS: Final[int] = 4
_OPPOSITE: Final[float] = 1e-6
Vector = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Keyframe:
    """A source in one frame.

    Attributes
    ----------
    frame, category, instance : int
    distance_cm : float
        NaN where it is not known.
    parts : Parts
        Whole pixels of the label grid.
    """

    frame: int
    category: int
    instance: int
    distance_cm: float
    parts: Parts


def fill(keyframes: Sequence[Keyframe], *, taken: frozenset[int] = frozenset()) -> list[Keyframe]:
    """What lies between neighbouring keyframes.

    Parameters
    ----------
    keyframes : sequence of Keyframe
        Of one source, in any order; of several in one frame the first counts.
    taken : frozenset of int
        Frames in which the source has a label that is no keyframe: nothing is put there.

    Returns
    -------
    list of Keyframe
        One for each frame between the first and the last keyframe that has none, by frame; class and instance of the
        keyframe before. Nothing between two that are more than :data:`MAX_FILLED_FRAMES` apart or have no region.
    """
    by_frame: dict[int, Keyframe] = {}
    for keyframe in keyframes:
        by_frame.setdefault(keyframe.frame, keyframe)
    order = [by_frame[frame] for frame in sorted(by_frame)]
    result = []
    for a, b in pairwise(order):
        frames = [f for f in range(a.frame + 1, b.frame) if f not in taken]
        if not frames or b.frame - a.frame > MAX_FILLED_FRAMES + 1:
            continue
        first, last = parts_to_field(a.parts), parts_to_field(b.parts)
        if np.isnan(first).all() or np.isnan(last).all():
            continue
        for frame in frames:
            t = (frame - a.frame) / (b.frame - a.frame)
            field = between(first, last, t)
            distance = (1 - t) * a.distance_cm + t * b.distance_cm  # NaN at either end stays NaN
            result.append(Keyframe(frame, a.category, a.instance, round(distance, 1), field_to_parts(field)))
    return result


def added(filled: Sequence[Keyframe], uid: str, first: int) -> list[dict[str, Any]]:
    """Annotations of an *add* edit, with keys of a decision from a number on."""
    return [
        {
            "key": new_key(uid, first + number),
            "frame": k.frame,
            "category": k.category,
            "instance": k.instance,
            "distance_cm": None if np.isnan(k.distance_cm) else k.distance_cm,
            "parts": parts_to_json(k.parts),
        }
        for number, k in enumerate(filled)
    ]


def between(a: Field, b: Field, t: float) -> Field:
    """Region between two at a time in [0, 1]; both must have pixels."""
    if np.array_equal(a, b, equal_nan=True):
        return a.copy()
    direction = slerp(centre(a), centre(b), t)
    peak = (1 - t) * float(np.nanmax(a)) + t * float(np.nanmax(b))
    return _mixed(turned(a, direction), turned(b, direction), t, direction, peak)


def centre(field: Field) -> Vector:
    """Unit vector to the middle of a region: mean of its pixels' directions, weighted by energy."""
    known = ~np.isnan(field)
    weights = np.maximum(field[known], 0.0)
    vectors = _grid()[known]
    mean = (vectors * (weights if weights.any() else np.ones_like(weights))[:, None]).sum(axis=0)
    length = float(np.linalg.norm(mean))
    # a ring around the sphere has no middle: its strongest pixel stands for it
    return mean / length if length > _OPPOSITE else vectors[int(np.argmax(weights))]


def slerp(a: Vector, b: Vector, t: float) -> Vector:
    """Unit vector on the great circle from one to another, at an even pace."""
    angle = float(np.arctan2(np.linalg.norm(np.cross(a, b)), np.dot(a, b)))
    if angle < _OPPOSITE:
        return a if t < 0.5 else b
    side = b - np.dot(a, b) * a
    if np.linalg.norm(side) < _OPPOSITE:  # opposite: by way of the left, or of the front from a pole
        side = np.cross([0.0, 0.0, 1.0], a) if np.hypot(a[0], a[1]) > _OPPOSITE else np.array([1.0, 0.0, 0.0])
    side = side / np.linalg.norm(side)
    return np.cos(t * angle) * a + np.sin(t * angle) * side


def turned(field: Field, to: Vector) -> Field:
    """Region with its middle in another direction, as a solid shape on the sphere."""
    at = centre(field)
    if np.dot(at, to) > 1 - 1e-12:
        return field.copy()
    known = ~np.isnan(field)
    reach = float(np.min(_grid()[known] @ at))
    # two pixels more: the nearest pixel is taken
    limit = np.cos(min(np.arccos(np.clip(reach, -1, 1)) + np.deg2rad(2.0), np.pi))
    near = _grid() @ to >= limit
    (azimuth_0, azimuth_1), (elevation_0, elevation_1) = (
        np.deg2rad(v) for v in vectors_to_directions(np.stack([at, to]))
    )
    v = _about_z(_grid()[near], -azimuth_1)
    tilt = elevation_0 - elevation_1
    x, z = v[:, 0], v[:, 2]
    v = np.column_stack([np.cos(tilt) * x - np.sin(tilt) * z, v[:, 1], np.sin(tilt) * x + np.cos(tilt) * z])
    columns, rows = direction_to_pixel(*vectors_to_directions(_about_z(v, azimuth_0)))
    result = np.full_like(field, np.nan)
    result[near] = field[rows, columns]
    if np.isnan(result).all():  # a pixel or two that fell between
        columns, rows = direction_to_pixel(*vectors_to_directions(to))
        result[int(rows), int(columns)] = np.nanmax(field)
    return result


def _about_z(v: Vector, angle: float) -> Vector:
    c, s = np.cos(angle), np.sin(angle)
    return np.column_stack([c * v[:, 0] - s * v[:, 1], s * v[:, 0] + c * v[:, 1], v[:, 2]])


def _mixed(a: Field, b: Field, t: float, direction: Vector, peak: float) -> Field:
    """Between two regions at one place."""
    column = int(direction_to_pixel(*vectors_to_directions(direction))[0])
    roll = ERP_WIDTH // 2 - column  # the seam is where the regions are not
    a, b = np.roll(a, roll, axis=1), np.roll(b, roll, axis=1)
    in_a, in_b = ~np.isnan(a), ~np.isnan(b)
    mask = (1 - t) * _signed_distance(in_a) + t * _signed_distance(in_b) > 0
    if not mask.any():
        mask = in_a if t < 0.5 else in_b
    energy = (1 - t) * np.where(in_a, a, np.nanmin(a)) + t * np.where(in_b, b, np.nanmin(b))
    # the peaks need not lie on each other, or on a pixel's middle: what is strongest goes over evenly all the same
    strongest = float(energy[mask].max())
    if strongest > 0:
        energy = energy * (peak / strongest)
    return np.roll(np.where(mask, np.round(energy, _DECIMALS), np.nan), -roll, axis=1)


def _signed_distance(mask: Mask) -> npt.NDArray[np.float64]:
    """Pixels to the rim: positive inside, negative outside."""
    inside = mask.astype(np.uint8)
    distance = cv2.distanceTransform(inside, cv2.DIST_L2, 5) - cv2.distanceTransform(1 - inside, cv2.DIST_L2, 5)
    return distance.astype(np.float64)


@lru_cache(maxsize=1)
def _grid() -> npt.NDArray[np.float64]:
    """Unit vectors of the pixels' middles, (180, 360, 3); read-only."""
    x, y = np.meshgrid(np.arange(ERP_WIDTH) + 0.5, np.arange(ERP_HEIGHT) + 0.5)
    vectors = directions_to_vectors(*pixel_to_direction(x, y))
    vectors.flags.writeable = False
    return vectors
