"""How well "more like this" finds what is of the same class: events of simulated recordings, held against each other.

    python -m tests.benchmarks.bench_likeness [--recordings 24] [--docs docs/review.md]

Simulates recordings of 20 s (4 capsules; a room of its own each), and takes every event of at least six frames in turn
as the one that is looked from. The others are ordered by sound, by direction, by both, and by all three, where every
event has a class that is wrong for one in five, as in labels that are to be reviewed. Printed is the mean share of
events of the same true class among the first ten, with all other events and with those of other recordings alone, and
what chance gives: their share among all that are ordered. Classes with fewer than ten other events are left out.
"""

from __future__ import annotations

import argparse
import tempfile
from collections import defaultdict
from pathlib import Path

import numpy as np
import numpy.typing as npt

from sai_core.annotations import read_dcase_csv
from sai_core.dataset import open_data_root
from sai_core.listening.signals import open_signal
from sai_core.listening.sources import sources_of
from sai_core.review.likeness import Sight, hear, likeness
from sai_core.simulation.dataset import SimulationOptions, simulate_dataset
from sai_core.taxonomy import N_CLASSES
from tests.benchmarks.in_docs import marks, put_into

_FIRST = 10
_LEAST_FRAMES = 6
_WRONG = 0.2


def listen(root: Path, recordings: int) -> tuple[list[Sight], list[npt.NDArray[np.float64] | None], list[int]]:
    """Simulate, and hear every event: what is known of each, its sound, the number of its recording."""
    options = SimulationOptions(seconds=20, seed=3, video_wh=None, eigen=False, foa=False, labels=False)
    simulate_dataset(root, options, recordings=recordings)
    sights, sounds, place = [], [], []
    for number, recording in enumerate(open_data_root(root).recordings):
        assert recording.metadata_path is not None
        sources = sources_of(read_dcase_csv(recording.metadata_path))
        signal = open_signal(recording)
        for track in (event for category in range(N_CLASSES) for event in sources.events(category)):
            if track.frame.size < _LEAST_FRAMES:
                continue
            sight = Sight(track.category_id, track, int(track.frame[track.frame.size // 2]))
            sights.append(sight)
            sounds.append(hear(signal, sight))
            place.append(number)
    return sights, sounds, place


def shares_of(
    sights: list[Sight], sounds: list[npt.NDArray[np.float64] | None], place: list[int], *, across: bool
) -> dict[str, list[float]]:
    """Share of events of the same true class within the first ten of each order, for every event."""
    rng = np.random.default_rng(0)
    given = [
        Sight(int(rng.integers(N_CLASSES)) if rng.random() < _WRONG else s.category_id, s.track, s.frame)
        for s in sights
    ]
    shares: dict[str, list[float]] = defaultdict(list)
    for a, own in enumerate(sights):
        others = [b for b in range(len(sights)) if b != a and (not across or place[a] != place[b])]
        true = np.array([sights[b].category_id == own.category_id for b in others])
        if true.sum() < _FIRST or len(others) <= _FIRST:  # or the best order there is would not fill the ten
            continue
        found = [likeness(given[a], given[b], (sounds[a], sounds[b])) for b in others]
        angle = np.array([180.0 if f.angle_deg is None else f.angle_deg for f in found])
        orders = {
            "sound": np.array([f.sound or 0.0 for f in found]),
            "direction": -angle,
            "sound and direction": np.array([f.total * 3 - f.same_class for f in found]),
            "all three": np.array([f.total for f in found]),
        }
        for name, order in orders.items():
            shares[name].append(float(true[np.argsort(-order, kind="stable")[:_FIRST]].mean()))
        shares["chance"].append(float(true.mean()))
    return shares


def main() -> None:
    """Print a table, or write it between the marks of a page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recordings", type=int, default=24)
    parser.add_argument("--docs", type=Path, help="page with the marks " + " and ".join(marks("bench_likeness")))
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        sights, sounds, place = listen(Path(folder) / "root", args.recordings)
    columns = [shares_of(sights, sounds, place, across=across) for across in (False, True)]
    lines = ["| ordered by | all other events | those of other recordings |", "| --- | --- | --- |"]
    for name in columns[0]:
        lines.append(f"| {name} | " + " | ".join(f"{np.mean(column[name]):.2f}" for column in columns) + " |")
    seen = f"{len(columns[0]['chance'])} and {len(columns[1]['chance'])}"
    text = "\n".join([*lines, "", f"{len(sights)} events of {len(set(place))} recordings, seen from {seen} of them."])
    print(text)
    if args.docs is not None:
        put_into(args.docs, "bench_likeness", text)


if __name__ == "__main__":
    main()
