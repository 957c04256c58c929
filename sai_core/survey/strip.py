"""Timeline of a recording as a small picture: a lane of colour for each class that sounds."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from sai_core.survey.summary import TableSummary
from sai_core.taxonomy import class_rgb

WIDTH, HEIGHT = 240, 40
_GROUND = (125, 134, 148, 40)
"""Grey that is seen on both themes, nearly clear."""


def strip(summary: TableSummary, n_frames: int) -> npt.NDArray[np.uint8]:
    """Draw when each class sounds.

    Parameters
    ----------
    summary : TableSummary
    n_frames : int
        Of the recording, at least those of the summary.

    Returns
    -------
    uint8, shape (HEIGHT, WIDTH, 4)
        RGBA; one lane a class that occurs, from above in the official order, the whole width being the recording.
    """
    picture = np.empty((HEIGHT, WIDTH, 4), np.uint8)
    picture[:] = _GROUND
    lanes = summary.categories
    if not lanes or n_frames < 1:
        return picture
    scale = WIDTH / n_frames
    edges = np.linspace(0, HEIGHT, len(lanes) + 1).round().astype(int)
    for category, start, size in zip(
        summary.event_category.tolist(), summary.event_start.tolist(), summary.event_frames.tolist(), strict=True
    ):
        lane = lanes.index(category)
        left = min(int(start * scale), WIDTH - 1)
        # an event of a frame must be seen in nine minutes, too
        right = max(left + 1, round((start + size) * scale))
        gap = 1 if edges[lane + 1] - edges[lane] > 3 else 0
        picture[edges[lane] : edges[lane + 1] - gap, left:right] = (*class_rgb(category), 255)
    return picture


def strip_png(summary: TableSummary, n_frames: int) -> bytes:
    """:func:`strip` as PNG."""
    picture = strip(summary, n_frames)
    _, encoded = cv2.imencode(".png", picture[..., [2, 1, 0, 3]])
    return encoded.tobytes()
