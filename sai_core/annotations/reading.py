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
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path as FilePath
from typing import Final, Literal

import msgspec

from sai_core.annotations import cache, coco
from sai_core.annotations._columns import COLUMN_DTYPES, FolderSink, MemorySink, Sink, table_of
from sai_core.annotations._decode import (
    MAX_POINTS,
    BadBatch,
    LabelAnnotation,
    ReadOptions,
    TableBuilder,
    explain_batch,
    explain_label,
)
from sai_core.annotations._scan import DocumentScanner, Run, Value, duplicate_key, show
from sai_core.annotations._source import MAX_BYTES, ByteSource, stat_regular_file
from sai_core.annotations.names import recording_name
from sai_core.annotations.table import AnnotationTable
from sai_core.errors import InputError
from sai_core.progress import Progress, no_progress

Path = str | os.PathLike[str]
Kind = Literal["label", "submission", "coco"]

_Decoders = tuple[Callable[[int, bytes], Iterable[list[LabelAnnotation]]], Callable[[int, bytes], None]]
_COCO_KEYS: Final[frozenset[str]] = frozenset({"images", "categories"})

_BATCH_BYTES: Final[int] = 1 << 17
"""Text decoded at once: small enough for the decoded numbers to stay in the processor's cache."""


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
        n_bytes = stat_regular_file(path).st_size
        if use_cache and cache.MIN_BYTES <= n_bytes <= MAX_BYTES:
            return _read_cached(FilePath(path), name, options, progress)
        return _parse(path, name, options, MemorySink(), progress)
    except MemoryError:
        raise InputError(f"{path}: does not fit into memory; close other programs or split the file.") from None
    except (OSError, OverflowError, RecursionError, UnicodeError, zlib.error) as error:
        raise InputError(f"{path}: cannot be read ({error}).") from error


def _read_cached(path: FilePath, name: str, options: ReadOptions, progress: Progress) -> ReadResult:
    before = cache.stamp(path)
    content, found = cache.find(path, options)
    if found is not None:
        progress(1.0, f"{len(found.columns['frame'])} annotations")
        return ReadResult(table_of(name, found.columns), _kind_of(found.kind), found.n_dropped)
    work = cache.new_work_folder(os.stat(path).st_size)
    if work is None:
        return _parse(path, name, options, MemorySink(), progress)
    # the hash came from a first pass over the file; what is stored under it must come from the same bytes
    digest = blake2b(digest_size=16)
    try:
        sink = FolderSink(work)
        try:
            result = _parse(path, name, options, sink, progress, digest=digest)
        finally:
            sink.close()
    except OSError:
        # the disk is full or gone; the file itself is fine, so read it without the cache
        cache.drop_work_folder(work)
        return _parse(path, name, options, MemorySink(), progress)
    except BaseException:
        cache.drop_work_folder(work)
        raise
    if cache.stamp(path) != before or digest.hexdigest() != content:
        cache.drop_work_folder(work)
        raise InputError(f"{path}: was changed while it was being read; open it again.")
    columns = {column: getattr(result.table, column) for column in COLUMN_DTYPES}
    cache.store(work, content, options, columns, result.kind, result.n_dropped)
    return result


def _kind_of(text: str) -> Kind:
    return "coco" if text == "coco" else "submission" if text == "submission" else "label"


def _parse(
    path: Path,
    name: str,
    options: ReadOptions,
    sink: Sink,
    progress: Progress,
    *,
    digest: blake2b | None = None,
) -> ReadResult:
    builder = TableBuilder(sink, options)
    with ByteSource(path, digest=digest) as source:
        is_coco = _read_items(path, source, builder, options, progress)
    columns = builder.finish()
    progress(1.0, f"{builder.n_annotations} annotations")
    kind: Kind = "coco" if is_coco else "submission" if builder.has_score else "label"
    return ReadResult(table_of(name, columns), kind, builder.n_dropped)


def _read_items(
    path: Path, source: ByteSource, builder: TableBuilder, options: ReadOptions, progress: Progress
) -> bool:
    """Move all annotations into the builder; returns whether the file is COCO."""
    scanner = DocumentScanner(source, path, wanted=_COCO_KEYS)
    values: dict[str, bytes] = {}
    decode: Callable[[int, bytes], Iterable[list[LabelAnnotation]]] | None = None
    explain: Callable[[int, bytes], None] | None = None
    is_coco = False
    for event in scanner.events():
        if isinstance(event, Value):
            if event.key in _COCO_KEYS and decode is None:
                values[event.key] = event.raw
            continue
        if decode is None or explain is None:
            is_coco = _looks_like_coco(event.raw(0))
            decode, explain = _coco_decoder(path, values, options) if is_coco else _label_decoder(path, options)
            values = {}
        for k in event.suspects:
            twice = duplicate_key(event.raw(k))
            if twice is not None:
                raise InputError(f"{path}: annotation {event.first + k}: the key {show(twice)} stands twice; keep one.")
        for start, stop in _batches(event):
            text = b"[" + event.data[event.starts[start] : event.ends[stop - 1]] + b"]"
            try:
                for portion in decode(event.first + start, text):
                    builder.add(portion)
                    _check_size(path, builder)
            except (msgspec.MsgspecError, BadBatch, RecursionError, UnicodeDecodeError):
                explain_batch(path, event, range(start, stop), explain)
        progress(source.fraction, f"{builder.n_annotations} annotations")
    return is_coco or (decode is None and "images" in scanner.keys)


def _check_size(path: Path, builder: TableBuilder) -> None:
    if builder.n_points > MAX_POINTS:
        raise InputError(f"{path}: has more than {MAX_POINTS} points; give the file of one recording.")


def _label_decoder(path: Path, options: ReadOptions) -> _Decoders:
    decoder = msgspec.json.Decoder(list[LabelAnnotation])
    return (
        lambda first, text: (decoder.decode(text),),
        lambda index, raw: explain_label(path, index, raw, options),
    )


def _coco_decoder(path: Path, values: dict[str, bytes], options: ReadOptions) -> _Decoders:
    decoder = msgspec.json.Decoder(list[coco.CocoAnnotation])
    if len(values) < len(_COCO_KEYS):
        # they may stand behind the annotations: look through the whole file once for them alone
        with ByteSource(path) as source:
            for event in DocumentScanner(source, path, wanted=_COCO_KEYS).events():
                if isinstance(event, Value) and event.key in _COCO_KEYS:
                    values[event.key] = event.raw
    head = coco.parse_head(path, values.get("images", b""), values.get("categories", b""))
    return (
        lambda first, text: coco.to_labels(path, first, decoder.decode(text), head),
        lambda index, raw: coco.explain_coco(path, index, raw, head, options),
    )


def _looks_like_coco(raw: bytes) -> bool:
    """Whether an annotation names an image and no frame (a label annotation always names its frame)."""
    try:
        keys = msgspec.json.decode(raw, type=dict[str, msgspec.Raw])
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError):
        return False
    return "image_id" in keys and "metadata_frame_index" not in keys


def _batches(run: Run) -> Iterator[tuple[int, int]]:
    """Ranges of elements of about ``_BATCH_BYTES`` each."""
    start = 0
    while start < len(run.starts):
        stop = max(bisect_right(run.ends, run.starts[start] + _BATCH_BYTES), start + 1)
        yield start, stop
        start = stop
