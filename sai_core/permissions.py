"""Who is at work, and what they may do: asked where work begins and where files are opened or written.

Without rules (the command line, the app of one user) nothing is checked. An app for several people calls
:func:`enforce` once, with a function that says who the running code works for; from then on

* :func:`check` stands where something is started, decided or written, so that no button, address or message gets
  around it: what a page hides is comfort, what is refused here is the rule,
* :func:`check_path` stands where a path that a user gave becomes one (:func:`sai_core.files.user_path`), and
  :func:`check_write` where a file is written (:func:`sai_core.files.atomic_write`),
* code of which nobody knows who it works for may do nothing.

A thread of the background works for whoever asked for it: :mod:`sai_core.jobs` and :mod:`sai_core.threads` carry the
person over (:func:`acting_as`). Who has which role is the business of :mod:`sai_core.access`.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from sai_core.errors import InputError

Action = Literal["look", "decide", "make", "train"]
"""``look``: open data and see what is computed of them. ``decide``: add to reviews. ``make``: start work that leaves
files, and change, export, import or delete what is kept. ``train``: start, stop and delete trainings."""

ACTIONS: Final[tuple[Action, ...]] = ("look", "decide", "make", "train")

_WORDS: Final[dict[str, str]] = {
    "look": "open this app",
    "decide": "decide in reviews",
    "make": "start work or change files",
    "train": "start, stop or delete trainings",
}


class NotAllowedError(InputError):
    """The person may not do this; the sentence says who could."""


@dataclass(frozen=True)
class Person:
    """Somebody at work, as the rules see them.

    Attributes
    ----------
    name : str
        Under which decisions and lines of the audit log are kept; "" for nobody.
    role : str
        "" for none.
    actions : frozenset of str
        What they may do, of :data:`ACTIONS`.
    paths : bool
        May name folders and files of their own to read from and to write into, within ``roots``.
    roots : tuple of Path
        Folders in which everything that is opened must lie, links resolved.
    places : tuple of Path
        Folders of the program's own (workspace, runs, demo), in which it may lie as well.
    writable : tuple of Path
        Folders of the program's own into which it writes.
    problem : str
        Why nothing is allowed, in one sentence; "" where that is not so.
    """

    name: str = ""
    role: str = ""
    actions: frozenset[str] = frozenset()
    paths: bool = False
    roots: tuple[Path, ...] = ()
    places: tuple[Path, ...] = ()
    writable: tuple[Path, ...] = ()
    problem: str = ""


NOBODY: Final[Person] = Person(problem="Nobody is signed in here; open the app and sign in.")


@dataclass(frozen=True)
class _Rules:
    find: Callable[[], Person | None]
    record: Callable[[Person, str, str, str], None]


_rules: _Rules | None = None
_acting: ContextVar[Person | None] = ContextVar("sai_person", default=None)
_opened: ContextVar[tuple[Path, ...]] = ContextVar("sai_opened", default=())
_PROGRAM: Final[Person] = Person(name="", role="program", actions=frozenset(ACTIONS), paths=True, roots=(Path("/"),))


def enforce(find: Callable[[], Person | None], record: Callable[[Person, str, str, str], None]) -> None:
    """From now on nothing is done in this process for somebody who may not do it.

    Parameters
    ----------
    find : callable
        Person that the running thread works for; None where it cannot tell, which is nobody.
    record : callable
        Called with person, action, what it was done on, and the result, for the audit log; with the result "" before
        something is done, and raises where a line could not be kept.
    """
    global _rules
    _rules = _Rules(find, record)


def lift() -> None:
    """Check nothing any more; for tests."""
    global _rules
    _rules = None


def enforced() -> bool:
    """Whether there are rules."""
    return _rules is not None


def person() -> Person | None:
    """Who the running code works for; None where there are no rules."""
    if _rules is None:
        return None
    return _acting.get() or _rules.find() or NOBODY


@contextmanager
def acting_as(somebody: Person | None) -> Iterator[None]:
    """What runs inside works for a person that :func:`person` gave elsewhere; None changes nothing."""
    if somebody is None:
        yield
        return
    token = _acting.set(somebody)
    try:
        yield
    finally:
        _acting.reset(token)


@contextmanager
def opening(folder: Path) -> Iterator[None]:
    """What runs inside may also open what lies in a folder that the program made: temporary files of an upload."""
    token = _opened.set((*_opened.get(), folder))
    try:
        yield
    finally:
        _opened.reset(token)


@contextmanager
def as_program() -> Iterator[None]:
    """What runs inside is the program's own housekeeping, which nobody's wish decides."""
    with acting_as(_PROGRAM):
        yield


def allowed(action: Action) -> bool:
    """Whether the running code may do something; True where there are no rules. For what pages offer."""
    somebody = person()
    return somebody is None or action in somebody.actions


def paths_allowed() -> bool:
    """Whether the person may name folders and files of their own; True where there are no rules."""
    somebody = person()
    return somebody is None or somebody.paths


def check(action: Action, what: str = "", on: str = "") -> None:
    """Make sure that the running code may do something; a refusal is kept in the audit log.

    Parameters
    ----------
    action : str
        Of :data:`ACTIONS`.
    what, on : str
        What is to be done on what, for the log; ``action`` where it is left out.

    Raises
    ------
    NotAllowedError
        It may not.
    """
    somebody = person()
    if somebody is None or action in somebody.actions:
        return
    sentence = _refusal(somebody, action)
    if action != "look" and _rules is not None:
        _rules.record(somebody, what or action, on, f"refused: {sentence}")
    raise NotAllowedError(sentence)


def _refusal(somebody: Person, action: Action) -> str:
    if somebody.problem:
        return somebody.problem
    if action == "train" and somebody.role == "editor":
        return "Trainings are switched off here; whoever runs the app switches them on in its file of roles."
    return f"{somebody.name} is {_article(somebody.role)} here and may not {_WORDS[action]}; ask whoever runs the app."


def _article(role: str) -> str:
    return f"{'an' if role[:1] in 'aeiou' else 'a'} {role}" if role else "without a role"


@contextmanager
def recorded(action: Action, what: str, on: str = "") -> Iterator[None]:
    """Check, do what stands inside, and keep a line of it in the audit log with its result.

    Raises
    ------
    NotAllowedError
        As :func:`check`.
    """
    check(action, what, on)
    somebody, rules = person(), _rules
    if somebody is None or rules is None:
        yield
        return
    rules.record(somebody, what, on, "")
    try:
        yield
    except BaseException as error:
        rules.record(somebody, what, on, f"failed: {error}")
        raise
    rules.record(somebody, what, on, "done")


def record(what: str, on: str, result: str) -> None:
    """Keep a line of something that was allowed in the audit log; nothing where there are no rules."""
    somebody = person()
    if somebody is not None and _rules is not None:
        _rules.record(somebody, what, on, result)


def check_path(path: Path) -> None:
    """Make sure that a path lies where the person may look, with links and ``..`` resolved.

    A bare name of which there is no such file is let through: it names a set, a system or a file to come.

    Raises
    ------
    NotAllowedError
        It does not.
    """
    somebody = person()
    if somebody is None or somebody is _PROGRAM:
        return
    if len(path.parts) <= 1 and path.name not in ("", "..") and not os.path.lexists(path):
        return
    target = _real(path)
    if within(target, (*somebody.roots, *somebody.places, *_opened.get())):
        return
    if somebody.problem:
        raise NotAllowedError(somebody.problem)
    raise NotAllowedError(
        f"{path}: lies outside of the folders that this app opens ({_folders(somebody.roots)}); choose one inside."
    )


def check_write(path: Path) -> None:
    """Make sure that the person may write a file: that they may make anything, and in this place.

    Raises
    ------
    NotAllowedError
        They may not.
    """
    somebody = person()
    if somebody is None or somebody is _PROGRAM:
        return
    check("make", "write", str(path))
    target = _real(path)
    if within(target, (*somebody.writable, *(somebody.roots if somebody.paths else ()))):
        return
    where = "the workspace" if not somebody.paths else f"the workspace and {_folders(somebody.roots)}"
    raise NotAllowedError(f"{path}: this app writes into {where} alone; leave the field for a folder empty.")


def within(target: Path, folders: Iterable[Path]) -> bool:
    """Whether a path with links resolved is one of the folders or lies in one, theirs resolved as well."""
    return any(target == real or target.is_relative_to(real) for real in map(_real, folders))


def _real(path: Path) -> Path:
    try:
        return path.resolve()
    except (OSError, RuntimeError, ValueError) as error:
        raise NotAllowedError(f"{path}: the path cannot be resolved ({error}).") from error


def _folders(folders: Iterable[Path]) -> str:
    return " and ".join(map(str, folders)) or "none but its own"
