"""What is known of a whole set, in memory and on disk, and the work that finds out the rest.

Nothing here waits for a file to be read but :meth:`Survey.look`: a set of a thousand recordings is shown at once with
what is known of it, and the rest comes as it is found.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from typing import Final

import msgspec
import numpy as np
from cachetools import LRUCache

from sai_core.cache import Cache, key_of
from sai_core.dataset import DataRoot, PredictionSet
from sai_core.errors import EnvironmentProblem, InputError
from sai_core.metrics.evaluation.score_store import ScoreStore
from sai_core.progress import Progress, no_progress, part_of
from sai_core.survey.files import Look, Looker, LookKind, Part, Stamp, looks_of, part_of_values, values_of
from sai_core.threads import worker_pool

_MEMORY_PARTS: Final[int] = 100_000
"""Answers kept in memory: some kilobytes each."""

_SETTLED_NS: Final[int] = 2_000_000_000
"""A file that was written less than this before it was looked at is not kept in the index on disk: a second write
within the granularity of time stamps could not be told."""

_UNSCORED_SECONDS: Final[float] = 15.0
"""After this a score that nobody had computed is asked for again."""

_SAVE_SECONDS: Final[float] = 20.0
_BATCH_BYTES: Final[int] = 4 << 20
_BATCH: Final[int] = 16
"""Recordings that a worker gets at once, and their bytes: small ones would cost more on the way than in it."""

_WORTH_WORKERS_BYTES: Final[int] = 100 << 20
_WORTH_WORKERS: Final[int] = 100

_index: Final = Cache("survey-index", 2)

_Task = list[tuple[Look, Stamp]]
"""Looks at one recording that have no answer."""


@dataclass(frozen=True)
class Group:
    """Looks of one kind at the recordings of a set; what is known of them is one entry on disk.

    Attributes
    ----------
    kind : str
    key : str
        Of the entry.
    looks : tuple of Look
    """

    kind: LookKind
    key: str
    looks: tuple[Look, ...]


def groups_of(
    root: DataRoot, *, predictions: PredictionSet | None = None, scored: Sequence[PredictionSet] = ()
) -> tuple[Group, ...]:
    """All that there is to know of a set.

    Parameters
    ----------
    root : DataRoot
    predictions : PredictionSet, optional
        Whose annotations are added up, too.
    scored : sequence of PredictionSet
        Whose scores are looked for; none is computed.
    """
    by_kind: dict[LookKind, list[Look]] = {"labels": [], "sound": [], "picture": []}
    for recording in root.recordings:
        for look in looks_of(recording):
            by_kind[look.kind].append(look)
    place = str(root.path)
    groups = [
        Group(kind, key_of(place, kind, "" if kind == "sound" else root.label_set), tuple(looks))
        for kind, looks in by_kind.items()
    ]
    for kind, sets in (("predictions", [predictions] if predictions else []), ("score", scored)):
        for chosen in sets:
            looks = tuple(
                Look(kind, r, chosen.files[r.name])  # type: ignore[arg-type]
                for r in root.recordings
                if r.name in chosen.files and (kind != "score" or r.has_labels)
            )
            key = key_of(place, kind, root.label_set if kind == "score" else "", str(chosen.folder), chosen.name)
            groups.append(Group(kind, key, looks))  # type: ignore[arg-type]
    return tuple(group for group in groups if group.looks)


class Survey:
    """Answers to looks by the state of their files; may be used by several threads.

    Parameters
    ----------
    scores : ScoreStore, optional
        Where scores are looked for.

    Attributes
    ----------
    generation : int
        Grows with every answer.
    """

    def __init__(self, scores: ScoreStore | None = None) -> None:
        self._scores = scores
        self._lock = threading.Lock()
        self._parts: LRUCache[tuple[object, ...], tuple[Part | str | None, bool, float]] = LRUCache(_MEMORY_PARTS)
        """Answer, whether it may go to the index on disk, and when it was given."""
        self._loaded: set[str] = set()
        self.generation = 0

    def load(self, groups: Iterable[Group]) -> None:
        """Take over what the disk holds of some groups; each once in a process."""
        for group in groups:
            with self._lock:
                if group.key in self._loaded:
                    continue
                self._loaded.add(group.key)
            if (entry := _index.get(group.key)) is None:
                continue
            for key, values in msgspec.msgpack.decode(entry.arrays["parts"].tobytes()):
                self._put(tuple(key), part_of_values(group.kind, values), settled=True)

    def known(self, look: Look) -> tuple[bool, Part | str | None]:
        """Whether a look was answered for its files as they are now, and the answer.

        The answer is a sentence where the files cannot be used, and None for a score that nobody has computed.
        """
        try:
            stamp = look.stamp()
        except InputError as error:
            return True, str(error)
        return self._known(stamp)

    def _known(self, stamp: Stamp) -> tuple[bool, Part | str | None]:
        with self._lock:
            found = self._parts.get(stamp.key)
        if found is None:
            return False, None
        fresh = found[0] is not None or time.monotonic() - found[2] < _UNSCORED_SECONDS
        return fresh, found[0]

    def missing(self, groups: Iterable[Group]) -> list[Look]:
        """Looks that have no answer yet."""
        return [look for group in groups for look in group.looks if not self.known(look)[0]]

    def look(self, groups: Sequence[Group], *, workers: int | None = None, progress: Progress = no_progress) -> None:
        """Answer all that has no answer, small files first, and keep it on disk.

        Parameters
        ----------
        groups : sequence of Group
        workers : int, optional
            Processes; 0 for none, which is what a small set gets by itself.
        progress : Progress
            Told after each recording; may raise CancelledError, and what was found until then stays.
        """
        self.load(groups)
        tasks, n_bytes = self._tasks(groups)
        if not tasks:
            return
        if workers is None:
            workers = 2 if n_bytes > _WORTH_WORKERS_BYTES or len(tasks) > _WORTH_WORKERS else 0
        saved = time.monotonic()
        done = 0
        try:
            for n, name in self._answers(tasks, workers, progress):
                done += n
                progress(done / len(tasks), f"{name} ({done} of {len(tasks)} recordings)")
                if time.monotonic() - saved > _SAVE_SECONDS:
                    self.save(groups)
                    saved = time.monotonic()
        finally:
            self.save(groups)

    def _tasks(self, groups: Sequence[Group]) -> tuple[list[_Task], int]:
        """Looks without an answer by recording, small ones first; their bytes."""
        by_recording: dict[tuple[str, str], _Task] = {}
        for group in groups:
            for look in group.looks:
                try:
                    stamp = look.stamp()
                except InputError:
                    continue
                if not self._known(stamp)[0]:
                    place = (look.recording.split, look.recording.name)
                    by_recording.setdefault(place, []).append((look, stamp))
        sizes = {place: sum(stamp.n_bytes for _, stamp in looks) for place, looks in by_recording.items()}
        return [by_recording[place] for place in sorted(by_recording, key=lambda p: sizes[p])], sum(sizes.values())

    def _answers(self, tasks: list[_Task], workers: int, progress: Progress) -> Iterator[tuple[int, str]]:
        """Answer tasks; gives how many recordings were finished and the name of the last."""
        if workers:
            # scores are in this process's memory, or a short read away
            yield from self._remote(_only(tasks, lambda kind: kind != "score"), workers)
            tasks = _only(tasks, lambda kind: kind == "score")
        for number, task in enumerate(tasks):
            within = part_of(progress, number / len(tasks), (number + 1) / len(tasks))
            looker = Looker(task[0][0].recording, self._scores)
            for look, stamp in task:
                self._take(stamp, looker.answer(look, progress=within))
            yield (0 if workers else 1), task[0][0].recording.name

    def _remote(self, tasks: list[_Task], workers: int) -> Iterator[tuple[int, str]]:
        pool = worker_pool(workers)
        try:
            waiting: dict[Future[list[list[Part | str | None]]], list[_Task]] = {}
            batches = _batches(tasks)
            while True:
                while len(waiting) < 2 * workers and (batch := next(batches, None)) is not None:
                    waiting[pool.submit(_answer_batch, [[look for look, _ in task] for task in batch])] = batch
                if not waiting:
                    return
                ended, _ = wait(waiting, timeout=0.5, return_when=FIRST_COMPLETED)
                if not ended:
                    yield 0, "reading"
                for future in ended:
                    batch = waiting.pop(future)
                    try:
                        found = future.result()
                    except BrokenProcessPool as error:
                        raise EnvironmentProblem(
                            "A process that read files was ended by the system, most likely for want of memory; what "
                            "was found until then is kept. Close other programs, or read in one process (--workers 0)."
                        ) from error
                    for task, answers in zip(batch, found, strict=True):
                        for (_, stamp), answer in zip(task, answers, strict=True):
                            self._take(stamp, answer)
                    yield len(batch), batch[-1][0][0].recording.name
        finally:
            pool.shutdown(wait=False, cancel_futures=True)

    def _take(self, stamp: Stamp, answer: Part | str | None) -> None:
        self._put(stamp.key, answer, settled=time.time_ns() - stamp.newest_ns > _SETTLED_NS)

    def _put(self, key: tuple[object, ...], answer: Part | str | None, *, settled: bool) -> None:
        with self._lock:
            self._parts[key] = (answer, settled, time.monotonic())
            self.generation += 1

    def save(self, groups: Iterable[Group]) -> None:
        """Keep what is known of some groups on disk; problems are looked at again by the next process."""
        for group in groups:
            kept = []
            for look in group.looks:
                try:
                    key = look.stamp().key
                except InputError:
                    continue
                with self._lock:
                    part, settled, _ = self._parts.get(key, (None, False, 0.0))
                if settled and part is not None and not isinstance(part, str):
                    kept.append((key, values_of(part)))
            if kept:
                data = np.frombuffer(msgspec.msgpack.encode(kept), np.uint8)
                _index.put(group.key, {"parts": data})


def _only(tasks: list[_Task], wanted: Callable[[LookKind], bool]) -> list[_Task]:
    parts = ([pair for pair in task if wanted(pair[0].kind)] for task in tasks)
    return [task for task in parts if task]


def _answer_batch(tasks: list[list[Look]]) -> list[list[Part | str | None]]:
    """What a worker does: all looks at some recordings."""
    answers = []
    for looks in tasks:
        looker = Looker(looks[0].recording)
        answers.append([looker.answer(look) for look in looks])
    return answers


def _batches(tasks: list[_Task]) -> Iterator[list[_Task]]:
    batch: list[_Task] = []
    size = 0
    for task in tasks:
        batch.append(task)
        size += sum(stamp.n_bytes for _, stamp in task)
        if len(batch) >= _BATCH or size >= _BATCH_BYTES:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch
