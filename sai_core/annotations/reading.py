"""Reading annotation files: label JSON, submission JSON and COCO JSON, told apart by content, plain or gzip.

Rules beyond the official file description (both evaluators read every file that passes them):

* Numbers may be written as integers or floats; ``metadata_frame_index``, ``category_id`` and ``instance_id`` must be
  whole. ``null`` counts as absent for ``instance_id`` (-1), ``distance`` and ``score`` (NaN). Keys that are not ours
  are skipped, at the top level and in annotations; the same key twice is an error.
* ``score`` lies in [0, 1]. ``energy`` is any finite number: raw (unstandardised) files have amplitudes of 1e-5, and
  negative values are legal since both evaluators define what they do with them (clip to 0 after interpolation).
* A part without points and a segmentation without parts are legal (they render empty; the evaluators count them).
* Annotations are put in the order of frames, keeping the order of the file within a frame; parts and points keep the
  order of the file, because the official rendering depends on it.
"""

from __future__ import annotations

import os
import zlib
from dataclasses import dataclass
from typing import Literal

import msgspec

from sai_core.annotations._columns import MemorySink, Sink, table_of
from sai_core.annotations._decode import (
    MAX_POINTS,
    BadBatch,
    LabelAnnotation,
    ReadOptions,
    TableBuilder,
    explain_batch,
    explain_label,
)
from sai_core.annotations._scan import DocumentScanner, Item, duplicate_key, show
from sai_core.annotations._source import ByteSource
from sai_core.annotations.names import recording_name
from sai_core.annotations.table import AnnotationTable
from sai_core.errors import InputError
from sai_core.progress import Progress, no_progress

Path = str | os.PathLike[str]
Kind = Literal["label", "submission", "coco"]


@dataclass(frozen=True)
class ReadResult:
    """A table and what was found while reading it.

    Attributes
    ----------
    table : AnnotationTable
        The annotations.
    kind : {"label", "submission", "coco"}
        What the file is: a submission is a label file in which at least one annotation has a score.
    n_dropped : int
        Annotations left out because of a class outside 0..12 (``unknown_classes="drop"``).
    """

    table: AnnotationTable
    kind: Kind
    n_dropped: int


def read_annotations(
    path: Path,
    *,
    recording: str | None = None,
    check_canvas: bool = True,
    unknown_classes: Literal["error", "drop"] = "error",
    progress: Progress = no_progress,
    use_cache: bool = True,
) -> AnnotationTable:
    """Read a label, submission or COCO file.

    Parameters
    ----------
    path : path
        JSON, plain or gzip; what it is is decided by content, never by name.
    recording : str, optional
        Name of the recording; by default :func:`recording_name` of the path.
    check_canvas : bool
        Refuse coordinates outside [0, 360] x [0, 180] (label grid) as the evaluator of 2026-06-30 does; with False,
        any finite coordinate is kept (the evaluator of 2026-04-02).
    unknown_classes : {"error", "drop"}
        A ``category_id`` outside 0..12 is an error, or its annotation is left out
        (:func:`read_annotations_with_report` says how many were).
    progress : Progress
        Called while a large file is read.
    use_cache : bool
        Open and fill the binary cache (:mod:`sai_core.annotations.cache`).

    Returns
    -------
    AnnotationTable
        Read-only columns, memory-mapped where they come from the cache.

    Raises
    ------
    InputError
        The file cannot be read or breaks a rule; one sentence with file, annotation index and field.
    """
    return read_annotations_with_report(
        path,
        recording=recording,
        check_canvas=check_canvas,
        unknown_classes=unknown_classes,
        progress=progress,
        use_cache=use_cache,
    ).table


def read_annotations_with_report(
    path: Path,
    *,
    recording: str | None = None,
    check_canvas: bool = True,
    unknown_classes: Literal["error", "drop"] = "error",
    progress: Progress = no_progress,
    use_cache: bool = True,
) -> ReadResult:
    """As :func:`read_annotations`, and say what kind of file it was and what was left out."""
    if unknown_classes not in ("error", "drop"):
        raise InputError(f"unknown_classes must be 'error' or 'drop', got {unknown_classes!r}.")
    options = ReadOptions(check_canvas=check_canvas, unknown_classes=unknown_classes)
    name = recording_name(path) if recording is None else recording
    try:
        return _parse(path, name, options, MemorySink(), progress)
    except MemoryError:
        raise InputError(f"{path}: does not fit into memory; close other programs or split the file.") from None
    except (OSError, OverflowError, RecursionError, UnicodeError, zlib.error) as error:
        raise InputError(f"{path}: cannot be read ({error}).") from error


def _parse(path: Path, name: str, options: ReadOptions, sink: Sink, progress: Progress) -> ReadResult:
    builder = TableBuilder(sink, options)
    with ByteSource(path) as source:
        scanner = DocumentScanner(source, path)
        kind = _read_items(path, scanner, source, builder, options, progress)
    columns = builder.finish()
    progress(1.0, f"{builder.n_annotations} annotations")
    if kind == "label" and builder.has_score:
        kind = "submission"
    return ReadResult(table_of(name, columns), kind, builder.n_dropped)


def _read_items(
    path: Path,
    scanner: DocumentScanner,
    source: ByteSource,
    builder: TableBuilder,
    options: ReadOptions,
    progress: Progress,
) -> Kind:
    decode = msgspec.json.Decoder(LabelAnnotation).decode
    checked_keys: set[tuple[bytes, ...]] = set()
    batch: list[tuple[int, bytes]] = []
    index = -1

    def explain(number: int, raw: bytes) -> None:
        explain_label(path, number, raw, options)

    for event in scanner.events():
        if not isinstance(event, Item):
            continue
        index += 1
        raw, strings = event
        if strings not in checked_keys:
            twice = duplicate_key(raw, strings)
            if twice is not None:
                raise InputError(f"{path}: annotation {index}: the key {show(twice)} stands twice; keep one.")
            if len(checked_keys) < 1000:
                checked_keys.add(strings)
        batch.append((index, raw))
        try:
            a = decode(raw)
            builder.add(a.metadata_frame_index, a.category_id, a.instance_id, a.distance, a.score, a.segmentation)
            if builder.full:
                builder.flush()
                batch.clear()
                progress(source.fraction, f"{index + 1} annotations")
        except (msgspec.MsgspecError, BadBatch, RecursionError, UnicodeDecodeError):
            explain_batch(path, batch, explain)
        if builder.n_points > MAX_POINTS:
            raise InputError(f"{path}: has more than {MAX_POINTS} points; give the file of one recording.")
    try:
        builder.flush()
    except BadBatch:
        explain_batch(path, batch, explain)
    return "label"
