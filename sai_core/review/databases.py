"""Where the log of a review lies: an SQLite file or a PostgreSQL database, with one schema and the same statements.

:class:`SqliteFile` and :class:`PostgresReview` differ in how the log is made, opened and locked, in how they find out
that others have written, and in what their errors mean; nothing else of the program knows which of them it has.

On both

* triggers refuse UPDATE and DELETE (on PostgreSQL TRUNCATE, too), whoever sends them;
* a decision is on the disk when its transaction has ended;
* writers wait for each other from the first statement on, so that the numbers of lines are in the order in which they
  became visible: a reader that asks for what is later than the last line it knows misses nothing;
* opening and reading change nothing: the log is made by the first decision.
"""

from __future__ import annotations

import hashlib
import os
import sqlite3
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

from sqlalchemy import (
    URL,
    BigInteger,
    Column,
    Connection,
    Engine,
    Identity,
    Index,
    Integer,
    MetaData,
    Table,
    Text,
    create_engine,
    insert,
    make_url,
    select,
    text,
)
from sqlalchemy.exc import ArgumentError, DBAPIError, SQLAlchemyError
from sqlalchemy.pool import NullPool, StaticPool

from sai_core.errors import EnvironmentProblem, InputError, SaiError
from sai_core.files import user_path
from sai_core.review.entries import MAX_ENTRY_BYTES, TIME_FORMAT, new_uid
from sai_core.workspace import workspace

SCHEMA_VERSION: Final[int] = 1
APPLICATION_ID: Final[int] = 0x53414952
"""``SAIR``: marks our files, so that another program's database is never taken for a review."""

DATABASE_VARIABLE: Final[str] = "SAI_REVIEW_DB"
SQLITE_HEAD: Final[bytes] = b"SQLite format 3\x00"
_BUSY_S: Final[float] = 30.0
"""How long a writer waits for the others."""

_TICK_NS: Final[int] = 2_000_000_000
"""Coarsest clock of a file system (FAT, some network folders)."""

_CONNECT_S: Final[int] = 10
_MACHINE_CODES: Final[frozenset[int]] = frozenset(
    (
        *(sqlite3.SQLITE_PERM, sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_NOMEM),
        *(sqlite3.SQLITE_READONLY, sqlite3.SQLITE_INTERRUPT, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_FULL),
        *(sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PROTOCOL, sqlite3.SQLITE_NOLFS),
    )
)
"""What the machine is to blame for; anything else that SQLite says is about the file."""

_METADATA = MetaData()
LOG = Table(
    "log",
    _METADATA,
    Column("seq", BigInteger().with_variant(Integer, "sqlite"), Identity(always=True), primary_key=True),
    Column("uid", Text, nullable=False, unique=True),
    *(
        Column(name, Text, nullable=False)
        for name in ("time_utc", "reviewer", "split", "recording", "item", "action", "ref", "before", "after")
    ),
    Column("comment", Text, nullable=False),
    Column("tags", Text, nullable=False),
    sqlite_autoincrement=True,
)
Index("log_reviewer", LOG.c.reviewer, LOG.c.time_utc)
META = Table("meta", _METADATA, Column("key", Text, primary_key=True), Column("value", Text, nullable=False))

_APPEND_ONLY: Final[dict[str, tuple[str, ...]]] = {
    "sqlite": (
        "CREATE TRIGGER log_no_update BEFORE UPDATE ON log BEGIN SELECT RAISE(ABORT, 'the log is append-only'); END",
        "CREATE TRIGGER log_no_delete BEFORE DELETE ON log BEGIN SELECT RAISE(ABORT, 'the log is append-only'); END",
    ),
    "postgresql": (
        "CREATE FUNCTION {schema}.refuse() RETURNS trigger LANGUAGE plpgsql AS "
        "$$ BEGIN RAISE EXCEPTION 'the log is append-only'; END $$",
        "CREATE TRIGGER log_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON {schema}.log "
        "FOR EACH STATEMENT EXECUTE FUNCTION {schema}.refuse()",
    ),
}


@dataclass(frozen=True)
class ServerReview:
    """A review on a PostgreSQL server.

    Attributes
    ----------
    url : str
        Of the database, ``postgresql+psycopg://user:password@host:port/database``; never shown.
    name : str
        Schema of the database in which the review lies, by itself.
    """

    url: str = field(repr=False)
    name: str

    def __str__(self) -> str:
        return f"review {self.name} in {place_of(make_url(self.url))}"


