"""What a change of settings does in a frame, as pictures: labels, before, after, and what changed."""

from __future__ import annotations

from typing import Final

import cv2
import numpy as np

from sai_core.drawing.annotators import DARK, Picture, draw_outlines
from sai_core.drawing.maps import annotation_patch, outlines
from sai_core.drawing.still import still
from sai_core.geometry import ERP_HEIGHT, ERP_WIDTH
from sai_core.taxonomy import rgb_of
from sai_core.tuning.bench import TuningRecording
from sai_core.tuning.frames import FrameChange

KEPT: Final[str] = "#aeb6c2"
DROPPED: Final[str] = "#ff7a66"
ADDED: Final[str] = "#5fd38a"
"""Outlines of the picture of changes, on its dark ground; dropped ones are dashed as well."""


def panels(
    recording: TuningRecording, change: FrameChange, frame: int, picture: Picture | None = None
) -> tuple[Picture, Picture, Picture, Picture]:
    """Labels, before, after, and what changed, each uint8 (360, 720, 3) sRGB on the label grid.

    Parameters
    ----------
    recording : TuningRecording
    change : FrameChange
    frame : int
    picture : uint8, shape (180, 360, 3), optional
        Video frame, drawn below; a dark canvas if there is none.
    """
    ground: Picture | None = None
    last = np.full((2 * ERP_HEIGHT, 2 * ERP_WIDTH, 3), DARK, np.uint8)
    if picture is not None:
        ground = cv2.resize(picture, (2 * ERP_WIDTH, 2 * ERP_HEIGHT), interpolation=cv2.INTER_AREA).astype(np.uint8)
        last = (ground // 3).astype(np.uint8)
    for table, rows, colour, dashed in (
        (change.after, change.kept, KEPT, False),
        (change.before, change.dropped, DROPPED, True),
        (change.after, change.added, ADDED, False),
    ):
        for row in rows.tolist():
            curves, thickness = outlines(annotation_patch(table, row)), 1 if colour == KEPT else 2
            draw_outlines(last, curves, rgb_of(colour), thickness=thickness, dashed=dashed)
    return (
        still(recording.labels, frame, ground),
        still(change.before, frame, ground),
        still(change.after, frame, ground),
        last,
    )
