"""One reviewer's desk in one tab: what the browser asked for is done, and the answer is put together."""

from __future__ import annotations

import hashlib
import math
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import numpy as np
import streamlit as st

from pages.components import address, element
from pages.components import state_keys as keys
from pages.components.text import plain
from pages.review import jobs
from pages.review.desk_element import Request
from sai_core.dataset import DataRoot, PredictionSet
from sai_core.drawing.colormaps import sequential_lut
from sai_core.errors import SaiError
from sai_core.geometry import ERP_HEIGHT, ERP_WIDTH, FRAME_RATE_HZ
from sai_core.review import KIND_TITLES, Item, Queue, ReviewStore
from sai_core.review.desk import Desk, Filters, place
from sai_core.review.edits import AppliedEdits
from sai_core.review.moment import moment
from sai_core.taxonomy import class_facts, class_name
from sai_core.viewing.player import pack

_ROWS_BEFORE, _ROWS_AFTER = 60, 140
_AHEAD = 8
"""Items after the one on the screen that are opened before they are asked for."""

_MAX_STEPS = 20
"""Undo steps that the browser knows beforehand: it shows an item again without waiting for the answer."""


@st.fragment
def show_desk(
    root: DataRoot, systems: list[PredictionSet], queue: Queue, store: ReviewStore, reviewer: str, filters: Filters
) -> None:
    """Show the desk and do what the browser asks for; only this function runs again for it.

    Which item is on the screen is the browser's own affair, so that a key shows the next one at once; decisions come
    behind, each as often as it takes. The page names an item only where the browser cannot know better: at first, when
    another list is chosen, and when a link or Back leads to one.
    """
    request = Request.of(element.asked(keys.REVIEW_DESK))
    try:
        desk = Desk(queue, store, reviewer, lambda item: jobs.material_of(root, systems, item))
    except SaiError as problem:
        st.error(plain(problem))
        return
    done = [_perform(desk, action, filters) for action in request.actions]
    wanted, error = _wanted(desk, filters, request)
    shown = desk.by_id.get(request.item if wanted is None else wanted)
    st.session_state[keys.REVIEW_ITEM] = shown.id if shown is not None else ""
    items: dict[str, Any] = {}
    parts: dict[str, bytes] = {}
    have = set(request.have)
    waited = False
    for item in [shown, *(desk.by_id.get(name) for name in request.ahead)]:
        if item is None or item.id in items:
            continue
        frame = request.frame if item.id == request.item and request.frame >= 0 else None
        try:
            # what comes next must not hold up what a key asks for meanwhile: one that takes a while, and no more
            if not jobs.is_ready(root, systems, item):
                if waited and item is not shown:
                    continue
                waited = True
            parts[f"moment.{item.id}"], labels = _moment(root, systems, desk, item, frame, have)
            items[item.id] = _facts(root, systems, desk, item, labels)
        except SaiError as problem:
            items[item.id] = _facts(root, systems, desk, item, None)
            error = error or str(problem)
    header = {
        "ack": request.seq,
        "file": _mark(store, root),
        "done": done,
        "error": error,
        "open": wanted,
        "shown": shown.id if shown is not None else "",
        "saved": _clock(desk.saved_utc()),
        "reviewer": reviewer,
        "show": filters.show,
        "counts": desk.counts(filters),
        "classes": class_facts(),
        # with every message: what the request says is there may belong to a desk that was taken down since
        "lut": sequential_lut("magma").tobytes().hex(),
        "empty": _empty(desk, filters),
        "place": address.shown(keys.ROOT),
        "canvas": [ERP_WIDTH, ERP_HEIGHT],
        "frame_rate_hz": FRAME_RATE_HZ,
        **_rows(desk, filters, shown.id if shown is not None else None),
        **_steps(desk),
        "items": items,
    }
    element.mount("desk", pack(header, parts), key=keys.REVIEW_DESK)
    listed = desk.listed(filters)
    at = next((k for k, item in enumerate(listed) if shown is not None and item.id == shown.id), -1)
    jobs.prepare(root, systems, listed[at + 1 : at + 1 + _AHEAD], reviewer=reviewer)


