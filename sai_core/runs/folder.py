"""The folder of a run: everything that a training leaves behind, each file whole at any moment.

``config.json``
    The resolved settings (also ``data_roots`` and ``device``, so that a run can go on).
``environment.json``
    Commit, versions, machine, start.
``status.json``
    ``state`` (``running``, ``finished``, ``failed``, ``stopped``), ``pid``, ``pid_started`` (seconds since 1970),
    ``host``, ``epoch``, ``epochs``, ``step``, ``steps``, ``frames_per_s``, ``eta_s``, ``message``, ``frozen`` (groups),
    ``rates`` (group to rate), ``memory_mb``, ``gpu_memory_mb``, ``updated``. Rewritten every few seconds.
``metrics.csv``
    One row per measurement. A resumed run begins with the rows of its checkpoint, whatever has become of the file; one
    that is not its own is put aside as ``metrics.aside-1.csv``.
``last.safetensors``, ``best.safetensors``
    State to go on from; weights of the best epoch, ready for ``predict``.
``samples/``
    Predictions of the last validation as PNG.
``stop``
    Whoever makes this file asks the run to write a checkpoint and end.
``.lock``
    Held by the process that trains (and, for a moment, by the launcher), so that no other writes into the folder. The
    system gives it back when the process ends, however it ends.
"""

from __future__ import annotations

import csv
import io
import json
import math
import os
import shutil
import socket
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final

import psutil
from filelock import FileLock, Timeout

from sai_core.environment import run_environment
from sai_core.errors import EnvironmentProblem, InputError
from sai_core.files import atomic_write

LOCK_NAME: Final[str] = ".lock"
CHECKPOINTS: Final[tuple[str, str]] = ("last.safetensors", "best.safetensors")
_STATUS_SECONDS: Final[float] = 2.0
_LAUNCHER_S: Final[float] = 5.0
"""The launcher holds the lock until it has noted the process that it started."""


@contextmanager
def run_lock(run: Path, *, wait_s: float = 0.0) -> Iterator[None]:
    """Hold the lock of a run folder.

    Raises
    ------
    InputError
        Another process holds it.
    EnvironmentProblem
        The folder cannot be written.
    """
    lock = FileLock(run / LOCK_NAME, mode=0o600)
    try:
        lock.acquire(timeout=wait_s, poll_interval=0.05)
    except Timeout:
        raise InputError(
            f"{run}: this run is running, or is just being started, in another process; stop it first."
        ) from None
    except (OSError, NotImplementedError) as error:
        raise EnvironmentProblem(
            f"{run}: cannot be locked ({getattr(error, 'strerror', None) or error}); check that the folder is writable."
        ) from error
    try:
        yield
    finally:
        lock.release()


