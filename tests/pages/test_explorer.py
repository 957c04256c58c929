"""The Explorer's script without a browser: every state of the data ends in a page, never in a traceback."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

import pytest
import streamlit as st
from streamlit.testing.v1 import AppTest

from pages.components import state_keys as keys
from pages.components.text import plain
from sai_core.player.request import Fields, Request
from sai_core.viewing.player import unpack
from tests.figures.scenes import write_root

APP = str(Path(__file__).resolve().parents[2] / "pages" / "explorer" / "page.py")


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two recordings, the second without video and sound."""
    path = tmp_path_factory.mktemp("pages") / "root"
    write_root(path, n_frames=25)
    write_root(path, recording="fold4_room24_mix001", n_frames=12, video_size=None, audio=False, systems=("first",))
    return path


def run(root: Path | str, **parameters: str) -> AppTest:
    app = AppTest.from_file(APP, default_timeout=60)
    app.query_params["root"] = str(root)
    for name, value in parameters.items():
        app.query_params[name] = value
    return app.run()


def sent(app: AppTest) -> tuple[dict[str, Any], dict[str, Any]]:
    """Message that the player was mounted with."""
    found = [element for element in app.main if element.type == "bidi_component"] or _all(app)
    assert len(found) == 1
    return unpack(found[0].proto.bytes)


def _all(app: AppTest) -> list[Any]:
    stack: list[Any] = [app.main]
    found = []
    while stack:
        for child in stack.pop().children.values():
            if getattr(child, "type", "") == "bidi_component":
                found.append(child)
            if hasattr(child, "children"):
                stack.append(child)
    return found


def test_data_is_another_spelling_of_root(root: Path) -> None:
    app = AppTest.from_file(APP, default_timeout=60)
    app.query_params["data"] = str(root)
    app.run()
    assert sent(app)[0]["place"]["root"] == str(root)
    assert app.session_state[keys.ADDRESS].values["data"] is None


def test_a_recording_is_sent_to_the_player(root: Path) -> None:
    app = run(root, frame="21")
    assert not app.exception
    assert not app.error
    header, parts = sent(app)
    assert set(parts) == {"scene", "frame.21"}  # that frame alone, nothing else before it is asked for
    scene, _ = unpack(parts["scene"])
    assert scene["recording"] == "fold4_room23_mix001"
    assert scene["systems"] == {"A": {"title": "first"}}
    assert header["scene"] == scene["scene"]
    assert app.session_state[keys.ADDRESS].values["rec"] == "dev-test-sony/fold4_room23_mix001"


def test_the_demo_opens_without_a_word_and_says_what_it_is() -> None:
    app = AppTest.from_file(APP, default_timeout=60).run()
    assert not app.exception
    assert not app.error
    scene, arrays = unpack(sent(app)[1]["scene"])
    assert scene["systems"]["A"]["title"] == "track-A"
    assert scene["badges"][0][0] == "simulated"
    assert all(scene["has"].values())
    assert len(arrays["A.frame"]) > 0


def test_recordings_and_systems_can_be_chosen(root: Path) -> None:
    app = run(root)
    app.selectbox(key=keys.SYSTEM_B).set_value("second").run()
    scene, arrays = unpack(sent(app)[1]["scene"])
    assert set(scene["systems"]) == {"A", "B"}
    assert len(arrays["B.frame"]) > 0
    assert app.session_state[keys.ADDRESS].values["b"] == "second"
    app.selectbox(key=keys.RECORDING).set_value("dev-test-sony/fold4_room24_mix001").run()
    assert not app.exception
    scene, _ = unpack(sent(app)[1]["scene"])
    assert scene["recording"] == "fold4_room24_mix001"
    assert scene["has"]["video"] is False
    assert "second has no file for this recording" in scene["messages"]["B"]


