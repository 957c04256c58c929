"""One line of the review log: who decided what about which item, when, with before and after.

The log is append-only. Undo and redo are lines too, so that nothing is ever lost and there is no limit to them. What a
log means (which decisions stand, who disagrees with whom) is worked out in :mod:`sai_core.review.history`.

========  =======================================================================================================
action    meaning
========  =======================================================================================================
accept    the item's proposal is right: the label is changed as proposed
reject    the proposal is wrong: the label stays as it is
unsure    looked at, cannot tell
class     another class
shift     region moved
redraw    region drawn anew (box, lasso, energy brush)
split     one instance becomes two
merge     two instances become one
distance  another distance
remove    label taken out
source    a source added from nothing, or placed in another frame: a keyframe; frames between keyframes are filled
comment   a remark; decides nothing
tag       tags of the item are replaced; decides nothing
bulk      one verdict on many items at once; its ``after["decisions"]`` are lines of their own (:attr:`Entry.parts`)
known     items with known answers are mixed into the reviewer's queue from here on, or no more; decides nothing
answer    about one of those (:mod:`sai_core.review.known`); decides nothing about the labels
undo      the line in ``ref`` does not count any more
redo      the line in ``ref`` counts again
========  =======================================================================================================
"""

from __future__ import annotations

import json
import math
import re
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from sai_core.errors import InputError
from sai_core.review.edits import check_edits

VERDICTS: Final[tuple[str, ...]] = ("accept", "reject", "unsure")
"""Start an item over: earlier edits of the same reviewer on it no longer count."""

CHANGES: Final[tuple[str, ...]] = ("class", "shift", "redraw", "split", "merge", "distance", "remove", "source")
"""Add to what the reviewer has decided about the item so far."""

NOTES: Final[tuple[str, ...]] = ("comment", "tag")
STEPS: Final[tuple[str, ...]] = ("undo", "redo")
BULK: Final[str] = "bulk"
KNOWN: Final[str] = "known"
ANSWER: Final[str] = "answer"
ACTIONS: Final[tuple[str, ...]] = (*VERDICTS, *CHANGES, *NOTES, *STEPS, BULK, KNOWN, ANSWER)

MAX_ENTRY_BYTES: Final[int] = 64 << 20
"""JSON of one entry: a hundred times the largest region a person draws over a whole event."""

_MAX_DEPTH: Final[int] = 16
"""Brackets within brackets; a region drawn anew has seven."""

MAX_COMMENT: Final[int] = 4000
MAX_TAGS: Final[int] = 20
_UID: Final = re.compile(r"[0-9a-f]{32}", flags=re.ASCII)
_TIME: Final = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", flags=re.ASCII)
TIME_FORMAT: Final[str] = "%Y-%m-%dT%H:%M:%S.%fZ"


@dataclass(frozen=True)
class Entry:
    """A line of the log.

    Attributes
    ----------
    uid : str
        32 hexadecimal digits, unique over all review files: what makes merging safe.
    time_utc : str
        ``2026-07-01T12:00:00.000000Z``; rising for each reviewer.
    reviewer : str
        Name, 1 to 60 characters.
    split, recording : str
    item : str
        Identifier of the queue's item.
    action : str
        See the module's description.
    ref : str
        Identifier of the line that undo and redo are about; else "".
    before : dict
        ``item`` (kind, frames, score as the queue had them) and ``annotations`` (what the targets were).
    after : dict
        ``edits`` (:mod:`sai_core.review.edits`), ``text`` (one line for people), ``settles`` (true when the decision
        was made to end a conflict).
    comment : str
    tags : tuple of str
    """

    uid: str
    time_utc: str
    reviewer: str
    split: str
    recording: str
    item: str
    action: str
    ref: str = ""
    before: dict[str, Any] = field(default_factory=dict)
    after: dict[str, Any] = field(default_factory=dict)
    comment: str = ""
    tags: tuple[str, ...] = ()

    @property
    def edits(self) -> list[dict[str, Any]]:
        """Changes to the labels."""
        return self.after.get("edits", [])

    @property
    def text(self) -> str:
        """One line for people."""
        return str(self.after.get("text", self.action))

    @property
    def parts(self) -> tuple[Entry, ...]:
        """The line itself, or the decisions that were made with it at once: undone with it, never alone."""
        if self.action != BULK:
            return (self,)
        mine = {"time_utc": self.time_utc, "reviewer": self.reviewer}
        return tuple(Entry(**{**d, **mine, "tags": tuple(d["tags"])}) for d in self.after.get("decisions", []))

    @property
    def order(self) -> tuple[str, str]:
        """Sort key of merged logs."""
        return self.time_utc, self.uid

    @property
    def as_decision(self) -> Entry:
        """Of an answer: what it would be if it were about the labels."""
        after = {**self.after, "edits": self.after.get("shown", [])}
        return Entry(**{**self.__dict__, "action": str(self.after.get("answer", "unsure")), "after": after})

    def to_json(self) -> dict[str, Any]:
        """Plain object with all fields."""
        return {
            "uid": self.uid,
            "time_utc": self.time_utc,
            "reviewer": self.reviewer,
            "split": self.split,
            "recording": self.recording,
            "item": self.item,
            "action": self.action,
            "ref": self.ref,
            "before": self.before,
            "after": self.after,
            "comment": self.comment,
            "tags": list(self.tags),
        }


def new_uid() -> str:
    """Identifier of a new line."""
    return uuid.uuid4().hex


def is_uid(value: object) -> bool:
    """Whether something is an identifier of a line."""
    return isinstance(value, str) and _UID.fullmatch(value) is not None


def check_reviewer(name: str) -> str:
    """Reviewer's name without surrounding space.

    Raises
    ------
    InputError
        Empty, too long, or with control characters.
    """
    name = name.strip()
    if not 1 <= len(name) <= 60 or any(ord(c) < 32 or ord(c) == 127 for c in name):
        raise InputError("The reviewer's name must have 1 to 60 characters, without line breaks.")
    return name


def entry_from_json(value: object, *, where: str = "entry") -> Entry:
    """Line from JSON of unknown origin.

    Raises
    ------
    InputError
        A field that is missing, unknown, or not what it must be.
    """
    names = set(Entry.__dataclass_fields__)
    if not isinstance(value, Mapping) or set(map(str, value)) != names:
        raise InputError(f"{where}: must have exactly the fields {', '.join(sorted(names))}.")

    def text(name: str, most: int, least: int = 0) -> str:
        found = value[name]
        if not isinstance(found, str) or not least <= len(found) <= most or "\x00" in found:
            raise InputError(f"{where}: {name} must be text of {least} to {most} characters.")
        try:
            found.encode("utf-8")
        except UnicodeEncodeError:
            raise InputError(f"{where}: {name} is not valid text.") from None
        return found

    if not is_uid(value["uid"]):
        raise InputError(f"{where}: uid must be 32 hexadecimal digits.")
    action = value["action"]
    if not isinstance(action, str) or action not in ACTIONS:
        raise InputError(f"{where}: the action {str(action)[:30]!r} is unknown.")
    if (action in STEPS) != is_uid(value["ref"]) or not (is_uid(value["ref"]) or value["ref"] == ""):
        raise InputError(f"{where}: ref must name a line for undo and redo, and be empty for all else.")
    time_utc = text("time_utc", 27)
    try:
        if not _TIME.fullmatch(time_utc):
            raise ValueError
        if not 2000 <= datetime.strptime(time_utc, TIME_FORMAT).year < 3000:
            raise ValueError
    except ValueError:
        raise InputError(f"{where}: time_utc must look like 2026-07-01T12:00:00.000000Z.") from None
    tags = value["tags"]
    if not isinstance(tags, (list, tuple)) or not all(isinstance(t, str) for t in tags):
        raise InputError(f"{where}: tags must be a list of words.")
    before, after = value["before"], value["after"]
    if not isinstance(before, dict) or not isinstance(after, dict):
        raise InputError(f"{where}: before and after must be objects.")
    # edits have a check of their own, and may be large
    for name, content in (
        ("before", before),
        ("after", {k: v for k, v in after.items() if k not in ("edits", "shown", "decisions")}),
    ):
        _check_plain(content, f"{where}: {name}", 0)
    for name, kind, words in (("item", dict, "an object"), ("annotations", list, "a list"), ("action", str, "text")):
        if not isinstance(before.get(name, kind()), kind):
            raise InputError(f"{where}: before.{name} must be {words}.")
    if not isinstance(after.get("settles", False), bool):
        raise InputError(f"{where}: after.settles must be true or false.")
    after = dict(after)
    if "edits" in after:
        after["edits"] = check_edits(after["edits"], where=f"{where}: edits")
    if action == ANSWER:
        if after.get("answer") not in (*VERDICTS, *CHANGES, *NOTES) or not isinstance(after.get("known"), dict):
            raise InputError(f"{where}: after.answer and after.known must say what was answered to what.")
        after["shown"] = check_edits(after.get("shown", []), where=f"{where}: shown")
    if (action == BULK) != ("decisions" in after):
        raise InputError(f"{where}: after.decisions belong to the action {BULK!r} alone.")
    if action == BULK:
        after["decisions"] = _check_decisions(after["decisions"], where)
    if not isinstance(after.get("text", ""), str) or len(after.get("text", "")) > 1000:
        raise InputError(f"{where}: after.text must be one line.")
    return Entry(
        value["uid"],
        time_utc,
        check_reviewer(text("reviewer", 60, 1)),
        text("split", 200),
        text("recording", 200, 1),
        text("item", 64, 1),
        action,
        value["ref"],
        before,
        after,
        text("comment", MAX_COMMENT),
        check_tags(tags),
    )


