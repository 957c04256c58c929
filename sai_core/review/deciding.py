"""From a reviewer's action on an item to the edits and words of a log entry.

An action is a small plain object, as the editor in the browser sends it: ``{"action": "class", "category": 5}``. What
it means for the labels is worked out here, against the labels *as they stand* (the original file with the decisions in
force), so that what the reviewer saw is what is changed.

=========  ==================================================================================
action     fields
=========  ==================================================================================
class      ``category``
distance   ``distance_cm``
shift      ``azimuth_deg`` (to the left), ``elevation_deg`` (up)
redraw     ``shapes``: list of ``{"shape": "box", "box": [x0, y0, x1, y1]}``,
           ``{"shape": "lasso", "points": [[x, y], ...]}``, ``{"shape": "brush" or "erase",
           "points": [...], "radius": px, "energy": 0..1}``, applied in order
split      ``at``: first frame of the new instance, or "parts": every connected part beyond the
           largest becomes an instance of its own
merge      ``instance``: which of the same class takes the targets in
source     ``frame``, ``shapes`` as above, for a new source ``category``; ``distance_cm`` may be given
comment    ``comment``
tag        ``tags``
=========  ==================================================================================

accept, class, distance, shift and redraw also fill the frames of the event in which its source has no label, between
those in which it has one (:mod:`sai_core.review.filling`), unless ``fill`` is false; ``after["filled"]`` names them.

``scope`` says in which frames: ``event`` (all of the item, the default), ``frame`` (the one in ``frame``), ``onwards``
(from that one to the end of the item).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np

from sai_core.annotations import AnnotationTable
from sai_core.errors import InputError
from sai_core.metrics.official.directions import region_peak_direction
from sai_core.review.edits import (
    MAX_DISTANCE_CM,
    AppliedEdits,
    Parts,
    apply_edits,
    check_edits,
    new_key,
    parts_from_json,
    parts_to_json,
    shift_parts,
)
from sai_core.review.entries import MAX_COMMENT, NOTES, Entry, check_tags
from sai_core.review.filling import Keyframe, added, fill
from sai_core.review.history import History, ItemState, Policy
from sai_core.review.queue import MOMENT, SOURCE, Item
from sai_core.review.regions import (
    Field,
    box_mask,
    brush,
    empty_field,
    field_of,
    field_to_parts,
    fill_mask,
    lasso_mask,
    union,
)
from sai_core.taxonomy import N_CLASSES, class_name

SCOPES: Final[tuple[str, ...]] = ("event", "onwards", "frame")
_MAX_SHAPES: Final[int] = 500
_FILLING: Final[tuple[str, ...]] = ("accept", "class", "distance", "shift", "redraw")
"""Actions after which the event has labels throughout."""


@dataclass(frozen=True)
class Decision:
    """What goes into the log.

    Attributes
    ----------
    action : str
    before, after : dict
    comment : str
    tags : tuple of str
    """

    action: str
    before: dict[str, Any]
    after: dict[str, Any]
    comment: str = ""
    tags: tuple[str, ...] = ()


def apply_decisions(
    labels: AnnotationTable,
    decisions: Sequence[Entry],
    *,
    split: str | None = None,
    policy: Policy = "latest",
    reviewer: str | None = None,
) -> AnnotationTable:
    """Corrected labels of a recording.

    Parameters
    ----------
    labels : AnnotationTable
        The original labels; not changed.
    decisions : sequence of Entry
        A log: lines of other recordings are passed over, undone ones do not count.
    split : str, optional
        Count only lines of this split (needed where two splits have a recording of one name).
    policy : {"latest", "agreed"}
        Whose view counts where several have decided (:mod:`sai_core.review.history`).
    reviewer : str, optional
        Count this reviewer alone.

    Returns
    -------
    AnnotationTable
        The table that was given when nothing is changed.
    """
    return corrected(labels, History(decisions), split=split, policy=policy, reviewer=reviewer).table


def corrected(
    labels: AnnotationTable,
    history: History,
    *,
    split: str | None = None,
    policy: Policy = "latest",
    reviewer: str | None = None,
) -> AppliedEdits:
    """As :func:`apply_decisions`, on a log that is worked out already, with keys and the number of skipped targets."""
    chosen = [
        entry
        for entry in history.applied(policy=policy, reviewer=reviewer)
        if entry.recording == labels.recording and (split is None or entry.split == split)
    ]
    return apply_edits(labels, [edit for entry in chosen for edit in entry.edits])


def decide(
    request: Mapping[str, Any],
    *,
    uid: str,
    item: Item,
    state: ItemState,
    reviewer: str,
    labels: AppliedEdits,
    predictions: Mapping[str, AnnotationTable],
) -> Decision:
    """Work out a decision.

    Parameters
    ----------
    request : mapping
        See the module's description; ``action`` is one of the verdicts, changes and notes.
    uid : str
        Identifier that the log entry will have.
    item : Item
    state : ItemState
        What stands about the item.
    reviewer : str
    labels : AppliedEdits
        The recording's labels as the reviewer sees them.
    predictions : mapping of AnnotationTable
        By system.

    Raises
    ------
    InputError
        A request that makes no sense: unknown action, numbers out of range, nothing to change.
    """
    action = request.get("action")
    comment = str(request.get("comment", "") or "").strip()
    if len(comment) > MAX_COMMENT:
        raise InputError(f"A comment has at most {MAX_COMMENT} characters.")
    if action in NOTES:
        if action == "comment" and not comment:
            raise InputError("Write a comment first.")
        tags = check_tags(request.get("tags", ()))
        text = f"comment: {comment}" if action == "comment" else "tags: " + (", ".join(tags) or "none")
        return Decision(str(action), _before(item, labels, []), {"text": text[:1000]}, comment, tags)
    maker = _MAKERS.get(str(action))
    if maker is None:
        raise InputError(f"The action {str(action)[:30]!r} is unknown.")
    work = _Work(request, uid, item, state, reviewer, labels, predictions)
    edits, text = maker(work)
    filled = _filled(work, edits) if action in _FILLING and request.get("fill") is not False else []
    if filled:
        number = len(added_keys(edits))
        edits = [*edits, {"op": "add", "annotations": added(filled, uid, number)}]
        text = f"{text.rstrip('.')}; {_count(len(filled))} between filled"
    after: dict[str, Any] = {"text": text, "edits": check_edits(edits, where="decision")}
    after |= work.notes
    if filled:
        after["filled"] = [keyframe.frame for keyframe in filled]
    if request.get("settles") is True:
        after["settles"] = True
    return Decision(str(action), _before(item, labels, work.touched), after, comment)


def _count(n: int) -> str:
    return "1 frame" if n == 1 else f"{n} frames"


def _filled(work: _Work, edits: Sequence[Mapping[str, Any]]) -> list[Keyframe]:
    """What lies between the item's labels once edits are applied: its frames without a label of the source."""
    table = work.table
    names = [key for key in (*work.item.targets, *work.added) if key in work.row_of]
    frames = {int(table.frame[work.row_of[key]]) for key in names}
    frames |= {a["frame"] for edit in edits if edit["op"] == "add" for a in edit["annotations"]}
    if any(edit["op"] == "remove" for edit in edits) or not frames or len(frames) == max(frames) - min(frames) + 1:
        return []
    rows = [work.row_of[key] for key in names]
    now = {key: _keyframe(table, row) for key, row in zip(names, rows, strict=True)}
    for edit in edits:
        if edit["op"] == "add":
            for a in edit["annotations"]:
                distance = float("nan") if a["distance_cm"] is None else float(a["distance_cm"])
                parts = parts_from_json(a["parts"])
                now[a["key"]] = Keyframe(a["frame"], a["category"], a["instance"], distance, parts)
            continue
        for key in edit["targets"]:
            if key not in now:
                continue
            if edit["op"] == "set":
                known = {name: edit[name] for name in ("category", "instance", "distance_cm") if name in edit}
                now[key] = replace(now[key], **known)
            elif edit["op"] == "shift":
                parts = shift_parts(now[key].parts, edit["azimuth_deg"], edit["elevation_deg"])
                now[key] = replace(now[key], parts=parts)
            else:
                now[key] = replace(now[key], parts=parts_from_json(edit["parts"]))
    # a frame of the source that the item is not about has a label already
    sources = {(int(table.category_id[row]), int(table.instance_id[row])) for row in rows}
    same = np.zeros(len(table), dtype=bool)
    for category, instance in sources:
        same |= (table.category_id == category) & (table.instance_id == instance)
    taken = set(table.frame[same].tolist())
    return fill(list(now.values()), taken=frozenset(taken))


