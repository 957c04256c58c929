"""A data root together with the workspace's sets: which of them belong to it, and with whose labels it is seen."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from sai_core.dataset.root import DataRoot, PredictionSet, find_prediction_sets, open_data_root
from sai_core.errors import InputError
from sai_core.files import user_path
from sai_core.workspace.folder import KIND_NOUNS, StoredSet, Workspace, workspace
from sai_core.workspace.marks import path_of_marks


def with_sets(root: DataRoot, *, labels: str = "", extra: Sequence[str] = (), everything: bool = True) -> DataRoot:
    """A data root with the workspace's prediction sets, and the labels that the user chose.

    Sets that were made from other data are not mixed in by themselves, since recordings of different data are often
    called alike; ``extra`` can name them.

    Parameters
    ----------
    root : DataRoot
    labels : str
        Empty for the data root's own; else a label set's name in the workspace, or the path of a folder of labels.
        Every recording then has its label from there, or none.
    extra : sequence of str
        More prediction sets, each by its name in the workspace or its path.
    everything : bool
        Take all prediction sets of the workspace that belong to the data root (:func:`fits`).

    Returns
    -------
    DataRoot
        ``problems`` tells what does not fit.

    Raises
    ------
    InputError
        No such set or folder.
    """
    place = workspace()
    wanted: list[PredictionSet] = []
    notes: list[str] = []
    names = {r.name for r in root.recordings}
    if everything:
        for stored in place.sets("predictions"):
            if fits(stored, root, names=names):
                wanted.append(as_prediction_set(stored))
    for text in extra:
        named = _named(place, "predictions", text)
        if named is None:
            wanted += find_prediction_sets(text)
            continue
        notes += _other_data(named, root)
        wanted.append(as_prediction_set(named))
    root = root.with_prediction_sets(wanted)
    if labels:
        chosen = _named(place, "labels", labels)
        if chosen is None:
            root = root.with_labels(*_labels_of_folder(labels))
        else:
            notes += [*_other_data(chosen, root), *(f"{chosen.name}: {p}" for p in chosen.left_out)]
            root = root.with_labels(chosen.name, chosen.files_by_split)
    return replace(root, problems=(*root.problems, *notes))


def label_sets(root: DataRoot) -> tuple[StoredSet, ...]:
    """Label sets of the workspace that belong to a data root, the newest first."""
    names = {r.name for r in root.recordings}
    return tuple(s for s in workspace().sets("labels") if fits(s, root, names=names))


def fits(stored: StoredSet, root: DataRoot, *, names: set[str] | None = None) -> bool:
    """Whether a set belongs to a data root.

    It has one of its recordings, and was made from this very folder; from one that is gone while all of its recordings
    are here (the data were moved); or from nobody knows what.
    """
    names = {r.name for r in root.recordings} if names is None else names
    data = stored.facts.data
    here = not data or os.path.realpath(data) == os.fspath(root.path)
    if not here and os.path.exists(data):
        return False
    own = {_bare(key) for key in stored.files_by_split}
    return bool(own & names) if here else bool(own) and own <= names


def as_prediction_set(stored: StoredSet) -> PredictionSet:
    """A stored set as one of a data root's prediction sets."""
    return PredictionSet(stored.name, stored.folder, stored.files, stored.left_out)


def _bare(key: str) -> str:
    """Recording of ``<split>/<recording>``."""
    return key.rpartition("/")[2]


def _named(place: Workspace, kind: str, text: str) -> StoredSet | None:
    """The set of a name; None for a path."""
    if os.sep in text or text[:1] in ("~", "'", '"') or text[:5].lower() == "file:":
        return None
    try:
        return place.find(kind, text)
    except InputError:
        if os.path.lexists(user_path(text)):
            return None
        raise


def folder_of(kind: str, given: str | os.PathLike[str], *, notes: list[str] | None = None) -> Path:
    """Folder or file of what a verb was given: a path, or the name of a set in the workspace.

    Parameters
    ----------
    kind : {"predictions", "labels"}
    given : str or path
        What exists as a path is taken as one.
    notes : list of str, optional
        Gets a sentence where there is a set of this name, too.

    Raises
    ------
    InputError
        Neither a path that exists nor the name of a set; the nearest names are told.
    """
    text, path = os.fspath(given), user_path(given)
    if os.path.lexists(path):
        if notes is not None and os.sep not in text:
            with suppress(InputError):
                same = workspace().find(kind, text)
                notes.append(
                    f"{text}: the folder or file of this name is used; the {KIND_NOUNS[kind]} {same.name} is not."
                )
        return path
    if os.sep in text:
        return path  # whoever reads it says that it is not there
    try:
        return workspace().find(kind, text).folder
    except InputError as error:
        raise InputError(f"{text}: there is no such file or folder, and {str(error).partition(': ')[2]}") from error


