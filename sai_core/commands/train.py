"""``train``: train networks from a configuration file into a run folder."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable
from pathlib import Path

from sai_core.commands._train_teacher import add_teacher
from sai_core.errors import InputError
from sai_core.files import PRIVATE_UMASK
from sai_core.progress import Progress, TerminalProgress, no_progress

_RECIPES = Path(__file__).parents[1] / "training" / "recipes"

_EXAMPLE = """example:
  python -m sai_core train uplam --run runs/uplam
  python -m sai_core train uplam --run runs/uplam --resume
  python -m sai_core train uplam --run /tmp/try --set data.blocks=1 --set stages.1.steps=2000
  python -m sai_core train detector --config small_a --data /data/sim --run runs/small_a
"""

_UPLAM_EXAMPLE = """example:
  python -m sai_core train uplam --config sai_core/acoustics/training/uplam.toml --run runs/uplam

Scenes are simulated on the fly and kept in the cache folder; no data set is needed. The run folder holds the
configuration, the environment, metrics.csv, the last state (resumable after a kill) and the best weights;
uplam.safetensors is written at the end and can be given to `features --weights`.
"""

_DETECTOR_EXAMPLE = """examples:
  python -m sai_core train detector --config small_a --data /data/sim --run runs/small_a
  python -m sai_core train detector --config small_b --data /data/train --data /data/val --run runs/small_b \\
      --epochs 20 --set optimiser.rate=3e-4 --set data.frames_per_epoch=8000
  python -m sai_core train detector --run runs/small_a --resume

Recipes that ship: {recipes}. Recordings of splits dev-train* are for training, those of dev-val* for validation; where
there are none for validation, some are held out (settings data.train_splits, data.validation_splits). The run folder
holds config.json, status.json, metrics.csv, tensorboard/, last.safetensors (resumable after a kill), best.safetensors
(for `predict --checkpoint`) and samples/; a file `stop` in it ends the run with a checkpoint.
"""


_SOUNDS_EXAMPLE = """example:
  python -m sai_core train sounds --scenes 450 --data /data/sim --run runs/sounds
  python -m sai_core train detector --config small_a --data /data/sim --run runs/small_a \\
      --set start.sounds=runs/sounds/sounds.safetensors

Scenes are kept in the run folder: a run that was stopped hears only what it has not heard. Of the scenes and
recordings one in ten (held_out=0.1) is measured and not learned from.
"""


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    """Add the verb to the command line."""
    parser = subparsers.add_parser(
        "train",
        help="train a network into a run folder",
        description="Train a network from a configuration file into a run folder.",
        epilog=_EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    kinds = parser.add_subparsers(dest="network", metavar="NETWORK", required=True)
    _add_uplam(kinds)
    _add_detector(kinds)
    _add_sounds(kinds)
    _add_export(kinds)
    add_teacher(kinds, add_run_options, privately)


def _add_uplam(kinds: argparse._SubParsersAction) -> None:
    parser = kinds.add_parser(
        "uplam",
        help="acoustic maps from four channels, on simulated rooms",
        description="Train UpLAM, self-supervised by 32 channels, on simulated rooms around a rigid sphere.",
        epilog=_UPLAM_EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--config", type=Path, metavar="FILE", help="TOML file (the one of the shipped weights)")
    add_run_options(parser)
    parser.set_defaults(run=privately(_run_uplam))


def _add_detector(kinds: argparse._SubParsersAction) -> None:
    recipes = sorted(p.stem for p in _RECIPES.glob("*.toml"))
    parser = kinds.add_parser(
        "detector",
        help="Track A or Track B detector, from labels",
        description="Train a detector of Track A (sound) or Track B (sound and sight) from labelled recordings.",
        epilog=_DETECTOR_EXAMPLE.format(recipes=", ".join(recipes)),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--config", metavar="RECIPE", help=f"TOML file, or a recipe: {', '.join(recipes)}")
    parser.add_argument(
        "--data", type=Path, action="append", default=[], metavar="ROOT", help="data root; may be repeated"
    )
    parser.add_argument("--epochs", type=int, metavar="N", help="epochs (default: as the recipe says)")
    parser.add_argument("--device", default="auto", help="auto, cpu or cuda (default: %(default)s)")
    add_run_options(parser)
    parser.set_defaults(run=privately(_run_detector))


def _add_sounds(kinds: argparse._SubParsersAction) -> None:
    parser = kinds.add_parser(
        "sounds",
        help="what classes sound like from a direction, for a detector to start from",
        description="Train the part of a detector that listens, on simulated scenes that are only heard.",
        epilog=_SOUNDS_EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--run", type=Path, required=True, dest="run_folder", metavar="DIR", help="folder of the run")
    parser.add_argument("--scenes", type=int, metavar="N", help="simulated scenes (default: 450)")
    parser.add_argument(
        "--data", type=Path, action="append", default=[], metavar="ROOT", help="labelled recordings too; repeatable"
    )
    parser.add_argument(
        "--set", action="append", default=[], dest="overrides", metavar="K=V", help="e.g. seed=1 or epochs=20"
    )
    parser.add_argument("--quiet", action="store_true", help="no progress")
    parser.set_defaults(run=privately(_run_sounds))


def _add_export(kinds: argparse._SubParsersAction) -> None:
    parser = kinds.add_parser(
        "export",
        help="a trained detector in half precision, to pass on",
        description="Write a detector's weights in float16 with what is known of their training.",
    )
    parser.add_argument("--checkpoint", type=Path, required=True, metavar="FILE", help="best.safetensors of a run")
    parser.add_argument("--out", type=Path, required=True, metavar="FILE", help="file to write (.safetensors)")
    parser.add_argument(
        "--mean-with", type=Path, metavar="FILE", help="average the weights with those of the detector it went on from"
    )
    parser.add_argument("--share", type=float, default=0.5, metavar="S", help="weight of --mean-with in [0, 1] (0.5)")
    parser.add_argument(
        "--note", action="append", default=[], metavar="K=V", help="provenance to keep in the file; may be repeated"
    )
    parser.set_defaults(run=_run_export)


def privately(run: Callable[[argparse.Namespace], int]) -> Callable[[argparse.Namespace], int]:
    """The same, with a run folder that is not among data, and that only its owner can read."""

    def run_privately(args: argparse.Namespace) -> int:
        from sai_core.dataset.outputs import check_output

        check_output(args.run_folder, inputs=[getattr(args, "config", None)], folder=True)
        before = os.umask(PRIVATE_UMASK)
        try:
            return run(args)
        finally:
            os.umask(before)

    return run_privately


def add_run_options(parser: argparse.ArgumentParser) -> None:
    """Options that every kind of training has; the folder is ``run_folder`` since ``run`` is the verb's function."""
    parser.add_argument("--run", type=Path, required=True, dest="run_folder", metavar="DIR", help="folder of the run")
    parser.add_argument("--resume", action="store_true", help="go on with the run in this folder")
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        dest="overrides",
        metavar="K=V",
        help="change a setting, e.g. data.blocks=2 or stages.0.steps=100; may be repeated",
    )
    parser.add_argument("--quiet", action="store_true", help="no progress")


