from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sai_core.annotations import (
    drop_exact_duplicates,
    exact_duplicates,
    read_annotations,
)
from tests.annotations.helpers import COLUMNS, assert_same, make_table, tables
from tests.conftest import ORACLE

NAN = float("nan")
REGION = [[(10.0, 20.0, 0.5), (11.0, 20.0, 0.25)], [(50.0, 60.0, 1.0)]]


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
    assert_same(drop_exact_duplicates(table), table.take(np.setdiff1d(np.arange(9), repeated)))


@given(table=tables(), data=st.data())
def test_repeating_annotations_is_undone(table, data):
    table = drop_exact_duplicates(table)
    n = len(table)
    copies = data.draw(st.lists(st.integers(0, n - 1), max_size=5)) if n else []
    before = [getattr(table, name).copy() for name in COLUMNS]
    repeated = table.take(np.array(list(range(n)) + copies, dtype=np.int64))
    assert exact_duplicates(repeated).sum() == len(copies)
    assert_same(drop_exact_duplicates(repeated), table)
    for name, column in zip(COLUMNS, before, strict=True):
        np.testing.assert_array_equal(getattr(table, name), column)


@pytest.mark.oracle
def test_official_labels_of_two_blobs_stand_twice():
    table = read_annotations(ORACLE / "labels" / "f6_labels_std.json.gz")
    repeated = exact_duplicates(table)
    assert repeated.sum() == 11
    # domain notes, section 8 point 3: it is those with two parts
    assert set(np.diff(table.polygon_offsets)[repeated].tolist()) == {2}
