"""``python -m sai_core evaluate``: files found by name, the table, the JSON, exit codes."""

from __future__ import annotations

import gzip
import json
import shutil
from pathlib import Path

import pytest

from sai_core.cli import main
from sai_core.metrics import evaluate
from sai_core.metrics.evaluation.discovery import find_pairs
from sai_core.metrics.reading.report import evaluation_table
from tests.metrics.helpers import FIXTURES, made_up_recording

NAMES = ("concave_hole", "seam", "tp_order")


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    labels, predictions = tmp_path / "labels_dev", tmp_path / "system"
    for k, name in enumerate(NAMES):
        inner = labels / f"split{k}"
        inner.mkdir(parents=True)
        shutil.copy(FIXTURES / f"{name}_std.json.gz", inner)
    predictions.mkdir()
    shutil.copy(FIXTURES / "concave_hole.json.gz", predictions)
    for name, target in (("seam", "seam.json"), ("tp_order", "tp_order_inference.json")):
        (predictions / target).write_bytes(gzip.decompress((FIXTURES / f"{name}.json.gz").read_bytes()))
    return labels, predictions


def _run(*arguments: object) -> int:
    return main(["evaluate", *map(str, arguments)])


def test_table_and_json_of_a_folder(
    folders: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "figures.json"
    assert _run("--labels", folders[0], "--predictions", folders[1], "--json", out) == 0
    output, _ = capsys.readouterr()
    lines = output.splitlines()
    assert lines[0] == "revision 2026-06-30 · 3 recordings"
    assert len({len(line) for line in lines[1:]}) == 1
    assert [line.split()[0] for line in lines[-2:]] == ["macro", "micro"]
    figures = json.loads(out.read_text())
    assert figures["recordings"] == list(NAMES)
    expected = evaluate(*find_pairs(*folders))
    assert figures == expected.to_json()
    assert set(figures) == {"revision", "macro", "micro", "per_class", "recordings", "left_out", "warnings"}
    assert set(figures["macro"]) == {"mAP", "AP25", "AP50", "AP75", "pearson_r"}
    assert set(figures["micro"]) == set(figures["macro"]) | {"n_labels", "n_detections", "n_pairs"}
    assert set(figures["per_class"]) == {str(c) for c in range(13)}
    assert set(figures["per_class"]["0"]) == set(figures["micro"]) | {"name"}
    assert figures["per_class"]["12"]["mAP"] is None


def test_both_revisions_stand_in_a_list(
    folders: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "deep" / "figures.json"
    arguments = ("--labels", folders[0], "--predictions", folders[1], "--json", out, "--revision")
    assert _run(*arguments, "both") == 0
    assert "revision 2026-04-02" in capsys.readouterr().out
    june, april = json.loads(out.read_text())
    assert (june["revision"], april["revision"]) == ("2026-06-30", "2026-04-02")
    assert set(april) == {"revision", "mask_mAP", "mask_AP50", "pearson_r", "distance_mape", "per_class"} | {
        "left_out",
        "warnings",
    }
    assert set(april["per_class"]["0"]) == {"AP", "AP50"}
    assert _run(*arguments, "2026-04-02", "--quiet") == 0
    assert json.loads(out.read_text()) == april
    assert capsys.readouterr() == ("", "")


def test_json_to_standard_output_is_all_there_is(
    folders: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    assert _run("--labels", folders[0], "--predictions", folders[1], "--json", "-", "--diagnostics") == 0
    output, errors = capsys.readouterr()
    json.loads(output)
    assert "class-agnostic AP" in errors
    assert "matched-class macro F1" in errors


def test_two_files_are_one_recording_whatever_their_names(folders: tuple[Path, Path], tmp_path: Path) -> None:
    out = tmp_path / "figures.json"
    label = tmp_path / "truth.json.gz"
    shutil.copy(FIXTURES / "seam_std.json.gz", label)
    assert _run("--labels", label, "--predictions", folders[1] / "seam.json", "--json", out, "--quiet") == 0
    figures = json.loads(out.read_text())
    assert figures["recordings"] == ["seam"]
    assert figures["micro"]["n_labels"] == 4
    # a file and a folder are joined by name
    assert _run("--labels", folders[0], "--predictions", folders[1] / "seam.json", "--json", out, "--quiet") == 0
    again = json.loads(out.read_text())
    assert "2 recordings (concave_hole, tp_order) without predictions" in again["warnings"][0]
    assert again | {"warnings": []} == figures


def test_labels_and_predictions_of_one_folder(capsys: pytest.CaptureFixture[str]) -> None:
    told: list[str] = []
    labels, predictions = find_pairs(FIXTURES, FIXTURES, told=told)
    assert not told  # the predictions beside the labels are none of them
    assert set(NAMES) < set(labels) == set(predictions) - {"expected"}
    assert all(path.name.endswith("_std.json.gz") for path in labels.values())
    assert not any("_std" in path.name for path in predictions.values())


def test_better_names_win_and_equals_are_refused(folders: tuple[Path, Path]) -> None:
    labels, predictions = folders
    shutil.copy(labels / "split0" / "concave_hole_std.json.gz", labels / "concave_hole.json.gz")
    shutil.copy(predictions / "seam.json", predictions / "seam_inference.json")
    told: list[str] = []
    found = find_pairs(labels, predictions, told=told)
    assert found[0]["concave_hole"].name == "concave_hole_std.json.gz"
    assert found[1]["seam"].name == "seam.json"
    assert (
        f"predictions: {predictions / 'seam.json'} is used, and {predictions / 'seam_inference.json'} is left"
        in told[0]
    )
    assert "concave_hole.json.gz of another folder is left out" in told[1]
    shutil.copytree(labels / "split1", labels / "split9")
    assert _run("--labels", labels, "--predictions", predictions) == 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--labels", "nowhere", "--predictions", "."), "there is no such file"),
        (("--labels", "empty", "--predictions", "."), "holds no"),
        (("--labels", "notes.txt", "--predictions", "."), "is no label file"),
        (("--labels", "a_std.json", "--predictions", "b.json", "--workers", "0"), "workers"),
        (("--labels", "."), "--predictions"),
    ],
)
def test_mistakes_get_one_sentence_and_exit_code_2(
    arguments: tuple[str, ...],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "notes.txt").write_text("hello")
    for name in ("a_std.json", "b.json"):
        (tmp_path / name).write_text('{"annotations": []}')
    monkeypatch.chdir(tmp_path)
    try:
        code = _run(*arguments)
    except SystemExit as stop:  # argparse
        code = int(stop.code or 0)
    assert code == 2
    errors = capsys.readouterr().err
    assert message in errors
    assert len(errors.strip().splitlines()) == 1


def test_raw_detections_beside_predictions_are_no_predictions(folders: tuple[Path, Path]) -> None:
    expected = find_pairs(*folders)
    for name in ("a.123", "b.456"):
        store = folders[1] / "raw" / name
        store.mkdir(parents=True)
        for mark in ("began.json", "store.json"):
            (store / mark).write_text("{}")
    assert find_pairs(*folders) == expected


def test_missing_predictions_are_told_and_can_be_counted(
    folders: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    labels, predictions = folders
    (predictions / "seam.json").unlink()
    out = tmp_path / "figures.json"
    assert _run("--labels", labels, "--predictions", predictions, "--json", out) == 0
    assert "warning: 1 recording (seam) without predictions" in capsys.readouterr().err
    assert _run("--labels", labels, "--predictions", predictions, "--quiet") == 0
    output, errors = capsys.readouterr()
    assert output == ""
    assert errors.startswith("warning: 1 recording (seam) without predictions")  # what was left out is never silent
    assert len(errors.splitlines()) == 1
    before = json.loads(out.read_text())
    assert _run("--labels", labels, "--predictions", predictions, "--json", out, "--count-missing", "--quiet") == 0
    after = json.loads(out.read_text())
    assert after["micro"]["n_labels"] == before["micro"]["n_labels"] + 4


def test_linked_folders_are_searched_once(folders: tuple[Path, Path], tmp_path: Path) -> None:
    root = tmp_path / "root"
    root.mkdir()
    (root / "linked").symlink_to(folders[0], target_is_directory=True)
    (root / "linked_again").symlink_to(folders[0], target_is_directory=True)
    (folders[0] / "loop").symlink_to(folders[0], target_is_directory=True)
    assert set(find_pairs(root, folders[1])[0]) == set(NAMES)


def test_table_shows_undefined_as_a_dash() -> None:
    labels, _ = made_up_recording(1, n_frames=1)
    evaluation = evaluate({}, {})
    assert " - " in evaluation_table(evaluation)
    april = evaluate({"a": labels}, {"a": labels}, revision="2026-04-02")
    assert "0.00 %" in evaluation_table(april)
