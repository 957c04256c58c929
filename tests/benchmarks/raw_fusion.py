"""Whether several networks are better fused before thresholds (raw detections) or after (submissions).

    python -m tests.benchmarks.raw_fusion A B [--labels DIR] [--system NAME] [--seeds 3]

``A`` and ``B`` are prediction sets with raw detections (``predict`` keeps them in ``raw``). Raw fusion: the candidates
of both in one list, each network's scores times its weight, then one system for all (its NMS or box voting decides what
becomes of candidates in one place). Submission fusion: ``fuse`` of the two sets' submissions by the same system. The
weights of both are searched on one half of the recordings and reported on the other, as ``fuse`` does; printed is the
macro mAP (revision 2026-06-30) of the held-out half, and of each set alone.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from sai_core.annotations import read_annotations
from sai_core.annotations.table import AnnotationTable
from sai_core.dataset import demo_root
from sai_core.detections.raw import RawDetections, open_raw
from sai_core.errors import InputError
from sai_core.fusion.fuse import FusionSettings, fuse_tables
from sai_core.fusion.search import REGIONS, SILENCES
from sai_core.metrics import RecordingScores, merge, score_recording
from sai_core.metrics.evaluation.discovery import find_annotations
from sai_core.postprocess import load_system, run_system
from sai_core.tuning import raw_set

SHARES = (0.0, 0.25, 0.5, 0.75, 1.0)
COLUMNS = (
    "frame", "boxes_xyxy", "class_scores", "objectness", "category_id", "energy", "distance_cm", "embedding",
)  # fmt: skip


def union(parts: Sequence[RawDetections], weights: Sequence[float]) -> RawDetections:
    """Candidates of several networks in one list, the strongest first in a frame; full maps are those of the first."""
    first = parts[0]
    length = max(part.embedding.shape[1] for part in parts)
    columns: dict[str, Any] = {}
    for name in COLUMNS:
        values = [getattr(part, name) for part in parts]
        if name in ("class_scores", "objectness"):
            values = [value * np.float32(weight) for value, weight in zip(values, weights, strict=True)]
        if name == "embedding":
            values = [np.pad(value, ((0, 0), (0, length - value.shape[1]))) for value in values]
        columns[name] = np.concatenate(values)
    order = np.lexsort((-columns["objectness"], columns["frame"]))
    return replace(first, **{name: value[order] for name, value in columns.items()})


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sets", nargs=2, type=Path)
    parser.add_argument("--labels", type=Path, default=demo_root() / "labels_dev")
    parser.add_argument("--system", default="FAO")
    parser.add_argument("--seeds", type=int, default=3)
    args = parser.parse_args()
    system = load_system(args.system)
    files, _ = find_annotations(args.labels)
    found = [raw_set(folder) for folder in args.sets]
    if any(part is None for part in found):
        raise InputError("A set has no raw detections; predict keeps them.")
    names = sorted(set(files).intersection(*(part.stores for part in found if part is not None)))
    labels = {name: read_annotations(files[name], recording=name) for name in names}
    raw = {name: [open_raw(part.stores[name]) for part in found if part is not None] for name in names}
    submissions = {name: [run_system(part, system) for part in raw[name] if part is not None] for name in names}

    def scored(tables: Mapping[str, AnnotationTable]) -> dict[str, RecordingScores]:
        return {name: score_recording(labels[name], table, recording=name) for name, table in tables.items()}

    before, after = {}, {}
    for share in SHARES:
        # the larger weight is 1, so that the system's thresholds see scores of the usual size
        weights = np.array([1 - share, share]) / max(1 - share, share)
        before[share] = scored(
            {
                name: run_system(union([p for p, w in zip(raw[name], weights, strict=True) if w > 0 and p is not None],
                                       [w for w in weights if w > 0]), system)
                for name in names
            }
        )  # fmt: skip
        for region in REGIONS:
            for absent in SILENCES:
                if share in (0.0, 1.0) and (region, absent) != (REGIONS[0], SILENCES[0]):
                    continue
                settings = FusionSettings(region=region, absent=absent)
                after[share, region, absent] = scored(
                    {name: fuse_tables(submissions[name], [1 - share, share], settings) for name in names}
                )
        print(f"share {share:g} of the second done", flush=True)

    def figure(scores: Mapping[str, RecordingScores], chosen: Sequence[str]) -> float:
        return merge([scores[name] for name in chosen]).macro.mean_ap

    print("| held out, macro mAP | first | second | raw detections fused | submissions fused |")
    print("| --- | --- | --- | --- | --- |")
    for seed in range(args.seeds):
        # the division of search_weights
        order = np.random.default_rng(seed).permutation(len(names)).tolist()
        middle = (len(order) + 1) // 2
        searched, held_out = ([names[k] for k in part] for part in (order[:middle], order[middle:]))
        best_before = max(before, key=lambda key: (figure(before[key], searched), -key))
        best_after = max(after, key=lambda key: figure(after[key], searched))
        cells = [f"{figure(before[share], held_out):.3f}" for share in (0.0, 1.0)]
        cells.append(f"{figure(before[best_before], held_out):.3f} (share {best_before:g})")
        cells.append(f"{figure(after[best_after], held_out):.3f} (share {best_after[0]:g}, {best_after[1]})")
        print(f"| seed {seed} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
