"""From tracked detections to annotations: which points of the RoI energy map are written."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from sai_core.annotations.table import AnnotationTable
from sai_core.errors import InputError
from sai_core.geometry import ERP_HEIGHT, ERP_WIDTH
from sai_core.postprocess.detections import Detections
from sai_core.postprocess.tracking import Tracks


def export_top_k(
    tracks: Tracks,
    detections: Detections,
    *,
    recording: str,
    top_k: int = 20,
    min_energy: float = 0.1,
) -> AnnotationTable:
    """The official export: the strongest cells of each RoI map that reach ``min_energy``, else the single strongest.

    Parameters
    ----------
    tracks, detections
        Rows of ``tracks`` refer to rows of ``detections``.
    recording : str
        Name written into the table.
    top_k : int
        At most this many points a region; 0 for all cells.
    min_energy : float
        Smallest energy of a written point, in [0, 1].

    Returns
    -------
    AnnotationTable
        One polygon list an annotation, points by falling energy (cells of equal energy in row-major order; the
        official order among equals depends on NumPy's partition). Rounded as the official script does: coordinates
        to 4 decimals, energy and score to 6, distance in centimetres to 4. Columns outside the canvas are wrapped
        around the seam, rows are clipped to it.
    """
    if top_k < 0 or not 0.0 <= min_energy <= 1.0:
        raise InputError(f"export: top_k {top_k} must be >= 0 and min_energy {min_energy} in [0, 1].")
    rows, inverse = np.unique(tracks.detection, return_inverse=True)
    energy = detections.energy[rows].astype(np.float64)
    n, height, width = energy.shape
    flat = energy.reshape(n, height * width)
    count = flat.shape[1] if top_k == 0 else min(top_k, flat.shape[1])
    order = np.argsort(-flat, axis=1, kind="stable")[:, :count]
    values = np.take_along_axis(flat, order, axis=1)
    # compared in the map's own precision, as the official script compares float32 with its threshold
    limit = detections.energy.dtype.type(min_energy)
    kept = np.maximum((values >= float(limit)).sum(axis=1), 1)
    boxes = detections.boxes_xyxy[rows].astype(np.float64)
    cell_row, cell_column = np.divmod(order, width)
    x = boxes[:, :1] + (cell_column + 0.5) / width * (boxes[:, 2:3] - boxes[:, :1])
    y = boxes[:, 1:2] + (cell_row + 0.5) / height * (boxes[:, 3:4] - boxes[:, 1:2])
    outside = (x < 0) | (x > ERP_WIDTH)
    x = np.round(np.where(outside, np.mod(x, ERP_WIDTH), x), 4)
    y = np.round(np.clip(y, 0, ERP_HEIGHT), 4)
    values = np.round(values, 6)

    per_track = kept[inverse] if len(tracks) else np.zeros(0, dtype=np.int64)
    offsets = np.concatenate([[0], np.cumsum(per_track)]).astype(np.int64)
    owner = np.repeat(np.arange(len(tracks)), per_track)
    rank = np.arange(int(offsets[-1])) - np.repeat(offsets[:-1], per_track)
    source: npt.NDArray[np.int64] = inverse[owner] if len(tracks) else np.zeros(0, dtype=np.int64)
    return AnnotationTable(
        recording,
        tracks.frame,
        detections.category_id[tracks.detection],
        tracks.track_id,
        np.round(detections.distance_cm[tracks.detection], 4),
        np.round(tracks.score, 6),
        np.arange(len(tracks) + 1, dtype=np.int64),
        offsets,
        np.stack([x[source, rank], y[source, rank]], axis=-1) if len(source) else np.zeros((0, 2)),
        values[source, rank] if len(source) else np.zeros(0),
    )
