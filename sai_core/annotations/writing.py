"""Writing label and submission JSON: streaming, atomic, in the official shape.

Numbers are written as short as they can be without losing a bit (shortest text that reads back as the same float64;
whole numbers without a point), unless fewer decimals are asked for. The order of annotations, parts and points is kept.
"""

from __future__ import annotations

import gzip
import itertools
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import msgspec
import numpy as np
import numpy.typing as npt

from sai_core.annotations.table import AnnotationTable, point_blocks
from sai_core.errors import InputError
from sai_core.files import atomic_write
from sai_core.taxonomy import N_CLASSES

MAX_SUBMISSION_BYTES: Final[int] = 20 * 1024 * 1024
"""Largest submission file, in bytes of JSON, that the challenge and its evaluators since 2026-05-18 accept."""

_WRITE_BYTES: Final[int] = 1 << 20
_encode = msgspec.json.encode


def write_label_json(table: AnnotationTable, path: str | os.PathLike[str], *, decimals: int | None = None) -> None:
    """Write a label file; gzip if the name ends in ``.gz``.

    Parameters
    ----------
    table : AnnotationTable
        Scores are not written (labels have none); an absent distance is left out.
    path : path
        Replaced only when everything has been written.
    decimals : int, optional
        Round coordinates, energies and distances to so many decimals; by default nothing is lost.

    Raises
    ------
    InputError
        A class outside 0..12, or a number that is not finite.
    EnvironmentProblem
        The file cannot be written.
    """
    write_pieces(label_pieces(table, decimals=decimals), path)


def write_submission_json(table: AnnotationTable, path: str | os.PathLike[str], *, decimals: int | None = None) -> None:
    """Write a submission; as :func:`write_label_json`, with a score in every annotation.

    Raises
    ------
    InputError
        Also: an annotation without a score, or with one outside [0, 1].
    """
    missing = np.flatnonzero(np.isnan(table.score))
    if missing.size:
        raise InputError(
            f"{table.recording}: annotation {missing[0]} has no score; a submission needs one in every annotation."
        )
    write_pieces(submission_pieces(table, decimals=decimals), path)


def label_pieces(table: AnnotationTable, *, decimals: int | None = None) -> Iterator[bytes]:
    """Text of a label file in pieces, one for each annotation between head and tail."""
    check_writable(table)
    return _document(table, decimals=decimals, with_score=False)


def submission_pieces(table: AnnotationTable, *, decimals: int | None = None) -> Iterator[bytes]:
    """Text of a submission in pieces; an absent score is left out (the official evaluator takes it as 0)."""
    check_writable(table)
    return _document(table, decimals=decimals, with_score=True)


def check_writable(table: AnnotationTable) -> None:
    """Make sure that what is written can be read again.

    Raises
    ------
    InputError
        A class outside 0..12, a score outside [0, 1], or an infinite or undefined number.
    """
    bad = np.flatnonzero((table.category_id < 0) | (table.category_id >= N_CLASSES))
    if bad.size:
        raise InputError(
            f"{table.recording}: annotation {bad[0]} has category_id {table.category_id[bad[0]]}, "
            f"expected 0 to {N_CLASSES - 1}."
        )
    bad = np.flatnonzero((table.score < 0) | (table.score > 1))
    if bad.size:
        raise InputError(f"{table.recording}: annotation {bad[0]} has score {table.score[bad[0]]}, expected [0, 1].")
    bad = np.flatnonzero(np.isinf(table.distance_cm))
    if bad.size:
        raise InputError(f"{table.recording}: annotation {bad[0]} has an infinite distance.")
    for name, values_of in (("points_xy", table.xy_of), ("energy", table.energy_of)):
        for _, points in point_blocks(table):
            column = values_of(points)
            # minimum and maximum show any NaN or infinity without a second array of the column's size
            if column.size and not (np.isfinite(column.min()) and np.isfinite(column.max())):
                raise InputError(f"{table.recording}: {name} holds a number that is not finite; remove that point.")


def numbers_text(rows: list) -> bytes:
    """JSON text of nested lists of floats, whole numbers without ``.0``."""
    return _encode(rows).replace(b".0,", b",").replace(b".0]", b"]")


def number_text(value: float) -> bytes:
    """JSON text of one float, a whole number without ``.0``."""
    return _encode(value).removesuffix(b".0")


def rounded(values: npt.ArrayLike, decimals: int | npt.NDArray[np.int64] | None) -> npt.NDArray[np.float64]:
    """Values rounded to decimals (one for all or one each), or as they are; negative zero becomes zero."""
    numbers = np.asarray(values, dtype=np.float64)
    if decimals is None:
        return numbers
    factor = 10.0 ** np.asarray(decimals, dtype=np.float64)
    # beyond 2^53 a float64 has no decimals left to round, and the product could overflow
    small = np.abs(numbers) < 9e15 / factor
    # a quotient of whole numbers is the double nearest to the decimal, so its shortest text has few digits
    return np.where(small, np.round(np.where(small, numbers, 0.0) * factor) / factor, numbers) + 0.0


def _document(table: AnnotationTable, *, decimals: int | None, with_score: bool) -> Iterator[bytes]:
    head = b'{"annotations":['
    for index in range(len(table)):
        yield head + _annotation(table, index, decimals, with_score)
        head = b","
    yield b"]}" if len(table) else head + b"]}"


def _annotation(table: AnnotationTable, index: int, decimals: int | None, with_score: bool) -> bytes:
    pieces = [
        b'{"metadata_frame_index":%d,"instance_id":%d,"category_id":%d'
        % (table.frame[index], table.instance_id[index], table.category_id[index])
    ]
    if with_score and not np.isnan(table.score[index]):
        pieces.append(b',"score":' + number_text(float(table.score[index])))
    if not np.isnan(table.distance_cm[index]):
        pieces.append(b',"distance":' + number_text(float(rounded(table.distance_cm[index], decimals))))
    start, stop = int(table.polygon_offsets[index]), int(table.polygon_offsets[index + 1])
    bounds = (table.point_offsets[start : stop + 1] - table.point_offsets[start]).tolist()
    xy, energy = table.points(index)
    xy = rounded(xy, decimals)
    whole = xy.astype(np.int64)
    # dense labels lie on whole pixels: integers are written 3x faster than floats that lose their ".0" afterwards
    x, y = (whole if np.array_equal(whole, xy) else xy).T.tolist()
    points = list(zip(x, y, rounded(energy, decimals).tolist(), strict=True))
    parts = [points[a:b] for a, b in itertools.pairwise(bounds)]
    pieces.append(b',"segmentation":' + numbers_text(parts) + b"}")
    return b"".join(pieces)


def write_pieces(pieces: Iterator[bytes], path: str | os.PathLike[str]) -> None:
    """Write text to a file, atomically and a megabyte at a time; gzip if the name ends in ``.gz``."""
    target = Path(path)
    with atomic_write(target) as stream:
        if target.suffix.lower() == ".gz":
            # no name and no time in the header: the same table always gives the same bytes
            with gzip.GzipFile(filename="", mode="wb", fileobj=stream, mtime=0, compresslevel=6) as packed:
                _write_blocks(pieces, packed.write)
        else:
            _write_blocks(pieces, stream.write)


def _write_blocks(pieces: Iterator[bytes], write: Callable[[bytes], object]) -> None:
    waiting: list[bytes] = []
    size = 0
    for piece in pieces:
        waiting.append(piece)
        size += len(piece)
        if size >= _WRITE_BYTES:
            write(b"".join(waiting))
            waiting, size = [], 0
    write(b"".join(waiting))
