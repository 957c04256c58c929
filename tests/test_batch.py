"""Verbs on all recordings of a data root: looked at first, shared out, gone on with, one that fails is told."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from sai_core.cli import main
from sai_core.commands._batch import check_made
from sai_core.dataset import open_data_root
from sai_core.errors import EnvironmentProblem, InputError
from sai_core.files import check_space
from sai_core.workspace import with_sets, workspace

NAMES = ("fold4_room23_mix001", "fold4_room24_mix001", "fold4_room24_mix002")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Three recordings of half a second with four and 32 channels, and metadata."""
    path, rng = tmp_path / "root", np.random.default_rng(0)
    for name in NAMES:
        for folder, n in (("mic_dev", 4), ("eigen_dev", 32)):
            place = path / folder / "dev-test-sony"
            place.mkdir(parents=True, exist_ok=True)
            soundfile.write(place / f"{name}.wav", 0.1 * rng.standard_normal((12_000, n)), 24_000)
        place = path / "metadata_dev" / "dev-test-sony"
        place.mkdir(parents=True, exist_ok=True)
        (place / f"{name}.csv").write_text("frame,class,source,azimuth,elevation,distance\n1,3,0,20,10,150\n")
    return path


def _files(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*.*")) if p.is_file()}


VERBS: dict[str, list[str]] = {
    "features": ["--kind", "beamformer", "--dtype", "float32"],
    "annotate": ["--dtype", "float32"],
}


@pytest.mark.parametrize("verb", sorted(VERBS))
def test_parts_give_the_files_of_one_call(
    verb: str, root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    call = [verb, "--data", str(root), *VERBS[verb], "--quiet", "--out"]
    assert main([*call, str(tmp_path / "whole")]) == 0
    for part in ("2/2", "1/2"):
        assert main([*call, str(tmp_path / "parts"), "--shard", part]) == 0
    made = _files(tmp_path / "whole")
    assert made.keys() == _files(tmp_path / "parts").keys()
    assert len(made) == len(NAMES) + 1
    if verb == "annotate":  # archives hold the time of their making
        assert made == _files(tmp_path / "parts")
    # again: what is there is kept, what is missing is made, other settings are refused
    gone = next(path for path in sorted((tmp_path / "whole").rglob("*room24*")))
    gone.unlink()
    stamps = {p: p.stat().st_mtime_ns for p in (tmp_path / "whole").rglob("*.*") if NAMES[0] in p.name}
    assert main([*call, str(tmp_path / "whole")]) == 0
    assert gone.exists()
    assert {p: p.stat().st_mtime_ns for p in stamps} == stamps
    capsys.readouterr()
    assert main([*call, str(tmp_path / "whole"), "--dtype", "float64"]) == 2
    assert "holds results of other settings (dtype is 'float32' there and 'float64' now)" in capsys.readouterr().err


def test_labels_of_a_root_become_a_set_that_is_found_by_name(
    root: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SAI_WORKSPACE", str(tmp_path / "ws"))
    call = ["annotate", "--data", str(root), *VERBS["annotate"], "--quiet"]
    assert main([*call, "--out", str(tmp_path / "out")]) == 0
    for part in ("1/2", "2/2"):
        assert main([*call, "--name", "ours", "--shard", part]) == 0
    (stored,) = workspace().sets("labels")
    assert (stored.name, len(stored.files)) == ("ours", len(NAMES))
    assert stored.facts.recordings == tuple(f"dev-test-sony/{name}" for name in NAMES)
    made = {k: v for k, v in _files(tmp_path / "out").items() if k.endswith("_std.json")}
    assert made == {k: v for k, v in _files(stored.folder).items() if k.endswith("_std.json")}
    chosen = with_sets(open_data_root(root), labels="ours")
    assert all(r.label_path is not None and r.label_path.is_relative_to(stored.folder) for r in chosen.recordings)
    # without a name, that of the data; one that is wrong leaves no set behind
    assert main(call) == 0
    for name in NAMES:
        (root / "eigen_dev" / "dev-test-sony" / f"{name}.wav").write_bytes(b"RIFF")
    capsys.readouterr()
    assert main([*call, "--name", "wrong"]) == 2
    assert "3 things are in the way" in capsys.readouterr().err
    assert {s.name for s in workspace().sets("labels")} == {"ours", "root labels"}


def _damage(root: Path, *names: str) -> None:
    for folder in ("mic_dev", "eigen_dev"):
        for name in names:
            (root / folder / "dev-test-sony" / f"{name}.wav").write_bytes(b"RIFF")


@pytest.mark.parametrize("verb", sorted(VERBS))
def test_all_faults_are_told_before_the_others_are_begun(
    verb: str, root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SAI_WORKSPACE", str(tmp_path / "ws"))
    _damage(root, *NAMES[:2])
    out = tmp_path / "out"
    call = [verb, "--data", str(root), *VERBS[verb], "--out", str(out)]
    assert main([*call, "--stop-at-first-error"]) == 2
    said = capsys.readouterr().err
    assert "2 things are in the way" in said
    assert all(name in said for name in NAMES[:2])
    assert not out.exists()
    # without that, the third is made, after both were told
    assert main(call) == 2
    printed = capsys.readouterr()
    places = [printed.err.index(text) for text in (f"failed: {NAMES[0]}: ", f"failed: {NAMES[1]}: ", "3/3")]
    assert places == sorted(places)
    assert printed.err.count("failed: ") == 2
    assert printed.out == f"{out}: 1 of 3 recordings made\n"
    assert f"2 of 3 recordings failed ({NAMES[0]}, {NAMES[1]}); what was made is kept" in printed.err
    assert [path.name.split(".")[0].removesuffix("_std") for path in out.rglob("fold*")] == [NAMES[2]]
    # each fault is told by one part; a part that can do nothing says so
    assert main([*call, "--shard", "1/3"]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert NAMES[0] in printed.err
    assert NAMES[1] not in printed.err
    assert main([*call, "--shard", "3/3"]) == 0
    _damage(root, NAMES[2])
    assert main([*call[:-1], str(tmp_path / "none")]) == 2
    assert "3 things are in the way, and nothing was begun" in capsys.readouterr().err
    assert not (tmp_path / "none").exists()


def test_a_label_set_takes_the_recordings_that_can_be_labelled(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SAI_WORKSPACE", str(tmp_path / "ws"))
    _damage(root, NAMES[0])
    call = ["annotate", "--data", str(root), *VERBS["annotate"], "--name", "ours", "--quiet"]
    assert main([*call, "--stop-at-first-error"]) == 2
    assert not workspace().sets("labels")
    assert main(call) == 2
    assert f"1 of 3 recordings failed ({NAMES[0]})" in capsys.readouterr().err
    (stored,) = workspace().sets("labels")
    assert len(stored.files) == 2


def test_a_recording_that_fails_is_told_and_the_others_are_made(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from sai_core.acoustics import features

    real: Any = features.extract

    def extract(audio: Path, **options: Any) -> Any:
        if NAMES[1] in str(audio):
            raise InputError(f"{audio}: breaks in the middle.")
        return real(audio, **options)

    monkeypatch.setattr(features, "extract", extract)
    call = ["features", "--data", str(root), *VERBS["features"], "--quiet", "--out", str(tmp_path / "out")]
    assert main(call) == 2
    said = capsys.readouterr().err
    assert "breaks in the middle" in said
    assert f"1 of 3 recordings failed ({NAMES[1]}); what was made is kept" in said
    assert len(list((tmp_path / "out").rglob("*.npz"))) == 2
    assert main([*call[:-1], str(tmp_path / "stopped"), "--stop-at-first-error"]) == 2
    assert [path.stem for path in (tmp_path / "stopped").rglob("*.npz")] == [NAMES[0]]
    monkeypatch.setattr(features, "extract", real)
    assert main(call) == 0
    assert len(list((tmp_path / "out").rglob("*.npz"))) == 3


def test_room_is_looked_for_before_the_work(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    usage = shutil.disk_usage(tmp_path)
    check_space(tmp_path / "not" / "there", usage.free / 2, "half of it")
    monkeypatch.setattr("sai_core.files.shutil.disk_usage", lambda path: usage._replace(free=20_000))
    with pytest.raises(EnvironmentProblem, match=r"it will take about 3\.0 GB, and 0\.0 MB are free there"):
        check_space(tmp_path / "not" / "there", 3e9, "it")
    assert main(["features", "--data", str(root), *VERBS["features"], "--out", str(tmp_path / "out")]) == 1
    assert "3 results will take about" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_damaged_note_of_settings_is_a_sentence(tmp_path: Path) -> None:
    assert check_made(tmp_path, {"a": 1}) == ""
    (tmp_path / "settings.txt").write_text("[1, 2")
    assert "cannot be read as the settings" in check_made(tmp_path, {"a": 1})


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["features", "--out", "x"], "Give either one AUDIO file"),
        (["features", "a.wav", "--out", "x.npz", "--shard", "1/2"], "give --data"),
        (["annotate", "--audio", "a.wav"], "Give --audio and --metadata"),
        (["annotate", "--data", "x", "--raw", "r", "--out", "o"], "--raw: not with --data"),
    ],
)
def test_options_that_do_not_fit(arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments) == 2
    assert message in capsys.readouterr().err
