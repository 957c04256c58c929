"""What is known of a candidate's RoI map once and for all: where its peak points, and how strong it is on average."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from sai_core.geometry import ERP_HEIGHT, pixel_to_direction

_CHUNK: Final[int] = 4096
"""Candidates whose maps are read at once: 13 MB in float32."""


@dataclass(frozen=True, eq=False)
class CandidateFacts:
    """One value for each candidate.

    Attributes
    ----------
    peak_azimuth_deg, peak_elevation_deg : float64, shape (n,)
        Direction of the centre of the strongest cell (the first of equals in row-major order), label grid.
    mean_energy : float32, shape (n,)
        Mean of the RoI map, [0, 1].
    """

    peak_azimuth_deg: npt.NDArray[np.float64]
    peak_elevation_deg: npt.NDArray[np.float64]
    mean_energy: npt.NDArray[np.float32]


def candidate_facts(energy: npt.NDArray[np.floating], boxes_xyxy: npt.NDArray[np.floating]) -> CandidateFacts:
    """Peak direction and mean energy of RoI maps.

    Parameters
    ----------
    energy : floating, shape (n, rows, columns)
        Stretched over the boxes; may be memory-mapped, is read in pieces.
    boxes_xyxy : float, shape (n, 4)
        Canvas pixels, label grid; columns may leave [0, 360).
    """
    n, height, width = energy.shape
    peak = np.zeros(n, dtype=np.int64)
    mean = np.zeros(n, dtype=np.float32)
    for start in range(0, n, _CHUNK):
        part = energy[start : start + _CHUNK].reshape(-1, height * width).astype(np.float32)
        peak[start : start + _CHUNK] = part.argmax(axis=1)
        mean[start : start + _CHUNK] = part.mean(axis=1)
    row, column = np.divmod(peak, width)
    boxes = np.asarray(boxes_xyxy, dtype=np.float64)
    x = boxes[:, 0] + (column + 0.5) / width * (boxes[:, 2] - boxes[:, 0])
    y = boxes[:, 1] + (row + 0.5) / height * (boxes[:, 3] - boxes[:, 1])
    azimuth, elevation = pixel_to_direction(x, np.clip(y, 0, ERP_HEIGHT))
    return CandidateFacts(azimuth, elevation, mean)


def centre_directions(boxes_xyxy: npt.NDArray[np.floating]) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Azimuth and elevation of the middle of boxes (n, 4), degrees: a region reaches as far to all sides."""
    boxes = np.asarray(boxes_xyxy, dtype=np.float64)
    x, y = (boxes[:, 0] + boxes[:, 2]) / 2, (boxes[:, 1] + boxes[:, 3]) / 2
    return pixel_to_direction(x, np.clip(y, 0, ERP_HEIGHT))
