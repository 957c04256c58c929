"""Speech-like and laughing voices by a source-filter synthesiser.

A glottal pulse train with jitter, a pitch contour of phrases, accents and declination, and breath noise drive a
cascade of five time-varying formant resonators; fricatives and bursts are added as noise of their own. The syllables
are random, so that no language is spoken, but rhythm, pitch range, formants and pauses are those of speech.

References
----------
Formant frequencies of ten vowels of men and women: G. E. Peterson and H. L. Barney, "Control methods used in a study
of the vowels", JASA 24 (1952), table II. Resonator form: D. H. Klatt, "Software for a cascade/parallel formant
synthesizer", JASA 67 (1980). Glottal pulse: A. E. Rosenberg, JASA 49 (1971). Syllables and pitch of laughter:
J.-A. Bachorowski, M. Smoski and M. Owren, JASA 110 (2001).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final, Literal

import numpy as np
import numpy.typing as npt
from scipy import signal

from sai_core.geometry import SAMPLE_RATE_HZ
from sai_core.simulation import dsp

FloatArray = npt.NDArray[np.float64]
Sex = Literal["female", "male"]

_FRAME: Final[int] = SAMPLE_RATE_HZ // 200
"""Samples of one synthesis frame, 5 ms: short against a formant transition of about 40 ms."""

_VOWELS_HZ: Final[dict[Sex, tuple[tuple[float, float, float], ...]]] = {
    "male": (
        (270, 2290, 3010), (390, 1990, 2550), (530, 1840, 2480), (660, 1720, 2410), (730, 1090, 2440),
        (570, 840, 2410), (440, 1020, 2240), (300, 870, 2240), (640, 1190, 2390), (490, 1350, 1690),
    ),
    "female": (
        (310, 2790, 3310), (430, 2480, 3070), (610, 2330, 2990), (860, 2050, 2850), (850, 1220, 2810),
        (590, 920, 2710), (470, 1160, 2680), (370, 950, 2670), (760, 1400, 2780), (500, 1640, 1960),
    ),
}  # fmt: skip

_UPPER_FORMANTS_HZ: Final[dict[Sex, tuple[float, float]]] = {"male": (3500, 4500), "female": (4050, 5100)}
_BANDWIDTHS_HZ: Final[FloatArray] = np.array([70.0, 100.0, 140.0, 220.0, 320.0])
_PITCH_HZ: Final[dict[Sex, tuple[float, float]]] = {"male": (92.0, 135.0), "female": (175.0, 240.0)}

_GLIDES_HZ: Final[tuple[tuple[float, float, float], ...]] = (
    (360, 1300, 2700), (330, 1200, 1600), (290, 650, 2150), (280, 2200, 3000),
)  # fmt: skip
"""l, r, w, j for a male voice; scaled by 1.15 for a female one."""

_FRICATIVES: Final[tuple[tuple[float, float, float], ...]] = (
    (4200, 9000, 0.30), (2000, 5500, 0.32), (1400, 9500, 0.10), (3000, 8500, 0.16),
)  # fmt: skip
"""Low edge and high edge in Hz, level relative to the vowels: s, sh, f, z."""

_BURSTS: Final[tuple[tuple[float, float], ...]] = ((500, 1800), (2800, 7000), (1400, 3200))
"""Bands in Hz of the bursts of p, t and k."""


@dataclass
class _Tracks:
    """Frame-wise controls (5 ms), filled segment by segment."""

    voicing: list[float] = field(default_factory=list)
    breath: list[float] = field(default_factory=list)
    formants: list[tuple[float, float, float]] = field(default_factory=list)
    accent: list[float] = field(default_factory=list)
    opening: list[float] = field(default_factory=list)
    noises: list[tuple[int, int, float, float, float]] = field(default_factory=list)
    """``(first frame, frames, low Hz, high Hz, level)`` of each fricative or burst."""

    def add(
        self,
        seconds: float,
        *,
        voicing: float = 0.0,
        breath: float = 0.0,
        formants: tuple[float, float, float] | None = None,
        accent: float = 0.0,
        opening: float = 0.0,
    ) -> int:
        """Append one segment; returns its first frame."""
        first = len(self.voicing)
        n = max(1, round(seconds * 200))
        self.voicing += [voicing] * n
        self.breath += [breath] * n
        self.formants += [formants or (self.formants[-1] if self.formants else (500.0, 1500.0, 2500.0))] * n
        self.accent += [accent] * n
        self.opening += [opening] * n
        return first


def speak(duration_s: float, rng: np.random.Generator, sex: Sex) -> tuple[FloatArray, FloatArray]:
    """Speech-like voice.

    Parameters
    ----------
    duration_s : float
        Length of the result in seconds.
    rng : numpy.random.Generator
        Draws the speaker (pitch, vocal tract length, rate) and the syllables.
    sex : {"female", "male"}
        Formant table and pitch range.

    Returns
    -------
    voice : float64, shape (round(duration_s * 24000),)
        Not normalised.
    opening : float64, shape (about duration_s * 100,)
        Mouth opening in [0, 1] at the control rate.
    """
    tracks = _Tracks()
    tract = rng.uniform(0.94, 1.06)
    rate = rng.uniform(3.6, 5.2)
    glide_scale = tract * (1.15 if sex == "female" else 1.0)
    total = round(duration_s * 200)
    phrases: list[tuple[int, int]] = []
    while len(tracks.voicing) < total:
        start = len(tracks.voicing)
        syllables = int(rng.integers(4, 11))
        stressed = rng.random(syllables) < 0.4
        for k in range(syllables):
            vowel = _VOWELS_HZ[sex][int(rng.integers(10))]
            target = (vowel[0] * tract, vowel[1] * tract, vowel[2] * tract)
            _consonant(tracks, rng, target, glide_scale)
            length = (0.6 + 0.5 * stressed[k] + (0.5 if k == syllables - 1 else 0.0)) * rng.uniform(0.8, 1.2) / rate
            tracks.add(
                length * 0.62,
                voicing=1.0 if stressed[k] else 0.75,
                breath=0.03,
                formants=target,
                accent=float(stressed[k]) * rng.uniform(0.5, 1.0),
                opening=float(np.clip((vowel[0] - 200) / 500, 0.3, 1.0)),
            )
            if rng.random() < 0.25:
                _nasal(tracks, rng, glide_scale)
        phrases.append((start, len(tracks.voicing)))
        tracks.add(rng.uniform(0.18, 0.5))
    low, high = _PITCH_HZ[sex]
    base = rng.uniform(low, high)
    pitch = np.full(len(tracks.voicing), base)
    for start, stop in phrases:
        # declination over the phrase and a final fall (or, one time in five, a question's rise)
        x = np.linspace(0, 1, stop - start)
        end = 0.12 if rng.random() < 0.2 else -0.12
        pitch[start:stop] = base * (1.12 - 0.22 * x + end * np.clip((x - 0.8) / 0.2, 0, 1))
    pitch *= 1 + 0.16 * _smooth(np.array(tracks.accent), 15)
    return _render(tracks, pitch, rng, sex, tract, duration_s, formant_smoothing=9)


def laugh(duration_s: float, rng: np.random.Generator, sex: Sex) -> tuple[FloatArray, FloatArray]:
    """Laughter: bouts of "ha" calls, high and falling in pitch, with breath between them.

    Parameters and returns as :func:`speak`.
    """
    tracks = _Tracks()
    tract = rng.uniform(0.94, 1.06)
    vowel = _VOWELS_HZ[sex][int(rng.choice([3, 4, 8]))]
    target = (vowel[0] * tract * 1.1, vowel[1] * tract, vowel[2] * tract)
    low, high = _PITCH_HZ[sex]
    base = rng.uniform(low, high) * rng.uniform(1.35, 1.8)
    total = round(duration_s * 200)
    pitch_parts: list[FloatArray] = []
    while len(tracks.voicing) < total:
        start = len(tracks.voicing)
        calls = int(rng.integers(4, 9))
        rate = rng.uniform(4.2, 5.4)
        for k in range(calls):
            strength = 1.0 - 0.55 * k / calls
            tracks.add(0.45 / rate, breath=0.22 * strength, formants=target, opening=0.45)
            tracks.add(0.55 / rate, voicing=strength, breath=0.16, formants=target, accent=1 - k / calls, opening=1.0)
        x = np.linspace(0, 1, len(tracks.voicing) - start)
        pitch_parts.append(base * (1.15 - 0.4 * x) * (1 + 0.06 * np.cos(2 * np.pi * x * calls)))
        pause = rng.uniform(0.2, 0.45)
        # an audible breath in
        start = len(tracks.voicing)
        tracks.add(pause * 0.6, breath=0.22, formants=target, opening=0.5)
        tracks.add(pause * 0.4)
        pitch_parts.append(np.full(len(tracks.voicing) - start, base))
    return _render(tracks, np.concatenate(pitch_parts), rng, sex, tract, duration_s, formant_smoothing=5)


def _consonant(
    tracks: _Tracks, rng: np.random.Generator, vowel: tuple[float, float, float], glide_scale: float
) -> None:
    kind = rng.choice(
        ["fricative", "stop", "voiced stop", "nasal", "glide", "none"], p=[0.2, 0.24, 0.16, 0.16, 0.16, 0.08]
    )
    if kind == "fricative":
        low, high, level = _FRICATIVES[int(rng.integers(len(_FRICATIVES)))]
        seconds = rng.uniform(0.07, 0.12)
        first = tracks.add(seconds, breath=0.02, formants=vowel, opening=0.15)
        tracks.noises.append((first, round(seconds * 200), low, high, level))
    elif kind == "stop":
        tracks.add(rng.uniform(0.035, 0.06), formants=vowel)
        low, high = _BURSTS[int(rng.integers(3))]
        first = tracks.add(0.012, breath=0.1, formants=vowel, opening=0.2)
        tracks.noises.append((first, 3, low, high, 0.45))
        tracks.add(rng.uniform(0.02, 0.045), breath=0.3, formants=vowel, opening=0.3)
    elif kind == "voiced stop":
        tracks.add(rng.uniform(0.03, 0.05), voicing=0.12, formants=(220.0, vowel[1], vowel[2]))
        low, high = _BURSTS[int(rng.integers(3))]
        first = tracks.add(0.008, voicing=0.4, formants=vowel, opening=0.2)
        tracks.noises.append((first, 2, low, high, 0.25))
    elif kind == "nasal":
        _nasal(tracks, rng, glide_scale)
    elif kind == "glide":
        f1, f2, f3 = _GLIDES_HZ[int(rng.integers(4))]
        target = (f1 * glide_scale, f2 * glide_scale, f3 * glide_scale)
        tracks.add(rng.uniform(0.05, 0.08), voicing=0.6, formants=target, opening=0.3)


def _nasal(tracks: _Tracks, rng: np.random.Generator, glide_scale: float) -> None:
    second = float(rng.choice([1000.0, 1400.0, 2000.0]))
    target = (270.0 * glide_scale, second * glide_scale, 2300.0 * glide_scale)
    tracks.add(rng.uniform(0.05, 0.08), voicing=0.4, formants=target, opening=0.05)


def _render(
    tracks: _Tracks,
    pitch_hz: FloatArray,
    rng: np.random.Generator,
    sex: Sex,
    tract: float,
    duration_s: float,
    *,
    formant_smoothing: int,
) -> tuple[FloatArray, FloatArray]:
    n_frames = len(tracks.voicing)
    n = n_frames * _FRAME
    time = (np.arange(n) + 0.5) / _FRAME - 0.5
    frames = np.arange(n_frames)
    voicing = _smooth(np.array(tracks.voicing), 5)
    breath = _smooth(np.array(tracks.breath), 5)
    formants = np.stack([_smooth(column, formant_smoothing) for column in np.array(tracks.formants).T], axis=1)
    upper = np.array(_UPPER_FORMANTS_HZ[sex]) * tract
    formants = np.hstack([formants, np.tile(upper, (n_frames, 1))])

    wobble = 1 + 0.012 * dsp.slow_track(n, rng, 6.0) + 0.006 * dsp.slow_track(n, rng, 40.0)
    phase = np.cumsum(np.interp(time, frames, _smooth(pitch_hz, 7)) * wobble) / SAMPLE_RATE_HZ
    source = _glottal_derivative(phase) * np.interp(time, frames, voicing)
    source = dsp.lowpass(source, 5500.0)
    air = dsp.shaped_noise(n, rng, [(100, -6), (1000, 0), (8000, 0)])
    # breath noise is strongest while the glottis is open
    source += 0.35 * air * np.interp(time, frames, breath) + 0.02 * air * np.interp(time, frames, voicing) * (
        np.mod(phase, 1.0) < 0.6
    )

    voice = _formant_cascade(source, formants)
    reference = dsp.active_rms(voice)
    for first, count, low, high, level in tracks.noises:
        piece = dsp.fade(dsp.band_noise(count * _FRAME, rng, low, high), 0.004, 0.008 if count < 5 else 0.02)
        dsp.add_at(voice, reference * level * piece, first * _FRAME)
    length = round(duration_s * SAMPLE_RATE_HZ)
    voice = dsp.fade(dsp.highpass(voice, 70.0)[:length], 0.01, 0.04)
    opening = _smooth(np.array(tracks.opening), 9)[: round(duration_s * 200)][::2]
    return voice, np.clip(opening, 0.0, 1.0)


def _glottal_derivative(phase: FloatArray) -> FloatArray:
    """Derivative of Rosenberg's pulse: opening over 40 %, closing over 16 % of the period, then shut."""
    x = np.mod(phase, 1.0)
    opening = np.sin(np.pi * x / 0.40) * (np.pi / 0.8)
    closing = -np.sin(np.pi * (x - 0.40) / 0.32) * (np.pi / 0.32)
    return np.where(x < 0.40, opening, np.where(x < 0.56, closing, 0.0)) / 10.0


