"""Names in either of Unicode's forms, layouts a folder too deep, and folders that hold several systems."""

from __future__ import annotations

import unicodedata
from pathlib import Path
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sai_core.dataset import find_prediction_set, find_prediction_sets, open_data_root
from sai_core.errors import InputError
from sai_core.metrics.evaluation.discovery import find_pairs

ACCENTED = st.text("aeuonäöüéñçÅŽ한", min_size=1, max_size=6).map(lambda t: unicodedata.normalize("NFC", f"r{t}"))


FORMS: tuple[Literal["NFC", "NFD"], ...] = ("NFC", "NFD")


def touch(root: Path, *names: str) -> Path:
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return root


@given(name=ACCENTED, split=ACCENTED, forms=st.lists(st.sampled_from(FORMS), min_size=6, max_size=6))
def test_composed_and_decomposed_names_are_one_recording(
    tmp_path_factory: pytest.TempPathFactory, name: str, split: str, forms: list[Literal["NFC", "NFD"]]
) -> None:
    root = tmp_path_factory.mktemp("root")
    places = ("labels_dev/{}/{}_std.json", "mic_dev/{}/{}.wav", "metadata_dev/{}/{}.csv", "video_dev/{}/{}.mp4")
    for place, form in zip(places, forms, strict=False):
        touch(root, unicodedata.normalize(form, place.format(split, name)))
    touch(root, unicodedata.normalize(forms[4], f"frames_dev/{split}/{name}/{name}_0000.png"))
    touch(root, unicodedata.normalize(forms[5], f"predictions/p/{name}.json"))
    opened = open_data_root(root)
    assert [(r.name, r.split) for r in opened.recordings] == [(name, split)]
    recording = opened.recording(unicodedata.normalize("NFD", name), unicodedata.normalize("NFD", split))
    assert recording.has_labels
    assert recording.has_audio
    assert recording.has_metadata
    assert recording.video_path
    assert recording.frames_dir is not None
    assert list(opened.prediction_sets[0].files) == [name]
    labels, predictions = find_pairs(root / "labels_dev", root / "predictions/p")
    assert list(labels) == list(predictions) == [name]


@pytest.mark.parametrize("above", ["STARSS23", "downloads/STARSS23"])
def test_a_layout_further_down_is_pointed_to(tmp_path: Path, above: str) -> None:
    touch(tmp_path, f"{above}/labels_dev/dev-test-tau/a_std.json", f"{above}/mic_dev/dev-test-tau/a.wav")
    touch(tmp_path, f"{above}/predictions/x/a.json")
    root = open_data_root(tmp_path)
    assert root.recordings == ()
    (problem,) = root.problems
    assert problem.startswith(f"{above}: this folder inside holds the layout (labels_dev, mic_dev)")
    assert str(tmp_path / above) in problem
    assert [r.name for r in open_data_root(tmp_path / above).recordings] == ["a"]


def test_a_kind_in_a_folder_of_its_own_name_is_read(tmp_path: Path) -> None:
    touch(tmp_path, "mic_dev/mic_dev/dev-test-tau/a.wav", "labels_dev/labels_dev/dev-test-tau/a_std.json")
    touch(tmp_path, "frames_dev/frames_dev/dev-test-tau/a/a_0000.png")
    (recording,) = open_data_root(tmp_path).recordings
    assert (recording.name, recording.split) == ("a", "dev-test-tau")
    assert recording.has_labels
    assert recording.has_audio
    assert recording.frames_dir is not None


def test_a_split_alone_points_up(tmp_path: Path) -> None:
    touch(tmp_path, "labels_dev/dev-test-tau/a_std.json")
    root = open_data_root(tmp_path / "labels_dev/dev-test-tau")
    assert [r.name for r in root.recordings] == ["a"]
    assert root.problems == (
        f"{tmp_path}/labels_dev/dev-test-tau: is one split of labels_dev, so that only its labels could be seen; open "
        f"{tmp_path} as the data root.",
    )


def test_links_out_of_the_root_are_told_once(tmp_path: Path) -> None:
    elsewhere = touch(tmp_path / "elsewhere", "mic_dev/a.wav")
    (tmp_path / "r").mkdir()
    for name in ("mic_dev", "video_dev"):
        (tmp_path / "r" / name).symlink_to(elsewhere / "mic_dev")
    problems = open_data_root(tmp_path / "r").problems
    assert len(problems) == 2
    assert all("outside the data root" in p for p in problems)


