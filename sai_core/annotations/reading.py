"""Reading annotation files: label JSON, submission JSON and COCO JSON, told apart by content, plain or gzip.

Rules beyond the official file description (both evaluators read every file that passes them):

* Numbers may be written as integers or floats; ``metadata_frame_index``, ``category_id`` and ``instance_id`` must be
  whole. ``null`` counts as absent for ``instance_id`` (-1), ``distance`` and ``score`` (NaN). Keys that are not ours
  are skipped, at the top level and in annotations; the same key twice is an error.
* ``score`` lies in [0, 1]. ``energy`` is any finite number: raw (unstandardised) files have amplitudes of 1e-5, and
  negative values are legal since both evaluators define what they do with them (clip to 0 after interpolation).
* A part without points and a segmentation without parts are legal (they render empty; the evaluators count them).
* Classes go by the names in ``categories`` where a file has them, whatever the ids
  (:mod:`sai_core.annotations._classes`).
* One file is one recording: several values of ``video_id`` are an error.
* What is left out or guessed is told in ``AnnotationTable.notes`` (:mod:`sai_core.annotations.notes`).
* Annotations are put in the order of frames, keeping the order of the file within a frame; parts and points keep the
  order of the file, because the official rendering depends on it.
"""

from __future__ import annotations

import os
import zlib
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path as FilePath
from typing import Final, Literal

import msgspec

from sai_core.annotations import cache, coco
from sai_core.annotations._classes import ClassIds, parse_categories
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
from sai_core.annotations.notes import Note
from sai_core.annotations.table import AnnotationTable
from sai_core.errors import InputError
from sai_core.files import file_signature
from sai_core.progress import Progress, no_progress

Path = str | os.PathLike[str]
Kind = Literal["label", "submission", "coco"]

_HEAD_KEYS: Final[frozenset[str]] = frozenset({"images", "categories"})

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
    """

    table: AnnotationTable
    kind: Kind

    @property
    def n_dropped(self) -> int:
        """Annotations left out because of a class that is none of the 13 (``unknown_classes="drop"``)."""
        return self.table.notes.n_left_out


class _CategoriesBehind(Exception):
    """A label file's ``categories`` stand behind its annotations and change what their ids mean: read it again."""

    def __init__(self, raw: bytes) -> None:
        super().__init__("categories behind annotations")
        self.raw = raw


@dataclass(frozen=True)
class _Decoder:
    """How the annotations of a file are decoded."""

    decode: Callable[[int, bytes], Iterable[list[LabelAnnotation]]]
    explain: Callable[[int, bytes], None]
    classes: ClassIds
    notes: Callable[[], tuple[Note, ...]]
    is_coco: bool


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
        A class that is none of the 13 is an error, or its annotation is left out and counted in the table's
        ``notes``.
    progress : Progress
        Called while a large file is read.
    use_cache : bool
        Open and fill the binary cache (:mod:`sai_core.annotations.cache`).

    Returns
    -------
    AnnotationTable
        Read-only columns.

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
    """As :func:`read_annotations`, and say what kind of file it was."""
    if unknown_classes not in ("error", "drop"):
        raise InputError(f"unknown_classes must be 'error' or 'drop', got {unknown_classes!r}.")
    options = ReadOptions(check_canvas=check_canvas, unknown_classes=unknown_classes)
    name = recording_name(path) if recording is None else recording
    try:
        try:
            return _read(path, name, options, progress, use_cache=use_cache)
        except _CategoriesBehind as behind:
            return _read(path, name, options, progress, use_cache=use_cache, categories=behind.raw)
    except MemoryError:
        raise InputError(f"{path}: does not fit into memory; close other programs or split the file.") from None
    except (OSError, OverflowError, RecursionError, UnicodeError, zlib.error) as error:
        raise InputError(f"{path}: cannot be read ({error}).") from error


def _read(
    path: Path, name: str, options: ReadOptions, progress: Progress, *, use_cache: bool, categories: bytes = b""
) -> ReadResult:
    n_bytes = stat_regular_file(path).st_size
    if use_cache and cache.MIN_BYTES <= n_bytes <= MAX_BYTES:
        return _read_cached(FilePath(path), name, options, progress, categories)
    return _parse(path, name, options, MemorySink(), progress, categories=categories)


