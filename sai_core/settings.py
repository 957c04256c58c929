"""Settings files: TOML in, typed frozen dataclasses out, with ``key=value`` changes from the command line.

Every kind of training reads its configuration through here, so that a mistake is told in the same words everywhere.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

from sai_core.errors import InputError


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
    try:
        raw = tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror or error}).") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: this is not TOML ({error}).") from error
    for text in overrides:
        _override(raw, text)
    return raw


def with_overrides(kind: Any, overrides: Sequence[str]) -> Any:
    """Dataclass of flat settings from its defaults and ``key=value`` changes.

    Raises
    ------
    InputError
        An unknown name or a value that the class refuses.
    """
    raw: dict[str, Any] = {}
    for text in overrides:
        _override(raw, text)
    return build(kind, raw, "--set")


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
        parsed = tomllib.loads(f"value = {value}")["value"]
    except tomllib.TOMLDecodeError:
        parsed = value  # a plain word need not be quoted
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
