"""Statistics of a set: sums of the summaries of its recordings, and from each bar back to the frames in it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from typing import Final

import numpy as np
import numpy.typing as npt

from sai_core.geometry import FRAME_RATE_HZ
from sai_core.survey.summary import LAYOUT, N_BINS, SHAPES, BinKind, TableSummary
from sai_core.taxonomy import N_CLASSES

Int64 = npt.NDArray[np.int64]
Part = tuple[int | None, TableSummary]
"""Frames of a recording (None: not known, then up to its last annotation) and its annotations."""

N_PARTS: Final[int] = 20
"""Parts of equal length into which each recording is cut, to see how classes go over time."""

EVENT_EDGES: Final[tuple[int, ...]] = (1, 2, 5, 10, 20, 50, 100, 200, 500)
"""Lower edges of the bins of event lengths, in frames of 100 ms; the last has no upper edge."""


@dataclass(frozen=True, eq=False)
class SetStatistics:
    """Counts over some recordings; those of two sets without a common recording add up (``+``).

    Attributes
    ----------
    n_recordings, n_frames, n_labelled_frames, n_annotations, n_source_frames : int
        ``n_frames``: of the recordings, annotated or not. ``n_source_frames``: sources of each frame, added up.
    bins : int64, shape (N_BINS,)
        See :data:`sai_core.survey.summary.SHAPES`; read by :meth:`of`.
    events : int64, shape (N_CLASSES, len(EVENT_EDGES))
        Events by class and length.
    event_frames : int64, shape (N_CLASSES,)
        Frames of all events of a class: two sources at once count twice.
    over_time : int64, shape (N_CLASSES, N_PARTS)
        Frames of events by the part of the recording that they are in.
    frames_of_parts : int64, shape (N_PARTS,)
        Frames of all recordings in each part.
    """

    n_recordings: int
    n_frames: int
    n_labelled_frames: int
    n_annotations: int
    n_source_frames: int
    bins: Int64
    events: Int64
    event_frames: Int64
    over_time: Int64
    frames_of_parts: Int64

    def __add__(self, other: SetStatistics) -> SetStatistics:
        return SetStatistics(*(getattr(self, f.name) + getattr(other, f.name) for f in fields(self)))

    def of(self, kind: BinKind) -> Int64:
        """Counts of one kind, in its shape."""
        return self.bins[LAYOUT[kind]].reshape(SHAPES[kind])

    @property
    def polyphony(self) -> Int64:
        """Frames with 0, 1, 2, ... sources; the last bin holds those with more, too."""
        return np.concatenate([[self.n_frames - self.n_labelled_frames], self.of("polyphony")])

    @property
    def together(self) -> Int64:
        """Frames with both classes, symmetric; on the diagonal those with the class."""
        above = self.of("together")
        return above + above.T + np.diag(self.of("class"))

    @property
    def hours(self) -> float:
        """Length of the recordings."""
        return self.n_frames / FRAME_RATE_HZ / 3600


def statistics(parts: Iterable[Part]) -> SetStatistics:
    """Add up some recordings.

    Parameters
    ----------
    parts : iterable of (int or None, TableSummary)
        Frames and annotations of each.
    """
    bins, events = np.zeros(N_BINS, np.int64), np.zeros((N_CLASSES, len(EVENT_EDGES)), np.int64)
    event_frames, over_time = np.zeros(N_CLASSES, np.int64), np.zeros((N_CLASSES, N_PARTS), np.int64)
    frames_of_parts = np.zeros(N_PARTS, np.int64)
    n = frames = labelled = annotations = sources = 0
    columns: list[tuple[Int64, Int64, Int64, Int64]] = []
    for n_frames, summary in parts:
        length = frames_of(n_frames, summary)
        n, frames = n + 1, frames + length
        labelled, annotations = labelled + summary.n_labelled_frames, annotations + summary.n_annotations
        sources += summary.n_source_frames
        bins[summary.bin_index] += summary.bin_count
        frames_of_parts += np.diff(part_edges(length))
        columns.append(
            (
                summary.event_category.astype(np.int64),
                summary.event_start.astype(np.int64),
                summary.event_frames.astype(np.int64),
                np.full(len(summary.event_start), length),
            )
        )
    if columns:
        category, start, size, length_of = (np.concatenate([c[k] for c in columns]) for k in range(4))
        np.add.at(events, (category, length_bin(size)), 1)
        np.add.at(event_frames, category, size)
        np.add.at(over_time, category, _in_parts(start, size, length_of))
    counts = (n, frames, labelled, annotations, sources)
    return SetStatistics(*counts, bins, events, event_frames, over_time, frames_of_parts)


def frames_of(n_frames: int | None, summary: TableSummary) -> int:
    """Length of a recording: never less than what is annotated."""
    return max(n_frames or 0, summary.n_frames)


def part_edges(n_frames: int | Int64) -> Int64:
    """Frames at which the parts of a recording begin, and its end; shape (..., N_PARTS + 1)."""
    return np.asarray(n_frames, np.int64)[..., None] * np.arange(N_PARTS + 1) // N_PARTS


def length_bin(n_frames: Int64) -> Int64:
    """Bin of :data:`EVENT_EDGES` for lengths of at least one frame."""
    return np.searchsorted(EVENT_EDGES, n_frames, side="right").astype(np.int64) - 1


def _in_parts(start: Int64, size: Int64, length: Int64) -> Int64:
    """Frames of each event in each part, shape (events, N_PARTS)."""
    edges = part_edges(length)
    begin, end = np.maximum(edges[:, :-1], start[:, None]), np.minimum(edges[:, 1:], (start + size)[:, None])
    return np.maximum(end - begin, 0)


@dataclass(frozen=True)
class Place:
    """What of a bar is in one recording.

    Attributes
    ----------
    row : int
        Position of the recording in what was asked for.
    count : int
    frame : int
        The first one.
    """

    row: int
    count: int
    frame: int


def places_of_bins(parts: Sequence[Part], bins: Iterable[int]) -> list[Place]:
    """Recordings that have something in some bins (positions in the one vector)."""
    wanted = np.fromiter(bins, np.int64)
    found = []
    for row, (_, summary) in enumerate(parts):
        hit = np.isin(summary.bin_index, wanted)
        if hit.any():
            found.append(Place(row, int(summary.bin_count[hit].sum()), int(summary.bin_first[hit].min())))
    return found


def places_without(parts: Sequence[Part]) -> list[Place]:
    """Recordings with frames that have no annotation; the first such frame."""
    found = []
    for row, (n_frames, summary) in enumerate(parts):
        length = frames_of(n_frames, summary)
        if length > summary.n_labelled_frames:
            order = np.argsort(summary.event_start)
            silent = 0
            for k in order.tolist():
                if summary.event_start[k] > silent:
                    break
                silent = max(silent, int(summary.event_start[k]) + int(summary.event_frames[k]))
            found.append(Place(row, length - summary.n_labelled_frames, silent))
    return found


def places_of_events(
    parts: Sequence[Part], *, length: int | None = None, part: int | None = None, category: int | None = None
) -> list[Place]:
    """Recordings with events of a length (bin of :data:`EVENT_EDGES`), in a part of the recording, of a class.

    Counted are events; with ``part``, their frames in it.
    """
    found = []
    for row, (n_frames, summary) in enumerate(parts):
        start, size = summary.event_start.astype(np.int64), summary.event_frames.astype(np.int64)
        weight = np.ones(len(start), np.int64)
        first = start
        if part is not None:
            whole = np.full(len(start), frames_of(n_frames, summary))
            weight = _in_parts(start, size, whole)[:, part]
            first = np.maximum(start, part_edges(whole)[:, part])
        chosen = weight > 0
        if length is not None:
            chosen &= length_bin(size) == length
        if category is not None:
            chosen &= summary.event_category == category
        if chosen.any():
            found.append(Place(row, int(weight[chosen].sum()), int(first[chosen].min())))
    return found
