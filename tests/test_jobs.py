"""Background jobs, with real threads: states, turns, the same question once, cancelling, what is kept."""

from __future__ import annotations

import ast
import gc
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from sai_core.errors import CancelledError, InputError
from sai_core.jobs import Job, JobQueue, answering, wait_briefly
from sai_core.progress import Progress
from sai_core.threads import ReadAhead

ROOT = Path(__file__).resolve().parents[1]
PATIENCE_S = 60.0


class Gate:
    """Work that says when it begins, and reports until it may end (or ends without a report)."""

    def __init__(self, result: object = "result", *, deaf: bool = False) -> None:
        self.begun, self.open = threading.Event(), threading.Event()
        self.result, self.deaf = result, deaf

    def __call__(self, progress: Progress) -> Any:
        self.begun.set()
        end = time.monotonic() + PATIENCE_S
        while not self.open.wait(0.005):
            assert time.monotonic() < end
            if not self.deaf:
                progress(0.5, "half")
        if isinstance(self.result, BaseException):
            raise self.result
        return self.result

    def wait(self) -> None:
        assert self.begun.wait(PATIENCE_S)


def _answer(answer: int, progress: Progress) -> int:
    return answer


def _name_of(thing: object, progress: Progress) -> str:
    return type(thing).__name__


def until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.002)


def test_a_job_from_the_queue_to_its_result() -> None:
    queue = JobQueue("test", at_once=1)
    first, second = Gate("one"), Gate("two")
    a = queue.submit("a", first, title="First")
    b = queue.submit("b", second)
    first.wait()
    assert (a.state, b.state, b.text, b.seconds) == ("running", "queued", "Waiting for its turn", 0.0)
    until(lambda: a.text == "half")
    assert (a.fraction, a.title, a.result, a.active, b.active) == (0.5, "First", None, True, True)
    assert a.seconds_left is not None
    assert not second.begun.is_set()
    assert not a.wait(0)
    first.open.set()
    assert a.wait(PATIENCE_S)
    assert (a.state, a.result, a.fraction, a.error, a.active, a.seconds_left) == ("done", "one", 1.0, "", False, None)
    second.wait()
    second.open.set()
    assert b.wait(PATIENCE_S)
    assert b.result == "two"
    assert queue.jobs == (b, a)
    assert a.number < b.number


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (InputError("a.wav: is empty."), "a.wav: is empty."),
        (MemoryError(), "not enough memory"),
        (OSError(28, "No space left on device", "/x"), "Sum failed: /x: No space left on device."),
        (KeyError("k"), "Sum failed because of a fault in the program (KeyError: 'k')"),
        (SystemExit(3), "SystemExit"),
    ],
)
def test_a_failure_is_one_sentence_and_gives_the_turn_on(error: BaseException, sentence: str) -> None:
    queue = JobQueue("test", at_once=1)

    def work(progress: Progress) -> None:
        raise error

    failed = queue.submit("a", work, title="Sum")
    after = queue.submit("b", lambda progress: 7)
    assert after.wait(PATIENCE_S)
    assert (failed.state, failed.result, after.result) == ("failed", None, 7)
    assert sentence in failed.error


def test_the_traceback_of_a_bug_goes_to_the_log(caplog: pytest.LogCaptureFixture) -> None:
    def work(progress: Progress) -> None:
        raise RuntimeError("deep down")

    job = JobQueue("test").submit("a", work, title="Sum")
    assert job.wait(PATIENCE_S)
    assert "Sum failed" in caplog.text
    assert 'raise RuntimeError("deep down")' in caplog.text


def test_cancelled_while_it_waits_it_never_begins() -> None:
    queue = JobQueue("test", at_once=1)
    gate, never = Gate(), Gate()
    queue.submit("a", gate)
    waiting = queue.submit("b", never)
    waiting.cancel()
    assert (waiting.state, waiting.active, waiting.error) == ("cancelled", False, "Cancelled before it began.")
    last = queue.submit("c", lambda progress: 1)
    gate.open.set()
    assert last.wait(PATIENCE_S)
    assert not never.begun.is_set()


def test_cancelled_while_it_runs_it_ends_at_its_next_report() -> None:
    queue = JobQueue("test", at_once=1)
    gate = Gate()
    job = queue.submit("a", gate, when_cancelled="No file was written.")
    gate.wait()
    job.cancel()
    assert job.wait(PATIENCE_S)
    assert (job.state, job.error, job.result) == ("cancelled", "No file was written.", None)
    job.cancel()  # too late: nothing changes
    assert job.state == "cancelled"


