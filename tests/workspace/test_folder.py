"""The workspace: sets by name, the trash, what is remembered; damaged and foreign files, two processes at once."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import threading
import time
import zipfile
from dataclasses import fields, replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sai_core.errors import EnvironmentProblem, InputError
from sai_core.workspace import SetFacts, StoredSet, Workspace, check_name, use_workspace, workspace
from sai_core.workspace.facts import read_facts
from sai_core.workspace.names import clean_name, free_name

REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.fixture
def place(tmp_path: Path) -> Workspace:
    return Workspace(tmp_path / "workspace")


def made(
    place: Workspace,
    name: str = "FAO small",
    *,
    kind: str = "predictions",
    files: tuple[str, ...] = ("a", "b"),
    **facts: object,
) -> StoredSet:
    stored = place.begin(kind, name, SetFacts(**{"made_by": "predict", **facts}))  # type: ignore[arg-type]
    for file in files:
        path = stored.folder / (f"{file}.json" if kind == "predictions" else f"{file}_std.json")
        path.parent.mkdir(exist_ok=True)
        path.write_text("{}")
    return place.find(kind, name)


# ---------------------------------------------------------------------- names


@given(st.text(max_size=120))
def test_a_cleaned_name_is_allowed_and_stays_as_it_is(text: str) -> None:
    name = clean_name(text)
    assert check_name(name) == name
    assert clean_name(name) == name


@given(st.text(max_size=100))
def test_an_allowed_name_is_one_visible_file_name(text: str) -> None:
    try:
        name = check_name(text)
    except InputError:
        return
    assert os.path.basename(name) == name
    assert not name.startswith((".", "-", " "))
    assert len(os.fsencode(name)) <= 200
    assert check_name(name) == name


@given(st.lists(st.text(alphabet="aAß-2 .", max_size=6), max_size=12), st.integers(0, 90))
def test_free_names_are_free_for_ever(bases: list[str], length: int) -> None:
    taken: list[str] = []
    for base in [*bases, "x" * length, "x" * length]:
        name = free_name(base, taken)
        assert name.casefold() not in {t.casefold() for t in taken}
        taken.append(check_name(name))


@pytest.mark.parametrize(
    "name", ["", ".", "..", ".hidden", "a/b", "a\\b", "a\0b", "-x", "x" * 81, "x ", "x.", "a\nb", "\ud800"]
)
def test_names_that_are_refused(place: Workspace, name: str) -> None:
    with pytest.raises(InputError, match="cannot be the name of a set"):
        place.begin("predictions", name, SetFacts())
    assert place.sets("predictions") == ()


# ---------------------------------------------------------------------- reading and making


def test_reading_an_absent_workspace_makes_nothing(place: Workspace) -> None:
    assert place.sets("predictions") == place.sets("labels") == place.trashed() == place.usage() == ()
    assert place.recent_roots() == place.added() == place.problems() == ()
    assert place.free_name("labels", "mine") == "mine"
    with pytest.raises(InputError, match="there is none yet"):
        place.find("labels", "mine")
    assert not place.path.exists()


def test_a_set_is_found_with_its_facts_and_files(place: Workspace, tmp_path: Path) -> None:
    facts = SetFacts(
        made_by="predict",
        data=str(tmp_path),
        recordings=("dev/a", "b"),
        checkpoint="x.pth",
        system="FAO",
        options={"floor": 0.05, "official": True, "device": "cpu", "n": 3},
    )
    began = time.time()
    stored = place.begin("predictions", "FAO", facts)
    for name in ("a.json", "b_inference.json.gz", "notes.txt", "b_std.json"):
        (stored.folder / name).write_text("{}")
    (stored.folder / "raw" / "a.k").mkdir(parents=True)
    (stored.folder / "raw" / "a.k" / "store.json").write_text("{}" * 50)
    found = place.find("predictions", "fao")
    assert found.problem == ""
    made_up = {name: getattr(found.facts, name) for name in ("created", "program", "id")}
    assert found.facts == replace(facts, **made_up)
    assert len({found.facts.id, made(place, "another").facts.id, ""}) == 3
    assert began - 1 <= found.facts.created <= time.time()
    assert found.facts.program.startswith("SAI Explorer ")
    assert dict(found.files) == {"a": stored.folder / "a.json", "b": stored.folder / "b_inference.json.gz"}
    assert found.has_raw
    usage = {(u.part, u.name): u for u in place.usage()}
    assert usage["raw", "FAO"].size_bytes == 100
    assert usage["raw", "FAO"].may_be_cleaned
    assert usage["predictions", "FAO"].size_bytes == found.size_bytes() - 100
    assert not usage["predictions", "FAO"].may_be_cleaned
    assert place.drop_raw(found) == 100
    assert not place.find("predictions", "FAO").has_raw
    assert place.drop_raw(found) == 0
    assert sorted(p.name for p in found.folder.iterdir()) == sorted(
        [*("a.json", "b_inference.json.gz", "notes.txt", "b_std.json"), "set.json"]
    )


def test_label_files_of_one_name_in_two_splits_are_kept_apart(place: Workspace) -> None:
    stored = made(place, kind="labels", files=("dev/a", "test/a", "test/b", "c"))
    assert sorted(stored.files) == ["b", "c", "dev/a", "test/a"]
    assert sorted(stored.files_by_split) == ["c", "dev/a", "test/a", "test/b"]
    assert stored.n_files == 4


def test_the_size_follows_what_is_in_the_folder(place: Workspace) -> None:
    stored = made(place)
    before = stored.size_bytes()
    assert before == sum(p.stat().st_size for p in stored.folder.iterdir())
    (stored.folder / "c.json").write_text("x" * 1000)
    assert stored.size_bytes() == before + 1000


def test_sets_are_listed_newest_first(place: Workspace) -> None:
    for name, created in (("old", 1.0), ("new", 3.0), ("middle", 2.0)):
        made(place, name, created=created)
    assert [s.name for s in place.sets("predictions")] == ["new", "middle", "old"]


def test_a_name_that_is_taken(place: Workspace) -> None:
    made(place, "FAO")
    with pytest.raises(InputError, match="a prediction set FAO already"):
        place.begin("predictions", "fao", SetFacts())
    assert place.free_name("predictions", "fao") == "fao-2"
    assert place.free_name("labels", "fao") == "fao"
    with pytest.raises(InputError, match="did you mean FAO"):
        place.find("predictions", "FAOO")


def test_a_job_goes_on_with_its_own_set_alone(place: Workspace) -> None:
    facts = SetFacts(
        made_by="predict", data="/d", checkpoint="/c", checkpoint_content="1", system="FAO", recordings=("a",)
    )
    first = place.begin("predictions", "x", facts)
    again = place.begin("predictions", "x", replace(facts, checkpoint="/moved", recordings=("b", "a")), exist_ok=True)
    assert again.folder == first.folder
    assert again.facts.recordings == ("a", "b")
    assert again.facts.created == first.facts.created
    for changed, word in (
        ({"checkpoint_content": "2"}, "checkpoint"),
        ({"system_toml": "n"}, "system"),
        ({"data": "/e"}, "data root"),
        ({"options": {"floor": 0.2}}, "floor"),
    ):
        with pytest.raises(InputError, match=f"made with another {word};"):
            place.begin("predictions", "x", replace(facts, **changed), exist_ok=True)


def test_a_recording_called_set_is_refused_before_it_is_written_over(place: Workspace) -> None:
    with pytest.raises(InputError, match=r"set\.json"):
        place.begin("predictions", "x", SetFacts(recordings=("dev/set",)))
    assert place.begin("labels", "x", SetFacts(recordings=("dev/set",))).name == "x"


def test_values_that_json_has_not_are_refused_and_leave_nothing(place: Workspace) -> None:
    with pytest.raises(InputError, match="JSON"):
        place.begin("predictions", "x", SetFacts(options={"floor": float("nan")}))
    assert list(place.folder("predictions").iterdir()) == []


# ---------------------------------------------------------------------- set.json of others


@pytest.mark.parametrize(
    ("text", "word"),
    [
        (None, "is missing"),
        ("", "is damaged"),
        ('{"sai_set": 1, "data"', "is damaged"),
        ("[1]", "is no note about a set"),
        ('{"annotations": []}', "is no note about a set"),
        ('{"sai_set": true}', "is no note about a set"),
        ('{"sai_set": 99}', "newer version"),
        ('{"sai_set": 1, "recordings": "a"}', "recordings"),
        ('{"sai_set": 1, "options": {"a": [1]}}', "options"),
        ('{"sai_set": 1, "created": NaN}', "NaN"),
        ('{"sai_set": 1, "note": 3}', "note"),
        ("[" * 100_000, "is damaged"),
        ("\udcff", "is damaged"),
    ],
)
def test_a_set_without_readable_facts_is_listed_and_usable(place: Workspace, text: str | None, word: str) -> None:
    stored = made(place)
    path = stored.folder / "set.json"
    path.unlink()
    if text is not None:
        path.write_bytes(text.encode("utf-8", "surrogateescape"))
    (found,) = place.sets("predictions")
    assert word in found.problem
    assert "\n" not in found.problem
    assert found.facts == SetFacts()
    assert sorted(found.files) == ["a", "b"]
    if text is None:
        assert place.change(found, note="mine").facts.note == "mine"
    else:
        with pytest.raises(InputError, match="would replace it"):
            place.change(found, note="mine")
        assert path.read_bytes() == text.encode("utf-8", "surrogateescape")
    renamed = place.change(found, name="other")
    assert place.restore(place.trash(renamed)).name == "other"


def test_fields_of_other_versions_are_kept(place: Workspace) -> None:
    stored = made(place)
    path = stored.folder / "set.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "mood": {"a": [1]}}))
    place.change(place.find("predictions", stored.name), note="n", tags=["a", "a", " ", "b  c"])
    values = json.loads(path.read_text())
    assert values["mood"] == {"a": [1]}
    assert (values["note"], values["tags"]) == ("n", ["a", "b c"])
    assert read_facts(stored.folder).unknown == {"mood": {"a": [1]}}


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.just(10**400) | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
_KEYS = st.sampled_from([*(f.name for f in fields(SetFacts)), "sai_set", "sai_workspace", "roots", "added", "other"])


@given(st.dictionaries(_KEYS, _JSON, max_size=5), st.sampled_from([1, 1, 1, 2]))
def test_any_json_is_read_or_told(
    tmp_path_factory: pytest.TempPathFactory, values: dict[str, object], form: int
) -> None:
    place = Workspace(tmp_path_factory.getbasetemp() / "any json")
    (place.folder("labels") / "x").mkdir(parents=True, exist_ok=True)
    text = json.dumps({**values, "sai_set": form, "sai_workspace": form})
    (place.folder("labels") / "x" / "set.json").write_text(text)
    (place.path / "workspace.json").write_text(text)
    (stored,) = place.sets("labels")
    time.localtime(stored.facts.created)
    assert stored.problem or stored.facts.note == values.get("note", "")
    assert place.problems() or all(p.is_absolute() for p in place.recent_roots())


def test_a_named_pipe_is_not_waited_for(place: Workspace) -> None:
    stored = made(place)
    (stored.folder / "set.json").unlink()
    os.mkfifo(stored.folder / "set.json")
    assert "is no file" in place.find("predictions", stored.name).problem


def test_what_a_killed_process_left_is_cleared_away(place: Workspace) -> None:
    stored = made(place)
    (place.folder("predictions") / ".abc.new").mkdir()
    stored.raw_folder.mkdir()
    (place.path / "trash" / ".abc.raw").mkdir(parents=True)
    assert [s.name for s in place.sets("predictions")] == [stored.name]
    place.drop_raw(stored)
    made(place, "again")
    assert list((place.path / "trash").iterdir()) == []
    assert not (place.folder("predictions") / ".abc.new").exists()


# ---------------------------------------------------------------------- rename, trash, restore, export


def contents(place: Workspace) -> list[tuple[str, int]]:
    """Every set by what its note says, and how many files it has, wherever it is."""
    found = [(s.facts.note, s.n_files) for kind in ("predictions", "labels") for s in place.sets(kind)]
    return sorted(found + [(t.facts.note, sum(1 for _ in t.folder.glob("f*.json"))) for t in place.trashed()])


_NAMES = st.sampled_from(["a", "A", "b", "x" * 80, "é", "e\u0301", "../b", ""])


@settings(max_examples=30)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(["begin", "rename", "trash", "restore"]),
            st.sampled_from(["predictions", "labels"]),
            st.integers(0, 9),
            _NAMES,
        ),
        max_size=14,
    )
)
def test_nothing_is_lost_by_any_order_of_changes(steps: list[tuple[str, str, int, str]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        place = Workspace(Path(folder) / "w")
        expected: list[tuple[str, int]] = []
        for number, (what, kind, which, name) in enumerate(steps):
            sets, trashed = place.sets(kind), place.trashed()
            try:
                if what == "begin":
                    stored = place.begin(kind, name, SetFacts(note=f"n{number}", created=number + 1.0))
                    expected.append((f"n{number}", 1))
                    (stored.folder / "f0.json").write_text("{}")
                elif what == "rename" and sets:
                    changed = place.change(sets[which % len(sets)], name=name)
                    assert place.find(kind, changed.name) == changed
                elif what == "trash" and sets:
                    gone = place.trash(sets[which % len(sets)])
                    assert gone in place.trashed()
                elif what == "restore" and trashed:
                    back = place.restore(trashed[which % len(trashed)])
                    assert place.find(back.kind, back.name) == back
            except InputError:
                pass
            assert contents(place) == sorted(expected)
            for kind in ("predictions", "labels"):
                names = [s.name.casefold() for s in place.sets(kind)]
                assert len(names) == len(set(names))
        freed = sum(t.size_bytes() for t in place.trashed())
        assert place.empty_trash() == freed
        assert place.trashed() == ()
        assert list((place.path / "trash").glob("*")) == []


def test_what_was_made_from_a_set_follows_its_new_name(place: Workspace) -> None:
    first = made(place, "official", kind="labels")
    made(place, "corrected", kind="labels", base="official")
    made(place, "official", kind="predictions", base="")
    place.change(first, name="mine")
    assert place.find("labels", "corrected").facts.base == "mine"
    assert place.find("predictions", "official").name == "official"


def test_a_restored_set_gets_a_free_name(place: Workspace) -> None:
    gone = place.trash(made(place, "x", files=("a",)))
    made(place, "X", files=("b",))
    assert place.restore(gone).name == "x-2"
    with pytest.raises(InputError, match="not in the trash"):
        place.restore(gone)
    with pytest.raises(InputError, match="not in the trash"):
        place.delete(replace(gone, folder=place.find("predictions", "x-2").folder))
    assert {s.name for s in place.sets("predictions")} == {"x-2", "X"}


def test_a_set_that_is_gone(place: Workspace, tmp_path: Path) -> None:
    stored = made(place, "x")
    place.change(stored, name="y")
    for use in (
        lambda: place.change(stored, note="n"),
        lambda: place.trash(stored),
        lambda: place.drop_raw(stored),
        lambda: place.export(stored, tmp_path / "out"),
        lambda: place.writing(stored).__enter__(),
    ):
        with pytest.raises(InputError, match="is gone"):
            use()
    assert not (place.folder("predictions") / "x").exists()


def test_a_set_that_is_being_written_stays_where_it_is(place: Workspace) -> None:
    stored = made(place, "x")
    with place.writing(stored, part="0"), place.writing(stored, part="1") as folder:
        assert folder == stored.folder
        for use in (lambda: place.change(stored, name="y"), lambda: place.trash(stored)):
            with pytest.raises(InputError, match="being written"):
                use()
        with pytest.raises(InputError, match="being written"), place.writing(stored, part="1"):
            pass
        assert place.change(stored, note="a note may be").facts.note == "a note may be"
    assert place.change(stored, name="y").name == "y"


def test_a_job_that_knows_its_folder_alone(place: Workspace, tmp_path: Path) -> None:
    stored = made(place, "x")
    with place.writing_into(stored.folder), pytest.raises(InputError, match="being written"):
        place.change(stored, name="y")
    assert place.change(stored, name="y").n_files == 2
    # the job was asked for before: it must not make a set that nobody knows anything about
    with pytest.raises(InputError, match="is gone"), place.writing_into(stored.folder):
        pass
    assert [s.name for s in place.sets("predictions")] == ["y"]
    empty = place.begin("predictions", "empty", SetFacts())
    with pytest.raises(InputError, match="nothing"), place.writing_into(empty.folder):
        raise InputError("nothing")
    assert [s.name for s in place.sets("predictions")] == ["y"]
    # the same job again, as when it was cancelled before its first file
    with place.writing_into(empty.folder):
        (empty.folder / "a.json").write_text("{}")
    assert place.find("predictions", "empty").facts.id == empty.facts.id
    place.delete(place.trash(place.find("predictions", "empty")))
    with pytest.raises(InputError, match="is gone"), place.writing_into(empty.folder):
        pass
    # another set has its name meanwhile
    first = place.begin("predictions", "taken", SetFacts(system="FAO"))
    with place.writing_into(first.folder):
        pass
    place.begin("predictions", "taken", SetFacts(system="Voted"))
    with pytest.raises(InputError, match="choose another name"), place.writing_into(first.folder):
        pass
    place.delete(place.trash(place.find("predictions", "taken")))
    shared = place.begin("predictions", "shared", SetFacts())
    with place.writing_into(shared.folder, part="1"):
        with place.writing_into(shared.folder, part="0"):
            pass
        assert place.find("predictions", "shared").problem == ""  # the other has only not begun to write
    with place.writing_into(tmp_path / "elsewhere"), place.writing_into(place.path / "runs" / "x"):
        pass


def test_amplitudes_beside_a_label_are_no_labels(place: Workspace) -> None:
    stored = made(place, kind="labels", files=("dev/a", "dev/b_raw"))
    (stored.folder / "dev" / "a_raw.json").write_text("{}")
    assert sorted(place.find("labels", stored.name).files) == ["a", "b_raw"]


def test_export_to_a_folder_and_to_a_zip(place: Workspace, tmp_path: Path) -> None:
    stored = made(place, "x y")
    (stored.folder / "raw").mkdir()
    (stored.folder / "raw" / "s.bin").write_text("r")
    out = place.export(stored, tmp_path / "out")
    assert sorted(p.name for p in out.rglob("*")) == ["a.json", "b.json", "set.json"]
    packed = place.export(stored, tmp_path / "out.zip", raw=True)
    with zipfile.ZipFile(packed) as archive:
        assert sorted(archive.namelist()) == ["x y/a.json", "x y/b.json", "x y/raw/s.bin", "x y/set.json"]
    for taken in (out, packed):
        with pytest.raises(InputError, match="exists already"):
            place.export(stored, taken)
    with pytest.raises(InputError, match="lies inside the data"):
        place.export(stored, stored.folder / "copy")
    data = tmp_path / "data" / "labels_dev"
    data.mkdir(parents=True)
    (data / "r_std.json").write_text("{}")
    with pytest.raises(InputError, match="lies inside the data"):
        place.export(stored, data / "copy")
    assert [p.name for p in data.iterdir()] == ["r_std.json"]


# ---------------------------------------------------------------------- where the workspace may be


def test_a_workspace_in_a_data_root_is_refused(tmp_path: Path) -> None:
    root = tmp_path / "root"
    (root / "mic_dev" / "dev").mkdir(parents=True)
    (root / "mic_dev" / "dev" / "r.wav").write_text("x")
    for path in (root, root / "mine", root / "mic_dev" / "mine", root / "predictions" / "w"):
        with pytest.raises(InputError, match=r"data root|inside the data"):
            Workspace(path).begin("predictions", "x", SetFacts())
        with pytest.raises(InputError, match=r"data root|inside the data"):
            use_workspace(path)
    assert sorted(p.name for p in root.rglob("*")) == ["dev", "mic_dev", "r.wav"]


def test_a_set_of_another_workspace_is_refused(place: Workspace, tmp_path: Path) -> None:
    stored = made(place)
    other = Workspace(tmp_path / "other")
    with pytest.raises(InputError, match="is not in the workspace"):
        other.trash(stored)
    assert stored.folder.is_dir()


def test_data_can_be_looked_at_where_nothing_can_be_remembered(tmp_path: Path) -> None:
    (tmp_path / "mic_dev").mkdir()
    (tmp_path / "mic_dev" / "r.wav").write_text("x")
    (tmp_path / "file").write_text("x")
    for path in (tmp_path / "inside", Path("/proc/nowhere"), Path("/dev/null/w")):
        place = Workspace(path)
        assert place.remember_root(tmp_path) != ""
        assert place.recent_roots() == ()


def test_its_own_labels_do_not_make_a_workspace_a_data_root(place: Workspace) -> None:
    made(place, kind="labels")
    assert made(place, "again", kind="labels").n_files == 2
    with pytest.raises(InputError, match="lies inside the data root"):
        Workspace(place.path / "inner").begin("predictions", "x", SetFacts())


def test_a_workspace_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    for path in (tmp_path / "file", tmp_path / "file" / "in"):
        with pytest.raises((InputError, EnvironmentProblem)) as caught:
            Workspace(path).begin("predictions", "x", SetFacts())
        assert "\n" not in str(caught.value)
        assert Workspace(path).sets("predictions") == ()


def test_which_workspace_is_the_current_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SAI_WORKSPACE", str(tmp_path / "a"))
    assert workspace().path == tmp_path / "a"
    use_workspace(f'"{tmp_path / "b"}"')
    assert workspace().path == tmp_path / "b"
    use_workspace(None)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert workspace().path == tmp_path / "sai-workspace"
    with pytest.raises(InputError, match="No folder"):
        use_workspace("  ")
    assert list(tmp_path.iterdir()) == []


# ---------------------------------------------------------------------- workspace.json


def test_recent_roots_and_added_folders(place: Workspace, tmp_path: Path) -> None:
    roots = [tmp_path / f"root {n}" for n in range(14)]
    for root in roots:
        place.remember_root(root)
    place.remember_root(roots[5])
    assert place.recent_roots() == (roots[5], *(r for r in reversed(roots[2:]) if r != roots[5]))[:12]
    folder = tmp_path / "théirs"
    folder.mkdir()
    place.add(folder, "labels")
    place.add(folder, "labels")
    place.add(folder, "predictions")
    assert [(a.path, a.kind) for a in place.added()] == [(folder, "labels"), (folder, "predictions")]
    with pytest.raises(InputError, match="no such folder"):
        place.add(tmp_path / "absent", "labels")
    place.forget(folder)
    place.forget(roots[5])
    assert place.added() == ()
    assert roots[5] not in place.recent_roots()
    assert folder.is_dir()


@pytest.mark.parametrize(
    "text", ["", "{", "[]", '{"sai_workspace": 1, "roots": 3}', '{"sai_workspace": 1, "added": [3]}']
)
def test_a_damaged_list_is_told_and_kept_aside(place: Workspace, tmp_path: Path, text: str) -> None:
    made(place, kind="labels")
    path = place.path / "workspace.json"
    path.write_text(text)
    assert len(place.problems()) == 1
    assert place.recent_roots() == ()
    place.remember_root(tmp_path)
    assert place.recent_roots() == (tmp_path,)
    assert place.problems() == ()
    (aside,) = place.path.glob("workspace.json.damaged-*")
    assert aside.read_text() == text


def test_a_newer_list_is_left_as_it_is_and_unknown_fields_are_kept(place: Workspace, tmp_path: Path) -> None:
    place.path.mkdir()
    path = place.path / "workspace.json"
    path.write_text('{"sai_workspace": 2, "roots": {"new": "form"}}')
    place.remember_root(tmp_path)
    assert path.read_text() == '{"sai_workspace": 2, "roots": {"new": "form"}}'
    assert "newer version" in place.problems()[0]
    path.write_text('{"sai_workspace": 1, "colour": "blue"}')
    place.remember_root(tmp_path)
    assert json.loads(path.read_text())["colour"] == "blue"


_REMEMBER = """
import sys
from sai_core.workspace import SetFacts, Workspace
from sai_core.errors import InputError
place, who = Workspace(__import__("pathlib").Path(sys.argv[1])), sys.argv[2]
for n in range(5):
    place.remember_root(f"/data/{who}{n}")
    try:
        place.begin("labels", f"shared {n}", SetFacts(note=who))
        print(n)
    except InputError:
        pass
