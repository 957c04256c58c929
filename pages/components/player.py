"""What the frame player (``web/player.js``) asks for: it draws, plays and steps in the browser."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from pages.components.element import Fields

_MAX_LIST: Final[int] = 8
"""Blocks or extras that one request may name; the player asks for two at a time."""


@dataclass(frozen=True)
class Request:
    """What the browser asks for.

    Attributes
    ----------
    seq : int
        Number of the request, echoed in the answer.
    scene : str
        Scene the browser holds; "" for none.
    mode : str
        Rendering of the maps.
    frame : int
        Frame under the cursor.
    blocks : tuple of int
    want : tuple of str
        Extras: ``spectrogram``, ``matches.A``, ``matches.B``, ``lattice_index``, ``ac.<kind>.<block>``.
    """

    seq: int
    scene: str
    mode: str
    frame: int
    blocks: tuple[int, ...]
    want: tuple[str, ...]

    @classmethod
    def of(cls, fields: Fields) -> Request:
        """Request from the element's state, whatever it holds."""
        return cls(
            seq=fields.number("seq", 0),
            scene=fields.text("scene", "", 64),
            mode=fields.text("mode", "full", 32),
            frame=fields.number("frame", 0),
            blocks=fields.numbers("blocks", _MAX_LIST),
            want=fields.texts("want", _MAX_LIST, 64),
        )
