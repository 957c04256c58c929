"""Moments that are alike: of the same class, near in direction, alike in sound.

Each of the three is a number in [0, 1]; the likeness of two items is their mean, of those that are known for both.

=========  ========================================================================================================
class      1 for the same class, else 0
direction  ``exp(-(a / 30)^2 / 2)``, a = angle in degrees between the mean directions of the strongest points
sound      ``exp(-(d / 5)^2 / 2)``, d = root mean square difference in decibels of two descriptions of the sound
=========  ========================================================================================================

The sound is that of a beam (maximum rE, :mod:`sai_core.listening.beams`) that follows the item's direction, for at most
three seconds around its most telling frame. Its description are, in 40 mel bands of 50 Hz to 11 kHz, the mean level in
decibels less the mean over all bands, and half of the level's standard deviation over time: what the sound is like,
whatever its loudness. Nothing is learned from data. Room, distance and what sounds at the same time are heard with it,
and so is the array: only sounds of one kind of array (4 or 32 capsules, or FOA) are held against each other.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from sai_core.annotations import AnnotationTable
from sai_core.dataset import Recording
from sai_core.errors import SaiError
from sai_core.geometry import SAMPLE_RATE_HZ, SAMPLES_PER_FRAME, directions_to_vectors, vectors_to_directions
from sai_core.listening import lines
from sai_core.listening.signals import Signal, open_signal
from sai_core.listening.sources import Track
from sai_core.metrics.official.directions import region_peak_direction
from sai_core.progress import Progress, no_progress
from sai_core.review.edits import annotation_keys
from sai_core.review.queue import Item

if TYPE_CHECKING:
    from sai_core.review.desk import Material

Float64 = npt.NDArray[np.float64]

MOST_ALIKE: Final[int] = 30
LEAST: Final[float] = 0.5
"""Likeness below which items are not alike: of another class somewhere else."""

DIRECTION_DEG: Final[float] = 30.0
SOUND_DB: Final[float] = 5.0
MOST_HEARD: Final[int] = 400
"""Items that are listened to for one list; those alike in class and direction first."""

_MOST_FRAMES: Final[int] = 30
_N_BANDS: Final[int] = 40
_BAND_HZ: Final[tuple[float, float]] = (50.0, 11_000.0)
_WINDOW: Final[int] = 1024
_HOP: Final[int] = 480
_FLOOR_DB: Final[float] = -60.0
"""Below the loudest band of a sound; what is fainter is mostly noise of the microphones."""


@dataclass(frozen=True, eq=False)
class Sight:
    """What is known of an item without listening.

    Attributes
    ----------
    category_id : int
    track : Track or None
        Its directions, frame by frame; None where its labels and predictions are not at hand.
    frame : int
        The most telling one.
    """

    category_id: int
    track: Track | None
    frame: int

    @property
    def direction(self) -> Float64 | None:
        """Mean direction, a unit vector, shape (3,)."""
        if self.track is None:
            return None
        mean = directions_to_vectors(self.track.azimuth_deg, self.track.elevation_deg).mean(axis=0)
        length = float(np.linalg.norm(mean))
        return mean / length if length > 1e-6 else None


@dataclass(frozen=True)
class Likeness:
    """How alike two items are; a part that is not known is None.

    Attributes
    ----------
    total : float
        Mean of the parts that are known.
    same_class : bool
    angle_deg : float or None
    sound : float or None
        In [0, 1].
    """

    total: float
    same_class: bool
    angle_deg: float | None
    sound: float | None


def sight_of(item: Item, material: Material) -> Sight:
    """Class and directions of an item: of its labels, or of the predictions that it proposes as labels."""
    wanted = set(item.targets)
    keys = annotation_keys(material.labels) if wanted else []
    pairs = [(material.labels, [k for k, key in enumerate(keys) if key in wanted])]
    by_system: dict[str, list[int]] = {}
    for _, system, row in item.change.get("add", []):
        by_system.setdefault(system, []).append(row)
    pairs += [
        (material.predictions[s], [r for r in rows if 0 <= r < len(material.predictions[s])])
        for s, rows in by_system.items()
        if s in material.predictions
    ]
    return Sight(item.category_id, track_of(item.category_id, pairs), item.frame)


def track_of(category_id: int, pairs: Sequence[tuple[AnnotationTable, Sequence[int]]]) -> Track | None:
    """Strongest points of rows of some tables as one track, a frame's mean where it has several; None without rows."""
    frames: list[npt.NDArray[np.int64]] = []
    vectors: list[Float64] = []
    for table, rows in pairs:
        if len(rows):
            part = table.take(rows)
            frames.append(part.frame.astype(np.int64))
            vectors.append(directions_to_vectors(*region_peak_direction(part)))
    if not frames:
        return None
    frame, where = np.unique(np.concatenate(frames), return_inverse=True)
    mean = np.zeros((len(frame), 3))
    np.add.at(mean, where, np.concatenate(vectors))
    azimuth, elevation = vectors_to_directions(mean)
    return Track(category_id, 0, frame, azimuth, elevation)


