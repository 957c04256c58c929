"""One annotation at a time: typed decoding, growing columns, and the one sentence that says what is wrong.

The fast path decodes with a typed msgspec decoder and checks whole batches in NumPy. Only when it fails is the
offending annotation looked at again, slowly and key by key, to name the field; both paths enforce the same rules.
"""

from __future__ import annotations

import json
import math
import os
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from itertools import chain
from typing import Any, Final, Literal, NoReturn

import msgspec
import numpy as np
import numpy.typing as npt

from sai_core.annotations._classes import ClassIds
from sai_core.annotations._columns import Columns, ColumnSink, reordered
from sai_core.annotations._points import Decimals, Points
from sai_core.annotations._scan import Run, show
from sai_core.annotations.notes import FileNotes, Note, distance_note, left_out_classes
from sai_core.annotations.table import PackedPoints
from sai_core.errors import InputError
from sai_core.geometry import ERP_HEIGHT, ERP_WIDTH
from sai_core.taxonomy import N_CLASSES

MAX_FRAME: Final[int] = 10_000_000
"""Eleven days at 10 frames a second."""
MAX_POINTS: Final[int] = 2**28
"""As many as fit into the largest text that is read (8 bytes for the shortest point); 6.4 GB of columns as float64."""
_INT64_LIMIT: Final[int] = 2**63
_IDS_FROM_ONE: Final[str] = (
    "no annotation has class 0 and some have 13, so ids seem to count from 1, and every class is then read as the next "
    "one; subtract 1, or give the file a list 'categories' with ids and names."
)

NO_VALUE: Final = msgspec.Raw(b"null")

Part = list[tuple[float, float, float]] | npt.NDArray[np.float64]
"""Points ``[x, y, energy]`` of one part, as a file has them or, where they were made, as an array (n, 3)."""
Segmentation = list[Part]
Path = str | os.PathLike[str]


@dataclass(frozen=True, kw_only=True)
class ReadOptions:
    """What a reader accepts; part of the key of the binary cache.

    Attributes
    ----------
    check_canvas : bool
        Coordinates outside [0, 360] x [0, 180] are an error (else any finite coordinate is kept).
    unknown_classes : {"error", "drop"}
        What becomes of a class that is none of the 13.
    """

    check_canvas: bool = True
    unknown_classes: Literal["error", "drop"] = "error"


class LabelAnnotation(msgspec.Struct):
    """One element of a label or submission file; keys that are not named here are skipped by the decoder."""

    metadata_frame_index: int | float
    category_id: int | float
    segmentation: list[list[tuple[float, float, float]]]
    instance_id: int | float | None = -1
    distance: float | None = None
    score: float | None = None
    video_id: msgspec.Raw = NO_VALUE


class BadBatch(Exception):
    """Something in the batch breaks a rule; look at its annotations one by one."""


