"""What all sessions share: how many opened recordings are kept."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from pages.components import sources
from sai_core.annotations import AnnotationTable, read_annotations
from sai_core.dataset import demo_root, open_data_root
from sai_core.errors import InputError
from sai_core.progress import Progress, no_progress
from sai_core.viewing.player import unpack
from sai_core.viewing.recording_view import RecordingView
from tests.figures.scenes import write_root


@dataclass
class _Columns:
    nbytes: int


@dataclass
class _Media:
    media_id: str = "one"
    frames: Any = None


def _view(megabytes: int) -> Any:
    return SimpleNamespace(tables={"L": _Columns(megabytes << 20), "A": _Columns(0)}, media=_Media())


def test_opened_recordings_are_kept_by_their_size(monkeypatch: pytest.MonkeyPatch) -> None:
    views = sources._Views(300 << 20)
    opened: list[object] = []

    def get(name: str, megabytes: int) -> None:
        def build() -> Any:
            opened.append(name)
            return _view(megabytes)

        views.get((name,), build)

    # four small ones take 64 MB each; a fifth puts out the one that was not looked at for the longest time
    for name in ("a", "b", "c", "d", "a", "e", "a", "b"):
        get(name, 1)
    assert opened == ["a", "b", "c", "d", "e", "b"]
    # one of 100 MB counts twice, for what is rendered from it
    opened.clear()
    get("large", 100)
    get("b", 1)
    get("a", 1)
    assert opened == ["large", "a"]
    # one larger than the room for all is alone, and is not opened at every look
    opened.clear()
    get("huge", 400)
    get("huge", 400)
    get("b", 1)
    get("huge", 400)
    assert opened == ["huge", "b", "huge"]


def test_recordings_that_are_not_looked_at_keep_no_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    rested: list[str] = []
    monkeypatch.setattr(sources, "_DECODERS", 2)

    def view(name: str) -> Any:
        def rest(*, deeply: bool) -> None:
            rested.append(name + " deeply" * deeply)

        return SimpleNamespace(tables={}, media=_Media(name, SimpleNamespace(rest=rest, used=ord(name))))

    views = sources._Views(300 << 20)
    for name in ("a", "b", "b", "c"):
        views.get((name,), partial(view, name))
    assert rested == ["a", "b", "a deeply"]


def test_a_recording_is_shown_while_its_labels_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_root(tmp_path, n_frames=25)
    root = open_data_root(tmp_path)
    recording = root.recordings[0]
    systems = {"A": root.prediction_set("first"), "B": root.prediction_set("second")}
    go_on, broken = threading.Event(), systems["B"].files[recording.name]
    told: list[str] = []

    def slow(path: Path, *, recording: str, progress: Progress = no_progress) -> AnnotationTable:
        progress(0.25, "first part")
        told.append(path.name)
        if "predictions" not in str(path):
            assert go_on.wait(60)
        if path == broken:
            raise InputError(f"{path}: is broken.")
        return read_annotations(path, recording=recording)

    monkeypatch.setattr(sources, "_AT_ONCE_BYTES", 0)
    monkeypatch.setattr(sources, "read_annotations", slow)

    def view() -> RecordingView:
        return sources.recording_view(
            root, recording.name, recording.split, systems, reader="one", progress=no_progress
        )

    first = view()
    assert (list(first.tables), list(first.reading)) == (["A"], ["L"])
    assert first.problems == (f"{broken}: is broken.",)
    header, arrays = unpack(first.scene())
    assert header["messages"]["labels"] == "The labels are being read"
    assert header["reading"] == ["L"]
    assert header["has"] == {"labels": False, "video": True, "audio": True}
    assert header["unreadable"] == ["B"]
    assert "no labels" not in [badge[0] for badge in header["badges"]]
    assert "L.frame" not in arrays
    assert len(unpack(first.block(0))[1]["jpeg_offsets"]) == 21
    job = sources.reading(first, "L")
    assert job is not None
    assert job.fraction == 0.25
    assert view() is first
    go_on.set()
    assert job.wait(60)
    assert sources.reading(first, "L") is None
    second = view()
    assert (list(second.tables), second.reading) == (["L", "A"], {})
    assert second.media is first.media
    assert second.scene_id != first.scene_id
    assert second.problems == first.problems
    assert len(told) == 3  # each file once, the broken one, too
    assert view() is second


def test_labels_that_nobody_waits_for_any_longer_are_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("fold4_room23_mix001", "fold4_room24_mix001"):
        write_root(tmp_path, recording=name, n_frames=12, video_size=None, systems=())
    root = open_data_root(tmp_path)
    left = threading.Event()

    def endless(path: Path, *, recording: str, progress: Progress) -> AnnotationTable:
        while "room23" in path.name:
            progress(0.5, "")
            left.wait(0.01)
        return read_annotations(path, recording=recording)

    monkeypatch.setattr(sources, "_AT_ONCE_BYTES", 0)
    monkeypatch.setattr(sources, "read_annotations", endless)
    views = [
        sources.recording_view(root, recording.name, recording.split, {}, reader="one", progress=no_progress)
        for recording in root.recordings[:1]
    ]
    job = sources.reading(views[0], "L")
    assert job is not None
    other = root.recordings[1]
    sources.recording_view(root, other.name, other.split, {}, reader="one", progress=no_progress)
    assert job.wait(60)
    assert job.state == "cancelled"
    assert sources.reading(views[0], "L") is None


def test_lists_read_no_metadata_where_there_is_much_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    root = open_data_root(demo_root())
    recording = root.recordings[0]
    assert not sources.much_metadata(root)
    assert [len(sources.summary(recording, metadata=metadata)) for metadata in (True, False)] == [2, 1]
    monkeypatch.setattr(sources, "_MUCH_METADATA", 10)
    assert sources.much_metadata(root)
