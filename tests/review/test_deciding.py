"""Decisions: every action changes what it says, and undo brings the labels back."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sai_core.annotations import AnnotationTable
from sai_core.errors import InputError
from sai_core.review import ReviewStore, apply_decisions
from sai_core.review.desk import Desk, Filters, Material
from sai_core.review.entries import new_uid
from sai_core.review.queue import Item, Queue, recording_items
from sai_core.review.regions import box_mask, brush, empty_field, field_to_parts, fill_mask, lasso_mask
from tests.review.helpers import RECORDING, decide_on, put, same_table, table, track

LABELS = table(track(0, 1, range(20)), track(5, 2, range(10), x=300), track(5, 3, range(5, 10), x=320, distance=300))
PREDICTIONS = {"a": table(track(0, 1, range(20), score=0.9), track(11, 2, range(4, 9), x=358, score=0.8))}


def items() -> dict[str, Item]:
    return {i.kind + str(i.start): i for i in recording_items(RECORDING, LABELS, PREDICTIONS, split="s")}


ITEMS = items()
UNFOUND = next(i for i in ITEMS.values() if i.kind == "unfound" and i.start == 0)
UNLABELLED = next(i for i in ITEMS.values() if i.kind == "unlabelled")


@pytest.fixture
def store(tmp_path: Path) -> ReviewStore:
    return ReviewStore(tmp_path / "r.sqlite")


def after(store: ReviewStore, item: Item, request: dict[str, Any]) -> AnnotationTable:
    """Labels after one decision; undo must give the original ones and redo the same again."""
    uid = new_uid()
    decision = decide_on(item, LABELS, request, predictions=PREDICTIONS, log=store.entries(), uid=uid)
    put(store, item, decision, uid=uid)
    result = apply_decisions(LABELS, store.entries())
    store.undo("ann")
    assert apply_decisions(LABELS, store.entries()) is LABELS
    store.redo("ann")
    assert same_table(apply_decisions(LABELS, store.entries()), result)
    return result


def test_accepting_a_missing_label_adds_the_systems_regions(store: ReviewStore) -> None:
    result = after(store, UNLABELLED, {"action": "accept"})
    added = result.take(result.category_id == 11)
    assert added.frame.tolist() == [4, 5, 6, 7, 8]
    assert set(added.instance_id.tolist()) == {4}
    # the region lies over the seam: two parts of one annotation, as in the official files
    assert len(added.polygons(0)) == 2
    assert np.array_equal(added.points_xy, np.floor(added.points_xy))


def test_accepting_removes_and_rejecting_keeps(store: ReviewStore) -> None:
    assert len(after(store, UNFOUND, {"action": "accept"})) == len(LABELS) - 10
    put(store, UNFOUND, decide_on(UNFOUND, LABELS, {"action": "reject"}, log=store.entries()))
    assert apply_decisions(LABELS, store.entries()) is LABELS


@pytest.mark.parametrize(("scope", "frames"), [("event", 10), ("onwards", 6), ("frame", 1)])
def test_class_and_distance_in_the_chosen_frames(store: ReviewStore, scope: str, frames: int) -> None:
    result = after(store, UNFOUND, {"action": "class", "category": 9, "scope": scope, "frame": 4})
    assert (result.category_id == 9).sum() == frames
    put(
        store,
        UNFOUND,
        decide_on(
            UNFOUND,
            LABELS,
            {"action": "distance", "distance_cm": 77, "scope": scope, "frame": 4},
            log=store.entries(),
        ),
    )
    result = apply_decisions(LABELS, store.entries())
    assert (result.distance_cm == 77).sum() == (result.category_id == 9).sum() == frames


def test_a_shift_and_a_box_and_a_brush(store: ReviewStore) -> None:
    result = after(store, UNFOUND, {"action": "shift", "azimuth_deg": 10, "elevation_deg": -5})
    moved = result.take(result.instance_id == 2).points(0)[0]
    original = LABELS.take(LABELS.instance_id == 2).points(0)[0]
    np.testing.assert_array_equal(moved, original + np.array([-10, 5]))
    shapes = [
        {"shape": "box", "box": [10, 20, 19, 29]},
        {"shape": "erase", "points": [[12, 22]], "radius": 1.5, "energy": 1},
    ]
    decision = decide_on(UNFOUND, LABELS, {"action": "redraw", "shapes": shapes, "scope": "frame", "frame": 3})
    parts = decision.after["edits"][0]["parts"]
    assert 80 < len(parts[0]) < 100
    assert all(0 < energy <= 1 for _, _, energy in parts[0])


def test_split_in_time_in_space_and_merge(store: ReviewStore) -> None:
    result = after(store, UNFOUND, {"action": "split", "at": 6})
    assert (result.instance_id == 4).sum() == 4
    put(store, UNFOUND, decide_on(UNFOUND, LABELS, {"action": "reject"}, log=store.entries()))
    merged = decide_on(UNFOUND, LABELS, {"action": "merge", "instance": 3}, log=store.entries())
    put(store, UNFOUND, merged)
    result = apply_decisions(LABELS, store.entries())
    both = result.take(result.category_id == 5)
    assert set(both.instance_id.tolist()) == {3}
    assert both.frame.tolist() == list(range(10))  # one in each frame; where both were, their regions joined
    assert len(both.points(7)[1]) > len(both.points(1)[1])
    put(store, UNFOUND, decide_on(UNFOUND, LABELS, {"action": "reject"}, log=store.entries()))
    with pytest.raises(InputError, match="only one part"):
        decide_on(UNFOUND, LABELS, {"action": "split", "at": "parts"}, log=store.entries())
    shapes = [
        {"shape": "box", "box": [10, 20, 19, 29]},
        {"shape": "erase", "points": [[14.5, 20], [14.5, 29]], "radius": 1, "energy": 1},
    ]
    put(store, UNFOUND, decide_on(UNFOUND, LABELS, {"action": "redraw", "shapes": shapes}, log=store.entries()))
    put(store, UNFOUND, decide_on(UNFOUND, LABELS, {"action": "split", "at": "parts"}, log=store.entries()))
    result = apply_decisions(LABELS, store.entries())
    assert (result.instance_id == 4).sum() == 10


@pytest.mark.parametrize(
    "request_",
    [
        {"action": "drop"},
        {"action": "class"},
        {"action": "class", "category": 13},
        {"action": "class", "category": 1, "scope": "ever"},
        {"action": "class", "category": 1, "scope": "frame", "frame": 19},
        {"action": "distance", "distance_cm": float("nan")},
        {"action": "shift", "azimuth_deg": 0, "elevation_deg": 0},
        {"action": "redraw", "shapes": []},
        {"action": "redraw", "shapes": [{"shape": "box", "box": [1, 2, 3]}]},
        {"action": "redraw", "shapes": [{"shape": "box", "box": [-5, 2, 3, 4]}]},
        {"action": "redraw", "shapes": [{"shape": "lasso", "points": [[1, 2]]}]},
        {"action": "redraw", "shapes": [{"shape": "brush", "points": [[1, 2]], "radius": 900}]},
        {"action": "split", "at": 0},
        {"action": "merge", "instance": 99},
        {"action": "comment", "comment": " "},
        {"action": "tag", "tags": ["x" * 50]},
    ],
)
def test_requests_that_make_no_sense_are_one_sentence(request_: dict[str, Any]) -> None:
    with pytest.raises(InputError, match=r".+"):
        decide_on(UNFOUND, LABELS, request_, predictions=PREDICTIONS)


def test_regions_wrap_at_the_seam_and_keep_known_energy() -> None:
    mask = box_mask(355, 10, 4, 12)
    assert mask.sum() == 10 * 3
    field = fill_mask(empty_field(), mask)
    # one dome over the seam: its middle is the strongest, its rim a quarter
    assert np.nanmax(field) == 1.0
    assert field[10, 355] == 0.25
    assert len(field_to_parts(field)) == 2
    known = empty_field()
    known[11, 0] = 0.5
    assert fill_mask(known, mask)[11, 0] == 0.5
    assert lasso_mask([[358, 20], [3, 20], [3, 30], [358, 30]]).sum() == 6 * 11
    stroke = brush(empty_field(), [[359, 90], [2, 90]], radius_px=2, energy=0.8, erase=False)
    assert not np.isnan(stroke[90, 0])
    assert not np.isnan(stroke[90, 359])
    assert np.isnan(stroke[90, 180])
    assert np.isnan(brush(stroke, [[0.5, 90.5]], radius_px=3, energy=1, erase=True)[90, 0])


def test_the_desk_advances_undoes_and_counts(store: ReviewStore) -> None:
    queue = Queue(tuple(ITEMS.values()), (), 1)
    desk = Desk(queue, store, "ann", lambda item: Material(LABELS, PREDICTIONS))
    filters = Filters()
    first, second = (item.id for item in desk.listed(filters)[:2])
    outcome = desk.perform({"action": "accept", "item": first, "uid": new_uid()}, filters)
    assert outcome.item == second
    assert desk.saved_utc() == store.entries()[-1].time_utc
    assert desk.counts(filters)["done"] == 1
    # accepting, changing one's mind and accepting again is as accepting once
    desk.perform({"action": "reject", "item": first, "uid": new_uid()}, filters)
    desk.perform({"action": "accept", "item": first, "uid": new_uid()}, filters)
    assert desk.state(first).views[0].edits
    assert desk.perform({"action": "undo", "item": "", "uid": new_uid()}, filters).item == first
    assert desk.state(first).views[0].outcome == "reject"
    assert desk.perform({"action": "comment", "item": first, "uid": new_uid(), "comment": "hm"}, filters).item == first
    with pytest.raises(InputError, match="identifier"):
        desk.perform({"action": "accept", "item": first}, filters)
    for _ in desk.items:
        target = desk.listed(filters)
        if target:
            outcome = desk.perform({"action": "unsure", "item": target[0].id, "uid": new_uid()}, filters)
    assert outcome.item == ""
    assert desk.counts(filters)["open"] == 0
    # another queue still shows what the log holds
    other = Desk(Queue((), (), 1), store, "ann", lambda item: Material(LABELS, PREDICTIONS))
    assert {i.id for i in other.items} == {i.id for i in desk.items}
    with pytest.raises(InputError, match="proposal"):
        other.perform({"action": "accept", "item": first, "uid": new_uid()}, filters)
