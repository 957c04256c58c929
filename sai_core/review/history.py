"""What a log means: which decisions stand, what each reviewer holds, where they disagree.

* A line counts unless the last undo or redo that names it is an undo.
* *accept*, *reject* and *unsure* start an item over for their reviewer; changes (class, shift, ...) add to what stands.
* An item is **done** when someone has decided, **unsure** when nobody has decided otherwise than unsure, in
  **conflict** when two reviewers' outcomes differ, **open** else. A decision made in the conflict view *settles*: it is
  the item's outcome until a reviewer decides otherwise later.
* Applied to the labels is, for each item, one reviewer's view: the settled one, else the latest that is not unsure
  (``latest``); or only items on which all who decided agree (``agreed``); or those of one reviewer alone.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Any, Final, Literal, get_args

from sai_core.errors import InputError
from sai_core.review.entries import ANSWER, BULK, KNOWN, NOTES, STEPS, VERDICTS, Entry

Status = Literal["open", "done", "unsure", "conflict"]
Policy = Literal["latest", "agreed"]
POLICIES: Final[tuple[Policy, ...]] = get_args(Policy)


@dataclass(frozen=True)
class View:
    """What one reviewer holds about one item.

    Attributes
    ----------
    reviewer : str
    outcome : str
        ``accept``, ``reject``, ``unsure``, or the changes in words (``class 3``, ``class 3 + shift``): the category of
        the agreement statistics.
    decisions : tuple of Entry
        The standing decisions, oldest first.
    """

    reviewer: str
    outcome: str
    decisions: tuple[Entry, ...]

    @property
    def edits(self) -> list[dict[str, Any]]:
        """Changes to the labels, in order."""
        return [edit for decision in self.decisions for edit in decision.edits]

    @property
    def time_utc(self) -> str:
        """When it was last decided."""
        return self.decisions[-1].time_utc

    @property
    def settles(self) -> bool:
        """Whether the last decision was made to end a conflict."""
        return self.decisions[-1].after.get("settles") is True

    def same_as(self, view: View) -> bool:
        """Whether both come to the same labels (annotations that each added by themselves may have other keys)."""
        if self.outcome != view.outcome:
            return False
        return _comparable(self.edits) == _comparable(view.edits)


@dataclass(frozen=True)
class ItemState:
    """What stands about one item.

    Attributes
    ----------
    status : {"open", "done", "unsure", "conflict"}
    views : tuple of View
        One per reviewer who has decided, oldest first.
    comments : tuple of Entry
        Standing remarks, oldest first (comments given with a decision included).
    tags : tuple of str
        Of the last standing tag line.
    """

    status: Status
    views: tuple[View, ...]
    comments: tuple[Entry, ...]
    tags: tuple[str, ...]

    def view_of(self, reviewer: str) -> View | None:
        """What a reviewer holds, or None."""
        return next((view for view in self.views if view.reviewer == reviewer), None)

    @property
    def settled(self) -> View | None:
        """The view that ended a conflict and has not been contradicted since, or None."""
        if self.views and self.views[-1].settles:
            return self.views[-1]
        settling = [view for view in self.views if view.settles]
        if settling and all(view.same_as(settling[-1]) for view in self.views if view.time_utc > settling[-1].time_utc):
            return settling[-1]
        return None

    def chosen(self, policy: Policy = "latest", reviewer: str | None = None) -> View | None:
        """The view that is applied to the labels, or None."""
        if reviewer is not None:
            return self.view_of(reviewer)
        if self.settled is not None:
            return self.settled
        decided = [view for view in self.views if view.outcome != "unsure"]
        if policy == "agreed":
            agree = len(decided) == len(self.views) and all(view.same_as(decided[0]) for view in decided)
            return decided[-1] if decided and agree else None
        return decided[-1] if decided else None


NOTHING: Final[ItemState] = ItemState("open", (), (), ())


class History:
    """A log worked out, item by item.

    Parameters
    ----------
    entries : iterable of Entry
        In any order.
    """

    def __init__(self, entries: Iterable[Entry]) -> None:
        self.entries: tuple[Entry, ...] = tuple(sorted(entries, key=lambda e: e.order))
        undone = _undone(self.entries)
        self.standing: tuple[Entry, ...] = tuple(
            part
            for e in self.entries
            if e.action not in (*STEPS, KNOWN, ANSWER) and e.uid not in undone
            for part in e.parts
        )
        by_item: dict[str, list[Entry]] = defaultdict(list)
        for entry in self.standing:
            by_item[entry.item].append(entry)
        self._states = {item: _state(lines) for item, lines in by_item.items()}
        answered: dict[str, list[Entry]] = defaultdict(list)
        for entry in self.entries:
            if entry.action == ANSWER and entry.uid not in undone:
                answered[entry.item].append(entry.as_decision)
        self._answers = {item: _state(lines) for item, lines in answered.items()}
        self._last = {line.item: line for line in _by_item(self.entries) if line.action not in NOTES}

    def last_line(self, item: str) -> Entry | None:
        """The newest line that decided about an item, undo and redo included; None when there is none."""
        return self._last.get(item)

    def state(self, item: str) -> ItemState:
        """What stands about an item; nothing for one that nobody has touched."""
        return self._states.get(item) or self._answers.get(item, NOTHING)

    def answers(self) -> list[View]:
        """What reviewers hold about items with known answers, which no other figure takes in."""
        return [view for state in self._answers.values() for view in state.views]

    def about_labels(self) -> tuple[Entry, ...]:
        """The log without items with known answers."""
        apart = {e.uid for e in self.entries if e.action in (KNOWN, ANSWER)}
        return tuple(e for e in self.entries if e.uid not in apart and e.ref not in apart)

    @property
    def items(self) -> Mapping[str, ItemState]:
        """States of all items that have a standing line."""
        return self._states

    @property
    def reviewers(self) -> tuple[str, ...]:
        """Everyone in the log, sorted."""
        return tuple(sorted({e.reviewer for e in self.entries}))

    def undo_target(self, reviewer: str) -> Entry | None:
        """The reviewer's last line that still counts, or None."""
        done, _ = self.steps(reviewer)
        return done[-1] if done else None

    def redo_target(self, reviewer: str) -> Entry | None:
        """The line that the reviewer undid last, or None; gone once something new has been decided."""
        _, back = self.steps(reviewer)
        return back[-1] if back else None

    def steps(self, reviewer: str) -> tuple[list[Entry], list[Entry]]:
        """The reviewer's lines that undo and redo would go through, each with the next one last."""
        done: list[Entry] = []
        back: list[Entry] = []
        for entry in self.entries:
            if entry.reviewer != reviewer or entry.action == KNOWN:
                continue
            if entry.action == "undo":
                moved = [e for e in done if e.uid == entry.ref]
                done = [e for e in done if e.uid != entry.ref]
                back += moved
            elif entry.action == "redo":
                moved = [e for e in back if e.uid == entry.ref]
                back = [e for e in back if e.uid != entry.ref]
                done += moved
            else:
                done.append(entry)
                back = []
        return done, back

    def applied(self, *, policy: Policy = "latest", reviewer: str | None = None) -> list[Entry]:
        """Decisions that are applied to the labels, oldest first.

        Raises
        ------
        InputError
            Unknown policy.
        """
        if policy not in POLICIES:
            raise InputError(f"The policy {policy!r} is unknown; use one of {', '.join(POLICIES)}.")
        return _edits_of(state.chosen(policy, reviewer) for state in self._states.values())

    def seen_by(self, reviewer: str, item: str) -> list[Entry]:
        """Decisions in force while a reviewer looks at an item, oldest first.

        The reviewer's own everywhere, others' on other items only: the item is seen as if nobody else had decided.
        """
        return _edits_of(
            state.view_of(reviewer) or (state.chosen() if name != item else None)
            for name, state in self._states.items()
        )


