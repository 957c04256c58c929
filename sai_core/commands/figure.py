"""``figure``: Fig. 3 of the report for a frame, and galleries of frames by class, as files for a paper."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from sai_core.progress import Progress, TerminalProgress, no_progress

if TYPE_CHECKING:
    from sai_core.dataset import DataRoot
    from sai_core.figures.paper.panels import PanelOptions
    from sai_core.figures.paper.style import PaperStyle

_EXAMPLE = """examples:
  python -m sai_core figure --data STARSS23 --recording fold4_room23_mix001 --frame 120 \\
      --predictions runs/ours/fold4_room23_mix001.json runs/baseline/fold4_room23_mix001.json \\
      --names Ours Baseline --out fig3.pdf
  python -m sai_core figure --data STARSS23 --gallery --predictions runs/ours --out best_and_worst.pdf

--predictions takes files, folders of files, or names of prediction sets of the data root (predictions/NAME) and of the
workspace. Fonts are embedded; the same call writes the same bytes. The caption for the paper is printed. A gallery
shows the best, the median and the worst frame of every class by soft IoU: one PDF of several pages, or, with --out
FILE.zip, one file a class.
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
    parser.add_argument("--recording", metavar="R", help="recording (needed but for --gallery)")
    parser.add_argument("--split", metavar="S", help="split, where a name is in several; of the gallery's recordings")
    parser.add_argument("--frame", type=int, metavar="K", help="zero-based frame of 100 ms (needed but for --gallery)")
    parser.add_argument("--predictions", nargs="+", required=True, metavar="A.json", help="one row for each")
    parser.add_argument("--label-set", metavar="DIR_OR_SET", help="other labels: a label set's name, or a folder")
    parser.add_argument("--names", nargs="+", metavar="NAME", help="what the systems are called in the figure")
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
    """Draw and write."""
    from sai_core.dataset import open_data_root
    from sai_core.errors import InputError
    from sai_core.figures.paper.panels import PanelOptions
    from sai_core.figures.paper.style import PaperStyle
    from sai_core.workspace import root_for

    style = PaperStyle(
        width_mm=width_mm(args.width),
        font=args.font,
        font_size_pt=args.font_size,
        dpi=args.dpi,
        theme=args.style,
        colormap=args.colormap,
        editable_text=args.editable_text,
    )
    options = PanelOptions(
        mode=args.mode,
        scale=args.scale,
        layout=args.layout,
        names=args.labels,
        outlines=not args.no_outlines,
        scale_bar=not args.no_scale_bar,
        note=args.note,
        min_score=args.min_score,
    )
    told: list[str] = []
    root = root_for(open_data_root(args.data), args.predictions, labels=args.label_set, told=told)
    for sentence in told:
        print(f"note: {sentence}", file=sys.stderr)
    if args.gallery:
        return _gallery(args, root, options, style)
    if args.recording is None or args.frame is None:
        raise InputError("A figure needs --recording and --frame (or --gallery).")
    return _frame(args, root, options, style)


def _frame(args: argparse.Namespace, root: DataRoot, options: PanelOptions, style: PaperStyle) -> int:
    from sai_core.figures.paper.material import check_output, find_system, open_material, rename
    from sai_core.figures.paper.panels import caption, frame_note, frame_rows, render_panels
    from sai_core.figures.paper.style import format_of
    from sai_core.files import atomic_write

    file_format = format_of(args.out)
    recording = root.recording(args.recording, args.split)
    systems = [find_system(text, root, recording) for text in args.predictions]
    if args.names:
        systems = rename(systems, args.names)
    out = check_output(args.out, root, inputs=[recording.label_path, *(system.path for system in systems)])
    with open_material(recording, systems, progress=_progress(args)) as material:
        rows = frame_rows(material, args.frame, mode=options.mode, min_score=options.min_score)
        note = frame_note(material, args.frame, min_score=options.min_score)
        data = render_panels(rows, file_format, options=options, style=style, note=note)
        problems = material.problems
    with atomic_write(out) as stream:
        stream.write(data)
    for problem in problems:
        print(f"note: {problem}", file=sys.stderr)
    if not args.quiet:
        print(caption(rows, options, note=note, number="Fig. 3"))
        print(f"{out}: {len(data) / 1e6:.2f} MB")
    return 0


def _gallery(args: argparse.Namespace, root: DataRoot, options: PanelOptions, style: PaperStyle) -> int:
    from sai_core.dataset import find_prediction_set
    from sai_core.errors import InputError
    from sai_core.figures.gallery import make_gallery, write_gallery
    from sai_core.figures.paper.material import check_output
    from sai_core.files import user_path

    if len(args.predictions) != 1:
        raise InputError("A gallery shows one system; give one folder of predictions.")
    ending = args.out.suffix.lower()
    if ending not in (".pdf", ".zip"):
        raise InputError(f"{args.out}: a gallery is written as .pdf or .zip; change the file's ending.")
    text = args.predictions[0]
    if not user_path(text).exists() and any(s.name == text for s in root.prediction_sets):
        system = root.prediction_set(text)
    else:
        system = find_prediction_set(text)
    out = check_output(args.out, root, inputs=list(system.files.values()))
    recordings = root.recordings if args.split is None else root.in_split(args.split)
    if args.recording is not None:
        recordings = (root.recording(args.recording, args.split),)
    data = make_gallery(
        recordings,
        system,
        "pdf" if ending == ".pdf" else "zip-pdf",
        options=options,
        style=style,
        progress=_progress(args),
    )
    write_gallery(data, out)
    if not args.quiet:
        print(f"{out}: {len(data) / 1e6:.2f} MB")
    return 0


def _progress(args: argparse.Namespace) -> Progress:
    return no_progress if args.quiet else TerminalProgress("figure")