def _keyframe(table: AnnotationTable, row: int) -> Keyframe:
    return Keyframe(
        int(table.frame[row]),
        int(table.category_id[row]),
        int(table.instance_id[row]),
        float(table.distance_cm[row]),
        field_to_parts(field_of(table, row)),
    )


def _before(item: Item, labels: AppliedEdits, rows: Sequence[int]) -> dict[str, Any]:
    """The item's facts, and the targets as they were."""
    return {"item": item.facts(), "annotations": [_summary(labels, row) for row in rows]}


def _summary(labels: AppliedEdits, row: int) -> dict[str, Any]:
    table = labels.table
    annotation = table.take([row])
    azimuth, elevation = region_peak_direction(annotation)
    distance = float(table.distance_cm[row])
    return {
        "key": labels.keys[row],
        "frame": int(table.frame[row]),
        "category": int(table.category_id[row]),
        "instance": int(table.instance_id[row]),
        "distance_cm": None if np.isnan(distance) else distance,
        "n_points": annotation.n_points,
        "peak_deg": None if np.isnan(azimuth[0]) else [round(float(azimuth[0]), 2), round(float(elevation[0]), 2)],
    }


class _Work:
    """A request with what is needed to answer it."""

    def __init__(
        self,
        request: Mapping[str, Any],
        uid: str,
        item: Item,
        state: ItemState,
        reviewer: str,
        labels: AppliedEdits,
        predictions: Mapping[str, AnnotationTable],
    ) -> None:
        self.request, self.uid, self.item = request, uid, item
        self.labels, self.predictions = labels, predictions
        self.table = labels.table
        self.row_of = {key: row for row, key in enumerate(labels.keys)}
        own = state.view_of(reviewer)
        self.added = added_keys(own.edits) if own is not None else []
        self.own = own.decisions if own is not None else ()
        self.touched: list[int] = []
        self.notes: dict[str, Any] = {}

    def number(self, name: str, low: float, high: float) -> float:
        value = self.request.get(name)
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not low <= value <= high:
            raise InputError(f"{name} must be a number from {low:g} to {high:g}, got {str(value)[:30]}.")
        return float(value)

    def targets(self) -> list[str]:
        """Keys that the request is about, in order of frames; they are noted as touched."""
        scope = self.request.get("scope", "event")
        if scope not in SCOPES:
            raise InputError(f"The scope {str(scope)[:30]!r} is unknown; use one of {', '.join(SCOPES)}.")
        rows = [self.row_of[key] for key in (*self.item.targets, *self.added) if key in self.row_of]
        if scope != "event":
            frame = int(self.number("frame", 0, 10**7))
            rows = [
                r for r in rows if self.table.frame[r] == frame or (scope == "onwards" and self.table.frame[r] > frame)
            ]
        rows = sorted(set(rows))
        if not rows:
            raise InputError(
                "There is no label to change here: none in this frame, or it was removed. Undo, or go to another frame."
                if self.item.targets or self.added
                else "There is no label to change yet: accept the proposal first, then change what it added."
            )
        self.touched = rows
        return [self.labels.keys[row] for row in rows]

    def where(self, keys: Sequence[str]) -> str:
        frames = sorted({int(self.table.frame[self.row_of[key]]) for key in keys})
        return f"frame {frames[0]}" if len(frames) == 1 else f"{len(frames)} frames ({frames[0]} to {frames[-1]})"

    def free_instance(self) -> int:
        """Number that no instance of the recording has."""
        return int(max(self.table.instance_id.max(initial=-1), -1)) + 1


