"""Named systems: the files that come along, files of a user, and their command line."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sai_core.annotations import write_dcase_csv
from sai_core.cli import main
from sai_core.detections.teacher_files import read_teacher
from sai_core.errors import InputError
from sai_core.postprocess import PipelineSettings, System, list_systems, load_system, run_system, save_system
from sai_core.postprocess.systems import parse_system, refused_systems, system_toml, systems_folder, systems_folders
from sai_core.workspace import workspace
from tests.annotations.helpers import assert_same
from tests.postprocess.raws import make_raw, make_teacher


@pytest.fixture(autouse=True)
def own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SAI_SYSTEMS_DIR", str(tmp_path / "mine"))
    return tmp_path / "mine"


def test_every_system_of_the_report_is_there_and_runs():
    systems = list_systems()
    assert [s.name for s in systems] == [
        "FAO",
        "OR-AO",
        "Baseline",
        "TPAV",
        "ERAV",
        "CFAV",
        "ResNet-Conformer",
        "Class-wise",
        "Router",
        "Coverage",
        "Legacy",
        "Voted",
        "Field",
    ]
    bare = make_raw(0, n_frames=80)
    heard = np.log(np.random.default_rng(0).dirichlet(np.full(14, 0.5), len(bare)) + 1e-6)
    raw = replace(bare, wideband=heard.astype(np.float16))
    teacher = make_teacher(raw)
    tables = {}
    for system in systems:
        assert load_system(system.name.lower()) == system
        assert len(system.description) > 100
        assert system.checkpoint or system.track == "any"
        tables[system.name] = run_system(raw, system, teacher=teacher)
        assert len(tables[system.name]) > 0
        if system.needs_teacher:
            with pytest.raises(InputError, match=f"made_up: {system.name} needs a teacher"):
                run_system(raw, system)
        else:
            assert_same(run_system(raw, system), tables[system.name])
    assert [s.name for s in systems if s.needs_teacher] == ["TPAV", "ERAV", "CFAV", "Legacy"]
    assert [s.name for s in systems if s.needs_field] == ["Field"]
    assert [s.name for s in systems if s.needs_wideband] == ["Field"]
    with pytest.raises(
        InputError, match="made_up: wideband_weight needs raw detections that a wideband listener heard"
    ):
        run_system(bare, load_system("Field"))
    assert [s.display_name for s in systems if not s.clean] == ["Legacy (non-clean)"]
    assert load_system("Baseline").settings == PipelineSettings(wrap_seam=False)
    assert len(np.unique(tables["CFAV"].category_id)) == 1
    assert len(np.unique(tables["TPAV"].category_id)) > 1


per_class = st.dictionaries(st.integers(0, 12), st.floats(0, 1), max_size=3)
classes = st.one_of(st.sampled_from(["all", "best"]), st.sets(st.integers(0, 12)).map(tuple))
texts = st.text(st.characters(codec="utf-8"), max_size=60)


@given(per_class, classes, texts, texts, st.floats(0, 1), st.booleans())
def test_a_saved_system_comes_back(tmp_path_factory, scores, keep, title, description, score, clean):
    settings = PipelineSettings(min_score_per_class=scores, keep_classes=keep, min_score=score)
    # TOML has one kind of line break
    title, description = (t.replace("\r", "").replace("\n", " \n") for t in (title, description))
    system = System(
        name="Mine 1.0", title=title, description=description, version=3, track="A", clean=clean, settings=settings
    )
    path = tmp_path_factory.mktemp("s") / "mine.toml"
    save_system(system, path)
    assert load_system(path) == system


def test_new_systems_go_to_the_workspace_and_those_of_older_versions_are_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.delenv("SAI_SYSTEMS_DIR", raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    former = tmp_path / "config" / "sai-explorer" / "systems"
    assert systems_folders() == (workspace().folder("systems"), former)
    assert systems_folder() == systems_folders()[0]
    fao = load_system("FAO")
    save_system(replace(fao, name="Old"), former / "old.toml")
    save_system(replace(fao, name="Both", title="former"), former / "both.toml")
    save_system(replace(fao, name="Both", title="new"), systems_folder() / "both.toml")
    assert [s.name for s in list_systems(systems_folders())][-2:] == ["Both", "Old"]
    assert load_system("both", folder=systems_folders()).title == "new"
    assert ["another system named Both" in s for s in refused_systems(systems_folders())] == [True]
    monkeypatch.setenv("SAI_WORKSPACE", str(tmp_path / "root" / "w"))
    (tmp_path / "root" / "mic_dev").mkdir(parents=True)
    (tmp_path / "root" / "mic_dev" / "r.wav").write_text("x")
    with pytest.raises(InputError, match="lies inside the data"):
        save_system(fao, systems_folder() / "fao.toml")


def test_a_users_folder_adds_to_the_list_and_never_replaces(own_folder: Path):
    assert systems_folder() == own_folder
    fao = load_system("FAO")
    mine = fao.with_settings(replace(fao.settings, min_score=0.5), name="Mine")
    assert (mine.version, fao.with_settings(fao.settings).version) == (1, 2)
    save_system(mine, own_folder / "mine.toml")
    save_system(replace(fao, title="false"), own_folder / "fao.toml")
    (own_folder / "broken.toml").write_text("name = ")
    names = [s.name for s in list_systems(own_folder)]
    assert names == [*(s.name for s in list_systems()), "Mine"]
    assert load_system("MINE", folder=own_folder) == mine
    assert load_system("fao", folder=own_folder) == fao
    with pytest.raises(InputError, match=r"broken\.toml: is not a TOML file"):
        load_system("broken", folder=own_folder)
    with pytest.raises(InputError, match="there is no such system; choose FAO, OR-AO"):
        load_system("Mine")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('name = "x"\nnms = 1', "nms: there is no such key"),
        ('name = "x"\n[settings]\nnms = 1', "nms: there is no such setting"),
        ('name = "x"\n[settings]\nnms_iou = 2', "nms_iou is 2; a number from 0 to 1 is needed"),
        ('name = "x"\n[settings]\nnms_iou = "a"', "nms_iou is 'a'"),
        ('name = "x"\n[settings]\nmin_score = nan', "min_score is nan"),
        ('name = "x"\n[settings]\nmin_score_per_class = { "a" = 1 }', "min_score_per_class: a name is 'a'"),
        ('name = "../x"', "name is '../x'"),
        ('name = "x"\nversion = 0', "version is 0"),
        ('name = "x"\ntrack = "C"', "track is 'C'"),
        ('name = "x"\nclean = "yes"', "clean is 'yes'"),
        ('name = "x"\nformat = 2', "format is 2"),
        ('name = "x"\nsettings = 3', "settings must be a table"),
        ("version = 1", "name is missing"),
        ("= 1", "is not a TOML file"),
        ("\ud800", "is not a TOML file"),
    ],
)
def test_what_is_wrong_is_told_with_file_and_key(tmp_path: Path, text: str, message: str):
    path = tmp_path / "a.toml"
    path.write_bytes(text.encode("utf-8", "surrogatepass"))
    with pytest.raises(InputError) as error:
        load_system(path)
    assert str(error.value).startswith(f"{path}: ")
    assert message in str(error.value)


def test_missing_and_misnamed_files(tmp_path: Path):
    with pytest.raises(InputError, match="cannot be read"):
        load_system(tmp_path / "no.toml")
    with pytest.raises(InputError, match=r"must end in \.toml"):
        save_system(load_system("FAO"), tmp_path / "a.txt")
    assert parse_system({"name": "x"}).settings == PipelineSettings()
    assert "# smallest score that is kept (0 to 1)\nmin_score = 0.1\n" in system_toml(load_system("FAO"))


def test_teachers_are_found_by_name_in_sub_folders(tmp_path: Path):
    raw = make_raw(0)
    teacher = make_teacher(raw)
    write_dcase_csv(teacher, tmp_path / "t" / "deep" / "made_up.csv")
    assert len(read_teacher(tmp_path / "t", "made_up")) == len(teacher)
    with pytest.raises(InputError, match=r"holds no other\.csv"):
        read_teacher(tmp_path / "t", "other")
    write_dcase_csv(teacher, tmp_path / "t" / "made_up.csv")
    with pytest.raises(InputError, match="twice"):
        read_teacher(tmp_path / "t", "made_up")
    with pytest.raises(InputError, match="no such folder"):
        read_teacher(tmp_path / "u", "made_up")


def test_command_lists_shows_and_copies(tmp_path: Path, own_folder: Path, capsys: pytest.CaptureFixture[str]):
    assert main(["systems", "list"]) == 0
    out = capsys.readouterr().out
    assert "Legacy (non-clean)" in out
    assert out.count("\n") >= 11
    assert main(["systems", "list", "--json"]) == 0
    listed = json.loads(capsys.readouterr().out)
    assert [s["name"] for s in listed][:3] == ["FAO", "OR-AO", "Baseline"]
    assert [s["clean"] for s in listed].count(False) == 1
    assert main(["systems", "show", "tpav"]) == 0
    assert "teacher_radius_deg = 20.0" in capsys.readouterr().out
    assert main(["systems", "show", "tpav", "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown["settings"]["teacher_radius_deg"] == 20
    assert shown["needs_teacher"] is True
    out_path = tmp_path / "x" / "my.toml"
    assert main(["systems", "copy", "FAO", "--out", str(out_path), "--name", "My FAO"]) == 0
    capsys.readouterr()
    copied = load_system(out_path)
    assert (copied.name, copied.settings) == ("My FAO", load_system("FAO").settings)
    assert main(["systems", "show", str(out_path), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["name"] == "My FAO"
    assert main(["systems", "copy", "FAO", "--out", str(out_path)]) == 2
    assert "exists already" in capsys.readouterr().err
    assert main(["systems", "show", "nobody"]) == 2
    assert "there is no such system" in capsys.readouterr().err
    own_folder.mkdir()
    (own_folder / "bad.toml").write_text("name = 3")
    assert main(["systems", "list"]) == 0
    assert "bad.toml: name is 3" in capsys.readouterr().err
