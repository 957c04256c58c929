"""The error budget of a system: what its figures would be if one kind of error alone were right.

The kinds and what putting them right means are those of :mod:`sai_core.metrics.evaluation.oracles`. Every figure is the
official one of the changed predictions. Gains of single kinds do not add up (a prediction may be of a wrong class and
in a wrong place); pairs of kinds and the way on which all are put right, one after the other, show how they combine.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from sai_core.errors import InputError
from sai_core.metrics.evaluation.oracles import (
    ERROR_KINDS,
    ErrorKind,
    RecordingOracle,
    Touched,
    combinations_of,
)
from sai_core.metrics.evaluation.score_store import RecordingResult, ScoreStore
from sai_core.metrics.evaluation.scores import Evaluation, Figures, RecordingScores, merge
from sai_core.metrics.official.revisions import THRESHOLDS, Revision
from sai_core.metrics.reading import drilldown
from sai_core.metrics.reading.drilldown import Moments, Row
from sai_core.metrics.reading.tables import Column, Source, Table
from sai_core.progress import Progress, no_progress, part_of
from sai_core.taxonomy import CLASS_NAMES, N_CLASSES, class_name
from sai_core.threads import as_they_come

Float64 = npt.NDArray[np.float64]
Kinds = tuple[ErrorKind, ...]

_MEASURED: Final[tuple[Source, ...]] = ("measured",)

KIND_TITLES: Final[Mapping[ErrorKind, str]] = {
    "class": "Class",
    "presence": "Presence",
    "duplicates": "Duplicates",
    "place": "Place",
    "energy": "Energy field",
    "misses": "Misses",
    "ranking": "Ranking",
}

KIND_MEANINGS: Final[Mapping[ErrorKind, str]] = {
    "class": "predictions that point at a label of another class get its class",
    "presence": "predictions of classes that do not sound in their frame are removed",
    "duplicates": "predictions beyond the number of labels of their class and frame are removed",
    "place": "regions are rotated onto the centre of their label's region",
    "energy": "regions keep their points and take their label's energies there",
    "misses": "labels without a prediction get one: the label itself, score 1",
    "ranking": "scores are the soft IoU with the assigned label, so that right ones rank first",
}

_KEPT_PREDICTIONS: Final[int] = 300_000
"""Predictions of a set whose scores stay in memory for all sets of kinds: 500 MB, for a while; the whole development
test set has 265,000."""

_OPENING: Final[float] = 0.1
"""Share of the time in which files are opened."""

_RENDERED: Final[float] = 0.8
"""The same until workers have rendered what is new."""

REST_MEANING: Final[str] = "regions too small or too coarse for their label's energies"
"""What is lost when all kinds are right."""


@dataclass(frozen=True, eq=False)
class Budget:
    """What a system gains by putting errors right.

    Attributes
    ----------
    name : str
        The system's.
    evaluations : mapping of tuple of str to Evaluation
        By the kinds that are right, in the order of :data:`ERROR_KINDS`; ``()`` is the system as it is.
    touched : mapping of str to tuple of Touched
        Where each kind occurs, one per recording, sorted by name.
    """

    name: str
    evaluations: Mapping[Kinds, Evaluation]
    touched: Mapping[ErrorKind, tuple[Touched, ...]]

    @property
    def revision(self) -> Revision:
        """Evaluator."""
        return self.evaluations[()].revision

    @property
    def recordings(self) -> tuple[str, ...]:
        """Evaluated recordings."""
        return self.evaluations[()].recordings

    @cached_property
    def path(self) -> tuple[Evaluation, ...]:
        """The system as it is, and with the first, the first two, ... of :data:`ERROR_KINDS` right."""
        return tuple(self.evaluations[ERROR_KINDS[:k]] for k in range(len(ERROR_KINDS) + 1))

    def gain(self, kinds: Kinds, figure: str = "mAP", *, row: str = "macro", category: int | None = None) -> float:
        """What a figure gains where some kinds are right.

        Parameters
        ----------
        kinds : tuple of str
            One kind, two, or the first so many of :data:`ERROR_KINDS`.
        figure : str
            ``"mAP"``, ``"AP25"`` (or another threshold of the revision) or ``"pearson_r"``.
        row : {"macro", "micro"}
        category : int, optional
            Class; instead of the row.

        Returns
        -------
        float
            NaN where the figure is undefined on one side; may be negative.

        Raises
        ------
        InputError
            Kinds that were not put right, an unknown figure.
        """
        ordered = tuple(kind for kind in ERROR_KINDS if kind in kinds)
        if ordered not in self.evaluations or len(ordered) != len(kinds):
            raise InputError(f"The budget holds no figures with {', '.join(kinds)} corrected.")
        before, after = (_figure(self.evaluations[key], figure, row, category) for key in ((), ordered))
        return after - before

    def to_json(self) -> dict[str, Any]:
        """Figures as the JSON object of the command line; undefined is None."""
        names = _figure_names(self.evaluations[()])

        def gains(kinds: Kinds) -> dict[str, Any]:
            return {
                "macro": {name: _null(self.gain(kinds, name)) for name in names},
                "micro": {name: _null(self.gain(kinds, name, row="micro")) for name in names},
                "per_class": {
                    str(c): {name: _null(self.gain(kinds, name, category=c)) for name in names}
                    for c in range(N_CLASSES)
                    if self.evaluations[()].per_class[c].n_labels
                },
            }

        def figures(evaluation: Evaluation) -> dict[str, Any]:
            return {name: _null(_figure(evaluation, name, "macro", None)) for name in names}

        return {
            "system": self.name,
            "revision": self.revision,
            "recordings": list(self.recordings),
            "as_it_is": figures(self.evaluations[()]),
            "kinds": {
                kind: {
                    "meaning": KIND_MEANINGS[kind],
                    "n_changed": sum(len(t) for t in self.touched[kind]) if kind != "ranking" else None,
                    "gain": gains((kind,)),
                }
                for kind in ERROR_KINDS
            },
            "pairs": [
                {"kinds": list(kinds), "gain": gains(kinds)["macro"]} for kinds in self.evaluations if len(kinds) == 2
            ],
            "one_after_the_other": [
                {"put_right": kind, "macro": figures(evaluation)}
                for kind, evaluation in zip(ERROR_KINDS, self.path[1:], strict=True)
            ],
            "warnings": list(self.evaluations[()].warnings),
        }


def _null(value: float) -> float | None:
    return None if math.isnan(value) else float(value)


def _figure_names(evaluation: Evaluation) -> list[str]:
    return ["mAP", *evaluation.ap_at(evaluation.macro), "pearson_r"]


def _figure(evaluation: Evaluation, name: str, row: str, category: int | None) -> float:
    figures: Figures = evaluation.per_class[category] if category is not None else getattr(evaluation, row)
    values = {"mAP": figures.mean_ap, **evaluation.ap_at(figures), "pearson_r": figures.pearson_r}
    if name not in values:
        raise InputError(f"Unknown figure {name!r}; use one of {', '.join(values)}.")
    return values[name]


def budget_of(
    oracles: Sequence[RecordingOracle],
    *,
    name: str = "",
    revision: Revision = "2026-06-30",
    warnings: Sequence[str] = (),
    progress: Progress = no_progress,
) -> Budget:
    """Put errors right, kind by kind and in pairs, and score what comes out.

    Parameters
    ----------
    oracles : sequence of RecordingOracle
        Of each recording, once.
    name : str
        The system's.
    revision : str
        A soft one.
    warnings : sequence of str
        Sentences to keep.
    progress : Progress
        Told after each recording of each set of kinds; may raise CancelledError.

    Returns
    -------
    Budget

    Raises
    ------
    InputError
        Revision 2026-04-02, or a recording twice.
    """
    _check_soft(revision)
    in_order = sorted(oracles, key=lambda oracle: oracle.recording)
    sets = combinations_of(ERROR_KINDS)
    # recording by recording, so that tables and maps of one at a time are in memory; of a set with few predictions the
    # scores stay, of a large one they are made again, from regions that are rendered by then
    n = max(len(in_order), 1)
    is_small = sum(len(oracle.columns.prediction_frame) for oracle in in_order) <= _KEPT_PREDICTIONS
    kept: dict[Kinds, list[RecordingScores]] = {kinds: [] for kinds in sets}
    touched: dict[ErrorKind, list[Touched]] = {kind: [] for kind in ERROR_KINDS}
    for k, oracle in enumerate(in_order):
        for j, kinds in enumerate(sets):
            progress(0.8 * (k + j / len(sets)) / n, f"{oracle.recording}: correcting errors ({k + 1} of {n})")
            scores = oracle.scores(kinds, revision=revision)
            if is_small:
                kept[kinds].append(scores)
        for kind in ERROR_KINDS:
            touched[kind].append(oracle.touched(kind))
        oracle.forget()
    evaluations: dict[Kinds, Evaluation] = {}
    for j, kinds in enumerate(sets):
        progress(0.8 + 0.2 * j / len(sets), "figures")
        parts = kept[kinds] if is_small else [_scores_alone(oracle, kinds, revision) for oracle in in_order]
        # what is to be said of a figure is said of the system's own
        evaluations[kinds] = merge(parts, revision=revision, warnings=() if kinds else warnings, judge_ties=not kinds)
    progress(1.0, "")
    return Budget(name, evaluations, {kind: tuple(found) for kind, found in touched.items()})


def _scores_alone(oracle: RecordingOracle, kinds: Kinds, revision: Revision) -> RecordingScores:
    scores = oracle.scores(kinds, revision=revision)
    oracle.forget()
    return scores


def _check_soft(revision: Revision) -> None:
    if revision == "2026-04-02":
        raise InputError(
            "The error budget corrects errors by the soft matching; revision 2026-04-02 has another, so choose one of "
            "the later revisions."
        )


def budget_of_files(
    store: ScoreStore,
    labels: Mapping[str, Path],
    predictions: Mapping[str, Path],
    *,
    name: str = "",
    revision: Revision = "2026-06-30",
    warnings: Sequence[str] = (),
    workers: int = 1,
    progress: Progress = no_progress,
) -> Budget:
    """Budget of files; regions that the store knows are not rendered again.

    Parameters
    ----------
    store : ScoreStore
    labels, predictions : mapping of str to Path
        Files by recording name; those that are in both count.
    name, revision, warnings, progress
        As :func:`budget_of`.
    workers : int
        Processes that render changed regions, where the store keeps on disk what they make.

    Raises
    ------
    InputError
        As :func:`budget_of`, or a file that cannot be read.
    EnvironmentProblem
        A worker was killed.
    """
    _check_soft(revision)
    names = sorted(set(labels) & set(predictions))
    oracles: dict[str, RecordingOracle] = {}

    def open_(recording: str) -> None:
        oracles[recording] = store.oracle(
            labels[recording], predictions[recording], recording=recording, revision=revision
        )

    for k, recording in enumerate(names):
        progress(_OPENING * k / len(names), f"{recording}: opening ({k + 1} of {len(names)})")
        open_(recording)
    new = [recording for recording in names if not len(oracles[recording].overlaps)]
    begin = _OPENING
    if min(workers, len(new)) > 1 and store.keeps_on_disk:
        begin = _RENDERED
        jobs = [(labels[r], predictions[r], r, revision) for r in new]
        done = as_they_come(_render, jobs, min(workers, len(new)), size=lambda job: job[1].stat().st_size)
        for k, recording in enumerate(done, start=1):
            share = _OPENING + (_RENDERED - _OPENING) * k / len(new)
            progress(share, f"{recording}: correcting errors ({k} of {len(new)})")
            open_(recording)
    try:
        return budget_of(
            list(oracles.values()),
            name=name,
            revision=revision,
            warnings=warnings,
            progress=part_of(progress, begin, 1.0),
        )
    finally:
        # also what was rendered before a stop
        for oracle in oracles.values():
            store.keep_oracle(oracle)


def _render(job: tuple[Path, Path, str, Revision]) -> str:
    """In a worker: render all that a recording's budget needs, and keep it on disk; gives the recording."""
    labels, predictions, recording, revision = job
    store = ScoreStore(memory_entries=0)
    oracle = store.oracle(labels, predictions, recording=recording, revision=revision)
    for kinds in combinations_of(ERROR_KINDS):
        oracle.scores(kinds, revision=revision)
    for kind in ERROR_KINDS:
        oracle.touched(kind)
    store.keep_oracle(oracle)
    return recording


