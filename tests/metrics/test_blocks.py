"""Large tables are worked on a block of points at a time: the same to the last bit, nothing unpacked for good."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import pytest

from sai_core.annotations import AnnotationTable
from sai_core.annotations._packed import packed
from sai_core.annotations.table import PackedPoints, point_blocks
from sai_core.errors import InputError
from sai_core.metrics.evaluation import map_cache, recording, score_store
from sai_core.metrics.evaluation.score_store import result_of_tables
from sai_core.metrics.official import directions, rendering_0630
from tests.annotations.helpers import COLUMNS, make_table, region_table

MODULES = (map_cache, recording, score_store, directions, rendering_0630)


def packed_copy(table: AnnotationTable) -> AnnotationTable:
    points = PackedPoints(*(packed(v) for v in (table.points_xy[:, 0], table.points_xy[:, 1], table.energy)))
    columns = {name: getattr(table, name) for name in COLUMNS if name not in ("points_xy", "energy")}
    return AnnotationTable.of_packed(table.recording, columns, points)


def with_gaps(seed: int) -> AnnotationTable:
    """Regions among annotations without points and without polygons."""
    table = region_table(seed, 9)
    rows = [(int(table.frame[k]), 0, k, 1.0, 0.5, [p.tolist() for p in parts_of(table, k)]) for k in range(9)]
    empty: list[Any] = [(3, 1, 90, 1.0, 0.5, []), (99, 1, 91, 1.0, 0.5, [[]]), (0, 1, 92, 1.0, 0.5, [])]
    return make_table([*rows, *empty])


def parts_of(table: AnnotationTable, index: int) -> list[np.ndarray]:
    return [np.column_stack([xy, energy]) for xy, energy in table.polygons(index)]


@pytest.mark.parametrize("most", [1, 700, 10**9])
def test_blocks_hold_every_annotation_once(most: int) -> None:
    for table in (with_gaps(1), AnnotationTable.empty("a")):
        blocks = list(point_blocks(table, most=most))
        assert [k for rows, _ in blocks for k in range(rows.start, rows.stop)] == list(range(len(table)))
        assert [k for _, points in blocks for k in range(points.start, points.stop)] == list(range(table.n_points))
        for rows, points in blocks:
            assert points.stop - points.start <= most or rows.stop - rows.start == 1


@pytest.mark.parametrize("most", [1, 700])
def test_scores_do_not_depend_on_blocks(most: int, monkeypatch: pytest.MonkeyPatch) -> None:
    labels, predictions = with_gaps(1), with_gaps(1).take(np.arange(2, 12))
    whole = result_of_tables(labels, predictions, use_cache=False)
    key = map_cache._key(labels)
    for module in MODULES:
        monkeypatch.setattr(module, "point_blocks", partial(point_blocks, most=most), raising=False)
    monkeypatch.setattr(rendering_0630, "_BLOCK_POINTS", most)
    monkeypatch.setattr(rendering_0630, "_KNOWN_PLANS", 2)
    monkeypatch.setattr(rendering_0630, "_LONG_KEY", 64)
    compact = packed_copy(labels), packed_copy(predictions)
    in_blocks = result_of_tables(*compact, use_cache=False)
    assert map_cache._key(compact[0]) == key
    for part in ("scores", "across", "within"):
        for name, value in vars(getattr(whole, part)).items():
            if isinstance(value, np.ndarray):
                np.testing.assert_array_equal(getattr(getattr(in_blocks, part), name), value)
    np.testing.assert_array_equal(in_blocks.label_energy, whole.label_energy)
    assert whole.scores.detection_iou.max() == 1.0
    assert all(not {"points_xy", "energy"} & vars(table).keys() for table in compact)


@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
def test_whole_pixels_are_known_from_how_points_are_packed(share: float) -> None:
    rng = np.random.default_rng(0)
    rows: list[Any] = [
        (k, 0, 0, 1.0, 0.5, [(np.floor(rng.uniform(0, 90, (4, 3))) + 0.25 * (rng.random() >= share)).tolist()])
        for k in range(6)
    ]
    table = make_table([*rows, (9, 0, 0, 1.0, 0.5, [])])
    compact = packed_copy(table)
    assert compact.surely_whole == (share == 1.0)
    assert not table.surely_whole
    found = directions.whole_pixel_regions(compact)
    np.testing.assert_array_equal(found, directions.whole_pixel_regions(table))
    assert not found[-1]


def test_a_coordinate_outside_is_named_in_whatever_block_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recording, "point_blocks", partial(point_blocks, most=2))
    part = [(1.0, 2.0, 0.5), (3.0, 4.0, 0.5)]
    table = make_table([(k, 0, 0, 1.0, 0.5, [part if k < 4 else [(5.0, 180.5, 1.0)]]) for k in range(5)])
    with pytest.raises(InputError, match=r"annotation 4, y is 180\.5, outside \[0, 180\]"):
        recording.check_canvas(table, "x")
