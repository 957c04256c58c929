"""The tuning page's script in every state; clicks on charts and latency are tested in ``tests/browser``."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import streamlit as st
from streamlit.testing.v1 import AppTest

from pages.components import state_keys as keys
from sai_core.annotations import write_submission_json
from sai_core.annotations.dcase import DcaseMetadata, write_dcase_csv
from sai_core.annotations.reading import read_annotations
from sai_core.metrics.evaluation.discovery import find_labels
from sai_core.postprocess import PipelineSettings, load_system
from sai_core.tuning import find_raw_sets, open_raw_set
from sai_core.workspace import SetFacts, workspace
from tests.tuning.stand_in import labels_of, write_root

PAGE = str(Path(__file__).resolve().parents[2] / "pages" / "tune" / "page.py")
NAME = "fold4_room23_mix001"
FIRST = f"dev-test-sim/{NAME}"


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_root(tmp_path_factory.mktemp("tune") / "root", n_recordings=2, n_frames=20, per_frame=20)


@pytest.fixture(autouse=True)
def _alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("SAI_SYSTEMS_DIR", str(tmp_path / "systems"))
    st.cache_resource.clear()
    yield
    st.cache_resource.clear()


def page(root: Path, **parameters: str) -> AppTest:
    """The page by itself (AppTest drops a button's click on any page but the app's first)."""
    test = AppTest.from_file(PAGE, default_timeout=60)
    test.query_params[keys.ROOT] = str(root)
    test.query_params[keys.TUNE_SCOPE] = FIRST
    for name, value in parameters.items():
        test.query_params[name] = value
    return test.run()


def settled(test: AppTest, seconds: float = 60.0) -> AppTest:
    """Run until figures are there."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        assert not test.exception, test.exception
        if len(test.metric) == 7 and not any("…" in m.label for m in test.metric):
            return test
        time.sleep(0.2)
        test.run()
    pytest.fail("no figures came")


def said(test: AppTest) -> str:
    """All that the page tells in boxes and text."""
    kinds = (test.info, test.error, test.warning, test.success, test.caption, test.markdown)
    return " ".join(e.value for kind in kinds for e in kind).replace("\\", "")


def view(test: AppTest, name: str) -> AppTest:
    control = next(c for c in test.button_group if c.key == keys.TUNE_VIEW)
    control.set_value(name)
    return settled(test.run())


def group(test: AppTest, name: str) -> AppTest:
    next(c for c in test.button_group if c.key == keys.TUNE_GROUP).set_value(name)
    return settled(test.run())


def button(test: AppTest, label: str) -> Any:
    return next(b for b in test.button if b.label.startswith(label))


def metrics(test: AppTest) -> dict[str, tuple[str, str]]:
    return {m.label: (m.value, m.delta) for m in test.metric}


def wait_for(test: AppTest, text: str, seconds: float = 60.0) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if text in said(test):
            return
        time.sleep(0.2)
        settled(test.run())
    pytest.fail(f"{text!r} did not come; the page says: {said(test)}")


def figures(root: Path, settings: PipelineSettings, names: list[str] | None = None) -> tuple[str, str]:
    """Macro mAP and detections as the engine gives them."""
    [raw] = find_raw_sets([root / "predictions"])
    result = open_raw_set(raw.stores, find_labels(root / "labels_dev"), recordings=names).evaluate(settings)
    return f"{result.evaluation.macro.mean_ap:.4f}", f"{result.n_detections:,}"


def test_at_first_all_recordings_are_tuned_with_the_system_that_predicted_them(root: Path) -> None:
    [raw] = find_raw_sets([root / "predictions"])
    made = workspace().begin("predictions", "mine", SetFacts(made_by="predict", data=str(root), system="FAO"))
    shutil.copytree(raw.folder, made.folder / "raw")
    try:
        for recording in raw.stores:
            (made.folder / f"{recording}.json").write_text('{"annotations": []}')
        test = AppTest.from_file(PAGE, default_timeout=60)
        test.query_params[keys.ROOT] = str(root)
        test.query_params[keys.TUNE_RAW] = str(made.raw_folder)
        test = settled(test.run())
        assert test.selectbox(key=keys.TUNE_SYSTEM).value == "FAO"
        assert test.selectbox(key=keys.TUNE_SCOPE).value == "dev-test-sim/*"
        assert metrics(test)["Macro mAP"] == (figures(root, load_system("FAO").settings)[0], "as saved")
        # other detections, of which nothing is known: the official baseline's system
        test.selectbox(key=keys.TUNE_RAW).set_value(str(raw.folder))
        settled(test.run())
        assert test.selectbox(key=keys.TUNE_SYSTEM).value == "Baseline"
    finally:
        shutil.rmtree(made.folder)


