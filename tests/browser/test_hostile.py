"""Hostile names in a real browser: nothing is fetched from elsewhere, and the app is in no frame of another site."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page

from tests.browser.conftest import settle
from tests.figures.scenes import write_root

pytestmark = [pytest.mark.browser]


@pytest.fixture
def elsewhere() -> Iterator[tuple[str, list[str]]]:
    """Address of another site on this machine, and what is asked of it."""
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.end_headers()
            self.wfile.write(b"hello")

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}", asked
    server.shutdown()
    server.server_close()


@pytest.mark.slow
def test_a_file_name_makes_the_browser_fetch_nothing(
    visit: Callable[..., Page], elsewhere: tuple[str, list[str]], tmp_path: Path
) -> None:
    address, asked = elsewhere
    link = address.replace("/", "&#47;")
    write_root(
        tmp_path / "root",
        recording=f"![x]({link}&#47;recording.png)",
        split=f"![y]({link}&#47;split.png)",
        n_frames=300,
        video_size=None,
        audio=False,
        systems=(f"![z]({link}&#47;system.png) $x$",),
    )
    for name in ("explorer", "scores", "review", ""):
        page = visit(name, root=tmp_path / "root")
        settle(page)
        assert page.get_by_text("![x](").count() + page.get_by_text("![z](").count() >= (name in ("scores", ""))
        assert page.locator(f"img[src*='{address}'], a[href*='{address}']").count() == 0
    assert asked == []


@pytest.mark.slow
def test_another_site_cannot_show_the_app_in_a_frame(
    browser: Browser, app_url: str, elsewhere: tuple[str, list[str]], tmp_path: Path
) -> None:
    address, _ = elsewhere
    page = browser.new_page()
    page.goto(address)
    with page.expect_event("requestfailed", lambda request: "/review" in request.url):  # the answer is thrown away
        page.set_content(f"<iframe src='{app_url}/review?review_file={tmp_path}/new/r.sqlite'></iframe>")
    frame = page.frames[1]
    assert "Streamlit" not in frame.content()
    assert frame.get_by_test_id("stApp").count() == 0
    assert not (tmp_path / "new").exists()
    page.close()
