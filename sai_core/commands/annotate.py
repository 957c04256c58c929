"""``annotate``: 32-channel audio and DCASE metadata to a STAIRS26 label file."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from sai_core.progress import Progress, TerminalProgress, no_progress

if TYPE_CHECKING:
    from sai_core.labelling.job import LabelSettings

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
    parser.add_argument(
        "--out",
        type=Path,
        metavar="LABEL_std.json",
        help="label (.json or .json.gz); put into a label set of the workspace if left out",
    )
    parser.add_argument("--name", help="what the label set is called (after the data folder)")
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
    from sai_core.errors import InputError
    from sai_core.labelling.job import LabelSettings, label_files

    if args.out is not None and args.name is not None:
        raise InputError("--name is for a label set in the workspace, --out for a file elsewhere; give one of them.")
    progress: Progress = no_progress if args.quiet else TerminalProgress("annotate")
    settings = LabelSettings(
        official_quirks=not args.fixed,
        keep_first_row=args.keep_first_row,
        dtype=args.dtype,
        device=args.device,
    )
    with ExitStack() as stack:
        out = args.out or stack.enter_context(_in_a_set(args, settings))
        report = label_files(args.audio, args.metadata, out, raw_path=args.raw, settings=settings, progress=progress)
    for note in report.notes:
        print(f"note: {note}", file=sys.stderr)
    if not args.quiet:
        n_frames = len(set(report.labels.table.frame.tolist()))
        print(
            f"{out}: {len(report.labels.table)} annotations in {n_frames} of {report.labels.n_frames} frames"
            f", {report.labels.dtype} ({report.seconds:.1f} s)"
        )
    return 0


@contextmanager
def _in_a_set(args: argparse.Namespace, settings: LabelSettings) -> Iterator[Path]:
    """Place of the label in a label set, which is made or gone on with; nobody renames it meanwhile."""
    from sai_core.annotations import recording_name
    from sai_core.dataset.layout import kind_of_folder
    from sai_core.errors import InputError
    from sai_core.workspace import label_facts, workspace

    if not args.audio.is_file():
        raise InputError(f"{args.audio}: there is no such file.")
    folder, name = args.audio.resolve().parent, recording_name(args.audio)
    split, data = "", None
    if kind_of_folder(folder.name):
        data = folder.parent
    elif kind_of_folder(folder.parent.name):
        split, data = folder.name, folder.parent.parent
    recording = f"{split}/{name}" if split else name
    facts = label_facts(settings, data=data, recordings=[recording])
    place = workspace()
    if args.name is not None:
        stored = place.begin("labels", args.name, facts, exist_ok=True)
    else:
        stored = place.go_on("labels", f"{data.name} labels" if data is not None else "own labels", facts)
    with ExitStack() as stack:
        stack.callback(place.drop_empty, stored)
        out = stack.enter_context(place.writing(stored, part=name)) / split / f"{name}_std.json"
        if out.exists():
            raise InputError(f"{recording}: the label set {stored.name} has one already; choose another name.")
        yield out
