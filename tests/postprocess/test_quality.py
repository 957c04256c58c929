"""The learned ranking: what it reads, its file, and that every way to a table has it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from sai_core.errors import InputError
from sai_core.geometry import N_LATTICE
from sai_core.postprocess import PipelineSettings, System, Tracks, load_system, prepare, run_prepared, save_system
from sai_core.postprocess.facts import candidate_facts, centre_directions
from sai_core.postprocess.field_regions import field_strength
from sai_core.postprocess.pipeline import candidates, choose_best_classes, quality_features, select_tracks
from sai_core.postprocess.quality import (
    FEATURES,
    QualityNetwork,
    features_of,
    load_quality,
    quality_path,
    save_quality,
)
from tests.postprocess.raws import make_raw

SETTINGS = PipelineSettings(min_score=0.05, export="region")


def network(seed: int = 0, *, members: int = 2, hidden: int = 4) -> QualityNetwork:
    rng = np.random.default_rng(seed)
    k = len(FEATURES)
    shapes = ((members, k, hidden), (members, hidden), (members, hidden, hidden), (members, hidden), (members, hidden))
    arrays = [rng.normal(size=shape).astype(np.float32) for shape in (*shapes, (members,))]
    return QualityNetwork(rng.normal(size=k).astype(np.float32), np.full(k, 3, np.float32), *arrays)


def rows(*, frame: list[int], track: list[int], detection: list[int], score: list[float]) -> Tracks:
    n = len(frame)
    of = np.array(detection)
    coasting = np.array([d in detection[:k] for k, d in enumerate(detection)], dtype=bool)
    return Tracks(np.array(frame, np.int32), np.array(track), of, np.array(score), coasting, np.ones(n, dtype=np.int64))


def test_features_of_a_case_counted_by_hand() -> None:
    """Two tracks, six candidates in each of four frames: candidate 6 f + b is box b of frame f."""
    raw = make_raw(3, n_frames=6)
    chosen_from = candidates(prepare(raw), SETTINGS)
    facts = candidate_facts(raw.energy, raw.boxes_xyxy)
    # track 7: seen in frames 0, 1, 4, coasting in 2; track 2: seen in frame 1 alone, coasting in 2 and 3
    tracks = rows(
        frame=[0, 1, 1, 2, 2, 3, 4],
        track=[7, 7, 2, 7, 2, 2, 7],
        detection=[0, 6, 7, 6, 7, 7, 24],
        score=[0.9, 0.4, 0.6, 0.36, 0.54, 0.5, 0.8],
    )
    found = dict(zip(FEATURES, features_of(raw, chosen_from.detections, tracks, facts).T, strict=True))
    d = tracks.detection
    azimuth, elevation = centre_directions(raw.boxes_xyxy[d])
    strength = np.log(field_strength(raw.field, raw.frame[d], azimuth, elevation) + 1e-7)
    assert found["strength"] == pytest.approx(strength)
    assert found["strength_now"] == pytest.approx(
        np.log(field_strength(raw.field, tracks.frame, azimuth, elevation) + 1e-7)
    )
    assert (found["strength_now"] != found["strength"]).tolist() == [False, False, False, True, True, True, False]
    own = np.log(raw.class_scores[d, raw.category_id[d]].astype(np.float64) + 1e-4)
    assert found["own_score"] == pytest.approx(own)
    of_7, of_2 = [0, 1, 3, 6], [2, 4, 5]
    assert np.exp(found["track_length"]) == pytest.approx([4, 4, 3, 4, 3, 3, 4])
    assert found["track_strength"][of_7] == pytest.approx(strength[of_7].mean())
    assert found["track_own_score"][of_2] == pytest.approx(own[of_2].mean())
    assert found["frames_to_track_end"].tolist() == [0, 1, 0, 1, 1, 0, 0]
    # within two frames: frame 4 of track 7 sees frame 2, not 1; frame 0 sees 1 and 2
    assert found["near_strength"][6] == pytest.approx(strength[[3, 6]].mean())
    assert found["near_strength"][0] == pytest.approx(strength[[0, 1, 3]].mean())
    assert found["near_own_score"][4] == pytest.approx(own[of_2].mean())
    assert found["in_frame"].tolist() == [1, 2, 2, 2, 2, 1, 1]
    assert found["rank_in_frame"].tolist() == [0, 1, 0, 1, 0, 0, 0]
    assert found["below_strongest"][[1, 2]].max() == 0
    assert found["below_strongest"][[1, 2]].min() == pytest.approx(-abs(strength[1] - strength[2]))
    assert found["coasting"].tolist() == [0, 0, 0, 1, 1, 1, 0]
    assert found["frames_unseen"].tolist() == [0, 0, 0, 1, 1, 2, 0]
    assert found["elevation_deg"] == pytest.approx(elevation)
    assert found["field_sum"][3] == pytest.approx(np.log(np.exp(raw.field[2].astype(float)).sum() + 1e-6))
    assert np.exp(found["score"]) - 1e-5 == pytest.approx(tracks.score)


def test_features_of_what_a_label_would_be() -> None:
    raw = make_raw(0, n_frames=1)
    flat = replace(raw, field=np.full((1, N_LATTICE), np.log(4e-5) + 1, np.float16))
    facts = candidate_facts(raw.energy, raw.boxes_xyxy)
    tracks = rows(frame=[0], track=[0], detection=[2], score=[0.5])
    one = dict(
        zip(FEATURES, features_of(flat, candidates(prepare(raw), SETTINGS).detections, tracks, facts)[0], strict=True)
    )
    # e times the threshold reaches as far as the Gaussian is above 1 / e: 14 degrees, some 7 of 484 points
    assert 4 <= np.expm1(one["label_points"]) <= 11
    assert 0.2 < one["label_height"] < 0.8
    none = replace(raw, field=np.full((1, N_LATTICE), -15, np.float16))
    weak = features_of(none, candidates(prepare(raw), SETTINGS).detections, tracks, facts)[0]
    assert weak[FEATURES.index("label_points")] == weak[FEATURES.index("label_height")] == 0
    empty = features_of(raw, candidates(prepare(raw), SETTINGS).detections, tracks.take(np.zeros(1, bool)), facts)
    assert empty.shape == (0, len(FEATURES))
    assert network().of(empty).shape == (0,)


def test_missing_numbers_are_held() -> None:
    raw = make_raw(0, n_frames=4)
    lost = replace(raw, distance_cm=np.full(len(raw), np.nan, np.float32))
    chosen_from = candidates(prepare(lost), SETTINGS)
    found = quality_features(chosen_from, select_tracks(chosen_from, SETTINGS))
    assert len(found)
    assert np.isfinite(found).all()
    far = found.copy()
    far[:, 0] = 1e30
    assert np.isfinite(network().of(far)).all()


def test_a_network_is_the_mean_of_its_members() -> None:
    both = network(members=2)
    parts = ("weight1", "bias1", "weight2", "bias2", "weight3", "bias3")
    single = [replace(both, **{name: getattr(both, name)[k : k + 1] for name in parts}) for k in range(2)]
    read = np.random.default_rng(1).normal(size=(50, len(FEATURES)))
    found = both.of(read)
    assert found == pytest.approx((single[0].of(read) + single[1].of(read)) / 2)
    assert ((found > 0) & (found < 1)).all()
    # by the textbook, one row
    z = np.clip((read[3] - both.mean) / both.deviation, -8, 8)
    for layer in (1, 2):
        z = z @ getattr(both, f"weight{layer}")[0] + getattr(both, f"bias{layer}")[0]
        z = z / (1 + np.exp(-z))
    assert single[0].of(read)[3] == pytest.approx(1 / (1 + np.exp(-(z @ both.weight3[0] + both.bias3[0]))))


def test_a_file_is_the_network_again_until_it_is_learned_anew(tmp_path: Path) -> None:
    path = tmp_path / "q.safetensors"
    read = np.random.default_rng(1).normal(size=(20, len(FEATURES)))
    save_quality(network(0), path, notes={"seed": "0"})
    assert np.array_equal(load_quality(path).of(read), network(0).of(read))
    assert load_quality(path) is load_quality(path)
    before = PipelineSettings(quality=str(path)).part("select")
    save_quality(network(1, hidden=5), path)
    assert np.array_equal(load_quality(path).of(read), network(1, hidden=5).of(read))
    assert PipelineSettings(quality=str(path)).part("select") != before
    assert quality_path("shipped").name == "quality.safetensors"


def test_every_fault_of_a_file_is_a_sentence(tmp_path: Path) -> None:
    good = tmp_path / "good.safetensors"
    save_quality(network(), good)
    arrays = load_file(good)
    mark = {"sai_quality": json.dumps({"features": FEATURES})}
    wrong = {name: dict(arrays) for name in ("missing", "shape", "nan", "zero", "half")}
    del wrong["missing"]["bias2"]
    wrong["shape"]["weight3"] = wrong["shape"]["weight3"][:, :3].copy()
    wrong["nan"]["bias1"] = np.full_like(arrays["bias1"], np.nan)
    wrong["zero"]["deviation"] = 0 * arrays["deviation"]
    wrong["half"]["mean"] = arrays["mean"].astype(np.float16)
    for name, content in wrong.items():
        save_file(content, tmp_path / name, metadata=mark)
    save_file(arrays, tmp_path / "foreign", metadata={"sai_field": "{}"})
    save_file(arrays, tmp_path / "plain")
    save_file(arrays, tmp_path / "others", metadata={"sai_quality": json.dumps({"features": FEATURES[1:]})})
    save_file(arrays, tmp_path / "mark", metadata={"sai_quality": "no JSON"})
    (tmp_path / "cut").write_bytes(good.read_bytes()[:-40])
    (tmp_path / "text").write_text("not weights")
    (tmp_path / "empty").write_bytes(b"")
    for name, words in {
        "nowhere": "there is no such file",
        "foreign": "is not a quality network",
        "plain": "is not a quality network",
        "others": "is of other features",
        "mark": "list of features is damaged",
        "cut": "cannot be read as safetensors",
        "text": "cannot be read as safetensors",
        "empty": "cannot be read as safetensors",
        "missing": "bias2 is missing or does not fit",
        "shape": "weight3 is missing or does not fit",
        "half": "mean is missing or does not fit",
        "nan": "bias1 has values that are no numbers",
        "zero": "deviation has values that are not above 0",
    }.items():
        with pytest.raises(InputError, match=words):
            load_quality(tmp_path / name)


def test_the_table_has_the_network_s_scores_and_nothing_else_changes(tmp_path: Path) -> None:
    path = tmp_path / "q.safetensors"
    save_quality(network(), path)
    ready = prepare(make_raw(5))
    with_it = replace(SETTINGS, quality=str(path))
    before, after = run_prepared(ready, SETTINGS), run_prepared(ready, with_it)
    chosen_from = candidates(ready, SETTINGS)
    tracks = select_tracks(chosen_from, SETTINGS)
    assert tracks.coasting.any()
    expected = network().of(quality_features(chosen_from, tracks))
    assert np.array_equal(after.score, np.round(expected, 6))
    assert not np.array_equal(after.score, before.score)
    for name in ("frame", "category_id", "instance_id", "points_xy", "energy", "distance_cm"):
        assert np.array_equal(getattr(before, name), getattr(after, name))
    # which classes are the best is asked of the detector's scores
    best = replace(with_it, keep_classes="best")
    assert (
        choose_best_classes([ready], best).keep_classes
        == choose_best_classes([ready], replace(best, quality="")).keep_classes
    )


def test_what_does_not_go_with_it_is_refused() -> None:
    for changes in ({"temperature": {1: 2.0}}, {"isotonic": {1: ((0.5, 0.4),)}}):
        with pytest.raises(InputError, match="quality: its network replaces the scores"):
            PipelineSettings(quality="q.safetensors", **changes)
    with pytest.raises(InputError, match='tie_break = "energy"'):
        PipelineSettings(quality="q.safetensors", tie_break="energy")
    assert System(name="ranked", settings=PipelineSettings(quality="q")).needs_field


def test_without_a_field_the_sentence_names_the_setting(tmp_path: Path) -> None:
    save_quality(network(), tmp_path / "q.safetensors")
    raw = make_raw(0, n_frames=4)
    with pytest.raises(InputError, match="made_up: quality needs raw detections with a field"):
        run_prepared(
            prepare(replace(raw, field=raw.field[:0])), replace(SETTINGS, quality=str(tmp_path / "q.safetensors"))
        )


def test_a_system_finds_the_network_beside_it(tmp_path: Path) -> None:
    save_quality(network(), tmp_path / "q.safetensors")
    for text, expected in (("q.safetensors", str(tmp_path / "q.safetensors")), ("shipped", "shipped"), ("", "")):
        save_system(System(name="ranked", settings=replace(SETTINGS, quality=text)), tmp_path / "ranked.toml")
        assert load_system(tmp_path / "ranked.toml").settings.quality == expected
