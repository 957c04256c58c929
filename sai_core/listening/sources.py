"""Where the sources of a recording are, frame by frame: tracks and events of metadata, labels and predictions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Final

import numpy as np
import numpy.typing as npt

from sai_core.annotations import AnnotationTable, DcaseMetadata, exact_duplicates
from sai_core.errors import InputError
from sai_core.geometry import directions_to_vectors, vectors_to_directions
from sai_core.taxonomy import class_name
from sai_core.viewing.events import peak_directions

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

LONGEST_GAP: Final[int] = 5
"""Frames without a row that do not end an event: half a second, the coasting of the official tracker."""


@dataclass(frozen=True, eq=False)
class Track:
    """One source over time.

    Attributes
    ----------
    category_id, number : int
        Class, and the number that the file gives it (source, instance).
    frame : int64, shape (n,)
        Rising, n >= 1.
    azimuth_deg, elevation_deg : float64, shape (n,)
    """

    category_id: int
    number: int
    frame: IntArray
    azimuth_deg: FloatArray
    elevation_deg: FloatArray

    @property
    def start(self) -> int:
        """First frame."""
        return int(self.frame[0])

    @property
    def stop(self) -> int:
        """Frame after the last."""
        return int(self.frame[-1]) + 1

    @property
    def gaps(self) -> int:
        """Frames between first and last that have no row; directions there are interpolated."""
        return self.stop - self.start - self.frame.size

    def __str__(self) -> str:
        return f"{class_name(self.category_id)}, track {self.number}"

    @cached_property
    def _vectors(self) -> FloatArray:
        return directions_to_vectors(self.azimuth_deg, self.elevation_deg)

    def at(self, frame: npt.ArrayLike) -> tuple[FloatArray, FloatArray]:
        """Azimuth and elevation at frames (fractions allowed), along great circles; held before and after.

        Halfway between opposite directions no great circle is the shortest: the direction before is kept there.
        """
        when = np.atleast_1d(np.asarray(frame, dtype=np.float64))
        after = np.clip(np.searchsorted(self.frame, when, side="right"), 0, self.frame.size - 1)
        before = np.maximum(np.where(self.frame[after] <= when, after, after - 1), 0)
        span = np.maximum(self.frame[after] - self.frame[before], 1)
        share = np.clip((when - self.frame[before]) / span, 0.0, 1.0)[:, None]
        from_there, to_there = self._vectors[before], self._vectors[after]
        angle = np.arctan2(
            np.linalg.norm(np.cross(from_there, to_there), axis=-1), np.sum(from_there * to_there, axis=-1)
        )[:, None]
        sine = np.sin(angle)
        with np.errstate(divide="ignore", invalid="ignore"):
            turned = (np.sin((1.0 - share) * angle) * from_there + np.sin(share * angle) * to_there) / sine
        plain = (sine < 1e-9) | (share == 0.0)
        return vectors_to_directions(np.where(plain, from_there, turned))


@dataclass(frozen=True, eq=False)
class Sources:
    """All sources of a recording.

    Attributes
    ----------
    tracks : tuple of Track
        One for each class and number, by class and number.
    notes : tuple of str
        What had to be left out.
    """

    tracks: tuple[Track, ...]
    notes: tuple[str, ...] = field(default=())

    def find(self, number: int, category_id: int | None = None) -> Track:
        """Track of a number, and of a class where the number is in several.

        Raises
        ------
        InputError
            None, or several; names what there is.
        """
        same = [t for t in self.tracks if t.number == number]
        found = [t for t in same if category_id is None or t.category_id == category_id]
        if len(found) == 1:
            return found[0]
        if len(found) > 1:
            names = ", ".join(class_name(t.category_id) for t in found)
            raise InputError(f"Track {number} is in several classes ({names}); say which one (--class).")
        there = sorted({t.number for t in self.tracks if category_id is None or t.category_id == category_id})
        of_class = "" if category_id is None else f" of {class_name(category_id)}"
        listed = ", ".join(map(str, there[:20])) + (" ..." if len(there) > 20 else "")
        raise InputError(f"There is no track {number}{of_class}; there are: {listed or 'none'}.")

    def events(self, category_id: int) -> tuple[Track, ...]:
        """Events of a class, in order of time: tracks cut where a source pauses for more than half a second."""
        parts: list[Track] = []
        for track in self.tracks:
            if track.category_id == category_id:
                cuts = np.flatnonzero(np.diff(track.frame) > LONGEST_GAP + 1) + 1
                for rows in np.split(np.arange(track.frame.size), cuts):
                    parts.append(
                        Track(
                            category_id,
                            track.number,
                            track.frame[rows],
                            track.azimuth_deg[rows],
                            track.elevation_deg[rows],
                        )
                    )
        return tuple(sorted(parts, key=lambda t: (t.start, t.number)))

    def others(self, track: Track) -> tuple[Track, ...]:
        """All tracks but the one of that class and number."""
        own = (track.category_id, track.number)
        return tuple(t for t in self.tracks if (t.category_id, t.number) != own)


def directions_in(tracks: Sequence[Track], frame: int) -> tuple[FloatArray, FloatArray]:
    """Azimuth and elevation of the tracks that have a row in a frame."""
    azimuth, elevation = [], []
    for track in tracks:
        at = int(np.searchsorted(track.frame, frame))
        if at < track.frame.size and track.frame[at] == frame:
            azimuth.append(float(track.azimuth_deg[at]))
            elevation.append(float(track.elevation_deg[at]))
    return np.array(azimuth), np.array(elevation)


def sources_of(rows: DcaseMetadata | AnnotationTable) -> Sources:
    """Tracks of a metadata file, or of labels or predictions by each region's strongest point.

    Rows of one class and number in one frame are one source: the first counts, the others are counted in the notes,
    unless they are exact copies, as labels have for a region of several parts. So are annotations without a point.
    """
    if isinstance(rows, DcaseMetadata):
        number, azimuth, elevation = rows.source_id, rows.azimuth_deg, rows.elevation_deg
        is_copy = np.zeros(len(rows), bool)
    else:
        number = rows.instance_id
        azimuth, elevation, _ = peak_directions(rows)
        is_copy = exact_duplicates(rows)
    frame, category = np.asarray(rows.frame, np.int64), np.asarray(rows.category_id, np.int64)
    good = np.flatnonzero(np.isfinite(azimuth) & np.isfinite(elevation))
    notes = []
    if good.size < frame.size:
        notes.append(f"{frame.size - good.size} rows have no direction and are left out.")
    key = np.stack([category[good], number[good], frame[good]], axis=1)
    unique, first = np.unique(key, axis=0, return_index=True)
    again = np.setdiff1d(good, good[first])
    if n_again := int((again := again[~is_copy[again]]).size):
        notes.append(
            f"{n_again} row{' repeats' if n_again == 1 else 's repeat'} a class and track of their frame "
            f"(the first in frame {frame[again].min()}): the first of each counts."
        )
    chosen = good[first]
    cuts = np.flatnonzero(np.any(np.diff(unique[:, :2], axis=0) != 0, axis=1)) + 1
    tracks = tuple(
        Track(
            int(unique[part[0], 0]),
            int(unique[part[0], 1]),
            unique[part, 2],
            np.asarray(azimuth[chosen[part]], np.float64),
            np.asarray(elevation[chosen[part]], np.float64),
        )
        for part in np.split(np.arange(len(unique)), cuts)
        if part.size
    )
    return Sources(tracks, tuple(notes))
