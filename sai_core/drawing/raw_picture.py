"""What a network saw in one frame: every candidate before any threshold, drawn over the panorama."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np
import numpy.typing as npt

from sai_core.detections.raw import RawDetections
from sai_core.drawing.annotators import DARK, Name, Picture, draw_box, energy_levels, paint, write_names
from sai_core.drawing.colormaps import sequential_lut
from sai_core.errors import InputError
from sai_core.geometry import ERP_HEIGHT, ERP_WIDTH, pixel_to_direction
from sai_core.taxonomy import CLASS_NAMES, class_rgb, short_name

Ranking = Literal["class", "objectness"]

SCALE = 4
"""Pixels of the picture for one of the canvas."""

_LABELS = 8
"""Candidates whose class is written beside the box: the strongest ones."""


@dataclass(frozen=True)
class FrameCandidates:
    """Candidates of one frame above a floor, strongest first.

    Attributes
    ----------
    rows : int64, shape (n,)
        Rows of the store.
    scores : float32, shape (n,)
        What they are ranked by.
    n_all : int
        Candidates of the frame, whatever their score.
    """

    rows: npt.NDArray[np.int64]
    scores: npt.NDArray[np.float32]
    n_all: int

    def __len__(self) -> int:
        return len(self.rows)


def ranked(raw: RawDetections, ranking: Ranking) -> npt.NDArray[np.float32]:
    """Score of every candidate of a store: of its class, or its objectness."""
    if ranking == "objectness":
        return np.asarray(raw.objectness)
    if ranking != "class":
        raise InputError(f"ranking {ranking!r} is not known; choose class or objectness.")
    return raw.own_scores


def frame_candidates(
    raw: RawDetections, frame: int, *, floor: float = 0.0, ranking: Ranking = "class"
) -> FrameCandidates:
    """Candidates of a frame whose score is at least ``floor``."""
    start, stop = np.searchsorted(raw.frame, [frame, frame + 1])
    scores = ranked(raw, ranking)[start:stop]
    order = np.argsort(-scores, kind="stable")
    order = order[scores[order] >= floor]
    return FrameCandidates(start + order, scores[order], int(stop - start))


def counts_by_frame(raw: RawDetections, *, floor: float = 0.0, ranking: Ranking = "class") -> npt.NDArray[np.int64]:
    """Candidates at or above ``floor`` in each frame, shape (n_frames,)."""
    return np.bincount(raw.frame[ranked(raw, ranking) >= floor], minlength=raw.n_frames)


def strongest_frame(raw: RawDetections) -> int:
    """Frame of the candidate with the highest class score; 0 where there is none."""
    return int(raw.frame[np.argmax(ranked(raw, "class"))]) if len(raw) else 0


def full_map_picture(raw: RawDetections, frame: int) -> Picture | None:
    """Full-frame energy of a frame in the default sequential colours, or None where the store has no maps."""
    energy = raw.full_energy[frame]
    if energy.size == 0:
        return None
    return _coloured(np.asarray(energy, dtype=np.float32))


def region_energy_picture(raw: RawDetections, chosen: FrameCandidates) -> Picture:
    """Energy of the candidates' regions, the strongest of those that overlap, weighted by score."""
    canvas = np.zeros((ERP_HEIGHT, ERP_WIDTH), dtype=np.float32)
    for row, score in zip(chosen.rows, chosen.scores, strict=True):
        x0, y0, x1, y1 = raw.boxes_xyxy[row]
        left, top = int(np.floor(x0)), int(np.floor(y0))
        width, height = max(int(np.ceil(x1)) - left, 1), max(int(np.ceil(y1)) - top, 1)
        patch = cv2.resize(raw.energy[row].astype(np.float32), (width, height), interpolation=cv2.INTER_LINEAR)
        rows = np.arange(top, top + height)
        inside = (rows >= 0) & (rows < ERP_HEIGHT)
        place = np.ix_(rows[inside], np.arange(left, left + width) % ERP_WIDTH)
        canvas[place] = np.maximum(canvas[place], patch[inside] * float(score))
    top_energy = float(canvas.max())
    return _coloured(canvas / top_energy if top_energy > 0 else canvas)


def draw_candidates(raw: RawDetections, chosen: FrameCandidates, background: Picture | None) -> Picture:
    """Draw boxes in class colours over a picture of the frame; the stronger the score, the more opaque the box.

    Parameters
    ----------
    raw : RawDetections
    chosen : FrameCandidates
    background : uint8, shape (rows, columns, 3), optional
        sRGB, any size of the canvas' proportions; a dark canvas without.

    Returns
    -------
    uint8, shape (720, 1440, 3)
        New array, sRGB. A box over the seam comes in again at the other side.
    """
    width, height = ERP_WIDTH * SCALE, ERP_HEIGHT * SCALE
    if background is None:
        out = np.full((height, width, 3), DARK, dtype=np.float32)
    else:
        # a little darker, so that the boxes stand out
        out = cv2.resize(background, (width, height), interpolation=cv2.INTER_LINEAR).astype(np.float32) * 0.75
    strongest = float(chosen.scores[0]) if len(chosen) else 1.0
    for row, score in reversed(list(zip(chosen.rows.tolist(), chosen.scores.tolist(), strict=True))):
        share = score / max(strongest, 1e-9)
        colour, thickness = class_rgb(int(raw.category_id[row])), 3 if share > 0.5 else 2
        draw_box(out, raw.boxes_xyxy[row], colour, thickness=thickness, opacity=0.12 + 0.88 * share)
    picture = out.round().clip(0, 255).astype(np.uint8)
    names = []
    for row, score in zip(chosen.rows[:_LABELS].tolist(), chosen.scores[:_LABELS].tolist(), strict=True):
        category = int(raw.category_id[row])
        x0, y0, x1, y1 = raw.boxes_xyxy[row].tolist()
        names.append(Name(f"{short_name(category)} {score:.2f}", class_rgb(category), (x0, y0, x1, y1)))
    write_names(picture, names, size=17)
    return picture


def candidate_rows(raw: RawDetections, chosen: FrameCandidates) -> list[dict[str, object]]:
    """The candidates as rows of a table, strongest first."""
    out: list[dict[str, object]] = []
    for row, score in zip(chosen.rows, chosen.scores, strict=True):
        x0, y0, x1, y1 = (float(v) for v in raw.boxes_xyxy[row])
        azimuth, elevation = pixel_to_direction((x0 + x1) / 2 % ERP_WIDTH, (y0 + y1) / 2)
        second = np.argsort(-raw.class_scores[row])[:2]
        next_category = int(second[1] if int(second[0]) == int(raw.category_id[row]) else second[0])
        out.append(
            {
                "class": CLASS_NAMES[int(raw.category_id[row])],
                "score": float(score),
                "objectness": float(raw.objectness[row]),
                "next class": f"{short_name(next_category)} {raw.class_scores[row, next_category]:.2f}",
                "azimuth °": round(float(azimuth)),
                "elevation °": round(float(elevation)),
                "size °": f"{x1 - x0:.0f} x {y1 - y0:.0f}",
                "distance m": float(raw.distance_cm[row]) / 100.0,
                "peak energy": float(raw.energy[row].max()),
            }
        )
    return out


def _coloured(energy: npt.NDArray[np.float32]) -> Picture:
    view = np.empty((ERP_HEIGHT * SCALE, ERP_WIDTH * SCALE, 3), dtype=np.uint8)
    paint(view, energy_levels(energy), sequential_lut())
    return view
