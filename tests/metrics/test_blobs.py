"""Maps and masks of revision 2026-04-02 against the plain version, bit by bit."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sai_core.annotations.table import AnnotationTable
from sai_core.errors import InputError
from sai_core.metrics import render_map_0402
from sai_core.metrics.official import blobs_0402
from sai_core.metrics.official.blobs_0402 import WHOLE_CANVAS, Box, mask_boxes, render_boxes_0402
from tests.benchmarks.literal_metrics import literal_map_0402
from tests.metrics.helpers import made_up_recording, region, table


def _compare(regions: AnnotationTable, *, margin: int = 2) -> None:
    indices = np.arange(len(regions))
    boxes, certain = mask_boxes(regions, indices)
    boxes = [box.union(box, margin=margin) for box in boxes]
    for i, (box, drawn) in enumerate(zip(boxes, render_boxes_0402(regions, indices, boxes), strict=True)):
        literal = literal_map_0402(regions, i)
        if drawn.size:
            np.testing.assert_array_equal(drawn, literal[box.top : box.bottom][:, box.columns])
        else:
            assert not literal.any()
        if certain[i]:
            assert literal.max() >= 1e-9
        if literal.max() >= 1e-9:
            mask = literal >= 0.10 * literal.max()
            outside = mask.copy()
            outside[np.ix_(np.arange(box.top, box.bottom), box.columns)] = False
            assert not outside.any()


@pytest.mark.parametrize("seed", range(2))
def test_recordings_agree_bit_by_bit(seed: int) -> None:
    for side in made_up_recording(seed, n_frames=5):
        _compare(side)


@settings(max_examples=60)
@given(st.integers(0, 2**31 - 1))
def test_any_points_agree_bit_by_bit(seed: int) -> None:
    rng = np.random.default_rng(seed)
    rows = []
    for _ in range(4):
        kind = rng.integers(0, 7)
        n = int(rng.integers(1, 25))
        centre = rng.uniform(0, 360), rng.uniform(0, 180)
        xy = np.asarray(centre) + rng.uniform(-8, 8, (n, 2))
        energy = rng.uniform(0, 1, n)
        if kind == 1:
            xy = np.floor(xy)
        elif kind == 2:  # a pole: windows all round, columns drawn twice
            xy[:, 1] = np.abs(rng.uniform(-4, 9, n))
        elif kind == 3:
            xy[:, 1] = np.round(180 - rng.uniform(0, 9, n))
        elif kind == 4:  # where a window's two ends stick out
            xy = np.stack([rng.uniform(178.5, 180.5, n), rng.uniform(0, 6, n)], axis=1)
        elif kind == 5:  # outside the canvas, which this revision accepts
            xy = xy + rng.uniform(-400, 400, 2)
            rows.append((0, 0, (xy, energy)))
            continue
        elif kind == 6:
            energy = rng.choice([-0.5, 0.0, 1e-12, 0.3], n)
        xy[:, 0] = np.mod(xy[:, 0], 360)
        rows.append((0, 0, (np.clip(xy, 0, [360, 180]), energy)))
    _compare(table(rows), margin=int(rng.integers(0, 5)))


def test_points_far_apart_and_regions_over_the_seam() -> None:
    (a, energy_a), (b, energy_b) = region(20, 60), region(190, 120)
    rows = [(0, 0, (np.concatenate([a, b]), np.concatenate([energy_a, energy_b]))), (0, 0, region(359, 90, radius=14))]
    _compare(table(rows))


def test_plain_loop_gives_the_same_where_the_sparse_product_is_no_good(monkeypatch: pytest.MonkeyPatch) -> None:
    labels, _ = made_up_recording(8, n_frames=1)
    with_product = render_map_0402(*labels.points(0))
    assert blobs_0402._sparse_product_is_sequential()
    monkeypatch.setattr(blobs_0402, "csr_matvecs", None)
    np.testing.assert_array_equal(render_map_0402(*labels.points(0)), with_product)
    monkeypatch.setattr(blobs_0402, "_sparse_product_is_sequential", lambda: False)
    np.testing.assert_array_equal(render_map_0402(*labels.points(0)), with_product)


def test_columns_at_a_pole_count_twice() -> None:
    assert render_map_0402([[100, 0]], [1.0]).max() == 2.0


def test_turning_by_whole_pixels_turns_the_map() -> None:
    points, energy = region(100, 90)
    turned = np.stack([np.mod(points[:, 0] + 77, 360), points[:, 1]], axis=1)
    first, second = render_map_0402(points, energy), render_map_0402(turned, energy)
    # azimuths are float32: 1e-7 of half a turn, against a blob of six degrees
    np.testing.assert_allclose(np.roll(first, 77, axis=1), second, rtol=0, atol=2e-5 * first.max())


def test_empty_and_wrong_input() -> None:
    assert not render_map_0402(np.zeros((0, 2)), np.zeros(0)).any()
    nothing = AnnotationTable.empty("a")
    assert mask_boxes(nothing, np.zeros(0, np.int64))[0] == []
    assert render_boxes_0402(nothing, np.zeros(0, np.int64), []) == []
    for points, energy in (([[1, 2]], [1, 2]), ([1, 2], [1]), ([[1, np.nan]], [1]), ([[1, 2]], [np.inf])):
        with pytest.raises(InputError):
            render_map_0402(points, energy)


boxes = st.builds(Box, st.integers(0, 90), st.integers(91, 180), st.integers(0, 359), st.integers(1, 359)) | st.just(
    WHOLE_CANVAS
)


@given(boxes, boxes, st.integers(0, 3))
def test_union_holds_both_boxes(one: Box, other: Box, margin: int) -> None:
    union = one.union(other, margin=margin)
    assert union.top == max(min(one.top, other.top) - margin, 0)
    assert union.bottom == min(max(one.bottom, other.bottom) + margin, 180)
    assert 0 <= union.left < 360
    assert union.width <= 360
    assert {*one.columns.tolist(), *other.columns.tolist()} <= set(union.columns.tolist())
    assert union.width <= one.width + other.width + 2 * margin + 180
