"""The Dataset page in a real browser: the filter is in the address, and a bar leads to its frames."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import ARTIFACTS, click_chart, settle

pytestmark = [pytest.mark.browser, pytest.mark.slow]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_link_is_a_view_and_a_bar_leads_to_its_frames(visit: Callable[..., Page], scheme: str) -> None:
    ARTIFACTS.mkdir(exist_ok=True)
    page = visit("dataset", scheme=scheme, where="class:music")
    page.locator("[data-testid=stDataFrame] canvas").first.wait_for(timeout=120_000)
    expect(page.get_by_text("1 of 4 recordings")).to_be_visible(timeout=120_000)
    field = page.get_by_role("textbox", name="Search")
    field.fill("class:music polyphony>=2")
    field.press("Enter")
    page.wait_for_url(lambda url: "class%3Amusic" in url and "polyphony" in url, timeout=60_000)
    # one part taken away again
    page.get_by_role("button", name="class:music").click()
    expect(page.get_by_text("4 recordings ·")).to_be_visible(timeout=60_000)
    settle(page)
    page.screenshot(path=ARTIFACTS / f"dataset_{scheme}.png")
    page.locator(".st-key-dataset_view").get_by_text("Statistics", exact=True).click()
    page.locator(".js-plotly-plot").nth(6).wait_for(timeout=120_000)
    settle(page)
    page.screenshot(path=ARTIFACTS / f"dataset_statistics_{scheme}.png")
    if scheme == "dark":
        return
    # the bar of "Music", class 8, in the first chart
    place = "(plot, [x, y]) => [plot._fullLayout.xaxis.d2p(x), plot._fullLayout.yaxis.d2p(y)]"
    click_chart(page, place, [4.0, 8], chart=0)
    expect(page.get_by_text("Frames with Music")).to_be_visible(timeout=60_000)
    page.get_by_role("button", name="Open fold9_room2_mix001").click()
    page.wait_for_selector(".sx[data-ready]", timeout=120_000)
    assert "fold9_room2_mix001" in page.url
