"""NMS and tracker as plainly as their rules read, a frame and a class at a time: what the fast ones must equal."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.optimize import linear_sum_assignment

from sai_core.detections.boxes import paired_iou
from sai_core.detections.table import Detections

Row = tuple[int, int, int, float, bool, int]


def literal_nms(d: Detections, *, iou: float, wrap: bool) -> npt.NDArray[np.int64]:
    order = np.lexsort((-d.score, d.category_id, d.frame))
    kept: list[int] = []
    group: list[int] = []
    for row in order.tolist():
        if group and (d.frame[row], d.category_id[row]) != (d.frame[group[0]], d.category_id[group[0]]):
            group = []
        if not group or not (paired_iou(d.boxes_xyxy[group], d.boxes_xyxy[row], wrap=wrap) > iou).any():
            group.append(row)
            kept.append(row)
    return np.array(kept, dtype=np.int64)


def literal_track(
    d: Detections, *, n_frames: int, iou: float, max_age: int, wrap: bool, coast_decay: float = 0.9
) -> list[Row]:
    """Rows ``(frame, track, detection, score, coasting, hits)`` in the tracker's order."""
    live: dict[int, list] = {}
    rows: list[Row] = []
    born = 0
    for frame in range(n_frames):
        here = np.flatnonzero(d.frame == frame).tolist()
        owner: dict[int, int] = {}
        for class_id in range(13):
            tracks = [t for t, state in live.items() if d.category_id[state[0]] == class_id]
            mine = [row for row in here if d.category_id[row] == class_id]
            if not tracks or not mine:
                continue
            overlap = paired_iou(d.boxes_xyxy[[live[t][0] for t in tracks]][:, None], d.boxes_xyxy[mine], wrap=wrap)
            for i, j in zip(*linear_sum_assignment(1.0 - overlap), strict=True):
                if overlap[i, j] >= np.float32(iou):
                    owner[mine[j]] = tracks[i]
        unseen = [t for t in live if t not in owner.values()]
        for row in here:
            if row not in owner:
                owner[row] = born
                live[born] = [row, 0, 0, 0.0]
                born += 1
            state = live[owner[row]]
            state[:] = [row, 0, state[2] + 1, float(d.score[row])]
            rows.append((frame, owner[row], row, state[3], False, state[2]))
        for t in unseen:
            live[t][1] += 1
            live[t][3] *= coast_decay
            if live[t][1] > max_age:
                del live[t]
            else:
                rows.append((frame, t, live[t][0], live[t][3], True, live[t][2]))
    return rows
