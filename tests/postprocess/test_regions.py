"""Region and hull export against the official renderer: what is written is what it draws."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sai_core.annotations import AnnotationTable, read_annotations
from sai_core.dataset import demo_root
from sai_core.metrics import render_table_0630
from sai_core.metrics.official.pairing_0630 import soft_iou
from sai_core.postprocess import Regions, export_regions
from tests.postprocess.raws import as_roi, as_table


@pytest.fixture(scope="module")
def labels() -> list[AnnotationTable]:
    """Every tenth label of the demo recordings (simulated), of regions that the evaluator draws at all."""
    tables = []
    for path in sorted((demo_root() / "labels_dev").rglob("*.json*")):
        table = read_annotations(path)
        table = table.take(np.arange(0, len(table), 10))
        tables.append(table.take(render_table_0630(table).sums > 0))
    return tables


def _mean_iou(labels: list[AnnotationTable], **options: object) -> float:
    ious = []
    for table in labels:
        maps, boxes = as_roi(table)
        every = np.arange(len(table))
        regions = export_regions(maps, boxes, table.frame, every, **options)  # type: ignore[arg-type]
        drawn = render_table_0630(as_table(regions))
        ious.append(soft_iou(render_table_0630(table), drawn, every, every))
    return float(np.concatenate(ious).mean())


def test_exports_reproduce_label_regions_where_the_strongest_cells_do_not(labels: list[AnnotationTable]) -> None:
    # the bounds are those measured (0.03, 0.92, 0.94) less a margin for another demo set
    assert _mean_iou(labels, method="top_k") < 0.2
    assert _mean_iou(labels, method="region") > 0.85
    assert _mean_iou(labels, method="hull", top_k=0) > 0.88


corners = st.tuples(st.floats(-40, 400), st.floats(0, 175), st.floats(0.5, 170), st.floats(0.5, 120))


@settings(max_examples=60, deadline=None)
@given(corners, st.integers(0, 2**16), st.sampled_from(["region", "hull"]), st.floats(0, 0.9))
def test_what_is_written_is_what_the_evaluator_draws(
    box: tuple[float, float, float, float], seed: int, method: str, level: float
) -> None:
    x, y, width, height = box
    boxes = np.array([[x, y, x + width, min(y + height, 180.0)]])
    rng = np.random.default_rng(seed)
    v, u = np.mgrid[-1:1:28j, -1:1:28j]
    maps = np.exp(-((u - rng.uniform(-0.8, 0.8)) ** 2) * 3 - (v - rng.uniform(-0.8, 0.8)) ** 2)[None]
    regions = export_regions(
        maps,
        boxes,
        np.zeros(1, int),
        np.zeros(1, int),
        method=method,  # type: ignore[arg-type]
        region_level=level,
        top_k=0,
    )
    xy = regions.points_xy
    assert xy.min() >= 0
    assert (xy <= [360, 180]).all()
    np.testing.assert_array_equal(np.round(xy, 1), xy)
    drawn = render_table_0630(as_table(regions)).dense([0])[0]
    column, row = np.round(xy[:, 0] / 3.6).astype(int), np.round(xy[:, 1] / 3.6).astype(int)
    wanted = np.zeros((50, 100))
    np.maximum.at(wanted, (row, column), regions.energy / regions.energy.max())
    # every written pixel is drawn, with its own value but for the nudge outwards
    # (1/37 of the difference to a neighbour, twice at a corner)
    written = wanted > 0
    assert (drawn[written] > 0).all()
    np.testing.assert_allclose(drawn[written], wanted[written], rtol=0, atol=0.1)
    # a region within a convex outline is filled, and nothing is drawn beyond its columns and rows
    assert not drawn[~written.any(axis=1)].any()
    assert not drawn[:, ~written.any(axis=0)].any()


def test_over_the_seam_there_are_two_polygons_and_the_same_picture_as_elsewhere() -> None:
    v, u = np.mgrid[-1:1:28j, -1:1:28j]
    maps = np.exp(-(u**2) - v**2)[None]
    pictures = []
    for left in (144.0, 342.0):
        regions = export_regions(
            maps, np.array([[left, 54, left + 54, 90]]), np.zeros(1, int), np.zeros(1, int), method="region"
        )
        pictures.append((np.diff(regions.polygon_offsets)[0], render_table_0630(as_table(regions)).dense([0])[0]))
    assert (pictures[0][0], pictures[1][0]) == (1, 2)
    shifted = np.roll(pictures[0][1], 55, axis=1)
    np.testing.assert_array_equal(shifted > 0, pictures[1][1] > 0)
    # the pixels beside the seam lie on an edge there, and have neighbours elsewhere
    np.testing.assert_allclose(shifted, pictures[1][1], rtol=0, atol=0.02)


@pytest.mark.parametrize("method", ["region", "hull"])
@pytest.mark.parametrize("size", [0.0, 0.4, 3.0])
def test_the_smallest_regions_are_drawn(method: str, size: float) -> None:
    boxes = np.array([[x, y, x + size, y + size] for x in (0, 100.3, 359.7) for y in (0, 77.7, 180 - size)])
    maps = np.full((len(boxes), 28, 28), 0.5)
    every = np.arange(len(boxes))
    regions = export_regions(maps, boxes, np.zeros(len(boxes), int), every, method=method)  # type: ignore[arg-type]
    assert (render_table_0630(as_table(regions)).sums > 0).all()
    dark = export_regions(0 * maps, boxes, np.zeros(len(boxes), int), every, method=method)  # type: ignore[arg-type]
    assert (render_table_0630(as_table(dark)).sums > 0).all()


def test_parts_are_polygons_strongest_first() -> None:
    maps = np.zeros((1, 28, 28))
    maps[0, 2:10, 2:10], maps[0, 18:26, 18:26], maps[0, 2:10, 18:26] = 0.5, 0.9, 0.3
    boxes = np.array([[100.0, 40, 200, 140]])
    zero = np.zeros(1, int)

    def energies(n_parts: int) -> list[float]:
        regions = export_regions(maps, boxes, zero, zero, method="region", region_parts=n_parts)
        starts = regions.point_offsets[:-1]
        return np.maximum.reduceat(regions.energy, starts).round(1).tolist()

    assert energies(1) == [0.9]
    assert energies(2) == [0.9, 0.5]
    assert energies(9) == [0.9, 0.5, 0.3]


def test_the_full_frame_map_helps_only_where_the_roi_map_has_nothing() -> None:
    full = np.zeros((1, 45, 90))
    full[0, 20:23, 30:33] = 0.8
    maps = np.full((2, 28, 28), 0.05)
    maps[1, 4:8, 4:8] = 0.6
    boxes = np.tile([[108.0, 72, 144, 108]], (2, 1))
    every, frame = np.arange(2), np.zeros(2, int)
    plain = export_regions(maps, boxes, frame, every, method="region")
    helped = export_regions(maps, boxes, frame, every, method="region", full_energy=full)

    def points(regions: Regions, index: int) -> list:
        start = regions.point_offsets[regions.polygon_offsets[index]]
        stop = regions.point_offsets[regions.polygon_offsets[index + 1]]
        return np.column_stack([regions.points_xy, regions.energy])[start:stop].tolist()

    assert points(plain, 1) == points(helped, 1)
    assert points(plain, 0) != points(helped, 0)
    x, y, energy = np.array(points(helped, 0)).T
    assert energy.max() == pytest.approx(0.8)
    assert x.min() >= 119
    assert x.max() <= 133
    assert y.min() >= 79
    assert y.max() <= 93


def test_a_region_depends_on_its_candidate_alone() -> None:
    rng = np.random.default_rng(0)
    maps = rng.random((50, 28, 28)) ** 3
    corner = rng.uniform([0, 0], [350, 150], (50, 2))
    boxes = np.concatenate([corner, corner + rng.uniform(1, 30, (50, 2))], axis=1)
    frame = np.zeros(50, int)
    for method in ("top_k", "region", "hull"):
        whole = export_regions(maps, boxes, frame, np.arange(50), method=method)
        for row in (0, 17, 49):
            one = export_regions(maps, boxes, frame, np.array([row]), method=method)
            start, stop = whole.point_offsets[whole.polygon_offsets[[row, row + 1]]]
            np.testing.assert_array_equal(one.points_xy, whole.points_xy[start:stop])
            np.testing.assert_array_equal(one.energy, whole.energy[start:stop])
