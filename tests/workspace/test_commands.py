"""The verb ``sets``, ``--workspace``, and names of sets wherever a verb takes a path."""

from __future__ import annotations

import json
import shutil
import zipfile
from pathlib import Path

import pytest

from sai_core.cli import main
from sai_core.dataset import open_data_root
from sai_core.workspace import SetFacts, StoredSet, Workspace, workspace
from sai_core.workspace.importing import import_set
from tests.figures.scenes import write_root

RECORDING = "fold4_room23_mix001"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("made") / "root"
    write_root(root, n_frames=5, video_size=None)
    return root


@pytest.fixture
def root(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made, tmp_path / "root"))


def kept(root: Path, name: str = "mine", kind: str = "predictions", **facts: object) -> StoredSet:
    """A set of the workspace with the root's own files."""
    stored = workspace().begin(kind, name, SetFacts(**{"made_by": "predict", "data": str(root), **facts}))  # type: ignore[arg-type]
    if kind == "predictions":
        shutil.copy(next((root / "predictions").rglob(f"{RECORDING}*.json")), stored.folder / f"{RECORDING}.json")
    else:
        shutil.copytree(root / "labels_dev", stored.folder, dirs_exist_ok=True)
    return workspace().find(kind, name)


def call(capsys: pytest.CaptureFixture[str], *arguments: str, code: int = 0) -> tuple[str, str]:
    assert main(list(arguments)) == code, capsys.readouterr()
    said = capsys.readouterr()
    assert "Traceback" not in said.err
    return said.out, said.err


