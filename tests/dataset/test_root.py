"""Data roots in every state that a user's disk may be in."""

from __future__ import annotations

import gzip
import os
import pickle
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sai_core.dataset import DataRoot, PredictionSet, Recording, demo_root, find_prediction_set, open_data_root
from sai_core.errors import InputError

SPLIT = "dev-test-sony"
NAME = "fold4_room23_mix001"


def touch(root: Path, *relative: str) -> None:
    for one in relative:
        file = root / one
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()


@pytest.fixture
def full_root(tmp_path: Path) -> Path:
    touch(
        tmp_path,
        f"labels_dev/{SPLIT}/{NAME}_std.json",
        f"metadata_dev/{SPLIT}/{NAME}.csv",
        f"mic_dev/{SPLIT}/{NAME}.wav",
        f"foa_dev/{SPLIT}/{NAME}.wav",
        f"eigen_dev/{SPLIT}/{NAME}.wav",
        f"video_dev/{SPLIT}/{NAME}.mp4",
        f"frames_dev/{SPLIT}/{NAME}/{NAME}_0000.png",
        f"predictions/baseline/{NAME}_inference.json",
        f"predictions/stand-in-a/{SPLIT}/{NAME}.json.gz",
    )
    return tmp_path


def test_everything_of_the_official_layout(full_root: Path) -> None:
    root = open_data_root(full_root)
    assert root.recordings == (
        Recording(
            NAME,
            SPLIT,
            label_path=full_root / "labels_dev" / SPLIT / f"{NAME}_std.json",
            metadata_path=full_root / "metadata_dev" / SPLIT / f"{NAME}.csv",
            mic_path=full_root / "mic_dev" / SPLIT / f"{NAME}.wav",
            foa_path=full_root / "foa_dev" / SPLIT / f"{NAME}.wav",
            eigen_path=full_root / "eigen_dev" / SPLIT / f"{NAME}.wav",
            video_path=full_root / "video_dev" / SPLIT / f"{NAME}.mp4",
            frames_dir=full_root / "frames_dev" / SPLIT / NAME,
        ),
    )
    recording = root.recordings[0]
    assert recording.has_labels
    assert recording.has_metadata
    assert recording.has_audio
    assert recording.has_video
    assert recording.audio_path == recording.mic_path
    assert recording.array_path == recording.mic_path
    assert root.splits == (SPLIT,)
    assert root.missing == ()
    assert root.problems == ()
    assert [(s.name, s.is_stand_in, dict(s.files)) for s in root.prediction_sets] == [
        ("baseline", False, {NAME: full_root / "predictions" / "baseline" / f"{NAME}_inference.json"}),
        ("stand-in-a", True, {NAME: full_root / "predictions" / "stand-in-a" / SPLIT / f"{NAME}.json.gz"}),
    ]


def test_the_result_is_frozen(full_root: Path) -> None:
    root = open_data_root(full_root)
    with pytest.raises(AttributeError):
        root.recordings = ()  # type: ignore[misc]
    with pytest.raises(TypeError):
        root.prediction_sets[0].files["x"] = Path("x")  # type: ignore[index]


@pytest.mark.parametrize(
    ("file", "attribute"),
    [
        (f"labels_dev/{SPLIT}/{NAME}_std.json", "label_path"),
        (f"labels_dev/{SPLIT}/{NAME}_std.json.gz", "label_path"),
        (f"labels_dev/{SPLIT}/{NAME}.json", "label_path"),
        (f"labels_dev/{SPLIT}/{NAME}.JSON.GZ", "label_path"),
        (f"labels_eval/{SPLIT}/{NAME}.json", "label_path"),
        (f"Labels_Dev/{SPLIT}/{NAME}_STD.json", "label_path"),
        (f"labels_dev/{NAME}_std.json", "label_path"),
        (f"metadata_dev/{SPLIT}/{NAME}.CSV", "metadata_path"),
        (f"mic_dev/{SPLIT}/{NAME}.WAV", "mic_path"),
        (f"mic_eval/{NAME}.wav", "mic_path"),
        (f"MIC_DEV/a new split/{NAME}.flac", "mic_path"),
        (f"foa_dev/{SPLIT}/{NAME}.wav", "foa_path"),
        (f"eigen_dev/{NAME}.wav", "eigen_path"),
        (f"video_dev/{SPLIT}/{NAME}.MP4", "video_path"),
        (f"video_dev/{NAME}.mov", "video_path"),
        (f"frames_dev/{SPLIT}/{NAME}/{NAME}_0000.png", "frames_dir"),
        (f"frames_dev/{NAME}/{NAME}_0000.JPG", "frames_dir"),
    ],
)
def test_each_kind_alone(tmp_path: Path, file: str, attribute: str) -> None:
    touch(tmp_path, file)
    root = open_data_root(tmp_path)
    recording = root.recording(NAME)
    found = tmp_path / file
    assert getattr(recording, attribute) == (found.parent if attribute == "frames_dir" else found)
    others = set(Recording.__dataclass_fields__) - {"name", "split", attribute}
    assert all(getattr(recording, other) is None for other in others)
    kind_and_split = Path(file).parts[1:-1] if attribute != "frames_dir" else Path(file).parts[1:-2]
    assert recording.split == (kind_and_split[0] if kind_and_split else "")
    assert root.problems == ()


