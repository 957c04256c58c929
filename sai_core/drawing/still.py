"""One picture of a moment: the video frame with the energy and outlines of its annotations."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from sai_core.annotations import AnnotationTable
from sai_core.drawing.colormaps import sequential_lut
from sai_core.drawing.maps import annotation_patch, frame_map, outlines
from sai_core.geometry import ERP_HEIGHT, ERP_WIDTH
from sai_core.taxonomy import CLASS_COLORS

Picture = npt.NDArray[np.uint8]


def busiest_frame(table: AnnotationTable) -> int:
    """Frame with the most annotations; the middle one of those that share the maximum, 0 for an empty table."""
    if not len(table):
        return 0
    counts = np.bincount(table.frame)
    best = np.flatnonzero(counts == counts.max())
    return int(best[best.size // 2])


def still(table: AnnotationTable, frame: int, picture: Picture | None, *, opacity: float = 0.8) -> Picture:
    """Draw a frame's annotations over its picture.

    Parameters
    ----------
    table : AnnotationTable
    frame : int
        Zero-based 100 ms frame.
    picture : uint8, shape (rows, columns, 3), optional
        sRGB, columns twice the rows, label grid; a dark canvas of 360 x 720 if there is none.
    opacity : float
        Of full energy, in [0, 1].

    Returns
    -------
    uint8, shape (rows, columns, 3)
        New array, sRGB: energy 0..1 in the default sequential map, outlines in class colours.
    """
    base = np.full((2 * ERP_HEIGHT, 2 * ERP_WIDTH, 3), 24, np.uint8) if picture is None else picture
    rows, columns = base.shape[:2]
    energy = cv2.resize(frame_map(table, frame), (columns, rows), interpolation=cv2.INTER_LINEAR).clip(0.0, 1.0)
    colour = sequential_lut()[(energy * 255).astype(np.uint8)].astype(np.float32)
    weight = (opacity * np.sqrt(energy))[..., None]
    out = np.ascontiguousarray((base * (1.0 - weight) + colour * weight).round().astype(np.uint8))
    scale = columns / ERP_WIDTH
    span = table.frame_slice(frame)
    for index in range(span.start, span.stop):
        text = CLASS_COLORS[int(table.category_id[index])].lstrip("#")
        rgb = tuple(int(text[i : i + 2], 16) for i in (0, 2, 4))
        for curve in outlines(annotation_patch(table, index)):
            # once more, one turn to the left: what runs over the seam comes in at the other side
            for shift in (0.0, -float(ERP_WIDTH)):
                points = ((curve + np.array([shift, 0.0])) * scale * 16).round().astype(np.int32)
                cv2.polylines(out, [points], True, rgb, max(1, round(scale)), cv2.LINE_AA, 4)
    return out
