"""Figures of parts of a set: by polyphony, distance, elevation, size, energy, movement, phase, overlap, room and more.

Every label is in one slice of an attribute, and so is every detection: in that of the label that the official matching
gives it; without one in that of the label of its frame that its strongest point is nearest to, whatever the class; in
frames without labels in a slice of their own. So the slices of an attribute together are the whole set: merged, they
give its figures. Each slice is scored by the official rules on what is in it.

A slice's mAP is the mean over the classes that have labels in it, which are not those of the whole set. Its *loss* is
therefore what the whole set has on the same classes, less what the slice has.

The user's tags and saved views (:data:`GROUPINGS`) are slices of whole recordings. A recording may be in several of
them, so that they do not add up to the whole; which recording is in which, the caller says.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final, Literal, get_args

import numpy as np
import numpy.typing as npt

from sai_core.annotations.sources import first_of_source
from sai_core.annotations.table import AnnotationTable
from sai_core.errors import InputError
from sai_core.geometry import directions_to_vectors, great_circle_deg
from sai_core.metrics.evaluation.map_cache import cached_maps_0630
from sai_core.metrics.evaluation.recording import score_recording
from sai_core.metrics.evaluation.score_store import RecordingResult, read_pair
from sai_core.metrics.evaluation.scores import Evaluation, RecordingScores, merge
from sai_core.metrics.official.directions import annotation_point_offsets, region_peak_direction
from sai_core.metrics.official.pairing_0630 import candidate_pairs
from sai_core.metrics.official.rendering_0630 import MAP_HEIGHT, MAP_WIDTH, N_PIXELS
from sai_core.metrics.official.revisions import Revision
from sai_core.metrics.reading import drilldown
from sai_core.metrics.reading.diagnostics import BootstrapResult, bootstrap
from sai_core.metrics.reading.tables import Column, Source, Table
from sai_core.progress import Progress, no_progress, part_of
from sai_core.taxonomy import N_CLASSES

Int64 = npt.NDArray[np.int64]
Float64 = npt.NDArray[np.float64]
Bool = npt.NDArray[np.bool_]

Partition = Literal[
    "polyphony", "distance", "elevation", "size", "energy", "movement", "phase", "overlap", "room", "recording", "split"
]
Grouping = Literal["tag", "view"]
Attribute = Partition | Grouping
ATTRIBUTES: Final[tuple[Partition, ...]] = get_args(Partition)
"""Attributes whose slices together are the whole set, each label in one."""

GROUPINGS: Final[tuple[Grouping, ...]] = get_args(Grouping)
"""Attributes of recordings that may have several values or none."""

Groups = Mapping[str, tuple[str, ...]]
"""Names of the tags and views that a recording is in, by grouping; without those that are not known."""

NO_GROUP: Final[str] = "none"
"""Slice of the recordings without a tag, or in no view: what ``tag:none`` lists in a filter."""

NO_LABEL: Final[str] = "no label in the frame"
MIN_LABELS: Final[int] = 50
"""Labels that a slice needs to be among the worst."""

_QUARTERS: Final[tuple[str, ...]] = ("smallest quarter", "second quarter", "third quarter", "largest quarter")
_DISTANCES_CM: Final = (100.0, 200.0, 400.0)
_DISTANCE_NAMES: Final[tuple[str, ...]] = ("under 1 m", "1 to 2 m", "2 to 4 m", "4 m and more")
_ELEVATIONS_DEG: Final = (-30.0, -10.0, 10.0, 30.0)
_ELEVATION_NAMES: Final[tuple[str, ...]] = (
    "under -30°", "-30° to -10°", "-10° to 10°", "10° to 30°", "30° and more"
)  # fmt: skip
_POLYPHONY_NAMES: Final[tuple[str, ...]] = ("1", "2", "3", "4 and more")
_PHASE_FRAMES: Final[int] = 3
_MOVING_FRAMES: Final[int] = 5
_MOVING_DEG: Final[float] = 5.0
"""A source moves where the mean directions of half a second before and after a frame are farther apart than this."""

MIN_RECORDINGS: Final[int] = 6
"""Recordings that a slice needs for a loss that is called sure: that of five all lose has a probability of 2 / 2^5 by
itself, above 5 % (:mod:`sai_core.metrics.reading.ranking` has the same limit)."""

_ROOM: Final = re.compile(r"(?:^|_)room(\d+)(?:_|$)", re.IGNORECASE)
_MEASURED: Final[tuple[Source, ...]] = ("measured",)


@dataclass(frozen=True, eq=False)
class SlicedRecording:
    """One recording, with what tells its labels apart.

    Attributes
    ----------
    scores : RecordingScores
    label_values : dict of str to object (str), shape (n_labels,)
        Value of each attribute but size and energy, by annotation index.
    size_deg2, energy : float64, shape (n_labels,)
        Solid angle of the region on the metric canvas, square degrees; sum of the energies of its points.
    owner : int64, shape (n_detections,)
        Label in whose slice a detection is; -1 in frames without labels. Positions are those of ``scores``.
    groups : mapping of str to tuple of str
        Tags and views that the recording is in, by :data:`GROUPINGS`.
    """

    scores: RecordingScores
    label_values: Mapping[str, npt.NDArray[np.object_]]
    size_deg2: Float64
    energy: Float64
    owner: Int64
    groups: Groups = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class SliceFigures:
    """Figures of one slice.

    Attributes
    ----------
    attribute, value : str
    evaluation : Evaluation
    n_recordings : int
        Recordings with labels in it.
    n_found : int
        Labels that a detection reaches at IoU 0.5.
    same_classes : float
        Macro mAP of the whole set over the classes that have labels in the slice.
    loss : float
        ``same_classes`` less the slice's macro mAP; NaN without labels.
    map_low, map_high, loss_low, loss_high : float
        95 % intervals by bootstrap over recordings; NaN where none is known.
    """

    attribute: str
    value: str
    evaluation: Evaluation
    n_recordings: int
    n_found: int
    same_classes: float
    loss: float
    map_low: float = math.nan
    map_high: float = math.nan
    loss_low: float = math.nan
    loss_high: float = math.nan

    @property
    def n_labels(self) -> int:
        """Labels in it."""
        return self.evaluation.micro.n_labels


@dataclass(frozen=True, eq=False)
class Slices:
    """All slices of a system.

    Attributes
    ----------
    name : str
        The system's.
    whole : Evaluation
    slices : tuple of SliceFigures
        By attribute, values in their order.
    n_resamples : int
        Of the intervals; 0 for none.
    recordings : tuple of SlicedRecording
        What they were made of, sorted by name.
    """

    name: str
    whole: Evaluation
    slices: tuple[SliceFigures, ...]
    n_resamples: int
    recordings: tuple[SlicedRecording, ...] = ()

    def of(self, attribute: str) -> tuple[SliceFigures, ...]:
        """Slices of one attribute."""
        return tuple(part for part in self.slices if part.attribute == attribute)

    def worst(self, *, min_labels: int = MIN_LABELS) -> tuple[SliceFigures, ...]:
        """Slices with enough labels and recordings whose loss is surely above 0 (lower bound), the surest first.

        A slice that holds all labels is none.
        """
        found = [
            part
            for part in self.slices
            if min_labels <= part.n_labels < self.whole.micro.n_labels
            and part.n_recordings >= MIN_RECORDINGS
            and part.loss_low > 0
        ]
        return tuple(sorted(found, key=lambda part: (-part.loss_low, part.attribute, part.value)))

    def to_json(self) -> dict[str, Any]:
        """Figures as a JSON object; undefined is None."""
        return {
            "system": self.name,
            "revision": self.whole.revision,
            "n_resamples": self.n_resamples,
            "overlapping": [name for name in GROUPINGS if self.of(name)],
            "slices": [_described(part) for part in self.slices],
            "worst": [{"attribute": part.attribute, "value": part.value} for part in self.worst()],
        }


def _described(part: SliceFigures) -> dict[str, Any]:
    macro, micro = part.evaluation.macro, part.evaluation.micro
    numbers = {
        "mAP": macro.mean_ap,
        **part.evaluation.ap_at(macro),
        "pearson_r": macro.pearson_r,
        "micro_mAP": micro.mean_ap,
        "whole_on_same_classes": part.same_classes,
        "loss": part.loss,
        "mAP_low": part.map_low,
        "mAP_high": part.map_high,
        "loss_low": part.loss_low,
        "loss_high": part.loss_high,
    }
    return {
        "attribute": part.attribute,
        "value": part.value,
        "n_labels": part.n_labels,
        "n_detections": micro.n_detections,
        "n_recordings": part.n_recordings,
        "n_found": part.n_found,
        **{name: None if math.isnan(value) else float(value) for name, value in numbers.items()},
    }


def room_of(recording: str) -> str:
    """Number behind ``room`` in a recording's name."""
    room = _ROOM.search(recording)
    return room[1] if room else "not in the name"


