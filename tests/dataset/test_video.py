"""Pictures of label frames: the right moment, the same by any way of getting there."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import av.filter
import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sai_core.dataset import FramesReader, Recording, VideoReader, open_frames
from sai_core.errors import InputError
from tests.dataset.conftest import write_video as encode_video

NTSC = Fraction(30000, 1001)
WriteVideo = Callable[..., Path]
NumberOf = Callable[[np.ndarray], int]


def expected_number(k: int, rate: Fraction, n_pictures: int) -> int:
    """Last picture strictly before the middle of label frame k, in exact arithmetic."""
    middle = Fraction(2 * k + 1, 20)
    last_before = -(-middle * rate // 1) - 1
    return int(min(max(last_before, 0), n_pictures - 1))


def numbers_of_official_extraction(path: Path, number_of: NumberOf) -> list[int]:
    """What FFmpeg's ``fps=10`` filter, used for the official frames, picks from a video."""
    with av.open(str(path)) as container:
        stream: Any = container.streams.video[0]
        graph = av.filter.Graph()
        source = graph.add_buffer(template=stream, time_base=stream.time_base)
        rate = graph.add("fps", "10")
        sink = graph.add("buffersink")
        source.link_to(rate)
        rate.link_to(sink)
        graph.configure()
        found = []

        def drain() -> None:
            while True:
                try:
                    picture: Any = graph.pull()
                    found.append(number_of(picture.to_ndarray(format="rgb24")))
                except (av.error.BlockingIOError, av.error.EOFError):
                    return

        for frame in container.decode(stream):
            graph.push(frame)
            drain()
        graph.push(None)
        drain()
    return found


def test_nine_minutes_at_29_97_do_not_drift(
    tmp_path: Path, write_video: WriteVideo, number_of_picture: NumberOf, rng: np.random.Generator
) -> None:
    n_pictures = int(540 * NTSC)
    path = write_video(tmp_path / "nine.mp4", n_pictures, NTSC)
    with VideoReader(path) as reader:
        assert reader.n_frames == 5400
        assert reader.fps == pytest.approx(29.97, abs=0.001)
        # every frame in order, then jumps in every direction; 500 and 1501 are exact ties (50.05 s, 150.15 s)
        sequential = [number_of_picture(reader.frame(k)) for k in range(5400)]
    assert sequential == [expected_number(k, NTSC, n_pictures) for k in range(5400)]
    jumps = [5399, 0, 500, 501, 499, 1501, 5398, 5399, 2700, 2699, 2698, *rng.integers(0, 5400, 40).tolist()]
    with VideoReader(path, cache_bytes=0) as reader:
        assert [number_of_picture(reader.frame(k)) for k in jumps] == [sequential[k] for k in jumps]


@pytest.mark.parametrize(
    ("rate", "suffix"),
    [
        (NTSC, "mp4"),
        (NTSC, "mkv"),  # time stamps rounded to milliseconds
        (Fraction(20), "mp4"),  # every label frame is a tie
        (Fraction(60), "mp4"),
        (Fraction(25), "mov"),
        (Fraction(25, 2), "mp4"),
        (Fraction(5), "mp4"),  # each picture serves two label frames
        (Fraction(10), "mp4"),
    ],
)
def test_same_pictures_as_the_official_extraction(
    tmp_path: Path, write_video: WriteVideo, number_of_picture: NumberOf, rate: Fraction, suffix: str
) -> None:
    path = write_video(tmp_path / f"v.{suffix}", int(7 * rate), rate)
    official = numbers_of_official_extraction(path, number_of_picture)
    with VideoReader(path) as reader:
        assert reader.n_frames == len(official)
        assert [number_of_picture(reader.frame(k)) for k in range(reader.n_frames)] == official