def test_missing_kinds_in_words(tmp_path: Path) -> None:
    touch(tmp_path, f"labels_dev/{SPLIT}/{NAME}_std.json", f"video_dev/{SPLIT}/{NAME}.mp4")
    missing = open_data_root(tmp_path).missing
    assert missing == (
        "No DCASE metadata (metadata_dev).",
        "No 4-channel microphone audio (mic_dev).",
        "No first-order ambisonics (foa_dev).",
        "No 32-channel Eigenmike audio (eigen_dev).",
        "No predictions (predictions/<system>/<recording>.json).",
    )


def test_an_empty_folder_is_an_empty_root(tmp_path: Path) -> None:
    root = open_data_root(tmp_path)
    assert root.recordings == ()
    assert root.splits == ()
    assert len(root.missing) == 8
    with pytest.raises(InputError, match="holds none"):
        root.recording(NAME)


def test_files_without_a_split_join_the_split_of_their_recording(tmp_path: Path) -> None:
    touch(
        tmp_path,
        f"labels_dev/{NAME}_std.json",
        f"mic_dev/{SPLIT}/{NAME}.wav",
        "mic_dev/dev-a/twice.wav",
        "mic_dev/dev-b/twice.wav",
        "labels_dev/twice.json",
    )
    root = open_data_root(tmp_path)
    assert [(r.split, r.name, r.has_labels, r.has_audio) for r in root.recordings] == [
        ("", "twice", True, False),
        ("dev-a", "twice", False, True),
        ("dev-b", "twice", False, True),
        (SPLIT, NAME, True, True),
    ]


def test_sorted_by_split_then_name(tmp_path: Path) -> None:
    touch(tmp_path, "mic_dev/b/z.wav", "mic_dev/a/y.wav", "mic_dev/b/a.wav", "foa_dev/a/x.wav")
    root = open_data_root(tmp_path)
    assert [(r.split, r.name) for r in root.recordings] == [("a", "x"), ("a", "y"), ("b", "a"), ("b", "z")]
    assert [r.name for r in root.in_split("b")] == ["a", "z"]
    with pytest.raises(InputError, match="no split 'c'; there are a, b"):
        root.in_split("c")


def test_standardised_labels_win_and_the_loser_is_told(tmp_path: Path) -> None:
    touch(tmp_path, *(f"labels_dev/{SPLIT}/{NAME}{end}" for end in (".json", "_std.json.gz", "_std.json")))
    root = open_data_root(tmp_path)
    label = root.recording(NAME).label_path
    assert label is not None
    assert label.name == f"{NAME}_std.json"
    assert len(root.problems) == 2
    assert all(f"{NAME}_std.json is used" in p or f"{NAME}_std.json.gz is used" in p for p in root.problems)


def test_a_root_that_is_one_kind_folder(tmp_path: Path) -> None:
    touch(tmp_path, f"mic_dev/{SPLIT}/{NAME}.wav")
    root = open_data_root(tmp_path / "mic_dev")
    assert root.recording(NAME, SPLIT).mic_path == tmp_path / "mic_dev" / SPLIT / f"{NAME}.wav"


def test_a_root_that_is_only_label_files(tmp_path: Path) -> None:
    touch(tmp_path, f"{NAME}_std.json", "other.json", "sub/deep/third.json.gz", "x_inference.json", "notes.txt")
    root = open_data_root(tmp_path)
    assert [(r.split, r.name, r.has_labels) for r in root.recordings] == [
        ("", NAME, True),
        ("", "other", True),
        ("deep", "third", True),
    ]


