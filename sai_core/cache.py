"""The cache: what costs time to make is kept once, for all processes, and never believed unverified.

Layout under :func:`sai_core.files.cache_root`::

    entries/<namespace>/v<version>/<key>.entry     one file each (sai_core.entry_file), complete or not there at all
    entries/locks/<namespace>-<key>.lock           held by the process that makes the entry
    entries/usage.json                             bytes of all entries together

* A key holds, as a hash, everything that an entry depends on; files count by content (:func:`content_of`).
* Entries are written beside their place and renamed into it; each carries checksums of all its bytes. A damaged,
  cut, foreign or empty one is deleted, made anew, and that is told (:func:`notices`, the log).
* All namespaces share one budget: ``SAI_CACHE_MAX_GB``, by default half of what the disk would have free without the
  cache. Before an entry is written, those that were not used for longest make room; entries whose rows a process reads
  stay.
* A folder that cannot be written costs time and nothing else, and that is told once. A full disk is told, too, or is an
  error where nobody could go on without the entry (``required``).
"""

from __future__ import annotations

import errno
import hashlib
import logging
import os
import shutil
import tempfile
import threading
import time
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import filelock
import msgspec
import numpy.typing as npt
from cachetools import LRUCache

from sai_core.entry_file import DamagedEntry, Entry, Rows, in_use, n_bytes_of, read_entry, write_entry
from sai_core.errors import EnvironmentProblem
from sai_core.files import FileSignature, cache_root, content_hash, file_signature
from sai_core.progress import Progress, no_progress

_SUFFIX: Final[str] = ".entry"
_FULL: Final[frozenset[int]] = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_DEFAULT_SHARE: Final[float] = 0.5
_KEPT_SHARE: Final[float] = 0.9
"""Eviction goes down to this share of the budget, so that not every following entry evicts again."""
_STALE_WORK_SECONDS: Final[float] = 6 * 3600.0
_POLL_SECONDS: Final[float] = 0.2
_SMALL_BYTES: Final[int] = 4 << 20
"""Smaller files are hashed anew by each process (10 ms); hashes of larger ones are kept on disk."""
_TICK_NS: Final[int] = 20_000_000
_COARSE_TICK_NS: Final[int] = 2_000_000_000
_FORMER: Final[tuple[str, ...]] = (
    "annotations/v1",
    "features/" + "[0-9a-f]" * 32 + "*",
    "metrics/2026-06-30",
    "scores/*.npz",
    "spectrograms/*.npy",
    "training/labels",
    "training/rgb",
    "uplam-training/" + "[0-9a-f]" * 16,
)
"""Entries of earlier versions of the program, which nothing reads any more."""

_log = logging.getLogger(__name__)
_notices: deque[str] = deque(maxlen=100)
_told: set[str] = set()
_guard = threading.Lock()


class Cache:
    """One namespace.

    Parameters
    ----------
    name : str
        Folder name.
    version : int
        Raise it when the numbers of an entry, or their meaning, change.
    """

    def __init__(self, name: str, version: int) -> None:
        self.name = name
        self.version = version

    def path(self, key: str) -> Path:
        """File of an entry, whether or not it exists."""
        return _base() / self.name / f"v{self.version}" / f"{key}{_SUFFIX}"

    def get(self, key: str) -> Entry | None:
        """Open an entry; None where there is none. A damaged one is deleted, and that is told."""
        path = self.path(key)
        try:
            entry = read_entry(path, self._identity(key))
        except (FileNotFoundError, NotADirectoryError):
            return None
        except PermissionError as error:
            _explain(error, required=False)
            return None
        except DamagedEntry as error:
            _discard(path)
            tell(f"{error} It was deleted and is made again.")
            return None
        with suppress(OSError):
            os.utime(path)  # the time of its last use
        return entry

    def put(
        self,
        key: str,
        arrays: Mapping[str, npt.NDArray[Any] | Rows],
        facts: Mapping[str, Any] | None = None,
        *,
        required: bool = False,
    ) -> bool:
        """Write an entry.

        Parameters
        ----------
        key : str
        arrays : mapping of str to ndarray or Rows
        facts : mapping, optional
            Whatever JSON can hold.
        required : bool
            A full disk is an error.

        Returns
        -------
        bool
            False where the folder cannot be written, or the budget does not suffice: told once.

        Raises
        ------
        EnvironmentProblem
            The disk is full, and the entry is required.
        """
        path = self.path(key)
        temporary: str | None = None
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            _make_room(n_bytes_of(arrays))
            handle, temporary = tempfile.mkstemp(prefix=".work-", dir=path.parent)
            with os.fdopen(handle, "wb") as stream:
                write_entry(stream, self._identity(key), arrays, facts)
            os.chmod(temporary, 0o644)
            if path.is_dir() and not path.is_symlink():
                _discard(path)
            os.replace(temporary, path)
            temporary = None
        except _OverBudget as error:
            tell(str(error), once=True)
            return False
        except OSError as error:
            _explain(error, required=required)
            return False
        finally:
            if temporary is not None:
                with suppress(OSError):
                    os.unlink(temporary)
        return True

    def remove(self, key: str) -> None:
        """Delete an entry."""
        _discard(self.path(key))

    @contextmanager
    def lock(self, key: str, progress: Progress = no_progress, what: str = "") -> Iterator[None]:
        """Hold the right to make an entry; waits for another process, telling ``progress`` (which may cancel).

        Where locks do not exist (a folder that cannot be written, some network folders), nobody waits: both make it.
        """
        path = _base() / "locks" / f"{self.name}-{key}.lock"
        lock = filelock.FileLock(path)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            while True:
                try:
                    lock.acquire(timeout=_POLL_SECONDS, poll_interval=_POLL_SECONDS / 4)
                    break
                except filelock.Timeout:
                    progress(0.0, f"{what}: waiting for another process that computes it")
        except (OSError, NotImplementedError):
            pass
        try:
            yield
        finally:
            lock.release()

    def _identity(self, key: str) -> str:
        return f"{self.name}/{self.version}/{key}"


