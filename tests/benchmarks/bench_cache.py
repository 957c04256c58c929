"""What verifying costs: reading an entry into memory and checking every byte, against reading alone and CRC-32.

``python -m tests.benchmarks.bench_cache [--mb 250]``
"""

from __future__ import annotations

import argparse
import tempfile
import time
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np

from sai_core.entry_file import Rows, read_entry, write_entry


def best_s(work: Callable[[], object], repeats: int = 5) -> float:
    """Shortest of a few runs, in seconds."""
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return min(times)


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--mb", type=int, default=250)
    n_bytes = parser.parse_args().mb * 10**6
    data = np.frombuffer(np.random.default_rng(0).bytes(n_bytes), np.uint8)
    wide = data[: n_bytes // 8712 * 8712].reshape(-1, 8712)
    with tempfile.TemporaryDirectory() as folder:
        array, rows = Path(folder) / "array", Path(folder) / "rows"
        with open(array, "wb") as stream:
            write_entry(stream, "array", {"values": data})
        with open(rows, "wb") as stream:
            write_entry(stream, "rows", {"values": Rows(np.uint8, wide.shape, [wide])})
        stored = read_entry(rows, "rows").rows["values"]
        for what, work in (
            ("reading alone", lambda: np.fromfile(array, np.uint8)),
            ("reading and verifying an array", lambda: read_entry(array, "array")),
            ("reading and verifying rows of 8.7 kB", lambda: stored[:]),
            ("CRC-32 alone", lambda: zlib.crc32(data.data)),
        ):
            seconds = best_s(work)
            print(f"{what:<38} {seconds * 1e3:7.1f} ms  {n_bytes / seconds / 1e9:6.2f} GB/s")


if __name__ == "__main__":
    main()
