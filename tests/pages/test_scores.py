"""The scores page's script in every state of the data; clicks on tables and charts are tested in ``tests/browser``."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pandas as pd
import pytest
import streamlit as st
from streamlit.testing.v1 import AppTest

from pages.components import scores_jobs
from pages.components import state_keys as keys
from pages.scores import moments
from pages.scores.export import export
from pages.scores.moments import Focus, focus_of_cell
from pages.scores.views import VIEWS, Scene
from sai_core.dataset import open_data_root
from sai_core.metrics import evaluate
from sai_core.metrics.evaluation.score_store import ScoreStore, result_of_tables
from sai_core.metrics.reading.systems import SystemResult, score_system
from tests.figures.scenes import write_root
from tests.metrics.helpers import made_up_recording

PAGE = str(Path(__file__).resolve().parents[2] / "pages" / "scores" / "page.py")
ROW = "fold4_room23_mix001"


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two recordings of two systems; the second system has one of them only."""
    path = tmp_path_factory.mktemp("scores") / "root"
    write_root(path, n_frames=12, video_size=None, audio=False)
    write_root(
        path, recording="fold4_room24_mix001", n_frames=8, seed=3, video_size=None, audio=False, systems=("first",)
    )
    return path


@pytest.fixture(scope="module", autouse=True)
def _no_jobs_of_other_tests() -> Iterator[None]:
    st.cache_resource.clear()
    yield
    st.cache_resource.clear()


def page(root: Path | str, view: str = "Systems", **parameters: str) -> AppTest:
    """The page by itself (AppTest drops a button's click on any page but the app's first), when all is calculated."""
    test = AppTest.from_file(PAGE, default_timeout=120)
    test.query_params[keys.ROOT] = str(root)
    test.query_params[keys.SCORES_VIEW] = view
    for name, value in parameters.items():
        test.query_params[name] = value
    end = time.monotonic() + 120
    test.run()
    while any(b.label == "Stop" for b in test.button):
        if time.monotonic() > end:
            pytest.fail("the evaluation did not end")
        time.sleep(0.1)
        test.run()
    return test


def said(test: AppTest) -> str:
    """All that the page tells, without escapes."""
    kinds = (test.info, test.error, test.warning, test.caption, test.markdown)
    return " ".join(e.value for kind in kinds for e in kind).replace("\\", "")


def systems_shown(test: AppTest) -> pd.DataFrame:
    """The first table by the keys of its columns, below the row of groups."""
    frame = test.dataframe[0].value.copy()
    assert frame.columns.nlevels == 2
    assert {"Macro", "Micro"} <= set(frame.columns.get_level_values(0))
    frame.columns = frame.columns.get_level_values(1)
    return frame


def test_tables_hold_the_official_figures(root: Path) -> None:
    test = page(root)
    assert not test.exception
    assert not test.error
    opened = open_data_root(root)
    labels = {r.name: r.label_path for r in opened.recordings if r.label_path}
    official = evaluate(labels, dict(opened.prediction_set("first").files), allow_large=True)
    table = systems_shown(test)
    assert list(table["row"])[:3] == ["first", "second", "SAID, PaSST"]
    assert table["macro_mAP"][0] == official.macro.mean_ap
    assert table["micro_AP50"][0] == official.micro.ap[1]
    assert list(table["n_recordings"][:2]) == [2, 1]
    assert list(table["source"])[:3] == ["measured", "measured", "published"]
    assert "Published figures are on the real dev-test set" in said(test)
    assert "1 of 2 labelled recordings have no predictions" in said(test)


@pytest.mark.parametrize("revision", ["2026-06-30", "2026-05-28", "2026-05-18", "2026-04-02"])
def test_every_view_is_drawn_by_every_revision(root: Path, revision: str) -> None:
    test = page(root, **{keys.SCORES_REVISION: revision})
    for view in VIEWS:
        test.segmented_control(key=keys.SCORES_VIEW).set_value(view).run()
        assert not test.exception, view
        assert not test.error, view
        assert len(test.dataframe) >= 1, view
        assert revision in said(test), view
        assert "Behind" in said(test), view


