"""Sweeps, curves and the search for thresholds."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from sai_core.errors import CancelledError, InputError
from sai_core.metrics import merge, precision_recall_curve
from sai_core.metrics.evaluation.discovery import find_labels
from sai_core.postprocess import PipelineSettings
from sai_core.tuning import (
    TuningSet,
    find_raw_sets,
    heat_map,
    open_raw_set,
    precision_recall_curves,
    search_thresholds,
)
from sai_core.tuning.search import OBJECTIVES, Objective


@pytest.fixture(scope="module")
def bench(stand_in_root: Path) -> TuningSet:
    [one] = find_raw_sets([stand_in_root / "predictions"])
    return open_raw_set(one.stores, find_labels(stand_in_root / "labels_dev"))


SCORES = (0.1, 0.3, 0.5, 0.7)


def test_heat_map_holds_full_evaluations(bench: TuningSet) -> None:
    settings = PipelineSettings(min_score=0.42, nms_iou=0.35)
    seen: list[float] = []
    heat = heat_map(bench, settings, min_scores=(0.2, 0.6), nms_ious=(0.1,), progress=lambda f, _: seen.append(f))
    assert heat.min_scores == (0.2, 0.42, 0.6)
    assert heat.nms_ious == (0.1, 0.35)
    for row, nms in enumerate(heat.nms_ious):
        for column, score in enumerate(heat.min_scores):
            one = bench.evaluate(replace(settings, min_score=score, nms_iou=nms))
            assert heat.macro_map[row, column] == one.evaluation.macro.mean_ap
            assert heat.micro_map[row, column] == one.evaluation.micro.mean_ap
            assert heat.n_detections[row, column] == one.n_detections
    # a higher threshold keeps fewer
    assert np.all(np.diff(heat.n_detections, axis=1) <= 0)
    assert seen == sorted(seen)
    assert seen[-1] == 1.0


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_thresholds_are_the_best_of_those_tried(bench: TuningSet, objective: Objective) -> None:
    settings = PipelineSettings()
    found = search_thresholds(bench, settings, objective=objective, seed=3, min_scores=SCORES)
    assert set(found.searched.names) | set(found.held_out.names) == {r.name for r in bench.recordings}
    assert not set(found.searched.names) & set(found.held_out.names)
    assert not found.by_time
    searched = [bench.recording(name) for name in found.searched.names]
    assert set(found.thresholds) == {c for r in searched for c in np.unique(r.labels.category_id).tolist()}
    assert set(found.thresholds.values()) <= {*SCORES, settings.min_score}
    # what the parts report is what their recordings give with the thresholds
    for part in (found.searched, found.held_out):
        for tried, evaluation in ((settings, part.before), (found.settings, part.after)):
            again = merge([bench.recording(name).scores(tried) for name in part.names])
            assert again.macro == evaluation.macro
    if objective == "mAP":
        assert found.searched.after.macro.mean_ap >= found.searched.before.macro.mean_ap
        # exhaustively, for one class: nothing that was tried is better, and nothing higher as good
        c, chosen = next(iter(found.thresholds.items()))
        values = {}
        for t in sorted({*SCORES, settings.min_score}):
            one = replace(settings, min_score_per_class={c: t})
            values[t] = merge([r.scores(one) for r in searched]).per_class[c].mean_ap
        assert values[chosen] == max(values.values())
        assert all(v < values[chosen] for t, v in values.items() if t > chosen)


def test_search_is_repeatable_and_depends_on_the_seed(bench: TuningSet) -> None:
    first, again = (search_thresholds(bench, PipelineSettings(), seed=1, min_scores=SCORES) for _ in range(2))
    assert first.thresholds == again.thresholds
    assert first.searched.names == again.searched.names
    others = {search_thresholds(bench, PipelineSettings(), seed=s, min_scores=(0.5,)).searched.names for s in range(6)}
    assert len(others) > 1


def test_one_recording_is_cut_in_time(bench: TuningSet) -> None:
    alone = TuningSet([bench.recordings[0]])
    found = search_thresholds(alone, PipelineSettings(), min_scores=SCORES)
    assert found.by_time
    assert found.searched.names == ("fold4_room23_mix001, frames 0 to 19",)
    assert found.held_out.names == ("fold4_room23_mix001, frames 20 to 39",)
    whole = alone.evaluate(PipelineSettings()).evaluation.micro
    halves = [part.before.micro for part in (found.searched, found.held_out)]
    assert sum(h.n_labels for h in halves) == whole.n_labels
    assert sum(h.n_detections for h in halves) == whole.n_detections


def test_search_can_be_cancelled_and_refuses_nonsense(bench: TuningSet) -> None:
    def stop(fraction: float, message: str) -> None:
        raise CancelledError("enough")

    with pytest.raises(CancelledError):
        search_thresholds(bench, PipelineSettings(), progress=stop)
    with pytest.raises(InputError, match="objective"):
        search_thresholds(bench, PipelineSettings(), objective="best")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="from 0 to 1"):
        heat_map(bench, PipelineSettings(), min_scores=(1.5,))


@pytest.mark.parametrize("threshold", [0.25, 0.5, 0.75])
def test_curves_are_those_of_the_metrics(bench: TuningSet, threshold: float) -> None:
    scores = bench.evaluate(PipelineSettings(min_score=0.05)).scores
    curves = precision_recall_curves(scores, threshold=threshold)
    labelled = np.flatnonzero(np.sum([s.n_labels for s in scores], axis=0))
    assert [c.category_id for c in curves] == labelled.tolist()
    for curve in curves:
        whole = precision_recall_curve(scores, threshold=threshold, category_id=curve.category_id)
        assert curve.n_labels == whole.n_labels
        assert np.all(np.diff(curve.score) < 0)
        for t in (0.0, 0.3, 0.55, 1.0):
            kept = int((whole.score >= t).sum())
            expected = (whole.recall[kept - 1], whole.precision[kept - 1]) if kept else (0.0, 1.0)
            assert curve.at(t) == pytest.approx(expected, abs=0)


def test_curves_without_anything() -> None:
    assert precision_recall_curves([]) == []
    with pytest.raises(InputError, match="choose one of"):
        precision_recall_curves([], threshold=0.6)


def test_recall_rises_and_nothing_is_undefined(bench: TuningSet) -> None:
    for curve in precision_recall_curves(bench.evaluate(PipelineSettings(min_score=0.05)).scores, threshold=0.25):
        assert np.all(np.diff(curve.recall) >= 0)
        assert np.isfinite(curve.precision).all()
        assert math.isfinite(curve.at(0.5)[0])
