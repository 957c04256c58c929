"""What the metric tests share: oracle files, comparisons, small made-up recordings."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np

from sai_core.annotations.reading import read_annotations
from sai_core.annotations.table import AnnotationTable

FIXTURES = Path(__file__).resolve().parents[1] / "fixtures" / "metrics"
ORACLE = Path(__file__).resolve().parents[2].parent / "shared" / "oracle" / "metrics"

EDGE_CASES = (
    "all_scores_tied", "both_empty", "boundary_coords", "collinear", "concave_hole", "duplicate_points",
    "exact_duplicates", "identical", "identical_tiny_flat", "missing_fields", "no_gt", "no_predictions",
    "out_of_range_coord", "pole", "seam", "single_pixel", "tp_order", "zero_energy",
)  # fmt: skip

TIED_CASES = ("all_scores_tied", "tp_order", "exact_duplicates")
"""Cases whose official AP depends on the order of equal scores."""

AP_ATOL = 1e-6
"""The official AP is accumulated in float32."""

FIGURE_ATOL = 1e-9
"""The task's tolerance for everything else."""


def expected(name: str) -> Any:
    return json.loads((ORACLE / f"{name}_expected.json").read_text())


def oracle_pair(folder: str, name: str, *, check_canvas: bool = True) -> tuple[AnnotationTable, AnnotationTable]:
    """Labels and predictions of an oracle recording."""
    base = ORACLE / folder / name if folder == "edge" else ORACLE / folder
    return tuple(  # type: ignore[return-value]
        read_annotations(
            base / f"{name}{suffix}.json.gz",
            recording=name,
            check_canvas=check_canvas,
            unknown_classes="drop",
            use_cache=False,
        )
        for suffix in ("_std", "")
    )


def assert_figure(ours: float | None, official: float | None, atol: float, what: str) -> None:
    if official is None or ours is None:
        assert ours is official, f"{what}: ours {ours}, official {official}"
        return
    assert math.isclose(ours, official, rel_tol=0.0, abs_tol=atol), f"{what}: ours {ours}, official {official}"


def assert_agrees_0630(ours: dict[str, Any], official: dict[str, Any], *, check_ap: bool = True) -> None:
    """Every figure of revision 2026-06-30."""
    for row in ("macro", "micro"):
        for key in ("mAP", "AP25", "AP50", "AP75"):
            if check_ap:
                assert_figure(ours[row][key], official[f"{row}_{key}"], AP_ATOL, f"{row} {key}")
        assert_figure(ours[row]["pearson_r"], official[f"{row}_pearson_r"], FIGURE_ATOL, f"{row} Pearson")
    counts = ("n_labels", "n_detections", "n_pairs")
    assert [ours["micro"][k] for k in counts] == [official[f"micro_{k}"] for k in ("n_gt", "n_det", "pearson_n")]
    assert set(ours["per_class"]) == set(official["per_class"])
    for c, theirs in official["per_class"].items():
        mine = ours["per_class"][c]
        assert [mine[k] for k in counts] == [theirs[k] for k in ("n_gt", "n_det", "pearson_n")], f"class {c}"
        for key in ("mAP", "AP25", "AP50", "AP75"):
            if check_ap:
                assert_figure(mine[key], theirs[key], AP_ATOL, f"class {c} {key}")
        assert_figure(mine["pearson_r"], theirs["pearson_r"], FIGURE_ATOL, f"class {c} Pearson")


def assert_agrees_0402(ours: dict[str, Any], official: dict[str, Any]) -> None:
    """Every figure of revision 2026-04-02; the official -1 for "no labels" is undefined here."""
    for key in ("mask_mAP", "mask_AP50"):
        value = official[key] if official[key] != -1 else None
        assert_figure(ours[key], value, AP_ATOL, key)
    for key in ("pearson_r", "distance_mape"):
        assert_figure(ours[key], official[key], FIGURE_ATOL, key)
    for c in range(13):
        for key in ("AP", "AP50"):
            theirs = official[f"per_class_{key}"].get(str(c))
            assert_figure(ours["per_class"][str(c)][key], theirs, AP_ATOL, f"class {c} {key}")


