"""Answers to what a player asks for, whoever carries them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final, cast

from sai_core.drawing.maps import MAP_MODES, MapMode
from sai_core.errors import SaiError
from sai_core.jobs import Job, answering
from sai_core.listening.solo import Part
from sai_core.player.request import Request
from sai_core.player.work import Work
from sai_core.viewing.acoustic_layer import index_table
from sai_core.viewing.player import BLOCK_FRAMES
from sai_core.viewing.recording_view import RecordingView

_PATIENCE_S: Final[float] = 0.3
"""How long work of one kind is waited for: what is not there by then is asked for again."""

Status = dict[str, dict[str, object]]
"""How far the work behind what was asked for is, by the name of the work."""


@dataclass(frozen=True)
class Answer:
    """What is given to a player.

    Attributes
    ----------
    parts : mapping of bytes
        Containers by the names of :class:`~sai_core.player.request.Request`; ``scene`` where the browser has another.
    status : mapping
        Of the work behind what was asked for: ``state`` (running, done, error), ``fraction``, ``text``.
    error : str
        Why something could not be given, a sentence; "" where all could.
    """

    parts: dict[str, bytes]
    status: Status
    error: str = ""


def answer(
    view: RecordingView,
    request: Request,
    work: Work,
    *,
    frame: int | None = None,
    weights: Mapping[str, str] = MappingProxyType({}),
    asker: str = "",
) -> Answer:
    """What a player asks for of a recording, as far as it is there or can be made in a moment.

    Parameters
    ----------
    view : RecordingView
    request : Request
    work : Work
    frame : int, optional
        Frame that is shown first where the browser does not hold this scene yet; the request's if left out.
    weights : mapping of str
        Weights of acoustic maps by kind; those that ship where there is none.
    asker : str
        Who asks: their next wish for a spectrogram or a comparison takes the place of this one.
    """
    mode = cast(MapMode, request.mode if request.mode in MAP_MODES else MAP_MODES[0])
    known = request.scene == view.scene_id
    want = request.want if known else ()
    parts: dict[str, bytes] = {}
    blocks, alone = list(request.blocks), request.alone
    if not known:
        parts["scene"] = view.scene()
        alone = min(request.frame if frame is None else frame, view.n_frames - 1)
        blocks = [alone // BLOCK_FRAMES]
    error = ""
    status: Status = {}
    try:
        with answering():
            for block in blocks:
                if not 0 <= block < view.n_blocks:
                    continue
                if alone is not None and alone // BLOCK_FRAMES == block and not view.holds(block, mode=mode):
                    parts[f"frame.{alone}"] = view.still(alone, mode=mode)
                else:
                    parts[f"block.{block}"] = view.block(block, mode=mode)
        if "spectrogram" in want:
            spectrogram = view.spectrogram()
            if spectrogram is not None:
                parts["spectrogram"] = spectrogram
        status |= _acoustic(view, want, parts, work, weights)
        status |= answer_listening(view, want, parts, work, asker=asker)
    except SaiError as problem:
        error = str(problem)
    patience = _PATIENCE_S  # for all of them together
    for system in view.systems:
        if system not in view.tables or "L" not in view.tables:
            continue
        job = work.comparison(view, system, asker)
        asked = f"matches.{system}" in want
        if asked and not job.wait(patience):
            patience = 0.0
        status[system] = status_of(job)
        if asked and job.result is not None:
            parts[f"matches.{system}"] = job.result.encode()
    return Answer(parts, status, error)


def status_of(job: Job[Any]) -> dict[str, object]:
    """State of a job as the player reads it."""
    if job.result is not None:
        return {"state": "done"}
    if job.error:
        return {"state": "error", "text": job.error}
    return {"state": "running", "fraction": job.fraction, "text": job.text}


def _acoustic(
    view: RecordingView, want: tuple[str, ...], parts: dict[str, bytes], work: Work, weights: Mapping[str, str]
) -> Status:
    """Put the acoustic maps that were asked for into the answer; gives how far their calculation is."""
    status: Status = {}
    for item in want:
        prefix, _, rest = item.partition(".")
        kind, _, block = rest.partition(".")
        if prefix != "ac" or kind not in view.layers or not block.isdecimal() or len(block) > 6:
            continue
        job = work.acoustic_layer(view, kind, weights.get(kind, ""))
        if f"ac.{kind}" not in status:
            job.wait(_PATIENCE_S)
        status[f"ac.{kind}"] = status_of(job)
        if job.result is not None:
            status[f"ac.{kind}"]["frames"] = len(job.result.maps)  # of a shorter sound there are no more
            if "lattice_index" in want:
                parts["lattice_index"] = index_table()
            if int(block) * BLOCK_FRAMES < len(job.result.maps):
                parts[item] = job.result.block(int(block))
    return status


def answer_listening(
    view: RecordingView, want: tuple[str, ...], parts: dict[str, bytes], work: Work, *, asker: str = ""
) -> Status:
    """Put the sound in directions that was asked for into the answer; gives how far it is, or why there is none."""
    status: Status = {}
    patience = _PATIENCE_S
    for item in want:
        name, *rest = item.split(".")
        if name not in ("sound", "h", "solo", "around", "spec"):
            continue
        numbers = [int(part) for part in rest if re.fullmatch(r"-?\d{1,9}", part)]
        kind = name if name in ("sound", "h") else ".".join([name, *rest[:1]])
        try:
            if name == "h" and len(numbers) == 1 and numbers[0] < view.n_blocks:
                parts[item] = work.listening_window(view, numbers[0])
                continue
            job = _listening_job(view, name, rest, numbers, work, asker)
        except SaiError as problem:
            status[kind] = {"state": "error", "text": str(problem)}
            continue
        if job is None:
            continue
        if not job.wait(patience):
            patience = 0.0
        status[kind] = status_of(job)
        if job.result is not None:
            parts[item] = job.result
    return status


def _listening_job(
    view: RecordingView, name: str, rest: list[str], numbers: list[int], work: Work, asker: str
) -> Job[bytes] | None:
    """The job behind a wish for sound; None for what is no wish (a browser's message is user input)."""
    if name == "sound":
        return work.listening_facts(view)
    if name in ("solo", "around"):
        if len(numbers) != 3 or rest[0] not in view.tables or not 0 <= numbers[2] < view.n_blocks:
            return None
        part: Part = "solo" if name == "solo" else "around"
        return work.listening_source(view, rest[0], (numbers[0], numbers[1]), part, numbers[2])
    if name != "spec" or len(rest) != 4 or len(numbers) < 2:
        return None
    if rest[0] == "point":
        return work.listening_spectrogram(view, rest[1], (numbers[0], numbers[1]), asker)
    if rest[0] in ("solo", "around") and rest[1] in view.tables:
        return work.listening_spectrogram(view, rest[0], (rest[1], numbers[0], numbers[1]), asker)
    return None