def test_without_raw_detections_it_says_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "labels_dev" / "dev-x").mkdir(parents=True)
    test = page(tmp_path)
    assert not test.exception
    assert "Predict" in said(test)
    assert "python -m sai_core predict" in test.code[0].value


def test_a_wrong_root_is_one_sentence(tmp_path: Path) -> None:
    test = page(tmp_path / "nowhere")
    assert not test.exception
    assert len(test.error) == 1


def test_figures_follow_the_settings(root: Path) -> None:
    test = settled(page(root))
    saved = load_system("Baseline").settings
    name = FIRST.split("/")[1]
    assert metrics(test)["Macro mAP"] == (figures(root, saved, [name])[0], "as saved")
    test.slider(key=keys.TUNE_WIDGET + "min_score").set_value(0.6)
    settled(test.run())
    changed = PipelineSettings(**{**saved.to_dict(), "min_score": 0.6})
    shown = metrics(test)
    assert (shown["Macro mAP"][0], shown["Detections"][0]) == figures(root, changed, [name])
    assert shown["Detections"][1].startswith("-")
    # the field beside it shows the same, and is the other way to set it
    assert test.number_input(key=keys.TUNE_NUMBER + "min_score").value == 0.6
    test.number_input(key=keys.TUNE_NUMBER + "min_score").set_value(0.35)
    settled(test.run())
    assert metrics(test)["Detections"][1] == "as saved"
    assert test.slider(key=keys.TUNE_WIDGET + "min_score").value == 0.35


def test_two_changes_of_one_setting_in_one_message_agree(root: Path) -> None:
    test = settled(page(root))
    # a slider that is let go by a click on the field's +: Streamlit calls both widgets' callbacks in one run
    test.slider(key=keys.TUNE_WIDGET + "min_score").set_value(0.6)
    test.number_input(key=keys.TUNE_NUMBER + "min_score").set_value(0.36)
    settled(test.run())
    slider = test.slider(key=keys.TUNE_WIDGET + "min_score").value
    assert slider in (0.6, 0.36)
    assert test.number_input(key=keys.TUNE_NUMBER + "min_score").value == slider
    shown = figures(
        root, PipelineSettings(**{**load_system("Baseline").settings.to_dict(), "min_score": slider}), [NAME]
    )
    assert metrics(test)["Detections"][0] == shown[1]


@pytest.mark.parametrize("prefix", [keys.TUNE_WIDGET, keys.TUNE_NUMBER, keys.TUNE_CLASS])
def test_a_widget_whose_key_is_lost_changes_nothing(prefix: str) -> None:
    """What a callback finds when its widget's state went away between the click and the run."""
    script = f"""
import streamlit as st
from pages.components import state_keys as keys
from pages.tune import sliders
from sai_core.postprocess import load_system
if "ready" not in st.session_state:
    sliders.take_over(load_system("Baseline").settings)
before = dict(sliders.values())
if {prefix!r} == keys.TUNE_CLASS:
    sliders._class_taken(3, {prefix!r} + "3")
else:
    sliders._taken("min_score", {prefix!r} + "min_score", "another")
    sliders._classes_taken({prefix!r} + "keep_classes", "another")
st.write("same" if before == sliders.values() else "changed")
"""
    test = AppTest.from_string(script, default_timeout=60).run()
    assert not test.exception
    assert test.markdown[0].value == "same"


def test_settings_survive_another_group_and_can_be_put_back(root: Path) -> None:
    test = settled(page(root))
    group(test, "Gating")
    test.slider(key=keys.TUNE_WIDGET + "min_hits").set_value(5)
    settled(test.run())
    group(test, "Tracking")
    group(test, "Gating")
    assert test.slider(key=keys.TUNE_WIDGET + "min_hits").value == 5
    button(test, "Back to the saved system (1 changed)").click()
    settled(test.run())
    assert test.slider(key=keys.TUNE_WIDGET + "min_hits").value == 2
    assert metrics(test)["Detections"][1] == "as saved"


