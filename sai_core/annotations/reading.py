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
import time
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
from sai_core.annotations._columns import Columns, table_of
from sai_core.annotations._decode import (
    MAX_POINTS,
    BadBatch,
    LabelAnnotation,
    ReadOptions,
    TableBuilder,
    explain_batch,
    explain_label,
)
from sai_core.annotations._points import at_hand, count_slow, cut_out, parse
from sai_core.annotations._scan import DocumentScanner, Run, Value, duplicate_key, show
from sai_core.annotations._source import MAX_BYTES, ByteSource, stat_regular_file
from sai_core.annotations.names import recording_name
from sai_core.annotations.notes import FileNotes, Note
from sai_core.annotations.table import AnnotationTable, PackedPoints
from sai_core.cache import remember_content
from sai_core.errors import InputError
from sai_core.files import file_signature
from sai_core.progress import Progress, no_progress

Path = str | os.PathLike[str]
Kind = Literal["label", "submission", "coco"]

_HEAD_KEYS: Final[frozenset[str]] = frozenset({"images", "categories"})

_BATCH_BYTES: Final[int] = 1 << 17
_FEW: Final[int] = 8
_PLAIN_BYTES: Final[int] = 1 << 19
"""Text decoded at once in the fast way: small enough for the numbers to stay in the processor's cache."""


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


_SMALL_BYTES: Final[int] = 4096
"""Size up to which a file is read to see whether it has an annotation at all."""


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


def problem_at_sight(path: Path) -> str:
    """Why a file cannot be an annotation file, as far as its first bytes tell; "" if it may be one.

    For looking at many files before long work begins: what only shows further behind (a cut-off end, a wrong field)
    is for :func:`read_annotations`.
    """
    try:
        with ByteSource(path) as source:
            DocumentScanner(source, path).check_start()
    except InputError as error:
        return str(error)
    except (OSError, zlib.error) as error:
        return f"{path}: cannot be read ({error})."
    return ""


def check_at_sight(path: Path) -> None:
    """As :func:`problem_at_sight`, as an error.

    Raises
    ------
    InputError
        The file cannot be an annotation file.
    """
    if problem := problem_at_sight(path):
        raise InputError(problem)


def holds_nothing(path: Path) -> bool:
    """Whether a file is empty or has no annotation, by a quick look: one that is small is read, a larger one is not.

    A damaged file is for its reader to tell: it does not hold nothing.
    """
    try:
        if FilePath(path).stat().st_size > _SMALL_BYTES:
            return False
        if not FilePath(path).read_bytes().strip():
            return True
        return not len(read_annotations(path, unknown_classes="drop", use_cache=False))
    except (OSError, InputError):
        return False


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


@dataclass(frozen=True)
class _Parsed:
    """What a file holds."""

    columns: Columns
    points: PackedPoints
    kind: Kind
    notes: FileNotes

    def result(self, name: str) -> ReadResult:
        return ReadResult(table_of(name, self.columns, self.points, self.notes), self.kind)


def _read(
    path: Path, name: str, options: ReadOptions, progress: Progress, *, use_cache: bool, categories: bytes = b""
) -> ReadResult:
    n_bytes = stat_regular_file(path).st_size
    if use_cache and cache.MIN_BYTES <= n_bytes <= MAX_BYTES:
        return _read_cached(FilePath(path), name, options, progress, categories)
    return _parse(path, options, progress, categories=categories).result(name)


def _read_cached(path: FilePath, name: str, options: ReadOptions, progress: Progress, categories: bytes) -> ReadResult:
    before, began = file_signature(path), time.time_ns()
    content, found = cache.find(path, options)
    if found is not None:
        progress(1.0, f"{len(found.columns['frame'])} annotations")
        return ReadResult(table_of(name, found.columns, found.points, found.notes), _kind_of(found.kind))
    # where the hash came from a first pass over the file, what is stored under it must come from the same bytes
    digest = blake2b(digest_size=16)
    parsed = _parse(path, options, progress, digest=digest, categories=categories)
    if file_signature(path) != before or digest.hexdigest() != (content or digest.hexdigest()):
        raise InputError(f"{path}: was changed while it was being read; open it again.")
    content = digest.hexdigest()
    remember_content(path, content, before, began)
    cache.store(path, content, options, parsed.columns, parsed.points, parsed.kind, parsed.notes)
    return parsed.result(name)


