"""Annotations as a table of plain columns, for pandas and Parquet."""

from __future__ import annotations

import numpy as np
import pandas as pd

from sai_core.annotations import AnnotationTable
from sai_core.geometry import FRAME_RATE_HZ
from sai_core.metrics.official.directions import region_peak_direction
from sai_core.taxonomy import class_name


def annotation_columns(table: AnnotationTable) -> pd.DataFrame:
    """One row an annotation, in the file's order within each frame.

    Returns
    -------
    DataFrame
        ``recording``; ``frame`` (zero-based, 100 ms) and ``time_s`` of its start; ``class`` and ``category_id``;
        ``instance_id``; ``score`` (NaN for labels); ``distance_cm`` (NaN where there is none); ``azimuth_deg`` (in
        [-180, 180), growing to the left) and ``elevation_deg`` of the region's strongest point; ``peak_energy``;
        ``n_points`` of the region.
    """
    azimuth, elevation = region_peak_direction(table)
    starts, ends = table.point_offsets[table.polygon_offsets[:-1]], table.point_offsets[table.polygon_offsets[1:]]
    peak = np.full(len(table), np.nan)
    filled = np.flatnonzero(ends > starts)
    if len(filled):
        # annotations own consecutive points, so that each begins where the one before it ends
        peak[filled] = np.maximum.reduceat(table.energy, starts[filled])
    return pd.DataFrame(
        {
            "recording": table.recording,
            "frame": table.frame,
            "time_s": table.frame / FRAME_RATE_HZ,
            "class": [class_name(int(k)) for k in table.category_id],
            "category_id": table.category_id,
            "instance_id": table.instance_id,
            "score": table.score,
            "distance_cm": table.distance_cm,
            "azimuth_deg": azimuth,
            "elevation_deg": elevation,
            "peak_energy": peak,
            "n_points": ends - starts,
        }
    )
