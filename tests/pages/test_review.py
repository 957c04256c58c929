"""The review page's script in every state; keys and drawing are tested in ``tests/browser``."""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import streamlit as st
from streamlit.testing.v1 import AppTest

from pages.components import state_keys as keys
from pages.review.desk_element import Request
from sai_core.player.request import Fields
from sai_core.progress import Progress
from sai_core.review import ReviewStore
from sai_core.review import queue as queue_module
from sai_core.review.chosen import keep_moments
from sai_core.review.desk import BulkReport, Desk, Filters
from sai_core.viewing.player import unpack
from tests.figures.scenes import write_root
from tests.review.test_chosen import moments

DEMO = Path(__file__).resolve().parents[2] / "assets" / "demo"
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


def test_the_first_items_are_there_while_the_rest_is_searched(monkeypatch: pytest.MonkeyPatch) -> None:
    """The third of four recordings takes for ever: the desk shows the items of two, then all."""
    monkeypatch.setattr("pages.review.jobs._FEW", 0)
    for name in ("_TELL_EVERY_S", "_FIRST_AFTER_S"):
        monkeypatch.setattr(f"sai_core.review.queue.{name}", 0.0)
    go_on, n_read, original = threading.Event(), [0], queue_module.read_recording

    def slow(recording: Any, *more: Any, **options: Any) -> Any:
        n_read[0] += 1
        if n_read[0] == 3:  # the fourth has few
            go_on.wait(100)
        return original(recording, *more, **options)

    monkeypatch.setattr(queue_module, "read_recording", slow)
    try:
        test = page("")
        while n_read[0] < 3:  # a queue of fewer recordings may have come first
            time.sleep(0.1)
        test.run()
        part, _ = sent(test)
        assert not test.exception
        assert part["counts"]["open"] == part["total"] > 0
    finally:
        go_on.set()
    end = time.monotonic() + 60
    while sent(test)[0]["total"] == part["total"] and time.monotonic() < end:
        time.sleep(0.1)
        test.run()
    whole, _ = sent(test)
    assert whole["total"] > part["total"]


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


def test_what_the_least_score_leaves_out_stands_below_its_slider() -> None:
    test = page("")
    [slider] = [s for s in test.slider if s.label == "Confident predictions"]
    assert slider.value == pytest.approx(0.3)
    captions = [c.value for c in test.caption if "near no label do not reach a score of" in c.value]
    assert [sentence[:7] for sentence in captions] == ["track-A", "track-B"]
    assert all("a score of 0.3 and are left out" in sentence for sentence in captions)
    few = sent(test)[0]["total"]
    slider.set_value(0.04).run()  # lower than what a slider from 0.05 on could say
    end = time.monotonic() + 60.0
    while time.monotonic() < end and not any("a score of 0.04 and are" in c.value for c in test.caption):
        time.sleep(0.3)
        test.run()
    assert sent(test)[0]["total"] > few


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


def test_a_label_file_that_cannot_be_read_is_a_counted_note(tmp_path: Path) -> None:
    write_root(tmp_path / "root", n_frames=120, video_size=None, audio=False)
    (label,) = (p for p in (tmp_path / "root").rglob("*.json*") if "labels" in str(p.parent))
    label.write_bytes(b"")
    test = page(tmp_path / "root")
    assert not test.exception
    assert sent(test)[0]["counts"]["open"] == 0
    assert test.warning[0].value.startswith("1 recording is left out of the queue")
    # behind their count, not above the desk
    assert [len(box.warning) for box in test.get("popover") if box.warning] == [len(test.warning)] == [2]
    assert "is empty" in test.warning[1].value


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
    assert "is not a review file" in test.error[0].value
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
    assert Request.of(Fields(value)) == Request(0, "", -1, False, False, False, (), (), False, False, "", (), ())


