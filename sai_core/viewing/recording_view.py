"""A recording opened for looking at: labels, predictions, pictures and sound behind one frame axis.

Everything the player asks for comes from here as bytes (:mod:`sai_core.viewing.player`). What is missing or cannot be
read becomes a sentence, never an error: a viewer that shows the rest is more use than none.
"""

from __future__ import annotations

import hashlib
import json
import threading
import zlib
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from cachetools import LRUCache

from sai_core.annotations import AnnotationTable, read_annotations
from sai_core.dataset import AudioReader, FrameSource, PredictionSet, Recording, describe, open_frames, spectrogram
from sai_core.drawing.colormaps import SEQUENTIAL, diverging_lut, sequential_lut
from sai_core.drawing.maps import MAP_MODES, MapMode
from sai_core.errors import EnvironmentProblem, InputError, SaiError, check_known
from sai_core.files import file_signature
from sai_core.geometry import ERP_HEIGHT, ERP_WIDTH, FRAME_RATE_HZ, SAMPLE_RATE_HZ
from sai_core.progress import Progress, no_progress
from sai_core.taxonomy import class_facts
from sai_core.viewing.acoustic_layer import LAYER_TITLES, LayerKind, layer_kinds
from sai_core.viewing.player import BLOCK_FRAMES, encode_block, encode_scene, pack, quantise_levels

PICTURE_SIZE_WH: Final[tuple[int, int]] = (720, 360)
"""Size of the pictures sent to the browser: two pixels a degree, what a panel of a laptop screen can show."""

_MAX_SPECTROGRAM_COLUMNS: Final[int] = 16_000
"""Canvases wider than 16,384 pixels fail in some browsers."""


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


