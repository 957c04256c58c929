"""How well a map localises: held-out scenes as audio, one peak rule for every method, plain figures.

Scenes are rendered in the time domain by :mod:`sai_core.simulation` (image sources and diffuse tail in
spherical harmonics of order 10, 24 kHz, all 32 capsules): other code, other rooms and other sounds than the training
scenes of :mod:`sai_core.training.uplam.scenes`. The maps are then made from audio, through the same visibility
code as in use.

Rules, the same for every method
--------------------------------
* A frame's map is the mean of its nine bands (of the method's only map if it has one).
* A peak is a lattice point that no neighbour within 14 degrees exceeds; the ``n`` highest are taken.
* A source counts in a frame if its direct sound is within 15 dB of its own loudest frame, and of the frame's loudest
  source. Frames are sorted by the number of sources that count.
* Error: angle between the highest peak and the source (one source). Recall: share of counted sources with one of the
  ``n`` highest peaks within 20 degrees, ``n`` being the number of counted sources.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import numpy as np
import numpy.typing as npt
from scipy import signal

from sai_core.acoustics.visibility import BAND_EDGES_HZ
from sai_core.errors import InputError
from sai_core.geometry import (
    N_LATTICE,
    SAMPLE_RATE_HZ,
    SAMPLES_PER_FRAME,
    UPLAM_CAPSULES,
    directions_to_vectors,
    fibonacci_lattice_deg,
)
from sai_core.simulation import propagate, sphere
from sai_core.simulation import room as rooms
from sai_core.simulation.audio import direction_of
from sai_core.simulation.sounds import synthesise

FloatArray = npt.NDArray[np.float64]

MATCH_DEG: Final[float] = 20.0
"""A source is found if a peak is within this angle."""

NEIGHBOUR_DEG: Final[float] = 14.0
"""Radius within which a peak must be the highest point; the lattice's spacing is about 9 degrees."""

COUNTED_DB: Final[float] = 15.0
"""How far below its own loudest frame, and below the loudest source, a source still counts."""

_LEAD_S: Final[float] = 0.5
"""Rendered before the first frame that is used, so that the room is filled."""


@dataclass(frozen=True)
class HeldOutScene:
    """A rendered scene with what is known about it.

    Attributes
    ----------
    audio : float32, shape (samples, 32)
        At 24 kHz.
    azimuth_deg, elevation_deg : float64, shape (frames, sources)
    counted : bool, shape (frames, sources)
    snr_db, rt60_s : float
    """

    audio: npt.NDArray[np.float32]
    azimuth_deg: FloatArray
    elevation_deg: FloatArray
    counted: npt.NDArray[np.bool_]
    snr_db: float
    rt60_s: float


