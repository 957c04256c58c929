"""Rendered maps of annotation tables, kept beside the annotation cache.

Triangulating dense label regions is most of the cost of an evaluation and depends on the points alone, so the maps
of a table are written once to the cache (:mod:`sai_core.cache`, namespace ``maps``). The key is a hash of what the
maps depend on (points and energies as float32, their division into polygons and annotations), so that an entry can
never be stale; frames, classes, scores and distances are not part of it: a changed class finds the same maps.

An entry is lossless and compact (10 bytes per non-zero pixel, about 0.5 kB a region).
"""

from __future__ import annotations

import hashlib
import struct
import weakref
from typing import Final

import numpy as np

from sai_core.annotations.table import AnnotationTable, point_blocks
from sai_core.cache import Cache
from sai_core.metrics.official.rendering_0630 import SparseMaps, render_table_0630
from sai_core.progress import Progress, no_progress

_cache: Final = Cache("maps", 1)
"""Its version is to be raised when the rendering changes."""

# tables are frozen, so their maps stay valid for as long as the object lives
_in_process: weakref.WeakKeyDictionary[AnnotationTable, SparseMaps] = weakref.WeakKeyDictionary()


def cached_maps_0630(table: AnnotationTable, *, use_cache: bool = True, progress: Progress = no_progress) -> SparseMaps:
    """Maps of all annotations of a table, rendered or from the cache.

    Parameters
    ----------
    table : AnnotationTable
        Points on the label grid.
    use_cache : bool
        Read and write the entry; with False the maps are rendered, and kept in memory only.
    progress : Progress
        Told while maps are rendered.

    Returns
    -------
    maps : SparseMaps
        Read-only arrays; see :func:`sai_core.metrics.official.rendering_0630.render_table_0630`.
    """
    maps = _in_process.get(table)
    if maps is not None:
        return maps
    if use_cache:
        key = _key(table)
        entry = _cache.get(key)
        if entry is not None:
            maps = SparseMaps(**entry.arrays)
    if maps is None:
        maps = render_table_0630(table, progress=progress)
        if use_cache:
            columns = {name: getattr(maps, name) for name in ("offsets", "pixels", "values", "painted")}
            _cache.put(key, columns)
    _in_process[table] = maps
    return maps


def _key(table: AnnotationTable) -> str:
    digest = hashlib.blake2b(digest_size=16)
    digest.update(struct.pack("<QQQ", len(table), len(table.point_offsets), table.n_points))
    for offsets in (table.polygon_offsets, table.point_offsets):
        digest.update(np.ascontiguousarray(offsets).reshape(-1).data)
    for values_of in (table.xy_of, table.energy_of):
        for _, points in point_blocks(table):
            digest.update(np.ascontiguousarray(values_of(points), dtype=np.float32).reshape(-1).data)
    return digest.hexdigest()
