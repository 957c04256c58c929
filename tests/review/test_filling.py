"""Frames between keyframes: the great circle, the seam, the poles, and what a decision fills."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from sai_core.geometry import directions_to_vectors, great_circle_deg, vectors_to_directions
from sai_core.review import apply_decisions
from sai_core.review.filling import Keyframe, between, centre, fill, slerp, turned
from sai_core.review.queue import recording_items
from sai_core.review.regions import Field, brush, empty_field, field_to_parts
from tests.review.helpers import RECORDING, decide_on, entry, table, track

azimuths = st.floats(-180, 179.99)
elevations = st.floats(-85, 85)


def disc(azimuth: float, elevation: float, radius: float = 8, energy: float = 1) -> Field:
    """A region that is round on the sphere."""
    front = brush(empty_field(), [[180, 90]], radius_px=radius, energy=energy, erase=False)
    return turned(front, directions_to_vectors(azimuth, elevation))


def apart(field: Field, vector: np.ndarray) -> float:
    (az_a, az_b), (el_a, el_b) = vectors_to_directions(np.stack([centre(field), vector]))
    return float(great_circle_deg(az_a, el_a, az_b, el_b))


@given(a=st.tuples(azimuths, elevations), b=st.tuples(azimuths, elevations), t=st.floats(0, 1))
def test_the_way_is_the_great_circle_at_an_even_pace(a, b, t):
    one, other = directions_to_vectors(*a), directions_to_vectors(*b)
    whole = float(great_circle_deg(a[0], a[1], b[0], b[1]))
    at = slerp(one, other, t)
    np.testing.assert_allclose(np.linalg.norm(at), 1, rtol=0, atol=1e-9)
    azimuth, elevation = vectors_to_directions(at)
    # 1e-4 degrees: below it two directions count as one
    np.testing.assert_allclose(great_circle_deg(a[0], a[1], azimuth, elevation), t * whole, rtol=0, atol=1e-4)
    np.testing.assert_allclose(great_circle_deg(azimuth, elevation, b[0], b[1]), (1 - t) * whole, rtol=0, atol=1e-4)


def test_opposite_directions_have_a_way_too():
    for a in (directions_to_vectors(0, 0), directions_to_vectors(0, 90), directions_to_vectors(30, -20)):
        half = slerp(a, -a, 0.5)
        np.testing.assert_allclose([np.linalg.norm(half), np.dot(half, a)], [1, 0], rtol=0, atol=1e-9)


@given(a=st.tuples(azimuths, elevations), b=st.tuples(azimuths, elevations), t=st.floats(0.05, 0.95))
@settings(max_examples=30, deadline=None)
def test_a_region_lies_on_the_way_and_keeps_its_size_over_seam_and_poles(a, b, t):
    one, other = disc(*a), disc(*b)
    made = between(one, other, t)
    # a degree and a half: pixels, and the outline is rounded twice
    assert apart(made, slerp(centre(one), centre(other), t)) < 1.5
    area = [np.cos(np.deg2rad(89.5 - np.nonzero(~np.isnan(f))[0])).sum() for f in (one, made)]
    assert 0.6 < area[1] / area[0] < 1.5
    assert np.nanmax(made) <= 1 + 1e-9
    assert np.nanmin(made) > 0


@given(azimuth=azimuths, elevation=elevations, t=st.floats(0, 1))
@settings(max_examples=15, deadline=None)
def test_equal_keyframes_stay_as_they_are(azimuth, elevation, t):
    field = disc(azimuth, elevation)
    before = field.copy()
    np.testing.assert_array_equal(between(field, field.copy(), t), field)
    np.testing.assert_array_equal(field, before)


def test_energy_size_and_distance_go_over_evenly():
    small, large = disc(170, 0, 5, 0.4), disc(-170, 0, 11, 1.0)
    keyframes = [Keyframe(10, 3, 7, 100.0, field_to_parts(small)), Keyframe(14, 3, 7, 300.0, field_to_parts(large))]
    filled = fill(keyframes[::-1])
    assert [(k.frame, k.category, k.instance, k.distance_cm) for k in filled] == [
        (11, 3, 7, 150.0), (12, 3, 7, 200.0), (13, 3, 7, 250.0)
    ]  # fmt: skip
    sizes = [sum(len(e) for _, e in k.parts) for k in filled]
    peaks = [max(float(e.max()) for _, e in k.parts) for k in filled]
    assert np.count_nonzero(~np.isnan(small)) < sizes[0] < sizes[1] < sizes[2] < np.count_nonzero(~np.isnan(large))
    ends = np.nanmax(small), np.nanmax(large)
    wanted = [(1 - t) * ends[0] + t * ends[1] for t in (0.25, 0.5, 0.75)]
    np.testing.assert_allclose(peaks, wanted, rtol=0, atol=1e-4)  # four decimals are kept
    # over the seam, not the long way round
    middle = {int(x) for points, _ in filled[1].parts for x, _ in points}
    assert middle <= {*range(12), *range(348, 360)}
    assert fill(keyframes, taken=frozenset({12}))[1].frame == 13
    assert fill(keyframes[:1]) == fill([]) == []
    assert np.isnan(fill([keyframes[0], Keyframe(12, 3, 7, np.nan, keyframes[1].parts)])[0].distance_cm)


def test_accepting_fills_the_gaps_and_says_which():
    rows = [*track(11, 2, range(4, 7), x=358, score=0.8), *track(11, 2, range(9, 12), x=2, score=0.8)]
    labels = table(track(0, 1, range(20)))
    predictions = {"a": table(track(0, 1, range(20), score=0.9), rows)}
    (item,) = recording_items(RECORDING, labels, predictions, split="s")
    decision = decide_on(item, labels, {"action": "accept"}, predictions=predictions)
    assert decision.after["filled"] == [7, 8]
    assert decision.after["text"].endswith("; 2 frames between filled")
    log = [entry("accept", item=item.id, before=decision.before, after=decision.after)]
    result = apply_decisions(labels, log)
    added = result.take(result.category_id == 11)
    assert added.frame.tolist() == list(range(4, 12))
    assert len(set(added.instance_id.tolist())) == 1
    left = decide_on(item, labels, {"action": "accept", "fill": False}, predictions=predictions)
    assert "filled" not in left.after
    assert apply_decisions(labels, [entry("accept", item=item.id, after=left.after)]).frame.size == len(labels) + 6


def test_a_correction_fills_between_the_events_labels_but_not_over_others():
    labels = table(track(5, 2, range(4), x=300), track(5, 2, range(6, 10), x=300), track(0, 1, range(10)))
    predictions = {"a": table(track(0, 1, range(10), score=0.9))}
    (item,) = recording_items(RECORDING, labels, predictions)
    decision = decide_on(item, labels, {"action": "class", "category": 9}, predictions=predictions)
    assert decision.after["filled"] == [4, 5]
    result = apply_decisions(labels, [entry("class", item=item.id, after=decision.after)])
    assert result.frame[result.category_id == 9].tolist() == list(range(10))
    # taking labels out fills nothing
    for request in ({"action": "remove"}, {"action": "accept"}, {"action": "reject"}):
        assert "filled" not in decide_on(item, labels, request, predictions=predictions).after