def added_keys(edits: Sequence[Mapping[str, Any]]) -> list[str]:
    """Keys of the annotations that edits add."""
    return [a["key"] for edit in edits if edit["op"] == "add" for a in edit["annotations"]]


_Made = tuple[list[dict[str, Any]], str]


def _accept(work: _Work) -> _Made:
    item, change = work.item, work.item.change
    if item.kind == SOURCE:
        raise InputError("This source was added by hand: there is nothing to accept. Change it, or reject it.")
    if item.kind == MOMENT:
        raise InputError("Nothing is proposed here: change the label, or reject, and it stays as it is.")
    if not change:
        raise InputError("The proposal of this item is not available: choose the systems that it was made from.")
    if "add" in change:
        annotations = []
        instance = work.free_instance()
        for number, (frame, system, row) in enumerate(change["add"]):
            table = work.predictions.get(system)
            if table is None or not 0 <= row < len(table) or table.frame[row] != frame:
                raise InputError(f"{item.recording}: the predictions of {system} have changed; build the queue again.")
            distance = float(table.distance_cm[row])
            annotations.append(
                {
                    "key": new_key(work.uid, number),
                    "frame": int(frame),
                    "category": int(change["category"]),
                    "instance": instance,
                    "distance_cm": None if np.isnan(distance) else round(max(distance, 0.0), 1),
                    "parts": parts_to_json(field_to_parts(field_of(table, row))),
                }
            )
        return [{"op": "add", "annotations": annotations}], f"accepted: {item.proposal}"
    targets = [key for key in item.targets if key in work.row_of]
    work.touched = [work.row_of[key] for key in targets]
    there = set(targets)
    edits: list[dict[str, Any]] = []
    if "remove" in change:
        edits.append({"op": "remove", "targets": targets})
    elif "category" in change:
        edits.append({"op": "set", "targets": targets, "category": change["category"]})
    elif "shifts" in change:
        for key, azimuth, elevation in change["shifts"]:
            if key in there:
                edits.append({"op": "shift", "targets": [key], "azimuth_deg": azimuth, "elevation_deg": elevation})
    elif "split" in change:
        edits.append({"op": "set", "targets": targets, "instance": work.free_instance()})
    elif "distances" in change:
        by_value: dict[float, list[str]] = {}
        for key, value in change["distances"]:
            if key in there:
                by_value.setdefault(value, []).append(key)
        edits += [{"op": "set", "targets": keys, "distance_cm": value} for value, keys in by_value.items()]
    return edits, f"accepted: {item.proposal}"


