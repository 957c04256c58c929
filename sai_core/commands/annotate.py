"""``annotate``: 32-channel audio and DCASE metadata to a STAIRS26 label file."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

from sai_core.commands import _batch as batch
from sai_core.commands._batch import Task
from sai_core.progress import Progress, TerminalProgress, no_progress
from sai_core.shards import HELP

if TYPE_CHECKING:
    from sai_core.dataset import Recording
    from sai_core.labelling.job import LabelSettings
    from sai_core.workspace.facts import SetFacts

_EXAMPLE = """example:
  python -m sai_core annotate --audio eigen_dev/dev-test-tau/fold4_room2_mix001.wav \\
      --metadata metadata_dev/dev-test-tau/fold4_room2_mix001.csv \\
      --out made/fold4_room2_mix001_std.json --raw made/fold4_room2_mix001_raw.json

  python -m sai_core annotate --data STARSS23 --name ours
  python -m sai_core annotate --data STARSS23 --out made
  sbatch --array=1-8 --wrap "python -m sai_core annotate --data STARSS23 --out made --shard auto"

With --data, every recording of the data root that has 32 channels and metadata gets a label <split>/<name>_std.json in
a label set of the workspace, which all pages and verbs know by its name, or in the folder --out: all files are looked
at first and what is wrong is told at once; one that fails, then or later, is left out, the others go on, and the exit
code is 2. The same call again makes what is missing. --stop-at-first-error refuses instead.

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
    parser.add_argument("--audio", type=Path, metavar="EIGEN.wav", help="Eigenmike recording, 32 channels")
    parser.add_argument("--metadata", type=Path, metavar="DCASE.csv", help="frame, class, source, ...")
    parser.add_argument("--data", type=Path, metavar="ROOT", help="instead of both: all recordings of a data root")
    parser.add_argument("--split", default="all", help="with --data: only this split (all)")
    parser.add_argument("--shard", metavar="K/N", help=f"with --data: {HELP}")
    batch.add_going_on(parser)
    parser.add_argument(
        "--out",
        type=Path,
        metavar="LABEL_std.json",
        help="label (.json or .json.gz), with --data a folder; a label set of the workspace if left out",
    )
    parser.add_argument("--name", help="name of the label set (default: from the data root)")
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
    settings = LabelSettings(
        official_quirks=not args.fixed,
        keep_first_row=args.keep_first_row,
        dtype=args.dtype,
        device=args.device,
    )
    if args.data is not None:
        return _set(args, settings)
    if args.audio is None or args.metadata is None:
        raise InputError("Give --audio and --metadata of one recording, or --data ROOT for all of a data root.")
    if args.shard or args.split != "all":
        raise InputError("--split and --shard are for the recordings of a data root; give --data.")
    progress: Progress = no_progress if args.quiet else TerminalProgress("annotate")
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


_LABEL_BYTES: Final[int] = 15_000
"""Text of one label, about."""


