"""Two label sets of the same recordings, compared."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sai_core.annotations import AnnotationTable, write_label_json
from sai_core.errors import InputError
from sai_core.review.label_sets import CHANGES, LabelChanges, compare_label_sets
from tests.review.helpers import table, track

NAME = "fold1_room1_mix001"


def written(folder: Path, labels: AnnotationTable, name: str = NAME) -> dict[str, Path]:
    path = folder / f"{name}_std.json"
    write_label_json(labels, path)
    return {name: path}


def words(changes: LabelChanges) -> list[tuple[int, str, int, int]]:
    columns = (changes.frame, changes.change, changes.before, changes.after)
    return [(f, CHANGES[c], a, b) for f, c, a, b in zip(*(column.tolist() for column in columns), strict=True)]


def test_every_kind_of_change_is_told_once(tmp_path: Path) -> None:
    before = table(
        track(0, 1, range(4)),  # stays in frames 0 to 2, goes in 3
        track(5, 2, range(2), x=300),  # becomes a 6
        track(7, 3, range(1), x=100),  # moves
        recording=NAME,
    )
    after = table(
        track(0, 1, range(3)),
        track(6, 2, range(2), x=300),
        track(7, 3, range(1), x=108),
        track(12, 9, range(1), x=180),  # is new
        recording=NAME,
    )
    changes = compare_label_sets(written(tmp_path / "a", before), written(tmp_path / "b", after))
    assert words(changes) == [
        (0, "added", -1, 12),
        (0, "class", 5, 6),
        (0, "direction", 7, 7),
        (1, "class", 5, 6),
        (3, "removed", 0, -1),
    ]
    assert changes.angle_deg[2] == pytest.approx(8.0, abs=1.0)
    assert (changes.n_recordings, changes.n_changed) == (1, 1)
    assert changes.n_before[[0, 5, 6, 7, 12]].tolist() == [4, 2, 0, 1, 0]
    assert changes.n_after[[0, 5, 6, 7, 12]].tolist() == [3, 0, 2, 1, 1]
    assert changes.n_same[[0, 5, 6, 7, 12]].tolist() == [3, 0, 0, 0, 0]
    assert changes.counts()[CHANGES.index("class"), 5] == 2
    assert changes.counts().sum() == len(changes)


def test_region_and_distance_are_changes_too(tmp_path: Path) -> None:
    before = table(track(3, 1, range(1)), recording=NAME)
    louder = dataclasses.replace(before, energy=before.energy * 0.5)
    nearer = dataclasses.replace(before, distance_cm=before.distance_cm - 10)
    first = written(tmp_path / "a", before)
    assert words(compare_label_sets(first, written(tmp_path / "b", louder))) == [(0, "region", 3, 3)]
    assert words(compare_label_sets(first, written(tmp_path / "c", nearer))) == [(0, "distance", 3, 3)]


def test_files_of_equal_content_and_recordings_of_one_side(tmp_path: Path) -> None:
    labels = table(track(0, 1, range(4)), recording=NAME)
    first = {**written(tmp_path / "a", labels), **written(tmp_path / "a", labels, "only_here")}
    second = {**written(tmp_path / "b", labels), **written(tmp_path / "b", labels, "only_there")}
    changes = compare_label_sets(first, second)
    assert len(changes) == 0
    assert (changes.only_before, changes.only_after) == (("only_here",), ("only_there",))
    assert changes.n_before[0] == changes.n_after[0] == changes.n_same[0] == 4
    assert len(compare_label_sets({}, second)) == 0


def test_a_damaged_file_is_one_sentence(tmp_path: Path) -> None:
    first = written(tmp_path / "a", table(track(0, 1, range(4)), recording=NAME))
    broken = tmp_path / f"{NAME}_std.json"
    broken.write_text("{")
    with pytest.raises(InputError, match=r"std\.json"):
        compare_label_sets(first, {NAME: broken})


@given(st.lists(st.tuples(st.integers(0, 12), st.integers(0, 11), st.booleans(), st.integers(0, 3)), max_size=8))
def test_the_other_way_round_is_the_mirror_image(tmp_path_factory: pytest.TempPathFactory, rows: list) -> None:
    def side(number: int) -> AnnotationTable:
        tracks = [
            track((category + number * other) % 13, k + 1, range(1), x=20 + 28 * place)
            for k, (category, place, there, other) in enumerate(rows)
            if there or number
        ]
        return table(*tracks, recording=NAME)

    folder = tmp_path_factory.mktemp("mirror")
    first, second = written(folder / "a", side(0)), written(folder / "b", side(1))
    there, back = compare_label_sets(first, second), compare_label_sets(second, first)
    mirrored = {"added": "removed", "removed": "added"}
    assert sorted((f, mirrored.get(w, w), b, a) for f, w, a, b in words(there)) == sorted(words(back))
    np.testing.assert_array_equal(there.n_before, back.n_after)
    np.testing.assert_array_equal(there.n_same, back.n_same)
