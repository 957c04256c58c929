"""The workspace: one folder with everything that the program makes, by kind and name.

::

    predictions/<set>/   <recording>.json, raw/, teacher/, set.json
    labels/<set>/        [<split>/]<recording>_std.json, set.json
    systems/  runs/  reviews/  figures/  marks/
    trash/<when>/<kind>/<set>/
    workspace.json       recent data roots, folders that were added; tells that this is a workspace
    .locks/              nothing that anybody would miss

Folders are made when something is written into them; reading a workspace that is not there finds nothing. Names change
under a lock (:mod:`filelock`), by renaming, so that a set is there as a whole or not at all; a set that is being
written (:meth:`Workspace.writing`) is neither renamed nor put into the trash.
"""

from __future__ import annotations

import difflib
import os
import re
import secrets
import shutil
import threading
import time
import zipfile
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import Final

import filelock
from cachetools import LRUCache

from sai_core import __version__, permissions
from sai_core.annotations.names import composed
from sai_core.dataset.layout import SET_FILE
from sai_core.dataset.outputs import check_output, check_workspace
from sai_core.dataset.root import files_of_set
from sai_core.errors import EnvironmentProblem, InputError, SaiError
from sai_core.files import atomic_write, user_path
from sai_core.workspace.facts import SetFacts, UnreadableFacts, read_facts, write_facts
from sai_core.workspace.names import check_name, free_name
from sai_core.workspace.remembered import MARKER, Added, Remembered, mark, read_remembered, write_remembered

KINDS: Final[tuple[str, ...]] = ("predictions", "labels")
"""Kinds of sets."""

FOLDERS: Final[tuple[str, ...]] = (*KINDS, "systems", "runs", "reviews", "figures", "simulated", "marks")
KIND_NOUNS: Final[dict[str, str]] = {"predictions": "prediction set", "labels": "label set"}
RAW_FOLDER: Final[str] = "raw"
TEACHER_FOLDER: Final[str] = "teacher"
TRASH_FOLDER: Final[str] = "trash"
MAX_ROOTS: Final[int] = 12
_WITHOUT_EFFECT: Final[frozenset[str]] = frozenset({"device", "batch"})
"""Options with which another run may go on with a set: results are the same but for the last digits."""

_WHEN: Final = re.compile(r"[0-9]{13}")
_LOCK_SECONDS: Final[float] = 30.0
_VARIABLE: Final[str] = "SAI_WORKSPACE"


class NameTakenError(InputError):
    """There is another set of this name."""


@dataclass(frozen=True)
class StoredSet:
    """A set of predictions or labels in the workspace.

    Attributes
    ----------
    kind : {"predictions", "labels"}
    name : str
        Of its folder.
    folder : Path
        Absolute.
    facts : SetFacts
        What it was made from; empty where that is not known.
    problem : str
        Why it is not known, in one sentence; empty if it is.
    """

    kind: str
    name: str
    folder: Path
    facts: SetFacts
    problem: str = ""

    @cached_property
    def _found(self) -> tuple[dict[str, Path], tuple[str, ...]]:
        return _files_of(self.folder, self.kind)

    @cached_property
    def files(self) -> Mapping[str, Path]:
        """File of each recording by its name; by ``<split>/<name>`` where several splits have the name."""
        often = Counter(_bare(key) for key in self.files_by_split)
        return MappingProxyType(
            {key if often[_bare(key)] > 1 else _bare(key): path for key, path in self.files_by_split.items()}
        )

    @property
    def files_by_split(self) -> Mapping[str, Path]:
        """File of each recording, by ``<split>/<name>`` wherever it lies in a split."""
        return MappingProxyType(self._found[0])

    @property
    def left_out(self) -> tuple[str, ...]:
        """What of the folder is not used and why, one sentence each."""
        return self._found[1]

    @property
    def n_files(self) -> int:
        """Number of recordings with a file."""
        return len(self._found[0])

    @property
    def raw_folder(self) -> Path:
        """Where raw detections are; may be absent."""
        return self.folder / RAW_FOLDER

    @property
    def has_raw(self) -> bool:
        """Whether raw detections are kept, which tuning needs."""
        return self.kind == "predictions" and self.raw_folder.is_dir()

    @property
    def changed(self) -> float:
        """When a file was last added, taken away or written anew; seconds since 1970."""
        times = [0.0]
        with suppress(OSError):
            times.append(self.folder.stat().st_mtime)
            with os.scandir(self.folder) as listing:
                times += [e.stat().st_mtime for e in listing if e.name == SET_FILE or e.is_dir()]
        return max(times)

    def size_bytes(self) -> int:
        """Bytes of all that is in the folder; walked again only where a folder in it has changed."""
        return tree_bytes(self.folder)


