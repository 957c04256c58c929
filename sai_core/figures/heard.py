"""The sound of a video: all channels' mean, or what is heard in a direction, of a source alone, or at two ears."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Final, Protocol

import numpy as np
import numpy.typing as npt

from sai_core.dataset import AudioReader, Recording
from sai_core.errors import InputError
from sai_core.geometry import SAMPLE_RATE_HZ, SAMPLES_PER_FRAME
from sai_core.listening.encoding import BLOCK
from sai_core.listening.job import Hearing, Session
from sai_core.listening.sources import Sources, Track

Float32Array = npt.NDArray[np.float32]

RATE_HZ: Final[int] = 48_000
"""Every player takes AAC at 48 kHz; sounds at the recording's 24 kHz survive unchanged."""

_UP: Final[int] = RATE_HZ // SAMPLE_RATE_HZ
_REACH: Final[int] = 16
"""Samples at 24 kHz around a window that its resampling sees; the filter of ``resample_poly`` reaches ten."""

_PIECE: Final[int] = 16 * BLOCK
"""Samples at 24 kHz that are made at a time: two seconds, on the encoder's grid."""

_FADE: Final[int] = 480
"""Samples at 24 kHz in which a source alone comes and goes: 20 ms."""


@dataclass(frozen=True, eq=False)
class Heard:
    """What a video lets hear.

    Attributes
    ----------
    hearing : Hearing
    track : Track or None
        The source or direction; None for all directions.
    sources : Sources or None
        What else sounds, for a source alone.

    Raises
    ------
    InputError
        A beam without a direction, or everything with one.
    """

    hearing: Hearing
    track: Track | None = None
    sources: Sources | None = None

    def __post_init__(self) -> None:
        if (self.track is None) != (self.hearing.mode == "all"):
            raise InputError(
                "A beam, a source alone and everything but it need a direction or a source; everything has none."
            )

    def at(self, frame: int) -> tuple[float, float] | None:
        """Direction heard in a frame, in degrees; None for all directions, and where a source alone is not there."""
        track = self.track
        if track is None or (self.is_gated and not track.start <= frame < track.stop):
            return None
        azimuth, elevation = track.at(frame)
        return float(azimuth[0]), float(elevation[0])

    @property
    def is_gated(self) -> bool:
        """Whether there is silence before and after: a source alone, from its first to its last frame."""
        return self.hearing.mode == "solo" and self.track is not None and self.track.category_id >= 0

    @property
    def mark(self) -> str:
        """Text that differs where what is heard differs."""
        digest = hashlib.blake2b(repr(self.hearing).encode(), digest_size=12)
        for track in (self.track, *(self.sources.tracks if self.sources else ())):
            if track is not None:
                digest.update(repr((track.category_id, track.number)).encode())
                for column in (track.frame, track.azimuth_deg, track.elevation_deg):
                    digest.update(np.ascontiguousarray(column).tobytes())
        return digest.hexdigest()

    def __str__(self) -> str:
        """In words, for the title."""
        ears = ", two ears" if self.hearing.binaural else ""
        if self.track is None:
            return f"heard: everything{ears}"
        azimuth, elevation = self.track.at(self.track.start)
        what = str(self.track) if self.track.category_id >= 0 else f"{azimuth[0]:.0f}°, {elevation[0]:.0f}°"
        words = {"beam": f"beam to {what}", "solo": f"{what} alone", "around": f"everything but {what}"}
        return f"heard: {words[self.hearing.mode]}{ears}"


class Sound(Protocol):
    """Sound at 48 kHz by windows."""

    channels: int

    def read(self, first: int, last: int) -> Float32Array:
        """Samples [first, last) at 48 kHz, zeros beyond the end: float32 in [-1, 1], shape (channels, samples).

        Raises
        ------
        InputError
            The file has gone or changed since it was opened.
        """
        ...

    def notes(self) -> tuple[str, ...]:
        """What was chosen, converted or clipped."""
        ...


class Plain:
    """The mean of all channels.

    Parameters
    ----------
    reader : AudioReader
    """

    channels = 1

    def __init__(self, reader: AudioReader) -> None:
        self._reader = reader

    def read(self, first: int, last: int) -> Float32Array:
        """See :class:`Sound`."""
        pcm = self._reader.mono_pcm16(first / RATE_HZ, last / RATE_HZ, RATE_HZ)
        return (pcm.astype(np.float32) / 32768.0)[None, :]

    def notes(self) -> tuple[str, ...]:
        """None."""
        return ()


class Listened:
    """What is heard of a recording by beams and ears.

    Parameters
    ----------
    recording : Recording
    heard : Heard

    Raises
    ------
    InputError
        No usable sound (:func:`sai_core.listening.signals.open_signal`).
    """

    def __init__(self, recording: Recording, heard: Heard) -> None:
        self._session = Session(recording, heard.hearing, heard.sources)
        self._heard = heard
        self._line = self._session.line(heard.track)
        self._gain = np.float32(10.0 ** (heard.hearing.gain_db / 20.0))
        self._pieces: dict[int, Float32Array] = {}
        self._clipped, self._peak = 0, 0.0
        self.channels = 2 if heard.hearing.binaural else 1

    def read(self, first: int, last: int) -> Float32Array:
        """See :class:`Sound`. Windows join exactly: each is resampled with what is around it."""
        # as in AudioReader: half of a cold start
        from scipy.signal import resample_poly

        begin = max(first // _UP - _REACH, 0)
        end = -(-last // _UP) + _REACH
        fine = np.asarray(resample_poly(self._samples(begin, end), _UP, 1, axis=0), dtype=np.float32)
        window = fine[first - _UP * begin : last - _UP * begin].T
        level = np.abs(window)
        self._clipped += int((level > 1.0).sum())
        self._peak = max(self._peak, float(level.max(initial=0.0)))
        return np.clip(window, -1.0, 1.0)

    def notes(self) -> tuple[str, ...]:
        """What was chosen, what could not be silenced, what is clipped."""
        notes = list(self._session.notes())
        if self._clipped:
            over = 20.0 * np.log10(self._peak)
            notes.append(
                f"{self._clipped} samples of the video's sound are clipped: the peak would be at {over:.1f} dBFS; "
                f"a gain of {self._heard.hearing.gain_db - np.ceil(over):g} dB avoids it."
            )
        return tuple(notes)

    def _samples(self, begin: int, end: int) -> Float32Array:
        """Samples [begin, end) at 24 kHz, shape (samples, channels)."""
        numbers = range(begin // _PIECE, (end - 1) // _PIECE + 1)
        for number in numbers:
            if number not in self._pieces:
                self._pieces[number] = self._piece(number)
        for number in [n for n in self._pieces if n < numbers.start]:
            del self._pieces[number]
        joined = np.concatenate([self._pieces[n] for n in numbers])
        offset = numbers.start * _PIECE
        return joined[begin - offset : end - offset]

    def _piece(self, number: int) -> Float32Array:
        start, stop = number * _PIECE, (number + 1) * _PIECE
        samples = self._line(start, stop) * self._gain
        if self._heard.is_gated:
            track = self._heard.track
            assert track is not None
            at = np.arange(start, stop)
            inside = np.minimum(at - track.start * SAMPLES_PER_FRAME, track.stop * SAMPLES_PER_FRAME - at)
            samples = samples * np.clip(inside / _FADE + 0.5, 0.0, 1.0).astype(np.float32)[:, None]
        return np.asarray(samples, dtype=np.float32)