def test_a_link_with_unknown_names_opens_and_says_so(root: Path) -> None:
    app = run(root, rec="dev-test-sony/gone", a="nobody", frame="abc")
    assert not app.exception
    assert [w.value for w in app.warning if "gone" in w.value]
    assert [w.value for w in app.warning if "nobody" in w.value]
    assert "frame.0" in sent(app)[1]


@pytest.mark.parametrize(("frame", "shown", "which"), [("-7", 0, "first"), ("x", 0, "first"), ("25", 24, "last")])
def test_a_link_to_a_frame_that_is_not_there_opens_and_says_so(root: Path, frame: str, shown: int, which: str) -> None:
    app = run(root, frame=frame)
    assert f"frame.{shown}" in sent(app)[1]
    assert any(
        f"names the frame '{frame}'" in w.value and f"0 to 24; the {which} is shown" in w.value for w in app.warning
    )
    assert not run(root, frame="24").warning
    assert not run(root).warning


def test_a_folder_that_is_not_there_is_one_sentence(tmp_path: Path) -> None:
    app = run(tmp_path / "nowhere")
    assert not app.exception
    assert len(app.error) == 1
    assert "nowhere" in app.error[0].value
    # and the way out is a click
    app.button(key="demo_page").click().run()
    assert not app.error
    assert unpack(sent(app)[1]["scene"])[0]["badges"][0][0] == "simulated"


def test_an_empty_folder_says_what_was_expected(tmp_path: Path) -> None:
    app = run(tmp_path)
    assert not app.exception
    assert not app.error
    assert "labels_dev" in app.info[0].value


def test_a_bad_prediction_folder_is_one_sentence(root: Path, tmp_path: Path) -> None:
    app = run(root, predictions=str(tmp_path / "none"))
    assert not app.exception
    assert len(app.error) == 1


def test_predictions_from_elsewhere_are_added(root: Path, tmp_path: Path) -> None:
    write_root(tmp_path / "other", n_frames=25, seed=9, video_size=None, audio=False, systems=("mine",))
    app = run(root, predictions=str(tmp_path / "other/predictions/mine"), a="mine")
    assert not app.exception
    assert unpack(sent(app)[1]["scene"])[0]["systems"]["A"]["title"] == "mine"


def test_a_broken_label_file_leaves_the_rest(root: Path, tmp_path: Path) -> None:
    write_root(tmp_path, n_frames=10, video_size=None)
    (tmp_path / "labels_dev/dev-test-sony/fold4_room23_mix001_std.json").write_text("[1, 2")
    app = run(tmp_path)
    assert not app.exception
    assert len(app.error) == 1
    assert plain("fold4_room23_mix001_std.json") in app.error[0].value
    scene, _ = unpack(sent(app)[1]["scene"])
    assert (scene["has"]["labels"], scene["unreadable"]) == (False, ["L"])


def test_names_from_the_disk_are_text(tmp_path: Path) -> None:
    write_root(tmp_path, n_frames=5, video_size=None, audio=False, systems=("<script>alert(1)</script>",))
    app = run(tmp_path)
    assert not app.exception
    assert not [m for m in app.markdown if "<script" in m.value]


@pytest.mark.parametrize(
    "value",
    [
        None,
        3,
        "x",
        {"seq": -1},
        {"seq": True, "blocks": "abc", "want": 5, "frame": 1e99},
        {"blocks": [1, "2", -3, 4.5]},
    ],
)
def test_any_message_of_a_browser_is_a_request(value: object) -> None:
    request = Request.of(Fields(value))
    assert request.seq == 0
    assert all(block >= 0 for block in request.blocks)
    assert request.frame >= 0


def test_a_request_keeps_what_is_right() -> None:
    request = Request.of(Fields({"seq": 4, "scene": "s", "mode": "points", "blocks": list(range(20)), "want": ["a"]}))
    assert (request.seq, request.scene, request.mode, request.want) == (4, "s", "points", ("a",))
    assert request.blocks == tuple(range(8))
    assert request.alone is None
    for want, alone in (("frame.31", 31), ("frame.-1", None), ("frame.x", None), ("frame.1234567890", None)):
        assert Request.of(Fields({"want": ["a", want]})).alone == alone


