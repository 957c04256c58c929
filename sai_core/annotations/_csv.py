"""Rows and columns of a CSV file of sound sources: separators, quotes, headers, and what each column is.

Columns go by the names of a header where a file has one, in any order and by any usual name, with units in the name
(``distance_m``, ``azimuth (rad)``); without a header by their number, as the DCASE tools write them. What is taken for
what is decided here; what the values mean is for :mod:`sai_core.annotations.dcase`.
"""

from __future__ import annotations

import csv
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, NoReturn

from sai_core.annotations._scan import show
from sai_core.annotations.notes import Note
from sai_core.errors import InputError

Path = str | os.PathLike[str]

# plain ASCII numbers only: Python's float() would also take "nan", "1_0" and other scripts' digits
NUMBER: Final = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d{1,3})?", flags=re.ASCII)
_DECIMAL_COMMA: Final = re.compile(r"[+-]?\d+,\d+", flags=re.ASCII)
_LINE_END: Final = re.compile(r"\r\n|\r|\n")
_WORD: Final = re.compile(r"[a-z]+")
_CAMEL: Final = re.compile(r"(?<=[a-z])(?=[A-Z])")

POLAR: Final[tuple[str, ...]] = ("frame", "class", "source", "azimuth", "elevation", "distance")
CARTESIAN: Final[tuple[str, ...]] = ("frame", "class", "source", "x", "y", "z", "distance")

_FEWEST_COLUMNS: Final[int] = 4

_SEPARATORS: Final[dict[str, str]] = {",": "commas", ";": "semicolons", "\t": "tabs"}
_ROLE_OF_WORD: Final[dict[str, str]] = {
    **dict.fromkeys(("frame", "frames"), "frame"),
    **dict.fromkeys(("class", "classes", "category", "label"), "class"),
    **dict.fromkeys(("source", "src", "track", "instance"), "source"),
    **dict.fromkeys(("azimuth", "azi", "az", "azim"), "azimuth"),
    **dict.fromkeys(("elevation", "ele", "el", "elev"), "elevation"),
    **dict.fromkeys(("distance", "dist", "range"), "distance"),
    "onscreen": "onscreen",
    "x": "x",
    "y": "y",
    "z": "z",
}
_UNITS: Final[dict[str, tuple[str, float]]] = {
    **dict.fromkeys(("m", "meter", "meters", "metre", "metres"), ("metres", 100.0)),
    **dict.fromkeys(("cm", "centimeter", "centimeters", "centimetre", "centimetres"), ("centimetres", 1.0)),
    **dict.fromkeys(("mm", "millimeter", "millimeters", "millimetre", "millimetres"), ("millimetres", 0.1)),
    **dict.fromkeys(("rad", "radian", "radians"), ("radians", 180.0 / 3.141592653589793)),
    **dict.fromkeys(("deg", "degree", "degrees"), ("degrees", 1.0)),
}


@dataclass(frozen=True)
class Column:
    """One column: what it is, where it stands, its unit as named (None: not named) and what brings it into ours."""

    role: str
    index: int
    unit: str | None = None
    factor: float = 1.0


@dataclass(frozen=True)
class Row:
    """One row of data: number of its line, from 1, and its fields without surrounding spaces."""

    line: int
    fields: list[str]


@dataclass(frozen=True)
class CsvTable:
    """What a file holds.

    Attributes
    ----------
    rows : list of Row
    columns : tuple of Column or None
        What a header says; None without a header (or with one that names nothing that is known).
    has_header : bool
    notes : tuple of Note
    """

    rows: list[Row]
    columns: tuple[Column, ...] | None
    has_header: bool
    notes: tuple[Note, ...]


def fail(path: Path, line: int, message: str) -> NoReturn:
    """Raise with file and line."""
    raise InputError(f"{path}: line {line}: {message}")


def read_table(path: Path, text: str) -> CsvTable:
    """Split a text into rows and find out what its columns are.

    Raises
    ------
    InputError
        Quotes that do not close, numbers with a decimal comma, a header that lacks a column or names one twice.
    """
    rows, separator = _split(path, text)
    notes: list[Note] = []
    if separator != ",":
        notes.append(Note("separator", f"columns are separated by {_SEPARATORS[separator]} and were read so."))
    if not rows or not _is_header(rows[0].fields):
        return CsvTable(rows, None, False, tuple(notes))
    columns, more = _named_columns(path, rows[0])
    return CsvTable(rows[1:], columns, True, (*notes, *more))


def _split(path: Path, text: str) -> tuple[list[Row], str]:
    lines = [(k, line) for k, line in enumerate(_LINE_END.split(text), start=1) if line.strip(" \t")]
    separator = _separator(lines[0][1]) if lines else ","
    if lines and lines[0][1].strip().lower().startswith("sep="):  # what spreadsheets write above a table
        separator = lines[0][1].strip()[4:5] or ","
        lines = lines[1:]
        if separator not in _SEPARATORS:
            raise InputError(f"{path}: line 1: the separator {show(separator)} is not known; use commas.")
    rows = []
    for number, line in lines:
        fields = _fields(path, number, line, separator)
        if len(fields) == 1 and separator in fields[0]:  # the whole line in quotes
            fields = fields[0].split(separator)
        fields = [_unquoted(field.strip(" \t")) for field in fields]
        if any(fields):
            rows.append(Row(number, fields))
        for field in fields:
            if "," in field and _DECIMAL_COMMA.fullmatch(field):
                fail(path, number, f"{field} is a number with a decimal comma; save the table with decimal points.")
    return rows, separator