def key_of(*parts: object) -> str:
    """Key of an entry: a hash of everything that it depends on (what ``repr`` tells apart)."""
    return hashlib.blake2b(repr(parts).encode("utf-8", "surrogateescape"), digest_size=16).hexdigest()


# ---------------------------------------------------------------------------------------------------------------------
# files by content

_contents: LRUCache[tuple[object, ...], str] = LRUCache(4096)
_index = Cache("contents", 1)


def content_of(path: str | os.PathLike[str]) -> str:
    """Hash of a file's bytes, remembered for as long as the file has not been touched.

    A file counts as untouched if :func:`sai_core.files.file_signature` is the same (size, times of modification and
    change, inode, device) and the times were older than the granularity of time stamps when hashing began (20 ms; 2 s
    where the stamp is a whole second, as on FAT and some network file systems): a second write within the same tick,
    of the same size, could not be told apart. A file that is just that fresh is given those 20 ms before hashing.

    A folder (of frames) is known by the names, sizes and times of the files in it.

    Raises
    ------
    InputError
        The file cannot be read.
    """
    path = Path(path)
    before = file_signature(path)
    if path.is_dir():
        return key_of(before)
    known = content_if_known(path)
    if known is not None:
        return known
    wait = _settled_ns(before) - time.time_ns()
    if 0 < wait <= _TICK_NS:
        time.sleep((wait + 1_000_000) / 1e9)
    began = time.time_ns()
    content = content_hash(path)
    remember_content(path, content, before, began)
    return content


def content_if_known(path: str | os.PathLike[str]) -> str | None:
    """As :func:`content_of` where the file need not be read for it; else None.

    Raises
    ------
    InputError
        The file cannot be looked at.
    """
    signature = file_signature(path)
    with _guard:
        known = _contents.get(signature)
    if known is None and signature[1] >= _SMALL_BYTES:
        entry = _index.get(key_of(signature[0]))
        if entry is not None and entry.facts["stamp"] == list(signature[1:]):
            known = str(entry.facts["content"])
            with _guard:
                _contents[signature] = known
    return known


def remember_content(path: str | os.PathLike[str], content: str, before: FileSignature, began_ns: int) -> None:
    """Keep what somebody has hashed who had to read the file anyway, unless it was too fresh or has changed since.

    Parameters
    ----------
    path : path
        A file.
    content : str
        As :func:`sai_core.files.content_hash` of it.
    before : FileSignature
        Before it was read.
    began_ns : int
        When reading began, by ``time.time_ns``, after that.
    """
    if _settled_ns(before) >= began_ns or file_signature(path) != before:
        return
    if before[1] >= _SMALL_BYTES:
        _index.put(key_of(before[0]), {}, {"stamp": before[1:], "content": content})
    with _guard:
        _contents[before] = content


def _settled_ns(signature: FileSignature) -> int:
    """When a file's times are old enough that another write would show."""
    return max(signature[2], signature[3]) + (_COARSE_TICK_NS if signature[2] % 1_000_000_000 == 0 else _TICK_NS)


# ---------------------------------------------------------------------------------------------------------------------
# what is told


def tell(sentence: str, *, once: bool = False) -> None:
    """Put a sentence into the log and among the notices."""
    with _guard:
        if once and sentence in _told:
            return
        _told.add(sentence)
        _notices.append(sentence)
    _log.warning("%s", sentence)


def notices() -> tuple[str, ...]:
    """What this process had to tell about its cache, oldest first."""
    return tuple(_notices)


def _explain(error: OSError, *, required: bool) -> None:
    root = cache_root()
    reason = error.strerror or str(error)
    if error.errno in _FULL:
        sentence = (
            f"{root}: the disk of the cache folder is full ({reason}); free some space, run 'cache clear', or set "
            "SAI_CACHE_DIR to a folder on another disk"
        )
        if required:
            raise EnvironmentProblem(sentence + ".") from error
        tell(sentence + " (until then everything works, only slower).", once=True)
    else:
        tell(
            f"{root}: the cache folder cannot be used ({reason}); everything works, only slower. Set SAI_CACHE_DIR "
            "to a folder that can be read and written.",
            once=True,
        )


