"""Sound files as they come: how long they really are, and which ambisonics they hold.

libsndfile reads the samples; it believes headers. Every reader of the program opens its sound here, so that all of them
have the same answer to a header that does not fit its file:

=============================================  =========================================================================
header                                         answer
=============================================  =========================================================================
WAV, RF64, BW64: more than the file holds      what is there (a copy that was cut off), noted
WAV, RF64, BW64: length 0 or all ones          what is there (never finalised, or streamed), noted
WAV: less than the file holds                  lengths of 32 bits that have run over: the whole sound, noted; else what
                                               the header says, noted
BW64 (ITU-R BS.2088)                           read as RF64, which has the same layout
FLAC: no length, or another than the frames    the end of the last whole frame, noted
other formats: a last sample that is not there counted by decoding, noted
FuMa ambisonics (AMB, ``.amb``)                ACN order and SN3D weights, noted
sample rate under 1 kHz, over 768 kHz          refused
=============================================  =========================================================================

A header is mended in memory: libsndfile is given a file object whose first bytes are ours.

References
----------
RIFF/WAVE: Microsoft and IBM, 1991; RF64: EBU Tech 3306; BW64: ITU-R BS.2088-1. FLAC: RFC 9639, sections 8 and 9. AMB:
R. Dobson, "The AMB Ambisonic File Format" (the two GUIDs; FuMa order W, X, Y, Z, W at -3 dB). ACN and SN3D: C. Nachbar
et al., "AmbiX", Ambisonics Symposium 2011.
"""

from __future__ import annotations

import io
import math
import os
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import IO, Final

import numpy as np
import numpy.typing as npt
import soundfile

from sai_core.errors import InputError
from sai_core.files import FileSignature, file_signature

FloatArray = npt.NDArray[np.float32]

MIN_SAMPLE_RATE_HZ: Final[int] = 1_000
MAX_SAMPLE_RATE_HZ: Final[int] = 768_000
"""Sample rates outside this range are taken for a broken header: no recorder goes beyond."""

HELD_SHARE: Final[float] = 0.95
"""Share of half the sample rate up to which files hold sound: converters and resamplers pass 90 to 97 %."""

_ODD_RATES_UP_TO_HZ: Final[int] = 192_000
"""Above, rates are multiples of 100 Hz in every device; a filter from 767,999 to 24,000 Hz has 15 million taps."""

_AMBISONIC_GUIDS: Final[tuple[bytes, ...]] = tuple(
    struct.pack("<IHH", number, 0x0721, 0x11D3) + bytes.fromhex("8644c8c1ca000000") for number in (1, 3)
)
"""WAVE_FORMAT_EXTENSIBLE sub-formats of B-format: integers, floats."""

_LOSSY: Final[dict[str, str]] = {
    **{"VORBIS": "Vorbis", "OPUS": "Opus", "MS_ADPCM": "ADPCM", "IMA_ADPCM": "ADPCM", "GSM610": "GSM", "ALAW": "A-law"},
    **{f"MPEG_LAYER_{number}": "MPEG audio" for number in ("I", "II", "III")},
    **{"ULAW": "mu-law", "VOX_ADPCM": "ADPCM", "G721_32": "ADPCM", "G723_24": "ADPCM", "G723_40": "ADPCM"},
}
"""Sub-formats of libsndfile that do not give back the samples that went in."""

_UNKNOWN_32: Final[int] = 0xFFFFFFFF
_UNKNOWN_64: Final[int] = (1 << 64) - 1
_STREAMED_FROM: Final[int] = 0x7FFF0000
"""Lengths that writers to a pipe give for "unknown" begin here (sox: 0x7FFFF000 and less, ffmpeg: all ones)."""

_MAX_CHUNKS: Final[int] = 4096
_COUNT_SAMPLES: Final[int] = 4096
_LONGEST: Final[int] = 1 << 50
"""Samples; libsndfile says 2^63 - 1 where a header tells no length."""


