"""Videos, decoded again: the right picture at the right time, the sound in step, the same bytes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import numpy.typing as npt
import pytest
import soundfile

from sai_core.annotations import AnnotationTable
from sai_core.dataset import DataRoot, Recording, open_data_root, open_frames
from sai_core.drawing.colormaps import sequential_lut
from sai_core.errors import CancelledError, InputError
from sai_core.figures import video
from sai_core.figures.paper.material import Material, System, open_material, system_of_set
from sai_core.figures.video import VideoOptions, write_video
from tests.figures.scenes import write_root

N = 40
CLICK_S = 2.3


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> DataRoot:
    """A recording whose video is a grey that grows with the frame and whose sound is one click."""
    folder = tmp_path_factory.mktemp("video") / "root"
    write_root(folder, n_frames=N, video_size=None, audio=False)
    name = "fold4_room23_mix001"
    samples = np.zeros((N * 2400, 4))
    samples[round(CLICK_S * 24_000)] = 0.9
    (folder / "mic_dev" / "dev-test-sony").mkdir(parents=True)
    soundfile.write(folder / "mic_dev" / "dev-test-sony" / f"{name}.wav", samples, 24_000, subtype="PCM_16")
    _grey_video(folder / "video_dev" / "dev-test-sony" / f"{name}.mp4")
    return open_data_root(folder)


def _grey_video(path: Path) -> None:
    path.parent.mkdir(parents=True)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=Fraction(10))
        stream.width, stream.height, stream.pix_fmt = 480, 240, "yuv420p"
        stream.options = {"crf": "10", "g": "5"}
        for k in range(N):
            picture = np.full((240, 480, 3), _grey(k), dtype=np.uint8)
            for packet in stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")):
                container.mux(packet)
        for packet in stream.encode():
            container.mux(packet)


def _grey(frame: int) -> int:
    return 20 + 5 * frame


@pytest.fixture(scope="module")
def recording(root: DataRoot) -> Recording:
    return root.recording("fold4_room23_mix001")


@pytest.fixture(scope="module")
def system(root: DataRoot, recording: Recording) -> System:
    return system_of_set(root.prediction_set("first"), recording.name)


@pytest.fixture(scope="module")
def written(recording: Recording, system: System, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("out") / "panels.mp4"
    report = write_video(recording, system, path)
    assert report.n_frames == N
    assert report.has_sound
    assert report.notes == ()
    return path


def pictures(path: Path) -> Iterator[tuple[float, npt.NDArray[np.uint8]]]:
    """Time and RGB picture of each frame of a file, by its own colour description."""
    with av.open(str(path)) as container:
        for frame in container.decode(video=0):
            assert frame.time is not None
            yield frame.time, np.asarray(frame.to_ndarray(format="rgb24"), dtype=np.uint8)


def sound(path: Path) -> tuple[float, npt.NDArray[np.float64], int]:
    """Time of the first sample, samples and rate of a file's sound."""
    with av.open(str(path)) as container:
        frames = list(container.decode(audio=0))
    assert frames[0].time is not None
    return frames[0].time, np.concatenate([f.to_ndarray()[0] for f in frames]).astype(np.float64), frames[0].sample_rate


def test_frame_k_shows_frame_k(written: Path, recording: Recording) -> None:
    source = open_frames(recording)
    assert source is not None
    x, y = video._LEFT + 20, video._TOP + video._PANEL_WH[1] - 30
    for k, (time, picture) in enumerate(pictures(written)):
        assert time == pytest.approx(k / 10, abs=1e-9)
        seen = picture[y : y + 20, x : x + 20].mean()
        # neighbouring frames are 5 levels apart; lossy, with 8-bit conversions both ways
        assert seen == pytest.approx(source.frame(k).mean(), abs=2.1), k
    assert k == N - 1


def test_the_cursor_moves_with_the_frames(written: Path) -> None:
    left, right = video._LEFT, video._LEFT + 2 * video._PANEL_WH[0] + video._GAP
    row = video._TIMELINE_TOP  # above the lanes: only the cursor reaches here
    for k, (_, picture) in enumerate(pictures(written)):
        bright = np.flatnonzero(picture[row, left:right].min(axis=1) > 150)
        assert bright.mean() == pytest.approx((k + 0.5) / N * (right - left), abs=2.5), k


def test_the_sound_is_in_step(written: Path) -> None:
    first, samples, rate = sound(written)
    # within an AAC frame (21 ms) of the pictures' length
    assert first + len(samples) / rate == pytest.approx(N / 10, abs=1024 / rate + 1e-6)
    peak = first + int(np.argmax(np.abs(samples))) / rate
    assert peak == pytest.approx(CLICK_S, abs=0.002)


def test_a_part_starts_with_its_own_sound(recording: Recording, system: System, tmp_path: Path) -> None:
    path = tmp_path / "part.mp4"
    report = write_video(recording, system, path, options=VideoOptions(start=13, stop=30))
    assert report.duration_s == pytest.approx(1.7)
    shown = list(pictures(path))
    assert len(shown) == 17
    x, y = video._LEFT + 20, video._TOP + video._PANEL_WH[1] - 30
    assert shown[0][1][y : y + 20, x : x + 20].mean() == pytest.approx(_grey(13), abs=2.4)
    first, samples, rate = sound(path)
    assert first + int(np.argmax(np.abs(samples))) / rate == pytest.approx(CLICK_S - 1.3, abs=0.002)


