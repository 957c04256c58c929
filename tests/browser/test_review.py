"""The review page in a real browser: keys to corrected label files that the official evaluator takes."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from playwright.sync_api import Page, expect

from sai_core.annotations import AnnotationTable, read_annotations
from sai_core.dataset import demo_root, open_data_root
from sai_core.metrics import evaluate
from sai_core.review import ReviewStore, build_queue
from tests.browser.conftest import ARTIFACTS, report
from tests.figures.scenes import to_json, write_root
from tests.review.helpers import files_of, table, track

pytestmark = [pytest.mark.browser, pytest.mark.slow]

DESK = "document.querySelector('[data-testid=stBidiComponentIsolated]').shadowRoot.querySelector('.rv').desk"
DESK_IF_THERE = (
    "((e) => e && e.shadowRoot && e.shadowRoot.querySelector('.rv') && e.shadowRoot.querySelector('.rv').desk)"
    "(document.querySelector('[data-testid=stBidiComponentIsolated]'))"
)
HERE = "!!d.page && d.moments.names().every((n) => d.moments.blocks.has(n))"
"""The item on the screen has come, and all that it is made of."""

RECORDING = "fold4_room23_mix001"
SPLIT = "dev-test-sony"
EVIL = "<script>document.title='hacked'</script><img src=x onerror=\"document.title='hacked'\">"

OpenPage = Callable[..., Page]


def n_of_demo() -> int:
    """Items of the demo's whole queue; the page shows those of its first recordings before."""
    data = open_data_root(demo_root())
    return len(build_queue(data, data.prediction_sets))


def labels() -> AnnotationTable:
    return table(
        track(0, 1, range(30)),
        track(5, 2, range(10, 20), x=300, y=100),
        track(8, 3, range(30), x=220, y=60, distance=150),
    )


def predictions() -> AnnotationTable:
    """Finds source 1, calls source 3 Bell, misses source 2, and hears a Knock where nothing is."""
    return table(
        track(0, 1, range(30), score=0.9),
        track(11, 3, range(30), x=220, y=60, score=0.8),
        track(12, 4, range(4, 12), x=40, y=95, score=0.7),
    )


@pytest.fixture
def root(tmp_path: Path) -> Path:
    path = tmp_path / "root"
    write_root(path, n_frames=30, video_size=(480, 240), systems=())
    (path / "labels_dev" / SPLIT / f"{RECORDING}_std.json").write_text(json.dumps(to_json(labels(), score=False)))
    for system in ("ours", EVIL.replace("/", "|")):
        folder = path / "predictions" / system
        folder.mkdir(parents=True)
        (folder / f"{RECORDING}.json").write_text(json.dumps(to_json(predictions(), score=True)))
    return path


@pytest.fixture
def review(visit: OpenPage, root: Path, tmp_path: Path) -> OpenPage:
    """Open the review page on the test recording and wait for its desk."""

    def open_(*, storage: Any = None, **parameters: object) -> Page:
        chosen = {"root": root, "review_file": tmp_path / "review.sqlite", "reviewer": "ann", **parameters}
        page = visit("review", storage=storage, **chosen)
        page.wait_for_selector(".rv[data-ready]", timeout=90_000)
        wait(page, "!!d.moments.block('work') && !!d.moments.block('base')")
        return page

    return open_


def read(page: Page, expression: str) -> Any:
    return page.evaluate(f"() => {{ const d = {DESK}; return {expression}; }}")


def wait(page: Page, condition: str) -> None:
    # between two runs of the page there may for a moment be no desk
    page.wait_for_function(f"() => {{ const d = {DESK_IF_THERE}; return d && ({condition}); }}", timeout=60_000)


def press(page: Page, key: str) -> None:
    """Press a key and wait until the answer is here."""
    page.keyboard.press(key)
    wait(page, f"d.waiting.length === 0 && (!d.current || {HERE})")


def focus(page: Page) -> None:
    page.evaluate(f"() => {DESK}.root.focus()")


