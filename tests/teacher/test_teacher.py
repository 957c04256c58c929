"""The teacher: features see directions, the loss sees permutations, rows survive a round trip, runs go on exactly."""

from __future__ import annotations

from itertools import permutations
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file

from sai_core.acoustics import rigid_sphere
from sai_core.annotations import DcaseMetadata, read_dcase_csv, write_dcase_csv
from sai_core.cli import main
from sai_core.dataset import open_data_root
from sai_core.errors import InputError
from sai_core.geometry import UPLAM_CAPSULES, directions_to_vectors, great_circle_deg, vectors_to_directions
from sai_core.runs.kinds import KINDS
from sai_core.simulation.dataset import SimulationOptions, make_recording
from sai_core.teacher import SHIPPED_TEACHER
from sai_core.teacher.decode import decode, encode, seld_scores
from sai_core.teacher.features import (
    CHANNELS,
    AudioKind,
    audio_notes,
    mel_filters,
    recording_features,
    spectral_features,
)
from sai_core.teacher.listening import predict_recording
from sai_core.teacher.network import AvSeldNet, TeacherConfig, adpit_loss, load_teacher, save_teacher
from sai_core.training import teacher as training


def rows(*entries: tuple[int, int, float, float]) -> DcaseMetadata:
    frame, category, azimuth, elevation = (np.array(c) for c in zip(*entries, strict=True))
    zeros = np.zeros(len(entries), np.int64)
    return DcaseMetadata(frame, category, zeros, azimuth, elevation, np.full(len(entries), 150.0), "r")


# ------------------------------------------------------------------------------------------------------------ features
@pytest.mark.parametrize("kind", ["mic", "foa"])
def test_shapes_and_silence(kind: str) -> None:
    assert spectral_features(np.zeros((0, 4)), kind).shape == (CHANNELS[kind], 0, 64)  # type: ignore[arg-type]
    silent = spectral_features(np.zeros((4800, 4)), kind)  # type: ignore[arg-type]
    assert silent.shape == (CHANNELS[kind], 10, 64)
    assert np.isfinite(silent).all()
    with pytest.raises(InputError, match="2400 n, 4"):
        spectral_features(np.zeros((100, 4)), kind)  # type: ignore[arg-type]


def test_intensity_points_at_the_source(rng: np.random.Generator) -> None:
    sound = rng.normal(size=4800)
    x, y, z = directions_to_vectors(60.0, 20.0)
    foa = np.stack([sound, sound * y, sound * z, sound * x], axis=1)
    features = spectral_features(foa, "foa")[4:]  # Y, Z, X
    mean = features[:, 2:-2, 5:].mean(axis=(1, 2))
    azimuth, elevation = vectors_to_directions(np.array([mean[2], mean[0], mean[1]]))
    assert great_circle_deg(azimuth, elevation, 60.0, 20.0) < 3.0


def heard(azimuth: float, elevation: float, sound: np.ndarray) -> np.ndarray:
    """Four capsules of the rigid sphere hearing a plane wave."""
    frequency = np.fft.rfftfreq(len(sound), 1 / 24_000)
    filters = rigid_sphere.steering(np.array([azimuth]), np.array([elevation]), np.maximum(frequency, 20.0))
    filters = filters[:, list(UPLAM_CAPSULES)] if filters.ndim == 3 else filters
    response = np.fft.rfft(sound)[:, None] * filters.reshape(len(frequency), 4)
    return np.fft.irfft(response, len(sound), axis=0)


def target_of(azimuth: float, elevation: float) -> torch.Tensor:
    source = torch.tensor(directions_to_vectors(azimuth, elevation), dtype=torch.float32)
    return torch.cat([source, torch.tensor([0.3])])[None]


def direction_of(target: torch.Tensor) -> tuple[float, float]:
    azimuth, elevation = vectors_to_directions(target[0, :3].numpy().astype(np.float64))
    return float(azimuth), float(elevation)


