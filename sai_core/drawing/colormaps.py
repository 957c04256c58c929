"""Colour maps of the pictures, as look-up tables.

Energy (sequential) maps are matplotlib's perceptually uniform tables (viridis, magma, cividis; CC0), kept in
``colormaps.json`` because importing matplotlib would cost the first page a quarter of a second; a test compares them
with matplotlib's own, so that figures for papers and the player agree.

The residual (diverging) maps are made here in OKLab: two arms of opposite hue whose lightness moves away from a
neutral centre in equal steps, so that +0.3 and -0.3 look equally strong. The centre is dark for the dark theme and
light for the light theme, so that "no difference" recedes into the page. Blue against orange stays apart for all
common colour vision deficiencies.

References
----------
OKLab: B. Ottosson, "A perceptual color space for image processing", 2020 (the two matrices below).
"""

from __future__ import annotations

import json
from functools import lru_cache
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from sai_core.errors import check_known

SEQUENTIAL: Final[tuple[str, ...]] = ("magma", "viridis", "cividis")
"""Names of the energy maps; the first is the default."""

_TABLES: Final[Path] = Path(__file__).with_name("colormaps.json")

_OKLAB_TO_LMS = np.array(
    [[1.0, 0.3963377774, 0.2158037573], [1.0, -0.1055613458, -0.0638541728], [1.0, -0.0894841775, -1.2914855480]]
)
_LMS_TO_LINEAR_RGB = np.array(
    [
        [4.0767416621, -3.3077115913, 0.2309699292],
        [-1.2684380046, 2.6097574011, -0.3413193965],
        [-0.0041960863, -0.7034186147, 1.7076147010],
    ]
)
_BLUE_HUE_DEG: Final[float] = 250.0
_ORANGE_HUE_DEG: Final[float] = 55.0


@lru_cache(maxsize=8)
def sequential_lut(name: str = SEQUENTIAL[0]) -> npt.NDArray[np.uint8]:
    """Look-up table of an energy map, uint8 (256, 3) sRGB, entry 0 for energy 0; read-only.

    Raises
    ------
    InputError
        Name not in :data:`SEQUENTIAL`.
    """
    check_known("Colour map", name, SEQUENTIAL)
    tables = json.loads(_TABLES.read_text(encoding="utf-8"))
    return np.frombuffer(bytes.fromhex(tables[name]), dtype=np.uint8).reshape(256, 3)


@lru_cache(maxsize=2)
def diverging_lut(*, dark: bool) -> npt.NDArray[np.uint8]:
    """Look-up table of the residual map, uint8 (255, 3) sRGB; read-only.

    Entry 127 is "no difference", entry 0 is -1 (label only: blue), entry 254 is +1 (prediction only: orange).
    """
    t = np.linspace(-1.0, 1.0, 255)
    strength = np.abs(t)
    centre, end = (0.20, 0.80) if dark else (0.965, 0.50)
    lightness = centre + (end - centre) * strength
    chroma = 0.155 * strength**0.75
    hue = np.deg2rad(np.where(t < 0, _BLUE_HUE_DEG, _ORANGE_HUE_DEG))
    table = oklab_to_srgb(np.column_stack([lightness, chroma * np.cos(hue), chroma * np.sin(hue)]))
    table.flags.writeable = False
    return table


def oklab_to_srgb(lab: npt.ArrayLike) -> npt.NDArray[np.uint8]:
    """OKLab colours (n, 3) as sRGB bytes (n, 3), clipped to the gamut."""
    lms = (np.asarray(lab, dtype=np.float64) @ _OKLAB_TO_LMS.T) ** 3
    linear = np.clip(lms @ _LMS_TO_LINEAR_RGB.T, 0.0, 1.0)
    encoded = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    return np.rint(encoded * 255).astype(np.uint8)
