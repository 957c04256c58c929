"""Points and their numbers from text, compiled: one pass over the bytes, without Python's lock.

Functions here are written for numba: loops over typed arrays, which it turns into machine code (some four seconds once,
kept beside this file or in the user's cache). They are plain Python as well, only slower by a factor of hundreds.

A number is taken as ``mantissa * 10 ** power`` in whole numbers, which is exactly what its text says; the nearest
float64 is found in one of three ways:

* mantissa below 2**53 and power within +-22: both are float64 exactly, so that one multiplication or division rounds as
  reading the text does (IEEE 754; Clinger 1990, "How to read floating point numbers accurately");
* else by the product of the mantissa with the first 128 bits of the power of ten (Lemire 2021, "Number parsing at a
  gigabyte per second", sections 5 to 8);
* where that product does not decide (or the number is as large or small as float64 can tell), by Python's ``float``.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

MOST_DIGITS: Final[int] = 19
"""Digits of a mantissa that 64 bits hold for certain."""
MOST_POWER: Final[int] = 330
_LOWEST, _HIGHEST = -330, 308
"""Powers of ten in the table; below, all numbers of 19 digits are smaller than what float64 can tell precisely."""

_ZERO, _MINUS, _PLUS, _DOT, _COMMA, _OPEN, _CLOSE, _SPACE, _SMALL_E, _LARGE_E = b"0-+.,[] eE"


class Compiled(NamedTuple):
    """The functions of this module as machine code, called as they are."""

    scan: Callable[..., int]
    to_codes: Callable[..., bool]
    to_floats: Callable[..., int]


@cache
def compiled() -> Compiled | None:
    """The functions, compiled at their first call; None where numba cannot be loaded."""
    try:
        import numba
    except ImportError:  # nothing but speed is lost
        return None

    def ready(function: Callable[..., Any]) -> Callable[..., Any]:
        try:
            return numba.njit(nogil=True, cache=True)(function)
        except RuntimeError:  # neither this file's folder nor the user's cache can be written
            return numba.njit(nogil=True)(function)

    return Compiled(ready(scan), ready(to_codes), ready(to_floats))


@cache
def powers_of_ten() -> tuple[npt.NDArray[np.uint64], npt.NDArray[np.uint64]]:
    """First 128 bits of 10 ** q (which are those of 5 ** q), upper and lower half.

    What follows them is cut off, but of -27 <= q < 0 rounded up: so do tied numbers come out as ties.
    """
    values = []
    for q in range(_LOWEST, _HIGHEST + 1):
        five = 5 ** abs(q)
        if q >= 0:
            shift = 128 - five.bit_length()
            values.append(five << shift if shift >= 0 else five >> -shift)
        else:
            bits = five.bit_length() + 127
            values.append((1 << bits) // five + (q >= -27))
    mask = 2**64 - 1
    return np.array([v >> 64 for v in values], np.uint64), np.array([v & mask for v in values], np.uint64)


LOWEST_POWER: Final[int] = _LOWEST
EXACT_TENS: Final = 10.0 ** np.arange(23)


def scan(
    text: npt.NDArray[np.uint8],
    spans: npt.NDArray[np.int64],
    mantissa: npt.NDArray[np.uint64],
    scale: npt.NDArray[np.int16],
    part_sizes: npt.NDArray[np.int64],
    n_parts: npt.NDArray[np.int64],
    facts: npt.NDArray[np.int64],
) -> int:
    """Take texts ``x,y,e],[x,y,e]],[[x,y,e`` apart, each of which ``]]]`` follows.

    Parameters
    ----------
    text : uint8
    spans : int64, shape (n, 2)
        Where each begins and ends.
    mantissa, scale : uint64 and int16, shape (3, at least the points)
        Filled: the numbers; ``scale`` is twice the power of ten, and one more of a negative number.
    part_sizes, n_parts : int64
        Filled: points of each part, parts of each text.
    facts : int64, shape (3, 3)
        Filled: lowest and highest power of each column, and whether a number of it has a sign.

    Returns
    -------
    int
        Points; -1 where anything but such points in JSON's numbers stands there, or a number has too many digits.
    """
    ten, zero = np.uint64(10), np.uint64(_ZERO)
    n = 0
    p = 0
    for a in range(spans.shape[0]):
        at, end = spans[a, 0], spans[a, 1]
        first_part = p
        first_point = n
        column = 0
        while True:
            negative = 0
            if text[at] == _MINUS:
                negative = 1
                at += 1
            begin = at
            m = np.uint64(0)
            digit = np.uint64(text[at]) - zero
            while digit < ten:
                m = m * ten + digit
                at += 1
                digit = np.uint64(text[at]) - zero
            digits, whole_ends = at - begin, at
            if digits == 0 or (digits > 1 and text[begin] == _ZERO):
                return -1
            power: Any = 0
            if text[at] == _DOT:
                at += 1
                point = at
                digit = np.uint64(text[at]) - zero
                while digit < ten:
                    m = m * ten + digit
                    at += 1
                    digit = np.uint64(text[at]) - zero
                power = point - at
                if power == 0:
                    return -1
                digits -= power
            if digits > MOST_DIGITS:
                k = begin
                while text[k] == _ZERO or text[k] == _DOT:
                    digits -= text[k] == _ZERO
                    k += 1
                if digits > MOST_DIGITS:
                    return -1
            if text[at] == _SMALL_E or text[at] == _LARGE_E:
                at += 1
                down = text[at] == _MINUS
                if down or text[at] == _PLUS:
                    at += 1
                point = at
                exponent: Any = 0
                digit = np.uint64(text[at]) - zero
                while digit < ten:
                    if exponent < 10 * MOST_POWER:
                        exponent = exponent * 10 + np.int64(digit)
                    at += 1
                    digit = np.uint64(text[at]) - zero
                if at == point:
                    return -1
                power = power - exponent if down else power + exponent
            if power < -MOST_POWER or power > MOST_POWER:
                return -1
            if m == 0 and at == whole_ends:  # as a whole number, -0 is 0
                negative = 0
            mantissa[column, n] = m
            scale[column, n] = 2 * power + negative
            facts[column, 0] = min(facts[column, 0], power)
            facts[column, 1] = max(facts[column, 1], power)
            facts[column, 2] |= negative
            if at >= end:
                if column < 2 or at > end:
                    return -1
                n += 1
                break
            if column < 2:
                if text[at] != _COMMA:
                    return -1
                at += 1
                if text[at] == _SPACE:
                    at += 1
                column += 1
                continue
            if text[at] != _CLOSE:
                return -1
            n += 1
            column = 0
            at += 1
            part_ends = text[at] == _CLOSE
            if part_ends:
                at += 1
            if text[at] != _COMMA:
                return -1
            at += 1
            if text[at] == _SPACE:
                at += 1
            if text[at] != _OPEN:
                return -1
            at += 1
            if part_ends:
                if text[at] != _OPEN:
                    return -1
                at += 1
                part_sizes[p] = n - first_point
                p += 1
                first_point = n
        part_sizes[p] = n - first_point
        p += 1
        n_parts[a] = p - first_part
    return n


def to_codes(
    mantissa: npt.NDArray[np.uint64],
    scale: npt.NDArray[np.int16],
    decimals: int,
    out: npt.NDArray[np.uint32],
    limit: np.uint64,
    powers: npt.NDArray[np.uint64],
) -> bool:
    """Fill ``out``: numbers without sign and with at most so many decimals, times ``10 ** decimals``.

    Returns
    -------
    bool
        False where one is beyond a limit; ``out`` is not filled then.
    """
    for i in range(len(out)):
        shift = decimals + (scale[i] >> 1)
        code = mantissa[i]
        if code > limit // powers[shift]:
            return False
        out[i] = code * powers[shift]
    return True


def to_floats(
    mantissa: npt.NDArray[np.uint64],
    scale: npt.NDArray[np.int16],
    high: npt.NDArray[np.uint64],
    low: npt.NDArray[np.uint64],
    out: npt.NDArray[np.float64],
    bits: npt.NDArray[np.uint64],
    doubtful: npt.NDArray[np.int64],
) -> int:
    """Nearest float64 of each number.

    Parameters
    ----------
    mantissa, scale
        As of :func:`scan`.
    high, low : uint64
        :func:`powers_of_ten`.
    out, bits
        Filled; two views of the same memory.
    doubtful : int64
        Filled: which numbers were left out.

    Returns
    -------
    int
        Numbers that were left out.
    """
    full = np.uint64(0xFFFFFFFFFFFFFFFF)
    half = np.uint64(0xFFFFFFFF)
    n32 = np.uint64(32)
    bit = np.uint64(1)
    two52, two53 = np.uint64(2**52), np.uint64(2**53)
    ninth = np.uint64(0x1FF)
    n_doubtful = 0
    for i in range(len(out)):
        w = mantissa[i]
        power = np.int64(scale[i]) >> 1
        negative = scale[i] & 1
        if w < two53 and -22 <= power <= 22:
            value = np.float64(w)
            value = value / EXACT_TENS[-power] if power < 0 else value * EXACT_TENS[power]
            out[i] = -value if negative else value
            continue
        at = power - LOWEST_POWER
        if w == 0 or at < 0 or at >= len(high):
            doubtful[n_doubtful] = i
            n_doubtful += 1
            continue
        zeros = np.uint64(0)
        for step in (32, 16, 8, 4, 2, 1):
            if w >> np.uint64(64 - step) == 0:
                w <<= np.uint64(step)
                zeros += np.uint64(step)
        # w times the upper half
        t = high[at]
        wl, wh, tl, th = w & half, w >> n32, t & half, t >> n32
        ll, lh, hl, hh = wl * tl, wl * th, wh * tl, wh * th
        middle = (ll >> n32) + (lh & half) + (hl & half)
        upper = hh + (lh >> n32) + (hl >> n32) + (middle >> n32)
        lower = (middle << n32) | (ll & half)
        if upper & ninth == ninth:
            t = low[at]
            tl, th = t & half, t >> n32
            ll, lh, hl, hh = wl * tl, wl * th, wh * tl, wh * th
            middle = (ll >> n32) + (lh & half) + (hl & half)
            more = hh + (lh >> n32) + (hl >> n32) + (middle >> n32)
            lower += more
            if lower < more:
                upper += bit
        top = upper >> np.uint64(63)
        shift = top + np.uint64(9)
        m = upper >> shift
        exponent = ((217706 * power) >> 16) + 63 + np.int64(top) - np.int64(zeros) + 1023
        if lower == full or exponent <= 0 or exponent >= 2046:
            doubtful[n_doubtful] = i
            n_doubtful += 1
            continue
        if lower <= bit and -4 <= power <= 23 and m & np.uint64(3) == bit and m << shift == upper:
            m &= ~bit
        m += m & bit
        m >>= bit
        if m >= two53:
            m = two52
            exponent += 1
        bits[i] = (m & (two52 - bit)) | (np.uint64(exponent) << np.uint64(52)) | (np.uint64(negative) << np.uint64(63))
    return n_doubtful
