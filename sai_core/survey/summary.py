"""What the annotations of one recording add up to: a few kilobytes, whatever the size of the file.

All counts are kept in one sparse vector of bins (:data:`LAYOUT`), each bin with the first frame that is in it, so that
the counts of a set are sums of those of its recordings, and every bar of a chart leads back to its frames.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
import numpy.typing as npt

from sai_core.annotations import AnnotationTable, exact_duplicates, first_of_source
from sai_core.annotations.sources import NO_NUMBER
from sai_core.drawing.maps import peak_points
from sai_core.geometry import ERP_HEIGHT, ERP_WIDTH
from sai_core.taxonomy import N_CLASSES

Int64 = npt.NDArray[np.int64]
Int32 = npt.NDArray[np.int32]
BinKind = Literal["class", "polyphony", "direction", "distance", "together"]

CELL_DEG: Final[int] = 20
"""Width and height of a cell of directions on the label grid (one degree a pixel)."""

N_ROWS: Final[int] = ERP_HEIGHT // CELL_DEG
N_COLUMNS: Final[int] = ERP_WIDTH // CELL_DEG
MAX_POLYPHONY: Final[int] = 16
"""The last bin of polyphony holds frames with so many sources or more."""

DISTANCE_STEP_CM: Final[int] = 25
N_DISTANCES: Final[int] = 40
"""Bins of known distances; one more for those beyond, and one for annotations without a distance."""

BEYOND: Final[int] = N_DISTANCES
UNKNOWN: Final[int] = N_DISTANCES + 1

SHAPES: Final[dict[BinKind, tuple[int, ...]]] = {
    "class": (N_CLASSES,),
    "polyphony": (MAX_POLYPHONY,),
    "direction": (N_CLASSES, N_ROWS, N_COLUMNS),
    "distance": (N_CLASSES, N_DISTANCES + 2),
    "together": (N_CLASSES, N_CLASSES),
}
"""Shape of each kind of bins.

