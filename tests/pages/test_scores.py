"""The scores page's script in every state of the data; clicks on tables and charts are tested in ``tests/browser``."""

from __future__ import annotations

import json
import shutil
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import numpy as np
import pandas as pd
import pytest
import streamlit as st
from streamlit.testing.v1 import AppTest

from pages.components import address, scores_jobs
from pages.components import state_keys as keys
from pages.scores import moments, views
from pages.scores.export import export
from pages.scores.moments import Focus, focus_of_cell
from pages.scores.views import VIEWS, Scene
from sai_core.annotations import write_label_json, write_submission_json
from sai_core.dataset import open_data_root
from sai_core.errors import CancelledError
from sai_core.metrics import evaluate
from sai_core.metrics.evaluation.oracles import ERROR_KINDS
from sai_core.metrics.evaluation.score_store import ScoreStore, result_of_tables
from sai_core.metrics.reading.budget import KIND_MEANINGS, KIND_TITLES
from sai_core.metrics.reading.systems import SystemResult, score_system
from sai_core.postprocess import load_system, run_system
from sai_core.progress import no_progress
from sai_core.review.chosen import kept_moments
from sai_core.workspace import workspace
from sai_core.workspace.marks import change_marks
from tests.figures.scenes import write_root
from tests.metrics.helpers import made_up_recording
from tests.tuning.stand_in import labels_of, write_raw

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
    test.run()
    calculated(test)
    return test


def calculated(test: AppTest) -> None:
    """Run the page again until nothing is calculated any more."""
    end = time.monotonic() + 120
    while any(b.label == "Stop" for b in test.button):
        if time.monotonic() > end:
            pytest.fail("the evaluation did not end")
        time.sleep(0.1)
        test.run()


def said(test: AppTest) -> str:
    """All that the page tells, without escapes."""
    kinds = (test.info, test.error, test.warning, test.caption, test.markdown)
    return " ".join(e.value for kind in kinds for e in kind).replace("\\", "")


def systems_shown(test: AppTest) -> pd.DataFrame:
    """The table of systems by the keys of its columns, below the row of groups."""
    frame = next(d.value for d in test.dataframe if d.value.columns.nlevels == 2).copy()
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
        calculated(test)
        assert not test.exception, view
        assert not test.error, view
        assert len(test.dataframe) >= 1, view
        assert revision in said(test), view
        assert "Behind" in said(test), view


def test_the_demo_is_called_simulated() -> None:
    test = AppTest.from_file(PAGE, default_timeout=120).run()
    end = time.monotonic() + 900
    while not any(d.value.columns.nlevels == 2 for d in test.dataframe) and time.monotonic() < end:
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
    assert "None of these recordings has labels" in said(test)
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
    (failures,) = (e for e in test.expander if "could not be scored" in e.label)
    assert failures.label == "1 recording could not be scored"
    table = failures.dataframe[0].value
    assert table[["System", "Recording"]].to_numpy().tolist() == [["first", ROW]]
    assert "ends too early" in table["Why"][0]


def _unfinished(test: AppTest) -> pd.DataFrame | None:
    """The table of what is scored by now."""
    return next((d.value for d in test.dataframe if "Scored" in d.value.columns), None)


