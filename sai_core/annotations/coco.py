"""COCO JSON: instance annotations as other tools write and read them.

A COCO file here is one recording: each image is one frame. What COCO has no place for stands in keys that other tools
ignore: ``energy`` (one number for each point, nested like ``segmentation``), ``distance`` (cm) and ``instance_id``.

Reading
* The frame of an image is its ``frame_index`` (or ``metadata_frame_index``), else the number at the end of its
  ``file_name`` (``..._0042.png``, ``frame000042.jpg``, ``000000000042.jpg``).
* Classes are matched by the names in ``categories`` (so that files that count from 1 are read right); see
  :mod:`sai_core.annotations._classes`.
* Polygons are flat lists ``[x0, y0, x1, y1, ...]``; their corners become points, with energy 1 where none is given.
  Run-length masks (compressed or not) become one point for each pixel of the mask, row by row, with energy 1. A box
  without a segmentation becomes its rectangle, four corners with energy 1, and the notes say how many there were.
* Images of another size than 360 x 180 are scaled onto the canvas (label grid); masks by looking up the mask pixel
  under the centre of each canvas pixel.

References
----------
The COCO data format and its mask API, cocodataset.org (facts about the encoding: column-major runs that begin with
zeros; the compressed form stores each run, from the fourth on as the difference to the run two before, in groups of
five bits, low first, the sixth bit marking continuation, the sign in the last group's fifth bit, plus 48).
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import PurePath
from typing import Any, Final

import msgspec
import numpy as np
import numpy.typing as npt

from sai_core.annotations._classes import ClassIds, parse_categories
from sai_core.annotations._decode import (
    MAX_FRAME,
    NO_VALUE,
    FieldChecker,
    LabelAnnotation,
    ReadOptions,
    Segmentation,
    kind_of,
)
from sai_core.annotations._hull import hull_area
from sai_core.annotations._scan import show
from sai_core.annotations.notes import Note
from sai_core.annotations.table import AnnotationTable
from sai_core.annotations.writing import check_writable, number_text, numbers_text, rounded, write_pieces
from sai_core.errors import InputError
from sai_core.geometry import ERP_HEIGHT, ERP_WIDTH
from sai_core.taxonomy import CLASS_NAMES, N_CLASSES

Path = str | os.PathLike[str]

MAX_MASK_PIXELS: Final[int] = 1 << 26
"""An 8192 x 8192 mask; the videos of the data set have 1920 x 960."""

FREE_MASK_POINTS: Final[int] = 1 << 22
MASK_POINTS_PER_BYTE: Final[int] = 32
"""Points that the masks of a file may unpack to: 4 million, and 32 more for each byte of its text.