@dataclass(frozen=True)
class SoundFacts:
    """What a sound file holds.

    Attributes
    ----------
    sample_rate_hz, n_channels : int
    n_samples : int
        Per channel; those that are really there.
    fuma : bool
        Four channels of FuMa ambisonics, which :meth:`SoundStream.read` converts.
    notes : tuple of str
        Sentences on what was mended or converted.
    """

    sample_rate_hz: int
    n_channels: int
    n_samples: int
    fuma: bool
    notes: tuple[str, ...]


@dataclass(frozen=True)
class _Mending:
    """Bytes ``[0, skip)`` of the file are replaced by ``head``; it ends at ``end`` (None: where it ends).

    ``empty`` marks a whole file without a sample, of which libsndfile takes the length for unknown.
    """

    head: bytes = b""
    skip: int = 0
    end: int | None = None
    empty: bool = False


@dataclass(frozen=True)
class _Promise:
    """Samples by a header that does not fit its file; None where it tells no number."""

    samples: int | None


class SoundStream:
    """An opened sound file; from :func:`open_sound`."""

    def __init__(self, stream: soundfile.SoundFile, facts: SoundFacts) -> None:
        self._stream = stream
        self.facts = facts

    def read(self, start: int, stop: int) -> FloatArray:
        """Samples [start, stop) of all channels, float32, shape (stop - start, channels); less at the file's end.

        Full scale is 1. Float files are passed on as they are, NaN and overload included. FuMa ambisonics come as ACN
        and SN3D.
        """
        stop = min(stop, self.facts.n_samples)
        if start >= stop:
            return np.zeros((0, self.facts.n_channels), dtype=np.float32)
        if self._stream.tell() != start:
            self._stream.seek(start)
        samples = self._stream.read(stop - start, dtype="float32", always_2d=True)
        if self.facts.fuma:
            samples = samples[:, [0, 2, 3, 1]] * np.array([math.sqrt(2.0), 1, 1, 1], dtype=np.float32)
        return samples


def check_sample_rate(sample_rate_hz: float, where: str = "") -> int:
    """Return the sample rate as int, or raise :class:`InputError` if it is none (fractions of a Hz included)."""
    rate = sample_rate_hz
    before = f"{where}: the" if where else "The"
    if not (MIN_SAMPLE_RATE_HZ <= rate <= MAX_SAMPLE_RATE_HZ) or rate != int(rate):
        raise InputError(
            f"{before} sample rate is {rate} Hz; expected a whole number from {MIN_SAMPLE_RATE_HZ} to "
            f"{MAX_SAMPLE_RATE_HZ}."
        )
    if rate > _ODD_RATES_UP_TO_HZ and rate % 100:
        raise InputError(
            f"{before} sample rate is {int(rate)} Hz; above {_ODD_RATES_UP_TO_HZ} Hz a multiple of 100 Hz is expected."
        )
    return int(rate)


def look_at_sound(path: str | os.PathLike[str]) -> SoundFacts:
    """Facts about a sound file, remembered until it changes.

    Raises
    ------
    InputError
        No such file, no sound file, damaged, or a sample rate that is none.
    """
    with open_sound(path) as stream:
        return stream.facts


@contextmanager
def open_sound(path: str | os.PathLike[str]) -> Iterator[SoundStream]:
    """Open a sound file for reading; errors of libsndfile inside of the block become :class:`InputError`.

    Raises
    ------
    InputError
        As :func:`look_at_sound`; or the file cannot be read where it was asked to.
    """
    path = Path(path)
    try:
        if not os.path.isfile(path):
            what = "this is a folder" if os.path.isdir(path) else "no such audio file"
            raise InputError(f"{path}: {what}; give a sound file.")
        facts, mending = _examined(path, file_signature(path))
        with _opened(path, mending) as stream:
            yield SoundStream(stream, facts)
    except InputError:
        raise
    except (soundfile.SoundFileError, OSError, RuntimeError, TypeError, ValueError) as error:
        raise InputError(f"{path}: cannot be read as a sound file ({_reason(error)}).") from error


@contextmanager
def _opened(path: Path, mending: _Mending) -> Iterator[soundfile.SoundFile]:
    if not mending.head:
        with soundfile.SoundFile(path) as stream:
            yield stream
        return
    with open(path, "rb") as raw, soundfile.SoundFile(_MendedFile(raw, mending)) as stream:
        yield stream


