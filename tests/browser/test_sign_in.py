"""Signing in with a real browser at a provider on this computer, and what a viewer and a reviewer can and cannot do."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
import time
import urllib.request
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlencode, urlsplit

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect

from sai_core.access import read_audit
from sai_core.review import ReviewStore
from sai_core.review.entries import new_uid
from tests.browser.test_review import DESK, RECORDING, SPLIT, labels, predictions, press, read, wait
from tests.figures.scenes import to_json, write_root

pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.filterwarnings("ignore::DeprecationWarning")]

REPOSITORY = Path(__file__).resolve().parents[2]
PEOPLE: Final[dict[str, str]] = {"cleo@example.org": "viewer", "ben@example.org": "reviewer"}
STRANGER: Final[str] = "eve@example.org"


@dataclass(frozen=True)
class Server:
    url: str
    root: Path
    workspace: Path
    audit: Path


@pytest.fixture(scope="module")
def provider() -> Iterator[str]:
    """Address of an OpenID provider that knows three people."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        mock = pytest.importorskip("oidc_provider_mock")
        users = [mock.User(sub=mail, claims={"email": mail}) for mail in (*PEOPLE, STRANGER)]
        with mock.run_server_in_thread(user_claims=users) as server:
            yield f"http://localhost:{server.server_port}"


