"""Plain, literal metrics: the speed reference of ``bench_metrics.py`` and a second opinion for the tests.

Every rule of the two official revisions is written here the slow and obvious way: one annotation, one polygon, one
point at a time, nothing cached, nothing skipped. Nothing of ``sai_core.metrics`` is used, so that a mistake there
cannot hide here.
"""

from __future__ import annotations

import contextlib
import io
import math
from collections import defaultdict
from collections.abc import Mapping
from typing import Any

import numpy as np
from scipy.interpolate import griddata
from scipy.ndimage import binary_dilation
from scipy.optimize import linear_sum_assignment

from sai_core.annotations.table import AnnotationTable

THRESHOLDS = (0.25, 0.50, 0.75)
N_CLASSES = 13


# Revision 2026-06-30


def literal_polygon_0630(points_xy: np.ndarray, energy: np.ndarray) -> np.ndarray:
    """One polygon list on the 50 x 100 canvas."""
    x = np.asarray(points_xy[:, 0], dtype=np.float32) * (100 / 360)
    y = np.asarray(points_xy[:, 1], dtype=np.float32) * (50 / 180)
    e = np.asarray(energy, dtype=np.float32)
    in_order = np.sort(x)
    gaps = np.diff(in_order)
    if gaps.size and gaps.max() > 50:
        left_end = in_order[np.argmax(gaps)]
        x = np.where(x <= left_end, x + 100, x)
    extended = None
    if len(x) >= 3:
        columns, rows = np.meshgrid(np.arange(200), np.arange(50))
        # too few different points, or all of them on one line, is an error of Qhull
        with contextlib.suppress(Exception):
            extended = griddata((x, y), e, (columns, rows), method="linear", fill_value=0.0)
    if extended is not None:
        extended = np.clip(np.nan_to_num(extended, nan=0.0), 0.0, None)
    else:
        extended = np.zeros((50, 200), dtype=np.float32)
        for i in range(len(x)):
            column = min(max(round(float(x[i])), 0), 199)
            row = min(max(round(float(y[i])), 0), 49)
            extended[row, column] = max(extended[row, column], e[i])
    return np.maximum(extended[:, :100], extended[:, 100:])


def literal_map_0630(table: AnnotationTable, index: int) -> np.ndarray:
    """One annotation on the 50 x 100 canvas, divided by its peak."""
    canvas = np.zeros((50, 100), dtype=np.float32)
    for points_xy, energy in table.polygons(index):
        if len(energy):
            canvas = np.maximum(canvas, literal_polygon_0630(points_xy, energy))
    peak = canvas.max()
    return canvas / peak if peak > 1e-8 else canvas


def literal_soft_iou(a: np.ndarray, b: np.ndarray) -> float:
    total = np.maximum(a, b).sum()
    return float(np.minimum(a, b).sum() / total) if total >= 1e-8 else 0.0


def literal_pearson_0630(label: np.ndarray, prediction: np.ndarray) -> float:
    inside = label > 0
    if inside.sum() < 2:
        return math.nan
    a = label[inside].astype(np.float64)
    b = prediction[inside].astype(np.float64)
    if a.std() < 1e-12 or b.std() < 1e-12:
        return math.nan
    return float(np.mean((a - a.mean()) / a.std() * ((b - b.mean()) / b.std())))


def literal_ap(scores: list[float], hits: list[bool], n_labels: int) -> float:
    """101-point AP in float32, ties in the order given."""
    if n_labels == 0:
        return math.nan
    if not scores:
        return 0.0
    order = np.argsort(-np.asarray(scores), kind="stable")
    hit = np.asarray(hits, dtype=np.float32)[order]
    n_hit = np.cumsum(hit)
    n_miss = np.cumsum(1 - hit)
    recall = n_hit / n_labels
    precision = n_hit / (n_hit + n_miss + 1e-9)
    total = np.float32(0)
    for level in np.linspace(0, 1, 101):
        reached = recall >= level
        if reached.any():
            total = total + precision[reached].max()
    return float(total / np.float32(101))