def test_the_life_of_a_set(root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    kept(root, "FAO", checkpoint="/c/net.safetensors", system="FAO", recordings=("a", "b"), options={"floor": 0.1})
    kept(root, "FAO", "labels", base="official")
    out, _ = call(capsys, "sets", "list")
    assert [line.split()[:4] for line in out.splitlines()[1:3]] == [
        ["FAO", "predictions", "1", "predict"],
        ["FAO", "labels", "1", "predict"],
    ]
    assert "net, FAO" in out
    _, err = call(capsys, "sets", "rename", "FAO", "new", code=2)
    assert "say which by --kind" in err
    call(capsys, "sets", "rename", "FAO", "of March", "--kind", "predictions")
    call(capsys, "sets", "note", "of March", "the good one")
    call(capsys, "sets", "tag", "of March", "paper", "best")
    out, _ = call(capsys, "sets", "show", "of March")
    assert "the good one" in out
    assert "#paper #best" in out
    assert "1 of 2 asked for" in out
    assert "floor" in out
    shown = json.loads(call(capsys, "sets", "show", "of March", "--json")[0])
    assert shown["tags"] == ["paper", "best"]
    assert shown["files"] == [RECORDING]
    assert [s["name"] for s in json.loads(call(capsys, "sets", "list", "--json", "--kind", "labels")[0])] == ["FAO"]
    call(capsys, "sets", "export", "of March", "--out", str(tmp_path / "out.zip"))
    assert (tmp_path / "out.zip").is_file()
    call(capsys, "sets", "trash", "of March")
    assert json.loads(call(capsys, "sets", "list", "--trash", "--json")[0])[0]["name"] == "of March"
    _, err = call(capsys, "sets", "show", "of March", code=2)
    assert "no prediction set and no label set" in err
    call(capsys, "sets", "restore", "of March")
    assert workspace().find("predictions", "of March").facts.note == "the good one"
    _, err = call(capsys, "sets", "restore", "of March", code=2)
    assert "the trash is empty" in err
    _, err = call(capsys, "sets", "show", "of Marsh", code=2)
    assert "did you mean of March" in err


def test_what_may_be_cleaned(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    stored = kept(root)
    (stored.raw_folder / "a.key").mkdir(parents=True)
    (stored.raw_folder / "a.key" / "column.npy").write_bytes(b"x" * 2_000_000)
    workspace().trash(kept(root, "old"))
    out, _ = call(capsys, "sets", "clean")
    assert "Tune needs" in out
    assert stored.raw_folder.is_dir()
    everything = {
        (u["part"], u["name"]): u["size_bytes"] for u in json.loads(call(capsys, "sets", "usage", "--json")[0])
    }
    assert everything["raw", "mine"] == 2_000_000
    assert everything["trash", "old"] > 0
    freed = json.loads(call(capsys, "sets", "clean", "--raw", "mine", "--trash", "--json")[0])["freed_bytes"]
    assert freed == 2_000_000 + everything["trash", "old"]
    assert not stored.raw_folder.exists()
    assert workspace().trashed() == ()
    assert workspace().find("predictions", "mine").n_files == 1


def test_an_empty_workspace_is_read_and_not_made(capsys: pytest.CaptureFixture[str]) -> None:
    for action in ("list", "usage", "clean"):
        call(capsys, "sets", action)
    call(capsys, "sets", "show", "x", code=2)
    assert not workspace().path.exists()


def test_the_workspace_of_a_call_stands_anywhere_and_for_this_call_alone(
    root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    before = workspace().path
    other = Workspace(tmp_path / "other one")
    other.begin("labels", "x", SetFacts())
    option = ["--workspace", str(other.path)]
    for arguments in (
        [*option, "sets", "list", "--json"],
        ["sets", *option, "list", "--json"],
        ["sets", "list", "--json", f"--workspace={other.path}"],
    ):
        assert [s["name"] for s in json.loads(call(capsys, *arguments)[0])] == ["x"]
    assert workspace().path == before
    _, err = call(capsys, "--workspace", str(root), "sets", "list", code=2)
    assert "is a data root" in err
    monkeypatch.delenv("SAI_WORKSPACE")
    call(capsys, *option, "sets", "list")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert workspace().path == tmp_path / "sai-workspace"


def figures(out: str) -> object:
    found = json.loads(out)
    return found["macro"], found["micro"], found["recordings"]


def test_evaluate_by_names(root: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    stored, labels = kept(root), kept(root, "corrected", "labels")
    by_path = call(
        capsys, "evaluate", "--labels", str(root / "labels_dev"), "--predictions", str(stored.folder), "--json", "-"
    )[0]
    by_name, err = call(capsys, "evaluate", "--labels", "corrected", "--predictions", "mine", "--json", "-")
    assert figures(by_name) == figures(by_path)
    assert json.loads(by_name)["recordings"] == [RECORDING]
    assert "warning" not in err
    _, err = call(capsys, "evaluate", "--labels", "corrected", "--predictions", "mime", code=2)
    assert "did you mean mine" in err
    kept(root, "elsewhere", "labels", data=str(root.parent))
    _, err = call(capsys, "evaluate", "--labels", "elsewhere", "--predictions", "mine", "--quiet")
    assert f"elsewhere are labels of {root.parent}" in err
    # a folder of this name goes before, and that is said
    monkeypatch.chdir(root)
    shutil.copytree(labels.folder, root / "corrected")
    _, err = call(capsys, "evaluate", "--labels", "corrected", "--predictions", "mine", "--json", "-")
    assert "the label set corrected is not" in err


def test_review_and_figure_by_names(root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    kept(root)
    kept(root, "theirs", data=str(tmp_path))  # exists, and is another folder than the root
    out = tmp_path / "queue.json"
    call(capsys, "review", "queue", "--root", str(root), "--systems", "mine", "--json", str(out))
    first = json.loads(out.read_text())
    call(capsys, "review", "queue", "--root", str(root), "--systems", "theirs", "--json", str(out))
    assert len(json.loads(out.read_text())) == len(first)
    made = workspace().begin("labels", "empty", SetFacts(data=str(root)))
    _, err = call(capsys, "review", "queue", "--root", str(root), "--systems", "mine", "--labels", "empty")
    assert "1 of 1 recordings have no label in the label set empty" in err
    assert made.n_files == 0
    figure = [
        *("figure", "--data", str(root), "--recording", RECORDING, "--frame", "1"),
        "--out",
        str(tmp_path / "f.png"),
    ]
    call(capsys, *figure, "--predictions", "mine")
    _, err = call(capsys, *figure, "--predictions", "theirs")
    assert "theirs was made from other data" in err
    _, err = call(capsys, *figure, "--predictions", "nobody's", code=2)
    assert "mine" in err


def test_a_workspace_is_no_data_root(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    kept(root, "x", "labels")
    found = open_data_root(workspace().path)
    assert found.recordings == ()
    assert "is a workspace" in found.problems[0]


@pytest.mark.parametrize("as_zip", [False, True])
@pytest.mark.parametrize("kind", ["predictions", "labels"])
def test_an_exported_set_is_imported_with_what_it_was_made_from(
    root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], kind: str, as_zip: bool
) -> None:
    stored = kept(root, "theirs", kind, note="a note", made_by="predict" if kind == "predictions" else "label")
    out = tmp_path / ("away.zip" if as_zip else "away")
    call(capsys, "sets", "export", "theirs", "--kind", kind, "--out", str(out))
    said, err = call(capsys, "sets", "import", str(out), "--data", str(root), "--quiet", "--json")
    facts = json.loads(said)
    assert (facts["name"], facts["kind"], facts["made_by"], facts["note"]) == (
        "away",
        kind,
        stored.facts.made_by,
        "a note",
    )
    again = workspace().find(kind, "away")
    assert set(again.files_by_split) == set(stored.files_by_split)
    for key, file in again.files_by_split.items():
        assert file.read_bytes() == stored.files_by_split[key].read_bytes()
    assert again.facts.id != stored.facts.id
    assert not err
    _, err = call(capsys, "sets", "import", str(out), "--name", "away", code=2)
    assert "already" in err


def test_an_import_tells_what_it_leaves_out_and_keeps_nothing_when_it_fails(
    root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    theirs = tmp_path / "theirs"
    theirs.mkdir()
    _, err = call(capsys, "sets", "import", str(theirs), code=2)
    assert "no annotation file" in err
    prediction = next((root / "predictions").rglob(f"{RECORDING}*.json"))
    shutil.copy(prediction, theirs / f"{RECORDING}.json")
    shutil.copy(prediction, theirs / "fold4_room1_mix009.json")
    (theirs / "fold4_room1_mix010.json").write_text("{ broken")
    _, err = call(capsys, "sets", "import", str(theirs), "--data", str(root), "--name", "good", "--quiet")
    assert "Left out: fold4_room1_mix010.json" in err
    assert "1 of 2 recordings are not in the data root" in err
    assert set(workspace().find("predictions", "good").files) == {RECORDING, "fold4_room1_mix009"}
    label = next((root / "labels_dev").rglob("*.json"))
    shutil.copy(label, theirs / "fold4_room1_mix011_std.json")
    _, err = call(capsys, "sets", "import", str(theirs), code=2)
    assert "2 files are predictions" in err
    assert "1 are labels" in err
    call(capsys, "sets", "import", str(theirs), "--kind", "labels", "--name", "their labels", "--quiet")
    assert set(workspace().find("labels", "their labels").files) == {"fold4_room1_mix011"}
    (theirs / f"{RECORDING}.json").unlink()
    before = sorted(p.name for p in workspace().path.rglob("*"))
    _, err = call(
        capsys, "sets", "import", str(theirs), "--kind", "predictions", "--data", str(root), "--name", "none", code=2
    )
    assert "none of its 1 recordings" in err
    assert sorted(p.name for p in workspace().path.rglob("*")) == before


def test_one_name_in_two_sub_folders_is_said(root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    label = next((root / "labels_dev").rglob(f"{RECORDING}*.json*"))
    with zipfile.ZipFile(tmp_path / "two.zip", "w") as archive:
        for place in ("x", "y"):
            archive.write(label, f"{place}/{label.name}")
    _, err = call(capsys, "sets", "import", str(tmp_path / "two.zip"), "--quiet")
    assert f"1 recording name is in several sub-folders ({RECORDING} in x, y)" in err


def test_a_passing_copy_is_not_kept_as_the_place_that_a_set_came_from(root: Path, tmp_path: Path) -> None:
    theirs = tmp_path / "theirs"
    theirs.mkdir()
    shutil.copy(next((root / "predictions").rglob(f"{RECORDING}*.json")), theirs / f"{RECORDING}.json")
    for origin in ("", "theirs.zip"):
        made = import_set(workspace(), theirs, name=f"from {origin or 'there'}", origin=origin)
        assert made.stored.facts.options["imported_from"] == (origin or str(theirs))


def test_a_zip_cannot_write_elsewhere(root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    prediction = next((root / "predictions").rglob(f"{RECORDING}*.json"))
    with zipfile.ZipFile(tmp_path / "odd.zip", "w") as archive:
        archive.write(prediction, f"set/{RECORDING}.json")
        for name in ("../../outside.json", "/outside.json", "set/../../outside.json", "C:/outside.json"):
            archive.writestr(zipfile.ZipInfo(name), prediction.read_bytes())
        link = zipfile.ZipInfo("set/linked.json")
        link.external_attr = 0o120777 << 16
        archive.writestr(link, "/etc/passwd")
    _, err = call(capsys, "sets", "import", str(tmp_path / "odd.zip"), "--quiet")
    assert "5 entries of odd.zip point elsewhere or are links" in err
    assert set(workspace().find("predictions", "odd").files) == {RECORDING}
    assert not list(tmp_path.rglob("outside*"))
    (tmp_path / "cut.zip").write_bytes((tmp_path / "odd.zip").read_bytes()[:-40])
    _, err = call(capsys, "sets", "import", str(tmp_path / "cut.zip"), code=2)
    assert "neither a folder nor a .zip" in err
