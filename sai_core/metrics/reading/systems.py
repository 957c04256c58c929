"""Whole systems: the results of their recordings, scored where the store does not have them, and figures of the set."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt

from sai_core.dataset import Recording, after_the_end
from sai_core.errors import CancelledError, EnvironmentProblem, SaiError
from sai_core.metrics.evaluation.score_store import RecordingResult, ScoreStore
from sai_core.metrics.evaluation.scores import Evaluation, Failure, Figures, RecordingScores, merge
from sai_core.metrics.official.revisions import Revision, is_soft
from sai_core.metrics.reading.diagnostics import (
    PairErrors,
    PrecisionRecallCurve,
    matched_class_f1,
    pair_errors,
    precision_recall_curve,
)
from sai_core.progress import Progress, no_progress, part_of

Float64 = npt.NDArray[np.float64]


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
    failures : tuple of Failure
        Recordings that could not be scored.
    """

    name: str
    revision: Revision
    results: tuple[RecordingResult, ...]
    failures: tuple[Failure, ...] = ()

    @property
    def problems(self) -> tuple[str, ...]:
        """Why recordings could not be scored, one sentence each."""
        return tuple(failure.error for failure in self.failures)

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
        return merge(self.scores, revision=self.revision, warnings=warnings, failures=self.failures)

    def after_the_end(self, recordings: Mapping[str, Recording]) -> list[str]:
        """Predictions after the end of their recordings, which may be of other data: the first, and how many more."""
        found = (after_the_end(recordings[r.recording], self.name, r.scores.detection_frame) for r in self.results)
        late = list(filter(None, found))
        more = len(late) - 1
        return late[:1] + ([f"{more} more recording{'s' * (more != 1)} of {self.name} likewise."] if more > 0 else [])

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
    on_result: Callable[[RecordingResult | Failure], object] = lambda result: None,
) -> SystemResult:
    """Score the recordings that have both labels and predictions; what is in the store is not computed again.

    Small files come first, so that there is something to see soon.

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
    on_result : callable
        Gets what became of each recording as soon as it is known.

    Returns
    -------
    SystemResult
        A recording whose files cannot be scored is left out and told in ``failures``.
    """
    both = set(labels) & set(predictions)
    names = sorted(both, key=lambda n: (size_of(labels[n]) + size_of(predictions[n]), n))
    results: list[RecordingResult] = []
    failures: list[Failure] = []
    for recording, share in _shares(names, progress):
        try:
            result = store.result(
                labels[recording], predictions[recording], recording=recording, revision=revision, progress=share
            )
        except CancelledError:
            raise
        except SaiError as error:
            failures.append(Failure(recording, str(error), isinstance(error, EnvironmentProblem)))
            on_result(failures[-1])
        else:
            results.append(result)
            on_result(result)
        share(1.0, "")
    return in_order(name, revision, results, failures)


def in_order(
    name: str, revision: Revision, results: Iterable[RecordingResult], failures: Iterable[Failure]
) -> SystemResult:
    """A system's results sorted by recording, in whatever order they were computed."""
    return SystemResult(
        name,
        revision,
        tuple(sorted(results, key=lambda r: r.recording)),
        tuple(sorted(failures, key=lambda f: f.recording)),
    )


def size_of(path: Path) -> int:
    """Bytes of a file; 0 where it has gone, which its reader will tell."""
    try:
        return path.stat().st_size
    except OSError:
        return 0


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
