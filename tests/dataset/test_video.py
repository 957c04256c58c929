"""Pictures of label frames: the right moment, the same by any way of getting there."""

from __future__ import annotations

import contextlib
import gc
import os
import threading
import zlib
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
from tests.dataset.conftest import number_of_picture as picture_number
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
    """What ``ffmpeg -i X -vf fps=10 -start_number 0 k.png`` writes, picture by picture.

    The program counts from the start of the container, and repeats the first picture for the frames before it.
    """
    found: list[int] = []
    first = None
    with av.open(str(path)) as container:
        stream: Any = container.streams.video[0]
        shift = round((container.start_time or 0) * Fraction(1, 1_000_000) / stream.time_base)
        graph = av.filter.Graph()
        source = graph.add_buffer(template=stream, time_base=stream.time_base)
        rate = graph.add("fps", "10")
        sink = graph.add("buffersink")
        source.link_to(rate)
        rate.link_to(sink)
        graph.configure()

        def drain() -> None:
            nonlocal first
            while True:
                try:
                    picture: Any = graph.pull()
                except (av.error.BlockingIOError, av.error.EOFError):
                    return
                first = picture.pts if first is None else first
                found.append(number_of(picture.to_ndarray(format="rgb24")))

        step = round(1 / ((stream.guessed_rate or stream.average_rate) * stream.time_base))
        time = -step
        for frame in container.decode(stream):
            time = time + step if frame.pts is None else frame.pts - shift
            frame.pts = time
            graph.push(frame)
            drain()
        graph.push(None)
        drain()
    return found[:1] * (first or 0) + found


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
    jumps = [5399, 0, 500, 501, 499, 1501, 5398, 5399, 2700, 2699, 2698, *rng.integers(0, 5400, 12).tolist()]
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
        assert abs(reader.n_frames - n_frames) <= 1  # when the last one ends is not written down
        assert any("unevenly" in note for note in reader.notes)
        assert [number_of_picture(reader.frame(k)) for k in range(n_frames)] == expected
    with VideoReader(path, cache_bytes=0) as reader:
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
        # one frame ahead of those before it, which are asked for next, or are not
        for k in [7, n_frames - 1, *rng.integers(0, n_frames, 30).tolist()]:
            since = max(0, k - int(rng.integers(0, 20)))
            for frame, first in [(k, since), *((later, None) for later in range(since, min(k + 3, n_frames)))]:
                picture = reader.picture(frame, since=first)
                np.testing.assert_array_equal(picture, sequential[frame], err_msg=f"{frame} of {since} to {k}")
                if rng.random() < 0.1:
                    break
    with VideoReader(path) as reader:
        for k in range(n_frames - 1, -1, -1):
            np.testing.assert_array_equal(reader.frame(k), sequential[k])


@pytest.mark.parametrize(
    ("name", "codec", "kwargs"),
    [
        ("late.mp4", "libx264", {"sound_s": 4.5, "late": 0.5}),
        ("late.mkv", "libx264", {"sound_s": 4.5, "late": 0.33}),
        ("late.ts", "libx264", {"sound_s": 4.5, "late": 0.72}),
        ("early.mkv", "libx264", {"sound_s": 3.0, "sound_late": 0.4}),
        ("raw.h264", "libx264", {}),
        ("raw_as.mp4", "libx264", {"container": "h264"}),
        ("stream.mp4", "mpeg1video", {"container": "mpeg1video"}),
        ("stream.mpg", "mpeg2video", {}),
        ("live.mkv", "libx264", {"live": True}),
        ("live.webm", "libvpx-vp9", {"live": True}),
        ("live.avi", "mpeg4", {"live": True}),
        ("fragments.mp4", "libx264", {"container_options": {"movflags": "frag_keyframe+empty_moov"}}),
        ("av1.mp4", "libsvtav1", {}),
        ("hevc.mov", "libx265", {"options": {"x265-params": "log-level=none:open-gop=1:keyint=20:bframes=3"}}),
        ("interlaced.mp4", "libx264", {"options": {"flags": "+ilme+ildct", "x264-params": "tff=1:bframes=2"}}),
        ("pyramid.mkv", "libx264", {"options": {"x264-params": "bframes=3:keyint=250:scenecut=0"}}),
        ("ten_bit.mp4", "libx264", {"pix_fmt": "yuv420p10le"}),
        ("full_range.mp4", "libx264", {"pix_fmt": "yuvj420p"}),
        ("flv.flv", "libx264", {}),
    ],
)
def test_every_container_shows_what_the_official_extraction_does(
    tmp_path: Path, write_video: WriteVideo, number_of_picture: NumberOf, name: str, codec: str, kwargs: dict[str, Any]
) -> None:
    if codec not in av.codecs_available:
        pytest.skip(f"no encoder {codec} here")
    path = write_video(tmp_path / name, 120, NTSC, codec=codec, **kwargs)
    official = numbers_of_official_extraction(path, number_of_picture)
    assert len(set(official)) >= 38
    with VideoReader(path) as reader:
        assert abs(reader.n_frames - len(official)) <= 1
        assert [number_of_picture(reader.frame(k)) for k in range(len(official))] == official
        said = " ".join(reader.notes)
        assert ("later than its sound" in said) == name.startswith("late.")
        assert ("interlaced" in said) == name.startswith("interlaced")
        assert ("gives no length" in said) == (name.startswith(("live", "raw", "stream.mp4")) and name != "live.avi")
    with VideoReader(path, cache_bytes=0) as reader:
        for k in np.random.default_rng(1).permutation(len(official)).tolist():
            assert number_of_picture(reader.frame(k)) == official[k]


