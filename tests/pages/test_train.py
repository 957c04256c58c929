"""The Train page's script in every state; what a person sees of it is tested in ``tests/browser``."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import streamlit as st
import torch
from streamlit.testing.v1 import AppTest

from pages.components import state_keys as keys
from pages.train import charts, form
from sai_core.dataset import demo_root
from sai_core.detector.config import DetectorConfig
from sai_core.detector.models import SaiDetector, save_detector
from sai_core.environment import TorchFacts
from sai_core.runs import launch, watch
from sai_core.runs.estimate import Estimate
from sai_core.runs.kinds import KINDS, LABELS_OPTION
from sai_core.runs.launch import LaunchSpec
from sai_core.runs.notes import write_notes
from sai_core.runs.outlook import Outlook
from tests.runs.stand_in import end_runs, trainer, wait_until

PAGE = str(Path(__file__).resolve().parents[2] / "pages" / "train" / "page.py")


@pytest.fixture(autouse=True)
def _no_state_of_other_tests(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    st.cache_resource.clear()
    # asking torch for devices takes a process and seconds, in each test anew
    facts = TorchFacts(None, None, None, ({"name": "cuda:0", "model": "a GPU", "memory_bytes": None},), None)
    monkeypatch.setattr(form, "probe_torch", lambda: facts)
    yield
    st.cache_resource.clear()


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """A runs folder; whatever still runs in it at the end of a test is ended."""
    yield tmp_path / "runs"
    end_runs(tmp_path / "runs")


def finished_run(folder: Path, name: str, *, state: str = "finished", created: float = 1000.0) -> Path:
    """A run folder as a trainer leaves it."""
    run = folder / name
    (run / "samples").mkdir(parents=True)
    rows = [
        f"{k // 5},{k},{k},train,{3 / k},{2 / k},,1e-4,0\n{k // 5},{k},{k},validation,{4 / k},{3 / k},{k / 100},,\n"
        for k in range(1, 20)
    ]
    (run / "metrics.csv").write_text("epoch,step,seconds,kind,total,box,mAP,rate_heads,rate_stem\n" + "".join(rows))
    (run / "config.json").write_text('{"seed": 7}')
    (run / "environment.json").write_text('{"torch": "2"}')
    (run / "log.txt").write_text("first line\nstep 3 of <b>many</b>\nlast line\n")
    status = {"state": state, "epoch": 3, "epochs": 4, "step": 19, "steps": 20, "frozen": ["stem"], "updated": created}
    status |= {"rates": {"heads": 1e-4}, "memory_mb": 100.0, "host": socket.gethostname(), "message": f"{name} *ended*"}
    (run / "status.json").write_text(json.dumps(status))
    described = {"kind": "detector", "created": created, "launched": created, "command": ["python", "-m", "sai_core"]}
    (run / "launch.json").write_text(json.dumps(described))
    cv2.imwrite(str(run / "samples" / "frame_3.png"), np.zeros((20, 40, 3), np.uint8))
    (run / "samples" / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\nbroken")
    return run


def page(folder: Path, **query: str) -> AppTest:
    """The page by itself (AppTest drops a button's click on any page but the app's first)."""
    test = AppTest.from_file(PAGE, default_timeout=60)
    test.query_params[keys.TRAIN_FOLDER] = str(folder)
    for name, value in query.items():
        test.query_params[name] = value
    return test.run()


def said(test: AppTest) -> str:
    """All that the page tells, without Markdown's escapes."""
    kinds = (test.info, test.error, test.warning, test.caption, test.markdown, test.code)
    return " ".join(str(e.value) for kind in kinds for e in kind).replace("\\", "")


def button(test: AppTest, label: str) -> object:
    return next((b for b in test.button if b.label == label), None)


def click(test: AppTest, label: str) -> AppTest:
    found = next(b for b in test.button if b.label == label)
    return found.click().run()


