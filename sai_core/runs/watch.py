"""What a run folder tells, for pages: state, curves, log, samples. Reads only, and believes nothing it reads.

A run folder holds what the training wrote (``config.json``, ``environment.json``, ``status.json``, ``metrics.csv``,
``samples/*.png``, checkpoints) and what the launcher wrote (``launch.json``, ``exit.json``, ``log.txt``). Each may be
missing: runs that were started on the command line have no ``launch.json``, and old runs have no ``status.json``.

The truth about a run is its folder and its process, never the memory of the app: two tabs, or the app after a
restart, see the same. A process counts as the run's own only if its number, its time of creation and the run folder
in its command line all fit, since numbers are used again.
"""

from __future__ import annotations

import io
import json
import os
import re
import socket
import stat
import threading
import time
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd
import psutil

from sai_core.errors import InputError
from sai_core.runs import executors
from sai_core.runs.notes import NOTES_NAME, notes_from

RunState = Literal[
    "waiting", "starting", "running", "stopping", "finished", "stopped", "failed", "interrupted", "unknown"
]
ACTIVE: Final[frozenset[str]] = frozenset(("waiting", "starting", "running", "stopping"))

LAUNCH_NAME: Final[str] = "launch.json"
STATUS_NAME: Final[str] = "status.json"
_FINAL: Final[frozenset[str]] = frozenset(("finished", "stopped", "failed"))
_MARKS: Final[tuple[str, ...]] = (LAUNCH_NAME, STATUS_NAME, "config.json")
"""A folder with one of these is a run."""

_STATUS_WHOLE: Final[tuple[str, ...]] = ("epoch", "epochs", "step", "steps", "pid")
_STATUS_NUMBERS: Final[tuple[str, ...]] = (
    "frames_per_s",
    "eta_s",
    "memory_mb",
    "gpu_memory_mb",
    "updated",
    "pid_started",
)
_STATUS_WORDS: Final[tuple[str, ...]] = ("state", "message", "host")
_MAX_GROUPS: Final[int] = 64
_MAX_WORD: Final[int] = 80
_MAX_DEPTH: Final[int] = 32
_MAX_COLUMNS: Final[int] = 256
_MAX_PID: Final[int] = 2**31 - 1
_FAR_FUTURE_S: Final[float] = 4e9
"""No moment of a run lies behind the year 2096."""

_LARGEST: Final[float] = 2.0**53
"""No figure of a run is larger; up to here whole numbers are exact."""

_MAX_RUNS: Final[int] = 500
_MAX_JSON_BYTES: Final[int] = 4 << 20
_MAX_METRICS_BYTES: Final[int] = 64 << 20
_MAX_LOG_BYTES: Final[int] = 256 << 10
_MAX_SEARCH_BYTES: Final[int] = 16 << 20
_MAX_SAMPLE_BYTES: Final[int] = 16 << 20
_SAME_START_S: Final[float] = 2.0
"""The kernel's clock of creation times wanders by less than this when the system's clock is corrected."""

_SILENT_S: Final[float] = 600.0
"""A run on another machine that has not written its status for so long counts as interrupted."""

_STARTING_S: Final[float] = 30.0
"""Between the description of a launch and its process lie milliseconds, or a slow batch system."""

_NO_TERM: Final[frozenset[str]] = frozenset(("epoch", "step", "stage", "seconds", "kind", "time", "frames_per_s"))
_RATE = re.compile(r"^(?:rate|lr|learning_rate)(?:[_./:](.+))?$")
_SCORE = re.compile(r"^(?:m?ap\d*|ap_?\d+|pearson(?:_r)?|recall|precision|f\d+|error_deg)$", re.IGNORECASE)
_BEST: Final[tuple[str, ...]] = ("map", "ap50", "ap25", "ap75", "f20")
"""Scores of which the highest is a run's figure; the first that it has."""

_MEMORY = re.compile(r"memory", re.IGNORECASE)
_ESCAPES = re.compile(r"\x1b\[[0-9;?]*[ -/]*[@-~]|[\x00-\x08\x0b-\x1f\x7f]")


