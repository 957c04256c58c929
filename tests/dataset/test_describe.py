"""Facts from headers."""

from __future__ import annotations

import os
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np

from sai_core.dataset import AudioInfo, Recording, VideoInfo, describe, open_data_root
from sai_core.doctor import gather
from sai_core.figures.paper.material import open_material
from sai_core.viewing.recording_view import BytesCache, open_view

WriteWav = Callable[..., Path]


def test_audio_and_video(tmp_path: Path, write_wav: WriteWav, write_video: Callable[..., Path]) -> None:
    wav = write_wav(np.zeros((24_000 * 2 + 1, 4), dtype=np.float32))
    video = write_video(tmp_path / "v.mp4", 60, Fraction(30000, 1001))
    recording = Recording("r", mic_path=wav, video_path=video)
    info = describe(recording)
    assert info.audio == AudioInfo(24_000, 4, 48_001)
    assert info.n_frames == 21
    assert info.duration_s == 48_001 / 24_000
    assert info.video is not None
    assert (info.video.width, info.video.height, info.video.n_frames) == (128, 64, 20)
    assert abs(info.video.fps - 29.97) < 0.001
    assert info.problems == ()
    assert describe(recording, video=False).video is None


def test_video_alone_gives_the_length(tmp_path: Path, write_video: Callable[..., Path]) -> None:
    video = write_video(tmp_path / "v.mp4", 60, Fraction(30))
    info = describe(Recording("r", video_path=video), video=False)
    assert (info.duration_s, info.n_frames) == (2.0, 20)


def test_extracted_frames(tmp_path: Path) -> None:
    folder = tmp_path / "rec"
    folder.mkdir()
    for number in (0, 1, 14):
        cv2.imwrite(str(folder / f"rec_{number:04d}.png"), np.zeros((90, 180, 3), dtype=np.uint8))
    info = describe(Recording("r", frames_dir=folder))
    assert info.video == VideoInfo(10.0, 180, 90, 1.5, 15, "images", 0.0, info.notes)
    assert "neither sound nor video says how long" in info.notes[0]
    assert "12 of the numbers from 0 to 14 are missing" in info.notes[1]
    assert info.n_frames == 15


def test_nothing_is_known_of_a_recording_without_files() -> None:
    info = describe(Recording("r"))
    assert (info.duration_s, info.n_frames, info.audio, info.video, info.problems) == (None, None, None, None, ())


def test_broken_files_are_told_and_nothing_is_raised(tmp_path: Path) -> None:
    wav, video = tmp_path / "a.wav", tmp_path / "v.mp4"
    wav.write_bytes(b"nothing")
    info = describe(Recording("r", mic_path=wav, video_path=video, label_path=tmp_path / "absent.json"))
    assert info.audio is None
    assert info.video is None
    assert len(info.problems) == 2
    assert "a.wav" in info.problems[0]
    assert "v.mp4" in info.problems[1]


def test_a_changed_file_is_looked_at_again(write_wav: WriteWav) -> None:
    path = write_wav(np.zeros((2400, 4), dtype=np.float32))
    recording = Recording("r", mic_path=path)
    assert describe(recording).n_frames == 1
    write_wav(np.zeros((4800, 4), dtype=np.float32))
    os.utime(path, ns=(5, 5))
    assert describe(recording).n_frames == 2


def test_frames_written_over_in_place_are_looked_at_again(tmp_path: Path) -> None:
    folder = tmp_path / "rec"
    folder.mkdir()
    for width in (180, 100):
        cv2.imwrite(str(folder / "rec_0000.png"), np.zeros((90, width, 3), dtype=np.uint8))
        info = describe(Recording("r", frames_dir=folder))
        assert info.video is not None
        assert info.video.width == width


def test_every_way_to_see_a_video_says_what_is_odd(tmp_path: Path, write_video: Callable[..., Path]) -> None:
    square = write_video(tmp_path / "video_dev" / "s" / "a.mp4", 20, Fraction(10), size=(200, 200))
    late = write_video(tmp_path / "video_dev" / "s" / "b.mkv", 20, Fraction(10), sound_s=2.5, late=0.4)
    write_video(tmp_path / "video_dev" / "s" / "c.mp4", 20, Fraction(10))
    root = open_data_root(tmp_path)
    expected = {
        "a": (f"{square}: pictures of 200 x 200", 20),
        "b": (f"{late}: its pictures begin 0.40 s", 24),
        "c": ("", 20),
    }
    told = gather(root)["data"]["problems"]
    assert len(told) == 2
    for recording in root.recordings:
        said, n_frames = expected[recording.name]
        info = describe(recording)
        assert info.n_frames == n_frames
        view = open_view(recording, {}, cache=BytesCache(1 << 20))
        with open_material(recording, []) as material:
            for notes in (info.notes, view.notes, material.problems, told if said else ()):
                assert any(note.startswith(said) for note in notes) if said else not notes
