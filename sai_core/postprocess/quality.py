"""A learned ranking: how good each annotation is, from what is known of it once everything is found and tracked.

A detector's score is of one candidate alone. Whether an annotation will be right also shows in what surrounds it: the
intensity field at its place and over its track, what else the frame holds, how long the track has been unseen. A small
network (:class:`QualityNetwork`) reads these numbers (:data:`FEATURES`) and gives the share of the evaluator's IoU
thresholds that the annotation is expected to reach. It is learned by :mod:`sai_core.tuning.quality` and stands where
calibration would: what is kept, and every threshold, is as before; the score that is written is the network's.

No feature says which class it is, nor looks at exported regions: the same tracks have the same scores however their
regions are written.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from sai_core.detections.table import Detections
from sai_core.errors import InputError
from sai_core.files import atomic_write, user_path
from sai_core.geometry import great_circle_deg
from sai_core.installation import asset
from sai_core.postprocess.facts import CandidateFacts, centre_directions
from sai_core.postprocess.field_regions import label_facts
from sai_core.postprocess.tracking import Tracks

if TYPE_CHECKING:
    from sai_core.detections.raw import RawDetections

Float64 = npt.NDArray[np.float64]

FEATURES: Final[tuple[str, ...]] = (
    "own_score",
    "detector_score",
    "objectness",
    "best_class_score",
    "second_class_score",
    "sum_of_class_scores",
    "strength",
    "strength_now",
    "field_sum",
    "track_strength",
    "track_own_score",
    "track_length",
    "frames_to_track_end",
    "near_strength",
    "near_own_score",
    "label_points",
    "label_height",
    "in_frame",
    "rank_in_frame",
    "below_strongest",
    "roi_energy",
    "roi_offset_deg",
    "elevation_deg",
    "absolute_elevation_deg",
    "box_width_deg",
    "box_height_deg",
    "coasting",
    "frames_unseen",
    "distance",
    "score",
)
"""Columns of :func:`features_of`. Scores, strengths, lengths and distances as natural logarithms."""

SHIPPED_QUALITY: Final[dict[str, Path]] = {"shipped": asset("weights", "quality.safetensors")}
"""Networks that ship, by what the setting ``quality`` calls them."""

_NEAR: Final[int] = 2
"""Frames before and after one that ``near_*`` is a mean of."""

_FAR_FROM_END: Final[int] = 10
"""``frames_to_track_end`` counts no further."""

_FARTHEST: Final[float] = 8.0
"""Deviations from the mean at which a feature is held: another detector's numbers may lie far outside what was seen."""

_CHUNK: Final[int] = 16384
"""Annotations that the network reads at once."""

_MARK: Final[str] = "sai_quality"
_SHAPES: Final[dict[str, str]] = {
    "mean": "k",
    "deviation": "k",
    "weight1": "mkh",
    "bias1": "mh",
    "weight2": "mhh",
    "bias2": "mh",
    "weight3": "mh",
    "bias3": "m",
}


