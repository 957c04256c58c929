"""Moments that a link leads to: which items they lie in, how many lie in none, and what an old link finds."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sai_core.errors import InputError
from sai_core.metrics.reading.drilldown import FALSE_POSITIVE, MISSED, SMALL_OVERLAP, WRONG_CLASS, Moments
from sai_core.review import ReviewStore
from sai_core.review.chosen import keep_moments, kept_moments
from sai_core.review.desk import Desk, Filters, Material
from sai_core.review.edits import annotation_keys
from sai_core.review.entries import new_uid
from sai_core.review.queue import Item, Queue
from tests.review.helpers import RECORDING, table, track

ROWS: list[tuple[str, int, int, int, int]] = [
    # recording, first and last frame, class, class on the other side
    (RECORDING, 10, 12, 1, -1),
    (RECORDING, 40, 40, 2, 5),
    ("other", 10, 10, 1, -1),
]


def moments(rows: list[tuple[str, int, int, int, int]]) -> Moments:
    n = len(rows)
    columns: dict[str, Any] = {
        "recording": np.array([row[0] for row in rows], object),
        **{name: np.array([row[k] for row in rows]) for k, name in ((1, "frame"), (2, "last_frame"), (3, "category"))},
        "other_category": np.array([row[4] for row in rows]),
        "kind": np.where(np.array([row[4] for row in rows]) < 0, MISSED, WRONG_CLASS),
        **{name: np.full(n, np.nan) for name in ("iou", "score", "value", "hurt")},
        **{name: np.full(n, -1) for name in ("label", "prediction")},
        "copies": np.ones(n, np.int64),
    }
    return Moments(**columns)


def item(name: str, category: int, start: int, end: int, *, recording: str = RECORDING, split: str = "s") -> Item:
    return Item(name * 16, "unfound", split, recording, category, start, end, start, 0.5, "r", "p", targets=("0",),
                change={"remove": True})  # fmt: skip


ITEMS = {
    "a": item("a", 1, 12, 20),  # begins in the last frame of the first moment
    "b": item("b", 1, 13, 20),
    "c": item("c", 1, 0, 10),
    "d": item("d", 5, 30, 50),  # the class on the other side
    "e": item("e", 3, 0, 60),
    "f": item("f", 1, 0, 60, split="t"),
}


@pytest.fixture
def key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("SAI_CACHE_DIR", str(tmp_path / "cache"))
    return keep_moments(
        moments(ROWS), root=tmp_path, splits={RECORDING: "s", "other": "s"}, title="the error budget", system="x"
    )


def test_items_are_those_that_a_moment_lies_in(tmp_path: Path, key: str) -> None:
    chosen = kept_moments(key, tmp_path)
    assert chosen is not None
    assert len(chosen) == 5  # frames 10, 11, 12; 40; 10 of the other recording
    assert [name for name, it in ITEMS.items() if chosen.holds(it)] == ["a", "c", "d"]
    # frame 11 is in no item, nor is that of the other recording
    assert chosen.without_item(ITEMS.values()) == 2
    assert chosen.without_item([]) == 5


def test_moments_without_an_item_become_items(tmp_path: Path, key: str) -> None:
    """One for each class and stretch of frames; a change is about the labels there, and accepting proposes nothing."""
    chosen = kept_moments(key, tmp_path)
    assert chosen is not None
    made, absent = chosen.made_items([ITEMS["a"], ITEMS["d"]], recordings={("s", RECORDING)})
    assert absent == 1  # that of the other recording
    assert [(i.kind, i.category_id, i.start, i.end) for i in made] == [("moment", 1, 10, 11)]
    every, absent = chosen.made_items([], recordings={("s", RECORDING), ("s", "other")})
    assert absent == 0
    assert [(i.recording, i.category_id, i.start, i.end) for i in every] == sorted(
        [(RECORDING, 1, 10, 12), (RECORDING, 2, 40, 40), ("other", 1, 10, 10)]
    )
    assert len({i.id for i in every}) == 3
    labels = table(track(1, 7, range(30)), track(1, 8, range(11, 12)), track(2, 9, range(30)))
    with ReviewStore(tmp_path / "r.sqlite") as store:
        desk = Desk(Queue((ITEMS["a"],), (), 1), store, "ann", lambda _: Material(labels, {}), made=made)
        assert [i.id for i in desk.listed(Filters(moments=chosen))] == [ITEMS["a"].id, made[0].id]
        assert len(desk.targets(made[0])) == 3  # two frames of one instance, one of the other
        with pytest.raises(InputError, match="Nothing is proposed here"):
            desk.perform({"action": "accept", "item": made[0].id, "uid": new_uid()}, Filters())
        request = {"action": "class", "category": 5, "item": made[0].id, "uid": new_uid(), "frame": 10}
        desk.perform(request, Filters())
        after = desk.labels(made[0]).table
        assert sorted(after.frame[after.category_id == 5].tolist()) == [10, 11, 11]
        # decided, it is in the list once, and without its link it is still known by the log
        assert [i.id for i in desk.items].count(made[0].id) == 1
        again = Desk(Queue((), (), 1), store, "ann", lambda _: Material(labels, {}))
        assert [(i.kind, i.start, i.end, len(i.targets)) for i in again.items] == [("moment", 10, 11, 3)]


def test_a_list_of_moments_is_known_by_its_content(tmp_path: Path, key: str) -> None:
    more = {"splits": {RECORDING: "s", "other": "s"}, "title": "the error budget", "system": "x"}
    assert keep_moments(moments(ROWS), root=tmp_path, **more) == key  # type: ignore[arg-type]
    for changed in ({"title": "a slice"}, {"splits": {RECORDING: "t", "other": "s"}}):
        assert keep_moments(moments(ROWS), root=tmp_path, **{**more, **changed}) != key  # type: ignore[arg-type]
    assert keep_moments(moments(ROWS[:2]), root=tmp_path, **more) != key  # type: ignore[arg-type]
    # gone, of other data, or nothing that could ever be a key
    for asked, root in (("0" * 32, tmp_path), (key, tmp_path / "elsewhere"), ("../" + key, tmp_path), ("", tmp_path)):
        assert kept_moments(asked, root) is None


def test_the_desk_lists_counts_and_decides_them_alone(tmp_path: Path, key: str) -> None:
    filters = Filters(moments=kept_moments(key, tmp_path))
    labels = table(track(1, 1, range(60)))
    with ReviewStore(tmp_path / "r.sqlite") as store:
        desk = Desk(Queue(tuple(ITEMS.values()), (), 1), store, "ann", lambda _: Material(labels, {}))
        assert [it.id[0] for it in desk.listed(filters)] == ["a", "c", "d"]
        assert desk.counts(filters)["open"] == 3
        assert desk.next_of(desk.listed(filters), ITEMS["a"].id) == ITEMS["c"].id
        assert [it.id[0] for it in desk.listed(replace(filters, categories=(5,)))] == ["d"]
        assert desk.decide_all("reject", filters).n_decided == 3
        assert {name for name, it in ITEMS.items() if desk.state(it).views} == {"a", "c", "d"}


def test_of_two_sources_of_a_class_the_one_that_a_moment_is_about_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SAI_CACHE_DIR", str(tmp_path / "cache"))
    labels = table(track(1, 1, range(20), x=100), track(1, 2, range(20), x=200))
    keys = dict(enumerate(annotation_keys(labels)))
    rows = {(int(f), int(i)): k for k, (f, i) in enumerate(zip(labels.frame, labels.instance_id, strict=True))}
    found = table(track(1, 1, range(20), x=104, score=0.9), track(1, 2, range(20), x=300, score=0.8))
    near, far = (int(np.flatnonzero((found.frame == 5) & (found.instance_id == i))[0]) for i in (1, 2))
    about = {
        name: replace(item(name, 1, 0, 19), targets=tuple(keys[rows[f, i]] for f in range(20)))
        for name, i in (("a", 1), ("b", 2))
    }
    lent = {"add": [[f, "x", int(np.flatnonzero((found.frame == f) & (found.instance_id == 2))[0])] for f in range(20)]}
    about["u"] = replace(item("u", 1, 0, 19), kind="unlabelled", targets=(), systems=("x",), change=lent)
    about["v"] = replace(about["u"], id="v" * 16, change={"add": [[f, "y", 0] for f in range(20)]}, systems=("x", "y"))
    about["w"] = replace(about["v"], id="w" * 16, systems=("y",))

    def holding(kind: int, label: int, prediction: int, iou: float = 0.0, *, known: bool = True) -> str:
        one = replace(
            moments([(RECORDING, 5, 5, 1, -1)]),
            kind=np.array([kind]), label=np.array([label]), prediction=np.array([prediction]), iou=np.array([iou]),
        )  # fmt: skip
        tables = (lambda _: (labels, found)) if known else None
        kept = kept_moments(
            keep_moments(one, root=tmp_path, splits={RECORDING: "s"}, title="t", system="x", tables=tables), tmp_path
        )
        assert kept is not None
        return "".join(name for name, it in about.items() if kept.holds(it))

    assert holding(MISSED, rows[5, 2], -1) == "b"
    # what the official assignment pairs without overlap is paired at random
    assert holding(MISSED, rows[5, 2], near) == "b"
    assert holding(SMALL_OVERLAP, rows[5, 1], near, 0.2) == "a" + "v"
    assert holding(FALSE_POSITIVE, -1, far) == "u" + "v"
    assert holding(FALSE_POSITIVE, rows[5, 2], far) == "u" + "v"
    # found, but by another system's region: by class and frame, where the system hears it, too
    assert holding(FALSE_POSITIVE, -1, far, known=False) == "abuvw"
