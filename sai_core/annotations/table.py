"""The one container of annotations: labels, predictions and corrected labels of a recording.

Columnar and frozen: per-annotation columns plus flat point arrays with two levels of offsets
(annotation -> polygons -> points), so that a recording is a handful of arrays that can be memory-mapped, sliced by
frame without a copy, and compared with ``==`` on arrays.

Order is meaning. Annotations are sorted by frame (stable: file order is kept within a frame); polygons and points
keep the order of the file, because the official evaluator's triangulation depends on it (metrics notes, "Point
order matters").
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from sai_core.annotations._packed import Packed
from sai_core.annotations.notes import NO_NOTES, FileNotes
from sai_core.errors import InputError

_COLUMNS: tuple[tuple[str, type], ...] = (
    ("frame", np.int32),
    ("category_id", np.int16),
    ("instance_id", np.int64),
    ("distance_cm", np.float64),
    ("score", np.float64),
    ("polygon_offsets", np.int64),
    ("point_offsets", np.int64),
    ("points_xy", np.float64),
    ("energy", np.float64),
)


class PackedPoints(NamedTuple):
    """Columns of points in less room than float64, without losing a bit (:mod:`sai_core.annotations._packed`)."""

    x: Packed
    y: Packed
    energy: Packed

    def xy(self, index: Any = slice(None)) -> npt.NDArray[np.float64]:
        """Coordinates of a slice or an index, shape (n, 2)."""
        return np.stack([self.x.floats(index), self.y.floats(index)], axis=1)

    @property
    def nbytes(self) -> int:
        """Bytes in memory."""
        return self.x.nbytes + self.y.nbytes + self.energy.nbytes


_POINT_COLUMNS: Final[tuple[str, str]] = ("points_xy", "energy")


@dataclass(frozen=True, eq=False)
class AnnotationTable:
    """Annotations of one recording.

    Large tables that were read from a file hold their points packed (:meth:`of_packed`). Reading :attr:`points_xy` or
    :attr:`energy` unpacks them all, and they stay unpacked; :meth:`points`, :meth:`polygons`, :meth:`xy_of` and
    :meth:`energy_of` unpack what they give, and :meth:`unpacked` is a copy to work on.

    Attributes
    ----------
    recording : str
        Name without suffixes, e.g. ``fold4_room23_mix001``.
    frame : int32, shape (n,)
        Zero-based 100 ms frame (``metadata_frame_index``), non-decreasing, >= 0.
    category_id : int16, shape (n,)
        0..12.
    instance_id : int64, shape (n,)
        Source or track number; not unique across classes. -1 where the file has none.
    distance_cm : float64, shape (n,)
        Centimetres; NaN where the file has none.
    score : float64, shape (n,)
        Confidence in [0, 1] of predictions; NaN where the file has none (labels).
    polygon_offsets : int64, shape (n + 1,)
        Annotation ``i`` owns polygons ``polygon_offsets[i]:polygon_offsets[i + 1]``.
    point_offsets : int64, shape (n_polygons + 1,)
        Polygon ``p`` owns points ``point_offsets[p]:point_offsets[p + 1]``.
    points_xy : float64, shape (n_points, 2)
        Canvas coordinates in [0, 360] x [0, 180], label grid, file order.
    energy : float64, shape (n_points,)
        Energy of each point, finite.
    notes : FileNotes
        What the reader of the file left out or guessed; empty for a table that was made.

    Raises
    ------
    InputError
        Shapes or offsets that do not fit together, frames out of order.
    """

    recording: str
    frame: npt.NDArray[np.int32]
    category_id: npt.NDArray[np.int16]
    instance_id: npt.NDArray[np.int64]
    distance_cm: npt.NDArray[np.float64]
    score: npt.NDArray[np.float64]
    polygon_offsets: npt.NDArray[np.int64]
    point_offsets: npt.NDArray[np.int64]
    points_xy: npt.NDArray[np.float64]
    energy: npt.NDArray[np.float64]
    notes: FileNotes = field(default=NO_NOTES, kw_only=True)

    def __post_init__(self) -> None:
        points = self.points_xy
        packed = points if isinstance(points, PackedPoints) else None
        object.__setattr__(self, "_points", packed)
        for name, dtype in _COLUMNS:
            if packed is not None and name in _POINT_COLUMNS:
                object.__delattr__(self, name)  # found by __getattr__
                continue
            # asarray keeps memory maps and correct dtypes as they are (no copy)
            object.__setattr__(self, name, np.asarray(getattr(self, name), dtype=dtype))
        n = self.frame.shape[0]
        for name in ("category_id", "instance_id", "distance_cm", "score"):
            if getattr(self, name).shape != (n,):
                raise InputError(f"{self.recording}: column {name} has shape {getattr(self, name).shape}, not ({n},).")
        if self.polygon_offsets.shape != (n + 1,):
            raise InputError(f"{self.recording}: polygon_offsets needs {n + 1} entries.")
        if packed is None and (self.points_xy.ndim != 2 or self.points_xy.shape[1] != 2):
            raise InputError(f"{self.recording}: points_xy must have shape (points, 2).")
        for offsets, total, name in (
            (self.polygon_offsets, self.point_offsets.shape[0] - 1, "polygon_offsets"),
            (self.point_offsets, self.n_points, "point_offsets"),
        ):
            if (
                offsets.ndim != 1
                or offsets.shape[0] < 1
                or offsets[0] != 0
                or offsets[-1] != total
                or np.any(np.diff(offsets) < 0)
            ):
                raise InputError(f"{self.recording}: {name} must rise from 0 to {total}.")
        n_energies = (len(packed.energy),) if packed is not None else self.energy.shape
        if n_energies != (self.n_points,):
            raise InputError(f"{self.recording}: energy needs one value per point.")
        if n and (self.frame[0] < 0 or np.any(np.diff(self.frame) < 0)):
            raise InputError(f"{self.recording}: frames must be >= 0 and in order.")

    def __len__(self) -> int:
        return int(self.frame.shape[0])

    @property
    def n_points(self) -> int:
        """Number of points of all annotations."""
        packed = self._packed
        return len(packed.x) if packed is not None else int(self.points_xy.shape[0])

    @property
    def _packed(self) -> PackedPoints | None:
        return vars(self).get("_points")

    if not TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any:
            """Columns of packed points, unpacked when they are first asked for."""
            packed = vars(self).get("_points")
            if packed is None or name not in _POINT_COLUMNS:
                raise AttributeError(name)
            values = packed.xy() if name == "points_xy" else packed.energy.floats()
            values.flags.writeable = False
            return self.__dict__.setdefault(name, values)

    @property
    def nbytes(self) -> int:
        """Bytes in memory."""
        held = [value.nbytes for value in vars(self).values() if isinstance(value, np.ndarray)]
        return sum(held) + (self._packed.nbytes if self._packed is not None else 0)

    def unpacked(self) -> AnnotationTable:
        """The table itself, or, of one with packed points, a copy whose points may be unpacked for a while."""
        if self._packed is None:
            return self
        columns = {name: getattr(self, name) for name, _ in _COLUMNS if name not in _POINT_COLUMNS}
        return AnnotationTable.of_packed(self.recording, columns, self._packed, self.notes)

    @classmethod
    def of_packed(
        cls, recording: str, columns: Mapping[str, npt.NDArray[Any]], points: PackedPoints, notes: FileNotes = NO_NOTES
    ) -> AnnotationTable:
        """Table of the columns but those of points, which stay packed."""
        return cls(recording, **columns, points_xy=points, energy=None, notes=notes)  # type: ignore[arg-type]

    def xy_of(self, index: Any) -> npt.NDArray[np.float64]:
        """Coordinates of some points: a slice or an index into the columns."""
        return self.points_xy[index] if self._is_unpacked else self._packed.xy(index)  # type: ignore[union-attr]

    def energy_of(self, index: Any) -> npt.NDArray[np.float64]:
        """Energies of some points: a slice or an index into the columns."""
        return self.energy[index] if self._is_unpacked else self._packed.energy.floats(index)  # type: ignore[union-attr]

    @property
    def surely_whole(self) -> bool:
        """Whether the way points are packed says that all coordinates are whole; False where each must be looked at."""
        packed = self._packed
        return packed is not None and all(c.codes.dtype.kind == "u" and not c.decimals for c in (packed.x, packed.y))

    @property
    def _is_unpacked(self) -> bool:
        return all(name in vars(self) for name in _POINT_COLUMNS)

    @property
    def n_frames(self) -> int:
        """Last annotated frame + 1; 0 when empty. The recording itself may be longer."""
        return int(self.frame[-1]) + 1 if len(self) else 0

    @cached_property
    def _frame_starts(self) -> npt.NDArray[np.int64]:
        return np.searchsorted(self.frame, np.arange(self.n_frames + 1)).astype(np.int64)

    def frame_slice(self, frame: int) -> slice:
        """Annotations of one frame as a slice into the columns; empty for a frame without any."""
        if frame < 0 or frame >= self.n_frames:
            return slice(0, 0)
        return slice(int(self._frame_starts[frame]), int(self._frame_starts[frame + 1]))

    def polygons(self, index: int) -> list[tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]]:
        """``(points_xy (m, 2), energy (m,))`` views of each polygon list of annotation ``index``."""
        start, stop = int(self.polygon_offsets[index]), int(self.polygon_offsets[index + 1])
        bounds = self.point_offsets[start : stop + 1]
        xy, energy = self.points(index)
        bounds = bounds - bounds[0]
        return [(xy[a:b], energy[a:b]) for a, b in zip(bounds[:-1].tolist(), bounds[1:].tolist(), strict=True)]

    def points(self, index: int) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        """``(points_xy, energy)`` views over all polygon lists of annotation ``index`` together."""
        start = int(self.point_offsets[self.polygon_offsets[index]])
        stop = int(self.point_offsets[self.polygon_offsets[index + 1]])
        return self.xy_of(slice(start, stop)), self.energy_of(slice(start, stop))

    def take(self, indices: npt.ArrayLike) -> AnnotationTable:
        """New table of the chosen annotations (integer indices or a boolean mask), sorted by frame, stable."""
        chosen = np.asarray(indices)
        if chosen.dtype == bool:
            if chosen.shape != (len(self),):
                raise InputError(f"{self.recording}: a mask needs {len(self)} entries, got {chosen.shape}.")
            chosen = np.flatnonzero(chosen)
        chosen = chosen.astype(np.int64).reshape(-1)
        chosen = chosen[np.argsort(self.frame[chosen], kind="stable")]
        polygon_index, polygon_offsets = gather_ranges(self.polygon_offsets, chosen)
        point_index, point_offsets = gather_ranges(self.point_offsets, polygon_index)
        return AnnotationTable(
            self.recording,
            self.frame[chosen],
            self.category_id[chosen],
            self.instance_id[chosen],
            self.distance_cm[chosen],
            self.score[chosen],
            polygon_offsets,
            point_offsets,
            self.xy_of(point_index),
            self.energy_of(point_index),
            notes=self.notes,
        )

    @classmethod
    def empty(cls, recording: str) -> AnnotationTable:
        """Table without annotations."""
        zero = np.zeros(0)
        offsets = np.zeros(1, dtype=np.int64)
        return cls(recording, zero, zero, zero, zero, zero, offsets, offsets, np.zeros((0, 2)), zero)  # type: ignore[arg-type]


def point_blocks(table: AnnotationTable, *, most: int = 1 << 20) -> Iterator[tuple[slice, slice]]:
    """Annotations a million points at a time, so that nothing need be unpacked for a whole table at once.

    Parameters
    ----------
    table : AnnotationTable
    most : int
        Points of a block; an annotation that has more is a block by itself.

    Yields
    ------
    annotations, points : slice
        Into the columns, in order; every annotation once.
    """
    offsets = table.point_offsets[table.polygon_offsets]
    first = 0
    while first < len(table):
        last = int(np.searchsorted(offsets, offsets[first] + most, side="right")) - 1
        last = max(last, first + 1)
        yield slice(first, last), slice(int(offsets[first]), int(offsets[last]))
        first = last


def gather_ranges(
    offsets: npt.NDArray[np.int64], chosen: npt.NDArray[np.int64]
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Indices of all that the chosen owners have, one owner after the other.

    Parameters
    ----------
    offsets : int64, shape (n + 1,)
        Owner ``i`` has the entries ``offsets[i]`` to ``offsets[i + 1] - 1``.
    chosen : int64, shape (m,)
        Owners in any order, repeated or not.

    Returns
    -------
    index : int64
        Entries of the chosen owners.
    new_offsets : int64, shape (m + 1,)
        Where those of each begin in ``index``.

    Examples
    --------
    >>> index, new_offsets = gather_ranges(np.array([0, 2, 2, 5]), np.array([2, 0]))
    >>> index.tolist(), new_offsets.tolist()
    ([2, 3, 4, 0, 1], [0, 3, 5])
    """
    counts = offsets[chosen + 1] - offsets[chosen]
    new_offsets = np.zeros(len(chosen) + 1, np.int64)
    np.cumsum(counts, out=new_offsets[1:])
    return np.arange(new_offsets[-1]) + np.repeat(offsets[chosen] - new_offsets[:-1], counts), new_offsets
