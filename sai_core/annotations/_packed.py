"""Numbers of many points in less room than float64, bit for bit.

Coordinates of labels are whole pixels, and energies have a few decimals: ``0.239`` is 239 over 1000, as two bytes.
A column is kept so where all its numbers are such quotients (division of two integers below 2**53 rounds as reading
the text does, IEEE 754), and as it is where one of them is not. Nothing is ever rounded.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from sai_core.annotations._points import Decimals

Floats = npt.NDArray[np.float64]

_MOST_DECIMALS: Final[int] = 6
_LARGEST: Final[int] = 2**32 - 1
_KINDS: Final[tuple[npt.DTypeLike, ...]] = (np.uint8, np.uint16, np.uint32)


@dataclass(frozen=True, eq=False)
class Packed:
    """Numbers ``codes / 10 ** decimals``, or, of float64 codes, the codes themselves.

    Attributes
    ----------
    codes : uint8, uint16, uint32 or float64, shape (n,)
    decimals : int
    """

    codes: npt.NDArray[Any]
    decimals: int

    def __len__(self) -> int:
        """How many numbers."""
        return len(self.codes)

    @property
    def nbytes(self) -> int:
        """Bytes in memory."""
        return self.codes.nbytes

    def floats(self, index: Any = slice(None)) -> Floats:
        """Numbers of a slice or an index as float64."""
        return _floats(self.codes[index], self.decimals)


def _floats(codes: npt.NDArray[Any], decimals: int) -> Floats:
    if codes.dtype == np.float64 or not decimals:
        return codes.astype(np.float64, copy=False)
    return np.divide(codes, np.float64(10**decimals), dtype=np.float64)


def packed(values: Floats) -> Packed:
    """A column in the least room that holds it exactly."""
    growing = GrowingNumbers()
    for first in range(0, len(values), 1 << 18):
        growing.append(values[first : first + (1 << 18)])
    return growing.finish()


class GrowingNumbers:
    """A column while it is read; what has come so far is made wider where a later number asks for it."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._kind: np.dtype[Any] = np.dtype(np.uint8)
        self._decimals = self._largest = 0

    def append(self, values: Floats | Decimals) -> None:
        """Add numbers."""
        if isinstance(values, Decimals):
            codes, decimals = values
            if self._kind == np.float64:
                self._add(_floats(codes, decimals))
            else:
                self._append_codes(codes, decimals)
        elif self._kind == np.float64:
            self._add(values)
        elif len(values):
            found = _codes_of(values, self._decimals)
            if found is None:
                self._widen(np.dtype(np.float64), 0)
                self._add(values)
            else:
                self._append_codes(*found)

    def finish(self) -> Packed:
        """All numbers, read-only; nothing may be added afterwards."""
        codes = np.frombuffer(self._buffer, self._kind)
        codes.flags.writeable = False
        return Packed(codes, self._decimals)

    def _append_codes(self, codes: npt.NDArray[Any], decimals: int) -> None:
        if not len(codes):
            return
        common = max(decimals, self._decimals)
        largest = max(
            self._largest * 10 ** (common - self._decimals), int(codes.max()) * 10 ** (shift := common - decimals)
        )
        kind = _kind_for(largest)
        if kind != self._kind or common != self._decimals:
            self._widen(kind, common)
        if kind == np.float64:
            self._add(_floats(codes, decimals))
        else:
            self._largest = largest
            self._add(codes.astype(np.uint64) * np.uint64(10**shift) if shift else codes)

    def _add(self, values: npt.NDArray[Any]) -> None:
        self._buffer += np.ascontiguousarray(values, self._kind).view(np.uint8).data

    def _widen(self, kind: np.dtype[Any], decimals: int) -> None:
        """Turn what has come so far into another kind, with as many decimals or more."""
        before = np.frombuffer(self._buffer, self._kind)
        if kind == np.float64:
            after = _floats(before, self._decimals)
            decimals = 0
        else:
            after = (before.astype(np.uint64) * np.uint64(10 ** (decimals - self._decimals))).astype(kind)
        self._buffer = bytearray(after.view(np.uint8).data)
        self._kind, self._decimals = kind, decimals


def _kind_for(largest: int) -> np.dtype[Any]:
    for kind in _KINDS:
        if largest <= np.iinfo(kind).max:
            return np.dtype(kind)
    return np.dtype(np.float64)


def _codes_of(values: Floats, least: int) -> tuple[npt.NDArray[np.uint32], int] | None:
    """Codes with the fewest decimals from some on that give exactly these numbers."""
    if not (np.isfinite(values).all() and not np.signbit(values).any()):
        return None  # minus zero would lose its sign
    for decimals in range(least, _MOST_DECIMALS + 1):
        scaled = np.rint(values * 10.0**decimals)
        if scaled.max() > _LARGEST:
            return None
        if (scaled / 10.0**decimals == values).all():
            return scaled.astype(np.uint32), decimals
    return None
