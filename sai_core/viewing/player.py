"""The frame player's data: one binary message of named parts, each part a container of typed arrays.

A container is ``b"SAI1"``, the header's length (uint32, little endian), a JSON header, and the arrays, each aligned
to eight bytes. ``header["arrays"]`` maps a name to ``[dtype, byte offset, element count]``; containers nest (dtype
``bytes``). Components v2 hands bytes to the browser as they are, so nothing is base64-encoded.

A **scene** holds what is needed once per recording (annotation columns), a **block** what is needed per
``BLOCK_FRAMES`` frames: the pictures as JPEG, sound as 16-bit PCM, and every annotation's energy map as a cropped
8-bit patch. The browser merges, isolates, normalises and colours patches itself, so those choices need no server.
"""

from __future__ import annotations

import json
import struct
import zlib
from collections.abc import Mapping, Sequence
from typing import Any, Final

import cv2
import numpy as np
import numpy.typing as npt

from sai_core.annotations.table import AnnotationTable
from sai_core.dataset import Spectrogram
from sai_core.drawing.annotators import energy_levels, quantise
from sai_core.drawing.maps import MapMode, Patch, annotation_patch, crop, merged_canvas, outlines
from sai_core.errors import InputError
from sai_core.viewing.events import ErrorEvents, JoinedErrors, peak_directions

BLOCK_FRAMES: Final[int] = 20
"""Frames in a block: two seconds, about 0.3-1 MB, built in a tenth of the time it plays."""

MAX_PATCHES_PER_FRAME: Final[int] = 24
"""Annotations of one table and frame that stay separate; weaker ones are merged into one patch without a row."""

OUTLINE_SCALE: Final[int] = 16
"""Outline coordinates are sent as int16 sixteenths of a pixel (up to 720 columns: 11,520)."""

_MAX_SPECTROGRAM_COLUMNS: Final[int] = 16_000
"""Canvases wider than 16,384 pixels fail in some browsers."""

JPEG_QUALITY: Final[int] = 84
_MAGIC: Final[bytes] = b"SAI1"


def pack(header: Mapping[str, Any], arrays: Mapping[str, npt.NDArray[Any] | bytes]) -> bytes:
    """Container of a JSON header and named arrays (little endian) or bytes."""
    index: dict[str, list[Any]] = {}
    pieces: list[bytes] = []
    offset = 0
    for name, value in arrays.items():
        if isinstance(value, bytes):
            data, kind, count = value, "bytes", len(value)
        else:
            array = np.ascontiguousarray(value)
            array = array.astype(array.dtype.newbyteorder("<"), copy=False)
            data, kind, count = array.tobytes(), array.dtype.name, array.size
        index[name] = [kind, offset, count]
        padding = -len(data) % 8
        pieces.append(data + b"\0" * padding)
        offset += len(data) + padding
    text = json.dumps({**header, "arrays": index}, allow_nan=False, separators=(",", ":")).encode()
    text += b" " * (-(len(text) + 8) % 8)
    return b"".join([_MAGIC, struct.pack("<I", len(text)), text, *pieces])


def unpack(data: bytes) -> tuple[dict[str, Any], dict[str, Any]]:
    """Inverse of :func:`pack`; arrays are read-only views.

    Raises
    ------
    InputError
        Not a container.
    """
    if data[:4] != _MAGIC:
        raise InputError("These bytes are not a player container.")
    (length,) = struct.unpack("<I", data[4:8])
    header = json.loads(data[8 : 8 + length])
    base = 8 + length
    arrays: dict[str, Any] = {}
    for name, (kind, offset, count) in header.pop("arrays").items():
        start = base + offset
        if kind == "bytes":
            arrays[name] = data[start : start + count]
        else:
            arrays[name] = np.frombuffer(data, dtype=np.dtype(kind), count=count, offset=start)
    return header, arrays


def encode_scene(header: Mapping[str, Any], tables: Mapping[str, AnnotationTable]) -> bytes:
    """Container with the columns of every table, prefixed by its key (``L``, ``A``, ``B``).

    Columns as :func:`table_columns` gives them.
    """
    arrays = {f"{key}.{name}": column for key, table in tables.items() for name, column in table_columns(table).items()}
    return pack({**header, "tables": list(tables)}, arrays)