def list_of(page: Page, name: str, show: str) -> None:
    """Choose a list and wait until the desk shows all three items of it."""
    page.get_by_text(name, exact=True).click()
    wait(page, f"d.list.show === {show!r} && d.list.rows.length === 3")


def item_of(page: Page, kind: str, show: str | None = None) -> None:
    """Open the item of a kind by a click in the list."""
    page.locator(".rv-item", has_text=kind).first.click()
    wait(page, f"d.waiting.length === 0 && d.item.title === {kind!r} && {HERE}")


def point(page: Page, x: float, y: float) -> tuple[float, float]:
    """Place on the page of a canvas coordinate."""
    box = page.locator(".rv-panel > canvas").bounding_box()
    assert box is not None
    return (box["x"] + read(page, f"d.pano.toX({x})"), box["y"] + read(page, f"d.pano.toY({y})"))


def drag(page: Page, a: tuple[float, float], b: tuple[float, float]) -> None:
    page.mouse.move(*a)
    page.mouse.down()
    page.mouse.move((a[0] + b[0]) / 2, (a[1] + b[1]) / 2, steps=3)
    page.mouse.move(*b, steps=3)
    page.mouse.up()


def test_from_the_queue_to_corrected_labels(review: OpenPage, root: Path, tmp_path: Path) -> None:
    before = files_of(root)
    page = review()
    assert read(page, "d.list.counts.open") == 3
    titles = read(page, "d.list.rows.map((r) => r.title)")
    assert sorted(titles) == ["Class disagreement", "Found by no system", "No label"]

    # accept the missing Knock, and the next item comes up by itself
    item_of(page, "No label")
    press(page, "a")
    assert read(page, "d.list.counts.open") == 2
    assert read(page, "d.item.title") != "No label"
    assert "Saved" in page.locator(".rv-saved").inner_text()

    # reject the proposal to remove the label that no system finds, undo, redo
    item_of(page, "Found by no system")
    press(page, "x")
    press(page, "z")
    assert read(page, "d.list.counts.open") == 2
    press(page, "y")
    assert read(page, "d.list.counts.open") == 1

    # one key makes the disputed label a Water tap; a box then redraws its region in all frames
    item_of(page, "Class disagreement")
    press(page, "t")
    list_of(page, "All", "all")
    item_of(page, "Class disagreement")
    focus(page)
    page.keyboard.press("b")
    drag(page, point(page, 200.5, 40.5), point(page, 230.5, 70.5))
    wait(page, "d.drawing.shapes.length === 1")
    press(page, "Enter")
    wait(page, "d.drawing.shapes.length === 0")
    # a distance, typed; keys in the field are no decisions
    item_of(page, "Class disagreement")
    focus(page)
    page.keyboard.press("d")
    page.keyboard.type("321")
    press(page, "Enter")
    # a comment that is HTML stays text
    item_of(page, "Class disagreement")
    focus(page)
    page.keyboard.press("g")
    page.keyboard.type(EVIL)
    press(page, "Control+Enter")
    assert EVIL in page.locator(".rv-history").inner_text()

    # export
    page.get_by_text("Results", exact=False).first.click()
    folder = page.get_by_role("textbox", name="Folder", exact=True)
    folder.fill(str(tmp_path / "out"))
    folder.press("Tab")
    page.get_by_role("button", name="Export").click()
    page.get_by_text("label files written").wait_for(timeout=60_000)
    page.screenshot(path=ARTIFACTS / "review_results.png")
    assert page.title() != "hacked"
    assert files_of(root) == before

    result = read_annotations(tmp_path / "out" / "labels_dev" / SPLIT / f"{RECORDING}_std.json")
    knock = result.take(result.category_id == 12)
    assert knock.frame.tolist() == list(range(4, 12))
    assert (result.category_id == 5).sum() == 10
    tap = result.take(result.category_id == 10)
    assert len(tap) == 30
    assert np.all(tap.distance_cm == 321)
    xy = tap.points(7)[0]
    np.testing.assert_array_equal([xy.min(axis=0), xy.max(axis=0)], [[200, 40], [230, 70]])
    assert len(xy) == 31 * 31
    assert not (result.category_id == 8).any()
    # the official evaluator takes the file and finds what was added
    system = {RECORDING: root / "predictions" / "ours" / f"{RECORDING}.json"}
    scores = evaluate({RECORDING: result}, system)
    assert scores.per_class[12].n_labels == 8
    assert scores.per_class[12].ap[0] > 0.99
    old = evaluate({RECORDING: labels()}, system)
    assert old.per_class[12].n_labels == 0
    text = (tmp_path / "out" / "diff.md").read_text()
    assert "<script" not in text
    assert (tmp_path / "out" / "diff.csv").read_text().count("added") == 8
    with ReviewStore(tmp_path / "review.sqlite") as store:
        actions = [e.action for e in store.entries()]
    assert actions == ["accept", "reject", "undo", "redo", "class", "redraw", "distance", "comment"]