A region of 40 by 40 degrees has some 1,200 pixels in some 200 bytes of JSON; a third of the canvas in each annotation
is still within the limit in a file of ten thousand annotations. Without a limit 400 kB unpack to gigabytes."""

_PORTION_POINTS: Final[int] = 1 << 16

_TRAILING_NUMBER: Final = re.compile(r"^(.*?)(\d{1,18})$", flags=re.ASCII | re.DOTALL)
_OTHER_NUMBER: Final = re.compile(r"(?:^|[^a-z])(?:fold|room|mix|take|cam|camera|channel|track)$", flags=re.IGNORECASE)
"""Words before a number at the end of a name that is none of a frame, e.g. ``fold4_room23_mix001``."""


class _Image(msgspec.Struct):
    id: int | float
    file_name: str | None = None
    frame_index: int | float | None = None
    metadata_frame_index: int | float | None = None
    width: int | float | None = None
    height: int | float | None = None
    video_id: msgspec.Raw = NO_VALUE


class CocoAnnotation(msgspec.Struct):
    """One element of ``annotations``; what is not named here (area, iscrowd, ...) is skipped."""

    image_id: int | float
    category_id: int | float
    segmentation: msgspec.Raw = NO_VALUE
    bbox: msgspec.Raw = NO_VALUE
    energy: msgspec.Raw = NO_VALUE
    instance_id: int | float | None = -1
    distance: float | None = None
    score: float | None = None
    video_id: msgspec.Raw = NO_VALUE


class _Rle(msgspec.Struct):
    size: tuple[int, int]
    counts: str | list[int]


@dataclass(frozen=True)
class ImageInfo:
    """Frame of an image and the factors that take its pixels onto the canvas."""

    frame: int
    scale_x: float
    scale_y: float


@dataclass
class CocoHead:
    """What ``images`` and ``categories`` say, and what is counted while the annotations are read.

    Attributes
    ----------
    images : dict of image id to ImageInfo
    classes : ClassIds
    n_boxes : int
        Annotations whose box stands in for a segmentation.
    n_mask_points : int
        Points that masks have unpacked to.
    """

    images: dict[int | float, ImageInfo]
    classes: ClassIds
    image_notes: tuple[Note, ...] = ()
    n_boxes: int = field(default=0, init=False)
    n_mask_points: int = field(default=0, init=False)

    def notes(self) -> tuple[Note, ...]:
        """What is to be told of the file."""
        if not self.n_boxes:
            return self.image_notes
        noun = "1 annotation has" if self.n_boxes == 1 else f"{self.n_boxes} annotations have"
        boxes = Note("boxes", f"{noun} a box and no segmentation: the box's rectangle is taken, with energy 1.")
        return (*self.image_notes, boxes)


_decode_polygons = msgspec.json.Decoder(list[list[float]]).decode
_decode_flat = msgspec.json.Decoder(list[float]).decode
_decode_rle = msgspec.json.Decoder(_Rle).decode


def parse_head(path: Path, images: bytes, categories: bytes) -> CocoHead:
    """Decode the values of ``images`` and ``categories`` (empty bytes: the file has none).

    Raises
    ------
    InputError
        Malformed, an id twice, an image without a frame number, two images of one frame, or images of several
        recordings.
    """
    infos, notes = _parse_images(path, images)
    classes = parse_categories(path, categories)
    if classes.known is None and not classes.notes:
        # COCO files usually count from 1
        message = f"has no 'categories'; ids are taken as 0 to {N_CLASSES - 1}, 0 as {CLASS_NAMES[0]}."
        notes += (Note("categories_missing", message),)
    return CocoHead(infos, classes, notes)


def _parse_images(path: Path, raw: bytes) -> tuple[dict[int | float, ImageInfo], tuple[Note, ...]]:
    try:
        images = msgspec.json.decode(raw or b"[]", type=list[_Image])
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: the list 'images' is not valid COCO ({error}).") from None
    check_one_recording(path, {bytes(image.video_id) for image in images} - {b"null"})
    result: dict[int | float, ImageInfo] = {}
    frames: dict[int, int] = {}
    series: dict[str, int] = {}
    by_name = False
    for k, image in enumerate(images):
        where = f"{path}: image {k}"
        number = _whole(where, "id", image.id)
        if number in result:
            raise InputError(f"{where}: the id {number} appears twice; image ids must be unique.")
        before, numbered = _numbered(image.file_name or "")
        if numbered is not None:
            series.setdefault(before, k)
        given = image.frame_index if image.frame_index is not None else image.metadata_frame_index
        if given is not None:
            frame = _whole(where, "frame_index", given)
        elif numbered is not None:
            frame, by_name = numbered, True
        else:
            raise InputError(
                f"{where}: has no 'frame_index', and its file name does not end in a frame number (name_0042.png)."
            )
        if not 0 <= frame <= MAX_FRAME:
            raise InputError(f"{where}, field 'frame_index': got {frame}, expected 0 to {MAX_FRAME}.")
        if frame in frames:
            raise InputError(
                f"{where}: is frame {frame}, as is image {frames[frame]}; a COCO file must hold one recording."
            )
        frames[frame] = k
        width = _size(where, "width", image.width, ERP_WIDTH)
        height = _size(where, "height", image.height, ERP_HEIGHT)
        result[number] = ImageInfo(frame, ERP_WIDTH / width, ERP_HEIGHT / height)
    if len(series) > 1:
        first, second = list(series)[:2]
        mixture = (
            f"images {series[first]} and {series[second]} belong to different series of frames ({show(first)} and "
            f"{show(second)}, each followed by a number)"
        )
        if by_name:
            raise InputError(f"{path}: {mixture}; a COCO file must hold one recording.")
        return result, (Note("several_series", f"{mixture}; by their 'frame_index' they are taken as one recording."),)
    if by_name and len(frames) > 1 and min(frames) == 1 and max(frames) == len(frames):
        message = "the frame numbers in the image names begin at 1, and are taken as frames counted from 0."
        return result, (Note("frames_from_one", message),)
    return result, ()


def _numbered(file_name: str) -> tuple[str, int | None]:
    """What stands before the frame number at the end of an image's name, folder included, and the number."""
    path = PurePath(file_name)
    match = _TRAILING_NUMBER.match(path.stem)
    if match is None or _OTHER_NUMBER.search(match.group(1)):
        return "", None
    return str(path.parent / match.group(1)), int(match.group(2))


