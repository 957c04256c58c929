"""Home and Doctor: every state of the data ends in a page."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from pages.components import set_survey
from pages.components import state_keys as keys
from sai_core.dataset import open_data_root
from sai_core.survey.index import groups_of
from tests.figures.scenes import write_root

REPOSITORY = Path(__file__).resolve().parents[2]


def run(root: Path | str = "", **parameters: str) -> AppTest:
    app = AppTest.from_file(str(REPOSITORY / "app.py"), default_timeout=60)
    if root:
        app.query_params[keys.ROOT] = str(root)
    for name, value in parameters.items():
        app.query_params[name] = value
    return app.run()


def said(app: AppTest) -> str:
    return " ".join(e.value for kind in (app.info, app.error, app.caption, app.markdown) for e in kind)


def test_home_counts_the_demo_and_names_three_steps() -> None:
    app = run()
    assert not app.exception
    assert [m.value for m in app.metric][:1] == ["4"]
    assert "simulated" in said(app)
    assert "track-A" in said(app)
    assert "stand-in" not in said(app)


def test_home_says_what_an_empty_folder_needs(tmp_path: Path) -> None:
    app = run(tmp_path)
    assert not app.exception
    assert "holds no recording" in said(app)


def test_home_says_when_there_is_no_folder(tmp_path: Path) -> None:
    app = run(tmp_path / "nowhere")
    assert not app.exception
    assert len(app.error) == 1


def test_doctor_reports_machine_packages_and_data() -> None:
    app = AppTest.from_file(str(REPOSITORY / "pages" / "doctor" / "page.py"), default_timeout=60).run()
    assert not app.exception
    headings = [h.value for h in app.subheader]
    assert headings == ["Machine", "Packages", "Data"]
    assert app.dataframe[2].value["recordings"].sum() == 4


@pytest.mark.parametrize("page", ["app.py", "pages/doctor/page.py"])
def test_a_folder_named_like_markup_shows_as_text(tmp_path: Path, page: str) -> None:
    folder = tmp_path / "![x](javascript:alert(1))"
    folder.mkdir()
    app = AppTest.from_file(str(REPOSITORY / page), default_timeout=60)
    app.query_params[keys.ROOT] = str(folder)
    app.run()
    assert not app.exception
    assert "![x](" not in said(app)


def test_files_known_to_be_damaged_are_not_counted_as_sound(tmp_path: Path) -> None:
    write_root(tmp_path, n_frames=5, video_size=None, audio=True)
    write_root(tmp_path, recording="fold4_room9_mix002", n_frames=5, video_size=None, audio=False)
    next(tmp_path.glob("labels_dev/*/*room9*.json")).write_text("")
    next(tmp_path.glob("predictions/second/*room9*.json")).write_text("[")
    app = run(tmp_path)
    assert "cannot be used" not in said(app)  # nobody has looked yet
    assert "Of the 1 recording" in str([m.help for m in app.metric])
    root = open_data_root(tmp_path)
    set_survey.survey().look(groups_of(root, predictions=root.prediction_set("second")))
    app = run(tmp_path)
    assert not app.exception
    for kind in ("energy labels", "predictions"):
        assert f"| {kind} | all, :red[1 file cannot be used] |" in said(app)
    assert "| 4-channel audio | 1 of 2 |" in said(app)


def test_a_label_that_cannot_be_read_costs_the_picture_alone(tmp_path: Path) -> None:
    write_root(tmp_path / "root", n_frames=5, video_size=None, audio=False)
    label = next((tmp_path / "root").glob("labels_dev/*/*.json"))
    label.write_text('{"annotations": [{"metadata_frame_index": 3, "categ')
    app = run(tmp_path / "root")
    end = time.monotonic() + 60
    while not app.error and time.monotonic() < end:  # the picture is drawn in the background
        time.sleep(0.1)
        app.run()
    assert not app.exception
    assert label.name.replace("_", r"\_") in app.error[0].value
    assert [m.value for m in app.metric][::2] == ["1", "2"]
