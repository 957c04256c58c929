"""One reviewer's desk in one tab: what the browser asked for is done, and the answer is put together."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import numpy as np
import streamlit as st

from pages.components import address, element, sources
from pages.components import state_keys as keys
from pages.components.text import plain
from pages.review import jobs, panels
from pages.review.desk_element import Request
from sai_core.annotations import AnnotationTable
from sai_core.dataset import DataRoot, PredictionSet
from sai_core.drawing.colormaps import sequential_lut
from sai_core.errors import SaiError
from sai_core.geometry import ERP_HEIGHT, ERP_WIDTH, FRAME_RATE_HZ
from sai_core.metrics.official.directions import region_peak_direction
from sai_core.player.answers import answer_listening
from sai_core.review import KIND_TITLES, Item, ReviewStore
from sai_core.review.by_ear import words
from sai_core.review.desk import SHOW_TITLES, SHOWS, Desk, Filters, place
from sai_core.review.edits import AppliedEdits
from sai_core.review.moment import moment
from sai_core.taxonomy import class_facts, class_name
from sai_core.viewing.player import pack, unpack
from sai_core.viewing.recording_view import RecordingView
from sai_core.workspace import workspace

_ROWS_BEFORE, _ROWS_AFTER = 60, 140
_AHEAD = 3
"""Items after the one on the screen of which all is made before it is asked for, while the reviewer stays with it."""

_LISTS = ("like", "unlike")
_MAX_STEPS = 20
"""Undo steps that the browser knows beforehand: it shows an item again without waiting for the answer."""


@st.fragment
def show_desk(root: DataRoot, systems: list[PredictionSet], desk_of: Callable[[], Desk], filters: Filters) -> None:
    """Show the desk and do what the browser asks for; only this function runs again for it.

    Which item is on the screen is the browser's own affair, so that a key shows the next one at once; decisions come
    behind, each as often as it takes. The page names an item only where the browser cannot know better: at first, when
    another list is chosen, and when a link or Back leads to one.
    """
    line = st.container(horizontal=True, vertical_alignment="center", gap="small")
    request = Request.of(element.asked(keys.REVIEW_DESK))
    try:
        desk = desk_of()
    except SaiError as problem:
        st.error(plain(problem))
        return
    relisted = [_relist(desk, action, filters) for action in request.actions if action.get("action") in _LISTS]
    done = [_perform(desk, action, filters) for action in request.actions]
    wanted, error = (None, "") if any(relisted) else _wanted(desk, filters, request)
    shown = desk.by_id.get(request.item if wanted is None else wanted)
    st.session_state[keys.REVIEW_ITEM] = shown.id if shown is not None else ""
    with line:
        _ways_on(root, desk, filters)
    items: dict[str, Any] = {}
    parts: dict[str, bytes] = {}
    have = set(request.have)
    here = request.here and shown is not None and shown.id == request.item
    for item in [None if here else shown, *(desk.by_id.get(name) for name in request.ahead)]:
        if item is None or item.id in items:
            continue
        frame = request.frame if item.id == request.item and request.frame >= 0 else None
        try:
            ahead = item is not shown or not request.rest
            filling = desk.filling(item, known=ahead)
            moment_of = _moment(root, systems, desk, item, frame, have, ahead=ahead, filling=filling)
            parts[f"moment.{item.id}"], labels = moment_of
            items[item.id] = {
                **_facts(root, systems, desk, item, labels),
                "fills": None if filling is None else len(filling),
            }
        except SaiError as problem:
            items[item.id] = {**_facts(root, systems, desk, item, None), "fills": 0}
            error = error or str(problem)
    alone = None
    if request.alone and shown is not None and shown.id == request.item:
        alone, sound = _alone(root, systems, desk, shown, request)
        if sound:
            parts["alone"] = sound
    directions = None
    if request.sound and shown is not None and shown.id == request.item:
        directions, windows = _directions(root, systems, desk, shown, request.sound)
        parts |= windows
    header = {
        "ack": request.seq,
        "file": _mark(desk.store, root),
        "done": done,
        "error": error,
        "open": wanted,
        "shown": shown.id if shown is not None else "",
        "saved": _clock(desk.saved_utc()),
        "reviewer": desk.reviewer,
        "show": filters.show,
        "counts": desk.counts(filters),
        "classes": class_facts(),
        # with every message: what the request says is there may belong to a desk that was taken down since
        "lut": sequential_lut("magma").tobytes().hex(),
        "empty": _empty(desk, filters),
        "place": address.shown(keys.ROOT),
        "alike": filters.alike.of if filters.alike is not None else "",
        "canvas": [ERP_WIDTH, ERP_HEIGHT],
        "frame_rate_hz": FRAME_RATE_HZ,
        **_rows(desk, filters, shown.id if shown is not None else None),
        **_steps(desk),
        "items": items,
        "alone": alone,
        "directions": directions,
    }
    element.mount("desk", pack(header, parts), key=keys.REVIEW_DESK)
    if any(relisted):
        st.rerun()  # the list is the page's own
    listed = desk.listed(filters)
    at = next((k for k, item in enumerate(listed) if shown is not None and item.id == shown.id), -1)
    idle = request.rest and not request.more
    idle = idle and (alone is None or alone["state"] != "making")  # what is on the screen comes first
    next_ones = listed[at + 1 : at + 1 + _AHEAD] if idle else []
    jobs.prepare(root, systems, next_ones, desk=desk, by_ear=request.by_ear)


def _relist(desk: Desk, action: dict[str, Any], filters: Filters) -> bool:
    """List what is like an item, or all again; whether that is another list. A wish that is sent twice counts once."""
    state, uid = st.session_state, str(action.get("uid", ""))[:64]
    if state.get(keys.REVIEW_ALIKE_DONE) == uid:
        return False
    state[keys.REVIEW_ALIKE_DONE] = uid
    if action.get("action") == "like":
        item = str(action.get("item"))
        changed = item in desk.by_id and item != state.get(keys.REVIEW_ALIKE)
        if changed:
            state[keys.REVIEW_ALIKE] = item
        return changed
    origin = state.get(keys.REVIEW_ALIKE, "")
    state[keys.REVIEW_ALIKE] = ""
    if not origin:
        return False
    whole = replace(filters, alike=None)
    # to where it was, or to what comes after it, where it has left the list meanwhile
    order = [item.id for item in desk.listed(replace(whole, show="all"))]
    rest = order[order.index(origin) :] if origin in order else []
    left = {item.id for item in desk.listed(whole)}
    state[keys.REVIEW_BACK] = next((name for name in rest if name in left), "")
    return True


def _perform(desk: Desk, action: dict[str, Any], filters: Filters) -> dict[str, Any]:
    """Do one thing that the browser asks for; what became of it."""
    answer = {"uid": str(action.get("uid", ""))[:64]}
    if action.get("action") in _LISTS:
        return answer
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
    """Short text under which the browser keeps what is not saved yet: another one for each review and root."""
    return hashlib.blake2b(f"{store.name}\n{root.path}".encode("utf-8", "surrogateescape"), digest_size=8).hexdigest()


def _wanted(desk: Desk, filters: Filters, request: Request) -> tuple[str | None, str]:
    """Item that the browser must show, if any: None where it knows best, "" for an empty list; and what to say."""
    state = st.session_state
    asked = address.asked(keys.ITEM)
    same_list = state.get(keys.REVIEW_LIST) == filters.show
    state[keys.REVIEW_LIST] = filters.show
    problem = ""
    if (back := state.pop(keys.REVIEW_BACK, "")) and back in desk.by_id:
        return back, ""
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


def _alone(
    root: DataRoot, systems: list[PredictionSet], desk: Desk, item: Item, request: Request
) -> tuple[dict[str, Any], bytes]:
    """What is known of an item's source alone, and its sound where the browser does not have it."""
    try:
        view = jobs.shown_view(root, systems, item, desk)
        frame = _frame_of(view, item, request.frame if request.frame >= 0 else None)
        session = str(st.session_state.setdefault(keys.REVIEW_LISTENER, uuid4().hex))
        found = jobs.alone(view, item, frame, desk=desk, wanted_by=session)
    except SaiError as problem:
        found = jobs.Alone(problem=str(problem))
    facts: dict[str, Any] = {"item": item.id, "name": found.name, "text": found.problem}
    facts |= {"heard": found.heard, "listening": found.listening}
    if found.data and found.name == request.heard:
        return {**facts, "state": "held"}, b""
    if found.data:
        return {**facts, "state": "ready", "text": words(unpack(found.data)[0])}, found.data
    return {**facts, "state": "none" if found.problem else "making"}, b""


