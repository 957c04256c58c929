"""The binary cache of annotation files: second openings in milliseconds, by memory map.

Layout under ``cache_root() / "annotations" / "v<FORMAT>"``::

    content/<hash of the file's bytes>-<reader options>/   one .npy per column and entry.json
    index/<hash of the absolute path>.json                 which bytes a path held when it was last looked at

An entry belongs to *content*, not to a path: renamed, copied and shared files find it, and a changed file never does.
Hashing 150 MB takes 0.2 s, so the index remembers the hash of a path for as long as the file has not been touched:

* size, modification time, change time (``ctime``, which no program can set back), inode and device must all be equal;
* the times must have been older than the granularity of time stamps when hashing began (20 ms; 2 s where the stamp is
  a whole second, as on FAT and some network file systems). Otherwise a second write within the same tick, of the same
  size, could not be told apart, and the file is hashed again. A large file that is just that fresh is given those
  20 ms before hashing, so that its second opening is fast;
* what is stored is hashed once more while it is parsed, so an entry never holds other bytes than its name says;
* files under ``SMALL_BYTES`` are hashed every time, which costs less than 10 ms.

An entry is used only if every file has the size and header it should have, small columns have the checksum they were
written with, and so do samples of the points (all of 250 MB cannot be read in 50 ms). Anything else (cut off,
overwritten, from another version) is removed and made again. A folder that cannot be written costs speed, never an
error. Entries are made in a private folder and renamed into place, so that processes may write the same one at once.
When all entries together exceed ``SAI_CACHE_MAX_GB`` (default 16), those not used for longest are deleted; arrays
that another process has mapped stay readable until it lets go of them.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
import time
import zlib
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import msgspec
import numpy as np
import numpy.typing as npt

from sai_core.annotations._columns import COLUMN_DTYPES, POINT_COLUMNS, Columns, map_columns
from sai_core.annotations._decode import ReadOptions
from sai_core.annotations.notes import FileNotes
from sai_core.errors import EnvironmentProblem, InputError
from sai_core.files import atomic_write, cache_root, content_hash

FORMAT: Final[int] = 2
"""Raise when the layout or the meaning of a column changes, or the reader's rules do."""

MIN_BYTES: Final[int] = 1 << 16
"""Smaller files are parsed faster than an entry is opened."""

SMALL_BYTES: Final[int] = 4 << 20

_TICK_NS: Final[int] = 20_000_000
_COARSE_TICK_NS: Final[int] = 2_000_000_000
_N_SAMPLES: Final[int] = 16
_SAMPLE_BYTES: Final[int] = 4096
_STALE_WORK_SECONDS: Final[float] = 6 * 3600.0
_DEFAULT_MAX_GB: Final[float] = 16.0
_FREE_BYTES: Final[int] = 1 << 30
"""Disk space that the cache leaves to others."""


class _Entry(msgspec.Struct):
    kind: str
    notes: FileNotes
    sizes: dict[str, int]
    checksums: dict[str, int]


class _IndexRecord(msgspec.Struct):
    path: str
    stamp: list[int]
    content: str


@dataclass(frozen=True)
class CachedRead:
    """What an entry holds."""

    columns: Columns
    kind: str
    notes: FileNotes


def file_content_hash(path: str | os.PathLike[str]) -> str:
    """Hash of a file's bytes, from the index where the file has not been touched since (see the module).

    Raises
    ------
    InputError
        The file cannot be read.
    """
    return _content_of(Path(path))


def find(path: Path, options: ReadOptions) -> tuple[str, CachedRead | None]:
    """Content hash of the file and its entry, if there is a good one."""
    content = _content_of(path)
    folder = _entry_folder(content, options)
    found = _open_entry(folder)
    if found is None:
        if folder.exists():
            _discard(folder)
    else:
        with suppress(OSError):
            # the folder's time is the time of its last use
            os.utime(folder)
    return content, found


def new_work_folder(n_bytes: int) -> Path | None:
    """Private empty folder to fill, or None where the cache cannot be written or the disk is nearly full."""
    try:
        base = _base() / "content"
        base.mkdir(parents=True, exist_ok=True)
        # columns need 24 bytes for at least 8 bytes of text, usually for 15 or more
        if shutil.disk_usage(base).free < 3 * n_bytes + _FREE_BYTES:
            return None
        return Path(tempfile.mkdtemp(prefix=".work-", dir=base))
    except OSError:
        return None


def store(work: Path, content: str, options: ReadOptions, columns: Columns, kind: str, notes: FileNotes) -> None:
    """Put a filled work folder in place; its maps stay valid. Costs speed only where that fails."""
    try:
        entry = _Entry(kind, notes, _sizes(work), _checksums(columns))
        with atomic_write(work / "entry.json") as stream:
            stream.write(msgspec.json.encode(entry))
        folder = _entry_folder(content, options)
        try:
            os.rename(work, folder)
        except OSError:
            # another process was faster (its entry is as good), or something broken is in the way
            if _open_entry(folder) is None:
                _discard(folder)
                os.rename(work, folder)
        _prune(keep=folder)
    except (OSError, EnvironmentProblem):
        pass
    finally:
        drop_work_folder(work)


