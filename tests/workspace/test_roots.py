"""A data root with the workspace's sets: which belong to it, and that labels of two sets are never mixed."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sai_core.dataset import DataRoot, Recording, find_prediction_sets, open_data_root
from sai_core.errors import InputError
from sai_core.workspace import SetFacts, StoredSet, Workspace, label_sets, use_workspace, with_sets, workspace


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    monkeypatch.setenv("SAI_WORKSPACE", str(tmp_path / "workspace"))
    return workspace()


def data(folder: Path, *names: str, labels: bool = True) -> DataRoot:
    for name in names:
        (folder / "mic_dev" / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / "mic_dev" / f"{name}.wav").write_text("x")
        if labels:
            (folder / "labels_dev" / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / "labels_dev" / f"{name}_std.json").write_text("{}")
    return open_data_root(folder)


def stored(place: Workspace, kind: str, name: str, files: tuple[str, ...], root: Path | str = "") -> StoredSet:
    made = place.begin(kind, name, SetFacts(made_by="predict", data=str(root)))
    for file in files:
        path = made.folder / (f"{file}.json" if kind == "predictions" else f"{file}_std.json")
        path.parent.mkdir(exist_ok=True)
        path.write_text("{}")
    return place.find(kind, name)


def test_sets_of_this_data_alone_are_found(place: Workspace, tmp_path: Path) -> None:
    root = data(tmp_path / "root", "dev/a", "dev/b")
    other = data(tmp_path / "other", "dev/a")
    stored(place, "predictions", "mine", ("a",), root.path)
    stored(place, "predictions", "theirs", ("a",), other.path)
    stored(place, "predictions", "unknown", ("b",))
    stored(place, "predictions", "elsewhere", ("c",), root.path)
    stored(place, "predictions", "empty", (), root.path)
    stored(place, "predictions", "moved", ("a", "b"), tmp_path / "gone")
    stored(place, "predictions", "moved in part", ("a", "c"), tmp_path / "gone")
    assert {s.name for s in with_sets(root).prediction_sets} == {"mine", "unknown", "moved"}
    assert with_sets(root).problems == root.problems
    assert with_sets(root, everything=False) == root
    more = with_sets(root, everything=False, extra=["theirs", "mine"])
    assert [s.name for s in more.prediction_sets] == ["theirs", "mine"]
    (told,) = more.problems
    assert "theirs was made from other data" in told
    link = tmp_path / "link"
    link.symlink_to(root.path)
    stored(place, "predictions", "through a link", ("a",), link)
    assert "through a link" in {s.name for s in with_sets(root).prediction_sets}


def test_sets_by_path_and_by_name_get_names_of_their_own(place: Workspace, tmp_path: Path) -> None:
    root = data(tmp_path / "root", "a")
    (tmp_path / "x" / "mine").mkdir(parents=True)
    (tmp_path / "x" / "mine" / "a.json").write_text("{}")
    stored(place, "predictions", "mine", ("a",), root.path)
    names = [s.name for s in with_sets(root, extra=[str(tmp_path / "x" / "mine"), "mine"]).prediction_sets]
    assert names == ["x/mine", "mine"]
    with pytest.raises(InputError, match="did you mean mine"):
        with_sets(root, extra=["mines"])
    with pytest.raises(InputError, match="no such folder"):
        with_sets(root, extra=["/no/such/place"])


def test_a_stored_set_can_be_given_by_its_path(place: Workspace) -> None:
    made = stored(place, "predictions", "mine", ("a",))
    (found,) = find_prediction_sets(made.folder)
    assert list(found.files) == ["a"]
    labels = stored(place, "labels", "labels of mine", ("dev/a", "b"))
    root = open_data_root(labels.folder)
    assert [(r.split, r.name) for r in root.recordings] == [("", "b"), ("dev", "a")]
    assert root.problems == ()


def test_a_recording_called_set_is_still_one(tmp_path: Path) -> None:
    (tmp_path / "set.json").write_text('{"annotations": []}')
    assert list(find_prediction_sets(tmp_path)[0].files) == ["set"]
    assert [r.name for r in open_data_root(tmp_path).recordings] == ["set"]


def test_labels_of_a_set_are_never_mixed_with_others(place: Workspace, tmp_path: Path) -> None:
    root = data(tmp_path / "root", "dev/a", "dev/b", "test/a")
    made = stored(place, "labels", "corrected", ("dev/a", "old"), root.path)
    seen = with_sets(root, labels="corrected")
    assert seen.label_set == "corrected"
    assert {(r.split, r.name): r.label_path for r in seen.recordings} == {
        ("dev", "a"): made.folder / "dev" / "a_std.json",
        ("dev", "b"): None,
        ("test", "a"): None,
    }
    assert seen.problems == (
        "2 of 3 recordings have no label in the label set corrected.",
        "1 of 2 label files of the label set corrected belong to no recording here.",
    )
    assert root.label_set == with_sets(root).label_set == ""
    assert all(r.has_labels for r in with_sets(root).recordings)
    by_path = with_sets(root, labels=str(made.folder))
    assert by_path.label_set == str(made.folder)
    assert [r.label_path for r in by_path.recordings] == [r.label_path for r in seen.recordings]
    with pytest.raises(InputError, match="did you mean corrected"):
        with_sets(root, labels="correct")
    (tmp_path / "no labels").mkdir()
    with pytest.raises(InputError, match="holds no label file"):
        with_sets(root, labels=str(tmp_path / "no labels"))


def test_label_sets_that_fit(place: Workspace, tmp_path: Path) -> None:
    root = data(tmp_path / "root", "dev/a")
    other = data(tmp_path / "other", "dev/a")
    stored(place, "labels", "mine", ("dev/a",), root.path)
    stored(place, "labels", "theirs", ("dev/a",), other.path)
    assert [s.name for s in label_sets(root)] == ["mine"]
    shutil.rmtree(other.path)
    assert {s.name for s in label_sets(root)} == {"mine", "theirs"}


_KEYS = st.tuples(st.sampled_from(["", "dev", "test"]), st.sampled_from("abc"))


@given(st.sets(_KEYS), st.sets(_KEYS))
def test_a_label_is_its_own_recordings_or_the_only_one_of_its_name(
    recordings: set[tuple[str, str]], labelled: set[tuple[str, str]]
) -> None:
    root = DataRoot(Path("/r"), tuple(Recording(n, s, label_path=Path("/own")) for s, n in sorted(recordings)))
    files = {f"{s}/{n}" if s else n: Path(f"/set/{s}/{n}") for s, n in labelled}
    seen = root.with_labels("set", files)
    for recording in seen.recordings:
        same = [s for s, n in labelled if n == recording.name]
        alone = sum(n == recording.name for _, n in recordings) == 1
        if (recording.split, recording.name) in labelled:
            expected: Path | None = Path(f"/set/{recording.split}/{recording.name}")
        elif alone and len(same) == 1:
            expected = Path(f"/set/{same[0]}/{recording.name}")
        else:
            expected = None
        assert recording.label_path == expected
    bare = sum(r.label_path is None for r in seen.recordings)
    idle = len(set(files.values()) - {r.label_path for r in seen.recordings})
    assert len(seen.problems) == (bare > 0) + (idle > 0)
    assert all(str(n) in " ".join(seen.problems) for n in (bare, idle) if n)


def test_the_workspace_is_no_data_root_of_its_own_sets(place: Workspace, tmp_path: Path) -> None:
    stored(place, "labels", "mine", ("dev/a",))
    with pytest.raises(InputError, match="lies inside the data root"):
        use_workspace(place.path / "runs" / "w")
