"""``predict --system``: raw detections (made up here, no network runs) to submissions by named systems."""

from __future__ import annotations

import tomllib
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from sai_core.acoustics import features
from sai_core.annotations import read_annotations, write_dcase_csv
from sai_core.cli import main
from sai_core.dataset import Recording, demo_root, open_data_root
from sai_core.detections.raw import RawDetections
from sai_core.errors import InputError
from sai_core.inference import job, networks
from sai_core.inference.networks import CheckpointFacts
from sai_core.postprocess import System, choose_best_classes, list_systems, load_system, prepare, run_system
from sai_core.postprocess.systems import parse_system
from sai_core.workspace import with_sets, workspace
from tests.annotations.helpers import assert_same
from tests.postprocess.raws import make_raw, make_teacher

NAMES = sorted(r.name for r in open_data_root(demo_root()).recordings)


def _raw(name: str) -> RawDetections:
    raw = make_raw(NAMES.index(name), recording=name)
    heard = np.log(np.random.default_rng(0).dirichlet(np.full(14, 0.5), len(raw)) + 1e-6)
    return replace(raw, wideband=heard.astype(np.float16))


@pytest.fixture
def command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    def predict(recording: Recording, *args: object, **kwargs: object) -> RawDetections:
        return _raw(recording.name)

    facts = CheckpointFacts(tmp_path, "track A", "resnet18", False, "x", "normalised", "official", 0, {})
    monkeypatch.setattr(job, "predict_recording", predict)
    monkeypatch.setattr(job, "open_network", lambda *args, **kwargs: SimpleNamespace(needs_rgb=False))
    monkeypatch.setattr(job, "describe_checkpoint", lambda path: facts)
    monkeypatch.setattr(job, "has_field", lambda path: False)
    monkeypatch.setattr(features, "MapMaker", lambda **kwargs: None)
    monkeypatch.setenv("SAI_SYSTEMS_DIR", str(tmp_path / "mine"))
    checkpoint = tmp_path / "any.safetensors"
    checkpoint.write_bytes(b"")
    for name in NAMES:
        write_dcase_csv(make_teacher(_raw(name)), tmp_path / "teacher" / f"{name}.csv")
    split = open_data_root(demo_root()).splits[0]
    return ["predict", "--data", str(demo_root()), "--split", split, "--checkpoint", str(checkpoint), "--quiet"]


@pytest.mark.parametrize("name", [s.name for s in list_systems() if s.name != "CFAV"])
def test_every_system_by_name(command: list[str], tmp_path: Path, name: str) -> None:
    arguments = ["--system", name, "--teacher", str(tmp_path / "teacher"), "--out", str(tmp_path / "out")]
    assert main([*command, *arguments]) == 0
    for recording in NAMES:
        raw = _raw(recording)
        expected = run_system(raw, load_system(name), teacher=make_teacher(raw))
        written = read_annotations(tmp_path / "out" / f"{recording}.json")
        if len(expected):
            assert_same(written, expected)


def test_one_class_for_the_whole_set(command: list[str], tmp_path: Path) -> None:
    arguments = ["--system", "cfav", "--teacher", str(tmp_path / "teacher"), "--out", str(tmp_path / "out")]
    assert main([*command, *arguments]) == 0
    prepared = [prepare(_raw(name), teacher=make_teacher(_raw(name))) for name in NAMES]
    chosen = choose_best_classes(prepared, load_system("CFAV").settings).keep_classes
    found = [read_annotations(tmp_path / "out" / f"{name}.json").category_id for name in NAMES]
    assert np.unique(np.concatenate(found)).tolist() == list(chosen)
    assert len(chosen) == 1


