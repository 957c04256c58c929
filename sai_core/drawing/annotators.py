"""How anything is painted on the ERP canvas, one rule for every painter (label grid, :mod:`sai_core.geometry`).

levels
    Energies in [0, 1] become bytes by rounding, at the canvas's own resolution; what is positive stays positive, so
    that a region keeps its faint rim. Levels are enlarged, then coloured: mixing colours would show hues that a scale
    does not have.
seam
    Shapes run past a side of the canvas (``x > 360``, or below 0) and come in again at the other: they are drawn once
    for each whole turn by which they touch it (:func:`turns`).
outlines
    Pixel *centres* of the canvas in, sixteenths of a pixel of the view drawn, so that what moves slowly does not jump.
boxes
    ``[x0, x1) x [y0, y1)``: the sides lie inside of the box.
names
    Beside what they name, on the canvas, off other names and, where there is room, off what is shown
    (:func:`place_names`).

Views are uint8 sRGB arrays of any size that are drawn into in place.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final, NamedTuple

import cv2
import numpy as np
import numpy.typing as npt

from sai_core.drawing.lettering import Colour, Picture, blit, name_tile
from sai_core.geometry import ERP_HEIGHT, ERP_WIDTH

Box = tuple[float, float, float, float]
"""Left, top, right and bottom on the canvas."""

PALE: Final[Colour] = (245, 245, 245)
"""Rim that keeps a class's colour apart from dark video and bright energy alike."""

DARK: Final[int] = 24
"""Grey of a canvas without a picture."""

_SUBPIXEL_BITS: Final[int] = 4
_DASH_PX, _GAP_PX = 7.0, 5.0


class Name(NamedTuple):
    """A name that belongs to a box of the canvas."""

    text: str
    colour: Colour
    box: Box


def quantise(values: npt.ArrayLike) -> Picture:
    """Values in [0, 1] (clipped) as bytes, rounded: 255 for 1; same shape."""
    return np.rint(np.clip(np.asarray(values), 0.0, 1.0) * 255).astype(np.uint8)


def energy_levels(energy: npt.NDArray[np.floating[Any]]) -> Picture:
    """Energies as levels 0 to 255, rounded; a positive one is at least 1."""
    levels = quantise(energy)
    levels[(energy > 0) & (levels == 0)] = 1
    return levels


def residual_levels(residual: npt.NDArray[np.floating[Any]]) -> Picture:
    """Prediction minus label as entries of :func:`~sai_core.drawing.colormaps.diverging_lut`: 127 is no difference."""
    return (np.clip(residual, -1.0, 1.0) * 127 + 127.5).astype(np.uint8)


def paint(view: Picture, levels: Picture, lut: Picture) -> None:
    """Fill a view with levels: enlarged, then coloured by a table of at most 256 colours."""
    view[:] = _coloured(_enlarged(levels, view), lut)


def lay_over(view: Picture, levels: Picture, lut: Picture, *, opacity: float) -> None:
    """Lay levels over a picture: nothing where they are 0, faint ones fade in, as the player does it."""
    enlarged = _enlarged(levels, view)
    rows = np.flatnonzero(enlarged.any(axis=1))
    if not rows.size:
        return
    # only where there is energy: a few per cent of the picture
    view, enlarged = view[rows[0] : rows[-1] + 1], enlarged[rows[0] : rows[-1] + 1]
    lit = enlarged > 0
    shown = enlarged[lit]
    weight = (opacity * np.minimum(1.0, 0.25 + shown / 110))[:, None]
    view[lit] = np.rint(view[lit] * (1 - weight) + lut[shown] * weight).astype(np.uint8)


def turns(left: float, right: float, width: float = ERP_WIDTH) -> range:
    """Whole turns by which an interval has to be shifted to show on ``[0, width)``, falling."""
    return range(int(np.ceil(1 - left / width)) - 1, int(np.floor(-right / width)), -1)


