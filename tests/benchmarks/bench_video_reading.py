"""How fast label frames of a video are read, in a row and at random places.

    python -m tests.benchmarks.bench_video_reading [--seconds 60] [--json FILE]

Made-up noisy pictures of 1920 x 960 at 29.97 a second as H.264 with three B pictures between others and a key frame
every 250 pictures (x264's default, the worst case for random places). Seconds by the clock and of processor time.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np

from sai_core.dataset.video import VideoReader

SIZE_WH = (1920, 960)


def write(path: Path, seconds: int) -> None:
    """Noise over stripes that move."""
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 24, (8, SIZE_WH[1], SIZE_WH[0], 1), dtype=np.uint8)
    stripes = np.tile(np.arange(SIZE_WH[0], dtype=np.uint16) % 200, (SIZE_WH[1], 1)).astype(np.uint8)[..., None]
    with av.open(str(path), "w") as container:
        stream: Any = container.add_stream("libx264", rate=Fraction(30000, 1001))
        stream.width, stream.height = SIZE_WH
        stream.pix_fmt = "yuv420p"
        stream.options = {"preset": "superfast", "crf": "26", "x264-params": "keyint=250:scenecut=0:bframes=3"}
        for n in range(seconds * 30):
            picture = np.repeat(np.roll(stripes, 3 * n, axis=1) + noise[n % 8], 3, axis=2)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode(None))


def measure(path: Path, *, n_row: int = 300, n_random: int = 30) -> dict[str, float]:
    """Figures of one video."""

    def clock() -> tuple[float, float]:
        return time.perf_counter(), time.process_time()

    out: dict[str, float] = {}
    began = clock()
    with VideoReader(path, cache_bytes=0) as reader:
        out["open, s"], out["open, cpu s"] = (b - a for a, b in zip(began, clock(), strict=True))
        began = clock()
        for k in range(min(n_row, reader.n_frames)):
            reader.frame(k)
        out["in a row, s"], out["in a row, cpu s"] = (b - a for a, b in zip(began, clock(), strict=True))
        each = []
        began = clock()
        for k in np.random.default_rng(1).integers(0, reader.n_frames, n_random).tolist():
            start = time.perf_counter()
            reader.frame(k)
            each.append(time.perf_counter() - start)
        out["random place, cpu s"] = (time.process_time() - began[1]) / n_random
    out["random place, p50 s"], out["random place, p95 s"] = np.quantile(each, [0.5, 0.95]).tolist()
    return {name: round(value, 3) for name, value in out.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "v.mp4"
        write(path, args.seconds)
        figures = measure(path)
    print(f"load {os.getloadavg()[0]:.1f}, {os.cpu_count()} cores")
    for name, value in figures.items():
        print(f"{name}: {value}")
    if args.json:
        args.json.write_text(json.dumps(figures, indent=1) + "\n")


if __name__ == "__main__":
    main()
