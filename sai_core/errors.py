"""Errors that a user can cause.

Everything else (a bug of ours) stays a plain Python exception. Messages are one sentence: what is wrong, where
(file, annotation index, field), and what to do about it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import TypeVar

Value = TypeVar("Value")


class SaiError(Exception):
    """Base class of every error that the program raises on purpose; pages and CLI show ``str(error)``."""


class InputError(SaiError, ValueError):
    """A file, an argument or an array given by the user is not what it must be."""


def check_known(what: str, value: object, known: Collection[str]) -> None:
    """Make sure that a choice is one of those that there are.

    Raises
    ------
    InputError
        It is not.
    """
    if value not in known:
        raise InputError(f"{what} {value!r} is unknown; choose one of {', '.join(known)}.")


class EnvironmentProblem(SaiError, RuntimeError):
    """The machine lacks something: a package, a device, disk space, a permission."""


class CancelledError(SaiError):
    """The user cancelled a long piece of work."""


class Checks:
    """Checks before long work: each is made whatever became of the others, and what they find is told at once.

    Attributes
    ----------
    problems : list of str
        What was found, one sentence each; callers may add theirs.
    """

    def __init__(self) -> None:
        self.problems: list[str] = []

    def made(self, make: Callable[[], Value]) -> Value | None:
        """What ``make`` returns; None where it found a mistake, which is kept."""
        try:
            return make()
        except InputError as error:
            self.problems.append(str(error))
            return None

    def tell(self) -> None:
        """Raise one InputError for all that was found, if anything was."""
        if self.problems:
            raise InputError(told_at_once(self.problems))


def check_all(*checks: Callable[[], object]) -> None:
    """Do all checks before work begins, and tell everything that they find at once.

    Raises
    ------
    InputError
        One of them found a mistake, or several did.
    """
    every = Checks()
    for check in checks:
        every.made(check)
    every.tell()


def told_at_once(problems: Sequence[str]) -> str:
    """One message for all that was found before work began: a single sentence as it is, several as a list."""
    if len(problems) == 1:
        return problems[0]
    return f"{len(problems)} things are in the way, and nothing was begun:\n" + "\n".join(f"- {p}" for p in problems)
