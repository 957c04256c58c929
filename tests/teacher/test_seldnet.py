"""The official DCASE 2024 SELDnet as a teacher: its figures, its files, and what is said of unfit ones."""

from __future__ import annotations

import json
import zlib
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from torch import Tensor

from sai_core.cli import main
from sai_core.dataset import open_data_root
from sai_core.errors import InputError
from sai_core.taxonomy import N_CLASSES
from sai_core.teacher.decode import decode
from sai_core.teacher.features import AudioKind
from sai_core.teacher.listening import check_audio, open_teacher, predict_recording, teacher_note
from sai_core.teacher.network import AvSeldNet, TeacherConfig, save_teacher
from sai_core.teacher.seldnet import SeldNet, read_scaler, scaled, seldnet_features, seldnet_output, slaney_filters

FIGURES = json.loads((Path(__file__).parents[1] / "fixtures" / "teacher" / "seldnet.json").read_text())
REAL = Path(__file__).resolve().parents[3] / "shared" / "real" / "dcase2024_seldnet"


def filled_state(audio: AudioKind) -> dict[str, Tensor]:
    """Weights by the rule of the fixture."""
    state = {}
    for key, value in SeldNet(audio).state_dict().items():
        if key.endswith(("running_var", "bn.weight")) or (key.startswith("layer_norm") and key.endswith("weight")):
            made = np.ones(value.shape)
        elif key.endswith("num_batches_tracked"):
            made = np.zeros(value.shape)
        else:
            drawn = np.random.RandomState(zlib.crc32(key.encode())).standard_normal(value.shape)
            made = drawn * 1.5 / np.sqrt(max(1, np.prod(value.shape[1:])))
        state[key] = torch.tensor(made).to(value.dtype)
    return state


def audio_int16() -> np.ndarray:
    """Sound by the rule of the fixture: six seconds, a tone in noise."""
    n = 2400 * 60
    tone = 4000 * np.sin(np.arange(n) / 24000 * 2 * np.pi * 700)[:, None] * np.array([1, 0.3, -0.4, 0.8])
    noise = np.random.default_rng(24).normal(0, 600, (n, 4))
    return np.clip(np.round(noise + tone), -32768, 32767).astype(np.int16)


@pytest.mark.parametrize("kind", ["foa", "mic"])
def test_figures_of_the_official_code(tmp_path: Path, kind: AudioKind) -> None:
    features = seldnet_features((audio_int16() / 32768).astype(np.float32), kind)
    for channel, column, mel, value in FIGURES[kind]["features"]:
        # float64 on both sides; decibels up to 60
        assert features[channel, column, mel] == pytest.approx(value, abs=1e-9)
    torch.save({"model_state_dict": {f"module.{k}": v for k, v in filled_state(kind).items()}}, tmp_path / "x.h5")
    model = open_teacher(tmp_path / "x.h5")
    assert isinstance(model, SeldNet)
    assert model.audio == kind
    output = seldnet_output(model, scaled(features, None))
    assert output.shape == (60, 3, N_CLASSES, 4)
    for frame, track, axis, category, value in FIGURES[kind]["output"]:
        # ours has distances in 5 m, never negative; float32 through two recurrent layers
        wanted = max(value, 0.0) / 5.0 if axis == 3 else value
        assert output[frame, track, category, axis] == pytest.approx(wanted, abs=2e-5)


def test_mel_filters_have_unit_area() -> None:
    area = slaney_filters().sum(axis=0) * 24000 / 1024
    # narrow filters of the lowest bands are sampled by few bins
    np.testing.assert_allclose(area[20:], 1.0, rtol=0, atol=0.06)


def test_averages_weigh_longer_vectors_more_as_the_official_code_does() -> None:
    output = np.zeros((1, 3, N_CLASSES, 4), np.float32)
    output[0, 0, 4] = [1.0, 0.0, 0.0, 0.2]
    output[0, 1, 4] = 0.6 * np.array([np.cos(0.2), np.sin(0.2), 0.0, 0.0]) + [0, 0, 0, 0.4]
    official = decode(output, unit_vectors=False)
    mean = (output[0, 0, 4, :2] + output[0, 1, 4, :2]) / 2
    assert official.azimuth_deg[0] == pytest.approx(np.degrees(np.arctan2(mean[1], mean[0])), abs=1e-4)
    assert official.distance_cm[0] == pytest.approx(150.0, abs=1e-3)
    assert decode(output).azimuth_deg[0] == pytest.approx(np.degrees(0.1), abs=1e-3)