def slice_recording(
    labels: AnnotationTable,
    predictions: AnnotationTable,
    *,
    scores: RecordingScores | None = None,
    revision: Revision = "2026-06-30",
    split: str = "",
    use_cache: bool = True,
) -> SlicedRecording:
    """Sort the labels and detections of a recording into slices.

    Parameters
    ----------
    labels, predictions : AnnotationTable
    scores : RecordingScores, optional
        Of the two; scored here when left out.
    revision : str
        Of scores that are made here.
    split : str
        Of the recording.
    use_cache : bool
        Keep rendered label maps on disk.
    """
    if scores is None:
        scores = score_recording(labels, predictions, revision=revision, use_cache=use_cache)
    frame = labels.frame.astype(np.int64)
    n = len(labels)
    is_source = first_of_source(labels)
    sources = _sources_of(frame, is_source)
    alike = _sources_of(frame * N_CLASSES + labels.category_id, is_source)
    azimuth, elevation = region_peak_direction(labels)
    moving, phase = _tracks(labels, azimuth, elevation)
    distance = np.digitize(labels.distance_cm, _DISTANCES_CM)
    known = ~np.isnan(labels.distance_cm)
    names = np.array([*_DISTANCE_NAMES, "not given"], dtype=object)
    heights = np.array([*_ELEVATION_NAMES, "no points"], dtype=object)
    height = np.where(np.isnan(elevation), len(_ELEVATION_NAMES), np.digitize(elevation, _ELEVATIONS_DEG))
    values = {
        "polyphony": _polyphony(sources),
        "distance": names[np.where(known, distance, len(_DISTANCE_NAMES))],
        "elevation": heights[height],
        "movement": np.where(moving, "moving", "still").astype(object),
        "phase": np.array(["onset", "body", "end"], dtype=object)[phase],
        "overlap": np.where(alike > 1, "others of its class", "alone in its class").astype(object),
        "room": np.full(n, room_of(scores.recording), dtype=object),
        "recording": np.full(n, scores.recording, dtype=object),
        "split": np.full(n, split or "none", dtype=object),
    }
    maps = cached_maps_0630(labels, use_cache=use_cache)
    row = maps.pixels.astype(np.int64) // MAP_WIDTH
    assert N_PIXELS == MAP_WIDTH * MAP_HEIGHT
    share = np.cos(np.deg2rad(90.0 - row * (180.0 / MAP_HEIGHT))) * (180.0 / MAP_HEIGHT) ** 2
    owner = np.repeat(np.arange(n), np.diff(maps.offsets))
    size = np.bincount(owner, weights=np.maximum(share, 0), minlength=n).astype(np.float64)
    offsets = annotation_point_offsets(labels)
    total = np.concatenate([[0.0], np.cumsum(labels.energy)])
    energy = total[offsets[1:]] - total[offsets[:-1]]
    return SlicedRecording(scores, values, size, energy, _owners(labels, predictions, scores, azimuth, elevation))


