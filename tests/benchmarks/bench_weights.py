"""What shipped detectors are worth on a held-out simulated set, and what each option and part is worth to them.

    python -m tests.benchmarks.bench_weights --data ROOT [--weights A.safetensors ...] [--system NAME ...]
        [--variants N] [--recordings N] [--json FILE]

The set of the documented figures is made by

    python -m sai_core simulate --out ROOT --recordings 16 --seconds 15 --seed 7300 --split dev-test-sim \\
        --video-size 720x360 --no-foa --no-eigen --gzip-labels

For each checkpoint: macro mAP, AP50, Pearson r and the mAP with all classes taken as one, by the revision 2026-06-30
with each named system; "within 20": the share of labels that have a kept detection whose peak is within 20 degrees,
and the share of detections that have such a label, whatever the classes; the median angle between label and nearest
detection. Everything is simulated.

``--variants N`` goes on, with N of the recordings: options that change numbers, senses taken away (the picture black,
the maps silent, the two seconds of sound around a region silent), parts switched off in the trained network (it was not
trained again without them, which makes a part look more needed than training without it would), and the seam: every
recording is turned so that its busiest column lies on the seam, and the network is run with circular and with plain
padding.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from sai_core.annotations import AnnotationTable, read_annotations
from sai_core.dataset import open_data_root
from sai_core.detections.raw import RawColumns
from sai_core.detections.table import Detections
from sai_core.detector.config import DetectorConfig
from sai_core.detector.models import SaiDetector, load_detector
from sai_core.geometry import ERP_WIDTH, great_circle_deg
from sai_core.inference.networks import NetworkOptions, OwnNetwork, describe_checkpoint
from sai_core.metrics import evaluate
from sai_core.metrics.official.directions import region_peak_direction
from sai_core.metrics.reading.diagnostics import class_agnostic_figures
from sai_core.postprocess import run_pipeline
from sai_core.postprocess.systems import load_system
from sai_core.taxonomy import SHORT_NAMES
from sai_core.training.augment import Batch, Turn, make_batch
from sai_core.training.config import DataSettings
from sai_core.training.data import FrameSet, map_maker, prepare
from sai_core.training.validation import detections_of

BATCH = 8
WITHIN_DEG = 20.0
WEIGHTS = [Path("assets/weights/track_a.safetensors"), Path("assets/weights/track_b.safetensors")]

Change = Callable[[Batch], Batch]


@dataclass(frozen=True)
class Variant:
    """One line of the table: how the network is run."""

    name: str
    options: NetworkOptions
    model: Callable[[SaiDetector], SaiDetector] = lambda model: model
    change: Change = lambda batch: batch
    at_seam: bool = False


def frames_for(root: Path, checkpoint: Path, count: int | None) -> FrameSet:
    """The labelled recordings of a root as the checkpoint wants them, evenly chosen where fewer are asked for."""
    facts = describe_checkpoint(checkpoint)
    found = [r for r in open_data_root(root).recordings if r.has_labels and r.array_path is not None]
    if count is not None and count < len(found):
        found = [found[int(i)] for i in np.linspace(0, len(found) - 1, count).round()]
    settings = DataSettings(
        grid=facts.grid,
        magnitude=facts.magnitude,
        smooth_frames=facts.smooth_frames,
        visibility=facts.visibility or "",
    )
    config = load_detector(checkpoint).config
    return prepare(
        found,
        settings=settings,
        maker=map_maker(settings, device="cpu"),
        with_rgb=facts.needs_rgb,
        context_frames=config.context_frames,
    )


def _turn_to_seam(frames: FrameSet, index: int) -> Turn:
    """The turn that brings a recording's busiest column to the seam."""
    columns = frames.recordings[index].labels.pixels[:].astype(np.int64) % ERP_WIDTH
    busiest = int(np.bincount(columns, minlength=ERP_WIDTH).argmax())
    return Turn(shift=(ERP_WIDTH - busiest) % ERP_WIDTH)


def _turned(table: AnnotationTable, turn: Turn) -> AnnotationTable:
    """A table of whole-pixel regions after a turn."""
    points = table.points_xy.copy()
    points[:, 0] = (points[:, 0] + turn.shift) % ERP_WIDTH
    return dataclasses.replace(table, points_xy=points)


