"""One picture of a moment: the video frame with the energy and outlines of its annotations."""

from __future__ import annotations

import numpy as np

from sai_core.annotations import AnnotationTable, first_of_source
from sai_core.drawing.annotators import DARK, Picture, draw_outlines, energy_levels, lay_over
from sai_core.drawing.colormaps import sequential_lut
from sai_core.drawing.maps import annotation_patch, merged_canvas, outlines
from sai_core.geometry import ERP_HEIGHT, ERP_WIDTH
from sai_core.taxonomy import class_rgb


def busiest_frame(table: AnnotationTable) -> int:
    """Frame with the most sources; the middle one of those that share the maximum, 0 for an empty table."""
    if not len(table):
        return 0
    counts = np.bincount(table.frame[first_of_source(table)])
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
    size = (2 * ERP_HEIGHT, 2 * ERP_WIDTH, 3)
    out = np.full(size, DARK, np.uint8) if picture is None else np.array(picture, order="C")
    span = table.frame_slice(frame)
    patches = {row: annotation_patch(table, row) for row in range(span.start, span.stop)}
    lay_over(out, energy_levels(merged_canvas(patches.values())), sequential_lut(), opacity=opacity)
    for row, patch in patches.items():
        colour = class_rgb(int(table.category_id[row]))
        draw_outlines(out, outlines(patch), colour, thickness=max(1, round(out.shape[1] / ERP_WIDTH)))
    return out
