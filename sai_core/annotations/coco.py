"""COCO JSON: instance annotations as other tools write and read them.

A COCO file here is one recording: each image is one frame. What COCO has no place for stands in keys that other tools
ignore: ``energy`` (one number for each point, nested like ``segmentation``), ``distance`` (cm) and ``instance_id``.

Reading
* The frame of an image is its ``frame_index`` (or ``metadata_frame_index``), else the number at the end of its
  ``file_name`` (``..._0042.png``, the names of extracted frames).
* Classes are matched by the names in ``categories`` (so that files that count from 1 are read right); where no name
  is one of the 13, ids are taken as 0..12.
* Polygons are flat lists ``[x0, y0, x1, y1, ...]``; their corners become points, with energy 1 where none is given.
  Run-length masks (compressed or not) become one point for each pixel of the mask, row by row, with energy 1.
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
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any, Final

import msgspec
import numpy as np
import numpy.typing as npt

from sai_core.annotations._decode import MAX_FRAME, FieldChecker, LabelAnnotation, ReadOptions, Segmentation, kind_of
from sai_core.annotations._hull import hull_area
from sai_core.annotations.table import AnnotationTable
from sai_core.annotations.writing import check_writable, number_text, numbers_text, rounded, write_pieces
from sai_core.errors import InputError
from sai_core.geometry import ERP_HEIGHT, ERP_WIDTH
from sai_core.taxonomy import CLASS_NAMES, N_CLASSES

Path = str | os.PathLike[str]

MAX_MASK_PIXELS: Final[int] = 1 << 26
"""An 8192 x 8192 mask; the videos of the data set have 1920 x 960."""

_PORTION_POINTS: Final[int] = 1 << 16

_TRAILING_NUMBER: Final = re.compile(r"(?:^|[_\-. ])(\d{1,8})$", flags=re.ASCII)
_NOT_LETTERS: Final = re.compile(r"[^a-z]+")


class _Image(msgspec.Struct):
    id: int | float
    file_name: str | None = None
    frame_index: int | float | None = None
    metadata_frame_index: int | float | None = None
    width: int | float | None = None
    height: int | float | None = None


class _Category(msgspec.Struct):
    id: int | float
    name: str | None = None


class CocoAnnotation(msgspec.Struct):
    """One element of ``annotations``; what is not named here (bbox, area, iscrowd, ...) is skipped."""

    image_id: int | float
    category_id: int | float
    segmentation: msgspec.Raw
    energy: msgspec.Raw = msgspec.Raw(b"null")
    instance_id: int | float | None = -1
    distance: float | None = None
    score: float | None = None


class _Rle(msgspec.Struct):
    size: tuple[int, int]
    counts: str | list[int]


@dataclass(frozen=True)
class ImageInfo:
    """Frame of an image and the factors that take its pixels onto the canvas."""

    frame: int
    scale_x: float
    scale_y: float


@dataclass(frozen=True)
class CocoHead:
    """What ``images`` and ``categories`` say: image id to frame, file's class to ours (-1: none of the 13)."""

    images: dict[int | float, ImageInfo]
    classes: dict[int | float, int] | None


_decode_polygons = msgspec.json.Decoder(list[list[float]]).decode
_decode_flat = msgspec.json.Decoder(list[float]).decode
_decode_rle = msgspec.json.Decoder(_Rle).decode


def parse_head(path: Path, images: bytes, categories: bytes) -> CocoHead:
    """Decode the values of ``images`` and ``categories`` (empty bytes: the file has none).

    Raises
    ------
    InputError
        Malformed, an id twice, an image without a frame number, or two images of one frame.
    """
    return CocoHead(_parse_images(path, images), _parse_categories(path, categories))


def _parse_images(path: Path, raw: bytes) -> dict[int | float, ImageInfo]:
    try:
        images = msgspec.json.decode(raw or b"[]", type=list[_Image])
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: the list 'images' is not as COCO has it ({error}).") from None
    result: dict[int | float, ImageInfo] = {}
    frames: dict[int, int] = {}
    for k, image in enumerate(images):
        where = f"{path}: image {k}"
        number = _whole(where, "id", image.id)
        if number in result:
            raise InputError(f"{where}: the id {number} stands twice; image ids must be unique.")
        given = image.frame_index if image.frame_index is not None else image.metadata_frame_index
        if given is not None:
            frame = _whole(where, "frame_index", given)
        else:
            match = _TRAILING_NUMBER.search(PurePath(image.file_name or "").stem)
            if match is None:
                raise InputError(
                    f"{where}: has no 'frame_index', and its file name does not end in a frame number (name_0042.png)."
                )
            frame = int(match.group(1))
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
    return result


