"""Small made-up recordings: tables, and data roots in the official layout. Drawn, not simulated; for tests alone."""

from __future__ import annotations

import json
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import numpy.typing as npt
import soundfile

from sai_core.annotations import AnnotationTable
from sai_core.drawing.maps import MapMode, annotation_patch, merged_canvas

Row = tuple[int, int, int, float, float, npt.NDArray[np.float64], npt.NDArray[np.float64]]


def table_of(recording: str, rows: list[Row]) -> AnnotationTable:
    """Table of rows ``(frame, class, instance, distance_cm, score, points_xy, energy)``, one polygon each."""
    if not rows:
        return AnnotationTable.empty(recording)
    rows = sorted(rows, key=lambda row: row[0])
    sizes = [len(row[6]) for row in rows]
    return AnnotationTable(
        recording,
        np.array([row[0] for row in rows]),
        np.array([row[1] for row in rows]),
        np.array([row[2] for row in rows]),
        np.array([row[3] for row in rows]),
        np.array([row[4] for row in rows]),
        np.arange(len(rows) + 1),
        np.concatenate([[0], np.cumsum(sizes)]),
        np.concatenate([row[5] for row in rows]),
        np.concatenate([row[6] for row in rows]),
    )


def blob(x: float, y: float, radius: float) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Dense round region on whole pixels, energy falling from 1 to 0.25; wraps at the seam."""
    columns = np.arange(int(x - radius), int(x + radius) + 1)
    rows = np.arange(max(0, int(y - radius)), min(179, int(y + radius)) + 1)
    distance = np.hypot(columns[None, :] - x, rows[:, None] - y) / radius
    inside = distance <= 1
    row, column = np.nonzero(inside)
    points = np.column_stack([columns[column] % 360, rows[row]]).astype(np.float64)
    return points, 1.0 - 0.75 * distance[inside]


def frame_map(table: AnnotationTable, frame: int, *, mode: MapMode = "full") -> npt.NDArray[np.float32]:
    """Merged map of all annotations of a frame, float32 (180, 360), label grid; zeros for a frame without any."""
    rows = table.frame_slice(frame)
    return merged_canvas(annotation_patch(table, i, mode=mode) for i in range(rows.start, rows.stop))


def tables(
    n_frames: int, *, seed: int = 0, recording: str = "fold4_room23_mix001"
) -> tuple[AnnotationTable, AnnotationTable]:
    """Labels of four sources (one over the seam) and predictions with jitter, misses, confusions and false alarms."""
    rng = np.random.default_rng(seed)
    labels: list[Row] = []
    predictions: list[Row] = []
    sources = [
        (0, 0, 0.0, 1.0, lambda k: 180 - 60 * np.sin(k / 80), lambda k: 85 - 6 * np.sin(k / 31), 180.0),
        (1, 1, 0.1, 0.8, lambda k: 352 + k / 6, lambda k: 96.0, 240.0),
        (8, 2, 0.3, 0.9, lambda k: 70.0, lambda k: 60.0, 320.0),
        (6, 3, 0.2, 0.5, lambda k: 250 + 30 * np.sin(k / 50), lambda k: 120.0, 150.0),
    ]
    for k in range(n_frames):
        for category, instance, begin, end, x_of, y_of, distance in sources:
            if not begin * n_frames <= k < end * n_frames:
                continue
            x, y = float(x_of(k)) % 360, float(y_of(k))
            points, energy = blob(x, y, 9 + instance)
            labels.append((k, category, instance, distance, np.nan, points, energy))
            if rng.random() < 0.85:
                points, energy = blob((x + rng.normal(0, 2)) % 360, y + rng.normal(0, 1.5), 8 + instance)
                # as the official exporter: a few points, not on whole pixels
                keep = np.sort(rng.choice(len(energy), min(20, len(energy)), replace=False))
                shifted = np.clip(points[keep] + 0.25, 0, [359.99, 179.0])
                shown = category if rng.random() > 0.06 else (category + 1) % 13
                score = float(np.clip(rng.normal(0.7, 0.15), 0.05, 0.99))
                predictions.append((k, shown, instance, distance * rng.uniform(0.8, 1.2), score, shifted, energy[keep]))
        if rng.random() < 0.04:
            points, energy = blob(rng.uniform(0, 360), rng.uniform(50, 130), 8)
            predictions.append((k, int(rng.integers(13)), 9, 200.0, 0.3, points[::9], energy[::9] * 0.7))
    return table_of(recording, labels), table_of(recording, predictions)


def to_json(table: AnnotationTable, *, score: bool) -> dict[str, object]:
    """Label or submission JSON, written without the package's writers."""
    annotations = []
    for i in range(len(table)):
        item: dict[str, object] = {
            "metadata_frame_index": int(table.frame[i]),
            "instance_id": int(table.instance_id[i]),
            "category_id": int(table.category_id[i]),
            "distance": float(table.distance_cm[i]),
            "segmentation": [
                [[float(x), float(y), float(e)] for (x, y), e in zip(points, energy, strict=True)]
                for points, energy in table.polygons(i)
            ],
        }
        if score:
            item["score"] = float(table.score[i])
        annotations.append(item)
    return {"annotations": annotations}