class TableBuilder:
    """Checks decoded annotations and moves them into columns, a batch at a time."""

    def __init__(self, options: ReadOptions) -> None:
        sink = self._sink = ColumnSink()
        self._options = options
        self._n_polygons = 0
        self._n_points = 0
        self._last_frame = -1
        self._sorted = True
        self._left_out: Counter[int] = Counter()
        self.classes = ClassIds()
        self.video_ids: set[bytes] = set()
        self.n_annotations = 0
        self.has_score = False
        zero = np.zeros(1, dtype=np.int64)
        sink.append("polygon_offsets", zero)
        sink.append("point_offsets", zero)

    def add(self, batch: list[LabelAnnotation], points: Points | None = None) -> None:
        """Take annotations in file order; raises :class:`BadBatch` (and takes none) where one breaks a rule.

        With ``points``, these are the points of the annotations, whose segmentations are empty; one that would have to
        be left out counts as breaking a rule then.
        """
        file_ids = _whole_numbers([a.category_id for a in batch])
        category = self.classes.in_batch(file_ids)
        known = (category >= 0) & (category < N_CLASSES)
        if not known.all() and (self._options.unknown_classes == "error" or points is not None):
            raise BadBatch
        self.video_ids |= {bytes(a.video_id) for a in batch} - {b"null"}
        left_out = file_ids[~known]
        if len(left_out):
            batch = [a for a, keep in zip(batch, known.tolist(), strict=True) if keep]
            category = category[known]
        if batch:
            self._append(batch, category, points)
        # a batch that breaks a rule has been refused by now
        self._left_out.update(left_out.tolist())

    def _append(self, batch: list[LabelAnnotation], category: npt.NDArray[np.int64], read: Points | None) -> None:
        frame = _whole_numbers([a.metadata_frame_index for a in batch])
        instance = _whole_numbers([-1 if a.instance_id is None else a.instance_id for a in batch])
        # None becomes NaN
        distance = np.array([a.distance for a in batch], dtype=np.float64)
        score = np.array([a.score for a in batch], dtype=np.float64)
        points = _points_of(batch) if read is None else read
        # NaN (absent) passes both comparisons of scores
        if frame.min() < 0 or frame.max() > MAX_FRAME or np.any(score < 0.0) or np.any(score > 1.0):
            raise BadBatch
        if self._options.check_canvas and not (_within(points.x, ERP_WIDTH) and _within(points.y, ERP_HEIGHT)):
            raise BadBatch
        self._sorted &= bool(frame[0] >= self._last_frame and np.all(frame[1:] >= frame[:-1]))
        self._last_frame = int(frame[-1])
        self.has_score |= not np.isnan(score).all()
        sink = self._sink
        sink.append("frame", frame)
        sink.append("category_id", category)
        sink.append("instance_id", instance)
        sink.append("distance_cm", distance)
        sink.append("score", score)
        sink.append("polygon_offsets", np.cumsum(points.n_parts, dtype=np.int64) + self._n_polygons)
        sink.append("point_offsets", np.cumsum(points.part_sizes, dtype=np.int64) + self._n_points)
        sink.append_points(points.x, points.y, points.energy)
        self._n_polygons += len(points.part_sizes)
        self._n_points += int(points.part_sizes.sum())
        self.n_annotations += len(batch)

    @property
    def n_points(self) -> int:
        """Points moved into the sink so far."""
        return self._n_points

    def finish(self, notes: tuple[Note, ...] = ()) -> tuple[Columns, PackedPoints, FileNotes]:
        """All columns, sorted by frame (stable), and what is to be told of the file, with the notes given first."""
        columns, points = self._sink.finish()
        counts: Counter[str] = Counter()
        for file_id, n in self._left_out.items():
            counts[self.classes.shown(file_id)] += n
        remarks = [*notes, *self.classes.notes]
        from_one = self.classes.known is None and set(self._left_out) == {N_CLASSES}
        if from_one and not np.any(columns["category_id"] == 0):
            remarks.append(Note("ids_from_one", _IDS_FROM_ONE))
        small = distance_note(columns["distance_cm"])
        if small is not None:
            remarks.append(small)
        if not self._sorted:
            columns, points = reordered(columns, points, np.argsort(columns["frame"], kind="stable"))
        return columns, points, FileNotes(left_out_classes(counts), tuple(remarks))


def _points_of(batch: list[LabelAnnotation]) -> Points:
    """Points of decoded annotations."""
    lists: list[Part] = list(chain.from_iterable([a.segmentation for a in batch]))
    sizes = np.array(list(map(len, lists)), np.int64)
    n = int(sizes.sum())
    if any(isinstance(part, np.ndarray) for part in lists):
        points = np.concatenate([np.asarray(part, dtype=np.float64).reshape(-1, 3) for part in lists])
    else:
        points = np.fromiter(chain.from_iterable(chain.from_iterable(lists)), dtype=np.float64, count=3 * n)
        points = points.reshape(n, 3)
    # rows of one coordinate each: reducing along the contiguous axis is ten times faster
    x, y, energy = np.ascontiguousarray(points.T)
    return Points(x, y, energy, sizes, np.array([len(a.segmentation) for a in batch], np.int64))


