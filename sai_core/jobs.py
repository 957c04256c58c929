"""Background work: one kind of job, and queues that give each its turn.

A :class:`Job` is a calculation in a thread of its own, which pages (and anything else) look at: its state, how far it
is, its result or the one sentence that says why there is none. A :class:`JobQueue` starts jobs, so many at once as
their resource bears (two networks at once would share the processor and both be late), in the order in which they were
asked for, the same question only once for all who ask it, and keeps the last results.

Work is any callable that takes a :class:`sai_core.progress.Progress`. A job that is cancelled hears of it at its next
report, as a :class:`sai_core.errors.CancelledError`; work that never reports runs on to its end, and keeps its turn as
long, since it still uses what the turn is about.

At its reports a job also gives way to what somebody sits and waits for (:func:`answering`): a picture that takes a
tenth of a second takes several beside a thread that computes, because the two share Python's lock.
"""

from __future__ import annotations

import itertools
import logging
import math
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Hashable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, Final, Generic, Literal, TypeVar, cast

from sai_core import permissions
from sai_core.errors import CancelledError, SaiError
from sai_core.permissions import Action
from sai_core.progress import Progress
from sai_core.threads import start_thread

Result = TypeVar("Result")

JobState = Literal["queued", "running", "done", "failed", "cancelled"]
"""``queued`` and ``running`` are active, the other three final."""

Reuse = Literal["any", "unfailed", "active"]
"""Which earlier job of a key answers a question: whichever there is; none that failed or was cancelled; none that has
ended."""

_WAITING: Final[str] = "Waiting for its turn"
_BEFORE: Final[str] = "Cancelled before it began."
_EARLIEST_ESTIMATE: Final[float] = 0.02
"""Fraction from which the time that is left is estimated."""

_PATIENCE_S: Final[float] = 2.0
_PATIENCE_PER_S: Final[float] = 2.0
"""How long a job gives way at most, all in all: so long, and so long for each second that it has worked."""

_numbers = itertools.count(1)
_answers = threading.Condition()
_n_answers = 0
"""Answers that are being made."""
_log = logging.getLogger(__name__)


@contextmanager
def answering() -> Iterator[None]:
    """Somebody waits for what is done inside: jobs hold still at their reports meanwhile, but not for ever.

    Not to be held while waiting for a job.
    """
    global _n_answers
    with _answers:
        _n_answers += 1
    try:
        yield
    finally:
        with _answers:
            _n_answers -= 1
            _answers.notify_all()