def budget_table(budget: Budget) -> Table:
    """Gain of each kind by itself, macro; the last row is what the system has."""
    evaluation = budget.evaluations[()]
    names = _figure_names(evaluation)
    titles = {"pearson_r": "Pearson r"}
    columns = (
        Column("n_changed", "Changed", 0, help="Predictions, or labels without one, that the correction changes."),
        *(Column(f"macro_{name}", titles.get(name, name), 4, "Macro gain") for name in names),
        Column("micro_mAP", "mAP", 4, "Micro gain"),
    )
    rows = []
    for kind in ERROR_KINDS:
        changed = math.nan if kind == "ranking" else float(sum(len(t) for t in budget.touched[kind]))
        gains = [budget.gain((kind,), name) for name in names]
        rows.append([changed, *gains, budget.gain((kind,), row="micro")])
    now = [_figure(evaluation, name, "macro", None) for name in names]
    rows.append([math.nan, *now, evaluation.micro.mean_ap])
    n = len(budget.recordings)
    return Table(
        f"{budget.name} · error budget · revision {budget.revision} · {n} recording{'' if n == 1 else 's'}",
        "Official figures of predictions in which only one kind of error is corrected, minus those of the system, "
        "which are the last row. Gains do not add up.",
        "Put right",
        (*(KIND_TITLES[kind] for kind in ERROR_KINDS), "as it is"),
        _MEASURED * (len(ERROR_KINDS) + 1),
        columns,
        np.array(rows),
        summary_rows=1,
    )


