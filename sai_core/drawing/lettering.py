"""Lines of text as small pictures, in the font that ships with matplotlib: OpenCV's own has no accents and no greys."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np
import numpy.typing as npt

Picture = npt.NDArray[np.uint8]
Colour = tuple[int, int, int]

_WHITE: Final[Colour] = (250, 250, 250)
_INK: Final[Colour] = (17, 17, 17)


@lru_cache(maxsize=4096)
def text_tile(text: str, size: int, colour: Colour, *, background: Colour, bold: bool = False) -> Picture:
    """Line of text on a plain ground; read-only."""
    from PIL import Image, ImageDraw

    font = _font(size, bold)
    width = max(1, round(font.getlength(text)) + 2)
    image = Image.new("RGB", (width, size + 5), background)
    ImageDraw.Draw(image).text((1, 1), text, font=font, fill=colour)
    tile = np.array(image)
    tile.flags.writeable = False
    return tile


@lru_cache(maxsize=2048)
def name_tile(text: str, colour: Colour, size: int) -> Picture:
    """A name, dark on white and framed in its colour, which alone would be too pale to read; read-only."""
    inner = text_tile(text, size, _INK, background=_WHITE)
    height, width = inner.shape[0] - 1, inner.shape[1] + 6
    tile = np.full((height, width, 3), _WHITE, dtype=np.uint8)
    tile[:, 3:-3] = inner[:height]
    cv2.rectangle(tile, (0, 0), (width - 1, height - 1), colour, 2)
    tile.flags.writeable = False
    return tile


def blit(view: Picture, tile: Picture, x: int, y: int) -> None:
    """Copy a tile into a view; what would lie outside is cut."""
    x, y = max(x, 0), max(y, 0)
    part = view[y : y + tile.shape[0], x : x + tile.shape[1]]
    part[:] = tile[: part.shape[0], : part.shape[1]]


def shortened(text: str, size: int, room: int) -> str:
    """Bold text cut to a width in pixels."""
    font = _font(size, True)
    if font.getlength(text) <= room:
        return text
    while len(text) > 4 and font.getlength(text + "…") > room:
        text = text[:-1]
    return text + "…"


@lru_cache(maxsize=8)
def _font(size: int, bold: bool) -> Any:
    from matplotlib import get_data_path  # only the path of the fonts that ship with it
    from PIL import ImageFont

    name = "DejaVuSans-Bold.ttf" if bold else "DejaVuSans.ttf"
    return ImageFont.truetype(str(Path(get_data_path()) / "fonts" / "ttf" / name), size)
