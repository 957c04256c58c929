"""The reviewer's desk: which items are on it, what is next, and what an action of the editor does.

Knows nothing of Streamlit: the page hands in what the browser asked for and sends back what is found here.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, Literal, get_args, overload

import numpy as np

from sai_core.annotations import AnnotationTable, DcaseMetadata
from sai_core.errors import InputError
from sai_core.progress import Progress, no_progress
from sai_core.review.chosen import ChosenMoments
from sai_core.review.deciding import added_keys, decide
from sai_core.review.edits import AppliedEdits, annotation_keys, apply_edits
from sai_core.review.entries import ANSWER, BULK, CHANGES, NOTES, STEPS, VERDICTS, Entry, is_uid, new_uid
from sai_core.review.history import History, ItemState, Status
from sai_core.review.known import Known
from sai_core.review.likeness import Alike
from sai_core.review.queue import KINDS, MOMENT, SOURCE, Item, Queue
from sai_core.review.store import ReviewStore
from sai_core.taxonomy import N_CLASSES

_BY_HAND: Final[str] = "Added by hand: draw it in other frames, too, and the frames between are filled."
_NO_PROPOSAL: Final[str] = "Nothing: it was added by hand."
_MOST_FILLINGS: Final[int] = 256

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
    alike : Alike, optional
        Only one item and those that are like it, in this order.
    moments : ChosenMoments, optional
        Only items in which one of these moments lies.
    """

    show: Show = "open"
    kinds: tuple[str, ...] = ()
    categories: tuple[int, ...] = ()
    recordings: tuple[str, ...] = ()
    splits: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    alike: Alike | None = None
    moments: ChosenMoments | None = None


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


@dataclass(frozen=True)
class BulkReport:
    """What became of a verdict on many items.

    Attributes
    ----------
    text : str
    n_decided : int
    problems : tuple of str
        One sentence for each item that was left undecided.
    """

    text: str
    n_decided: int
    problems: tuple[str, ...]