@pytest.fixture(scope="module")
def server(provider: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """The app with a file of roles, started as its users' host starts it."""
    folder = tmp_path_factory.mktemp("sign-in")
    root = folder / "data"
    write_root(root, n_frames=30, video_size=(480, 240), systems=())
    (root / "labels_dev" / SPLIT / f"{RECORDING}_std.json").write_text(json.dumps(to_json(labels(), score=False)))
    (root / "predictions" / "ours").mkdir(parents=True)
    (root / "predictions" / "ours" / f"{RECORDING}.json").write_text(json.dumps(to_json(predictions(), score=True)))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    url = f"http://127.0.0.1:{port}"
    (folder / ".streamlit").mkdir()
    (folder / ".streamlit" / "secrets.toml").write_text(
        f'[auth]\nredirect_uri = "{url}/oauth2callback"\ncookie_secret = "{"drawn at random " * 3}"\n'
        f'client_id = "sai"\nclient_secret = "secret"\n'
        f'server_metadata_url = "{provider}/.well-known/openid-configuration"\n'
    )
    (folder / "etc").mkdir()
    people = "\n".join(f'"{mail}" = "{role}"' for mail, role in PEOPLE.items())
    audit = folder / "etc" / "audit.jsonl"
    (folder / "etc" / "roles.toml").write_text(f'roots = ["{root}"]\naudit = "{audit}"\n[people]\n{people}\n')
    environment = {
        **{name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")},
        "HOME": str(folder),
        "SAI_ROLES": str(folder / "etc" / "roles.toml"),
        "SAI_WORKSPACE": str(folder / "workspace"),
        "STREAMLIT_BROWSER_GATHER_USAGE_STATS": "false",
    }
    log = (folder / "log.txt").open("w+")
    command = [sys.executable, "-m", "streamlit", "run", "app.py", "--server.port", str(port)]
    process = subprocess.Popen(command, cwd=REPOSITORY, env=environment, stdout=log, stderr=subprocess.STDOUT)
    try:
        end = time.monotonic() + 120
        while time.monotonic() < end and process.poll() is None:
            try:
                with urllib.request.urlopen(f"{url}/_stcore/health", timeout=2):
                    break
            except OSError:
                time.sleep(0.1)
        else:
            log.seek(0)
            pytest.fail("The app did not start:\n" + log.read())
        yield Server(url, root, folder / "workspace", audit)
    finally:
        process.terminate()
        process.wait(20)
        log.close()


SignIn = Callable[[str], Page]


@pytest.fixture
def sign_in(browser: Browser, server: Server) -> Iterator[SignIn]:
    """Sign in as somebody in a profile of their own."""
    contexts: list[BrowserContext] = []

    def sign_in_(mail: str) -> Page:
        context = browser.new_context(viewport={"width": 1440, "height": 900})
        contexts.append(context)
        page = context.new_page()
        page.goto(server.url)
        page.get_by_role("button", name="Sign in").click()
        page.locator(f"button[value='{mail}']").click()
        page.wait_for_url(f"{server.url}/**")
        return page

    yield sign_in_
    for context in contexts:
        context.close()


def desk_of(page: Page, server: Server, **parameters: str) -> None:
    """Open the review of the data, and wait for its desk."""
    page.goto(f"{server.url}/review?{urlencode({'root': str(server.root), **parameters})}")
    page.wait_for_selector(".rv[data-ready]", timeout=60_000)
    wait(page, "!!d.moments.block('work') && !!d.moments.block('base')")


def send(page: Page, actions: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Let the desk's element send hand-made actions, as its own script would; what the server answers to each.

    The desk may ask for something of its own in the same moment, and takes their place then: they are sent again, which
    their identifiers make safe.
    """
    for _ in range(10):
        wait(page, "d.list.ack === d.seq")
        seq = page.evaluate(
            f"""(actions) => {{
                const d = {DESK};
                d.sent = ++d.seq;
                d.api.setStateValue("request", {{ seq: d.seq, item: d.current, frame: -1, here: 1, actions }});
                return d.seq;
            }}""",
            actions,
        )
        wait(page, f"d.list.ack >= {seq}")
        if done := list(read(page, "d.list.done")):
            return done
    pytest.fail("the desk's own requests came in between ten times")


def of_hand(server: Server, context: BrowserContext, page_name: str, *, signed_in: bool = True) -> list[str]:
    """A client of our own on the websocket, with the browser's cookies, which presses every button of a page.

    Returns
    -------
    list of str
        Labels of the buttons.
    """
    from streamlit.proto.BackMsg_pb2 import BackMsg
    from streamlit.proto.ForwardMsg_pb2 import ForwardMsg
    from websockets.sync.client import connect
    from websockets.typing import Origin, Subprotocol

    cookies = {c["name"]: c["value"] for c in context.cookies() if signed_in}
    found: dict[str, str] = {}
    with connect(
        f"ws://{urlsplit(server.url).netloc}/_stcore/stream",
        origin=Origin(server.url),
        subprotocols=[Subprotocol("streamlit"), Subprotocol(cookies.get("_streamlit_xsrf", "x"))],
        additional_headers={"Cookie": "; ".join(f"{name}={value}" for name, value in cookies.items())},
        max_size=None,
        proxy=None,
    ) as client:

        def run(pressed: str = "") -> None:
            message = BackMsg()
            message.rerun_script.page_name = page_name
            message.rerun_script.query_string = urlencode({"root": str(server.root)})
            if pressed:
                state = message.rerun_script.widget_states.widgets.add()
                state.id, state.trigger_value = pressed, True
            client.send(message.SerializeToString())
            while True:
                answer = ForwardMsg()
                answer.ParseFromString(client.recv(timeout=60, decode=False))
                if answer.WhichOneof("type") == "script_finished":
                    return
                button = answer.delta.new_element.button
                if button.id:
                    found[button.id] = button.label

        run()
        for button in list(found):
            run(button)
    return sorted(found.values())


def test_a_viewer_looks_and_changes_nothing(sign_in: SignIn, server: Server) -> None:
    page = sign_in("cleo@example.org")
    page.goto(f"{server.url}/account")
    expect(page.locator("p", has_text="role viewer")).to_contain_text("Signed in as cleo@", timeout=30_000)
    page.goto(f"{server.url}/predict?{urlencode({'root': str(server.root)})}")
    expect(page.get_by_role("button", name="Predict 1 recording")).to_be_disabled(timeout=60_000)
    assert page.get_by_label("Output folder").count() == 0
    assert "Predict 1 recording" in of_hand(server, page.context, "predict")

    # a review: nobody's name but one's own, and even that decides nothing
    elsewhere = server.workspace / "reviews" / "mine.sqlite"
    desk_of(page, server, reviewer="ben@example.org", review_file=str(elsewhere))
    assert read(page, "d.list.reviewer") == "cleo@example.org"
    item = read(page, "d.current")
    page.locator(".rv-item").first.click()
    page.keyboard.press("a")
    wait(page, "d.waiting.length === 0 || d.waiting.some((a) => a.error || a.held)")
    mine = {"action": "reject", "item": item, "uid": new_uid()}
    done = send(page, [{**mine, "reviewer": "cleo@example.org"}, {**mine, "reviewer": "ben@example.org"}])
    assert "may not decide" in done[0]["error"]
    assert done[1]["held"] == "reviewer"
    page.goto(f"{server.url}/train")
    expect(page.get_by_text("Trainings need the role editor")).to_be_visible(timeout=30_000)
    assert page.get_by_role("button", name="New run").count() == 0
    assert not server.workspace.exists()
    lines, _ = read_audit(server.audit)
    refused = {(line.who, line.what) for line in lines if line.result.startswith("refused")}
    assert ("cleo@example.org", "reject") in refused
    assert all(line.result.startswith("refused") for line in lines)

    page.goto(f"{server.url}/account")
    page.get_by_role("button", name="Sign out").click()
    page.wait_for_url(re.compile(r"^(?!.*/account)"))
    page.goto(server.url)
    expect(page.get_by_role("button", name="Sign in")).to_be_visible(timeout=30_000)


def test_a_reviewer_decides_as_who_signed_in(sign_in: SignIn, server: Server) -> None:
    page = sign_in("ben@example.org")
    desk_of(page, server, reviewer="ann")
    assert read(page, "d.list.reviewer") == "ben@example.org"
    press(page, "a")
    item = read(page, "d.current")
    done = send(page, [{"action": "reject", "item": item, "uid": new_uid(), "reviewer": "ann"}])
    assert done[0]["held"] == "reviewer"
    (file,) = (server.workspace / "reviews").glob("*.sqlite")
    with ReviewStore(file) as store:
        assert [(entry.reviewer, entry.action) for entry in store.entries()] == [("ben@example.org", "accept")]
    lines = [line for line in read_audit(server.audit)[0] if line.who == "ben@example.org"]
    assert [(line.role, line.what, line.result) for line in lines] == [("reviewer", "accept", "done")]


def test_a_stranger_and_nobody_get_no_further(sign_in: SignIn, server: Server) -> None:
    page = sign_in(STRANGER)
    expect(page.get_by_text("has no role in this app")).to_be_visible(timeout=30_000)
    assert page.get_by_role("link", name="Explorer").count() == 0
    assert set(of_hand(server, page.context, "predict")) == {"Sign in", "Sign out"}  # the latter was pressed
    assert of_hand(server, page.context, "review", signed_in=False) == ["Sign in"]