def place_of(url: URL) -> str:
    """Which database a URL means, for people: without the user, the password and what else it holds."""
    port = f":{url.port}" if url.port else ""
    host = url.host or url.query.get("host") or "this computer"
    return f"the PostgreSQL database {url.database or '(unnamed)'} at {host}{port}"


def server_url() -> str:
    """URL of the database for reviews, from the environment variable ``SAI_REVIEW_DB``; "" when it is not set.

    Raises
    ------
    InputError
        It is no URL of a PostgreSQL database; what it holds is not repeated, since there is a password in it.
    """
    given = os.environ.get(DATABASE_VARIABLE, "").strip()
    if not given:
        return ""
    how = "write postgresql+psycopg://USER:PASSWORD@HOST/DATABASE, with what is special in a password as %XX"
    try:
        url = make_url(given)
    except (ArgumentError, ValueError):
        raise InputError(f"{DATABASE_VARIABLE} is not the URL of a database; {how}.") from None
    if url.drivername not in ("postgresql", "postgresql+psycopg"):
        raise InputError(f"{DATABASE_VARIABLE} does not name a PostgreSQL database; {how}.")
    if not url.database:
        raise InputError(f"{DATABASE_VARIABLE} names no database; {how}.")
    return url.set(drivername="postgresql+psycopg").render_as_string(hide_password=False)


class Database(ABC):
    """A log, wherever it lies.

    Attributes
    ----------
    name : str
        For people and as a key: the file, or the review and its database without any secret.
    """

    name: str

    @abstractmethod
    def rows_after(self, seq: int) -> list[Any]:
        """Lines later than one, as rows of ``seq`` and the columns of the log; none while there is no log."""

    @abstractmethod
    def reading(self) -> Any:
        """Context: a connection to a log that is there."""

    @abstractmethod
    def writing(self) -> Any:
        """Context: a connection in a transaction of its own, which other writers wait for; makes the log."""

    @abstractmethod
    def close(self) -> None:
        """Close what is open."""

    @abstractmethod
    def exists(self) -> bool:
        """Whether there is a log."""

    def _create(self, connection: Connection, facts: dict[str, str], schema: str = "") -> None:
        """Tables, index and triggers of a new log."""
        _METADATA.create_all(connection, checkfirst=False)
        for statement in _APPEND_ONLY[connection.dialect.name]:
            connection.exec_driver_sql(statement.format(schema=schema))
        created = {"created_utc": datetime.now(UTC).strftime(TIME_FORMAT), **facts}
        connection.execute(insert(META), [{"key": key, "value": value} for key, value in created.items()])


