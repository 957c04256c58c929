"""The review file: one embedded SQLite database with an append-only log.

* Write-ahead log with ``synchronous = FULL``: :meth:`ReviewStore.append` returns after the decision is on the disk, so
  that neither a killed process nor a power cut takes it back.
* Nothing is ever changed or deleted; triggers in the file refuse it.
* Any number of processes and threads may read and write at once; writers wait for each other.
* Every value goes in as a parameter.
* A line has an identifier of its own: appending or importing it again does nothing.
* Opening and reading change nothing on the disk: the file is made, and opened for writing, by the first decision.
* What is imported is checked to the last line before the first one is written, since nothing can be taken back.

The default place is the folder ``reviews`` of the workspace, one file for each data root, never inside the data root
itself.
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

from sai_core.errors import EnvironmentProblem, InputError, SaiError
from sai_core.files import atomic_write, user_path
from sai_core.review.entries import MAX_ENTRY_BYTES, TIME_FORMAT, Entry, check_reviewer, dumps, entry_from_json, new_uid
from sai_core.review.history import History
from sai_core.workspace import workspace

SCHEMA_VERSION: Final[int] = 1
APPLICATION_ID: Final[int] = 0x53414952
"""``SAIR``: marks our files, so that another program's database is never taken for a review."""

MAX_REVIEW_BYTES: Final[int] = 1 << 30
REVIEW_FORMAT: Final[str] = "sai-review"
_SQLITE: Final[bytes] = b"SQLite format 3\x00"
_BUSY_S: Final[float] = 30.0
_MACHINE_CODES: Final[frozenset[int]] = frozenset(
    (
        *(sqlite3.SQLITE_PERM, sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_NOMEM),
        *(sqlite3.SQLITE_READONLY, sqlite3.SQLITE_INTERRUPT, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_FULL),
        *(sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PROTOCOL, sqlite3.SQLITE_NOLFS),
    )
)
"""What the machine is to blame for; anything else that SQLite says is about the file."""
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


def default_review_path(data_root: Path, label_set: str = "") -> Path:
    """Review file of a data root in the workspace, or the one that an older version left elsewhere; not made here.

    Each label set has a review of its own, since decisions are about labels that another set does not have.
    :func:`second_review` tells of a second review of the same root.
    """
    path, former = _review_paths(data_root, label_set)
    return former if former.exists() and not path.exists() else path


def second_review(data_root: Path) -> str:
    """A sentence where a data root has two reviews in the usual places; empty if it has not."""
    path, former = _review_paths(data_root, "")
    if not (path.exists() and former.exists()):
        return ""
    return f"There are two reviews of this data root: {path} is used; {former} is not, import it or delete it."


