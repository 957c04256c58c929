"""Settings: stated once, as a field of a frozen dataclass with its range, label, unit and meaning beside it.

The files (TOML), the command line (``--set key=value``), the forms of the pages and the tables of the documentation are
made from the fields, and one check stands for all of them, so that a mistake is told in the same words everywhere.
A new setting is one line::

    rate: Annotated[float, about("largest learning rate", gt=0)] = 1e-3
"""

from __future__ import annotations

import json
import math
import os
import stat
import tomllib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Final, Literal, get_args, get_origin, get_type_hints

import msgspec
from msgspec import inspect

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
            raise InputError(f"{path}: is not a regular file; give a TOML file.")
        with open(path, "rb") as stream:
            data = stream.read(_MAX_BYTES + 1)
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror or error}).") from error
    if len(data) > _MAX_BYTES:
        raise InputError(f"{path}: is larger than a megabyte; that is not a settings file.")
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


def about(
    help: str,
    *,
    label: str = "",
    unit: str = "",
    group: str = "",
    form: str = "",
    front: bool = False,
    useful: float | None = None,
    ge: float | None = None,
    gt: float | None = None,
    le: float | None = None,
    lt: float | None = None,
    multiple_of: int | None = None,
) -> msgspec.Meta:
    """What stands beside a setting, for ``Annotated[type, about(...)]``.

    Parameters
    ----------
    help : str
        Its meaning, one sentence without a full stop.
    label : str
        Its name in a form; made from the field's name where there is none.
    unit : str
        E.g. ``"s"``.
    group : str
        For what takes settings apart (the stages of post-processing).
    form : str
        Section of the form that shows it.
    front : bool
        Shown before the others of its section.
    useful : float, optional
        Where a slider ends, when nobody goes near the allowed end; a number field beside it goes on.
    ge, gt, le, lt : float, optional
        Bounds: at least, above, at most, below.
    multiple_of : int, optional
    """
    extra = {"help": help, "label": label, "unit": unit, "group": group, "form": form, "front": front, "useful": useful}
    bounds: dict[str, Any] = {"ge": ge, "gt": gt, "le": le, "lt": lt, "multiple_of": multiple_of}
    return msgspec.Meta(**bounds, description=help, extra=extra)


@dataclass(frozen=True)
class Setting:
    """One setting as forms and tables need it.

    Attributes
    ----------
    name : str
        Of the field; behind the names of the tables that it lies in (``data.frame_step``).
    help, label, unit, group, form, front, useful
        See :func:`about`.
    default : object
    choices : tuple of str
        Allowed texts; empty for other kinds.
    low, high : float or None
        Bounds, whether they belong to the range or not; None where there is none.
    wanted : str
        What is allowed, in words.
    """

    name: str
    help: str
    label: str
    unit: str
    group: str
    form: str
    front: bool
    useful: float | None
    default: Any
    choices: tuple[str, ...]
    low: float | None
    high: float | None
    wanted: str


class Settings:
    """Base of all settings: a frozen dataclass whose fields are checked when it is made.

    Raises
    ------
    InputError
        A value of another kind than its field's, or out of its range, by the field's name.
    """

    def __post_init__(self) -> None:
        """Check every field; subclasses add what concerns several fields at once."""
        kind: Any = type(self)
        for name, hint in _hints(kind).items():
            object.__setattr__(self, name, _checked(name, getattr(self, name), hint))


@cache
def _hints(kind: Any) -> dict[str, Any]:
    hints = get_type_hints(kind, include_extras=True)
    return {f.name: hints[f.name] for f in fields(kind)}


@cache
def _info(hint: Any) -> inspect.Type:
    return inspect.type_info(hint)


def _checked(name: str, value: Any, hint: Any) -> Any:
    """The value in the type of its field; numpy scalars, lists for tuples and 3.0 for 3 are taken."""
    if is_dataclass(hint):
        if isinstance(value, hint):  # type: ignore[arg-type]
            return value
        raise InputError(f"{name} is {_short(value)}; a table is needed.")
    plain = _plain(value)
    info = _bare(_info(hint))
    if (item := _listed_class(hint)) is not None:
        if not isinstance(plain, list) or not plain or not all(isinstance(entry, item) for entry in plain):
            raise InputError(f"{name} is {_short(value)}; a list of at least one table is needed.")
        return tuple(plain)
    try:
        if not _is_sane(plain):
            raise msgspec.ValidationError("not a finite number")
        if isinstance(info, inspect.IntType) and isinstance(plain, float) and plain.is_integer():
            plain = int(plain)
        return msgspec.convert(plain, hint, str_keys=True)
    except msgspec.ValidationError as error:
        what, unfit, wanted = _culprit(name, plain, hint)
        raise InputError(f"{what} is {_short(unfit)}; {_needed(wanted)}.") from error


