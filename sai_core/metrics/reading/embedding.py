"""Detections and missed labels as points: the instance embedding of their raw candidates, seen along two axes.

A network gives each candidate an embedding (:mod:`sai_core.detections.raw`); a prediction file does not hold it. So
each detection is led back to its candidate in the raw store of the same frame:

* by score: the candidate whose score of the detection's class, or whose objectness, is the detection's to six
  decimals;
* by place, where scores were changed afterwards (calibration, coasting): the strongest candidate of the detection's
  class whose box holds the detection's strongest point.

A label that nothing overlaps is shown at the strongest candidate, of any class, whose box holds the label's strongest
point, unless that one is a detection's. Each candidate is one point at most. What cannot be led back is left out and
counted. A label that is found is not a point of its own: its detection is.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from sai_core.detections.raw import RawDetections, open_raw
from sai_core.errors import InputError
from sai_core.metrics.evaluation.score_store import RecordingResult, read_pair
from sai_core.metrics.official.directions import region_peak_direction
from sai_core.metrics.official.pairing_0630 import candidate_pairs
from sai_core.metrics.official.revisions import Revision
from sai_core.metrics.reading.drilldown import MISSED, Moments, detection_moments, join, label_moments
from sai_core.metrics.reading.systems import SystemResult
from sai_core.progress import Progress, no_progress

Float32 = npt.NDArray[np.float32]
Float64 = npt.NDArray[np.float64]
Int64 = npt.NDArray[np.int64]

THRESHOLD: Final[float] = 0.5
"""IoU from which a detection is a hit."""

AT_MOST: Final[int] = 4000
"""Points that are drawn: more hide each other, and a browser gets slow."""

_SAME_SCORE: Final[float] = 2e-6
"""Files have six decimals, and a tie-break takes less than one of the last off."""

_MARGIN_PX: Final[float] = 1.0
"""Of a box: strongest points lie on whole pixels."""


@dataclass(frozen=True, eq=False)
class Embedding:
    """Points of one system.

    Attributes
    ----------
    name : str
        Of the system.
    revision : str
        By which hits and errors are told.
    moments : Moments
        One for each point: recording, frame, class, kind of error at IoU 0.5, label and detection.
    vectors : float32, shape (n, d)
        Embeddings as the raw store has them.
    xy : float64, shape (n, 2)
        Along the two main axes (:func:`principal_axes`) of all points.
    variance : float64, shape (2,)
        Share of the variance that each axis holds.
    candidate_category, candidate_score : int64 and float64, shape (n,)
        The network's own class of the candidate and its score.
    shown : int64, shape (k,)
        Points to draw, rising: all, or a sample by ``seed``.
    seed : int
    n_detections, by_score, by_place : int
        Detections, and those that were led back in either way.
    n_missed, missed_shown : int
        Labels that nothing overlaps, and those with a candidate of their own.
    not_finite : int
        Candidates left out because their embedding is not a number.
    without : tuple of str
        Recordings without a finished raw store, which are left out.
    """

    name: str
    revision: Revision
    moments: Moments
    vectors: Float32
    xy: Float64
    variance: Float64
    candidate_category: Int64
    candidate_score: Float64
    shown: Int64
    seed: int
    n_detections: int
    by_score: int
    by_place: int
    n_missed: int
    missed_shown: int
    not_finite: int
    without: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.moments)


def principal_axes(vectors: npt.NDArray[np.floating]) -> tuple[Float64, Float64, Float64]:
    """The two directions in which points differ most (PCA by a singular value decomposition).

    Parameters
    ----------
    vectors : floating, shape (n, d)
        Finite.

    Returns
    -------
    xy : float64, shape (n, 2)
        Points along the axes, from their mean; 0 along an axis that does not exist (fewer than two points or columns).
    axes : float64, shape (2, d)
        Unit vectors. A decomposition leaves their signs open: the component of largest size, the first of equals, is
        positive.
    variance : float64, shape (2,)
        Share of the variance that each holds; 0 where nothing differs.
    """
    n, d = vectors.shape
    xy, axes, variance = np.zeros((n, 2)), np.zeros((2, d)), np.zeros(2)
    if not n or not d:
        return xy, axes, variance
    centred = vectors.astype(np.float64)
    centred -= centred.mean(axis=0)
    _, size, rows = np.linalg.svd(centred, full_matrices=False)
    k = min(2, len(rows))
    total = float((size**2).sum())
    axes[:k] = rows[:k]
    for axis in axes:
        # sizes that agree but for rounding are equal, or another processor would choose another one
        largest = int(np.argmax(np.round(np.abs(axis), 9)))
        if axis[largest] < 0:
            axis *= -1
    if total > 0:
        variance[:k] = size[:k] ** 2 / total
    return centred @ axes.T, axes, variance


def rows_of_detections(
    raw: RawDetections, frame: Int64, category: Int64, score: Float64, x: Float64, y: Float64
) -> tuple[Int64, npt.NDArray[np.bool_]]:
    """Candidate of each detection, one to one.

    Parameters
    ----------
    raw : RawDetections
    frame, category : int64, shape (n,)
    score : float64, shape (n,)
    x, y : float64, shape (n,)
        Strongest point in canvas pixels, label grid; NaN without.

    Returns
    -------
    rows : int64, shape (n,)
        Row of the raw store; -1 without.
    by_score : bool, shape (n,)
        Found by score, not by place.
    """
    row, detection = candidate_pairs(frame, raw.frame.astype(np.int64))
    strength = raw.class_scores[row, category[detection]].astype(np.float64)
    inside = _inside(raw, row, x[detection], y[detection])
    close = np.abs(strength - score[detection]) <= _SAME_SCORE
    close |= np.abs(raw.objectness[row].astype(np.float64) - score[detection]) <= _SAME_SCORE
    by_place = inside & (raw.category_id[row] == category[detection])
    kept = close | by_place
    row, detection, strength, inside, close = (v[kept] for v in (row, detection, strength, inside, close))
    # surest first: score and place, score, place alone; then the strongest
    order = np.lexsort((row, detection, -strength, ~inside, ~close))
    rows, found = np.full(len(frame), -1, np.int64), np.zeros(len(frame), np.bool_)
    taken = np.zeros(len(raw), np.bool_)
    for k, i, same in zip(row[order].tolist(), detection[order].tolist(), close[order].tolist(), strict=True):
        if rows[i] < 0 and not taken[k]:
            rows[i], taken[k], found[i] = k, True, same
    return rows, found


def rows_of_places(raw: RawDetections, frame: Int64, x: Float64, y: Float64) -> Int64:
    """Strongest candidate, of any class, whose box holds each point; -1 without. Arguments as above."""
    row, detection = candidate_pairs(frame, raw.frame.astype(np.int64))
    kept = _inside(raw, row, x[detection], y[detection])
    row, detection = row[kept], detection[kept]
    order = np.lexsort((row, -raw.own_scores[row], detection))
    owner, first = np.unique(detection[order], return_index=True)
    rows = np.full(len(frame), -1, np.int64)
    rows[owner] = row[order][first]
    return rows


def _inside(raw: RawDetections, row: Int64, x: Float64, y: Float64) -> npt.NDArray[np.bool_]:
    """Whether boxes hold points; a box may lie over the seam."""
    x0, y0, x1, y1 = raw.boxes_xyxy[row].astype(np.float64).T
    across = np.mod(x - x0 + _MARGIN_PX, 360.0) <= x1 - x0 + 2 * _MARGIN_PX  # False for NaN
    return across & (y >= y0 - _MARGIN_PX) & (y <= y1 + _MARGIN_PX)


def embedding_of_files(
    system: SystemResult,
    labels: Mapping[str, Path],
    predictions: Mapping[str, Path],
    stores: Mapping[str, Path],
    *,
    seed: int = 0,
    at_most: int = AT_MOST,
    use_cache: bool = True,
    progress: Progress = no_progress,
) -> Embedding:
    """Points of a system that is scored already.

    Parameters
    ----------
    system : SystemResult
    labels, predictions : mapping of str to Path
        Files by recording name.
    stores : mapping of str to Path
        Raw stores by recording name; recordings without one are left out.
    seed : int
        Of the sample that is drawn.
    at_most : int
        Points that are drawn.
    use_cache : bool
        Read annotations through their cache.
    progress : Progress

    Raises
    ------
    InputError
        No recording has a finished raw store; stores hold no embeddings, or of different lengths; a file that cannot be
        read.
    """
    parts: list[tuple[Moments, Float32, Int64, Float64]] = []
    counts = np.zeros(6, dtype=np.int64)
    without, length = [], -1
    for k, result in enumerate(system.results):
        progress(k / len(system.results), f"{result.recording} ({k + 1} of {len(system.results)})")
        raw = open_raw(stores[result.recording]) if result.recording in stores else None
        if raw is None:
            without.append(result.recording)
            continue
        if not raw.embedding.shape[1]:
            raise InputError(
                f"{result.recording}: its raw detections hold no embeddings (the official baseline gives none); "
                "predict with a detector that has model.embedding_dim above 0."
            )
        if length not in (-1, raw.embedding.shape[1]):
            raise InputError(
                f"{result.recording}: its embeddings have {raw.embedding.shape[1]} numbers, those before {length}: "
                "they are of different networks; predict all recordings with one."
            )
        length = raw.embedding.shape[1]
        tables = read_pair(
            labels[result.recording],
            predictions[result.recording],
            recording=result.recording,
            revision=system.revision,
            use_cache=use_cache,
        )
        part, part_counts = _points_of(result, raw, *(_canvas(*region_peak_direction(t)) for t in tables))
        parts.append(part)
        counts += part_counts
    if not parts:
        raise InputError(
            f"{system.name}: no scored recording has a finished store of raw detections; predict with "
            "`python -m sai_core predict` to have them beside the prediction files."
        )
    n_detections, by_score, by_place, n_missed, missed_shown, not_finite = map(int, counts)
    vectors = np.concatenate([p[1] for p in parts])
    xy, _, variance = principal_axes(vectors)
    n = len(vectors)
    shown = np.arange(n)
    if n > at_most:
        shown = np.sort(np.random.default_rng(seed).choice(n, at_most, replace=False))
    progress(1.0, "")
    return Embedding(
        system.name,
        system.revision,
        join([p[0] for p in parts]),
        vectors,
        xy,
        variance,
        np.concatenate([p[2] for p in parts]),
        np.concatenate([p[3] for p in parts]),
        shown,
        seed,
        n_detections,
        by_score,
        by_place,
        n_missed,
        missed_shown,
        not_finite,
        tuple(without),
    )


def _canvas(azimuth_deg: Float64, elevation_deg: Float64) -> tuple[Float64, Float64]:
    return np.mod(180.0 - azimuth_deg, 360.0), 90.0 - elevation_deg


def _points_of(
    result: RecordingResult,
    raw: RawDetections,
    of_label: tuple[Float64, Float64],
    of_prediction: tuple[Float64, Float64],
) -> tuple[tuple[Moments, Float32, Int64, Float64], Int64]:
    """Points of one recording, and the counts of :class:`Embedding` in their order."""
    detections = detection_moments([result], threshold=THRESHOLD)
    x, y = (v[detections.prediction] for v in of_prediction)
    rows, by_score = rows_of_detections(raw, detections.frame, detections.category, detections.score, x, y)
    missed = label_moments([result], threshold=THRESHOLD)
    missed = missed.take(missed.kind == MISSED)
    # the official assignment pairs what is left at random: no detection of theirs
    nothing = np.full(len(missed), np.nan)
    missed = replace(missed, iou=nothing, score=nothing, prediction=np.full(len(missed), -1))
    rows_missed = rows_of_places(raw, missed.frame, *(v[missed.label] for v in of_label))
    first = np.zeros(len(missed), np.bool_)
    first[np.unique(rows_missed, return_index=True)[1]] = True
    own = first & (rows_missed >= 0) & ~np.isin(rows_missed, rows[rows >= 0])
    linked = rows >= 0
    row = np.concatenate([rows[linked], rows_missed[own]])
    moments = join([detections.take(linked), missed.take(own)])
    vectors = raw.embedding[row].astype(np.float32)
    finite = np.isfinite(vectors).all(axis=1)
    n_by_score = int(by_score[linked].sum())
    counts = (
        len(detections), n_by_score, int(linked.sum()) - n_by_score, len(missed), int(own.sum()), int((~finite).sum()),
    )  # fmt: skip
    row = row[finite]
    points = (
        moments.take(finite),
        vectors[finite],
        raw.category_id[row].astype(np.int64),
        raw.own_scores[row].astype(np.float64),
    )
    return points, np.array(counts, dtype=np.int64)


def nearest(embedding: Embedding, index: int, *, n: int = 12, apart_frames: int = 10) -> tuple[Int64, Float64]:
    """Points most like one, in all dimensions, over all points, drawn or not.

    Neighbouring frames of one event are alike without telling anything: points of one recording are at least
    ``apart_frames`` from the chosen one and from each other.

    Parameters
    ----------
    embedding : Embedding
    index : int
        Point.
    n : int
        How many at most.
    apart_frames : int
        Frames of 100 ms.

    Returns
    -------
    indices : int64, shape (k,)
        The most similar first; k < n where there are no more.
    cosine : float64, shape (k,)
        Similarity, from -1 to 1: detectors are trained on the cosine. 0 to a vector of zeros.
    """
    vectors = embedding.vectors.astype(np.float64)
    norm = np.linalg.norm(vectors, axis=1)
    unit = np.divide(vectors, norm[:, None], out=np.zeros_like(vectors), where=norm[:, None] > 0)
    cosine = unit @ unit[index]
    recording, frame = embedding.moments.recording.tolist(), embedding.moments.frame.tolist()
    taken: dict[str, list[int]] = {recording[index]: [frame[index]]}
    found: list[int] = []
    for k in np.argsort(-np.round(cosine, 9), kind="stable").tolist():
        if len(found) == n:
            break
        near = taken.setdefault(recording[k], [])
        if all(abs(frame[k] - f) >= apart_frames for f in near):
            near.append(frame[k])
            found.append(k)
    indices = np.array(found, dtype=np.int64)
    return indices, cosine[indices]