@dataclass(frozen=True)
class Trashed:
    """A set in the trash.

    Attributes
    ----------
    kind, name : str
    folder : Path
    when : float
        Seconds since 1970.
    facts : SetFacts
    problem : str
        As of :class:`StoredSet`.
    """

    kind: str
    name: str
    folder: Path
    when: float
    facts: SetFacts
    problem: str = ""

    def size_bytes(self) -> int:
        """Bytes of all that is in the folder."""
        return tree_bytes(self.folder)


@dataclass(frozen=True)
class Usage:
    """What a part of the workspace takes.

    Attributes
    ----------
    part : {"predictions", "raw", "labels", "systems", "runs", "reviews", "figures", "simulated", "trash"}
    name : str
        The set's; empty for a whole folder.
    size_bytes : int
    may_be_cleaned : bool
        It can be made again, or was thrown away already.
    meaning : str
        What is lost if it goes, in one sentence; empty where it must not.
    """

    part: str
    name: str
    size_bytes: int
    may_be_cleaned: bool = False
    meaning: str = ""


_Folders = dict[str, int]
"""Folders and the times of their last change in nanoseconds."""

_sizes: LRUCache[str, tuple[_Folders, int]] = LRUCache(4096)
_lists: LRUCache[tuple[str, str], tuple[_Folders, tuple[dict[str, Path], tuple[str, ...]]]] = LRUCache(1024)
_remembering = threading.Lock()
_taken_away: dict[Path, SetFacts] = {}
"""What was known of sets of this process' jobs that were taken away since nothing was in them; a job may be resumed."""
_SETTLED_NS: Final[int] = 2_000_000_000
"""Times of folders are rounded (4 ms on Linux, 2 s on FAT): what has just changed may change again unseen."""


def _settled(folders: _Folders) -> bool:
    return time.time_ns() - max(folders.values(), default=0) > _SETTLED_NS


def tree_bytes(folder: Path) -> int:
    """Bytes of the files under a folder, links not followed; 0 for one that is not there."""
    key = os.fspath(folder)
    with _remembering:
        known = _sizes.get(key)
    if known is not None and all(_mtime_ns(place) == was for place, was in known[0].items()):
        return known[1]
    total, places = 0, {}
    todo = [key]
    while todo:
        place = todo.pop()
        places[place] = _mtime_ns(place)
        with suppress(OSError), os.scandir(place) as listing:
            for entry in listing:
                with suppress(OSError):
                    if entry.is_dir(follow_symlinks=False):
                        todo.append(entry.path)
                    else:
                        total += entry.stat(follow_symlinks=False).st_size
    if _settled(places):
        with _remembering:
            _sizes[key] = places, total
    return total


def _files_of(folder: Path, kind: str) -> tuple[dict[str, Path], tuple[str, ...]]:
    """Files of a set and what is left out, listed again only where the folder or one in it has changed."""
    own = (folder / RAW_FOLDER, folder / TEACHER_FOLDER, folder / SET_FILE)
    places = {os.fspath(folder): _mtime_ns(os.fspath(folder))}
    with suppress(OSError), os.scandir(folder) as listing:
        places |= {
            e.path: _mtime_ns(e.path) for e in listing if e.name not in (RAW_FOLDER, TEACHER_FOLDER) and e.is_dir()
        }
    with _remembering:
        known = _lists.get((os.fspath(folder), kind))
    if known is not None and known[0] == places:
        return known[1]
    found = files_of_set(folder, kind, skip=own)
    if _settled(places):
        with _remembering:
            _lists[os.fspath(folder), kind] = places, found
    return found


def _mtime_ns(path: str) -> int:
    try:
        return os.stat(path).st_mtime_ns
    except OSError:
        return -1


