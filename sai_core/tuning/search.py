"""Sweeps over settings: the heat map of two of them, and thresholds of each class found on one part of the data.

Every figure is a full evaluation with those settings; nothing is interpolated.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final, Literal, get_args

import numpy as np
import numpy.typing as npt

from sai_core.errors import InputError
from sai_core.metrics import Evaluation, RecordingScores, merge
from sai_core.postprocess import PipelineSettings
from sai_core.progress import Progress, no_progress
from sai_core.taxonomy import N_CLASSES
from sai_core.tuning.bench import TuningSet, detections_in_range

Float64 = npt.NDArray[np.float64]
Divide = Callable[[Sequence[RecordingScores]], tuple[list[RecordingScores], list[RecordingScores]]]
Objective = Literal["mAP", "AP50", "F1"]
OBJECTIVES: Final[tuple[str, ...]] = get_args(Objective)

MIN_SCORES: Final[tuple[float, ...]] = (0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4, 0.5, 0.6, 0.7, 0.8)
"""Score thresholds of the heat map and, with finer steps between them, of the search."""

NMS_IOUS: Final[tuple[float, ...]] = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7)
"""NMS IoUs of the heat map."""

SEARCH_SCORES: Final[tuple[float, ...]] = tuple(np.round(np.arange(0.05, 0.91, 0.05), 2).tolist())
"""Thresholds that the search tries for every class."""


@dataclass(frozen=True, eq=False)
class HeatMap:
    """mAP over score threshold and NMS IoU, all other settings being those given.

    Attributes
    ----------
    min_scores, nms_ious : tuple of float
        Rising; the settings' own values are among them.
    macro_map, micro_map : float64, shape (len(nms_ious), len(min_scores))
        NaN where undefined.
    n_detections : int64, same shape
    """

    min_scores: tuple[float, ...]
    nms_ious: tuple[float, ...]
    macro_map: Float64
    micro_map: Float64
    n_detections: npt.NDArray[np.int64]


def heat_map(
    tuning_set: TuningSet,
    settings: PipelineSettings,
    *,
    min_scores: Sequence[float] = MIN_SCORES,
    nms_ious: Sequence[float] = NMS_IOUS,
    progress: Progress = no_progress,
) -> HeatMap:
    """Evaluate a grid of score thresholds and NMS IoUs.

    Parameters
    ----------
    tuning_set : TuningSet
    settings : PipelineSettings
        Their own two values are added to the grid. Thresholds of single classes stay as they are.
    min_scores, nms_ious : sequence of float
        In [0, 1].
    progress : Progress
        Told after each evaluation; may raise :class:`sai_core.errors.CancelledError`.
    """
    columns = tuple(sorted({*min_scores, settings.min_score}))
    rows = tuple(sorted({*nms_ious, settings.nms_iou}))
    shape = (len(rows), len(columns))
    macro, micro, n = np.full(shape, math.nan), np.full(shape, math.nan), np.zeros(shape, dtype=np.int64)
    done = 0
    # high thresholds first: they are quick, and the rest finds their regions ready
    for column in reversed(range(len(columns))):
        for row in range(len(rows)):
            result = tuning_set.evaluate(replace(settings, min_score=columns[column], nms_iou=rows[row]))
            macro[row, column] = result.evaluation.macro.mean_ap
            micro[row, column] = result.evaluation.micro.mean_ap
            n[row, column] = result.n_detections
            done += 1
            progress(done / macro.size, f"{done} of {macro.size} combinations")
    return HeatMap(columns, rows, macro, micro, n)


@dataclass(frozen=True, eq=False)
class Part:
    """One part of the data, before and after.

    Attributes
    ----------
    names : tuple of str
        Recordings, or ``"<recording>, frames a to b"`` where one recording was cut in two.
    before, after : Evaluation
        With the given settings and with the found thresholds.
    """

    names: tuple[str, ...]
    before: Evaluation
    after: Evaluation


@dataclass(frozen=True, eq=False)
class ThresholdSearch:
    """Thresholds found for each class.

    Attributes
    ----------
    settings : PipelineSettings
        The given ones with the found thresholds.
    objective : {"mAP", "AP50", "F1"}
        What was made as large as possible.
    seed : int
        Of the division into two parts.
    thresholds : mapping of category_id to float
        Of the classes with labels in the searched part; the others keep theirs.
    searched : Part
        On which the thresholds were chosen: its "after" is flattering.
    held_out : Part
        Which the search did not see: its "after" is what to expect.
    by_time : bool
        The parts are the two halves of one recording; tracks over the border belong to both.
    """

    settings: PipelineSettings
    objective: Objective
    seed: int
    thresholds: dict[int, float]
    searched: Part
    held_out: Part
    by_time: bool


def search_thresholds(
    tuning_set: TuningSet,
    settings: PipelineSettings,
    *,
    objective: Objective = "mAP",
    seed: int = 0,
    min_scores: Sequence[float] = SEARCH_SCORES,
    progress: Progress = no_progress,
) -> ThresholdSearch:
    """Find the best score threshold of every class on one part of the recordings, and report on the other.

    A class's detections, tracks and average precision depend on no other class's threshold (but for systems that keep
    only the most reliable class), so one evaluation with a threshold common to all classes tries it for each of
    them. Among thresholds that are equally good the highest is taken: fewer detections for the same figure.

    Parameters
    ----------
    tuning_set : TuningSet
        With one recording, its first half in time is searched and the second reported.
    settings : PipelineSettings
        Start; thresholds of classes without labels in the searched part stay.
    objective : {"mAP", "AP50", "F1"}
        Mean AP over the three IoU thresholds, AP at IoU 0.50, or F1 at IoU 0.50 of what is kept. AP hardly punishes
        weak false positives, so it finds low thresholds; F1 counts each of them.
    seed : int
        Of the random division of the recordings into halves.
    min_scores : sequence of float
        Thresholds to try, in [0, 1]; each class's own is tried too.
    progress : Progress
        Told after each evaluation; may raise :class:`sai_core.errors.CancelledError`.

    Raises
    ------
    InputError
        An unknown objective; no labels in the searched part.
    """
    if objective not in OBJECTIVES:
        raise InputError(f"objective {objective!r} is not known; choose {', '.join(OBJECTIVES)}.")
    divide = division(tuning_set, seed)
    before = tuning_set.evaluate(settings).scores
    searched_before, held_out_before = divide(before)
    n_labels = np.sum([s.n_labels for s in searched_before], axis=0)
    if not n_labels.sum():
        raise InputError("The searched part holds no labels; take more recordings or another seed.")

    own = {settings.min_score, *settings.min_score_per_class.values()}
    tried = sorted({*(float(t) for t in min_scores), *own}, reverse=True)
    best = np.full(N_CLASSES, -math.inf)
    found = np.zeros(N_CLASSES)
    for index, threshold in enumerate(tried):
        flat = replace(settings, min_score=threshold, min_score_per_class={})
        searched, _ = divide(tuning_set.evaluate(flat).scores)
        value = _values(searched, objective)
        # from above, and only by more than rounding: the highest of equally good thresholds stays
        better = value > best + 1e-9
        best[better], found[better] = value[better], threshold
        progress((index + 1) / (len(tried) + 1), f"{index + 1} of {len(tried)} thresholds")
    thresholds = {c: float(found[c]) for c in range(N_CLASSES) if n_labels[c]}
    tuned = replace(settings, min_score_per_class={**settings.min_score_per_class, **thresholds})
    searched_after, held_out_after = divide(tuning_set.evaluate(tuned).scores)
    progress(1.0, "done")
    searched_names, held_out_names = part_names(tuning_set, seed)
    return ThresholdSearch(
        tuned,
        objective,
        seed,
        thresholds,
        Part(searched_names, merge(searched_before), merge(searched_after)),
        Part(held_out_names, merge(held_out_before), merge(held_out_after)),
        len(tuning_set) == 1,
    )


def _halves(tuning_set: TuningSet, seed: int) -> tuple[list[int], list[int]]:
    order = np.random.default_rng(seed).permutation(len(tuning_set))
    middle = (len(order) + 1) // 2
    return sorted(order[:middle].tolist()), sorted(order[middle:].tolist())


def part_names(tuning_set: TuningSet, seed: int) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """What the two parts of :func:`division` are called."""
    if len(tuning_set) == 1:
        recording = tuning_set.recordings[0]
        middle = recording.n_frames // 2
        name = recording.name
        return (f"{name}, frames 0 to {middle - 1}",), (f"{name}, frames {middle} to {recording.n_frames - 1}",)
    first, second = _halves(tuning_set, seed)
    names = [r.name for r in tuning_set.recordings]
    return tuple(names[i] for i in first), tuple(names[i] for i in second)


def division(tuning_set: TuningSet, seed: int) -> Divide:
    """Function that divides the scores of the set into the searched and the held-out part."""
    if len(tuning_set) == 1:
        n_frames = tuning_set.recordings[0].n_frames
        # labels may go on after the last predicted frame
        end = max(n_frames, tuning_set.recordings[0].labels.n_frames)

        def by_time(scores: Sequence[RecordingScores]) -> tuple[list[RecordingScores], list[RecordingScores]]:
            middle = n_frames // 2
            return [detections_in_range(scores[0], 0, middle)], [detections_in_range(scores[0], middle, end)]

        return by_time
    first, second = _halves(tuning_set, seed)

    def by_recording(scores: Sequence[RecordingScores]) -> tuple[list[RecordingScores], list[RecordingScores]]:
        return [scores[i] for i in first], [scores[i] for i in second]

    return by_recording


def _values(scores: Sequence[RecordingScores], objective: Objective) -> Float64:
    """Objective of each class, NaN without labels."""
    if objective == "F1":
        labels = np.sum([s.n_labels for s in scores], axis=0).astype(np.float64)
        kept = np.sum([s.n_detections for s in scores], axis=0)
        hits = sum(np.bincount(s.detection_category[s.detection_hit[:, 1]], minlength=N_CLASSES) for s in scores)
        with np.errstate(invalid="ignore"):
            return np.where(labels > 0, 2 * hits / (labels + kept), math.nan)
    rows = merge(scores).per_class
    return np.array([row.mean_ap if objective == "mAP" else row.ap[1] for row in rows])
