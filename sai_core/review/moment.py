"""What the editor shows of an item, as bytes: pictures, regions, sound, tracks and spectrogram around a moment.

Built on the blocks of :mod:`sai_core.viewing.player`. A message names every block of the moment and holds those that
the browser does not have yet, so that a decision, which changes only a few regions, sends only those again.

Parts of the container:

=====================  =====================================================================================
``base.<n>``           block ``n`` of the recording as the Explorer has it: pictures, sound, the original
                       labels (table ``L``) and the predictions (``A``, ``B``, ...); at first the one
                       under the cursor alone
``base.still``,        the frame under the cursor alone, without sound, where its blocks are not there yet or
``work.still``         are not wanted: a twentieth of the work, so that a key shows the next item at once
``work.<n>``           block ``n`` of the labels as they stand (table ``W``)
``preview.<n>``        what accepting fills in block ``n`` (table ``P``)
``<T>.<column>``       of table ``T`` in the window of the tracks: ``row``, ``frame``, ``category``, ``instance``,
                       ``azimuth``, ``elevation``, ``peak``, ``distance``, ``score``; ``target`` for ``W``;
                       ``P`` are the labels that accepting would fill in
``M.<column>``         metadata rows: ``frame``, ``category``, ``azimuth``, ``elevation``, ``distance``
``spectrogram``        uint8, one column after another, ``header["spectrogram"]`` says how many of how many bins
=====================  =====================================================================================
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from sai_core.annotations import AnnotationTable, DcaseMetadata
from sai_core.dataset import open_heard
from sai_core.errors import InputError
from sai_core.geometry import FRAME_RATE_HZ, SAMPLE_RATE_HZ
from sai_core.review.edits import AppliedEdits
from sai_core.review.queue import Item
from sai_core.viewing.player import BLOCK_FRAMES, encode_block, pack, quantise_levels, table_columns
from sai_core.viewing.recording_view import RecordingView

MAX_BLOCKS: Final[int] = 4
"""Blocks of two seconds sent for one moment: an event of up to six seconds is there as a whole."""

TRACK_FRAMES: Final[int] = 60
"""Frames of the tracks and the spectrogram before and after the event."""

MAX_TRACK_FRAMES: Final[int] = 600
_BEFORE_FRAMES: Final[int] = 6
_SPECTROGRAM_BINS: Final[int] = 80
_COLUMNS_PER_FRAME: Final[int] = 4
_LOW_HZ: Final[float] = 60.0


def label_version(labels: AppliedEdits, original: AnnotationTable) -> str:
    """Text that differs when the labels as they stand differ; "" for the original ones."""
    table = labels.table
    if table is original:
        return ""
    digest = hashlib.blake2b(digest_size=8)
    for column in (
        table.frame,
        table.category_id,
        table.instance_id,
        table.distance_cm,
        table.point_offsets,
        table.points_xy,
        table.energy,
    ):
        digest.update(np.ascontiguousarray(column).tobytes())
    return digest.hexdigest()


def block_range(item: Item, frame: int, n_frames: int) -> range:
    """Blocks around a frame: those of the event where it is short enough."""
    last = max(n_frames - 1, 0) // BLOCK_FRAMES
    low = max(item.start - _BEFORE_FRAMES, 0) // BLOCK_FRAMES
    high = min((item.end + _BEFORE_FRAMES) // BLOCK_FRAMES, last)
    here = min(frame // BLOCK_FRAMES, last)
    if not low <= here <= high:
        low = high = here
    if high - low >= MAX_BLOCKS:
        low = min(max(here - 1, low), high - MAX_BLOCKS + 1)
        high = low + MAX_BLOCKS - 1
    return range(max(low, 0), high + 1)


def track_range(item: Item, frame: int, n_frames: int) -> tuple[int, int]:
    """First frame and frame after the last one of the tracks' window."""
    low, high = max(item.start - TRACK_FRAMES, 0), min(item.end + TRACK_FRAMES + 1, max(n_frames, item.end + 1))
    if high - low > MAX_TRACK_FRAMES:
        low = min(max(frame - MAX_TRACK_FRAMES // 2, low), high - MAX_TRACK_FRAMES)
        high = low + MAX_TRACK_FRAMES
    return low, high


def label_block(view: RecordingView, index: int, labels: AppliedEdits | None = None, *, version: str = "") -> bytes:
    """Block ``work.<index>``: the labels as they stand, or as the file has them; kept where the view keeps its blocks.

    Parameters
    ----------
    view : RecordingView
    index : int
    labels : AppliedEdits, optional
        Left out: the labels of the file.
    version : str
        Of the labels (:func:`label_version`).
    """
    original = view.tables.get("L", AnnotationTable.empty(view.recording.name))
    table = original if labels is None else labels.table
    n_frames = max(view.n_frames, (index + 1) * BLOCK_FRAMES)
    key = (view.scene_id, "work", version, index)
    data = view.cache.get(key)
    if data is None:
        data = encode_block(index, {"W": table}, n_frames=n_frames)
        view.cache.put(key, data)
    return data


def base_still(view: RecordingView, frame: int) -> bytes:
    """Part ``base.still``: picture, original labels and predictions of one frame; kept as blocks are."""
    key = (view.scene_id, "still", frame)
    data = view.cache.get(key)
    if data is None:
        picture = [view.frames.picture(frame)] if view.frames is not None else None
        index = frame // BLOCK_FRAMES
        data = encode_block(index, view.tables, n_frames=view.n_frames, only=frame, pictures=picture)
        view.cache.put(key, data)
    return data


def work_still(
    view: RecordingView, frame: int, labels: AppliedEdits | None = None, *, version: str = "", n_frames: int = 0
) -> bytes:
    """Part ``work.still``: the labels of one frame as they stand (:func:`label_block`)."""
    original = view.tables.get("L", AnnotationTable.empty(view.recording.name))
    key = (view.scene_id, "work still", version, frame)
    data = view.cache.get(key)
    if data is None:
        table = original if labels is None else labels.table
        n_frames = max(view.n_frames, n_frames)
        data = encode_block(frame // BLOCK_FRAMES, {"W": table}, n_frames=n_frames, only=frame)
        view.cache.put(key, data)
    return data


def moment(
    view: RecordingView,
    item: Item,
    labels: AppliedEdits,
    *,
    frame: int,
    targets: Collection[str],
    metadata: DcaseMetadata | None = None,
    have: Collection[str] = (),
    ahead: bool = False,
    filling: AnnotationTable | None = None,
) -> tuple[bytes, set[str]]:
    """Container for the editor (module docstring), and the names of what is in it.

    Parameters
    ----------
    view : RecordingView
        The recording with the chosen systems under ``A``, ``B``, ...
    item : Item
    labels : AppliedEdits
        The labels as they stand for the reviewer.
    frame : int
        Frame to look at.
    targets : collection of str
        Keys of the labels that a decision would change.
    metadata : DcaseMetadata, optional
    have : collection of str
        Names of blocks that the browser holds (``header["blocks"]`` of an earlier message).
    ahead : bool
        For an item that comes later, or has just come: its one frame, without blocks; and the spectrogram only where
        it has been made before.
    filling : AnnotationTable, optional
        What accepting would put between the item's labels.
    """
    original = view.tables.get("L", AnnotationTable.empty(item.recording))
    version = label_version(labels, original)
    n_frames = max(view.n_frames, item.end + 1)
    parts: dict[str, npt.NDArray[Any] | bytes] = {}
    blocks: list[list[Any]] = []
    here = frame // BLOCK_FRAMES
    sent: set[str] = set()
    there = here < view.n_blocks
    still = [f"{view.scene_id}:f{frame}" if there else "", f"{view.scene_id}:{version or 'original'}:f{frame}"]
    first = there and f"{view.scene_id}:{here}" not in have
    # blocks that nobody has opened yet take a while: the frame comes alone, or the block under the cursor, and the
    # browser, which can show it by then, asks for the others
    alone = ahead or (first and still[0] not in have and not view.holds(here))
    for index in block_range(item, frame, n_frames):
        base = f"{view.scene_id}:{index}" if index < view.n_blocks else ""
        work = f"{view.scene_id}:{version or 'original'}:{index}"
        blocks.append([index, base, work])
        if alone or (first and index != here):
            continue
        if base and base not in have:
            parts[f"base.{index}"] = view.block(index)
            sent.add(base)
        if work not in have:
            parts[f"work.{index}"] = label_block(view, index, labels, version=version)
            sent.add(work)
    if alone:
        if still[0] and still[0] not in have:
            parts["base.still"] = base_still(view, frame)
            sent.add(still[0])
        if still[1] not in have:
            parts["work.still"] = work_still(view, frame, labels, version=version, n_frames=n_frames)
            sent.add(still[1])
    low, high = track_range(item, frame, n_frames)
    wanted = set(targets)
    for key, table in {**view.tables, "W": labels.table}.items():
        rows = _rows(table, low, high)
        columns = {"row": rows.astype(np.int32), **table_columns(table.take(rows))}
        parts |= {f"{key}.{name}": column for name, column in columns.items()}
        if key == "W":
            parts["W.target"] = np.array([labels.keys[row] in wanted for row in rows.tolist()], dtype=np.uint8)
    if metadata is not None and len(metadata):
        inside = np.flatnonzero((metadata.frame >= low) & (metadata.frame < high))
        parts |= {
            "M.frame": metadata.frame[inside].astype(np.int32),
            "M.category": metadata.category_id[inside].astype(np.uint8),
            "M.azimuth": metadata.azimuth_deg[inside].astype(np.float32),
            "M.elevation": metadata.elevation_deg[inside].astype(np.float32),
            "M.distance": metadata.distance_cm[inside].astype(np.float32),
        }
    previews: list[list[Any]] = []
    if filling is not None and len(filling):
        rows = _rows(filling, low, high)
        columns = {"row": rows.astype(np.int32), **table_columns(filling.take(rows))}
        parts |= {f"P.{name}": column for name, column in columns.items()}
        for index in sorted({int(f) // BLOCK_FRAMES for f in filling.frame} & {int(b[0]) for b in blocks}):
            name = f"{view.scene_id}:p{item.id}:{version}:{index}"
            previews.append([index, name])
            if name not in have:
                parts[f"preview.{index}"] = encode_block(index, {"P": filling}, n_frames=n_frames)
                sent.add(name)
    header: dict[str, Any] = {
        "recording": view.recording.name,
        "n_frames": n_frames,
        "block_frames": BLOCK_FRAMES,
        "frame_rate_hz": FRAME_RATE_HZ,
        "sample_rate_hz": SAMPLE_RATE_HZ,
        "frame": frame,
        "window": [low, high],
        "blocks": blocks,
        "still": still,
        "previews": previews,
        "tables": list(view.tables),
        "systems": {key: chosen.title for key, chosen in view.systems.items()},
        "version": version,
        "messages": {name: text for name, text in view.messages.items() if text and name in ("video", "audio")},
    }
    name = f"{view.scene_id}:s{low}-{high}"
    header["spectrogram"] = {"name": name, "bins": _SPECTROGRAM_BINS, "columns": (high - low) * _COLUMNS_PER_FRAME}
    if name not in have:
        picture = spectrogram(view, low, high, known=ahead)
        if picture is None:
            if not (ahead and view.has_audio):
                header["spectrogram"] = None
        else:
            parts["spectrogram"] = picture
            sent.add(name)
    return pack(header, parts), sent


def _rows(table: AnnotationTable, low: int, high: int) -> npt.NDArray[np.int64]:
    first, last = np.searchsorted(table.frame, [low, high])
    return np.arange(first, last)


def spectrogram(view: RecordingView, low: int, high: int, *, known: bool = False) -> bytes | None:
    """Part ``spectrogram``: levels of a window, rows evenly spaced in the logarithm of frequency; kept as blocks are.

    None without sound; with ``known`` also where it has not been made yet.
    """
    key = (view.scene_id, "spectrogram", low, high)
    data = view.cache.get(key)
    if data is None and not known and (levels := _levels(view, low, high)) is not None:
        data = levels.tobytes()
        view.cache.put(key, data)
    return data


def _levels(view: RecordingView, low: int, high: int) -> npt.NDArray[np.uint8] | None:
    if not view.has_audio:
        return None
    try:
        reader = open_heard(view.recording)
        if reader is None:
            return None
        rate = 24_000
        sound = reader.mono_pcm16(low / FRAME_RATE_HZ, high / FRAME_RATE_HZ, rate).astype(np.float32) / 32768.0
    except InputError:
        return None
    hop, size = rate // FRAME_RATE_HZ // _COLUMNS_PER_FRAME, 1024
    n_columns = (high - low) * _COLUMNS_PER_FRAME
    padded = np.pad(sound, (size // 2, size // 2 + hop * n_columns))
    centres = np.arange(n_columns) * hop + hop // 2
    pieces = np.lib.stride_tricks.sliding_window_view(padded, size)[centres] * np.hanning(size).astype(np.float32)
    power = np.abs(np.fft.rfft(pieces, axis=1)) ** 2
    edges = np.geomspace(_LOW_HZ, rate / 2, _SPECTROGRAM_BINS + 1) / (rate / size)
    first = np.clip(np.floor(edges[:-1]).astype(np.int64), 0, power.shape[1] - 1)
    # the strongest bin of each band: a tone has the same level in a narrow and in a wide one; bands narrower than a
    # bin share one (reduceat gives the bin itself where an index does not rise)
    banded = np.maximum.reduceat(power, first, axis=1)
    return quantise_levels(10.0 * np.log10(banded + 1e-12), range_db=70.0)