def _sources_of(group: Int64, is_source: Bool) -> Int64:
    """Sources in the group of each label."""
    _, place = np.unique(group, return_inverse=True)
    return np.bincount(place[is_source], minlength=1)[place] if len(group) else np.zeros(0, np.int64)


def _polyphony(sources: Int64) -> npt.NDArray[np.object_]:
    return np.array(_POLYPHONY_NAMES, dtype=object)[np.minimum(sources, len(_POLYPHONY_NAMES)) - 1]


def _tracks(labels: AnnotationTable, azimuth: Float64, elevation: Float64) -> tuple[Bool, Int64]:
    """Whether each label's source moves, and its phase: 0 onset, 1 body, 2 end of an event without a pause."""
    n = len(labels)
    moving, phase = np.zeros(n, np.bool_), np.ones(n, np.int64)
    order = np.lexsort((labels.frame, labels.instance_id, labels.category_id))
    if not n:
        return moving, phase
    category, instance, frames = labels.category_id[order], labels.instance_id[order], labels.frame[order]
    new = np.ones(n, np.bool_)
    new[1:] = (np.diff(category) != 0) | (np.diff(instance) != 0) | ~np.isin(np.diff(frames), (0, 1))
    starts = np.flatnonzero(new)
    vectors = directions_to_vectors(np.nan_to_num(azimuth), np.nan_to_num(elevation))[order]
    for start, stop in zip(starts.tolist(), [*starts[1:].tolist(), n], strict=True):
        frame = frames[start:stop].astype(np.int64)
        event = order[start:stop]
        phase[event] = np.where(frame - frame[0] < _PHASE_FRAMES, 0, np.where(frame[-1] - frame < _PHASE_FRAMES, 2, 1))
        # sums up to each label, so that a window is a difference
        total = np.concatenate([np.zeros((1, 3)), np.cumsum(vectors[start:stop], axis=0)])
        at = np.arange(stop - start)
        before = total[at] - total[np.maximum(at - _MOVING_FRAMES, 0)]
        after = total[np.minimum(at + 1 + _MOVING_FRAMES, stop - start)] - total[at + 1]
        lengths = np.linalg.norm(before, axis=1) * np.linalg.norm(after, axis=1)
        cosine = np.divide((before * after).sum(axis=1), lengths, out=np.ones(len(at)), where=lengths > 1e-9)
        moving[event] = np.degrees(np.arccos(np.clip(cosine, -1, 1))) > _MOVING_DEG
    return moving, phase


