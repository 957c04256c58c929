"""The review queue: moments at which labels, predictions and metadata do not fit together.

Each kind of suspicion has a score in [0, 1], so that the queue of all kinds can be sorted. Consecutive frames of one
event become one item; its score is the mean over its frames unless said otherwise. Directions are those of the
strongest points (:func:`sai_core.metrics.region_peak_direction`, label grid); *near* means at most ``near_deg`` apart.
S is the number of systems (prediction sets) that have a file for the recording.

=============  =================================================  ================================================
kind           what is found                                      score
=============  =================================================  ================================================
``unlabelled`` predictions of one class with a score of at least  ``c (0.5 + 0.5 min(n, 10) / 10)``, c = mean over
               ``confident``, near no label of any class          frames of ``1 - prod_s (1 - score_s)``, n frames
``unfound``    a label near which no system predicts anything     ``(1 - 2^-S) (0.4 + 0.6 n / m)``, n frames of the
                                                                  event, m frames of the whole track
``class``      a label near which systems predict, none of them   sum of the scores of the majority's votes / S
               its class; of two or more systems at least two
               must agree on one other class
``direction``  label and metadata of the same frame and class     ``1 - exp(-(a - direction_deg) / 20)``, a = angle
               more than ``direction_deg`` apart, or no such row  in degrees (180 without a row)
``jump``       a track whose direction moves by more than         ``1 - exp(-(a - jump_deg) / 30)`` of the largest
               ``jump_deg`` from one frame to the next            step a in degrees
``distance``   a distance that differs from its reference         ``1 - exp(-2 (r - distance_ratio))``, r =
               (metadata, else the track's median over +-2 s) by  ``abs(ln(distance / reference))``; 1 for a distance
               more than the factor ``exp(distance_ratio)``       of 0 or none
=============  =================================================  ================================================

Items carry a **proposal**: what *accept* would change. Identifiers are made of kind, recording, class, instance or
direction, and first frame, never of scores or ranks: the same files give the same identifiers, and decisions stay
attached when thresholds that only drop items change.

Scores of two systems need not have one scale. ``confident`` is a score all the same: a reviewer finds it in the files,
and the items of a recording do not wait for all others. What it leaves out of each system is counted
(:class:`Reach`), with the score from which on a system has as many predictions as there are labels, on any scale.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from itertools import chain
from typing import Any, Final, Literal, get_args

import numpy as np
import numpy.typing as npt

from sai_core.annotations import AnnotationTable, DcaseMetadata, read_annotations, read_dcase_csv
from sai_core.dataset import DataRoot, PredictionSet, Recording, after_the_end
from sai_core.errors import InputError, SaiError
from sai_core.geometry import FRAME_RATE_HZ, great_circle_deg
from sai_core.metrics.official.directions import region_peak_direction
from sai_core.metrics.official.pairing_0630 import candidate_pairs
from sai_core.progress import Progress, no_progress, part_of
from sai_core.review.edits import annotation_keys
from sai_core.taxonomy import class_name

Int64 = npt.NDArray[np.int64]
Float64 = npt.NDArray[np.float64]
Kind = Literal["unlabelled", "unfound", "class", "direction", "jump", "distance"]
KINDS: Final[tuple[Kind, ...]] = get_args(Kind)
SOURCE: Final[str] = "source"
"""Kind of what a reviewer has added from nothing; the queue never makes one."""

MOMENT: Final[str] = "moment"
"""Kind of what a list elsewhere names and nothing speaks against (:mod:`sai_core.review.chosen`); neither does it."""

KIND_TITLES: Final[dict[str, str]] = {
    "unlabelled": "No label",
    "unfound": "Found by no system",
    "class": "Class disagreement",
    "direction": "Away from metadata",
    "jump": "Jump in a track",
    "distance": "Distance outlier",
    SOURCE: "Added by hand",
    MOMENT: "Of a figure",
}

_WINDOW_FRAMES: Final[int] = 2 * FRAME_RATE_HZ
"""Half of the window of a track's median distance: two seconds."""

_FIRST_AFTER_S: Final[float] = 0.5
_TELL_EVERY_S: Final[float] = 2.0
"""Seconds until what was found is told for the first time, and from then on."""

_SCORE_STEPS: Final[int] = 1000
"""Steps of [0, 1] in which a system's scores are counted."""

_EXCURSION_FRAMES: Final[int] = 5
"""A track that jumps away and back within half a second is taken for an excursion, and its frames for the error."""