def held_out_scene(
    rng: np.random.Generator,
    *,
    n_sources: int,
    snr_db: float,
    rt60_s: tuple[float, float] = (0.2, 0.8),
    seconds: float = 2.0,
    sounds: list[FloatArray] | None = None,
    moving_share: float = 0.25,
) -> HeldOutScene:
    """Render a scene.

    Parameters
    ----------
    rng : numpy.random.Generator
        Fixes everything.
    n_sources : int
        1 to 4, at least 20 degrees apart at the start.
    snr_db : float
        Mean square of all sources, reverberation included, at the four UpLAM capsules over that of the noise, both
        between 1500 and 4500 Hz (the nine bands), over the whole scene. Half of the noise's power is sensor noise
        (independent), half diffuse room noise, both flat.
    rt60_s : pair of float
        Range of the reverberation time; (0, 0) for no reflections.
    seconds : float
    sounds : list of float64 arrays, optional
        Mono recordings at 24 kHz to play; synthesised sounds of the 13 classes if not given.
    moving_share : float
        Share of sources that walk.
    """
    if not 1 <= n_sources <= 4:
        raise InputError(f"n_sources is {n_sources}; expected 1 to 4.")
    anechoic = rt60_s[1] <= 0
    room = rooms.draw_room(rng, rt60_s=(0.3, 0.4) if anechoic else rt60_s)
    size = np.array(room.size_m)
    ears = size * np.array([rng.uniform(0.3, 0.7), rng.uniform(0.3, 0.7), 0.0])
    ears[2] = rng.uniform(1.1, 1.6)
    listener = rooms.Listener((float(ears[0]), float(ears[1]), float(ears[2])), float(rng.uniform(-180, 180)))
    n = int((seconds + _LEAD_S) * SAMPLE_RATE_HZ)
    mix = np.zeros((32, n), np.float64)
    frames = round(seconds * 10)
    lead = int(_LEAD_S * SAMPLE_RATE_HZ)
    directions = np.zeros((2, frames, n_sources))
    power = np.zeros((frames, n_sources))
    starts: list[FloatArray] = []
    for index in range(n_sources):
        start = _place(rng, size, ears, starts)
        starts.append(start)
        path = _path(rng, start, size, ears, seconds + _LEAD_S, moving=rng.random() < moving_share)
        if sounds is None:
            clip = synthesise(int(rng.integers(13)), seconds + _LEAD_S, rng).signal[:n]
        else:
            clip = _excerpt(sounds[int(rng.integers(len(sounds)))], n, rng)
        # equal loudness at the array, give or take 5 dB
        level = float(np.linalg.norm(start - ears)) * 10.0 ** (rng.uniform(-5, 5) / 20.0)
        heard = propagate.propagate(clip * level, 0, path, room, listener, rng, anechoic=anechoic)
        length = min(n - heard.start, heard.channels.shape[1])
        mix[:, heard.start : heard.start + length] += heard.channels[:32, :length]
        direct = np.zeros(n)
        direct[heard.start : heard.start + length] = heard.direct[:length]
        power[:, index] = (direct[lead : lead + frames * SAMPLES_PER_FRAME] ** 2).reshape(frames, -1).mean(axis=1)
        for frame in range(frames):
            azimuth, elevation, _ = direction_of(path, listener, _LEAD_S + (frame + 0.5) / 10)
            directions[:, frame, index] = azimuth, elevation
    wanted = _band_power(mix) * 10.0 ** (-snr_db / 10.0)
    for noise in (sphere.diffuse_noise(n, rng, np.ones(1025))[:32].astype(np.float64), rng.standard_normal(mix.shape)):
        mix += noise * np.sqrt(0.5 * wanted / _band_power(noise))
    loud = power > power.max(axis=0, keepdims=True) * 10.0 ** (-COUNTED_DB / 10.0)
    relative = power > power.max(axis=1, keepdims=True) * 10.0 ** (-COUNTED_DB / 10.0)
    audio = mix[:, lead : lead + frames * SAMPLES_PER_FRAME].T
    return HeldOutScene(
        audio=(audio / max(float(np.abs(audio).max()), 1e-9) * 0.5).astype(np.float32),
        azimuth_deg=directions[0],
        elevation_deg=directions[1],
        counted=loud & relative,
        snr_db=snr_db,
        rt60_s=0.0 if anechoic else float(room.rt60_s(1000.0)),
    )


def _band_power(channels: FloatArray) -> float:
    """Mean square at the four UpLAM capsules between the edges of the nine bands."""
    band = signal.butter(4, (BAND_EDGES_HZ[0], BAND_EDGES_HZ[-1]), "bandpass", fs=SAMPLE_RATE_HZ, output="sos")
    return max(float(np.mean(signal.sosfilt(band, channels[list(UPLAM_CAPSULES)]) ** 2)), 1e-30)


def _place(rng: np.random.Generator, size: FloatArray, ears: FloatArray, others: list[FloatArray]) -> FloatArray:
    for _ in range(500):
        point = rng.uniform([0.3, 0.3, 0.2], size - [0.3, 0.3, 0.3])
        distance = float(np.linalg.norm(point - ears))
        if not 0.8 <= distance <= 4.0:
            continue
        unit = (point - ears) / distance
        if all(unit @ (o - ears) / np.linalg.norm(o - ears) < np.cos(np.deg2rad(20.0)) for o in others):
            return point
    raise InputError("The room is too small for so many sources 20 degrees apart.")


def _path(
    rng: np.random.Generator, start: FloatArray, size: FloatArray, ears: FloatArray, seconds: float, *, moving: bool
) -> propagate.Path:
    still = propagate.Path(np.array([0.0]), start[None])
    if not moving:
        return still
    for _ in range(50):
        step = rng.normal(size=3) * np.array([1.0, 1.0, 0.1])
        end = start + step / np.linalg.norm(step) * rng.uniform(0.3, 1.2) * seconds
        line = start + np.linspace(0, 1, 50)[:, None] * (end - start)
        inside = (line > 0.25).all() and (line < size - 0.25).all()
        if inside and np.linalg.norm(line - ears, axis=1).min() > 0.7:
            return propagate.Path(np.array([0.0, seconds]), np.stack([start, end]))
    return still