def test_interlaced_pictures_are_converted_as_a_whole(tmp_path: Path, write_video: WriteVideo) -> None:
    options = {"flags": "+ilme+ildct", "x264-params": "tff=1"}
    path = write_video(tmp_path / "a.mp4", 12, Fraction(10), options=options)
    with av.open(str(path)) as container:
        frames = list(container.decode(video=0))
    assert frames[0].interlaced_frame
    size = (frames[0].width, frames[0].height)
    with VideoReader(path, size=size) as reader:
        for k, frame in enumerate(frames):
            # the same planes, of which nothing says that they are two fields
            plain = av.VideoFrame.from_ndarray(frame.to_ndarray(), format="yuv420p")
            np.testing.assert_array_equal(
                reader.frame(k), plain.to_ndarray(format="rgb24", interpolation="BICUBIC", threads=1)
            )


def test_streams_put_one_behind_another_are_said(tmp_path: Path, write_video: WriteVideo) -> None:
    path = write_video(tmp_path / "a.ts", 40, Fraction(10))
    with VideoReader(path) as reader:
        assert "starts over" not in " ".join(reader.notes)
    path.write_bytes(2 * path.read_bytes())
    with VideoReader(path) as reader:
        assert "its clock starts over 1 times" in " ".join(reader.notes)


@settings(max_examples=12)
@given(
    rate=st.sampled_from([Fraction(10), Fraction(25), NTSC, Fraction(60)]),
    late_ms=st.integers(0, 1500),
    b_pictures=st.integers(0, 3),
    group=st.integers(1, 60),
    suffix=st.sampled_from(["mp4", "mkv", "mov"]),
)
def test_any_start_rate_and_group_agree_with_the_official_extraction(
    tmp_path_factory: pytest.TempPathFactory, rate: Fraction, late_ms: int, b_pictures: int, group: int, suffix: str
) -> None:
    options = {"preset": "ultrafast", "x264-params": f"bframes={b_pictures}:keyint={group}:open-gop=1"}
    path = tmp_path_factory.mktemp("any") / f"v.{suffix}"
    encode_video(path, int(2 * rate), rate, options=options, sound_s=3.8, late=late_ms / 1000)
    official = numbers_of_official_extraction(path, picture_number)
    with VideoReader(path, cache_bytes=0) as reader:
        assert reader.n_frames == len(official)
        order = [*range(len(official)), *range(len(official) - 1, -1, -3)]
        assert [picture_number(reader.frame(k)) for k in order] == [official[k] for k in order]


def test_coding_order_in_avi_is_put_right(
    tmp_path: Path, write_video: WriteVideo, number_of_picture: NumberOf, rng: np.random.Generator
) -> None:
    path = write_video(tmp_path / "v.avi", 120, NTSC, options={"x264-params": "bframes=3:keyint=30"})
    for order in (range(40), rng.permutation(40).tolist()):
        with VideoReader(path, cache_bytes=0) as reader:
            assert [number_of_picture(reader.frame(k)) for k in order] == [expected_number(k, NTSC, 120) for k in order]


def test_what_is_no_panorama_is_said(tmp_path: Path, write_video: WriteVideo) -> None:
    for size, whole in (((200, 200), False), ((256, 144), False), ((200, 100), True), ((202, 100), True)):
        path = write_video(tmp_path / f"{size[0]}_{size[1]}.mp4", 5, NTSC, size=size)
        with VideoReader(path) as reader:
            assert any("not 2 : 1" in note for note in reader.notes) != whole
            assert (reader.width, reader.height) == size


