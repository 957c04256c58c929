"""``train``: train networks from a recipe into a run folder."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from sai_core.errors import EnvironmentProblem, InputError, told_at_once
from sai_core.files import PRIVATE_UMASK
from sai_core.progress import Progress, TerminalProgress, no_progress
from sai_core.runs.kinds import KINDS, RunInputs, TrainingKind

if TYPE_CHECKING:
    from sai_core.runs.launch import LaunchSpec

_EXAMPLE = """examples:
  python -m sai_core train uplam --run runs/uplam
  python -m sai_core train uplam --run runs/uplam --resume
  python -m sai_core train uplam --run /tmp/try --set data.blocks=1 --set stages.1.steps=2000
  python -m sai_core train detector --config small_a --data /data/sim --run runs/small_a
"""


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    """Add the verb to the command line."""
    parser = subparsers.add_parser(
        "train",
        help="train a network into a run folder",
        description="Train a network from a recipe into a run folder.",
        epilog=_EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    kinds = parser.add_subparsers(dest="network", metavar="NETWORK", required=True)
    for kind in KINDS.values():
        _add_kind(kinds, kind)
    _add_export(kinds)


def _add_kind(kinds: argparse._SubParsersAction, kind: TrainingKind) -> None:
    parser = kinds.add_parser(
        kind.name,
        help=kind.help,
        description=kind.description,
        epilog=kind.examples,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    recipes = ", ".join(kind.recipes)
    default = f" (default: {kind.default_recipe})" if kind.default_recipe else ""
    parser.add_argument("--config", metavar="RECIPE", help=f"TOML file, or a recipe: {recipes}{default}")
    if kind.data != "none":
        what = "data root" if kind.data == "needed" else "labelled recordings too"
        parser.add_argument(
            "--data", type=Path, action="append", default=[], metavar="ROOT", help=f"{what}; may be repeated"
        )
    for option in kind.options:
        parser.add_argument(option.name, metavar=option.metavar, help=option.help)
    if kind.takes_epochs:
        parser.add_argument("--epochs", type=int, metavar="N", help="epochs (default: as the recipe says)")
    if kind.takes_device:
        parser.add_argument("--device", default="auto", help="auto, cpu or cuda (default: %(default)s)")
    # the folder is run_folder, since run is the verb's function
    parser.add_argument("--run", type=Path, required=True, dest="run_folder", metavar="DIR", help="folder of the run")
    parser.add_argument("--resume", action="store_true", help="resume the run in this folder")
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        dest="overrides",
        metavar="K=V",
        help="change a setting of the recipe, e.g. seed=2 or table.key=value; may be repeated",
    )
    parser.add_argument(
        "--check",
        action="store_true",
        help="start nothing: list everything that is wrong with the settings and data, else say how long the run takes",
    )
    parser.add_argument("--note", metavar="TEXT", help="a note on the run, for the table of runs on the Train page")
    parser.add_argument("--tag", action="append", default=[], dest="tags", metavar="TAG", help="a tag; may be repeated")
    parser.add_argument("--json", action="store_true", help="with --check: print JSON")
    parser.add_argument("--quiet", action="store_true", help="no progress")
    parser.set_defaults(run=_run_privately)


def _run_privately(args: argparse.Namespace) -> int:
    """Train, with a run folder that is not among data, and that only its owner can read."""
    from sai_core.dataset.outputs import check_output

    check_output(args.run_folder, inputs=[args.config], folder=True)
    if args.check:
        return _check(args)
    if args.json:
        raise InputError("--json is for --check; leave it out.")
    before = os.umask(PRIVATE_UMASK)
    try:
        return _run_kind(args)
    finally:
        os.umask(before)


def _check(args: argparse.Namespace) -> int:
    """Everything that is wrong, or how long the run takes; nothing is started or written."""
    from sai_core.runs.launch import default_runs_folder
    from sai_core.runs.outlook import look_ahead

    kind = KINDS[args.network]
    if args.resume:
        raise InputError("--check is for a new run; leave --resume out.")
    spec = _spec(args, kind)
    progress: Progress = no_progress if args.quiet else TerminalProgress(f"check {kind.name}")
    folder = args.run_folder.absolute().parent
    folders = (folder, folder.parent, default_runs_folder())
    found = look_ahead(spec, folders, run=args.run_folder, progress=progress)
    if args.json:
        print(json.dumps(found.as_dict()))
        return 2 if found.faults else 0
    for field, sentence in found.faults:
        print(f"error: {f'{field}: ' if field.startswith('--') else ''}{sentence}", file=sys.stderr)
    for sentence in found.estimate.sentences() if found.estimate is not None else filter(None, [found.note]):
        print(sentence)
    for sentence in found.decided:
        print(sentence)
    return 2 if found.faults else 0


def _spec(args: argparse.Namespace, kind: TrainingKind) -> LaunchSpec:
    """What a new run is started with, as the launcher has it."""
    from sai_core.runs.launch import LaunchSpec

    given = {option.name: getattr(args, option.name.removeprefix("--")) for option in kind.options}
    return LaunchSpec(
        kind=kind.name,
        recipe=args.config or "",
        data=tuple(map(str, getattr(args, "data", ()))),
        device=getattr(args, "device", "auto"),
        epochs=getattr(args, "epochs", None),
        overrides=tuple(args.overrides),
        options={name: value for name, value in given.items() if value is not None},
    )


def _check_beforehand(args: argparse.Namespace, kind: TrainingKind) -> None:
    """Tell everything at once that would make a new run fail, before anything is decoded or written."""
    from sai_core.runs.launch import faults

    if found := faults(_spec(args, kind), args.run_folder):
        fields = [getattr(error, "field", "") for error in found]
        pairs = zip(fields, found, strict=True)
        sentences = [f"{field}: {error}" if field.startswith("--") else str(error) for field, error in pairs]
        machine = all(isinstance(error, EnvironmentProblem) for error in found)
        raise (EnvironmentProblem if machine else InputError)(told_at_once(sentences))


def _run_kind(args: argparse.Namespace) -> int:
    from sai_core.runs.launch import check_room_to_go_on

    kind = KINDS[args.network]
    epochs = getattr(args, "epochs", None)
    given = {option: getattr(args, option.name.removeprefix("--")) for option in kind.options}
    changed = args.config is not None or args.overrides or epochs is not None
    if args.resume and (changed or any(value is not None and option.setting for option, value in given.items())):
        words = ["--config", *(["--epochs"] if kind.takes_epochs else [])]
        words += [option.name for option in kind.options if option.setting]
        raise InputError(f"--resume goes on with the run's own settings; leave {', '.join(words)} and --set out.")
    options = {option.name: value for option, value in given.items() if value is not None}
    trainer, config = kind.trainer(), None
    if args.resume:
        check_room_to_go_on(args.run_folder)
    else:
        _check_beforehand(args, kind)
        short = kind.short_forms(epochs=epochs, options=options)
        config = kind.read_config(args.config or "", [*args.overrides, *short.values()])
    inputs = RunInputs(
        data_roots=tuple(getattr(args, "data", ())),
        device=getattr(args, "device", "auto"),
        options={o.name: options[o.name] for o in kind.options if o.name in options and not o.setting},
    )
    # the app and other work on the machine answer first
    if hasattr(os, "nice"):
        os.nice(max(0, kind.priority - os.nice(0)))
    progress: Progress = no_progress if args.quiet else TerminalProgress(f"train {kind.name}")
    with _noted(args):
        made = trainer.train_run(
            config,
            args.run_folder,
            inputs,
            resume=args.resume,
            progress=progress,
            say=lambda sentence: print(sentence, file=sys.stderr),
        )
    print(made)
    return 0


@contextmanager
def _noted(args: argparse.Namespace) -> Iterator[None]:
    """Write the note and tags that were given; a folder in which no run began is not left behind."""
    from sai_core.runs.notes import NOTES_NAME, write_notes
    from sai_core.runs.watch import is_run, look

    run: Path = args.run_folder
    if args.note is None and not args.tags:
        yield
        return
    there = is_run(run)
    if there and not args.resume:
        raise InputError(f"{run}: there is a run in this folder already; give --resume, or another folder.")
    known = look(run) if there else None
    try:
        run.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise EnvironmentProblem(f"{run}: cannot be written ({error.strerror or error}).") from error
    note = args.note if args.note is not None else known.note if known is not None else ""
    write_notes(run, note, [*(known.tags if known is not None else ()), *args.tags])
    try:
        yield
    finally:
        if not is_run(run):
            with suppress(OSError):
                (run / NOTES_NAME).unlink()
                run.rmdir()


def _add_export(kinds: argparse._SubParsersAction) -> None:
    parser = kinds.add_parser(
        "export",
        help="a trained detector in half precision, to pass on",
        description="Write a detector's weights in float16 with what is known of their training.",
    )
    parser.add_argument("--checkpoint", type=Path, required=True, metavar="FILE", help="best.safetensors of a run")
    parser.add_argument("--out", type=Path, required=True, metavar="FILE", help="file to write (.safetensors)")
    parser.add_argument(
        "--mean-with", type=Path, metavar="FILE", help="average the weights with those of the detector it started from"
    )
    parser.add_argument("--share", type=float, default=0.5, metavar="S", help="weight of --mean-with in [0, 1] (0.5)")
    parser.add_argument(
        "--note", action="append", default=[], metavar="K=V", help="provenance to keep in the file; may be repeated"
    )
    parser.set_defaults(run=_run_export)


def _run_export(args: argparse.Namespace) -> int:
    from sai_core.dataset.outputs import check_output
    from sai_core.detector.models import load_detector, mean_of, save_detector
    from sai_core.inference.networks import describe_checkpoint
    from sai_core.runs.folder import run_lock
    from sai_core.runs.watch import is_run

    notes = [note.partition("=") for note in args.note]
    if any(not (key and separator) for key, separator, _ in notes):
        raise InputError("--note: key=value is needed, e.g. data='240 simulated recordings, seed 7100'.")
    check_output(args.out, inputs=[args.checkpoint, args.mean_with])
    with ExitStack() as stack:
        if is_run(args.out.resolve().parent):
            # a run that trains writes its own weights there
            stack.enter_context(run_lock(args.out.resolve().parent))
        model = load_detector(args.checkpoint)
        known = dict(describe_checkpoint(args.checkpoint).notes)
        if args.mean_with is not None:
            model = mean_of(model, load_detector(args.mean_with), share=args.share)
            content = describe_checkpoint(args.mean_with).content[:12]
            known["mean_with"] = f"{args.share:g} of the weights of {args.mean_with.name}, content {content}"
        save_detector(model, args.out, notes={**known, **{key: value for key, _, value in notes}}, half=True)
    print(f"{args.out}: {args.out.stat().st_size / 1e6:.1f} MB")
    return 0
