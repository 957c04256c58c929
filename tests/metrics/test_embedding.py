"""Detections as points: led back to their raw candidates, projected, and compared in all dimensions."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from sai_core.annotations import write_label_json, write_submission_json
from sai_core.annotations.table import AnnotationTable
from sai_core.detections.raw import RawWriter
from sai_core.errors import InputError
from sai_core.metrics.evaluation.score_store import ScoreStore
from sai_core.metrics.reading.drilldown import FALSE_POSITIVE, FOUND, MISSED, WRONG_CLASS
from sai_core.metrics.reading.embedding import Embedding, embedding_of_files, nearest, principal_axes
from sai_core.metrics.reading.systems import score_system
from tests.figures.scenes import Row, blob, table_of

N_FRAMES = 40
NAME = "fold4_room7_mix001"
PLACES = {0: (60.0, 90.0), 5: (359.0, 80.0), 8: (200.0, 100.0), 3: (290.0, 60.0)}
"""Class 0 is found, class 5 over the seam too, class 8 is predicted as 3 (wrong class), class 3 is missed."""


def _scene() -> tuple[AnnotationTable, AnnotationTable]:
    labels: list[Row] = []
    predictions: list[Row] = []
    for k in range(N_FRAMES):
        for category, (x, y) in PLACES.items():
            if category == 3 and k % 4:
                continue
            points, energy = blob(x, y, 10)
            labels.append((k, category, category, 200.0, np.nan, points, energy))
            if category != 3:
                shown = 3 if category == 8 else category
                score = round(0.5 + 0.01 * category + 0.001 * k, 6)
                predictions.append((k, shown, category, 200.0, score, points, energy))
        points, energy = blob(130, 90, 8)
        predictions.append((k, 1, 9, 200.0, 0.3, points, energy))  # coasts: there is no candidate
    return table_of(NAME, labels), table_of(NAME, predictions)


def _write(tmp_path: Path, *, d: int = 6, change: Any = None) -> dict[str, dict[str, Path]]:
    """Files of a recording whose candidates of classes 0 and 5 form two clusters far apart."""
    labels, predictions = _scene()
    files = {
        "labels": {NAME: tmp_path / f"{NAME}_std.json"},
        "predictions": {NAME: tmp_path / f"{NAME}.json"},
        "stores": {NAME: tmp_path / "raw" / f"{NAME}.key"},
    }
    write_label_json(labels, files["labels"][NAME])
    write_submission_json(predictions, files["predictions"][NAME])
    rng = np.random.default_rng(7)
    rows = []
    for k in range(N_FRAMES):
        for category, (x, y) in PLACES.items():
            shown = 3 if category == 8 else category
            score = 0.5 + 0.01 * category + 0.001 * k if category != 3 else 0.02
            centre = {0: 1.0, 5: -1.0}.get(category, 0.0)
            vector = rng.normal(0, 0.02, d) + (np.arange(d) == 1) * centre + (np.arange(d) == 2) * (category == 3)
            rows.append((k, shown, score, (x - 12) % 360, y - 12, vector))
            rows.append((k, shown, score * 0.6, (x - 8) % 360, y - 8, np.full(d, 9.0)))  # suppressed: never a point
    n = len(rows)
    scores, classes = np.array([r[2] for r in rows]), np.array([r[1] for r in rows])
    boxes = np.array([(r[3], r[4], r[3] + 24, r[4] + 24) for r in rows])
    class_scores = np.zeros((n, 13))
    class_scores[np.arange(n), classes] = scores
    columns: dict[str, Any] = {
        "frame": np.array([r[0] for r in rows]), "boxes_xyxy": boxes, "class_scores": class_scores,
        "objectness": np.full(n, 0.99), "category_id": classes, "energy": np.ones((n, 28, 28)),
        "distance_cm": np.full(n, 200.0), "embedding": np.array([r[5] for r in rows]).reshape(n, d),
        "full_energy": np.zeros((N_FRAMES, 0, 0)),
    }  # fmt: skip
    if change is not None:
        change(columns)
    writer = RawWriter(files["stores"][NAME], recording=NAME, key="key", n_frames=N_FRAMES)
    writer.write(0, columns)
    writer.finish()
    return files


def _embedding(files: dict[str, dict[str, Path]], **more: Any) -> Embedding:
    system = score_system(ScoreStore(), "made-up", files["labels"], files["predictions"])
    return embedding_of_files(system, files["labels"], files["predictions"], files["stores"], use_cache=False, **more)


def test_every_detection_is_at_its_own_candidate_and_clusters_stay_apart(tmp_path: Path) -> None:
    found = _embedding(_write(tmp_path))
    kind, category = found.moments.kind, found.moments.category
    assert (found.n_detections, found.by_score, found.by_place) == (4 * N_FRAMES, 3 * N_FRAMES, 0)
    assert (found.n_missed, found.missed_shown) == (2 * N_FRAMES - 3 * N_FRAMES // 4, N_FRAMES // 4)
    assert np.abs(found.vectors).max() < 2  # no suppressed candidate
    assert (kind[np.isin(category, (0, 5))] == FOUND).all()
    assert (kind[(category == 3) & (found.moments.prediction >= 0)] == WRONG_CLASS).all()
    assert not (kind == FALSE_POSITIVE).any()  # those that coast have no candidate
    missed = kind == MISSED
    assert (found.vectors[missed, 2] > 0.9).all()
    assert found.candidate_score[missed] == pytest.approx(0.02, abs=1e-6)
    # the first axis is the one along which the clusters lie, positive where its largest part is
    first = found.xy[:, 0]
    assert first[category == 0].min() > 0.8 > -0.8 > first[category == 5].max()
    assert found.variance[0] > 0.6
    assert found.variance.sum() <= 1 + 1e-12


def test_scores_that_were_changed_afterwards_are_found_by_place(tmp_path: Path) -> None:
    def calibrate(columns: dict[str, Any]) -> None:
        columns["class_scores"] = columns["class_scores"] ** 2

    found = _embedding(_write(tmp_path, change=calibrate))
    assert (found.by_score, found.by_place) == (0, 3 * N_FRAMES)
    assert np.abs(found.vectors).max() < 2


def test_what_is_like_a_point_is_of_its_cluster_and_not_its_neighbouring_frames(tmp_path: Path) -> None:
    found = _embedding(_write(tmp_path))
    start = int(np.flatnonzero(found.moments.category == 5)[0])
    like, cosine = nearest(found, start, n=3)
    assert (found.moments.category[like] == 5).all()
    frames = sorted([int(found.moments.frame[start]), *found.moments.frame[like].tolist()])
    assert np.diff(frames).min() >= 10
    assert (np.diff(cosine) <= 1e-9).all()
    assert cosine[0] > 0.95
    assert len(nearest(found, start)[0]) == 3  # there are no more that far apart


def test_the_same_call_gives_the_same_points(tmp_path: Path) -> None:
    files = _write(tmp_path)
    one, other = (_embedding(files, at_most=20, seed=3) for _ in range(2))
    assert np.array_equal(one.xy, other.xy)
    assert np.array_equal(one.shown, other.shown)
    assert len(one.shown) == 20 < len(one)
    assert not np.array_equal(one.shown, _embedding(files, at_most=20, seed=4).shown)


@given(arrays(np.float64, st.tuples(st.integers(0, 8), st.integers(0, 5)), elements=st.floats(-4, 4, width=16)))
def test_axes_are_perpendicular_and_their_signs_fixed(vectors: np.ndarray) -> None:
    xy, axes, variance = principal_axes(vectors)
    assert xy.shape == (len(vectors), 2)
    assert (variance >= 0).all()
    assert variance[0] >= variance[1] - 1e-12
    for axis in axes:
        if axis.any():
            assert axis[np.argmax(np.round(np.abs(axis), 9))] > 0
            assert np.linalg.norm(axis) == pytest.approx(1)
    assert abs(axes[0] @ axes[1]) < 1e-9
    total = ((vectors - vectors.mean(axis=0)) ** 2).sum() if vectors.size else 0.0
    assert (xy**2).sum() == pytest.approx(variance.sum() * total, abs=1e-8)


def test_turning_all_points_round_keeps_the_signs() -> None:
    vectors = np.random.default_rng(0).normal(size=(50, 4)) * [5, 2, 1, 0.5]
    assert principal_axes(vectors)[1] == pytest.approx(principal_axes(-vectors)[1])


def test_what_cannot_be_shown_is_one_sentence_or_counted(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="hold no embeddings"):
        _embedding(_write(tmp_path / "none", d=0, change=lambda c: c.update(embedding=np.zeros((len(c["frame"]), 0)))))
    files = _write(tmp_path / "some")
    with pytest.raises(InputError, match="no scored recording has a finished store"):
        _embedding({**files, "stores": {}})

    def undefined(columns: dict[str, Any]) -> None:
        columns["embedding"][0] = np.nan

    found = _embedding(_write(tmp_path / "nan", change=undefined))
    assert found.not_finite == 1
    assert np.isfinite(found.xy).all()
    assert replace(found, not_finite=0).without == ()
