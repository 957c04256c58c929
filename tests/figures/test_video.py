"""Videos, decoded again: the right picture at the right time, the sound in step, the same bytes."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import numpy.typing as npt
import pytest
import soundfile

from sai_core.__main__ import main
from sai_core.annotations import AnnotationTable
from sai_core.dataset import DataRoot, Recording, open_data_root, open_frames
from sai_core.drawing.colormaps import sequential_lut
from sai_core.errors import CancelledError, InputError
from sai_core.figures import video
from sai_core.figures.heard import Heard, Listened
from sai_core.figures.paper.material import Material, System, open_material, system_of_set
from sai_core.figures.video import VideoOptions, write_video
from sai_core.listening.job import Hearing
from sai_core.listening.lines import towards
from sai_core.listening.sources import Sources, Track
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


def test_a_sound_that_goes_while_it_is_written_is_silence_that_is_said(
    recording: Recording, system: System, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = video.Plain.read
    failed: list[tuple[int, int]] = []

    def read(self: video.Plain, start: int, stop: int) -> npt.NDArray[np.float32]:
        if stop > video.RATE_HZ:
            failed.append((start, stop))
            raise InputError("a.wav: has gone.")
        return plain(self, start, stop)

    monkeypatch.setattr(video.Plain, "read", read)
    report = write_video(recording, system, tmp_path / "part.mp4", options=VideoOptions(stop=20))
    assert report.has_sound
    (sentence,) = (note for note in report.notes if "silent" in note)
    seconds, begins = sum(b - a for a, b in failed) / video.RATE_HZ, failed[0][0] / video.RATE_HZ
    assert seconds + begins == pytest.approx(2.0)
    assert sentence == f"a.wav: has gone. {seconds:.1f} s of the video are silent, the first at {begins:.1f} s."


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
        ("x.mp4", {"stop": 41}, "within its 40 frames"),
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


# -- what is heard ----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def spatial(tmp_path_factory: pytest.TempPathFactory) -> Recording:
    """Two noises as FOA, one to the left all the time and one to the right in the second of its two seconds."""
    folder = tmp_path_factory.mktemp("heard") / "root"
    write_root(folder, n_frames=20, video_size=None, audio=False)
    name = "fold4_room23_mix001"
    noise = np.random.default_rng(5).standard_normal((2, 48_000)) * 0.05
    noise[1, :24_000] = 0.0
    left, right = np.array([1.0, 1, 0, 0]), np.array([1.0, -1, 0, 0])  # W, Y, Z, X (ACN, SN3D)
    samples = noise[0][:, None] * left + noise[1][:, None] * right
    (folder / "foa_dev" / "dev-test-sony").mkdir(parents=True)
    soundfile.write(folder / "foa_dev" / "dev-test-sony" / f"{name}.wav", samples, 24_000, subtype="PCM_24")
    return open_data_root(folder).recording(name)


def both_channels(path: Path) -> npt.NDArray[np.float64]:
    with av.open(str(path)) as container:
        planes = [f.to_ndarray() for f in container.decode(audio=0)]
    return np.concatenate(planes, axis=1).astype(np.float64)


def test_a_direction_is_heard_and_shown(spatial: Recording, system: System, tmp_path: Path) -> None:
    heard = Heard(Hearing(mode="beam", beam="cardioid"), towards(-90.0, 0.0))
    report = write_video(spatial, system, tmp_path / "right.mp4", options=VideoOptions(layout="overlay"), heard=heard)
    assert report.has_sound
    _, samples, _ = sound(tmp_path / "right.mp4")
    # a cardioid has its zero behind it: the noise of the left alone is not heard, that of the right is
    quiet, loud = samples[4_800:43_000], samples[53_000:90_000]
    assert np.std(quiet) < 0.05 * np.std(loud)
    picture = next(iter(pictures(tmp_path / "right.mp4")))[1].astype(int)
    x, y = 8 + 0.75 * 1128, 40 + 282
    ring = picture[round(y - 12) : round(y + 13), round(x - 12) : round(x + 13)]
    without = tmp_path / "plain.mp4"
    write_video(spatial, system, without, options=VideoOptions(layout="overlay"))
    plain = next(iter(pictures(without)))[1].astype(int)[round(y - 12) : round(y + 13), round(x - 12) : round(x + 13)]
    assert (np.abs(ring - plain).max(axis=2) > 60).sum() > 40


def test_two_ears_are_two_channels(spatial: Recording, system: System, tmp_path: Path) -> None:
    def level(yaw_deg: float) -> npt.NDArray[np.float64]:
        path = tmp_path / f"{yaw_deg:g}.mp4"
        write_video(
            spatial,
            system,
            path,
            options=VideoOptions(stop=10),
            heard=Heard(Hearing(mode="all", binaural=True, yaw_deg=yaw_deg)),
        )
        return np.asarray(both_channels(path)[:, 4_800:40_000].std(axis=1))

    ahead, turned = level(0.0), level(180.0)
    assert ahead.shape == (2,)
    assert ahead[0] > 1.5 * ahead[1]  # the source is to the left,
    assert turned[1] > 1.5 * turned[0]  # and to the right of a head that is turned round


def test_windows_of_what_is_heard_join_exactly(spatial: Recording) -> None:
    heard = Heard(Hearing(mode="beam"), towards(90.0, 0.0))
    whole = Listened(spatial, heard).read(0, 96_000)
    parts = Listened(spatial, heard)
    edges = [0, 1, 1023, 4_800, 50_001, 73_728, 96_000]
    joined = np.concatenate([parts.read(a, b) for a, b in itertools.pairwise(edges)], axis=1)
    np.testing.assert_array_equal(joined, whole)


def test_a_source_alone_is_silent_before_and_after(spatial: Recording) -> None:
    track = Track(3, 1, np.arange(12, 18), np.full(6, -90.0), np.zeros(6))
    heard = Heard(Hearing(mode="solo"), track, Sources((track,)))
    assert heard.at(11) is None
    assert heard.at(12) == (-90.0, 0.0)
    assert heard.at(18) is None
    samples = Listened(spatial, heard).read(0, 96_000)[0]
    assert np.abs(samples[: 12 * 4_800 - 600]).max() == 0.0
    assert np.abs(samples[18 * 4_800 + 600 :]).max() == 0.0
    assert np.std(samples[13 * 4_800 : 17 * 4_800]) > 0.01


def test_a_direction_of_a_sound_without_directions_is_refused(tmp_path: Path, system: System) -> None:
    folder = tmp_path / "root"
    write_root(folder, n_frames=5, video_size=None, audio=False)
    with pytest.raises(InputError, match="no sound to listen to"):
        write_video(
            open_data_root(folder).recordings[0],
            system,
            tmp_path / "x.mp4",
            heard=Heard(Hearing(mode="beam"), towards(0.0, 0.0)),
        )
    assert not (tmp_path / "x.mp4").exists()
    with pytest.raises(InputError, match="need a direction"):
        Heard(Hearing(mode="beam"))


def test_the_command_hears_a_track(spatial: Recording, system: System, tmp_path: Path, capsys) -> None:
    assert spatial.label_path is not None
    root = spatial.label_path.parents[2]
    call = ["video", "--data", str(root), "--recording", spatial.name, "--predictions", "first", "--quiet"]
    out = tmp_path / "track.mp4"
    assert main([*call, "--out", str(out), "--azimuth", "90", "--binaural"]) == 0
    assert both_channels(out).shape[0] == 2
    for wrong, message in (
        (["--solo"], "Say where to listen"),
        (["--class", "Knock"], "add --track"),
        (["--track", "77"], "77"),
        (["--gain", "3"], "name one, or --binaural"),
    ):
        assert main([*call, "--out", str(tmp_path / "no.mp4"), *wrong]) == 2
        assert message in capsys.readouterr().err
    assert not (tmp_path / "no.mp4").exists()