def _within(values: npt.NDArray[np.float64] | Decimals, limit: int) -> bool:
    """Whether all numbers lie from 0 to a limit."""
    if isinstance(values, Decimals):
        return int(values.codes.max(initial=0)) <= limit * 10**values.decimals
    return not len(values) or bool(values.min() >= 0 and values.max() <= limit)


def _whole_numbers(values: list[int | float]) -> npt.NDArray[np.int64]:
    """Whole numbers as int64; raises :class:`BadBatch` for a fraction or a number beyond 64 bits."""
    try:
        column = np.array(values)
        if column.dtype != np.int64:
            # one by one, so that a float beside a large integer does not round it
            column = np.array([value if value.__class__ is int else _whole(value) for value in values], dtype=np.int64)
    except OverflowError:
        raise BadBatch from None
    return column


def _whole(number: int | float) -> int:
    # the decoder lets no infinity and no NaN through
    if number != int(number):
        raise BadBatch
    return int(number)


class FieldChecker:
    """Says what is wrong with one annotation, key by key.

    Parameters
    ----------
    path, index
        Named in the message.
    """

    def __init__(self, path: Path, index: int) -> None:
        self._where = f"{path}: annotation {index}"

    def fail(self, message: str) -> NoReturn:
        """Raise with file and annotation in front."""
        raise InputError(f"{self._where}{message}")

    def parse(self, raw: bytes) -> dict[str, Any]:
        """The annotation as plain objects, NaN and Infinity let through so that their field can be named."""
        try:
            text = raw.decode("utf-8")
        except UnicodeDecodeError:
            self.fail(" is not valid UTF-8 text; save the file as UTF-8.")
        try:
            value = json.loads(text, parse_int=_bounded_int)
        except RecursionError:
            self.fail(" nests lists too deeply; this is not an annotation.")
        except ValueError as error:
            reason = str(error).split(":")[0]
            self.fail(f" is malformed JSON ({reason} at character {getattr(error, 'pos', '?')} of the annotation).")
        assert isinstance(value, dict)
        return value

    def number(self, record: dict[str, Any], key: str, *, optional: bool) -> float | None:
        """A finite number, or None where it may be absent."""
        value = record.get(key)
        if value is None and optional:
            return None
        if key not in record:
            self.fail(f" has no key {key!r}; every annotation needs one.")
        if isinstance(value, bool) or not isinstance(value, int | float):
            self.fail(f", field {key!r}: got {kind_of(value)}, expected a number.")
        if not math.isfinite(value):
            self.fail(f", field {key!r}: got {value}, expected a finite number.")
        return value

    def whole(self, record: dict[str, Any], key: str, *, optional: bool = False) -> int | None:
        """A whole number within 64 bits."""
        value = self.number(record, key, optional=optional)
        if value is None:
            return None
        if value != int(value):
            self.fail(f", field {key!r}: got {value}, expected a whole number.")
        if not -_INT64_LIMIT <= value < _INT64_LIMIT:
            self.fail(f", field {key!r}: the number is too large.")
        return int(value)

    def frame(self, value: int | None, key: str) -> None:
        """A frame index within limits."""
        if value is not None and not 0 <= value <= MAX_FRAME:
            self.fail(f", field {key!r}: got {value}, expected a frame index from 0 to {MAX_FRAME}.")

    def unknown_class(self, category: int, classes: ClassIds) -> NoReturn:
        """Refuse a class that is none of the 13, by its name where the file gives one."""
        if classes.known is not None:
            self.fail(f", field 'category_id': {classes.shown(category)} is none of the 13 classes.")
        hint = "; where ids count from 1, a list 'categories' with the names says so" if category == N_CLASSES else ""
        self.fail(f", field 'category_id': got {category}, expected a class from 0 to {N_CLASSES - 1}{hint}.")

    def score(self, record: dict[str, Any]) -> None:
        """A confidence in [0, 1]."""
        value = self.number(record, "score", optional=True)
        if value is not None and not 0 <= value <= 1:
            self.fail(f", field 'score': got {value:g}, expected a number in [0, 1].")

    def point(self, point: Any, place: str, options: ReadOptions) -> None:
        """``[x, y, energy]`` with finite numbers on the canvas."""
        if not isinstance(point, list):
            self.fail(f", field 'segmentation': {place} is {kind_of(point)}, expected a list [x, y, energy].")
        if len(point) != 3:
            self.fail(f", field 'segmentation': {place} has {len(point)} numbers, expected three: [x, y, energy].")
        for name, value in zip(("x", "y", "energy"), point, strict=True):
            if isinstance(value, bool) or not isinstance(value, int | float):
                self.fail(f", field 'segmentation': {name} of {place} is {kind_of(value)}, expected a number.")
            if not _is_finite(value):
                self.fail(f", field 'segmentation': {name} of {place} is not a finite number.")
        self.on_canvas(point[0], point[1], place, options)

    def on_canvas(self, x: float, y: float, place: str, options: ReadOptions) -> None:
        """Within [0, 360] x [0, 180] where that is asked for."""
        if options.check_canvas and not (0 <= x <= ERP_WIDTH and 0 <= y <= ERP_HEIGHT):
            self.fail(
                f", field 'segmentation': {place} is at ({x:g}, {y:g}), outside the canvas "
                f"[0, {ERP_WIDTH}] x [0, {ERP_HEIGHT}]."
            )


