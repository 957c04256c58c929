"""Classes that a wideband listener has a say in: the formula, the stages that use it, and stores with its column."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sai_core.detections.raw import RawDetections, RawWriter, open_raw
from sai_core.errors import InputError
from sai_core.postprocess import PipelineSettings, System, candidates, prepare, run_prepared
from sai_core.postprocess.classes import heard_scores, same_place
from sai_core.postprocess.pipeline import quality_features, select_tracks
from sai_core.postprocess.quality import FEATURES
from tests.postprocess.raws import make_raw


def log_heard(n: int, seed: int = 0) -> npt.NDArray[np.float16]:
    return np.log(np.random.default_rng(seed).dirichlet(np.full(14, 0.3), n) + 1e-6).astype(np.float16)


def heard_raw(seed: int = 0, *, n_frames: int) -> RawDetections:
    raw = make_raw(seed, n_frames=n_frames)
    return replace(raw, wideband=log_heard(len(raw), seed))


def test_the_formula_by_hand() -> None:
    own = np.zeros((1, 13))
    own[0, 2], own[0, 5] = 0.6, 0.2
    listener = np.full((1, 14), 0.01)
    listener[0, 5], listener[0, 13] = 0.64, 0.24
    found = heard_scores(own, np.log(listener), weight=0.5)[0]
    products = {2: (0.6 * 0.01) ** 0.5, 5: (0.2 * 0.64) ** 0.5, 13: (0.2 * 0.24) ** 0.5}
    others = 11 * (1e-5 * 0.01) ** 0.5
    total = sum(products.values()) + others
    assert found[5] == pytest.approx(products[5] / total, rel=1e-5)
    assert found[2] == pytest.approx(products[2] / total, rel=1e-5)
    assert found.argmax() == 5
    assert found.sum() == pytest.approx(1 - products[13] / total, rel=1e-5)


@given(st.integers(0, 2**20), st.floats(0, 1))
@settings(max_examples=40, deadline=None)
def test_scores_stay_shares(seed: int, weight: float) -> None:
    raw = make_raw(seed % 50, n_frames=3)
    heard = log_heard(len(raw), seed)
    found = heard_scores(raw.class_scores, heard, weight=weight)
    assert found.shape == raw.class_scores.shape
    assert ((found >= 0) & (found.sum(axis=1, keepdims=True) <= 1 + 1e-5)).all()
    alone = np.exp(heard.astype(np.float64))
    alone = alone[:, :13] / alone.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(heard_scores(raw.class_scores, heard, weight=1.0), alone, atol=1e-6)
    np.testing.assert_allclose(heard_scores(raw.class_scores, heard, weight=0.0), raw.class_scores, atol=2e-4)


def test_rows_of_second_classes_get_the_second_class() -> None:
    before = np.array([[0.5, 0.3, 0.1], [0.5, 0.3, 0.1], [0.2, 0.1, 0.4]])
    after = np.array([[0.1, 0.2, 0.7], [0.1, 0.2, 0.7], [0.6, 0.3, 0.1]])
    assert same_place(np.array([0, 1, 2]), before=before, after=after).tolist() == [2, 1, 0]
    np.testing.assert_array_equal(same_place(np.array([0, 1, 2]), before=before, after=before), [0, 1, 2])


def test_candidates_take_the_classes_that_are_heard() -> None:
    raw = heard_raw(3, n_frames=8)
    ready = prepare(raw)
    plain, heard = candidates(ready, PipelineSettings()), candidates(ready, PipelineSettings(wideband_weight=0.5))
    expected = heard_scores(raw.class_scores, raw.wideband, weight=0.5)
    np.testing.assert_array_equal(plain.detections.category_id, raw.category_id)
    np.testing.assert_array_equal(heard.detections.category_id, expected.argmax(axis=1))
    np.testing.assert_array_equal(heard.detections.score, expected.max(axis=1))
    assert (heard.detections.category_id != raw.category_id).any()
    # thresholds of the class score see the new scores, and so does the router
    strict = PipelineSettings(wideband_weight=0.5, min_class_score=0.4)
    np.testing.assert_array_equal(candidates(ready, strict).eligible, expected.max(axis=1) >= np.float32(0.4))
    alone = PipelineSettings(wideband_weight=0.5, router_weight=1e-6)
    np.testing.assert_array_equal(candidates(ready, alone).detections.category_id, expected.argmax(axis=1))
    by_objectness = PipelineSettings(wideband_weight=0.5, ranking="objectness")
    np.testing.assert_array_equal(candidates(ready, by_objectness).detections.score, raw.objectness)


def test_a_quality_network_reads_the_scores_that_are_heard() -> None:
    raw = heard_raw(3, n_frames=8)
    ready = prepare(raw)
    columns = {}
    for weight in (0.0, 0.5):
        s = PipelineSettings(wideband_weight=weight, min_score=0.0, min_hits=1)
        chosen = candidates(ready, s)
        tracks = select_tracks(chosen, s)
        columns[weight] = dict(zip(FEATURES, quality_features(chosen, tracks).T, strict=True)), tracks, chosen
    plain, _, _ = columns[0.0]
    np.testing.assert_array_equal(plain["own_score"], plain["detector_score"])
    heard, tracks, chosen = columns[0.5]
    rows, category = tracks.detection, chosen.detections.category_id[tracks.detection]
    expected = heard_scores(raw.class_scores, raw.wideband, weight=0.5)
    np.testing.assert_allclose(heard["own_score"], np.log(expected[rows, category] + 1e-4), rtol=1e-5)
    np.testing.assert_allclose(heard["detector_score"], np.log(raw.class_scores[rows, category] + 1e-4), rtol=1e-5)


def test_without_a_listener_it_is_said() -> None:
    raw = make_raw(1, n_frames=4)
    asking = PipelineSettings(wideband_weight=0.4)
    assert System(name="heard", settings=asking).needs_wideband
    assert not System(name="plain", settings=PipelineSettings()).needs_wideband
    with pytest.raises(InputError, match="made_up: wideband_weight needs raw detections that a wideband listener"):
        run_prepared(prepare(raw), asking)
    nothing = replace(make_raw(1, n_frames=4, n_boxes=0), full_energy=raw.full_energy)
    assert len(run_prepared(prepare(nothing), asking)) == 0


def test_the_column_is_kept_and_may_be_absent(tmp_path: Path) -> None:
    raw = heard_raw(5, n_frames=6)
    for name, store in (("heard", raw), ("bare", make_raw(5, n_frames=6))):
        writer = RawWriter(tmp_path / name, recording="made_up", key="k", n_frames=6)
        for first, last in ((0, 4), (4, 6)):
            part = (store.frame >= first) & (store.frame < last)
            columns = {
                c: getattr(store, c)[part]
                for c in (
                    "frame",
                    "boxes_xyxy",
                    "class_scores",
                    "objectness",
                    "category_id",
                    "energy",
                    "distance_cm",
                    "embedding",
                )
            }
            columns["full_energy"] = store.full_energy[first:last]
            if store.wideband.size:
                columns["wideband"] = store.wideband[part]
            writer.write(first, columns)
        kept = writer.finish()
        np.testing.assert_array_equal(kept.wideband, store.wideband)
        assert kept.wideband.dtype == np.float16
    (tmp_path / "heard" / "wideband.npy").write_bytes(b"x")
    assert open_raw(tmp_path / "heard") is None
    assert open_raw(tmp_path / "bare") is not None
    with pytest.raises(InputError, match="wideband needs 14 values for each of 36 candidates"):
        replace(raw, wideband=raw.wideband[:3])
