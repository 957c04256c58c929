"""The Predict page in a real browser: from a recording to its candidates and to the Explorer."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
from playwright.sync_api import Page, expect

from sai_core.dataset import demo_root, open_data_root
from tests.browser.conftest import ARTIFACTS, settle

pytestmark = [pytest.mark.browser, pytest.mark.slow]


@pytest.fixture
def beginning(tmp_path: Path) -> Callable[[float], Path]:
    """Makes a data root of the first seconds of a simulated demo recording."""

    def make(seconds: float) -> Path:
        recording = open_data_root(demo_root()).recordings[0]
        assert recording.mic_path is not None
        samples, rate = soundfile.read(recording.mic_path, frames=round(seconds * 24_000))
        path = tmp_path / "root" / "mic_dev" / recording.split / f"{recording.name}.wav"
        path.parent.mkdir(parents=True)
        soundfile.write(path, np.asarray(samples), rate, subtype="PCM_16")
        return tmp_path / "root"

    return make


@pytest.fixture
def predict(visit: Callable[..., Page]) -> Callable[..., Page]:
    """Open the page; a busy machine may take its time."""

    def open_(**parameters: object) -> Page:
        page = visit("predict", **parameters)
        page.set_default_timeout(120_000)
        return page

    return open_


def test_from_a_recording_to_the_explorer(
    predict: Callable[..., Page], beginning: Callable[[float], Path], untrained_checkpoint: Path, app_workspace: Path
) -> None:
    root = beginning(1.0)
    page = predict(root=str(root), predict_path=str(untrained_checkpoint))
    # weights come with the program, but the address names another file
    expect(page.get_by_role("textbox", name="Checkpoint file")).to_have_value(
        str(untrained_checkpoint), timeout=120_000
    )
    expect(page.get_by_text("track A", exact=False).first).to_be_visible(timeout=120_000)
    name = page.get_by_role("textbox", name="Name", exact=True)
    name.fill("mine")
    name.press("Enter")
    made = app_workspace / "predictions" / "mine"
    page.get_by_role("button", name="Predict 1 recording").click()
    # the list shows the jobs of all tabs
    job = page.locator("[class*=st-key-predict_job_]", has_text=str(made))
    expect(job.get_by_text("1 of 1 recordings written", exact=False)).to_be_visible(timeout=180_000)
    recording = open_data_root(root).recordings[0].name
    assert sorted(p.name for p in made.glob("*.json")) == [f"{recording}.json", "set.json"]

    image = page.get_by_test_id("stImage").locator("img").first
    expect(image).to_be_visible(timeout=120_000)
    expect(page.get_by_text("of 50 candidates", exact=False)).to_be_visible()
    ARTIFACTS.mkdir(exist_ok=True)
    page.screenshot(path=ARTIFACTS / "predict.png", full_page=True)
    # another thing behind the boxes is another picture
    before = image.get_attribute("src")
    page.get_by_role("radio", name="Full-frame map").click()
    page.wait_for_function(
        "before => document.querySelector('[data-testid=stImage] img').getAttribute('src') !== before", arg=before
    )

    page.get_by_role("link", name="Explorer").first.click()
    page.wait_for_selector(".sx[data-ready]", timeout=120_000)
    expect(page.get_by_role("combobox", name="Predictions A")).to_have_value(re.compile("mine"), timeout=60_000)


def test_a_cancelled_job_is_resumed_and_its_card_stays_alive(
    predict: Callable[..., Page], beginning: Callable[[float], Path], untrained_checkpoint: Path, app_workspace: Path
) -> None:
    # long enough to be cancelled on the way
    page = predict(root=str(beginning(15.0)), predict_path=str(untrained_checkpoint))
    name = page.get_by_role("textbox", name="Name", exact=True)
    name.fill("resumed")
    name.press("Enter")
    made = app_workspace / "predictions" / "resumed"
    settle(page)
    page.get_by_role("button", name=re.compile("^Predict 1 recording")).click()
    job = page.locator("[class*=st-key-predict_job_]", has_text=str(made))
    cancel = job.get_by_role("button", name="Cancel")
    expect(cancel).to_be_visible()
    where = cancel.bounding_box()
    cancel.click()
    resume = job.get_by_role("button", name="Resume")
    expect(resume).to_be_visible(timeout=120_000)
    settle(page)
    # a second click where Cancel was must not take the job away
    remove = job.get_by_role("button", name="Remove").bounding_box()
    assert where is not None
    assert remove is not None
    assert remove["y"] > where["y"] + where["height"] or remove["x"] + remove["width"] < where["x"]
    resume.click()
    # without another click or key: the card follows the work to its end
    expect(job.get_by_text("1 of 1 recordings written", exact=False)).to_be_visible(timeout=300_000)
    expect(job.get_by_role("button", name="Resume")).to_have_count(0)
    assert len(list(made.glob("fold*.json"))) == 1