class SqliteFile(Database):
    """A review file.

    Parameters
    ----------
    path : Path
        Need not be there.
    data_root : Path, optional
        Noted in a new file, for people.
    must_exist : bool
        Refuse a file that is not there.

    Raises
    ------
    InputError
        The file is something else (an empty file, too), damaged, or of a newer version of this program.
    EnvironmentProblem
        It cannot be opened.
    """

    def __init__(self, path: str | Path, *, data_root: Path | None, must_exist: bool) -> None:
        self.path = user_path(path, what="review file")
        self.name = str(self.path)
        self._data_root = data_root
        self._seen: tuple[object, ...] = ()
        self._inode: int | None = None
        self._writer: Engine | None = None
        self._reader = _sqlite(lambda: open_read_only(self.path))
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
            with self.reading() as connection:
                self._check_ours(connection)

    def exists(self) -> bool:  # noqa: D102
        return os.path.lexists(self.path)

    def _check_ours(self, connection: Connection) -> None:
        version = connection.exec_driver_sql("PRAGMA user_version").scalar_one()
        if is_other(connection) or version == 0:
            raise InputError(f"{self.path}: is a database, but not a review file; choose another name.")
        if version > SCHEMA_VERSION:
            raise InputError(f"{self.path}: was written by a newer version of this program; update the program.")

    def rows_after(self, seq: int) -> list[Any]:  # noqa: D102
        seen = _signature(self.path)
        if self._inode is None and seen[0] is None:
            return []  # nobody has decided anything yet
        # the same file again, of which all lines are known: one that could not be read is read again, and told again
        if self._writer is None and (*seen, seq) == self._seen:
            return []
        if seen[0] is None:
            raise EnvironmentProblem(f"{self.path}: the review file was moved or deleted; start the program again.")
        rows = self._rows(seq)
        # another process may have written meanwhile: what was read of a file that changes is not to be trusted
        while self._writer is None and (now := _signature(self.path)) != seen:
            seen, rows = now, self._rows(seq)
        # within one tick of a file system's clock a change leaves no mark
        self._seen = (*seen, rows[-1][0] if rows else seq) if _is_settled(seen) else ()
        return rows

    def _rows(self, seq: int) -> list[Any]:
        before = _signature(self.path)
        try:
            with self.reading() as connection:
                if self._inode is None:
                    self._check_ours(connection)
                    self._inode = os.stat(self.path).st_ino
                return list(connection.execute(select(LOG).where(LOG.c.seq > seq).order_by(LOG.c.seq)))
        except SaiError:
            if self._writer is None and _signature(self.path) not in (before, (None, None)):
                return self._rows(seq)
            raise

    @contextmanager
    def reading(self) -> Iterator[Connection]:  # noqa: D102
        with self._errors(), (self._writer or self._reader).connect() as connection:
            yield connection

    @contextmanager
    def writing(self) -> Iterator[Connection]:  # noqa: D102
        if self._writer is None:
            self._writer = self._open_to_write()
        with self._errors(), self._writer.connect() as connection:
            connection.exec_driver_sql("BEGIN IMMEDIATE")
            self._check_place()
            yield connection
            connection.commit()

    def close(self) -> None:  # noqa: D102
        for engine in (self._reader, self._writer):
            if engine is not None:
                engine.dispose()

    def _open_to_write(self) -> Engine:
        try:
            if not os.path.lexists(self.path):
                if self.path.parent == workspace().folder("reviews"):
                    workspace().ready("reviews")
                self.path.parent.mkdir(parents=True, exist_ok=True)
                self._make()
        except OSError as error:
            raise EnvironmentProblem(f"{self.path}: the review file cannot be made ({error}).") from error
        # one connection, kept open
        engine = _sqlite(lambda: _connect(self.path), StaticPool)
        try:
            self._prepare(engine)
            self._inode = os.stat(self.path).st_ino
        except BaseException:
            engine.dispose()
            raise
        return engine

    def _make(self) -> None:
        """Put a new review file in place, whole: another process never finds an empty or a half-made one."""
        name = self.path.parent / f".{self.path.name}.{new_uid()}.new"
        try:
            self._prepare(_sqlite(lambda: _connect(name)))
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

    def _prepare(self, engine: Engine) -> None:
        with self._errors(), engine.connect() as connection:
            run = connection.exec_driver_sql
            run("PRAGMA trusted_schema = OFF")
            # checked before anything is written: another program's database must stay as it is
            if is_other(connection):
                raise InputError(f"{self.path}: is a database, but not a review file; choose another name.")
            run("PRAGMA journal_mode = WAL").close()
            run("PRAGMA synchronous = FULL")
            run("BEGIN IMMEDIATE")
            version = run("PRAGMA user_version").scalar_one()
            if version > SCHEMA_VERSION:
                raise InputError(f"{self.path}: was written by a newer version of this program; update the program.")
            if version == 0:
                self._create(connection, {"data_root": str(self._data_root or "")})
                run(f"PRAGMA application_id = {APPLICATION_ID}")
                run(f"PRAGMA user_version = {SCHEMA_VERSION}")
            connection.commit()

    def _check_place(self) -> None:
        """Make sure that the file still has its name: what is written into a deleted file is lost."""
        try:
            if os.stat(self.path).st_ino == self._inode:
                return
        except OSError:
            pass
        raise EnvironmentProblem(f"{self.path}: the review file was moved or deleted; start the program again.")

    @contextmanager
    def _errors(self) -> Iterator[None]:
        """Database errors as sentences."""
        try:
            yield
        except (SQLAlchemyError, sqlite3.Error, UnicodeDecodeError) as error:
            cause = error.orig if isinstance(error, DBAPIError) and error.orig is not None else error
            # what Python itself refuses (text that is none) has no code
            code = getattr(cause, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF
            if isinstance(cause, sqlite3.OperationalError) and code in _MACHINE_CODES:
                raise EnvironmentProblem(f"{self.path}: the review file cannot be used ({cause}).") from error
            raise InputError(f"{self.path}: is not a review file, or is damaged ({reason_of(cause)}).") from error


def _sqlite(creator: Any, pool: Any = NullPool) -> Engine:
    return create_engine("sqlite+pysqlite://", creator=creator, poolclass=pool, hide_parameters=True)


def _connect(path: Path) -> sqlite3.Connection:
    # without transactions of Python's own: "BEGIN IMMEDIATE" is said where one begins
    return sqlite3.connect(path, timeout=_BUSY_S, isolation_level=None, check_same_thread=False)


def _check_head(path: Path) -> None:
    """Refuse what is no database at all, before SQLite would make one of it."""
    if not path.is_file():
        raise InputError(f"{path}: is not a regular file; give the name of a review file.")
    with open(path, "rb") as stream:
        if stream.read(len(SQLITE_HEAD)) != SQLITE_HEAD:
            raise InputError(f"{path}: is not a review file; choose another name.")


def _is_settled(signature: tuple[object, ...]) -> bool:
    """Whether the last change of a database is so long ago that a further one would show in its signature."""
    times = [part[2] for part in signature if isinstance(part, tuple)]
    return time.time_ns() - max(times, default=0) > _TICK_NS


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


def rows_of_file(path: Path) -> list[Any]:
    """All lines of somebody's SQLite review file, which is only read, as rows of the log's columns without ``seq``.

    Raises
    ------
    InputError
        No review file, damaged, or of a newer version.
    """
    engine = _sqlite(lambda: open_read_only(path))
    try:
        with engine.connect() as connection:
            version = connection.exec_driver_sql("PRAGMA user_version").scalar_one()
            if is_other(connection) or version == 0:
                raise InputError(f"{path}: is a database, but not a review file.")
            if version > SCHEMA_VERSION:
                raise InputError(f"{path}: was written by a newer version of this program; update the program.")
            return list(connection.execute(select(*list(LOG.c)[1:]).order_by(LOG.c.seq)))
    except (SQLAlchemyError, sqlite3.Error, UnicodeDecodeError) as error:
        cause = error.orig if isinstance(error, DBAPIError) and error.orig is not None else error
        raise InputError(f"{path}: cannot be read as a review file ({reason_of(cause)}).") from error


def reason_of(error: BaseException) -> str:
    """SQLite's message without text out of the file."""
    if isinstance(error, UnicodeDecodeError):
        return "text that is no text"
    return "".join(c if c.isprintable() else "?" for c in str(error).partition(" with text ")[0])


def open_read_only(path: Path) -> sqlite3.Connection:
    """Open a database without trusting what is in it, and without a change on the disk.

    SQLite makes files beside a database in write-ahead mode even to read it. Where there is no such log, nobody is
    writing and the file is whole: it is opened as one that does not change. The log of a writer must be read, too; in
    a folder that cannot be written that works in the first way only.
    """
    base = path.resolve().as_uri()
    log = Path(f"{path.resolve()}-wal")
    waiting = log.exists() and log.stat().st_size > 0
    for mode in ("mode=ro", "immutable=1") if waiting else ("immutable=1",):
        connection = sqlite3.connect(
            f"{base}?{mode}", uri=True, timeout=_BUSY_S, isolation_level=None, check_same_thread=False
        )
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


def is_other(connection: Connection) -> bool:
    """Whether a database holds something, but no log of ours as a plain table."""
    tables = {name: kind for name, kind in connection.exec_driver_sql("SELECT name, type FROM sqlite_master")}
    if not tables:
        return False
    marked = connection.exec_driver_sql("PRAGMA application_id").scalar_one() == APPLICATION_ID
    return not marked or tables.get("log") != "table" or tables.get("meta") != "table"


class PostgresReview(Database):
    """A review in a PostgreSQL database: a schema of its own with the tables that a review file has.

    Parameters
    ----------
    review : ServerReview
    data_root : Path, optional
        Noted in a new review, for people.
    must_exist : bool
        Refuse a review that is not there.

    Raises
    ------
    InputError
        The schema holds something else, or a review of a newer version; the database does not keep text as UTF-8.
    EnvironmentProblem
        The server cannot be reached or refuses; psycopg is not installed.
    """

    def __init__(self, review: ServerReview, *, data_root: Path | None, must_exist: bool) -> None:
        self.name = str(review)
        self._url = review.url
        self._schema = review.name
        self._data_root = data_root
        self._there = False
        self._engine = _postgres(review.url).execution_options(schema_translate_map={None: review.name})
        digest = hashlib.blake2b(f"sai-review {review.name}".encode(), digest_size=8).digest()
        self._lock_number = int.from_bytes(digest, "big", signed=True)
        with self.reading() as connection:
            self._look(connection)
        if must_exist and not self._there:
            raise InputError(f"There is no {self.name} yet: nothing has been decided there.")

    def exists(self) -> bool:  # noqa: D102
        return self._there

    def _look(self, connection: Connection) -> bool:
        """Whether the review is there, checked to be one that can be used."""
        named = {"schema": self._schema}
        names = set(
            connection.execute(
                text("SELECT table_name FROM information_schema.tables WHERE table_schema = :schema"), named
            ).scalars()
        )
        if not names:
            if self._there:
                raise EnvironmentProblem(f"The {self.name} was deleted; start the program again.")
            return False
        if not names >= {"log", "meta"}:
            raise InputError(f"The schema of the {self.name} holds something else, or may not be read.")
        version = connection.execute(select(META.c.value).where(META.c.key == "version")).scalar_one_or_none()
        if version is None or not version.isdecimal():
            raise InputError(f"The schema of the {self.name} holds something else.")
        if int(version) > SCHEMA_VERSION:
            raise InputError(f"The {self.name} was written by a newer version of this program; update the program.")
        self._there = True
        return True

    def rows_after(self, seq: int) -> list[Any]:  # noqa: D102
        with self.reading() as connection:
            if not self._there and not self._look(connection):
                return []
            return list(connection.execute(select(LOG).where(LOG.c.seq > seq).order_by(LOG.c.seq)))

    @contextmanager
    def reading(self) -> Iterator[Connection]:  # noqa: D102
        with self._errors(), self._engine.connect() as connection:
            yield connection

    @contextmanager
    def writing(self) -> Iterator[Connection]:  # noqa: D102
        with self._errors(), self._engine.connect() as connection:
            connection.execute(text(f"SET LOCAL lock_timeout = '{_BUSY_S:.0f}s'"))
            connection.execute(
                # a decision that is told as saved is on the server's disk, however the server is set up
                text(
                    "SELECT pg_advisory_xact_lock(:number), CASE current_setting('synchronous_commit') "
                    "WHEN 'off' THEN set_config('synchronous_commit', 'on', true) END"
                ),
                {"number": self._lock_number},
            )
            if not self._look(connection):
                self._make(connection)
            yield connection
            connection.commit()
            self._there = True

    def _make(self, connection: Connection) -> None:
        encoding = connection.execute(text("SHOW server_encoding")).scalar_one()
        if encoding != "UTF8":
            raise InputError(f"{self.name}: the database keeps text as {encoding}; make one with ENCODING 'UTF8'.")
        schema = connection.dialect.identifier_preparer.quote(self._schema)
        connection.execute(text(f"CREATE SCHEMA IF NOT EXISTS {schema}"))
        facts = {"version": str(SCHEMA_VERSION), "data_root": str(self._data_root or "")}
        self._create(connection, facts, schema)

    def close(self) -> None:
        """Nothing to do: the connections belong to all reviews of the database."""

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except SQLAlchemyError as error:
            cause = error.orig if isinstance(error, DBAPIError) and error.orig is not None else error
            message = _without_secrets(str(cause), make_url(self._url))
            # without the cause: a traceback in a log would tell what was sent
            raise EnvironmentProblem(f"The {self.name} cannot be used ({message}).") from None


@lru_cache(maxsize=8)
def _postgres(url: str) -> Engine:
    """Connections to a database, for all reviews and threads of the process."""
    try:
        return create_engine(
            url,
            isolation_level="READ COMMITTED",
            pool_pre_ping=True,  # a server that was restarted meanwhile costs nobody a decision
            pool_size=4,
            max_overflow=28,
            hide_parameters=True,
            connect_args={
                "connect_timeout": _CONNECT_S,
                # a server that vanishes is noticed
                "keepalives_idle": 30,
                "tcp_user_timeout": 30_000,
                "application_name": "sai-explorer",
                **make_url(url).query,
            },
        )
    except ImportError:
        raise EnvironmentProblem(
            f"{DATABASE_VARIABLE} names a PostgreSQL database, which needs psycopg; run: "
            'pip install "psycopg[binary]>=3.2,<4"'
        ) from None


def _without_secrets(message: str, url: URL) -> str:
    """First line of a server's message, without what the URL holds that nobody else may know."""
    line = message.strip().partition("\n")[0].strip().rstrip(".")
    queries = [value for name, value in url.query.items() if "pass" in name]
    for secret in [url.password, *queries]:
        if secret and isinstance(secret, str):
            line = line.replace(secret, "***")
    return "".join(c if c.isprintable() else "?" for c in line)
