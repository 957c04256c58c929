"""What the review page works on in the background or shares between sessions: queues, review files, exports."""

from __future__ import annotations

import hashlib
import json
import threading
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

import streamlit as st

from pages.components import background, sources
from sai_core.annotations import AnnotationTable, DcaseMetadata, read_dcase_csv
from sai_core.dataset import DataRoot, PredictionSet
from sai_core.errors import InputError, SaiError
from sai_core.files import file_signatures
from sai_core.jobs import Job, JobQueue
from sai_core.listener import SHIPPED_LISTENER
from sai_core.progress import Progress, no_progress
from sai_core.review import Item, Queue, QueueSettings, ReviewStore, build_queue
from sai_core.review.by_ear import Source, evidence, hear, listener, source_of
from sai_core.review.databases import ServerReview
from sai_core.review.desk import Desk, Material
from sai_core.review.known import KnownItems, make_known
from sai_core.review.likeness import Alike
from sai_core.review.likeness import alike as find_alike
from sai_core.review.moment import block_range, label_block, spectrogram, track_range
from sai_core.viewing.player import BLOCK_FRAMES
from sai_core.viewing.recording_view import RecordingView

MAX_SYSTEMS = 6
_KEYS = "ABCDEF"
_FEW = 8
"""Recordings up to which the whole queue is waited for: it is there in seconds."""


@st.cache_resource(max_entries=32, show_spinner=False)
def store(place: Path | ServerReview, data_root: str) -> ReviewStore:
    """Review, opened once for all sessions.

    Raises
    ------
    InputError, EnvironmentProblem
        As :class:`sai_core.review.ReviewStore`.
    """
    return ReviewStore(place, data_root=Path(data_root))


def queues() -> JobQueue:
    """Queues of moments that are built or have been."""
    return background.queue("review-queues", at_once=2, keep=8)


def queue(root: DataRoot, systems: list[PredictionSet], settings: QueueSettings) -> Job[Queue]:
    """Queue of a data root: built once for all sessions, until one of the files changes."""
    paths = [path for r in root.recordings for path in (r.label_path, r.metadata_path)]
    paths += [system.files.get(r.name) for system in systems for r in root.recordings]
    stamps = file_signatures(paths)
    names = tuple((system.name, str(system.folder)) for system in systems)
    parts: list[Queue] = []
    with _parts_lock:  # whoever asks first: the job and its parts belong together
        job = queues().submit(
            (str(root.path), names, stamps, settings),
            lambda progress: build_queue(
                root,
                systems,
                settings=settings,
                progress=progress,
                so_far=parts.append if len(root.recordings) > _FEW else None,
            ),
            title="Searching for likely label errors",
        )
        _parts.setdefault(job, parts)
    return job


_parts: WeakKeyDictionary[Job[Queue], list[Queue]] = WeakKeyDictionary()
_parts_lock = threading.Lock()


def so_far(job: Job[Queue]) -> Queue | None:
    """Queue of the recordings that were looked at by now; None before the first with an item."""
    with _parts_lock:
        found = _parts.get(job, [])
        del found[:-1]
        return found[-1] if found else None


def alike(root: DataRoot, queue: Queue, desk: Desk, item: Item) -> Job[Alike]:
    """Items that are like one; what was heard of each stays with the queue."""
    items = [listed for listed in desk.items if listed.id not in desk.known]
    return background.queue("review-alike", at_once=1, keep=8).submit(
        (str(root.path), id(queue), item.id, item.targets, len(items)),
        lambda progress: find_alike(
            item,
            items,
            material_of=desk.material,
            recording_of=lambda listed: root.recording(listed.recording, listed.split),
            memo=queue.memo,
            progress=progress,
        ),
        title="Listening for what is like it",
    )


def outcomes() -> JobQueue:
    """Exports and scores, by what they are for and the review file."""
    return background.queue("review", at_once=1)


def known_items(
    root: DataRoot,
    systems: list[PredictionSet],
    queue: Queue,
    settings: QueueSettings,
    *,
    share: float,
    seed: int,
    reviewer: str,
) -> Job[KnownItems]:
    """Items with known answers for a reviewer."""
    return background.queue("review-known", at_once=1, keep=8).submit(
        (str(root.path), id(queue), share, seed, reviewer),
        lambda progress: make_known(
            root, systems, queue, share=share, seed=seed, reviewer=reviewer, settings=settings, progress=progress
        ),
        title="Making items with known answers",
    )


def shown_view(root: DataRoot, systems: list[PredictionSet], item: Item, desk: Desk) -> RecordingView:
    """Recording of an item as it is shown: with the error of one whose answer is known."""
    view = view_of(root, systems, item)
    known = desk.known.get(item.id)
    if known is None:
        return view
    names = {key: chosen.name for key, chosen in view.systems.items()}
    tables = {
        key: known.labels if key == "L" else known.predictions.get(names.get(key, ""), table)
        for key, table in view.tables.items()
    }
    scene = f"{view.scene_id}.{hashlib.blake2b(item.id.encode(), digest_size=4).hexdigest()}"
    return replace(view, tables=tables, scene_id=scene, _scene=None, _lock=threading.Lock())


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