def test_the_demo_is_called_simulated() -> None:
    test = AppTest.from_file(PAGE, default_timeout=120).run()
    end = time.monotonic() + 120
    while not test.dataframe and time.monotonic() < end:
        time.sleep(0.1)
        test.run()
    assert not test.exception
    assert "simulated" in said(test)
    # the names tell the tracks: Table 1 holds one of the two
    assert list(systems_shown(test)["row"])[:2] == ["track-A", "SAID, PaSST"]
    assert list(systems_shown(test)["source"])[:2] == ["measured", "published"]


def test_made_up_predictions_are_called_stand_ins(root: Path, tmp_path: Path) -> None:
    shutil.copytree(root, tmp_path / "root")
    (tmp_path / "root" / "predictions" / "first").rename(tmp_path / "root" / "predictions" / "stand-in-first")
    test = page(tmp_path / "root")
    assert not test.exception
    assert set(systems_shown(test)["source"]) >= {"stand-in", "measured", "published"}


def test_without_labels_it_says_so(root: Path, tmp_path: Path) -> None:
    shutil.copytree(root / "predictions", tmp_path / "predictions")
    test = page(tmp_path)
    assert not test.exception
    assert "no labels" in said(test)
    assert not test.dataframe


def test_without_predictions_it_says_so(root: Path, tmp_path: Path) -> None:
    shutil.copytree(root / "labels_dev", tmp_path / "labels_dev")
    test = page(tmp_path)
    assert not test.exception
    assert "no predictions" in said(test)


def test_a_wrong_root_is_one_sentence(tmp_path: Path) -> None:
    test = page(tmp_path / "nowhere")
    assert not test.exception
    assert len(test.error) == 1


def test_a_broken_prediction_file_leaves_the_rest(root: Path, tmp_path: Path) -> None:
    shutil.copytree(root, tmp_path / "r")
    (tmp_path / "r" / "predictions" / "first" / f"{ROW}.json").write_text("{")
    test = page(tmp_path / "r")
    assert not test.exception
    assert f"{ROW}.json" in said(test)
    assert list(systems_shown(test)["n_recordings"][:2]) == [1, 1]


def test_only_common_recordings_on_request(root: Path) -> None:
    test = page(root)
    test.toggle(key=keys.SCORES_COMMON).set_value(True).run()
    while any(b.label == "Stop" for b in test.button):
        test.run()
    assert list(systems_shown(test)["n_recordings"][:2]) == [1, 1]


def test_names_from_the_disk_are_text(root: Path, tmp_path: Path) -> None:
    shutil.copytree(root, tmp_path / "r")
    (tmp_path / "r" / "predictions" / "second").rename(tmp_path / "r" / "predictions" / "![x](y)<b>")
    test = page(tmp_path / "r", "Compare")
    assert not test.exception
    assert not [m.value for m in test.markdown if "![x](" in m.value]


def test_an_unknown_system_in_the_address_is_ignored(root: Path) -> None:
    test = page(root, "Classes", **{keys.SCORES_SYSTEM: "nobody"})
    assert not test.exception
    assert test.dataframe[0].value["n_labels"].iloc[-1] > 0


def test_undefined_is_empty_in_the_table(root: Path) -> None:
    table = page(root, "Classes").dataframe[0].value.set_index("row")
    assert table["mAP"].isna()["Knock"]
    assert table.loc["Knock", "n_labels"] == 0


def test_a_chosen_figure_stays_until_it_does_not_exist(root: Path) -> None:
    test = page(root, "Classes")
    test.session_state[keys.SCORES_FOCUS] = Focus("Classes", "ap", "first", "AP75 · Music", category=8, threshold=0.75)
    test.run()
    assert "Behind AP75 · Music" in said(test)
    shown = test.dataframe[1].value
    assert set(shown["class"]) <= {"Music"}
    assert all(link.startswith("./explorer?root=") for link in shown["open"])
    assert f"&frame={shown['frame'][0]}" in shown["open"][0]
    assert "&a=first" in shown["open"][0]
    # an IoU of 0.25 is not a threshold of 2026-04-02
    test.session_state[keys.SCORES_FOCUS] = Focus("Classes", "ap", "first", "AP25", category=8, threshold=0.25)
    test.segmented_control(key=keys.SCORES_REVISION).set_value("2026-04-02").run()
    assert not test.exception
    assert "Behind AP25" not in said(test)


