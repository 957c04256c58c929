"""What the Review page opens ahead: the newest wish of each reviewer, by one thread."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import soundfile
import streamlit as st

from pages.components import background, sources
from pages.review import jobs
from sai_core.dataset import open_data_root
from sai_core.errors import InputError
from sai_core.geometry import SAMPLES_PER_FRAME
from sai_core.progress import no_progress
from sai_core.review.desk import Material
from sai_core.review.edits import apply_edits
from sai_core.viewing.player import unpack
from tests.figures.scenes import write_root


def wait_for(condition: Any) -> None:
    end = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


def desk_of(reviewer: str) -> Any:
    return SimpleNamespace(reviewer=reviewer, known={}, filling=lambda item: None)


def forget_wishes() -> None:
    """What earlier tests wished for is not begun in this one, and what was begun has ended."""
    for job in background.queue("review-ahead", at_once=1, keep=0).jobs:
        job.cancel()
        assert job.wait(120)
    st.cache_resource.clear()


def test_a_newer_wish_takes_the_place_of_an_older_one(monkeypatch: pytest.MonkeyPatch) -> None:
    forget_wishes()
    begun: list[str] = []
    go_on = threading.Event()

    def view_of(root: object, systems: object, item: Any) -> SimpleNamespace:
        begun.append(item.id)
        assert go_on.wait(20)
        if item.id == "bad":
            raise InputError("cannot be read")
        return SimpleNamespace(n_frames=10, n_blocks=0)

    monkeypatch.setattr(jobs, "view_of", view_of)
    monkeypatch.setattr(jobs, "block_range", lambda *_: range(0))
    monkeypatch.setattr(jobs, "spectrogram", lambda view, low, high: None)

    def wish(name: str, reviewer: str) -> None:
        item: Any = SimpleNamespace(id=name, start=1, end=3, frame=1)
        root: Any = SimpleNamespace(path="root")
        jobs.prepare(root, [], [item], desk=desk_of(reviewer))

    wish("first", "ada")
    wait_for(lambda: begun == ["first"])
    for name, reviewer in (("second", "ada"), ("bad", "ben"), ("third", "ada")):
        wish(name, reviewer)
    go_on.set()
    wait_for(lambda: len(begun) == 3)
    assert sorted(begun) == ["bad", "first", "third"]
    # a file that cannot be read ends nothing
    wish("fourth", "ben")
    wait_for(lambda: len(begun) == 4)
    assert begun[-1] == "fourth"


def test_all_of_the_next_items_is_made_while_a_reviewer_rests_and_given_up_with_a_key(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    forget_wishes()
    opened: list[tuple[str, int]] = []
    go_on = threading.Event()

    def block(name: str, index: int) -> None:
        opened.append((name, index))
        assert go_on.wait(20)

    def view_of(root: object, systems: object, item: Any) -> SimpleNamespace:
        return SimpleNamespace(n_frames=960, n_blocks=48, block=lambda k: block(item.id, k))

    monkeypatch.setattr(jobs, "view_of", view_of)
    monkeypatch.setattr(jobs, "spectrogram", lambda view, low, high: None)
    monkeypatch.setattr(jobs, "label_block", lambda view, index: b"")
    items: list[Any] = [
        SimpleNamespace(id=name, start=start, end=start + 10, frame=start + 5)
        for name, start in (("a", 20), ("b", 100))
    ]
    root: Any = SimpleNamespace(path="root")
    jobs.prepare(root, [], items, desk=desk_of("cleo"))
    wait_for(lambda: opened == [("a", 0)])
    jobs.prepare(root, [], [], desk=desk_of("cleo"))  # a key: what has been begun is the last
    go_on.set()
    wait_for(lambda: not any(job.active for job in background.queue("review-ahead", at_once=1, keep=0).jobs))
    assert opened == [("a", 0)]
    jobs.prepare(root, [], items, desk=desk_of("cleo"))
    wait_for(lambda: opened[1:] == [("a", 0), ("a", 1), ("b", 4), ("b", 5)])


def test_the_source_of_an_item_alone_is_made_behind_and_what_cannot_be_is_said(tmp_path: Path) -> None:
    forget_wishes()
    write_root(tmp_path, n_frames=60, video_size=None, audio=False, systems=())
    rng = np.random.default_rng(1)
    path = tmp_path / "mic_dev" / "dev-test-sony" / "fold4_room23_mix001.wav"
    path.parent.mkdir(parents=True)

    def alone(channels: int) -> jobs.Alone:
        """What is said at first, waited for where it is being made."""
        if channels:
            noise = rng.normal(size=(60 * SAMPLES_PER_FRAME, channels)) * 0.02
            soundfile.write(path, noise, 24_000, subtype="FLOAT")
        st.cache_resource.clear()
        root = open_data_root(tmp_path)
        recording = root.recordings[0]
        view = sources.recording_view(root, recording.name, recording.split, {}, progress=no_progress)
        labels = apply_edits(view.tables["L"], [])
        material = Material(view.tables["L"], {})
        desk: Any = SimpleNamespace(
            labels=lambda item: labels, targets=lambda item: item.targets, material=lambda item: material
        )
        frame = int(labels.table.frame[0])
        item: Any = SimpleNamespace(
            category_id=int(labels.table.category_id[0]), start=frame, end=frame + 5, frame=frame,
            targets=(labels.keys[0],), change={},
        )  # fmt: skip
        found = jobs.alone(view, item, frame, desk=desk, wanted_by="me")
        if found.data or found.problem:
            return found
        wait_for(lambda: not any(job.active for job in background.queue("review-alone", at_once=1, keep=8).jobs))
        again = jobs.alone(view, item, frame, desk=desk, wanted_by="me")
        assert again.name == found.name
        return again

    assert "No audio" in alone(0).problem
    made = alone(4)
    header, arrays = unpack(made.data)
    assert (header["start"], header["stop"]) == (0, 20)
    assert arrays["samples"].size == 20 * SAMPLES_PER_FRAME
    assert arrays["samples"].any()
    assert made.heard is not None
    assert not made.listening
    assert len(made.heard["scores"]) == 13
    assert "mono" in alone(1).problem
