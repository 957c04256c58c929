"""Training data: every recording decoded once into columns of the cache, then frames on demand.

Namespaces of the cache (:mod:`sai_core.cache`):

``features``
    Lattice maps, by the feature store (audio content, weights content, options).
``label-columns``
    Label regions as columns: ``starts`` (frames + 1), and per region ``category``, ``instance``, ``distance_cm``,
    ``offsets`` into ``pixels`` (uint16, row * 360 + column) and ``energy`` (float16). Key: the label file's content.
``field-matrices``
    What a field decoder hears, float32 (frames, 27, 16), for networks with ``region = field``. Key: the audio.
``pictures``
    Pictures at 180 x 360, uint8. Key: the video's content, and the frame step.

Nothing here reopens a JSON file or a video once that is made. Where the cache cannot be written, columns are held in
memory and pictures are decoded whenever they are needed.

Targets (domain.md, sections 6 and 8): a label annotation is one region with one box over all its parts; exact
duplicates (a label with two blobs is written twice) count once; regions under two pixels are left out and counted.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Final, Protocol

import msgspec
import numpy as np
import numpy.typing as npt

from sai_core.acoustics.audio_input import AudioInput
from sai_core.acoustics.features import FeatureOptions, MapMaker
from sai_core.acoustics.store import FeatureStore, StoredMaps
from sai_core.annotations import AnnotationTable, drop_exact_duplicates, holds_nothing, read_annotations
from sai_core.annotations.notes import NO_NOTES, FileNotes, summarise_notes
from sai_core.cache import Cache, content_of, key_of
from sai_core.dataset import FrameSource, Recording, open_data_root, open_frames, pictures_key
from sai_core.detector.field import matrices_of
from sai_core.detector.spectrum import context_window
from sai_core.entry_file import Rows, StoredRows
from sai_core.errors import InputError
from sai_core.geometry import ERP_HEIGHT, ERP_WIDTH
from sai_core.progress import Progress, no_progress
from sai_core.taxonomy import N_CLASSES
from sai_core.training.config import DataSettings
from sai_core.workspace import with_labels_of

_labels: Final = Cache("label-columns", 2)
_pictures: Final = Cache("pictures", 2)
_matrices: Final = Cache("field-matrices", 1)
"""Versions are to be raised when an entry's columns or their meaning change."""

MIN_PIXELS: Final[int] = 2
"""Smaller regions are no targets: their box has no area to speak of."""

_PIXELS_READ: Final[int] = 4096
"""Pixels of regions under one checksum, and so read at once."""


@dataclass(frozen=True, eq=False)
class LabelColumns:
    """Label regions of one recording; see the module for the columns."""

    starts: npt.NDArray[np.int64]
    category: npt.NDArray[np.int16]
    instance: npt.NDArray[np.int64]
    distance_cm: npt.NDArray[np.float32]
    offsets: npt.NDArray[np.int64]
    pixels: StoredRows | npt.NDArray[np.uint16]
    energy: StoredRows | npt.NDArray[np.float16]
    n_dropped: int = 0
    notes: FileNotes = field(default=NO_NOTES, kw_only=True)

    def frame_rows(self, frame: int) -> range:
        """Rows of the regions of a frame; empty behind the last labelled one."""
        if frame >= len(self.starts) - 1:
            return range(0)
        return range(int(self.starts[frame]), int(self.starts[frame + 1]))