def _run(
    network: OwnNetwork, frames: FrameSet, index: int, variant: Variant, turn: Turn
) -> tuple[list[RawColumns], float]:
    n_frames = len(frames.recordings[index])
    out: list[RawColumns] = []
    seconds = 0.0
    for first in range(0, n_frames, BATCH):
        places = [(index, f) for f in range(first, min(first + BATCH, n_frames))]
        batch = make_batch(frames.read(places), circular=True, grid=frames.settings.grid, turns=[turn] * len(places))
        batch = variant.change(batch)
        begin = time.perf_counter()
        with torch.inference_mode():
            out += network.run(batch.acoustic, batch.rgb, batch.context)
        seconds += time.perf_counter() - begin
    return out, seconds


def _nearest(one: AnnotationTable, other: AnnotationTable) -> npt.NDArray[np.float64]:
    """Angle from each annotation of ``one`` to the nearest of ``other`` in its frame; infinite where there is none."""
    a, b = region_peak_direction(one), region_peak_direction(other)
    out = np.full(len(one), math.inf)
    order = np.argsort(other.frame, kind="stable")
    starts = np.searchsorted(other.frame[order], np.arange(max(one.n_frames, other.n_frames, 1) + 1))
    for row, frame in enumerate(one.frame.tolist()):
        there = order[starts[frame] : starts[frame + 1]]
        if len(there):
            angles = great_circle_deg(a[0][row], a[1][row], b[0][there], b[1][there])
            out[row] = float(np.nanmin(angles)) if np.isfinite(angles).any() else math.inf
    return out


def measure(model: SaiDetector, frames: FrameSet, variant: Variant, systems: Sequence[str]) -> list[dict[str, object]]:
    """One line of the table for each system, from one run of the network."""
    network = OwnNetwork(variant.model(model).eval(), variant.options)
    labels: dict[str, AnnotationTable] = {}
    streams: dict[str, tuple[Detections, int]] = {}
    seconds, n_frames = 0.0, 0
    for index, recording in enumerate(frames.recordings):
        name = recording.recording.name
        assert recording.recording.label_path is not None
        turn = _turn_to_seam(frames, index) if variant.at_seam else Turn()
        table = read_annotations(recording.recording.label_path, recording=name, unknown_classes="drop")
        labels[name] = _turned(table, turn)
        outputs, took = _run(network, frames, index, variant, turn)
        seconds, n_frames = seconds + took, n_frames + len(outputs)
        streams[name] = detections_of(outputs), len(outputs)
    rate = n_frames / seconds
    return [_row(labels, streams, variant, system, n_frames=n_frames, rate=rate) for system in systems]


def _row(
    labels: Mapping[str, AnnotationTable],
    streams: Mapping[str, tuple[Detections, int]],
    variant: Variant,
    system: str,
    *,
    n_frames: int,
    rate: float,
) -> dict[str, object]:
    settings = load_system(system).settings
    predictions = {
        name: run_pipeline(stream, recording=name, n_frames=length, settings=settings)
        for name, (stream, length) in streams.items()
    }
    to_detection = [_nearest(labels[name], predictions[name]) for name in streams]
    to_label = [_nearest(predictions[name], labels[name]) for name in streams]
    found = evaluate(labels, predictions, use_cache=not variant.at_seam, allow_large=True)
    angle, back = np.concatenate(to_detection), np.concatenate(to_label)
    macro = found.macro
    one_class = class_agnostic_figures(labels, predictions, use_cache=not variant.at_seam, allow_large=True)
    return {
        "variant": f"{variant.name}, {system}",
        "mAP": round(float(macro.mean_ap), 4),
        "AP50": round(float(macro.ap[1]), 4),
        "one class mAP": round(float(one_class.mean_ap), 4),
        "Pearson": round(float(macro.pearson_r), 3),
        "labels within 20": round(float((angle <= WITHIN_DEG).mean()), 3),
        "detections within 20": round(float((back <= WITHIN_DEG).mean()), 3),
        "median angle": round(float(np.median(angle)), 1),
        "detections a frame": round(len(back) / n_frames, 2),
        "frames/s": round(rate, 1),
        "per class": {
            name: None if math.isnan(f.mean_ap) else round(float(f.mean_ap), 3)
            for name, f in zip(SHORT_NAMES, found.per_class, strict=True)
        },
    }


