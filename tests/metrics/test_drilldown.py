"""From figures back to frames: costs against brute force, lists against the counts that they stand behind."""

from __future__ import annotations

import os
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sai_core.errors import InputError
from sai_core.metrics import THRESHOLDS, Revision, confusion_matrix, count_errors, merge, pair_errors
from sai_core.metrics.evaluation.score_store import RecordingResult, ScoreStore, result_of_tables
from sai_core.metrics.official.average_precision import average_precision_0630, interpolated_precision_coco
from sai_core.metrics.reading import drilldown as dd
from sai_core.metrics.reading.systems import SystemResult, class_agnostic_of_system, score_system
from tests.damage import damage, entries
from tests.metrics.helpers import made_up_recording, region, table


@pytest.fixture(scope="module", params=["2026-06-30", "2026-05-18", "2026-04-02"])
def results(request: pytest.FixtureRequest) -> list[RecordingResult]:
    return _results(request.param)


def _results(revision: Revision, seed: int = 40) -> list[RecordingResult]:
    pairs = [made_up_recording(seed + k, n_frames=8, name=f"r{k}") for k in range(3)]
    return [result_of_tables(*pair, revision=revision, use_cache=False) for pair in pairs]


def _ap(hits: np.ndarray, n_labels: int) -> float:
    return float(interpolated_precision_coco(hits.astype(bool), n_labels).mean()) if len(hits) else 0.0


@given(st.lists(st.booleans(), max_size=25), st.integers(0, 6))
def test_costs_are_what_changing_one_detection_does(hits: list[bool], more: int) -> None:
    hit = np.array(hits, dtype=bool)
    n_labels = int(hit.sum()) + more
    losses = dd.ap_losses(hit, n_labels)
    if not n_labels:
        assert np.isnan(losses.ap)
        return
    now = _ap(hit, n_labels)
    assert losses.ap == pytest.approx(now, abs=1e-9)
    for k in range(len(hit)):
        if hit[k]:
            assert losses.if_absent[k] == losses.if_right[k] == 0
            continue
        assert losses.if_absent[k] == pytest.approx(_ap(np.delete(hit, k), n_labels) - now, abs=1e-9)
        if more:
            changed = hit.copy()
            changed[k] = True
            assert losses.if_right[k] == pytest.approx(_ap(changed, n_labels) - now, abs=1e-9)
    if more:
        assert losses.if_found == pytest.approx(_ap(np.insert(hit, 0, True), n_labels) - now, abs=1e-9)
    else:
        assert np.isnan(losses.if_found)


def test_costs_follow_the_official_recall_of_june() -> None:
    # 29 of 100 does not reach the level 0.29 in float32
    hit = np.arange(40) < 29
    assert dd.ap_losses(hit, 100, single=True).ap == pytest.approx(average_precision_0630(hit, 100), abs=1e-6)


def test_what_an_ap_loses_is_what_its_counts_count(results: list[RecordingResult]) -> None:
    scores = [r.scores for r in results]
    counts = count_errors(scores, threshold=0.5)
    for c in range(6):
        moments = dd.ap_moments(results, category_id=c, threshold=0.5)
        detections = moments.prediction >= 0
        # 2026-04-02 counts all detections, and keeps the 100 best per frame and class, more than there are here
        assert detections.sum() == counts.false_positives[:, c].sum()
        # every missed label is a moment of its own, or that of the detection that overlaps it too little
        labels = {(r, i) for r, i in zip(moments.recording, moments.label, strict=True) if i >= 0}
        assert (moments.kind[~detections] != dd.FALSE_POSITIVE).all()
        assert (~detections).sum() <= counts.missed[:, c].sum()
        assert len(labels) >= (~detections).sum()
        hurt = np.nan_to_num(moments.hurt)
        assert (np.diff(hurt) <= 0).all()
        assert (hurt >= 0).all()
        assert set(moments.category) <= {c}


def test_a_missed_label_is_listed_once() -> None:
    results = _results("2026-06-30")
    counts = count_errors([r.scores for r in results], threshold=0.5)
    for c in range(6):
        moments = dd.ap_moments(results, category_id=c, threshold=0.5)
        alone = moments.prediction < 0
        small = moments.kind == dd.SMALL_OVERLAP
        assert alone.sum() + small.sum() == counts.missed[:, c].sum()