def test_drawing_shifting_painting_and_keys_that_are_not_for_us(review: OpenPage, tmp_path: Path) -> None:
    page = review()
    list_of(page, "All", "all")
    item_of(page, "Found by no system")
    focus(page)
    for key in ("Shift+ArrowLeft", "Shift+ArrowLeft", "Shift+ArrowUp"):
        page.keyboard.press(key)
    assert read(page, "[d.drawing.shift.az, d.drawing.shift.el]") == [2, 1]
    page.keyboard.press("Escape")
    assert read(page, "d.drawing.dirty") is False
    # by hand: 20 columns to the left
    drag(page, point(page, 300.5, 100.5), point(page, 280.5, 100.5))
    assert read(page, "[d.drawing.shift.az, d.drawing.shift.el]") == [20, 0]
    press(page, "Enter")
    item_of(page, "Found by no system")
    focus(page)
    page.locator("select[data-ref=scope]").select_option("frame")
    page.keyboard.press("e")
    drag(page, point(page, 290, 110), point(page, 310, 110))
    press(page, "Enter")
    item_of(page, "Found by no system")
    focus(page)
    page.keyboard.press("s")
    box = [point(page, x, y) for x, y in ((270, 90), (290, 90), (290, 110), (270, 110))]
    page.mouse.move(*box[0])
    page.mouse.down()
    for corner in (*box[1:], box[0]):
        page.mouse.move(*corner, steps=6)
    page.mouse.up()
    assert read(page, "d.drawing.shapes[0].shape") == "lasso"
    press(page, "Enter")
    # a key pressed in a field, or with a modifier, decides nothing
    page.locator("input[data-ref=tags]").fill("seam")
    page.keyboard.type("axu")
    press(page, "Enter")
    focus(page)
    page.keyboard.press("Alt+a")
    page.wait_for_timeout(300)
    with ReviewStore(tmp_path / "review.sqlite") as store:
        entries = store.entries()
    assert [e.action for e in entries] == ["shift", "redraw", "redraw", "tag"]
    assert entries[0].edits[0]["azimuth_deg"] == 20
    assert len(entries[0].edits[0]["targets"]) == 10
    assert len(entries[1].edits[0]["targets"]) == len(entries[2].edits[0]["targets"]) == 1
    assert entries[3].tags == ("seamaxu",)
    # nothing is on the desk that is not in the file: the page opened anew shows the same
    again = review()
    list_of(again, "All", "all")
    item_of(again, "Found by no system")
    assert "redrawn" in again.locator(".rv-history").inner_text()