def _owners(
    labels: AnnotationTable,
    predictions: AnnotationTable,
    scores: RecordingScores,
    azimuth: Float64,
    elevation: Float64,
) -> Int64:
    """Label in whose slice each detection is."""
    owner = scores.detection_label.copy()
    free = np.flatnonzero(owner < 0)
    at, label = candidate_pairs(labels.frame.astype(np.int64), scores.detection_frame[free].astype(np.int64))
    found = scores.detection_index[free[at]]
    directions = [v[found] for v in region_peak_direction(predictions)]
    angle = np.nan_to_num(great_circle_deg(azimuth[label], elevation[label], *directions), nan=360.0)
    order = np.lexsort((label, angle, at))
    first = order[np.concatenate([[True], np.diff(at[order]) != 0])] if len(order) else order
    owner[free[at[first]]] = label[first]
    return owner


def restricted(scores: RecordingScores, labels: Bool, detections: Bool) -> RecordingScores:
    """Scores of some labels and detections of a recording.

    Parameters
    ----------
    scores : RecordingScores
    labels : bool, shape (n,)
        By annotation index of the label.
    detections : bool, shape (n_detections,)
        By position.
    """
    kept = labels[scores.label_index]
    pairs = labels[scores.pair_label]
    chosen: dict[str, Any] = {}
    for prefix, mask in (("detection_", detections), ("label_", kept), ("pair_", pairs)):
        for name in scores.__dataclass_fields__:
            if name.startswith(prefix):
                chosen[name] = getattr(scores, name)[mask]
    chosen["n_labels"] = np.bincount(chosen["label_category"], minlength=N_CLASSES)
    chosen["n_detections"] = np.bincount(chosen["detection_category"], minlength=N_CLASSES)
    return replace(scores, **chosen)


