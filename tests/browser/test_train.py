"""The Train page in a real browser: a real, tiny run is started, seen to move, and stopped."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from sai_core.runs import launch, watch
from tests.browser.conftest import ARTIFACTS, settle
from tests.runs.stand_in import end_runs

pytestmark = [pytest.mark.browser]

TINY = """data.blocks=1
data.block_frames=32
data.scenes.n_clips=6
data.scenes.clip_s=1.0
validation_frames=16
validate_every=2
stages.0.steps=1000000
stages.0.batch=4"""
N_POINTS = (
    "() => { const p = document.querySelector('.js-plotly-plot'); return p && p.calcdata ? p.calcdata[0].length : 0; }"
)


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """A runs folder; whatever still runs in it at the end is ended."""
    yield tmp_path / "runs"
    end_runs(tmp_path / "runs")


@pytest.fixture
def train(visit: Callable[..., Page]) -> Callable[..., Page]:
    """Open the page; a busy machine may take its time."""

    def open_(**parameters: object) -> Page:
        page = visit("train", **parameters)
        page.set_default_timeout(120_000)
        return page

    return open_


@pytest.mark.slow
def test_a_real_run_is_started_watched_and_stopped(train: Callable[..., Page], folder: Path) -> None:
    expect.set_options(timeout=120_000)
    page = train(train_folder=folder)
    page.get_by_role("combobox", name="What").click()
    page.get_by_role("option", name="UpLAM").click()
    expect(page.get_by_text("train uplam", exact=False).first).to_be_visible()
    settle(page)  # the page suggests a name for each kind: one typed while it does so would be replaced
    settings = page.get_by_role("textbox", name="Changed settings")
    settings.fill(TINY)
    settings.press("Control+Enter")
    settle(page)
    name = page.get_by_role("textbox", name="Name", exact=True)
    name.fill("tiny")
    name.press("Enter")
    expect(page.get_by_text("--set=validate_every=2", exact=False).first).to_be_visible()
    settle(page)
    expect(name).to_have_value("tiny")
    page.get_by_role("button", name="Start training").click()
    # the curves appear and grow without a click
    expect(page.get_by_text("training", exact=True).first).to_be_visible()
    n = page.wait_for_function(f"() => {{ const n = ({N_POINTS})(); return n >= 2 && n; }}").json_value()
    page.wait_for_function(f"() => ({N_POINTS})() > {n}")
    ARTIFACTS.mkdir(exist_ok=True)
    page.screenshot(path=ARTIFACTS / "train_dark.png")
    # a second tab, on the run's own address, sees the same run and stops it
    address = page.url
    assert "train_run=tiny" in address
    second = train(scheme="light", train_folder=folder, train_run="tiny")
    expect(second.get_by_role("button", name="Stop", exact=True)).to_be_visible()
    second.screenshot(path=ARTIFACTS / "train_light.png")
    second.get_by_role("button", name="Stop", exact=True).click()
    for tab in (page, second):
        expect(tab.get_by_role("button", name="Resume", exact=True)).to_be_visible()
        expect(tab.get_by_text(re.compile("Stopped at step"))).to_be_visible()
    stopped = watch.look(folder / "tiny")
    assert stopped.state == "stopped"
    assert (folder / "tiny" / "last.safetensors").is_file()
    # a picture of the log, with a search
    page.get_by_text("Log", exact=True).first.click()
    page.get_by_role("textbox", name="Search").fill("drawing")
    page.get_by_role("textbox", name="Search").press("Enter")
    expect(page.get_by_text("with drawing", exact=False)).to_be_visible()


def test_a_stopped_refresh_keeps_a_zoom(train: Callable[..., Page], folder: Path) -> None:
    trainer = str(Path(__file__).resolve().parents[1] / "runs" / "fake_trainer.py")
    launch.launch(
        launch.LaunchSpec(),
        folder,
        "one",
        arguments=lambda spec, run, resume: [trainer, f"--run={run}", "--steps=1000000", "--delay=0.05"],
    )
    page = train(train_folder=folder, train_run="one")
    page.wait_for_function(f"() => ({N_POINTS})() > 2")
    page.get_by_text("Live", exact=True).click()
    # what was under way when the switch was thrown may still arrive; then longer than two refreshes nothing
    n = page.wait_for_function(
        f"""() => {{
            const n = ({N_POINTS})(), now = performance.now();
            if (n !== window.saiPoints) {{ window.saiPoints = n; window.saiSince = now; }}
            return now - window.saiSince > 4500 && n;
        }}"""
    ).json_value()
    page.get_by_text("Live", exact=True).click()
    page.wait_for_function(f"() => ({N_POINTS})() > {n}")