@dataclass(frozen=True, kw_only=True)
class QueueSettings:
    """Thresholds of the queue (module docstring).

    Attributes
    ----------
    near_deg : float
        What counts as the same direction: the 20 degrees of the official matching.
    confident : float
        Least score of a prediction that makes an item by itself.
    direction_deg : float
        Tolerated angle between label and metadata; the labels' own blur has a sigma of 10 degrees.
    jump_deg : float
        Tolerated step of a track from frame to frame (100 ms).
    distance_ratio : float
        Tolerated absolute natural logarithm of distance / reference.
    min_frames : int
        Least number of frames of an ``unlabelled``, ``unfound`` or ``class`` event.
    gap_frames : int
        Pauses of at most so many frames do not end an event.
    """

    near_deg: float = 20.0
    confident: float = 0.3
    direction_deg: float = 20.0
    jump_deg: float = 30.0
    distance_ratio: float = 0.4
    min_frames: int = 2
    gap_frames: int = 2

    def __post_init__(self) -> None:
        for name, low, high in (
            ("near_deg", 1, 90),
            ("confident", 0, 1),
            ("direction_deg", 1, 179),
            ("jump_deg", 1, 179),
            ("distance_ratio", 0, 5),
            ("min_frames", 1, 100),
            ("gap_frames", 0, 50),
        ):
            value = getattr(self, name)
            if not low <= value <= high:
                raise InputError(f"{name} must lie between {low} and {high}, got {value}.")


@dataclass(frozen=True)
class Item:
    """One thing to look at.

    Attributes
    ----------
    id : str
        16 hexadecimal digits.
    kind : str
        One of :data:`KINDS`, :data:`SOURCE` or :data:`MOMENT`.
    split, recording : str
    category_id : int
        Class of the label; of the prediction where there is no label.
    start, end : int
        First and last frame, both included.
    frame : int
        The most telling one.
    score : float
        Suspicion in [0, 1].
    reason : str
        One sentence: what does not fit.
    proposal : str
        One sentence: what *accept* does.
    systems : tuple of str
        Prediction sets that speak against the label.
    targets : tuple of str
        Keys of the labels concerned (:func:`sai_core.review.edits.annotation_keys`).
    change : dict
        What :mod:`sai_core.review.deciding` makes the proposal's edits of.
    """

    id: str
    kind: str
    split: str
    recording: str
    category_id: int
    start: int
    end: int
    frame: int
    score: float
    reason: str
    proposal: str
    systems: tuple[str, ...] = ()
    targets: tuple[str, ...] = ()
    change: dict[str, Any] = field(default_factory=dict)

    @property
    def n_frames(self) -> int:
        """Frames from start to end."""
        return self.end - self.start + 1

    def facts(self) -> dict[str, Any]:
        """What a decision notes about the item, so that the log can be read without the queue."""
        names = ("kind", "category_id", "start", "end", "frame", "score", "reason", "proposal", "systems")
        found = {name: getattr(self, name) for name in names}
        lists = {"systems": list(self.systems), "targets": list(self.targets)}
        return {**found, **lists, "score": round(self.score, 4)}


@dataclass(frozen=True)
class Reach:
    """How far the scores of a prediction set reach, beside the least score of an ``unlabelled`` item.

    Attributes
    ----------
    system : str
    confident : float
        The least score.
    n_free : int
        Predictions near no label, with a direction.
    n_below : int
        Those of them that score less, or have no score.
    highest : float or None
        Highest score of the whole set; None where it has no scores.
    n_labels : int
        Labels of the recordings for which the set has a file.
    as_labels : float or None
        The score, rounded down to thousandths, from which on the set has as many predictions in these recordings as
        there are labels; None where it has fewer, or there are no labels.
    """

    system: str
    confident: float
    n_free: int
    n_below: int
    highest: float | None
    n_labels: int
    as_labels: float | None

    @property
    def out_of_reach(self) -> bool:
        """Whether there are predictions near no label, and no score of the set suffices for an item."""
        return self.n_free > 0 and (self.highest is None or self.highest < self.confident)

    def sentence(self) -> str:
        """What the least score leaves out, and which score would be of the set's own scale."""
        if self.n_free == 0:
            return f"{self.system}: all predictions lie near a label."
        many = f"{self.n_free} prediction{'' if self.n_free == 1 else 's'} near no label"
        if self.highest is None:
            return f"{self.system} has no scores, so that none of its {many} is listed."
        scale = f" As many predictions as there are labels ({self.n_labels}) score "
        scale = "" if self.as_labels is None else f"{scale}at least {self.as_labels:.3f}."
        if self.out_of_reach:
            return (
                f"{self.system} has no score of at least {self.confident:g} (the highest is "
                f"{self.highest:.3f}), so that none of its {many} is listed.{scale}"
            )
        if self.n_below == 0:
            return f"{self.system}: none of {many} scores less than {self.confident:g}.{scale}"
        below = f"{self.n_below} of {many} {'does' if self.n_below == 1 else 'do'} not reach a score of"
        return f"{self.system}: {below} {self.confident:g} and {'is' if self.n_below == 1 else 'are'} left out.{scale}"


@dataclass(frozen=True)
class Queue:
    """Items of a data root, most suspicious first.

    Attributes
    ----------
    items : tuple of Item
    problems : tuple of str
        Files that could not be read, one sentence each.
    n_recordings : int
        Recordings that were looked at.
    unread : tuple of (str, str)
        Split and name of recordings whose label file cannot be read: they have no items, for what would be decided
        about them could not be written.
    foreign : tuple of str
        Annotations after the end of a recording, which may be of other data, one sentence each.
    reach : tuple of Reach
        Of each system that was read, by name.
    """

    items: tuple[Item, ...]
    problems: tuple[str, ...]
    n_recordings: int
    unread: tuple[tuple[str, str], ...] = ()
    foreign: tuple[str, ...] = ()
    reach: tuple[Reach, ...] = ()
    memo: dict[Any, Any] = field(default_factory=dict, compare=False, repr=False)
    """What desks have worked out of the items; gone with the queue, which is built anew when a file changes."""

    def remarks(self) -> list[str]:
        """What was left out, the count first, one sentence each."""
        unread = [left_out(len(self.unread), "queue")] if self.unread else []
        silent = [reach.sentence() for reach in self.reach if reach.out_of_reach]
        return [*unread, *silent, *self.foreign, *self.problems]

    def __len__(self) -> int:
        return len(self.items)


