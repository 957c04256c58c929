"""Small made-up data: a source that is at the same place in the maps, in the picture and in its label."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import soundfile
import torch

from sai_core.acoustics.networks import UpLAM, UpLAMConfig, save_uplam
from sai_core.acoustics.store import StoredMaps
from sai_core.annotations import AnnotationTable, write_label_json
from sai_core.annotations.notes import NO_NOTES
from sai_core.dataset import Recording
from sai_core.detector.spectrum import lattice_pixels
from sai_core.geometry import ERP_HEIGHT, ERP_WIDTH
from sai_core.training.config import DataSettings, TrainingConfig
from sai_core.training.data import FrameSet, LabelColumns, TrainingRecording, columns_of

Configure = Callable[..., TrainingConfig]
"""Makes a configuration from overrides; see the fixture ``tiny``."""

TINY = (
    "cpu_bfloat16=false",  # the same figures on every processor
    "model.width=16",
    "model.channels=32",
    "model.context_frames=2",
    "model.acoustic_channels=8",
    "batch=2",
    "proposals=20",
    "regions=16",
    "log_every=1",
    "data.frames_per_epoch=6",
    "data.frame_step=1",
    "validation.frames=4",
    "validation.recordings=1",
    "validation.every=2",
    "optimiser.warmup_steps=2",
)
"""``--set`` of a run that takes seconds."""


def blob(x: float, y: float, radius: float = 12.0) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]:
    """Pixels (n, 2) and energies of a round region, over the seam if need be; strongest at the pixel of (x, y)."""
    columns, rows = np.meshgrid(np.arange(ERP_WIDTH), np.arange(ERP_HEIGHT))
    dx = (columns + 0.5 - x + ERP_WIDTH / 2) % ERP_WIDTH - ERP_WIDTH / 2
    distance = np.hypot(dx, rows + 0.5 - y)
    inside = distance <= radius
    points = np.stack([columns[inside], rows[inside]], axis=1)
    return points, 0.3 + 0.7 * np.exp(-0.5 * (distance[inside] / (radius / 2)) ** 2)


def table_of(
    name: str, labels: list[tuple[int, int, int, float, float, float]], radius: float = 12.0
) -> AnnotationTable:
    """Table of (frame, category, instance, distance_cm, x, y) with one round region each."""
    labels = sorted(labels, key=lambda row: row[0])
    points, energies = zip(*(blob(x, y, radius) for *_, x, y in labels), strict=True) if labels else ((), ())
    counts = [len(p) for p in points]
    return AnnotationTable(
        name,
        np.array([row[0] for row in labels]),
        np.array([row[1] for row in labels]),
        np.array([row[2] for row in labels]),
        np.array([row[3] for row in labels]),
        np.full(len(labels), np.nan),
        np.arange(len(labels) + 1),
        np.concatenate([[0], np.cumsum(counts)]).astype(np.int64),
        np.concatenate(points).astype(np.float64) if points else np.zeros((0, 2)),
        np.concatenate(energies) if energies else np.zeros(0),
    )


def columns_from(table: AnnotationTable) -> LabelColumns:
    columns, dropped = columns_of(table)
    return LabelColumns(**columns, n_dropped=dropped, notes=NO_NOTES)


def stored_maps(lattice: npt.NDArray[np.floating], level: float = 1e-4) -> StoredMaps:
    """Maps in memory behind the container of the store."""
    scale = np.abs(lattice).max(axis=-1)
    safe = np.where(scale > 0, scale, 1)
    return StoredMaps(
        "nowhere",
        "uplam",
        {},
        (),
        10.0,
        (lattice / safe[..., None]).astype(np.float16),
        scale.astype(np.float32),
        np.full(lattice.shape[:2], level, np.float32),
    )


def peaked(x: float, y: float) -> npt.NDArray[np.float32]:
    """Lattice map (484,) that is strongest at the canvas position (x, y)."""
    columns, rows = lattice_pixels()
    azimuth, elevation = np.radians(180 - columns), np.radians(90 - rows)
    there = np.radians(180 - x), np.radians(90 - y)
    cosine = np.sin(elevation) * np.sin(there[1]) + np.cos(elevation) * np.cos(there[1]) * np.cos(azimuth - there[0])
    return (4.0 * np.exp(-((np.arccos(np.clip(cosine, -1, 1)) / np.radians(12)) ** 2))).astype(np.float32)


def marked_picture(x: float, y: float) -> npt.NDArray[np.uint8]:
    """Dark picture with a bright dot of 5 x 5 pixels around the pixel of (x, y)."""
    picture = np.full((ERP_HEIGHT, ERP_WIDTH, 3), 20, np.uint8)
    rows = np.clip(np.arange(int(y) - 2, int(y) + 3), 0, ERP_HEIGHT - 1)
    columns = np.arange(int(x) - 2, int(x) + 3) % ERP_WIDTH
    picture[rows[:, None], columns[None]] = (250, 240, 60)
    return picture


def frame_set(
    sources: list[tuple[int, float, float]], *, context_frames: int = 0, rgb: bool = True, name: str = "one"
) -> FrameSet:
    """One recording; frame ``k`` has the one source (category, x, y) at place ``k`` of the list."""
    lattice = np.stack([np.tile(peaked(x, y), (9, 1)) for _, x, y in sources])
    table = table_of(name, [(k, c, 1, 250.0, x, y) for k, (c, x, y) in enumerate(sources)])
    pictures = np.stack([marked_picture(x, y) for _, x, y in sources]) if rgb else None
    recording = TrainingRecording(Recording(name), stored_maps(lattice), columns_from(table), pictures)
    return FrameSet((recording,), 1, DataSettings(), context_frames)


def write_root(root: Path, *, recordings: int = 3, frames: int = 8, seed: int = 1) -> Path:
    """Data root in the official layout: noise with labels, and pictures with a dot at each label."""
    rng = np.random.default_rng(seed)
    for number in range(recordings):
        name = f"fold9_room{number + 1}_mix001"
        for kind in ("mic_dev", "labels_dev"):
            (root / kind / "dev-test-sim").mkdir(parents=True, exist_ok=True)
        samples = 0.1 * rng.standard_normal((frames * 2400, 4))
        soundfile.write(root / "mic_dev" / "dev-test-sim" / f"{name}.wav", samples, 24_000, subtype="FLOAT")
        x, y = rng.uniform(0, 360), rng.uniform(60, 120)
        category = int(rng.integers(0, 13))
        table = table_of(name, [(k, category, 1, 200.0, x, y) for k in range(frames - 2)])
        write_label_json(table, root / "labels_dev" / "dev-test-sim" / f"{name}_std.json")
        folder = root / "frames_dev" / "dev-test-sim" / name
        folder.mkdir(parents=True, exist_ok=True)
        picture = cv2.cvtColor(marked_picture(x, y), cv2.COLOR_RGB2BGR)
        for k in range(frames):
            cv2.imwrite(str(folder / f"{name}_{k:04d}.png"), picture)
    return root


def write_weights(path: Path) -> Path:
    """UpLAM with a few random weights, made fast."""
    torch.manual_seed(3)
    save_uplam(UpLAM(UpLAMConfig(base_filter=2, features=4)), path)
    return path
