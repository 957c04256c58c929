"""Axis-aligned boxes on the cylinder."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from sai_core.errors import InputError
from sai_core.geometry import ERP_WIDTH


def check_boxes(boxes_xyxy: npt.NDArray[np.floating], *, name: str = "boxes_xyxy") -> None:
    """Make sure that boxes have shape (n, 4), finite corners, and ``x1 >= x0``, ``y1 >= y0``.

    Raises
    ------
    InputError
        With the index and value of the first bad box.
    """
    if boxes_xyxy.ndim != 2 or boxes_xyxy.shape[1] != 4:
        raise InputError(f"{name}: shape (n, 4) is needed, got {boxes_xyxy.shape}.")
    bad = ~np.isfinite(boxes_xyxy).all(axis=1)
    bad |= (boxes_xyxy[:, 2] < boxes_xyxy[:, 0]) | (boxes_xyxy[:, 3] < boxes_xyxy[:, 1])
    if bad.any():
        index = int(np.argmax(bad))
        raise InputError(f"{name}: box {index} is {boxes_xyxy[index].tolist()}; x0 <= x1 and y0 <= y1 are needed.")


def _left_edge_on_canvas(boxes_xyxy: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Move boxes by whole turns so that x0 is in [0, 360); the width is kept."""
    moved = boxes_xyxy.copy()
    moved[..., [0, 2]] -= np.floor(moved[..., :1] / ERP_WIDTH) * np.float32(ERP_WIDTH)
    return moved


def paired_iou(
    a_xyxy: npt.NDArray[np.floating], b_xyxy: npt.NDArray[np.floating], *, wrap: bool
) -> npt.NDArray[np.float32]:
    """Intersection over union of each box of ``a`` with the box of ``b`` that stands where it does, broadcast.

    Parameters
    ----------
    a_xyxy, b_xyxy : float, shape (..., 4)
        Canvas pixels (label grid). With ``wrap``, columns may leave [0, 360): a region over the seam is one box
        such as ``[350, 40, 375, 60]``.
    wrap : bool
        True: columns are circular, so that ``[350, ..., 360]`` and ``[-10, ..., 0]`` are the same box. False: the
        plain plane of the official script.

    Returns
    -------
    iou : float32, shape (...)
        0 where the union is empty. float32 in, float32 arithmetic out, which is what the official tracker compares
        with its threshold.
    """
    a, b = np.asarray(a_xyxy, dtype=np.float32), np.asarray(b_xyxy, dtype=np.float32)
    if wrap:
        a, b = _left_edge_on_canvas(a), _left_edge_on_canvas(b)
    height = np.minimum(a[..., 3], b[..., 3]) - np.maximum(a[..., 1], b[..., 1])
    height = np.maximum(height, np.float32(0))
    width = np.zeros_like(height)
    for shift in (0.0, -ERP_WIDTH, ERP_WIDTH) if wrap else (0.0,):
        overlap = np.minimum(a[..., 2], b[..., 2] + np.float32(shift)) - np.maximum(
            a[..., 0], b[..., 0] + np.float32(shift)
        )
        width += np.maximum(overlap, np.float32(0))
    if wrap:
        # two boxes wider than half the canvas can meet on both sides; together they share at most the smaller width
        width = np.minimum(width, np.minimum(a[..., 2] - a[..., 0], b[..., 2] - b[..., 0]))
    intersection = width * height
    area_a = (a[..., 2] - a[..., 0]) * (a[..., 3] - a[..., 1])
    area_b = (b[..., 2] - b[..., 0]) * (b[..., 3] - b[..., 1])
    union = area_a + area_b - intersection
    iou: npt.NDArray[np.float32] = np.divide(
        intersection, union, out=np.zeros_like(intersection), where=union > np.float32(0)
    )
    return iou
