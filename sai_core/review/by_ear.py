"""The source of an item by itself: where it is, what else sounds, and what is said of its sound."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from sai_core.errors import SaiError
from sai_core.geometry import SAMPLES_PER_FRAME
from sai_core.listener import Heard, Listener, open_listener
from sai_core.listening.sources import Track, sources_of
from sai_core.listening.windows import PlayerSound
from sai_core.progress import Progress
from sai_core.review.edits import AppliedEdits
from sai_core.review.likeness import sight_of, track_of
from sai_core.review.queue import Item
from sai_core.viewing.player import unpack

if TYPE_CHECKING:
    from sai_core.review.desk import Material

_AROUND_FRAMES: Final[int] = 20
"""Frames around a window whose other sources count: the surroundings are gathered over 2.5 s."""

_TOLD_DB: Final[float] = 0.5


@dataclass(frozen=True, eq=False)
class Source:
    """What is heard by itself.

    Attributes
    ----------
    track : Track
        Where it is.
    others : tuple of Track
        Other labels of the time.
    start, stop : int
        Frames of its sound.
    around : tuple of int
        First frame of the item and frame after its last.
    """

    track: Track
    others: tuple[Track, ...]
    start: int
    stop: int
    around: tuple[int, int]

    @property
    def mark(self) -> str:
        """Text that differs where what is heard differs."""
        digest = hashlib.blake2b(repr((self.start, self.stop, self.around)).encode(), digest_size=8)
        for track in (self.track, *self.others):
            for column in (track.frame, track.azimuth_deg, track.elevation_deg):
                digest.update(np.int64(len(column)).tobytes() + np.ascontiguousarray(column).tobytes())
        return digest.hexdigest()

    def render(self, sound: PlayerSound, progress: Progress) -> bytes:
        """Its sound (:meth:`~sai_core.listening.windows.PlayerSound.alone`)."""
        return sound.alone(self.track, self.others, self.start, self.stop, around=self.around, progress=progress)


def listener() -> Listener | None:
    """The listener that ships; None where it is not there or cannot be used: Review goes on without."""
    with suppress(SaiError):
        return open_listener()
    return None


def hear(data: bytes, source: Source, by: Listener) -> Heard | None:
    """What the frames of an item are to a listener; None where its source is silent.

    Parameters
    ----------
    data : bytes
        :meth:`Source.render`.
    source : Source
    by : Listener
    """
    header, arrays = unpack(data)
    first, last = ((frame - int(header["start"])) * SAMPLES_PER_FRAME for frame in source.around)
    return by.hear(arrays["samples"], first, last)


def evidence(heard: Heard | None, by: Listener) -> dict[str, Any] | None:
    """Scores for the desk: of each class, the likeliest first, and of nothing; with what made them."""
    if heard is None:
        return None
    over = "two seconds" if heard.windows == 1 else f"{heard.windows} windows of two seconds"
    return {
        "order": list(heard.order),
        "scores": [round(score, 3) for score in heard.scores],
        "nothing": round(heard.nothing, 3),
        "by": f"a network that learned from {by.origin}, over {over} of its sound",
    }


def source_of(
    item: Item, labels: AppliedEdits, targets: Collection[str], material: Material, start: int, stop: int
) -> Source | None:
    """Source of an item; None where it has no direction.

    Parameters
    ----------
    item : Item
    labels : AppliedEdits
        As they stand: a label that was moved is heard where it is now.
    targets : collection of str
        Keys of the item's labels. Where none of them is there, the item as it was found is heard: the label that was
        removed, the predictions that it proposes.
    material : Material
    start, stop : int
        Frames of the sound.
    """
    wanted, table = set(targets), labels.table
    rows = [row for row, key in enumerate(labels.keys) if key in wanted]
    track = track_of(item.category_id, [(table, rows)]) if rows else sight_of(item, material).track
    if track is None:
        return None
    first, last = np.searchsorted(table.frame, [start - _AROUND_FRAMES, stop + _AROUND_FRAMES])
    own = {(int(table.category_id[row]), int(table.instance_id[row])) for row in rows}
    tracks = sources_of(table.take(np.arange(first, last))).tracks
    others = tuple(beside for beside in tracks if (beside.category_id, beside.number) not in own)
    return Source(track, others, start, stop, (item.start, item.end + 1))


def words(header: Mapping[str, Any]) -> str:
    """What was done to a source's sound and could not be done, for the reviewer; "" for nothing of it."""
    sentences = []
    if header["raised_db"] >= _TOLD_DB:
        sentences.append(f"raised by {header['raised_db']:.0f} dB")
    if header["near"]:
        n = header["near"]
        frames = f"{n} frame" if n == 1 else f"{n} frames"
        sentences.append(f"in {frames} another label is within {header['nearest_deg']:.0f}° and is heard too")
    return "; ".join(sentences)