def test_a_scaler_of_training_features(tmp_path: Path) -> None:
    path = tmp_path / "scaler.npz"
    rng = np.random.default_rng(0)
    mean, scale = rng.normal(size=448), rng.uniform(0.5, 2, 448)
    np.savez(path, mean=mean, scale=scale)
    features = rng.normal(size=(7, 10, 64))
    got = scaled(features, read_scaler(path, "foa"))
    np.testing.assert_allclose(got[2, 3], (features[2, 3] - mean[128:192]) / scale[128:192], rtol=0, atol=1e-5)
    with pytest.raises(InputError, match="448 means and 448 scales; this teacher has 640"):
        read_scaler(path, "mic")
    np.savez(path, mean=mean, scale=np.zeros(448))
    with pytest.raises(InputError, match="scales positive"):
        read_scaler(path, "foa")
    for content in (b"", b"PK\x03\x04", b"\x80\x04joblib"):
        path.write_bytes(content)
        with pytest.raises(InputError, match="not the scaler"):
            read_scaler(path, "foa")
    save_teacher(AvSeldNet(TeacherConfig(filters=8, hidden=16)), tmp_path / "ours.safetensors")
    with pytest.raises(InputError, match="needs no scaler"):
        open_teacher(tmp_path / "ours.safetensors", scaler=path)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda s: {**s, "conv_block_list.0.conv.weight": torch.zeros(64, 4, 3, 3)}, "4 input channels"),
        (lambda s: {**s, "fnn_list.1.bias": torch.zeros(52)}, "52 outputs"),
        (lambda s: {k: v for k, v in s.items() if not k.startswith("gru")}, "16 missing"),
        (lambda s: {**s, "transformer_decoder.layers.0.norm1.weight": torch.zeros(128)}, "audio-visual"),
        (lambda s: {**s, "gru.bias_hh_l0": s["gru.bias_hh_l0"] * float("nan")}, "gru.bias_hh_l0 holds NaN"),
        (lambda s: {"a.weight": torch.zeros(3)}, "not a teacher"),
    ],
)
def test_other_checkpoints_are_told(tmp_path: Path, change, said: str) -> None:
    torch.save(change(filled_state("foa")), tmp_path / "x.h5")
    with pytest.raises(InputError, match=said):
        open_teacher(tmp_path / "x.h5")


@pytest.fixture
def data(tmp_path: Path) -> Path:
    root = tmp_path / "data"
    for kind in ("mic_dev", "foa_dev"):
        path = root / kind / "dev-test-x" / "fold9_room1_mix001.wav"
        path.parent.mkdir(parents=True)
        soundfile.write(path, audio_int16()[:28800], 24000, subtype="PCM_16")
    return root


@pytest.mark.parametrize(("kind", "other"), [("foa", "mic"), ("mic", "foa")])
def test_a_recording_is_heard_in_its_format_alone(data: Path, tmp_path: Path, kind: AudioKind, other: str) -> None:
    torch.save(filled_state(kind), tmp_path / "x.h5")
    model = open_teacher(tmp_path / "x.h5")
    assert "--teacher-scaler" in teacher_note(model)
    rows = predict_recording(model, open_data_root(data).recordings[0])
    assert len(rows.frame) > 0
    assert rows.frame.max() < 12
    (data / f"{kind}_dev" / "dev-test-x" / "fold9_room1_mix001.wav").unlink()
    with pytest.raises(InputError, match=f"no {kind}_dev audio"):
        check_audio(model, open_data_root(data).recordings[0])


def test_the_command_writes_rows(data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    torch.save(filled_state("foa"), tmp_path / "x.h5")
    arguments = ["teacher", "--data", str(data), "--split", "all", "--weights", str(tmp_path / "x.h5")]
    assert main([*arguments, "--out", str(tmp_path / "csv")]) == 0
    assert "scaled by its own means" in capsys.readouterr().err
    lines = (tmp_path / "csv" / "fold9_room1_mix001.csv").read_text().splitlines()
    assert len(lines) > 1


@pytest.mark.oracle
@pytest.mark.parametrize(
    "name", ["3_1_dev_split0_multiaccdoa_foa_model.h5", "6_1_dev_split0_multiaccdoa_mic_gcc_model.h5"]
)
def test_the_published_checkpoints_open_and_hear(data: Path, name: str) -> None:
    if not (REAL / name).is_file():
        pytest.skip("the published checkpoints are not there")
    model = open_teacher(REAL / name)
    rows = predict_recording(model, open_data_root(data).recordings[0], threshold=0.05)
    assert len(rows.frame) > 0
    assert (rows.distance_cm >= 0).all()
