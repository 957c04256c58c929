"""``train``: train networks from a configuration file into a run folder."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from sai_core.errors import InputError
from sai_core.progress import Progress, TerminalProgress, no_progress

_EXAMPLE = """example:
  python -m sai_core train uplam --run runs/uplam
  python -m sai_core train uplam --run runs/uplam --resume
  python -m sai_core train uplam --run /tmp/try --set data.blocks=1 --set stages.1.steps=2000
"""

_UPLAM_EXAMPLE = """example:
  python -m sai_core train uplam --config sai_core/acoustics/training/uplam.toml --run runs/uplam

Scenes are simulated on the fly and kept in the cache folder; no data set is needed. The run folder holds the
configuration, the environment, metrics.csv, the last state (resumable after a kill) and the best weights;
uplam.safetensors is written at the end and can be given to `features --weights`.
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
    parser.set_defaults(run=_run_uplam)


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
