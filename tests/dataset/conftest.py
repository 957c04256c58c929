"""Material made on the spot: videos whose pictures carry their number, WAV files, data roots."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import numpy.typing as npt
import pytest
import soundfile
from av.video.reformatter import VideoReformatter

N_BITS = 16
WIDTH, HEIGHT = 128, 64


def numbered_picture(number: int, size: tuple[int, int] = (WIDTH, HEIGHT)) -> npt.NDArray[np.uint8]:
    """Grey picture with ``number`` as two rows of eight black or white blocks."""
    bits = (number >> np.arange(N_BITS)) & 1
    cells = np.where(bits, 235, 16).astype(np.uint8).reshape(2, 8)
    rows, columns = np.arange(size[1]) * 2 // size[1], np.arange(size[0]) * 8 // size[0]
    return cells[np.ix_(rows, columns)]


def number_of_picture(rgb: npt.NDArray[np.uint8]) -> int:
    """Number written in a picture of any size."""
    height, width = rgb.shape[:2]
    rows = (np.arange(2) * 2 + 1) * height // 4
    columns = (np.arange(8) * 2 + 1) * width // 16
    bits = rgb[rows[:, None], columns[None, :], 1].reshape(-1) > 128
    return int((bits.astype(np.int64) << np.arange(N_BITS)).sum())


class _Pipe:
    """A file that can only be written on, as a pipe."""

    def __init__(self, path: Path) -> None:
        self._stream = path.open("wb")
        self.write = self._stream.write
        self.close = self._stream.close


def write_video(
    path: Path,
    n_pictures: int,
    rate: Fraction,
    *,
    codec: str = "libx264",
    options: dict[str, str] | None = None,
    time_base: Fraction | None = None,
    stamps: Sequence[int] | None = None,
    size: tuple[int, int] = (WIDTH, HEIGHT),
    pix_fmt: str | None = None,
    container: str | None = None,
    container_options: dict[str, str] | None = None,
    live: bool = False,
    sound_s: float = 0.0,
    late: float = 0.0,
    sound_late: float = 0.0,
) -> Path:
    """Encode numbered pictures at a constant rate, or with the given time stamps in units of ``time_base``.

    ``live`` writes as to a pipe, so that the header cannot tell the length; with ``sound_s`` there is silence of that
    length, and the pictures begin ``late`` s after time 0, the silence ``sound_late`` s.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    name = container or {".mkv": "matroska", ".webm": "webm", ".avi": "avi"}.get(path.suffix) if live else container
    sink: Any = _Pipe(path) if live else str(path)
    with av.open(sink, "w", format=name, options=container_options or {}) as output:
        stream: Any = output.add_stream(codec, rate=rate)
        stream.width, stream.height = size
        stream.pix_fmt = pix_fmt or ("yuvj420p" if codec == "mjpeg" else "yuv420p")
        default = {"preset": "ultrafast", "crf": "28", "tune": "fastdecode"} if codec == "libx264" else {}
        stream.options = options if options is not None else default
        if time_base is not None:
            stream.codec_context.time_base = time_base
        sound: Any = output.add_stream("aac", rate=48_000) if sound_s else None
        if sound is not None:
            sound.layout = "mono"
        converter = VideoReformatter()  # frame.reformat sets one up for each frame, which takes longer than the rest
        for number in range(n_pictures):
            grey = np.repeat(numbered_picture(number, size)[..., None], 3, axis=2)
            frame = converter.reformat(av.VideoFrame.from_ndarray(grey, format="rgb24"), format=stream.pix_fmt)
            if stamps is not None:
                frame.pts, frame.time_base = stamps[number], time_base
            elif late:
                frame.pts = round((late + number / rate) * 1_000_000)
                frame.time_base = Fraction(1, 1_000_000)
            output.mux(stream.encode(frame))
            if sound is not None and number == 0:
                for n in range(int(sound_s * 48_000) // 1024):
                    silence = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), "fltp", "mono")
                    silence.sample_rate, silence.time_base = 48_000, Fraction(1, 48_000)
                    silence.pts = n * 1024 + round(sound_late * 48_000)
                    output.mux(sound.encode(silence))
        output.mux(stream.encode(None))
        if sound is not None:
            output.mux(sound.encode(None))
    if live:
        sink.close()
    return path


@pytest.fixture(name="write_video")
def write_video_fixture() -> Callable[..., Path]:
    return write_video


@pytest.fixture(name="number_of_picture")
def number_of_picture_fixture() -> Callable[[npt.NDArray[np.uint8]], int]:
    return number_of_picture


@pytest.fixture
def write_wav(tmp_path: Path) -> Callable[..., Path]:
    def write(samples: npt.NDArray, rate: int = 24_000, name: str = "a.wav", subtype: str = "FLOAT") -> Path:
        path = tmp_path / name
        soundfile.write(path, samples, rate, subtype=subtype)
        return path

    return write
