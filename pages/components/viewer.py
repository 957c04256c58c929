"""The frame player on an opened recording, as one fragment: what the Explorer and the label page show."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, cast

import streamlit as st

from pages.components import address, element, sources
from pages.components import state_keys as keys
from pages.components.player import Request
from sai_core.drawing.maps import MAP_MODES, MapMode
from sai_core.errors import SaiError
from sai_core.jobs import Job
from sai_core.viewing.acoustic_layer import index_table
from sai_core.viewing.player import BLOCK_FRAMES, pack
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
    mode = cast(MapMode, request.mode if request.mode in MAP_MODES else MAP_MODES[0])
    known = request.scene == view.scene_id
    parts: dict[str, bytes] = {}
    blocks = list(request.blocks)
    if not known:
        parts["scene"] = view.scene()
        frame = address.frame() if address.navigated() or not request.seq else request.frame
        blocks = [min(frame, view.n_frames - 1) // BLOCK_FRAMES]
    error = ""
    status: dict[str, dict[str, object]] = {}
    try:
        for block in blocks:
            if block < view.n_blocks:
                parts[f"block.{block}"] = view.block(block, mode=mode)
        if known and "spectrogram" in request.want:
            spectrogram = view.spectrogram()
            if spectrogram is not None:
                parts["spectrogram"] = spectrogram
        status |= _answer_acoustic(view, request.want if known else (), parts)
    except SaiError as problem:
        error = str(problem)
    for system in ("A", "B"):
        if system not in view.tables or "L" not in view.tables:
            continue
        job = sources.comparison(view, system)
        asked = known and f"matches.{system}" in request.want
        if asked:
            job.wait(0.3)
        status[system] = _status(job)
        if asked and job.result is not None:
            parts[f"matches.{system}"] = job.result.encode()
    header = {
        "ack": request.seq,
        "scene": view.scene_id,
        "place": dict(place),
        "links": [dict(link) for link in links],
        "status": status,
        "error": error,
    }
    element.mount("player", pack(header, parts), key=key)


def _answer_acoustic(
    view: RecordingView, want: tuple[str, ...], parts: dict[str, bytes]
) -> dict[str, dict[str, object]]:
    """Put the acoustic maps that were asked for into the answer; gives how far their calculation is."""
    status: dict[str, dict[str, object]] = {}
    for item in want:
        prefix, _, rest = item.partition(".")
        kind, _, block = rest.partition(".")
        if prefix != "ac" or kind not in view.layers or not block.isdecimal() or len(block) > 6:
            continue
        weights = {
            "uplam": keys.UPLAM_WEIGHTS,
            "precedence": keys.UPLAM_WEIGHTS,
            "lam32": keys.LAM32_WEIGHTS,
        }.get(kind)
        path = str(st.session_state.get(weights, "")).strip() if weights else ""
        job = sources.acoustic_layer(view, kind, path)
        if f"ac.{kind}" not in status:
            job.wait(0.3)
        status[f"ac.{kind}"] = _status(job)
        if job.result is not None:
            if "lattice_index" in want:
                parts["lattice_index"] = index_table()
            if int(block) * BLOCK_FRAMES < len(job.result.maps):
                parts[item] = job.result.block(int(block))
    return status


def _status(job: Job[Any]) -> dict[str, object]:
    if job.result is not None:
        return {"state": "done"}
    if job.error:
        return {"state": "error", "text": job.error}
    return {"state": "running", "fraction": job.fraction, "text": job.text}