def explain_label(path: Path, index: int, raw: bytes, options: ReadOptions, classes: ClassIds) -> None:
    """Raise the InputError that says what is wrong with a label annotation; return if nothing is."""
    checker = FieldChecker(path, index)
    record = checker.parse(raw)
    checker.frame(checker.whole(record, "metadata_frame_index"), "metadata_frame_index")
    category = checker.whole(record, "category_id")
    assert category is not None
    if not 0 <= classes.of(category) < N_CLASSES:
        if options.unknown_classes == "drop":
            return
        checker.unknown_class(category, classes)
    checker.whole(record, "instance_id", optional=True)
    checker.number(record, "distance", optional=True)
    checker.score(record)
    if "segmentation" not in record:
        checker.fail(" has no key 'segmentation'; every annotation needs one.")
    polygons = record["segmentation"]
    if not isinstance(polygons, list):
        checker.fail(
            f", field 'segmentation': got {kind_of(polygons)}, expected lists of points [[[x, y, energy], ...], ...]."
        )
    for p, polygon in enumerate(polygons):
        if not isinstance(polygon, list):
            checker.fail(f", field 'segmentation': part {p} is {kind_of(polygon)}, expected a list of points.")
        for k, point in enumerate(polygon):
            checker.point(point, f"point {k} of part {p}", options)


def explain_batch(path: Path, run: Run, elements: range, explain: Callable[[int, bytes], None]) -> NoReturn:
    """Raise for the first of the elements that breaks a rule."""
    for k in elements:
        explain(run.first + k, run.raw(k))
    first, last = run.first + elements[0], run.first + elements[-1]
    where = f"annotation {first}" if first == last else f"one of the annotations {first} to {last}"
    raise InputError(f"{path}: {where} cannot be read as an annotation.")


def _bounded_int(text: str) -> int | float:
    # Python refuses to convert thousands of digits; as a float such a number is infinite and reported as such
    return int(text) if len(text) < 400 else float(text)


def _is_finite(value: int | float) -> bool:
    try:
        return math.isfinite(value)
    except OverflowError:
        return False


def kind_of(value: Any) -> str:
    """How a wrong value is called in a message."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return f"the text {show(value)}"
    if isinstance(value, dict):
        return "an object"
    if isinstance(value, list):
        return "a list"
    return f"the number {value!r}"[:60]
