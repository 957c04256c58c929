"""Lists of points from text to columns of numbers.

Nearly all of an annotation file are points ``[x, y, energy]``, written one after the other without anything else but at
most a space behind a comma. Such text is read here by compiled code (:mod:`sai_core.annotations._numbers`), without
Python's lock, so that pictures are made and sent meanwhile. Whatever is not exactly of this form (a line break, a
number too many, one of more than 19 digits) is not read here at all: the caller's slow reader takes it, and says what
is wrong.

Numbers of few decimals stay whole numbers with a count of decimals, ``0.239`` is 239 with three: exactly what the text
says, and small. All others become the nearest float64, as ``float`` of their text; no bit differs.
"""

from __future__ import annotations

import sys
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from sai_core.annotations import _numbers

_MOST_DECIMALS: Final[int] = 9
_LARGEST: Final = np.uint64(2**32 - 1)
"""Numbers with more decimals, or larger ones without the point, become float64."""
_POWERS: Final = 10 ** np.arange(_MOST_DECIMALS + 1, dtype=np.uint64)
_POINT_BYTES: Final[int] = len("0,0,0],[")
"""Text of a point at least."""

_KEY: Final[bytes] = b'"segmentation":'
_SPACE: Final[int] = b" "[0]
_WORTH_IT_BYTES: Final[int] = 40 << 20
"""Text from which on the compiled code is worth being loaded, once a process: as long in the slow way (docs/log.md)."""
_slow_bytes = 0
"""Read in the slow way by this process: a hundred small files are worth it as one large file is."""


class Decimals(NamedTuple):
    """Numbers ``codes / 10 ** decimals``, all below 2**53 before the division."""

    codes: npt.NDArray[np.unsignedinteger]
    decimals: int


class Points(NamedTuple):
    """Points of some annotations."""

    x: Decimals | npt.NDArray[np.float64]
    y: Decimals | npt.NDArray[np.float64]
    energy: Decimals | npt.NDArray[np.float64]
    part_sizes: npt.NDArray[np.int64]
    """Points of each part."""
    n_parts: npt.NDArray[np.int64]
    """Parts of each annotation."""


def at_hand(n_bytes: int) -> bool:
    """Whether a text of such a size is to be read here."""
    worth_it = n_bytes + _slow_bytes >= _WORTH_IT_BYTES or "numba" in sys.modules
    return worth_it and _numbers.compiled() is not None


def count_slow(n_bytes: int) -> None:
    """Count text that was small enough to be read without compiled code (:func:`at_hand`)."""
    global _slow_bytes
    _slow_bytes += n_bytes


def cut_out(text: bytes, start: int, end: int) -> tuple[bytes, tuple[int, int]] | None:
    """An annotation's text with an empty segmentation, and from where to where its points stand.

    None where the annotation is not a plain one: with an object in it, without a segmentation, with one that has no
    point.
    """
    key = text.find(_KEY, start, end)
    if key < 0 or text.count(b"{", start, end) != 1:
        return None
    first = key + len(_KEY)
    first += text[first] == _SPACE
    last = text.rfind(b"]]]", first, end)
    if text[first : first + 3] != b"[[[" or last < first + 3:
        return None
    return text[start:first] + b"[]" + text[last + 3 : end], (first + 3, last)


def parse(text: bytes, spans: list[tuple[int, int]]) -> Points | None:
    """Points of the interiors of plain segmentations, ``x,y,e],[x,y,e]],[[x,y,e``; None where one is not plain.

    Parameters
    ----------
    text : bytes
    spans : list of (int, int)
        Where each begins and ends; ``]]]`` follows it.
    """
    compiled = _numbers.compiled()
    assert compiled is not None
    bounds = np.array(spans, np.int64).reshape(-1, 2)
    most = int((bounds[:, 1] - bounds[:, 0]).sum()) // _POINT_BYTES + len(bounds)
    mantissa, scale = np.empty((3, most), np.uint64), np.empty((3, most), np.int16)
    part_sizes, n_parts = np.empty(most, np.int64), np.empty(len(bounds), np.int64)
    facts = np.zeros((3, 3), np.int64)
    n = compiled.scan(np.frombuffer(text, np.uint8), bounds, mantissa, scale, part_sizes, n_parts, facts)
    if n < 0:
        return None
    columns = []
    for column, (lowest, highest, signed) in enumerate(facts.tolist()):
        whole = highest <= 0 and not signed
        numbers = _numbers_of(compiled, mantissa[column, :n], scale[column, :n], lowest, whole)
        if numbers is None:
            return None
        columns.append(numbers)
    return Points(columns[0], columns[1], columns[2], part_sizes[: int(n_parts.sum())], n_parts)


def _numbers_of(
    compiled: _numbers.Compiled,
    mantissa: npt.NDArray[np.uint64],
    scale: npt.NDArray[np.int16],
    lowest: int,
    whole: bool,
) -> Decimals | npt.NDArray[np.float64] | None:
    """A column; None where one of its numbers is beyond float64."""
    if whole and -lowest <= _MOST_DECIMALS:
        codes = np.empty(len(mantissa), np.uint32)
        if compiled.to_codes(mantissa, scale, -lowest, codes, _LARGEST, _POWERS):
            return Decimals(codes, -lowest)
    out, doubtful = np.empty(len(mantissa), np.float64), np.empty(len(mantissa), np.int64)
    n = compiled.to_floats(mantissa, scale, *_numbers.powers_of_ten(), out, out.view(np.uint64), doubtful)
    for k in doubtful[:n].tolist():
        power, negative = divmod(int(scale[k]), 2)
        out[k] = float(f"{'-' if negative else ''}{mantissa[k]}e{power}")
    return out if np.isfinite(out).all() else None
