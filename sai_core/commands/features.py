"""``features``: the acoustic maps of a recording, as a NumPy archive."""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Final

from sai_core.dataset.outputs import check_output
from sai_core.errors import InputError
from sai_core.progress import Progress, TerminalProgress, no_progress

RECIPES: Final[tuple[str, ...]] = ("official", "report", "precedence")

_EXAMPLE = """example:
  python -m sai_core features mic_dev/dev-test-tau/fold4_room2_mix001.wav --out maps.npz
  python -m sai_core features recording.wav --out maps.npz --weights UpLAM.pth --magnitude power

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
    parser.add_argument("audio", type=Path, metavar="AUDIO", help="recording with 4 or 32 channels")
    parser.add_argument("--out", type=Path, required=True, metavar="FILE.npz", help="archive to write")
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
    check_output(args.out, inputs=[args.audio, args.weights])
    if args.threads is not None and args.threads < 1:
        raise InputError(f"--threads is {args.threads}; expected at least 1.")

    import numpy as np

    from sai_core.acoustics.features import extract
    from sai_core.files import atomic_write

    progress: Progress = no_progress if args.quiet else TerminalProgress("features")
    begin = time.monotonic()
    maps = extract(
        args.audio,
        kind=args.kind,
        weights=args.weights,
        visibility=args.visibility,
        dtype=args.dtype,
        device=args.device,
        magnitude=args.magnitude,
        audio_format=args.format,
        steering=args.steering,
        threads=args.threads,
        progress=progress,
    )
    seconds = time.monotonic() - begin
    with atomic_write(args.out) as stream:
        np.savez(
            stream,
            lattice=maps.lattice,
            directions=maps.directions_deg,
            frame_rate=np.float64(maps.frame_rate_hz),
            level=maps.level,
            options=np.array(json.dumps({**maps.options, "magnitude": maps.magnitude}, sort_keys=True)),
            notes=np.array(json.dumps(list(maps.notes))),
        )
    for note in maps.notes:
        print(f"note: {note}", file=sys.stderr)
    if not args.quiet:
        rate = f", {len(maps) / seconds:.0f} frames/s" if len(maps) and seconds > 0 else ""
        print(f"{args.out}: {len(maps)} frames x 9 bands x 484 points in {seconds:.1f} s{rate}")
    return 0
