"""Items with known answers, mixed into the queue to measure reviewers.

Of an event that nothing speaks against an error is made (:mod:`sai_core.review.injection`), and the queue is built of
the recording with it: the item that comes out looks like every other one. The error is in one of two places:

=========  ===================================================  ====================================================
wrong      what is changed                                      right answer
=========  ===================================================  ====================================================
label      the label, by an error of any kind                   any change (a **hit**); to keep it is a miss
systems    what all systems say (class, removed, added)         to keep the label; a change is a **false alarm**
=========  ===================================================  ====================================================

Nothing speaks against an event that no item of the queue is about, and that a system (same class, within 20 degrees) or
the metadata confirm in at least half of its frames. On exact labels the answers are certain; on others they are as sure
as labels are that no system and no metadata doubt.

Answers are lines of the log with an action of their own (``answer``): no count, export, agreement or score takes them
in. Which items there are follows from files, share and seed; their identifiers also from the reviewer, so that nobody
sees another's answers.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, Literal

import numpy as np
import numpy.typing as npt

from sai_core.annotations import AnnotationTable, DcaseMetadata
from sai_core.dataset import DataRoot, PredictionSet
from sai_core.errors import InputError
from sai_core.geometry import great_circle_deg
from sai_core.metrics.official.directions import region_peak_direction
from sai_core.progress import Progress, no_progress
from sai_core.review.edits import annotation_keys
from sai_core.review.entries import ANSWER, KNOWN
from sai_core.review.history import History, View
from sai_core.review.injection import ERROR_KINDS, ErrorKind, Injection, events_of, inject, put_in, shows
from sai_core.review.queue import Item, Queue, QueueSettings, read_recording, recording_items
from sai_core.review.store import ReviewStore

Wrong = Literal["label", "systems"]
SYSTEM_KINDS: Final[Mapping[ErrorKind, str]] = {"class": "class", "removed": "unfound", "added": "unlabelled"}
"""Errors that can be put into what systems say, and the kind of item that comes out."""

MOST_SHARE: Final[float] = 0.5
MOST_ITEMS: Final[int] = 100
_TRIES: Final[int] = 8
"""Events that are tried for each item before there are fewer than asked for."""

_Z: Final[float] = 1.959963984540054


@dataclass(frozen=True, eq=False)
class Known:
    """An item with a known answer.

    Attributes
    ----------
    item : Item
        As it is shown: under an identifier of its own, with the suspicion of its neighbours.
    place : int
        It stands before this item of the queue.
    key : str
        The same for all reviewers.
    kind : str
        Error, one of :data:`sai_core.review.injection.ERROR_KINDS`.
    wrong : {"label", "systems"}
    labels : AnnotationTable
    predictions : mapping of AnnotationTable
        By system; both as they are shown.
    metadata : DcaseMetadata or None
    """

    item: Item
    place: int
    key: str
    kind: ErrorKind
    wrong: Wrong
    labels: AnnotationTable
    predictions: Mapping[str, AnnotationTable]
    metadata: DcaseMetadata | None

    def facts(self) -> dict[str, Any]:
        """What an answer notes about it."""
        return {"key": self.key, "kind": self.kind, "wrong": self.wrong}


@dataclass(frozen=True)
class KnownItems:
    """Items with known answers for one reviewer.

    Attributes
    ----------
    items : tuple of Known
    note : str
        Why there are fewer than asked for; "" else.
    """

    items: tuple[Known, ...]
    note: str = ""


def start(store: ReviewStore, reviewer: str, *, share: float, seed: int) -> None:
    """Mix items with known answers into a reviewer's queue from now on; a share of 0 ends it.

    Raises
    ------
    InputError
        A share or seed that is none.
    """
    if not 0 <= share <= MOST_SHARE:
        raise InputError(f"The share of items with known answers must lie between 0 and {MOST_SHARE:g}, got {share:g}.")
    if not 0 <= seed < 2**31:
        raise InputError(f"The seed must be a whole number from 0 to {2**31 - 1}, got {seed}.")
    text = f"{share:.0%} items with known answers, seed {seed}" if share else "no more items with known answers"
    after = {"share": round(share, 4), "seed": seed, "text": text}
    store.append(reviewer=reviewer, split="", recording="*", item=KNOWN, action=KNOWN, after=after)


def session_of(history: History, reviewer: str) -> tuple[float, int]:
    """Share and seed that a reviewer chose last; a share of 0 without any."""
    for entry in reversed(history.entries):
        if entry.action == KNOWN and entry.reviewer == reviewer:
            share, seed = entry.after.get("share"), entry.after.get("seed")
            # from a file of anybody
            if isinstance(share, (int, float)) and 0 <= share <= MOST_SHARE and type(seed) is int and seed >= 0:
                return float(share), seed
    return 0.0, 0


def make_known(
    root: DataRoot,
    systems: Sequence[PredictionSet],
    queue: Queue,
    *,
    share: float,
    seed: int,
    reviewer: str,
    settings: QueueSettings | None = None,
    progress: Progress = no_progress,
) -> KnownItems:
    """Make the items with known answers of one reviewer.

    Parameters
    ----------
    root, systems, queue, settings
        What the reviewer's queue was made of.
    share : float
        Of all items that are listed then, in [0, 0.5].
    seed : int
        Draws events, errors and places.
    reviewer : str
    progress : Progress
    """
    n = min(round(len(queue) * share / (1 - share)), MOST_ITEMS)
    if share > 0 and len(queue):
        n = max(n, 1)
    rng = np.random.default_rng(seed)
    order = [root.recordings[k] for k in rng.permutation(len(root.recordings)).tolist()]
    chosen = settings or QueueSettings()
    doubted: dict[tuple[str, str], set[str]] = defaultdict(set)
    for item in queue.items:
        doubted[item.split, item.recording] |= set(item.targets)
    made: list[tuple[Item, str, ErrorKind, Wrong, _Shown]] = []
    # so many of each recording that those of all recordings are enough
    each = -(-n // max(len(order), 1))
    for number, recording in enumerate(order):
        if len(made) >= n:
            break
        progress(number / len(order), recording.name)
        if recording.label_path is None or (recording.split, recording.name) in queue.unread:
            continue
        tables, metadata = read_recording(recording, systems, problems=[])
        labels = tables.pop("", None)
        if labels is None or not len(labels):
            continue
        scene = _Shown(labels, tables, metadata)
        events = _undoubted(scene, doubted[recording.split, recording.name], chosen.near_deg)
        before = {item.id for item in _items(scene, recording.split, chosen)}
        wanted = min(max(each, n - len(made) - each * (len(order) - number - 1)), n - len(made))
        tries = 0
        for at in rng.permutation(len(events)).tolist():
            if wanted <= 0 or tries >= _TRIES * max(each, 1):
                break
            tries += 1
            wrong: Wrong = "label" if rng.random() < 0.5 or not tables else "systems"
            kinds: Sequence[ErrorKind] = ERROR_KINDS if wrong == "label" else tuple(SYSTEM_KINDS)
            kind = kinds[int(rng.integers(len(kinds)))]
            own = int(rng.integers(2**31))
            put = (_wrong_label if wrong == "label" else _wrong_systems)(scene, events[at], kind, own, chosen.near_deg)
            if put is None:
                continue
            found = [i for i in _items(put.shown, recording.split, chosen) if i.id not in before]
            about = _telling(found, put, wrong)
            if about is not None:
                made.append((about, f"{wrong} {kind} {recording.split} {recording.name} {own}", kind, wrong, put.shown))
                wanted -= 1
    places = rng.integers(0, len(queue) + 1, len(made)).tolist()
    known = []
    for (item, text, kind, wrong, shown), place in zip(made, places, strict=True):
        key = hashlib.blake2b(f"{seed} {text}".encode("utf-8", "surrogateescape"), digest_size=8).hexdigest()
        name = hashlib.blake2b(f"{reviewer} {key}".encode("utf-8", "surrogateescape"), digest_size=8).hexdigest()
        near = queue.items[max(place - 1, 0) : place + 1]
        score = float(np.mean([i.score for i in near])) if near else item.score
        item = replace(item, id=name, score=score)
        known.append(Known(item, place, key, kind, wrong, shown.labels, shown.predictions, shown.metadata))
    note = ""
    if len(known) < n:
        note = (
            f"{len(known)} of {n} items with known answers could be made: there are not enough events that a system or "
            "the metadata confirm and no item is about."
        )
    return KnownItems(tuple(sorted(known, key=lambda k: (k.place, k.key))), note)


@dataclass(frozen=True, eq=False)
class _Shown:
    labels: AnnotationTable
    predictions: Mapping[str, AnnotationTable]
    metadata: DcaseMetadata | None


@dataclass(frozen=True, eq=False)
class _Put:
    shown: _Shown
    error: Injection
    keys: frozenset[str] = frozenset()
    """Of the labels as shown: those that are wrong."""


def _items(shown: _Shown, split: str, settings: QueueSettings) -> list[Item]:
    return recording_items(
        shown.labels.recording, shown.labels, shown.predictions, shown.metadata, split=split, settings=settings
    )


def _undoubted(scene: _Shown, doubted: set[str], near_deg: float) -> list[npt.NDArray[np.int64]]:
    """Rows of events that nothing speaks against (module docstring)."""
    keys = annotation_keys(scene.labels)
    azimuth, elevation = region_peak_direction(scene.labels)
    others = [(t.frame, t.category_id, *region_peak_direction(t)) for t in scene.predictions.values()]
    if scene.metadata is not None:
        m = scene.metadata
        others.append((m.frame, m.category_id, m.azimuth_deg, m.elevation_deg))
    found = []
    for rows in events_of(scene.labels):
        if any(keys[row] in doubted for row in rows.tolist()):
            continue
        confirmed = 0
        for row in rows.tolist():
            confirmed += any(
                bool(
                    (
                        great_circle_deg(
                            azimuth[row],
                            elevation[row],
                            az[
                                same := (frame == scene.labels.frame[row]) & (category == scene.labels.category_id[row])
                            ],
                            el[same],
                        )
                        <= near_deg
                    ).any()
                )
                for frame, category, az, el in others
            )
        if confirmed >= 0.5 * len(rows):
            found.append(rows)
    return found


def _wrong_label(
    scene: _Shown, rows: npt.NDArray[np.int64], kind: ErrorKind, seed: int, near_deg: float
) -> _Put | None:
    n_frames = 1 + max(int(t.frame.max(initial=0)) for t in (scene.labels, *scene.predictions.values()))
    try:
        error = inject(scene.labels, rows, kind, seed=seed, n_frames=n_frames, uid=f"{seed:032x}")
    except InputError:
        return None
    put = put_in(scene.labels, [error])
    names = {a["key"] for edit in error.edits for a in edit.get("annotations", [])}
    if kind in ("class", "moved", "distance"):
        names |= set(error.targets)
    keys = frozenset(n for n, before in zip(annotation_keys(put.table), put.keys, strict=True) if before in names)
    return _Put(replace(scene, labels=put.table), error, keys)


def _wrong_systems(
    scene: _Shown, rows: npt.NDArray[np.int64], kind: ErrorKind, seed: int, near_deg: float
) -> _Put | None:
    """The same error in all systems that have the event."""
    labels = scene.labels
    where = dict(
        zip(labels.frame[rows].tolist(), zip(*region_peak_direction(labels.take(rows)), strict=True), strict=True)
    )
    changed: dict[str, AnnotationTable] = {}
    first: Injection | None = None
    for name, table in scene.predictions.items():
        azimuth, elevation = region_peak_direction(table)
        same = [
            k
            for k in np.flatnonzero(table.category_id == labels.category_id[rows[0]]).tolist()
            if (at := where.get(int(table.frame[k]))) is not None
            and great_circle_deg(azimuth[k], elevation[k], at[0], at[1]) <= near_deg
        ]
        if len(same) < 2:
            continue
        n_frames = int(table.frame.max()) + 1
        error = inject(table, np.array(same), kind, seed=seed, n_frames=n_frames, uid=f"{seed:032x}")
        wrong = put_in(table, [error]).table
        score = np.where(np.isnan(wrong.score), np.nanmedian(table.score[same]), wrong.score).astype(table.score.dtype)
        changed[name] = replace(wrong, score=score)
        first = first or error
    if first is None:
        return None
    return _Put(replace(scene, predictions={**scene.predictions, **changed}), first)


def _telling(found: Sequence[Item], put: _Put, wrong: Wrong) -> Item | None:
    """The most suspicious of the new items that are about the error."""
    error = put.error
    if wrong == "systems":
        frames = set(error.frames)
        about = [
            i for i in found if i.kind == SYSTEM_KINDS[error.kind] and not frames.isdisjoint(range(i.start, i.end + 1))
        ]
    else:
        about = [i for i in found if shows(i, error, put.keys, put.shown.predictions)]
    return max(about, key=lambda i: (i.score, i.id), default=None)


def report(history: History) -> list[dict[str, Any]]:
    """How reviewers answered, as rows for tables and JSON.

    Returns
    -------
    list of dict
        By reviewer, ``wrong`` and ``kind`` ("all" first): ``n`` answered, ``right`` (label: changed; systems: kept),
        ``unsure``, ``rate`` of the right ones with its 95 per cent interval (Wilson) ``low``, ``high``; for ``systems``
        the false alarms are ``n - right - unsure``. ``seconds`` is the median time from an item's first showing to the
        first answer, null where it is not known.
    """
    groups: dict[tuple[str, str, str], list[tuple[bool, bool, float | None]]] = defaultdict(list)
    for view in history.answers():
        facts = view.decisions[-1].after.get("known", {})
        wrong, kind = str(facts.get("wrong")), str(facts.get("kind"))
        if wrong not in ("label", "systems") or kind not in ERROR_KINDS:
            continue
        verdict = view.decisions[-1].action
        good = _changes(view) == (wrong == "label") and verdict != "unsure"
        seconds = view.decisions[0].after.get("seconds")
        time = float(seconds) if isinstance(seconds, (int, float)) else None
        for name in ("all", kind):
            groups[view.reviewer, wrong, name].append((good, verdict == "unsure", time))
    rows = []
    order = ("all", *ERROR_KINDS)
    for (reviewer, wrong, kind), answers in sorted(
        groups.items(), key=lambda g: (g[0][0], g[0][1], order.index(g[0][2]))
    ):
        n, right, unsure = len(answers), sum(a for a, _, _ in answers), sum(u for _, u, _ in answers)
        low, high = wilson(right, n)
        times = [t for _, _, t in answers if t is not None]
        rows.append(
            {
                "reviewer": reviewer,
                "wrong": wrong,
                "kind": kind,
                "n": n,
                "right": right,
                "unsure": unsure,
                "rate": right / n,
                "low": low,
                "high": high,
                "seconds": float(np.median(times)) if times else None,
            }
        )
    return rows


def _changes(view: View) -> bool:
    """Whether a reviewer did not leave the label as it was."""
    return view.decisions[-1].action not in ("reject", "unsure")


def wilson(k: int, n: int) -> tuple[float, float]:
    """95 per cent interval of a share, k of n > 0 (Wilson, "Probable inference", 1927)."""
    share, z2 = k / n, _Z**2
    middle = (share + z2 / (2 * n)) / (1 + z2 / n)
    half = _Z / (1 + z2 / n) * float(np.sqrt(share * (1 - share) / n + z2 / (4 * n * n)))
    return max(middle - half, 0.0), min(middle + half, 1.0)


__all__ = ["ANSWER", "KNOWN", "Known", "KnownItems", "make_known", "report", "session_of", "start", "wilson"]
