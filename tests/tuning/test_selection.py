"""NMS and tracker, which compare many boxes at once, against their plain versions."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sai_core.detections.table import Detections
from sai_core.postprocess import nms_per_class, track
from tests.tuning.literal_selection import literal_nms, literal_track


def _crowd(seed: int, *, coarse: bool) -> Detections:
    """Up to 200 boxes in few frames; ``coarse``: many of them equal, and many equal scores."""
    rng = np.random.default_rng(seed)
    n = int(rng.integers(0, 200))
    corner, size = rng.uniform([-20, 0], [350, 150], (n, 2)), rng.uniform(5, 60, (n, 2))
    score = rng.random(n)
    if coarse:
        corner, size, score = np.round(corner / 20) * 20, np.round(size / 20) * 20, np.round(score, 1)
    return Detections(
        np.sort(rng.integers(0, 12, n)).astype(np.int32),
        rng.integers(0, int(rng.integers(1, 13)), n).astype(np.int16),
        score.astype(np.float32),
        np.concatenate([corner, corner + size], axis=1).astype(np.float32),
        rng.uniform(50, 500, n),
        np.zeros((n, 1, 1), dtype=np.float32),
    )


seeds = st.integers(0, 2**32 - 1)
ious = st.sampled_from([0.0, 0.1, 0.3, 0.5, 1.0])


@given(seeds, ious, st.booleans(), st.booleans())
def test_nms_equals_the_plain_one(seed: int, iou: float, wrap: bool, coarse: bool) -> None:
    d = _crowd(seed, coarse=coarse)
    fast = nms_per_class(d.frame, d.category_id, d.score, d.boxes_xyxy, iou=iou, wrap=wrap)
    assert fast.tolist() == literal_nms(d, iou=iou, wrap=wrap).tolist()


@given(seeds, ious, st.integers(0, 6), st.booleans(), st.booleans())
def test_tracker_equals_the_plain_one(seed: int, iou: float, max_age: int, wrap: bool, coarse: bool) -> None:
    d = _crowd(seed, coarse=coarse)
    fast = track(d, n_frames=14, iou=iou, max_age=max_age, wrap=wrap)
    plain = literal_track(d, n_frames=14, iou=iou, max_age=max_age, wrap=wrap)
    columns = (fast.frame, fast.track_id, fast.detection, fast.score, fast.coasting, fast.hits)
    assert list(zip(*(c.tolist() for c in columns), strict=True)) == plain


def test_blocks_of_pairs_make_no_difference(monkeypatch: pytest.MonkeyPatch) -> None:
    d = _crowd(7, coarse=True)
    assert len(d) > 100
    rows = nms_per_class(d.frame, d.category_id, d.score, d.boxes_xyxy)
    tracks = track(d)
    monkeypatch.setattr("sai_core.postprocess.tracking._BLOCK_PAIRS", 3)
    assert np.array_equal(nms_per_class(d.frame, d.category_id, d.score, d.boxes_xyxy), rows)
    assert np.array_equal(track(d).track_id, tracks.track_id)
