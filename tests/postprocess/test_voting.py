"""Box voting: what each candidate's vote is worth, over time and over the seam."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sai_core.errors import InputError
from sai_core.geometry import ERP_WIDTH
from sai_core.postprocess import PipelineSettings, candidates, prepare, regions_of, run_prepared
from sai_core.postprocess.voting import vote_regions
from tests.annotations.helpers import assert_same
from tests.postprocess.raws import make_raw


def _maps(*values: float) -> np.ndarray:
    return np.array(values, dtype=np.float16)[:, None, None] * np.ones((1, 2, 3), np.float16)


def test_votes_by_hand():
    # one frame before, the same frame twice, two frames after; the last box is elsewhere
    frame = np.array([0, 1, 1, 3, 3])
    boxes = np.array([[100, 40, 120, 60], [100, 40, 120, 60], [105, 40, 125, 60], [100, 40, 120, 60], [10, 0, 30, 20]])
    score = np.array([0.4, 0.8, 0.5, 1.0, 1.0])
    found, maps = vote_regions(frame, boxes, _maps(0.1, 0.2, 0.6, 0.4, 1), score, np.array([1]), iou=0.5, n_frames=2)
    # IoU of the shifted box: 15 of 25 columns; weights 2/3 one frame away, 1/3 two frames away
    weight = np.array([0.4 * 2 / 3, 0.8, 0.5 * 15 / 25, 1.0 / 3])
    weight /= weight.sum()
    np.testing.assert_allclose(found[0], [100 + 5 * weight[2], 40, 120 + 5 * weight[2], 60], rtol=1e-6)
    np.testing.assert_allclose(maps[0], weight @ np.array([0.1, 0.2, 0.6, 0.4]), rtol=1e-3)


def test_only_overlapping_boxes_of_near_frames_vote():
    frame = np.array([0, 0, 5])
    boxes = np.array([[100, 40, 120, 60], [112, 40, 132, 60], [100, 40, 120, 60]])
    maps = _maps(0.5, 1.0, 1.0)
    found, energy = vote_regions(frame, boxes, maps, np.ones(3), np.array([0]), iou=0.5, n_frames=4)
    np.testing.assert_array_equal(found[0], boxes[0])
    np.testing.assert_allclose(energy[0], 0.5)
    near, energy = vote_regions(frame, boxes, maps, np.ones(3), np.array([0]), iou=0.5, n_frames=5)
    assert energy[0, 0, 0] > 0.5
    np.testing.assert_array_equal(near[0], boxes[0])


def test_a_box_over_the_seam_and_its_copy_at_the_left_edge_agree():
    boxes = np.array([[350.0, 40, 370, 60], [-12, 40, 8, 60]])
    found, _ = vote_regions(np.zeros(2, int), boxes, _maps(1, 1), np.ones(2), np.array([0, 1]), iou=0.3, n_frames=0)
    # the copy is two columns to the left: at weight IoU / (1 + IoU) of the way
    overlap = 18 / 22
    np.testing.assert_allclose(found[0, 0], 350 - 2 * overlap / (1 + overlap), rtol=1e-6)
    np.testing.assert_allclose(found[1, 0], -12 + 2 * overlap / (1 + overlap), rtol=1e-5)


def test_without_any_score_a_region_stays_its_own():
    boxes = np.array([[100, 40, 120, 60], [102, 40, 122, 60]])
    found, maps = vote_regions(np.zeros(2, int), boxes, _maps(0.25, 1), np.zeros(2), np.array([0]), iou=0.3, n_frames=0)
    np.testing.assert_array_equal(found[0], boxes[0])
    np.testing.assert_array_equal(maps[0], 0.25)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**16), st.floats(0.05, 0.95), st.integers(0, 4), st.integers(1, 40))
def test_any_part_of_the_regions_is_the_same_to_the_last_bit(seed: int, iou: float, n_frames: int, step: int) -> None:
    raw = make_raw(seed, n_frames=10)
    score = raw.class_scores.max(axis=1)
    everyone = np.arange(len(raw))
    boxes, maps = vote_regions(raw.frame, raw.boxes_xyxy, raw.energy, score, everyone, iou=iou, n_frames=n_frames)
    some = everyone[::step]
    part = vote_regions(raw.frame, raw.boxes_xyxy, raw.energy, score, some, iou=iou, n_frames=n_frames)
    np.testing.assert_array_equal(part[0], boxes[some])
    np.testing.assert_array_equal(part[1], maps[some])
    assert np.all(boxes[:, 2:] >= boxes[:, :2])
    assert np.all(np.abs(boxes - raw.boxes_xyxy) < ERP_WIDTH / 4)
    assert maps.min() >= 0
    assert maps.max() <= 1 + 1e-6


def test_in_chunks_it_is_the_same(monkeypatch: pytest.MonkeyPatch):
    raw = make_raw(3)
    score, rows = raw.class_scores.max(axis=1), np.arange(len(raw))
    whole = vote_regions(raw.frame, raw.boxes_xyxy, raw.energy, score, rows, iou=0.2, n_frames=3)
    monkeypatch.setattr("sai_core.postprocess.voting._PAIRS_AT_ONCE", 50)
    parts = vote_regions(raw.frame, raw.boxes_xyxy, raw.energy, score, rows, iou=0.2, n_frames=3)
    np.testing.assert_array_equal(parts[0], whole[0])
    np.testing.assert_array_equal(parts[1], whole[1])


def test_a_region_depends_on_no_setting_of_the_candidates():
    raw = make_raw(5)
    voted = PipelineSettings(export="region", vote_iou=0.3, vote_frames=2)
    rows = np.arange(0, len(raw), 7)
    one = regions_of(candidates(prepare(raw), voted), rows, voted)
    other = replace(voted, ranking="objectness", min_class_score=0.2)
    two = regions_of(candidates(prepare(raw), other), rows, other)
    np.testing.assert_array_equal(one.points_xy, two.points_xy)
    np.testing.assert_array_equal(one.energy, two.energy)
    np.testing.assert_array_equal(one.rows, rows)
    # scores, classes and tracks are those of the same settings without votes
    plain, table = run_prepared(prepare(raw), replace(voted, vote_iou=1.0)), run_prepared(prepare(raw), voted)
    np.testing.assert_array_equal(table.score, plain.score)
    np.testing.assert_array_equal(table.category_id, plain.category_id)
    assert not np.array_equal(table.points_xy, plain.points_xy)


def test_switched_off_it_changes_nothing():
    raw = make_raw(6)
    s = PipelineSettings(export="region")
    assert_same(run_prepared(prepare(raw), s), run_prepared(prepare(raw), replace(s, vote_frames=5)))


@pytest.mark.parametrize(("iou", "n_frames"), [(0.0, 0), (1.2, 0), (0.5, -1)])
def test_impossible_options(iou: float, n_frames: int):
    with pytest.raises(InputError, match="voting"):
        vote_regions(np.zeros(1, int), np.ones((1, 4)), _maps(1), np.ones(1), np.array([0]), iou=iou, n_frames=n_frames)
