"""Canvas, directions and microphone arrays: the one home of every geometric convention.

Directions are azimuth and elevation in degrees: azimuth 0 ahead, growing to the LEFT (+90 = left), range
[-180, 180); elevation +90 up. Unit vectors are x ahead, y left, z up.

The canvas is equirectangular (ERP), ``ERP_WIDTH`` = 360 columns by ``ERP_HEIGHT`` = 180 rows. Azimuth 0 is at the
centre column and grows to the left; elevation +90 is row 0; columns 0 and 359 are neighbours. The official code uses
two grids, and every function here says which one it is on:

* **label grid**: ``x = int((180 - azimuth) mod 360)``, ``y = int(90 - elevation)``, one degree a pixel, pixel *edges*
  at whole degrees (``x = 0`` starts at azimuth +180). Back: ``azimuth = 180 - x``, ``elevation = 90 - y``.
* **projection grid**: ``linspace(180, -180, 360)`` and ``linspace(90, -90, 180)``; poles and both ends of the azimuth
  range are pixel *centres* (columns 0 and 359 are the same direction, 360/359 degrees a column).

Colatitude appears in the capsule table only.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]

ERP_WIDTH: Final[int] = 360
ERP_HEIGHT: Final[int] = 180
FRAME_RATE_HZ: Final[int] = 10
SAMPLE_RATE_HZ: Final[int] = 24_000
SAMPLES_PER_FRAME: Final[int] = SAMPLE_RATE_HZ // FRAME_RATE_HZ
N_LATTICE: Final[int] = 484
"""Points of the Fibonacci lattice of order 10: 4 (10 + 1)^2."""

EM32_RADIUS_M: Final[float] = 0.042
"""Radius of the Eigenmike em32 rigid sphere in metres (manufacturer's figure)."""

_EM32_COLATITUDE_AZIMUTH_DEG: Final[tuple[tuple[int, int], ...]] = (
    (69, 0), (90, 32), (111, 0), (90, 328), (32, 0), (55, 45), (90, 69), (125, 45),
    (148, 0), (125, 315), (90, 291), (55, 315), (21, 91), (58, 90), (121, 90), (159, 89),
    (69, 180), (90, 212), (111, 180), (90, 148), (32, 180), (55, 225), (90, 249), (125, 225),
    (148, 180), (125, 135), (90, 111), (55, 135), (21, 269), (58, 270), (122, 270), (159, 271),
)  # fmt: skip

UPLAM_CAPSULES: Final[tuple[int, int, int, int]] = (5, 9, 25, 21)
"""Zero-based Eigenmike capsules that form the 4-channel (MIC) input."""


def wrap_azimuth_deg(azimuth_deg: npt.ArrayLike) -> FloatArray:
    """Bring azimuths into [-180, 180)."""
    return np.mod(np.asarray(azimuth_deg, dtype=np.float64) + 180.0, 360.0) - 180.0


def direction_to_pixel(
    azimuth_deg: npt.ArrayLike, elevation_deg: npt.ArrayLike
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Pixel of a direction on the label grid (the formula of the STAIRS26 labels).

    Parameters
    ----------
    azimuth_deg, elevation_deg : array_like of float
        Degrees, any azimuth, elevation in [-90, 90]; broadcast against each other.

    Returns
    -------
    x, y : int64
        Column in 0..359 and row in 0..179. Elevation -90, which the plain formula puts on row 180, is given
        row 179 so that the result is always a pixel. In floating point the formula puts 20 whole azimuths and 10
        whole elevations (27, for one: 63 / 180 * 180 < 63) one pixel before; kept, because the labels were made so.
    """
    azimuth, elevation = np.broadcast_arrays(
        np.asarray(azimuth_deg, dtype=np.float64), np.asarray(elevation_deg, dtype=np.float64)
    )
    x = (np.mod(180.0 - azimuth, 360.0) / 360.0 * ERP_WIDTH).astype(np.int64)
    y = ((90.0 - elevation) / 180.0 * ERP_HEIGHT).astype(np.int64)
    # mod of a tiny negative number rounds up to exactly 360 in floating point
    return np.where(x >= ERP_WIDTH, 0, x), np.clip(y, 0, ERP_HEIGHT - 1)


def pixel_to_direction(x: npt.ArrayLike, y: npt.ArrayLike) -> tuple[FloatArray, FloatArray]:
    """Direction of a canvas point on the label grid; :func:`direction_to_pixel` leads back to the point's pixel.

    Parameters
    ----------
    x, y : array_like of float
        Canvas coordinates in [0, 360] x [0, 180]; fractions allowed (add 0.5 for a pixel's centre).

    Returns
    -------
    azimuth_deg, elevation_deg : float64
        Azimuth in [-180, 180) with x = 0 mapped to -180 (the same direction as +180); elevation in [-90, 90].
    """
    azimuth = wrap_azimuth_deg(180.0 - np.asarray(x, dtype=np.float64) / ERP_WIDTH * 360.0)
    elevation = 90.0 - np.asarray(y, dtype=np.float64) / ERP_HEIGHT * 180.0
    return azimuth, elevation


@lru_cache(maxsize=1)
def projection_grid_deg() -> tuple[FloatArray, FloatArray]:
    """Azimuth per column (360,) and elevation per row (180,) of the projection grid, after the official flip.

    The official code builds ``linspace(-180, 180, 360)`` and flips the finished map horizontally; the azimuths
    returned here are those of the flipped map's columns, i.e. they fall from +180 to -180. Read-only arrays.
    """
    azimuth = np.linspace(180.0, -180.0, ERP_WIDTH)
    elevation = np.linspace(90.0, -90.0, ERP_HEIGHT)
    azimuth.flags.writeable = False
    elevation.flags.writeable = False
    return azimuth, elevation


def directions_to_vectors(azimuth_deg: npt.ArrayLike, elevation_deg: npt.ArrayLike) -> FloatArray:
    """Unit vectors (x ahead, y left, z up) of directions; shape ``broadcast + (3,)``, float64."""
    azimuth = np.deg2rad(np.asarray(azimuth_deg, dtype=np.float64))
    elevation = np.deg2rad(np.asarray(elevation_deg, dtype=np.float64))
    azimuth, elevation = np.broadcast_arrays(azimuth, elevation)
    cos_el = np.cos(elevation)
    return np.stack([cos_el * np.cos(azimuth), cos_el * np.sin(azimuth), np.sin(elevation)], axis=-1)


def vectors_to_directions(vectors: npt.ArrayLike) -> tuple[FloatArray, FloatArray]:
    """Azimuth in [-180, 180) and elevation in degrees of vectors of shape (..., 3), of any positive length."""
    v = np.asarray(vectors, dtype=np.float64)
    azimuth = np.rad2deg(np.arctan2(v[..., 1], v[..., 0]))
    elevation = np.rad2deg(np.arctan2(v[..., 2], np.hypot(v[..., 0], v[..., 1])))
    return wrap_azimuth_deg(azimuth), elevation


def great_circle_deg(
    azimuth_a_deg: npt.ArrayLike,
    elevation_a_deg: npt.ArrayLike,
    azimuth_b_deg: npt.ArrayLike,
    elevation_b_deg: npt.ArrayLike,
) -> FloatArray:
    """Angle between directions in degrees, in [0, 180]; seam- and pole-safe; broadcasts.

    Uses the two-argument arctangent form, which keeps full precision for tiny and for opposite angles (the
    arccosine form loses it below about 1e-6 degrees).
    """
    a = directions_to_vectors(azimuth_a_deg, elevation_a_deg)
    b = directions_to_vectors(azimuth_b_deg, elevation_b_deg)
    cross = np.linalg.norm(np.cross(a, b), axis=-1)
    dot = np.sum(a * b, axis=-1)
    return np.rad2deg(np.arctan2(cross, dot))


def unwrap_columns(x: npt.ArrayLike) -> FloatArray:
    """Make the columns of one region contiguous by moving the part left of the seam's gap up by 360.

    The largest gap between neighbouring sorted columns is taken as outside the region; if it exceeds half the
    canvas, every column at or below its left end gets + 360 (the rule of the official evaluator, on the full
    canvas). New array; values in [0, 720).
    """
    columns = np.array(x, dtype=np.float64)
    if columns.size < 2:
        return columns
    ordered = np.unique(columns)
    gaps = np.diff(ordered)
    if gaps.size and gaps.max() > ERP_WIDTH / 2:
        columns[columns <= ordered[int(np.argmax(gaps))]] += ERP_WIDTH
    return columns


@lru_cache(maxsize=1)
def fibonacci_lattice_deg() -> tuple[FloatArray, FloatArray]:
    """Azimuth and elevation in degrees of the 484 lattice points, each shape (484,), read-only.

    ``colatitude_n = arccos(1 - (2 n + 1) / 484)``, ``azimuth_n = 4 pi n / (1 + sqrt 5)``: the order-10 lattice of
    LAM (Roman et al., WASPAA 2025).
    """
    n = np.arange(N_LATTICE)
    elevation = 90.0 - np.rad2deg(np.arccos(1.0 - (2.0 * n + 1.0) / N_LATTICE))
    azimuth = wrap_azimuth_deg(np.rad2deg(4.0 * np.pi * n / (1.0 + np.sqrt(5.0))))
    elevation.flags.writeable = False
    azimuth.flags.writeable = False
    return azimuth, elevation


@lru_cache(maxsize=1)
def em32_capsules_deg() -> tuple[FloatArray, FloatArray]:
    """Azimuth in [-180, 180) and elevation in degrees of the 32 Eigenmike capsules, capsule 1 first, read-only."""
    table = np.array(_EM32_COLATITUDE_AZIMUTH_DEG, dtype=np.float64)
    azimuth = wrap_azimuth_deg(table[:, 1])
    elevation = 90.0 - table[:, 0]
    azimuth.flags.writeable = False
    elevation.flags.writeable = False
    return azimuth, elevation


@lru_cache(maxsize=1)
def uplam_capsules_deg() -> tuple[FloatArray, FloatArray]:
    """Azimuth in [-180, 180) and elevation in degrees of the four capsules :data:`UPLAM_CAPSULES`, (4,), read-only."""
    chosen = list(UPLAM_CAPSULES)
    azimuth, elevation = (values[chosen] for values in em32_capsules_deg())
    azimuth.flags.writeable = False
    elevation.flags.writeable = False
    return azimuth, elevation


def em32_positions_m() -> FloatArray:
    """Capsule positions of the Eigenmike in metres, shape (32, 3), x ahead, y left, z up."""
    return EM32_RADIUS_M * directions_to_vectors(*em32_capsules_deg())
