"""One file of arrays in which no flipped bit goes unnoticed: the form of every cache entry.

Layout, little-endian, without gaps::

    magic      8 bytes
    arrays     each as its bytes, in C order
    rows       each as its bytes, followed by one checksum (uint64) a group of rows
    footer     JSON: identity, facts, and per array its name, dtype, shape, checksum and rows a group
    trailer    checksum of the footer (uint64), its length (uint32), magic again

Every byte is under a checksum (XXH3-64) or compared with what it must be. *Arrays* are read into memory and verified
on opening. *Rows* are for what does not fit there (pictures, maps of long recordings): they are read on demand by
ordinary reads, and verified whenever they are read. Nothing here is ever memory-mapped: a map of a file that somebody
cuts ends the whole process with a bus error, a read that comes back short is a sentence. Reading and verifying costs
0.7 ms per MB (``tests/benchmarks/bench_cache.py``).
"""

from __future__ import annotations

import math
import os
import stat
import struct
import threading
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, Final, Literal, overload

import msgspec
import numpy as np
import numpy.typing as npt
import xxhash

from sai_core.errors import EnvironmentProblem

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]
try:
    import resource
except ImportError:  # Windows
    resource = None  # type: ignore[assignment]

_MAGIC: Final[bytes] = b"SAIentr1"
_TRAILER: Final = struct.Struct("<QI8s")
_VERIFY_AT_ONCE: Final[int] = 64 << 20
"""Rows of up to so many bytes are verified on opening, too (some 30 ms), so that damage means: made anew, at once."""
_READ_BYTES: Final[int] = 4 << 20

_thread_lock = threading.Lock()


class DamagedEntry(EnvironmentProblem):
    """A file is not what was written; what it holds must not be used."""