class Pictures(Protocol):
    """A sequence of pictures, uint8 (180, 360, 3): an array, rows of the cache, or a video."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> npt.NDArray[np.uint8]: ...


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
    rgb : Pictures or None
        Every picture of the frame step, uint8 (180, 360, 3).
    matrices : float32, shape (frames, 27, 16), or None
        What a field decoder hears.
    """

    recording: Recording
    maps: StoredMaps
    labels: LabelColumns
    rgb: Pictures | None = None
    matrices: StoredRows | npt.NDArray[np.float32] | None = None

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
    matrices : float32, shape (batch, 2 * reach + 1, 27, 16) or None
        What a field decoder hears, the frame in the middle; repeated at the ends of a recording.
    """

    lattice: npt.NDArray[np.float32]
    power: npt.NDArray[np.float32] | None
    rgb: npt.NDArray[np.uint8] | None
    regions: tuple[tuple[Region, ...], ...]
    matrices: npt.NDArray[np.float32] | None = None

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
    field_reach : int
        Frames before and after each one that a field decoder hears; 0 for networks without one.
    """

    recordings: tuple[TrainingRecording, ...]
    frame_step: int = 1
    settings: DataSettings = field(default_factory=DataSettings)
    context_frames: int = 0
    field_reach: int = 0

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
        matrices = None
        if self.field_reach:
            matrices = np.stack([_around(self.recordings[r].matrices, f, self.field_reach) for r, f in places])
        return RawBatch(lattice, power, rgb, regions, matrices)

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


def _around(matrices: StoredRows | npt.NDArray[np.float32] | None, frame: int, reach: int) -> npt.NDArray[np.float32]:
    assert matrices is not None
    window = context_window(frame, reach, len(matrices))
    first = int(window[0])
    found: npt.NDArray[np.float32] = np.asarray(matrices[first : int(window[-1]) + 1])[window - first]
    return found


def _picture(recording: TrainingRecording, number: int) -> npt.NDArray[np.uint8]:
    assert recording.rgb is not None
    return recording.rgb[min(number, len(recording.rgb) - 1)]


def choose_recordings(
    roots: Sequence[Path], settings: DataSettings, *, labels: str = ""
) -> tuple[list[Recording], list[Recording], list[str]]:
    """Recordings for training and for validation, and what was decided, in sentences.

    Parameters
    ----------
    roots : sequence of Path
    settings : DataSettings
    labels : str
        Labels instead of the roots' own (:func:`sai_core.workspace.with_labels_of`); empty for their own.

    Raises
    ------
    InputError
        No recording has labels and 4-channel audio, or only one has; labels that belong to none of the roots.
    """
    usable: list[Recording] = []
    decided: list[str] = []
    opened = [open_data_root(path) for path in roots]
    if labels:
        opened, decided = with_labels_of(opened, labels)
    for path, root in zip(roots, opened, strict=True):
        found = root.recordings
        good = [r for r in found if r.has_labels and r.array_path is not None]
        if len(good) < len(found):
            bare, mute = sum(not r.has_labels for r in found), sum(r.array_path is None for r in found)
            decided.append(
                f"{path}: {len(found) - len(good)} of {len(found)} recordings lack labels or audio; left out "
                f"({bare} without labels, {mute} without 4-channel audio)."
            )
        if silent := [r.name for r in good if r.label_path is not None and holds_nothing(r.label_path)]:
            decided.append(
                f"{path}: {len(silent)} of {len(good)} label files hold no annotation, the first is that of "
                f"{silent[0]}; their frames count as silence."
            )
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
        decided.append(f"No split matches {', '.join(settings.train_splits)}; all other recordings are for training.")
    if not validation and len(train) > 1:
        every = max(2, round(1 / settings.holdout_share))
        validation = train[every - 1 :: every] or train[-1:]
        train = [r for r in train if r not in validation]
        held = "1 recording is" if len(validation) == 1 else f"{len(validation)} recordings are"
        decided.append(f"{held} held out for validation, since no split is for it.")
    if not train or not validation:
        raise InputError(
            f"{', '.join(str(r) for r in roots)}: at least one recording to learn from and one for validation are "
            "needed; give more data."
        )
    return train, validation, decided


