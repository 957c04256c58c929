"""Figures of settings on stored raw detections, without rendering a region twice.

The pipeline's stages are cached by the settings they depend on (:mod:`sai_core.postprocess.pipeline`):

==================  =============================================  =======================================
what                kept for                                       how many
==================  =============================================  =======================================
final class, score  settings of the part "candidates"              the last 2 of each recording
tracks              ... and of "select"                            the last 8 of each recording
region maps, IoU,   a candidate and the settings of "export",      until the memory limit, least recently
Pearson r           of those that were ever paired with a label    used export settings first
figures             all settings                                   the last 8 of each recording
==================  =============================================  =======================================

A detection in a frame without a label of its class is a false positive whatever its region looks like, so it is never
rendered. The figures are those of export, write, read, evaluate to the last bit: the regions that are compared are the
exported ones, rounded as they are written, and pairs are assigned by the evaluator's own code.

Memory: raw detections and label regions stay memory-mapped. Rendered maps (some 0.5 kB a candidate) are dropped where
they exceed ``memory_bytes`` of the whole set, and rendered again if a new pair asks for them; what is known of a pair
(24 bytes) stays.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Final, TypeVar

import numpy as np
import numpy.typing as npt

from sai_core.annotations import AnnotationTable
from sai_core.annotations.dcase import DcaseMetadata
from sai_core.detections.raw import RawDetections
from sai_core.errors import InputError
from sai_core.metrics import Evaluation, Failure, RecordingScores, SparseMaps, merge, render_table_0630
from sai_core.metrics.evaluation.map_cache import cached_maps_0630
from sai_core.metrics.evaluation.recording import check_canvas
from sai_core.metrics.evaluation.scores import distance_ape, soft_hits
from sai_core.metrics.official.pairing_0630 import candidate_pairs, group_keys, optimal_pairs
from sai_core.postprocess import (
    Candidates,
    PipelineSettings,
    Regions,
    Tracks,
    annotate,
    candidates,
    choose_best_classes,
    prepare,
    regions_of,
    select_tracks,
)
from sai_core.progress import Progress, no_progress
from sai_core.taxonomy import N_CLASSES
from sai_core.tuning.regions import RegionScores

Value = TypeVar("Value")

MEMORY_BYTES: Final[int] = 512 << 20
"""Rendered maps of a whole set: a million candidates."""


class _Recent:
    """The last few values by key."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._values: OrderedDict[Hashable, object] = OrderedDict()

    def get(self, key: Hashable, build: Callable[[], Value]) -> Value:
        if key in self._values:
            self._values.move_to_end(key)
        else:
            self._values[key] = build()
            while len(self._values) > self._limit:
                self._values.popitem(last=False)
        return self._values[key]  # type: ignore[return-value]


