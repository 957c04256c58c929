"""The review file: one embedded SQLite database with an append-only log.

* Write-ahead log with ``synchronous = FULL``: :meth:`ReviewStore.append` returns after the decision is on the disk, so
  that neither a killed process nor a power cut takes it back.
* Nothing is ever changed or deleted; triggers in the file refuse it.
* Any number of processes and threads may read and write at once; writers wait for each other.
* Every value goes in as a parameter.
* A line has an identifier of its own: appending or importing it again does nothing.

The default place is ``$XDG_DATA_HOME/sai-explorer/reviews`` (``~/.local/share/sai-explorer/reviews``), one file for
each data root, never inside the data root itself.
"""

from __future__ import annotations

import hashlib
import json
import os
import sqlite3
import threading
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

from sai_core.errors import EnvironmentProblem, InputError
from sai_core.files import atomic_write
from sai_core.review.entries import MAX_ENTRY_BYTES, TIME_FORMAT, Entry, check_reviewer, dumps, entry_from_json, new_uid
from sai_core.review.history import History

SCHEMA_VERSION: Final[int] = 1
APPLICATION_ID: Final[int] = 0x53414952
"""``SAIR``: marks our files, so that another program's database is never taken for a review."""

MAX_REVIEW_BYTES: Final[int] = 1 << 30
REVIEW_FORMAT: Final[str] = "sai-review"
_BUSY_S: Final[float] = 30.0
_COLUMNS: Final[str] = "uid, time_utc, reviewer, split, recording, item, action, ref, before, after, comment, tags"

_SCHEMA: Final[tuple[str, ...]] = (
    """CREATE TABLE log (
        seq INTEGER PRIMARY KEY AUTOINCREMENT,
        uid TEXT NOT NULL UNIQUE,
        time_utc TEXT NOT NULL,
        reviewer TEXT NOT NULL,
        split TEXT NOT NULL,
        recording TEXT NOT NULL,
        item TEXT NOT NULL,
        action TEXT NOT NULL,
        ref TEXT NOT NULL,
        before TEXT NOT NULL,
        after TEXT NOT NULL,
        comment TEXT NOT NULL,
        tags TEXT NOT NULL
    )""",
    "CREATE INDEX log_reviewer ON log (reviewer, time_utc)",
    "CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL)",
    "CREATE TRIGGER log_no_update BEFORE UPDATE ON log BEGIN SELECT RAISE(ABORT, 'the log is append-only'); END",
    "CREATE TRIGGER log_no_delete BEFORE DELETE ON log BEGIN SELECT RAISE(ABORT, 'the log is append-only'); END",
)


def default_review_path(data_root: Path) -> Path:
    """Review file of a data root under the user's data folder; not created here."""
    base = os.environ.get("XDG_DATA_HOME")
    folder = (Path(base) if base else Path.home() / ".local" / "share") / "sai-explorer" / "reviews"
    resolved = os.fsencode(Path(data_root).resolve())
    return folder / f"{hashlib.blake2b(resolved, digest_size=8).hexdigest()}.sqlite"


@dataclass(frozen=True)
class ImportReport:
    """What an import brought.

    Attributes
    ----------
    n_lines : int
        Lines of the file.
    n_new : int
        Lines that were not there before.
    reviewers : tuple of str
        Whose they are.
    """

    n_lines: int
    n_new: int
    reviewers: tuple[str, ...]