def _by_item(entries: Sequence[Entry]) -> Iterator[Entry]:
    """Lines item by item: what was decided of many at once, and undone or redone, is a line of each."""
    together = {e.uid: e.parts for e in entries if e.action == BULK}
    for entry in entries:
        for part in together.get(entry.ref if entry.action in STEPS else entry.uid, ()):
            # an undone line is told by the undo that took it back
            yield replace(entry, item=part.item) if entry.action in STEPS else part
        if entry.action != BULK and entry.ref not in together:
            yield entry


def _edits_of(views: Iterable[View | None]) -> list[Entry]:
    """Decisions of views that change labels, oldest first."""
    decisions = [d for view in views if view is not None for d in view.decisions if d.edits]
    return sorted(decisions, key=lambda e: e.order)


def _undone(entries: Sequence[Entry]) -> set[str]:
    """Identifiers of lines that do not count; only a line's own reviewer can undo it."""
    owner = {e.uid: e.reviewer for e in entries}
    undone: set[str] = set()
    for entry in entries:
        if entry.action in STEPS and owner.get(entry.ref) == entry.reviewer:
            (undone.add if entry.action == "undo" else undone.discard)(entry.ref)
    return undone


def _state(lines: Sequence[Entry]) -> ItemState:
    held: dict[str, list[Entry]] = {}
    comments = []
    tags: tuple[str, ...] = ()
    for entry in lines:
        if entry.comment:
            comments.append(entry)
        if entry.action == "tag":
            tags = entry.tags
        if entry.action in NOTES:
            continue
        if entry.action in VERDICTS:
            held[entry.reviewer] = [entry]
        else:
            held.setdefault(entry.reviewer, []).append(entry)
    views = [View(name, _outcome(decisions), tuple(decisions)) for name, decisions in held.items()]
    views.sort(key=lambda view: view.decisions[-1].order)
    state = ItemState("open", tuple(views), tuple(comments), tags)
    return ItemState(_status(state), state.views, state.comments, state.tags)


