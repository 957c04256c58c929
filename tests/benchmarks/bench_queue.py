"""How good the review queue is: errors of every kind are put into the demo's labels and looked for in the queue.

    python -m tests.benchmarks.bench_queue [--rounds 20] [--root DATA] [--systems NAME ...] [--confident SCORE]
        [--docs docs/review.md]

The demo's labels are exact (they were simulated), so everything else in the queue is a false alarm. Each round puts one
error of each kind (:mod:`sai_core.review.injection`) into the labels, in different events drawn with a seed, builds
the queue with the predictions that ship, and asks for each error at which place it is first shown:

* an item shows an error when at least half of the labels that it is about are wrong by it, or when it proposes a label
  near (20 degrees) where the event was, in frames in which that label is missing;
* *recall at k*: share of the errors that one of the first k items shows; *precision at k*: share of the first k items
  that show an error.

Twice: with the metadata, which give directions and distances away, and by labels and predictions alone.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from sai_core.annotations import AnnotationTable, DcaseMetadata
from sai_core.dataset import demo_root, open_data_root
from sai_core.errors import InputError
from sai_core.review.edits import annotation_keys
from sai_core.review.injection import ERROR_KINDS, Injection, events_of, inject, put_in, shows
from sai_core.review.queue import Item, QueueSettings, read_recording, recording_items
from tests.benchmarks.in_docs import marks, put_into

KS = (5, 10, 20, 50)


@dataclass
class Scene:
    """A recording as it is on disk."""

    name: str
    labels: AnnotationTable
    predictions: dict[str, AnnotationTable]
    metadata: DcaseMetadata | None
    n_frames: int


def scenes(folder: Path, systems: list[str] | None) -> list[Scene]:
    """Recordings with labels of a data root."""
    root = open_data_root(folder)
    sets = [s for s in root.prediction_sets if systems is None or s.name in systems]
    found = []
    for recording in root.recordings:
        problems: list[str] = []
        tables, metadata = read_recording(recording, sets, problems=problems)
        labels = tables.pop("", None)
        if problems:
            raise InputError(problems[0])
        if labels is None or not len(labels):
            continue
        n_frames = int(max(table.frame.max(initial=0) for table in (labels, *tables.values()))) + 1
        found.append(Scene(recording.name, labels, tables, metadata, n_frames))
    return found


def one_round(
    data: list[Scene], seed: int, *, metadata: bool, settings: QueueSettings | None = None
) -> tuple[list[bool], list[tuple[str, int | None]], list[str]]:
    """Which items show an error, in order; each error's kind and first place; the kind of each item."""
    rng = np.random.default_rng(seed)
    pool = [(scene, rows) for scene in data for rows in events_of(scene.labels)]
    order = rng.permutation(len(pool)).tolist()
    chosen: dict[str, list[Injection]] = defaultdict(list)
    for kind in ERROR_KINDS:
        while True:
            scene, rows = pool[order.pop()]
            number = int(rng.integers(2**31))
            try:
                uid = f"{number:032x}"
                error = inject(scene.labels, rows, kind, seed=number, n_frames=scene.n_frames, uid=uid)
            except InputError:
                continue
            chosen[scene.name].append(error)
            break
    items: list[tuple[Item, list[int]]] = []
    errors: list[Injection] = []
    for scene in data:
        put = put_in(scene.labels, chosen[scene.name])
        now = annotation_keys(put.table)
        first = len(errors)
        errors += chosen[scene.name]
        wrong = []
        for error in chosen[scene.name]:
            added = {a["key"] for edit in error.edits for a in edit.get("annotations", [])}
            names = added | (set(error.targets) if error.kind in ("class", "moved", "distance") else set())
            wrong.append({key for key, before in zip(now, put.keys, strict=True) if before in names})
        known = scene.metadata if metadata else None
        for item in recording_items(scene.name, put.table, scene.predictions, known, settings=settings):
            seen = [
                first + n
                for n, error in enumerate(chosen[scene.name])
                if shows(item, error, wrong[n], scene.predictions)
            ]
            items.append((item, seen))
    items.sort(key=lambda pair: (-pair[0].score, pair[0].id))
    places = [next((k for k, (_, seen) in enumerate(items) if n in seen), None) for n in range(len(errors))]
    return (
        [bool(s) for _, s in items],
        [(e.kind, p) for e, p in zip(errors, places, strict=True)],
        [item.kind for item, _ in items],
    )


def table_of(data: list[Scene], rounds: int, *, metadata: bool, settings: QueueSettings | None = None) -> list[str]:
    """Markdown rows of figures."""
    found: dict[str, list[int | None]] = defaultdict(list)
    precision: dict[int, list[float]] = defaultdict(list)
    lengths = []
    for seed in range(rounds):
        hits, errors, _ = one_round(data, seed, metadata=metadata, settings=settings)
        lengths.append(len(hits))
        for kind, place in errors:
            found[kind].append(place)
        for k in KS:
            precision[k].append(float(np.mean(hits[:k])) if hits else 0.0)
    head = ["errors", *(f"within {k}" for k in KS), "anywhere"]
    rows = [f"| {' | '.join(head)} |", "|" + " --- |" * len(head)]
    every = [place for kind in ERROR_KINDS for place in found[kind]]
    for name, places in [*((kind, found[kind]) for kind in ERROR_KINDS), ("all", every)]:
        shares = [np.mean([p is not None and p < k for p in places]) for k in (*KS, 10**9)]
        rows.append(f"| {name} ({len(places)}) | " + " | ".join(f"{share:.2f}" for share in shares) + " |")
    rows.append("| *precision* | " + " | ".join(f"{np.mean(precision[k]):.2f}" for k in KS) + " | |")
    return [*rows, "", f"Items in the queue: {np.mean(lengths):.0f} on average."]


def main() -> None:
    """Print the figures, or write them between the marks of a page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", type=Path, default=demo_root())
    parser.add_argument("--systems", nargs="*")
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--confident", type=float, default=QueueSettings().confident)
    parser.add_argument("--docs", type=Path, help="page with the marks " + " and ".join(marks("bench_queue")))
    args = parser.parse_args()
    data = scenes(args.root, args.systems)
    lines = []
    for metadata in (True, False):
        lines += ["", "With metadata:" if metadata else "By labels and predictions alone:", ""]
        lines += table_of(data, args.rounds, metadata=metadata, settings=QueueSettings(confident=args.confident))
    text = "\n".join(lines[1:])
    print(text)
    if args.docs is not None:
        put_into(args.docs, "bench_queue", text)


if __name__ == "__main__":
    main()
