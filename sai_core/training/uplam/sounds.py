"""A bank of synthesised mono sounds for training scenes: broad in spectrum and in time, cheap to make.

What a visibility sees of a sound is how its energy is spread over bands and over the ten blocks of a frame: stationary
noise fills all of them, a click one block, a flute three bands, a pause nothing but the room's tail. The kinds below
cover that, with no attempt at realism beyond it; they share nothing with the sounds of ``simulate`` except physics.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt
from scipy import signal

from sai_core.errors import InputError
from sai_core.geometry import SAMPLE_RATE_HZ

FloatArray = npt.NDArray[np.float64]

KINDS: Final[tuple[str, ...]] = ("speech", "noise", "strikes", "tones", "music", "laughter", "sweeps", "rubbing")


def sound_bank(n_clips: int, seconds: float, rng: np.random.Generator) -> npt.NDArray[np.float32]:
    """Clips of all kinds in turn, each scaled to a root mean square of 1 over its sounding part.

    Parameters
    ----------
    n_clips : int
        At least 1.
    seconds : float
        Length of each clip, at least 0.5.
    rng : numpy.random.Generator
        All randomness comes from here.

    Returns
    -------
    float32, shape (n_clips, samples)
        At 24 kHz. Clips have pauses, onsets and endings; none is all silence.

    Raises
    ------
    InputError
        No clip wanted, or clips too short for a sound with its tail.
    """
    if n_clips < 1 or not seconds >= 0.5:
        raise InputError(f"{n_clips} clips of {seconds} s: at least one clip of at least 0.5 s is needed.")
    n = round(seconds * SAMPLE_RATE_HZ)
    bank = np.empty((n_clips, n), np.float32)
    for index in range(n_clips):
        clip = _MAKERS[KINDS[index % len(KINDS)]](n, rng)
        clip = _coloured_at_random(clip, rng)
        power = clip**2
        sounding = power > 1e-4 * power.max()
        bank[index] = clip / np.sqrt(power[sounding].mean())
    return bank


def _coloured_at_random(clip: FloatArray, rng: np.random.Generator) -> FloatArray:
    """One gentle random shelf or peak, so that no kind has one fixed spectrum."""
    pole = rng.uniform(-0.7, 0.7)
    return signal.lfilter([1.0 - abs(pole)], [1.0, -pole], clip)


def _resonance(clip: FloatArray, centre_hz: float, width_hz: float) -> FloatArray:
    radius = np.exp(-np.pi * width_hz / SAMPLE_RATE_HZ)
    angle = 2.0 * np.pi * centre_hz / SAMPLE_RATE_HZ
    return signal.lfilter([1.0 - radius], [1.0, -2.0 * radius * np.cos(angle), radius**2], clip)


def _smooth_noise(n: int, rate_hz: float, rng: np.random.Generator) -> FloatArray:
    """Slow random curve with about ``rate_hz`` changes a second, roughly unit variance."""
    points = max(4, int(n / SAMPLE_RATE_HZ * rate_hz) + 2)
    return np.interp(np.linspace(0, points - 1, n), np.arange(points), rng.standard_normal(points))


def _gates(n: int, rng: np.random.Generator, sound_s: tuple[float, float], pause_s: tuple[float, float]) -> FloatArray:
    """Envelope of sounding parts and pauses with soft edges of 2 to 20 ms."""
    envelope = np.zeros(n)
    position = int(rng.uniform(0, pause_s[1]) * SAMPLE_RATE_HZ)
    while position < n:
        length = int(rng.uniform(*sound_s) * SAMPLE_RATE_HZ)
        envelope[position : position + length] = 10.0 ** rng.uniform(-0.5, 0.0)
        position += length + int(rng.uniform(*pause_s) * SAMPLE_RATE_HZ)
    if not envelope.any():
        envelope[n // 4 : n // 2] = 1.0
    edge = int(rng.uniform(0.002, 0.02) * SAMPLE_RATE_HZ)
    return signal.lfilter(np.full(edge, 1.0 / edge), [1.0], envelope)


def _pulses(n: int, pitch_hz: FloatArray, rng: np.random.Generator) -> FloatArray:
    """Train of pulses whose rate follows a pitch curve, with a little breath noise."""
    phase = np.cumsum(pitch_hz) / SAMPLE_RATE_HZ
    pulses = np.diff(np.floor(phase), prepend=0.0)
    return signal.lfilter([1.0], [1.0, -rng.uniform(0.6, 0.9)], pulses) + 0.02 * rng.standard_normal(n)


def _speech(n: int, rng: np.random.Generator) -> FloatArray:
    pitch = rng.uniform(85, 260) * 2.0 ** (0.15 * _smooth_noise(n, 3.0, rng))
    voiced = _pulses(n, pitch, rng)
    clip = np.zeros(n)
    piece = int(rng.uniform(0.08, 0.2) * SAMPLE_RATE_HZ)
    for start in range(0, n, piece):
        part = slice(start, min(start + piece, n))
        if rng.random() < 0.3:  # a fricative or a plosive's noise
            noise = _resonance(rng.standard_normal(part.stop - start), rng.uniform(2000, 7000), rng.uniform(300, 2500))
            clip[part] = noise * np.hanning(part.stop - start) * rng.uniform(0.2, 2.0)
        else:
            vowel = np.zeros(part.stop - start)
            for low, high, gain in ((250, 900, 1.0), (800, 2400, 0.7), (2200, 3300, 0.5), (3200, 4500, 0.3)):
                vowel += gain * _resonance(voiced[part], rng.uniform(low, high), rng.uniform(60, 250))
            clip[part] = vowel * rng.uniform(0.3, 1.0)
    return clip * _gates(n, rng, (0.3, 1.5), (0.05, 0.6))


def _noise(n: int, rng: np.random.Generator) -> FloatArray:
    clip = rng.standard_normal(n)
    if rng.random() < 0.5:
        clip = _resonance(clip, rng.uniform(300, 6000), rng.uniform(200, 5000))
    clip *= np.exp(0.4 * _smooth_noise(n, rng.uniform(1, 40), rng))
    return clip if rng.random() < 0.4 else clip * _gates(n, rng, (0.2, 2.0), (0.1, 1.0))


def _strikes(n: int, rng: np.random.Generator) -> FloatArray:
    """Claps, knocks, steps, doors: short decays of noise and a few resonances, alone or in a rhythm."""
    clip = np.zeros(n)
    position = int(rng.integers(0, SAMPLE_RATE_HZ // 2))
    centres = rng.uniform(150, 6000, size=rng.integers(1, 5))
    decay = 10.0 ** rng.uniform(-2.5, -0.9)
    gap = rng.uniform(0.08, 0.9)
    while position < n:
        length = min(int(8 * decay * SAMPLE_RATE_HZ) + 1, n - position)
        burst = rng.standard_normal(length) * np.exp(-np.arange(length) / (decay * SAMPLE_RATE_HZ))
        burst = 0.3 * burst + sum(_resonance(burst, float(c), float(c) * 0.1 + 50) for c in centres)
        clip[position : position + length] += burst * rng.uniform(0.4, 1.0)
        position += int(gap * rng.uniform(0.7, 1.4) * SAMPLE_RATE_HZ)
    return clip


def _tones(n: int, rng: np.random.Generator) -> FloatArray:
    """Telephones and bells: a few partials, steady or decaying, most bands empty."""
    time = np.arange(n) / SAMPLE_RATE_HZ
    base = rng.uniform(300, 2500)
    ratios = 1.0 + np.arange(rng.integers(1, 9)) * rng.uniform(0.3, 1.6)
    clip = np.zeros(n)
    strikes = np.sort(rng.uniform(0, time[-1], size=rng.integers(1, 6)))
    decay = 10.0 ** rng.uniform(-1.0, 0.5)
    for strike in strikes:
        since = np.maximum(time - strike, 0.0)
        envelope = np.where(time >= strike, np.exp(-since / decay), 0.0) * (1 - np.exp(-since / 0.002))
        for ratio in ratios[base * ratios < 11_000]:
            level = rng.uniform(0.2, 1.0)
            clip += level * envelope * np.sin(2 * np.pi * (base * ratio * since + rng.random()))
    if rng.random() < 0.4:  # a ringing telephone
        clip *= 0.5 * (1.0 + signal.square(2 * np.pi * rng.uniform(8, 25) * time))
    return clip + 1e-4 * rng.standard_normal(n)


def _music(n: int, rng: np.random.Generator) -> FloatArray:
    clip = np.zeros(n)
    beat = rng.uniform(0.12, 0.5)
    scale = 2.0 ** (np.array([0, 2, 4, 5, 7, 9, 11, 12]) / 12.0)
    root = rng.uniform(80, 400)
    rolloff = rng.uniform(0.6, 1.6)
    for start in np.arange(0.0, n / SAMPLE_RATE_HZ, beat):
        first = int(start * SAMPLE_RATE_HZ)
        length = min(int(beat * rng.uniform(0.8, 3.0) * SAMPLE_RATE_HZ), n - first)
        time = np.arange(length) / SAMPLE_RATE_HZ
        for _ in range(rng.integers(0, 4)):
            pitch = root * scale[rng.integers(8)] * 2.0 ** rng.integers(0, 3)
            envelope = np.exp(-time / rng.uniform(0.1, 1.0)) * (1 - np.exp(-time / rng.uniform(0.002, 0.05)))
            harmonics = np.arange(1, max(2, int(min(24, 9000 / pitch))))
            phases = 2 * np.pi * pitch * harmonics[:, None] * time + rng.uniform(0, 6.28, (harmonics.size, 1))
            clip[first : first + length] += envelope * (harmonics[:, None] ** -rolloff * np.sin(phases)).sum(axis=0)
        if rng.random() < 0.4:  # percussion
            clip[first : first + length] += 0.5 * rng.standard_normal(length) * np.exp(-time / rng.uniform(0.01, 0.08))
    return clip + 1e-4 * rng.standard_normal(n)


def _laughter(n: int, rng: np.random.Generator) -> FloatArray:
    voice = _pulses(n, rng.uniform(150, 450) * 2.0 ** (0.3 * _smooth_noise(n, 2.0, rng)), rng)
    clip = np.zeros(n)
    for centre in (rng.uniform(500, 1000), rng.uniform(1200, 2000), rng.uniform(2500, 3500)):
        clip += _resonance(voice + 0.1 * rng.standard_normal(n), centre, rng.uniform(80, 300))
    time = np.arange(n) / SAMPLE_RATE_HZ
    return clip * np.maximum(np.sin(2 * np.pi * rng.uniform(3, 6) * time), 0.0) * _gates(n, rng, (0.4, 1.5), (0.2, 0.8))


def _sweeps(n: int, rng: np.random.Generator) -> FloatArray:
    pitch = 10.0 ** (rng.uniform(2.6, 3.6) + 0.25 * _smooth_noise(n, rng.uniform(1, 8), rng))
    phase = 2 * np.pi * np.cumsum(np.minimum(pitch, 10_000)) / SAMPLE_RATE_HZ
    clip = np.sin(phase) + rng.uniform(0, 0.5) * np.sin(2 * phase) + rng.uniform(0, 0.3) * np.sin(3 * phase)
    return clip * _gates(n, rng, (0.1, 1.0), (0.05, 0.6)) + 1e-4 * rng.standard_normal(n)


def _rubbing(n: int, rng: np.random.Generator) -> FloatArray:
    """Household crackle: many tiny clicks over rustling noise."""
    clicks = (rng.random(n) < rng.uniform(20, 400) / SAMPLE_RATE_HZ) * rng.standard_normal(n) * 10.0
    clip = _resonance(clicks, rng.uniform(800, 6000), rng.uniform(200, 2000)) + 0.1 * rng.standard_normal(n)
    return clip * _gates(n, rng, (0.2, 1.5), (0.05, 0.5))


_MAKERS = {
    "speech": _speech,
    "noise": _noise,
    "strikes": _strikes,
    "tones": _tones,
    "music": _music,
    "laughter": _laughter,
    "sweeps": _sweeps,
    "rubbing": _rubbing,
}
