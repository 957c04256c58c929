"""The container between the network and the tracker."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from sai_core.detections.boxes import check_boxes
from sai_core.errors import InputError
from sai_core.taxonomy import N_CLASSES


@dataclass(frozen=True, eq=False)
class Detections:
    """Detections of one recording, all frames together, sorted by frame.

    Attributes
    ----------
    frame : int32, shape (n,)
        Zero-based 100 ms frame, non-decreasing.
    category_id : int16, shape (n,)
        0..12.
    score : float32, shape (n,)
        Confidence in [0, 1].
    boxes_xyxy : float32, shape (n, 4)
        Canvas pixels on the label grid; columns may leave [0, 360) for a region over the seam.
    distance_cm : float64, shape (n,)
        Centimetres.
    energy : float32 or float16, shape (n, rows, columns)
        RoI energy map of each detection, [0, 1], stretched over its box.
    """

    frame: npt.NDArray[np.int32]
    category_id: npt.NDArray[np.int16]
    score: npt.NDArray[np.float32]
    boxes_xyxy: npt.NDArray[np.float32]
    distance_cm: npt.NDArray[np.float64]
    energy: npt.NDArray[np.floating]

    def __post_init__(self) -> None:
        for name, dtype in (
            ("frame", np.int32),
            ("category_id", np.int16),
            ("score", np.float32),
            ("boxes_xyxy", np.float32),
            ("distance_cm", np.float64),
        ):
            object.__setattr__(self, name, np.asarray(getattr(self, name), dtype=dtype))
        n = self.frame.shape[0]
        check_boxes(self.boxes_xyxy)
        for name in ("category_id", "score", "distance_cm"):
            if getattr(self, name).shape != (n,):
                raise InputError(f"Detections: {name} has shape {getattr(self, name).shape}, not ({n},).")
        if self.boxes_xyxy.shape[0] != n or self.energy.ndim != 3 or self.energy.shape[0] != n:
            raise InputError(f"Detections: {n} boxes and energy maps of shape (rows, columns) are needed.")
        if n and (np.any(np.diff(self.frame) < 0) or self.frame[0] < 0):
            raise InputError("Detections: frames must be >= 0 and in order.")
        if n and (self.category_id.min() < 0 or self.category_id.max() >= N_CLASSES):
            raise InputError(f"Detections: category_id must be in 0..{N_CLASSES - 1}.")
        if np.isnan(self.score).any():
            raise InputError(f"Detections: score {int(np.argmax(np.isnan(self.score)))} is not a number.")

    def __len__(self) -> int:
        return int(self.frame.shape[0])

    def take(self, indices: npt.NDArray[np.int64]) -> Detections:
        """Return a new container with the chosen rows, in the given order (frames must stay in order)."""
        return Detections(
            self.frame[indices],
            self.category_id[indices],
            self.score[indices],
            self.boxes_xyxy[indices],
            self.distance_cm[indices],
            self.energy[indices],
        )