@contextmanager
def telling(path: Path) -> Iterator[None]:
    """What the system refuses, in one sentence."""
    try:
        yield
    except OSError as error:
        raise EnvironmentProblem(f"{path}: cannot be changed ({error.strerror or error}).") from error


def workspace() -> Workspace:
    """The current workspace: that of :func:`use_workspace` or ``$SAI_WORKSPACE``, else ``~/sai-workspace``.

    Raises
    ------
    InputError
        The variable holds what is no path.
    """
    chosen = os.environ.get(_VARIABLE, "").strip()
    with permissions.as_program():  # whoever runs the program has named it
        path = user_path(chosen, what="workspace") if chosen else Path.home() / "sai-workspace"
    return Workspace(Path(os.path.abspath(path)))


def use_workspace(path: str | Path | None) -> None:
    """Take another folder as the workspace, in this process and those that it starts; None: the user's own.

    Raises
    ------
    InputError
        It is a data root, lies inside of one, is a file, or no path.
    """
    if path is None:
        os.environ.pop(_VARIABLE, None)
        return
    if not os.fspath(path).strip():
        raise InputError("No folder was given for the workspace; type its path.")
    target = Path(os.path.abspath(user_path(path, what="workspace")))
    check_workspace(target, marker=MARKER)
    # the environment is the one place for it: workers and training processes must see it, too
    os.environ[_VARIABLE] = os.fspath(target)


