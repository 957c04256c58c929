"""Agreement with the official filtering, tracking and export on a stream of 60 frames."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from sai_core.detections.table import Detections
from sai_core.postprocess import (
    PipelineSettings,
    Tracks,
    cap_per_class,
    export_regions,
    gate_tracks,
    nms_per_class,
    run_pipeline,
    score_threshold,
    to_annotations,
    track,
)

pytestmark = pytest.mark.oracle


def _stream(oracle: Path) -> Detections:
    z = np.load(oracle / "tracker" / "f5_stream.npz", allow_pickle=False)
    return Detections(
        np.repeat(np.arange(z["counts"].shape[0]), z["counts"]),
        z["labels"].astype(np.int16) - 1,
        (z["scores_x2p20"] / 2**20).astype(np.float32),
        (z["boxes_x256"] / 256).astype(np.float32),
        z["dist_x2p16"] / 2**16 * 500.0,
        z["energy_maps"],
    )


def _run(detections: Detections, parameters: dict) -> tuple[Detections, Tracks]:
    d = detections
    d = d.take(score_threshold(d.score, d.category_id, minimum=parameters["score_thr"]))
    d = d.take(nms_per_class(d.frame, d.category_id, d.score, d.boxes_xyxy, iou=parameters["nms_iou_thr"], wrap=False))
    d = d.take(cap_per_class(d.frame, d.category_id, d.score, at_most=parameters["max_dets_per_class"]))
    return d, track(
        d,
        n_frames=60,
        iou=parameters["iou_thr"],
        max_age=parameters["max_age"],
        coast_decay=parameters["coast_decay"],
        wrap=False,
    )


def test_filtering_matches_official(oracle: Path) -> None:
    expected = json.loads((oracle / "tracker" / "f5_filtered_default.json").read_text())
    parameters = json.loads((oracle / "tracker" / "f5_tracks_default.json").read_text())["params"]
    kept, _ = _run(_stream(oracle), parameters)
    for frame in expected:
        rows = kept.frame == frame["frame"]
        assert (kept.category_id[rows] + 1).tolist() == frame["labels"]
        assert kept.score[rows].tolist() == frame["scores"]
        assert kept.boxes_xyxy[rows].tolist() == frame["boxes"]


@pytest.mark.parametrize("setting", ["default", "alt"])
def test_tracks_match_official(oracle: Path, setting: str) -> None:
    expected = json.loads((oracle / "tracker" / f"f5_tracks_{setting}.json").read_text())
    kept, tracks = _run(_stream(oracle), expected["params"])
    for index, frame in enumerate(expected["frames"]):
        rows = np.flatnonzero(tracks.frame == index)
        assert tracks.track_id[rows].tolist() == [t["track_id"] for t in frame]
        assert (kept.category_id[tracks.detection[rows]] + 1).tolist() == [t["label"] for t in frame]
        assert tracks.coasting[rows].tolist() == [t["coasting"] for t in frame]
        assert tracks.hits[rows].tolist() == [t["hits"] for t in frame]
        assert kept.boxes_xyxy[tracks.detection[rows]].tolist() == [t["box"] for t in frame]
        # both multiply doubles in the same order: equal to the last bit
        assert tracks.score[rows].tolist() == [t["score"] for t in frame]


@pytest.mark.parametrize("setting", ["default", "alt"])
def test_export_matches_official(oracle: Path, setting: str) -> None:
    parameters = json.loads((oracle / "tracker" / f"f5_tracks_{setting}.json").read_text())["params"]
    expected = json.loads((oracle / "tracker" / f"f5_export_{setting}.json").read_text())["annotations"]
    kept, tracks = _run(_stream(oracle), parameters)
    tracks = tracks.take(gate_tracks(tracks, min_hits=parameters["min_hits"]))
    regions = export_regions(
        kept.energy,
        kept.boxes_xyxy,
        kept.frame,
        tracks.detection,
        top_k=parameters["energy_top_k"],
        min_energy=parameters["energy_export_thr"],
    )
    table = to_annotations(tracks, kept, regions, recording="stream")
    assert len(table) == len(expected)
    for i, annotation in enumerate(expected):
        assert int(table.frame[i]) == annotation["metadata_frame_index"]
        assert int(table.instance_id[i]) == annotation["instance_id"]
        assert int(table.category_id[i]) == annotation["category_id"]
        assert float(table.score[i]) == annotation["score"]
        assert float(table.distance_cm[i]) == annotation["distance"]
        points, energy = table.points(i)
        assert np.column_stack([points, energy]).tolist() == annotation["segmentation"][0]


def test_pipeline_is_the_steps_in_order(oracle: Path) -> None:
    expected = json.loads((oracle / "tracker" / "f5_export_default.json").read_text())["annotations"]
    table = run_pipeline(_stream(oracle), recording="stream", n_frames=60, settings=PipelineSettings(wrap_seam=False))
    assert table.instance_id.tolist() == [a["instance_id"] for a in expected]
    assert table.points_xy.shape[0] == sum(len(a["segmentation"][0]) for a in expected)
