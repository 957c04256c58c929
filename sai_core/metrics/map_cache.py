"""Rendered maps of annotation tables, kept beside the annotation cache.

Triangulating dense label regions is most of the cost of an evaluation and depends on the points alone, so the maps
of a table are written once to ``cache_root()/metrics/2026-06-30/`` and memory-mapped afterwards. The name of a file
is a hash of what the maps depend on (points and energies as float32, their division into polygons and annotations)
and of the format's version, so that it can never be stale; frames, classes, scores and distances are not part of
it: a changed class finds the same maps.

A file is lossless and compact (10 bytes per non-zero pixel, about 0.5 kB a region). One that is damaged, or cannot
be written, only costs time.
"""

from __future__ import annotations

import contextlib
import hashlib
import mmap
import struct
import weakref
import zlib
from pathlib import Path
from typing import Final

import numpy as np

from sai_core.annotations.table import AnnotationTable
from sai_core.errors import InputError, SaiError
from sai_core.files import atomic_write, cache_root
from sai_core.metrics.rendering_0630 import SparseMaps, render_table_0630
from sai_core.progress import Progress, no_progress

_VERSION: Final[int] = 1
"""Raise when the rendering or the layout of the file changes."""

_MAGIC: Final[bytes] = b"SAIMAPS1"
_HEADER: Final = struct.Struct("<8sIIqqq")
"""Magic, version, CRC-32 of what follows the header, number of maps, number of entries, zero."""

# tables are frozen, so their maps stay valid for as long as the object lives
_in_process: weakref.WeakKeyDictionary[AnnotationTable, SparseMaps] = weakref.WeakKeyDictionary()


def cached_maps_0630(table: AnnotationTable, *, use_cache: bool = True, progress: Progress = no_progress) -> SparseMaps:
    """Maps of all annotations of a table, rendered or from the cache.

    Parameters
    ----------
    table : AnnotationTable
        Points on the label grid.
    use_cache : bool
        Read and write the file; with False the maps are rendered, and kept in memory only.
    progress : Progress
        Told while maps are rendered.

    Returns
    -------
    maps : SparseMaps
        Read-only arrays; see :func:`sai_core.metrics.rendering_0630.render_table_0630`.
    """
    maps = _in_process.get(table)
    if maps is not None:
        return maps
    path = cache_path_0630(table) if use_cache else None
    maps = None if path is None else _read(path, len(table))
    if maps is None:
        maps = render_table_0630(table, progress=progress)
        if path is not None:
            # a cache that cannot be written only costs speed
            with contextlib.suppress(SaiError, OSError):
                _write(path, maps)
    _in_process[table] = maps
    return maps


def cache_path_0630(table: AnnotationTable) -> Path:
    """File that holds the maps of a table with these points, whether or not it exists."""
    digest = hashlib.sha1(usedforsecurity=False)
    digest.update(_MAGIC + struct.pack("<IQQQ", _VERSION, len(table), len(table.point_offsets), table.n_points))
    for offsets in (table.polygon_offsets, table.point_offsets):
        digest.update(np.ascontiguousarray(offsets).reshape(-1).data)
    for values in (table.points_xy, table.energy):
        digest.update(np.ascontiguousarray(values, dtype=np.float32).reshape(-1).data)
    return cache_root() / "metrics" / "2026-06-30" / f"{digest.hexdigest()}.maps"


def _write(path: Path, maps: SparseMaps) -> None:
    parts = [
        np.ascontiguousarray(maps.offsets, dtype="<i8").tobytes(),
        np.ascontiguousarray(maps.values, dtype="<f8").tobytes(),
        np.ascontiguousarray(maps.pixels, dtype="<u2").tobytes(),
        maps.painted.astype(np.uint8).tobytes(),
    ]
    checksum = 0
    for part in parts:
        checksum = zlib.crc32(part, checksum)
    with atomic_write(path) as stream:
        stream.write(_HEADER.pack(_MAGIC, _VERSION, checksum, len(maps), len(maps.values), 0))
        stream.writelines(parts)


def _read(path: Path, n_expected: int) -> SparseMaps | None:
    """Maps of a file, or None where it is absent, damaged or of another version."""
    try:
        with open(path, "rb") as stream:
            block = mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ)
    except (OSError, ValueError):
        return None
    if len(block) < _HEADER.size:
        return None
    magic, version, checksum, n, n_entries, _ = _HEADER.unpack_from(block)
    if magic != _MAGIC or version != _VERSION or n != n_expected or n_entries < 0:
        return None
    if len(block) != _HEADER.size + 8 * (n + 1) + 10 * n_entries + n:
        return None
    if zlib.crc32(memoryview(block)[_HEADER.size :]) != checksum:
        return None
    position = _HEADER.size
    arrays = []
    for dtype, count in (("<i8", n + 1), ("<f8", n_entries), ("<u2", n_entries), ("|b1", n)):
        arrays.append(np.frombuffer(block, dtype=dtype, count=count, offset=position))
        position += arrays[-1].nbytes
    offsets, values, pixels, painted = arrays
    try:
        return SparseMaps(offsets, pixels, values, painted)
    except InputError:
        return None
