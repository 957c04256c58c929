"""How long everything takes to begin: import, help, the app's first page and its first picture.

    python -m tests.benchmarks.bench_start [--python PATH] [--repeats 5] [--json FILE]

``--python``: the interpreter of another environment, such as one with nothing but the wheel, started in an empty folder
(this one and the source tree if left out). *Cold* is the first page of a server that has just been started, *warm* that
of a new browser context on a server that has shown one before. A page is there when its heading is; a picture when the
player has drawn a frame of the demo.
"""

from __future__ import annotations

import argparse
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Final

from playwright.sync_api import Browser, sync_playwright

from tests.browser.conftest import _ARGUMENTS, PLAYER, chromium_path

REPOSITORY: Final[Path] = Path(__file__).resolve().parents[2]
_DRAWN: Final[str] = f"() => {{ const p = {PLAYER.replace(').', ')?.')}; return p && p.scene && p.drawn >= 0; }}"


def seconds_of(command: list[str], folder: Path, repeats: int) -> float:
    """Median time of a command, its first run left out: it fills the disk's cache."""
    times = []
    for _ in range(repeats + 1):
        began = time.perf_counter()
        subprocess.run(command, cwd=folder, check=True, stdout=subprocess.DEVNULL)
        times.append(time.perf_counter() - began)
    return median(times[1:])


@contextmanager
def app(python: str, folder: Path, scratch: Path) -> Iterator[tuple[str, float]]:
    """A running app, its address, and the seconds until it answered."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = {**os.environ, "SAI_WORKSPACE": str(scratch / "workspace"), "SAI_CACHE_DIR": str(scratch / "cache")}
    command = [python, "-m", "sai_core", "app", "--port", str(port), "--no-browser"]
    began = time.perf_counter()
    with (scratch / "app.log").open("w") as log:
        server = subprocess.Popen(command, cwd=folder, env=environment, stdout=log, stderr=log)
    url = f"http://127.0.0.1:{port}"
    try:
        while True:
            try:
                urllib.request.urlopen(f"{url}/_stcore/health", timeout=2).close()
                break
            except OSError:
                if server.poll() is not None or time.perf_counter() - began > 120:
                    raise SystemExit((scratch / "app.log").read_text()) from None
                time.sleep(0.02)
        yield url, time.perf_counter() - began
    finally:
        server.terminate()
        server.wait(30)


def shown(browser: Browser, url: str, path: str) -> float:
    """Seconds from the address to the page's heading, or to the first picture of the Explorer."""
    page = browser.new_page(viewport={"width": 1440, "height": 900})
    began = time.perf_counter()
    page.goto(f"{url}/{path}")
    if path == "explorer":
        page.wait_for_function(_DRAWN, timeout=120_000)
    else:
        page.locator("h1").first.wait_for(timeout=120_000)
    took = time.perf_counter() - began
    page.close()
    return took


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--python", default="")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    result: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as scratch, sync_playwright() as playwright:
        folder = Path(scratch) / "empty" if args.python else REPOSITORY
        (Path(scratch) / "empty").mkdir()
        python = str(Path(args.python).absolute()) if args.python else sys.executable
        result["import sai_core"] = seconds_of([python, "-c", "import sai_core"], folder, args.repeats)
        result["--help"] = seconds_of([python, "-m", "sai_core", "--help"], folder, args.repeats)
        browser = playwright.chromium.launch(executable_path=chromium_path(), args=_ARGUMENTS)
        shown(browser, "data:text/html,<h1>", "")  # the browser's own start is not ours
        with app(python, folder, Path(scratch)) as (url, up):
            result["server answers"] = up
            result["first page, cold"] = shown(browser, url, "")
            result["first page, warm"] = median(shown(browser, url, "") for _ in range(args.repeats))
            result["first picture, cold"] = shown(browser, url, "explorer")
            result["first picture, warm"] = median(shown(browser, url, "explorer") for _ in range(args.repeats))
        browser.close()
    for name, value in result.items():
        print(f"{name:<20} {value:6.2f} s")
    print(f"load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores; {python}")
    if args.json:
        args.json.write_text(json.dumps(result, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main()
