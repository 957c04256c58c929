"""Training of the field decoder: turns of the array, draws, a run that learns, and what it makes."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from sai_core.acoustics.rigid_sphere import steering
from sai_core.checkpoints import read_metadata
from sai_core.cli import main
from sai_core.detector.config import FieldConfig
from sai_core.detector.field import FieldNetwork, load_field
from sai_core.errors import InputError
from sai_core.geometry import (
    SAMPLE_RATE_HZ,
    directions_to_vectors,
    em32_positions_m,
    fibonacci_lattice_deg,
    great_circle_deg,
    vectors_to_directions,
)
from sai_core.runs.folder import RunFolder
from sai_core.runs.kinds import RunInputs
from sai_core.runs.lifecycle import life
from sai_core.training import field
from sai_core.training.config import FieldTraining
from sai_core.training.field import COLUMNS, Heard, array_turns, draw_directions, hear, train

TINY = FieldTraining(
    scenes=2,
    seconds=2.0,
    turns=2,
    epochs=2,
    batch=1,
    piece_frames=10,
    held_out=0.5,
    model=FieldConfig(channels=8, blocks=1, degree=3),
)


def waves(azimuth: float, elevation: float, n_frames: int = 2) -> np.ndarray:
    """Noise from one direction at all 32 capsules, (samples, 32)."""
    n = n_frames * 2400
    source = np.fft.rfft(np.random.default_rng(0).normal(0, 0.1, n))
    frequency = np.fft.rfftfreq(n, 1 / SAMPLE_RATE_HZ)
    some = (frequency > 1000) & (frequency < 5000)
    heard = np.zeros((32, len(frequency)), dtype=complex)
    heard[:, some] = steering([azimuth], [elevation], frequency[some], convention="fft")[..., 0].T * source[some]
    return np.fft.irfft(heard, n).T


def test_a_turned_array_hears_the_turned_scene() -> None:
    turns = array_turns()
    assert turns.shape == (12, 32)
    np.testing.assert_array_equal(turns[0], np.arange(32))
    assert all(len(set(order)) == 32 for order in turns.tolist())
    assert len({tuple(order) for order in turns.tolist()}) == 12
    capsules = em32_positions_m()
    audio = waves(40.0, 15.0)
    azimuth, elevation = fibonacci_lattice_deg()
    for turn in (0, 4, 9):
        left, _, right = np.linalg.svd(capsules[turns[turn]].T @ capsules)
        there = vectors_to_directions(directions_to_vectors(40.0, 15.0) @ (left @ right))
        heard = hear(audio, [turn])[0]
        strongest = int(heard.field[1].argmax())
        assert great_circle_deg(*there, azimuth[strongest], elevation[strongest]) < 15
    with pytest.raises(InputError, match="turns is 13"):
        replace(TINY, turns=13)


def test_directions_are_drawn_where_the_field_is_strong(rng: np.random.Generator) -> None:
    target = torch.full((3, 484), float(np.log(1e-5)))
    target[0, 100], target[2, 7] = np.log(2e-3), np.log(9e-4)
    row, azimuth, elevation = draw_directions(target, rng, 50)
    assert sorted(set(row.tolist())) == [0, 2]
    places = fibonacci_lattice_deg()
    for frame, point in ((0, 100), (2, 7)):
        mine = (row == frame).numpy()
        off = great_circle_deg(places[0][point], places[1][point], azimuth.numpy()[mine], elevation.numpy()[mine])
        assert np.median(off) < 10


def test_training_lowers_the_loss(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On fields that the beams alone tell: a wave from one direction a recording."""
    rng = np.random.default_rng(4)
    lattice = directions_to_vectors(*fibonacci_lattice_deg())
    made = []
    for _ in range(4):
        azimuth, elevation = float(rng.uniform(-180, 180)), float(rng.uniform(-40, 40))
        matrices = hear(waves(azimuth, elevation, 4))[0].matrices
        bump = 2e-3 * np.exp(20.0 * (lattice @ directions_to_vectors(azimuth, elevation) - 1.0))
        made.append([Heard(matrices, np.tile(np.log(np.maximum(bump, 1e-5)), (4, 1)).astype(np.float32))])
    config = replace(TINY, epochs=30, held_out=0.25, batch=2, piece_frames=4, rate=2e-2)
    folder = RunFolder(tmp_path / "run", columns=COLUMNS)
    with folder.held():
        folder.begin({"kind": "field"})
        with life(folder, epochs=1, message="") as lived:
            folder.restore(b"")
            trainer = field._Trainer(config, folder, made, torch.device("cpu"), lived)
            before = field.measure(FieldNetwork(config.model), trainer.held, seed=1)
            trainer.run()
    after = field.measure(load_field(folder.best), trainer.held, seed=1)
    assert after.rms < 0.6 * before.rms
    assert after.iou > before.iou + 0.1
    rows = (tmp_path / "run" / "metrics.csv").read_text().splitlines()
    total = [float(line.split(",")[4]) for line in rows[1:] if ",train," in line]
    assert total[-1] < 0.6 * total[0]


