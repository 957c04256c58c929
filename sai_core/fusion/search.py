"""Weights of systems, found on one half of the recordings and reported on the other.

Every mixture is a full evaluation by the official matching. Tried are all shares in quarters (in halves from five
systems on), each system alone among them, both kinds of regions, and how much silence counts; of equally good
mixtures the one of fewer systems stays.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, Literal, get_args

import numpy as np
import numpy.typing as npt

from sai_core.annotations.reading import read_annotations
from sai_core.annotations.table import AnnotationTable
from sai_core.errors import InputError
from sai_core.fusion.fuse import FusionSettings, cluster, joined, mean_scores, with_a_say
from sai_core.metrics import Evaluation, RecordingScores, bootstrap, merge, score_recording
from sai_core.metrics.reading.tables import Column, Source, Table
from sai_core.progress import Progress, no_progress, part_of

Mixture = tuple[float, ...]
Region = Literal["mean", "heaviest"]
REGIONS: Final[tuple[Region, ...]] = get_args(Region)

SILENCES: Final[tuple[float, ...]] = (0.0, 0.25, 0.5, 1.0)
"""What :attr:`~sai_core.fusion.fuse.FusionSettings.absent` is tried with."""

SURE_FROM: Final[int] = 6
"""Recordings from which a difference can be sure: of five, equal signs alone have a probability of 2 / 2^5."""


@dataclass(frozen=True, eq=False)
class FusionSearch:
    """What a search found.

    Attributes
    ----------
    names : tuple of str
        Of the systems.
    weights : tuple of float
        The best shares on the searched half.
    settings : FusionSettings
        With the best ``region`` and ``absent``.
    seed : int
        Of the division into halves, and of the intervals.
    searched, held_out : tuple of str
        Recordings.
    alone : tuple of (Evaluation, Evaluation)
        Each system alone, searched and held out, with the revision 2026-06-30.
    fused : (Evaluation, Evaluation)
    best_alone : int
        The system that is the best alone on the searched half.
    difference : tuple of float
        Macro mAP of the mixture less that of ``best_alone`` on the held-out half, and its 95 % interval; NaN where
        there is none.
    n_tried : int
    n_resamples : int
    """

    names: tuple[str, ...]
    weights: Mixture
    settings: FusionSettings
    seed: int
    searched: tuple[str, ...]
    held_out: tuple[str, ...]
    alone: tuple[tuple[Evaluation, Evaluation], ...]
    fused: tuple[Evaluation, Evaluation]
    best_alone: int
    difference: tuple[float, float, float]
    n_tried: int
    n_resamples: int

    def sentence(self) -> str:
        """Whether it is worth it."""
        value, low, high = self.difference
        used = [f"{w:g} {name}" for w, name in zip(self.weights, self.names, strict=True) if w]
        if len(used) == 1:
            return f"No mixture is better than {self.names[self.best_alone]} alone where the weights were searched."
        text = (
            f"{' + '.join(used)} has macro mAP {self.fused[1].macro.mean_ap:.4f} on {_count(self.held_out)} that the "
            f"search did not see, {value:+.4f} against {self.names[self.best_alone]} alone"
        )
        if math.isnan(low):
            return f"{text}; one recording gives no interval."
        sure = "surely better" if low > 0 else "surely worse" if high < 0 else "not surely different"
        if len(self.held_out) < SURE_FROM:
            sure = f"on fewer than {SURE_FROM} recordings nothing is sure"
        return f"{text} (95 % interval {low:+.4f} to {high:+.4f}: {sure})."

    def to_json(self) -> dict[str, Any]:
        """Everything as a JSON object; undefined is None."""

        def both(pair: tuple[Evaluation, Evaluation]) -> dict[str, Any]:
            return {"searched": pair[0].to_json(), "held_out": pair[1].to_json()}

        return {
            "systems": list(self.names),
            "weights": list(self.weights),
            "absent": self.settings.absent,
            "region": self.settings.region,
            "radius_deg": self.settings.radius_deg,
            "class_votes": self.settings.class_votes,
            "seed": self.seed,
            "tried": self.n_tried,
            "searched": list(self.searched),
            "held_out": list(self.held_out),
            "best_alone": self.names[self.best_alone],
            "difference": [None if math.isnan(v) else v for v in self.difference],
            "alone": {name: both(pair) for name, pair in zip(self.names, self.alone, strict=True)},
            "fused": both(self.fused),
        }


def _count(names: Sequence[str]) -> str:
    return f"{len(names)} recording{'s' * (len(names) != 1)}"


@dataclass(frozen=True)
class Way:
    """One way to mix that is tried."""

    shares: Mixture
    region: Region
    absent: float


def _ways(shares: Mixture) -> list[Way]:
    """Ways to mix with these shares; a system alone has one."""
    if sum(v > 0 for v in shares) == 1:
        return [Way(shares, REGIONS[0], SILENCES[0])]
    return [Way(shares, region, absent) for region in REGIONS for absent in SILENCES]


def mixtures(n: int) -> list[Mixture]:
    """Shares of ``n`` systems to try, those of few systems first; they add up to 1."""
    steps = 4 if n < 5 else 2
    shares = [p for p in itertools.product(range(steps + 1), repeat=n) if sum(p) == steps]
    return [tuple(v / steps for v in p) for p in sorted(shares, key=lambda p: (sum(v > 0 for v in p), p))]


def search_weights(
    systems: Mapping[str, Mapping[str, Path]],
    labels: Mapping[str, Path],
    settings: FusionSettings | None = None,
    *,
    seed: int = 0,
    n_resamples: int = 1000,
    use_cache: bool = True,
    progress: Progress = no_progress,
) -> FusionSearch:
    """Find how much each system should count.

    Parameters
    ----------
    systems : mapping of str to (mapping of str to Path)
        Prediction files by recording, by the name of the system; recordings that all of them have, with labels, count.
    labels : mapping of str to Path
    settings : FusionSettings, optional
        ``region`` and ``absent`` are searched, the others stay.
    seed : int
    n_resamples : int
        Of the interval.
    use_cache : bool
    progress : Progress
        Told after each recording; may raise :class:`sai_core.errors.CancelledError`.

    Raises
    ------
    InputError
        Fewer than two systems; fewer than two recordings that all have; no labels in the searched half.
    """
    settings = settings or FusionSettings()
    names = tuple(systems)
    common = check_search(systems, labels)
    order = np.random.default_rng(seed).permutation(len(common))
    middle = (len(order) + 1) // 2
    searched = tuple(common[i] for i in sorted(order[:middle].tolist()))
    held_out = tuple(common[i] for i in sorted(order[middle:].tolist()))
    tried = [way for shares in mixtures(len(names)) for way in _ways(shares)]
    found: dict[Way, list[RecordingScores]] = {way: [] for way in tried}
    for k, name in enumerate(searched):
        step = part_of(progress, 0.5 * k / len(searched), 0.5 * (k + 1) / len(searched))
        step(0.0, f"{name}: {len(tried)} mixtures")
        tables, truth = _read(systems, labels, name, use_cache)
        for shares in mixtures(len(names)):
            for way, scores in _scores(tables, truth, _ways(shares), settings, use_cache).items():
                found[way].append(scores)
    if not any(s.n_labels.sum() for s in found[tried[0]]):
        raise InputError("The searched recordings hold no labels; take more recordings or another seed.")
    best, value = tried[0], -math.inf
    for way in tried:
        figure = merge(found[way]).macro.mean_ap
        # the first of equally good ones stays, and only more than rounding is better
        if figure > value + 1e-9:
            best, value = way, figure
    units = [_ways(tuple(float(k == j) for j in range(len(names))))[0] for k in range(len(names))]
    figures = [merge(found[unit]).macro.mean_ap for unit in units]
    best_alone = int(np.nanargmax(figures))
    # the other half: each alone, and what was found
    chosen: dict[Way, list[RecordingScores]] = {way: [] for way in dict.fromkeys([*units, best])}
    for k, name in enumerate(held_out):
        part_of(progress, 0.5, 0.95)(k / len(held_out), f"{name}: held out")
        tables, truth = _read(systems, labels, name, use_cache)
        for way, of_half in chosen.items():
            of_half.append(_scores(tables, truth, [way], settings, use_cache)[way])
    alone = tuple((merge(found[unit]), merge(chosen[unit])) for unit in units)
    difference = _difference(chosen[best], chosen[units[best_alone]], n_resamples, seed)
    progress(1.0, "done")
    return FusionSearch(
        names,
        best.shares,
        replace(settings, absent=best.absent, region=best.region),
        seed,
        searched,
        held_out,
        alone,
        (merge(found[best]), merge(chosen[best])),
        best_alone,
        difference,
        len(tried),
        n_resamples,
    )


def check_search(systems: Mapping[str, Mapping[str, Path]], labels: Mapping[str, Path]) -> list[str]:
    """Recordings that can be searched on, sorted; looked at before long work.

    Raises
    ------
    InputError
        Fewer than two systems or recordings.
    """
    if len(systems) < 2:
        raise InputError("Weights are searched among two prediction sets or more; give another one.")
    common = sorted(set(labels).intersection(*systems.values()))
    if len(common) < 2:
        raise InputError(
            f"{_count(common)} with labels {'is' if len(common) == 1 else 'are'} in all of these prediction sets; "
            "weights are searched on some and reported on others, so two are needed."
        )
    return common


def _read(
    systems: Mapping[str, Mapping[str, Path]], labels: Mapping[str, Path], name: str, use_cache: bool
) -> tuple[list[AnnotationTable], AnnotationTable]:
    *tables, truth = (
        read_annotations(files[name], recording=name, check_canvas=True, unknown_classes="drop", use_cache=use_cache)
        for files in (*systems.values(), labels)
    )
    return tables, truth


def _scores(
    tables: Sequence[AnnotationTable],
    truth: AnnotationTable,
    ways: Sequence[Way],
    settings: FusionSettings,
    use_cache: bool,
) -> dict[Way, RecordingScores]:
    """Scores of mixtures with the same shares; how silence counts changes scores alone: one matching serves all."""
    parts, weight = with_a_say(tables, ways[0].shares)
    clusters = cluster(parts, weight, settings)
    result = {}
    for region in dict.fromkeys(way.region for way in ways):
        table = joined(parts, weight, clusters, replace(settings, region=region))
        base = score_recording(truth, table, use_cache=use_cache)
        for way in ways:
            if way.region == region:
                score, _ = mean_scores(parts, weight, clusters, way.absent)
                result[way] = replace(base, detection_score=score)
    return result


def _difference(
    ours: Sequence[RecordingScores], theirs: Sequence[RecordingScores], n: int, seed: int
) -> tuple[float, float, float]:
    a, b = (merge(scores).macro.mean_ap for scores in (ours, theirs))
    if len(ours) < 2:
        return a - b, math.nan, math.nan
    column = len(merge(ours).thresholds)
    drawn = [bootstrap(scores, n=n, seed=seed).macro[:, column] for scores in (ours, theirs)]
    delta: npt.NDArray[np.float64] = drawn[0] - drawn[1]
    delta = delta[~np.isnan(delta)]
    if not len(delta):
        return a - b, math.nan, math.nan
    low, high = np.percentile(delta, [2.5, 97.5])
    return a - b, float(low), float(high)


def fusion_table(found: FusionSearch) -> Table:
    """Each system alone and the mixture, on both halves."""
    keys: dict[str, Callable[[Evaluation], float]] = {
        "macro mAP": lambda e: e.macro.mean_ap,
        "AP50": lambda e: e.macro.ap[1],
        "micro mAP": lambda e: e.micro.mean_ap,
        "Pearson r": lambda e: e.macro.pearson_r,
    }
    columns = [Column("weight", "weight", digits=2)]
    columns += [
        Column(f"{half}_{title}", title, group=group, better="higher")
        for half, group in (("searched", "searched"), ("held_out", "held out"))
        for title in keys
    ]
    values = [
        [weight, *(of(evaluation) for evaluation in pair for of in keys.values())]
        for weight, pair in zip((*found.weights, math.nan), (*found.alone, found.fused), strict=True)
    ]
    sources: tuple[Source, ...] = tuple("measured" for _ in values)
    note = (
        f"{found.n_tried} mixtures tried on {_count(found.searched)} for the best macro mAP, seed {found.seed}; "
        f"region {found.settings.region}, silence counts {found.settings.absent:g}, radius "
        f"{found.settings.radius_deg:g} degrees. {found.sentence()}"
    )
    return Table(
        "fusion · revision 2026-06-30",
        note,
        "System",
        (*found.names, "fused"),
        sources,
        tuple(columns),
        np.array(values),
    )
