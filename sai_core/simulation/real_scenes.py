"""When sources sound in real recordings, and schedules drawn like them.

The figures are of the 121 metadata files of STARSS22's development set (Politis et al., DCASE 2022; zenodo 6600531):
:func:`measure` takes them from any folder of metadata, and ``python -m tests.benchmarks.bench_scenes`` holds drawn
schedules against them.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from sai_core.annotations import DcaseMetadata
from sai_core.taxonomy import N_CLASSES

FloatArray = npt.NDArray[np.float64]
Span = tuple[float, float]

_TALKERS: Final[tuple[int, ...]] = (0, 1)
SHARES: Final[FloatArray] = np.array([0.05, 0.25, 0.5, 0.75, 0.95])
"""Shares of the quantiles below."""


@dataclass(frozen=True)
class ClassFigures:
    """One class in real recordings.

    Attributes
    ----------
    sources : int
        Sources in all recordings.
    events : float
        Events of a source, mean.
    length_s, gap_s : tuple of 5 floats
        Quantiles (:data:`SHARES`) of an event's length and of the pause between two events of a source.
    """

    sources: int
    events: float
    length_s: tuple[float, ...]
    gap_s: tuple[float, ...]


@dataclass(frozen=True)
class SceneFigures:
    """Real recordings.

    Attributes
    ----------
    recordings : int
    length_s : float
        Of a recording, median.
    sources : tuple of 5 floats
        Quantiles (0, 0.25, 0.5, 0.75, 1) of the number of sources in a recording.
    talkers, others : tuple of int
        Recordings with 0, 1, 2 ... sources of speech, and of anything else.
    polyphony : tuple of 5 floats
        Share of frames with 0, 1, 2, 3, 4 and more sources.
    same_class : float
        Share of frames in which two sources of one class sound.
    classes : tuple of ClassFigures
    """

    recordings: int
    length_s: float
    sources: tuple[float, ...]
    talkers: tuple[int, ...]
    others: tuple[int, ...]
    polyphony: tuple[float, ...]
    same_class: float
    classes: tuple[ClassFigures, ...]


def measure(files: Iterable[DcaseMetadata]) -> SceneFigures:
    """Figures of metadata files; a recording ends with its last row."""
    lengths: list[list[float]] = [[] for _ in range(N_CLASSES)]
    gaps: list[list[float]] = [[] for _ in range(N_CLASSES)]
    sources = np.zeros(N_CLASSES, np.int64)
    polyphony, same, counts, durations = np.zeros(5), 0, [], []
    talkers, others = [], []
    for rows in files:
        n = int(rows.frame.max(initial=-1)) + 1
        sounding = np.zeros((n, N_CLASSES), np.int64)
        keys = np.unique(np.stack([rows.category_id.astype(np.int64), rows.source_id], axis=1), axis=0)
        for category, source in keys.tolist():
            frames = np.unique(rows.frame[(rows.category_id == category) & (rows.source_id == source)])
            sounding[frames, category] += 1
            cuts = np.flatnonzero(np.diff(frames) > 1)
            starts, stops = frames[np.r_[0, cuts + 1]], frames[np.r_[cuts, len(frames) - 1]] + 1
            lengths[category] += ((stops - starts) / 10).tolist()
            gaps[category] += ((starts[1:] - stops[:-1]) / 10).tolist()
            sources[category] += 1
        polyphony += np.bincount(np.minimum(sounding.sum(axis=1), 4), minlength=5)
        same += int(np.count_nonzero((sounding > 1).any(axis=1)))
        counts.append(len(keys))
        talkers.append(int(np.isin(keys[:, 0], _TALKERS).sum()))
        others.append(len(keys) - talkers[-1])
        durations.append(n / 10)
    total = max(1.0, float(polyphony.sum()))

    def quantiles(values: list[float]) -> tuple[float, ...]:
        return tuple(np.round(np.quantile(values, SHARES), 1).tolist()) if values else ()

    return SceneFigures(
        len(durations),
        float(np.median(durations)) if durations else 0.0,
        tuple(np.quantile(counts, (0, 0.25, 0.5, 0.75, 1)).tolist()) if counts else (),
        tuple(np.bincount(talkers).tolist()) if talkers else (),
        tuple(np.bincount(others).tolist()) if others else (),
        tuple(np.round(polyphony / total, 3).tolist()),
        round(same / total, 3),
        tuple(
            ClassFigures(int(n), round(len(lengths[c]) / n, 1) if n else 0.0, quantiles(lengths[c]), quantiles(gaps[c]))
            for c, n in enumerate(sources.tolist())
        ),
    )


STARSS22: Final[SceneFigures] = SceneFigures(
    121,
    130.5,
    (2.0, 4.0, 5.0, 7.0, 11.0),
    (5, 17, 77, 18, 4),
    (2, 7, 31, 26, 20, 19, 9, 5, 2),
    (0.139, 0.53, 0.254, 0.062, 0.016),
    0.058,
    (
        ClassFigures(64, 19.1, (0.5, 1.0, 1.5, 3.7, 10.5), (0.5, 1.5, 2.5, 5.0, 15.5)),
        ClassFigures(177, 14.1, (0.4, 1.0, 1.5, 3.2, 9.0), (1.0, 1.5, 3.0, 6.3, 19.9)),
        ClassFigures(35, 1.5, (0.8, 1.5, 2.0, 3.0, 6.0), (2.3, 10.5, 29.5, 46.2, 165.8)),
        ClassFigures(33, 1.5, (0.5, 1.5, 3.3, 7.4, 13.1), (0.9, 1.0, 1.8, 3.0, 5.3)),
        ClassFigures(141, 2.9, (0.4, 0.7, 1.0, 1.6, 3.0), (1.6, 8.0, 17.5, 35.2, 93.2)),
        ClassFigures(36, 1.7, (1.3, 11.8, 32.1, 80.2, 134.0), (1.4, 2.2, 3.7, 6.3, 18.9)),
        ClassFigures(54, 1.6, (0.3, 0.9, 2.0, 3.5, 5.9), (1.6, 3.0, 15.0, 23.0, 65.3)),
        ClassFigures(27, 1.7, (0.5, 0.8, 1.5, 2.5, 6.4), (1.7, 2.6, 4.1, 17.9, 79.9)),
        ClassFigures(48, 1.4, (16.6, 43.8, 66.2, 94.8, 174.2), (6.3, 7.7, 11.2, 12.5, 14.9)),
        ClassFigures(19, 2.2, (1.1, 14.5, 25.2, 48.6, 63.4), (2.0, 4.5, 20.0, 39.5, 68.7)),
        ClassFigures(11, 1.5, (2.1, 4.5, 9.0, 15.2, 60.6), (2.0, 4.5, 19.4, 22.5, 60.1)),
        ClassFigures(12, 5.8, (2.1, 2.9, 3.5, 4.4, 7.7), (2.2, 4.8, 10.2, 12.0, 17.3)),
        ClassFigures(11, 1.0, (0.4, 0.8, 0.9, 0.9, 1.1), ()),
    ),
)
"""The development set of STARSS22, classes in the official order."""


_TURNS: Final[float] = 0.75
"""Share of speech that waits until nobody else speaks: people take turns."""

_SHORTER: Final[float] = 0.65
"""Pauses of speech are drawn shorter by this factor, since waiting for the others' turns makes them longer."""

