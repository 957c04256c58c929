"""The policy for threads, seen from outside: what torch and BLAS have in each thread and process."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sai_core.threads import one_torch_thread, torch_threads, use_torch_threads, worker_pool

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(autouse=True)
def _three_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    yield
    torch.set_num_threads(before)


def _in_new_thread(ask: Callable[[], int] = torch.get_num_threads) -> int:
    """What a thread that has not used torch yet finds."""
    found: list[int] = []

    def look() -> None:
        # a new thread takes over its number when it first computes
        torch.ones(4) @ torch.ones(4)
        found.append(ask())

    thread = threading.Thread(target=look)
    thread.start()
    thread.join()
    return found[0]


@settings(deadline=None, max_examples=40)
@given(steps=st.lists(st.integers(0, 3), min_size=1, max_size=12))
def test_guards_may_overlap_and_nest_in_any_order(steps: list[int]) -> None:
    """Each step opens a guard in one of four threads; they are then left thread by thread, the first ones first."""
    torch.set_num_threads(3)
    pools = [ThreadPoolExecutor(1) for _ in range(4)]
    held: list[list] = [[] for _ in pools]

    def enter(k: int) -> int:
        guard = one_torch_thread()
        guard.__enter__()
        held[k].append(guard)
        return torch.get_num_threads()

    def leave(k: int) -> int:
        held[k].pop().__exit__(None, None, None)
        return torch.get_num_threads()

    for k in steps:
        assert pools[k].submit(enter, k).result() == 1
        assert _in_new_thread() == 1
        assert torch_threads() == 3
    for k in range(4):
        while held[k]:
            own = pools[k].submit(leave, k).result()
            assert own == (1 if held[k] else 3)
            assert _in_new_thread() == (1 if any(held) else 3)
    for pool in pools:
        assert pool.submit(torch.get_num_threads).result() == 3
        pool.shutdown()


def test_a_guard_held_by_a_generator_may_be_left_by_another_thread() -> None:
    def work() -> Generator[int, None, None]:
        with one_torch_thread():
            yield torch.get_num_threads()

    with ThreadPoolExecutor(1) as pool:
        running = work()
        assert pool.submit(next, running).result() == 1
        running.close()
    assert torch.get_num_threads() == _in_new_thread() == torch_threads() == 3


def test_a_number_asked_for_inside_counts_from_the_guards_end_on() -> None:
    with one_torch_thread():
        use_torch_threads(2)
        assert torch.get_num_threads() == 1
    assert torch.get_num_threads() == _in_new_thread() == 2
    use_torch_threads(0)
    assert torch.get_num_threads() == 2


def test_the_guard_comes_back_from_an_error_and_may_be_left_out() -> None:
    with pytest.raises(RuntimeError, match="boom"), one_torch_thread():
        raise RuntimeError("boom")
    assert torch.get_num_threads() == 3
    with one_torch_thread(False):
        assert torch.get_num_threads() == 3


_ASK_BLAS = """
import numpy, scipy.linalg
from threadpoolctl import threadpool_info
blas = {int(pool["num_threads"]) for pool in threadpool_info() if pool["user_api"] == "blas"}
"""


def _numbers() -> tuple[set[int], int, int]:
    """BLAS libraries' threads, torch's, OpenCV's in this process."""
    import cv2

    found: dict = {}
    exec(_ASK_BLAS, found)
    torch.ones(4) @ torch.ones(4)
    return found["blas"], torch.get_num_threads(), cv2.getNumThreads()


def test_workers_have_one_thread_and_leave_the_environment_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "4")
    monkeypatch.setenv("OPENBLAS_NUM_THREADS", "4")
    before = dict(os.environ)
    with worker_pool(1) as pool:
        blas, of_torch, of_opencv = pool.submit(_numbers).result()
        assert dict(os.environ) == before
    assert (blas, of_torch, of_opencv) == ({1}, 1, 1)


def _python(code: str, **variables: str) -> str:
    kept = {k: v for k, v in os.environ.items() if not k.endswith("_NUM_THREADS")}
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env={**kept, **variables},
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    return done.stdout.strip()


_LIMIT = "from sai_core.threads import limit_blas; limit_blas(); "


@pytest.mark.parametrize("begin", ["", "import numpy, scipy.linalg; "])
def test_blas_has_one_thread_in_every_program_of_ours(begin: str) -> None:
    assert _python(begin + _LIMIT + _ASK_BLAS + "print(blas)") == "{1}"


@pytest.mark.skipif((os.cpu_count() or 1) < 2, reason="one core")
def test_the_users_own_number_of_blas_threads_counts() -> None:
    assert _python(_LIMIT + _ASK_BLAS + "print(blas)", OPENBLAS_NUM_THREADS="2") == "{2}"


_BACKGROUND = """
import time
import numpy as np, scipy.linalg
from threadpoolctl import threadpool_info
from sai_core.jobs import JobQueue
from sai_core.threads import limit_blas, start_thread
start_thread(limit_blas, name="a session's script").join()  # as the app does: not in the job's thread

def work(progress):
    a = np.random.default_rng(0).random((700, 700))
    before, cpu = time.process_time(), time.thread_time()
    while time.thread_time() - cpu < 0.5:
        np.linalg.eigh(a @ a.T), scipy.linalg.eigh(a + a.T)
    all_threads, own = time.process_time() - before, time.thread_time() - cpu
    return {int(p["num_threads"]) for p in threadpool_info() if p["user_api"] == "blas"}, all_threads / own

job = JobQueue("test").submit("key", work)
while job.active:
    time.sleep(0.2)
print(job.error or repr(job.value))
"""


@pytest.mark.skipif((os.cpu_count() or 1) < 2, reason="one core")
def test_a_background_job_computes_with_its_own_thread_alone() -> None:
    """BLAS threads that wait for work spin: their processor time shows beside that of the job's own thread."""
    blas, ratio = ast.literal_eval(_python(_BACKGROUND).splitlines()[-1])
    assert blas == {1}
    assert ratio < 1.3


def test_nothing_else_sets_threads() -> None:
    """One policy: the numbers of threads are set in one module alone."""
    words = ("set_num_threads", "setNumThreads", "threadpool_limits", "_NUM_THREADS", "ProcessPoolExecutor")
    sources = [ROOT / "app.py", *(ROOT / "sai_core").rglob("*.py"), *(ROOT / "pages").rglob("*.py")]
    found = {}
    for path in sources:
        text = path.read_text(encoding="utf-8")
        if here := {word for word in words if word in text}:
            found[path.relative_to(ROOT).as_posix()] = here
    del found["sai_core/threads.py"]
    # names of variables that a user may pass on to a run; their values are the user's
    assert found == {"sai_core/runs/launch.py": {"_NUM_THREADS"}}
