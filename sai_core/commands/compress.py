"""``compress``: bring a prediction file under the size limit of a submission."""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import sys
from pathlib import Path

from sai_core.errors import InputError
from sai_core.progress import TerminalProgress, no_progress

_EXAMPLE = "example: python -m sai_core compress fold4_room23_mix001.json --out submission/fold4_room23_mix001.json"


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    """Declare the verb."""
    parser = subparsers.add_parser(
        "compress",
        help="make a prediction file small enough to submit",
        description="Write a prediction file so that it has at most so many bytes, losing as little as possible: "
        "compact text, rounding, fewer points in each region, and last the detections with the lowest scores.",
        epilog=_EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("input", metavar="IN.json", type=Path, help="prediction file (JSON or COCO, plain or .gz)")
    parser.add_argument("--out", metavar="OUT.json", type=Path, required=True, help="file to write (.gz packs it)")
    parser.add_argument(
        "--max-bytes",
        metavar="N",
        type=int,
        default=20 * 1024 * 1024,
        help="largest size of the text, before packing (default: %(default)s, the challenge's limit)",
    )
    parser.add_argument("--json", action="store_true", help="print the report as JSON")
    parser.add_argument("--quiet", action="store_true", help="print no progress and no report")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Read, compress, write, report."""
    from sai_core.annotations.compression import compress_submission
    from sai_core.annotations.reading import read_annotations
    from sai_core.annotations.writing import submission_pieces, write_pieces

    if args.out.exists() and args.input.exists() and os.path.samefile(args.input, args.out):
        raise InputError(f"{args.out}: is the input file; choose another name for the output.")
    if args.out.is_dir():
        raise InputError(f"{args.out}: is a folder; name the file to write.")
    progress = no_progress if args.quiet else TerminalProgress("compress")
    table = read_annotations(args.input, progress=progress)
    compressed, report = compress_submission(table, max_bytes=args.max_bytes, progress=progress)
    write_pieces(submission_pieces(compressed), args.out)
    if args.json:
        print(json.dumps({"file": str(args.out), **dataclasses.asdict(report)}))
    elif not args.quiet:
        print(f"{args.out}: " + "; ".join(report.lines()), file=sys.stdout)
    return 0