def draw_outlines(
    view: Picture,
    curves: Iterable[npt.NDArray[np.floating[Any]]],
    colour: Colour,
    *,
    thickness: int,
    rim: int = 0,
    dashed: bool = False,
) -> None:
    """Draw closed curves.

    Parameters
    ----------
    view : uint8, shape (rows, columns, 3)
        Drawn into.
    curves : iterable of float, shape (n, 2)
        Canvas coordinates as :func:`sai_core.drawing.maps.outlines` gives them.
    colour : tuple of int
    thickness : int
        Pixels of the view.
    rim : int
        Pixels of :data:`PALE` on either side together; 0 for none.
    dashed : bool
    """
    width = view.shape[1]
    scale = width / ERP_WIDTH
    reach = (thickness + rim) / 2 + 2  # softened edges reach a little further than the line
    for curve in curves:
        # OpenCV counts from the middle of a pixel, the canvas from its edge
        points = curve * scale - 0.5
        first, last = int(np.floor(points[:, 0].min() - reach)), int(np.ceil(points[:, 0].max() + reach)) + 1
        if (first < 0 or last > width) and last - first <= width:
            # OpenCV cuts lines at a border before it softens them: across the seam they are drawn in one piece
            columns = np.arange(first, last) % width
            top = max(int(points[:, 1].min() - reach), 0)
            band = view[top : int(points[:, 1].max() + reach) + 2]
            part = np.ascontiguousarray(band[:, columns])
            draw_line(part, points - np.array([first, top]), colour, thickness, rim=rim, dashed=dashed, closed=True)
            band[:, columns] = part
            continue
        for turn in turns(first, last, width):
            turned = points + np.array([turn * width, 0])
            draw_line(view, turned, colour, thickness, rim=rim, dashed=dashed, closed=True)


def draw_line(
    view: Picture,
    points: npt.NDArray[np.floating[Any]],
    colour: Colour,
    thickness: int,
    *,
    rim: int = 0,
    dashed: bool = False,
    closed: bool = False,
) -> None:
    """Draw a line through points of the view, shape (n, 2); the other arguments as :func:`draw_outlines`."""
    pieces = _dashes(np.concatenate([points, points[:1]]) if closed else points) if dashed else [points]
    lines = [np.rint(piece * 2**_SUBPIXEL_BITS).astype(np.int32) for piece in pieces]
    for ink, width in ((PALE, thickness + rim), (colour, thickness)) if rim else ((colour, thickness),):
        cv2.polylines(view, lines, closed and not dashed, ink, width, cv2.LINE_AA, _SUBPIXEL_BITS)


def draw_box(
    view: npt.NDArray[Any],
    box: Sequence[float] | npt.NDArray[Any],
    colour: Colour,
    *,
    thickness: int,
    opacity: float = 1.0,
) -> None:
    """Draw the sides of a box ``x0, y0, x1, y1`` of the canvas.

    A float view takes any opacity; a uint8 view an opaque box, since each blend would round.
    """
    rows, columns = view.shape[:2]
    x0, y0, x1, y1 = (round(float(v) * columns / ERP_WIDTH) for v in box)
    sides = (
        (x0, y0, x1, y0 + thickness),
        (x0, y1 - thickness, x1, y1),
        (x0, y0 + thickness, x0 + thickness, y1 - thickness),
        (x1 - thickness, y0 + thickness, x1, y1 - thickness),
    )
    for turn in turns(x0, x1, columns):
        for left, top, right, bottom in sides:
            a, b = max(left + turn * columns, 0), min(right + turn * columns, columns)
            c, d = max(top, 0), min(bottom, rows)
            if a < b and c < d:
                part = view[c:d, a:b]
                part[:] = part + (np.asarray(colour, dtype=np.float32) - part) * opacity


def box_of(curve: npt.NDArray[np.floating[Any]]) -> Box:
    """Left, top, right and bottom of a curve."""
    (left, top), (right, bottom) = curve.min(axis=0).tolist(), curve.max(axis=0).tolist()
    return left, top, right, bottom


def write_names(view: Picture, names: Sequence[Name], *, size: int = 13, below: bool = False) -> None:
    """Write names beside their boxes, dark on white and framed in their colours."""
    scale = view.shape[1] / ERP_WIDTH
    names = sorted(names, key=lambda name: (name.box[1], name.box[0]))
    tiles = [name_tile(name.text, name.colour, size) for name in names]
    wanted = [(tile.shape[1] / scale, tile.shape[0] / scale) for tile in tiles]
    for tile, (x, y) in zip(tiles, place_names([name.box for name in names], wanted, below=below), strict=True):
        height, width = tile.shape[:2]
        left = min(max(round(x * scale - width / 2), 0), view.shape[1] - width)
        blit(view, tile, left, min(max(round(y * scale - height / 2), 0), view.shape[0] - height))


