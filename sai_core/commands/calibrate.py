"""``calibrate``: scores that mean what they say, fitted on one part of the recordings and reported on the other.

Or, with ``--quality``, other scores: those of a network that is learned to rank annotations.
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import replace
from pathlib import Path

from sai_core.commands.tune import (
    add_inputs,
    add_outputs,
    found_raw,
    opened,
    opened_raw,
    save,
    told_failures,
)
from sai_core.errors import InputError
from sai_core.progress import TerminalProgress, no_progress

_EXAMPLE = """example:
  python -m sai_core calibrate --labels DATA/labels_dev --raw predictions/fao --system FAO --out fao-calibrated.toml
  python -m sai_core calibrate --labels corrected --raw "AV FAO" --method temperature --name "AV FAO calibrated"
  python -m sai_core calibrate --labels DATA/labels_dev --raw predictions/field --system Field \\
      --quality quality.safetensors --out field-ranked.toml

The curves are fitted on half of the recordings, drawn with --seed; the figures to trust are those of the other half. No
threshold sees a calibrated score: the same detections are kept as before, in the same order within their class.

With --quality no curves are fitted. A small network learns from half of the recordings which annotations reach
which IoU, and its scores are written in place of the detector's: in another order, which is its purpose. It needs raw
detections with a field (predict --field)."""


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
        help="a rising curve of up to ten points for each class, or one number that the logit is divided by (isotonic)",
    )
    parser.add_argument(
        "--iou",
        type=float,
        choices=(0.25, 0.5, 0.75),
        help="soft IoU from which a detection is right (0.5)",
    )
    parser.add_argument("--resamples", type=int, default=1000, metavar="N", help="of the intervals (1000)")
    parser.add_argument(
        "--quality",
        type=Path,
        metavar="FILE.safetensors",
        help="learn a ranking in place of curves, and write its network; the system of --out or --name uses it",
    )
    parser.add_argument(
        "--also",
        type=Path,
        action="append",
        default=[],
        metavar="DIR_OR_SET",
        help="raw detections of another detector, to learn one network for all (with --quality; may be repeated)",
    )
    parser.add_argument(
        "--from-all",
        action="store_true",
        help="after the figures learn the network again, from all recordings (with --quality)",
    )
    add_outputs(parser, "calibrated")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Fit, print, write."""
    from sai_core.metrics.reading.report import table_text
    from sai_core.tuning.calibration import calibration_table, fit_calibration

    if args.quality is not None:
        return _learn(args)
    if args.also or args.from_all:
        raise InputError("--also and --from-all are of --quality FILE.safetensors, which is not given.")
    system, tuning_set = opened(args)
    found = fit_calibration(
        tuning_set,
        system.settings,
        method=args.method or "isotonic",
        iou=args.iou or 0.5,
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


def _learn(args: argparse.Namespace) -> int:
    """Learn a quality network, print, write it and a system that names it."""
    from sai_core import __version__
    from sai_core.dataset.outputs import check_output
    from sai_core.postprocess.quality import save_quality
    from sai_core.tuning.quality import fit_quality
    from sai_core.workspace import folder_of

    if args.method is not None or args.iou is not None:
        raise InputError("--method and --iou are of curves; leave them out with --quality.")
    if args.quality.suffix.lower() != ".safetensors":
        raise InputError(f"--quality {args.quality}: the name of a network's file must end in .safetensors.")
    notes: list[str] = []
    also = [found_raw(folder_of("predictions", folder, notes=notes)) for folder in args.also]
    for sentence in notes:
        print(f"warning: {sentence}", file=sys.stderr)
    check_output(args.quality, inputs=[args.labels, args.raw, *args.also])
    system, first = opened(args)
    sets = [first, *(opened_raw(args, system, found) for found in also)]
    found = fit_quality(
        sets,
        system.settings,
        seed=args.seed,
        from_all=args.from_all,
        n_resamples=args.resamples,
        progress=no_progress if args.quiet else TerminalProgress("learn"),
    )
    provenance = {"made_by": f"sai_core {__version__} calibrate --quality", "system": system.name, **found.notes()}
    save_quality(found.network, args.quality, notes=provenance)
    if not args.quiet:
        print(f"{args.quality} written", file=sys.stderr)
    path = str(args.quality.resolve())
    save(args, system, replace(system.settings, temperature={}, isotonic={}, quality=path))
    if args.json:
        failures = [{"recording": f.recording, "error": f.error} for s in sets for f in s.failures]
        print(json.dumps({"system": system.name, **found.to_json(), "failures": failures}, indent=1, allow_nan=False))
    elif not args.quiet:
        print(found.text())
    return max(told_failures(s) for s in sets)
