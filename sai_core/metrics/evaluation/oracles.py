"""Predictions of a recording with one kind of error put right, or several, scored by the official soft matching.

Each kind is a change of the predictions, made with the labels in hand; what comes out is scored by the same rendering,
assignment and average precision as any submission, so that a gain is what the evaluator would give and no estimate.

*Partners.* Label and prediction of one frame and class belong together as the official assignment has it where they
overlap; what is left on both sides, which that assignment pairs at random, is paired by the least total angle between
strongest points, however far apart.

The kinds, in the order in which several are put right, each on what the one before it left:

``class``
    A prediction without partner within 20 degrees of a label without partner (strongest points, one to one, as many
    as possible, then the least total angle) gets that label's class.
``presence``
    Predictions of a class that has no label in their frame are taken away.
``duplicates``
    Predictions of a class that has labels in their frame, but without partner, are taken away: more of a class than
    there are sources of it.
``place``
    The region of a prediction with a partner is turned on the sphere so that its middle (mean of its points as unit
    vectors, whatever their energies) lies on the middle of the label's region: first about the vertical, then up or
    down in the meridian. Shape, extent and energies stay.
``energy``
    The points of a prediction with a partner stay, their energies become the label's: that of the nearest point of
    the label on the canvas, 0 farther from it than the label's points are from each other (and than a pixel). A
    region that shares nothing with the label's stays as it is.
``misses``
    Labels without partner get a prediction: the label itself with score 1, behind the other predictions of its frame.
``ranking``
    Every prediction gets as its score its soft IoU with the label that the official assignment gives it, 0 without:
    at each threshold all true positives rank before all others.

What remains when all are right is the regions' own: extents too small or too coarse to hold the label's energies.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Final, Literal, get_args

import numpy as np
import numpy.typing as npt
from scipy.spatial import cKDTree

from sai_core.annotations.table import AnnotationTable, gather_ranges
from sai_core.errors import InputError
from sai_core.geometry import (
    ERP_HEIGHT,
    ERP_WIDTH,
    directions_to_vectors,
    great_circle_deg,
    pixel_to_direction,
    vectors_to_directions,
)
from sai_core.metrics.evaluation.map_cache import cached_maps_0630
from sai_core.metrics.evaluation.matching import MATCH_ANGLE_DEG, least_cost_pairs
from sai_core.metrics.evaluation.scores import RecordingScores, distance_ape, soft_hits
from sai_core.metrics.official.directions import annotation_point_offsets, region_peak_direction
from sai_core.metrics.official.pairing_0630 import candidate_pairs, optimal_pairs, pearson_inside, soft_iou
from sai_core.metrics.official.rendering_0630 import Plans, SparseMaps, render_table_0630
from sai_core.metrics.official.revisions import Revision
from sai_core.taxonomy import N_CLASSES

Int64 = npt.NDArray[np.int64]
Float64 = npt.NDArray[np.float64]
Bool = npt.NDArray[np.bool_]

ErrorKind = Literal["class", "presence", "duplicates", "place", "energy", "misses", "ranking"]
ERROR_KINDS: Final[tuple[ErrorKind, ...]] = get_args(ErrorKind)
"""In the order in which several are put right."""

_DECIMALS: Final[int] = 6
"""Of the coordinates of a turned region: far finer than the float32 that the evaluator reads, coarse enough that a
region turned back lands on the whole pixels that it came from."""

_SPACING_POINTS: Final[int] = 16
"""Points of a label that its spacing is measured at."""

_EQUALLY_NEAR: Final[int] = 4
"""Points of a lattice that can be equally near."""

_RANKS: Final[Int64] = np.arange(1, _EQUALLY_NEAR + 1)

_FORBIDDEN_DEG: Final[float] = 1e6
"""Angle to an annotation without points: any other is paired first."""


@dataclass(frozen=True, eq=False)
class OracleColumns:
    """What oracles need of a recording beside its rendered regions; kept by the score store.

    Attributes
    ----------
    label_frame, label_category : int32, int16, shape (n_labels,)
    label_cm : float64, shape (n_labels,)
        NaN where not given.
    label_azimuth_deg, label_elevation_deg : float64, shape (n_labels,)
        Of the strongest point; NaN without points.
    prediction_frame, prediction_category, prediction_cm, prediction_score : shape (n_predictions,)
        The score is 0 where the file has none.
    prediction_azimuth_deg, prediction_elevation_deg : float64, shape (n_predictions,)
    """

    label_frame: npt.NDArray[np.int32]
    label_category: npt.NDArray[np.int16]
    label_cm: Float64
    label_azimuth_deg: Float64
    label_elevation_deg: Float64
    prediction_frame: npt.NDArray[np.int32]
    prediction_category: npt.NDArray[np.int16]
    prediction_cm: Float64
    prediction_score: Float64
    prediction_azimuth_deg: Float64
    prediction_elevation_deg: Float64

    @classmethod
    def of(cls, labels: AnnotationTable, predictions: AnnotationTable) -> OracleColumns:
        """Columns of two tables."""
        return cls(
            labels.frame,
            labels.category_id,
            labels.distance_cm,
            *region_peak_direction(labels),
            predictions.frame,
            predictions.category_id,
            predictions.distance_cm,
            np.nan_to_num(predictions.score, nan=0.0),
            *region_peak_direction(predictions),
        )


@dataclass(frozen=True, eq=False)
class Overlaps:
    """Soft IoU and Pearson r of regions with labels, as far as they were needed; keys rise.

    Attributes
    ----------
    key : int64, shape (n,)
        Region and label (:meth:`RecordingOracle`).
    iou, pearson : float64, shape (n,)
    """

    key: Int64
    iou: Float64
    pearson: Float64

    def __len__(self) -> int:
        return len(self.key)

    @classmethod
    def empty(cls) -> Overlaps:
        """Nothing compared yet."""
        return cls(np.zeros(0, np.int64), np.zeros(0), np.zeros(0))

    def missing(self, key: Int64) -> Int64:
        """Those of some keys that are not there, rising, each once."""
        wanted = np.unique(key)
        return wanted[~np.isin(wanted, self.key, assume_unique=True)]

    def at(self, key: Int64) -> tuple[Float64, Float64]:
        """IoU and Pearson r of keys that are there."""
        position = np.searchsorted(self.key, key)
        return self.iou[position], self.pearson[position]

    def with_more(self, key: Int64, iou: Float64, pearson: Float64) -> Overlaps:
        """These and others."""
        keys = np.concatenate([self.key, key])
        order = np.argsort(keys)
        return Overlaps(
            keys[order], np.concatenate([self.iou, iou])[order], np.concatenate([self.pearson, pearson])[order]
        )


@dataclass(frozen=True, eq=False)
class Changed:
    """Predictions after some kinds were put right, in the order of frames, stable.

    Attributes
    ----------
    source : int64, shape (n,)
        Annotation index of the prediction; -1 for one that was added.
    copied : int64, shape (n,)
        Label that an added one is a copy of; -1 else.
    moved, filled : int64, shape (n,)
        Label that the region was turned onto, and whose energies it has; -1 for none.
    frame, category : int64, shape (n,)
    score, cm : float64, shape (n,)
    """

    source: Int64
    copied: Int64
    moved: Int64
    filled: Int64
    frame: Int64
    category: Int64
    score: Float64
    cm: Float64

    def __len__(self) -> int:
        return len(self.source)

    def take(self, chosen: npt.NDArray[Any]) -> Changed:
        """Some of them."""
        return Changed(*(getattr(self, name)[chosen] for name in self.__dataclass_fields__))


@dataclass(frozen=True, eq=False)
class Touched:
    """What one kind of error consists of in a recording.

    Attributes
    ----------
    recording : str
    prediction, label : int64, shape (n,)
        Annotation indices; -1 where there is none.
    iou : float64, shape (n,)
        Soft IoU with that label once put right; NaN where a prediction is taken away.
    """

    recording: str
    prediction: Int64
    label: Int64
    iou: Float64

    def __len__(self) -> int:
        return len(self.prediction)


@dataclass(frozen=True, eq=False)
class _Partners:
    """Who belongs to whom: positions among the changed predictions, and labels."""

    prediction: Int64
    label: Int64
    iou: Float64
    free_prediction: Bool
    free_label: Bool


class RecordingOracle:
    """One recording whose errors can be put right, kind by kind.

    Parameters
    ----------
    recording : str
    columns : OracleColumns
    tables : callable
        Labels and predictions; called only when a region must be rendered that ``overlaps`` does not know.
    overlaps : Overlaps, optional
        What is known already.
    key : str
        Name under which a store keeps it.
    use_cache : bool
        Keep rendered label maps on disk.
    """

    def __init__(
        self,
        recording: str,
        columns: OracleColumns,
        tables: Callable[[], tuple[AnnotationTable, AnnotationTable]],
        overlaps: Overlaps | None = None,
        *,
        key: str = "",
        use_cache: bool = True,
    ) -> None:
        self.recording = recording
        self.columns = columns
        self.key = key
        self.overlaps = Overlaps.empty() if overlaps is None else overlaps
        self.has_rendered = False
        self._make_tables = tables
        self._use_cache = use_cache
        # what sets of kinds share, until it is forgotten
        self._changed: dict[tuple[ErrorKind, ...], Changed] = {}
        self._pairs: dict[Changed, tuple[Int64, Int64, Float64, Float64]] = {}
        self._plans: Plans = {}
        frame = columns.label_frame.astype(np.int64)
        # labels of a frame by number: a region is changed towards labels of its own frame alone
        self._label_number = np.arange(len(frame)) - np.searchsorted(frame, frame)
        self._base = int(self._label_number.max(initial=0)) + 2

    @classmethod
    def of_tables(
        cls, labels: AnnotationTable, predictions: AnnotationTable, *, use_cache: bool = True
    ) -> RecordingOracle:
        """Of two tables at hand."""
        columns = OracleColumns.of(labels, predictions)
        return cls(labels.recording, columns, lambda: (labels, predictions), use_cache=use_cache)

    def forget(self) -> None:
        """Let go of tables, maps and changed predictions, which are large; they are made again when needed."""
        self._changed.clear()
        self._pairs.clear()
        self._plans.clear()
        for name in ("_tables", "_label_maps", "_label_regions"):
            self.__dict__.pop(name, None)

    @cached_property
    def as_they_are(self) -> Changed:
        """The predictions, unchanged."""
        n = len(self.columns.prediction_frame)
        nothing = np.full(n, -1, np.int64)
        return Changed(
            np.arange(n),
            nothing,
            nothing.copy(),
            nothing.copy(),
            self.columns.prediction_frame.astype(np.int64),
            self.columns.prediction_category.astype(np.int64),
            self.columns.prediction_score,
            self.columns.prediction_cm,
        )

    def changed(self, kinds: Collection[ErrorKind]) -> Changed:
        """Predictions with some kinds put right, in the order of :data:`ERROR_KINDS` whatever the order given.

        Raises
        ------
        InputError
            An unknown kind.
        """
        if unknown := sorted(set(kinds) - set(ERROR_KINDS)):
            raise InputError(f"Unknown kind of error {unknown[0]!r}; use some of {', '.join(ERROR_KINDS)}.")
        steps: dict[ErrorKind, Callable[[Changed], Changed]] = {
            "class": self._class,
            "presence": self._presence,
            "duplicates": self._duplicates,
            "place": self._place,
            "energy": self._energy,
            "misses": self._misses,
            "ranking": self._ranking,
        }
        ordered = tuple(kind for kind in ERROR_KINDS if kind in kinds)
        if not ordered:
            return self.as_they_are
        if ordered not in self._changed:
            self._changed[ordered] = steps[ordered[-1]](self.changed(ordered[:-1]))
        return self._changed[ordered]

    def scores(self, kinds: Collection[ErrorKind] = (), *, revision: Revision = "2026-06-30") -> RecordingScores:
        """Official scores of the changed predictions; of a soft revision.

        Annotation indices are positions among the changed predictions.
        """
        return self.scores_of(self.changed(kinds), revision=revision)

    def scores_of(self, changed: Changed, *, revision: Revision = "2026-06-30") -> RecordingScores:
        """Official scores of changed predictions."""
        prediction, label, iou, pearson = self._assigned(changed)
        n = len(changed)
        columns = self.columns
        detection_label, detection_iou = np.full(n, -1, np.int64), np.zeros(n)
        detection_label[prediction], detection_iou[prediction] = label, iou
        return RecordingScores(
            recording=self.recording,
            revision=revision,
            n_labels=np.bincount(columns.label_category, minlength=N_CLASSES),
            n_detections=np.bincount(changed.category, minlength=N_CLASSES),
            detection_frame=changed.frame.astype(np.int32),
            detection_category=changed.category.astype(np.int16),
            detection_index=np.arange(n),
            detection_score=changed.score,
            detection_iou=detection_iou,
            detection_label=detection_label,
            detection_hit=soft_hits(detection_iou, detection_label, revision),
            label_frame=columns.label_frame,
            label_category=columns.label_category,
            label_index=np.arange(len(columns.label_frame)),
            pair_frame=columns.label_frame[label],
            pair_category=columns.label_category[label],
            pair_label=label,
            pair_prediction=prediction,
            pair_pearson=pearson,
            pair_distance_ape=distance_ape(columns.label_cm[label], changed.cm[prediction]),
        )

    def touched(self, kind: ErrorKind) -> Touched:
        """Where putting one kind right changes something; of ``ranking``, which changes every score, nothing."""
        before, after = self.as_they_are, self.changed((kind,))
        none, nowhere = np.zeros(0, np.int64), np.zeros(0)
        if kind == "ranking":
            return Touched(self.recording, none, none.copy(), nowhere)
        if kind in ("presence", "duplicates"):
            gone = np.setdiff1d(before.source, after.source)
            return Touched(self.recording, gone, np.full(len(gone), -1), np.full(len(gone), np.nan))
        if kind == "misses":
            label = after.copied[after.copied >= 0]
            return Touched(self.recording, np.full(len(label), -1), label, np.ones(len(label)))
        if kind == "class":
            prediction = np.flatnonzero(after.category != before.category)
            label, iou = np.full(len(after), -1, np.int64), np.zeros(len(after))
            assigned, assigned_label, assigned_iou, _ = self._assigned(after)
            label[assigned], iou[assigned] = assigned_label, assigned_iou
            return Touched(self.recording, prediction, label[prediction], iou[prediction])
        target = after.moved if kind == "place" else after.filled
        prediction = np.flatnonzero(target >= 0)
        iou = self._overlap(after, prediction, target[prediction])[0]
        better = iou > self._overlap(before, prediction, target[prediction])[0]
        return Touched(self.recording, prediction[better], target[prediction[better]], iou[better])

    # --- overlaps -----------------------------------------------------------------------------------------------------

    def _regions(self, changed: Changed) -> Int64:
        """One number per region: whose points, turned onto which label, with whose energies."""
        owner = np.where(changed.source >= 0, changed.source, len(self.columns.prediction_frame) + changed.copied)
        key = owner
        for target in (changed.moved, changed.filled):
            number = self._label_number[target] + 1 if len(self._label_number) else np.zeros(len(target), np.int64)
            key = key * self._base + np.where(target >= 0, number, 0)
        return key

    def _overlap(self, changed: Changed, position: Int64, label: Int64) -> tuple[Float64, Float64]:
        """IoU and Pearson r of changed predictions with labels of their frames."""
        if not len(position):
            return np.zeros(0), np.zeros(0)
        region = self._regions(changed)[position]
        key = region * self._base + self._label_number[label]
        new = self.overlaps.missing(key)
        if len(new):
            self._compare(new, key, position, label, changed)
        return self.overlaps.at(key)

    def _compare(self, new: Int64, key: Int64, position: Int64, label: Int64, changed: Changed) -> None:
        """Render what is new, and compare it."""
        order = np.argsort(key, kind="stable")
        first = order[np.searchsorted(key[order], new)]
        sample, on = position[first], label[first]
        label_maps = self._label_maps
        iou, pearson = np.zeros(len(new)), np.zeros(len(new))
        # an added prediction is a label, whose map is there: dense regions are most of what rendering costs
        copies = np.flatnonzero(changed.copied[sample] >= 0)
        of = changed.copied[sample[copies]]
        iou[copies] = soft_iou(label_maps, label_maps, of, on[copies])
        pearson[copies] = pearson_inside(label_maps, label_maps, on[copies], of)
        others = np.flatnonzero(changed.copied[sample] < 0)
        if len(others):
            # one row of the changed predictions for each region
            _, example, rows = np.unique(new[others] // self._base, return_index=True, return_inverse=True)
            regions = changed.take(sample[others][example])
            table = changed_regions(*self._tables, regions, of_labels=self._label_regions)
            maps = render_table_0630(table, plans=self._plans)
            iou[others] = soft_iou(maps, label_maps, rows, on[others])
            pearson[others] = pearson_inside(label_maps, maps, on[others], rows)
        self.overlaps = self.overlaps.with_more(new, iou, pearson)
        self.has_rendered = True

    @cached_property
    def _tables(self) -> tuple[AnnotationTable, AnnotationTable]:
        return self._make_tables()

    @cached_property
    def _label_regions(self) -> LabelRegions:
        return LabelRegions(self._tables[0])

    @cached_property
    def _label_maps(self) -> SparseMaps:
        return cached_maps_0630(self._tables[0], use_cache=self._use_cache)

    def _assigned(self, changed: Changed) -> tuple[Int64, Int64, Float64, Float64]:
        """The official assignment: prediction, label, IoU, Pearson r, in the order of the predictions."""
        if changed in self._pairs:
            return self._pairs[changed]
        prediction, label = candidate_pairs(self._label_keys, changed.frame * N_CLASSES + changed.category)
        iou, pearson = self._overlap(changed, prediction, label)
        group = (changed.frame * N_CLASSES + changed.category)[prediction]
        pair = optimal_pairs(prediction, group, iou)
        self._pairs[changed] = prediction[pair], label[pair], iou[pair], pearson[pair]
        return self._pairs[changed]

    @cached_property
    def _label_keys(self) -> Int64:
        return self.columns.label_frame.astype(np.int64) * N_CLASSES + self.columns.label_category

    # --- the kinds ----------------------------------------------------------------------------------------------------

    def _partners(self, changed: Changed) -> _Partners:
        """Who belongs to whom (module docstring)."""
        prediction, label, iou, _ = self._assigned(changed)
        sure = iou > 0
        prediction, label, iou = prediction[sure], label[sure], iou[sure]
        free_prediction, free_label = self._free(changed, prediction, label)
        left, free_labels = np.flatnonzero(free_prediction), np.flatnonzero(free_label)
        keys = changed.frame * N_CLASSES + changed.category
        near_prediction, near_label = candidate_pairs(self._label_keys[free_labels], keys[left])
        more_prediction, more_label = left[near_prediction], free_labels[near_label]
        angle = self._angle(changed, more_prediction, more_label)
        chosen = least_cost_pairs(
            keys[more_prediction], more_label, more_prediction, angle, np.ones(len(angle), np.bool_)
        )
        prediction = np.concatenate([prediction, more_prediction[chosen]])
        label = np.concatenate([label, more_label[chosen]])
        iou = np.concatenate([iou, np.zeros(len(chosen))])
        return _Partners(prediction, label, iou, *self._free(changed, prediction, label))

    def _free(self, changed: Changed, prediction: Int64, label: Int64) -> tuple[Bool, Bool]:
        free_prediction, free_label = np.ones(len(changed), np.bool_), np.ones(len(self.columns.label_frame), np.bool_)
        free_prediction[prediction], free_label[label] = False, False
        return free_prediction, free_label

    def _angle(self, changed: Changed, prediction: Int64, label: Int64) -> Float64:
        """Degrees between strongest points; predictions as they were before any was turned."""
        columns = self.columns
        source = changed.source[prediction]
        angle = great_circle_deg(
            columns.label_azimuth_deg[label],
            columns.label_elevation_deg[label],
            columns.prediction_azimuth_deg[source],
            columns.prediction_elevation_deg[source],
        )
        return np.nan_to_num(angle, nan=_FORBIDDEN_DEG)

    def _class(self, changed: Changed) -> Changed:
        partners = self._partners(changed)
        left, free_labels = np.flatnonzero(partners.free_prediction), np.flatnonzero(partners.free_label)
        near_prediction, near_label = candidate_pairs(
            self.columns.label_frame[free_labels].astype(np.int64), changed.frame[left]
        )
        prediction, label = left[near_prediction], free_labels[near_label]
        angle = self._angle(changed, prediction, label)
        chosen = least_cost_pairs(changed.frame[prediction], label, prediction, angle, angle <= MATCH_ANGLE_DEG)
        category = changed.category.copy()
        category[prediction[chosen]] = self.columns.label_category[label[chosen]]
        return replace(changed, category=category)

    def _presence(self, changed: Changed) -> Changed:
        return changed.take(np.isin(changed.frame * N_CLASSES + changed.category, self._label_keys))

    def _duplicates(self, changed: Changed) -> Changed:
        sounds = np.isin(changed.frame * N_CLASSES + changed.category, self._label_keys)
        return changed.take(~(self._partners(changed).free_prediction & sounds))

    def _place(self, changed: Changed) -> Changed:
        partners = self._partners(changed)
        moved = changed.moved.copy()
        moved[partners.prediction] = partners.label
        return replace(changed, moved=moved)

    def _energy(self, changed: Changed) -> Changed:
        partners = self._partners(changed)
        filled = changed.filled.copy()
        filled[partners.prediction] = partners.label
        return replace(changed, filled=filled)

    def _misses(self, changed: Changed) -> Changed:
        label = np.flatnonzero(self._partners(changed).free_label)
        n = len(label)
        nothing = np.full(n, -1, np.int64)
        added = Changed(
            nothing,
            label,
            nothing,
            nothing,
            self.columns.label_frame[label].astype(np.int64),
            self.columns.label_category[label].astype(np.int64),
            np.ones(n),
            self.columns.label_cm[label],
        )
        both = Changed(
            *(np.concatenate([getattr(changed, f), getattr(added, f)]) for f in changed.__dataclass_fields__)
        )
        return both.take(np.argsort(both.frame, kind="stable"))

    def _ranking(self, changed: Changed) -> Changed:
        prediction, _, iou, _ = self._assigned(changed)
        score = np.zeros(len(changed))
        score[prediction] = iou
        return replace(changed, score=score)


class LabelRegions:
    """What regions of a recording's labels give to predictions: their middles and their energies.

    Each is worked out once, for many calls of :func:`changed_regions`.

    Parameters
    ----------
    labels : AnnotationTable
    """

    def __init__(self, labels: AnnotationTable) -> None:
        self._xy, self._energy = _closed(labels.points_xy), labels.energy
        self._offsets = annotation_point_offsets(labels)
        self._known: dict[int, tuple[cKDTree, float, Float64] | None] = {}

    @cached_property
    def middles(self) -> tuple[Float64, Float64]:
        """Azimuth and elevation of each label's middle, degrees."""
        n = len(self._offsets) - 1
        return middles(
            self._xy[self._offsets[0] : self._offsets[-1]], np.repeat(np.arange(n), np.diff(self._offsets)), n
        )

    def energies_at(self, label: int, xy: Float64) -> Float64:
        """Energy of the label's nearest point, of equally near ones the first; 0 beyond its spacing. Shape (n,).

        ``xy``: points of a region, at least one, x in [0, 360).
        """
        known = self._label(label)
        if known is None:
            return np.zeros(len(xy))
        tree, spacing, energy = known
        if len(energy) <= _EQUALLY_NEAR:
            return self._among(*_nearest(tree, xy, len(energy)), spacing, energy)
        distance, point = _nearest(tree, xy, 2)
        result = self._among(distance, point, spacing, energy)
        tied = np.flatnonzero(distance[:, 0] == distance[:, 1])
        if len(tied):
            result[tied] = self._among(*_nearest(tree, xy[tied], _EQUALLY_NEAR), spacing, energy)
        return result

    @staticmethod
    def _among(distance: Float64, point: Int64, spacing: float, energy: Float64) -> Float64:
        nearest = np.where(distance == distance[:, :1], point, len(energy)).min(axis=1)
        return np.where(distance[:, 0] <= spacing, energy[nearest], 0.0)

    def _label(self, label: int) -> tuple[cKDTree, float, Float64] | None:
        """Points of a label, how far they are from each other (median over some, at least a pixel), their energies."""
        if label not in self._known:
            part = slice(self._offsets[label], self._offsets[label + 1])
            xy = self._xy[part]
            n = len(xy)
            if not n:
                self._known[label] = None
                return None
            tree = cKDTree(xy, boxsize=np.array([ERP_WIDTH, 0.0]), balanced_tree=False, compact_nodes=False)
            spacing = 1.0
            if n > 1:
                chosen = np.rint(np.linspace(0, 1, _SPACING_POINTS) * (n - 1)).astype(np.int64)
                second = np.sort(_nearest(tree, xy[chosen], 2)[0][:, 1])
                # their median, by hand: numpy's takes longer than the search
                spacing = max(float(second[(_SPACING_POINTS - 1) // 2] + second[_SPACING_POINTS // 2]) / 2, 1.0)
            self._known[label] = tree, spacing, self._energy[part]
        return self._known[label]


def _nearest(tree: cKDTree, xy: Float64, k: int) -> tuple[Float64, Int64]:
    """Distances and points of the ``k`` nearest, each of shape (n, k)."""
    distance, point = tree.query(xy, k=_RANKS[:k])
    return np.asarray(distance), np.asarray(point, dtype=np.int64)


def _closed(xy: Float64) -> Float64:
    """Points on the canvas that is closed to the left and right: x in [0, 360)."""
    return np.column_stack([np.mod(xy[:, 0], ERP_WIDTH), xy[:, 1]])


def changed_regions(
    labels: AnnotationTable,
    predictions: AnnotationTable,
    changed: Changed,
    *,
    of_labels: LabelRegions | None = None,
) -> AnnotationTable:
    """Changed predictions as annotations.

    Parameters
    ----------
    labels, predictions : AnnotationTable
        What they were made from.
    changed : Changed
        Frames need not rise for rendering; all frames of the result are those of ``changed`` where they do, else 0.
    of_labels : LabelRegions, optional
        What is known of the labels' regions already.

    Returns
    -------
    AnnotationTable
        One annotation for each, in the order given; instance numbers are positions.
    """
    of_labels = of_labels or LabelRegions(labels)
    n, n_predictions = len(changed), len(predictions)
    is_copy = changed.source < 0
    # polygons and points of both tables, one behind the other
    owner = np.where(is_copy, n_predictions + changed.copied, changed.source)
    n_polygons = len(predictions.point_offsets) - 1
    polygon_offsets = np.concatenate([predictions.polygon_offsets, n_polygons + labels.polygon_offsets[1:]])
    point_offsets = np.concatenate([predictions.point_offsets, predictions.n_points + labels.point_offsets[1:]])
    polygon, new_polygon_offsets = gather_ranges(polygon_offsets, owner)
    point, new_point_offsets = gather_ranges(point_offsets, polygon)
    xy = np.concatenate([predictions.points_xy, labels.points_xy])[point]
    energy = np.concatenate([predictions.energy, labels.energy])[point]
    of = np.repeat(np.arange(n), np.diff(new_point_offsets[new_polygon_offsets]))
    moved = np.flatnonzero((changed.moved >= 0)[of])
    if len(moved):
        regions, region = np.unique(of[moved], return_inverse=True)
        wanted = changed.moved[regions]
        xy[moved] = turned(xy[moved], region, *(angle[wanted] for angle in of_labels.middles))
    filled = np.flatnonzero(changed.filled >= 0)
    if len(filled):
        closed = _closed(xy)
        first = new_point_offsets[new_polygon_offsets]
        columns = changed.filled[filled], first[filled], first[filled + 1]
        for label, start, stop in zip(*(column.tolist() for column in columns), strict=True):
            if start < stop:
                there = of_labels.energies_at(label, closed[start:stop])
                if (there > 0).any():
                    energy[start:stop] = there
    rising = not n or bool((np.diff(changed.frame) >= 0).all())
    return AnnotationTable(
        predictions.recording,
        (changed.frame if rising else np.zeros(n)).astype(np.int32),
        changed.category.astype(np.int16),
        np.arange(n),
        changed.cm,
        changed.score,
        new_polygon_offsets,
        new_point_offsets,
        xy,
        energy,
    )


def middles(xy: Float64, owner: Int64, n: int) -> tuple[Float64, Float64]:
    """Azimuth and elevation of the mean unit vector of each owner's points, degrees; 0, 0 without points."""
    vectors = directions_to_vectors(*pixel_to_direction(*xy.T))
    total = np.stack([np.bincount(owner, weights=v, minlength=n) for v in vectors.T], axis=1)
    total[~total.any(axis=1)] = (1.0, 0.0, 0.0)
    azimuth, elevation = vectors_to_directions(total)
    return azimuth, elevation


def turned(xy: Float64, owner: Int64, azimuth_deg: Float64, elevation_deg: Float64) -> Float64:
    """Points of regions, turned so that each region's middle has a wanted direction.

    About the vertical first, then up or down along the meridian of the middle, so that shape and extent stay.

    Parameters
    ----------
    xy : float64, shape (n, 2)
        Canvas coordinates, label grid.
    owner : int64, shape (n,)
        Region of each point, 0..k - 1.
    azimuth_deg, elevation_deg : float64, shape (k,)

    Returns
    -------
    xy : float64, shape (n, 2)
        With as many decimals as submissions have, on the canvas.
    """
    azimuth, elevation = middles(xy, owner, len(azimuth_deg))
    # columns grow to the right, azimuths to the left
    x = np.mod(xy[:, 0] + (azimuth - azimuth_deg)[owner] * (ERP_WIDTH / 360.0), ERP_WIDTH)
    y = xy[:, 1].copy()
    tilt = np.deg2rad(elevation_deg - elevation)[owner]
    some = np.abs(tilt) > 1e-9
    if some.any():
        around = azimuth_deg[owner][some]
        point_azimuth, point_elevation = pixel_to_direction(x[some], y[some])
        vectors = directions_to_vectors(point_azimuth - around, point_elevation)
        cosine, sine = np.cos(tilt[some]), np.sin(tilt[some])
        lifted = np.stack(
            [
                vectors[:, 0] * cosine - vectors[:, 2] * sine,
                vectors[:, 1],
                vectors[:, 0] * sine + vectors[:, 2] * cosine,
            ],
            axis=1,
        )
        new_azimuth, new_elevation = vectors_to_directions(lifted)
        x[some] = np.mod((180.0 - (new_azimuth + around)) * (ERP_WIDTH / 360.0), ERP_WIDTH)
        y[some] = (90.0 - new_elevation) * (ERP_HEIGHT / 180.0)
    result = np.round(np.stack([x, y], axis=1), _DECIMALS)
    return np.clip(result, 0.0, (ERP_WIDTH, ERP_HEIGHT))


def combinations_of(kinds: Sequence[ErrorKind]) -> list[tuple[ErrorKind, ...]]:
    """Nothing, each kind alone, each pair, and kinds put right one after the other until all are; each set once."""
    sets: list[tuple[ErrorKind, ...]] = [(), *((kind,) for kind in kinds)]
    sets += [(a, b) for k, a in enumerate(kinds) for b in kinds[k + 1 :]]
    sets += [tuple(kinds[: k + 1]) for k in range(2, len(kinds))]
    return sets
