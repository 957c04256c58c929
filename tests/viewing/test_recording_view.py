"""Recordings with anything missing or broken still open, and say what is wrong."""

from __future__ import annotations

import zlib
from pathlib import Path

import numpy as np
import pytest
import soundfile

from sai_core.dataset import PredictionSet, open_data_root
from sai_core.errors import InputError
from sai_core.viewing.overview import overview
from sai_core.viewing.player import BLOCK_FRAMES, unpack
from sai_core.viewing.recording_view import BytesCache, RecordingView, open_view
from tests.figures.scenes import write_root


@pytest.fixture(scope="module")
def root_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_root(tmp_path_factory.mktemp("root"), n_frames=45)


def opened(root_path: Path, *, systems: tuple[str, ...] = ("first",)) -> RecordingView:
    root = open_data_root(root_path)
    chosen = {key: root.prediction_set(name) for key, name in zip("AB", systems, strict=False)}
    return open_view(root.recordings[0], chosen, cache=BytesCache(1 << 24))


def test_a_complete_recording(root_path):
    view = opened(root_path, systems=("first", "second"))
    assert (view.n_frames, view.n_blocks, list(view.tables)) == (45, 3, ["L", "A", "B"])
    assert view.problems == ()
    assert not any(view.messages.values())
    header, arrays = unpack(view.scene())
    assert header["has"] == {"labels": True, "video": True, "audio": True}
    assert [layer["kind"] for layer in header["acoustic"]] == ["uplam", "precedence", "beamformer"]
    assert [badge[0] for badge in header["badges"]] == ["0:04.5", "dev-test-sony"]
    assert len(header["luts"]["magma"]) == 256 * 6
    assert len(arrays["B.frame"]) == len(view.tables["B"])
    _, block = unpack(view.block(2))
    assert len(block["jpeg_offsets"]) == 5 + 1
    assert len(block["audio"]) == 5 * 2400
    assert view.block(2) is view.block(2)
    spectrogram = view.spectrogram()
    assert spectrogram is not None
    assert unpack(spectrogram)[0]["n_frames"] == 45


def test_neighbouring_blocks_join_without_a_gap(root_path):
    import soundfile

    view = opened(root_path)
    sound = np.concatenate([unpack(view.block(i))[1]["audio"] for i in range(view.n_blocks)])
    samples, _ = soundfile.read(root_path / "mic_dev/dev-test-sony/fold4_room23_mix001.wav", dtype="int16")
    assert len(sound) == len(samples) == 45 * 2400
    assert np.abs(sound - samples.mean(axis=1)).max() <= 1.0


