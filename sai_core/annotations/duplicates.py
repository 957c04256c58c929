"""Annotations that stand in a table more than once."""

from __future__ import annotations

import hashlib

import numpy as np
import numpy.typing as npt

from sai_core.annotations.table import AnnotationTable


def exact_duplicates(table: AnnotationTable) -> npt.NDArray[np.bool_]:
    """Which annotations repeat an earlier one in every column and every point, shape (n,).

    Labels whose region has two parts were written twice by the official labelling code (domain notes, section 8).
    """
    result = np.zeros(len(table), dtype=bool)
    n_points = np.diff(table.point_offsets[table.polygon_offsets])
    key = (table.frame, table.category_id, table.instance_id, np.diff(table.polygon_offsets), n_points)
    # only annotations that agree in these cheap columns are compared by content
    order = np.lexsort(key[::-1])
    same = np.ones(max(len(table) - 1, 0), dtype=bool)
    for column in key:
        same &= np.diff(column[order]) == 0
    candidates = np.zeros(len(table), dtype=bool)
    candidates[order[1:][same]] = True
    candidates[order[:-1][same]] = True
    seen: set[bytes] = set()
    for index in np.flatnonzero(candidates).tolist():
        digest = _digest(table, index)
        result[index] = digest in seen
        seen.add(digest)
    return result


def drop_exact_duplicates(table: AnnotationTable) -> AnnotationTable:
    """Table without the annotations that repeat an earlier one exactly (the same object if there are none)."""
    repeated = exact_duplicates(table)
    return table.take(~repeated) if repeated.any() else table


def _digest(table: AnnotationTable, index: int) -> bytes:
    digest = hashlib.blake2b(digest_size=16)
    start, stop = int(table.polygon_offsets[index]), int(table.polygon_offsets[index + 1])
    xy, energy = table.points(index)
    for column in (
        table.frame[index : index + 1],
        table.category_id[index : index + 1],
        table.instance_id[index : index + 1],
        # + 0.0 makes the two zeros one; NaN (absent) has one pattern in tables that were read
        table.distance_cm[index : index + 1] + 0.0,
        table.score[index : index + 1] + 0.0,
        np.diff(table.point_offsets[start : stop + 1]),
        xy + 0.0,
        energy + 0.0,
    ):
        digest.update(np.ascontiguousarray(column).data)
    return digest.digest()
