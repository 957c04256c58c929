"""The label page in a real browser, links to pages, and the pictures of the documentation."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from urllib.parse import parse_qs, urlparse

import numpy as np
import pytest
import soundfile
from playwright.sync_api import Page

from sai_core.annotations import read_annotations
from sai_core.dataset import demo_root
from tests.browser.conftest import ARTIFACTS, REPOSITORY, read, wait_for

pytestmark = [pytest.mark.browser]

OpenPage = Callable[..., Page]


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


def test_the_data_folder_stays_in_the_address_on_every_page(visit: OpenPage, data_root: Path) -> None:
    """Also through links inside the app, so that a copied address opens what its sender saw."""
    page = visit("", root=str(data_root))
    link = page.get_by_role("link", name="Open this moment")

    def root() -> str:
        # asked of the page itself: what Playwright remembers lags behind a change without a load
        return parse_qs(urlparse(page.evaluate("location.href")).query).get("root", [""])[0]

    link.click(timeout=60_000)
    page.wait_for_selector(".sx[data-ready]", timeout=60_000)
    wait_for(page, "p.scene.header.recording === 'fold4_room23_mix001'")
    assert root() == str(data_root)
    # a page that shows nothing of the data keeps it too
    page.get_by_role("link", name="Doctor").click()
    page.get_by_text("Packages").wait_for(timeout=60_000)
    page.get_by_role("link", name="Home").click()
    link.wait_for(timeout=60_000)
    assert root() == str(data_root)


def test_a_figure_leads_to_its_moment(visit: OpenPage, data_root: Path) -> None:
    page = visit("figures", root=str(data_root), rec="dev-test-sony/fold4_room23_mix001", frame=120, a="first")
    page.get_by_role("button", name="Open in the Explorer").click(timeout=120_000)
    page.wait_for_selector(".sx[data-ready]", timeout=60_000)
    wait_for(page, "p.frame === 120")
    assert read(page, "p.scene.header.recording") == "fold4_room23_mix001"
    assert parse_qs(urlparse(page.evaluate("location.href")).query)["root"] == [str(data_root)]


def test_an_old_link_to_a_moment_opens_the_explorer(visit: OpenPage, data_root: Path) -> None:
    page = visit("", root=str(data_root), rec="dev-test-sony/fold4_room23_mix001", frame=120, a="second")
    page.wait_for_selector(".sx[data-ready]", timeout=60_000)
    wait_for(page, "p.frame === 120")
    assert urlparse(page.evaluate("location.href")).path == "/explorer"
