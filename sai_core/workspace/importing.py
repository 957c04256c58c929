"""A set from elsewhere, copied into the workspace: an export, a submission, a folder of predictions or labels."""

from __future__ import annotations

import os
import secrets
import shutil
import stat
import time
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Final

import numpy as np

from sai_core import permissions
from sai_core.annotations import read_annotations
from sai_core.annotations.reading import problem_at_sight
from sai_core.dataset.layout import SET_FILE
from sai_core.dataset.root import DataRoot, files_of_set, is_set_file
from sai_core.errors import InputError
from sai_core.files import check_space, user_path
from sai_core.progress import Progress, no_progress
from sai_core.workspace.facts import SetFacts, read_facts
from sai_core.workspace.folder import KINDS, RAW_FOLDER, TEACHER_FOLDER, StoredSet, Workspace, telling
from sai_core.workspace.names import clean_name

_STAGING: Final[str] = ".importing-"
_STALE_S: Final[float] = 86_400.0
_MOST_FILES: Final[int] = 100_000
_READ_WHOLE: Final[int] = 64 << 20
"""Larger files are looked at by their beginning alone: one of 300 MB takes a while, and is read when it is opened."""

_BESIDE: Final[tuple[str, ...]] = ("diff.csv", "diff.md", "review.jsonl")
_NOISE: Final[tuple[str, ...]] = ("__MACOSX", ".DS_Store", "Thumbs.db", "desktop.ini")


@dataclass(frozen=True)
class Imported:
    """What an import did.

    Attributes
    ----------
    stored : StoredSet
    notes : tuple of str
        What was left out, not looked at or is not of the data root, one sentence each.
    """

    stored: StoredSet
    notes: tuple[str, ...]


def import_set(
    place: Workspace,
    source: str | os.PathLike[str],
    *,
    kind: str = "",
    name: str = "",
    root: DataRoot | None = None,
    origin: str = "",
    progress: Progress = no_progress,
) -> Imported:
    """Copy a folder or a ``.zip`` of predictions or labels into the workspace as a set.

    Every file up to 64 MB is read before anything is kept; those that cannot be read are left out and named.

    Parameters
    ----------
    place : Workspace
    source : path
        A folder, or a ``.zip``: what ``sets export`` writes, a submission, or annotation files.
    kind : {"predictions", "labels", ""}
        By default what the files are: annotations with scores are predictions.
    name : str
        Of the new set; by default that of the folder or file.
    root : DataRoot, optional
        Data that the set belongs to; by default what an exported set says of itself.
    origin : str
        What is kept as the place that it came from, where ``source`` is a passing copy of it.
    progress : Progress

    Raises
    ------
    InputError
        No such place, nothing in it that can be used, both kinds in it, or the name is taken.
    EnvironmentProblem
        The workspace cannot be written or has no room.
    """
    permissions.check("make", "import", str(source))
    path = user_path(source, what="folder or .zip file").absolute()
    if not path.exists():
        raise InputError(f"{path}: there is no such folder or .zip file.")
    if kind and kind not in KINDS:
        raise InputError(f"{kind}: no kind of set; {' or '.join(KINDS)}.")
    if place.path in (path, *path.parents):
        raise InputError(f"{path}: lies in the workspace already; sets list shows it.")
    with _unpacked(place, path, progress) as (folder, notes):
        facts = _facts_of(folder, notes)
        files, kind = _files(folder, kind, notes, progress)
        known = {r.name for r in root.recordings} if root is not None else set()
        foreign = [key for key in files if key.rpartition("/")[2] not in known] if root is not None else []
        if root is not None and len(foreign) == len(files):
            raise InputError(
                f"{path}: none of its {len(files)} recordings is in the data root {root.path} "
                f"(the first is {foreign[0]}); import it with the data that it belongs to."
            )
        if foreign:
            notes.append(
                f"{len(foreign)} of {len(files)} recordings are not in the data root, {foreign[0]} among them."
            )
        facts = replace(
            facts,
            made_by=facts.made_by or "import",
            data=os.path.realpath(root.path) if root is not None else facts.data,
            recordings=facts.recordings or tuple(files),
            options=facts.options if facts.made_by else {**facts.options, "imported_from": origin or str(path)},
            id="",
        )
        moved = [f.relative_to(folder) for f in files.values()]
        if is_set_file(folder / SET_FILE):
            moved += [Path(extra) for extra in (RAW_FOLDER, TEACHER_FOLDER, *_BESIDE) if (folder / extra).exists()]
        wanted = name or place.free_name(kind, clean_name(path.stem if path.suffix.lower() == ".zip" else path.name))
        stored = place.begin(kind, wanted, facts)
        try:
            with place.writing(stored) as target, telling(target):
                for part in moved:
                    (target / part.parent).mkdir(parents=True, exist_ok=True)
                    _bring(folder / part, target / part, keep=folder == path)
        except BaseException:
            shutil.rmtree(stored.folder, ignore_errors=True)
            raise
    return Imported(place.find(kind, stored.name), tuple(notes))


