"""Moments that are alike: class, direction, and sound as it is, whatever its loudness."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from sai_core.annotations import AnnotationTable
from sai_core.dataset import DataRoot, demo_root, open_data_root
from sai_core.review import build_queue
from sai_core.review.desk import Desk, Filters, Material
from sai_core.review.likeness import LEAST, Sight, alike, describe, likeness, sight_of
from sai_core.review.queue import Item, read_recording, recording_items
from sai_core.review.store import ReviewStore
from tests.review.helpers import table, track


def tone(hz: float, seconds: float = 1.0) -> Any:
    return np.sin(2 * np.pi * hz * np.arange(round(24_000 * seconds)) / 24_000).astype(np.float32)


def test_a_sound_is_described_whatever_its_loudness_and_silence_is_none() -> None:
    rng = np.random.default_rng(0)
    low, high, noise = tone(300), tone(4000), rng.normal(size=24_000).astype(np.float32)
    a = describe(low)
    assert a is not None
    faint = describe(low * np.float32(0.01))
    assert faint is not None
    np.testing.assert_allclose(faint, a, atol=1e-3)
    assert describe(np.zeros(24_000, np.float32)) is None
    assert describe(tone(300, 0.01)) is not None  # shorter than a window
    still = Sight(0, None, 0)
    alike_low = likeness(still, still, (a, describe(tone(320)))).sound
    assert alike_low is not None
    for other in (high, noise):
        unlike = likeness(still, still, (a, describe(other))).sound
        assert unlike is not None
        assert unlike < alike_low
    # pulses of noise differ from noise by what happens over time
    pulses = noise * (np.arange(24_000) // 2400 % 2)
    steady, pulsed = describe(noise), describe(pulses)
    assert steady is not None
    assert pulsed is not None
    assert np.abs(steady - pulsed)[40:].mean() > 3


def test_the_parts_that_are_known_are_averaged() -> None:
    labels = table(track(0, 1, range(10)), track(0, 2, range(10), x=105), track(3, 3, range(10), x=280))
    material = Material(labels, {})
    a, b, c = (sight_of(item_of(labels, n), material) for n in (1, 2, 3))
    near = likeness(a, b)
    assert near.same_class
    assert near.angle_deg is not None
    assert near.angle_deg == pytest.approx(5, abs=1)
    assert near.sound is None
    assert near.total == pytest.approx((1 + np.exp(-0.5 * (near.angle_deg / 30) ** 2)) / 2)
    assert likeness(a, c).total < 0.01
    assert likeness(a, Sight(0, None, 0)).total == 1.0  # nothing is known but the class
    assert likeness(a, b, (np.zeros(80), np.zeros(80))).sound == 1.0


def item_of(labels: AnnotationTable, instance: int) -> Item:
    from sai_core.review.edits import annotation_keys

    keys = annotation_keys(labels)
    rows = np.flatnonzero(labels.instance_id == instance)
    first = rows[0]
    return Item(
        f"{instance:016x}", "unfound", "s", labels.recording, int(labels.category_id[first]), 0, 9, 5, 0.5, "", "",
        targets=tuple(keys[r] for r in rows.tolist()),
    )  # fmt: skip


def test_a_list_of_what_is_like_an_item_and_one_decision_about_it(tmp_path: Path) -> None:
    root = open_data_root(demo_root())
    recording = root.recordings[0]
    problems: list[str] = []
    tables, metadata = read_recording(recording, root.prediction_sets[:2], problems=problems)
    material = Material(tables.pop(""), tables, metadata)
    items = recording_items(recording.name, material.labels, tables, metadata, split=recording.split)
    memo: dict[Any, Any] = {}
    heard: list[str] = []

    def find(item: Item) -> Any:
        return alike(
            item,
            items,
            material_of=lambda other: heard.append(other.id) or material,  # type: ignore[func-returns-value]
            recording_of=lambda other: recording,
            memo=memo,
        )

    found = find(items[0])
    assert items[0].id not in found.found
    totals = [like.total for like in found.found.values()]
    assert totals == sorted(totals, reverse=True)
    assert min(totals) >= LEAST
    assert any(like.sound is not None for like in found.found.values())
    n = len(heard)
    assert find(items[0]) == found
    assert len(heard) == n  # nothing is seen or heard twice
    queue: Any = SimpleNamespace(items=tuple(items), unread=(), memo={})
    with ReviewStore(tmp_path / "r.sqlite") as store:
        desk = Desk(queue, store, "ann", lambda item: material)
        filters = Filters(alike=found)
        assert [i.id for i in desk.listed(filters)] == [items[0].id, *found.found]
        report = desk.decide_all("reject", filters)
        assert report.n_decided == 1 + len(found.found)
        assert {i.id for i in desk.undecided(Filters())} == {i.id for i in items} - {items[0].id, *found.found}


def test_without_sound_the_rest_is_compared_and_it_is_said(tmp_path: Path) -> None:
    from tests.figures.scenes import write_root

    write_root(tmp_path / "root", n_frames=120, video_size=None, audio=False)
    root: DataRoot = open_data_root(tmp_path / "root")
    queue = build_queue(root, root.prediction_sets)
    recording = root.recordings[0]
    tables, metadata = read_recording(recording, root.prediction_sets, problems=[])
    material = Material(tables.pop(""), tables, metadata)
    found = alike(queue.items[0], queue.items, material_of=lambda item: material, recording_of=lambda item: recording)
    assert all(like.sound is None for like in found.found.values())
    assert "has no sound" in found.notes[0]
