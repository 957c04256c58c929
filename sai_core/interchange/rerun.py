"""Annotations as a recording of Rerun (``.rrd``), where its SDK is installed: the canvas and the room, frame by frame.

In
    Labels or predictions, and pictures where they are wanted.
Out
    Timelines ``frame`` (0, 1, ...) and ``time`` (100 ms a frame). Below ``canvas``: ``energy`` (the largest of all
    regions, 256 levels), ``outlines`` and ``names``, at degrees of the canvas (x to the right, y down). Below ``room``:
    ``sources`` at their directions and distances in metres, x to the front, y to the left, z up, about the
    microphone at the origin. ``picture``: the frame's picture.

Colours and names of classes are an annotation context at the root. The SDK adds its own clock (``log_time``) and
random keys, so that no two files are the same to the byte.

References
----------
The SDK's own documentation (rerun.io/docs, version 0.41) for archetypes and timelines.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np
import numpy.typing as npt

from sai_core.annotations import AnnotationTable
from sai_core.drawing.annotators import energy_levels
from sai_core.drawing.maps import annotation_patch, merged_canvas, outlines
from sai_core.errors import InputError
from sai_core.files import atomic_write
from sai_core.geometry import ERP_HEIGHT, ERP_WIDTH, FRAME_RATE_HZ, directions_to_vectors
from sai_core.metrics.official.directions import region_peak_direction
from sai_core.taxonomy import CLASS_COLORS, CLASS_NAMES, class_name

UNKNOWN_DISTANCE_M: Final[float] = 2.0
"""Where a source without a distance is put in the room."""

Pictures = Callable[[int], bytes | None]
"""JPEG of a frame; None where there is none."""


def sdk() -> Any:
    """The SDK's module.

    Raises
    ------
    InputError
        It is not installed.
    """
    try:
        import rerun
    except ImportError as error:
        raise InputError(
            "Rerun's SDK is not installed, which writes .rrd; install it (pip install 'rerun-sdk>=0.41,<1')."
        ) from error
    return rerun


@dataclass(frozen=True)
class Written:
    """What is not in the file as it was.

    Attributes
    ----------
    n_without_region : int
        Annotations without a pixel: they have no direction, and were left out.
    n_without_distance : int
        Annotations that were put at :data:`UNKNOWN_DISTANCE_M`.
    n_pictures : int
    """

    n_without_region: int
    n_without_distance: int
    n_pictures: int


def write_rerun(table: AnnotationTable, path: Path, *, pictures: Pictures | None = None) -> Written:
    """Write one recording's annotations.

    Parameters
    ----------
    table : AnnotationTable
    path : Path
        Replaced only when everything has been written.
    pictures : callable, optional
        Gives the picture of a frame.

    Raises
    ------
    InputError
        The SDK is not installed.
    """
    rr = sdk()
    stream = rr.RecordingStream("sai", recording_id=table.recording, send_properties=False)
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=".rerun") as scratch:
        made = Path(scratch) / "made.rrd"
        stream.save(made, default_blueprint=_blueprint(pictures is not None))
        stream.log("/", rr.AnnotationContext(_classes()), static=True)
        stream.log("room", rr.ViewCoordinates.FLU, static=True)
        stream.log("room/microphone", rr.Points3D([[0.0, 0.0, 0.0]], radii=0.04, labels=["microphone"]), static=True)
        found = _log_frames(rr, stream, table, pictures)
        stream.disconnect()
        with atomic_write(path) as out, made.open("rb") as whole:
            while piece := whole.read(1 << 20):
                out.write(piece)
    return found


def _log_frames(rr: Any, stream: Any, table: AnnotationTable, pictures: Pictures | None) -> Written:
    azimuth, elevation = region_peak_direction(table)
    distance = table.distance_cm / 100.0
    unknown = ~np.isfinite(distance)
    places = directions_to_vectors(azimuth, elevation) * np.where(unknown, UNKNOWN_DISTANCE_M, distance)[:, None]
    n_empty, n_pictures = 0, 0
    # one frame more, in which nothing is left on the canvas
    frames = np.unique(table.frame).tolist()
    for frame in sorted({*frames, *(f + 1 for f in frames)}):
        stream.set_time("frame", sequence=frame)
        stream.set_time("time", duration=frame / FRAME_RATE_HZ)
        rows = np.flatnonzero(table.frame == frame)
        patches = [annotation_patch(table, row) for row in rows.tolist()]
        shown = [k for k, patch in enumerate(patches) if patch.values.size and patch.peak > 0]
        n_empty += len(rows) - len(shown)
        rows, patches = rows[shown], [patches[k] for k in shown]
        unknown[np.setdiff1d(np.flatnonzero(table.frame == frame), rows)] = False
        names = [_name(table, row) for row in rows.tolist()]
        stream.log("canvas/energy", rr.EncodedImage(contents=_png(patches), media_type="image/png"))
        strips, owner = _strips(patches)
        classes = table.category_id[rows]
        stream.log("canvas/outlines", rr.LineStrips2D(strips, class_ids=classes[owner], radii=0.5))
        at = np.stack([(180.0 - azimuth[rows]) % ERP_WIDTH, 90.0 - elevation[rows]], axis=1)
        stream.log("canvas/names", rr.Points2D(at, class_ids=classes, labels=names, radii=1.0))
        stream.log("room/sources", rr.Points3D(places[rows], class_ids=classes, labels=names, radii=0.08))
        picture = pictures(frame) if pictures is not None and len(rows) else None
        if picture is not None:
            n_pictures += 1
            stream.log("picture", rr.EncodedImage(contents=picture, media_type="image/jpeg"))
    return Written(n_empty, int(unknown.sum()), n_pictures)


def _name(table: AnnotationTable, row: int) -> str:
    source = int(table.instance_id[row])
    parts = [class_name(int(table.category_id[row])) + (f" {source}" if source != -1 else "")]
    if np.isfinite(table.score[row]):
        parts.append(f"{table.score[row]:.2f}")
    return " ".join(parts)


def _png(patches: list[Any]) -> bytes:
    _, data = cv2.imencode(".png", energy_levels(merged_canvas(patches)))
    return bytes(data)


def _strips(patches: list[Any]) -> tuple[list[npt.NDArray[np.float32]], npt.NDArray[np.int64]]:
    """Closed outlines; one that runs over the seam is there twice, a turn apart, of which the view shows the canvas."""
    strips, owner = [], []
    for k, patch in enumerate(patches):
        for curve in outlines(patch):
            closed = np.concatenate([curve, curve[:1]])
            for turn in (0.0, -float(ERP_WIDTH)) if closed[:, 0].max() > ERP_WIDTH else (0.0,):
                strips.append(closed + np.array([turn, 0.0], np.float32))
                owner.append(k)
    return strips, np.asarray(owner, np.int64)


def _classes() -> list[tuple[int, str, tuple[int, ...]]]:
    colours = [tuple(bytes.fromhex(colour.lstrip("#"))) for colour in CLASS_COLORS]
    return list(zip(range(len(CLASS_NAMES)), CLASS_NAMES, colours, strict=True))


def _blueprint(with_picture: bool) -> Any:
    import rerun.blueprint as rrb

    bounds = rrb.VisualBounds2D(x_range=[0, ERP_WIDTH], y_range=[0, ERP_HEIGHT])
    canvas = rrb.Spatial2DView(origin="canvas", name="Canvas", visual_bounds=bounds)
    room = rrb.Spatial3DView(origin="room", name="Room")
    left = rrb.Vertical(rrb.Spatial2DView(origin="picture", name="Picture"), canvas) if with_picture else canvas
    return rrb.Blueprint(rrb.Horizontal(left, room), collapse_panels=True)
