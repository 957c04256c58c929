"""What the frame player asks for: it draws, plays and steps in the browser."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

_LARGEST: Final[int] = 10**9

_MAX_LIST: Final[int] = 8
"""Blocks or extras that one request may name; the player asks for two at a time."""


class Fields:
    """What the browser asks for; anything malformed in it is dropped, since a browser's message is user input."""

    def __init__(self, value: object) -> None:
        self._values: Mapping[Any, object] = value if isinstance(value, Mapping) else {}

    def number(self, name: str, default: int) -> int:
        """Whole number from 0 on."""
        return _number(self._values.get(name), default)

    def text(self, name: str, default: str, length: int) -> str:
        """Text of at most a length."""
        return str(self._values.get(name, default))[:length]

    def numbers(self, name: str, most: int) -> tuple[int, ...]:
        """The whole numbers of a list."""
        return tuple(number for item in self._list(name, most) if (number := _number(item, -1)) >= 0)

    def texts(self, name: str, most: int, length: int) -> tuple[str, ...]:
        """The texts of a list, without those that are too long: a name cut off would be another's."""
        return tuple(item for item in self._list(name, most) if isinstance(item, str) and len(item) <= length)

    def mappings(self, name: str, most: int) -> tuple[dict[str, Any], ...]:
        """The objects of a list."""
        return tuple(dict(item) for item in self._list(name, most) if isinstance(item, Mapping))

    def _list(self, name: str, most: int) -> list[object]:
        items = self._values.get(name)
        return items[:most] if isinstance(items, list) else []


def _number(value: object, default: int) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < _LARGEST else default


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
        Extras: ``spectrogram``, ``matches.<system>``, ``lattice_index``, ``ac.<kind>.<block>``,
        ``table.<key>`` (tell when an annotation file has been read); ``frame.<frame>`` (where that frame's block is not
        at hand, the frame alone in place of it); sound in directions: ``sound``, ``h.<block>``,
        ``solo|around.<table>.<class>.<number>.<block>``.
    """

    seq: int
    scene: str
    mode: str
    frame: int
    blocks: tuple[int, ...]
    want: tuple[str, ...]

    @property
    def alone(self) -> int | None:
        """Frame that may come ahead of its block."""
        numbers = [item[6:] for item in self.want if item.startswith("frame.")]
        return int(numbers[0]) if numbers and re.fullmatch(r"\d{1,9}", numbers[0]) else None

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