def test_a_source_is_added_from_nothing_and_followed(review: OpenPage, tmp_path: Path) -> None:
    page = review()
    item_of(page, "No label")
    focus(page)
    page.keyboard.press("i")
    page.keyboard.press("l")  # Bell
    assert "New source, Bell" in page.locator(".rv-note").inner_text()
    first = read(page, "d.frame")
    drag(page, point(page, 340.5, 120.5), point(page, 352.5, 132.5))
    page.keyboard.press("Enter")
    wait(page, f"d.waiting.length === 0 && !!d.item && d.item.kind === 'source' && {HERE}")
    assert read(page, "d.frame") == first
    for _ in range(4):
        page.keyboard.press("ArrowRight")
    page.keyboard.press("b")
    drag(page, point(page, 300.5, 120.5), point(page, 312.5, 132.5))
    page.keyboard.press("Enter")
    wait(page, "d.waiting.length === 0 && d.drawing.shapes.length === 0 && d.item.end - d.item.start === 4")
    assert "3 frames between filled" in page.locator(".rv-history").inner_text()
    page.screenshot(path=ARTIFACTS / "review_source.png")
    with ReviewStore(tmp_path / "review.sqlite") as store:
        entries = store.entries()
    assert [e.action for e in entries] == ["source", "source"]
    assert entries[1].after["filled"] == [first + 1, first + 2, first + 3]


def test_a_whole_list_decided_at_once_and_taken_back(review: OpenPage, tmp_path: Path) -> None:
    page = review()
    wait(page, "d.moments.loaded.size === 3")
    page.set_viewport_size({"width": 1280, "height": 720})
    tops = [page.get_by_role("button", name=name).bounding_box() for name in ("Data", "All listed", "Results")]
    assert len({round(box["y"]) for box in tops if box}) == 1, tops  # one row of a small screen
    page.get_by_role("button", name="All listed").click()
    page.get_by_role("button", name="Reject all").click()
    wait(page, "d.list.counts.open === 0 && d.list.undo.length === 1")
    page.keyboard.press("Escape")
    focus(page)
    page.keyboard.press("z")
    wait(page, "d.waiting.length === 0 && d.list.counts.open === 3")
    first = read(page, "d.list.rows[0].id")
    page.locator(".rv-item").first.click()
    wait(page, f"d.current === {first!r} && {HERE}")
    press(page, "x")  # no question about what was taken back
    assert read(page, "d.question") is None
    assert [a for a, _ in actions(tmp_path / "review.sqlite")] == ["bulk", "undo", "reject"]


def test_more_like_this_and_back(review: OpenPage, tmp_path: Path) -> None:
    page = review(root="", review_file=tmp_path / "demo.sqlite")
    wait(page, f"d.list.counts.open === {n_of_demo()}")
    focus(page)
    for _ in range(3):
        page.keyboard.press("ArrowDown")
    origin = read(page, "d.current")
    order = read(page, "d.list.rows.map((r) => r.id)")
    page.keyboard.press("j")
    page.wait_for_function(
        f"() => {{ const d = {DESK_IF_THERE}; return !!d && d.list.alike === {origin!r}; }}", timeout=120_000
    )
    assert read(page, "d.current") == origin
    rows = read(page, "d.list.rows")
    assert rows[0]["id"] == origin
    likes = [row["alike"]["total"] for row in rows[1:]]
    assert likes == sorted(likes, reverse=True)
    assert likes[-1] >= 0.5
    # decided here, it has left the list when all come back: what came after it is shown
    page.keyboard.press("x")
    wait(page, f"d.waiting.length === 0 && d.current === {rows[1]['id']!r}")
    page.keyboard.press("j")
    wait(page, f"!d.list.alike && d.current === {order[4]!r}")
    assert [a for a, _ in actions(tmp_path / "demo.sqlite")] == ["reject"]
    # and from there, with nothing decided, the way back leads to where it was
    page.keyboard.press("j")
    page.wait_for_function(
        f"() => {{ const d = {DESK_IF_THERE}; return !!d && d.list.alike === {order[4]!r}; }}", timeout=120_000
    )
    page.get_by_role("button", name="Back to all").click()
    wait(page, f"!d.list.alike && d.current === {order[4]!r}")


