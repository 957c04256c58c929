"""Any number of systems on the recordings that all have: which is better, how sure that is, and what only one finds.

Recordings are drawn with replacement, the same for all systems, so that differences are paired. A system is *surely
better* than another where the macro mAP of the drawn sets is: the two-sided bootstrap probability of no difference,
corrected for the number of pairs (Holm), is below 5 %. With few recordings nothing is sure, whatever the figures.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from sai_core.errors import InputError
from sai_core.metrics.reading.diagnostics import BootstrapResult, bootstrap
from sai_core.metrics.reading.systems import SystemResult
from sai_core.metrics.reading.tables import Column, Source, Table
from sai_core.progress import Progress, no_progress, part_of
from sai_core.taxonomy import CLASS_NAMES, N_CLASSES

Float64 = npt.NDArray[np.float64]
Int64 = npt.NDArray[np.int64]

SURE: Final[float] = 0.05

_MEASURED: Final[tuple[Source, ...]] = ("measured",)


@dataclass(frozen=True, eq=False)
class Ranking:
    """Systems by macro mAP on their common recordings, the best first.

    Attributes
    ----------
    names : tuple of str
    revision : str
    recordings : tuple of str
        Common ones.
    n_resamples : int
    value, low, high : float64, shape (n,)
        Macro mAP with 95 % interval.
    difference, difference_low, difference_high : float64, shape (n, n)
        Macro mAP of the row's system less that of the column's, with paired 95 % interval.
    probability : float64, shape (n, n)
        Of no difference, two-sided, corrected for the number of pairs (Holm); 1 on the diagonal.
    wins : int64, shape (n, n)
        Classes in which the row's system has the higher mAP.
    n_only : int64, shape (n,)
        Labels that at IoU 0.5 this system alone finds.
    per_class : float64, shape (n, 13)
        MAP of each class; NaN without labels.
    """

    names: tuple[str, ...]
    revision: str
    recordings: tuple[str, ...]
    n_resamples: int
    value: Float64
    low: Float64
    high: Float64
    difference: Float64
    difference_low: Float64
    difference_high: Float64
    probability: Float64
    wins: Int64
    n_only: Int64
    per_class: Float64

    def statement(self) -> str:
        """What can be said about the first, in a sentence."""
        n = len(self.recordings)
        on = f"on {n} common recording{'' if n == 1 else 's'}"
        if len(self.names) < 2:
            return f"There is one system {on}."
        unsure = [name for k, name in enumerate(self.names) if k and not self.probability[0, k] < SURE]
        if not unsure:
            return f"{self.names[0]} is surely better than every other system {on} (Holm-corrected, 5 %)."
        return f"{self.names[0]} is first {on}, but not surely better than {', '.join(unsure)} (Holm-corrected, 5 %)."

    def to_json(self) -> dict[str, Any]:
        """Figures as a JSON object; undefined is None."""

        def listed(values: npt.NDArray[Any]) -> list[Any]:
            return [listed(row) if row.ndim else None if np.isnan(row) else row.item() for row in values]

        columns = {
            name: listed(value)
            for name in self.__dataclass_fields__
            if isinstance(value := getattr(self, name), np.ndarray)
        }
        return {
            "systems": list(self.names),
            "revision": self.revision,
            "recordings": list(self.recordings),
            "n_resamples": self.n_resamples,
            "statement": self.statement(),
            **columns,
        }


def rank_systems(
    systems: Sequence[SystemResult],
    *,
    samples: Mapping[str, BootstrapResult] | None = None,
    n_resamples: int = 1000,
    seed: int = 0,
    progress: Progress = no_progress,
) -> Ranking:
    """Rank systems on the recordings that all of them have.

    Parameters
    ----------
    systems : sequence of SystemResult
        At least one, of one revision, each name once.
    samples : mapping of str to BootstrapResult, optional
        Known ones by system; used where they are of exactly the common recordings and as many resamples.
    n_resamples, seed : int
    progress : Progress
        Told after each system; may raise CancelledError.

    Raises
    ------
    InputError
        No system, different revisions, a name twice, or no recording in common.
    """
    if not systems:
        raise InputError("There is no system to rank.")
    if len({s.revision for s in systems}) > 1:
        raise InputError("Systems of different revisions cannot be ranked.")
    if len({s.name for s in systems}) < len(systems):
        raise InputError("Each system to rank needs a name of its own.")
    common = frozenset.intersection(*(frozenset(s.recordings) for s in systems))
    if not common:
        raise InputError("The systems have no scored recording in common.")
    known = samples or {}
    alone = [s.only(common) for s in systems]
    order = sorted(
        range(len(alone)), key=lambda k: (-np.nan_to_num(alone[k].evaluation.macro.mean_ap, nan=-1), alone[k].name)
    )
    alone = [alone[k] for k in order]
    recordings = tuple(sorted(common))
    drawn = []
    for k, system in enumerate(alone):
        share = part_of(progress, k / len(alone), (k + 1) / len(alone))
        ready = known.get(system.name)
        if ready is None or ready.evaluation.recordings != recordings or len(ready.macro) != n_resamples:
            ready = bootstrap(system.scores, n=n_resamples, seed=seed, progress=share)
        drawn.append(ready.macro[:, len(ready.evaluation.thresholds)])
    n = len(alone)
    value = np.array([s.evaluation.macro.mean_ap for s in alone])
    low, high = np.array([_interval(macro) for macro in drawn]).T
    difference_low, difference_high = np.zeros((2, n, n))
    raw = np.ones((n, n))
    for a in range(n):
        for b in range(n):
            if a != b:
                delta = drawn[a] - drawn[b]
                difference_low[a, b], difference_high[a, b] = _interval(delta)
                raw[a, b] = _no_difference(delta, len(recordings))
    per_class = np.array([[row.mean_ap for row in s.evaluation.per_class] for s in alone]).reshape(n, N_CLASSES)
    with np.errstate(invalid="ignore"):
        wins = (per_class[:, None] > per_class[None]).sum(axis=2)
    return Ranking(
        tuple(s.name for s in alone),
        alone[0].revision,
        recordings,
        n_resamples,
        value,
        low,
        high,
        value[:, None] - value[None],
        difference_low,
        difference_high,
        _holm(raw),
        wins.astype(np.int64),
        _only(alone),
        per_class,
    )


def _interval(samples: Float64) -> tuple[float, float]:
    known = samples[~np.isnan(samples)]
    if not len(known):
        return math.nan, math.nan
    low, high = np.percentile(known, [2.5, 97.5])
    return float(low), float(high)


def _no_difference(delta: Float64, n_recordings: int) -> float:
    """Two-sided bootstrap probability of no difference; never 0 (Davison and Hinkley, 1997).

    Nor below what as many equal signs have by themselves, 2 / 2^n: resamples of few recordings know no more than those.
    """
    known = delta[~np.isnan(delta)]
    below, above = ((np.count_nonzero(side) + 1) / (len(known) + 1) for side in (known <= 0, known >= 0))
    return float(min(1.0, max(2 * min(below, above), 2.0 ** (1 - n_recordings))))


def _holm(raw: Float64) -> Float64:
    """Probabilities of all pairs, corrected step by step (Holm, 1979)."""
    n = len(raw)
    upper = np.triu_indices(n, 1)
    values = raw[upper]
    order = np.argsort(values, kind="stable")
    stepped = np.minimum(np.maximum.accumulate(values[order] * (len(values) - np.arange(len(values)))), 1.0)
    corrected = np.ones((n, n))
    adjusted = np.empty(len(values))
    adjusted[order] = stepped
    corrected[upper] = adjusted
    return np.minimum(corrected, corrected.T)


def _only(systems: Sequence[SystemResult]) -> Int64:
    """Labels that one system alone finds at IoU 0.5, of each system."""
    found = []
    for system in systems:
        labels: set[tuple[str, int]] = set()
        for scores in system.scores:
            column = int(np.argmin(np.abs(np.array(system.evaluation.thresholds) - 0.5)))
            hit = scores.detection_hit[:, column] & (scores.detection_label >= 0)
            labels |= {(scores.recording, k) for k in scores.detection_label[hit].tolist()}
        found.append(labels)
    only = [mine.difference(*(theirs for j, theirs in enumerate(found) if j != k)) for k, mine in enumerate(found)]
    return np.array([len(labels) for labels in only])


def ranking_table(ranking: Ranking) -> Table:
    """Systems in rows, the best first."""
    columns = (
        Column("mAP", "mAP", 4, "Macro", "higher"),
        Column("mAP_low", "95 % from", 4, "Macro"),
        Column("mAP_high", "to", 4, "Macro"),
        Column("behind", "Behind first", 4, "Macro", help="Macro mAP of the first system less this one's."),
        Column("behind_low", "95 % from", 4, "Macro"),
        Column("behind_high", "to", 4, "Macro"),
        Column("p", "p", 4, "Macro", help="Of no difference from the first, Holm-corrected over all pairs."),
        Column("n_only", "Found by it only", 0, help="Labels that at IoU 0.5 no other of these systems finds."),
    )
    rows = np.column_stack(
        [
            ranking.value,
            ranking.low,
            ranking.high,
            ranking.difference[0],
            ranking.difference_low[0],
            ranking.difference_high[0],
            ranking.probability[0],
            ranking.n_only.astype(np.float64),
        ]
    )
    rows[0, 3:7] = np.nan
    note = f"{ranking.statement()} Intervals: paired bootstrap over recordings, {ranking.n_resamples} resamples."
    n = len(ranking.recordings)
    title = f"Ranking · revision {ranking.revision} · {n} common recording{'' if n == 1 else 's'}"
    return Table(title, note, "System", ranking.names, _MEASURED * len(ranking.names), columns, rows)


def wins_table(ranking: Ranking) -> Table:
    """In how many classes the row's system has a higher mAP than the column's."""
    values = ranking.wins.astype(np.float64)
    np.fill_diagonal(values, np.nan)
    # names would not fit, nor are they text that a table's head could show
    columns = tuple(Column(f"over_{k}", f"row {k}", 0, "Better than that of") for k in range(1, len(ranking.names) + 1))
    return Table(
        f"Classes won · revision {ranking.revision}",
        "Classes in which the system of the row has the higher mAP than that of row 1, 2, ...",
        "System ",
        ranking.names,
        _MEASURED * len(ranking.names),
        columns,
        values,
    )


def classes_won_table(ranking: Ranking) -> Table:
    """MAP of every class by every system, and which is the best by itself."""
    values = ranking.per_class
    with_labels = ~np.isnan(values).all(axis=0)
    known = np.nan_to_num(values, nan=-1.0)
    alone = with_labels & ((known == known.max(axis=0)).sum(axis=0) == 1)
    won_by = np.where(alone, known.argmax(axis=0) + 1.0, np.nan)
    # as in the table of wins, columns are rows of the ranking
    columns = (
        Column("won_by", "Won by row", 0, help="The row of the ranking that has the class's best mAP alone."),
        *(Column(f"of_{k}", f"row {k}", 4, "mAP of") for k in range(1, len(ranking.names) + 1)),
    )
    won = ", ".join(f"row {k} {np.count_nonzero(won_by == k)}" for k in range(1, len(ranking.names) + 1))
    return Table(
        f"Classes by system · revision {ranking.revision}",
        f"mAP of the systems in rows 1, 2, ... of the ranking. Won alone, of {np.count_nonzero(with_labels)} classes "
        f"with labels: {won}.",
        "Class",
        CLASS_NAMES,
        _MEASURED * N_CLASSES,
        columns,
        np.column_stack([won_by, values.T]),
    )
