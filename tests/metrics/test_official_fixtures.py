"""Official figures of small recordings that are part of the project: these run without the oracle folder."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from sai_core.annotations.reading import read_annotations
from sai_core.annotations.table import AnnotationTable
from sai_core.metrics import evaluate
from tests.metrics.helpers import AP_ATOL, FIXTURES, assert_agrees_0402, assert_agrees_0630

EXPECTED: dict[str, dict[str, Any]] = json.loads((FIXTURES / "expected.json").read_text())


def _tables(case: str) -> tuple[AnnotationTable, AnnotationTable]:
    return tuple(  # type: ignore[return-value]
        read_annotations(FIXTURES / f"{case}{end}.json.gz", recording=case, unknown_classes="drop", use_cache=False)
        for end in ("_std", "")
    )


@pytest.mark.parametrize("case", sorted(EXPECTED))
def test_revision_of_june(case: str) -> None:
    labels, predictions = _tables(case)
    official = EXPECTED[case]["0630"]
    nothing = {"n_gt": 0, "n_det": 0, "pearson_n": 0}
    nothing |= dict.fromkeys(("AP25", "AP50", "AP75", "mAP", "pearson_r"))  # type: ignore[arg-type]
    whole = official | {"per_class": {str(c): official["per_class"].get(str(c), nothing) for c in range(13)}}
    assert_agrees_0630(evaluate({case: labels}, {case: predictions}, use_cache=False).to_json(), whole)


@pytest.mark.parametrize("case", sorted(EXPECTED))
def test_revision_of_may_is_the_mean_over_classes_with_detections(case: str) -> None:
    labels, predictions = _tables(case)
    classes = EXPECTED[case]["0630"]["per_class"].values()
    official = [c["mAP"] for c in classes if c["mAP"] is not None and c["n_det"]]
    found = evaluate({case: labels}, {case: predictions}, revision="2026-05-28", use_cache=False).to_json()
    assert found["macro"]["mAP"] == (pytest.approx(np.mean(official), abs=AP_ATOL) if official else None)


@pytest.mark.parametrize("case", sorted(EXPECTED))
def test_revision_of_april(case: str) -> None:
    labels, predictions = _tables(case)
    evaluation = evaluate({case: labels}, {case: predictions}, revision="2026-04-02")
    official = EXPECTED[case]["0402"]
    assert_agrees_0402(evaluation.to_json(), official)
    assert evaluation.micro.n_pairs == official["pearson_n"]
    assert evaluation.micro.n_distance_pairs == official["distance_n"]
    assert evaluation.micro.n_labels == official["n_gt_valid"]
    assert evaluation.micro.n_detections == official["n_det_valid"]