@pytest.mark.parametrize("frame", [0, 27, 44])
def test_a_frame_alone_is_that_of_its_block(root_path, frame):
    view = opened(root_path)
    header, still = unpack(view.still(frame))
    assert (header["index"], header["start"], header["stop"]) == (frame // 20, frame, frame + 1)
    assert not view.holds(frame // 20)
    facts, block = unpack(opened(root_path).block(frame // 20))
    at = frame - facts["start"]
    assert still["jpeg"] == block["jpeg"][slice(*block["jpeg_offsets"][at : at + 2])]
    mine, theirs = still["patches"].reshape(-1, 8), block["patches"].reshape(-1, 8)
    theirs = theirs[theirs[:, 2] == at]
    assert len(mine)
    assert mine[:, [0, 1, 3, 4, 5, 6]].tolist() == theirs[:, [0, 1, 3, 4, 5, 6]].tolist()
    assert "audio" not in still
    # the block that follows is the same as without it
    assert view.block(frame // 20) == opened(root_path).block(frame // 20)
    with pytest.raises(InputError, match="outside"):
        view.still(45)


def test_every_rendering_is_a_block_of_its_own(root_path):
    view = opened(root_path)
    full, official, points = (view.block(0, mode=mode) for mode in ("full", "official", "points"))
    assert len({full, official, points}) == 3
    with pytest.raises(InputError, match="'x' is unknown"):
        view.block(0, mode="x")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="outside"):
        view.block(99)


def test_missing_material_is_told(tmp_path):
    write_root(tmp_path, n_frames=12, video_size=None, audio=False, systems=())
    view = open_view(
        open_data_root(tmp_path).recordings[0],
        {"A": PredictionSet("stand-in one", tmp_path)},
        cache=BytesCache(1 << 20),
    )
    assert view.n_frames == 12
    assert view.messages["video"] == (
        "No video in this root: expected <root>/video_dev/dev-test-sony/fold4_room23_mix001.mp4"
    )
    assert "mic_dev" in view.messages["audio"]
    assert "stand-in one has no file for this recording" in view.messages["A"]
    assert view.spectrogram() is None
    _, block = unpack(view.block(0))
    assert "audio" not in block
    assert "jpeg" not in block


def test_broken_files_become_sentences(tmp_path):
    write_root(tmp_path, n_frames=BLOCK_FRAMES)
    name = "dev-test-sony/fold4_room23_mix001"
    (tmp_path / "predictions/first/fold4_room23_mix001.json").write_text('{"annotations": [{"metadata_fr')
    (tmp_path / f"video_dev/{name}.mp4").write_bytes(b"no video at all")
    (tmp_path / f"mic_dev/{name}.wav").write_bytes(b"RIFF")
    view = opened(tmp_path)
    assert list(view.tables) == ["L"]
    assert len(view.problems) == 3
    assert sum("fold4_room23_mix001.json" in p for p in view.problems) == 1
    assert view.messages["A"] == "The predictions of first cannot be read; the message above says why."
    assert unpack(view.scene())[0]["unreadable"] == ["A"]
    assert view.messages["video"].startswith("The video cannot be read")
    view.block(0)


def test_a_changed_file_is_another_scene(tmp_path):
    write_root(tmp_path, n_frames=10, video_size=None)
    first = opened(tmp_path)
    write_root(tmp_path, n_frames=10, video_size=None, seed=3)
    second = opened(tmp_path)
    assert first.scene_id != second.scene_id


def test_a_recording_longer_than_its_video_has_no_picture_at_the_end(tmp_path):
    from tests.figures.scenes import write_video

    write_root(tmp_path, n_frames=40)
    write_video(tmp_path / "video_dev/dev-test-sony/fold4_room23_mix001.mp4", 20, (240, 120))
    _, block = unpack(opened(tmp_path).block(1))
    sizes = np.diff(block["jpeg_offsets"].astype(int))
    assert sizes[0] > 0
    assert sizes[-1] == 0


def test_stand_ins_are_called_so():
    assert PredictionSet("stand-in-A", Path("x")).title == "stand-in-A"
    assert PredictionSet("mine", Path("x")).title == "mine"


def test_the_cache_is_bounded():
    cache = BytesCache(100)
    for i in range(10):
        cache.put((i,), bytes(30))
    assert cache.get((9,)) is not None
    assert cache.get((0,)) is None
    assert sum(cache.get((i,)) is not None for i in range(10)) == 3


def test_overview_reads_headers_and_metadata_only(tmp_path):
    write_root(tmp_path, n_frames=30, video_size=None)
    folder = tmp_path / "metadata_dev/dev-test-sony"
    folder.mkdir(parents=True)
    (folder / "fold4_room23_mix001.csv").write_text("0,3,0,10,20,150\n1,3,0,10,20,150\n1,5,1,30,0,200\n")
    facts = overview(open_data_root(tmp_path).recordings[0])
    assert (facts.duration_s, facts.n_sources, facts.categories) == (3.0, 2, (3, 5))
    (folder / "fold4_room23_mix001.csv").write_text("what\nis,this\n")
    assert overview(open_data_root(tmp_path).recordings[0]).n_sources is None


@pytest.mark.parametrize(
    ("kind", "options"), [("beamformer", {"kind": "beamformer"}), ("precedence", {"visibility": "precedence"})]
)
def test_acoustic_maps_come_in_blocks_of_levels(root_path, kind, options):
    from sai_core.acoustics.features import extract
    from sai_core.viewing.acoustic_layer import index_table, open_layer

    recording = open_data_root(root_path).recordings[0]
    layer = open_layer(recording, kind)
    assert recording.mic_path is not None
    power = extract(recording.mic_path, **options, magnitude="power").lattice
    header, last = unpack(layer.block(2))
    assert header["ceiling_db"] == pytest.approx(10 * np.log10(power.max()), abs=0.02)  # float16 in the store
    peaks = np.sort(power.max(axis=(1, 2)))
    assert header["references_db"]["max"] == pytest.approx(10 * np.log10(peaks[-3]), abs=0.02)
    assert set(header["references_db"]) == {"median", "max", *"012345678", "low", "mid", "high"}
    values = np.frombuffer(zlib.decompress(last["values"]), np.uint8).reshape(5, 9, 484)
    there = power[40:] > 0
    below = header["ceiling_db"] - 10 * np.log10(power[40:][there])
    seen = below < 100
    shown = (255.0 - values[there][seen]) * header["step_db"]
    np.testing.assert_allclose(shown, below[seen], rtol=0, atol=header["step_db"] / 2 + 0.02)
    assert not values[~there].any()
    with pytest.raises(InputError, match="outside"):
        layer.block(3)
    index = unpack(index_table())[1]["index"]
    assert index.shape == (180 * 360,)
    assert index.max() == 483


def _layer_of(tmp_path, name, sound):
    """Beamformer layer of a sound, (samples,), from one direction in four channels."""
    from sai_core.acoustics.beamformer import plane_wave_steering
    from sai_core.geometry import UPLAM_CAPSULES
    from sai_core.viewing.acoustic_layer import open_layer

    # a constant phase a channel: what a narrow band hears of a plane wave
    phase = np.angle(plane_wave_steering(UPLAM_CAPSULES)[:, 100])
    spectrum = np.fft.rfft(sound)
    channels = np.stack([np.fft.irfft(spectrum * np.exp(1j * p), len(sound)) for p in phase], axis=1)
    channels[sound == 0] = 0  # the phase smears a little
    path = tmp_path / name / "mic_dev/dev-test-x" / "fold1_room1_mix001.wav"
    path.parent.mkdir(parents=True)
    soundfile.write(path, channels, 24_000, subtype="FLOAT")
    return open_layer(open_data_root(tmp_path / name).recordings[0], "beamformer")


def test_the_picture_of_a_quiet_recording_is_that_of_a_loud_one(tmp_path, rng):
    """Two seconds: source, the same 20 dB down, the same 40 dB down, digital silence."""
    sound = 0.3 * rng.standard_normal(48_000)
    for part, gain in enumerate((1.0, 0.1, 0.01, 0.0)):
        sound[part * 12_000 : (part + 1) * 12_000] *= gain
    loud, quiet = _layer_of(tmp_path, "loud", sound), _layer_of(tmp_path, "quiet", 0.001 * sound)
    assert quiet.ceiling_db == pytest.approx(loud.ceiling_db - 60, abs=0.01)
    (header, a), (_, b) = unpack(loud.block(0)), unpack(quiet.block(0))
    levels, same = (np.frombuffer(zlib.decompress(x["values"]), np.uint8).astype(int) for x in (a, b))
    assert np.abs(levels - same).max() <= 1
    for name, reference in loud.references_db.items():
        assert quiet.references_db[name] == pytest.approx(reference - 60, abs=0.01)
    peaks = header["ceiling_db"] - (255 - levels.reshape(20, -1).max(axis=1)) * header["step_db"]
    relative = peaks - header["references_db"]["max"]
    np.testing.assert_allclose(relative[1:4], 0, atol=3)
    np.testing.assert_allclose(relative[6:9], -20, atol=3)  # within a range of 30 dB
    np.testing.assert_allclose(relative[11:14], -40, atol=3)  # not
    assert not levels.reshape(20, -1)[17:].any()


def test_silence_and_rounding_noise_are_no_sources(tmp_path, rng):
    from sai_core.viewing.acoustic_layer import LEAST_REFERENCE_DB

    silence = _layer_of(tmp_path, "silence", np.zeros(24_000))
    header, parts = unpack(silence.block(0))
    assert not any(zlib.decompress(parts["values"]))
    assert header["references_db"]["max"] == LEAST_REFERENCE_DB
    rounding = _layer_of(tmp_path, "rounding", rng.uniform(-0.5, 0.5, 24_000) / 32768)
    assert rounding.ceiling_db < rounding.references_db["max"] - 15
    click = np.zeros(24_000)
    click[12_000:12_200] = 0.9
    click += 0.01 * rng.standard_normal(24_000)
    plain = _layer_of(tmp_path, "click", click)
    assert plain.references_db["max"] < plain.ceiling_db - 6  # one click does not darken the rest


def test_precedence_is_another_map_than_single_frames(root_path):
    from sai_core.viewing.acoustic_layer import open_layer

    recording = open_data_root(root_path).recordings[0]
    precedence, single = (unpack(open_layer(recording, kind).block(0))[1] for kind in ("precedence", "uplam"))
    assert precedence["values"] != single["values"]


def test_acoustic_maps_need_fitting_audio(tmp_path):
    from sai_core.viewing.acoustic_layer import layer_kinds, open_layer

    write_root(tmp_path, n_frames=5, video_size=None, audio=False)
    recording = open_data_root(tmp_path).recordings[0]
    assert layer_kinds(recording) == ()
    with pytest.raises(InputError, match="expected a file under mic_dev or eigen_dev"):
        open_layer(recording, "uplam")
    with pytest.raises(InputError, match="'x' are unknown"):
        open_layer(recording, "x")  # type: ignore[arg-type]
