"""Maps and outlines: painting, interpolation, the seam, the official rendering."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.interpolate import LinearNDInterpolator
from scipy.spatial import QhullError

from sai_core.annotations import AnnotationTable
from sai_core.drawing.maps import (
    EMPTY_PATCH,
    MAP_MODES,
    Patch,
    annotation_patch,
    crop,
    merge_patches,
    merged_canvas,
    outlines,
    peak_points,
)
from sai_core.errors import InputError
from sai_core.metrics import render_map_0630
from tests.figures.scenes import blob, frame_map, table_of, tables


def one(points: npt.ArrayLike, energy: npt.ArrayLike) -> AnnotationTable:
    return table_of("r", [(0, 3, 0, 100.0, 0.5, np.asarray(points, float), np.asarray(energy, float))])


@given(x=st.integers(0, 359), y=st.integers(12, 167), radius=st.integers(2, 10))
def test_dense_regions_are_painted_as_stored(x, y, radius):
    points, energy = blob(x, y, radius)
    canvas = frame_map(one(points, energy), 0)
    expected = np.zeros((180, 360), np.float32)
    expected[points[:, 1].astype(int), points[:, 0].astype(int)] = energy
    np.testing.assert_array_equal(canvas, expected)


@given(shift=st.integers(0, 359), seed=st.integers(0, 5))
def test_interpolated_maps_turn_with_the_scene(shift, seed):
    """Moving points in azimuth moves their map, over the seam too."""
    rng = np.random.default_rng(seed)
    # eighths of a pixel stay exact when shifted, so that the triangulation is the same
    points = np.column_stack([rng.integers(800, 960, 20) / 8.0, rng.integers(640, 800, 20) / 8.0])
    energy = rng.uniform(0.2, 1, 20)
    still = frame_map(one(points, energy), 0)
    turned = frame_map(one(np.column_stack([(points[:, 0] + shift) % 360, points[:, 1]]), energy), 0)
    # 1e-5: Qhull works in other absolute coordinates, energies are of order one
    np.testing.assert_allclose(turned, np.roll(still, shift, axis=1), rtol=0, atol=1e-5)


def test_interpolation_is_linear_inside_the_hull_and_zero_outside():
    points = [[100.5, 80.5], [120.5, 80.5], [120.5, 95.5], [100.5, 95.5]]
    plane = [0.5 + 0.01 * (x - 110) for x, _ in points]
    canvas = frame_map(one(points, plane), 0)
    columns = np.arange(101, 121)
    np.testing.assert_allclose(canvas[81:96, 101:121], np.tile(0.5 + 0.01 * (columns - 110), (15, 1)), atol=1e-6)
    canvas[81:96, 101:121] = 0
    assert not canvas.any()


@given(seed=st.integers(0, 10**6), kind=st.sampled_from(["scatter", "lattice", "doubled", "thin"]))
@settings(max_examples=60, deadline=None)
def test_interpolation_is_that_of_scipy(seed, kind):
    """Oracle: scipy's interpolator on the same points, which takes forty times as long."""
    rng = np.random.default_rng(seed)
    n = int(rng.integers(4, 60))
    x, y = rng.uniform(60, 110, n), rng.uniform(40, 70, n)
    if kind == "lattice":
        x, y = np.round(x / 3.6) * 3.6, np.round(y / 3.6) * 3.6
    elif kind == "doubled":
        x[n // 2 :], y[n // 2 :] = x[: n - n // 2], y[: n - n // 2]
    elif kind == "thin":
        y = 50.5 + 0.01 * x + rng.uniform(-1e-3, 1e-3, n)
        y[0] = 53.0
    points, energy = np.round(np.column_stack([x, y]), 4), rng.uniform(0.1, 1, n)
    try:
        oracle = LinearNDInterpolator(points, energy, fill_value=0.0)
    except QhullError:
        return
    left, top = np.ceil(points.min(axis=0)).astype(int).tolist()
    right, bottom = np.floor(points.max(axis=0)).astype(int).tolist()
    grid = np.meshgrid(np.arange(left, right + 1.0), np.arange(top, bottom + 1.0))
    expected = np.nan_to_num(oracle(*grid))
    if not expected.any():
        return  # a region between the pixels is painted by its points
    patch = annotation_patch(one(points.tolist(), energy), 0)
    assert (patch.x0, patch.y0, patch.values.shape) == (left, top, expected.shape)
    # 1e-6: single precision; a pixel within 1e-9 of a rim may fall to either side
    assert np.count_nonzero(np.abs(patch.values - expected) > 1e-6) <= (3 if kind == "thin" else 0)


@pytest.mark.parametrize(
    ("points", "pixels"),
    [
        ([[10.2, 20.7]], {(21, 10)}),
        ([[10.2, 20.7], [11.9, 20.7]], {(21, 10), (21, 12)}),
        ([[5.0, 5.0], [5.0, 7.0], [5.0, 9.0]], {(5, 5), (7, 5), (9, 5)}),
        ([[360.0, 180.0]], {(179, 0)}),
        ([[359.8, 90.0]], {(90, 0)}),
    ],
)
def test_few_and_collinear_points_paint_their_pixels(points, pixels):
    canvas = frame_map(one(points, [0.5] * len(points)), 0)
    assert set(zip(*(index.tolist() for index in np.nonzero(canvas)), strict=True)) == pixels


def test_a_prediction_of_whole_numbers_is_filled_not_dotted():
    """Sparse points stay sparse points even if a writer rounded them."""
    points = np.array([[100, 80], [104, 80], [108, 80], [100, 84], [104, 84], [108, 84]])
    canvas = frame_map(one(points, np.ones(6)), 0)
    assert np.count_nonzero(canvas) == 9 * 5


def test_a_dense_region_with_a_hole_keeps_it():
    points, energy = blob(100, 90, 8)
    ring = np.hypot(points[:, 0] - 100, points[:, 1] - 90) > 3
    canvas = frame_map(one(points[ring], energy[ring]), 0)
    assert canvas[90, 100] == 0
    assert np.count_nonzero(canvas) == ring.sum()


def test_the_official_rendering_is_the_metrics_own(rng):
    labels, predictions = tables(30)
    for table in (labels, predictions):
        for row in rng.choice(len(table), 12, replace=False).tolist():
            canvas = merged_canvas([annotation_patch(table, row, mode="official")])
            points, energy = table.points(row)
            expected = render_map_0630(points, energy).astype(np.float32)
            for y, x in [(0, 0), (90, 180), (77, 359), *zip(*np.nonzero(canvas[::7, ::7]), strict=True)]:
                assert canvas[y, x] == expected[y * 50 // 180, x * 100 // 360]
            assert canvas.max() == expected.max()


def test_points_mode_paints_the_points_alone():
    _, predictions = tables(10)
    patch = annotation_patch(predictions, 0, mode="points")
    assert 0 < np.count_nonzero(patch.values) <= len(predictions.points(0)[1])
    assert patch.peak == pytest.approx(predictions.points(0)[1].max(), abs=1e-6)


def test_unknown_mode_is_named():
    with pytest.raises(InputError, match="'smooth' is unknown"):
        annotation_patch(tables(2)[0], 0, mode="smooth")  # type: ignore[arg-type]


def test_the_merged_map_is_the_maximum_over_annotations():
    labels, _ = tables(40)
    rows = labels.frame_slice(20)
    patches = [annotation_patch(labels, i) for i in range(rows.start, rows.stop)]
    assert len(patches) > 1
    expected = np.maximum.reduce([merged_canvas([p]) for p in patches])
    np.testing.assert_array_equal(frame_map(labels, 20), expected)
    np.testing.assert_array_equal(merged_canvas([merge_patches(patches)]), expected)


@given(
    boxes=st.lists(
        st.tuples(st.integers(0, 359), st.integers(0, 150), st.integers(1, 200), st.integers(1, 20)), max_size=5
    )
)
def test_merging_patches_keeps_every_value_and_cropping_inverts_it(boxes):
    rng = np.random.default_rng(len(boxes))
    patches = [Patch(x, y, rng.uniform(0.1, 1, (h, w)).astype(np.float32)) for x, y, w, h in boxes]
    canvas = merged_canvas(patches)
    merged = merge_patches(patches)
    np.testing.assert_array_equal(merged_canvas([merged]), canvas)
    again = crop(canvas)
    np.testing.assert_array_equal(merged_canvas([again]), canvas)
    assert again.values.shape[1] <= max(merged.values.shape[1], 1)


def test_outlines_run_over_the_seam_as_one_curve():
    points, energy = blob(359, 90, 7)
    (line,) = outlines(annotation_patch(one(points, energy), 0))
    assert 350 < line[:, 0].min() < 353
    assert 365 < line[:, 0].max() < 368
    assert np.ptp(line[:, 1]) == pytest.approx(14, abs=1)


def test_nothing_gives_nothing():
    empty = table_of("r", [(0, 0, 0, 1.0, 0.5, np.zeros((0, 2)), np.zeros(0))])
    for mode in MAP_MODES:
        assert annotation_patch(empty, 0, mode=mode).values.size == 0  # type: ignore[arg-type]
    assert not frame_map(empty, 0).any()
    assert not frame_map(empty, 99).any()
    assert outlines(EMPTY_PATCH) == []
    assert EMPTY_PATCH.peak == 0.0
    assert crop(np.zeros((180, 360), np.float32)).values.size == 0
    xy, energy = peak_points(empty)
    assert np.isnan(xy).all()
    assert np.isnan(energy).all()


def test_peak_points_are_the_first_maxima(rng):
    labels, predictions = tables(20)
    for table in (labels, predictions):
        xy, peak = peak_points(table)
        for i in range(len(table)):
            points, energy = table.points(i)
            np.testing.assert_array_equal(xy[i], points[np.argmax(energy)])
            assert peak[i] == energy.max()


def test_tables_are_not_touched():
    labels, predictions = tables(5)
    before = [labels.points_xy.copy(), predictions.points_xy.copy(), predictions.energy.copy()]
    for mode in MAP_MODES:
        frame_map(labels, 2, mode=mode)  # type: ignore[arg-type]
        frame_map(predictions, 2, mode=mode)  # type: ignore[arg-type]
    for array, copy in zip([labels.points_xy, predictions.points_xy, predictions.energy], before, strict=True):
        np.testing.assert_array_equal(array, copy)
