"""Six hours of use in script reruns: memory of the process over the reruns of the Explorer's script.

``python -m tests.benchmarks.bench_soak --reruns 20000`` reruns the page on the demo recordings, changing frame,
recording and systems as a user does, and prints the resident memory after each tenth. The last half should be flat.
"""

from __future__ import annotations

import argparse
import gc
import logging
import random
import time
from pathlib import Path

import psutil
from streamlit.testing.v1 import AppTest

from pages.components import state_keys as keys
from sai_core.dataset import demo_root, open_data_root

PAGE = str(Path(__file__).resolve().parents[2] / "pages" / "explorer" / "page.py")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--reruns", type=int, default=20_000)
    parser.add_argument("--per-session", type=int, default=50, help="reruns before a session ends and a new one begins")
    args = parser.parse_args()
    logging.disable(logging.WARNING)
    root = open_data_root(demo_root())
    recordings = [f"{r.split}/{r.name}" for r in root.recordings]
    systems = ["none", *(s.name for s in root.prediction_sets)]
    chance = random.Random(1)
    process = psutil.Process()
    began = time.perf_counter()
    print("| reruns | resident memory | ms a rerun |\n| --- | --- | --- |")
    app: AppTest | None = None
    for number in range(args.reruns):
        if app is None or number % args.per_session == 0:
            app = AppTest.from_file(PAGE, default_timeout=60)
            app.query_params[keys.RECORDING] = chance.choice(recordings)
        app.query_params[keys.FRAME] = str(chance.randrange(150))
        app.query_params[keys.SYSTEM_A] = chance.choice(systems)
        app.run()
        if app.exception:
            raise SystemExit(f"rerun {number} failed: {app.exception[0].value}")
        if (number + 1) % max(args.reruns // 10, 1) == 0:
            gc.collect()
            took = 1000 * (time.perf_counter() - began) / (number + 1)
            print(f"| {number + 1} | {process.memory_info().rss / 2**20:.0f} MiB | {took:.1f} |", flush=True)


if __name__ == "__main__":
    main()
