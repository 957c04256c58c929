"""The frame player on an opened recording, as one fragment: what the Explorer and the label page show."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from uuid import uuid4

import streamlit as st

from pages.components import address, element, sources
from pages.components import state_keys as keys
from sai_core.player.answers import answer, status_of
from sai_core.player.request import Request
from sai_core.viewing.player import pack
from sai_core.viewing.recording_view import RecordingView


@st.fragment
def viewer(
    view: RecordingView,
    *,
    key: str = keys.PLAYER,
    place: Mapping[str, str | None] = MappingProxyType({}),
    links: Sequence[Mapping[str, str]] = (),
) -> None:
    """Show the player on a recording and answer what the browser asks for.

    Runs again when the browser asks for more, and only this function does.

    Parameters
    ----------
    view : RecordingView
    key : str
    place : mapping of str
        What the address holds while this view is shown: the player keeps its frame only in an address of the view.
    links : sequence of mapping
        ``title``, ``href`` and ``help`` of other pages that go on with this recording; the player adds its frame.
    """
    request = Request.of(element.asked(key))
    known = request.scene == view.scene_id
    given = answer(
        view,
        request,
        sources.work(),
        frame=address.frame() if not known and (address.navigated() or not request.seq) else None,
        weights=_weights(),
        asker=str(st.session_state.setdefault(keys.EXPLORER_READER, uuid4().hex)),
    )
    status = given.status
    for table in view.reading:
        reading = sources.reading(view, table)
        if reading is None and known and f"table.{table}" in request.want:
            st.rerun()  # it has been read: the page opens the recording anew, with what is known now
        status[f"table.{table}"] = {"state": "running"} if reading is None else status_of(reading)
    header = {
        "ack": request.seq,
        "scene": view.scene_id,
        "place": dict(place),
        "links": [dict(link) for link in links],
        "status": status,
        "error": given.error,
    }
    element.mount("player", pack(header, given.parts), key=key)


def _weights() -> dict[str, str]:
    """Weights that were chosen for acoustic maps, by kind."""
    chosen = {"uplam": keys.UPLAM_WEIGHTS, "precedence": keys.UPLAM_WEIGHTS, "lam32": keys.LAM32_WEIGHTS}
    return {kind: str(st.session_state.get(key, "")).strip() for kind, key in chosen.items()}
