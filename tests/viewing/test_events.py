"""Misses, false positives and confusions."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sai_core.errors import InputError
from sai_core.geometry import direction_to_pixel, great_circle_deg
from sai_core.metrics import evaluate, score_recording
from sai_core.viewing.comparison import compare
from sai_core.viewing.events import CONFUSION, FALSE_POSITIVE, MISS, error_events, join_errors, peak_directions
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
    n_missed = int(np.sum(result.errors[0.5].kind != FALSE_POSITIVE))
    assert n_missed == len(labels) - int(found.sum())
    assert np.all(result.angle_deg[result.soft_iou > 0.5] < 15)
    header, arrays = unpack(result.encode())
    assert header["scores"] == result.scores
    np.testing.assert_array_equal(arrays["label"], result.label_row)
    assert {"e0.25.frame", "e0.5.kind", "e0.75.prediction", "j0.25.first", "j0.75.score"} <= set(arrays)
    np.testing.assert_array_equal(arrays["j0.5.frames"], result.events[0.5].frames)


def test_errors_of_one_source_are_one_event():
    """Missed for six frames with a gap of three; then after four frames; another class, another place, a confusion."""
    frames = [0, 1, 2, 6, 7, 8, 13]
    rows = [source(k, 0, 355 + k) for k in frames]  # over the seam
    rows += [source(k, 3, 100 + k) for k in (2, 3)] + [source(1, 0, 200)]
    labels = table_of("r", rows)
    predictions = table_of("r", [source(2, 5, 100, score=0.4), source(3, 5, 101, score=0.6)])
    found = join_errors(error_events(labels, predictions, [], [], []), labels, predictions)
    events = list(zip(found.first, found.last, found.kind, found.category, found.taken_for, found.frames, strict=True))
    assert events == [
        (0, 8, MISS, 0, -1, 6),
        (1, 1, MISS, 0, -1, 1),
        (2, 3, CONFUSION, 3, 5, 2),
        (13, 13, MISS, 0, -1, 1),
    ]
    assert found.score[2] == 0.6
    assert np.isnan(found.score[[0, 1, 3]]).all()
    assert great_circle_deg(found.azimuth_deg[0], found.elevation_deg[0], 180 - 359.5, -0.5) < 1


@st.composite
def _walks(draw):
    """Rows of sources that come and go and wander, some of one class."""
    rows = []
    for _ in range(draw(st.integers(0, 4))):
        x, category = draw(st.floats(0, 359)), draw(st.integers(0, 1))
        for frame in sorted(draw(st.sets(st.integers(0, 14), max_size=10))):
            x += draw(st.floats(-8, 8))
            rows.append((frame, category, x % 360))
    return rows


@settings(max_examples=40, deadline=None)
@given(_walks(), _walks(), st.integers(0, 5), st.randoms(use_true_random=False))
def test_every_error_is_in_one_event_whatever_the_order(missed, extra, gap, random):
    def joined(missed, extra):
        labels = table_of("r", [source(k, c, x) for k, c, x in missed])
        predictions = table_of("r", [source(k, c, x, score=0.5) for k, c, x in extra])
        errors = error_events(labels, predictions, [], [], [])
        return errors, labels, join_errors(errors, labels, predictions, gap_frames=gap)

    errors, labels, events = joined(missed, extra)
    assert events.event_of.shape == errors.frame.shape
    assert events.frames.sum() == len(errors)
    azimuth, elevation, _ = peak_directions(labels)
    for event in range(len(events)):
        members = np.flatnonzero(events.event_of == event)
        frames = errors.frame[members]
        assert events.frames[event] == members.size > 0
        assert (frames.min(), frames.max()) == (events.first[event], events.last[event])
        assert np.all(np.diff(frames) >= 1)
        assert np.all(np.diff(frames) <= gap + 1)
        assert np.unique(errors.kind[members]).tolist() == [events.kind[event]]
        if events.kind[event] != FALSE_POSITIVE:
            rows = errors.label_row[members]
            assert np.unique(labels.category_id[rows]).tolist() == [events.category[event]]
            steps = great_circle_deg(azimuth[rows[:-1]], elevation[rows[:-1]], azimuth[rows[1:]], elevation[rows[1:]])
            assert np.all(steps <= 20 + 1e-6)
    random.shuffle(missed)
    random.shuffle(extra)
    again = joined(missed, extra)[2]
    for name in ("first", "last", "kind", "category", "taken_for", "frames"):
        np.testing.assert_array_equal(getattr(again, name), getattr(events, name))
