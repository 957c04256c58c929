"""Progress of long work, without knowing who watches.

A ``Progress`` is any callable ``(fraction, message) -> None`` with ``fraction`` in [0, 1]. A watcher that wants the
work to stop raises :class:`sai_core.errors.CancelledError` from the call.
"""

from __future__ import annotations

import sys
import time
from typing import Protocol, TextIO


class Progress(Protocol):
    """Callable that is told how far the work is."""

    def __call__(self, fraction: float, message: str) -> None:
        """Report ``fraction`` in [0, 1] and one short line of text."""


def no_progress(fraction: float, message: str) -> None:
    """Ignore the report."""


def part_of(progress: Progress, begin: float, end: float) -> Progress:
    """Progress of a piece of work whose 0 and 1 are ``begin`` and ``end`` of the whole."""

    def report(fraction: float, message: str) -> None:
        progress(begin + (end - begin) * fraction, message)

    return report


class TerminalProgress:
    """One self-overwriting line on stderr (plain lines when stderr is no terminal), at most five a second."""

    def __init__(self, label: str, stream: TextIO | None = None) -> None:
        self._label = label
        self._stream = stream if stream is not None else sys.stderr
        self._start = time.monotonic()
        self._last = 0.0
        self._last_percent = -10

    def __call__(self, fraction: float, message: str) -> None:
        """Write the line if enough time (or, without a terminal, enough work) has passed."""
        now = time.monotonic()
        fraction = min(max(fraction, 0.0), 1.0)
        percent = int(fraction * 100)
        remaining = (now - self._start) * (1 - fraction) / fraction if fraction > 0.01 else float("nan")
        tail = f" · {remaining:.0f} s left" if remaining == remaining and fraction < 1 else ""
        text = f"{self._label} {percent:3d} % {message}{tail}"
        if self._stream.isatty():
            if now - self._last < 0.2 and fraction < 1:
                return
            self._stream.write("\r\x1b[2K" + text + ("\n" if fraction >= 1 else ""))
        else:
            if percent < self._last_percent + 10 and fraction < 1:
                return
            self._last_percent = percent
            self._stream.write(text + "\n")
        self._last = now
        self._stream.flush()
