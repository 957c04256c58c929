"""What the listener learns from: sounds as a beam gives them, and the windows that are drawn of them.

Kept as mel power (:mod:`sai_core.listener.spectrum`), so that a window of a training step costs a sum: what leaks in,
noise and the colour of microphones are added to powers there, anew at each step.

Origins
-------
``synthesised``
    :mod:`sai_core.simulation.sounds`, one take a clip, with the reverberation that a beam leaves.
``recorded``
    Files of a folder (``--sounds``), the same way. A sub-folder of a class's folder is a package: packages are drawn
    evenly by the root of the number of their files, so that one with a thousand does not stand for its class.
``scenes``
    Simulated scenes through the whole path: room, four capsules, one source alone (:mod:`sai_core.listening.solo`), a
    few degrees off; and a direction where nothing is. Every other one plays recordings, where there are any.
"""

from __future__ import annotations

import hashlib
import json
import zipfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
from scipy import signal

from sai_core.errors import InputError
from sai_core.files import atomic_write
from sai_core.geometry import (
    SAMPLE_RATE_HZ,
    SAMPLES_PER_FRAME,
    UPLAM_CAPSULES,
    directions_to_vectors,
    great_circle_deg,
    vectors_to_directions,
)
from sai_core.listener.spectrum import BAND_HZ, COLUMNS, N_BANDS, mel_power, network_input
from sai_core.simulation.recorded import RecordedSounds, open_recorded
from sai_core.simulation.sounds import synthesise
from sai_core.taxonomy import N_CLASSES
from sai_core.training.config import ListenerSettings

FloatArray = npt.NDArray[np.float64]
Float32Array = npt.NDArray[np.float32]
IntArray = npt.NDArray[np.int64]

ORIGINS: Final[tuple[str, ...]] = ("synthesised", "recorded", "scenes")
NOTHING: Final[int] = N_CLASSES

_VERSION: Final[int] = 1
"""Of how sounds are made: what was kept of another one is made anew."""

_FLOOR_DB: Final[float] = -100.0
_PART: Final[int] = 25
"""Clips that are made, and kept, at a time."""

_AWAY_DEG: Final[float] = 35.0
_OFF_DEG: Final[float] = 4.0
_AROUND_FRAMES: Final[int] = 5
_ACTIVE_DB: Final[float] = 15.0
"""A window whose power is further below that of its clip fell into a pause."""

_OFTEN_REPEATED: Final[frozenset[int]] = frozenset((2, 5, 6))
"""Clapping, domestic sounds, footsteps: short recordings of them are mostly heard one after another."""


@dataclass(frozen=True, eq=False)
class Clips:
    """Sounds of any length.

    Attributes
    ----------
    level_db : float16, shape (columns of all, 64)
        Mel power in decibels against the loudest of the clip.
    first : int64, shape (n + 1,)
        Where each begins.
    label : int64, shape (n,)
        0..12, 13 for nothing.
    package : tuple of str
        Of each clip; "" for what is synthesised.
    left_out : tuple of str
        Files that cannot be read or hold nothing but silence, with the reason.
    """

    level_db: npt.NDArray[np.float16]
    first: IntArray
    label: IntArray
    package: tuple[str, ...]
    left_out: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.label)

    def power(self, clip: int) -> Float32Array:
        """Mel power of a clip, largest 1, shape (columns, 64)."""
        level = self.level_db[self.first[clip] : self.first[clip + 1]].astype(np.float32)
        return np.asarray(10.0 ** (level / 10.0), dtype=np.float32)

    @classmethod
    def of(cls, sounds: Sequence[tuple[FloatArray | Float32Array, int, str]]) -> Clips:
        """Clips of sounds at 24 kHz, with class and package; silent ones are left out."""
        levels, labels, packages = [], [], []
        for sound, label, package in sounds:
            power = mel_power(sound)
            if not len(power) or not power.max() > 0:
                continue
            share = np.maximum(power / power.max(), 10.0 ** (_FLOOR_DB / 10.0))
            levels.append((10.0 * np.log10(share)).astype(np.float16))
            labels.append(label)
            packages.append(package)
        first = np.cumsum([0, *map(len, levels)]).astype(np.int64)
        level_db = np.concatenate([np.zeros((0, N_BANDS), np.float16), *levels])
        return cls(level_db, first, np.asarray(labels, np.int64), tuple(packages))

    @classmethod
    def join(cls, parts: Sequence[Clips]) -> Clips:
        """One after the other."""
        lengths = np.concatenate([np.zeros(0, np.int64), *(np.diff(part.first) for part in parts)])
        return cls(
            np.concatenate([np.zeros((0, N_BANDS), np.float16), *(part.level_db for part in parts)]),
            np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64),
            np.concatenate([np.zeros(0, np.int64), *(part.label for part in parts)]),
            tuple(name for part in parts for name in part.package),
            tuple(why for part in parts for why in part.left_out),
        )

    def take(self, rows: Sequence[int]) -> Clips:
        """Some of them."""
        pieces = [self.level_db[self.first[k] : self.first[k + 1]] for k in rows]
        first = np.cumsum([0, *map(len, pieces)]).astype(np.int64)
        level_db = np.concatenate([np.zeros((0, N_BANDS), np.float16), *pieces])
        return Clips(level_db, first, self.label[list(rows)], tuple(self.package[k] for k in rows))