def test_a_root_that_is_only_predictions(tmp_path: Path) -> None:
    touch(tmp_path, f"predictions/a/{NAME}.json", "predictions/a/custom.json", "predictions/loose_one.json")
    root = open_data_root(tmp_path)
    assert [r.name for r in root.recordings] == ["custom", NAME, "loose_one"]
    assert [(s.name, list(s.files)) for s in root.prediction_sets] == [
        ("a", ["custom", NAME]),
        ("predictions", ["loose_one"]),
    ]


def test_predictions_as_dcase_csv_are_named(tmp_path: Path) -> None:
    # a CSV beside predictions is no matter
    touch(tmp_path, "labels_dev/r_std.json", "predictions/mine/r.json", "predictions/mine/notes.csv")
    touch(tmp_path, "predictions/seld/a/r.csv", "predictions/seld/b/s.CSV")
    root = open_data_root(tmp_path)
    assert [s.name for s in root.prediction_sets] == ["mine"]
    assert root.problems == (
        "predictions/seld: 2 CSV files and no prediction file (<recording>.json), left out; DCASE CSV has directions "
        "and no regions.",
    )


def test_json_beside_predictions_is_no_recording_unless_its_name_is_one(tmp_path: Path) -> None:
    touch(
        tmp_path,
        f"labels_dev/{SPLIT}/{NAME}_std.json",
        "predictions/a/settings.json",
        "predictions/a/fold4_room2_mix009.json",
    )
    assert [r.name for r in open_data_root(tmp_path).recordings] == ["fold4_room2_mix009", NAME]


def test_hidden_files_and_strangers_are_skipped(full_root: Path) -> None:
    touch(
        full_root,
        f"mic_dev/{SPLIT}/._{NAME}.wav",
        f"mic_dev/{SPLIT}/.DS_Store",
        "mic_dev/.git/x.wav",
        f"mic_dev/{SPLIT}/readme.txt",
        f"mic_dev/{SPLIT}/.wav",
        "labels_dev/.json",
        "LICENSE",
        "docs/page.json",
    )
    (full_root / "mic_dev" / SPLIT / "folder.wav").mkdir()
    os.mkfifo(full_root / "mic_dev" / SPLIT / "pipe.wav")
    root = open_data_root(full_root)
    assert [r.name for r in root.recordings] == [NAME]
    assert root.problems == ()


def test_links_inside_are_followed_and_links_out_are_left_out(tmp_path: Path) -> None:
    inside, outside = tmp_path / "root", tmp_path / "elsewhere"
    touch(outside, "secret.wav", "split/y.wav")
    touch(inside, "mic_dev/a/x.wav", "store/z.wav")
    folder = inside / "mic_dev" / "a"
    (folder / "z.wav").symlink_to(inside / "store" / "z.wav")
    (folder / "stolen.wav").symlink_to(outside / "secret.wav")
    (folder / "relative.wav").symlink_to(Path("../../../elsewhere/secret.wav"))
    (folder / "broken.wav").symlink_to(outside / "nothing.wav")
    (folder / "loop.wav").symlink_to(folder / "loop.wav")
    (inside / "mic_dev" / "b").symlink_to(outside / "split")
    (inside / "video_dev").symlink_to(outside)
    (inside / "mic_dev" / "up").symlink_to(inside)
    root = open_data_root(inside)
    assert [(r.split, r.name) for r in root.recordings] == [("a", "x"), ("a", "z")]
    told = "\n".join(root.problems)
    for name in ("stolen.wav", "relative.wav", "broken.wav", "loop.wav", "mic_dev/b", "video_dev"):
        assert name in told
    assert len(root.problems) == 7  # video_dev is met a second time, as mic_dev/up/video_dev


def test_a_sibling_whose_name_begins_like_the_root_is_outside(tmp_path: Path) -> None:
    touch(tmp_path, "data/mic_dev/x.wav", "data2/y.wav")
    (tmp_path / "data" / "mic_dev" / "y.wav").symlink_to(tmp_path / "data2" / "y.wav")
    root = open_data_root(tmp_path / "data")
    assert [r.name for r in root.recordings] == ["x"]
    assert "outside" in root.problems[0]


