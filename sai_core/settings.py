"""Settings files: TOML in, typed frozen dataclasses out, with ``key=value`` changes from the command line.

Every kind of training reads its configuration through here, so that a mistake is told in the same words everywhere.
"""

from __future__ import annotations

import math
import os
import stat
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any, Final

from sai_core.errors import InputError

_MAX_BYTES: Final[int] = 1 << 20
"""Size of a settings file: a thousand times the largest that ships."""

_MAX_DEPTH: Final[int] = 64
"""Brackets within brackets; the files that ship have three. The standard parser would run out of stack."""


def parse_toml(path: Path) -> dict[str, Any]:
    """Content of a TOML file of unknown origin; every reader of settings, recipes and systems begins here.

    Raises
    ------
    InputError
        It cannot be read, is no plain file, larger than a megabyte, no text, or no TOML that this program takes
        (numbers of thousands of digits, brackets nested more than 64 deep).
    """
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):  # a pipe or device could keep its reader waiting for ever
            raise InputError(f"{path}: is no plain file; give a TOML file.")
        with open(path, "rb") as stream:
            data = stream.read(_MAX_BYTES + 1)
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror or error}).") from error
    if len(data) > _MAX_BYTES:
        raise InputError(f"{path}: is larger than a megabyte; that is no settings file.")
    try:
        return _toml(data.decode("utf-8"))
    except ValueError as error:
        raise InputError(f"{path}: is not a TOML file ({error}).") from error


def _toml(text: str) -> dict[str, Any]:
    """Parse TOML; every refusal is a ValueError of one line."""
    try:
        values = tomllib.loads(text)
    except RecursionError:
        raise ValueError(f"brackets nested more than {_MAX_DEPTH} deep") from None
    except ValueError as error:
        # Python's own limit of digits; its sentence speaks of Python functions
        if "digit" in str(error) and not isinstance(error, (tomllib.TOMLDecodeError, UnicodeDecodeError)):
            raise ValueError("a number has thousands of digits") from None
        raise
    _check_values(values, 0)
    return values


def _check_values(value: Any, depth: int) -> None:
    if depth > _MAX_DEPTH:
        raise ValueError(f"brackets nested more than {_MAX_DEPTH} deep")
    if isinstance(value, dict):
        for inner in value.values():
            _check_values(inner, depth + 1)
    elif isinstance(value, list):
        for inner in value:
            _check_values(inner, depth + 1)
    elif isinstance(value, int) and not -(2**63) <= value < 2**63:
        raise ValueError("a whole number is beyond 64 bits")


def read_toml(path: Path, overrides: Sequence[str] = ()) -> dict[str, Any]:
    """Read a TOML file and apply overrides.

    Parameters
    ----------
    path : Path
    overrides : sequence of str
        Each ``key.sub=value``, value as in TOML, a plain word unquoted; entries of lists by number, from 0
        (``stages.1.steps=500``).

    Raises
    ------
    InputError
        No such file, not TOML, an override that names nothing.
    """
    raw = parse_toml(path)
    for text in overrides:
        _override(raw, text)
    return raw


def build(kind: Any, raw: Mapping[str, Any], source: str) -> Any:
    """Dataclass from a table; every field must have a default.

    Parameters
    ----------
    kind : dataclass
    raw : mapping
        Whole numbers become floats and lists tuples where the default is one.
    source : str
        What a sentence about a mistake begins with, e.g. ``"recipe.toml: data"``.

    Raises
    ------
    InputError
        Unknown names, values of another kind than the default, values that the class refuses.
    """
    known = {f.name: f for f in fields(kind)}
    unknown = sorted(set(raw) - set(known))
    if unknown:
        raise InputError(f"{source}: unknown settings {', '.join(unknown)}; known are {', '.join(known)}.")
    defaults = kind()
    values = {}
    for name, value in raw.items():
        default = getattr(defaults, name)
        if not _is_sane(value):
            raise InputError(f"{source}: {name} holds a number that is none, or far too large.")
        if isinstance(default, float) and isinstance(value, int) and not isinstance(value, bool):
            value = float(value)
        elif isinstance(default, tuple) and isinstance(value, (list, tuple)):
            value = tuple(value)
        elif isinstance(default, Mapping) and isinstance(value, Mapping):
            value = dict(value)
        elif type(value) is not type(default):
            raise InputError(f"{source}: {name} is {value!r}; expected a value like {default!r}.")
        values[name] = value
    try:
        return kind(**values)
    except InputError as error:
        raise InputError(f"{source}: {error}") from error
    except (TypeError, ValueError) as error:
        raise InputError(f"{source}: {error}.") from error


def _is_sane(value: Any) -> bool:
    """Whether all numbers in a setting are finite, and whole ones fit 64 bits."""
    if isinstance(value, (list, tuple)):
        return all(map(_is_sane, value))
    if isinstance(value, Mapping):
        return all(map(_is_sane, value.values()))
    if isinstance(value, float):
        return math.isfinite(value)
    return not isinstance(value, int) or -(2**63) <= value < 2**63


def table(raw: Mapping[str, Any], name: str, source: str) -> Mapping[str, Any]:
    """Return the table of a name; empty where there is none.

    Raises
    ------
    InputError
        There is something else under this name.
    """
    value = raw.get(name, {})
    if not isinstance(value, Mapping):
        raise InputError(f"{source}: '{name}' must be a table.")
    return value


def _override(raw: dict[str, Any], text: str) -> None:
    key, separator, value = text.partition("=")
    if not separator or not key.strip():
        raise InputError(f"--set {text}: expected key=value, e.g. epochs=10.")
    try:
        parsed = _toml(f"value = {value}")["value"]
    except tomllib.TOMLDecodeError:
        parsed = value  # a plain word need not be quoted
    except ValueError as error:
        raise InputError(f"--set {text[:60]}: {error}.") from error
    target: Any = raw
    above = ""
    *path, last = key.strip().split(".")
    for name in path:
        target, above = _child(target, name, above, text), name
    if isinstance(target, list):
        raise InputError(f"--set {text}: name a setting of the entry, e.g. stages.0.steps=100.")
    target[last] = parsed


def _child(target: Any, name: str, above: str, text: str) -> Any:
    if isinstance(target, list):
        if not name.isdigit() or int(name) >= len(target):
            one = above.removesuffix("s")  # a list is named in the plural
            raise InputError(f"--set {text}: there is no {one} {name}; there are {len(target)}, from 0.")
        return target[int(name)]
    child = target.setdefault(name, {}) if isinstance(target, dict) else None
    if not isinstance(child, (dict, list)):
        raise InputError(f"--set {text}: '{name}' is no table of the configuration.")
    return child