@dataclass(frozen=True)
class Alone:
    """The sound of an item's source by itself.

    Attributes
    ----------
    name : str
        Another one where the sound is another.
    data : bytes
        :meth:`~sai_core.listening.windows.PlayerSound.alone`; none while it is made.
    problem : str
        Why there is none; "" while it is made.
    heard : mapping or None
        What it is to the listener (:func:`sai_core.review.by_ear.evidence`).
    listening : bool
        The sound is there, and the listener still at it.
    """

    name: str = ""
    data: bytes = b""
    problem: str = ""
    heard: dict[str, Any] | None = None
    listening: bool = False


def alone(view: RecordingView, item: Item, frame: int, *, desk: Desk, wanted_by: str) -> Alone:
    """Source of an item by itself, over the sound that comes with a frame; made in the background at the first call.

    Whoever asks for another one next wants this one no longer.
    """
    if view.recording.audio_path is None:
        return Alone(problem=view.messages.get("audio") or "this recording has no sound.")
    source = _source(view, item, frame, desk)
    if source is None:
        return Alone(problem="this item has no direction: neither its label nor a prediction is there.")
    key = _alone_key(view, source)
    data, heard = view.cache.get(key), view.cache.get(_heard_key(view, source))
    if data is not None and heard is not None:
        return Alone(source.mark, data, heard=json.loads(heard))
    job: Job[tuple[bytes, bytes]] = background.queue("review-alone", at_once=1, keep=8).submit(
        key, lambda progress: _make_alone(view, source, progress), title="One source alone", wanted_by=wanted_by
    )
    if job.state == "done":
        data, heard = job.value
        return Alone(source.mark, data, heard=json.loads(heard))
    if data is not None:  # the sound does not wait for what is made of it
        return Alone(source.mark, data, listening=job.state in ("queued", "running"))
    return Alone(source.mark, problem=job.error)


def _source(view: RecordingView, item: Item, frame: int, desk: Desk) -> Source | None:
    blocks = block_range(item, frame, max(view.n_frames, item.end + 1))
    start, stop = blocks.start * BLOCK_FRAMES, blocks.stop * BLOCK_FRAMES
    return source_of(item, desk.labels(item), desk.targets(item), desk.material(item), start, stop)


def _alone_key(view: RecordingView, source: Source) -> tuple[object, ...]:
    recording = view.recording
    files = file_signatures([recording.mic_path, recording.foa_path, recording.eigen_path])
    return "alone", files, source.mark


def _make_alone(view: RecordingView, source: Source, progress: Progress) -> tuple[bytes, bytes]:
    """Sound, and what it is to the listener as JSON ("null": nothing); the sound can be had before."""
    key, heard_key = _alone_key(view, source), _heard_key(view, source)
    data, heard = view.cache.get(key), view.cache.get(heard_key)
    if data is None:
        data = source.render(sources.work().player_sound(view), progress)
        view.cache.put(key, data)
    if heard is None:
        by = listener()
        heard = json.dumps(None if by is None else evidence(hear(data, source, by), by)).encode()
        view.cache.put(heard_key, heard)
    return data, heard


def _heard_key(view: RecordingView, source: Source) -> tuple[object, ...]:
    return "heard", *_alone_key(view, source)[1:], file_signatures([SHIPPED_LISTENER])


def prepare(
    root: DataRoot, systems: list[PredictionSet], items: list[Item], *, desk: Desk, by_ear: bool = False
) -> None:
    """Make all of the next items in the background, so that it is there when a reviewer stays with one.

    The one frame of each that a key must show the browser fetches by itself; nothing here may hold that up, so that
    items are given only while the reviewer rests. Without any, what was wished for before is given up.

    With ``by_ear`` the source of each alone, too. One thread does it for everybody; of one reviewer a newer wish takes
    the place of an older one.
    """

    def work(progress: Progress) -> None:
        for item in items:
            progress(0.0, "opening ahead")
            view = shown_view(root, systems, item, desk)
            desk.filling(item)
            spectrogram(view, *track_range(item, item.frame, max(view.n_frames, item.end + 1)))
            for index in block_range(item, item.frame, max(view.n_frames, item.end + 1)):
                if index < view.n_blocks:
                    progress(0.0, "opening ahead")
                    view.block(index)
                    label_block(view, index)
            if by_ear and view.recording.audio_path is not None:
                source = _source(view, item, item.frame, desk)
                if source is not None:
                    with suppress(InputError):  # told when it is asked for; the other items are made all the same
                        _make_alone(view, source, progress)

    # an error is told when the item is opened
    key = (str(root.path), desk.reviewer, tuple(item.id for item in items), by_ear)
    background.queue("review-ahead", at_once=1, keep=0).submit(key, work, wanted_by=desk.reviewer)
