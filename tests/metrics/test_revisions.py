"""The four revisions of the evaluator: what they share, where they differ, and which published figures are of which."""

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
from sai_core.metrics import (
    REVISIONS,
    SOFT_REVISIONS,
    THRESHOLDS,
    Evaluation,
    Figures,
    RecordingScores,
    Revision,
    as_revision,
    bootstrap,
    evaluate,
    evaluate_revisions,
    merge,
    score_recording,
)
from sai_core.metrics.evaluation.score_store import ScoreStore
from sai_core.metrics.official.published import PUBLISHED, published_rows
from sai_core.metrics.reading.report import evaluation_table
from sai_core.metrics.reading.tables import systems_table, table_columns
from tests.metrics.helpers import AP_ATOL, FIXTURES, ORACLE, expected, made_up_recording, oracle_pair, table

SEQUENCES = tuple(f"pub_mix00{k}" for k in range(1, 7))


def _bits(evaluation: Evaluation) -> str:
    return json.dumps(evaluation.to_json())


@pytest.fixture(scope="module")
def scores() -> list[RecordingScores]:
    pairs = [made_up_recording(20 + k, n_frames=8, name=f"r{k}") for k in range(4)]
    # class 3 is labelled and never predicted
    pairs = [(labels, predictions.take(np.flatnonzero(predictions.category_id != 3))) for labels, predictions in pairs]
    assert any((labels.category_id == 3).any() for labels, _ in pairs)
    return [score_recording(*pair, use_cache=False) for pair in pairs]


@pytest.mark.oracle
@pytest.mark.skipif(not ORACLE.is_dir(), reason="the official results are not on this machine")
def test_the_revision_of_may_agrees_with_the_official_figures() -> None:
    pairs = {name: oracle_pair("public", name) for name in SEQUENCES}
    official = expected("public")
    sets = {"set": SEQUENCES, **{name: (name,) for name in SEQUENCES}}
    for which, names in sets.items():
        figures = official["set"] if which == "set" else official["sequences"][which]
        june, may = evaluate_revisions(
            {n: pairs[n][0] for n in names}, {n: pairs[n][1] for n in names}, ("2026-06-30", "2026-05-28")
        )
        for key in ("mAP", "AP25", "AP50", "AP75"):
            assert may.to_json()["macro"][key] == pytest.approx(figures["0528"][f"macro_{key}"], abs=AP_ATOL)
        # everything but the macro mean is that of June
        assert may.to_json()["micro"] == june.to_json()["micro"]
        assert may.macro.pearson_r == june.macro.pearson_r


@pytest.mark.parametrize("revision", SOFT_REVISIONS)
def test_one_matching_serves_all_soft_revisions(revision: Revision) -> None:
    labels, predictions = made_up_recording(7, n_frames=6)
    june = score_recording(labels, predictions, use_cache=False)
    own = score_recording(labels, predictions, revision=revision, use_cache=False)
    other = as_revision(june, revision)
    assert other.revision == own.revision == revision
    np.testing.assert_array_equal(other.detection_hit, own.detection_hit)
    assert other.detection_hit.shape[1] == len(THRESHOLDS[revision])
    assert as_revision(other, "2026-06-30").detection_hit.tolist() == june.detection_hit.tolist()


def test_masks_of_april_are_another_matching() -> None:
    labels, predictions = made_up_recording(7, n_frames=2)
    april = score_recording(labels, predictions, revision="2026-04-02")
    with pytest.raises(InputError, match="score again"):
        as_revision(april, "2026-05-28")
    with pytest.raises(InputError, match="score again"):
        as_revision(score_recording(labels, predictions, use_cache=False), "2026-04-02")


@pytest.mark.parametrize("revision", ["2026-05-28", "2026-05-18"])
def test_a_class_without_detections_is_left_out(scores: list[RecordingScores], revision: Revision) -> None:
    june = merge(scores)
    may = merge([as_revision(s, revision) for s in scores])
    assert june.per_class[3].mean_ap == 0
    assert math.isnan(may.per_class[3].mean_ap)
    defined = [c for c in range(13) if june.per_class[c].n_labels and june.per_class[c].n_detections]
    assert defined == [c for c in range(13) if not math.isnan(may.per_class[c].mean_ap)]
    assert may.macro.mean_ap == pytest.approx(np.mean([may.per_class[c].mean_ap for c in defined]), abs=1e-12)
    at_half = [may.thresholds.index(0.5), june.thresholds.index(0.5)]
    assert [may.per_class[c].ap[at_half[0]] for c in defined] == [june.per_class[c].ap[at_half[1]] for c in defined]
    assert may.macro.ap[at_half[0]] > june.macro.ap[at_half[1]]
    assert may.micro.ap[at_half[0]] == june.micro.ap[at_half[1]]