class RunFolder:
    """Writes into the folder of a run.

    Parameters
    ----------
    path : Path
    columns : sequence of str
        Of ``metrics.csv``: what places a row (such as ``epoch``, ``step``, ``seconds``, ``kind``), then figures.
    silent : bool
        Write nothing: one of several processes that share a run's work, of which another writes.
    """

    def __init__(self, path: Path, *, columns: Sequence[str] = (), silent: bool = False) -> None:
        self.path = Path(path)
        self.columns, self.silent = tuple(columns), silent
        self.history = b""
        """All that this run has written into ``metrics.csv``; checkpoints keep it."""

        self._last_status = 0.0
        self._status: dict[str, Any] = {}
        self._asked = False
        self._process = psutil.Process()

    @contextmanager
    def held(self) -> Iterator[None]:
        """Hold the run: no other process trains into this folder, or deletes it. Makes the folder.

        Raises
        ------
        InputError
            A process trains it.
        EnvironmentProblem
            It cannot be written.
        """
        if self.silent:
            yield
            return
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self.path.mkdir(mode=0o700, exist_ok=True)
        except OSError as error:
            raise EnvironmentProblem(f"{self.path}: cannot be made ({error.strerror or error}).") from error
        with run_lock(self.path, wait_s=_LAUNCHER_S):
            yield

    @property
    def last(self) -> Path:
        """Checkpoint to go on from."""
        return self.path / CHECKPOINTS[0]

    @property
    def best(self) -> Path:
        """Weights of the best epoch."""
        return self.path / CHECKPOINTS[1]

    def refuse_old(self) -> None:
        """Raise :class:`InputError` where there is a run in the folder already."""
        if (self.path / "config.json").exists():
            raise InputError(f"{self.path}: there is a run in this folder already; give --resume, or another folder.")

    def begin(self, config: Mapping[str, Any]) -> None:
        """Note the settings of a new run.

        Raises
        ------
        InputError
            There is a run in the folder already.
        EnvironmentProblem
            It cannot be written.
        """
        if self.silent:
            return
        self.refuse_old()
        self._write_json("environment.json", run_environment())
        self._write_json("config.json", config)

    def config(self) -> dict[str, Any]:
        """Settings of the run.

        Raises
        ------
        InputError
            There is no run here.
        """
        path = self.path / "config.json"
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError, RecursionError) as error:
            raise InputError(
                f"{path}: cannot be read ({error}); check that {self.path} is the folder of a run."
            ) from error
        if not isinstance(content, dict):
            raise InputError(f"{path}: an object is needed.")
        return content

    def commit(self) -> str:
        """Commit of the program that began the run."""
        try:
            return str(json.loads((self.path / "environment.json").read_text(encoding="utf-8"))["commit"])
        except (OSError, ValueError, KeyError, TypeError):
            return "unknown"

    def status(self, *, force: bool = False, **changes: Any) -> None:
        """Change the status; written at most every two seconds unless forced."""
        if self.silent:
            return
        self._status.update(changes)
        now = time.time()
        if not force and now - self._last_status < _STATUS_SECONDS:
            return
        self._last_status = now
        facts = {
            "state": "running",
            "pid": self._process.pid,
            "pid_started": self._process.create_time(),
            "host": socket.gethostname(),
            "epoch": 0,
            "epochs": 0,
            "step": 0,
            "steps": 0,
            "frames_per_s": None,
            "eta_s": None,
            "message": "",
            "frozen": [],
            "rates": {},
            "gpu_memory_mb": None,
            **self._status,
            "memory_mb": round(self._process.memory_info().rss / 2**20, 1),
            "updated": now,
        }
        self._write_json("status.json", _finite(facts))

    def stop_wanted(self) -> bool:
        """Whether somebody asked the run to end."""
        return self._asked or (self.path / "stop").exists()

    def ask_to_stop(self) -> None:
        """Wish for the end from within this process."""
        self._asked = True

    def clear_stop(self, *, stale_only: bool = False) -> None:
        """Forget the wish: after it was granted, or, with ``stale_only``, one from before this process began.

        A run can be asked to stop between its launch and its first step; that wish counts.
        """
        if self.silent:
            return
        path = self.path / "stop"
        with suppress(OSError):
            if not stale_only or path.stat().st_mtime < self._process.create_time():
                path.unlink(missing_ok=True)

    def append(self, row: Mapping[str, float | int | str]) -> None:
        """Add a row to ``metrics.csv``, whole or not at all.

        Raises
        ------
        EnvironmentProblem
            The disk is full or the folder cannot be written.
        """
        if self.silent:
            return
        path = self.path / "metrics.csv"
        text = io.StringIO()
        writer = csv.DictWriter(text, fieldnames=self.columns, lineterminator="\n", restval="")
        if not self.history:
            writer.writeheader()
        writer.writerow({k: _plain(v) for k, v in row.items()})
        content = text.getvalue().encode()
        try:
            with open(path, "ab", buffering=0) as stream:
                size = stream.seek(0, os.SEEK_END)
                try:
                    written = 0
                    while written < len(content):  # a disk that fills takes a part, and tells the reason the next time
                        written += stream.write(content[written:])
                except OSError:
                    # the part that found room would stand before the next row
                    stream.truncate(size)
                    raise
        except OSError as error:
            raise EnvironmentProblem(f"{path}: cannot be written ({error.strerror or error}).") from error
        self.history += content

    def restore(self, history: bytes | None) -> str:
        """Begin with the rows of a checkpoint; rows behind it are made again.

        Parameters
        ----------
        history : bytes or None
            None: the checkpoint has none, being of an older version.

        Returns
        -------
        str
            What was put aside, in one sentence; "" where the file was what this run had written.

        Raises
        ------
        EnvironmentProblem
            The file cannot be read or written.
        """
        if self.silent:
            return ""
        path = self.path / "metrics.csv"
        self.history = history or b""
        begin = self.history or (",".join(self.columns) + "\n").encode()
        note = ""
        try:
            found = path.read_bytes() if path.exists() else b""
            if found.strip() and (history is None or not (found.startswith(begin) or begin.startswith(found))):
                aside = self._free_name("metrics.aside", ".csv")
                os.replace(path, aside)
                note = f"{path}: this is not what the run wrote; it was put aside as {aside.name}."
            with atomic_write(path) as stream:
                stream.write(self.history)
        except OSError as error:
            raise EnvironmentProblem(f"{path}: cannot be read ({error.strerror or error}).") from error
        return note

    def _free_name(self, stem: str, suffix: str) -> Path:
        number = 1
        while (self.path / f"{stem}-{number}{suffix}").exists():
            number += 1
        return self.path / f"{stem}-{number}{suffix}"

    def how_far(self) -> str:
        """Where it stopped, in one sentence."""
        step, steps = self._status.get("step", 0), self._status.get("steps", 0)
        return f"Stopped at step {step} of {steps}." if steps else "Stopped."

    def save_sample(self, name: str, png: bytes) -> None:
        """Write one picture of the last validation."""
        with atomic_write(self.path / "samples" / f"{name}.png") as stream:
            stream.write(png)

    def clear_samples(self) -> None:
        """Remove the pictures of an earlier validation."""
        shutil.rmtree(self.path / "samples", ignore_errors=True)

    def _write_json(self, name: str, content: Mapping[str, Any]) -> None:
        with atomic_write(self.path / name, "w") as stream:
            json.dump(content, stream, indent=1)


def _plain(value: float | int | str) -> str:
    # repr keeps every bit, so that equal runs have equal files
    return repr(value) if isinstance(value, float) else str(value)


def _finite(value: Any) -> Any:
    """JSON has no NaN: whoever reads the status gets null instead."""
    if isinstance(value, Mapping):
        return {k: _finite(v) for k, v in value.items()}
    return None if isinstance(value, float) and not math.isfinite(value) else value
