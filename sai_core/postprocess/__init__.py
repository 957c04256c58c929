"""From raw detections to annotations: thresholds, NMS, tracking, gating, energy export. No torch, no files.

Every step is a pure function on columns; settings are keyword arguments. The defaults are
those of the official inference script (revision 8abeded), and with them its output is reproduced.
"""

from sai_core.postprocess.boxes import pairwise_iou
from sai_core.postprocess.detections import Detections
from sai_core.postprocess.export import export_top_k
from sai_core.postprocess.pipeline import PipelineSettings, run_pipeline
from sai_core.postprocess.select import cap_per_class, nms_per_class, score_threshold
from sai_core.postprocess.tracking import Tracks, gate_tracks, track

__all__ = [
    "Detections",
    "PipelineSettings",
    "Tracks",
    "cap_per_class",
    "export_top_k",
    "gate_tracks",
    "nms_per_class",
    "pairwise_iou",
    "run_pipeline",
    "score_threshold",
    "track",
]
