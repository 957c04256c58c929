"""What people keep with a run: a note and tags, in ``notes.json`` of its folder."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from sai_core.errors import InputError
from sai_core.files import atomic_write

NOTES_NAME: Final[str] = "notes.json"
MAX_NOTE: Final[int] = 2000
"""Characters of a note."""

MAX_TAGS: Final[int] = 20
MAX_TAG: Final[int] = 40
"""Characters of a tag."""


@dataclass(frozen=True)
class RunNotes:
    """A note and tags.

    Attributes
    ----------
    note : str
        Free text, at most :data:`MAX_NOTE` characters.
    tags : tuple of str
        What groups runs; each once, at most :data:`MAX_TAGS`.
    """

    note: str = ""
    tags: tuple[str, ...] = ()


def notes_from(raw: Mapping[str, Any]) -> RunNotes:
    """Notes from the content of ``notes.json``; whatever is not a note or a tag is ignored."""
    note, tags = raw.get("note"), raw.get("tags")
    found = [tag for tag in tags if isinstance(tag, str)] if isinstance(tags, list) else []
    return RunNotes(note[:MAX_NOTE] if isinstance(note, str) else "", _plain(t[:MAX_TAG] for t in found)[:MAX_TAGS])


def write_notes(run: Path, note: str, tags: Iterable[str]) -> RunNotes:
    """Replace a run's note and tags.

    Parameters
    ----------
    run : Path
        Run folder.
    note : str
    tags : iterable of str
        Spaces at the ends and empty tags are dropped.

    Raises
    ------
    InputError
        Too long, too many, or ``notes.json`` holds something that is not ours, which would be lost.
    EnvironmentProblem
        The folder cannot be written.
    """
    path = Path(run) / NOTES_NAME
    wanted = RunNotes(note.strip(), _plain(tags))
    if len(wanted.note) > MAX_NOTE:
        raise InputError(f"A note has at most {MAX_NOTE} characters; this one has {len(wanted.note)}.")
    if len(wanted.tags) > MAX_TAGS or any(len(tag) > MAX_TAG for tag in wanted.tags):
        raise InputError(f"A run has at most {MAX_TAGS} tags of at most {MAX_TAG} characters each.")
    if path.exists() and not _is_ours(path):
        raise InputError(f"{path}: was not written by this program or is damaged; move it away first.")
    with atomic_write(path, "w", private=True) as stream:
        stream.write(json.dumps(asdict(wanted), indent=1, ensure_ascii=False) + "\n")
    return wanted


def _plain(tags: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(tag for raw in tags if (tag := " ".join(raw.split()))))


def _is_ours(path: Path) -> bool:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return False
    return isinstance(content, dict) and set(content) == {"note", "tags"}
