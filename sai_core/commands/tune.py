"""``tune``: score thresholds of each class, found on one part of the recordings and reported on the other."""

from __future__ import annotations

import argparse
import json
import sys
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sai_core.errors import InputError
from sai_core.progress import TerminalProgress, no_progress

if TYPE_CHECKING:
    from sai_core.postprocess import PipelineSettings, System
    from sai_core.tuning import RawSet, TuningSet
    from sai_core.tuning.search import Part, ThresholdSearch

_EXAMPLE = """example:
  python -m sai_core tune --labels DATA/labels_dev/dev-test-tau --raw predictions/fao --system FAO --out fao-tuned.toml
  python -m sai_core tune --labels corrected --raw "AV FAO" --name "AV FAO tuned"

DIR of --raw is a folder that `predict` wrote (or its folder `raw`). Half of the recordings, drawn with --seed, is
searched; the figures to trust are those of the other half. With one recording its first half in time is searched.
All files are looked at first; a recording that turns out to be damaged is told, the others are searched, and the exit
code is 2."""


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    """Add the verb."""
    parser = subparsers.add_parser(
        "tune",
        help="find the score threshold of each class",
        description="Try score thresholds for every class on stored raw detections, by the evaluator of 2026-06-30.",
        epilog=_EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_inputs(parser)
    parser.add_argument(
        "--objective",
        choices=("mAP", "AP50", "F1"),
        default="mAP",
        help="what is made as large as possible for each class: mean AP, AP at IoU 0.50, or F1 at IoU 0.50 (mAP)",
    )
    add_outputs(parser, "tuned")
    parser.set_defaults(run=run)


def add_inputs(parser: argparse.ArgumentParser) -> None:
    """Which labels, raw detections and system; :func:`opened` reads them."""
    parser.add_argument(
        "--labels", type=Path, required=True, metavar="DIR_OR_SET", help="label file or folder, or a set's name"
    )
    parser.add_argument(
        "--raw",
        type=Path,
        required=True,
        metavar="DIR_OR_SET",
        help="raw detections, as predict keeps them: a folder, or the name of a prediction set of the workspace",
    )
    parser.add_argument(
        "--system",
        help="where to start: a named system or a .toml file (the one that a set of the workspace was predicted with; "
        "of raw detections elsewhere Baseline)",
    )
    parser.add_argument("--teacher", type=Path, metavar="DIR", help="CSV files of a DCASE system, <recording>.csv")
    parser.add_argument("--recording", action="append", metavar="NAME", help="only this recording (may be repeated)")


def add_outputs(parser: argparse.ArgumentParser, made: str) -> None:
    """Seed of the division, and where the system goes that is made."""
    parser.add_argument("--seed", type=int, default=0, help="of the split into two halves (0)")
    parser.add_argument("--out", type=Path, metavar="FILE.toml", help=f"write the {made} system")
    parser.add_argument(
        "--name", help=f"name of the {made} system (that of the file); without --out it is kept in the workspace"
    )
    parser.add_argument("--json", action="store_true", help="print JSON instead of the table")
    parser.add_argument("--no-cache", action="store_true", help="neither read nor write the caches of labels")
    parser.add_argument("--quiet", action="store_true", help="no progress, no table; warnings still")


def run(args: argparse.Namespace) -> int:
    """Search, print, write."""
    from sai_core.tuning import search_thresholds

    system, tuning_set = opened(args)
    found = search_thresholds(
        tuning_set,
        system.settings,
        objective=args.objective,
        seed=args.seed,
        progress=no_progress if args.quiet else TerminalProgress("tune"),
    )
    save(args, system, found.settings)
    parts = (found.searched, found.held_out)
    for warning in dict.fromkeys(w for part in parts for e in (part.before, part.after) for w in e.warnings):
        print(f"warning: {warning}", file=sys.stderr)
    if args.json:
        failures = [{"recording": failure.recording, "error": failure.error} for failure in tuning_set.failures]
        print(json.dumps({**_as_json(found, system.name), "failures": failures}, indent=1, allow_nan=False))
    elif not args.quiet:
        print(_table(found, system.display_name))
    return told_failures(tuning_set)


def told_failures(tuning_set: TuningSet) -> int:
    """The exit code, after a line for each recording that is in no figure."""
    for failure in tuning_set.failures:
        print(f"error: {failure.recording}: {failure.error}", file=sys.stderr)
    if not tuning_set.failures:
        return 0
    return 1 if all(failure.machine_at_fault for failure in tuning_set.failures) else 2


def opened(args: argparse.Namespace) -> tuple[System, TuningSet]:
    """The system to start from and the recordings, after everything was checked that can be before long work.

    ``args.out`` becomes the file that :func:`save` writes; None where nothing is to be written.
    """
    from sai_core.dataset.outputs import check_output
    from sai_core.postprocess.quality import load_quality, quality_path
    from sai_core.postprocess.systems import list_systems, load_system, systems_folder, systems_folders
    from sai_core.workspace import clean_name, folder_of, of_other_data

    notes: list[str] = []
    args.labels = folder_of("labels", args.labels, notes=notes)
    args.raw = folder_of("predictions", args.raw, notes=notes)
    notes += filter(None, [of_other_data(args.labels, args.raw)])
    for sentence in notes:
        print(f"warning: {sentence}", file=sys.stderr)
    if args.out is None and args.name:
        args.out = systems_folder() / f"{clean_name(args.name)}.toml"
        # a name that is taken would be left out of the list of systems
        if args.out.exists() or args.name.casefold() in {s.name.casefold() for s in list_systems(systems_folders())}:
            raise InputError(f"--name {args.name}: there is a system of this name already; choose another name.")
    if args.out is not None and args.out.suffix.lower() != ".toml":
        raise InputError(f"--out {args.out}: the name of a system's file must end in .toml.")
    if args.out is not None:
        check_output(args.out, inputs=[args.labels, args.raw, args.teacher])
    system = _system_of(args.raw) if args.system is None else load_system(args.system, folder=systems_folders())
    if args.out is not None:
        system.with_settings(system.settings, name=args.name or args.out.stem)  # a bad name is told before the search
    if system.needs_teacher and args.teacher is None:
        raise InputError(f"{system.name} needs a teacher; give the folder of a DCASE system's CSV files by --teacher.")
    if system.settings.quality and getattr(args, "quality", None) is None:
        load_quality(quality_path(system.settings.quality))
    return system, opened_raw(args, system, found_raw(args.raw))


def found_raw(folder: Path) -> RawSet:
    """Raw detections that a folder holds."""
    from sai_core.tuning.discovery import raw_set

    found = raw_set(folder)
    if found is None:
        raise InputError(f"{folder}: holds no finished raw detections; give a folder that predict wrote.")
    return found


def opened_raw(args: argparse.Namespace, system: System, found: RawSet) -> TuningSet:
    """Raw detections with the labels that :func:`opened` was given."""
    from sai_core.metrics.evaluation.discovery import find_labels
    from sai_core.tuning import open_raw_set

    return open_raw_set(
        found.stores,
        find_labels(args.labels),
        recordings=args.recording,
        teacher_folder=args.teacher if system.needs_teacher else None,
        use_cache=not args.no_cache,
        progress=no_progress if args.quiet else TerminalProgress("open"),
    )


def save(args: argparse.Namespace, system: System, settings: PipelineSettings) -> None:
    """Write the system that was made, where one is wanted."""
    from sai_core.postprocess.systems import save_system

    if args.out is None:
        return
    save_system(system.with_settings(settings, name=args.name or args.out.stem), args.out)
    if not args.quiet:
        print(f"{args.out} written", file=sys.stderr)


def _system_of(raw: Path) -> System:
    """System that a prediction set of the workspace was made with; Baseline for raw detections elsewhere."""
    from sai_core.postprocess.systems import load_system, parse_system
    from sai_core.workspace import set_at

    stored = set_at("predictions", raw)
    if stored is None or not stored.facts.system_toml:
        return load_system("Baseline")
    try:
        return parse_system(tomllib.loads(stored.facts.system_toml))
    except (InputError, tomllib.TOMLDecodeError) as error:
        raise InputError(
            f"{stored.name}: the system that it was predicted with cannot be read ({error}); give one by --system."
        ) from error


def _as_json(found: ThresholdSearch, system: str) -> dict[str, Any]:
    def part(half: Part) -> dict[str, Any]:
        return {"names": list(half.names), "before": half.before.to_json(), "after": half.after.to_json()}

    return {
        "revision": "2026-06-30",
        "system": system,
        "objective": found.objective,
        "seed": found.seed,
        "by_time": found.by_time,
        "thresholds": {str(c): t for c, t in found.thresholds.items()},
        "searched": part(found.searched),
        "held_out": part(found.held_out),
    }


def _table(found: ThresholdSearch, system: str) -> str:
    from sai_core.tuning.report import search_table

    return search_table(found, system)
