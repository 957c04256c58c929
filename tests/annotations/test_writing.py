from __future__ import annotations

import gzip
import json

import numpy as np
import pytest
from hypothesis import given

from sai_core.annotations import (
    AnnotationTable,
    read_annotations,
    read_annotations_with_report,
    write_label_json,
    write_submission_json,
)
from sai_core.annotations.writing import rounded
from sai_core.errors import EnvironmentProblem, InputError
from tests.annotations.helpers import COLUMNS, assert_same, make_table, region_table, tables

ONE_POINT = [[(1.0, 2.0, 0.5)]]


@given(table=tables())
def test_labels_round_trip_without_scores(tmp_path_factory, table):
    path = tmp_path_factory.mktemp("w") / "rec_std.json"
    before = [getattr(table, name).copy() for name in COLUMNS]
    write_label_json(table, path)
    result = read_annotations_with_report(path)
    assert_same(result.table, table, without=("score",))
    assert np.isnan(result.table.score).all()
    assert result.kind == "label"
    for name, column in zip(COLUMNS, before, strict=True):
        np.testing.assert_array_equal(getattr(table, name), column)


@given(table=tables())
def test_submissions_round_trip(tmp_path_factory, table):
    table = table.take(~np.isnan(table.score))
    for name in ("rec.json", "rec.json.gz"):
        path = tmp_path_factory.mktemp("w") / name
        write_submission_json(table, path)
        assert_same(read_annotations(path), table)


def test_official_shape_and_short_numbers(tmp_path):
    table = make_table([(2, 7, 4, 150.0, 0.25, [[(10.0, 20.0, 1.0), (0.1, 180.0, 0.0)], [(360.0, 1e-5, 1e-300)]])])
    write_label_json(table, tmp_path / "a.json")
    assert (tmp_path / "a.json").read_text() == (
        '{"annotations":[{"metadata_frame_index":2,"instance_id":4,"category_id":7,"distance":150,'
        '"segmentation":[[[10,20,1],[0.1,180,0]],[[360,0.00001,1e-300]]]}]}'
    )
    write_submission_json(table, tmp_path / "b.json")
    record = json.loads((tmp_path / "b.json").read_text())["annotations"][0]
    assert list(record) == [
        "metadata_frame_index",
        "instance_id",
        "category_id",
        "score",
        "distance",
        "segmentation",
    ]
    assert record["score"] == 0.25


def test_absent_distance_is_left_out(tmp_path):
    write_label_json(make_table([(0, 0, -1, float("nan"), 0.5, ONE_POINT)]), tmp_path / "a.json")
    record = json.loads((tmp_path / "a.json").read_text())["annotations"][0]
    assert "distance" not in record
    assert record["instance_id"] == -1


def test_empty_table(tmp_path):
    write_submission_json(AnnotationTable.empty("a"), tmp_path / "a.json")
    assert (tmp_path / "a.json").read_text() == '{"annotations":[]}'
    assert len(read_annotations(tmp_path / "a.json")) == 0


def test_decimals(tmp_path):
    table = make_table([(0, 0, 0, 123.456, 0.123456, [[(1.23456, 2.00001, 0.98765)]])])
    write_submission_json(table, tmp_path / "a.json", decimals=2)
    record = json.loads((tmp_path / "a.json").read_text())["annotations"][0]
    assert record["segmentation"] == [[[1.23, 2, 0.99]]]
    assert record["distance"] == 123.46
    # rounding scores would make ties
    assert record["score"] == 0.123456


def test_rounding_leaves_huge_and_absent_numbers_alone():
    values = np.array([1e308, -1e308, np.nan, 2.0**60 + 256, -0.0, -0.001, 1.005])
    np.testing.assert_array_equal(rounded(values, 2), [1e308, -1e308, np.nan, 2.0**60 + 256, 0.0, 0.0, 1.0])
    assert not np.signbit(rounded(values, 2)[4:]).any()


def test_gzip_is_reproducible(tmp_path):
    table = region_table(0, 10)
    for name in ("a.json.gz", "b.json.gz"):
        write_submission_json(table, tmp_path / name)
    packed = (tmp_path / "a.json.gz").read_bytes()
    assert packed == (tmp_path / "b.json.gz").read_bytes()
    write_submission_json(table, tmp_path / "a.json")
    assert gzip.decompress(packed) == (tmp_path / "a.json").read_bytes()


def _with(table: AnnotationTable, **columns) -> AnnotationTable:
    return AnnotationTable("rec", **{name: columns.get(name, getattr(table, name)) for name in COLUMNS})


@pytest.mark.parametrize(
    ("columns", "match"),
    [
        ({"score": [np.nan]}, "annotation 0 has no score"),
        ({"score": [1.5]}, "annotation 0 has score 1.5"),
        ({"category_id": [13]}, "annotation 0 has category_id 13"),
        ({"distance_cm": [np.inf]}, "annotation 0 has an infinite distance"),
        ({"energy": [np.nan]}, "energy holds a number that is not finite"),
        ({"points_xy": [[np.inf, 0.0]]}, "points_xy holds a number that is not finite"),
    ],
)
def test_what_cannot_be_read_back_is_not_written(tmp_path, columns, match):
    table = _with(make_table([(0, 0, 0, 1.0, 0.5, ONE_POINT)]), **columns)
    path = tmp_path / "a.json"
    path.write_text("old")
    with pytest.raises(InputError, match=match):
        write_submission_json(table, path)
    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["a.json"]


def test_a_target_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(EnvironmentProblem, match="cannot be written"):
        write_label_json(AnnotationTable.empty("a"), tmp_path / "file" / "a.json")
