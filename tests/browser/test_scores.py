"""The scores page in a real browser: a cell, a bar, a point and a square lead to frames, and those to the Explorer."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from playwright.sync_api import Page, expect

from pages.components import state_keys as keys
from sai_core.annotations import AnnotationTable
from sai_core.detections.raw import RawWriter, store_folder
from sai_core.drawing.maps import unwrap_columns
from tests.browser.conftest import ARTIFACTS, click_chart, read, settle
from tests.figures.scenes import tables, write_root

pytestmark = [pytest.mark.browser, pytest.mark.slow]

OpenScores = Callable[..., Page]
_READY = (
    "() => document.querySelector('[data-testid=stDataFrame] canvas')"
    " && !document.querySelector('[data-testid=stProgress]')"
    " && document.querySelector('[data-testid=stApp]').getAttribute('data-test-script-state') === 'notRunning'"
)


@pytest.fixture
def open_scores(visit: Callable[..., Page]) -> OpenScores:
    """Open a view of the page on the demo recordings."""

    def open_(view: str, *, scheme: str = "light") -> Page:
        page = visit("scores", scheme=scheme, scores_view=view)
        _settle(page)
        return page

    return open_


def _write_raw(folder: Path, predictions: AnnotationTable, n_frames: int) -> None:
    """Raw store of stand-in candidates, one a prediction; the embeddings of a class lie together."""
    rng = np.random.default_rng(0)
    n, rows = len(predictions), np.arange(len(predictions))
    boxes = np.zeros((n, 4))
    for k in range(n):
        xy = predictions.points(k)[0]
        x = unwrap_columns(xy[:, 0])
        boxes[k] = x.min(), xy[:, 1].min(), x.max() + 1, xy[:, 1].max() + 1
    class_scores, embedding = np.zeros((n, 13)), rng.normal(0, 0.03, (n, 13))
    class_scores[rows, predictions.category_id] = predictions.score
    embedding[rows, predictions.category_id] += 1
    writer = RawWriter(
        store_folder(folder, predictions.recording, "made-up"),
        recording=predictions.recording,
        key="made-up",
        n_frames=n_frames,
    )
    columns: dict[str, Any] = {
        "frame": predictions.frame,
        "boxes_xyxy": boxes,
        "class_scores": class_scores,
        "objectness": predictions.score,
        "category_id": predictions.category_id,
        "energy": np.ones((n, 28, 28)),
        "distance_cm": predictions.distance_cm,
        "embedding": embedding,
        "full_energy": np.zeros((n_frames, 0, 0)),
    }
    writer.write(0, columns)
    writer.finish()


@pytest.fixture(scope="module")
def embedded_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two recordings of 4 s with a prediction set that has raw detections with embeddings."""
    root, n_frames = tmp_path_factory.mktemp("embedding") / "root", 40
    for seed in range(2):
        name = f"fold4_room{seed}_mix001"
        write_root(
            root, recording=name, n_frames=n_frames, seed=seed, video_size=None, audio=False, systems=("embedded",)
        )
        raw = root / "predictions" / "embedded" / "raw"
        _write_raw(raw, tables(n_frames, seed=seed, recording=name)[1], n_frames)
    return root


def _settle(page: Page) -> None:
    """Wait until nothing is calculated any more and the page stands still."""
    page.wait_for_function(_READY, timeout=180_000)
    settle(page)
    page.wait_for_function(_READY, timeout=180_000)


def _view(page: Page, name: str) -> None:
    """Change to another view."""
    page.locator(".st-key-scores_view").get_by_text(name, exact=True).click()


def _click_cell(page: Page, table: int, row: int, x: float) -> None:
    """Click into a row of a table, ``x`` pixels from its left edge."""
    box = page.locator("[data-testid=stDataFrame]").nth(table).bounding_box()
    assert box is not None
    page.mouse.click(box["x"] + x, box["y"] + 31 + 27 * row + 13)


def _click_point(page: Page, chart: int, x: float | str, y: float | str) -> None:
    """Click at data coordinates of a chart."""
    place = "(plot, [x, y]) => [plot._fullLayout.xaxis.d2p(x), plot._fullLayout.yaxis.d2p(y)]"
    click_chart(page, place, [x, y], chart=chart)


