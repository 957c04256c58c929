"""``python -m sai_core evaluate``: files found by name, the table, the JSON, exit codes."""

from __future__ import annotations

import gzip
import json
import shutil
import zlib
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from sai_core.annotations import write_label_json, write_submission_json
from sai_core.cli import main
from sai_core.metrics import evaluate, score_recording
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
    assert set(figures) == {
        *("revision", "macro", "micro", "per_class", "recordings", "left_out", "warnings", "failures")
    }
    assert set(figures["macro"]) == {"mAP", "AP25", "AP50", "AP75", "pearson_r"}
    assert set(figures["micro"]) == set(figures["macro"]) | {"n_labels", "n_detections", "n_pairs"}
    assert set(figures["per_class"]) == {str(c) for c in range(13)}
    assert set(figures["per_class"]["0"]) == set(figures["micro"]) | {"name"}
    assert figures["per_class"]["12"]["mAP"] is None


def test_a_full_disk_is_told_before_anything_is_computed(
    folders: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "figures.json"
    monkeypatch.setattr("shutil.disk_usage", lambda folder: SimpleNamespace(free=5000))
    monkeypatch.setattr("sai_core.metrics.evaluate_revisions", lambda *_, **__: pytest.fail("computes"))
    assert _run("--labels", folders[0], "--predictions", folders[1], "--json", out) == 1
    assert capsys.readouterr().err.startswith(f"error: {out}: the figures will take about 0.1 MB, and 0.0 MB are free")


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
        "failures",
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
    labels, predictions = find_pairs(FIXTURES, FIXTURES, notes=told)
    assert not told  # the predictions beside the labels are none of them
    assert set(NAMES) < set(labels) == set(predictions) - {"expected"}
    assert all(path.name.endswith("_std.json.gz") for path in labels.values())
    assert not any("_std" in path.name for path in predictions.values())


def test_better_names_win_and_equals_are_refused(folders: tuple[Path, Path]) -> None:
    labels, predictions = folders
    shutil.copy(labels / "split0" / "concave_hole_std.json.gz", labels / "concave_hole.json.gz")
    shutil.copy(predictions / "seam.json", predictions / "seam_inference.json")
    told: list[str] = []
    found = find_pairs(labels, predictions, notes=told)
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
        (("--labels", "notes.txt", "--predictions", "."), "is not a label file"),
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


def _cut_off(path: Path) -> None:
    """A file that begins as it should."""
    path.write_bytes(path.read_bytes()[:-20])


def test_what_is_wrong_with_files_is_told_at_once_before_anything_is_computed(
    folders: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    labels, predictions = folders
    (labels / "split1" / "seam_std.json.gz").write_bytes(b"")
    (predictions / "seam.json").write_text("version https://git-lfs.github.com/spec/v1")
    for name in ("concave_hole.json.gz", "tp_order_inference.json"):
        (predictions / name).unlink()
    for name in ("concave_hole", "tp_order"):
        (predictions / f"{name}.json").write_bytes(b'{"annotations": []' + b" " * (20 << 20) + b"}")
    monkeypatch.setattr("sai_core.metrics.evaluation.evaluate.score_recording", None)
    assert _run("--labels", labels, "--predictions", predictions, "--json", predictions / "seam.json") == 2
    output, errors = capsys.readouterr()
    assert output == ""
    first, *lines = errors.splitlines()
    assert first == "error: 4 things are in the way, and nothing was begun:"
    for line, words in zip(
        lines,
        (["seam.json", "inputs"], ["seam_std", "the file is empty"], ["seam.json", "not JSON"], ["2 prediction files"]),
        strict=True,
    ):
        assert all(word in line for word in words), line
    assert "concave_hole.json: 20.0 MB, " in lines[-1]
    assert "tp_order.json: 20.0 MB)" in lines[-1]
    assert _run("--labels", labels, "--predictions", predictions) == 2
    assert "3 things are in the way" in capsys.readouterr().err
    stopping = ("--allow-large", "--quiet", "--stop-at-first-error")
    assert _run("--labels", labels, "--predictions", predictions, *stopping) == 2
    assert "2 things are in the way" in capsys.readouterr().err


@pytest.mark.parametrize("fault", ["cut off", "damaged inside", "too large", "label"])
def test_what_can_be_seen_beforehand_is_told_first_and_the_others_go_on(
    folders: tuple[Path, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    fault: str,
) -> None:
    labels, predictions = folders
    out = tmp_path / "figures.json"
    file = predictions / "concave_hole.json.gz"
    if fault == "cut off":
        _cut_off(file)
    elif fault == "damaged inside":
        packer = zlib.compressobj(1, zlib.DEFLATED, 31)  # far behind what is looked at, a block of no kind there is
        text = b'{"annotations": [' + b"1, " * 3_000_000
        file.write_bytes(packer.compress(text) + packer.flush(zlib.Z_FULL_FLUSH) + b"\x07" * 100)
    elif fault == "too large":
        file.write_bytes(gzip.compress(b'{"annotations": []' + b" " * (20 << 20) + b"}", 1))
    else:
        file = labels / "split0" / "concave_hole_std.json.gz"
        file.write_bytes(b"")
    arguments = ("--labels", labels, "--predictions", predictions, "--json", out)
    assert _run(*arguments, "--stop-at-first-error") == 2
    refused = capsys.readouterr()
    assert refused.out == ""
    assert str(file) in refused.err
    assert not out.exists()
    assert _run(*arguments, "--diagnostics") == 2
    output, errors = capsys.readouterr()
    first, second, *_ = errors.splitlines()
    assert first == refused.err.strip()
    assert second == "1 recording is left out; the others go on."
    assert errors.count("concave_hole") == first.count("concave_hole")
    assert "revision 2026-06-30 · 2 recordings · 1 failed" in output
    assert f"failed  concave_hole: {file}: " in output
    assert "matched-class macro F1" in output
    figures = json.loads(out.read_text())
    assert [f["recording"] for f in figures["failures"]] == ["concave_hole"]
    both = find_pairs(*folders)
    others = [{name: found[name] for name in ("seam", "tp_order")} for found in both]
    assert figures["macro"] == evaluate(*others).to_json()["macro"]


@pytest.mark.parametrize("workers", [1, 2])
def test_a_recording_that_fails_is_a_line_and_the_others_go_on(
    folders: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str], workers: int
) -> None:
    labels, predictions = folders
    out = tmp_path / "figures.json"
    _cut_off(predictions / "seam.json")
    arguments = ("--labels", labels, "--predictions", predictions, "--json", out, "--revision", "both")
    assert _run(*arguments, "--workers", workers, "--diagnostics") == 2
    output, errors = capsys.readouterr()
    assert "revision 2026-06-30 · 2 recordings · 1 failed" in output
    assert output.count(f"failed  seam: {predictions / 'seam.json'}: ends too early") == 2
    assert "matched-class macro F1" in output
    assert "1 of 3 recordings could not be scored and is left out of the figures" in errors
    assert errors.count("error: seam: ") == 1
    for figures in json.loads(out.read_text()):
        assert [f["recording"] for f in figures["failures"]] == ["seam"]
    both = find_pairs(*folders)
    others = [{name: found[name] for name in ("concave_hole", "tp_order")} for found in both]
    june = json.loads(out.read_text())[0]
    assert june["macro"] == evaluate(*others).to_json()["macro"]
    assert _run(*arguments, "--stop-at-first-error", "--workers", workers) == 2
    output, errors = capsys.readouterr()
    assert output == ""
    assert errors.strip().splitlines()[-1].startswith(f"error: {predictions / 'seam.json'}: ends too early")


def test_where_nothing_can_be_scored_there_is_no_table(
    folders: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    _cut_off(folders[1] / "seam.json")
    assert _run("--labels", folders[0], "--predictions", folders[1] / "seam.json") == 2
    output, errors = capsys.readouterr()
    assert output == ""
    assert "None of the 1 recordings could be scored; the first: " in errors


def test_what_was_finished_is_kept_and_the_next_call_does_the_rest(
    folders: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    labels, predictions = folders
    monkeypatch.setenv("SAI_CACHE_DIR", str(tmp_path / "cache"))
    whole = (predictions / "seam.json").read_bytes()
    _cut_off(predictions / "seam.json")
    arguments = ("--labels", labels, "--predictions", predictions)
    assert _run(*arguments, "--quiet") == 2
    (predictions / "seam.json").write_bytes(whole)
    scored: list[str] = []

    def counted(*tables: object, recording: str, **options: object) -> object:
        scored.append(recording)
        return score_recording(*tables, recording=recording, **options)  # type: ignore[arg-type]

    monkeypatch.setattr("sai_core.metrics.evaluation.score_store.score_recording", counted)
    capsys.readouterr()
    assert _run(*arguments) == 0
    assert scored == ["seam"]
    table = capsys.readouterr().out
    assert _run(*arguments, "--no-cache") == 0
    assert capsys.readouterr().out == table


def test_parts_of_a_set_are_merged_by_the_call_without_a_part(
    folders: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ("--labels", folders[0], "--predictions", folders[1], "--revision", "both")
    assert _run(*arguments, "--no-cache", "--quiet", "--json", tmp_path / "whole.json") == 0
    monkeypatch.setenv("SAI_CACHE_DIR", str(tmp_path / "cache"))
    for k in range(1, 5):  # one part more than recordings
        assert _run(*arguments, "--shard", f"{k}/4") == 0
        output, errors = capsys.readouterr()
        assert f"shard {k}/4: {int(k < 4)} of 3 recordings" in errors
        assert "macro" not in output  # no figures of a part that could be taken for the set's
    monkeypatch.setattr("sai_core.metrics.evaluation.score_store.score_recording", None)  # nothing is left to compute
    assert _run(*arguments, "--quiet", "--json", tmp_path / "merged.json") == 0
    assert (tmp_path / "merged.json").read_bytes() == (tmp_path / "whole.json").read_bytes()
    assert _run(*arguments, "--shard", "1/2", "--json", tmp_path / "part.json") == 2
    assert "leave --json to the call without --shard" in capsys.readouterr().err


def test_predictions_of_other_data_by_the_same_name(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    labels, predictions = made_up_recording(1, n_frames=8)
    for shift, is_said in ((40, True), (8, False), (0, False)):
        write_label_json(replace(labels, recording="r"), tmp_path / "labels" / "r_std.json")
        write_submission_json(
            replace(predictions, recording="r", frame=predictions.frame + shift), tmp_path / "system" / "r.json"
        )
        assert _run("--labels", tmp_path / "labels", "--predictions", tmp_path / "system", "--quiet") == 0
        assert ("are these predictions of other data?" in capsys.readouterr().err) == is_said


def test_nothing_found_is_said_in_words(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    labels, predictions = made_up_recording(1, n_frames=4)
    write_label_json(replace(labels, recording="r"), tmp_path / "labels" / "r_std.json")
    later = replace(predictions, recording="r", frame=predictions.frame + 50)
    write_submission_json(later, tmp_path / "system" / "r.json")
    assert _run("--labels", tmp_path / "labels", "--predictions", tmp_path / "system", "--seld", "--slices") == 0
    told = capsys.readouterr().out
    assert "nan" not in told
    assert "No label was found" in told
    assert "worst slices: none surely loses" in told
