"""Tables and files that the tests of this room share."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from hypothesis import strategies as st

from sai_core.annotations import AnnotationTable

COLUMNS = (
    "frame",
    "category_id",
    "instance_id",
    "distance_cm",
    "score",
    "polygon_offsets",
    "point_offsets",
    "points_xy",
    "energy",
)


def assert_same(a: AnnotationTable, b: AnnotationTable, *, without: tuple[str, ...] = ()) -> None:
    """Every column has the same values, bit for bit but for the sign of zero."""
    for name in COLUMNS:
        if name not in without:
            np.testing.assert_array_equal(getattr(a, name), getattr(b, name), err_msg=name)


def make_table(
    rows: list[tuple[int, int, int, float, float, list[list[tuple[float, float, float]]]]], recording: str = "rec"
) -> AnnotationTable:
    """Table of (frame, class, instance, distance, score, parts of points) rows, sorted by frame (stable)."""
    rows = sorted(rows, key=lambda row: row[0])
    parts = [part for row in rows for part in row[5]]
    points = np.array([point for part in parts for point in part], dtype=np.float64).reshape(-1, 3)
    return AnnotationTable(
        recording,
        np.array([row[0] for row in rows], dtype=np.int32),
        np.array([row[1] for row in rows], dtype=np.int16),
        np.array([row[2] for row in rows], dtype=np.int64),
        np.array([row[3] for row in rows], dtype=np.float64),
        np.array([row[4] for row in rows], dtype=np.float64),
        np.cumsum([0] + [len(row[5]) for row in rows]),
        np.cumsum([0] + [len(part) for part in parts]),
        points[:, :2],
        points[:, 2],
    )


def _maybe_nan(values: st.SearchStrategy[float]) -> st.SearchStrategy[float]:
    return st.one_of(st.just(float("nan")), values)


_POINT = st.tuples(
    st.floats(0, 360, allow_subnormal=True),
    st.floats(0, 180, allow_subnormal=True),
    st.floats(allow_nan=False, allow_infinity=False),
)
_ROW = st.tuples(
    st.integers(0, 10_000_000),
    st.integers(0, 12),
    st.one_of(st.integers(-1, 5), st.integers(-(2**63), 2**63 - 1)),
    _maybe_nan(st.floats(allow_nan=False, allow_infinity=False)),
    _maybe_nan(st.floats(0, 1)),
    st.lists(st.lists(_POINT, max_size=4), max_size=3),
)


def tables() -> st.SearchStrategy[AnnotationTable]:
    """Any legal table, empty parts and annotations without parts included."""
    return st.lists(_ROW, max_size=5).map(make_table)


def region_table(seed: int, n: int, *, scores: bool = True, n_points: int = 300) -> AnnotationTable:
    """Round blobs of points, some over the seam, as predictions or (without scores) as labels."""
    rng = np.random.default_rng(seed)
    rows = []
    for k in range(n):
        centre = rng.uniform([0, 30], [360, 150])
        offset = rng.normal(0, 1, (n_points, 2))
        offset *= np.minimum(1, 2.5 / np.linalg.norm(offset, axis=1, keepdims=True)) * 6
        xy = np.column_stack([np.mod(centre[0] + offset[:, 0], 360), centre[1] + offset[:, 1]])
        energy = 0.2 + 0.8 * np.exp(-np.square(offset).sum(1) / 72)
        score = float(rng.random()) if scores else float("nan")
        points = np.column_stack([xy, energy]).tolist()
        rows.append((k // 2, int(rng.integers(13)), k % 2, float(rng.uniform(50, 500)), score, [points]))
    return make_table(rows)


def annotation(**changes: Any) -> dict[str, Any]:
    """A good annotation with some keys changed; the value ``...`` removes a key."""
    record: dict[str, Any] = {
        "metadata_frame_index": 3,
        "instance_id": 1,
        "category_id": 5,
        "distance": 120.5,
        "segmentation": [[[10, 20, 0.5], [11, 20, 0.25], [10, 21, 1.0]]],
    }
    record.update(changes)
    return {key: value for key, value in record.items() if value is not ...}


def write_text(path: Path, text: str | bytes) -> Path:
    """Write raw content and return the path."""
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


def write_file(path: Path, *records: dict[str, Any], **extra: Any) -> Path:
    """Write annotations as a label file, further top-level keys behind."""
    return write_text(path, json.dumps({"annotations": list(records), **extra}))
