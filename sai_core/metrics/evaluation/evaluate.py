"""Evaluate recordings: tables or files in, figures out; one process or several.

``score_recording`` is the unit of work: it knows one recording and one revision and gives
:class:`~sai_core.metrics.evaluation.scores.RecordingScores`; ``evaluate`` runs it over a set and merges.
"""

from __future__ import annotations

import gzip
import os
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from sai_core.annotations.reading import read_annotations
from sai_core.annotations.table import AnnotationTable
from sai_core.annotations.writing import MAX_SUBMISSION_BYTES
from sai_core.errors import EnvironmentProblem, InputError
from sai_core.geometry import ERP_HEIGHT, ERP_WIDTH
from sai_core.metrics.evaluation.map_cache import cached_maps_0630
from sai_core.metrics.evaluation.scores import Evaluation, RecordingScores, as_revision, distance_ape, merge, soft_hits
from sai_core.metrics.evaluation.scoring_0402 import score_recording_0402
from sai_core.metrics.official.pairing_0630 import assign_pairs, group_keys
from sai_core.metrics.official.rendering_0630 import render_table_0630
from sai_core.metrics.official.revisions import REVISIONS, Revision, base_revision, is_soft
from sai_core.progress import Progress, no_progress, part_of
from sai_core.taxonomy import N_CLASSES
from sai_core.threads import worker_pool

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
        Keep rendered label maps on disk and read annotations through their cache.

    Returns
    -------
    Evaluation

    Raises
    ------
    InputError
        A file that cannot be read or breaks a rule of the revision, an unknown revision, no recording in common.

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
) -> list[Evaluation]:
    """Evaluate by several revisions; those of the soft metric share one matching. Options as :func:`evaluate`.

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
        _check_revision(revision)
    names, warnings = _common_recordings(labels, predictions, count_missing_recordings)
    chosen = {name: predictions.get(name, AnnotationTable.empty(name)) for name in names}
    bases = list(dict.fromkeys(base_revision(r) for r in revisions))
    scored = {
        base: score_recordings(
            labels,
            chosen,
            revision=base,
            workers=workers,
            progress=part_of(progress, k / len(bases), (k + 1) / len(bases)),
            allow_large=allow_large,
            use_cache=use_cache,
        )
        for k, base in enumerate(bases)
    }
    return [
        merge((as_revision(s, r) for s in scored[base_revision(r)]), revision=r, warnings=warnings) for r in revisions
    ]


def _check_revision(revision: str) -> None:
    if revision not in REVISIONS:
        raise InputError(f"Unknown revision {revision!r}; use one of {', '.join(REVISIONS)}.")


def _common_recordings(
    labels: Mapping[str, Source], predictions: Mapping[str, Source], count_missing: bool
) -> tuple[list[str], list[str]]:
    """Recordings to evaluate, sorted, and what to say about the others."""
    without_predictions = sorted(set(labels) - set(predictions))
    without_labels = sorted(set(predictions) - set(labels))
    warnings = []
    if without_predictions and count_missing:
        warnings.append(
            f"{_listed(without_predictions)} without predictions: all labels there are counted as missed, which the "
            "official evaluator does not do."
        )
    elif without_predictions:
        warnings.append(
            f"{_listed(without_predictions)} without predictions: left out with all labels there, as by the official "
            "evaluator; they can be counted as missed on request."
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
) -> list[RecordingScores]:
    """Scores of every recording of ``predictions``, sorted by name; options as in :func:`evaluate`.

    With ``class_agnostic`` all annotations are taken for class 0, and so matched across classes.

    Raises
    ------
    InputError
        As :func:`evaluate`; also for a recording of ``predictions`` that ``labels`` lacks.
    """
    _check_revision(revision)
    if workers < 1:
        raise InputError(f"workers must be at least 1, got {workers}.")
    jobs = []
    for name in sorted(predictions):
        if name not in labels:
            raise InputError(f"{name}: has no labels.")
        jobs.append(_Job(name, labels[name], predictions[name], revision, allow_large, use_cache, class_agnostic))
    results = []
    for scores in _run(jobs, min(workers, len(jobs)), progress):
        results.append(scores)
        progress(len(results) / len(jobs), f"{len(results)} of {len(jobs)} recordings")
    return sorted(results, key=lambda s: s.recording)


def _run(jobs: list[_Job], workers: int, progress: Progress) -> Iterator[RecordingScores]:
    if workers <= 1:
        for k, job in enumerate(jobs):
            yield _score_job(job, part_of(progress, k / len(jobs), (k + 1) / len(jobs)))
        return
    with worker_pool(workers) as pool:
        waiting = {pool.submit(_score_job, job) for job in jobs}
        try:
            while waiting:
                done, waiting = wait(waiting, return_when=FIRST_COMPLETED)
                for future in done:
                    yield future.result()
        except BrokenProcessPool as error:
            raise EnvironmentProblem(
                "A worker process ended unexpectedly, perhaps for want of memory; use fewer workers."
            ) from error
        finally:
            for future in waiting:
                future.cancel()


def _score_job(job: _Job, progress: Progress = no_progress) -> RecordingScores:
    labels = _load(job.labels, job, "labels")
    predictions = _load(job.predictions, job, "predictions")
    if job.class_agnostic:
        labels, predictions = (replace(t, category_id=np.zeros(len(t), np.int16)) for t in (labels, predictions))
    return score_recording(
        labels,
        predictions,
        recording=job.name,
        revision=job.revision,
        use_cache=job.use_cache,
        progress=part_of(progress, 0.0, 0.999),
    )


def _load(source: Source, job: _Job, side: str) -> AnnotationTable:
    strict = is_soft(job.revision)
    if isinstance(source, AnnotationTable):
        return source
    path = Path(source)
    if strict and side == "predictions" and not job.allow_large:
        size = submission_bytes(path)
        if size > MAX_SUBMISSION_BYTES:
            raise InputError(
                f"{path}: holds {size / 2**20:.1f} MB of JSON, and the official evaluator accepts at most 20 MB; "
                "compress the submission (verb compress) or allow large files."
            )
    return read_annotations(
        path, recording=job.name, check_canvas=strict, unknown_classes="drop", use_cache=job.use_cache
    )


def submission_bytes(path: Path) -> int:
    """Size of a prediction file as the official evaluator would open it: unpacked.

    The official limit is on the plain JSON; a ``.gz`` beside it is a convenience of ours, and counts by what is
    packed in it.

    Raises
    ------
    InputError
        The file cannot be read.
    """
    try:
        with open(path, "rb") as stream:
            if stream.read(2) != b"\x1f\x8b":
                return os.path.getsize(path)
        size = 0
        with gzip.open(path) as packed:
            while size <= MAX_SUBMISSION_BYTES and (block := packed.read(1 << 20)):
                size += len(block)
        return size
    except (OSError, EOFError) as error:
        raise InputError(f"{path}: cannot be read ({error}).") from error


def score_recording(
    labels: AnnotationTable,
    predictions: AnnotationTable,
    *,
    recording: str | None = None,
    revision: Revision = "2026-06-30",
    use_cache: bool = True,
    progress: Progress = no_progress,
) -> RecordingScores:
    """Score one recording.

    Parameters
    ----------
    labels, predictions : AnnotationTable
        Coordinates on the label grid; classes 0..12.
    recording : str, optional
        Name in the result; by default that of ``labels``.
    revision : str
        Which official evaluator: one of :data:`sai_core.metrics.REVISIONS`.
    use_cache : bool
        Keep the rendered label maps on disk.
    progress : Progress
        Told while it lasts.

    Returns
    -------
    RecordingScores

    Raises
    ------
    InputError
        Coordinates outside [0, 360] x [0, 180], except by 2026-04-02; an unknown revision.
    """
    name = labels.recording if recording is None else recording
    _check_revision(revision)
    if missing := int(np.isnan(predictions.score).sum()):
        sentence = (
            f"{missing} of {len(predictions)} annotations have no score, and count with 0 as the evaluator takes them."
        )
        predictions = replace(predictions, notes=predictions.notes.with_note("missing_score", sentence))
    if not is_soft(revision):
        return score_recording_0402(labels, predictions, recording=name, progress=progress)
    for table, side in ((labels, "labels"), (predictions, "predictions")):
        check_canvas(table, f"{name} ({side})")
    label_maps = cached_maps_0630(labels, use_cache=use_cache, progress=part_of(progress, 0.0, 0.8))
    prediction_maps = render_table_0630(predictions, progress=part_of(progress, 0.8, 1.0))
    pairs = assign_pairs(label_maps, prediction_maps, group_keys(labels), group_keys(predictions))

    n = len(predictions)
    assigned, iou = np.full(n, -1, np.int64), np.zeros(n)
    assigned[pairs.prediction], iou[pairs.prediction] = pairs.label, pairs.iou
    return RecordingScores(
        recording=name,
        revision=revision,
        n_labels=np.bincount(labels.category_id, minlength=N_CLASSES),
        n_detections=np.bincount(predictions.category_id, minlength=N_CLASSES),
        detection_frame=predictions.frame,
        detection_category=predictions.category_id,
        detection_index=np.arange(n),
        detection_score=np.nan_to_num(predictions.score, nan=0.0),
        detection_iou=iou,
        detection_label=assigned,
        detection_hit=soft_hits(iou, assigned, revision),
        label_frame=labels.frame,
        label_category=labels.category_id,
        label_index=np.arange(len(labels)),
        pair_frame=labels.frame[pairs.label],
        pair_category=labels.category_id[pairs.label],
        pair_label=pairs.label,
        pair_prediction=pairs.prediction,
        pair_pearson=pairs.pearson,
        pair_distance_ape=distance_ape(labels.distance_cm[pairs.label], predictions.distance_cm[pairs.prediction]),
        notes_of_labels=labels.notes,
        notes_of_predictions=predictions.notes,
    )


def check_canvas(table: AnnotationTable, what: str) -> None:
    """Refuse coordinates that the evaluator of 2026-06-30 refuses.

    Raises
    ------
    InputError
        A coordinate outside [0, 360] x [0, 180].
    """
    limit = (ERP_WIDTH, ERP_HEIGHT)
    if not table.n_points:
        return
    # column by column: NumPy's min over the long axis of an (n, 2) array takes thirty times as long
    if all(v.min() >= 0 and v.max() <= end for v, end in zip(table.points_xy.T, limit, strict=True)):
        return
    outside = (table.points_xy < 0) | (table.points_xy > limit) | np.isnan(table.points_xy)
    point, axis = (int(v) for v in np.argwhere(outside)[0])
    polygon = int(np.searchsorted(table.point_offsets, point, side="right")) - 1
    index = int(np.searchsorted(table.polygon_offsets, polygon, side="right")) - 1
    raise InputError(
        f"{what}: annotation {index}, {'xy'[axis]} is {table.points_xy[point, axis]:g}, outside [0, {limit[axis]}]; "
        "the evaluator of 2026-06-30 refuses such a file."
    )
