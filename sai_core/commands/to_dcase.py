"""``to-dcase``: labels and submissions as DCASE CSV, for tools that read those."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

_EXAMPLE = """examples:
  python -m sai_core to-dcase labels_dev/dev-test-sony --out csv/labels
  python -m sai_core to-dcase predictions/mine --out csv/mine --min-score 0.3

One row per annotation: frame, class, source, azimuth and elevation of its strongest point in degrees, distance in cm.
A submission holds many weak detections: choose --min-score, since a CSV has no scores."""


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    """Declare the verb."""
    parser = subparsers.add_parser(
        "to-dcase",
        help="labels or submissions as DCASE CSV files",
        description="Write the direction of every annotation's strongest point as a DCASE metadata file per recording.",
        epilog=_EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("input", metavar="DIR_OR_FILE", type=Path, help="label or prediction file, or their folder")
    parser.add_argument("--out", metavar="DIR", type=Path, required=True, help="folder; one NAME.csv per recording")
    parser.add_argument("--min-score", metavar="S", type=float, default=0.0, help="leave out predictions below (0)")
    parser.add_argument("--json", action="store_true", help="print what was written as JSON")
    parser.add_argument("--quiet", action="store_true", help="print nothing but warnings")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """``convert --to dcase`` under its own name, with the rows counted."""
    from sai_core.errors import InputError
    from sai_core.interchange.convert import convert_files
    from sai_core.metrics.evaluation.discovery import find_annotations

    if not 0 <= args.min_score <= 1:
        raise InputError(f"--min-score must lie between 0 and 1, got {args.min_score}.")
    files, choices = find_annotations(args.input)
    done = convert_files(files, "dcase", args.out, min_score=args.min_score)
    for sentence in [*choices, *done.notes]:
        print(f"warning: {sentence}", file=sys.stderr)
    if args.json:
        written = [
            {"file": str(path), "rows": done.counts[name][0], "left_out": done.counts[name][1]}
            for name, path in done.files.items()
        ]
        print(json.dumps(written, indent=1, ensure_ascii=False))
    elif not args.quiet:
        n_rows, n_left = (sum(count[k] for count in done.counts.values()) for k in (0, 1))
        files_of = "1 file" if len(done.files) == 1 else f"{len(done.files)} files"
        print(f"{files_of} in {args.out}: {n_rows} rows; left out {n_left} below the score or without points.")
    for name, why in done.failures.items():
        print(f"error: {name} is not converted: {why}", file=sys.stderr)
    return 2 if done.failures else 0