def test_what_is_scored_is_shown_while_the_rest_is_scored(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One system's second recording takes for ever: its first is in a table, and so is the other system, whole."""
    shutil.copytree(root, tmp_path / "r")
    go_on = threading.Event()
    original = ScoreStore.result

    def slow(self: ScoreStore, labels: Path, predictions: Path, *, recording: str, **options: Any) -> Any:
        if predictions.parent.name == "first" and recording == ROW:
            go_on.wait(60)
        return original(self, labels, predictions, recording=recording, **options)

    monkeypatch.setattr(ScoreStore, "result", slow)
    test = AppTest.from_file(PAGE, default_timeout=120)
    test.query_params[keys.ROOT] = str(tmp_path / "r")
    test.query_params[keys.SCORES_VIEW] = "Systems"
    try:
        end = time.monotonic() + 60
        while time.monotonic() < end:
            table = _unfinished(test.run())
            if table is not None and list(table["Scored"]) == ["1 of 2"]:
                break
            time.sleep(0.1)
        assert not test.exception
        assert table is not None
        assert table[["System", "Scored", "Failed"]].to_numpy().tolist() == [["first", "1 of 2", 0]]
        assert np.isfinite(table["Macro mAP"][0])
        assert systems_shown(test)["row"][0] == "second"
        # a link to it waits for it, and shows no other system in its place
        linked = AppTest.from_file(PAGE, default_timeout=120)
        linked.query_params[keys.ROOT] = str(tmp_path / "r")
        linked.query_params[keys.SCORES_VIEW] = "Classes"
        linked.query_params[keys.SCORES_SYSTEM] = "first"
        linked.run()
        assert "first is still being scored" in said(linked)
        assert linked.selectbox(key=keys.SCORES_SYSTEM).value == "first"
        assert "Behind" not in said(linked)
        next(b for b in test.button if b.label == "Stop").click().run()
    finally:
        go_on.set()
    while any(b.label == "Stop" for b in test.button):
        time.sleep(0.1)
        test.run()
    table = _unfinished(test)
    assert table is not None
    # what was stopped stays; a recording that an earlier test has scored is there before the stop is heard
    assert table["Scored"][0] in ("1 of 2", "2 of 2")
    next(b for b in test.button if b.label.startswith("Resume")).click().run()
    while any(b.label == "Stop" for b in test.button):
        time.sleep(0.1)
        test.run()
    assert list(systems_shown(test)["n_recordings"][:2]) == [2, 1]


def test_a_small_system_does_not_wait_for_a_large_one_that_is_at_work() -> None:
    turns, reports, told = scores_jobs._Turns(), list[str](), threading.Event()

    def progress(fraction: float, message: str) -> None:
        reports.append(message)
        if message.startswith("waiting"):
            told.set()

    def large() -> None:
        with turns.joined(1000, progress) as politely:
            while not go_on.is_set():
                politely(0.5, "large")
            politely(1.0, "end")

    go_on = threading.Event()
    thread = threading.Thread(target=large)
    thread.start()
    with turns.joined(10, no_progress) as politely:
        assert told.wait(30), "the large one does not give way"
        n = reports.count("large")
        politely(0.5, "small")  # comes back at once
        time.sleep(0.05)
        assert reports.count("large") == n
        go_on.set()
    thread.join(30)
    assert reports[-1] == "end"

    def cancelled(fraction: float, message: str) -> None:
        if message.startswith("waiting"):
            raise CancelledError("stopped")

    # who waits hears of a cancellation, and nobody waits for them any more
    with (
        turns.joined(10, no_progress),
        pytest.raises(CancelledError),
        turns.joined(20, cancelled) as politely,
    ):
        politely(0.0, "")
    with turns.joined(30, cancelled) as politely:
        politely(0.0, "")


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
    monkeypatch.setattr(scores_jobs, "score_store", lambda: store)
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


def test_the_budget_leads_to_the_frames_of_each_kind(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    test = page(root, "Budget", **{keys.SCORES_SYSTEM: "first"})
    gains = test.dataframe[0].value
    assert gains[("", "row")].tolist() == [*KIND_TITLES.values(), "as it is"]
    opened = open_data_root(root)
    labels = {r.name: r.label_path for r in opened.recordings if r.label_path}
    evaluated = evaluate(labels, dict(opened.prediction_set("first").files), allow_large=True)
    assert gains[("Macro gain", "macro_mAP")].iloc[-1] == evaluated.macro.mean_ap
    most = gains[("Macro gain", "macro_mAP")].iloc[:-1].argmax()
    assert f"Behind {gains[('', 'row')].iloc[most]} · macro" in said(test)
    for kind in ERROR_KINDS:
        test.session_state[keys.SCORES_FOCUS] = Focus("Budget", "budget", "first", kind, row="macro", measure=kind)
        test.run()
        assert not test.exception
        assert KIND_MEANINGS[kind] in said(test) or "no frames behind" in said(test)
    # and into the review queue of exactly these
    misses = Focus("Budget", "budget", "first", "Misses", row="macro", measure="misses")
    test.session_state[keys.SCORES_FOCUS] = misses
    test.run()
    went: list[tuple[str, dict[str, str]]] = []
    monkeypatch.setattr(address, "go", lambda page, query: went.append((page, dict(query))))
    test.button(key="scores_review_these").click().run()
    ((name, query),) = went
    assert name == "review"
    assert query[keys.ROOT] == str(opened.path)
    kept = kept_moments(query[keys.REVIEW_MOMENTS], opened.path)
    assert kept is not None
    assert f"{len(kept):,} moments" in said(test)
    assert "the error budget (Misses" in kept.title


def test_a_link_to_a_system_that_is_not_there_says_so(root: Path) -> None:
    test = page(root, "Classes", **{keys.SCORES_SYSTEM: "gone"})
    shown = str(test.selectbox(key=keys.SCORES_SYSTEM).value)  # the first that was scored
    assert f"gone is not scored here; shown is {shown}" in said(test)
    test.run()
    assert "gone is not scored here" in said(test)  # as long as nobody has chosen another
    test.selectbox(key=keys.SCORES_SYSTEM).set_value({"first": "second", "second": "first"}[shown]).run()
    calculated(test)
    assert "is not scored here" not in said(test)
    assert not test.exception


def test_figures_of_the_ranking_lead_to_the_labels_that_only_one_finds(root: Path) -> None:
    test = page(root, "Ranking")
    ranking = test.dataframe[0].value
    systems = ranking[("", "row")].tolist()
    assert sorted(systems) == ["first", "second"]
    assert len(test.dataframe[2].value) == 13  # every class by every system
    for column, words in (
        ("n_only", "labels that no other system finds"),
        ("behind", f"labels that only {systems[1]} or only {systems[0]} finds"),
        ("mAP", "mAP · macro"),
    ):
        state: dict[str, Any] = {}
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(views.tables, "cell_key", lambda _, at=column: (1, at))
            patch.setattr(views.st, "session_state", state)
            views._ranking_cell("", tuple(systems))
        test.session_state[keys.SCORES_FOCUS] = state[keys.SCORES_FOCUS]
        test.run()
        assert not test.exception
        assert f"Behind {words}" in said(test)
        if column == "n_only" and (n := int(ranking[("", "n_only")].iloc[1])):
            assert f"{n:,} moments" in said(test)


def test_the_download_buttons_are_there(root: Path) -> None:
    test = page(root, "Classes")
    buttons = {b.proto.label for b in cast(Any, test).get("download_button")}
    assert buttons == {"CSV", "LaTeX (booktabs)", "JSON, as on the command line"}
    next(b for b in test.button if b.label == "Make it as HTML").click().run()
    end = time.monotonic() + 60
    while time.monotonic() < end and "Download HTML" not in buttons:
        time.sleep(0.2)
        buttons = {b.proto.label for b in cast(Any, test.run()).get("download_button")}
        assert not test.exception
    assert "Download HTML" in buttons


def test_exports_hold_what_the_command_line_writes(root: Path) -> None:
    opened = open_data_root(root)
    systems = {}
    for prediction_set in opened.prediction_sets:
        selection = scores_jobs.select(prediction_set, opened.recordings)
        systems[prediction_set.name] = score_system(
            ScoreStore(), prediction_set.name, selection.labels, selection.predictions
        )
    scene = Scene(
        opened, "2026-06-30", systems, {}, {}, {}, False, chosen=systems["first"], second=systems["second"]
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


def test_tags_and_views_of_the_dataset_page_are_slices(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SAI_WORKSPACE", str(tmp_path / "workspace"))
    split = open_data_root(root).recordings[0].split
    key = f"{split}/{ROW}" if split else ROW
    change_marks(workspace(), root, [key], add=["odd"], views={"lost": "where=nosuch:1", "other": "where=room24"})
    test = page(root, "Slices")
    end = time.monotonic() + 60
    while "Saved view lost is left out" not in said(test) and time.monotonic() < end:
        time.sleep(0.1)
        calculated(test.run())
    assert not test.exception
    assert "Saved view lost is left out" in said(test)
    test.segmented_control(key=keys.SCORES_ATTRIBUTE).set_value("tag").run()
    assert "tag: odd" in list(test.dataframe[0].value["row"])
    assert "a recording with two tags counts in both" in said(test)


def test_a_name_in_two_splits_counts_once_and_is_said(root: Path, tmp_path: Path) -> None:
    shutil.copytree(root, tmp_path / "root")
    labels = tmp_path / "root" / "labels_dev"
    shutil.copytree(labels / "dev-test-sony", labels / "dev-test-tau")
    (labels / "dev-test-tau" / "fold4_room24_mix001_std.json").unlink()
    test = page(tmp_path / "root")
    assert not test.exception
    assert "2 labelled recordings" in said(test)
    assert f"1 recording is left out: its name {ROW} is also in split dev-test-sony" in said(test)
    test.selectbox(key=keys.SCORES_SPLIT).set_value("dev-test-tau").run()
    calculated(test)
    assert "1 labelled recording" in said(test)
    assert "left out:" not in said(test)


def test_the_view_of_embeddings_shows_points_or_says_how_to_get_them(tmp_path: Path) -> None:
    labels = labels_of(20)
    path = tmp_path / "root"
    write_label_json(labels, path / "labels_dev" / "dev-test-sim" / f"{labels.recording}_std.json")
    for system in ("bare", "kept"):
        raw = write_raw(tmp_path / system / "raw", labels, 20, per_frame=20, embedding_dim=8)
        file = path / "predictions" / system / f"{labels.recording}.json"
        file.parent.mkdir(parents=True)
        write_submission_json(run_system(raw, load_system("FAO")), file)
    shutil.copytree(tmp_path / "kept" / "raw", path / "predictions" / "kept" / "raw")
    test = page(path, "Embedding", **{keys.SCORES_SYSTEM: "kept"})
    assert not test.exception
    assert not test.error
    assert "Principal axes of 8 dimensions" in said(test)
    assert "Behind all points" in said(test)
    [chart] = test.get("plotly_chart")
    assert "scattergl" in chart.proto.spec
    test.segmented_control(key=keys.SCORES_COLORED).set_value("Error").run()
    assert "false positive" in test.get("plotly_chart")[0].proto.spec
    assert len(test.dataframe) == 1
    change_marks(workspace(), path, [f"dev-test-sim/{labels.recording}"], add=["kitchen", "noisy"])
    test.run()
    test.segmented_control(key=keys.SCORES_COLORED).set_value("Tag").run()
    assert "kitchen + noisy" in test.get("plotly_chart")[0].proto.spec
    assert not test.exception
    test.selectbox(key=keys.SCORES_SYSTEM).set_value("bare").run()
    calculated(test)
    assert not test.exception
    assert "bare has no raw detections" in said(test)
    assert "Sets with raw detections here: kept" in said(test)
    assert "python -m sai_core predict" in test.code[0].value
