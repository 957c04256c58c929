"""What the listener (:mod:`sai_core.listener`) makes of a line: a beam, or one source alone."""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

from sai_core.geometry import SAMPLES_PER_FRAME
from sai_core.listener import Listener
from sai_core.listener.spectrum import COLUMNS, COLUMNS_PER_FRAME, HOP, N_BANDS, mel_power
from sai_core.listening.encoding import BLOCK, Reader
from sai_core.progress import Progress, no_progress

Float32Array = npt.NDArray[np.float32]

_PIECE: Final[int] = 16 * BLOCK // HOP * HOP
"""Samples that are heard at a time: two seconds."""

_HALF_FRAMES: Final[int] = COLUMNS // COLUMNS_PER_FRAME // 2


def power_of(line: Reader, start: int, stop: int, *, progress: Progress = no_progress) -> Float32Array:
    """Mel power of a line between two samples, float32, shape ((stop - start) // 480, 64); memory is that of a piece.

    Parameters
    ----------
    line : callable
        Samples, shape (n, 1), as of :mod:`sai_core.listening.lines`.
    start, stop : int
        0 <= start <= stop.
    """
    parts = [np.zeros((0, N_BANDS), np.float32)]
    last = start + (stop - start) // HOP * HOP
    for at in range(start, last, _PIECE):
        progress((at - start) / max(last - start, 1), "listening")
        end = min(at + _PIECE, last)
        # a column reaches into its neighbours
        low = max(at - HOP, 0)
        power = mel_power(line(low, end + HOP)[:, 0])
        first = (at - low) // HOP
        parts.append(power[first : first + (end - at) // HOP])
    return np.concatenate(parts)


def scores_over(
    line: Reader,
    start: int,
    stop: int,
    by: Listener,
    *,
    every: int = 1,
    n_frames: int,
    progress: Progress = no_progress,
) -> tuple[npt.NDArray[np.int64], Float32Array]:
    """Scores of the classes over time.

    Parameters
    ----------
    line : callable
    start, stop : int
        Frames.
    by : Listener
    every : int
        Frames from one window to the next.
    n_frames : int
        Of the recording: windows reach a second beyond ``start`` and ``stop``, where there is sound.

    Returns
    -------
    frames : int64, shape (m,)
        The frame in the middle of each window; the first lies half a step after ``start``.
    scores : float32, shape (m, 14)
        The 13 classes, then nothing; each row adds up to 1.
    """
    frames = np.arange(start + every // 2, max(stop, start + every // 2 + 1), every)
    low, high = max(start - _HALF_FRAMES, 0), min(max(stop, start + 1) + _HALF_FRAMES, n_frames)
    power = power_of(line, low * SAMPLES_PER_FRAME, high * SAMPLES_PER_FRAME, progress=progress)
    columns = (frames - low) * COLUMNS_PER_FRAME + COLUMNS_PER_FRAME // 2
    return frames, by.scores_at(power, columns)