@dataclass(frozen=True, kw_only=True)
class RunSummary:
    """One run at a glance.

    Attributes
    ----------
    path, name : Path, str
        Folder, and its path below the runs folder.
    kind : str
        ``detector``, ``uplam``, ...
    state : RunState
        ``interrupted``: its process is gone and it had not ended; ``unknown``: it never told a state.
    message : str
        One sentence; "" when there is nothing to tell.
    epoch, epochs, step, steps : int
        0 when unknown.
    best_score, best_name : float or None, str
        Highest validation score in the metrics, and which one it is: ``mAP`` before ``AP50``; the teacher's ``f20``.
    frames_per_s, eta_s, memory_mb, gpu_memory_mb : float or None
    rates, frozen : dict, tuple of str
        Learning rate of each group of layers; groups that do not learn now.
    created, updated : float
        Seconds since 1970.
    host, pid, job_id, executor : str, int, str, str
        Where it runs.
    resumable, launched : bool
        It has a checkpoint (or can start anew); it was started by the launcher and can be cloned.
    stop_asked_s : float or None
        Seconds since it was asked to stop.
    note, tags : str, tuple of str
        What people keep with it (:mod:`sai_core.runs.notes`).
    """

    path: Path
    name: str
    kind: str
    state: RunState
    message: str = ""
    epoch: int = 0
    epochs: int = 0
    step: int = 0
    steps: int = 0
    best_score: float | None = None
    best_name: str = ""
    frames_per_s: float | None = None
    eta_s: float | None = None
    memory_mb: float | None = None
    gpu_memory_mb: float | None = None
    rates: Mapping[str, float]
    frozen: tuple[str, ...] = ()
    created: float = 0.0
    updated: float = 0.0
    host: str = ""
    pid: int = 0
    job_id: str = ""
    executor: str = "local"
    resumable: bool = False
    launched: bool = False
    stop_asked_s: float | None = None
    note: str = ""
    tags: tuple[str, ...] = ()

    @property
    def active(self) -> bool:
        """Whether something of it runs or waits."""
        return self.state in ACTIVE

    @property
    def fraction(self) -> float | None:
        """How far it is, in [0, 1]; ``None`` when it does not tell."""
        if self.steps > 0:
            return min(1.0, self.step / self.steps)
        return min(1.0, self.epoch / self.epochs) if self.epochs > 0 else None


@dataclass(frozen=True)
class Curve:
    """One column of the metrics.

    Attributes
    ----------
    name : str
        Loss term, score, or group of layers.
    part : {"train", "validation", "score", "rate"}
    step, epoch, hours, value : float64, shape (n,)
        In the order of the file; NaN where the file has no such column.
    """

    name: str
    part: Literal["train", "validation", "score", "rate"]
    step: npt.NDArray[np.float64]
    epoch: npt.NDArray[np.float64]
    hours: npt.NDArray[np.float64]
    value: npt.NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.value)

    def thinned(self, max_points: int) -> Curve:
        """At most so many points, each the mean of a stretch; itself when it is short enough."""
        if len(self) <= max_points:
            return self
        edges = np.linspace(0, len(self), max_points + 1).astype(np.int64)[:-1]
        counts = np.diff(np.append(edges, len(self)))
        means = [np.add.reduceat(v, edges) / counts for v in (self.step, self.epoch, self.hours, self.value)]
        return Curve(self.name, self.part, *means)


@dataclass(frozen=True)
class LogTail:
    """End of a log, or its lines that hold a text.

    Attributes
    ----------
    lines : tuple of str
        Oldest first; without control characters.
    n_found : int
        Lines that fitted, also those that are not in ``lines``.
    cut : bool
        The log goes back further than was looked at.
    n_bytes : int
        Size of the file.
    """

    lines: tuple[str, ...] = ()
    n_found: int = 0
    cut: bool = False
    n_bytes: int = 0


def list_runs(folder: Path) -> tuple[RunSummary, ...]:
    """Runs in a folder and in its sub-folders' first level, newest first; nothing for a folder that is not there.

    Links are not followed, so that nothing outside the folder is shown.
    """
    found = []
    for path, name in _run_folders(Path(folder)):
        try:
            found.append(look(path, name=name))
        except OSError:  # deleted while we looked
            continue
        if len(found) >= _MAX_RUNS:
            break
    return tuple(sorted(found, key=lambda run: (-run.created, run.name)))


