"""How fast the review desk is: from a key to the next item on the screen, also while a prediction runs.

    python -m tests.benchmarks.bench_review [--keys 50] [--pace 300]

Starts the app on the demo recordings with empty caches, opens the queue in Chromium, waits until the first item and
one frame of those that come next are there, and decides one item after the other with the keys U, X and A. A time runs
from the key to the end of the drawing that shows the next item: its picture, its regions, and what the systems predict.
Then the same once more, on a review of its own, while the same server predicts the demo recordings with the detector
that ships.
"""

from __future__ import annotations

import argparse
import os
import re
import tempfile
import time
from pathlib import Path
from urllib.parse import urlencode

import numpy as np
from playwright.sync_api import Browser, Page, sync_playwright

from tests.benchmarks.bench_load import serve
from tests.browser.conftest import _ARGUMENTS, chromium_path

_DESK = "document.querySelector('[data-testid=stBidiComponentIsolated]').shadowRoot.querySelector('.rv').desk"


def _wait(page: Page, condition: str) -> None:
    page.wait_for_function(f"() => {{ const d = {_DESK}; return {condition}; }}", timeout=120_000)


def decide(browser: Browser, url: str, review: Path, n_keys: int, pace_ms: float) -> tuple[np.ndarray, float]:
    """Milliseconds of every key, and the machine's load meanwhile."""
    page = browser.new_page(viewport={"width": 1440, "height": 900})
    page.goto(f"{url}/review?{urlencode({'review_file': str(review), 'reviewer': 'bench'})}")
    page.wait_for_selector(".rv[data-ready]", timeout=180_000)
    # the reviewer has a look at the first item
    _wait(page, "d.moments.drawn() && d.moments.names().every((n) => d.moments.blocks.has(n))")
    _wait(page, "d.coming.every((id) => d.moments.loaded.has(id))")
    page.evaluate(f"() => {{ const d = {_DESK}; d.stats.keys = []; d.root.focus(); }}")
    load = []
    n_keys = min(n_keys, page.evaluate(f"() => {_DESK}.list.counts.open") - 1)
    for k in range(n_keys):
        began = time.monotonic()
        page.keyboard.press("uxa"[k % 3])
        _wait(page, f"d.stats.keys.length === {k + 1}")
        load.append(os.getloadavg()[0])
        page.wait_for_timeout(max(0.0, pace_ms - 1000 * (time.monotonic() - began)))
    _wait(page, "d.waiting.length === 0")
    times = np.array(page.evaluate(f"() => {_DESK}.stats.keys"))
    page.close()
    return times, float(np.mean(load))


def predict(browser: Browser, url: str) -> Page:
    """Start a prediction of all demo recordings."""
    page = browser.new_page()
    page.goto(f"{url}/predict")
    page.get_by_role("button", name=re.compile("^Predict [0-9]+ recording")).click(timeout=180_000)
    page.get_by_role("button", name="Cancel").first.wait_for(timeout=180_000)
    return page


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--keys", type=int, default=50)
    parser.add_argument("--pace", type=float, default=300.0, help="milliseconds from one key to the next")
    args = parser.parse_args()
    print("| | keys | p50 | p95 | most | load |")
    print("| --- | --- | --- | --- | --- | --- |")
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium_path(), args=_ARGUMENTS)
        for busy in (False, True):
            place = Path(folder) / str(busy)
            with serve(place / "workspace", SAI_CACHE_DIR=str(place / "cache")) as (port, _):
                url = f"http://127.0.0.1:{port}"
                prediction = predict(browser, url) if busy else None
                times, load = decide(browser, url, place / "review.sqlite", args.keys, args.pace)
                if prediction is not None and not prediction.get_by_role("button", name="Cancel").count():
                    raise SystemExit("The prediction ended before the keys did; give fewer keys.")
                p50, p95 = np.percentile(times, [50, 95])
                name = "while a prediction runs" if busy else "review alone"
                figures = f"{p50:.0f} ms | {p95:.0f} ms | {times.max():.0f} ms | {load:.1f}"
                print(f"| {name} | {len(times)} | {figures} |", flush=True)
        browser.close()


if __name__ == "__main__":
    main()
