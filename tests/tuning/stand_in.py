"""Stand-in raw detections: what a network might have seen, drawn from labels with a seed. No network made them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from sai_core.annotations import AnnotationTable, write_label_json
from sai_core.detections.raw import RawDetections, RawWriter, store_folder, store_key
from sai_core.drawing.maps import unwrap_columns
from tests.figures.scenes import Row, blob, table_of

CELLS = (np.arange(28) + 0.5) / 28
"""Centres of the cells of a RoI map, in parts of the box."""


def labels_of(
    n_frames: int, *, seed: int = 0, recording: str = "fold4_room23_mix001", n_sources: int = 4
) -> AnnotationTable:
    """Labels of sources that come, go and move, one of them over the seam; drawn, not simulated."""
    rng = np.random.default_rng(seed)
    rows: list[Row] = []
    for source in range(n_sources):
        category = int(rng.integers(13)) if source else int(rng.integers(2))
        x, y = (356.0 if source == 1 else rng.uniform(0, 360)), rng.uniform(55, 125)
        speed, radius = rng.normal(0, 0.6), rng.uniform(8, 15)
        begin, end = (0, n_frames) if source == 0 else sorted(rng.choice(n_frames + 1, 2, replace=False).tolist())
        for k in range(begin, end):
            points, energy = blob((x + speed * (k - begin)) % 360, y, radius)
            rows.append((k, category, source, float(150 + 40 * source), np.nan, points, (energy**0.2).round(4)))
    return table_of(recording, rows)


def raw_columns(labels: AnnotationTable, n_frames: int, *, seed: int = 0, per_frame: int = 50) -> dict[str, Any]:
    """Columns of a raw store: two or three perturbed boxes a label, the rest false positives, weakest mostly.

    Scores of hits are drawn higher than those of false positives, with overlap, so that thresholds matter.
    """
    rng = np.random.default_rng(seed + 1000)
    n = n_frames * per_frame
    frame = np.repeat(np.arange(n_frames), per_frame)
    # false positives everywhere; one in three keeps its place for some frames, as a real detector's would
    steady = rng.uniform([0, 30, 12, 12], [360, 130, 40, 36], (per_frame, 4))
    place = rng.uniform([0, 30, 12, 12], [360, 130, 40, 36], (n, 4))
    keep = np.tile(np.arange(per_frame) % 3 == 0, n_frames)
    place[keep] = np.tile(steady, (n_frames, 1))[keep] + rng.normal(0, 1.5, (int(keep.sum()), 4))
    category = rng.integers(0, 13, n)
    category[keep] = np.tile(rng.integers(0, 13, per_frame), n_frames)[keep]
    score = rng.beta(1.0, 6.0, n) * 0.9
    distance = rng.uniform(60, 450, n)
    centre, spread = np.full((n, 2), 0.5), rng.uniform(0.15, 0.35, n)
    for k in range(n_frames):
        slot = k * per_frame
        for index in range(labels.frame_slice(k).start, labels.frame_slice(k).stop):
            if not len(labels.points(index)[0]):
                continue
            xy, _ = labels.points(index)
            x = unwrap_columns(xy[:, 0])
            x0, x1, y0, y1 = x.min(), x.max() + 1, xy[:, 1].min(), xy[:, 1].max() + 1
            for copy in range(int(rng.integers(2, 4))):
                if slot >= (k + 1) * per_frame:
                    break
                jitter = rng.normal(0, 1.5 + 2.0 * copy, 4)
                width, height = max(x1 - x0 + jitter[2], 4), max(y1 - y0 + jitter[3], 4)
                place[slot] = (
                    (x0 + x1) / 2 + jitter[0] - width / 2,
                    (y0 + y1) / 2 + jitter[1] - height / 2,
                    width,
                    height,
                )
                category[slot] = labels.category_id[index] if rng.random() < 0.9 else rng.integers(13)
                score[slot] = np.clip(rng.beta(5, 3) * (0.75**copy), 0.01, 0.99)
                distance[slot] = labels.distance_cm[index] * rng.uniform(0.85, 1.15)
                spread[slot] = 0.25
                slot += 1
    place[:, 0] %= 360
    place[:, 2:] = np.maximum(place[:, 2:], 4)
    boxes = np.stack([place[:, 0], np.clip(place[:, 1], 0, 170), place[:, 0] + place[:, 2], 0 * frame], axis=1)
    boxes[:, 3] = np.clip(boxes[:, 1] + place[:, 3], boxes[:, 1] + 2, 180)
    order = np.lexsort((-score, frame))
    boxes, category, score = boxes[order], category[order], score[order]
    distance, spread = distance[order], spread[order]
    # nearly flat within an ellipse, with noise and a little more at its rim: the few points of the official export then
    # span the region
    centre = centre + rng.normal(0, 0.03, (n, 2))
    radius = np.hypot(CELLS[None, None, :] - centre[:, 0, None, None], CELLS[None, :, None] - centre[:, 1, None, None])
    radius /= 2 * spread[:, None, None]
    energy = np.exp(-(radius**24)) * (0.7 + 0.3 * np.minimum(radius, 1)) * rng.uniform(0.8, 1.0, (n, 28, 28))
    class_scores = rng.random((n, 13)) * (1 - score)[:, None] / 13
    class_scores[np.arange(n), category] = score
    full = np.zeros((n_frames, 45, 90), dtype=np.float16)
    for index in range(len(labels)):
        xy, strength = labels.points(index)
        rows, columns = np.minimum(xy[:, 1] // 4, 44).astype(int), (xy[:, 0] // 4).astype(int) % 90
        np.maximum.at(full[labels.frame[index]], (rows, columns), strength.astype(np.float16))
    return {
        "frame": frame,
        "boxes_xyxy": boxes,
        "class_scores": class_scores,
        "objectness": np.clip(score + rng.normal(0, 0.1, n), 0, 1),
        "category_id": category,
        "energy": energy,
        "distance_cm": distance,
        "embedding": np.zeros((n, 0)),
        "full_energy": full,
    }


def write_raw(
    base: Path, labels: AnnotationTable, n_frames: int, *, seed: int = 0, per_frame: int = 50, embedding_dim: int = 0
) -> RawDetections:
    """Stand-in raw store under ``base`` (the folder ``raw`` of a prediction set), as the verb ``predict`` writes it."""
    key = store_key({"stand-in": str(seed)})
    writer = RawWriter(
        store_folder(base, labels.recording, key),
        recording=labels.recording,
        key=key,
        n_frames=n_frames,
        notes={"origin": "stand-in detections drawn from labels, no network"},
    )
    columns = raw_columns(labels, n_frames, seed=seed, per_frame=per_frame)
    columns["embedding"] = np.random.default_rng(seed).normal(size=(n_frames * per_frame, embedding_dim))
    writer.write(0, columns)
    return writer.finish()


def write_root(
    root: Path, *, n_recordings: int = 1, n_frames: int = 600, per_frame: int = 50, system: str = "stand-in-raw"
) -> Path:
    """Data root with labels and a prediction set of raw stores alone; gives the root."""
    for number in range(n_recordings):
        name = f"fold4_room{23 + number}_mix001"
        labels = labels_of(n_frames, seed=number, recording=name)
        write_label_json(labels, root / "labels_dev" / "dev-test-sim" / f"{name}_std.json")
        write_raw(root / "predictions" / system / "raw", labels, n_frames, seed=number, per_frame=per_frame)
    return root
