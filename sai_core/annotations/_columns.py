"""Growing typed columns: where the annotations of a file go, one after the other, while it is read.

Two places to grow in: memory (buffers that the C library grows without a second copy) and a folder of ``.npy`` files
(the binary cache while it is being filled), so that a large file is read with a few megabytes of memory.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Final, Protocol

import numpy as np
import numpy.typing as npt

from sai_core.annotations.notes import FileNotes
from sai_core.annotations.table import AnnotationTable

COLUMN_DTYPES: Final[dict[str, np.dtype]] = {
    "frame": np.dtype(np.int32),
    "category_id": np.dtype(np.int16),
    "instance_id": np.dtype(np.int64),
    "distance_cm": np.dtype(np.float64),
    "score": np.dtype(np.float64),
    "polygon_offsets": np.dtype(np.int64),
    "point_offsets": np.dtype(np.int64),
    "points_xy": np.dtype(np.float64),
    "energy": np.dtype(np.float64),
}
"""Columns of :class:`AnnotationTable` in its order; ``points_xy`` has two values a row, the others one."""

POINT_COLUMNS: Final[tuple[str, str]] = ("points_xy", "energy")

_NPY_HEADER_BYTES: Final[int] = 128
_REORDER_POINTS: Final[int] = 1 << 19

Columns = dict[str, npt.NDArray]


def _bytes(values: npt.NDArray, name: str) -> memoryview:
    return np.ascontiguousarray(values, dtype=COLUMN_DTYPES[name]).reshape(-1).view(np.uint8).data


def _row_shape(name: str) -> tuple[int, ...]:
    return (2,) if name == "points_xy" else ()


class Sink(Protocol):
    """Where columns grow."""

    def append(self, name: str, values: npt.NDArray) -> None:
        """Add rows to a column."""

    def finish(self) -> Columns:
        """All columns, read-only; nothing may be appended afterwards."""

    def reordered(self, columns: Columns, order: npt.NDArray[np.int64]) -> Columns:
        """The columns with annotations in another order."""


class MemorySink:
    """Columns in memory."""

    def __init__(self) -> None:
        self._buffers = {name: bytearray() for name in COLUMN_DTYPES}

    def append(self, name: str, values: npt.NDArray) -> None:
        """Add rows to a column."""
        self._buffers[name] += _bytes(values, name)

    def finish(self) -> Columns:
        """Hand the buffers over as read-only arrays (no copy)."""
        columns: Columns = {}
        for name, dtype in COLUMN_DTYPES.items():
            column = np.frombuffer(self._buffers.pop(name), dtype=dtype).reshape(-1, *_row_shape(name))
            column.flags.writeable = False
            columns[name] = column
        return columns

    def reordered(self, columns: Columns, order: npt.NDArray[np.int64]) -> Columns:
        """Reorder in place, one coordinate at a time: a second copy of all points would not fit the memory limit."""
        result = {name: columns[name][order] for name in _ANNOTATION_COLUMNS}
        index, result["polygon_offsets"], result["point_offsets"] = _reordered_offsets(columns, order)
        scratch = np.empty(len(columns["energy"]))
        for name in POINT_COLUMNS:
            column = columns[name]
            column.flags.writeable = True
            for values in (column[:, 0], column[:, 1]) if column.ndim == 2 else (column,):
                done = 0
                for rows in _point_rows(columns["point_offsets"], index):
                    scratch[done : done + len(rows)] = values[rows]
                    done += len(rows)
                values[:] = scratch
            result[name] = column
        for column in result.values():
            column.flags.writeable = False
        return {name: result[name] for name in COLUMN_DTYPES}


class FolderSink:
    """Columns as ``.npy`` files in a folder; OSError (disk full, no permission) passes through.

    Parameters
    ----------
    folder
        Exists, is empty and belongs to this sink alone.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._rows = dict.fromkeys(COLUMN_DTYPES, 0)
        self._streams: dict[str, IO[bytes]] = {}
        try:
            for name in COLUMN_DTYPES:
                self._streams[name] = _open_column(folder, name)
        except OSError:
            self.close()
            raise

    def append(self, name: str, values: npt.NDArray) -> None:
        """Add rows to a column."""
        self._rows[name] += len(values)
        self._streams[name].write(_bytes(values, name))

    def finish(self) -> Columns:
        """Complete the files and map them read-only."""
        for name, stream in self._streams.items():
            _close_column(stream, name, self._rows[name])
        self._streams = {}
        return _map_columns(self._folder)

    def reordered(self, columns: Columns, order: npt.NDArray[np.int64]) -> Columns:
        """Reorder by writing new files beside the old ones and replacing them."""
        index, polygon_offsets, point_offsets = _reordered_offsets(columns, order)
        replacement = {name: columns[name][order] for name in _ANNOTATION_COLUMNS}
        replacement |= {"polygon_offsets": polygon_offsets, "point_offsets": point_offsets}
        fresh = self._folder / "reordered"
        fresh.mkdir()
        for name in COLUMN_DTYPES:
            stream = _open_column(fresh, name)
            try:
                if name in POINT_COLUMNS:
                    n_rows = len(columns.pop(name))
                    for rows in _point_rows(columns["point_offsets"], index):
                        # a new map each time: pages that were read count as memory for as long as a map lives
                        stream.write(_bytes(_map_column(self._folder, name)[rows], name))
                else:
                    n_rows = len(replacement[name])
                    stream.write(_bytes(replacement[name], name))
                _close_column(stream, name, n_rows)
            finally:
                stream.close()
            os.replace(fresh / f"{name}.npy", self._folder / f"{name}.npy")
        fresh.rmdir()
        return _map_columns(self._folder)

    def close(self) -> None:
        """Close the files of an unfinished sink."""
        for stream in self._streams.values():
            stream.close()
        self._streams = {}


