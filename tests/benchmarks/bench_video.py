"""How fast videos are written, against the time they play.

    python -m tests.benchmarks.bench_video [--seconds 60] [--rounds 2] [--json FILE]

A made-up recording as the challenge has it (panorama of 1920 x 960 at 29.97 pictures a second, labels of four sources,
sparse predictions, 4-channel sound) and a demo recording, both layouts, default options, from the call to the finished
file, annotation caches warm. Two figures each, the best of the rounds: real time factor by the clock, and by processor
seconds spread over two cores, which counts waiting for other programs less. The goal is 5 by the clock on a quiet
machine with two cores.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from pathlib import Path
from typing import Any

from sai_core.dataset import Recording, demo_root, open_data_root
from sai_core.figures.paper.material import System, system_of_set
from sai_core.figures.video import LAYOUTS, VideoOptions, write_video
from tests.figures.scenes import write_root

_CORES = 2


def measure(recording: Recording, system: System, folder: Path, rounds: int) -> list[dict[str, Any]]:
    """Best of some rounds for each layout."""
    rows = []
    for layout in LAYOUTS:
        best_wall = best_cpu = float("inf")
        for _ in range(rounds):
            wall, cpu = time.perf_counter(), time.process_time()
            report = write_video(recording, system, folder / "bench.mp4", options=VideoOptions(layout=layout))
            best_wall = min(best_wall, time.perf_counter() - wall)
            best_cpu = min(best_cpu, time.process_time() - cpu)
        rows.append(
            {
                "recording": recording.name,
                "layout": layout,
                "seconds of video": report.duration_s,
                "wall s": round(best_wall, 2),
                "cpu s": round(best_cpu, 2),
                "x real time": round(report.duration_s / best_wall, 1),
                "x real time by cpu on 2 cores": round(report.duration_s / best_cpu * _CORES, 1),
                "MB": round((folder / "bench.mp4").stat().st_size / 1e6, 2),
            }
        )
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as text:
        folder = Path(text)
        root = open_data_root(write_root(folder / "root", n_frames=10 * args.seconds, video_size=(1920, 960)))
        rows = measure(
            root.recordings[0], system_of_set(root.prediction_sets[0], root.recordings[0].name), folder, args.rounds
        )
        demo = open_data_root(demo_root())
        recording = demo.recordings[0]
        rows += measure(recording, system_of_set(demo.prediction_sets[0], recording.name), folder, args.rounds)
    print(f"load {os.getloadavg()[0]:.1f}, {os.cpu_count()} cores")
    for row in rows:
        print("  ".join(f"{key}: {value}" for key, value in row.items()))
    if args.json:
        args.json.write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    main()