def test_neighbouring_frames_can_be_joined(root: Path) -> None:
    test = page(root, "Classes")
    single = len(test.dataframe[1].value)
    test.toggle(key=keys.SCORES_STRETCHES).set_value(True).run()
    assert not test.exception
    joined = test.dataframe[1].value
    assert len(joined) < single
    assert joined["length"].max() > 1


def test_every_column_of_every_table_leads_somewhere() -> None:
    results = tuple(
        result_of_tables(*made_up_recording(k, n_frames=5, name=f"r{k}"), use_cache=False) for k in range(2)
    )
    system = SystemResult("mine", "2026-06-30", results)
    for key in (
        *("macro_mAP", "macro_AP25", "micro_AP50", "macro_pearson_r", "micro_distance_mape", "n_detections"),
        *("agnostic_mAP", "matched_f1", "n_labels", "AP75", "mAP", "mAP_low", "mAP_high", "pearson_r", "n_pairs"),
        *("angle_deg", "distance_cm", "distance_mape", "official_mape", "missed", "false_positives"),
    ):
        focus = focus_of_cell("v", "mine", key, category=None, row="micro", threshold=0.5)
        assert focus is not None, key
        assert len(moments.build(focus, system, None)), key
    one = focus_of_cell("v", "mine", "mAP", category=1, row="class", threshold=0.5, recording="r1")
    assert one is not None
    assert set(moments.build(one, system, None).recording) == {"r1"}
    assert focus_of_cell("v", "mine", "n_recordings", category=None, row="micro", threshold=0.5) is None


def test_adding_a_system_scores_that_one_only(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from sai_core.metrics.evaluation import score_store

    st.cache_resource.clear()  # a test before this one may have scored the same recordings
    opened = open_data_root(root)
    store = ScoreStore()
    store._use_disk = False
    monkeypatch.setattr(scores_jobs, "_store", lambda: store)
    calls: list[str] = []
    original = score_store.result_of_tables

    def counted(*tables: Any, **options: Any) -> Any:
        calls.append(options["recording"])
        return original(*tables, **options)

    monkeypatch.setattr(score_store, "result_of_tables", counted)
    for name, expected in (("first", 2), ("second", 3), ("first", 3)):
        job = scores_jobs.system(scores_jobs.select(opened.prediction_set(name), opened.recordings), "2026-06-30")
        assert job.wait(120)
        assert not job.error
        assert len(calls) == expected
    # the same question is the same job
    again = scores_jobs.system(scores_jobs.select(opened.prediction_set("first"), opened.recordings), "2026-06-30")
    assert again is job


def test_the_download_buttons_are_there(root: Path) -> None:
    test = page(root, "Classes")
    buttons = {b.proto.label for b in cast(Any, test).get("download_button")}
    assert buttons == {"CSV", "LaTeX (booktabs)", "JSON, as the command line"}


def test_exports_hold_what_the_command_line_writes(root: Path) -> None:
    opened = open_data_root(root)
    systems = {}
    for prediction_set in opened.prediction_sets:
        selection = scores_jobs.select(prediction_set, opened.recordings)
        systems[prediction_set.name] = score_system(
            ScoreStore(), prediction_set.name, selection.labels, selection.predictions
        )
    scene = Scene(
        opened, "2026-06-30", systems, {}, {}, {}, False, chosen=systems["first"], other=systems["second"]
    )  # fmt: skip
    for view in VIEWS:
        files = export(view, scene)
        assert all("2026-06-30" in title for title in files.titles)
        assert files.csv.count("source") == files.latex.count(r"\toprule") == len(files.titles)
        objects = json.loads(files.json)
        if isinstance(objects, list):
            assert [o["system"] for o in objects] == ["first", "second"]
        else:
            assert objects == systems["first"].evaluation.to_json()
    assert '"SAID, PaSST",published' in export("Systems", scene).csv