def table_columns(table: AnnotationTable) -> dict[str, npt.NDArray[Any]]:
    """Columns of a table as the typed arrays that the scripts read.

    ``frame`` int32, ``category`` uint8, ``instance`` int32, ``score``, ``distance`` (cm), ``azimuth``, ``elevation``
    (degrees of the strongest point) and ``peak`` (its energy) float32, NaN where the file has none.
    """
    azimuth, elevation, peak = peak_directions(table)
    return {
        "frame": table.frame.astype(np.int32),
        "category": table.category_id.astype(np.uint8),
        "instance": np.clip(table.instance_id, -1, 2**31 - 1).astype(np.int32),
        "score": table.score.astype(np.float32),
        "distance": table.distance_cm.astype(np.float32),
        "azimuth": azimuth.astype(np.float32),
        "elevation": elevation.astype(np.float32),
        "peak": peak.astype(np.float32),
    }


def encode_block(
    index: int,
    tables: Mapping[str, AnnotationTable],
    *,
    n_frames: int,
    only: int | None = None,
    mode: MapMode = "full",
    pictures: Sequence[npt.NDArray[np.uint8] | None] | None = None,
    audio: npt.NDArray[np.int16] | None = None,
) -> bytes:
    """Container with everything that frames ``[index * BLOCK_FRAMES, ...)`` show.

    Parameters
    ----------
    index : int
        Number of the block.
    tables : mapping of AnnotationTable
        Keys ``L``, ``A``, ``B`` in drawing order.
    n_frames : int
        Frames of the recording; the last block is shorter.
    only : int, optional
        Frame that is encoded alone, as a block of one.
    mode : {"full", "official", "points"}
        Rendering of the maps, label grid (:mod:`sai_core.drawing.maps`).
    pictures : sequence of uint8 (height, width, 3) RGB, optional
        One per frame of the block; None for a frame without a picture.
    audio : int16, shape (samples,), optional
        Mono sound of the block.

    Returns
    -------
    bytes
        Patches are 8-bit (:func:`sai_core.drawing.annotators.energy_levels`), deflated together.
    """
    start = index * BLOCK_FRAMES
    stop = min(start + BLOCK_FRAMES, n_frames)
    if not 0 <= start < max(n_frames, 1):
        raise InputError(f"Block {index} is outside the recording's {n_frames} frames.")
    if only is not None:
        start, stop = only, only + 1
    columns: list[tuple[int, int, int, int, int, int, int, int]] = []
    values: list[bytes] = []
    outline_points: list[npt.NDArray[np.float32]] = []
    outline_owner: list[int] = []
    offset = 0
    for table_number, table in enumerate(tables.values()):
        for frame in range(start, stop):
            for row, patch in _frame_patches(table, frame, mode):
                height, width = patch.values.shape
                for outline in outlines(patch) if row >= 0 else []:
                    outline_points.append(outline)
                    outline_owner.append(len(columns))
                columns.append((table_number, row, frame - start, patch.x0, patch.y0, width, height, offset))
                values.append(energy_levels(patch.values).tobytes())
                offset += width * height
    table_array = np.array(columns, dtype=np.int32).reshape(-1, 8)
    xy = np.concatenate(outline_points) if outline_points else np.zeros((0, 2), dtype=np.float32)
    arrays: dict[str, npt.NDArray[Any] | bytes] = {
        "patches": table_array,
        # level 1: sparse maps shrink tenfold at some 300 MB/s; higher levels cost time for a few per cent
        "values": zlib.compress(b"".join(values), 1),
        "outline_xy": np.clip(np.rint(xy * OUTLINE_SCALE), -32768, 32767).astype(np.int16),
        "outline_offsets": np.concatenate([[0], np.cumsum([len(o) for o in outline_points])]).astype(np.int32),
        "outline_owner": np.array(outline_owner, dtype=np.int32),
    }
    if pictures is not None:
        encoded = [encode_picture(picture) if picture is not None else b"" for picture in pictures]
        arrays["jpeg"] = b"".join(encoded)
        arrays["jpeg_offsets"] = np.concatenate([[0], np.cumsum([len(e) for e in encoded])]).astype(np.uint32)
    if audio is not None:
        arrays["audio"] = audio.astype(np.int16, copy=False)
    facts = {"index": index, "start": start, "stop": stop, "mode": mode, "n_values": offset}
    return pack({**facts, "outline_scale": OUTLINE_SCALE}, arrays)


