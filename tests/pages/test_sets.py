"""The workspace on the pages: the data panel, label sets, Home's table, links that carry sets along."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import streamlit as st
from streamlit.testing.v1 import AppTest

from pages.components import address
from pages.components import state_keys as keys
from sai_core.annotations import read_annotations, write_label_json, write_submission_json
from sai_core.dataset import open_data_root
from sai_core.viewing.player import unpack
from sai_core.workspace import SetFacts, workspace
from tests.figures.scenes import write_root

PAGES = Path(__file__).resolve().parents[2] / "pages"
NAME = "fold4_room23_mix001"


@pytest.fixture(autouse=True)
def _own_workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("SAI_WORKSPACE", str(tmp_path / "workspace"))
    st.cache_resource.clear()
    yield
    st.cache_resource.clear()


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_root(tmp_path_factory.mktemp("sets") / "root", n_frames=12, video_size=None, audio=False)


def page(name: str, root: Path | str, **parameters: str) -> AppTest:
    test = AppTest.from_file(str(PAGES / name / "page.py"), default_timeout=60)
    test.query_params[keys.ROOT] = str(root)
    for key, value in parameters.items():
        test.query_params[key] = value
    return test.run()


def scene(test: AppTest) -> dict[str, Any]:
    """Header of what the player was sent first."""
    stack: list[Any] = [test.main]
    while stack:
        for child in stack.pop().children.values():
            if getattr(child, "type", "") == "bidi_component":
                return unpack(unpack(child.proto.bytes)[1]["scene"])[0]
            if hasattr(child, "children"):
                stack.append(child)
    raise AssertionError("no player on the page")


def said(test: AppTest) -> str:
    kinds = (test.info, test.error, test.warning, test.success, test.caption, test.markdown)
    return " ".join(e.value for kind in kinds for e in kind).replace("\\", "")


def predictions(root: Path, name: str = "mine") -> Path:
    """A set of predictions in the workspace that was made from a root."""
    recording = open_data_root(root).recordings[0]
    made = workspace().begin("predictions", name, SetFacts(made_by="predict", data=str(root), system="Voted"))
    source = open_data_root(root).prediction_sets[0].files[recording.name]
    write_submission_json(read_annotations(source, recording=recording.name), made.folder / f"{recording.name}.json")
    return made.folder


def labels(root: Path, name: str, *, frames: int) -> Path:
    """A label set with the labels of the first frames alone."""
    recording = open_data_root(root).recordings[0]
    assert recording.label_path is not None
    made = workspace().begin("labels", name, SetFacts(made_by="review", data=str(root)))
    table = read_annotations(recording.label_path)
    path = made.folder / recording.split / f"{recording.name}_std.json"
    write_label_json(table.take(table.frame < frames), path)
    return made.folder


def test_a_set_of_the_workspace_is_on_every_page_by_its_name(root: Path, tmp_path: Path) -> None:
    predictions(root)
    explorer = page("explorer", root)
    assert not explorer.exception
    assert "mine" in " ".join(explorer.selectbox(key=keys.SYSTEM_A).options)
    scores = page("scores", root)
    assert not scores.exception
    assert "mine" in said(scores) or any("mine" in str(d.value) for d in scores.dataframe)
    figures = page("figures", root)
    assert any("mine" in option for option in figures.multiselect(key=keys.FIGURES_SYSTEMS).options)
    review = page("review", root)
    assert "mine" in review.multiselect(key=keys.REVIEW_SYSTEMS).options
    # recordings of other data are often called alike: there it is found only when it is asked for by its name
    other = write_root(tmp_path / "other", n_frames=12, video_size=None, audio=False)
    elsewhere = page("explorer", other)
    assert "mine" not in " ".join(elsewhere.selectbox(key=keys.SYSTEM_A).options)
    named = page("explorer", other, predictions="mine")
    assert "mine" in " ".join(named.selectbox(key=keys.SYSTEM_A).options)
    assert "made from other data" in said(named)


def test_another_label_set_is_the_truth_everywhere_and_never_mixed(root: Path) -> None:
    whole = len(read_annotations(next((root / "labels_dev").rglob("*_std.json"))))
    labels(root, "short", frames=6)
    own = scene(page("explorer", root))
    test = page("explorer", root, labels="short")
    assert not test.exception
    assert test.selectbox(key=keys.LABELS).value == "short"
    chosen = scene(test)
    assert own["scene"] != chosen["scene"]
    assert test.session_state[keys.ADDRESS].values[keys.LABELS] == "short"
    assert ":material/rule: **short**" in said(test)
    # the choice of the root's own is one click
    test.selectbox(key=keys.LABELS).set_value("").run()
    assert scene(test)["scene"] == own["scene"]
    assert whole > 0


def test_names_in_lists_are_shown_as_they_are(root: Path) -> None:
    labels(root, "mine_v2 (a.b)", frames=6)
    test = page("scores", root, labels="mine_v2 (a.b)", scores_view="Labels")
    assert "mine_v2 (a.b)" in test.selectbox(key=keys.LABELS).options


def test_two_label_sets_are_compared(root: Path) -> None:
    labels(root, "short", frames=6)
    test = page("scores", root, labels="short", scores_view="Labels")
    end = time.monotonic() + 90
    # a system is a row as soon as it is scored
    while (len(test.dataframe) < 3 or len(test.dataframe[0].value) < 2) and time.monotonic() < end:
        assert not test.exception
        time.sleep(0.2)
        test.run()
    systems, classes, moments = (element.value for element in test.dataframe[:3])
    assert list(systems["system"]) == ["first", "second"]
    assert (systems["Δ mAP"] == systems["mAP"] - systems["mAP, other"]).all()
    assert (
        {"before", "after", "same", "removed"}
        <= set(classes.columns)
        <= {"class", "before", "after", "same", "removed"}
    )
    assert (classes["before"] == classes["same"] + classes["removed"]).all()
    assert len(moments) == classes["removed"].sum() > 0
    assert set(moments["time"]) <= {f"{k / 10:.1f} s" for k in range(6, 12)}
    # with one set there is nothing to compare, and ways to get another
    workspace().trash(workspace().find("labels", "short"))
    alone = page("scores", root, scores_view="Labels")
    assert "only one label set" in said(alone)


def test_a_link_to_labels_that_are_not_there_says_so(root: Path) -> None:
    labels(root, "somewhere", frames=6)
    for name in ("explorer", "scores", "review"):
        test = page(name, root, labels="nowhere")
        assert not test.exception
        assert "nowhere" in test.error[0].value
        # nothing else is taken for the truth until somebody says so
        test.run()
        assert "nowhere" in test.error[0].value
    test = page("explorer", root, labels="nowhere")
    next(b for b in test.button if b.label == "Use somewhere").click().run()
    assert not test.error
    assert test.selectbox(key=keys.LABELS).value == "somewhere"


def test_labels_by_a_path_stay_until_other_data_are_opened(root: Path, tmp_path: Path) -> None:
    folder = labels(root, "short", frames=6)
    elsewhere = tmp_path / "kept elsewhere"
    shutil.copytree(folder / "dev-test-sony", elsewhere / "labels_dev" / "dev-test-sony")
    test = page("explorer", root, labels=str(elsewhere))
    assert not test.error
    chosen = scene(test)["scene"]
    test.selectbox(key=keys.SYSTEM_A).set_value("second").run()
    assert test.session_state[keys.ADDRESS].values[keys.LABELS] == str(elsewhere)
    assert scene(test)["scene"] != chosen
    # a set that is renamed while it is in use is not replaced in silence
    test.selectbox(key=keys.LABELS).set_value("short").run()
    workspace().change(workspace().find("labels", "short"), name="renamed")
    st.cache_resource.clear()  # it is looked again after two seconds
    test.run()
    assert "short" in test.error[0].value
    next(b for b in test.button if b.label == "Use renamed").click().run()
    assert not test.error
    other = write_root(tmp_path / "other", n_frames=6, video_size=None, audio=False)
    test.text_input(key=keys.ROOT).set_value(f'"{other}"').run()
    assert not test.error
    assert test.text_input(key=keys.ROOT).value == str(other)
    assert not test.session_state[keys.ADDRESS].values[keys.LABELS]


def test_one_bad_entry_does_not_hide_the_others(root: Path, tmp_path: Path) -> None:
    folder = tmp_path / "third"
    folder.mkdir()
    source = open_data_root(root).prediction_sets[0].files[NAME]
    (folder / source.name).write_bytes(source.read_bytes())
    test = page("explorer", root, predictions=f"/nope/x\n{folder}")
    assert not test.exception
    assert "/nope/x" in test.error[0].value.replace("\\", "")
    assert any("third" in option for option in test.selectbox(key=keys.SYSTEM_A).options)
    test.button(key="predictions_off_0").click().run()
    assert not test.error


def test_a_system_that_was_thrown_away_is_not_replaced_in_silence(root: Path) -> None:
    predictions(root)
    test = page("explorer", root, a="mine")
    assert not test.warning
    workspace().trash(workspace().find("predictions", "mine"))
    st.cache_resource.clear()
    test.run()
    assert "'mine' is not in these data" in said(test)


@pytest.mark.parametrize("name", ["explorer", "scores", "review", "home", "figures"])
def test_what_a_label_set_lacks_is_said_on_every_page(root: Path, name: str) -> None:
    made = workspace().begin("labels", "empty-handed", SetFacts(made_by="review", data=str(root)))
    (made.folder / "fold1_room1_mix009_std.json").write_text('{"annotations": []}')
    test = page(name, root, labels="empty-handed")
    assert not test.exception
    assert "1 of 1 recordings have no label in the label set" in said(test)


def test_several_predictions_are_added_and_taken_away_one_by_one(root: Path, tmp_path: Path) -> None:
    for name in ("one", "two"):
        folder = tmp_path / "else where" / name
        folder.mkdir(parents=True)
        source = open_data_root(root).prediction_sets[0].files[NAME]
        (folder / source.name).write_bytes(source.read_bytes())
    test = page("explorer", root)
    for name in ("one", "two"):
        # as it is pasted: in quotes, or as a file's address
        text = tmp_path / "else where" / name
        pasted = f'"{text}"' if name == "one" else text.as_uri()
        test.text_input(key=keys.PREDICTION_ENTRY).set_value(pasted).run()
    options = " ".join(test.selectbox(key=keys.SYSTEM_A).options)
    assert "one" in options
    assert "two" in options
    assert test.text_input(key=keys.PREDICTION_ENTRY).value == ""
    link = test.session_state[keys.ADDRESS].values[keys.PREDICTION_FOLDER]
    assert link.splitlines() == [str(tmp_path / "else where" / name) for name in ("one", "two")]
    test.button(key="predictions_remove_0").click().run()
    options = " ".join(test.selectbox(key=keys.SYSTEM_A).options)
    assert "one" not in options
    assert "two" in options
    # a link holds them all
    again = page("explorer", root, predictions=link)
    assert "one" in " ".join(again.selectbox(key=keys.SYSTEM_A).options)


@pytest.mark.parametrize("inside", ["labels_dev", "labels_dev/dev-test-sony", "labels_dev/gone/x.json"])
def test_a_folder_too_deep_offers_the_right_one(root: Path, inside: str) -> None:
    test = page("home" if inside == "labels_dev" else "explorer", root / inside)
    assert not test.exception
    wanted = [b for b in test.button if str(root) in b.label.replace("\\", "")]
    if (root / inside).exists() and not wanted:
        # a kind's folder can be looked at by itself
        assert not test.error
        return
    wanted[0].click().run()
    assert not test.error
    assert test.text_input(key=keys.ROOT).value == str(root)


def test_a_folder_above_offers_the_one_inside(root: Path) -> None:
    test = page("explorer", root.parent)
    assert not test.exception
    next(b for b in test.button if str(root) in b.label.replace("\\", "")).click().run()
    assert scene(test)["recording"] == NAME


def test_what_was_opened_by_hand_is_recent_and_what_a_link_opened_is_not(root: Path, tmp_path: Path) -> None:
    test = page("explorer", root)
    assert workspace().recent_roots() == ()
    other = write_root(tmp_path / "other", n_frames=6, video_size=None, audio=False)
    test.text_input(key=keys.ROOT).set_value(str(other)).run()
    assert workspace().recent_roots() == (other,)
    test.button(key="demo_panel").click().run()
    assert not test.error
    assert workspace().recent_roots() == (other,)
    test.selectbox(key=keys.RECENT).set_value(str(other)).run()
    assert test.text_input(key=keys.ROOT).value == str(other)


def test_browsing_goes_down_up_and_opens(root: Path) -> None:
    test = page("explorer", root)
    test.button(key="browse_up").click().run()
    names = test.selectbox(key=keys.BROWSE_PICK).options
    assert any(name.startswith(root.name) and "data root" in name for name in names)
    test.selectbox(key=keys.BROWSE_PICK).set_value(str(root)).run()
    assert test.button(key="browse_open").disabled
    test.button(key="browse_up").click().run()
    test.button(key="browse_open").click().run()
    assert test.text_input(key=keys.ROOT).value == str(root.parent)


def test_a_server_opens_no_folder_outside_of_those_it_may(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SAI_FOLDERS", str(root))
    assert not page("explorer", root).error
    for path in (tmp_path, "/etc", f"{root}/.."):
        test = page("explorer", path)
        assert not test.exception
        assert "opens only folders in" in test.error[0].value
    outside = page("explorer", root, predictions=str(tmp_path))
    assert "opens only folders in" in outside.error[0].value
    inside = page("explorer", root)
    assert inside.button(key="browse_up").disabled


def test_home_lists_sets_and_changes_them(root: Path) -> None:
    folder = predictions(root)
    labels(root, "corrected", frames=6)
    test = page("home", root, home_view="Workspace")
    assert not test.exception
    table = test.dataframe[0].value
    assert list(table["name"]) == ["mine", "corrected"]
    assert list(table["this data"]) == [True, True]
    test.text_input(key=keys.SETS_FILTER).set_value("voted").run()
    assert list(test.dataframe[0].value["name"]) == ["mine"]
    # AppTest cannot choose rows of a table: what the panel does is called with what it shows
    from pages.home import sets

    stored = workspace().find("predictions", "mine")
    with_note = workspace().change(stored, name="ours", note="for the paper", tags=("paper",))
    assert not folder.exists()
    test.text_input(key=keys.SETS_FILTER).set_value("paper").run()
    assert list(test.dataframe[0].value["name"]) == ["ours"]
    workspace().trash(with_note)
    test.text_input(key=keys.SETS_FILTER).set_value("").run()
    assert list(test.dataframe[0].value["name"]) == ["corrected"]
    test.button(key="sets_restore_0").click().run()
    assert sorted(test.dataframe[0].value["name"]) == ["corrected", "ours"]
    assert "restored" in said(test)
    assert sets._size(1_500_000) == "1.5 MB"


def test_an_empty_workspace_says_how_it_is_filled(root: Path) -> None:
    test = page("home", root, home_view="Workspace")
    assert not test.exception
    assert "Nothing has been made yet" in said(test)


def test_links_carry_root_labels_and_predictions(monkeypatch: pytest.MonkeyPatch) -> None:
    state = {keys.ROOT: "/data", keys.LABELS: "corrected", keys.PREDICTION_FOLDER: "/a\nmine"}
    monkeypatch.setattr(address.st, "session_state", state)
    query = address.explorer_query(root="/data", recording="x", split="s", frame=3, a="mine")
    assert query == {
        "root": "/data",
        "labels": "corrected",
        "predictions": "/a\nmine",
        "rec": "s/x",
        "frame": "3",
        "a": "mine",
    }
    # labels and added predictions are not those of other data
    assert address.explorer_query(root="/other", recording="x") == {"root": "/other", "rec": "x"}
    # the same folder as it was typed
    state[keys.ROOT] = "'/data/'"
    assert address.explorer_query(root="/data", recording="x")["labels"] == "corrected"


def test_a_folder_is_imported_on_home_and_is_there_at_once(root: Path, tmp_path: Path) -> None:
    theirs = tmp_path / "theirs"
    shutil.copytree(predictions(root), theirs)
    (theirs / "set.json").unlink()
    (theirs / "fold9_room1_mix001.json").write_text("[]]")
    test = page("home", root, **{keys.HOME_VIEW: "Workspace"})
    test.text_input(key="sets_import_path").set_value(str(tmp_path / "nowhere"))
    submit = next(b for b in test.button if b.label == "Import")
    submit.click().run()
    wait_for(test, "there is no such folder")
    test.text_input(key="sets_import_path").set_value(str(theirs))
    next(b for b in test.button if b.label == "Import").click().run()
    wait_for(test, "theirs: 1 file of predictions imported. Left out: fold9_room1_mix001.json")
    assert not test.exception
    assert workspace().find("predictions", "theirs").facts.data == str(root)


def wait_for(test: AppTest, words: str) -> None:
    end = time.monotonic() + 60
    while words not in said(test):
        assert time.monotonic() < end, said(test)
        time.sleep(0.1)
        test.run()


def test_a_set_is_exported_for_other_programs(root: Path, tmp_path: Path) -> None:
    predictions(root, "ours")

    def script(path: str) -> None:
        from pages.home import sets
        from sai_core.dataset import open_data_root
        from sai_core.workspace import workspace

        here = workspace()
        sets._show_job()
        sets._export(open_data_root(path), here, here.find("predictions", "ours"))

    test = AppTest.from_function(script, kwargs={"path": str(root)}, default_timeout=60).run()
    test.selectbox(key="sets_format_predictions").select("webvtt").run()
    test.text_input(key="sets_out_predictions_ours_webvtt").set_value(str(tmp_path / "subtitles"))
    test.button(key="sets_write").click().run()
    end = time.monotonic() + 60
    while keys.SETS_SAID not in test.session_state:
        assert time.monotonic() < end
        time.sleep(0.1)
        test.run()
    is_done, sentence = test.session_state[keys.SETS_SAID]
    assert is_done
    assert sentence.startswith(f"ours: 1 file written to {tmp_path / 'subtitles'}. {NAME}: 7 frames of short pauses")
    assert (tmp_path / "subtitles" / f"{NAME}.vtt").read_text().startswith("WEBVTT")