def _set(args: argparse.Namespace, settings: LabelSettings) -> int:
    """Labels of all recordings of a data root that can have one, or of this process's part of them."""
    from sai_core.dataset import open_data_root
    from sai_core.dataset.outputs import check_output
    from sai_core.errors import InputError, SaiError
    from sai_core.shards import Shard, read_shard
    from sai_core.workspace import label_facts

    given = {"--audio": args.audio, "--metadata": args.metadata, "--raw": args.raw}
    if unfit := [option for option, value in given.items() if value is not None]:
        raise InputError(f"{', '.join(unfit)}: not with --data, which makes one label for each recording of the root.")
    root = open_data_root(args.data)
    if args.out is not None:
        check_output(args.out, root=root, folder=True, makes_labels=True)
    part = read_shard(args.shard) if args.shard else Shard()
    recordings = [r for r in root.of_split(args.split) if r.eigen_path is not None and r.metadata_path is not None]
    n_without = len(root.of_split(args.split)) - len(recordings)
    if not recordings:
        raise InputError(
            f"{args.data}: no recording has both 32-channel audio (eigen_dev) and metadata (metadata_dev)."
        )
    if n_without:
        print(f"note: {n_without} recordings have no 32-channel audio or no metadata: no label.", file=sys.stderr)
    sizes: list[int | SaiError] = []
    for recording in recordings:
        try:
            sizes.append(_n_rows(recording))
        except SaiError as error:
            sizes.append(error)

    def tasks_in(folder: Path) -> list[Task]:
        tasks: list[Task] = []
        for number, (recording, size) in enumerate(zip(recordings, sizes, strict=True)):
            out = folder / recording.split / f"{recording.name}_std.json"
            work = partial(_label, args, settings, recording, out, f"{number + 1}/{len(recordings)}")
            n_rows, problem = (size, None) if isinstance(size, int) else (0, size)
            tasks.append(Task(recording.name, out, _LABEL_BYTES * n_rows, work, problem))
        return tasks

    if args.out is None:  # before there is a set; those of a folder are told with what is wrong with it
        batch.check_tasks(part.of(tasks_in(Path())), keep_going=args.keep_going)
    with ExitStack() as stack:
        facts = None  # a set of the workspace has them in its set.json
        if args.out is not None:
            folder = args.out
            facts = {
                "fixed": args.fixed,
                "keep_first_row": args.keep_first_row,
                "dtype": args.dtype,
                "data": str(root.path.resolve()),
            }
        else:
            names = ["/".join(filter(None, (r.split, r.name))) for r in recordings]
            made_of = label_facts(settings, data=root.path, recordings=names)
            place = _set_to_write(args.name, root.path, made_of, part=f"{part.index + 1} of {part.count}")
            folder = stack.enter_context(place)
        mine = part.of(tasks_in(folder))
        return batch.run(folder, facts, mine, keep_going=args.keep_going, quiet=args.quiet)


def _n_rows(recording: Recording) -> int:
    """Rows of a recording's metadata, after a look at both files; one that cannot be used is an error."""
    from sai_core.acoustics.audio_input import AudioInput
    from sai_core.annotations import read_dcase_csv

    assert recording.eigen_path is not None
    assert recording.metadata_path is not None
    AudioInput(recording.eigen_path, channels=32)
    return len(read_dcase_csv(recording.metadata_path))


def _label(
    args: argparse.Namespace, settings: LabelSettings, recording: Recording, out: Path, label: str
) -> tuple[str, ...]:
    from sai_core.labelling.job import label_files

    assert recording.eigen_path is not None
    assert recording.metadata_path is not None
    progress: Progress = no_progress if args.quiet else TerminalProgress(label)
    return label_files(recording.eigen_path, recording.metadata_path, out, settings=settings, progress=progress).notes


@contextmanager
def _in_a_set(args: argparse.Namespace, settings: LabelSettings) -> Iterator[Path]:
    """Place of the label in a label set, which is made or gone on with; nobody renames it meanwhile."""
    from sai_core.annotations import recording_name
    from sai_core.dataset.layout import kind_of_folder
    from sai_core.errors import InputError
    from sai_core.workspace import label_facts

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
    with _set_to_write(args.name, data, facts, part=name) as folder:
        out = folder / split / f"{name}_std.json"
        if out.exists():
            raise InputError(f"{recording}: the label set {folder.name} has one already; choose another name.")
        yield out


@contextmanager
def _set_to_write(name: str | None, data: Path | None, facts: SetFacts, *, part: str) -> Iterator[Path]:
    """Folder of a label set, which is made or gone on with; without any label it does not stay."""
    from sai_core.workspace import workspace

    place = workspace()
    if name is not None:
        stored = place.begin("labels", name, facts, exist_ok=True)
    else:
        stored = place.go_on("labels", f"{data.name} labels" if data is not None else "own labels", facts)
    with ExitStack() as stack:
        stack.callback(place.drop_empty, stored)
        yield stack.enter_context(place.writing(stored, part=part))