class _MendedFile(io.RawIOBase):
    """A binary file with another beginning."""

    def __init__(self, raw: IO[bytes], mending: _Mending) -> None:
        self._raw = raw
        self._head, self._skip = mending.head, mending.skip
        end = mending.end if mending.end is not None else os.fstat(raw.fileno()).st_size
        self._size = len(self._head) + max(end - self._skip, 0)
        self._at = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._size}[whence]
        self._at = max(base + offset, 0)
        return self._at

    def read(self, size: int | None = -1) -> bytes:
        left = max(self._size - self._at, 0)
        wanted = left if size is None or size < 0 else min(size, left)
        from_head = self._head[self._at : self._at + wanted]
        rest = wanted - len(from_head)
        from_file = b""
        if rest:
            self._raw.seek(self._at + len(from_head) - len(self._head) + self._skip)
            from_file = self._raw.read(rest)
        self._at += len(from_head) + len(from_file)
        return from_head + from_file

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]
        data = self.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)


@lru_cache(maxsize=4096)
def _examined(path: Path, signature: FileSignature) -> tuple[SoundFacts, _Mending]:
    notes: list[str] = []
    fuma = path.suffix.lower() == ".amb"
    mending = _Mending()
    promise: _Promise | None = None
    with open(path, "rb") as raw:
        size = os.fstat(raw.fileno()).st_size
        head = raw.read(32)
        if head[:4] in (b"RIFF", b"RIFX", b"RF64", b"BW64") and head[8:12] == b"WAVE":
            wave = _Wave(raw, size, head)
            mending, promise, notes = wave.mending, wave.promise, wave.notes
            fuma = fuma or wave.ambisonic
        elif (begin := _flac_begin(raw, head)) is not None:
            mending, promise = _mended_flac(path, raw, begin, size)
        elif _is_cut(raw, head, size):
            notes.append("The file is cut off, by its header or because its end is missing; what is there was read.")
    with _opened(path, mending) as stream:
        if stream.channels < 1 or stream.samplerate < 1 or stream.frames < 0:
            raise InputError(f"{path}: not a usable audio file (no channels or no sample rate).")
        if stream.channels > 1 and stream.subtype in _LOSSY:
            notes.append(
                f"Compressed with loss ({_LOSSY[stream.subtype]}): the differences between channels, from which "
                f"directions are found, are altered."
            )
        rate = check_sample_rate(stream.samplerate, str(path))
        channels, samples = int(stream.channels), int(stream.frames)
        if mending.empty:
            samples = 0
        elif not _readable_to(stream, samples):
            promise = promise or _Promise(samples if samples < _LONGEST else None)
            samples = _counted(path, mending)
            if not samples:
                raise InputError(f"{path}: holds no sound that can be read; the file is damaged.")
    if promise is not None:
        notes.insert(0, _told(promise.samples, samples, rate))
    if fuma:
        if channels == 4:
            notes.append(
                "The file holds FuMa ambisonics (W, X, Y, Z): converted to ACN order and SN3D weights (W, Y, Z, X, "
                "W raised by 3 dB)."
            )
        else:
            notes.append(f"The file holds FuMa ambisonics of {channels} channels: only four are converted, not these.")
            fuma = False
    return SoundFacts(rate, channels, samples, fuma, tuple(notes)), mending


def _told(promised: int | None, there: int, rate: int) -> str:
    """Sentence on a header that promises another number of samples than are there; None for no number."""

    def length(samples: int) -> str:
        return f"{samples} samples ({samples / rate:.2f} s)"

    if promised is None:
        return f"The header gives no length (streamed or never finalised): read the {length(there)} found."
    if promised > there:
        return f"The file is cut off: the header says {length(promised)}, of which {length(there)} are there."
    return f"The header says {length(promised)}, but {length(there)} are there: all were read."


def _readable_to(stream: soundfile.SoundFile, samples: int) -> bool:
    """Whether the last sample that a header promises can be read; leaves the stream anywhere."""
    if samples == 0:
        return True
    if samples >= _LONGEST:
        return False
    try:
        stream.seek(samples - 1)
        return len(stream.read(1, dtype="float32", always_2d=True)) == 1
    except (soundfile.SoundFileError, RuntimeError, OSError, ValueError):
        return False


