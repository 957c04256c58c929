"""Revision 2026-04-02 within a recording: masks, COCO matching, matching by direction, Pearson r, distance error.

The rules beyond the maps (:mod:`sai_core.metrics.official.blobs_0402`):

* an annotation whose map peaks below 1e-9 is dropped on both sides;
* its mask is every pixel from 10 % of the peak on (float32 arithmetic);
* average precision over (recording, frame) images is COCO's for masks, per class: the 100 best detections of a frame
  and class, greedy from the best score down, each taking the unmatched label of largest IoU (the later of equals);
* labels and predictions of a frame are matched by the angle between their strongest points (first of equals, above
  0), same class, at most 20 degrees, Hungarian on a float32 matrix in which everything else costs 1000;
* Pearson r of a matched pair over the union of both masks, dilated by two pixels (not round the seam), where both
  maps vary by more than 1e-7; distance error as :func:`sai_core.metrics.evaluation.scores.distance_ape`.

References
----------
Official ``evaluate.py`` at commit 84b2cd1 (behaviour) and COCO's matching rules.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from itertools import pairwise
from typing import Final

import numpy as np
import numpy.typing as npt
from scipy.optimize import linear_sum_assignment

from sai_core.annotations.table import AnnotationTable
from sai_core.geometry import ERP_HEIGHT, ERP_WIDTH
from sai_core.metrics.evaluation.scores import RecordingScores, distance_ape
from sai_core.metrics.official.blobs_0402 import MASK_FRACTION, MIN_PEAK, Box, mask_boxes, render_boxes_0402
from sai_core.metrics.official.directions import strongest_points
from sai_core.metrics.official.pairing_0630 import candidate_pairs
from sai_core.metrics.official.revisions import THRESHOLDS
from sai_core.progress import Progress, no_progress
from sai_core.taxonomy import N_CLASSES

Float32 = npt.NDArray[np.float32]
Int64 = npt.NDArray[np.int64]
Bool = npt.NDArray[np.bool_]

_MAX_DETECTIONS: Final[int] = 100
"""Detections per image and class that COCO looks at."""

_MATCH_DEG: Final[float] = 20.0
_NO_MATCH: Final = np.float32(1000.0)
_DILATION_PX: Final[int] = 2
_MIN_RANGE: Final[float] = 1e-7

_CHUNK_ANNOTATIONS: Final[int] = 1200
"""Annotations drawn before their frames are scored: 20 MB of maps."""


def score_recording_0402(
    labels: AnnotationTable, predictions: AnnotationTable, *, recording: str, progress: Progress = no_progress
) -> RecordingScores:
    """Score one recording by revision 2026-04-02.

    Parameters
    ----------
    labels, predictions : AnnotationTable
        Any finite coordinates; classes 0..12.
    recording : str
        Name in the result.
    progress : Progress
        Told after every stretch of frames.

    Returns
    -------
    RecordingScores
    """
    recorder = _Recorder(labels, predictions)
    frames = np.union1d(labels.frame, predictions.frame)
    ends = np.searchsorted(labels.frame, frames, side="right") + np.searchsorted(
        predictions.frame, frames, side="right"
    )
    done = 0
    while done < len(frames):
        before = int(ends[done - 1]) if done else 0
        # at least one frame, however crowded
        stop = max(int(np.searchsorted(ends, before + _CHUNK_ANNOTATIONS, side="right")), done + 1)
        recorder.add(*(_within(t, int(frames[done]), int(frames[stop - 1])) for t in (labels, predictions)))
        done = stop
        progress(done / len(frames), f"{done} of {len(frames)} frames")
    return recorder.result(recording)


def _within(table: AnnotationTable, first: int, last: int) -> Int64:
    """Annotation indices of the frames ``first`` to ``last``."""
    start, stop = np.searchsorted(table.frame, [first, last + 1]).tolist()
    return np.arange(start, stop)


class _Recorder:
    """Collects the rows of a :class:`RecordingScores`, stretch by stretch."""

    def __init__(self, labels: AnnotationTable, predictions: AnnotationTable) -> None:
        self._tables = (labels, predictions)
        self._peaks = tuple(_peak_angles(t) for t in self._tables)
        self._scores = np.nan_to_num(predictions.score, nan=0.0)
        self._valid: tuple[list[Int64], list[Int64]] = ([], [])
        self._detections: list[tuple[int, float, int, Bool]] = []
        self._pairs: list[tuple[Int64, Int64]] = []
        self._pearson: list[float] = []

    def add(self, label_index: Int64, prediction_index: Int64) -> None:
        """Score a stretch of frames."""
        indices = [label_index, prediction_index]
        extents = []
        for side in (0, 1):
            some, certain = mask_boxes(self._tables[side], indices[side])
            # where the peak is not known to be above the limit, the map decides
            keep = np.array(certain)
            for k in np.flatnonzero(~keep).tolist():
                energy_map = render_boxes_0402(self._tables[side], indices[side][k : k + 1], some[k : k + 1])[0]
                keep[k] = energy_map.size > 0 and bool(energy_map.max() >= MIN_PEAK)
            indices[side] = indices[side][keep]
            extents.append([box for box, kept in zip(some, keep.tolist(), strict=True) if kept])
            self._valid[side].append(indices[side])
        pair_label, pair_prediction = self._match(indices[0], indices[1])
        self._pairs.append((indices[0][pair_label], indices[1][pair_prediction]))
        boxes = [list(side) for side in extents]
        for label, prediction in zip(pair_label.tolist(), pair_prediction.tolist(), strict=True):
            common = extents[0][label].union(extents[1][prediction], margin=_DILATION_PX)
            boxes[0][label], boxes[1][prediction] = common, common
        maps = [
            render_boxes_0402(self._tables[side], indices[side], boxes[side], extents=extents[side]) for side in (0, 1)
        ]
        masks = [[m >= m.max() * np.float32(MASK_FRACTION) for m in side] for side in maps]
        for label, prediction in zip(pair_label.tolist(), pair_prediction.tolist(), strict=True):
            self._pearson.append(
                _pearson(maps[0][label], maps[1][prediction], masks[0][label], masks[1][prediction], boxes[0][label])
            )
        self._detect(indices, boxes, masks)

    def _match(self, label_index: Int64, prediction_index: Int64) -> tuple[Int64, Int64]:
        """Positions of the pairs matched by direction, ordered by frame, then label."""
        labels, predictions = self._tables
        frames = [t.frame[i].astype(np.int64) for t, i in ((labels, label_index), (predictions, prediction_index))]
        prediction, label = candidate_pairs(*frames)
        if not len(label):
            return np.zeros(0, np.int64), np.zeros(0, np.int64)
        azimuth = [self._peaks[0][0][label_index[label]], self._peaks[1][0][prediction_index[prediction]]]
        elevation = [self._peaks[0][1][label_index[label]], self._peaks[1][1][prediction_index[prediction]]]
        # float32 throughout, in the official order of operations
        hav = (
            np.sin((elevation[0] - elevation[1]) / np.float32(2)) ** 2
            + np.cos(elevation[0]) * np.cos(elevation[1]) * np.sin((azimuth[0] - azimuth[1]) / np.float32(2)) ** 2
        )
        cost = np.degrees(np.float32(2) * np.arcsin(np.sqrt(np.clip(hav, np.float32(0), np.float32(1)))))
        same = labels.category_id[label_index[label]] == predictions.category_id[prediction_index[prediction]]
        allowed = same & (cost <= _MATCH_DEG)
        cost = np.where(allowed, cost, _NO_MATCH)
        frame = frames[0][label]
        order = np.lexsort((prediction, label, frame))
        edges = [0, *(np.flatnonzero(np.diff(frame[order])) + 1).tolist(), len(order)]
        chosen = []
        for start, stop in pairwise(edges):
            part = order[start:stop]
            if not allowed[part].any():
                continue
            n_labels = int(np.count_nonzero(np.diff(label[part]))) + 1
            rows, columns = linear_sum_assignment(cost[part].reshape(n_labels, -1))
            picked = part[rows * (len(part) // n_labels) + columns]
            chosen.append(picked[allowed[picked]])
        both = np.concatenate(chosen) if chosen else np.zeros(0, np.int64)
        return label[both], prediction[both]

    def _detect(self, indices: Sequence[Int64], boxes: Sequence[list[Box]], masks: Sequence[list[Bool]]) -> None:
        """COCO's matching within every frame and class."""
        tables = self._tables
        buckets: dict[int, tuple[list[int], list[int]]] = defaultdict(lambda: ([], []))
        for side in (0, 1):
            keys = tables[side].frame[indices[side]].astype(np.int64) * N_CLASSES
            for k, key in enumerate((keys + tables[side].category_id[indices[side]]).tolist()):
                buckets[key][side].append(k)
        for truth, found in buckets.values():
            if not found:
                continue
            index = indices[1][found]
            order = np.argsort(-self._scores[index], kind="stable")[:_MAX_DETECTIONS].tolist()
            iou = np.zeros((len(order), len(truth)))
            for d, k in enumerate(order):
                for g, label in enumerate(truth):
                    iou[d, g] = _mask_iou(masks[1][found[k]], boxes[1][found[k]], masks[0][label], boxes[0][label])
            matched = coco_matches(iou)
            best = iou.max(axis=1, initial=0.0).tolist()
            for d, k in enumerate(order):
                first = int(matched[d, 0])
                label_index = int(indices[0][truth[first]]) if first >= 0 else -1
                self._detections.append((int(index[k]), best[d], label_index, matched[d] >= 0))

    def result(self, recording: str) -> RecordingScores:
        """Everything collected."""
        labels, predictions = self._tables
        valid = [np.concatenate([np.zeros(0, np.int64), *side]) for side in self._valid]
        pair_label, pair_prediction = (
            np.concatenate([np.zeros(0, np.int64), *(pair[side] for pair in self._pairs)]) for side in (0, 1)
        )
        detection = np.array([d[0] for d in self._detections], dtype=np.int64)
        order = np.argsort(detection)
        detection = detection[order]
        n_thresholds = len(THRESHOLDS["2026-04-02"])
        return RecordingScores(
            recording=recording,
            revision="2026-04-02",
            n_labels=np.bincount(labels.category_id[valid[0]], minlength=N_CLASSES),
            n_detections=np.bincount(predictions.category_id[valid[1]], minlength=N_CLASSES),
            detection_frame=predictions.frame[detection],
            detection_category=predictions.category_id[detection],
            detection_index=detection,
            detection_score=self._scores[detection],
            detection_iou=np.array([d[1] for d in self._detections], dtype=np.float64)[order],
            detection_label=np.array([d[2] for d in self._detections], dtype=np.int64)[order],
            detection_hit=np.array([d[3] for d in self._detections], dtype=np.bool_).reshape(-1, n_thresholds)[order],
            label_frame=labels.frame[valid[0]],
            label_category=labels.category_id[valid[0]],
            label_index=valid[0],
            pair_frame=labels.frame[pair_label],
            pair_category=labels.category_id[pair_label],
            pair_label=pair_label,
            pair_prediction=pair_prediction,
            pair_pearson=np.array(self._pearson, dtype=np.float64),
            pair_distance_ape=distance_ape(labels.distance_cm[pair_label], predictions.distance_cm[pair_prediction]),
            notes_of_labels=labels.notes,
            notes_of_predictions=predictions.notes,
        )