def test_an_empty_folder_shows_the_form_with_the_recipes_text(folder: Path) -> None:
    test = page(folder)
    assert not test.exception
    assert test.selectbox(key=keys.TRAIN_KIND).value == "detector"
    recipe = test.selectbox(key=keys.TRAIN_RECIPE).value
    assert recipe in KINDS["detector"].recipes
    text = said(test)
    assert KINDS["detector"].recipes[recipe].read_text().strip() in [c.value.strip() for c in test.code]
    assert f"--run={folder / recipe}" in text
    test.text_area(key=keys.TRAIN_OVERRIDES).set_value("seed = 3\n\noptimiser.rate=1e-3").run()
    assert "--set=seed=3 --set=optimiser.rate=1e-3" in said(test)
    test.number_input(key=keys.TRAIN_EPOCHS).set_value(2).run()
    assert "--epochs=2" in said(test)
    test.selectbox(key=keys.TRAIN_KIND).set_value("uplam").run()
    assert not test.exception
    assert "train uplam" in said(test)
    assert "--epochs" not in said(test)
    test.selectbox(key=keys.TRAIN_KIND).set_value("teacher").run()
    assert "needs --split" in said(test)
    test.text_input(key=keys.TRAIN_OPTION + "--split").set_value("dev-train-x").run()
    test.text_input(key=keys.TRAIN_OPTION + "--validation").set_value("dev-val-x").run()
    assert "--split=dev-train-x --validation=dev-val-x" in said(test)
    test.selectbox(key=keys.TRAIN_KIND).set_value("sounds").run()
    assert not test.exception
    test.text_input(key=keys.TRAIN_OPTION + "--scenes").set_value("20").run()
    assert "train sounds" in said(test)
    assert "--scenes=20" in said(test)
    assert "--device" not in said(test)
    assert test.selectbox(key=keys.TRAIN_KIND).options == [kind.title for kind in KINDS.values()]
    assert not folder.exists()


def test_the_name_follows_the_recipe_until_a_person_gives_one(folder: Path) -> None:
    test = page(folder)
    # the demo has video, and a minute of it: small_b, GPU or not
    assert test.selectbox(key=keys.TRAIN_RECIPE).value == test.text_input(key=keys.TRAIN_NAME).value == "small_b"
    assert "Proposed: small_b; this machine has a GPU, and there are only" in said(test)
    test.selectbox(key=keys.TRAIN_RECIPE).set_value("fao").run()
    assert test.text_input(key=keys.TRAIN_NAME).value == "fao"
    test.selectbox(key=keys.TRAIN_RECIPE).set_value("small_b").run()
    assert test.text_input(key=keys.TRAIN_NAME).value == "small_b"
    test.selectbox(key=keys.TRAIN_KIND).set_value("teacher").run()
    assert test.text_input(key=keys.TRAIN_NAME).value == "teacher"
    test.text_input(key=keys.TRAIN_NAME).set_value("mine").run()
    test.selectbox(key=keys.TRAIN_KIND).set_value("uplam").run()
    assert test.text_input(key=keys.TRAIN_NAME).value == "mine"


