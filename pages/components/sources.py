"""Opened data, shared by all sessions: roots, recordings, comparisons that run in the background."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from typing import Final

import streamlit as st
from cachetools import LRUCache

from pages.components import background
from sai_core.dataset import DataRoot, PredictionSet, Recording, demo_root, open_data_root
from sai_core.dataset.browse import check_allowed
from sai_core.files import file_signatures
from sai_core.jobs import Job
from sai_core.progress import Progress
from sai_core.viewing.acoustic_layer import AcousticLayer, LayerKind, open_layer
from sai_core.viewing.comparison import Comparison, compare
from sai_core.viewing.overview import overview
from sai_core.viewing.recording_view import BytesCache, RecordingView, open_view
from sai_core.workspace import with_sets, workspace

_CACHE_BYTES: Final[int] = 256 << 20
"""Finished blocks of all sessions together: some four minutes of video."""


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
    always = (demo_root(), workspace().path)
    root = _scanned(str(check_allowed(path, always=always)))
    for entry in (*predictions, labels):
        if os.sep in entry:
            check_allowed(entry, always=always)
    return with_sets(root, labels=labels, extra=predictions)


def comparison(view: RecordingView, key: str) -> Job[Comparison]:
    """Comparison of a system with the labels: started at the first call, shared by all sessions.

    One at a time: two systems of one recording share the rendered labels, which the second finds ready.
    """
    labels, predictions = view.tables["L"], view.tables[key]
    return background.queue("comparisons", at_once=1).submit(
        (view.scene_id, key), lambda progress: compare(labels, predictions, progress=progress), title="Comparison"
    )


def acoustic_layer(view: RecordingView, kind: LayerKind, weights: str) -> Job[AcousticLayer]:
    """Acoustic maps of a recording: started at the first call, shared by all sessions."""
    recording, queue = view.recording, background.queue("acoustic-maps", at_once=2, keep=16)
    job = queue.submit(
        (view.scene_id, kind, weights),
        lambda progress: open_layer(recording, kind, weights=weights, progress=progress),
        title="Acoustic maps",
    )
    if job.error:  # told once, then tried anew: the user may have put the missing file there meanwhile
        queue.remove(job)
    return job


class _Views:
    """The last opened recordings. Not ``st.cache_resource`` on the opening function: that forbids a progress bar."""

    def __init__(self, limit: int) -> None:
        self._views: LRUCache[tuple[object, ...], RecordingView] = LRUCache(limit)
        self._lock = threading.Lock()

    def get(self, signature: tuple[object, ...], build: Callable[[], RecordingView]) -> RecordingView:
        with self._lock:
            view = self._views.get(signature)
        if view is not None:
            return view
        view = build()  # outside of the lock: a slow file of one session must not hold up the others
        with self._lock:
            return self._views.setdefault(signature, view)


@st.cache_resource(show_spinner=False)
def _views() -> _Views:
    return _Views(8)


def recording_view(
    root: DataRoot,
    name: str,
    split: str,
    systems: dict[str, PredictionSet],
    *,
    lam32_weights: str = "",
    progress: Progress,
) -> RecordingView:
    """Recording with its prediction sets, opened once for all sessions until one of its files changes.

    Raises
    ------
    InputError
        No such recording.
    """
    recording = root.recording(name, split)
    paths = [recording.label_path, recording.audio_path, recording.video_path, recording.frames_dir]
    paths += [chosen.files.get(name) for chosen in systems.values()]
    signature = (
        lam32_weights,
        str(root.path),
        root.label_set,
        name,
        split,
        tuple((key, chosen.name) for key, chosen in systems.items()),
        file_signatures(paths),
    )
    return _views().get(
        signature,
        lambda: open_view(recording, systems, cache=block_cache(), lam32_weights=lam32_weights, progress=progress),
    )


def view_of(signature: tuple[object, ...], build: Callable[[], RecordingView]) -> RecordingView:
    """A recording that is opened in another way than from a data root, kept under a signature of the caller's."""
    return _views().get(signature, build)


_LONG_LIST: Final[int] = 500
"""Recordings above which a list is drawn without opening every file's header (some 0.3 ms each, more on a share)."""


def summary(recording: Recording, *, n_recordings: int = 0) -> tuple[str, ...]:
    """Length and sources of a recording in words; nothing of it for long lists."""
    if n_recordings > _LONG_LIST:
        return ()
    facts = overview(recording)
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
