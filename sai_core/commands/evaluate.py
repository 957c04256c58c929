"""``evaluate``: the official figures of prediction files against label files."""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sai_core.progress import Progress, TerminalProgress, no_progress

if TYPE_CHECKING:
    from sai_core.metrics import Revision

_EXAMPLE = """example:
  python -m sai_core evaluate --labels DATA/labels_dev/dev-test-tau --predictions runs/fao --json fao.json

Label files are found by recording name in any sub-folder (NAME_std.json or NAME.json), prediction files as NAME.json
or NAME_inference.json, each optionally .gz; two files are compared whatever their names are. Recordings without a
prediction file are left out, as by the official evaluator; --count-missing counts their labels as missed. The limit
of 20 MB (all revisions but 2026-04-02) is on the unpacked JSON of a prediction file. Names of sets are those of the
workspace (python -m sai_core sets list).
"""


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    """Add the verb to the command line."""
    parser = subparsers.add_parser(
        "evaluate",
        help="official scores of predictions, per class, macro and micro",
        description="Score predictions against labels by any revision of the official evaluator.",
        epilog=_EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--labels", type=Path, required=True, metavar="DIR_OR_FILE_OR_SET", help="label file or folder, or a set's name"
    )
    parser.add_argument(
        "--predictions", type=Path, required=True, metavar="DIR_OR_FILE_OR_SET", help="predictions likewise"
    )
    parser.add_argument(
        "--revision",
        choices=("2026-06-30", "2026-05-28", "2026-05-18", "2026-04-02", "both", "all"),
        default="2026-06-30",
        help="official evaluator: soft IoU on 100 x 50 (2026-06-30; 2026-05-28 and 2026-05-18 leave classes without "
        "detections out of the macro mean), COCO masks on 360 x 180 (2026-04-02), 06-30 and 04-02 (both), or all four",
    )
    parser.add_argument("--json", metavar="OUT", help="also write the figures as JSON (- for standard output)")
    parser.add_argument("--workers", type=int, default=1, metavar="W", help="processes (1)")
    parser.add_argument(
        "--count-missing", action="store_true", help="count labels of recordings without predictions as missed"
    )
    parser.add_argument("--allow-large", action="store_true", help="accept prediction files above 20 MB")
    parser.add_argument(
        "--diagnostics", action="store_true", help="also print class-agnostic AP and matched-class F1 (20 degrees)"
    )
    parser.add_argument("--no-cache", action="store_true", help="neither read nor write the caches")
    parser.add_argument("--quiet", action="store_true", help="no progress, no table; warnings still")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Evaluate and print."""
    from sai_core.dataset.outputs import check_output
    from sai_core.metrics import REVISIONS, evaluate_revisions
    from sai_core.metrics.evaluation.discovery import find_pairs
    from sai_core.metrics.reading.report import evaluation_table
    from sai_core.workspace import folder_of, of_other_data

    told: list[str] = []
    args.labels = folder_of("labels", args.labels, told=told)
    args.predictions = folder_of("predictions", args.predictions, told=told)
    told += filter(None, [of_other_data(args.labels, args.predictions)])
    labels, predictions = find_pairs(args.labels, args.predictions, told=told)
    if args.json and args.json != "-":
        check_output(args.json, inputs=[args.labels, *labels.values(), *predictions.values()])
    several: dict[str, tuple[Revision, ...]] = {"all": REVISIONS, "both": (REVISIONS[0], REVISIONS[-1])}
    revisions = several.get(args.revision, (args.revision,))
    results = evaluate_revisions(
        labels,
        predictions,
        revisions,
        workers=args.workers,
        progress=_progress(args, f"evaluate {args.revision}"),
        count_missing_recordings=args.count_missing,
        allow_large=args.allow_large,
        use_cache=not args.no_cache,
    )
    results = [replace(evaluation, warnings=(*told, *evaluation.warnings)) for evaluation in results]
    for warning in dict.fromkeys(w for evaluation in results for w in evaluation.warnings):
        print(f"warning: {warning}", file=sys.stderr)
    to_stdout = args.json == "-"
    if not args.quiet:
        tables = "\n\n".join(evaluation_table(evaluation) for evaluation in results)
        print(tables, file=sys.stderr if to_stdout else sys.stdout)
    if args.json:
        _write_json([evaluation.to_json() for evaluation in results], args.json, as_list=args.revision in several)
    if args.diagnostics:
        text = _diagnostics(args, labels, predictions, revisions)
        print(f"\n{text}", file=sys.stderr if to_stdout else sys.stdout)
    return 0


def _progress(args: argparse.Namespace, title: str) -> Progress:
    return no_progress if args.quiet else TerminalProgress(title)


def _write_json(objects: list[dict[str, Any]], target: str, *, as_list: bool) -> None:
    from sai_core.files import atomic_write, user_path

    # undefined is null in them, so NaN would be a bug
    text = json.dumps(objects if as_list else objects[0], indent=1, ensure_ascii=False, allow_nan=False)
    if target == "-":
        print(text)
        return
    with atomic_write(user_path(target), "w") as stream:
        stream.write(text + "\n")


def _diagnostics(
    args: argparse.Namespace, labels: dict[str, Path], predictions: dict[str, Path], revisions: tuple[Revision, ...]
) -> str:
    """Class-agnostic figures of each revision, and the F1 of classes among pairs that point the same way."""
    from sai_core.annotations.reading import read_annotations
    from sai_core.metrics import class_agnostic_figures, is_soft, matched_class_f1, spatial_matches

    lines = []
    for revision in revisions:
        figures = class_agnostic_figures(
            labels,
            predictions,
            revision=revision,
            workers=args.workers,
            progress=_progress(args, f"all classes {revision}"),
            allow_large=args.allow_large,
            use_cache=not args.no_cache,
        )
        lines.append(f"class-agnostic AP (revision {revision}): {figures.mean_ap:.4f}")
    names = sorted(set(labels) & set(predictions))
    strict = any(is_soft(revision) for revision in revisions)
    matches = []
    for name in names:
        tables = [
            read_annotations(
                files[name],
                recording=name,
                check_canvas=strict,
                unknown_classes="drop",
                use_cache=not args.no_cache,
            )
            for files in (labels, predictions)
        ]
        matches.append(spatial_matches(*tables))
    macro, _ = matched_class_f1(matches)
    lines.append(f"matched-class macro F1 (pairs within 20 degrees): {macro:.4f}")
    return "\n".join(lines)
