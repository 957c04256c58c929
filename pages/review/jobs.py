"""What the review page works on in the background or shares between sessions: queues, review files, exports."""

from __future__ import annotations

from pathlib import Path

import streamlit as st

from pages.components import background, sources
from sai_core.annotations import AnnotationTable, DcaseMetadata, read_dcase_csv
from sai_core.dataset import DataRoot, PredictionSet
from sai_core.errors import SaiError
from sai_core.files import file_signatures
from sai_core.jobs import Job, JobQueue
from sai_core.progress import Progress, no_progress
from sai_core.review import Item, Queue, QueueSettings, ReviewStore, build_queue
from sai_core.review.desk import Material
from sai_core.review.moment import block_range, label_block
from sai_core.viewing.player import BLOCK_FRAMES
from sai_core.viewing.recording_view import RecordingView

MAX_SYSTEMS = 6
_KEYS = "ABCDEF"


@st.cache_resource(max_entries=32, show_spinner=False)
def store(path: str, data_root: str) -> ReviewStore:
    """Review file, opened once for all sessions.

    Raises
    ------
    InputError, EnvironmentProblem
        As :class:`sai_core.review.ReviewStore`.
    """
    return ReviewStore(path, data_root=Path(data_root))


def queues() -> JobQueue:
    """Queues of moments that are built or have been."""
    return background.queue("review-queues", at_once=2, keep=8)


def queue(root: DataRoot, systems: list[PredictionSet], settings: QueueSettings) -> Job[Queue]:
    """Queue of a data root: built once for all sessions, until one of the files changes."""
    paths = [path for r in root.recordings for path in (r.label_path, r.metadata_path)]
    paths += [system.files.get(r.name) for system in systems for r in root.recordings]
    stamps = file_signatures(paths)
    names = tuple((system.name, str(system.folder)) for system in systems)
    return queues().submit(
        (str(root.path), names, stamps, settings),
        lambda progress: build_queue(root, systems, settings=settings, progress=progress),
        title="Looking for what is worth a look",
    )


def outcomes() -> JobQueue:
    """Exports and scores, by what they are for and the review file."""
    return background.queue("review", at_once=1)


def view_of(root: DataRoot, systems: list[PredictionSet], item: Item) -> RecordingView:
    """Recording of an item with the chosen systems as ``A`` to ``F``."""
    chosen = dict(zip(_KEYS, systems, strict=False))
    return sources.recording_view(root, item.recording, item.split, chosen, progress=no_progress)


@st.cache_resource(max_entries=64, show_spinner=False)
def _metadata(path: str, signature: tuple[object, ...]) -> DcaseMetadata | None:
    try:
        return read_dcase_csv(path)
    except SaiError:
        return None  # the queue has told it


def material_of(root: DataRoot, systems: list[PredictionSet], item: Item) -> Material:
    """Tables of an item's recording."""
    view = view_of(root, systems, item)
    recording = view.recording
    path = recording.metadata_path
    names = {key: chosen.name for key, chosen in view.systems.items()}
    return Material(
        view.tables.get("L", AnnotationTable.empty(item.recording)),
        {names[key]: table for key, table in view.tables.items() if key in names},
        _metadata(str(path), file_signatures([path])) if path is not None else None,
    )


def is_ready(root: DataRoot, systems: list[PredictionSet], item: Item) -> bool:
    """Whether what a key must show of an item is there, so that the answer takes no while."""
    view = view_of(root, systems, item)
    here = item.frame // BLOCK_FRAMES
    return here >= view.n_blocks or view.holds(here)


def prepare(root: DataRoot, systems: list[PredictionSet], items: list[Item], *, reviewer: str) -> None:
    """Open what the next items need in the background, so that it is there when their turn comes.

    One thread does it for everybody; of one reviewer a newer wish takes the place of an older one.
    """
    if not items:
        return

    def work(progress: Progress) -> None:
        # of each item first what a key must show at once, then what a reviewer who stays may look at
        rest: list[tuple[RecordingView, int]] = []
        for item in items:
            progress(0.0, "opening ahead")
            view = view_of(root, systems, item)
            here = item.frame // BLOCK_FRAMES
            for index in block_range(item, item.frame, max(view.n_frames, item.end + 1)):
                if index >= view.n_blocks:
                    continue
                if index == here:
                    view.block(index)
                    label_block(view, index)
                else:
                    rest.append((view, index))
        for view, index in rest:
            progress(0.0, "opening ahead")
            view.block(index)

    # an error is told when the item is opened
    key = (str(root.path), reviewer, tuple(item.id for item in items))
    background.queue("review-ahead", at_once=1, keep=0).submit(key, work, wanted_by=reviewer)