def _counted(path: Path, mending: _Mending) -> int:
    """Samples up to the first that cannot be read, by reading all, a little at a time."""
    found = 0
    with _opened(path, mending) as stream:
        try:
            while count := len(stream.read(_COUNT_SAMPLES, dtype="float32", always_2d=True)):
                found += count
        except (soundfile.SoundFileError, RuntimeError, OSError, ValueError):
            # the last piece was read in part, and soundfile does not tell how much of it
            pass
    return found


def _is_cut(raw: IO[bytes], head: bytes, size: int) -> bool:
    """Whether an AIFF, AU, Wave64 or Ogg file ends before it should; libsndfile reads what is there and is silent."""
    if head[:4] == b"FORM":
        return 8 + int.from_bytes(head[4:8], "big") > size
    if head[:4] == b".snd":
        length = int.from_bytes(head[8:12], "big")
        return length != _UNKNOWN_32 and int.from_bytes(head[4:8], "big") + length > size
    if head[:4] == b"riff":
        return int.from_bytes(head[16:24], "little") > size
    if head[:4] == b"OggS":
        # a page has at most 65 kB; the last one is marked
        raw.seek(max(0, size - (1 << 16) - 512))
        tail = raw.read()
        last = tail.rfind(b"OggS")
        return last < 0 or last + 6 > len(tail) or not tail[last + 5] & 4
    return False


# ---------------------------------------------------------------------------------------------------------------
# WAV
# ---------------------------------------------------------------------------------------------------------------


