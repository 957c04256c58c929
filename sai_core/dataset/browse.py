"""Finding a data root without typing it: what lies in a folder, and where the layout is when it is not right there.

Folders are only listed. Where ``SAI_FOLDERS`` names folders (separated as in ``PATH``), the app
opens nothing outside them: for servers that several people use.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from sai_core import permissions
from sai_core.dataset.layout import PREDICTIONS_FOLDER, kind_of_folder, prediction_name
from sai_core.errors import InputError
from sai_core.files import resolved, user_path

FOLDERS_VARIABLE: Final[str] = "SAI_FOLDERS"
FolderKind = Literal["data", "predictions", ""]

_MOST_FOLDERS: Final[int] = 400
"""Sub-folders that are listed; a home folder has fewer, and no one scrolls through more."""

_MOST_ENTRIES: Final[int] = 300
"""Entries of a sub-folder that are looked at to tell what it is."""


@dataclass(frozen=True)
class Folder:
    """A folder as the browser lists it.

    Attributes
    ----------
    path : Path
        Absolute.
    kind : {"data", "predictions", ""}
        ``data``: it holds folders of the official layout. ``predictions``: JSON files, or folders of a set each, lie in
        it. Told by names alone.
    """

    path: Path
    kind: FolderKind = ""


@dataclass(frozen=True)
class Listing:
    """What lies in a folder.

    Attributes
    ----------
    here : Folder
    parent : Path or None
        None at the top, and where the app may not go further up.
    folders : tuple of Folder
        Sorted by name; no hidden ones.
    n_more : int
        Folders that were too many to list.
    """

    here: Folder
    parent: Path | None
    folders: tuple[Folder, ...]
    n_more: int = 0


def allowed_folders() -> tuple[Path, ...]:
    """Folders to look for data in, from ``SAI_FOLDERS``, else the roots of the file of roles; empty: any.

    Raises
    ------
    InputError
        One of them is not absolute.
    """
    somebody = permissions.person()
    return _named_folders() or tuple(resolved(root) for root in (somebody.roots if somebody is not None else ()))


def _named_folders() -> tuple[Path, ...]:
    """Folders that the app may open, from ``SAI_FOLDERS``; empty: any.

    Raises
    ------
    InputError
        One of them is not absolute.
    """
    names = [name for name in os.environ.get(FOLDERS_VARIABLE, "").split(os.pathsep) if name.strip()]
    with permissions.as_program():  # whoever runs the app has named them
        folders = [user_path(name, what=FOLDERS_VARIABLE) for name in names]
    for folder in folders:
        if not folder.is_absolute():
            raise InputError(f"{FOLDERS_VARIABLE}: {folder} is not an absolute path; correct it and restart the app.")
    return tuple(resolved(folder) for folder in folders)


def check_allowed(path: str | os.PathLike[str], *, always: Iterable[Path] = ()) -> Path:
    """A path as a user gave it, absolute and with links resolved, if the app may open it.

    Parameters
    ----------
    path : str or path-like
    always : iterable of Path
        Folders that are open to everybody, such as the demo and the workspace.

    Raises
    ------
    InputError
        It lies outside the folders of ``SAI_FOLDERS``, or is no path at all.
    """
    target = resolved(user_path(path))
    allowed = _named_folders()
    if allowed and not any(target.is_relative_to(resolved(folder)) for folder in (*allowed, *always)):
        raise InputError(
            f"{target}: this app opens only folders in {' and '.join(map(str, allowed))} ({FOLDERS_VARIABLE}); "
            "choose one of those."
        )
    return target


def list_folder(path: str | os.PathLike[str]) -> Listing:
    """What lies in a folder, for somebody who looks for data.

    Raises
    ------
    InputError
        No such folder, it cannot be read, or the app may not open it.
    """
    here = check_allowed(path)
    try:
        with os.scandir(here) as entries:
            names = sorted((e.name for e in entries if _is_visible_folder(e)), key=lambda name: (name.lower(), name))
    except OSError as error:
        raise InputError(f"{here}: this folder cannot be read ({error.strerror or error}).") from error
    folders = tuple(Folder(here / name, kind_of(here / name)) for name in names[:_MOST_FOLDERS])
    parent: Path | None = here.parent if here.parent != here else None
    if parent is not None and (allowed := allowed_folders()) and not any(parent.is_relative_to(a) for a in allowed):
        parent = None
    return Listing(Folder(here, kind_of(here)), parent, folders, max(0, len(names) - _MOST_FOLDERS))


def kind_of(folder: Path) -> FolderKind:
    """What a folder seems to hold, by the names of the first of its entries; "" when it cannot be read."""
    n_files = n_sets = 0
    try:
        with os.scandir(folder) as entries:
            for number, entry in enumerate(entries):
                if number >= _MOST_ENTRIES:
                    break
                if entry.is_dir():
                    if kind_of_folder(entry.name) is not None:
                        return "data"
                    n_sets += folder.name.lower() == PREDICTIONS_FOLDER
                elif prediction_name(entry.name) is not None:
                    n_files += 1
    except OSError:
        return ""
    return "predictions" if n_files or n_sets else ""


def better_roots(path: str | os.PathLike[str], *, most: int = 6) -> tuple[Path, ...]:
    """Folders that hold the layout where a given one does not.

    Above it (it is a kind's folder, a split, or a file deeper down, there or not), or up to two levels below.

    Parameters
    ----------
    path : str or path-like
        What the user gave; need not exist.
    most : int
        Paths that are offered at most.

    Returns
    -------
    tuple of Path
        Nearest first; without the folder itself.

    Raises
    ------
    InputError
        It is no path at all.
    """
    given = resolved(user_path(path))
    found: list[Path] = []
    above = given
    for _ in range(4):
        if above.parent == above:
            break
        above = above.parent
        if kind_of(above) == "data":
            found.append(above)
            break
    if given.is_dir() and kind_of(given) != "data":
        level = [given]
        for _ in range(2):
            level = [inner for folder in level for inner in _folders_in(folder)]
            found += [folder for folder in level if kind_of(folder) == "data"]
            level = [folder for folder in level if folder not in found]
    allowed = allowed_folders()
    fitting = [f for f in found if f != given and (not allowed or any(f.is_relative_to(a) for a in allowed))]
    return tuple(dict.fromkeys(fitting))[:most]


def _folders_in(folder: Path, most: int = 32) -> list[Path]:
    try:
        with os.scandir(folder) as entries:
            return sorted(Path(e.path) for e in entries if _is_visible_folder(e))[:most]
    except OSError:
        return []


def _is_visible_folder(entry: os.DirEntry[str]) -> bool:
    try:
        entry.name.encode("utf-8")
        return not entry.name.startswith(".") and entry.is_dir()
    except (OSError, UnicodeEncodeError):
        return False