def budget_by_class(budget: Budget) -> Table:
    """What each class has, and what each kind alone would add to it."""
    evaluation = budget.evaluations[()]
    columns = (
        Column("n_labels", "Labels", 0),
        Column("mAP", "mAP", 4, help="As it is."),
        *(Column(kind, KIND_TITLES[kind], 4, "Gain of mAP", help=KIND_MEANINGS[kind]) for kind in ERROR_KINDS),
    )
    rows = []
    for c in [*range(N_CLASSES), None]:
        figures = evaluation.per_class[c] if c is not None else evaluation.macro
        gains = [budget.gain((kind,), category=c) for kind in ERROR_KINDS]
        rows.append([float(figures.n_labels), figures.mean_ap, *gains])
    return Table(
        f"{budget.name} · error budget per class · revision {budget.revision}",
        "A class without labels is undefined (–).",
        "Class",
        (*CLASS_NAMES, "macro"),
        _MEASURED * (N_CLASSES + 1),
        columns,
        np.array(rows),
        summary_rows=1,
    )


def pairs_table(budget: Budget) -> Table:
    """Macro mAP gained by two kinds together; on the diagonal by one."""
    values = [[budget.gain(tuple(dict.fromkeys((a, b)))) for b in ERROR_KINDS] for a in ERROR_KINDS]
    return Table(
        f"{budget.name} · two kinds right · revision {budget.revision}",
        "Macro mAP gained when both kinds are corrected; on the diagonal, one alone.",
        "Put right",
        tuple(KIND_TITLES[kind] for kind in ERROR_KINDS),
        _MEASURED * len(ERROR_KINDS),
        tuple(Column(kind, KIND_TITLES[kind], 4) for kind in ERROR_KINDS),
        np.array(values),
    )


