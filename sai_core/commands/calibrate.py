"""``calibrate``: scores that mean what they say, fitted on one part of the recordings and reported on the other."""

from __future__ import annotations

import argparse
import json

from sai_core.commands.tune import add_inputs, add_outputs, opened, save, told_failures
from sai_core.progress import TerminalProgress, no_progress

_EXAMPLE = """example:
  python -m sai_core calibrate --labels DATA/labels_dev --raw predictions/fao --system FAO --out fao-calibrated.toml
  python -m sai_core calibrate --labels corrected --raw "AV FAO" --method temperature --name "AV FAO calibrated"

The curves are fitted on half of the recordings, drawn with --seed; the figures to trust are those of the other half. No
threshold sees a calibrated score: the same detections are kept as before, in the same order within their class."""


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    """Add the verb."""
    parser = subparsers.add_parser(
        "calibrate",
        help="make scores say how often a detection is right, class by class",
        description="Fit a curve from score to precision for every class, and save it into a system.",
        epilog=_EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_inputs(parser)
    parser.add_argument(
        "--method",
        choices=("isotonic", "temperature"),
        default="isotonic",
        help="a rising curve of up to ten points for each class, or one number that the logit is divided by (isotonic)",
    )
    parser.add_argument(
        "--iou",
        type=float,
        choices=(0.25, 0.5, 0.75),
        default=0.5,
        help="soft IoU from which a detection is right (0.5)",
    )
    parser.add_argument("--resamples", type=int, default=1000, metavar="N", help="of the intervals (1000)")
    add_outputs(parser, "calibrated")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Fit, print, write."""
    from sai_core.metrics.reading.report import table_text
    from sai_core.tuning.calibration import calibration_table, fit_calibration

    system, tuning_set = opened(args)
    found = fit_calibration(
        tuning_set,
        system.settings,
        method=args.method,
        iou=args.iou,
        seed=args.seed,
        n_resamples=args.resamples,
        progress=no_progress if args.quiet else TerminalProgress("calibrate"),
    )
    save(args, system, found.settings)
    if args.json:
        failures = [{"recording": f.recording, "error": f.error} for f in tuning_set.failures]
        print(json.dumps({"system": system.name, **found.to_json(), "failures": failures}, indent=1, allow_nan=False))
    elif not args.quiet:
        print(
            "\n\n".join(
                [*(table_text(calibration_table(found, part)) for part in ("fitted", "held_out")), found.sentence()]
            )
        )
    return told_failures(tuning_set)
