"""Scores of the classes for a sound, by the listener that ships or another one."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from sai_core.files import file_signature
from sai_core.installation import asset
from sai_core.listener.spectrum import COLUMNS, HOP, mel_power, network_input
from sai_core.taxonomy import N_CLASSES

if TYPE_CHECKING:
    from sai_core.listener.network import ListenerNet

Float32Array = npt.NDArray[np.float32]

SHIPPED_LISTENER: Final[Path] = asset("weights", "listener.safetensors")

_EVERY: Final[int] = COLUMNS // 2
"""Columns from one window of a longer sound to the next: a second."""

_MOST_WINDOWS: Final[int] = 12
"""Windows of one sound; of longer ones as many, spread evenly."""

_AT_ONCE: Final[int] = 64


@dataclass(frozen=True)
class Heard:
    """What a sound is to a listener.

    Attributes
    ----------
    scores : tuple of float
        Of the 13 classes, in [0, 1]; with ``nothing`` they add up to 1. Means over the windows.
    nothing : float
        That none of the classes sounds.
    windows : int
        Windows of two seconds that were heard.
    """

    scores: tuple[float, ...]
    nothing: float
    windows: int

    @property
    def order(self) -> tuple[int, ...]:
        """Classes, the likeliest first."""
        return tuple(int(c) for c in np.argsort(-np.asarray(self.scores), kind="stable"))


class Listener:
    """A network with its file. Safe to use from several threads.

    Attributes
    ----------
    path : Path
    notes : dict of str to str
        What is known of its training.
    """

    def __init__(self, model: ListenerNet, path: Path, notes: dict[str, str]) -> None:
        self._model, self.path, self.notes = model, path, notes
        self._lock = threading.Lock()

    @property
    def origin(self) -> str:
        """What it learned from, in some words for people."""
        return self.notes.get("learned_from", "unknown sounds")

    def scores_at(self, power: Float32Array, columns: npt.ArrayLike) -> Float32Array:
        """Scores of windows around columns.

        Parameters
        ----------
        power : float32, shape (n, 64)
            :func:`~sai_core.listener.spectrum.mel_power` of a sound; silence before and after it.
        columns : array_like of int, shape (m,)
            Column in the middle of each window.

        Returns
        -------
        float32, shape (m, 14)
            Probabilities: the 13 classes, then nothing. Nothing, where a window is silent.
        """
        import torch

        from sai_core.threads import one_torch_thread

        padded = np.pad(power, ((COLUMNS, COLUMNS), (0, 0)))
        middle = np.clip(np.atleast_1d(np.asarray(columns, np.int64)), -COLUMNS // 2, len(power) + COLUMNS // 2)
        out = np.zeros((len(middle), N_CLASSES + 1), dtype=np.float32)
        for first in range(0, len(middle), _AT_ONCE):
            rows = middle[first : first + _AT_ONCE, None] + np.arange(COLUMNS) + COLUMNS - COLUMNS // 2
            windows = padded[rows]
            with self._lock, one_torch_thread(), torch.inference_mode():
                logits = self._model(torch.from_numpy(network_input(windows)))
            out[first : first + _AT_ONCE] = torch.softmax(logits, dim=1).numpy()
            silent = ~(windows.max(axis=(1, 2)) > 0)
            out[first : first + _AT_ONCE][silent] = np.eye(N_CLASSES + 1, dtype=np.float32)[-1]
        return out

    def hear(self, sound: npt.NDArray[np.floating], start: int = 0, stop: int | None = None) -> Heard | None:
        """What sounds between two samples; None where there is silence.

        Parameters
        ----------
        sound : float, shape (n,)
            Mono, 24 kHz, any level. What lies outside of ``start`` and ``stop`` is heard where a window reaches there.
        start, stop : int
            Samples; all by default.
        """
        last = len(sound) if stop is None else min(stop, len(sound))
        first = max(start, 0)
        if last - first < HOP or not np.any(sound[first:last]):
            return None
        reach = COLUMNS * HOP  # no window reaches further
        low, high = max(first - reach, 0) // HOP * HOP, min(last + reach, len(sound))
        power = mel_power(np.asarray(sound[low:high], dtype=np.float32))
        begin, end = (first - low) // HOP, max((last - low) // HOP, (first - low) // HOP + 1)
        n = min(max(round((end - begin) / _EVERY) - 1, 1), _MOST_WINDOWS)
        half = COLUMNS // 2 if n > 1 else (end - begin) // 2
        probability = self.scores_at(power, np.linspace(begin + half, end - half, n).round()).mean(axis=0)
        scores = tuple(float(p) for p in probability[:N_CLASSES])
        return Heard(scores, float(probability[N_CLASSES]), n)


def open_listener(path: Path | None = None) -> Listener:
    """The listener that ships, or that of a file; kept open until the file changes.

    Raises
    ------
    InputError
        No such file, or not a listener of this program.
    """
    chosen = SHIPPED_LISTENER if path is None else Path(path)
    return _opened(chosen, file_signature(chosen))


@lru_cache(maxsize=4)
def _opened(path: Path, signature: Any) -> Listener:
    from sai_core.listener.network import load_listener

    model, notes = load_listener(path)
    return Listener(model, path, notes)