def _directions(
    root: DataRoot, systems: list[PredictionSet], desk: Desk, item: Item, wanted: tuple[str, ...]
) -> tuple[dict[str, Any], dict[str, bytes]]:
    """Sound in directions of an item's recording as far as it is there, and how far it is, or why there is none."""
    parts: dict[str, bytes] = {}
    names = tuple(name for name in wanted if name.split(".")[0] in ("sound", "h"))
    try:
        view = jobs.shown_view(root, systems, item, desk)
        status = answer_listening(view, names, parts, sources.work())
    except SaiError as problem:
        status = {"sound": {"state": "error", "text": str(problem)}}
    return {"place": place(item), "status": status, "names": list(parts)}, parts


def _frame_of(view: RecordingView, item: Item, frame: int | None) -> int:
    return item.frame if frame is None else min(frame, max(view.n_frames - 1, item.end))


def _moment(
    root: DataRoot,
    systems: list[PredictionSet],
    desk: Desk,
    item: Item,
    frame: int | None,
    have: set[str],
    *,
    ahead: bool,
    filling: AnnotationTable | None,
) -> tuple[bytes, AppliedEdits]:
    """What the editor shows of an item, without the blocks of ``have``, which takes in those that are sent."""
    view = jobs.shown_view(root, systems, item, desk)
    labels = desk.labels(item)
    data, sent = moment(
        view,
        item,
        labels,
        frame=_frame_of(view, item, frame),
        targets=desk.targets(item),
        metadata=desk.material(item).metadata,
        have=have,
        ahead=ahead,
        filling=filling,
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
                "alike": _alike(item, filters),
            }
            for item in part
        ],
    }


