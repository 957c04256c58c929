"""The sound of a whole scene at the array, and the DCASE rows that describe it."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
from scipy import signal

from sai_core.annotations import DcaseMetadata
from sai_core.geometry import SAMPLE_RATE_HZ, SAMPLES_PER_FRAME, UPLAM_CAPSULES, vectors_to_directions
from sai_core.progress import Progress, no_progress
from sai_core.simulation import dsp, sphere
from sai_core.simulation.propagate import Path, propagate
from sai_core.simulation.room import Listener
from sai_core.simulation.scene import Actor, Scene, generator, sample_of
from sai_core.simulation.sounds import Sound

FloatArray = npt.NDArray[np.float64]
Float32Array = npt.NDArray[np.float32]

FULL_SCALE_DB_SPL: Final[float] = 90.0
"""Sound pressure level of a signal of RMS 1: one calibration for all recordings, so that far is quieter than near."""

PEAK_LIMIT: Final[float] = 0.94
"""Largest sample of any written channel; louder recordings are scaled down as a whole, and the manifest says so."""

ACTIVE_BELOW_PEAK_DB: Final[float] = 30.0
"""A frame counts as active while the direct sound is within this of the event's loudest frame."""

_SENSOR_NOISE_DBFS: Final[float] = -80.0
"""Self-noise of each capsule and FOA channel, RMS."""

_SNR_BAND_HZ: Final[tuple[float, float]] = (500.0, 5000.0)
_LONGEST_GAP: Final[int] = 2
"""Pauses of up to so many frames inside an event do not end it."""


@dataclass(frozen=True)
class RenderedAudio:
    """Audio of a scene.

    Attributes
    ----------
    capsules : float32, shape (32, n)
        Full scale is 1.
    foa : float32, shape (4, n)
        W, Y, Z, X (ACN, SN3D), from the same waves.
    metadata : DcaseMetadata
        Whole degrees and centimetres.
    active : bool, shape (n_sources, n_frames)
        Which source sounds in which frame.
    heard : tuple of tuple of (float, Sound)
        Per actor, start in seconds and sound of each event (the picture moves with them).
    gain_db : float
        Scaling of the whole recording against the calibration, <= 0.
    noise_db : float
        Level of the background noise in dB re full scale, 500 Hz to 5 kHz.
    """

    capsules: Float32Array
    foa: Float32Array
    metadata: DcaseMetadata
    active: npt.NDArray[np.bool_]
    heard: tuple[tuple[tuple[float, Sound], ...], ...]
    gain_db: float
    noise_db: float


def render_audio(scene: Scene, *, progress: Progress = no_progress) -> RenderedAudio:
    """Make all sounds of a scene, carry them to the array, add noise, and describe them.

    The same scene gives the same samples, whatever else runs.
    """
    n = sample_of(scene.duration_s)
    n_frames = n // SAMPLES_PER_FRAME
    mix = np.zeros((sphere.N_OUT, n), dtype=np.float32)
    active = np.zeros((len(scene.actors), n_frames), dtype=bool)
    heard: list[tuple[tuple[float, Sound], ...]] = []
    for k, actor in enumerate(scene.actors):
        takes = []
        for j, event in enumerate(actor.events):
            sound = scene.sound(actor, event)
            takes.append((event.start_s, sound))
            start = sample_of(event.start_s)
            pressure = sound.signal * 10.0 ** ((sound.level_db - FULL_SCALE_DB_SPL) / 20.0)
            rng = generator(scene.seed, scene.index, "tail", actor.source, j)
            arrival = propagate(pressure, start, actor.path, scene.room, scene.listener, rng)
            stop = min(n, start + arrival.channels.shape[1])
            mix[:, start:stop] += arrival.channels[:, : stop - start]
            sounds = active_frames(arrival.direct, start, n_frames)
            if scene.whole_events and sounds.any():
                on = np.flatnonzero(sounds)
                sounds[on[0] : on[-1] + 1] = True
            active[k] |= sounds
        heard.append(tuple(takes))
        progress((k + 1) / (len(scene.actors) + 1), f"sound {k + 1} of {len(scene.actors)}")

    rng = generator(scene.seed, scene.index, "noise")
    noise = sphere.diffuse_noise(n, rng, _noise_spectrum(scene.noise_slope_db_per_octave))
    signal_power = _band_power(mix, np.repeat(active.any(axis=0), SAMPLES_PER_FRAME))
    noise_power = _band_power(noise, np.ones(n_frames * SAMPLES_PER_FRAME, dtype=bool))
    # a scene without any sound still has its air conditioning
    target = signal_power * 10.0 ** (-scene.snr_db / 10.0) if signal_power > 0 else 10.0**-6
    noise *= np.float32(np.sqrt(target / noise_power))
    mix += noise
    mix += np.float32(10.0 ** (_SENSOR_NOISE_DBFS / 20.0)) * rng.standard_normal(mix.shape, dtype=np.float32)
    peak = float(np.abs(mix).max())
    gain = min(1.0, PEAK_LIMIT / peak) if peak > 0 else 1.0
    if gain < 1.0:
        mix *= np.float32(gain)
    progress(1.0, "sound")
    return RenderedAudio(
        mix[: sphere.N_CAPSULES],
        mix[sphere.N_CAPSULES :],
        describe(scene.recording, scene.actors, active, scene.listener),
        active,
        tuple(heard),
        float(20 * np.log10(gain)),
        float(10 * np.log10(target * gain**2)),
    )