def test_what_a_cut_short_run_left_of_widgets_is_not_taken_for_settings(root: Path) -> None:
    test = page(root)
    kept = dict(test.session_state[keys.TUNE_VALUES])
    test.session_state[f"{keys.TUNE_WIDGET}nms_iou"] = 0.0  # what the browser says of a slider that it has forgotten
    test.session_state[f"{keys.TUNE_NUMBER}nms_iou"] = 0.0
    test.run()
    assert kept["nms_iou"] > 0
    assert test.slider(key=f"{keys.TUNE_WIDGET}nms_iou").value == kept["nms_iou"]
    assert test.number_input(key=f"{keys.TUNE_NUMBER}nms_iou").value == kept["nms_iou"]
    assert test.session_state[keys.TUNE_VALUES] == kept


def test_every_setting_has_a_widget(root: Path) -> None:
    test = settled(page(root))
    seen: set[str] = set()
    for name in ("Selection", "Classes", "Tracking", "Gating", "Export", "Teacher"):
        group(test, name)
        for kind in (test.slider, test.selectbox, test.toggle):
            drawn = [str(w.key) for w in kind]
            seen |= {key.removeprefix(keys.TUNE_WIDGET) for key in drawn if key.startswith(keys.TUNE_WIDGET)}
    assert seen == set(PipelineSettings().to_dict()) - {
        "min_score_per_class",
        "temperature",
        "isotonic",
        "quality",
    }


def test_a_quality_network_is_named_and_taken_off(root: Path) -> None:
    test = settled(page(root))
    group(test, "Classes")
    assert "Quality network: none" in said(test)
    before = metrics(test)
    test.session_state[keys.TUNE_VALUES]["quality"] = str(root / "gone.safetensors")
    wait_for(test.run(), "gone.safetensors: there is no such file")
    assert "Quality network: gone" in said(test)
    button(test, "Take it off").click()
    settled(test.run())
    assert metrics(test) == before


def test_a_class_takes_its_own_threshold(root: Path) -> None:
    test = settled(page(root))
    before = metrics(test)["Detections"][0]
    test.number_input(key=f"{keys.TUNE_CLASS}0").set_value(1.0)
    test.number_input(key=f"{keys.TUNE_CLASS}1").set_value(1.0)
    settled(test.run())
    after = metrics(test)["Detections"][0]
    assert int(after.replace(",", "")) < int(before.replace(",", ""))
    assert test.session_state[keys.TUNE_VALUES]["min_score_per_class"] == {0: 1.0, 1: 1.0}


def test_a_split_and_another_system(root: Path) -> None:
    test = settled(page(root, **{keys.TUNE_SCOPE: "dev-test-sim/*", keys.TUNE_SYSTEM: "FAO"}))
    assert metrics(test)["Macro mAP"][0] == figures(root, load_system("FAO").settings)[0]
    # another system brings its own settings
    test.selectbox(key=keys.TUNE_SYSTEM).set_value("Baseline")
    settled(test.run())
    assert metrics(test)["Macro mAP"] == (figures(root, load_system("Baseline").settings)[0], "as saved")


def test_a_system_with_a_teacher_asks_for_it(root: Path, tmp_path: Path) -> None:
    test = page(root, **{keys.TUNE_SYSTEM: "TPAV"})
    assert not test.exception
    assert "needs a teacher" in said(test)
    labels = labels_of(20, seed=0, recording="fold4_room23_mix001")
    first = labels.points_xy[labels.point_offsets[labels.polygon_offsets[:-1]]]
    metadata = DcaseMetadata(
        labels.frame,
        labels.category_id,
        labels.instance_id,
        180.0 - first[:, 0] - 1e-9,
        90.0 - first[:, 1],
        labels.distance_cm,
    )
    write_dcase_csv(metadata, tmp_path / "teacher" / "fold4_room23_mix001.csv")
    test.text_input(key=keys.TUNE_TEACHER).set_value(str(tmp_path / "teacher"))
    settled(test.run())
    assert float(metrics(test)["Macro mAP"][0]) > 0


def test_views_draw(root: Path) -> None:
    test = settled(page(root))
    for name in ("Classes", "Curves", "Frame", "Compare", "Save, export"):
        view(test, name)
        assert not test.error, said(test)
    view(test, "Frame")
    assert any("Change: " in block.proto.body for block in test.get("html"))