class Job(Generic[Result]):
    """A piece of work in the background; may be looked at from any thread.

    Parameters
    ----------
    work : callable
        Called once with a progress, in a thread of its own; what it returns is the result.
    title : str
        What is done, for those who watch.
    when_cancelled : str
        Sentence for a job that was cancelled while it ran: what of it stays.
    needs : str
        What somebody must be allowed to do who starts, cancels or removes it (:mod:`sai_core.permissions`). The work
        is done for whoever asked for it first; what needs more than looking is kept in the audit log.

    Attributes
    ----------
    number : int
        Of this process, from 1 on, in the order in which jobs were made.
    state : {"queued", "running", "done", "failed", "cancelled"}
    fraction : float
        How far it is, in [0, 1].
    text : str
        What it does at the moment.
    result : object or None
        What the work returned; there as soon as the state is ``done``.
    error : str
        Why there is no result, in one sentence: of a job that failed or was cancelled.
    """

    def __init__(
        self,
        work: Callable[[Progress], Result],
        *,
        title: str = "",
        when_cancelled: str = "Stopped.",
        needs: Action = "look",
    ) -> None:
        self.title, self.needs = title, needs
        self.check("start")
        self._person = permissions.person()
        self.number = next(_numbers)
        self.state: JobState = "queued"
        self.fraction = 0.0
        self.text = _WAITING
        self.result: Result | None = None
        self.error = ""
        self._work: Callable[[Progress], Result] | None = work
        self._when_cancelled = when_cancelled
        self._wanted_anyway = False
        self._began = self._ended = self._gave_way = 0.0
        self._lock = threading.Lock()
        self._cancel = threading.Event()
        self._over = threading.Event()

    @property
    def value(self) -> Result:
        """The result of a job that is done."""
        assert self.state == "done", self.state
        return cast("Result", self.result)

    @property
    def active(self) -> bool:
        """Whether it waits or runs."""
        return not self._over.is_set()

    @property
    def cancelling(self) -> bool:
        """Whether it was asked to stop and has not ended yet."""
        return self._cancel.is_set() and self.active

    @property
    def seconds(self) -> float:
        """Time since it began, or that it took."""
        if not self._began:
            return 0.0
        return (self._ended or time.monotonic()) - self._began

    @property
    def seconds_left(self) -> float | None:
        """Estimate by what is done; None while there is nothing to tell by."""
        if self.state != "running" or self.fraction < _EARLIEST_ESTIMATE:
            return None
        return self.seconds * (1 - self.fraction) / self.fraction

    def check(self, what: str) -> None:
        """Make sure that the running code may do something to the job.

        Raises
        ------
        InputError
            It may not.
        """
        permissions.check(self.needs, what, self.title)

    def cancel(self) -> None:
        """Ask it to stop: one that waits ends at once, one that runs at its next report.

        Raises
        ------
        InputError
            Who asks may not start it, either.
        """
        self.check("cancel")
        if self.needs != "look":
            permissions.record("cancel", self.title, "done")
        self._cancel_now()

    def _cancel_now(self) -> None:
        with self._lock:
            self._cancel.set()
            if self.state == "queued":
                self._end("cancelled", error=_BEFORE)

    def wait(self, seconds: float) -> bool:
        """Whether it ended within some seconds."""
        return self._over.wait(max(seconds, 0.0))

    def report(self, fraction: float, message: str) -> None:
        """Say how far the work is; this is the progress that the work is given.

        Raises
        ------
        CancelledError
            The job was cancelled.
        """
        if _n_answers:
            self._give_way()
        if self._cancel.is_set():
            raise CancelledError(self._when_cancelled)
        if self.state != "running":  # a helper of the work that has outlived it
            return
        if math.isfinite(fraction):
            self.fraction = min(max(float(fraction), 0.0), 1.0)
        self.text = message

    def _give_way(self) -> None:
        now = time.monotonic()
        worked = now - self._began - self._gave_way
        with _answers:
            _answers.wait_for(lambda: not _n_answers, _PATIENCE_S + _PATIENCE_PER_S * worked - self._gave_way)
        self._gave_way += time.monotonic() - now

    def _begin(self) -> bool:
        """Take the job out of the waiting; False if it was cancelled there."""
        with self._lock:
            if self.state != "queued":
                return False
            self.state, self.text, self._began = "running", "", time.monotonic()
            return True

    def _run(self) -> None:
        """Do the work; nothing that it raises leaves this."""
        assert self._work is not None
        with permissions.acting_as(self._person):
            self._do(self._work)

    def _do(self, work: Callable[[Progress], Result]) -> None:
        try:
            result = work(self.report)
        except CancelledError as error:
            ending: tuple[JobState, Result | None, str] = ("cancelled", None, str(error))
        except BaseException as error:  # a bug, or an exit of a library's, must not leave a bar that never ends
            ending = ("failed", None, _sentence(error, self.title))
        else:
            # also when it was cancelled meanwhile: the work is done, and its files are there
            ending = ("done", result, "")
        state, result_or_none, sentence = ending
        if self.needs != "look":
            try:
                permissions.record("start", self.title, f"{state}: {sentence}" if sentence else state)
            except SaiError as error:  # its begin is in the log; that its end is not must be seen by somebody
                _log.error("%s: %s", self.title, error)
        with self._lock:
            self._end(state, result=result_or_none, error=sentence)

    def _end(self, state: JobState, *, result: Result | None = None, error: str = "") -> None:
        self._work = None  # what it holds on to may be large
        self._ended = time.monotonic()
        self.result, self.error = result, error
        if state == "done":
            self.fraction = 1.0
        elif error:
            self.text = error
        self.state = state
        self._over.set()


def _sentence(error: BaseException, title: str) -> str:
    """What a user is told of an error; the traceback of a bug goes to the log."""
    if isinstance(error, SaiError):
        return str(error)
    what = title or "The calculation"
    if isinstance(error, MemoryError):
        return f"{what} failed: there is not enough memory; choose less at once, or close other programs."
    _log.error("%s failed", what, exc_info=error)
    if isinstance(error, OSError) and error.strerror:
        return f"{what} failed: {error.filename or 'a file'}: {error.strerror}."
    fault = f"{type(error).__name__}: {error}"
    return f"{what} failed because of a fault in the program ({fault}); the log in the terminal says where."