def test_the_root_may_itself_be_a_link(full_root: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    link = tmp_path_factory.mktemp("links") / "data"
    link.symlink_to(full_root)
    assert open_data_root(link).recording(NAME).mic_path == full_root / "mic_dev" / SPLIT / f"{NAME}.wav"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read every folder")
def test_unreadable_folders_are_told(full_root: Path) -> None:
    locked = full_root / "mic_dev" / SPLIT
    locked.chmod(0)
    try:
        root = open_data_root(full_root)
    finally:
        locked.chmod(0o755)
    assert any("cannot be read" in p and SPLIT in p for p in root.problems)
    assert root.recording(NAME).mic_path is None


def test_a_folder_that_fails_while_listing_is_told(full_root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    locked = str(full_root / "mic_dev" / SPLIT)
    real = os.scandir

    def scandir(path: object = ".") -> object:
        if str(path) == locked:
            raise PermissionError(13, "Permission denied", locked)
        return real(path)  # type: ignore[call-overload]

    monkeypatch.setattr(os, "scandir", scandir)
    root = open_data_root(full_root)
    assert root.problems == (f"mic_dev/{SPLIT}: cannot be read (Permission denied); left out.",)
    assert root.recording(NAME).foa_path is not None


def test_wrong_roots(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.touch()
    with pytest.raises(InputError, match="no such folder"):
        open_data_root(tmp_path / "nothing")
    with pytest.raises(InputError, match="a file, not a folder"):
        open_data_root(file)
    with pytest.raises(InputError, match="NUL"):
        open_data_root("a\0b")
    for empty in ("", "  "):
        with pytest.raises(InputError, match="No folder was given"):
            open_data_root(empty)
    with pytest.raises(InputError, match="longer than a file name"):
        open_data_root("x" * 5000)
    for whole in ("/", "//", "/tmp/..", "file:///"):
        with pytest.raises(InputError, match="is the whole file system"):
            open_data_root(whole)
    loop = tmp_path / "loop"
    loop.symlink_to(loop)
    with pytest.raises(InputError, match="cannot be read"):
        open_data_root(loop)
    with pytest.raises(InputError):
        open_data_root("~no_such_user_here/data")


def test_looking_up_a_recording(tmp_path: Path) -> None:
    touch(tmp_path, f"mic_dev/{SPLIT}/{NAME}.wav", "mic_dev/a/same.wav", "mic_dev/b/same.wav")
    root = open_data_root(tmp_path)
    assert root.recording(NAME).split == SPLIT
    assert root.recording("same", "b").split == "b"
    with pytest.raises(InputError, match="did you mean fold4_room23_mix001"):
        root.recording("fold4_room23_mix01")
    with pytest.raises(InputError, match=r"several splits \(a, b\)"):
        root.recording("same")
    with pytest.raises(InputError, match="in split 'c'; it is in a, b"):
        root.recording("same", "c")
    with pytest.raises(InputError, match="holds 3 others"):
        root.recording("####")


def test_prediction_folders_anywhere(full_root: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    mine = tmp_path_factory.mktemp("runs") / "baseline"
    touch(mine, f"{NAME}.json", f"{NAME}_inference.json", f"{NAME}.json.gz", "a/b/other.json.gz", f"{NAME}_std.json")
    root = open_data_root(full_root)
    more = root.add_prediction_folder(mine)
    assert [s.name for s in root.prediction_sets] == ["baseline", "stand-in-a"]
    assert [s.name for s in more.prediction_sets] == ["baseline", "stand-in-a", f"{mine.parent.name}/baseline"]
    added = more.prediction_sets[-1]
    assert dict(added.files) == {NAME: mine / f"{NAME}.json", "other": mine / "a" / "b" / "other.json.gz"}
    assert len(added.problems) == 2
    assert more.prediction_set(added.name) is added
    assert len(more.add_prediction_folder(mine).prediction_sets) == 3
    with pytest.raises(InputError, match="no prediction set 'x'; there are baseline"):
        root.prediction_set("x")


def test_a_single_prediction_file(tmp_path: Path) -> None:
    file = tmp_path / f"{NAME}_inference.json.gz"
    file.write_bytes(gzip.compress(b"{}"))
    assert find_prediction_set(file) == PredictionSet(NAME, file, {NAME: file})
    (tmp_path / "a.txt").touch()
    with pytest.raises(InputError, match="not a prediction file"):
        find_prediction_set(tmp_path / "a.txt")
    (tmp_path / "none").mkdir()
    with pytest.raises(InputError, match="holds no prediction file"):
        find_prediction_set(tmp_path / "none")
    with pytest.raises(InputError, match="no such folder"):
        find_prediction_set(tmp_path / "absent")


def test_stand_ins_are_known_by_name() -> None:
    assert PredictionSet("stand-in-b", Path("x")).is_stand_in
    assert PredictionSet("Stand-in", Path("x")).is_stand_in
    assert not PredictionSet("my-stand-in", Path("x")).is_stand_in
    assert PredictionSet("runs/stand-in-b", Path("runs/stand-in-b")).is_stand_in
    assert PredictionSet("dev-test", Path("stand-in-b/dev-test")).is_stand_in


def test_roots_go_to_other_processes_and_into_sets(full_root: Path) -> None:
    root = open_data_root(full_root)
    assert pickle.loads(pickle.dumps(root)) == root  # noqa: S301, our own bytes
    assert len({root, open_data_root(full_root)}) == 1


def test_names_that_are_not_utf8_are_left_out(tmp_path: Path) -> None:
    touch(tmp_path, "mic_dev/good.wav")
    os.close(os.open(os.fsencode(tmp_path / "mic_dev") + b"/bad\xff.wav", os.O_CREAT))
    root = open_data_root(tmp_path)
    assert [r.name for r in root.recordings] == ["good"]
    assert "not valid UTF-8" in root.problems[0]
    root.problems[0].encode("utf-8")


# what a file system allows in a name; a leading dot would hide it
file_names = st.text(
    st.characters(exclude_characters="/\0", exclude_categories=["Cs"]), min_size=1, max_size=30
).filter(lambda n: not n.startswith(".") and len(n.encode()) < 200 and not n.lower().endswith("_std"))


@given(names=st.sets(file_names, max_size=6), split=file_names)
def test_any_file_name_is_found_as_it_is(tmp_path_factory: pytest.TempPathFactory, names: set[str], split: str) -> None:
    folder = tmp_path_factory.mktemp("root")
    for name in names:
        touch(folder, f"mic_dev/{split}/{name}.wav", f"labels_dev/{split}/{name}_std.json")
    root = open_data_root(folder)
    assert [(r.split, r.name) for r in root.recordings] == [(split, name) for name in sorted(names)]
    for recording in root.recordings:
        assert recording.mic_path == folder / "mic_dev" / split / f"{recording.name}.wav"
        assert recording.label_path is not None
        assert recording.label_path.is_file()
        assert root.recording(recording.name) is recording


parts = st.sampled_from(
    ["labels_dev", "mic_dev", "frames_dev", "video_eval", "predictions", "a", "a_std.json", "a.json", "b.json.gz",
     "a.wav", "a_inference.json", "x.mp4", "a_0000.png", "m.csv", ".hidden", "labels", "Mic_Dev"]
)  # fmt: skip


@given(paths=st.lists(st.lists(parts, min_size=1, max_size=5), max_size=12))
def test_any_tree_opens_and_every_path_told_exists(
    tmp_path_factory: pytest.TempPathFactory, paths: list[list[str]]
) -> None:
    folder = tmp_path_factory.mktemp("root")
    for path in paths:
        file = folder.joinpath(*path)
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            file.touch()
        except OSError:
            continue  # a file stands where a folder would be needed
    root = open_data_root(folder)
    assert isinstance(root, DataRoot)
    keys = [(r.split, r.name) for r in root.recordings]
    assert keys == sorted(set(keys))
    for recording in root.recordings:
        for attribute in ("label_path", "metadata_path", "mic_path", "foa_path", "eigen_path", "video_path"):
            path = getattr(recording, attribute)
            assert path is None or (path.is_file() and path.is_relative_to(folder))
        assert recording.frames_dir is None or recording.frames_dir.is_dir()
    for prediction_set in root.prediction_sets:
        assert all(path.is_file() for path in prediction_set.files.values())
    assert open_data_root(folder) == root


def test_a_thousand_recordings_are_listed_without_opening_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(1000):
        name = f"fold4_room{number % 25}_mix{number:03d}"
        touch(tmp_path, f"labels_dev/dev-{number % 4}/{name}_std.json", f"mic_dev/dev-{number % 4}/{name}.wav")

    def refuse(*args: object, **kwargs: object) -> None:
        raise AssertionError("a file was opened")

    monkeypatch.setattr("builtins.open", refuse)
    root = open_data_root(tmp_path)
    assert len(root.recordings) == 1000
    assert all(r.has_labels and r.has_audio for r in root.recordings)


def test_demo_root_lies_in_the_project() -> None:
    assert demo_root().parts[-2:] == ("assets", "demo")
    assert (demo_root().parents[1] / "sai_core").is_dir()
