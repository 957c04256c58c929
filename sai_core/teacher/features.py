"""Log-mel spectrograms with spatial channels, five columns a label frame.

4-channel array (``mic``)
    four log-mel spectrograms and six GCC-PHAT channels, one for each pair of capsules, with as many lags as mel bands.
ambisonics (``foa``)
    four log-mel spectrograms and three channels of the mel-weighted, normalised active intensity vector.

References
----------
S. Adavanne et al., "Sound event localization and detection of overlapping sources using convolutional recurrent
neural networks", IEEE JSTSP 13(1), 2019; the DCASE 2023 Task 3 description (64 bands, 20 ms hops, 100 ms labels).
"""

from __future__ import annotations

from functools import lru_cache
from itertools import combinations
from pathlib import Path
from typing import Final

import cv2
import numpy as np
import numpy.typing as npt

from sai_core.acoustics.audio_input import HELD_SHARE, AudioInput
from sai_core.dataset import Recording, open_frames
from sai_core.errors import InputError
from sai_core.geometry import SAMPLE_RATE_HZ, SAMPLES_PER_FRAME
from sai_core.teacher.config import AudioKind

FloatArray = npt.NDArray[np.float32]

N_MELS: Final[int] = 64
HOPS_PER_FRAME: Final[int] = 5
CHANNELS: Final[dict[str, int]] = {"mic": 10, "foa": 7}
VISUAL_GRID_HW: Final[tuple[int, int]] = (6, 12)
"""Cells of 30 degrees that pictures are averaged over: enough to tell where people and things are."""

_HOP: Final[int] = SAMPLES_PER_FRAME // HOPS_PER_FRAME
_N_FFT: Final[int] = 1024
_BLOCK_FRAMES: Final[int] = 200


@lru_cache(maxsize=1)
def mel_filters() -> FloatArray:
    """Triangular mel filters, shape (513, 64), 50 Hz to 12 kHz, unit peak (mel = 2595 log10(1 + f / 700))."""
    frequency = np.fft.rfftfreq(_N_FFT, 1.0 / SAMPLE_RATE_HZ)
    low, high = (2595.0 * np.log10(1.0 + f / 700.0) for f in (50.0, SAMPLE_RATE_HZ / 2))
    edges = 700.0 * (10.0 ** (np.linspace(low, high, N_MELS + 2) / 2595.0) - 1.0)
    rising = (frequency[:, None] - edges[None, :-2]) / np.diff(edges)[None, :-1]
    falling = (edges[None, 2:] - frequency[:, None]) / np.diff(edges)[None, 1:]
    return np.clip(np.minimum(rising, falling), 0.0, None).astype(np.float32)


