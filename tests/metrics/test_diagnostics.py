"""Curves, confusions, errors and intervals."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from sai_core.errors import InputError
from sai_core.metrics import (
    RecordingScores,
    bootstrap,
    class_agnostic_figures,
    confusion_matrix,
    count_errors,
    evaluate,
    find_false_positives,
    find_missed,
    matched_class_f1,
    merge,
    pair_errors,
    precision_recall_curve,
    score_recording,
    spatial_matches,
)
from tests.metrics.helpers import made_up_recording, region, table


def _rows(*entries: tuple[int, int, float, float]) -> list[tuple[int, int, tuple[np.ndarray, np.ndarray]]]:
    return [(frame, category, region(x, y)) for frame, category, x, y in entries]


@pytest.fixture(scope="module", params=["2026-06-30", "2026-05-18", "2026-04-02"])
def scores(request: pytest.FixtureRequest) -> list[RecordingScores]:
    pairs = [made_up_recording(80 + k, n_frames=8, name=f"r{k}") for k in range(4)]
    return [score_recording(*pair, revision=request.param, use_cache=False) for pair in pairs]


def test_curves_end_at_the_counts_and_carry_the_ap_of_the_table(scores: list[RecordingScores]) -> None:
    evaluation = merge(scores)
    threshold = evaluation.thresholds[1]
    for c in (*range(5), None):
        row = evaluation.micro if c is None else evaluation.per_class[c]
        curve = precision_recall_curve(scores, threshold=threshold, category_id=c)
        assert len(curve.recall) == len(curve.precision) == len(curve.score) == row.n_detections
        assert curve.n_labels == row.n_labels
        assert (np.diff(curve.recall) >= 0).all()
        assert (np.diff(curve.score) <= 0).all()
        if c is not None:
            assert curve.average_precision == row.ap[1]
        n_hits = sum(int(s.detection_hit[(s.detection_category == c) | (c is None), 1].sum()) for s in scores)
        assert curve.recall[-1] == pytest.approx(n_hits / row.n_labels, abs=1e-6)
        assert curve.precision[-1] == pytest.approx(n_hits / row.n_detections, abs=1e-6)


def test_curve_of_a_known_case() -> None:
    labels = table(_rows((0, 1, 100, 90), (1, 1, 100, 90)))
    predictions = table(_rows((0, 1, 100, 90), (1, 1, 200, 90), (2, 1, 100, 90)), scores=[0.9, 0.8, 0.7])
    curve = precision_recall_curve([score_recording(labels, predictions, use_cache=False)], category_id=1)
    np.testing.assert_allclose(curve.recall, [0.5, 0.5, 0.5])
    np.testing.assert_allclose(curve.precision, [1, 0.5, 1 / 3], rtol=1e-6)
    np.testing.assert_array_equal(curve.score, [0.9, 0.8, 0.7])
    assert curve.average_precision == pytest.approx(51 / 101, abs=1e-6)


def test_curves_of_nothing_and_of_wrong_requests(scores: list[RecordingScores]) -> None:
    assert len(precision_recall_curve([]).recall) == 0
    empty = precision_recall_curve(scores, threshold=merge(scores).thresholds[0], category_id=12)
    assert empty.n_labels == 0
    assert np.isnan(empty.average_precision)
    with pytest.raises(InputError, match="thresholds"):
        precision_recall_curve(scores, threshold=0.33)
    with pytest.raises(InputError, match="category_id"):
        precision_recall_curve(scores, category_id=13)


def test_error_counts_and_the_frames_behind_them(scores: list[RecordingScores]) -> None:
    counts = count_errors(scores, threshold=0.5)
    assert counts.recordings == ("r0", "r1", "r2", "r3")
    for row, one in enumerate(scores):
        missed, frames = find_missed(one, threshold=0.5)
        assert len(missed) == counts.missed[row].sum()
        assert (np.diff(missed) > 0).all()
        category = dict(zip(one.label_index.tolist(), one.label_category.tolist(), strict=True))
        by_class = np.bincount([category[i] for i in missed.tolist()], minlength=13)
        np.testing.assert_array_equal(by_class, counts.missed[row])
        np.testing.assert_array_equal(frames, one.label_frame[np.isin(one.label_index, missed)])
        false, _ = find_false_positives(one, threshold=0.5)
        assert len(false) == counts.false_positives[row].sum()
        hits = one.n_detections.sum() - len(false)
        assert one.n_labels.sum() - len(missed) == hits
    with pytest.raises(InputError, match="thresholds"):
        count_errors(scores, threshold=0.4)


def test_labels_behind_detections_are_kept_at_half_only_for_april() -> None:
    labels, predictions = made_up_recording(3, n_frames=2)
    april = score_recording(labels, predictions, revision="2026-04-02")
    with pytest.raises(InputError, match=r"0\.5 only"):
        find_missed(april, threshold=0.75)


def test_confusions_and_class_f1_of_a_known_case() -> None:
    labels = table(_rows((0, 1, 100, 90), (0, 2, 200, 90), (1, 1, 100, 90), (2, 3, 50, 90)))
    # right, named 1 instead of 2, nothing near, and one prediction where there is no label
    predictions = table(_rows((0, 1, 101, 90), (0, 1, 199, 90), (1, 1, 200, 90), (3, 4, 10, 90)))
    matches = [spatial_matches(labels, predictions)]
    matrix = confusion_matrix(matches)
    assert matrix.sum() == 6
    assert (matrix[1, 1], matrix[2, 1], matrix[1, 13], matrix[3, 13], matrix[13, 1], matrix[13, 4]) == (
        1,
        1,
        1,
        1,
        1,
        1,
    )
    macro, per_class = matched_class_f1(matches)
    # class 1: two matched predictions, one right, one matched label; classes 2 and 3 have no right pair
    assert per_class[1] == pytest.approx(2 / 3)
    np.testing.assert_array_equal(per_class[[2, 3]], 0)
    assert np.isnan(per_class[[0, 4]]).all()
    assert macro == pytest.approx(2 / 9)
    assert np.isnan(matched_class_f1([])[0])


def test_class_f1_is_symmetric_to_merging() -> None:
    parts = [spatial_matches(*made_up_recording(k, n_frames=5)) for k in range(3)]
    np.testing.assert_array_equal(confusion_matrix(parts), sum(confusion_matrix([p]) for p in parts))
    assert matched_class_f1(parts)[0] == matched_class_f1(parts[::-1])[0]


def test_pair_errors_of_a_known_case() -> None:
    labels = table(
        _rows((0, 1, 100, 89), (1, 1, 100, 89), (2, 1, 100, 89), (3, 2, 10, 89)), distances=[100, 200, 0, 50]
    )
    guesses = _rows((0, 1, 104, 89), (1, 1, 96, 89), (2, 1, 100, 89), (3, 1, 10, 89))
    predictions = table(guesses, distances=[110, 100, 5, np.nan])
    per_class, overall = pair_errors([spatial_matches(labels, predictions)])
    assert overall.n_pairs == 3  # the fourth pair is of another class
    assert overall.mean_deg == pytest.approx(8 / 3, abs=1e-3)
    assert overall.median_deg == pytest.approx(4, abs=1e-3)
    assert overall.n_distances == 2  # a label at 0 cm has no percentage
    assert overall.mean_abs_cm == pytest.approx(55)
    assert overall.bias_cm == pytest.approx(-45)
    assert overall.mape == pytest.approx(30)
    assert per_class[1] == overall
    assert per_class[2].n_pairs == 0
    assert np.isnan(per_class[2].mean_deg)


def test_merging_classes_matches_across_them() -> None:
    labels = table(_rows((0, 1, 100, 90), (0, 2, 200, 90)))
    predictions = table(_rows((0, 3, 100, 90), (0, 1, 200, 90)), scores=[0.9, 0.8])
    for revision in ("2026-06-30", "2026-04-02"):
        assert evaluate({"a": labels}, {"a": predictions}, revision=revision).macro.mean_ap == 0
        merged = class_agnostic_figures({"a": labels}, {"a": predictions}, revision=revision)
        assert merged.mean_ap == pytest.approx(1.0, abs=1e-6)
        assert (merged.n_labels, merged.n_detections, merged.name) == (2, 2, "all classes")
        assert np.isnan(class_agnostic_figures({}, {}, revision=revision).mean_ap)


def test_bootstrap_is_seeded_and_surrounds_the_figure(scores: list[RecordingScores]) -> None:
    evaluation = merge(scores)
    first = bootstrap(scores, n=50, seed=3)
    second = bootstrap(scores[::-1], n=50, seed=3)
    np.testing.assert_array_equal(first.macro, second.macro)
    np.testing.assert_array_equal(first.per_class_map, second.per_class_map)
    assert not np.array_equal(first.macro, bootstrap(scores, n=50, seed=4).macro)
    interval = first.interval("mAP")
    assert interval.value == evaluation.macro.mean_ap
    assert interval.low < interval.value < interval.high
    wider = first.interval("mAP", level=0.99)
    assert wider.low <= interval.low
    assert interval.high <= wider.high
    assert first.interval("pearson_r", row="micro").value == evaluation.micro.pearson_r


def test_resampling_a_single_recording_gives_its_own_figures(scores: list[RecordingScores]) -> None:
    evaluation = merge(scores[:1])
    result = bootstrap(scores[:1], n=3)
    expected = [*evaluation.macro.ap, evaluation.macro.mean_ap, evaluation.macro.pearson_r]
    np.testing.assert_allclose(result.macro[:, : len(expected)], [expected] * 3, rtol=0, atol=1e-6)
    np.testing.assert_allclose(result.per_class_map[0], [row.mean_ap for row in evaluation.per_class], atol=1e-6)


def test_a_recording_drawn_twice_counts_as_two(scores: list[RecordingScores]) -> None:
    result = bootstrap(scores[:2], n=40, seed=1)
    # a resample of one recording twice has the Pearson r of that recording, and its AP but for doubled detections
    alone = [merge([s]).macro.pearson_r for s in scores[:2]]
    both = merge(scores[:2]).macro.pearson_r
    column = len(merge(scores[:2]).thresholds) + 1
    assert set(np.round(result.macro[:, column], 9)) <= set(np.round([*alone, both], 9))
    doubled = merge([scores[0], replace(scores[0], recording="copy")])
    column -= 1
    found = result.macro[np.isclose(result.macro[:, column + 1], alone[0]), column]
    assert len(found)
    np.testing.assert_allclose(found, doubled.macro.mean_ap, rtol=0, atol=1e-6)


def test_bootstrap_of_nothing_and_of_wrong_requests(scores: list[RecordingScores]) -> None:
    empty = bootstrap([], n=2)
    assert np.isnan(empty.interval("mAP").low)
    with pytest.raises(InputError, match="n must be"):
        bootstrap(scores, n=0)
    result = bootstrap(scores, n=2)
    for name, row, level in (("mAP50", "macro", 0.9), ("mAP", "all", 0.9), ("mAP", "macro", 1.0)):
        with pytest.raises(InputError):
            result.interval(name, row=row, level=level)
