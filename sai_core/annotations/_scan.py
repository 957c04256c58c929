"""Forward scan of a JSON document whose one long list is ``annotations``.

The document is never held as a whole. Braces outside strings mark where each element of the list begins and ends;
they are found in NumPy (a dense label has about sixteen such bytes in ten kilobytes), and elements are handed out in
runs of at most a buffer. Every other top-level value is handed out as its raw bytes, in whatever order the keys stand.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from typing import Final, NamedTuple

import msgspec
import numpy as np
import numpy.typing as npt

from sai_core.annotations._source import ByteSource
from sai_core.errors import InputError

CHUNK_BYTES: Final[int] = 1 << 20
MAX_ITEM_BYTES: Final[int] = 16 << 20
"""Largest text of one annotation: three times a region of the whole canvas, indented, with 17 digits a number."""
MAX_VALUE_BYTES: Final[int] = 64 << 20
MAX_DEPTH: Final[int] = 64
_MAX_KEY_BYTES: Final[int] = 1 << 16
_MAX_SPACE_BYTES: Final[int] = 1 << 24

_SPACE: Final = re.compile(rb"[ \t\n\r]*")
_TOKEN: Final = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"|["{}]', flags=re.DOTALL)
"""A whole string, a brace, or the quote of a string without an end."""
_AFTER_STRING: Final = re.compile(rb"[ \t\n\r]*:")
_SCALAR: Final = re.compile(rb"[^,\]}\s\x00-\x1f]*")

_QUOTE, _BACKSLASH, _OPEN, _CLOSE = 0x22, 0x5C, 0x7B, 0x7D
_OPEN_LIST, _CLOSE_LIST, _COMMA, _COLON = 0x5B, 0x5D, 0x2C, 0x3A


class Run(NamedTuple):
    """Neighbouring elements of the ``annotations`` list, separated by commas, in one piece of text."""

    first: int
    """Index in the file of the first element."""
    data: bytes
    starts: list[int]
    ends: list[int]
    suspects: list[int]
    """Positions in ``starts`` of elements whose keys need a look (see :func:`duplicate_key`)."""

    def raw(self, k: int) -> bytes:
        """Text of one element."""
        return self.data[self.starts[k] : self.ends[k]]


class Value(NamedTuple):
    """A top-level value that is not the list; ``raw`` is empty where it was too large to keep."""

    key: str
    raw: bytes


def show(key: str) -> str:
    """A key from a file as it may stand in a message: quoted, one line, short."""
    text = repr(key)
    return text if len(text) <= 62 else text[:58] + "...'"


class DocumentScanner:
    """Reads one document from a source; :meth:`events` may be run once.

    Parameters
    ----------
    source
        Where the bytes come from.
    path
        Named in messages.
    wanted
        Top-level keys whose values are needed whole: one of these over ``MAX_VALUE_BYTES`` is an error. Larger
        values of other keys are skipped over.
    """

    def __init__(
        self, source: ByteSource, path: str | os.PathLike[str], *, wanted: frozenset[str] = frozenset()
    ) -> None:
        self._source = source
        self._path = path
        self._wanted = wanted
        self._buffer = b""
        self._position = 0
        self._n_items = 0
        self.keys: list[str] = []

    def events(self) -> Iterator[Run | Value]:
        """Elements of ``annotations`` and other top-level values, in file order.

        Raises
        ------
        InputError
            Not a JSON object, malformed or cut off, a key twice, ``annotations`` not a list of objects, or a limit.
        """
        self.check_start()
        self._position += 1
        if self._peek() == _CLOSE:
            self._position += 1
        else:
            while True:
                yield from self._member()
                byte = self._peek()
                self._position += 1
                if byte == _CLOSE:
                    break
                if byte != _COMMA:
                    self._fail(byte, "between two keys of the file")
        if self._peek() != -1:
            raise InputError(f"{self._path}: there is text after the end of the JSON object; remove it.")
        if "annotations" not in self.keys:
            found = ", ".join(show(key) for key in self.keys[:6]) or "none"
            raise InputError(
                f"{self._path}: has no key 'annotations' (keys found: {found}); this is not an annotation file."
            )

    def check_start(self) -> None:
        """Make sure that an object begins here.

        Raises
        ------
        InputError
            Something else does.
        """
        first = self._peek()
        if first != _OPEN:
            raise InputError(f"{self._path}: {self._describe_start(first)}")

    def _describe_start(self, byte: int) -> str:
        if byte == -1:
            return 'holds nothing but spaces; an annotation file is at least {"annotations": []}.'
        if byte == 0:
            return "starts with zero bytes; this is not JSON (a damaged or unfinished copy?)."
        if byte == _OPEN_LIST:
            return "the top level is a list; expected an object with the key 'annotations'."
        return "is not JSON; expected an object with the key 'annotations'."

    def _member(self) -> Iterator[Run | Value]:
        byte = self._peek()
        if byte != _QUOTE:
            self._fail(byte, "where a key of the file should start")
        key = self._key()
        if key in self.keys:
            raise InputError(f"{self._path}: the key {show(key)} appears twice at the top level; keep one.")
        self.keys.append(key)
        if len(self.keys) > 10_000:
            raise InputError(f"{self._path}: has more than 10,000 top-level keys; this is not an annotation file.")
        byte = self._peek()
        if byte != _COLON:
            self._fail(byte, f"after the key {show(key)}")
        self._position += 1
        byte = self._peek()
        if key == "annotations":
            if byte == -1:
                self._fail(byte, "where the list 'annotations' should start")
            if byte != _OPEN_LIST:
                raise InputError(f"{self._path}: 'annotations' is not a list; expected a list of annotation objects.")
            self._position += 1
            yield from self._items()
        else:
            yield Value(key, self._value(key, byte))

    def _fail(self, byte: int, where: str) -> None:
        if byte == -1:
            raise InputError(f"{self._path}: ends too early, {where}; the file is cut off.")
        raise InputError(f"{self._path}: malformed JSON, unexpected {chr(byte)!r} {where}.")

    def _fill(self) -> bool:
        """Drop what is used up and append more; False at the end of the file."""
        kept = self._buffer[self._position :]
        # at least doubling keeps the total copying linear for an element of many chunks
        more = self._source.read(max(CHUNK_BYTES, len(kept)))
        self._buffer = kept + more
        self._position = 0
        return bool(more)

    def _peek(self) -> int:
        """Next byte that is no space, not consumed; -1 at the end."""
        skipped = 0
        while True:
            match = _SPACE.match(self._buffer, self._position)
            assert match is not None
            skipped += match.end() - self._position
            if skipped > _MAX_SPACE_BYTES:
                raise InputError(f"{self._path}: holds megabytes of spaces; this is not an annotation file.")
            self._position = match.end()
            if self._position < len(self._buffer):
                return self._buffer[self._position]
            if not self._fill():
                return -1

    def _key(self) -> str:
        """The string that starts at the position, decoded; the position moves behind it."""
        search = self._position + 1
        while True:
            end = self._buffer.find(b'"', search)
            if end < 0:
                search = len(self._buffer) - self._position
                if search > _MAX_KEY_BYTES:
                    raise InputError(f"{self._path}: a key of the file is longer than 64 KB; not an annotation file.")
                if not self._fill():
                    self._fail(-1, "inside a key of the file")
                continue
            n_escapes = end - len(self._buffer[self._position + 1 : end].rstrip(b"\\")) - self._position - 1
            if n_escapes % 2:
                search = end + 1
                continue
            raw = self._buffer[self._position : end + 1]
            self._position = end + 1
            try:
                return msgspec.json.decode(raw, type=str)
            except (msgspec.MsgspecError, UnicodeDecodeError):
                raise InputError(f"{self._path}: a key of the file is not valid UTF-8 text.") from None

    def _items(self) -> Iterator[Run]:
        byte = self._peek()
        if byte == _CLOSE_LIST:
            self._position += 1
            return
        while True:
            self._require_object(byte)
            run = self._next_run()
            self._n_items += len(run.starts)
            yield run
            byte = self._peek()
            self._position += 1
            if byte == _CLOSE_LIST:
                return
            if byte != _COMMA:
                self._fail(byte, f"after annotation {self._n_items - 1}")
            byte = self._peek()

    def _require_object(self, byte: int) -> None:
        if byte == -1:
            self._fail(byte, f"where annotation {self._n_items} should start")
        if byte == _CLOSE_LIST:
            self._fail(byte, f"after the comma after annotation {self._n_items - 1}")
        if byte != _OPEN:
            raise InputError(f"{self._path}: annotation {self._n_items} is not an object in {{}}.")

    def _next_run(self) -> Run:
        """All elements that lie whole in the buffer (the first one starts at the position), at least one."""
        while True:
            data = self._buffer
            starts, ends, suspects = _split(data, self._position)
            if ends:
                n = 1
                while n < len(ends) and _is_separator(data, ends[n - 1], starts[n]):
                    n += 1
                self._position = ends[n - 1]
                return Run(self._n_items, data, starts[:n], ends[:n], [k for k in suspects if k < n])
            if len(data) - self._position > MAX_ITEM_BYTES:
                raise InputError(
                    f"{self._path}: annotation {self._n_items} is longer than {MAX_ITEM_BYTES >> 20} MB; "
                    "a region of the whole canvas needs a third of that."
                )
            if not self._fill():
                self._fail(-1, f"inside annotation {self._n_items}")

    def _value(self, key: str, first: int) -> bytes:
        """Raw bytes of the value at the position (checked to be JSON where they are kept)."""
        if first == -1:
            self._fail(first, f"where the value of {show(key)} should start")
        raw = self._skip_nested(key) if first in (_OPEN, _OPEN_LIST, _QUOTE) else self._skip_scalar(key)
        if raw is None:
            return b""
        try:
            msgspec.json.decode(raw, type=msgspec.Raw)
        except (msgspec.MsgspecError, RecursionError):
            raise InputError(f"{self._path}: the value of the key {show(key)} is not valid JSON.") from None
        return raw

    def _skip_scalar(self, key: str) -> bytes:
        while True:
            match = _SCALAR.match(self._buffer, self._position)
            assert match is not None
            if match.end() < len(self._buffer):
                self._position = match.end()
                return match.group()
            if match.end() - self._position > _MAX_KEY_BYTES:
                raise InputError(f"{self._path}: the value of the key {show(key)} is not valid JSON.")
            if not self._fill():
                self._fail(-1, f"inside the value of {show(key)}")

    def _skip_nested(self, key: str) -> bytes | None:
        """Walk over a list, object or string without holding more than ``MAX_VALUE_BYTES``; None if it was longer."""
        pieces: list[bytes] | None = []
        total, depth = 0, 0
        in_string = first_is_escaped = False
        while True:
            data = self._buffer
            escaped = self._position if first_is_escaped else -1
            stop = -1
            for position in _marks(data, self._position, lists=True).tolist():
                byte = data[position]
                if in_string:
                    if position == escaped:
                        continue
                    if byte == _BACKSLASH:
                        escaped = position + 1
                    elif byte == _QUOTE:
                        in_string = False
                        if depth == 0:
                            stop = position + 1
                            break
                elif byte == _QUOTE:
                    in_string = True
                elif byte in (_OPEN, _OPEN_LIST):
                    depth += 1
                    if depth > MAX_DEPTH:
                        raise InputError(
                            f"{self._path}: the value of the key {show(key)} nests more than {MAX_DEPTH} levels."
                        )
                elif byte in (_CLOSE, _CLOSE_LIST):
                    depth -= 1
                    if depth == 0:
                        stop = position + 1
                        break
                else:
                    self._fail(byte, f"inside the value of {show(key)}")
            first_is_escaped = escaped == len(data)
            end = stop if stop >= 0 else len(data)
            total += end - self._position
            if total > MAX_VALUE_BYTES:
                if key in self._wanted:
                    raise InputError(
                        f"{self._path}: the value of the key {show(key)} is longer than {MAX_VALUE_BYTES >> 20} MB."
                    )
                pieces = None
            if pieces is not None:
                pieces.append(data[self._position : end])
            self._position = end
            if stop >= 0:
                return None if pieces is None else b"".join(pieces)
            if not self._fill():
                self._fail(-1, f"inside the value of {show(key)}")


def duplicate_key(raw: bytes) -> str | None:
    """A key that stands twice at the top level of one annotation, or None."""
    keys: set[str] = set()
    depth = 0
    for match in _TOKEN.finditer(raw):
        byte = raw[match.start()]
        if byte == _OPEN:
            depth += 1
        elif byte == _CLOSE:
            depth -= 1
        elif depth == 1 and _AFTER_STRING.match(raw, match.end()):
            try:
                key = msgspec.json.decode(match.group(), type=str)
            except (msgspec.MsgspecError, UnicodeDecodeError):
                continue
            if key in keys:
                return key
            keys.add(key)
    return None


def _is_separator(data: bytes, end: int, start: int) -> bool:
    return data[end:start].strip(b" \t\n\r") == b","


def _split(data: bytes, start: int) -> tuple[list[int], list[int], list[int]]:
    """Starts, ends and suspects of the objects that lie whole in ``data[start:]``, where the first one starts.

    Only braces and quotes are looked at: what stands between objects is for the caller to check, what stands in them
    for the decoder. An object is suspect of a key that stands twice where two of its strings have the same length and
    the same first byte.
    """
    marks = _marks(data, start)
    view = np.frombuffer(data, dtype=np.uint8)
    byte = view[marks]
    if (byte == _BACKSLASH).any():
        return _split_with_escapes(data, start)
    quote = byte == _QUOTE
    inside = np.cumsum(quote) & 1
    step = np.where(quote | (inside == 1), 0, np.where(byte == _OPEN, 1, -1))
    depth = np.cumsum(step)
    is_start = (step == 1) & (depth == 1)
    ends = marks[(step == -1) & (depth == 0)] + 1
    starts = marks[is_start]
    if not ends.size:
        return [], [], []
    opening = np.flatnonzero(quote & (inside == 1))
    closing = np.flatnonzero(quote & (inside == 0))
    opening = opening[: closing.size]
    of_object = depth[opening] == 1
    opening, closing = opening[of_object], closing[of_object]
    owner = np.cumsum(is_start)[opening] - 1
    # length, first byte and owner in one sortable number; the byte behind the opening quote always exists
    signature = (owner << 40) | ((marks[closing] - marks[opening]) << 8) | view[marks[opening] + 1]
    signature.sort()
    suspects = np.unique(signature[1:][np.diff(signature) == 0] >> 40)
    return starts.tolist(), ends.tolist(), suspects.tolist()


def _split_with_escapes(data: bytes, start: int) -> tuple[list[int], list[int], list[int]]:
    """As :func:`_split`, one token after the other; every object is suspect, an escape can spell a key in disguise."""
    starts: list[int] = []
    ends: list[int] = []
    depth = 0
    for match in _TOKEN.finditer(data, start):
        byte = data[match.start()]
        if byte == _OPEN:
            if depth == 0:
                starts.append(match.start())
            depth += 1
        elif byte == _CLOSE:
            depth -= 1
            if depth == 0:
                ends.append(match.end())
            elif depth < 0:
                break
        elif match.end() == match.start() + 1:
            # a string that does not end in the buffer
            break
    return starts, ends, list(range(len(ends)))


def _marks(data: bytes, start: int, *, lists: bool = False) -> npt.NDArray[np.int64]:
    """Positions from ``start`` of quotes, backslashes and braces (and brackets), rising."""
    view = np.frombuffer(data, dtype=np.uint8)[start:]
    marks = (view == _QUOTE) | (view == _BACKSLASH)
    marks |= (view == _OPEN) | (view == _CLOSE)
    if lists:
        marks |= (view == _OPEN_LIST) | (view == _CLOSE_LIST)
    return np.flatnonzero(marks) + start
