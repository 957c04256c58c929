"""Stand-in predictions: labels, disturbed in a documented way, until a trained network's predictions replace them.

Not the output of any system, and shown as "stand-in" wherever they appear. Errors are made per *event* (a source's
run of frames) and not per frame, as a tracker's are: an event can be missed or called by a similar class, begins
late, is seen beside its place by a slowly wandering offset, has a wrong distance, flickers; false events are added,
some of them echoes of true ones. Scores fall with the errors that were made, plus noise, so that curves over the
threshold look as they do for detectors. Regions are given in the way of submissions: some points of a grid over the
region, not every pixel.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from sai_core.annotations import AnnotationTable
from sai_core.geometry import ERP_HEIGHT, ERP_WIDTH, unwrap_columns
from sai_core.taxonomy import N_CLASSES

FloatArray = npt.NDArray[np.float64]

_GRID: Final[int] = 28
"""Cells along each side of the grid over a region, as in the official exporter."""

_SIMILAR: Final[tuple[tuple[int, ...], ...]] = (
    (1, 4), (0, 4), (12, 6), (11, 8), (0, 1), (10, 8), (12, 2), (12, 6), (9, 0), (8, 11), (5, 6), (3, 9), (7, 6),
)  # fmt: skip
"""What each class is mistaken for."""


@dataclass(frozen=True)
class Profile:
    """How bad a stand-in is. Probabilities in [0, 1], angles in degrees (= canvas pixels), times in frames.

    Attributes
    ----------
    miss_event, miss_frame : float
        Probability that a whole event, or a single frame of it, is not found.
    confuse : float
        Probability that an event gets a similar class.
    late : float
        Mean delay of an event's first detection.
    offset_deg, jitter_deg : float
        Standard deviation of an event's constant offset and of its wandering part, per axis.
    distance : float
        Standard deviation of the logarithm of the distance error.
    false_per_s : float
        False events a second.
    echo : float
        Probability that an event has a second, displaced detection.
    energy_noise : float
        Standard deviation of the energies' errors.
    outline : float
        Share of a region's points that lie on its edge; without them a region shrinks to its core.
    """

    miss_event: float
    miss_frame: float
    confuse: float
    late: float
    offset_deg: float
    jitter_deg: float
    distance: float
    false_per_s: float
    echo: float
    energy_noise: float
    outline: float


PROFILES: Final[dict[str, Profile]] = {
    "stand-in-A": Profile(0.06, 0.06, 0.06, 1.0, 1.6, 1.0, 0.10, 0.10, 0.08, 0.05, 0.5),
    "stand-in-B": Profile(0.20, 0.16, 0.20, 2.5, 4.0, 2.2, 0.28, 0.30, 0.20, 0.12, 0.3),
}
"""The two stand-ins that ship with the demo recordings; A is the better one."""


def stand_in(labels: AnnotationTable, *, n_frames: int, profile: Profile, rng: np.random.Generator) -> AnnotationTable:
    """Disturb the labels of a recording.

    Parameters
    ----------
    labels : AnnotationTable
        Dense label regions.
    n_frames : int
        Frames of the recording.
    profile : Profile
        Sizes of the errors.
    rng : numpy.random.Generator
        Fixes everything.

    Returns
    -------
    AnnotationTable
        With scores; 20 to 60 points a region, on the label grid's continuous coordinates.
    """
    builder = _Builder()
    track = 0
    for members in _events(labels):
        track += 1
        missed, confused = rng.random() < profile.miss_event, rng.random() < profile.confuse
        category = int(labels.category_id[members[0]])
        if confused:
            category = int(rng.choice(_SIMILAR[category]))
        offset = profile.offset_deg * rng.standard_normal(2)
        wander = profile.jitter_deg * _wander(len(members), rng)
        stretch = float(np.exp(profile.distance * rng.standard_normal()))
        late = int(rng.exponential(profile.late))
        echo = rng.random() < profile.echo
        base = 0.9 - 0.02 * float(np.hypot(*offset)) - (0.25 if confused else 0.0) + 0.05 * rng.standard_normal()
        points = int(rng.integers(20, 61))
        for k, index in enumerate(members):
            lost = rng.random() < profile.miss_frame
            noise = rng.standard_normal(3)
            if missed or lost or k < late:
                continue
            ramp = min(1.0, 0.75 + 0.08 * (k - late))
            score = base * ramp + 0.06 * noise[0] - 0.015 * float(np.hypot(*wander[k]))
            distance = float(labels.distance_cm[index]) * stretch * (1 + 0.03 * noise[1])
            shift = offset + wander[k]
            region = _sparse(labels, index, shift, points, profile.energy_noise, profile.outline, rng)
            builder.add(int(labels.frame[index]), category, track, distance, score, region)
            if echo:
                aside = shift + np.array([22.0, -6.0]) * (1 if track % 2 else -1)
                region = _sparse(labels, index, aside, points, 2 * profile.energy_noise, profile.outline, rng)
                builder.add(int(labels.frame[index]), category, 500 + track, distance * 1.4, 0.55 * score, region)
    for number in range(int(rng.poisson(profile.false_per_s * n_frames / 10))):
        _add_false_event(builder, number, n_frames, rng)
    return builder.table(labels.recording)


def _events(labels: AnnotationTable) -> list[list[int]]:
    """Runs of annotations of one source; copies of one annotation (a quirk of official labels) count once."""
    runs: dict[tuple[int, int], list[list[int]]] = {}
    for index in range(len(labels)):
        key = (int(labels.category_id[index]), int(labels.instance_id[index]))
        frame = int(labels.frame[index])
        known = runs.setdefault(key, [])
        if known and int(labels.frame[known[-1][-1]]) == frame:
            continue
        if known and frame - int(labels.frame[known[-1][-1]]) <= 3:
            known[-1].append(index)
        else:
            known.append([index])
    return sorted((run for group in runs.values() for run in group), key=lambda run: run[0])


def _wander(n: int, rng: np.random.Generator) -> FloatArray:
    """Two slowly changing tracks of unit deviation, shape (n, 2): a first-order process over about a second."""
    out = np.empty((n, 2))
    state = rng.standard_normal(2)
    for k in range(n):
        out[k] = state
        state = 0.9 * state + np.sqrt(1 - 0.81) * rng.standard_normal(2)
    return out


def _spread(
    x: FloatArray,
    y: FloatArray,
    value: FloatArray,
    inside: npt.NDArray[np.int64],
    n_points: int,
    outline: float,
    rng: np.random.Generator,
) -> npt.NDArray[np.int64]:
    """Cells that stand for a region: the farthest one in each of some directions, then others by their energy."""
    n_points = min(n_points, inside.size)
    from_middle = np.stack([x[inside] - x[inside].mean(), y[inside] - y[inside].mean()])
    sectors = int(outline * n_points)
    chosen: set[int] = {int(inside[int(np.argmax(value[inside]))])}
    if sectors:
        sector = ((np.arctan2(from_middle[1], from_middle[0]) / (2 * np.pi) + 0.5) * sectors).astype(int)
        reach = np.hypot(*from_middle)
        for k in range(sectors):
            members = np.flatnonzero(sector == k)
            if members.size:
                chosen.add(int(inside[members[int(np.argmax(reach[members]))]]))
    rest = np.array([c for c in inside.tolist() if c not in chosen], dtype=np.int64)
    missing = max(n_points - len(chosen), 0)
    if missing and rest.size:
        weight = value[rest] ** 2
        picked = rng.choice(rest, size=min(missing, rest.size), replace=False, p=weight / weight.sum())
        chosen.update(picked.tolist())
    order = np.array(sorted(chosen), dtype=np.int64)
    return order[np.argsort(-value[order], kind="stable")]


def _sparse(
    labels: AnnotationTable,
    index: int,
    shift: FloatArray,
    n_points: int,
    noise: float,
    outline: float,
    rng: np.random.Generator,
) -> tuple[FloatArray, FloatArray]:
    """Some points of a 28 x 28 grid over a label region, moved by ``shift`` columns and rows."""
    points, energy = labels.points(index)
    x, y = unwrap_columns(points[:, 0]), points[:, 1]
    left, top = x.min(), y.min()
    width, height = max(x.max() - left + 1, 2.0), max(y.max() - top + 1, 2.0)
    dense = np.zeros((int(height), int(width)))
    dense[(y - top).astype(int), (x - left).astype(int)] = energy
    cells = (np.arange(_GRID) + 0.5) / _GRID
    gx, gy = np.meshgrid(cells * width, cells * height)
    value = dense[np.minimum(gy.astype(int), dense.shape[0] - 1), np.minimum(gx.astype(int), dense.shape[1] - 1)]
    inside = np.flatnonzero(value.ravel() > 0)
    value = np.clip(value * (1 + noise * rng.standard_normal(value.shape)), 0.02, 1.0).ravel()
    order = _spread(gx.ravel(), gy.ravel(), value, inside, n_points, outline, rng)
    px = np.mod(gx.ravel()[order] + left + shift[0], ERP_WIDTH)
    py = np.clip(gy.ravel()[order] + top + shift[1], 0.0, float(ERP_HEIGHT))
    return np.stack([px, py], axis=1), value[order]


def _add_false_event(builder: _Builder, number: int, n_frames: int, rng: np.random.Generator) -> None:
    length = int(rng.integers(3, 16))
    first = int(rng.integers(0, max(n_frames - length, 1)))
    category = int(rng.integers(N_CLASSES))
    x, y = rng.uniform(0, ERP_WIDTH), rng.normal(90, 18)
    base = float(np.clip(rng.beta(3.0, 4.5), 0.1, 0.85))
    distance = float(rng.uniform(100, 400))
    size = rng.uniform(5, 9)
    spread = rng.standard_normal((int(rng.integers(20, 61)), 2))
    wander = _wander(length, rng)
    for k in range(length):
        if first + k >= n_frames:
            break
        points = np.stack(
            [
                np.mod(x + wander[k, 0] + size * spread[:, 0], ERP_WIDTH),
                np.clip(y + wander[k, 1] + size * spread[:, 1], 0, ERP_HEIGHT),
            ],
            axis=1,
        )
        energy = np.clip(0.75 * np.exp(-0.5 * (spread**2).sum(axis=1)), 0.05, 1.0)
        score = base + 0.05 * rng.standard_normal()
        builder.add(first + k, category, 1000 + number, distance, score, (points, energy))


class _Builder:
    """Collects annotations; a region over the seam becomes two polygons."""

    def __init__(self) -> None:
        self._rows: list[tuple[int, int, int, float, float]] = []
        self._parts: list[list[tuple[FloatArray, FloatArray]]] = []

    def add(
        self,
        frame: int,
        category: int,
        track: int,
        distance_cm: float,
        score: float,
        region: tuple[FloatArray, FloatArray],
    ) -> None:
        points, energy = region
        # coordinates, energies and scores as a submission would round them
        points = np.round(points, 2)
        points[:, 0] = np.mod(points[:, 0], ERP_WIDTH)
        energy = np.round(energy, 3)
        if points.shape[0] == 0:
            return
        parts = [(points, energy)]
        if np.ptp(points[:, 0]) > ERP_WIDTH / 2:
            right = points[:, 0] > ERP_WIDTH / 2
            parts = [(points[right], energy[right]), (points[~right], energy[~right])]
        self._rows.append((frame, category, track, round(distance_cm, 1), round(float(np.clip(score, 0.05, 0.99)), 3)))
        self._parts.append(parts)

    def table(self, recording: str) -> AnnotationTable:
        if not self._rows:
            return AnnotationTable.empty(recording)
        order = sorted(range(len(self._rows)), key=lambda k: self._rows[k][0])
        rows = [self._rows[k] for k in order]
        parts = [self._parts[k] for k in order]
        flat = [part for group in parts for part in group]
        frame, category, track, distance, score = (np.array(column) for column in zip(*rows, strict=True))
        return AnnotationTable(
            recording,
            frame.astype(np.int32),
            category.astype(np.int16),
            track.astype(np.int64),
            distance.astype(np.float64),
            score.astype(np.float64),
            np.concatenate([[0], np.cumsum([len(group) for group in parts])]),
            np.concatenate([[0], np.cumsum([len(energy) for _, energy in flat])]),
            np.concatenate([points for points, _ in flat]),
            np.concatenate([energy for _, energy in flat]),
        )
