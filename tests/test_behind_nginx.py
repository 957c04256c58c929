"""The app behind nginx with TLS and a password, by the lines of docs/serving.md, on the loopback alone."""

from __future__ import annotations

import base64
import os
import re
import shutil
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[1]
NAME = "sai.example.org"

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not (shutil.which("nginx") and shutil.which("openssl")), reason="nginx and openssl are not on this machine"
    ),
]


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def _wait(port: int, process: subprocess.Popen[bytes]) -> None:
    end = time.monotonic() + 120
    while time.monotonic() < end:
        assert process.poll() is None, "the server has ended"
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        except OSError:
            time.sleep(0.1)
    pytest.fail(f"nothing listens on {port}")


@pytest.fixture(scope="module")
def port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """Port of nginx, set up as the page says, in front of the running app."""
    folder = tmp_path_factory.mktemp("nginx")
    outside, inside = _free_port(), _free_port()
    certificate = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj", f"/CN={NAME}"]
    subprocess.run(
        [*certificate, "-keyout", str(folder / "sai.key"), "-out", str(folder / "sai.pem")],
        check=True,
        capture_output=True,
    )
    (folder / "sai.htpasswd").write_text("ann:{PLAIN}secret\n")
    page = (REPOSITORY / "docs" / "serving.md").read_text("utf-8")
    (lines,) = re.findall(r"```nginx\n(.*?)```", page, re.DOTALL)
    for old, new in (
        ("listen 443 ssl", f"listen 127.0.0.1:{outside} ssl"),
        ("/etc/ssl/", f"{folder}/"),
        ("/etc/nginx/", f"{folder}/"),
        ("127.0.0.1:8501", f"127.0.0.1:{inside}"),
    ):
        assert old in lines
        lines = lines.replace(old, new)
    own = "".join(
        f"{kind}_temp_path {folder}/{kind};\n" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    user = "user root;\n" if os.geteuid() == 0 else ""  # its workers must be able to read the folder
    (folder / "nginx.conf").write_text(
        f"daemon off;\npid {folder}/pid;\nerror_log {folder}/error.log;\n{user}events {{}}\n"
        f"http {{\naccess_log off;\n{own}{lines}}}\n"
    )
    (asked,) = re.findall(r"sai (app --no-browser --port 8501 --name .*)", page)
    app = [sys.executable, "-m", "sai_core", *asked.replace("8501", str(inside)).split()]
    with (folder / "log").open("wb") as log:
        processes = [
            subprocess.Popen(app, cwd=REPOSITORY, stdout=log, stderr=log),
            subprocess.Popen(["nginx", "-c", str(folder / "nginx.conf"), "-p", str(folder)], stdout=log, stderr=log),
        ]
    try:
        for number, process in zip((inside, outside), processes, strict=True):
            _wait(number, process)
        yield outside
    finally:
        for process in processes:
            process.terminate()
            process.wait(30)


def ask(port: int, *headers: str, host: str = NAME, path: str = "/", password: str = "ann:secret") -> str:
    """Head of the answer to a request that is written out by hand, through TLS."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    sign = [f"Authorization: Basic {base64.b64encode(password.encode()).decode()}"] if password else []
    with (
        socket.create_connection(("127.0.0.1", port), timeout=60) as plain,
        context.wrap_socket(plain, server_hostname=host) as connection,
    ):
        lines = [f"GET {path} HTTP/1.1", f"Host: {host}:{port}", *sign, *headers, "", ""]
        connection.sendall("\r\n".join(lines).encode())
        answer = b""
        while b"\r\n\r\n" not in answer and (part := connection.recv(65536)):
            answer += part
    return answer.decode("latin-1")


def websocket(port: int, origin: str) -> str:
    return ask(
        port,
        "Upgrade: websocket",
        "Connection: Upgrade",
        "Sec-WebSocket-Version: 13",
        "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==",
        f"Origin: {origin}",
        path="/_stcore/stream",
    )


def test_pages_and_the_websocket_come_through(port: int) -> None:
    answer = ask(port, "Connection: close")
    assert answer.startswith("HTTP/1.1 200")
    assert f"wss://{NAME}:{port}" in answer
    assert websocket(port, f"https://{NAME}:{port}").startswith("HTTP/1.1 101")


def test_nothing_without_the_password_and_nothing_for_other_sites(port: int) -> None:
    assert ask(port, "Connection: close", password="").startswith("HTTP/1.1 401")
    assert ask(port, "Connection: close", password="ann:wrong").startswith("HTTP/1.1 401")
    assert websocket(port, "https://evil.example").startswith("HTTP/1.1 403")
    assert ask(port, "Connection: close", host="evil.example").startswith("HTTP/1.1 403")
