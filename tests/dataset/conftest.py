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

N_BITS = 16
WIDTH, HEIGHT = 128, 64


def numbered_picture(number: int) -> npt.NDArray[np.uint8]:
    """Grey picture with ``number`` as two rows of eight black or white blocks."""
    bits = (number >> np.arange(N_BITS)) & 1
    cells = np.where(bits, 235, 16).astype(np.uint8).reshape(2, 8)
    return np.kron(cells, np.ones((HEIGHT // 2, WIDTH // 8), dtype=np.uint8))


def number_of_picture(rgb: npt.NDArray[np.uint8]) -> int:
    """Number written in a picture of any size."""
    height, width = rgb.shape[:2]
    rows = (np.arange(2) * 2 + 1) * height // 4
    columns = (np.arange(8) * 2 + 1) * width // 16
    bits = rgb[rows[:, None], columns[None, :], 1].reshape(-1) > 128
    return int((bits.astype(np.int64) << np.arange(N_BITS)).sum())


def write_video(
    path: Path,
    n_pictures: int,
    rate: Fraction,
    *,
    codec: str = "libx264",
    options: dict[str, str] | None = None,
    time_base: Fraction | None = None,
    stamps: Sequence[int] | None = None,
) -> Path:
    """Encode numbered pictures at a constant rate, or with the given time stamps in units of ``time_base``."""
    with av.open(str(path), "w") as container:
        stream: Any = container.add_stream(codec, rate=rate)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuvj420p" if codec == "mjpeg" else "yuv420p"
        default = {"preset": "ultrafast", "crf": "28", "tune": "fastdecode"} if codec == "libx264" else {}
        stream.options = options if options is not None else default
        if time_base is not None:
            stream.codec_context.time_base = time_base
        chroma = np.full((HEIGHT // 2, WIDTH), 128, dtype=np.uint8)
        for number in range(n_pictures):
            planes = np.concatenate([numbered_picture(number), chroma])
            frame = av.VideoFrame.from_ndarray(planes, format=stream.pix_fmt)
            if stamps is not None:
                frame.pts, frame.time_base = stamps[number], time_base
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
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