def test_a_turned_video_is_turned_back(tmp_path: Path) -> None:
    picture = np.zeros((64, 32, 3), dtype=np.uint8)
    picture[:, :16, 0] = 255  # red on the left
    for degrees in (90, 180, 270):
        path = tmp_path / f"{degrees}.mp4"
        stored = np.ascontiguousarray(np.rot90(picture, -degrees // 90))
        with av.open(str(path), "w") as container:
            stream: Any = container.add_stream("libx264", rate=10)
            stream.height, stream.width = stored.shape[:2]
            stream.pix_fmt = "yuv444p"
            stream.set_display_rotation(degrees)
            for _ in range(3):
                container.mux(stream.encode(av.VideoFrame.from_ndarray(stored, format="rgb24")))
            container.mux(stream.encode(None))
        with VideoReader(path, size=(32, 64)) as reader:
            assert (reader.width, reader.height) == (32, 64)
            assert reader.frame(1)[32, 4, 0] > 200
            assert reader.frame(1)[32, 28, 0] < 60


def test_pictures_that_are_too_large_are_refused(
    tmp_path: Path, write_video: WriteVideo, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_video(tmp_path / "v.mp4", 3, Fraction(30))
    monkeypatch.setattr("sai_core.dataset.decoding.MAX_PIXELS", 128 * 64 - 1)
    with pytest.raises(InputError, match="128 x 64 pixels are larger"):
        VideoReader(path)


def test_a_later_picture_of_another_size_is_scaled_or_left_out(
    tmp_path: Path, write_video: WriteVideo, number_of_picture: NumberOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    small = write_video(tmp_path / "a.h264", 10, Fraction(10)).read_bytes()
    large = write_video(tmp_path / "b.h264", 8, Fraction(10), size=(256, 128)).read_bytes()
    path = tmp_path / "both.h264"
    path.write_bytes(small + large)
    with VideoReader(path) as reader:
        assert [number_of_picture(reader.frame(k)) for k in (9, 12, 17)] == [9, 2, 7]
    monkeypatch.setattr("sai_core.dataset.decoding.MAX_PIXELS", 128 * 64 * 2)
    with VideoReader(path) as reader:
        assert [number_of_picture(reader.frame(k)) for k in (9, 12, 17)] == [9, 9, 9]


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


def test_pictures_of_a_reader_at_rest_are_decoded_anew(
    tmp_path: Path, write_video: WriteVideo, number_of_picture: NumberOf
) -> None:
    with VideoReader(write_video(tmp_path / "v.mp4", 90, NTSC)) as reader:
        before = [number_of_picture(reader.frame(k)) for k in (3, 20, 4)]
        assert reader.picture(25, since=21) is not None
        assert reader._passed
        with reader._lock:  # whoever decodes just now is not waited for, nor disturbed
            thread = threading.Thread(target=reader.rest)
            thread.start()
            thread.join()
            assert reader._cache
        reader.rest()
        assert not reader._cache
        assert not reader._passed
        assert [number_of_picture(reader.frame(k)) for k in (3, 20, 4)] == before
        reader.rest(deeply=True)
        assert reader._file.closed
        assert [number_of_picture(reader.frame(k)) for k in (20, 3, 4)] == [before[1], before[0], before[2]]
        reader.rest(deeply=True)
        assert [number_of_picture(reader.frame(k)) for k in (3, 20, 4)] == before


def test_a_reader_that_nobody_holds_closes_its_file_at_once(tmp_path: Path, write_video: WriteVideo) -> None:
    reader = VideoReader(write_video(tmp_path / "v.mp4", 20, NTSC))
    reader.frame(5)
    file = reader._file
    gc.disable()  # the decoder is in a circle of references, which the collector would find some time
    try:
        del reader
        assert file.closed
    finally:
        gc.enable()


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


def test_numbers_of_twelve_digits_and_a_billion(tmp_path: Path) -> None:
    folder = write_images(tmp_path / "rec", [0, 1, 2], name="{:012d}.png")
    with FramesReader(folder) as reader:
        assert reader.n_frames == 3
        assert reader.notes == (
            f"{folder}: neither sound nor video says how long the recording is; its images are taken as 10 a second.",
        )
    for name in ("999999999.png", f"{10**60}.png"):
        write_images(folder, [7], name=name)
        with FramesReader(folder) as reader:
            assert reader.n_frames == 3
            assert name in reader.notes[0]
        (folder / name).unlink()
    with pytest.raises(InputError, match="999999999"):
        FramesReader(write_images(tmp_path / "alone", [7], name="rec_999999999.png"))


@pytest.mark.parametrize(
    ("rate", "start", "step"),
    [(NTSC, 0, 1), (NTSC, 1, 1), (Fraction(25), 0, 1), (Fraction(5), 0, 1), (Fraction(60), 7, 1), (Fraction(30), 0, 3)],
)
def test_images_of_another_rate_are_placed_by_the_length_of_the_sound(
    tmp_path: Path, write_wav: Callable[..., Path], rate: Fraction, start: int, step: int
) -> None:
    n = int(6 * rate)
    folder = tmp_path / "rec"
    folder.mkdir()
    for number in range(0, n, step):
        cv2.imwrite(str(folder / f"frame{number + start:06d}.png"), np.full((18, 36, 3), number % 251, dtype=np.uint8))
    wav = write_wav(np.zeros((24_000 * 6, 4), dtype=np.float32))
    reader = open_frames(Recording("rec", mic_path=wav, frames_dir=folder))
    assert isinstance(reader, FramesReader)
    with reader:
        assert reader.fps == pytest.approx(float(rate), rel=0.002)
        assert abs(reader.n_frames - 60) <= 1
        assert "images a second, not 10" in reader.notes[0]
        for k in range(60):
            last = expected_number(k, rate, n)
            assert abs(int(reader.frame(k)[0, 0, 0]) - (last - last % step) % 251) <= (1 if step > 1 else 0)


def test_images_of_ten_a_second_are_taken_as_they_are(tmp_path: Path, write_wav: Callable[..., Path]) -> None:
    wav = write_wav(np.zeros((24_000 * 6, 4), dtype=np.float32))
    for numbers, first, said in (
        (range(60), 0, ""),
        (range(1, 61), 1, ""),
        (range(58), 0, ""),  # the video ends a little before the sound
        (range(66, 126), 66, "begin with number 66"),
        ([*range(14), *range(20, 60)], 0, "6 of the numbers from 0 to 59 are missing"),
        (range(35), 0, "ends early, or of another rate"),
        (range(103), 0, "are not of a usual rate"),
    ):
        folder = write_images(tmp_path / f"{len(list(tmp_path.iterdir()))}", list(numbers))
        reader = open_frames(Recording("rec", mic_path=wav, frames_dir=folder))
        assert isinstance(reader, FramesReader)
        with reader:
            assert (reader.first_number, reader.fps) == (first, 10.0)
            assert said in " ".join(reader.notes)
            assert (reader.notes == ()) == (said == "")
            assert int(reader.frame(5)[0, 0, 0]) == list(numbers)[5]


def test_links_out_of_the_root_and_pipes_are_left_out(tmp_path: Path) -> None:
    folder = write_images(tmp_path / "root" / "frames_dev" / "s" / "rec", [0, 1])
    outside = write_images(tmp_path / "other", [9])
    kept = write_images(tmp_path / "root" / "shared", [3])
    (folder / "rec_0002.png").symlink_to(outside / "rec_0009.png")
    (folder / "rec_0003.png").symlink_to(kept / "rec_0003.png")
    (folder / "rec_0004.png").symlink_to(tmp_path / "nowhere.png")
    os.mkfifo(folder / "rec_0005.png")
    (folder / "rec_0006.png").mkdir()
    with FramesReader(folder) as reader:
        assert reader.n_frames == 4
        assert [int(reader.frame(k)[0, 0, 0]) for k in range(4)] == [0, 1, 1, 3]
        assert "4 of its images left out" in reader.notes[0]
        assert str(outside) in reader.notes[0]
    (folder / "rec_0001.png").unlink()
    os.mkfifo(folder / "rec_0001.png")  # where an image was when the folder was listed
    with pytest.raises(InputError, match="not a file"):
        FramesReader.frame(reader, 1)


def test_an_image_of_a_gigapixel_is_refused(tmp_path: Path) -> None:
    folder = write_images(tmp_path / "rec", [0])
    good = (folder / "rec_0000.png").read_bytes()
    header = b"IHDR" + (32_000).to_bytes(4, "big") * 2 + good[24:29]
    (folder / "rec_0001.png").write_bytes(good[:12] + header + zlib.crc32(header).to_bytes(4, "big") + good[33:])
    with FramesReader(folder) as reader:
        reader.frame(0)
        with pytest.raises(InputError, match=r"rec_0001.png: larger than"):
            reader.frame(1)


def test_two_series_in_one_folder(tmp_path: Path) -> None:
    folder = write_images(write_images(tmp_path / "rec", [0, 1, 2]), [0, 1], name="depth_{:04d}.png")
    with FramesReader(folder) as reader:
        assert int(reader.frame(1)[0, 0, 0]) == 1
        assert reader.n_frames == 3
        assert "2 of its images left out" in reader.notes[0]


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