def write_root(
    root: Path,
    *,
    recording: str = "fold4_room23_mix001",
    split: str = "dev-test-sony",
    n_frames: int = 40,
    seed: int = 0,
    video_size: tuple[int, int] | None = (240, 120),
    audio: bool = True,
    systems: tuple[str, ...] = ("first", "second"),
) -> Path:
    """Data root in the official layout with one recording (more calls add more); gives the root."""
    labels, predictions = tables(n_frames, seed=seed, recording=recording)
    _write_json(root / "labels_dev" / split / f"{recording}_std.json", to_json(labels, score=False))
    for number, system in enumerate(systems):
        table = predictions if number == 0 else tables(n_frames, seed=seed + 100 + number, recording=recording)[1]
        _write_json(root / "predictions" / system / f"{recording}.json", to_json(table, score=True))
    if audio:
        path = root / "mic_dev" / split / f"{recording}.wav"
        path.parent.mkdir(parents=True, exist_ok=True)
        t = np.arange(n_frames * 2400) / 24_000
        tone = 0.2 * np.sin(2 * np.pi * (400 + 250 * np.sin(t / 2)) * t) * (np.sin(2 * t) > 0)
        noise = 0.01 * np.random.default_rng(seed).normal(size=t.size)
        soundfile.write(path, np.repeat((tone + noise)[:, None], 4, axis=1), 24_000, subtype="PCM_16")
    if video_size is not None:
        write_video(root / "video_dev" / split / f"{recording}.mp4", n_frames, video_size)
    return root


def write_video(path: Path, n_frames: int, size_wh: tuple[int, int]) -> None:
    """Panorama at 29.97 pictures a second: a room of flat colours and a pale bar where the first source is."""
    path.parent.mkdir(parents=True, exist_ok=True)
    width, height = size_wh
    yy, xx = np.mgrid[0:height, 0:width] / np.array([height, width]).reshape(2, 1, 1)
    room = np.stack([96 + 50 * np.sin(6 * xx) + 30 * (yy > 0.6), 92 + 46 * yy + 20 * np.cos(9 * xx), 110 - 60 * yy], -1)
    room = np.clip(room, 0, 255).astype(np.uint8)
    rate = Fraction(30_000, 1001)
    # converted to the video's own format once: the bar alone moves
    base, bar = (
        av.VideoFrame.from_ndarray(picture, format="rgb24").reformat(format="yuv420p").to_ndarray().astype(np.uint8)
        for picture in (room, np.full_like(room, (230, 205, 180)))
    )
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=rate)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        stream.options = {"preset": "ultrafast", "crf": "26"}
        for number in range(int(n_frames / 10 * rate) + 1):
            k = number / float(rate) * 10
            x = int((180 - 60 * np.sin(k / 80)) / 360 * width)
            y = int((85 - 6 * np.sin(k / 31)) / 180 * height)
            picture = base.copy()
            for plane, pale, scale in zip(_planes(picture, height), _planes(bar, height), (1, 2, 2), strict=True):
                rows = slice(max(y - height // 10, 0) // scale, (y + height // 10) // scale)
                columns = slice(max(x - width // 60, 0) // scale, (x + width // 60) // scale)
                plane[rows, columns] = pale[rows, columns]
            for packet in stream.encode(av.VideoFrame.from_ndarray(picture, format="yuv420p")):
                container.mux(packet)
        for packet in stream.encode():
            container.mux(packet)


def _planes(picture: npt.NDArray[np.uint8], height: int) -> list[npt.NDArray[np.uint8]]:
    """Views of the three planes of a yuv420p picture as PyAV gives it."""
    quarter, width = height // 4, picture.shape[1]
    colours = picture[height : height + quarter], picture[height + quarter :]
    return [picture[:height], *(plane.reshape(height // 2, width // 2) for plane in colours)]


def _write_json(path: Path, content: dict[str, object]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content), encoding="utf-8")
