"""What regions by a field decoder are worth, against those of the detector's own energy head.

    python -m tests.benchmarks.bench_field [--data ROOT] [--checkpoint A.safetensors ...] [--field FILE]
        [--wideband FILE] [--system Voted] [--scenes N] [--out DIR] [--json FILE]

``--data`` (the demo if left out) is a root with labels. Each detector runs once; its raw detections are kept in DIR and
found there again. Then the same detections are written by the system as it is and with ``export = "field"``, and scored
by the revision 2026-06-30. A detector with a field of its own (``region = field``) uses that. The wideband listener
that ships (or FILE) hears all candidates, for systems that ask for it.

Intervals are of 1,000 draws of whole recordings with replacement, the same draws for all rows, so that the last column,
macro mAP less that of the first row of all, is paired (with four recordings: of no great worth). Where the root has
32-channel audio, a third row has the *true* field (the label recipe's) at our directions: what a perfect field decoder
would give.

``--scenes N`` measures the field itself on N simulated scenes with other seeds than in training: the RMS error of the
natural logarithm of the intensity where the true one is above 3e-4, and the mean soft IoU of regions of the true and of
the predicted field at one direction. Beside it, the error of the best constant, and the time of a frame on one core.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import torch

from sai_core.acoustics.audio_input import AudioInput
from sai_core.annotations import AnnotationTable, read_annotations
from sai_core.dataset import demo_root, open_data_root
from sai_core.detections.raw import RawDetections, open_raw
from sai_core.detector.field import LEAST_INTENSITY, SHIPPED_FIELD, load_field
from sai_core.detector.wideband import SHIPPED_WIDEBAND
from sai_core.inference.job import PredictionRequest, predict_recordings
from sai_core.inference.networks import has_field
from sai_core.labelling.intensity import intensity_maps
from sai_core.metrics import score_recording
from sai_core.metrics.reading.diagnostics import BootstrapResult, bootstrap
from sai_core.postprocess import prepare, run_prepared
from sai_core.postprocess.systems import load_system
from sai_core.training.config import FieldTraining
from sai_core.training.field import MATTERS, hear_scene, measure

WEIGHTS = [Path("assets/weights/track_a.safetensors"), Path("assets/weights/track_b.safetensors")]
SEED = 8200
"""Of the scenes that the field itself is measured on."""

FIGURES = {"macro mAP": "mAP", "AP50": "AP50", "AP75": "AP75", "Pearson": "pearson_r"}
"""Column of the table and name in :meth:`BootstrapResult.interval`."""

DRAWS = 1000


def drawn(labels: dict[str, AnnotationTable], found: dict[str, AnnotationTable]) -> BootstrapResult:
    """Macro figures of revision 2026-06-30, of the set and of sets of recordings drawn with replacement."""
    return bootstrap([score_recording(labels[name], found[name]) for name in sorted(labels)], n=DRAWS, seed=0)


def detections_with_fields(
    data: Path, checkpoint: Path, out: Path, field: Path, wideband: Path | None = None
) -> dict[str, tuple[RawDetections, RawDetections | None]]:
    """Raw detections of each recording with the predicted field; with 32 channels also with the true one."""
    root = open_data_root(data)
    recordings = tuple(r for r in root.recordings if r.has_labels and r.array_path is not None)
    request = PredictionRequest(
        data=data,
        recordings=recordings,
        checkpoint=checkpoint,
        out=out,
        system=load_system("Voted"),
        device="cpu",
        wideband_weights=wideband,
    )
    network = None if has_field(checkpoint) else load_field(field)
    both = {}
    for result in predict_recordings(request):
        assert result.raw is not None, result.error
        raw = open_raw(result.raw)
        assert raw is not None
        assert result.recording.array_path is not None
        heard = raw.field
        if network is not None:
            heard = network.of_frames(AudioInput(result.recording.array_path, channels=4), 0, raw.n_frames)
        true = None
        if result.recording.eigen_path is not None:
            intensity = intensity_maps(result.recording.eigen_path, device="cpu")
            true = replace(raw, field=np.log(np.maximum(intensity, LEAST_INTENSITY)).astype(np.float16))
        both[raw.recording] = replace(raw, field=heard.astype(np.float16)), true
    return both


def compare(
    data: Path,
    checkpoint: Path,
    out: Path,
    field: Path,
    system: str,
    first: BootstrapResult | None,
    wideband: Path | None = None,
) -> tuple[list[dict[str, object]], BootstrapResult]:
    """Rows of the table of one detector, each with its difference to the first row of all."""
    both = detections_with_fields(data, checkpoint, out, field, wideband)
    labels = {}
    for recording in open_data_root(data).recordings:
        if recording.name in both:
            assert recording.label_path is not None
            labels[recording.name] = read_annotations(recording.label_path, recording=recording.name)
    own = load_system(system).settings
    ways = {
        "as it is": (0, own),
        "regions by the field decoder": (0, replace(own, export="field")),
        "regions by the true field": (1, replace(own, export="field")),
    }
    rows: list[dict[str, object]] = []
    for name, (which, settings) in ways.items():
        raws = {recording: raw[which] for recording, raw in both.items()}
        found = {r: run_prepared(prepare(raw), settings) for r, raw in raws.items() if raw is not None}
        if len(found) < len(labels):
            continue
        result = drawn(labels, found)
        first = first or result
        row: dict[str, object] = {"detector": checkpoint.stem, "system": system, "way": name}
        cells = []
        for title, key in FIGURES.items():
            figure = result.interval(key)
            row[title] = asdict(figure)
            cells.append(f"{figure.value:.3f} ({figure.low:.3f} to {figure.high:.3f})")
        column = len(result.evaluation.thresholds)
        low, high = np.nanpercentile(result.macro[:, column] - first.macro[:, column], [2.5, 97.5])
        more = result.evaluation.macro.mean_ap - first.evaluation.macro.mean_ap
        row["more than the first row"] = {"value": more, "low": float(low), "high": float(high)}
        cells.append("" if result is first else f"{more:+.3f} ({low:+.3f} to {high:+.3f})")
        rows.append(row)
        print(f"| {checkpoint.stem} | {system} | {name} | " + " | ".join(cells) + " |", flush=True)
    assert first is not None
    return rows, first


def measure_field(weights: Path, scenes: int) -> dict[str, float]:
    """The field itself on scenes that nothing was trained on, and the time of a frame."""
    network = load_field(weights)
    settings = FieldTraining(seed=SEED)
    heard = [hear_scene(index, settings)[0] for index in range(scenes)]
    figures = measure(network, heard, seed=SEED)
    strong = np.concatenate([h.field[h.field > np.log(MATTERS)] for h in heard])
    audio = np.random.default_rng(0).normal(0, 0.1, (64 * 2400, 4)).astype(np.float32)
    source = AudioInput(audio, channels=4)
    network.of_frames(source, 0, 32)
    began = time.process_time()
    network.of_frames(source, 16, 48)
    each = (time.process_time() - began) / 32
    return {"rms": figures.rms, "iou": figures.iou, "rms of a constant": float(strong.std()), "ms a frame": 1000 * each}


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=demo_root())
    parser.add_argument("--checkpoint", type=Path, nargs="*", default=WEIGHTS)
    parser.add_argument("--field", type=Path, default=SHIPPED_FIELD)
    parser.add_argument("--wideband", type=Path, default=SHIPPED_WIDEBAND)
    parser.add_argument("--system", nargs="*", default=["Voted"])
    parser.add_argument("--scenes", type=int, default=0)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    torch.set_num_threads(1)
    result: dict[str, object] = {}
    if args.scenes:
        result["field"] = figures = measure_field(args.field, args.scenes)
        print(", ".join(f"{name} {value:.3f}" for name, value in figures.items()), flush=True)
    with tempfile.TemporaryDirectory() as scratch:
        out = args.out or Path(scratch)
        rows: list[dict[str, object]] = []
        first: BootstrapResult | None = None
        for checkpoint in args.checkpoint:
            for system in args.system:
                more, first = compare(
                    args.data, checkpoint, out / checkpoint.stem, args.field, system, first, args.wideband
                )
                rows += more
    result["rows"] = rows
    if args.json:
        args.json.write_text(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
