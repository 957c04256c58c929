"""Roles of several people in one app: one TOML file that says who may do what, and the log of what was done.

The environment variable ``SAI_ROLES`` names the file. It is read again when it changes, so that a person who is taken
out of it may do nothing from their next click on; a file that has a mistake then lets nobody do anything, and says
why. Where the checks stand is the business of :mod:`sai_core.permissions`::

    default = "refused"
    roots = ["/data/STARSS23"]
    audit = "/var/lib/sai/audit.jsonl"

    [people]
    "ann@example.org" = "editor"
    "ben@example.org" = "reviewer"
    "sub:248289761001" = "viewer"
"""

from __future__ import annotations

import json
import os
import threading
import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Final, Literal

import filelock

from sai_core import permissions
from sai_core.errors import EnvironmentProblem, InputError
from sai_core.files import resolved
from sai_core.permissions import Action, Person
from sai_core.settings import Settings, about, build, parse_toml

ROLES_VARIABLE: Final[str] = "SAI_ROLES"
"""Environment variable: the file of roles; without it the app is for one person, and nothing is checked."""

Role = Literal["viewer", "reviewer", "editor"]
SUBJECT: Final[str] = "sub:"
"""Beginning of a person who is named by the provider's subject instead of by e-mail."""

MAX_NAME: Final[int] = 60
"""Characters of a name in the log of a review."""

_ACTIONS: Final[Mapping[str, frozenset[Action]]] = {
    "viewer": frozenset({"look"}),
    "reviewer": frozenset({"look", "decide"}),
    "editor": frozenset({"look", "decide", "make"}),
}
_LONGEST: Final[int] = 500
"""Characters of one field of a line of the audit log."""

_LOCK_S: Final[float] = 10.0


@dataclass(frozen=True)
class Roles(Settings):
    """The file of roles, checked."""

    people: Annotated[
        dict[str, Role], about("role of each person, by e-mail, or by the provider's subject behind `sub:`")
    ] = field(default_factory=dict)
    default: Annotated[
        Literal["refused", "viewer", "reviewer", "editor"], about("role of everybody else who can sign in")
    ] = "refused"
    roots: Annotated[
        tuple[str, ...], about("folders in which everything that is opened must lie, beside the demo and the workspace")
    ] = ()
    training: Annotated[bool, about("editors may start, stop and delete trainings")] = False
    paths: Annotated[bool, about("editors may name folders and files of their own, within the roots")] = False
    audit: Annotated[str, about("file that gets a line for each decision and launch; none where it is left out")] = ""

    def __post_init__(self) -> None:
        """Check what concerns the names; people are kept as :func:`person_key` makes them."""
        super().__post_init__()
        people: dict[str, str] = {}
        for name, role in self.people.items():
            key = person_key(name)
            if not key or key == SUBJECT or any(ord(sign) < 32 for sign in key):
                raise InputError(f"people: {name!r} is nobody; name a person by e-mail, or by subject as sub:1234.")
            if len(key) > MAX_NAME:
                raise InputError(f"people: {name[:20]}... is longer than {MAX_NAME} characters; use the subject.")
            if key in people:
                raise InputError(f"people: {name!r} is there twice; keep one line for each person.")
            people[key] = role
        object.__setattr__(self, "people", people)
        for name, entries in (("roots", self.roots), ("audit", (self.audit,) if self.audit else ())):
            for entry in entries:
                if "\x00" in entry or not Path(entry).is_absolute():
                    raise InputError(f"{name}: {entry!r} is not an absolute path; write it out from / on.")


def person_key(name: str) -> str:
    """An e-mail as it is compared: composed, in small letters, without space around; a subject as it is."""
    name = unicodedata.normalize("NFC", name.strip())
    return name if name.startswith(SUBJECT) else name.casefold()


def read_roles(path: Path, *, kept: Iterable[Path] = ()) -> Roles:
    """Read and check the file of roles.

    Parameters
    ----------
    path : Path
    kept : iterable of Path
        Folders into which people write, such as the workspace: neither the file nor the log may lie there.

    Raises
    ------
    InputError
        A file that cannot be read, unknown settings, a root that is no folder, a place that people can write to.
    """
    roles: Roles = build(Roles, parse_toml(path), str(path))
    for root in roles.roots:
        if not Path(root).is_dir():
            raise InputError(f"{path}: roots: there is no folder {root}; correct it, or take it out.")
    folders = [*kept, *(map(Path, roles.roots) if roles.paths else ())]
    for what, place in (("this file", path), ("audit", Path(roles.audit) if roles.audit else None)):
        if place is not None and permissions.within(resolved(place), folders):
            raise InputError(f"{path}: {what} lies where the people of the app can write ({place}); keep it elsewhere.")
    return roles