def left_out(n: int, of: str) -> str:
    """One sentence on recordings whose labels cannot be read."""
    single = n == 1
    return (
        f"{n} recording{' is' if single else 's are'} left out of the {of}, for {'its' if single else 'their'} label "
        f"file{'' if single else 's'} cannot be read; mend or remove {'it' if single else 'them'} first."
    )


def build_queue(
    root: DataRoot,
    systems: Sequence[PredictionSet],
    *,
    settings: QueueSettings | None = None,
    progress: Progress = no_progress,
    so_far: Callable[[Queue], object] | None = None,
) -> Queue:
    """Queue of all recordings of a data root.

    Recordings with small label files are looked at first, so that there is something to review soon.

    Parameters
    ----------
    root : DataRoot
    systems : sequence of PredictionSet
        May be empty: then only labels and metadata are held against each other.
    settings : QueueSettings, optional
    progress : Progress
        Told after each recording; may raise :class:`sai_core.errors.CancelledError`.
    so_far : callable, optional
        Gets the queue of the recordings that were looked at by now, every few seconds. Its items are those that the
        whole queue will have of them.

    Returns
    -------
    Queue
        Sorted by score (highest first), then identifier. A file that cannot be read leaves its part out and is told;
        a label file leaves its whole recording out.
    """
    chosen = settings or QueueSettings()
    parts: dict[int, _Part] = {}
    last_s = time.monotonic() - _TELL_EVERY_S + _FIRST_AFTER_S

    def size(number: int) -> int:
        path = root.recordings[number].label_path
        try:
            return path.stat().st_size if path is not None else 0
        except OSError:
            return 0

    for done, number in enumerate(sorted(range(len(root.recordings)), key=size)):
        recording = root.recordings[number]
        part = part_of(progress, done / len(root.recordings), (done + 1) / len(root.recordings))
        part(0.0, recording.name)
        parts[number] = _part(recording, systems, chosen, part)
        if so_far is not None and time.monotonic() - last_s > _TELL_EVERY_S and len(part_queue := _queue_of(parts)):
            so_far(part_queue)
            last_s = time.monotonic()
    whole = _queue_of(parts)
    progress(1.0, f"{len(whole)} items")
    return whole


@dataclass
class _Part:
    """What a queue knows of one recording."""

    items: list[Item] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    unread: list[tuple[str, str]] = field(default_factory=list)
    foreign: list[str] = field(default_factory=list)
    n_recordings: int = 0
    counted: dict[str, _Counted] = field(default_factory=dict)


@dataclass
class _Counted:
    """Scores of one system in one recording, or in several."""

    confident: float
    n_free: int = 0
    n_below: int = 0
    highest: float = -1.0
    n_labels: int = 0
    steps: Int64 = field(default_factory=lambda: np.zeros(_SCORE_STEPS + 1, dtype=np.int64))
    """Predictions by score in recordings with labels, in steps that begin at k / _SCORE_STEPS."""

    def add(self, more: _Counted) -> None:
        self.n_free += more.n_free
        self.n_below += more.n_below
        self.highest = max(self.highest, more.highest)
        self.n_labels += more.n_labels
        self.steps = self.steps + more.steps

    def reach(self, system: str) -> Reach:
        at_least = np.cumsum(self.steps[::-1])[::-1]
        enough = np.flatnonzero(at_least >= self.n_labels)
        rank = float(enough[-1]) / _SCORE_STEPS if self.n_labels and len(enough) else None
        highest = None if self.highest < 0 else self.highest
        return Reach(system, self.confident, self.n_free, self.n_below, highest, self.n_labels, rank)


def _part(recording: Recording, systems: Sequence[PredictionSet], settings: QueueSettings, progress: Progress) -> _Part:
    found = _Part()
    tables, metadata = read_recording(recording, systems, problems=found.problems, progress=progress)
    if recording.label_path is not None and "" not in tables:
        found.unread.append((recording.split, recording.name))
        return found
    if not tables and metadata is None:
        return found
    found.n_recordings = 1
    whose = ((name or "the labels", table) for name, table in tables.items())
    found.foreign += filter(None, (after_the_end(recording, what, table.frame) for what, table in whose))
    labels = tables.pop("", None)
    scene = _scene(recording.name, labels, tables, metadata, split=recording.split, settings=settings)
    found.items += _items(scene, with_labels=labels is not None and len(labels) > 0)
    found.counted = {name: _counted(scene, name) for name in scene.predictions}
    return found


