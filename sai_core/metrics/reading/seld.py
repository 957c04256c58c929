"""What the field reports beside the official figures: DCASE SELD scores and HOTA of directions.

Both look at rows (frame, class, source, direction, distance), not at regions: a label or detection counts with the
direction of its strongest point. A submission holds many weak detections, so a score that they must reach belongs
beside every figure here.

*SELD* follows the baseline code of DCASE 2024 and 2025 (macro averages, frames of 100 ms):

* within a frame and class, rows are paired by the least total angle, as many as possible;
* a pair is located where its angle is at most 20 degrees and its relative distance error at most 1;
* F = located / (pairs + (labels + predictions left over) / 2) per class; the official macro mean is over all 13
  classes, of which those without labels have 0;
* angle, distance and relative distance errors are means over all pairs, located or not, then over classes with pairs;
* recall is pairs over labels, its official mean over all 13 classes;
* the last labelled frame of a recording and everything behind it are not looked at, as in the official code;
* 2024: great-circle angle; 2025 (stereo): difference of azimuths folded to the front, (-90, 90). Whether a source is on
  the screen is not known here, and not asked for.

A pair in which a distance is missing has no distance errors and is located by its angle alone; the official code cannot
read such files.

*HOTA* (Luiten et al., IJCV 2021) with the similarity ``max(0, 1 - angle / 40)``, so that 20 degrees are 0.5, averaged
over thresholds 0.05 to 0.95. Sources are told apart by class and instance number, on both sides. Class-aware:
only rows of one class can match; class-agnostic: any. An identity switch is a source whose match at 20 degrees has
another number than at its last match.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
import numpy.typing as npt
from scipy.optimize import linear_sum_assignment

from sai_core.annotations import AnnotationTable, DcaseMetadata
from sai_core.errors import InputError
from sai_core.geometry import directions_to_vectors
from sai_core.metrics.evaluation.score_store import RecordingResult, read_pair
from sai_core.metrics.official.directions import region_peak_direction
from sai_core.metrics.reading.systems import SystemResult
from sai_core.metrics.reading.tables import Column, Source, Table
from sai_core.progress import Progress, no_progress
from sai_core.taxonomy import CLASS_NAMES, N_CLASSES

Int64 = npt.NDArray[np.int64]
Float64 = npt.NDArray[np.float64]
Convention = Literal["2024", "2025"]

LOCATED_DEG: Final[float] = 20.0
_RELATIVE_DISTANCE: Final[float] = 1.0
_EPS: Final[float] = float(np.finfo(np.float64).eps)
_SLACK: Final[float] = 1e-9
"""Of a similarity against its threshold: angles are exact to fewer digits than 10 degrees have."""

_ZERO_SIMILARITY_DEG: Final[float] = 40.0
_MEASURED: Final[Source] = "measured"
_ALPHAS: Final[Float64] = np.linspace(0.05, 0.95, 19)


@dataclass(frozen=True)
class SeldFigures:
    """SELD scores of one class or their macro mean.

    Attributes
    ----------
    n_labels, n_predictions, n_pairs : int
        Rows that were looked at.
    f20 : float
        Location-dependent F score, 20 degrees and relative distance 1.
    angle_deg, distance_m, relative_distance : float
        Mean errors of all pairs; NaN without any.
    recall : float
        Pairs over labels.
    """

    n_labels: int
    n_predictions: int
    n_pairs: int
    f20: float
    angle_deg: float
    distance_m: float
    relative_distance: float
    recall: float


@dataclass(frozen=True)
class SeldReport:
    """SELD scores of a set of recordings.

    Attributes
    ----------
    convention : str
        ``"2024"`` or ``"2025"``.
    macro : SeldFigures
        As the official code averages: F and recall over all 13 classes.
    macro_of_labelled : SeldFigures
        F and recall over the classes with labels only.
    per_class : tuple of SeldFigures
        Index = ``category_id``.
    """

    convention: str
    macro: SeldFigures
    macro_of_labelled: SeldFigures
    per_class: tuple[SeldFigures, ...]

    def to_json(self) -> dict[str, Any]:
        """Figures as a JSON object; undefined is None."""
        return {
            "convention": self.convention,
            "macro": _described(self.macro),
            "macro_of_labelled_classes": _described(self.macro_of_labelled),
            "per_class": {str(c): {"name": CLASS_NAMES[c], **_described(row)} for c, row in enumerate(self.per_class)},
        }


def _described(row: Any) -> dict[str, Any]:
    values = {name: getattr(row, name) for name in row.__dataclass_fields__}
    return {k: None if isinstance(v, float) and math.isnan(v) else v for k, v in values.items()}


def rows_of_table(table: AnnotationTable, *, min_score: float = 0.0) -> DcaseMetadata:
    """Annotations as DCASE rows: the direction of the strongest point, class, source, distance.

    Parameters
    ----------
    table : AnnotationTable
    min_score : float
        Predictions below it are left out; what has no score stays.

    Returns
    -------
    DcaseMetadata
        By frame. Annotations without points have no direction and are left out. A source number that occurs twice in
        a frame and class, or is absent, is replaced by the next free one there.
    """
    azimuth, elevation = region_peak_direction(table)
    kept = np.flatnonzero(~np.isnan(azimuth) & ~(table.score < min_score))
    frame, category = table.frame[kept], table.category_id[kept]
    source = table.instance_id[kept].copy()
    taken: dict[tuple[int, int], set[int]] = {}
    again = []
    for k, (f, c, s) in enumerate(zip(frame.tolist(), category.tolist(), source.tolist(), strict=True)):
        known = taken.setdefault((f, c), set())
        if s < 0 or s in known:
            again.append(k)
        else:
            known.add(s)
    for k in again:
        known = taken[int(frame[k]), int(category[k])]
        number = 0
        while number in known:
            number += 1
        known.add(number)
        source[k] = number
    return DcaseMetadata(
        frame,
        category,
        source,
        azimuth[kept],
        elevation[kept],
        table.distance_cm[kept],
        recording=table.recording,
    )


def seld_report(
    labels: Sequence[DcaseMetadata], predictions: Sequence[DcaseMetadata], *, convention: Convention = "2024"
) -> SeldReport:
    """SELD scores of rows against rows, recording by recording (by position in the lists).

    Parameters
    ----------
    labels, predictions : sequence of DcaseMetadata
    convention : {"2024", "2025"}
        Great-circle angles, or folded azimuths.

    Raises
    ------
    InputError
        Lists of different lengths, or an unknown convention.

    References
    ----------
    DCASE 2024 and 2025 baselines, ``SELDMetrics`` (behaviour); Politis et al., IEEE/ACM TASLP 2021.
    """
    if convention not in ("2024", "2025"):
        raise InputError(f"Unknown convention {convention!r}; use 2024 or 2025.")
    if len(labels) != len(predictions):
        raise InputError(_unequal(labels, predictions))
    n_labels, n_predictions, pairs, located, n_distances = np.zeros((5, N_CLASSES))
    angle_sum, distance_sum, relative_sum, left = np.zeros((4, N_CLASSES))
    for truth, found in zip(labels, predictions, strict=True):
        end = int(truth.frame.max(initial=0))
        truth, found = (_before(rows, end) for rows in (truth, found))
        n_labels += np.bincount(truth.category_id, minlength=N_CLASSES)
        n_predictions += np.bincount(found.category_id, minlength=N_CLASSES)
        keys = [rows.frame.astype(np.int64) * N_CLASSES + rows.category_id for rows in (truth, found)]
        for key in np.intersect1d(keys[0], keys[1]).tolist():
            a, b = (np.flatnonzero(side == key) for side in keys)
            angle = _angles(truth, found, a, b, convention)
            i, j = linear_sum_assignment(angle)
            error, category = angle[i, j], key % N_CLASSES
            true_m = truth.distance_cm[a[i]] / 100
            off = np.abs(true_m - found.distance_cm[b[j]] / 100)
            relative = off / (true_m + _EPS)
            known = ~np.isnan(off)
            pairs[category] += len(i)
            angle_sum[category] += error.sum()
            distance_sum[category] += off[known].sum()
            relative_sum[category] += relative[known].sum()
            n_distances[category] += np.count_nonzero(known)
            located[category] += np.count_nonzero((error <= LOCATED_DEG) & ~(relative > _RELATIVE_DISTANCE))
    left = n_labels + n_predictions - 2 * pairs
    f = np.divide(located, pairs + left / 2, out=np.zeros(N_CLASSES), where=pairs + left > 0)
    recall = np.divide(pairs, n_labels, out=np.zeros(N_CLASSES), where=n_labels > 0)
    errors = [
        np.divide(total, count, out=np.full(N_CLASSES, np.nan), where=count > 0)
        for total, count in ((angle_sum, pairs), (distance_sum, n_distances), (relative_sum, n_distances))
    ]
    angle_deg, distance_m, relative_distance = errors

    def mean(chosen: npt.NDArray[np.bool_]) -> SeldFigures:
        return SeldFigures(
            int(n_labels.sum()),
            int(n_predictions.sum()),
            int(pairs.sum()),
            float(f[chosen].mean()) if chosen.any() else math.nan,
            _mean(angle_deg),
            _mean(distance_m),
            _mean(relative_distance),
            float(recall[chosen].mean()) if chosen.any() else math.nan,
        )

    per_class = tuple(
        SeldFigures(
            int(n_labels[c]),
            int(n_predictions[c]),
            int(pairs[c]),
            float(f[c]) if n_labels[c] + n_predictions[c] else math.nan,
            float(angle_deg[c]),
            float(distance_m[c]),
            float(relative_distance[c]),
            float(recall[c]) if n_labels[c] else math.nan,
        )
        for c in range(N_CLASSES)
    )
    return SeldReport(convention, mean(np.ones(N_CLASSES, np.bool_)), mean(n_labels > 0), per_class)


def _unequal(labels: Sequence[DcaseMetadata], predictions: Sequence[DcaseMetadata]) -> str:
    return f"{len(labels)} recordings of labels and {len(predictions)} of predictions do not belong together."


def _before(rows: DcaseMetadata, end: int) -> DcaseMetadata:
    kept = rows.frame < end
    return DcaseMetadata(
        rows.frame[kept],
        rows.category_id[kept],
        rows.source_id[kept],
        rows.azimuth_deg[kept],
        rows.elevation_deg[kept],
        rows.distance_cm[kept],
        recording=rows.recording,
    )


def _angles(truth: DcaseMetadata, found: DcaseMetadata, a: Int64, b: Int64, convention: Convention) -> Float64:
    """Degrees between each label and each prediction, shape (len(a), len(b))."""
    if convention == "2025":
        folded = [_folded(rows.azimuth_deg[index]) for rows, index in ((truth, a), (found, b))]
        return np.abs(folded[0][:, None] - folded[1][None])
    label_vectors, found_vectors = (
        directions_to_vectors(rows.azimuth_deg[index], rows.elevation_deg[index])
        for rows, index in ((truth, a), (found, b))
    )
    return np.degrees(np.arccos(np.clip(label_vectors @ found_vectors.T, -1, 1)))


def _folded(azimuth_deg: Float64) -> Float64:
    """Azimuths mirrored to the front, degrees in [-90, 90]."""
    behind = np.abs(azimuth_deg) > 90
    return np.where(behind, np.sign(azimuth_deg) * 180 - azimuth_deg, azimuth_deg)


def _mean(values: Float64) -> float:
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else math.nan


@dataclass(frozen=True)
class Hota:
    """Higher order tracking accuracy of directions, means over the thresholds.

    Attributes
    ----------
    hota, detection, association, localisation : float
        In [0, 1]; NaN without rows. ``hota`` is the mean of the geometric mean of detection and association at each
        threshold, ``localisation`` the mean similarity of matches.
    n_switches : int
        Identity switches at 20 degrees.
    n_labels, n_predictions : int
        Rows.
    """

    hota: float
    detection: float
    association: float
    localisation: float
    n_switches: int
    n_labels: int
    n_predictions: int

    def to_json(self) -> dict[str, Any]:
        """Figures as a JSON object; undefined is None."""
        return _described(self)


def hota(labels: Sequence[DcaseMetadata], predictions: Sequence[DcaseMetadata], *, class_aware: bool = True) -> Hota:
    """HOTA of rows against rows, all recordings together (module docstring).

    Parameters
    ----------
    labels, predictions : sequence of DcaseMetadata
        By position in the lists.
    class_aware : bool
        Only rows of one class can match.

    Raises
    ------
    InputError
        Lists of different lengths.

    References
    ----------
    Luiten et al., "HOTA: A Higher Order Metric for Evaluating Multi-Object Tracking", IJCV 129 (2021), section 4 and
    appendix on the matching.
    """
    if len(labels) != len(predictions):
        raise InputError(_unequal(labels, predictions))
    n_alphas = len(_ALPHAS)
    hits, misses, false, associated, similarity_sum = np.zeros((5, n_alphas))
    n_switches = 0
    for truth, found in zip(labels, predictions, strict=True):
        part = _matches_of_recording(truth, found, class_aware)
        hits += part.hits
        misses += len(truth.frame) - part.hits
        false += len(found.frame) - part.hits
        associated += part.associated
        similarity_sum += part.similarity
        n_switches += part.n_switches
    total = hits + misses + false
    some = hits > 0
    detection = np.divide(hits, total, out=np.full(n_alphas, np.nan), where=total > 0)
    empty = np.where(total > 0, 0.0, np.nan)
    association = np.divide(associated, hits, out=empty.copy(), where=some)
    localisation = np.divide(similarity_sum, hits, out=np.full(n_alphas, np.nan), where=some)
    return Hota(
        float(np.sqrt(detection * association).mean()),
        float(detection.mean()),
        float(association.mean()),
        _mean(localisation),
        n_switches,
        sum(len(rows.frame) for rows in labels),
        sum(len(rows.frame) for rows in predictions),
    )


@dataclass(frozen=True)
class _RecordingMatches:
    hits: Float64
    associated: Float64
    similarity: Float64
    n_switches: int


def _matches_of_recording(truth: DcaseMetadata, found: DcaseMetadata, class_aware: bool) -> _RecordingMatches:
    label_id, n_label_frames = _identities(truth)
    found_id, n_found_frames = _identities(found)
    frames = np.intersect1d(truth.frame, found.frame)
    candidates = []
    potential = np.zeros((len(n_label_frames), len(n_found_frames)))
    for frame in frames.tolist():
        a, b = np.flatnonzero(truth.frame == frame), np.flatnonzero(found.frame == frame)
        similarity = np.clip(1 - _angles(truth, found, a, b, "2024") / _ZERO_SIMILARITY_DEG, 0, None)
        if class_aware:
            similarity[truth.category_id[a][:, None] != found.category_id[b][None]] = 0
        # how much of each row's similarity belongs to each pair, for an alignment over the whole recording
        whole = similarity.sum(axis=0)[None] + similarity.sum(axis=1)[:, None] - similarity
        share = np.divide(similarity, whole, out=np.zeros_like(similarity), where=whole > _EPS)
        np.add.at(potential, (label_id[a][:, None], found_id[b][None]), share)
        candidates.append((label_id[a], found_id[b], similarity))
    alignment = potential / np.maximum(n_label_frames[:, None] + n_found_frames[None] - potential, _EPS)
    hits, similarity_sum = np.zeros((2, len(_ALPHAS)))
    counts = np.zeros((len(_ALPHAS), *potential.shape))
    middle = int(np.argmin(np.abs(_ALPHAS - 0.5)))
    last: dict[int, int] = {}
    n_switches = 0
    for labels, predictions, similarity in candidates:
        # a small share of the similarity settles ties of the alignment
        i, j = linear_sum_assignment(-(alignment[labels[:, None], predictions[None]] * similarity))
        value = similarity[i, j]
        matched = value[None] >= _ALPHAS[:, None] - _SLACK
        hits += matched.sum(axis=1)
        similarity_sum += (matched * value[None]).sum(axis=1)
        for k in range(len(_ALPHAS)):
            np.add.at(counts[k], (labels[i[matched[k]]], predictions[j[matched[k]]]), 1)
        near = matched[middle]
        for label, prediction in zip(labels[i[near]].tolist(), predictions[j[near]].tolist(), strict=True):
            n_switches += last.get(label, prediction) != prediction
            last[label] = prediction
    union = np.maximum(n_label_frames[:, None] + n_found_frames[None] - counts, 1)
    return _RecordingMatches(hits, (counts * counts / union).sum(axis=(1, 2)), similarity_sum, n_switches)


def _identities(rows: DcaseMetadata) -> tuple[Int64, Float64]:
    """Number of each row's source (class and instance), and the rows of each source."""
    if not len(rows.frame):
        return np.zeros(0, np.int64), np.zeros(0)
    keys = np.stack([rows.category_id.astype(np.int64), rows.source_id], axis=1)
    _, number, counts = np.unique(keys, axis=0, return_inverse=True, return_counts=True)
    return number.reshape(-1).astype(np.int64), counts.astype(np.float64)


