"""Facts about a recording, from the headers of its files only."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from sai_core.dataset.audio import AudioReader
from sai_core.dataset.root import Recording
from sai_core.dataset.video import FramesReader, VideoReader
from sai_core.errors import InputError
from sai_core.files import FileSignature, file_signature
from sai_core.geometry import FRAME_RATE_HZ


@dataclass(frozen=True)
class AudioInfo:
    """Header of an audio file."""

    sample_rate_hz: int
    n_channels: int
    n_samples: int

    @property
    def duration_s(self) -> float:
        """Length in seconds."""
        return self.n_samples / self.sample_rate_hz


@dataclass(frozen=True)
class VideoInfo:
    """Header of a video, or what a folder of extracted frames holds (then ``fps`` is 10)."""

    fps: float
    width: int
    height: int
    duration_s: float
    n_frames: int


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
            if recording.frames_dir is not None:
                seen = _frames_info(recording.frames_dir, file_signature(recording.frames_dir))
            elif recording.video_path is not None:
                seen = _video_info(recording.video_path, file_signature(recording.video_path))
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


@lru_cache(maxsize=4096)
def _audio_info(path: Path, signature: FileSignature) -> AudioInfo:
    reader = AudioReader(path)
    return AudioInfo(reader.sample_rate_hz, reader.n_channels, reader.n_samples)


@lru_cache(maxsize=4096)
def _video_info(path: Path, signature: FileSignature) -> VideoInfo:
    with VideoReader(path, cache_bytes=0) as reader:
        return VideoInfo(reader.fps, reader.width, reader.height, reader.duration_s, reader.n_frames)


@lru_cache(maxsize=4096)
def _frames_info(path: Path, signature: FileSignature) -> VideoInfo:
    with FramesReader(path, cache_bytes=0) as reader:
        width, height = reader.source_size_wh()
        return VideoInfo(float(FRAME_RATE_HZ), width, height, reader.n_frames / FRAME_RATE_HZ, reader.n_frames)
