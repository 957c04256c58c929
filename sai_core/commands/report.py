"""``report``: one file about a system, or about several beside each other."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Final

from sai_core.errors import InputError
from sai_core.progress import TerminalProgress, no_progress

_SYSTEM_BYTES: Final[int] = 500_000
"""About what a system takes in a report, with its frames."""

_EXAMPLE = """example:
  python -m sai_core report --data STARSS23 --split dev-test-sony --predictions fao --out fao.html
  python -m sai_core report --data STARSS23 --predictions fao tpav runs/mine --out three.pdf

HTML needs no network (nothing is fetched) and is set for screen and print; PDF has the same parts on A4. The same call
writes the same bytes. A click on a picture opens the moment in the app, where it runs at --app."""


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    """Add the verb."""
    parser = subparsers.add_parser(
        "report",
        help="a system or a comparison as one HTML or PDF file: tables, curves, budget, slices, frames",
        description="Write a report: tables, curves, calibration, error budget, slices, best and worst frames.",
        epilog=_EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--data", type=Path, required=True, metavar="ROOT", help="data root")
    parser.add_argument("--split", metavar="S", help="recordings of this split alone")
    parser.add_argument(
        "--predictions", nargs="+", required=True, metavar="DIR_OR_SET", help="prediction sets; several are compared"
    )
    parser.add_argument("--label-set", metavar="DIR_OR_SET", help="other labels: a label set's name, or a folder")
    parser.add_argument("--out", type=Path, required=True, metavar="FILE", help=".html or .pdf")
    parser.add_argument(
        "--revision",
        choices=("2026-06-30", "2026-05-28", "2026-05-18", "2026-04-02"),
        default="2026-06-30",
        help="official evaluator (2026-06-30)",
    )
    parser.add_argument("--resamples", type=int, default=1000, metavar="N", help="of the intervals (1000)")
    parser.add_argument("--seed", type=int, default=0, help="of the intervals (0)")
    parser.add_argument("--stills", type=int, default=4, metavar="N", help="best and worst frames of each set (4)")
    parser.add_argument(
        "--app", default="http://localhost:8501", metavar="URL", help="where the app runs (http://localhost:8501)"
    )
    parser.add_argument("--no-cache", action="store_true", help="neither read nor write the caches")
    parser.add_argument("--quiet", action="store_true", help="no progress; notes still")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Gather and write."""
    from sai_core.dataset import find_prediction_set, open_data_root
    from sai_core.dataset.outputs import check_output
    from sai_core.files import atomic_write, check_space, user_path
    from sai_core.reporting import ReportOptions, as_html, as_pdf, gather_report
    from sai_core.workspace import root_for

    ending = args.out.suffix.lower()
    if ending not in (".html", ".pdf"):
        raise InputError(f"--out {args.out}: a report is written as .html or .pdf; change the file's ending.")
    options = ReportOptions(
        revision=args.revision,
        resamples=args.resamples,
        seed=args.seed,
        stills=args.stills,
        app=args.app,
        use_cache=not args.no_cache,
    )
    notes: list[str] = []
    root = root_for(open_data_root(args.data), args.predictions, labels=args.label_set, notes=notes)
    for sentence in notes:
        print(f"note: {sentence}", file=sys.stderr)
    named = {s.name: s for s in root.prediction_sets}
    systems = [
        named[text] if text in named and not user_path(text).exists() else find_prediction_set(text)
        for text in args.predictions
    ]
    recordings = root.recordings if args.split is None else root.of_split(args.split)
    out = check_output(args.out, inputs=[f for s in systems for f in s.files.values()], root=root)
    check_space(out, _SYSTEM_BYTES * len(systems), "the report")
    report = gather_report(
        root, recordings, systems, options, progress=no_progress if args.quiet else TerminalProgress("report")
    )
    data = as_html(report) if ending == ".html" else as_pdf(report)
    with atomic_write(out) as stream:
        stream.write(data)
    for note in report.notes:
        print(f"note: {note}", file=sys.stderr)
    if not args.quiet:
        print(f"{out}: {len(data) / 1e6:.2f} MB")
    return 0