def test_an_item_plays_its_source_alone_and_so_does_the_next(review: OpenPage, tmp_path: Path) -> None:
    page = review(root="", review_file=tmp_path / "demo.sqlite")
    focus(page)
    page.keyboard.press("c")
    expect(page.get_by_role("button", name="Hear the source alone")).to_have_attribute("aria-pressed", "true")
    wait(page, "!!d.listening.held")
    expect(page.get_by_text("The source alone")).to_be_visible()
    # what a network makes of it comes behind, as evidence, and orders the classes
    wait(page, "d.sheet.evidence && d.ref.evidence.textContent.startsWith('Evidence, no decision')")
    order = (
        "[...d.ref.classes.children].sort((a, b) => a.style.order - b.style.order).map((b) => Number(b.dataset.class))"
    )
    wait(page, f"JSON.stringify({order}) === JSON.stringify(d.sheet.evidence.order)")
    page.keyboard.press(" ")
    wait(page, "d.listening.playing && d.listening.playing.alone")
    first = read(page, "d.current")
    page.keyboard.press("ArrowDown")
    wait(page, f"d.current !== {first!r} && !d.listening.playing && !!d.listening.held")
    page.keyboard.press("c")
    wait(page, "!d.listening.alone && d.ref.heard.textContent === ''")
    page.keyboard.press(" ")
    wait(page, "d.listening.playing && !d.listening.playing.alone")
    # two ears: the scene turns as one looks; a source alone is where it is
    page.keyboard.press("Shift+C")
    wait(page, "!!d.listening.ears.known && d.listening.ears.wanted().length === 0")
    expect(page.get_by_text("Two ears", exact=True)).to_be_visible()
    page.keyboard.press("Shift+V")
    page.keyboard.press(" ")
    if read(page, "!d.listening.playing"):
        page.keyboard.press(" ")
    gains = "d.listening.ears.graph.turn.map(({ gain }) => gain.gain.value.toFixed(2)).join()"
    wait(page, "d.listening.playing && d.listening.ears.graph && d.listening.ears.graph.turn.length > 0")
    before = read(page, gains)
    page.evaluate(f"() => {DESK}.turnTo({{yaw: {DESK}.gaze.yaw + 90}})")
    wait(page, f"d.listening.ears.graph ? {gains} !== {before!r} : (d.listening.play(), false)")


def around(page: Page, x: float, y: float) -> tuple[float, float]:
    """Place on the page of a canvas coordinate in the view from inside the sphere."""
    box = page.locator(".rv-look > canvas:not(.lens)").bounding_box()
    assert box is not None
    (spot,) = read(page, f"(d.around.view = d.around.perspective, d.around.spots({{x: {x} % 360, y: {y}}}))")
    return (box["x"] + spot["x"], box["y"] + spot["y"])


def test_what_is_drawn_around_is_what_is_drawn_on_the_panorama(review: OpenPage, tmp_path: Path) -> None:
    """A region dragged over the seam, a box over it and a lasso around a pole: the same is saved from both views."""
    page = review()
    list_of(page, "All", "all")

    def begin(key: str, view: str) -> None:
        item_of(page, "Found by no system")
        focus(page)
        page.evaluate(f"() => {{ const d = {DESK}; {view}; }}")
        page.keyboard.press(key)

    def keep() -> None:
        wait(page, "d.drawing.dirty")
        press(page, "Enter")
        press(page, "z")

    for looks in (False, True):
        place = around if looks else point
        if looks:
            focus(page)
            page.keyboard.press("Shift+V")
            item_of(page, "Found by no system")
            expect(page.get_by_role("button", name="Around")).to_have_attribute("aria-pressed", "true")
            wait(page, "Math.hypot(d.gaze.yaw + 120, d.gaze.pitch + 10) < 2")  # at the item's region
        begin("v", "d.turnTo({yaw: -153, pitch: 0, fov: 110}), d.look({x: 330, y: 90, z: 1})")
        drag(page, place(page, 300.5, 100.5), place(page, 365.5, 80.5))
        keep()
        begin("b", "d.turnTo({yaw: 180, pitch: 40, fov: 90}), d.look({x: 360, y: 90, z: 1})")
        drag(page, place(page, 350.5, 40.5), place(page, 370.5, 60.5))
        keep()
        begin("s" if looks else "b", "d.turnTo({yaw: 20, pitch: 90, fov: 100}), d.look(d.whole)")
        if looks:
            page.mouse.move(*place(page, 0.5, 20.5))
            page.mouse.down()
            for x in range(10, 360, 10):
                page.mouse.move(*place(page, x + 0.5, 20.5))
            page.screenshot(path=ARTIFACTS / "review_around_pole.png")
            page.mouse.up()
        else:
            drag(page, place(page, 0.3, 0.3), place(page, 359.7, 20.5))
        keep()
    # the view is in the address, and there after a reload
    begin("v", "d.turnTo({yaw: 40, pitch: -80, fov: 60})")
    page.wait_for_url("**view=g40*-80*60_w**")
    page.reload()
    page.wait_for_selector(".rv[data-ready]", timeout=90_000)
    wait(page, "d.looking && d.gaze.pitch === -80 && d.item && d.item.title === 'Found by no system'")
    with ReviewStore(tmp_path / "review.sqlite") as store:
        edits = [entry.edits for entry in store.entries() if entry.action in ("shift", "redraw")]
    (shift, box, cap), (same_shift, same_box, lasso) = edits[:3], edits[3:]
    assert [shift[0]["azimuth_deg"], shift[0]["elevation_deg"]] == [-65, 20]
    assert same_shift == shift
    assert same_box == box
    pixels = [{(x, y) for part in one[0]["parts"] for x, y, _ in part} for one in (box, cap, lasso)]
    assert len(pixels[0]) == len(pixels[1]) // 360 * 21 == 21 * 21
    assert len(pixels[1] ^ pixels[2]) < 0.02 * len(pixels[1])


