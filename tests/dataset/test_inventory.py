"""Counting what a root holds, and what to do next with it."""

from __future__ import annotations

from pathlib import Path

import pytest

from sai_core.dataset import demo_root, open_data_root
from sai_core.dataset.inventory import MATERIALS, next_steps, take_inventory
from tests.figures.scenes import write_root


def test_the_demo_is_counted() -> None:
    found = take_inventory(open_data_root(demo_root()))
    assert found.n_recordings == 4
    assert found.having["labels"] == found.having["mic"] == found.having["video"] == 4
    assert found.missing == ("eigen",)
    assert found.seconds == pytest.approx(62.0, abs=3.0)
    assert [step.page for step in next_steps(found)][:3] == ["explorer", "scores", "review"]


def test_audio_alone_is_added_up(tmp_path: Path) -> None:
    write_root(tmp_path, n_frames=30, video_size=(64, 32), audio=True)
    write_root(tmp_path, recording="fold4_room9_mix002", n_frames=20, video_size=(64, 32), audio=False)
    assert take_inventory(open_data_root(tmp_path)).seconds == pytest.approx(3.0)


def test_an_empty_root_asks_for_a_folder(tmp_path: Path) -> None:
    found = take_inventory(open_data_root(tmp_path))
    assert found.n_recordings == 0
    assert found.missing == tuple(MATERIALS)
    assert next_steps(found)[0].title == "Choose a data root"


def test_partial_roots_lead_to_what_is_missing(tmp_path: Path) -> None:
    write_root(tmp_path / "r", n_frames=5, video_size=None, systems=())
    found = take_inventory(open_data_root(tmp_path / "r"))
    assert found.having["predictions"] == 0
    assert found.having["labels"] == 1
    assert "predict" in {step.page for step in next_steps(found)[:3]}
