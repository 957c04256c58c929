"""From Multi-ACCDOA to DCASE rows and back, and the DCASE 2023 scores of such rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.optimize import linear_sum_assignment

from sai_core.annotations import DcaseMetadata
from sai_core.geometry import directions_to_vectors, great_circle_deg, vectors_to_directions
from sai_core.taxonomy import N_CLASSES
from sai_core.teacher.network import DISTANCE_UNIT_CM, N_TRACKS

UNIFY_DEG = 15.0
"""Tracks of one class closer than this are one source (DCASE 2023 description)."""

MATCH_DEG = 20.0
"""Angle within which a detection counts as located (DCASE 2023 description)."""


def encode(metadata: DcaseMetadata, n_frames: int) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int64]]:
    """Targets of :func:`sai_core.teacher.network.adpit_loss`.

    Parameters
    ----------
    metadata : DcaseMetadata
        Rows from ``n_frames`` on are left out; of a frame and class the first three rows count.
    n_frames : int

    Returns
    -------
    sources : float32, shape (n_frames, 13, 3, 4)
    count : int64, shape (n_frames, 13)
    """
    sources = np.zeros((n_frames, N_CLASSES, N_TRACKS, 4), np.float32)
    count = np.zeros((n_frames, N_CLASSES), np.int64)
    vectors = directions_to_vectors(metadata.azimuth_deg, metadata.elevation_deg)
    distance = np.nan_to_num(metadata.distance_cm, nan=0.0) / DISTANCE_UNIT_CM
    for row in np.flatnonzero(metadata.frame < n_frames).tolist():
        frame, category = int(metadata.frame[row]), int(metadata.category_id[row])
        slot = int(count[frame, category])
        if slot < N_TRACKS:
            sources[frame, category, slot, :3] = vectors[row]
            sources[frame, category, slot, 3] = distance[row]
            count[frame, category] += 1
    return sources, count


def decode(
    output: npt.NDArray[np.floating], *, threshold: float = 0.5, recording: str = "", unit_vectors: bool = True
) -> DcaseMetadata:
    """DCASE rows of a network's output.

    Parameters
    ----------
    output : float, shape (frames, 3, 13, 4)
    threshold : float
        Least length of an active vector.
    recording : str
    unit_vectors : bool
        Average tracks by their directions alone; False as the official DCASE code has it, where longer vectors weigh
        more.

    Returns
    -------
    DcaseMetadata
        Sorted by frame, class, source. Active tracks of a class within 15 degrees of one another are averaged.
    """
    length = np.linalg.norm(output[..., :3], axis=-1)
    active = length > threshold
    rows: list[tuple[int, int, int, float, float, float]] = []
    for frame, category in np.argwhere(active.any(axis=1)).tolist():
        tracks = np.flatnonzero(active[frame, :, category])
        vectors = output[frame, tracks, category, :3] / length[frame, tracks, category][:, None]
        groups: list[list[int]] = []
        for i in range(len(tracks)):
            near = [
                g for g in groups if any(float(vectors[i] @ vectors[j]) >= np.cos(np.radians(UNIFY_DEG)) for j in g)
            ]
            groups = [g for g in groups if g not in near] + [[i, *(j for g in near for j in g)]]
        for source, group in enumerate(sorted(groups, key=min)):
            mean = (vectors if unit_vectors else output[frame, tracks, category, :3])[group].mean(axis=0)
            azimuth, elevation = (float(v) for v in vectors_to_directions(mean))
            distance = float(output[frame, tracks[group], category, 3].mean()) * DISTANCE_UNIT_CM
            rows.append((frame, category, source, azimuth, elevation, distance))
    table = np.array(rows, dtype=np.float64).reshape(-1, 6)
    return DcaseMetadata(
        table[:, 0].astype(np.int32),
        table[:, 1].astype(np.int16),
        table[:, 2].astype(np.int64),
        table[:, 3],
        table[:, 4],
        table[:, 5],
        recording,
    )


@dataclass(frozen=True)
class SeldScores:
    """DCASE 2023 figures at frame level, macro over classes with labels.

    Attributes
    ----------
    f_score : float
        Location-dependent F score at 20 degrees, [0, 1].
    error_deg : float
        Class-dependent localisation error of matched pairs; NaN without any.
    recall : float
        Share of labels with any detection of the class in the frame, [0, 1].
    """

    f_score: float
    error_deg: float
    recall: float


def seld_scores(labels: Sequence[DcaseMetadata], predictions: Sequence[DcaseMetadata]) -> SeldScores:
    """Score rows against labels, recording by recording (pairs by position in the lists).

    Detections of a frame and class are assigned to labels so that the sum of angles is smallest. Differences from the
    official 2023 script: frames instead of one-second segments.
    """
    located, n_labels, n_found, pairs = (np.zeros(N_CLASSES) for _ in range(4))
    angle_sum = np.zeros(N_CLASSES)
    for truth, found in zip(labels, predictions, strict=True):
        keys_truth = truth.frame.astype(np.int64) * N_CLASSES + truth.category_id
        keys_found = found.frame.astype(np.int64) * N_CLASSES + found.category_id
        n_labels += np.bincount(truth.category_id, minlength=N_CLASSES)
        n_found += np.bincount(found.category_id, minlength=N_CLASSES)
        for key in np.intersect1d(keys_truth, keys_found).tolist():
            a, b = np.flatnonzero(keys_truth == key), np.flatnonzero(keys_found == key)
            angle = great_circle_deg(
                truth.azimuth_deg[a][:, None],
                truth.elevation_deg[a][:, None],
                found.azimuth_deg[b][None, :],
                found.elevation_deg[b][None, :],
            )
            i, j = linear_sum_assignment(angle)
            category = key % N_CLASSES
            pairs[category] += len(i)
            angle_sum[category] += angle[i, j].sum()
            located[category] += np.count_nonzero(angle[i, j] <= MATCH_DEG)
    there = n_labels > 0
    f = 2 * located / np.maximum(n_labels + n_found, 1)
    with np.errstate(invalid="ignore", divide="ignore"):
        error = angle_sum / pairs
        recall = pairs / n_labels
    known = there & (pairs > 0)
    return SeldScores(
        float(f[there].mean()) if there.any() else float("nan"),
        float(error[known].mean()) if known.any() else float("nan"),
        float(recall[there].mean()) if there.any() else float("nan"),
    )