def _perform(desk: Desk, action: dict[str, Any], filters: Filters) -> dict[str, Any]:
    """Do one thing that the browser asks for; what became of it."""
    answer = {"uid": str(action.get("uid", ""))[:64]}
    if action.get("reviewer") != desk.reviewer:
        return {**answer, "held": "reviewer"}
    try:
        outcome = desk.perform(action, filters)
    except SaiError as problem:
        return {**answer, "error": str(problem)}
    item = desk.by_id.get(str(action.get("item")))
    stamp = desk.stamp(item) if item is not None else ""
    return {**answer, "item": outcome.item, "note": outcome.note, "held": outcome.held, "stamp": stamp}


def _mark(store: ReviewStore, root: DataRoot) -> str:
    """Short text under which the browser keeps what is not saved yet: another one for each review file and root."""
    return hashlib.blake2b(f"{store.path}\n{root.path}".encode("utf-8", "surrogateescape"), digest_size=8).hexdigest()


def _wanted(desk: Desk, filters: Filters, request: Request) -> tuple[str | None, str]:
    """Item that the browser must show, if any: None where it knows best, "" for an empty list; and what to say."""
    state = st.session_state
    asked = address.asked(keys.ITEM)
    same_list = state.get(keys.REVIEW_LIST) == filters.show
    state[keys.REVIEW_LIST] = filters.show
    problem = ""
    if asked:
        if asked in desk.by_id:
            return asked, ""
        problem = "The link names an item that is not among those found with these systems and thresholds."
    elif address.asked(keys.FRAME) is not None and (near := _nearest(desk.listed(filters), address.frame())):
        return near, ""
    # what has just been decided leaves the list and may still be looked at; of another list the top comes up
    allowed = {item.id for item in desk.listed(replace(filters, show="all") if same_list else filters)}
    if request.item in allowed:
        return None, problem
    kept = state.get(keys.REVIEW_ITEM)
    if not request.seq and same_list and kept in allowed:  # the page was left and has been come back to
        return kept, problem
    listed = desk.listed(filters)
    return (listed[0].id if listed else ""), problem


def _nearest(items: list[Item], frame: int) -> str:
    """The item that a frame lies in, or the nearest to it; "" where there is none."""
    nearest = min(items, key=lambda i: max(i.start - frame, frame - i.end, 0), default=None)
    return nearest.id if nearest is not None else ""


def _moment(
    root: DataRoot, systems: list[PredictionSet], desk: Desk, item: Item, frame: int | None, have: set[str]
) -> tuple[bytes, AppliedEdits]:
    """What the editor shows of an item, without the blocks of ``have``, which takes in those that are sent."""
    view = jobs.view_of(root, systems, item)
    labels = desk.labels(item)
    data, sent = moment(
        view,
        item,
        labels,
        frame=item.frame if frame is None else min(frame, max(view.n_frames - 1, item.end)),
        targets=desk.targets(item),
        metadata=jobs.material_of(root, systems, item).metadata,
        have=have,
    )
    have |= sent
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
                "reason": item.reason,
                "proposal": item.proposal,
                "stamp": desk.stamp(item),
            }
            for item in part
        ],
    }


def _steps(desk: Desk) -> dict[str, list[dict[str, str]]]:
    """Lines that undo and redo would go through, the next one last."""
    done, back = desk.history.steps(desk.reviewer)
    return {
        name: [{"item": line.item, "text": line.text} for line in lines[-_MAX_STEPS:]]
        for name, lines in (("undo", done), ("redo", back))
    }


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
        "simulated": root.recording(item.recording, item.split).is_simulated if _is_there(root, item) else False,
        "start": item.start,
        "end": item.end,
        "score": item.score,
        "reason": item.reason,
        "proposal": item.proposal,
        "status": state.status,
        "stamp": desk.stamp(item),
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
        "link": address.explorer_link(
            root=str(root.path),
            recording=item.recording,
            split=item.split,
            frame=item.frame,
            a=names[0] if names else "",
            b=names[1] if len(names) > 1 else "",
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
        "done": "Nothing is decided yet." if not desk.history.items else "No decided item passes these filters.",
        "all": "No item passes these filters.",
    }[filters.show]


def _clock(time_utc: str) -> str:
    """Time of a log line for people, in UTC."""
    if not time_utc:
        return ""
    then = datetime.fromisoformat(time_utc.replace("Z", "+00:00"))
    return f"{then:%H:%M:%S} UTC" if then.date() == datetime.now(UTC).date() else f"{then:%Y-%m-%d %H:%M} UTC"
