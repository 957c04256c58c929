"""Reliability of scores."""

from __future__ import annotations

import numpy as np
import pytest

from sai_core.errors import InputError
from sai_core.metrics import RecordingScores, score_recording
from sai_core.metrics.reading.calibration import _wilson, reliability_curve, score_bin, threshold_column
from tests.metrics.helpers import made_up_recording, region, table


@pytest.fixture(scope="module", params=["2026-06-30", "2026-05-18", "2026-04-02"])
def scores(request: pytest.FixtureRequest) -> list[RecordingScores]:
    pairs = [made_up_recording(20 + k, n_frames=8, name=f"r{k}") for k in range(3)]
    return [score_recording(*pair, revision=request.param, use_cache=False) for pair in pairs]


def test_bins_add_up_to_the_plain_definition(scores: list[RecordingScores]) -> None:
    curve = reliability_curve(scores, threshold=0.5, n_bins=5)
    score = np.concatenate([s.detection_score for s in scores])
    hit = np.concatenate([s.detection_hit[:, threshold_column(s.revision, 0.5)] for s in scores])
    assert curve.count.sum() == len(score)
    error = 0.0
    for k in range(5):
        inside = (score >= curve.edges[k]) & ((score < curve.edges[k + 1]) | (k == 4))
        assert curve.count[k] == inside.sum()
        if inside.any():
            assert curve.precision[k] == pytest.approx(hit[inside].mean())
            assert curve.mean_score[k] == pytest.approx(score[inside].mean())
            assert curve.low[k] <= curve.precision[k] <= curve.high[k]
            error += inside.mean() * abs(hit[inside].mean() - score[inside].mean())
        else:
            assert np.isnan(curve.precision[k])
    assert curve.expected_error == pytest.approx(error)
    assert curve.largest_error >= curve.expected_error
    assert curve.brier == pytest.approx(np.mean((score - hit) ** 2))


def test_a_class_has_its_own_curve(scores: list[RecordingScores]) -> None:
    total = sum(reliability_curve(scores, category_id=c).count for c in range(13))
    np.testing.assert_array_equal(total, reliability_curve(scores).count)


def test_scores_that_mean_what_they_say_have_no_error() -> None:
    rows = [(k, 1, region(100, 90)) for k in range(4)]
    labels = table(rows)
    predictions = table([(k, 1, region(100 if k < 2 else 250, 90)) for k in range(4)], scores=[0.5] * 4)
    curve = reliability_curve([score_recording(labels, predictions, use_cache=False)])
    assert curve.expected_error == 0
    assert curve.brier == pytest.approx(0.25)
    # Wilson interval of 2 of 4, from its formula worked out by hand
    assert curve.low[5] == pytest.approx(0.1500, abs=1e-4)
    assert curve.high[5] == pytest.approx(0.8500, abs=1e-4)


def test_edges_belong_to_the_bin_above() -> None:
    edges = np.linspace(0, 1, 11)
    np.testing.assert_array_equal(score_bin(np.array([-1, 0, edges[3], 0.999, 1, 2]), edges), [0, 0, 3, 9, 9, 9])


def test_nothing_is_undefined_and_wrong_requests_are_told() -> None:
    empty = reliability_curve([])
    assert np.isnan(empty.expected_error)
    assert empty.count.sum() == 0
    with pytest.raises(InputError, match="category_id"):
        reliability_curve([], category_id=13)
    with pytest.raises(InputError, match="n_bins"):
        reliability_curve([], n_bins=0)
    with pytest.raises(InputError, match="thresholds"):
        threshold_column("2026-06-30", 0.6)


def test_an_interval_holds_its_share_whatever_the_rounding() -> None:
    n = np.tile(np.arange(1, 2001), 3)
    share = np.repeat([0.0, 1.0, 0.5], 2000)
    low, high = _wilson(share, n)
    assert bool(((low >= 0) & (low <= share) & (share <= high) & (high <= 1)).all())
