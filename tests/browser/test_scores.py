"""The scores page in a real browser: a cell, a bar, a point and a square lead to frames, and those to the Explorer."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from playwright.sync_api import Page

from tests.browser.conftest import ARTIFACTS, click_chart, read, settle

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
    point = page.evaluate(
        """() => {
            const curves = document.querySelectorAll('.js-plotly-plot')[0].calcdata;
            const last = curves.find(c => c[0].trace.name.startsWith('Bell')).at(-1);
            return [last.x, last.y];
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
    _click_point(page, 0, "Place", 0.5)
    page.get_by_text("Behind Place · macro").wait_for(timeout=60_000)
    _settle(page)
    page.get_by_role("button", name="Review these").click()
    page.get_by_text("moments of the error budget (Place").first.wait_for(timeout=120_000)
    assert "/review" in page.url


def test_the_tables_are_drawn_in_the_dark_too(open_scores: OpenScores) -> None:
    page = open_scores("Systems", scheme="dark")
    ARTIFACTS.mkdir(exist_ok=True)
    page.screenshot(path=ARTIFACTS / "scores_systems_dark.png")
    for view in ("Recordings", "Compare"):
        _view(page, view)
        _settle(page)
        page.screenshot(path=ARTIFACTS / f"scores_{view.lower()}_dark.png")
        assert page.locator("[data-testid=stException]").count() == 0