def check_one_recording(path: Path, video_ids: set[bytes]) -> None:
    """Refuse a file whose annotations or images name several videos.

    Parameters
    ----------
    path : path
        Named in the message.
    video_ids : set of bytes
        JSON text of each value that was found.

    Raises
    ------
    InputError
        More than one.
    """
    if len(video_ids) > 1:
        shown = ", ".join(sorted(show(v.decode("utf-8", "replace")) for v in list(video_ids)[:4]))
        raise InputError(
            f"{path}: holds several recordings ('video_id' is {shown}{', ...' if len(video_ids) > 4 else ''}); "
            "write one file for each recording."
        )


def _whole(where: str, key: str, value: int | float) -> int:
    if value != int(value) or not -(2**63) <= value < 2**63:
        raise InputError(f"{where}, field {key!r}: got {value}, expected a whole number.")
    return int(value)


def _size(where: str, key: str, value: int | float | None, default: int) -> int:
    if value is None:
        return default
    size = _whole(where, key, value)
    if not 1 <= size <= 1 << 20:
        raise InputError(f"{where}, field {key!r}: got {size}, expected a number of pixels.")
    return size


def to_labels(
    path: Path, first: int, batch: Sequence[CocoAnnotation], head: CocoHead, max_mask_points: Callable[[], int]
) -> Iterator[list[LabelAnnotation]]:
    """COCO annotations as label annotations (frames, the file's classes, points on the canvas), in portions.

    A mask of a few bytes can have 64,800 points, so a portion ends when it has enough points, not annotations.

    Raises
    ------
    InputError
        With the annotation's index: an image that is not listed, a segmentation that is none, or more points in masks
        than ``max_mask_points()`` says.
    """
    portion: list[LabelAnnotation] = []
    n_points = 0
    for k, annotation in enumerate(batch):
        checker = FieldChecker(path, first + k)
        image = _image_of(checker, annotation.image_id, head)
        parts = _segmentation(checker, annotation, image, head)
        limit = max_mask_points()
        if head.n_mask_points > limit:
            checker.fail(
                f", field 'segmentation': the masks up to here unpack to more than {limit:,} points, which no file of "
                "this size should hold; it is damaged or made to fill memory."
            )
        portion.append(
            LabelAnnotation(
                image.frame,
                annotation.category_id,
                parts,  # type: ignore[arg-type] # arrays where the decoder of label files makes lists
                annotation.instance_id,
                annotation.distance,
                annotation.score,
                annotation.video_id,
            )
        )
        n_points += sum(map(len, parts))
        if n_points >= _PORTION_POINTS:
            yield portion
            portion, n_points = [], 0
    yield portion


