"""Memory that is no longer used, given back to the machine.

What large arrays and pictures leave behind stays with the process, since the C library keeps freed memory for whoever
asks next, a heap for each thread. A server that opens one recording after the other would grow by what none of them
needs any more.
"""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Callable
from functools import cache


def give_back_memory() -> bool:
    """Give freed memory back; milliseconds. False where the C library has no such call (others than glibc)."""
    trim = _trim()
    return trim is not None and bool(trim(0))


@cache
def _trim() -> Callable[[int], int] | None:
    if not sys.platform.startswith("linux"):
        return None
    try:
        found: Callable[[int], int] = ctypes.CDLL(None).malloc_trim
    except (OSError, AttributeError):
        return None
    return found