def test_two_reviewers_a_conflict_and_its_end(review: OpenPage, tmp_path: Path) -> None:
    ann = review()
    bob = review(reviewer="bob")
    for page, key in ((ann, "a"), (bob, "x")):
        list_of(page, "Not by me", "mine")
        item_of(page, "No label")
        press(page, key)
    wait(bob, "d.list.counts.conflict === 1")
    bob.get_by_text("Conflicts", exact=True).click()
    wait(bob, "d.list.show === 'conflict' && d.item.status === 'conflict'")
    words = bob.locator(".rv-history").inner_text()
    assert "ann:" in words
    assert "bob:" in words
    press(bob, "a")
    assert read(bob, "d.list.counts.conflict") == 0
    assert "No conflicts" in bob.locator(".rv-head").inner_text()
    with ReviewStore(tmp_path / "review.sqlite") as store:
        entries = store.entries()
    assert [(e.reviewer, e.action) for e in entries] == [("ann", "accept"), ("bob", "reject"), ("bob", "accept")]
    assert entries[2].after["settles"] is True


HOLD = "document.querySelector('[data-testid=stApp]').setAttribute('data-test-script-state', '{}')"


def hold(page: Page) -> None:
    """Let the browser believe that the server is busy: nothing is sent from now on."""
    wait(page, "d.turn.resting && !d.busySince")
    page.evaluate(HOLD.format("running"))


def let_go(page: Page) -> None:
    page.evaluate(HOLD.format("notRunning"))


def actions(path: Path) -> list[tuple[str, str]]:
    with ReviewStore(path) as store:
        return [(e.action, e.item) for e in store.entries()]


def test_a_request_waits_for_the_answer_of_the_run_before_it(review: OpenPage, tmp_path: Path) -> None:
    page = review()
    wait(page, "d.moments.loaded.size === 3")
    hold(page)
    focus(page)
    first = read(page, "d.current")
    page.keyboard.press("u")
    # the next item is there, and the decision of the first one waits
    wait(page, f"d.current !== {first!r} && !!d.moments.block('work')")
    assert page.locator(".rv-saved").inner_text() == "1 not yet saved."
    assert actions(tmp_path / "review.sqlite") == []
    let_go(page)
    wait(page, "d.waiting.length === 0")
    assert actions(tmp_path / "review.sqlite") == [("unsure", first)]
    assert "Saved" in page.locator(".rv-saved").inner_text()