def test_the_data_that_are_open_are_proposed_until_a_person_gives_others(folder: Path, tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    first.mkdir()
    second.mkdir()
    test = page(folder)
    assert test.text_area(key=keys.TRAIN_DATA).value == str(demo_root())
    # opened on another page, which takes its field along when it is left
    test.session_state[keys.ROOT] = str(first)
    test.run()
    assert f"--data={first}" in said(test)
    test.text_area(key=keys.TRAIN_DATA).set_value(str(second)).run()
    test.session_state[keys.ROOT] = str(demo_root())
    test.run()
    assert f"--data={second}" in said(test)
    # so is the label set that pages score against
    labels = keys.TRAIN_OPTION + LABELS_OPTION
    assert test.text_input(key=labels).value == ""
    test.session_state[keys.LABELS] = "corrected"
    test.run()
    assert "--labels=corrected" in said(test)
    test.text_input(key=labels).set_value("").run()
    assert "--labels" not in said(test)
    linked = AppTest.from_file(PAGE, default_timeout=60)
    linked.query_params[keys.ROOT] = str(first)
    linked.query_params[keys.TRAIN_FOLDER] = str(folder)
    linked.run()
    assert f"--data={first}" in said(linked)


def test_a_folder_that_is_not_there_is_told_at_once_and_changes_no_recipe(folder: Path) -> None:
    test = page(folder)
    assert test.selectbox(key=keys.TRAIN_RECIPE).value == "small_b"
    test.text_area(key=keys.TRAIN_DATA).set_value("/no/such place").run()
    assert [e.value.replace("\\", "") for e in test.error] == ["/no/such place: there is no such folder."]
    assert test.selectbox(key=keys.TRAIN_RECIPE).value == "small_b"
    assert "No recipe is proposed for data that are not there." in said(test)
    assert "Proposed:" not in said(test)


def test_a_wrong_setting_is_told_under_its_field_before_anything_starts(folder: Path) -> None:
    KINDS["detector"].trainer()  # torch takes its time, which is not this test's
    test = page(folder)
    test.selectbox(key=keys.TRAIN_RECIPE).set_value("small_a").run()
    test.text_area(key=keys.TRAIN_OVERRIDES).set_value("optimiser.rat=1").run()
    click(test, "Start training")
    assert not test.exception
    (error,) = test.error
    assert "unknown settings rat" in error.value.replace("\\", "")
    fields = list(test.columns[0])
    place = next(index for index, element in enumerate(fields) if getattr(element, "key", "") == keys.TRAIN_OVERRIDES)
    assert getattr(fields[place + 1], "value", "") == error.value
    assert not folder.exists()


def test_everything_that_is_wrong_is_told_at_once_each_under_its_field(folder: Path) -> None:
    KINDS["detector"].trainer()
    test = page(folder)
    test.text_area(key=keys.TRAIN_DATA).set_value("/nowhere/at/all").run()
    test.text_area(key=keys.TRAIN_OVERRIDES).set_value("optimiser.rat=1\nbatch=0").run()
    click(test, "Start training")
    assert next(e.value.replace("\\", "") for e in test.error).startswith("/nowhere/at/all: ")
    assert len(test.error) == 3
    assert not folder.exists()


def test_a_check_says_what_is_wrong_or_how_long_it_takes(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    answers = iter(
        (
            Outlook(faults=(("data", "no labels"), ("--labels", "no such set"))),
            Outlook(estimate=Estimate(seconds=7200.0, steps=1000, rests_on="as run a took on this machine")),
        )
    )
    asked: list[str] = []

    def answer(spec: LaunchSpec, run: Path, *, progress: object) -> Outlook:
        asked.append(spec.recipe)
        return next(answers)

    monkeypatch.setattr(form, "look_ahead_apart", answer)
    test = page(folder)
    click(test, "Check and estimate the time")
    wait_until(lambda: len(asked) == 1 and not form._outlooks().jobs[0].active, 30.0)
    test.run()
    assert [e.value.replace("\\", "") for e in test.error] == ["no labels", "--labels: no such set"]
    # another form is another question
    test.selectbox(key=keys.TRAIN_RECIPE).set_value("small_a").run()
    assert not test.error
    click(test, "Check and estimate the time")
    wait_until(lambda: len(asked) == 2 and not form._outlooks().jobs[0].active, 30.0)
    test.run()
    assert (
        test.success[0]
        .value.replace("\\", "")
        .startswith("About 2.0 h for 1,000 steps on cpu: as run a took on this machine.")
    )
    assert not folder.exists()


def test_runs_in_the_empty_panel_say_what_to_do(folder: Path) -> None:
    test = page(folder)
    test.segmented_control(key=keys.TRAIN_PANEL).set_value("Runs").run()
    assert "There is no run" in said(test)


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        (keys.TRAIN_OVERRIDES, "seed", "expected key=value"),
        (keys.TRAIN_VARIABLES, "A", "expected NAME=value"),
        (keys.TRAIN_DATA, "/nowhere/at/all", "no such data root"),
    ],
)
def test_a_wrong_field_is_one_sentence(folder: Path, key: str, value: str, message: str) -> None:
    test = page(folder)
    test.text_area(key=key).set_value(value).run()
    click(test, "Start training")
    assert not test.exception
    assert len(test.error) == 1
    assert message in said(test)
    assert not folder.exists()


