"""Directions of regions: where an annotation's energy peaks, and its centre.

Two readings of a canvas point as a direction are in use, and each function here says which one it takes:

* **label grid** (:func:`sai_core.geometry.pixel_to_direction`): azimuth ``180 - x``, elevation ``90 - y``. A label is
  a set of whole pixels, and a pixel of the label grid covers one degree from its edge, so an annotation all of whose
  coordinates are whole numbers is read at its pixels' centres (``x + 0.5``, ``y + 0.5``); points with fractions are
  taken as they are. This is the physical answer, half a degree better than reading a pixel at its edge.
* **official grid** of the evaluator of 2026-04-02 and of SAID's class F1: azimuth ``x - 180`` (mirrored, which no
  distance notices), elevation ``90 - y * 180 / 179``, every point as it stands. Matching uses it to agree with them.
"""

from __future__ import annotations

from weakref import WeakKeyDictionary

import numpy as np
import numpy.typing as npt

from sai_core.annotations.table import AnnotationTable, point_blocks
from sai_core.geometry import ERP_HEIGHT, pixel_to_direction

Int64 = npt.NDArray[np.int64]
Float64 = npt.NDArray[np.float64]


def annotation_point_offsets(table: AnnotationTable) -> Int64:
    """First point of each annotation and the number of points, shape (n + 1,)."""
    return table.point_offsets[table.polygon_offsets]


# tables are frozen, so what was found stays true for as long as the object lives
_strongest: WeakKeyDictionary[AnnotationTable, Int64] = WeakKeyDictionary()


def strongest_points(table: AnnotationTable) -> Int64:
    """Index of the strongest point of each annotation, the first of equals; -1 for an annotation without points."""
    known = _strongest.get(table)
    if known is not None:
        return known
    offsets = annotation_point_offsets(table)
    result = np.full(len(table), -1, dtype=np.int64)
    for rows, points in point_blocks(table):
        filled = rows.start + np.flatnonzero(np.diff(offsets[rows.start : rows.stop + 1]))
        if not len(filled):
            continue
        energy, starts = table.energy_of(points), offsets[filled] - points.start
        owner = np.repeat(np.arange(len(filled)), np.diff(offsets)[filled])
        best = np.flatnonzero(energy == np.maximum.reduceat(energy, starts)[owner])
        _, first = np.unique(owner[best], return_index=True)
        result[filled] = best[first] + points.start
    result.flags.writeable = False
    _strongest[table] = result
    return result


def whole_pixel_regions(table: AnnotationTable) -> npt.NDArray[np.bool_]:
    """Whether all coordinates of an annotation are whole numbers, shape (n,); False without points."""
    offsets = annotation_point_offsets(table)
    if table.surely_whole:
        return np.diff(offsets) > 0
    result = np.zeros(len(table), dtype=np.bool_)
    for rows, points in point_blocks(table):
        filled = rows.start + np.flatnonzero(np.diff(offsets[rows.start : rows.stop + 1]))
        if len(filled):
            x, y = table.xy_of(points).T
            whole = (x == np.floor(x)) & (y == np.floor(y))
            result[filled] = np.logical_and.reduceat(whole, offsets[filled] - points.start)
    return result


def region_peak_direction(table: AnnotationTable) -> tuple[Float64, Float64]:
    """Direction of the strongest point of each annotation, on the label grid with pixel centres (module docstring).

    Parameters
    ----------
    table : AnnotationTable
        Coordinates on the label grid.

    Returns
    -------
    azimuth_deg, elevation_deg : float64, shape (n,)
        Azimuth in [-180, 180), growing to the left; NaN for an annotation without points. Of equally strong points
        the first in file order counts.
    """
    point = strongest_points(table)
    found = point >= 0
    azimuth, elevation = np.full((2, len(table)), np.nan)
    shift = np.where(whole_pixel_regions(table), 0.5, 0.0)[found]
    x, y = table.xy_of(point[found]).T
    azimuth[found], elevation[found] = pixel_to_direction(x + shift, y + shift)
    return azimuth, elevation


def official_peak_angles_rad(table: AnnotationTable) -> tuple[Float64, Float64]:
    """Azimuth and elevation in radians of the strongest points on the official grid (module docstring), shape (n,).

    NaN for an annotation without points.
    """
    point = strongest_points(table)
    xy = np.full((len(table), 2), np.nan)
    xy[point >= 0] = table.xy_of(point[point >= 0])
    return np.deg2rad(xy[:, 0] - 180.0), np.deg2rad(90.0 - xy[:, 1] / (ERP_HEIGHT - 1) * 180.0)
