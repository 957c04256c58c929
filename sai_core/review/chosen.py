"""Moments that a list elsewhere leads to (an error budget, a slice): the items of the queue that they are about.

The list may be long, so that it lies in the cache under a hash of its content, and only that goes into an address.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from sai_core.annotations import AnnotationTable
from sai_core.cache import Cache, key_of
from sai_core.errors import EnvironmentProblem
from sai_core.geometry import great_circle_deg
from sai_core.metrics.evaluation.matching import MATCH_ANGLE_DEG
from sai_core.metrics.official.directions import region_peak_direction
from sai_core.metrics.official.pairing_0630 import candidate_pairs
from sai_core.metrics.reading.drilldown import MISSED, ONLY, ONLY_FIRST, ONLY_SECOND, TAKEN_FOR, Moments
from sai_core.review.edits import annotation_keys
from sai_core.review.queue import MOMENT, Item

Int64 = npt.NDArray[np.int64]

_cache: Final = Cache("review-moments", 2)
_OF_LABELS: Final = (MISSED, TAKEN_FOR, ONLY_FIRST, ONLY_SECOND, ONLY)
"""Kinds of moments that are about the label, whatever detection is named beside it."""

_KEY: Final = re.compile("[0-9a-f]{32}", flags=re.ASCII)


@dataclass(frozen=True, eq=False)
class ChosenMoments:
    """Labels and detections in single frames.

    Attributes
    ----------
    title : str
        Where they come from, in words.
    system : str
        Whose errors they are.
    recordings : tuple of (str, str)
        Split and name.
    recording : int64, shape (n,)
        Index into ``recordings``.
    frame : int64, shape (n,)
        100 ms frame.
    category, other_category : int64, shape (n,)
        Class of the label or detection, and that on the other side; -1 without.
    prediction : int64, shape (n,)
        Row of the detection in the system's file; -1 without, or not known.
    is_placed : bool, shape (n,)
        Which region it is about is known, so that it is matched by it.
    near : int64, shape (m, 3)
        Class, instance and number (:func:`sai_core.review.edits.annotation_keys`) of labels that the region is about:
        its own, and those of the frame within :data:`MATCH_ANGLE_DEG` degrees.
    near_offsets : int64, shape (n + 1,)
        Moment ``i`` owns ``near[near_offsets[i]:near_offsets[i + 1]]``.
    """

    title: str
    system: str
    recordings: tuple[tuple[str, str], ...]
    recording: Int64
    frame: Int64
    category: Int64
    other_category: Int64
    prediction: Int64
    is_placed: npt.NDArray[np.bool_]
    near: Int64
    near_offsets: Int64

    def __len__(self) -> int:
        return len(self.frame)

    def holds(self, item: Item) -> bool:
        """Whether one of the moments lies in an item: its recording, its frames, its class and its region.

        An item about labels has the moments that are about one of them, or point at one; an item about predictions
        without a label those of the predictions that it would make labels of. Where it would take another system's
        region of that frame, or which region a moment is about is not known, class and frame decide.
        """
        return len(self._within(item)) > 0

    def without_item(self, items: Iterable[Item]) -> int:
        """Moments that lie in none of some items."""
        found = np.zeros(len(self), bool)
        for item in items:
            found[self._within(item)] = True
        return int(np.count_nonzero(~found))

    def made_items(self, items: Iterable[Item], *, recordings: Collection[tuple[str, str]]) -> tuple[list[Item], int]:
        """Items of the moments that lie in none of some items: those of one class, frame after frame, are one.

        Parameters
        ----------
        items : iterable of Item
        recordings : collection of (str, str)
            Split and name of those that can be shown.

        Returns
        -------
        made : list of Item
            Of kind ``moment``, by recording and time. Nothing is proposed; what a change is about is found when one is
            shown (:meth:`sai_core.review.desk.Desk.targets`).
        absent : int
            Moments in other recordings, of which none can be made.
        """
        there = np.zeros(len(self), bool)
        for item in items:
            there[self._within(item)] = True
        events: dict[tuple[str, str, int], list[list[int]]] = {}
        absent = 0
        for k in np.argsort(self.frame, kind="stable").tolist():
            place = self.recordings[self.recording[k]]
            if there[k] or place not in recordings:
                absent += int(not there[k])
                continue
            category = int(self.category[k]) if self.category[k] >= 0 else int(self.other_category[k])
            spans = events.setdefault((*place, category), [])
            frame = int(self.frame[k])
            if spans and frame <= spans[-1][1] + 1:
                spans[-1][1] = frame
            else:
                spans.append([frame, frame])
        made = [
            self._made(split, name, category, *span)
            for (split, name, category), spans in sorted(events.items())
            for span in spans
        ]
        return sorted(made, key=lambda item: (item.split, item.recording, item.start)), absent

    def _made(self, split: str, recording: str, category: int, start: int, end: int) -> Item:
        key = f"moment {split}/{recording} {category} {start} {end}"
        return Item(
            hashlib.blake2b(key.encode("utf-8", "surrogateescape"), digest_size=8).hexdigest(),
            MOMENT,
            split,
            recording,
            category,
            start,
            end,
            (start + end) // 2,
            0.0,
            f"{self.title} names it; nothing speaks against the labels of its class here, which a change is about.",
            "Nothing is proposed: change the label, or reject, and it stays.",
        )

    def _within(self, item: Item) -> Int64:
        rows = self._rows.get((item.split, item.recording, item.category_id))
        if rows is None:
            return np.zeros(0, np.int64)
        low, high = np.searchsorted(self.frame[rows], [item.start, item.end + 1])
        rows = rows[low:high]
        targets = set(item.targets)
        lent = {int(frame): (str(system), int(row)) for frame, system, row in item.change.get("add", ())}
        if not targets and not lent:
            return rows
        return rows[[not self.is_placed[k] or self._is_of(k, item, targets, lent) for k in rows.tolist()]]

    def _is_of(self, k: int, item: Item, targets: set[str], lent: Mapping[int, tuple[str, int]]) -> bool:
        frame = int(self.frame[k])
        if targets:
            near = self.near[self.near_offsets[k] : self.near_offsets[k + 1]].tolist()
            return any(f"{frame}.{category}.{instance}.{number}" in targets for category, instance, number in near)
        if self.prediction[k] < 0 or frame not in lent or self.system not in item.systems:
            return False
        system, row = lent[frame]
        return system != self.system or row == self.prediction[k]

    @cached_property
    def _rows(self) -> dict[tuple[str, str, int], Int64]:
        """Rows by split, recording and class (either side's), by frame."""
        found: dict[tuple[str, str, int], list[int]] = {}
        order = np.argsort(self.frame, kind="stable")
        for k in order.tolist():
            place = self.recordings[self.recording[k]]
            for category in {int(self.category[k]), int(self.other_category[k])} - {-1}:
                found.setdefault((*place, category), []).append(k)
        return {key: np.array(rows, np.int64) for key, rows in found.items()}


Tables = Callable[[str], tuple[AnnotationTable, AnnotationTable]]
"""Labels and predictions of a recording, by its name."""


def keep_moments(
    moments: Moments,
    *,
    root: Path,
    splits: Mapping[str, str],
    title: str,
    system: str,
    tables: Tables | None = None,
) -> str:
    """Keep a list of moments.

    Parameters
    ----------
    moments : Moments
    root : Path
        Data root.
    splits : mapping of str to str
        Split of each recording.
    title, system : str
    tables : callable, optional
        What the annotation indices of the moments are rows of, for matching by region; by class alone without.

    Returns
    -------
    str
        Key for :func:`kept_moments`: 32 hexadecimal digits, the same for the same moments.

    Raises
    ------
    InputError
        A file that cannot be read any more.
    EnvironmentProblem
        The cache cannot be written.
    """
    names = sorted(set(moments.recording.tolist()))
    number = {name: k for k, name in enumerate(names)}
    stop = moments.last_frame + 1
    rows = np.repeat(np.arange(len(moments)), stop - moments.frame)
    first = np.cumsum(stop - moments.frame) - (stop - moments.frame)
    arrays = {
        "recording": np.array([number[name] for name in moments.recording.tolist()], np.int64)[rows],
        "frame": moments.frame[rows] + np.arange(len(rows)) - first[rows],
        "category": moments.category[rows],
        "other_category": moments.other_category[rows],
    }
    # of a stretch, which is joined, it is known of the first frame alone; what the official assignment pairs without
    # overlap is paired at random
    is_first = arrays["frame"] == moments.frame[rows]
    of_label = (np.isin(moments.kind, _OF_LABELS) | (moments.prediction < 0))[rows]
    prediction = np.where(is_first & ~of_label, moments.prediction[rows], -1)
    label = np.where(is_first & (of_label | (moments.iou[rows] > 0)), moments.label[rows], -1)
    arrays["prediction"] = prediction
    arrays |= _regions(arrays, label, names, tables)
    facts = {
        "root": str(root),
        "title": title,
        "system": system,
        "recordings": [[splits.get(name, ""), name] for name in names],
    }
    key = key_of(sorted(facts.items()), [(name, values.tobytes()) for name, values in arrays.items()])
    if _cache.get(key) is None and not _cache.put(key, arrays, facts, required=True):
        raise EnvironmentProblem("The list of moments cannot be kept for the review: the cache cannot be written.")
    return key


def _at(values: npt.NDArray[np.float64], index: Int64) -> npt.NDArray[np.float64]:
    """Values at some places, NaN for -1."""
    return np.append(values, np.nan)[index]


def _regions(
    arrays: Mapping[str, npt.NDArray[Any]], label: Int64, names: Sequence[str], tables: Tables | None
) -> dict[str, npt.NDArray[Any]]:
    """Which moments have a known region, and the labels that each is about; columns of :class:`ChosenMoments`."""
    n = len(label)
    prediction = arrays["prediction"]
    is_placed = np.zeros(n, np.bool_) if tables is None else (label >= 0) | (prediction >= 0)
    at, near = [np.zeros(0, np.int64)], [np.zeros((0, 3), np.int64)]
    for number, name in enumerate(names):
        rows = np.flatnonzero((arrays["recording"] == number) & is_placed)
        if tables is None or not len(rows):
            continue
        labels, predictions = tables(name)
        of_label, of_prediction = region_peak_direction(labels), region_peak_direction(predictions)
        is_detection = prediction[rows] >= 0
        azimuth, elevation = (
            np.where(is_detection, _at(found, prediction[rows]), _at(truth, label[rows]))
            for found, truth in zip(of_prediction, of_label, strict=True)
        )
        row, there = candidate_pairs(labels.frame.astype(np.int64), arrays["frame"][rows])
        angle = great_circle_deg(azimuth[row], elevation[row], of_label[0][there], of_label[1][there])
        own = label[rows[row]] == there
        kept = np.flatnonzero(own | (angle <= MATCH_ANGLE_DEG))  # False for NaN
        keys = np.array([key.split(".")[1:] for key in annotation_keys(labels)], np.int64).reshape(-1, 3)
        at.append(rows[row[kept]])
        near.append(keys[there[kept]])
    owner = np.concatenate(at)
    order = np.argsort(owner, kind="stable")
    offsets = np.searchsorted(owner[order], np.arange(n + 1)).astype(np.int64)
    return {"is_placed": is_placed, "near": np.concatenate(near)[order], "near_offsets": offsets}


def kept_moments(key: str, root: Path) -> ChosenMoments | None:
    """A list of moments; None where it is not kept (any more), or is of another data root."""
    entry = _cache.get(key) if _KEY.fullmatch(key) else None
    if entry is None or entry.facts["root"] != str(root):
        return None
    recordings: Sequence[Sequence[str]] = entry.facts["recordings"]
    columns = {f.name: np.array(entry.arrays[f.name]) for f in fields(ChosenMoments) if f.name in entry.arrays}
    places = tuple((split, name) for split, name in recordings)
    return ChosenMoments(str(entry.facts["title"]), str(entry.facts["system"]), places, **columns)