def _reject(work: _Work) -> _Made:
    return [], "rejected: the label stays as it is."


def _unsure(work: _Work) -> _Made:
    return [], "unsure"


def _class(work: _Work) -> _Made:
    category = int(work.number("category", 0, N_CLASSES - 1))
    targets = work.targets()
    return (
        [{"op": "set", "targets": targets, "category": category}],
        f"class {class_name(category)} in {work.where(targets)}",
    )


def _distance(work: _Work) -> _Made:
    distance = round(work.number("distance_cm", 0, MAX_DISTANCE_CM), 1)
    targets = work.targets()
    return (
        [{"op": "set", "targets": targets, "distance_cm": distance}],
        f"distance {distance:g} cm in {work.where(targets)}",
    )


def _shift(work: _Work) -> _Made:
    azimuth, elevation = work.number("azimuth_deg", -360, 360), work.number("elevation_deg", -180, 180)
    if not azimuth and not elevation:
        raise InputError("Move the region first: drag it, or Shift and an arrow key.")
    targets = work.targets()
    return (
        [{"op": "shift", "targets": targets, "azimuth_deg": azimuth, "elevation_deg": elevation}],
        f"shifted by {azimuth:+g}° azimuth, {elevation:+g}° elevation in {work.where(targets)}",
    )


def _remove(work: _Work) -> _Made:
    targets = work.targets()
    return [{"op": "remove", "targets": targets}], f"removed in {work.where(targets)}"


def _redraw(work: _Work) -> _Made:
    shapes = work.request.get("shapes")
    if not isinstance(shapes, list) or not 1 <= len(shapes) <= _MAX_SHAPES:
        raise InputError("Draw a region first: a box, a lasso or brush strokes.")
    # a fresh mask is one region for all frames; strokes build on each frame's own
    targets = work.targets()
    edits: list[dict[str, Any]] = []
    same: dict[str, list[str]] = {}
    drawn: dict[str, list[list[list[float]]]] = {}
    for key, row in zip(targets, work.touched, strict=True):
        field = field_of(work.table, row)
        for shape in shapes:
            field = draw(field, shape)
        parts = parts_to_json(field_to_parts(field))
        if not parts:
            raise InputError("Nothing is left of the region; remove the label instead.")
        text = repr(parts)
        same.setdefault(text, []).append(key)
        drawn[text] = parts
    edits += [{"op": "region", "targets": keys, "parts": drawn[text]} for text, keys in same.items()]
    return edits, f"region redrawn in {work.where(targets)}"


