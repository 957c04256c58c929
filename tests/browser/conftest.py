"""A running app and a real Chromium.

Chromium comes from the machine (Debian's package), never from a download. Where there is none, these tests skip;
``.ci/run`` fails in that case.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final, Literal
from urllib.parse import urlencode

import pytest
import torch
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, sync_playwright

from sai_core.detector.config import DetectorConfig
from sai_core.detector.models import SaiDetector, save_detector
from tests.figures.scenes import write_root

REPOSITORY = Path(__file__).resolve().parents[2]
ARTIFACTS = REPOSITORY / "tests" / "artifacts"
RECORDING = "dev-test-sony/fold4_room23_mix001"
N_FRAMES = 600
Scheme = Literal["light", "dark"]
_ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]

PLAYER = "document.querySelector('[data-testid=stBidiComponentIsolated]').shadowRoot.querySelector('.sx').player"
"""The player object in the page: its state is read by the tests, never written."""


def chromium_path() -> str | None:
    """Path of a Chromium or Chrome on this machine."""
    chosen = os.environ.get("CHROMIUM_PATH")
    candidates = [chosen, "/usr/bin/chromium", *map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))]
    return next((path for path in candidates if path and Path(path).exists()), None)


@pytest.fixture(scope="session")
def data_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A 60 s recording as the challenge has it (video of 1920 x 960), and a broken and a bare one beside it."""
    root = tmp_path_factory.mktemp("browser") / "root"
    write_root(root, n_frames=N_FRAMES, seed=1, video_size=(1920, 960))
    write_root(root, recording="fold4_room24_mix001", n_frames=30, seed=2, video_size=None, audio=False)
    broken = root / "predictions" / "broken"
    broken.mkdir()
    (broken / "fold4_room23_mix001.json").write_text('{"annotations": [{"metadata_frame_index": 3, "categ')
    return root


@pytest.fixture(scope="session")
def untrained_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An untrained tiny network whose scores differ."""
    torch.manual_seed(0)
    model = SaiDetector(DetectorConfig.small("A", channels=32, width=16, first_level=3, coarse_stem=True))
    torch.nn.init.normal_(model.classifier.weight, std=0.5)
    path = tmp_path_factory.mktemp("checkpoint") / "untrained.safetensors"
    save_detector(model, path)
    return path


@pytest.fixture(scope="session")
def app_workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the running app keeps what it makes."""
    return tmp_path_factory.mktemp("app-workspace")


@pytest.fixture(scope="session")
def app_url(tmp_path_factory: pytest.TempPathFactory, app_workspace: Path) -> Iterator[str]:
    """Address of the running app, started as a user starts it."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    log = (tmp_path_factory.mktemp("app") / "log.txt").open("w+")
    command = [sys.executable, "-m", "streamlit", "run", "app.py", "--server.port", str(port)]
    environment = {**os.environ, "SAI_WORKSPACE": str(app_workspace)}
    server = subprocess.Popen(command, cwd=REPOSITORY, env=environment, stdout=log, stderr=subprocess.STDOUT)
    url = f"http://127.0.0.1:{port}"
    try:
        for _ in range(300):
            if server.poll() is not None:
                break
            try:
                with urllib.request.urlopen(f"{url}/_stcore/health", timeout=2) as answer:
                    if answer.status == 200:
                        break
            except OSError:
                time.sleep(0.2)
        else:
            server.terminate()
        if server.poll() is not None:
            log.seek(0)
            pytest.fail("The app did not start:\n" + log.read())
        yield url
    finally:
        server.terminate()
        server.wait(20)
        log.close()


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """A headless Chromium."""
    path = chromium_path()
    if path is None:
        if os.environ.get("SAI_REQUIRE_BROWSER"):
            pytest.fail("no Chromium on this machine, and SAI_REQUIRE_BROWSER asks for one")
        pytest.skip("no Chromium on this machine (set CHROMIUM_PATH)")
    with sync_playwright() as playwright:
        instance = playwright.chromium.launch(executable_path=path, args=_ARGUMENTS)
        yield instance
        instance.close()


_WINDOW: Final[Any] = {"width": 1440, "height": 900}


@pytest.fixture(scope="session")
def context(browser: Browser) -> BrowserContext:
    """One profile for all tests, so that the app's own scripts are loaded and compiled once."""
    return browser.new_context(viewport=_WINDOW)


@pytest.fixture(scope="session")
def forget(context: BrowserContext, app_url: str) -> Callable[[], None]:
    """Let the profile forget what the app has kept in it."""
    session = context.new_cdp_session(context.new_page())

    def forget_() -> None:
        session.send("Storage.clearDataForOrigin", {"origin": app_url, "storageTypes": "local_storage,cookies"})

    return forget_


def is_problem(message: ConsoleMessage) -> bool:
    """Errors, but for Streamlit's own search for its server under a page's address before it finds it at the root."""
    return message.type == "error" and "/_stcore/" not in message.location.get("url", "")


@pytest.fixture
def visit(
    browser: Browser, context: BrowserContext, forget: Callable[[], None], app_url: str
) -> Iterator[Callable[..., Page]]:
    """Open any page of the app with address parameters; errors on the browser's console fail the test at its end."""
    pages: list[Page] = []
    problems: list[str] = []

    def visit_(path: str, *, scheme: Scheme = "dark", storage: Any = None, **parameters: object) -> Page:
        if storage is None:
            page = context.new_page()
        else:
            page = browser.new_page(viewport=_WINDOW, storage_state=storage)
        page.emulate_media(color_scheme=scheme)
        page.on("console", lambda m: problems.append(m.text) if is_problem(m) else None)
        page.on("pageerror", lambda e: problems.append(str(e)))
        pages.append(page)
        page.goto(f"{app_url}/{path}?{urlencode(parameters)}")
        return page

    yield visit_
    for page in pages:
        page.close()
    forget()
    assert problems == []


@pytest.fixture
def open_page(visit: Callable[..., Page], data_root: Path) -> Callable[..., Page]:
    """Open the Explorer on the test recording."""

    def open_(*, ready: bool = True, scheme: Scheme = "light", **parameters: object) -> Page:
        page = visit("explorer", scheme=scheme, **{"root": str(data_root), **parameters})
        if ready:
            page.wait_for_selector(".sx[data-ready]", timeout=60_000)
        return page

    return open_


def read(page: Page, expression: str) -> Any:
    """Value of a JavaScript expression in which ``p`` is the player."""
    return page.evaluate(f"() => {{ const p = {PLAYER}; return {expression}; }}")


def wait_for(page: Page, condition: str, *, timeout: float = 30_000) -> None:
    """Wait until there is a player, and an expression in which ``p`` is the player holds.

    Between two recordings the page may for a moment have none, or one that is not yet filled.
    """
    player = PLAYER.replace(").", ")?.").replace("shadowRoot.", "shadowRoot?.")
    page.wait_for_function(f"() => {{ const p = {player}; return p && ({condition}); }}", timeout=timeout)


def settle(page: Page, *, timeout: float = 120_000) -> None:
    """Wait until no run of the page is on, and has not been for half a second."""
    page.wait_for_function(
        """() => {
            const app = document.querySelector('[data-testid=stApp]'), now = performance.now();
            if (app.getAttribute('data-test-script-state') !== 'notRunning') { window.saiRests = 0; return false; }
            window.saiRests ||= now;
            return now - window.saiRests > 500;
        }""",
        timeout=timeout,
    )
    page.evaluate("window.saiRests = 0")


def click_chart(page: Page, place: str, arg: object = None, *, chart: int = 0, timeout: float = 120_000) -> None:
    """Click on a mark of a chart, as a hand does: once the page stands still and the chart has found the mark.

    ``place`` is a JavaScript function of the Plotly element and ``arg`` that gives the mark's x and y within the
    chart's axes, in pixels.
    """
    page.wait_for_function(
        "chart => document.querySelectorAll('.js-plotly-plot')[chart]?._fullLayout?.xaxis?.d2p",
        arg=chart,
        timeout=timeout,
    )
    settle(page, timeout=timeout)
    x, y = page.evaluate(
        f"""([chart, arg]) => {{
            const plot = document.querySelectorAll('.js-plotly-plot')[chart], box = plot.getBoundingClientRect();
            const axes = plot._fullLayout, [x, y] = ({place})(plot, arg);
            plot._hoverdata = undefined;
            return [box.x + axes.xaxis._offset + x, box.y + axes.yaxis._offset + y];
        }}""",
        [chart, arg],
    )
    page.mouse.move(x - 3, y)
    page.mouse.move(x, y, steps=2)
    page.wait_for_function(
        "chart => document.querySelectorAll('.js-plotly-plot')[chart]._hoverdata?.length", arg=chart, timeout=timeout
    )
    page.mouse.down()
    page.mouse.up()


def report(name: str, figures: dict[str, Any]) -> None:
    """Print measured figures and keep them as JSON under ``tests/artifacts`` (not in git)."""
    ARTIFACTS.mkdir(exist_ok=True)
    (ARTIFACTS / f"{name}.json").write_text(json.dumps(figures, indent=2) + "\n")
    print(f"\n{name}: " + ", ".join(f"{key} {value}" for key, value in figures.items()))