class JobQueue:
    """Jobs of one kind, for all who ask: turns, order, the same question once, the last results.

    Parameters
    ----------
    name : str
        Of the threads.
    at_once : int, optional
        Jobs that run at the same time; any number when left out.
    keep : int
        Jobs that are kept after their end, those that were asked for last.
    """

    def __init__(self, name: str, *, at_once: int | None = None, keep: int = 32) -> None:
        self._name, self._at_once, self._keep = name, at_once, keep
        self._lock = threading.RLock()
        self._jobs: OrderedDict[int, tuple[Hashable, Job[Any]]] = OrderedDict()
        """By number, what was asked for last at the end."""
        self._waiting: deque[Job[Any]] = deque()
        self._n_running = 0
        self._wishes: dict[Hashable, Job[Any]] = {}
        """The active job that each of those who may change their minds wants."""

    @property
    def jobs(self) -> tuple[Job[Any], ...]:
        """All jobs, the newest first."""
        with self._lock:
            return tuple(self._jobs[number][1] for number in sorted(self._jobs, reverse=True))

    def find(self, key: Hashable) -> Job[Any] | None:
        """The newest job of a key, if there is one."""
        with self._lock:
            found = [job for job_key, job in self._jobs.values() if job_key == key]
            if not found:
                return None
            job = max(found, key=lambda j: j.number)
            self._jobs.move_to_end(job.number)
            return job

    def submit(
        self,
        key: Hashable,
        work: Callable[[Progress], Result],
        *,
        title: str = "",
        when_cancelled: str = "Stopped.",
        reuse: Reuse = "any",
        wanted_by: Hashable = None,
        needs: Action = "look",
    ) -> Job[Result]:
        """The job that answers a question: the one that is there, or a new one at the end of the queue.

        Parameters
        ----------
        key : hashable
            The question with everything that the answer depends on.
        work : callable
            As for :class:`Job`.
        title, when_cancelled : str
            As for :class:`Job`.
        reuse : {"any", "unfailed", "active"}
            Which earlier job of the key will do.
        wanted_by : hashable, optional
            Who asks, if they may change their mind: their next question takes the place of this one, and a job that
            nobody wants any longer is cancelled and forgotten. Left out, the job runs to its end.
        needs : str
            As for :class:`Job`.

        Raises
        ------
        InputError
            Who asks may not do what it needs.
        """
        permissions.check(needs, "start", title)
        with self._lock:
            job = self.find(key)
            if job is not None and not job.active:
                if reuse == "active" or (reuse == "unfailed" and job.state != "done"):
                    job = None
            elif job is not None and job.cancelling and reuse != "any":
                job = None
            if job is None:
                job = Job(work, title=title, when_cancelled=when_cancelled, needs=needs)
                self.add(key, job)
            self._wish(job, wanted_by)
            return cast("Job[Result]", job)

    def add(self, key: Hashable, job: Job[Any]) -> None:
        """Put a job that has been made at the end of the queue, whatever else there is of its key."""
        if job.needs != "look":
            permissions.record("start", job.title, "begun")
        with self._lock:
            self._jobs[job.number] = (key, job)
            self._waiting.append(job)
            self._dispatch()

    def remove(self, job: Job[Any]) -> None:
        """Take a job that has ended off the list, so that its question is a new one; an active one stays.

        Raises
        ------
        InputError
            Who asks may not start it, either.
        """
        job.check("remove")
        with self._lock:
            if not job.active:
                self._jobs.pop(job.number, None)

    def remove_unfinished(self) -> None:
        """Take off the list what failed or was cancelled, so that it starts again when it is asked for."""
        for job in self.jobs:
            if job.state in ("failed", "cancelled"):
                self.remove(job)

    def _wish(self, job: Job[Any], wanted_by: Hashable) -> None:
        if wanted_by is None:
            job._wanted_anyway = True
            return
        before = self._wishes.pop(wanted_by, None)
        if job.active:
            self._wishes[wanted_by] = job
        if before is None or before is job or not before.active:
            return
        if before._wanted_anyway or any(wish is before for wish in self._wishes.values()):
            return
        before._cancel_now()
        # not to be found by its key from now on, whether or not it hears of the end
        self._jobs.pop(before.number, None)

    def _dispatch(self) -> None:
        """Start what has its turn."""
        while self._waiting and (self._at_once is None or self._n_running < self._at_once):
            job = self._waiting.popleft()
            if not job._begin():
                continue
            self._n_running += 1
            try:
                start_thread(self._run, job, name=f"{self._name}-{job.number}")
            except RuntimeError as error:  # the system has no more threads
                self._n_running -= 1
                job._end("failed", error=f"{job.title or 'The calculation'} could not be started ({error}).")
        self._forget()

    def _run(self, job: Job[Any]) -> None:
        job._run()
        with self._lock:
            self._n_running -= 1
            self._wishes = {who: wish for who, wish in self._wishes.items() if wish.active}
            self._dispatch()

    def _forget(self) -> None:
        ended = [number for number, (_, job) in self._jobs.items() if not job.active]
        for number in ended[: max(0, len(ended) - self._keep)]:
            del self._jobs[number]


def wait_briefly(jobs: Iterable[Job[Any]], seconds: float) -> None:
    """Give jobs that are nearly instant the time to end, so that nothing flickers: so many seconds for all."""
    end = time.monotonic() + seconds
    for job in jobs:
        job.wait(end - time.monotonic())
