"""A system against the labels of one recording: pairs, errors and official scores, for the player."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from sai_core.annotations.table import AnnotationTable
from sai_core.geometry import great_circle_deg
from sai_core.metrics import merge, score_recording
from sai_core.progress import Progress, no_progress
from sai_core.viewing.events import ErrorEvents, JoinedErrors, error_events, join_errors, peak_directions
from sai_core.viewing.player import encode_errors, encode_events, pack

THRESHOLDS: Final[tuple[float, ...]] = (0.25, 0.5, 0.75)
"""Soft IoU at which the official metric counts a pair as found."""


@dataclass(frozen=True, eq=False)
class Comparison:
    """What the player shows beside the maps.

    Attributes
    ----------
    label_row, prediction_row : int64, shape (pairs,)
        Assigned pairs of the 2026-06-30 metric as rows of the two tables.
    soft_iou, pearson_r : float64, shape (pairs,)
        NaN where Pearson is undefined.
    angle_deg : float64, shape (pairs,)
        Great-circle angle between the strongest points.
    distance_error_cm : float64, shape (pairs,)
        Prediction minus label; NaN where a file has no distance.
    errors : mapping of float to ErrorEvents
        For each of :data:`THRESHOLDS`.
    events : mapping of float to JoinedErrors
        The same, joined.
    scores : dict
        ``macro`` and ``micro`` figures of the 2026-06-30 metric over this recording; None where undefined.
    """

    label_row: npt.NDArray[np.int64]
    prediction_row: npt.NDArray[np.int64]
    soft_iou: npt.NDArray[np.float64]
    pearson_r: npt.NDArray[np.float64]
    angle_deg: npt.NDArray[np.float64]
    distance_error_cm: npt.NDArray[np.float64]
    errors: dict[float, ErrorEvents]
    events: dict[float, JoinedErrors]
    scores: dict[str, dict[str, Any]]

    def encode(self) -> bytes:
        """Container for the player."""
        arrays: dict[str, Any] = {
            "label": self.label_row.astype(np.int32),
            "prediction": self.prediction_row.astype(np.int32),
            "iou": self.soft_iou.astype(np.float32),
            "pearson": self.pearson_r.astype(np.float32),
            "angle": self.angle_deg.astype(np.float32),
            "distance": self.distance_error_cm.astype(np.float32),
        }
        for threshold, errors in self.errors.items():
            arrays.update({f"e{threshold:g}.{name}": column for name, column in encode_errors(errors).items()})
        for threshold, events in self.events.items():
            arrays.update({f"j{threshold:g}.{name}": column for name, column in encode_events(events).items()})
        return pack({"scores": self.scores}, arrays)


def compare(labels: AnnotationTable, predictions: AnnotationTable, *, progress: Progress = no_progress) -> Comparison:
    """Compare predictions with the labels of one recording by the metric of revision 2026-06-30.

    Parameters
    ----------
    labels, predictions : AnnotationTable
        Label grid.
    progress : Progress
        Told while it lasts. Rendering the label regions of a long recording takes most of the time at first, and is
        cached on disk for later.

    Returns
    -------
    Comparison

    Raises
    ------
    InputError
        Coordinates outside the canvas.
    """

    def matching(fraction: float, message: str) -> None:
        progress(0.8 * fraction, "Matching labels and predictions")

    matching(0.0, "")
    # what the metric unpacks of large tables is given back with the copies
    scores = score_recording(labels.unpacked(), predictions.unpacked(), progress=matching)
    label_row, prediction_row = scores.pair_label, scores.pair_prediction
    soft_iou = scores.detection_iou[prediction_row]
    progress(0.8, "Finding errors")
    azimuth_l, elevation_l, _ = peak_directions(labels)
    azimuth_p, elevation_p, _ = peak_directions(predictions)
    angle = great_circle_deg(
        azimuth_l[label_row], elevation_l[label_row], azimuth_p[prediction_row], elevation_p[prediction_row]
    )
    errors = {
        threshold: error_events(labels, predictions, label_row, prediction_row, soft_iou, threshold=threshold)
        for threshold in THRESHOLDS
    }
    figures = merge([scores]).to_json()
    progress(1.0, "Done")
    return Comparison(
        label_row=label_row,
        prediction_row=prediction_row,
        soft_iou=soft_iou,
        pearson_r=scores.pair_pearson,
        angle_deg=angle,
        distance_error_cm=predictions.distance_cm[prediction_row] - labels.distance_cm[label_row],
        errors=errors,
        events={threshold: join_errors(found, labels, predictions) for threshold, found in errors.items()},
        scores={"macro": figures["macro"], "micro": figures["micro"]},
    )
