"""Speed and memory of reading annotations: ``python tests/benchmarks/bench_annotations.py [--megabytes 150]``.

Writes a dense label file (whole pixels, energies with two decimals, shuffled centres) and a sparse submission (20
points with four decimals each) of the given size into a temporary folder with a cache of their own, and prints

* MB/s of the first reading (parsing and filling the cache), and of parsing alone into memory;
* MB/s of ``json.loads`` of the same bytes in the same run, as a yardstick for the machine;
* milliseconds of the second opening (median and largest of 20, each with a new table);
* milliseconds of a frame (median, 99th percentile and largest of 2000 random frames: all points summed);
* peak memory of the reading process over that of the interpreter, as a multiple of the file.

Figures depend on what else the machine does: the fastest of ``--repeat`` readings is given.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

REPOSITORY = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(REPOSITORY))

from sai_core.annotations import AnnotationTable, read_annotations, write_label_json, write_submission_json  # noqa: E402

_CHILD = """
import json, re, sys, time
sys.path.insert(0, sys.argv[3])
from sai_core.annotations import read_annotations

def peak_kb():
    # not ru_maxrss, which a child inherits from its parent
    return int(re.search(r"VmHWM:\\s+(\\d+)", open("/proc/self/status").read()).group(1))

before = peak_kb()
start = time.perf_counter()
table = read_annotations(sys.argv[1], use_cache=sys.argv[2] == "cache")
seconds = time.perf_counter() - start
after = peak_kb()
print(json.dumps({"seconds": seconds, "bytes": (after - before) * 1024, "total": after * 1024}))
"""


def _table(n: int, points: np.ndarray, rng: np.random.Generator, *, decimals: int, scores: bool) -> AnnotationTable:
    m = len(points)
    centre = rng.integers([20, 25], [335, 155], (n, 1, 2))
    return AnnotationTable(
        "bench",
        np.arange(n, dtype=np.int32) // 3,
        rng.integers(0, 13, n).astype(np.int16),
        np.arange(n, dtype=np.int64) % 3,
        rng.uniform(50, 500, n).round(2),
        rng.random(n).round(6) if scores else np.full(n, np.nan),
        np.arange(n + 1, dtype=np.int64),
        np.arange(n + 1, dtype=np.int64) * m,
        (centre + points).reshape(-1, 2).round(decimals),
        rng.random(n * m).round(decimals or 2),
    )


def _write(path: Path, kind: str, megabytes: float) -> None:
    rng = np.random.default_rng(0)
    if kind == "dense label":
        yy, xx = np.mgrid[-14:15, -14:15]
        disc = xx**2 + yy**2 <= 14**2
        table = _table(
            int(megabytes * 1e6 / 8650),
            np.column_stack([xx[disc], yy[disc]]).astype(float),
            rng,
            decimals=0,
            scores=False,
        )
        write_label_json(table, path)
    else:
        table = _table(int(megabytes * 1e6 / 625), rng.uniform(-15, 15, (20, 2)), rng, decimals=4, scores=True)
        write_submission_json(table, path)


def _child(path: Path, mode: str) -> dict[str, float]:
    answer = subprocess.run(
        [sys.executable, "-c", _CHILD, str(path), mode, str(REPOSITORY)], check=True, capture_output=True, text=True
    )
    return json.loads(answer.stdout)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--megabytes", type=float, default=150.0)
    parser.add_argument("--repeat", type=int, default=3)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        for kind in ("dense label", "sparse submission"):
            path = Path(folder) / f"{kind.split()[0]}.json"
            _write(path, kind, args.megabytes)
            size = path.stat().st_size
            parsed = [_child(path, "memory") for _ in range(args.repeat)]
            firsts = []
            for k in range(args.repeat):
                os.environ["SAI_CACHE_DIR"] = str(Path(folder) / f"cache-{path.stem}-{k}")
                firsts.append(_child(path, "cache"))
            loads = []
            for _ in range(args.repeat):
                start = time.perf_counter()
                json.loads(path.read_bytes())
                loads.append(time.perf_counter() - start)
            opened = []
            for _ in range(20):
                start = time.perf_counter()
                table = read_annotations(path)
                opened.append(1e3 * (time.perf_counter() - start))
            frames = []
            for frame in np.random.default_rng(1).integers(0, table.n_frames, 2000).tolist():
                start = time.perf_counter()
                chosen = table.frame_slice(frame)
                for index in range(chosen.start, chosen.stop):
                    for xy, energy in table.polygons(index):
                        xy.sum()
                        energy.sum()
                frames.append(1e3 * (time.perf_counter() - start))
            mega = size / 1e6
            print(f"{kind}: {mega:.0f} MB, {len(table):,} annotations, {table.n_points:,} points")
            print(f"  parsing into memory   {mega / min(p['seconds'] for p in parsed):6.1f} MB/s", end="")
            print(f"   peak {max(p['bytes'] for p in parsed) / size:.2f} x file (whole process", end="")
            print(f" {max(p['total'] for p in parsed) / size:.2f} x)")
            print(f"  first reading, cached {mega / min(p['seconds'] for p in firsts):6.1f} MB/s", end="")
            print(f"   peak {max(p['bytes'] for p in firsts) / size:.2f} x file (whole process", end="")
            print(f" {max(p['total'] for p in firsts) / size:.2f} x)")
            print(f"  json.loads            {mega / min(loads):6.1f} MB/s")
            print(f"  second opening        {np.median(opened):6.2f} ms median, {max(opened):.2f} ms at most")
            print(
                f"  a frame               {np.median(frames):6.3f} ms median, {np.percentile(frames, 99):.3f} ms p99,",
                end="",
            )
            print(f" {max(frames):.2f} ms at most")
            path.unlink()


if __name__ == "__main__":
    main()
