"""Findings about a table that reads fine and still may not be what its author meant."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
import numpy.typing as npt

from sai_core.annotations.table import AnnotationTable
from sai_core.annotations.writing import submission_pieces
from sai_core.errors import InputError
from sai_core.geometry import ERP_HEIGHT, ERP_WIDTH
from sai_core.taxonomy import class_name

MAX_SUBMISSION_BYTES: Final[int] = 20 * 1024 * 1024
"""Largest submission file that the challenge and its evaluator accept (metrics notes, 2026-06-30, point 8)."""


@dataclass(frozen=True)
class Issue:
    """One finding.

    Attributes
    ----------
    code : str
        Stable name, e.g. ``"exact_duplicates"``; the names are the keys of ``CODES``.
    severity : {"error", "warning", "info"}
        Whether the official evaluator refuses the file, figures suffer, or it is only worth knowing.
    message : str
        One sentence with the count.
    annotations : tuple of int
        Indices into the table, rising; empty for findings about the whole table.
    """

    code: str
    severity: Literal["error", "warning", "info"]
    message: str
    annotations: tuple[int, ...] = ()


CODES: Final[dict[str, str]] = {
    "exact_duplicates": "the same annotation stands in the table more than once",
    "no_points": "an annotation has no points",
    "zero_energy": "an annotation has points, none with energy above zero",
    "outside_canvas": "a point lies outside [0, 360] x [0, 180]",
    "same_source_twice": "two different annotations of one class and instance in one frame",
    "missing_score": "a submission's annotation has no score",
    "tied_scores": "predictions of one class have the same score",
    "too_large": "a submission is larger than the challenge allows",
}


def validate_table(table: AnnotationTable, *, kind: Literal["label", "submission"] = "label") -> list[Issue]:
    """Look for what makes figures wrong or a submission invalid.

    Parameters
    ----------
    table : AnnotationTable
        Any table; not changed.
    kind : {"label", "submission"}
        Scores, ties and size are looked at in a submission only.

    Returns
    -------
    list of Issue
        In the order of ``CODES``; empty if there is nothing to say.

    Raises
    ------
    InputError
        An unknown ``kind``.
    """
    if kind not in ("label", "submission"):
        raise InputError(f"kind must be 'label' or 'submission', got {kind!r}.")
    duplicates = exact_duplicates(table)
    n_points = _points_per_annotation(table)
    peak = _reduce_points(table, table.energy, np.maximum.reduceat, -np.inf)
    issues = [
        _issue("exact_duplicates", "warning", duplicates, "repeat another annotation exactly"),
        _issue("no_points", "warning", n_points == 0, "have no points (they render empty and still count)"),
        _issue("zero_energy", "warning", (n_points > 0) & (peak <= 0), "have no energy above zero (they render empty)"),
        _issue(
            "outside_canvas",
            "error" if kind == "submission" else "warning",
            _outside(table),
            f"have points outside [0, {ERP_WIDTH}] x [0, {ERP_HEIGHT}] (the evaluator of 2026-06-30 refuses the file)",
        ),
        _issue(
            "same_source_twice",
            "info",
            _repeated(table.frame, table.category_id, table.instance_id) & ~duplicates & (table.instance_id >= 0),
            "share frame, class and instance with an earlier annotation",
        ),
    ]
    if kind == "submission":
        issues.append(
            _issue("missing_score", "warning", np.isnan(table.score), "have no score (the evaluator takes it as 0)")
        )
        issues += _tied_scores(table)
        issues += _too_large(table)
    return [issue for issue in issues if issue is not None]


def exact_duplicates(table: AnnotationTable) -> npt.NDArray[np.bool_]:
    """Which annotations repeat an earlier one in every column and every point, shape (n,).

    Labels whose region has two parts were written twice by the official labelling code (domain notes, section 8).
    """
    result = np.zeros(len(table), dtype=bool)
    n_points = _points_per_annotation(table)
    key = (table.frame, table.category_id, table.instance_id, np.diff(table.polygon_offsets), n_points)
    # only annotations that agree in these cheap columns are compared by content
    order = np.lexsort(key[::-1])
    same = np.ones(max(len(table) - 1, 0), dtype=bool)
    for column in key:
        same &= np.diff(column[order]) == 0
    candidates = np.zeros(len(table), dtype=bool)
    candidates[order[1:][same]] = True
    candidates[order[:-1][same]] = True
    seen: set[bytes] = set()
    for index in np.flatnonzero(candidates).tolist():
        digest = _digest(table, index)
        result[index] = digest in seen
        seen.add(digest)
    return result


def count_exact_duplicates(table: AnnotationTable) -> int:
    """Number of annotations that repeat an earlier one exactly."""
    return int(exact_duplicates(table).sum())


def drop_exact_duplicates(table: AnnotationTable) -> AnnotationTable:
    """Table without the annotations that repeat an earlier one exactly (the same object if there are none)."""
    repeated = exact_duplicates(table)
    return table.take(~repeated) if repeated.any() else table


def _digest(table: AnnotationTable, index: int) -> bytes:
    digest = hashlib.blake2b(digest_size=16)
    start, stop = int(table.polygon_offsets[index]), int(table.polygon_offsets[index + 1])
    xy, energy = table.points(index)
    for column in (
        table.frame[index : index + 1],
        table.category_id[index : index + 1],
        table.instance_id[index : index + 1],
        # + 0.0 makes the two zeros one; NaN (absent) has one pattern in tables that were read
        table.distance_cm[index : index + 1] + 0.0,
        table.score[index : index + 1] + 0.0,
        np.diff(table.point_offsets[start : stop + 1]),
        xy + 0.0,
        energy + 0.0,
    ):
        digest.update(np.ascontiguousarray(column).data)
    return digest.digest()


def _points_per_annotation(table: AnnotationTable) -> npt.NDArray[np.int64]:
    return np.diff(table.point_offsets[table.polygon_offsets])


def _reduce_points(
    table: AnnotationTable,
    values: npt.NDArray,
    reduceat: Callable[[npt.NDArray, npt.NDArray], npt.NDArray],
    empty: float,
) -> npt.NDArray:
    """Reduce values of points to one for each annotation; ``empty`` for annotations without points."""
    bounds = table.point_offsets[table.polygon_offsets]
    filled = np.diff(bounds) > 0
    result = np.full(len(table), empty)
    if filled.any():
        # empty annotations have no range of their own: leave their starts out, the ranges of the others still adjoin
        result[filled] = reduceat(values, bounds[:-1][filled])
    return result


def _outside(table: AnnotationTable) -> npt.NDArray[np.bool_]:
    result = np.zeros(len(table), dtype=bool)
    for column, limit in ((0, ERP_WIDTH), (1, ERP_HEIGHT)):
        values = table.points_xy[:, column]
        result |= _reduce_points(table, values, np.minimum.reduceat, 0.0) < 0
        result |= _reduce_points(table, values, np.maximum.reduceat, 0.0) > limit
    return result


def _repeated(*columns: npt.NDArray) -> npt.NDArray[np.bool_]:
    """Rows whose values in all columns were there before."""
    n = len(columns[0])
    result = np.zeros(n, dtype=bool)
    if n:
        order = np.lexsort(columns[::-1])  # stable: the first of equals stays first
        same = np.ones(n - 1, dtype=bool)
        for column in columns:
            same &= np.diff(column[order]) == 0
        result[order[1:][same]] = True
    return result


def _issue(
    code: str, severity: Literal["error", "warning", "info"], mask: npt.NDArray[np.bool_], text: str
) -> Issue | None:
    indices = np.flatnonzero(mask).tolist()
    if not indices:
        return None
    noun = "annotation" if len(indices) == 1 else "annotations"
    return Issue(code, severity, f"{len(indices)} of {len(mask)} {noun} {text}.", tuple(indices))


def _tied_scores(table: AnnotationTable) -> list[Issue]:
    scored = ~np.isnan(table.score)
    category, score = table.category_id[scored], table.score[scored]
    order = np.lexsort((score, category))
    same = (np.diff(category[order]) == 0) & (np.diff(score[order]) == 0)
    tied = np.zeros(len(order), dtype=bool)
    tied[order[1:][same]] = True
    tied[order[:-1][same]] = True
    if not tied.any():
        return []
    classes = ", ".join(class_name(k) for k in np.unique(category[tied]).tolist())
    return [
        Issue(
            "tied_scores",
            "info",
            f"{int(tied.sum())} annotations share their score with another of the class ({classes}); "
            "the official figures then depend on the order of records.",
            tuple(np.flatnonzero(scored)[tied].tolist()),
        )
    ]


def _too_large(table: AnnotationTable) -> list[Issue]:
    size = 0
    try:
        for piece in submission_pieces(table):
            size += len(piece)
            if size > MAX_SUBMISSION_BYTES:
                break
    except InputError:
        # what cannot be written has no size; the other findings say why
        return []
    if size <= MAX_SUBMISSION_BYTES:
        return []
    return [
        Issue(
            "too_large",
            "error",
            f"The submission is larger than {MAX_SUBMISSION_BYTES // 2**20} MB even written compactly; compress it.",
        )
    ]
