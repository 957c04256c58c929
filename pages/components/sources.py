"""Opened data, shared by all sessions: roots, recordings, comparisons that run in the background."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final
from weakref import WeakValueDictionary

import streamlit as st
from cachetools import LRUCache

from pages.components import background
from sai_core.annotations import AnnotationTable, read_annotations
from sai_core.dataset import DataRoot, PredictionSet, Recording, demo_root, open_data_root
from sai_core.dataset.browse import check_allowed
from sai_core.errors import InputError
from sai_core.files import file_signatures
from sai_core.jobs import Job, JobQueue, answering, wait_briefly
from sai_core.memory import give_back_memory
from sai_core.player.work import Work
from sai_core.progress import Progress
from sai_core.viewing.overview import overview
from sai_core.viewing.recording_view import (
    BytesCache,
    Media,
    RecordingView,
    annotation_paths,
    media_id,
    open_media,
    open_view,
)
from sai_core.workspace import with_sets, workspace

_CACHE_BYTES: Final[int] = 256 << 20
"""Finished blocks of all sessions together: some four minutes of video."""

_VIEWS_BYTES: Final[int] = 768 << 20
_LEAST_VIEW_BYTES: Final[int] = 64 << 20
"""What opened recordings may take together: twelve small ones, four with a label of 270 MB of text."""


_DECODERS: Final[int] = 10
"""Videos that stay open, those that were looked at last: 35 MB each, where a panorama is 1,920 pixels wide."""


@st.cache_resource(show_spinner=False)
def block_cache() -> BytesCache:
    """Cache of finished blocks."""
    return BytesCache(_CACHE_BYTES)


def entries(text: str) -> tuple[str, ...]:
    """Entries of a list that is kept as text, a line each."""
    return tuple(dict.fromkeys(line.strip() for line in text.splitlines() if line.strip()))


@st.cache_resource(ttl=5, max_entries=16, show_spinner=False)
def _scanned(path: str) -> DataRoot:
    return open_data_root(path)


@st.cache_resource(ttl=2, max_entries=32, show_spinner=False)
def _with_sets(path: str, predictions: tuple[str, ...], labels: str) -> DataRoot:
    return with_sets(_scanned(path), labels=labels, extra=predictions)


def data_root(path: str, predictions: tuple[str, ...] = (), labels: str = "") -> DataRoot:
    """What a folder holds, with the workspace's sets; looked at again after some seconds, so that new files appear.

    Parameters
    ----------
    path : str
    predictions : tuple of str
        Further ones: folders, files, names of sets.
    labels : str
        Label set; "" for the root's own labels.

    Raises
    ------
    InputError
        As :func:`sai_core.dataset.open_data_root` and :func:`sai_core.workspace.with_sets`; the app may not open it.
    """
    # never inside of what is cached: a hit would let through what was opened for somebody else, or under older rules
    always = (demo_root(), workspace().path)
    opened = str(check_allowed(path, always=always))
    for entry in (*predictions, labels):
        if os.sep in entry:
            check_allowed(entry, always=always)
    return _with_sets(opened, predictions, labels)


@st.cache_resource(show_spinner=False)
def work() -> Work:
    """Background work behind players, shared by all sessions."""
    return Work(block_cache())


class _Views:
    """The last opened recordings, as many as their annotations leave room for, the last one always.

    Not ``st.cache_resource`` on the opening function: that forbids a progress bar.
    """

    def __init__(self, limit_bytes: int) -> None:
        self._views: LRUCache[tuple[object, ...], RecordingView] = LRUCache(
            limit_bytes, getsizeof=lambda view: min(_cost_bytes(view), limit_bytes)
        )
        self._media: WeakValueDictionary[str, Media] = WeakValueDictionary()
        self._lock = threading.Lock()

    def find(self, signature: tuple[object, ...]) -> RecordingView | None:
        with self._lock:
            return self._views.get(signature)

    def partial(self, signature: tuple[object, ...]) -> RecordingView | None:
        """What was opened while some of its annotations were being read, the newest."""
        with self._lock:
            # keys alone: to look at a view is to use it
            keys = [key for key in self._views if key[0] == signature]
            return self._views.get(keys[-1]) if keys else None

    def media(self, media_id: str) -> Media | None:
        """Pictures and sound that one of the recordings has open."""
        return self._media.get(media_id)

    def get(self, signature: tuple[object, ...], build: Callable[[], RecordingView]) -> RecordingView:
        view = self.find(signature)
        if view is not None:
            return view
        view = build()  # outside the lock: a slow file of one session must not hold up the others
        with self._lock:
            self._media[view.media.media_id] = view.media
            for key in [key for key in self._views if key[0] == signature]:  # what was opened of it before
                del self._views[key]
            view = self._views.setdefault(signature, view)
            # those that are put out, too: a session may look at them still
            opened = [media for media in self._media.values() if media.frames is not None and media is not view.media]
        opened.sort(key=lambda media: media.frames.used if media.frames is not None else 0.0, reverse=True)
        for number, media in enumerate(opened, start=1):
            assert media.frames is not None
            media.frames.rest(deeply=number >= _DECODERS)
        give_back_memory()
        return view


def _cost_bytes(view: RecordingView) -> int:
    """What keeping a view costs: its annotations, about as much again in rendered maps, pictures, an open video."""
    return max(2 * sum(table.nbytes for table in view.tables.values()), _LEAST_VIEW_BYTES)


@st.cache_resource(show_spinner=False)
def _views() -> _Views:
    return _Views(_VIEWS_BYTES)


_AT_ONCE_BYTES: Final[int] = 2 << 20
"""Annotation files up to this size are read before the recording is shown: 0.15 s of work."""
_PATIENCE_S: Final[float] = 0.3
"""How long the others are waited for: a file that was read before is there by then."""


def recording_view(
    root: DataRoot,
    name: str,
    split: str,
    systems: dict[str, PredictionSet],
    *,
    lam32_weights: str = "",
    reader: str = "",
    progress: Progress,
) -> RecordingView:
    """Recording with its prediction sets, opened once for all sessions until one of its files changes.

    Parameters
    ----------
    root, name, split, systems, lam32_weights
        What is opened.
    reader : str
        Session that can wait for annotations: large files are then read in the background, and the recording comes
        without them (:func:`reading`). Those of a session's last recording that nobody else waits for are given up.
    progress : Progress

    Raises
    ------
    InputError
        No such recording.
    """
    recording = root.recording(name, split)
    paths = annotation_paths(recording, systems)
    signature = (
        lam32_weights,
        str(root.path),
        root.label_set,
        name,
        split,
        tuple((key, chosen.name) for key, chosen in systems.items()),
        file_signatures([recording.audio_path, recording.video_path, recording.frames_dir, *paths.values()]),
    )
    if (view := _views().find(signature)) is not None:
        return view
    partial = _views().partial(signature)
    tables = dict(partial.tables) if partial is not None else {}
    jobs = {}
    if reader:
        sizes = {key: _size(path) for key, path in paths.items() if key not in tables}
        large = [(n_bytes, key, paths[key]) for key, n_bytes in sizes.items() if n_bytes > _AT_ONCE_BYTES]
        jobs = {key: _reading_job(path, name, f"{reader}.{key}") for _, key, path in sorted(large)}
    began = time.monotonic()
    with answering():
        media = _views().media(media_id(recording)) or open_media(recording)
    wait_briefly(jobs.values(), began + _PATIENCE_S - time.monotonic())
    open_jobs = tuple(key for key, job in jobs.items() if job.active)

    def read(key: str, path: Path, report: Progress) -> AnnotationTable | None:
        job = jobs.get(key)
        if key in tables:
            return tables[key]
        if job is None:
            return read_annotations(path, recording=name, progress=report)
        if key in open_jobs:
            return None
        if job.result is None:
            raise InputError(job.error)
        return job.result

    def build() -> RecordingView:
        return open_view(
            recording,
            systems,
            cache=block_cache(),
            lam32_weights=lam32_weights,
            media=media,
            read=read,
            progress=progress,
        )

    view = _views().get((signature, open_jobs) if open_jobs else signature, build)
    for job in jobs.values():
        # from now on the view holds the table, and is bounded by what it takes
        if job.result is not None or not open_jobs:
            _readings().remove(job)
    return view


def reading(view: RecordingView, key: str) -> Job[AnnotationTable] | None:
    """The work on an annotation file that a view still waits for; None once it is over: the view is out of date."""
    job = _readings().find(_reading_key(view.reading[key], view.recording.name))
    return job if job is not None and job.active else None


def _readings() -> JobQueue:
    return background.queue("annotations", at_once=2)


def _reading_key(path: Path, name: str) -> tuple[object, ...]:
    return (file_signatures([path]), name)


def _reading_job(path: Path | None, name: str, wanted_by: str) -> Job[AnnotationTable]:
    assert path is not None
    return _readings().submit(
        _reading_key(path, name),
        lambda progress: read_annotations(path, recording=name, progress=progress),
        title=f"Reading {path.name}",
        wanted_by=wanted_by,
    )


def _size(path: Path | None) -> int:
    try:
        return 0 if path is None else path.stat().st_size
    except OSError:
        return 0  # told when it is opened


def view_of(signature: tuple[object, ...], build: Callable[[], RecordingView]) -> RecordingView:
    """A recording that is opened in another way than from a data root, kept under a signature of the caller's."""
    return _views().get(signature, build)


LONG_LIST: Final[int] = 500
"""Recordings above which a list is drawn without opening every file's header (some 0.3 ms each, more on a share)."""
_MUCH_METADATA: Final[int] = 1 << 19
"""Bytes of metadata above which a list is drawn without reading them (a second each MB)."""


def much_metadata(root: DataRoot) -> bool:
    """Whether to read the metadata of all recordings of a root would hold up what is opened."""
    return sum(_size(recording.metadata_path) for recording in root.recordings) > _MUCH_METADATA


def summary(recording: Recording, *, n_recordings: int = 0, metadata: bool = True) -> tuple[str, ...]:
    """Length and sources of a recording in words; nothing of it for long lists, no sources without metadata."""
    if n_recordings > LONG_LIST:
        return ()
    facts = overview(recording, metadata=metadata)
    parts = []
    if facts.duration_s is not None:
        seconds = round(facts.duration_s)
        parts.append(f"{seconds // 60}:{seconds % 60:02d}")
    if facts.n_sources is not None:
        n_classes = len(facts.categories)
        parts.append(
            f"{facts.n_sources} source{'s' * (facts.n_sources != 1)} of {n_classes} class{'es' * (n_classes != 1)}"
        )
    return tuple(parts)
