"""Growing typed columns: where the annotations of a file go, one after the other, while it is read."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import numpy.typing as npt

from sai_core.annotations._packed import GrowingNumbers, Packed
from sai_core.annotations._points import Decimals
from sai_core.annotations.notes import FileNotes
from sai_core.annotations.table import AnnotationTable, PackedPoints, gather_ranges

COLUMN_DTYPES: Final[dict[str, np.dtype[Any]]] = {
    "frame": np.dtype(np.int32),
    "category_id": np.dtype(np.int16),
    "instance_id": np.dtype(np.int64),
    "distance_cm": np.dtype(np.float64),
    "score": np.dtype(np.float64),
    "polygon_offsets": np.dtype(np.int64),
    "point_offsets": np.dtype(np.int64),
}
"""Columns of :class:`AnnotationTable` in its order, but for those of points."""

_KEPT_PACKED_POINTS: Final[int] = 1 << 19
"""Points from which on a table keeps them packed: 12 MB as float64."""

Columns = dict[str, npt.NDArray[Any]]


class ColumnSink:
    """Columns in memory, points packed: a text of 287 MB becomes 94 MB."""

    def __init__(self) -> None:
        self._buffers = {name: bytearray() for name in COLUMN_DTYPES}
        self._points = {name: GrowingNumbers() for name in ("x", "y", "energy")}

    def append(self, name: str, values: npt.NDArray[Any]) -> None:
        """Add rows to a column."""
        values = np.ascontiguousarray(values, dtype=COLUMN_DTYPES[name])
        self._buffers[name] += values.view(np.uint8).data

    def append_points(
        self,
        x: npt.NDArray[np.float64] | Decimals,
        y: npt.NDArray[np.float64] | Decimals,
        energy: npt.NDArray[np.float64] | Decimals,
    ) -> None:
        """Add points."""
        for column, values in zip(self._points.values(), (x, y, energy), strict=True):
            column.append(values)

    def finish(self) -> tuple[Columns, PackedPoints]:
        """Hand the buffers over as read-only arrays (no copy); nothing may be appended afterwards."""
        columns: Columns = {}
        for name, dtype in COLUMN_DTYPES.items():
            columns[name] = np.frombuffer(self._buffers.pop(name), dtype=dtype)
            columns[name].flags.writeable = False
        return columns, PackedPoints(*(column.finish() for column in self._points.values()))


def reordered(columns: Columns, points: PackedPoints, order: npt.NDArray[np.int64]) -> tuple[Columns, PackedPoints]:
    """The columns with annotations in another order."""
    polygon, polygon_offsets = gather_ranges(columns["polygon_offsets"], order)
    offsets = columns["point_offsets"]
    # part after part: an index of all points would take more than the points
    starts, sizes = offsets[polygon], np.diff(offsets)[polygon]
    point_offsets = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
    result = {name: columns[name][order] for name in ("frame", "category_id", "instance_id", "distance_cm", "score")}
    result |= {"polygon_offsets": polygon_offsets, "point_offsets": point_offsets}
    moved = []
    for column in (points.x, points.y, points.energy):
        codes = np.empty_like(column.codes)
        for start, size, to in zip(starts.tolist(), sizes.tolist(), point_offsets[:-1].tolist(), strict=True):
            codes[to : to + size] = column.codes[start : start + size]
        codes.flags.writeable = False
        moved.append(Packed(codes, column.decimals))
    for values in result.values():
        values.flags.writeable = False
    return {name: result[name] for name in COLUMN_DTYPES}, PackedPoints(*moved)


def table_of(recording: str, columns: Columns, points: PackedPoints, notes: FileNotes) -> AnnotationTable:
    """Container over the columns; few points are unpacked, many stay packed (no copy)."""
    if len(points.energy) >= _KEPT_PACKED_POINTS:
        return AnnotationTable.of_packed(recording, columns, points, notes)
    xy, energy = points.xy(), points.energy.floats()
    for values in (xy, energy):
        values.flags.writeable = False
    return AnnotationTable(recording, **columns, points_xy=xy, energy=energy, notes=notes)