def prepare(
    recordings: Sequence[Recording],
    *,
    settings: DataSettings,
    maker: MapMaker,
    with_rgb: bool,
    context_frames: int = 0,
    field_reach: int = 0,
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
    context_frames, field_reach, frame_step : int
        As :class:`FrameSet` has them.
    progress : Progress

    Raises
    ------
    InputError
        A file that is missing or cannot be used.
    EnvironmentProblem
        The disk of the cache is full.
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
        matrices = field_matrices_of(recording.array_path, n_frames=len(maps)) if field_reach else None
        out.append(TrainingRecording(recording, maps, labels, rgb, matrices))
    progress(1.0, f"data: {len(out)} recordings")
    return FrameSet(tuple(out), frame_step, settings, context_frames, field_reach)


def field_matrices_of(audio: Path, *, n_frames: int) -> StoredRows | npt.NDArray[np.float32]:
    """What a field decoder hears of a recording, float32 (n_frames, 27, 16); made once, on first use.

    Raises
    ------
    InputError
        The audio cannot be read.
    EnvironmentProblem
        The disk of the cache is full.
    """
    key = key_of(content_of(audio), n_frames)
    entry = _matrices.get(key)
    if entry is None:
        with _matrices.lock(key, what=audio.stem):
            entry = _matrices.get(key)
            if entry is None:
                source = AudioInput(audio, channels=4)
                made = matrices_of(source.read(0, n_frames), file_rate_hz=source.facts.file_rate_hz)
                if not _matrices.put(key, {"matrices": Rows(np.float32, made.shape, iter([made]))}, required=True):
                    return made
                entry = _matrices.get(key)
                if entry is None:
                    return made
    return entry.rows["matrices"]


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
        The disk of the cache is full.
    """
    key = content_of(path)
    entry = _labels.get(key)
    if entry is None:
        table = drop_exact_duplicates(read_annotations(path, unknown_classes="drop"))
        columns, dropped = columns_of(table)
        large = {name: Rows(columns[name].dtype, columns[name].shape, [columns[name]], _PIXELS_READ) for name in _LARGE}
        facts = {"dropped": dropped, "notes": msgspec.to_builtins(table.notes)}
        if _labels.put(key, {**columns, **large}, facts, required=True):
            entry = _labels.get(key)
        if entry is None:
            return LabelColumns(**columns, n_dropped=dropped, notes=table.notes)
    return LabelColumns(
        **entry.arrays,
        pixels=entry.rows["pixels"],
        energy=entry.rows["energy"],
        n_dropped=entry.facts["dropped"],
        notes=msgspec.convert(entry.facts["notes"], FileNotes),
    )


_LARGE: Final[tuple[str, str]] = ("pixels", "energy")


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


def pictures(recording: Recording, *, n_frames: int, frame_step: int) -> Pictures:
    """Every ``frame_step``-th picture of a recording, uint8 (180, 360, 3) each; decoded once, on first use.

    Raises
    ------
    InputError
        There is no video, or it cannot be decoded.
    EnvironmentProblem
        The disk of the cache is full.
    """
    made_of = pictures_key(recording)
    if made_of is None:
        raise InputError(f"{recording.name}: there is no video (video_dev) for a Track B network to learn from.")
    wanted = range(0, n_frames, frame_step)
    shape = (len(wanted), ERP_HEIGHT, ERP_WIDTH, 3)
    key = key_of(made_of, n_frames, frame_step)
    entry = _pictures.get(key)
    if entry is None:
        reader = open_frames(recording)
        assert reader is not None
        with _pictures.lock(key, what=recording.name):
            entry = _pictures.get(key)
            if entry is None:
                rows = Rows(np.uint8, shape, (reader.frame(k)[None] for k in wanted))
                if _pictures.put(key, {"rgb": rows}, required=True):
                    entry = _pictures.get(key)
        if entry is None:
            return _Decoded(reader, wanted)
        reader.close()
    return entry.rows["rgb"]


@dataclass(frozen=True, eq=False)
class _Decoded:
    """Pictures of a video, decoded whenever they are asked for."""

    reader: FrameSource
    wanted: range

    def __len__(self) -> int:
        return len(self.wanted)

    def __getitem__(self, index: int) -> npt.NDArray[np.uint8]:
        return self.reader.frame(self.wanted[index])