def _culprit(name: str, plain: Any, hint: Any) -> tuple[str, Any, Any]:
    """Which part of a value does not fit: its name, what it is, and the type that it should have."""
    bare = _stripped(hint)
    for part in get_args(bare) if isinstance(_info(bare), inspect.UnionType) else (bare,):
        kind, arguments = _bare(_info(part)), get_args(_stripped(part))
        if isinstance(kind, inspect.DictType) and isinstance(plain, Mapping):
            for key, item in plain.items():
                if not _fits({key: None}, Mapping[arguments[0], None]):  # type: ignore[valid-type]
                    return f"{name}: a name", key, arguments[0]
                if not _fits(item, arguments[1]):
                    return f"{name} of {key}", item, arguments[1]
        if isinstance(kind, inspect.VarTupleType) and isinstance(plain, list):
            for item in plain:
                if not _fits(item, arguments[0]):
                    return f"{name}: an entry", item, arguments[0]
    return name, plain, hint


def _fits(value: Any, hint: Any) -> bool:
    try:
        msgspec.convert(value, hint, str_keys=True)
    except msgspec.ValidationError:
        return False
    return _is_sane(value)


def _needed(hint: Any) -> str:
    values = _choices(hint)
    return f"choose {_listed(values)}" if values else f"{_wanted(_info(hint))} is needed"


def _stripped(hint: Any) -> Any:
    """A type without what is written beside it."""
    while get_origin(hint) is Annotated:
        hint = get_args(hint)[0]
    return hint


def _choices(hint: Any) -> tuple[str, ...]:
    """Values of a Literal as text, in their own order."""
    hint = _stripped(hint)
    return tuple(map(str, get_args(hint))) if get_origin(hint) is Literal else ()


def _listed(values: Iterable[Any]) -> str:
    *first, last = ("nothing" if value == "" else str(value) for value in values)
    return f"{', '.join(first)} or {last}" if first else last


def check_names(name: str, given: Iterable[str], known: Sequence[str]) -> None:
    """Refuse names that a setting's mapping does not have.

    Raises
    ------
    InputError
        By the setting's name, with the names that there are.
    """
    for key in given:
        if key not in known:
            raise InputError(f"{name}: {_short(key)} is unknown; choose {_listed(known)}.")


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."


def _plain(value: Any) -> Any:
    if isinstance(value, (set, frozenset)):
        return [_plain(item) for item in sorted(value, key=repr)]
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    return value.item() if hasattr(value, "dtype") and getattr(value, "ndim", 1) == 0 else value


def _listed_class(hint: Any) -> type | None:
    """Settings class of a list of tables (``tuple[StageConfig, ...]``); None for any other type."""
    info = _bare(_info(hint))
    if isinstance(info, inspect.VarTupleType) and isinstance(info.item_type, inspect.DataclassType):
        return info.item_type.cls
    return None


def _bare(info: inspect.Type) -> inspect.Type:
    while isinstance(info, inspect.Metadata):
        info = info.type
    return info


def _wanted(info: inspect.Type) -> str:
    """What a type allows, in words."""
    info = _bare(info)
    if isinstance(info, inspect.LiteralType):
        return _listed(info.values)
    if isinstance(info, inspect.UnionType):
        return " or ".join(_wanted(part) for part in info.types)
    if isinstance(info, (inspect.IntType, inspect.FloatType)):
        return _wanted_number(info)
    if isinstance(info, inspect.VarTupleType):
        return f"a list ({_wanted(info.item_type)} each)"
    if isinstance(info, inspect.TupleType):
        return f"a list of {len(info.item_types)} ({_wanted(info.item_types[0])} each)"
    if isinstance(info, inspect.DictType):
        return f"{_wanted(info.value_type)} for each name"
    if isinstance(info, inspect.BoolType):
        return "true or false"
    return "a text" if isinstance(info, inspect.StrType) else "another value"


def _wanted_number(info: inspect.IntType | inspect.FloatType) -> str:
    kind = "a whole number" if isinstance(info, inspect.IntType) else "a number"
    if info.multiple_of is not None:
        kind = f"a multiple of {info.multiple_of:g}"
    if info.ge is not None and info.le is not None:
        return f"{kind} from {_digits(info.ge)} to {_digits(info.le)}"
    bounds = (("of at least", info.ge), ("above", info.gt), ("of at most", info.le), ("below", info.lt))
    return " ".join([kind, " and ".join(f"{word} {_digits(x)}" for word, x in bounds if x is not None)]).rstrip()


def _digits(number: float) -> str:
    return str(int(number)) if float(number).is_integer() else f"{number:g}"