def is_run(path: Path) -> bool:
    """Whether a folder is a run."""
    return any((path / mark).is_file() for mark in _MARKS)


def holds_runs(folder: Path) -> bool:
    """Whether there is a run in a folder, as :func:`list_runs` finds them."""
    return bool(_run_folders(folder))


def look(run: Path, *, name: str = "") -> RunSummary:
    """Look at a run: its files and its process.

    Parameters
    ----------
    run : Path
        Run folder.
    name : str
        How it is called; the folder's name when left out.
    """
    run = Path(run)
    launch, ended = read_json(run / LAUNCH_NAME), read_json(run / "exit.json")
    status, damage = _read_status(run)
    state, message = _state(run, launch, status, ended)
    if damage and state not in ACTIVE:
        state, message = "unknown", damage
    started = _mapping(launch.get("started"))
    best_score, best_name = best_of(run)
    config = read_json(run / "config.json") if not launch else {}
    stop = _mtime(run / executors.STOP_NAME)
    active = state in ACTIVE
    rates = {k[:_MAX_WORD]: v for k, v in _mapping(status.get("rates")).items()}
    frozen = status.get("frozen")
    executor = _mapping(launch.get("executor"))
    kept = notes_from(read_json(run / NOTES_NAME))
    return RunSummary(
        path=run,
        name=name or run.name,
        kind=_word(launch.get("kind")) or _guess_kind(config),
        state=state,
        message=message,
        epoch=_whole(status.get("epoch")),
        epochs=_whole(status.get("epochs")),
        step=_whole(status.get("step")),
        steps=_whole(status.get("steps")),
        best_score=best_score,
        best_name=best_name,
        frames_per_s=_number(status.get("frames_per_s")),
        eta_s=_number(status.get("eta_s")) if active else None,
        memory_mb=_number(status.get("memory_mb")),
        gpu_memory_mb=_number(status.get("gpu_memory_mb")),
        rates=rates,
        frozen=tuple(item[:_MAX_WORD] for item in frozen) if isinstance(frozen, list) else (),
        created=_moment(launch.get("created")) or _oldest(run),
        updated=_moment(status.get("updated")) or _mtime(run / "metrics.csv") or _oldest(run),
        host=_word(status.get("host")) or _word(started.get("host")),
        pid=_whole(status.get("pid") or started.get("pid")),
        job_id=_word(started.get("job_id")),
        executor=_word(executor.get("kind")) or "local",
        resumable=not active and state != "finished" and (run / "config.json").is_file(),
        launched=bool(launch),
        stop_asked_s=max(0.0, time.time() - stop) if stop and active else None,
        note=kept.note,
        tags=kept.tags,
    )


def find_process(run: Path, pid: object, created: object, host: object) -> psutil.Process | None:
    """The run's process with a number, a time of creation and a machine; ``None`` if it is gone or another's.

    Parameters
    ----------
    run : Path
    pid, created, host : object
        As they stood in a file; anything but a number, a number and this machine's name finds nothing.
    """
    number, wanted = _whole(pid), _number(created)
    if not 2 <= number <= _MAX_PID or wanted is None or str(host) != socket.gethostname():
        return None
    try:
        process = psutil.Process(number)
        if abs(process.create_time() - wanted) > _SAME_START_S or process.status() == psutil.STATUS_ZOMBIE:
            return None
        return process if _names(process, Path(run)) else None
    except (psutil.Error, OSError):
        return None


def processes(run: Path) -> tuple[psutil.Process, ...]:
    """Living processes of a run: the one that was launched and the one that trains, often the same."""
    launch, (status, _) = read_json(run / LAUNCH_NAME), _read_status(run)
    started = _mapping(launch.get("started"))
    found = [
        find_process(run, source.get("pid"), source.get("pid_started"), source.get("host"))
        for source in (started, status)
    ]
    unique = {process.pid: process for process in found if process is not None}
    return tuple(unique.values())


