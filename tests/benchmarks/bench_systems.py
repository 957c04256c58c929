"""The named systems side by side on a held-out set: one run of a network, then each system with its teacher.

    python -m sai_core teacher --data ROOT --split all --weights assets/weights/teacher.safetensors --out CSV
    python -m tests.benchmarks.bench_systems --data ROOT --checkpoint FILE --teacher CSV --out DIR [--system NAME ...]

The set of the documented figures is that of ``bench_weights``, with ambisonics (without ``--no-foa``). Figures by the
revision 2026-06-30 on official labels as they are; everything is simulated. ``predict`` keeps the raw detections in
DIR, so that a second run asks the network no more.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Sequence
from pathlib import Path

from sai_core.annotations import read_annotations
from sai_core.cli import main as command
from sai_core.dataset import open_data_root
from sai_core.metrics import evaluate
from sai_core.metrics.reading.diagnostics import class_agnostic_figures
from sai_core.taxonomy import SHORT_NAMES

SYSTEMS = ("Voted", "FAO", "OR-AO", "TPAV", "ERAV", "CFAV", "Baseline")


def measure(data: Path, checkpoint: Path, teacher: Path, out: Path, system: str) -> dict[str, object]:
    """One line of the table."""
    arguments = ["--split", "all", "--checkpoint", str(checkpoint), "--system", system, "--teacher", str(teacher)]
    code = command(["predict", "--data", str(data), *arguments, "--out", str(out), "--quiet"])
    if code:
        raise SystemExit(code)
    labels, predictions = {}, {}
    for recording in open_data_root(data).recordings:
        if recording.label_path is None:
            continue
        name = recording.name
        labels[name] = read_annotations(recording.label_path, recording=name, unknown_classes="drop")
        predictions[name] = read_annotations(out / f"{name}.json", recording=name)
    found = evaluate(labels, predictions, allow_large=True)
    one_class = class_agnostic_figures(labels, predictions, allow_large=True)
    frames = sum(table.n_frames for table in labels.values())
    return {
        "system": system,
        "macro mAP": round(float(found.macro.mean_ap), 4),
        "macro AP50": round(float(found.macro.ap[1]), 4),
        "micro mAP": round(float(found.micro.mean_ap), 4),
        "one class mAP": round(float(one_class.mean_ap), 4),
        "macro Pearson": round(float(found.macro.pearson_r), 3),
        "detections a frame": round(sum(len(t) for t in predictions.values()) / max(frames, 1), 2),
        "per class": {
            name: None if math.isnan(f.mean_ap) else round(float(f.mean_ap), 3)
            for name, f in zip(SHORT_NAMES, found.per_class, strict=True)
        },
    }


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the table, and keep it as JSON if asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--checkpoint", type=Path, default=Path("assets/weights/track_b.safetensors"))
    parser.add_argument("--teacher", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--system", nargs="+", default=list(SYSTEMS))
    parser.add_argument("--json", type=Path)
    chosen = parser.parse_args(arguments)
    rows = []
    for system in chosen.system:
        rows.append(measure(chosen.data, chosen.checkpoint, chosen.teacher, chosen.out, system))
        print(", ".join(f"{k} {v}" for k, v in rows[-1].items()), flush=True)
    if chosen.json:
        chosen.json.write_text(json.dumps(rows, indent=1))


if __name__ == "__main__":
    main()