def _peak_angles(table: AnnotationTable) -> tuple[Float32, Float32]:
    """Azimuth and elevation in radians of the strongest points, float32 as in the official code, shape (n,).

    Where no point has energy above 0 the official search never leaves its start, the canvas corner.
    """
    point = strongest_points(table)
    xy = np.zeros((len(table), 2))
    found = point >= 0
    found[found] = table.energy[point[found]] > 0
    xy[found] = table.points_xy[point[found]]
    x, y = xy.astype(np.float32).T
    azimuth = np.radians((x / np.float32(ERP_WIDTH)) * np.float32(360.0) - np.float32(180.0))
    elevation = np.radians(np.float32(90.0) - (y / np.float32(ERP_HEIGHT - 1)) * np.float32(180.0))
    return azimuth, elevation


def _pearson(label_map: Float32, prediction_map: Float32, label_mask: Bool, prediction_mask: Bool, box: Box) -> float:
    """Pearson r of two maps of one box over their masks' union, dilated by two pixels."""
    union = label_mask | prediction_mask
    if box.over_seam:
        # the dilation does not go round: the two sides of the seam apart
        right = ERP_WIDTH - box.left
        region = np.concatenate([_dilate(union[:, :right]), _dilate(union[:, right:])], axis=1)
    else:
        region = _dilate(union)
    a, b = label_map[region], prediction_map[region]
    if np.ptp(a) <= _MIN_RANGE or np.ptp(b) <= _MIN_RANGE:
        return float("nan")
    a64, b64 = a.astype(np.float64), b.astype(np.float64)
    a64 -= a64.mean()
    b64 -= b64.mean()
    square = float(a64 @ a64) * float(b64 @ b64)
    return float(np.clip(float(a64 @ b64) / np.sqrt(square), -1.0, 1.0)) if square > 0 else float("nan")