def _image_of(checker: FieldChecker, image_id: int | float, head: CocoHead) -> ImageInfo:
    image = head.images.get(image_id)
    if image is None:
        checker.fail(f", field 'image_id': {image_id} is not the id of any entry of 'images'.")
    return image


def explain_coco(path: Path, index: int, raw: bytes, head: CocoHead, options: ReadOptions) -> None:
    """Raise the InputError that says what is wrong with a COCO annotation; return if nothing is."""
    checker = FieldChecker(path, index)
    record = checker.parse(raw)
    image_id = checker.whole(record, "image_id")
    assert image_id is not None
    image = _image_of(checker, image_id, head)
    category = checker.whole(record, "category_id")
    assert category is not None
    if not 0 <= head.classes.of(category) < N_CLASSES:
        if options.unknown_classes == "drop":
            return
        checker.unknown_class(category, head.classes)
    checker.whole(record, "instance_id", optional=True)
    checker.number(record, "distance", optional=True)
    checker.score(record)
    polygons = record.get("segmentation")
    if polygons is None and record.get("bbox") is None:
        checker.fail(" has neither 'segmentation' nor 'bbox'; every annotation needs one.")
    if polygons is not None and not isinstance(polygons, list | dict):
        checker.fail(f", field 'segmentation': got {kind_of(polygons)}, expected polygons or a run-length mask.")
    try:
        annotation = msgspec.json.decode(raw, type=CocoAnnotation)
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError) as error:
        checker.fail(f" cannot be read as a COCO annotation ({error}).")
    for p, part in enumerate(_segmentation(checker, annotation, image, head)):
        for k, (x, y, _) in enumerate(part):
            checker.on_canvas(x, y, f"point {k} of part {p}", options)


def _segmentation(checker: FieldChecker, annotation: CocoAnnotation, image: ImageInfo, head: CocoHead) -> Segmentation:
    raw = bytes(annotation.segmentation)
    if raw[:1] == b"{":
        if bytes(annotation.energy) != b"null":
            checker.fail(", field 'energy': a run-length mask cannot have energies; write polygons.")
        points = _mask_points(checker, raw)
        head.n_mask_points += len(points)
        return [points]
    try:
        polygons = [] if raw == b"null" else _decode_polygons(raw)
    except (msgspec.MsgspecError, RecursionError) as error:
        checker.fail(f", field 'segmentation': is neither polygons [[x0, y0, x1, y1, ...], ...] nor a mask ({error}).")
    if not any(polygons) and bytes(annotation.energy) in (b"null", b"[]"):
        rectangle = _rectangle(checker, annotation.bbox, required=raw == b"null")
        if rectangle is not None:
            polygons = [rectangle]
            head.n_boxes += 1
    energies = _energies(checker, annotation.energy, polygons)
    parts: Segmentation = []
    for p, (flat, energy) in enumerate(zip(polygons, energies, strict=True)):
        if len(flat) % 2:
            checker.fail(f", field 'segmentation': part {p} has {len(flat)} numbers, expected pairs x, y.")
        xs, ys = flat[0::2], flat[1::2]
        if image.scale_x != 1:
            xs = [x * image.scale_x for x in xs]
        if image.scale_y != 1:
            ys = [y * image.scale_y for y in ys]
        if energy is None:
            energy = [1.0] * len(xs)
        elif len(energy) != len(xs):
            checker.fail(f", field 'energy': part {p} has {len(energy)} numbers for {len(xs)} points.")
        parts.append(list(zip(xs, ys, energy, strict=True)))
    return parts


