"""The real server, started as users start it, and asked as an attacker's page would ask: only on the loopback."""

from __future__ import annotations

import asyncio
import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from streamlit.proto.BackMsg_pb2 import BackMsg

from pages.components import guard
from sai_core import permissions

REPOSITORY = Path(__file__).resolve().parents[1]

WRONG_HOSTS = (
    "evil.com",
    "evil.com:{port}",
    "127.0.0.1.evil.com:{port}",
    "localhost.evil.com",
    "evil.com#127.0.0.1",
    "127.0.0.1@evil.com",
    "user@127.0.0.1",
    "192.168.1.7:{port}",
    "0.0.0.0:{port}",
    "127.0.0.1:99999",
    "127.0.0.1:x",
    "[::2]:{port}",
    "",
)
RIGHT_HOSTS = ("127.0.0.1:{port}", "localhost:{port}", "LOCALHOST", "[::1]:{port}", "localhost:9999")
"""The last: a port forwarded from elsewhere."""


class Server:
    def __init__(self, port: int) -> None:
        self.port = port

    def ask(
        self, *lines: str, host: str | None, path: str = "/", method: str = "GET", body: str = ""
    ) -> tuple[int, str]:
        """Status and whole answer of a request that is written out by hand."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=20) as connection:
            named = [] if host is None else [f"Host: {host.format(port=self.port)}"]
            length = [f"Content-Length: {len(body)}"] if body else []
            text = "\r\n".join([f"{method} {path} HTTP/1.1", *named, *lines, *length, "Connection: close", "", body])
            if any("Upgrade: websocket" in line for line in lines):
                text = text.replace("Connection: close", "Connection: Upgrade")
            connection.sendall(text.encode())
            answer = b""
            while b"\r\n\r\n" not in answer and (part := connection.recv(65536)):
                answer += part
            match = re.match(rb"HTTP/1.1 (\d+)", answer)
            return int(match[1]) if match else 0, answer.decode("latin-1")

    def websocket(self, *, host: str | None, origin: str = "") -> int:
        """Status of the answer to a browser that wants a websocket."""
        lines = [
            "Upgrade: websocket",
            "Sec-WebSocket-Version: 13",
            "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
            *([f"Origin: {origin.format(port=self.port)}"] if origin else []),
        ]
        return self.ask(*lines, host=host, path="/_stcore/stream")[0]


def started(tmp_path: Path, cwd: Path, *arguments: str) -> Iterator[Server]:
    log = tmp_path / "log.txt"
    environment = {
        **os.environ,
        "HOME": str(tmp_path),
        "SAI_CACHE_DIR": str(tmp_path / "cache"),
        "SAI_WORKSPACE": str(tmp_path / "workspace"),
        "PYTHONUNBUFFERED": "1",
        "STREAMLIT_BROWSER_GATHER_USAGE_STATS": "false",
    }
    with open(log, "w") as stream:
        command = [sys.executable, "-m", "streamlit", "run", *arguments]
        process = subprocess.Popen(command, cwd=cwd, stdout=stream, stderr=subprocess.STDOUT, env=environment)
    try:
        end = time.monotonic() + 300
        port = 0
        while time.monotonic() < end and process.poll() is None:
            # the port is told when it listens, also one that the server has found by itself
            if found := re.search(r"http://(?:127\.0\.0\.1|localhost):(\d+)", log.read_text()):
                port = int(found[1])
                try:
                    if Server(port).ask(host="127.0.0.1", path="/_stcore/health")[0] == 200:
                        break
                except OSError:
                    pass
            time.sleep(0.2)
        else:
            pytest.fail("The app did not start:\n" + log.read_text())
        yield Server(port)
    finally:
        process.terminate()
        process.wait(30)


@pytest.fixture(scope="module", params=["as make app does", "elsewhere, without a port"])
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("server")
    if request.param == "as make app does":
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        yield from started(folder, REPOSITORY, "app.py", "--server.port", str(port), "--server.headless", "true")
    else:
        yield from started(folder, folder, str(REPOSITORY / "app.py"))


@pytest.mark.slow
def test_only_its_own_names_are_answered(server: Server) -> None:
    for right in RIGHT_HOSTS:
        assert server.ask(host=right)[0] == 200, right
        assert server.websocket(host=right) == 101, right
        assert server.websocket(host=right, origin=f"http://{right}") == 101, right
    hosts: tuple[str | None, ...] = (*WRONG_HOSTS, None)
    for host in hosts:
        for path in ("/", "/review?review_file=x", "/_stcore/health", "/_stcore/host-config", "/static/index.html"):
            assert server.ask(host=host, path=path)[0] in (400, 403), (host, path)
        assert server.websocket(host=host) in (400, 403), host
        if host:
            # DNS rebinding: the page, its origin and the host all bear the attacker's name
            assert server.websocket(host=host, origin=f"http://{host}") in (400, 403), host


@pytest.mark.slow
def test_pages_of_other_sites_cannot_talk_to_it(server: Server) -> None:
    host = "127.0.0.1:{port}"
    other = ("http://evil.com", "null", "http://127.0.0.1:1", "https://localhost:{port}", "http://127.0.0.1", "x", "//")
    for origin in other:
        assert server.websocket(host=host, origin=origin) in (400, 403), origin
        for method in ("POST", "PUT", "DELETE"):
            path = "/_stcore/upload_file/a/b"
            status, _ = server.ask(f"Origin: {origin.format(port=server.port)}", host=host, path=path, method=method)
            assert status == 403, (origin, method)


@pytest.mark.slow
def test_no_other_site_may_frame_it_and_nothing_is_fetched_from_elsewhere(server: Server) -> None:
    for path in ("/", "/review", "/explorer?root=/x", "/_stcore/health", "/no/such", "/static/nothing.js"):
        status, answer = server.ask(host="127.0.0.1:{port}", path=path)
        head = answer.partition("\r\n\r\n")[0].lower()
        assert status in (200, 404), path
        assert "x-frame-options: sameorigin" in head, path
        assert "x-content-type-options: nosniff" in head, path
        policy = re.search(r"content-security-policy: (.*)", head)
        assert policy is not None, path
        rules = dict(rule.strip().partition(" ")[::2] for rule in policy[1].strip().split(";"))
        assert rules["frame-ancestors"] == "'self'"
        assert "http:" not in policy[1]
        assert "*" not in policy[1]
        assert {"default-src", "connect-src", "object-src", "base-uri", "form-action"} <= set(rules)


@pytest.mark.parametrize("host", RIGHT_HOSTS)
def test_right_hosts(host: str) -> None:
    assert guard.host_name(host.format(port=8501)) in guard.DEFAULT_HOSTS


@pytest.mark.parametrize("host", WRONG_HOSTS)
def test_wrong_hosts(host: str) -> None:
    assert guard.host_name(host.format(port=8501)) not in guard.DEFAULT_HOSTS


def test_the_list_comes_from_the_configuration(monkeypatch: pytest.MonkeyPatch) -> None:
    def asked(host: str) -> str:
        return guard.refusal({"type": "http", "method": "GET", "headers": [(b"host", host.encode())]})

    for configured, good, bad in (
        ([], "localhost:1", "my.host"),
        (["My.Host", "[::1]"], "my.host:80", "localhost"),
        (["*"], "anything", ""),
    ):
        monkeypatch.setattr(guard.config, "get_option", lambda name, c=configured: c if "Hosts" in name else [])
        assert asked(good) == ""
        if bad:
            assert "does not answer at this address" in asked(bad)


@pytest.mark.parametrize(
    ("address", "is_open", "refused"),
    [
        ("127.0.0.1", "", False),
        ("127.8.9.1", "", False),
        ("::1", "", False),
        ("[::1]", "", False),
        ("localhost", "", False),
        ("unix:///run/sai.sock", "", False),
        ("0.0.0.0", "", True),
        ("::", "", True),
        ("192.168.1.7", "", True),
        ("localhost.evil.com", "", True),
        ("", "", True),
        (None, "", True),
        ("0.0.0.0", "0", True),
        ("0.0.0.0", "1", False),
    ],
)
def test_another_address_is_refused_unless_it_is_meant(
    monkeypatch: pytest.MonkeyPatch, address: str | None, is_open: str, refused: bool
) -> None:
    monkeypatch.setenv("SAI_OPEN", is_open)
    monkeypatch.setattr(guard.config, "get_option", lambda name: address if name == "server.address" else [])
    assert bool(guard.exposure()) == refused
    sent: list[dict[str, Any]] = []

    async def answer(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})

    async def send(message: Any) -> None:
        sent.append(message)

    async def receive() -> dict[str, Any]:
        return {}

    scope = {"type": "http", "method": "GET", "headers": [(b"host", b"localhost:8501")]}
    asyncio.run(guard.Guard(answer)(scope, receive, send))
    assert sent[0]["status"] == (403 if refused else 200)
    if refused:
        assert b"SAI_OPEN=1" in sent[1]["body"]


def test_where_people_sign_in_a_browser_sends_what_pages_send(monkeypatch: pytest.MonkeyPatch) -> None:
    """No wish to throw away the caches, with the queues of jobs in them, or to write files beside the program."""
    wishes: list[BackMsg] = [BackMsg() for _ in range(8)]
    wishes[0].clear_cache = True
    wishes[1].rerun_script.page_name = "predict"
    wishes[2].debug_shutdown_runtime = True
    wishes[3].backend_operation_request.install_skills.SetInParent()
    wishes[4].backend_operation_request.deferred_file.SetInParent()
    wishes[5].set_run_on_save = True
    wishes[6].backend_operation_request.dismiss_skills_nudge.SetInParent()
    wishes[7].stop_script = True
    monkeypatch.setattr(guard, "exposure", lambda: "")

    def passed() -> list[str | None]:
        waiting = [{"type": "websocket.receive", "bytes": wish.SerializeToString()} for wish in wishes]
        waiting += [{"type": "websocket.receive", "bytes": b"\xff"}, {"type": "websocket.disconnect"}]
        got: list[str | None] = []

        async def server(scope: Any, receive: Any, send: Any) -> None:
            while (message := await receive())["type"] == "websocket.receive":
                if message["bytes"] != b"\xff":
                    wish = BackMsg()
                    wish.ParseFromString(message["bytes"])
                    got.append(wish.WhichOneof("type"))

        async def receive() -> Any:
            return waiting.pop(0)

        async def send(message: Any) -> None:
            pass

        scope = {"type": "websocket", "headers": [(b"host", b"localhost:8501")]}
        asyncio.run(guard.Guard(server)(scope, receive, send))
        assert not waiting
        return got

    assert len(passed()) == 8
    permissions.enforce(lambda: None, lambda *_: None)
    try:
        assert passed() == ["rerun_script", "backend_operation_request", "stop_script"]
    finally:
        permissions.lift()


@pytest.mark.slow
def test_the_server_does_not_start_at_another_address(tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "streamlit", "run", "app.py", "--server.port", str(port)]
    environment = {**os.environ, "HOME": str(tmp_path), "SAI_OPEN": ""}
    done = subprocess.run(
        [*command, "--server.headless", "true", "--server.address", "0.0.0.0"],
        cwd=REPOSITORY,
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 1
    assert "The app would listen at 0.0.0.0" in done.stderr
    assert "Traceback" not in done.stderr
    with socket.socket() as free:
        free.bind(("127.0.0.1", port))


def test_two_host_headers_are_refused() -> None:
    headers = [(b"host", b"localhost"), (b"Host", b"evil.com")]
    assert guard.refusal({"type": "http", "method": "GET", "headers": headers})