def set_at(kind: str, folder: Path) -> StoredSet | None:
    """The workspace's set in a folder; None for a folder elsewhere."""
    place = os.path.abspath(folder)
    return next((s for s in workspace().sets(kind) if os.fspath(s.folder) == place), None)


def root_with_marks(labels: Path) -> Path | None:
    """Data root that labels belong to, where the user has put tags or views down about it.

    Parameters
    ----------
    labels : Path
        File, folder or set of labels: a set tells its data root, all else lies in it.
    """
    place, stored = workspace(), set_at("labels", labels)
    at = Path(stored.facts.data) if stored is not None and stored.facts.data else Path(os.path.realpath(labels))
    return next((folder for folder in (at, *at.parents) if path_of_marks(place, folder).is_file()), None)


def of_other_data(labels: Path, predictions: Path) -> str:
    """A warning where labels and predictions, both sets of the workspace, were made from different data; else empty."""
    label_set, prediction_set = set_at("labels", labels), set_at("predictions", predictions)
    if label_set is None or prediction_set is None or not label_set.facts.data or not prediction_set.facts.data:
        return ""
    if os.path.realpath(label_set.facts.data) == os.path.realpath(prediction_set.facts.data):
        return ""
    return (
        f"{prediction_set.name} was predicted from {prediction_set.facts.data}, {label_set.name} are labels of "
        f"{label_set.facts.data}; recordings are matched by name alone."
    )


def root_for(
    root: DataRoot, predictions: Sequence[str] = (), *, labels: str | None = None, notes: list[str]
) -> DataRoot:
    """A data root with everything that a verb may be told by name.

    Parameters
    ----------
    root : DataRoot
    predictions : sequence of str
        As given: paths, names of the root's sets, names of the workspace's. The workspace's sets that belong to the
        data root are added anyway.
    labels : str, optional
        Name of a label set or path of labels; None for the root's own. What exists as a path is taken as one.
    notes : list of str
        Gets what must be said: labels that are missing, sets that were made from other data.

    Raises
    ------
    InputError
        No such labels.
    """
    names = {s.name for s in root.prediction_sets}
    stored = {s.name for s in workspace().sets("predictions")}
    extra = [t for t in predictions if t in stored - names and not os.path.lexists(user_path(t))]
    chosen = os.path.abspath(user_path(labels)) if labels and os.path.lexists(user_path(labels)) else labels or ""
    found = with_sets(root, labels=chosen, extra=extra)
    notes += found.problems[len(root.problems) :]
    return found


def with_labels_of(roots: Sequence[DataRoot], labels: str | os.PathLike[str]) -> tuple[list[DataRoot], list[str]]:
    """Data roots, those that a label set was made from with its labels instead of their own.

    Parameters
    ----------
    roots : sequence of DataRoot
    labels : str or path
        Name of a label set, or a folder of labels. Labels of nobody knows which data are for every root that has a
        recording of theirs.

    Returns
    -------
    roots : list of DataRoot
        In their order; the others with their own labels.
    notes : list of str
        Whose labels are whose, and what is missing.

    Raises
    ------
    InputError
        No such labels, or they belong to none of the roots.
    """
    folder = Path(os.path.abspath(folder_of("labels", labels)))
    stored = set_at("labels", folder)
    if stored is None:
        name, files = _labels_of_folder(os.fspath(folder))
        names = {_bare(key) for key in files}
        chosen = [any(r.name in names for r in root.recordings) for root in roots]
    else:
        name, files = stored.name, stored.files_by_split
        chosen = [fits(stored, root) for root in roots]
    if not any(chosen):
        places = ", ".join(str(root.path) for root in roots)
        raise InputError(f"{name}: these labels were not made from {places}; choose others, or other data.")
    result, notes = [], []
    for root, is_chosen in zip(roots, chosen, strict=True):
        if is_chosen:
            seen = root.with_labels(name, files)
            notes += [f"{root.path}: its labels are those of {name}.", *seen.problems[len(root.problems) :]]
            root = seen
        result.append(root)
    return result, notes


def _other_data(stored: StoredSet, root: DataRoot) -> list[str]:
    """A warning where a set was made from other data than those that it is used with."""
    if stored.facts.data and not fits(stored, root):
        return [f"{stored.name} was made from other data ({stored.facts.data}); recordings are matched by name alone."]
    return []


def _labels_of_folder(text: str) -> tuple[str, Mapping[str, Path]]:
    """Name and files, by split, of a folder of labels anywhere."""
    label_root = open_data_root(text)
    files = {f"{r.split}/{r.name}" if r.split else r.name: r.label_path for r in label_root.recordings}
    found = {key: path for key, path in files.items() if path is not None}
    if not found:
        raise InputError(f"{text}: holds no label file (<recording>_std.json); choose another label set.")
    return os.fspath(label_root.path), found
