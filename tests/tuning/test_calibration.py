"""Calibration: the curves, what they leave alone, and the fit that is reported where it was not made."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sai_core.cli import main
from sai_core.errors import InputError
from sai_core.metrics import merge
from sai_core.metrics.evaluation.discovery import find_labels
from sai_core.metrics.reading.calibration import reliability_curve
from sai_core.postprocess import PipelineSettings, load_system
from sai_core.postprocess.calibration import calibrated, uncalibrated
from sai_core.tuning import TuningSet, find_raw_sets, fit_calibration, open_raw_set
from sai_core.tuning.calibration import METHODS, Method, _f1, _knots, _samples, _temperature


@pytest.fixture(scope="module")
def bench(stand_in_root: Path) -> TuningSet:
    [one] = find_raw_sets([stand_in_root / "predictions"])
    return open_raw_set(one.stores, find_labels(stand_in_root / "labels_dev"))


knots = st.lists(
    st.tuples(st.integers(1, 999), st.integers(1, 999)),
    min_size=1,
    max_size=8,
    unique_by=(lambda k: k[0], lambda k: k[1]),
).map(lambda pairs: [(a / 1000, b / 1000) for a, b in zip(*map(sorted, zip(*pairs, strict=True)), strict=True)])
scores = st.lists(st.floats(0, 1), min_size=1, max_size=20)


@given(scores, st.floats(0.1, 10), knots)
def test_curves_keep_the_order_and_lead_back(values: list[float], temperature: float, curve: list[tuple[float, float]]):
    score, category = np.array(values), np.arange(len(values)) % 3
    found = calibrated(score, category, temperature={0: temperature}, isotonic={1: curve})
    for c in range(3):
        own = np.argsort(score[category == c], kind="stable")
        assert (np.diff(found[category == c][own]) >= 0).all()
    assert ((found >= 0) & (found <= 1)).all()
    # class 2 has no curve, and a temperature of 1 is none
    assert np.array_equal(found[category == 2], score[category == 2])
    assert np.array_equal(calibrated(score, category, temperature={0: 1.0, 1: 1.0}, isotonic={}), score)
    for s in (0.0, 0.2, 0.5, 0.9, 1.0):
        for c in range(3):
            [there] = calibrated([s], np.array([c]), temperature={0: temperature}, isotonic={1: curve})
            assert uncalibrated(there, c, temperature={0: temperature}, isotonic={1: curve}) == pytest.approx(
                s, abs=1e-6
            )


def test_a_temperature_divides_the_logit() -> None:
    found = calibrated([0.0, 0.3, 0.8, 1.0], np.full(4, 5), temperature={5: 2.5}, isotonic={})
    expected = [1 / (1 + math.exp(-math.log(p / (1 - p)) / 2.5)) for p in (0.3, 0.8)]
    assert found.tolist() == pytest.approx([0.0, *expected, 1.0])


def test_the_fit_finds_what_the_outcomes_were_drawn_with() -> None:
    rng = np.random.default_rng(0)
    score = rng.uniform(0.02, 0.98, 20_000)
    logit = np.log(score / (1 - score))
    assert _temperature(score, rng.random(20_000) < 1 / (1 + np.exp(-logit / 3))) == pytest.approx(3, rel=0.06)
    curve = _knots(score, rng.random(20_000) < score**2)
    for x, y in curve:
        assert y == pytest.approx(x**2, abs=0.03)
    # no step may tie what is ordered: strictly rising, whatever the outcomes
    for hit in (np.zeros(400, np.bool_), np.ones(400, np.bool_), rng.random(400) < 0.5):
        PipelineSettings(isotonic={0: _knots(rng.random(400), hit)})


@pytest.mark.parametrize("method", METHODS)
def test_a_fit_keeps_what_is_kept_and_the_ap_of_each_class(bench: TuningSet, method: Method) -> None:
    settings = PipelineSettings(min_score=0.1)
    found = fit_calibration(bench, settings, method=method, iou=0.25, seed=2, n_resamples=50)
    assert set(found.fitted.names) | set(found.held_out.names) == {r.name for r in bench.recordings}
    assert not set(found.fitted.names) & set(found.held_out.names)
    before, after = bench.evaluate(settings), bench.evaluate(found.settings)
    for a, b in zip(before.scores, after.scores, strict=True):
        assert np.array_equal(a.detection_iou, b.detection_iou)
        assert np.array_equal(a.n_detections, b.n_detections)
        assert not np.array_equal(a.detection_score, b.detection_score)
    for old, new in zip(before.evaluation.per_class, after.evaluation.per_class, strict=True):
        # scores are written with six decimals, so that two may become one
        assert new.mean_ap == pytest.approx(old.mean_ap, abs=2e-3, nan_ok=True)
    for half in (found.fitted, found.held_out):
        of_half = [bench.recording(name) for name in half.names]
        for scored, key in ((settings, "before"), (found.settings, "after")):
            again = [r.scores(scored) for r in of_half]
            curve = reliability_curve(again, threshold=0.25)
            for name, value in (
                ("ece", curve.expected_error),
                ("brier", curve.brier),
                ("macro_map", merge(again).macro.mean_ap),
                ("micro_map", merge(again).micro.mean_ap),
            ):
                assert getattr(half.changes[name], key)[0] == pytest.approx(value, abs=1e-12)
    ece = found.fitted.changes["ece"]
    assert ece.after[0] < ece.before[0]
    # the same again is the same; a calibration that is there already is replaced, not put on top
    once_more = fit_calibration(bench, found.settings, method=method, iou=0.25, seed=2, n_resamples=50)
    assert once_more.settings == found.settings
    assert once_more.to_json() == found.to_json()


def test_intervals_are_of_recordings_drawn_together(bench: TuningSet) -> None:
    """A drawn set's figures, against the recordings counted out one by one."""
    of_set = bench.evaluate(PipelineSettings(min_score=0.1)).scores
    weights = np.array([[2.0, 0.0, 1.0], [1.0, 1.0, 1.0]])
    found = _samples(of_set, weights, 0, 0.3, 1, 0)
    drawn = [
        [
            replace(s, recording=f"{s.recording} {copy}")
            for s, n in zip(of_set, row, strict=True)
            for copy in range(int(n))
        ]
        for row in weights
    ]
    for row, several in enumerate(drawn):
        curve = reliability_curve(several, threshold=0.25)
        assert found["ece"][row] == pytest.approx(curve.expected_error)
        assert found["brier"][row] == pytest.approx(curve.brier)
        each = [reliability_curve(several, threshold=0.25, category_id=c).expected_error for c in range(13)]
        assert found["class_ece"][row] == pytest.approx(np.nanmean(each))
        f1 = []
        for c in range(13):
            labels = sum(s.n_labels[c] for s in several)
            chosen = [(s.detection_category == c) & (s.detection_score >= 0.3) for s in several]
            right = sum(s.detection_hit[k, 0].sum() for s, k in zip(several, chosen, strict=True))
            if labels:
                f1.append(2 * right / (labels + sum(k.sum() for k in chosen)))
        assert found["f1"][row] == pytest.approx(np.mean(f1))
    assert math.isnan(_f1(np.zeros(13), np.ones(13), np.zeros(13)))


