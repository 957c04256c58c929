"""Filters in one line of text, for the page, its address and the command line.

::

    room23 class:bell polyphony>=3 -tag:bad duration:30..60 has:video "two words" FAO<0.1

Each part must hold. A word alone is searched in names, splits, classes, tags and notes; ``column:value`` looks for a
text in a column, or for a number; ``= != < <= > >=`` compare; ``low..high`` is a range, both ends included; a minus
before a part turns it round. What is not known fulfils no comparison. Quotes keep spaces and signs together.
"""

from __future__ import annotations

import difflib
import math
import re
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from sai_core.errors import InputError
from sai_core.survey.table import MATERIALS, SetTable
from sai_core.taxonomy import CLASS_NAMES, category_of

Mask = npt.NDArray[np.bool_]

_QUOTED = r'"(?:[^"]*)"'
_PART: Final = re.compile(
    rf'(?P<minus>-?)(?P<left>{_QUOTED}|[^\s":=<>!]+)(?:(?P<sign><=|>=|!=|[:=<>])(?P<right>{_QUOTED}|[^\s"]*))?(?=\s|$)'
)
_NUMBER: Final = re.compile(r"[-+]?(?:\d+\.?\d*|\.\d+)(?:e[-+]?\d+)?|[-+]?inf", re.IGNORECASE)
_MEANT: Final[dict[str, tuple[str, ...]]] = {
    "audio": ("mic", "foa", "em32"),
    "sound": ("mic", "foa", "em32"),
    "label": ("labels",),
    "annotations": ("labels",),
    "frames": ("video",),
    "picture": ("video",),
    "pictures": ("video",),
    "prediction": ("predictions",),
    "eigen": ("em32",),
}
"""Everyday words of ``has:`` and the materials that they mean, any of them."""

_EMPTY: Final = ("none", "")
"""Values that ask for rows without an entry: ``tag:none``."""


@dataclass(frozen=True)
class Condition:
    """One part of a filter.

    Attributes
    ----------
    column : str
        "" for a word that is searched everywhere.
    sign : str
        One of ``: = != < <= > >=``; "" for a word.
    value : str
    negated : bool
    """

    column: str
    sign: str
    value: str
    negated: bool = False

    def __str__(self) -> str:
        text = (
            f"{_quoted(self.column)}{self.sign}{_quoted(self.value, of_column=True)}"
            if self.column
            else _quoted(self.value)
        )
        return f"-{text}" if self.negated else text


def _quoted(text: str, *, of_column: bool = False) -> str:
    """A text as it is written; a minus inverts a part, but is one of a number behind a sign."""
    text = text.replace('"', " ")
    is_special = not text or re.search(r'[\s":=<>!]', text) or (text.startswith("-") and not of_column)
    return f'"{text}"' if is_special else text


def parse(text: str) -> tuple[Condition, ...]:
    """Take a filter apart.

    Raises
    ------
    InputError
        A quotation mark without its fellow, a sign without a column.
    """
    conditions = []
    at = 0
    while at < len(text):
        if text[at].isspace():
            at += 1
            continue
        match = _PART.match(text, at)
        if match is None:
            where = text[at : at + 30]
            raise InputError(
                f"Filter: {where!r} cannot be understood; write a word, column:value or column>=number, and put names "
                f"with symbols or spaces in quotes."
            )
        left, right = match["left"].strip('"'), (match["right"] or "").strip('"')
        if match["sign"]:
            conditions.append(Condition(left, match["sign"], right, bool(match["minus"])))
        else:
            conditions.append(Condition("", "", left, bool(match["minus"])))
        at = match.end()
    return tuple(conditions)


def written(conditions: tuple[Condition, ...]) -> str:
    """Inverse of :func:`parse`."""
    return " ".join(map(str, conditions))


def apply(table: SetTable, conditions: tuple[Condition, ...]) -> Mask:
    """Which rows fulfil all conditions.

    Raises
    ------
    InputError
        No such column or class, or a number that is none.
    """
    mask = np.ones(len(table), bool)
    for condition in conditions:
        held = _holds(table, condition)
        mask &= ~held if condition.negated else held
    return mask