def read_curves(run: Path, *, max_points: int = 600) -> tuple[Curve, ...]:
    """Curves of ``metrics.csv``: loss terms, scores, learning rates; remembered until the file changes.

    Two layouts are understood: a column ``kind`` that says ``train`` or ``validation`` of each row, and columns named
    ``train_<term>`` and ``validation_<term>``. Rows that are not whole (a run writes just now) are left out.
    """
    path = Path(run) / "metrics.csv"
    try:
        status = path.stat()
    except OSError:
        return ()
    key = (str(path.absolute()), status.st_size, status.st_mtime_ns, max_points)
    with _curves_lock:
        if key in _curves:
            _curves.move_to_end(key)
            return _curves[key]
    made = tuple(curve.thinned(max_points) for curve in _curves_of(_table(path)))
    with _curves_lock:
        for old in [k for k in _curves if k[0] == key[0] and k[3] == max_points]:
            del _curves[old]
        _curves[key] = made
        while len(_curves) > 2 * _MAX_RUNS:
            _curves.popitem(last=False)
    return made


def best_of(run: Path) -> tuple[float | None, str]:
    """Highest validation score in the metrics and its name: ``mAP`` if there is one, else ``AP50`` and so on."""
    scores = {c.name.lower(): c for c in read_curves(run, max_points=100_000) if c.part == "score" and len(c)}
    for name in _BEST:
        if name in scores:
            return float(scores[name].value.max()), scores[name].name
    return None, ""


def read_log(run: Path, *, query: str = "", max_lines: int = 400) -> LogTail:
    """End of the log, or the last of its lines that hold a text (small and capital letters are the same)."""
    path = Path(run) / executors.LOG_NAME
    look_back = _MAX_SEARCH_BYTES if query else _MAX_LOG_BYTES
    content = _read_file(path, look_back, from_end=True)
    if content is None:
        return LogTail()
    n_bytes = max(_size(path), len(content))
    start = n_bytes - len(content)
    text = content.decode("utf-8", errors="replace")
    lines = text.split("\n")
    if start:
        lines = lines[1:]  # cut in its middle
    # of a progress bar that overwrote itself, what it said last
    shown = [_ESCAPES.sub("", line.rstrip("\r").rsplit("\r", 1)[-1]) for line in lines]
    shown = [line[:2000] for line in shown if line.strip()]
    if query:
        shown = [line for line in shown if query.lower() in line.lower()]
    return LogTail(tuple(shown[-max_lines:]), len(shown), bool(start) or len(shown) > max_lines, n_bytes)


def read_samples(run: Path, *, limit: int = 200) -> tuple[Path, ...]:
    """Pictures of sample predictions, newest first; no links, no huge files."""
    found = []
    try:
        with os.scandir(Path(run) / "samples") as entries:
            for entry in entries:
                if entry.name.lower().endswith(".png") and entry.is_file(follow_symlinks=False):
                    status = entry.stat(follow_symlinks=False)
                    if 0 < status.st_size <= _MAX_SAMPLE_BYTES:
                        found.append((status.st_mtime_ns, entry.name, Path(entry.path)))
    except OSError:
        return ()
    return tuple(path for _, _, path in sorted(found, reverse=True)[:limit])


def read_json(path: Path) -> dict[str, Any]:
    """Object in a JSON file; empty when it is missing, too large, nested too deeply or something else.

    Texts can be shown and sent: what is no character is replaced.
    """
    content = _read_file(path, _MAX_JSON_BYTES + 1)
    if content is None or len(content) > _MAX_JSON_BYTES:
        return {}
    try:
        raw = json.loads(content.decode("utf-8"))
        return _readable(raw) if isinstance(raw, dict) else {}
    except (ValueError, RecursionError):
        return {}


def showable(value: Any) -> Any:
    """What :func:`read_json` gave, with numbers that JSON or a browser cannot hold as text."""
    if isinstance(value, dict):
        return {key: showable(item) for key, item in value.items()}
    if isinstance(value, list):
        return [showable(item) for item in value]
    return value if isinstance(value, (bool, str)) or value is None or _number(value) is not None else _long(value)


def read_text(path: Path, *, max_bytes: int = 256 << 10) -> str:
    """Text of a small file (a recipe).

    Raises
    ------
    InputError
        It cannot be read, or is no text.
    """
    content = _read_file(path, max_bytes)
    if content is None:
        raise InputError(f"{path}: cannot be read; is it a file?")
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: this is not a text file.") from error


