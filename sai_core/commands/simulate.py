"""``simulate``: recordings in the official layout, made from physics."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from sai_core.errors import InputError
from sai_core.progress import TerminalProgress, no_progress

_EPILOG = """\
examples:
  python -m sai_core simulate --out /data/sim --recordings 20 --seconds 30 --seed 1 --workers 2
  python -m sai_core simulate --out /data/sim --recordings 2000 --seconds 20 --seed 7 --split dev-train-sim \\
      --video-size 720x360 --gzip-labels --workers 8
  python -m sai_core simulate --out /data/sim --recordings 20 --seconds 30 --seed 1 --sounds /data/sounds
  python -m sai_core simulate --demo assets/demo

--sounds takes a folder with a sub-folder for each class (female_speech, walk_footsteps, ...) and plays its
recordings in the simulated rooms; classes without one are synthesised.

A run that was stopped goes on where it was: complete recordings are skipped. The same seed gives the same audio,
metadata and labels, whatever the number of workers. manifest.json tells every seed and parameter.
"""


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    """Register the verb."""
    parser = subparsers.add_parser(
        "simulate",
        help="make simulated recordings in the official layout",
        description="Make simulated recordings: rooms, sounding sources of all 13 classes, 32- and 4-channel audio, "
        "ambisonics, metadata, STAIRS26 labels and a panoramic video.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--out", type=Path, metavar="ROOT", help="data root to write (made if absent)")
    parser.add_argument("--recordings", type=int, metavar="N", help="number of recordings")
    parser.add_argument("--seconds", type=float, metavar="S", help="length of each, 2 to 600")
    parser.add_argument("--seed", type=int, metavar="K", help="seed of the data set, 0 or more")
    parser.add_argument("--split", default="dev-test-sim", help="name of the split (default: %(default)s)")
    parser.add_argument("--workers", type=int, default=1, metavar="W", help="processes (default: %(default)s)")
    parser.add_argument(
        "--video-size", default="1920x960", metavar="WxH", help="size of the video, or none (default: %(default)s)"
    )
    parser.add_argument("--crf", type=int, default=23, help="video quality, 0 best to 51 (default: %(default)s)")
    parser.add_argument("--no-eigen", action="store_true", help="leave the 32-channel audio out")
    parser.add_argument("--no-foa", action="store_true", help="leave the ambisonic audio out")
    parser.add_argument("--no-labels", action="store_true", help="leave the labels out")
    parser.add_argument("--gzip-labels", action="store_true", help="write NAME_std.json.gz")
    parser.add_argument("--max-overlap", type=int, default=3, help="most sources at once (default: %(default)s)")
    parser.add_argument(
        "--mixes-per-room", type=int, default=1, metavar="M", help="recordings that share a room (default: %(default)s)"
    )
    parser.add_argument(
        "--rt60", type=float, nargs=2, default=(0.2, 0.8), metavar=("MIN", "MAX"), help="reverberation time, seconds"
    )
    parser.add_argument(
        "--snr", type=float, nargs=2, default=(6.0, 30.0), metavar=("MIN", "MAX"), help="signal-to-noise ratio, dB"
    )
    parser.add_argument(
        "--scenes",
        choices=("even", "real"),
        default="even",
        help="even: every class equally often; real: classes, lengths, pauses and overlap as in 121 real recordings "
        "(default: %(default)s)",
    )
    parser.add_argument("--sounds", type=Path, metavar="DIR", help="recordings to play, in a sub-folder for each class")
    parser.add_argument("--overwrite", action="store_true", help="replace recordings made with other settings")
    parser.add_argument("--demo", type=Path, metavar="DIR", help="instead: make the four demo recordings")
    parser.add_argument("--json", action="store_true", help="print what was made as JSON")
    parser.add_argument("--quiet", action="store_true", help="no progress")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Run the verb."""
    progress = no_progress if args.quiet else TerminalProgress("simulate")
    if args.demo is not None:
        from sai_core.simulation.demo import make_demo

        made = make_demo(args.demo, workers=args.workers, progress=progress)
        return _report(args, args.demo, made, ())
    missing = [f"--{name}" for name in ("out", "recordings", "seconds", "seed") if getattr(args, name) is None]
    if missing:
        raise InputError(f"simulate needs {', '.join(missing)} (or --demo DIR); see simulate --help.")
    from sai_core.simulation.dataset import SimulationOptions, simulate_dataset
    from sai_core.simulation.recorded import open_recorded

    options = SimulationOptions(
        seed=args.seed,
        seconds=args.seconds,
        split=args.split,
        video_wh=parse_size(args.video_size),
        eigen=not args.no_eigen,
        foa=not args.no_foa,
        labels=not args.no_labels,
        gzip_labels=args.gzip_labels,
        crf=args.crf,
        max_overlap=args.max_overlap,
        mixes_per_room=args.mixes_per_room,
        rt60_s=(args.rt60[0], args.rt60[1]),
        snr_db=(args.snr[0], args.snr[1]),
        sounds=None if args.sounds is None else open_recorded(args.sounds.resolve()),
        scenes=args.scenes,
    )
    report = simulate_dataset(
        args.out,
        options,
        recordings=args.recordings,
        workers=args.workers,
        overwrite=args.overwrite,
        progress=progress,
    )
    for note in report.notes:
        print(f"warning: {note}", file=sys.stderr)
    return _report(args, args.out, report.made, report.skipped, report.notes)


def parse_size(text: str) -> tuple[int, int] | None:
    """``"1920x960"`` as a pair, ``"none"`` as None.

    Raises
    ------
    InputError
        Anything else.
    """
    if text.lower() == "none":
        return None
    width, _, height = text.lower().partition("x")
    if not (width.isdecimal() and height.isdecimal()):
        raise InputError(f"--video-size is {text!r}; write it like 1920x960, or none.")
    return int(width), int(height)


def _report(
    args: argparse.Namespace,
    root: Path,
    made: tuple[str, ...],
    skipped: tuple[str, ...],
    notes: tuple[str, ...] = (),
) -> int:
    if args.json:
        print(json.dumps({"root": str(root), "made": list(made), "skipped": list(skipped), "notes": list(notes)}))
    elif not args.quiet:
        n = len(made)
        print(f"{root}: {n} recording{'s' * (n != 1)} made, {len(skipped)} were complete", file=sys.stderr)
    return 0
