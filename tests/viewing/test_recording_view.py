"""Recordings with anything missing or broken still open, and say what is wrong."""

from __future__ import annotations

import zlib
from pathlib import Path

import numpy as np
import pytest

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
    assert view.messages["A"].startswith("This file cannot be read")
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
def test_acoustic_maps_come_in_blocks_with_their_loudness(root_path, kind, options):
    from sai_core.acoustics.features import extract
    from sai_core.viewing.acoustic_layer import index_table, open_layer

    recording = open_data_root(root_path).recordings[0]
    layer = open_layer(recording, kind)
    assert recording.mic_path is not None
    maps = extract(recording.mic_path, **options, magnitude="amplitude").lattice
    _, last = unpack(layer.block(2))
    values = np.frombuffer(zlib.decompress(last["values"]), np.uint8).reshape(5, 9, 484) / 255
    peak = maps[40:].max(axis=(1, 2))
    np.testing.assert_allclose(last["loudness"], peak / maps.max(), rtol=0, atol=2e-3)  # float16 in the store
    np.testing.assert_allclose(values, maps[40:] / peak[:, None, None], rtol=0, atol=0.5 / 255 + 2e-3)
    with pytest.raises(InputError, match="outside"):
        layer.block(3)
    index = unpack(index_table())[1]["index"]
    assert index.shape == (180 * 360,)
    assert index.max() == 483


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