def _queue_of(parts: Mapping[int, _Part]) -> Queue:
    """The queue of some recordings, given by their numbers in the data root."""
    in_order = [parts[number] for number in sorted(parts)]
    items = sorted((i for part in in_order for i in part.items), key=lambda item: (-item.score, item.id))
    problems, unread, foreign = (
        tuple(chain.from_iterable(getattr(part, name) for part in in_order))
        for name in ("problems", "unread", "foreign")
    )
    counted: dict[str, _Counted] = {}
    for part in in_order:
        for name, scores in part.counted.items():
            counted.setdefault(name, _Counted(scores.confident)).add(scores)
    reach = tuple(counted[name].reach(name) for name in sorted(counted))
    return Queue(tuple(items), problems, sum(part.n_recordings for part in in_order), unread, foreign, reach)


def read_recording(
    recording: Recording, systems: Sequence[PredictionSet], *, problems: list[str], progress: Progress = no_progress
) -> tuple[dict[str, AnnotationTable], DcaseMetadata | None]:
    """Labels (under ``""``), predictions by system, and metadata; what cannot be read is added to ``problems``."""
    tables: dict[str, AnnotationTable] = {}
    sources = [("", recording.label_path), *((s.name, s.files.get(recording.name)) for s in systems)]
    for name, path in sources:
        if path is None:
            continue
        try:
            # labels as strictly as the export reads them, or decisions would be made that it cannot write
            tables[name] = read_annotations(path, recording=recording.name, unknown_classes="drop" if name else "error")
            problems += [f"{path}: {sentence}" for sentence in tables[name].notes.sentences()]
        except SaiError as error:
            problems.append(str(error))
        progress(0.5, recording.name)
    metadata = None
    if recording.metadata_path is not None:
        try:
            metadata = read_dcase_csv(recording.metadata_path)
        except SaiError as error:
            problems.append(str(error))
    return tables, metadata


def recording_items(
    recording: str,
    labels: AnnotationTable | None,
    predictions: Mapping[str, AnnotationTable],
    metadata: DcaseMetadata | None = None,
    *,
    split: str = "",
    settings: QueueSettings | None = None,
) -> list[Item]:
    """Items of one recording.

    Parameters
    ----------
    recording : str
    labels : AnnotationTable or None
        None for a recording without a label file: confident predictions are then proposed as its labels.
    predictions : mapping of AnnotationTable
        By system.
    metadata : DcaseMetadata, optional
    split : str
    settings : QueueSettings, optional

    Returns
    -------
    list of Item
        In order of kind, then frame.
    """
    scene = _scene(recording, labels, predictions, metadata, split=split, settings=settings or QueueSettings())
    return _items(scene, with_labels=labels is not None and len(labels) > 0)


def _scene(
    recording: str,
    labels: AnnotationTable | None,
    predictions: Mapping[str, AnnotationTable],
    metadata: DcaseMetadata | None,
    *,
    split: str,
    settings: QueueSettings,
) -> _Scene:
    there = labels if labels is not None else AnnotationTable.empty(recording)
    return _Scene(recording, split, there, dict(sorted(predictions.items())), metadata, settings)


def _items(scene: _Scene, *, with_labels: bool) -> list[Item]:
    items = [*_unlabelled(scene)]
    if with_labels:
        if scene.predictions:
            items += [*_unfound(scene), *_class(scene)]
        if scene.metadata is not None:
            items += _direction(scene)
        items += [*_jumps(scene), *_distances(scene)]
    return _unique(items)


def _counted(scene: _Scene, system: str) -> _Counted:
    score = scene.predictions[system].score.astype(np.float64)
    free, scored = scene.free(system), score[~np.isnan(score)]
    counted = _Counted(scene.settings.confident, int(free.sum()), highest=float(scored.max(initial=-1.0)))
    counted.n_below = int(np.count_nonzero(free & ~scene.confident(system)))
    if len(scene.labels):
        counted.n_labels = len(scene.labels)
        steps = np.floor(np.clip(scored, 0.0, 1.0) * _SCORE_STEPS).astype(np.int64)
        counted.steps = np.bincount(steps, minlength=_SCORE_STEPS + 1)
    return counted


