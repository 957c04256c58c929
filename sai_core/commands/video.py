"""``video``: a recording with labels, predictions and its sound as MP4."""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from sai_core.commands import _hearing
from sai_core.progress import Progress, TerminalProgress, no_progress

if TYPE_CHECKING:
    from sai_core.dataset import DataRoot, Recording
    from sai_core.figures.heard import Heard

_EXAMPLE = """examples:
  python -m sai_core video --data STARSS23 --recording fold4_room23_mix001 \\
      --predictions runs/ours/fold4_room23_mix001.json --out ours.mp4 --layout overlay --start 100 --stop 400
  python -m sai_core video --data STARSS23 --recording fold4_room23_mix001 \\
      --predictions mine --out person.mp4 --track 2 --solo

Ten pictures a second, one for each frame of the labels, H.264 with the recording's sound (AAC). --start and --stop are
frames of 100 ms. --predictions takes a file, a folder of files, or the name of a prediction set of the data root or
of the workspace. The sound is the mean of all channels, or what is heard in a direction, of a source alone, or at two
ears; a ring shows where. Tracks are those of the metadata (source numbers), else of the labels; with --track-of
predictions those of the predictions.
"""


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    """Add the verb to the command line."""
    parser = subparsers.add_parser(
        "video",
        help="four-panel or overlay video (MP4) of a recording with its sound",
        description="Write a recording with labels and predictions as a video with its sound.",
        epilog=_EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--data", type=Path, required=True, metavar="ROOT", help="data root")
    parser.add_argument("--recording", required=True, metavar="R", help="recording")
    parser.add_argument("--split", metavar="S", help="split, where a name is in several")
    parser.add_argument("--predictions", required=True, metavar="A.json", help="prediction file")
    parser.add_argument("--label-set", metavar="DIR_OR_SET", help="other labels: a label set's name, or a folder")
    parser.add_argument("--name", metavar="NAME", help="name of the system in the video")
    parser.add_argument("--out", type=Path, required=True, metavar="FILE.mp4", help="video")
    parser.add_argument("--layout", choices=("panels", "overlay"), default="panels", help="(panels)")
    parser.add_argument("--start", type=int, default=0, metavar="K", help="first frame (0)")
    parser.add_argument("--stop", type=int, metavar="K", help="frame to end before (the end)")
    parser.add_argument("--mode", choices=("full", "official", "points"), default="full", help="map rendering (full)")
    parser.add_argument("--scale", choices=("fixed", "per-map"), default="fixed", help="energies 0..1, or by each peak")
    parser.add_argument("--colormap", choices=("magma", "viridis", "cividis"), default="magma", help="energy (magma)")
    parser.add_argument(
        "--preset",
        choices=("ultrafast", "superfast", "veryfast", "faster", "fast", "medium"),
        default="superfast",
        help="of libx264: slower ones make smaller files (superfast)",
    )
    parser.add_argument("--crf", type=int, default=21, help="quality, 0 (lossless) to 51 (21)")
    parser.add_argument(
        "--min-score", type=float, default=0.0, metavar="P", help="leave out predictions below this score (0)"
    )
    where = parser.add_argument_group("what is heard (the mean of all channels)")
    _hearing.add_direction(where)
    where.add_argument("--track", type=int, metavar="N", help="number of a source (metadata), label or prediction")
    where.add_argument("--class", dest="class_name", metavar="C", help="class of --track, where a number is in several")
    where.add_argument(
        "--track-of", choices=("labels", "predictions"), default="labels", help="whose tracks those are (labels)"
    )
    _hearing.add_manner(where)
    parser.add_argument("--quiet", action="store_true", help="no progress, no summary; notes still")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Draw, encode and write; what can be looked at is looked at before any file is read through."""
    from sai_core.dataset import describe, open_data_root
    from sai_core.errors import Checks
    from sai_core.figures.paper.material import check_files, check_output, find_system, rename
    from sai_core.figures.video import VideoOptions, check_encoder, check_ending, write_video
    from sai_core.files import check_space
    from sai_core.workspace import root_for

    progress: Progress = no_progress if args.quiet else TerminalProgress("video")
    checks, notes = Checks(), list[str]()
    checks.made(lambda: _hearing.check(args))
    if args.class_name is not None and args.track is None:
        checks.problems.append("--class says which of several tracks of a number is meant; add --track.")
    options = checks.made(
        lambda: VideoOptions(
            layout=args.layout,
            mode=args.mode,
            scale=args.scale,
            colormap=args.colormap,
            start=args.start,
            stop=args.stop,
            preset=args.preset,
            crf=args.crf,
            min_score=args.min_score,
        )
    )
    checks.made(lambda: check_ending(args.out))
    root = checks.made(
        lambda: root_for(open_data_root(args.data), [args.predictions], labels=args.label_set, notes=notes)
    )
    for sentence in notes:
        print(f"note: {sentence}", file=sys.stderr)
    recording = None if root is None else checks.made(lambda: root.recording(args.recording, args.split))
    system = out = None
    if root is not None and recording is not None:
        system = checks.made(lambda: find_system(args.predictions, root, recording))
        if system is not None and args.name:
            system = rename([system], [args.name])[0]
        systems = [system] if system is not None else []
        checks.problems += check_files(recording, systems)
        inputs = [recording.label_path, recording.video_path, recording.audio_path, *(s.path for s in systems)]
        out = checks.made(lambda: check_output(args.out, root, inputs=inputs))
    checks.tell()
    assert options is not None
    assert root is not None
    assert recording is not None
    assert system is not None
    assert out is not None
    check_encoder()
    heard = _heard(args, root, recording)
    # 1920 x 1080 at the usual quality: about 4 Mbit a second, once as a draft and once where it is wanted
    for place in (out, Path(tempfile.gettempdir())):
        check_space(place, 5e5 * (describe(recording, video=False).duration_s or 0.0), "the video")
    began = time.perf_counter()
    report = write_video(recording, system, out, options=options, heard=heard, progress=progress)
    seconds = time.perf_counter() - began
    for note in report.notes:
        print(f"note: {note}", file=sys.stderr)
    if not args.quiet:
        print(
            f"{out}: {report.n_frames} frames ({report.duration_s:.1f} s{'' if report.has_sound else ', silent'}), "
            f"{out.stat().st_size / 1e6:.2f} MB, in {seconds:.1f} s ({report.duration_s / seconds:.1f} times real time)"
        )
    return 0


def _heard(args: argparse.Namespace, root: DataRoot, recording: Recording) -> Heard | None:
    """What is heard; None for the mean of all channels."""
    from sai_core.errors import InputError
    from sai_core.figures.heard import Heard
    from sai_core.listening.lines import towards

    hearing = _hearing.hearing_of(args)
    if hearing.mode == "all" and not hearing.binaural:
        if hearing.signal != "auto" or hearing.gain_db:
            raise InputError("--signal and --gain are of a direction, a source or two ears; name one, or --binaural.")
        return None
    sources = None
    if args.track is not None or hearing.mode in ("solo", "around"):
        predictions = args.predictions if args.track_of == "predictions" else None
        sources = _hearing.sources_of_recording(
            root, recording, predictions=predictions, label_set=None if predictions else args.label_set
        )
    if args.track is None:
        track = None if args.azimuth is None else towards(args.azimuth, args.elevation or 0.0)
    elif sources is None:
        raise InputError(
            f"{recording.name}: has neither metadata nor labels, so there are no tracks; give --track-of predictions."
        )
    else:
        track = sources.find(args.track, _hearing.category(args.class_name))
    return Heard(hearing, track, sources)