def test_every_fast_key_counts(review: OpenPage, tmp_path: Path) -> None:
    page = review()
    focus(page)
    ids = read(page, "d.list.rows.map((r) => r.id)")
    for key in "xua":  # faster than any answer
        page.keyboard.press(key)
        page.wait_for_timeout(150)
    wait(page, "d.waiting.length === 0 && d.current === null")
    assert actions(tmp_path / "review.sqlite") == list(zip(("reject", "unsure", "accept"), ids, strict=True))
    assert "Everything in this list is decided." in page.locator(".rv-head").inner_text()
    # back through all of them, as fast, and one of them decided otherwise
    for key in ("z", "z", "y", "z", "x"):
        page.keyboard.press(key)
    wait(page, f"d.waiting.length === 0 && d.current === {ids[2]!r}")
    with ReviewStore(tmp_path / "review.sqlite") as store:
        assert [v.outcome for v in store.history().state(ids[1]).views] == ["reject"]
        assert [v.outcome for v in store.history().state(ids[0]).views] == ["reject"]
        assert store.history().state(ids[2]).status == "open"


def test_nothing_is_lost_when_the_tab_dies(review: OpenPage, tmp_path: Path) -> None:
    page = review()
    wait(page, "d.moments.loaded.size === 3")
    ids = read(page, "d.list.rows.map((r) => r.id)")
    hold(page)
    focus(page)
    page.keyboard.press("x")
    page.keyboard.press("u")
    wait(page, f"d.waiting.length === 2 && d.current === {ids[2]!r}")
    state = page.context.storage_state()
    page.close()
    assert actions(tmp_path / "review.sqlite") == []
    # under another name they wait, under their own they are saved, each once
    bob = review(reviewer="bob", storage=state)
    bob.wait_for_function(f"() => {DESK}.ref.saved.textContent.includes('2 of ann wait for that name')")
    assert read(bob, "d.list.counts.open") == 3
    name = bob.get_by_role("textbox", name="Reviewer")
    name.fill("ann")
    name.press("Enter")
    wait(bob, "d.list.reviewer === 'ann' && d.waiting.length === 0 && d.list.counts.open === 1")
    assert actions(tmp_path / "review.sqlite") == [("reject", ids[0]), ("unsure", ids[1])]
    again = review(storage=state)  # both tabs had them
    wait(again, "d.waiting.length === 0 && d.list.counts.open === 1")
    assert len(actions(tmp_path / "review.sqlite")) == 2


def test_keys_after_a_name_are_decisions_of_that_name(review: OpenPage, tmp_path: Path) -> None:
    page = review()
    first = read(page, "d.current")
    name = page.get_by_role("textbox", name="Reviewer")
    name.fill("bob")
    page.keyboard.press("Enter")
    page.keyboard.press("x")  # before the page can know the name
    wait(page, f"d.list.reviewer === 'bob' && d.waiting.length === 0 && d.current !== {first!r}")
    expect(name).to_have_value("bob")
    with ReviewStore(tmp_path / "review.sqlite") as store:
        assert [(e.reviewer, e.action, e.item) for e in store.entries()] == [("bob", "reject", first)]
    # Escape leaves the field too
    name.click()
    page.keyboard.press("Escape")
    page.keyboard.press("u")
    wait(page, "d.waiting.length === 0 && d.list.counts.open === 1")
    expect(name).to_have_value("bob")
    # so do the desk's own fields
    page.keyboard.press("d")
    page.keyboard.type("77")
    page.keyboard.press("Escape")
    page.keyboard.press("x")
    wait(page, "d.waiting.length === 0 && d.list.counts.open === 0")
    # what was decided is still said when the page is opened anew, and the list of it is not called empty
    again = review(reviewer="bob", item=first)
    assert again.locator(".rv-saved").inner_text().startswith("Saved")
    again.get_by_text("Done", exact=True).click()
    wait(again, "d.list.show === 'done' && d.list.rows.length === 3")


