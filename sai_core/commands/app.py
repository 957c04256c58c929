"""``app``: serve the pages and open them in the browser."""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
import webbrowser
from pathlib import Path
from typing import Final
from urllib.parse import urlencode

from sai_core.errors import EnvironmentProblem, InputError
from sai_core.installation import program_folder

_FIRST_PORT: Final[int] = 8501
_PORTS_TRIED: Final[int] = 50
_START_TIMEOUT_S: Final[float] = 120.0
"""Streamlit answers after some two seconds; a machine that does other work may need longer."""

_EXAMPLE = """example:
  python -m sai_core app --data ~/STARSS23

The app answers on this computer alone (127.0.0.1). Without --data it opens the simulated demo recordings. Ctrl+C ends
it; runs of training that it has started go on. On a machine without a screen, forward the port and open the address
that is printed: ssh -L 8501:127.0.0.1:8501 MACHINE
"""


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    """Add the verb to the command line."""
    parser = subparsers.add_parser(
        "app",
        help="open the app in the browser",
        description="Serve the app on this computer and open it in the browser.",
        epilog=_EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--data", type=Path, metavar="ROOT", help="data root to open (the demo)")
    parser.add_argument("--port", type=int, metavar="N", help=f"port (the first free one from {_FIRST_PORT})")
    parser.add_argument(
        "--name",
        action="append",
        default=[],
        metavar="HOST",
        help="another name under which it may be asked, behind a proxy on this computer (may be repeated)",
    )
    parser.add_argument(
        "--roles",
        type=Path,
        metavar="FILE",
        help="file that says who may do what: people sign in (docs/serving.md); as SAI_ROLES",
    )
    parser.add_argument("--no-browser", action="store_true", help="only print the address")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Serve until it is ended.

    Raises
    ------
    InputError
        A folder that is not there; a file of roles with a mistake; a port that is not one, or is taken.
    EnvironmentProblem
        Streamlit is not installed, or does not start.
    """
    if args.data is not None and not args.data.is_dir():
        what = "is a file; give the folder of the data root" if args.data.exists() else "there is no such folder"
        raise InputError(f"{args.data}: {what}.")
    if importlib.util.find_spec("streamlit") is None:
        raise EnvironmentProblem(f"The app needs streamlit; run: {sys.executable} -m pip install streamlit")
    port = _port(args.port)
    address = f"http://127.0.0.1:{port}"
    command = [sys.executable, "-m", "streamlit", "run", str(program_folder() / "app.py")]
    command += ["--server.port", str(port), "--server.headless", "true", "--logger.hideWelcomeMessage", "true"]
    if args.name:
        command += [f"--server.allowedHosts={name}" for name in ("127.0.0.1", "localhost", "::1", *args.name)]
    environment = dict(os.environ)
    if args.roles is not None:
        from sai_core.access import ROLES_VARIABLE, read_roles

        read_roles(args.roles)  # what is wrong with it is told here, and not in the middle of a start
        environment[ROLES_VARIABLE] = os.path.abspath(args.roles)
    server = subprocess.Popen(command, env=environment)
    before = signal.signal(signal.SIGTERM, lambda *_: server.terminate())
    try:
        _wait(server, address)
        if server.poll() is None:
            query = f"?{urlencode({'root': os.path.abspath(args.data)})}" if args.data else ""
            print(f"SAI Explorer: {address}/{query}", flush=True)
            if not args.no_browser:
                webbrowser.open(f"{address}/{query}")
        return server.wait()
    except KeyboardInterrupt:
        # the server is in the same group and has had the signal as well
        with contextlib.suppress(subprocess.TimeoutExpired):
            server.wait(10)
        return 0
    finally:
        if server.poll() is None:
            server.kill()
        signal.signal(signal.SIGTERM, before)


def _port(wanted: int | None) -> int:
    if wanted is not None and not 1 <= wanted <= 65_535:
        raise InputError(f"--port {wanted}: choose a number from 1 to 65535.")
    for port in range(_FIRST_PORT, _FIRST_PORT + _PORTS_TRIED) if wanted is None else [wanted]:
        with socket.socket() as attempt:
            attempt.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                attempt.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    if wanted is not None:
        raise InputError(f"--port {wanted}: it is in use; choose another one, or none for the first that is free.")
    raise EnvironmentProblem(
        f"No port from {_FIRST_PORT} to {_FIRST_PORT + _PORTS_TRIED - 1} is free; give one by --port."
    )


def _wait(server: subprocess.Popen[bytes], address: str) -> None:
    """Until the server answers, or has ended."""
    end = time.monotonic() + _START_TIMEOUT_S
    while server.poll() is None and time.monotonic() < end:
        try:
            with urllib.request.urlopen(f"{address}/_stcore/health", timeout=2):
                return
        except OSError:
            time.sleep(0.1)
    if server.poll() is None:
        raise EnvironmentProblem(f"The app has not answered at {address} within {_START_TIMEOUT_S:.0f} s.")