def region(
    x: float, y: float, *, radius: float = 8.0, peak: float = 1.0, rng: np.random.Generator | None = None, n: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """A round region: every pixel of it (n = 0, a label), or ``n`` scattered points (a prediction); wraps in x."""
    if n:
        assert rng is not None
        angle, r = rng.uniform(0, 2 * np.pi, n), radius * np.sqrt(rng.uniform(0, 1, n))
        px, py = x + r * np.cos(angle), y + r * np.sin(angle)
    else:
        reach = np.arange(-int(radius), int(radius) + 1)
        dy, dx = (v.ravel() for v in np.meshgrid(reach, reach, indexing="ij"))
        inside = dx**2 + dy**2 <= radius**2
        px, py = np.floor(x) + dx[inside], np.floor(y) + dy[inside]
    valid = (py >= 0) & (py < 180)
    px, py = px[valid], py[valid]
    energy = peak * np.exp(-((px - x) ** 2 + (py - y) ** 2) / (2 * (radius / 1.5) ** 2))
    return np.stack([np.mod(px, 360), py], axis=1), energy


def table(
    rows: list[tuple[int, int, tuple[np.ndarray, np.ndarray]]],
    *,
    name: str = "made_up",
    scores: list[float] | None = None,
    distances: list[float] | None = None,
) -> AnnotationTable:
    """Table of one-polygon annotations ``(frame, category, (points, energy))``."""
    order = sorted(range(len(rows)), key=lambda i: rows[i][0])
    rows = [rows[i] for i in order]
    counts = [len(e) for _, _, (_, e) in rows]
    nan = [math.nan] * len(rows)
    return AnnotationTable(
        name,
        np.array([r[0] for r in rows]),
        np.array([r[1] for r in rows]),
        np.arange(len(rows)),
        np.array([(distances or nan)[i] for i in order]),
        np.array([(scores or nan)[i] for i in order]),
        np.arange(len(rows) + 1),
        np.concatenate([[0], np.cumsum(counts)]).astype(np.int64),
        np.concatenate([p for _, _, (p, _) in rows]) if rows else np.zeros((0, 2)),
        np.concatenate([e for _, _, (_, e) in rows]) if rows else np.zeros(0),
    )


def made_up_recording(
    seed: int, *, n_frames: int = 12, name: str = "made_up", n_points: int = 20
) -> tuple[AnnotationTable, AnnotationTable]:
    """Labels of one to three sources a frame, and predictions with misses, false alarms and confusions."""
    rng = np.random.default_rng(seed)
    labels: list[Any] = []
    predictions: list[Any] = []
    scores: list[float] = []
    truth_cm: list[float] = []
    guess_cm: list[float] = []
    for frame in range(n_frames):
        for _ in range(rng.integers(1, 4)):
            x, y, category = rng.uniform(0, 360), rng.uniform(25, 155), int(rng.integers(0, 5))
            distance = float(rng.uniform(50, 500))
            labels.append((frame, category, region(x, y, radius=float(rng.uniform(5, 12)))))
            truth_cm.append(distance)
            if rng.uniform() < 0.8:
                guess = category if rng.uniform() < 0.85 else int(rng.integers(0, 5))
                at = (x + rng.normal(0, 3), float(np.clip(y + rng.normal(0, 3), 10, 170)))
                predictions.append((frame, guess, region(*at, radius=9.0, rng=rng, n=n_points)))
                scores.append(float(rng.uniform(0.2, 1)))
                guess_cm.append(float(distance * rng.uniform(0.7, 1.4)))
        if rng.uniform() < 0.4:
            at = (rng.uniform(0, 360), rng.uniform(25, 155))
            predictions.append((frame, int(rng.integers(0, 6)), region(*at, radius=7.0, rng=rng, n=n_points)))
            scores.append(float(rng.uniform(0, 0.7)))
            guess_cm.append(math.nan)
    return (
        table(labels, name=name, distances=truth_cm),
        table(predictions, name=name, scores=scores, distances=guess_cm),
    )