class TuningRecording:
    """Raw detections and labels of one recording, with everything that is computed once.

    Parameters
    ----------
    raw : RawDetections
    labels : AnnotationTable
        Coordinates on the label grid.
    teacher : DcaseMetadata, optional
        Output of a DCASE system, for systems with a teacher.
    memory_bytes : int
        Rendered maps that may be kept.
    use_cache : bool
        Keep the rendered label maps on disk.
    progress : Progress
        Told while labels are rendered that are not in the cache.

    Raises
    ------
    InputError
        Label coordinates outside the canvas.
    """

    def __init__(
        self,
        raw: RawDetections,
        labels: AnnotationTable,
        *,
        teacher: DcaseMetadata | None = None,
        memory_bytes: int = MEMORY_BYTES,
        use_cache: bool = True,
        progress: Progress = no_progress,
    ) -> None:
        check_canvas(labels, f"{labels.recording} (labels)")
        self.name = raw.recording
        self.n_frames = raw.n_frames
        self.labels = labels
        self.prepared = prepare(raw, teacher=teacher)
        self._label_maps = cached_maps_0630(labels, use_cache=use_cache, progress=progress)
        self._label_keys = group_keys(labels)
        self._memory_bytes = memory_bytes
        self._candidates, self._tracks, self._scores = _Recent(2), _Recent(8), _Recent(8)
        self._regions: OrderedDict[Hashable, RegionScores] = OrderedDict()
        # sessions of the app share a recording; caches of one recording are filled by one thread at a time
        self._lock = threading.RLock()

    @property
    def nbytes(self) -> int:
        """Memory of rendered maps and compared pairs, in bytes."""
        return sum(regions.nbytes for regions in self._regions.values())

    @property
    def n_rendered(self) -> int:
        """Regions whose maps are kept, of all export settings together."""
        return sum(regions.n_rendered for regions in self._regions.values())

    def candidates(self, settings: PipelineSettings) -> Candidates:
        """Every candidate with its final class and score."""
        with self._lock:
            return self._candidates.get(settings.part("candidates"), lambda: candidates(self.prepared, settings))

    def tracks(self, settings: PipelineSettings) -> Tracks:
        """What is kept, linked over time; ``detection`` holds rows of the raw store."""
        with self._lock:
            key = settings.part("candidates", "select")
            return self._tracks.get(key, lambda: select_tracks(self.candidates(settings), settings))

    def scores(self, settings: PipelineSettings) -> RecordingScores:
        """What the evaluator of 2026-06-30 finds in the exported recording."""
        with self._lock:
            key = settings.part("candidates", "select", "export")
            return self._scores.get(key, lambda: self._score(settings))

    def table(self, settings: PipelineSettings) -> AnnotationTable:
        """The exported annotations of the whole recording."""
        return self._export(settings, self.tracks(settings))

    def frame_table(self, settings: PipelineSettings, frame: int) -> tuple[AnnotationTable, npt.NDArray[np.int64]]:
        """Exported annotations of one frame, and the candidate that each of them shows."""
        tracks = self.tracks(settings)
        tracks = tracks.take(tracks.frame == frame)
        return self._export(settings, tracks), tracks.detection

    def region_table(self, settings: PipelineSettings, rows: npt.NDArray[np.int64]) -> AnnotationTable:
        """Regions of some candidates (rows, rising) as they would be exported, each in its own frame."""
        chosen_from = self.candidates(settings)
        n = len(rows)
        tracks = Tracks(
            chosen_from.detections.frame[rows],
            np.arange(n),
            rows,
            np.zeros(n),
            np.zeros(n, dtype=bool),
            np.ones(n, dtype=np.int64),
        )
        return self._export(settings, tracks)

    def _export(self, settings: PipelineSettings, tracks: Tracks) -> AnnotationTable:
        chosen_from = self.candidates(settings)
        regions = regions_of(chosen_from, np.unique(tracks.detection), settings)
        return annotate(chosen_from, tracks, regions, recording=self.name, settings=settings)

    def _score(self, settings: PipelineSettings) -> RecordingScores:
        tracks, chosen_from = self.tracks(settings), self.candidates(settings)
        # all columns of the exported table but its points
        rows = np.unique(tracks.detection)
        n = len(rows)
        pointless = Regions(rows, np.arange(n + 1), np.zeros(n + 1, dtype=np.int64), np.zeros((0, 2)), np.zeros(0))
        table = annotate(chosen_from, tracks, pointless, recording=self.name, settings=settings)

        keys, labels = group_keys(table), self.labels
        prediction, label = candidate_pairs(self._label_keys, keys)
        likeness = self._region_scores(settings)
        pair_iou, pair_pearson = likeness.pairs(tracks.detection[prediction], label)
        chosen = optimal_pairs(prediction, keys[prediction], pair_iou)
        self._forget(likeness)
        prediction, label, pair_iou = prediction[chosen], label[chosen], pair_iou[chosen]

        n = len(table)
        assigned, iou = np.full(n, -1, dtype=np.int64), np.zeros(n)
        assigned[prediction], iou[prediction] = label, pair_iou
        return RecordingScores(
            recording=self.name,
            revision="2026-06-30",
            n_labels=np.bincount(labels.category_id, minlength=N_CLASSES),
            n_detections=np.bincount(table.category_id, minlength=N_CLASSES),
            detection_frame=table.frame,
            detection_category=table.category_id,
            detection_index=np.arange(n),
            detection_score=table.score,
            detection_iou=iou,
            detection_label=assigned,
            detection_hit=soft_hits(iou, assigned, "2026-06-30"),
            label_frame=labels.frame,
            label_category=labels.category_id,
            label_index=np.arange(len(labels)),
            pair_frame=labels.frame[label],
            pair_category=labels.category_id[label],
            pair_label=label,
            pair_prediction=prediction,
            pair_pearson=pair_pearson[chosen],
            pair_distance_ape=distance_ape(labels.distance_cm[label], table.distance_cm[prediction]),
            notes_of_labels=labels.notes,
        )

    def _region_scores(self, settings: PipelineSettings) -> RegionScores:
        """Of these export settings; regions do not depend on any other setting."""
        key = settings.part("export")
        if key not in self._regions:

            def render(rows: npt.NDArray[np.int64]) -> SparseMaps:
                return render_table_0630(self.region_table(settings, rows))

            n = len(self.prepared.raw)
            self._regions[key] = RegionScores(self._label_maps, n, render)
        self._regions.move_to_end(key)
        return self._regions[key]

    def _forget(self, current: RegionScores) -> None:
        """Keep within the memory limit: other export settings go first, then the current maps."""
        while self.nbytes > self._memory_bytes and len(self._regions) > 1:
            self._regions.popitem(last=False)
        if self.nbytes > self._memory_bytes:
            current.drop_maps()