def _review_paths(data_root: Path, label_set: str) -> tuple[Path, Path]:
    """In the workspace, and where versions up to 0.2 kept it."""
    root = os.fsencode(Path(data_root).resolve())
    if label_set:
        with suppress(InputError):
            # by what never changes: a set that gets another name keeps its review
            label_set = workspace().find("labels", label_set).facts.id or label_set
        root += b"\0" + os.fsencode(label_set)
    name = f"{hashlib.blake2b(root, digest_size=8).hexdigest()}.sqlite"
    base = os.environ.get("XDG_DATA_HOME")
    former = (Path(base) if base else Path.home() / ".local" / "share") / "sai-explorer" / "reviews"
    return workspace().folder("reviews") / name, former / name


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
        Need not be there: it is made, with its folder, by the first decision.
    data_root : Path, optional
        Noted in a new file, for people.
    must_exist : bool
        For what only reads: refuse a file that is not there.

    Raises
    ------
    InputError
        The file is something else (an empty file, too), damaged, or of a newer version of this program.
    EnvironmentProblem
        It cannot be opened.
    """

    def __init__(self, path: str | Path, *, data_root: Path | None = None, must_exist: bool = False) -> None:
        self.path = user_path(path, what="review file")
        self._data_root = data_root
        self._lock = threading.RLock()
        self._entries: list[Entry] = []
        self._last_seq = 0
        self._history: History | None = None
        self._seen: tuple[object, ...] | None = None
        self._writer: sqlite3.Connection | None = None
        self._inode: int | None = None
        try:
            if self.path.is_dir():
                raise InputError(f"{self.path}: is a folder; give the name of a review file.")
            if os.path.lexists(self.path):
                _check_head(self.path)
                self._inode = os.stat(self.path).st_ino
            elif must_exist:
                raise InputError(f"{self.path}: there is no such review file; check its name.")
        except OSError as error:
            raise EnvironmentProblem(
                f"{self.path}: the review file cannot be opened ({error.strerror or error})."
            ) from error
        if self._inode is not None:
            with self._errors(), self._reader() as connection:
                self._check_ours(connection)

    def _check_ours(self, connection: sqlite3.Connection) -> None:
        version = connection.execute("PRAGMA user_version").fetchone()[0]
        if _is_other(connection) or version == 0:
            raise InputError(f"{self.path}: is a database, but no review file; choose another name.")
        if version > SCHEMA_VERSION:
            raise InputError(f"{self.path}: was written by a newer version of this program; update the program.")

    @contextmanager
    def _reader(self) -> Iterator[sqlite3.Connection]:
        if self._writer is not None:
            yield self._writer
            return
        with closing(_open_read_only(self.path)) as connection:
            yield connection

    @property
    def _connection(self) -> sqlite3.Connection:
        """The connection that writes; makes the file when it is not there."""
        if self._writer is None:
            try:
                if not os.path.lexists(self.path):
                    if self.path.parent == workspace().folder("reviews"):
                        workspace().ready("reviews")
                    self.path.parent.mkdir(parents=True, exist_ok=True)
                    self._make()
                writer = sqlite3.connect(self.path, timeout=_BUSY_S, isolation_level=None, check_same_thread=False)
            except (OSError, sqlite3.Error) as error:
                raise EnvironmentProblem(f"{self.path}: the review file cannot be made ({error}).") from error
            try:
                with self._errors():
                    self._prepare(writer)
                self._inode = os.stat(self.path).st_ino
            except BaseException:
                writer.close()
                raise
            self._writer = writer
        return self._writer

    def _make(self) -> None:
        """Put a new review file in place, whole: another process never finds an empty or a half-made one."""
        name = self.path.parent / f".{self.path.name}.{new_uid()}.new"
        try:
            with closing(sqlite3.connect(name, timeout=_BUSY_S, isolation_level=None)) as connection, self._errors():
                self._prepare(connection)
            try:
                os.link(name, self.path)
            except FileExistsError:
                pass  # another process was quicker: its file is used
            except OSError:  # a file system without hard links
                if not os.path.lexists(self.path):
                    os.rename(name, self.path)
        finally:
            for left in (name, f"{name}-wal", f"{name}-shm"):
                with suppress(FileNotFoundError):
                    os.unlink(left)

    def _prepare(self, connection: sqlite3.Connection) -> None:
        run = connection.execute
        run("PRAGMA trusted_schema = OFF")
        # checked before anything is written: another program's database must stay as it is
        if _is_other(connection):
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
                facts = {
                    "created_utc": datetime.now(UTC).strftime(TIME_FORMAT),
                    "data_root": str(self._data_root or ""),
                }
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
            # what Python itself refuses (text that is none) has no code
            if getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF in _MACHINE_CODES:
                raise EnvironmentProblem(f"{self.path}: the review file cannot be used ({error}).") from error
            raise InputError(f"{self.path}: is no review file, or damaged ({_reason(error)}).") from error
        except (sqlite3.DatabaseError, UnicodeDecodeError) as error:
            raise InputError(f"{self.path}: is no review file, or damaged ({_reason(error)}).") from error

    def close(self) -> None:
        """Close the file; the store cannot be used afterwards."""
        with self._lock:
            if self._writer is not None:
                self._writer.close()

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
        """Take in what is new in the file; all of it or nothing."""
        seen = _signature(self.path)
        if self._inode is None and seen[0] is None:
            return  # nobody has decided anything yet
        if self._writer is None and seen == self._seen:
            return
        if seen[0] is None:
            raise EnvironmentProblem(f"{self.path}: the review file was moved or deleted; start the program again.")
        rows = self._rows()
        # another process may have written meanwhile: what was read of a file that changes is not to be trusted
        while self._writer is None and (now := _signature(self.path)) != seen:
            seen, rows = now, self._rows()
        fresh = [_entry_of(row[1:], f"{self.path}: line {row[0]}") for row in rows]
        if rows:
            self._entries += fresh
            self._last_seq = rows[-1][0]
            self._history = None
        self._seen = seen

    def _rows(self) -> list[tuple[Any, ...]]:
        """New lines of the log as they are in the file."""
        before = _signature(self.path)
        try:
            with self._errors(), self._reader() as connection:
                if self._inode is None:
                    self._check_ours(connection)
                    self._inode = os.stat(self.path).st_ino
                statement = f"SELECT seq, {_COLUMNS} FROM log WHERE seq > ? ORDER BY seq"
                return connection.execute(statement, (self._last_seq,)).fetchall()
        except SaiError:
            if self._writer is None and _signature(self.path) not in (before, (None, None)):
                return self._rows()
            raise

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
                try:
                    later = datetime.strptime(last, TIME_FORMAT) + timedelta(microseconds=1)
                except (ValueError, OverflowError):
                    raise InputError(
                        f"{self.path}: a line of {entry.reviewer} has the impossible time {last}."
                    ) from None
                entry = replace(entry, time_utc=later.strftime(TIME_FORMAT))
            self._insert(entry)
        return entry

    def has(self, uid: str) -> bool:
        """Whether a line is in the file."""
        with self._lock, self._errors():
            return self._find(uid) is not None

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

    def merge(self, entries: Iterable[Entry], *, source: str = "import") -> ImportReport:
        """Add lines of another review file in one go; those that are there already are left alone."""
        n_lines = n_new = 0
        reviewers: set[str] = set()
        entries = list(entries)
        _check_times(entries, source)
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
            No review file, or one with a line that is not what it must be, or that a later time than now stands in;
            nothing is imported then.
        """
        return self.merge(read_review_file(path), source=str(path))

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