def test_with_no_detection_at_all_may_is_undefined_and_june_is_0() -> None:
    labels, predictions = made_up_recording(3, n_frames=3)
    nothing = predictions.take([])
    by = dict(
        zip(REVISIONS, evaluate_revisions({"a": labels}, {"a": nothing}, REVISIONS, use_cache=False), strict=True)
    )
    assert by["2026-06-30"].macro.mean_ap == by["2026-06-30"].micro.mean_ap == 0
    for revision in ("2026-05-28", "2026-05-18", "2026-04-02"):
        assert math.isnan(by[revision].macro.mean_ap)
        assert math.isnan(by[revision].micro.mean_ap)
        assert "-" in evaluation_table(by[revision])


def test_several_revisions_are_each_one_by_itself() -> None:
    pairs = {f"r{k}": made_up_recording(60 + k, n_frames=4, name=f"r{k}") for k in range(2)}
    labels, predictions = ({n: p[side] for n, p in pairs.items()} for side in (0, 1))
    together = evaluate_revisions(labels, predictions, REVISIONS, use_cache=False)
    for revision, evaluation in zip(REVISIONS, together, strict=True):
        assert _bits(evaluation) == _bits(evaluate(labels, predictions, revision=revision, use_cache=False))
    with pytest.raises(InputError, match="Unknown revision"):
        evaluate_revisions(labels, predictions, ("2026-06-30", "2026-07-01"))  # type: ignore[arg-type]


@pytest.mark.parametrize("revision", REVISIONS)
def test_an_empty_set_keeps_its_revision(revision: Revision) -> None:
    evaluation = evaluate({}, {}, revision=revision)
    assert evaluation.revision == revision
    assert evaluation.thresholds == THRESHOLDS[revision]
    assert len(evaluation.macro.ap) == len(evaluation.thresholds)
    json.dumps(evaluation.to_json(), allow_nan=False)


@given(st.integers(0, 2**31 - 1))
def test_intervals_leave_out_what_the_figures_leave_out(seed: int) -> None:
    labels = table([(0, 1, (np.array([[10, 10], [12, 10], [10, 14]]), np.ones(3)))], name="a")
    other = table([(0, 2, (np.array([[90, 60], [94, 60], [90, 66]]), np.ones(3)))], name="b")
    scores = [
        score_recording(labels, replace(labels, score=np.array([0.5])), use_cache=False),
        score_recording(other, other.take([]), use_cache=False),
    ]
    june = bootstrap(scores, n=8, seed=seed)
    may = bootstrap([as_revision(s, "2026-05-28") for s in scores], n=8, seed=seed)
    assert may.evaluation.macro.mean_ap == pytest.approx(1, abs=1e-6)
    assert june.evaluation.macro.mean_ap == pytest.approx(0.5, abs=1e-6)
    # only recording "b" drawn: 0 by June, undefined by May; anything with "a" is right by May
    macro = may.macro[:, len(THRESHOLDS["2026-05-28"])]
    np.testing.assert_allclose(macro[~np.isnan(macro)], 1, atol=1e-6)
    np.testing.assert_array_equal(np.isnan(macro), june.macro[:, len(THRESHOLDS["2026-06-30"])] == 0)


def test_the_store_scores_once_for_all_soft_revisions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SAI_CACHE_DIR", str(tmp_path / "cache"))
    store = ScoreStore()
    paths = (FIXTURES / "seam_std.json.gz", FIXTURES / "seam.json.gz")
    results = [store.result(*paths, recording="seam", revision=r) for r in SOFT_REVISIONS]
    assert [r.scores.revision for r in results] == list(SOFT_REVISIONS)
    assert len({id(r.across) for r in results}) == 1
    agnostic = [store.class_agnostic(*paths, recording="seam", revision=r) for r in SOFT_REVISIONS]
    assert [s.detection_hit.shape[1] for s in agnostic] == [3, 3, 10]


