"""Misses, false positives and confusions."""

from __future__ import annotations

import numpy as np
import pytest

from sai_core.errors import InputError
from sai_core.geometry import direction_to_pixel
from sai_core.metrics import evaluate, score_recording
from sai_core.viewing.comparison import compare
from sai_core.viewing.events import CONFUSION, FALSE_POSITIVE, MISS, error_events, peak_directions
from sai_core.viewing.player import unpack
from tests.figures.scenes import blob, table_of, tables


def source(frame: int, category: int, x: float, y: float = 90, score: float = np.nan):
    points, energy = blob(x, y, 6)
    return (frame, category, 0, 200.0, score, points, energy)


def test_kinds_of_errors():
    labels = table_of("r", [source(0, 0, 100), source(0, 1, 200), source(1, 2, 50), source(2, 5, 300)])
    predictions = table_of(
        "r", [source(0, 0, 100, score=0.9), source(0, 7, 205, score=0.8), source(1, 2, 150, score=0.7)]
    )
    # the metric pairs (0, 0) and, far apart, (2, 2)
    events = error_events(labels, predictions, [0, 2], [0, 2], [1.0, 0.0])
    found = list(zip(events.frame, events.kind, events.label_row, events.prediction_row, strict=True))
    assert found == [(0, CONFUSION, 1, 1), (1, MISS, 2, -1), (1, FALSE_POSITIVE, -1, 2), (2, MISS, 3, -1)]


def test_a_confusion_needs_another_class_and_nearness():
    labels = table_of("r", [source(0, 0, 100)])
    for category, x, confused in ((1, 110, True), (1, 130, False), (0, 110, False)):
        predictions = table_of("r", [source(0, category, x, score=0.5)])
        kinds = error_events(labels, predictions, [], [], []).kind.tolist()
        assert (kinds == [CONFUSION]) is confused


def test_confusions_are_found_over_the_seam_and_nearest_first():
    labels = table_of("r", [source(0, 0, 358), source(0, 0, 10)])
    predictions = table_of("r", [source(0, 1, 4, score=0.5), source(0, 2, 357, score=0.5)])
    events = error_events(labels, predictions, [], [], [])
    assert sorted(zip(events.label_row.tolist(), events.prediction_row.tolist(), strict=True)) == [(0, 1), (1, 0)]


def test_the_threshold_counts_weak_pairs_twice():
    labels, predictions = table_of("r", [source(0, 0, 100)]), table_of("r", [source(0, 0, 103, score=0.5)])
    assert len(error_events(labels, predictions, [0], [0], [0.4], threshold=0.25)) == 0
    assert error_events(labels, predictions, [0], [0], [0.4], threshold=0.5).kind.tolist() == [MISS, FALSE_POSITIVE]


def test_empty_tables_and_bad_columns():
    empty = table_of("r", [])
    assert len(error_events(empty, empty, [], [], [])) == 0
    with pytest.raises(InputError, match="one length"):
        error_events(empty, empty, [0], [], [])


def test_peak_directions_come_back_to_their_pixel():
    labels, _ = tables(20)
    azimuth, elevation, energy = peak_directions(labels)
    x, y = direction_to_pixel(azimuth, elevation)
    for i in range(len(labels)):
        points, strength = labels.points(i)
        assert (x[i], y[i]) == tuple(points[np.argmax(strength)].astype(int))
        assert energy[i] == strength.max()


def test_a_comparison_holds_the_metrics_own_figures():
    labels, predictions = tables(60)
    result = compare(labels, predictions)
    figures = evaluate({"r": labels}, {"r": predictions}, use_cache=False).to_json()
    assert result.scores["macro"] == figures["macro"]
    assert result.scores["micro"] == figures["micro"]
    scores = score_recording(labels, predictions)
    found = scores.detection_iou[result.prediction_row] >= 0.5
    n_missed = int(np.sum(result.events[0.5].kind != FALSE_POSITIVE))
    assert n_missed == len(labels) - int(found.sum())
    assert np.all(result.angle_deg[result.soft_iou > 0.5] < 15)
    header, arrays = unpack(result.encode())
    assert header["scores"] == result.scores
    np.testing.assert_array_equal(arrays["label"], result.label_row)
    assert {"e0.25.frame", "e0.5.kind", "e0.75.prediction"} <= set(arrays)