def test_a_folder_of_several_systems_is_several_sets(tmp_path: Path) -> None:
    touch(tmp_path, "data/labels_dev/a_std.json", "data/predictions/mine/v1/a.json", "data/predictions/mine/v2/a.json")
    touch(tmp_path, "data/predictions/plain/dev-test-tau/a.json", "data/predictions/plain/dev-test-sony/b.json")
    touch(tmp_path, "runs/A/a.json", "runs/B/a_inference.json", "runs/C/x/a.json", "runs/C/y/a.json", "runs/a.json")
    root = open_data_root(tmp_path / "data")
    assert [s.name for s in root.prediction_sets] == ["mine/v1", "mine/v2", "plain"]
    assert sorted(root.prediction_set("plain").files) == ["a", "b"]
    added = root.add_prediction_folder(tmp_path / "runs").prediction_sets[3:]
    assert [s.name for s in added] == ["A", "B", "C/x", "C/y", "runs"]
    assert all(list(s.files) == ["a"] and not s.problems for s in added)
    assert len({s.folder for s in added}) == 5
    with pytest.raises(InputError, match=r"holds 5 prediction sets \(A, B, C/x, C/y, runs\)"):
        find_prediction_set(tmp_path / "runs")


def test_a_folder_called_predictions_is_one_set_a_sub_folder(tmp_path: Path) -> None:
    touch(tmp_path, "predictions/A/a.json", "predictions/B/b.json")
    assert [s.name for s in find_prediction_sets(tmp_path / "predictions")] == ["A", "B"]


def test_what_is_taken_together_is_told(tmp_path: Path) -> None:
    touch(tmp_path, "runs/A/a.json", "runs/B/b.json", "labels/a_std.json", "labels/b_std.json")
    (one,) = find_prediction_sets(tmp_path / "runs")
    assert one.problems == ("A, B: predictions in these sub-folders are taken together as one system.",)
    told: list[str] = []
    find_pairs(tmp_path / "labels", tmp_path / "runs", notes=told)
    assert len(told) == 1
    assert "files of 2 folders are taken together as one system" in told[0]
    touch(tmp_path, "runs/A/deeper/a.json", "runs/C/b_inference.json")
    told = []
    find_pairs(tmp_path / "labels", tmp_path / "runs", notes=told)
    assert "of another folder is left out, and 1 more of the same kind" in told[0]
    splits = touch(tmp_path / "splits", "dev-test-sony/a.json", "dev-test-tau/b.json")
    told = []
    find_pairs(tmp_path / "labels", splits, notes=told)
    assert told == []
    assert find_prediction_set(splits).problems == ()


def test_predictions_of_a_data_root_are_nobodys_labels(tmp_path: Path) -> None:
    touch(tmp_path, "labels_dev/dev-test-tau/a_std.json", "mic_dev/dev-test-tau/b.wav", "mine/c.json", "manifest.json")
    touch(tmp_path, "predictions/x/a.json", "predictions/x/b.json", "predictions/y/a.json", "predictions/y/b.json")
    sentences: list[str] = []
    labels, predictions = find_pairs(tmp_path, tmp_path / "predictions" / "x", notes=sentences)
    assert list(labels) == ["a"]
    assert list(predictions) == ["a", "b"]
    assert sentences == []
    # one of them alone: the root's own predictions, none of its labels
    (tmp_path / "predictions" / "y" / "a.json").unlink()
    (tmp_path / "predictions" / "y" / "b.json").unlink()
    labels, predictions = find_pairs(tmp_path / "labels_dev", tmp_path)
    assert {path.parent.name for path in predictions.values()} == {"x"}
    # without a folder of labels nothing of the predictions is taken for one
    (tmp_path / "labels_dev" / "dev-test-tau" / "a_std.json").rename(tmp_path / "mine" / "a_std.json")
    (tmp_path / "labels_dev" / "dev-test-tau").rmdir()
    (tmp_path / "labels_dev").rmdir()
    labels, _ = find_pairs(tmp_path, tmp_path / "predictions" / "x")
    assert {path.parent.name for path in labels.values()} == {"mine", tmp_path.name}
