"""Ten browser sessions at once: each sees its own frame and systems; how long a step takes is printed.

A load test, not collected with the others: ``python -m pytest tests/browser/load_ten_sessions.py -q -s``.
"""

from __future__ import annotations

import os
from collections.abc import Callable

import numpy as np
import psutil
import pytest
from playwright.sync_api import Page

from tests.browser.conftest import read, report, wait_for

OpenPage = Callable[..., Page]

pytestmark = [pytest.mark.browser, pytest.mark.slow]

SESSIONS = 10
STEPS = 12


def _server_mib() -> float:
    """Resident memory of the app that this test run started."""
    mine = psutil.Process().children(recursive=True)
    servers = [p for p in mine if "streamlit" in " ".join(p.cmdline())]
    return sum(p.memory_info().rss for p in servers) / 2**20


def test_ten_sessions_step_side_by_side(open_page: OpenPage) -> None:
    before = _server_mib()
    pages, starts = [], []
    for number in range(SESSIONS):
        # every other session has other systems, and all are at other frames
        start = 40 * number
        pages.append(open_page(frame=start, a="first" if number % 2 else "second"))
        starts.append(start)
    for page in pages:
        wait_for(page, "p.store.blocks.size >= 2", timeout=120_000)
        read(page, "(p.stats.steps = [], 0)")
    for _ in range(STEPS):
        for page in pages:
            page.keyboard.press("ArrowRight")
    taken: list[float] = []
    for number, (page, start) in enumerate(zip(pages, starts, strict=True)):
        wait_for(page, f"p.drawn === {start + STEPS}", timeout=120_000)
        taken += read(page, "p.stats.steps")
        # the address follows a third of a second later
        wait_for(page, f"location.href.includes('frame={start + STEPS}')")
        assert ("a=first" if number % 2 else "a=second") in page.evaluate("location.href")
    assert len(taken) >= SESSIONS
    report(
        "ten_sessions",
        {
            "sessions": SESSIONS,
            "drawn_p50_ms": round(float(np.percentile(taken, 50)), 1),
            "drawn_p95_ms": round(float(np.percentile(taken, 95)), 1),
            "server_mib_before": round(before),
            "server_mib_after": round(_server_mib()),
            "load_average": os.getloadavg()[0],
        },
    )
