"""From the lattice to the canvas: the second chapter of a label."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt
from scipy.spatial import ConvexHull, Delaunay, cKDTree

from sai_core.geometry import (
    ERP_HEIGHT,
    ERP_WIDTH,
    directions_to_vectors,
    fibonacci_lattice_deg,
    projection_grid_deg,
)

FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class CanvasInterpolation:
    """Linear interpolation from the lattice to the canvas: three lattice points and their weights for each pixel.

    Attributes
    ----------
    index : int32, shape (3, 180, 360)
        Lattice points of the triangle around the pixel, one plane for each corner.
    weight : float64, shape (3, 180, 360)
        Barycentric weights, sum 1; all 0 where the pixel lies outside the triangulation.
    """

    index: npt.NDArray[np.int32]
    weight: FloatArray


@lru_cache(maxsize=1)
def official_interpolation() -> CanvasInterpolation:
    """Interpolation of the official labels: Delaunay triangles in flat degrees, onto the projection grid.

    Equal to ``scipy.interpolate.griddata(method="linear", fill_value=0)`` on (azimuth, elevation) in degrees. Flat:
    the seam does not wrap, so that 9.8 % of the pixels (rows and columns at the poles and the seam) lie outside
    the triangulation and are 0.
    """
    azimuth, elevation = fibonacci_lattice_deg()
    triangulation = Delaunay(np.stack([azimuth, elevation], axis=1))
    column_azimuth, row_elevation = projection_grid_deg()
    targets = np.stack([g.ravel() for g in np.meshgrid(column_azimuth, row_elevation, indexing="xy")], axis=1)
    simplex = triangulation.find_simplex(targets)
    inside = simplex >= 0
    transform = triangulation.transform[simplex[inside]]
    partial = np.einsum("nij,nj->ni", transform[:, :2], targets[inside] - transform[:, 2])
    index = np.zeros((targets.shape[0], 3), dtype=np.int32)
    weight = np.zeros((targets.shape[0], 3))
    index[inside] = triangulation.simplices[simplex[inside]]
    weight[inside] = np.concatenate([partial, 1.0 - partial.sum(1, keepdims=True)], axis=1)
    return _frozen_interpolation(index, weight)


@lru_cache(maxsize=1)
def spherical_interpolation() -> CanvasInterpolation:
    """Interpolation without a seam and without holes: triangles on the sphere, onto the label grid's pixel centres.

    The triangles are the faces of the convex hull of the 484 unit vectors (the Delaunay triangulation of the sphere);
    weights are those of the point where the pixel's direction pierces its face. Every pixel has three weights >= 0.
    """
    points = directions_to_vectors(*fibonacci_lattice_deg())
    faces = ConvexHull(points).simplices.astype(np.int32)
    x, y = np.meshgrid(np.arange(ERP_WIDTH) + 0.5, np.arange(ERP_HEIGHT) + 0.5, indexing="xy")
    targets = directions_to_vectors(180.0 - x.ravel(), 90.0 - y.ravel())
    # a direction d = c1 v1 + c2 v2 + c3 v3 lies in the face where all c are >= 0; faces near d suffice
    to_weights = np.linalg.inv(points[faces].transpose(0, 2, 1))
    centres = points[faces].sum(1)
    centres /= np.linalg.norm(centres, axis=1, keepdims=True)
    near = np.asarray(cKDTree(centres).query(targets, k=8)[1])
    weights = np.einsum("nkij,nj->nki", to_weights[near], targets)
    best = weights.min(2).argmax(1)
    rows = np.arange(targets.shape[0])
    weight = np.clip(weights[rows, best], 0.0, None)
    return _frozen_interpolation(faces[near[rows, best]], weight / weight.sum(1, keepdims=True))


def _frozen_interpolation(index: npt.NDArray[np.int32], weight: FloatArray) -> CanvasInterpolation:
    # planes: a window of each is read in one piece, and a sum over three planes is 4x faster than over a last axis of 3
    index = np.ascontiguousarray(index.T).reshape(3, ERP_HEIGHT, ERP_WIDTH)
    weight = np.ascontiguousarray(weight.T).reshape(3, ERP_HEIGHT, ERP_WIDTH)
    index.flags.writeable = False
    weight.flags.writeable = False
    return CanvasInterpolation(index, weight)
