"""What the listener learns from: sounds as a beam gives them, drawn anew at each step, from where they say they are."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile

from sai_core.cli import main
from sai_core.listener.network import load_listener
from sai_core.listener.spectrum import COLUMNS, N_BANDS
from sai_core.runs.kinds import FieldError, RunInputs
from sai_core.training import listener, listener_sounds
from sai_core.training.config import ListenerSettings
from sai_core.training.listener_sounds import NOTHING, Clips, Windows, kept, make_scene, parts_of

SMALL = ListenerSettings(synthesised=2, clip_s=1, scenes=1, scene_s=2, held_out=0.5, measured=14, width=2)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Recordings: a tone of 3 kHz as bells of two packages, one of 300 Hz as knocks."""
    base = tmp_path_factory.mktemp("sounds")
    for place, frequency in (("bell/one", 3000), ("bell/two", 3000), ("knock", 300)):
        (base / place).mkdir(parents=True)
        tone = 0.1 * np.sin(2 * np.pi * frequency * np.arange(12_000) / 24_000)
        soundfile.write(base / place / "a.wav", tone, 24_000)
    return base


def test_parts_are_made_once_and_again_where_a_file_is_another(folder: Path, tmp_path: Path, monkeypatch) -> None:
    parts = list(parts_of(SMALL, folder))
    assert [part.origin for part in parts].count("synthesised") == 13
    recorded = [part for part in parts if part.origin == "recorded"]
    clips = [kept(part, tmp_path) for part in recorded]
    assert [(c.label.tolist(), c.package) for c in clips] == [([11, 11], ("one", "two")), ([12], ("",))]
    bell, knock = (c.power(0).mean(axis=0).argmax() for c in clips)
    assert bell > knock + 20
    monkeypatch.setattr(listener_sounds, "make_recorded", lambda *_: pytest.fail("made again"))
    again = [kept(part, tmp_path) for part in parts_of(SMALL, folder) if part.origin == "recorded"]
    np.testing.assert_array_equal(again[0].level_db, clips[0].level_db)
    other = [part for part in parts_of(replace(SMALL, seed=1), folder) if part.origin == "recorded"]
    with pytest.raises(pytest.fail.Exception, match="made again"):
        kept(other[0], tmp_path)
    torn = next(tmp_path.glob("recorded_*"))
    torn.write_bytes(torn.read_bytes()[:100])
    with pytest.raises(pytest.fail.Exception, match="made again"):
        [kept(part, tmp_path) for part in parts_of(SMALL, folder) if part.origin == "recorded"]


def test_windows_are_those_of_their_seed_and_nothing_has_its_share(folder: Path, tmp_path: Path) -> None:
    clips = {
        origin: Clips.join([kept(part, tmp_path) for part in parts_of(SMALL, folder) if part.origin == origin])
        for origin in ("synthesised", "recorded")
    }
    before = clips["recorded"].level_db.copy()
    windows = Windows(clips, SMALL)
    (x, y), (x2, y2) = (windows.batch(np.random.default_rng(4), 400) for _ in range(2))
    np.testing.assert_array_equal(x, x2)
    np.testing.assert_array_equal(y, y2)
    assert x.shape == (400, COLUMNS, N_BANDS)
    assert x.dtype == np.float32
    assert np.isfinite(x).all()
    np.testing.assert_array_equal(clips["recorded"].level_db, before)
    counts = np.bincount(y, minlength=14)
    assert 20 < counts[NOTHING] < 60  # a tenth
    assert (counts[:13] > 10).all()  # every class as often, however many files it has
    _, only = windows.batch(np.random.default_rng(5), 60, origin="recorded")
    assert set(only) == {11, 12}


def test_a_scene_gives_its_events_and_a_direction_where_nothing_is() -> None:
    made, again = (make_scene(1, None, SMALL) for _ in range(2))
    np.testing.assert_array_equal(made.level_db, again.level_db)
    assert NOTHING in made.label
    assert (made.label < NOTHING).any()


def test_a_run_with_recordings_says_what_it_learned_from(folder: Path, tmp_path: Path, capsys) -> None:
    (folder / "bell" / "one" / "broken.wav").write_bytes(b"RIFF")
    run = tmp_path / "run"
    values = ("synthesised=2", "clip_s=1", "scenes=0", "epochs=1", "steps=2", "batch=4", "width=2", "held_out=0.5")
    words = [w for value in (*values, "measured=14") for w in ("--set", value)]
    assert main(["train", "listener", "--sounds", str(folder), "--run", str(run), "--quiet", *words]) == 0
    told = capsys.readouterr()
    assert "are heard as their class" in told.out
    assert "1 recording left out; the first:" in told.err
    assert "broken.wav" in told.err
    _, notes = load_listener(run / "best.safetensors")
    assert json.loads(notes["packages"]) == ["one", "two"]
    assert notes["recorded_files"] == "3"
    assert notes["learned_from"] == "synthesised sounds and recordings of 2 packages"
    assert json.loads(notes["settings"])["seed"] == ListenerSettings().seed
    more = [w for value in (*values, f"start='{run / 'best.safetensors'}'", "measured=14") for w in ("--set", value)]
    assert main(["train", "listener", "--run", str(tmp_path / "more"), "--quiet", *more]) == 0
    again = ["train", "listener", "--resume", "--quiet", "--run"]
    capsys.readouterr()
    # of the same recordings another place is no other sounds; others are refused, as are any where there were none
    shutil.copytree(folder, tmp_path / "copy")
    assert main([*again, str(run), "--sounds", str(tmp_path / "copy")]) == 0
    (tmp_path / "copy" / "knock" / "a.wav").unlink()
    capsys.readouterr()
    assert main([*again, str(run), "--sounds", str(tmp_path / "copy")]) == 2
    assert "--resume goes on with the sounds that the run began with" in capsys.readouterr().err
    assert main([*again, str(tmp_path / "more"), "--sounds", str(folder)]) == 2
    assert "began without recorded sounds" in capsys.readouterr().err


def test_what_cannot_be_learned_from_is_told_before_a_run(tmp_path: Path) -> None:
    gone = RunInputs(options={"--sounds": str(tmp_path / "gone")})
    (error,) = listener.faults(SMALL, gone)
    assert isinstance(error, FieldError)
    assert error.field == "--sounds"
    assert "no such folder of sounds" in str(error)
    none = tmp_path / "none.safetensors"
    none.write_bytes(b"")
    (error,) = listener.faults(replace(SMALL, start=str(none)), RunInputs())
    assert isinstance(error, FieldError)
    assert error.field == "overrides"