def _dilate(mask: Bool) -> Bool:
    """Two steps to the four neighbours; nothing beyond the edges."""
    for _ in range(_DILATION_PX):
        grown = mask.copy()
        grown[1:] |= mask[:-1]
        grown[:-1] |= mask[1:]
        grown[:, 1:] |= mask[:, :-1]
        grown[:, :-1] |= mask[:, 1:]
        mask = grown
    return mask


def _mask_iou(a: Bool, box_a: Box, b: Bool, box_b: Box) -> float:
    """IoU of two masks: exact counts, divided in double precision as COCO does."""
    if box_a != box_b:
        common = box_a.union(box_b)
        a, b = _placed(a, box_a, common), _placed(b, box_b, common)
    shared = int(np.count_nonzero(a & b))
    return shared / (int(np.count_nonzero(a)) + int(np.count_nonzero(b)) - shared) if shared else 0.0


def _placed(mask: Bool, box: Box, common: Box) -> Bool:
    """A mask of ``box`` in the larger box ``common``."""
    result = np.zeros((common.bottom - common.top, common.width), np.bool_)
    columns = (box.columns - common.left) % ERP_WIDTH
    result[box.top - common.top : box.bottom - common.top, columns] = mask
    return result


def coco_matches(iou: npt.NDArray[np.float64]) -> Int64:
    """COCO's greedy matching of one image and class.

    Parameters
    ----------
    iou : float64, shape (n_detections, n_labels)
        Detections best score first.

    Returns
    -------
    matched : int64, shape (n_detections, n_thresholds)
        Label that each detection takes at each threshold of revision 2026-04-02, -1 for none. A detection takes the
        free label of largest IoU that reaches the threshold, of equals the last; labels go to the best score first.
    """
    thresholds = np.minimum(THRESHOLDS["2026-04-02"], 1 - 1e-10)
    n_detections, n_labels = iou.shape
    matched = np.full((n_detections, len(thresholds)), -1, dtype=np.int64)
    if n_labels == 1:
        reached = iou >= thresholds
        # the first detection that reaches the threshold takes the label
        matched[reached & (np.cumsum(reached, axis=0) == 1)] = 0
        return matched
    if not n_labels:
        return matched
    free = np.ones((len(thresholds), n_labels), np.bool_)
    for d in range(n_detections):
        candidates = np.where(free & (iou[d] >= thresholds[:, None]), iou[d], -1.0)
        last_best = n_labels - 1 - np.argmax(candidates[:, ::-1], axis=1)
        found = candidates[np.arange(len(thresholds)), last_best] >= 0
        matched[d, found] = last_best[found]
        free[found, last_best[found]] = False
    return matched
