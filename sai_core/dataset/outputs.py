"""Where may something be written? The one guard that every verb and page asks before it writes for the user.

Nothing is ever written among a data root's labels, metadata, sounds, videos or frames, whatever these folders are
called that :func:`~sai_core.dataset.layout.kind_of_folder` reads as such, nor over an input of the same command. Names
are looked at as they were given and with links, ``..`` and hard links resolved. A new prediction set under
``predictions/`` of a data root, or a file beside the folders, is fine.

The guard is asked before long work begins. Writers themselves replace names, never contents
(:func:`sai_core.files.atomic_write`): what a link points to stays as it is.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

from sai_core import permissions
from sai_core.dataset.layout import IMAGE_SUFFIXES, KIND_WORDS, KINDS, kind_of_folder, label_name, media_name
from sai_core.dataset.root import DataRoot, open_data_root
from sai_core.errors import InputError
from sai_core.files import user_path

_MAX_LOOKED_AT: Final[int] = 2000
"""Entries of a folder that are looked at for data of its kind; what is a data folder shows at once."""

_OFTEN_ELSEWHERE: Final[frozenset[str]] = frozenset(("video", "frames"))
"""Plain names that folders bear outside data roots, too: ``~/video`` is not yet a data root."""


def check_output(
    path: str | os.PathLike[str],
    *,
    inputs: Iterable[str | os.PathLike[str] | None] = (),
    root: DataRoot | Path | None = None,
    folder: bool = False,
    makes_labels: bool = False,
) -> Path:
    """Path of an output after making sure that no data and no input is written over.

    Parameters
    ----------
    path : str or path
        As the user gave it.
    inputs : iterable of path, optional
        Files that the same command reads, and folders that are nothing but input; None is skipped.
    root : DataRoot or Path, optional
        The data root that the command works on. Other data roots are recognised by their folders.
    folder : bool
        The output is a folder that files are put into.
    makes_labels : bool
        For what makes labels: a new file in a folder of labels is fine where the folder belongs to no data root with
        sounds or metadata (a set of labels that is being made).

    Returns
    -------
    Path
        With ``~`` resolved, else as given.

    Raises
    ------
    InputError
        It lies inside the data, is an input, is a folder where a file is needed or the other way round, is no path, or
        lies where this user may not write.
    """
    target = user_path(path, what="output")
    if not target.name and not folder:
        raise InputError(f"{target}: is not a file name; give one.")
    real = _real(target)
    if real.is_dir() and not folder:
        raise InputError(f"{target}: is a folder; give a file name.")
    if folder and real.exists() and not real.is_dir():
        raise InputError(f"{target}: is a file; give a folder.")
    for given in inputs:
        if given is not None:
            _check_input(target, real, Path(given))
    if root is not None:
        known = root if isinstance(root, DataRoot) else open_data_root(root)
        _check_root(target, real, known)
    for place in dict.fromkeys((Path(os.path.abspath(target)), real)):
        _check_place(target, place, folder=folder, makes_labels=makes_labels)
    _check_permission(target, real if folder and real.exists() else real.parent)
    permissions.check_write(target)
    return target


def _check_permission(target: Path, folder: Path) -> None:
    """Refuse a place that cannot be written: the folder itself, or the nearest above that there is."""
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    if not folder.is_dir():
        raise InputError(f"{target}: {folder} is a file; give another folder.")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise InputError(f"{target}: {folder} may not be written by this user; choose another place.")


def check_layout_output(path: str | os.PathLike[str], *, made_with: Iterable[str]) -> Path:
    """Folder that gets the layout of a data root (``labels_dev`` ...), made sure not to be somebody's data.

    Parameters
    ----------
    path : str or path
    made_with : iterable of str
        Names of files or folders in it that tell that this program made what is there; then it may go on.

    Returns
    -------
    Path
        With ``~`` resolved, else as given.

    Raises
    ------
    InputError
        It holds data of another origin, lies inside the data of a root, is a file, or is no path.
    """
    target = check_output(path, folder=True)
    if any((target / name).exists() for name in made_with):
        return target
    for folder in _kind_folders(target):
        kind = kind_of_folder(folder.name)
        if kind is not None and _holds(folder, kind):
            raise InputError(
                f"{target}: lies inside the data ({folder.name} holds {KIND_WORDS[kind]} that this program has not "
                "made here); choose another folder."
            )
    return target


def _real(path: Path) -> Path:
    try:
        return Path(os.path.realpath(path))
    except OSError as error:
        raise InputError(f"{path}: cannot be looked at ({error.strerror or error}).") from error


def _check_input(target: Path, real: Path, given: Path) -> None:
    source = _real(given)
    if source.is_dir():
        if real == source or real.is_relative_to(source):
            raise InputError(f"{target}: lies inside the data ({given} is an input); choose another place.")
        return
    if _same(real, source):
        raise InputError(f"{target}: is one of the inputs of this command; choose another output.")


def _same(first: Path, second: Path) -> bool:
    if first == second:
        return True
    try:
        return os.path.samefile(first, second)  # hard links, and names that a file system takes for one
    except OSError:
        return False


def _check_root(target: Path, real: Path, root: DataRoot) -> None:
    """Refuse what lies among the material of a known data root, wherever its links lead."""
    for path in _kind_folders(root.path):
        if real.is_relative_to(_real(path)) or Path(os.path.abspath(target)).is_relative_to(path):
            raise _inside(target, root.path, path)
    around = [real, *real.parents]
    exists = real.is_file()
    for recording in root.recordings:
        for material in material_of(recording):
            own = material if recording.frames_dir == material else material.parent
            if own in around and not _is_predictions(real, root.path):
                raise _inside(target, root.path, own)
            if exists and _same(real, material):
                raise InputError(f"{target}: lies inside the data (it is {material}); choose another file.")


def material_of(recording: object) -> list[Path]:
    """Files and folders that a recording is read from."""
    names = ("label_path", "metadata_path", "mic_path", "foa_path", "eigen_path", "video_path", "frames_dir")
    return [path for name in names if (path := getattr(recording, name)) is not None]


def _is_predictions(real: Path, root: Path) -> bool:
    """Whether a place is among a root's predictions, also of a root that is nothing but label files."""
    if not real.is_relative_to(root):
        return False
    parts = real.relative_to(root).parts
    return bool(parts) and parts[0].lower() == "predictions"


