"""Nothing is written over data or inputs: the guard itself, and every verb that writes, against roots of many names."""

from __future__ import annotations

import os
import shutil
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sai_core.cli import main, verbs
from sai_core.dataset import open_data_root
from sai_core.dataset.layout import KINDS
from sai_core.dataset.outputs import check_layout_output, check_output
from sai_core.errors import InputError
from sai_core.workspace import SetFacts, workspace
from tests.figures.scenes import write_root

RECORDING = "fold4_room23_mix001"
LABEL_FOLDERS = ("labels", "labels_dev", "labels_eval", "LABELS_DEV", "Labels")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small root with labels, sounds and predictions."""
    root = tmp_path_factory.mktemp("made") / "root"
    write_root(root, n_frames=5, video_size=None)
    (root / "metadata_dev" / "dev-test-sony").mkdir(parents=True, exist_ok=True)
    (root / "metadata_dev" / "dev-test-sony" / f"{RECORDING}.csv").write_text("0,0,0,10,10,100\n")
    return root


@pytest.fixture
def root(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made, tmp_path / "root"))


def state(folder: Path) -> dict[str, tuple[bytes, int]]:
    files = [p for p in sorted(folder.rglob("*")) if p.is_file()]
    return {str(p.relative_to(folder)): (p.read_bytes(), p.stat().st_mtime_ns) for p in files}


@pytest.mark.parametrize("name", [f"{kind}{end}" for kind in KINDS for end in ("", "_dev", "_eval", "_DEV")])
def test_no_folder_of_a_known_root_is_written_into(root: Path, name: str) -> None:
    for known in (open_data_root(root), root, None):
        for output in (root / name / "x.json", root / name / "s" / "x.json", root / name.upper() / "x.json"):
            with pytest.raises(InputError, match="lies inside the data"):
                check_output(output, root=known)
        for output in (root / name, root / name / "new", root / "predictions" / ".." / name):
            with pytest.raises(InputError, match="lies inside the data"):
                check_output(output, root=known, folder=True)


def test_what_is_fine(root: Path, tmp_path: Path) -> None:
    for known in (open_data_root(root), None):
        assert check_output(root / "predictions" / "new", root=known, folder=True) == root / "predictions" / "new"
        assert check_output(root / "scores.json", root=known)
        assert check_output(tmp_path / "out" / "labels_dev" / "x.json", root=known)
    (tmp_path / "video").mkdir()
    (tmp_path / "video" / "holiday.mp4").touch()
    assert check_output(tmp_path / "video" / "new.mp4")
    with pytest.raises(InputError, match="lies inside the data"):
        check_output(tmp_path / "video" / "holiday.mp4")


def test_links_and_other_spellings_lead_nowhere(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    label = next((root / "labels_dev").rglob("*.json"))
    (tmp_path / "link").symlink_to(root / "labels_dev")
    (tmp_path / "file.json").symlink_to(label)
    os.link(label, tmp_path / "hard.json")
    monkeypatch.chdir(tmp_path)
    known = open_data_root(root)
    for output in ("link/x.json", "file.json", "hard.json", "root/predictions/../labels_dev/x.json", str(label)):
        with pytest.raises(InputError, match="lies inside the data"):
            check_output(output, root=known)
        if output != "hard.json":  # what it is a link to cannot be known without the root
            with pytest.raises(InputError, match="lies inside the data"):
                check_output(output)
        with pytest.raises(InputError, match=r"inputs of this command|lies inside the data"):
            check_output(output, inputs=[label])
    # data that are links themselves, out of folders of any name
    store = tmp_path / "store"
    (root / "labels_dev").rename(store)
    (root / "labels_dev").symlink_to(store)
    with pytest.raises(InputError, match="lies inside the data"):
        check_output(store / "x.json", root=open_data_root(root))


def test_a_root_that_is_nothing_but_label_files(root: Path, tmp_path: Path) -> None:
    flat = tmp_path / "flat"
    shutil.copytree(root / "labels_dev", flat)
    known = open_data_root(flat)
    for output in (flat / "dev-test-sony" / "x.json", next(flat.rglob("*.json"))):
        with pytest.raises(InputError, match="lies inside the data"):
            check_output(output, root=known)
    assert check_output(flat / "predictions" / "new", root=known, folder=True)


def test_labels_that_are_made_may_stand_beside_each_other(tmp_path: Path, root: Path) -> None:
    own = tmp_path / "labels" / "s"
    own.mkdir(parents=True)
    (own / "a_std.json").write_text("{}")
    assert check_output(own / "b_std.json", makes_labels=True)
    for output, makes in ((own / "a_std.json", True), (own / "b_std.json", False), (root / "labels" / "b.json", True)):
        with pytest.raises(InputError, match="lies inside the data"):
            check_output(output, makes_labels=makes)


def test_a_new_data_root_is_not_laid_over_another(root: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="lies inside the data"):
        check_layout_output(root, made_with=["manifest.json"])
    (root / "manifest.json").write_text("{}")
    assert check_layout_output(root, made_with=["manifest.json"]) == root
    assert check_layout_output(tmp_path / "new", made_with=[]) == tmp_path / "new"


@given(st.text(st.characters(exclude_categories=()), max_size=20) | st.text("~/.\0'\"", max_size=8))
def test_any_text_is_answered(text: str) -> None:
    for folder in (False, True):
        with suppress(InputError):
            check_output(text, folder=folder)


def calls(root: Path, place: Path) -> dict[str, list[list[str]]]:
    """Each verb that writes, told to write to a label file's place (or its folder)."""
    split = "dev-test-sony"
    label = str(next(root.glob(f"*/{split}/{RECORDING}*.json")))
    folder, file = str(place.parent), str(place)
    prediction = str(next((root / "predictions").rglob(f"{RECORDING}*.json")))
    audio = str(next((root / "mic_dev").rglob("*.wav")))
    csv = str(next((root / "metadata_dev").rglob("*.csv")))
    data = ["--data", str(root)]
    workspace().begin("predictions", "a set", SetFacts(), exist_ok=True)
    weights = "assets/weights/"
    detector = weights + "track_a.safetensors"
    return {
        "annotate": [["--audio", audio, "--metadata", csv, "--out", file]],
        "calibrate": [
            ["--labels", label, "--raw", str(root), *more]
            for more in (["--out", file + ".toml"], ["--quality", file + ".safetensors"])
        ],
        "compress": [
            [prediction, "--out", file],
            [prediction, "--labels", label, "--out", label],
            [prediction, "--out", prediction],
        ],
        "dataset": [[*data, f"--{kind}", to] for kind in ("csv", "json") for to in (file, label)],
        "evaluate": [
            ["--labels", label, "--predictions", prediction, "--json", to] for to in (file, label, prediction)
        ],
        "features": [[audio, "--out", file], [audio, "--out", audio]],
        "figure": [
            [*data, "--recording", RECORDING, "--frame", "0", "--predictions", prediction, "--out", file + ".pdf"],
            [*data, "--gallery", "--predictions", str(Path(prediction).parent), "--out", file + ".zip"],
        ],
        "fuse": [[prediction, label, "--out", folder]],
        "listen": [
            [*data, "--recording", RECORDING, "--azimuth", "0", "--out", file + ".wav"],
            [*data, "--recording", RECORDING, "--azimuth", "0", "--out", audio],
            [*data, "--class", "6", "--out", folder],
        ],
        "predict": [[*data, "--split", split, "--checkpoint", detector, "--out", folder]],
        "report": [[*data, "--predictions", str(Path(prediction).parent), "--out", file + ".html"]],
        "review": [
            ["queue", "--root", str(root), "--csv", file],
            ["queue", "--root", str(root), "--json", file],
            ["export", "--root", str(root), "--out", folder],
            ["log", "--root", str(root), "--out", file + ".jsonl"],
        ],
        "convert": [
            [prediction, "--to", "coco", "--out", folder],
            [label, "--to", "parquet", "--out", file],
            [label, "--to", "parquet", "--out", label],
            [label, "--to", "audacity", "--out", folder],
        ],
        "to-dcase": [[prediction, "--out", folder]],
        "sets": [["export", "a set", "--out", to] for to in (folder, folder + "/new", file + ".zip")],
        "simulate": [
            ["--out", str(root), "--recordings", "1", "--seconds", "2", "--seed", "1", "--split", split],
            ["--demo", str(root)],
        ],
        "systems": [["copy", "FAO", "--out", file + ".toml"]],
        "teacher": [[*data, "--split", split, "--out", folder]],
        "train": [
            ["uplam", "--run", folder],
            ["detector", "--config", "small_a", *data, "--run", folder],
            ["sounds", "--run", folder],
            ["listener", "--run", folder],
            ["teacher", *data, "--split", split, "--validation", split, "--run", folder],
            ["export", "--checkpoint", detector, "--out", file],
            ["export", "--checkpoint", detector, "--out", detector],
        ],
        "tune": [["--labels", label, "--raw", str(root), "--out", file + ".toml"]],
        "video": [[*data, "--recording", RECORDING, "--predictions", prediction, "--out", file + ".mp4"]],
    }


