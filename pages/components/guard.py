"""What the server answers, and to whom: this machine's browser at this app's own address, and nobody else.

The app opens files and starts trainings for whoever talks to it, so that a page of another site must not be able to
talk to it through the user's browser:

* A request whose ``Host`` is not of the list (``server.allowedHosts`` in ``.streamlit/config.toml``: 127.0.0.1,
  localhost, ::1) is refused, whatever it asks for. Else a site could let its own name point to 127.0.0.1 (DNS
  rebinding) and be taken for the app. Ports do not matter, so that forwarded ones work.
* A server that listens on more than this computer's own address answers nobody, unless people sign in
  (:mod:`pages.components.identity`), or ``SAI_OPEN=1`` says that this is meant: whoever can reach it can do everything.
* A websocket, and any request that sends something, must come from a page of this very address.
* Where people sign in, what a browser may send through the websocket is what the pages send: no wish to throw away
  the caches, the queues of jobs among them, or to end the server.
* Pages of other sites may not show the app in a frame, and the browser fetches nothing from elsewhere for a page of
  the app (Content Security Policy), whatever a file name or a label says.

The middleware is pure ASGI, since Starlette's own kinds do not see websockets or do not close them.
"""

from __future__ import annotations

import ipaddress
import os
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, Final
from urllib.parse import urlsplit

from google.protobuf.message import DecodeError
from streamlit import config
from streamlit.proto.BackMsg_pb2 import BackMsg

from sai_core import permissions
from sai_core.access import ROLES_VARIABLE

Message = MutableMapping[str, Any]
Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]

DEFAULT_HOSTS: Final[tuple[str, ...]] = ("127.0.0.1", "localhost", "::1")
"""In case that the configuration file is not found."""

OPEN_VARIABLE: Final[str] = "SAI_OPEN"
"""Environment variable; ``1``: the server may listen on any address."""

_READING: Final[frozenset[str]] = frozenset(("GET", "HEAD", "OPTIONS"))


def exposure() -> str:
    """Why nobody is answered, in one sentence: others can reach the server, which nobody has said is meant; else ""."""
    address = str(config.get_option("server.address") or "0.0.0.0").strip("[]")
    if (
        permissions.enforced()
        or os.environ.get(OPEN_VARIABLE) == "1"
        or address == "localhost"
        or address.startswith("unix://")
    ):
        return ""
    try:
        if ipaddress.ip_address(address).is_loopback:
            return ""
    except ValueError:  # a name: it may mean any address, tomorrow another one
        pass
    return (
        f"The app would listen at {address}, where others can reach it and anyone may do anything; leave "
        "server.address at 127.0.0.1, with a proxy before it, or let people sign in, each with a role "
        f"({ROLES_VARIABLE}; docs/serving.md), or set {OPEN_VARIABLE}=1 to allow it."
    )


def allowed_hosts() -> tuple[str, ...]:
    """Names under which the app may be asked, from the configuration."""
    names = tuple(str(name).strip().strip("[]").lower() for name in config.get_option("server.allowedHosts") or ())
    return tuple(name for name in names if name) or DEFAULT_HOSTS


def host_name(host: str) -> str:
    """Name in a ``Host`` header, without its port and the brackets of IPv6; "" for what is no such header."""
    try:
        parts = urlsplit(f"//{host}")
        if parts.netloc != host or parts.username is not None or parts.password is not None:
            return ""
        _ = parts.port  # not a number, or out of range: ValueError
    except ValueError:
        return ""
    return (parts.hostname or "").lower()