def test_rows_rank_as_their_figures_do(results: list[RecordingResult]) -> None:
    n = sum(1 for figures in merge([r.scores for r in results]).per_class if figures.n_labels)
    one = dd.ap_moments(results, category_id=1)
    macro = dd.ap_moments(results, row="macro", category_id=1)
    np.testing.assert_allclose(macro.hurt, one.hurt / n, atol=1e-12)
    everything = dd.ap_moments(results, row="macro")
    assert len(everything) == sum(len(dd.ap_moments(results, category_id=c)) for c in range(13))
    assert len(dd.ap_moments(results, row="micro")) == len(everything)
    single = dd.ap_moments(results, category_id=1, threshold=0.75)
    assert len(single) <= len(one)


def test_the_mean_cost_is_the_mean_of_the_thresholds() -> None:
    results = _results("2026-06-30")
    mean = dd.ap_moments(results, category_id=2)
    by_index = {(r, i): h for r, i, h in zip(mean.recording, mean.prediction, mean.hurt, strict=True) if i >= 0}
    total = dict.fromkeys(by_index, 0.0)
    for threshold in THRESHOLDS["2026-06-30"]:
        part = dd.ap_moments(results, category_id=2, threshold=threshold)
        for r, i, h in zip(part.recording, part.prediction, part.hurt, strict=True):
            if i >= 0:
                total[r, i] += h / 3
    for key, value in by_index.items():
        assert value == pytest.approx(total[key], abs=1e-12)


def test_an_operating_point_counts_what_is_above_it(results: list[RecordingResult]) -> None:
    everything = dd.ap_moments(results, category_id=1, threshold=0.5)
    above = dd.ap_moments(results, category_id=1, threshold=0.5, min_score=0.6)
    detections = above.prediction >= 0
    assert (above.score[detections] >= 0.6).all()
    assert detections.sum() == (np.nan_to_num(everything.score, nan=-1) >= 0.6).sum()
    assert (~detections).sum() >= (everything.prediction < 0).sum()


def test_a_known_scene_is_told_in_words() -> None:
    labels = table([(0, 1, region(100, 90)), (1, 2, region(200, 90)), (2, 3, region(50, 90)), (3, 1, region(100, 90))])
    predictions = table(
        [(0, 1, region(100, 90)), (1, 1, region(200, 90)), (4, 1, region(10, 90)), (3, 1, region(107, 90))],
        scores=[0.9, 0.8, 0.7, 0.6],
    )
    results = [result_of_tables(labels, predictions, recording="scene", use_cache=False)]
    moments = dd.ap_moments(results, category_id=1, threshold=0.75)
    told = {
        int(f): dd.describe(int(k), int(o))
        for f, k, o in zip(moments.frame, moments.kind, moments.other_category, strict=True)
    }
    assert told == {1: "wrong class: label is Clapping", 4: "false positive", 3: "overlap too small"}
    missed = dd.ap_moments(results, category_id=2)
    assert [dd.describe(int(k), int(o)) for k, o in zip(missed.kind, missed.other_category, strict=True)] == [
        "taken for Male speech"
    ]
    assert [dd.KIND_NAMES[k] for k in dd.ap_moments(results, category_id=3).kind] == ["missed"]
    # AP of class 1 at 0.75: one hit of two labels, ranked first
    assert dd.ap_losses(np.array([True, False, False, False]), 2, single=True).ap == pytest.approx(51 / 101)
    cell = dd.confusion_moments(results, label_category=2, prediction_category=1)
    assert cell.frame.tolist() == [1]
    assert cell.hurt.tolist() == [0.8]


def test_loudest_of_the_missed_comes_first() -> None:
    quiet, loud = region(100, 90, peak=0.3), region(200, 90, peak=0.9)
    labels = table([(0, 1, quiet), (1, 1, loud)])
    predictions = table([(5, 1, region(20, 90))], scores=[0.5])
    results = [result_of_tables(labels, predictions, recording="x", use_cache=False)]
    moments = dd.ap_moments(results, category_id=1)
    missed = moments.take(moments.kind == dd.MISSED)
    assert missed.frame.tolist() == [1, 0]
    assert missed.value[0] == pytest.approx(loud[1].sum())