def test_a_cell_of_the_class_table_leads_to_the_explorer(open_scores: OpenScores) -> None:
    page = open_scores("Classes")
    assert page.get_by_text("Behind mAP").count() == 1
    # row of "Male speech", column of the AP at IoU 0.50
    _click_cell(page, 0, 1, 420)
    page.get_by_text("Behind AP50 · Male speech").wait_for(timeout=60_000)
    _settle(page)
    _click_cell(page, 1, 0, 18)
    button = page.get_by_role("button", name="in the Explorer")
    button.wait_for(timeout=60_000)
    text = button.inner_text()
    button.click()
    page.wait_for_selector(".sx[data-ready]", timeout=120_000)
    frame = int(text.split("frame ")[1].split(" ")[0])
    assert read(page, "p.frame") == frame
    assert "fold9_room" in page.url
    # and back: the choice of view is still there
    page.get_by_test_id("stTopNav").get_by_role("link", name="Scores").click()
    _settle(page)
    assert page.get_by_text("Revision", exact=True).count() >= 1


def test_bars_points_and_squares_lead_to_frames(open_scores: OpenScores) -> None:
    page = open_scores("Classes")
    _click_point(page, 0, 0.1, "Music")
    page.get_by_text("Behind mAP · Music").wait_for(timeout=60_000)

    _view(page, "Confusion")
    page.get_by_text("Behind right place, wrong class").wait_for(timeout=60_000)
    _settle(page)
    # labels of "Telephone" that were taken for "Bell"
    _click_point(page, 0, 11, 3)
    page.get_by_text("Behind label Telephone, prediction Bell").wait_for(timeout=60_000)

    _view(page, "Calibration")
    _settle(page)
    _click_point(page, 0, 0.75, 0.3)
    page.get_by_text("Behind all classes, scores 0.70 to 0.80").wait_for(timeout=60_000)

    _view(page, "PR curves")
    _settle(page)
    # the point of a curve that no other curve is near to
    point = page.evaluate(
        """() => {
            const plot = document.querySelectorAll('.js-plotly-plot')[0], {xaxis, yaxis} = plot._fullLayout;
            const own = plot.calcdata.find((c) => c[0].trace.name.startsWith('Bell'));
            const others = plot.calcdata.filter((c) => c !== own).flat();
            const away = (a) => Math.min(...others.map((b) => Math.hypot(
                xaxis.d2p(a.x) - xaxis.d2p(b.x), yaxis.d2p(a.y) - yaxis.d2p(b.y))));
            const lonely = own.reduce((best, a) => away(a) > away(best) ? a : best);
            return [lonely.x, lonely.y];
        }"""
    )
    _click_point(page, 0, *point)
    page.get_by_text("Behind Bell at score").wait_for(timeout=60_000)


def test_a_bar_of_the_budget_leads_to_frames_and_to_a_review_of_them(open_scores: OpenScores) -> None:
    page = open_scores("Budget")
    # no column of the gains is beyond the edge of a small screen, once the table has become as narrow as that
    page.set_viewport_size({"width": 1024, "height": 768})
    page.wait_for_function(
        "() => { const s = document.querySelector('[data-testid=stDataFrame] .dvn-scroller');"
        " return s && s.clientWidth > 300 && s.clientWidth < 560 && s.scrollWidth <= s.clientWidth + 1; }"
    )
    page.set_viewport_size({"width": 1440, "height": 900})
    _settle(page)
    middle = page.evaluate(
        """() => {
            const bars = document.querySelectorAll('.js-plotly-plot')[0]._fullData[0], k = bars.x.indexOf('Place');
            return bars.base[k] + bars.y[k] / 2;
        }"""
    )
    _click_point(page, 0, "Place", middle)
    page.get_by_text("Behind Place · macro").wait_for(timeout=60_000)
    _settle(page)
    page.get_by_role("button", name="Review these").click()
    page.get_by_text("moments of the error budget (Place").first.wait_for(timeout=120_000)
    assert "/review" in page.url


