"""From a recording to sound files: what is asked for, checked before anything is computed; clips written one by one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal, get_args

import numpy as np
import soundfile

from sai_core.dataset import Recording
from sai_core.errors import InputError, check_known
from sai_core.files import atomic_write
from sai_core.geometry import FRAME_RATE_HZ, SAMPLE_RATE_HZ, SAMPLES_PER_FRAME
from sai_core.listening import lines
from sai_core.listening.encoding import BLOCK, MAX_ORDER, Reader
from sai_core.listening.signals import Signal, Wanted, open_signal
from sai_core.listening.solo import NEAREST_DEG, Solo
from sai_core.listening.sources import Sources, Track
from sai_core.progress import Progress, no_progress

HeardBeam = Literal["max-re", "cardioid", "hypercardioid", "adaptive"]
Mode = Literal["all", "beam", "solo", "around"]

_PIECE: Final[int] = 16 * BLOCK
"""Samples that are made at a time: two seconds."""


MOST_GAIN_DB: Final[float] = 200.0
"""More than 24 bits can hold; much more than that is infinite or no sound at all."""


@dataclass(frozen=True, kw_only=True)
class Hearing:
    """How something is heard.

    Attributes
    ----------
    mode : {"all", "beam", "solo", "around"}
        The omnidirectional channel (both ears: the scene), a beam, the source alone, or everything but it.
    beam : {"max-re", "cardioid", "hypercardioid", "adaptive"}
        Of mode ``beam``; the last is of order 1, with zeros where other sound comes from.
    binaural : bool
        For two ears; ``yaw_deg``, ``pitch_deg``, ``roll_deg`` say where the head looks. What is a single line by itself
        (a beam, a source alone) is put where its source is; all and around are the scene with all its directions.
    signal : {"auto", "foa", "mic", "eigen"}
    gain_db : float

    Raises
    ------
    InputError
        Choices that are unknown or do not go together, numbers that are not finite.
    """

    mode: Mode = "beam"
    beam: HeardBeam = "max-re"
    binaural: bool = False
    yaw_deg: float = 0.0
    pitch_deg: float = 0.0
    roll_deg: float = 0.0
    signal: Wanted = "auto"
    gain_db: float = 0.0

    def __post_init__(self) -> None:
        check_known("Mode", self.mode, get_args(Mode))
        check_known("Beam", self.beam, get_args(HeardBeam))
        if not np.isfinite([self.yaw_deg, self.pitch_deg, self.roll_deg, self.gain_db]).all():
            raise InputError("Yaw, pitch, roll and gain must be finite numbers.")
        if abs(self.gain_db) > MOST_GAIN_DB:
            raise InputError(f"A gain of {self.gain_db:g} dB is not from -{MOST_GAIN_DB:g} to {MOST_GAIN_DB:g} dB.")
        if (self.yaw_deg or self.pitch_deg or self.roll_deg) and not self.binaural:
            raise InputError("Yaw, pitch and roll turn the head of binaural sound; add --binaural.")
        if self.binaural and self.mode == "around":
            raise InputError("Everything but a source is one channel without directions; leave out --binaural.")


@dataclass(frozen=True)
class Clip:
    """A written sound file.

    Attributes
    ----------
    path : Path
    start, stop : int
        Samples of the recording at 24 kHz.
    peak : float
        Largest sample before limiting; full scale is 1.
    clipped : int
        Samples beyond full scale, written as full scale.
    """

    path: Path
    start: int
    stop: int
    peak: float
    clipped: int


class Session:
    """A recording that is listened to: its signal, once opened, and what had to be told.

    Parameters
    ----------
    recording : Recording
    hearing : Hearing
    sources : Sources, optional
        What else sounds, for ``solo`` and ``around``.

    Raises
    ------
    InputError
        No usable sound (:func:`~sai_core.listening.signals.open_signal`).
    """

    def __init__(self, recording: Recording, hearing: Hearing, sources: Sources | None = None) -> None:
        self.recording = recording
        self.hearing = hearing
        self.sources = sources
        self.signal: Signal = open_signal(recording, wanted=hearing.signal, solo=hearing.mode in ("solo", "around"))
        first_order = hearing.mode == "beam" and hearing.beam == "adaptive"
        self.order = 1 if first_order else MAX_ORDER[self.signal.array]
        self._solos: list[Solo] = []
        self._clipped: list[Clip] = []
        self._silent: list[Clip] = []

    def line(self, track: Track | None) -> Reader:
        """What is heard; ``track`` is the source or direction, None for all directions."""
        hearing = self.hearing
        head = {"yaw_deg": hearing.yaw_deg, "pitch_deg": hearing.pitch_deg, "roll_deg": hearing.roll_deg}
        if hearing.mode == "all":
            return lines.scene(self.signal, **head) if hearing.binaural else lines.omni(self.signal)
        assert track is not None
        if hearing.mode == "beam":
            single = (
                lines.adaptive(self.signal, track)
                if hearing.beam == "adaptive"
                else lines.steered(self.signal, track, beam=hearing.beam)
            )
        else:
            others: Sequence[Track] = () if self.sources is None else self.sources.others(track)
            single, solo = lines.parted(self.signal, track, others, hearing.mode)
            self._solos.append(solo)
        return lines.placed(single, track, **head) if hearing.binaural else single

    def write(
        self, track: Track | None, start: int, stop: int, path: Path, *, progress: Progress = no_progress
    ) -> Clip:
        """Write samples [start, stop) as a 24-bit WAV file at 24 kHz, in one step: nobody sees half a file."""
        line = self.line(track)
        channels = 2 if self.hearing.binaural else 1
        gain = np.float32(10.0 ** (self.hearing.gain_db / 20.0))
        peak, clipped = 0.0, 0
        with (
            atomic_write(path) as stream,
            soundfile.SoundFile(stream, "w", SAMPLE_RATE_HZ, channels, "PCM_24", format="WAV") as out,
        ):
            at = start
            while at < stop:
                progress((at - start) / max(stop - start, 1), path.name)
                # ends on the encoder's grid, so that no block is made twice
                end = min(stop, (at // _PIECE + 1) * _PIECE)
                samples = line(at, end) * gain
                level = np.abs(samples)
                peak = max(peak, float(level.max(initial=0.0)))
                clipped += int((level > 1.0).sum())
                out.write(np.clip(samples, -1.0, 1.0))
                at = end
        progress(1.0, path.name)
        clip = Clip(path, start, stop, peak, clipped)
        if clipped:
            self._clipped.append(clip)
        if not peak:
            self._silent.append(clip)
        return clip

    def notes(self) -> tuple[str, ...]:
        """One sentence for everything chosen, converted, left out or clipped so far."""
        notes = [self.signal.why, *self.signal.notes()]
        if self.sources is not None:
            notes += self.sources.notes
        near = {frame for solo in self._solos for frame in solo.too_near}
        if near:
            limit = NEAREST_DEG[self.signal.array]
            notes.append(f"In {len(near)} frames another source is within {limit:g} degrees and is not silenced.")
        many = {frame for solo in self._solos for frame in solo.too_many}
        if many:
            notes.append(f"In {len(many)} frames there are more sources than can be silenced at once: the nearest are.")
        if self._clipped:
            over = 20.0 * np.log10(max(clip.peak for clip in self._clipped))
            n = len(self._clipped)
            notes.append(
                f"{sum(clip.clipped for clip in self._clipped)} samples in {n} file{'s' * (n != 1)} are clipped: the "
                f"peak would be at {over:.1f} dBFS; --gain {self.hearing.gain_db - np.ceil(over):g} avoids it."
            )
        if self._silent:
            n = len(self._silent)
            notes.append(
                f"{n} file{' holds' if n == 1 else 's hold'} digital silence: the recording has no sound there."
            )
        return tuple(notes)


def span_of(
    signal: Signal, track: Track | None, start_s: float | None, end_s: float | None
) -> tuple[int, int, tuple[str, ...]]:
    """Samples to be heard, and what is told of them: the track's time (or all), cut to what is asked for and there is.

    Raises
    ------
    InputError
        Nothing is left, or times that are none.
    """
    where = signal.path.name
    for value in (start_s, end_s):
        if value is not None and not (np.isfinite(value) and value >= 0):
            raise InputError(f"{value} is not a time; give seconds from the recording's beginning.")
    duration = signal.n_samples / SAMPLE_RATE_HZ
    if start_s is not None and start_s >= duration:
        raise InputError(f"{where}: ends at {duration:.2f} s, before --start {start_s:g}.")
    if end_s is not None and end_s <= (start_s or 0.0):
        raise InputError(f"--end {end_s:g} s is not after --start {start_s or 0:g} s.")
    notes: list[str] = []
    first, last = (0, signal.n_samples)
    if track is not None and track.category_id >= 0:
        first, last = track.start * SAMPLES_PER_FRAME, track.stop * SAMPLES_PER_FRAME
        if first >= signal.n_samples:
            raise InputError(
                f"{where}: ends at {duration:.2f} s, before {track} begins at {track.start / FRAME_RATE_HZ:g} s."
            )
        if last > signal.n_samples:
            notes.append(f"{track} continues after the end of the sound at {duration:.2f} s: cut there.")
    if end_s is not None and end_s > duration:
        notes.append(f"The sound ends at {duration:.2f} s, before --end {end_s:g}: cut there.")
    low = first if start_s is None else max(first, round(start_s * SAMPLE_RATE_HZ))
    high = min(last if end_s is None else min(last, round(end_s * SAMPLE_RATE_HZ)), signal.n_samples)
    if low >= high:
        what = where if track is None or track.category_id < 0 else track
        heard = f"sounds from {first / SAMPLE_RATE_HZ:g} to {last / SAMPLE_RATE_HZ:g} s"
        raise InputError(f"{what}: {heard}; in the requested time there is no sample of it.")
    return low, high, tuple(notes)