def test_a_turned_recording_is_the_recording_of_a_turned_source(rng: np.random.Generator) -> None:
    sound = rng.normal(size=4800)
    features = torch.from_numpy(spectral_features(heard(33.0, 12.0, sound), "mic"))
    target = target_of(33.0, 12.0)
    found = training.symmetries("mic")
    assert len(found) == 8
    assert len(training.symmetries("mic", upright=True)) == 4
    for symmetry in found:
        moved, new = training.turned(features, target, symmetry, "mic")
        wanted = spectral_features(heard(*direction_of(new), sound), "mic")
        # a lag of -32 has no opposite among the 64
        np.testing.assert_allclose(moved[:4].numpy(), wanted[:4], atol=2e-3)
        np.testing.assert_allclose(moved[4:, :, 1:].numpy(), wanted[4:, :, 1:], atol=2e-3)


def test_turned_ambisonics_are_those_of_a_turned_source(rng: np.random.Generator) -> None:
    sound = rng.normal(size=4800)

    def ambisonics(azimuth: float, elevation: float) -> np.ndarray:
        x, y, z = directions_to_vectors(azimuth, elevation)
        return spectral_features(np.stack([sound, sound * y, sound * z, sound * x], axis=1), "foa")

    features = torch.from_numpy(ambisonics(33.0, 12.0))
    found = training.symmetries("foa")
    np.testing.assert_array_equal(found[0].matrix, np.eye(3))
    seen = set()
    for symmetry in found:
        moved, new = training.turned(features, target_of(33.0, 12.0), symmetry, "foa")
        np.testing.assert_allclose(moved.numpy(), ambisonics(*direction_of(new)), atol=1e-4)
        seen.add(tuple(round(v) for v in direction_of(new)))
    assert len(seen) == len(found) == 16
    assert len(training.symmetries("foa", upright=True)) == 8