class _Wave:
    """Chunks of a RIFF, RIFX, RF64 or BW64 file: where the sound is, and a header that says so."""

    def __init__(self, raw: IO[bytes], size: int, head: bytes) -> None:
        self.mending = _Mending()
        self.promise: _Promise | None = None
        self.notes: list[str] = []
        self.ambisonic = False
        self._raw, self._size = raw, size
        kind = head[:4]
        self._order = ">" if kind == b"RIFX" else "<"
        wide = kind in (b"RF64", b"BW64")
        self._format = b""
        long_size: int | None = None
        for name, start, length in self._chunks(12):
            if name == b"ds64" and length >= 16:
                raw.seek(start)
                long_size = int(struct.unpack("<QQ", raw.read(16).ljust(16, b"\0"))[1])
            elif name == b"fmt ":
                raw.seek(start)
                self._format = raw.read(min(length, 4096))
                self.ambisonic = self._format[24:40] in _AMBISONIC_GUIDS and self._tag() == 0xFFFE
            elif name == b"data":
                declared = long_size if wide and length == _UNKNOWN_32 and long_size is not None else length
                self._take(kind, start, declared, unknown=declared in (_UNKNOWN_32, _UNKNOWN_64))
                break

    def _tag(self) -> int:
        return int(struct.unpack(self._order + "H", self._format[:2].ljust(2, b"\0"))[0])

    def _chunks(self, at: int) -> Iterator[tuple[bytes, int, int]]:
        """Name, begin and declared length of each chunk."""
        for _ in range(_MAX_CHUNKS):
            self._raw.seek(at)
            head = self._raw.read(8)
            if len(head) < 8:
                return
            name, length = struct.unpack(self._order + "4sI", head)
            yield name, at + 8, length
            at += 8 + length + (length & 1)

    def _take(self, kind: bytes, start: int, declared: int, *, unknown: bool) -> None:
        """Decide what of the file is sound; all but whole, well-told files get a new header."""
        there = self._size - start
        align = self._block_bytes()
        used = declared
        if unknown or (declared == 0 and there and not self._is_chunks(start)):
            used, self.promise = there, _Promise(None)
        elif declared > there:
            streamed = declared >= _STREAMED_FROM and kind in (b"RIFF", b"RIFX") and self._size < _STREAMED_FROM
            used, self.promise = there, _Promise(None if streamed else declared // align)
        elif declared < there:
            # lengths of 32 bits start again at 4 GiB
            over = (there - declared) >> 32 << 32 if kind in (b"RIFF", b"RIFX") else 0
            used = declared + over
            if over:
                self.promise = _Promise(declared // align)
            end = start + used
            if end < self._size and not self._is_chunks(end) and not (used & 1 and self._is_chunks(end + 1)):
                self.notes.append(
                    f"Left out {self._size - end} bytes that follow the sound: the header does not mention them."
                )
        if used == declared and kind != b"BW64":
            return
        used -= used % align
        self.mending = _Mending(self._header(used), start, start + used)

    def _block_bytes(self) -> int:
        """Bytes of one sample of all channels; 1 where that is not told."""
        return max(1, int(struct.unpack(self._order + "H", self._format[12:14].ljust(2, b"\0"))[0]))

    def _is_chunks(self, at: int) -> bool:
        """Whether the file goes on from there with whole chunks up to its end, or ends there but for padding."""
        if self._size - at < 8:
            self._raw.seek(at)
            return not self._raw.read(8).strip(b"\0")
        end = at
        for name, start, length in self._chunks(at):
            if not all(32 <= c < 127 for c in name) or start + length > self._size:
                return False
            end = start + length
        return self._size - end < 8

    def _header(self, length: int) -> bytes:
        order = self._order
        form = struct.pack(order + "4sI", b"fmt ", len(self._format)) + self._format + b"\0" * (len(self._format) & 1)
        if length + len(form) + 64 > _UNKNOWN_32:
            ds64 = struct.pack("<4sIQQQI", b"ds64", 28, length + len(form) + 48, length, 0, 0)
            return struct.pack("<4sI4s", b"RF64", _UNKNOWN_32, b"WAVE") + ds64 + form + b"data\xff\xff\xff\xff"
        kind = b"RIFX" if order == ">" else b"RIFF"
        total = 4 + len(form) + 8 + length
        return struct.pack(order + "4sI4s", kind, total, b"WAVE") + form + struct.pack(order + "4sI", b"data", length)


# ---------------------------------------------------------------------------------------------------------------
# FLAC
# ---------------------------------------------------------------------------------------------------------------


def _flac_begin(raw: IO[bytes], head: bytes) -> int | None:
    """Where a FLAC stream begins (behind ID3 tags, which some tools put in front); None if this is none."""
    begin = 0
    for _ in range(16):
        if head[:3] != b"ID3" or len(head) < 10 or max(head[6:10]) > 127:
            break
        begin += 10 + (head[6] << 21 | head[7] << 14 | head[8] << 7 | head[9])
        raw.seek(begin)
        head = raw.read(12)
    return begin if head[:4] == b"fLaC" else None


def _mended_flac(path: Path, raw: IO[bytes], offset: int, size: int) -> tuple[_Mending, _Promise | None]:
    """Find where the sound of a FLAC file ends, from its last frames; the header where that differs from it."""
    raw.seek(offset)
    head = raw.read(42)
    if len(head) < 42 or head[4] & 0x7F != 0 or head[5:8] != b"\0\0\x22":
        return _Mending(), None  # libsndfile says what is wrong
    block_size = int.from_bytes(head[10:12], "big")
    packed = int.from_bytes(head[18:26], "big")
    rate, channels, bits = packed >> 44, (packed >> 41 & 7) + 1, (packed >> 36 & 31) + 1
    promised = packed & 0xFFFFFFFFF

    def header(samples: int) -> _Mending:
        changed = packed & ~0xFFFFFFFFF | samples
        return _Mending(head[:18] + changed.to_bytes(8, "big") + head[26:], offset + 42)

    audio = _flac_audio(raw, offset, head, size)
    if rate == 0:
        return _Mending(), None
    if audio >= size:
        if promised or audio > size:
            raise InputError(f"{path}: ends before its first FLAC frame; the file is cut off.")
        return _Mending(empty=True), None
    first = next(_flac_frames(raw, audio, min(audio + 16, size), block_size, channels), None)
    if first is not None and first[0] != audio:
        first = None
    if first is not None and first[1] != 0:
        raise InputError(f"{path}: begins in the middle of a FLAC stream (at sample {first[1]}); give a whole file.")
    # a frame is never longer than its samples and what surrounds them
    longest = 65_535 * channels * (bits + 7) // 8 + 1024
    reach = 1 << 16
    tried: set[int] = set()
    while first is not None:
        begin = max(audio, size - reach)
        for _, number, length in reversed(list(_flac_frames(raw, begin, size, block_size, channels))):
            end = number + length
            # a frame has at least a dozen bytes: what lies beyond is a pattern in the sound that looks like a frame
            if end in tried or end > (size - audio) // 10 * 65_535 or len(tried) > 64:
                continue
            tried.add(end)
            mending = _Mending() if end == promised else header(end)
            with _opened(path, mending) as stream:
                if _readable_to(stream, end):
                    return mending, None if end == promised else _Promise(promised or None)
        if begin == audio or reach > 2 * longest:
            break
        reach *= 4
    if promised:
        with _opened(path, _Mending()) as stream:
            if _readable_to(stream, promised):
                return _Mending(), None
    raise InputError(f"{path}: no whole FLAC frame can be read; the file is damaged.")


def _flac_audio(raw: IO[bytes], offset: int, head: bytes, size: int) -> int:
    """Where the first frame begins: behind the last metadata block."""
    at, last = offset + 42, bool(head[4] & 0x80)
    for _ in range(_MAX_CHUNKS):
        if last or at + 4 > size:
            break
        raw.seek(at)
        block = raw.read(4)
        last = bool(block[0] & 0x80)
        at += 4 + int.from_bytes(block[1:4], "big")
    return at


def _flac_frames(
    raw: IO[bytes], begin: int, end: int, block_size: int, channels: int
) -> Iterator[tuple[int, int, int]]:
    """Position, first sample and length of what looks like a frame's header between two positions."""
    raw.seek(begin)
    data = raw.read(end - begin)
    at = data.find(b"\xff")
    while at >= 0:
        found = _flac_frame(data[at : at + 16], block_size, channels)
        if found is not None:
            yield begin + at, *found
        at = data.find(b"\xff", at + 1)


def _flac_frame(head: bytes, block_size: int, channels: int) -> tuple[int, int] | None:
    """First sample and length of a frame from its header, None if it is none (RFC 9639, section 9.1)."""
    if len(head) < 6 or head[1] not in (0xF8, 0xF9) or head[3] & 1:
        return None
    assigned = head[3] >> 4
    if (assigned + 1 if assigned < 8 else 2) != channels or assigned > 10:
        return None
    # the number: as many leading ones as bytes, then six bits a byte
    ones = 8 - (head[4] ^ 0xFF).bit_length()
    extra = ones - 1 if ones else 0
    if ones == 1 or extra > 6 or len(head) < 6 + extra:
        return None
    number = head[4] & (0x7F >> ones)
    for byte in head[5 : 5 + extra]:
        if byte >> 6 != 2:
            return None
        number = number << 6 | byte & 0x3F
    at = 5 + extra
    code = head[2] >> 4
    if code == 0:
        return None
    if code == 6:
        length, at = head[at] + 1, at + 1
    elif code == 7:
        length, at = int.from_bytes(head[at : at + 2], "big") + 1, at + 2
    else:
        length = 192 if code == 1 else 576 << code - 2 if code < 6 else 256 << code - 8
    rate_code = head[2] & 15
    at += {12: 1, 13: 2, 14: 2}.get(rate_code, 0)
    if rate_code == 15 or at >= len(head) or _crc8(head[:at]) != head[at]:
        return None
    return (number if head[1] & 1 else number * block_size), length


def _crc8(data: bytes) -> int:
    """Check sum of a FLAC frame's header, polynomial x^8 + x^2 + x + 1."""
    value = 0
    for byte in data:
        value ^= byte
        for _ in range(8):
            value = (value << 1 ^ 0x07) & 0xFF if value & 0x80 else value << 1
    return value


def _reason(error: Exception) -> str:
    """Return libsndfile's message without the path, which the sentence already holds."""
    return str(getattr(error, "error_string", "") or getattr(error, "strerror", "") or error).strip().rstrip(".")