# ---------------------------------------------------------------------------------------------------------------------
# budget


class _OverBudget(Exception):
    """An entry that the user's budget has no room for."""


@dataclass(frozen=True)
class Usage:
    """What a namespace holds: entries, their bytes, and when one was last used (seconds since 1970)."""

    name: str
    n_entries: int
    n_bytes: int
    last_used: float


def usage() -> list[Usage]:
    """Every namespace that has entries, and ``former`` for what earlier versions of the program left behind."""
    found: dict[str, list[tuple[int, float]]] = {}
    for path, size, used in _entries():
        found.setdefault(path.parent.parent.name, []).append((size, used))
    for path in _former():
        found.setdefault("former", []).append((_size(path), path.lstat().st_mtime))
    return [
        Usage(name, len(items), sum(i[0] for i in items), max(i[1] for i in items))
        for name, items in sorted(found.items())
    ]


def budget_bytes(used: int | None = None) -> int:
    """Most bytes that all entries may have together: ``SAI_CACHE_MAX_GB``, else half of what is free without them."""
    chosen = _chosen_budget()
    if chosen is not None:
        return chosen
    place = cache_root()
    while not place.exists() and place != place.parent:
        place = place.parent
    if used is None:
        used = sum(size for _, size, _ in _entries())
    return int(_DEFAULT_SHARE * (shutil.disk_usage(place).free + used))


def clear(name: str | None = None) -> tuple[int, int]:
    """Delete the entries of a namespace, or of all; returns how many there were and their bytes."""
    count = total = 0
    for path, size, _ in list(_entries()):
        if name in (None, path.parent.parent.name):
            _discard(path)
            count, total = count + 1, total + size
    if name in (None, "former"):
        for path in _former():
            size = _size(path)
            _discard(path)
            count, total = count + 1, total + size
    with suppress(OSError):
        (_base() / "usage.json").unlink()
    return count, total


def _chosen_budget() -> int | None:
    try:
        gigabytes = float(os.environ.get("SAI_CACHE_MAX_GB", ""))
    except ValueError:
        return None
    return int(gigabytes * 1e9) if 0 <= gigabytes < 1e6 else None


def _make_room(n_bytes: int) -> None:
    """Count an entry of so many bytes in, deleting others if need be; OSError(ENOSPC) where the disk is too small."""
    counter = _base() / "usage.json"
    with _counter_lock():
        try:
            used = msgspec.json.decode(counter.read_bytes(), type=int)
        except (OSError, msgspec.MsgspecError):
            used = -1
        if not 0 <= used <= budget_bytes(max(used, 0)) - n_bytes:
            # not counted yet, or full: look what is there (the count only ever grows, deleted entries are still in it)
            used = _evict(n_bytes)
        counter.write_bytes(msgspec.json.encode(used + n_bytes))


@contextmanager
def _counter_lock() -> Iterator[None]:
    lock = filelock.FileLock(_base() / "usage.lock")
    with suppress(OSError, NotImplementedError):  # also filelock.Timeout: the count is only an estimate then
        lock.acquire(timeout=30)
    try:
        yield
    finally:
        lock.release()


def _evict(n_bytes: int) -> int:
    """Delete what was not used for longest, if that is needed for an entry; returns how many bytes are left."""
    for path in _former():
        _discard(path)
    now = time.time()
    total = 0
    entries = sorted(_entries(work=True), key=lambda entry: entry[2])
    for path, size, used in entries:
        if path.suffix != _SUFFIX and now - used > _STALE_WORK_SECONDS:
            _discard(path)
        else:
            total += size
    budget = budget_bytes(total)
    if n_bytes <= budget < total + n_bytes:
        for path, size, _ in entries:
            if total + n_bytes <= _KEPT_SHARE * budget:
                break
            if path.suffix == _SUFFIX and not in_use(path):
                _discard(path)
                total -= size
    if total + n_bytes > budget:
        if _chosen_budget() is None:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        raise _OverBudget(
            f"{cache_root()}: the cache's budget ({budget / 1e9:.3g} GB, SAI_CACHE_MAX_GB) has no room for an entry of "
            f"{n_bytes / 1e9:.3g} GB; everything works, only slower."
        )
    return total


def _base() -> Path:
    return cache_root() / "entries"


def _entries(*, work: bool = False) -> Iterator[tuple[Path, int, float]]:
    """File, bytes and time of last use of every entry, and of what is being written."""
    for path in _base().glob("*/v*/*"):
        if path.suffix == _SUFFIX or (work and path.name.startswith(".work-")):
            with suppress(OSError):
                status = path.lstat()
                yield path, status.st_size, status.st_mtime


def _former() -> list[Path]:
    return [path for pattern in _FORMER for path in cache_root().glob(pattern)]


def _size(path: Path) -> int:
    parts = [path, *path.rglob("*")] if path.is_dir() and not path.is_symlink() else [path]
    return sum(part.lstat().st_size for part in parts)


def _discard(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with suppress(OSError):
            path.unlink()
