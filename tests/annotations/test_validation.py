from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sai_core.annotations import (
    AnnotationTable,
    count_exact_duplicates,
    drop_exact_duplicates,
    exact_duplicates,
    read_annotations,
    validate_table,
)
from sai_core.annotations.validation import CODES
from sai_core.errors import InputError
from tests.annotations.helpers import COLUMNS, assert_same, make_table, region_table, tables
from tests.conftest import ORACLE

NAN = float("nan")
REGION = [[(10.0, 20.0, 0.5), (11.0, 20.0, 0.25)], [(50.0, 60.0, 1.0)]]


def _codes(table: AnnotationTable, kind="label") -> dict[str, tuple[int, ...]]:
    issues = validate_table(table, kind=kind)
    assert [issue.code for issue in issues] == sorted((i.code for i in issues), key=list(CODES).index)
    return {issue.code: issue.annotations for issue in issues}


def test_a_good_table_has_no_findings():
    assert validate_table(region_table(0, 10, scores=False)) == []
    assert validate_table(region_table(0, 10), kind="submission") == []
    assert validate_table(AnnotationTable.empty("a"), kind="submission") == []


def test_exact_duplicates_need_every_column_and_point():
    base = (3, 1, 0, 100.0, NAN, REGION)
    rows = [
        base,
        base,
        (3, 1, 0, 101.0, NAN, REGION),
        (3, 1, 0, 100.0, 0.5, REGION),
        (3, 1, 1, 100.0, NAN, REGION),
        (4, 1, 0, 100.0, NAN, REGION),
        (3, 1, 0, 100.0, NAN, [REGION[0] + REGION[1]]),
        (3, 1, 0, 100.0, NAN, [REGION[0][::-1], REGION[1]]),
        base,
    ]
    table = make_table(rows)
    repeated = np.flatnonzero(exact_duplicates(table)).tolist()
    assert repeated == [1, 7]
    assert count_exact_duplicates(table) == 2
    assert_same(drop_exact_duplicates(table), table.take(np.setdiff1d(np.arange(9), repeated)))
    assert _codes(table)["exact_duplicates"] == (1, 7)


@given(table=tables(), data=st.data())
def test_repeating_annotations_is_undone(table, data):
    table = drop_exact_duplicates(table)
    n = len(table)
    copies = data.draw(st.lists(st.integers(0, n - 1), max_size=5)) if n else []
    before = [getattr(table, name).copy() for name in COLUMNS]
    repeated = table.take(np.array(list(range(n)) + copies, dtype=np.int64))
    assert count_exact_duplicates(repeated) == len(copies)
    assert_same(drop_exact_duplicates(repeated), table)
    for name, column in zip(COLUMNS, before, strict=True):
        np.testing.assert_array_equal(getattr(table, name), column)


def test_regions_that_render_empty():
    table = make_table(
        [
            (0, 0, 0, 1.0, NAN, []),
            (1, 0, 0, 1.0, NAN, [[], []]),
            (2, 0, 0, 1.0, NAN, [[], [(1.0, 2.0, 0.0), (1.0, 3.0, -1.0)], []]),
            (3, 0, 0, 1.0, NAN, [[(1.0, 2.0, 0.1)], []]),
            (4, 0, 0, 1.0, NAN, []),
        ]
    )
    assert _codes(table) == {"no_points": (0, 1, 4), "zero_energy": (2,)}


def test_points_outside_the_canvas():
    good = [[(0.0, 0.0, 1.0), (360.0, 180.0, 1.0)]]
    table = make_table(
        [(0, 0, k, 1.0, 0.5 + k / 100, parts) for k, parts in enumerate([good, [], [[(-0.1, 5.0, 1.0)]], good])]
        + [(1, 0, 9, 1.0, 0.9, [[(5.0, 5.0, 1.0), (5.0, 180.5, 1.0)]])]
    )
    assert _codes(table)["outside_canvas"] == (2, 4)
    severities = {issue.code: issue.severity for issue in validate_table(table, kind="submission")}
    assert severities["outside_canvas"] == "error"


def test_the_same_source_twice_in_a_frame():
    other = [[(1.0, 2.0, 0.5)]]
    table = make_table(
        [
            (0, 1, 4, 1.0, NAN, REGION),
            (0, 1, 4, 1.0, NAN, other),
            (0, 2, 4, 1.0, NAN, other),
            (1, 1, 4, 1.0, NAN, other),
            (1, 1, -1, 1.0, NAN, other),
            (1, 1, -1, 1.0, NAN, REGION),
        ]
    )
    assert _codes(table) == {"same_source_twice": (1,)}


def test_scores_of_a_submission():
    table = make_table([(k, c, 0, 1.0, s, REGION) for k, (c, s) in enumerate([(1, 0.5), (2, 0.5), (1, 0.5), (1, NAN)])])
    assert _codes(table) == {}
    assert _codes(table, "submission") == {"missing_score": (3,), "tied_scores": (0, 2)}
    (tied,) = [i for i in validate_table(table, kind="submission") if i.code == "tied_scores"]
    assert "Male speech" in tied.message


def test_size_of_a_submission(monkeypatch):
    monkeypatch.setattr("sai_core.annotations.validation.MAX_SUBMISSION_BYTES", 5000)
    assert _codes(region_table(0, 10), "submission") == {"too_large": ()}
    assert _codes(region_table(0, 10), "label") == {}


def test_kind_is_checked():
    with pytest.raises(InputError, match="kind"):
        validate_table(AnnotationTable.empty("a"), kind="coco")  # type: ignore[arg-type]


@pytest.mark.oracle
def test_official_labels_of_two_blobs_stand_twice():
    table = read_annotations(ORACLE / "labels" / "f6_labels_std.json.gz")
    repeated = exact_duplicates(table)
    assert repeated.sum() == 11
    # domain notes, section 8 point 3: it is those with two parts
    assert set(np.diff(table.polygon_offsets)[repeated].tolist()) == {2}
