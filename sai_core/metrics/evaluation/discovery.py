"""Which files belong together: label and prediction files of an evaluation, by recording name.

Names are those of :mod:`sai_core.dataset.layout`: labels ``NAME_std.json`` or ``NAME.json``, predictions
``NAME.json`` or ``NAME_inference.json``, each optionally ``.gz``; where a recording has several, the first of this
list wins, plain before packed.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from sai_core.annotations.names import recording_name
from sai_core.dataset.layout import PREDICTIONS_FOLDER, is_split_name, kind_of_folder, label_name, prediction_name
from sai_core.dataset.root import is_set_file
from sai_core.errors import InputError

_NAMES = {"label": label_name, "prediction": prediction_name}


def find_pairs(
    labels: str | os.PathLike[str], predictions: str | os.PathLike[str], *, notes: list[str] | None = None
) -> tuple[dict[str, Path], dict[str, Path]]:
    """Label and prediction files by recording name.

    Parameters
    ----------
    labels, predictions : path
        A folder, searched with all its sub-folders, or one file. Of a data root the folders of labels alone are
        searched for labels, and ``predictions`` alone for predictions. Two files are one recording whatever their names
        are. Both may be the same folder: a file is never taken for the label of itself.
    notes : list of str, optional
        Gets a sentence for each choice that was made: files of several folders taken together, or left out because
        another file is of the same recording.

    Returns
    -------
    labels, predictions : dict of str to Path
        Sorted by name.

    Raises
    ------
    InputError
        A path that does not exist, a folder without any such file, or two equally good files of one recording.
    """
    label_path, prediction_path = Path(labels), Path(predictions)
    if label_path.is_file() and prediction_path.is_file():
        name = recording_name(prediction_path)
        return {name: label_path}, {name: prediction_path}
    notes = [] if notes is None else notes
    found_predictions = _find(prediction_path, "prediction", notes)
    found_labels = _find(label_path, "label", notes, others=frozenset(found_predictions.values()))
    # a folder that holds predictions only, given twice, has no labels
    for name in set(found_labels) & set(found_predictions):
        if os.path.samefile(found_labels[name], found_predictions[name]):
            del found_labels[name]
    return found_labels, found_predictions


def find_labels(path: str | os.PathLike[str]) -> dict[str, Path]:
    """Label files by recording name: one file, or those of a folder and all its sub-folders.

    Raises
    ------
    InputError
        As :func:`find_pairs`.
    """
    return _find(Path(path), "label", [])


def find_annotations(path: str | os.PathLike[str]) -> tuple[dict[str, Path], list[str]]:
    """Files of labels or predictions by recording name, and sentences about what was chosen.

    Names of both sides count; those of labels first where a folder holds both of a recording.

    Raises
    ------
    InputError
        A path that does not exist, a folder without any such file, or two equally good files of one recording.
    """
    choices: list[str] = []
    found: dict[str, Path] = {}
    problem: InputError | None = None
    for side in ("label", "prediction"):
        try:
            files = _find(Path(path), side, choices)
        except InputError as error:
            problem = problem or error
            continue
        for name, file in files.items():
            if name in found and found[name] != file:
                choices.append(f"{name}: {found[name]} is used, and {file} is left out.")
            found.setdefault(name, file)
    if not found and problem is not None:
        raise problem
    return dict(sorted(found.items())), choices


_STORE_FILES: Final = frozenset({"began.json", "store.json"})
"""Marks of a store of raw detections (:mod:`sai_core.detections.raw`)."""


def _find(path: Path, side: str, notes: list[str], *, others: frozenset[Path] = frozenset()) -> dict[str, Path]:
    parse = _NAMES[side]
    if path.is_file():
        parsed = parse(path.name)
        if parsed is None:
            raise InputError(f"{path}: is not a {side} file; its name must end in .json or .json.gz.")
        return {parsed[0]: path}
    if not path.is_dir():
        raise InputError(f"{path}: there is no such file or folder; give the {side} files or their folder.")
    best: dict[str, tuple[int, int, Path]] = {}
    elsewhere: list[tuple[Path, Path]] = []
    for file, depth in _files(path, side):
        parsed = parse(file.name)
        if parsed is None or _of_the_other_side(parsed[0], side) or is_set_file(file):
            continue
        name, rank = parsed
        known = best.get(name)
        if known is not None:
            used, left_out = (file, known[2]) if (rank, depth) < known[:2] else (known[2], file)
            if left_out not in others:
                elsewhere.append((used, left_out))
        if known is None or (rank, depth) < known[:2]:
            best[name] = (rank, depth, file)
        elif (rank, depth) == known[:2]:
            raise InputError(
                f"{name}: has two {side} files, {known[2]} and {file}; give the folder that holds the right one."
            )
    if not best:
        raise InputError(f"{path}: holds no {side} file (NAME.json or NAME.json.gz); check the folder.")
    if elsewhere:
        used, left_out = elsewhere[0]
        more = f", and {len(elsewhere) - 1} more of the same kind" if len(elsewhere) > 1 else ""
        of_another = "" if used.parent == left_out.parent else " of another folder"
        notes.append(f"{side}s: {used} is used, and {left_out}{of_another} is left out{more}.")
    folders = sorted({file.parent for _, _, file in best.values()})
    if side == "prediction" and len(folders) > 1 and not all(is_split_name(folder.name) for folder in folders):
        shown = ", ".join(str(folder) for folder in folders[:4]) + (", ..." if len(folders) > 4 else "")
        notes.append(f"predictions: files of {len(folders)} folders are taken together as one system ({shown}).")
    return {name: best[name][2] for name in sorted(best)}


def _of_the_other_side(name: str, side: str) -> bool:
    """Labels kept beside predictions and the other way round, by the endings that only one of them has."""
    return name.lower().endswith("_std" if side == "prediction" else "_inference")


def _on_this_side(folders: list[str], files: list[str], side: str) -> tuple[list[str], list[str]]:
    """Sub-folders and files of a data root in which one side lies; all of any other folder."""
    if not any(kind_of_folder(name) for name in folders):
        return folders, files
    labels = [name for name in folders if kind_of_folder(name) == "labels"]
    predictions = [name for name in folders if name.lower() == PREDICTIONS_FOLDER]
    ours, theirs = (labels, predictions) if side == "label" else (predictions, labels)
    return (ours, []) if ours else ([name for name in folders if name not in theirs], files)


def _files(folder: Path, side: str) -> Iterator[tuple[Path, int]]:
    """Files below a folder, sorted, with their depth; linked folders are entered once.

    Stores of raw detections, which ``predict`` keeps beside its submission files, are passed over.
    """
    seen: set[str] = set()
    for current, folders, files in os.walk(folder, followlinks=True):
        real = os.path.realpath(current)
        if real in seen:
            folders.clear()
            continue
        seen.add(real)
        if not _STORE_FILES.isdisjoint(files):
            folders.clear()
            continue
        depth = len(Path(current).relative_to(folder).parts)
        folders[:] = sorted(f for f in folders if not f.startswith("."))
        if depth == 0:
            folders[:], files = _on_this_side(folders, files, side)
        for file in sorted(files):
            if not file.startswith("."):
                yield Path(current) / file, depth