def draw(field: Field, shape: object) -> Field:
    """Field after one shape of a *redraw* request.

    Raises
    ------
    InputError
        A shape that is none.
    """
    if not isinstance(shape, Mapping):
        raise InputError("A shape must be an object.")
    kind = shape.get("shape")
    if kind == "box":
        return fill_mask(field, box_mask(*_points([shape.get("box")], 4)[0]))
    points = _points(shape.get("points"), 2)
    if kind == "lasso":
        return fill_mask(field, lasso_mask(points))
    if kind in ("brush", "erase"):
        radius, energy = (_points([[shape.get("radius", 5), shape.get("energy", 1)]], 2))[0]
        return brush(field, points, radius_px=radius, energy=energy, erase=kind == "erase")
    raise InputError(f"The shape {str(kind)[:30]!r} is unknown.")


def _points(value: object, size: int) -> list[list[float]]:
    """Rows of numbers from a browser's message."""
    rows = value if isinstance(value, list) else []
    for row in rows:
        if (
            not isinstance(row, list)
            or len(row) != size
            or any(isinstance(v, bool) or not isinstance(v, (int, float)) or not abs(v) < 1e6 for v in row)
        ):
            raise InputError("A shape's points must be rows of numbers.")
    if not rows:
        raise InputError("A shape needs points.")
    return [[float(v) for v in row] for row in rows]


def _source(work: _Work) -> _Made:
    """A keyframe, and what lies between it and its neighbours; what was filled there before goes."""
    frame = int(work.number("frame", 0, 10**7))
    shapes = work.request.get("shapes")
    if not isinstance(shapes, list) or not 1 <= len(shapes) <= _MAX_SHAPES:
        raise InputError("Draw the source's region first: a box, a lasso or brush strokes.")
    rows = {int(work.table.frame[work.row_of[key]]): work.row_of[key] for key in work.added if key in work.row_of}
    filled: set[int] = set()
    for decision in work.own:
        filled |= set(decision.after.get("filled", ()))
        filled.discard(decision.after.get("keyframe", -1))
    order = sorted(f for f in rows if f not in filled and f != frame)
    before = [f for f in order if f < frame][-1:]
    after = [f for f in order if f > frame][:1]
    neighbours = [_keyframe(work.table, rows[f]) for f in (*before, *after)]
    field = field_of(work.table, rows[frame]) if frame in rows else empty_field()
    for shape in shapes:
        field = draw(field, shape)
    parts = field_to_parts(field)
    if not parts:
        raise InputError("Nothing is left of the region; draw it in this frame.")
    if "distance_cm" in work.request:
        distance = work.number("distance_cm", 0, MAX_DISTANCE_CM)
    else:
        distance = neighbours[0].distance_cm if neighbours else float("nan")
    if neighbours:
        category, instance = neighbours[0].category, neighbours[0].instance
    else:
        category, instance = int(work.number("category", 0, N_CLASSES - 1)), work.free_instance()
    keyframe = Keyframe(frame, category, instance, round(distance, 1), parts)
    between = fill([keyframe, *neighbours])
    low, high = before[0] if before else frame, after[0] if after else frame
    gone = [row for f, row in sorted(rows.items()) if f == frame or (f in filled and low < f < high)]
    work.touched = gone
    edits: list[dict[str, Any]] = []
    if gone:
        edits.append({"op": "remove", "targets": [work.labels.keys[row] for row in gone]})
    edits.append({"op": "add", "annotations": added([keyframe, *between], work.uid, 0)})
    work.notes = {"keyframe": frame}
    if between:
        work.notes["filled"] = [k.frame for k in between]
    words = f"; {_count(len(between))} between filled" if between else ""
    return edits, f"{class_name(category)} placed in frame {frame}{words}"


