"""The Dataset page in every state of the data; what a browser alone shows is in ``tests/browser``."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import streamlit as st
from streamlit.testing.v1 import AppTest

from pages.components import set_survey
from pages.components import state_keys as keys
from sai_core.workspace import workspace
from sai_core.workspace.marks import read_marks
from tests.figures.scenes import write_root

PAGE = str(Path(__file__).resolve().parents[2] / "pages" / "dataset" / "page.py")
GOOD, MUTE, BROKEN = "fold4_room23_mix001", "fold4_room9_mix002", "fold4_room1_mix003"


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A full recording, one with labels alone, one whose label is broken."""
    path = tmp_path_factory.mktemp("dataset") / "root"
    write_root(path, recording=GOOD, n_frames=30, video_size=(64, 32), audio=True)
    write_root(path, recording=MUTE, n_frames=20, seed=3, video_size=None, audio=False, systems=("first",))
    label = next(path.glob("labels_dev/*/*.json"))
    (label.parent / f"{BROKEN}_std.json").write_text('{"annotations": [{"metadata_frame_index": 3, "categ')
    return path


@pytest.fixture(scope="module", autouse=True)
def _no_jobs_of_other_tests() -> Iterator[None]:
    st.cache_resource.clear()
    yield
    st.cache_resource.clear()


def page(root: Path | str, **parameters: str) -> AppTest:
    """The page when all is known."""
    test = AppTest.from_file(PAGE, default_timeout=120)
    test.query_params[keys.ROOT] = str(root)
    for name, value in parameters.items():
        test.query_params[name] = value
    test.run()
    end = time.monotonic() + 60
    while any(job.active for job in set_survey._queue().jobs) or any(b.key == "survey_stop" for b in test.button):
        assert time.monotonic() < end
        time.sleep(0.1)
        test.run()
    assert not test.exception
    return test


def listed(test: AppTest) -> list[str]:
    return list(test.dataframe[0].value["name"]) if len(test.dataframe) else []


def said(test: AppTest) -> str:
    kinds = (test.info, test.error, test.warning, test.caption, test.markdown)
    return " ".join(e.value for kind in kinds for e in kind).replace("\\", "")


def test_each_recording_is_a_row_whatever_is_wrong_with_it(root: Path) -> None:
    test = page(root)
    rows: dict[str, Any] = {row["name"]: row for row in test.dataframe[0].value.to_dict("records")}
    assert set(rows) == {GOOD, MUTE, BROKEN}
    assert rows[GOOD]["picture"].startswith("data:image/jpeg")
    assert rows[GOOD]["strip"].startswith("data:image/png")
    assert rows[GOOD]["duration"] == 3.0
    assert math.isnan(rows[MUTE]["duration"])
    assert "_std.json" in rows[BROKEN]["problem"]
    assert "1 with a file that cannot be used" in said(test)
    assert "rec=dev-test-sony%2Ffold4" in rows[GOOD]["open"]


def test_a_link_is_a_view(root: Path) -> None:
    test = page(root, where="has:labels problem:none", sort="-room", systems="first")
    assert listed(test) == [GOOD, MUTE]
    assert "mAP 0" in test.dataframe[0].value
    test.text_input(key=keys.DATASET_QUERY).set_value("room9").run()
    assert listed(test) == [MUTE]
    test.text_input(key=keys.DATASET_QUERY).set_value("lenght>3").run()
    assert "there is no column 'lenght'" in test.error[0].value.replace("\\", "")
    assert not len(test.dataframe)
    test.text_input(key=keys.DATASET_QUERY).set_value("nothing-is-called-so").run()
    assert "No recording matches the filter" in said(test)
    assert "0 of 3 recordings match the filter" in said(test)
    assert " min" not in said(test)
    test.text_input(key=keys.DATASET_QUERY).set_value("<b>").run()
    assert "cannot be understood" in said(test)
    test.button(key="dataset_part_0").click().run()
    assert len(listed(test)) == 3
    test.text_input(key=keys.DATASET_QUERY).set_value("room23").run()
    assert "1 of 3 recordings match the filter · 0.1 min of these" in said(test)
    test.button(key="dataset_clear").click().run()
    assert len(listed(test)) == 3
    test.text_input(key=keys.DATASET_QUERY).set_value("nothing-is-called-so").run()
    test.button(key="dataset_part_0").click().run()
    assert len(listed(test)) == 3


