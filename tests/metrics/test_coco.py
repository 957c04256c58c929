"""Our COCO matching and average precision against pycocotools."""

from __future__ import annotations

import contextlib
import io
from typing import Any

import numpy as np
import pytest
from pycocotools import mask as rle
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from sai_core.metrics import THRESHOLDS, evaluate, score_recording
from sai_core.metrics.evaluation.scoring_0402 import coco_matches
from sai_core.metrics.official.average_precision import interpolated_precision_coco
from tests.benchmarks.literal_metrics import literal_evaluate_0402, literal_evaluate_0630
from tests.metrics.helpers import assert_agrees_0402, assert_figure, made_up_recording, region, table

SIDE = 24


def _random_masks(rng: np.random.Generator, n: int) -> np.ndarray:
    masks = np.zeros((n, SIDE, SIDE), np.uint8)
    for mask in masks:
        y, x = rng.integers(0, SIDE - 4, 2)
        mask[y : y + rng.integers(2, 9), x : x + rng.integers(2, 9)] = 1
    return masks


@pytest.mark.parametrize("seed", range(6))
def test_random_images_agree_exactly(seed: int) -> None:
    rng = np.random.default_rng(seed)
    images: list[dict[str, Any]] = []
    labels: list[dict[str, Any]] = []
    results: list[dict[str, Any]] = []
    rows: list[tuple[float, int, int, np.ndarray]] = []
    n_labels = 0
    for image in range(1, 8):
        images.append({"id": image, "width": SIDE, "height": SIDE})
        truth = _random_masks(rng, int(rng.integers(0, 5)))
        # more than COCO looks at in the first image, equal scores everywhere
        found = _random_masks(rng, 130 if image == 1 else int(rng.integers(0, 6)))
        if len(truth) and len(found):
            found[0] = truth[0]
        score = rng.integers(1, 8, len(found)) / 8
        n_labels += len(truth)
        for mask in truth:
            labels.append(
                {
                    "id": len(labels) + 1,
                    "image_id": image,
                    "category_id": 1,
                    "segmentation": rle.encode(np.asfortranarray(mask)),
                    "area": int(mask.sum()),
                    "bbox": [0, 0, 1, 1],
                    "iscrowd": 0,
                }
            )
        for mask, value in zip(found, score, strict=True):
            segmentation = rle.encode(np.asfortranarray(mask))
            results.append({"image_id": image, "category_id": 1, "segmentation": segmentation, "score": float(value)})
        order = np.argsort(-score, kind="stable")[:100]
        iou = np.zeros((len(order), len(truth)))
        for d, k in enumerate(order):
            for g, mask in enumerate(truth):
                iou[d, g] = (found[k] & mask).sum() / (found[k] | mask).sum()
        matched = coco_matches(iou) >= 0
        rows += [(float(score[k]), image, d, matched[d]) for d, k in enumerate(order)]
    rows.sort(key=lambda row: (-row[0], row[1], row[2]))
    hits = np.array([row[3] for row in rows]).T
    ours = interpolated_precision_coco(hits, n_labels)
    with contextlib.redirect_stdout(io.StringIO()):
        truth_set = COCO()
        truth_set.dataset = {
            "images": images,
            "annotations": labels,
            "categories": [{"id": 1, "name": "a"}],
        }
        truth_set.createIndex()
        scorer = COCOeval(truth_set, truth_set.loadRes(results), iouType="segm")
        scorer.evaluate()
        scorer.accumulate()
    np.testing.assert_array_equal(ours, scorer.eval["precision"][:, :, 0, 0, 2])


def test_the_later_of_equally_good_labels_is_taken() -> None:
    np.testing.assert_array_equal(coco_matches(np.array([[0.8, 0.8], [0.8, 0.8]]))[:, 0], [1, 0])


def test_shapes_without_labels_or_detections() -> None:
    n = len(THRESHOLDS["2026-04-02"])
    assert coco_matches(np.zeros((0, 3))).shape == (0, n)
    assert (coco_matches(np.zeros((2, 0))) == -1).all()
    assert interpolated_precision_coco(np.zeros((n, 0), np.bool_), 4).shape == (n, 101)


def test_pairs_need_the_same_class_and_at_most_20_degrees() -> None:
    labels = table([(frame, 1, region(100, 90)) for frame in range(4)])
    at = ((1, 119.0), (1, 122.0), (2, 100.0), (1, 82.0))
    predictions = table([(frame, category, region(x, 90)) for frame, (category, x) in enumerate(at)])
    scores = score_recording(labels, predictions, revision="2026-04-02")
    np.testing.assert_array_equal(scores.pair_label, [0, 3])


@pytest.mark.parametrize("x", [345.0, 346.0, 347.0, 348.0, 0.0])
def test_dilation_stops_at_the_seam(x: float) -> None:
    # masks that end at the last column or just before it, where a dilation that went round would gain pixels
    labels = table([(0, 1, (np.array([[x, 90.0]]), np.ones(1)))])
    predictions = table([(0, 1, (np.array([[(x + 355.5) % 360, 92.0]]), np.ones(1)))], scores=[0.5])
    ours = evaluate({"a": labels}, {"a": predictions}, revision="2026-04-02")
    plain = literal_evaluate_0402({"a": labels}, {"a": predictions})
    assert ours.micro.pearson_r == pytest.approx(plain["pearson_r"], abs=1e-12)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(2))
def test_made_up_recordings_agree_with_the_plain_version(seed: int) -> None:
    pairs = {f"r{k}": made_up_recording(10 * seed + k, n_frames=5, name=f"r{k}") for k in range(3)}
    labels = {name: pair[0] for name, pair in pairs.items()}
    predictions = {name: pair[1] for name, pair in pairs.items()}
    april = evaluate(labels, predictions, revision="2026-04-02", use_cache=False)
    plain = literal_evaluate_0402(labels, predictions)
    official: dict[str, Any] = {key: _none(value) for key, value in plain.items()}
    for key in ("AP", "AP50"):
        official[f"per_class_{key}"] = {c: _none(row[key]) for c, row in plain["per_class"].items()}
    assert_agrees_0402(april.to_json(), official)
    june = evaluate(labels, predictions, use_cache=False).to_json()
    literal = literal_evaluate_0630(labels, predictions)
    for row in ("macro", "micro"):
        for key, value in literal[row].items():
            assert_figure(june[row][key], _none(value), 1e-9, f"{row} {key}")
    for c, figures in literal["per_class"].items():
        for key, value in figures.items():
            assert_figure(june["per_class"][c][key], _none(value), 1e-9, f"class {c} {key}")


def _none(value: Any) -> Any:
    return None if isinstance(value, float) and np.isnan(value) else value
