"""Label errors put in on purpose, to measure the queue and the reviewers with answers that are known.

An error is made of one *event* of the labels: annotations of one class and instance in consecutive frames (pauses of at
most two frames). It is a list of edits (:mod:`sai_core.review.edits`), so that what was put in is known to the
annotation and can be taken back.

=========  ========================================================================================================
kind       what is done to the event
=========  ========================================================================================================
class      another class, each as likely
removed    taken out
added      a copy of it as another class, 60 to 180 degrees of azimuth away
moved      turned by 40 to 120 degrees of azimuth, to either side
distance   all distances times or divided by 2 to 4
cut        its last 40 to 70 per cent taken out
extended   its last frame repeated for one to two seconds more
=========  ========================================================================================================
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, get_args

import numpy as np
import numpy.typing as npt

from sai_core.annotations import AnnotationTable
from sai_core.errors import InputError
from sai_core.geometry import FRAME_RATE_HZ, great_circle_deg
from sai_core.metrics.official.directions import region_peak_direction
from sai_core.review.edits import AppliedEdits, annotation_keys, apply_edits, new_key, parts_to_json
from sai_core.review.queue import Item
from sai_core.review.regions import field_of, field_to_parts
from sai_core.taxonomy import N_CLASSES

ErrorKind = Literal["class", "removed", "added", "moved", "distance", "cut", "extended"]
ERROR_KINDS: Final[tuple[ErrorKind, ...]] = get_args(ErrorKind)

MIN_FRAMES: Final[int] = 6
"""Shorter events are left alone: a part of them would be a frame or two."""

_GAP_FRAMES: Final[int] = 2
_NEAR_DEG: Final[float] = 20.0


@dataclass(frozen=True)
class Injection:
    """One error that was put in.

    Attributes
    ----------
    kind : str
        One of :data:`ERROR_KINDS`.
    category : int
        Class of the event, before.
    frames : tuple of int
        Frames in which labels differ, rising.
    azimuth_deg, elevation_deg : float
        Direction of the event before, mean of the strongest points of those frames (of the whole event for ``added``
        and ``extended``, which had nothing there).
    targets : tuple of str
        Keys of the original annotations that were changed or taken out.
    edits : tuple of dict
        What was done.
    """

    kind: ErrorKind
    category: int
    frames: tuple[int, ...]
    azimuth_deg: float
    elevation_deg: float
    targets: tuple[str, ...]
    edits: tuple[dict[str, Any], ...]


def events_of(labels: AnnotationTable, *, min_frames: int = MIN_FRAMES) -> list[npt.NDArray[np.int64]]:
    """Rows of each event of at least so many frames, by frame; events in order of class, instance and time."""
    order = np.lexsort((labels.frame, labels.instance_id, labels.category_id))
    frame, category, instance = (c[order] for c in (labels.frame, labels.category_id, labels.instance_id))
    ends = (np.diff(category) != 0) | (np.diff(instance) != 0) | (np.diff(frame) > _GAP_FRAMES + 1)
    events = np.split(order, np.flatnonzero(ends) + 1) if len(order) else []
    return [rows for rows in events if len(np.unique(labels.frame[rows])) >= min_frames]


def inject(
    labels: AnnotationTable, rows: npt.NDArray[np.int64], kind: ErrorKind, *, seed: int, n_frames: int, uid: str
) -> Injection:
    """Make an error of one event.

    Parameters
    ----------
    labels : AnnotationTable
        The labels that are taken to be right; not changed.
    rows : int64
        The event, as :func:`events_of` gives it.
    kind : str
    seed : int
        Draws class, angle, factor and length.
    n_frames : int
        Frames of the recording: nothing is put in beyond.
    uid : str
        32 hexadecimal digits, for the keys of what is added.

    Raises
    ------
    InputError
        Unknown kind, or an event that it cannot be made of (``distance`` without distances, ``extended`` at the end).
    """
    if kind not in ERROR_KINDS:
        raise InputError(f"The error {kind!r} is unknown; use one of {', '.join(ERROR_KINDS)}.")
    rng = np.random.default_rng(seed)
    keys = annotation_keys(labels)
    category = int(labels.category_id[rows[0]])
    wrong_category = int((category + rng.integers(1, N_CLASSES)) % N_CLASSES)
    sign = float(rng.choice([-1.0, 1.0]))
    touched = rows
    frames = labels.frame[rows]
    edits: list[dict[str, Any]]
    if kind == "class":
        edits = [{"op": "set", "targets": _keys(keys, rows), "category": wrong_category}]
    elif kind == "removed":
        edits = [{"op": "remove", "targets": _keys(keys, rows)}]
    elif kind == "moved":
        angle = sign * round(float(rng.uniform(40, 120)))
        edits = [{"op": "shift", "targets": _keys(keys, rows), "azimuth_deg": angle, "elevation_deg": 0}]
    elif kind == "distance":
        factor = float(rng.uniform(2, 4)) ** sign
        known = rows[labels.distance_cm[rows] > 0]
        if not len(known):
            raise InputError(f"{labels.recording}: the event has no distance that could be made wrong.")
        edits = [
            {"op": "set", "targets": [keys[k]], "distance_cm": round(float(labels.distance_cm[k]) * factor, 1)}
            for k in known.tolist()
        ]
        touched, frames = known, labels.frame[known]
    elif kind == "cut":
        span = np.unique(labels.frame[rows])
        first = span[round(len(span) * (1 - float(rng.uniform(0.4, 0.7))))]
        touched = rows[labels.frame[rows] >= first]
        frames = labels.frame[touched]
        edits = [{"op": "remove", "targets": _keys(keys, touched)}]
    else:
        touched = rows[:0]
        last = int(labels.frame[rows].max())
        if kind == "added":
            copies = [(int(labels.frame[k]), int(k)) for k in rows]
            angle = sign * round(float(rng.uniform(60, 180)))
        else:
            until = min(last + int(rng.integers(FRAME_RATE_HZ, 2 * FRAME_RATE_HZ + 1)), n_frames - 1)
            copies = [
                (f, int(k)) for f in range(last + 1, until + 1) for k in rows[labels.frame[rows] == last].tolist()
            ]
            angle = 0.0
        if not copies:
            raise InputError(f"{labels.recording}: the event ends with the recording; it cannot be made longer.")
        added = [_copy(labels, row, frame, new_key(uid, n)) for n, (frame, row) in enumerate(copies)]
        frames = np.array([frame for frame, _ in copies])
        if kind == "added":
            instance = int(labels.instance_id.max()) + 1
            added = [{**a, "category": wrong_category, "instance": instance} for a in added]
        edits = [{"op": "add", "annotations": added}]
        if angle:
            names = [a["key"] for a in added]
            edits.append({"op": "shift", "targets": names, "azimuth_deg": angle, "elevation_deg": 0})
    azimuth, elevation = region_peak_direction(labels.take(touched if len(touched) else rows))
    return Injection(
        kind,
        category,
        tuple(np.unique(frames).tolist()),
        float(np.rad2deg(np.angle(np.exp(1j * np.deg2rad(azimuth)).mean()))),
        float(np.mean(elevation)),
        tuple(_keys(keys, touched)),
        tuple(edits),
    )


def put_in(labels: AnnotationTable, injections: Sequence[Injection]) -> AppliedEdits:
    """Labels with errors, and the key of each of their annotations in the labels before."""
    return apply_edits(labels, [edit for injection in injections for edit in injection.edits])


def shows(item: Item, error: Injection, wrong: Collection[str], predictions: Mapping[str, AnnotationTable]) -> bool:
    """Whether a reviewer who looks at an item sees an error; ``wrong`` are the keys of the labels that it made wrong.

    At least half of the labels that the item is about are wrong by it, or the item proposes a label near (20 degrees)
    where the event was, in frames in which that label is missing.
    """
    if item.targets:
        return sum(key in wrong for key in item.targets) >= 0.5 * len(item.targets)
    if error.kind not in ("removed", "moved", "cut", "class"):
        return False
    rows = [(system, row) for frame, system, row in item.change.get("add", []) if frame in error.frames]
    if not rows:
        return False
    system, row = rows[len(rows) // 2]
    azimuth, elevation = region_peak_direction(predictions[system].take([row]))
    angle = great_circle_deg(azimuth[0], elevation[0], error.azimuth_deg, error.elevation_deg)
    return bool(angle <= _NEAR_DEG)


def _keys(keys: Sequence[str], rows: npt.NDArray[np.int64]) -> list[str]:
    return [keys[k] for k in rows.tolist()]


def _copy(labels: AnnotationTable, row: int, frame: int, key: str) -> dict[str, Any]:
    distance = float(labels.distance_cm[row])
    return {
        "key": key,
        "frame": frame,
        "category": int(labels.category_id[row]),
        "instance": int(labels.instance_id[row]),
        "distance_cm": None if np.isnan(distance) else distance,
        "parts": parts_to_json(field_to_parts(field_of(labels, row))),
    }