def test_data_is_never_markdown() -> None:
    nasty = "![x](http://a/b) [l](javascript:1) :red[r] $x$ <b>b</b> `c` :material/home: under_score *s*"
    assert plain(nasty).replace("\\", "").replace("\u2060", "") == nasty
    assert not re.search(r"(?<!\\)[!\[\]():$<>`*_]", plain(nasty))


def test_the_neighbouring_recordings_are_a_click_away(root: Path) -> None:
    app = run(root)
    assert app.button(key="explorer_step_-1").disabled
    app.button(key="explorer_step_1").click().run()
    assert not app.exception
    assert unpack(sent(app)[1]["scene"])[0]["recording"] == "fold4_room24_mix001"
    assert app.session_state[keys.ADDRESS].values["rec"] == "dev-test-sony/fold4_room24_mix001"
    assert app.button(key="explorer_step_1").disabled
    app.button(key="explorer_step_-1").click().run()
    assert unpack(sent(app)[1]["scene"])[0]["recording"] == "fold4_room23_mix001"


def test_further_systems_come_with_the_address_and_are_kept_in_it(tmp_path: Path) -> None:
    write_root(tmp_path, n_frames=5, video_size=None, audio=False, systems=tuple("pqrst"))
    app = run(tmp_path, a="p", b="q", more="s\nr\ngone")
    assert not app.exception
    assert [w.value for w in app.warning if "gone" in w.value]
    scene, arrays = unpack(sent(app)[1]["scene"])
    assert {key: system["title"] for key, system in scene["systems"].items()} == dict(zip("ABCD", "pqsr", strict=True))
    assert scene["tables"] == ["L", "A", "B", "C", "D"]
    assert len(arrays["D.frame"]) > 0
    assert app.session_state[keys.ADDRESS].values["more"] == "s\nr"
    # what is chosen as A or B is not shown twice
    app.selectbox(key=keys.SYSTEM_A).set_value("s").run()
    scene, _ = unpack(sent(app)[1]["scene"])
    assert [system["title"] for system in scene["systems"].values()] == ["s", "q", "r"]
    app.multiselect(key=keys.SYSTEMS_MORE).set_value([]).run()
    assert set(unpack(sent(app)[1]["scene"])[0]["systems"]) == {"A", "B"}
    assert app.session_state[keys.ADDRESS].values["more"] is None


def test_the_first_predictions_that_appear_are_shown(tmp_path: Path) -> None:
    write_root(tmp_path, n_frames=5, video_size=None, systems=())
    app = run(tmp_path)
    assert app.session_state[keys.ADDRESS].values["a"] is None  # an address with "none" would hide them
    write_root(tmp_path, n_frames=5, video_size=None, systems=("first", "second"))
    st.cache_resource.clear()  # what the folder holds is looked at every few seconds
    app.run()
    assert app.session_state[keys.ADDRESS].values["a"] == "first"
    assert set(unpack(sent(app)[1]["scene"])[0]["systems"]) == {"A"}
    # what is chosen stays chosen
    app.selectbox(key=keys.SYSTEM_A).set_value("none").run()
    app.run()
    assert app.session_state[keys.ADDRESS].values["a"] == "none"


def test_audio_alone_is_shown_and_leads_on(tmp_path: Path) -> None:
    write_root(tmp_path, n_frames=5, video_size=None, systems=())
    shutil.rmtree(tmp_path / "labels_dev")
    app = run(tmp_path)
    assert not app.exception
    assert app.button(key="predict_offer_explorer").label == "Predict 1 recording with track A"
    scene, _ = unpack(sent(app)[1]["scene"])
    assert scene["acoustic"][0]["kind"] == "uplam"
