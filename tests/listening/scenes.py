"""Two talkers in a simulated room, and what is measured of them; for tests and for the benchmark."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from sai_core.geometry import SAMPLE_RATE_HZ, UPLAM_CAPSULES, directions_to_vectors
from sai_core.listening.encoding import Array, Reader
from sai_core.listening.sources import Track
from sai_core.simulation import speech, sphere
from sai_core.simulation.propagate import Path, propagate
from sai_core.simulation.room import Listener, draw_room

CHANNELS: dict[Array, list[int]] = {"mic": list(UPLAM_CAPSULES), "eigen": list(range(32)), "foa": [32, 33, 34, 35]}
"""Channels of a rendered scene that each kind of recording has."""


def reader_of(samples: npt.NDArray[np.floating]) -> Reader:
    """Reader of samples in memory, shape (samples, channels); zeros before and after."""

    def read(start: int, stop: int) -> npt.NDArray[np.float32]:
        out = np.zeros((stop - start, samples.shape[1]), dtype=np.float32)
        low, high = max(start, 0), min(stop, len(samples))
        if low < high:
            out[low - start : high - start] = samples[low:high]
        return out

    return read


@dataclass(frozen=True)
class Talkers:
    """Two talkers: each one's sound at all 36 channels (capsules, FOA), the dry one, noise, and where they are."""

    parts: tuple[npt.NDArray[Any], npt.NDArray[Any]]
    dry: tuple[npt.NDArray[Any], npt.NDArray[Any]]
    noise: npt.NDArray[Any]
    tracks: tuple[Track, Track]

    def mix(self, array: Array) -> npt.NDArray[Any]:
        """Samples of a recording, (samples, channels)."""
        return (self.parts[0] + self.parts[1] + self.noise)[CHANNELS[array]].T


def talkers(seed: int, *, seconds: float = 3.0, rt60_s: float | None = None, apart_deg: float = 60.0) -> Talkers:
    """Two talkers 1.5 m away on one level, 50 dB above diffuse noise; anechoic without ``rt60_s``."""
    rng = np.random.default_rng(seed)
    room = draw_room(rng, rt60_s=(rt60_s or 0.3, rt60_s or 0.3))
    centre = (room.size_m[0] / 2 + rng.uniform(-0.2, 0.2), room.size_m[1] / 2 + rng.uniform(-0.1, 0.1), 1.3)
    middle = float(rng.uniform(-180, 180))
    n, frames = round(seconds * SAMPLE_RATE_HZ), round(seconds * 10)
    parts, dry, tracks = [], [], []
    for k, azimuth in enumerate((middle - apart_deg / 2, middle + apart_deg / 2)):
        sound, _ = speech.speak(seconds, np.random.default_rng([seed, k]), ("female", "male")[k])
        sound = sound * (0.1 / np.sqrt(np.mean(sound**2)))
        point = np.array(centre) + 1.5 * directions_to_vectors(azimuth, 0.0)
        heard = propagate(
            sound,
            0,
            Path(np.zeros(1), point[None]),
            room,
            Listener(centre, 0.0),
            np.random.default_rng([seed, k, 1]),
            anechoic=rt60_s is None,
        )
        parts.append(np.zeros((36, n), dtype=np.float32))
        parts[k][:, : heard.channels.shape[1]] = heard.channels[:, :n]
        dry.append(heard.direct[:n])
        wrapped = (azimuth + 180) % 360 - 180
        tracks.append(Track(k, k, np.arange(frames), np.full(frames, wrapped), np.zeros(frames)))
    noise = sphere.diffuse_noise(n, np.random.default_rng([seed, 5]), np.ones(1025))
    noise *= np.float32(np.sqrt(np.mean(parts[0][32] ** 2)) * 10 ** (-50 / 20))
    noise += np.float32(1e-4) * np.random.default_rng([seed, 6]).standard_normal(noise.shape, dtype=np.float32)
    return Talkers((parts[0], parts[1]), (dry[0], dry[1]), noise, (tracks[0], tracks[1]))


def level_db(x: npt.ArrayLike) -> float:
    """Mean square in dB."""
    return float(10 * np.log10(np.mean(np.asarray(x, np.float64) ** 2) + 1e-30))


def si_sdr_db(x: npt.ArrayLike, reference: npt.ArrayLike) -> float:
    """Scale-invariant signal-to-distortion ratio (Le Roux et al., ICASSP 2019)."""
    signal, target = np.asarray(x, np.float64), np.asarray(reference, np.float64)
    target = target * (signal @ target) / (target @ target)
    return float(10 * np.log10(np.sum(target**2) / np.sum((signal - target) ** 2)))