def test_lists_have_the_length_of_their_cells(results: list[RecordingResult]) -> None:
    evaluation = merge([r.scores for r in results])
    matrix = confusion_matrix([r.across for r in results])
    per_class, overall = pair_errors([r.within for r in results])
    for c in range(6):
        row = evaluation.per_class[c]
        assert len(dd.label_moments(results, category_id=c)) == row.n_labels
        assert len(dd.detection_moments(results, category_id=c)) == row.n_detections
        assert len(dd.pair_moments(results, "pearson_r", row="class", category_id=c)) == row.n_pairs
        assert len(dd.pair_moments(results, "angle_deg", row="class", category_id=c)) == per_class[c].n_pairs
        assert len(dd.pair_moments(results, "distance_cm", row="class", category_id=c)) == per_class[c].n_distances
        for d in range(6):
            cell = dd.confusion_moments(results, label_category=c, prediction_category=d)
            assert len(cell) == matrix[c, d]
        assert len(dd.confusion_moments(results, label_category=c, prediction_category=None)) == matrix[c, 13]
        assert len(dd.confusion_moments(results, label_category=None, prediction_category=c)) == matrix[13, c]
    assert len(dd.pair_moments(results, "distance_mape")) == overall.n_distances
    with pytest.raises(InputError):
        dd.confusion_moments(results, label_category=None, prediction_category=None)


def test_labels_know_whether_they_are_found() -> None:
    results = _results("2026-06-30")
    counts = count_errors([r.scores for r in results], threshold=0.5)
    moments = dd.label_moments(results, threshold=0.5)
    assert (moments.kind != dd.FOUND).sum() == counts.missed.sum()


def test_leaving_a_pair_out_changes_the_mean_by_its_cost(results: list[RecordingResult]) -> None:
    for measure, sign in (("pearson_r", 1), ("angle_deg", -1), ("distance_mape", -1)):
        moments = dd.pair_moments(results, measure)  # type: ignore[arg-type]
        without = np.delete(moments.value, 0).mean()
        assert sign * (without - moments.value.mean()) == pytest.approx(moments.hurt[0], abs=1e-9)
        assert moments.hurt[0] >= moments.hurt[-1]


def test_bins_of_scores_share_the_detections_out(results: list[RecordingResult]) -> None:
    edges = np.linspace(0, 1, 6)
    n = [len(dd.detection_moments(results, score_range=(a, b))) for a, b in pairwise(edges.tolist())]
    assert sum(n) == len(dd.detection_moments(results)) == sum(len(r.scores) for r in results)


def test_differences_are_what_only_one_finds() -> None:
    labels, better = made_up_recording(3, name="r")
    half = better.take(np.arange(len(better)) % 2 == 0)
    one, other = (result_of_tables(labels, p, recording="r", use_cache=False) for p in (better, half))
    moments = dd.difference_moments([one], [other], threshold=0.25)
    hits = [int(r.scores.detection_hit[:, 0].sum()) for r in (one, other)]
    first, second = ((moments.kind == k).sum() for k in (dd.ONLY_FIRST, dd.ONLY_SECOND))
    assert first - second == hits[0] - hits[1]
    assert first > 0
    assert not len(dd.difference_moments([one], [one]))
    assert not len(dd.difference_moments([one], []))


def test_stretches_join_neighbours_and_keep_the_total(results: list[RecordingResult]) -> None:
    moments = dd.ap_moments(results, row="macro")
    joined = dd.stretches(moments)
    assert len(joined) <= len(moments)
    assert np.nansum(joined.hurt) == pytest.approx(np.nansum(moments.hurt))
    assert (joined.last_frame >= joined.frame).all()
    assert not len(dd.stretches(moments.take(slice(0, 0))))
    hurt = np.nan_to_num(joined.hurt)
    assert (np.diff(hurt) <= 1e-15).all()


def test_nothing_gives_nothing_and_wrong_requests_are_told() -> None:
    assert not len(dd.ap_moments([], row="macro"))
    assert not len(dd.pair_moments([], "angle_deg"))
    assert not len(dd.label_moments([]))
    with pytest.raises(InputError, match="category_id"):
        dd.ap_moments([], row="class")
    with pytest.raises(InputError, match="category_id"):
        dd.ap_moments([], category_id=13)


