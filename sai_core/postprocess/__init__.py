"""From raw detections to annotations: thresholds, NMS, tracking, gating, energy export. No torch.

Every step is a pure function on columns; settings are keyword arguments. The defaults are
those of the official inference script (revision 8abeded), and with them its output is reproduced.
:mod:`sai_core.postprocess.pipeline` chains the steps with one settings object, and
:mod:`sai_core.postprocess.systems` reads and writes such settings as named systems.
"""

from sai_core.postprocess.export import Regions, export_regions, to_annotations
from sai_core.postprocess.pipeline import (
    Candidates,
    PipelineSettings,
    Prepared,
    annotate,
    candidates,
    choose_best_classes,
    prepare,
    regions_of,
    run_pipeline,
    run_prepared,
    select_tracks,
)
from sai_core.postprocess.select import cap_per_class, nms_per_class, score_threshold
from sai_core.postprocess.systems import System, list_systems, load_system, run_system, save_system
from sai_core.postprocess.tracking import Tracks, gate_tracks, track

__all__ = [
    "Candidates",
    "PipelineSettings",
    "Prepared",
    "Regions",
    "System",
    "Tracks",
    "annotate",
    "candidates",
    "cap_per_class",
    "choose_best_classes",
    "export_regions",
    "gate_tracks",
    "list_systems",
    "load_system",
    "nms_per_class",
    "prepare",
    "regions_of",
    "run_pipeline",
    "run_prepared",
    "run_system",
    "save_system",
    "score_threshold",
    "select_tracks",
    "to_annotations",
    "track",
]