def encode_picture(rgb: npt.NDArray[np.uint8]) -> bytes:
    """JPEG of an RGB picture, uint8 (height, width, 3)."""
    ok, data = cv2.imencode(".jpg", cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
    assert ok  # an 8-bit RGB array always encodes
    return bytes(data)


def columns_per_frame(n_frames: int) -> int:
    """Columns of a spectrogram for each frame of a recording: four, fewer of long ones."""
    return max(1, min(4, _MAX_SPECTROGRAM_COLUMNS // max(n_frames, 1)))


def encode_spectrogram(result: Spectrogram) -> bytes:
    """Container with a spectrogram as bytes, one column per (part of a) frame."""
    values = quantise_levels(result.level_db)
    n_bins, n_columns = values.shape
    header = {
        "n_bins": n_bins,
        "n_columns": n_columns,
        "n_frames": n_columns / result.columns_per_frame,
        "max_hz": float(result.centre_hz[-1]) if n_bins else 0.0,
    }
    return pack(header, {"values": zlib.compress(np.ascontiguousarray(values.T).tobytes(), 1)})


def encode_events(events: JoinedErrors) -> dict[str, npt.NDArray[Any]]:
    """Columns of joined errors as the typed arrays that the player reads."""
    return {
        "first": events.first.astype(np.int32),
        "last": events.last.astype(np.int32),
        "kind": events.kind,
        "category": events.category.astype(np.uint8),
        "taken_for": events.taken_for.astype(np.int8),
        "frames": events.frames.astype(np.int32),
        "score": events.score.astype(np.float32),
        "azimuth": events.azimuth_deg.astype(np.float32),
        "elevation": events.elevation_deg.astype(np.float32),
    }


def encode_errors(events: ErrorEvents) -> dict[str, npt.NDArray[Any]]:
    """Columns of the errors of single frames as the typed arrays that the player reads."""
    return {
        "frame": events.frame.astype(np.int32),
        "kind": events.kind,
        "label": events.label_row.astype(np.int32),
        "prediction": events.prediction_row.astype(np.int32),
    }


def quantise_levels(level_db: npt.NDArray[np.floating[Any]], *, range_db: float = 65.0) -> npt.NDArray[np.uint8]:
    """Levels as bytes for a picture: 255 at the loudest, 0 at the noise floor.

    Parameters
    ----------
    level_db : float array
        Decibels.
    range_db : float
        Most decibels shown; 65 reaches from speech peaks to the noise of a quiet room. Where the background is louder
        than that (the quietest fifth of all values), the picture begins there, so that noise stays dark.

    Returns
    -------
    uint8 array, same shape
        All 0 for a recording of one level throughout (digital silence).
    """
    if not level_db.size or float(level_db.max()) <= float(level_db.min()):
        return np.zeros(level_db.shape, dtype=np.uint8)
    top = float(level_db.max())
    floor = min(max(top - range_db, float(np.percentile(level_db, 20))), top - 1.0)
    return quantise((level_db - floor) / (top - floor))


def _frame_patches(table: AnnotationTable, frame: int, mode: MapMode) -> list[tuple[int, Patch]]:
    """``(row, patch)`` of a frame's annotations; beyond the limit one last ``(-1, merged rest)``."""
    rows = table.frame_slice(frame)
    chosen = np.arange(rows.start, rows.stop)
    rest: list[int] = []
    if chosen.size > MAX_PATCHES_PER_FRAME:
        order = np.argsort(-np.nan_to_num(table.score[chosen], nan=1.0), kind="stable")
        rest = chosen[order[MAX_PATCHES_PER_FRAME:]].tolist()
        chosen = np.sort(chosen[order[:MAX_PATCHES_PER_FRAME]])
    result = [(int(row), annotation_patch(table, int(row), mode=mode)) for row in chosen]
    if rest:
        result.append((-1, crop(merged_canvas(annotation_patch(table, row, mode=mode) for row in rest))))
    return [(row, patch) for row, patch in result if patch.values.size]
