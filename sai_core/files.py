"""Files: paths confined to a root, atomic writes, content hashes, the cache folder.

The only module that knows how a file is written. Readers of formats live beside their containers.
"""

from __future__ import annotations

import hashlib
import os
import secrets
import shutil
import stat
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Final
from urllib.parse import unquote

from sai_core import permissions
from sai_core.errors import EnvironmentProblem, InputError

PRIVATE_UMASK: Final[int] = 0o077
"""Of every training process: what is in a run folder is its owner's alone."""

_HASH_CHUNK = 1 << 22
_MAX_NAME: Final[int] = 255
_MAX_PATH: Final[int] = 4095
"""Bytes of one name and of a whole path that Linux and its file systems take (``NAME_MAX``, ``PATH_MAX``)."""


def user_path(text: str | os.PathLike[str], *, what: str = "path") -> Path:
    """Path from what a user typed, pasted, or has in an address: the one way in for every field and option.

    Taken as well: quotes around the whole (as file managers and shells copy them), ``file://`` addresses of this
    machine, ``~`` and ``~user``. A file that is really named so, quotes and spaces included, goes before.

    Parameters
    ----------
    text : str or path
    what : str
        What a sentence about a mistake calls it, e.g. ``"Recipe file"``.

    Returns
    -------
    Path
        With ``~`` resolved; absolute only if the text was.

    Raises
    ------
    InputError
        A NUL byte, text that cannot be a file name, a name or path that is too long, an unknown user behind ``~``, a
        ``file://`` address of another machine; where the app is for several people, a path outside of what they may
        open (:mod:`sai_core.permissions`).
    """
    given = os.fspath(text)
    if "\x00" in given:
        raise InputError(f"The {what} holds a NUL byte; give a plain file name.")
    _check_lengths(given, what)
    plain = given if os.path.lexists(given) else given.strip()
    if plain[:1] in ("'", '"') and plain[-1:] == plain[:1] and len(plain) > 2 and not os.path.lexists(plain):
        plain = plain[1:-1].strip()
    if plain[:7].lower() == "file://":
        host, slash, rest = plain[7:].partition("/")
        if host.lower() not in ("", "localhost") or not slash:
            raise InputError(f"{plain}: only files of this machine can be opened; give file:///path or a plain path.")
        plain = unquote("/" + rest, errors="surrogateescape")
        if "\x00" in plain:
            raise InputError(f"The {what} holds a NUL byte; give a plain file name.")
        _check_lengths(plain, what)
    path = Path(plain)
    if plain.startswith("~"):
        try:
            path = path.expanduser()
        except RuntimeError as error:
            raise InputError(f"{plain}: there is no such user on this machine; give the folder itself.") from error
    permissions.check_path(path)
    return path


def resolved(path: Path) -> Path:
    """Absolute path with links and ``..`` resolved, whether or not it is there.

    Raises
    ------
    InputError
        Links that lead round in a circle.
    """
    try:
        return path.resolve()
    except (OSError, RuntimeError) as error:
        raise InputError(f"{path}: the path cannot be resolved ({error}).") from error


def _check_lengths(text: str, what: str) -> None:
    try:
        encoded = os.fsencode(text)
    except UnicodeEncodeError as error:
        raise InputError(f"The {what} {text!a} holds characters that no file name can have.") from error
    if len(encoded) > _MAX_PATH or max(map(len, encoded.split(b"/"))) > _MAX_NAME:
        raise InputError(f"The {what} {text[:60]!r}... is longer than a file name can be; give the folder itself.")


FileSignature = tuple[str, int, int, int, int, int]


def confine(root: Path, relative: str | Path) -> Path:
    """Resolve ``relative`` under ``root`` and make sure that it stays there.

    Raises
    ------
    InputError
        Absolute path, ``..`` that leaves the root, a symbolic link out of it, or a NUL byte.
    """
    text = os.fspath(relative)
    if "\x00" in text:
        raise InputError("The path holds a NUL byte; give a plain file name.")
    base = Path(root).resolve()
    target = resolved(base / text)
    if not target.is_relative_to(base):
        raise InputError(f"{text}: the path leaves the data root {base}; choose a file inside it.")
    return target


@contextmanager
def atomic_write(path: Path, mode: str = "wb", *, private: bool = False) -> Iterator[IO]:
    """Open a temporary file beside ``path`` that replaces it only when the block ends without an error.

    Parent folders are made. Nobody ever sees a half-written file; after an error the old one is untouched.

    Parameters
    ----------
    path : Path
    mode : {"wb", "w"}
    private : bool
        Readable by its owner alone; else as the process's umask says.

    Raises
    ------
    InputError
        The person that this is done for may not write there (:mod:`sai_core.permissions`).
    EnvironmentProblem
        The folder cannot be written or the disk is full.
    """
    path = Path(path)
    permissions.check_write(path)
    temporary: Path | None = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = _new_beside(path, 0o600 if private else 0o666)
        encoding = None if "b" in mode else "utf-8"
        with os.fdopen(handle, mode, encoding=encoding) as stream:
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(temporary, path)
        temporary = None
    except OSError as error:
        raise EnvironmentProblem(f"{path}: cannot be written ({error.strerror or error}).") from error
    finally:
        if temporary is not None:
            with suppress(OSError):
                os.unlink(temporary)


