"""What must hold for any stream of detections."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sai_core.detections.boxes import paired_iou
from sai_core.detections.table import Detections
from sai_core.errors import InputError
from sai_core.postprocess import (
    cap_per_class,
    export_regions,
    gate_tracks,
    nms_per_class,
    score_threshold,
    to_annotations,
    track,
)


def _random(seed: int, n: int = 60, n_frames: int = 12, n_classes: int = 3) -> Detections:
    rng = np.random.default_rng(seed)
    corner = rng.uniform([-20, 0], [350, 150], (n, 2))
    size = rng.uniform(1, 30, (n, 2))
    return Detections(
        np.sort(rng.integers(0, n_frames, n)).astype(np.int32),
        rng.integers(0, n_classes, n).astype(np.int16),
        rng.random(n).astype(np.float32),
        np.concatenate([corner, corner + size], axis=1).astype(np.float32),
        rng.uniform(50, 500, n),
        rng.random((n, 28, 28)).astype(np.float32),
    )


seeds = st.integers(0, 2**32 - 1)


@given(seeds, st.floats(0, 1), st.floats(0, 1))
def test_threshold_keeps_fewer_when_higher(seed: int, a: float, b: float) -> None:
    d = _random(seed)
    low = score_threshold(d.score, d.category_id, minimum=min(a, b))
    high = score_threshold(d.score, d.category_id, minimum=max(a, b))
    assert set(high.tolist()) <= set(low.tolist())


def test_threshold_per_class() -> None:
    d = _random(3)
    rows = score_threshold(d.score, d.category_id, minimum=0.0, per_class={1: 1.0})
    assert set(d.category_id[rows].tolist()) == {0, 2}
    assert rows.shape[0] == int((d.category_id != 1).sum())


@given(seeds, st.floats(0, 1), st.booleans())
def test_nms_is_idempotent_and_separates_classes(seed: int, iou: float, wrap: bool) -> None:
    d = _random(seed, n_frames=3)
    once = d.take(nms_per_class(d.frame, d.category_id, d.score, d.boxes_xyxy, iou=iou, wrap=wrap))
    again = nms_per_class(once.frame, once.category_id, once.score, once.boxes_xyxy, iou=iou, wrap=wrap)
    assert again.tolist() == list(range(len(once)))
    alone = d.take(np.flatnonzero(d.category_id == 1))
    kept = alone.take(nms_per_class(alone.frame, alone.category_id, alone.score, alone.boxes_xyxy, iou=iou, wrap=wrap))
    np.testing.assert_array_equal(kept.score, once.score[once.category_id == 1])


@given(seeds, st.integers(-2, 2))
def test_iou_wraps_with_the_canvas(seed: int, turns: int) -> None:
    d = _random(seed)
    moved = d.boxes_xyxy.copy()
    moved[:, [0, 2]] += np.float32(360 * turns)
    np.testing.assert_allclose(
        paired_iou(d.boxes_xyxy[:, None], moved, wrap=True),
        paired_iou(d.boxes_xyxy[:, None], d.boxes_xyxy, wrap=True),
        rtol=0,
        atol=2e-4,  # float32 coordinates near 700 resolve 6e-5 px, boxes are >= 1 px
    )


def test_iou_across_the_seam() -> None:
    a = np.array([[350.0, 10, 370, 20]])
    b = np.array([[0.0, 10, 10, 20]])
    assert paired_iou(a, b, wrap=False)[0] == 0
    assert paired_iou(a, b, wrap=True)[0] == pytest.approx(0.5)


@given(seeds, st.integers(0, 6), st.floats(0, 1))
def test_tracks_stay_in_class_and_use_each_detection_once(seed: int, max_age: int, iou: float) -> None:
    d = _random(seed)
    tracks = track(d, n_frames=20, iou=iou, max_age=max_age)
    assert sorted(tracks.detection[~tracks.coasting].tolist()) == list(range(len(d)))
    for track_id in np.unique(tracks.track_id):
        rows = tracks.track_id == track_id
        assert np.unique(d.category_id[tracks.detection[rows]]).size == 1
        frames = tracks.frame[rows]
        assert np.all(np.diff(frames) == 1)  # a track is shown without holes from first to last frame
    if max_age == 0:
        assert not tracks.coasting.any()


@given(seeds, st.integers(1, 4))
def test_gating_is_monotone(seed: int, min_hits: int) -> None:
    tracks = track(_random(seed))
    assert not np.any(gate_tracks(tracks, min_hits=min_hits + 1) & ~gate_tracks(tracks, min_hits=min_hits))


@given(seeds)
def test_export_is_readable_on_the_canvas(seed: int) -> None:
    d = _random(seed)
    before = d.energy.copy()
    tracks = track(d)
    table = to_annotations(tracks, d, export_regions(d.energy, d.boxes_xyxy, d.frame, tracks.detection), recording="r")
    assert table.points_xy[:, 0].min() >= 0
    assert table.points_xy[:, 0].max() <= 360
    assert table.points_xy[:, 1].min() >= 0
    assert table.points_xy[:, 1].max() <= 180
    assert np.diff(table.point_offsets).max() <= 20
    np.testing.assert_array_equal(d.energy, before)


def test_nothing_in_nothing_out() -> None:
    d = _random(0, n=0)
    assert len(score_threshold(d.score, d.category_id)) == 0
    assert len(nms_per_class(d.frame, d.category_id, d.score, d.boxes_xyxy)) == 0
    assert len(cap_per_class(d.frame, d.category_id, d.score)) == 0
    tracks = track(d, n_frames=5)
    assert len(tracks) == 0
    assert len(gate_tracks(tracks)) == 0
    regions = export_regions(d.energy, d.boxes_xyxy, d.frame, tracks.detection)
    assert len(to_annotations(tracks, d, regions, recording="r")) == 0


def test_user_mistakes_are_told() -> None:
    d = _random(0)
    with pytest.raises(InputError, match=r"score threshold is 1\.5"):
        score_threshold(d.score, d.category_id, minimum=1.5)
    with pytest.raises(InputError, match="class 13"):
        score_threshold(d.score, d.category_id, per_class={13: 0.5})
    with pytest.raises(InputError, match="at least 1"):
        cap_per_class(d.frame, d.category_id, d.score, at_most=0)
    with pytest.raises(InputError, match="a detection is in frame"):
        track(d, n_frames=1)
    boxes = d.boxes_xyxy.copy()
    boxes[7] = [10, 0, 5, 5]
    with pytest.raises(InputError, match="box 7"):
        Detections(d.frame, d.category_id, d.score, boxes, d.distance_cm, d.energy)