def _holds(table: SetTable, condition: Condition) -> Mask:
    if not condition.column:
        word = condition.value.casefold()
        return np.array([word in text for text in table.haystack], bool)
    column = _column(table, condition.column)
    kind = table.kind_of(column)
    if kind == "number":
        return _compared(table.number(column), condition)
    if condition.sign not in (":", "=", "!="):
        raise InputError(
            f"Filter {condition}: {column} holds text, which cannot be larger or smaller; use {column}:value."
        )
    value = condition.value.casefold()
    if kind == "text":
        held = [text.casefold() for text in table.text(column)]
        if value in _EMPTY:
            found = [not text for text in held]
        elif column == "problem" and value in ("any", "yes"):
            found = [bool(text) for text in held]
        else:
            found = [text == value if condition.sign != ":" else value in text for text in held]
    else:
        wanted = {"class": _classes, "has": _materials}[column](condition) if column in ("class", "has") else None
        rows = table.entries(column)
        if value in _EMPTY:
            found = [not row for row in rows]
        elif wanted is not None:
            found = [not wanted.isdisjoint(row) for row in rows]
        else:
            found = [any(value == entry.casefold() for entry in row) for row in rows]
    mask = np.array(found, bool)
    return ~mask if condition.sign == "!=" else mask


def _column(table: SetTable, given: str, what: str = "Filter") -> str:
    for name in table.column_names:
        if name == given or name.casefold() == given.casefold():
            return name
    if given.casefold() == "score" or given.casefold() in map(str.casefold, table.unchosen):
        if not table.unchosen:
            raise InputError(f"{what}: {given!r} is the mAP of a system, and there are no predictions here.")
        raise InputError(
            f"{what}: {given!r} is the mAP of a system that is not chosen; choose it in 'scores of systems' (in a "
            f"terminal: --predictions)."
        )
    near = difflib.get_close_matches(given, table.column_names, n=1)
    hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(table.column_names)}."
    text = " To search for the text itself, put it in quotes." if what == "Filter" else ""
    raise InputError(f"{what}: there is no column {given!r}; {hint}{text}")


def _classes(condition: Condition) -> set[str] | None:
    """Names of the classes that a text means: a name of the field, or a part of one."""
    if condition.value.casefold() in _EMPTY:
        return None
    exact = category_of(condition.value)
    if exact is not None:
        return {CLASS_NAMES[exact]}
    inside = {name for name in CLASS_NAMES if condition.value.casefold() in name.casefold()}
    if not inside:
        raise InputError(f"Filter {condition}: there is no such class; there are {', '.join(CLASS_NAMES)}.")
    return inside


def _materials(condition: Condition) -> set[str] | None:
    """What a recording may have, as a text means it."""
    value = condition.value.casefold()
    if value in _EMPTY:
        return None
    known = (*MATERIALS, "simulated")
    if value in known:
        return {value}
    if value in _MEANT:
        return set(_MEANT[value])
    raise InputError(f"Filter {condition}: there is no such material; there are audio, {', '.join(known)}.")


def _compared(values: npt.NDArray[np.float64], condition: Condition) -> Mask:
    if condition.value.casefold() == "none" and condition.sign in (":", "="):
        return np.isnan(values)
    low, dots, high = condition.value.partition("..")
    if dots and condition.sign in (":", "="):
        return (values >= _number(low, condition, -math.inf)) & (values <= _number(high, condition, math.inf))
    number = _number(condition.value, condition)
    known = ~np.isnan(values)
    if condition.sign in (":", "="):
        return values == number
    if condition.sign == "!=":
        return known & (values != number)
    return {"<": values < number, "<=": values <= number, ">": values > number, ">=": values >= number}[condition.sign]


def _number(text: str, condition: Condition, default: float | None = None) -> float:
    if not text and default is not None:
        return default
    if _NUMBER.fullmatch(text) is None:
        raise InputError(f"Filter {condition}: {text!r} is not a number; write for example {condition.column}>=3.")
    return float(text)


def ordered(table: SetTable, rows: npt.NDArray[np.int64], sort: str) -> npt.NDArray[np.int64]:
    """Rows in the order of a column.

    Parameters
    ----------
    table : SetTable
    rows : int64, shape (m,)
    sort : str
        A column, with a minus before it for the largest first; "" leaves the order. What is unknown comes last.

    Raises
    ------
    InputError
        No such column.
    """
    if not sort:
        return rows
    down = sort.startswith("-") and sort not in table.column_names
    column = _column(table, sort[1:] if down else sort, "Order")
    if table.kind_of(column) == "number":
        values = table.number(column)[rows]
        order = np.argsort(-values if down else values, kind="stable")
        return rows[order]
    texts = table.text(column)
    keyed = sorted(rows.tolist(), key=lambda row: _natural(texts[row]), reverse=down)
    keyed.sort(key=lambda row: not texts[row])
    return np.array(keyed, np.int64)


def _natural(text: str) -> list[tuple[int, int, str]]:
    """room2 before room10."""
    parts = re.split(r"(\d+)", text.casefold())
    return [(0, int(part), "") if part.isdecimal() and len(part) < 18 else (1, 0, part) for part in parts if part]
