"""The player as a widget of a notebook (anywidget: JupyterLab, Notebook, VS Code, Colab, marimo).

The same scripts as in the app (:mod:`sai_core.player.scripts`); ``web/notebook.js`` carries their messages over the
widget's model. Pictures and sound travel as buffers of custom messages, never as the widget's state, so that a saved
notebook stays small. A widget may be shown in several cells: each of them is a player with a number of its own, to
which its answers go, and all follow one frame.
"""

from __future__ import annotations

import operator
from collections.abc import Mapping
from typing import Any, Final

import anywidget
import numpy as np
import traitlets

from sai_core.dataset import PredictionSet, Recording
from sai_core.errors import InputError
from sai_core.player import scripts
from sai_core.player.answers import answer
from sai_core.player.request import Fields, Request
from sai_core.player.work import Work
from sai_core.viewing.player import pack
from sai_core.viewing.recording_view import BytesCache, RecordingView, TableReader, open_view

_CACHE_BYTES: Final[int] = 64 << 20
"""Finished blocks of one widget: about a minute of video."""

_LEAST_HEIGHT: Final[int] = 320
_MOST_PLAYERS: Final[int] = 64
"""Cells and windows that show one widget; what goes beyond is forgotten, and none of them is."""


class _Frame(traitlets.Int[int, int]):
    """A frame of the recording that the widget shows; numpy's whole numbers are as good as Python's."""

    def validate(self, obj: Any, value: Any) -> int:
        try:
            frame = operator.index(value)
        except TypeError:
            raise InputError(f"{value!r} is no frame; give a whole number from 0.") from None
        if not 0 <= frame < max(obj.n_frames, 1):
            raise InputError(f"{obj.recording}: there is no frame {frame}; there are {obj.n_frames}, from 0.")
        return frame


class PlayerWidget(anywidget.AnyWidget):
    """The player on a recording, in a notebook. Made by :func:`sai_core.view`.

    ``observe`` tells of changes of the first three, made by a hand in the player, too; setting them moves the player.

    Attributes
    ----------
    frame : int
        Frame that is shown, zero-based, of 100 ms.
    system : str or None
        Prediction set that is shown; None where several are side by side.
    event : dict or None
        The single source that is shown: ``of`` ("labels" or a prediction set), ``category_id``, ``instance_id``; None
        where all are.
    recording : str
        Name.
    n_frames : int
    problems : tuple of str
        What cannot be read, was left out or is odd about the files, one sentence each; the player shows them, too.
    height : int
        Of the player, in CSS pixels.
    """

    _esm = scripts.script("notebook")
    _page = traitlets.Unicode(scripts.text("player.html")).tag(sync=True)
    _style = traitlets.Unicode(scripts.style("player") + scripts.text("notebook.css")).tag(sync=True)
    _systems = traitlets.Dict().tag(sync=True)
    height = traitlets.Int(680).tag(sync=True)
    problems = traitlets.Tuple().tag(sync=True)
    frame = _Frame(0).tag(sync=True)
    system = traitlets.Unicode(None, allow_none=True).tag(sync=True)
    event = traitlets.Dict(default_value=None, allow_none=True).tag(sync=True)

    def __init__(
        self,
        recording: Recording,
        systems: Mapping[str, PredictionSet],
        *,
        read: TableReader,
        frame: int = 0,
        height: int = 680,
    ) -> None:
        self._files, self._sets, self._read = recording, dict(systems), read
        self._players: set[str] = set()
        self._view: RecordingView | None = None  # close(), which a half-made widget gets, too, asks for both
        self._work: Work | None = None
        if not isinstance(height, int) or height < _LEAST_HEIGHT:
            raise InputError(f"A height of {height!r} is no use; give whole pixels from {_LEAST_HEIGHT} on.")
        view, _ = self._open_view()
        self.recording, self.n_frames = recording.name, view.n_frames
        super().__init__(
            _systems={key: chosen.name for key, chosen in self._sets.items()},
            problems=(*view.problems, *view.notes),
            frame=frame,
            height=height,
        )
        self.on_msg(self._hear)

    def close(self) -> None:
        """Take the player off the notebook, stop what is being made for it, and let its memory go."""
        self._release()
        super().close()

    @traitlets.validate("system")
    def _check_system(self, proposal: Any) -> str | None:
        name = proposal["value"]
        names = [chosen.name for chosen in self._sets.values()]
        if name is not None and name not in names:
            raise InputError(f"The player does not show predictions {name!r}; it shows: {', '.join(names) or 'none'}.")
        return name

    @traitlets.validate("event")
    def _check_event(self, proposal: Any) -> dict[str, Any] | None:
        value = proposal["value"]
        if value is None:
            return None
        keys = {"labels": "L", **{chosen.name: key for key, chosen in self._sets.items()}}
        try:
            of, *numbers = (value[name] for name in ("of", "category_id", "instance_id"))
            category, instance = map(operator.index, numbers)
        except (KeyError, TypeError):
            raise InputError(
                f"{value!r} is no event; give a dictionary with of (labels or a prediction set), category_id and"
                " instance_id, or None."
            ) from None
        view, _ = self._open_view()
        table = view.tables.get(keys.get(of, ""))
        if table is None:
            raise InputError(f"The player shows no events of {of!r}; it shows those of: {', '.join(keys)}.")
        if not np.any((table.category_id == category) & (table.instance_id == instance)):
            raise InputError(f"{self.recording}: {of} have no event of class {category} with number {instance}.")
        return {"of": of, "category_id": category, "instance_id": instance}

    def _open_view(self) -> tuple[RecordingView, Work]:
        """What is shown; opened again where it was let go because no cell showed it."""
        if self._view is None or self._work is None:
            cache = BytesCache(_CACHE_BYTES)
            self._view = open_view(self._files, self._sets, cache=cache, read=self._read)
            self._work = Work(cache)
        return self._view, self._work

    def _release(self) -> None:
        view, work = self._view, self._work
        self._view = self._work = None
        if work is not None:
            work.close()
        if view is not None and view.frames is not None:
            view.frames.close()

    def _hear(self, _widget: object, content: object, _buffers: object) -> None:
        """A message of a player in the browser; anything malformed is dropped."""
        fields = Fields(content)
        kind, player = fields.text("kind", "", 16), fields.text("from", "", 64)
        if not player:
            return
        if kind == "bye":
            self._players.discard(player)
            if not self._players:
                self._release()
        elif kind == "request" and isinstance(content, Mapping):
            if len(self._players) < _MOST_PLAYERS:
                self._players.add(player)
            request = Request.of(Fields(content.get("value")))
            view, work = self._open_view()
            given = answer(view, request, work, asker=player)
            header = {
                "ack": request.seq,
                "scene": view.scene_id,
                "place": {},
                "links": [],
                "status": given.status,
                "error": given.error,
            }
            self.send({"kind": "answer", "to": player}, buffers=[pack(header, given.parts)])
