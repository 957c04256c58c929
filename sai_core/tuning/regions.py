"""What the evaluator of 2026-06-30 makes of a candidate's exported region, computed once for each candidate.

One :class:`RegionScores` holds one recording and one set of export settings. It knows two things, both filled when
they are first asked for:

* the map of a candidate's region on the evaluator's 100 x 50 canvas (some 0.5 kB each);
* soft IoU and Pearson r of pairs of a candidate and a label (24 bytes each).

The label of a pair may be of a later frame than the candidate: a coasting track shows its last region again.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from sai_core.annotations.table import gather_ranges
from sai_core.metrics.official.pairing_0630 import pearson_inside, soft_iou
from sai_core.metrics.official.rendering_0630 import SparseMaps

Int64 = npt.NDArray[np.int64]
Float64 = npt.NDArray[np.float64]


class RegionScores:
    """Maps of candidates and their likeness to labels; grows as it is asked.

    Parameters
    ----------
    label_maps : SparseMaps
        Maps of all labels of the recording.
    n_candidates : int
    render : callable
        Maps of the regions of some candidates (rows, rising), as they are exported.
    """

    def __init__(self, label_maps: SparseMaps, n_candidates: int, render: Callable[[Int64], SparseMaps]) -> None:
        self._labels = label_maps
        self._render = render
        self._slot = np.full(n_candidates, -1, dtype=np.int64)
        self._maps = SparseMaps.empty()
        self._keys = np.zeros(0, dtype=np.int64)
        self._iou = np.zeros(0)
        self._pearson = np.zeros(0)

    @property
    def n_rendered(self) -> int:
        """Candidates whose region has been rendered."""
        return len(self._maps)

    @property
    def n_pairs(self) -> int:
        """Pairs of a candidate and a label that have been compared."""
        return len(self._keys)

    @property
    def nbytes(self) -> int:
        """Memory that it holds, in bytes."""
        maps = self._maps
        arrays = (maps.offsets, maps.pixels, maps.values, maps.painted, self._slot, self._keys, self._iou)
        return sum(a.nbytes for a in arrays) + self._pearson.nbytes

    def pairs(self, candidate: Int64, label: Int64) -> tuple[Float64, Float64]:
        """Soft IoU and Pearson r of pairs, to the last bit those of the evaluator.

        Parameters
        ----------
        candidate, label : int64, shape (n,)
            Rows of the raw store and of the label table.

        Returns
        -------
        iou, pearson : float64, shape (n,)
            IoU is a float32 value, as in the official matrix; Pearson is NaN where undefined.
        """
        if not len(candidate):
            return np.zeros(0), np.zeros(0)
        keys = candidate * max(len(self._labels), 1) + label
        missing = np.unique(keys[~self._knows(keys)])
        if len(missing):
            self._compare(missing)
        at = np.searchsorted(self._keys, keys)
        return self._iou[at], self._pearson[at]

    def drop_maps(self) -> None:
        """Forget the maps, to save memory; what is known of pairs stays."""
        self._slot[:] = -1
        self._maps = SparseMaps.empty()

    def _knows(self, keys: Int64) -> npt.NDArray[np.bool_]:
        at = np.minimum(np.searchsorted(self._keys, keys), max(len(self._keys) - 1, 0))
        known: npt.NDArray[np.bool_] = self._keys[at] == keys if len(self._keys) else np.zeros(len(keys), dtype=bool)
        return known

    def _compare(self, keys: Int64) -> None:
        candidate, label = np.divmod(keys, max(len(self._labels), 1))
        rows, of = np.unique(candidate, return_inverse=True)
        maps = self._maps_of(rows)
        iou = soft_iou(maps, self._labels, of, label)
        pearson = pearson_inside(self._labels, maps, label, of)
        order = np.argsort(np.concatenate([self._keys, keys]), kind="stable")
        self._keys = np.concatenate([self._keys, keys])[order]
        self._iou = np.concatenate([self._iou, iou])[order]
        self._pearson = np.concatenate([self._pearson, pearson])[order]

    def _maps_of(self, rows: Int64) -> SparseMaps:
        fresh = rows[self._slot[rows] < 0]
        if len(fresh):
            self._slot[fresh] = len(self._maps) + np.arange(len(fresh))
            self._maps = _joined(self._maps, self._render(fresh))
        return _taken(self._maps, self._slot[rows])


def _joined(a: SparseMaps, b: SparseMaps) -> SparseMaps:
    return SparseMaps(
        np.concatenate([a.offsets, a.offsets[-1] + b.offsets[1:]]),
        np.concatenate([a.pixels, b.pixels]),
        np.concatenate([a.values, b.values]),
        np.concatenate([a.painted, b.painted]),
    )


def _taken(maps: SparseMaps, chosen: Int64) -> SparseMaps:
    """Some of the maps, so that what is computed from all of a container's maps is computed from these alone."""
    index, offsets = gather_ranges(maps.offsets, chosen)
    return SparseMaps(offsets, maps.pixels[index], maps.values[index], maps.painted[chosen])
