"""A recording opened for looking at: labels, predictions, pictures and sound behind one frame axis.

Everything the player asks for comes from here as bytes (:mod:`sai_core.viewing.player`). What is missing or cannot be
read becomes a sentence, never an error: a viewer that shows the rest is more use than none.
"""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from cachetools import LRUCache

from sai_core.annotations import AnnotationTable, read_annotations
from sai_core.dataset import (
    FrameSource,
    PredictionSet,
    Recording,
    after_the_end,
    describe,
    open_frames,
    open_heard,
    spectrogram,
)
from sai_core.drawing.colormaps import SEQUENTIAL, diverging_lut, sequential_lut
from sai_core.drawing.maps import MAP_MODES, MapMode
from sai_core.errors import EnvironmentProblem, InputError, SaiError, check_known
from sai_core.files import file_signature, file_signatures
from sai_core.geometry import ERP_HEIGHT, ERP_WIDTH, FRAME_RATE_HZ, SAMPLE_RATE_HZ
from sai_core.progress import Progress, no_progress
from sai_core.taxonomy import class_facts
from sai_core.viewing.acoustic_layer import LAYER_TITLES, LayerKind, layer_kinds
from sai_core.viewing.player import BLOCK_FRAMES, columns_per_frame, encode_block, encode_scene, encode_spectrogram

PICTURE_SIZE_WH: Final[tuple[int, int]] = (720, 360)
"""Size of the pictures sent to the browser: two pixels a degree, what a panel of a laptop screen can show."""

SYSTEM_KEYS: Final[str] = "ABCDEFGHIJKMNOPQRSTUVWXYZ"
"""Keys of prediction sets, in order; ``L`` is the labels'."""

TableReader = Callable[[str, Path, Progress], AnnotationTable | None]
"""Reads the annotation file of a key of :data:`SYSTEM_KEYS` or ``L``; None while somebody else still reads it."""


class BytesCache:
    """Least recently used bytes under a limit, for several threads."""

    def __init__(self, max_bytes: int) -> None:
        self._items: LRUCache[tuple[Any, ...], bytes] = LRUCache(max_bytes, getsizeof=len)
        self._lock = threading.Lock()

    def get(self, key: tuple[Any, ...]) -> bytes | None:
        """Stored bytes, or None."""
        with self._lock:
            return self._items.get(key)

    def put(self, key: tuple[Any, ...], value: bytes) -> None:
        """Store bytes and drop the oldest beyond the limit; what is larger than that is not kept."""
        with self._lock, suppress(ValueError):
            self._items[key] = value


@dataclass(frozen=True, eq=False)
class Media:
    """Pictures and sound of a recording: what of it does not depend on labels and predictions.

    Built by :func:`open_media`. Safe to use from several threads.

    Attributes
    ----------
    media_id : str
        Changes whenever a file of pictures or sound does.
    has_audio : bool
        There is sound to play.
    frames : FrameSource or None
        Pictures.
    n_frames : int
        Frames of the longer of audio and video; 0 where there is neither.
    messages : mapping of str
        For ``video`` and ``audio``: why there is nothing to show; "" where there is.
    problems : tuple of str
        Files that are there but cannot be read, one sentence each.
    """

    media_id: str
    has_audio: bool
    frames: FrameSource | None
    n_frames: int
    messages: Mapping[str, str]
    problems: tuple[str, ...]