def hear(signal: Signal, sight: Sight) -> Float64 | None:
    """Description of an item's sound (module docstring), shape (80,), in decibels; None where there is silence."""
    if sight.track is None:
        return None
    first = max(sight.track.start, min(sight.frame - _MOST_FRAMES // 2, sight.track.stop - _MOST_FRAMES), 0)
    last = min(first + _MOST_FRAMES, sight.track.stop, signal.n_frames)
    if last <= first:
        return None
    sound = lines.steered(signal, sight.track)(first * SAMPLES_PER_FRAME, last * SAMPLES_PER_FRAME)
    return describe(sound[:, 0])


def describe(sound: npt.NDArray[np.float32]) -> Float64 | None:
    """Description of a sound at 24 kHz, shape (samples,); None for silence."""
    padded = np.pad(np.asarray(sound, dtype=np.float64), (0, max(0, _WINDOW - len(sound))))
    pieces = np.lib.stride_tricks.sliding_window_view(padded, _WINDOW)[::_HOP] * np.hanning(_WINDOW)
    power = (np.abs(np.fft.rfft(pieces, axis=1)) ** 2) @ _mel_bands()
    loudest = float(power.mean(axis=0).max())
    if not loudest > 0:
        return None
    level = 10.0 * np.log10(np.maximum(power / loudest, 10.0 ** (_FLOOR_DB / 10.0)))
    mean = level.mean(axis=0)
    return np.concatenate([mean - mean.mean(), 0.5 * level.std(axis=0)])


@cache
def _mel_bands() -> Float64:
    """Triangles that are even on the mel scale (2595 log10(1 + f / 700)), shape (513, 40), each of sum 1."""
    low, high = (2595.0 * np.log10(1.0 + f / 700.0) for f in _BAND_HZ)
    edges = 700.0 * (10.0 ** (np.linspace(low, high, _N_BANDS + 2) / 2595.0) - 1.0)
    frequency = np.fft.rfftfreq(_WINDOW, 1.0 / SAMPLE_RATE_HZ)[:, None]
    rising = (frequency - edges[:-2]) / (edges[1:-1] - edges[:-2])
    falling = (edges[2:] - frequency) / (edges[2:] - edges[1:-1])
    bands = np.maximum(np.minimum(rising, falling), 0.0)
    # a band narrower than a bin holds the bin nearest to its middle
    for k in np.flatnonzero(bands.sum(axis=0) == 0):
        bands[np.abs(frequency[:, 0] - edges[k + 1]).argmin(), k] = 1.0
    return bands / bands.sum(axis=0)


def likeness(a: Sight, b: Sight, sounds: tuple[Float64 | None, Float64 | None] = (None, None)) -> Likeness:
    """How alike two items are."""
    same = a.category_id == b.category_id
    parts = [float(same)]
    angle = sound = None
    first, second = a.direction, b.direction
    if first is not None and second is not None:
        angle = float(np.rad2deg(np.arccos(np.clip(first @ second, -1.0, 1.0))))
        parts.append(float(np.exp(-0.5 * (angle / DIRECTION_DEG) ** 2)))
    own_sound, its_sound = sounds
    if own_sound is not None and its_sound is not None:
        sound = float(np.exp(-0.5 * float(np.mean((own_sound - its_sound) ** 2)) / SOUND_DB**2))
        parts.append(sound)
    return Likeness(float(np.mean(parts)), same, angle, sound)


@dataclass(frozen=True)
class Alike:
    """Items that are like one of them.

    Attributes
    ----------
    of : str
        Identifier of that item.
    found : mapping of Likeness
        By identifier, most alike first, the item itself left out; all of at least :data:`LEAST`.
    notes : tuple of str
        What could not be heard, one sentence each.
    """

    of: str
    found: Mapping[str, Likeness]
    notes: tuple[str, ...]


def alike(
    item: Item,
    others: Sequence[Item],
    *,
    material_of: Callable[[Item], Material],
    recording_of: Callable[[Item], Recording],
    memo: dict[Any, Any] | None = None,
    progress: Progress = no_progress,
) -> Alike:
    """Find the items that are like one.

    Parameters
    ----------
    item : Item
    others : sequence of Item
    material_of, recording_of : callable
        Tables and files of an item's recording.
    memo : dict, optional
        Keeps what was seen and heard of each item for the next call.
    progress : Progress
    """
    kept: dict[Any, Any] = memo if memo is not None else {}
    notes: dict[str, None] = {}
    signals: dict[tuple[str, str], Signal | None] = {}

    def sight(of_item: Item) -> Sight:
        key = ("sight", of_item.id, of_item.targets)
        if key not in kept:
            kept[key] = sight_of(of_item, material_of(of_item))
        seen: Sight = kept[key]
        return seen

    def sound(of_item: Item) -> tuple[str, Float64 | None]:
        place = (of_item.split, of_item.recording)
        key = ("sound", of_item.id, of_item.targets)
        if key not in kept:
            if place not in signals:
                try:
                    signals[place] = open_signal(recording_of(of_item))
                except SaiError as error:
                    signals[place] = None
                    notes[f"Not heard: {error}"] = None
            signal = signals[place]
            if signal is None:
                return "", None
            kept[key] = (str(signal.array), hear(signal, sight(of_item)))
        heard: tuple[str, Float64 | None] = kept[key]
        return heard

    own = sight(item)
    rough = sorted(
        ((likeness(own, sight(candidate)), candidate) for candidate in others if candidate.id != item.id),
        key=lambda pair: (-pair[0].total, pair[1].id),
    )
    # by the best sound that there can be
    possible = [(like, candidate) for like, candidate in rough if _with_sound(like, 1.0) >= LEAST]
    if len(possible) > MOST_HEARD:
        notes[
            f"Of {len(possible)} items that may be alike, the {MOST_HEARD} nearest in class and direction were heard."
        ] = None
        possible = possible[:MOST_HEARD]
    array, heard = sound(item)
    found: list[tuple[Likeness, str]] = []
    # recording by recording, so that each file is opened once and read in order
    order = sorted(possible, key=lambda pair: (pair[1].split, pair[1].recording, pair[1].start))
    for number, (_, candidate) in enumerate(order):
        progress(number / len(order), f"{number} of {len(order)} items heard")
        of, there = sound(candidate) if heard is not None else ("", None)
        like = likeness(own, sight(candidate), (heard, there if of == array else None))
        if like.total >= LEAST:
            found.append((like, candidate.id))
    found.sort(key=lambda pair: (-pair[0].total, pair[1]))
    return Alike(item.id, {name: like for like, name in found[:MOST_ALIKE]}, tuple(notes))


def _with_sound(like: Likeness, sound: float) -> float:
    known = 1 + (like.angle_deg is not None)
    return (like.total * known + sound) / (known + 1)
