"""Home and Doctor: every state of the data ends in a page."""

from __future__ import annotations

from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from pages.components import state_keys as keys

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