def _excerpt(sound: FloatArray, n: int, rng: np.random.Generator) -> FloatArray:
    """``n`` samples of a recording, repeated with short pauses if it is shorter; root mean square 1."""
    gap = np.zeros(int(0.15 * SAMPLE_RATE_HZ))
    whole = sound
    while whole.size < n:
        whole = np.concatenate([whole, gap, sound])
    at = int(rng.integers(whole.size - n + 1))
    part = whole[at : at + n]
    if not np.any(part):
        part = whole[:n]
    return part / max(float(np.sqrt(np.mean(part**2))), 1e-9)


@lru_cache(maxsize=1)
def _neighbours() -> npt.NDArray[np.int64]:
    """Lattice points within :data:`NEIGHBOUR_DEG` of each, padded by repetition, (484, most)."""
    vectors = directions_to_vectors(*fibonacci_lattice_deg())
    near = vectors @ vectors.T > np.cos(np.deg2rad(NEIGHBOUR_DEG))
    np.fill_diagonal(near, False)
    lists = [np.flatnonzero(row) for row in near]
    most = max(map(len, lists))
    return np.array([np.pad(row, (0, most - len(row)), mode="edge") for row in lists])


def highest_peaks(energy: npt.ArrayLike, count: int) -> npt.NDArray[np.int64]:
    """Lattice indices of the highest local maxima of one map.

    Parameters
    ----------
    energy : array_like, shape (484,)
    count : int

    Returns
    -------
    int64, shape (at most count,)
        Highest first. A constant map has no peak worth the name: index 0 (ties go to the lower index).
    """
    values = np.asarray(energy, dtype=np.float64)
    if values.shape != (N_LATTICE,):
        raise InputError(f"The map has shape {values.shape}; expected ({N_LATTICE},).")
    candidates = np.flatnonzero(values >= values[_neighbours()].max(axis=1))
    order = np.argsort(-values[candidates], kind="stable")
    return candidates[order][:count]


@dataclass(frozen=True)
class Tally:
    """What :func:`score` found: one entry a counted frame (errors) or counted source (hits).

    Attributes
    ----------
    errors_deg : float64
        Highest peak to source, frames with one counted source.
    hits : dict of int to bool array
        By number of counted sources in the frame: whether each was found.
    """

    errors_deg: FloatArray
    hits: dict[int, npt.NDArray[np.bool_]]

    def median(self) -> float:
        """Median error in degrees (NaN without frames)."""
        return float(np.median(self.errors_deg)) if self.errors_deg.size else float("nan")

    def p90(self) -> float:
        """90th percentile of the error in degrees."""
        return float(np.percentile(self.errors_deg, 90)) if self.errors_deg.size else float("nan")

    def recall(self, count: int) -> float:
        """Share of sources found in frames with ``count`` counted sources."""
        found = self.hits.get(count, np.zeros(0, bool))
        return float(found.mean()) if found.size else float("nan")


def score(
    maps: npt.ArrayLike, azimuth_deg: FloatArray, elevation_deg: FloatArray, counted: npt.NDArray[np.bool_]
) -> Tally:
    """Compare maps with known directions.

    Parameters
    ----------
    maps : array_like, shape (frames, 484)
    azimuth_deg, elevation_deg : float64, shape (frames, sources)
    counted : bool, shape (frames, sources)
    """
    energy = np.asarray(maps, dtype=np.float64)
    lattice = directions_to_vectors(*fibonacci_lattice_deg())
    truth = directions_to_vectors(azimuth_deg, elevation_deg)
    errors: list[float] = []
    hits: dict[int, list[bool]] = {}
    for frame in range(energy.shape[0]):
        sources = truth[frame, counted[frame]]
        if not len(sources):
            continue
        peaks = lattice[highest_peaks(energy[frame], len(sources))]
        angle = np.rad2deg(np.arccos(np.clip(peaks @ sources.T, -1.0, 1.0)))
        if len(sources) == 1:
            errors.append(float(angle[0, 0]))
        hits.setdefault(len(sources), []).extend((angle.min(axis=0) <= MATCH_DEG).tolist())
    return Tally(np.array(errors), {k: np.array(v) for k, v in hits.items()})


def merged(tallies: list[Tally]) -> Tally:
    """One tally of many."""
    keys = sorted({k for t in tallies for k in t.hits})
    return Tally(
        np.concatenate([t.errors_deg for t in tallies]) if tallies else np.zeros(0),
        {k: np.concatenate([t.hits[k] for t in tallies if k in t.hits]) for k in keys},
    )