def spectral_features(
    audio: npt.NDArray[np.floating], kind: AudioKind, *, highest_hz: float = SAMPLE_RATE_HZ / 2
) -> FloatArray:
    """Features of a stretch of audio.

    Parameters
    ----------
    audio : float, shape (2400 * frames, 4)
        24 kHz; capsules in UpLAM order, or ambisonics (ACN).
    kind : {"mic", "foa"}
    highest_hz : float
        What is above counts as silence: a file of a lower sample rate holds only images of the resampling there.

    Returns
    -------
    float32, shape (10 or 7, 5 * frames, 64)
        Log-mel in natural logarithm, scaled to about [-1, 1]; spatial channels in [-1, 1].
    """
    if audio.ndim != 2 or audio.shape[1] != 4 or audio.shape[0] % SAMPLES_PER_FRAME:
        raise InputError(f"teacher features: audio of shape (2400 n, 4) is needed, got {audio.shape}.")
    if kind not in CHANNELS:
        raise InputError(f"teacher features: kind {kind!r} is not known; choose mic or foa.")
    columns = audio.shape[0] // _HOP
    if columns == 0:
        return np.zeros((CHANNELS[kind], 0, N_MELS), np.float32)
    half = (_N_FFT - _HOP) // 2
    padded = np.pad(np.asarray(audio, np.float32), ((half, half), (0, 0)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, _N_FFT, axis=0)[::_HOP][:columns]
    spectrum = np.fft.rfft(windows * np.hanning(_N_FFT + 1)[:-1].astype(np.float32), axis=-1).astype(np.complex64)
    spectrum[..., np.fft.rfftfreq(_N_FFT, 1.0 / SAMPLE_RATE_HZ) > highest_hz] = 0
    filters = mel_filters()
    power = np.abs(spectrum) ** 2 @ filters  # (columns, 4, 64)
    log_mel = (np.log(power + 1e-8) + 4.0) / 10.0
    out = [log_mel[:, c] for c in range(4)]
    if kind == "foa":
        # W times the directional channels; ACN order is W, Y, Z, X
        intensity = np.real(np.conj(spectrum[:, :1]) * spectrum[:, 1:])
        energy = np.abs(spectrum[:, 0]) ** 2 + (np.abs(spectrum[:, 1:]) ** 2).sum(axis=1) / 3.0
        norm = energy @ filters + 1e-8
        out += [(intensity[:, c] @ filters) / norm for c in range(3)]
    else:
        for a, b in combinations(range(4), 2):
            cross = np.conj(spectrum[:, a]) * spectrum[:, b]
            lags = np.fft.irfft(cross / (np.abs(cross) + 1e-12), axis=-1)
            out.append(np.concatenate([lags[:, -N_MELS // 2 :], lags[:, : N_MELS // 2]], axis=1))
    return np.stack(out).astype(np.float32)


def open_audio(recording: Recording, kind: AudioKind) -> tuple[AudioInput, float]:
    """Audio of a recording and the highest frequency in it: above are but images where it had to be resampled.

    Raises
    ------
    InputError
        The audio is missing or cannot be read, or is ambisonics where the array is needed.
    """
    path: Path | None = recording.array_path if kind == "mic" else recording.foa_path
    if path is None:
        raise InputError(f"{recording.name}: there is no {kind}_dev audio for the teacher to listen to.")
    source = AudioInput(path, audio_format="foa" if kind == "foa" else "auto")
    if kind == "mic" and source.facts.audio_format == "foa":
        raise InputError(f"{path}: this is ambisonics (FOA), and the teacher listens to the array (mic_dev).")
    rate = source.facts.file_rate_hz
    return source, SAMPLE_RATE_HZ / 2 if rate >= SAMPLE_RATE_HZ else HELD_SHARE * rate / 2


def audio_notes(recording: Recording, kind: AudioKind) -> tuple[str, ...]:
    """Sentences on what is done to a recording's audio, from its header; errors as :func:`open_audio`."""
    source, highest_hz = open_audio(recording, kind)
    notes = list(source.notes())
    if highest_hz < SAMPLE_RATE_HZ / 2:
        notes.append(f"The teacher hears nothing above {highest_hz:.0f} Hz, because the file holds nothing there.")
    return tuple(notes)


def recording_features(recording: Recording, kind: AudioKind) -> FloatArray:
    """Features of a whole recording, shape (channels, 5 * frames, 64); only whole frames, as for the acoustic maps.

    Raises
    ------
    InputError
        The audio is missing or cannot be read, or is ambisonics where the array is needed.
    """
    source, highest_hz = open_audio(recording, kind)
    parts = []
    for _, block in source.blocks(_BLOCK_FRAMES):
        parts.append(spectral_features(block, kind, highest_hz=highest_hz))
    if not parts:
        return np.zeros((CHANNELS[kind], 0, N_MELS), np.float32)
    return np.concatenate(parts, axis=1)


def visual_features(recording: Recording, n_frames: int) -> FloatArray:
    """Pictures averaged over cells of 30 degrees, shape (frames, 216), in [0, 1]; zeros where there is no video."""
    rows, columns = VISUAL_GRID_HW
    out = np.zeros((n_frames, rows * columns * 3), np.float32)
    frames = open_frames(recording)
    if frames is None:
        return out
    with frames:
        for k in range(min(n_frames, frames.n_frames)):
            small = cv2.resize(frames.frame(k), (columns, rows), interpolation=cv2.INTER_AREA)
            out[k] = small.reshape(-1).astype(np.float32) / 255.0
    return out
