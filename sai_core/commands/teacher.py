"""``teacher``: DCASE CSVs of recordings by a trained teacher, for ``predict --teacher``."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from sai_core.errors import InputError, SaiError
from sai_core.progress import TerminalProgress, no_progress


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    """Add the verb to the command line."""
    parser = subparsers.add_parser(
        "teacher",
        help="write DCASE CSVs with a trained DCASE 2023 teacher",
        description="Write one DCASE CSV a recording with a trained teacher, and score it where there is metadata.",
        epilog="example:\n  python -m sai_core teacher --data ROOT --split dev-test-sim "
        "--weights runs/teacher/best.safetensors --out teacher_csv\n",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--data", type=Path, required=True, metavar="ROOT", help="data root")
    parser.add_argument("--split", required=True, metavar="S", help="split, or all")
    parser.add_argument(
        "--weights",
        type=Path,
        metavar="FILE",
        help="best.safetensors of a run, or an official DCASE 2024 SELDnet (default: the teacher that ships)",
    )
    parser.add_argument(
        "--scaler",
        type=Path,
        metavar="FILE",
        help=".npz with mean and scale of a SELDnet's training features",
    )
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder for <recording>.csv")
    parser.add_argument(
        "--threshold", type=float, metavar="T", help="least activity (default: what was best on validation recordings)"
    )
    parser.add_argument("--device", default="auto", help="auto, cpu or cuda (default: %(default)s)")
    parser.add_argument("--json", action="store_true", help="print the scores as JSON")
    parser.add_argument("--quiet", action="store_true", help="no progress, no table; notes still")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Write the CSVs; print scores over the recordings that have metadata."""
    from sai_core.acoustics.features import choose_device
    from sai_core.annotations import read_dcase_csv, write_dcase_csv
    from sai_core.dataset import open_data_root
    from sai_core.dataset.outputs import check_output
    from sai_core.teacher import SHIPPED_TEACHER
    from sai_core.teacher.decode import seld_scores
    from sai_core.teacher.features import audio_notes
    from sai_core.teacher.listening import open_teacher, predict_recording, teacher_note

    if args.threshold is not None and not 0.0 < args.threshold < 1.7:
        raise InputError(f"--threshold {args.threshold}: the length of a vector between 0 and 1.7 is needed.")
    root = open_data_root(args.data)
    recordings = root.recordings if args.split == "all" else root.in_split(args.split)
    out = check_output(args.out, root=root, inputs=[args.weights, args.scaler], folder=True).resolve()
    model = open_teacher(args.weights or SHIPPED_TEACHER, scaler=args.scaler, device=choose_device(args.device))
    threshold = model.threshold if args.threshold is None else args.threshold
    progress = no_progress if args.quiet else TerminalProgress("teacher")
    truth, found, failed = [], [], []
    notes: list[str] = [note] if (note := teacher_note(model)) else []
    for number, recording in enumerate(recordings):
        progress(number / max(len(recordings), 1), recording.name)
        try:
            rows = predict_recording(model, recording, threshold=threshold)
            notes += [f"{recording.name}: {note}" for note in audio_notes(recording, model.audio)]
            write_dcase_csv(rows, out / f"{recording.name}.csv")
            if recording.metadata_path is not None:
                truth.append(read_dcase_csv(recording.metadata_path))
                found.append(rows)
        except SaiError as error:
            failed.append(str(error))
    progress(1.0, f"{len(recordings) - len(failed)} files in {args.out}")
    for note in notes:
        print(f"note: {note}", file=sys.stderr)
    scores = seld_scores(truth, found)
    facts = {
        "recordings": len(found),
        "threshold": threshold,
        "f20": scores.f_score,
        "error_deg": scores.error_deg,
        "recall": scores.recall,
        "notes": notes,
    }
    if args.json:
        print(json.dumps({k: (None if v != v else v) for k, v in facts.items()}))
    elif not args.quiet and truth:
        print(
            f"F20 {scores.f_score:.3f}, localisation error {scores.error_deg:.1f} degrees, recall {scores.recall:.3f} "
            f"(frames, macro over classes, {len(found)} recordings)"
        )
    if failed:
        raise InputError(f"{len(failed)} of {len(recordings)} recordings failed; the first: {failed[0]}")
    return 0