def _rectangle(checker: FieldChecker, bbox: msgspec.Raw, *, required: bool) -> list[float] | None:
    """Corners of a box [x, y, width, height] in pixels of the image; None for no box or one without an area."""
    raw = bytes(bbox)
    if raw == b"null":
        if required:
            checker.fail(" has neither 'segmentation' nor 'bbox'; every annotation needs one.")
        return None
    try:
        x, y, width, height = msgspec.json.decode(raw, type=tuple[float, float, float, float])
    except (msgspec.MsgspecError, RecursionError) as error:
        checker.fail(f", field 'bbox': expected [x, y, width, height] ({error}).")
    if width < 0 or height < 0:
        checker.fail(f", field 'bbox': has the size {width:g} x {height:g}, expected 0 or more.")
    if not width or not height:
        return None
    return [x, y, x + width, y, x + width, y + height, x, y + height]


def _energies(checker: FieldChecker, raw: msgspec.Raw, polygons: list[list[float]]) -> Sequence[list[float] | None]:
    text = bytes(raw)
    if text == b"null":
        return [None] * len(polygons)
    try:
        if len(polygons) == 1 and not text.lstrip(b"[ \t\r\n").startswith(b"]") and text.count(b"[") == 1:
            return [_decode_flat(text)]
        energies = _decode_polygons(text)
    except (msgspec.MsgspecError, RecursionError) as error:
        checker.fail(f", field 'energy': expected a list of numbers for each part ({error}).")
    if len(energies) != len(polygons):
        checker.fail(f", field 'energy': has {len(energies)} lists for {len(polygons)} parts.")
    return energies


def _mask_points(checker: FieldChecker, raw: bytes) -> npt.NDArray[np.float64]:
    try:
        rle = _decode_rle(raw)
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError) as error:
        checker.fail(f", field 'segmentation': is not a run-length mask ({error}).")
    try:
        mask = mask_on_canvas(rle.counts, size_hw=rle.size)
    except InputError as error:
        checker.fail(f", field 'segmentation': {error}")
    rows, columns = np.nonzero(mask)
    return np.column_stack([columns, rows, np.ones(len(rows))])


def mask_on_canvas(counts: str | Sequence[int], *, size_hw: tuple[int, int]) -> npt.NDArray[np.bool_]:
    """Mask of a COCO run-length encoding on the canvas: its pixel under the centre of each canvas pixel.

    The mask is never unpacked at its own size, so that one of 8192 x 8192 costs no more than one of the canvas.

    Parameters
    ----------
    counts : str or sequence of int
        Compressed (text) or plain run lengths; zeros first, column by column.
    size_hw : (int, int)
        Height and width in pixels.

    Returns
    -------
    mask : bool, shape (180, 360)
        Label grid.

    Raises
    ------
    InputError
        A size that is none, characters that are none of the encoding, negative runs, or runs that do not add up to
        the size.
    """
    height, width = size_hw
    if height < 0 or width < 0 or height * width > MAX_MASK_PIXELS:
        raise InputError(f"the mask size {height} x {width} is not one of an image.")
    runs = _decompress(counts) if isinstance(counts, str) else list(counts)
    total = 0
    for run in runs:
        if run < 0:
            raise InputError("the mask has a negative run length.")
        total += run
    if total != height * width:
        raise InputError(f"the runs of the mask add up to {total} pixels, not to {height} x {width}.")
    if not total:
        return np.zeros((ERP_HEIGHT, ERP_WIDTH), dtype=np.bool_)
    rows = ((np.arange(ERP_HEIGHT) + 0.5) * height / ERP_HEIGHT).astype(np.int64)
    columns = ((np.arange(ERP_WIDTH) + 0.5) * width / ERP_WIDTH).astype(np.int64)
    lengths = np.array(runs, dtype=np.int64)
    if (height, width) == (ERP_HEIGHT, ERP_WIDTH):
        return np.repeat(np.arange(len(runs)) % 2 == 1, lengths).reshape(width, height).T
    ends = np.cumsum(lengths)
    # runs lie column by column and alternate, zeros first: an odd number of ends at or before a pixel is a one
    passed = np.searchsorted(ends, columns[:, None] * height + rows, side="right")
    return (passed % 2 == 1).T


