"""Errors that a user can cause.

Everything else (a bug of ours) stays a plain Python exception. Messages are one sentence: what is wrong, where
(file, annotation index, field), and what to do about it.
"""

from __future__ import annotations

from collections.abc import Collection


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
