"""What the float16 of stored maps and of stored region energies costs our own detectors, on the demo recordings.

    python -m tests.benchmarks.bench_rounding [--data ROOT] [--weights A.safetensors ...] [--recordings N]

Each recording is predicted twice, as ``predict`` does and with maps and energies stored in float32 (as an official
checkpoint gets them); both are scored against the labels by the revision 2026-06-30. Everything is simulated.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np

from sai_core.acoustics import features
from sai_core.annotations import read_annotations
from sai_core.cli import main as command
from sai_core.dataset import demo_root, open_data_root
from sai_core.inference import networks
from sai_core.metrics import evaluate

WEIGHTS = [Path("assets/weights/track_a.safetensors"), Path("assets/weights/track_b.safetensors")]


@contextmanager
def _unrounded() -> Iterator[None]:
    options = features.FeatureOptions

    def wide(**changes: Any) -> features.FeatureOptions:
        return options(**{**changes, "stored": "float32"})

    with patch.object(features, "FeatureOptions", wide), patch.object(networks, "_half", networks._single):
        yield


def main() -> None:
    """Predict twice, score both, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=demo_root())
    parser.add_argument("--weights", type=Path, nargs="+", default=WEIGHTS)
    parser.add_argument("--system", default="Voted")
    parser.add_argument("--recordings", type=int, help="the first of them; all if left out")
    args = parser.parse_args()
    chosen = [r for r in open_data_root(args.data).recordings if r.label_path is not None][: args.recordings]
    labels = {r.name: r.label_path for r in chosen if r.label_path is not None}
    for weights in args.weights:
        with tempfile.TemporaryDirectory() as folder, patch.dict(os.environ, SAI_CACHE_DIR=f"{folder}/cache"):
            words = ["predict", "--data", str(args.data), "--split", "all", "--checkpoint", str(weights), "--quiet"]
            words += ["--system", args.system, "--device", "cpu"]
            words += [word for name in labels for word in ("--recording", name)]
            outputs = []
            for name in ("float16", "float32"):
                out = Path(folder) / name
                if name == "float16":
                    code = command([*words, "--out", str(out)])
                else:
                    with _unrounded():
                        code = command([*words, "--out", str(out)])
                if code:
                    raise SystemExit(code)
                tables = {n: read_annotations(out / f"{n}.json", recording=n) for n in labels}
                found = evaluate(labels, tables)
                outputs.append(tables)
                print(
                    f"{weights.name}, {args.system}, {name}: macro mAP {found.macro.mean_ap:.5f}, "
                    f"AP50 {found.macro.ap[1]:.5f}, Pearson r {found.macro.pearson_r:.5f}, "
                    f"{sum(map(len, tables.values()))} detections",
                    flush=True,
                )
            rounded, exact = outputs
            same = sum(np.isin(np.round(exact[n].score, 3), np.round(rounded[n].score, 3)).sum() for n in labels)
            print(f"  scores to 3 decimals: {same} of {sum(map(len, exact.values()))} are there in float16")


if __name__ == "__main__":
    main()
