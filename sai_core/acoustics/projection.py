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

import math
from functools import lru_cache
from typing import Any, Final, Literal, TypeVar, get_args

import numpy as np
import numpy.typing as npt
import torch
from scipy.spatial import cKDTree

from sai_core.acoustics.names import Grid
from sai_core.errors import InputError
from sai_core.geometry import (
    ERP_HEIGHT,
    ERP_WIDTH,
    FRAME_RATE_HZ,
    N_LATTICE,
    directions_to_vectors,
    fibonacci_lattice_deg,
    pixel_to_direction,
    projection_grid_deg,
)

BandScale = Literal["none", "frame", "running", "recording"]
Array = TypeVar("Array", npt.NDArray[np.floating[Any]], torch.Tensor)

RUNNING_HALF_LIFE_S: Final[float] = 10.0
"""Time in which the running scale halves when nothing as loud comes again, in seconds."""


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


def scale_bands(
    lattice: Array, *, how: BandScale = "frame", half_life_s: float = RUNNING_HALF_LIFE_S, floor: float = 0.0
) -> Array:
    """Divide maps by one scale for all bands of a frame, so that the bands' relative levels survive.

    Parameters
    ----------
    lattice : floating array or tensor, shape (frames, bands, ...)
        Non-negative maps of consecutive frames (lattice or canvas).
    how : {"none", "frame", "running", "recording"}
        ``"none"``: nothing is divided. ``"frame"`` (the report): the frame's largest value over all bands becomes 1,
        which makes quiet frames look loud. ``"running"``: the largest value so far, halving every ``half_life_s``
        seconds, so that loud and quiet sources within that time keep their proportion; causal. ``"recording"``: the
        largest value of all frames given.
    half_life_s : float
        For ``"running"``, in seconds, > 0.
    floor : float
        Smallest scale, in units of the maps: what is below it is not blown up. 0 for none.

    Returns
    -------
    same type, dtype and shape
        New; in [0, 1] except for ``"none"`` (a copy). Frames without energy stay zero.

    Raises
    ------
    InputError
        Unknown option, fewer than two axes, half life not positive, negative floor.
    """
    if how not in get_args(BandScale):
        raise InputError(f"Band scale '{how}' is not known; choose one of {', '.join(get_args(BandScale))}.")
    if lattice.ndim < 2:
        raise InputError(f"Maps have shape {tuple(lattice.shape)}; expected (frames, bands, ...).")
    if not half_life_s > 0 or not floor >= 0:
        raise InputError(f"half_life_s is {half_life_s} and floor is {floor}; expected > 0 and >= 0.")
    if isinstance(lattice, torch.Tensor):
        peak = lattice.flatten(1).amax(dim=1) if lattice.numel() else lattice.new_zeros(len(lattice))
        scale = torch.from_numpy(_scale(peak.detach().double().cpu().numpy(), how, half_life_s, floor))
        return lattice / scale.to(lattice.device, lattice.dtype).reshape(-1, *[1] * (lattice.ndim - 1))
    values = np.asarray(lattice)
    peak_values = values.reshape(len(values), -1).max(axis=1) if values.size else np.zeros(len(values))
    scale_values = _scale(peak_values.astype(np.float64), how, half_life_s, floor)
    return values / scale_values.astype(values.dtype).reshape(-1, *[1] * (values.ndim - 1))


def _scale(peak: npt.NDArray[np.float64], how: BandScale, half_life_s: float, floor: float) -> npt.NDArray[np.float64]:
    """Divisor of each frame; 1 where there is nothing to divide."""
    if how == "none":
        return np.ones_like(peak)
    if how == "recording":
        peak = np.full_like(peak, peak.max(initial=0.0))
    elif how == "running":
        # max_j peak_j 2^(-(k - j) / h) is a running maximum of log2(peak_j) + j / h: no loop over frames
        decay = np.arange(len(peak)) / (half_life_s * FRAME_RATE_HZ)
        with np.errstate(divide="ignore"):
            rising = np.maximum.accumulate(np.log2(peak) + decay) - decay
        # 2^log2(x) may round below x, and a scaled map above 1
        peak = np.maximum(np.exp2(rising), peak)
    scale = np.maximum(peak, floor)
    return np.where((scale > 0) & np.isfinite(scale), scale, 1.0)


def nearest_point(azimuth_deg: float, elevation_deg: float) -> int:
    """Lattice point nearest to a direction on the sphere."""
    if not (math.isfinite(azimuth_deg) and -90 <= elevation_deg <= 90):
        raise InputError(f"({azimuth_deg}, {elevation_deg}) is no direction in degrees.")
    vectors = directions_to_vectors(*fibonacci_lattice_deg())
    return int(np.argmax(vectors @ directions_to_vectors(azimuth_deg, elevation_deg)))
