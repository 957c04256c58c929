"""Summaries of recordings and their sums, against counting by hand and against plain loops over the annotations."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as hs

from sai_core.annotations import AnnotationTable
from sai_core.drawing.still import busiest_frame
from sai_core.survey.files import decode, encode
from sai_core.survey.statistics import (
    EVENT_EDGES,
    N_PARTS,
    places_of_bins,
    places_of_events,
    places_without,
    statistics,
)
from sai_core.survey.strip import WIDTH, strip
from sai_core.survey.summary import BEYOND, LAYOUT, MAX_POLYPHONY, UNKNOWN, summarise
from sai_core.taxonomy import N_CLASSES, class_rgb
from tests.figures.scenes import Row, table_of


def row(frame: int, category: int, instance: int = 0, x: float = 10.0, y: float = 10.0, cm: float = 100.0) -> Row:
    return frame, category, instance, cm, np.nan, np.array([[x, y], [200.0, 100.0]]), np.array([1.0, 0.5])


@pytest.fixture
def scene() -> AnnotationTable:
    """Class 2 in frames 5 to 7 and 9; class 4 with two sources in frame 7; class 4 alone far away in frame 40."""
    return table_of(
        "a",
        [
            *(row(frame, 2) for frame in (5, 6, 7, 9)),
            row(7, 4, 1, x=359.5, y=180.0, cm=np.nan),
            row(7, 4, 2, x=360.0, y=0.0, cm=24.9),
            row(40, 4, 1, cm=2000.0),
        ],
    )


def test_counts_of_a_small_scene(scene: AnnotationTable) -> None:
    found = summarise(scene)
    assert (found.n_annotations, found.n_frames, found.n_labelled_frames, found.n_sources) == (7, 41, 5, 3)
    assert (found.max_polyphony, found.busiest_frame, found.categories) == (3, 7, (2, 4))
    total = statistics([(100, found)])
    assert total.n_frames == 100
    assert total.of("class")[[2, 4]].tolist() == [4, 2]
    assert total.polyphony[:4].tolist() == [95, 4, 0, 1]
    assert total.together[2, 4] == total.together[4, 2] == 1
    assert total.together[4, 4] == 2
    # the seam: x = 359.5 is the last column, x = 360 the first; y = 180 is the lowest row
    assert total.of("direction")[4].sum() == 3
    assert total.of("direction")[4, 8, 17] == total.of("direction")[4, 0, 0] - 1 == 1
    assert total.of("direction")[2, 0, 0] == 4
    assert total.of("distance")[4, [0, UNKNOWN, BEYOND]].tolist() == [1, 1, 1]
    assert total.of("distance")[2, 4] == 4
    # events: class 2 of three frames and of one; class 4 three of one frame
    assert total.events.sum(1)[[2, 4]].tolist() == [2, 3]
    assert total.events[2, 2 - 1] == total.events[2, 0] == 1
    assert total.over_time.sum(1)[[2, 4]].tolist() == [4, 3]
    assert total.over_time[2, :2].tolist() == [0, 4]
    assert total.over_time[4, 1] == 2
    assert total.over_time[4, 8] == 1


def test_a_source_written_once_per_part_counts_once(scene: AnnotationTable) -> None:
    once = summarise(scene)
    # frame 7 has three sources; its first is written three times, and one of frame 40, too
    copies = summarise(scene.take([0, 1, 2, 2, 2, 3, 4, 5, 6, 6]))
    assert (copies.n_annotations, copies.n_source_frames, copies.max_polyphony) == (10, 7, 3)
    assert (copies.n_sources, copies.notes) == (once.n_sources, ())
    total, same = statistics([(100, copies)]), statistics([(100, once)])
    assert total.polyphony.tolist() == same.polyphony.tolist()
    assert total.n_source_frames == same.n_source_frames == 7
    # the crowd of frame 3 is four sources; frame 5 holds one, written five times
    crowd = [row(3, 1, k) for k in range(4)] + [row(5, 1, 0)] * 5
    assert summarise(table_of("a", crowd)).busiest_frame == busiest_frame(table_of("a", crowd)) == 3
    # without source numbers they cannot be told apart; with the same number but another region it is said
    unnumbered = summarise(table_of("a", [row(0, 1, -1), row(0, 1, -1), row(0, 2, 5)]))
    assert unnumbered.max_polyphony == 3
    assert "2 annotations have no source number" in unnumbered.notes[0]
    elsewhere = summarise(table_of("a", [row(0, 1, 5), row(0, 1, 5, x=90.0)]))
    assert elsewhere.max_polyphony == 1
    assert "not its region" in elsewhere.notes[0]


def test_bars_lead_to_their_frames(scene: AnnotationTable) -> None:
    parts = [(100, summarise(AnnotationTable.empty("none"))), (100, summarise(scene))]
    together = LAYOUT["together"].start + 2 * N_CLASSES + 4
    [place] = places_of_bins(parts, [together])
    assert (place.row, place.count, place.frame) == (1, 1, 7)
    [place] = places_of_bins(parts, [LAYOUT["class"].start + 4])
    assert (place.row, place.count, place.frame) == (1, 2, 7)
    [place] = places_of_events(parts, length=1, category=2)
    assert (place.count, place.frame) == (1, 5)
    [place] = places_of_events(parts, part=8)
    assert (place.count, place.frame) == (1, 40)
    assert [(p.row, p.count, p.frame) for p in places_without(parts)] == [(0, 100, 0), (1, 95, 0)]
    full = summarise(table_of("b", [row(k, 1) for k in range(10)]))
    assert places_without([(10, full)]) == []
    assert [p.frame for p in places_without([(12, full)])] == [10]


def test_nothing_and_the_absurd() -> None:
    nothing = summarise(AnnotationTable.empty("a"))
    assert nothing.categories == ()
    assert statistics([(None, nothing)]).n_frames == 0
    assert statistics([]).polyphony.sum() == 0
    late = summarise(table_of("a", [row(2_000_000_000, 1)]))  # must not take memory by the frame
    assert statistics([(None, late)]).n_frames == 2_000_000_001
    crowd = summarise(table_of("a", [row(0, 1, k) for k in range(MAX_POLYPHONY + 9)]))
    assert statistics([(1, crowd)]).polyphony[MAX_POLYPHONY] == 1
    assert crowd.max_polyphony == MAX_POLYPHONY + 9


tables = hs.lists(
    hs.lists(
        hs.tuples(
            hs.integers(0, 60), hs.sampled_from((0, 3, 12)), hs.integers(-1, 2), hs.floats(0, 360), hs.floats(0, 180)
        ),
        max_size=25,
    ),
    max_size=4,
)


@given(tables)
def test_sums_are_those_of_plain_loops(scenes: list[list[tuple[int, int, int, float, float]]]) -> None:
    made = [table_of(f"r{k}", [row(f, c, i, x, y) for f, c, i, x, y in rows]) for k, rows in enumerate(scenes)]
    parts = [(64, summarise(table)) for table in made]
    total = statistics(parts)
    # whatever way the set is cut, the parts add up
    cut = len(parts) // 2
    halves = statistics(parts[:cut]) + statistics(parts[cut:])
    for name in ("n_recordings", "n_frames", "n_labelled_frames", "n_annotations", "n_source_frames"):
        assert getattr(total, name) == getattr(halves, name)
    for name in ("bins", "events", "event_frames", "over_time", "frames_of_parts"):
        np.testing.assert_array_equal(getattr(total, name), getattr(halves, name))
    # and they are what one counts
    classes, both, polyphony = np.zeros(N_CLASSES, int), np.zeros((N_CLASSES, N_CLASSES), int), np.zeros(99, int)
    lengths: list[int] = []
    in_parts = np.zeros(N_PARTS, int)
    for table in made:
        sounding: dict[tuple[int, int], set[int]] = {}
        for k in range(len(table)):
            sounding.setdefault((int(table.category_id[k]), int(table.instance_id[k])), set()).add(int(table.frame[k]))
        for frames in sounding.values():
            for f in frames:
                in_parts[next(p for p in range(N_PARTS) if 64 * p // N_PARTS <= f < 64 * (p + 1) // N_PARTS)] += 1
                if f - 1 not in frames:
                    n = 1
                    while f + n in frames:
                        n += 1
                    lengths.append(n)
        for f in range(64):
            rows_here = np.flatnonzero(table.frame == f)
            here = [int(c) for c in table.category_id[rows_here]]
            numbered = [(int(table.category_id[k]), int(i)) for k in rows_here if (i := table.instance_id[k]) >= 0]
            polyphony[len(set(numbered)) + len(rows_here) - len(numbered)] += 1
            for a in set(here):
                classes[a] += 1
                for b in set(here):
                    both[a, b] += 1
    np.testing.assert_array_equal(total.of("class"), classes)
    np.testing.assert_array_equal(total.together, both)
    np.testing.assert_array_equal(total.over_time.sum(0), in_parts)
    assert total.polyphony[:MAX_POLYPHONY].tolist() == polyphony[:MAX_POLYPHONY].tolist()
    edges = (*EVENT_EDGES, 10**9)
    counted = [sum(low <= n < high for n in lengths) for low, high in itertools.pairwise(edges)]
    assert total.events.sum(0).tolist() == counted
    assert total.of("direction").sum() == total.of("distance").sum() == sum(map(len, made))


@given(tables)
def test_a_summary_survives_the_cache(scenes: list[list[tuple[int, int, int, float, float]]]) -> None:
    for rows in scenes:
        summary = summarise(table_of("r", [row(f, c, i, x, y) for f, c, i, x, y in rows]))
        again = decode("labels", encode(summary))
        assert encode(again) == encode(summary)


def test_the_strip_shows_each_class_in_its_lane(scene: AnnotationTable) -> None:
    picture = strip(summarise(scene), 100)
    assert tuple(picture[2, round(6 * WIDTH / 100)][:3]) == class_rgb(2)
    assert tuple(picture[30, round(40.2 * WIDTH / 100)][:3]) == class_rgb(4)
    assert picture[30, 0, 3] < 128
    # one frame in an hour is seen, too
    assert (strip(summarise(scene), 36_000)[..., 3] == 255).any()
