"""The frame player: an inline Components v2 element that draws, plays and steps in the browser (``web/player.js``)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import streamlit as st

from pages.components import web
from sai_core.drawing.maps import MAP_MODES as MAP_MODES
from sai_core.viewing.player import pack

_NAME: Final[str] = "sai_frame_player"
_MAX_LIST: Final[int] = 8
"""Blocks or extras that one request may name; the player asks for two at a time."""


@dataclass(frozen=True)
class Request:
    """What the browser asks for; anything malformed in it is dropped, since a browser's message is user input.

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

    seq: int = 0
    scene: str = ""
    mode: str = "full"
    frame: int = 0
    blocks: tuple[int, ...] = ()
    want: tuple[str, ...] = ()


def parse_request(value: object) -> Request:
    """Request from the component's state, whatever it holds."""
    if not isinstance(value, Mapping):
        return Request()

    def integer(item: object, default: int = 0) -> int:
        return item if isinstance(item, int) and not isinstance(item, bool) and 0 <= item < 10**9 else default

    def listed(name: str) -> list[object]:
        items = value.get(name)
        return items[:_MAX_LIST] if isinstance(items, list) else []

    return Request(
        seq=integer(value.get("seq")),
        scene=str(value.get("scene", ""))[:64],
        mode=str(value.get("mode", "full"))[:32],
        frame=integer(value.get("frame")),
        blocks=tuple(b for b in (integer(item, -1) for item in listed("blocks")) if b >= 0),
        want=tuple(item[:64] for item in listed("want") if isinstance(item, str)),
    )


def current_request(key: str) -> Request:
    """What the browser asked for last; readable before the component is mounted."""
    state = st.session_state.get(key)
    value = state.get("request") if isinstance(state, Mapping) else None
    return parse_request(value)


def message(header: Mapping[str, Any], parts: Mapping[str, bytes]) -> bytes:
    """Answer to the browser."""
    return pack(header, parts)


def mount(data: bytes, *, key: str) -> None:
    """Show the player with an answer; a new request of the browser reruns the fragment that calls this."""
    # registering again under the same name with the same text is a dictionary look-up
    component = st.components.v2.component(
        _NAME, html=web.text("player.html"), css=web.text("player.css"), js=web.script("player")
    )
    component(key=key, data=data, on_request_change=_ignore)


def _ignore() -> None:
    """Components report state only under names that have a callback."""