@pytest.mark.parametrize("kind", ["mic", "foa"])
def test_a_turned_picture_shows_the_thing_where_it_is_heard(kind: AudioKind) -> None:
    def cell(azimuth: float) -> int:
        return int(((180.0 - azimuth) % 360.0) // 30.0)

    picture = torch.zeros(6, 12, 3)
    picture[1, cell(47.0)] = 1.0
    for symmetry in training.symmetries(kind, upright=True):
        vector = symmetry.matrix @ directions_to_vectors(47.0, 40.0)
        azimuth, elevation = vectors_to_directions(vector)
        assert float(elevation) == pytest.approx(40.0)
        turned = training.turned_picture(picture.reshape(216), symmetry).reshape(6, 12, 3)
        assert turned[1, cell(float(azimuth))].tolist() == [1.0, 1.0, 1.0]
        assert float(turned.sum()) == 3.0


# ---------------------------------------------------------------------------------------------------------------- loss
def test_any_order_of_the_tracks_is_right(rng: np.random.Generator) -> None:
    for n in (1, 2, 3):
        vectors = rng.normal(size=(3, 4)).astype(np.float32)
        sources, count = torch.zeros(1, 1, 13, 3, 4), torch.zeros(1, 1, 13, dtype=torch.int64)
        sources[0, 0, 5] = torch.from_numpy(vectors)
        count[0, 0, 5] = n
        for order in permutations(range(3)):
            predicted = torch.zeros(1, 1, 3, 13, 4)
            for track in range(3):
                predicted[0, 0, track, 5] = sources[0, 0, 5, order[track] % n]
            assert float(adpit_loss(predicted, sources, count)) == 0.0


def test_silence_pulls_to_zero_by_hand() -> None:
    predicted = torch.zeros(1, 1, 3, 13, 4)
    predicted[0, 0, 0, 2, 0] = 0.6
    predicted[..., 3] = 7.0  # the distance of nothing is not judged
    none = torch.zeros(1, 1, 13, dtype=torch.int64)
    loss = adpit_loss(predicted, torch.zeros(1, 1, 13, 3, 4), none)
    assert float(loss) == pytest.approx(0.36 / 9 / 13, rel=1e-6)


# ---------------------------------------------------------------------------------------------------------------- rows
@given(
    st.lists(
        st.tuples(st.integers(0, 4), st.integers(0, 12), st.floats(-179.9, 179.9), st.floats(-89.0, 89.0)),
        min_size=1,
        max_size=6,
        unique_by=lambda e: (e[0], e[1]),
    )
)
def test_rows_survive_encoding_and_decoding(entries: list[tuple[int, int, float, float]]) -> None:
    metadata = rows(*entries)
    sources, count = encode(metadata, 5)
    output = np.where((count > 0)[:, None, :, None], np.repeat(sources[:, None, :, 0], 3, axis=1), 0.0)
    found = decode(output)
    assert len(found) == len(metadata)
    scores = seld_scores([metadata], [found])
    assert scores.f_score == pytest.approx(1.0)
    assert scores.error_deg == pytest.approx(0.0, abs=0.01)
    np.testing.assert_allclose(found.distance_cm, 150.0, rtol=1e-5)


def test_near_tracks_are_one_source_and_far_ones_are_two() -> None:
    output = np.zeros((1, 3, 13, 4))
    for track, azimuth in enumerate((10.0, 18.0, 100.0)):
        output[0, track, 3, :3] = 0.9 * directions_to_vectors(azimuth, 0.0)
    found = decode(output)
    assert sorted(np.round(found.azimuth_deg).tolist()) == [14.0, 100.0]
    assert len(decode(output, threshold=0.95)) == 0


def test_scores_by_hand() -> None:
    truth = rows((0, 1, 0.0, 0.0), (1, 1, 0.0, 0.0))
    found = rows((0, 1, 10.0, 0.0), (1, 1, 30.0, 0.0), (2, 1, 0.0, 0.0))
    scores = seld_scores([truth], [found])
    assert scores.f_score == pytest.approx(2 * 1 / (2 + 3))
    assert scores.error_deg == pytest.approx(20.0)
    assert scores.recall == pytest.approx(1.0)


# ------------------------------------------------------------------------------------------------------------- network
@pytest.mark.parametrize("visual", [False, True])
def test_the_network_answers_every_frame_and_is_saved_whole(tmp_path: Path, visual: bool) -> None:
    torch.manual_seed(0)
    model = AvSeldNet(TeacherConfig(filters=8, hidden=16, visual=visual)).eval()
    spectral = torch.randn(2, 10, 35, 64)
    seen = torch.rand(2, 7, 216) if visual else None
    output = model(spectral, seen)
    assert output.shape == (2, 7, 3, 13, 4)
    assert bool((output[..., 3] >= 0).all())
    save_teacher(model, tmp_path / "t.safetensors")
    torch.testing.assert_close(load_teacher(tmp_path / "t.safetensors")(spectral, seen), output)
    if visual:
        with pytest.raises(InputError, match="pictures"):
            model(spectral)
    with pytest.raises(InputError, match="features"):
        model(spectral[:, :7])


def test_a_file_that_is_no_teacher_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "x.safetensors").write_bytes(b"no")
    with pytest.raises(InputError, match="not a weights file"):
        load_teacher(tmp_path / "x.safetensors")
    with pytest.raises(InputError, match="no such file"):
        load_teacher(tmp_path / "y.safetensors")


# ------------------------------------------------------------------------------------------------------------ training
@pytest.fixture
def root(tmp_path: Path, rng: np.random.Generator) -> Path:
    """Two splits of two recordings of two seconds: one source each, heard by four capsules."""
    base = tmp_path / "root"
    for split in ("dev-train-x", "dev-val-x"):
        for number, (category, azimuth) in enumerate(((1, 60.0), (8, -90.0))):
            name = f"fold1_room{number}_mix00{number}"
            (base / "mic_dev" / split).mkdir(parents=True, exist_ok=True)
            (base / "metadata_dev" / split).mkdir(parents=True, exist_ok=True)
            audio = heard(azimuth, 0.0, rng.normal(size=48_000))
            soundfile.write(base / "mic_dev" / split / f"{name}.wav", 0.1 * audio / np.abs(audio).max(), 24_000)
            metadata = rows(*((k, category, azimuth, 0.0) for k in range(20)))
            write_dcase_csv(metadata, base / "metadata_dev" / split / f"{name}.csv")
    return base


TINY = ["model.audio='mic'", "epochs=3", "batch=4", "segment_frames=10", "model.filters=8", "model.hidden=16"]


