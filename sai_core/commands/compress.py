"""``compress``: bring a prediction file under the size limit of a submission."""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from sai_core.progress import Progress, TerminalProgress, no_progress

if TYPE_CHECKING:
    from sai_core.annotations.table import AnnotationTable

_FORMS = (".4f", ".4f", "+.4f")

_EXAMPLE = """examples:
  python -m sai_core compress fold4_room23_mix001.json --out submission/fold4_room23_mix001.json
  python -m sai_core compress large.json --out small.json --labels labels_dev/dev-test-tau/fold4_room23_mix001_std.json

With --labels the file is scored before and after (revision 2026-06-30), so that the loss is known and not guessed."""


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    """Declare the verb."""
    parser = subparsers.add_parser(
        "compress",
        help="make a prediction file small enough to submit",
        description="Write a prediction file of at most a given size, losing as little as possible: "
        "compact text, rounding, fewer points in each region, and finally the detections with the lowest scores.",
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
    parser.add_argument(
        "--labels", metavar="LABELS", type=Path, help="label file of the recording: also report how the scores change"
    )
    parser.add_argument("--json", action="store_true", help="print the report as JSON")
    parser.add_argument("--quiet", action="store_true", help="no progress, no report; notes still")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Read, compress, write, report."""
    from sai_core.annotations.compression import compress_submission
    from sai_core.annotations.reading import check_at_sight, read_annotations
    from sai_core.annotations.writing import submission_pieces, write_pieces
    from sai_core.dataset.outputs import check_output
    from sai_core.errors import InputError, check_all
    from sai_core.files import check_space

    if args.max_bytes < 1:
        raise InputError(f"--max-bytes {args.max_bytes}: at least 1 is needed.")
    files = [path for path in (args.input, args.labels) if path is not None]
    check_all(
        lambda: check_output(args.out, inputs=[args.input, args.labels]),
        *(partial(check_at_sight, path) for path in files),
    )
    check_space(args.out, min(args.max_bytes, 4 * args.input.stat().st_size), "the file")
    progress = no_progress if args.quiet else TerminalProgress("compress")
    table = read_annotations(args.input, progress=progress)
    compressed, report = compress_submission(table, max_bytes=args.max_bytes, progress=progress)
    figures = None
    if args.labels is not None:
        # before anything is written: a label file that cannot be read leaves no half-done job
        figures = _figures(args.labels, table, compressed, progress)
    write_pieces(submission_pieces(compressed), args.out)
    notes = table.notes.sentences()
    for note in notes:
        print(f"note: {args.input}: {note}", file=sys.stderr)
    if args.json:
        facts = {"file": str(args.out), **dataclasses.asdict(report), "notes": list(notes)}
        print(json.dumps(facts if figures is None else {**facts, "figures": figures}))
    elif not args.quiet:
        print(f"{args.out}: " + "; ".join(report.lines()), file=sys.stdout)
        for line in _figure_lines(figures or {}):
            print(line)
    return 0


def _figures(
    labels: Path, before: AnnotationTable, after: AnnotationTable, progress: Progress
) -> dict[str, dict[str, float | None]]:
    """Macro and micro figures of the file as it was and as it is, and the change; None where undefined."""
    from sai_core.annotations.reading import read_annotations
    from sai_core.metrics.evaluation.evaluate import evaluate

    truth = {"file": read_annotations(labels, progress=progress)}
    old, new = (evaluate(truth, {"file": t}, allow_large=True, use_cache=False).to_json() for t in (before, after))
    figures: dict[str, dict[str, float | None]] = {}
    for mean in ("macro", "micro"):
        for name in ("mAP", "AP25", "AP50", "AP75", "pearson_r"):
            a, b = old[mean][name], new[mean][name]
            change = None if a is None or b is None else b - a
            figures[f"{mean}_{name}"] = {"before": a, "after": b, "change": change}
    return figures


def _figure_lines(figures: dict[str, dict[str, float | None]]) -> list[str]:
    lines = []
    for name, values in figures.items():
        texts = ["undefined" if v is None else f"{v:{form}}" for v, form in zip(values.values(), _FORMS, strict=True)]
        lines.append(f"{name.replace('_', ' ', 1):16} {texts[0]} before, {texts[1]} after ({texts[2]})")
    return lines
