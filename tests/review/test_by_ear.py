"""The source of an item alone: heard from its label, with the other labels silenced, about as loud as all."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from sai_core.annotations import AnnotationTable, read_annotations
from sai_core.dataset import AudioReader, Recording, demo_root, open_data_root
from sai_core.geometry import SAMPLE_RATE_HZ, SAMPLES_PER_FRAME
from sai_core.listening.sources import sources_of
from sai_core.listening.windows import PlayerSound
from sai_core.progress import no_progress
from sai_core.review.by_ear import Source, evidence, hear, listener, source_of, words
from sai_core.review.desk import Material
from sai_core.review.edits import annotation_keys, apply_edits
from sai_core.review.queue import Item
from sai_core.viewing.player import unpack

START, STOP = 60, 100


@pytest.fixture(scope="module")
def recording() -> Recording:
    return open_data_root(demo_root()).recordings[0]


@pytest.fixture(scope="module")
def labels(recording: Recording) -> AnnotationTable:
    assert recording.label_path is not None
    return read_annotations(recording.label_path, recording=recording.name)


def item_of(labels: AnnotationTable, first: int, last: int, category: int, **more: Any) -> Item:
    inside = (labels.frame >= first) & (labels.frame <= last) & (labels.category_id == category)
    keys = annotation_keys(labels)
    targets = tuple(keys[row] for row in np.flatnonzero(inside))
    facts: dict[str, Any] = {"id": "i", "kind": "spurious", "split": "s", "recording": "r", "score": 1.0}
    return Item(
        **facts, reason="", proposal="", category_id=category, start=first, end=last, frame=first,
        targets=more.pop("targets", targets), **more,
    )  # fmt: skip


def level_db(samples: Any, first: int, last: int) -> float:
    part = samples[(first - START) * SAMPLES_PER_FRAME : (last - START) * SAMPLES_PER_FRAME]
    return float(10 * np.log10(np.mean(np.square(part, dtype=np.float64))))


def test_the_source_stays_and_the_others_are_lowered(recording: Recording, labels: AnnotationTable) -> None:
    # laughter at 75 degrees from frame 78 to 89, a talker at -68 from 74 to 115
    item = item_of(labels, 78, 89, 3)
    source = source_of(item, apply_edits(labels, []), item.targets, Material(labels, {}), START, STOP)
    assert source is not None
    assert {(t.category_id, t.number) for t in source.others} >= {(1, 1)}
    assert (3, 2) not in {(t.category_id, t.number) for t in source.others}
    header, arrays = unpack(source.render(PlayerSound(recording), no_progress))
    alone = arrays["samples"] * (header["scale"] / 32767)
    assert recording.audio_path is not None
    reader = AudioReader(recording.audio_path)
    plain = reader.mono_pcm16(START / 10, STOP / 10, SAMPLE_RATE_HZ) / 32768.0
    assert alone.shape == plain.shape
    assert np.abs(alone).max() <= 1.0
    own = level_db(alone, 78, 90) - level_db(plain, 78, 90)
    others = level_db(alone, 74, 78) - level_db(plain, 74, 78)  # the talker, before the item begins
    assert 3.0 < header["raised_db"] < 12.0  # a room that is not dry: its reflections are gone
    assert abs(own) < 1.0  # to go over is no jump
    assert others - own < -4.5
    assert others - header["raised_db"] < -10.0
    assert words(header) == f"raised by {header['raised_db']:.0f} dB"


def test_a_label_is_heard_where_it_stands_now(labels: AnnotationTable) -> None:
    item = item_of(labels, 78, 89, 3)
    material = Material(labels, {})

    def heard(*edits: dict[str, Any]) -> Source:
        now = apply_edits(labels, [{"targets": list(item.targets), **edit} for edit in edits])
        source = source_of(item, now, item.targets, material, START, STOP)
        assert source is not None
        return source

    first = heard()
    np.testing.assert_array_equal(first.track.frame, np.arange(78, 90))
    moved = heard({"op": "shift", "azimuth_deg": 40.0, "elevation_deg": 0.0})
    turned = (moved.track.azimuth_deg - first.track.azimuth_deg + 180) % 360 - 180
    np.testing.assert_allclose(turned, 40.0, atol=2.0)
    removed = heard({"op": "remove"})  # what was found there can be heard again
    np.testing.assert_array_equal(removed.track.azimuth_deg, first.track.azimuth_deg)
    assert len({first.mark, moved.mark}) == 2
    assert heard().mark == first.mark


def test_what_a_proposal_would_add_is_heard_and_what_is_nowhere_is_not(labels: AnnotationTable) -> None:
    item = item_of(labels, 78, 89, 3)
    rows = np.flatnonzero((labels.category_id == 3) & (labels.frame >= 78) & (labels.frame <= 89))
    nothing = labels.take(np.flatnonzero(labels.category_id != 3))
    material = Material(nothing, {"sys": labels})
    change = {"add": [[int(labels.frame[row]), "sys", int(row)] for row in rows]}
    proposed = item_of(labels, 78, 89, 3, targets=(), change=change)
    source = source_of(proposed, apply_edits(nothing, []), (), material, START, STOP)
    assert source is not None
    np.testing.assert_array_equal(source.track.frame, np.arange(78, 90))
    assert source_of(item, apply_edits(nothing, []), item.targets, material, START, STOP) is None


def test_what_was_done_to_the_sound_is_said() -> None:
    assert words({"raised_db": 0.2, "near": 0, "nearest_deg": 20.0}) == ""
    said = words({"raised_db": 6.1, "near": 1, "nearest_deg": 20.0})
    assert said == "raised by 6 dB; in 1 frame another label is within 20° and is heard too"


def test_the_listener_orders_the_classes_by_the_source_and_says_who_it_is(
    recording: Recording, labels: AnnotationTable
) -> None:
    by = listener()
    assert by is not None
    item = item_of(labels, 78, 89, 3)
    source = source_of(item, apply_edits(labels, []), item.targets, Material(labels, {}), START, STOP)
    assert source is not None
    data = source.render(PlayerSound(recording), no_progress)
    told = evidence(hear(data, source, by), by)
    assert told is not None
    assert sorted(told["order"]) == list(range(13))
    assert [told["scores"][c] for c in told["order"]] == sorted(told["scores"], reverse=True)
    assert sum(told["scores"]) + told["nothing"] == pytest.approx(1.0, abs=0.01)
    assert 3 in told["order"][:3]  # a telephone
    assert "two seconds of its sound" in told["by"]
    assert "synthesised sounds" in told["by"]


def test_where_nothing_sounds_there_is_no_evidence(recording: Recording, labels: AnnotationTable) -> None:
    by = listener()
    assert by is not None
    after_the_end = Source(sources_of(labels).tracks[0], (), 10_000, 10_040, (10_000, 10_040))
    assert evidence(hear(after_the_end.render(PlayerSound(recording), no_progress), after_the_end, by), by) is None
