"""Forward scan of a JSON document whose one long list is ``annotations``.

The document is never held as a whole. Braces outside of strings mark where each element of the list begins and ends;
they are found in NumPy (a dense label has about sixteen such bytes in ten kilobytes), and only one element's bytes are
handed out at a time. Every other top-level value is handed out as its raw bytes, in whatever order the keys stand.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from typing import Final, NamedTuple

import msgspec
import numpy as np

from sai_core.annotations._source import ByteSource
from sai_core.errors import InputError

CHUNK_BYTES: Final[int] = 1 << 20
MAX_ITEM_BYTES: Final[int] = 32 << 20
"""Largest text of one annotation: ten times a region that covers the whole canvas with 17 digits a number."""
MAX_VALUE_BYTES: Final[int] = 64 << 20
MAX_DEPTH: Final[int] = 64
_MAX_KEY_BYTES: Final[int] = 1 << 16
_MAX_SPACE_BYTES: Final[int] = 1 << 24

_SPACE: Final = re.compile(rb"[ \t\n\r]*")
_NEXT_ITEM: Final = re.compile(rb"[ \t\n\r]*,[ \t\n\r]*(?=\{)")
_AFTER_STRING: Final = re.compile(rb"[ \t\n\r]*:")
_SCALAR: Final = re.compile(rb"[^,\]}\s\x00-\x1f]*")

_QUOTE, _BACKSLASH, _OPEN, _CLOSE = 0x22, 0x5C, 0x7B, 0x7D
_OPEN_LIST, _CLOSE_LIST, _COMMA, _COLON = 0x5B, 0x5D, 0x2C, 0x3A


class Item(NamedTuple):
    """One element of the ``annotations`` list."""

    raw: bytes
    strings: tuple[bytes, ...]


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

    def events(self) -> Iterator[Item | Value]:
        """Elements of ``annotations`` and other top-level values, in file order.

        Raises
        ------
        InputError
            Not a JSON object, malformed or cut off, a key twice, ``annotations`` not a list of objects, or a limit.
        """
        first = self._peek()
        if first != _OPEN:
            raise InputError(f"{self._path}: {self._describe_start(first)}")
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
            raise InputError(f"{self._path}: there is text behind the end of the JSON object; remove it.")
        if "annotations" not in self.keys:
            found = ", ".join(show(key) for key in self.keys[:6]) or "none"
            raise InputError(
                f"{self._path}: has no key 'annotations' (keys found: {found}); this is not an annotation file."
            )

    def _describe_start(self, byte: int) -> str:
        if byte == -1:
            return 'holds nothing but spaces; an annotation file is at least {"annotations": []}.'
        if byte == 0:
            return "starts with zero bytes; this is not JSON (a damaged or unfinished copy?)."
        if byte == _OPEN_LIST:
            return "the top level is a list; expected an object with the key 'annotations'."
        return "is not JSON; expected an object with the key 'annotations'."

    def _member(self) -> Iterator[Item | Value]:
        byte = self._peek()
        if byte != _QUOTE:
            self._fail(byte, "where a key of the file should start")
        key = self._key()
        if key in self.keys:
            raise InputError(f"{self._path}: the key {show(key)} stands twice at the top level; keep one.")
        self.keys.append(key)
        if len(self.keys) > 10_000:
            raise InputError(f"{self._path}: has more than 10,000 top-level keys; this is not an annotation file.")
        byte = self._peek()
        if byte != _COLON:
            self._fail(byte, f"behind the key {show(key)}")
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

    def _items(self) -> Iterator[Item]:
        byte = self._peek()
        if byte == _CLOSE_LIST:
            self._position += 1
            return
        while True:
            self._require_object(byte)
            yield from self._run_of_items()
            byte = self._peek()
            self._position += 1
            if byte == _CLOSE_LIST:
                return
            if byte != _COMMA:
                self._fail(byte, f"behind annotation {self._n_items - 1}")
            byte = self._peek()

    def _require_object(self, byte: int) -> None:
        if byte == -1:
            self._fail(byte, f"where annotation {self._n_items} should start")
        if byte == _CLOSE_LIST:
            self._fail(byte, f"behind the comma after annotation {self._n_items - 1}")
        if byte != _OPEN:
            raise InputError(f"{self._path}: annotation {self._n_items} is not an object in {{}}.")

    def _run_of_items(self) -> Iterator[Item]:
        """All elements that lie whole in the buffer, or the one at the position after reading on for its end."""
        while True:
            data = self._buffer
            marks = _marks(data, self._position)
            start, cursor, found = self._position, 0, False
            while True:
                cursor, end, strings = self._item_end(data, marks, cursor)
                if end < 0:
                    break
                found = True
                self._n_items += 1
                self._position = end
                yield Item(data[start:end], strings)
                separator = _NEXT_ITEM.match(data, end)
                if separator is None:
                    return
                start = self._position = separator.end()
            if found:
                # the separator is consumed, an object follows: go on with it after reading more
                self._position = start
            if len(data) - start > MAX_ITEM_BYTES:
                raise InputError(
                    f"{self._path}: annotation {self._n_items} is longer than {MAX_ITEM_BYTES >> 20} MB; "
                    "a region of the whole canvas needs a tenth of that."
                )
            if not self._fill():
                self._fail(-1, f"inside annotation {self._n_items}")

    def _item_end(self, data: bytes, marks: list[int], cursor: int) -> tuple[int, int, tuple[bytes, ...]]:
        """Walk the marks of one object; ``end`` is -1 where the buffer ends first."""
        depth = 0
        strings: list[bytes] = []
        n_marks = len(marks)
        while cursor < n_marks:
            position = marks[cursor]
            cursor += 1
            byte = data[position]
            if byte == _QUOTE:
                while cursor < n_marks:
                    closing = marks[cursor]
                    cursor += 1
                    if data[closing] == _QUOTE:
                        break
                    if data[closing] == _BACKSLASH and cursor < n_marks and marks[cursor] == closing + 1:
                        cursor += 1
                else:
                    return cursor, -1, ()
                if depth == 1:
                    strings.append(data[position + 1 : closing])
                    if len(strings) > 10_000:
                        raise InputError(f"{self._path}: annotation {self._n_items} has more than 10,000 strings.")
            elif byte == _OPEN:
                depth += 1
                if depth > MAX_DEPTH:
                    raise InputError(f"{self._path}: annotation {self._n_items} nests more than {MAX_DEPTH} objects.")
            elif byte == _CLOSE:
                depth -= 1
                if depth == 0:
                    return cursor, position + 1, tuple(strings)
            else:
                self._fail(byte, f"inside annotation {self._n_items}")
        return cursor, -1, ()

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
            for position in _marks(data, self._position, lists=True):
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


def duplicate_key(raw: bytes, strings: tuple[bytes, ...]) -> str | None:
    """A key that stands twice at the top level of one annotation, or None.

    ``strings`` are all strings of that level, keys and values; only where two of them are equal (or hold an escape,
    which can spell the same key in another way) are keys told from values.
    """
    if len(set(strings)) == len(strings) and not any(b"\\" in text for text in strings):
        return None
    keys: set[str] = set()
    position = 0
    for text in strings:
        start = raw.find(b'"' + text + b'"', position)
        position = start + len(text) + 2
        if _AFTER_STRING.match(raw, position):
            try:
                key = msgspec.json.decode(b'"' + text + b'"', type=str)
            except (msgspec.MsgspecError, UnicodeDecodeError):
                continue
            if key in keys:
                return key
            keys.add(key)
    return None


def _marks(data: bytes, start: int, *, lists: bool = False) -> list[int]:
    """Positions from ``start`` of quotes, backslashes and braces (and brackets), rising."""
    view = np.frombuffer(data, dtype=np.uint8)[start:]
    marks = (view == _QUOTE) | (view == _BACKSLASH)
    marks |= (view == _OPEN) | (view == _CLOSE)
    if lists:
        marks |= (view == _OPEN_LIST) | (view == _CLOSE_LIST)
    positions: list[int] = (np.flatnonzero(marks) + start).tolist()
    return positions
