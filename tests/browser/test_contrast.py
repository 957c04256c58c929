"""Text against what is behind it where something has been opened; every page as it stands: ``test_pages.py``."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import settle
from tests.browser.contrast import faint, pairs

pytestmark = [pytest.mark.browser]

OpenPage = Callable[..., Page]


@pytest.mark.parametrize(
    ("colour", "ground", "ratio"),
    [
        ("#767676", "#ffffff", 4.54),
        ("rgb(255 255 255 / 0.3)", "#5aa2ff", 1.36),
        ("#ffffff", "linear-gradient(#000, #000)", None),  # a picture behind it: not measured
        ("#000", "color-mix(in srgb, #ffffff 50%, #000000)", 5.3),
    ],
)
def test_the_measure_is_right(visit: OpenPage, colour: str, ground: str, ratio: float | None) -> None:
    page = visit("_stcore/health")
    page.set_content(
        f"<body style='background: #fff'><div style='background: {ground}'>"
        f"<p style='color: {colour}; width: 90px'>probe</p></div>"
    )
    found = [pair for pair in pairs(page) if pair["text"] == "probe"]
    assert len(found) == (ratio is not None)
    if ratio is not None:
        assert found[0]["needed"] == 4.5
        assert found[0]["ratio"] == pytest.approx(ratio, abs=0.03)


def test_a_colour_that_is_too_faint_is_found_on_a_page_and_in_an_element(open_page: OpenPage) -> None:
    page = open_page(a="first")
    assert faint(page) == []
    page.add_style_tag(content="[data-testid=stHeader] a span { color: #8fa3bd !important }")
    assert any("Explorer" in line or "Home" in line for line in faint(page))
    page.evaluate(
        """() => { const e = document.querySelector('[data-testid=stBidiComponentIsolated]');
        e.shadowRoot.querySelector('.sx').style.setProperty('--dim', '#b9c0cc'); }"""
    )
    assert any("#b9c0cc" in line for line in faint(page))


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_what_opens_reaches_aa(open_page: OpenPage, visit: OpenPage, tmp_path: Path, scheme: str) -> None:
    low = []
    page = open_page(scheme=scheme, a="broken", b="second")  # with an error on it
    low += faint(page)
    page.get_by_role("button", name="Data").click()
    expect(page.get_by_role("textbox", name="Data root")).to_be_visible()
    low += faint(page)
    page.keyboard.press("Escape")
    page.get_by_role("combobox", name="Recording").click()
    expect(page.get_by_role("option").first).to_be_visible()
    page.get_by_role("option").first.hover()
    low += faint(page)
    page = visit("review", scheme=scheme, review_file=tmp_path / "review.sqlite", reviewer="you")
    page.wait_for_selector(".rv[data-ready]", timeout=90_000)
    page.locator("[data-act=help]").click()
    expect(page.locator(".rv-help")).to_be_visible()
    low += faint(page)
    page = visit("train", scheme=scheme, train_folder=tmp_path / "none")
    expect(page.get_by_role("button", name="Start training")).to_be_visible(timeout=60_000)
    settle(page)
    low += faint(page)
    assert not low, "\n" + "\n".join(low)
