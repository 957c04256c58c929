"""One reviewer's desk in one tab: what the browser asked for is done, and the answer is put together."""

from __future__ import annotations

import math
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import numpy as np
import streamlit as st

from pages.components import review_desk, review_jobs
from pages.components import state_keys as keys
from pages.components.address import explorer_link
from pages.components.text import plain
from sai_core.dataset import DataRoot, PredictionSet
from sai_core.errors import SaiError
from sai_core.figures.colormaps import sequential_lut
from sai_core.figures.player import pack
from sai_core.figures.recording_view import is_simulated
from sai_core.review import KIND_TITLES, Item, Queue, ReviewStore
from sai_core.review.desk import Desk, Filters, place
from sai_core.review.edits import AppliedEdits
from sai_core.review.moment import moment
from sai_core.taxonomy import CLASS_COLORS, CLASS_NAMES, SHORT_NAMES, class_name

_ROWS_BEFORE, _ROWS_AFTER = 60, 140
_MAX_HANDLED = 200


@st.fragment
def show_desk(
    root: DataRoot, systems: list[PredictionSet], queue: Queue, store: ReviewStore, reviewer: str, filters: Filters
) -> None:
    """Show the desk and do what the browser asks for; only this function runs again for it."""
    request = review_desk.current_request(keys.REVIEW_DESK)
    state = st.session_state
    handled: list[str] = state.setdefault(keys.REVIEW_HANDLED, [])
    error, note = "", ""
    frame: int | None = None
    try:
        desk = Desk(queue, store, reviewer, lambda item: review_jobs.material_of(root, systems, item))
    except SaiError as problem:
        st.error(plain(problem))
        return
    current = _current(desk, filters)
    for action in request.actions:
        uid = action.get("uid")
        if not isinstance(uid, str) or uid in handled:
            continue
        handled.append(uid)
        if action.get("action") == "look":
            looked = action.get("frame")
            frame = looked if isinstance(looked, int) and 0 <= looked < 10**7 else None
            continue
        try:
            outcome = desk.perform(action, filters)
        except SaiError as problem:
            error = str(problem)
            continue
        note = outcome.note or note
        if outcome.saved_utc:
            state[keys.REVIEW_SAID] = outcome.saved_utc
        if outcome.item is not None:
            current = outcome.item or None
    del handled[:-_MAX_HANDLED]
    if current is not None and current != state.get(keys.REVIEW_ITEM):
        frame = None
    state[keys.REVIEW_ITEM] = current
    item = desk.by_id.get(current or "")
    parts: dict[str, bytes] = {}
    labels: AppliedEdits | None = None
    if item is not None:
        try:
            parts["moment"], labels = _moment(root, systems, desk, item, frame, request)
        except SaiError as problem:
            error = error or str(problem)
    header = {
        "ack": request.seq,
        "handled": [a["uid"] for a in request.actions if a.get("uid") in handled],
        "error": error,
        "note": note,
        "saved": _clock(state.get(keys.REVIEW_SAID, "")),
        "reviewer": reviewer,
        "show": filters.show,
        "counts": desk.counts(filters),
        "settling": item is not None and filters.show == "conflict" and desk.state(item).status == "conflict",
        "classes": [
            {"name": name, "short": SHORT_NAMES[k], "color": CLASS_COLORS[k]} for k, name in enumerate(CLASS_NAMES)
        ],
        # with every message: what the request says is there may belong to a desk that was taken down since
        "lut": sequential_lut("magma").tobytes().hex(),
        "empty": _empty(desk, filters),
        **_rows(desk, filters, current),
        **_steps(desk),
        "item": _facts(root, systems, desk, item, labels) if item is not None else None,
    }
    review_desk.mount(pack(header, parts), key=keys.REVIEW_DESK)
    listed = desk.listed(filters)
    at = next((k for k, other in enumerate(listed) if other.id == current), -1)
    review_jobs.prepare(root, systems, listed[at + 1 : at + 3], reviewer=reviewer)


def _current(desk: Desk, filters: Filters) -> str | None:
    """Item to show: the one of before while the filters let it through, else the first.

    An item that has just been decided leaves the list of what is to do and may still be looked at; when another list
    is chosen, its top comes up.
    """
    state = st.session_state
    kept = state.get(keys.REVIEW_ITEM)
    same_list = state.get(keys.REVIEW_LIST) == filters.show
    state[keys.REVIEW_LIST] = filters.show
    listed = desk.listed(filters)
    allowed = desk.listed(replace(filters, show="all")) if same_list else listed
    if any(item.id == kept for item in allowed):
        return str(kept)
    return listed[0].id if listed else None