def _split(work: _Work) -> _Made:
    at = work.request.get("at")
    if at == "parts":
        return _split_parts(work)
    frame = int(work.number("at", 0, 10**7))
    targets = work.targets()
    later = [key for key in targets if work.table.frame[work.row_of[key]] >= frame]
    if not later or len(later) == len(targets):
        raise InputError(f"Frame {frame} does not divide this event; go to the first frame of the second instance.")
    work.touched = [work.row_of[key] for key in later]
    instance = work.free_instance()
    return (
        [{"op": "set", "targets": later, "instance": instance}],
        f"split: instance {instance} from frame {frame} on",
    )


def _split_parts(work: _Work) -> _Made:
    """Every connected part of a region beyond the largest becomes an annotation of a new instance."""
    targets = work.targets()
    first = work.free_instance()
    edits: list[dict[str, Any]] = []
    added: list[dict[str, Any]] = []
    most = 1
    for key in targets:
        row = work.row_of[key]
        parts = _joined_at_seam(field_to_parts(field_of(work.table, row)))
        if len(parts) < 2:
            continue
        most = max(most, len(parts))
        parts.sort(key=lambda p: -sum(len(energy) for _, energy in p))
        edits.append({"op": "region", "targets": [key], "parts": parts_to_json(parts[0])})
        distance = float(work.table.distance_cm[row])
        for number, part in enumerate(parts[1:]):
            added.append(
                {
                    "key": new_key(work.uid, len(added)),
                    "frame": int(work.table.frame[row]),
                    "category": int(work.table.category_id[row]),
                    "instance": first + number,
                    "distance_cm": None if np.isnan(distance) else distance,
                    "parts": parts_to_json(part),
                }
            )
    if not added:
        raise InputError(
            "The region has only one part; to split in time, go to the first frame of the second instance."
        )
    return (
        [*edits, {"op": "add", "annotations": added}],
        f"split into {most} parts in {work.where(targets)}",
    )


def _joined_at_seam(parts: Parts) -> list[Parts]:
    """Parts grouped so that what touches across the seam stays together."""
    groups: list[Parts] = [[part] for part in parts]
    for left in list(groups):
        rows = {int(y) for x, y in left[0][0].tolist() if x == 0}
        if not rows or left not in groups:
            continue
        for right in list(groups):
            if right is left:
                continue
            touching = {int(y) for points, _ in right for x, y in points.tolist() if x == 359}
            if any(y + d in touching for y in rows for d in (-1, 0, 1)):
                left += right
                groups.remove(right)
    return groups


def _merge(work: _Work) -> _Made:
    instance = int(work.number("instance", -1, 2**53))
    targets = work.targets()
    table = work.table
    edits: list[dict[str, Any]] = []
    moved: list[str] = []
    gone: list[str] = []
    for key in targets:
        row = work.row_of[key]
        rows = table.frame_slice(int(table.frame[row]))
        partners = [
            partner
            for partner in range(rows.start, rows.stop)
            if table.instance_id[partner] == instance
            and table.category_id[partner] == table.category_id[row]
            and work.labels.keys[partner] not in targets
        ]
        if not partners:
            moved.append(key)
            continue
        joined = union([field_of(table, row), *(field_of(table, partner) for partner in partners)])
        keep = work.labels.keys[partners[0]]
        edits.append({"op": "region", "targets": [keep], "parts": parts_to_json(field_to_parts(joined))})
        gone.append(key)
    if all(table.instance_id[work.row_of[key]] == instance for key in targets) or not np.any(
        table.instance_id == instance
    ):
        raise InputError("Choose another instance of this recording to merge with.")
    if moved:
        edits.append({"op": "set", "targets": moved, "instance": instance})
    if gone:
        edits.append({"op": "remove", "targets": gone})
    return edits, f"merged into instance {instance} in {work.where(targets)}"


_MAKERS = {
    "accept": _accept,
    "reject": _reject,
    "unsure": _unsure,
    "class": _class,
    "distance": _distance,
    "shift": _shift,
    "redraw": _redraw,
    "remove": _remove,
    "source": _source,
    "split": _split,
    "merge": _merge,
}