@dataclass(frozen=True)
class Workspace:
    """One folder with everything that the program makes.

    Attributes
    ----------
    path : Path
        Absolute; need not exist.
    """

    path: Path

    # ------------------------------------------------------------------ reading

    def folder(self, kind: str) -> Path:
        """Folder of a kind of set, or of ``systems``, ``runs``, ``reviews``, ``figures``; not made."""
        if kind not in FOLDERS:
            raise InputError(f"{kind!r}: the workspace has no such folder; choose {', '.join(FOLDERS)}.")
        return self.path / kind

    def check(self) -> None:
        """Make sure that the workspace is not among a user's data, before anything is made in it.

        Raises
        ------
        InputError
            It is a data root, lies inside of one, or is a file.
        """
        if not (self.path / MARKER).is_file():
            check_workspace(self.path, marker=MARKER)

    def ready(self, kind: str) -> Path:
        """Folder of a kind (:meth:`folder`) to write into, made if need be.

        Raises
        ------
        InputError
            As :meth:`check`.
        EnvironmentProblem
            It cannot be made.
        """
        folder = self.folder(kind)
        with self.changing(), telling(folder):
            folder.mkdir(parents=True, exist_ok=True)
        return folder

    def sets(self, kind: str) -> tuple[StoredSet, ...]:
        """All sets of a kind, the newest first.

        Raises
        ------
        EnvironmentProblem
            The folder cannot be read.
        """
        folder = self.folder(_kind(kind))
        found = [_open(kind, folder / name) for name in _folders_in(folder)]
        found.sort(key=lambda s: s.name.casefold())
        return tuple(sorted(found, key=lambda s: s.facts.created or s.changed, reverse=True))

    def find(self, kind: str, name: str) -> StoredSet:
        """The set of this name, small and capital letters alike where only one can be meant.

        Raises
        ------
        InputError
            No such set; the nearest names are told.
        """
        names = _folders_in(self.folder(_kind(kind)))
        wanted = composed(name)
        same = [n for n in names if composed(n) == wanted]
        same = same or [n for n in names if composed(n).casefold() == wanted.casefold()]
        if len(same) == 1:
            return _open(kind, self.folder(kind) / same[0])
        if near := difflib.get_close_matches(wanted, names, n=3, cutoff=0.5):
            hint = f"did you mean {' or '.join(near)}?"
        else:
            hint = f"there are {len(names)} others." if names else "there is none yet."
        raise InputError(f"{name}: the workspace {self.path} has no {KIND_NOUNS[kind]} of this name; {hint}")

    def free_name(self, kind: str, base: str) -> str:
        """An allowed name near ``base`` that no set of the kind has (``-2``, ``-3`` ... behind it)."""
        return free_name(base, _folders_in(self.folder(_kind(kind))))

    def usage(self) -> tuple[Usage, ...]:
        """What each part takes on disk, and which of it may be cleaned."""
        parts: list[Usage] = []
        for kind in KINDS:
            for stored in self.sets(kind):
                raw = tree_bytes(stored.raw_folder) if stored.has_raw else 0
                parts.append(Usage(kind, stored.name, stored.size_bytes() - raw))
                if raw:
                    parts.append(
                        Usage(
                            "raw",
                            stored.name,
                            raw,
                            True,
                            "Tune needs the raw detections; the same prediction makes them again.",
                        )
                    )
        for part in FOLDERS[len(KINDS) :]:
            if size := tree_bytes(self.path / part):
                parts.append(Usage(part, "", size))
        parts += [
            Usage("trash", t.name, t.size_bytes(), True, "Once deleted, it cannot be restored.") for t in self.trashed()
        ]
        return tuple(parts)

    # ------------------------------------------------------------------ making and changing sets

    def begin(self, kind: str, name: str, facts: SetFacts, *, exist_ok: bool = False) -> StoredSet:
        """Make a set's folder with its ``set.json``, in one step.

        Parameters
        ----------
        kind, name : str
        facts : SetFacts
            Time and program are filled in.
        exist_ok : bool
            A set of this name is gone on with if it has the same checkpoint, system, data and options that matter;
            what was asked for is added to its recordings.

        Raises
        ------
        NameTakenError
            There is another set of this name.
        InputError
            A name that is not allowed; the workspace lies inside a data root.
        EnvironmentProblem
            The folder cannot be written.
        """
        name = check_name(name)
        facts = replace(
            facts,
            created=facts.created or time.time(),
            program=facts.program or _program(),
            id=facts.id or secrets.token_hex(8),
        )
        if kind == "predictions" and any(r.rpartition("/")[2] == "set" for r in facts.recordings):
            raise InputError(
                "A recording called 'set' cannot be kept in the workspace, where set.json says what a set was made "
                "from; rename it, or give another output folder."
            )
        folder = self.folder(_kind(kind))
        with self.changing():
            taken = [n for n in _folders_in(folder) if composed(n).casefold() == name.casefold()]
            if taken:
                if not exist_ok:
                    raise NameTakenError(
                        f"{name}: there is a {KIND_NOUNS[kind]} {taken[0]} already; choose another name."
                    )
                return _gone_on_with(_open(kind, folder / taken[0]), facts)
            made = folder / f".{secrets.token_hex(6)}.new"
            for left in folder.glob(".*.new"):
                # of a process that was killed: whoever makes a set holds the lock
                shutil.rmtree(left, ignore_errors=True)
            with telling(folder):
                made.mkdir(parents=True)
                try:
                    write_facts(made, facts)
                    os.rename(made, folder / name)
                except BaseException:
                    shutil.rmtree(made, ignore_errors=True)
                    raise
        return _open(kind, folder / name)

    def go_on(self, kind: str, base: str, facts: SetFacts) -> StoredSet:
        """The set that a job goes on with, or a new one: of the name ``base``, ``base-2`` ..., the first that fits.

        Raises
        ------
        InputError
            The workspace lies inside a data root.
        EnvironmentProblem
            The folder cannot be written.
        """
        tried: list[str] = []
        while True:
            name = free_name(base, tried)
            try:
                return self.begin(kind, name, facts, exist_ok=True)
            except NameTakenError:
                tried.append(name)

    def drop_empty(self, stored: StoredSet) -> bool:
        """Take away a set in which there is nothing but ``set.json``, if nobody writes into it; whether that was so."""
        with self.changing(), suppress(OSError, InputError), self._not_written(stored):
            if [p.name for p in stored.folder.iterdir()] == [SET_FILE]:
                (stored.folder / SET_FILE).unlink()
                stored.folder.rmdir()
                return True
        return False

    @contextmanager
    def writing(self, stored: StoredSet, *, part: str = "") -> Iterator[Path]:
        """The set's folder, which stays where it is while the block writes into it.

        Parameters
        ----------
        stored : StoredSet
        part : str
            Processes that write into one set together (``torchrun``) take a part each.

        Raises
        ------
        InputError
            Somebody else is writing into it, or it is gone.
        """
        lock = filelock.FileLock(self._locks_of(stored) / f"{part or 'all'}.lock")
        with self.changing():
            self._check_there(stored)
            try:
                lock.acquire(timeout=0)
            except filelock.Timeout:
                raise _busy(stored) from None
            except (OSError, NotImplementedError):
                pass  # no locks on this file system: the user must know
        try:
            yield stored.folder
        finally:
            lock.release()

    @contextmanager
    def writing_into(self, folder: Path, *, part: str = "") -> Iterator[None]:
        """:meth:`writing` for a job that knows only its output folder; a folder elsewhere is nobody's business.

        A set in which nothing but its ``set.json`` is left in the end is taken away again; a job that comes back for
        it, as one that was cancelled before its first file, begins it anew.

        Raises
        ------
        InputError
            Somebody else is writing into the set, it was renamed or thrown away since the job was asked for, or
            another set has its name meanwhile.
        """
        folder = Path(os.path.abspath(folder))
        kind = folder.parent.name
        if kind not in KINDS or folder.parent != self.folder(kind):
            yield
            return
        if folder in _taken_away:
            self.begin(kind, folder.name, _taken_away[folder], exist_ok=True)
            _taken_away.pop(folder, None)
        stored = _open(kind, folder)
        try:
            with self.writing(stored, part=part):
                yield
        finally:
            if self.drop_empty(stored):
                _taken_away[folder] = stored.facts

    def change(
        self,
        stored: StoredSet,
        *,
        name: str | None = None,
        note: str | None = None,
        tags: Iterable[str] | None = None,
    ) -> StoredSet:
        """Rename a set, or change what the user says of it.

        Sets that name it as what they were made from follow its new name.

        Raises
        ------
        InputError
            A name that is not allowed or is taken, a set that is being written or is gone, or a ``set.json`` that
            cannot be read and would be lost.
        EnvironmentProblem
            The folder cannot be written.
        """
        name = None if name is None else check_name(name)
        with self.changing():
            self._check_there(stored)
            if note is not None or tags is not None:
                facts = _facts_to_change(stored)
                facts = facts if note is None else replace(facts, note=note.strip())
                facts = facts if tags is None else replace(facts, tags=tuple(dict.fromkeys(_tags(tags))))
                write_facts(stored.folder, facts)
            if name is None or name == stored.name:
                return _open(stored.kind, stored.folder)
            folder = stored.folder.parent
            others = {composed(n).casefold() for n in _folders_in(folder) if n != stored.folder.name}
            if name.casefold() in others:
                raise InputError(f"{name}: there is a {KIND_NOUNS[stored.kind]} of this name already.")
            with self._not_written(stored), telling(stored.folder):
                os.rename(stored.folder, folder / name)
            for dependent in self.sets(stored.kind):
                if dependent.facts.base == stored.name and not dependent.problem:
                    write_facts(dependent.folder, replace(dependent.facts, base=name))
        return _open(stored.kind, folder / name)

    def export(self, stored: StoredSet, out: str | Path, *, raw: bool = False) -> Path:
        """Copy a set's files and its ``set.json`` into a new folder, or a ``.zip`` if the name ends so.

        Parameters
        ----------
        stored : StoredSet
        out : path
            Must not exist.
        raw : bool
            Raw detections, too.

        Returns
        -------
        Path
            What was written.

        Raises
        ------
        InputError
            The place is taken or among a user's data.
        EnvironmentProblem
            It cannot be written.
        """
        self._check_there(stored)
        as_zip = os.fspath(out).lower().endswith(".zip")
        target = check_output(out, inputs=[stored.folder], folder=not as_zip)
        if os.path.lexists(target):
            raise InputError(f"{target}: exists already; choose another name.")
        files = [f for f in _files_below(stored.folder) if raw or f.parts[0] != RAW_FOLDER]
        if as_zip:
            with atomic_write(target) as stream, zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
                for file in files:
                    archive.write(stored.folder / file, f"{stored.name}/{file.as_posix()}")
            return target
        made = target.with_name(f".{target.name[:100]}.{secrets.token_hex(6)}.new")
        with telling(target):
            try:
                for file in files:
                    (made / file).parent.mkdir(parents=True, exist_ok=True)
                    shutil.copyfile(stored.folder / file, made / file)
                os.rename(made, target)
            finally:
                shutil.rmtree(made, ignore_errors=True)
        return target

    def drop_raw(self, stored: StoredSet) -> int:
        """Delete the raw detections of a prediction set; its submission files stay.

        Tune needs raw detections; the same prediction makes them again.

        Returns
        -------
        int
            Bytes that were freed.

        Raises
        ------
        InputError
            The set is being written, is gone, or is a link to a folder elsewhere.
        EnvironmentProblem
            They cannot be deleted.
        """
        with permissions.recorded("make", "delete raw detections", str(stored.folder)), self.changing():
            self._check_there(stored)
            if not stored.has_raw:
                return 0
            if stored.folder.is_symlink() or stored.raw_folder.is_symlink():
                raise InputError(f"{stored.folder}: is a link to a folder elsewhere; delete its raw detections there.")
            size = tree_bytes(stored.raw_folder)
            trash = self.path / TRASH_FOLDER
            with self._not_written(stored), telling(stored.raw_folder):
                trash.mkdir(exist_ok=True)
                os.rename(stored.raw_folder, trash / f".{secrets.token_hex(6)}.{RAW_FOLDER}")
        self._finish_dropping()
        return size

    def _finish_dropping(self) -> None:
        """Delete raw detections that were dropped, also those that a killed process left half deleted."""
        for place in (self.path / TRASH_FOLDER).glob(f".*.{RAW_FOLDER}"):
            shutil.rmtree(place, ignore_errors=True)

    # ------------------------------------------------------------------ trash

    def trash(self, stored: StoredSet) -> Trashed:
        """Put a set into the trash, from where it can be restored.

        Raises
        ------
        InputError
            It is being written, or is gone.
        EnvironmentProblem
            The folder cannot be written.
        """
        with permissions.recorded("make", "move to the trash", str(stored.folder)), self.changing():
            self._check_there(stored)
            now = time.time()
            place = self.path / TRASH_FOLDER / f"{int(now * 1000):013d}-{secrets.token_hex(4)}" / stored.kind
            with self._not_written(stored), telling(stored.folder):
                place.mkdir(parents=True)
                os.rename(stored.folder, place / stored.folder.name)
        return next(t for t in self.trashed() if t.folder == place / stored.folder.name)

    def trashed(self) -> tuple[Trashed, ...]:
        """What is in the trash, the newest first."""
        found = []
        for when in sorted(_folders_in(self.path / TRASH_FOLDER), reverse=True):
            for kind in KINDS:
                for name in _folders_in(self.path / TRASH_FOLDER / when / kind):
                    stored = _open(kind, self.path / TRASH_FOLDER / when / kind / name)
                    time_ms = when.partition("-")[0]
                    at = int(time_ms) / 1000 if _WHEN.fullmatch(time_ms) else stored.changed
                    found.append(Trashed(kind, stored.name, stored.folder, at, stored.facts, stored.problem))
        return tuple(found)

    def restore(self, trashed: Trashed) -> StoredSet:
        """Bring a set back, under a free name where its own is taken.

        Raises
        ------
        InputError
            It is no longer in the trash.
        EnvironmentProblem
            The folder cannot be written.
        """
        with permissions.recorded("make", "restore", str(trashed.folder)), self.changing():
            self._check_trashed(trashed)
            folder = self.folder(trashed.kind)
            taken = _folders_in(folder)
            same = {composed(n).casefold() for n in taken}
            name = trashed.name if trashed.name.casefold() not in same else free_name(trashed.name, taken)
            with telling(trashed.folder):
                folder.mkdir(parents=True, exist_ok=True)
                os.rename(trashed.folder, folder / name)
            _remove_empty(trashed.folder)
        return _open(trashed.kind, folder / name)

    def delete(self, trashed: Trashed) -> None:
        """Delete a set of the trash for good.

        Raises
        ------
        InputError
            It is not in the trash.
        EnvironmentProblem
            It cannot be deleted.
        """
        with permissions.recorded("make", "delete", str(trashed.folder)):
            with self.changing():
                self._check_trashed(trashed)
            with telling(trashed.folder):
                if trashed.folder.is_symlink():
                    trashed.folder.unlink()
                else:
                    shutil.rmtree(trashed.folder)
        _remove_empty(trashed.folder)

    def empty_trash(self) -> int:
        """Delete everything in the trash for good; returns how many bytes that were."""
        freed = 0
        permissions.check("make", "empty the trash", str(self.path))
        self._finish_dropping()
        for trashed in self.trashed():
            size = trashed.size_bytes()
            self.delete(trashed)
            freed += size
        return freed

    def _check_trashed(self, trashed: Trashed) -> None:
        inside = trashed.folder.is_relative_to(self.path / TRASH_FOLDER) and ".." not in trashed.folder.parts
        if not inside or not os.path.lexists(trashed.folder):
            raise InputError(f"{trashed.name}: is not in the trash; it was restored or deleted.")

    # ------------------------------------------------------------------ remembered

    def recent_roots(self) -> tuple[Path, ...]:
        """Data roots that were opened, the newest first, whether or not they are still there."""
        return tuple(Path(p) for p in read_remembered(self.path).roots)

    def remember_root(self, path: str | Path) -> str:
        """Put a data root first among the recent ones.

        Returns
        -------
        str
            Why it could not be remembered (a workspace that cannot be written, say), in one sentence; empty if it was.
            Nobody is kept from looking at data by that.
        """
        root = os.path.realpath(path)
        if not permissions.allowed("make"):  # looking leaves no trace
            return ""
        try:
            known = read_remembered(self.path)
            if known.roots[:1] == (root,):
                return ""
            with self.changing():
                known = read_remembered(self.path)
                roots = (root, *(r for r in known.roots if r != root))[:MAX_ROOTS]
                self._remember(known, replace(known, roots=roots))
        except SaiError as error:
            return str(error)
        return ""

    def added(self) -> tuple[Added, ...]:
        """Folders of predictions or labels elsewhere that the user added, in that order."""
        return read_remembered(self.path).added

    def add(self, path: str | Path, kind: str) -> None:
        """Remember a folder of predictions or labels elsewhere.

        Raises
        ------
        InputError
            No such folder or file.
        """
        place = Path(os.path.realpath(user_path(path, what="folder")))
        if not place.exists():
            raise InputError(f"{path}: no such folder; check the path.")
        with self.changing():
            known = read_remembered(self.path)
            new = Added(place, _kind(kind))
            if new not in known.added:
                self._remember(known, replace(known, added=(*known.added, new)))

    def forget(self, path: str | Path) -> None:
        """Forget an added folder or a recent data root; the folder itself stays as it is."""
        place = os.path.realpath(path)
        with self.changing():
            known = read_remembered(self.path)
            roots = tuple(r for r in known.roots if r != place)
            added = tuple(a for a in known.added if os.fspath(a.path) != place)
            self._remember(known, replace(known, roots=roots, added=added))

    def problems(self) -> tuple[str, ...]:
        """What of ``workspace.json`` cannot be read, in one sentence; the sets are found without it."""
        problem = read_remembered(self.path).problem
        return (problem,) if problem else ()

    def _remember(self, known: Remembered, new: Remembered) -> None:
        if new != known and not known.is_newer:
            write_remembered(self.path, new)

    # ------------------------------------------------------------------ locks

    def _check_there(self, stored: StoredSet) -> None:
        if stored.folder.parent != self.folder(stored.kind):
            raise InputError(f"{stored.folder}: is not in the workspace {self.path}; choose the set again.")
        if not stored.folder.is_dir():
            raise InputError(f"{stored.name}: this {KIND_NOUNS[stored.kind]} is gone; it was renamed or deleted.")

    def _locks_of(self, stored: StoredSet) -> Path:
        return self.path / ".locks" / stored.kind / stored.folder.name

    @contextmanager
    def changing(self) -> Iterator[None]:
        """Nobody else changes names or ``workspace.json`` meanwhile; makes the workspace if need be.

        Raises
        ------
        InputError
            The person that this is done for may change nothing (:mod:`sai_core.permissions`).
        """
        permissions.check("make", "change the workspace", str(self.path))
        self.check()
        lock = filelock.FileLock(self.path / ".locks" / "workspace.lock")
        with telling(self.path):
            (self.path / ".locks").mkdir(parents=True, exist_ok=True)
        with ExitStack() as stack:
            try:
                stack.enter_context(lock.acquire(timeout=_LOCK_SECONDS))
            except filelock.Timeout:
                raise EnvironmentProblem(
                    f"{self.path}: another process has held the workspace for {_LOCK_SECONDS:.0f} s; try again when it "
                    "is done."
                ) from None
            except (OSError, NotImplementedError):
                pass  # no locks on this file system; what follows tells if it cannot be written at all
            mark(self.path)
            yield

    @contextmanager
    def _not_written(self, stored: StoredSet) -> Iterator[None]:
        """Make sure that nobody writes into a set; :meth:`writing` waits for the workspace's lock, held here."""
        for path in self._locks_of(stored).glob("*.lock"):
            lock = filelock.FileLock(path)
            try:
                lock.acquire(timeout=0)
            except filelock.Timeout:
                raise _busy(stored) from None
            except (OSError, NotImplementedError):
                continue
            lock.release()
        yield