def pearson_by_energy(results: Sequence[RecordingResult], *, n_parts: int = 10) -> list[tuple[float, int, float]]:
    """Pearson r of the official pairs by the energy of their labels.

    Parameters
    ----------
    results : sequence of RecordingResult
    n_parts : int
        Parts of (nearly) equal numbers of pairs, weakest labels first.

    Returns
    -------
    list of (float, int, float)
        Largest energy, pairs and mean Pearson r of each part; parts without pairs are left out.
    """
    energy = np.concatenate([np.zeros(0), *(r.label_energy[r.scores.pair_label] for r in results)])
    pearson = np.concatenate([np.zeros(0), *(r.scores.pair_pearson for r in results)])
    known = ~np.isnan(pearson)
    energy, pearson = energy[known], pearson[known]
    order = np.argsort(energy, kind="stable")
    return [
        (float(energy[part].max()), len(part), float(pearson[part].mean()))
        for part in np.array_split(order, n_parts)
        if len(part)
    ]


@dataclass(frozen=True)
class FieldFigures:
    """What the field reports beside the official figures, of one system.

    Attributes
    ----------
    min_score : float
        That predictions must reach in all but the Pearson r.
    n_left_out : int
        Predictions below it, or without points.
    seld : tuple of SeldReport
        By the conventions of 2024 and 2025.
    class_aware, class_agnostic : Hota
    pearson : tuple of (float, int, float)
        :func:`pearson_by_energy`.
    """

    min_score: float
    n_left_out: int
    seld: tuple[SeldReport, ...]
    class_aware: Hota
    class_agnostic: Hota
    pearson: tuple[tuple[float, int, float], ...]

    def to_json(self) -> dict[str, Any]:
        """Figures as a JSON object; undefined is None."""
        return {
            "min_score": self.min_score,
            "n_left_out": self.n_left_out,
            "seld": {report.convention: report.to_json() for report in self.seld},
            "hota": {"class_aware": self.class_aware.to_json(), "class_agnostic": self.class_agnostic.to_json()},
            "pearson_by_energy": [
                {"energy_up_to": energy, "n_pairs": n, "pearson_r": r} for energy, n, r in self.pearson
            ],
        }

    def text(self) -> str:
        """Figures for a terminal."""
        lines = [f"predictions of at least score {self.min_score:g} ({self.n_left_out} left out)"]
        for report in self.seld:
            macro, labelled = report.macro, report.macro_of_labelled
            lines.append(
                f"SELD {report.convention}: F20 {_shown(macro.f20)} (classes with labels {_shown(labelled.f20)}), "
                f"angle {_shown(macro.angle_deg, 2)} degrees, distance {_shown(macro.distance_m, 3)} m, relative "
                f"distance {_shown(macro.relative_distance)}, recall {_shown(labelled.recall)} of classes with labels"
            )
        if all(math.isnan(report.macro.angle_deg) for report in self.seld):
            lines.append("No label was found by a prediction of its class, so there is no error of angle or distance.")
        for name, row in (("class-aware", self.class_aware), ("class-agnostic", self.class_agnostic)):
            lines.append(
                f"HOTA {name}: {_shown(row.hota)} (detection {_shown(row.detection)}, association "
                f"{_shown(row.association)}, localisation {_shown(row.localisation)}), "
                f"{row.n_switches} identity switches"
            )
        deciles = " ".join(f"{r:.3f}" for _, _, r in self.pearson) or "–, there are no pairs"
        lines.append(f"Pearson r by label energy, weakest tenth first: {deciles}")
        return "\n".join(lines)


