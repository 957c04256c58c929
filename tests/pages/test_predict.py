"""The Predict page's script in every state; what a person sees is tested in ``tests/browser``."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile
import streamlit as st
import torch
from streamlit.testing.v1 import AppTest

from pages.components import state_keys as keys
from sai_core.annotations import read_annotations
from sai_core.detections.raw import open_raw
from sai_core.detector.config import DetectorConfig, WidebandConfig
from sai_core.detector.models import SaiDetector, save_detector
from sai_core.detector.wideband import WidebandNetwork, save_wideband
from sai_core.teacher.seldnet import SeldNet, seldnet_features

PAGE = str(Path(__file__).resolve().parents[2] / "pages" / "predict" / "page.py")
NAME = "fold9_room1_mix001"


@pytest.fixture(autouse=True)
def _own_cache_and_no_jobs_of_other_tests(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("SAI_CACHE_DIR", str(tmp_path / "cache"))
    st.cache_resource.clear()
    yield
    st.cache_resource.clear()


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Half a second of noise in four channels, and a second recording without audio (not a simulation)."""
    rng = np.random.default_rng(2)
    audio = tmp_path / "root" / "mic_dev" / "dev-x" / f"{NAME}.wav"
    audio.parent.mkdir(parents=True)
    soundfile.write(audio, rng.normal(0, 0.1, (12_000, 4)), 24_000, subtype="PCM_16")
    csv = tmp_path / "root" / "metadata_dev" / "dev-x" / "fold9_room1_mix002.csv"
    csv.parent.mkdir(parents=True)
    csv.write_text("0,8,0,30,10,200\n")
    return tmp_path / "root"


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    path = tmp_path / "tiny.safetensors"
    model = SaiDetector(DetectorConfig.small("A", channels=32, width=16, first_level=3, coarse_stem=True))
    save_detector(model, path, notes={"epoch": "3"})
    return path


def page(root: Path | str, checkpoint: Path | str = "") -> AppTest:
    """The page by itself (AppTest drops a button's click on any page but the app's first)."""
    test = AppTest.from_file(PAGE, default_timeout=120)
    test.query_params[keys.ROOT] = str(root)
    test.query_params[keys.PREDICT_PATH] = str(checkpoint)
    test.run()
    # whatever weights ship with the program, the test uses its own
    choice = next(s for s in test.selectbox if s.label == "Network")
    return choice.set_value("my own file").run()


def said(test: AppTest) -> str:
    """All that the page tells in boxes and text."""
    kinds = (test.info, test.error, test.caption, test.markdown, test.warning)
    return " ".join(e.value for kind in kinds for e in kind).replace("\\", "")


def button(test: AppTest, label: str) -> object:
    return next(b for b in test.button if b.label.startswith(label))


def test_without_a_checkpoint_it_says_what_to_give(root: Path) -> None:
    test = page(root)
    assert not test.exception
    assert "energy_seg_best.pth" in said(test)
    assert button(test, "Predict").disabled  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("content", "sentence"),
    [(None, "no such file"), (b"hello", "not a weights file that can be opened safely")],
)
def test_a_wrong_checkpoint_is_one_sentence(root: Path, tmp_path: Path, content: bytes | None, sentence: str) -> None:
    path = tmp_path / "wrong.safetensors"
    if content is not None:
        path.write_bytes(content)
    test = page(root, path)
    assert not test.exception
    assert len(test.error) == 1
    assert sentence in test.error[0].value


def test_a_checkpoint_tells_what_it_is_and_recordings_what_they_lack(root: Path, checkpoint: Path) -> None:
    test = page(root, checkpoint)
    assert not test.exception
    assert "track A" in said(test)
    assert "sound alone" in said(test)
    assert "epoch 3" in said(test)
    assert "fold9_room1_mix002 cannot be predicted" in said(test)
    assert button(test, "Predict 1 recording")


def test_a_folder_inside_the_data_is_refused(root: Path, checkpoint: Path) -> None:
    test = page(root, checkpoint)
    test.text_input(key=keys.PREDICT_FOLDER).set_value(str(root / "mic_dev" / "mine"))
    button(test, "Predict 1").click().run()  # type: ignore[attr-defined]
    assert not test.exception
    assert "lies inside the data" in said(test)
    assert not (root / "mic_dev" / "mine").exists()


@pytest.mark.slow
def written(test: AppTest, folder: Path) -> None:
    """Run the page until the job of a folder has written its recording, and once more."""
    end = time.monotonic() + 120
    while not (folder / f"{NAME}.json").exists() or "recordings written" not in said(test):
        assert time.monotonic() < end, said(test)
        assert not test.exception
        time.sleep(0.2)
        test.run()
    test.run()