def drop_work_folder(work: Path) -> None:
    """Remove a work folder, if it is still there."""
    shutil.rmtree(work, ignore_errors=True)


def clear() -> int:
    """Delete all entries; returns how many bytes they had."""
    total = sum(size for _, size, _ in _entries())
    shutil.rmtree(_base(), ignore_errors=True)
    return total


def _base() -> Path:
    return cache_root() / "annotations" / f"v{FORMAT}"


def _entry_folder(content: str, options: ReadOptions) -> Path:
    return _base() / "content" / f"{content}-{'c' if options.check_canvas else 'a'}{options.unknown_classes[0]}"


def stamp(path: Path) -> list[int]:
    """Size, modification time, change time, inode and device: differ after every write to the file."""
    try:
        status = os.stat(path)
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror or error}).") from None
    return [status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino, status.st_dev]


def _content_of(path: Path) -> str:
    before = stamp(path)
    if before[0] < SMALL_BYTES:
        return content_hash(path)
    absolute = os.path.abspath(path)
    index = _base() / "index" / f"{hashlib.blake2b(os.fsencode(absolute), digest_size=16).hexdigest()}.json"
    record = _read_index(index)
    if record is not None and record.stamp == before and record.path == absolute:
        return record.content
    newest = max(before[1], before[2])
    tick = _COARSE_TICK_NS if before[1] % 1_000_000_000 == 0 else _TICK_NS
    wait = newest + tick - time.time_ns()
    if 0 < wait <= _TICK_NS:
        time.sleep((wait + 1_000_000) / 1e9)
    began = time.time_ns()
    content = content_hash(path)
    if newest + tick < began and stamp(path) == before:
        with suppress(EnvironmentProblem), atomic_write(index) as stream:
            stream.write(msgspec.json.encode(_IndexRecord(absolute, before, content)))
    return content


def _read_index(index: Path) -> _IndexRecord | None:
    try:
        return msgspec.json.decode(index.read_bytes(), type=_IndexRecord)
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError):
        return None


def _sizes(folder: Path) -> dict[str, int]:
    return {name: os.stat(folder / f"{name}.npy").st_size for name in COLUMN_DTYPES}


def _checksums(columns: Columns) -> dict[str, int]:
    return {name: _checksum(name, columns[name]) for name in COLUMN_DTYPES}


def _checksum(name: str, column: npt.NDArray) -> int:
    data = np.ascontiguousarray(column).reshape(-1).view(np.uint8).data
    if name not in POINT_COLUMNS or len(data) <= _N_SAMPLES * _SAMPLE_BYTES:
        return zlib.crc32(data)
    checksum = 0
    for start in np.linspace(0, len(data) - _SAMPLE_BYTES, _N_SAMPLES).astype(np.int64).tolist():
        checksum = zlib.crc32(data[start : start + _SAMPLE_BYTES], checksum)
    return checksum


def _open_entry(folder: Path) -> CachedRead | None:
    try:
        entry = msgspec.json.decode((folder / "entry.json").read_bytes(), type=_Entry)
        if entry.sizes != _sizes(folder):
            return None
        columns = map_columns(folder)
        if entry.checksums != _checksums(columns):
            return None
    except (OSError, ValueError, msgspec.MsgspecError):
        return None
    return CachedRead(columns, entry.kind, entry.notes)


def _discard(folder: Path) -> None:
    """Delete an entry so that nobody sees half of it."""
    trash = folder.with_name(f".work-{folder.name}-{os.getpid()}-{time.time_ns()}")
    with suppress(OSError):
        os.rename(folder, trash)
        folder = trash
    if folder.is_dir() and not folder.is_symlink():
        shutil.rmtree(folder, ignore_errors=True)
    else:
        with suppress(OSError):
            folder.unlink()


def _entries() -> Iterator[tuple[Path, int, float]]:
    """Folder, bytes on disk and time of last use of every entry and of every work folder."""
    with suppress(OSError), os.scandir(_base() / "content") as scan:
        for item in scan:
            try:
                size = sum(os.stat(part).st_size for part in os.scandir(item.path))
                yield Path(item.path), size, item.stat().st_mtime
            except OSError:
                continue


def max_bytes() -> int:
    """Most bytes that all entries may have together (``SAI_CACHE_MAX_GB``, default 16)."""
    try:
        gigabytes = float(os.environ.get("SAI_CACHE_MAX_GB", ""))
    except ValueError:
        gigabytes = _DEFAULT_MAX_GB
    if not 0 <= gigabytes < 1e6:
        gigabytes = _DEFAULT_MAX_GB
    return int(gigabytes * 1e9)


def _prune(*, keep: Path) -> None:
    """Delete what was not used for longest until the rest fits, and what crashed processes left behind."""
    now = time.time()
    total = 0
    limit = max_bytes()
    for folder, size, used in sorted(_entries(), key=lambda entry: -entry[2]):
        if folder.name.startswith(".work-"):
            if now - used > _STALE_WORK_SECONDS:
                shutil.rmtree(folder, ignore_errors=True)
            continue
        total += size
        if total > limit and folder != keep:
            total -= size
            _discard(folder)
