"""``review``: the annotation review without a browser: queue, export, import, statistics."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sai_core.progress import Progress, TerminalProgress, no_progress

if TYPE_CHECKING:
    from sai_core.dataset import DataRoot, PredictionSet
    from sai_core.review import QueueSettings, ReviewStore

_EXAMPLE = """example:
  python -m sai_core review queue --root DATA --csv queue.csv
  python -m sai_core review export --root DATA --name corrected --scores
  python -m sai_core review import --root DATA colleague.jsonl
  python -m sai_core review log --root DATA --out log.jsonl
  python -m sai_core review stats --root DATA
  python -m sai_core review known --root DATA --reviewer ann --share 0.1 --seed 7
  python -m sai_core review known --root DATA

The review is that of the data root, as in the app, unless --review names a file: in the
workspace, or in the PostgreSQL database that the environment variable SAI_REVIEW_DB names.
Label files are only read.
"""


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    """Add the verb to the command line."""
    parser = subparsers.add_parser(
        "review",
        help="queue of likely label errors; export, import and statistics of a review",
        description="Label review: the queue of likely errors, and the corrected labels that follow from decisions.",
        epilog=_EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    steps = parser.add_subparsers(dest="step", metavar="STEP", required=True)

    def step(name: str, text: str) -> argparse.ArgumentParser:
        child = steps.add_parser(name, help=text, description=text)
        child.add_argument("--root", type=Path, required=True, metavar="DATA", help="data root")
        child.add_argument("--review", type=Path, metavar="FILE", help="review file (the review of the data root)")
        child.add_argument("--labels", metavar="DIR_OR_SET", help="other labels: a label set's name, or a folder")
        child.add_argument("--quiet", action="store_true", help="no progress")
        return child

    queue = step("queue", "list likely label errors, most suspicious first")
    queue.add_argument(
        "--systems", nargs="*", metavar="NAME", help="prediction sets (all of the data root and of the workspace)"
    )
    queue.add_argument(
        "--predictions", type=Path, metavar="DIR_OR_SET", help="a prediction set elsewhere, added to them"
    )
    queue.add_argument("--kind", nargs="*", metavar="KIND", help="kinds to list (all)")
    queue.add_argument("--confident", type=float, metavar="SCORE", help="lowest score of an unlabelled event (0.3)")
    queue.add_argument("--limit", type=int, default=50, metavar="N", help="most items in the table (50); 0 for all")
    queue.add_argument("--csv", type=Path, metavar="OUT", help="also write all items as CSV")
    queue.add_argument("--json", type=Path, metavar="OUT", help="also write all items as JSON")

    export = step("export", "write corrected labels, differences, statistics and the log")
    export.add_argument(
        "--out",
        type=Path,
        metavar="DIR",
        help="folder, not in the data root; a label set in the workspace if left out",
    )
    export.add_argument("--name", help="name of the label set (default: from the labels that were reviewed)")
    export.add_argument(
        "--policy", choices=("latest", "agreed"), default="latest", help="whose decisions count (latest)"
    )
    export.add_argument("--reviewer", metavar="NAME", help="count only this reviewer")
    export.add_argument("--replace", action="store_true", help="replace an older export in the folder")
    export.add_argument("--scores", action="store_true", help="also score all prediction sets before and after")

    importing = step("import", "merge another reviewer's file")
    importing.add_argument("file", type=Path, metavar="FILE", help="review file (.jsonl or .sqlite)")

    log = step("log", "write the whole log as a review file, for a backup or another place")
    log.add_argument("--out", type=Path, required=True, metavar="FILE", help="review file to write (.jsonl)")

    known = step("known", "items with known answers: how reviewers did; begin and end them")
    known.add_argument("--reviewer", metavar="NAME", help="whose items begin or end")
    known.add_argument(
        "--share", type=float, metavar="SHARE", help="mix so many of all in from now on (0.1); 0 ends it"
    )
    known.add_argument("--seed", type=int, default=0, metavar="K", help="draws the errors (0)")
    known.add_argument("--json", action="store_true", help="as JSON")

    stats = step("stats", "counts, agreement and conflicts")
    stats.add_argument("--json", action="store_true", help="as JSON")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Run one step."""
    from sai_core.dataset import open_data_root
    from sai_core.review import ReviewStore, default_review, second_review
    from sai_core.workspace import root_for

    notes: list[str] = []
    root = root_for(
        open_data_root(args.root), args.systems or () if args.step == "queue" else (), labels=args.labels, notes=notes
    )
    for sentence in notes:
        print(f"warning: {sentence}", file=sys.stderr)
    if args.step == "queue":
        return _queue(args, root)
    path = args.review or default_review(root.path, root.label_set)
    if args.review is None and (second := second_review(root.path, root.label_set)):
        print(f"warning: {second}", file=sys.stderr)
    # a mistyped name must not pass for a review in which nothing is decided
    reads_only = args.review is not None and args.step != "import" and getattr(args, "share", None) is None
    with ReviewStore(path, data_root=root.path, must_exist=reads_only) as store:
        if args.step == "export":
            return _export(args, root, store)
        if args.step == "import":
            report = store.import_file(args.file)
            print(
                f"{args.file}: {report.n_lines} decisions, {report.n_new} new, by {', '.join(report.reviewers) or '-'}"
            )
            return 0
        if args.step == "log":
            return _log(args, root, store)
        if args.step == "known":
            return _known(args, store)
        return _stats(args, store)


