"""Regions as COCO masks for tools that draw and edit masks (CVAT, Label Studio, FiftyOne, Roboflow), with pictures.

The points of a label are a cloud with energies, not an outline: as polygons
(:func:`~sai_core.annotations.write_coco_json`) nothing is lost, and nothing is seen elsewhere. Here each annotation is
the mask of the pixels that it fills on the canvas. Masks have no energy; read back
(:func:`~sai_core.annotations.read_annotations`), every pixel has energy 1.

References
----------
The COCO data format and its mask API (see :mod:`sai_core.annotations.coco`).
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from sai_core.annotations import AnnotationTable
from sai_core.annotations.writing import write_pieces
from sai_core.drawing.maps import annotation_patch
from sai_core.geometry import ERP_HEIGHT, ERP_WIDTH
from sai_core.taxonomy import CLASS_NAMES


def encode_mask(mask: npt.NDArray[np.bool_]) -> str:
    """Compressed run lengths of a mask, column by column, beginning with zeros.

    Parameters
    ----------
    mask : bool, shape (height, width)
    """
    flat = np.concatenate([[False], mask.ravel(order="F"), [not mask[-1, -1]]])
    # where a run ends: a mask that begins with a one has a first run of length 0
    ends = np.flatnonzero(flat[1:] != flat[:-1])
    runs = np.diff(ends, prepend=0)
    signs = bytearray()
    for k, run in enumerate(runs.tolist()):
        value = run - runs[k - 2].item() if k > 2 else run
        while True:
            group = value & 31
            value >>= 5
            # the rest is nothing but copies of the sign in the last group's fifth bit
            more = value != (-1 if group & 16 else 0)
            signs.append((group | 32 if more else group) + 48)
            if not more:
                break
    return signs.decode("ascii")


def mask_of(table: AnnotationTable, index: int) -> npt.NDArray[np.bool_]:
    """Pixels with energy of an annotation, shape (180, 360)."""
    mask = np.zeros((ERP_HEIGHT, ERP_WIDTH), bool)
    patch = annotation_patch(table, index)
    if patch.values.size:
        rows, columns = np.nonzero(patch.values)
        mask[patch.y0 + rows, patch.columns()[columns]] = True
    return mask


def write_coco_masks(table: AnnotationTable, path: str | os.PathLike[str]) -> int:
    """Write a COCO file with one run-length mask an annotation.

    Parameters
    ----------
    table : AnnotationTable
    path : path
        Replaced only when everything has been written.

    Returns
    -------
    int
        Annotations that were left out, since they have no pixels.
    """
    n_empty = 0

    def pieces() -> Iterator[bytes]:
        nonlocal n_empty
        frames = np.unique(table.frame).tolist()
        head: dict[str, Any] = {
            "info": {"description": table.recording},
            "images": [
                {
                    "id": frame,
                    "width": ERP_WIDTH,
                    "height": ERP_HEIGHT,
                    "file_name": picture_name(table.recording, frame),
                    "frame_index": frame,
                }
                for frame in frames
            ],
            # from 1, since tools take 0 for the background
            "categories": [{"id": k + 1, "name": n, "supercategory": "sound"} for k, n in enumerate(CLASS_NAMES)],
        }
        yield msgspec.json.encode(head)[:-1] + b',"annotations":['
        comma = b""
        for index in range(len(table)):
            mask = mask_of(table, index)
            if not mask.any():
                n_empty += 1
                continue
            yield comma + msgspec.json.encode(_annotation(table, index, mask))
            comma = b","
        yield b"]}"

    write_pieces(pieces(), path)
    return n_empty


def picture_name(recording: str, frame: int) -> str:
    """File name of a frame's picture."""
    return f"{recording}_{frame:04d}.jpg"


def _annotation(table: AnnotationTable, index: int, mask: npt.NDArray[np.bool_]) -> dict[str, Any]:
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    left, top = int(columns[0]), int(rows[0])
    found: dict[str, Any] = {
        "id": index + 1,
        "image_id": int(table.frame[index]),
        "category_id": int(table.category_id[index]) + 1,
        "segmentation": {"size": [ERP_HEIGHT, ERP_WIDTH], "counts": encode_mask(mask)},
        "bbox": [left, top, int(columns[-1]) + 1 - left, int(rows[-1]) + 1 - top],
        "area": int(np.count_nonzero(mask)),
        "iscrowd": 0,
    }
    if not np.isnan(table.score[index]):
        found["score"] = float(table.score[index])
    if not np.isnan(table.distance_cm[index]):
        found["distance"] = float(table.distance_cm[index])
    if table.instance_id[index] != -1:
        found["instance_id"] = int(table.instance_id[index])
    return found