@pytest.mark.slow
def test_a_resumed_run_is_the_uninterrupted_one(root: Path, tmp_path: Path) -> None:
    config = KINDS["teacher"].read_config("", TINY)
    arguments = {"roots": [open_data_root(root)], "train_split": "dev-train-x", "validation_split": "dev-val-x"}
    training.train(config, tmp_path / "whole", **arguments)  # type: ignore[arg-type]
    cut = tmp_path / "cut"
    steps = 0

    def stop(fraction: float, message: str) -> None:
        nonlocal steps
        steps += message.startswith("epoch 2")
        if steps:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        training.train(config, cut, progress=stop, **arguments)  # type: ignore[arg-type]
    training.train(None, cut, resume=True, **arguments)  # type: ignore[arg-type]

    def figures(run: Path) -> list[list[str]]:
        lines = (run / "metrics.csv").read_text().splitlines()
        return [[c for i, c in enumerate(line.split(",")) if i != 2] for line in lines]

    assert figures(cut) == figures(tmp_path / "whole")
    one, other = (load_file(run / "best.safetensors") for run in (cut, tmp_path / "whole"))
    assert one.keys() == other.keys()
    assert all(torch.equal(value, other[key]) for key, value in one.items())
    with pytest.raises(InputError, match="run in this folder"):
        training.train(config, cut, **arguments)  # type: ignore[arg-type]


@pytest.mark.slow
def test_trained_weights_write_csvs(root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = tmp_path / "run"
    settings = [item for value in [*TINY, "epochs=1"] for item in ("--set", value)]
    command = ["train", "teacher", "--data", str(root), "--split", "dev-train-x", "--validation", "dev-val-x"]
    assert main([*command, "--run", str(run), "--quiet", *settings]) == 0
    out = tmp_path / "csv"
    weights = str(run / "best.safetensors")
    assert main(["teacher", "--data", str(root), "--split", "dev-val-x", "--weights", weights, "--out", str(out)]) == 0
    assert sorted(p.name for p in out.iterdir()) == ["fold1_room0_mix000.csv", "fold1_room1_mix001.csv"]
    for path in out.iterdir():
        read_dcase_csv(path)
    assert main([*command, "--run", str(tmp_path / "other"), "--set", "epochz=1"]) == 2
    assert "epochz" in capsys.readouterr().err


def test_settings_that_cannot_work_are_refused() -> None:
    for text, message in (("epochs=0", "epochs"), ("model.audio='x'", "mic or foa"), ("nonsense", "key=value")):
        with pytest.raises(InputError, match=message):
            KINDS["teacher"].read_config("", [text])


def test_the_teacher_that_ships_hears_a_new_room(tmp_path: Path) -> None:
    options = SimulationOptions(seed=42, seconds=6.0, video_wh=None, eigen=False, labels=False)
    make_recording(tmp_path, options, 0, classes=(2, 10))
    (recording,) = open_data_root(tmp_path).recordings
    assert recording.metadata_path is not None
    model = load_teacher(SHIPPED_TEACHER)
    assert model.threshold in training.THRESHOLDS
    scores = seld_scores([read_dcase_csv(recording.metadata_path)], [predict_recording(model, recording)])
    # 0.986, 13.5 degrees and 1.0 when it was made
    assert scores.f_score > 0.9
    assert scores.error_deg < 16.0
    assert scores.recall > 0.95


@pytest.mark.parametrize("rate", [8000, 9000])
def test_the_teacher_hears_nothing_where_the_file_holds_nothing(
    root: Path, rng: np.random.Generator, rate: int
) -> None:
    """Above the file's own rate, resampling leaves images; they must not be heard as sound."""
    recording = open_data_root(root).recordings[0]
    assert recording.mic_path is not None
    soundfile.write(recording.mic_path, 0.1 * rng.standard_normal((rate, 4)), rate)
    heard = recording_features(recording, "mic")
    silence = spectral_features(np.zeros((24_000, 4)), "mic")
    above = np.flatnonzero(mel_filters()[: int(0.95 * rate / 2 / 24_000 * 1024) + 1].sum(axis=0) == 0)
    assert above.size > 10
    np.testing.assert_array_equal(heard[:4, :, above], silence[:4, :, above])
    assert (heard[:4, :, :40] > silence[:4, :, :40]).all()
    assert any("hears nothing above" in note for note in audio_notes(recording, "mic"))
