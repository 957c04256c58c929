"""Which class an id of a file stands for: what the list ``categories`` of a JSON file says."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

import msgspec
import numpy as np
import numpy.typing as npt

from sai_core.annotations._scan import show
from sai_core.annotations.notes import Note
from sai_core.errors import InputError
from sai_core.taxonomy import CLASS_NAMES, N_CLASSES, category_of

Path = str | os.PathLike[str]

_MOST_NAMES: Final[int] = 7
"""Names of the 13 that must be known before a list of 13 is trusted to be in the official order (see below)."""


class _Category(msgspec.Struct):
    id: int | float
    name: str | None = None


@dataclass
class ClassIds:
    """Ids of a file and the classes they stand for.

    Attributes
    ----------
    known : dict of id to category_id, or None
        None where the file names no class: ids are 0..12 then.
    names : dict of id to str
        What the file calls the other ids.
    notes : tuple of Note
        What was guessed.
    """

    known: dict[int | float, int] | None = None
    names: dict[int | float, str] = field(default_factory=dict)
    notes: tuple[Note, ...] = ()

    @property
    def as_written(self) -> bool:
        """Whether every id stands for itself."""
        return self.known is None or (not self.names and all(k == v for k, v in self.known.items()))

    def of(self, file_id: int | float) -> int | float:
        """``category_id`` of an id of the file; -1 for one that the file names and that is none of the 13."""
        return file_id if self.known is None else self.known.get(file_id, -1)

    def in_batch(self, file_ids: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """As :meth:`of`, int64 shape (n,)."""
        if self.known is None:
            return file_ids
        return np.array([self.known.get(k, -1) for k in file_ids.tolist()], dtype=np.int64)

    def shown(self, file_id: int | float) -> str:
        """How an id that is none of the 13 is called in sentences."""
        name = self.names.get(file_id)
        return f"{file_id}" if name is None else f"{show(name)} (id {file_id})"


def parse_categories(path: Path, raw: bytes, *, strict: bool = True) -> ClassIds:
    """Decode the value of ``categories`` (empty bytes: the file has none).

    Classes go by name. Where a list of 13 is in the official order (from 0, or from 1) by most of its names, those
    that are not known are taken by their place, and that is noted. Where no name is known, ids are 0..12.

    Parameters
    ----------
    path : path
        Named in messages.
    raw : bytes
        JSON: COCO's ``[{"id": 1, "name": "Bell"}, ...]``, a list of names in the order of ids from 0, or an object of
        names and ids either way round.
    strict : bool
        Whether something else is an error (COCO), or a note (label files, where the key is nobody's standard).

    Raises
    ------
    InputError
        Malformed, or an id twice.
    """
    if not raw:
        return ClassIds()
    try:
        given = _named_ids(path, raw)
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError, ValueError) as error:
        if isinstance(error, InputError):
            raise
        if strict:
            raise InputError(f"{path}: the list 'categories' is not valid COCO ({error}).") from None
        message = "the value of 'categories' is not valid COCO and was ignored; ids are taken as 0 to 12."
        return ClassIds(notes=(Note("categories_unread", message),))
    return _class_ids(given)


def _named_ids(path: Path, raw: bytes) -> dict[int, str]:
    if raw.lstrip()[:1] == b"{":
        table = msgspec.json.decode(raw, type=dict[str, str | int])
        pairs = [(int(k), v) if isinstance(v, str) else (v, k) for k, v in table.items()]
    elif raw.lstrip(b"[ \t\r\n")[:1] == b'"':
        pairs = list(enumerate(msgspec.json.decode(raw, type=list[str])))
    else:
        categories = msgspec.json.decode(raw, type=list[_Category])
        pairs = [(_whole(f"{path}: category {k}", c.id), c.name or "") for k, c in enumerate(categories)]
    result: dict[int, str] = {}
    for k, (number, name) in enumerate(pairs):
        if number in result:
            raise InputError(f"{path}: category {k}: the id {number} appears twice; category ids must be unique.")
        result[number] = name
    return result


def _class_ids(given: dict[int, str]) -> ClassIds:
    known: dict[int | float, int] = {}
    names: dict[int | float, str] = {}
    for number, name in given.items():
        category = category_of(name)
        if category is None:
            names[number] = name
        else:
            known[number] = category
    if not known:
        if not given:
            return ClassIds()
        if set(given) == set(range(1, N_CLASSES + 1)):
            message = (
                f"none of the {N_CLASSES} names in 'categories' is one of the classes "
                f"({_listed(list(given.values()))}); ids count from 1 and are taken in the official order, 1 as "
                f"{CLASS_NAMES[0]}."
            )
            return ClassIds({k: k - 1 for k in given}, notes=(Note("categories_foreign", message),))
        message = (
            f"none of the {len(given)} names in 'categories' is one of the 13 classes "
            f"({_listed(list(given.values()))}); ids are taken as 0 to {N_CLASSES - 1}."
        )
        return ClassIds(notes=(Note("categories_foreign", message),))
    by_place = _by_place(given, known)
    for number, category in by_place.items():
        known[number] = category
        del names[number]
    notes: tuple[Note, ...] = _merged(given, known)
    if by_place:
        taken = ", ".join(f"{show(given[k])} as {CLASS_NAMES[c]}" for k, c in by_place.items())
        message = f"names in 'categories' that are not known were taken by their place in the list: {taken}."
        notes += (Note("categories_by_place", message),)
    return ClassIds(known, names, notes)


def _merged(given: dict[int, str], known: dict[int | float, int]) -> tuple[Note, ...]:
    """What is to be said where several ids stand for one class."""
    ids: dict[int, list[int]] = {}
    for number in given:
        if number in known:
            ids.setdefault(known[number], []).append(number)
    merged = []
    for category, several in ids.items():
        if len(several) > 1:
            listed = " and ".join(f"{show(given[k])} (id {k})" for k in several[:3])
            merged.append(f"{listed}{' and more' if len(several) > 3 else ''} as {CLASS_NAMES[category]}")
    if not merged:
        return ()
    return (Note("categories_merged", f"several ids in 'categories' are taken as one class: {', '.join(merged)}."),)


def _by_place(given: dict[int, str], known: dict[int | float, int]) -> dict[int, int]:
    """Unknown names of a whole list of 13 whose known names are all where the official order has them."""
    shifts = {number - category for number, category in known.items()}
    if len(known) < _MOST_NAMES or len(shifts) != 1:
        return {}
    shift = int(shifts.pop())
    places = range(shift, shift + N_CLASSES)
    if shift not in (0, 1) or not all(k in given for k in places):
        return {}
    return {k: k - shift for k in places if k not in known}


def _whole(where: str, value: int | float) -> int:
    if value != int(value) or not -(2**63) <= value < 2**63:
        raise InputError(f"{where}, field 'id': got {value}, expected a whole number.")
    return int(value)


def _listed(names: Sequence[str]) -> str:
    return ", ".join(show(name) for name in names[:4]) + (", ..." if len(names) > 4 else "")
