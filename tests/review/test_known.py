"""Items with known answers: made of the labels, answered like all others, and in no figure but their own."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sai_core.annotations import AnnotationTable
from sai_core.dataset import DataRoot, demo_root, open_data_root
from sai_core.errors import InputError
from sai_core.review import Queue, ReviewStore, agreement, build_queue, export_review, read_review_file, statistics
from sai_core.review import known as known_module
from sai_core.review.desk import Desk, Filters, Material
from sai_core.review.entries import new_uid
from sai_core.review.known import Known, make_known, report, session_of, start, wilson
from sai_core.review.queue import KINDS, Item, read_recording


@pytest.fixture(scope="module")
def root() -> DataRoot:
    return open_data_root(demo_root())


@pytest.fixture(scope="module")
def queue(root: DataRoot) -> Queue:
    return build_queue(root, root.prediction_sets[:2])


@pytest.fixture(scope="module")
def items(root: DataRoot, queue: Queue) -> tuple[Known, ...]:
    return make_known(root, root.prediction_sets[:2], queue, share=0.15, seed=5, reviewer="ann").items


@pytest.fixture(scope="module")
def load(root: DataRoot) -> Callable[[Item], Material]:
    kept: dict[str, Material] = {}

    def load_(item: Item) -> Material:
        if item.recording not in kept:
            recording = root.recording(item.recording, item.split)
            tables, metadata = read_recording(recording, root.prediction_sets[:2], problems=[])
            kept[item.recording] = Material(tables.pop("", AnnotationTable.empty(item.recording)), tables, metadata)
        return kept[item.recording]

    return load_


def answer(desk: Desk, item: str, action: str, **more: Any) -> None:
    request = {"action": action, "item": item, "uid": new_uid(), "seconds": 2.5, **more}
    assert not desk.perform(request, Filters(show="all")).held


def test_they_look_like_the_others_and_follow_from_the_seed(
    root: DataRoot, queue: Queue, items: tuple[Known, ...]
) -> None:
    assert {k.wrong for k in items} == {"label", "systems"}
    assert all(k.item.kind in KINDS and k.item.proposal and k.item.change for k in items)
    real = {item.id for item in queue.items}
    assert not real & {k.item.id for k in items}
    assert all(len(k.item.id) == 16 for k in items)
    systems = root.prediction_sets[:2]
    again = make_known(root, systems, queue, share=0.15, seed=5, reviewer="bob").items
    assert [k.key for k in again] == [k.key for k in items]  # the same errors for everybody
    assert not {k.item.id for k in again} & {k.item.id for k in items}
    other = make_known(root, systems, queue, share=0.15, seed=6, reviewer="ann").items
    assert {k.key for k in other} != {k.key for k in items}
    few = make_known(root, systems, queue, share=0.5, seed=5, reviewer="ann")
    assert len(few.items) < len(queue) or not few.note
    assert not few.note or few.note.startswith(f"{len(few.items)} of ")


def test_answers_are_in_no_figure_but_their_own(
    root: DataRoot, queue: Queue, items: tuple[Known, ...], load: Callable[[Item], Material], tmp_path: Path
) -> None:
    with ReviewStore(tmp_path / "r.sqlite") as store:
        start(store, "ann", share=0.15, seed=5)
        assert session_of(store.history(), "ann") == (0.15, 5)
        assert session_of(store.history(), "bob") == (0.0, 0)
        desk = Desk(queue, store, "ann", load, known=items)
        assert len(desk.listed(Filters())) == len(queue) + len(items)
        # a reviewer who is always right about labels, and takes one wrong proposal
        alarms = 0
        for k in items:
            if k.wrong == "label":
                answer(desk, k.item.id, "accept")
            else:
                answer(desk, k.item.id, "reject" if alarms else "accept")
                alarms += 1
        # what the reviewer sees of it is as of any other decision
        assert all(desk.state(k.item).status == "done" for k in items)
        assert desk.counts(Filters())["done"] == len(items)
        accepted = next(k for k in items if k.wrong == "label")
        assert desk.labels(accepted.item).table is not accepted.labels
        history = store.history()
        assert statistics(history)["n_lines"] == statistics(history)["n_standing"] == 0
        assert not statistics(history)["by_reviewer"]
        assert history.applied() == []
        assert agreement(history) == []
        assert Desk(queue, store, "bob", load).counts(Filters())["done"] == 0
        made = export_review(root, history, tmp_path / "out")
        assert (made.n_changed, made.n_differences) == (0, 0)
        assert read_review_file(tmp_path / "out" / "review.jsonl") == []
        rows = {(r["wrong"], r["kind"]): r for r in report(history)}
        n = sum(k.wrong == "label" for k in items)
        assert (rows["label", "all"]["n"], rows["label", "all"]["right"]) == (n, n)
        wrong = rows["systems", "all"]
        assert wrong["n"] - wrong["right"] - wrong["unsure"] == 1
        assert wrong["seconds"] == 2.5
        # undo takes an answer back as any decision, and a new one counts in its place
        last = items[-1]
        desk.perform({"action": "undo", "item": last.item.id, "uid": new_uid()}, Filters())
        assert desk.state(last.item).status == "open"
        answer(desk, last.item.id, "unsure")
        assert sum(r["unsure"] for r in report(store.history()) if r["kind"] == "all") == 1
        # the log as a file keeps them
        with ReviewStore(tmp_path / "other.sqlite") as other:
            other.import_file(tmp_path / "r.sqlite")
            assert report(other.history()) == report(store.history())


def test_a_source_drawn_into_one_gets_into_no_label(
    queue: Queue, items: tuple[Known, ...], load: Callable[[Item], Material], tmp_path: Path
) -> None:
    k = items[0]
    with ReviewStore(tmp_path / "r.sqlite") as store:
        desk = Desk(queue, store, "ann", load, known=items)
        box = [{"shape": "box", "box": [10, 10, 20, 20]}]
        drawn = {"base": k.item.id, "frame": k.item.frame, "category": 3, "shapes": box}
        answer(desk, "0123456789abcdef", "source", **drawn)
        assert [e.action for e in store.entries()] == ["answer"]
        assert store.history().applied() == []
        (row,) = [r for r in report(store.history()) if r["kind"] == "all"]
        assert row["right"] == (k.wrong == "label")
        # one decision about all the others leaves them alone, and what is left of them is not shown by itself
        desk.decide_all("unsure", Filters())
        assert desk.listed(Filters()) == []
        assert sum(e.action == "answer" for e in store.entries()) == 1


def test_shares_that_are_none_are_refused_and_a_share_of_zero_ends_it(tmp_path: Path) -> None:
    with ReviewStore(tmp_path / "r.sqlite") as store:
        for share, seed in ((0.6, 1), (-0.1, 1), (float("nan"), 1), (0.1, -1)):
            with pytest.raises(InputError, match="must"):
                start(store, "ann", share=share, seed=seed)
        assert store.entries() == ()
        start(store, "ann", share=0.2, seed=3)
        start(store, "ann", share=0, seed=3)
        assert session_of(store.history(), "ann")[0] == 0
        assert store.undo("ann") is None  # it is no decision


def test_intervals_are_those_of_the_textbook() -> None:
    low, high = wilson(8, 10)
    assert (round(low, 3), round(high, 3)) == (0.490, 0.943)
    assert wilson(0, 5)[0] == 0
    assert wilson(5, 5)[1] == 1
    assert known_module.MOST_SHARE == 0.5