def _parse_categories(path: Path, raw: bytes) -> dict[int | float, int] | None:
    try:
        categories = msgspec.json.decode(raw or b"[]", type=list[_Category])
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: the list 'categories' is not as COCO has it ({error}).") from None
    ours = {_NOT_LETTERS.sub("", name.lower()): k for k, name in enumerate(CLASS_NAMES)}
    result: dict[int | float, int] = {}
    for k, category in enumerate(categories):
        number = _whole(f"{path}: category {k}", "id", category.id)
        if number in result:
            raise InputError(f"{path}: category {k}: the id {number} stands twice; category ids must be unique.")
        result[number] = ours.get(_NOT_LETTERS.sub("", (category.name or "").lower()), -1)
    return result if any(known >= 0 for known in result.values()) else None


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
    path: Path, first: int, batch: Sequence[CocoAnnotation], head: CocoHead
) -> Iterator[list[LabelAnnotation]]:
    """COCO annotations as label annotations (frames, our classes, points on the canvas), in portions.

    A mask of a few bytes can have 64,800 points, so a portion ends when it has enough points, not annotations.

    Raises
    ------
    InputError
        With the annotation's index: an image that is not listed, or a segmentation that is none.
    """
    portion: list[LabelAnnotation] = []
    n_points = 0
    for k, annotation in enumerate(batch):
        checker = FieldChecker(path, first + k)
        image = _image_of(checker, annotation.image_id, head)
        parts = _segmentation(checker, annotation, image)
        portion.append(
            LabelAnnotation(
                image.frame,
                class_of(annotation.category_id, head),
                parts,
                annotation.instance_id,
                annotation.distance,
                annotation.score,
            )
        )
        n_points += sum(map(len, parts))
        if n_points >= _PORTION_POINTS:
            yield portion
            portion, n_points = [], 0
    yield portion


def class_of(category_id: int | float, head: CocoHead) -> int | float:
    """Our class of a file's class; -1 for one that is named and is none of the 13."""
    return category_id if head.classes is None else head.classes.get(category_id, -1)


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
    if not 0 <= class_of(category, head) < N_CLASSES:
        if options.unknown_classes == "drop":
            return
        checker.fail(f", field 'category_id': {category} is none of the 13 classes.")
    checker.whole(record, "instance_id", optional=True)
    checker.number(record, "distance", optional=True)
    checker.score(record)
    if "segmentation" not in record:
        checker.fail(" has no key 'segmentation'; every annotation needs one.")
    polygons = record["segmentation"]
    if not isinstance(polygons, list | dict):
        checker.fail(f", field 'segmentation': got {kind_of(polygons)}, expected polygons or a run-length mask.")
    try:
        annotation = msgspec.json.decode(raw, type=CocoAnnotation)
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError) as error:
        checker.fail(f" cannot be read as a COCO annotation ({error}).")
    for p, part in enumerate(_segmentation(checker, annotation, image)):
        for k, (x, y, _) in enumerate(part):
            checker.on_canvas(x, y, f"point {k} of part {p}", options)


def _segmentation(checker: FieldChecker, annotation: CocoAnnotation, image: ImageInfo) -> Segmentation:
    raw = bytes(annotation.segmentation)
    if raw[:1] == b"{":
        if bytes(annotation.energy) != b"null":
            checker.fail(", field 'energy': a run-length mask cannot have energies; write polygons.")
        return [_mask_points(checker, raw)]
    try:
        polygons = _decode_polygons(raw)
    except (msgspec.MsgspecError, RecursionError) as error:
        checker.fail(f", field 'segmentation': is neither polygons [[x0, y0, x1, y1, ...], ...] nor a mask ({error}).")
    energies = _energies(checker, annotation.energy, polygons)
    parts = []
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


def _mask_points(checker: FieldChecker, raw: bytes) -> list[tuple[float, float, float]]:
    try:
        rle = _decode_rle(raw)
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError) as error:
        checker.fail(f", field 'segmentation': is not a run-length mask ({error}).")
    try:
        mask = decode_rle(rle.counts, size_hw=rle.size)
    except InputError as error:
        checker.fail(f", field 'segmentation': {error}")
    rows, columns = np.nonzero(_on_canvas(mask))
    return list(zip(columns.astype(float).tolist(), rows.astype(float).tolist(), [1.0] * len(rows), strict=True))


def _on_canvas(mask: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    height, width = mask.shape
    if (height, width) == (ERP_HEIGHT, ERP_WIDTH) or not mask.size:
        return mask
    rows = ((np.arange(ERP_HEIGHT) + 0.5) * height / ERP_HEIGHT).astype(np.int64)
    columns = ((np.arange(ERP_WIDTH) + 0.5) * width / ERP_WIDTH).astype(np.int64)
    return mask[rows[:, None], columns]


def decode_rle(counts: str | Sequence[int], *, size_hw: tuple[int, int]) -> npt.NDArray[np.bool_]:
    """Mask of a COCO run-length encoding.

    Parameters
    ----------
    counts : str or sequence of int
        Compressed (text) or plain run lengths; zeros first, column by column.
    size_hw : (int, int)
        Height and width in pixels.

    Returns
    -------
    mask : bool, shape (height, width)

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
    values = np.arange(len(runs)) % 2 == 1
    flat = np.repeat(values, np.array(runs, dtype=np.int64))
    return flat.reshape(width, height).T


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