def test_a_name_that_leaves_the_folder_is_refused(folder: Path) -> None:
    test = page(folder)
    test.text_input(key=keys.TRAIN_NAME).set_value("../elsewhere").run()
    click(test, "Start training")
    assert "Run name '../elsewhere'" in said(test)
    assert not (folder.parent / "elsewhere").exists()


def test_a_slurm_job_shows_its_script(folder: Path) -> None:
    pytest.importorskip("submitit")
    test = page(folder)
    test.segmented_control(key=keys.TRAIN_EXECUTOR).set_value("slurm").run()
    test.number_input(key=keys.TRAIN_SETTING + "gpus").set_value(1).run()
    assert not test.exception
    assert "#SBATCH --gpus-per-node=1" in said(test)
    test.text_input(key=keys.TRAIN_SETTING + "partition").set_value("a b").run()
    assert "The partition 'a b'" in said(test)


def test_every_view_of_a_finished_run(folder: Path) -> None:
    finished_run(folder, "one")
    test = page(folder)
    assert not test.exception
    text = said(test)
    assert "19 of 20" in text
    assert "0.190" in text
    assert "stem · frozen" in text
    assert button(test, "Stop") is None
    assert button(test, "Clone") is not None
    test.segmented_control(key=keys.TRAIN_AXIS).set_value("Epochs").run()
    assert not test.exception
    test.segmented_control(key=keys.TRAIN_VIEW).set_value("Samples").run()
    assert not test.exception
    assert "Predictions of the last validation" in said(test)
    test.segmented_control(key=keys.TRAIN_VIEW).set_value("Log").run()
    assert "last line" in said(test)
    test.text_input(key=keys.TRAIN_LOG_QUERY).set_value("MANY").run()
    assert "1 line with MANY" in said(test)
    assert "last line" not in said(test)
    test.segmented_control(key=keys.TRAIN_VIEW).set_value("Settings").run()
    assert not test.exception
    assert [json.loads(j.value) for j in test.json][:1] == [{"seed": 7}]


def test_the_run_of_the_link_is_shown_and_others_are_laid_over_it(folder: Path) -> None:
    finished_run(folder, "one", created=1000.0)
    finished_run(folder, "two", state="failed", created=2000.0)
    test = page(folder, **{keys.TRAIN_RUN: "one"})
    assert "#### one" in said(test)
    test.multiselect(key=keys.TRAIN_COMPARE).set_value(["two"]).run()
    assert not test.exception
    test.radio(key=keys.TRAIN_PICK).set_value("two").run()
    assert "#### two" in said(test)
    # a message of a file is text, not Markdown
    assert "two \\*ended\\*" in test.error[0].value
    # it is no longer compared with itself
    assert test.multiselect(key=keys.TRAIN_COMPARE).value == []
    test = page(folder, **{keys.TRAIN_RUN: "three"})
    assert "names the run 'three'" in said(test)


