"""``figure``: Fig. 3 of the report for a frame, and galleries of frames by class, as files for a paper."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from sai_core.progress import Progress, TerminalProgress, no_progress

if TYPE_CHECKING:
    from sai_core.dataset import DataRoot, PredictionSet, Recording
    from sai_core.errors import Checks
    from sai_core.figures.paper.material import System
    from sai_core.figures.paper.panels import PanelOptions
    from sai_core.figures.paper.style import PaperStyle
    from sai_core.metrics import Failure

    Work: TypeAlias = Callable[[PanelOptions, PaperStyle], int]

_EXAMPLE = """examples:
  python -m sai_core figure --data STARSS23 --recording fold4_room23_mix001 --frame 120 \\
      --predictions runs/ours/fold4_room23_mix001.json runs/baseline/fold4_room23_mix001.json \\
      --names Ours Baseline --out fig3.pdf
  python -m sai_core figure --data STARSS23 --gallery --predictions runs/ours --out best_and_worst.pdf

--predictions takes files, folders of files, or names of prediction sets of the data root (predictions/NAME) and of the
workspace. Fonts are embedded; the same call writes the same bytes. The caption for the paper is printed. A gallery
shows the best, the median and the worst frame of every class by soft IoU: one PDF of several pages, or, with --out
FILE.zip, one file a class. All its files are looked at first, and everything that is wrong is told at once; a recording
that fails, then or later, is told, the gallery shows the others, and the exit code is 2.
"""


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    """Add the verb to the command line."""
    parser = subparsers.add_parser(
        "figure",
        help="Fig. 3 for a frame (RGB, ground truth, prediction, residual) as PDF, SVG or PNG",
        description="Draw RGB, ground truth, prediction and residual of a frame for one or more systems.",
        epilog=_EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--data", type=Path, required=True, metavar="ROOT", help="data root")
    parser.add_argument("--recording", metavar="R", help="recording (required except with --gallery)")
    parser.add_argument("--split", metavar="S", help="split, where a name is in several; of the gallery's recordings")
    parser.add_argument(
        "--frame", type=int, metavar="K", help="zero-based frame of 100 ms (required except with --gallery)"
    )
    parser.add_argument("--predictions", nargs="+", required=True, metavar="A.json", help="one row for each")
    parser.add_argument("--label-set", metavar="DIR_OR_SET", help="other labels: a label set's name, or a folder")
    parser.add_argument("--names", nargs="+", metavar="NAME", help="names of the systems in the figure")
    parser.add_argument(
        "--out", type=Path, required=True, metavar="FILE", help=".pdf, .svg or .png (gallery: .pdf, .zip)"
    )
    look = parser.add_argument_group("look")
    look.add_argument("--width", default="two", metavar="W", help="one (85 mm), two (178 mm) or millimetres (two)")
    look.add_argument("--font", default="DejaVu Sans", help="font family (DejaVu Sans); STIXGeneral looks like Times")
    look.add_argument("--font-size", type=float, default=7.0, metavar="PT", help="points (7)")
    look.add_argument("--dpi", type=int, default=300, help="of PNG files (300)")
    look.add_argument("--style", choices=("journal", "slides"), default="journal", help="white or dark page (journal)")
    look.add_argument("--colormap", choices=("magma", "viridis", "cividis"), default="magma", help="energy (magma)")
    look.add_argument("--editable-text", action="store_true", help="SVG: text as text instead of outlines")
    what = parser.add_argument_group("content")
    what.add_argument(
        "--layout", choices=("grid", "stacked"), default="grid", help="four columns, or two for one column (grid)"
    )
    what.add_argument("--mode", choices=("full", "official", "points"), default="full", help="map rendering (full)")
    what.add_argument("--scale", choices=("fixed", "per-map"), default="fixed", help="energies 0..1, or by each peak")
    what.add_argument(
        "--labels", choices=("auto", "panel", "legend", "none"), default="auto", help="where classes are named (auto)"
    )
    what.add_argument("--no-outlines", action="store_true", help="maps alone")
    what.add_argument("--no-scale-bar", action="store_true", help="without the bar of 60 degrees")
    what.add_argument(
        "--note",
        choices=("figure", "caption"),
        default="figure",
        help="recording and origin below it, or in the caption",
    )
    what.add_argument(
        "--min-score", type=float, default=0.0, metavar="P", help="leave out predictions below this score (0)"
    )
    what.add_argument("--gallery", action="store_true", help="best, median and worst frames of every class instead")
    parser.add_argument("--quiet", action="store_true", help="no progress, no caption; notes still")
    parser.set_defaults(run=run)


def width_mm(text: str) -> float:
    """Millimetres of ``one``, ``two`` or a number.

    Raises
    ------
    InputError
        Neither.
    """
    from sai_core.errors import InputError
    from sai_core.figures.paper.style import ONE_COLUMN_MM, TWO_COLUMN_MM

    named = {"one": ONE_COLUMN_MM, "two": TWO_COLUMN_MM}
    try:
        return named[text] if text in named else float(text.lower().removesuffix("mm"))
    except ValueError:
        raise InputError(f"--width {text!r} is neither one, two nor a number of millimetres.") from None


def run(args: argparse.Namespace) -> int:
    """Draw and write; what can be looked at is looked at before any file is read through."""
    from sai_core.dataset import open_data_root
    from sai_core.errors import Checks
    from sai_core.workspace import root_for

    checks, notes = Checks(), list[str]()
    style = checks.made(partial(_style, args))
    options = checks.made(partial(_options, args))
    if not args.gallery and (args.recording is None or args.frame is None):
        checks.problems.append("A figure needs --recording and --frame (or --gallery).")
    root = checks.made(
        lambda: root_for(open_data_root(args.data), args.predictions, labels=args.label_set, notes=notes)
    )
    for sentence in notes:
        print(f"note: {sentence}", file=sys.stderr)
    work = None if root is None else (_look_at_set if args.gallery else _look_at_frame)(args, root, checks)
    checks.tell()
    assert style is not None
    assert options is not None
    assert work is not None
    return work(options, style)


def _style(args: argparse.Namespace) -> PaperStyle:
    from sai_core.figures.paper.style import PaperStyle

    return PaperStyle(
        width_mm=width_mm(args.width),
        font=args.font,
        font_size_pt=args.font_size,
        dpi=args.dpi,
        theme=args.style,
        colormap=args.colormap,
        editable_text=args.editable_text,
    )


def _options(args: argparse.Namespace) -> PanelOptions:
    from sai_core.figures.paper.panels import PanelOptions

    return PanelOptions(
        mode=args.mode,
        scale=args.scale,
        layout=args.layout,
        names=args.labels,
        outlines=not args.no_outlines,
        scale_bar=not args.no_scale_bar,
        note=args.note,
        min_score=args.min_score,
    )


def _look_at_frame(args: argparse.Namespace, root: DataRoot, checks: Checks) -> Work | None:
    """Checks of a figure of one frame; the work on it, if its recording is there."""
    from sai_core.figures.paper.material import check_files, check_output, find_system, rename
    from sai_core.figures.paper.style import format_of

    checks.made(lambda: format_of(args.out))
    if args.recording is None or args.frame is None:
        return None
    recording = checks.made(lambda: root.recording(args.recording, args.split))
    if recording is None:
        return None
    found = [checks.made(partial(find_system, text, root, recording)) for text in args.predictions]
    systems = [system for system in found if system is not None]
    if args.names and len(systems) == len(found):
        systems = checks.made(lambda: rename(systems, args.names)) or systems
    checks.problems += check_files(recording, systems)
    inputs = [recording.label_path, *(system.path for system in systems)]
    out = checks.made(lambda: check_output(args.out, root, inputs=inputs))
    return None if out is None else partial(_frame, args, recording, systems, out)


def _frame(
    args: argparse.Namespace,
    recording: Recording,
    systems: list[System],
    out: Path,
    options: PanelOptions,
    style: PaperStyle,
) -> int:
    from sai_core.figures.paper.material import open_material
    from sai_core.figures.paper.panels import caption, frame_note, frame_rows, render_panels
    from sai_core.figures.paper.style import format_of
    from sai_core.files import atomic_write

    with open_material(recording, systems, progress=_progress(args)) as material:
        rows = frame_rows(material, args.frame, mode=options.mode, min_score=options.min_score)
        note = frame_note(material, args.frame, min_score=options.min_score)
        data = render_panels(rows, format_of(out), options=options, style=style, note=note)
        problems = material.problems
    with atomic_write(out) as stream:
        stream.write(data)
    for problem in problems:
        print(f"note: {problem}", file=sys.stderr)
    if not args.quiet:
        print(caption(rows, options, note=note, number="Fig. 3"))
        print(f"{out}: {len(data) / 1e6:.2f} MB")
    return 0


def _look_at_set(args: argparse.Namespace, root: DataRoot, checks: Checks) -> Work | None:
    """Checks of a gallery, all its files among them; the work on it, if there is something to draw."""
    from sai_core.figures.gallery import scorable
    from sai_core.figures.paper.material import check_output
    from sai_core.metrics.evaluation.evaluate import look_at_files

    if len(args.predictions) != 1:
        checks.problems.append("A gallery shows one system; give one folder of predictions.")
    if args.out.suffix.lower() not in (".pdf", ".zip"):
        checks.problems.append(f"{args.out}: a gallery is written as .pdf or .zip; change the file's ending.")
    system = checks.made(lambda: _set_of(args.predictions[0], root))
    recordings = checks.made(lambda: _recordings(args, root))
    out = checks.made(
        lambda: check_output(args.out, root, inputs=list(system.files.values()) if system is not None else [])
    )
    if system is None or recordings is None:
        return None
    usable = checks.made(lambda: scorable(recordings, system))
    if usable is None:
        return None
    labels = {r.name: r.label_path for r in usable if r.label_path is not None}
    problems, faulty = look_at_files(labels, {r.name: system.files[r.name] for r in usable}, limited=False)
    if checks.problems or (faulty and len(faulty) == len(usable)):
        checks.problems += problems
        return None
    assert out is not None
    return partial(_gallery, args, usable, system, list(faulty.values()), out)


def _set_of(text: str, root: DataRoot) -> PredictionSet:
    from sai_core.dataset import find_prediction_set
    from sai_core.files import user_path

    if not user_path(text).exists() and any(s.name == text for s in root.prediction_sets):
        return root.prediction_set(text)
    return find_prediction_set(text)


def _recordings(args: argparse.Namespace, root: DataRoot) -> Sequence[Recording]:
    if args.recording is not None:
        return (root.recording(args.recording, args.split),)
    return root.recordings if args.split is None else root.of_split(args.split)


def _gallery(
    args: argparse.Namespace,
    recordings: Sequence[Recording],
    system: PredictionSet,
    faulty: Sequence[Failure],
    out: Path,
    options: PanelOptions,
    style: PaperStyle,
) -> int:
    """Score, choose and draw; a recording that cannot be scored is told, and the gallery is of the others."""
    from sai_core.figures.gallery import make_gallery, score_set, write_gallery
    from sai_core.progress import part_of

    progress = _progress(args)
    failures: list[Failure] = []
    for failure in faulty:  # as seen beforehand
        print(f"failed: {failure.recording}: {failure.error}", file=sys.stderr)
    failed = {failure.recording for failure in faulty}
    sound = [r for r in recordings if r.name not in failed]
    scores = score_set(sound, system, failures=failures, progress=part_of(progress, 0.0, 0.6))
    for failure in failures:
        print(f"failed: {failure.recording}: {failure.error}", file=sys.stderr)
    failures = [*faulty, *failures]
    failed = {failure.recording for failure in failures}
    data = make_gallery(
        [r for r in recordings if r.name not in failed],
        system,
        "pdf" if out.suffix.lower() == ".pdf" else "zip-pdf",
        options=options,
        style=style,
        scores=scores,
        progress=progress,
    )
    write_gallery(data, out)
    if not args.quiet:
        print(f"{out}: {len(data) / 1e6:.2f} MB")
    if not failures:
        return 0
    print(
        f"error: {len(failures)} of {len(recordings)} recordings could not be scored; the gallery shows the others.",
        file=sys.stderr,
    )
    return 1 if all(failure.machine_at_fault for failure in failures) else 2


def _progress(args: argparse.Namespace) -> Progress:
    return no_progress if args.quiet else TerminalProgress("figure")
