"""The steps in the official order, with one settings object."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from sai_core.annotations.table import AnnotationTable
from sai_core.postprocess.detections import Detections
from sai_core.postprocess.export import export_top_k
from sai_core.postprocess.select import cap_per_class, nms_per_class, score_threshold
from sai_core.postprocess.tracking import gate_tracks, track


@dataclass(frozen=True, kw_only=True)
class PipelineSettings:
    """Settings of every step; the defaults are those of the official inference script (8abeded).

    ``wrap_seam`` is the one that differs: ours sees the cylinder, the official script a plane; set it to False to
    reproduce its output.
    """

    min_score: float = 0.35
    min_score_per_class: Mapping[int, float] = field(default_factory=dict)
    nms_iou: float = 0.3
    max_per_class: int = 3
    track_iou: float = 0.3
    max_age: int = 5
    coast_decay: float = 0.9
    min_hits: int = 2
    min_mean_score: float = 0.0
    min_length: int = 1
    top_k: int = 20
    min_energy: float = 0.1
    wrap_seam: bool = True


def run_pipeline(
    detections: Detections, *, recording: str, n_frames: int, settings: PipelineSettings | None = None
) -> AnnotationTable:
    """Threshold, NMS, class cap, tracking, gating, export.

    Parameters
    ----------
    detections : Detections
        Candidates of one recording, before any threshold.
    recording : str
    n_frames : int
        Length of the recording in 100 ms frames; tracks coast no further.
    settings : PipelineSettings, optional

    Raises
    ------
    InputError
        A setting out of range.
    """
    s = settings or PipelineSettings()
    d = detections
    d = d.take(score_threshold(d.score, d.category_id, minimum=s.min_score, per_class=s.min_score_per_class))
    d = d.take(nms_per_class(d.frame, d.category_id, d.score, d.boxes_xyxy, iou=s.nms_iou, wrap=s.wrap_seam))
    d = d.take(cap_per_class(d.frame, d.category_id, d.score, at_most=s.max_per_class))
    tracks = track(
        d, n_frames=n_frames, iou=s.track_iou, max_age=s.max_age, coast_decay=s.coast_decay, wrap=s.wrap_seam
    )
    keep = gate_tracks(tracks, min_hits=s.min_hits, min_mean_score=s.min_mean_score, min_length=s.min_length)
    return export_top_k(tracks.take(keep), d, recording=recording, top_k=s.top_k, min_energy=s.min_energy)
