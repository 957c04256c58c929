"""Recordings in the place of synthesised sounds: a folder of one sub-folder a class.

    DIR/female_speech/*.wav  DIR/walk_footsteps/**/*.flac  DIR/12/*.ogg  ...

A sub-folder is named like the class (``female_speech``, ``Door open/close`` without its slash, ``waterTap``) or has its
number, 0 to 12; what libsndfile reads counts, at any depth, channels averaged, at any sample rate. Classes without a
recording are synthesised as ever. A recording is cut to the length of its event, or repeated with short pauses when it
is shorter: single steps become walking. Its level at one metre is the class's, as that of recordings is not known.

The picture still shows the thing that was drawn for the scene, which need not be the one that was recorded.
"""

from __future__ import annotations

import hashlib
import warnings
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from sai_core.acoustics.audio_input import resample_to_24k
from sai_core.dataset.sound_file import open_sound
from sai_core.errors import InputError
from sai_core.geometry import SAMPLE_RATE_HZ
from sai_core.simulation import dsp
from sai_core.simulation.sounds import Sound, at_class_level
from sai_core.taxonomy import CLASS_NAMES

FloatArray = npt.NDArray[np.float64]

SUFFIXES: Final[tuple[str, ...]] = (".wav", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".aif", ".aiff")
_ALIASES: Final[dict[str, int]] = {"footsteps": 6, "door": 7, "doorcupboard": 7, "musicinstrument": 9, "domestic": 5}
"""Beside the official names, as :func:`_plain` writes them."""

_PAUSE_S: Final[tuple[float, float]] = (0.15, 0.6)
_SILENT_BELOW_PEAK_DB: Final[float] = 45.0
_SHORTEST_S: Final[float] = 0.02


@dataclass(frozen=True)
class RecordedSounds:
    """A folder of recordings.

    Attributes
    ----------
    folder : Path
    files : tuple of tuple of str
        For each class the files, relative to the folder, sorted; empty for classes that are synthesised.
    digest : str
        Of names and sizes: a data set made with other files is another one.
    """

    folder: Path
    files: tuple[tuple[str, ...], ...]
    digest: str

    def take(self, category_id: int, duration_s: float, rng: np.random.Generator, *, variant: str) -> Sound | None:
        """A sound of a class and length; None where the class has no recording.

        Raises
        ------
        InputError
            A file cannot be read, or holds nothing but silence.
        """
        names = self.files[category_id]
        if not names:
            return None
        name = names[int(rng.integers(len(names)))]
        recording = _read(self.folder / name)
        n = round(duration_s * SAMPLE_RATE_HZ)
        raw, strokes = _filled(recording, n, rng)
        return at_class_level(
            category_id, raw, rng, variant=variant, strokes_s=strokes, motion=dsp.envelope_track(raw), recording=name
        )

    def duration_s(self, name: str) -> float:
        """Length of a file without the silence at both ends.

        Raises
        ------
        InputError
            It cannot be read, or holds nothing but silence.
        """
        return _read(self.folder / name).size / SAMPLE_RATE_HZ


def open_recorded(folder: Path) -> RecordedSounds:
    """Find the recordings of a folder.

    Raises
    ------
    InputError
        No such folder, a sub-folder that is no class, or no recording at all.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder of sounds; give one with a sub-folder for each class.")
    known = {_plain(name): k for k, name in enumerate(CLASS_NAMES)} | _ALIASES
    known |= {str(k): k for k in range(len(CLASS_NAMES))}
    found: list[list[str]] = [[] for _ in CLASS_NAMES]
    for part in sorted(p for p in folder.iterdir() if p.is_dir() and not p.name.startswith(".")):
        category = known.get(_plain(part.name))
        if category is None:
            raise InputError(
                f"{part}: is not named like one of the classes; use {', '.join(_folder_name(n) for n in CLASS_NAMES)}."
            )
        found[category] += [
            p.relative_to(folder).as_posix() for p in sorted(part.rglob("*")) if p.suffix.lower() in SUFFIXES
        ]
    if not any(found):
        raise InputError(f"{folder}: holds no recording ({', '.join(SUFFIXES)}) in a sub-folder of a class.")
    digest = hashlib.sha256()
    for category, names in enumerate(found):
        for name in names:
            digest.update(f"{category}\t{name}\t{(folder / name).stat().st_size}\n".encode())
    return RecordedSounds(folder, tuple(tuple(names) for names in found), digest.hexdigest()[:16])


def _plain(name: str) -> str:
    return "".join(c for c in name.lower() if c.isalnum())


def _folder_name(name: str) -> str:
    return name.lower().replace("/", "_").replace(" ", "_")


@lru_cache(maxsize=32)
def _read(path: Path) -> FloatArray:
    """Mono at 24 kHz without the silence at both ends; not to be changed."""
    with open_sound(path) as stream:
        rate = stream.facts.sample_rate_hz
        samples = stream.read(0, stream.facts.n_samples).astype(np.float64)
        for note in stream.facts.notes:
            warnings.warn(f"{path}: {note}", stacklevel=2)
    mono: FloatArray = np.nan_to_num(resample_to_24k(samples.mean(axis=1, keepdims=True), rate)[:, 0]).astype(
        np.float64
    )
    power = dsp.frame_power(mono, SAMPLE_RATE_HZ // 100)
    loud = np.flatnonzero(power > power.max(initial=0.0) * 10.0 ** (-_SILENT_BELOW_PEAK_DB / 10.0))
    if loud.size == 0:
        raise InputError(f"{path}: contains only silence; leave it out.")
    frame = SAMPLE_RATE_HZ // 100
    trimmed = mono[int(loud[0]) * frame : (int(loud[-1]) + 1) * frame]
    if trimmed.size < _SHORTEST_S * SAMPLE_RATE_HZ:
        trimmed = np.pad(trimmed, (0, int(_SHORTEST_S * SAMPLE_RATE_HZ) - trimmed.size))
    return trimmed


def _filled(recording: FloatArray, n: int, rng: np.random.Generator) -> tuple[FloatArray, FloatArray]:
    """``n`` samples of a recording, cut or repeated, and the seconds at which it begins anew."""
    if recording.size >= n:
        start = int(rng.integers(recording.size - n + 1))
        excerpt = recording[start : start + n]
        # an excerpt that fell into a pause is as good as no sound
        return (excerpt if np.any(np.abs(excerpt) > 1e-3 * np.abs(recording).max()) else recording[:n]), np.zeros(1)
    out = np.zeros(n)
    starts, position = [], 0
    once = dsp.fade(recording, 0.001, 0.005)
    while position < n:
        starts.append(position / SAMPLE_RATE_HZ)
        dsp.add_at(out, once * rng.uniform(0.8, 1.0), position)
        position += once.size + int(rng.uniform(*_PAUSE_S) * SAMPLE_RATE_HZ)
    return out, np.array(starts)