class _Scene:
    """One recording with what all kinds need."""

    def __init__(
        self,
        recording: str,
        split: str,
        labels: AnnotationTable,
        predictions: dict[str, AnnotationTable],
        metadata: DcaseMetadata | None,
        settings: QueueSettings,
    ) -> None:
        self.recording, self.split, self.labels = recording, split, labels
        self.predictions, self.metadata, self.settings = predictions, metadata, settings
        self.keys = annotation_keys(labels)
        self.azimuth, self.elevation = region_peak_direction(labels)
        self.frame = labels.frame.astype(np.int64)
        # per system: pairs (label row, prediction row) of one frame that point the same way
        self.directions: dict[str, tuple[Float64, Float64]] = {}
        self.near: dict[str, tuple[Int64, Int64]] = {}
        for name, table in predictions.items():
            azimuth, elevation = region_peak_direction(table)
            self.directions[name] = (azimuth, elevation)
            prediction, label = candidate_pairs(self.frame, table.frame.astype(np.int64))
            angle = great_circle_deg(
                self.azimuth[label], self.elevation[label], azimuth[prediction], elevation[prediction]
            )
            close = angle <= settings.near_deg
            self.near[name] = (label[close], prediction[close])

    def free(self, system: str) -> npt.NDArray[np.bool_]:
        """Which predictions of a system have a direction and lie near no label."""
        free = ~np.isnan(self.directions[system][0])
        free[self.near[system][1]] = False
        return free

    def confident(self, system: str) -> npt.NDArray[np.bool_]:
        """Which predictions of a system score enough for an item; none without a score does."""
        return np.nan_to_num(self.predictions[system].score, nan=-1.0) >= self.settings.confident

    def tracks(self) -> list[Int64]:
        """Label rows of each (class, instance), by frame; of several in one frame the first."""
        order = np.lexsort((np.arange(len(self.labels)), self.frame, self.labels.instance_id, self.labels.category_id))
        if not len(order):
            return []
        columns = (self.labels.category_id[order].astype(np.int64), self.labels.instance_id[order])
        begins = np.flatnonzero(
            (np.diff(columns[0], prepend=-1) != 0) | (np.diff(columns[1], prepend=columns[1][0]) != 0)
        )
        result = []
        for rows in np.split(order, begins[begins > 0]):
            result.append(rows[np.concatenate([[True], np.diff(self.frame[rows]) > 0])])
        return result

    def item(
        self,
        kind: Kind,
        subject: str,
        category: int,
        frames: Int64,
        *,
        frame: int,
        score: float,
        reason: str,
        proposal: str,
        systems: Sequence[str] = (),
        targets: Sequence[str] = (),
        change: dict[str, Any] | None = None,
    ) -> Item:
        start, end = int(frames.min()), int(frames.max())
        text = "\n".join([kind, self.split, self.recording, str(category), subject, str(start)])
        digest = hashlib.blake2b(text.encode("utf-8", "surrogateescape"), digest_size=8).hexdigest()
        return Item(
            digest,
            kind,
            self.split,
            self.recording,
            category,
            start,
            end,
            frame,
            float(np.clip(score, 0.0, 1.0)),
            reason,
            proposal,
            tuple(systems),
            tuple(targets),
            change or {},
        )

    def all_of_track(self, rows: Int64) -> list[str]:
        """Keys of every label that shares frame, class and instance with one of the rows (doubled labels too)."""
        category, instance = self.labels.category_id[rows[0]], self.labels.instance_id[rows[0]]
        same = (self.labels.category_id == category) & (self.labels.instance_id == instance)
        same &= np.isin(self.frame, self.frame[rows])
        return [self.keys[k] for k in np.flatnonzero(same).tolist()]


def _unique(items: list[Item]) -> list[Item]:
    """Items whose identifiers would be equal get the next ones, in order of appearance."""
    seen: dict[str, int] = {}
    result = []
    for item in items:
        number = seen[item.id] = seen.get(item.id, 0) + 1
        if number > 1:
            digest = hashlib.blake2b(f"{item.id}#{number}".encode(), digest_size=8).hexdigest()
            item = Item(digest, *(getattr(item, f.name) for f in fields(Item)[1:]))
        result.append(item)
    return result


def _runs(frames: Int64, gap: int) -> list[Int64]:
    """Positions of each event in rising frames; pauses of more than ``gap`` frames part events."""
    if not len(frames):
        return []
    return np.split(np.arange(len(frames)), np.flatnonzero(np.diff(frames) > gap + 1) + 1)


def _in_frames(n: int) -> str:
    return "1 frame" if n == 1 else f"{n} frames"