@dataclass(frozen=True)
class SignedIn:
    """What the provider says of somebody who signed in.

    Attributes
    ----------
    email, subject : str
        "" where it says none.
    verified : bool
        False: the provider says that the e-mail was not checked, so that it counts for nothing.
    """

    email: str = ""
    subject: str = ""
    verified: bool = True

    @classmethod
    def of(cls, claims: Mapping[str, Any]) -> SignedIn:
        """From the claims of an ID token, whatever they hold."""

        def text(name: str) -> str:
            value = claims.get(name)
            return value if isinstance(value, str) else ""

        verified = claims.get("email_verified")
        return cls(text("email"), text("sub"), verified is None or verified is True or verified == "true")

    @property
    def keys(self) -> tuple[str, ...]:
        """Names under which the file of roles may have them, the e-mail first."""
        by_email = [person_key(self.email)] if self.email.strip() and self.verified else []
        by_email = [key for key in by_email if not key.startswith(SUBJECT)]
        return (*by_email, *([person_key(SUBJECT + self.subject)] if self.subject.strip() else []))


class Access:
    """The file of roles as it stands, and its audit log; for several threads.

    Parameters
    ----------
    path : Path
        File of roles.
    places : sequence of Path
        Folders of the program's own that everybody may read, such as the demo.
    writable : sequence of Path
        Those that it writes into, such as the workspace; readable as well.
    scratch : sequence of Path
        Folders of temporary files: written, and not to be opened by name.

    Raises
    ------
    InputError
        As :func:`read_roles`.
    """

    def __init__(
        self, path: Path, *, places: Iterable[Path] = (), writable: Iterable[Path] = (), scratch: Iterable[Path] = ()
    ) -> None:
        self.path = Path(os.path.abspath(path))
        self._places, self._writable, self._scratch = tuple(places), tuple(writable), tuple(scratch)
        self._lock = threading.Lock()
        self._stamp = self._look()
        self._roles: Roles | None = read_roles(self.path, kept=self._writable)
        self._problem = ""

    @property
    def roles(self) -> Roles:
        """The file, read again where it has changed.

        Raises
        ------
        InputError
            It has a mistake now, or is gone.
        """
        with self._lock:
            if (stamp := self._look()) != self._stamp:
                self._stamp = stamp
                try:
                    self._roles, self._problem = read_roles(self.path, kept=self._writable), ""
                except InputError as error:
                    self._roles, self._problem = None, str(error)
            if self._roles is None:
                raise InputError(f"Nobody may do anything until the file of roles is right again. {self._problem}")
            return self._roles

    def _look(self) -> tuple[int, ...]:
        try:
            status = os.stat(self.path)
        except OSError:
            return ()
        return status.st_mtime_ns, status.st_ctime_ns, status.st_size, status.st_ino

    def person_of(self, somebody: SignedIn | None) -> Person:
        """Person with the role that the file gives; one without a role may do nothing, and reads why."""
        if somebody is None:
            return permissions.NOBODY
        keys = somebody.keys
        name = keys[0] if keys else ""
        try:
            roles = self.roles
        except InputError as error:
            return Person(name, problem=str(error))
        role = next((roles.people[key] for key in keys if key in roles.people), None)
        # as the file names them, so that a review knows one person by one name
        name = next((key for key in keys if key in roles.people), name)
        if role is None and keys and roles.default != "refused":
            role = roles.default
        if role is None:
            who = f"{name} has" if name else "You have"
            unchecked = somebody.email and not somebody.verified
            why = " (the provider has not verified your e-mail)" if unchecked else ""
            return Person(name, problem=f"{who} no role in this app{why}; ask whoever runs it.")
        is_editor = role == "editor"
        return Person(
            name,
            role,
            _ACTIONS[role] | (frozenset({"train"}) if is_editor and roles.training else frozenset()),
            paths=is_editor and roles.paths,
            roots=tuple(map(Path, roles.roots)),
            places=(*self._places, *self._writable),
            writable=(*self._writable, *self._scratch),
        )

    def record(self, somebody: Person, what: str, on: str, result: str) -> None:
        """Add a line to the audit log, on the disk when this returns; nothing where the file names none.

        Without a result no line is added: it is only looked whether one can be.

        Raises
        ------
        InputError
            The file of roles has a mistake.
        EnvironmentProblem
            The log cannot be written.
        """
        if (place := self.roles.audit) and not result:
            check_log(Path(place))
        elif place:
            add_line(Path(place), who=somebody.name, role=somebody.role, what=what, on=on, result=result)


