"""Two label sets of the same recordings: what one has that the other has not, annotation by annotation.

Annotations are paired as :func:`sai_core.metrics.spatial_matches` does, one-to-one within a frame and whatever their
class, so that a label of another class in the same direction is one change and not two.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from sai_core.annotations import AnnotationTable, read_annotations
from sai_core.files import content_hash
from sai_core.metrics import spatial_matches
from sai_core.progress import Progress, no_progress
from sai_core.review.export import same_number, same_region
from sai_core.taxonomy import N_CLASSES

CHANGES: Final[tuple[str, ...]] = ("removed", "added", "class", "direction", "region", "distance")
"""What differs, the strongest word first: an annotation is told of by the first that holds."""

SAME_ANGLE_DEG: Final[float] = 1.0
"""Peaks of one region, drawn anew on whole degrees, are no further apart."""


@dataclass(frozen=True, eq=False)
class LabelChanges:
    """What differs between two label sets.

    Attributes
    ----------
    recording : (n,) str
        Of each change; so are all columns, sorted by recording and frame.
    frame : int64, (n,)
    change : int64, (n,)
        Index into :data:`CHANGES`.
    before, after : int64, (n,)
        Class on either side; -1 where there is none.
    angle_deg : float64, (n,)
        Between the peaks; NaN without a partner.
    n_before, n_after, n_same : int64, (13,)
        Annotations of each class on either side, and those that are the same on both.
    only_before, only_after : tuple of str
        Recordings with a label on one side alone; none of their annotations is counted.
    n_recordings, n_changed : int
        With labels on both sides, and those of them with a change.
    """

    recording: npt.NDArray[np.str_]
    frame: npt.NDArray[np.int64]
    change: npt.NDArray[np.int64]
    before: npt.NDArray[np.int64]
    after: npt.NDArray[np.int64]
    angle_deg: npt.NDArray[np.float64]
    n_before: npt.NDArray[np.int64]
    n_after: npt.NDArray[np.int64]
    n_same: npt.NDArray[np.int64]
    only_before: tuple[str, ...]
    only_after: tuple[str, ...]
    n_recordings: int
    n_changed: int

    def __len__(self) -> int:
        return len(self.frame)

    def counts(self) -> npt.NDArray[np.int64]:
        """Changes of each kind by class, shape (6, 13): the class before, or after for what was added."""
        category = np.where(self.before >= 0, self.before, self.after)
        table = np.zeros((len(CHANGES), N_CLASSES), np.int64)
        np.add.at(table, (self.change, category), 1)
        return table


def compare_label_sets(
    before: Mapping[str, Path], after: Mapping[str, Path], *, progress: Progress = no_progress
) -> LabelChanges:
    """Compare two label sets.

    Parameters
    ----------
    before, after : mapping of str to Path
        Label file of each recording. Files of equal content are not read.
    progress : Progress

    Raises
    ------
    InputError
        A label file cannot be read.
    """
    both = sorted(before.keys() & after.keys())
    counts = np.zeros((3, N_CLASSES), np.int64)
    parts: list[tuple[npt.NDArray, ...]] = []
    names: list[str] = []
    n_changed = 0
    for number, name in enumerate(both):
        progress(number / max(len(both), 1), name)
        first = read_annotations(before[name], recording=name, unknown_classes="drop")
        if content_hash(before[name]) == content_hash(after[name]):
            counts += _per_class(first.category_id)
            continue
        second = read_annotations(after[name], recording=name, unknown_classes="drop")
        found, same = _changes(first, second)
        counts[0] += _per_class(first.category_id)
        counts[1] += _per_class(second.category_id)
        counts[2] += _per_class(same)
        n_changed += bool(len(found[0]))
        parts.append(found)
        names += [name] * len(found[0])
    progress(1.0, f"{len(both)} recordings")
    columns = [np.concatenate(column) for column in zip(*parts, strict=True)] if parts else [np.zeros(0)] * 5
    frame, change, old, new = (column.astype(np.int64) for column in columns[:4])
    return LabelChanges(
        np.array(names, dtype=np.str_),
        frame,
        change,
        old,
        new,
        columns[4].astype(np.float64),
        counts[0],
        counts[1],
        counts[2],
        tuple(sorted(before.keys() - after.keys())),
        tuple(sorted(after.keys() - before.keys())),
        len(both),
        n_changed,
    )


def _per_class(category: npt.NDArray) -> npt.NDArray[np.int64]:
    inside = category[(category >= 0) & (category < N_CLASSES)]
    return np.bincount(inside, minlength=N_CLASSES).astype(np.int64)


def _changes(first: AnnotationTable, second: AnnotationTable) -> tuple[tuple[npt.NDArray, ...], npt.NDArray]:
    """Frame, change, classes and angle of what differs, by frame; and the classes of what is the same."""
    # what is the same to the last point leaves first, so that no other partner can be nearer
    here, there = _identical(first, second)
    rest_first = np.setdiff1d(np.arange(len(first)), here)
    rest_second = np.setdiff1d(np.arange(len(second)), there)
    labels, compared = first.take(rest_first), second.take(rest_second)
    pairs = spatial_matches(labels, compared)
    rows: list[tuple[int, int, int, int, float]] = []
    equal: list[int] = first.category_id[here].tolist()
    for a, b, angle in zip(
        pairs.pair_label.tolist(), pairs.pair_prediction.tolist(), pairs.pair_angle_deg.tolist(), strict=True
    ):
        old, new = int(labels.category_id[a]), int(compared.category_id[b])
        if old != new:
            word = "class"
        elif angle > SAME_ANGLE_DEG:
            word = "direction"
        elif not same_region(labels, a, compared, b):
            word = "region"
        elif not same_number(float(labels.distance_cm[a]), float(compared.distance_cm[b])):
            word = "distance"
        else:
            equal.append(old)
            continue
        rows.append((int(labels.frame[a]), CHANGES.index(word), old, new, angle))
    for a in pairs.missed.tolist():
        rows.append((int(labels.frame[a]), CHANGES.index("removed"), int(labels.category_id[a]), -1, np.nan))
    for b in pairs.false.tolist():
        rows.append((int(compared.frame[b]), CHANGES.index("added"), -1, int(compared.category_id[b]), np.nan))
    rows.sort(key=lambda row: row[:2])
    columns = np.array(rows, dtype=np.float64).reshape(-1, 5).T
    return tuple(columns), np.array(equal, dtype=np.int64)


def _identical(first: AnnotationTable, second: AnnotationTable) -> tuple[npt.NDArray, npt.NDArray]:
    """Rows of two tables that are the same to the last point, each once."""
    waiting: dict[tuple[object, ...], list[int]] = {}
    for row in range(len(second)):
        waiting.setdefault(_content(second, row), []).append(row)
    here, there = [], []
    for row in range(len(first)):
        if found := waiting.get(_content(first, row)):
            here.append(row)
            there.append(found.pop(0))
    return np.array(here, dtype=np.int64), np.array(there, dtype=np.int64)


def _content(table: AnnotationTable, row: int) -> tuple[object, ...]:
    starts = table.point_offsets[table.polygon_offsets]
    part = slice(int(starts[row]), int(starts[row + 1]))
    distance = float(table.distance_cm[row])
    return (
        int(table.frame[row]),
        int(table.category_id[row]),
        None if np.isnan(distance) else distance,
        table.points_xy[part].tobytes(),
        table.energy[part].tobytes(),
    )
