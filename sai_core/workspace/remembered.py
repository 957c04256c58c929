"""``workspace.json``: recent data roots, and folders elsewhere that the user added."""

from __future__ import annotations

import os
import secrets
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import msgspec

from sai_core.dataset.layout import WORKSPACE_FILE, WORKSPACE_MARK
from sai_core.workspace.facts import NewerFacts, UnreadableFacts, read_json, write_json

MARKER: Final[str] = WORKSPACE_FILE
_MARK: Final[str] = WORKSPACE_MARK.strip('"')
FORMAT: Final[int] = 1


@dataclass(frozen=True)
class Added:
    """A folder elsewhere that the user added.

    Attributes
    ----------
    path : Path
    kind : {"predictions", "labels"}
    """

    path: Path
    kind: str


@dataclass(frozen=True)
class Remembered:
    """What ``workspace.json`` holds.

    Attributes
    ----------
    roots : tuple of str
        The newest first.
    added : tuple of Added
    unknown : mapping
        Fields of other versions; kept.
    problem : str
        Why nothing could be read, in one sentence.
    is_newer : bool
        It was written by a newer version, and is left as it is.
    """

    roots: tuple[str, ...] = ()
    added: tuple[Added, ...] = ()
    unknown: Mapping[str, Any] = field(default_factory=dict)
    problem: str = ""
    is_newer: bool = False


class _Folder(msgspec.Struct):
    path: str
    kind: str


class _File(msgspec.Struct):
    roots: tuple[str, ...] = ()
    added: tuple[_Folder, ...] = ()


def read_remembered(workspace: Path) -> Remembered:
    """What is remembered; nothing where the file is absent or cannot be used (``problem`` says why)."""
    path = workspace / MARKER
    try:
        values = read_json(path, mark=_MARK, newest=FORMAT, what="list of recent data")
    except (FileNotFoundError, NotADirectoryError):
        return Remembered()
    except UnreadableFacts as error:
        return Remembered(problem=str(error), is_newer=isinstance(error, NewerFacts))
    try:
        known = msgspec.convert(values, _File)
    except (msgspec.ValidationError, OverflowError) as error:
        return Remembered(problem=f"{path}: is damaged ({error}).")
    unknown = {k: v for k, v in values.items() if k not in (_MARK, "roots", "added")}
    added = tuple(Added(Path(a.path), a.kind) for a in known.added if _is_place(a.path))
    return Remembered(tuple(filter(_is_place, known.roots)), added, unknown)


def _is_place(text: str) -> bool:
    """Whether a text is what this program writes for a place; what somebody else wrote must not become ``.``."""
    return os.path.isabs(text) and "\x00" not in text


def write_remembered(workspace: Path, known: Remembered) -> None:
    """Write the file; a damaged one is kept beside it."""
    path = workspace / MARKER
    if known.problem:
        with suppress(OSError):
            os.rename(path, path.with_name(f"{MARKER}.damaged-{secrets.token_hex(3)}"))
    added = [{"path": os.fspath(a.path), "kind": a.kind} for a in known.added]
    write_json(path, {_MARK: FORMAT, "roots": list(known.roots), "added": added, **known.unknown})


def mark(workspace: Path) -> None:
    """Make the file if it is not there: it tells that a folder is a workspace."""
    if not os.path.lexists(workspace / MARKER):
        write_remembered(workspace, Remembered())