def active_frames(direct: FloatArray, start: int, n_frames: int) -> npt.NDArray[np.bool_]:
    """Frames in which the direct sound of one event is within 30 dB of its loudest frame; short gaps are closed.

    Parameters
    ----------
    direct : float64, shape (n,)
        Direct sound at the array.
    start : int
        Its first sample in the recording.
    n_frames : int
        Frames of 100 ms of the recording.

    Returns
    -------
    bool, shape (n_frames,)
    """
    total = np.zeros(n_frames * SAMPLES_PER_FRAME)
    dsp.add_at(total, direct, start)
    power = dsp.frame_power(total, SAMPLES_PER_FRAME)
    if power.size == 0 or power.max() <= 0:
        return np.zeros(n_frames, dtype=bool)
    active = power > power.max() * 10.0 ** (-ACTIVE_BELOW_PEAK_DB / 10.0)
    on = np.flatnonzero(active)
    for a, b in itertools.pairwise(on.tolist()):
        if 1 < b - a <= _LONGEST_GAP + 1:
            active[a:b] = True
    return active


def describe(
    recording: str, actors: tuple[Actor, ...], active: npt.NDArray[np.bool_], listener: Listener
) -> DcaseMetadata:
    """DCASE rows of the active frames: direction and distance at the middle of each frame, whole degrees and cm."""
    rows: list[tuple[int, int, int, int, int, int]] = []
    for frame in range(active.shape[1]):
        for k in np.flatnonzero(active[:, frame]).tolist():
            azimuth, elevation, distance = direction_of(actors[k].path, listener, (frame + 0.5) / 10)
            wrapped = (round(azimuth) + 180) % 360 - 180
            rows.append(
                (frame, actors[k].category_id, actors[k].source, wrapped, round(elevation), round(100 * distance))
            )
    table = np.array(rows, dtype=np.float64).reshape(-1, 6)
    frames, categories, sources = (table[:, column].astype(np.int64) for column in range(3))
    return DcaseMetadata(
        frames.astype(np.int32),
        categories.astype(np.int16),
        sources,
        table[:, 3],
        table[:, 4],
        table[:, 5],
        recording=recording,
    )


def direction_of(path: Path, listener: Listener, time_s: float) -> tuple[float, float, float]:
    """Azimuth and elevation in degrees and distance in metres of a source as the array sees it."""
    local = listener.to_local(path.at(time_s))
    azimuth, elevation = vectors_to_directions(local)
    return float(azimuth), float(elevation), float(np.linalg.norm(local))


def _noise_spectrum(slope_db_per_octave: float) -> FloatArray:
    """Air-conditioning-like: flat to 200 Hz, then falling; rumble below 60 Hz removed. Shape (1025,)."""
    frequency = np.maximum(np.fft.rfftfreq(2048, 1.0 / SAMPLE_RATE_HZ), 1.0)
    level = -slope_db_per_octave * np.maximum(np.log2(frequency / 200.0), 0.0)
    level += -12.0 * np.maximum(np.log2(60.0 / frequency), 0.0)
    return 10.0 ** (level / 20.0)


def _band_power(channels: Float32Array, where: npt.NDArray[np.bool_]) -> float:
    """Mean square at the four UpLAM capsules, 500 Hz to 5 kHz, over the samples marked in ``where``."""
    if not where.any():
        return 0.0
    sos = signal.butter(4, _SNR_BAND_HZ, "bandpass", fs=SAMPLE_RATE_HZ, output="sos")
    total = 0.0
    for capsule in UPLAM_CAPSULES:
        filtered = signal.sosfilt(sos, channels[capsule, : where.size].astype(np.float64))
        total += float(np.mean(filtered[where] ** 2))
    return total / len(UPLAM_CAPSULES)