# points of a class in the chart: place on the screen and text; and of a lasso around them everything that is in it
_POINTS = """name => {
    const plot = document.querySelector('.js-plotly-plot'), box = plot.getBoundingClientRect();
    const {xaxis, yaxis} = plot._fullLayout;
    const all = plot._fullData.flatMap((trace) => Array.from(trace.x, (x, k) => ({
        name: trace.name, text: trace.text[k],
        x: box.x + xaxis._offset + xaxis.d2p(x), y: box.y + yaxis._offset + yaxis.d2p(trace.y[k]),
    })));
    const own = all.filter((point) => point.name === name);
    const [xs, ys] = [own.map((point) => point.x), own.map((point) => point.y)];
    const area = [Math.min(...xs) - 9, Math.min(...ys) - 9, Math.max(...xs) + 9, Math.max(...ys) + 9];
    const inside = all.filter(({x, y}) => x > area[0] && x < area[2] && y > area[1] && y < area[3]);
    return {n: all.length, own, area, inside: inside.map((point) => point.text)};
}"""


def _moment(text: str) -> tuple[str, int]:
    """Recording and frame in what is shown of a point under the cursor."""
    found = re.search(r"(fold\w+), ([\d.]+) s", text)
    assert found
    return found[1], round(10 * float(found[2]))


def test_a_point_leads_to_those_like_it_and_a_lasso_to_its_moments(
    visit: Callable[..., Page], embedded_root: Path
) -> None:
    toggle = f".st-key-{keys.SCORES_ONE_POINT} label"
    page = visit("scores", scheme="light", **{keys.ROOT: str(embedded_root), keys.SCORES_VIEW: "Embedding"})
    page.locator(toggle).click(timeout=180_000)
    _settle(page)
    page.wait_for_function("() => document.querySelector('.js-plotly-plot')?._fullLayout?.dragmode === 'pan'")
    expect(page.get_by_text("Click a point in the chart to list those most like it")).to_be_visible()
    points = page.evaluate(_POINTS, "Music")
    assert points["n"] > 100
    # one that no other is near to
    lonely = max(
        points["own"], key=lambda p: min(np.hypot(p["x"] - q["x"], p["y"] - q["y"]) for q in points["own"] if q != p)
    )
    recording, frame = _moment(lonely["text"])
    click_chart(
        page,
        """(plot, [x, y]) => {
            const box = plot.getBoundingClientRect(), {xaxis, yaxis} = plot._fullLayout;
            return [x - box.x - xaxis._offset, y - box.y - yaxis._offset];
        }""",
        [lonely["x"], lonely["y"]],
    )
    page.get_by_text(f"Behind what is like Music, {recording}, frame {frame}").wait_for(timeout=60_000)
    page.get_by_text("the chosen one, then by cosine similarity").wait_for(timeout=60_000)
    _settle(page)
    _click_cell(page, 0, 0, 18)
    page.get_by_role("button", name=f"Open {recording}, frame {frame} in the Explorer").wait_for(timeout=60_000)
    page.screenshot(path=ARTIFACTS / "scores_embedding_like.png")

    page.locator(toggle).click()
    page.wait_for_function("() => document.querySelector('.js-plotly-plot')?._fullLayout?.dragmode === 'lasso'")
    _settle(page)
    points = page.evaluate(_POINTS, "Music")
    left, top, right, bottom = points["area"]
    page.mouse.move(left, top)
    page.mouse.down()
    for x, y in ((right, top), (right, bottom), (left, bottom), (left, top)):
        page.mouse.move(x, y, steps=4)
    page.mouse.up()
    page.get_by_text(f"Behind {len(points['inside'])} selected points").wait_for(timeout=60_000)
    _settle(page)
    page.screenshot(path=ARTIFACTS / "scores_embedding_lasso.png")
    _click_cell(page, 0, 0, 18)
    button = page.get_by_role("button", name="in the Explorer")
    button.wait_for(timeout=60_000)
    found = re.search(r"Open (\w+), frame (\d+) in", button.inner_text())
    assert found
    assert (found[1], int(found[2])) in [_moment(text) for text in points["inside"]]
    button.click()
    page.wait_for_selector(".sx[data-ready]", timeout=120_000)
    assert read(page, "p.frame") == int(found[2])
    assert found[1] in page.url


def test_the_tables_are_drawn_in_the_dark_too(open_scores: OpenScores) -> None:
    page = open_scores("Systems", scheme="dark")
    ARTIFACTS.mkdir(exist_ok=True)
    page.screenshot(path=ARTIFACTS / "scores_systems_dark.png")
    for view in ("Recordings", "Compare"):
        _view(page, view)
        _settle(page)
        page.screenshot(path=ARTIFACTS / f"scores_{view.lower()}_dark.png")
        assert page.locator("[data-testid=stException]").count() == 0
