"""Facts about a recording, from the headers of its files; a video that tells no length is read once, not decoded."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

import numpy.typing as npt

from sai_core.dataset.audio import AudioReader
from sai_core.dataset.root import Recording
from sai_core.dataset.sound_file import HELD_SHARE
from sai_core.dataset.video import FramesReader, VideoReader, open_frames
from sai_core.errors import InputError
from sai_core.files import FileSignature, file_signature
from sai_core.geometry import FRAME_RATE_HZ

_TOP_BAND_HZ: Final[float] = 4_333.3
"""Centre of the highest band of the acoustic maps."""


@dataclass(frozen=True)
class AudioInfo:
    """What an audio file holds; ``notes`` say what of it had to be mended or converted, or what it lacks."""

    sample_rate_hz: int
    n_channels: int
    n_samples: int
    notes: tuple[str, ...] = ()

    @property
    def duration_s(self) -> float:
        """Length in seconds."""
        return self.n_samples / self.sample_rate_hz


@dataclass(frozen=True)
class VideoInfo:
    """What a video, or a folder of extracted frames, holds.

    Attributes
    ----------
    fps : float
        Mean pictures a second; of extracted frames, how many numbers make a second (10, unless another rate was found).
    width, height : int
        Pixels.
    duration_s : float
        Until the end of the last picture.
    n_frames : int
        Label frames until then.
    codec : str
        FFmpeg's short name; ``"images"`` for extracted frames.
    start_s : float
        When the first picture begins.
    notes : tuple of str
        What is odd, guessed or left out, one sentence each.
    """

    fps: float
    width: int
    height: int
    duration_s: float
    n_frames: int
    codec: str = ""
    start_s: float = 0.0
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class RecordingInfo:
    """Facts about one recording.

    Attributes
    ----------
    duration_s : float or None
        Of the audio, else of the video; ``None`` when there is neither.
    n_frames : int or None
        Label frames in ``duration_s``, a partly filled last one included.
    audio : AudioInfo or None
        Of ``Recording.audio_path``.
    video : VideoInfo or None
        Of the extracted frames, else of the video file; ``None`` also when it was not asked for.
    problems : tuple of str
        Files that cannot be read, one sentence each.
    """

    duration_s: float | None
    n_frames: int | None
    audio: AudioInfo | None
    video: VideoInfo | None
    problems: tuple[str, ...] = ()

    @property
    def notes(self) -> tuple[str, ...]:
        """What is odd about sound and pictures, mended, guessed or left out, one sentence each."""
        return tuple(note for part in (self.audio, self.video) if part is not None for note in part.notes)


def describe(recording: Recording, *, video: bool = True) -> RecordingInfo:
    """Length, rates and sizes of a recording from headers; remembered until a file changes.

    Parameters
    ----------
    recording : Recording
        As found by :func:`sai_core.dataset.open_data_root`.
    video : bool
        Look at the video too, which costs some 30 ms a file the first time; without it only when there is no audio.

    Returns
    -------
    RecordingInfo
        A file that cannot be read leaves its facts out and is told in ``problems``; nothing is raised.
    """
    problems: list[str] = []
    audio: AudioInfo | None = None
    seen: VideoInfo | None = None
    if recording.audio_path is not None:
        try:
            audio = _audio_info(recording.audio_path, file_signature(recording.audio_path))
        except InputError as error:
            problems.append(str(error))
    if video or audio is None:
        try:
            if recording.has_video:
                files = (recording.frames_dir, recording.video_path, recording.audio_path)
                signatures = tuple(file_signature(path) for path in files if path is not None)
                seen = _video_info(replace(recording, label_path=None, metadata_path=None), signatures)
        except InputError as error:
            problems.append(str(error))
    if audio is not None:
        duration: float | None = audio.duration_s
        n_frames: int | None = -(-audio.n_samples * FRAME_RATE_HZ // audio.sample_rate_hz)
    elif seen is not None:
        duration, n_frames = seen.duration_s, seen.n_frames
    else:
        duration, n_frames = None, None
    return RecordingInfo(duration, n_frames, audio, seen, tuple(problems))


def after_the_end(recording: Recording, what: str, frame: npt.NDArray[Any], *, n_frames: int | None = None) -> str:
    """One sentence on annotations after a recording's end, the sign of predictions of other data; "" without any.

    Parameters
    ----------
    recording : Recording
    what : str
        Whose annotations: a system's name, or ``the labels``.
    frame : integers, shape (n,)
        Of each annotation.
    n_frames : int, optional
        Length of the recording, where it is known; else of the longer of sound and video. Without either nothing can
        be said.
    """
    last = int(frame.max(initial=-1))
    if n_frames is None:
        n_frames = describe(recording, video=False).n_frames
        if n_frames and last >= n_frames and recording.has_video:  # a video costs a look: only where it may count
            seen = describe(recording).video
            n_frames = max(n_frames, seen.n_frames if seen is not None else 0)
    if not n_frames or last < n_frames:
        return ""
    return said_of_the_end(recording.name, what, n_frames, last, int((frame >= n_frames).sum()))


def said_of_the_end(name: str, what: str, n_frames: int, last: int, n: int | None = None) -> str:
    """The sentence of :func:`after_the_end`, for a last annotated frame after the end; without ``n``, no count."""
    subject = f"Annotations of {what} lie" if n is None else f"{n:,} annotations of {what} lie"
    subject = f"1 annotation of {what} lies" if n == 1 else subject
    sentence = f"{subject} after the end of {name} ({n_frames} frames; the last in frame {last})"
    # a frame too many is how a system pads; seconds too many are another recording
    if last < n_frames + FRAME_RATE_HZ:
        return f"{sentence}."
    return f"{sentence}: are these {'labels' if what == 'the labels' else 'predictions'} of other data?"


@lru_cache(maxsize=4096)
def _audio_info(path: Path, signature: FileSignature) -> AudioInfo:
    reader = AudioReader(path)
    notes = list(reader.notes)
    if (held_hz := HELD_SHARE * reader.sample_rate_hz / 2) < _TOP_BAND_HZ:
        notes.append(
            f"At {reader.sample_rate_hz} Hz the file holds nothing above {held_hz:.0f} Hz: higher bands of acoustic "
            "maps are empty."
        )
    return AudioInfo(
        reader.sample_rate_hz, reader.n_channels, reader.n_samples, tuple(f"{path}: {note}" for note in notes)
    )


@lru_cache(maxsize=4096)
def _video_info(recording: Recording, signatures: tuple[FileSignature, ...]) -> VideoInfo | None:
    reader = open_frames(recording, cache_bytes=0)
    if reader is None:
        return None
    with reader:
        seconds, n_frames, notes = reader.n_frames / FRAME_RATE_HZ, reader.n_frames, reader.notes
        if isinstance(reader, VideoReader):
            facts = reader.facts
            shape = (facts.width, facts.height)
            return VideoInfo(facts.fps, *shape, facts.end_s, n_frames, facts.codec, facts.start_s, notes)
        assert isinstance(reader, FramesReader)
        return VideoInfo(reader.fps, *reader.source_size_wh(), seconds, n_frames, "images", 0.0, notes)