def _kind_of(text: str) -> Kind:
    return "coco" if text == "coco" else "submission" if text == "submission" else "label"


def _parse(
    path: Path,
    options: ReadOptions,
    progress: Progress,
    *,
    digest: blake2b | None = None,
    categories: bytes = b"",
) -> _Parsed:
    builder = TableBuilder(options)
    with ByteSource(path, digest=digest) as source:
        is_coco, notes = _read_items(path, source, builder, options, progress, categories)
    columns, points, file_notes = builder.finish(notes)
    progress(1.0, f"{builder.n_annotations} annotations")
    kind: Kind = "coco" if is_coco else "submission" if builder.has_score else "label"
    return _Parsed(columns, points, kind, file_notes)


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
    plain = _Plain()
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
                raise InputError(
                    f"{path}: annotation {event.first + k}: the key {show(twice)} appears twice; keep one."
                )
        for start, stop in _batches(event, range(len(event.starts)), _PLAIN_BYTES):
            fast = plain.wanted and at_hand(max(source.size, source.text_bytes))
            if not fast or not plain.note(_read_plain(event, range(start, stop), decoder, builder)):
                _read_slowly(path, event, range(start, stop), decoder, builder)
                if plain.wanted and not fast:
                    count_slow(event.ends[stop - 1] - event.starts[start])
            _check_size(path, builder)
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


@dataclass
class _Plain:
    """How often the fast way did: a file that is written in another way is not tried again and again."""

    n_read: int = 0
    n_not: int = 0

    @property
    def wanted(self) -> bool:
        return self.n_not < _FEW or self.n_not < self.n_read

    def note(self, read: bool) -> bool:
        self.n_read += read
        self.n_not += not read
        return read


def _read_plain(run: Run, elements: range, decoder: _Decoder, builder: TableBuilder) -> bool:
    """Take elements in the fast way; False, and none is taken, where one is not plain or not right."""
    if decoder.is_coco:
        return False
    heads: list[bytes] = []
    spans: list[tuple[int, int]] = []
    for k in elements:
        parts = cut_out(run.data, run.starts[k], run.ends[k])
        if parts is None:
            return False
        heads.append(parts[0])
        spans.append(parts[1])
    points = parse(run.data, spans)
    if points is None:
        return False
    try:
        (batch,) = decoder.decode(run.first + elements[0], b"[" + b",".join(heads) + b"]")
        if any(annotation.segmentation for annotation in batch):
            return False
        builder.add(batch, points)
    except (msgspec.MsgspecError, BadBatch, RecursionError, UnicodeDecodeError):
        return False
    return True


def _read_slowly(path: Path, run: Run, elements: range, decoder: _Decoder, builder: TableBuilder) -> None:
    """Take elements, or say what is wrong with the first that breaks a rule."""
    for start, stop in _batches(run, elements, _BATCH_BYTES):
        text = b"[" + run.data[run.starts[start] : run.ends[stop - 1]] + b"]"
        try:
            for portion in decoder.decode(run.first + start, text):
                builder.add(portion)
                _check_size(path, builder)
        except (msgspec.MsgspecError, BadBatch, RecursionError, UnicodeDecodeError):
            explain_batch(path, run, range(start, stop), decoder.explain)


def _batches(run: Run, elements: range, n_bytes: int) -> Iterator[tuple[int, int]]:
    """Ranges of elements of about so many bytes each."""
    start = elements.start
    while start < elements.stop:
        stop = bisect_right(run.ends, run.starts[start] + n_bytes, start, elements.stop)
        yield start, max(stop, start + 1)
        start = max(stop, start + 1)
