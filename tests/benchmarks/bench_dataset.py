"""A thousand recordings on the Dataset page: first table, all looks, a filter, statistics, the second visit.

Run: ``python -m tests.benchmarks.bench_dataset [--recordings 1000]``. Recordings are made up: labels of 30 to 90
frames, sound of 4 channels, a small video. Every label and sound has bytes of its own, since files of the same bytes
are looked at once. Processor times are of this process alone, and the ones to compare on a busy machine.
"""

from __future__ import annotations

import argparse
import os
import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

REPOSITORY = Path(__file__).resolve().parents[2]


def make_root(root: Path, n: int) -> None:
    """Recordings in the official layout, eight kinds of them, each with bytes of its own."""
    from tests.figures.scenes import write_root

    kinds = 8
    for kind in range(kinds):
        write_root(
            root,
            recording=f"fold4_room{kind}_mix000",
            n_frames=30 + 8 * kind,
            seed=kind,
            video_size=(128, 64),
            audio=True,
            systems=("first",),
        )
    for k in range(kinds, n):
        kind = k % kinds
        name = f"fold4_room{k % 97 + 10}_mix{k:04d}"
        for path in root.rglob(f"fold4_room{kind}_mix000*"):
            target = path.with_name(path.name.replace(f"fold4_room{kind}_mix000", name))
            shutil.copyfile(path, target)
            with open(target, "ab") as stream:
                if path.suffix == ".json":
                    stream.write(b" " * (k + 1))
                elif path.suffix == ".wav":
                    stream.write(b"LIST\x04\x00\x00\x00" + k.to_bytes(4, "little"))


def timed(what: str, work: Callable[[], Any], *, repeat: int = 1) -> Any:
    """Do something and print how long it took, by the clock and the processor; of many, median and 95th percentile."""
    clock, processor = [], []
    for _ in range(repeat):
        begin, cpu = time.perf_counter(), time.process_time()
        result = work()
        clock.append(time.perf_counter() - begin)
        processor.append(time.process_time() - cpu)
    p95 = f", p95 {1e3 * np.percentile(clock, 95):.1f} ms" if repeat > 1 else ""
    print(
        f"{what:<52} {1e3 * np.median(clock):9.1f} ms{p95}  (processor {1e3 * np.median(processor):.1f} ms)", flush=True
    )
    return result


def main() -> None:
    """Measure."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--recordings", type=int, default=1000)
    parser.add_argument("--keep", type=Path, help="make the data here and leave them")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as work:
        os.environ["SAI_CACHE_DIR"] = str(Path(work) / "cache")
        os.environ["SAI_WORKSPACE"] = str(Path(work) / "workspace")
        root = args.keep or Path(work) / "root"
        if not root.exists():
            make_root(root, args.recordings)
        measure(root)


def measure(folder: Path) -> None:
    """All figures of one data root."""
    from streamlit.testing.v1 import AppTest

    from pages.components import set_survey
    from pages.components import state_keys as keys
    from sai_core.dataset import open_data_root
    from sai_core.survey.index import Survey, groups_of
    from sai_core.survey.query import apply, ordered, parse
    from sai_core.survey.statistics import statistics
    from sai_core.survey.table import table_of

    root = timed("open the data root (names)", lambda: open_data_root(folder))
    print(f"{len(root.recordings)} recordings, load {os.getloadavg()[0]:.1f}")
    survey = Survey()
    groups = groups_of(root)
    timed("table of names, nothing known", lambda: table_of(survey, root, groups))
    page = AppTest.from_file(str(REPOSITORY / "pages" / "dataset" / "page.py"), default_timeout=600)
    page.query_params[keys.ROOT] = str(folder)
    timed("page, first visit ever, to the first table", page.run)
    assert len(page.dataframe[0].value) == len(root.recordings)

    def wait_for_all() -> None:
        for job in set_survey._queue().jobs:
            job.wait(3600)

    timed("... until all files were looked at", wait_for_all)
    timed("page, all known", page.run)
    time.sleep(2.1)  # a file younger than this is looked at again
    fresh = Survey()
    timed("second visit, new process: what the disk holds", lambda: fresh.load(groups))
    table = timed("... and the table of it", lambda: table_of(fresh, root, groups))
    print(f"... {table.n_missing} looks missing")
    conditions = parse("class:music polyphony>=2 -room12 duration:3..8")
    timed("filter and order", lambda: ordered(table, np.flatnonzero(apply(table, conditions)), "-events"), repeat=20)
    parts = [(table.n_frames[k], s) for k, s in enumerate(table.labels) if s is not None]
    timed("statistics of all", lambda: statistics(parts), repeat=10)

    def filtered(text: str) -> None:
        page.text_input(key=keys.DATASET_QUERY).set_value(text).run()

    texts = iter([f"room{k}" for k in range(10, 40)])
    timed("page, a filter that leaves few", lambda: filtered(next(texts)), repeat=20)
    many = iter([f"-room{k}" for k in range(10, 40)])
    timed("page, a filter that leaves nearly all", lambda: filtered(next(many)), repeat=10)
    page.segmented_control(key=keys.DATASET_VIEW).set_value("Statistics")
    timed("page, statistics", page.run)
    home = AppTest.from_file(str(REPOSITORY / "app.py"), default_timeout=600)
    home.query_params[keys.ROOT] = str(folder)
    timed("Home, first in this process", home.run)
    timed("Home, again", home.run, repeat=5)


if __name__ == "__main__":
    main()
