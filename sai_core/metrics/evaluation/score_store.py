"""Results of recordings, each kept for as long as its two files hold the same bytes.

What is kept of a recording is everything that tables, curves and links to frames are made of: the official scores, the
matches by direction, label energies. Adding a system, or a recording, therefore computes that one only. Kept in
memory and in the cache (:mod:`sai_core.cache`, namespace ``scores``).
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, fields, replace
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
from sai_core.errors import InputError
from sai_core.metrics.evaluation.evaluate import score_recording, score_recordings, submission_bytes
from sai_core.metrics.evaluation.matching import SpatialMatches, spatial_matches
from sai_core.metrics.evaluation.scores import RecordingScores, as_revision
from sai_core.metrics.official.directions import annotation_point_offsets
from sai_core.metrics.official.revisions import REVISIONS, Revision, base_revision, is_soft
from sai_core.progress import Progress, no_progress, part_of

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