def sliced_scores(recordings: Sequence[SlicedRecording], attribute: Attribute) -> dict[str, list[RecordingScores]]:
    """Scores of each recording in each slice of an attribute; merged they are the whole (but for tags and views).

    Returns
    -------
    dict of str to list of RecordingScores
        By value, in its order; one per recording, also where nothing of it is in the slice.
    """
    if attribute in GROUPINGS:
        used = sorted({name for r in recordings for name in r.groups.get(attribute, ())}, key=str.casefold)
        if used and any(not r.groups.get(attribute) for r in recordings) and NO_GROUP not in used:
            used.append(NO_GROUP)
    else:
        used = sorted({str(v) for part in _values(recordings, attribute) for v in part.tolist()})
        used.sort(key=lambda value: _order(attribute, value))
        if any((part.owner < 0).any() for part in recordings):
            used.append(NO_LABEL)
    result: dict[str, list[RecordingScores]] = {}
    for value in used:
        parts = [
            restricted(recording.scores, *masks)
            for recording, masks in zip(recordings, _members(recordings, attribute, value), strict=True)
        ]
        if any(len(part) or len(part.label_index) for part in parts):
            result[value] = parts
    return result


def _members(recordings: Sequence[SlicedRecording], attribute: Attribute, value: str) -> list[tuple[Bool, Bool]]:
    """Labels (by annotation index) and detections (by position) of each recording in a slice."""
    masks: list[tuple[Bool, Bool]] = []
    if attribute in GROUPINGS:
        for recording in recordings:
            inside = value in (recording.groups.get(attribute) or (NO_GROUP,))
            masks.append((np.full(len(recording.size_deg2), inside), np.full(len(recording.owner), inside)))
        return masks
    for recording, of_label in zip(recordings, _values(recordings, attribute), strict=True):
        labels = np.asarray(of_label == value, dtype=np.bool_)
        # of a recording all is in one slice, frames without labels, too
        whole_recording = attribute in ("room", "recording", "split")
        alone = _of_recording(recording, attribute) if whole_recording else NO_LABEL
        of_detection = np.append(labels, False)[recording.owner]
        masks.append((labels, np.where(recording.owner >= 0, of_detection, alone == value)))
    return masks


def _of_recording(recording: SlicedRecording, attribute: Attribute) -> str:
    values = recording.label_values[attribute]
    return str(values[0]) if len(values) else NO_LABEL


def _values(recordings: Sequence[SlicedRecording], attribute: Attribute) -> list[npt.NDArray[np.object_]]:
    if attribute not in ATTRIBUTES:
        raise InputError(f"Unknown attribute {attribute!r}; use one of {', '.join((*ATTRIBUTES, *GROUPINGS))}.")
    if attribute not in ("size", "energy"):
        return [recording.label_values[attribute] for recording in recordings]
    sizes = [r.size_deg2 if attribute == "size" else r.energy for r in recordings]
    every = np.concatenate([np.zeros(0), *sizes])
    edges = np.quantile(every, [0.25, 0.5, 0.75]) if len(every) else np.zeros(3)
    return [np.array(_QUARTERS, dtype=object)[np.searchsorted(edges, size, side="left")] for size in sizes]


def _order(attribute: Attribute, value: str) -> tuple[int, str]:
    known: Mapping[str, Sequence[str]] = {
        "polyphony": _POLYPHONY_NAMES,
        "distance": (*_DISTANCE_NAMES, "not given"),
        "elevation": _ELEVATION_NAMES,
        "size": _QUARTERS,
        "energy": _QUARTERS,
        "phase": ("onset", "body", "end"),
    }
    order = list(known.get(attribute, ()))
    if value in order:
        return order.index(value), value
    return (int(value) if value.isdecimal() and len(value) < 9 else len(order)), value


