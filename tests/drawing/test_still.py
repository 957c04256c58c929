"""The still of a moment: energy and outlines land where the annotation is, also over the seam."""

from __future__ import annotations

import numpy as np

from sai_core.annotations import AnnotationTable
from sai_core.drawing.still import busiest_frame, still


def region(x0: int, y0: int, size: int = 20) -> AnnotationTable:
    xs, ys = np.meshgrid(np.arange(x0, x0 + size) % 360, np.arange(y0, y0 + size))
    points = np.stack([xs.ravel(), ys.ravel()], axis=1).astype(float)
    n = len(points)
    return AnnotationTable(
        "r",
        np.array([3]),
        np.array([8]),
        np.array([1]),
        np.array([100.0]),
        np.array([np.nan]),
        np.array([0, 1]),
        np.array([0, n]),
        points,
        np.full(n, 0.9),
    )


def changed(table: AnnotationTable, frame: int = 3) -> np.ndarray:
    picture = np.full((360, 720, 3), 200, np.uint8)
    before = picture.copy()
    drawn = still(table, frame, picture)
    np.testing.assert_array_equal(picture, before)
    return np.any(drawn != picture, axis=2)


def test_only_the_region_changes() -> None:
    mask = changed(region(100, 60))
    rows, columns = np.nonzero(mask)
    assert abs(rows.mean() / 2 - 70) < 2
    assert abs(columns.mean() / 2 - 110) < 2
    assert mask.mean() < 0.02


def test_a_region_over_the_seam_is_drawn_on_both_sides() -> None:
    mask = changed(region(350, 60))
    assert mask[:, :15].any()
    assert mask[:, -15:].any()
    assert not mask[:, 100:600].any()


def test_a_frame_without_annotations_is_the_picture_itself() -> None:
    assert not changed(region(100, 60), frame=2).any()
    assert still(AnnotationTable.empty("r"), 0, None).shape == (360, 720, 3)
    assert busiest_frame(AnnotationTable.empty("r")) == 0
    assert busiest_frame(region(0, 0)) == 3