def _check_place(target: Path, place: Path, *, folder: bool, makes_labels: bool) -> None:
    """Refuse what lies in a folder that a data root is read from, known by its name and what it holds."""
    home = Path.home() if os.environ.get("HOME") else None
    for at in (place, *place.parents) if folder else place.parents:
        kind = kind_of_folder(at.name)
        if kind is None or (home is not None and home.is_relative_to(at)):
            continue
        filled = {
            k for sibling in _kind_folders(at.parent) if (k := kind_of_folder(sibling.name)) and _holds(sibling, k)
        }
        if not filled:
            continue
        if makes_labels and kind == "labels" and filled == {"labels"}:
            if place.exists() and not folder:
                raise InputError(f"{target}: lies inside the data, and exists already; choose another file.")
            continue
        if filled == {kind} and at.name.lower() in _OFTEN_ELSEWHERE and not place.exists():
            continue
        raise _inside(target, at.parent, at)


def _inside(target: Path, root: Path, folder: Path) -> InputError:
    kind = kind_of_folder(folder.name)
    words = f"{folder.name} holds its {KIND_WORDS[kind]}" if kind in KINDS else f"{folder.name} holds its files"
    return InputError(f"{target}: lies inside the data of {root} ({words}); choose another place.")


def _kind_folders(root: Path) -> Iterator[Path]:
    try:
        with os.scandir(root) as listing:
            for entry in listing:
                if kind_of_folder(entry.name) is not None and entry.is_dir():
                    yield Path(entry.path)
    except OSError:
        return


def _holds(folder: Path, kind: str, depth: int = 2) -> bool:
    """Whether a folder holds something that is read as its kind: right in it, or in a split."""
    inner = []
    try:
        with os.scandir(folder) as listing:
            for number, entry in enumerate(listing):
                if number >= _MAX_LOOKED_AT:
                    break
                if entry.name.startswith("."):
                    continue
                if entry.is_dir():
                    inner.append(entry.path)
                elif _is_of_kind(entry.name, kind):
                    return True
    except OSError:
        return False
    return depth > 0 and any(_holds(Path(path), kind, depth - 1) for path in inner)


def _is_of_kind(name: str, kind: str) -> bool:
    if kind == "frames":
        return name.lower().endswith(IMAGE_SUFFIXES)
    return (label_name(name) if kind == "labels" else media_name(name, kind)) is not None


def check_workspace(path: Path, *, marker: str) -> None:
    """Refuse a folder for the program's own results that is, or lies inside of, a data root.

    Parameters
    ----------
    path : Path
        Absolute; need not exist.
    marker : str
        Name of the file that tells that the folder is a workspace already; its own labels are not a user's then.

    Raises
    ------
    InputError
        With the data root.
    """
    real = _real(path)
    check_output(path, folder=True)
    own = (real / marker).is_file()
    for at in (real, *real.parents):
        filled = {f.name.lower() for f in _kind_folders(at) if (k := kind_of_folder(f.name)) and _holds(f, k)}
        if at == real and own:
            filled.discard("labels")
        if filled - _OFTEN_ELSEWHERE:
            where = "is a data root" if at == real else f"lies inside the data root {at}"
            raise InputError(
                f"{path}: {where} ({', '.join(sorted(filled))}), which is only read; choose another folder for the "
                "workspace (--workspace, SAI_WORKSPACE)."
            )
