"""The review page's script in every state; keys and drawing are tested in ``tests/browser``."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import streamlit as st
from streamlit.testing.v1 import AppTest

from pages.components import state_keys as keys
from pages.components.element import Fields
from pages.review.desk_element import Request
from sai_core.review import ReviewStore
from sai_core.viewing.player import unpack
from tests.figures.scenes import write_root

PAGE = str(Path(__file__).resolve().parents[2] / "pages" / "review" / "page.py")


@pytest.fixture(autouse=True)
def _own_places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "home"))
    st.cache_resource.clear()
    yield
    st.cache_resource.clear()


def page(root: Path | str, **parameters: str) -> AppTest:
    test = AppTest.from_file(PAGE, default_timeout=60)
    test.query_params["root"] = str(root)
    for name, value in parameters.items():
        test.query_params[name] = value
    test.run()
    # the queue is looked for in the background; a busy machine needs more than one look
    end = time.monotonic() + 60.0
    while time.monotonic() < end and not (test.error or test.exception or _desk(test)):
        time.sleep(0.3)
        test.run()
    return test


def _desk(test: AppTest) -> Any:
    stack: list[Any] = [test.main]
    while stack:
        for child in stack.pop().children.values():
            if getattr(child, "type", "") == "bidi_component":
                return child
            if hasattr(child, "children"):
                stack.append(child)
    return None


def sent(test: AppTest) -> tuple[dict[str, Any], dict[str, Any]]:
    """Message that the desk was mounted with."""
    desk = _desk(test)
    if desk is not None:
        return unpack(desk.proto.bytes)
    raise AssertionError("the desk is not on the page")


def test_the_demo_shows_its_most_suspicious_item(tmp_path: Path) -> None:
    test = page("")
    assert not test.exception
    assert not test.error
    header, parts = sent(test)
    first = header["rows"][0]["id"]
    assert header["shown"] == header["open"] == first
    assert header["items"][first]["simulated"] is True
    assert header["counts"]["open"] == header["total"] > 5
    moment, inner = unpack(parts[f"moment.{first}"])
    assert any(name.startswith("base.") for name in inner)
    assert any(name.startswith("work.") for name in inner)
    assert moment["systems"]["A"] == "track-A"
    # looking makes nothing: the review file comes with the first decision
    assert not (tmp_path / "home").exists()


def test_a_recording_without_video_and_sound_can_be_reviewed(tmp_path: Path) -> None:
    write_root(tmp_path / "root", n_frames=120, video_size=None, audio=False)
    test = page(tmp_path / "root")
    assert not test.exception
    assert sent(test)[0]["counts"]["open"] > 0


def test_labels_alone_are_looked_at_too(tmp_path: Path) -> None:
    write_root(tmp_path / "root", n_frames=10, video_size=None, audio=False, systems=())
    test = page(tmp_path / "root")
    assert not test.exception
    assert sent(test)[0]["open"] == ""
    assert not sent(test)[0]["items"]
    assert "Nothing suspicious" in sent(test)[0]["empty"]


def test_mistakes_are_one_sentence(tmp_path: Path) -> None:
    test = page(tmp_path / "nowhere")
    assert not test.exception
    assert len(test.error) == 1
    write_root(tmp_path / "root", n_frames=10, video_size=None, audio=False)
    other = tmp_path / "notes.txt"
    other.write_text("hello, this is no review file at all")
    test = page(tmp_path / "root", **{keys.REVIEW_FILE: str(other)})
    assert not test.exception
    assert len(test.error) == 1
    assert other.read_text().startswith("hello")
    test = page(tmp_path / "root", **{keys.REVIEW_NAME: " "})
    assert not test.exception
    assert "name" in test.error[0].value


@pytest.mark.parametrize("name", ["~nosuch", "\0", "a\0b", "~nosuch/x.sqlite", "a" * 300])
def test_a_name_that_is_no_path_is_one_sentence(tmp_path: Path, name: str) -> None:
    write_root(tmp_path / "root", n_frames=10, video_size=None, audio=False)
    test = page(tmp_path / "root", **{keys.REVIEW_FILE: name})
    assert not test.exception
    assert len(test.error) == 1


def test_a_link_changes_nothing_on_the_disk(tmp_path: Path) -> None:
    write_root(tmp_path / "root", n_frames=10, video_size=None, audio=False)
    (tmp_path / "__init__.py").touch()
    before = sorted(tmp_path.rglob("*"))
    test = page(tmp_path / "root", **{keys.REVIEW_FILE: str(tmp_path / "__init__.py")})
    assert "is no review file" in test.error[0].value
    test = page(tmp_path / "root", **{keys.REVIEW_FILE: str(tmp_path / "new" / "r.sqlite")})
    assert not test.error
    assert sorted(tmp_path.rglob("*")) == before
    assert (tmp_path / "__init__.py").read_bytes() == b""


def test_a_damaged_line_is_one_sentence(tmp_path: Path) -> None:
    write_root(tmp_path / "root", n_frames=10, video_size=None, audio=False)
    path = tmp_path / "r.sqlite"
    with ReviewStore(path) as store:
        store.append(reviewer="ann", split="s", recording="r", item="i", action="accept")
    connection = sqlite3.connect(path)
    connection.execute("DROP TRIGGER log_no_update")
    connection.execute("UPDATE log SET time_utc = 'x'")
    connection.commit()
    connection.close()
    test = page(tmp_path / "root", **{keys.REVIEW_FILE: str(path)})
    assert not test.exception
    assert "line 1" in test.error[0].value


@pytest.mark.parametrize(
    "value", [None, 3, {"seq": -1}, {"seq": True, "have": "x", "actions": 5}, {"actions": [1, "a"]}]
)
def test_any_message_of_a_browser_is_a_request(value: object) -> None:
    assert Request.of(Fields(value)) == Request(0, "", -1, (), (), ())