def attempt_of(launch: Mapping[str, Any]) -> int:
    """How often a run was started, from its ``launch.json``."""
    return max(1, _whole(launch.get("attempt")))


_Key = tuple[str, int, int, int]
_curves: OrderedDict[_Key, tuple[Curve, ...]] = OrderedDict()
_curves_lock = threading.Lock()


def _run_folders(folder: Path) -> list[tuple[Path, str]]:
    found = []
    for path in _sub_folders(folder):
        if is_run(path):
            found.append((path, shown(path.name)))
        else:
            found += [(p, shown(f"{path.name}/{p.name}")) for p in _sub_folders(path) if is_run(p)]
    return found


def shown(name: str | Path) -> str:
    """A file name that can be shown; those in another encoding than UTF-8 hold what is no character."""
    return str(name).encode("utf-8", errors="backslashreplace").decode("utf-8")


def _sub_folders(folder: Path) -> list[Path]:
    try:
        with os.scandir(folder) as entries:
            return sorted(
                Path(e.path) for e in entries if not e.name.startswith(".") and e.is_dir(follow_symlinks=False)
            )
    except OSError:
        return []


def _read_status(run: Path) -> tuple[dict[str, Any], str]:
    """The status, or nothing and what is wrong with it: one that holds one impossible value is not believed at all."""
    status = read_json(run / STATUS_NAME)
    if not status:
        return {}, f"{STATUS_NAME} cannot be read." if _mtime(run / STATUS_NAME) else ""
    frozen = status.get("frozen", [])
    bad = [name for name in _STATUS_WHOLE if status.get(name) is not None and not _is_count(status[name])]
    bad += [name for name in _STATUS_NUMBERS if status.get(name) is not None and _number(status[name]) is None]
    bad += [name for name in _STATUS_WORDS if not isinstance(status.get(name, ""), str)]
    rates = status.get("rates", {})
    if not isinstance(rates, dict) or len(rates) > _MAX_GROUPS or not all(map(_is_rate, rates.values())):
        bad.append("rates")
    if not isinstance(frozen, list) or len(frozen) > _MAX_GROUPS or not all(isinstance(item, str) for item in frozen):
        bad.append("frozen")
    if bad:
        return {}, f"{STATUS_NAME} is not valid: {', '.join(bad)}."
    status["rates"] = {name: rate for name, rate in rates.items() if rate is not None}
    return status, ""


def _state(
    run: Path, launch: Mapping[str, Any], status: Mapping[str, Any], ended: Mapping[str, Any]
) -> tuple[RunState, str]:
    started = _mapping(launch.get("started"))
    launched = _moment(launch.get("launched"))
    state, updated = str(status.get("state", "")), _moment(status.get("updated"))
    # what an earlier attempt said last says nothing about this one
    before = _moment(launch.get("status_before"))
    current = bool(status) and updated >= launched - 1.0 and (not before or updated != before)
    message, silence = _sentence(status.get("message")) if current else "", ""
    alive = any(
        find_process(run, source.get("pid"), source.get("pid_started"), source.get("host")) is not None
        for source in (started, status)
    ) or executors.is_watched(run.absolute())
    if not alive and launch:
        executor = _executor(launch)
        job = executors.job_state(executor, _word(started.get("job_id"))) if executor is not None else ""
        if job in ("PENDING", "CONFIGURING", "REQUEUED", "SUSPENDED"):
            return "waiting", f"Slurm: {job.lower()}"
        alive = bool(job)
    if not alive and current and state == "running" and str(status.get("host")) != socket.gethostname():
        # out of sight: all that another machine tells is its status
        silent = time.time() - updated
        if silent < _SILENT_S:
            alive = True
        else:
            silence = f"No update from {_word(status.get('host')) or 'it'} for {round(silent / 60)} min."
    if alive:
        if current and state in _FINAL:
            return state, message  # type: ignore[return-value]  # about to end
        if (run / executors.STOP_NAME).exists():
            return "stopping", message
        return ("running" if current else "starting"), message
    if current and state in _FINAL:
        return state, message  # type: ignore[return-value]
    if launch and not started and time.time() - launched < _STARTING_S:
        return "starting", ""
    return _without_process(run, launch, bool(status) and current, _exit_code(started, ended), silence)


