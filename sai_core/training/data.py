"""Training data: every recording decoded once into memory-mapped columns, then frames on demand.

Kept under ``cache_root()``:

``features/``
    Lattice maps, by the feature store (audio content, weights content, options).
``training/labels/<key>/``
    Label regions as columns: ``starts`` (frames + 1), and per region ``category``, ``instance``, ``distance_cm``,
    ``offsets`` into ``pixels`` (uint16, row * 360 + column) and ``energy`` (float16). Key: the label file's content.
``training/rgb/<key>/``
    Pictures at 180 x 360, uint8. Key: path, size and time of change of the video, and the frame step.

Nothing here reopens a JSON file or a video once that is made; the key of every entry holds all it depends on, and an
entry appears by one rename of its folder.

Targets (domain.md, sections 6 and 8): a label annotation is one region with one box over all its parts; exact
duplicates (a label with two blobs is written twice) count once; regions under two pixels are left out and counted.
"""

from __future__ import annotations

import fnmatch
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Final

import msgspec
import numpy as np
import numpy.typing as npt

from sai_core.acoustics.features import FeatureOptions, MapMaker
from sai_core.acoustics.store import FeatureStore, StoredMaps
from sai_core.annotations import AnnotationTable, drop_exact_duplicates, read_annotations
from sai_core.annotations.cache import file_content_hash
from sai_core.annotations.notes import NO_NOTES, FileNotes, summarise_notes
from sai_core.dataset import Recording, open_data_root, open_frames
from sai_core.detector.spectrum import context_window
from sai_core.errors import EnvironmentProblem, InputError
from sai_core.files import atomic_write, cache_root, file_signature
from sai_core.geometry import ERP_HEIGHT, ERP_WIDTH
from sai_core.progress import Progress, no_progress
from sai_core.taxonomy import N_CLASSES
from sai_core.training.config import DataSettings

FORMAT: Final[int] = 2
"""Raise when an entry's columns or their meaning change."""

MIN_PIXELS: Final[int] = 2
"""Smaller regions are no targets: their box has no area to speak of."""

_RGB_BLOCK: Final[int] = 64


@dataclass(frozen=True, eq=False)
class LabelColumns:
    """Label regions of one recording, memory-mapped; see the module for the columns."""

    starts: npt.NDArray[np.int64]
    category: npt.NDArray[np.int16]
    instance: npt.NDArray[np.int64]
    distance_cm: npt.NDArray[np.float32]
    offsets: npt.NDArray[np.int64]
    pixels: npt.NDArray[np.uint16]
    energy: npt.NDArray[np.float16]
    n_dropped: int = 0
    notes: FileNotes = field(default=NO_NOTES, kw_only=True)

    def frame_rows(self, frame: int) -> range:
        """Rows of the regions of a frame; empty behind the last labelled one."""
        if frame >= len(self.starts) - 1:
            return range(0)
        return range(int(self.starts[frame]), int(self.starts[frame + 1]))


_LABEL_DTYPES: Final[dict[str, type[np.generic]]] = {
    "starts": np.int64,
    "category": np.int16,
    "instance": np.int64,
    "distance_cm": np.float32,
    "offsets": np.int64,
    "pixels": np.uint16,
    "energy": np.float16,
}


@dataclass(frozen=True, eq=False)
class TrainingRecording:
    """Everything about one recording that training reads.

    Attributes
    ----------
    recording : Recording
    maps : StoredMaps
    labels : LabelColumns
    rgb : uint8 memory map, shape (frames of the step, 180, 360, 3), or None
    """

    recording: Recording
    maps: StoredMaps
    labels: LabelColumns
    rgb: npt.NDArray[np.uint8] | None = None

    def __len__(self) -> int:
        return len(self.maps)