def test_a_whole_list_is_decided_at_once(tmp_path: Path) -> None:
    write_root(tmp_path / "root", n_frames=120, video_size=None, audio=False)
    test = page(tmp_path / "root", **{keys.REVIEW_FILE: str(tmp_path / "r.sqlite"), keys.REVIEW_NAME: "ann"})
    n = sent(test)[0]["counts"]["open"]
    assert n > 0
    # a list that is filtered to nothing leads on; one with something to decide does not
    assert not [b for b in test.button if b.key == "review_to_results"]
    button = test.button(key=f"{keys.REVIEW_ALL}_reject")
    assert button.label.startswith(f"Reject all {n}:")
    button.click().run()
    end = time.monotonic() + 60.0
    while time.monotonic() < end and not test.success:
        time.sleep(0.2)
        test.run()
    assert f"Rejected {n} item" in test.success[0].value
    assert sent(test)[0]["counts"]["done"] == n
    assert sent(test)[0]["undo"][-1]["text"].startswith(f"rejected {n} item")
    with ReviewStore(tmp_path / "r.sqlite") as store:
        assert [e.action for e in store.entries()] == ["bulk"]
    # everything is decided: that is said, with the ways on
    assert any("Everything in this list is decided." in m.value for m in test.markdown)
    test.button(key="review_to_results").click().run()
    assert test.session_state[keys.REVIEW_RESULTS] is True
    test.button(key="review_to_done").click().run()
    assert sent(test)[0]["show"] == "done"
    assert sent(test)[0]["total"] == n
    assert not test.exception


def test_a_link_narrows_the_queue_down_to_its_moments() -> None:
    root = DEMO.resolve()
    whole = sent(page(root))[0]
    found = whole["rows"][0]
    split, _, name = found["place"].rpartition("/")
    # one moment in an item, one where there is none, one in a recording that is not here
    rows = [(name, frame, frame, found["category"], -1) for frame in (found["start"], 10**6)]
    rows.append(("elsewhere", 3, 3, 0, -1))
    key = keep_moments(
        moments(rows), root=root, splits={name: split}, title="the error budget (Misses)", system="track-A"
    )
    test = page(root, **{keys.REVIEW_MOMENTS: key})
    header = sent(test)[0]
    n = header["total"]
    assert found["id"] in [row["id"] for row in header["rows"]]
    suspicious = [row for row in header["rows"] if row["title"] != "Of a figure"]
    assert all(row["start"] <= found["start"] <= row["end"] for row in suspicious)
    assert [row["start"] for row in header["rows"] if row not in suspicious] == [10**6]
    assert 0 < n == header["counts"]["open"] < whole["total"]
    line = " ".join(m.value for m in test.markdown).replace("\\", "")
    asked = f"{n - 1} item{'s' * (n > 2)} of the queue, and 1 item made of the 1 in which nothing is suspicious, "
    assert f"3 moments of the error budget (Misses): {asked}1 in recordings whose labels are not here" in line
    assert test.button(key=f"{keys.REVIEW_ALL}_reject").label.startswith(f"Reject all {n}:")
    test.button(key=f"{keys.REVIEW_MOMENTS}_forget").click().run()
    assert sent(test)[0]["total"] == whole["total"]
    assert not [b for b in test.button if b.key == f"{keys.REVIEW_MOMENTS}_forget"]
    # a link whose list is gone says so, and lists everything
    test = page(root, **{keys.REVIEW_MOMENTS: "0" * 32})
    assert sent(test)[0]["total"] == whole["total"]
    assert any("not kept here any more" in m.value for m in test.markdown)
    assert not test.exception


def test_deciding_everything_can_be_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_root(tmp_path / "root", n_frames=120, video_size=None, audio=False)
    test = page(tmp_path / "root", **{keys.REVIEW_FILE: str(tmp_path / "r.sqlite"), keys.REVIEW_NAME: "ann"})
    n = sent(test)[0]["counts"]["open"]
    held = threading.Event()
    decide_all = Desk.decide_all

    def slow(desk: Desk, verdict: str, filters: Filters, *, progress: Progress) -> BulkReport:
        assert held.wait(60)
        return decide_all(desk, verdict, filters, progress=progress)

    monkeypatch.setattr(Desk, "decide_all", slow)
    test.button(key=f"{keys.REVIEW_ALL}_accept").click().run()
    (stop,) = (b for b in test.button if b.label == "Stop")
    stop.click().run()
    held.set()
    end = time.monotonic() + 60.0
    while time.monotonic() < end and not test.error:
        time.sleep(0.1)
        test.run()
    assert test.error[0].value == "Stopped; nothing was decided."
    assert sent(test)[0]["counts"]["open"] == n
