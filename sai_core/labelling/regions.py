"""From the canvas to the regions of a metadata row: the third chapter of a label.

A Gaussian around the row's direction, a threshold, filled external contours, a sigmoid.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final

import cv2
import numpy as np
import numpy.typing as npt

from sai_core.geometry import (
    ERP_HEIGHT,
    ERP_WIDTH,
    directions_to_vectors,
)
from sai_core.labelling.interpolation import official_interpolation, spherical_interpolation

FloatArray = npt.NDArray[np.float64]
Part = tuple[npt.NDArray[np.int16], FloatArray]
"""Pixels (n, 2) as x, y and amplitudes (n,) of one connected part of a region."""

GAUSSIAN_SIGMA_DEG: Final[float] = 10.0
AMPLITUDE_THRESHOLD: Final[float] = 4e-5
STANDARD_MEAN: Final[float] = 0.0006132456403200415
STANDARD_DEVIATION: Final[float] = 0.0004943698488906652
"""Mean and deviation of the strongest amplitude of each region of the STARSS23 training set (official constants)."""


def official_regions(lattice: FloatArray, azimuth_deg: float, elevation_deg: float) -> list[Part]:
    """Regions of one metadata row exactly as the official code cuts them.

    Parameters
    ----------
    lattice : float64, shape (484,)
        Median intensity of the frame.
    azimuth_deg, elevation_deg : float
        Direction of the row, degrees; the Gaussian is centred on its truncated pixel, which the official formula
        puts one pixel low for 20 of the 360 whole azimuths and 10 of the whole elevations (rounding of floats).

    Returns
    -------
    parts : list of (pixels int16 (n, 2), amplitude float64 (n,))
        Label grid, pixels row by row; filled holes have amplitude 0. Order of the official contour search. A region
        over the seam has a part on either side; parts of a single pixel are left out.
    """
    centre_x = int(((-azimuth_deg + 180.0) % 360.0) / 360.0 * ERP_WIDTH)
    centre_y = int((90.0 - elevation_deg) / 180.0 * ERP_HEIGHT)
    narrowing = np.cos(np.radians(90.0 - (centre_y / ERP_HEIGHT) * 180.0))
    reach = _reach_deg(lattice)
    if reach < 0:
        return []
    top, bottom = max(centre_y - int(reach), 0), min(centre_y + int(reach) + 1, ERP_HEIGHT)
    if top >= bottom:
        return []
    half = ERP_WIDTH // 2 if abs(narrowing) * (ERP_WIDTH // 2) <= reach else int(reach / abs(narrowing))
    offset = np.arange(-half, min(half + 1, ERP_WIDTH // 2))
    first, last = centre_x + int(offset[0]), centre_x + int(offset[-1]) + 1
    columns = slice(first, last) if first >= 0 and last <= ERP_WIDTH else (centre_x + offset) % ERP_WIDTH
    interpolation = official_interpolation()
    window = np.zeros((bottom - top, offset.size))
    for index, weight in zip(interpolation.index, interpolation.weight, strict=True):
        window += lattice[index[top:bottom, columns]] * weight[top:bottom, columns]
    spread = 2.0 * GAUSSIAN_SIGMA_DEG**2
    window *= np.exp(-((np.arange(top, bottom) - centre_y) ** 2) / spread)[:, None]
    window *= np.exp(-((narrowing * offset) ** 2) / spread)
    window[window < AMPLITUDE_THRESHOLD] = 0.0
    strip = np.zeros((bottom - top, ERP_WIDTH))
    strip[:, columns] = window
    return _filled_parts(strip > 0, strip, top)


def corrected_regions(lattice: FloatArray, azimuth_deg: float, elevation_deg: float) -> list[Part]:
    """Regions of one metadata row without the official quirks.

    One grid for everything (label-grid pixel centres), no hole at the seam or the poles, the Gaussian in great-circle
    degrees around the exact direction, and filled holes keep the amplitude that they have. Parameters and result as
    in :func:`official_regions`.
    """
    reach = _reach_deg(lattice)
    if reach < 0:
        return []
    top = max(int(90.0 - elevation_deg - reach) - 1, 0)
    bottom = min(int(90.0 - elevation_deg + reach) + 2, ERP_HEIGHT)
    interpolation = spherical_interpolation()
    vectors = _pixel_vectors()[top:bottom]
    cosine = vectors @ directions_to_vectors(azimuth_deg, elevation_deg)
    distance = np.rad2deg(np.arccos(np.clip(cosine, -1.0, 1.0)))
    strip = np.zeros(cosine.shape)
    near = distance <= reach + 1e-9
    for index, weight in zip(interpolation.index, interpolation.weight, strict=True):
        strip[near] += lattice[index[top:bottom][near]] * weight[top:bottom][near]
    strip *= np.exp(-(distance**2) / (2.0 * GAUSSIAN_SIGMA_DEG**2))
    return _filled_parts(strip >= AMPLITUDE_THRESHOLD, strip, top)


@lru_cache(maxsize=1)
def _pixel_vectors() -> FloatArray:
    x, y = np.meshgrid(np.arange(ERP_WIDTH) + 0.5, np.arange(ERP_HEIGHT) + 0.5, indexing="xy")
    vectors = directions_to_vectors(180.0 - x, 90.0 - y)
    vectors.flags.writeable = False
    return vectors


def _reach_deg(lattice: FloatArray) -> float:
    """Distance beyond which no pixel can reach the threshold, in degrees of the Gaussian; -1 if none can at all.

    An interpolated value never exceeds the largest lattice value, so the rest of the canvas need not be looked at.
    """
    peak = float(lattice.max(initial=0.0))
    if not peak >= AMPLITUDE_THRESHOLD:
        return -1.0
    # a hair more than the exact radius, against rounding in the exponential
    return float(GAUSSIAN_SIGMA_DEG * np.sqrt(2.0 * np.log(peak / AMPLITUDE_THRESHOLD))) + 1e-6


def _filled_parts(mask: npt.NDArray[np.bool_], amplitude: FloatArray, top: int) -> list[Part]:
    """Connected parts of a mask of whole canvas rows, holes filled; ``top`` is the first row's number."""
    contours, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    parts: list[Part] = []
    # last found first, whatever the OpenCV version does: the official order, and points and parts have one
    for contour in sorted((np.asarray(c, dtype=np.int32) for c in contours), key=_first_pixel, reverse=True):
        if contour.shape[0] < 2:
            continue
        left, up, width, height = cv2.boundingRect(contour)
        filled = np.zeros((height, width), dtype=np.uint8)
        cv2.fillPoly(filled, [contour - np.array([left, up], dtype=contour.dtype)], 1)
        y, x = np.nonzero(filled)
        # 16 bits a coordinate: a recording of nine minutes has some ten million pixels before they become a table
        pixels = np.empty((x.size, 2), dtype=np.int16)
        pixels[:, 0], pixels[:, 1] = x + left, y + (up + top)
        parts.append((pixels, amplitude[y + up, x + left]))
    return parts


def _first_pixel(contour: npt.NDArray[np.int32]) -> tuple[int, int]:
    """Row and column of the contour's first pixel in reading order."""
    x, y = contour[:, 0, 0], contour[:, 0, 1]
    row = int(y.min())
    return row, int(x[y == row].min())


def standardise(amplitude: npt.ArrayLike) -> FloatArray:
    """Map amplitudes to (0, 1) as STAIRS26 does: a sigmoid of ``(amplitude - mean) / deviation``; 0 gives 0.2243."""
    z = (np.asarray(amplitude, dtype=np.float64) - STANDARD_MEAN) / STANDARD_DEVIATION
    return np.exp(-np.logaddexp(0.0, -z))
