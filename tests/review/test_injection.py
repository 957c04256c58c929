"""Errors put in on purpose: each changes what it says and nothing else, and the queue shows it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sai_core.annotations import AnnotationTable
from sai_core.errors import InputError
from sai_core.geometry import great_circle_deg
from sai_core.metrics.official.directions import region_peak_direction
from sai_core.review.edits import annotation_keys, check_edits
from sai_core.review.injection import ERROR_KINDS, ErrorKind, events_of, inject, put_in
from sai_core.review.queue import recording_items
from tests.benchmarks.bench_queue import Scene, one_round
from tests.review.helpers import RECORDING, same_table, table, track

UID = "0" * 32


def labels(start: int = 0, distance: float = 200) -> AnnotationTable:
    return table(
        track(0, 1, range(start, start + 20), distance=distance),
        track(5, 2, range(start, start + 9), x=357, distance=distance),
        track(5, 2, range(start + 14, start + 17), x=300),  # a second event of three frames
    )


def test_events_are_parted_by_pauses_and_short_ones_left_alone() -> None:
    rows = events_of(labels())
    assert [labels().frame[r].tolist() for r in rows] == [list(range(20)), list(range(9))]
    assert len(events_of(labels(), min_frames=3)) == 3
    assert events_of(AnnotationTable.empty(RECORDING)) == []


@given(kind=st.sampled_from(ERROR_KINDS), seed=st.integers(0, 10**6), event=st.integers(0, 1))
@settings(max_examples=40, deadline=None)
def test_an_error_changes_its_frames_alone_and_is_the_same_again(kind: ErrorKind, seed: int, event: int) -> None:
    before = labels()
    error = inject(before, events_of(before)[event], kind, seed=seed, n_frames=60, uid=UID)
    assert error == inject(before, events_of(before)[event], kind, seed=seed, n_frames=60, uid=UID)
    assert check_edits(list(error.edits)) == list(error.edits)
    after = put_in(before, [error])
    assert same_table(before, labels())
    assert not same_table(after.table, before)
    for t in (before, after.table):
        assert (np.isin(t.frame, error.frames)).any() or kind in ("removed", "cut", "added", "extended")
    rest = [t.take(~np.isin(t.frame, error.frames)) for t in (before, after.table)]
    assert same_table(*rest)
    one = {k: row for row, k in enumerate(after.keys)}
    was = {k: row for row, k in enumerate(annotation_keys(before))}
    if kind == "class":
        assert {int(after.table.category_id[one[k]]) for k in error.targets} != {error.category}
    elif kind in ("removed", "cut"):
        assert not set(error.targets) & set(one)
        assert len(before) - len(after.table) == len(error.targets)
        assert kind == "removed" or max(error.frames) == max(before.frame[events_of(before)[event]])
    elif kind == "distance":
        ratio = [after.table.distance_cm[one[k]] / before.distance_cm[was[k]] for k in error.targets]
        assert all(1.99 < max(r, 1 / r) < 4.01 for r in ratio)
    elif kind in ("added", "extended"):
        assert len(after.table) - len(before) == len(error.frames)
    else:
        pairs = [(after.table.take([one[k]]), before.take([was[k]])) for k in error.targets]
        angles = [float(great_circle_deg(*region_peak_direction(a), *region_peak_direction(b))[0]) for a, b in pairs]
        assert all(30 < angle < 121 for angle in angles)


def test_what_cannot_be_made_wrong_is_one_sentence() -> None:
    none = labels(distance=float("nan"))
    with pytest.raises(InputError, match="no distance"):
        inject(none, events_of(none)[0], "distance", seed=0, n_frames=60, uid=UID)
    with pytest.raises(InputError, match="ends with the recording"):
        inject(none, events_of(none)[0], "extended", seed=0, n_frames=20, uid=UID)
    with pytest.raises(InputError, match="unknown"):
        inject(none, events_of(none)[0], "typo", seed=0, n_frames=20, uid=UID)  # type: ignore[arg-type]


def test_the_benchmark_counts_what_the_queue_shows() -> None:
    """Two systems that find everything: errors of presence and class are all there, and nothing else is."""
    truth = table(*(track(k, k + 1, range(30), x=40 * k + 20, y=90) for k in range(8)))
    heard = table(*(track(k, k + 1, range(30), x=40 * k + 20, y=90, score=0.9) for k in range(8)))
    assert recording_items(RECORDING, truth, {"a": heard, "b": heard}) == []
    scene = Scene(RECORDING, truth, {"a": heard, "b": heard}, None, 60)
    found = set()
    for seed in range(3):
        hits, errors, kinds = one_round([scene], seed, metadata=False)
        found |= {kind for kind, place in errors if place is not None}  # one error may lie where another was
        assert "distance" not in kinds  # a whole track at another distance is no outlier of itself
        assert all(hits), list(zip(hits, kinds, strict=True))
    assert found == {"class", "removed", "added", "moved", "cut", "extended"}
