"""Official regions in torch: the same formula on the same grids, with gradients to the intensity of the lattice.

:mod:`sai_core.labelling.regions` cuts regions into pixels for a file; here a region is an image, for losses. What the
cut adds to the formula (a lone pixel is no region, a hole inside of a region has amplitude 0) has no gradient and is
left out.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Final

import torch
from torch import Tensor

from sai_core.geometry import ERP_HEIGHT, ERP_WIDTH
from sai_core.labelling.interpolation import official_interpolation
from sai_core.labelling.regions import AMPLITUDE_THRESHOLD, GAUSSIAN_SIGMA_DEG, STANDARD_DEVIATION, STANDARD_MEAN

_SPREAD: Final[float] = 2.0 * GAUSSIAN_SIGMA_DEG**2

_EDGE: Final[float] = 0.3
"""Width of the edge that gradients see, in units of the natural logarithm of the amplitude."""


@lru_cache(maxsize=4)
def _planes(step: int, dtype: torch.dtype, device: str) -> tuple[Tensor, Tensor]:
    made = official_interpolation()
    with torch.inference_mode(mode=False):
        index = torch.from_numpy(made.index[:, ::step, ::step].astype("int64")).to(device)
        weight = torch.from_numpy(made.weight[:, ::step, ::step].copy()).to(device, dtype)
    return index, weight


def region_images(intensity: Tensor, azimuth_deg: Tensor, elevation_deg: Tensor, *, step: int = 1) -> Tensor:
    """Standardised energy of regions, each of its own field and direction.

    Parameters
    ----------
    intensity : float Tensor, shape (n, 484)
        Linear, >= 0.
    azimuth_deg, elevation_deg : float Tensor, shape (n,)
        Directions of the sources, degrees; the Gaussian's centre is the direction's pixel, as officially.
    step : int
        Only every so many rows and columns.

    Returns
    -------
    float Tensor, shape (n, ceil(180 / step), ceil(360 / step))
        Label grid; 0 outside of the region, in (0, 1) inside. Differentiable in ``intensity``: the cut itself has no
        gradient, and a loss could make a region smaller but never larger; so gradients see a smooth edge in its place
        (straight-through: Bengio et al., 2013), while values are those of the cut.
    """
    index, weight = _planes(step, intensity.dtype, str(intensity.device))
    # truncated as in the official code, in float64
    x = (((180.0 - azimuth_deg.double()) % 360.0) / 360.0 * ERP_WIDTH).trunc()
    y = ((90.0 - elevation_deg.double()) / 180.0 * ERP_HEIGHT).trunc()
    narrowing = torch.cos(torch.deg2rad(90.0 - (y / ERP_HEIGHT) * 180.0))
    columns = torch.arange(0, ERP_WIDTH, step, device=intensity.device)
    rows = torch.arange(0, ERP_HEIGHT, step, device=intensity.device)
    half = ERP_WIDTH // 2
    across = narrowing[:, None] * ((columns - x[:, None] + half) % ERP_WIDTH - half)
    down = rows - y[:, None]
    gaussian = torch.exp(-(down**2) / _SPREAD)[:, :, None] * torch.exp(-(across**2) / _SPREAD)[:, None, :]
    field = sum(intensity[:, i] * w for i, w in zip(index, weight, strict=True))
    amplitude = field * gaussian.to(intensity.dtype)
    energy = torch.sigmoid((amplitude - STANDARD_MEAN) / STANDARD_DEVIATION)
    inside = (amplitude >= AMPLITUDE_THRESHOLD).to(energy.dtype)
    if not amplitude.requires_grad:
        return energy * inside
    # far outside the logarithm has no end, and nothing there is to move
    logarithm = amplitude.clamp(min=0.01 * AMPLITUDE_THRESHOLD).log()
    edge = torch.sigmoid((logarithm - math.log(AMPLITUDE_THRESHOLD)) / _EDGE)
    return energy * inside + energy * (edge - edge.detach())
