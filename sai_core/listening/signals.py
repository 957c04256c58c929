"""Which of a recording's signals is listened to, and why; its samples at 24 kHz, from anywhere."""

from __future__ import annotations

from pathlib import Path
from typing import Final, Literal, get_args

import numpy as np
import numpy.typing as npt

from sai_core.acoustics.audio_input import AudioInput
from sai_core.dataset import Recording
from sai_core.errors import InputError, check_known
from sai_core.geometry import SAMPLES_PER_FRAME
from sai_core.listening.encoding import Array

Float32Array = npt.NDArray[np.float32]
Wanted = Literal["auto", "foa", "mic", "eigen"]

WORDS: Final[dict[Array, str]] = {
    "eigen": "32 capsules of the Eigenmike",
    "foa": "first-order ambisonics (FOA)",
    "mic": "4 capsules (MIC)",
}


class Signal:
    """Samples of a recording at 24 kHz.

    Attributes
    ----------
    array : {"foa", "mic", "eigen"}
        What the channels are.
    path : Path
    n_frames, n_samples : int
        Whole frames of 100 ms, and samples in them.
    why : str
        One sentence: what is heard, and why this.
    """

    def __init__(self, path: Path, source: AudioInput, why: str, refused: tuple[str, ...]) -> None:
        kind = source.facts.audio_format
        assert kind != "auto"
        self.array: Array = kind
        self.path = path
        self.why = why
        self._source = source
        self._refused = refused
        self.n_frames = source.facts.n_frames
        self.n_samples = self.n_frames * SAMPLES_PER_FRAME

    def read(self, start: int, stop: int) -> Float32Array:
        """Samples [start, stop) of all channels, float32; zeros outside of the recording."""
        out = np.zeros((stop - start, self._source.facts.file_channels), dtype=np.float32)
        low, high = max(start, 0), min(stop, self.n_samples)
        if low < high:
            first, last = low // SAMPLES_PER_FRAME, -(-high // SAMPLES_PER_FRAME)
            samples = self._source.read(first, last)
            begin = first * SAMPLES_PER_FRAME
            out[low - start : high - start] = samples[low - begin : high - begin]
        return out

    def notes(self) -> tuple[str, ...]:
        """What was done to the input so far, and which other signals could not be used."""
        return (*self._refused, *self._source.notes())


def open_signal(recording: Recording, *, wanted: Wanted = "auto", solo: bool = False) -> Signal:
    """Open the signal of a recording that tells directions apart best.

    32 capsules first. Without them, FOA for beams (taken as it is), 4 capsules for solo (they differ more at high
    frequencies than FOA says). A file that cannot be used is told, and the next one is taken.

    Parameters
    ----------
    recording : Recording
    wanted : {"auto", "foa", "mic", "eigen"}
        One kind alone instead.
    solo : bool
        What it is for.

    Raises
    ------
    InputError
        The recording has no sound, not of that kind, or none that can be used.
    """
    check_known("Signal", wanted, get_args(Wanted))
    paths = {"eigen": recording.eigen_path, "foa": recording.foa_path, "mic": recording.mic_path}
    order: list[Array] = ["eigen", "mic", "foa"] if solo else ["eigen", "foa", "mic"]
    there = [kind for kind in order if paths[kind] is not None]
    if not there:
        raise InputError(f"{recording.name}: has no sound to listen to; add its file to mic_dev, foa_dev or eigen_dev.")
    if wanted != "auto":
        if wanted not in there:
            raise InputError(f"{recording.name}: has no {WORDS[wanted]}; choose {' or '.join(sorted(there))} or auto.")
        there = [wanted]
    refused: list[str] = []
    for kind in there:
        path = paths[kind]
        assert path is not None
        try:
            source = _opened(path, kind)
        except InputError as error:
            if len(there) == 1:
                raise
            refused.append(f"Not used: {error}")
            continue
        return Signal(path, source, _why(source, wanted, order, there, refused), tuple(refused))
    raise InputError(f"{recording.name}: has no sound that tells directions; {refused[0].removeprefix('Not used: ')}")


def _opened(path: Path, kind: Array) -> AudioInput:
    source = AudioInput(path, channels=None)
    if kind == "foa" and source.facts.file_channels == 4:
        # also where the folder is not called so
        source = AudioInput(path, channels=None, audio_format="foa")
    if source.facts.n_frames == 0:
        raise InputError(f"{path}: is shorter than one frame of 100 ms; there is nothing to hear.")
    return source


def _why(source: AudioInput, wanted: Wanted, order: list[Array], there: list[Array], refused: list[str]) -> str:
    kind = source.facts.audio_format
    assert kind != "auto"
    heard = f"Heard from {WORDS[kind]}"
    if wanted != "auto":
        return f"{heard}, as asked."
    missing = [WORDS[k] for k in order[: order.index(kind)] if k not in there]
    if refused:
        return f"{heard}: what would be better cannot be used."
    if missing:
        return f"{heard}: there is no recording of {' and none of '.join(missing)}."
    return f"{heard}, the best that the recording has."