def test_all_revisions_on_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "all.json"
    arguments = ["--labels", str(FIXTURES / "seam_std.json.gz"), "--predictions", str(FIXTURES / "seam.json.gz")]
    assert main(["evaluate", *arguments, "--revision", "all", "--json", str(out)]) == 0
    printed = capsys.readouterr().out
    figures = json.loads(out.read_text())
    assert [f["revision"] for f in figures] == list(REVISIONS)
    assert all(f"revision {r}" in printed for r in REVISIONS)
    june, may, early, _ = figures
    assert set(may["macro"]) == set(june["macro"]) == {"mAP", "AP25", "AP50", "AP75", "pearson_r"}
    assert set(early["macro"]) == {"mAP", "AP50", "AP75", "AP", "pearson_r"}
    assert list(early["per_class"]["0"]["AP"]) == [f"{t:.2f}" for t in THRESHOLDS["2026-05-18"]]
    assert early["micro"]["AP"]["0.50"] == early["micro"]["AP50"]
    for revision in REVISIONS:
        assert main(["evaluate", *arguments, "--revision", revision, "--json", str(out), "--quiet"]) == 0
        assert json.loads(out.read_text()) == figures[REVISIONS.index(revision)]


def test_published_rows_are_those_of_one_revision_unless_all_are_asked_for() -> None:
    assert [r.system for r in published_rows("B", "2026-05-28")] == ["Baseline", "TPAV", "ERAV", "CFAV"]
    assert published_rows("B", "2026-06-30") == published_rows("A", "2026-05-18") == ()
    assert [r.system for r in published_rows("A", "2026-06-30")] == ["SAID, PaSST", "SAID, AudioMAE", "SAID, task3a_2"]
    assert [r.figures for r in published_rows("A", "2026-04-02")] == [{"macro_mAP": 0.12015}, {"macro_mAP": 0.11344}]
    assert all(row.inferred == ("technical report" in row.source) for row in PUBLISHED)
    one = systems_table([], revision="2026-06-30", track="A")
    every = systems_table([], revision="2026-06-30", track="A", all_revisions=True)
    assert set(one.rows) < set(every.rows)
    assert "FAO, by 2026-05-28" in every.rows
    assert "not comparable" in every.note
    assert "not comparable" not in one.note
    assert "does not name its evaluator" in systems_table([], revision="2026-05-28", track="B").note


def test_cfav_is_possible_by_may_and_not_by_june() -> None:
    """One class with pairs: at most 1/13 of the macro mean by June, any figure by May."""
    row = next(r for r in PUBLISHED if r.system == "CFAV")
    assert row.figures["macro_mAP"] > 1 / 13
    assert row.figures["macro_pearson_r"] == row.figures["micro_pearson_r"]
    labels, predictions = made_up_recording(5, n_frames=10)
    alone = predictions.take(np.flatnonzero(predictions.category_id == predictions.category_id[0]))
    june, may = evaluate_revisions({"a": labels}, {"a": alone}, ("2026-06-30", "2026-05-28"), use_cache=False)
    n_classes = sum(r.n_labels > 0 for r in june.per_class)
    assert june.macro.mean_ap <= 1 / n_classes + 1e-6
    assert may.macro.mean_ap == pytest.approx(june.macro.mean_ap * n_classes, abs=1e-6)
    assert may.macro.pearson_r == pytest.approx(may.micro.pearson_r)


@pytest.mark.parametrize("revision", REVISIONS)
def test_tables_have_the_columns_of_their_revision(revision: Revision) -> None:
    titles = [c.title for c in table_columns("B", revision)]
    assert ("AP25" in titles) == (revision in ("2026-06-30", "2026-05-28"))
    row = Figures("x", 0, 0, 0, 0, (math.nan,) * len(THRESHOLDS[revision]), math.nan, math.nan, math.nan)
    shown = Evaluation(revision, THRESHOLDS[revision], (), row, row, ()).ap_at(row)
    assert len(shown) <= 3
    assert "AP50" in shown
