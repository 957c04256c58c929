"""``predict``: recordings of a data root to submission files, with the raw detections kept beside them."""

from __future__ import annotations

import argparse
import os
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sai_core.commands.features import RECIPES
from sai_core.errors import EnvironmentProblem, InputError
from sai_core.installation import SHIPPED_NETWORKS, network_path
from sai_core.progress import Progress, TerminalProgress, no_progress
from sai_core.shards import HELP, Shard, of_environment, read_shard

if TYPE_CHECKING:
    from sai_core.dataset import Recording
    from sai_core.postprocess.systems import System

_EXAMPLE = """example:
  python -m sai_core predict --data STARSS23 --split dev-test-sony \\
      --checkpoint energy_seg_best.pth --weights UpLAM.pth --system Baseline --name baseline
  python -m sai_core predict --data STARSS23 --split dev-test-sony \
      --checkpoint av.safetensors --system TPAV --teacher dcase2023/outputs --out predictions/tpav
  torchrun --nproc_per_node 4 -m sai_core predict ...      (recordings are shared out among the processes)
  sbatch --array=1-8 --wrap "python -m sai_core predict ... --shard auto"           (or --shard 3/8 by hand)

A run that was stopped or killed goes on where it was; results that are there already are not computed again, so that
another --system takes seconds. "python -m sai_core systems list" names the systems."""


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    """Add the verb."""
    parser = subparsers.add_parser(
        "predict",
        help="recordings to submission files",
        description="Run a detector over the recordings of a split. Writes <recording>.json (submission format) into a "
        "set of the workspace, or into OUT, and keeps every candidate before thresholds under raw in it.",
        epilog=_EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--data", type=Path, required=True, metavar="ROOT", help="data root in the official layout")
    parser.add_argument("--split", required=True, help="for example dev-test-sony; 'all' for every split")
    parser.add_argument("--recording", action="append", metavar="NAME", help="only this recording (may be repeated)")
    parser.add_argument(
        "--checkpoint",
        type=network_path,
        required=True,
        metavar="FILE_OR_NAME",
        help=f"official .pth, our .safetensors, or a detector that ships ({', '.join(SHIPPED_NETWORKS)})",
    )
    parser.add_argument("--weights", type=Path, help="UpLAM weights (official UpLAM.pth); the shipped ones if left out")
    parser.add_argument(
        "--out", type=Path, metavar="DIR", help="folder of the submission files; a set in the workspace if left out"
    )
    parser.add_argument("--name", help="name of the set in the workspace (default: from checkpoint and system)")
    parser.add_argument("--device", default="auto", help="auto, cpu or cuda (default auto)")
    parser.add_argument("--batch", type=int, default=4, help="frames of one forward pass (default 4)")
    parser.add_argument(
        "--magnitude",
        choices=("normalised", "amplitude", "power"),
        help="of the acoustic maps; as the checkpoint was trained if left out",
    )
    parser.add_argument(
        "--visibility",
        choices=RECIPES,
        help="recipe of the acoustic maps (see features --help); as the checkpoint was trained if left out",
    )
    parser.add_argument("--floor", type=float, help="candidates below are not kept (official 0.05, our own 0.01)")
    parser.add_argument("--candidates", type=int, metavar="N", help="kept of a frame (official 100, our own 50)")
    parser.add_argument(
        "--classes",
        type=int,
        default=1,
        metavar="N",
        help="a region of our own detectors becomes a candidate of its N likeliest classes (1)",
    )
    parser.add_argument(
        "--proposals", type=int, metavar="N", help="classified of a frame (official 1000, our own 100); changes results"
    )
    parser.add_argument(
        "--precision",
        choices=("float32", "bfloat16"),
        default="float32",
        help="bfloat16 is faster on processors that have it, and changes scores in the second digit",
    )
    parser.add_argument(
        "--system",
        metavar="FILE_OR_NAME",
        help="named system (see the verb systems) or its .toml file; the official settings on the cylinder if left out",
    )
    parser.add_argument(
        "--teacher",
        type=Path,
        metavar="DIR_OR_FILE",
        help="for systems that need it: folder of a DCASE system's CSV files, a teacher's weights (.safetensors), or "
        "an official DCASE 2024 SELDnet checkpoint (.h5)",
    )
    parser.add_argument(
        "--teacher-scaler",
        type=Path,
        metavar="FILE",
        help=".npz with mean and scale of the SELDnet's training features; each recording's own if left out",
    )
    parser.add_argument(
        "--field",
        type=Path,
        metavar="FILE",
        help="weights of a field decoder (train field), which gives regions that label code forms; if left out, the "
        "shipped ones for systems that need a field where the detector says none of its own",
    )
    parser.add_argument(
        "--wideband",
        type=Path,
        metavar="FILE",
        help="weights of a wideband listener (train wideband), which hears what sounds in the direction of each "
        "candidate; if left out, the shipped ones for systems that need one",
    )
    parser.add_argument("--min-score", type=float, help="another score threshold (official 0.35)")
    parser.add_argument("--nms-iou", type=float, help="another per-class NMS (official 0.30)")
    parser.add_argument("--official-plane", action="store_true", help="NMS and tracking ignore the seam, as official")
    parser.add_argument("--shard", metavar="K/N", help=f"{HELP}; torchrun counts without this option, too")
    parser.add_argument("--quiet", action="store_true", help="no progress, no summary; notes still")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Run the verb."""
    # torch only now: `--help` shall not wait for it
    from sai_core.dataset import describe, open_data_root
    from sai_core.files import check_space
    from sai_core.inference.engine import InputOptions
    from sai_core.inference.job import PredictionRequest, begin_set, check_request, name_of, predict_recordings
    from sai_core.inference.networks import NetworkOptions, describe_checkpoint
    from sai_core.workspace import check_name, workspace

    if args.out is not None and args.name is not None:
        raise InputError("--name is for a set in the workspace, --out for a folder elsewhere; give one of them.")
    if args.batch < 1:
        raise InputError(f"--batch {args.batch}: at least 1 is needed.")
    system = _system(args)
    root = open_data_root(args.data)
    recordings = root.of_split(args.split)
    if args.recording:
        recordings = [root.recording(name, None if args.split == "all" else args.split) for name in args.recording]
    torchrun = {name: os.environ[name] for name in ("RANK", "WORLD_SIZE") if name in os.environ}
    part = read_shard(args.shard) if args.shard else of_environment(torchrun) or Shard()
    mine, rank, world = part.of(recordings), part.index, part.count
    if system.settings.keep_classes == "best" and world > 1:
        raise InputError(
            f"{system.name} chooses its class over all recordings: predict with another system in parts first, then "
            "run this one in a single process on the same --out (nothing is computed twice)."
        )
    inputs = None
    if args.magnitude is not None:
        facts = describe_checkpoint(args.checkpoint)
        inputs = InputOptions(magnitude=args.magnitude, grid=facts.grid, smooth_frames=facts.smooth_frames)
    base = check_name(args.name) if args.name is not None else name_of(args.checkpoint, system)
    request = PredictionRequest(
        data=args.data,
        recordings=tuple(recordings),
        checkpoint=args.checkpoint,
        out=args.out or workspace().folder("predictions") / base,
        system=system,
        teacher=args.teacher,
        teacher_scaler=args.teacher_scaler,
        weights=args.weights,
        device=args.device,
        network=NetworkOptions(
            floor=args.floor,
            at_most=args.candidates,
            proposals=args.proposals,
            precision=args.precision,
            classes=args.classes,
        ),
        inputs=inputs,
        visibility=args.visibility,
        field_weights=args.field,
        wideband_weights=args.wideband,
        batch=args.batch,
    )
    stored = None
    if args.out is None:
        stored = begin_set(request, args.name)
        request = replace(request, out=stored.folder)
    else:
        check_request(request)
    if not mine:
        return 0
    # the raw detections are most of it: 37 MB a minute
    seconds = sum(describe(recording, video=False).duration_s or 0.0 for recording in mine)
    check_space(request.out, 6e5 * seconds, "the predictions with their raw detections")
    prefix = f"[{rank}/{world}] " if world > 1 else ""

    def progress_of(index: int, recording: Recording) -> Progress:
        return no_progress if args.quiet else TerminalProgress(f"{prefix}{index + 1}/{len(mine)}")

    def note(sentence: str) -> None:
        print(f"note: {sentence}", file=sys.stderr)

    with workspace().writing_into(request.out, part=f"rank {rank}" if world > 1 else ""):
        results = predict_recordings(replace(request, recordings=tuple(mine)), progress_of=progress_of, on_note=note)
    failed = [r for r in results if r.error]
    for result in results:
        if result.note:
            note(f"{result.recording.name}: {result.note}")
    if not args.quiet:
        where = request.out if stored is None else f"the set {stored.name!r} of the workspace ({stored.folder})"
        print(f"{len(mine) - len(failed)} of {len(mine)} recordings written to {where}")
    if failed:
        kind = EnvironmentProblem if all(r.machine_at_fault for r in failed) else InputError
        raise kind(f"{len(failed)} of {len(mine)} recordings failed; the first: {failed[0].error}")
    return 0


def _system(args: argparse.Namespace) -> System:
    """The chosen system, with what the command line says otherwise."""
    from sai_core.postprocess import PipelineSettings, System, load_system
    from sai_core.postprocess.systems import systems_folders

    if args.system:
        system = load_system(args.system, folder=systems_folders())
    else:
        system = System(name="official settings", settings=PipelineSettings())
    changes: dict[str, Any] = {}
    if args.min_score is not None:
        changes["min_score"] = args.min_score
    if args.nms_iou is not None:
        changes["nms_iou"] = args.nms_iou
    if args.official_plane:
        changes["wrap_seam"] = False
    if system.needs_teacher and args.teacher is None:
        raise InputError(
            f"--teacher: {system.name} needs the folder of a DCASE system's CSV files, or the weights of a teacher "
            "(assets/weights/teacher.safetensors ships, trained on simulated recordings)."
        )
    return replace(system, settings=replace(system.settings, **changes))
