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

Threads start in one place, :func:`start_thread`: for background jobs (:mod:`sai_core.jobs`), for what is made a few
items ahead of who reads it (:class:`ReadAhead`), for worker processes that end with their parent.

torch keeps two numbers: one for threads that have not used it yet, and one of each thread that has. A guard that only
remembers the number it found leaves the wrong one behind when two overlap, so there is one guard for all of them, which
counts its users and gives every thread its own number back.
"""

from __future__ import annotations

import multiprocessing
import os
import queue
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager, suppress
from multiprocessing.connection import wait as wait_for_any
from typing import Any, Final, Generic, TypeVar

from sai_core import permissions
from sai_core.errors import EnvironmentProblem

Item = TypeVar("Item")
Task = TypeVar("Task")
Outcome = TypeVar("Outcome")

BLAS_VARIABLES: Final[tuple[str, ...]] = ("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS")
"""Read once, when NumPy or SciPy load their BLAS."""

_WORKER_VARIABLES: Final[tuple[str, ...]] = ("OMP_NUM_THREADS", *BLAS_VARIABLES, "OPENCV_FOR_THREADS_NUM")

_lock = threading.Lock()
_inside: Counter[int] = Counter()
"""Guards that are held, by the thread that entered them."""
_before = 1
"""torch's number outside all guards; what is found when the first one is entered."""


def start_thread(work: Callable[..., object], *arguments: object, name: str) -> threading.Thread:
    """Run something, for whom the caller works for, in a thread that does not keep the program from ending."""
    somebody = permissions.person()

    def run() -> None:
        with permissions.acting_as(somebody):
            work(*arguments)

    thread = threading.Thread(target=run, name=name, daemon=True)
    thread.start()
    return thread


class ReadAhead(Iterator[Item], Generic[Item]):
    """An iterator that runs in a thread of its own, a few items ahead; its errors arrive where it is read.

    A context manager: leaving it ends the thread after the item that it works on.

    Parameters
    ----------
    items : iterator
    depth : int
        Finished items that wait at most.
    name : str
        Of the thread.
    """

    def __init__(self, items: Iterator[Item], depth: int, *, name: str) -> None:
        self._items = items
        self._queue: queue.Queue[tuple[bool, Any]] = queue.Queue(depth)
        self._stopped = threading.Event()
        self._thread = start_thread(self._run, name=name)

    def _run(self) -> None:
        try:
            for item in self._items:
                if not self._put((True, item)):
                    return
            self._put((False, None))
        except BaseException as error:  # whatever it is, the reader must hear of it
            self._put((False, error))

    def _put(self, entry: tuple[bool, Any]) -> bool:
        while not self._stopped.is_set():
            with suppress(queue.Full):
                self._queue.put(entry, timeout=0.1)
                return True
        return False

    def __next__(self) -> Item:
        while True:
            try:
                more, value = self._queue.get(timeout=0.2)
                break
            except queue.Empty:
                # somebody else stops the chain: the one who waits here must not wait for ever
                if self._stopped.is_set() or not self._thread.is_alive():
                    with suppress(queue.Empty):
                        more, value = self._queue.get_nowait()
                        break
                    raise StopIteration from None
        if more:
            item: Item = value
            return item
        if value is not None:
            raise value
        raise StopIteration

    def __enter__(self) -> ReadAhead[Item]:
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        self._thread.join(30)


def torch_threads() -> int:
    """Threads that torch has outside :func:`one_torch_thread`, whoever is inside at the moment."""
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
                    start_thread(torch.set_num_threads, 1, name="torch-threads").join()


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
    start_thread(_end_with_parent, name="end-with-parent")
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


def as_they_come(
    run: Callable[[Task], Outcome], jobs: Iterable[Task], workers: int, *, size: Callable[[Task], float]
) -> Iterator[Outcome]:
    """What a function makes of jobs in worker processes, in the order in which they are done.

    Parameters
    ----------
    run : callable
        Importable by name; jobs and outcomes go from process to process.
    jobs : iterable
    workers : int
    size : callable
        Of a job: the largest are begun first, so that no worker is left alone with one at the end.

    Raises
    ------
    EnvironmentProblem
        A worker was killed. What a job raises is raised here, too; jobs that were not begun are given up then.
    """
    with worker_pool(workers) as pool:
        waiting = {pool.submit(run, job) for job in sorted(jobs, key=lambda job: -size(job))}
        try:
            while waiting:
                done, waiting = wait(waiting, return_when=FIRST_COMPLETED)
                for future in done:
                    yield future.result()
        except BrokenProcessPool as error:
            raise EnvironmentProblem(
                "A worker process ended unexpectedly, perhaps because memory ran out; use fewer workers. What was "
                "finished is kept."
            ) from error
        finally:
            for future in waiting:
                future.cancel()
