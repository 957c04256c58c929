"""Both revisions of the official metrics, and what users want beside them."""

from sai_core.metrics.directions import region_centroid_direction, region_peak_direction
from sai_core.metrics.evaluation import evaluate, score_recording, score_recordings
from sai_core.metrics.matching import (
    MATCH_ANGLE_DEG,
    RecordingMatches,
    SpatialMatches,
    match_recording,
    spatial_matches,
)
from sai_core.metrics.rendering_0630 import SparseMaps, render_map_0630, render_table_0630
from sai_core.metrics.scores import (
    REVISIONS,
    THRESHOLDS,
    Evaluation,
    Figures,
    RecordingScores,
    Revision,
    load_scores,
    merge,
    save_scores,
    tie_range,
)

__all__ = [
    "MATCH_ANGLE_DEG",
    "REVISIONS",
    "THRESHOLDS",
    "Evaluation",
    "Figures",
    "RecordingMatches",
    "RecordingScores",
    "Revision",
    "SparseMaps",
    "SpatialMatches",
    "evaluate",
    "load_scores",
    "match_recording",
    "merge",
    "region_centroid_direction",
    "region_peak_direction",
    "render_map_0630",
    "render_table_0630",
    "save_scores",
    "score_recording",
    "score_recordings",
    "spatial_matches",
    "tie_range",
]