@dataclass(eq=False)
class RecordingView:
    """A recording with its prediction sets, ready to be drawn.

    Built by :func:`open_view`. Safe to use from several threads.

    Attributes
    ----------
    recording : Recording
    tables : mapping of AnnotationTable
        ``L`` (labels), then predictions by :data:`SYSTEM_KEYS`, in this order; only those that could be read.
    systems : mapping of PredictionSet
        Chosen sets by key, also those without a file for this recording.
    n_frames : int
        Frames of the longest of audio, video, labels and predictions.
    messages : mapping of str
        For ``labels``, each system, ``video``, ``audio``: why there is nothing to show; "" where there is.
    problems : tuple of str
        Files that are there but cannot be read, one sentence each.
    reading : mapping of Path
        Annotation files by key that are still being read by somebody else; they have no table yet.
    scene_id : str
        Changes whenever a file behind the view does, or is no longer being read.
    media : Media
        Pictures and sound.
    layers : tuple of str
        Kinds of acoustic maps that the audio allows.
    notes : tuple of str
        What is odd about the pictures, one sentence each.
    cache : BytesCache
        Where finished blocks are kept.
    """

    recording: Recording
    tables: Mapping[str, AnnotationTable]
    systems: Mapping[str, PredictionSet]
    n_frames: int
    messages: Mapping[str, str]
    problems: tuple[str, ...]
    reading: Mapping[str, Path]
    scene_id: str
    media: Media
    layers: tuple[LayerKind, ...]
    notes: tuple[str, ...]
    cache: BytesCache
    _scene: bytes | None = None
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def has_audio(self) -> bool:
        """There is sound to play."""
        return self.media.has_audio

    @property
    def frames(self) -> FrameSource | None:
        """Pictures."""
        return self.media.frames

    @property
    def n_blocks(self) -> int:
        """Blocks that the recording consists of."""
        return -(-self.n_frames // BLOCK_FRAMES)

    def scene(self) -> bytes:
        """Container with what is needed once (:func:`sai_core.viewing.player.encode_scene`)."""
        if self._scene is None:
            self._scene = encode_scene(self._header(), self.tables)
        return self._scene

    def block(self, index: int, *, mode: MapMode = "full") -> bytes:
        """Container of one block of frames, from the cache where possible.

        Raises
        ------
        InputError
            A block outside the recording, or an unknown rendering.
        """
        check_known("Map rendering", mode, MAP_MODES)
        if not 0 <= index < self.n_blocks:
            raise InputError(f"{self.recording.name}: block {index} is outside its {self.n_blocks} blocks.")
        key = (self.scene_id, mode, index)
        data = self.cache.get(key)
        if data is not None:
            return data
        with self._lock:  # two tabs that want the same block build it once
            data = self.cache.get(key)
            if data is None:
                start = index * BLOCK_FRAMES
                stop = min(start + BLOCK_FRAMES, self.n_frames)
                data = encode_block(
                    index,
                    self.tables,
                    n_frames=self.n_frames,
                    mode=mode,
                    pictures=self._pictures(start, stop),
                    audio=self._sound(start, stop),
                )
                self.cache.put(key, data)
        return data

    def still(self, frame: int, *, mode: MapMode = "full") -> bytes:
        """Container of one frame, as a block of one without sound: what is shown while its block is made.

        Raises
        ------
        InputError
            A frame outside the recording, or an unknown rendering.
        """
        check_known("Map rendering", mode, MAP_MODES)
        if not 0 <= frame < self.n_frames:
            raise InputError(f"{self.recording.name}: frame {frame} is outside its {self.n_frames} frames.")
        index = frame // BLOCK_FRAMES
        with self._lock:
            # the block is what is asked for next: what is decoded of it on the way to the frame is kept
            pictures = None if self.frames is None else [self.frames.picture(frame, since=index * BLOCK_FRAMES)]
            return encode_block(index, self.tables, n_frames=self.n_frames, only=frame, mode=mode, pictures=pictures)

    def holds(self, index: int, *, mode: MapMode = "full") -> bool:
        """Whether a block is there already, so that :meth:`block` answers at once."""
        return self.cache.get((self.scene_id, mode, index)) is not None

    def spectrogram(self, *, progress: Progress = no_progress) -> bytes | None:
        """Container with the spectrogram as bytes, one column per (part of a) frame; None without sound."""
        path = self.recording.audio_path
        if path is None or not self.has_audio:
            return None
        result = spectrogram(path, columns_per_frame=columns_per_frame(self.n_frames), progress=progress)
        return encode_spectrogram(result)

    def _header(self) -> dict[str, Any]:
        return {
            "scene": self.scene_id,
            "media": self.media.media_id,
            "recording": self.recording.name,
            "split": self.recording.split,
            "simulated": self.recording.is_simulated,
            "n_frames": self.n_frames,
            "block_frames": BLOCK_FRAMES,
            "canvas": [ERP_WIDTH, ERP_HEIGHT],
            "picture_frames": self.frames.n_frames if self.frames is not None else 0,
            "frame_rate_hz": FRAME_RATE_HZ,
            "sample_rate_hz": SAMPLE_RATE_HZ,
            "classes": class_facts(),
            "systems": {key: {"title": chosen.title} for key, chosen in self.systems.items()},
            "has": {
                "labels": "L" in self.tables,
                "video": self.frames is not None,
                "audio": self.has_audio,
            },
            "messages": dict(self.messages),
            # labels (L) and systems with a file that is damaged, which is not the same as none
            "unreadable": [
                key
                for key, path in annotation_paths(self.recording, self.systems).items()
                if path is not None and key not in self.tables and key not in self.reading
            ],
            "reading": list(self.reading),
            "badges": self._badges(),
            "acoustic": [{"kind": kind, "title": LAYER_TITLES[kind]} for kind in self.layers],
            "colormaps": list(SEQUENTIAL),
            "luts": {
                **{name: sequential_lut(name).tobytes().hex() for name in SEQUENTIAL},
                "diverging_dark": diverging_lut(dark=True).tobytes().hex(),
                "diverging_light": diverging_lut(dark=False).tobytes().hex(),
            },
        }

    def _badges(self) -> list[list[str]]:
        seconds = self.n_frames / FRAME_RATE_HZ
        badges = [[f"{int(seconds // 60)}:{seconds % 60:04.1f}", "", f"{self.n_frames} frames of 100 ms"]]
        if self.recording.is_simulated:
            badges.insert(0, ["simulated", "warn", "Made by this program's simulator, not recorded"])
        for name, there, tip in (
            ("no labels", "L" in self.tables or "L" in self.reading, self.messages["labels"]),
            ("no video", self.frames is not None, self.messages["video"]),
            ("no audio", self.has_audio, self.messages["audio"]),
        ):
            if not there:
                badges.append([name, "no", tip])
        if self.recording.split:  # last: the first to be cut where room is short, and the picker names it too
            badges.append([self.recording.split, "", "split"])
        return badges

    def _pictures(self, start: int, stop: int) -> list[npt.NDArray[np.uint8] | None] | None:
        if self.frames is None:
            return None
        return [self.frames.picture(k) for k in range(start, stop)]

    def _sound(self, start: int, stop: int) -> npt.NDArray[np.int16] | None:
        if not self.has_audio:
            return None
        try:
            reader = open_heard(self.recording)
            if reader is None:
                return None
            return reader.mono_pcm16(start / FRAME_RATE_HZ, stop / FRAME_RATE_HZ, SAMPLE_RATE_HZ)
        except InputError:  # the file has gone or changed since it was opened: play silence
            return np.zeros((stop - start) * SAMPLE_RATE_HZ // FRAME_RATE_HZ, dtype=np.int16)


def media_id(recording: Recording) -> str:
    """What changes whenever a file of a recording does, labels and predictions excepted."""
    paths = (
        *(recording.audio_path, recording.video_path, recording.frames_dir),
        *(recording.mic_path, recording.foa_path, recording.eigen_path, recording.metadata_path),
    )
    return _digest([recording.name, recording.split, file_signatures(paths)])


def open_media(recording: Recording) -> Media:
    """Open pictures and sound of a recording."""
    place = f"{recording.split or '<split>'}/{recording.name}"
    messages = {"video": "", "audio": ""}
    problems: list[str] = []
    info = describe(recording, video=False)
    has_audio = info.audio is not None and info.audio.n_samples > 0
    if not has_audio:
        messages["audio"] = (
            "The audio file is empty or cannot be read."
            if recording.audio_path is not None
            else f"No audio: expected <root>/mic_dev/{place}.wav"
        )
    frames: FrameSource | None = None
    try:
        frames = open_frames(recording, size=PICTURE_SIZE_WH, cache_bytes=24 << 20)
    except (InputError, EnvironmentProblem) as error:
        problems.append(str(error))
    if frames is None:
        messages["video"] = (
            "The video cannot be read; the message above says why."
            if recording.has_video
            else f"No video in this root: expected <root>/video_dev/{place}.mp4"
        )
    problems += [p for p in (*info.problems, *info.notes) if p not in problems]
    lengths = [length for length in (info.n_frames if has_audio else None, frames and frames.n_frames) if length]
    return Media(media_id(recording), has_audio, frames, max(lengths, default=0), messages, tuple(problems))


def _digest(parts: list[Any]) -> str:
    return hashlib.blake2b(json.dumps(parts).encode("utf-8", "surrogateescape"), digest_size=8).hexdigest()


def annotation_paths(recording: Recording, systems: Mapping[str, PredictionSet]) -> dict[str, Path | None]:
    """Files of labels (``L``) and predictions of a recording by key, in drawing order; None where there is none."""
    return {"L": recording.label_path, **{key: chosen.files.get(recording.name) for key, chosen in systems.items()}}


def open_view(
    recording: Recording,
    systems: Mapping[str, PredictionSet],
    *,
    cache: BytesCache,
    lam32_weights: str = "",
    media: Media | None = None,
    read: TableReader | None = None,
    progress: Progress = no_progress,
) -> RecordingView:
    """Open whatever a recording has.

    Parameters
    ----------
    recording : Recording
    systems : mapping of PredictionSet
        Keys of :data:`SYSTEM_KEYS`.
    cache : BytesCache
        Where finished blocks are kept.
    lam32_weights : str
        Weights of a 32-channel LAM; "" for none.
    media : Media, optional
        Pictures and sound of this recording, where they are open already.
    read : TableReader, optional
        How annotation files are read: here and now where it is left out.
    progress : Progress
        Told while annotation files are read.

    Returns
    -------
    RecordingView
        What could not be read is told in its ``problems`` and ``messages``.
    """
    read = read or (lambda key, path, report: read_annotations(path, recording=recording.name, progress=report))
    place = f"{recording.split or '<split>'}/{recording.name}"
    problems: list[str] = []
    messages = dict.fromkeys(("labels", *systems), "")
    tables: dict[str, AnnotationTable] = {}
    reading: dict[str, Path] = {}
    paths = annotation_paths(recording, systems)
    signatures: list[Any] = []
    for number, (key, path) in enumerate(paths.items()):
        slot = "labels" if key == "L" else key
        if path is None:
            messages[slot] = (
                f"No labels: expected <root>/labels_dev/{place}_std.json"
                if key == "L"
                else f"{systems[key].title} has no file for this recording: expected {recording.name}.json"
            )
            continue

        def part(fraction: float, message: str, number: int = number, slot: str = slot) -> None:
            name = "labels" if slot == "labels" else f"predictions {slot}"
            progress((number + fraction) / (len(paths) + 1), f"Reading {name}: {message}")

        part(0.0, path.name)
        what = "labels" if key == "L" else f"predictions of {systems[key].title}"
        try:
            signatures.append((key, *file_signature(path)))
            table = read(key, path, part)
            if table is None:
                reading[key] = path
                messages[slot] = f"The {what} are being read"
                continue
            tables[key] = table
            problems += [f"{path}: {sentence}" for sentence in table.notes.sentences()]
        except SaiError as error:
            problems.append(str(error))
            messages[slot] = f"The {what} cannot be read; the message above says why."
    progress(len(paths) / (len(paths) + 1), "Opening video and sound")
    media = media or open_media(recording)
    problems += [p for p in media.problems if p not in problems]
    for key, table in tables.items():
        what = "the labels" if key == "L" else systems[key].title
        if late := after_the_end(recording, what, table.frame, n_frames=media.n_frames):
            problems.append(late)
    signatures += [media.media_id, list(reading), [(key, chosen.name) for key, chosen in systems.items()]]
    signatures.append(lam32_weights)
    progress(1.0, "Ready")
    return RecordingView(
        recording=recording,
        tables=tables,
        systems=dict(systems),
        n_frames=max([media.n_frames, *(table.n_frames for table in tables.values())]),
        messages={**messages, **media.messages},
        problems=tuple(problems),
        reading=reading,
        scene_id=_digest(signatures),
        media=media,
        layers=layer_kinds(recording, lam32_weights=lam32_weights) if media.has_audio else (),
        notes=media.frames.notes if media.frames is not None else (),
        cache=cache,
    )