class ReviewStore:
    """A review file opened for reading and writing; safe to use from several threads.

    Parameters
    ----------
    path : Path
        Made, with its folder, when it is not there.
    data_root : Path, optional
        Noted in a new file, for people.

    Raises
    ------
    InputError
        The file is something else, damaged, or of a newer version of this program.
    EnvironmentProblem
        It cannot be made or opened.
    """

    def __init__(self, path: str | Path, *, data_root: Path | None = None) -> None:
        self.path = Path(path).expanduser()
        self._lock = threading.RLock()
        self._entries: list[Entry] = []
        self._last_seq = 0
        self._history: History | None = None
        if self.path.is_dir():
            raise InputError(f"{self.path}: is a folder; give the name of a review file.")
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._connection = sqlite3.connect(
                self.path, timeout=_BUSY_S, isolation_level=None, check_same_thread=False
            )
        except (OSError, sqlite3.Error) as error:
            raise EnvironmentProblem(f"{self.path}: the review file cannot be opened ({error}).") from error
        try:
            with self._errors():
                self._prepare(data_root)
            self._inode = os.stat(self.path).st_ino
        except BaseException:
            self._connection.close()
            raise

    def _prepare(self, data_root: Path | None) -> None:
        run = self._connection.execute
        run("PRAGMA trusted_schema = OFF")
        # checked before anything is written: another program's database must stay as it is
        if _is_other(self._connection):
            raise InputError(f"{self.path}: is a database, but no review file; choose another name.")
        run("PRAGMA journal_mode = WAL")
        run("PRAGMA synchronous = FULL")
        run("BEGIN IMMEDIATE")
        try:
            version = run("PRAGMA user_version").fetchone()[0]
            if version > SCHEMA_VERSION:
                raise InputError(f"{self.path}: was written by a newer version of this program; update the program.")
            if version == 0:
                for statement in _SCHEMA:
                    run(statement)
                facts = {"created_utc": datetime.now(UTC).strftime(TIME_FORMAT), "data_root": str(data_root or "")}
                for key, value in facts.items():
                    run("INSERT INTO meta (key, value) VALUES (?, ?)", (key, value))
                run(f"PRAGMA application_id = {APPLICATION_ID}")
                run(f"PRAGMA user_version = {SCHEMA_VERSION}")
            run("COMMIT")
        except BaseException:
            with suppress(sqlite3.Error):
                run("ROLLBACK")
            raise

    @contextmanager
    def _errors(self) -> Iterator[None]:
        """Database errors as sentences."""
        try:
            yield
        except sqlite3.OperationalError as error:
            raise EnvironmentProblem(f"{self.path}: the review file cannot be used ({error}).") from error
        except sqlite3.DatabaseError as error:
            raise InputError(f"{self.path}: is no review file, or damaged ({error}).") from error

    def close(self) -> None:
        """Close the file; the store cannot be used afterwards."""
        with self._lock:
            self._connection.close()

    def __enter__(self) -> ReviewStore:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def entries(self) -> tuple[Entry, ...]:
        """All lines, in the order in which they came into this file; new ones of other processes included."""
        with self._lock:
            self._refresh()
            return tuple(self._entries)

    def history(self) -> History:
        """The log worked out; the same object until something is added."""
        with self._lock:
            self._refresh()
            if self._history is None:
                self._history = History(self._entries)
            return self._history

    def _refresh(self) -> None:
        with self._errors():
            rows = self._connection.execute(
                f"SELECT seq, {_COLUMNS} FROM log WHERE seq > ? ORDER BY seq",
                (self._last_seq,),
            ).fetchall()
        for row in rows:
            self._entries.append(_entry_of(row[1:], f"{self.path}: line {row[0]}"))
            self._last_seq = row[0]
        if rows:
            self._history = None

    def append(
        self,
        *,
        reviewer: str,
        split: str,
        recording: str,
        item: str,
        action: str,
        ref: str = "",
        before: dict[str, Any] | None = None,
        after: dict[str, Any] | None = None,
        comment: str = "",
        tags: Iterable[str] = (),
        uid: str | None = None,
    ) -> Entry:
        """Add a decision; on the disk when this returns.

        Parameters
        ----------
        uid : str, optional
            Identifier of the line; one that is there already is not added again (a browser may send twice).
        reviewer, split, recording, item, action, ref, before, after, comment, tags
            As in :class:`sai_core.review.entries.Entry`.

        Returns
        -------
        Entry
            With its time, which is later than that of every earlier line of this reviewer.

        Raises
        ------
        InputError
            A field that is not what it must be.
        EnvironmentProblem
            It could not be written.
        """
        draft = Entry(
            uid or new_uid(),
            datetime.now(UTC).strftime(TIME_FORMAT),
            check_reviewer(reviewer),
            split,
            recording,
            item,
            action,
            ref,
            before or {},
            after or {},
            comment.strip(),
            tuple(tags),
        )
        entry = entry_from_json(draft.to_json(), where="decision")
        with self._lock, self._errors(), self._transaction():
            self._check_place()
            known = self._find(entry.uid)
            if known is not None:
                return known
            last = self._connection.execute(
                "SELECT MAX(time_utc) FROM log WHERE reviewer = ?", (entry.reviewer,)
            ).fetchone()[0]
            if last is not None and last >= entry.time_utc:  # a clock that was set back must not reorder decisions
                later = datetime.strptime(last, TIME_FORMAT) + timedelta(microseconds=1)
                entry = replace(entry, time_utc=later.strftime(TIME_FORMAT))
            self._insert(entry)
        return entry

    def undo(self, reviewer: str, *, uid: str | None = None) -> Entry | None:
        """Take back the reviewer's last line that still counts; returns that line, or None if there is none."""
        return self._step("undo", reviewer, uid)

    def redo(self, reviewer: str, *, uid: str | None = None) -> Entry | None:
        """Bring back the line that the reviewer took back last; returns that line, or None if there is none."""
        return self._step("redo", reviewer, uid)

    def _step(self, action: str, reviewer: str, uid: str | None) -> Entry | None:
        reviewer = check_reviewer(reviewer)
        with self._lock:
            history = self.history()
            if uid is not None and any(e.uid == uid for e in history.entries):
                return None
            find = history.undo_target if action == "undo" else history.redo_target
            target = find(reviewer)
            if target is None:
                return None
            self.append(
                reviewer=reviewer,
                split=target.split,
                recording=target.recording,
                item=target.item,
                action=action,
                ref=target.uid,
                before={"action": target.action},
                after={"text": f"{action} of: {target.text}"[:1000]},
                uid=uid,
            )
            return target

    def merge(self, entries: Iterable[Entry]) -> ImportReport:
        """Add lines of another review file in one go; those that are there already are left alone."""
        n_lines = n_new = 0
        reviewers: set[str] = set()
        with self._lock, self._errors(), self._transaction():
            self._check_place()
            for entry in entries:
                n_lines += 1
                reviewers.add(entry.reviewer)
                if self._find(entry.uid) is None:
                    self._insert(entry)
                    n_new += 1
        return ImportReport(n_lines, n_new, tuple(sorted(reviewers)))

    def import_file(self, path: str | Path) -> ImportReport:
        """Merge somebody else's review file (SQLite or the exported JSON lines); doing it again changes nothing.

        Raises
        ------
        InputError
            No review file, or one with a line that is not what it must be; nothing is imported then.
        """
        return self.merge(read_review_file(path))

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._connection.execute("COMMIT")
        except BaseException:
            with suppress(sqlite3.Error):
                self._connection.execute("ROLLBACK")
            raise

    def _check_place(self) -> None:
        """Make sure that the file still has its name: what is written into a deleted file is lost."""
        try:
            if os.stat(self.path).st_ino == self._inode:
                return
        except OSError:
            pass
        raise EnvironmentProblem(f"{self.path}: the review file was moved or deleted; start the program again.")

    def _find(self, uid: str) -> Entry | None:
        row = self._connection.execute(
            f"SELECT {_COLUMNS} FROM log WHERE uid = ?",
            (uid,),
        ).fetchone()
        return None if row is None else _entry_of(row, str(self.path))

    def _insert(self, entry: Entry) -> None:
        self._connection.execute(
            f"INSERT INTO log ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                entry.uid,
                entry.time_utc,
                entry.reviewer,
                entry.split,
                entry.recording,
                entry.item,
                entry.action,
                entry.ref,
                dumps(entry.before),
                dumps(entry.after),
                entry.comment,
                dumps(list(entry.tags)),
            ),
        )