@dataclass(frozen=True, eq=False)
class Region:
    """One target before augmentation: its pixels on the label grid.

    Attributes
    ----------
    label : int
        1..13.
    instance : int
        Equal for one source in several frames of one recording, different for different sources of a data set.
    distance_units : float
        In 500 cm; NaN unknown.
    columns, rows : int64, shape (pixels,)
    energy : float32, shape (pixels,)
    """

    label: int
    instance: int
    distance_units: float
    columns: npt.NDArray[np.int64]
    rows: npt.NDArray[np.int64]
    energy: npt.NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class RawBatch:
    """Frames as they are stored, still without augmentation.

    Attributes
    ----------
    lattice : float32, shape (batch, 9, 484)
    power : float32, shape (batch, 2 * context + 1, 9, 484) or None
    rgb : uint8, shape (batch, 180, 360, 3) or None
    regions : one tuple of Region a frame
    """

    lattice: npt.NDArray[np.float32]
    power: npt.NDArray[np.float32] | None
    rgb: npt.NDArray[np.uint8] | None
    regions: tuple[tuple[Region, ...], ...]

    def __len__(self) -> int:
        return len(self.lattice)


@dataclass(frozen=True, eq=False)
class FrameSet:
    """Frames of several recordings under one running number.

    Attributes
    ----------
    recordings : tuple of TrainingRecording
    frame_step : int
        Every n-th frame counts.
    settings : DataSettings
    context_frames : int
        Of the network; 0 for none.
    """

    recordings: tuple[TrainingRecording, ...]
    frame_step: int = 1
    settings: DataSettings = field(default_factory=DataSettings)
    context_frames: int = 0

    @cached_property
    def _starts(self) -> npt.NDArray[np.int64]:
        counts = [-(-len(r) // self.frame_step) for r in self.recordings]
        return np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)

    def __len__(self) -> int:
        return int(self._starts[-1])

    def locate(self, number: int) -> tuple[int, int]:
        """Recording and frame of a running number."""
        index = int(np.searchsorted(self._starts, number, side="right")) - 1
        return index, (number - int(self._starts[index])) * self.frame_step

    @cached_property
    def present(self) -> npt.NDArray[np.bool_]:
        """Which classes each frame holds, shape (frames, 13)."""
        out = np.zeros((len(self), N_CLASSES), dtype=bool)
        for start, recording in zip(self._starts[:-1].tolist(), self.recordings, strict=True):
            labels = recording.labels
            frame = np.repeat(np.arange(len(labels.starts) - 1), np.diff(labels.starts))
            good = (frame % self.frame_step == 0) & (frame < len(recording))
            out[start + frame[good] // self.frame_step, labels.category[good]] = True
        return out

    @property
    def n_regions(self) -> int:
        """Regions of all recordings."""
        return sum(len(r.labels.category) for r in self.recordings)

    @property
    def n_dropped(self) -> int:
        """Regions that were left out, empty or under two pixels."""
        return sum(r.labels.n_dropped for r in self.recordings)

    @property
    def label_notes(self) -> tuple[str, ...]:
        """What the readers of the label files left out or guessed."""
        return summarise_notes(((r.recording.name, r.labels.notes) for r in self.recordings), what="labels")

    def batch(self, numbers: Sequence[int]) -> RawBatch:
        """Read frames by their running numbers."""
        places = [self.locate(int(n)) for n in numbers]
        return self.read(places)

    def read(self, places: Sequence[tuple[int, int]]) -> RawBatch:
        """Read frames by recording and frame."""
        lattice = np.concatenate(
            [
                self.recordings[r].maps.lattice(
                    f, f + 1, magnitude=self.settings.magnitude, smooth_frames=self.settings.smooth_frames
                )
                for r, f in places
            ]
        )
        power = None
        if self.context_frames:
            power = np.stack([self._power(self.recordings[r], f) for r, f in places])
        rgb = None
        if self.recordings[0].rgb is not None:
            rgb = np.stack([_picture(self.recordings[r], f // self.frame_step) for r, f in places])
        regions = tuple(tuple(self.regions_of(r, f)) for r, f in places)
        return RawBatch(lattice, power, rgb, regions)

    def _power(self, recording: TrainingRecording, frame: int) -> npt.NDArray[np.float32]:
        window = context_window(frame, self.context_frames, len(recording))
        first = int(window[0])
        around = recording.maps.lattice(first, int(window[-1]) + 1, magnitude="power")
        return around[window - first]

    def regions_of(self, index: int, frame: int) -> Iterator[Region]:
        """Regions of a frame of a recording."""
        labels = self.recordings[index].labels
        for row in labels.frame_rows(frame):
            part = slice(int(labels.offsets[row]), int(labels.offsets[row + 1]))
            flat = labels.pixels[part].astype(np.int64)
            category = int(labels.category[row])
            # the instance number is unique neither across classes nor across recordings
            instance = (index * N_CLASSES + category) * 100_000 + int(labels.instance[row]) % 100_000
            yield Region(
                label=category + 1,
                instance=instance,
                distance_units=float(labels.distance_cm[row]) / 500.0,
                columns=flat % ERP_WIDTH,
                rows=flat // ERP_WIDTH,
                energy=labels.energy[part].astype(np.float32),
            )


def _picture(recording: TrainingRecording, number: int) -> npt.NDArray[np.uint8]:
    assert recording.rgb is not None
    return recording.rgb[min(number, len(recording.rgb) - 1)]


def choose_recordings(
    roots: Sequence[Path], settings: DataSettings
) -> tuple[list[Recording], list[Recording], list[str]]:
    """Recordings for training and for validation, and what was decided, in sentences.

    Raises
    ------
    InputError
        No recording has labels and 4-channel audio, or only one has.
    """
    usable: list[Recording] = []
    said: list[str] = []
    for path in roots:
        found = open_data_root(path).recordings
        good = [r for r in found if r.has_labels and r.array_path is not None]
        if len(good) < len(found):
            said.append(f"{path}: {len(found) - len(good)} of {len(found)} recordings lack labels or audio; left out.")
        usable += good
    if not usable:
        places = ", ".join(str(r) for r in roots)
        raise InputError(f"{places}: no recording has labels (labels_dev) and 4-channel audio (mic_dev) to learn from.")

    def match(recording: Recording, patterns: Sequence[str]) -> bool:
        return any(fnmatch.fnmatch(recording.split, p) for p in patterns)

    validation = [r for r in usable if match(r, settings.validation_splits)]
    train = [r for r in usable if match(r, settings.train_splits) and r not in validation]
    if not train:
        train = [r for r in usable if r not in validation]
        said.append(f"No split matches {', '.join(settings.train_splits)}; all other recordings are for training.")
    if not validation and len(train) > 1:
        every = max(2, round(1 / settings.holdout_share))
        validation = train[every - 1 :: every] or train[-1:]
        train = [r for r in train if r not in validation]
        said.append(f"{len(validation)} recordings are held out for validation, since no split is for it.")
    if not train or not validation:
        raise InputError(
            f"{', '.join(str(r) for r in roots)}: at least one recording to learn from and one for validation are "
            "needed; give more data."
        )
    return train, validation, said


def prepare(
    recordings: Sequence[Recording],
    *,
    settings: DataSettings,
    maker: MapMaker,
    with_rgb: bool,
    context_frames: int = 0,
    frame_step: int = 1,
    progress: Progress = no_progress,
) -> FrameSet:
    """Open the training cache of recordings, making what is missing.

    Parameters
    ----------
    recordings : sequence of Recording
        Each with labels and 4-channel audio.
    settings : DataSettings
    maker : MapMaker
        Loaded acoustic weights.
    with_rgb : bool
        Whether pictures are needed (Track B).
    context_frames, frame_step : int
    progress : Progress

    Raises
    ------
    InputError
        A file that is missing or cannot be used.
    EnvironmentProblem
        The cache cannot be written.
    """
    store = FeatureStore()
    out = []
    for index, recording in enumerate(recordings):
        progress(index / max(len(recordings), 1), f"data: {recording.name} ({index + 1} of {len(recordings)})")
        if recording.array_path is None or recording.label_path is None:
            raise InputError(f"{recording.name}: labels and 4-channel audio are needed to learn from it.")
        maps = store.open_or_make(recording.array_path, maker=maker)
        labels = label_columns(recording.label_path)
        rgb = pictures(recording, n_frames=len(maps), frame_step=frame_step) if with_rgb else None
        out.append(TrainingRecording(recording, maps, labels, rgb))
    progress(1.0, f"data: {len(out)} recordings")
    return FrameSet(tuple(out), frame_step, settings, context_frames)


def map_maker(settings: DataSettings, *, device: str) -> MapMaker:
    """Acoustic weights of a run."""
    options = FeatureOptions(visibility=settings.visibility or None)
    return MapMaker(options, weights=settings.weights or None, device=device)


def label_columns(path: Path) -> LabelColumns:
    """Label regions of a file, from the training cache; made on first use.

    Raises
    ------
    InputError
        The file cannot be read.
    EnvironmentProblem
        The cache cannot be written.
    """
    folder = cache_root() / "training" / "labels" / f"v{FORMAT}-{file_content_hash(path)}"
    if (found := _open_labels(folder)) is not None:
        return found
    table = drop_exact_duplicates(read_annotations(path, unknown_classes="drop"))
    notes = msgspec.to_builtins(table.notes)
    columns, dropped = columns_of(table)
    with _new_entry(folder) as work:
        for name, values in columns.items():
            with atomic_write(work / f"{name}.npy") as stream:
                np.save(stream, values, allow_pickle=False)
        with atomic_write(work / "entry.json", "w") as stream:
            json.dump({"dropped": dropped, "notes": notes}, stream)
    found = _open_labels(folder)
    if found is None:
        raise EnvironmentProblem(f"{folder}: what was just written cannot be read back.")
    return found


def columns_of(table: AnnotationTable) -> tuple[dict[str, npt.NDArray], int]:
    """Columns of :class:`LabelColumns` from a table without duplicates, and the number of regions left out.

    A pixel that stands twice in a region counts once, with its larger energy; energies are cut to [0, 1].
    """
    points_from = table.point_offsets[table.polygon_offsets]
    frame, category, instance, distance, pixels, energy = [], [], [], [], [], []
    for row in range(len(table)):
        part = slice(int(points_from[row]), int(points_from[row + 1]))
        x = np.clip(table.points_xy[part, 0].astype(np.int64), 0, ERP_WIDTH - 1)
        y = np.clip(table.points_xy[part, 1].astype(np.int64), 0, ERP_HEIGHT - 1)
        flat = y * ERP_WIDTH + x
        order = np.lexsort((-table.energy[part], flat))
        flat, first = np.unique(flat[order], return_index=True)
        if len(flat) < MIN_PIXELS:
            continue
        frame.append(int(table.frame[row]))
        category.append(int(table.category_id[row]))
        instance.append(int(table.instance_id[row]))
        distance.append(float(table.distance_cm[row]))
        pixels.append(flat.astype(np.uint16))
        energy.append(np.clip(table.energy[part][order][first], 0.0, 1.0).astype(np.float16))
    counts = np.bincount(np.asarray(frame, dtype=np.int64), minlength=table.n_frames)
    columns = {
        "starts": np.concatenate([[0], np.cumsum(counts)]),
        "category": np.asarray(category),
        "instance": np.asarray(instance),
        "distance_cm": np.asarray(distance),
        "offsets": np.concatenate([[0], np.cumsum([len(p) for p in pixels])]),
        "pixels": np.concatenate(pixels) if pixels else np.zeros(0),
        "energy": np.concatenate(energy) if energy else np.zeros(0),
    }
    return {k: v.astype(_LABEL_DTYPES[k]) for k, v in columns.items()}, len(table) - len(frame)


def _open_labels(folder: Path) -> LabelColumns | None:
    try:
        facts = json.loads((folder / "entry.json").read_text(encoding="utf-8"))
        columns = {
            name: np.load(folder / f"{name}.npy", mmap_mode="r", allow_pickle=False)
            if (folder / f"{name}.npy").stat().st_size > 1 << 16
            else np.load(folder / f"{name}.npy", allow_pickle=False)
            for name in _LABEL_DTYPES
        }
        if len(columns["pixels"]) != columns["offsets"][-1] or len(columns["category"]) != columns["starts"][-1]:
            raise ValueError("lengths")
        notes = msgspec.convert(facts["notes"], FileNotes)
        return LabelColumns(**columns, n_dropped=int(facts["dropped"]), notes=notes)
    except (OSError, ValueError, KeyError, TypeError, IndexError):
        return None


def pictures(recording: Recording, *, n_frames: int, frame_step: int) -> npt.NDArray[np.uint8]:
    """Every ``frame_step``-th picture of a recording, uint8 (n, 180, 360, 3), memory-mapped; made on first use.

    Raises
    ------
    InputError
        There is no video, or it cannot be decoded.
    EnvironmentProblem
        The cache cannot be written.
    """
    source = recording.frames_dir or recording.video_path
    if source is None:
        raise InputError(f"{recording.name}: there is no video (video_dev) for a Track B network to learn from.")
    text = json.dumps([FORMAT, *file_signature(source), n_frames, frame_step])
    folder = cache_root() / "training" / "rgb" / hashlib.blake2b(text.encode(), digest_size=16).hexdigest()
    wanted = list(range(0, n_frames, frame_step))
    shape = (len(wanted), ERP_HEIGHT, ERP_WIDTH, 3)
    if (found := _open_pictures(folder, shape)) is not None:
        return found
    reader = open_frames(recording)
    assert reader is not None
    try:
        with reader, _new_entry(folder) as work:
            array = np.lib.format.open_memmap(work / "rgb.npy", mode="w+", dtype=np.uint8, shape=shape)
            for first in range(0, len(wanted), _RGB_BLOCK):
                for k in range(first, min(first + _RGB_BLOCK, len(wanted))):
                    array[k] = reader.frame(wanted[k])
            array.flush()
            del array
    except OSError as error:
        raise EnvironmentProblem(f"{folder}: the training cache cannot be written ({error.strerror}).") from error
    found = _open_pictures(folder, shape)
    if found is None:
        raise EnvironmentProblem(f"{folder}: what was just written cannot be read back.")
    return found


def _open_pictures(folder: Path, shape: tuple[int, ...]) -> npt.NDArray[np.uint8] | None:
    try:
        array = np.load(folder / "rgb.npy", mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError):
        return None
    return array if array.shape == shape and array.dtype == np.uint8 else None


@contextmanager
def _new_entry(folder: Path) -> Iterator[Path]:
    """Private folder that takes the place of ``folder`` at the end; whoever is first stays."""
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        work = Path(tempfile.mkdtemp(prefix=".work-", dir=folder.parent))
    except OSError as error:
        raise EnvironmentProblem(f"{folder}: the training cache cannot be made ({error.strerror}).") from error
    try:
        yield work
        try:
            os.rename(work, folder)
        except OSError:
            # another process was faster, or something broken is in the way
            if _is_complete(folder):
                return
            shutil.rmtree(folder, ignore_errors=True)
            os.rename(work, folder)
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _is_complete(folder: Path) -> bool:
    if (folder / "rgb.npy").exists():
        try:
            np.load(folder / "rgb.npy", mmap_mode="r", allow_pickle=False)
        except (OSError, ValueError):
            return False
        return True
    return _open_labels(folder) is not None