def test_changing_rate_follows_the_time_stamps(
    tmp_path: Path, write_video: WriteVideo, number_of_picture: NumberOf, rng: np.random.Generator
) -> None:
    # bursts and gaps of up to 1.2 s, stamps in milliseconds
    steps = rng.choice([11, 33, 34, 90, 400, 1200], size=120, p=[0.2, 0.3, 0.3, 0.1, 0.05, 0.05])
    stamps = np.concatenate([[0], np.cumsum(steps)]).tolist()
    path = write_video(tmp_path / "vfr.mkv", len(stamps), Fraction(1000), time_base=Fraction(1, 1000), stamps=stamps)
    n_frames = stamps[-1] // 100 + 1
    expected = [max(n for n, t in enumerate(stamps) if n == 0 or t < k * 100 + 50) for k in range(n_frames)]
    with VideoReader(path) as reader:
        reader.n_frames = n_frames
        assert [number_of_picture(reader.frame(k)) for k in range(n_frames)] == expected
    with VideoReader(path, cache_bytes=0) as reader:
        reader.n_frames = n_frames
        for k in rng.permutation(n_frames).tolist():
            assert number_of_picture(reader.frame(k)) == expected[k]


@pytest.mark.parametrize(
    ("codec", "suffix", "options"),
    [
        ("libx264", "mp4", {"preset": "medium", "bf": "3", "g": "60"}),  # closed groups, pyramid of B pictures
        ("libx264", "mp4", {"preset": "veryfast", "x264-params": "open-gop=1:keyint=24:bframes=3:scenecut=0"}),
        ("mpeg4", "avi", {"g": "50", "b": "2000000"}),
        ("mjpeg", "avi", {"b": "4000000"}),
    ],
)
def test_a_jump_gives_the_picture_of_sequential_decoding(
    tmp_path: Path,
    write_video: WriteVideo,
    number_of_picture: NumberOf,
    rng: np.random.Generator,
    codec: str,
    suffix: str,
    options: dict[str, str],
) -> None:
    rate = Fraction(30) if codec == "mjpeg" else NTSC
    path = write_video(tmp_path / f"v.{suffix}", 400, rate, codec=codec, options=options)
    with VideoReader(path) as reader:
        n_frames = reader.n_frames
        sequential = reader.frames(0, n_frames)
    assert [number_of_picture(p) for p in sequential] == [expected_number(k, rate, 400) for k in range(n_frames)]
    with VideoReader(path, cache_bytes=0) as reader:
        for k in [n_frames - 1, 0, n_frames - 1, *rng.integers(0, n_frames, 40).tolist()]:
            np.testing.assert_array_equal(reader.frame(k), sequential[k])
    with VideoReader(path) as reader:
        for k in range(n_frames - 1, -1, -1):
            np.testing.assert_array_equal(reader.frame(k), sequential[k])


def test_beyond_the_end_the_last_picture_is_held(
    tmp_path: Path, write_video: WriteVideo, number_of_picture: NumberOf
) -> None:
    path = write_video(tmp_path / "short.mp4", 31, NTSC)
    with VideoReader(path) as reader:
        assert reader.n_frames == 10
        assert number_of_picture(reader.frame(500)) == 28
        assert reader.frames(8, 14).shape == (6, 180, 360, 3)
        assert reader.frames(3, 3).shape == (0, 180, 360, 3)


