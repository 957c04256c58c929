"""Small tables, roots and logs for the review's tests. Drawn, not simulated."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from sai_core.annotations import AnnotationTable
from sai_core.review.deciding import Decision, decide
from sai_core.review.edits import apply_edits
from sai_core.review.entries import Entry, new_uid
from sai_core.review.history import History
from sai_core.review.queue import Item
from sai_core.review.store import ReviewStore
from tests.figures.scenes import blob, table_of

RECORDING = "fold4_room23_mix001"


def track(
    category: int,
    instance: int,
    frames: range,
    *,
    x: float = 100,
    y: float = 80,
    distance: float = 200,
    score: float = np.nan,
) -> list[tuple[Any, ...]]:
    """Rows of a source that stands still."""
    points, energy = blob(x, y, 6)
    return [(k, category, instance, distance, score, points, energy) for k in frames]


def table(*tracks: list[tuple[Any, ...]], recording: str = RECORDING) -> AnnotationTable:
    return table_of(recording, [row for rows in tracks for row in rows])


def same_table(a: AnnotationTable, b: AnnotationTable) -> bool:
    names = ("frame", "category_id", "instance_id", "distance_cm", "score", "polygon_offsets", "point_offsets")
    return all(
        np.array_equal(getattr(a, n), getattr(b, n), equal_nan=n in ("distance_cm", "score"))
        for n in (*names, "points_xy", "energy")
    )


def entry(action: str, *, item: str = "i", reviewer: str = "ann", time: int = 0, **more: Any) -> Entry:
    return Entry(
        uid=more.pop("uid", new_uid()),
        time_utc=f"2026-07-01T12:00:{time // 10**6:02d}.{time % 10**6:06d}Z",
        reviewer=reviewer,
        split=more.pop("split", "s"),
        recording=more.pop("recording", RECORDING),
        item=item,
        action=action,
        **more,
    )


def decide_on(
    item: Item,
    labels: AnnotationTable,
    request: dict[str, Any],
    *,
    predictions: dict[str, AnnotationTable] | None = None,
    log: tuple[Entry, ...] = (),
    reviewer: str = "ann",
    uid: str | None = None,
) -> Decision:
    history = History(log)
    edits = [edit for e in history.seen_by(reviewer, item.id) for edit in e.edits]
    return decide(
        request,
        uid=uid or new_uid(),
        item=item,
        state=history.state(item.id),
        reviewer=reviewer,
        labels=apply_edits(labels, edits),
        predictions=predictions or {},
    )


def put(store: ReviewStore, item: Item, decision: Decision, *, reviewer: str = "ann", uid: str | None = None) -> Entry:
    return store.append(
        uid=uid,
        reviewer=reviewer,
        split=item.split,
        recording=item.recording,
        item=item.id,
        action=decision.action,
        before=decision.before,
        after=decision.after,
        comment=decision.comment,
        tags=decision.tags,
    )


def files_of(root: Path) -> dict[str, bytes]:
    return {str(p.relative_to(root)): p.read_bytes() for p in sorted(root.rglob("*")) if p.is_file()}
