"""What one look at a file gives: annotations added up, level of the sound, a small picture. Each file is read once.

A look is kept in the cache under the content of its files; :mod:`sai_core.survey.index` keeps what is known of a whole
set beside it, so that a set that was seen before costs no look at all.
"""

from __future__ import annotations

import math
import os
from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple

import cv2
import msgspec
import numpy as np

from sai_core.annotations import AnnotationTable, read_annotations
from sai_core.cache import Cache, content_of, key_of
from sai_core.dataset import AudioReader, Recording, open_frames
from sai_core.drawing.still import still
from sai_core.errors import CancelledError, InputError, SaiError
from sai_core.files import file_signature
from sai_core.geometry import FRAME_RATE_HZ
from sai_core.metrics import merge
from sai_core.metrics.evaluation.score_store import ScoreStore
from sai_core.progress import Progress, no_progress
from sai_core.survey.summary import TableSummary, summarise

LookKind = Literal["labels", "predictions", "sound", "picture", "score"]

PICTURE_WH: Final[tuple[int, int]] = (128, 64)
_QUALITY: Final[int] = 82
_cache: Final = Cache("survey", 2)
"""Its version is to be raised when what a look gives, or its meaning, changes; that of the index, too."""


@dataclass(frozen=True)
class SoundSummary:
    """Facts about a sound file.

    Attributes
    ----------
    duration_s : float
    n_frames : int
        Label frames, a partly filled last one included.
    sample_rate_hz, n_channels : int
    level_dbfs, peak_dbfs : float
        Root mean square and largest magnitude over all channels and samples, in dB relative to full scale (amplitude
        1); minus infinity for digital silence. Samples that are no numbers count as 0.
    notes : tuple of str
        What had to be mended, converted or is lacking.
    """

    duration_s: float
    n_frames: int
    sample_rate_hz: int
    n_channels: int
    level_dbfs: float
    peak_dbfs: float
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class PictureSummary:
    """A small picture of a recording.

    Attributes
    ----------
    jpeg : bytes
        :data:`PICTURE_WH`, the busiest moment with its energy and outlines; empty where there is nothing to draw.
    n_frames : int
        Label frames of the video; 0 without one.
    notes : tuple of str
    """

    jpeg: bytes
    n_frames: int
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class ScoreSummary:
    """Official figure of one recording of one system (2026-06-30), where it is known.

    Attributes
    ----------
    mean_ap : float
        Macro mAP over the classes of this recording; NaN where undefined.
    """

    mean_ap: float


Part = TableSummary | SoundSummary | PictureSummary | ScoreSummary
PARTS: Final[dict[LookKind, type[Part]]] = {
    "labels": TableSummary,
    "predictions": TableSummary,
    "sound": SoundSummary,
    "picture": PictureSummary,
    "score": ScoreSummary,
}


class Stamp(NamedTuple):
    """What files are known by in memory, and in the index of a set.

    Attributes
    ----------
    key : tuple
        Kind of the look and signatures of the files.
    n_bytes : int
        Of all files together.
    newest_ns : int
        When the youngest of them was written or changed.
    """

    key: tuple[object, ...]
    n_bytes: int
    newest_ns: int


@dataclass(frozen=True)
class Look:
    """A question about files of a recording.

    Attributes
    ----------
    kind : {"labels", "predictions", "sound", "picture", "score"}
    recording : Recording
    path : Path
        Of labels, predictions (also of ``score``), sound, video or folder of frames.
    """

    kind: LookKind
    recording: Recording
    path: Path

    @property
    def paths(self) -> tuple[Path, ...]:
        """All files that the answer depends on."""
        labels = self.recording.label_path
        if self.kind in ("picture", "score") and labels is not None and labels != self.path:
            return self.path, labels
        return (self.path,)

    def stamp(self) -> Stamp:
        """Differs after every write to one of the files.

        A folder of frames is known by its own times: when a file in it comes, goes or is replaced.

        Raises
        ------
        InputError
            A file is not there, or cannot be looked at.
        """
        parts: list[object] = [self.kind]
        size = newest = 0
        for path in self.paths:
            if path == self.recording.frames_dir:
                try:
                    status = os.stat(path)
                except OSError as error:
                    raise InputError(f"{path}: cannot be read ({error.strerror}).") from error
                # not its files: they are thousands for each recording, and this is asked at every look at the set
                signature = (str(path), 0, status.st_mtime_ns, status.st_ctime_ns, status.st_ino, status.st_dev)
            else:
                signature = file_signature(path)
            parts += signature
            size, newest = size + signature[1], max(newest, signature[2], signature[3])
        return Stamp(tuple(parts), size, newest)

    def key(self) -> str:
        """Key of the cache: by the content of the files.

        Raises
        ------
        InputError
            A file cannot be read.
        """
        # predictions of two systems, or labels, with the same bytes add up to the same
        kind = "labels" if self.kind == "predictions" else self.kind
        return key_of(kind, *(content_of(path) for path in self.paths))


def looks_of(recording: Recording) -> list[Look]:
    """What there is to know of a recording itself: labels, sound, picture; not of predictions."""
    looks = []
    if recording.label_path is not None:
        looks.append(Look("labels", recording, recording.label_path))
    if recording.audio_path is not None:
        looks.append(Look("sound", recording, recording.audio_path))
    if (shown := recording.frames_dir or recording.video_path or recording.label_path) is not None:
        looks.append(Look("picture", recording, shown))
    return looks


