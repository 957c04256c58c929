"""Scores of recordings: exact merging, order, ties, files."""

from __future__ import annotations

import json
from dataclasses import fields, replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sai_core.errors import InputError
from sai_core.metrics import RecordingScores, merge, score_recording, tie_range
from sai_core.metrics.official.average_precision import average_precision_0630, precision_recall_0630
from tests.benchmarks.literal_metrics import literal_ap
from tests.metrics.helpers import made_up_recording, region, table

REVISIONS = ("2026-06-30", "2026-05-28", "2026-05-18", "2026-04-02")


@pytest.fixture(scope="module", params=REVISIONS)
def scores(request: pytest.FixtureRequest) -> list[RecordingScores]:
    result = []
    for k in range(4):
        labels, predictions = made_up_recording(40 + k, n_frames=8, name=f"recording_{k}")
        # coarse scores: many ties, within recordings and between them
        predictions = replace(predictions, score=np.round(predictions.score * 4) / 4)
        result.append(score_recording(labels, predictions, revision=request.param, use_cache=False))
    return result


def _same_bits(one: Any, other: Any) -> None:
    assert json.dumps(one.to_json()) == json.dumps(other.to_json())
    assert one.warnings == other.warnings
    assert one.recordings == other.recordings


@pytest.mark.parametrize("order", [(3, 2, 1, 0), (1, 3, 0, 2), (2, 0, 3, 1)])
def test_merging_in_any_order_gives_the_same_bits(scores: list[RecordingScores], order: tuple[int, ...]) -> None:
    _same_bits(merge(scores), merge([scores[k] for k in order]))


def test_ties_are_ordered_by_recording_frame_class_and_index(scores: list[RecordingScores]) -> None:
    # the same detections listed the other way round within each recording
    turned = []
    for one in scores:
        back = np.arange(len(one))[::-1]
        names = [f.name for f in fields(one) if f.name.startswith("detection_")]
        turned.append(replace(one, **{name: getattr(one, name)[back] for name in names}))
    _same_bits(merge(scores), merge(turned))


def test_ties_between_recordings_go_by_name_before_frame() -> None:
    hit = table([(5, 1, region(100, 90))], name="a")
    miss = table([(0, 1, region(100, 90))], name="b")
    parts = [
        score_recording(hit, replace(hit, score=np.array([0.5])), use_cache=False),
        score_recording(
            miss,
            replace(miss, points_xy=miss.points_xy + np.array([100.0, 0.0]), score=np.array([0.5])),
            use_cache=False,
        ),
    ]
    first = merge(parts)
    assert first.per_class[1].ap[0] == average_precision_0630([True, False], 2)
    other_way = merge([replace(parts[0], recording="c"), parts[1]])
    assert other_way.per_class[1].ap[0] == average_precision_0630([False, True], 2)


def test_ties_at_a_threshold_are_told_and_lie_within_their_range(scores: list[RecordingScores]) -> None:
    evaluation = merge(scores)
    low, high = tie_range(scores)
    assert low < evaluation.macro.mean_ap < high
    assert len(evaluation.warnings) == 1
    assert "share their score" in evaluation.warnings[0]
    distinct = [
        replace(s, detection_score=s.detection_score - 1e-6 * (k + np.arange(len(s)) * 10))
        for k, s in enumerate(scores)
    ]
    assert merge(distinct).warnings == ()
    assert tie_range(distinct) == (merge(distinct).macro.mean_ap,) * 2


def test_a_recording_twice_and_mixed_revisions_are_refused(scores: list[RecordingScores]) -> None:
    with pytest.raises(InputError, match="twice"):
        merge([scores[0], scores[0]])
    labels, predictions = made_up_recording(1, n_frames=2, name="other")
    other_revision = next(r for r in REVISIONS if r != scores[0].revision)
    other = score_recording(labels, predictions, revision=other_revision, use_cache=False)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="cannot be merged"):
        merge([scores[0], other])


def test_columns_must_fit_together(scores: list[RecordingScores]) -> None:
    with pytest.raises(InputError, match="detection columns"):
        replace(scores[0], detection_score=np.zeros(1))
    with pytest.raises(InputError, match="threshold"):
        replace(scores[0], detection_hit=np.zeros((len(scores[0]), 2), np.bool_))
    with pytest.raises(InputError, match="per class"):
        replace(scores[0], n_labels=np.zeros(3, np.int64))
    with pytest.raises(InputError, match="revision"):
        replace(scores[0], revision="2025-01-01")  # type: ignore[arg-type]


def test_nothing_at_all_is_undefined() -> None:
    evaluation = merge([])
    figures = evaluation.to_json()
    assert figures["macro"] == dict.fromkeys(("mAP", "AP25", "AP50", "AP75", "pearson_r"))
    assert figures["micro"]["n_labels"] == 0
    assert np.isnan(tie_range([])).all()


@given(st.lists(st.booleans(), max_size=60), st.integers(0, 80))
def test_average_precision_is_the_plain_one_and_monotone(hits: list[bool], more_labels: int) -> None:
    n_labels = sum(hits) + more_labels
    ap = average_precision_0630(hits, n_labels)
    plain = literal_ap([float(-k) for k in range(len(hits))], hits, n_labels)
    assert ap == plain or (np.isnan(ap) and np.isnan(plain))
    if not n_labels:
        return
    assert 0 <= ap <= 1 + 1e-6
    # one more miss below changes nothing, one more miss on top cannot help
    assert average_precision_0630([*hits, False], n_labels) == ap
    assert average_precision_0630([False, *hits], n_labels) <= ap + 1e-6
    if more_labels:
        assert average_precision_0630([True, *hits], n_labels) >= ap - 1e-6


def test_precision_and_recall_have_the_official_types() -> None:
    recall, precision = precision_recall_0630([True, False, True], 4)
    assert recall.dtype == precision.dtype == np.float32
    np.testing.assert_allclose(recall, [0.25, 0.25, 0.5])
    np.testing.assert_allclose(precision, [1, 0.5, 2 / 3], rtol=1e-6)