def write_review_file(entries: Iterable[Entry], path: str | Path) -> int:
    """Write lines as a review file for others (JSON lines); returns how many."""
    n = 0
    with atomic_write(Path(path), "w") as stream:
        stream.write(dumps({"format": REVIEW_FORMAT, "version": SCHEMA_VERSION}) + "\n")
        for entry in entries:
            stream.write(dumps(entry.to_json()) + "\n")
            n += 1
    return n


def read_review_file(path: str | Path) -> list[Entry]:
    """Lines of a review file, SQLite or JSON lines, told apart by content; the file is only read.

    Raises
    ------
    InputError
        No review file, or a line that is not what it must be.
    """
    path = Path(path).expanduser()
    try:
        if not path.is_file():
            raise InputError(f"{path}: there is no such review file.")
        if path.stat().st_size > MAX_REVIEW_BYTES:
            raise InputError(f"{path}: is larger than a review file can be (1 GB).")
        with open(path, "rb") as stream:
            head = stream.read(16)
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror or error}).") from error
    return _read_database(path) if head.startswith(b"SQLite format 3\x00") else _read_lines(path)


def _read_lines(path: Path) -> list[Entry]:
    entries = []
    try:
        with open(path, encoding="utf-8") as stream:
            for number, line in enumerate(iter(lambda: stream.readline(MAX_ENTRY_BYTES + 1), ""), start=1):
                where = f"{path}: line {number}"
                try:
                    value = json.loads(line)
                except (ValueError, RecursionError):
                    raise InputError(f"{where}: is not JSON; give a review file (.jsonl or .sqlite).") from None
                if number == 1:
                    if not isinstance(value, dict) or value.get("format") != REVIEW_FORMAT:
                        raise InputError(f"{path}: is no review file; its first line must name {REVIEW_FORMAT!r}.")
                    version = value.get("version")
                    if not isinstance(version, int) or version > SCHEMA_VERSION:
                        raise InputError(f"{path}: was written by a newer version of this program; update it.")
                    continue
                entries.append(entry_from_json(value, where=where))
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: cannot be read as text ({error}).") from error
    return entries


