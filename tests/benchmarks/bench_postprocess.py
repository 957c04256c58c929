"""What post-processing costs, and what the ways of writing a region are worth.

    python -m tests.benchmarks.bench_postprocess            stages on a made-up 60 s recording, 50 candidates a frame
    python -m tests.benchmarks.bench_postprocess regions    exports of perfect maps of the demo labels (simulated)

Seconds of processor time, so that other work on the machine does not count; the fastest of five runs. "dense" gives
every candidate a class of its own accord in each frame (some 20 kept a frame, most tracks contested), the worst case;
"steady" keeps the class of each of the 50 boxes, with three of them loud, as a trained detector does.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable

import numpy as np

from sai_core.annotations import read_annotations
from sai_core.dataset import demo_root
from sai_core.detections.raw import RawDetections
from sai_core.detections.table import Detections
from sai_core.metrics import evaluate, render_table_0630
from sai_core.metrics.official.pairing_0630 import soft_iou
from sai_core.postprocess import (
    PipelineSettings,
    annotate,
    candidates,
    export_regions,
    load_system,
    prepare,
    regions_of,
    run_pipeline,
    select_tracks,
)
from tests.postprocess.raws import as_roi, as_table, make_raw, make_teacher


def stream(kind: str) -> RawDetections:
    raw = make_raw(0, n_frames=600, n_boxes=50, recording=kind)
    rng = np.random.default_rng(1)
    n = len(raw)
    columns = {name: getattr(raw, name) for name in raw.__dataclass_fields__}
    if kind == "dense":
        scores = rng.dirichlet(np.full(14, 0.3), n)[:, 1:]
    else:
        of_box = np.arange(n) % 50
        scores = rng.dirichlet(np.full(14, 0.4), n)[:, 1:] * 0.08
        scores[np.arange(n), of_box % 13] += np.where(of_box < 3, rng.uniform(0.5, 0.9, n), 0.0)
    columns["class_scores"] = scores.astype(np.float32)
    columns["category_id"] = scores.argmax(axis=1).astype(np.int16)
    return RawDetections(**columns)


def fastest_ms(work: Callable[[], object], runs: int = 5) -> float:
    best = float("inf")
    for _ in range(runs):
        begin = time.process_time()
        work()
        best = min(best, time.process_time() - begin)
    return 1e3 * best


def regions() -> None:
    """Soft IoU of exported label regions with their labels (every fifth), and macro AP of them as detections."""
    tables = [read_annotations(path) for path in sorted((demo_root() / "labels_dev").rglob("*.json*"))]
    tables = [table.take(np.arange(0, len(table), 5)) for table in tables]
    for method, top_k in (("top_k", 20), ("region", 20), ("hull", 0)):
        s = PipelineSettings(
            export=method,  # type: ignore[arg-type]
            top_k=top_k,
            min_hits=1,
            max_age=0,
            nms_iou=1.0,
            max_per_class=100,
            min_score=0.0,
        )
        ious, n_points, labels, predictions = [], 0, {}, {}
        for index, table in enumerate(tables):
            maps, boxes = as_roi(table)
            perfect = Detections(
                table.frame,
                table.category_id,
                np.full(len(table), 0.9, np.float32),
                boxes.astype(np.float32),
                table.distance_cm,
                maps,
            )
            every = np.arange(len(table))
            made = export_regions(maps, boxes, table.frame, every, method=method, top_k=top_k)  # type: ignore[arg-type]
            ious.append(soft_iou(render_table_0630(table), render_table_0630(as_table(made)), every, every))
            n_points += len(made.points_xy)
            labels[str(index)] = table
            n_frames = table.n_frames
            predictions[str(index)] = run_pipeline(perfect, recording=str(index), n_frames=n_frames, settings=s)
        iou = np.concatenate(ious)
        macro = evaluate(labels, predictions, use_cache=False).to_json()["macro"]
        print(
            f"{method:8} mean soft IoU {iou.mean():.3f} (5 % below {np.quantile(iou, 0.05):.3f}), "
            f"{n_points / len(iou):.1f} points a region, {len(iou)} regions; macro mAP {macro['mAP']:.3f}, "
            f"AP25 {macro['AP25']:.3f}, AP50 {macro['AP50']:.3f}, AP75 {macro['AP75']:.3f}"
        )


def main() -> None:
    if sys.argv[1:] == ["regions"]:
        regions()
        return
    print(
        f"{'stream':8}{'system':10}{'once':>8}{'candidates':>12}{'select':>8}{'regions':>9}{'(number)':>10}{'table':>7}"
    )
    for kind in ("steady", "dense"):
        raw = stream(kind)
        teacher = make_teacher(raw, share=0.05)
        for name in ("Baseline", "FAO", "OR-AO", "TPAV", "ERAV"):
            system = load_system(name)
            s = system.settings
            prepared = prepare(raw, teacher=teacher)
            once = fastest_ms(lambda p=prepared: p.teacher_match, 1) if system.needs_teacher else 0.0  # type: ignore[misc]
            c = candidates(prepared, s)
            tracks = select_tracks(c, s)
            rows = np.unique(tracks.detection)
            made = regions_of(c, rows, s)
            times = [
                fastest_ms(lambda p=prepared, s=s: candidates(p, s)),  # type: ignore[misc]
                fastest_ms(lambda c=c, s=s: select_tracks(c, s)),  # type: ignore[misc]
                fastest_ms(lambda c=c, r=rows, s=s: regions_of(c, r, s), 2),  # type: ignore[misc]
                fastest_ms(
                    lambda c=c, t=tracks, g=made, s=s: annotate(c, t, g, recording="r", settings=s)  # type: ignore[misc]
                ),
            ]
            print(
                f"{kind:8}{name:10}{once:8.0f}{times[0]:12.1f}{times[1]:8.1f}{times[2]:9.0f}{len(rows):10}{times[3]:7.1f}"
            )


if __name__ == "__main__":
    main()
