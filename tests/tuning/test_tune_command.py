"""The verb ``tune`` from the command line."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from sai_core.cli import main
from sai_core.postprocess import load_system
from sai_core.postprocess.systems import system_toml, systems_folders
from sai_core.workspace import SetFacts, workspace
from tests.tuning.stand_in import write_root


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_root(tmp_path_factory.mktemp("tune") / "root", n_recordings=2, n_frames=20, per_frame=20)


def call(root: Path, *more: str) -> int:
    return main(["tune", "--labels", str(root / "labels_dev"), "--raw", str(root / "predictions/stand-in-raw"), *more])


def test_tuned_system_and_json(root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "mine.toml"
    assert call(root, "--out", str(out), "--json", "--quiet", "--seed", "2") == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed["seed"] == 2
    assert printed["system"] == "Baseline"
    assert len(printed["searched"]["names"]) == len(printed["held_out"]["names"]) == 1
    tuned = load_system(out)
    assert tuned.name == "mine"
    assert {str(c): t for c, t in tuned.settings.min_score_per_class.items()} == printed["thresholds"]
    # tuning goes on from the file
    assert call(root, "--system", str(out), "--quiet") == 0


def test_table(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert call(root, "--recording", "fold4_room23_mix001", "--objective", "F1") == 0
    captured = capsys.readouterr()
    assert "second half of the recording, which the search did not see" in captured.out
    assert "revision 2026-06-30" in captured.out
    assert "tune" in captured.err


@pytest.mark.parametrize(
    ("more", "says"),
    [
        (("--out", "x.json"), "must end in .toml"),
        (("--system", "TPAV"), "needs a teacher"),
        (("--system", "nobody"), "no such system"),
        (("--recording", "nobody"), "has no raw detections"),
    ],
)
def test_mistakes_are_one_sentence(
    root: Path, more: tuple[str, ...], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call(root, *more) == 2
    error = capsys.readouterr().err
    assert says in error
    assert "Traceback" not in error


def test_all_faults_are_told_before_the_search(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    labels = sorted(path for path in (root / "labels_dev").rglob("*") if path.is_file())
    texts = [path.read_bytes() for path in labels]
    try:
        for path in labels:
            path.write_bytes(b"[1, 2]")
        assert call(root, "--recording", "nobody") == 2
        assert "nobody: has no raw detections" in capsys.readouterr().err
        assert call(root) == 2
    finally:
        for path, text in zip(labels, texts, strict=True):
            path.write_bytes(text)
    said = capsys.readouterr().err
    assert said.count("the top level is a list") == len(labels) > 1
    assert f"{len(labels)} things are in the way" in said


def test_no_raw_detections(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["tune", "--labels", str(root / "labels_dev"), "--raw", str(root / "labels_dev")]) == 2
    assert "predict" in capsys.readouterr().err


def test_a_set_of_the_workspace_is_tuned_from_its_own_system_and_kept_there(
    root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fao = load_system("FAO")
    mine = fao.with_settings(replace(fao.settings, min_score=0.21), name="Mine")
    facts = SetFacts(made_by="predict", data=str(root), system="Mine", system_toml=system_toml(mine))
    stored = workspace().begin("predictions", "seen", facts)
    shutil.copytree(root / "predictions/stand-in-raw/raw", stored.raw_folder)
    labels = workspace().begin("labels", "corrected", SetFacts(data=str(tmp_path)))
    shutil.copytree(root / "labels_dev", labels.folder, dirs_exist_ok=True)
    by_name = [
        "tune",
        "--labels",
        "corrected",
        "--raw",
        "seen",
        "--json",
        "--quiet",
        "--recording",
        "fold4_room23_mix001",
    ]
    assert main([*by_name, "--name", "Mine tuned"]) == 0
    said = capsys.readouterr()
    assert json.loads(said.out)["system"] == "Mine"
    assert f"labels of {tmp_path}" in said.err
    tuned = load_system("mine tuned", folder=systems_folders())
    assert tuned.settings.min_score == 0.21
    assert (workspace().folder("systems") / "Mine tuned.toml").is_file()
    for name, words in (("Mine tuned", "already"), ("fao", "already"), ("a/b", "name is 'a/b'")):
        assert main([*by_name, "--name", name]) == 2
        assert words in capsys.readouterr().err
    assert [p.name for p in workspace().folder("systems").iterdir()] == ["Mine tuned.toml"]


@pytest.mark.parametrize("verb", ["tune", "calibrate"])
def test_a_recording_that_is_damaged_further_behind_is_told_and_the_others_are_searched(
    verb: str, root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    copy = tmp_path / "root"
    shutil.copytree(root, copy)
    first, second = sorted(path for path in (copy / "labels_dev").rglob("*.json") if path.is_file())
    words = ["--raw", str(copy / "predictions/stand-in-raw"), "--json", "--quiet"]
    first.write_text(first.read_text()[:-30])
    assert main([verb, "--labels", str(copy / "labels_dev"), *words]) == 2
    captured = capsys.readouterr()
    [failure] = json.loads(captured.out)["failures"]
    assert failure["recording"] == "fold4_room23_mix001"
    assert f"error: {failure['recording']}: {failure['error']}" in captured.err
    second.write_text(second.read_text()[:-30])
    assert main([verb, "--labels", str(copy / "labels_dev"), *words]) == 2
    assert "None of the 2 recordings can be used; the first: " in capsys.readouterr().err