_CLOCKS: Final[timedelta] = timedelta(days=1)
"""How far the clocks of two machines may be apart."""


def _check_times(entries: Iterable[Entry], source: str) -> None:
    """Refuse lines of the future: every later decision of their reviewer would have to be later still."""
    latest = (datetime.now(UTC) + _CLOCKS).strftime(TIME_FORMAT)
    for number, entry in enumerate(entries, start=1):
        if entry.time_utc > latest:
            raise InputError(
                f"{source}: decision {number} (of {entry.reviewer}): its time {entry.time_utc} lies in the future by "
                "this machine's clock; nothing was imported."
            )


def _check_head(path: Path) -> None:
    """Refuse what is no database at all, before SQLite would make one of it."""
    if not path.is_file():
        raise InputError(f"{path}: is no plain file; give the name of a review file.")
    with open(path, "rb") as stream:
        if stream.read(len(_SQLITE)) != _SQLITE:
            raise InputError(f"{path}: is no review file; choose another name.")


def _signature(path: Path) -> tuple[object, ...]:
    """What changes whenever a database does: the file and its write-ahead log."""
    found: list[object] = []
    for name in (path, Path(f"{path}-wal")):
        try:
            status = os.stat(name)
            found.append((status.st_ino, status.st_size, status.st_mtime_ns))
        except OSError:
            found.append(None)
    return tuple(found)


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
    path = user_path(path, what="review file")
    try:
        if not path.is_file():
            raise InputError(f"{path}: there is no such review file.")
        if path.stat().st_size > MAX_REVIEW_BYTES:
            raise InputError(f"{path}: is larger than a review file can be (1 GB).")
        with open(path, "rb") as stream:
            head = stream.read(16)
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror or error}).") from error
    return _read_database(path) if head == _SQLITE else _read_lines(path)


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
    except (sqlite3.Error, UnicodeDecodeError) as error:
        raise InputError(f"{path}: cannot be read as a review file ({_reason(error)}).") from error


def _reason(error: Exception) -> str:
    """SQLite's message without text out of the file."""
    if isinstance(error, UnicodeDecodeError):
        return "text that is no text"
    return "".join(c if c.isprintable() else "?" for c in str(error).partition(" with text ")[0])


def _open_read_only(path: Path) -> sqlite3.Connection:
    """Open a database without trusting what is in it, and without a change on the disk.

    SQLite makes files beside a database in write-ahead mode even to read it. Where there is no such log, nobody is
    writing and the file is whole: it is opened as one that does not change. The log of a writer must be read, too; in
    a folder that cannot be written that works in the first way only.
    """
    base = path.resolve().as_uri()
    log = Path(f"{path.resolve()}-wal")
    waiting = log.exists() and log.stat().st_size > 0
    for mode in ("mode=ro", "immutable=1") if waiting else ("immutable=1",):
        connection = sqlite3.connect(f"{base}?{mode}", uri=True, timeout=_BUSY_S, check_same_thread=False)
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
