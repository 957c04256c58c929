"""The player as a widget: the messages that the browser would send, and what they are answered."""

from __future__ import annotations

import gc
import shutil
import subprocess
import sys
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import sai_core as sai
from sai_core import api
from sai_core.errors import EnvironmentProblem, InputError
from sai_core.player.notebook import PlayerWidget
from sai_core.viewing.player import unpack
from tests.figures.scenes import write_root

REPOSITORY = Path(__file__).resolve().parents[2]
N_FRAMES = 45


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A recording with everything, and one that has sound alone."""
    path = tmp_path_factory.mktemp("notebook") / "root"
    write_root(path, n_frames=N_FRAMES)
    write_root(path, recording="fold4_room24_mix001", n_frames=12, video_size=None, systems=())
    for label in (path / "labels_dev").rglob("fold4_room24*"):
        label.unlink()
    return path


Ask = Callable[..., tuple[dict[str, Any], dict[str, Any]]]


@pytest.fixture
def ask(monkeypatch: pytest.MonkeyPatch) -> Ask:
    """Ask a widget as its script does; gives the header and the parts of the answer."""

    def ask_(view: PlayerWidget, player: str = "1", **request: object) -> tuple[dict[str, Any], dict[str, Any]]:
        sent: list[tuple[Any, Any]] = []
        with monkeypatch.context() as patch:
            patch.setattr(view, "send", lambda content, buffers=None: sent.append((content, buffers)))
            message = {"method": "custom", "content": {"kind": "request", "from": player, "value": request}}
            view._handle_msg({"content": {"data": message}, "buffers": []})
        ((content, (data,)),) = sent
        assert content == {"kind": "answer", "to": player}
        return unpack(data)

    return ask_


def test_a_cell_gets_the_scene_then_what_it_asks_for(root: Path, ask: Ask) -> None:
    recording = sai.open(root)["fold4_room23_mix001"]
    view = recording.view(frame=np.int64(33))
    assert (view.frame, view.n_frames, view.recording) == (33, N_FRAMES, "fold4_room23_mix001")
    assert view._systems == {"A": "first", "B": "second"}
    header, parts = ask(view, seq=1, frame=33)
    assert header["ack"] == 1
    assert sorted(parts) == ["frame.33", "scene"]  # its block comes with the next
    scene = unpack(parts["scene"])[0]
    assert scene["recording"] == "fold4_room23_mix001"
    assert scene["scene"] == header["scene"]
    header, parts = ask(view, seq=2, scene=header["scene"], blocks=[0, 2, 10**6], want=["spectrogram", "x", "solo.L.1"])
    assert sorted(parts) == ["block.0", "block.2", "spectrogram"]
    block = unpack(parts["block.0"])[1]
    assert np.any(block["audio"])
    assert len(block["jpeg"]) > 1000
    # the tables are those that Python has read, not read again
    assert recording.labels is not None
    opened, work = view._open_view()
    assert opened.tables["L"] is recording.labels.table
    assert opened.tables["B"] is recording.predictions["second"].table
    # what a comparison is asked for again and again until it is there
    assert work.comparison(opened, "A").wait(120)
    header, parts = ask(view, seq=3, scene=header["scene"], want=["matches.A"])
    assert header["status"]["A"] == {"state": "done"}
    assert unpack(parts["matches.A"])[1]["label"].size
    view.close()


def test_python_and_the_player_move_one_another(root: Path) -> None:
    view = sai.view(sai.open(root)["fold4_room23_mix001"], ["first"])
    seen: list[Any] = []
    view.observe(lambda change: seen.append((change["name"], change["new"])), ["frame", "system", "event"])
    assert view.event is None
    labels = view._open_view()[0].tables["L"]
    event = {"of": "labels", "category_id": int(labels.category_id[0]), "instance_id": int(labels.instance_id[0])}
    state = {"frame": 12, "system": "first", "event": event}
    view._handle_msg({"content": {"data": {"method": "update", "state": state}}, "buffers": []})
    assert sorted(seen, key=str) == sorted(state.items(), key=str)
    view.event = None
    view.frame = N_FRAMES - 1
    assert view.get_state(["frame", "event"]) == {"frame": N_FRAMES - 1, "event": None}
    unchecked: Any = view
    for name, wrong, words in (
        ("frame", N_FRAMES, f"there is no frame {N_FRAMES}; there are {N_FRAMES}, from 0"),
        ("frame", -1, "there is no frame -1"),
        ("frame", 1.5, "1.5 is no frame"),
        ("system", "second", "does not show predictions 'second'; it shows: first"),
        ("event", {"of": "labels"}, "is no event"),
        ("event", {**event, "of": "second"}, "no events of 'second'; it shows those of: labels, first"),
        ("event", {**event, "instance_id": 999}, "labels have no event of class .* with number 999"),
        ("event", {"of": "labels", "category_id": "a", "instance_id": 0}, "is no event"),
    ):
        with pytest.raises(InputError, match=words):
            setattr(unchecked, name, wrong)
        assert (view.frame, view.system, view.event) == (N_FRAMES - 1, "first", None)
    view.close()


def test_sound_alone_is_shown_and_said_to_be(root: Path, ask: Ask) -> None:
    view = sai.view(sai.open(root)["fold4_room24_mix001"])
    header, parts = ask(view, seq=1)
    scene = unpack(parts["scene"])[0]
    assert scene["has"] == {"labels": False, "video": False, "audio": True}
    assert "No labels" in scene["messages"]["labels"]
    header, parts = ask(view, seq=2, scene=header["scene"], want=["sound"])
    assert header["error"] == ""
    view.close()


def test_what_no_cell_shows_takes_no_memory(root: Path, ask: Ask) -> None:
    view = sai.view(sai.open(root)["fold4_room23_mix001"])
    scene = ask(view, "1", seq=1)[0]["scene"]
    ask(view, "2", seq=1)

    def leave(player: str) -> None:
        message = {"method": "custom", "content": {"kind": "bye", "from": player}}
        view._handle_msg({"content": {"data": message}, "buffers": []})

    opened = weakref.ref(view._open_view()[0])
    leave("1")
    assert opened() is view._view is not None
    leave("2")
    gc.collect()
    assert opened() is None
    # shown again
    assert ask(view, "3", seq=1)[0]["scene"] == scene
    opened = weakref.ref(view._open_view()[0])
    view.close()
    gc.collect()
    assert opened() is None
    assert view.comm is None


@pytest.mark.parametrize(
    "content",
    [None, 3, {}, {"kind": "request"}, {"kind": "request", "from": "", "value": {}}, {"kind": "?", "from": "1"}],
)
def test_a_message_that_says_nothing_is_dropped(root: Path, content: object, monkeypatch: pytest.MonkeyPatch) -> None:
    view = sai.view(sai.open(root)["fold4_room24_mix001"])
    monkeypatch.setattr(view, "send", lambda *_, **__: pytest.fail("answered"))
    view._hear(view, content, [])
    assert not view._players


def test_mistakes_are_sentences(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recording = sai.open(root)["fold4_room23_mix001"]
    with pytest.raises(InputError, match="no prediction set 'third'"):
        sai.view(recording, "third")
    with pytest.raises(InputError, match="there is no frame 45"):
        sai.view(recording, frame=45)
    with pytest.raises(InputError, match="height of 10 is no use"):
        sai.view(recording, height=10)
    monkeypatch.delitem(sys.modules, "sai_core.player.notebook")
    monkeypatch.setitem(sys.modules, "anywidget", None)
    with pytest.raises(EnvironmentProblem, match=r"needs the package anywidget, which is not installed"):
        api.view(recording)


def test_files_that_change_are_read_when_a_recording_is_opened_anew(root: Path, tmp_path: Path, ask: Ask) -> None:
    copy = tmp_path / "root"
    shutil.copytree(root, copy)
    view = sai.view(sai.open(copy)["fold4_room23_mix001"])
    scene = ask(view, seq=1)[0]["scene"]
    view.close()
    shutil.rmtree(copy / "video_dev")
    again = sai.view(sai.open(copy)["fold4_room23_mix001"])
    assert ask(again, seq=1)[0]["scene"] != scene
    again.close()


def test_the_rest_of_python_needs_no_widgets() -> None:
    code = "import sys; sys.modules['anywidget'] = None; import sai_core.api as sai; sai.open(); print('ok')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=REPOSITORY)
    assert done.stdout == "ok\n"
