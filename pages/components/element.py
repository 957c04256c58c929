"""Inline elements of our own (Components v2): files of ``web/``, bytes to the browser, and what it asks for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import streamlit as st

from pages.components import web

_LARGEST: Final[int] = 10**9


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


def asked(key: str) -> Fields:
    """What the browser asked for last; readable before the element is mounted."""
    state = st.session_state.get(key)
    return Fields(state.get("request") if isinstance(state, Mapping) else None)


def mount(entry: str, data: bytes, *, key: str) -> None:
    """Show an element with an answer; a new request of the browser reruns the fragment that calls this."""
    # registering again under the same name with the same text is a dictionary look-up
    component = st.components.v2.component(
        f"sai_{entry}", html=web.text(f"{entry}.html"), css=web.style(entry), js=web.script(entry)
    )
    component(key=key, data=data, on_request_change=_ignore)


def _ignore() -> None:
    """Components report state only under names that have a callback."""