@dataclass(frozen=True)
class Rows:
    """An array to be written block by block and read row by row.

    Attributes
    ----------
    dtype : numpy dtype
    shape : tuple of int
        Of the whole array.
    blocks : iterable of ndarray
        Consecutive rows, ``shape[0]`` of them in all.
    group : int
        Rows under one checksum: reading one of them reads all. Some kilobytes are a good size.
    """

    dtype: npt.DTypeLike
    shape: tuple[int, ...]
    blocks: Iterable[npt.NDArray[Any]]
    group: int = 1

    @property
    def nbytes(self) -> int:
        """Size with the checksums."""
        return math.prod(self.shape) * np.dtype(self.dtype).itemsize + 8 * -(-self.shape[0] // self.group)


class _Array(msgspec.Struct, array_like=True):
    name: str
    dtype: str
    shape: tuple[int, ...]
    checksum: int
    group: int = 0

    @property
    def n_bytes(self) -> int:
        return math.prod(self.shape) * np.dtype(self.dtype).itemsize

    @property
    def n_groups(self) -> int:
        return -(-self.shape[0] // self.group)


class _Footer(msgspec.Struct):
    identity: str
    facts: dict[str, Any]
    arrays: list[_Array]
    rows: list[_Array]


@dataclass(frozen=True, eq=False)
class Entry:
    """What a file holds.

    Attributes
    ----------
    facts : dict
        As JSON has them: tuples come back as lists.
    arrays : dict of ndarray
        Read-only, in memory.
    rows : dict of StoredRows
    """

    facts: dict[str, Any]
    arrays: dict[str, npt.NDArray[Any]] = field(default_factory=dict)
    rows: dict[str, StoredRows] = field(default_factory=dict)


class StoredRows:
    """Rows on disk, read and verified when they are indexed (integers and slices, along the first axis).

    The file stays open (and marked as in use for the eviction of the cache) for as long as the object lives: deleting
    it or putting another in its place does not matter, and one that is cut or written over is noticed.

    Raises
    ------
    DamagedEntry
        On indexing: a row is not what was written.
    """

    def __init__(self, handle: _Handle, about: _Array, start: int, sums: npt.NDArray[np.uint64]) -> None:
        self._handle = handle
        self._start = start
        self._sums = sums
        self.shape = about.shape
        self.dtype = np.dtype(about.dtype)
        self._group = about.group
        self._row_bytes = math.prod(self.shape[1:]) * self.dtype.itemsize

    def __len__(self) -> int:
        """Number of rows."""
        return self.shape[0]

    @property
    def nbytes(self) -> int:
        """Bytes of all rows."""
        return len(self) * self._row_bytes

    @overload
    def __getitem__(self, index: int | slice) -> npt.NDArray[Any]: ...
    @overload
    def __getitem__(self, index: np.integer[Any]) -> npt.NDArray[Any]: ...
    def __getitem__(self, index: int | slice | np.integer[Any]) -> npt.NDArray[Any]:
        """Rows as a new array."""
        if not isinstance(index, slice):
            row = range(len(self))[int(index)]
            return self[row : row + 1][0]
        first, last, step = index.indices(len(self))
        if step != 1:
            raise ValueError("rows are read in order, without a step")
        if last <= first:
            return np.empty((0, *self.shape[1:]), self.dtype)
        # whole groups are read, since a checksum belongs to one
        begin, end = first // self._group, -(-last // self._group)
        top = begin * self._group
        out = np.empty((min(end * self._group, len(self)) - top, *self.shape[1:]), self.dtype)
        if out.size:
            raw = out.reshape(-1).view(np.uint8)
            self._handle.read_into(raw, self._start + top * self._row_bytes)
            size = self._group * self._row_bytes
            for k in range(end - begin):
                if xxhash.xxh3_64_intdigest(raw[k * size : (k + 1) * size].data) != self._sums[begin + k]:
                    raise DamagedEntry(
                        f"{self._handle.path}: this file is damaged on disk (row {top + k * self._group} or one soon "
                        "after it); delete the file and start again, and it will be made again."
                    )
        return out[first - top : last - top]

    def __array__(self, dtype: npt.DTypeLike | None = None, copy: bool | None = None) -> npt.NDArray[Any]:
        """All rows in memory."""
        return np.asarray(self[:], dtype)

    def verify(self) -> None:
        """Read all rows, a few megabytes at a time; raises DamagedEntry."""
        step = max(1, _READ_BYTES // max(self._row_bytes, 1))
        for first in range(0, len(self), step):
            self[first : first + step]


class _Handle:
    """An open regular file, read at positions; safe for threads and across a fork."""

    def __init__(self, path: Path) -> None:
        self.path = path
        # not blocking: a named pipe in place of an entry must not hang the program
        flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0) | getattr(os, "O_CLOEXEC", 0)
        try:
            self._number = os.open(path, flags)
        except OSError as error:
            if error.errno != 24 or not _raise_file_limit():  # EMFILE: thousands of recordings are open
                raise
            self._number = os.open(path, flags)
        status = os.fstat(self._number)
        if not stat.S_ISREG(status.st_mode):
            self.close()
            raise DamagedEntry(f"{path}: is not a regular file.")
        self.size = status.st_size

    def close(self) -> None:
        number, self._number = self._number, -1
        if number >= 0:
            with suppress(OSError):
                os.close(number)

    def __del__(self) -> None:
        if hasattr(self, "_number"):
            self.close()

    def hold(self) -> None:
        """Mark the file as in use, until it is closed."""
        if fcntl is not None:
            with suppress(OSError):
                fcntl.flock(self._number, fcntl.LOCK_SH | fcntl.LOCK_NB)

    def read_into(self, out: npt.NDArray[np.uint8], position: int) -> None:
        done = 0
        while done < len(out):
            try:
                count = self._read_some(out.data[done:], position + done)
            except OSError as error:
                raise DamagedEntry(f"{self.path}: cannot be read ({error.strerror or error}).") from error
            if count == 0:
                raise DamagedEntry(
                    f"{self.path}: this file was cut while it was open; delete it and start again, and it will be "
                    f"made again."
                )
            done += count

    def _read_some(self, out: memoryview, position: int) -> int:
        if hasattr(os, "preadv"):
            return os.preadv(self._number, [out], position)
        with _thread_lock:
            os.lseek(self._number, position, os.SEEK_SET)
            data = os.read(self._number, len(out))
        out[: len(data)] = data
        return len(data)

    def read(self, count: int, position: int) -> npt.NDArray[np.uint8]:
        out = np.empty(count, np.uint8)
        self.read_into(out, position)
        return out


def in_use(path: Path) -> bool:
    """Whether somebody reads rows of this file (always False where the system has no such locks)."""
    if fcntl is None:
        return False
    try:
        number = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    except OSError:
        return False
    try:
        fcntl.flock(number, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    finally:
        os.close(number)
    return False


def n_bytes_of(arrays: Mapping[str, npt.NDArray[Any] | Rows]) -> int:
    """About how large a file of these arrays is."""
    return 4096 + sum(values.nbytes for values in arrays.values())


def write_entry(
    stream: IO[bytes],
    identity: str,
    arrays: Mapping[str, npt.NDArray[Any] | Rows],
    facts: Mapping[str, Any] | None = None,
) -> None:
    """Write a file; OSError passes through.

    Parameters
    ----------
    stream : binary file
    identity : str
        What the file is; :func:`read_entry` asks for the same.
    arrays : mapping of str to ndarray or Rows
    facts : mapping, optional
        Whatever JSON can hold.
    """
    footer = _Footer(identity, dict(facts or {}), [], [])
    stream.write(_MAGIC)
    for name, values in arrays.items():
        if not isinstance(values, Rows):
            flat = _flat(values)
            stream.write(flat.data)
            footer.arrays.append(_Array(name, values.dtype.str, values.shape, xxhash.xxh3_64_intdigest(flat.data)))
    for name, values in arrays.items():
        if isinstance(values, Rows):
            sums = _write_rows(stream, values)
            stream.write(sums.data)
            checksum = xxhash.xxh3_64_intdigest(sums.data)
            footer.rows.append(_Array(name, np.dtype(values.dtype).str, values.shape, checksum, values.group))
    text = msgspec.json.encode(footer)
    stream.write(text)
    stream.write(_TRAILER.pack(xxhash.xxh3_64_intdigest(text), len(text), _MAGIC))


def _write_rows(stream: IO[bytes], rows: Rows) -> npt.NDArray[np.uint64]:
    sums: list[int] = []
    count, digest = 0, xxhash.xxh3_64()
    for block in rows.blocks:
        if block.shape[1:] != rows.shape[1:]:
            raise ValueError(f"a block of shape {block.shape} among rows of shape {rows.shape}")
        start = 0
        while start < len(block):
            part = block[start : start + rows.group - count % rows.group]
            flat = _flat(part.astype(rows.dtype, copy=False))
            stream.write(flat.data)
            digest.update(flat.data)
            start, count = start + len(part), count + len(part)
            if count % rows.group == 0:
                sums.append(digest.intdigest())
                digest.reset()
    if count % rows.group:
        sums.append(digest.intdigest())
    if count != rows.shape[0]:
        raise ValueError(f"{count} rows where there must be {rows.shape[0]}")
    return np.array(sums, "<u8")


def _flat(values: npt.NDArray[Any]) -> npt.NDArray[np.uint8]:
    if values.dtype.hasobject or values.dtype.byteorder == ">":
        raise TypeError(f"arrays of {values.dtype} are not stored")
    return np.ascontiguousarray(values).reshape(-1).view(np.uint8)


def read_entry(path: Path, identity: str) -> Entry:
    """Open a file and verify it (rows of more than 64 MB when they are read).

    Raises
    ------
    FileNotFoundError, NotADirectoryError, PermissionError
        There is none, or it may not be read.
    DamagedEntry
        It is not what was written, or something else.
    """
    try:
        handle = _Handle(path)
    except (FileNotFoundError, NotADirectoryError, PermissionError):
        raise
    except OSError as error:
        raise DamagedEntry(f"{path}: cannot be read ({error.strerror or error}).") from error
    footer, end = _footer(handle, identity)
    entry = Entry(footer.facts)
    position = len(_MAGIC)
    for about in footer.arrays:
        flat = handle.read(about.n_bytes, position)
        _check(path, flat, about.checksum)
        values = flat.view(about.dtype).reshape(about.shape)
        values.flags.writeable = False
        entry.arrays[about.name] = values
        position += about.n_bytes
    for about in footer.rows:
        raw = handle.read(8 * about.n_groups, position + about.n_bytes)
        _check(path, raw, about.checksum)
        rows = entry.rows[about.name] = StoredRows(handle, about, position, raw.view("<u8"))
        position += about.n_bytes + len(raw)
        if rows.nbytes <= _VERIFY_AT_ONCE:
            rows.verify()
    assert position == end
    if footer.rows:
        handle.hold()
    else:
        handle.close()
    return entry


def _footer(handle: _Handle, identity: str) -> tuple[_Footer, int]:
    path, size = handle.path, handle.size
    least = len(_MAGIC) + _TRAILER.size
    if size < least:
        raise DamagedEntry(f"{path}: is cut off.")
    head = handle.read(len(_MAGIC), 0).tobytes()
    checksum, length, magic = _TRAILER.unpack(handle.read(_TRAILER.size, size - _TRAILER.size).data)
    if head != _MAGIC or magic != _MAGIC or length > size - least:
        raise DamagedEntry(f"{path}: is not an entry, or is cut off.")
    end = size - _TRAILER.size - length
    text = handle.read(length, end)
    _check(path, text, checksum)
    try:
        footer = msgspec.json.decode(text.data, type=_Footer)
        total = sum(a.n_bytes for a in footer.arrays) + sum(a.n_bytes + 8 * a.n_groups for a in footer.rows)
    except (msgspec.MsgspecError, TypeError, ValueError, IndexError, ZeroDivisionError) as error:
        raise DamagedEntry(f"{path}: is of another version ({error}).") from error
    if footer.identity != identity:
        raise DamagedEntry(f"{path}: belongs to something else.")
    if len(_MAGIC) + total != end:
        raise DamagedEntry(f"{path}: has another length than it was written with.")
    return footer, end


def _check(path: Path, data: npt.NDArray[np.uint8], checksum: int) -> None:
    if xxhash.xxh3_64_intdigest(data.data) != checksum:
        raise DamagedEntry(f"{path}: is damaged (checksum).")


def _raise_file_limit() -> Literal[True] | None:
    """Allow this process as many open files as the system lets it have; None where it has them already."""
    if resource is None:
        return None
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == hard:
        return None
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    except (OSError, ValueError):
        return None
    return True
