"""Fusion: what must not change, what becomes one, and the search that is reported where it was not made."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from sai_core.annotations import AnnotationTable, write_label_json, write_submission_json
from sai_core.annotations.reading import read_annotations
from sai_core.cli import main
from sai_core.errors import InputError
from sai_core.fusion import FusionSettings, fuse_tables, search_weights
from sai_core.fusion.search import mixtures
from sai_core.metrics import merge, region_peak_direction, render_table_0630, score_recording
from sai_core.workspace import workspace
from tests.figures.scenes import Row, blob, table_of, tables

SETTINGS = (
    FusionSettings(),
    FusionSettings(absent=1.0, radius_deg=0.0),
    FusionSettings(class_votes=True, region="heaviest", absent=0.0),
)


def row(
    x: float, *, category: int = 3, score: float = 0.5, cm: float = 200.0, instance: int = 0, y: float = 90.0
) -> Row:
    return (0, category, instance, cm, score, *blob(x, y, 9))


def assert_same(a: AnnotationTable, b: AnnotationTable) -> None:
    for name in ("frame", "category_id", "instance_id", "polygon_offsets", "point_offsets", "points_xy", "energy"):
        assert np.array_equal(getattr(a, name), getattr(b, name)), name
    assert np.allclose(a.score, b.score, rtol=0, atol=1e-9)
    assert np.allclose(a.distance_cm, b.distance_cm, rtol=0, atol=1e-4, equal_nan=True)


@pytest.mark.parametrize("settings", SETTINGS)
@pytest.mark.parametrize("weights", [(1.0, 1.0), (0.3, 2.0), (1.0, 0.0), (0.0, 0.7)])
def test_the_same_set_twice_is_the_set(settings: FusionSettings, weights: tuple[float, float]) -> None:
    _, predictions = tables(12, seed=4)
    assert len(predictions)
    if settings.class_votes:
        # by vote two classes in one place may swap partners; one class has none to swap with
        predictions = replace(predictions, category_id=np.full(len(predictions), 2))
    assert_same(fuse_tables([predictions, predictions], weights, settings), predictions)
    assert_same(fuse_tables([predictions, None], (0.2, 1.0), settings), predictions)
    assert len(fuse_tables([predictions, None], (0.0, 1.0), settings)) == 0


def test_two_detections_become_one_with_weighted_means() -> None:
    a = table_of("r", [row(100, score=0.8, cm=100, instance=4), row(200, score=0.6, instance=5)])
    b = table_of("r", [row(110, score=0.4, cm=300, instance=9), row(300, score=0.9, instance=0)])
    fused = fuse_tables([a, b], (1.0, 3.0), FusionSettings(absent=0.5))
    assert len(fused) == 3
    w_a, w_b = 1 * 0.8, 3 * 0.4
    assert fused.score.tolist() == pytest.approx([(w_a + w_b) / 4, 0.6 / (1 + 1.5), 2.7 / (3 + 0.5)])
    assert fused.distance_cm[0] == pytest.approx((w_a * 100 + w_b * 300) / (w_a + w_b), abs=1e-4)
    # numbers of the first set stay, those of the second lie above
    assert fused.instance_id.tolist() == [4, 5, 6]
    # the direction is the mean, the region as wide as each of them, not as both
    azimuth, _ = region_peak_direction(fused)
    assert azimuth[0] == pytest.approx(180 - (w_a * 100 + w_b * 110) / (w_a + w_b), abs=3.6)
    size = np.diff(render_table_0630(fused).offsets)
    alone = np.diff(render_table_0630(a).offsets)
    assert size[0] == pytest.approx(alone[0], abs=0.35 * alone[0])
    # who stays alone keeps its region to the last digit
    assert np.array_equal(fused.points(1)[0], a.points(1)[0])
    kept = fuse_tables([a, b], (1.0, 3.0), FusionSettings(region="heaviest"))
    assert np.array_equal(kept.points(0)[0], b.points(0)[0])
    assert kept.distance_cm[0] == fused.distance_cm[0]


@pytest.mark.parametrize("y", [90.0, 12.0, 168.0])
def test_regions_over_the_seam_stay_one_place(y: float) -> None:
    a, b = table_of("r", [row(356, y=y)]), table_of("r", [row(3, y=y)])
    fused = fuse_tables([a, b], (1.0, 1.0))
    assert len(fused) == 1
    elsewhere = [replace(t, points_xy=np.mod(t.points_xy + np.array([100, 0]), 360)) for t in (a, b)]
    both = fuse_tables(elsewhere, (1.0, 1.0))
    # elsewhere on the circle the same thing comes out, turned
    maps = [render_table_0630(t) for t in (fused, both)]
    total = [m.values.sum() for m in maps]
    assert total[0] == pytest.approx(total[1], rel=0.15)
    columns = maps[0].pixels % 100
    assert ((columns < 8) | (columns > 92)).all() or y != 90.0


def test_radius_classes_and_votes() -> None:
    near, far = table_of("r", [row(100)]), table_of("r", [row(115, category=6, score=0.9)])
    assert len(fuse_tables([near, far], (1, 1))) == 2
    voted = fuse_tables([near, far], (1, 1), FusionSettings(class_votes=True))
    assert voted.category_id.tolist() == [6]
    # who says otherwise counts as 0
    assert voted.score.tolist() == pytest.approx([0.45])
    heavy = fuse_tables([near, far], (3, 1), FusionSettings(class_votes=True))
    assert heavy.category_id.tolist() == [3]
    assert len(fuse_tables([near, far], (1, 1), FusionSettings(class_votes=True, radius_deg=10))) == 2
    # never two of one system
    close = table_of("r", [row(100), row(102, score=0.4)])
    assert len(fuse_tables([close, near], (1, 1))) == 2


def test_refusals() -> None:
    labels, predictions = tables(2)
    for weights, words in (((1.0,), "do not fit"), ((1.0, -1.0), "at least 0"), ((0.0, 0.0), "one of them above")):
        with pytest.raises(InputError, match=words):
            fuse_tables([predictions, predictions], weights)
    with pytest.raises(InputError, match="without a score"):
        fuse_tables([labels, predictions], (1, 1))
    with pytest.raises(InputError, match="radius_deg is 200"):
        FusionSettings(radius_deg=200)


def test_mixtures_are_shares_and_begin_with_each_alone() -> None:
    for n in (2, 3, 5):
        found = mixtures(n)
        assert len(set(found)) == len(found)
        assert all(sum(shares) == pytest.approx(1) for shares in found)
        assert all(sorted(shares)[-2] == 0 for shares in found[:n])
    assert len(mixtures(2)) == 5


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three recordings: one system sees two of four sources, the other sees the other two."""
    base = tmp_path_factory.mktemp("fusion")
    for k in range(3):
        name = f"fold4_room{k}_mix001"
        labels, _ = tables(8, seed=k, recording=name)
        write_label_json(labels, base / "labels" / f"{name}_std.json")
        for side, keep in (("left", labels.category_id <= 3), ("right", labels.category_id >= 3)):
            seen = labels.take(np.flatnonzero(keep))
            rng = np.random.default_rng(k)
            write_submission_json(replace(seen, score=rng.uniform(0.3, 0.9, len(seen))), base / side / f"{name}.json")
    return base


