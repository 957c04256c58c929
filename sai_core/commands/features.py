"""``features``: the acoustic maps of a recording, as a NumPy archive."""

from __future__ import annotations

import argparse
import json
import sys
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

from sai_core.commands import _batch as batch
from sai_core.commands._batch import Task
from sai_core.dataset.outputs import check_output
from sai_core.errors import InputError, SaiError, check_all
from sai_core.files import atomic_write, check_space
from sai_core.progress import Progress, TerminalProgress, no_progress
from sai_core.shards import HELP, Shard, read_shard

if TYPE_CHECKING:
    from sai_core.acoustics.features import LatticeMaps, MapMaker
    from sai_core.dataset import Recording

RECIPES: Final[tuple[str, ...]] = ("official", "report", "precedence")

_EXAMPLE = """example:
  python -m sai_core features mic_dev/dev-test-tau/fold4_room2_mix001.wav --out maps.npz
  python -m sai_core features recording.wav --out maps.npz --weights UpLAM.pth --magnitude power

  python -m sai_core features --data STARSS23 --split dev-test-tau --out maps
  sbatch --array=1-8 --wrap "python -m sai_core features --data STARSS23 --out maps --shard auto"

With --data, every recording of the data root becomes an archive <split>/<name>.npz in the folder --out: all files are
looked at first and what is wrong is told at once; one that fails, then or later, is left out, the others go on, and
the exit code is 2. The same call again makes what is missing. --stop-at-first-error refuses instead.

The archive holds lattice (frames, 9, 484), directions (484, 2: azimuth, elevation in degrees), frame_rate (Hz),
level (frames, 9: the scale that was divided out of each frame and band), options and notes (text). Four channels,
or 32 of an Eigenmike; other sample rates than 24 kHz are resampled, and that is noted.

--visibility says what a frame is made from: official, ten blocks of 10 ms and one or two bins a band; report, nine
windows of 512 samples and every bin of a band; precedence, what gets louder, over five frames: in rooms it points far
better (docs/uplam.md), and it costs about 0.1 ms a frame. Left out: the recipe that the weights were trained with.
"""


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    """Add the verb to the command line."""
    parser = subparsers.add_parser(
        "features",
        help="make the acoustic maps (9 bands on a 484-point lattice) of a recording",
        description="Make the acoustic maps of a recording: nine bands on a 484-point lattice, ten frames a second.",
        epilog=_EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("audio", type=Path, nargs="?", metavar="AUDIO", help="recording with 4 or 32 channels")
    parser.add_argument("--data", type=Path, metavar="ROOT", help="instead of AUDIO: all recordings of a data root")
    parser.add_argument("--split", default="all", help="with --data: only this split (all)")
    parser.add_argument("--shard", metavar="K/N", help=f"with --data: {HELP}")
    batch.add_going_on(parser)
    parser.add_argument(
        "--out", type=Path, required=True, metavar="OUT", help="archive to write (.npz); with --data, folder"
    )
    parser.add_argument(
        "--weights", type=Path, metavar="FILE", help="UpLAM.pth, lam_32_ch.pth or .safetensors (the shipped UpLAM)"
    )
    parser.add_argument(
        "--kind", choices=("uplam", "lam32", "beamformer"), default="uplam", help="what makes the maps (uplam)"
    )
    parser.add_argument("--visibility", choices=RECIPES, help="what a frame is made from, see below (as trained)")
    parser.add_argument("--dtype", choices=("float32", "float64"), default="float32", help="precision (float32)")
    parser.add_argument(
        "--magnitude",
        choices=("normalised", "amplitude", "power"),
        default="normalised",
        help="multiply the maps by the level that was divided out (normalised: do not)",
    )
    parser.add_argument(
        "--format",
        choices=("auto", "mic", "foa", "eigen"),
        default="auto",
        help="what the channels are; four channels in a folder foa_dev are taken for FOA (auto)",
    )
    parser.add_argument(
        "--steering", choices=("plane_wave", "rigid_sphere"), default="plane_wave", help="of the beamformer"
    )
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto", help="where to compute (auto)")
    parser.add_argument("--threads", type=int, metavar="N", help="workers on the CPU (all)")
    parser.add_argument("--quiet", action="store_true", help="no progress, no summary; notes still")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Make and write the maps."""
    if (args.audio is None) == (args.data is None):
        raise InputError("Give either one AUDIO file, or --data ROOT for all recordings of a data root.")
    if args.data is None and (args.shard or args.split != "all"):
        raise InputError("--split and --shard are for the recordings of a data root; give --data.")
    if args.threads is not None and args.threads < 1:
        raise InputError(f"--threads is {args.threads}; expected at least 1.")

    from sai_core.acoustics.audio_input import AudioInput
    from sai_core.acoustics.features import FeatureOptions, MapMaker

    options = FeatureOptions(
        kind=args.kind,
        visibility=args.visibility,
        dtype=args.dtype,
        audio_format=args.format,
        steering=args.steering,
    )
    makers: list[MapMaker] = []
    check_all(
        lambda: check_output(args.out, inputs=[args.audio, args.weights], root=args.data, folder=args.data is not None),
        lambda: makers.append(MapMaker(options, weights=args.weights, device=args.device)),
        lambda: None if args.audio is None else AudioInput(args.audio),
    )
    (maker,) = makers
    if args.data is not None:
        return _set(args, maker)
    check_space(args.out, _n_bytes(maker, args.audio), "the archive")
    begin = time.monotonic()
    maps = _make(args, maker, args.audio, args.out)
    seconds = time.monotonic() - begin
    for note in maps.notes:
        print(f"note: {note}", file=sys.stderr)
    if not args.quiet:
        rate = f", {len(maps) / seconds:.0f} frames/s" if len(maps) and seconds > 0 else ""
        print(f"{args.out}: {len(maps)} frames x 9 bands x 484 points in {seconds:.1f} s{rate}")
    return 0


def _make(args: argparse.Namespace, maker: MapMaker, audio: Path, out: Path, label: str = "features") -> LatticeMaps:
    """Make and write the maps of one recording."""
    import numpy as np

    from sai_core.acoustics.features import extract

    progress: Progress = no_progress if args.quiet else TerminalProgress(label)
    maps = extract(audio, maker=maker, magnitude=args.magnitude, threads=args.threads, progress=progress)
    with atomic_write(out) as stream:
        np.savez(
            stream,
            lattice=maps.lattice,
            directions=maps.directions_deg,
            frame_rate=np.float64(maps.frame_rate_hz),
            level=maps.level,
            options=np.array(json.dumps({**maps.options, "magnitude": maps.magnitude}, sort_keys=True)),
            notes=np.array(json.dumps(list(maps.notes))),
        )
    return maps


def _n_bytes(maker: MapMaker, audio: Path) -> int:
    """Size of the archive of a recording; an audio file that cannot be used is an error."""
    return len(maker.open(audio)) * 9 * (484 + 1) * (8 if maker.options.dtype == "float64" else 4)


def _set(args: argparse.Namespace, maker: MapMaker) -> int:
    """Maps of all recordings of a data root, or of this process's part of them."""
    from sai_core.cache import content_of
    from sai_core.dataset import open_data_root

    recordings = open_data_root(args.data).of_split(args.split)
    part = read_shard(args.shard) if args.shard else Shard()
    tasks: list[Task] = []
    for number, recording in enumerate(recordings):
        audio = _audio_of(recording, args.kind, args.format)
        out = args.out / recording.split / f"{recording.name}.npz"
        label = f"{number + 1}/{len(recordings)}"
        try:
            if audio is None:
                raise InputError(f"{recording.name}: has no sound that --kind {args.kind} can use.")
            n_bytes = _n_bytes(maker, audio)
            task = Task(recording.name, out, n_bytes, partial(_notes_of, args, maker, audio, out, label))
        except SaiError as error:
            task = Task(recording.name, out, 0, tuple, error)
        tasks.append(task)
    facts = {**maker.describe(), "magnitude": args.magnitude, "format": args.format}
    if args.weights is not None:
        facts["weights"] = content_of(args.weights)
    return batch.run(args.out, facts, part.of(tasks), keep_going=args.keep_going, quiet=args.quiet)


def _notes_of(args: argparse.Namespace, maker: MapMaker, audio: Path, out: Path, label: str) -> tuple[str, ...]:
    return _make(args, maker, audio, out, label).notes


def _audio_of(recording: Recording, kind: str, audio_format: str) -> Path | None:
    """The sound of a recording that a kind of map is made from."""
    if audio_format != "auto":
        return {"mic": recording.mic_path, "foa": recording.foa_path, "eigen": recording.eigen_path}[audio_format]
    if kind == "lam32":
        return recording.eigen_path
    return recording.mic_path or recording.eigen_path or (recording.foa_path if kind == "beamformer" else None)
