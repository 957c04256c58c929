"""The loop that closes: predict, review, corrected labels, train on them, predict again, compare; no path is pasted."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from sai_core.runs import watch
from sai_core.workspace import Workspace
from tests.browser.conftest import ARTIFACTS, settle
from tests.browser.test_review import focus, press, read, wait
from tests.training.material import TINY, write_root, write_weights

pytestmark = pytest.mark.browser

PATIENCE_MS = 180_000


@pytest.fixture
def go(visit: Callable[..., Page], tmp_path: Path, untrained_checkpoint: Path) -> Callable[..., Page]:
    """Open Predict on three short recordings, the only address that is ever given."""
    root = write_root(tmp_path / "own", recordings=3, frames=12)

    def open_() -> Page:
        page = visit("predict", root=root, predict_path=untrained_checkpoint)
        page.set_default_timeout(PATIENCE_MS)
        return page

    return open_


def predict(page: Page, name: str) -> None:
    """Predict all three recordings into a set."""
    field = page.get_by_role("textbox", name="Name", exact=True)
    field.fill(name)
    field.press("Enter")
    settle(page)
    page.get_by_role("button", name="Predict 3 recordings").click()
    job = page.locator("[class*=st-key-predict_job_]", has_text=f"predictions/{name}")
    expect(job.get_by_text("3 of 3 recordings written", exact=False)).to_be_visible(timeout=PATIENCE_MS)
    settle(page)


def to(page: Page, name: str) -> None:
    """Go to a page by the navigation."""
    page.get_by_test_id("stTopNavLinkContainer").get_by_text(name, exact=True).click()
    settle(page)


@pytest.mark.slow
def test_predict_review_train_predict_compare(go: Callable[..., Page], app_workspace: Path, tmp_path: Path) -> None:
    expect.set_options(timeout=PATIENCE_MS)
    here, weights = Workspace(app_workspace), write_weights(tmp_path / "uplam.safetensors")
    page = go()
    expect(page.get_by_text("track A", exact=False).first).to_be_visible()
    predict(page, "flow before")

    # what it says against the labels is on the desk at once
    to(page, "Review")
    page.wait_for_selector(".rv[data-ready]")
    wait(page, "!!d.item && !!d.moments.block('work')")
    before = read(page, "d.item.id")
    focus(page)
    press(page, "a")
    assert read(page, "d.item.id") != before
    page.get_by_text("Results", exact=False).first.click()
    name = page.get_by_role("textbox", name="Name of the label set")
    name.fill("flow corrected")
    name.press("Tab")
    page.get_by_role("button", name="Export").click()
    page.get_by_text("3 label files written, 1 of them changed", exact=False).wait_for()
    made = here.find("labels", "flow corrected")
    assert (made.facts.made_by, made.n_files) == ("review", 3)

    # the form of a run on these labels, from these weights, is filled
    page.get_by_role("link", name="Train on them").click()
    expect(page.get_by_role("textbox", name="Labels", exact=True)).to_have_value("flow corrected")
    settings = page.get_by_role("textbox", name="Changed settings")
    expect(settings).to_have_value(re.compile(r"start\.detector=.*untrained\.safetensors\noptimiser\.rate=5e-5"))
    tiny = [*TINY, f"data.weights='{weights}'", "batch=1", "data.frames_per_epoch=1", "validation.frames=1"]
    settings.fill("\n".join([settings.input_value(), *tiny]))
    settings.press("Control+Enter")
    epochs = page.get_by_role("spinbutton", name="Epochs")
    epochs.fill("1")
    epochs.press("Tab")
    settle(page)  # with other settings the page may suggest another name
    run = page.get_by_role("textbox", name="Name", exact=True)
    run.fill("flow-again")
    run.press("Tab")
    expect(page.get_by_text("runs/flow-again", exact=False).first).to_be_visible()
    settle(page)
    page.get_by_role("button", name="Start training").click()
    expect(page.get_by_role("link", name="Predict with it")).to_be_visible()
    expect(page.get_by_text("finished", exact=True).first).to_be_visible()
    assert watch.look(app_workspace / "runs" / "flow-again").state == "finished"

    # the finished run is one of Predict's networks
    page.get_by_role("link", name="Predict with it").click()
    expect(page.get_by_role("combobox", name="Network")).to_have_value(re.compile("flow-again"))
    predict(page, "flow after")
    assert "flow-again" in here.find("predictions", "flow after").facts.checkpoint

    # both are scored against the corrected labels, side by side
    to(page, "Home")
    page.get_by_text("Workspace (", exact=False).click()
    settle(page)
    names = page.get_by_role("textbox", name="Filter")
    names.fill("flow")
    names.press("Enter")
    settle(page)
    ARTIFACTS.mkdir(exist_ok=True)
    page.screenshot(path=ARTIFACTS / "workspace_dark.png")
    to(page, "Scores")
    page.get_by_role("button", name="Data").click()
    page.get_by_role("combobox", name="Labels").click()
    page.get_by_role("option", name="flow corrected").click()
    page.wait_for_function("new URLSearchParams(location.search).get('labels') === 'flow corrected'")
    page.keyboard.press("Escape")
    # systems are scored against the other labels; until then the views are not there, or still those of before
    settle(page)
    page.get_by_role("radio", name="Compare", exact=True).click()
    settle(page)
    expect(page.get_by_role("combobox", name="Second system")).to_have_value("flow before")
    expect(page.get_by_role("combobox", name="System", exact=True)).to_have_value("flow after")
    settle(page)
    page.screenshot(path=ARTIFACTS / "flow_compare_dark.png")
