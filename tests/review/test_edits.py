"""Edits: what they do to a table, that undo brings it back, and that nothing malformed gets in."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sai_core.annotations import AnnotationTable, read_annotations, write_label_json
from sai_core.errors import InputError
from sai_core.review import apply_decisions
from sai_core.review.edits import annotation_keys, apply_edits, check_edits, parts_from_json, shift_parts
from tests.review.helpers import entry, same_table, table, track

LABELS = table(track(0, 1, range(4)), track(3, 2, range(2, 6), x=2), track(3, 2, range(2, 6), x=2))


def test_keys_name_every_annotation_once() -> None:
    keys = annotation_keys(LABELS)
    assert len(set(keys)) == len(LABELS) == len(keys)
    assert "2.3.2.1" in keys


KEYS = annotation_keys(LABELS)
REGION = [[[10, 20, 0.5], [11, 20, 1.0], [11, 21, 0.25]]]
targets = st.lists(st.sampled_from([*KEYS, "99.0.0.0"]), max_size=5, unique=True)
edit = st.one_of(
    st.fixed_dictionaries({"op": st.just("set"), "targets": targets, "category": st.integers(0, 12)}),
    st.fixed_dictionaries({"op": st.just("set"), "targets": targets, "distance_cm": st.none() | st.floats(0, 500)}),
    st.fixed_dictionaries(
        {
            "op": st.just("shift"),
            "targets": targets,
            "azimuth_deg": st.integers(-360, 360),
            "elevation_deg": st.integers(-90, 90),
        }
    ),
    st.fixed_dictionaries({"op": st.just("region"), "targets": targets, "parts": st.just(REGION)}),
    st.fixed_dictionaries({"op": st.just("remove"), "targets": targets}),
)  # fmt: skip


@given(st.lists(st.lists(edit, max_size=3), max_size=5))
def test_undoing_everything_gives_the_original(steps: list[list[dict]]) -> None:
    log = [entry("class", time=k, after={"edits": check_edits(edits)}) for k, edits in enumerate(steps)]
    once = apply_decisions(LABELS, log)
    undone = [entry("undo", time=100 + k, ref=e.uid) for k, e in enumerate(reversed(log))]
    assert apply_decisions(LABELS, [*log, *undone]) is LABELS
    redone = [entry("redo", time=200 + k, ref=e.uid) for k, e in enumerate(log)]
    assert same_table(apply_decisions(LABELS, [*log, *undone, *redone]), once)
    # the order of the lines does not matter, their times do
    assert same_table(apply_decisions(LABELS, log[::-1]), once)


@given(st.lists(edit, max_size=6))
def test_any_edits_give_a_label_file_that_reads_back(
    tmp_path_factory: pytest.TempPathFactory, edits: list[dict]
) -> None:
    before = json.dumps([LABELS.points_xy.tolist(), LABELS.energy.tolist(), LABELS.category_id.tolist()])
    result = apply_edits(LABELS, check_edits(edits))
    assert before == json.dumps([LABELS.points_xy.tolist(), LABELS.energy.tolist(), LABELS.category_id.tolist()])
    assert len(result.keys) == len(set(result.keys)) == len(result.table)
    path = tmp_path_factory.getbasetemp() / "edited.json"
    write_label_json(result.table, path)
    assert same_table(read_annotations(path, use_cache=False), result.table)


def test_untouched_annotations_keep_their_bits_and_their_order() -> None:
    result = apply_edits(LABELS, check_edits([{"op": "remove", "targets": ["2.3.2.0"]}]))
    keep = [k for k, key in enumerate(KEYS) if key != "2.3.2.0"]
    assert same_table(result.table, LABELS.take(keep))


def test_additions_follow_within_their_frame() -> None:
    key = "new." + "a" * 32 + ".0"
    added = {"key": key, "frame": 3, "category": 7, "instance": 9, "distance_cm": None, "parts": REGION}
    result = apply_edits(LABELS, check_edits([{"op": "add", "annotations": [added]}]))
    rows = result.table.frame_slice(3)
    assert result.keys[rows.stop - 1] == key
    assert result.table.category_id[rows.stop - 1] == 7
    assert np.isnan(result.table.distance_cm[rows.stop - 1])
    # later edits reach it
    result = apply_edits(
        LABELS, check_edits([{"op": "add", "annotations": [added]}, {"op": "remove", "targets": [key]}])
    )
    assert same_table(result.table, LABELS)


def test_edits_of_an_empty_recording_make_one() -> None:
    added = {
        "key": "new." + "b" * 32 + ".0",
        "frame": 0,
        "category": 1,
        "instance": 0,
        "distance_cm": 50,
        "parts": REGION,
    }
    result = apply_edits(AnnotationTable.empty("x"), check_edits([{"op": "add", "annotations": [added]}]))
    assert len(result.table) == 1
    assert result.n_skipped == 0


def test_a_region_moves_through_the_seam_and_back() -> None:
    parts = parts_from_json(REGION)
    moved = shift_parts(parts, 20, 5)
    assert len(moved) == 1 + 0
    assert sorted(moved[0][0][:, 0].tolist()) == [350, 351, 351]
    assert sorted(moved[0][0][:, 1].tolist()) == [15, 15, 16]
    straddling = shift_parts(parts, 11, 0)
    assert [sorted(set(p[:, 0].tolist())) for p, _ in straddling] == [[359.0], [0.0]]
    back = shift_parts(straddling, -11, 0)
    assert sorted(map(tuple, np.concatenate([p for p, _ in back]).tolist())) == sorted(map(tuple, parts[0][0].tolist()))
    # no point leaves the canvas
    assert shift_parts(parts, 0, 90)[0][0][:, 1].min() == 0
    assert shift_parts(parts, 0, -180)[0][0][:, 1].max() == 179


@pytest.mark.parametrize(
    "edits",
    [
        None,
        [5],
        [{"op": "drop"}],
        [{"op": "remove"}],
        [{"op": "remove", "targets": ["x"]}],
        [{"op": "remove", "targets": ["0.0.1.0"], "more": 1}],
        [{"op": "set", "targets": ["0.0.1.0"]}],
        [{"op": "set", "targets": ["0.0.1.0"], "category": 13}],
        [{"op": "set", "targets": ["0.0.1.0"], "category": True}],
        [{"op": "set", "targets": ["0.0.1.0"], "distance_cm": float("nan")}],
        [{"op": "set", "targets": ["0.0.1.0"], "distance_cm": -1}],
        [{"op": "shift", "targets": ["0.0.1.0"], "azimuth_deg": "3"}],
        [{"op": "region", "targets": ["0.0.1.0"], "parts": [[[1, 2]]]}],
        [{"op": "region", "targets": ["0.0.1.0"], "parts": [[[1, 200, 1]]]}],
        [{"op": "region", "targets": ["0.0.1.0"], "parts": [[[1, 2, float("inf")]]]}],
        [{"op": "add", "annotations": [{"key": "0.0.1.0"}]}],
    ],
)
def test_malformed_edits_are_refused_in_one_sentence(edits: object) -> None:
    with pytest.raises(InputError, match="edits"):
        check_edits(edits)
