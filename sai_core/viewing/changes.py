"""What a change of settings does in a frame, as pictures: labels, before, after, and what changed."""

from __future__ import annotations

from typing import Final

import cv2
import numpy as np
import numpy.typing as npt

from sai_core.annotations import AnnotationTable
from sai_core.drawing.maps import annotation_patch, outlines
from sai_core.drawing.still import still
from sai_core.geometry import ERP_HEIGHT, ERP_WIDTH
from sai_core.tuning.bench import TuningRecording
from sai_core.tuning.frames import FrameChange

Picture = npt.NDArray[np.uint8]

KEPT: Final[str] = "#aeb6c2"
DROPPED: Final[str] = "#ff7a66"
ADDED: Final[str] = "#5fd38a"
"""Outlines of the picture of changes, on its dark ground; dropped ones are dashed as well."""

_WIDTH: Final[int] = 2 * ERP_WIDTH


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
    last = np.full((2 * ERP_HEIGHT, _WIDTH, 3), 24, np.uint8)
    if picture is not None:
        ground = cv2.resize(picture, (_WIDTH, 2 * ERP_HEIGHT), interpolation=cv2.INTER_AREA).astype(np.uint8)
        last = (ground // 3).astype(np.uint8)
    for table, rows, colour, dashed in (
        (change.after, change.kept, KEPT, False),
        (change.before, change.dropped, DROPPED, True),
        (change.after, change.added, ADDED, False),
    ):
        for row in rows.tolist():
            _outline(last, table, row, colour, dashed=dashed, thick=1 if colour == KEPT else 2)
    return (
        still(recording.labels, frame, ground),
        still(change.before, frame, ground),
        still(change.after, frame, ground),
        last,
    )


def _outline(canvas: Picture, table: AnnotationTable, row: int, colour: str, *, dashed: bool, thick: int) -> None:
    rgb = tuple(int(colour[i : i + 2], 16) for i in (1, 3, 5))
    for curve in outlines(annotation_patch(table, row)):
        # once more, one turn to the left: what runs over the seam comes in at the other side
        for shift in (0.0, -float(ERP_WIDTH)):
            points = (curve + np.array([shift, 0.0])) * (_WIDTH / ERP_WIDTH)
            for piece in _dashes(points) if dashed else [np.concatenate([points, points[:1]])]:
                cv2.polylines(canvas, [(piece * 16).round().astype(np.int32)], False, rgb, thick, cv2.LINE_AA, 4)


def _dashes(points: npt.NDArray[np.floating], length: float = 7.0) -> list[npt.NDArray[np.floating]]:
    """A closed curve in dashes of some pixels."""
    closed = np.concatenate([points, points[:1]])
    along = np.concatenate([[0.0], np.cumsum(np.hypot(*np.diff(closed, axis=0).T))])
    starts = np.arange(0.0, along[-1], 2 * length)
    at = np.stack([starts, np.minimum(starts + length, along[-1])], axis=1)
    return [np.stack([np.interp(span, along, closed[:, i]) for i in (0, 1)], axis=1) for span in at]