_ANNOTATION_COLUMNS: Final[tuple[str, ...]] = ("frame", "category_id", "instance_id", "distance_cm", "score")


def table_of(recording: str, columns: Columns, notes: FileNotes) -> AnnotationTable:
    """Container over the columns (no copy)."""
    return AnnotationTable(recording, **columns, notes=notes)


def _map_columns(folder: Path) -> Columns:
    """Read-only maps of the columns in a folder of the caller's alone (a map must never be cut by others)."""
    return {name: _map_column(folder, name) for name in COLUMN_DTYPES}


def _map_column(folder: Path, name: str) -> npt.NDArray:
    path, dtype, shape = folder / f"{name}.npy", COLUMN_DTYPES[name], _row_shape(name)
    with open(path, "rb") as stream:
        header = stream.read(_NPY_HEADER_BYTES)
        n_bytes = os.fstat(stream.fileno()).st_size - _NPY_HEADER_BYTES
    n_rows, rest = divmod(n_bytes, dtype.itemsize * math.prod(shape))
    if n_rows < 0 or rest or header != _npy_header(name, n_rows):
        raise ValueError(f"{path}: unexpected header or size")
    if n_rows:
        return np.memmap(path, dtype, mode="r", offset=_NPY_HEADER_BYTES, shape=(n_rows, *shape))
    empty = np.empty((0, *shape), dtype)
    empty.flags.writeable = False
    return empty


def _open_column(folder: Path, name: str) -> IO[bytes]:
    stream = open(folder / f"{name}.npy", "wb", buffering=1 << 16)  # noqa: SIM115 - closed by the sink
    stream.write(b"\0" * _NPY_HEADER_BYTES)
    return stream


def _close_column(stream: IO[bytes], name: str, n_rows: int) -> None:
    """Write the header, whose row count is known only now, and put the file on disk."""
    stream.flush()
    stream.seek(0)
    stream.write(_npy_header(name, n_rows))
    stream.flush()
    os.fsync(stream.fileno())
    stream.close()


def _npy_header(name: str, n_rows: int) -> bytes:
    """NPY format version 1.0: magic, version, header length, then a dict literal padded with spaces."""
    text = f"{{'descr': '{COLUMN_DTYPES[name].str}', 'fortran_order': False, 'shape': {(n_rows, *_row_shape(name))}, }}"
    length = _NPY_HEADER_BYTES - 10
    return b"\x93NUMPY\x01\x00" + length.to_bytes(2, "little") + text.encode().ljust(length - 1) + b"\n"


def _reordered_offsets(
    columns: Columns, order: npt.NDArray[np.int64]
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Polygon indices in the new order, and the new polygon and point offsets."""
    offsets = columns["polygon_offsets"]
    counts = np.diff(offsets)[order]
    polygon_offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    shift = np.repeat(offsets[:-1][order] - polygon_offsets[:-1], counts)
    index = np.arange(polygon_offsets[-1], dtype=np.int64) + shift
    sizes = np.diff(columns["point_offsets"])[index]
    return index, polygon_offsets, np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)


def _point_rows(
    point_offsets: npt.NDArray[np.int64], polygons: npt.NDArray[np.int64]
) -> Iterator[npt.NDArray[np.int64]]:
    """Rows of the points of the polygons in the order given, some hundred thousand at a time."""
    starts, sizes = point_offsets[polygons], np.diff(point_offsets)[polygons]
    ends = np.cumsum(sizes)
    first = 0
    while first < len(polygons):
        base = ends[first] - sizes[first]
        last = max(int(np.searchsorted(ends, base + _REORDER_POINTS)), first + 1)
        block = sizes[first:last]
        yield np.arange(block.sum()) + np.repeat(starts[first:last] - (ends[first:last] - block - base), block)
        first = last
