"""Annotation files in the cache (:mod:`sai_core.cache`): second openings in milliseconds.

An entry belongs to *content* and to the options of the reader, not to a path: renamed, copied and shared files find
it, and a changed file never does. What is stored is hashed once more while it is parsed, so an entry never holds other
bytes than its name says. While a large file is parsed, its columns grow in a folder that belongs to this process
alone, so that memory does not have to hold them twice.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import msgspec

from sai_core.annotations._columns import COLUMN_DTYPES, Columns
from sai_core.annotations._decode import ReadOptions
from sai_core.annotations.notes import FileNotes
from sai_core.cache import Cache, content_of

MIN_BYTES: Final[int] = 1 << 16
"""Smaller files are parsed faster than an entry is opened."""

_cache: Final = Cache("annotations", 4)
"""Its version is to be raised when the meaning of a column changes, or the reader's rules do."""


@dataclass(frozen=True)
class CachedRead:
    """What an entry holds."""

    columns: Columns
    kind: str
    notes: FileNotes


def find(path: Path, options: ReadOptions) -> tuple[str, CachedRead | None]:
    """Content hash of the file and its entry, if there is a good one."""
    content = content_of(path)
    entry = _cache.get(_key(content, options))
    if entry is None or entry.arrays.keys() != COLUMN_DTYPES.keys():
        return content, None
    notes = msgspec.convert(entry.facts["notes"], FileNotes)
    return content, CachedRead(entry.arrays, entry.facts["kind"], notes)


def new_work_folder(n_bytes: int) -> Path | None:
    """Private empty folder to fill, or None where the cache cannot be written or the disk is nearly full."""
    folder = _cache.work_folder()
    # columns need 24 bytes for at least 8 bytes of text, usually for 15 or more; the entry is written beside them
    if folder is not None and shutil.disk_usage(folder).free < 6 * n_bytes:
        drop_work_folder(folder)
        return None
    return folder


def store(content: str, options: ReadOptions, columns: Columns, kind: str, notes: FileNotes) -> None:
    """Keep what was read."""
    _cache.put(_key(content, options), columns, {"kind": kind, "notes": msgspec.to_builtins(notes)})


def drop_work_folder(work: Path) -> None:
    """Remove a work folder; maps of its files stay valid."""
    shutil.rmtree(work, ignore_errors=True)


def _key(content: str, options: ReadOptions) -> str:
    return f"{content}-{'c' if options.check_canvas else 'a'}{options.unknown_classes[0]}"