def place_names(
    boxes: Sequence[Box], sizes_wh: Sequence[tuple[float, float]], *, below: bool = False
) -> list[tuple[float, float]]:
    """Middle of each name: on the canvas, off each other and off the boxes where there is room.

    Parameters
    ----------
    boxes : sequence of (left, top, right, bottom)
        What is named, in the order in which names take their places; may run past the seam.
    sizes_wh : sequence of (width, height)
        Of the names, in canvas pixels.
    below : bool
        Try the place below before the one above.
    """
    shown = [
        (left + turn * ERP_WIDTH, top, right + turn * ERP_WIDTH, bottom)
        for left, top, right, bottom in boxes
        for turn in turns(left, right)
    ]
    taken: list[Box] = []
    places = []
    for (left, top, right, bottom), (wide, high) in zip(boxes, sizes_wh, strict=True):
        middle_x, middle_y = (left + right) / 2, (top + bottom) / 2
        tries = []
        for step in range(4):
            far = step * 0.8 * high
            up, down = top - high / 2 - 2 - far, bottom + high / 2 + 2 + far
            if below:
                up, down = down, up
            before, after = left - wide / 2 - 3 - far, right + wide / 2 + 3 + far
            tries += [(middle_x, up), (middle_x, down), (before, middle_y), (after, middle_y)]
            tries += [(before, up), (after, up), (before, down), (after, down)]
        best = (np.inf, 0.0, 0.0)
        for number, (x, y) in enumerate(tries):
            x = min(max(x % ERP_WIDTH, wide / 2 + 1), ERP_WIDTH - 1 - wide / 2)
            y = min(max(y, high / 2 + 1), ERP_HEIGHT - 1 - high / 2)
            box = (x - wide / 2, y - high / 2, x + wide / 2, y + high / 2)
            covered = sum(_overlap(box, name) for name in taken)
            hidden = sum(_overlap(box, shape) for shape in shown)
            cost = 20 * covered + 6 * hidden + number * 0.02 * high * wide
            if cost < best[0]:
                best = (cost, x, y)
            if not covered + hidden:  # those that follow cost more
                break
        _, x, y = best
        taken.append((x - wide / 2, y - high / 2, x + wide / 2, y + high / 2))
        places.append((x, y))
    return places


def _overlap(a: Box, b: Box) -> float:
    """Common area of two boxes."""
    return max(0.0, min(a[2], b[2]) - max(a[0], b[0])) * max(0.0, min(a[3], b[3]) - max(a[1], b[1]))


def _enlarged(levels: Picture, view: Picture) -> Picture:
    size_wh = (view.shape[1], view.shape[0])
    return np.asarray(cv2.resize(levels, size_wh, interpolation=cv2.INTER_LINEAR), dtype=np.uint8)


def _coloured(levels: Picture, lut: Picture) -> Picture:
    # OpenCV's table takes 256 entries, of which ours use the first ones; three times as fast as NumPy's indexing
    table = np.zeros((256, 1, 3), dtype=np.uint8)
    table[: len(lut), 0] = lut
    return np.asarray(cv2.applyColorMap(levels, table), dtype=np.uint8)


def _dashes(points: npt.NDArray[np.floating[Any]]) -> list[npt.NDArray[np.float64]]:
    """A line in dashes along it."""
    points = np.asarray(points, dtype=np.float64)
    along = np.concatenate([[0.0], np.cumsum(np.hypot(*np.diff(points, axis=0).T))])
    if along[-1] < 1:
        return []
    dashes = []
    for mark in np.arange(0.0, along[-1], _DASH_PX + _GAP_PX).tolist():
        at = np.linspace(mark, min(mark + _DASH_PX, along[-1]), 4)
        dashes.append(np.column_stack([np.interp(at, along, points[:, 0]), np.interp(at, along, points[:, 1])]))
    return dashes