class Desk:
    """Queue, log and files together, for one reviewer.

    Parameters
    ----------
    queue : Queue
    store : ReviewStore
    reviewer : str
    load : callable
        Gives the material of an item's recording.
    known : sequence of Known
        Items with known answers, to be mixed in.
    made : sequence of Item
        Items that the queue does not have, to be listed after its own
        (:meth:`sai_core.review.chosen.ChosenMoments.made_items`).
    """

    def __init__(
        self,
        queue: Queue,
        store: ReviewStore,
        reviewer: str,
        load: Callable[[Item], Material],
        *,
        known: Sequence[Known] = (),
        made: Sequence[Item] = (),
    ) -> None:
        self.store, self.reviewer, self._open, self._queue, self._made = store, reviewer, load, queue, tuple(made)
        self.known = {k.item.id: k for k in known}
        self.refresh()

    def refresh(self) -> None:
        """Take in what was decided meanwhile, by anyone: also sources that were added, or got longer."""
        self.history: History = self.store.history()
        mixed: list[Item] = []
        waiting = sorted(self.known.values(), key=lambda k: k.place)
        for place, item in enumerate((*self._queue.items, None)):
            while waiting and waiting[0].place <= place:
                mixed.append(waiting.pop(0).item)
            mixed += [item] if item is not None else []
        made = {item.id for item in self._made}
        old = [item for item in items_of_log(self.history, self._queue) if item.id not in made]
        self.items: tuple[Item, ...] = (*mixed, *self._made, *old)
        self.by_id = {item.id: item for item in self.items}

    def material(self, item: Item) -> Material:
        """Tables of an item's recording as they are shown: with the error of one whose answer is known."""
        known = self.known.get(item.id)
        return self._open(item) if known is None else Material(known.labels, known.predictions, known.metadata)

    def state(self, item: Item | str) -> ItemState:
        """What stands about an item."""
        return self.history.state(item if isinstance(item, str) else item.id)

    def listed(self, filters: Filters) -> list[Item]:
        """Items that the filters let through, in the queue's order; an item and those like it, the most alike first."""
        items: Sequence[Item] = self.items
        if filters.alike is not None:
            names = (filters.alike.of, *filters.alike.found)
            items = [self.by_id[name] for name in names if name in self.by_id]
        found = [item for item in items if self._passes(item, filters)]
        # what is left alone, once all else is decided, would be known for what it is
        return found if any(item.id not in self.known for item in found) else []

    def _passes(self, item: Item, filters: Filters) -> bool:
        if filters.moments is not None and not filters.moments.holds(item):
            return False
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
        if item.id in self.known:
            own = None if fresh else self.state(item).view_of(self.reviewer)
            return apply_edits(self.material(item).labels, own.edits if own is not None else [])
        log = [e for e in self.history.seen_by(self.reviewer, item.id) if not fresh or e.item != item.id]
        log = [e for e in log if e.recording == item.recording and e.split == item.split]
        return apply_edits(self.material(item).labels, [edit for e in log for edit in e.edits])

    def targets(self, item: Item) -> list[str]:
        """Keys of the labels that a decision would change."""
        own = self.state(item).view_of(self.reviewer)
        return [*self._targets(item), *(added_keys(own.edits) if own is not None else [])]

    def _targets(self, item: Item) -> tuple[str, ...]:
        """Those in the files; of a moment that nothing speaks against the labels of its class in its frames."""
        if item.kind != MOMENT or item.targets:
            return item.targets
        labels = self.material(item).labels
        inside = (labels.frame >= item.start) & (labels.frame <= item.end) & (labels.category_id == item.category_id)
        if not inside.any():
            return ()
        keys = annotation_keys(labels)
        return tuple(keys[row] for row in np.flatnonzero(inside).tolist())

    @overload
    def filling(self, item: Item) -> AnnotationTable: ...

    @overload
    def filling(self, item: Item, *, known: bool) -> AnnotationTable | None: ...

    def filling(self, item: Item, *, known: bool = False) -> AnnotationTable | None:
        """What accepting an item would put between its labels; no rows where nothing is missing.

        With ``known``, None where something is missing and has not been worked out yet.
        """
        log = self.history.seen_by(self.reviewer, item.id)
        key = (
            item.id,
            self.reviewer,
            tuple(e.uid for e in log if (e.split, e.recording) == (item.split, item.recording)),
        )
        memo = self._queue.memo
        if key not in memo:
            labels = self.labels(item, fresh=True)
            wanted = set(item.targets)
            frames = {f for f, _, _ in item.change.get("add", [])}
            frames |= {int(labels.table.frame[k]) for k, name in enumerate(labels.keys) if name in wanted}
            gaps = bool(frames) and len(frames) < max(frames) - min(frames) + 1
            if gaps and known:
                return None
            while len(memo) >= _MOST_FILLINGS:
                memo.pop(next(iter(memo)), None)
            memo[key] = self._filling(item, labels) if gaps else AnnotationTable.empty(item.recording)
        found: AnnotationTable = memo[key]
        return found

    def _filling(self, item: Item, labels: AppliedEdits) -> AnnotationTable:
        nothing = AnnotationTable.empty(item.recording)
        try:
            decision = decide(
                {"action": "accept"},
                uid=new_uid(),
                item=item,
                state=self.state(item),
                reviewer=self.reviewer,
                labels=labels,
                predictions=self.material(item).predictions,
            )
        except InputError:  # told when it is accepted
            return nothing
        return apply_edits(nothing, decision.after["edits"][-1:]).table if decision.after.get("filled") else nothing

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
        if action == SOURCE and request.get("base") in self.known:
            item_id = request["base"]  # drawn into what is shown of it, which no label may get
            item = self.by_id.get(str(item_id))
        else:
            item = self._source(request) if action == SOURCE else self.by_id.get(str(item_id))
        if item is None or action not in (*VERDICTS, *CHANGES, *NOTES):
            return Outcome(
                None,
                "This item is not among those found with these systems and thresholds. Choose the ones that it was "
                "found with, and the decision is kept.",
                "absent",
            )
        last = self.history.last_line(item.id)
        if action not in NOTES and "seen" in request and last is not None and request["seen"] != last.uid:
            return Outcome(
                None, f"{last.reviewer} has decided about this item since it was shown here: {last.text}.", "decided"
            )
        after = self.next_of(listed, item.id) if action != SOURCE else None
        decision = decide(
            request,
            uid=uid,
            item=replace(item, targets=self._targets(item)),
            state=self.state(item),
            reviewer=self.reviewer,
            # a verdict starts the item over, so that it is made against the labels without earlier edits of it
            labels=self.labels(item, fresh=action in VERDICTS),
            predictions=self.material(item).predictions,
        )
        action_kept, after_kept = decision.action, decision.after
        if (known := self.known.get(item.id)) is not None:
            # never an edit: whoever reads the log without knowing of such items changes no label by it
            rest = {name: value for name, value in after_kept.items() if name != "edits"}
            shown_edits = after_kept.get("edits", [])
            after_kept = {**rest, "answer": action_kept, "shown": shown_edits, "known": known.facts()}
            if (seconds := _seconds(request.get("seconds"))) is not None:
                after_kept["seconds"] = seconds
            action_kept = ANSWER
        self.store.append(
            uid=uid,
            reviewer=self.reviewer,
            split=item.split,
            recording=item.recording,
            item=item.id,
            action=action_kept,
            before=decision.before,
            after=after_kept,
            comment=decision.comment,
            tags=decision.tags,
        )
        self.refresh()
        advance = decision.action not in (*NOTES, SOURCE) and request.get("stay") is not True
        text = str(decision.after.get("text", decision.action))
        shown = item.id
        if advance:
            # the last one of a list that it leaves: nothing is left to show
            shown = after or (item.id if self._passes(item, filters) else "")
        return Outcome(shown, text[:1].upper() + text[1:])

    def _source(self, request: Mapping[str, Any]) -> Item | None:
        """The item of a source that is added by hand, as long as it is with the frame of a new keyframe."""
        frame, category = request.get("frame"), request.get("category")
        item_id, base = str(request.get("item")), self.by_id.get(str(request.get("base")))
        if type(frame) is not int or not 0 <= frame <= 10**7:
            raise InputError("A keyframe needs the frame that it is in.")
        item = self.by_id.get(item_id)
        if item is not None:
            if item.kind != SOURCE:
                raise InputError("This item was not added by hand; add a new source instead.")
            return replace(item, start=min(item.start, frame), end=max(item.end, frame), frame=frame)
        if base is None or re.fullmatch("[0-9a-f]{16}", item_id) is None:
            return None
        if type(category) is not int or not 0 <= category < N_CLASSES:
            raise InputError("Choose a class for the new source.")
        return Item(
            item_id, SOURCE, base.split, base.recording, category, frame, frame, frame, 1.0, _BY_HAND, _NO_PROPOSAL
        )

    def undecided(self, filters: Filters) -> list[Item]:
        """Items that the filters let through and nobody has decided about: what a bulk decision is about."""
        return [item for item in self.listed(filters) if not self.state(item).views and item.id not in self.known]

    def decide_all(
        self, verdict: str, filters: Filters, *, uid: str | None = None, progress: Progress = no_progress
    ) -> BulkReport:
        """Give one verdict on every undecided item of a list: one line of the log, undone as one.

        Parameters
        ----------
        verdict : {"accept", "reject", "unsure"}
        filters : Filters
        uid : str, optional
            Identifier of the line.
        progress : Progress

        Returns
        -------
        BulkReport
            Items whose proposal is not at hand are left undecided and told.

        Raises
        ------
        InputError
            Nothing to decide, or a verdict that is none.
        """
        if verdict not in VERDICTS:
            raise InputError(f"The verdict {verdict[:30]!r} is unknown; use one of {', '.join(VERDICTS)}.")
        uid = uid or new_uid()
        # by recording, so that each is opened once; what is decided of one depends on no other
        groups: dict[tuple[str, str], list[Item]] = {}
        for item in self.undecided(filters):
            groups.setdefault((item.split, item.recording), []).append(item)
        items = [item for group in groups.values() for item in group]
        lines: list[dict[str, Any]] = []
        problems: list[str] = []
        # of one recording each decision is made against the labels with those before it
        edits: dict[tuple[str, str], list[dict[str, Any]]] = {}
        within = 0
        for number, item in enumerate(items):
            key = (item.split, item.recording)
            opened = key not in edits
            within = 0 if opened else within + 1
            # to open a recording takes longer than to decide about it: half of its share, so that the time that is
            # left is not guessed by the first item, which waits for it
            share = 0.0 if opened else 0.5 + 0.5 * within / len(groups[key])
            how_far = f"{number} of {len(items)} items"
            progress((len(edits) - (not opened) + share) / len(groups), how_far)
            if opened:
                log = self.history.seen_by(self.reviewer, "")
                edits[key] = [e for line in log if (line.split, line.recording) == key for e in line.edits]
            material = self.material(item)
            if opened:
                progress((len(edits) - 0.5) / len(groups), how_far)
            # keys of what is added are made of it: one for each item
            part = f"{uid[:24]}{number:08x}"
            try:
                decision = decide(
                    {"action": verdict},
                    uid=part,
                    item=item,
                    state=self.state(item),
                    reviewer=self.reviewer,
                    labels=apply_edits(material.labels, edits[key]),
                    predictions=material.predictions,
                )
            except InputError as error:
                problems.append(str(error))
                continue
            edits[key] += decision.after.get("edits", [])
            line = Entry(
                part, "2000-01-01T00:00:00.000000Z", self.reviewer, item.split, item.recording, item.id,
                decision.action, "", decision.before, decision.after,
            )  # fmt: skip
            lines.append(line.to_json())  # its time is that of the whole
        if not lines:
            raise InputError(problems[0] if problems else "Nothing in this list is undecided.")
        words = {"accept": "accepted", "reject": "rejected", "unsure": "unsure about"}[verdict]
        text = f"{words} {len(lines)} item{'' if len(lines) == 1 else 's'} at once"
        first = lines[0]
        self.store.append(
            uid=uid,
            reviewer=self.reviewer,
            split=first["split"],
            recording=first["recording"],
            item=BULK,
            action=BULK,
            after={"text": text, "decisions": lines},
        )
        self.refresh()
        return BulkReport(text, len(lines), tuple(problems))

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


