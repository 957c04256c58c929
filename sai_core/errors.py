"""Errors that a user can cause.

Everything else (a bug of ours) stays a plain Python exception. Messages are one sentence: what is wrong, where
(file, annotation index, field), and what to do about it.
"""

from __future__ import annotations


class SaiError(Exception):
    """Base class of every error that the program raises on purpose; pages and CLI show ``str(error)``."""


class InputError(SaiError, ValueError):
    """A file, an argument or an array given by the user is not what it must be."""


class EnvironmentProblem(SaiError, RuntimeError):
    """The machine lacks something: a package, a device, disk space, a permission."""


class CancelledError(SaiError):
    """The user cancelled a long piece of work."""
