"""Memory that nobody uses is the machine's again."""

from __future__ import annotations

import ctypes
import sys

import psutil
import pytest

from sai_core.memory import give_back_memory


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="of the C library of Linux")
def test_freed_memory_is_given_back() -> None:
    library = ctypes.CDLL(None)
    library.malloc.restype, library.free.argtypes = ctypes.c_void_p, [ctypes.c_void_p]
    n_bytes, process = 100_000, psutil.Process()
    blocks = [library.malloc(ctypes.c_size_t(n_bytes)) for _ in range(600)]
    for block in blocks:
        ctypes.memset(block, 1, n_bytes)
    # the last one lies above all others, so that the C library keeps what is below it
    for block in blocks[:-1]:
        library.free(block)
    before = process.memory_info().rss
    assert give_back_memory()
    assert before - process.memory_info().rss > 0.8 * 600 * n_bytes
    library.free(blocks[-1])
