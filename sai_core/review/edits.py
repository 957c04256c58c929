"""Changes of labels as plain JSON, and their application to a table.

A decision keeps what it does as a short list of *edits*. An edit names the annotations it changes by **keys** that
never change, whatever was edited before:

* ``"<frame>.<class>.<instance>.<n>"``: the n-th annotation (file order) of this frame, class and instance in the
  *original* label file;
* ``"new.<entry>.<k>"``: the k-th annotation that the decision with this identifier added.

==========  ============================================================  ==========================================
``op``      fields beside ``targets``                                     effect
==========  ============================================================  ==========================================
set         any of ``category``, ``instance``, ``distance_cm``            columns of the targets
shift       ``azimuth_deg`` (to the left), ``elevation_deg`` (up)         region moved over the sphere's canvas
region      ``parts`` [[[x, y, energy], ...], ...]                        region replaced (label grid)
remove                                                                    annotations taken out
add         ``annotations`` [{key, frame, category, instance,             annotations put in (no ``targets``)
            distance_cm, parts}]
==========  ============================================================  ==========================================

Edits are applied in the order of decisions. A target that is no longer there (another decision removed it, or the
label file was replaced by another one) is skipped and counted, never guessed at.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from sai_core.annotations.table import AnnotationTable
from sai_core.errors import InputError
from sai_core.geometry import ERP_HEIGHT, ERP_WIDTH
from sai_core.taxonomy import N_CLASSES

Parts = list[tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]]
"""Polygon lists of one annotation: ``(points_xy (m, 2), energy (m,))`` each."""

OPS: Final[tuple[str, ...]] = ("set", "shift", "region", "remove", "add")
MAX_TARGETS: Final[int] = 20_000
"""Annotations that one edit may name: a source that sounds for half an hour."""

MAX_POINTS: Final[int] = 4_000_000
"""Points in the regions of one decision."""

MAX_FRAME: Final[int] = 10_000_000
MAX_INSTANCE: Final[int] = 2**53
MAX_DISTANCE_CM: Final[float] = 1e6

_KEY: Final = re.compile(r"(?:\d{1,8}\.\d{1,2}\.-?\d{1,19}\.\d{1,5}|new\.[0-9a-f]{32}\.\d{1,6})", flags=re.ASCII)


def annotation_keys(table: AnnotationTable) -> list[str]:
    """Key of every annotation of an original label table (module docstring), in row order."""
    seen: Counter[tuple[int, int, int]] = Counter()
    keys = []
    columns = zip(table.frame.tolist(), table.category_id.tolist(), table.instance_id.tolist(), strict=True)
    for triple in columns:
        keys.append("{}.{}.{}.{}".format(*triple, seen[triple]))
        seen[triple] += 1
    return keys


def new_key(entry: str, number: int) -> str:
    """Key of an annotation that a decision adds."""
    return f"new.{entry}.{number}"


def parts_to_json(parts: Parts) -> list[list[list[float]]]:
    """Polygon lists as JSON; whole numbers as integers, which is a third of the text."""

    def short(value: float) -> float:
        return int(value) if value == int(value) else value

    return [
        [[short(x), short(y), e] for (x, y), e in zip(points.tolist(), energy.tolist(), strict=True)]
        for points, energy in parts
    ]


def parts_from_json(parts: Sequence[Sequence[Sequence[float]]]) -> Parts:
    """Inverse of :func:`parts_to_json`."""
    result: Parts = []
    for part in parts:
        rows = np.array(part, dtype=np.float64).reshape(-1, 3)
        result.append((rows[:, :2].copy(), rows[:, 2].copy()))
    return result


def check_edits(value: object, *, where: str = "edits") -> list[dict[str, Any]]:
    """Edits from JSON of unknown origin, with unknown fields refused.

    Raises
    ------
    InputError
        Anything that :func:`apply_edits` could not apply.
    """
    if not isinstance(value, list):
        raise InputError(f"{where}: must be a list.")
    n_points = 0
    result = []
    for number, edit in enumerate(value):
        place = f"{where}[{number}]"
        if not isinstance(edit, Mapping) or edit.get("op") not in OPS:
            raise InputError(f"{place}: must name an op of {', '.join(OPS)}.")
        op = edit["op"]
        allowed = {
            "set": {"op", "targets", "category", "instance", "distance_cm"},
            "shift": {"op", "targets", "azimuth_deg", "elevation_deg"},
            "region": {"op", "targets", "parts"},
            "remove": {"op", "targets"},
            "add": {"op", "annotations"},
        }[op]
        if unknown := set(edit) - allowed:
            raise InputError(f"{place}: has an unknown field {str(sorted(map(str, unknown))[0])[:40]!r}.")
        checked: dict[str, Any] = {"op": op}
        if op == "add":
            annotations = edit.get("annotations")
            if not isinstance(annotations, list) or len(annotations) > MAX_TARGETS:
                raise InputError(f"{place}: annotations must be a list of at most {MAX_TARGETS}.")
            checked["annotations"] = [_check_added(a, f"{place}.annotations[{k}]") for k, a in enumerate(annotations)]
            n_points += sum(len(part) for a in checked["annotations"] for part in a["parts"])
        else:
            checked["targets"] = _check_targets(edit.get("targets"), place)
        if op == "set":
            checked |= _check_columns(edit, place)
        elif op == "shift":
            checked["azimuth_deg"] = _number(edit.get("azimuth_deg", 0), -360, 360, f"{place}.azimuth_deg")
            checked["elevation_deg"] = _number(edit.get("elevation_deg", 0), -180, 180, f"{place}.elevation_deg")
        elif op == "region":
            checked["parts"] = _check_parts(edit.get("parts"), f"{place}.parts")
            n_points += sum(len(part) for part in checked["parts"])
        if n_points > MAX_POINTS:
            raise InputError(f"{where}: has more than {MAX_POINTS} points.")
        result.append(checked)
    return result


def _check_targets(value: object, place: str) -> list[str]:
    if not isinstance(value, list) or len(value) > MAX_TARGETS:
        raise InputError(f"{place}: targets must be a list of at most {MAX_TARGETS} annotation keys.")
    for key in value:
        if not isinstance(key, str) or not _KEY.fullmatch(key):
            raise InputError(f"{place}: {str(key)[:40]!r} is not an annotation key.")
    return list(value)


def _check_columns(edit: Mapping[str, Any], place: str) -> dict[str, Any]:
    result: dict[str, Any] = {}
    if "category" in edit:
        result["category"] = _whole(edit["category"], 0, N_CLASSES - 1, f"{place}.category")
    if "instance" in edit:
        result["instance"] = _whole(edit["instance"], -MAX_INSTANCE, MAX_INSTANCE, f"{place}.instance")
    if "distance_cm" in edit:
        value = edit["distance_cm"]
        result["distance_cm"] = None if value is None else _number(value, 0, MAX_DISTANCE_CM, f"{place}.distance_cm")
    if not result:
        raise InputError(f"{place}: sets nothing.")
    return result


def _check_added(value: object, place: str) -> dict[str, Any]:
    names = {"key", "frame", "category", "instance", "distance_cm", "parts"}
    if not isinstance(value, Mapping) or set(value) != names:
        raise InputError(f"{place}: must have exactly the fields {', '.join(sorted(names))}.")
    (key,) = _check_targets([value["key"]], place)
    if not key.startswith("new."):
        raise InputError(f"{place}: the key of an added annotation begins with 'new.'.")
    return {
        "key": key,
        "frame": _whole(value["frame"], 0, MAX_FRAME, f"{place}.frame"),
        **_check_columns({k: value[k] for k in ("category", "instance", "distance_cm")}, place),
        "parts": _check_parts(value["parts"], f"{place}.parts"),
    }


def _check_parts(value: object, place: str) -> list[list[list[float]]]:
    if not isinstance(value, list):
        raise InputError(f"{place}: must be a list of point lists.")
    for part in value:
        if not isinstance(part, list):
            raise InputError(f"{place}: must be a list of point lists.")
        for point in part:
            if not isinstance(point, list) or len(point) != 3:
                raise InputError(f"{place}: a point is [x, y, energy].")
            _number(point[0], 0, ERP_WIDTH, f"{place}: x")
            _number(point[1], 0, ERP_HEIGHT, f"{place}: y")
            _number(point[2], -1e6, 1e6, f"{place}: energy")
    return [list(part) for part in value]


def _number(value: object, low: float, high: float, place: str) -> float:
    # the comparison is False for NaN
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not low <= value <= high:
        raise InputError(f"{place}: expected a number from {low:g} to {high:g}, got {str(value)[:40]}.")
    return value


def _whole(value: object, low: int, high: int, place: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise InputError(f"{place}: expected a whole number from {low} to {high}, got {str(value)[:40]}.")
    return value


@dataclass
class _Row:
    """An annotation of the working copy."""

    order: tuple[int, int]
    frame: int
    category: int
    instance: int
    distance_cm: float
    score: float
    source: int  # row of the original table, -1 for an added one
    parts: Parts | None = None  # None: those of the source


@dataclass(frozen=True)
class AppliedEdits:
    """A table after edits.

    Attributes
    ----------
    table : AnnotationTable
        The very table given when nothing was changed.
    keys : tuple of str
        Key of each of its annotations.
    n_skipped : int
        Targets that were not there.
    """

    table: AnnotationTable
    keys: tuple[str, ...]
    n_skipped: int


def apply_edits(labels: AnnotationTable, edits: Iterable[Mapping[str, Any]]) -> AppliedEdits:
    """Apply checked edits in order.

    Parameters
    ----------
    labels : AnnotationTable
        The original labels; not changed.
    edits : iterable of mapping
        As :func:`check_edits` gives them.

    Returns
    -------
    AppliedEdits
        Within a frame, original annotations keep the order of the file and added ones follow.
    """
    keys = annotation_keys(labels)
    edits = list(edits)
    if not edits:
        return AppliedEdits(labels, tuple(keys), 0)
    row_of = {key: number for number, key in enumerate(keys)}
    touched: dict[str, _Row] = {}
    removed: set[str] = set()
    n_skipped = n_added = 0
    changed = False

    def look_up(key: str) -> _Row | None:
        if key in removed:
            return None
        row = touched.get(key)
        if row is None and key in row_of:
            k = row_of[key]
            row = _Row(
                (0, k),
                int(labels.frame[k]),
                int(labels.category_id[k]),
                int(labels.instance_id[k]),
                float(labels.distance_cm[k]),
                float(labels.score[k]),
                k,
            )
            touched[key] = row
        return row

    for edit in edits:
        if edit["op"] == "add":
            for added in edit["annotations"]:
                if added["key"] in touched or added["key"] in row_of:
                    n_skipped += 1
                    continue
                n_added += 1
                changed = True
                removed.discard(added["key"])
                touched[added["key"]] = _Row(
                    (1, n_added),
                    added["frame"],
                    added["category"],
                    added["instance"],
                    _distance(added["distance_cm"]),
                    float("nan"),
                    -1,
                    parts_from_json(added["parts"]),
                )
            continue
        for key in edit["targets"]:
            row = look_up(key)
            if row is None:
                n_skipped += 1
                continue
            changed = True
            if edit["op"] == "remove":
                removed.add(key)
                touched.pop(key, None)
            elif edit["op"] == "set":
                row.category = edit.get("category", row.category)
                row.instance = edit.get("instance", row.instance)
                if "distance_cm" in edit:
                    row.distance_cm = _distance(edit["distance_cm"])
            elif edit["op"] == "shift":
                parts = row.parts if row.parts is not None else labels.polygons(row.source)
                row.parts = shift_parts(parts, edit["azimuth_deg"], edit["elevation_deg"])
            else:
                row.parts = parts_from_json(edit["parts"])
    if not changed:
        return AppliedEdits(labels, tuple(keys), n_skipped)
    return AppliedEdits(*_assemble(labels, keys, touched, removed), n_skipped)


def _distance(value: float | None) -> float:
    return float("nan") if value is None else float(value)


def _assemble(
    labels: AnnotationTable, keys: list[str], touched: dict[str, _Row], removed: set[str]
) -> tuple[AnnotationTable, tuple[str, ...]]:
    """Table and keys of the working copy, sorted by frame."""
    columns = {
        name: getattr(labels, name).tolist() for name in ("frame", "category_id", "instance_id", "distance_cm", "score")
    }
    rows = [
        touched.get(key)
        or _Row(
            (0, k),
            columns["frame"][k],
            columns["category_id"][k],
            columns["instance_id"][k],
            columns["distance_cm"][k],
            columns["score"][k],
            k,
        )
        for k, key in enumerate(keys)
        if key not in removed
    ]
    names = [key for key in keys if key not in removed]
    for key, row in touched.items():
        if row.source < 0:
            rows.append(row)
            names.append(key)
    order = sorted(range(len(rows)), key=lambda i: (rows[i].frame, rows[i].order))
    rows = [rows[i] for i in order]
    parts = [row.parts if row.parts is not None else labels.polygons(row.source) for row in rows]
    flat = [part for item in parts for part in item]
    sizes = [len(energy) for _, energy in flat]
    table = AnnotationTable(
        labels.recording,
        np.array([row.frame for row in rows], dtype=np.int32),
        np.array([row.category for row in rows], dtype=np.int16),
        np.array([row.instance for row in rows], dtype=np.int64),
        np.array([row.distance_cm for row in rows], dtype=np.float64),
        np.array([row.score for row in rows], dtype=np.float64),
        np.concatenate([[0], np.cumsum([len(item) for item in parts])]).astype(np.int64),
        np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64),
        np.concatenate([points for points, _ in flat]) if flat else np.zeros((0, 2)),
        np.concatenate([energy for _, energy in flat]) if flat else np.zeros(0),
    )
    return table, tuple(names[i] for i in order)


def shift_parts(parts: Parts, azimuth_deg: float, elevation_deg: float) -> Parts:
    """Polygon lists moved on the label grid, one pixel a degree.

    Azimuth grows to the left, so that +10 moves a region ten columns to the left, through the seam where needed; a
    list that comes to lie on both sides of the seam becomes two. Up and down the region stops at the canvas's edge,
    so that no point is lost. A region of whole pixels moves by whole pixels.
    """
    if not any(len(energy) for _, energy in parts):
        return parts
    every = np.concatenate([points for points, _ in parts])
    whole = bool(np.all(every == np.floor(every)))
    dx, dy = -float(azimuth_deg), -float(elevation_deg)
    if whole:
        dx, dy = float(round(dx)), float(round(dy))
    last = ERP_HEIGHT - 1 if whole else ERP_HEIGHT
    lowest, highest = float(every[:, 1].min()), float(every[:, 1].max())
    dy = min(max(dy, -lowest), max(last - highest, 0.0))
    result: Parts = []
    for points, energy in parts:
        x = points[:, 0] + dx
        turn = np.floor(x / ERP_WIDTH)
        moved = np.column_stack([x - turn * ERP_WIDTH, points[:, 1] + dy])
        for value in np.unique(turn) if len(turn) else [0.0]:
            here = turn == value
            result.append((moved[here], energy[here].copy()))
    return result
