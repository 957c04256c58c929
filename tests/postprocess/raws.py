"""Raw detections made up for tests: boxes that move a little, one class that is mostly right."""

from __future__ import annotations

import numpy as np

from sai_core.annotations import AnnotationTable, DcaseMetadata
from sai_core.detections.raw import RawDetections
from sai_core.geometry import N_LATTICE, pixel_to_direction, unwrap_columns
from sai_core.postprocess import Regions


def make_raw(seed: int = 0, *, n_frames: int = 40, n_boxes: int = 6, recording: str = "made_up") -> RawDetections:
    rng = np.random.default_rng(seed)
    n = n_frames * n_boxes
    corner = rng.uniform([0, 20], [345, 120], (n_boxes, 2))[None] + rng.normal(0, 0.5, (n_frames, n_boxes, 2))
    size = np.broadcast_to(rng.uniform(12, 40, (n_boxes, 2)), (n_frames, n_boxes, 2))
    boxes = np.concatenate([corner, corner + size], axis=2).reshape(n, 4)
    true_class = np.tile(rng.integers(0, 13, n_boxes), n_frames)
    scores = rng.dirichlet(np.full(14, 0.4), n)[:, 1:] * 0.5
    scores[np.arange(n), true_class] += rng.uniform(0, 0.5, n)
    y, x = np.mgrid[-1:1:28j, -1:1:28j]
    energy = np.exp(-2 * ((x - rng.uniform(-0.3, 0.3, (n, 1, 1))) ** 2 + y**2)) * rng.uniform(0.05, 1, (n, 1, 1))
    return RawDetections(
        recording=recording,
        key="test",
        n_frames=n_frames,
        notes={},
        frame=np.repeat(np.arange(n_frames), n_boxes).astype(np.int32),
        boxes_xyxy=boxes.astype(np.float32),
        class_scores=scores.astype(np.float32),
        objectness=rng.random(n).astype(np.float32),
        category_id=scores.argmax(axis=1).astype(np.int16),
        energy=energy.astype(np.float16),
        distance_cm=rng.uniform(50, 500, n).astype(np.float32),
        embedding=np.zeros((n, 0), np.float16),
        full_energy=rng.random((n_frames, 45, 90)).astype(np.float16),
        field=rng.normal(-8.0, 0.5, (n_frames, N_LATTICE)).astype(np.float16),
    )


def make_teacher(raw: RawDetections, seed: int = 0, *, share: float = 0.5) -> DcaseMetadata:
    """A teacher that points at some of the candidates, a few degrees beside, with classes of its own."""
    rng = np.random.default_rng(seed)
    rows = np.flatnonzero(rng.random(len(raw)) < share)
    centre = (raw.boxes_xyxy[rows, :2] + raw.boxes_xyxy[rows, 2:]) / 2
    azimuth, elevation = pixel_to_direction(centre[:, 0] + rng.normal(0, 3, len(rows)), centre[:, 1])
    return DcaseMetadata(
        raw.frame[rows],
        rng.integers(0, 13, len(rows)).astype(np.int16),
        np.arange(len(rows)),
        azimuth,
        elevation,
        np.full(len(rows), np.nan),
        raw.recording,
    )


def as_table(regions: Regions) -> AnnotationTable:
    """Regions as annotations of one frame and class."""
    n = len(regions)
    return AnnotationTable(
        "r",
        np.zeros(n, np.int32),
        np.zeros(n, np.int16),
        np.arange(n),
        np.ones(n),
        np.ones(n),
        regions.polygon_offsets,
        regions.point_offsets,
        regions.points_xy,
        regions.energy,
    )


def as_roi(labels: AnnotationTable) -> tuple[np.ndarray, np.ndarray]:
    """Dense label regions as 28 x 28 maps over their boxes: what a perfect detector would give."""
    maps, boxes = [], []
    for index in range(len(labels)):
        xy, energy = labels.points(index)
        x, y = unwrap_columns(xy[:, 0]).astype(int), xy[:, 1].astype(int)
        boxes.append([x.min(), y.min(), x.max() + 1, y.max() + 1])
        dense = np.zeros((np.ptp(y) + 1, np.ptp(x) + 1))
        dense[y - y.min(), x - x.min()] = energy
        rows = ((np.arange(112) + 0.5) / 112 * dense.shape[0]).astype(int)
        columns = ((np.arange(112) + 0.5) / 112 * dense.shape[1]).astype(int)
        maps.append(dense[np.ix_(rows, columns)].reshape(28, 4, 28, 4).mean(axis=(1, 3)))
    return np.array(maps), np.array(boxes, dtype=np.float64)
