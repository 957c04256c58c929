"""The reviewer's desk: which items are on it, what is next, and what an action of the editor does.

Knows nothing of Streamlit: the page hands in what the browser asked for and sends back what is found here.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, Literal, get_args

import numpy as np

from sai_core.annotations import AnnotationTable, DcaseMetadata
from sai_core.errors import InputError
from sai_core.review.deciding import added_keys, decide
from sai_core.review.edits import AppliedEdits, apply_edits
from sai_core.review.entries import CHANGES, NOTES, STEPS, VERDICTS, is_uid
from sai_core.review.history import History, ItemState, Status
from sai_core.review.queue import KINDS, Item, Queue
from sai_core.review.store import ReviewStore
from sai_core.taxonomy import N_CLASSES

Show = Literal["open", "mine", "conflict", "done", "all"]
SHOWS: Final[tuple[Show, ...]] = get_args(Show)
SHOW_TITLES: Final[dict[Show, str]] = {
    "open": "To do",
    "mine": "Not by me",
    "conflict": "Conflicts",
    "done": "Done",
    "all": "All",
}


@dataclass(frozen=True, kw_only=True)
class Filters:
    """Which items are listed; an empty tuple lets everything through.

    Attributes
    ----------
    show : {"open", "mine", "conflict", "done", "all"}
        By status: nobody has decided; the reviewer has not; in conflict; decided or unsure; all.
    kinds, categories, recordings, splits, tags : tuple
        ``recordings`` are ``<split>/<name>``.
    """

    show: Show = "open"
    kinds: tuple[str, ...] = ()
    categories: tuple[int, ...] = ()
    recordings: tuple[str, ...] = ()
    splits: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()


@dataclass(frozen=True)
class Material:
    """Tables of one recording, as they are on disk.

    Attributes
    ----------
    labels : AnnotationTable
        Empty for a recording without a label file.
    predictions : mapping of AnnotationTable
        By system.
    metadata : DcaseMetadata or None
    """

    labels: AnnotationTable
    predictions: Mapping[str, AnnotationTable]
    metadata: DcaseMetadata | None = None


@dataclass(frozen=True)
class Outcome:
    """What an action led to.

    Attributes
    ----------
    item : str or None
        Item to show now; None: as before; "": the list is done.
    note : str
        One line for the reviewer.
    held : {"", "decided", "absent"}
        Why nothing was written although the request makes sense: somebody has decided about the item since the
        reviewer saw it, or the queue does not have it. ``note`` says it in full.
    """

    item: str | None = None
    note: str = ""
    held: Literal["", "decided", "absent"] = ""


class Desk:
    """Queue, log and files together, for one reviewer.

    Parameters
    ----------
    queue : Queue
    store : ReviewStore
    reviewer : str
    load : callable
        Gives the material of an item's recording.
    """

    def __init__(self, queue: Queue, store: ReviewStore, reviewer: str, load: Callable[[Item], Material]) -> None:
        self.store, self.reviewer, self._load = store, reviewer, load
        self.history: History = store.history()
        self.items: tuple[Item, ...] = (*queue.items, *items_of_log(self.history, queue))
        self.by_id = {item.id: item for item in self.items}

    def refresh(self) -> None:
        """Take in what was decided meanwhile, by anyone."""
        self.history = self.store.history()

    def state(self, item: Item | str) -> ItemState:
        """What stands about an item."""
        return self.history.state(item if isinstance(item, str) else item.id)

    def listed(self, filters: Filters) -> list[Item]:
        """Items that the filters let through, in the queue's order."""
        return [item for item in self.items if self._passes(item, filters)]

    def _passes(self, item: Item, filters: Filters) -> bool:
        if filters.kinds and item.kind not in filters.kinds:
            return False
        if filters.categories and item.category_id not in filters.categories:
            return False
        if filters.splits and item.split not in filters.splits:
            return False
        if filters.recordings and place(item) not in filters.recordings:
            return False
        state = self.state(item)
        if filters.tags and not set(filters.tags) & set(state.tags):
            return False
        return {
            "open": state.status == "open",
            "mine": state.view_of(self.reviewer) is None and state.settled is None,
            "conflict": state.status == "conflict",
            "done": state.status in ("done", "unsure"),
            "all": True,
        }[filters.show]

    def counts(self, filters: Filters) -> dict[Status, int]:
        """Items by status, whatever the filters show of them."""
        everything = replace(filters, show="all")
        found: Counter[Status] = Counter(self.state(item).status for item in self.listed(everything))
        return {"open": found["open"], "done": found["done"], "unsure": found["unsure"], "conflict": found["conflict"]}

    def next_of(self, listed: Sequence[Item], current: str | None, *, unresolved: bool = False) -> str | None:
        """Identifier of the item after the current one, from the top again at the end; None when none is left."""
        order = [item.id for item in listed]
        at = order.index(current) if current in order else -1
        for candidate in (*order[at + 1 :], *order[: at + 1]):
            if candidate != current and (not unresolved or self.state(candidate).status in ("open", "conflict")):
                return candidate
        return None

    def labels(self, item: Item, *, fresh: bool = False) -> AppliedEdits:
        """Labels as they stand for the reviewer; with ``fresh`` without any decision about the item itself."""
        log = [e for e in self.history.seen_by(self.reviewer, item.id) if not fresh or e.item != item.id]
        log = [e for e in log if e.recording == item.recording and e.split == item.split]
        return apply_edits(self._load(item).labels, [edit for e in log for edit in e.edits])

    def targets(self, item: Item) -> list[str]:
        """Keys of the labels that a decision would change."""
        own = self.state(item).view_of(self.reviewer)
        return [*item.targets, *(added_keys(own.edits) if own is not None else [])]

    def perform(self, request: Mapping[str, Any], filters: Filters) -> Outcome:
        """Do what the editor asks for: a decision, undo, redo, or another item.

        Parameters
        ----------
        request : mapping
            ``action``, ``item``, ``uid`` (of the log line to be) and the fields of
            :mod:`sai_core.review.deciding`; besides ``next``, ``previous``, ``unresolved`` for moving. ``seen`` is the
            newest line about the item that the reviewer knew (:meth:`stamp`): where it is given and there is a newer
            one, nothing is written. A line that is in the log already is not written again.
        filters : Filters
            What the list shows, which says what is next.

        Raises
        ------
        InputError
            A request that makes no sense.
        """
        action, item_id = request.get("action"), request.get("item")
        listed = self.listed(filters)
        if action in ("next", "unresolved"):
            found = self.next_of(listed, str(item_id), unresolved=action == "unresolved")
            return Outcome(found, "" if found else "Nothing is left in this list.")
        if action == "previous":
            return Outcome(self.next_of(listed[::-1], str(item_id)))
        uid = request.get("uid")
        if not is_uid(uid):
            raise InputError("The decision has no identifier.")
        uid = str(uid)
        if self.store.has(uid):  # sent twice: the answer of the first time was lost
            return Outcome()
        if action in STEPS:
            target = (self.store.undo if action == "undo" else self.store.redo)(self.reviewer, uid=uid)
            self.refresh()
            if target is None:
                return Outcome(None, f"Nothing to {action}.")
            shown = target.item if target.item in self.by_id else None
            return Outcome(shown, f"{'Undone' if action == 'undo' else 'Done again'}: {target.text}")
        item = self.by_id.get(str(item_id))
        if item is None or action not in (*VERDICTS, *CHANGES, *NOTES):
            return Outcome(
                None,
                "This item is not among those that were found with these systems and thresholds. Choose the ones that "
                "it was found with, and it is decided.",
                "absent",
            )
        last = self.history.last_line(item.id)
        if action not in NOTES and "seen" in request and last is not None and request["seen"] != last.uid:
            return Outcome(
                None, f"{last.reviewer} has decided about this item since it was shown here: {last.text}.", "decided"
            )
        after = self.next_of(listed, item.id)
        decision = decide(
            request,
            uid=uid,
            item=item,
            state=self.state(item),
            reviewer=self.reviewer,
            # a verdict starts the item over, so that it is made against the labels without earlier edits of it
            labels=self.labels(item, fresh=action in VERDICTS),
            predictions=self._load(item).predictions,
        )
        self.store.append(
            uid=uid,
            reviewer=self.reviewer,
            split=item.split,
            recording=item.recording,
            item=item.id,
            action=decision.action,
            before=decision.before,
            after=decision.after,
            comment=decision.comment,
            tags=decision.tags,
        )
        self.refresh()
        advance = decision.action not in NOTES and request.get("stay") is not True
        text = str(decision.after.get("text", decision.action))
        shown = item.id
        if advance:
            # the last one of a list that it leaves: nothing is left to show
            shown = after or (item.id if self._passes(item, filters) else "")
        return Outcome(shown, text[:1].upper() + text[1:])

    def stamp(self, item: Item) -> str:
        """Identifier of the newest line that decided about an item; "" when there is none."""
        last = self.history.last_line(item.id)
        return last.uid if last is not None else ""

    def saved_utc(self) -> str:
        """Time of the reviewer's newest line; "" when there is none."""
        return next((e.time_utc for e in reversed(self.history.entries) if e.reviewer == self.reviewer), "")

    def instances(self, item: Item, labels: AppliedEdits) -> list[dict[str, int]]:
        """Other instances of the targets' classes in the recording, nearest in time first: what can be merged with."""
        table = labels.table
        wanted = set(self.targets(item))
        rows = np.array([k for k, key in enumerate(labels.keys) if key in wanted], dtype=np.int64)
        if not len(rows):
            return []
        own = set(table.instance_id[rows].tolist())
        same = np.isin(table.category_id, table.category_id[rows])
        found = []
        for instance in np.unique(table.instance_id[same]).tolist():
            if instance in own:
                continue
            frames = table.frame[same & (table.instance_id == instance)]
            found.append({"instance": instance, "start": int(frames[0]), "end": int(frames[-1])})
        return sorted(found, key=lambda f: (max(f["start"] - item.end, item.start - f["end"], 0), f["instance"]))[:30]