def _read_database(path: Path) -> list[Entry]:
    try:
        with closing(_open_read_only(path)) as connection:
            if _is_other(connection) or connection.execute("PRAGMA user_version").fetchone()[0] == 0:
                raise InputError(f"{path}: is a database, but no review file.")
            if connection.execute("PRAGMA user_version").fetchone()[0] > SCHEMA_VERSION:
                raise InputError(f"{path}: was written by a newer version of this program; update the program.")
            rows = connection.execute(f"SELECT {_COLUMNS} FROM log ORDER BY seq")
            return [_entry_of(row, f"{path}: line {number}") for number, row in enumerate(rows, start=1)]
    except sqlite3.Error as error:
        raise InputError(f"{path}: cannot be read as a review file ({error}).") from error


def _open_read_only(path: Path) -> sqlite3.Connection:
    """Open a foreign database without trusting what is in it."""
    base = path.resolve().as_uri()
    # a write-ahead log beside it must be read too; in a folder that cannot be written only the second way works
    for mode in ("mode=ro", "immutable=1"):
        connection = sqlite3.connect(f"{base}?{mode}", uri=True, timeout=_BUSY_S)
        try:
            connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, MAX_ENTRY_BYTES)
            connection.execute("PRAGMA trusted_schema = OFF")
            connection.execute("PRAGMA query_only = ON")
            connection.execute("PRAGMA cell_size_check = ON")
            connection.execute("SELECT COUNT(*) FROM sqlite_master").fetchone()
            return connection
        except sqlite3.OperationalError:
            connection.close()
            if mode == "immutable=1":
                raise
        except BaseException:
            connection.close()
            raise
    raise AssertionError("not reached")


def _is_other(connection: sqlite3.Connection) -> bool:
    """Whether a database holds something, but no log of ours as a plain table."""
    tables = {name: kind for name, kind in connection.execute("SELECT name, type FROM sqlite_master")}
    if not tables:
        return False
    marked = connection.execute("PRAGMA application_id").fetchone()[0] == APPLICATION_ID
    return not marked or tables.get("log") != "table" or tables.get("meta") != "table"


def _entry_of(row: tuple[Any, ...], where: str) -> Entry:
    """Line from a row of the log."""
    try:
        uid, time_utc, reviewer, split, recording, item, action, ref, before, after, comment, tags = row
        value = {
            "uid": uid,
            "time_utc": time_utc,
            "reviewer": reviewer,
            "split": split,
            "recording": recording,
            "item": item,
            "action": action,
            "ref": ref,
            "before": json.loads(before),
            "after": json.loads(after),
            "comment": comment,
            "tags": json.loads(tags),
        }
    except (ValueError, TypeError, RecursionError):
        raise InputError(f"{where}: is damaged.") from None
    return entry_from_json(value, where=where)