def _read_cached(path: FilePath, name: str, options: ReadOptions, progress: Progress, categories: bytes) -> ReadResult:
    before = file_signature(path)
    content, found = cache.find(path, options)
    if found is not None:
        progress(1.0, f"{len(found.columns['frame'])} annotations")
        return ReadResult(table_of(name, found.columns, found.notes), _kind_of(found.kind))
    work = cache.new_work_folder(os.stat(path).st_size)
    if work is None:
        return _parse(path, name, options, MemorySink(), progress, categories=categories)
    # the hash came from a first pass over the file; what is stored under it must come from the same bytes
    digest = blake2b(digest_size=16)
    try:
        sink = FolderSink(work)
        try:
            result = _parse(path, name, options, sink, progress, digest=digest, categories=categories)
        finally:
            sink.close()
    except OSError:
        # the disk is full or gone; the file itself is fine, so read it without the cache
        cache.drop_work_folder(work)
        return _parse(path, name, options, MemorySink(), progress, categories=categories)
    except BaseException:
        cache.drop_work_folder(work)
        raise
    if file_signature(path) != before or digest.hexdigest() != content:
        cache.drop_work_folder(work)
        raise InputError(f"{path}: was changed while it was being read; open it again.")
    columns = {column: getattr(result.table, column) for column in COLUMN_DTYPES}
    cache.store(content, options, columns, result.kind, result.table.notes)
    cache.drop_work_folder(work)
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
    categories: bytes = b"",
) -> ReadResult:
    builder = TableBuilder(sink, options)
    with ByteSource(path, digest=digest) as source:
        is_coco, notes = _read_items(path, source, builder, options, progress, categories)
    columns, file_notes = builder.finish(notes)
    progress(1.0, f"{builder.n_annotations} annotations")
    kind: Kind = "coco" if is_coco else "submission" if builder.has_score else "label"
    return ReadResult(table_of(name, columns, file_notes), kind)


def _read_items(
    path: Path,
    source: ByteSource,
    builder: TableBuilder,
    options: ReadOptions,
    progress: Progress,
    categories: bytes,
) -> tuple[bool, tuple[Note, ...]]:
    """Move all annotations into the builder; returns whether the file is COCO, and what is to be told of it."""
    scanner = DocumentScanner(source, path, wanted=_HEAD_KEYS)
    values = {"categories": categories} if categories else {}
    decoder: _Decoder | None = None
    for event in scanner.events():
        if isinstance(event, Value):
            if event.key in _HEAD_KEYS:
                if event.key == "categories" and decoder is not None and not decoder.is_coco and not categories:
                    _check_behind(path, event.raw)
                values[event.key] = event.raw
            continue
        if decoder is None:
            if _looks_like_coco(event.raw(0)):
                decoder = _coco_decoder(path, values, options, source)
            else:
                decoder = _label_decoder(path, values, options)
            builder.classes = decoder.classes
        for k in event.suspects:
            twice = duplicate_key(event.raw(k))
            if twice is not None:
                raise InputError(f"{path}: annotation {event.first + k}: the key {show(twice)} stands twice; keep one.")
        for start, stop in _batches(event):
            text = b"[" + event.data[event.starts[start] : event.ends[stop - 1]] + b"]"
            try:
                for portion in decoder.decode(event.first + start, text):
                    builder.add(portion)
                    _check_size(path, builder)
            except (msgspec.MsgspecError, BadBatch, RecursionError, UnicodeDecodeError):
                explain_batch(path, event, range(start, stop), decoder.explain)
        coco.check_one_recording(path, builder.video_ids)
        progress(source.fraction, f"{builder.n_annotations} annotations")
    if decoder is None:
        return "images" in scanner.keys, ()
    return decoder.is_coco, decoder.notes()


def _check_size(path: Path, builder: TableBuilder) -> None:
    if builder.n_points > MAX_POINTS:
        raise InputError(f"{path}: has more than {MAX_POINTS} points; give the file of one recording.")


def _check_behind(path: Path, raw: bytes) -> None:
    """Start again where ``categories`` behind the annotations of a label file say what they were not read by."""
    classes = parse_categories(path, raw, strict=False)
    if not classes.as_written or classes.notes:
        raise _CategoriesBehind(raw)


def _label_decoder(path: Path, values: dict[str, bytes], options: ReadOptions) -> _Decoder:
    decoder = msgspec.json.Decoder(list[LabelAnnotation])
    classes = parse_categories(path, values.get("categories", b""), strict=False)
    looked = "categories" in values

    def explain(index: int, raw: bytes) -> None:
        nonlocal looked
        if not looked:
            looked = True
            with suppress(InputError):
                _check_behind(path, _values_of(path, frozenset({"categories"})).get("categories", b""))
        explain_label(path, index, raw, options, classes)

    return _Decoder(lambda first, text: (decoder.decode(text),), explain, classes, tuple, False)


def _coco_decoder(path: Path, values: dict[str, bytes], options: ReadOptions, source: ByteSource) -> _Decoder:
    decoder = msgspec.json.Decoder(list[coco.CocoAnnotation])
    if len(values) < len(_HEAD_KEYS):
        # they may stand behind the annotations: look through the whole file once for them alone
        values |= _values_of(path, _HEAD_KEYS)
    head = coco.parse_head(path, values.get("images", b""), values.get("categories", b""))

    def max_mask_points() -> int:
        return coco.FREE_MASK_POINTS + coco.MASK_POINTS_PER_BYTE * source.text_bytes

    return _Decoder(
        lambda first, text: coco.to_labels(path, first, decoder.decode(text), head, max_mask_points),
        lambda index, raw: coco.explain_coco(path, index, raw, head, options),
        head.classes,
        head.notes,
        True,
    )


def _values_of(path: Path, keys: frozenset[str]) -> dict[str, bytes]:
    """Values of top-level keys, wherever they stand."""
    with ByteSource(path) as source:
        return {
            event.key: event.raw
            for event in DocumentScanner(source, path, wanted=keys).events()
            if isinstance(event, Value) and event.key in keys
        }


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