def _formant_cascade(source: FloatArray, formants_hz: FloatArray) -> FloatArray:
    """Five resonators in a row whose frequencies change every 5 ms; the state carries over."""
    radius = np.exp(-np.pi * _BANDWIDTHS_HZ / SAMPLE_RATE_HZ)
    b = 2 * radius * np.cos(2 * np.pi * np.minimum(formants_hz, 11_000.0) / SAMPLE_RATE_HZ)
    c = -(radius**2)
    sections = np.zeros((formants_hz.shape[0], 5, 6))
    sections[:, :, 0] = 1 - b - c
    sections[:, :, 3] = 1.0
    sections[:, :, 4] = -b
    sections[:, :, 5] = -c
    state = np.zeros((5, 2))
    out = np.empty_like(source)
    for k in range(formants_hz.shape[0]):
        piece = slice(k * _FRAME, (k + 1) * _FRAME)
        out[piece], state = signal.sosfilt(sections[k], source[piece], zi=state)
    return out


def _smooth(x: npt.NDArray, width: int) -> FloatArray:
    kernel = np.hanning(width + 2)[1:-1]
    padded = np.pad(np.asarray(x, dtype=np.float64), width // 2, mode="edge")
    return np.convolve(padded, kernel / kernel.sum(), mode="valid")[: len(x)]