def test_files_options_and_mistakes(
    command: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    out = ["--out", str(tmp_path / "out")]
    assert main([*command, *out]) == 0
    plain = read_annotations(tmp_path / "out" / f"{NAMES[0]}.json")
    assert main(["systems", "copy", "Baseline", "--quiet", "--out", str(tmp_path / "my.toml"), "--name", "My"]) == 0
    text = (tmp_path / "my.toml").read_text().replace("wrap_seam = false", "wrap_seam = true")
    (tmp_path / "my.toml").write_text(text)
    assert main([*command, *out, "--system", str(tmp_path / "my.toml")]) == 0
    assert_same(read_annotations(tmp_path / "out" / f"{NAMES[0]}.json"), plain)
    assert main([*command, *out, "--system", str(tmp_path / "my.toml"), "--min-score", "0.9"]) == 0
    assert len(read_annotations(tmp_path / "out" / f"{NAMES[0]}.json")) < len(plain)
    capsys.readouterr()
    (tmp_path / "stereo").mkdir()
    for name in NAMES:
        (tmp_path / "stereo" / f"{name}.csv").write_text("frame,class,source,azimuth,distance,onscreen\n0,1,0,9,90,1\n")
    monkeypatch.setattr("sai_core.inference.job.predict_recording", None)  # all of these are told before long work
    for arguments, message in (
        (["--system", "nobody"], "there is no such system"),
        (["--system", "TPAV"], "--teacher: TPAV needs the folder"),
        (["--system", "TPAV", "--teacher", str(tmp_path / "out")], "needs a file for each recording"),
        (["--system", "TPAV", "--teacher", str(tmp_path / "stereo")], "the header is that of DCASE 2025"),
        (["--min-score", "2"], "min_score is 2"),
    ):
        assert main([*command, *out, *arguments]) == 2
        error = capsys.readouterr().err
        assert message in error
        assert error.count("\n") == 1
    monkeypatch.setenv("RANK", "0")
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert main([*command, *out, "--system", "CFAV", "--teacher", str(tmp_path / "teacher")]) == 2
    assert "in a single process" in capsys.readouterr().err


def test_without_a_folder_a_set_is_made_in_the_workspace(
    command: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(networks, "describe_checkpoint", job.describe_checkpoint)
    assert main([*command, "--system", "FAO"]) == 0
    assert main([*command, "--system", "FAO"]) == 0  # the same again goes on
    (stored,) = workspace().sets("predictions")
    assert stored.name == "any FAO"
    assert sorted(stored.files) == NAMES
    assert (stored.facts.made_by, stored.facts.data) == ("predict", str(demo_root()))
    assert (stored.facts.checkpoint_content, stored.facts.system) == ("x", "FAO")
    assert load_system_text(stored.facts.system_toml) == load_system("FAO")
    assert [s.name for s in with_sets(open_data_root(demo_root())).prediction_sets][-1] == "any FAO"
    # another threshold gives other results: another set, never the same name for both
    assert main([*command, "--system", "FAO", "--min-score", "0.5"]) == 0
    assert main([*command, "--system", "FAO", "--floor", "0.2"]) == 0
    assert {s.name for s in workspace().sets("predictions")} == {"any FAO", "any FAO-2", "any FAO-3"}
    capsys.readouterr()
    for arguments, said in (
        (["--name", "any FAO", "--floor", "0.2"], "another floor"),
        (["--name", "x", "--out", str(tmp_path / "out")], "give one of them"),
        (["--name", "../x"], "cannot be the name of a set"),
        (["--name", "mic_dev"], "cannot be the name of a set"),
    ):
        assert main([*command, "--system", "FAO", *arguments]) == 2
        assert said in capsys.readouterr().err
    monkeypatch.setattr(job, "predict_recording", fail)
    assert main([*command, "--system", "FAO", "--name", "broken"]) == 2
    assert "broken" not in {s.name for s in workspace().sets("predictions")}
    with workspace().writing(stored):
        assert main([*command, "--system", "FAO"]) == 2
    assert "being written" in capsys.readouterr().err


def fail(*args: object, **kwargs: object) -> RawDetections:
    raise InputError("nothing to hear.")


def load_system_text(text: str) -> System:
    return parse_system(tomllib.loads(text))
