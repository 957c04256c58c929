"""How fast the metrics are, against the plain version of ``literal_metrics.py``, in one interleaved run.

    python -m tests.benchmarks.bench_metrics [--labels DIR --predictions DIR] [--rounds 3] [--json FILE]

One process, one thread. By default on made-up recordings like the real ones (slowly moving sources, labels of about
650 pixels, predictions of 50 points); with folders, on the recordings found there. Four things are timed, from tables
in memory to figures:

* ``first``: revision 2026-06-30 with empty caches, label maps rendered and written;
* ``later``: the same labels again as new tables, with predictions not seen before, label maps from the cache file;
* ``april``: revision 2026-04-02, which caches nothing;
* the plain version of each revision.

Rounds alternate between all of them, so that whatever else the machine does hits all; each figure is the smallest of
its rounds, in processor seconds, which count waiting for other programs less than the clock does. Ratios above 1 are
faster than the plain version. The figures of both versions are compared as well.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from sai_core.annotations.reading import read_annotations
from sai_core.annotations.table import AnnotationTable
from sai_core.metrics import evaluate
from sai_core.metrics.evaluation.discovery import find_pairs
from tests.benchmarks.literal_metrics import literal_evaluate_0402, literal_evaluate_0630

Tables = dict[str, AnnotationTable]


def made_up(seed: int, *, n_frames: int, name: str) -> tuple[AnnotationTable, AnnotationTable]:
    """Labels and predictions of three sources that come, go and move."""
    rng = np.random.default_rng(seed)
    rows: list[tuple[int, int, np.ndarray, np.ndarray, float]] = []
    guesses: list[tuple[int, int, np.ndarray, np.ndarray, float]] = []
    for source in range(3):
        x, y = rng.uniform(0, 360), rng.uniform(50, 130)
        speed = rng.normal(0, 1.0, 2) * [1, 0.3]
        category, radius = int(rng.integers(0, 13)), rng.uniform(12, 17)
        begin, end = sorted(rng.choice(n_frames, 2, replace=False))
        for frame in range(begin, end + 1) if source else range(n_frames):
            x, y = np.mod(x + speed[0], 360), float(np.clip(y + speed[1], 35, 145))
            reach = np.arange(-18, 19)
            dy, dx = (v.ravel() for v in np.meshgrid(reach, reach, indexing="ij"))
            shape = radius * (1 + 0.15 * np.sin(3 * np.arctan2(dy, dx) + frame / 7))
            inside = np.hypot(dx, dy) < shape
            points = np.stack([np.mod(np.floor(x) + dx, 360), np.floor(y) + dy], axis=1)[inside]
            energy = 0.2 + 0.7 * np.exp(-(dx[inside] ** 2 + dy[inside] ** 2) / 80)
            rows.append((frame, category, points, energy.round(3), 200.0))
            if rng.uniform() < 0.85:
                at = np.array([x, y]) + rng.normal(0, 2, 2)
                scattered = at + rng.normal(0, 5, (50, 2))
                scattered = np.stack([np.mod(scattered[:, 0], 360), np.clip(scattered[:, 1], 0, 180)], axis=1)
                strength = np.exp(-((scattered - at) ** 2).sum(axis=1) / 80)
                guesses.append((frame, category, scattered.round(2), strength.round(3), 220.0))
    return _table(rows, name, np.full(len(rows), np.nan)), _table(guesses, name, rng.uniform(0, 1, len(guesses)))


def _table(
    rows: list[tuple[int, int, np.ndarray, np.ndarray, float]], name: str, scores: np.ndarray
) -> AnnotationTable:
    rows = [rows[i] for i in np.argsort([r[0] for r in rows], kind="stable")]
    counts = [len(r[3]) for r in rows]
    return AnnotationTable(
        name,
        np.array([r[0] for r in rows]),
        np.array([r[1] for r in rows]),
        np.arange(len(rows)),
        np.array([r[4] for r in rows]),
        scores,
        np.arange(len(rows) + 1),
        np.concatenate([[0], np.cumsum(counts)]).astype(np.int64),
        np.concatenate([r[2] for r in rows]),
        np.concatenate([r[3] for r in rows]),
    )


def _same(ours: Any, plain: Any, tolerance: float = 1e-6) -> bool:
    """Whether two figure trees agree; None is NaN."""
    if isinstance(ours, dict):
        return all(_same(value, plain[key]) for key, value in ours.items() if key in plain)
    if isinstance(ours, (str, list)):
        return True
    one, other = (math.nan if v is None else float(v) for v in (ours, plain))
    return (math.isnan(one) and math.isnan(other)) or abs(one - other) <= tolerance


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--labels", type=Path)
    parser.add_argument("--predictions", type=Path)
    parser.add_argument("--recordings", type=int, default=2, help="made-up recordings (2)")
    parser.add_argument("--frames", type=int, default=60, help="frames of each (60)")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    if (args.labels is None) != (args.predictions is None):
        parser.error("give both --labels and --predictions, or neither")
    labels: Tables = {}
    predictions: Tables = {}
    if args.labels is not None:
        files = find_pairs(args.labels, args.predictions)
        for name in sorted(set(files[0]) & set(files[1])):
            labels[name], predictions[name] = (
                read_annotations(f[name], recording=name, unknown_classes="drop", use_cache=False) for f in files
            )
    else:
        for k in range(args.recordings):
            name = f"made_up_{k}"
            labels[name], predictions[name] = made_up(k, n_frames=args.frames, name=name)

    seconds: dict[str, list[float]] = {}
    results: dict[str, Any] = {}

    def timed(what: str, work: Callable[[], Any]) -> None:
        begin = time.process_time()
        results[what] = work()
        seconds.setdefault(what, []).append(time.process_time() - begin)

    def fresh(tables: Tables) -> Tables:
        """New objects: what is remembered for the old ones in this process does not count."""
        return {name: replace(table) for name, table in tables.items()}

    for _ in range(args.rounds):
        with tempfile.TemporaryDirectory() as cache:
            os.environ["SAI_CACHE_DIR"] = cache
            timed("plain june", lambda: literal_evaluate_0630(labels, predictions))
            timed("first", lambda: evaluate(fresh(labels), fresh(predictions)).to_json())
            timed("later", lambda: evaluate(fresh(labels), fresh(predictions)).to_json())
            timed("plain april", lambda: literal_evaluate_0402(labels, predictions))
            timed("april", lambda: evaluate(labels, predictions, revision="2026-04-02").to_json())
            size = sum(f.stat().st_size for f in Path(cache).rglob("*") if f.is_file())
    best = {what: min(times) for what, times in seconds.items()}
    n_labels, n_predictions = (sum(len(t) for t in tables.values()) for tables in (labels, predictions))
    n_points = [sum(t.n_points for t in tables.values()) for tables in (labels, predictions)]
    print(
        f"{len(labels)} recordings, {n_labels} labels ({n_points[0] / n_labels:.0f} points each), {n_predictions} "
        f"predictions ({n_points[1] / n_predictions:.0f} points each); label maps take {size / n_labels:.0f} bytes each"
    )
    rows = (
        ("2026-06-30 first", "first", "plain june", 1.5),
        ("2026-06-30 later", "later", "plain june", 20),
        ("2026-04-02", "april", "plain april", 10),
    )
    print(f"{'evaluation':18} {'plain s':>9} {'ours s':>9} {'ratio':>7} {'asked':>6} {'figures':>8}")
    report = {}
    for title, ours, plain, asked in rows:
        ratio = best[plain] / best[ours]
        same = _same(results[ours], results[plain])
        report[title] = {"plain_s": best[plain], "ours_s": best[ours], "ratio": ratio, "figures_agree": same}
        print(
            f"{title:18} {best[plain]:9.3f} {best[ours]:9.3f} {ratio:7.1f} {asked:6g} "
            f"{'agree' if same else 'DIFFER':>8}"
        )
    load = os.getloadavg()[0]
    print(f"{os.cpu_count()} cores, load {load:.1f}: other programs slow both sides, array work more than Python's")
    if args.json:
        args.json.write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()