class Looker:
    """Answers questions about one recording, reading its labels once for all of them."""

    def __init__(self, recording: Recording, scores: ScoreStore | None = None) -> None:
        self._recording, self._scores = recording, scores

    @cached_property
    def _labels(self) -> AnnotationTable:
        assert self._recording.label_path is not None
        return _read(self._recording.label_path, self._recording.name)

    def answer(self, look: Look, *, progress: Progress = no_progress) -> Part | str | None:
        """What a look gives.

        Parameters
        ----------
        look : Look
            About the recording of this looker.
        progress : Progress
            May raise CancelledError.

        Returns
        -------
        part, str or None
            A sentence where the files cannot be used; None for a score that nobody has computed yet.
        """
        try:
            if look.kind == "score":
                return self._score(look)
            key = look.key()
            entry = _cache.get(key)
            if entry is not None:
                return decode(look.kind, entry.arrays["part"].tobytes())
            with _cache.lock(key, progress, look.recording.name):
                part = self._look(look, progress)
                _cache.put(key, {"part": np.frombuffer(encode(part), np.uint8)})
        except CancelledError:
            raise
        except (SaiError, OSError) as error:
            return str(error)
        except MemoryError:
            return f"{look.path}: there is not enough memory to look at it."
        return part

    def _look(self, look: Look, progress: Progress) -> Part:
        if look.kind == "labels":
            return summarise(self._labels)
        if look.kind == "predictions":
            return summarise(_read(look.path, look.recording.name))
        if look.kind == "sound":
            return _sound(look.path, progress)
        return self._picture(look)

    def _picture(self, look: Look) -> PictureSummary:
        recording = look.recording
        table = self._labels if recording.has_labels else AnnotationTable.empty(recording.name)
        frame = summarise(table).busiest_frame
        picture, n_frames = None, 0
        notes: tuple[str, ...] = ()
        # twice the final size, so that outlines are one pixel wide in the end
        wide = (2 * PICTURE_WH[0], 2 * PICTURE_WH[1])
        source = open_frames(recording, size=wide, cache_bytes=0) if recording.has_video else None
        if source is not None:
            with source:
                n_frames, notes = source.n_frames, source.notes
                if n_frames:
                    picture = source.frame(min(frame if len(table) else n_frames // 2, n_frames - 1))
        if picture is None and not len(table):
            return PictureSummary(b"", n_frames, notes)
        small = cv2.resize(still(table, frame, picture), PICTURE_WH, interpolation=cv2.INTER_AREA)
        _, encoded = cv2.imencode(".jpg", small[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])
        return PictureSummary(encoded.tobytes(), n_frames, notes)

    def _score(self, look: Look) -> ScoreSummary | None:
        if self._scores is None or look.recording.label_path is None:
            return None
        result = self._scores.find(
            look.recording.label_path, look.path, recording=look.recording.name, revision="2026-06-30"
        )
        if result is None:
            return None
        return ScoreSummary(merge([result.scores]).macro.mean_ap)


def _read(path: Path, recording: str) -> AnnotationTable:
    # as the player and the scores read it, so that a large file is decoded once for all
    return read_annotations(path, recording=recording, unknown_classes="drop")


def _sound(path: Path, progress: Progress) -> SoundSummary:
    reader = AudioReader(path)
    total, n, peak, odd = 0.0, 0, 0.0, 0
    for piece in reader.pieces():
        finite = np.isfinite(piece)
        if not finite.all():
            odd += int(piece.size - np.count_nonzero(finite))
            piece = np.where(finite, piece, np.float32(0))
        total += float(np.sum(np.square(piece, dtype=np.float64)))
        n += piece.size
        peak = max(peak, float(np.abs(piece).max(initial=0.0)))
        progress(min(n / max(reader.n_samples * reader.n_channels, 1), 1.0), path.name)
    notes = tuple(f"{path}: {note}" for note in reader.notes)
    if odd:
        notes += (f"{path}: {odd} samples are not numbers; they count as 0 here.",)
    return SoundSummary(
        reader.duration_s,
        -(-reader.n_samples * FRAME_RATE_HZ // reader.sample_rate_hz),
        reader.sample_rate_hz,
        reader.n_channels,
        _db(math.sqrt(total / n)) if n else -math.inf,
        _db(peak),
        notes,
    )


def _db(amplitude: float) -> float:
    return 20 * math.log10(amplitude) if amplitude > 0 else -math.inf


def encode(part: Part) -> bytes:
    """A part as MessagePack."""
    return msgspec.msgpack.encode(values_of(part))


def values_of(part: Part) -> dict[str, Any]:
    """Fields of a part for MessagePack, arrays as their type and bytes."""
    values: dict[str, Any] = {}
    for name in (f.name for f in fields(part)):
        value = getattr(part, name)
        values[name] = [value.dtype.str, value.tobytes()] if isinstance(value, np.ndarray) else value
    return values


def decode(kind: LookKind, data: bytes) -> Part:
    """Inverse of :func:`encode`; arrays are read-only."""
    return part_of_values(kind, msgspec.msgpack.decode(data))


def part_of_values(kind: LookKind, values: dict[str, Any]) -> Part:
    """Inverse of :func:`values_of`, after a round through MessagePack."""
    if "notes" in values:
        values["notes"] = tuple(values["notes"])
    for name, value in values.items():
        if isinstance(value, list):
            values[name] = np.frombuffer(value[1], value[0])
    return PARTS[kind](**values)