def test_work_that_ignores_the_cancelling_keeps_its_turn_and_is_done_when_it_is_done() -> None:
    queue = JobQueue("test", at_once=1)
    gate = Gate(deaf=True)
    job = queue.submit("a", gate)
    gate.wait()
    job.cancel()
    after = queue.submit("b", lambda progress: 1)
    assert (job.cancelling, job.state, after.state) == (True, "running", "queued")
    gate.open.set()
    assert after.wait(PATIENCE_S)
    assert (job.state, job.result, job.cancelling) == ("done", "result", False)


def test_work_that_swallows_the_cancelling_hears_of_it_again() -> None:
    heard: list[str] = []
    begun = threading.Event()

    def work(progress: Progress) -> None:
        begun.set()
        while len(heard) < 3:
            try:
                progress(0.1, "on")
            except CancelledError as error:
                heard.append(str(error))
        progress(0.2, "and on")

    job = JobQueue("test").submit("a", work)
    assert begun.wait(PATIENCE_S)
    job.cancel()
    assert job.wait(PATIENCE_S)
    assert (job.state, heard) == ("cancelled", ["Stopped."] * 3)


def test_reports_that_make_no_sense_or_come_too_late_do_no_harm() -> None:
    reports: list[Progress] = []

    def work(progress: Progress) -> None:
        for fraction in (-1.0, 7.0, float("nan"), float("inf")):
            progress(fraction, "odd")
            seen.append(job.fraction)
        reports.append(progress)

    seen: list[float] = []
    job: Job[None] = Job(work)
    JobQueue("test").add("a", job)
    assert job.wait(PATIENCE_S)
    assert seen == [0.0, 1.0, 1.0, 1.0]
    reports[0](0.3, "late")
    assert (job.fraction, job.text) == (1.0, "odd")


def test_a_job_gives_way_to_answers_but_not_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    reports = []

    def work(progress: Progress) -> str:
        for k in range(3):
            progress(k / 3, "")
            reports.append(k)
        return "done"

    with answering(), answering():
        job = JobQueue("test").submit("a", work)
        assert not job.wait(0.3)
        assert reports == []
    assert job.wait(20)
    assert reports == [0, 1, 2]
    monkeypatch.setattr("sai_core.jobs._PATIENCE_S", 0.05)
    with answering():
        assert JobQueue("test").submit("b", work).wait(20)
        cancelled = JobQueue("test").submit("c", work)
        cancelled.cancel()
        assert cancelled.wait(20)


def test_the_same_question_is_asked_once() -> None:
    queue = JobQueue("test")
    gate = Gate()
    jobs = {queue.submit("a", gate).number for _ in range(5)}
    assert len(jobs) == 1
    gate.open.set()
    job = queue.submit("a", gate)
    assert job.wait(PATIENCE_S)
    assert queue.submit("a", Gate()) is job
    assert queue.submit("a", Gate(), reuse="unfailed") is job
    again = queue.submit("a", lambda progress: 2, reuse="active")
    assert again is not job
    assert again.wait(PATIENCE_S)
    assert queue.find("a") is again
    assert queue.find("b") is None


def test_what_failed_or_was_cancelled_is_tried_again_when_that_is_wanted() -> None:
    queue = JobQueue("test")

    def fails(progress: Progress) -> int:
        raise InputError("no")

    failed = queue.submit("a", fails)
    assert failed.wait(PATIENCE_S)
    assert queue.submit("a", fails) is failed
    better = queue.submit("a", lambda progress: 1, reuse="unfailed")
    assert better is not failed
    assert better.wait(PATIENCE_S)
    queue.remove_unfinished()
    assert queue.jobs == (better,)
    # an active one that was asked to stop is no answer for who wants a new one
    gate = Gate(deaf=True)
    stopping = queue.submit("b", gate)
    gate.wait()
    stopping.cancel()
    assert queue.submit("b", gate) is stopping
    fresh = queue.submit("b", lambda progress: 3, reuse="unfailed")
    assert fresh.wait(PATIENCE_S)
    assert fresh.result == 3
    gate.open.set()


def test_the_newest_wish_wins_and_the_stale_job_is_gone() -> None:
    queue = JobQueue("test", at_once=1)
    gates = [Gate() for _ in range(4)]
    stale = queue.submit(0, gates[0], wanted_by="me")
    gates[0].wait()
    waiting = queue.submit(1, gates[1], wanted_by="me")
    now = queue.submit(2, gates[2], wanted_by="me")
    assert queue.submit(2, gates[3], wanted_by="me") is now
    gates[2].open.set()
    assert now.wait(PATIENCE_S)
    assert (stale.state, waiting.state, now.result) == ("cancelled", "cancelled", "result")
    assert not gates[1].begun.is_set()
    assert queue.jobs == (now,)
    # asked for once more, a stale question is a new one
    gates[3].open.set()
    fresh = queue.submit(0, gates[3], wanted_by="me")
    assert fresh.wait(PATIENCE_S)
    assert fresh.result == "result"


