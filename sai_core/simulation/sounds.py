"""Sounds of the 13 classes, synthesised: every one another take, none of them a recording.

:func:`synthesise` gives a mono signal at 24 kHz whose RMS *while it sounds* is 1, its level at one metre in dB SPL,
the moments at which something strikes (a clap, a step, a knock) and a control track (mouth, door angle, loudness), so
that the picture moves with the sound.

Levels follow common figures for sources at one metre: conversational speech about 60 dB, raised voice 66 dB
(ISO 9921), vacuum cleaners 65 to 75 dB, footsteps and taps about 50 dB. Partials of a bell: the names and ratios of
the classical tuning (hum 0.5, prime 1, tierce 1.2, quint 1.5, nominal 2). Bubbles: M. Minnaert (1933), the pitch of
a bubble is inverse to its radius. Plucked strings: K. Karplus and A. Strong, Computer Music Journal 7 (1983).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
from scipy import signal as sps

from sai_core.errors import InputError
from sai_core.geometry import SAMPLE_RATE_HZ
from sai_core.simulation import dsp, speech
from sai_core.taxonomy import N_CLASSES

FloatArray = npt.NDArray[np.float64]

_LEVEL_DB: Final[tuple[tuple[float, float], ...]] = (
    (60, 67), (60, 67), (66, 73), (62, 70), (64, 71), (60, 70), (52, 60), (60, 68), (60, 69), (61, 69), (54, 62),
    (62, 71), (60, 68),
)  # fmt: skip
"""Range of the level at 1 m in dB SPL of each class, while sounding."""

VARIANTS: Final[tuple[tuple[str, ...], ...]] = (
    ("talk",), ("talk",), ("applause",), ("bell", "warble", "melody"), ("female", "male"),
    ("vacuum", "blender", "dishes"), ("shoes", "heels"), ("door",), ("band",), ("guitar", "piano"), ("tap",),
    ("hand bell", "chime"), ("door", "table"),
)  # fmt: skip
"""Kinds of each class; the picture shows the matching thing."""


@dataclass(frozen=True)
class Sound:
    """A sound to be played in a scene.

    Attributes
    ----------
    category_id : int
        0..12.
    variant : str
        One of :data:`VARIANTS` of the class.
    signal : float64, shape (n,)
        24 kHz, mono; RMS 1 over the 20 ms frames within 25 dB of the loudest.
    level_db : float
        Sound pressure level at one metre while sounding, dB re 20 micropascal.
    strokes_s : float64, shape (strokes,)
        Moments in seconds at which something strikes; empty for steady sounds.
    motion : float64, shape (about n / 240,)
        In [0, 1], 100 values a second: mouth opening, door angle, or loudness.
    recording : str
        File that it was taken from; empty for a synthesised sound.
    """

    category_id: int
    variant: str
    signal: FloatArray
    level_db: float
    strokes_s: FloatArray
    motion: FloatArray
    recording: str = ""

    @property
    def duration_s(self) -> float:
        """Length in seconds."""
        return self.signal.size / SAMPLE_RATE_HZ


def synthesise(category_id: int, duration_s: float, rng: np.random.Generator, *, variant: str | None = None) -> Sound:
    """Synthesise one sound of a class.

    Parameters
    ----------
    category_id : int
        0..12.
    duration_s : float
        Length in seconds, 0.3 to 120.
    rng : numpy.random.Generator
        Fixes everything.
    variant : str, optional
        One of ``VARIANTS[category_id]``; drawn if not given.

    Raises
    ------
    InputError
        Unknown class or variant, duration out of range.
    """
    if not 0 <= category_id < N_CLASSES:
        raise InputError(f"category_id is {category_id}; expected 0 to {N_CLASSES - 1}.")
    if not 0.3 <= duration_s <= 120.0:
        raise InputError(f"duration_s is {duration_s}; expected 0.3 to 120 seconds.")
    if variant is None:
        variant = str(rng.choice(VARIANTS[category_id]))
    elif variant not in VARIANTS[category_id]:
        raise InputError(f"variant is {variant!r}; class {category_id} has {', '.join(VARIANTS[category_id])}.")
    n = round(duration_s * SAMPLE_RATE_HZ)
    raw, strokes, motion = _MAKERS[category_id](n, rng, variant)
    return at_class_level(
        category_id, raw, rng, variant=variant, strokes_s=strokes[strokes < duration_s], motion=motion
    )


def at_class_level(
    category_id: int,
    raw: FloatArray,
    rng: np.random.Generator,
    *,
    variant: str,
    strokes_s: FloatArray,
    motion: FloatArray,
    recording: str = "",
) -> Sound:
    """Remove rumble, make the RMS while sounding 1, draw a level of the class; arguments as in :class:`Sound`."""
    # short ramps: a sound that is cut by its duration must not click
    raw = dsp.fade(dsp.highpass(raw, 50.0), 0.002, 0.02)
    level = dsp.active_rms(raw)
    low, high = _LEVEL_DB[category_id]
    return Sound(
        category_id,
        variant,
        raw / level if level > 0 else raw,
        float(rng.uniform(low, high)),
        strokes_s,
        motion,
        recording,
    )


_Made = tuple[FloatArray, FloatArray, FloatArray]
_NO_STROKES: Final[FloatArray] = np.zeros(0)


def _female_speech(n: int, rng: np.random.Generator, variant: str) -> _Made:
    voice, opening = speech.speak(n / SAMPLE_RATE_HZ, rng, "female")
    return voice, _NO_STROKES, opening


def _male_speech(n: int, rng: np.random.Generator, variant: str) -> _Made:
    voice, opening = speech.speak(n / SAMPLE_RATE_HZ, rng, "male")
    return voice, _NO_STROKES, opening


def _laughter(n: int, rng: np.random.Generator, variant: str) -> _Made:
    voice, opening = speech.laugh(n / SAMPLE_RATE_HZ, rng, "female" if variant == "female" else "male")
    return voice, _NO_STROKES, opening


def _clapping(n: int, rng: np.random.Generator, variant: str) -> _Made:
    rate = rng.uniform(3.0, 4.6)
    strokes = _rhythm(n, rng, rate, jitter=0.06, first_s=0.05)
    out = np.zeros(n)
    # the cupped hands are a small resonator; one person's claps are alike, not equal
    cavity = rng.uniform(800, 1600)
    for moment in strokes:
        length = int(0.09 * SAMPLE_RATE_HZ)
        t = np.arange(length) / SAMPLE_RATE_HZ
        burst = dsp.shaped_noise(
            length, rng, [(200, -18), (cavity * rng.uniform(0.9, 1.1), 0), (2500, -2), (6000, -8), (10000, -14)]
        )
        body = np.exp(-t / rng.uniform(0.006, 0.010)) + 0.12 * np.exp(-t / 0.03)
        dsp.add_at(out, burst * body * rng.uniform(0.7, 1.1), int(moment * SAMPLE_RATE_HZ))
    return out, strokes, dsp.envelope_track(out)


def _telephone(n: int, rng: np.random.Generator, variant: str) -> _Made:
    t = np.arange(n) / SAMPLE_RATE_HZ
    on_s, off_s = rng.uniform(1.0, 1.6), rng.uniform(0.7, 1.4)
    gate = (np.mod(t, on_s + off_s) < on_s).astype(np.float64)
    strokes = _NO_STROKES
    if variant == "bell":
        # a clapper between two gongs, some 20 strokes a second
        rate = rng.uniform(17, 24)
        pitch = rng.uniform(1150, 1500)
        strokes = np.arange(0.02, n / SAMPLE_RATE_HZ, 1 / rate)
        strokes = strokes[np.mod(strokes, on_s + off_s) < on_s]
        out = np.zeros(n)
        ratios = np.array([1.0, 2.32, 4.25, 6.63])
        for k, moment in enumerate(strokes):
            f = pitch * (1.0 if k % 2 else 1.19)
            hit = ringing_hit(0.5, f * ratios, np.array([0.5, 0.35, 0.2, 0.1]), np.array([1.0, 0.8, 0.5, 0.25]), rng)
            dsp.add_at(out, hit * rng.uniform(0.85, 1.0), int(moment * SAMPLE_RATE_HZ))
    elif variant == "warble":
        low = rng.uniform(900, 1400)
        high = low * rng.uniform(1.15, 1.35)
        rate = rng.uniform(12, 22)
        frequency = np.where(np.mod(t * rate, 1.0) < 0.5, low, high)
        phase = 2 * np.pi * np.cumsum(frequency) / SAMPLE_RATE_HZ
        # a piezo disc: odd harmonics
        out = (np.sin(phase) + 0.45 * np.sin(3 * phase) + 0.2 * np.sin(5 * phase)) * _soft_gate(gate)
    else:
        scale = 523.25 * 2 ** (np.array([0, 2, 4, 7, 9, 12, 16, 19]) / 12) * rng.uniform(0.9, 1.3)
        notes = scale[rng.integers(0, scale.size, 8)]
        step = rng.uniform(0.11, 0.19)
        out = np.zeros(n)
        for k in range(int(n / SAMPLE_RATE_HZ / step)):
            start = int(k * step * SAMPLE_RATE_HZ)
            if gate[min(start, n - 1)]:
                f = notes[k % notes.size]
                hit = ringing_hit(0.4, f * np.array([1, 2, 3, 4]), 0.4, np.array([1, 0.5, 0.3, 0.15]), rng)
                dsp.add_at(out, hit, start)
    return out, strokes, dsp.envelope_track(out)


def _domestic(n: int, rng: np.random.Generator, variant: str) -> _Made:
    t = np.arange(n) / SAMPLE_RATE_HZ
    if variant == "dishes":
        out = np.zeros(n)
        strokes = _rhythm(n, rng, rng.uniform(3.0, 6.0), jitter=0.7, first_s=0.03)
        for moment in strokes:
            base = rng.uniform(900, 3400)
            ratios = np.array([1.0, 1.58, 2.24, 2.92, 3.7]) * rng.uniform(0.96, 1.04, 5)
            hit = ringing_hit(0.5, base * ratios, rng.uniform(0.08, 0.4), rng.uniform(0.2, 1.0, 5), rng)
            click = dsp.band_noise(240, rng, 1500, 9000) * np.exp(-np.arange(240) / 50)
            dsp.add_at(hit, 0.8 * click, 0)
            dsp.add_at(out, hit * rng.uniform(0.3, 1.0), int(moment * SAMPLE_RATE_HZ))
        out += 0.02 * dsp.active_rms(out) * dsp.band_noise(n, rng, 300, 5000)
        return out, strokes, dsp.envelope_track(out)
    run_up = 0.6 if variant == "vacuum" else 0.25
    speed = 1 - 0.75 * np.exp(-t / run_up * 3) + 0.01 * dsp.slow_track(n, rng, 0.7)
    end = np.clip((n / SAMPLE_RATE_HZ - t) / (0.6 if variant == "vacuum" else 0.3), 0, 1)
    speed *= 0.4 + 0.6 * end**0.5
    base = rng.uniform(95, 140) if variant == "vacuum" else rng.uniform(150, 230)
    phase = 2 * np.pi * np.cumsum(base * speed) / SAMPLE_RATE_HZ
    blades = int(rng.integers(7, 11)) if variant == "vacuum" else 4
    hum = sum((0.8 / k) * np.sin(k * phase + k) for k in (1, 2, 3, 4, 6, 8))
    whine = np.sin(blades * phase) + 0.5 * np.sin(2 * blades * phase + 1) + 0.3 * np.sin(3 * blades * phase + 2)
    air = dsp.shaped_noise(n, rng, [(80, -14), (400, -3), (1200, 0), (3500, -3), (8000, -14)])
    if variant == "vacuum":
        rubbing = 1 + 0.25 * dsp.slow_track(n, rng, 0.9)
        out = (0.25 * hum + 0.3 * whine + air * np.clip(rubbing, 0.4, 1.8)) * speed**2 * end**0.5
    else:
        # ice and fruit between the blades: rough, fading bursts
        chunks = np.clip(1 + 0.8 * dsp.slow_track(n, rng, 9.0), 0, None)
        out = (0.35 * hum + 0.55 * whine + 0.7 * air * chunks) * speed**2 * end**0.5
    return out, _NO_STROKES, np.clip((speed * end)[:: SAMPLE_RATE_HZ // dsp.CONTROL_RATE_HZ], 0, 1)


def _footsteps(n: int, rng: np.random.Generator, variant: str) -> _Made:
    rate = rng.uniform(1.65, 2.05)
    strokes = _rhythm(n, rng, rate, jitter=0.03, first_s=0.12)
    out = np.zeros(n)
    heels = variant == "heels"
    floor_hz = rng.uniform(85, 150)
    bright = rng.uniform(1800, 3200) if heels else rng.uniform(500, 1200)
    for k, moment in enumerate(strokes):
        side = 1.0 + (0.08 if k % 2 else -0.08)
        thump = ringing_hit(
            0.2, np.array([floor_hz, floor_hz * 1.7, floor_hz * 2.9]) * side, 0.12, [0.9, 0.5, 0.35], rng
        )
        length = int(0.12 * SAMPLE_RATE_HZ)
        t = np.arange(length) / SAMPLE_RATE_HZ
        tail = 0.008 if heels else 0.018
        heel = dsp.shaped_noise(length, rng, [(150, -8), (bright * side, 0), (6000, -10), (10000, -20)]) * np.exp(
            -t / tail
        )
        toe = dsp.shaped_noise(length, rng, [(300, -6), (1500, 0), (8000, -9)]) * np.exp(-t / 0.012)
        strength = rng.uniform(0.8, 1.1)
        start = int(moment * SAMPLE_RATE_HZ)
        dsp.add_at(out, strength * (0.5 * thump[:length] + (1.2 if heels else 0.8) * heel), start)
        dsp.add_at(
            out, strength * (0.25 if heels else 0.35) * toe, start + int(rng.uniform(0.09, 0.12) * SAMPLE_RATE_HZ)
        )
        # the sole rolls and rubs
        scrape = dsp.fade(dsp.band_noise(length, rng, 1500, 7000), 0.04, 0.05)
        dsp.add_at(out, strength * 0.05 * scrape, start + int(0.03 * SAMPLE_RATE_HZ))
    return out, strokes, dsp.envelope_track(out)


def _door(n: int, rng: np.random.Generator, variant: str) -> _Made:
    seconds = n / SAMPLE_RATE_HZ
    out = np.zeros(n)
    control = np.zeros(int(np.ceil(seconds * dsp.CONTROL_RATE_HZ)))
    time = np.arange(control.size) / dsp.CONTROL_RATE_HZ
    handle, opened = 0.06, 0.42 * seconds
    closing, shut = 0.60 * seconds, max(0.60 * seconds + 0.25, seconds - 0.55)
    shut = min(shut, seconds - 0.12)
    _latch(out, rng, handle, 0.5)
    _creak(out, rng, handle + 0.12, opened)
    _creak(out, rng, closing, shut - 0.03)
    start = int(shut * SAMPLE_RATE_HZ)
    modes = rng.uniform(60, 110) * np.array([1, 1.9, 3.1, 4.7, 7.0])
    slam = ringing_hit(0.6, modes, [0.35, 0.3, 0.22, 0.16, 0.1], [1, 0.9, 0.7, 0.5, 0.3], rng)
    length = int(0.35 * SAMPLE_RATE_HZ)
    t = np.arange(length) / SAMPLE_RATE_HZ
    thud = dsp.shaped_noise(length, rng, [(80, 0), (500, -3), (2000, -9), (6000, -16)]) * np.exp(-t / 0.035)
    crack = dsp.shaped_noise(length, rng, [(500, -6), (2500, 0), (8000, -6)]) * np.exp(-t / 0.008)
    dsp.add_at(slam, 1.6 * thud + 0.9 * crack, 0)
    dsp.add_at(out, slam, start)
    _latch(out, rng, shut + 0.02, 0.7)
    angle = np.interp(time, [handle + 0.1, opened, closing, shut], [0, 1, 1, 0])
    return out, np.array([shut]), 0.5 - 0.5 * np.cos(np.pi * angle)


def _latch(out: FloatArray, rng: np.random.Generator, moment_s: float, strength: float) -> None:
    for k in range(3):
        hit = ringing_hit(0.08, rng.uniform(1500, 4800, 4), rng.uniform(0.02, 0.06, 4), 1.0, rng)
        dsp.add_at(out, strength * 0.6 ** (k % 2) * hit, int((moment_s + 0.028 * k) * SAMPLE_RATE_HZ))


def _creak(out: FloatArray, rng: np.random.Generator, start_s: float, stop_s: float) -> None:
    """Stick and slip in the hinge: a train of small slips whose rate wanders, ringing through the leaf."""
    n = int(max(stop_s - start_s, 0.0) * SAMPLE_RATE_HZ)
    if n < 240:
        return
    low, high = rng.uniform(25, 45), rng.uniform(90, 190)
    x = np.linspace(0, 1, n)
    rate = low + (high - low) * np.clip(0.5 + 0.35 * dsp.slow_track(n, rng, 1.6) + 0.3 * np.sin(np.pi * x), 0, 1)
    phase = np.cumsum(rate) / SAMPLE_RATE_HZ
    slips = np.flatnonzero(np.diff(np.floor(phase)) > 0)
    train = np.zeros(n)
    train[slips] = rng.uniform(0.5, 1.0, slips.size)
    voice = np.zeros(n)
    modes = rng.uniform(0.85, 1.15, 5) * np.array([480, 1100, 1900, 2900, 4200])
    for frequency, width, gain in zip(modes, (60, 90, 140, 200, 300), (1, 1, 0.9, 0.7, 0.4), strict=True):
        b, a = sps.iirpeak(frequency, frequency / width, fs=SAMPLE_RATE_HZ)
        voice += gain * np.sqrt(frequency / width) * sps.lfilter(b, a, train)
    voice = dsp.fade(voice, 0.1, 0.08) * np.clip(0.75 + 0.4 * dsp.slow_track(n, rng, 2.5), 0.15, 1.5)
    reference = dsp.active_rms(voice)
    if reference > 0:
        dsp.add_at(out, 0.45 * voice / reference, int(start_s * SAMPLE_RATE_HZ))


def _music(n: int, rng: np.random.Generator, variant: str) -> _Made:
    """A small band from a loudspeaker: chords, bass and drums, four bars that repeat with another melody."""
    beat = 60.0 / rng.uniform(84, 126)
    root = 220.0 * 2 ** (int(rng.integers(-4, 5)) / 12)
    progressions = ((0, 7, 9, 5), (0, 9, 5, 7), (9, 5, 0, 7), (0, 5, 7, 5))
    progression = progressions[int(rng.integers(len(progressions)))]
    minor = {9, 2, 4}
    out = np.zeros(n)
    strokes = []
    beats = int(n / SAMPLE_RATE_HZ / beat) + 1
    melody = [0, 2, 4, 7, 9, 12, 14]
    for k in range(beats * 2):
        moment = k * beat / 2
        start = int(moment * SAMPLE_RATE_HZ)
        degree = progression[(k // 8) % 4]
        third = 3 if degree in minor else 4
        if k % 8 == 0:
            for semitone in (0, third, 7, 12):
                f = root * 2 ** ((degree + semitone) / 12)
                dsp.add_at(out, 0.16 * _pad(f, 4 * beat, rng), start)
        if k % 2 == 0:
            strokes.append(moment)
            dsp.add_at(out, 0.5 * _pluck(root / 2 * 2 ** (degree / 12), 0.9 * beat, rng, bright=0.25), start)
            if (k // 2) % 2 == 0:
                dsp.add_at(out, 0.9 * _kick(rng), start)
            else:
                dsp.add_at(out, 0.6 * _snare(rng), start)
        dsp.add_at(out, 0.18 * _hat(rng), start)
        if rng.random() < 0.6:
            f = 2 * root * 2 ** (melody[int(rng.integers(len(melody)))] / 12)
            dsp.add_at(out, 0.4 * _pluck(f, 1.2 * beat, rng, bright=0.8), start)
    out = np.tanh(0.9 * out / max(dsp.active_rms(out), 1e-9) * 0.5)
    return out, np.array(strokes), dsp.envelope_track(out)


def _instrument(n: int, rng: np.random.Generator, variant: str) -> _Made:
    scale = np.array([0, 2, 4, 5, 7, 9, 11, 12, 14, 16]) + int(rng.integers(-3, 4))
    step = rng.uniform(0.22, 0.36)
    out = np.zeros(n)
    strokes = []
    position = int(rng.integers(scale.size))
    moment = 0.04
    while moment < n / SAMPLE_RATE_HZ:
        position = int(np.clip(position + rng.integers(-2, 3), 0, scale.size - 1))
        length = step * float(rng.choice([1, 1, 2]))
        f = (196.0 if variant == "guitar" else 261.63) * 2 ** (scale[position] / 12)
        note = _pluck(f, length * 3, rng, bright=0.7) if variant == "guitar" else _piano(f, length * 2.5, rng)
        dsp.add_at(out, rng.uniform(0.7, 1.0) * note, int(moment * SAMPLE_RATE_HZ))
        if rng.random() < 0.3:
            low = f / 2 * (1.0 if rng.random() < 0.5 else 2 ** (7 / 12))
            bass = _pluck(low, length * 4, rng, bright=0.5) if variant == "guitar" else _piano(low, length * 3, rng)
            dsp.add_at(out, 0.6 * bass, int(moment * SAMPLE_RATE_HZ))
        strokes.append(moment)
        moment += length
    return out, np.array(strokes), dsp.envelope_track(out)


def _tap(n: int, rng: np.random.Generator, variant: str) -> _Made:
    t = np.arange(n) / SAMPLE_RATE_HZ
    end = n / SAMPLE_RATE_HZ
    valve = np.clip(t / 0.35, 0, 1) * np.clip((end - t) / 0.4, 0, 1)
    hiss = dsp.shaped_noise(n, rng, [(150, -22), (500, -8), (rng.uniform(1500, 3000), 0), (6000, -2), (10000, -8)])
    hiss *= np.clip(1 + 0.18 * dsp.slow_track(n, rng, 7.0), 0.4, 1.8)
    splash = dsp.shaped_noise(n, rng, [(200, -6), (700, 0), (1500, -4), (5000, -16)])
    splash *= np.clip(0.5 + 0.8 * dsp.slow_track(n, rng, 14.0), 0, 2.5)
    out = hiss + 0.5 * splash
    bubbles = np.zeros(n)
    for moment in rng.uniform(0.2, max(end - 0.3, 0.25), int(end * 45)):
        f = float(np.exp(rng.uniform(np.log(450), np.log(3200))))
        length = int(0.03 * SAMPLE_RATE_HZ)
        tt = np.arange(length) / SAMPLE_RATE_HZ
        # a bubble's pitch rises as it nears the surface
        chirp = np.sin(2 * np.pi * f * (tt + 4.0 * tt**2)) * np.exp(-tt * f / 9.0)
        dsp.add_at(bubbles, chirp * rng.uniform(0.5, 2.0), int(moment * SAMPLE_RATE_HZ))
    out = (out + 0.9 * bubbles) * valve**1.5
    return out, _NO_STROKES, valve[:: SAMPLE_RATE_HZ // dsp.CONTROL_RATE_HZ]


def _bell(n: int, rng: np.random.Generator, variant: str) -> _Made:
    out = np.zeros(n)
    if variant == "hand bell":
        strike = rng.uniform(900, 1600)
        strokes = _rhythm(n, rng, rng.uniform(3.2, 4.6), jitter=0.08, first_s=0.04)
        decay = 0.9
    else:
        strike = rng.uniform(520, 760)
        period = rng.uniform(1.6, 2.2)
        strokes = np.sort(
            np.concatenate([np.arange(0.03, n / SAMPLE_RATE_HZ, period), np.arange(0.6, n / SAMPLE_RATE_HZ, period)])
        )
        decay = 2.0
    ratios = np.array([0.5, 1.0, 1.2, 1.5, 2.0, 2.67, 3.0, 4.1, 5.4])
    amplitudes = np.array([0.35, 0.6, 0.5, 0.35, 1.0, 0.6, 0.5, 0.35, 0.25])
    decays = decay * np.array([1.6, 1.2, 1.0, 0.8, 0.75, 0.5, 0.4, 0.25, 0.18])
    detune = rng.uniform(0.985, 1.015, ratios.size)
    for k, moment in enumerate(strokes):
        pitch = strike * (0.7937 if variant == "chime" and k % 2 else 1.0)
        hit = ringing_hit(decay * 1.6, pitch * ratios * detune, decays, amplitudes, rng)
        clack = dsp.band_noise(360, rng, 2500, 9000) * np.exp(-np.arange(360) / 60)
        dsp.add_at(hit, 0.5 * clack, 0)
        dsp.add_at(out, hit * rng.uniform(0.8, 1.0), int(moment * SAMPLE_RATE_HZ))
    return out, strokes, dsp.envelope_track(out)


def _knock(n: int, rng: np.random.Generator, variant: str) -> _Made:
    out = np.zeros(n)
    groups: list[float] = []
    moment = 0.05
    while moment < n / SAMPLE_RATE_HZ - 0.1:
        gap = rng.uniform(0.15, 0.24)
        count = int(rng.integers(2, 6))
        groups += [moment + gap * k + rng.normal(0, 0.008) for k in range(count)]
        moment += gap * count + rng.uniform(0.5, 1.1)
    strokes = np.array(groups)
    panel = rng.uniform(130, 210) if variant == "door" else rng.uniform(190, 300)
    for moment in strokes:
        hit = ringing_hit(
            0.25,
            panel * np.array([1, 1.62, 2.7, 4.3, 6.6, 9.5]) * rng.uniform(0.98, 1.02),
            np.array([0.14, 0.11, 0.09, 0.07, 0.05, 0.035]),
            np.array([1.0, 0.8, 0.7, 0.5, 0.4, 0.3]),
            rng,
        )
        click = dsp.shaped_noise(600, rng, [(300, -6), (1800, 0), (6000, -8)]) * np.exp(-np.arange(600) / 90)
        dsp.add_at(hit, 1.3 * click, 0)
        dsp.add_at(out, hit * rng.uniform(0.75, 1.1), int(moment * SAMPLE_RATE_HZ))
    return out, strokes[strokes >= 0], dsp.envelope_track(out)


def ringing_hit(
    seconds: float, frequencies_hz: npt.ArrayLike, decays_s: npt.ArrayLike, amplitudes: npt.ArrayLike,
    rng: np.random.Generator,
) -> FloatArray:  # fmt: skip
    """One hit of a body with the given modes; see :func:`sai_core.simulation.dsp.ringing`."""
    return dsp.ringing(int(seconds * SAMPLE_RATE_HZ), frequencies_hz, decays_s, amplitudes, rng)


def _rhythm(n: int, rng: np.random.Generator, rate_hz: float, *, jitter: float, first_s: float) -> FloatArray:
    """Times in seconds of a repeated action; ``jitter`` is the deviation of an interval as a share of it."""
    count = int(n / SAMPLE_RATE_HZ * rate_hz) + 2
    intervals = np.maximum(1 + jitter * rng.standard_normal(count), 0.15) / rate_hz
    times = first_s + np.concatenate([[0.0], np.cumsum(intervals)])
    return times[times < n / SAMPLE_RATE_HZ - 0.03]


def _soft_gate(gate: FloatArray) -> FloatArray:
    kernel = np.hanning(121)
    return np.convolve(gate, kernel / kernel.sum(), mode="same")


def _pluck(frequency_hz: float, seconds: float, rng: np.random.Generator, *, bright: float) -> FloatArray:
    """Plucked string (Karplus and Strong) as one recursive filter: a delay line with a two-point average."""
    n = int(seconds * SAMPLE_RATE_HZ)
    period = SAMPLE_RATE_HZ / frequency_hz - 0.5
    delay = int(period)
    part = period - delay
    excitation = np.zeros(n)
    burst = rng.uniform(-1, 1, min(delay + 1, n))
    excitation[: burst.size] = sps.lfilter([bright], [1.0, bright - 1.0], burst)
    # y[t] = x[t] + g * (average of y around t - period): linear interpolation between the two neighbouring averages
    loss = 0.996
    a = np.zeros(delay + 3)
    a[0] = 1.0
    a[delay] -= loss * 0.5 * (1 - part)
    a[delay + 1] -= loss * 0.5
    a[delay + 2] -= loss * 0.5 * part
    tone = sps.lfilter([1.0], a, excitation)
    return dsp.fade(dsp.unit_rms(tone), 0.0, 0.03) * np.exp(-np.arange(n) / SAMPLE_RATE_HZ * 1.2)


def _piano(frequency_hz: float, seconds: float, rng: np.random.Generator) -> FloatArray:
    n = int(seconds * SAMPLE_RATE_HZ)
    k = np.arange(1, 13)
    # stiff strings: partials are a little sharp
    partials = frequency_hz * k * np.sqrt(1 + 4e-4 * k**2)
    tone = dsp.ringing(n, partials, 2.6 / k**0.7, 1.0 / k**1.1, rng)
    length = min(480, n)
    tone[:length] += 0.25 * dsp.band_noise(length, rng, 300, 3000) * np.exp(-np.arange(length) / 100)
    return dsp.fade(tone, 0.003, 0.05)


def _pad(frequency_hz: float, seconds: float, rng: np.random.Generator) -> FloatArray:
    t = np.arange(int(seconds * SAMPLE_RATE_HZ)) / SAMPLE_RATE_HZ
    tone = np.zeros(t.size)
    for detune in (0.997, 1.0, 1.003):
        phase = 2 * np.pi * frequency_hz * detune * t + rng.uniform(0, 6.28)
        tone += sum(np.sin(k * phase) / k**1.3 for k in range(1, 9))
    return dsp.fade(tone / 2.0, 0.08, 0.2)


def _kick(rng: np.random.Generator) -> FloatArray:
    t = np.arange(int(0.25 * SAMPLE_RATE_HZ)) / SAMPLE_RATE_HZ
    return np.sin(2 * np.pi * (52 * t + 4.5 * (1 - np.exp(-t / 0.03)))) * np.exp(-t / 0.07)


def _snare(rng: np.random.Generator) -> FloatArray:
    t = np.arange(int(0.2 * SAMPLE_RATE_HZ)) / SAMPLE_RATE_HZ
    return dsp.band_noise(t.size, rng, 900, 7000) * np.exp(-t / 0.045) + 0.6 * np.sin(2 * np.pi * 190 * t) * np.exp(
        -t / 0.04
    )


def _hat(rng: np.random.Generator) -> FloatArray:
    t = np.arange(int(0.08 * SAMPLE_RATE_HZ)) / SAMPLE_RATE_HZ
    return dsp.band_noise(t.size, rng, 6000, 11000) * np.exp(-t / 0.015)


_MAKERS: Final[tuple[Callable[[int, np.random.Generator, str], _Made], ...]] = (
    _female_speech, _male_speech, _clapping, _telephone, _laughter, _domestic, _footsteps, _door, _music, _instrument,
    _tap, _bell, _knock,
)  # fmt: skip