def literal_evaluate_0630(
    labels: Mapping[str, AnnotationTable], predictions: Mapping[str, AnnotationTable]
) -> dict[str, Any]:
    """Figures of revision 2026-06-30, keyed as in the command line's JSON."""
    records: dict[int, list[tuple[float, float, float]]] = defaultdict(list)
    n_labels: dict[int, int] = defaultdict(int)
    for name in sorted(predictions):
        if name not in labels:
            continue
        buckets: dict[tuple[int, int], tuple[list[int], list[int]]] = defaultdict(lambda: ([], []))
        for side, table in enumerate((labels[name], predictions[name])):
            for i in range(len(table)):
                buckets[int(table.frame[i]), int(table.category_id[i])][side].append(i)
        for (_, category), (label_indices, prediction_indices) in sorted(buckets.items()):
            n_labels[category] += len(label_indices)
            label_maps = [literal_map_0630(labels[name], i) for i in label_indices]
            prediction_maps = [literal_map_0630(predictions[name], i) for i in prediction_indices]
            scores = [float(np.nan_to_num(predictions[name].score[i])) for i in prediction_indices]
            iou = np.zeros((len(prediction_maps), len(label_maps)), dtype=np.float32)
            for p, prediction_map in enumerate(prediction_maps):
                for g, label_map in enumerate(label_maps):
                    iou[p, g] = literal_soft_iou(prediction_map, label_map)
            assigned = dict(zip(*(v.tolist() for v in linear_sum_assignment(-iou)), strict=True))
            for p, score in enumerate(scores):
                if p in assigned:
                    g = assigned[p]
                    pearson = literal_pearson_0630(label_maps[g], prediction_maps[p])
                    records[category].append((score, float(iou[p, g]), pearson))
                else:
                    records[category].append((score, 0.0, math.nan))

    def row(rows: list[tuple[float, float, float]], count: int) -> dict[str, float]:
        figures = {
            f"AP{100 * t:.0f}": literal_ap([r[0] for r in rows], [r[1] >= t for r in rows], count) for t in THRESHOLDS
        }
        r_values = [r[2] for r in rows if not math.isnan(r[2])]
        return {
            "n_labels": count,
            "n_detections": len(rows),
            **figures,
            "mAP": float(np.mean(list(figures.values()))),
            "pearson_r": float(np.mean(r_values)) if r_values else math.nan,
            "n_pairs": len(r_values),
        }

    per_class = {str(c): row(records[c], n_labels[c]) for c in range(N_CLASSES)}
    active = [figures for c, figures in per_class.items() if n_labels[int(c)]]
    macro = {}
    for key in ("mAP", "AP25", "AP50", "AP75", "pearson_r"):
        values = [figures[key] for figures in active if not math.isnan(figures[key])]
        macro[key] = float(np.mean(values)) if values else math.nan
    micro = row([r for c in range(N_CLASSES) for r in records[c]], sum(n_labels[c] for c in range(N_CLASSES)))
    return {"revision": "2026-06-30", "macro": macro, "micro": micro, "per_class": per_class}


# Revision 2026-04-02

_AZIMUTH_RAD = np.radians(np.arange(360, dtype=np.float32) / 360 * 360.0 - 180.0)
_ELEVATION_RAD = np.radians(90.0 - np.arange(180, dtype=np.float32) / 179 * 180.0)
_SIGMA_RAD = math.radians(6.0)
_CUTOFF_RAD = 4 * _SIGMA_RAD


def literal_map_0402(table: AnnotationTable, index: int) -> np.ndarray:
    """Sum of the annotation's blobs on the 180 x 360 canvas, float32."""
    canvas = np.zeros((180, 360), dtype=np.float32)
    points_xy, energies = table.points(index)
    for (x, y), energy in zip(points_xy.tolist(), energies.tolist(), strict=True):
        azimuth = math.radians(x / 360 * 360.0 - 180.0)
        elevation = math.radians(90.0 - y / 179 * 180.0)
        low = max(-math.pi / 2, elevation - _CUTOFF_RAD)
        high = min(math.pi / 2, elevation + _CUTOFF_RAD)
        top = max(0, math.floor((math.pi / 2 - high) / math.pi * 179))
        bottom = min(180, math.ceil((math.pi / 2 - low) / math.pi * 179) + 1)
        if top >= bottom:
            continue
        half = min(math.pi, _CUTOFF_RAD / max(math.cos(elevation), 0.087))
        left = math.floor((math.degrees(azimuth) - math.degrees(half) + 180.0) / 360.0 * 360)
        right = math.ceil((math.degrees(azimuth) + math.degrees(half) + 180.0) / 360.0 * 360) + 1
        if left >= 0 and right <= 360:
            parts = [(left, right)]
        else:
            # a window over the seam falls into two parts, which overlap where the window is as wide as the canvas
            parts = [(left % 360, 360), (0, right % 360 or 360)]
            if left < 0:
                parts.reverse()
        rows = _ELEVATION_RAD[top:bottom]
        hav_rows = np.sin((rows - elevation) / 2.0) ** 2
        weight = math.cos(elevation) * np.cos(rows)
        for begin, end in parts:
            hav_columns = np.sin((_AZIMUTH_RAD[begin:end] - azimuth) / 2.0) ** 2
            hav = hav_rows[:, None] + weight[:, None] * hav_columns[None, :]
            hav = hav * (-4.0 * (0.5 / (_SIGMA_RAD * _SIGMA_RAD)))
            canvas[top:bottom, begin:end] += np.exp(hav) * energy
    return canvas


def literal_peak_0402(table: AnnotationTable, index: int) -> tuple[float, float]:
    points_xy, energies = table.points(index)
    best, where = 0.0, (0.0, 0.0)
    for (x, y), energy in zip(points_xy.tolist(), energies.tolist(), strict=True):
        if energy > best:
            best, where = energy, (x, y)
    return where