def _without_process(
    run: Path, launch: Mapping[str, Any], has_status: bool, code: int | None, silence: str
) -> tuple[RunState, str]:
    """State of a run whose process is gone and which has not told an end."""
    if not launch and not has_status:
        return "unknown", "It keeps no status file; its curves and checkpoints are shown."
    if code is not None and code > 0:
        return "failed", last_words(run) or f"It ended with exit code {code}."
    if code == 0 and not has_status:
        return "finished", ""
    if not has_status and (run / executors.STOP_NAME).exists():
        return "stopped", "It was stopped before it began."
    if code is not None and code < 0:
        return "interrupted", f"Its process was ended by signal {-code}."
    # nobody waited for the process (the app was started anew meanwhile), but the log may tell why it ended
    if launch and code is None and (error := _error_in(_last_attempt(run))):
        return "failed", error
    return "interrupted", silence or "Its process is gone."


def last_words(run: Path) -> str:
    """What the log's last attempt says of an error: our own sentence, else a Python error, else its last line."""
    lines = _last_attempt(run)
    return _error_in(lines) or (_sentence(lines[-1]) if lines else "")


def _last_attempt(run: Path) -> list[str]:
    """End of the log, from the last start on."""
    lines = list(read_log(run).lines)
    starts = [index for index, line in enumerate(lines) if line.startswith(executors.ATTEMPT_MARK)]
    return lines[starts[-1] + 1 :] if starts else lines


def _error_in(lines: list[str]) -> str:
    for pattern in (r"^error: (.*)", r"^((?!.*ChildFailedError)[\w.]*(?:Error|Exception|Interrupt)\b.*)"):
        for line in reversed(lines):
            if found := re.match(pattern, line):
                return _sentence(found.group(1))
    return ""


def _exit_code(started: Mapping[str, Any], ended: Mapping[str, Any]) -> int | None:
    same = all(ended.get(name) == started.get(name) for name in ("pid", "job_id"))
    if not started or not same:
        return None
    code = ended.get("code")
    return code if isinstance(code, int) and not isinstance(code, bool) and abs(code) < 2**31 else None


def _executor(launch: Mapping[str, Any]) -> executors.Executor | None:
    try:
        return executors.from_plain(_mapping(launch.get("executor")))
    except InputError:
        return None


def _names(process: psutil.Process, run: Path) -> bool:
    """Whether a process's command line holds the run folder, or something in it."""
    wanted = run.resolve()
    folder: Path | None = None
    for argument in process.cmdline()[1:]:
        text = argument.partition("=")[2] if argument.startswith("--") else argument
        if not text or len(text) > 4096 or "\n" in text:
            continue
        path = Path(text)
        if not path.is_absolute():
            if folder is None:
                folder = Path(process.cwd())
            path = folder / path
        if Path(os.path.realpath(path)).is_relative_to(wanted):
            return True
    return False


def _table(path: Path) -> pd.DataFrame:
    raw = _read_file(path, _MAX_METRICS_BYTES) or b""
    whole = raw[: raw.rfind(b"\n") + 1]  # the last row may be half written
    if whole.partition(b"\n")[0].count(b",") >= _MAX_COLUMNS:
        return pd.DataFrame()
    try:
        # as text: pandas' own guess stumbles over whole numbers of hundreds of digits
        return pd.read_csv(
            io.BytesIO(whole), on_bad_lines="skip", encoding_errors="replace", dtype=str, keep_default_na=False
        )
    except (ValueError, OverflowError, pd.errors.ParserError):
        return pd.DataFrame()