def test_a_wish_cancels_nothing_that_somebody_else_wants() -> None:
    queue = JobQueue("test")
    shared, kept = Gate(), Gate()
    ours = queue.submit("shared", shared, wanted_by="me")
    assert queue.submit("shared", shared, wanted_by="you") is ours
    fixed = queue.submit("kept", kept, wanted_by="me")
    assert queue.submit("kept", kept) is fixed  # by who does not change their mind
    last = queue.submit("other", Gate(), wanted_by="me")
    assert not ours.cancelling
    assert not fixed.cancelling
    queue.submit("mine", lambda progress: 1, wanted_by="you")
    assert ours.wait(PATIENCE_S)
    assert ours.state == "cancelled"
    assert fixed.active
    last.cancel()
    kept.open.set()
    assert fixed.wait(PATIENCE_S)
    assert fixed.state == "done"


def test_only_so_many_are_kept_those_that_were_asked_for_last() -> None:
    queue = JobQueue("test", keep=3)
    gate = Gate()
    running = queue.submit("running", gate)
    for k in range(3):
        assert queue.submit(k, partial(_answer, k)).wait(PATIENCE_S)
    until(lambda: len(queue.jobs) == 4)
    assert queue.find(0) is not None  # asked for again: younger than 1 and 2 now
    assert queue.submit(3, lambda progress: 3).wait(PATIENCE_S)
    until(lambda: queue.find(1) is None)
    assert sorted(str(j.result) for j in queue.jobs) == ["0", "2", "3", "None"]
    assert running in queue.jobs
    queue.remove(running)  # an active job cannot be lost
    assert running in queue.jobs
    gate.open.set()
    assert running.wait(PATIENCE_S)
    queue.remove(running)
    assert running not in queue.jobs


def test_what_the_work_held_is_let_go_with_its_end() -> None:
    class Large:
        pass

    large = Large()
    gone = weakref.ref(large)
    queue = JobQueue("test")
    job = queue.submit("a", partial(_name_of, large))
    del large
    assert job.wait(PATIENCE_S)
    until(lambda: (gc.collect(), gone() is None)[1])
    assert job.result == "Large"


