"""Pairs by the official assignment and by direction; directions of regions."""

from __future__ import annotations

from dataclasses import fields

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sai_core.annotations.table import AnnotationTable
from sai_core.errors import InputError
from sai_core.metrics import match_recording, region_peak_direction, score_recording, spatial_matches
from tests.metrics.helpers import made_up_recording, region, table


def _rows(*entries: tuple[int, int, float, float]) -> list[tuple[int, int, tuple[np.ndarray, np.ndarray]]]:
    return [(frame, category, region(x, y)) for frame, category, x, y in entries]


def test_pairs_are_those_of_the_scores() -> None:
    labels, predictions = made_up_recording(1)
    matches = match_recording(labels, predictions, use_cache=False)
    scores = score_recording(labels, predictions, use_cache=False)
    np.testing.assert_array_equal(matches.pair_label, scores.pair_label)
    np.testing.assert_array_equal(matches.pair_prediction, scores.pair_prediction)
    np.testing.assert_array_equal(matches.iou, scores.detection_iou[matches.pair_prediction])
    np.testing.assert_array_equal(matches.pearson, scores.pair_pearson)
    assert len(matches) > 10
    expected = predictions.distance_cm[matches.pair_prediction] - labels.distance_cm[matches.pair_label]
    np.testing.assert_array_equal(matches.distance_error_cm, expected)


def test_missed_and_false_are_everything_that_does_not_overlap() -> None:
    labels = table(_rows((0, 1, 100, 90), (0, 1, 200, 90), (1, 2, 50, 60)))
    # overlaps the first label; far from the second (a pair with IoU 0); a class of its own in frame 1
    predictions = table(_rows((0, 1, 101, 90), (0, 1, 300, 90), (1, 3, 52, 61), (2, 4, 10, 90)))
    matches = match_recording(labels, predictions, use_cache=False)
    np.testing.assert_array_equal(matches.pair_label, [0, 1])
    assert matches.iou[0] > 0.5
    assert matches.iou[1] == 0
    np.testing.assert_array_equal(matches.missed, [1, 2])
    np.testing.assert_array_equal(matches.false, [1, 2, 3])
    np.testing.assert_array_equal(matches.confused_label, [2])
    np.testing.assert_array_equal(matches.confused_prediction, [2])
    assert 1.5 < matches.confused_angle_deg[0] < 2.5


def test_confusions_need_another_class_the_same_frame_and_a_small_angle() -> None:
    labels = table(_rows((0, 1, 100, 90), (1, 1, 100, 90), (2, 1, 100, 90)))
    predictions = table(_rows((0, 2, 125, 90), (2, 2, 119, 90), (3, 2, 100, 90)))
    matches = match_recording(labels, predictions, use_cache=False)
    np.testing.assert_array_equal(matches.confused_label, [2])
    wider = match_recording(labels, predictions, angle_deg=30, use_cache=False)
    np.testing.assert_array_equal(wider.confused_label, [0, 2])


def test_seam_is_no_border_for_angles() -> None:
    labels = table(_rows((0, 1, 359, 90)))
    predictions = table(_rows((0, 2, 2, 90)))
    matches = match_recording(labels, predictions, use_cache=False)
    assert matches.confused_angle_deg == pytest.approx([3.0], abs=1e-3)  # half a degree below the horizon
    assert len(spatial_matches(labels, predictions)) == 1


def test_many_possible_matches_give_the_most_pairs_then_the_smallest_angle() -> None:
    # greedy by angle would pair (0, 0) and leave label 1, whose only partner is prediction 0
    labels = table(_rows((0, 1, 100, 90), (0, 1, 118, 90)))
    predictions = table(_rows((0, 2, 101, 90), (0, 2, 82, 90)))
    matches = spatial_matches(labels, predictions)
    assert dict(zip(matches.pair_label, matches.pair_prediction, strict=True)) == {0: 1, 1: 0}


def test_spatial_matches_of_one_class_ignore_the_others() -> None:
    labels = table(_rows((0, 1, 100, 90), (0, 2, 100, 90)))
    predictions = table(_rows((0, 2, 101, 90), (0, 3, 99, 90)))
    matches = spatial_matches(labels, predictions, same_class=True)
    np.testing.assert_array_equal(matches.pair_label, [1])
    np.testing.assert_array_equal(matches.missed, [0])
    np.testing.assert_array_equal(matches.false_category, [3])


@pytest.mark.parametrize("side", ["labels", "predictions", "both"])
def test_empty_sides(side: str) -> None:
    full, _ = made_up_recording(2, n_frames=3)
    empty = AnnotationTable.empty("made_up")
    labels = empty if side != "predictions" else full
    predictions = empty if side != "labels" else full
    matches = match_recording(labels, predictions, use_cache=False)
    spatial = spatial_matches(labels, predictions)
    assert len(matches) == len(spatial) == 0
    assert len(matches.missed) == len(spatial.missed) == len(labels)
    assert len(matches.false) == len(spatial.false) == len(predictions)


def test_angles_must_be_angles() -> None:
    empty = AnnotationTable.empty("a")
    for angle in (0, -1, 181, float("nan")):
        with pytest.raises(InputError, match="angle_deg"):
            match_recording(empty, empty, angle_deg=angle)
        with pytest.raises(InputError, match="angle_deg"):
            spatial_matches(empty, empty, angle_deg=angle)


def test_inputs_stay_as_they_are() -> None:
    labels, predictions = made_up_recording(5, n_frames=4)
    before = [np.array(getattr(t, f.name)) for t in (labels, predictions) for f in fields(t)]
    match_recording(labels, predictions, use_cache=False)
    spatial_matches(labels, predictions)
    after = [np.array(getattr(t, f.name)) for t in (labels, predictions) for f in fields(t)]
    for one, other in zip(before, after, strict=True):
        np.testing.assert_array_equal(one, other)


def test_peak_is_the_first_of_the_strongest_points_at_pixel_centres() -> None:
    points = np.array([[10.0, 20.0], [30.0, 40.0], [50.0, 60.0]])
    with_fraction = points + np.array([0.25, 0.0])
    rows = [(0, 0, (points, np.array([0.5, 0.9, 0.9]))), (0, 0, (with_fraction, np.array([0.1, 0.2, 0.3])))]
    azimuth, elevation = region_peak_direction(table(rows))
    np.testing.assert_allclose(azimuth, [180 - 30.5, 180 - 50.25])
    np.testing.assert_allclose(elevation, [90 - 40.5, 90 - 60.0])


def test_directions_of_annotations_without_points_are_undefined() -> None:
    rows = [(0, 0, (np.zeros((0, 2)), np.zeros(0))), (0, 0, region(100, 90)), (1, 0, (np.zeros((0, 2)), np.zeros(0)))]
    azimuth, elevation = region_peak_direction(table(rows))
    np.testing.assert_array_equal(np.isnan(azimuth), [True, False, True])
    np.testing.assert_array_equal(np.isnan(elevation), [True, False, True])
    matches = spatial_matches(table(rows), table(rows))
    np.testing.assert_array_equal(matches.pair_label, [1])


@given(st.integers(0, 10_000), st.integers(1, 5))
def test_identical_predictions_leave_nothing_over(seed: int, n_frames: int) -> None:
    labels, _ = made_up_recording(seed, n_frames=n_frames)
    matches = spatial_matches(labels, labels, same_class=True)
    assert len(matches) == len(labels)
    np.testing.assert_array_equal(matches.pair_angle_deg < 20.5, True)