_OFTEN: Final[float] = 5.0
_FIRST_S: Final[float] = 4.0
_MOST_EVENTS: Final[int] = 400
_LONGEST: Final[float] = 0.95
"""Share of a recording that one event may take."""

_NO_GAP_S: Final[tuple[float, ...]] = (1.0, 3.0, 10.0, 20.0, 60.0)
"""Pauses of a class that has none in the figures."""


def draw(
    duration_s: float, max_overlap: int, rng: np.random.Generator, figures: SceneFigures = STARSS22
) -> tuple[tuple[int, ...], list[list[Span]]]:
    """Sources of a recording and when each sounds, like the figures.

    Parameters
    ----------
    duration_s : float
    max_overlap : int
        Most sources at once.
    rng : numpy.random.Generator
    figures : SceneFigures

    Returns
    -------
    classes : tuple of int
        Class of each source; a class may have several.
    spans : list of list of (start, length)
        In seconds on 10 ms, rising; a source may have none where nothing fitted.
    """
    # a short recording is a cut out of a long one: people go on talking, of the rest only some is heard
    share = min(1.0, duration_s / figures.length_s)
    n_talkers = int(rng.choice(len(figures.talkers), p=np.array(figures.talkers) / sum(figures.talkers)))
    n_others = int(rng.choice(len(figures.others), p=np.array(figures.others) / sum(figures.others)))
    n_others = int(rng.binomial(n_others, share**0.5))
    weights = np.array([c.sources for c in figures.classes], np.float64)
    speech = np.isin(np.arange(N_CLASSES), _TALKERS)
    classes = tuple(
        sorted(
            int(c)
            for count, kind in ((n_talkers, speech), (max(n_others, int(not n_talkers)), ~speech))
            for c in rng.choice(N_CLASSES, size=count, p=weights * kind / (weights * kind).sum())
        )
    )
    busy = np.zeros(round(duration_s * 100), np.int64)
    talking = np.zeros(busy.size, bool)
    spans: list[list[Span]] = [[] for _ in classes]
    for k in rng.permutation(len(classes)).tolist():
        known = figures.classes[classes[k]]
        often = known.events > _OFTEN
        # a source that sounds often does so all the time
        n_events = _MOST_EVENTS if often else int(rng.geometric(1 / max(1.0, known.events * share)))
        length = min(_drawn(known.length_s, rng), _LONGEST * duration_s)
        clock = float(rng.exponential(_FIRST_S) if often else rng.uniform(0.0, max(0.1, duration_s - length)))
        for _ in range(n_events):
            span = _place(classes[k] in _TALKERS, clock, max(0.3, length), duration_s, max_overlap, busy, talking, rng)
            if span is None:
                break
            spans[k].append(span)
            pause = _drawn(known.gap_s or _NO_GAP_S, rng)
            clock = span[0] + span[1] + (_SHORTER * pause if classes[k] in _TALKERS else pause)
            length = min(_drawn(known.length_s, rng), _LONGEST * duration_s)
    return classes, spans


def _drawn(quantiles: tuple[float, ...], rng: np.random.Generator) -> float:
    """A length of which these are the quantiles: straight lines between them on a logarithmic scale."""
    at = float(rng.uniform(SHARES[0], SHARES[-1]))
    return float(np.exp(np.interp(at, SHARES, np.log(np.maximum(quantiles, 0.1)))))


def _place(
    talks: bool,
    clock: float,
    length: float,
    duration_s: float,
    max_overlap: int,
    busy: npt.NDArray[np.int64],
    talking: npt.NDArray[np.bool_],
    rng: np.random.Generator,
) -> Span | None:
    """The first place from a time on where an event may sound; None where the recording ends before."""
    waits = talks and rng.random() < _TURNS
    length = min(length, duration_s - 0.4)
    while clock + length < duration_s - 0.2:
        a, b = round(clock * 100), round((clock + length) * 100)
        if busy[a:b].max(initial=0) < max_overlap and not (waits and talking[a:b].any()):
            busy[a:b] += 1
            if talks:
                talking[a:b] = True
            return round(max(clock, 0.1), 2), round(length, 2)
        clock += 0.5
    return None
