"""``dataset``: every recording of a data root as a table, filtered and sorted, and the statistics of what is left."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from sai_core.progress import TerminalProgress, no_progress

_EXAMPLE = """examples:
  python -m sai_core dataset --data STARSS23
  python -m sai_core dataset --data STARSS23 --where 'class:bell polyphony>=3 -tag:bad' --sort=-duration --csv bells.csv
  python -m sai_core dataset --data STARSS23 --where split:dev-test-sony --statistics
  python -m sai_core dataset --data STARSS23 --predictions "AV FAO" --sort score
  python -m sai_core dataset --data STARSS23 --where 'loudness<-60' --add-tag quiet

A filter is what the Dataset page has in its search field: words, column:value, column>=number, column:low..high, a
minus before what must not hold, quotes around spaces. Columns: name, split, room, duration
(s), sources, events, classes, polyphony, mean_polyphony, labelled (%), loudness, peak (dBFS), class, has, tag, note,
problem, score, and each system by its name. Scores are those that are known (the Scores page makes them); none is
computed here. What is learnt of a file is kept in the cache: the second look at a set takes a moment.
"""


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    """Add the verb."""
    parser = subparsers.add_parser(
        "dataset",
        help="list the recordings of a data root: search, sort, filter, statistics, tags",
        description="List all recordings with length, classes, polyphony, loudness, scores, tags and notes.",
        epilog=_EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--data", required=True, metavar="ROOT", help="data root")
    parser.add_argument("--labels", metavar="SET", help="label set in place of the root's own labels")
    parser.add_argument(
        "--predictions", nargs="+", default=[], metavar="NAME", help="prediction sets whose scores are columns"
    )
    parser.add_argument("--where", default="", metavar="FILTER", help="which recordings are listed")
    parser.add_argument(
        "--sort", default="", metavar="COLUMN", help="order by a column; --sort=-COLUMN for the largest first"
    )
    parser.add_argument("--statistics", action="store_true", help="print statistics of what is listed, not the list")
    parser.add_argument(
        "--of-predictions",
        action="store_true",
        help="statistics of the first prediction set instead of the labels",
    )
    parser.add_argument("--csv", metavar="OUT", type=Path, help="write the list as CSV")
    parser.add_argument("--json", metavar="OUT", help="write list and statistics as JSON (- for standard output)")
    parser.add_argument("--add-tag", action="append", default=[], metavar="TAG", help="tag all that is listed")
    parser.add_argument(
        "--remove-tag", action="append", default=[], metavar="TAG", help="remove a tag from all that is listed"
    )
    parser.add_argument("--workers", type=int, metavar="W", help="processes (two for large sets)")
    parser.add_argument("--quiet", action="store_true", help="no progress, no list; problems still")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Look at what is not known yet, filter, print; 1 when a file of what is listed cannot be used."""
    import numpy as np

    from sai_core.dataset import open_data_root
    from sai_core.dataset.outputs import check_output
    from sai_core.errors import InputError
    from sai_core.files import atomic_write
    from sai_core.metrics.evaluation.score_store import ScoreStore
    from sai_core.survey.index import Survey, groups_of
    from sai_core.survey.query import apply, ordered, parse
    from sai_core.survey.report import as_csv, as_text, records, statistics_record, statistics_text
    from sai_core.survey.statistics import statistics
    from sai_core.survey.table import table_of
    from sai_core.workspace import root_for, workspace
    from sai_core.workspace.marks import change_marks, read_marks

    conditions = parse(args.where)
    if args.workers is not None and not 0 <= args.workers <= 256:
        raise InputError(f"--workers must be 0 to 256, got {args.workers}.")
    if args.of_predictions and not args.predictions:
        raise InputError("--of-predictions needs the name of a prediction set (--predictions NAME).")
    remarks: list[str] = []
    root = root_for(open_data_root(args.data), args.predictions, labels=args.labels, notes=remarks)
    if not root.recordings:
        looked = "; ".join(root.problems)
        raise InputError(
            f"{root.path} holds no recordings. It should have folders such as labels_dev/<split>/<recording>_std.json, "
            "mic_dev/<split>/<recording>.wav and video_dev/<split>/<recording>.mp4; any one of them is enough."
            + (f" ({looked})" if looked else "")
        )
    inputs = [p for r in root.recordings for p in (r.label_path, r.audio_path, r.video_path) if p is not None]
    for out in (args.csv, None if args.json in (None, "-") else args.json):
        if out is not None:
            check_output(out, inputs=inputs)
    systems = [root.prediction_set(name) for name in args.predictions]
    groups = groups_of(root, predictions=systems[0] if args.of_predictions else None, scored=systems)
    survey = Survey(ScoreStore())
    survey.load(groups)
    marks = read_marks(workspace(), root.path)
    if marks.problem:
        remarks.append(marks.problem)
    # a filter that cannot be understood is told before anything is read
    table = table_of(survey, root, groups, systems=systems, marks=marks.recordings)
    apply(table, conditions)
    ordered(table, np.zeros(0, np.int64), args.sort)
    survey.look(groups, workers=args.workers, progress=no_progress if args.quiet else TerminalProgress("dataset"))
    table = table_of(survey, root, groups, systems=systems, marks=marks.recordings)
    rows = ordered(table, np.flatnonzero(apply(table, conditions)), args.sort)
    if args.add_tag or args.remove_tag:
        keys = [table.keys[row] for row in rows.tolist()]
        marks = change_marks(workspace(), root.path, keys, add=args.add_tag, remove=args.remove_tag)
        table = table_of(survey, root, groups, systems=systems, marks=marks.recordings)
    of = table.predictions if args.of_predictions else table.labels
    found = statistics((table.n_frames[r], s) for r in rows.tolist() if (s := of[r]) is not None)
    problems = [sentence for row in rows.tolist() for sentence in table.problems[row]]
    notes = [sentence for row in rows.tolist() for sentence in table.notes[row]]
    for sentence in (*root.problems, *remarks, *problems):
        print(f"problem: {sentence}", file=sys.stderr)
    for sentence in dict.fromkeys(notes):
        print(f"note: {sentence}", file=sys.stderr)
    if args.csv is not None:
        with atomic_write(args.csv, "w") as stream:
            stream.write(as_csv(table, rows.tolist()))
    report = {
        "data": str(root.path),
        "labels": root.label_set,
        "filter": args.where,
        "listed": len(rows),
        "of": len(table),
        "problems": [*root.problems, *remarks, *problems],
        "recordings": records(table, rows.tolist()),
        "statistics": {**statistics_record(found), "of": args.predictions[0] if args.of_predictions else "labels"},
    }
    if args.json == "-":
        print(json.dumps(report, indent=1, allow_nan=False))
    elif args.json is not None:
        with atomic_write(Path(args.json), "w") as stream:
            json.dump(report, stream, indent=1, allow_nan=False)
    if not args.quiet and args.json != "-":
        print(statistics_text(found) if args.statistics else as_text(table, rows.tolist()))
        if not args.statistics:
            print(f"\n{len(rows)} of {len(table)} recordings")
    return 1 if problems else 0
