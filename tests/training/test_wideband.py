"""Training of the wideband listener: turns and sums of scenes are what they stand for, and classes are learned."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from itertools import permutations
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from sai_core.annotations import DcaseMetadata, write_dcase_csv
from sai_core.checkpoints import read_metadata
from sai_core.cli import main
from sai_core.detector.config import WidebandConfig
from sai_core.detector.wideband import load_wideband, windows_of
from sai_core.errors import InputError, SaiError
from sai_core.geometry import directions_to_vectors, great_circle_deg, uplam_capsules_deg, vectors_to_directions
from sai_core.progress import no_progress
from sai_core.runs.kinds import RunInputs
from sai_core.training import wideband
from sai_core.training.config import WidebandTraining

TINY = WidebandTraining(
    scenes=0, epochs=1, steps=2, frames=2, held_out=0.5, seconds=2.0, threads=1, model=WidebandConfig(width=2)
)


def scene(seed: int, *, at_deg: float = 40.0, category: int = 3, frames: int = 12) -> wideband.HeardScene:
    """Noise from four capsules with a source beside it, so that covariances are of full rank."""
    rng = np.random.default_rng(seed)
    samples = 0.1 * rng.standard_normal((frames * 2400, 4)) + 0.2 * rng.standard_normal((frames * 2400, 1))
    n = np.arange(frames, dtype=np.int32)
    metadata = DcaseMetadata(
        n, np.full(frames, category, np.int16), np.zeros(frames, np.int64), np.full(frames, at_deg), np.zeros(frames),
        np.full(frames, 100.0), "made_up",
    )  # fmt: skip
    return wideband.hear(wideband._Held(samples), metadata, "synthesised")


def write_root(root: Path, n: int = 3) -> Path:
    for k in range(n):
        name = f"fold1_room1_mix00{k}"
        for kind in ("mic_dev", "metadata_dev"):
            (root / kind / "dev-train-x").mkdir(parents=True, exist_ok=True)
        audio = 0.1 * np.random.default_rng(k).normal(size=(8 * 2400, 4))
        soundfile.write(root / "mic_dev" / "dev-train-x" / f"{name}.wav", audio, 24_000)
        if k < 2:
            frames = np.arange(8, dtype=np.int32)
            metadata = DcaseMetadata(
                frames, np.full(8, k, np.int16), np.zeros(8, np.int64), np.full(8, 60.0), np.zeros(8),
                np.full(8, 150.0), name,
            )  # fmt: skip
            write_dcase_csv(metadata, root / "metadata_dev" / "dev-train-x" / f"{name}.csv")
    return root


def test_a_turned_scene_is_heard_as_a_scene_that_was_turned() -> None:
    turns = wideband.array_turns()
    assert len(turns) == 12
    four = directions_to_vectors(*uplam_capsules_deg())
    sound = torch.from_numpy(scene(1).window(4))[None]
    place = torch.zeros(1, dtype=torch.int64)
    plain = windows_of(sound, place, [35.0], [20.0])
    seen = set()
    for order, turn in turns:
        seen.add(tuple(order.tolist()))
        # the direction of what capsule j heard is where the capsule is that hears it now
        moved = four @ turn.T
        there = great_circle_deg(*vectors_to_directions(moved), *vectors_to_directions(four[np.argsort(order)]))
        assert there.max() < 1.0
        (azimuth,), (elevation,) = vectors_to_directions(
            directions_to_vectors(np.array([35.0]), np.array([20.0])) @ turn.T
        )
        found = windows_of(wideband.turned(sound, order), place, [azimuth], [elevation])
        # 20 dB are 1; the capsules fit to half a degree
        assert float((found - plain).abs().mean()) < 0.02
    assert len(seen) == 12


def test_turns_are_those_that_fit_the_capsules_best_in_the_order_that_seeds_draw_them() -> None:
    four = directions_to_vectors(*uplam_capsules_deg())
    best = []
    for places in permutations(range(4)):
        left, _, right = np.linalg.svd(four[list(places)].T @ four)
        if np.linalg.det(left @ right) > 0:
            best.append((np.argsort(places), left @ right))
    for (order, turn), (expected, fitted) in zip(wideband.array_turns(), best, strict=True):
        assert order.dtype == np.int64
        np.testing.assert_array_equal(order, expected)
        np.testing.assert_allclose(turn, fitted, atol=1e-14)


def test_windows_of_a_scene_are_those_of_the_recording() -> None:
    heard = scene(2, frames=10)
    assert len(heard) == 10
    assert heard.window(9).shape == (100, 64, 16)
    assert float(heard.matrices[..., ::5].astype(np.float32).mean()) == pytest.approx(1.0, rel=1e-2)
    # one second before the first frame there is silence
    assert (heard.window(0)[:40] == 0).all()
    assert (heard.window(0)[60:] != 0).any()


def test_what_is_to_be_heard_in_a_direction() -> None:
    sources = [(2, 0.0, 0.0), (5, 10.0, 0.0), (2, 90.0, 0.0)]
    assert wideband.target_of(2.0, 0.0, sources)[[2, 5]].tolist() == [0.5, 0.5]
    assert wideband.target_of(88.0, 0.0, sources)[2] == 1.0
    assert wideband.target_of(-120.0, 0.0, sources)[13] == 1.0
    assert wideband.target_of(0.0, 0.0, [])[13] == 1.0


def test_batches_are_a_function_of_the_draw_and_hold_both_scenes() -> None:
    drawn = wideband.Drawn([scene(1, at_deg=40.0, category=3), scene(2, at_deg=-100.0, category=8)], TINY)
    windows, targets = drawn.batch(np.random.default_rng(4))
    again, same = drawn.batch(np.random.default_rng(4))
    assert torch.equal(windows, again)
    assert torch.equal(targets, same)
    assert windows.shape[1:] == (3, 50, 64)
    assert torch.allclose(targets.sum(dim=1), torch.ones(len(targets)))
    many = torch.cat([drawn.batch(np.random.default_rng(k))[1] for k in range(30)])
    assert set(many.argmax(dim=1).tolist()) == {3, 8, 13}
    seen, labels = drawn.measured(0)
    assert len(seen) == len(labels) > 3
    assert set(labels.tolist()) == {3, 13}


def test_the_verb_learns_from_recordings_with_metadata(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run, root = tmp_path / "run", write_root(tmp_path / "root")
    with open(root / "metadata_dev" / "dev-train-x" / "fold1_room1_mix001.csv", "a") as stream:
        stream.write("8,1,0,60,0,150\n")
    words = ["train", "wideband", "--run", str(run), "--scenes", "0", "--data", str(root), "--device", "cpu", "--quiet"]
    changes = ("epochs=2", "steps=2", "frames=2", "held_out=0.5", "model.width=2")
    assert main([*words, *(word for change in changes for word in ("--set", change))]) == 0
    told = capsys.readouterr().err
    assert "1 recording of --data left out" in told
    assert (
        "1 annotation of the metadata lies after the end of fold1_room1_mix001 (8 frames; the last in frame 8)" in told
    )
    rows = list(csv.DictReader((run / "metrics.csv").read_text().splitlines()))
    assert [row["kind"] for row in rows] == ["train", "validation"] * 2
    assert 0 <= float(rows[1]["data"]) <= 1
    assert rows[1]["synthesised"] == ""
    notes = read_metadata(run / "best.safetensors")
    assert json.loads(notes["heard"]) == {"synthesised": 0, "recorded": 0, "data": 2}
    assert load_wideband(run / "best.safetensors").config.width == 2


def test_what_measures_is_of_both_styles_and_of_every_origin() -> None:
    bare = scene(1, frames=2)
    # style and origin of a scene are by its number, as hear_scene draws them
    rows = [replace(bare, origin="recorded" if k % 2 else "synthesised") for k in range(400)]
    number = {id(row): k for k, row in enumerate(rows)}
    config = replace(TINY, held_out=0.1)
    taught, held = wideband.split(rows, config)
    assert len(held) == 40
    assert sorted(number[id(row)] for row in taught + held) == list(range(400))
    for origin in ("synthesised", "recorded"):
        real = [number[id(row)] % 4 >= 2 for row in held if row.origin == origin]
        assert len(real) == 20
        assert 5 <= sum(real) <= 15
    again = wideband.split(rows, config)[1]
    assert list(map(id, again)) == list(map(id, held))
    other = wideband.split(rows, replace(config, seed=1))[1]
    assert list(map(id, other)) != list(map(id, held))


def test_a_root_given_twice_and_sounds_that_no_scene_plays_are_refused(tmp_path: Path) -> None:
    root = write_root(tmp_path / "root")
    (error,) = wideband.faults(TINY, RunInputs(data_roots=(root, root), device="cpu"))
    assert "given twice" in str(error)
    sounds = RunInputs(data_roots=(root,), device="cpu", options={"--sounds": str(tmp_path)})
    (error,) = wideband.faults(TINY, sounds)
    assert "every other simulated scene" in str(error)


def test_a_run_goes_on_with_the_sounds_that_it_began_with(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name, category in (("first", "bell"), ("same", "bell"), ("second", "knock")):
        (tmp_path / name / category).mkdir(parents=True)
        tone = 0.1 * np.sin(2 * np.pi * 900 * np.arange(12_000) / 24_000)
        soundfile.write(tmp_path / name / category / "a.wav", tone, 24_000)
    run = tmp_path / "run"
    changes = ("scenes=2", "seconds=2", "epochs=1", "steps=1", "frames=2", "held_out=0.5", "model.width=2")
    words = ["train", "wideband", "--run", str(run), "--device", "cpu", "--quiet"]
    given = ["--sounds", str(tmp_path / "first")]
    assert main([*words, *given, *(word for change in changes for word in ("--set", change))]) == 0
    before = (run / "config.json").read_bytes()
    capsys.readouterr()
    assert main([*words, "--resume", "--sounds", str(tmp_path / "second")]) == 2
    refused = capsys.readouterr().err
    assert "--resume goes on with the sounds that the run began with" in refused
    assert str(tmp_path / "first") in refused
    assert (run / "config.json").read_bytes() == before
    for same in ([], given, ["--sounds", str(tmp_path / "same")]):
        assert main([*words, "--resume", *same]) == 0
        assert capsys.readouterr().err == ""
    (tmp_path / "first").rename(tmp_path / "away")
    assert main([*words, "--resume", "--sounds", str(tmp_path / "same")]) == 0
    assert "are not there any more; it goes on with those of" in capsys.readouterr().err


def test_a_run_without_recorded_sounds_takes_none_later(tmp_path: Path) -> None:
    run, root = tmp_path / "run", write_root(tmp_path / "root", 2)
    inputs = RunInputs(data_roots=(root,), device="cpu")
    wideband.train_run(TINY, run, inputs, resume=False, progress=no_progress, say=print)
    later = replace(inputs, options={"--sounds": str(tmp_path)})
    with pytest.raises(InputError, match="began without recorded sounds"):
        wideband.train_run(None, run, later, resume=True, progress=no_progress, say=print)


def test_mistakes_are_told_before_a_folder_is_made(tmp_path: Path) -> None:
    assert any("nothing to learn from" in str(e) for e in wideband.faults(TINY, RunInputs()))
    (tmp_path / "empty").mkdir()
    some = WidebandTraining(scenes=2, model=WidebandConfig(width=2))
    assert wideband.faults(some, RunInputs(device="cpu")) == []
    (error,) = wideband.faults(some, RunInputs(device="cpu", options={"--sounds": str(tmp_path / "empty")}))
    assert isinstance(error, SaiError)
    started = WidebandTraining(scenes=2, start="assets/weights/field.safetensors")
    assert any("not a wideband listener" in str(e) for e in wideband.faults(started, RunInputs(device="cpu")))


def test_it_learns_what_is_different_by_its_spectrum() -> None:
    """Two classes, one that hisses and one that hums, from two directions: told apart after some steps."""
    rng = np.random.default_rng(0)
    scenes = []
    for k in range(4):
        category = k % 2
        noise = rng.standard_normal(20 * 2400)
        sound = np.diff(noise, prepend=0.0) if category else np.convolve(noise, np.full(24, 1 / 24), "same")
        samples = sound[:, None] * rng.uniform(0.5, 1.0, 4) + 0.01 * rng.standard_normal((20 * 2400, 4))
        n = np.arange(20, dtype=np.int32)
        columns = (np.full(20, category, np.int16), np.zeros(20, np.int64), np.full(20, 90.0 * k - 100), np.zeros(20))
        scenes.append(
            wideband.hear(wideband._Held(samples), DcaseMetadata(n, *columns, np.full(20, 100.0), "x"), "data")
        )
    config = WidebandTraining(scenes=0, mixed=0.0, frames=8, model=WidebandConfig(width=4))
    drawn = wideband.Drawn(scenes, config)
    torch.manual_seed(0)
    network = wideband.WidebandNetwork(config.model)
    optimiser = torch.optim.AdamW(network.parameters(), lr=5e-3)
    for step in range(30):
        windows, targets = drawn.batch(np.random.default_rng(step))
        loss = torch.nn.functional.cross_entropy(network(windows), targets)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    network.eval()
    for k in range(4):
        windows, labels = drawn.measured(k)
        here = labels != 13
        with torch.no_grad():
            classes = network(windows)[here, :2].argmax(dim=1).numpy()
        assert (classes == labels[here]).mean() > 0.9