@dataclass(eq=False)
class RecordingView:
    """A recording with up to two prediction sets, ready to be drawn.

    Built by :func:`open_view`. Safe to use from several threads.

    Attributes
    ----------
    recording : Recording
    tables : mapping of AnnotationTable
        ``L`` (labels), ``A`` and ``B`` (predictions), in this order; only those that could be read.
    systems : mapping of PredictionSet
        Chosen sets by key, also those without a file for this recording.
    n_frames : int
        Frames of the longest of audio, video, labels and predictions.
    messages : mapping of str
        For ``labels``, ``A``, ``B``, ``video``, ``audio``: why there is nothing to show; "" where there is.
    problems : tuple of str
        Files that are there but cannot be read, one sentence each.
    scene_id : str
        Changes whenever a file behind the view does.
    has_audio : bool
        There is sound to play.
    layers : tuple of str
        Kinds of acoustic maps that the audio allows.
    frames : FrameSource or None
        Pictures.
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
    scene_id: str
    has_audio: bool
    layers: tuple[LayerKind, ...]
    frames: FrameSource | None
    notes: tuple[str, ...]
    cache: BytesCache
    _scene: bytes | None = None
    _lock: threading.Lock = field(default_factory=threading.Lock)

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
            A block outside of the recording, or an unknown rendering.
        """
        check_known("Map rendering", mode, MAP_MODES)
        if not 0 <= index < self.n_blocks:
            raise InputError(f"{self.recording.name}: block {index} is outside of its {self.n_blocks} blocks.")
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

    def holds(self, index: int, *, mode: MapMode = "full") -> bool:
        """Whether a block is there already, so that :meth:`block` answers at once."""
        return self.cache.get((self.scene_id, mode, index)) is not None

    def spectrogram(self, *, progress: Progress = no_progress) -> bytes | None:
        """Container with the spectrogram as bytes, one column per (part of a) frame; None without sound."""
        path = self.recording.audio_path
        if path is None or not self.has_audio:
            return None
        per_frame = max(1, min(4, _MAX_SPECTROGRAM_COLUMNS // max(self.n_frames, 1)))
        result = spectrogram(path, columns_per_frame=per_frame, progress=progress)
        values = quantise_levels(result.level_db)
        n_bins, n_columns = values.shape
        header = {
            "n_bins": n_bins,
            "n_columns": n_columns,
            "n_frames": n_columns / per_frame,
            "max_hz": float(result.centre_hz[-1]) if n_bins else 0.0,
        }
        return pack(header, {"values": zlib.compress(np.ascontiguousarray(values.T).tobytes(), 1)})

    def _header(self) -> dict[str, Any]:
        return {
            "scene": self.scene_id,
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
            ("no labels", "L" in self.tables, self.messages["labels"]),
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
        path = self.recording.audio_path
        if path is None or not self.has_audio:
            return None
        try:
            return AudioReader(path).mono_pcm16(start / FRAME_RATE_HZ, stop / FRAME_RATE_HZ, SAMPLE_RATE_HZ)
        except InputError:  # the file has gone or changed since it was opened: play silence
            return np.zeros((stop - start) * SAMPLE_RATE_HZ // FRAME_RATE_HZ, dtype=np.int16)


def open_view(
    recording: Recording,
    systems: Mapping[str, PredictionSet],
    *,
    cache: BytesCache,
    lam32_weights: str = "",
    progress: Progress = no_progress,
) -> RecordingView:
    """Open whatever a recording has.

    Parameters
    ----------
    recording : Recording
    systems : mapping of PredictionSet
        Keys ``A`` and ``B``.
    cache : BytesCache
        Where finished blocks are kept.
    lam32_weights : str
        Weights of a 32-channel LAM; "" for none.
    progress : Progress
        Told while annotation files are read.

    Returns
    -------
    RecordingView
        What could not be read is told in its ``problems`` and ``messages``.
    """
    place = f"{recording.split or '<split>'}/{recording.name}"
    problems: list[str] = []
    messages = dict.fromkeys(("labels", "A", "B", "video", "audio"), "")
    tables: dict[str, AnnotationTable] = {}
    sources = [("L", "labels", recording.label_path)]
    sources += [(key, key, chosen.files.get(recording.name)) for key, chosen in systems.items()]
    signatures: list[Any] = [recording.name, recording.split]
    for number, (key, slot, path) in enumerate(sources):
        if path is None:
            messages[slot] = (
                f"No labels: expected <root>/labels_dev/{place}_std.json"
                if key == "L"
                else f"{systems[key].title} has no file for this recording: expected {recording.name}.json"
            )
            continue

        def part(fraction: float, message: str, number: int = number, slot: str = slot) -> None:
            name = "labels" if slot == "labels" else f"predictions {slot}"
            progress((number + fraction) / (len(sources) + 1), f"Reading {name}: {message}")

        part(0.0, path.name)
        try:
            signatures.append((key, *file_signature(path)))
            tables[key] = read_annotations(path, recording=recording.name, progress=part)
            problems += [f"{path}: {sentence}" for sentence in tables[key].notes.sentences()]
        except SaiError as error:
            problems.append(str(error))
            messages[slot] = "This file cannot be read; the message above says why."
    progress(len(sources) / (len(sources) + 1), "Opening video and sound")
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
    for path in (recording.audio_path, recording.frames_dir, recording.video_path):
        if path is not None:
            try:
                signatures.append(file_signature(path))
            except InputError as error:
                problems.append(str(error))
    problems += [p for p in (*info.problems, *info.notes) if p not in problems]
    lengths = [length for length in (info.n_frames if has_audio else None, frames and frames.n_frames) if length]
    n_frames = max([*lengths, *(table.n_frames for table in tables.values())], default=0)
    signatures += [(key, chosen.name) for key, chosen in systems.items()]
    signatures.append(lam32_weights)
    digest = hashlib.blake2b(json.dumps(signatures).encode("utf-8", "surrogateescape"), digest_size=8).hexdigest()
    progress(1.0, "Ready")
    return RecordingView(
        recording=recording,
        tables=tables,
        systems=dict(systems),
        n_frames=n_frames,
        messages=messages,
        problems=tuple(problems),
        scene_id=digest,
        has_audio=has_audio,
        layers=layer_kinds(recording, lam32_weights=lam32_weights) if has_audio else (),
        frames=frames,
        notes=frames.notes if frames is not None else (),
        cache=cache,
    )
