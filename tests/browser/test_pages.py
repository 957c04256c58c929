"""The label page in a real browser, links to pages, and the pictures of the documentation."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlencode

import numpy as np
import pytest
import soundfile
from playwright.sync_api import Browser, Page

from sai_core.annotations import read_annotations
from sai_core.dataset import demo_root
from tests.browser.conftest import ARTIFACTS, REPOSITORY, is_problem, read, wait_for

pytestmark = [pytest.mark.browser]

OpenPage = Callable[..., Page]


@pytest.fixture
def visit(browser: Browser, app_url: str) -> Iterator[OpenPage]:
    """Open any page of the app; errors on the browser's console fail the test at its end."""
    pages: list[Page] = []
    problems: list[str] = []

    def visit_(path: str, *, scheme: str = "dark", **parameters: object) -> Page:
        page = browser.new_page(viewport={"width": 1440, "height": 900}, color_scheme=scheme)  # type: ignore[arg-type]
        page.on("console", lambda m: problems.append(m.text) if is_problem(m) else None)
        page.on("pageerror", lambda e: problems.append(str(e)))
        pages.append(page)
        page.goto(f"{app_url}/{path}?{urlencode(parameters)}")
        return page

    yield visit_
    for page in pages:
        page.close()
    assert problems == []


@pytest.mark.slow
def test_a_label_is_made_and_seen(visit: OpenPage, tmp_path: Path) -> None:
    rng = np.random.default_rng(4)
    audio = tmp_path / "root" / "eigen_dev" / "dev-x" / "fold1_room1_mix001.wav"
    csv = tmp_path / "root" / "metadata_dev" / "dev-x" / "fold1_room1_mix001.csv"
    audio.parent.mkdir(parents=True)
    csv.parent.mkdir(parents=True)
    soundfile.write(audio, rng.normal(0, 0.1, (24_000, 32)), 24_000, subtype="PCM_16")
    csv.write_text("".join(f"{k},8,0,30,10,200\n" for k in range(10)))

    page = visit("label", label_root=tmp_path / "root")
    folder = page.get_by_role("textbox", name="Output folder")
    folder.fill(str(tmp_path / "out"))
    folder.press("Tab")
    page.get_by_role("button", name="Make the label").click()
    page.wait_for_selector(".sx[data-ready]", timeout=120_000)
    table = read_annotations(tmp_path / "out" / "dev-x" / "fold1_room1_mix001_std.json")
    assert page.get_by_text(f"{len(table)} annotations in 10 frames").count() == 1
    assert read(page, "p.nFrames") == 10
    # the navigation is there: the page came through app.py
    assert page.get_by_role("link", name="Explorer").count() == 1
    ARTIFACTS.mkdir(exist_ok=True)
    page.screenshot(path=ARTIFACTS / "label_dark.png")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_demo_looks_like_its_pictures(visit: OpenPage, scheme: str) -> None:
    """Pictures of the documentation; ``SAI_UPDATE_DOCS=1`` takes them over into ``docs/images``."""
    assert demo_root().is_dir()
    page = visit("explorer", scheme=scheme, frame=88, a="stand-in-A")
    page.wait_for_selector(".sx[data-ready]", timeout=60_000)
    wait_for(page, "p.matches.A && p.timeline.spectrogram", timeout=60_000)
    page.wait_for_timeout(500)
    assert page.get_by_text("stand-in-A").count() >= 1
    assert page.locator(".sx").get_by_text("simulated").count() >= 1
    ARTIFACTS.mkdir(exist_ok=True)
    picture = ARTIFACTS / f"demo_{scheme}.png"
    page.screenshot(path=picture)
    assert picture.stat().st_size > 50_000
    if os.environ.get("SAI_UPDATE_DOCS"):
        target = REPOSITORY / "docs" / "images" / f"explorer_{scheme}.png"
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(picture, target)
