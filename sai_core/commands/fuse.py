"""``fuse``: several submissions to one, with weights that are searched on some recordings and reported on others."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from sai_core.errors import InputError
from sai_core.progress import TerminalProgress, no_progress

_EXAMPLE = """example:
  python -m sai_core fuse "A voted" "B voted" --labels DATA/labels_dev --name "A with B"
  python -m sai_core fuse runs/a runs/b runs/c --weights 2 1 1 --out runs/fused

With --labels the weights are searched on half of the recordings, drawn with --seed, and the figures to trust are those
of the other half. Names of sets are those of the workspace (python -m sai_core sets list)."""


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    """Add the verb."""
    parser = subparsers.add_parser(
        "fuse",
        help="several submissions to one",
        description="Fuse prediction sets: regions that point the same way become one region.",
        epilog=_EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("predictions", type=Path, nargs="+", metavar="DIR_OR_SET", help="prediction sets, two or more")
    parser.add_argument(
        "--labels", type=Path, metavar="DIR_OR_SET", help="search the weights with these labels, and report"
    )
    parser.add_argument(
        "--weights", type=float, nargs="+", metavar="W", help="one for each set, instead of a search (all equal)"
    )
    parser.add_argument(
        "--radius", type=float, metavar="DEGREES", help="largest angle between regions that become one (20)"
    )
    parser.add_argument(
        "--absent",
        type=float,
        metavar="A",
        help="how much a system without a detection counts in its score, 0 to 1 (0.5; searched with --labels)",
    )
    parser.add_argument(
        "--region",
        choices=("mean", "heaviest"),
        help="region of what became one: the mean of all, or that of the set with the largest weight (mean; searched "
        "with --labels)",
    )
    parser.add_argument(
        "--class-votes", action="store_true", help="regions of different classes become one, too, by a vote"
    )
    parser.add_argument("--seed", type=int, default=0, help="of the split into two halves (0)")
    parser.add_argument("--out", type=Path, metavar="DIR", help="folder of the fused files (a set in the workspace)")
    parser.add_argument("--name", help="name of the set in the workspace (made from the names of the others)")
    parser.add_argument("--json", action="store_true", help="print JSON instead of the table")
    parser.add_argument("--no-cache", action="store_true", help="neither read nor write the caches")
    parser.add_argument("--quiet", action="store_true", help="no progress, no table; warnings still")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Search, fuse, write."""
    from sai_core.dataset.outputs import check_output
    from sai_core.fusion.fuse import FusionSettings, check_weights
    from sai_core.fusion.job import fuse_files, fuse_into_set
    from sai_core.fusion.search import check_search, fusion_table, search_weights
    from sai_core.metrics.evaluation.discovery import find_annotations, find_labels
    from sai_core.metrics.reading.report import table_text
    from sai_core.workspace import check_name, folder_of, set_at

    if args.labels is not None and args.weights is not None:
        raise InputError("--labels searches the weights that --weights gives; leave one of them out.")
    for option in ("absent", "region"):
        if args.labels is not None and getattr(args, option) is not None:
            raise InputError(f"--labels searches what --{option} gives; leave one of them out.")
    if args.out is not None and args.name is not None:
        raise InputError("--name is for a set in the workspace, --out for a folder elsewhere; give one of them.")
    if args.name is not None:
        check_name(args.name)
    notes: list[str] = []
    systems: dict[str, dict[str, Path]] = {}
    folders: list[Path] = []
    for wanted in args.predictions:
        folder = folder_of("predictions", wanted, notes=notes)
        if folder.resolve() in {f.resolve() for f in folders}:
            raise InputError(f"{folder} is given twice; give each prediction set once.")
        folders.append(folder)
        name = folder.name if folder.name not in systems else str(folder)
        files, choices = find_annotations(folder)
        systems[name], notes = files, [*notes, *choices]
    if len(systems) < 2:
        raise InputError("fuse needs two prediction sets or more; give another one.")
    changes = {"radius_deg": args.radius, "absent": args.absent, "region": args.region, "class_votes": args.class_votes}
    settings = FusionSettings(**{key: value for key, value in changes.items() if value is not None})
    weights = tuple(args.weights) if args.weights is not None else (1.0,) * len(systems)
    check_weights(weights, len(systems))
    if args.out is not None:
        check_output(args.out, inputs=[*folders, args.labels], folder=True)
        there = [name for files in systems.values() for name in files if (args.out / f"{name}.json").exists()]
        if there:
            raise InputError(f"{args.out}: holds {there[0]}.json already; choose another folder.")
    quiet = args.quiet
    described: dict[str, object] = {"systems": list(systems), "weights": list(weights)}
    seed = None
    if args.labels is not None:
        labels = find_labels(folder_of("labels", args.labels, notes=notes))
        check_search(systems, labels)
    for sentence in dict.fromkeys(notes):
        print(f"warning: {sentence}", file=sys.stderr)
    if args.labels is not None:
        found = search_weights(
            systems,
            labels,
            settings,
            seed=args.seed,
            use_cache=not args.no_cache,
            progress=no_progress if quiet else TerminalProgress("search"),
        )
        weights, settings, seed, described = found.weights, found.settings, args.seed, found.to_json()
        if not quiet and not args.json:
            print(table_text(fusion_table(found)))
    progress = no_progress if quiet else TerminalProgress("fuse")
    if args.out is not None:
        report = fuse_files(
            systems, weights, args.out, settings=settings, use_cache=not args.no_cache, progress=progress
        )
        where = str(args.out)
    else:
        data = {s.facts.data for f in folders if (s := set_at("predictions", f)) is not None and s.facts.data}
        stored, report = fuse_into_set(
            systems,
            weights,
            name=args.name,
            data=data.pop() if len(data) == 1 else "",
            settings=settings,
            seed=seed,
            use_cache=not args.no_cache,
            progress=progress,
        )
        where = f"{stored.name} ({stored.folder})"
    for sentence in report.notes:
        print(f"warning: {sentence}", file=sys.stderr)
    for name, what in report.compressed:
        print(f"warning: {name}: {'; '.join(what.lines())}", file=sys.stderr)
    if args.json:
        described |= {
            "folder": str(report.folder),
            "recordings": list(report.recordings),
            "detections": report.n_detections,
        }
        print(json.dumps(described, indent=1, allow_nan=False))
    elif not quiet:
        print(f"{where}: {report.n_detections} detections of {len(report.recordings)} recordings")
    return 0