def test_a_filter_is_written_by_the_form(root: Path) -> None:
    test = page(root)
    test.selectbox(key=keys.DATASET_BY).set_value("class").run()
    test.selectbox(key="dataset_value_class").set_value("Music").run()
    test.button(key="dataset_add").click().run()
    assert test.text_input(key=keys.DATASET_QUERY).value == "class:Music"
    test.selectbox(key=keys.DATASET_BY).set_value("events").run()
    test.number_input(key="dataset_from_events").set_value(99).run()
    test.button(key="dataset_add").click().run()
    assert listed(test) == []


def test_tags_and_views(root: Path) -> None:
    test = page(root, where="room9")
    test.text_input(key=f"dataset_tag_dev-test-sony/{MUTE}").set_value("odd, twice").run()
    test.button(key="dataset_tag_add").click().run()
    marks = read_marks(workspace(), root.resolve())
    assert marks.recordings[f"dev-test-sony/{MUTE}"].tags == ("odd", "twice")
    test.text_input(key=keys.DATASET_VIEW_NAME).set_value("strange ones").run()
    test.button(key="dataset_save_view").click().run()
    test.text_input(key=keys.DATASET_QUERY).set_value("tag:none").run()
    assert MUTE not in listed(test)
    test.button(key="dataset_view_0").click().run()
    assert listed(test) == [MUTE]


@pytest.mark.parametrize("systems", ["", "first"])
def test_statistics_are_drawn(root: Path, systems: str) -> None:
    test = page(root, dataset_view="Statistics", where="problem:none", systems=systems)
    charts = test.get("plotly_chart")
    assert len(charts) == 9
    assert "2 recordings with labels" in said(test)
    test.selectbox(key=keys.DATASET_CLASS).set_value(8).run()
    assert not test.exception
    assert any("Music" in m.value for m in test.markdown)
    test.text_input(key=keys.DATASET_QUERY).set_value("problem:any").run()
    assert not test.exception
    assert "None of the listed recordings" in said(test)


@pytest.mark.parametrize(
    ("focus", "title"),
    [
        (["class", 8], "Frames with Music"),
        (["polyphony", 2], "Frames with 2 sources at once"),
        (["together", 8], "Frames with Female speech and Music"),
        (["length", 3], "Events of 1 to 2 s"),
        (["part", 10, 8], "Music from 50 to 55 %"),
        (["duration", 0, 5], "Recordings of 0 to 5 s"),
    ],
)
def test_a_bar_leads_to_its_frames(root: Path, focus: list[int], title: str) -> None:
    test = page(root, dataset_view="Statistics", where="problem:none")
    test.session_state[keys.DATASET_FOCUS] = focus
    test.run()
    assert not test.exception
    assert title in said(test)
    assert {"recording", "count", "first"} <= set(test.dataframe[0].value)


def test_an_empty_bar_leads_to_the_whole_set_or_nowhere(root: Path) -> None:
    test = page(root, dataset_view="Statistics", where="room9")
    test.session_state[keys.DATASET_FOCUS] = ["duration", 0, 5]  # nothing listed has sound
    test.run()
    assert "**Recordings of 0 to 5 s (none in what is listed; these are of the whole set)**: 1 in 1 recording" in said(
        test
    )
    test.session_state[keys.DATASET_FOCUS] = ["polyphony", 0]  # there is always a source in these
    test.run()
    assert not test.exception
    assert not len(test.dataframe)
    assert [t.value for t in test.toast] == ["Frames without a source: there are none."]


def test_empty_and_missing_roots(tmp_path: Path) -> None:
    assert "holds no recording" in said(page(tmp_path))
    assert len(page(tmp_path / "none").error) == 1
