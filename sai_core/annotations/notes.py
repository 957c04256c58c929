"""What a reader left out, converted or guessed, carried beside what it read so that every place can say it.

A file that breaks a rule is refused. What is legal and still may not be what its author meant (classes that are none
of the 13, distances that look like metres, boxes in place of regions) is read, counted and told: readers return
:class:`FileNotes` on their containers, and :func:`summarise_notes` turns those of many files into a few sentences.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
import numpy.typing as npt

MAX_CLASSES: Final[int] = 100
"""Unknown classes that are kept apart by name; the rest are counted together."""

_SHOWN: Final[int] = 8
_OTHERS: Final[str] = "others"

SMALLEST_USUAL_CM: Final[float] = 20.0
"""Nothing that is recorded in a room with a microphone array is nearer; such distances are metres, or a mistake."""


@dataclass(frozen=True)
class Note:
    """One remark about a file.

    Attributes
    ----------
    code : str
        Stable name of the kind of remark, e.g. ``"distances_small"``.
    message : str
        A sentence without the file's name.
    """

    code: str
    message: str


@dataclass(frozen=True)
class FileNotes:
    """Remarks about one file; empty for a file that was read as it is.

    Attributes
    ----------
    classes : tuple of (str, int)
        Classes, as the file calls them (name, or id where it has no names), that are none of the 13, and how many
        annotations of each were left out; most frequent first.
    notes : tuple of Note
        Everything else.
    """

    classes: tuple[tuple[str, int], ...] = ()
    notes: tuple[Note, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.classes or self.notes)

    @property
    def n_left_out(self) -> int:
        """Annotations that were left out."""
        return sum(n for _, n in self.classes)

    def with_note(self, code: str, message: str) -> FileNotes:
        """These notes and one more."""
        return replace(self, notes=(*self.notes, Note(code, message)))

    def sentences(self) -> tuple[str, ...]:
        """All remarks, one sentence each."""
        return (*_class_sentences(self.classes), *(note.message for note in self.notes))


NO_NOTES: Final[FileNotes] = FileNotes()


def left_out_classes(counts: Counter[str]) -> tuple[tuple[str, int], ...]:
    """Counts by class for :attr:`FileNotes.classes`: most frequent first, then by name, the rarest put together."""
    ranked = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    rest = sum(n for _, n in ranked[MAX_CLASSES:])
    return (*ranked[:MAX_CLASSES], *(((_OTHERS, rest),) if rest else ()))


def summarise_notes(files: Iterable[tuple[str, FileNotes]], *, what: str = "") -> tuple[str, ...]:
    """What is to be told about several files, in as few sentences as possible.

    Parameters
    ----------
    files : iterable of (str, FileNotes)
        Name (of the recording) and notes of each.
    what : str
        Put in front, e.g. ``"labels"``.

    Returns
    -------
    tuple of str
        Left-out classes are added up over all files; of equal remarks the first is shown, with the number of files.
    """
    classes: Counter[str] = Counter()
    with_classes: list[str] = []
    first: dict[str, tuple[str, str]] = {}
    count: Counter[str] = Counter()
    for name, notes in files:
        if notes.classes:
            with_classes.append(name)
            classes.update(dict(notes.classes))
        for note in notes.notes:
            first.setdefault(note.code, (name, note.message))
        count.update({note.code for note in notes.notes})
    start = f"{what}: " if what else ""
    where = f", in {_files(with_classes[0], len(with_classes))}" if with_classes else ""
    sentences = [f"{start}{sentence[:-1]}{where}." for sentence in _class_sentences(left_out_classes(classes))]
    for code, (name, message) in first.items():
        sentences.append(f"{start}{_files(name, count[code])}: {message}")
    return tuple(sentences)


def notes_json(files: Iterable[tuple[str, FileNotes]]) -> dict[str, Any]:
    """Left-out annotations of several files as a JSON object: number, and number by class."""
    classes: Counter[str] = Counter()
    for _, notes in files:
        classes.update(dict(notes.classes))
    return {"annotations": sum(classes.values()), "classes": dict(left_out_classes(classes))}


def distance_note(distance_cm: npt.NDArray[np.float64]) -> Note | None:
    """A remark where all distances that are given lie below 20 cm (as metres would)."""
    given = distance_cm[distance_cm > 0]  # NaN (absent) is not
    if not len(given) or given.max() >= SMALLEST_USUAL_CM:
        return None
    span = f"{given.min():g}" if given.min() == given.max() else f"{given.min():g} to {given.max():g}"
    return Note(
        "distances_small",
        f"all {len(given)} distances lie below {SMALLEST_USUAL_CM:g} cm ({span}); they are read as centimetres, and "
        "look like metres: multiply them by 100 if they are.",
    )


def _class_sentences(classes: tuple[tuple[str, int], ...]) -> tuple[str, ...]:
    if not classes:
        return ()
    total = sum(n for _, n in classes)
    listed = ", ".join(f"{_shown(name)}: {n}" for name, n in classes[:_SHOWN])
    more = f" and {len(classes) - _SHOWN} more classes" if len(classes) > _SHOWN else ""
    noun = "1 annotation was" if total == 1 else f"{total} annotations were"
    return (f"{noun} left out, of classes that are none of the 13 ({listed}{more}).",)


def _shown(name: str) -> str:
    return f"id {name}" if name.lstrip("-").isdigit() else name


def _files(name: str, n: int) -> str:
    return name if n == 1 else f"{name} and {n - 1} more recordings" if n > 2 else f"{name} and 1 more recording"