def _run_detector(args: argparse.Namespace) -> int:
    from sai_core.training.config import read_config
    from sai_core.training.loop import train

    if args.resume and (args.config is not None or args.overrides or args.epochs is not None):
        raise InputError("--resume goes on with the run's own settings; leave --config, --epochs and --set out.")
    if not args.resume and args.config is None:
        raise InputError("a new run needs --config with a recipe or a TOML file; see train detector --help.")
    config = None
    if not args.resume:
        overrides = [*args.overrides, *([] if args.epochs is None else [f"epochs={args.epochs}"])]
        config = read_config(args.config, overrides)
    # the app and other work on the machine answer first, but training is not starved
    if hasattr(os, "nice"):
        os.nice(max(0, 5 - os.nice(0)))
    progress: Progress = no_progress if args.quiet else TerminalProgress("train detector")
    best = train(
        config,
        args.run_folder,
        data_roots=args.data,
        device=args.device,
        resume=args.resume,
        progress=progress,
        say=lambda sentence: print(sentence, file=sys.stderr),
    )
    print(best)
    return 0


def _run_sounds(args: argparse.Namespace) -> int:
    from sai_core.settings import with_overrides
    from sai_core.training.config import DataSettings
    from sai_core.training.data import choose_recordings, map_maker, prepare
    from sai_core.training.sounds import SoundSettings, train_sounds

    scenes = [] if args.scenes is None else [f"scenes={args.scenes}"]
    settings: SoundSettings = with_overrides(SoundSettings, [*args.overrides, *scenes])
    progress: Progress = no_progress if args.quiet else TerminalProgress("train sounds")
    recordings = None
    if args.data:
        data = DataSettings(visibility=settings.visibility)
        chosen, _, _ = choose_recordings(args.data, data)
        recordings = prepare(
            chosen, settings=data, maker=map_maker(data, device="cpu"), with_rgb=False, progress=progress
        )
    path, scores = train_sounds(args.run_folder, settings, recordings=recordings, progress=progress)
    told = "nothing was held out to measure it"
    if scores is not None:
        told = f"{scores.accuracy:.3f} of the held-out directions are heard as their class (loss {scores.loss:.3f})"
    print(f"{path}: {told}")
    return 0


def _run_export(args: argparse.Namespace) -> int:
    from sai_core.dataset.outputs import check_output
    from sai_core.detector.models import load_detector, mean_of, save_detector
    from sai_core.inference.networks import describe_checkpoint

    notes = [note.partition("=") for note in args.note]
    if any(not (key and separator) for key, separator, _ in notes):
        raise InputError("--note: key=value is needed, e.g. data='240 simulated recordings, seed 7100'.")
    check_output(args.out, inputs=[args.checkpoint, args.mean_with])
    model = load_detector(args.checkpoint)
    known = dict(describe_checkpoint(args.checkpoint).notes)
    if args.mean_with is not None:
        model = mean_of(model, load_detector(args.mean_with), share=args.share)
        content = describe_checkpoint(args.mean_with).content[:12]
        known["mean_with"] = f"{args.share:g} of the weights of {args.mean_with.name}, content {content}"
    save_detector(model, args.out, notes={**known, **{key: value for key, _, value in notes}}, half=True)
    print(f"{args.out}: {args.out.stat().st_size / 1e6:.1f} MB")
    return 0


def _run_uplam(args: argparse.Namespace) -> int:
    # one process that uses one core and waits for nobody: other work on the machine goes first
    from sai_core.acoustics.training import loop

    if args.resume and (args.config is not None or args.overrides):
        raise InputError("--resume goes on with the run's own settings; leave --config and --set out.")
    config = loop.read_config(args.config or loop.DEFAULT_CONFIG, args.overrides) if not args.resume else None
    if hasattr(os, "nice"):
        os.nice(max(0, 10 - os.nice(0)))
    progress: Progress = no_progress if args.quiet else TerminalProgress("train uplam")
    finished = loop.train(config or loop.TrainingConfig(), args.run_folder, resume=args.resume, progress=progress)
    print(finished)
    return 0
