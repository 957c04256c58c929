"""What each part of our detectors is worth: taken out in turn, the rest trained on, measured on held-out recordings.

    python -m tests.benchmarks.bench_ablation --track A --train ROOT ... --validation ROOT --held-out ROOT --out DIR
        [--steps 300] [--recordings N] [--only WORD ...]

Every variant begins with the weights that ship, without the part (or with one that is new), and is trained on for the
same number of steps of eight frames on the same draws; "all parts" is trained on too, with two seeds, and what lies
between those two is chance. Parts of the network are missing at prediction as well; augmentation and sampling are
training alone. The weights had learned with all parts before, so that the table says what the rest can make good in
that many steps, not what a network would be that had never had the part. Everything is simulated.

A variant that was measured is not trained again, so that the script goes on where it was stopped. The head of
``bench_weights`` and docs/training.md tell how the data are made.
"""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sai_core.detector.models import load_detector
from sai_core.files import atomic_write
from sai_core.inference.networks import NetworkOptions
from sai_core.progress import TerminalProgress
from sai_core.runs.kinds import KINDS
from sai_core.training.loop import train
from tests.benchmarks.bench_weights import Variant, frames_for, measure

SYSTEM = "Voted"


@dataclass(frozen=True)
class Part:
    """One line of the table."""

    name: str
    settings: tuple[str, ...]
    tracks: str = "AB"
    seed: int = 1


PARTS = (
    Part("all parts", ()),
    Part("all parts, other seed", (), seed=2),
    Part("without RoI-CMAF", ("model.roi_cmaf=false",), "B"),
    Part("without gated fusion", ("model.gated_fusion=false",), "B"),
    Part("without either (the sound of a region stays)", ("model.roi_cmaf=false", "model.gated_fusion=false"), "B"),
    Part("without the sound of a region", ("model.context_frames=0",)),
    Part("without precedence (the official recipe)", ('data.visibility="official"',), "A"),
    Part("maps that are not averaged", ("data.smooth_frames=0",), "A"),
    Part("without the full-frame decoder", ("model.full_decoder=false",)),
    Part("without auxiliary classes", ("model.aux_classifier=false",)),
    Part("without the embedding", ("model.embedding_dim=0",)),
    Part("plain padding at the seam", ('model.seam="zero"',)),
    Part("with a Transformer neck", ("model.neck=true",)),
    Part("with the ResNet-Conformer", ("model.conformer=true",)),
    Part("without turns and mirroring", ("augment.shift=false", "augment.flip=0.0")),
    Part("without masked bands and noise", ("augment.masked_bands=0", "augment.noise_sigma=0.0")),
    Part("without draws of rare classes", ("data.rare_share=0.0",)),
)

COMMON = (
    "epochs=1",
    "optimiser.rate=3e-4",
    "optimiser.warmup_steps=50",
    "optimiser.final_share=0.7",
    "optimiser.average=0.98",
    "validation.recordings=0",
    "validation.frames=16",
)


def _train(part: Part, track: str, steps: int, folder: Path, roots: Sequence[Path], seed: int) -> Path:
    start = f'start.detector="assets/weights/track_{track.lower()}.safetensors"'
    recipe = f"small_{track.lower()}"
    # Track B's weights that ship ask for maps that are not averaged
    settings = [*COMMON, start, f"data.frames_per_epoch={8 * steps}", f"seed={seed}"]
    if track == "B":
        settings.append("data.smooth_frames=0")
    config = KINDS["detector"].read_config(recipe, [*settings, *part.settings])
    resume = (folder / "last.safetensors").exists()
    progress = TerminalProgress(part.name)
    return train(None if resume else config, folder, data_roots=roots, device="cpu", resume=resume, progress=progress)


def table(results: Mapping[str, Mapping[str, Any]]) -> str:
    """Markdown, differences against the mean of the two runs with all parts."""
    whole = [r for name, r in results.items() if name.startswith("all parts")]
    mean = {key: sum(float(r[key]) for r in whole) / max(len(whole), 1) for key in ("mAP", "Pearson")}
    lines = ["| | macro mAP | change | one class for all | macro Pearson r |", "| --- | --- | --- | --- | --- |"]
    for name, row in results.items():
        change = f"{float(row['mAP']) - mean['mAP']:+.3f}" if whole else ""
        figures = (f"{float(row['mAP']):.3f}", change, f"{float(row['one class mAP']):.3f}", f"{row['Pearson']:.3f}")
        lines.append(f"| {name} | {' | '.join(figures)} |")
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> None:
    """Train and measure what is missing; print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--track", choices=("A", "B"), required=True)
    parser.add_argument("--train", type=Path, nargs="+", required=True)
    parser.add_argument("--validation", type=Path, required=True)
    parser.add_argument("--held-out", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--recordings", type=int)
    parser.add_argument("--only", nargs="+", default=[""], metavar="WORD", help="parts whose name has one of these")
    chosen = parser.parse_args(arguments)
    results: dict[str, dict[str, Any]] = {}
    for part in PARTS:
        if chosen.track not in part.tracks or not any(word in part.name for word in chosen.only):
            continue
        folder = chosen.out / f"{chosen.track}-{'-'.join(re.findall('[A-Za-z]+', part.name))}"
        known = folder / "held_out.json"
        if not known.exists():
            roots = [*chosen.train, chosen.validation]
            weights = _train(part, chosen.track, chosen.steps, folder, roots, part.seed)
            frames = frames_for(chosen.held_out, weights, chosen.recordings)
            variant = Variant(part.name, NetworkOptions())
            row = measure(load_detector(weights), frames, variant, [SYSTEM])[0]
            with atomic_write(known) as stream:
                stream.write(json.dumps({**row, "steps": chosen.steps, "seed": part.seed}).encode())
        results[part.name] = json.loads(known.read_text())
        row = results[part.name]
        print(f"{part.name}: mAP {row['mAP']}, one class {row['one class mAP']}, r {row['Pearson']}", flush=True)
    print(table(results))


if __name__ == "__main__":
    main()