def _status(state: ItemState) -> Status:
    if not state.views:
        return "open"
    if state.settled is not None:
        return "unsure" if state.settled.outcome == "unsure" else "done"
    first = state.views[0]
    if not all(view.same_as(first) for view in state.views[1:]):
        return "conflict"
    return "unsure" if first.outcome == "unsure" else "done"


def _outcome(decisions: Sequence[Entry]) -> str:
    """Words for what the decisions of one reviewer on one item amount to."""
    words: list[str] = []
    for entry in decisions:
        word = entry.action
        if entry.action == "class":
            categories = {e["category"] for e in entry.edits if "category" in e}
            words = [w for w in words if not w.startswith("class ")]  # the last class counts
            word = "class " + ",".join(map(str, sorted(categories)))
        if word not in words:
            words.append(word)
    return " + ".join(words)


def _comparable(edits: list[dict[str, Any]]) -> str:
    """Edits as text in which added annotations have no owner."""
    names: dict[str, str] = {}

    def rename(key: str) -> str:
        return names.setdefault(key, f"new {len(names)}") if key.startswith("new.") else key

    plain = []
    for edit in edits:
        copy = dict(edit)
        if "annotations" in copy:
            copy["annotations"] = [{**a, "key": rename(a["key"])} for a in copy["annotations"]]
        if "targets" in copy:
            copy["targets"] = [rename(key) for key in copy["targets"]]
        plain.append(copy)
    return json.dumps(plain, sort_keys=True)


@dataclass(frozen=True)
class Agreement:
    """How far two reviewers agree.

    Attributes
    ----------
    reviewers : (str, str)
    n_items : int
        Items that both have decided.
    observed : float
        Share of them with the same outcome; NaN without any.
    kappa : float
        Cohen's kappa over the outcomes; NaN where it is undefined (no items, or both always gave one and the same
        outcome, so that chance alone would agree always).
    """

    reviewers: tuple[str, str]
    n_items: int
    observed: float
    kappa: float


def cohen_kappa(pairs: Sequence[tuple[str, str]]) -> tuple[float, float]:
    """Observed agreement and Cohen's kappa of pairs of outcomes; NaN where undefined.

    ``kappa = (p_o - p_e) / (1 - p_e)`` with ``p_o`` the share of equal pairs and ``p_e`` the sum over outcomes of the
    product of both raters' shares (Cohen, "A coefficient of agreement for nominal scales", 1960).
    """
    n = len(pairs)
    if not n:
        return float("nan"), float("nan")
    observed = sum(a == b for a, b in pairs) / n
    first, second = Counter(a for a, _ in pairs), Counter(b for _, b in pairs)
    # whole numbers until the last step, so that certain agreement is recognised exactly
    chance = sum(first[outcome] * second[outcome] for outcome in first)
    if chance == n * n:
        return observed, float("nan")
    expected = chance / (n * n)
    return observed, (observed - expected) / (1 - expected)


def agreement(history: History) -> list[Agreement]:
    """Agreement of every two reviewers, over the items both have decided; without settling decisions."""
    outcomes: dict[str, dict[str, str]] = defaultdict(dict)
    for item, state in history.items.items():
        for view in state.views:
            # who settles a conflict has seen both sides: not an independent opinion
            if not view.settles:
                outcomes[view.reviewer][item] = view.outcome
    result = []
    for a, b in combinations(sorted(outcomes), 2):
        both = sorted(set(outcomes[a]) & set(outcomes[b]))
        observed, kappa = cohen_kappa([(outcomes[a][item], outcomes[b][item]) for item in both])
        result.append(Agreement((a, b), len(both), observed, kappa))
    return result
