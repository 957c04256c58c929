"""The review desk: an inline Components v2 element with queue, editor and decision keys (``web/desk.js``)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import streamlit as st

from pages.components import web

_NAME: Final[str] = "sai_review_desk"
_MAX_ACTIONS: Final[int] = 20
_MAX_AHEAD: Final[int] = 2
"""Moments of a second or two of video each: more would hold up the decisions that wait behind them."""

_MAX_HAVE: Final[int] = 80


@dataclass(frozen=True)
class Request:
    """What the browser asks for; anything malformed in it is dropped, since a browser's message is user input.

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

    seq: int = 0
    item: str = ""
    frame: int = -1
    ahead: tuple[str, ...] = ()
    have: tuple[str, ...] = ()
    actions: tuple[dict[str, Any], ...] = ()


def parse_request(value: object) -> Request:
    """Request from the component's state, whatever it holds."""
    if not isinstance(value, Mapping):
        return Request()

    def integer(name: str, default: int) -> int:
        item = value.get(name)
        return item if isinstance(item, int) and not isinstance(item, bool) and 0 <= item < 10**9 else default

    def listed(name: str, most: int) -> list[Any]:
        items = value.get(name)
        return items[:most] if isinstance(items, list) else []

    def words(name: str, most: int) -> tuple[str, ...]:
        return tuple(item for item in listed(name, most) if isinstance(item, str) and len(item) <= 120)

    return Request(
        seq=integer("seq", 0),
        item=str(value.get("item", ""))[:64],
        frame=integer("frame", -1),
        ahead=words("ahead", _MAX_AHEAD),
        have=words("have", _MAX_HAVE),
        actions=tuple(dict(item) for item in listed("actions", _MAX_ACTIONS) if isinstance(item, Mapping)),
    )


def current_request(key: str) -> Request:
    """What the browser asked for last; readable before the component is mounted."""
    state = st.session_state.get(key)
    return parse_request(state.get("request") if isinstance(state, Mapping) else None)


def mount(data: bytes, *, key: str) -> None:
    """Show the desk with an answer; a new request of the browser reruns the fragment that calls this."""
    component = st.components.v2.component(
        _NAME, html=web.text("desk.html"), css=web.text("desk.css"), js=web.script("desk")
    )
    component(key=key, data=data, on_request_change=_ignore)


def _ignore() -> None:
    """Components report state only under names that have a callback."""
