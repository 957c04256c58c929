"""What the listener is worth: on sounds, on events of scenes, and for the order of Review's class list.

    python -m tests.benchmarks.bench_listener --sounds sounds/test [--listener FILE] [--windows 20] [--files 12]
    python -m tests.benchmarks.bench_listener --data assets/demo

``--sounds``: windows of single sounds as a beam gives them (``sai_core/training/listener_sounds.py``: reverberation,
another sound leaking in, noise), of synthesised sounds with a seed that was not trained on, and of the recordings of a
folder (``recorded_sounds --by-package`` makes one of packages that were not trained on). ``--data``: each event of the
metadata is a source as Review plays it alone; printed is how often the class comes first, how often it is among the
first three, and its mean place in the class list, which without a listener is the list's own order.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from sai_core.annotations import read_dcase_csv
from sai_core.dataset import open_data_root
from sai_core.geometry import SAMPLES_PER_FRAME
from sai_core.listener import Listener, open_listener
from sai_core.listener.spectrum import COLUMNS
from sai_core.listening.sources import sources_of
from sai_core.listening.windows import PlayerSound
from sai_core.progress import no_progress
from sai_core.simulation.recorded import open_recorded
from sai_core.taxonomy import CLASS_NAMES, N_CLASSES
from sai_core.training.config import ListenerSettings
from sai_core.training.listener_sounds import Clips, Windows, make_recorded, make_synthesised, package_of
from sai_core.viewing.player import unpack

SEED = 7699


def places(scores: np.ndarray, label: int) -> np.ndarray:
    """Place of a class in the order of each row's scores, 1 for the first."""
    own = scores[:, label][:, None]
    return 1 + (scores[:, :N_CLASSES] > own).sum(axis=1)


def table(title: str, rows: dict[int, np.ndarray], counts: dict[int, str], what: str) -> None:
    """Accuracy and top three of each class."""
    print(f"\n| {title} | {what} | windows | first | among three |\n| --- | --- | --- | --- | --- |")
    for category, place in rows.items():
        shares = f"{np.mean(place == 1):.2f} | {np.mean(place <= 3):.2f}"
        print(f"| {CLASS_NAMES[category]} | {counts[category]} | {len(place)} | {shares} |")
    first = np.mean([np.mean(p == 1) for p in rows.values()])
    three = np.mean([np.mean(p <= 3) for p in rows.values()])
    print(f"| mean of {len(rows)} classes | | {sum(map(len, rows.values()))} | {first:.2f} | {three:.2f} |")


def on_sounds(by: Listener, folder: Path, windows: int, most: int) -> None:
    """Single sounds, synthesised and recorded."""
    settings = replace(ListenerSettings(), seed=SEED)
    recorded = open_recorded(folder)
    # of all packages: files are sorted by them
    recorded = replace(recorded, files=tuple(names[:: max(1, -(-len(names) // most))] for names in recorded.files))
    made = Clips.join([make_synthesised(c, 0, min(windows, 10), settings) for c in range(N_CLASSES)])
    parts = [make_recorded(c, recorded.files[c], recorded, settings) for c in range(N_CLASSES) if recorded.files[c]]
    drawn = Windows({"synthesised": made, "recorded": Clips.join(parts)}, settings)
    for origin in ("synthesised", "recorded"):
        rng = np.random.default_rng([SEED, len(origin)])
        rows: dict[int, np.ndarray] = {}
        counts: dict[int, str] = {}
        for category in range(N_CLASSES):
            if origin not in drawn.origins(category):
                continue
            power = [drawn.draw(rng, category, origin) for _ in range(windows)]
            scores = np.concatenate([by.scores_at(p, [COLUMNS // 2]) for p in power])
            rows[category] = places(scores, category)
            files = recorded.files[category]
            packages = {package_of(name) for name in files}
            counts[category] = f"{len(files)} of {len(packages)}" if origin == "recorded" else str(min(windows, 10))
        table(f"{origin} sounds", rows, counts, "files of packages" if origin == "recorded" else "takes")


def on_events(by: Listener, root: Path) -> None:
    """Events of metadata, as Review plays an item's source alone."""
    found: dict[int, list[int]] = defaultdict(list)
    before: list[int] = []
    after: list[int] = []
    for recording in open_data_root(root).recordings:
        if recording.metadata_path is None or recording.audio_path is None:
            continue
        sound, sources = PlayerSound(recording), sources_of(read_dcase_csv(recording.metadata_path))
        for event in (e for category in range(N_CLASSES) for e in sources.events(category)):
            start, stop = max(event.start - 10, 0), event.stop + 10
            around = (event.start, event.stop)
            data = sound.alone(event, sources.others(event), start, stop, around=around, progress=no_progress)
            _, arrays = unpack(data)
            low, high = ((frame - start) * SAMPLES_PER_FRAME for frame in around)
            heard = by.hear(arrays["samples"], low, high)
            if heard is None:
                continue
            place = heard.order.index(event.category_id) + 1
            found[event.category_id].append(place)
            before.append(event.category_id + 1)
            after.append(place)
    rows = {category: np.asarray(found[category]) for category in sorted(found)}
    table(f"events of {root.name}", rows, {c: str(len(p)) for c, p in rows.items()}, "events")
    print(
        f"\nPlace of the true class in Review's list, mean of {len(after)} events: {np.mean(before):.1f} in the list's "
        f"own order, {np.mean(after):.1f} by the listener (median {np.median(before):.0f} and {np.median(after):.0f})."
    )


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--listener", type=Path, help="the one that ships if left out")
    parser.add_argument("--sounds", type=Path, help="folder of recordings that were not trained on")
    parser.add_argument("--windows", type=int, default=20, help="of each class and origin")
    parser.add_argument("--files", type=int, default=12, help="recordings of each class, at most")
    parser.add_argument("--data", type=Path, help="data root with metadata and sound")
    chosen = parser.parse_args(arguments)
    by = open_listener(chosen.listener)
    print(f"Listener: {by.path.name}, learned from {by.origin}.")
    if chosen.sounds is not None:
        on_sounds(by, chosen.sounds, chosen.windows, chosen.files)
    if chosen.data is not None:
        on_events(by, chosen.data)


if __name__ == "__main__":
    main()
