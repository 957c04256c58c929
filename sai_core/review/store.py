"""The review: an append-only log of decisions, in an SQLite file or a PostgreSQL database.

* :meth:`ReviewStore.append` returns after the decision is on the disk, so that neither a killed process nor a power cut
  takes it back.
* Nothing is ever changed or deleted; triggers of the database refuse it.
* Any number of processes and threads may read and write at once; writers wait for each other.
* Every value goes in as a parameter.
* A line has an identifier of its own: appending or importing it again does nothing.
* Opening and reading change nothing: the log is made, and opened for writing, by the first decision.
* What is imported is checked to the last line before the first one is written, since nothing can be taken back.

Where it lies is the business of :mod:`sai_core.review.databases`. The default place is the folder ``reviews`` of the
workspace, one file for each data root, never inside the data root itself; where the environment variable
``SAI_REVIEW_DB`` names a PostgreSQL database, it is that, with a schema for each data root.
"""

from __future__ import annotations

import hashlib
import json
import os
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

from sqlalchemy import Connection, func, insert, select

from sai_core import permissions
from sai_core.errors import InputError
from sai_core.files import atomic_write, resolved, user_path
from sai_core.review.databases import (
    DATABASE_VARIABLE,
    LOG,
    SCHEMA_VERSION,
    SQLITE_HEAD,
    Database,
    PostgresReview,
    ServerReview,
    SqliteFile,
    rows_of_file,
    server_url,
)
from sai_core.review.entries import MAX_ENTRY_BYTES, TIME_FORMAT, Entry, check_reviewer, dumps, entry_from_json, new_uid
from sai_core.review.history import History
from sai_core.workspace import workspace

MAX_REVIEW_BYTES: Final[int] = 1 << 30
REVIEW_FORMAT: Final[str] = "sai-review"
_COLUMNS: Final = tuple(LOG.c)[1:]
"""All but the number of the line."""


def default_review(data_root: Path, label_set: str = "") -> Path | ServerReview:
    """Where the review of a data root lies unless somebody names a file; not made here.

    A schema of the database that ``SAI_REVIEW_DB`` names; else a file in the workspace, or the one that an older
    version left elsewhere. Each label set has a review of its own, since decisions are about labels that another set
    does not have. :func:`second_review` tells of a second review of the same root.

    Raises
    ------
    InputError
        ``SAI_REVIEW_DB`` is no URL of a PostgreSQL database.
    """
    path, former = _review_paths(data_root, label_set)
    if url := server_url():
        return ServerReview(url, f"review_{path.stem}")
    return former if former.exists() and not path.exists() else path


def second_review(data_root: Path, label_set: str = "") -> str:
    """A sentence where a data root has a second review in the usual places; empty if it has not."""
    path, former = _review_paths(data_root, label_set)
    if server_url():
        for file in (path, former):
            if file.exists():
                return (
                    f"Decisions are kept in the database that {DATABASE_VARIABLE} names; this data root has a review "
                    f"file, too, which is not used: {file}. Import it, then move or delete it."
                )
        return ""
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
    return workspace().folder("reviews") / name, _former_folder() / name


