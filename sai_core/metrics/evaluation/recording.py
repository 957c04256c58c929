"""One recording and one revision: the unit of work of every evaluation, and the rules of its files."""

from __future__ import annotations

import gzip
import os
import zlib
from dataclasses import replace
from pathlib import Path

import numpy as np

from sai_core.annotations.table import AnnotationTable, point_blocks
from sai_core.annotations.writing import MAX_SUBMISSION_BYTES
from sai_core.errors import InputError
from sai_core.geometry import ERP_HEIGHT, ERP_WIDTH
from sai_core.metrics.evaluation.map_cache import cached_maps_0630
from sai_core.metrics.evaluation.scores import RecordingScores, distance_ape, soft_hits
from sai_core.metrics.evaluation.scoring_0402 import score_recording_0402
from sai_core.metrics.official.pairing_0630 import assign_pairs, group_keys
from sai_core.metrics.official.rendering_0630 import render_table_0630
from sai_core.metrics.official.revisions import REVISIONS, Revision, is_soft
from sai_core.progress import Progress, no_progress, part_of
from sai_core.taxonomy import N_CLASSES


def check_revision(revision: str) -> None:
    """Make sure that there is such an evaluator.

    Raises
    ------
    InputError
        There is not.
    """
    if revision not in REVISIONS:
        raise InputError(f"Unknown revision {revision!r}; use one of {', '.join(REVISIONS)}.")


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
    except (OSError, EOFError, zlib.error) as error:
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
    check_revision(revision)
    if missing := int(np.isnan(predictions.score).sum()):
        sentence = (
            f"{missing} of {len(predictions)} annotations have no score, and count with score 0, as in the official "
            f"evaluator."
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
    for _, points in point_blocks(table):
        xy = table.xy_of(points)
        # column by column: NumPy's min over the long axis of an (n, 2) array takes thirty times as long
        if all(v.min(initial=0) >= 0 and v.max(initial=0) <= end for v, end in zip(xy.T, limit, strict=True)):
            continue
        outside = (xy < 0) | (xy > limit) | np.isnan(xy)
        point, axis = (int(v) for v in np.argwhere(outside)[0])
        polygon = int(np.searchsorted(table.point_offsets, points.start + point, side="right")) - 1
        index = int(np.searchsorted(table.polygon_offsets, polygon, side="right")) - 1
        raise InputError(
            f"{what}: annotation {index}, {'xy'[axis]} is {xy[point, axis]:g}, outside [0, {limit[axis]}]; "
            "the evaluator of 2026-06-30 refuses such a file."
        )
