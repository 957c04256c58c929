"""All four revisions of the official metrics, and what users want beside them."""

from sai_core.metrics.evaluation.evaluate import evaluate, evaluate_revisions, score_recordings
from sai_core.metrics.evaluation.matching import (
    MATCH_ANGLE_DEG,
    RecordingMatches,
    SpatialMatches,
    match_recording,
    spatial_matches,
)
from sai_core.metrics.evaluation.recording import score_recording
from sai_core.metrics.evaluation.scores import (
    Evaluation,
    Failure,
    Figures,
    RecordingScores,
    as_revision,
    merge,
    tie_range,
)
from sai_core.metrics.official.blobs_0402 import render_map_0402
from sai_core.metrics.official.directions import region_peak_direction
from sai_core.metrics.official.rendering_0630 import SparseMaps, render_map_0630, render_table_0630
from sai_core.metrics.official.revisions import REVISION_NOTES, REVISIONS, SOFT_REVISIONS, THRESHOLDS, Revision, is_soft
from sai_core.metrics.reading.diagnostics import (
    BootstrapResult,
    ErrorCounts,
    Interval,
    PairErrors,
    PrecisionRecallCurve,
    bootstrap,
    class_agnostic_figures,
    confusion_matrix,
    count_errors,
    find_false_positives,
    find_missed,
    matched_class_f1,
    pair_errors,
    precision_recall_curve,
)

__all__ = [
    "MATCH_ANGLE_DEG",
    "REVISIONS",
    "REVISION_NOTES",
    "SOFT_REVISIONS",
    "THRESHOLDS",
    "BootstrapResult",
    "ErrorCounts",
    "Evaluation",
    "Failure",
    "Figures",
    "Interval",
    "PairErrors",
    "PrecisionRecallCurve",
    "RecordingMatches",
    "RecordingScores",
    "Revision",
    "SparseMaps",
    "SpatialMatches",
    "as_revision",
    "bootstrap",
    "class_agnostic_figures",
    "confusion_matrix",
    "count_errors",
    "evaluate",
    "evaluate_revisions",
    "find_false_positives",
    "find_missed",
    "is_soft",
    "match_recording",
    "matched_class_f1",
    "merge",
    "pair_errors",
    "precision_recall_curve",
    "region_peak_direction",
    "render_map_0402",
    "render_map_0630",
    "render_table_0630",
    "score_recording",
    "score_recordings",
    "spatial_matches",
    "tie_range",
]
