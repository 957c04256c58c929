"""Scores of whole systems, one recording at a time, each kept for as long as its two files hold the same bytes.

What is kept of a recording is everything that tables, curves and links to frames are made of: the official scores, the
matches by direction, label energies. Adding a system, or a recording, therefore computes that one only. Kept in
memory and in the cache (:mod:`sai_core.cache`, namespace ``scores``).
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Final, TypeVar

import msgspec
import numpy as np
import numpy.typing as npt
from cachetools import LRUCache

from sai_core.annotations.notes import FileNotes
from sai_core.annotations.reading import read_annotations
from sai_core.annotations.table import AnnotationTable
from sai_core.annotations.writing import MAX_SUBMISSION_BYTES
from sai_core.cache import Cache, content_of, key_of
from sai_core.entry_file import Entry
from sai_core.errors import CancelledError, InputError, SaiError
from sai_core.metrics.diagnostics import (
    PairErrors,
    PrecisionRecallCurve,
    matched_class_f1,
    pair_errors,
    precision_recall_curve,
)
from sai_core.metrics.directions import annotation_point_offsets
from sai_core.metrics.evaluation import (
    part_of,
    score_recording,
    score_recordings,
    submission_bytes,
)
from sai_core.metrics.matching import SpatialMatches, spatial_matches
from sai_core.metrics.scores import (
    REVISIONS,
    Evaluation,
    Figures,
    RecordingScores,
    Revision,
    as_revision,
    base_revision,
    is_soft,
    merge,
)
from sai_core.progress import Progress, no_progress

Float64 = npt.NDArray[np.float64]
Container = TypeVar("Container", RecordingScores, SpatialMatches)

_cache: Final = Cache("scores", 3)
"""Its version is to be raised when scores, or what is kept of them, change."""

_MEMORY_ENTRIES: Final[int] = 1024
"""Recordings kept in memory, of all systems together: some 100 kB each for a minute."""


@dataclass(frozen=True, eq=False)
class RecordingResult:
    """All that is kept of one recording of one system.

    Attributes
    ----------
    recording : str
    scores : RecordingScores
        By the official matching of a revision.
    across : SpatialMatches
        Paired by direction whatever the class: confusions.
    within : SpatialMatches
        Paired by direction within each class: errors of place.
    label_energy : float64, shape (n_labels,)
        Sum of the energies of each label's points; index = annotation index.
    prediction_score : float64, shape (n_predictions,)
        Score of each prediction; index = annotation index; 0 where the file has none.
    oversized : bool
        The prediction file is larger than the official evaluator of 2026-06-30 accepts.
    """

    recording: str
    scores: RecordingScores
    across: SpatialMatches
    within: SpatialMatches
    label_energy: Float64
    prediction_score: Float64
    oversized: bool = False


def result_of_tables(
    labels: AnnotationTable,
    predictions: AnnotationTable,
    *,
    recording: str | None = None,
    revision: Revision = "2026-06-30",
    use_cache: bool = True,
    progress: Progress = no_progress,
) -> RecordingResult:
    """Score one recording and keep what leads back to its frames; arguments as :func:`score_recording`.

    Raises
    ------
    InputError
        As :func:`sai_core.metrics.score_recording`.
    """
    name = labels.recording if recording is None else recording
    scores = score_recording(
        labels, predictions, recording=name, revision=revision, use_cache=use_cache, progress=part_of(progress, 0, 0.95)
    )
    across = replace(spatial_matches(labels, predictions), recording=name)
    within = replace(spatial_matches(labels, predictions, same_class=True), recording=name)
    return RecordingResult(
        name, scores, across, within, _energy_sums(labels), np.nan_to_num(predictions.score, nan=0.0)
    )


def _energy_sums(table: AnnotationTable) -> Float64:
    offsets = annotation_point_offsets(table)
    total = np.concatenate([[0.0], np.cumsum(table.energy[: offsets[-1]] if len(table) else [])])
    return total[offsets[1:]] - total[offsets[:-1]]


class ScoreStore:
    """Results by the content of their files; in memory and in the cache, for several threads."""

    def __init__(self, *, use_disk: bool = True) -> None:
        self._use_disk = use_disk
        self._items: LRUCache[str, RecordingResult | RecordingScores] = LRUCache(_MEMORY_ENTRIES)
        self._lock = threading.Lock()

    def result(
        self,
        label_path: Path,
        prediction_path: Path,
        *,
        recording: str,
        revision: Revision,
        progress: Progress = no_progress,
    ) -> RecordingResult:
        """Result of one recording, computed at the first call.

        Prediction files above 20 MB are scored all the same, and marked.

        Raises
        ------
        InputError
            A file that cannot be read or breaks a rule of the revision.
        """
        key = _key("result", label_path, prediction_path, recording, revision)
        base = base_revision(revision)
        found = self._get(key)
        if isinstance(found, RecordingResult):
            return _judged(found, revision)
        result = _load_result(key) if self._use_disk else None
        if result is None:
            labels, predictions = _tables(label_path, prediction_path, recording, base)
            result = result_of_tables(labels, predictions, recording=recording, revision=base, progress=progress)
            if submission_bytes(prediction_path) > MAX_SUBMISSION_BYTES:
                result = replace(result, oversized=True)
            if self._use_disk:
                _save_result(key, result)
        self._put(key, result)
        return _judged(result, revision)

    def class_agnostic(
        self,
        label_path: Path,
        prediction_path: Path,
        *,
        recording: str,
        revision: Revision,
        progress: Progress = no_progress,
    ) -> RecordingScores:
        """Scores of one recording with all classes merged into class 0, computed at the first call.

        Raises
        ------
        InputError
            As :meth:`result`.
        """
        key = _key("agnostic", label_path, prediction_path, recording, revision)
        found = self._get(key)
        base = base_revision(revision)
        if isinstance(found, RecordingScores):
            return as_revision(found, revision)
        entry = _cache.get(key) if self._use_disk else None
        scores = None if entry is None else _container(RecordingScores, entry, "scores")
        if scores is None:
            labels, predictions = _tables(label_path, prediction_path, recording, base)
            scores = score_recordings(
                {recording: labels}, {recording: predictions}, revision=base, class_agnostic=True, progress=progress
            )[0]
            if self._use_disk:
                _cache.put(key, _columns(scores, "scores"), _facts(scores))
        self._put(key, scores)
        return as_revision(scores, revision)

    def _get(self, key: str) -> RecordingResult | RecordingScores | None:
        with self._lock:
            return self._items.get(key)

    def _put(self, key: str, value: RecordingResult | RecordingScores) -> None:
        with self._lock:
            self._items[key] = value


def _key(kind: str, label_path: Path, prediction_path: Path, recording: str, revision: Revision) -> str:
    if revision not in REVISIONS:
        raise InputError(f"Unknown revision {revision!r}; use one of {', '.join(REVISIONS)}.")
    # one matching serves all revisions of the soft metric
    return key_of(kind, base_revision(revision), recording, content_of(label_path), content_of(prediction_path))


def _judged(result: RecordingResult, revision: Revision) -> RecordingResult:
    return replace(result, scores=as_revision(result.scores, revision))


def _tables(
    label_path: Path, prediction_path: Path, recording: str, revision: Revision
) -> tuple[AnnotationTable, AnnotationTable]:
    strict = is_soft(revision)
    labels, predictions = (
        read_annotations(path, recording=recording, check_canvas=strict, unknown_classes="drop")
        for path in (label_path, prediction_path)
    )
    return labels, predictions


def _columns(container: RecordingScores | SpatialMatches, prefix: str) -> dict[str, npt.NDArray[Any]]:
    values = {f"{prefix}.{f.name}": getattr(container, f.name) for f in fields(container)}
    return {name: value for name, value in values.items() if isinstance(value, np.ndarray)}


def _container(kind: type[Container], entry: Entry, prefix: str) -> Container:
    values: dict[str, Any] = {"recording": entry.facts["recording"]}
    if kind is RecordingScores:
        values["revision"] = entry.facts["revision"]
        for name in ("notes_of_labels", "notes_of_predictions"):
            values[name] = msgspec.convert(entry.facts[name], FileNotes)
    columns = [f.name for f in fields(kind) if f.name not in values]
    values |= {name: entry.arrays[f"{prefix}.{name}"] for name in columns}
    return kind(**values)


def _facts(scores: RecordingScores) -> dict[str, object]:
    return {
        "recording": scores.recording,
        "revision": scores.revision,
        "notes_of_labels": msgspec.to_builtins(scores.notes_of_labels),
        "notes_of_predictions": msgspec.to_builtins(scores.notes_of_predictions),
    }


def _save_result(key: str, result: RecordingResult) -> None:
    columns: dict[str, npt.NDArray[Any]] = {
        "label_energy": result.label_energy,
        "prediction_score": result.prediction_score,
    }
    for name in ("scores", "across", "within"):
        columns |= _columns(getattr(result, name), name)
    _cache.put(key, columns, {**_facts(result.scores), "oversized": result.oversized})


def _load_result(key: str) -> RecordingResult | None:
    entry = _cache.get(key)
    if entry is None:
        return None
    return RecordingResult(
        entry.facts["recording"],
        _container(RecordingScores, entry, "scores"),
        _container(SpatialMatches, entry, "across"),
        _container(SpatialMatches, entry, "within"),
        entry.arrays["label_energy"],
        entry.arrays["prediction_score"],
        entry.facts["oversized"],
    )


@dataclass(frozen=True, eq=False)
class SystemResult:
    """One system on a set of recordings.

    Attributes
    ----------
    name : str
        Of the prediction set.
    revision : str
        Evaluator.
    results : tuple of RecordingResult
        Sorted by recording.
    problems : tuple of str
        Recordings that could not be scored, one sentence each.
    """

    name: str
    revision: Revision
    results: tuple[RecordingResult, ...]
    problems: tuple[str, ...] = ()

    @cached_property
    def evaluation(self) -> Evaluation:
        """Official figures."""
        warnings = []
        large = [r.recording for r in self.results if r.oversized]
        if large and is_soft(self.revision):
            files = "1 prediction file is" if len(large) == 1 else f"{len(large)} prediction files are"
            warnings.append(
                f"{files} over 20 MB ({large[0]}{', ...' if len(large) > 1 else ''}), which the official evaluator "
                "refuses; the figures are what it would give without that limit."
            )
        return merge(self.scores, revision=self.revision, warnings=warnings)

    @property
    def scores(self) -> list[RecordingScores]:
        """Official scores of each recording."""
        return [r.scores for r in self.results]

    @property
    def recordings(self) -> tuple[str, ...]:
        """Names of the recordings."""
        return tuple(r.recording for r in self.results)

    @cached_property
    def errors_of_place(self) -> tuple[tuple[PairErrors, ...], PairErrors]:
        """Angle and distance errors of pairs of one class within 20 degrees: per class, and of all pairs."""
        return pair_errors([r.within for r in self.results])

    @cached_property
    def class_f1(self) -> tuple[float, Float64]:
        """Matched-class F1: macro, and per class."""
        return matched_class_f1([r.across for r in self.results])

    @cached_property
    def _curves(self) -> dict[tuple[float, int | None], PrecisionRecallCurve]:
        return {}

    def curve(self, *, threshold: float = 0.5, category_id: int | None = None) -> PrecisionRecallCurve:
        """Precision-recall curve (:func:`sai_core.metrics.precision_recall_curve`), computed at the first call."""
        key = (threshold, category_id)
        if key not in self._curves:
            self._curves[key] = precision_recall_curve(self.scores, threshold=threshold, category_id=category_id)
        return self._curves[key]

    def only(self, recordings: frozenset[str] | set[str]) -> SystemResult:
        """The same system on some of its recordings."""
        return replace(self, results=tuple(r for r in self.results if r.recording in recordings))


def score_system(
    store: ScoreStore,
    name: str,
    labels: Mapping[str, Path],
    predictions: Mapping[str, Path],
    *,
    revision: Revision = "2026-06-30",
    progress: Progress = no_progress,
) -> SystemResult:
    """Score the recordings that have both labels and predictions; what is in the store is not computed again.

    Parameters
    ----------
    store : ScoreStore
    name : str
        The system's.
    labels, predictions : mapping of str to Path
        Files by recording name.
    revision : str
        One of :data:`sai_core.metrics.REVISIONS`.
    progress : Progress
        Told after each recording and within it; may raise CancelledError.

    Returns
    -------
    SystemResult
        A recording whose files cannot be scored is left out and told in ``problems``.
    """
    names = sorted(set(labels) & set(predictions))
    results, problems = [], []
    for recording, share in _shares(names, progress):
        try:
            results.append(
                store.result(
                    labels[recording], predictions[recording], recording=recording, revision=revision, progress=share
                )
            )
        except CancelledError:
            raise
        except SaiError as error:
            problems.append(str(error))
        share(1.0, "")
    return SystemResult(name, revision, tuple(results), tuple(problems))


def class_agnostic_of_system(
    store: ScoreStore,
    system: SystemResult,
    labels: Mapping[str, Path],
    predictions: Mapping[str, Path],
    *,
    progress: Progress = no_progress,
) -> Figures | None:
    """Figures of a system with all classes merged (:func:`sai_core.metrics.class_agnostic_figures`), from the store.

    Returns
    -------
    Figures or None
        None for a system without recordings.
    """
    scores = []
    for recording, share in _shares(list(system.recordings), progress):
        scores.append(
            store.class_agnostic(
                labels[recording],
                predictions[recording],
                recording=recording,
                revision=system.revision,
                progress=share,
            )
        )
        share(1.0, "")
    return replace(merge(scores).per_class[0], name="all classes") if scores else None


def _shares(names: list[str], progress: Progress) -> list[tuple[str, Progress]]:
    def share(k: int, name: str) -> Progress:
        inner: Callable[[float, str], None] = part_of(progress, k / len(names), (k + 1) / len(names))

        def report(fraction: float, message: str) -> None:
            inner(fraction, f"{name} ({k + 1} of {len(names)})")

        return report

    return [(name, share(k, name)) for k, name in enumerate(names)]
