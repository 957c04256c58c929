"""What the review desk (``web/desk.js``) asks for: queue, editor and decision keys in the browser."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from pages.components.element import Fields

_MAX_ACTIONS: Final[int] = 20
_MAX_AHEAD: Final[int] = 2
"""Moments of a second or two of video each: more would hold up the decisions that wait behind them."""

_MAX_HAVE: Final[int] = 80
_MAX_NAME: Final[int] = 120


@dataclass(frozen=True)
class Request:
    """What the browser asks for.

    Attributes
    ----------
    seq : int
        Number of the request, echoed in the answer.
    item : str
        Item on the screen; "" for none.
    frame : int
        Frame under the cursor; -1 for the item's own.
    ahead : tuple of str
        Further items whose moments are wanted, the next one first.
    have : tuple of str
        Names of the blocks that the browser holds.
    actions : tuple of dict
        Not yet answered, oldest first; checked where they are performed.
    """

    seq: int
    item: str
    frame: int
    ahead: tuple[str, ...]
    have: tuple[str, ...]
    actions: tuple[dict[str, Any], ...]

    @classmethod
    def of(cls, fields: Fields) -> Request:
        """Request from the element's state, whatever it holds."""
        return cls(
            seq=fields.number("seq", 0),
            item=fields.text("item", "", 64),
            frame=fields.number("frame", -1),
            ahead=fields.texts("ahead", _MAX_AHEAD, _MAX_NAME),
            have=fields.texts("have", _MAX_HAVE, _MAX_NAME),
            actions=fields.mappings("actions", _MAX_ACTIONS),
        )
