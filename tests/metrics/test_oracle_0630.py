"""Revision 2026-06-30 against the official results."""

from __future__ import annotations

import gzip
import json
from typing import Any

import numpy as np
import pytest

from sai_core.errors import InputError
from sai_core.metrics import THRESHOLDS, evaluate, render_table_0630, tie_range
from sai_core.metrics.evaluation.evaluate import score_recordings
from sai_core.metrics.official.pairing_0630 import assign_pairs, candidate_pairs, group_keys, soft_iou
from tests.metrics.helpers import (
    AP_ATOL,
    EDGE_CASES,
    FIGURE_ATOL,
    ORACLE,
    TIED_CASES,
    assert_agrees_0630,
    expected,
    oracle_pair,
)

pytestmark = pytest.mark.oracle

SEQUENCES = tuple(f"pub_mix00{k}" for k in range(1, 7))


@pytest.fixture(scope="module")
def public() -> dict[str, Any]:
    return {name: oracle_pair("public", name) for name in SEQUENCES}


def test_public_set_agrees_in_every_figure(public: dict[str, Any]) -> None:
    labels = {name: pair[0] for name, pair in public.items()}
    predictions = {name: pair[1] for name, pair in public.items()}
    evaluation = evaluate(labels, predictions)
    assert_agrees_0630(evaluation.to_json(), expected("public")["set"]["0630"])
    assert evaluation.warnings == ()
    assert evaluation.recordings == SEQUENCES
    json.dumps(evaluation.to_json(), allow_nan=False)


@pytest.mark.parametrize("name", SEQUENCES)
def test_each_sequence_agrees_in_every_figure(public: dict[str, Any], name: str) -> None:
    labels, predictions = public[name]
    evaluation = evaluate({name: labels}, {name: predictions})
    assert_agrees_0630(evaluation.to_json(), expected("public")["sequences"][name]["0630"])


@pytest.mark.parametrize("name", SEQUENCES)
def test_maps_ious_and_pairs_agree_with_the_details(public: dict[str, Any], name: str) -> None:
    with gzip.open(ORACLE / "public_details_0630.json.gz") as stream:
        details = json.load(stream)[name]
    labels, predictions = public[name]
    maps = [render_table_0630(t) for t in (predictions, labels)]
    for side, sparse in zip(("pred", "gt"), maps, strict=True):
        np.testing.assert_array_equal(np.diff(sparse.offsets), details[f"{side}_canvas_nonzero"])
        # painted maps are float32 in the official code, and were summed so
        difference = np.abs(sparse.sums - details[f"{side}_canvas_sum"])
        assert difference[~sparse.painted].max() < FIGURE_ATOL
        assert difference.max() < 1e-6
    index_prediction, index_label = candidate_pairs(group_keys(labels), group_keys(predictions))
    iou = soft_iou(maps[0], maps[1], index_prediction, index_label)
    ours = {(p, g): v for p, g, v in zip(index_prediction, index_label, iou, strict=True)}
    pairs = assign_pairs(maps[1], maps[0], group_keys(labels), group_keys(predictions))
    assigned = {(p, g): r for p, g, r in zip(pairs.prediction, pairs.label, pairs.pearson, strict=True)}
    official_pairs = {}
    for bucket in details["buckets"]:
        for p, row in zip(bucket["pred"], bucket["iou"], strict=True):
            for g, value in zip(bucket["gt"], row, strict=True):
                assert ours.pop((p, g)) == value  # float32 in both: equal, not close
        official_pairs.update({(p, g): r for p, g, r in bucket["pairs"]})
    assert not ours
    assert assigned.keys() == official_pairs.keys()
    for pair, official in official_pairs.items():
        mine = assigned[pair]
        assert np.isnan(mine) if official is None else abs(mine - official) < FIGURE_ATOL


@pytest.mark.parametrize("case", [c for c in EDGE_CASES if c != "out_of_range_coord"])
def test_edge_cases_agree(case: str) -> None:
    labels, predictions = oracle_pair("edge", case)
    official = expected("edge")["cases"][case]["0630"]
    evaluation = evaluate({case: labels}, {case: predictions})
    # with equal scores the official AP is that of one of many orders
    assert_agrees_0630(evaluation.to_json(), official, check_ap=case != "all_scores_tied")
    if case in TIED_CASES:
        low, high = tie_range(score_recordings({case: labels}, {case: predictions}))
        assert low - AP_ATOL <= official["macro_mAP"] <= high + AP_ATOL
        assert low <= evaluation.macro.mean_ap <= high


def test_ties_that_matter_are_told_with_the_range() -> None:
    labels, predictions = oracle_pair("edge", "all_scores_tied")
    evaluation = evaluate({"a": labels}, {"a": predictions})
    low, high = tie_range(score_recordings({"a": labels}, {"a": predictions}))
    assert low < high
    assert len(evaluation.warnings) == 1
    assert f"{low:.6f}" in evaluation.warnings[0]
    assert f"{high:.6f}" in evaluation.warnings[0]


def test_coordinates_outside_the_canvas_are_refused_from_file_and_from_table() -> None:
    files = {"out_of_range_coord": ORACLE / "edge" / "out_of_range_coord" / "out_of_range_coord.json.gz"}
    labels, predictions = oracle_pair("edge", "out_of_range_coord", check_canvas=False)
    with pytest.raises(InputError, match=r"out_of_range_coord.*360\.5"):
        evaluate({"out_of_range_coord": labels}, files)
    with pytest.raises(InputError, match=r"annotation 0, x is 360\.5"):
        evaluate({"out_of_range_coord": labels}, {"out_of_range_coord": predictions})


def test_files_and_tables_give_the_same(public: dict[str, Any]) -> None:
    name = SEQUENCES[4]
    labels, predictions = public[name]
    from_tables = evaluate({name: labels}, {name: predictions})
    from_files = evaluate(
        {name: ORACLE / "public" / f"{name}_std.json.gz"}, {name: ORACLE / "public" / f"{name}.json.gz"}
    )
    assert from_files.to_json() == from_tables.to_json()
    assert from_tables.thresholds == THRESHOLDS["2026-06-30"]
