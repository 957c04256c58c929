"""Inline elements of our own (Components v2): files of ``web/``, bytes to the browser, and what it asks for."""

from __future__ import annotations

from collections.abc import Mapping

import streamlit as st

from sai_core.player import scripts
from sai_core.player.request import Fields


def asked(key: str) -> Fields:
    """What the browser asked for last; readable before the element is mounted."""
    state = st.session_state.get(key)
    return Fields(state.get("request") if isinstance(state, Mapping) else None)


def mount(entry: str, data: bytes, *, key: str) -> None:
    """Show an element with an answer; a new request of the browser reruns the fragment that calls this."""
    # registering again under the same name with the same text is a dictionary look-up
    component = st.components.v2.component(
        f"sai_{entry}", html=scripts.text(f"{entry}.html"), css=scripts.style(entry), js=scripts.script(entry)
    )
    component(key=key, data=data, on_request_change=_ignore)


def _ignore() -> None:
    """Components report state only under names that have a callback."""