def check_space(place: Path, n_bytes: float, what: str) -> None:
    """Make sure, before long work, that what it will write has room.

    Parameters
    ----------
    place : Path
        File or folder to be written, which need not exist.
    n_bytes : float
        About how much will be written.
    what : str
        What is written, for the sentence.

    Raises
    ------
    EnvironmentProblem
        Less is free on the disk of ``place``.
    """
    folder = Path(os.path.abspath(place))
    while not folder.is_dir() and folder != folder.parent:
        folder = folder.parent
    try:
        free = shutil.disk_usage(folder).free
    except OSError:  # some network folders do not say: writing will
        return
    if n_bytes > free:
        raise EnvironmentProblem(
            f"{place}: {what} will take about {_gigabytes(n_bytes)}, and {_gigabytes(free)} are free there; make room, "
            "or choose a folder on another disk."
        )


def _gigabytes(n_bytes: float) -> str:
    return f"{n_bytes / 1e9:.1f} GB" if n_bytes >= 1e8 else f"{n_bytes / 1e6:.1f} MB"


def _new_beside(path: Path, permissions: int) -> tuple[int, Path]:
    """A new file in the folder of another; the kernel takes the umask off the permissions."""
    # the start of a long name only: with what is added it must stay a possible one
    head = os.fsdecode(os.fsencode(path.name)[:180])
    while True:
        temporary = path.parent / f".{head}.{secrets.token_hex(6)}.tmp"
        try:
            return os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, permissions), temporary
        except FileExistsError:
            continue


def content_hash(path: Path) -> str:
    """BLAKE2b-128 of a file's bytes as hex, read in pieces.

    Raises
    ------
    InputError
        The file does not exist, is a folder, or cannot be read.
    """
    digest = hashlib.blake2b(digest_size=16)
    try:
        with open(path, "rb") as stream:
            while chunk := stream.read(_HASH_CHUNK):
                digest.update(chunk)
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror or error}).") from error
    return digest.hexdigest()


def file_signature(path: str | os.PathLike[str]) -> FileSignature:
    """``(absolute path, size, mtime in ns, ctime in ns, inode, device)``: differs after every write to a file.

    The time of change (``ctime``) can be set back by no program, so that a file of equal size and time is told apart.
    A key for in-process caches; what is kept on disk is known by content (:func:`sai_core.cache.content_of`).

    A folder is known by the files that lie directly in it, since its own times do not change when they are written
    over: their sizes added up, and 63 bits of a hash over names, sizes and times. 5,000 files take less than 0.1 s.

    Raises
    ------
    InputError
        The file does not exist or cannot be looked at.
    """
    try:
        status = os.stat(path)
        size, mtime_ns = status.st_size, status.st_mtime_ns
        if stat.S_ISDIR(status.st_mode):
            size, mtime_ns = _folder_signature(path)
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: cannot be read ({getattr(error, 'strerror', None) or error}).") from error
    return os.path.abspath(path), size, mtime_ns, status.st_ctime_ns, status.st_ino, status.st_dev


def file_signatures(paths: Iterable[Path | None]) -> tuple[FileSignature | str | None, ...]:
    """Signatures of files and folders; the path alone where there is none (any more): opening it will say why."""

    def signature(path: Path | None) -> FileSignature | str | None:
        try:
            return None if path is None else file_signature(path)
        except InputError:
            return str(path)

    return tuple(signature(path) for path in paths)


def _folder_signature(path: str | os.PathLike[str]) -> tuple[int, int]:
    rows = []
    with os.scandir(path) as listing:
        for entry in listing:
            try:
                status = entry.stat()
            except OSError:  # a broken link: known by itself
                status = entry.stat(follow_symlinks=False)
            rows.append((os.fsencode(entry.name), status.st_size, status.st_mtime_ns, status.st_ctime_ns))
    digest = hashlib.blake2b(repr(sorted(rows)).encode("ascii"), digest_size=8).digest()
    return sum(row[1] for row in rows), int.from_bytes(digest, "big") >> 1


def cache_root() -> Path:
    """Folder for caches: ``$SAI_CACHE_DIR``, else the platform's (on Linux ``~/.cache/sai-explorer``).

    ``$XDG_CACHE_HOME`` counts as platformdirs reads it. Never inside a user's data root, so that read-only and shared
    data sets stay untouched. Not created here.
    """
    chosen = os.environ.get("SAI_CACHE_DIR")
    if chosen:
        return Path(chosen).expanduser()
    import platformdirs  # here, since `doctor` must come where a package is missing

    return platformdirs.user_cache_path("sai-explorer", appauthor=False)
