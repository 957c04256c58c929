"""Time of an error budget: the demo's four recordings under twenty names, after their scores and again.

``python -m tests.benchmarks.bench_budget``; seconds of this machine and of its processor.
"""

from __future__ import annotations

import os
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np

REPOSITORY = Path(__file__).resolve().parents[2]


def main() -> None:
    """Make the files, score them, put errors right twice."""
    with tempfile.TemporaryDirectory() as folder:
        os.environ["SAI_CACHE_DIR"] = f"{folder}/cache"
        from sai_core.annotations import read_annotations
        from sai_core.annotations.writing import write_label_json, write_submission_json
        from sai_core.metrics.evaluation.discovery import find_pairs
        from sai_core.metrics.evaluation.score_store import ScoreStore
        from sai_core.metrics.reading.budget import budget_of_files
        from sai_core.metrics.reading.systems import score_system

        demo = REPOSITORY / "assets" / "demo"
        labels, predictions = {}, {}
        for recording, (label_path, prediction_path) in _pairs(
            find_pairs(demo / "labels_dev", demo / "predictions" / "track-A")
        ):
            truth, found = (read_annotations(path, recording=recording) for path in (label_path, prediction_path))
            for k in range(5):
                # other places on the canvas, so that no region is rendered for two
                shift = np.array([3.0 * k, 0.0])
                shifted = [
                    replace(t, points_xy=np.round((t.points_xy + shift) % (360, 1000), 1)) for t in (truth, found)
                ]
                name = f"{recording}_{k}"
                labels[name], predictions[name] = Path(folder, f"{name}_std.json"), Path(folder, f"{name}.json")
                write_label_json(shifted[0], labels[name])
                write_submission_json(shifted[1], predictions[name])
        store = ScoreStore()
        works = {
            "scores": lambda: score_system(store, "track-A", labels, predictions),
            "budget": lambda: budget_of_files(store, labels, predictions),
            "budget again": lambda: budget_of_files(ScoreStore(), labels, predictions),
        }
        for title, work in works.items():
            wall, processor = time.perf_counter(), time.process_time()
            work()
            print(
                f"{title:<14} {time.perf_counter() - wall:6.1f} s, processor {time.process_time() - processor:6.1f} s",
                flush=True,
            )


def _pairs(found: tuple[dict[str, Path], dict[str, Path]]) -> list[tuple[str, tuple[Path, Path]]]:
    return [(name, (path, found[1][name])) for name, path in found[0].items()]


if __name__ == "__main__":
    main()
