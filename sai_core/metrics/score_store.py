"""Scores of whole systems, one recording at a time, each kept until one of its two files changes.

What is kept of a recording is everything that tables, curves and links to frames are made of: the official scores, the
matches by direction, label energies. Adding a system, or a recording, therefore computes that one only. Files lie
under ``cache_root()/scores``; one that is damaged or cannot be written only costs time.
"""

from __future__ import annotations

import contextlib
import hashlib
import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from functools import cached_property
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from sai_core.annotations.reading import read_annotations
from sai_core.annotations.table import AnnotationTable
from sai_core.errors import CancelledError, InputError, SaiError
from sai_core.files import atomic_write, cache_root, file_signature
from sai_core.metrics.diagnostics import (
    PairErrors,
    PrecisionRecallCurve,
    matched_class_f1,
    pair_errors,
    precision_recall_curve,
)
from sai_core.metrics.directions import annotation_point_offsets
from sai_core.metrics.evaluation import (
    MAX_SUBMISSION_BYTES,
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
    load_scores,
    merge,
    save_scores,
)
from sai_core.progress import Progress, no_progress

Float64 = npt.NDArray[np.float64]

_FORMAT: Final[int] = 2
"""Raise when scores or what is kept of them change."""

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
    """Results by the signatures of their files; in memory and on disk, for several threads."""

    def __init__(self, *, use_disk: bool = True) -> None:
        self._use_disk = use_disk
        self._items: OrderedDict[str, RecordingResult | RecordingScores] = OrderedDict()
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
        path = self._path(key)
        result = _load_result(path) if path is not None else None
        if result is None:
            labels, predictions = _tables(label_path, prediction_path, recording, base)
            result = result_of_tables(labels, predictions, recording=recording, revision=base, progress=progress)
            if submission_bytes(prediction_path) > MAX_SUBMISSION_BYTES:
                result = replace(result, oversized=True)
            if path is not None:
                with contextlib.suppress(SaiError, OSError):
                    _save_result(result, path)
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
        path = self._path(key)
        scores = _load_scores(path) if path is not None else None
        if scores is None:
            labels, predictions = _tables(label_path, prediction_path, recording, base)
            scores = score_recordings(
                {recording: labels}, {recording: predictions}, revision=base, class_agnostic=True, progress=progress
            )[0]
            if path is not None:
                with contextlib.suppress(SaiError, OSError):
                    save_scores(scores, path)
        self._put(key, scores)
        return as_revision(scores, revision)

    def _path(self, key: str) -> Path | None:
        return cache_root() / "scores" / f"{key}.npz" if self._use_disk else None

    def _get(self, key: str) -> RecordingResult | RecordingScores | None:
        with self._lock:
            found = self._items.get(key)
            if found is not None:
                self._items.move_to_end(key)
            return found

    def _put(self, key: str, value: RecordingResult | RecordingScores) -> None:
        with self._lock:
            self._items[key] = value
            while len(self._items) > _MEMORY_ENTRIES:
                self._items.popitem(last=False)


def _key(kind: str, label_path: Path, prediction_path: Path, recording: str, revision: Revision) -> str:
    if revision not in REVISIONS:
        raise InputError(f"Unknown revision {revision!r}; use one of {', '.join(REVISIONS)}.")
    # one matching serves all revisions of the soft metric
    parts = (
        _FORMAT,
        kind,
        base_revision(revision),
        recording,
        file_signature(label_path),
        file_signature(prediction_path),
    )
    return hashlib.blake2b(repr(parts).encode(), digest_size=16).hexdigest()


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


_ARRAYS: Final[tuple[str, ...]] = ("label_energy", "prediction_score", "oversized")


def _save_result(result: RecordingResult, path: Path) -> None:
    columns: dict[str, npt.NDArray[np.generic]] = {name: np.asarray(getattr(result, name)) for name in _ARRAYS}
    for side in ("across", "within"):
        matches = getattr(result, side)
        columns |= {f"{side}.{f.name}": np.asarray(getattr(matches, f.name)) for f in fields(SpatialMatches)}
    save_scores(result.scores, path.with_suffix(".scores.npz"))
    with atomic_write(path) as stream:
        np.savez_compressed(stream, **columns)  # type: ignore[arg-type]


def _load_result(path: Path) -> RecordingResult | None:
    """Result of a file of the cache, or None where it is absent, damaged or of another version."""
    scores = _load_scores(path.with_suffix(".scores.npz"))
    if scores is None:
        return None
    try:
        with np.load(path, allow_pickle=False) as archive:
            matches = []
            for side in ("across", "within"):
                columns = {f.name: archive[f"{side}.{f.name}"] for f in fields(SpatialMatches)}
                matches.append(SpatialMatches(**{**columns, "recording": str(columns["recording"])}))
            energy, score, oversized = (archive[name] for name in _ARRAYS)
    except Exception:  # whatever is wrong with a cache file, it is made anew
        return None
    if len(energy) <= scores.label_index.max(initial=-1) or len(score) <= scores.detection_index.max(initial=-1):
        return None
    return RecordingResult(scores.recording, scores, matches[0], matches[1], energy, score, bool(oversized))


def _load_scores(path: Path) -> RecordingScores | None:
    try:
        return load_scores(path)
    except InputError:
        return None


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