def test_heat_map_and_search(root: Path) -> None:
    test = settled(page(root, **{keys.TUNE_SCOPE: "dev-test-sim/*"}))
    view(test, "Heat map")
    button(test, "Compute the heat map").click()
    settled(test.run())
    wait_for(test, "Click a cell")
    view(test, "Search")
    button(test, "Search thresholds").click()
    settled(test.run())
    wait_for(test, "which the search did not see")
    button(test, "Use these thresholds").click()
    settled(test.run())
    assert "These thresholds are in use" in said(test)
    assert test.session_state[keys.TUNE_VALUES]["min_score_per_class"]


def test_a_calibration_is_fitted_used_and_taken_off_again(root: Path) -> None:
    test = settled(page(root, **{keys.TUNE_SCOPE: "dev-test-sim/*"}))
    before = metrics(test)
    view(test, "Calibrate")
    button(test, "Fit").click()
    settled(test.run())
    wait_for(test, "Expected calibration error")
    button(test, "Use this calibration").click()
    settled(test.run())
    assert "This calibration is in use" in said(test)
    after = metrics(test)
    assert after["Detections"][0] == before["Detections"][0]
    assert len(test.session_state[keys.TUNE_VALUES]["isotonic"]) == 13
    group(test, "Classes")
    assert "Calibration: curve: 13 classes" in said(test)
    button(test, "Take it off").click()
    settled(test.run())
    assert metrics(test)["Micro mAP"] == (before["Micro mAP"][0], "as saved")
    assert test.session_state[keys.TUNE_VALUES]["isotonic"] == {}


def test_two_prediction_sets_are_fused_and_kept(root: Path) -> None:
    for side, keep in (("left", 0), ("right", 1)):
        for name, path in find_labels(root / "labels_dev").items():
            table = read_annotations(path, recording=name)
            seen = table.take(np.flatnonzero(table.instance_id % 2 == keep))
            write_submission_json(
                replace(seen, score=np.full(len(seen), 0.5)), root / "predictions" / side / f"{name}.json"
            )
    try:
        test = settled(page(root, **{keys.TUNE_SCOPE: "dev-test-sim/*"}))
        view(test, "Fuse")
        assert test.multiselect(key=keys.TUNE_FUSED).value == ["left", "right"]
        button(test, "Search weights").click()
        settled(test.run())
        wait_for(test, "that the search did not see")
        button(test, "Keep as a prediction set").click()
        settled(test.run())
        wait_for(test, "detections of 2 recordings")
        [stored] = [s for s in workspace().sets("predictions") if s.facts.made_by == "fuse"]
        assert (stored.name, stored.facts.data) == ("left and right", str(root))
    finally:
        for side in ("left", "right"):
            shutil.rmtree(root / "predictions" / side)


def test_save_and_export(root: Path, tmp_path: Path) -> None:
    test = settled(page(root))
    test.slider(key=keys.TUNE_WIDGET + "min_score").set_value(0.5)
    settled(test.run())
    view(test, "Save, export")
    test.text_input(key=keys.TUNE_NAME).set_value("Mine")
    button(test, "Save").click()
    settled(test.run())
    saved = load_system(tmp_path / "systems" / "mine.toml")
    assert (saved.name, saved.settings.min_score) == ("Mine", 0.5)
    # it can be chosen now
    assert "Mine" in test.selectbox(key=keys.TUNE_SYSTEM).options or settled(test.run())
    # names of systems that come with the program are theirs
    test.text_input(key=keys.TUNE_NAME).set_value("baseline")
    button(test, "Save").click()
    settled(test.run())
    assert "comes with the program" in said(test)

    test.text_input(key=keys.TUNE_FOLDER).set_value(str(root / "predictions" / "x"))
    button(test, "Export 1 file").click()
    settled(test.run())
    wait_for(test, "inside the data root")
    assert not (root / "predictions" / "x").exists()
    test.text_input(key=keys.TUNE_FOLDER).set_value(str(tmp_path / "out"))
    settled(test.run())
    button(test, "Export 1 file").click()
    settled(test.run())
    wait_for(test, "1 files")
    assert [p.name for p in (tmp_path / "out").iterdir()] == ["fold4_room23_mix001.json"]


def test_a_damaged_system_file_is_one_sentence(root: Path, tmp_path: Path) -> None:
    test = settled(page(root))
    (tmp_path / "bad.toml").write_text("name = ")
    test.text_input(key=keys.TUNE_SYSTEM_FILE).set_value(str(tmp_path / "bad.toml"))
    test.run()
    assert not test.exception
    assert "is not a TOML file" in said(test)