def _separator(line: str) -> str:
    counts = {mark: line.count(mark) for mark in _SEPARATORS}
    # of equally frequent marks the first: commas
    return max(_SEPARATORS, key=lambda mark: counts[mark])


def _fields(path: Path, number: int, line: str, separator: str) -> list[str]:
    if '"' not in line:
        return line.split(separator)
    try:
        return next(csv.reader([line], delimiter=separator, skipinitialspace=True, strict=True))
    except (csv.Error, StopIteration) as error:
        fail(path, number, f"the quotes are not those of a CSV file ({error}).")


def _unquoted(field: str) -> str:
    single = len(field) > 1 and field[0] == field[-1] == "'"
    return field[1:-1].strip(" \t") if single else field


def _is_header(fields: list[str]) -> bool:
    named = any(_WORD.search(field.lower()) for field in fields)
    return named and len(fields) >= _FEWEST_COLUMNS and not any(NUMBER.fullmatch(field) for field in fields)


def _named_columns(path: Path, header: Row) -> tuple[tuple[Column, ...] | None, Iterator[Note] | tuple[Note, ...]]:
    found: dict[str, tuple[str, Column]] = {}
    others = []
    for index, name in enumerate(header.fields):
        column = _column_of(name, index)
        if column is None:
            if name:
                others.append(name)
            continue
        known = found.get(column.role)
        if known is None or _is_better(name, known[0]):
            if known is not None:
                others.append(known[0])
            found[column.role] = (name, column)
        elif _is_better(known[0], name):
            others.append(name)
        else:
            fail(path, header.line, f"two columns are the {column.role}: {show(known[0])} and {show(name)}; keep one.")
    if not found:
        named = ", ".join(show(name) for name in header.fields[:6])
        message = f"the header's names are not known ({named}); columns were taken in DCASE's order."
        return None, (Note("header_unknown", message),)
    angles, vector = {"azimuth", "elevation"} <= set(found), {"x", "y", "z"} <= set(found)
    if "azimuth" in found and "elevation" not in found and not vector and "distance" in found:
        fail(
            path,
            header.line,
            "the header is that of DCASE 2025 (stereo sound: azimuth and distance, no elevation), which gives no "
            "direction on the sphere; files with azimuth and elevation are needed.",
        )
    missing = [role for role in ("frame", "class") if role not in found]
    if not angles and not vector:
        missing += [role for role in ("azimuth", "elevation") if role not in found]
    if missing:
        fail(path, header.line, f"the header names no {' and no '.join(missing)} (it has {_listed(header.fields)}).")
    wanted = POLAR if angles else CARTESIAN
    others += [name for role, (name, _) in found.items() if role not in wanted]
    notes = []
    if "source" not in found:
        notes.append(Note("no_source", "has no column of source numbers; all are taken as 0."))
    if others:
        notes.append(Note("other_columns", f"columns that were ignored: {_listed(others)}."))
    converted = [f"{c.role} from {c.unit}" for _, c in found.values() if c.role in wanted and c.factor != 1.0]
    if converted:
        notes.append(Note("units", f"units were converted by the header: {', '.join(converted)}."))
    return tuple(found[role][1] for role in wanted if role in found), tuple(notes)


def _column_of(name: str, index: int) -> Column | None:
    words = _WORD.findall(_CAMEL.sub(" ", name).lower())
    if "video" in words:  # a frame of the video is not one of the labels
        return None
    if {"on", "screen"} <= set(words):
        return Column("onscreen", index)
    roles = [_ROLE_OF_WORD[word] for word in words if word in _ROLE_OF_WORD]
    if "".join(words) in ("distancecm", "distcm"):
        return Column("distance", index, "centimetres")
    if not roles or (roles[0] in ("x", "y", "z") and len(words) > 2):
        return None
    role = roles[0]
    if role in ("source", "class") and "frame" in roles:
        role = "frame"
    units = [_UNITS[word] for word in words if word in _UNITS]
    angular = role in ("azimuth", "elevation")
    for unit, factor in units:
        if angular == (unit in ("radians", "degrees")) and (angular or role == "distance"):
            return Column(role, index, unit, factor)
    return Column(role, index)


def _is_better(name: str, rival: str) -> bool:
    """Whether of two columns of one kind the first is meant: the number of a class beside its name."""

    def is_name(text: str) -> bool:
        return "name" in _WORD.findall(_CAMEL.sub(" ", text).lower())

    return is_name(rival) and not is_name(name)


def _listed(names: list[str]) -> str:
    return ", ".join(show(name) for name in names[:8]) + (", ..." if len(names) > 8 else "")
