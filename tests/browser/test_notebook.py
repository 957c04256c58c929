"""The player in a notebook: a real JupyterLab, its kernel and the browser; nothing is fetched from elsewhere."""

from __future__ import annotations

import json
import os
import re
import secrets
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import suppress
from typing import Any
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, Page, TimeoutError, expect

from tests.browser.conftest import REPOSITORY
from tests.browser.pictures import take
from tests.figures.scenes import write_root

pytestmark = pytest.mark.browser

RECORDING = "fold9_room1_mix001"
CELLS = (
    f"""import sai_core as sai
recording = sai.open()["{RECORDING}"]
view = sai.view(recording, "track-A", frame=100)
seen = []
view.observe(lambda change: seen.append(change["new"]), "frame")
view""",
    "view.frame = 106",
    "print('now', view.frame, seen[-1], view.system, view.event)",
    "view",
    "bare = sai.view(sai.open('bare').recordings[0])\nbare",
    "view.close()\nprint('closed')",
)
PLAYERS = "[...document.querySelectorAll('.sai-player')].map((host) => host.shadowRoot.querySelector('.sx').player)"


def cell(source: str) -> dict[str, Any]:
    return {"cell_type": "code", "source": source, "metadata": {}, "outputs": [], "execution_count": None}


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Address of a notebook in a running JupyterLab with settings and folders of its own."""
    folder = tmp_path_factory.mktemp("lab")
    write_root(folder / "notebooks" / "bare", n_frames=12, video_size=None, audio=False, systems=())
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    notebook = {"cells": [cell(s) for s in CELLS], "metadata": {"kernelspec": kernel}, "nbformat": 4}
    notebook["nbformat_minor"] = 4
    (folder / "notebooks" / "player.ipynb").write_text(json.dumps(notebook))
    settings = folder / "settings" / "@jupyterlab" / "notebook-extension" / "tracker.jupyterlab-settings"
    settings.parent.mkdir(parents=True)
    settings.write_text('{"windowingMode": "none"}')  # all cells are in the page, and have their number
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    token = secrets.token_hex(16)
    own = {name: str(folder / name.lower()) for name in ("JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "IPYTHONDIR")}
    environment = {**os.environ, **own, "JUPYTER_RUNTIME_DIR": str(folder / "runtime"), "PYTHONPATH": str(REPOSITORY)}
    options = (
        *("--no-browser", "--allow-root", f"--port={port}", "--ServerApp.port_retries=0"),
        f"--IdentityProvider.token={token}",
        f"--ServerApp.root_dir={folder / 'notebooks'}",
        f"--LabApp.user_settings_dir={folder / 'settings'}",
        "--LabApp.news_url=None",
        "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate",
    )
    log = (folder / "log.txt").open("w+")
    command = [sys.executable, "-m", "jupyterlab", *options]
    server = subprocess.Popen(command, env=environment, stdout=log, stderr=subprocess.STDOUT)
    url = f"http://127.0.0.1:{port}"
    try:
        end = time.monotonic() + 120
        while True:
            try:
                urllib.request.urlopen(f"{url}/api?token={token}", timeout=5).close()
                break
            except OSError:
                if server.poll() is not None or time.monotonic() > end:
                    log.seek(0)
                    pytest.fail("JupyterLab did not start:\n" + log.read())
                time.sleep(0.2)
        yield f"{url}/lab/tree/player.ipynb?token={token}"
    finally:
        server.terminate()
        server.wait(30)
        log.close()


def players(page: Page, expression: str) -> Any:
    """Value of an expression in which ``ps`` are the players on the page, in its order."""
    return page.evaluate(f"() => {{ const ps = {PLAYERS}; return {expression}; }}")


def wait_for(page: Page, condition: str) -> None:
    page.wait_for_function(f"() => {{ const ps = {PLAYERS}; return {condition}; }}", timeout=120_000)


def run_cell(page: Page, number: int) -> None:
    """Run a cell and wait for its end. What comes before the page is joined to its kernel is lost: then once more."""
    field = page.locator(".jp-Notebook .jp-CodeCell").nth(number)
    prompt = field.locator(".jp-InputPrompt")
    end = time.monotonic() + 120
    while prompt.inner_text().strip() == "[ ]:" and time.monotonic() < end:
        question = page.locator("dialog.jp-Dialog")
        if question.count():  # as to whether the kernel that is slow to come shall be waited for
            question.first.locator("button.jp-mod-accept").click()
        with suppress(TimeoutError):
            field.locator(".jp-InputArea-editor").click(timeout=3_000)
        page.keyboard.press("Control+Enter")
        with suppress(AssertionError):
            expect(prompt).not_to_have_text(re.compile(r"\[ \]:"), timeout=3_000)
    expect(prompt).to_have_text(re.compile(r"\[\d+\]:"), timeout=120_000)


def run_until(page: Page, number: int, printed: str) -> None:
    """Run a cell until it prints a text: what a widget says reaches Python after what it said before is answered."""
    field = page.locator(".jp-Notebook .jp-CodeCell").nth(number)
    prompt, output = field.locator(".jp-InputPrompt"), field.locator(".jp-OutputArea-output pre")
    run_cell(page, number)
    end = time.monotonic() + 120
    while printed not in output.last.inner_text() and time.monotonic() < end:
        before = prompt.inner_text()
        page.keyboard.press("Control+Enter")
        expect(prompt).not_to_have_text(before, timeout=120_000)
        expect(prompt).to_have_text(re.compile(r"\[\d+\]:"), timeout=120_000)
    expect(output.last).to_contain_text(printed)


def test_the_player_in_jupyterlab(browser: Browser, lab: str) -> None:
    page = browser.new_page(viewport={"width": 1440, "height": 1000})
    problems: list[str] = []
    hosts: set[str] = set()
    page.on("pageerror", lambda e: problems.append(str(e)))
    page.on("request", lambda r: hosts.add(urlsplit(r.url).hostname or ""))
    page.goto(lab)
    page.locator(".jp-Notebook .jp-CodeCell").first.wait_for(timeout=120_000)
    page.locator(".jp-Notebook-ExecutionIndicator[data-status=idle]").wait_for(timeout=120_000)

    run_cell(page, 0)
    wait_for(page, "ps.length === 1 && ps[0].drawn === 100")
    assert players(page, "ps[0].visible.join()") == "rgb,gt,predA,resA"
    run_cell(page, 1)
    wait_for(page, "ps[0].drawn === 106 && ps[0].matches.A && ps[0].timeline.spectrogram")
    colours = """new Set(new Uint32Array(ps[0].panels.get('rgb').canvas.getContext('2d').getImageData(
        0, 0, ps[0].panels.get('rgb').canvas.width, ps[0].panels.get('rgb').canvas.height).data.buffer)).size"""
    assert players(page, colours) > 1000
    assert page.get_by_text("simulated").count()
    page.locator(".sx").scroll_into_view_if_needed()
    take(page, "notebook", "light", paths={})

    # keys are the player's where it has the focus: they do not delete the cell that it is in
    page.get_by_role("img", name="Ground truth").click()
    page.keyboard.press("Escape")
    for key in ("ArrowRight", "d", "d", "x"):
        page.keyboard.press(key)
    wait_for(page, "ps[0].drawn === 107")
    assert page.locator(".jp-Notebook .jp-CodeCell").count() == len(CELLS)
    run_until(page, 2, "now 107 107 track-A None")

    # sound
    page.locator(".sx [data-act=play]").click()
    wait_for(page, "ps[0].playing && ps[0].sound.running && ps[0].sound.audible && ps[0].frame > 110")
    assert players(
        page, "Array.from(ps[0].store.blocks.values()).every((b) => b.audio.length && b.audio.some(Boolean))"
    )
    page.locator(".sx [data-act=play]").click()
    wait_for(page, "!ps[0].playing")

    # the same widget in a second cell follows, and is followed
    run_cell(page, 3)
    wait_for(page, "ps.length === 2 && ps[1].scene && ps[1].drawn === ps[0].frame")
    page.locator(".sx").nth(1).locator("[data-act=home]").click()
    wait_for(page, "ps[0].drawn === 0 && ps[1].drawn === 0")
    # a recording that has nothing but labels
    run_cell(page, 4)
    wait_for(page, "ps.length === 3 && ps[2].scene")
    run_cell(page, 5)
    wait_for(page, "ps.length === 1")
    assert problems == []
    assert hosts <= {"127.0.0.1", ""}
    page.close()