@contextmanager
def _unpacked(place: Workspace, path: Path, progress: Progress) -> Iterator[tuple[Path, list[str]]]:
    """The folder that holds the files: the given one, or where a ``.zip`` was unpacked beside the sets."""
    if path.is_dir():
        yield path, []
        return
    if not path.is_file() or not zipfile.is_zipfile(path):
        raise InputError(f"{path}: is neither a folder nor a .zip file.")
    home = place.ready("predictions")
    for left in home.glob(f"{_STAGING}*"):
        with suppress(OSError):
            if time.time() - left.stat().st_mtime > _STALE_S:  # of a process that was killed
                shutil.rmtree(left, ignore_errors=True)
    staging = home / f"{_STAGING}{secrets.token_hex(6)}"
    notes: list[str] = []
    try:
        with telling(staging):
            staging.mkdir()
            _unpack(path, staging, notes, progress)
        inner = [p for p in staging.iterdir()]
        yield (inner[0] if len(inner) == 1 and inner[0].is_dir() else staging), notes
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def _unpack(path: Path, staging: Path, notes: list[str], progress: Progress) -> None:
    try:
        with zipfile.ZipFile(path) as archive:
            entries = [e for e in archive.infolist() if not e.is_dir()]
            entries = [e for e in entries if not any(part in _NOISE for part in PurePosixPath(e.filename).parts)]
            total = sum(e.file_size for e in entries)
            if len(entries) > _MOST_FILES:
                raise InputError(f"{path}: holds {len(entries)} files, more than {_MOST_FILES}.")
            check_space(staging, total, f"what {path.name} holds")
            odd = [e for e in entries if not _may_be_unpacked(e)]
            if odd:
                single = len(odd) == 1
                notes.append(
                    f"{len(odd)} {'entry' if single else 'entries'} of {path.name} {'points' if single else 'point'} "
                    f"elsewhere or {'is a link and is' if single else 'are links and are'} left out, "
                    f"{odd[0].filename!a} among them."
                )
            done = 0
            for entry in (e for e in entries if _may_be_unpacked(e)):
                progress(0.5 * done / max(total, 1), f"{path.name}: {entry.filename}")
                target = staging / entry.filename
                target.parent.mkdir(parents=True, exist_ok=True)
                with archive.open(entry) as stream, open(target, "xb") as out:
                    shutil.copyfileobj(stream, out, 1 << 20)
                done += entry.file_size
    except (zipfile.BadZipFile, NotImplementedError, EOFError, RuntimeError, ValueError) as error:
        raise InputError(f"{path}: cannot be unpacked ({error}).") from error


def _may_be_unpacked(entry: zipfile.ZipInfo) -> bool:
    parts = PurePosixPath(entry.filename.replace("\\", "/")).parts
    is_link = stat.S_ISLNK(entry.external_attr >> 16)
    return not is_link and bool(parts) and parts[0] != "/" and ".." not in parts and ":" not in parts[0]


def _facts_of(folder: Path, notes: list[str]) -> SetFacts:
    if not is_set_file(folder / SET_FILE):
        return SetFacts()
    try:
        return read_facts(folder)
    except InputError as error:
        notes.append(f"What the set was made from is not known: {error}")
        return SetFacts()


def _files(folder: Path, kind: str, notes: list[str], progress: Progress) -> tuple[dict[str, Path], str]:
    """The files that can be read, by recording, and what kind they are."""
    own = (folder / RAW_FOLDER, folder / TEACHER_FOLDER, folder / SET_FILE)
    listed = {k: files_of_set(folder, k, skip=own) for k in ((kind,) if kind else KINDS)}
    paths = sorted({file for found, _ in listed.values() for file in found.values()})
    good: set[Path] = set()
    scored: dict[Path, bool] = {}
    for k, file in enumerate(paths):
        shown = file.relative_to(folder)
        progress(0.5 + 0.5 * k / len(paths), f"{shown} is looked at")
        try:
            if file.stat().st_size > _READ_WHOLE:
                if problem := problem_at_sight(file):
                    raise InputError(problem)
                notes.append(f"{shown}: {file.stat().st_size / 1e6:.0f} MB; only its beginning was looked at.")
            else:
                table = read_annotations(file)
                notes.extend(f"{shown}: {note}" for note in table.notes.sentences())
                if len(table.score):
                    scored[file] = bool(np.isfinite(table.score).all())
        except InputError as error:
            notes.append(f"Left out: {str(error).replace(f'{folder}{os.sep}', '')}")
            continue
        good.add(file)
    if not good:
        why = notes[-1] if paths else "There is no annotation file in it, nor one folder below."
        raise InputError(f"Nothing can be imported. {why}")
    if not kind and not scored:
        raise InputError("These files do not say whether they are predictions or labels; say which (--kind).")
    n_predictions = sum(scored.values())
    if not kind and 0 < n_predictions < len(scored):
        raise InputError(
            f"{n_predictions} files are predictions (with scores) and {len(scored) - n_predictions} are labels; put "
            "them into a folder each and import one after the other, or say which to take (--kind)."
        )
    decided = kind or ("predictions" if n_predictions else "labels")
    wrong_kind = [file for file, is_prediction in scored.items() if is_prediction != (decided == "predictions")]
    if wrong_kind:
        notes.append(
            f"{len(wrong_kind)} are {'labels (no scores)' if decided == 'predictions' else 'predictions (scores)'} "
            f"and left out, such as {wrong_kind[0].relative_to(folder)}."
        )
    files = {key: file for key, file in listed[decided][0].items() if file in good and file not in wrong_kind}
    if not files:
        raise InputError(f"Nothing can be imported as {decided}. {notes[-1]}")
    notes.extend(listed[decided][1])
    places: dict[str, list[str]] = {}
    for key in files:
        place, _, name = key.rpartition("/")
        places.setdefault(name, []).append(place or "no sub-folder")
    if several := [name for name, found in places.items() if len(found) > 1]:
        n = len(several)
        notes.append(
            f"{n} recording name{' is' if n == 1 else 's are'} in several sub-folders ({several[0]} in "
            f"{', '.join(places[several[0]])}): sub-folders are taken for splits, and a file belongs to the recording "
            "of its split alone."
        )
    return files, decided


def _bring(file: Path, target: Path, *, keep: bool) -> None:
    if not keep:
        os.replace(file, target)
    elif file.is_dir():
        shutil.copytree(file, target)
    else:
        shutil.copyfile(file, target)