def _progress(args: argparse.Namespace, title: str) -> Progress:
    return no_progress if args.quiet else TerminalProgress(title)


def _settings(args: argparse.Namespace) -> QueueSettings:
    from sai_core.review import QueueSettings

    return QueueSettings() if args.confident is None else QueueSettings(confident=args.confident)


def _systems(args: argparse.Namespace, root: DataRoot) -> list[PredictionSet]:
    if args.predictions is not None:
        from sai_core.workspace import folder_of

        root = root.add_prediction_folder(folder_of("predictions", args.predictions))
    if args.systems is None:
        return list(root.prediction_sets)
    return [root.prediction_set(name) for name in args.systems]


def _queue(args: argparse.Namespace, root: DataRoot) -> int:
    from sai_core.dataset.outputs import check_output
    from sai_core.errors import InputError
    from sai_core.files import atomic_write
    from sai_core.review import KINDS, build_queue
    from sai_core.review.export import items_csv
    from sai_core.taxonomy import class_name

    kinds = set(args.kind if args.kind is not None else KINDS)
    if unknown := kinds - set(KINDS):
        raise InputError(f"The kind {sorted(unknown)[0]!r} is unknown; use some of {', '.join(KINDS)}.")
    settings = _settings(args)
    systems = _systems(args, root)
    for out in (args.csv, args.json):
        if out is not None:
            check_output(out, root=root, inputs=[file for system in systems for file in system.files.values()])
    queue = build_queue(root, systems, settings=settings, progress=_progress(args, "queue"))
    for remark in queue.remarks():
        print(f"warning: {remark}", file=sys.stderr)
    items = [item for item in queue.items if item.kind in kinds]
    if args.csv is not None:
        with atomic_write(args.csv, "w") as stream:
            stream.write(items_csv(items))
    if args.json is not None:
        with atomic_write(args.json, "w") as stream:
            rows = [{"id": i.id, "split": i.split, "recording": i.recording, **i.facts()} for i in items]
            stream.write(json.dumps(rows, indent=1, ensure_ascii=False) + "\n")
    shown = items if args.limit <= 0 else items[: args.limit]
    left = f", {len(queue.unread)} left out: labels cannot be read" if queue.unread else ""
    print(f"{len(items)} items in {queue.n_recordings} recordings{left}")
    if "unlabelled" in kinds:
        for reach in queue.reach:
            if reach.n_free and not reach.out_of_reach:  # that one is a warning
                print(reach.sentence())
    for item in shown:
        place = f"{item.split}/{item.recording}" if item.split else item.recording
        frames = f"{item.start}-{item.end}"
        print(
            f"{item.score:.3f}  {item.kind:<10}  {place}  {frames:<11}  {class_name(item.category_id)}: {item.reason}"
        )
    if len(shown) < len(items):
        print(f"... and {len(items) - len(shown)} more (--limit 0 lists all)")
    return 0