READS_ONLY = {"app", "doctor", "cache", "settings"}
"""Verbs that write no file of the user's choice."""


def test_every_verb_is_tried(root: Path) -> None:
    assert set(calls(root, root / "x")) | READS_ONLY == set(verbs())


@pytest.mark.parametrize("name", LABEL_FOLDERS)
@pytest.mark.parametrize("verb", sorted(set(verbs()) - READS_ONLY))
def test_no_verb_writes_over_data(root: Path, verb: str, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    if name != "labels_dev":
        (root / "labels_dev").rename(root / name)
    place = next((root / name).rglob("*.json"))
    weights = Path("assets/weights/track_a.safetensors")
    before, size = state(root), weights.stat()
    for call in calls(root, place)[verb]:
        assert main([verb, *call]) == 2, call
        said = capsys.readouterr().err.strip()
        assert "lies inside the data" in said or "one of the inputs" in said, (call, said)
        assert state(root) == before, call
    assert weights.stat().st_mtime_ns == size.st_mtime_ns


def test_a_place_that_may_not_be_written_is_told_before_work_begins(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed = tmp_path / "closed"
    closed.mkdir()
    allowed = os.access
    # the superuser, as whom tests may run, may write everywhere
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path) != closed and allowed(path, mode))
    for path, folder in ((closed / "a.json", False), (closed / "new" / "deep" / "a.json", False), (closed, True)):
        with pytest.raises(InputError, match=f"{closed} may not be written"):
            check_output(path, folder=folder)
    assert check_output(tmp_path / "a.json") == tmp_path / "a.json"
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="is a file; give another folder"):
        check_output(tmp_path / "file" / "a.json")