def test_what_another_tab_has_decided_is_asked_about(review: OpenPage, tmp_path: Path) -> None:
    stale = review()
    other = review(reviewer="bob")
    wait(stale, "d.moments.loaded.size === 3")
    ids = read(stale, "d.list.rows.map((r) => r.id)")
    focus(other)
    press(other, "x")
    press(other, "u")
    focus(stale)
    for key in "aa":
        stale.keyboard.press(key)
    note = stale.locator(".rv-note")
    wait(stale, "d.waiting.filter((a) => a.held === 'decided').length === 2")
    assert "bob has decided about this item since it was shown here: rejected" in note.inner_text()
    assert [a for a, _ in actions(tmp_path / "review.sqlite")] == ["reject", "unsure"]
    note.get_by_role("button", name="Leave it as it is").click()
    wait(stale, f"d.waiting.length === 1 && d.question.item === {ids[1]!r}")
    note.get_by_role("button", name="Keep mine: accept").click()
    wait(stale, "d.waiting.length === 0 && !d.question")
    with ReviewStore(tmp_path / "review.sqlite") as store:
        assert [(e.reviewer, e.action, e.item) for e in store.entries()] == [
            ("bob", "reject", ids[0]),
            ("bob", "unsure", ids[1]),
            ("ann", "accept", ids[1]),
        ]
    # one's own decision is no surprise
    list_of(stale, "All", "all")
    item_of(stale, "Found by no system")
    press(stale, "x")
    focus(stale)
    stale.keyboard.press("ArrowUp")
    stale.keyboard.press("u")
    wait(stale, "d.waiting.length === 0 && !d.question")


def test_a_decision_that_cannot_be_made_comes_back(review: OpenPage, tmp_path: Path) -> None:
    page = review()
    item_of(page, "No label")
    shown = read(page, "d.current")
    focus(page)
    page.keyboard.press("t")  # there is no label yet whose class could be changed
    wait(page, f"d.waiting.length === 0 && d.current === {shown!r} && !d.ref.note.hidden")
    assert "accept the proposal first" in page.locator(".rv-note").inner_text()
    assert actions(tmp_path / "review.sqlite") == []


def test_the_item_is_in_the_address(review: OpenPage) -> None:
    page = review()
    ids = read(page, "d.list.rows.map((r) => r.id)")
    page.locator(".rv-item").nth(2).click()
    page.wait_for_function(f"new URLSearchParams(location.search).get('item') === {ids[2]!r}")
    page.get_by_role("link", name="Home").click()
    page.get_by_text("See, hear and score").wait_for(timeout=60_000)
    page.evaluate("history.back()")
    page.wait_for_selector(".rv[data-ready]", timeout=60_000)
    wait(page, f"d.current === {ids[2]!r}")
    # a link to it, also when it is not in the list that is shown
    focus(page)
    press(page, "x")
    linked = review(item=ids[2])
    wait(linked, f"d.current === {ids[2]!r} && d.item.own === 'reject'")
    gone = review(item="0123456789abcdef")
    gone.wait_for_function(f"() => {DESK}.ref.note.textContent.includes('not among those found')")
    assert read(gone, "d.current") in ids[:2]


def test_the_time_from_key_to_next_item(review: OpenPage, tmp_path: Path) -> None:
    page = review(root="", review_file=tmp_path / "demo.sqlite")
    page.wait_for_function(f"() => {DESK}.list.counts.open === {n_of_demo()}", timeout=60_000)
    focus(page)
    read(page, "(d.stats.keys = [], 0)")
    n = min(30, n_of_demo() - 1)
    for k in range(n):
        began = time.monotonic()
        page.keyboard.press("uxa"[k % 3])
        wait(page, f"d.stats.keys.length === {k + 1}")
        # the pace of a fast reviewer
        page.wait_for_timeout(max(0.0, 300 - 1000 * (time.monotonic() - began)))
    wait(page, "d.waiting.length === 0")
    times = np.array(read(page, "d.stats.keys"))
    figures = {f"key_to_next_item_p{q}_ms": round(float(np.percentile(times, q)), 1) for q in (50, 95, 100)}
    report("review_keys", {"keys": n, **figures, "load_average": os.getloadavg()[0]})
    assert read(page, "d.list.counts.open") > 0
    focus(page)
    page.keyboard.press("?")
    expect(page.locator(".rv-help")).to_be_visible()