def _seconds(value: object) -> float | None:
    """Time from an item's showing to its decision, as a browser says it; None for anything else."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value < 1e6:
        return None
    return round(float(value), 2)


def place(item: Item) -> str:
    """``<split>/<recording>``, or the name alone without a split."""
    return f"{item.split}/{item.recording}" if item.split else item.recording


def items_of_log(history: History, queue: Queue) -> list[Item]:
    """Items that the log knows and the queue does not (made with other systems or thresholds), newest last.

    None of recordings whose labels cannot be read.
    """
    known = {item.id for item in queue.items}
    found: dict[str, Item] = {}
    for entry in history.standing:
        facts = entry.before.get("item")
        if entry.item in known or not isinstance(facts, Mapping) or (entry.split, entry.recording) in queue.unread:
            continue
        if entry.item in found and found[entry.item].kind != SOURCE:  # which gets longer with each keyframe
            continue
        item = _item_from_facts(entry.item, entry.split, entry.recording, facts)
        if item is not None:
            found[entry.item] = item
    return list(found.values())


def _item_from_facts(item: str, split: str, recording: str, facts: Mapping[str, Any]) -> Item | None:
    """Item as a decision noted it, possibly by another program: None if anything in it is not what it must be."""
    numbers = [facts.get(name) for name in ("category_id", "start", "end", "frame")]
    if facts.get("kind") not in (*KINDS, SOURCE, MOMENT) or not all(
        type(n) is int and 0 <= n <= 10**7 for n in numbers
    ):
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
        "The queue no longer has this item (other systems or thresholds), so its proposal is not available.",
        targets=tuple(key for key in _list(facts.get("targets")) if isinstance(key, str)),
    )


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []
