"""The 13 classes of DCASE Task 3: order, names, and the one colour of each.

``category_id`` is zero-based everywhere (0..12). Networks use ``label = category_id + 1`` with 0 for background;
that name is never used for anything else.

The colours are for lines, text and chart marks on both themes. They were chosen in OKLCH: lightness within the
band that keeps at least 3:1 contrast (WCAG 2.1, graphical objects) against both the dark and the light page
background, hues and lightness alternated so that neighbours in the list stay apart under simulated deuteranopia and
protanopia; ``tests/test_taxonomy.py`` measures all of this.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

CLASS_NAMES: Final[tuple[str, ...]] = (
    "Female speech",
    "Male speech",
    "Clapping",
    "Telephone",
    "Laughter",
    "Domestic sounds",
    "Walk/footsteps",
    "Door open/close",
    "Music",
    "Musical instrument",
    "Water tap",
    "Bell",
    "Knock",
)
"""Class names in the official order; index = ``category_id``."""

N_CLASSES: Final[int] = len(CLASS_NAMES)

SHORT_NAMES: Final[tuple[str, ...]] = (
    "Female sp.",
    "Male sp.",
    "Clapping",
    "Telephone",
    "Laughter",
    "Domestic",
    "Footsteps",
    "Door",
    "Music",
    "Instrument",
    "Water tap",
    "Bell",
    "Knock",
)
"""Names short enough for a lane label or an axis tick."""

CLASS_COLORS: Final[tuple[str, ...]] = (
    "#d6517d",
    "#3d7dd8",
    "#b57f00",
    "#8b63e0",
    "#e0612c",
    "#5f7f3a",
    "#0c8f96",
    "#a0603a",
    "#c04fc0",
    "#6a6fb0",
    "#1f96d6",
    "#8f8a1c",
    "#737b85",
)
"""Hex colour of each class, used by every picture, table and chart."""


def class_name(category_id: int) -> str:
    """Name of a class; an id outside 0..12 gives ``"class <id>"`` so that a picture can still be drawn."""
    return CLASS_NAMES[category_id] if 0 <= category_id < N_CLASSES else f"class {category_id}"


def class_color(category_id: int) -> str:
    """Hex colour of a class; grey for an id outside 0..12."""
    return CLASS_COLORS[category_id] if 0 <= category_id < N_CLASSES else "#808080"


def class_colors_rgb() -> npt.NDArray[np.uint8]:
    """Class colours as a ``uint8`` array of shape (13, 3)."""
    return np.array([[int(c[i : i + 2], 16) for i in (1, 3, 5)] for c in CLASS_COLORS], dtype=np.uint8)