def test_fifty_jobs_of_eight_threads_run_in_order_and_never_too_many_at_once() -> None:
    queue = JobQueue("test", at_once=3, keep=100)
    lock = threading.Lock()
    running: list[int] = []
    most: list[int] = []

    def work(key: int, progress: Progress) -> int:
        with lock:
            running.append(key)
            most.append(len(running))
        progress(0.5, "half")
        with lock:
            running.remove(key)
        return key * key

    jobs: list[Job[int]] = []

    def ask(thread: int) -> None:
        for k in range(50):
            # every question is asked by two threads
            if k % 4 == thread % 4:
                jobs.append(queue.submit(k, partial(work, k)))

    threads = [threading.Thread(target=ask, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE_S)
    wait_briefly(jobs, PATIENCE_S)
    assert sorted(j.value for j in queue.jobs) == [k * k for k in range(50)]
    assert len({job.number for job in jobs}) == 50
    assert len(jobs) == 100
    assert 1 <= max(most) <= 3


def test_no_thread_is_left_and_a_system_without_threads_is_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    queue = JobQueue("few-threads", at_once=1)

    def refuse(*_: object, **__: object) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr("sai_core.jobs.start_thread", refuse)
    job = queue.submit("a", lambda progress: 1, title="Sum")
    assert (job.state, job.error) == ("failed", "Sum could not be started (can't start new thread).")
    monkeypatch.undo()
    assert queue.submit("b", lambda progress: 1).wait(PATIENCE_S)
    until(lambda: not any(t.name.startswith("few-threads") for t in threading.enumerate()))


class Jobs(RuleBasedStateMachine):
    """Whatever is asked in whatever order: turns are kept, ends are ends, nothing is lost and nobody waits for ever."""

    def __init__(self) -> None:
        super().__init__()
        self.queue = JobQueue("model", at_once=2, keep=4)
        self.gates: dict[int, Gate] = {}
        self.final: dict[int, str] = {}
        self.jobs: dict[int, Job[Any]] = {}

    @rule(key=st.integers(0, 5), deaf=st.booleans(), reuse=st.sampled_from(["any", "unfailed", "active"]))
    def ask(self, key: int, deaf: bool, reuse: Any) -> None:
        gate = Gate(key, deaf=deaf)
        job = self.queue.submit(key, gate, reuse=reuse)
        if job.number not in self.jobs:
            self.jobs[job.number], self.gates[job.number] = job, gate

    @rule(key=st.integers(0, 5), who=st.sampled_from("ab"))
    def wish(self, key: int, who: str) -> None:
        gate = Gate(key)
        job = self.queue.submit(key, gate, wanted_by=who)
        if job.number not in self.jobs:
            self.jobs[job.number], self.gates[job.number] = job, gate

    @precondition(lambda self: self.jobs)
    @rule(data=st.data(), fail=st.booleans())
    def finish(self, data: st.DataObject, fail: bool) -> None:
        number = data.draw(st.sampled_from(sorted(self.jobs)))
        if fail and not self.gates[number].open.is_set():
            self.gates[number].result = InputError("no")
        self.gates[number].open.set()
        if self.jobs[number].state == "running":
            assert self.jobs[number].wait(PATIENCE_S)

    @precondition(lambda self: self.jobs)
    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        number = data.draw(st.sampled_from(sorted(self.jobs)))
        self.jobs[number].cancel()
        if not self.gates[number].deaf:
            assert self.jobs[number].wait(PATIENCE_S)

    @precondition(lambda self: self.jobs)
    @rule(data=st.data())
    def remove(self, data: st.DataObject) -> None:
        job = self.jobs[data.draw(st.sampled_from(sorted(self.jobs)))]
        listed, active = job in self.queue.jobs, job.active
        self.queue.remove(job)
        if active:
            assert (job in self.queue.jobs) == listed or not job.active
        else:
            assert job not in self.queue.jobs

    @invariant()
    def holds(self) -> None:
        states = {number: job.state for number, job in self.jobs.items()}
        assert sum(state == "running" for state in states.values()) <= 2
        for number, state in states.items():
            if number in self.final:
                assert state == self.final[number]
            elif state not in ("queued", "running"):  # of this reading: a thread may end it at this moment
                assert self.jobs[number].wait(PATIENCE_S)
                self.final[number] = state
                assert (state == "done") == (self.jobs[number].error == "")
        listed = [job.number for job in self.queue.jobs]
        assert listed == sorted(listed, reverse=True)
        assert sum(not job.active for job in self.queue.jobs) <= 4 + 2  # ends of this very moment

    def teardown(self) -> None:
        for gate in self.gates.values():
            gate.open.set()
        for job in self.jobs.values():
            assert job.wait(PATIENCE_S)


TestJobs = Jobs.TestCase
TestJobs.settings = settings(max_examples=25, stateful_step_count=20, deadline=None)


# what is read ahead


def test_read_ahead_gives_the_items_in_order_and_their_error() -> None:
    def items() -> Iterator[int]:
        yield from range(20)
        raise InputError("block 20 is damaged")

    seen: list[int] = []
    with ReadAhead(items(), 2, name="test") as ahead, pytest.raises(InputError, match="damaged"):
        seen.extend(ahead)
    with ReadAhead(iter(range(5)), 1, name="test") as whole:
        assert list(whole) == [0, 1, 2, 3, 4]


def test_read_ahead_is_never_further_ahead_than_that_and_ends_with_its_reader() -> None:
    made: list[int] = []

    def items() -> Iterator[int]:
        for k in range(1000):
            made.append(k)
            yield k

    with ReadAhead(items(), 2, name="read-ahead-test") as ahead:
        assert next(ahead) == 0
        until(lambda: len(made) >= 3)
    assert len(made) <= 5
    assert not any(t.name == "read-ahead-test" for t in threading.enumerate())


# one mechanism


def test_there_is_one_place_where_threads_start() -> None:
    """Threads are started by ``sai_core.threads`` alone; pools of threads are those of the computing core."""
    pools = {
        "sai_core/acoustics/features.py",
        "sai_core/labelling/intensity.py",
        "sai_core/training/loop.py",
    }
    threads, found = [], set()
    for path in [ROOT / "app.py", *(ROOT / "sai_core").rglob("*.py"), *(ROOT / "pages").rglob("*.py")]:
        name = path.relative_to(ROOT).as_posix()
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            called = node.func if isinstance(node, ast.Call) else node
            word = called.attr if isinstance(called, ast.Attribute) else getattr(called, "id", "")
            if isinstance(node, ast.Call) and word in ("Thread", "Timer", "start_new_thread"):
                threads.append(name)
            if isinstance(node, ast.ClassDef) and any(ast.unparse(base).endswith("Thread") for base in node.bases):
                threads.append(name)
            if isinstance(node, ast.Call) and word in ("ThreadPoolExecutor", "ThreadPool"):
                found.add(name)
    assert threads == ["sai_core/threads.py"]
    assert found == pools
