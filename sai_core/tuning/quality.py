"""Learning a quality network (:mod:`sai_core.postprocess.quality`) from labelled recordings with raw detections.

What is taught is the share of the evaluator's IoU thresholds that each annotation reaches by the official matching of
the revision 2026-06-30: 0, 1/3, 2/3 or 1, by binary cross-entropy. Several networks of other beginnings are averaged.
It is learned on one half of the recordings and reported on the other.

All in NumPy: some ten thousand rows of thirty numbers take seconds, and the same seed gives the same network wherever
the linear algebra is the same.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from sai_core.errors import InputError
from sai_core.metrics import Figures, RecordingScores, bootstrap, merge
from sai_core.postprocess import PipelineSettings
from sai_core.postprocess.pipeline import quality_features
from sai_core.postprocess.quality import FEATURES, QualityNetwork, sigmoid
from sai_core.progress import Progress, no_progress
from sai_core.tuning.bench import TuningSet, detections_in_range

Float64 = npt.NDArray[np.float64]

MEMBERS: Final[int] = 3
HIDDEN: Final[int] = 32
PASSES: Final[int] = 6
"""Over all annotations."""

BATCH: Final[int] = 512
MIN_STEPS: Final[int] = 400
"""Of sets so small that six passes would teach too little: of 4 to 16 simulated recordings 200 to 400 steps were best,
and 800 worse."""

RATE: Final[float] = 3e-3
"""Highest learning rate: it rises for a third of the steps, then falls, both along a cosine."""

DECAY: Final[float] = 0.1
"""Of weights, decoupled (AdamW; Loshchilov and Hutter, 2019)."""

FIGURES: Final[dict[str, str]] = {"mAP": "macro mAP", "AP25": "AP25", "AP50": "AP50", "AP75": "AP75"}


def learn_network(features: Float64, share: Float64, *, seed: int, progress: Progress = no_progress) -> QualityNetwork:
    """Teach a network the share of thresholds that each annotation reaches.

    Parameters
    ----------
    features : float64, shape (n, k)
        As of :func:`sai_core.postprocess.quality.features_of`.
    share : float64, shape (n,)
        In [0, 1].
    seed : int
    progress : Progress
        May raise :class:`sai_core.errors.CancelledError`.

    Raises
    ------
    InputError
        Nothing to learn from: no annotation reaches any threshold.
    """
    if not len(share) or not share.any():
        raise InputError(
            "No detection of the learned part is right at any IoU, so that there is nothing to learn; take more "
            "recordings or another seed."
        )
    mean, deviation = features.mean(axis=0), features.std(axis=0) + 1e-6
    members = []
    for member in range(MEMBERS):
        rng = np.random.default_rng([seed, member])
        blank = QualityNetwork(
            mean.astype(np.float32), deviation.astype(np.float32), *(np.zeros(0, np.float32) for _ in range(6))
        )
        members.append(_member(blank.scaled(features), share, rng))
        progress((member + 1) / MEMBERS, f"{member + 1} of {MEMBERS} networks")
    stacked = [np.stack(parts).astype(np.float32) for parts in zip(*members, strict=True)]
    return replace(
        blank, **dict(zip(("weight1", "bias1", "weight2", "bias2", "weight3", "bias3"), stacked, strict=True))
    )


def _member(read: Float64, share: Float64, rng: np.random.Generator) -> list[npt.NDArray]:
    """Weights of one network, in the order of :class:`QualityNetwork`."""
    n, k = read.shape
    sizes = ((k, HIDDEN), (HIDDEN,), (HIDDEN, HIDDEN), (HIDDEN,), (HIDDEN,), ())
    fans = (k, k, HIDDEN, HIDDEN, HIDDEN, HIDDEN)
    weights = [rng.uniform(-1, 1, size) / math.sqrt(fan) for size, fan in zip(sizes, fans, strict=True)]
    first, second = [np.zeros(size) for size in sizes], [np.zeros(size) for size in sizes]
    steps = max(MIN_STEPS, PASSES * n // BATCH)
    for step in range(steps):
        rows = rng.integers(0, n, BATCH)
        gradients = _gradients(weights, read[rows], share[rows])
        rate = _rate((step + 1) / steps)
        for i, gradient in enumerate(gradients):
            first[i] = 0.9 * first[i] + 0.1 * gradient
            second[i] = 0.999 * second[i] + 0.001 * gradient**2
            step_of = first[i] / (1 - 0.9 ** (step + 1))
            spread = np.sqrt(second[i] / (1 - 0.999 ** (step + 1))) + 1e-8
            weights[i] = weights[i] * (1 - rate * DECAY) - rate * step_of / spread
    return [np.asarray(w) for w in weights]


def _rate(part: float) -> float:
    """Learning rate at a part (0 to 1) of all steps: from a 25th up, then down to nothing."""
    if part < 0.3:
        return RATE * (0.04 + 0.48 * (1 - math.cos(math.pi * part / 0.3)))
    return RATE * 0.5 * (1 + math.cos(math.pi * (part - 0.3) / 0.7))


def _gradients(weights: Sequence[npt.NDArray], read: Float64, share: Float64) -> list[npt.NDArray]:
    """Of the mean binary cross-entropy, by each of the weights."""
    w1, b1, w2, b2, w3, b3 = weights
    z1 = read @ w1 + b1
    s1 = sigmoid(z1)
    a1 = z1 * s1
    z2 = a1 @ w2 + b2
    s2 = sigmoid(z2)
    a2 = z2 * s2
    out = (sigmoid(a2 @ w3 + b3) - share) / len(share)
    d2 = out[:, None] * w3 * (s2 + a2 * (1 - s2))
    d1 = (d2 @ w2.T) * (s1 + a1 * (1 - s1))
    return [read.T @ d1, d1.sum(axis=0), a1.T @ d2, d2.sum(axis=0), a2.T @ out, out.sum()]


@dataclass(frozen=True, eq=False)
class QualityPart:
    """One part of one detector's recordings, before and after.

    Attributes
    ----------
    detector : int
        Which of the sets that were given, from 0.
    names : tuple of str
        Recordings, or frames of one.
    before, after : Figures
        Macro, of revision 2026-06-30.
    micro_before, micro_after : float
        Micro mAP.
    low, high : float
        95 % interval of the change of macro mAP by bootstrap over recordings; NaN with fewer than two.
    """

    detector: int
    names: tuple[str, ...]
    before: Figures
    after: Figures
    micro_before: float
    micro_after: float
    low: float
    high: float


@dataclass(frozen=True, eq=False)
class QualityFit:
    """A learned network with its figures.

    Attributes
    ----------
    network : QualityNetwork
    seed : int
        Of the division, of the beginnings and of the intervals.
    learned, held_out : tuple of QualityPart
        One for each set: where the network of the figures was learned (which flatters), and where not.
    n_rows : int
        Annotations that :attr:`network` was learned from.
    from_all : bool
        :attr:`network` was learned from both parts after the figures, which are of one that was learned from the first.
    by_time : bool
        The parts are the halves of one recording.
    n_resamples : int
    """

    network: QualityNetwork
    seed: int
    learned: tuple[QualityPart, ...]
    held_out: tuple[QualityPart, ...]
    n_rows: int
    from_all: bool
    by_time: bool
    n_resamples: int

    def notes(self) -> dict[str, str]:
        """Provenance, for the file."""
        names = sorted({n for part in (*self.learned, *(self.held_out if self.from_all else ())) for n in part.names})
        return {
            "seed": str(self.seed),
            "annotations": str(self.n_rows),
            "learned_from": ", ".join(names[:200]) + (f" and {len(names) - 200} more" if len(names) > 200 else ""),
            "form": f"{MEMBERS} networks {len(FEATURES)}-{HIDDEN}-{HIDDEN}-1, {PASSES} passes",
        }

    def to_json(self) -> dict[str, Any]:
        """Everything but the weights as a JSON object; undefined is None."""

        def part(half: QualityPart) -> dict[str, Any]:
            row: dict[str, Any] = {"detector": half.detector, "names": list(half.names)}
            for key, figures in (("before", half.before), ("after", half.after)):
                row[key] = {name: _null(value) for name, value in _values(figures).items()}
            row["micro_before"], row["micro_after"] = _null(half.micro_before), _null(half.micro_after)
            row["change"] = [_null(v) for v in (half.after.mean_ap - half.before.mean_ap, half.low, half.high)]
            return row

        return {
            "revision": "2026-06-30",
            "seed": self.seed,
            "annotations": self.n_rows,
            "from_all": self.from_all,
            "by_time": self.by_time,
            "resamples": self.n_resamples,
            "learned": [part(p) for p in self.learned],
            "held_out": [part(p) for p in self.held_out],
        }

    def text(self) -> str:
        """Figures as lines for the terminal."""
        lines = [f"{'':34}" + "".join(f"{title:>22}" for title in (*FIGURES.values(), "micro mAP"))]
        for where, parts in (("learned from", self.learned), ("held out", self.held_out)):
            for part in parts:
                several = f", raw {part.detector + 1}" if len(parts) > 1 else ""
                count = f"{len(part.names)} recording{'s' * (len(part.names) != 1)}" if not self.by_time else "a half"
                before, after = _values(part.before), _values(part.after)
                pairs = [(before[name], after[name]) for name in FIGURES] + [(part.micro_before, part.micro_after)]
                title = f"{where}{several}: {count}"
                lines.append(f"{title:34}" + "".join(f"{_number(a)} -> {_number(b)}".rjust(22) for a, b in pairs))
        for part in self.held_out:
            change = part.after.mean_ap - part.before.mean_ap
            several = f"raw {part.detector + 1}: " if len(self.held_out) > 1 else ""
            if math.isnan(part.low):
                lines.append(
                    f"{several}macro mAP {change:+.4f} where it was not learned; no interval of one recording."
                )
            else:
                lines.append(
                    f"{several}macro mAP {change:+.4f} where it was not learned (95 % {part.low:+.4f} to "
                    f"{part.high:+.4f}, {self.n_resamples} draws of recordings, seed {self.seed})."
                )
        if self.from_all:
            lines.append(
                f"The network that is written was learned again, from all recordings ({self.n_rows} annotations); the "
                "figures are of the one from the first half."
            )
        return "\n".join(lines)


def _values(figures: Figures) -> dict[str, float]:
    return {"mAP": figures.mean_ap, **{f"AP{t}": float(ap) for t, ap in zip((25, 50, 75), figures.ap, strict=True)}}


def _null(value: float) -> float | None:
    return None if math.isnan(value) else float(value)


def _number(value: float) -> str:
    return "-" if math.isnan(value) else f"{value:.4f}"


@dataclass(frozen=True, eq=False)
class _Rows:
    """One recording of one set: what is read, what is taught, and the scores that are replaced."""

    detector: int
    name: str
    features: Float64
    scores: RecordingScores
    n_frames: int
    end: int

    @property
    def share(self) -> Float64:
        return self.scores.detection_hit.mean(axis=1)


def fit_quality(
    tuning_sets: Sequence[TuningSet],
    settings: PipelineSettings,
    *,
    seed: int = 0,
    from_all: bool = False,
    n_resamples: int = 1000,
    progress: Progress = no_progress,
) -> QualityFit:
    """Learn a network on half of the recordings, and report on both halves.

    Parameters
    ----------
    tuning_sets : sequence of TuningSet
        One for each detector that the network is to serve. The recordings of all are divided by their names, so that
        none is learned from by one detector and reported by another. With one recording its first half in time is
        learned from.
    settings : PipelineSettings
        A quality network, or calibration, that they have is left out: "before" is without any.
    seed : int
    from_all : bool
        Learn again from all recordings, after the figures.
    n_resamples : int
        Of the intervals.
    progress : Progress
        May raise :class:`sai_core.errors.CancelledError`.

    Raises
    ------
    InputError
        Settings that do not go with a network; raw detections without a field; no detection of the learned part that
        is right at any threshold.
    """
    plain = replace(settings, temperature={}, isotonic={}, quality="")
    replace(plain, quality="to be learned")  # what does not go with a network is refused before long work
    rows: list[_Rows] = []
    total = sum(len(s) for s in tuning_sets)
    for detector, tuning_set in enumerate(tuning_sets):
        chosen = tuning_set.resolved(plain)
        for recording in tuning_set.recordings:
            features = quality_features(recording.candidates(chosen), recording.tracks(chosen))
            end = max(recording.n_frames, recording.labels.n_frames)
            scores = recording.scores(chosen)
            rows.append(_Rows(detector, recording.name, features, scores, recording.n_frames, end))
            progress(0.6 * len(rows) / total, f"{len(rows)} of {total} recordings")
    names = sorted({r.name for r in rows})
    by_time = len(names) == 1
    order = np.random.default_rng(seed).permutation(len(names))
    first = {names[i] for i in order[: (len(order) + 1) // 2]}

    def in_first(row: _Rows) -> npt.NDArray[np.bool_]:
        if by_time:
            return row.scores.detection_frame < row.n_frames // 2
        return np.full(len(row.features), row.name in first)

    inside = [in_first(r) for r in rows]
    features = np.concatenate([r.features[k] for r, k in zip(rows, inside, strict=True)])
    share = np.concatenate([r.share[k] for r, k in zip(rows, inside, strict=True)])
    network = learn_network(features, share, seed=seed)
    progress(0.8, "the network is learned")
    parts: list[list[QualityPart]] = [[], []]
    for detector in range(len(tuning_sets)):
        own = [r for r in rows if r.detector == detector]
        for k, half in enumerate(parts):
            if by_time:
                [row] = own
                span = (0, row.n_frames // 2) if k == 0 else (row.n_frames // 2, row.end)
                title = f"{row.name}, frames {span[0]} to {span[1] - 1}"
                both = [[detections_in_range(s, *span)] for s in (row.scores, _ranked(row, network))]
                half.append(_part(detector, (title,), both[0], both[1], n_resamples, seed))
                continue
            of_half = [r for r in own if (r.name in first) == (k == 0)]
            if of_half:
                after = [_ranked(r, network) for r in of_half]
                before = [r.scores for r in of_half]
                half.append(_part(detector, tuple(r.name for r in of_half), before, after, n_resamples, seed))
    if from_all:
        features, share = np.concatenate([r.features for r in rows]), np.concatenate([r.share for r in rows])
        network = learn_network(features, share, seed=seed)
    progress(1.0, "done")
    return QualityFit(network, seed, tuple(parts[0]), tuple(parts[1]), len(share), from_all, by_time, n_resamples)


def _ranked(row: _Rows, network: QualityNetwork) -> RecordingScores:
    """Scores as they are written with the network: pairs are assigned by IoU, so that nothing else changes."""
    return replace(row.scores, detection_score=np.round(network.of(row.features), 6))


def _part(
    detector: int,
    names: tuple[str, ...],
    before: Sequence[RecordingScores],
    after: Sequence[RecordingScores],
    n_resamples: int,
    seed: int,
) -> QualityPart:
    low = high = math.nan
    if len(before) > 1:
        # the same seed draws the same recordings
        drawn = [bootstrap(scores, n=n_resamples, seed=seed) for scores in (before, after)]
        column = len(drawn[0].evaluation.thresholds)
        low, high = np.nanpercentile(drawn[1].macro[:, column] - drawn[0].macro[:, column], [2.5, 97.5]).tolist()
    a, b = merge(before), merge(after)
    return QualityPart(detector, names, a.macro, b.macro, a.micro.mean_ap, b.micro.mean_ap, low, high)