def _bare(key: str) -> str:
    """Recording of ``<split>/<recording>``."""
    return key.rpartition("/")[2]


def _kind(kind: str) -> str:
    if kind not in KINDS:
        raise InputError(f"{kind!r}: there is no such kind of set; choose {' or '.join(KINDS)}.")
    return kind


def _program() -> str:
    return f"SAI Explorer {__version__}"


def _folders_in(folder: Path) -> list[str]:
    """Names of the visible folders, links to folders included; none where nothing is there."""
    try:
        with os.scandir(folder) as listing:
            return [e.name for e in listing if not e.name.startswith(".") and e.is_dir()]
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        raise EnvironmentProblem(f"{folder}: cannot be read ({error.strerror or error}).") from error


def _files_below(folder: Path) -> list[Path]:
    """Visible files under a folder, relative, sorted."""
    return sorted(
        path.relative_to(folder)
        for path in folder.rglob("*")
        if path.is_file() and not any(part.startswith(".") for part in path.relative_to(folder).parts)
    )


def _open(kind: str, folder: Path) -> StoredSet:
    try:
        return StoredSet(kind, composed(folder.name), folder, read_facts(folder))
    except UnreadableFacts as error:
        return StoredSet(kind, composed(folder.name), folder, SetFacts(), str(error))


