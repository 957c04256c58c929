"""Bytes of an annotation file, plain or gzip, in pieces and within limits.

Every failure of the file itself (missing, a folder, no permission, truncated or damaged gzip, absurdly large) leaves
here as one :class:`InputError`; the parsers above see plain bytes only.
"""

from __future__ import annotations

import os
import stat
import zlib
from types import TracebackType
from typing import IO, TYPE_CHECKING, Final

from sai_core.errors import InputError

if TYPE_CHECKING:
    from hashlib import blake2b

MAX_BYTES: Final[int] = 2 << 30
"""Largest text (after decompression) that is read, in bytes.

A dense prediction file of the longest recording has about 900 MB (domain notes); twice that is a mistake."""

_RATIO_FREE_BYTES: Final[int] = 64 << 20
_MAX_RATIO: Final[int] = 200
"""Largest gzip ratio beyond ``_RATIO_FREE_BYTES`` of text.

A 258-byte match of deflate costs at least 15 bits when its distance is that of a repeated annotation (kilobytes), which
is 137 : 1; only runs of a few bytes (bombs) compress better."""

_USUAL_RATIO: Final[int] = 4

_GZIP_MAGIC: Final[bytes] = b"\x1f\x8b"
_READ_BYTES: Final[int] = 1 << 18

_BOMS: Final[tuple[tuple[bytes, str], ...]] = (
    (b"\xff\xfe\x00\x00", "UTF-32"),
    (b"\x00\x00\xfe\xff", "UTF-32"),
    (b"\xff\xfe", "UTF-16"),
    (b"\xfe\xff", "UTF-16"),
)
_UTF8_BOM: Final[bytes] = b"\xef\xbb\xbf"


def stat_regular_file(path: str | os.PathLike[str]) -> os.stat_result:
    """Status of a regular file.

    Raises
    ------
    InputError
        Missing, a folder, a device or pipe, or it cannot be looked at.
    """
    try:
        status = os.stat(path)
    except FileNotFoundError:
        raise InputError(f"{path}: there is no such file.") from None
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: cannot be read ({getattr(error, 'strerror', None) or error}).") from None
    if stat.S_ISDIR(status.st_mode):
        raise InputError(f"{path}: is a folder; give a file.")
    if not stat.S_ISREG(status.st_mode):
        raise InputError(f"{path}: is not a regular file; give an ordinary file.")
    return status