def test_h264_and_aac_that_every_player_takes(written: Path) -> None:
    with av.open(str(written)) as container:
        picture, audio = container.streams.video[0], container.streams.audio[0]
        assert picture.codec_context.name == "h264"
        assert picture.codec_context.pix_fmt == "yuv420p"
        assert (picture.codec_context.width, picture.codec_context.height) == (1280, 720)
        assert picture.average_rate == 10
        assert audio.codec_context.name == "aac"
    data = written.read_bytes()
    assert data.index(b"moov") < data.index(b"mdat")  # a browser can start before the end has arrived


@pytest.mark.parametrize("layout", ["panels", "overlay"])
def test_same_input_same_bytes(recording: Recording, system: System, tmp_path: Path, layout: str) -> None:
    options = VideoOptions(layout=layout, stop=15)  # type: ignore[arg-type]
    for name in ("a.mp4", "b.mp4"):
        write_video(recording, system, tmp_path / name, options=options)
    assert (tmp_path / "a.mp4").read_bytes() == (tmp_path / "b.mp4").read_bytes()


def _canvas(material: Material, **options: object) -> video._Canvas:
    return video._Canvas(material, VideoOptions(**options), 0, material.n_frames)  # type: ignore[arg-type]


def test_weak_predictions_can_be_left_out(recording: Recording, system: System) -> None:
    with open_material(recording, [system]) as material:
        table = material.tables[0]
        assert table is not None
        middle = float(np.median(table.score))
        shown = _canvas(material, min_score=middle).predictions
        assert shown is not None
        assert len(shown) == int((table.score >= middle).sum()) < len(table)


def test_maps_are_where_the_labels_are(recording: Recording, system: System) -> None:
    """The energy panel's peak is at the label's place; without energy it has the map's first colour."""
    with open_material(recording, [system]) as material:
        picture = _canvas(material).draw(0, None).copy()
    x0, y0 = video._LEFT + video._PANEL_WH[0] + video._GAP, video._TOP
    panel = picture[y0 : y0 + video._PANEL_WH[1], x0 : x0 + video._PANEL_WH[0]]
    # label of frame 0: centre (180, 85), energy 1 there; green grows with energy all along magma
    # (a window inside the outline, which is white)
    y, x = np.unravel_index(int(np.argmax(panel[127:140, 274:288, 1])), (13, 14))
    assert (x + 274.5) / video._PANEL_WH[0] * 360 == pytest.approx(180.5, abs=1)
    assert (y + 127.5) / video._PANEL_WH[1] * 180 == pytest.approx(85.5, abs=1)
    assert np.abs(panel[5, 300].astype(int) - sequential_lut("magma")[0].astype(int)).max() <= 1


def test_the_scale_is_fixed_unless_asked_otherwise(recording: Recording, system: System) -> None:
    with open_material(recording, [system]) as material:
        assert material.labels is not None
        quiet = replace(material.labels, energy=material.labels.energy * 0.5)
        dim = replace(material, labels=quiet)
        fixed = _canvas(dim)._sides(0)[0][1]
        own = _canvas(dim, scale="per-map")._sides(0)[0][1]
    assert fixed is not None
    assert own is not None
    assert fixed.max() == pytest.approx(0.5)
    assert own.max() == pytest.approx(1.0)


@pytest.mark.parametrize("layout", ["panels", "overlay"])
def test_what_is_missing_is_told(recording: Recording, tmp_path: Path, layout: str) -> None:
    bare = replace(recording, video_path=None, mic_path=None)
    report = write_video(
        bare,
        System("nothing", None),
        tmp_path / "x.mp4",
        options=VideoOptions(layout=layout, stop=3),  # type: ignore[arg-type]
    )
    assert not report.has_sound
    assert len(report.notes) == 3
    assert len(list(pictures(tmp_path / "x.mp4"))) == 3
    with av.open(str(tmp_path / "x.mp4")) as container:
        assert not container.streams.audio


def test_empty_tables_are_drawn(recording: Recording, system: System) -> None:
    with open_material(recording, [system]) as material:
        empty = AnnotationTable.empty(recording.name)
        for layout in ("panels", "overlay"):
            canvas = _canvas(replace(material, labels=empty, tables=(empty,)), layout=layout)
            assert canvas.draw(3, None).shape == (720, 1280, 3)


def test_cancelling_leaves_no_file_and_no_thread(recording: Recording, system: System, tmp_path: Path) -> None:
    import threading

    def stop(fraction: float, message: str) -> None:
        if message.startswith("frame 5 "):
            raise CancelledError("enough")

    with pytest.raises(CancelledError):
        write_video(recording, system, tmp_path / "x.mp4", progress=stop)
    assert list(tmp_path.iterdir()) == []
    assert not [t for t in threading.enumerate() if t.name == "video"]


def test_errors_of_the_drawing_thread_are_heard(
    recording: Recording, system: System, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise MemoryError("no more canvases")

    monkeypatch.setattr(video._Canvas, "draw", fail)
    with pytest.raises(MemoryError, match="no more canvases"):
        write_video(recording, system, tmp_path / "x.mp4")


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("x.avi", {}, r"written as \.mp4"),
        ("x.mp4", {"start": 40}, "choose 0 <= start"),
        ("x.mp4", {"start": 5, "stop": 5}, "choose 0 <= start"),
        ("x.mp4", {"stop": 41}, "of its 40 frames"),
    ],
)
def test_wrong_calls_are_one_sentence(
    recording: Recording, system: System, tmp_path: Path, name: str, options: dict[str, int], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        write_video(recording, system, tmp_path / name, options=VideoOptions(**options))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "options", [{"layout": "round"}, {"colormap": "jet"}, {"preset": "fastest"}, {"crf": 99}, {"min_score": -1.0}]
)
def test_wrong_options_are_refused(options: dict[str, object]) -> None:
    with pytest.raises(InputError):
        VideoOptions(**options)  # type: ignore[arg-type]