def refusal(scope: Scope) -> str:
    """Why a request is refused, in one sentence; "" when it is not."""
    hosts = _headers(scope, b"host")
    host = hosts[0] if len(hosts) == 1 else ""
    name, allowed = host_name(host), allowed_hosts()
    if "*" not in allowed and name not in allowed:
        return (
            "The app does not answer at this address. Open it as http://127.0.0.1 or http://localhost with its port, "
            "or start it with --server.allowedHosts and the host name that you use."
        )
    if scope["type"] == "websocket" or scope.get("method") not in _READING:
        trusted = {str(origin) for origin in config.get_option("server.corsAllowedOrigins") or ()}
        for origin in _headers(scope, b"origin"):
            if urlsplit(origin).netloc.lower() != host.lower() and origin not in trusted:
                return "Pages of other sites may not talk to the app."
    return ""


def _headers(scope: Scope, name: bytes) -> list[str]:
    return [value.decode("latin-1") for key, value in scope.get("headers", ()) if key.lower() == name]


def security_headers(host: str) -> list[tuple[bytes, bytes]]:
    """Headers of every answer.

    Parameters
    ----------
    host : str
        Checked ``Host`` header: not every browser takes ``'self'`` for the websocket of the same address.
    """
    policy = (
        "default-src 'self' 'unsafe-inline' 'unsafe-eval' blob: data:; "
        f"connect-src 'self' ws://{host} wss://{host} blob: data:; "
        "object-src 'none'; base-uri 'self'; form-action 'self'; frame-ancestors 'self'"
    )
    return [
        (b"content-security-policy", policy.encode("latin-1")),
        (b"x-frame-options", b"SAMEORIGIN"),
        (b"x-content-type-options", b"nosniff"),
        (b"referrer-policy", b"same-origin"),
        (b"cross-origin-resource-policy", b"same-origin"),
    ]


class Guard:
    """ASGI middleware: refuses what must not be answered, adds headers to what is."""

    def __init__(self, app: Application) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one connection."""
        if scope["type"] not in ("http", "websocket"):
            await self.app(scope, receive, send)
            return
        if reason := exposure() or refusal(scope):
            await _refuse(scope, receive, send, reason)
            return
        own = security_headers(_headers(scope, b"host")[0])
        names = {name for name, _ in own}

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                kept = [(name, value) for name, value in message.get("headers", ()) if name.lower() not in names]
                message = {**message, "headers": [*kept, *own]}
            await send(message)

        listen = _only_what_pages_send(receive) if scope["type"] == "websocket" and permissions.enforced() else receive
        await self.app(scope, listen, send_with_headers)


_SENT_BY_PAGES: Final[frozenset[str | None]] = frozenset(
    ("rerun_script", "stop_script", "file_urls_request", "app_heartbeat", "load_git_info")
)
_OPERATIONS: Final[frozenset[str | None]] = frozenset(("deferred_file", "dataframe_chunk"))
"""What is asked for beside runs of the script: files that are made for a download, further rows of a table."""


def _only_what_pages_send(receive: Receive) -> Receive:
    """Messages of a browser without those that no page of the app sends."""

    async def listen() -> Message:
        while True:
            message = await receive()
            data = message.get("bytes")
            if message["type"] != "websocket.receive" or not data:
                return message
            wish = BackMsg()
            try:
                wish.ParseFromString(data)
            except DecodeError:
                return message  # Streamlit ends such a connection
            kind = wish.WhichOneof("type")
            if kind == "backend_operation_request":
                if wish.backend_operation_request.WhichOneof("payload") in _OPERATIONS:
                    return message
            elif kind in _SENT_BY_PAGES:
                return message

    return listen


async def _refuse(scope: Scope, receive: Receive, send: Send, reason: str) -> None:
    if scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.close", "code": 1008, "reason": ""})  # before accepting: HTTP 403
        return
    body = (reason + "\n").encode()
    headers = [
        (b"content-type", b"text/plain; charset=utf-8"),
        (b"content-length", str(len(body)).encode()),
        (b"x-content-type-options", b"nosniff"),
        (b"x-frame-options", b"DENY"),
        (b"connection", b"close"),
    ]
    await send({"type": "http.response.start", "status": 403, "headers": headers})
    await send({"type": "http.response.body", "body": body})
