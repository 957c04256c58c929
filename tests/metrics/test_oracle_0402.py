"""Revision 2026-04-02 against the official results."""

from __future__ import annotations

import json
from typing import Any

import pytest

from sai_core.metrics import Evaluation, evaluate, merge, score_recordings
from tests.metrics.helpers import EDGE_CASES, assert_agrees_0402, expected, oracle_pair

pytestmark = pytest.mark.oracle

SEQUENCES = tuple(f"pub_mix00{k}" for k in range(1, 7))


def _counts(evaluation: Evaluation) -> list[int]:
    micro = evaluation.micro
    return [micro.n_pairs, micro.n_distance_pairs, micro.n_labels, micro.n_detections]


def _official_counts(official: dict[str, Any]) -> list[int]:
    return [official[key] for key in ("pearson_n", "distance_n", "n_gt_valid", "n_det_valid")]


@pytest.mark.slow
def test_public_set_and_each_sequence_agree_in_every_figure() -> None:
    pairs = {name: oracle_pair("public", name) for name in SEQUENCES}
    official = expected("public")
    # what evaluate does, with the scores of a recording made once for the set and for itself
    scores = score_recordings(
        {name: pair[0] for name, pair in pairs.items()},
        {name: pair[1] for name, pair in pairs.items()},
        revision="2026-04-02",
    )
    whole = merge(scores)
    assert_agrees_0402(whole.to_json(), official["set"]["0402"])
    assert _counts(whole) == _official_counts(official["set"]["0402"])
    assert whole.warnings == ()
    json.dumps(whole.to_json(), allow_nan=False)
    assert tuple(s.recording for s in scores) == SEQUENCES
    for sequence in scores:
        evaluation = merge([sequence])
        assert_agrees_0402(evaluation.to_json(), official["sequences"][sequence.recording]["0402"])
        assert _counts(evaluation) == _official_counts(official["sequences"][sequence.recording]["0402"])


@pytest.mark.parametrize("case", EDGE_CASES)
def test_edge_cases_agree(case: str) -> None:
    labels, predictions = oracle_pair("edge", case, check_canvas=False)
    official = expected("edge")["cases"][case]["0402"]
    evaluation = evaluate({case: labels}, {case: predictions}, revision="2026-04-02")
    assert_agrees_0402(evaluation.to_json(), official)
    assert _counts(evaluation) == _official_counts(official)
