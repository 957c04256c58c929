"""``annotate``: 32-channel audio and DCASE metadata to a STAIRS26 label file."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from sai_core.progress import Progress, TerminalProgress, no_progress

_EXAMPLE = """example:
  python -m sai_core annotate --audio eigen_dev/dev-test-tau/fold4_room2_mix001.wav \\
      --metadata metadata_dev/dev-test-tau/fold4_room2_mix001.csv \\
      --out made/fold4_room2_mix001_std.json --raw made/fold4_room2_mix001_raw.json

The label agrees with the official one to the pixel; --dtype float32 is faster, and energies may be some thousandths
off. docs/labels.md says what that includes, and what --fixed changes.
Rows after the end of the audio get no label. Audio at another sample rate is resampled to 24 kHz, and that is said.
"""


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    """Add the verb to the command line."""
    parser = subparsers.add_parser(
        "annotate",
        help="make a STAIRS26 energy label from 32-channel audio and DCASE metadata",
        description="Make a STAIRS26 energy label from a 32-channel Eigenmike recording and its DCASE metadata.",
        epilog=_EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--audio", type=Path, required=True, metavar="EIGEN.wav", help="Eigenmike recording, 32 channels"
    )
    parser.add_argument("--metadata", type=Path, required=True, metavar="DCASE.csv", help="frame, class, source, ...")
    parser.add_argument("--out", type=Path, required=True, metavar="LABEL_std.json", help="label (.json or .json.gz)")
    parser.add_argument("--raw", type=Path, metavar="RAW.json", help="also write unstandardised amplitudes")
    parser.add_argument(
        "--fixed", action="store_true", help="without the official quirks: every row once, no holes at seam and poles"
    )
    parser.add_argument(
        "--keep-first-row",
        action="store_true",
        help="label the first row of metadata without a header, which the official code takes for a header",
    )
    parser.add_argument("--dtype", choices=("float64", "float32"), default="float64", help="precision (float64, exact)")
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto", help="for the visibilities (auto)")
    parser.add_argument("--quiet", action="store_true", help="no progress, no summary; notes still")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Make and write the label."""
    from sai_core.labelling.job import LabelSettings, label_files

    progress: Progress = no_progress if args.quiet else TerminalProgress("annotate")
    report = label_files(
        args.audio,
        args.metadata,
        args.out,
        raw_path=args.raw,
        settings=LabelSettings(
            official_quirks=not args.fixed,
            keep_first_row=args.keep_first_row,
            dtype=args.dtype,
            device=args.device,
        ),
        progress=progress,
    )
    for note in report.notes:
        print(f"note: {note}", file=sys.stderr)
    if not args.quiet:
        n_frames = len(set(report.labels.table.frame.tolist()))
        print(
            f"{args.out}: {len(report.labels.table)} annotations in {n_frames} of {report.labels.n_frames} frames"
            f", {report.labels.dtype} ({report.seconds:.1f} s)"
        )
    return 0
