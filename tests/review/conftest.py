"""Both places where a review can lie: a file, and a PostgreSQL server that is started for the tests."""

from __future__ import annotations

import itertools
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from sai_core.review.databases import ServerReview

Place = Path | ServerReview
_numbers = itertools.count()


def _program(name: str) -> str:
    """A program of PostgreSQL, which Debian does not put on the path."""
    versions = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"), key=lambda p: int(p.parts[-3]))
    return shutil.which(name) or (str(versions[-1]) if versions else "")


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    """URL of a database on a server that answers on a socket in a temporary folder alone."""
    initdb, server = _program("initdb"), _program("postgres")
    if not (initdb and server):
        pytest.skip("PostgreSQL (initdb) is not on this machine")
    # the server refuses to run as root
    user = next((u.pw_name for u in pwd.getpwall() if u.pw_name in ("postgres", "nobody")), "")
    owner = {"user": user} if os.geteuid() == 0 else {}
    # not below pytest's folder: that is root's alone, and its name may be longer than a socket's can be
    with tempfile.TemporaryDirectory(prefix="sai-pg-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        if owner:
            shutil.chown(folder, user)
        data, log = folder / "data", folder / "log"
        subprocess.run(
            [initdb, "-D", data, "-U", "sai", "--auth=trust", "--encoding=UTF8", "--locale=C", "--no-sync"],
            check=True,
            capture_output=True,
            cwd=folder,
            **owner,  # type: ignore[call-overload]
        )
        command = [server, "-D", data, "-k", folder, "-c", "listen_addresses=", "-c", "fsync=off"]
        with log.open("wb") as stream:
            process = subprocess.Popen(command, stdout=stream, stderr=stream, cwd=folder, **owner)  # type: ignore[call-overload]
        try:
            end = time.monotonic() + 120
            while "ready to accept connections" not in log.read_text():
                assert process.poll() is None, log.read_text()
                assert time.monotonic() < end, log.read_text()
                time.sleep(0.05)
            yield f"postgresql+psycopg://sai@/postgres?host={folder}"
        finally:
            process.send_signal(signal.SIGINT)  # SIGTERM waits for connections that are kept open
            process.wait(60)


@pytest.fixture(params=["sqlite", "postgresql"])
def place_of(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[str], Place]:
    """A new place for a review by a name, the same for the same name within a test."""
    if request.param == "sqlite":
        return lambda name: tmp_path / f"{name}.sqlite"
    url, number = request.getfixturevalue("postgres"), next(_numbers)
    return lambda name: ServerReview(url, f"review_{number}_{name}")


@pytest.fixture
def place(place_of: Callable[[str], Place]) -> Place:
    """A new place for a review."""
    return place_of("review")
