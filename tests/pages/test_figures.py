"""The Figures page's script in every state; what a person sees of it is tested in ``tests/browser``."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import streamlit as st
from streamlit.testing.v1 import AppTest

from pages.components import state_keys as keys
from sai_core.dataset import demo_root
from tests.figures.scenes import write_root

PAGE = str(Path(__file__).resolve().parents[2] / "pages" / "figures" / "page.py")
NAME = "fold4_room23_mix001"


@pytest.fixture(autouse=True)
def _no_jobs_of_other_tests() -> Iterator[None]:
    st.cache_resource.clear()
    yield
    st.cache_resource.clear()


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("page") / "root"
    write_root(folder, n_frames=20)
    write_root(folder, recording="fold4_room24_mix001", n_frames=20, seed=2, video_size=None, audio=False)
    return folder


def page(root: Path | str, **query: str) -> AppTest:
    """The page by itself (AppTest drops a button's click on any page but the app's first)."""
    test = AppTest.from_file(PAGE, default_timeout=120)
    test.query_params[keys.ROOT] = str(root)
    for name, value in query.items():
        test.query_params[name] = value
    return test.run()


def said(test: AppTest) -> str:
    """All that the page tells in boxes and text, without the marks that keep Markdown from acting."""
    kinds = (test.info, test.error, test.warning, test.success, test.caption, test.markdown, test.code)
    return " ".join(str(e.value) for kind in kinds for e in kind).replace("\\", "")


def until(test: AppTest, condition: Callable[[AppTest], bool], seconds: float = 90.0) -> None:
    """Rerun until something holds."""
    end = time.monotonic() + seconds
    while not condition(test):
        if time.monotonic() > end:
            pytest.fail(f"the page never got there; it says: {said(test)}")
        time.sleep(0.2)
        test.run()
        assert not test.exception


def labels(test: AppTest) -> list[str]:
    """What the download buttons say."""
    return [str(getattr(button, "label", "")) for button in test.get("download_button")]


def test_a_figure_is_there_at_once(root: Path) -> None:
    test = page(root)
    assert not test.exception
    assert not test.error, said(test)
    assert labels(test) == ["PDF", "SVG", "PNG"]
    assert "Rows: (1) first; (2) second." in said(test)


def test_a_link_opens_its_moment_and_the_address_is_one(root: Path) -> None:
    test = page(root, rec="dev-test-sony/fold4_room24_mix001", frame="7", a="second", b="none")
    assert not test.exception
    assert test.number_input(key=keys.FIGURES_FRAME).value == 7
    assert test.selectbox(key=keys.FIGURES_RECORDING).value == "dev-test-sony/fold4_room24_mix001"
    assert test.multiselect(key=keys.FIGURES_SYSTEMS).value == ["second"]
    assert "frame 7 (0.7–0.8 s)" in said(test)
    test.number_input(key=keys.FIGURES_FRAME).set_value(9).run()
    assert "frame 9" in said(test)
    assert test.session_state[keys.ADDRESS].values[keys.FRAME] == "9"


def test_a_frame_beyond_the_end_becomes_the_last(root: Path) -> None:
    test = page(root, frame="5000")
    assert not test.exception
    assert not test.error
    assert test.number_input(key=keys.FIGURES_FRAME).value == 19


def test_options_change_the_figure(root: Path) -> None:
    test = page(root)
    test.selectbox(key=f"{keys.FIGURES_PANELS}scale").set_value("per-map").run()
    assert "divided by its own peak" in said(test)
    test.multiselect(key=keys.FIGURES_SYSTEMS).set_value([]).run()
    assert not test.exception
    assert labels(test) == ["PDF", "SVG", "PNG"]


def test_demo_material_is_called_what_it_is() -> None:
    test = page(demo_root())
    assert not test.exception
    assert "simulated recording" in said(test)
    assert "stand-in" not in said(test)


def test_wrong_roots_and_links_are_sentences(root: Path, tmp_path: Path) -> None:
    test = page(tmp_path / "nowhere")
    assert not test.exception
    assert len(test.error) == 1
    test = page(root, rec="dev-test-sony/other")
    assert not test.exception
    assert "names 'dev-test-sony/other'" in said(test)


def test_a_broken_prediction_file_is_one_sentence(root: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / f"{NAME}.json").write_text('{"annotations": [{"metadata_frame_index": 3, "categ')
    test = page(root, **{keys.PREDICTION_FOLDER: str(broken), keys.SYSTEM_A: "broken"})
    assert not test.exception
    assert len(test.error) == 1
    assert "broken" in said(test)


def test_a_gallery_is_made(root: Path, tmp_path: Path) -> None:
    test = page(root, **{keys.FIGURES_VIEW: "Gallery"})
    until(test, lambda t: any(b.label == "Make all classes" for b in t.button))
    assert labels(test) == ["PDF", "SVG", "PNG"]
    test.text_input(key=f"{keys.FIGURES_GALLERY}folder").set_value(str(root / "out")).run()
    _press(test, "Make all classes")
    assert "inside the data root" in said(test)
    test.text_input(key=f"{keys.FIGURES_GALLERY}folder").set_value(str(tmp_path / "out")).run()
    _press(test, "Make all classes")
    until(test, lambda t: bool(t.success))
    assert (tmp_path / "out" / "gallery_first.pdf").read_bytes().startswith(b"%PDF")


def test_curves_are_drawn(root: Path, tmp_path: Path) -> None:
    test = page(root, **{keys.FIGURES_VIEW: "Curves"})
    for kind in ("AP over IoU", "Precision and recall", "Classes"):
        test.selectbox(key=f"{keys.FIGURES_CURVES}kind").set_value(kind).run()
        until(test, lambda t: labels(t) == ["PDF", "SVG", "PNG"])
        assert not test.error, said(test)
    test.selectbox(key=f"{keys.FIGURES_CURVES}kind").set_value("Training").run()
    assert "folder of a training run" in said(test)
    (tmp_path / "metrics.csv").write_text("epoch,train_loss,val_loss\n1,2.0,2.1\n2,1.5,1.7\n")
    test.text_input(key=f"{keys.FIGURES_CURVES}run").set_value(str(tmp_path)).run()
    assert not test.exception
    assert labels(test) == ["PDF", "SVG", "PNG"]
    test.text_input(key=f"{keys.FIGURES_CURVES}run").set_value(str(root)).run()
    assert "metrics.csv" in said(test)


def test_a_video_is_made_and_one_is_cancelled(root: Path, tmp_path: Path) -> None:
    test = page(root, **{keys.FIGURES_VIEW: "Video"})
    assert not test.exception
    _press(test, "Make the video (2.0 s)")
    until(test, lambda t: any(label.startswith("Download (20 frames, 2.0 s") for label in labels(t)))
    test.text_input(key=f"{keys.FIGURES_VIDEO}folder").set_value(str(tmp_path / "out")).run()
    _press(test, "Make the video (2.0 s)")
    until(test, lambda t: bool(t.success))
    assert list((tmp_path / "out").glob("*.mp4"))


def test_a_video_of_a_source_alone(root: Path) -> None:
    test = page(root, **{keys.FIGURES_VIEW: "Video"})
    prefix = keys.FIGURES_VIDEO
    test.selectbox(key=f"{prefix}sound").select("source").run()
    assert not test.exception
    assert test.selectbox(key=f"{prefix}source_{NAME}").options[0].startswith("Labels: ")
    _press(test, "Make the video (2.0 s)")
    until(test, lambda t: any(label.startswith("Download (20 frames, 2.0 s") for label in labels(t)))
    # what is heard is a part of what the video is known by: the plain one has not been made
    test.selectbox(key=f"{prefix}sound").select("all").run()
    assert not any(label.startswith("Download") for label in labels(test))


def _press(test: AppTest, label: str) -> None:
    next(button for button in test.button if button.label == label).click().run()
    assert not test.exception
