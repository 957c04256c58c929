"""From the lattice to the canvas, and one common scale for all bands.

Projection gives each canvas pixel the value of a nearest lattice point. Which pixel directions, and nearest in which
sense, is the ``grid`` option (see :mod:`sai_core.geometry` for the two canvas grids):

``"official"``
    The projection grid (``linspace``: both poles and both ends of the azimuth range are pixel centres), nearest in
    *flat degrees without wrap*, then a horizontal flip, exactly as the official code: 21 % of the pixels get another
    point than the great-circle nearest one, up to 22 degrees off, at the seam and near the poles.
``"great_circle"``
    The same pixel directions, the point nearest on the sphere (at most 7 degrees off).
``"label"``
    Pixel centres of the label grid (one degree a pixel), nearest on the sphere: these maps line up with label pixels,
    which the projection grid misses by up to a pixel.

Every map here has row 0 at the top (elevation +90), azimuth 0 at the centre, azimuth growing to the left.

Normalisation works on lattice maps: every lattice point appears on the canvas, so a frame's maximum is the same on
both, and 484 values are cheaper than 64,800.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, TypeVar, get_args

import numpy as np
import numpy.typing as npt
import torch
from scipy.spatial import cKDTree

from sai_core.acoustics.names import Grid
from sai_core.errors import InputError
from sai_core.geometry import (
    ERP_HEIGHT,
    ERP_WIDTH,
    N_LATTICE,
    directions_to_vectors,
    fibonacci_lattice_deg,
    pixel_to_direction,
    projection_grid_deg,
)

Array = TypeVar("Array", npt.NDArray[np.floating[Any]], torch.Tensor)


@lru_cache(maxsize=8)
def projection_index(grid: Grid = "official") -> npt.NDArray[np.int64]:
    """Lattice point of every canvas pixel, shape (180, 360), after the flip; read-only, computed once.

    Raises
    ------
    InputError
        Unknown grid.
    """
    if grid not in get_args(Grid):
        raise InputError(f"Projection grid '{grid}' is not known; choose one of {', '.join(get_args(Grid))}.")
    azimuth, elevation = fibonacci_lattice_deg()
    if grid == "label":
        x, y = np.meshgrid(np.arange(ERP_WIDTH) + 0.5, np.arange(ERP_HEIGHT) + 0.5)
        pixel_azimuth, pixel_elevation = pixel_to_direction(x, y)
    else:
        pixel_azimuth, pixel_elevation = np.meshgrid(*projection_grid_deg())
    if grid == "official":
        lattice = np.stack([azimuth, elevation], axis=-1)
        pixels = np.stack([pixel_azimuth, pixel_elevation], axis=-1)
    else:
        lattice = directions_to_vectors(azimuth, elevation)
        pixels = directions_to_vectors(pixel_azimuth, pixel_elevation)
    index = np.asarray(cKDTree(lattice).query(pixels)[1], dtype=np.int64)
    index.flags.writeable = False
    return index


@lru_cache(maxsize=16)
def _index_on(grid: Grid, device: str) -> torch.Tensor:
    with torch.inference_mode(mode=False):
        return torch.tensor(projection_index(grid).ravel(), device=device)


def to_canvas(lattice: Array, *, grid: Grid = "official") -> Array:
    """Expand lattice maps to the canvas, on whatever device they are.

    Parameters
    ----------
    lattice : floating array or tensor, shape (..., 484)
        Fibonacci order.
    grid : {"official", "great_circle", "label"}
        See the module's description. ``official`` and ``great_circle`` are on the projection grid, ``label`` on the
        label grid.

    Returns
    -------
    same type and dtype, shape (..., 180, 360)
        New array or tensor.

    Raises
    ------
    InputError
        The last axis has not 484 points, or an unknown grid.
    """
    if lattice.shape[-1:] != (N_LATTICE,):
        raise InputError(f"Lattice maps have shape {tuple(lattice.shape)}; expected {N_LATTICE} points last.")
    shape = (*lattice.shape[:-1], ERP_HEIGHT, ERP_WIDTH)
    if isinstance(lattice, torch.Tensor):
        if lattice.device.type == "cpu" and not lattice.requires_grad:
            # NumPy's indexing takes a fifth of the time of index_select here (0.3 against 1.6 ms a frame)
            return torch.from_numpy(lattice.numpy()[..., projection_index(grid)])
        return lattice.index_select(-1, _index_on(grid, str(lattice.device))).reshape(shape)
    return lattice[..., projection_index(grid)]
