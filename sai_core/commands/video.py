"""``video``: a recording with labels, predictions and its sound as MP4."""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

from sai_core.progress import Progress, TerminalProgress, no_progress

_EXAMPLE = """example:
  python -m sai_core video --data STARSS23 --recording fold4_room23_mix001 \\
      --predictions runs/ours/fold4_room23_mix001.json --out ours.mp4 --layout overlay --start 100 --stop 400

Ten pictures a second, one for each frame of the labels, H.264 with the recording's sound (AAC). --start and --stop are
frames of 100 ms. --predictions takes a file, a folder of files, or the name of a prediction set of the data root or
of the workspace.
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
    parser.add_argument("--name", metavar="NAME", help="what the system is called in the video")
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
    parser.add_argument("--quiet", action="store_true", help="no progress, no summary; notes still")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Draw, encode and write."""
    from sai_core.dataset import open_data_root
    from sai_core.figures.paper.material import check_output, find_system, rename
    from sai_core.figures.video import VideoOptions, write_video
    from sai_core.workspace import root_for

    progress: Progress = no_progress if args.quiet else TerminalProgress("video")
    options = VideoOptions(
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
    told: list[str] = []
    root = root_for(open_data_root(args.data), [args.predictions], labels=args.label_set, told=told)
    for sentence in told:
        print(f"note: {sentence}", file=sys.stderr)
    recording = root.recording(args.recording, args.split)
    system = find_system(args.predictions, root, recording)
    if args.name:
        system = rename([system], [args.name])[0]
    inputs = [recording.label_path, recording.video_path, recording.audio_path, system.path]
    out = check_output(args.out, root, inputs=inputs)
    began = time.perf_counter()
    report = write_video(recording, system, out, options=options, progress=progress)
    seconds = time.perf_counter() - began
    for note in report.notes:
        print(f"note: {note}", file=sys.stderr)
    if not args.quiet:
        print(
            f"{out}: {report.n_frames} frames ({report.duration_s:.1f} s{'' if report.has_sound else ', silent'}), "
            f"{out.stat().st_size / 1e6:.2f} MB, in {seconds:.1f} s ({report.duration_s / seconds:.1f} times real time)"
        )
    return 0