def test_a_recording_is_predicted_in_the_background_and_shown(root: Path, checkpoint: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    test = page(root, checkpoint)
    test.text_input(key=keys.PREDICT_FOLDER).set_value(str(out))
    button(test, "Predict 1").click().run()  # type: ignore[attr-defined]
    written(test, out)
    assert not test.error, said(test)
    assert read_annotations(out / f"{NAME}.json").recording == NAME
    # its folder is now among the predictions of every page, and its candidates can be looked at
    assert test.session_state[keys.PREDICTION_FOLDER] == str(out)
    assert "candidates in 5 frames" in said(test)
    # ended jobs can be taken off the list, their files stay
    button(test, "Remove").click().run()  # type: ignore[attr-defined]
    assert "No jobs yet" in said(test)
    assert (out / f"{NAME}.json").exists()


def test_own_listeners_and_decoders_are_taken_by_their_files(root: Path, checkpoint: Path, tmp_path: Path) -> None:
    out, listener = tmp_path / "out", tmp_path / "listener.safetensors"
    save_wideband(WidebandNetwork(WidebandConfig(width=2)), listener)
    test = page(root, checkpoint)
    test.text_input(key=keys.PREDICT_FOLDER).set_value(str(out))
    test.text_input(key=keys.PREDICT_WIDEBAND).set_value(str(checkpoint))
    button(test, "Predict 1").click().run()  # type: ignore[attr-defined]
    assert "not a wideband listener" in said(test)
    test.text_input(key=keys.PREDICT_WIDEBAND).set_value(str(listener))
    button(test, "Predict 1").click().run()  # type: ignore[attr-defined]
    written(test, out)
    (store,) = (out / "raw").iterdir()
    raw = open_raw(store)
    assert raw is not None
    assert raw.wideband.shape == (len(raw), 14)
    assert "is kept with the raw detections" in said(test)
    # a detector with a field of its own takes no decoder beside it, whatever was typed before
    test.text_input(key=keys.PREDICT_FIELD).set_value(str(listener)).run()
    size = {"field_channels": 4, "field_blocks": 1, "field_degree": 2}
    fielded = SaiDetector(DetectorConfig.small("A", channels=32, width=16, first_level=3, region="field", **size))
    save_detector(fielded, checkpoint)
    st.cache_data.clear()
    test.run()
    assert "intensity field of its own" in said(test)
    assert "Field decoder" not in [field.label for field in test.text_input]


def test_what_is_shown_is_the_own_newest_result_on_this_data(root: Path, checkpoint: Path, tmp_path: Path) -> None:
    test = page(root, checkpoint)
    for name in ("first", "second"):
        test.text_input(key=keys.PREDICT_FOLDER).set_value(str(tmp_path / name))
        button(test, "Predict 1").click().run()  # type: ignore[attr-defined]
        written(test, tmp_path / name)
        assert test.selectbox(key=keys.PREDICT_RAW).value == str(tmp_path / name / "raw")
    # another tab's job on other data is in the list of jobs, and is nothing to look at here
    other = tmp_path / "other"
    shutil.copytree(root, other)
    elsewhere = page(other, checkpoint)
    assert said(elsewhere).count("1 of 1 recordings written") == 2
    assert not [s for s in elsewhere.selectbox if s.key == keys.PREDICT_RAW]


def test_a_system_with_a_teacher_takes_the_one_that_ships_and_says_what_it_cannot_hear(
    root: Path, checkpoint: Path
) -> None:
    test = page(root, checkpoint)
    test.selectbox(key=f"{keys.PREDICT_SYSTEM}_track A_Voted").set_value("TPAV").run()
    assert not test.exception
    teacher = test.text_input(key=keys.PREDICT_TEACHER)
    assert "the one that ships" in teacher.placeholder
    assert not [t for t in test.text_input if t.key == keys.PREDICT_SCALER]
    test.button(key="predict_go").click().run()
    assert not test.exception
    said_wrong = " ".join(e.value for e in test.error).replace("\\", "")
    assert "no foa_dev audio for the teacher to listen to" in said_wrong


def test_an_official_teacher_takes_its_scaler_and_a_wrong_path_starts_nothing(
    root: Path, checkpoint: Path, tmp_path: Path
) -> None:
    official = tmp_path / "x.h5"
    torch.save({f"module.{k}": v for k, v in SeldNet("mic").state_dict().items()}, official)
    n = len(seldnet_features(np.zeros((24_000, 4), np.float32), "mic"))
    np.savez(tmp_path / "scaler.npz", mean=np.zeros(64 * n), scale=np.ones(64 * n))
    test = page(root, checkpoint)
    test.selectbox(key=f"{keys.PREDICT_SYSTEM}_track A_Voted").set_value("TPAV").run()
    test.text_input(key=keys.PREDICT_TEACHER).set_value(str(official)).run()
    test.text_input(key=keys.PREDICT_SCALER).set_value(str(checkpoint)).run()
    button(test, "Predict 1").click().run()  # type: ignore[attr-defined]
    assert not test.exception
    assert "not the scaler of a teacher" in said(test)
    test.text_input(key=keys.PREDICT_SCALER).set_value(str(tmp_path / "scaler.npz")).run()
    test.text_input(key=keys.PREDICT_FOLDER).set_value(str(tmp_path / "out")).run()
    button(test, "Predict 1").click().run()  # type: ignore[attr-defined]
    written(test, tmp_path / "out")
    assert list((tmp_path / "out" / "teacher").glob("*.csv"))
    assert "without that scaler" not in said(test)
    test.text_input(key=keys.PREDICT_TEACHER).set_value("~nosuch/teacher").run()
    assert "no such user" in said(test)
    assert button(test, "Predict").disabled  # type: ignore[attr-defined]