def _decompress(text: str) -> list[int]:
    runs: list[int] = []
    value, shift = 0, 0
    for character in text:
        group = ord(character) - 48
        if not 0 <= group < 64 or shift > 60:
            raise InputError("the mask's counts are not a compressed run-length text.")
        value |= (group & 31) << shift
        shift += 5
        if group & 32:
            continue
        if group & 16:
            value -= 1 << shift
        if len(runs) > 2:
            value += runs[-2]
        runs.append(value)
        value, shift = 0, 0
    if shift:
        raise InputError("the mask's counts end in the middle of a run.")
    return runs


def write_coco_json(table: AnnotationTable, path: Path, *, decimals: int | None = None) -> None:
    """Write a COCO file that :func:`~sai_core.annotations.read_annotations` reads back as the same table.

    Parameters
    ----------
    table : AnnotationTable
        Points go into ``segmentation`` as they are, part by part, and their energies into ``energy``; ``bbox`` is
        that of all points, ``area`` that of the convex hulls of the parts (what the evaluator of 2026-06-30 fills),
        in square pixels of the canvas. Absent scores, distances and instances are left out.
    path : path
        Replaced only when everything has been written; gzip if the name ends in ``.gz``.
    decimals : int, optional
        Round coordinates, energies and distances to so many decimals; by default nothing is lost.

    Raises
    ------
    InputError
        As :func:`~sai_core.annotations.write_label_json`.
    EnvironmentProblem
        The file cannot be written.
    """
    check_writable(table)
    write_pieces(_document(table, decimals), path)


def _document(table: AnnotationTable, decimals: int | None) -> Iterator[bytes]:
    frames = np.unique(table.frame).tolist()
    head: dict[str, Any] = {
        "info": {"description": table.recording},
        "images": [
            {
                "id": frame,
                "width": ERP_WIDTH,
                "height": ERP_HEIGHT,
                "file_name": f"{table.recording}_{frame:04d}.png",
                "frame_index": frame,
            }
            for frame in frames
        ],
        "categories": [{"id": k, "name": name, "supercategory": "sound"} for k, name in enumerate(CLASS_NAMES)],
    }
    yield msgspec.json.encode(head)[:-1] + b',"annotations":['
    for index in range(len(table)):
        yield (b"," if index else b"") + _annotation(table, index, decimals)
    yield b"]}"


def _annotation(table: AnnotationTable, index: int, decimals: int | None) -> bytes:
    parts = [(rounded(xy, decimals), rounded(energy, decimals)) for xy, energy in table.polygons(index)]
    everything = np.concatenate([xy for xy, _ in parts]) if parts else np.zeros((0, 2))
    low = everything.min(axis=0) if len(everything) else np.zeros(2)
    size = everything.max(axis=0) - low if len(everything) else np.zeros(2)
    pieces = [
        b'{"id":%d,"image_id":%d,"category_id":%d' % (index + 1, table.frame[index], table.category_id[index]),
        b',"segmentation":' + numbers_text([xy.reshape(-1).tolist() for xy, _ in parts]),
        b',"bbox":' + numbers_text([*low.tolist(), *size.tolist()]),
        b',"area":' + number_text(sum(hull_area(xy) for xy, _ in parts)),
        b',"iscrowd":0',
    ]
    if not np.isnan(table.score[index]):
        pieces.append(b',"score":' + number_text(float(table.score[index])))
    pieces.append(b',"energy":' + numbers_text([energy.tolist() for _, energy in parts]))
    if not np.isnan(table.distance_cm[index]):
        pieces.append(b',"distance":' + number_text(float(rounded(table.distance_cm[index], decimals))))
    if table.instance_id[index] != -1:
        pieces.append(b',"instance_id":%d' % table.instance_id[index])
    return b"".join([*pieces, b"}"])