def _shown(value: float, digits: int = 4) -> str:
    return "–" if math.isnan(value) else f"{value:.{digits}f}"


def field_figures(
    labels: Sequence[AnnotationTable],
    predictions: Sequence[AnnotationTable],
    results: Sequence[RecordingResult],
    *,
    min_score: float = 0.0,
) -> FieldFigures:
    """All of them.

    Parameters
    ----------
    labels, predictions : sequence of AnnotationTable
        By position in the lists.
    results : sequence of RecordingResult
        Official results of the same recordings.
    min_score : float
        See :class:`FieldFigures`.
    """
    truth = [rows_of_table(table) for table in labels]
    found = [rows_of_table(table, min_score=min_score) for table in predictions]
    return FieldFigures(
        min_score,
        sum(len(table) for table in predictions) - sum(len(rows.frame) for rows in found),
        (seld_report(truth, found, convention="2024"), seld_report(truth, found, convention="2025")),
        hota(truth, found),
        hota(truth, found, class_aware=False),
        tuple(pearson_by_energy(results)),
    )


def field_figures_of_files(
    system: SystemResult,
    labels: Mapping[str, Path],
    predictions: Mapping[str, Path],
    *,
    min_score: float = 0.0,
    use_cache: bool = True,
    progress: Progress = no_progress,
) -> FieldFigures:
    """All of them, of a system that is scored already.

    Parameters
    ----------
    system : SystemResult
    labels, predictions : mapping of str to Path
        Its files by recording name.
    min_score : float
        See :class:`FieldFigures`.
    use_cache : bool
        Read annotations through their cache.
    progress : Progress
        Told after each recording; may raise CancelledError.

    Raises
    ------
    InputError
        A file that cannot be read.
    """
    truth: list[AnnotationTable] = []
    found: list[AnnotationTable] = []
    for k, name in enumerate(system.recordings):
        progress(0.5 * k / len(system.recordings), f"{name}: reading")
        pair = read_pair(labels[name], predictions[name], recording=name, revision=system.revision, use_cache=use_cache)
        truth.append(pair[0])
        found.append(pair[1])
    progress(0.5, "pairing")
    figures = field_figures(truth, found, system.results, min_score=min_score)
    progress(1.0, "")
    return figures