"""


def test_two_processes_at_once(place: Workspace) -> None:
    command = [sys.executable, "-c", _REMEMBER, str(place.path)]
    both = [subprocess.Popen([*command, who], cwd=REPOSITORY, stdout=subprocess.PIPE, text=True) for who in "ab"]
    printed = [process.communicate(timeout=120)[0].split() for process in both]
    assert [process.returncode for process in both] == [0, 0]
    assert sorted(printed[0] + printed[1]) == list("01234")  # each set was made by one of them
    assert {p.name for p in place.recent_roots()} == {f"{who}{n}" for who in "ab" for n in range(5)}
    assert place.problems() == ()
    assert all(s.problem == "" for s in place.sets("labels"))


def test_two_threads_at_once(place: Workspace) -> None:
    names: list[str] = []

    def work() -> None:
        for _ in range(5):
            names.append(place.begin("labels", place.free_name("labels", f"x{len(names)}"), SetFacts()).name)

    threads = [threading.Thread(target=work) for _ in range(3)]
    errors: list[BaseException] = []
    threading.excepthook, before = (lambda args: errors.append(args.exc_value or Exception())), threading.excepthook
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        threading.excepthook = before
    assert all(isinstance(e, InputError) for e in errors)  # two may choose the same name; one gets it
    assert sorted(s.name for s in place.sets("labels")) == sorted(names)