def _check_decisions(value: object, where: str) -> list[dict[str, Any]]:
    if not isinstance(value, list) or not value:
        raise InputError(f"{where}: after.decisions must be a list of lines.")
    checked = [entry_from_json(line, where=f"{where}: decision {n}").to_json() for n, line in enumerate(value, start=1)]
    if any(line["action"] not in VERDICTS for line in checked):
        raise InputError(f"{where}: only {', '.join(VERDICTS)} can be decided of many items at once.")
    if len({line["item"] for line in checked}) < len(checked) or len({line["uid"] for line in checked}) < len(checked):
        raise InputError(f"{where}: decides about an item twice.")
    return checked


def _check_plain(value: object, where: str, depth: int) -> None:
    """Make sure that JSON can be written again and worked with: the log keeps for ever what it takes.

    JSON as Python reads it may hold NaN, infinity (also as ``1e999``), half a surrogate pair, numbers of
    hundreds of digits, and brackets nested a thousand deep.
    """
    if depth > _MAX_DEPTH:
        raise InputError(f"{where}: is nested more than {_MAX_DEPTH} deep.")
    if isinstance(value, dict):
        for key, inner in value.items():
            _check_plain(key, where, depth + 1)
            _check_plain(inner, where, depth + 1)
    elif isinstance(value, list):
        for inner in value:
            _check_plain(inner, where, depth + 1)
    elif isinstance(value, float):
        if not math.isfinite(value):
            raise InputError(f"{where}: holds {value}, which is not a number that can be kept.")
    elif isinstance(value, int) and not isinstance(value, bool):
        if not -(2**63) <= value < 2**63:
            raise InputError(f"{where}: holds a whole number beyond 64 bits.")
    elif isinstance(value, str):
        if "\x00" in value or any("\ud800" <= c <= "\udfff" for c in value):
            raise InputError(f"{where}: holds what is not valid text.")
    elif value is not None and not isinstance(value, bool):
        raise InputError(f"{where}: holds what is not JSON.")


def check_tags(tags: object) -> tuple[str, ...]:
    """Tags stripped, without empty and repeated ones.

    Raises
    ------
    InputError
        Too many, or a tag of more than 40 characters.
    """
    if not isinstance(tags, (list, tuple)) or not all(isinstance(t, str) for t in tags):
        raise InputError("Tags must be a list of words.")
    kept = tuple(dict.fromkeys(t.strip() for t in tags if t.strip()))
    if len(kept) > MAX_TAGS or any(len(t) > 40 or not t.isprintable() for t in kept):
        raise InputError(f"At most {MAX_TAGS} tags of at most 40 printable characters each.")
    return kept


def dumps(value: object) -> str:
    """Compact JSON text; NaN is a bug.

    Raises
    ------
    InputError
        Larger than an entry may be.
    """
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    if len(text) > MAX_ENTRY_BYTES:
        raise InputError("The decision is too large to be kept; apply it to fewer frames at once.")
    return text
