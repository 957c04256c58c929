"""Annotation files in the cache (:mod:`sai_core.cache`): second openings in milliseconds.

An entry belongs to *content* and to the options of the reader, not to a path: renamed, copied and shared files find
it, and a changed file never does. What is stored is hashed while it is parsed, so an entry never holds other bytes than
its name says. A file is hashed beforehand only if one of its size, beginning and end was read before: else there is
nothing to be found. Points are kept packed, some five bytes each (:mod:`sai_core.annotations._packed`).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

import msgspec

from sai_core.annotations._columns import COLUMN_DTYPES, Columns
from sai_core.annotations._decode import ReadOptions
from sai_core.annotations._packed import Packed
from sai_core.annotations.notes import FileNotes
from sai_core.annotations.table import PackedPoints
from sai_core.cache import Cache, content_if_known, content_of, key_of
from sai_core.errors import InputError

MIN_BYTES: Final[int] = 1 << 16
"""Smaller files are parsed faster than an entry is opened."""

_cache: Final = Cache("annotations", 5)
"""Its version is to be raised when the meaning of a column changes, or the reader's rules do."""
_looks: Final = Cache("annotation-looks", 1)
"""Of each file that an entry was made of: size, beginning and end, as a key that holds nothing."""
_LOOK_BYTES: Final[int] = 1 << 15


@dataclass(frozen=True)
class CachedRead:
    """What an entry holds."""

    columns: Columns
    points: PackedPoints
    kind: str
    notes: FileNotes


def find(path: Path, options: ReadOptions) -> tuple[str | None, CachedRead | None]:
    """Content hash of the file, None where it was not worth finding out, and its entry, if there is a good one."""
    content = content_if_known(path)
    if content is None:
        if _looks.get(_look(path)) is None:
            return None, None
        content = content_of(path)
    entry = _cache.get(_key(content, options))
    if entry is None or entry.arrays.keys() != {*COLUMN_DTYPES, *PackedPoints._fields}:
        return content, None
    notes = msgspec.convert(entry.facts["notes"], FileNotes)
    decimals = entry.facts["decimals"]
    columns = {name: entry.arrays[name] for name in COLUMN_DTYPES}
    points = PackedPoints(*(Packed(entry.arrays[name], decimals[name]) for name in PackedPoints._fields))
    return content, CachedRead(columns, points, entry.facts["kind"], notes)


def store(
    path: Path,
    content: str,
    options: ReadOptions,
    columns: Columns,
    points: PackedPoints,
    kind: str,
    notes: FileNotes,
) -> None:
    """Keep what was read of a file."""
    packed = points._asdict()
    facts = {"kind": kind, "notes": msgspec.to_builtins(notes), "decimals": {k: v.decimals for k, v in packed.items()}}
    _cache.put(_key(content, options), {**columns, **{k: v.codes for k, v in packed.items()}}, facts)
    _looks.put(_look(path), {}, {})


def _look(path: Path) -> str:
    """Size, first and last bytes of a file as a key."""
    try:
        with open(path, "rb") as stream:
            size = stream.seek(0, 2)
            stream.seek(max(0, size - _LOOK_BYTES))
            end = stream.read(_LOOK_BYTES)
            stream.seek(0)
            return key_of(size, stream.read(_LOOK_BYTES), end)
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror or error}).") from error


def _key(content: str, options: ReadOptions) -> str:
    return f"{content}-{'c' if options.check_canvas else 'a'}{options.unknown_classes[0]}"