def describe(kind: type) -> list[Setting]:
    """All settings of a class in the order of its fields, those of tables behind the table's name."""
    return list(_described(kind, ""))


def _described(kind: Any, above: str) -> Iterator[Setting]:
    for field in fields(kind):
        hint = _hints(kind)[field.name]
        inner = hint if is_dataclass(hint) else _listed_class(hint)
        if inner is not None:
            many = "" if inner is hint else ".N"
            yield from _described(inner, f"{above}{field.name}{many}.")
            continue
        info = _info(hint)
        bare = _bare(info)
        extra = (info.extra or {}) if isinstance(info, inspect.Metadata) else {}
        number = _bare(bare.value_type) if isinstance(bare, inspect.DictType) else bare
        if not isinstance(number, (inspect.IntType, inspect.FloatType)):
            number = inspect.FloatType()
        yield Setting(
            name=above + field.name,
            help=extra.get("help", ""),
            label=extra.get("label") or field.name.replace("_", " ").capitalize(),
            unit=extra.get("unit", ""),
            group=extra.get("group", ""),
            form=extra.get("form", ""),
            front=extra.get("front", False),
            useful=extra.get("useful"),
            default=field.default_factory() if callable(field.default_factory) else field.default,
            choices=_choices(hint),
            low=number.ge if number.ge is not None else number.gt,
            high=number.le if number.le is not None else number.lt,
            wanted=_listed(_choices(hint)) if _choices(hint) else _wanted(info),
        )


def shown_value(value: Any) -> str:
    """A setting's value as it would be written in TOML, on one line."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return f'"{value}"'
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key} = {shown_value(item)}" for key, item in value.items()) + "}"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(map(shown_value, value)) + "]"
    return f"{value:g}" if isinstance(value, float) else str(value)


def markdown_table(settings: Iterable[Setting]) -> str:
    """Settings as a table of a Markdown page: name, meaning, what is allowed, default."""
    lines = ["| setting | meaning | allowed | default |", "| --- | --- | --- | --- |"]
    for s in settings:
        unit = f", in {s.unit}" if s.unit else ""
        lines.append(f"| `{s.name}` | {s.help}{unit} | {s.wanted} | `{shown_value(s.default)}` |")
    return "\n".join(lines)


def build(kind: Any, raw: Mapping[str, Any], source: str) -> Any:
    """Settings of a class from a table; tables within it become the settings of their classes.

    Parameters
    ----------
    kind : type
        A :class:`Settings` class, every field with a default.
    raw : mapping
        Whole numbers become floats and lists tuples where the field is one.
    source : str
        What a sentence about a mistake begins with, e.g. ``"recipe.toml"``.

    Raises
    ------
    InputError
        Unknown names, values of another kind than the field's or out of its range, values that the class refuses.
    """
    known = _hints(kind)
    unknown = sorted(set(raw) - set(known))
    if unknown:
        raise InputError(f"{source}: unknown settings {', '.join(unknown)}; known are {', '.join(known)}.")
    values = dict(raw)
    for name, hint in known.items():
        if is_dataclass(hint):
            if not isinstance(raw.get(name), hint):  # type: ignore[arg-type]
                values[name] = build(hint, table(raw, name, source), f"{source}: {name}")
        elif name in raw and (item := _listed_class(hint)) is not None:
            values[name] = tuple(_tables(item, raw[name], source, name))
    try:
        return kind(**values)
    except InputError as error:
        raise InputError(f"{source}: {error}") from error


def _tables(kind: type, raw: Any, source: str, name: str) -> Iterable[Any]:
    if not isinstance(raw, (list, tuple)) or not raw or not all(isinstance(table, (Mapping, kind)) for table in raw):
        raise InputError(f"{source}: '{name}' must be a list of at least one table.")
    for index, table in enumerate(raw):
        yield table if isinstance(table, kind) else build(kind, table, f"{source}: {name}.{index}")


def build_json(kind: Any, text: str, source: str) -> Any:
    """Settings that a file keeps as JSON in its header.

    Raises
    ------
    InputError
        Not a JSON object; else as :func:`build`.
    """
    try:
        values = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{source}: not JSON ({_short(str(error))}).") from error
    if not isinstance(values, dict):
        raise InputError(f"{source}: an object is needed, this is {type(values).__name__}.")
    return build(kind, values, source)


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
        if not name.isdecimal() or int(name) >= len(target):
            entry = above.removesuffix("s")  # a list is named in the plural
            raise InputError(f"--set {text}: there is no {entry} {name}; there are {len(target)}, from 0.")
        return target[int(name)]
    child = target.setdefault(name, {}) if isinstance(target, dict) else None
    if not isinstance(child, (dict, list)):
        raise InputError(f"--set {text}: '{name}' is not a table of the configuration.")
    return child