def add_line(path: Path, **facts: str) -> None:
    """Append one line of JSON with the time to a log that several processes may keep; nothing of it is ever changed.

    Raises
    ------
    EnvironmentProblem
        It cannot be written.
    """
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    plain = {key: value[:_LONGEST].encode("utf-8", "replace").decode() for key, value in facts.items()}
    line = json.dumps({"time": now, **plain}, ensure_ascii=False).encode() + b"\n"
    with _telling(path), filelock.FileLock(f"{path}.lock", timeout=_LOCK_S):
        handle = _open_log(path)
        try:
            size = os.fstat(handle).st_size
            # what a power cut left of a line must not take the next one with it
            if size and os.pread(handle, 1, size - 1) != b"\n":
                line = b"\n" + line
            while line:
                line = line[os.write(handle, line) :]
            os.fsync(handle)
        finally:
            os.close(handle)


def check_log(path: Path) -> None:
    """Make sure, before something is done, that a line of it can be kept.

    Raises
    ------
    EnvironmentProblem
        It cannot.
    """
    with _telling(path):
        os.close(_open_log(path))


def _open_log(path: Path) -> int:
    path.parent.mkdir(parents=True, exist_ok=True)
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)


@contextmanager
def _telling(path: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, filelock.Timeout) as error:
        reason = getattr(error, "strerror", None) or error
        raise EnvironmentProblem(
            f"{path}: the audit log cannot be written ({reason}); nothing more is done until it can."
        ) from error


@dataclass(frozen=True)
class AuditLine:
    """A line of the audit log: time (UTC), who, in which role, did what, on what, with which result."""

    time: str
    who: str
    role: str
    what: str
    on: str
    result: str


def read_audit(path: Path) -> tuple[list[AuditLine], int]:
    """Lines of an audit log, oldest first, and how many are none (a power cut leaves such a piece).

    Raises
    ------
    InputError
        It cannot be read.
    """
    try:
        text = path.read_text("utf-8", errors="replace")
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror or error}).") from error
    lines, n_broken = [], 0
    names = AuditLine.__dataclass_fields__
    for row in text.split("\n"):
        if not row.strip():
            continue
        found: Any = None
        with suppress(ValueError, RecursionError):
            found = json.loads(row)
        if isinstance(found, dict) and set(found) == set(names) and all(isinstance(v, str) for v in found.values()):
            lines.append(AuditLine(**found))
        else:
            n_broken += 1
    return lines, n_broken


def damaged_lines(path: Path, n_broken: int) -> str:
    """One sentence on lines of an audit log that are none; "" where there are none."""
    if not n_broken:
        return ""
    return f"{path}: {'1 line is' if n_broken == 1 else f'{n_broken} lines are'} damaged, as after a power cut."


def audit_path() -> Path:
    """The audit log that the file of roles names which ``SAI_ROLES`` names; it may not be there yet.

    Raises
    ------
    InputError
        Either names none, or the file of roles has a mistake.
    """
    path = roles_path()
    if path is None:
        raise InputError(f"There is no audit log: {ROLES_VARIABLE} names no file of roles; set it to the app's.")
    audit = read_roles(path).audit
    if not audit:
        raise InputError(f'There is no audit log: {path} names none; add a line audit = "/...".')
    return Path(audit)


def roles_path() -> Path | None:
    """File that ``SAI_ROLES`` names; None where nobody has set it.

    Raises
    ------
    InputError
        It is not absolute.
    """
    text = os.environ.get(ROLES_VARIABLE, "").strip()
    if not text:
        return None
    path = Path(text)
    if "\x00" in text or not path.is_absolute():
        raise InputError(f"{ROLES_VARIABLE}: {text!r} is not an absolute path; correct it and start the app again.")
    return path