def seld_table(figures: FieldFigures, *, name: str = "") -> Table:
    """SELD scores by both conventions."""
    columns = (
        Column("f20", "F20", 4, "13 classes", "higher", "Right at 20 degrees and a relative distance error of 1."),
        Column("angle_deg", "Angle °", 2, "13 classes", "lower"),
        Column("distance_m", "Distance m", 3, "13 classes", "lower"),
        Column("relative_distance", "Relative", 4, "13 classes", "lower"),
        Column("labelled_f20", "F20", 4, "Classes with labels", "higher"),
        Column("labelled_angle_deg", "Angle °", 2, "Classes with labels", "lower"),
        Column("labelled_relative_distance", "Relative", 4, "Classes with labels", "lower"),
        Column("labelled_recall", "Recall", 4, "Classes with labels", "higher"),
    )
    rows = [
        [
            report.macro.f20,
            report.macro.angle_deg,
            report.macro.distance_m,
            report.macro.relative_distance,
            report.macro_of_labelled.f20,
            report.macro_of_labelled.angle_deg,
            report.macro_of_labelled.relative_distance,
            report.macro_of_labelled.recall,
        ]
        for report in figures.seld
    ]
    return Table(
        f"{name} · SELD scores" if name else "SELD scores",
        f"Predictions from score {figures.min_score:g} on ({figures.n_left_out:,} left out). Of the 13 classes those "
        "without labels count 0, as officially; 2025 (stereo) folds azimuths to the front.",
        "Convention",
        tuple(f"DCASE {report.convention}" for report in figures.seld),
        tuple(_MEASURED for _ in rows),
        columns,
        np.array(rows),
    )


def hota_table(figures: FieldFigures, *, name: str = "") -> Table:
    """HOTA and identity switches, with and without classes."""
    columns = (
        Column("hota", "HOTA", 4, "", "higher"),
        Column("detection", "Detection", 4, "", "higher"),
        Column("association", "Association", 4, "", "higher"),
        Column("localisation", "Localisation", 4, "", "higher"),
        Column("n_switches", "Identity switches", 0, "", "lower", "At 20 degrees."),
    )
    rows = [
        [row.hota, row.detection, row.association, row.localisation, float(row.n_switches)]
        for row in (figures.class_aware, figures.class_agnostic)
    ]
    return Table(
        f"{name} · HOTA" if name else "HOTA",
        "Similarity: 1 - angle / 40 degrees, at least 0; mean over thresholds from 0.05 to 0.95.",
        "Matched",
        ("within classes", "whatever the class"),
        tuple(_MEASURED for _ in rows),
        columns,
        np.array(rows),
    )
