"""From WAV and pictures to annotations, beside what the official inference script wrote: the whole reference.

``python -m tests.benchmarks.end_to_end --reference ../shared/oracle/e2e`` takes three minutes of one core for its 60
frames; ``tests/inference/test_end_to_end.py`` runs the first of them.
"""

from __future__ import annotations

import argparse
import gzip
import json
import tempfile
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import torch

from sai_core.acoustics.networks import load_uplam
from sai_core.cli import main as command
from tests.detector.oracle_weights import filled_state

NAME = "fold9_room1_mix001"
SPLIT = "dev-test-sim"
N_FRAMES = 60
AHEAD = 7
"""Frames behind a frame that decide about it: a track must be seen twice, and goes on for five frames in which it is
not seen; the last frame of all lacks the sound that follows."""
WEIGHTS = Path(__file__).resolve().parents[2] / "assets" / "weights" / "uplam.safetensors"

Annotations = list[dict[str, Any]]


@dataclass(frozen=True)
class Compared:
    """Annotations of both, and how many of the official ones have one of ours."""

    official: int
    ours: int
    paired: int


def compare(reference: Path, folder: Path, *, frames: int = N_FRAMES) -> Compared:
    """Run ``predict --system Baseline`` over the first frames of the reference.

    Parameters
    ----------
    reference : Path
        Data root, checkpoint rule and the official script's annotations.
    folder : Path
        Empty, for what is made.
    frames : int
        Those compared; some more are predicted (:data:`AHEAD`).
    """
    rule = json.loads((reference / "checkpoint_keys.json").read_text())
    torch.save(filled_state(rule["keys"], suffix=rule["seed_suffix"]), folder / "energy_seg_best.pth")
    torch.save(load_uplam(WEIGHTS, dtype=torch.float64).state_dict(), folder / "UpLAM.pth")
    root = _beginning(reference / "root", folder / "root", min(frames + AHEAD, N_FRAMES))
    words = ["predict", "--data", str(root), "--split", SPLIT, "--system", "Baseline", "--quiet", "--device", "cpu"]
    words += ["--checkpoint", str(folder / "energy_seg_best.pth"), "--weights", str(folder / "UpLAM.pth")]
    if command([*words, "--out", str(folder / "out")]):
        raise SystemExit(1)
    with gzip.open(reference / "official_inference.json.gz", "rt") as stream:
        official = _first(json.load(stream)["annotations"], frames)
    ours = _first(json.loads((folder / "out" / f"{NAME}.json").read_text())["annotations"], frames)
    return Compared(len(official), len(ours), _paired(official, ours))


def _beginning(root: Path, copy: Path, frames: int) -> Path:
    """Data root of the first frames."""
    sound, pictures = copy / "mic_dev" / SPLIT, copy / "frames_dev" / SPLIT / NAME
    sound.mkdir(parents=True)
    pictures.mkdir(parents=True)
    (file,) = (root / "mic_dev" / SPLIT).glob(f"{NAME}.*")
    samples, rate = soundfile.read(file, dtype="int16", frames=2400 * frames)
    soundfile.write(sound / f"{NAME}.wav", samples, rate, subtype="PCM_16")
    for k in range(frames):
        name = f"{NAME}_{k:04d}.png"
        (pictures / name).write_bytes((root / "frames_dev" / SPLIT / NAME / name).read_bytes())
    return copy


def _first(annotations: Annotations, frames: int) -> Annotations:
    return [a for a in annotations if a["metadata_frame_index"] < frames]


def _paired(official: Annotations, ours: Annotations) -> int:
    """Official annotations that have one of ours: same frame and class, score to 1e-4, points and energies to 1e-3."""
    there = defaultdict(list)
    for a in ours:
        there[a["metadata_frame_index"], a["category_id"]].append(a)
    count = 0
    for a in official:
        near = there[a["metadata_frame_index"], a["category_id"]]
        for b in near:
            if abs(a["score"] - b["score"]) <= 1e-4 and _close(_points(a), _points(b)):
                near.remove(b)
                count += 1
                break
    return count


def _points(annotation: dict[str, Any]) -> np.ndarray:
    return np.array(sorted(tuple(point) for part in annotation["segmentation"] for point in part))


def _close(a: np.ndarray, b: np.ndarray) -> bool:
    return a.shape == b.shape and bool(np.abs(a - b).max(initial=0.0) <= 1e-3)


def main() -> None:
    """Compare and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--reference", type=Path, required=True, help="folder of the end-to-end reference")
    parser.add_argument("--frames", type=int, default=N_FRAMES, help=f"first frames of the {N_FRAMES}")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        found = compare(args.reference, Path(folder), frames=args.frames)
    print(f"{found.paired} of {found.official} official annotations have one of our {found.ours}")


if __name__ == "__main__":
    main()
