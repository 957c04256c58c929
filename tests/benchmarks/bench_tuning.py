"""How long a changed setting takes to become figures, against running the plain pipeline again.

    python -m tests.benchmarks.bench_tuning [--recordings 20] [--seconds 60] [--per-frame 50] [--steps 40] [--json FILE]

Stand-in raw detections (drawn from labels, no network) of 50 candidates a frame. Timed are, by the clock, in one
process with one thread:

* ``one``: one recording, a random walk of a user's steps: score threshold, one class's threshold, NMS, cap, tracking
  and gating settings, each a small change of the last step's settings;
* ``set``: the same walk over all recordings;
* ``export``: a change of the export's settings, for which regions must be rendered again;
* ``plain``: the pipeline, the export and the evaluator, run again for some of the steps of ``one``; label maps come
  from the evaluator's cache for both. Ratios above 1 are faster than that.

The figures of both ways are compared as well: they must be the same to the last bit.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from sai_core.metrics import evaluate
from sai_core.metrics.evaluation.discovery import find_labels
from sai_core.postprocess import PipelineSettings, run_prepared
from sai_core.tuning import TuningSet, find_raw_sets, open_raw_set
from tests.tuning.stand_in import write_root


def walk(steps: int, seed: int = 0) -> list[PipelineSettings]:
    """Settings of a user who moves one slider at a time."""
    rng = np.random.default_rng(seed)
    settings = PipelineSettings()
    out = []
    for _ in range(steps):
        choice = rng.integers(7)
        if choice <= 1:
            settings = replace(settings, min_score=round(float(rng.uniform(0.15, 0.6)), 2))
        elif choice == 2:
            classes = {int(rng.integers(13)): round(float(rng.uniform(0.15, 0.8)), 2)}
            settings = replace(settings, min_score_per_class={**settings.min_score_per_class, **classes})
        elif choice == 3:
            settings = replace(settings, nms_iou=round(float(rng.uniform(0.1, 0.7)), 2))
        elif choice == 4:
            settings = replace(settings, max_per_class=int(rng.integers(1, 6)))
        elif choice == 5:
            settings = replace(settings, track_iou=round(float(rng.uniform(0.1, 0.6)), 2), max_age=int(rng.integers(9)))
        else:
            settings = replace(settings, min_hits=int(rng.integers(1, 6)), min_mean_score=float(rng.uniform(0, 0.4)))
        out.append(settings)
    return out


def timed(tuning_set: TuningSet, settings: list[PipelineSettings]) -> list[float]:
    """Milliseconds of each step."""
    out = []
    for one in settings:
        began = time.perf_counter()
        tuning_set.evaluate(one)
        out.append(1000 * (time.perf_counter() - began))
    return out


def quantiles(milliseconds: list[float]) -> dict[str, float]:
    values = np.percentile(milliseconds, [50, 95, 100])
    return dict(zip(("median_ms", "p95_ms", "max_ms"), (round(float(v), 1) for v in values), strict=True))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--recordings", type=int, default=20)
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--per-frame", type=int, default=50)
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        os.environ["SAI_CACHE_DIR"] = str(Path(folder) / "cache")
        root = write_root(
            Path(folder) / "root",
            n_recordings=args.recordings,
            n_frames=10 * args.seconds,
            per_frame=args.per_frame,
        )
        figures = measure(root, args.steps)
    figures |= {"recordings": args.recordings, "seconds": args.seconds, "candidates_per_frame": args.per_frame}
    print(json.dumps(figures, indent=1))
    if args.json:
        args.json.write_text(json.dumps(figures, indent=1) + "\n")


def measure(root: Path, steps: int) -> dict[str, Any]:
    [raw] = find_raw_sets([root / "predictions"])
    labels = find_labels(root / "labels_dev")
    began = time.perf_counter()
    tuning_set = open_raw_set(raw.stores, labels)
    opened = time.perf_counter() - began
    name = tuning_set.recordings[0].name
    one = open_raw_set(raw.stores, labels, recordings=[name])
    path = walk(steps)

    began = time.perf_counter()
    one.evaluate(PipelineSettings())
    first_one = 1000 * (time.perf_counter() - began)
    ours = timed(one, path)
    again = timed(one, [replace(s, top_k=k) for s, k in zip(path[:8], range(10, 26, 2), strict=False)])

    plain, ratios = [], []
    for index in range(0, steps, max(steps // 8, 1)):
        began = time.perf_counter()
        table = run_prepared(one.recordings[0].prepared, path[index])
        evaluation = evaluate({name: one.recordings[0].labels}, {name: table})
        plain.append(1000 * (time.perf_counter() - began))
        ratios.append(plain[-1] / ours[index])
        assert evaluation.macro == one.evaluate(path[index]).evaluation.macro, "the two ways must agree"

    began = time.perf_counter()
    tuning_set.evaluate(PipelineSettings())
    first_set = 1000 * (time.perf_counter() - began)
    whole = timed(tuning_set, path)
    return {
        "open_set_s": round(opened, 2),
        "one": {"first_ms": round(first_one, 1), **quantiles(ours)},
        "export": quantiles(again),
        "plain": quantiles(plain),
        "plain_over_ours_median": round(float(np.median(ratios)), 1),
        "set": {"first_ms": round(first_set, 1), **quantiles(whole)},
        "memory_mb": round(tuning_set.nbytes / 2**20, 1),
        "rendered": sum(r.n_rendered for r in tuning_set.recordings),
        "candidates": sum(len(r.prepared.raw) for r in tuning_set.recordings),
    }


if __name__ == "__main__":
    main()
