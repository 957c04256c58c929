"""Maps of revision 2026-06-30 against scipy's griddata, and what holds for any map."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sai_core.annotations.table import AnnotationTable
from sai_core.errors import InputError
from sai_core.metrics import SparseMaps, render_map_0630, render_table_0630
from sai_core.metrics.official.pairing_0630 import assign_pairs, pearson_inside, soft_iou
from sai_core.metrics.official.rendering_0630 import scale_points
from tests.benchmarks.literal_metrics import literal_map_0630, literal_pearson_0630, literal_soft_iou
from tests.metrics.helpers import made_up_recording, region, table

VALUE_ATOL = 1e-12
"""Barycentric weights by another formula than scipy's: a few units of the last place of values up to 1, more for
triangles that are thin."""


def _compare(regions: AnnotationTable) -> None:
    maps = render_table_0630(regions)
    ours = maps.dense(np.arange(len(regions)))
    for i in range(len(regions)):
        literal = literal_map_0630(regions, i)
        # where energies of both signs cancel, rounding decides on which side of 0 a pixel lies
        np.testing.assert_array_equal(ours[i] > VALUE_ATOL, literal > VALUE_ATOL)
        np.testing.assert_allclose(ours[i], literal, rtol=0, atol=VALUE_ATOL)
        assert maps.painted[i] == (literal.dtype == np.float32)


@pytest.mark.parametrize("seed", range(3))
def test_regions_and_scattered_points_agree_with_griddata(seed: int) -> None:
    for side in made_up_recording(seed, n_frames=6):
        _compare(side)


@given(st.integers(0, 2**31 - 1))
def test_any_polygon_agrees_with_griddata(seed: int) -> None:
    rng = np.random.default_rng(seed)
    rows = []
    for _ in range(4):
        kind = rng.integers(0, 7)
        n = int(rng.integers(1, 30))
        x0, y0 = rng.uniform(0, 340), rng.uniform(0, 160)
        xy = np.stack([x0 + rng.uniform(0, 20, n), y0 + rng.uniform(0, 20, n)], axis=1)
        if kind == 1:  # whole pixels, duplicates likely
            xy = np.floor(xy / 4) * 4
        elif kind == 2:  # on a slanted line
            xy = np.stack([x0 + np.arange(n) * 0.7, y0 + np.arange(n) * 0.3], axis=1)
        elif kind == 3:  # in a row
            xy[:, 1] = np.floor(y0)
        elif kind == 4:  # over the seam
            xy[:, 0] = np.mod(xy[:, 0] + 355 - x0, 360)
        elif kind == 5:  # on the metric's own grid: every pixel is a corner or an edge
            xy = np.round(xy / 3.6) * 3.6
        elif kind == 6:  # corners of the canvas
            xy = rng.choice([0.0, 360.0, 180.0, 54.0, 90.0], (n, 2)) * [1, 0.5]
        rows.append((0, 0, (np.clip(xy, 0, [360, 180]), rng.uniform(-0.1, 1, n).round(3))))
    _compare(table(rows))


def test_several_polygons_are_joined_by_their_maximum() -> None:
    (a, energy_a), (b, energy_b) = region(100, 90), region(108, 92, peak=0.6)
    points, energy = np.concatenate([a, b]), np.concatenate([energy_a, energy_b])
    whole = render_map_0630(points, energy, polygon_offsets=[0, len(a), len(points)])
    one, other = render_map_0630(a, energy_a), render_map_0630(b, energy_b)
    # each map is divided by its own peak, so compare after undoing that with the literal polygons
    assert ((whole > 0) == ((one > 0) | (other > 0))).all()
    assert whole.max() == 1.0


def test_points_are_scaled_in_single_precision() -> None:
    # 54 * float32(100 / 360) lies just above 15: a hull that ends there loses its column
    assert scale_points(np.array([[54.0, 90.0]]), np.array([0, 1]))[0, 0] > 15
    flat = render_map_0630([[54, 80], [54, 100], [80, 80], [80, 100]], np.ones(4))
    assert not flat[:, 15].any()
    assert flat[:, 16].any()


def test_seam_moves_the_left_part_and_folds_back() -> None:
    canvas = render_map_0630(*region(0, 90, radius=12))
    columns = np.flatnonzero(canvas.any(axis=0))
    assert {0, 99} <= set(columns.tolist())
    assert len(columns) < 10


def test_whole_turns_of_five_pixels_shift_the_map() -> None:
    # 18 canvas pixels are exactly five metric pixels, but float32 scaling may move an edge pixel; away from edges
    points, energy = region(100.5, 90.5, radius=9, rng=np.random.default_rng(3), n=25)
    first = render_map_0630(points, energy)
    second = render_map_0630(points + np.array([18.0, 0.0]), energy)
    np.testing.assert_allclose(np.roll(first, 5, axis=1), second, rtol=0, atol=1e-5)


def test_points_that_cannot_be_triangulated_are_painted() -> None:
    canvas = render_map_0630([[10, 20], [30, 20], [50, 20]], [0.2, 0.4, 0.3])
    assert np.count_nonzero(canvas) == 3
    assert canvas.max() == 1.0
    single = render_map_0630([[359, 179.9]], [0.7])
    np.testing.assert_array_equal(np.argwhere(single), [[49, 0]])  # column 99.7 rounds to 100, which folds to 0


def test_halves_round_to_even() -> None:
    # 9 * float32(100 / 360) is exactly 2.5, 27 times it 7.5
    for x, column in ((9.0, 2), (27.0, 8)):
        points, energy = np.array([[x, 90.0]]), np.ones(1)
        canvas = render_map_0630(points, energy)
        np.testing.assert_array_equal(np.argwhere(canvas), [[25, column]])
        np.testing.assert_array_equal(canvas, literal_map_0630(table([(0, 0, (points, energy))]), 0))


def test_tiny_regions_may_render_nothing() -> None:
    assert not render_map_0630([[101, 101], [102, 101], [101, 102]], [0.5, 0.7, 0.6]).any()


def test_empty_and_wrong_input() -> None:
    assert not render_map_0630(np.zeros((0, 2)), np.zeros(0)).any()
    assert len(render_table_0630(AnnotationTable.empty("a"))) == 0
    for points, energy in (([[1, 2]], [1, 2]), ([1, 2], [1]), ([[1, np.nan]], [1]), ([[1, 2]], [np.inf])):
        with pytest.raises(InputError):
            render_map_0630(points, energy)
    for offsets in ([0], [0, 2], [1, 1], [0, 1, 0, 1]):
        with pytest.raises(InputError, match="polygon_offsets"):
            render_map_0630([[1, 2]], [1.0], polygon_offsets=offsets)


def test_input_is_not_changed() -> None:
    labels, _ = made_up_recording(4, n_frames=2)
    before = labels.points_xy.copy(), labels.energy.copy()
    render_table_0630(labels)
    np.testing.assert_array_equal(labels.points_xy, before[0])
    np.testing.assert_array_equal(labels.energy, before[1])


def test_soft_iou_and_pearson_agree_with_the_plain_formulas() -> None:
    labels, predictions = made_up_recording(6, n_frames=8)
    a, b = render_table_0630(labels), render_table_0630(predictions)
    rng = np.random.default_rng(0)
    i, j = rng.integers(0, len(a), 200), rng.integers(0, len(b), 200)
    # pairs of one place, so that most overlap
    j[:100] = np.minimum(i[:100], len(b) - 1)
    iou, pearson = soft_iou(a, b, i, j), pearson_inside(a, b, i, j)
    for k in range(200):
        one, other = a.dense(i[k])[0], b.dense(j[k])[0]
        assert iou[k] == pytest.approx(literal_soft_iou(one, other), abs=1e-7)
        expected = literal_pearson_0630(one, other)
        assert pearson[k] == pytest.approx(expected, abs=1e-12, nan_ok=True)


@given(st.integers(0, 10_000))
def test_soft_iou_is_symmetric_and_bounded(seed: int) -> None:
    labels, predictions = made_up_recording(seed, n_frames=3)
    a, b = render_table_0630(labels), render_table_0630(predictions)
    i, j = np.meshgrid(np.arange(len(a)), np.arange(len(b)), indexing="ij")
    one, other = soft_iou(a, b, i.ravel(), j.ravel()), soft_iou(b, a, j.ravel(), i.ravel())
    np.testing.assert_allclose(one, other, rtol=0, atol=1e-7)
    assert ((one >= 0) & (one <= 1)).all()


@given(st.integers(0, 10_000))
def test_identical_maps_score_one_unless_they_are_empty(seed: int) -> None:
    labels, _ = made_up_recording(seed, n_frames=2)
    maps = render_table_0630(labels)
    index = np.arange(len(maps))
    np.testing.assert_array_equal(soft_iou(maps, maps, index, index), np.where(maps.sums > 0, 1.0, 0.0))


def test_assignment_is_the_best_and_keeps_pairs_without_overlap() -> None:
    # label 0 is nearer to prediction 1, but the best total pairs crosswise
    labels = render_table_0630(table([(0, 1, region(100, 90)), (0, 1, region(106, 90)), (1, 1, region(10, 90))]))
    predictions = render_table_0630(table([(0, 1, region(110, 90)), (0, 1, region(103, 90)), (1, 1, region(200, 90))]))
    keys = np.array([0, 0, 1])
    pairs = assign_pairs(labels, predictions, keys, keys)
    np.testing.assert_array_equal(pairs.prediction, [0, 1, 2])
    np.testing.assert_array_equal(pairs.label, [1, 0, 2])
    assert pairs.iou[2] == 0


def test_maps_must_fit_together() -> None:
    with pytest.raises(InputError, match="fit together"):
        SparseMaps(np.array([0, 1]), np.zeros(2, np.uint16), np.zeros(1), np.zeros(1, np.bool_))
    with pytest.raises(InputError, match="offsets"):
        SparseMaps(np.array([0, 2]), np.zeros(1, np.uint16), np.zeros(1), np.zeros(1, np.bool_))
    assert len(SparseMaps.empty()) == 0