def slices_of(
    recordings: Sequence[SlicedRecording],
    *,
    name: str = "",
    n_resamples: int = 200,
    seed: int = 0,
    progress: Progress = no_progress,
) -> Slices:
    """Figures of every slice of every attribute.

    Parameters
    ----------
    recordings : sequence of SlicedRecording
        Each once.
    name : str
        The system's.
    n_resamples : int
        Resamples of recordings for the intervals; 0 for none.
    seed : int
        Of the draws; the same for the whole set and each slice, so that losses are paired.
    progress : Progress
        Told after each slice; may raise CancelledError.
    """
    in_order = sorted(recordings, key=lambda r: r.scores.recording)
    whole = merge([r.scores for r in in_order])
    draws = _draws([r.scores for r in in_order], n_resamples, seed)
    found: list[SliceFigures] = []
    every: tuple[Attribute, ...] = (*ATTRIBUTES, *GROUPINGS)
    for k, attribute in enumerate(every):
        share = part_of(progress, k / len(every), (k + 1) / len(every))
        parts = sliced_scores(in_order, attribute)
        for j, (value, scores) in enumerate(parts.items()):
            share(j / len(parts), f"{attribute}: {value}")
            figures = _figures(attribute, value, scores, whole)
            if draws is not None and figures.n_labels and len(parts) > 1:
                figures = _with_intervals(figures, draws, _draws(scores, n_resamples, seed))
            found.append(figures)
    progress(1.0, "")
    return Slices(name, whole, tuple(found), n_resamples, tuple(in_order))


def _draws(scores: Sequence[RecordingScores], n: int, seed: int) -> BootstrapResult | None:
    return bootstrap(scores, n=n, seed=seed) if n and len(scores) > 1 else None


def _figures(attribute: str, value: str, scores: Sequence[RecordingScores], whole: Evaluation) -> SliceFigures:
    evaluation = merge(scores)
    column = int(np.argmin(np.abs(np.array(evaluation.thresholds) - 0.5)))
    n_found = sum(int(np.count_nonzero(s.detection_hit[:, column])) for s in scores)
    classes = [c for c in range(N_CLASSES) if not math.isnan(evaluation.per_class[c].mean_ap)]
    same = float(np.mean([whole.per_class[c].mean_ap for c in classes])) if classes else math.nan
    n_recordings = sum(1 for s in scores if len(s.label_index))
    return SliceFigures(attribute, value, evaluation, n_recordings, n_found, same, same - evaluation.macro.mean_ap)


def _with_intervals(figures: SliceFigures, whole: BootstrapResult, part: BootstrapResult | None) -> SliceFigures:
    if part is None:
        return figures
    column = len(part.evaluation.thresholds)
    difference = whole.per_class_map - part.per_class_map
    known = ~np.isnan(difference)
    count = known.sum(axis=1)
    loss = np.divide(
        np.where(known, difference, 0).sum(axis=1), count, out=np.full(len(count), np.nan), where=count > 0
    )
    map_low, map_high = _interval(part.macro[:, column])
    loss_low, loss_high = _interval(loss)
    return replace(figures, map_low=map_low, map_high=map_high, loss_low=loss_low, loss_high=loss_high)


def _interval(samples: Float64) -> tuple[float, float]:
    known = samples[~np.isnan(samples)]
    if not len(known):
        return math.nan, math.nan
    low, high = np.percentile(known, [2.5, 97.5])
    return float(low), float(high)


def slices_of_files(
    scores: Sequence[RecordingScores],
    labels: Mapping[str, Path],
    predictions: Mapping[str, Path],
    *,
    name: str = "",
    splits: Mapping[str, str] | None = None,
    groups: Mapping[str, Groups] | None = None,
    n_resamples: int = 200,
    seed: int = 0,
    use_cache: bool = True,
    progress: Progress = no_progress,
) -> Slices:
    """Slices of recordings that are scored already.

    Parameters
    ----------
    scores : sequence of RecordingScores
    labels, predictions : mapping of str to Path
        Their files by recording name.
    splits : mapping of str to str, optional
        Split of each recording; by default the name of the folder of its labels.
    groups : mapping of str to mapping, optional
        Tags and views that each recording is in.
    name, n_resamples, seed, progress
        As :func:`slices_of`.
    use_cache : bool
        Read annotations and label maps through their caches.

    Raises
    ------
    InputError
        A file that cannot be read.
    """
    recordings = []
    for k, part in enumerate(sorted(scores, key=lambda s: s.recording)):
        progress(0.3 * k / len(scores), f"{part.recording}: sorting labels")
        tables = read_pair(
            labels[part.recording],
            predictions[part.recording],
            recording=part.recording,
            revision=part.revision,
            use_cache=use_cache,
        )
        split = labels[part.recording].parent.name if splits is None else splits.get(part.recording, "")
        sliced = slice_recording(*tables, scores=part, split=split, use_cache=use_cache)
        recordings.append(replace(sliced, groups=(groups or {}).get(part.recording, {})))
    return slices_of(recordings, name=name, n_resamples=n_resamples, seed=seed, progress=part_of(progress, 0.3, 1.0))


