"""Frames a second of a whole prediction, from stored acoustic maps to the table, with all that a system asks for.

    python -m tests.benchmarks.bench_predict [--checkpoint A.safetensors ...] [--system Voted Field] [--rounds 3]

One recording of the demo, two threads of torch, all candidates kept as by default. Maps are made beforehand (how long
that takes stands in docs/uplam.md); pictures are decoded, candidates listened to, fields heard, tracks and regions
made. Systems take turns within a round; what is printed is the median, and the smallest and largest.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import torch

from sai_core.dataset import demo_root, open_data_root
from sai_core.inference.job import PredictionRequest, predict_recordings
from sai_core.postprocess.systems import load_system
from tests.benchmarks.bench_field import WEIGHTS


def main() -> None:
    """Print a line for each detector and system."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkpoint", type=Path, nargs="*", default=WEIGHTS)
    parser.add_argument("--system", nargs="*", default=["Voted", "Field"])
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args()
    torch.set_num_threads(2)
    recording = open_data_root(demo_root()).recordings[0]
    for checkpoint in args.checkpoint:
        found: dict[str, list[float]] = {name: [] for name in args.system}
        for round_ in range(args.rounds + 1):
            for name in args.system:
                with tempfile.TemporaryDirectory() as out:
                    request = PredictionRequest(
                        data=demo_root(),
                        recordings=(recording,),
                        checkpoint=checkpoint,
                        out=Path(out),
                        system=load_system(name),
                        device="cpu",
                    )
                    began = time.perf_counter()
                    (result,) = predict_recordings(replace(request, batch=8))
                    took = time.perf_counter() - began
                assert not result.error, result.error
                if round_:  # the first one makes what is kept
                    found[name].append(result.n_frames / took)
        for name, rates in found.items():
            print(
                f"{checkpoint.stem} {name}: {statistics.median(rates):.1f} frames/s "
                f"({min(rates):.1f} to {max(rates):.1f}), {result.n_frames} frames",
                flush=True,
            )


if __name__ == "__main__":
    main()