def _busy(stored: StoredSet) -> InputError:
    return InputError(f"{stored.name}: is being written by another job; wait until that has ended, or cancel it.")


def _facts_to_change(stored: StoredSet) -> SetFacts:
    try:
        return read_facts(stored.folder)
    except UnreadableFacts as error:
        if not os.path.lexists(stored.folder / SET_FILE):
            return SetFacts(made_by="import", created=stored.changed, program=_program(), id=secrets.token_hex(8))
        raise InputError(f"{error} A note would replace it; move it away first.") from error


def _tags(tags: Iterable[str]) -> list[str]:
    found = [" ".join(composed(tag).split()) for tag in tags]
    return [tag for tag in found if tag]


def _gone_on_with(stored: StoredSet, facts: SetFacts) -> StoredSet:
    old = stored.facts
    if stored.problem:
        raise NameTakenError(f"{stored.problem} It cannot be continued; choose another name.")
    same = {
        "checkpoint": (old.checkpoint_content or old.checkpoint) == (facts.checkpoint_content or facts.checkpoint),
        "system": (old.system, old.system_toml) == (facts.system, facts.system_toml),
        "data root": old.data == facts.data,
        "base": old.base == facts.base,
        **_same_options(old.options, facts.options),
    }
    if differing := [what for what, is_same in same.items() if not is_same]:
        raise NameTakenError(
            f"{stored.name}: this {KIND_NOUNS[stored.kind]} was made with another {' and '.join(differing)}; choose "
            "another name."
        )
    more = tuple(dict.fromkeys((*old.recordings, *facts.recordings)))
    if more != old.recordings:
        write_facts(stored.folder, replace(old, recordings=more))
    return _open(stored.kind, stored.folder)


def _same_options(old: Mapping[str, object], new: Mapping[str, object]) -> dict[str, bool]:
    names = sorted({*old, *new} - _WITHOUT_EFFECT)
    return {name: old.get(name) == new.get(name) for name in names}


def _remove_empty(folder: Path) -> None:
    """Take away the folders of the trash around a set that is gone, if nothing else is in them."""
    with suppress(OSError):
        folder.parent.rmdir()
        folder.parent.parent.rmdir()
