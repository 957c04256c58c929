"""Evaluate recordings: tables or files in, figures out; one process or several.

:func:`~sai_core.metrics.evaluation.recording.score_recording` is the unit of work: it knows one recording and one
revision; ``evaluate`` runs it over a set and merges. What can be known of files beforehand is looked at before anything
is computed, and told at once; scores of files are kept (:mod:`sai_core.metrics.evaluation.score_store`), so that what
was finished before an interruption is not done again.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Final

import numpy as np

from sai_core.annotations.reading import problem_at_sight, read_annotations
from sai_core.annotations.table import AnnotationTable
from sai_core.annotations.writing import MAX_SUBMISSION_BYTES
from sai_core.errors import CancelledError, EnvironmentProblem, InputError, SaiError, told_at_once
from sai_core.metrics.evaluation.recording import check_revision, score_recording, submission_bytes
from sai_core.metrics.evaluation.score_store import ScoreStore
from sai_core.metrics.evaluation.scores import Evaluation, Failure, RecordingScores, as_revision, merge
from sai_core.metrics.official.revisions import Revision, base_revision, is_soft
from sai_core.progress import Progress, no_progress, part_of
from sai_core.threads import as_they_come

Source = AnnotationTable | str | os.PathLike[str]


def evaluate(
    labels: Mapping[str, Source],
    predictions: Mapping[str, Source],
    *,
    revision: Revision = "2026-06-30",
    workers: int = 1,
    progress: Progress = no_progress,
    count_missing_recordings: bool = False,
    allow_large: bool = False,
    use_cache: bool = True,
    keep_going: bool = False,
    on_problems: Callable[[list[str], list[str]], None] | None = None,
) -> Evaluation:
    """Evaluate predictions against labels.

    Parameters
    ----------
    labels, predictions : mapping of recording name to AnnotationTable or path
        Coordinates on the label grid. Files are read when their turn comes.
    revision : str
        Which official evaluator: one of :data:`sai_core.metrics.REVISIONS`.
    workers : int
        Processes; 1 works in this one. More are started by "spawn" (a script needs the usual
        ``if __name__ == "__main__"``). The figures do not depend on it.
    progress : Progress
        Told after each recording, and within one where this process does the work; may raise
        :class:`sai_core.errors.CancelledError`.
    count_missing_recordings : bool
        Count the labels of recordings without predictions as missed. The official evaluator leaves such recordings
        out altogether, and so does this function by default, with a warning.
    allow_large : bool
        Accept prediction files above 20 MB, which the official evaluators since 2026-05-18 refuse.
    use_cache : bool
        Keep rendered label maps and the scores of files on disk, and read annotations through their cache.
    keep_going : bool
        A recording that cannot be scored is one of the result's ``failures``, and the others go on; only where none
        can be scored is that an error. Otherwise the first one is, and so is anything that is wrong beforehand.
    on_problems : callable, optional
        With ``keep_going``: called once, before anything is computed, with what :func:`find_problems` finds and the
        names of the recordings that it keeps from being scored, where others can be.

    Returns
    -------
    Evaluation

    Raises
    ------
    InputError
        Before anything is computed, all of it at once: files that are missing, unreadable, no JSON, or larger than
        allowed (with ``keep_going`` only where that leaves no recording); an unknown revision, no recording in common.
        While computing: a file that breaks a rule.

    See Also
    --------
    evaluate_revisions : several revisions with one matching.
    score_recordings : the same, one RecordingScores at a time.
    """
    return evaluate_revisions(
        labels,
        predictions,
        (revision,),
        workers=workers,
        progress=progress,
        count_missing_recordings=count_missing_recordings,
        allow_large=allow_large,
        use_cache=use_cache,
        keep_going=keep_going,
        on_problems=on_problems,
    )[0]


def evaluate_revisions(
    labels: Mapping[str, Source],
    predictions: Mapping[str, Source],
    revisions: Sequence[Revision],
    *,
    workers: int = 1,
    progress: Progress = no_progress,
    count_missing_recordings: bool = False,
    allow_large: bool = False,
    use_cache: bool = True,
    keep_going: bool = False,
    on_problems: Callable[[list[str], list[str]], None] | None = None,
) -> list[Evaluation]:
    """Evaluate by several revisions; those of the soft metric share one matching. Options as :func:`evaluate`.

    All revisions are of the same recordings: one whose file is too large for any of them is left out of each.

    Returns
    -------
    list of Evaluation
        One per revision, in the order asked for.

    Raises
    ------
    InputError
        As :func:`evaluate`.
    """
    for revision in revisions:
        check_revision(revision)
    names, warnings = _common_recordings(labels, predictions, count_missing_recordings)
    chosen = {name: predictions.get(name, AnnotationTable.empty(name)) for name in names}
    limited = not allow_large and any(is_soft(r) for r in revisions)
    problems, faulty = look_at_files({n: labels[n] for n in names}, chosen, limited=limited)
    if problems and (not keep_going or len(faulty) == len(names)):
        raise InputError(told_at_once(problems))
    if problems and on_problems is not None:
        on_problems(problems, sorted(faulty))
    chosen = {name: source for name, source in chosen.items() if name not in faulty}
    bases = list(dict.fromkeys(base_revision(r) for r in revisions))
    failures: dict[Revision, list[Failure]] = {base: [] for base in bases}
    scored = {
        base: score_recordings(
            labels,
            chosen,
            revision=base,
            workers=workers,
            progress=part_of(progress, k / len(bases), (k + 1) / len(bases)),
            allow_large=True,
            use_cache=use_cache,
            failures=failures[base] if keep_going else None,
        )
        for k, base in enumerate(bases)
    }
    for base in bases:
        failures[base] = sorted([*faulty.values(), *failures[base]], key=lambda failure: failure.recording)
        if names and not scored[base]:
            raise InputError(
                f"None of the {len(names)} recordings could be scored; the first: {failures[base][0].error}"
            )
    return [
        merge(
            (as_revision(s, r) for s in scored[base_revision(r)]),
            revision=r,
            warnings=warnings,
            failures=failures[base_revision(r)],
        )
        for r in revisions
    ]


def by_size(labels: Mapping[str, Path], predictions: Mapping[str, Path]) -> list[str]:
    """Recordings that have both, the largest files first: every n-th of them is a fair share of the work."""
    names = sorted(labels.keys() & predictions.keys())
    return sorted(names, key=lambda name: -_size(labels[name]) - _size(predictions[name]))


def _size(source: Source) -> int:
    """Bytes of a file; 0 for a table and for a file that is not there, which its reader will tell."""
    return 0 if isinstance(source, AnnotationTable) or not os.path.exists(source) else os.path.getsize(source)


_SHOWN: Final[int] = 20
"""Files that one sentence names."""


def find_problems(labels: Mapping[str, Source], predictions: Mapping[str, Source], *, limited: bool) -> list[str]:
    """What is wrong with files of an evaluation, as far as it shows without reading them through.

    Parameters
    ----------
    labels, predictions : mapping of recording name to AnnotationTable or path
    limited : bool
        The official limit of 20 MB on prediction files holds.

    Returns
    -------
    list of str
        One sentence each; all files above the limit share one.
    """
    return look_at_files(labels, predictions, limited=limited)[0]


def look_at_files(
    labels: Mapping[str, Source], predictions: Mapping[str, Source], *, limited: bool
) -> tuple[list[str], dict[str, Failure]]:
    """What :func:`find_problems` gives, and the recordings that cannot be scored for it, by name."""
    problems: list[str] = []
    faulty: dict[str, list[str]] = {}
    large: list[str] = []
    for files, is_limited in ((labels, False), (predictions, limited)):
        for name, source in files.items():
            if isinstance(source, AnnotationTable):
                continue
            path = Path(source)
            problem = problem_at_sight(path)
            if not problem and is_limited:
                try:
                    size = submission_bytes(path)
                except InputError as error:
                    problem = str(error)
                else:
                    if size > MAX_SUBMISSION_BYTES:
                        large.append(f"{path}: {size / 2**20:.1f} MB")
                        faulty.setdefault(name, []).append(_too_large(path, size))
            if problem:
                problems.append(problem)
                faulty.setdefault(name, []).append(problem)
    if large:
        holders = "1 prediction file holds" if len(large) == 1 else f"{len(large)} prediction files hold"
        shown = ", ".join(large[:_SHOWN]) + (f" and {len(large) - _SHOWN} more" if len(large) > _SHOWN else "")
        problems.append(
            f"{holders} more JSON than the 20 MB that the official evaluator accepts ({shown}); compress what is to be "
            "submitted (verb compress) or allow large files."
        )
    return problems, {name: Failure(name, " ".join(sentences)) for name, sentences in faulty.items()}


def _too_large(path: Path, size: int) -> str:
    return (
        f"{path}: holds {size / 2**20:.1f} MB of JSON, and the official evaluator accepts at most 20 MB; "
        "compress the submission (verb compress) or allow large files."
    )


def _common_recordings(
    labels: Mapping[str, Source], predictions: Mapping[str, Source], count_missing: bool
) -> tuple[list[str], list[str]]:
    """Recordings to evaluate, sorted, and what to say about the others."""
    without_predictions = sorted(set(labels) - set(predictions))
    without_labels = sorted(set(predictions) - set(labels))
    warnings = []
    if without_predictions and count_missing:
        warnings.append(
            f"{_listed(without_predictions)} without predictions: all their labels are counted as missed, which the "
            f"official evaluator does not do."
        )
    elif without_predictions:
        warnings.append(
            f"{_listed(without_predictions)} without predictions: left out with all their labels, as the official "
            f"evaluator does; on request they count as missed."
        )
    if without_labels:
        warnings.append(f"{_listed(without_labels)} without labels: left out.")
    names = sorted(set(labels) if count_missing else set(labels) & set(predictions))
    if not names and (labels or predictions):
        raise InputError(
            f"No recording has both labels and predictions ({len(labels)} label files, {len(predictions)} prediction "
            "files); check that the file names belong together."
        )
    return names, warnings


def _listed(names: list[str]) -> str:
    shown = ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
    return f"{len(names)} recording{'s' if len(names) > 1 else ''} ({shown})"


@dataclass(frozen=True)
class _Job:
    """One recording to score; picklable, for spawned processes."""

    name: str
    labels: Source
    predictions: Source
    revision: Revision
    allow_large: bool
    use_cache: bool
    class_agnostic: bool


def score_recordings(
    labels: Mapping[str, Source],
    predictions: Mapping[str, Source],
    *,
    revision: Revision = "2026-06-30",
    workers: int = 1,
    progress: Progress = no_progress,
    allow_large: bool = False,
    use_cache: bool = True,
    class_agnostic: bool = False,
    failures: list[Failure] | None = None,
) -> list[RecordingScores]:
    """Scores of every recording of ``predictions``, sorted by name; options as in :func:`evaluate`.

    With ``class_agnostic`` all annotations are taken for class 0, and so matched across classes. With ``failures``, a
    recording that cannot be scored goes there, and the others go on.

    Raises
    ------
    InputError
        As :func:`evaluate`; also for a recording of ``predictions`` that ``labels`` lacks.
    """
    check_revision(revision)
    if workers < 1:
        raise InputError(f"workers must be at least 1, got {workers}.")
    jobs = []
    for name in sorted(predictions):
        if name not in labels:
            raise InputError(f"{name}: has no labels.")
        jobs.append(_Job(name, labels[name], predictions[name], revision, allow_large, use_cache, class_agnostic))
    results: list[RecordingScores] = []
    outcomes = _run(jobs, min(workers, len(jobs)), progress, keep_going=failures is not None)
    for done, outcome in enumerate(outcomes, start=1):
        if isinstance(outcome, RecordingScores):
            results.append(outcome)
        elif failures is not None:
            failures.append(outcome)
        failed = f", {done - len(results)} failed" if done > len(results) else ""
        progress(done / len(jobs), f"{done} of {len(jobs)} recordings{failed}")
    if failures is not None:
        failures.sort(key=lambda f: f.recording)
    return sorted(results, key=lambda s: s.recording)


def _run(
    jobs: list[_Job], workers: int, progress: Progress, *, keep_going: bool
) -> Iterator[RecordingScores | Failure]:
    run = _try_job if keep_going else _score_job
    if workers <= 1:
        for k, job in enumerate(jobs):
            yield run(job, part_of(progress, k / len(jobs), (k + 1) / len(jobs)))
        return
    yield from as_they_come(run, jobs, workers, size=lambda job: _size(job.labels) + _size(job.predictions))


@cache
def _kept() -> ScoreStore:
    """What is kept on disk; this process remembers nothing of it."""
    return ScoreStore(memory_entries=0)


def _try_job(job: _Job, progress: Progress = no_progress) -> RecordingScores | Failure:
    try:
        return _score_job(job, progress)
    except CancelledError:
        raise
    except SaiError as error:
        return Failure(job.name, str(error), isinstance(error, EnvironmentProblem))


def _score_job(job: _Job, progress: Progress = no_progress) -> RecordingScores:
    part = part_of(progress, 0.0, 0.999)
    if (
        job.use_cache
        and not isinstance(job.labels, AnnotationTable)
        and not isinstance(job.predictions, AnnotationTable)
    ):
        _check_limit(Path(job.predictions), job)
        files = Path(job.labels), Path(job.predictions)
        if job.class_agnostic:
            return _kept().class_agnostic(*files, recording=job.name, revision=job.revision, progress=part)
        return _kept().result(*files, recording=job.name, revision=job.revision, progress=part).scores
    labels = _load(job.labels, job)
    if not isinstance(job.predictions, AnnotationTable):
        _check_limit(Path(job.predictions), job)
    predictions = _load(job.predictions, job)
    if job.class_agnostic:
        labels, predictions = (replace(t, category_id=np.zeros(len(t), np.int16)) for t in (labels, predictions))
    return score_recording(
        labels, predictions, recording=job.name, revision=job.revision, use_cache=job.use_cache, progress=part
    )


def _check_limit(path: Path, job: _Job) -> None:
    if is_soft(job.revision) and not job.allow_large:
        size = submission_bytes(path)
        if size > MAX_SUBMISSION_BYTES:
            raise InputError(_too_large(path, size))


def _load(source: Source, job: _Job) -> AnnotationTable:
    if isinstance(source, AnnotationTable):
        return source
    return read_annotations(
        source,
        recording=job.name,
        check_canvas=is_soft(job.revision),
        unknown_classes="drop",
        use_cache=job.use_cache,
    )