def _former_folder() -> Path:
    base = os.environ.get("XDG_DATA_HOME")
    return (Path(base) if base else Path.home() / ".local" / "share") / "sai-explorer" / "reviews"


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
    """A review opened for reading and writing; safe to use from several threads.

    Parameters
    ----------
    place : path or ServerReview
        File or schema of a database. Need not be there: it is made, a file with its folder, by the first decision.
    data_root : Path, optional
        Noted in a new review, for people.
    must_exist : bool
        For what only reads: refuse a review that is not there.

    Attributes
    ----------
    name : str
        Of the file, or of the review and its database; without secrets.

    Raises
    ------
    InputError
        The file or schema is something else (an empty file, too), damaged, or of a newer version of this program.
    EnvironmentProblem
        It cannot be opened or reached.
    """

    def __init__(
        self, place: str | Path | ServerReview, *, data_root: Path | None = None, must_exist: bool = False
    ) -> None:
        kind = PostgresReview if isinstance(place, ServerReview) else SqliteFile
        self._database: Database = kind(place, data_root=data_root, must_exist=must_exist)  # type: ignore[arg-type]
        self.name = self._database.name
        self._lock = threading.RLock()
        self._entries: list[Entry] = []
        self._uids: set[str] = set()
        self._last_seq = 0
        self._history: History | None = None

    def close(self) -> None:
        """Close the review; the store cannot be used afterwards."""
        with self._lock:
            self._database.close()

    def __enter__(self) -> ReviewStore:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def entries(self) -> tuple[Entry, ...]:
        """All lines, in the order in which they came into the log; new ones of other processes included."""
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
        """Take in what is new in the log; all of it or nothing."""
        rows = self._database.rows_after(self._last_seq)
        fresh = [_entry_of(row[1:], f"{self.name}: line {row[0]}") for row in rows]
        if rows:
            self._entries += fresh
            self._uids.update(entry.uid for entry in fresh)
            self._last_seq = rows[-1][0]
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
        about = f"{self.name}: {split}/{recording} {item}" if split else f"{self.name}: {recording} {item}"
        with permissions.recorded("decide", action, about), self._writing_as(entry.reviewer) as connection:
            known = self._find(connection, entry.uid)
            if known is not None:
                return known
            last = connection.execute(select(func.max(LOG.c.time_utc)).where(LOG.c.reviewer == entry.reviewer)).scalar()
            if last is not None and last >= entry.time_utc:  # a clock that was set back must not reorder decisions
                try:
                    later = datetime.strptime(last, TIME_FORMAT) + timedelta(microseconds=1)
                except (ValueError, OverflowError):
                    raise InputError(
                        f"{self.name}: a line of {entry.reviewer} has the impossible time {last}."
                    ) from None
                entry = replace(entry, time_utc=later.strftime(TIME_FORMAT))
            connection.execute(insert(LOG), _row_of(entry))
        return entry

    @contextmanager
    def _writing_as(self, reviewer: str = "") -> Iterator[Connection]:
        """The log, to be added to by a person, under their own name and nobody else's.

        Raises
        ------
        InputError
            The name is another's, or the file is none that the person may write into.
        """
        somebody = permissions.person()
        if somebody is not None:
            if reviewer and reviewer != somebody.name:
                raise InputError(
                    f"A decision of {somebody.name} cannot be kept under the name {reviewer}; open the page again."
                )
            self._check_place(somebody)
        # the workspace itself may be made for it, which nobody needs to be allowed to
        with self._lock, permissions.as_program(), self._database.writing() as connection:
            yield connection

    def _check_place(self, somebody: permissions.Person) -> None:
        if not isinstance(self._database, SqliteFile):
            return
        folders = [workspace().folder("reviews"), _former_folder(), *(somebody.roots if somebody.paths else ())]
        if not permissions.within(resolved(self._database.path), folders):
            raise InputError(
                f"{self.name}: this app keeps reviews in {folders[0]} alone; leave the field for a file empty."
            )

    def has(self, uid: str) -> bool:
        """Whether a line is in the log."""
        with self._lock:
            self._refresh()
            return uid in self._uids

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
        with (
            permissions.recorded("make", "import into a review", f"{self.name}: {source}"),
            self._writing_as() as connection,
        ):
            known = set(connection.execute(select(LOG.c.uid)).scalars())
            for entry in entries:
                n_lines += 1
                reviewers.add(entry.reviewer)
                if entry.uid not in known:
                    known.add(entry.uid)
                    connection.execute(insert(LOG), _row_of(entry))
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

    def _find(self, connection: Connection, uid: str) -> Entry | None:
        row = connection.execute(select(*_COLUMNS).where(LOG.c.uid == uid)).one_or_none()
        return None if row is None else _entry_of(row, self.name)


def _row_of(entry: Entry) -> dict[str, str]:
    """Line of the log, by column."""
    return {
        "uid": entry.uid,
        "time_utc": entry.time_utc,
        "reviewer": entry.reviewer,
        "split": entry.split,
        "recording": entry.recording,
        "item": entry.item,
        "action": entry.action,
        "ref": entry.ref,
        "before": dumps(entry.before),
        "after": dumps(entry.after),
        "comment": entry.comment,
        "tags": dumps(list(entry.tags)),
    }


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


def write_review_file(entries: Iterable[Entry], path: str | Path) -> int:
    """Write lines as a review file for others (JSON lines); returns how many."""
    n = -1  # the first line says what the file is
    with atomic_write(Path(path), "w") as stream:
        for line in review_lines(entries):
            stream.write(line)
            n += 1
    return n


def review_lines(entries: Iterable[Entry]) -> Iterator[str]:
    """Text of a review file for others, line by line, each with its end."""
    yield dumps({"format": REVIEW_FORMAT, "version": SCHEMA_VERSION}) + "\n"
    for entry in entries:
        yield dumps(entry.to_json()) + "\n"


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
    return _read_database(path) if head == SQLITE_HEAD else _read_lines(path)


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
                        raise InputError(f"{path}: is not a review file; its first line must name {REVIEW_FORMAT!r}.")
                    version = value.get("version")
                    if not isinstance(version, int) or version > SCHEMA_VERSION:
                        raise InputError(f"{path}: was written by a newer version of this program; update it.")
                    continue
                entries.append(entry_from_json(value, where=where))
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: cannot be read as text ({error}).") from error
    return entries


def _read_database(path: Path) -> list[Entry]:
    return [_entry_of(row, f"{path}: line {number}") for number, row in enumerate(rows_of_file(path), start=1)]


def _entry_of(row: Sequence[Any], where: str) -> Entry:
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