def features_of(
    raw: RawDetections,
    detections: Detections,
    tracks: Tracks,
    facts: CandidateFacts,
    *,
    class_scores: npt.NDArray[np.floating] | None = None,
) -> Float64:
    """What is known of each annotation, shape (n, len(FEATURES)), all finite.

    Parameters
    ----------
    raw : RawDetections
        With a field.
    detections : Detections
        Candidates with their final class, row ``i`` being row ``i`` of ``raw``.
    tracks : Tracks
        All that is written of the recording: how many there are in a frame, and where a track ends, is read off them.
    facts : CandidateFacts
        Of all candidates.
    class_scores : float, shape (candidates, 13), optional
        With a wideband listener's say, where it has one; the detector's own if left out.
    """
    scores = np.asarray(raw.class_scores if class_scores is None else class_scores)
    n, d, frame = len(tracks), tracks.detection, tracks.frame
    if n == 0:
        return np.zeros((0, len(FEATURES)))
    boxes = np.asarray(raw.boxes_xyxy, dtype=np.float64)
    shown, of = np.unique(d, return_inverse=True)
    azimuth, elevation = centre_directions(boxes[shown])
    label = label_facts(raw.field, raw.frame[shown], azimuth, elevation)
    strength = np.log(label.strength + 1e-7)[of]
    strength_now = strength.copy()
    late = np.flatnonzero(tracks.coasting)
    now = label_facts(raw.field, frame[late], azimuth[of[late]], elevation[of[late]])
    strength_now[late] = np.log(now.strength + 1e-7)

    by_class = np.sort(scores[d].astype(np.float64), axis=1)
    category = detections.category_id[d]
    own = np.log(scores[d, category].astype(np.float64) + 1e-4)
    track = _TrackMeans(tracks)
    in_frame = np.bincount(frame)[frame]
    strongest = np.full(int(frame.max()) + 1, -np.inf)
    np.maximum.at(strongest, frame, strength)
    off = great_circle_deg(azimuth[of], elevation[of], facts.peak_azimuth_deg[d], facts.peak_elevation_deg[d])
    distance = np.nan_to_num(detections.distance_cm[d].astype(np.float64), nan=0.0, posinf=0.0)
    columns = {
        "own_score": own,
        "detector_score": np.log(np.asarray(raw.class_scores)[d, category].astype(np.float64) + 1e-4),
        "objectness": np.log(raw.objectness[d].astype(np.float64) + 1e-4),
        "best_class_score": np.log(by_class[:, -1] + 1e-4),
        "second_class_score": np.log(by_class[:, -2] + 1e-4),
        "sum_of_class_scores": np.log(by_class.sum(axis=1) + 1e-4),
        "strength": strength,
        "strength_now": strength_now,
        "field_sum": np.log(np.exp(raw.field.astype(np.float64)).sum(axis=1) + 1e-6)[frame],
        "track_strength": track.mean(strength),
        "track_own_score": track.mean(own),
        "track_length": np.log(track.length),
        "frames_to_track_end": np.minimum(track.to_end, _FAR_FROM_END),
        "near_strength": track.near(strength),
        "near_own_score": track.near(own),
        "label_points": np.log1p(label.points)[of],
        "label_height": label.height[of],
        "in_frame": in_frame,
        "rank_in_frame": _rank(frame, tracks.score),
        "below_strongest": strength - strongest[frame],
        "roi_energy": np.log(facts.mean_energy[d].astype(np.float64) + 1e-3),
        "roi_offset_deg": off,
        "elevation_deg": elevation[of],
        "absolute_elevation_deg": np.abs(elevation[of]),
        "box_width_deg": boxes[d, 2] - boxes[d, 0],
        "box_height_deg": boxes[d, 3] - boxes[d, 1],
        "coasting": tracks.coasting,
        "frames_unseen": frame - raw.frame[d],
        "distance": np.log1p(np.maximum(distance, 0.0)),
        "score": np.log(tracks.score + 1e-5),
    }
    return np.nan_to_num(np.stack([np.asarray(columns[name], dtype=np.float64) for name in FEATURES], axis=1))


class _TrackMeans:
    """Means over the rows of each track, and over those of the frames around."""

    def __init__(self, tracks: Tracks) -> None:
        _, self._of, count = np.unique(tracks.track_id, return_inverse=True, return_counts=True)
        self._count = count
        self._order = np.lexsort((tracks.frame, self._of))
        # one rising number for track and frame, with a gap between tracks that no window spans
        apart = int(tracks.frame.max()) + 2 * _NEAR + 1
        place = self._of[self._order].astype(np.int64) * apart + tracks.frame[self._order]
        self._from = np.searchsorted(place, place - _NEAR, side="left")
        self._to = np.searchsorted(place, place + _NEAR, side="right")
        first = np.cumsum(count) - count
        within = np.arange(len(place)) - first[self._of[self._order]]
        after = count[self._of[self._order]] - 1 - within
        self.to_end = self._back(np.minimum(within, after))
        """Rows to the nearer end of the track."""
        self.length = count[self._of]
        """Rows of the track."""

    def _back(self, ordered: npt.NDArray) -> npt.NDArray:
        result = np.empty_like(ordered)
        result[self._order] = ordered
        return result

    def mean(self, value: Float64) -> Float64:
        """Over the whole track."""
        total: Float64 = np.bincount(self._of, weights=value) / self._count
        return total[self._of]

    def near(self, value: Float64) -> Float64:
        """Over the track's rows of the frames around."""
        total = np.concatenate([[0.0], np.cumsum(value[self._order])])
        return self._back((total[self._to] - total[self._from]) / (self._to - self._from))


def _rank(frame: npt.NDArray[np.integer], score: Float64) -> npt.NDArray[np.int64]:
    """How many of the frame have a higher score (of equal ones the first counts as higher)."""
    order = np.lexsort((-score, frame))
    ordered = frame[order]
    rank = np.empty(len(frame), dtype=np.int64)
    rank[order] = np.arange(len(frame)) - np.searchsorted(ordered, ordered, side="left")
    return rank


@dataclass(frozen=True, eq=False)
class QualityNetwork:
    """Several small networks of one form, whose answers are averaged.

    Two hidden layers of ``h`` units (``x sigmoid(x)``), a sigmoid at the end; ``m`` members, ``k`` features.

    Attributes
    ----------
    mean, deviation : float32, shape (k,)
        What features are scaled by.
    weight1, bias1 : float32, shape (m, k, h) and (m, h)
    weight2, bias2 : float32, shape (m, h, h) and (m, h)
    weight3, bias3 : float32, shape (m, h) and (m,)
    """

    mean: npt.NDArray[np.float32]
    deviation: npt.NDArray[np.float32]
    weight1: npt.NDArray[np.float32]
    bias1: npt.NDArray[np.float32]
    weight2: npt.NDArray[np.float32]
    bias2: npt.NDArray[np.float32]
    weight3: npt.NDArray[np.float32]
    bias3: npt.NDArray[np.float32]

    def scaled(self, features: Float64) -> Float64:
        """Features as the members read them."""
        far = (features - self.mean) / self.deviation
        return np.clip(far, -_FARTHEST, _FARTHEST)

    def of(self, features: Float64) -> Float64:
        """Expected share of the IoU thresholds that each annotation reaches, (n,), in (0, 1).

        Parameters
        ----------
        features : float64, shape (n, k)
            As of :func:`features_of`.
        """
        result = np.zeros(len(features))
        for first in range(0, len(features), _CHUNK):
            part = slice(first, first + _CHUNK)
            read = self.scaled(features[part])
            for k in range(len(self.bias3)):
                a = _silu(read @ self.weight1[k].astype(np.float64) + self.bias1[k])
                a = _silu(a @ self.weight2[k].astype(np.float64) + self.bias2[k])
                result[part] += sigmoid(a @ self.weight3[k].astype(np.float64) + self.bias3[k])
        return result / len(self.bias3)


def sigmoid(x: Float64) -> Float64:
    """The logistic function, without overflow."""
    return 0.5 * (1.0 + np.tanh(0.5 * x))


def _silu(x: Float64) -> Float64:
    return x * sigmoid(x)


def save_quality(network: QualityNetwork, path: Path, *, notes: Mapping[str, str] | None = None) -> None:
    """Write a network to one safetensors file, atomically.

    Parameters
    ----------
    network : QualityNetwork
    path : Path
    notes : mapping of str to str, optional
        Provenance, kept in the file's metadata beside the names of the features.
    """
    arrays = {name: np.ascontiguousarray(getattr(network, name), dtype=np.float32) for name in _SHAPES}
    with atomic_write(Path(path)) as stream:
        stream.write(save(arrays, metadata={_MARK: json.dumps({"features": FEATURES}), **(notes or {})}))


def quality_path(text: str, *, beside: Path | None = None) -> Path:
    """File that the setting ``quality`` names: a path, or one of :data:`SHIPPED_QUALITY`.

    Parameters
    ----------
    text : str
    beside : Path, optional
        Folder that a relative path counts from; the working directory if left out.

    Raises
    ------
    InputError
        Not a path, or one that may not be opened.
    """
    if text in SHIPPED_QUALITY:
        return SHIPPED_QUALITY[text]
    path = user_path(text, what="quality")
    return path if beside is None else beside / path


def load_quality(path: Path) -> QualityNetwork:
    """Open what :func:`save_quality` wrote; the last few files are kept until they change on disk.

    Raises
    ------
    InputError
        No such file, damaged, not a quality network, of other features, or with weights that do not fit.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path}: there is no such file; give a quality network that `calibrate --quality` made.")
    return _load(path, quality_stamp(path))


def quality_stamp(path: Path) -> tuple[int, int]:
    """Size and time of a file, by which one that was learned anew is told from the former; zeros without a file."""
    try:
        stat = path.stat()
    except OSError:
        return 0, 0
    return stat.st_size, stat.st_mtime_ns


@lru_cache(maxsize=4)
def _load(path: Path, stamp: tuple[int, int]) -> QualityNetwork:
    try:
        with safe_open(path, framework="numpy") as handle:
            metadata = dict(handle.metadata() or {})
            there = set(handle.keys()).intersection(_SHAPES) if _MARK in metadata else set()
            arrays = {name: handle.get_tensor(name) for name in there}
    except (SafetensorError, OSError, ValueError, TypeError) as error:
        raise InputError(f"{path}: cannot be read as safetensors ({error}); learn it again.") from error
    if _MARK not in metadata:
        raise InputError(f"{path}: is not a quality network; give what `calibrate --quality` made.")
    try:
        features = json.loads(metadata[_MARK])["features"]
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path}: its list of features is damaged; learn it again.") from error
    if features != list(FEATURES):
        raise InputError(f"{path}: is of other features than this version reads; learn it again (calibrate --quality).")
    size = {"k": len(FEATURES)}
    for name, shape in _SHAPES.items():
        found = arrays.get(name, np.zeros(0))
        fits = found.ndim == len(shape) and found.dtype == np.float32 and 0 not in found.shape
        if not fits or any(size.setdefault(s, n) != n for s, n in zip(shape, found.shape, strict=True)):
            raise InputError(f"{path}: {name} is missing or does not fit the rest; learn it again.")
        if not np.isfinite(found).all():
            raise InputError(f"{path}: {name} has values that are no numbers; learn it again.")
    if not (arrays["deviation"] > 0).all():
        raise InputError(f"{path}: deviation has values that are not above 0; learn it again.")
    return QualityNetwork(**{name: arrays[name] for name in _SHAPES})
