"""Timings leave as other programs' files and come back as the choice of annotations that they were edited to."""

from __future__ import annotations

import io
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sai_core.annotations import AnnotationTable
from sai_core.errors import InputError
from sai_core.interchange.formats import FORMATS, read_timings
from sai_core.interchange.timings import Timing, apply_timings, parse_text, timings_of
from sai_core.taxonomy import CLASS_NAMES, N_CLASSES
from tests.annotations.helpers import assert_same

pympi = pytest.importorskip("pympi")
webvtt = pytest.importorskip("webvtt")

SPANS = st.tuples(st.integers(0, 5_000), st.integers(1, 600))
TIMINGS = st.lists(
    st.builds(
        lambda span, category, number: Timing(span[0] / 10, (span[0] + span[1]) / 10, category, number),
        SPANS,
        st.integers(0, N_CLASSES - 1),
        st.none() | st.integers(0, 99),
    ),
    min_size=1,
    max_size=12,
)


def plain(timings: list[Timing]) -> list[tuple[float, float, int, int | None]]:
    return sorted(
        ((round(t.start_s, 3), round(t.stop_s, 3), t.category_id, t.number) for t in timings),
        key=lambda t: (t[:3], -1 if t[3] is None else t[3]),
    )


def table_of(rows: list[tuple[int, int, int]], scored: bool = False) -> AnnotationTable:
    """A table with one point an annotation: rows of frame, class, instance."""
    rows = sorted(rows)
    n = len(rows)
    frame, category, instance = (np.array([r[k] for r in rows]) for k in range(3))
    return AnnotationTable(
        "take",
        frame.astype(np.int32),
        category.astype(np.int16),
        instance.astype(np.int64),
        np.full(n, 150.0),
        np.full(n, 0.5 if scored else np.nan),
        np.arange(n + 1),
        np.arange(n + 1),
        np.tile([[180.0, 90.0]], (n, 1)),
        np.ones(n),
    )


@pytest.mark.parametrize("name", list(FORMATS))
@given(timings=TIMINGS)
def test_every_format_gives_back_what_was_written(name: str, timings: list[Timing]) -> None:
    text = FORMATS[name].write(timings, "fold4_room2_mix001", "fold4_room2_mix001.wav")
    assert plain(read_timings(text, f"x{FORMATS[name].suffix}")) == plain(timings)
    assert text == FORMATS[name].write(timings, "fold4_room2_mix001", "fold4_room2_mix001.wav")


@given(timings=TIMINGS)
def test_pympi_and_webvtt_py_read_what_was_written(timings: list[Timing]) -> None:
    elan = FORMATS["elan"].write(timings, "take", "take.wav")
    with tempfile.TemporaryDirectory() as name:
        (Path(name) / "a.eaf").write_text(elan, encoding="utf-8")
        theirs = pympi.Elan.Eaf(f"{name}/a.eaf")
        theirs.to_file(f"{name}/b.eaf")
        again = read_timings((Path(name) / "b.eaf").read_text(encoding="utf-8"), "b.eaf")
    assert plain(again) == plain(timings)
    seen = [
        (start / 1000, stop / 1000, text)
        for tier in theirs.get_tier_names()
        for start, stop, text in theirs.get_annotation_data_for_tier(tier)
    ]
    assert sorted(seen) == sorted((round(t.start_s, 3), round(t.stop_s, 3), t.text) for t in timings)
    assert theirs.get_linked_files()[0]["RELATIVE_MEDIA_URL"] == "./take.wav"
    cues = list(webvtt.from_buffer(io.StringIO(FORMATS["webvtt"].write(timings, "a & b", ""))))
    assert [cue.text for cue in cues] == [t.text.replace("&", "&amp;") for t in timings]
    assert [cue.start_in_seconds for cue in cues] == [int(t.start_s) for t in timings]