def _listed(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else ", ".join(names[:-1]) + " and " + names[-1]


def _unlabelled(scene: _Scene) -> list[Item]:
    """Confident predictions with no label near them."""
    settings = scene.settings
    names = list(scene.predictions)
    columns: list[tuple[npt.NDArray[np.integer[Any]], ...]] = []
    values: list[Float64] = []
    for number, name in enumerate(names):
        table = scene.predictions[name]
        azimuth, elevation = scene.directions[name]
        rows = np.flatnonzero(scene.free(name) & scene.confident(name))
        columns.append((np.full(len(rows), number), rows, table.frame[rows].astype(np.int64), table.category_id[rows]))
        values.append(np.column_stack([azimuth[rows], elevation[rows], table.score[rows]]))
    if not columns:
        return []
    system, row, frame, category = (np.concatenate(c).astype(np.int64) for c in zip(*columns, strict=True))
    azimuth, elevation, score = np.concatenate(values).T
    items = []
    for c in np.unique(category).tolist():
        chosen = np.flatnonzero(category == c)
        chosen = chosen[np.lexsort((row[chosen], system[chosen], frame[chosen]))]
        for event in _follow(frame[chosen], azimuth[chosen], elevation[chosen], settings):
            k = chosen[event]
            frames = np.unique(frame[k])
            if len(frames) < settings.min_frames:
                continue
            doubt = np.ones(len(frames))
            np.multiply.at(doubt, np.searchsorted(frames, frame[k]), 1.0 - np.clip(score[k], 0.0, 1.0))
            confidence = float(np.mean(1.0 - doubt))
            who = np.unique(system[k])
            # the surest system lends its regions; where it has none in a frame, the next one does
            rank = sorted(who.tolist(), key=lambda s: (-float(score[k][system[k] == s].mean()), s))
            lent: dict[int, tuple[str, int]] = {}
            for s in rank:
                for position in k[system[k] == s].tolist():
                    lent.setdefault(int(frame[position]), (names[s], int(row[position])))
            best = k[int(np.argmax(score[k]))]
            seen_by = [names[s] for s in who.tolist()]
            first = k[0]
            items.append(
                scene.item(
                    "unlabelled",
                    f"{round(float(azimuth[first]))},{round(float(elevation[first]))}",
                    c,
                    frames,
                    frame=int(frame[best]),
                    score=confidence * (0.5 + 0.5 * min(len(frames), 10) / 10),
                    reason=f"{_listed(seen_by)} {'hears' if len(seen_by) == 1 else 'hear'} {class_name(c)} "
                    f"(score up to {score[k].max():.2f}) where there is no label.",
                    proposal=f"Add {class_name(c)} in {_in_frames(len(frames))}, regions from {names[rank[0]]}.",
                    systems=seen_by,
                    change={"add": [[f, *lent[f]] for f in sorted(lent)], "category": c},
                )
            )
    return items


def _follow(frame: Int64, azimuth: Float64, elevation: Float64, settings: QueueSettings) -> list[Int64]:
    """Positions of each event: points in time order that stay near their event's last direction."""
    events: list[list[int]] = []
    live: list[int] = []
    for k in range(len(frame)):
        live = [e for e in live if frame[k] - frame[events[e][-1]] <= settings.gap_frames + 1]
        if live:
            last = [events[e][-1] for e in live]
            angle = great_circle_deg(azimuth[k], elevation[k], azimuth[last], elevation[last])
            nearest = int(np.argmin(angle))
            if angle[nearest] <= settings.near_deg:
                events[live[nearest]].append(k)
                continue
        events.append([k])
        live.append(len(events) - 1)
    return [np.array(event, dtype=np.int64) for event in events]


def _unfound(scene: _Scene) -> list[Item]:
    """Labels near which no system predicts anything."""
    found = np.zeros(len(scene.labels), dtype=bool)
    for label, _ in scene.near.values():
        found[label] = True
    weight = 1.0 - 0.5 ** len(scene.predictions)
    items = []
    for track in scene.tracks():
        lost = track[~found[track]]
        for event in _runs(scene.frame[lost], scene.settings.gap_frames):
            rows = lost[event]
            if len(rows) < scene.settings.min_frames:
                continue
            c = int(scene.labels.category_id[rows[0]])
            share = len(rows) / len(track)
            systems = list(scene.predictions)
            items.append(
                scene.item(
                    "unfound",
                    str(int(scene.labels.instance_id[rows[0]])),
                    c,
                    scene.frame[rows],
                    frame=int(scene.frame[rows[len(rows) // 2]]),
                    score=weight * (0.4 + 0.6 * share),
                    reason=f"Nothing from {_listed(systems)} lies near this label in {_in_frames(len(rows))} "
                    f"({share:.0%} of its track).",
                    proposal=f"Remove the label in {_in_frames(len(rows))}.",
                    systems=systems,
                    targets=scene.all_of_track(rows),
                    change={"remove": True},
                )
            )
    return items


def _class(scene: _Scene) -> list[Item]:
    """Labels whose class no system near them shares."""
    n, n_systems = len(scene.labels), len(scene.predictions)
    votes = np.zeros((n, 13))
    voters = np.zeros((n, 13), dtype=np.int64)
    shared = np.zeros(n, dtype=bool)
    for name, (label, prediction) in scene.near.items():
        table = scene.predictions[name]
        own = np.zeros((n, 13))
        np.maximum.at(own, (label, table.category_id[prediction]), np.nan_to_num(table.score[prediction], nan=1.0))
        heard = np.zeros((n, 13), dtype=bool)
        heard[label, table.category_id[prediction]] = True
        shared |= heard[np.arange(n), scene.labels.category_id]
        # a prediction that belongs to a neighbouring label of its own class is no vote against this one
        explained = _explained(scene, label, prediction, table)
        own[explained] = 0.0
        heard[explained] = False
        votes += own
        voters += heard
    majority = np.argmax(votes, axis=1)
    strength = votes[np.arange(n), majority] / max(n_systems, 1)
    needed = min(2, n_systems)
    against = ~shared & (voters[np.arange(n), majority] >= needed) & (strength > 0)
    items = []
    for track in scene.tracks():
        disputed = track[against[track]]
        for event in _runs(scene.frame[disputed], scene.settings.gap_frames):
            rows = disputed[event]
            if len(rows) < scene.settings.min_frames:
                continue
            c = int(scene.labels.category_id[rows[0]])
            total = votes[rows].sum(axis=0)
            proposed = int(np.argmax(total))
            sure = int(rows[int(np.argmax(strength[rows]))])
            systems = [
                name
                for name, (label, prediction) in scene.near.items()
                if np.any(np.isin(label, rows) & (scene.predictions[name].category_id[prediction] == proposed))
            ]
            items.append(
                scene.item(
                    "class",
                    str(int(scene.labels.instance_id[rows[0]])),
                    c,
                    scene.frame[rows],
                    frame=int(scene.frame[sure]),
                    score=float(strength[rows].mean()),
                    reason=f"Labelled {class_name(c)}, but {_listed(systems)} "
                    f"{'hears' if len(systems) == 1 else 'hear'} {class_name(proposed)} there.",
                    proposal=f"Make it {class_name(proposed)} in {_in_frames(len(rows))}.",
                    systems=systems,
                    targets=scene.all_of_track(rows),
                    change={"category": proposed},
                )
            )
    return items


def _explained(
    scene: _Scene, label: Int64, prediction: Int64, table: AnnotationTable
) -> tuple[Int64, npt.NDArray[np.int16]]:
    """(label row, class) of votes by predictions that have a label of their own class near them."""
    own_class = scene.labels.category_id[label] == table.category_id[prediction]
    at_home = np.zeros(len(table), dtype=bool)
    at_home[prediction[own_class]] = True
    elsewhere = at_home[prediction] & ~own_class
    return label[elsewhere], table.category_id[prediction[elsewhere]]


def _direction(scene: _Scene) -> list[Item]:
    """Labels that point elsewhere than the metadata."""
    assert scene.metadata is not None
    angle, row = _nearest_row(scene)
    limit = scene.settings.direction_deg
    items = []
    for track in scene.tracks():
        off = track[angle[track] > limit]
        for event in _runs(scene.frame[off], scene.settings.gap_frames):
            rows = off[event]
            c = int(scene.labels.category_id[rows[0]])
            there = row[rows] >= 0
            worst = int(rows[int(np.argmax(angle[rows]))])
            shifts = []
            for k, m in zip(rows[there].tolist(), row[rows[there]].tolist(), strict=True):
                azimuth = float((scene.metadata.azimuth_deg[m] - scene.azimuth[k] + 180.0) % 360.0 - 180.0)
                elevation = float(scene.metadata.elevation_deg[m] - scene.elevation[k])
                shifts += [[key, round(azimuth), round(elevation)] for key in scene.all_of_track(np.array([k]))]
            if there.any():
                reason = f"The energy peaks up to {angle[rows[there]].max():.0f}° away from the metadata's direction."
                proposal = f"Shift the region onto the metadata's direction in {_in_frames(int(there.sum()))}."
            else:
                reason = (
                    f"The metadata have no {class_name(c)} in {'this frame' if len(rows) == 1 else 'these frames'}."
                )
                proposal = f"Remove the label in {_in_frames(len(rows))}."
            items.append(
                scene.item(
                    "direction",
                    str(int(scene.labels.instance_id[rows[0]])),
                    c,
                    scene.frame[rows],
                    frame=int(scene.frame[worst]),
                    score=float(np.mean(1.0 - np.exp(-(angle[rows] - limit) / 20.0))),
                    reason=reason,
                    proposal=proposal,
                    targets=scene.all_of_track(rows),
                    change={"shifts": shifts} if there.any() else {"remove": True},
                )
            )
    return items


def _nearest_row(scene: _Scene) -> tuple[Float64, Int64]:
    """Angle to the nearest metadata row of frame and class (180 without one), and that row (-1)."""
    assert scene.metadata is not None
    n = len(scene.labels)
    angle, row = np.full(n, 180.0), np.full(n, -1, dtype=np.int64)
    keys = [frame.astype(np.int64) * 13 + c.astype(np.int64) for frame, c in (
        (scene.metadata.frame, scene.metadata.category_id), (scene.frame, scene.labels.category_id)
    )]  # fmt: skip
    label, nearby = candidate_pairs(*keys)
    apart = great_circle_deg(
        scene.azimuth[label],
        scene.elevation[label],
        scene.metadata.azimuth_deg[nearby],
        scene.metadata.elevation_deg[nearby],
    )
    order = np.lexsort((nearby, apart, label))
    order = order[~np.isnan(apart[order])]
    first = order[np.concatenate([[True], np.diff(label[order]) > 0])] if len(order) else order
    angle[label[first]], row[label[first]] = apart[first], nearby[first]
    angle[np.isnan(scene.azimuth)] = 0.0  # an empty region has no direction
    return angle, row


def _jumps(scene: _Scene) -> list[Item]:
    """Tracks that move too far from one frame to the next."""
    limit = scene.settings.jump_deg
    items = []
    for track in scene.tracks():
        rows = track[~np.isnan(scene.azimuth[track])]
        if len(rows) < 2:
            continue
        before, after = rows[:-1], rows[1:]
        step = great_circle_deg(
            scene.azimuth[before], scene.elevation[before], scene.azimuth[after], scene.elevation[after]
        )
        # a source that pauses may start again elsewhere
        step[np.diff(scene.frame[rows]) > scene.settings.gap_frames + 1] = 0.0
        jumps = np.flatnonzero(step > limit)
        for event in _runs(jumps, _EXCURSION_FRAMES):
            where = jumps[event]
            low, high = int(where[0]), int(where[-1]) + 1
            worst = int(where[int(np.argmax(step[where]))])
            inner = rows[low + 1 : high]
            back = great_circle_deg(
                scene.azimuth[rows[low]], scene.elevation[rows[low]], scene.azimuth[rows[high]],
                scene.elevation[rows[high]],
            )  # fmt: skip
            excursion = len(inner) > 0 and float(back) <= limit
            c = int(scene.labels.category_id[rows[0]])
            if excursion:
                change: dict[str, Any] = {"shifts": _bridge(scene, rows[low : high + 1])}
                targets = scene.all_of_track(inner)
                proposal = f"Shift {_in_frames(len(inner))} back onto the line between the neighbouring frames."
            else:
                moved = rows[int(where[0]) + 1 :]
                change = {"split": int(scene.frame[moved[0]])}
                targets = scene.all_of_track(moved)
                proposal = f"Make it another instance from frame {int(scene.frame[moved[0]])} on."
            items.append(
                scene.item(
                    "jump",
                    str(int(scene.labels.instance_id[rows[0]])),
                    c,
                    scene.frame[rows[low : high + 1]],
                    frame=int(scene.frame[rows[worst + 1]]),
                    score=float(1.0 - np.exp(-(step[worst] - limit) / 30.0)),
                    reason=f"The track moves {step[worst]:.0f}° within 100 ms"
                    + (" and comes back." if excursion else "."),
                    proposal=proposal,
                    targets=targets,
                    change=change,
                )
            )
    return items


def _bridge(scene: _Scene, rows: Int64) -> list[list[Any]]:
    """Shifts that put the inner rows onto the line between the first and the last one."""
    first, last = int(rows[0]), int(rows[-1])
    span = float(scene.frame[last] - scene.frame[first])
    turn = (scene.azimuth[last] - scene.azimuth[first] + 180.0) % 360.0 - 180.0
    shifts = []
    for k in rows[1:-1].tolist():
        t = float(scene.frame[k] - scene.frame[first]) / span
        azimuth = scene.azimuth[first] + t * turn - scene.azimuth[k]
        elevation = (1 - t) * scene.elevation[first] + t * scene.elevation[last] - scene.elevation[k]
        azimuth = float((azimuth + 180.0) % 360.0 - 180.0)
        shifts += [[key, round(azimuth), round(float(elevation))] for key in scene.all_of_track(np.array([k]))]
    return shifts


def _distances(scene: _Scene) -> list[Item]:
    """Distances far from the metadata's, or from the rest of the track."""
    distance = scene.labels.distance_cm
    if np.isnan(distance).all():
        return []  # files without distances have no outliers
    limit = scene.settings.distance_ratio
    given = np.full(len(scene.labels), np.nan)
    if scene.metadata is not None and len(scene.metadata):
        _, row = _nearest_row(scene)
        given[row >= 0] = scene.metadata.distance_cm[row[row >= 0]]
    items = []
    for track in scene.tracks():
        reference = np.where(given[track] > 0, given[track], _running_median(scene.frame[track], distance[track]))
        with np.errstate(divide="ignore", invalid="ignore"):
            ratio = np.abs(np.log(distance[track] / reference))
        ratio = np.where(np.isnan(distance[track]) | (distance[track] <= 0), np.inf, ratio)
        ratio = np.where(reference > 0, ratio, 0.0)  # nothing to hold it against (NaN compares as False)
        off = np.flatnonzero(ratio > limit)
        for event in _runs(scene.frame[track[off]], scene.settings.gap_frames):
            here = off[event]
            rows = track[here]
            c = int(scene.labels.category_id[rows[0]])
            worst = int(np.argmax(ratio[here]))
            wanted = [round(float(v), 1) for v in reference[here].tolist()]
            source = "metadata" if given[rows[worst]] > 0 else "track"
            now = distance[rows[worst]]
            shown = "no distance" if np.isnan(now) else f"{now:.0f} cm"
            values = [
                [key, value]
                for k, value in zip(rows.tolist(), wanted, strict=True)
                for key in scene.all_of_track(np.array([k]))
            ]
            items.append(
                scene.item(
                    "distance",
                    str(int(scene.labels.instance_id[rows[0]])),
                    c,
                    scene.frame[rows],
                    frame=int(scene.frame[rows[worst]]),
                    score=float(np.mean(1.0 - np.exp(-2.0 * (ratio[here] - limit)))),
                    reason=f"The label says {shown}, the {source} {wanted[worst]:.0f} cm.",
                    proposal=f"Use the distance of the {source} in {_in_frames(len(rows))}.",
                    targets=scene.all_of_track(rows),
                    change={"distances": values},
                )
            )
    return items


def _running_median(frame: Int64, distance: Float64) -> Float64:
    """Median of the track's distances within two seconds; NaN where there is none."""
    low = np.searchsorted(frame, frame - _WINDOW_FRAMES)
    high = np.searchsorted(frame, frame + _WINDOW_FRAMES, side="right")
    result = np.full(len(frame), np.nan)
    for k, (a, b) in enumerate(zip(low.tolist(), high.tolist(), strict=True)):
        values = distance[a:b]
        values = values[values > 0]
        if len(values):
            result[k] = np.median(values)
    return result
