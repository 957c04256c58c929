"""Tags and notes on recordings, and saved views of a set: one small file for each data root.

``marks/<root>.json`` in the workspace; the data root itself stays as it is. Known by the root's place, like the
reviews: a root that was moved begins anew, and its former file stays.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

import msgspec

from sai_core.errors import EnvironmentProblem, InputError
from sai_core.workspace.facts import UnreadableFacts, read_json, write_json
from sai_core.workspace.folder import Workspace

_MARK: Final[str] = "sai_recordings"
_FORMAT: Final[int] = 1
VIEW_FILTER: Final[str] = "where"
"""Parameter of a saved view that holds its filter (:mod:`sai_core.survey.query`)."""

MAX_TAG: Final[int] = 40
MAX_NOTE: Final[int] = 2000


class Mark(msgspec.Struct, frozen=True):
    """What a user has put down about a recording.

    Attributes
    ----------
    tags : tuple of str
    note : str
    """

    tags: tuple[str, ...] = ()
    note: str = ""


@dataclass(frozen=True)
class Marks:
    """All that is put down about a data root.

    Attributes
    ----------
    root : str
    recordings : mapping of str to Mark
        By ``<split>/<name>``, or the name alone without a split; none that is empty.
    views : mapping of str to str
        Saved views of the Dataset page: the part of the address behind the question mark, by name.
    problem : str
        Why the file cannot be read, in one sentence; nothing is written then.
    """

    root: str = ""
    recordings: Mapping[str, Mark] = field(default_factory=lambda: MappingProxyType({}))
    views: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    problem: str = ""

    @property
    def tags(self) -> tuple[str, ...]:
        """All tags in use, sorted."""
        return tuple(sorted({tag for mark in self.recordings.values() for tag in mark.tags}, key=str.casefold))


class _File(msgspec.Struct):
    root: str = ""
    recordings: dict[str, Mark] = {}
    views: dict[str, str] = {}


def path_of_marks(place: Workspace, root: Path) -> Path:
    """File of a data root in a workspace, whether or not it is there."""
    name = hashlib.blake2b(os.fsencode(Path(root).resolve()), digest_size=8).hexdigest()
    return place.folder("marks") / f"{name}.json"


def read_marks(place: Workspace, root: Path) -> Marks:
    """What is put down about a data root; ``problem`` says why a file cannot be read."""
    path = path_of_marks(place, root)
    try:
        values = read_json(path, mark=_MARK, newest=_FORMAT, what="list of tags and notes")
        known = msgspec.convert(values, _File)
    except (FileNotFoundError, NotADirectoryError):
        return Marks(str(root))
    except UnreadableFacts as error:
        return Marks(str(root), problem=str(error))
    except (msgspec.ValidationError, OverflowError) as error:
        return Marks(str(root), problem=f"{path}: is damaged ({error}).")
    return Marks(known.root or str(root), MappingProxyType(known.recordings), MappingProxyType(known.views))


def change_marks(
    place: Workspace,
    root: Path,
    recordings: Iterable[str] = (),
    *,
    add: Iterable[str] = (),
    remove: Iterable[str] = (),
    note: str | None = None,
    views: Mapping[str, str | None] = MappingProxyType({}),
) -> Marks:
    """Put something down about recordings, or save views.

    Parameters
    ----------
    place : Workspace
    root : Path
        Data root.
    recordings : iterable of str
        ``<split>/<name>`` of each, or the name alone.
    add, remove : iterable of str
        Tags.
    note : str, optional
        In place of the one that is there; "" takes it away.
    views : mapping of str to str or None
        Views to save; None deletes one.

    Returns
    -------
    Marks
        As they are now.

    Raises
    ------
    InputError
        A tag or name that is empty, too long or holds a comma or a line break.
    EnvironmentProblem
        The workspace cannot be written, or the file that is there cannot be read (it is not overwritten).
    """
    added = tuple(_tag(tag) for tag in add)
    gone = {tag.strip().casefold() for tag in remove}
    if note is not None and len(note) > MAX_NOTE:
        raise InputError(f"A note has at most {MAX_NOTE} characters; this one has {len(note)}.")
    with place.changing():
        before = read_marks(place, root)
        if before.problem:
            raise EnvironmentProblem(f"{before.problem} It is left as it is; move it away to begin a new one.")
        known = dict(before.recordings)
        for key in recordings:
            old = known.get(key, Mark())
            tags = {tag.casefold(): tag for tag in (*old.tags, *added) if tag.casefold() not in gone}
            new = Mark(tuple(tags.values()), old.note if note is None else note.strip())
            known[key] = new
            if new == Mark():
                del known[key]
        saved = {**before.views, **{_tag(name): view for name, view in views.items()}}
        after = replace(
            before,
            root=str(root),
            recordings=MappingProxyType(dict(sorted(known.items()))),
            views=MappingProxyType({name: view for name, view in saved.items() if view is not None}),
        )
        values: dict[str, Any] = {
            _MARK: _FORMAT,
            "root": after.root,
            "recordings": msgspec.to_builtins(dict(after.recordings)),
            "views": dict(after.views),
        }
        write_json(path_of_marks(place, root), values)
    return after


def _tag(text: str) -> str:
    tag = " ".join(text.split())
    if not tag or len(tag) > MAX_TAG or "," in tag or '"' in tag or not tag.isprintable():
        raise InputError(
            f"{text!r} cannot be a tag or the name of a view: 1 to {MAX_TAG} visible characters without commas and "
            "quotation marks."
        )
    return tag
