"""What the listener looks at: power in 64 mel bands up to 12 kHz, 50 times a second, by windows of two seconds."""

from __future__ import annotations

from functools import cache
from typing import Final

import numpy as np
import numpy.typing as npt

from sai_core.geometry import SAMPLE_RATE_HZ

Float32Array = npt.NDArray[np.float32]

N_BANDS: Final[int] = 64
BAND_HZ: Final[tuple[float, float]] = (50.0, 12_000.0)
HOP: Final[int] = SAMPLE_RATE_HZ // 50
COLUMNS: Final[int] = 100
"""Columns of a window: two seconds."""

COLUMNS_PER_FRAME: Final[int] = SAMPLE_RATE_HZ // 10 // HOP
_SIZE: Final[int] = 1024
_BEFORE: Final[int] = (_SIZE - HOP) // 2
_RANGE_DB: Final[tuple[float, float]] = (-50.0, 30.0)
"""Against the mean power of a window; what is fainter is mostly noise of the microphones."""


def mel_power(sound: npt.NDArray[np.floating]) -> Float32Array:
    """Power of a sound in mel bands.

    Parameters
    ----------
    sound : float, shape (n,)
        Mono, 24 kHz.

    Returns
    -------
    float32, shape (n // 480, 64)
        Column k is centred on the samples [480 k, 480 (k + 1)).
    """
    n = len(sound) // HOP
    padded = np.zeros(max(n, 1) * HOP + _SIZE - HOP, dtype=np.float32)
    used = min(len(sound), n * HOP + _SIZE - HOP - _BEFORE)
    padded[_BEFORE : _BEFORE + used] = sound[:used]
    out = np.empty((n, N_BANDS), dtype=np.float32)
    pieces = np.lib.stride_tricks.sliding_window_view(padded, _SIZE)[::HOP]
    window = np.hanning(_SIZE).astype(np.float32)
    for first in range(0, n, 1000):  # twenty seconds at a time: memory does not grow with length
        spectra = np.fft.rfft(pieces[first : first + 1000] * window, axis=1)
        out[first : first + 1000] = (spectra.real**2 + spectra.imag**2).astype(np.float32) @ mel_bands()
    return out


@cache
def mel_bands() -> Float32Array:
    """Triangles that are even on the mel scale (2595 log10(1 + f / 700)), shape (513, 64), each of sum 1."""
    low, high = (2595.0 * np.log10(1.0 + f / 700.0) for f in BAND_HZ)
    edges = 700.0 * (10.0 ** (np.linspace(low, high, N_BANDS + 2) / 2595.0) - 1.0)
    frequency = np.fft.rfftfreq(_SIZE, 1.0 / SAMPLE_RATE_HZ)[:, None]
    rising = (frequency - edges[:-2]) / (edges[1:-1] - edges[:-2])
    falling = (edges[2:] - frequency) / (edges[2:] - edges[1:-1])
    bands = np.maximum(np.minimum(rising, falling), 0.0)
    for k in np.flatnonzero(bands.sum(axis=0) == 0):  # narrower than a bin: the bin nearest to its middle
        bands[np.abs(frequency[:, 0] - edges[k + 1]).argmin(), k] = 1.0
    return (bands / bands.sum(axis=0)).astype(np.float32)


def network_input(power: Float32Array) -> Float32Array:
    """What the network is given: decibels against the mean power of the window, in units of 20 dB.

    Loudness is taken out; a silent window is all at the lower end.

    Parameters
    ----------
    power : float32, shape (..., 100, 64)

    Returns
    -------
    float32, shape (..., 100, 64)
        In [-2.5, 1.5].
    """
    mean = power.mean(axis=(-2, -1), keepdims=True, dtype=np.float64)
    share = np.maximum(power / np.maximum(mean, 1e-30), 10.0 ** (_RANGE_DB[0] / 10.0))
    return (np.minimum(10.0 * np.log10(share), _RANGE_DB[1]) / 20.0).astype(np.float32)