def _without(**changes: object) -> Callable[[SaiDetector], SaiDetector]:
    """The same weights in a network with other settings; what it has no place for is left out."""

    def make(model: SaiDetector) -> SaiDetector:
        values: dict[str, object] = {**dataclasses.asdict(model.config), **changes}
        other = SaiDetector(DetectorConfig(**values))  # type: ignore[arg-type]
        missing = set(other.load_state_dict(model.state_dict(), strict=False).missing_keys)
        assert not missing, f"untrained parameters: {sorted(missing)[:3]}"
        return other

    return make


def _silent(batch: Batch) -> Batch:
    context = batch.context
    if context is not None:
        context = dataclasses.replace(context, power=torch.zeros_like(context.power))
    return dataclasses.replace(batch, acoustic=torch.zeros_like(batch.acoustic), context=context)


def _no_context(batch: Batch) -> Batch:
    assert batch.context is not None
    return dataclasses.replace(
        batch, context=dataclasses.replace(batch.context, power=torch.zeros_like(batch.context.power))
    )


def _dark(batch: Batch) -> Batch:
    assert batch.rgb is not None
    return dataclasses.replace(batch, rgb=torch.zeros_like(batch.rgb))


def variants(config: DetectorConfig) -> list[Variant]:
    """Options, senses, parts, seam."""
    plain = NetworkOptions()
    out = [Variant(f"{n} proposals", NetworkOptions(proposals=n)) for n in (25, 50, 200, 400)]
    out += [Variant(f"{n} classes a region", NetworkOptions(classes=n)) for n in (2, 3, 13)]
    out.append(Variant("bfloat16", NetworkOptions(precision="bfloat16")))
    if config.context_frames:
        out.append(Variant("silence around the region", plain, change=_no_context))
    if config.track == "B":
        out += [Variant("no sound", plain, change=_silent), Variant("no picture", plain, change=_dark)]
        parts = {"no gated fusion": {"gated_fusion": False}, "no RoI-CMAF": {"roi_cmaf": False}}
        out += [Variant(name, plain, model=_without(**change)) for name, change in parts.items()]
    out += [
        Variant("seam: circular", plain, at_seam=True),
        Variant("seam: plain padding", plain, model=_without(seam="zero"), at_seam=True),
    ]
    return out


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the tables, and keep them as JSON if asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--weights", type=Path, nargs="+", default=WEIGHTS)
    parser.add_argument("--system", nargs="+", default=["FAO", "Voted"], help="variants take the last one alone")
    parser.add_argument("--variants", type=int, metavar="N", help="variants too, on N recordings")
    parser.add_argument("--recordings", type=int)
    parser.add_argument("--only", nargs="+", default=[""], metavar="WORD", help="variants whose name has one of these")
    parser.add_argument("--json", type=Path)
    chosen = parser.parse_args(arguments)
    told: dict[str, list[Mapping[str, object]]] = {}
    for path in chosen.weights:
        frames = frames_for(chosen.data, path, chosen.recordings)
        print(f"{path.name}: {len(frames.recordings)} recordings, {len(frames)} frames")
        as_it_is = Variant("as it is", NetworkOptions())
        lines = [(as_it_is, frames)]
        if chosen.variants:
            fewer = frames_for(chosen.data, path, chosen.variants)
            named = dataclasses.replace(as_it_is, name=f"as it is, {len(fewer.recordings)} recordings")
            wanted = [v for v in variants(load_detector(path).config) if any(word in v.name for word in chosen.only)]
            lines += [(variant, fewer) for variant in (named, *wanted)]
        rows: list[Mapping[str, object]] = []
        for variant, chosen_frames in lines:
            systems = chosen.system if variant is as_it_is else chosen.system[-1:]
            for row in measure(load_detector(path), chosen_frames, variant, systems):
                rows.append(row)
                print("  " + ", ".join(f"{k} {v}" for k, v in row.items() if k != "per class"), flush=True)
        for told_row in rows[: len(chosen.system)]:
            print(f"  per class, {told_row['variant']}: {told_row['per class']}")
        told[path.name] = rows
    if chosen.json:
        chosen.json.write_text(json.dumps(told, indent=1))


if __name__ == "__main__":
    main()