def _alike(item: Item, filters: Filters) -> dict[str, Any] | None:
    """How alike an item is to the one that the list is about, in figures and words."""
    like = filters.alike.found.get(item.id) if filters.alike is not None else None
    if like is None:
        return None
    words = ["same class" if like.same_class else "another class"]
    words.append("direction not known" if like.angle_deg is None else f"{like.angle_deg:.0f}° away")
    words.append("not heard" if like.sound is None else f"sound {like.sound:.2f}")
    return {"total": round(like.total, 3), "words": ", ".join(words)}


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
        "kind": item.kind,
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
        "at": _proposed_at(desk, item),
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


def _proposed_at(desk: Desk, item: Item) -> list[float] | None:
    """Azimuth and elevation of the prediction that an item proposes as a label, in the frame nearest to its own."""
    tables = desk.material(item).predictions
    added = [(frame, system, row) for frame, system, row in item.change.get("add", []) if system in tables]
    if not added:
        return None
    _, system, row = min(added, key=lambda added_row: abs(added_row[0] - item.frame))
    azimuth, elevation = region_peak_direction(tables[system].take(np.array([row])))
    return None if math.isnan(azimuth[0]) else [float(azimuth[0]), float(elevation[0])]


def _empty(desk: Desk, filters: Filters) -> str:
    if filters.moments is not None and not any(map(filters.moments.holds, desk.items)):
        return "No item of the queue lies in these moments: nothing is suspicious about their labels."
    if filters.alike is not None:
        return "Nothing else that is like it is in this list."
    if not desk.items:
        return "Nothing suspicious was found with these systems and thresholds."
    return {
        "open": "Everything in this list is decided.",
        "mine": "You have decided everything in this list.",
        "conflict": "No conflicts: no two reviewers have decided differently.",
        "done": "Nothing is decided yet." if not desk.history.items else "No decided item matches these filters.",
        "all": "No item matches these filters.",
    }[filters.show]


def _ways_on(root: DataRoot, desk: Desk, filters: Filters) -> None:
    """Where to go from a list in which everything is decided."""
    if not desk.items or filters.show not in ("open", "mine", "conflict") or desk.listed(filters):
        return
    st.markdown(f":material/task_alt: {_empty(desk, filters)}", width="content")
    clicked = False
    if hidden := len(desk.listed(Filters(show=filters.show))):
        clicked |= st.button(f"{hidden} more without the filter", icon=":material/filter_list_off:", on_click=_unfilter)
    for show in SHOWS:
        n = len(desk.listed(replace(filters, show=show)))
        if n and show != "all":
            clicked |= st.button(f"{SHOW_TITLES[show]}: {n}", key=f"review_to_{show}", on_click=_go_to, args=(show,))
    clicked |= st.button("Results", key="review_to_results", icon=":material/output:", on_click=_open_results)
    made = [s for s in workspace().sets("labels") if s.facts.made_by == "review" and s.facts.data == str(root.path)]
    if made:
        name = max(made, key=lambda s: s.facts.created).name
        query = {keys.LABELS: name}
        address.page_link("scores", f"Scores against {plain(name)}", icon=":material/leaderboard:", query=query)
    if clicked:
        st.rerun()  # the list and the results are not the desk's own


def _unfilter() -> None:
    st.session_state[keys.REVIEW_MOMENTS] = ""
    panels.clear_filters()


def _go_to(show: str) -> None:
    st.session_state[keys.REVIEW_SHOW] = show


def _open_results() -> None:
    st.session_state[keys.REVIEW_RESULTS] = True


def _clock(time_utc: str) -> str:
    """Time of a log line for people, in UTC."""
    if not time_utc:
        return ""
    then = datetime.fromisoformat(time_utc.replace("Z", "+00:00"))
    return f"{then:%H:%M:%S} UTC" if then.date() == datetime.now(UTC).date() else f"{then:%Y-%m-%d %H:%M} UTC"
