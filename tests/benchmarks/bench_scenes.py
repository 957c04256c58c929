"""How like real recordings the scenes are that the simulator draws: when sources sound, nothing of how.

    python -m tests.benchmarks.bench_scenes [--recordings 300] [--seconds 130] [--real FOLDER]

Draws schedules with and without ``--scenes real`` and prints their figures beside those of the real recordings:
polyphony, two sources of one class, sources in a recording, and each class's events. ``--real`` takes the figures anew
from a folder of metadata (STARSS22, STARSS23) instead of those that the program holds.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

import numpy as np

from sai_core.annotations import DcaseMetadata, read_dcase_csv
from sai_core.simulation.real_scenes import STARSS22, SceneFigures, measure
from sai_core.simulation.scene import Style, draw_schedule
from sai_core.taxonomy import CLASS_NAMES


def drawn(style: Style, recordings: int, seconds: float) -> SceneFigures:
    """Figures of drawn schedules."""
    files = []
    for seed in range(recordings):
        classes, spans = draw_schedule(seconds, 4, np.random.default_rng(seed), style=style)
        rows = [
            (frame, classes[k], k)
            for k, events in enumerate(spans)
            for start, length in events
            for frame in range(int(10 * start), max(int(10 * start) + 1, round(10 * (start + length))))
        ]
        table = np.unique(np.array(sorted(rows)), axis=0)
        zeros = np.zeros(len(table))
        files.append(
            DcaseMetadata(
                table[:, 0].astype(np.int32), table[:, 1].astype(np.int16), table[:, 2], zeros, zeros, zeros + 100
            )
        )
    return measure(files)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--recordings", type=int, default=300)
    parser.add_argument("--seconds", type=float, default=130.0)
    parser.add_argument("--real", type=Path, help="folder with metadata of real recordings")
    args = parser.parse_args()
    real = STARSS22
    if args.real:
        real = measure(read_dcase_csv(path) for path in sorted(args.real.rglob("*.csv")))
    columns = {
        "real": real,
        "real style": drawn("real", args.recordings, args.seconds),
        "even style": drawn("even", args.recordings, args.seconds),
    }
    print("| | " + " | ".join(columns) + " |\n| --- |" + " --- |" * len(columns))
    titles: dict[str, Callable[[SceneFigures], str]] = {
        "frames with 0 / 1 / 2 / 3 / 4+ sources": lambda c: " / ".join(f"{100 * p:.0f} %" for p in c.polyphony),
        "frames with two of one class": lambda c: f"{100 * c.same_class:.1f} %",
        "sources in a recording, quartiles": lambda c: " / ".join(f"{n:g}" for n in c.sources),
    }
    for title, figure in titles.items():
        print(f"| {title} | " + " | ".join(figure(c) for c in columns.values()) + " |")
    for k, name in enumerate(CLASS_NAMES):
        cells = []
        for column in columns.values():
            found = column.classes[k]
            share = found.sources / sum(c.sources for c in column.classes)
            median = found.length_s[2] if found.length_s else 0.0
            cells.append(f"{100 * share:.0f} %, {found.events:g} of {median:g} s")
        print(f"| {name}: share of sources, events of each, median length | " + " | ".join(cells) + " |")


if __name__ == "__main__":
    main()