def in_a_room(dry: FloatArray, rng: np.random.Generator) -> FloatArray:
    """What is left of a sound in a room after a beam: direct sound, some reflections, a tail; as long as before.

    Reverberation times are those of simulated rooms (0.2 to 0.8 s at 1 kHz, less above); the direct sound is -2 to
    18 dB above the tail, as a beam leaves it.
    """
    rt60 = rng.uniform(0.2, 0.8)
    n = int(rt60 * SAMPLE_RATE_HZ)
    t = np.arange(n) / SAMPLE_RATE_HZ
    noise = rng.standard_normal(n)
    low = signal.lfilter([0.35], [1.0, -0.65], noise)  # below some 2 kHz
    decay = 6.9078 / rt60
    tail = low * np.exp(-decay / rng.uniform(1.0, 1.4) * t) + (noise - low) * np.exp(-decay / rng.uniform(0.4, 0.9) * t)
    tail[: int(0.004 * SAMPLE_RATE_HZ)] = 0.0
    response = tail * 10.0 ** (-rng.uniform(-2.0, 18.0) / 20.0) / max(float(np.sqrt(np.sum(tail**2))), 1e-9)
    for moment in rng.uniform(0.001, 0.03, 5):
        response[min(int(moment * SAMPLE_RATE_HZ), n - 1)] += rng.choice((-1.0, 1.0)) * rng.uniform(0.02, 0.25)
    response[0] += 1.0
    wet: FloatArray = signal.fftconvolve(dry, response)[: dry.size]
    return wet


