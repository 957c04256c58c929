"""The label page's script in every state; what a person sees of the viewer is tested in ``tests/browser``."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
import streamlit as st
from streamlit.testing.v1 import AppTest

from pages.components import state_keys as keys
from sai_core.annotations import read_annotations
from sai_core.progress import Progress
from sai_core.workspace import workspace

PAGE = str(Path(__file__).resolve().parents[2] / "pages" / "label" / "page.py")


@pytest.fixture(autouse=True)
def _own_workspace_and_no_jobs_of_other_tests(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("SAI_WORKSPACE", str(tmp_path / "workspace"))
    st.cache_resource.clear()
    yield
    st.cache_resource.clear()


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Half a second of noise in 32 channels with one metadata row a frame (not a simulation)."""
    rng = np.random.default_rng(2)
    audio = tmp_path / "root" / "eigen_dev" / "dev-x" / "fold1_room1_mix001.wav"
    csv = tmp_path / "root" / "metadata_dev" / "dev-x" / "fold1_room1_mix001.csv"
    audio.parent.mkdir(parents=True)
    csv.parent.mkdir(parents=True)
    soundfile.write(audio, rng.normal(0, 0.1, (12_000, 32)), 24_000, subtype="PCM_16")
    csv.write_text("".join(f"{k},8,0,30,10,200\n" for k in range(5)))
    return tmp_path / "root"


def page(root: Path | str) -> AppTest:
    """The page by itself (AppTest drops a button's click on any page but the app's first)."""
    test = AppTest.from_file(PAGE, default_timeout=60)
    test.query_params[keys.LABEL_ROOT] = str(root)
    return test.run()


def said(test: AppTest) -> str:
    """All that the page tells in boxes and text."""
    return " ".join(e.value for kind in (test.info, test.error, test.caption, test.markdown) for e in kind)


def test_a_root_without_32_channels_says_what_to_do(tmp_path: Path) -> None:
    test = page(tmp_path)
    assert not test.exception
    assert "eigen_dev" in said(test)
    assert "simulate" in said(test)


def test_a_wrong_root_is_one_sentence(tmp_path: Path) -> None:
    test = page(tmp_path / "nowhere")
    assert not test.exception
    assert len(test.error) == 1
    assert "nowhere" in test.error[0].value


def test_an_output_inside_the_root_is_refused(root: Path) -> None:
    test = page(root)
    test.text_input(key=keys.LABEL_FOLDER).set_value(str(root / "mine"))
    test.button(key="label_go").click().run()
    _wait(test)
    assert not test.exception
    assert "inside the data root" in said(test).replace("\\", "")
    assert not (root / "mine").exists()


@pytest.mark.slow
def test_a_label_is_made_and_shown(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    test = page(root)
    test.text_input(key=keys.LABEL_FOLDER).set_value(str(tmp_path / "out"))
    test.button(key="label_go").click().run()
    _wait(test)
    assert not test.exception
    assert not test.error, said(test)
    path = tmp_path / "out" / "dev-x" / "fold1_room1_mix001_std.json"
    table = read_annotations(path)
    assert f"{len(table)} annotations in 5 frames" in said(test), said(test)
    # again, into the same folder, which the form remembers: refused until it is allowed
    assert test.text_input(key=keys.LABEL_FOLDER).value == str(tmp_path / "out")
    test.button(key="label_go").click().run()
    _wait(test)
    assert "exists already" in said(test).replace("\\", ""), said(test)
    assert not (tmp_path / "home").exists()


def _wait(test: AppTest, seconds: float = 90.0) -> None:
    """Rerun until the background job has ended and the page says so."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        test.run()
        if not any(b.label == "Cancel" for b in test.button):
            return
        time.sleep(0.3)
    pytest.fail("the label job did not end")


@pytest.mark.slow
def test_all_recordings_without_a_label_are_labelled_into_a_set_that_pages_can_use(root: Path) -> None:
    for kind, ending in (("eigen_dev", "wav"), ("metadata_dev", "csv")):
        first = root / kind / "dev-x" / f"fold1_room1_mix001.{ending}"
        shutil.copy(first, first.with_name(f"fold1_room1_mix002.{ending}"))
    test = page(root)
    next(c for c in test.button_group if c.key == keys.LABEL_SCOPE).set_value("the 2 without a label").run()
    assert test.button(key="label_go").label == "Make 2 labels"
    test.button(key="label_go").click().run()
    _wait(test)
    assert not test.error, said(test)
    (made,) = workspace().sets("labels")
    assert sorted(made.files_by_split) == ["dev-x/fold1_room1_mix001", "dev-x/fold1_room1_mix002"]
    assert made.facts.data == str(root)
    assert list(test.dataframe[0].value["state"]) == ["made", "made"]
    test.button(key="label_use").click().run()
    assert test.session_state[keys.LABELS] == made.name
    # now nothing is without a label, and the form says so by what it offers
    assert "without a label" not in str(next(c for c in test.button_group if c.key == keys.LABEL_SCOPE).options)


@pytest.mark.slow
def test_with_nothing_to_label_recordings_are_simulated_and_opened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from sai_core.simulation import dataset

    made = dataset.simulate_dataset

    def short(root: Path, options: dataset.SimulationOptions, *, recordings: int, progress: Progress) -> object:
        # one recording of two seconds is as good for this test
        assert (recordings, options.eigen, options.labels) == (2, True, False)
        return made(root, replace(options, seconds=2.0, video_wh=None, foa=False), recordings=1, progress=progress)

    monkeypatch.setattr(dataset, "simulate_dataset", short)
    test = page(tmp_path)
    test.button(key="label_simulate").click().run()
    _wait(test)
    assert not test.error, said(test)
    test.button(key="label_open_simulated").click().run()
    assert test.text_input(key=keys.ROOT).value == str(workspace().folder("simulated"))
    assert test.button(key="label_go").label == "Make the label"