def test_a_network_that_says_too_little_is_put_right() -> None:
    """The line undoes a known error, is folded into the weights, and leaves a network alone that is right."""
    rng = np.random.default_rng(3)
    matrices = hear(waves(30.0, 10.0, 4))[0].matrices
    lattice = directions_to_vectors(*fibonacci_lattice_deg())
    peaks = [lattice @ directions_to_vectors(float(rng.uniform(-180, 180)), 0.0) for _ in range(4)]
    target = torch.from_numpy(np.stack([np.log(3e-3) + 12.0 * (peak - 1.0) for peak in peaks])).float()
    target = target.clamp(min=float(np.log(1e-5)))
    weak = field.LEVEL + 0.7 * (target - 0.4 - field.LEVEL)
    places = draw_directions(target, rng, 1)
    line = field.calibrate([field.Look(weak, target, *places)])
    assert line.scale > 1.0
    assert line.shift > 0.0
    before, after = (field.figures_of([field.Look(weak, target, *places)], *x) for x in ((1.0, 0.0), line))
    assert after.iou > before.iou + 0.05
    assert field.calibrate([field.Look(target, target, *places)]) == (1.0, 0.0)

    torch.manual_seed(0)
    network = FieldNetwork(TINY.model)
    packed = torch.from_numpy(matrices[None])
    with torch.no_grad():
        expected = field.LEVEL + line.shift + line.scale * (network(packed) - field.LEVEL)
        found = field.calibrated(network, line)(packed)
    torch.testing.assert_close(found, expected.clamp(min=float(np.log(1e-5))))


def test_recordings_teach_too_and_faults_are_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    place = tmp_path / "root" / "eigen_dev" / "dev-train-x"
    place.mkdir(parents=True)
    for k, azimuth in enumerate((0.0, 90.0)):
        soundfile.write(place / f"fold1_room1_mix00{k}.wav", waves(azimuth, 0.0, 6), SAMPLE_RATE_HZ)
    run = tmp_path / "run"
    words = ["train", "field", "--run", str(run), "--scenes", "0", "--data", str(tmp_path / "root"), "--quiet"]
    for name in ("turns=1", "epochs=1", "batch=1", "piece_frames=4", "held_out=0.5", "model.channels=4"):
        words += ["--set", name]
    assert main(words) == 0
    assert "soft IoU of regions" in capsys.readouterr().out
    notes = read_metadata(run / "best.safetensors")
    assert float(notes["rms"]) > 0
    assert json.loads(notes["training"])["turns"] == 1
    assert "0 simulated scenes" in notes["data"]
    assert "and 2 recordings" in notes["data"]
    # another run goes on from its weights, if they are of its size
    more = [str(tmp_path / "more") if word == str(run) else word for word in words]
    assert main([*more, "--set", f"start={run / 'best.safetensors'}", "--set", "rate=1e-9"]) == 0
    again = load_field(tmp_path / "more" / "best.safetensors")
    first = load_field(run / "best.safetensors")
    for name, value in first.layers.state_dict().items():
        torch.testing.assert_close(again.layers.state_dict()[name], value, rtol=2e-3, atol=2e-3)
    capsys.readouterr()
    wrong = [*more[:3], str(tmp_path / "wrong"), *more[4:], "--set", f"start={run / 'best.safetensors'}"]
    assert main([*wrong, "--set", "model.channels=8"]) == 2
    assert "has 4 channels, 2 blocks and degree 10, and the run 8, 2 and 10" in capsys.readouterr().err
    assert not (tmp_path / "wrong").exists()
    monkeypatch.setattr(field, "hear", lambda *_: pytest.fail("heard again"))
    assert main(["train", "field", "--run", str(run), "--resume", "--quiet"]) == 0

    capsys.readouterr()
    (tmp_path / "empty" / "mic_dev" / "dev-train-x").mkdir(parents=True)
    soundfile.write(tmp_path / "empty/mic_dev/dev-train-x/a.wav", waves(0.0, 0.0)[:, :4], SAMPLE_RATE_HZ)
    words = ["train", "field", "--run", str(tmp_path / "no"), "--scenes", "0", "--quiet"]
    assert main([*words, "--data", str(tmp_path / "empty")]) == 2
    assert "no 32-channel audio (eigen_dev)" in capsys.readouterr().err
    assert main(words) == 2
    assert "scenes=N" in capsys.readouterr().err
    with pytest.raises(InputError, match="held_out=0"):
        raise field.faults(replace(TINY, scenes=1), RunInputs(device="cpu"))[0]
    with pytest.raises(InputError, match="needs settings"):
        train(None, tmp_path / "no")