def test_a_video_cut_off_in_the_middle_holds_what_could_be_decoded(
    tmp_path: Path, write_video: WriteVideo, number_of_picture: NumberOf
) -> None:
    whole = write_video(tmp_path / "whole.mkv", 300, NTSC)
    cut = tmp_path / "cut.mkv"
    data = whole.read_bytes()
    cut.write_bytes(data[: len(data) // 2])
    with VideoReader(cut) as reader:
        numbers = [number_of_picture(reader.frame(k)) for k in range(100)]
    assert numbers[:30] == [expected_number(k, NTSC, 300) for k in range(30)]
    assert len(set(numbers[-20:])) == 1
    with VideoReader(cut) as reader:
        assert number_of_picture(reader.frame(99)) == numbers[-1]
        assert number_of_picture(reader.frame(0)) == numbers[0]


def test_size_colour_and_copies(tmp_path: Path) -> None:
    path = tmp_path / "red.mp4"
    with av.open(str(path), "w") as container:
        stream: Any = container.add_stream("libx264", rate=10)
        stream.width, stream.height, stream.pix_fmt = 720, 360, "yuv420p"
        picture = np.zeros((360, 720, 3), dtype=np.uint8)
        picture[:, :360, 0] = 220  # left half red
        for _ in range(5):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode(None))
    with VideoReader(path) as reader:
        frame = reader.frame(2)
        assert frame.dtype == np.uint8
        assert frame.shape == (180, 360, 3)
        # lossy coding: 20 levels
        np.testing.assert_allclose(frame[90, 60], [220, 0, 0], rtol=0, atol=20)
        np.testing.assert_allclose(frame[90, 300], [0, 0, 0], rtol=0, atol=20)
        frame[:] = 77
        assert reader.frame(2)[90, 300].max() < 30
    with VideoReader(path, size=(64, 32)) as reader:
        assert reader.frame(0).shape == (32, 64, 3)


def test_cache_is_bounded(tmp_path: Path, write_video: WriteVideo) -> None:
    path = write_video(tmp_path / "v.mp4", 300, NTSC)
    picture_bytes = 180 * 360 * 3
    with VideoReader(path, cache_bytes=5 * picture_bytes) as reader:
        reader.frames(0, 60)
        reader.frame(10)
        assert len(reader._cache) == 5
        assert sum(p.nbytes for p in reader._cache.values()) <= 5 * picture_bytes


def test_many_threads_see_the_same_pictures(
    tmp_path: Path, write_video: WriteVideo, number_of_picture: NumberOf
) -> None:
    path = write_video(tmp_path / "v.mp4", 240, NTSC)
    wrong: list[tuple[int, int]] = []
    with VideoReader(path, cache_bytes=1_000_000) as reader:

        def look(seed: int) -> None:
            for k in np.random.default_rng(seed).integers(0, 80, 25).tolist():
                number = number_of_picture(reader.frame(k))
                if number != expected_number(k, NTSC, 240):
                    wrong.append((k, number))

        threads = [threading.Thread(target=look, args=(seed,)) for seed in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert wrong == []


@pytest.fixture(scope="module")
def damaged_video(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, bytes]:
    good = encode_video(tmp_path_factory.mktemp("video") / "good.mp4", 45, NTSC)
    return good.with_name("damaged.mp4"), good.read_bytes()


def test_bad_videos_are_told_in_one_sentence(
    tmp_path: Path, write_video: WriteVideo, capfd: pytest.CaptureFixture[str]
) -> None:
    good = write_video(tmp_path / "good.mp4", 20, NTSC).read_bytes()
    files = {
        "text.mp4": b"this is not a video\n" * 40,
        "empty.mp4": b"",
        "header.mp4": good[:40],
        "no_index.mp4": good[: len(good) // 3],
        "noise.mp4": bytes(np.random.default_rng(0).integers(0, 256, 5000, dtype=np.uint8)),
        "playlist.mp4": b"#EXTM3U\n#EXTINF:1,\n/etc/passwd\n",
        "concat.mp4": b"ffconcat version 1.0\nfile good.mp4\n",
    }
    for name, data in files.items():
        (tmp_path / name).write_bytes(data)
        with pytest.raises(InputError, match=name):
            VideoReader(tmp_path / name)
    for path in (tmp_path / "none.mp4", tmp_path):
        with pytest.raises(InputError, match="no such video file"):
            VideoReader(path)
    # FFmpeg keeps quiet: what there is to say is in the error
    assert capfd.readouterr().err == ""


@settings(max_examples=80)
@given(data=st.data())
def test_any_damage_is_an_input_error_or_a_picture(damaged_video: tuple[Path, bytes], data: st.DataObject) -> None:
    path, good = damaged_video
    damaged = bytearray(good)
    index = good.find(b"moov")
    for _ in range(data.draw(st.integers(1, 5))):
        # mostly in the index, where it hurts
        position = data.draw(st.integers(index, len(good) - 1) | st.integers(0, len(good) - 1))
        damaged[position] = data.draw(st.integers(0, 255))
    path.write_bytes(damaged[: data.draw(st.just(len(good)) | st.integers(0, len(good)))])
    with contextlib.suppress(InputError), VideoReader(path, cache_bytes=0) as reader:
        for k in (0, 7, reader.n_frames - 1, 2):
            assert reader.frame(k).shape == (180, 360, 3)


def test_a_sound_file_is_not_a_video(write_wav: Callable[..., Path]) -> None:
    path = write_wav(np.zeros((2400, 1), dtype=np.float32))
    with pytest.raises(InputError, match="video"):
        VideoReader(path)


def test_wrong_frames_and_closed_readers(tmp_path: Path, write_video: WriteVideo) -> None:
    path = write_video(tmp_path / "v.mp4", 20, NTSC)
    reader = VideoReader(path)
    with pytest.raises(InputError, match="before the beginning"):
        reader.frame(-1)
    with pytest.raises(InputError, match="not a range"):
        reader.frames(5, 4)
    reader.close()
    reader.close()
    with pytest.raises(InputError, match="closed"):
        reader.frame(0)
    with pytest.raises(InputError, match="impossible"):
        VideoReader(path, size=(0, 180))


def write_images(folder: Path, numbers: list[int], name: str = "rec_{:04d}.png") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for number in numbers:
        cv2.imwrite(str(folder / name.format(number)), np.full((180, 360, 3), (0, 0, number), dtype=np.uint8))
    return folder


def test_extracted_frames(tmp_path: Path) -> None:
    folder = write_images(tmp_path / "rec", [0, 1, 2, 5])
    (folder / "notes.txt").write_text("not an image")
    (folder / "._rec_0003.png").write_bytes(b"resource fork")
    with FramesReader(folder) as reader:
        assert reader.n_frames == 6
        # numbers 3 and 4 are missing: 2 is held; after the end 5 is
        assert [int(reader.frame(k)[0, 0, 0]) for k in range(8)] == [0, 1, 2, 2, 2, 5, 5, 5]
        assert reader.frame(0).shape == (180, 360, 3)
        assert reader.frames(1, 4)[:, 0, 0, 0].tolist() == [1, 2, 2]


def test_frames_numbered_from_one_are_moved_back(tmp_path: Path) -> None:
    with FramesReader(write_images(tmp_path / "rec", [1, 2, 3])) as reader:
        assert [int(reader.frame(k)[0, 0, 0]) for k in range(3)] == [1, 2, 3]


def test_more_than_ten_thousand_frames_and_jpeg(tmp_path: Path) -> None:
    folder = write_images(tmp_path / "rec", [0, 9], name="rec_{:05d}.JPG")
    with FramesReader(folder) as reader:
        assert abs(int(reader.frame(9)[0, 0, 0]) - 9) <= 3  # JPEG loses a few levels


def test_bad_folders_of_frames(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="holds no images"):
        FramesReader(tmp_path / "empty")
    with pytest.raises(InputError, match="cannot be listed"):
        FramesReader(tmp_path / "absent")
    folder = write_images(tmp_path / "rec", [0])
    (folder / "rec_0001.png").write_bytes(b"nothing of an image")
    (folder / "rec_0002.png").write_bytes(b"")
    with FramesReader(folder) as reader:
        reader.frame(0)
        for k in (1, 2):
            with pytest.raises(InputError, match=f"rec_000{k}.png"):
                reader.frame(k)


def test_extracted_frames_go_before_the_video(tmp_path: Path, write_video: WriteVideo) -> None:
    video = write_video(tmp_path / "v.mp4", 20, NTSC)
    folder = write_images(tmp_path / "rec", [0, 1])
    assert open_frames(Recording("rec")) is None
    with_video = open_frames(Recording("rec", video_path=video))
    assert isinstance(with_video, VideoReader)
    with_both = open_frames(Recording("rec", video_path=video, frames_dir=folder))
    assert isinstance(with_both, FramesReader)