def literal_evaluate_0402(
    labels: Mapping[str, AnnotationTable], predictions: Mapping[str, AnnotationTable]
) -> dict[str, Any]:
    """Figures of revision 2026-04-02, keyed as in the command line's JSON; AP by ``pycocotools``."""
    from pycocotools import mask as rle
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    results: list[dict[str, Any]] = []
    pearson: list[float] = []
    errors: list[float] = []
    for name in sorted(predictions):
        if name not in labels:
            continue
        sides = (labels[name], predictions[name])
        for frame in sorted(set(sides[0].frame.tolist()) | set(sides[1].frame.tolist())):
            image = len(images) + 1
            images.append({"id": image, "width": 360, "height": 180})
            kept: list[list[dict[str, Any]]] = [[], []]
            for side, table in enumerate(sides):
                for i in range(*table.frame_slice(frame).indices(len(table))):
                    energy_map = literal_map_0402(table, i)
                    peak = energy_map.max()
                    if peak < 1e-9:
                        continue
                    mask = energy_map >= 0.10 * peak
                    kept[side].append(
                        {
                            "category": int(table.category_id[i]),
                            "map": energy_map,
                            "mask": mask,
                            "peak": literal_peak_0402(table, i),
                            "distance": float(np.nan_to_num(table.distance_cm[i])),
                            "score": float(np.nan_to_num(table.score[i])),
                            "rle": rle.encode(np.asfortranarray(mask.astype(np.uint8))),
                        }
                    )
            for a in kept[0]:
                annotations.append(
                    {
                        "id": len(annotations) + 1,
                        "image_id": image,
                        "category_id": a["category"] + 1,
                        "segmentation": a["rle"],
                        "area": int(a["mask"].sum()),
                        "bbox": [0, 0, 1, 1],
                        "iscrowd": 0,
                    }
                )
            for a in kept[1]:
                results.append(
                    {
                        "image_id": image,
                        "category_id": a["category"] + 1,
                        "segmentation": a["rle"],
                        "score": a["score"],
                    }
                )
            if not kept[0] or not kept[1]:
                continue
            xy = [np.array([a["peak"] for a in side], dtype=np.float32) for side in kept]
            azimuth = [np.radians(p[:, 0] / 360 * 360.0 - 180.0) for p in xy]
            elevation = [np.radians(90.0 - p[:, 1] / 179 * 180.0) for p in xy]
            hav = (
                np.sin((elevation[0][:, None] - elevation[1][None, :]) / 2.0) ** 2
                + np.cos(elevation[0])[:, None]
                * np.cos(elevation[1])[None, :]
                * np.sin((azimuth[0][:, None] - azimuth[1][None, :]) / 2.0) ** 2
            )
            cost = np.degrees(2.0 * np.arcsin(np.sqrt(np.clip(hav, 0.0, 1.0))))
            for g, label in enumerate(kept[0]):
                for p, prediction in enumerate(kept[1]):
                    if label["category"] != prediction["category"] or cost[g, p] > 20.0:
                        cost[g, p] = 1000.0
            for g, p in zip(*(v.tolist() for v in linear_sum_assignment(cost)), strict=True):
                if cost[g, p] > 20.0:
                    continue
                label, prediction = kept[0][g], kept[1][p]
                if label["distance"] > 1e-3:
                    errors.append(abs(label["distance"] - prediction["distance"]) / label["distance"] * 100.0)
                region = binary_dilation(label["mask"] | prediction["mask"], iterations=2)
                a, b = label["map"][region], prediction["map"][region]
                if np.ptp(a) > 1e-7 and np.ptp(b) > 1e-7:
                    value = float(np.corrcoef(a, b)[0, 1])
                    if not math.isnan(value):
                        pearson.append(value)
    per_class: dict[str, dict[str, float]] = {str(c): {"AP": math.nan, "AP50": math.nan} for c in range(N_CLASSES)}
    figures: dict[str, Any] = {
        "revision": "2026-04-02",
        "mask_mAP": math.nan,
        "mask_AP50": math.nan,
        "pearson_r": float(np.mean(pearson)) if pearson else math.nan,
        "distance_mape": float(np.mean(errors)) if errors else math.nan,
        "per_class": per_class,
        "n_pairs": len(pearson),
        "n_distance_pairs": len(errors),
        "n_labels": len(annotations),
        "n_detections": len(results),
    }
    if annotations and results:
        with contextlib.redirect_stdout(io.StringIO()):
            truth = COCO()
            truth.dataset = {
                "images": images,
                "annotations": annotations,
                "categories": [{"id": c + 1, "name": str(c)} for c in range(N_CLASSES)],
            }
            truth.createIndex()
            scorer = COCOeval(truth, truth.loadRes(results), iouType="segm")
            scorer.evaluate()
            scorer.accumulate()
            scorer.summarize()
        figures["mask_mAP"], figures["mask_AP50"] = float(scorer.stats[0]), float(scorer.stats[1])
        precision = scorer.eval["precision"][:, :, :, 0, 2]
        for c in range(N_CLASSES):
            for key, part in (("AP", precision[:, :, c]), ("AP50", precision[0, :, c])):
                if (part > -1).any():
                    per_class[str(c)][key] = float(part[part > -1].mean())
    return figures