class ByteSource:
    """Decompressed bytes of one file, read forward once; use as a context manager.

    Parameters
    ----------
    path
        Plain file or gzip (any number of members), told apart by content.
    max_bytes
        Limit on the decompressed size.
    digest
        Fed with the bytes on disk as they are read.
    may_be_empty
        Accept a text of 0 bytes.

    Raises
    ------
    InputError
        From the constructor and from :meth:`read`: see the module.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        max_bytes: int = MAX_BYTES,
        digest: blake2b | None = None,
        may_be_empty: bool = False,
    ) -> None:
        self._path = path
        self._digest = digest
        self._max_bytes = max_bytes
        self._size = stat_regular_file(path).st_size
        try:
            self._stream: IO[bytes] = open(path, "rb", buffering=0)  # noqa: SIM115 - closed by __exit__
        except OSError as error:
            raise InputError(f"{path}: cannot be read ({error.strerror or error}).") from None
        self._raw_read = 0
        self._produced = 0
        self._pending = b""
        try:
            head = self._read_raw(_READ_BYTES)
            self._gzip = head.startswith(_GZIP_MAGIC)
            self._inflater = zlib.decompressobj(wbits=31) if self._gzip else None
            self._raw = head
            if not self._gzip and self._size > max_bytes:
                # a sparse or foreign file fails on its first bytes; this one line saves reading gigabytes of a real one
                raise InputError(
                    f"{path}: {self._size / 1e9:.1f} GB is more than an annotation file can have "
                    f"({max_bytes / 1e9:.1f} GB); give the file of one recording."
                )
            self._pending = self._next()
            if not self._pending and not may_be_empty:
                raise InputError(f'{path}: the file is empty; an annotation file is at least {{"annotations": []}}.')
            self._check_encoding()
        except BaseException:
            self._stream.close()
            raise

    def __enter__(self) -> ByteSource:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stream.close()

    @property
    def size(self) -> int:
        """Bytes on disk."""
        return self._size

    @property
    def fraction(self) -> float:
        """Part of the file on disk that has been read, in [0, 1]."""
        return min(self._raw_read / self._size, 1.0) if self._size else 1.0

    @property
    def text_bytes(self) -> int:
        """Bytes of text that were read so far; of a packed file at most four times those on disk.

        What a file may unpack to is measured by this: text packs to about a quarter, and a text of one annotation
        repeated, which packs to a hundredth, is no reason to allow a hundred times more.
        """
        return min(self._produced, _USUAL_RATIO * self._raw_read) if self._gzip else self._produced

    def read(self, n_bytes: int) -> bytes:
        """Between 1 byte and about ``n_bytes``, or ``b""`` at the end."""
        pieces = [self._pending] if self._pending else []
        total = len(self._pending)
        self._pending = b""
        while total < n_bytes:
            piece = self._next()
            if not piece:
                break
            pieces.append(piece)
            total += len(piece)
        return b"".join(pieces)

    def _check_encoding(self) -> None:
        for bom, name in _BOMS:
            if self._pending.startswith(bom):
                raise InputError(f"{self._path}: is {name} text; save it as UTF-8.")
        if self._pending.startswith(_UTF8_BOM):
            self._pending = self._pending[len(_UTF8_BOM) :] or self._next()

    def _read_raw(self, n_bytes: int) -> bytes:
        try:
            data = self._stream.read(n_bytes)
        except OSError as error:
            raise InputError(f"{self._path}: cannot be read ({error.strerror or error}).") from None
        self._raw_read += len(data)
        if self._digest is not None:
            self._digest.update(data)
        return data

    def _next(self) -> bytes:
        piece = self._inflate() if self._inflater is not None else self._plain()
        self._produced += len(piece)
        if self._produced > self._max_bytes:
            raise InputError(
                f"{self._path}: unpacks to more than {self._max_bytes / 1e9:.1f} GB, which no recording's annotations "
                "have; give the file of one recording."
            )
        if self._gzip and self._produced > max(_RATIO_FREE_BYTES, _MAX_RATIO * self._raw_read):
            raise InputError(
                f"{self._path}: unpacks to more than {_MAX_RATIO} times its size, which annotations never do; "
                "the gzip file is damaged or made to fill memory."
            )
        return piece

    def _plain(self) -> bytes:
        if self._raw:
            piece, self._raw = self._raw, b""
            return piece
        return self._read_raw(_READ_BYTES)

    def _inflate(self) -> bytes:
        while True:
            assert self._inflater is not None
            if self._inflater.eof:
                # the next member, or padding
                rest = self._inflater.unused_data or self._raw or self._read_raw(_READ_BYTES)
                self._raw = b""
                while rest and not rest.strip(b"\x00"):
                    rest = self._read_raw(_READ_BYTES)
                if not rest:
                    return b""
                if not rest.lstrip(b"\x00").startswith(_GZIP_MAGIC[: len(rest.lstrip(b"\x00"))]):
                    raise InputError(f"{self._path}: there is something else after the gzip data; pack it again.")
                self._inflater = zlib.decompressobj(wbits=31)
                self._raw = rest.lstrip(b"\x00")
            data = self._inflater.unconsumed_tail or self._raw
            self._raw = b""
            if not data:
                data = self._read_raw(_READ_BYTES)
                if not data:
                    raise InputError(f"{self._path}: the gzip data is cut off; copy or pack the file again.")
            try:
                piece = self._inflater.decompress(data, _READ_BYTES)
            except zlib.error as error:
                raise InputError(f"{self._path}: the gzip data is damaged ({error}); pack it again.") from None
            if piece:
                return piece
