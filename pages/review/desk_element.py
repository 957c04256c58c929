"""What the review desk (``web/desk.js``) asks for: queue, editor and decision keys in the browser."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from sai_core.player.request import Fields

_MAX_ACTIONS: Final[int] = 20
_MAX_AHEAD: Final[int] = 4
"""Moments of one frame each: more would hold up the decisions that wait behind them."""

_MAX_SOUND: Final[int] = 2
_MAX_HAVE: Final[int] = 160
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
    here : bool
        The browser has the item on the screen as it stands; it is not sent again.
    rest : bool
        The reviewer stays with the item: all of it is wanted, not only its one frame.
    more : bool
        Still other items are going to be asked for.
    ahead : tuple of str
        Further items whose moments are wanted, the next one first.
    have : tuple of str
        Names of the blocks that the browser holds.
    by_ear : bool
        The reviewer hears sources by themselves: the next ones are made ahead.
    alone : bool
        The source of the item on the screen alone is asked for.
    heard : str
        Name of the sound that the browser holds for it.
    sound : tuple of str
        What is wanted of the recording's sound in directions, for two ears: ``sound``, ``h.<block>``.
    actions : tuple of dict
        Not yet answered, oldest first; checked where they are performed.
    """

    seq: int
    item: str
    frame: int
    here: bool
    rest: bool
    more: bool
    ahead: tuple[str, ...]
    have: tuple[str, ...]
    by_ear: bool
    alone: bool
    heard: str
    sound: tuple[str, ...]
    actions: tuple[dict[str, Any], ...]

    @classmethod
    def of(cls, fields: Fields) -> Request:
        """Request from the element's state, whatever it holds."""
        return cls(
            seq=fields.number("seq", 0),
            item=fields.text("item", "", 64),
            frame=fields.number("frame", -1),
            here=fields.number("here", 0) == 1,
            rest=fields.number("rest", 0) == 1,
            more=fields.number("more", 0) == 1,
            ahead=fields.texts("ahead", _MAX_AHEAD, _MAX_NAME),
            have=fields.texts("have", _MAX_HAVE, _MAX_NAME),
            by_ear=fields.number("by_ear", 0) == 1,
            alone=fields.number("alone", 0) == 1,
            heard=fields.text("heard", "", 64),
            sound=fields.texts("sound", _MAX_SOUND, _MAX_NAME),
            actions=fields.mappings("actions", _MAX_ACTIONS),
        )
