"""The Figures page in a real Chromium: preview, downloads, a video that plays."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import ARTIFACTS
from tests.figures.scenes import write_root

pytestmark = [pytest.mark.browser]

OpenPage = Callable[..., Page]
PREVIEW = "[data-testid=stImage] img"


@pytest.fixture
def figures(visit: OpenPage) -> OpenPage:
    """Open the page on the demo recordings."""
    return partial(visit, "figures")


def test_a_newcomer_gets_fig_3_of_a_frame(figures: OpenPage, tmp_path: Path) -> None:
    page = figures(rec="dev-test-sim/fold9_room1_mix001", frame=89)
    page.wait_for_selector(PREVIEW, timeout=90_000)
    page.wait_for_function(f"document.querySelector('{PREVIEW}').naturalWidth > 1000", timeout=30_000)
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    expect(page.get_by_text("frame 89 (8.9–9.0 s)")).to_be_visible()
    expect(page.get_by_text("simulated recording")).to_be_visible()
    with page.expect_download(timeout=60_000) as download:
        page.get_by_role("button", name="PDF").click()
    download.value.save_as(tmp_path / "fig3.pdf")
    assert download.value.suggested_filename == "fig3_fold9_room1_mix001_frame89.pdf"
    data = (tmp_path / "fig3.pdf").read_bytes()
    assert data.startswith(b"%PDF")
    assert b"/FontFile2" in data


@pytest.mark.slow
def test_a_video_is_made_and_plays(figures: OpenPage) -> None:
    page = figures(scheme="dark", figures_view="Video")
    page.get_by_role("button", name="Make the video").click(timeout=90_000)
    page.wait_for_selector("video", timeout=180_000)
    page.wait_for_function("document.querySelector('video').readyState >= 1", timeout=60_000)
    # the demo recording lasts 15 s; sound may reach one AAC frame further
    assert page.evaluate("document.querySelector('video').duration") == pytest.approx(15.0, abs=0.05)
    expect(page.get_by_role("button", name="Download (150 frames")).to_be_visible()
    ARTIFACTS.mkdir(exist_ok=True)
    page.screenshot(path=ARTIFACTS / "figures_video_dark.png")


def test_the_gallery_and_the_curves_appear(figures: OpenPage, tmp_path: Path) -> None:
    write_root(tmp_path / "root", n_frames=20)
    page = figures(root=tmp_path / "root", figures_view="Gallery")
    page.wait_for_selector(PREVIEW, timeout=120_000)
    expect(page.get_by_text("Make all classes")).to_be_visible()
    page.get_by_test_id("stButtonGroup").get_by_text("Curves").click()
    expect(page.get_by_text("Micro (all classes pooled)")).to_be_visible(timeout=60_000)
    page.wait_for_selector(PREVIEW, timeout=120_000)
    expect(page.get_by_test_id("stException")).to_have_count(0)