def place(item: Item) -> str:
    """``<split>/<recording>``, or the name alone without a split."""
    return f"{item.split}/{item.recording}" if item.split else item.recording


def items_of_log(history: History, queue: Queue) -> list[Item]:
    """Items that the log knows and the queue does not (made with other systems or thresholds), newest last."""
    known = {item.id for item in queue.items}
    found: dict[str, Item] = {}
    for entry in history.standing:
        facts = entry.before.get("item")
        if entry.item in known or entry.item in found or not isinstance(facts, Mapping):
            continue
        item = _item_from_facts(entry.item, entry.split, entry.recording, facts)
        if item is not None:
            found[entry.item] = item
    return list(found.values())


def _item_from_facts(item: str, split: str, recording: str, facts: Mapping[str, Any]) -> Item | None:
    """Item as a decision noted it, possibly by another program: None if anything in it is not what it must be."""
    numbers = [facts.get(name) for name in ("category_id", "start", "end", "frame")]
    if facts.get("kind") not in KINDS or not all(type(n) is int and 0 <= n <= 10**7 for n in numbers):
        return None
    category, start, end, frame = (int(n) for n in numbers if n is not None)
    score = facts.get("score")
    if category >= N_CLASSES or not start <= frame <= end or not isinstance(score, (int, float)) or not 0 <= score <= 1:
        return None
    return Item(
        item,
        facts["kind"],
        split,
        recording,
        category,
        start,
        end,
        frame,
        float(score),
        str(facts.get("reason", ""))[:500],
        "The queue does not have this item any more (other systems or thresholds); its proposal is not at hand.",
        targets=tuple(key for key in _list(facts.get("targets")) if isinstance(key, str)),
    )


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []
