"""Scenes like real ones: figures of metadata, schedules that have them, and events annotated as people do."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sai_core.annotations import DcaseMetadata, read_dcase_csv
from sai_core.errors import InputError
from sai_core.simulation.audio import render_audio
from sai_core.simulation.dataset import SimulationOptions, _options_json
from sai_core.simulation.real_scenes import STARSS22, draw, measure
from sai_core.simulation.scene import draw_scene
from tests.benchmarks.bench_scenes import drawn

METADATA = Path(__file__).resolve().parents[2].parent / "shared" / "real" / "starss22_metadata"


def rows(*events: tuple[int, int, int, int]) -> DcaseMetadata:
    """Metadata of events: class, source, first frame, frame after the last."""
    table = np.array(sorted((f, c, s) for c, s, a, b in events for f in range(a, b)))
    zeros = np.zeros(len(table))
    return DcaseMetadata(table[:, 0], table[:, 1], table[:, 2], zeros, zeros, zeros)


def test_figures_of_a_small_set_are_those_that_one_counts() -> None:
    first = rows((0, 0, 0, 10), (0, 0, 20, 40), (0, 1, 30, 40), (8, 2, 0, 40))
    found = measure([first, rows((12, 0, 5, 10))])
    assert (found.recordings, found.length_s, found.sources) == (2, 2.5, (1.0, 1.5, 2.0, 2.5, 3.0))
    assert (found.talkers, found.others) == ((1, 0, 1), (0, 2))
    # 50 frames: 5 silent, 10 with music alone and 5 with a knock, 20 with one more, 10 with two more
    assert found.polyphony == (0.1, 0.3, 0.4, 0.2, 0.0)
    assert found.same_class == 0.2
    assert found.classes[0].events == 1.5
    assert found.classes[0].length_s[2] == 1.0
    assert set(found.classes[0].gap_s) == {1.0}
    assert found.classes[3].length_s == ()


@pytest.mark.skipif(not METADATA.is_dir(), reason="the real metadata are not here")
def test_the_figures_that_the_program_holds_are_those_of_the_files() -> None:
    assert measure(read_dcase_csv(path) for path in sorted(METADATA.rglob("*.csv"))) == STARSS22


@given(st.integers(0, 10_000), st.sampled_from([2.0, 15.0, 60.0, 300.0]), st.integers(1, 4))
def test_schedules_fit_into_the_recording_and_the_overlap(seed: int, duration: float, most: int) -> None:
    classes, spans = draw(duration, most, np.random.default_rng(seed))
    assert len(classes) == len(spans) >= 1
    busy = np.zeros(round(duration * 100))
    for events in spans:
        for (start, length), following in zip(events, [*events[1:], None], strict=False):
            assert start >= 0.1
            assert length > 0
            assert start + length <= duration - 0.1
            assert following is None or following[0] >= start + length
            busy[round(start * 100) : round((start + length) * 100)] += 1
    # rounding to 10 ms may touch the next event
    assert np.count_nonzero(busy > most) <= 2 * sum(map(len, spans))
    assert (classes, spans) == draw(duration, most, np.random.default_rng(seed))


def test_drawn_schedules_are_like_real_ones_and_the_even_ones_are_not() -> None:
    real = drawn("real", 60, STARSS22.length_s)
    even = drawn("even", 60, STARSS22.length_s)
    apart = [float(np.abs(np.subtract(f.polyphony, STARSS22.polyphony)).sum()) for f in (real, even)]
    assert apart[0] < 0.3 < apart[1]
    assert 0.02 < real.same_class < 0.09
    assert even.same_class == 0.0
    for found, wanted in zip(real.classes, STARSS22.classes, strict=True):
        if found.sources >= 10 and wanted.length_s[2] < 20:
            assert 0.6 < found.length_s[2] / wanted.length_s[2] < 1.6


def test_steps_are_one_event_as_people_annotate_them() -> None:
    for seed in range(200):
        scene = draw_scene(seed, 0, seconds=8.0, recording="fold9_room1_mix001", style="real")
        walker = next((a for a in scene.actors if a.category_id == 6 and a.events), None)
        if walker is not None and walker.events[0].duration_s > 1.5:
            break
    else:
        raise AssertionError("nobody walks")
    metadata = render_audio(scene).metadata
    frames = np.unique(metadata.frame[metadata.source_id == walker.source])
    first = frames[frames < 10 * (walker.events[0].start_s + walker.events[0].duration_s) + 5]
    assert np.array_equal(first, np.arange(first[0], first[-1] + 1))
    assert scene.to_json()["whole_events"] is True


def test_the_choice_is_an_option_of_a_data_set_and_changes_nothing_of_older_ones() -> None:
    assert "scenes" not in _options_json(SimulationOptions(seed=1, seconds=5.0))
    assert _options_json(SimulationOptions(seed=1, seconds=5.0, scenes="real"))["scenes"] == "real"
    with pytest.raises(InputError, match="choose even or real"):
        SimulationOptions(seed=1, seconds=5.0, scenes="odd")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="leave the classes or the style out"):
        draw_scene(1, 0, seconds=5.0, recording="x", classes=(1,), style="real")