def budget_moments(
    results: Sequence[RecordingResult],
    budget: Budget,
    kind: ErrorKind,
    *,
    row: Row = "macro",
    category_id: int | None = None,
) -> Moments:
    """The frames of one kind of error, those that cost the mAP most first.

    Parameters
    ----------
    results : sequence of RecordingResult
        Of recordings of the budget, by its revision.
    budget : Budget
    kind : str
    row : {"class", "macro", "micro"}
        Which mAP.
    category_id : int, optional
        Class as the system has it; needed for ``row="class"``.

    Returns
    -------
    Moments
        ``hurt`` is exact for one alone: of predictions that are taken away, or of another class, the mAP gained if they
        were not there; of those whose region changes, if they were true positives at the thresholds that they then
        reach; of misses, if the label were found by a prediction ranked first; of ranking, what a wrong prediction
        costs by ranking before right ones.
    """
    in_order = sorted(results, key=lambda r: r.recording)
    if not in_order:
        return drilldown.join([])
    thresholds = np.array(THRESHOLDS[budget.revision])
    if_absent, if_right, if_found = drilldown.losses_of(in_order, row, list(range(len(thresholds))))
    touched = {part.recording: part for part in budget.touched[kind]}
    parts, start = [], 0
    for result in in_order:
        scores = result.scores
        stop = start + len(scores)
        absent, right = if_absent[start:stop], if_right[start:stop]
        start = stop
        part = touched.get(result.recording)
        if part is None:
            continue
        if kind == "misses":
            category = _categories(result)[part.label]
            chosen = _of_class(category, category_id)
            label, category = part.label[chosen], category[chosen]
            parts.append(
                drilldown.of_labels(
                    result, label, scores.label_frame[label], category=category, kind=drilldown.MISSED,
                    hurt=if_found[category],
                )
            )  # fmt: skip
            continue
        if kind == "ranking":
            index = np.flatnonzero(absent.mean(axis=1) > 0)
            label, cost = np.full(len(index), -1), absent[index].mean(axis=1)
        else:
            index, label = part.prediction, part.label
            cost = absent[index].mean(axis=1)
            if kind in ("place", "energy"):
                reached = part.iou[:, None] >= thresholds
                cost = np.where(reached, right[index], 0.0).mean(axis=1)
        chosen = _of_class(scores.detection_category[index], category_id)
        index, label, cost = index[chosen], label[chosen], cost[chosen]
        what = {"class": drilldown.WRONG_CLASS, "duplicates": drilldown.DUPLICATE}.get(kind, drilldown.FALSE_POSITIVE)
        if kind in ("place", "energy"):
            what = drilldown.SMALL_OVERLAP
        other_class = np.full(len(index), -1)
        if kind == "class":
            other_class = np.where(label >= 0, _categories(result)[label], -1)
        parts.append(drilldown.of_detections(result, index, kind=what, other_category=other_class, hurt=cost))
    return drilldown.join(parts).sorted()


def _categories(result: RecordingResult) -> npt.NDArray[np.int64]:
    """Class of each label by annotation index, and one entry for -1."""
    scores = result.scores
    return np.append(scores.label_category[np.argsort(scores.label_index)].astype(np.int64), -1)


def _of_class(category: npt.NDArray[np.integer[Any]], category_id: int | None) -> npt.NDArray[np.bool_]:
    return np.ones(len(category), np.bool_) if category_id is None else category == category_id


def describe_kind(kind: ErrorKind, category_id: int | None = None) -> str:
    """One kind, of one class or of all, in words."""
    return f"{KIND_TITLES[kind]} · {class_name(category_id) if category_id is not None else 'macro'}"
