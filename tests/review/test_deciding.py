"""Decisions: every action changes what it says, and undo brings the labels back."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from sai_core.annotations import AnnotationTable
from sai_core.errors import InputError
from sai_core.review import ReviewStore, apply_decisions
from sai_core.review.desk import Desk, Filters, Material
from sai_core.review.entries import entry_from_json, new_uid
from sai_core.review.queue import Item, Queue, recording_items
from sai_core.review.regions import box_mask, brush, empty_field, field_to_parts, fill_mask, lasso_mask
from tests.review.conftest import Place
from tests.review.helpers import RECORDING, decide_on, put, same_table, table, track

LABELS = table(track(0, 1, range(20)), track(5, 2, range(10), x=300), track(5, 3, range(5, 10), x=320, distance=300))
PREDICTIONS = {"a": table(track(0, 1, range(20), score=0.9), track(11, 2, range(4, 9), x=358, score=0.8))}


def items() -> dict[str, Item]:
    return {i.kind + str(i.start): i for i in recording_items(RECORDING, LABELS, PREDICTIONS, split="s")}


ITEMS = items()
UNFOUND = next(i for i in ITEMS.values() if i.kind == "unfound" and i.start == 0)
UNLABELLED = next(i for i in ITEMS.values() if i.kind == "unlabelled")


@pytest.fixture
def store(place: Place) -> ReviewStore:
    return ReviewStore(place)


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


def test_one_verdict_on_a_whole_list_is_one_line_and_undone_as_one(
    store: ReviewStore, place_of: Callable[[str], Place]
) -> None:
    queue = Queue(tuple(ITEMS.values()), (), 1)
    desk = Desk(queue, store, "ann", lambda _: Material(LABELS, PREDICTIONS))
    unfound = Filters(kinds=("unfound",))
    first = desk.listed(unfound)[0]
    desk.perform({"action": "unsure", "item": first.id, "uid": new_uid()}, unfound)
    told: list[float] = []
    report = desk.decide_all("accept", Filters(), progress=lambda fraction, text: told.append(fraction))
    # a recording that is open is half of its work: the first item's wait is no measure for the others
    assert told[:2] == [0.0, 0.5]
    assert told == sorted(told)
    assert told[-1] < 1
    assert report.n_decided == len(ITEMS) - 1  # what is decided already is left alone
    assert report.problems == ()
    entries = store.entries()
    assert [e.action for e in entries] == ["unsure", "bulk"]
    assert {p.item for p in entries[1].parts} == {item.id for item in desk.items} - {first.id}
    assert all(desk.state(item).status == "done" for item in desk.items if item.id != first.id)
    assert all(desk.stamp(item) for item in desk.items)
    result = apply_decisions(LABELS, entries)
    assert not same_table(result, LABELS)
    # the same as one by one
    again = ReviewStore(place_of("single"))
    single = Desk(queue, again, "ann", lambda item: Material(LABELS, PREDICTIONS))
    for item in desk.items:
        action = "unsure" if item is first else "accept"
        single.perform({"action": action, "item": item.id, "uid": new_uid()}, Filters())
    assert same_table(apply_decisions(LABELS, again.entries()), result)
    # what another tab knew before is out of date
    stale = desk.perform({"action": "reject", "item": desk.items[-1].id, "uid": new_uid(), "seen": ""}, Filters())
    assert stale.held == "decided"
    outcome = desk.perform({"action": "undo", "uid": new_uid()}, Filters())
    assert "Undone: accepted" in outcome.note
    assert [desk.state(i).status for i in desk.items].count("open") == len(ITEMS) - 1
    assert apply_decisions(LABELS, store.entries()) is LABELS
    desk.perform({"action": "redo", "uid": new_uid()}, Filters())
    assert same_table(apply_decisions(LABELS, store.entries()), result)
    # the log goes on by file, and a second import brings nothing
    other = ReviewStore(place_of("other"))
    assert other.merge(store.entries()).n_new == 4
    assert other.merge(store.entries()).n_new == 0
    assert same_table(apply_decisions(LABELS, other.entries()), result)
    with pytest.raises(InputError, match="undecided"):
        desk.decide_all("reject", Filters())


def test_a_bulk_line_that_is_none_is_refused(store: ReviewStore) -> None:
    desk = Desk(Queue(tuple(ITEMS.values()), (), 1), store, "ann", lambda item: Material(LABELS, PREDICTIONS))
    desk.decide_all("reject", Filters())
    good = store.entries()[0].to_json()
    line = good["after"]["decisions"][0]
    for decisions in ([], [line, line], [{**line, "action": "class"}], [{**line, "more": 1}], "x"):
        with pytest.raises(InputError):
            entry_from_json({**good, "after": {**good["after"], "decisions": decisions}})
    with pytest.raises(InputError, match="bulk"):
        entry_from_json({**good, "action": "accept"})


def test_a_source_from_nothing_followed_over_time(store: ReviewStore) -> None:
    queue = Queue(tuple(ITEMS.values()), (), 1)

    def fresh() -> Desk:
        return Desk(queue, store, "ann", lambda _: Material(LABELS, PREDICTIONS))

    desk, new, base = fresh(), "0123456789abcdef", UNFOUND.id

    def place(frame: int, left: float, **more: Any) -> None:
        shapes = [{"shape": "box", "box": [left, 40, (left + 9) % 360, 49]}]
        request = {"action": "source", "item": new, "base": base, "frame": frame, "category": 7, "shapes": shapes}
        desk = fresh()
        outcome = desk.perform({**request, "uid": new_uid(), **more}, Filters())
        assert outcome.item == new
        assert desk.by_id[new].start <= frame <= desk.by_id[new].end  # what is sent back with the answer

    place(4, 340, distance_cm=100)
    item = fresh().by_id[new]
    assert (item.kind, item.recording, item.start, item.end, item.category_id) == ("source", RECORDING, 4, 4, 7)
    place(10, 10, distance_cm=400)  # over the seam
    place(6, 100)  # in what was filled: it becomes a keyframe, and what lies around it is filled anew
    result = apply_decisions(LABELS, store.entries())
    source = result.take(result.category_id == 7)
    assert source.frame.tolist() == list(range(4, 11))
    assert set(source.instance_id.tolist()) == {4}
    np.testing.assert_allclose(source.distance_cm, [100, 100, 100, 175, 250, 325, 400])
    assert source.points(2)[0][:, 0].min() == 100
    assert [e.after.get("filled") for e in store.entries()] == [None, [5, 6, 7, 8, 9], [5, 7, 8, 9]]
    item = fresh().by_id[new]
    assert (item.start, item.end) == (4, 10)
    assert fresh().targets(item)
    # undo takes the last keyframe back, and the whole of it goes with a reject
    desk = fresh()
    desk.perform({"action": "undo", "uid": new_uid()}, Filters())
    assert apply_decisions(LABELS, store.entries()).points(0)[0].size
    before = apply_decisions(LABELS, store.entries())
    assert before.frame[before.category_id == 7].tolist() == list(range(4, 11))
    with pytest.raises(InputError, match="nothing to accept"):
        fresh().perform({"action": "accept", "item": new, "uid": new_uid()}, Filters())
    fresh().perform({"action": "reject", "item": new, "uid": new_uid()}, Filters())
    assert apply_decisions(LABELS, store.entries()) is LABELS
    for request in (
        {"frame": 3},
        {"frame": 3, "category": 99, "shapes": []},
        {"frame": -1},
        {"frame": 3, "item": base},
    ):
        with pytest.raises(InputError):
            fresh().perform(
                {"action": "source", "item": "f" * 16, "base": base, "uid": new_uid(), **request}, Filters()
            )