``class``: frames with at least one annotation of the class. ``polyphony``: frames with ``k + 1`` sources.
``direction``: annotations whose strongest point lies in a cell; row 0 at elevation +90 deg, column 0 at azimuth +180
deg, as on the canvas. ``distance``: annotations by distance. ``together``: frames with both classes, ``a < b`` only.
"""

LAYOUT: Final[dict[BinKind, slice]] = {}
"""Where the bins of each kind lie in the one vector."""

_end = 0
for _kind, _shape in SHAPES.items():
    LAYOUT[_kind] = slice(_end, _end + int(np.prod(_shape)))
    _end = LAYOUT[_kind].stop
N_BINS: Final[int] = _end


@dataclass(frozen=True, eq=False)
class TableSummary:
    """Annotations of one recording, added up.

    Attributes
    ----------
    n_annotations : int
    n_frames : int
        Last annotated frame + 1.
    n_labelled_frames : int
        Frames with at least one annotation.
    n_sources : int
        Different pairs of class and source number.
    n_source_frames : int
        Sources of each frame, added up: a label that is written once per part of its region counts once
        (:func:`~sai_core.annotations.sources.first_of_source`).
    max_polyphony : int
        Most sources in one frame.
    busiest_frame : int
        The one with the most sources; the middle one of those that share the maximum, 0 without any.
    bin_index : int32, shape (m,)
        Bins that are not empty, rising; see :data:`LAYOUT`.
    bin_count : int64, shape (m,)
    bin_first : int32, shape (m,)
        First frame in each.
    event_category : int8, shape (e,)
        An event is a source (class and number) without a gap of a frame. By class, source, time.
    event_start : int32, shape (e,)
        First frame.
    event_frames : int32, shape (e,)
        Length.
    notes : tuple of str
        What the reader of the file left out or guessed, and where sources could not be told apart.
    """

    n_annotations: int
    n_frames: int
    n_labelled_frames: int
    n_sources: int
    n_source_frames: int
    max_polyphony: int
    busiest_frame: int
    bin_index: Int32
    bin_count: Int64
    bin_first: Int32
    event_category: npt.NDArray[np.int8]
    event_start: Int32
    event_frames: Int32
    notes: tuple[str, ...] = ()

    @property
    def categories(self) -> tuple[int, ...]:
        """Classes that occur, rising."""
        return tuple(self.bin_index[self.bin_index < LAYOUT["class"].stop].tolist())


def summarise(table: AnnotationTable) -> TableSummary:
    """Add up the annotations of a recording.

    Parameters
    ----------
    table : AnnotationTable
        Of labels or predictions; may be empty.

    Returns
    -------
    TableSummary
    """
    frame = table.frame.astype(np.int64)
    category = table.category_id.astype(np.int64)
    # by annotated frames, not by frames: one annotation may claim to be in frame two thousand million
    busy, of_busy = np.unique(frame, return_inverse=True)
    is_source = first_of_source(table)
    polyphony = np.bincount(of_busy[is_source], minlength=busy.size)
    present = np.zeros((busy.size, N_CLASSES), bool)
    present[of_busy, category] = True
    where, which = np.nonzero(present)
    placed, row, column = _cells(table)
    index = [
        _bins("class", which),
        _bins("polyphony", np.minimum(polyphony, MAX_POLYPHONY) - 1),
        _bins("direction", category[placed], row, column),
        _bins("distance", category, _distance_bins(table)),
    ]
    at = [busy[where], busy, frame[placed], frame]
    for a in range(N_CLASSES):
        for b in range(a + 1, N_CLASSES):
            both = busy[present[:, a] & present[:, b]]
            index.append(np.full(both.size, _bins("together", np.array(a), np.array(b))))
            at.append(both)
    bins, frames = np.concatenate(index), np.concatenate(at)
    order = np.lexsort((frames, bins))
    bin_index, first, count = np.unique(bins[order], return_index=True, return_counts=True)
    fullest = busy[polyphony == polyphony.max(initial=0)]
    event_category, event_start, event_frames = _events(frame, category, table.instance_id)
    return TableSummary(
        n_annotations=len(table),
        n_frames=table.n_frames,
        n_labelled_frames=int(busy.size),
        n_sources=len(np.unique(np.column_stack([category, table.instance_id]), axis=0)),
        n_source_frames=int(np.count_nonzero(is_source)),
        max_polyphony=int(polyphony.max(initial=0)),
        busiest_frame=int(fullest[fullest.size // 2]) if fullest.size else 0,
        bin_index=bin_index.astype(np.int32),
        bin_count=count.astype(np.int64),
        bin_first=frames[order][first].astype(np.int32),
        event_category=event_category.astype(np.int8),
        event_start=event_start.astype(np.int32),
        event_frames=event_frames.astype(np.int32),
        notes=(*table.notes.sentences(), *_counted(table, is_source)),
    )


def _counted(table: AnnotationTable, is_source: npt.NDArray[np.bool_]) -> list[str]:
    """How sources were counted where the file leaves it open."""
    sentences = []
    if unknown := int(np.count_nonzero(table.instance_id == NO_NUMBER)):
        sentences.append(
            f"{table.recording}: {unknown:,} annotations have no source number: each counts as a source at its moment; "
            f"sources and events are told apart by class alone."
        )
    # exact copies are how the official code writes a region of several parts; others may be sources without own numbers
    if not is_source.all() and (different := int(np.count_nonzero(~is_source & ~exact_duplicates(table)))):
        sentences.append(
            f"{table.recording}: {different:,} annotations have the class and source number of another in their frame, "
            f"but not its region: they count as one source at once."
        )
    return sentences


def _bins(kind: BinKind, *index: Int64) -> Int64:
    """Positions in the one vector."""
    return LAYOUT[kind].start + np.ravel_multi_index(index, SHAPES[kind]).astype(np.int64)


def _cells(table: AnnotationTable) -> tuple[npt.NDArray[np.bool_], Int64, Int64]:
    """Which annotations have points, and the cell of the strongest of each."""
    xy, _ = peak_points(table)
    placed = ~np.isnan(xy[:, 0])
    # x = 360 is the seam, column 0 again; y = 180 the lower edge of the last row
    column = np.mod(xy[placed, 0], ERP_WIDTH) // CELL_DEG
    row = np.clip(xy[placed, 1], 0, ERP_HEIGHT - 1) // CELL_DEG
    return placed, row.astype(np.int64), column.astype(np.int64)


def _distance_bins(table: AnnotationTable) -> Int64:
    known = np.clip(np.nan_to_num(table.distance_cm), 0, DISTANCE_STEP_CM * BEYOND)
    return np.where(np.isnan(table.distance_cm), UNKNOWN, known // DISTANCE_STEP_CM).astype(np.int64)


def _events(frame: Int64, category: Int64, instance: Int64) -> tuple[Int64, Int64, Int64]:
    """Class, first frame and length of every event."""
    if not len(frame):
        empty = np.zeros(0, np.int64)
        return empty, empty, empty
    rows = np.unique(np.column_stack([category, instance, frame]), axis=0)
    new = np.ones(len(rows), bool)
    new[1:] = np.any(rows[1:, :2] != rows[:-1, :2], axis=1) | (rows[1:, 2] != rows[:-1, 2] + 1)
    start = np.flatnonzero(new)
    return rows[start, 0], rows[start, 2], np.diff(np.append(start, len(rows)))
