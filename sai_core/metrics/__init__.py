"""Both revisions of the official metrics, and what users want beside them."""

from sai_core.metrics.evaluation import evaluate, score_recording, score_recordings
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
    "REVISIONS",
    "THRESHOLDS",
    "Evaluation",
    "Figures",
    "RecordingScores",
    "Revision",
    "SparseMaps",
    "evaluate",
    "load_scores",
    "merge",
    "render_map_0630",
    "render_table_0630",
    "save_scores",
    "score_recording",
    "score_recordings",
    "tie_range",
]