def test_one_recording_has_no_intervals(bench: TuningSet) -> None:
    found = fit_calibration(TuningSet(bench.recordings[:1]), PipelineSettings(min_score=0.1), iou=0.25, n_resamples=5)
    assert found.by_time
    assert all(math.isnan(change.difference[1]) for change in found.held_out.changes.values())
    assert "too few recordings" in found.sentence()


def test_refusals(bench: TuningSet) -> None:
    with pytest.raises(InputError, match="choose temperature or isotonic"):
        fit_calibration(bench, PipelineSettings(), method="platt")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="IoU thresholds"):
        fit_calibration(bench, PipelineSettings(), iou=0.4)
    with pytest.raises(InputError, match="nothing to calibrate"):
        fit_calibration(bench, PipelineSettings(min_score=1.0))
    for wrong, words in (
        ({"isotonic": {3: [[0.5, 0.4], [0.4, 0.5]]}}, "isotonic of 3: scores and precisions must rise"),
        ({"isotonic": {3: [[0.5, 1.0]]}}, "between 0 and 1"),
        ({"isotonic": {3: [[0.5, 0.4]]}, "temperature": {3: 2}}, "takes one of the two"),
        ({"temperature": {3: 0}}, "temperature of 3 is 0"),
    ):
        with pytest.raises(InputError, match=words):
            PipelineSettings(**wrong)


def test_the_verb_saves_a_system(stand_in_root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "sure.toml"
    call = ["calibrate", "--labels", str(stand_in_root / "labels_dev"), "--iou", "0.25", "--resamples", "20"]
    call += ["--raw", str(stand_in_root / "predictions/stand-in-raw"), "--out", str(out)]
    assert main([*call, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    stored = load_system(out).settings.to_dict()
    assert (stored["isotonic"], stored["temperature"]) == (told["isotonic"], {})
    assert set(told["held_out"]["names"]).isdisjoint(told["fitted"]["names"])
    assert main([*call, "--method", "temperature"]) == 0
    text = capsys.readouterr().out
    assert "held out: 1 recording · revision 2026-06-30" in text
    assert "Expected calibration error" in text
    assert load_system(out).settings.isotonic == {}