def test_a_search_finds_two_halves_of_the_truth(
    folders: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    call = ["fuse", str(folders / "left"), str(folders / "right"), "--labels", str(folders / "labels"), "--seed", "1"]
    assert main([*call, "--out", str(tmp_path / "out"), "--json", "--quiet"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert all(told["weights"])
    assert not set(told["searched"]) & set(told["held_out"])
    best = max(told["alone"][side]["held_out"]["macro"]["mAP"] for side in ("left", "right"))
    assert told["fused"]["held_out"]["macro"]["mAP"] > best + 0.1
    # what is reported is what the written files have
    scores = []
    for name in told["held_out"]:
        truth = read_annotations(folders / "labels" / f"{name}_std.json", recording=name)
        scores.append(score_recording(truth, read_annotations(tmp_path / "out" / f"{name}.json", recording=name)))
    assert merge(scores).macro.mean_ap == pytest.approx(told["fused"]["held_out"]["macro"]["mAP"], abs=1e-6)
    assert main(call) == 0
    text = capsys.readouterr().out
    assert "that the search did not see" in text
    assert "fewer than 6 recordings nothing is sure" in text or "one recording gives no interval" in text
    [stored] = [s for s in workspace().sets("predictions") if s.facts.made_by == "fuse"]
    assert stored.facts.options["set 1"] == "left"
    assert stored.facts.options["seed of the search"] == 1
    assert len(stored.facts.recordings) == 3


def test_mistakes_of_the_call(folders: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    two = [str(folders / "left"), str(folders / "right")]
    labels = ["--labels", str(folders / "labels")]
    for more, words in (
        ([two[0]], "two prediction sets or more"),
        ([two[0], two[0]], "given twice"),
        ([*two, "--weights", "1"], "1 weights do not fit 2 systems"),
        ([*two, *labels, "--weights", "1", "1"], "leave one of them out"),
        ([*two, *labels, "--absent", "1"], "searches what --absent gives"),
        ([*two, "--absent", "2"], "absent is 2"),
        ([*two, "--out", str(folders / "left")], "is an input"),
        ([*two, "--out", str(tmp_path), "--name", "x"], "give one of them"),
    ):
        assert main(["fuse", *more]) == 2
        assert words in capsys.readouterr().err
    alone = {"a": {"r": folders}, "b": {"s": folders}}
    with pytest.raises(InputError, match="two are needed"):
        search_weights(alone, {"r": folders})