_COLUMNS: Final[tuple[Column, ...]] = (
    Column("n_labels", "Labels", 0),
    Column("n_recordings", "Recordings", 0, help="With labels in the slice."),
    Column("found", "Found", 3, help="Share of the labels that a detection reaches at IoU 0.5."),
    Column("mAP", "mAP", 4, help="Macro: over the classes with labels in the slice."),
    Column("mAP_low", "95 % from", 4),
    Column("mAP_high", "to", 4),
    Column("pearson_r", "Pearson r", 4),
    Column("same_classes", "Whole", 4, help="Macro mAP of the whole set on the classes of the slice."),
    Column("loss", "Loss", 4, help="Whole less slice."),
    Column("loss_low", "95 % from", 4, help="Lower bound of the loss."),
    Column("loss_high", "to", 4),
)


def slices_table(slices: Slices, chosen: Sequence[SliceFigures] | None = None, *, title: str = "slices") -> Table:
    """Slices in rows, all of them or some."""
    parts = slices.slices if chosen is None else tuple(chosen)
    rows = [
        [
            part.n_labels,
            part.n_recordings,
            part.n_found / part.n_labels if part.n_labels else math.nan,
            part.evaluation.macro.mean_ap,
            part.map_low,
            part.map_high,
            part.evaluation.macro.pearson_r,
            part.same_classes,
            part.loss,
            part.loss_low,
            part.loss_high,
        ]
        for part in parts
    ]
    note = (
        "Detections without a label are in the slice of the nearest label of their frame. Loss: the whole set's mAP on "
    )
    note += "the classes of the slice, less the slice's."
    several = [name for name in GROUPINGS if any(part.attribute == name for part in parts)]
    if several:
        note += (
            f" By {' and '.join(several)}: a recording with two {' or '.join(f'{n}s' for n in several)} counts in both."
        )
    if slices.n_resamples:
        note += f" Intervals: paired bootstrap over recordings, {slices.n_resamples} resamples."
    return Table(
        f"{slices.name} · {title} · revision {slices.whole.revision}",
        note,
        "Slice",
        tuple(f"{part.attribute}: {part.value}" for part in parts),
        _MEASURED * len(parts),
        _COLUMNS,
        np.array(rows, dtype=np.float64).reshape(len(parts), len(_COLUMNS)),
    )


def worst_table(slices: Slices, *, min_labels: int = MIN_LABELS) -> Table:
    """The slices that surely lose, the surest loss first."""
    table = slices_table(slices, slices.worst(min_labels=min_labels), title="worst slices")
    return replace(
        table,
        note=f"At least {min_labels} labels in {MIN_RECORDINGS} recordings or more; lower bound of the loss above 0.",
    )


def slice_moments(
    results: Sequence[RecordingResult], slices: Slices, attribute: Attribute, value: str
) -> drilldown.Moments:
    """What the whole set's macro mAP loses in one slice, what costs most first.

    Parameters
    ----------
    results : sequence of RecordingResult
        Those that the slices were made of.
    slices : Slices
    attribute, value : str
        The slice.
    """
    moments = drilldown.ap_moments(results, row="macro")
    labels, detections = set(), set()
    members = _members(slices.recordings, attribute, value)
    for recording, (of_label, of_detection) in zip(slices.recordings, members, strict=True):
        name = recording.scores.recording
        labels |= {(name, k) for k in np.flatnonzero(of_label).tolist()}
        detections |= {(name, k) for k in recording.scores.detection_index[of_detection].tolist()}
    rows = zip(moments.recording.tolist(), moments.label.tolist(), moments.prediction.tolist(), strict=True)
    kept = [(name, p) in detections if p >= 0 else (name, label) in labels for name, label, p in rows]
    return moments.take(np.array(kept, dtype=np.bool_))