@given(st.integers(0, N_CLASSES - 1), st.none() | st.integers(0, 999), st.sampled_from([" ", "_", " #"]))
def test_a_text_names_class_and_number(category: int, number: int | None, sign: str) -> None:
    name = CLASS_NAMES[category]
    text = name if number is None else f"{name.replace(' ', '_') if sign == '_' else name}{sign}{number}"
    assert parse_text(text, "here") == (category, number)


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("a.txt", "0.0\t1.0\n", "line 1: expected beginning, end and text"),
        ("a.txt", "0\t1\tKnock 1\n2\t2\tKnock 1\n", "line 2: goes from 2 s to 2 s"),
        ("a.txt", "0\tx\tKnock\n", "line 1: 'x' is no time"),
        ("a.txt", "0\t1\tDrum 2\n", "'Drum 2' names none of the 13 classes"),
        ("a.rttm", ";; of mine\nLEXEME a 1 0 1 hello <NA> <NA> <NA>\n", "line 2: is no event"),
        ("a.eaf", "<ANNOTATION_DOCUMENT><TIER><ANNOTATION/></TIER></ANNOTATION_DOCUMENT>", "a time of its own"),
        ("a.rttm", "SPEAKER a 1 0 1 <NA> <NA> Knock <NA>\nSPEAKER b 1 0 1 <NA> <NA> Bell <NA>\n", "2 recordings"),
        ("a.rttm", "SPEAKER a 1 0\n", "has 9 or 10 fields"),
        ("a.vtt", "00:01.000 --> 00:02.000\nKnock", "does not begin with WEBVTT"),
        ("a.vtt", "WEBVTT\n\n1 --> 2\nKnock", "line 3: is no span of time"),
        ("a.eaf", "<a/>", "outermost element is a"),
        ("a.eaf", "<a", "is no XML"),
        ("a.eaf", '<!DOCTYPE a [<!ENTITY x "y">]><a/>', "declares a document type"),
        ("a.srt", "1", "the ending says no format"),
    ],
)
def test_what_is_no_event_is_one_sentence_with_its_place(name: str, text: str, words: str) -> None:
    with pytest.raises(InputError, match=r"a\.") as caught:
        read_timings(text, name)
    assert words in str(caught.value)


def test_audacitys_ranges_and_decimal_commas_are_read() -> None:
    text = "0,5\t1,5\tBell 3\n\\\t100.0\t2000.0\n2\t3\tmale speech\n"
    assert plain(read_timings(text, "a.txt")) == [(0.5, 1.5, 11, 3), (2.0, 3.0, 1, None)]


def test_events_of_a_table_end_at_a_pause_and_carry_what_is_known() -> None:
    rows = [(k, 12, 1) for k in (0, 1, 2, 20, 21)] + [(k, 11, 4) for k in range(3, 6)]
    timings, notes = timings_of(table_of(rows))
    assert plain(timings) == [(0.0, 0.3, 12, 1), (0.3, 0.6, 11, 4), (2.0, 2.2, 12, 1)]
    assert {t.distance_cm for t in timings} == {150.0}
    assert not notes
    timings, notes = timings_of(table_of([(k, 12, 1) for k in (0, 1, 4, 8, 20)]))
    assert plain(timings) == [(0.0, 0.9, 12, 1), (2.0, 2.1, 12, 1)]
    assert len(notes) == 1
    assert notes[0].startswith("5 frames of short pauses lie inside an event")
    timings, notes = timings_of(table_of(rows, scored=True), min_score=0.6)
    assert timings == []
    assert notes == ["8 predictions below a score of 0.6 are left out."]


@given(
    st.lists(st.tuples(st.integers(0, 60), st.integers(0, 2), st.integers(0, 2)), min_size=1, max_size=40, unique=True)
)
def test_unchanged_events_change_nothing(rows: list[tuple[int, int, int]]) -> None:
    table = table_of(rows)
    timings, _ = timings_of(table)
    for form in FORMATS.values():
        again, notes = apply_timings(table, read_timings(form.write(timings, "take", ""), f"a{form.suffix}"))
        assert_same(again, table)
        # frames of a pause that is too short to end an event are within it, and have no region
        assert all("have no region in the file" in note for note in notes)


def test_edits_choose_annotations_rename_them_and_make_nothing_up() -> None:
    table = table_of([(k, 12, 1) for k in range(20)] + [(k, 11, 2) for k in range(10)])
    edited = [
        Timing(0.5, 1.2, 12, 1),  # shorter
        Timing(0.0, 1.5, 6, 2),  # the bell was footsteps, and longer than its regions
        Timing(5.0, 6.0, 8, 1),  # no region there
    ]
    again, notes = apply_timings(table, edited)
    assert sorted(zip(again.frame.tolist(), again.category_id.tolist(), strict=True)) == sorted(
        [(k, 12) for k in range(5, 12)] + [(k, 6) for k in range(10)]
    )
    assert notes == [
        "13 of 30 annotations lie in no edited event and are left out.",
        "10 annotations have the class of the event that they lie in now.",
        "5 frames of edited events have no region in the file and stay without one.",
        "Music 1 from 5 s to 6 s: the file has no region of it there; nothing was added.",
    ]
