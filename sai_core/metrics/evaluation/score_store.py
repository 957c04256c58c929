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
from sai_core.annotations.table import AnnotationTable, point_blocks
from sai_core.annotations.writing import MAX_SUBMISSION_BYTES
from sai_core.cache import Cache, content_of, key_of
from sai_core.entry_file import Entry
from sai_core.errors import InputError
from sai_core.metrics.evaluation.matching import SpatialMatches, spatial_matches
from sai_core.metrics.evaluation.oracles import OracleColumns, Overlaps, RecordingOracle
from sai_core.metrics.evaluation.recording import score_recording, submission_bytes
from sai_core.metrics.evaluation.scores import RecordingScores, as_revision
from sai_core.metrics.official.directions import annotation_point_offsets
from sai_core.metrics.official.revisions import REVISIONS, Revision, base_revision, is_soft
from sai_core.progress import Progress, no_progress, part_of

Float64 = npt.NDArray[np.float64]
Container = TypeVar("Container", RecordingScores, SpatialMatches)

_cache: Final = Cache("scores", 3)
"""Its version is to be raised when scores, or what is kept of them, change."""

_oracle_cache: Final = Cache("oracles", 2)
"""Overlaps of changed predictions; its version is to be raised when a kind of error, or rendering, changes."""

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
    sums = np.zeros(len(table))
    for rows, points in point_blocks(table):
        filled = rows.start + np.flatnonzero(np.diff(offsets[rows.start : rows.stop + 1]))
        if len(filled):
            sums[filled] = np.add.reduceat(table.energy_of(points), offsets[filled] - points.start)
    return sums


class ScoreStore:
    """Results by the content of their files; in memory and in the cache, for several threads.

    Parameters
    ----------
    use_disk : bool
        Keep them in the cache.
    memory_entries : int
        Recordings kept in memory; 0 for none.
    """

    def __init__(self, *, use_disk: bool = True, memory_entries: int = _MEMORY_ENTRIES) -> None:
        self._use_disk = use_disk
        self._items: LRUCache[str, RecordingResult | RecordingScores] = LRUCache(memory_entries)
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
        result = self._known(key)
        if result is None:
            labels, predictions = read_pair(label_path, prediction_path, recording=recording, revision=base)
            result = result_of_tables(labels, predictions, recording=recording, revision=base, progress=progress)
            if submission_bytes(prediction_path) > MAX_SUBMISSION_BYTES:
                result = replace(result, oversized=True)
            if self._use_disk:
                _save_result(key, result)
            self._put(key, result)
        return _judged(result, revision)

    def find(
        self, label_path: Path, prediction_path: Path, *, recording: str, revision: Revision
    ) -> RecordingResult | None:
        """Result of one recording if it is known; None where it would have to be computed.

        Raises
        ------
        InputError
            A file that cannot be read, to be known by its content.
        """
        result = self._known(_key("result", label_path, prediction_path, recording, revision))
        return None if result is None else _judged(result, revision)

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
            labels, predictions = read_pair(label_path, prediction_path, recording=recording, revision=base)
            labels, predictions = (replace(t, category_id=np.zeros(len(t), np.int16)) for t in (labels, predictions))
            scores = score_recording(labels, predictions, recording=recording, revision=base, progress=progress)
            if self._use_disk:
                _cache.put(key, _columns(scores, "scores"), _facts(scores))
        self._put(key, scores)
        return as_revision(scores, revision)

    def _known(self, key: str) -> RecordingResult | None:
        found = self._get(key)
        if isinstance(found, RecordingResult):
            return found
        result = _load_result(key) if self._use_disk else None
        if result is not None:
            self._put(key, result)
        return result

    def oracle(self, label_path: Path, prediction_path: Path, *, recording: str, revision: Revision) -> RecordingOracle:
        """A recording whose errors can be put right; what was rendered for it before is not rendered again.

        :meth:`keep_oracle` keeps what it has rendered since.

        Raises
        ------
        InputError
            As :meth:`result`; also for revision 2026-04-02, whose matching is another.
        """
        if not is_soft(revision):
            raise InputError(f"Errors are put right by the soft matching, which revision {revision} does not have.")
        key = _key("oracle", label_path, prediction_path, recording, revision)
        entry = _oracle_cache.get(key) if self._use_disk else None

        def tables() -> tuple[AnnotationTable, AnnotationTable]:
            return read_pair(label_path, prediction_path, recording=recording, revision=base_revision(revision))

        if entry is None:
            columns = OracleColumns.of(*tables())
            return RecordingOracle(recording, columns, tables, key=key, use_cache=self._use_disk)
        columns = OracleColumns(**{f.name: entry.arrays[f.name] for f in fields(OracleColumns)})
        overlaps = Overlaps(*(entry.arrays[f"overlaps.{f.name}"] for f in fields(Overlaps)))
        return RecordingOracle(recording, columns, tables, overlaps, key=key, use_cache=self._use_disk)

    @property
    def keeps_on_disk(self) -> bool:
        """Whether what is made here is found by other processes, too."""
        return self._use_disk

    def keep_oracle(self, oracle: RecordingOracle) -> None:
        """Keep what an oracle of :meth:`oracle` has rendered; nothing where it has rendered nothing."""
        if not self._use_disk or not oracle.has_rendered:
            return
        columns: dict[str, npt.NDArray[Any]] = {f.name: getattr(oracle.columns, f.name) for f in fields(OracleColumns)}
        columns |= {f"overlaps.{f.name}": getattr(oracle.overlaps, f.name) for f in fields(Overlaps)}
        _oracle_cache.put(oracle.key, columns)

    def _get(self, key: str) -> RecordingResult | RecordingScores | None:
        with self._lock:
            return self._items.get(key)

    def _put(self, key: str, value: RecordingResult | RecordingScores) -> None:
        with self._lock:
            if self._items.maxsize:
                self._items[key] = value


def _key(kind: str, label_path: Path, prediction_path: Path, recording: str, revision: Revision) -> str:
    if revision not in REVISIONS:
        raise InputError(f"Unknown revision {revision!r}; use one of {', '.join(REVISIONS)}.")
    # one matching serves all revisions of the soft metric
    return key_of(kind, base_revision(revision), recording, content_of(label_path), content_of(prediction_path))


def _judged(result: RecordingResult, revision: Revision) -> RecordingResult:
    return replace(result, scores=as_revision(result.scores, revision))


def read_pair(
    label_path: Path, prediction_path: Path, *, recording: str, revision: Revision, use_cache: bool = True
) -> tuple[AnnotationTable, AnnotationTable]:
    """Labels and predictions of a recording as they are scored: annotation indices of scores are rows of these.

    Parameters
    ----------
    label_path, prediction_path : Path
    recording : str
    revision : str
        The soft ones refuse coordinates beside the canvas.
    use_cache : bool
        Read through the cache of annotations.

    Raises
    ------
    InputError
        A file that cannot be read or breaks a rule of the revision.
    """
    strict = is_soft(revision)
    labels, predictions = (
        read_annotations(path, recording=recording, check_canvas=strict, unknown_classes="drop", use_cache=use_cache)
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
