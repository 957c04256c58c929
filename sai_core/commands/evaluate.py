"""``evaluate``: the official figures of prediction files against label files."""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from sai_core.errors import InputError
from sai_core.progress import Progress, TerminalProgress, no_progress
from sai_core.shards import HELP, read_shard

if TYPE_CHECKING:
    from sai_core.metrics import Revision
    from sai_core.metrics.reading.systems import SystemResult

_FIGURES_BYTES: Final[int] = 100_000
"""About what figures take as JSON, with diagnostics, however many recordings they are of."""

_EXAMPLE = """example:
  python -m sai_core evaluate --labels DATA/labels_dev/dev-test-tau --predictions runs/fao --json fao.json

Label files are found by recording name in any sub-folder (NAME_std.json or NAME.json), prediction files as NAME.json
or NAME_inference.json, each optionally .gz; two files are compared whatever their names are. Recordings without a
prediction file are left out, as by the official evaluator; --count-missing counts their labels as missed. The limit
of 20 MB (all revisions but 2026-04-02) is on the unpacked JSON of a prediction file. Names of sets are those of the
workspace (python -m sai_core sets list).

What can be known of the files (unreadable, cut off, too large) is told before anything is computed, all at once. A
recording that cannot be scored, for that or for what shows later, is a line of the table and of "failures" in the
JSON; the others go on, and the exit code is 2. Where none is left nothing is begun, and with --stop-at-first-error
neither. What was finished is kept: the same call again does the rest. On several machines with one SAI_CACHE_DIR:

  sbatch --array=1-8 --wrap "python -m sai_core evaluate --labels ... --predictions ... --shard auto"

and, when all have ended, the call without --shard, which finds every score and gives the figures of the whole set.
"""


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    """Add the verb to the command line."""
    parser = subparsers.add_parser(
        "evaluate",
        help="official scores of predictions, per class, macro and micro",
        description="Score predictions against labels by any revision of the official evaluator.",
        epilog=_EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--labels", type=Path, required=True, metavar="DIR_OR_FILE_OR_SET", help="label file or folder, or a set's name"
    )
    parser.add_argument(
        "--predictions", type=Path, required=True, metavar="DIR_OR_FILE_OR_SET", help="predictions likewise"
    )
    parser.add_argument(
        "--revision",
        choices=("2026-06-30", "2026-05-28", "2026-05-18", "2026-04-02", "both", "all"),
        default="2026-06-30",
        help="official evaluator: soft IoU on 100 x 50 (2026-06-30; 2026-05-28 and 2026-05-18 leave classes without "
        "detections out of the macro mean), COCO masks on 360 x 180 (2026-04-02), 06-30 and 04-02 (both), or all four",
    )
    parser.add_argument("--json", metavar="OUT", help="also write the figures as JSON (- for standard output)")
    parser.add_argument("--workers", type=int, default=1, metavar="W", help="processes (1)")
    parser.add_argument(
        "--count-missing", action="store_true", help="count labels of recordings without predictions as missed"
    )
    going = parser.add_mutually_exclusive_group()
    going.add_argument(
        "--keep-going",
        action="store_true",
        default=True,
        help="go on with the others where a recording cannot be scored (so it is without this option, too)",
    )
    going.add_argument(
        "--stop-at-first-error",
        action="store_false",
        dest="keep_going",
        help="begin nothing where something is wrong beforehand, and end with the first recording that fails",
    )
    parser.add_argument("--shard", metavar="K/N", help=f"{HELP}; scores are kept, and a call without it has them all")
    parser.add_argument("--allow-large", action="store_true", help="accept prediction files above 20 MB")
    parser.add_argument(
        "--diagnostics", action="store_true", help="also print class-agnostic AP and matched-class F1 (20 degrees)"
    )
    parser.add_argument(
        "--budget",
        action="store_true",
        help="also what would be gained if only one kind of error were corrected (docs/scores.md); soft revisions",
    )
    parser.add_argument(
        "--slices",
        action="store_true",
        help="also the figures of parts of the set (polyphony, distance, elevation, size, ..., tags, saved "
        "views), and the worst",
    )
    parser.add_argument(
        "--seld",
        type=float,
        nargs="?",
        const=0.0,
        metavar="MIN_SCORE",
        help="also DCASE SELD scores, HOTA and identity switches of the predictions from a score on (0)",
    )
    parser.add_argument(
        "--rank",
        type=Path,
        nargs="+",
        default=[],
        metavar="DIR_OR_SET",
        help="also rank these prediction sets with that of --predictions on the recordings that all have",
    )
    parser.add_argument("--no-cache", action="store_true", help="neither read nor write the caches")
    parser.add_argument("--quiet", action="store_true", help="no progress, no table; warnings still")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Evaluate and print."""
    from sai_core.dataset.outputs import check_output
    from sai_core.errors import told_at_once
    from sai_core.files import check_space
    from sai_core.metrics import REVISIONS, evaluate_revisions, is_soft
    from sai_core.metrics.evaluation.discovery import find_pairs
    from sai_core.metrics.evaluation.evaluate import by_size, find_problems
    from sai_core.metrics.reading.report import evaluation_table
    from sai_core.workspace import folder_of, of_other_data

    part = read_shard(args.shard) if args.shard else None
    if part is not None:
        for name in ("json", "diagnostics", "budget", "slices", "seld", "rank", "no_cache"):
            given = getattr(args, name)
            if given is not None and given is not False and given != []:
                raise InputError(
                    f"--shard {args.shard}: a part gives no figures and keeps its scores; leave "
                    f"--{name.replace('_', '-')} to the call without --shard."
                )
    notes: list[str] = []
    args.labels = folder_of("labels", args.labels, notes=notes)
    args.predictions = folder_of("predictions", args.predictions, notes=notes)
    notes += filter(None, [of_other_data(args.labels, args.predictions)])
    labels, predictions = find_pairs(args.labels, args.predictions, notes=notes)
    several: dict[str, tuple[Revision, ...]] = {"all": REVISIONS, "both": (REVISIONS[0], REVISIONS[-1])}
    revisions = several.get(args.revision, (args.revision,))
    if args.budget:
        _check_budget(args, revisions)
    rivals = _rivals(args)
    if args.seld is not None and not 0 <= args.seld <= 1:
        raise InputError(f"--seld takes a score between 0 and 1, got {args.seld:g}.")
    if args.slices and args.count_missing:
        raise InputError("--slices is on recordings with predictions; leave --count-missing out.")
    if args.json and args.json != "-":
        try:
            check_output(args.json, inputs=[args.labels, *labels.values(), *predictions.values()])
        except InputError as error:
            both = labels.keys() & predictions.keys()
            files = ({name: found[name] for name in sorted(both)} for found in (labels, predictions))
            limited = not args.allow_large and any(map(is_soft, revisions))
            raise InputError(told_at_once([str(error), *find_problems(*files, limited=limited)])) from None
    of_set = len(labels.keys() & predictions.keys())
    if args.json and args.json != "-":
        check_space(Path(args.json), _FIGURES_BYTES, "the figures")
    if part is not None:
        mine = part.of(by_size(labels, predictions))
        print(f"shard {part}: {len(mine)} of {of_set} recordings", file=sys.stderr)
        if not mine:
            return 0
        labels, predictions = ({name: found[name] for name in sorted(mine)} for found in (labels, predictions))
    known: set[str] = set()

    def tell(problems: list[str], recordings: list[str]) -> None:
        known.update(recordings)
        for problem in problems:
            print(f"error: {problem}", file=sys.stderr)
        n = len(recordings)
        print(f"{n} {'recording is' if n == 1 else 'recordings are'} left out; the others go on.", file=sys.stderr)

    results = evaluate_revisions(
        labels,
        predictions,
        revisions,
        workers=args.workers,
        progress=_progress(args, f"evaluate {args.revision}"),
        count_missing_recordings=args.count_missing,
        allow_large=args.allow_large,
        use_cache=not args.no_cache,
        keep_going=args.keep_going,
        on_problems=tell,
    )
    results = [replace(evaluation, warnings=(*notes, *evaluation.warnings)) for evaluation in results]
    for warning in dict.fromkeys(w for evaluation in results for w in evaluation.warnings):
        print(f"warning: {warning}", file=sys.stderr)
    to_stdout = args.json == "-"
    if not args.quiet and part is not None:
        n = min(len(evaluation.recordings) for evaluation in results)
        print(
            f"shard {part}: {n} of {of_set} recordings are scored and kept; the call without --shard has the figures."
        )
    elif not args.quiet:
        tables = "\n\n".join(evaluation_table(evaluation) for evaluation in results)
        print(tables, file=sys.stderr if to_stdout else sys.stdout)
    objects = [evaluation.to_json() for evaluation in results]
    failures = {failure.recording: failure for evaluation in results for failure in evaluation.failures}
    if failures:  # what follows is of the recordings that could be scored
        labels, predictions = (
            {name: path for name, path in found.items() if name not in failures} for found in (labels, predictions)
        )
    more = _More(args, labels, predictions, rivals)
    for wanted, add in (
        (args.budget, more.budget),
        (args.slices, more.slices),
        (args.seld is not None, more.seld),
        (args.rank, more.rank),
    ):
        if wanted:
            text = "\n\n".join(filter(None, map(add, objects)))
            if not args.quiet:
                print(f"\n{text}", file=sys.stderr if to_stdout else sys.stdout)
    if args.json:
        _write_json(objects, args.json, as_list=args.revision in several)
    if args.diagnostics:
        text = _diagnostics(args, labels, predictions, revisions)
        print(f"\n{text}", file=sys.stderr if to_stdout else sys.stdout)
    for failure in failures.values():
        if failure.recording not in known:  # those were told before the others began
            print(f"error: {failure.recording}: {failure.error}", file=sys.stderr)
    if not failures:
        return 0
    return 1 if all(failure.machine_at_fault for failure in failures.values()) else 2


def _progress(args: argparse.Namespace, title: str) -> Progress:
    return no_progress if args.quiet else TerminalProgress(title)


def _write_json(objects: list[dict[str, Any]], target: str, *, as_list: bool) -> None:
    from sai_core.files import atomic_write, user_path

    # undefined is null in them, so NaN would be a bug
    text = json.dumps(objects if as_list else objects[0], indent=1, ensure_ascii=False, allow_nan=False)
    if target == "-":
        print(text)
        return
    with atomic_write(user_path(target), "w") as stream:
        stream.write(text + "\n")


def _check_budget(args: argparse.Namespace, revisions: tuple[Revision, ...]) -> None:
    """Refuse what a budget cannot be made of, before long work."""
    from sai_core.errors import InputError
    from sai_core.metrics import is_soft

    if not any(is_soft(revision) for revision in revisions):
        raise InputError("--budget follows the soft matching; use a --revision after 2026-04-02.")
    if args.count_missing:
        raise InputError("--budget is on recordings with predictions; leave --count-missing out.")


class _More:
    """What is asked for beyond the official figures; recordings are scored once for all of it.

    Each method adds its part to the JSON object of a revision, and gives it as text.
    """

    def __init__(
        self,
        args: argparse.Namespace,
        labels: dict[str, Path],
        predictions: dict[str, Path],
        rivals: dict[str, dict[str, Path]],
    ) -> None:
        from sai_core.metrics.evaluation.score_store import ScoreStore

        self._args, self._labels, self._predictions, self._rivals = args, labels, predictions, rivals
        self._store = ScoreStore(use_disk=not args.no_cache)
        self._scored: dict[tuple[str, Revision], SystemResult] = {}

    def budget(self, described: dict[str, Any]) -> str:
        """Gains where one kind of error alone is right; nothing for revision 2026-04-02."""
        from sai_core.metrics import is_soft
        from sai_core.metrics.reading.budget import budget_by_class, budget_of_files, budget_table, pairs_table
        from sai_core.metrics.reading.report import table_text

        revision = described["revision"]
        if not is_soft(revision):
            return ""
        budget = budget_of_files(
            self._store,
            self._labels,
            self._predictions,
            name=self._args.predictions.name,
            revision=revision,
            workers=self._args.workers,
            progress=_progress(self._args, f"budget {revision}"),
        )
        described["budget"] = budget.to_json()
        return "\n\n".join(table_text(make(budget)) for make in (budget_table, budget_by_class, pairs_table))

    def slices(self, described: dict[str, Any]) -> str:
        """Figures of parts of the set."""
        from sai_core.metrics.reading.report import table_text
        from sai_core.metrics.reading.slices import slices_of_files, slices_table, worst_table

        progress = _progress(self._args, f"slices {described['revision']}")
        system = self._system(self._args.predictions.name, self._predictions, described["revision"], progress)
        groups, notes = self._groups
        slices = slices_of_files(
            system.scores,
            self._labels,
            self._predictions,
            name=system.name,
            groups=groups,
            use_cache=not self._args.no_cache,
            progress=progress,
        )
        described["slices"] = {**slices.to_json(), "notes": list(notes)}
        whole, worst = slices_table(slices), worst_table(slices)
        if not whole.rows:
            return "There are no slices: no label and no prediction is in these recordings."
        lost = table_text(worst) if worst.rows else f"worst slices: none surely loses. {worst.note}"
        return f"{table_text(whole)}\n\n{lost}"

    @cached_property
    def _groups(self) -> tuple[dict[str, dict[str, tuple[str, ...]]], tuple[str, ...]]:
        """Tags and saved views that recordings are in, of the data root that the labels lie in; and what to say."""
        from sai_core.dataset import open_data_root
        from sai_core.survey.index import Survey, groups_of
        from sai_core.survey.membership import groups_of_recordings, splits_of
        from sai_core.survey.table import table_of
        from sai_core.workspace import root_for, set_at, workspace
        from sai_core.workspace.marks import read_marks
        from sai_core.workspace.roots import root_with_marks

        where = root_with_marks(self._args.labels)
        if where is None:
            return {}, ()
        marks = read_marks(workspace(), where)
        if marks.problem:
            print(f"warning: {marks.problem}", file=sys.stderr)
            return {}, (marks.problem,)
        stored, notes = set_at("labels", self._args.labels), [f"Tags and saved views are those of {where}."]
        root = root_for(open_data_root(where), labels=stored.name if stored is not None else None, notes=notes)
        splits, left_out = splits_of(root, self._labels)
        table = None
        if marks.views and self._args.no_cache:
            notes.append("Saved views are found through the caches; with --no-cache they are left out.")
        elif marks.views:
            looks, survey = groups_of(root), Survey()
            survey.load(looks)
            survey.look(looks, workers=self._args.workers, progress=_progress(self._args, "saved views"))
            table = table_of(survey, root, looks, marks=marks.recordings)
        groups, unfit = groups_of_recordings(marks, splits, table)
        notes += [*left_out, *unfit]
        for note in notes:
            print(f"note: {note}", file=sys.stderr)
        return groups, tuple(notes)

    def seld(self, described: dict[str, Any]) -> str:
        """What the field reports beside the official figures."""
        from sai_core.metrics.reading.seld import field_figures_of_files

        progress = _progress(self._args, f"SELD scores {described['revision']}")
        system = self._system(self._args.predictions.name, self._predictions, described["revision"], progress)
        figures = field_figures_of_files(
            system,
            self._labels,
            self._predictions,
            min_score=self._args.seld,
            use_cache=not self._args.no_cache,
            progress=progress,
        )
        described["field"] = figures.to_json()
        return figures.text()

    def rank(self, described: dict[str, Any]) -> str:
        """All systems on their common recordings."""
        from sai_core.metrics.reading.ranking import rank_systems, ranking_table, wins_table
        from sai_core.metrics.reading.report import table_text

        revision = described["revision"]
        progress = _progress(self._args, f"ranking {revision}")
        every = ((self._args.predictions.name, self._predictions), *self._rivals.items())
        systems = [self._system(name, files, revision, progress) for name, files in every]
        for problem in (problem for system in systems for problem in system.problems):
            print(f"warning: {problem}", file=sys.stderr)
        ranking = rank_systems(systems, progress=progress)
        described["ranking"] = ranking.to_json()
        return "\n\n".join((table_text(ranking_table(ranking)), table_text(wins_table(ranking))))

    def _system(self, name: str, files: dict[str, Path], revision: Revision, progress: Progress) -> SystemResult:
        from sai_core.metrics.reading.systems import score_system

        if (name, revision) not in self._scored:
            self._scored[name, revision] = score_system(
                self._store, name, self._labels, files, revision=revision, progress=progress
            )
        return self._scored[name, revision]


def _rivals(args: argparse.Namespace) -> dict[str, dict[str, Path]]:
    """Files of the prediction sets to rank, by a name for each."""
    from sai_core.errors import InputError
    from sai_core.metrics.evaluation.discovery import find_annotations
    from sai_core.workspace import folder_of

    rivals: dict[str, dict[str, Path]] = {}
    seen = {args.predictions.resolve()}
    for wanted in args.rank:
        sentences: list[str] = []
        folder = folder_of("predictions", wanted, notes=sentences)
        name = folder.name if folder.name not in rivals and folder.name != args.predictions.name else str(folder)
        if folder.resolve() in seen:
            raise InputError(f"--rank: {folder} is given twice; give each prediction set once.")
        files, choices = find_annotations(folder)
        for sentence in [*sentences, *choices]:
            print(f"warning: {sentence}", file=sys.stderr)
        rivals[name] = files
        seen.add(folder.resolve())
    return rivals


def _diagnostics(
    args: argparse.Namespace, labels: dict[str, Path], predictions: dict[str, Path], revisions: tuple[Revision, ...]
) -> str:
    """Class-agnostic figures of each revision, and the F1 of classes among pairs that point the same way."""
    from sai_core.metrics import class_agnostic_figures, is_soft, matched_class_f1, spatial_matches
    from sai_core.metrics.evaluation.score_store import read_pair

    lines = []
    for revision in revisions:
        figures = class_agnostic_figures(
            labels,
            predictions,
            revision=revision,
            workers=args.workers,
            progress=_progress(args, f"all classes {revision}"),
            allow_large=args.allow_large,
            use_cache=not args.no_cache,
        )
        lines.append(f"class-agnostic AP (revision {revision}): {figures.mean_ap:.4f}")
    names = sorted(set(labels) & set(predictions))
    judged = next((revision for revision in revisions if is_soft(revision)), revisions[0])
    matches = []
    for name in names:
        tables = read_pair(
            labels[name], predictions[name], recording=name, revision=judged, use_cache=not args.no_cache
        )
        matches.append(spatial_matches(*tables))
    macro, _ = matched_class_f1(matches)
    lines.append(f"matched-class macro F1 (pairs within 20 degrees): {macro:.4f}")
    return "\n".join(lines)
