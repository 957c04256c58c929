"""The verb ``convert``: every format, what it leaves out, and files that other libraries read."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import sai_core as sai
from sai_core.annotations import read_annotations, read_dcase_csv
from sai_core.cli import main
from sai_core.interchange.convert import TARGETS
from sai_core.interchange.formats import FORMATS
from sai_core.interchange.masks import encode_mask, mask_of, write_coco_masks
from sai_core.workspace import SetFacts, workspace
from tests.annotations.helpers import assert_same, region_table
from tests.figures.scenes import write_root

mask_api = pytest.importorskip("pycocotools.mask")
coco_api = pytest.importorskip("pycocotools.coco")

RECORDING = "fold4_room23_mix001"


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_root(tmp_path_factory.mktemp("convert") / "root", n_frames=6)


def call(capsys: pytest.CaptureFixture[str], *arguments: str, code: int = 0) -> tuple[str, str]:
    assert main(["convert", *arguments]) == code, capsys.readouterr()
    said = capsys.readouterr()
    assert "Traceback" not in said.err
    return said.out, said.err


@given(hnp.arrays(bool, st.tuples(st.integers(1, 30), st.integers(1, 30))))
def test_masks_are_encoded_as_the_mask_api_does(mask: np.ndarray) -> None:
    theirs = mask_api.encode(np.asfortranarray(mask, np.uint8))
    assert encode_mask(mask) == theirs["counts"].decode("ascii")


def test_pycocotools_sees_the_regions(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table = region_table(3, 12)
    assert write_coco_masks(table, tmp_path / "m.json") == 0
    coco = coco_api.COCO(str(tmp_path / "m.json"))
    capsys.readouterr()
    assert len(coco.anns) == len(table)
    for number, annotation in coco.anns.items():
        mask = coco.annToMask(annotation).astype(bool)
        assert np.array_equal(mask, mask_of(table, number - 1))
        assert mask.any()
        assert mask_api.toBbox(annotation["segmentation"]).tolist() == annotation["bbox"]
        assert int(mask_api.area(annotation["segmentation"])) == annotation["area"]
    again = read_annotations(tmp_path / "m.json")
    assert again.frame.tolist() == table.frame.tolist()
    assert again.category_id.tolist() == table.category_id.tolist()
    assert np.array_equal(mask_of(again, 0), mask_of(table, 0))


def test_what_is_refused_is_not_finished(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "cut_off.json").write_text("{")
    _, errors = call(capsys, str(tmp_path / "cut_off.json"), "--to", "elan", "--out", str(tmp_path / "out"), code=2)
    assert "the file is cut off" in errors
    assert "100 %" not in errors


@pytest.mark.parametrize("target", [t for t in TARGETS if t != "rerun"])  # that is read in test_rerun.py
def test_labels_go_into_every_format(
    root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], target: str
) -> None:
    out = tmp_path / ("all.parquet" if target == "parquet" else "out")
    labels = next((root / "labels_dev").rglob("*_std.json"))
    code = 2 if target == "submission" else 0
    said, err = call(
        capsys, str(labels.parent), "--to", target, "--out", str(out), "--data", str(root), "--json", code=code
    )
    if code:
        assert "score" in err
        return
    assert json.loads(said)["notes"] == []
    table = read_annotations(labels)
    if target == "parquet":
        assert_frame_equal(pd.read_parquet(out), sai.Annotations(table).to_pandas())
        return
    made = next(out.iterdir())
    if target in ("label", "coco"):
        assert_same(read_annotations(made, recording=table.recording), table)
    elif target == "masks":
        assert len(read_annotations(made)) == len(table)
    elif target == "dcase":
        assert read_dcase_csv(made).frame.tolist() == table.frame.tolist()
    else:
        call(capsys, str(out), "--regions", str(labels), "--out", str(tmp_path / "back"), "--json")
        assert_same(read_annotations(next((tmp_path / "back").iterdir()), recording=table.recording), table)


@pytest.mark.parametrize("target", ["label", "audacity", "parquet"])
def test_a_broken_file_keeps_no_other_from_being_converted(
    root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], target: str
) -> None:
    labels = tmp_path / "labels"
    labels.mkdir()
    shutil.copy(next((root / "labels_dev").rglob("*_std.json")), labels)
    (labels / "a_std.json").write_text('{"annotations": [{')
    out = tmp_path / ("all.parquet" if target == "parquet" else "out")
    said, err = call(capsys, str(labels), "--to", target, "--out", str(out), "--json", code=2)
    facts = json.loads(said)
    assert list(facts["failures"]) == ["a"]
    assert "a is not converted:" in err
    assert [Path(path).exists() for path in facts["files"].values()] == [True]
    (labels / f"{RECORDING}_std.json").unlink()
    _, err = call(capsys, str(labels), "--to", target, "--out", str(tmp_path / "none"), code=2)
    assert "a_std.json" in err


@pytest.mark.parametrize("target", list(FORMATS))
def test_no_event_in_an_edited_file_is_no_annotation(
    root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], target: str
) -> None:
    labels = next((root / "labels_dev").rglob("*_std.json"))
    n = len(read_annotations(labels))
    form = FORMATS[target]
    (tmp_path / f"{RECORDING}{form.suffix}").write_text(form.write([], RECORDING, ""), encoding="utf-8")
    edited = str(tmp_path / f"{RECORDING}{form.suffix}")
    _, err = call(capsys, edited, "--regions", str(labels), "--out", str(tmp_path / "back"), "--quiet")
    assert f"{n} of {n} annotations lie in no edited event and are left out." in err
    assert len(read_annotations(next((tmp_path / "back").iterdir()))) == 0


def test_a_sound_is_no_annotation(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "own.wav").write_bytes(b"RIFF")
    _, err = call(capsys, str(tmp_path / "own.wav"), "--to", "coco", "--out", str(tmp_path / "o"), code=2)
    assert "own.wav: is a sound file; convert takes annotations" in err


def assert_frame_equal(a: pd.DataFrame, b: pd.DataFrame) -> None:
    pd.testing.assert_frame_equal(a, b, check_dtype=False)


def test_pictures_go_with_masks(root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    labels = next((root / "labels_dev").rglob("*_std.json"))
    call(
        capsys, str(labels), "--to", "masks", "--pictures", "--data", str(root), "--out", str(tmp_path / "o"), "--quiet"
    )
    coco = json.loads(next((tmp_path / "o").glob("*.json")).read_text())
    for image in coco["images"]:
        picture = cv2.imread(str(tmp_path / "o" / "images" / image["file_name"]))
        assert picture is not None
        assert picture.shape == (image["height"], image["width"], 3)
    _, err = call(capsys, str(labels), "--to", "masks", "--pictures", "--out", str(tmp_path / "p"), code=2)
    assert "give --data" in err


def test_a_set_is_converted_by_its_name_and_says_what_is_left_out(
    root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    stored = workspace().begin("predictions", "mine", SetFacts(made_by="predict", data=str(root)))
    prediction = next((root / "predictions").rglob(f"{RECORDING}*.json"))
    shutil.copy(prediction, stored.folder / f"{RECORDING}.json")
    n_below = int(np.count_nonzero(read_annotations(prediction).score < 0.5))
    _, err = call(capsys, "mine", "--to", "coco", "--min-score", "0.5", "--out", str(tmp_path / "o"), "--quiet")
    assert (f"{n_below} annotations below a score of 0.5 left out" in err) == (n_below > 1)
    assert len(read_annotations(tmp_path / "o" / f"{RECORDING}.json")) == len(read_annotations(prediction)) - n_below
    call(capsys, "mine", "--to", "dcase", "--out", str(tmp_path / "csv"), "--quiet")
    csv = next((tmp_path / "csv").iterdir())
    _, err = call(capsys, str(csv), "--to", "masks", "--out", str(tmp_path / "x"), code=2)
    assert "needs regions" in err
    call(capsys, str(csv.parent), "--to", "elan", "--out", str(tmp_path / "elan"), "--quiet")
    assert (tmp_path / "elan" / f"{csv.stem}.eaf").is_file()
    (tmp_path / "events").mkdir()
    (tmp_path / "events" / "fold1_room1_mix001.txt").write_text("0\t1\tBell 1\n")
    _, err = call(capsys, str(tmp_path / "events"), "--regions", str(csv.parent), "--out", str(tmp_path / "y"), code=2)
    assert "no regions among the given files" in err