def _curves_of(table: pd.DataFrame) -> list[Curve]:
    columns = {str(name).strip(): _numbers(table[name]) for name in table.columns if str(name).strip() != "kind"}
    n = len(table)
    nothing = np.full(n, np.nan)
    step = _growing(columns.get("step", np.arange(n, dtype=np.float64)))
    epoch = columns.get("epoch", nothing)
    hours = columns.get("seconds", nothing) / 3600.0
    if "kind" in table.columns:
        kind = table["kind"].astype(str).str.strip().to_numpy()
    else:
        kind = np.full(n, "", dtype=object)
    curves = []
    for name, values in columns.items():
        if name in _NO_TERM or _MEMORY.search(name):
            continue
        for part, label, rows in _parts(name, kind):
            there = rows & np.isfinite(values) & np.isfinite(step)
            if there.any():
                curves.append(Curve(label, part, step[there], epoch[there], hours[there], values[there]))
    return curves


def _parts(
    name: str, kind: npt.NDArray[Any]
) -> list[tuple[Literal["train", "validation", "score", "rate"], str, npt.NDArray[np.bool_]]]:
    """What a column is: for each part, its label and rows."""
    everywhere = np.ones(len(kind), dtype=bool)
    rate = _RATE.match(name)
    if rate:
        return [("rate", rate.group(1) or "all", everywhere)]
    part, _, label = name.partition("_")
    bare = label if part in ("train", "validation") and label else name
    if _SCORE.match(bare):
        return [("score", bare, everywhere)]
    if bare != name:
        return [("train" if part == "train" else "validation", bare, everywhere)]
    return [("train", name, kind != "validation"), ("validation", name, kind == "validation")]


def _growing(step: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Steps counted through: in runs of several stages they begin anew with each."""
    if len(step) < 2:
        return step
    falls = np.diff(step) < 0
    return step + np.concatenate([[0.0], np.cumsum(np.where(falls, step[:-1], 0.0))])


def _numbers(column: pd.Series) -> npt.NDArray[np.float64]:
    values = pd.to_numeric(column, errors="coerce").to_numpy(dtype=np.float64)
    return np.where(np.abs(values) < _LARGEST, values, np.nan)


def _guess_kind(config: Mapping[str, Any]) -> str:
    if kind := _word(config.get("kind")):
        return kind
    return "uplam" if "stages" in config else "teacher" if "segment_frames" in config else "detector"


def _sentence(value: object) -> str:
    return _ESCAPES.sub(" ", str(value or "")).strip()[:500]


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _number(value: object) -> float | None:
    """A number that can be meant; None for everything else."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not -_LARGEST < value < _LARGEST:
        return None
    return float(value)


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < _LARGEST


def _is_rate(value: object) -> bool:
    return value is None or _number(value) is not None


def _whole(value: object) -> int:
    number = _number(value)
    return int(number) if number is not None and number >= 0 else 0


def _moment(value: object) -> float:
    """Seconds since 1970; 0 for what is none."""
    number = _number(value)
    return number if number is not None and 0 < number < _FAR_FUTURE_S else 0.0


def _word(value: object) -> str:
    return _ESCAPES.sub(" ", value)[:_MAX_WORD] if isinstance(value, str) else ""


def _long(value: object) -> str:
    if isinstance(value, int):
        return f"a whole number of {value.bit_length()} bits"
    return repr(value)[:_MAX_WORD]


def _readable(value: Any, depth: int = 0) -> Any:
    if depth > _MAX_DEPTH:
        raise ValueError("nested too deeply")
    if isinstance(value, str):
        return value.encode("utf-8", errors="replace").decode("utf-8")
    if isinstance(value, dict):
        return {_readable(key): _readable(item, depth + 1) for key, item in value.items()}
    return [_readable(item, depth + 1) for item in value] if isinstance(value, list) else value


def _read_file(path: Path, max_bytes: int, *, from_end: bool = False) -> bytes | None:
    """Bytes of a plain file; None for what is none: a pipe would never end, nor let us begin."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        with open(handle, "rb") as stream:
            if not stat.S_ISREG(os.fstat(handle).st_mode):
                return None
            if from_end:
                stream.seek(max(0, stream.seek(0, os.SEEK_END) - max_bytes))
            return stream.read(max_bytes)
    except (OSError, ValueError):
        return None


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0


def _mtime(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0


def _oldest(run: Path) -> float:
    times = [_mtime(run / name) for name in ("environment.json", "config.json", STATUS_NAME)]
    return min((t for t in times if t), default=0.0)
