"""``train teacher``: the options and the call; a module of its own beside the other kinds of training."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable
from pathlib import Path

from sai_core.errors import InputError
from sai_core.progress import Progress, TerminalProgress, no_progress

_EXAMPLE = """examples:
  python -m sai_core train teacher --data /data/sim --split dev-train-sim --validation dev-val-sim --run runs/teacher
  python -m sai_core train teacher --data /data/STARSS23 --split dev-train-sony --validation dev-test-sony \\
      --run runs/teacher --set model.audio=\\"mic\\" --set epochs=80

Needs audio (mic_dev or foa_dev) and metadata_dev, no labels. best.safetensors in the run folder is for
`python -m sai_core teacher`, which writes the CSVs that `predict --teacher` takes.
"""


_Run = Callable[[argparse.Namespace], int]


def add_teacher(
    kinds: argparse._SubParsersAction,
    add_run_options: Callable[[argparse.ArgumentParser], None],
    privately: Callable[[_Run], _Run],
) -> None:
    """Add the kind to ``train``."""
    parser = kinds.add_parser(
        "teacher",
        help="DCASE 2023 teacher (CRNN, Multi-ACCDOA), from DCASE metadata",
        description="Train a DCASE 2023 sound event localiser whose output refines a detector's classes and counts.",
        epilog=_EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--config", type=Path, metavar="FILE", help="TOML file (default: the one that ships)")
    parser.add_argument(
        "--data", type=Path, action="append", required=True, metavar="ROOT", help="data root; may be repeated"
    )
    parser.add_argument("--split", required=True, metavar="S", help="split to train on")
    parser.add_argument("--validation", required=True, metavar="S", help="split to choose the best epoch on")
    parser.add_argument("--device", default="auto", help="auto, cpu or cuda (default: %(default)s)")
    add_run_options(parser)
    parser.set_defaults(run=privately(_run))


def _run(args: argparse.Namespace) -> int:
    from sai_core.dataset import open_data_root
    from sai_core.teacher import training

    if args.resume and (args.config is not None or args.overrides):
        raise InputError("--resume goes on with the run's own settings; leave --config and --set out.")
    config = None if args.resume else training.read_config(args.config or training.DEFAULT_CONFIG, args.overrides)
    if hasattr(os, "nice"):
        os.nice(max(0, 10 - os.nice(0)))  # other work on the machine goes first
    progress: Progress = no_progress if args.quiet else TerminalProgress("train teacher")
    best = training.train(
        config,
        args.run_folder,
        roots=[open_data_root(path) for path in args.data],
        train_split=args.split,
        validation_split=args.validation,
        device=args.device,
        resume=args.resume,
        progress=progress,
    )
    print(best)
    return 0