@dataclass(frozen=True, eq=False)
class TuningResult:
    """Figures of some settings over a set.

    Attributes
    ----------
    settings : PipelineSettings
        As given (``keep_classes = "best"`` is not replaced here).
    evaluation : Evaluation
        Of revision 2026-06-30.
    scores : tuple of RecordingScores
        What the figures are made of, in the order of the set.
    seconds : float
        How long it took.
    """

    settings: PipelineSettings
    evaluation: Evaluation
    scores: tuple[RecordingScores, ...]
    seconds: float

    @property
    def n_detections(self) -> int:
        """Detections kept, coasting frames included."""
        return self.evaluation.micro.n_detections


class TuningSet:
    """Recordings that are tuned together.

    Parameters
    ----------
    recordings : sequence of TuningRecording
        Each name once.
    failures : sequence of Failure
        Recordings that were wanted and could not be opened: no figure counts them.

    Raises
    ------
    InputError
        No recording, or a name twice.
    """

    def __init__(self, recordings: Sequence[TuningRecording], failures: Sequence[Failure] = ()) -> None:
        names = [r.name for r in recordings]
        if not names:
            raise InputError("There is no recording to tune on; choose raw detections with labels.")
        if len(set(names)) < len(names):
            raise InputError(f"{next(n for n in names if names.count(n) > 1)}: is in the set twice.")
        self.recordings = tuple(sorted(recordings, key=lambda r: r.name))
        self.failures = tuple(failures)
        self._best = _Recent(8)
        self._lock = threading.Lock()
        self._waiting = 0
        self._background = threading.local()

    def __len__(self) -> int:
        return len(self.recordings)

    @property
    def nbytes(self) -> int:
        """Memory of rendered maps and compared pairs, in bytes."""
        return sum(r.nbytes for r in self.recordings)

    def recording(self, name: str) -> TuningRecording:
        """One of the recordings.

        Raises
        ------
        InputError
            There is none of this name.
        """
        for recording in self.recordings:
            if recording.name == name:
                return recording
        raise InputError(f"{name}: is not in the set.")

    def resolved(self, settings: PipelineSettings) -> PipelineSettings:
        """Settings in which "the most reliable classes" are chosen, once for the whole set."""
        if settings.keep_classes != "best":
            return settings
        key = settings.part("candidates", "select")
        prepared = [r.prepared for r in self.recordings]
        with self._lock:
            found: PipelineSettings = self._best.get(key, lambda: choose_best_classes(prepared, settings))
        return replace(settings, keep_classes=found.keep_classes)

    def evaluate(self, settings: PipelineSettings, *, progress: Progress = no_progress) -> TuningResult:
        """Figures of settings over the whole set.

        Parameters
        ----------
        settings : PipelineSettings
        progress : Progress
            Told after each recording; may raise :class:`sai_core.errors.CancelledError`.

        Raises
        ------
        InputError
            Settings that ask for a teacher where there is none.
        """
        began = time.perf_counter()
        chosen = self.resolved(settings)
        scores = []
        for index, recording in enumerate(self.recordings):
            self._give_way()
            scores.append(recording.scores(chosen))
            progress((index + 1) / len(self.recordings), f"{index + 1} of {len(self.recordings)} recordings")
        evaluation = merge(scores)
        return TuningResult(settings, evaluation, tuple(scores), time.perf_counter() - began)

    @contextmanager
    def first(self) -> Iterator[None]:
        """While this lasts, work marked by :meth:`background` waits between recordings."""
        with self._lock:
            self._waiting += 1
        try:
            yield
        finally:
            with self._lock:
                self._waiting -= 1

    @contextmanager
    def background(self) -> Iterator[None]:
        """Mark this thread's work as less urgent than what runs under :meth:`first`."""
        self._background.on = True
        try:
            yield
        finally:
            self._background.on = False

    def _give_way(self) -> None:
        if getattr(self._background, "on", False):
            end = time.monotonic() + 10.0
            while self._waiting and time.monotonic() < end:
                time.sleep(0.005)


def detections_in_range(scores: RecordingScores, start: int, stop: int) -> RecordingScores:
    """Scores of the frames ``start <= frame < stop`` alone, for a recording that is split in time.

    Selection and assignment were those of the whole recording; tracks may reach over the border.
    """
    detection = (scores.detection_frame >= start) & (scores.detection_frame < stop)
    label = (scores.label_frame >= start) & (scores.label_frame < stop)
    pair = (scores.pair_frame >= start) & (scores.pair_frame < stop)
    return replace(
        scores,
        n_labels=np.bincount(scores.label_category[label], minlength=N_CLASSES),
        n_detections=np.bincount(scores.detection_category[detection], minlength=N_CLASSES),
        **{
            name: getattr(scores, name)[chosen]
            for prefix, chosen in (("detection_", detection), ("label_", label), ("pair_", pair))
            for name in vars(scores)
            if name.startswith(prefix)
        },
    )