def test_a_store_computes_each_recording_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from sai_core.annotations.writing import write_label_json, write_submission_json
    from sai_core.metrics.evaluation import score_store

    monkeypatch.setenv("SAI_CACHE_DIR", str(tmp_path / "cache"))
    labels, predictions = {}, {}
    for k in range(2):
        truth, guess = made_up_recording(k, n_frames=4, name=f"r{k}")
        labels[f"r{k}"], predictions[f"r{k}"] = tmp_path / f"r{k}_std.json", tmp_path / f"r{k}.json"
        write_label_json(truth, labels[f"r{k}"])
        write_submission_json(guess, predictions[f"r{k}"])
    calls: list[str] = []
    original = score_store.result_of_tables

    def counted(*tables: Any, **options: Any) -> RecordingResult:
        calls.append(options["recording"])
        return original(*tables, **options)

    monkeypatch.setattr(score_store, "result_of_tables", counted)
    store = ScoreStore()
    first = score_system(store, "mine", labels, predictions)
    assert sorted(calls) == ["r0", "r1"]
    assert score_system(store, "mine", labels, predictions).evaluation.to_json() == first.evaluation.to_json()
    again = score_system(ScoreStore(), "mine", labels, predictions)  # from disk
    assert len(calls) == 2
    assert again.evaluation.to_json() == first.evaluation.to_json()
    np.testing.assert_array_equal(again.results[0].label_energy, first.results[0].label_energy)
    np.testing.assert_array_equal(again.results[1].across.pair_angle_deg, first.results[1].across.pair_angle_deg)
    # one file changes: that recording alone is computed again
    write_submission_json(made_up_recording(7, n_frames=5, name="r1")[1], predictions["r1"])
    changed = score_system(store, "mine", labels, predictions)
    assert calls[2:] == ["r1"]
    assert changed.evaluation.to_json() != first.evaluation.to_json()
    # so it is where the new file has the old one's size and time
    before = predictions["r0"].stat()
    text = predictions["r0"].read_text()
    place = text.index('"score":0.') + 10
    predictions["r0"].write_text(text[:place] + ("9" if text[place] != "9" else "0") + text[place + 1 :])
    os.utime(predictions["r0"], ns=(before.st_atime_ns, before.st_mtime_ns))
    assert predictions["r0"].stat().st_size == before.st_size
    assert score_system(store, "mine", labels, predictions).evaluation.to_json() != changed.evaluation.to_json()
    assert calls[3:] == ["r0"]


def test_damaged_scores_are_computed_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rng: np.random.Generator
) -> None:
    from sai_core.annotations.writing import write_label_json, write_submission_json

    monkeypatch.setenv("SAI_CACHE_DIR", str(tmp_path / "cache"))
    truth, guess = made_up_recording(1, n_frames=4, name="r")
    labels, predictions = {"r": tmp_path / "r_std.json"}, {"r": tmp_path / "r.json"}
    write_label_json(truth, labels["r"])
    write_submission_json(guess, predictions["r"])

    def figures() -> tuple[object, object]:
        store = ScoreStore()
        system = score_system(store, "mine", labels, predictions)
        return system.evaluation.to_json(), class_agnostic_of_system(store, system, labels, predictions)

    expected = figures()
    paths = entries(tmp_path / "cache", "scores")
    assert len(paths) == 2
    for path in paths:
        for how in damage(path, rng):
            assert figures() == expected, how


def test_a_broken_file_leaves_the_other_recordings(tmp_path: Path) -> None:
    from sai_core.annotations.writing import write_label_json, write_submission_json

    truth, guess = made_up_recording(1, n_frames=3, name="r0")
    write_label_json(truth, tmp_path / "r0_std.json")
    write_submission_json(guess, tmp_path / "r0.json")
    (tmp_path / "r1.json").write_text("{")
    labels = dict.fromkeys(("r0", "r1", "r2"), tmp_path / "r0_std.json")
    system = score_system(
        ScoreStore(use_disk=False), "mine", labels, {"r0": tmp_path / "r0.json", "r1": tmp_path / "r1.json"}
    )
    assert system.recordings == ("r0",)
    assert len(system.problems) == 1
    assert "r1.json" in system.problems[0]
    assert isinstance(system, SystemResult)
    assert score_system(ScoreStore(use_disk=False), "none", {}, {}).evaluation.recordings == ()


def test_small_files_come_first_and_each_is_told_as_soon_as_it_is_known(tmp_path: Path) -> None:
    from sai_core.annotations.writing import write_label_json, write_submission_json

    labels, predictions = {}, {}
    for name, n_frames in (("a", 9), ("b", 2), ("c", 5)):
        truth, guess = made_up_recording(n_frames, n_frames=n_frames, name=name)
        labels[name], predictions[name] = tmp_path / f"{name}_std.json", tmp_path / f"{name}.json"
        write_label_json(truth, labels[name])
        write_submission_json(guess, predictions[name])
    labels["d"], predictions["d"] = labels["b"], tmp_path / "d.json"
    predictions["d"].write_text("{")
    told: list[str] = []
    system = score_system(
        ScoreStore(use_disk=False), "mine", labels, predictions, on_result=lambda result: told.append(result.recording)
    )
    assert told == ["d", "b", "c", "a"]
    assert system.recordings == ("a", "b", "c")
    assert [f.recording for f in system.failures] == ["d"]
    assert "1 of 4 recordings could not be scored" in system.evaluation.warnings[0]
    assert system.evaluation.to_json()["failures"][0]["recording"] == "d"
