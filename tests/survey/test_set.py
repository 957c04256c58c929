"""A set as a table: what is known, what is not yet, what cannot be; filters, order, tags, the verb."""

from __future__ import annotations

import csv
import json
import math
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as hs

from sai_core.cli import main
from sai_core.dataset import DataRoot, open_data_root
from sai_core.errors import CancelledError, EnvironmentProblem, InputError
from sai_core.metrics.evaluation.score_store import ScoreStore
from sai_core.survey import files, index
from sai_core.survey.index import Survey, groups_of
from sai_core.survey.query import Condition, apply, ordered, parse, written
from sai_core.survey.table import SetTable, table_of
from sai_core.taxonomy import CLASS_NAMES
from sai_core.workspace import workspace
from sai_core.workspace.marks import change_marks, path_of_marks, read_marks
from tests.figures.scenes import write_root

ROW = "fold4_room23_mix001"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two good recordings, one of them without sound; one whose label is broken; one with nothing but silence."""
    root = tmp_path_factory.mktemp("survey") / "root"
    write_root(root, n_frames=30, video_size=(64, 32), audio=True)
    write_root(
        root, recording="fold4_room9_mix002", n_frames=20, seed=3, video_size=None, audio=False, systems=("first",)
    )
    label = next(root.glob("labels_dev/*/*.json"))
    (label.parent / "fold4_room1_mix003_std.json").write_text('{"annotations": [{"metadata_frame_index": 3, "categ')
    sound = next(root.glob("mic_dev/*/*.wav"))
    soundfile.write(sound.with_name("fold4_room2_mix004.wav"), np.zeros((24_000, 4), np.float32), 24_000)
    return root


@pytest.fixture
def root(folder: Path) -> DataRoot:
    return open_data_root(folder)


def looked_at(root: DataRoot, **options: Any) -> tuple[SetTable, Survey]:
    systems = root.prediction_sets[:1]
    groups = groups_of(root, predictions=systems[0], scored=systems)
    survey = Survey(ScoreStore())
    survey.look(groups, **options)
    return table_of(survey, root, groups, systems=systems), survey


@pytest.fixture(scope="module")
def table(folder: Path) -> SetTable:
    return looked_at(open_data_root(folder))[0]


def test_what_is_known_of_each(table: SetTable) -> None:
    by_name = {r.name: k for k, r in enumerate(table.recordings)}
    good, mute, broken, silent = (
        by_name[n] for n in (ROW, "fold4_room9_mix002", "fold4_room1_mix003", "fold4_room2_mix004")
    )
    assert table.number("duration")[[good, silent]].tolist() == [3.0, 1.0]
    assert math.isnan(table.number("duration")[mute])
    assert table.number("loudness")[silent] == -math.inf
    assert table.text("room")[good] == "room23"
    assert "truncated" in table.text("problem")[broken].lower() or "ends" in table.text("problem")[broken]
    assert table.labels[broken] is None
    assert table.labels[silent] is None
    assert table.problems[good] == table.problems[mute] == table.problems[silent] == ()
    picture = table.pictures[good]
    assert picture is not None
    assert picture.jpeg[:2] == b"\xff\xd8"
    assert table.n_missing == 0
    assert "mic" in table.entries("has")[good]
    assert "mic" not in table.entries("has")[mute]


def test_level_and_peak_of_a_sine(tmp_path: Path) -> None:
    time = np.arange(48_000) / 24_000
    sine = 0.5 * np.sin(2 * np.pi * 1000 * time)
    samples = np.column_stack([sine, sine, sine, sine]).astype(np.float32)
    samples[7, 2] = np.nan
    path = tmp_path / "s.wav"
    soundfile.write(path, samples, 24_000, subtype="FLOAT")
    found = files._sound(path, lambda fraction, message: None)
    # amplitude 0.5: peak -6.02 dB, root mean square 3.01 dB below; one sample of 192,000 is missing
    np.testing.assert_allclose([found.peak_dbfs, found.level_dbfs], [-6.0206, -9.0309], rtol=0, atol=1e-3)
    assert any("1 samples are not numbers" in note for note in found.notes)


def test_the_second_process_reads_one_entry_and_no_file(root: DataRoot, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(index, "_SETTLED_NS", 0)
    first, _ = looked_at(root)
    monkeypatch.setattr(files, "content_of", lambda path: pytest.fail(f"{path} was looked at again"))
    again = Survey()
    groups = [g for g in groups_of(root) if g.kind != "labels"]
    again.load(groups)
    # what cannot be used is looked at again
    assert {look.recording.name[-1] for look in again.missing(groups)} == {"3"}
    second = table_of(again, root, groups)
    np.testing.assert_array_equal(first.number("loudness"), second.number("loudness"))


def test_a_file_just_written_is_not_kept_by_its_times(tmp_path: Path) -> None:
    write_root(tmp_path / "root", n_frames=10, video_size=None, audio=True)
    root = open_data_root(tmp_path / "root")
    looked_at(root)
    again, groups = Survey(), groups_of(root)
    again.load(groups)
    assert len(again.missing(groups)) == sum(len(g.looks) for g in groups) == 3


def test_a_changed_file_is_looked_at_again(tmp_path: Path) -> None:
    write_root(tmp_path / "root", n_frames=10, video_size=None, audio=True)
    root = open_data_root(tmp_path / "root")
    table, survey = looked_at(root)
    path = root.recordings[0].mic_path
    assert path is not None
    samples, rate = soundfile.read(path)
    soundfile.write(path, samples * 0, rate)
    groups = groups_of(root)
    assert {look.kind for look in survey.missing(groups)} == {"sound"}
    survey.look(groups)
    assert table_of(survey, root, groups).number("loudness")[0] == -math.inf != table.number("loudness")[0]


def test_workers_find_the_same(
    root: DataRoot, table: SetTable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SAI_CACHE_DIR", str(tmp_path))
    found, _ = looked_at(root, workers=1)
    for key in ("duration", "events", "loudness", "polyphony"):
        np.testing.assert_array_equal(found.number(key), table.number(key))
    assert [p and p.jpeg for p in found.pictures] == [p and p.jpeg for p in table.pictures]
    assert found.problems == table.problems


def _die(tasks: object) -> None:
    os._exit(9)


def test_a_worker_that_is_killed_is_a_sentence(root: DataRoot, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(index, "_answer_batch", _die)
    with pytest.raises(EnvironmentProblem, match="ended by the system"):
        Survey().look(groups_of(root), workers=1)


def test_cancelling_keeps_what_was_found(root: DataRoot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SAI_CACHE_DIR", str(tmp_path))
    monkeypatch.setattr(index, "_SETTLED_NS", 0)
    groups, survey = groups_of(root), Survey()

    def stop(fraction: float, message: str) -> None:
        if fraction > 0.6:
            raise CancelledError("Stopped.")

    with pytest.raises(CancelledError):
        survey.look(groups, progress=stop)
    n_missing = len(survey.missing(groups))
    assert 0 < n_missing < sum(len(g.looks) for g in groups)
    again = Survey()
    again.load(groups)
    assert len(again.missing(groups)) < sum(len(g.looks) for g in groups)


def test_scores_are_looked_for_and_never_computed(root: DataRoot, monkeypatch: pytest.MonkeyPatch) -> None:
    recording, system = root.recording(ROW), root.prediction_sets[0]
    assert recording.label_path is not None
    with monkeypatch.context() as patch:
        patch.setattr(ScoreStore, "result", lambda *a, **k: pytest.fail("a score was computed"))
        before, _ = looked_at(root)
    assert np.isnan(before.number(system.name)).all()
    result = ScoreStore().result(recording.label_path, system.files[ROW], recording=ROW, revision="2026-06-30")
    after, _ = looked_at(root)
    row = [r.name for r in after.recordings].index(ROW)
    from sai_core.metrics import merge

    assert after.number("score")[row] == after.number(system.name)[row] == merge([result.scores]).macro.mean_ap


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("", [1, 2, 4, 3]),
        ("room9", [2]),
        ("-room9 -room23", [3, 4]),
        ("room:ROOM23", [1]),
        ("name:mix00 duration>=1", [1, 4]),
        ("duration:1..2", [4]),
        ("-duration>=2", [2, 3, 4]),
        ("duration:none", [2, 3]),
        ("loudness<-90", [4]),
        ("problem:any", [3]),
        ("problem:none has:labels", [1, 2]),
        ("class:Music", [1, 2]),
        ("class:none", [3, 4]),
        ("class:speech", [1, 2]),
        ("has:video", [1]),
        ("has!=labels", [4]),
        ("has:audio", [1, 4]),
        ("has:Pictures", [1]),
        ("-has:sound", [2, 3]),
        ('"female speech" events>=1', [1, 2]),
        ("score>=0", []),
    ],
)
def test_filters(table: SetTable, text: str, names: list[int]) -> None:
    rows = np.flatnonzero(apply(table, parse(text)))
    assert sorted(int(table.recordings[k].name[-1]) for k in rows) == sorted(names)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("duraton>3", "did you mean duration"),
        ("duration>x", "'x' is not a number"),
        ("name>3", "holds text"),
        ("class:violin", "there is no such class"),
        ("has:smell", "there are audio, labels"),
        ("second>0", "choose it in 'scores of systems'"),
        ('"open', "cannot be understood"),
        (">=3", "cannot be understood"),
    ],
)
def test_filters_that_cannot_be(table: SetTable, text: str, said: str) -> None:
    with pytest.raises(InputError, match=said):
        apply(table, parse(text))


def test_a_score_needs_a_system_that_is_chosen(root: DataRoot, tmp_path: Path) -> None:
    without = table_of(Survey(), root, groups_of(root))
    for text in ("score:none", "score<0.2", f"{root.prediction_sets[0].name}<0.2"):
        with pytest.raises(InputError, match="choose it in 'scores of systems'"):
            apply(without, parse(text))
    write_root(tmp_path / "bare", n_frames=5, video_size=None, systems=())
    bare = open_data_root(tmp_path / "bare")
    with pytest.raises(InputError, match="no predictions here"):
        apply(table_of(Survey(), bare, groups_of(bare)), parse("score:none"))


def test_numbers_below_zero_need_no_quotes() -> None:
    for text in ("loudness<-24", "loudness:-30..-20", '-"-a"', "-loudness<=-3"):
        assert written(parse(text)) == text


words = hs.text(hs.characters(exclude_characters='"', categories=("L", "N", "P", "S", "Z")), max_size=8)


@given(
    hs.lists(
        hs.builds(
            Condition,
            hs.sampled_from(("name", "a b", "x=y", "-minus")),
            hs.sampled_from((":", "=", "!=", "<", "<=", ">", ">=")),
            words,
            hs.booleans(),
        )
        | hs.builds(lambda value, negated: Condition("", "", value, negated), words.filter(bool), hs.booleans()),
        max_size=4,
    )
)
def test_a_filter_is_read_as_it_is_written(conditions: list[Condition]) -> None:
    assert parse(written(tuple(conditions))) == tuple(conditions)


def test_order(table: SetTable) -> None:
    everything = np.arange(len(table))

    def names(sort: str) -> list[int]:
        return [int(table.recordings[k].name[-1]) for k in ordered(table, everything, sort)]

    assert names("-duration")[:2] == [1, 4]
    assert names("duration")[:2] == [4, 1]
    assert names("room") == [3, 4, 2, 1]
    assert names("-room") == [1, 2, 4, 3]
    with pytest.raises(InputError, match="no column 'size'"):
        names("size")


def test_tags_and_views_are_kept_and_never_overwrite_what_cannot_be_read(tmp_path: Path) -> None:
    place = workspace()
    assert read_marks(place, tmp_path).recordings == {}
    change_marks(place, tmp_path, ["s/a", "s/b"], add=["bad", "look again"], note="why")
    change_marks(place, tmp_path, ["s/b"], remove=["BAD"], views={"loud": "q=loudness>-20"})
    marks = read_marks(place, tmp_path)
    assert marks.recordings["s/a"].tags == ("bad", "look again")
    assert (marks.recordings["s/b"].tags, marks.recordings["s/b"].note) == (("look again",), "why")
    assert marks.tags == ("bad", "look again")
    assert dict(marks.views) == {"loud": "q=loudness>-20"}
    change_marks(place, tmp_path, ["s/b"], remove=["look again"], note="", views={"loud": None})
    assert set(read_marks(place, tmp_path).recordings) == {"s/a"}
    assert read_marks(place, tmp_path / "other").recordings == {}
    for tag in ("", "a,b", "x" * 41, "a\x00"):
        with pytest.raises(InputError, match="cannot be a tag"):
            change_marks(place, tmp_path, ["s/a"], add=[tag])
    path = path_of_marks(place, tmp_path)
    path.write_text("{")
    assert "damaged" in read_marks(place, tmp_path).problem
    with pytest.raises(EnvironmentProblem, match="left as it is"):
        change_marks(place, tmp_path, ["s/a"], add=["x"])
    assert path.read_text() == "{"


def test_a_root_without_recordings_is_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["dataset", "--data", str(tmp_path)]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert f"{tmp_path} holds no recordings" in said.err


def test_the_verb(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "list.csv"
    arguments = ["dataset", "--data", str(folder), "--where", "has:labels", "--sort=-events"]
    assert main([*arguments, "--csv", str(out), "--add-tag", "mine"]) == 1  # a label cannot be read
    told = capsys.readouterr()
    assert "3 of 4 recordings" in told.out
    assert "problem: " in told.err
    with open(out, encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [row["tag"] for row in rows] == ["mine"] * 3
    assert rows[-1]["problem"]
    assert rows[-1]["events"] == ""
    assert main(["dataset", "--data", str(folder), "--where", "tag:mine problem:none", "--json", "-", "--quiet"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["listed"] == 2
    assert main(["dataset", "--data", str(folder), "--where", "-tag:mine", "--json", "-", "--quiet"]) == 0
    assert json.loads(capsys.readouterr().out)["listed"] == 1
    counted = report["statistics"]["classes"]
    assert counted[CLASS_NAMES[0]]["frames"] > 0
    assert main(["dataset", "--data", str(folder), "--statistics", "--where", "problem:none"]) == 0
    assert "Female speech" in capsys.readouterr().out
    assert main(["dataset", "--data", str(folder), "--where", "lenght>3"]) == 2
    assert capsys.readouterr().err.count("\n") == 1
    assert main(["dataset", "--data", str(folder), "--csv", str(folder / "labels_dev" / "x.csv")]) == 2
