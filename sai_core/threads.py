"""One policy for threads: who computes with how many, for every verb, worker process and page.

======================================  ================================================================================
what                                    threads
======================================  ================================================================================
torch, in a process by itself           as torch finds them, or what a configuration says (:func:`use_torch_threads`)
torch, beside threads of our own        one in each thread, while anybody is inside of :func:`one_torch_thread`
BLAS of NumPy and SciPy                 one, always (:func:`limit_blas`): their products are small here, and two
                                        processes whose BLAS threads wait for each other spin (ten times slower on two
                                        cores); a number in the user's environment counts instead
worker processes (:func:`worker_pool`)  one for everything: there are as many workers as the user wants cores
======================================  ================================================================================

torch keeps two numbers: one for threads that have not used it yet, and one of each thread that has. A guard that only
remembers the number it found leaves the wrong one behind when two overlap, so there is one guard for all of them, which
counts its users and gives every thread its own number back.
"""

from __future__ import annotations

import multiprocessing
import os
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing.connection import wait as wait_for_any
from typing import Any, Final

BLAS_VARIABLES: Final[tuple[str, ...]] = ("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS")
"""Read once, when NumPy or SciPy load their BLAS."""

_WORKER_VARIABLES: Final[tuple[str, ...]] = ("OMP_NUM_THREADS", *BLAS_VARIABLES, "OPENCV_FOR_THREADS_NUM")

_lock = threading.Lock()
_inside: Counter[int] = Counter()
"""Guards that are held, by the thread that entered them."""
_before = 1
"""torch's number outside of all guards; what is found when the first one is entered."""


def torch_threads() -> int:
    """Threads that torch has outside of :func:`one_torch_thread`, whoever is inside at the moment."""
    import torch

    with _lock:
        return _before if _inside else torch.get_num_threads()


def use_torch_threads(count: int) -> None:
    """Let torch compute with so many threads from now on; inside of a guard, from its end on.

    Parameters
    ----------
    count : int
        0 leaves the number as it is.
    """
    global _before
    import torch

    if count < 1:
        return
    with _lock:
        if _inside:
            _before = count
        else:
            torch.set_num_threads(count)


@contextmanager
def one_torch_thread(wanted: bool = True) -> Iterator[None]:
    """Let torch work single-threaded in this thread and in threads that start meanwhile.

    For work that is spread over threads of our own, and for products too small to share: with two threads each, they
    are no faster on an idle machine and ten times slower on a busy one. May be nested and may overlap, in any order of
    leaving; the number of before comes back to each thread when it has left all of its guards.

    Parameters
    ----------
    wanted : bool
        False does nothing, for callers that need it on a CPU only.
    """
    global _before
    if not wanted:
        yield
        return
    import torch

    owner = threading.get_ident()
    with _lock:
        if not _inside:
            _before = torch.get_num_threads()
        _inside[owner] += 1
        torch.set_num_threads(1)
    try:
        yield
    finally:
        with _lock:
            _inside[owner] -= 1
            if not _inside[owner]:
                del _inside[owner]
            # a generator that holds a guard may be closed by another thread, which has guards of its own or none
            if threading.get_ident() not in _inside:
                torch.set_num_threads(_before)
                if _inside:
                    # that was also the number of threads to come: one again, without touching this thread's own
                    helper = threading.Thread(target=torch.set_num_threads, args=(1,), name="torch-threads")
                    helper.start()
                    helper.join()


def limit_blas() -> None:
    """Give the BLAS of NumPy and SciPy one thread, unless the user's environment says how many.

    Called first thing by the command line and by the app; works whether they are loaded already or will be later.
    """
    if any(name in os.environ for name in ("OMP_NUM_THREADS", *BLAS_VARIABLES)):
        return
    os.environ["OPENBLAS_NUM_THREADS"] = "1"
    _limit_loaded()


def _limit_loaded() -> None:
    """Limit what has been loaded by now."""
    if "numpy" in sys.modules:
        from threadpoolctl import threadpool_limits

        threadpool_limits(limits=1, user_api="blas")


def start_worker(then: Callable[[], None] | None = None) -> None:
    """Make this process a worker: one thread for torch, BLAS and OpenCV, loaded or to be loaded; first thing in it.

    Parameters
    ----------
    then : callable, optional
        What else to do at the start; must be importable by name.
    """
    os.environ.update(dict.fromkeys(_WORKER_VARIABLES, "1"))
    # the main module of the parent, which a spawned process imports first, may have loaded any of them
    _limit_loaded()
    if (torch := sys.modules.get("torch")) is not None:
        torch.set_num_threads(1)
    if (cv2 := sys.modules.get("cv2")) is not None:
        cv2.setNumThreads(1)
    threading.Thread(target=_end_with_parent, name="end-with-parent", daemon=True).start()
    if then is not None:
        then()


def _end_with_parent() -> None:
    """A worker holds both ends of its queue, so that it would wait for ever after its parent was killed."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait_for_any([parent.sentinel])
        os._exit(1)


def worker_pool(workers: int, *, then: Callable[[], None] | None = None) -> ProcessPoolExecutor:
    """Pool of fresh worker processes with one thread each, so that their number cannot change a bit of a result.

    Spawned, not forked: a forked child inherits locks of threads that it does not have (torch, OpenCV, Streamlit). The
    caller's own environment is not touched: what else it starts meanwhile is not bound by it.

    Parameters
    ----------
    workers : int
        Processes at most.
    then : callable, optional
        Called at the start of each; must be importable by name.
    """
    arguments: tuple[Any, ...] = (then,)
    context = multiprocessing.get_context("spawn")
    return ProcessPoolExecutor(workers, mp_context=context, initializer=start_worker, initargs=arguments)