def _moment(
    root: DataRoot,
    systems: list[PredictionSet],
    desk: Desk,
    item: Item,
    frame: int | None,
    request: review_desk.Request,
) -> tuple[bytes, AppliedEdits]:
    view = review_jobs.view_of(root, systems, item)
    labels = desk.labels(item)
    data = moment(
        view,
        item,
        labels,
        frame=item.frame if frame is None else min(frame, max(view.n_frames - 1, item.end)),
        targets=desk.targets(item),
        metadata=review_jobs.material_of(root, systems, item).metadata,
        have=request.have,
    )
    return data, labels


def _rows(desk: Desk, filters: Filters, current: str | None) -> dict[str, Any]:
    listed = desk.listed(filters)
    at = next((k for k, item in enumerate(listed) if item.id == current), 0)
    first = max(at - _ROWS_BEFORE, 0)
    part = listed[first : at + _ROWS_AFTER]
    return {
        "total": len(listed),
        "first": first,
        "rows": [
            {
                "id": item.id,
                "title": KIND_TITLES[item.kind],
                "category": item.category_id,
                "class_name": class_name(item.category_id),
                "place": place(item),
                "recording": item.recording,
                "start": item.start,
                "end": item.end,
                "score": round(item.score, 3),
                "status": desk.state(item).status,
            }
            for item in part
        ],
    }


def _steps(desk: Desk) -> dict[str, str]:
    undo, redo = desk.history.undo_target(desk.reviewer), desk.history.redo_target(desk.reviewer)
    return {"can_undo": undo.text if undo else "", "can_redo": redo.text if redo else ""}


def _facts(
    root: DataRoot, systems: list[PredictionSet], desk: Desk, item: Item, labels: AppliedEdits | None
) -> dict[str, Any]:
    state = desk.state(item)
    own = state.view_of(desk.reviewer)
    names = [system.name for system in systems]
    return {
        "id": item.id,
        "title": KIND_TITLES[item.kind],
        "category": item.category_id,
        "class_name": class_name(item.category_id),
        "recording": item.recording,
        "place": place(item),
        "simulated": is_simulated(root.recording(item.recording, item.split)) if _is_there(root, item) else False,
        "start": item.start,
        "end": item.end,
        "score": item.score,
        "reason": item.reason,
        "proposal": item.proposal,
        "status": state.status,
        "own": own.decisions[-1].action if own is not None else "",
        "tags": list(state.tags),
        "distance": _distance(desk, item, labels),
        "instances": desk.instances(item, labels) if labels is not None else [],
        "views": [
            {
                "reviewer": view.reviewer,
                "text": "; ".join(d.text for d in view.decisions),
                "time": _clock(view.time_utc),
            }
            for view in state.views
        ],
        "comments": [{"reviewer": c.reviewer, "comment": c.comment} for c in state.comments],
        "link": explorer_link(
            root=str(root.path),
            recording=item.recording,
            split=item.split,
            frame=item.frame,
            a=names[0] if names else "",
            b=names[1] if len(names) > 1 else "",
            predictions=str(st.session_state.get(keys.PREDICTION_FOLDER, "") or ""),
        ),
    }


def _is_there(root: DataRoot, item: Item) -> bool:
    return any(r.name == item.recording and r.split == item.split for r in root.recordings)


def _distance(desk: Desk, item: Item, labels: AppliedEdits | None) -> float | None:
    """Distance of the first target, for the field."""
    if labels is None:
        return None
    wanted = set(desk.targets(item))
    values = [labels.table.distance_cm[k] for k, key in enumerate(labels.keys) if key in wanted]
    known = np.array([v for v in values if not math.isnan(v)])
    return float(np.median(known)) if len(known) else None


def _empty(desk: Desk, filters: Filters) -> str:
    if not desk.items:
        return "Nothing suspicious was found with these systems and thresholds."
    return {
        "open": "Everything in this list is decided.",
        "mine": "You have decided everything in this list.",
        "conflict": "No conflicts: nobody has decided otherwise than another.",
        "done": "Nothing is decided yet.",
        "all": "No item passes these filters.",
    }[filters.show]


def _clock(time_utc: str) -> str:
    """Time of a log line for people, in UTC."""
    if not time_utc:
        return ""
    then = datetime.fromisoformat(time_utc.replace("Z", "+00:00"))
    return f"{then:%H:%M:%S} UTC" if then.date() == datetime.now(UTC).date() else f"{then:%Y-%m-%d %H:%M} UTC"
