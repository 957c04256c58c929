"""The life of a run, the same for everything that can be trained: from its first word to how it ended.

``running`` while it works; then ``finished``, ``stopped`` (on request, by SIGTERM, cancelled, Ctrl-C: it can be
resumed) or ``failed`` with one sentence. Where nobody is left to tell (``kill -9``), the state stays ``running``, and
:mod:`sai_core.runs.watch` sees that the process is gone.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from sai_core.errors import CancelledError, EnvironmentProblem, SaiError
from sai_core.progress import Progress, no_progress
from sai_core.runs.folder import RunFolder


class _StopBeforeTheFirstStep(CancelledError):
    """There is nothing yet that a checkpoint would save."""


class Life:
    """What a trainer tells between its steps, and whether it is to go on.

    Attributes
    ----------
    stopped : bool
        Set by the trainer where it ended before its time.
    """

    def __init__(self, folder: RunFolder, progress: Progress) -> None:
        self.folder, self._progress = folder, progress
        self.stopped = False
        self.cancelled: CancelledError | None = None

    def preparing(self, fraction: float, message: str) -> None:
        """Tell what is done before the first step, as a :data:`~sai_core.progress.Progress`; a stop ends it here."""
        self.folder.status(message=message)
        self._progress(fraction, message)
        if self.folder.stop_wanted():
            raise _StopBeforeTheFirstStep("Stopped before the first step.")

    def tell(self, fraction: float, message: str, **facts: Any) -> None:
        """Tell how far the run is; who cancels it meanwhile asks for a checkpoint and the end."""
        self.folder.status(message=message, **facts)
        try:
            self._progress(fraction, message)
        except CancelledError as error:
            self.cancelled = error
            self.folder.ask_to_stop()


@contextmanager
def life(folder: RunFolder, progress: Progress = no_progress, *, epochs: int, message: str) -> Iterator[Life]:
    """Live: the block trains, and its end is told in ``status.json``.

    SIGTERM (a shutdown, a batch system, ``kill``) asks for a checkpoint and an end, as the file ``stop`` does.

    Parameters
    ----------
    folder : RunFolder
        Held (:meth:`~sai_core.runs.folder.RunFolder.held`), with its settings written.
    progress : Progress
    epochs : int
    message : str
        What is done first.

    Raises
    ------
    CancelledError
        Whoever was told by ``progress`` cancelled it.
    EnvironmentProblem
        The disk is full, memory or the GPU's are; the last checkpoint stays.
    """
    lived = Life(folder, no_progress if folder.silent else progress)
    folder.clear_stop(stale_only=True)
    folder.status(force=True, state="running", epochs=epochs, message=message)
    try:
        with _machine_problems(folder), _on_sigterm(folder.ask_to_stop):
            yield lived
        if lived.stopped:
            folder.clear_stop()
            folder.status(force=True, state="stopped", message=folder.how_far(), eta_s=None)
        else:
            folder.status(force=True, state="finished", message="", eta_s=None)
            folder.clear_stop()
    except (CancelledError, KeyboardInterrupt) as error:
        folder.clear_stop()
        word = "Interrupted from the keyboard." if isinstance(error, KeyboardInterrupt) else str(error)
        folder.status(force=True, state="stopped", message=word or "Cancelled.", eta_s=None)
        lived.stopped = True
        if not isinstance(error, _StopBeforeTheFirstStep):
            raise
    except BaseException as error:
        sentence = str(error) if isinstance(error, SaiError) else f"{type(error).__name__}: {error}"
        with suppress(SaiError):  # a full disk must not hide what happened
            folder.status(force=True, state="failed", message=" ".join(sentence.split())[:500], eta_s=None)
        raise
    if lived.cancelled is not None:
        raise lived.cancelled


@contextmanager
def _on_sigterm(action: Any) -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, lambda *_: action())
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@contextmanager
def _machine_problems(folder: RunFolder) -> Iterator[None]:
    """One sentence for a machine that is full or broken."""
    try:
        yield
    except OSError as error:
        raise EnvironmentProblem(
            f"{error.filename or folder.path}: {error.strerror or error}; --resume goes on from the last checkpoint."
        ) from error
    except MemoryError as error:
        raise EnvironmentProblem("the memory is full; use a smaller batch (--set batch=4).") from error
    except RuntimeError as error:
        # torch's own, told by name: this module does not wait for torch
        if type(error).__name__ == "OutOfMemoryError":
            raise EnvironmentProblem("the GPU's memory is full; use a smaller batch (--set batch=4).") from error
        if isinstance(error, SaiError) or "CUDA" not in str(error):
            raise
        first = str(error).strip().splitlines()[0]
        raise EnvironmentProblem(f"the GPU failed ({first}); the last checkpoint is good, --resume goes on.") from error