def _export(args: argparse.Namespace, root: DataRoot, store: ReviewStore) -> int:
    from sai_core.errors import InputError
    from sai_core.review import export_review, keep_label_set, revised_scores
    from sai_core.review.queue import left_out

    if args.out is not None and args.name is not None:
        raise InputError("--name is for a label set in the workspace, --out for a folder elsewhere; give one of them.")
    history, progress = store.history(), _progress(args, "export")
    whose = {"policy": args.policy, "reviewer": args.reviewer}
    if args.out is None:
        stored, report = keep_label_set(root, history, args.name or "", **whose, progress=progress)
        where = f"label set {stored.name!r} ({stored.folder})"
    else:
        report = export_review(root, history, args.out, **whose, replace_older=args.replace, progress=progress)
        where = str(report.folder)
    print(
        f"{where}: {report.n_recordings} label files, {report.n_changed} changed, "
        f"{report.n_differences} annotations differ"
    )
    for remark in report.remarks():
        print(f"warning: {remark}", file=sys.stderr)
    if args.scores:
        rows = revised_scores(
            root,
            root.prediction_sets,
            history,
            policy=args.policy,
            reviewer=args.reviewer,
            progress=_progress(args, "scores"),
        )
        if rows[0].n_unread:
            print(f"warning: {left_out(rows[0].n_unread, 'scores')}", file=sys.stderr)
        print("revision 2026-06-30, macro           original  corrected")
        for row in rows:
            for name, before, after in row.figures():
                print(f"{row.system[:24]:<24} {name:<10} {_figure(before):>9}  {_figure(after):>9}")
    return 0


def _figure(value: float) -> str:
    return "-" if value != value else f"{value:.4f}"


def _log(args: argparse.Namespace, root: DataRoot, store: ReviewStore) -> int:
    from sai_core.dataset.outputs import check_output
    from sai_core.errors import InputError
    from sai_core.review import write_review_file

    check_output(args.out, root=root, inputs=[args.review] if args.review is not None else [])
    if args.out.suffix != ".jsonl":
        raise InputError(f"--out {args.out}: the log is written as JSON lines; give a name that ends in .jsonl.")
    print(f"{args.out}: {write_review_file(store.entries(), args.out)} lines")
    return 0


def _stats(args: argparse.Namespace, store: ReviewStore) -> int:
    from sai_core.review import statistics

    facts = statistics(store.history())
    if args.json:
        print(json.dumps(facts, indent=1, ensure_ascii=False))
        return 0
    print(f"{store.name}: {facts['n_standing']} decisions and notes in force, {facts['n_lines']} lines in the log")
    print("items: " + _counts(facts["items"]))
    for name, counts in facts["by_reviewer"].items():
        print(f"{name}: {_counts(counts)}")
    for row in facts["agreement"]:
        kappa = "undefined" if row["kappa"] is None else f"{row['kappa']:.3f}"
        print(f"{' and '.join(row['reviewers'])}: {row['n_items']} items in common, Cohen's kappa {kappa}")
    return 0


def _known(args: argparse.Namespace, store: ReviewStore) -> int:
    from sai_core.errors import InputError
    from sai_core.review import known

    if (args.share is None) != (args.reviewer is None):
        raise InputError("--reviewer and --share belong together: whose items begin, and how many of all they are.")
    if args.share is not None:
        known.start(store, args.reviewer, share=args.share, seed=args.seed)
        return 0
    rows = known.report(store.history())
    if args.json:
        print(json.dumps(rows, indent=1, ensure_ascii=False))
        return 0
    print(f"{'reviewer':<16} {'wrong':<8} {'error':<9} answered  right  unsure  share right (95 % interval)  time")
    for row in rows:
        share = f"{row['rate']:.2f} ({row['low']:.2f} to {row['high']:.2f})"
        time = "-" if row["seconds"] is None else f"{row['seconds']:.1f} s"
        print(
            f"{row['reviewer'][:16]:<16} {row['wrong']:<8} {row['kind']:<9} {row['n']:>8}  {row['right']:>5}  "
            f"{row['unsure']:>6}  {share:<27}  {time}"
        )
    if not rows:
        print("No item with a known answer has been answered yet.")
    return 0


def _counts(counts: dict[str, Any]) -> str:
    return ", ".join(f"{number} {name}" for name, number in counts.items()) or "none"
