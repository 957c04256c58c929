"""``convert``: annotations into the formats of other programs, and edited events back."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from sai_core.errors import InputError

_EXAMPLE = """examples:
  python -m sai_core convert labels_dev/dev-test-sony --to audacity --out labels_txt
  python -m sai_core convert labels_txt --regions labels_dev/dev-test-sony --out corrected
  python -m sai_core convert labels_dev/dev-test-sony --to masks --pictures --data STARSS23 --out for_cvat
  python -m sai_core convert "AV FAO" --to parquet --min-score 0.1 --out fao.parquet
  python -m sai_core convert instances_default.json --to label --out labels

The input is a set of the workspace, a folder, or a file: labels, submissions, COCO files, metadata (.csv), or, with
--regions, files of edited events (.txt of Audacity, .eaf of ELAN, .rttm, .vtt). docs/interchange.md says what each
format can hold."""


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    """Declare the verb."""
    from sai_core.interchange.formats import FORMATS

    parser = subparsers.add_parser(
        "convert",
        help="annotations into COCO, Audacity, ELAN, RTTM, WebVTT, Parquet, and edited events back",
        description="Write annotations in the format of another program, one file a recording; or take over events "
        "that were edited in one.",
        epilog=_EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("input", metavar="SET_DIR_OR_FILE", help="what to convert")
    parser.add_argument(
        "--to",
        metavar="FORMAT",
        default="",
        help="label, submission, coco, masks, dcase, parquet, rerun, " + ", ".join(FORMATS),
    )
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder (parquet: the file)")
    parser.add_argument("--min-score", metavar="S", type=float, default=0.0, help="leave out predictions below (0)")
    parser.add_argument("--data", type=Path, metavar="ROOT", help="data root, for names of sounds and for pictures")
    parser.add_argument(
        "--pictures", action="store_true", help="with --to masks or rerun: the picture of each frame; needs --data"
    )
    parser.add_argument(
        "--regions",
        metavar="SET_DIR_OR_FILE",
        help="the input are edited events: keep these labels or predictions where an event of theirs is",
    )
    parser.add_argument(
        "--from", dest="source", metavar="FORMAT", default="", help="format of edited events, if not by ending"
    )
    parser.add_argument("--json", action="store_true", help="print what was written as JSON")
    parser.add_argument("--quiet", action="store_true", help="no progress, no summary; warnings still")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Convert one way or back."""
    from sai_core.dataset import open_data_root
    from sai_core.interchange.convert import TARGETS, apply_timing_files, convert_files
    from sai_core.progress import TerminalProgress, no_progress

    progress = no_progress if args.quiet else TerminalProgress("convert")
    root = open_data_root(args.data) if args.data is not None else None
    recordings = {r.name: r for r in root.recordings} if root is not None else None
    if args.regions is not None:
        if args.to or args.pictures or args.min_score:
            raise InputError(
                "With --regions the output is of the kind of the regions; leave --to, --pictures, --min-score."
            )
        regions, choices = _annotations(args.regions)
        done = apply_timing_files(
            _events(args.input, args.source), regions, args.out, format_name=args.source, progress=progress
        )
    else:
        if not args.to:
            raise InputError(
                f"Say which format to write (--to {' | '.join(TARGETS)}), or give --regions for edited events."
            )
        if args.pictures and root is None:
            raise InputError("--pictures takes the pictures from a data root; give --data.")
        files, choices = _annotations(args.input)
        done = convert_files(
            files,
            args.to,
            args.out,
            min_score=args.min_score,
            recordings=recordings,
            pictures=args.pictures,
            progress=progress,
        )
    for note in [*choices, *done.notes]:
        print(f"warning: {note}", file=sys.stderr)
    if args.json:
        facts = {"files": {k: str(v) for k, v in done.files.items()}, "pictures": done.n_pictures, "notes": done.notes}
        facts["failures"] = done.failures
        print(json.dumps(facts, indent=1, ensure_ascii=False))
    elif not args.quiet:
        n = len(done.files)
        more = f", {done.n_pictures} pictures in {args.out / 'images'}" if done.n_pictures else ""
        print(f"{args.out}: {n} file{'s' * (n != 1)}{more}")
    for name, why in done.failures.items():
        print(f"error: {name} is not converted: {why}", file=sys.stderr)
    return 2 if done.failures else 0


def _annotations(text: str) -> tuple[dict[str, Path], list[str]]:
    """Files by recording of a path, or of a set of the workspace."""
    from sai_core.annotations import recording_name
    from sai_core.dataset.layout import AUDIO_SUFFIXES, VIDEO_SUFFIXES
    from sai_core.files import user_path
    from sai_core.metrics.evaluation.discovery import find_annotations
    from sai_core.workspace import KINDS, workspace

    path = user_path(text)
    if not path.exists():
        for kind in KINDS:
            found = [s for s in workspace().sets(kind) if s.name.casefold() == text.strip().casefold()]
            if found:
                return dict(found[0].files), list(found[0].left_out)
    if path.is_file():
        if path.suffix.lower() in (*AUDIO_SUFFIXES, *VIDEO_SUFFIXES, ".mp3", ".ogg"):
            what = "video" if path.suffix.lower() in VIDEO_SUFFIXES else "sound file"
            raise InputError(
                f"{path}: is a {what}; convert takes annotations: labels, submissions, COCO files, metadata (.csv)."
            )
        return {path.stem if path.suffix.lower() == ".csv" else recording_name(path): path}, []
    if path.is_dir():
        tables = {p.stem: p for p in sorted(path.glob("*.csv"))}
        if tables and not any(path.rglob("*.json*")):
            return tables, []
    return find_annotations(path)


def _events(text: str, source: str) -> dict[str, Path]:
    """Files of edited events by recording."""
    from sai_core.files import user_path
    from sai_core.interchange.formats import FORMATS

    path = user_path(text)
    if source and source not in FORMATS:
        raise InputError(f"--from {source}: known are {', '.join(FORMATS)}.")
    if path.is_file():
        return {path.stem: path}
    if not path.is_dir():
        raise InputError(f"{path}: there is no such file or folder.")
    suffixes = {FORMATS[source].suffix} if source else {f.suffix for f in FORMATS.values()}
    found = [p for p in sorted(path.iterdir()) if p.suffix.lower() in suffixes and not p.name.startswith(".")]
    twice = [p for p in found if sum(q.stem == p.stem for q in found) > 1]
    if twice:
        raise InputError(f"{path}: {twice[0].stem} has events in several files; say which format to take (--from).")
    if not found:
        raise InputError(f"{path}: holds no file of events ({', '.join(sorted(suffixes))}).")
    return {p.stem: p for p in found}