@pytest.mark.slow
def test_a_run_is_watched_stopped_resumed_and_cloned(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = launch.train_arguments
    fake = trainer("--steps=100000", "--delay=0.02")
    monkeypatch.setattr(launch, "train_arguments", lambda spec, run, *, resume=False: fake(spec, run, resume))
    test = page(folder)
    test.text_area(key=keys.TRAIN_OVERRIDES).set_value("seed=9").run()
    test.text_input(key=keys.TRAIN_NAME).set_value("mine").run()
    click(test, "Start training")
    assert not test.exception
    assert not test.error, said(test)
    run = folder / "mine"
    wait_until(lambda: watch.look(run).state == "running")
    test.run()
    assert "#### mine" in said(test)
    assert "running" in said(test)
    # a second session of the app sees the same run
    other = page(folder)
    assert "#### mine" in said(other)
    click(other, "Stop")
    wait_until(lambda: watch.look(run).state == "stopped")
    wait_until(lambda: not watch.processes(run))
    test.run()
    assert "stopped" in said(test)
    step = watch.look(run).step
    click(test, "Resume")
    wait_until(lambda: watch.look(run).step > step)
    launch.stop(run)
    monkeypatch.setattr(launch, "train_arguments", real)
    test.run()
    click(test, "Clone")
    assert test.text_input(key=keys.TRAIN_NAME).value == "mine-2"
    assert test.text_area(key=keys.TRAIN_OVERRIDES).value == "seed=9"
    assert "as in mine" in said(test)
    assert "--set=seed=9" in said(test)


@pytest.mark.slow
def test_a_run_that_hears_nothing_can_be_ended(folder: Path) -> None:
    run = launch.launch(LaunchSpec(), folder, "deaf", arguments=trainer("--steps=100000", "--deaf"))
    wait_until(lambda: watch.look(run).state == "running")
    test = page(folder)
    click(test, "Stop")
    assert button(test, "End now") is not None
    click(test, "End now")
    wait_until(lambda: watch.look(run).state == "interrupted")
    test.run()
    assert "can be resumed from its last checkpoint" in said(test)
    assert not test.exception


def test_a_run_that_failed_is_deleted_and_what_is_not_its_own_stays(folder: Path) -> None:
    run = finished_run(folder, "one", state="failed")
    finished_run(folder, "two", created=500.0)
    (run / "notes.txt").write_text("mine")
    test = page(folder, **{keys.TRAIN_RUN: "one"})
    assert "#### one" in said(test)
    click(test, "Delete this run")
    assert not test.exception
    assert [path.name for path in run.iterdir()] == ["notes.txt"]
    assert "left in it" in test.toast[0].value
    test.run()
    assert "#### two" in said(test)
    click(test, "Delete this run")
    test.run()
    assert not (folder / "two").exists()
    assert "There is no run" in said(test)


@pytest.mark.parametrize("view", ["Curves", "Samples", "Log", "Settings"])
def test_nonsense_in_the_files_of_one_run_leaves_the_page_alive(folder: Path, view: str) -> None:
    finished_run(folder, "good", created=500.0)
    run = finished_run(folder, "bad")
    digits = "1" + "0" * 400
    (run / "status.json").write_text('{"state": "running", "epoch": ' + digits + "}")
    (run / "config.json").write_text('{"seed": ' + digits + ', "a": NaN, "deep": ' + "[" * 30 + "]" * 30 + "}")
    (run / "environment.json").write_text('{"a": "\\ud800", "b": Infinity}')
    (run / "metrics.csv").write_text(f"epoch,step,total,mAP\n0,1,{digits},{digits}\n0,{digits},1,0.5\n")
    (run / "launch.json").unlink()
    test = page(folder, **{keys.TRAIN_RUN: "bad"})
    assert not test.exception
    assert "unknown" in said(test)
    assert "is not valid: epoch" in said(test)
    test.segmented_control(key=keys.TRAIN_VIEW).set_value(view).run()
    assert not test.exception
    test.radio(key=keys.TRAIN_PICK).set_value("good").run()
    assert "#### good" in said(test)


def test_a_stop_that_comes_too_late_is_one_sentence(folder: Path) -> None:
    run = launch.launch(LaunchSpec(), folder, "brief", arguments=trainer("--steps=100000"))
    wait_until(lambda: watch.look(run).state == "running")
    test = page(folder)
    launch.stop(run)
    click(test, "Stop")
    assert not test.exception
    assert "not running" in said(test)


def test_charts_name_runs_parts_and_units(folder: Path) -> None:
    one = watch.read_curves(finished_run(folder, "one"))
    two = watch.read_curves(finished_run(folder, "<b>two</b>"))
    chart = charts.figure({"one": one}, axis="step", log_scale=False)
    assert chart is not None
    assert {t.name for t in chart.data} == {"training", "validation", "heads", "stem"}
    titles = [a.text for a in chart.layout.annotations]
    assert titles == ["loss: total", "mAP", "loss: box", "learning rates"]
    both = charts.figure({"one": one, "<b>two</b>": two}, axis="hours", log_scale=True)
    assert both is not None
    assert len(both.data) == 2 * len(chart.data)
    assert not any("<b>" in t.hovertemplate for t in both.data)
    assert len({t.line.color for t in both.data}) == 2
    assert charts.figure({"one": ()}, axis="step", log_scale=False) is None
    assert charts.has_epochs({"one": one, "two": ()})
    assert not charts.has_epochs({"one": [replace(c, epoch=np.full(len(c), np.nan)) for c in one]})


@pytest.mark.slow
def test_the_page_never_imports_a_trainer() -> None:
    # torch takes seconds; the page must not wait for it
    program = "import sys, pages.train.live; sys.exit('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], cwd=Path(PAGE).parents[2], timeout=120, check=False)
    assert done.returncode == 0


def test_a_link_fills_the_form_for_a_run_on_corrected_labels(tmp_path: Path) -> None:
    test = page(
        tmp_path,
        **{
            keys.TRAIN_KIND: "detector",
            keys.TRAIN_RECIPE: "small_a",
            keys.TRAIN_DATA: "/data/own",
            f"{keys.TRAIN_OPTION}--labels": "own corrected",
            keys.TRAIN_OVERRIDES: "start.detector=/weights/best.safetensors",
        },
    )
    assert not test.exception
    assert test.text_area(key=keys.TRAIN_DATA).value == "/data/own"
    command = " ".join(c.value for c in test.code)
    assert "'--labels=own corrected'" in command
    assert "--set=start.detector=/weights/best.safetensors" in command
    assert "small_a" in command


def test_a_finished_detector_is_one_of_predicts_networks(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SAI_RUNS_DIR", str(folder))
    run = folder / "first try"
    run.mkdir(parents=True)
    (run / "config.json").write_text(json.dumps({"kind": "detector"}))
    (run / "metrics.csv").write_text("epoch,step,seconds,kind,mAP\n1,10,1.0,validation,0.25\n")
    torch.manual_seed(0)
    save_detector(
        SaiDetector(DetectorConfig.small("A", channels=32, width=16, first_level=3, coarse_stem=True)),
        run / "best.safetensors",
    )
    test = page(folder, **{keys.TRAIN_RUN: "first try"})
    assert not test.exception
    assert "Predict with it" in said(test)
    predict = AppTest.from_file(PAGE.replace("/train/", "/predict/"), default_timeout=60)
    predict.query_params[keys.PREDICT_RUN] = "first try"
    predict.run()
    assert not predict.exception
    network = predict.selectbox(key=keys.PREDICT_CHECKPOINT)
    assert network.value == "run first try"
    assert any("first try" in option and "mAP 0.250" in option for option in network.options)
    assert predict.text_input(key=keys.PREDICT_NAME).placeholder.startswith("first try")


def test_runs_stand_in_a_table_with_what_differs(folder: Path) -> None:
    for name, rate in (("one", 1e-3), ("two", 3e-4)):
        (folder / name).mkdir(parents=True)
        config = {"kind": "detector", "seed": 1, "optimiser": {"rate": rate}}
        (folder / name / "config.json").write_text(json.dumps(config))
        (folder / name / "metrics.csv").write_text(f"epoch,step,seconds,kind,mAP\n1,10,1.0,validation,{rate * 100}\n")
    test = page(folder)
    next(c for c in test.button_group if c.key == keys.TRAIN_PANEL).set_value("Table").run()
    assert not test.exception
    shown = test.dataframe[0].value
    assert sorted(zip(shown["run"], shown["optimiser.rate"], strict=True)) == [("one", "0.001"), ("two", "0.0003")]
    assert "seed" not in shown.columns
    assert "1 setting differs" in said(test)
    assert "tags" not in shown.columns
    write_notes(folder / "one", "with corrected labels", ["paper"])
    test.run()
    assert sorted(zip(test.dataframe[0].value["run"], test.dataframe[0].value["note"], strict=True))[0] == (
        "one",
        "with corrected labels",
    )
    next(g for g in test.button_group if g.key == keys.TRAIN_TABLE_TAGS).set_value(["paper"]).run()
    assert list(test.dataframe[0].value["run"]) == ["one"]
    assert "1 of 2 runs" in said(test)
    # AppTest cannot choose rows; what the button does is called as it calls it
    test.session_state[keys.TRAIN_PANEL] = "Runs"
    test.session_state[keys.TRAIN_COMPARE] = ["two"]
    test.session_state[keys.TRAIN_RUN] = "one"
    test.run()
    assert not test.exception