def make_synthesised(category: int, first: int, count: int, settings: ListenerSettings) -> Clips:
    """Takes ``first`` to ``first + count`` of a class, as a beam gives them."""
    sounds: list[tuple[FloatArray | Float32Array, int, str]] = []
    for number in range(first, first + count):
        rng = np.random.default_rng([settings.seed, 1, category, number])
        sound = synthesise(category, float(rng.uniform(0.5, 1.0)) * settings.clip_s, rng)
        sounds.append((in_a_room(np.pad(sound.signal, (0, SAMPLE_RATE_HZ // 4)), rng), category, ""))
    return Clips.of(sounds)


def make_recorded(category: int, names: Sequence[str], recorded: RecordedSounds, settings: ListenerSettings) -> Clips:
    """Takes of some files of a class, as a beam gives them; files that cannot be used are left out and named."""
    sounds: list[tuple[FloatArray | Float32Array, int, str]] = []
    left_out: list[str] = []
    for name in names:
        alone = tuple((name,) if k == category else () for k in range(N_CLASSES))
        single = replace(recorded, files=alone)
        package = package_of(name)
        try:
            whole_s = recorded.duration_s(name)
        except InputError as error:
            left_out.append(str(error))
            continue
        for take in range(settings.takes):
            rng = np.random.default_rng([settings.seed, 2, category, take, *name.encode()])
            seconds = float(rng.uniform(0.5, 1.0)) * settings.clip_s
            if rng.random() > (0.8 if category in _OFTEN_REPEATED else 0.3):
                seconds = min(seconds, whole_s)
            sound = single.take(category, seconds, rng, variant="")
            assert sound is not None
            sounds.append((in_a_room(np.pad(sound.signal, (0, SAMPLE_RATE_HZ // 4)), rng), category, package))
    return replace(Clips.of(sounds), left_out=tuple(left_out))


def package_of(name: str) -> str:
    """Package of a file, its folder within that of the class; "" where it lies in the class's own."""
    parts = name.split("/")
    return parts[1] if len(parts) > 2 else ""


def make_scene(index: int, recorded: RecordedSounds | None, settings: ListenerSettings) -> Clips:
    """Events of one simulated scene, each alone as four capsules hear it, and a direction where nothing is."""
    from sai_core.listening.lines import towards
    from sai_core.listening.solo import Solo
    from sai_core.listening.sources import Track, sources_of
    from sai_core.simulation.audio import render_audio
    from sai_core.simulation.scene import draw_scene

    rng = np.random.default_rng([settings.seed, 3, index])
    plays = recorded if index % 2 else None
    scene = draw_scene(
        settings.seed,
        index,
        seconds=settings.scene_s,
        recording=f"heard_{index}",
        recorded=plays,
        style="real" if index % 4 >= 2 else "even",
    )
    heard = render_audio(scene)
    audio = np.ascontiguousarray(heard.capsules[list(UPLAM_CAPSULES)].T)

    def read(start: int, stop: int) -> Float32Array:
        out = np.zeros((stop - start, audio.shape[1]), np.float32)
        low, high = max(start, 0), min(stop, len(audio))
        if low < high:
            out[low - start : high - start] = audio[low:high]
        return out

    sources = sources_of(heard.metadata)
    n_frames = len(audio) // SAMPLES_PER_FRAME
    sounds: list[tuple[FloatArray | Float32Array, int, str]] = []
    for track in sources.tracks:
        off = directions_to_vectors(track.azimuth_deg, track.elevation_deg) + rng.normal(0, np.radians(_OFF_DEG), 3)
        near = Track(track.category_id, track.number, track.frame, *vectors_to_directions(off))
        solo = Solo("mic", read, near, sources.others(track))
        for event in sources.events(track.category_id):
            if event.number == track.number:
                low, high = max(event.start - _AROUND_FRAMES, 0), min(event.stop + _AROUND_FRAMES, n_frames)
                piece = solo.render(low * SAMPLES_PER_FRAME, high * SAMPLES_PER_FRAME)
                sounds.append((piece, track.category_id, "scene"))
    azimuth = np.concatenate([[], *(t.azimuth_deg for t in sources.tracks)])
    elevation = np.concatenate([[], *(t.elevation_deg for t in sources.tracks)])
    for _ in range(30):
        aim = float(rng.uniform(-180, 180)), float(np.degrees(np.arcsin(rng.uniform(-0.8, 0.8))))
        if not azimuth.size or great_circle_deg(*aim, azimuth, elevation).min() > _AWAY_DEG:
            solo = Solo("mic", read, towards(*aim), sources.tracks if rng.random() < 0.5 else ())
            sounds.append((solo.render(0, min(n_frames * SAMPLES_PER_FRAME, 6 * SAMPLE_RATE_HZ)), NOTHING, "scene"))
            break
    return Clips.of(sounds)


@dataclass(frozen=True)
class Part:
    """A part of the sounds that is made, and kept, at once.

    Attributes
    ----------
    origin : str
    made_of : tuple
        All that it depends on.
    make : callable
    """

    origin: str
    made_of: tuple[object, ...]
    make: Callable[[], Clips]


def parts_of(settings: ListenerSettings, folder: Path | None) -> Iterator[Part]:
    """Everything that is heard.

    Raises
    ------
    InputError
        The folder is none of sounds.
    """
    recorded = open_recorded(folder) if folder is not None else None
    base = (_VERSION, settings.seed)
    for category in range(N_CLASSES):
        for first in range(0, settings.synthesised, _PART):
            count = min(_PART, settings.synthesised - first)
            yield Part(
                "synthesised",
                (*base, "made", settings.clip_s, category, first, count),
                partial(make_synthesised, category, first, count, settings),
            )
    for category in range(N_CLASSES):
        names = recorded.files[category] if recorded is not None else ()
        for first in range(0, len(names), _PART):
            assert recorded is not None
            some = names[first : first + _PART]
            sizes = [(name, (recorded.folder / name).stat().st_size) for name in some]
            yield Part(
                "recorded",
                (*base, "recorded", settings.clip_s, settings.takes, category, sizes),
                partial(make_recorded, category, some, recorded, settings),
            )
    for index in range(settings.scenes):
        yield Part(
            "scenes",
            (*base, "scene", settings.scene_s, index, recorded.digest if recorded is not None and index % 2 else ""),
            partial(make_scene, index, recorded, settings),
        )


def kept(part: Part, folder: Path) -> Clips:
    """A part from a folder, made where it is not there."""
    key = hashlib.blake2b(json.dumps(part.made_of, default=str).encode(), digest_size=12).hexdigest()
    path = folder / f"{part.origin}_{key}.npz"
    try:
        with open(path, "rb") as there, np.load(there, allow_pickle=False) as stored:
            package, left_out = (tuple(map(str, stored[name])) for name in ("package", "left_out"))
            return Clips(stored["level_db"], stored["first"], stored["label"], package, left_out)
    except (OSError, ValueError, KeyError, zipfile.BadZipFile):
        pass
    made = part.make()
    with atomic_write(path) as stream:
        np.savez(
            stream,
            level_db=made.level_db,
            first=made.first,
            label=made.label,
            package=np.asarray(made.package, dtype=np.str_),
            left_out=np.asarray(made.left_out, dtype=np.str_),
        )
    return made


class Windows:
    """Windows drawn of clips: what a step learns from, or what is measured.

    Parameters
    ----------
    clips : mapping of str to Clips
        By origin (:data:`ORIGINS`).
    settings : ListenerSettings
    """

    def __init__(self, clips: dict[str, Clips], settings: ListenerSettings) -> None:
        self._clips, self._settings = clips, settings
        shares = {
            "synthesised": (1.0 - settings.recorded_share) * (1.0 - settings.scene_share),
            "recorded": settings.recorded_share * (1.0 - settings.scene_share),
            "scenes": settings.scene_share,
        }
        self._shares = shares
        self._rows: dict[tuple[str, int], tuple[IntArray, FloatArray]] = {}
        for origin, some in clips.items():
            package = np.asarray(some.package)
            for label in np.unique(some.label).tolist():
                rows = np.flatnonzero(some.label == label)
                _, which, n = np.unique(package[rows], return_inverse=True, return_counts=True)
                weight = n[which] ** -0.5
                self._rows[origin, label] = rows, weight / weight.sum()

    def origins(self, label: int) -> list[str]:
        """Where a class comes from."""
        return [origin for origin in ORIGINS if (origin, label) in self._rows]

    def draw(self, rng: np.random.Generator, label: int, origin: str) -> Float32Array:
        """Power of a window of a class, as the beam hears it with what leaks in and noise, shape (100, 64)."""
        if label == NOTHING and origin == "synthesised":
            # what is left of something else far away, with much noise
            rival, there = self._other(rng, NOTHING)
            own = self._excerpt(rng, rival, there) * np.float32(10.0 ** rng.uniform(-3.0, -0.5))
            return _noisy(own, rng, mean=1.0, snr_db=0.0)
        own = self._excerpt(rng, label, origin)
        mean = float(own.mean())
        if rng.random() < self._settings.leak * (0.3 if origin == "scenes" else 1.0):
            rival, there = self._other(rng, label)
            leak = self._excerpt(rng, rival, there)
            level = mean / max(float(leak.mean()), 1e-20) * 10.0 ** (-rng.uniform(3.0, 20.0) / 10.0)
            own = own + leak * np.float32(level)
        own = own * _colour(rng, self._settings.colour_db)
        snr = rng.uniform(20.0, 50.0) if origin == "scenes" else rng.uniform(3.0, 45.0)
        return _noisy(own, rng, mean=float(own.mean()), snr_db=snr)

    def _other(self, rng: np.random.Generator, label: int) -> tuple[int, str]:
        labels = sorted({c for _, c in self._rows if c not in (label, NOTHING)})
        rival = int(labels[int(rng.integers(len(labels)))])
        there = [origin for origin in self.origins(rival) if origin != "scenes"] or self.origins(rival)
        return rival, there[int(rng.integers(len(there)))]

    def _excerpt(self, rng: np.random.Generator, label: int, origin: str) -> Float32Array:
        clips = self._clips[origin]
        rows, weight = self._rows[origin, label]
        clip = int(rng.choice(rows, p=weight))
        power = clips.power(clip)
        n = len(power)
        wanted = float(power.mean()) * 10.0 ** (-_ACTIVE_DB / 10.0)
        window = np.zeros((COLUMNS, N_BANDS), np.float32)
        for _ in range(4):
            start = int(rng.integers(min(-COLUMNS // 3, n - COLUMNS), max(n - 2 * COLUMNS // 3, 1 - COLUMNS // 4)))
            low, high = max(start, 0), min(start + COLUMNS, n)
            window[:] = 0.0
            if low < high:
                window[low - start : high - start] = power[low:high]
            if float(window.mean()) > wanted:
                break
        return window

    def batch(self, rng: np.random.Generator, size: int, *, origin: str = "") -> tuple[Float32Array, IntArray]:
        """Input of the network, shape (size, 100, 64), and classes; all classes as often, nothing less."""
        s = self._settings
        classes = sorted({c for o, c in self._rows if c != NOTHING and origin in ("", o)})
        power = np.empty((size, COLUMNS, N_BANDS), np.float32)
        labels = np.empty(size, np.int64)
        for k in range(size):
            if not origin and rng.random() < s.nothing_share:
                label = NOTHING
                there = ["synthesised", *self.origins(NOTHING)]
                chosen = there[int(rng.integers(len(there)))]
            else:
                label = classes[int(rng.integers(len(classes)))]
                there = [origin] if origin else self.origins(label)
                share = np.array([self._shares[o] for o in there])
                share = share / share.sum() if share.sum() > 0 else np.full(len(there), 1 / len(there))
                chosen = there[int(rng.choice(len(there), p=share))]
            power[k] = self.draw(rng, label, chosen)
            labels[k] = label
        return network_input(power), labels

    @property
    def counts(self) -> dict[str, list[int]]:
        """Clips of each class (nothing last), by origin."""
        return {o: np.bincount(c.label, minlength=N_CLASSES + 1).tolist() for o, c in self._clips.items()}


_LOW_MEL, _HIGH_MEL = (2595.0 * float(np.log10(1.0 + f / 700.0)) for f in BAND_HZ)
_MEL_HZ: Final[FloatArray] = 700.0 * (10.0 ** (np.linspace(_LOW_MEL, _HIGH_MEL, N_BANDS + 2)[1:-1] / 2595.0) - 1.0)


def _colour(rng: np.random.Generator, sigma_db: float) -> Float32Array:
    """Gain in power of each band: a smooth disturbance, and now and then a recording without highs or lows."""
    knots = rng.normal(0.0, sigma_db, 6)
    gain = np.interp(np.arange(N_BANDS), np.linspace(0, N_BANDS - 1, 6), knots)
    if rng.random() < 0.25:
        gain = gain - np.clip((np.log2(_MEL_HZ / np.exp(rng.uniform(np.log(3000), np.log(10_000))))) * 90.0, 0.0, 60.0)
    if rng.random() < 0.15:
        gain = gain - np.clip((np.log2(np.exp(rng.uniform(np.log(100), np.log(400))) / _MEL_HZ)) * 24.0, 0.0, 40.0)
    return (10.0 ** (gain / 10.0)).astype(np.float32)


def _noisy(own: Float32Array, rng: np.random.Generator, *, mean: float, snr_db: float) -> Float32Array:
    """Add noise that falls with frequency, as quiet as asked for against a mean power."""
    slope, bend = rng.uniform(0.0, 6.0), rng.normal(0.0, 2.0, 4)
    level = -slope * np.maximum(np.log2(_MEL_HZ / 200.0), 0.0)
    level = level + np.interp(np.arange(N_BANDS), np.linspace(0, N_BANDS - 1, 4), bend)
    noise = (10.0 ** (level / 10.0))[None] * rng.standard_gamma(2.0, (COLUMNS, N_BANDS))
    scale = max(mean, 1e-12) / noise.mean() * 10.0 ** (-snr_db / 10.0)
    return (own + scale * noise).astype(np.float32)
