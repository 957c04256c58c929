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
    One row per measurement, only ever appended to (a resumed run first drops the rows behind its checkpoint).
``tensorboard/``
    The same figures as event files.
``last.safetensors``, ``best.safetensors``
    State to go on from; weights of the best epoch, ready for ``predict``.
``samples/``
    Predictions of the last validation as PNG.
``stop``
    Whoever makes this file asks the run to write a checkpoint and end.
"""

from __future__ import annotations

import csv
import io
import json
import math
import os
import shutil
import socket
import struct
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import psutil

from sai_core.environment import run_environment
from sai_core.errors import EnvironmentProblem, InputError
from sai_core.files import atomic_write

_STATUS_SECONDS: Final[float] = 2.0


class RunFolder:
    """Writes into the folder of a run.

    Parameters
    ----------
    path : Path
    columns : sequence of str
        Of ``metrics.csv``; begins with ``epoch``, ``step``, ``seconds``, ``kind``, figures follow.
    """

    def __init__(self, path: Path, *, columns: Sequence[str] = ()) -> None:
        self.path = Path(path)
        self.columns = tuple(columns)
        self._last_status = 0.0
        self._status: dict[str, Any] = {}
        self._events: EventFile | None = None
        self._asked = False
        self._process = psutil.Process()

    @property
    def last(self) -> Path:
        """Checkpoint to go on from."""
        return self.path / "last.safetensors"

    @property
    def best(self) -> Path:
        """Weights of the best epoch."""
        return self.path / "best.safetensors"

    def begin(self, config: Mapping[str, Any]) -> None:
        """Make the folder of a new run.

        Raises
        ------
        InputError
            There is a run in it already.
        EnvironmentProblem
            It cannot be written.
        """
        if (self.path / "config.json").exists():
            raise InputError(f"{self.path}: there is a run in this folder already; give --resume, or another folder.")
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
        except (OSError, ValueError) as error:
            raise InputError(f"{path}: cannot be read ({error}); is {self.path} the folder of a run?") from error
        if not isinstance(content, dict):
            raise InputError(f"{path}: an object is needed.")
        return content

    def status(self, *, force: bool = False, **changes: Any) -> None:
        """Change the status; written at most every two seconds unless forced."""
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
        self._write_json("status.json", facts)

    def stop_wanted(self) -> bool:
        """Whether somebody asked the run to end."""
        return self._asked or (self.path / "stop").exists()

    def ask_to_stop(self) -> None:
        """Wish for the end from within this process."""
        self._asked = True

    def clear_stop(self) -> None:
        """Forget the wish, at the start of a run that goes on and after it was granted."""
        with suppress(OSError):
            (self.path / "stop").unlink(missing_ok=True)

    def append(self, row: Mapping[str, float | int | str]) -> None:
        """Add a row to ``metrics.csv`` and its figures to the event file.

        Raises
        ------
        EnvironmentProblem
            The disk is full or the folder cannot be written.
        """
        path = self.path / "metrics.csv"
        text = io.StringIO()
        writer = csv.DictWriter(text, fieldnames=self.columns, lineterminator="\n", restval="")
        try:
            if not path.exists():
                writer.writeheader()
            writer.writerow({k: _plain(v) for k, v in row.items()})
            with open(path, "a", encoding="utf-8") as stream:
                stream.write(text.getvalue())
            if self._events is None:
                self._events = EventFile(self.path / "tensorboard")
            kind = str(row["kind"])
            scalars = {
                f"{kind}/{name}": float(row[name])
                for name in self.columns[4:]
                if name in row and math.isfinite(float(row[name]))
            }
            self._events.write(scalars, step=int(row["step"]))
        except OSError as error:
            raise EnvironmentProblem(f"{path}: cannot be written ({error.strerror or error}).") from error

    def forget_after(self, step: int) -> None:
        """Drop rows of steps that will be made again: they were written after the last checkpoint."""
        path = self.path / "metrics.csv"
        if not path.exists():
            return
        header, *rows = path.read_text(encoding="utf-8").splitlines()
        column = header.split(",").index("step")
        kept = []
        for row in rows:
            cells = row.split(",")
            # a row that a kill cut off has fewer cells
            if len(cells) == len(self.columns) and cells[column].isdigit() and int(cells[column]) <= step:
                kept.append(row)
        with atomic_write(path, "w") as stream:
            stream.write("\n".join([header, *kept]) + "\n")

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


class EventFile:
    """TensorBoard event file with scalars.

    The format is a sequence of records (length, masked CRC-32C of the length, protocol buffer, masked CRC-32C of the
    buffer); scalars need three of the message's fields, which are written here, so that no package has to be
    installed for it.

    Parameters
    ----------
    folder : Path
        A new file in it for each process that writes.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        now = time.time()
        self.path = folder / f"events.out.tfevents.{int(now * 1000)}.{os.getpid()}"
        self._record(_double(1, now) + _bytes(3, b"brain.Event:2"))

    def write(self, scalars: Mapping[str, float], *, step: int) -> None:
        """Append scalars of one step."""
        if not scalars:
            return
        values = b"".join(_bytes(1, _bytes(1, tag.encode()) + _float(2, value)) for tag, value in scalars.items())
        self._record(_double(1, time.time()) + _varint_field(2, step) + _bytes(5, values))

    def _record(self, payload: bytes) -> None:
        length = struct.pack("<Q", len(payload))
        record = length + struct.pack("<I", _masked_crc(length)) + payload + struct.pack("<I", _masked_crc(payload))
        with open(self.path, "ab") as stream:
            stream.write(record)


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def _varint_field(number: int, value: int) -> bytes:
    return _varint(number << 3) + _varint(value)


def _bytes(number: int, value: bytes) -> bytes:
    return _varint(number << 3 | 2) + _varint(len(value)) + value


def _double(number: int, value: float) -> bytes:
    return _varint(number << 3 | 1) + struct.pack("<d", value)


def _float(number: int, value: float) -> bytes:
    return _varint(number << 3 | 5) + struct.pack("<f", value)


def _crc_table() -> Sequence[int]:
    table = []
    for byte in range(256):
        value = byte
        for _ in range(8):
            value = value >> 1 ^ (0x82F63B78 if value & 1 else 0)
        table.append(value)
    return table


_CRC: Final[Sequence[int]] = _crc_table()


def _masked_crc(data: bytes) -> int:
    value = 0xFFFFFFFF
    for byte in data:
        value = _CRC[(value ^ byte) & 0xFF] ^ value >> 8
    value ^= 0xFFFFFFFF
    return ((value >> 15 | value << 17) + 0xA282EAD8) & 0xFFFFFFFF
