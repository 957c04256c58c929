"""What the Review page opens ahead: the newest wish of each reviewer, by one thread."""

from __future__ import annotations

import threading
import time
from types import SimpleNamespace
from typing import Any

import pytest
import streamlit as st

from pages.components import background
from pages.review import jobs
from sai_core.errors import InputError


def wait_for(condition: Any) -> None:
    end = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


def forget_wishes() -> None:
    """What earlier tests wished for is not begun in this one, and what was begun has ended."""
    for job in background.queue("review-ahead", at_once=1, keep=0).jobs:
        job.cancel()
        assert job.wait(120)
    st.cache_resource.clear()


def test_a_newer_wish_takes_the_place_of_an_older_one(monkeypatch: pytest.MonkeyPatch) -> None:
    forget_wishes()
    begun: list[str] = []
    go_on = threading.Event()

    def view_of(root: object, systems: object, item: Any) -> SimpleNamespace:
        begun.append(item.id)
        assert go_on.wait(20)
        if item.id == "bad":
            raise InputError("cannot be read")
        return SimpleNamespace(n_frames=10, n_blocks=0)

    monkeypatch.setattr(jobs, "view_of", view_of)
    monkeypatch.setattr(jobs, "block_range", lambda *_: range(0))

    def wish(name: str, reviewer: str) -> None:
        item: Any = SimpleNamespace(id=name, end=3, frame=1)
        jobs.prepare(SimpleNamespace(path="root"), [], [item], reviewer=reviewer)  # type: ignore[arg-type]

    wish("first", "ada")
    wait_for(lambda: begun == ["first"])
    for name, reviewer in (("second", "ada"), ("bad", "ben"), ("third", "ada")):
        wish(name, reviewer)
    go_on.set()
    wait_for(lambda: len(begun) == 3)
    assert sorted(begun) == ["bad", "first", "third"]
    # a file that cannot be read ends nothing
    wish("fourth", "ben")
    wait_for(lambda: len(begun) == 4)
    assert begun[-1] == "fourth"


def test_what_a_key_shows_is_opened_before_what_lies_beside_it(monkeypatch: pytest.MonkeyPatch) -> None:
    forget_wishes()
    opened: list[tuple[str, int]] = []

    def view_of(root: object, systems: object, item: Any) -> SimpleNamespace:
        return SimpleNamespace(n_frames=160, n_blocks=8, block=lambda index: opened.append((item.id, index)))

    monkeypatch.setattr(jobs, "view_of", view_of)
    monkeypatch.setattr(jobs, "label_block", lambda view, index: b"")
    items: list[Any] = [
        SimpleNamespace(id=name, start=start, end=start + 50, frame=start + 30)
        for name, start in (("a", 10), ("b", 90))
    ]
    jobs.prepare(SimpleNamespace(path="root"), [], items, reviewer="cleo")  # type: ignore[arg-type]
    wait_for(lambda: len(opened) == 8)
    assert opened == [("a", 2), ("b", 6), ("a", 0), ("a", 1), ("a", 3), ("b", 4), ("b", 5), ("b", 7)]
