"""Microphone signals as the acoustic front end wants them: float32, 24 kHz, 4 or 32 channels, finite.

The answer to every kind of input, in one place:

=======================  ==============================================================================================
input                    answer
=======================  ==============================================================================================
any length               frame ``k`` is samples ``[2400 k, 2400 (k + 1))`` at 24 kHz; a tail shorter than a frame is
                         left out, as in the official code, and noted; less than one frame gives zero frames
other sample rates       resampled to 24 kHz (:func:`scipy.signal.resample_poly`) and noted; bands that the file does
                         not hold (:func:`held_bands`, below 9.13 kHz) are zero, and a note names them
cut off, never finished  what is there (:mod:`sai_core.dataset.sound_file`), noted
32 channels, 4 wanted    the four UpLAM capsules (:data:`sai_core.geometry.UPLAM_CAPSULES`), noted
4 channels, 32 wanted    refused
mono, stereo, others     refused
silence                  zeros all the way: zero matrices, and a beamformer's map is zero (a network answers with
                         what its constants say)
NaN, infinity            counted, replaced by 0, noted
clipping                 noted with the number of samples (three or more equal ones at full scale in a row); nothing
                         is repaired
integer samples          divided by the full scale of their type
FOA instead of MIC       taken for FOA if the caller says so (``audio_format="foa"``) or a folder of the path is called
                         ``foa_dev``, ``foa_eval`` or ``foa``: four plain channels look the same. The networks refuse
                         FOA: their input is the sound at capsules on a sphere of 4.2 cm, which has orders above the
                         first from about 1.3 kHz up (``k a > 1``), so it cannot be rebuilt from first-order signals.
                         The plain beamformer takes FOA with first-order steering
FuMa by its header       FOA, converted to ACN and SN3D, noted; refused where the caller says ``audio_format="mic"``
=======================  ==============================================================================================
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal, get_args

import numpy as np
import numpy.typing as npt
from scipy import signal

from sai_core.dataset.sound_file import HELD_SHARE, SoundFacts, check_sample_rate, look_at_sound, open_sound
from sai_core.errors import InputError
from sai_core.geometry import FRAME_RATE_HZ, SAMPLE_RATE_HZ, SAMPLES_PER_FRAME, UPLAM_CAPSULES

AudioArray = npt.NDArray[np.floating[Any]]
AudioFormat = Literal["auto", "mic", "foa", "eigen"]

FOA_FOLDERS: Final[frozenset[str]] = frozenset({"foa", "foa_dev", "foa_eval"})
"""Folder names that mark first-order ambisonics in the layout of STARSS23."""

_FULL_SCALE: Final[float] = 1.0 - 2.0**-15
"""Largest 16-bit sample as float; anything at or above it counts as full scale."""

_CLIPPED_RUN: Final[int] = 3
"""Samples in a row at full scale before they count as clipped: a single one may be an honest peak."""

LARGEST_SAMPLE: Final[float] = 1e12
"""Full scale is 1 (integers of 32 bits that were saved as floats reach 2e9); squares of more do not fit float32."""

_HALF_LENGTH: Final[int] = 10
"""Half length of resample_poly's default filter, in samples of the slower rate."""


def as_float_audio(audio: npt.ArrayLike, *, dtype: npt.DTypeLike = np.float32) -> AudioArray:
    """Audio as a floating array of shape (samples, channels), integers divided by the full scale of their type.

    Parameters
    ----------
    audio : array_like, shape (samples, channels)
        Real numbers; floating samples are taken as they are.
    dtype : float32 or float64
        Type of the result.

    Returns
    -------
    floating, shape (samples, channels)
        May share memory with ``audio``, which is not changed.

    Raises
    ------
    InputError
        Not two-dimensional, not real numbers, or more channels than samples look plausible (a transposed array).
    """
    array = np.asarray(audio)
    if array.ndim != 2:
        raise InputError(f"Audio has shape {array.shape}; expected (samples, channels).")
    if array.dtype.kind not in "fiu":
        raise InputError(f"Audio holds {array.dtype}; expected real floating or integer samples.")
    if array.shape[1] > 64 and array.shape[1] > array.shape[0]:
        raise InputError(f"Audio has shape {array.shape}, so {array.shape[1]} channels; expected (samples, channels).")
    if array.dtype.kind == "u":
        raise InputError(f"Audio holds unsigned {array.dtype}; give signed integers or floats.")
    if array.dtype.kind == "i":
        return array.astype(dtype) / np.asarray(-float(np.iinfo(array.dtype).min), dtype=dtype)
    return array.astype(dtype, copy=False)


def replace_non_finite(audio: AudioArray) -> tuple[AudioArray, int]:
    """Replace samples that are NaN, infinite or beyond :data:`LARGEST_SAMPLE` by 0.

    Returns the audio (the same object if all is well) and their number.
    """
    # nothing is allocated where all is well; NaN is in no range
    if audio.size == 0 or (audio.min() >= -LARGEST_SAMPLE and audio.max() <= LARGEST_SAMPLE):
        return audio, 0
    bad = ~(np.abs(audio) <= LARGEST_SAMPLE)
    return np.where(bad, audio.dtype.type(0), audio), int(bad.sum())


def count_clipped(audio: AudioArray) -> int:
    """Number of samples in runs of three or more equal ones at full scale (|x| >= 1 - 2^-15) of one channel.

    Equal, since a floating-point file may exceed 1 without being clipped.
    """
    if audio.shape[0] < _CLIPPED_RUN or float(np.abs(audio).max(initial=0.0)) < _FULL_SCALE:
        return 0
    stuck = (np.abs(audio[1:]) >= _FULL_SCALE) & (audio[1:] == audio[:-1])
    starts = stuck[1:] & stuck[:-1]
    inside = np.zeros(audio.shape, dtype=bool)
    for shift in range(_CLIPPED_RUN):
        inside[shift : shift + len(starts)] |= starts
    return int(inside.sum())


def resample_to_24k(audio: AudioArray, sample_rate_hz: float) -> AudioArray:
    """Resample whole signals to 24 kHz with a zero-phase polyphase filter; the same object at 24 kHz.

    Parameters
    ----------
    audio : floating, shape (samples, channels)
    sample_rate_hz : int

    Returns
    -------
    floating, shape (ceil(samples * 24000 / sample_rate_hz), channels)
    """
    checked = check_sample_rate(sample_rate_hz)
    if checked == SAMPLE_RATE_HZ or audio.shape[0] == 0:
        return audio
    common = math.gcd(checked, SAMPLE_RATE_HZ)
    return np.asarray(signal.resample_poly(audio, SAMPLE_RATE_HZ // common, checked // common, axis=0), audio.dtype)


def held_bands(sample_rate_hz: float, centres_hz: Sequence[float]) -> npt.NDArray[np.bool_]:
    """Which bands a recording holds that was made at that rate.

    What is above half the rate is not in the file, and neither is what the filters in front of it took away: what a
    resampler leaves there are its own images, which the normalisation of each band would raise to full scale.

    Parameters
    ----------
    sample_rate_hz : float
        Of the file, before any resampling.
    centres_hz : sequence of float
        Band centres.

    Returns
    -------
    bool, shape (bands,)
        Centre under :data:`HELD_SHARE` of half the sample rate.
    """
    return np.asarray(centres_hz, dtype=np.float64) <= HELD_SHARE * sample_rate_hz / 2


def guess_format(path: Path | None, n_channels: int, audio_format: AudioFormat = "auto") -> AudioFormat:
    """Say what four or 32 channels are: ``"mic"``, ``"foa"`` or ``"eigen"``.

    Raises
    ------
    InputError
        A channel count that is neither 4 nor 32, or a format that does not go with it.
    """
    where = "The audio" if path is None else str(path)
    if audio_format not in get_args(AudioFormat):
        raise InputError(
            f"Audio format '{audio_format}' is not known; choose one of {', '.join(get_args(AudioFormat))}."
        )
    if n_channels not in (4, 32):
        kind = {1: "is mono", 2: "is stereo"}.get(n_channels, f"has {n_channels} channels")
        raise InputError(
            f"{where} {kind}; expected 4 channels (tetrahedral MIC) or 32 (Eigenmike em32), since one direction needs "
            "phases between capsules."
        )
    if audio_format == "auto":
        if n_channels == 32:
            return "eigen"
        folders = set() if path is None else {part.lower() for part in path.parts[:-1]}
        return "foa" if folders & FOA_FOLDERS else "mic"
    expected = 32 if audio_format == "eigen" else 4
    if n_channels != expected:
        raise InputError(f"{where} has {n_channels} channels; the format '{audio_format}' has {expected}.")
    return audio_format


@dataclass(frozen=True)
class AudioFacts:
    """What is known about a recording before it is read.

    Attributes
    ----------
    name : str
        File name, or "array".
    file_rate_hz, file_channels, file_samples : int
        As stored.
    audio_format : {"mic", "foa", "eigen"}
    n_frames : int
        Whole frames of 100 ms.
    """

    name: str
    file_rate_hz: int
    file_channels: int
    file_samples: int
    audio_format: AudioFormat
    n_frames: int


class AudioInput:
    """A recording, read in blocks of frames; see the module's table for what happens to odd input.

    Parameters
    ----------
    source : path or array_like, shape (samples, channels)
        A sound file that libsndfile reads, or samples.
    sample_rate_hz : int, optional
        Of an array; 24000 if not given. A file says its own.
    channels : {4, 32} or None
        What is wanted; 32-channel recordings give the four UpLAM capsules where 4 are. ``None`` takes all there are.
    audio_format : {"auto", "mic", "foa", "eigen"}
    centres_hz : sequence of float
        Centres of the bands that are going to be made of it: the notes name those that the file does not hold.

    Attributes
    ----------
    facts : AudioFacts
    held : bool array, shape (bands,)
        Of ``centres_hz``, those that the file holds; see :func:`held_bands`.

    Raises
    ------
    InputError
        The file is missing or no sound file, wrong number of channels or sample rate.
    """

    def __init__(
        self,
        source: str | os.PathLike[str] | npt.ArrayLike,
        *,
        sample_rate_hz: float | None = None,
        channels: Literal[4, 32] | None = 4,
        audio_format: AudioFormat = "auto",
        centres_hz: Sequence[float] = (),
    ) -> None:
        self._path: Path | None = None
        self._array: AudioArray | None = None
        file: SoundFacts | None = None
        if isinstance(source, str | os.PathLike):
            self._path = Path(source)
            file = look_at_sound(self._path)
            rate, stored_channels, samples = file.sample_rate_hz, file.n_channels, file.n_samples
            if sample_rate_hz is not None and sample_rate_hz != rate:
                raise InputError(f"{self._path}: the file says {rate} Hz, but {sample_rate_hz} Hz were given.")
        else:
            self._array = as_float_audio(source)
            rate = check_sample_rate(SAMPLE_RATE_HZ if sample_rate_hz is None else sample_rate_hz)
            samples, stored_channels = self._array.shape
        fuma = file is not None and file.fuma
        kind = guess_format(self._path, stored_channels, "foa" if fuma and audio_format == "auto" else audio_format)
        if fuma and kind != "foa":
            raise InputError(
                f"{self._path}: the header says ambisonics (FuMa B-format), not '{kind}'; choose foa or auto."
            )
        if channels == 32 and stored_channels != 32:
            raise InputError(
                f"{self._path or 'The audio'} has {stored_channels} channels; this needs all 32 of the Eigenmike."
            )
        self._rate = rate
        self._pick = list(UPLAM_CAPSULES) if channels == 4 and stored_channels == 32 else None
        common = math.gcd(rate, SAMPLE_RATE_HZ)
        self._up, self._down = SAMPLE_RATE_HZ // common, rate // common
        total = -(-samples * self._up // self._down)
        self.facts = AudioFacts(
            name="array" if self._path is None else self._path.name,
            file_rate_hz=rate,
            file_channels=stored_channels,
            file_samples=samples,
            audio_format=kind,
            n_frames=total // SAMPLES_PER_FRAME,
        )
        self._tail = total - self.facts.n_frames * SAMPLES_PER_FRAME
        self.file_notes: tuple[str, ...] = () if file is None else file.notes
        self._centres_hz = tuple(centres_hz)
        self.held = held_bands(rate, self._centres_hz)
        self._non_finite = 0
        self._clipped = 0
        self._counted = 0

    def __len__(self) -> int:
        """Return the number of whole frames."""
        return self.facts.n_frames

    def blocks(self, frames_per_block: int, *, start: int = 0) -> Iterator[tuple[int, AudioArray]]:
        """Yield ``(first frame, samples)`` with float32 samples of shape (frames * 2400, channels) at 24 kHz.

        The blocks' content does not depend on where they begin: resampling reads a margin on both sides.

        Parameters
        ----------
        frames_per_block : int
            Rounded up to a multiple of ten, so that block borders are whole samples at every sample rate.
        start : int
            First frame, a multiple of the (rounded) block length.
        """
        step = -(-max(frames_per_block, 1) // FRAME_RATE_HZ) * FRAME_RATE_HZ
        for first in range(start, self.facts.n_frames, step):
            last = min(first + step, self.facts.n_frames)
            yield first, self.read(first, last)

    def read(self, first: int, last: int) -> AudioArray:
        """Samples of frames ``first`` to ``last - 1``: float32, shape ((last - first) * 2400, channels), 24 kHz."""
        if not 0 <= first <= last <= self.facts.n_frames:
            raise InputError(f"Frames {first} to {last} were asked for; there are {self.facts.n_frames}.")
        if self._up == self._down:
            return self._raw(first * SAMPLES_PER_FRAME, last * SAMPLES_PER_FRAME)
        return self._resampled(first, last)

    def notes(self) -> tuple[str, ...]:
        """Sentences on what was done to the input so far; complete once every block has been read in order."""
        facts = self.facts
        notes = list(self.file_notes)
        if self._rate != SAMPLE_RATE_HZ:
            notes.append(f"Resampled from {self._rate} Hz to {SAMPLE_RATE_HZ} Hz.")
        if not self.held.all():
            gone = [f"{hz:.0f}" for hz, held in zip(self._centres_hz, self.held, strict=True) if not held]
            notes.append(
                f"The file holds nothing above {HELD_SHARE * self._rate / 2:.0f} Hz ({self._rate} Hz): "
                f"{len(gone)} of {len(self.held)} bands are empty and are ignored (at {', '.join(gone)} Hz)."
            )
        if self._pick is not None:
            numbers = ", ".join(str(i + 1) for i in self._pick)
            notes.append(f"Took capsules {numbers} of the 32-channel recording.")
        if self._tail:
            # four digits: 2399 samples are not "100 ms"
            left_out = 1000 * self._tail / SAMPLE_RATE_HZ
            notes.append(f"Left out the last {left_out:.4g} ms, which do not fill a frame of 100 ms.")
        if facts.n_frames == 0:
            notes.append("The recording is shorter than one frame of 100 ms: there are no maps.")
        if self._non_finite:
            notes.append(f"{self._non_finite} samples are NaN, infinite or beyond {LARGEST_SAMPLE:g} and count as 0.")
        if self._clipped:
            notes.append(f"{self._clipped} samples are clipped: levels and directions there are less certain.")
        return tuple(notes)

    def _raw(self, first: int, last: int) -> AudioArray:
        """Samples [first, last) of the file, finite, the wanted channels; fewer at the file's end."""
        last = min(last, self.facts.file_samples)
        if self._array is not None:
            audio = self._array[first:last]
        else:
            assert self._path is not None
            with open_sound(self._path) as stream:
                audio = stream.read(first, last)
            if audio.shape != (last - first, self.facts.file_channels):
                raise InputError(f"{self._path}: ends at sample {first + len(audio)}; the file is damaged or changing.")
        if self._pick is not None:
            audio = audio[:, self._pick]
        # blocks overlap where they are resampled; each sample is counted once
        new = audio[max(self._counted - first, 0) :]
        self._counted = max(self._counted, last)
        self._clipped += count_clipped(new)
        self._non_finite += replace_non_finite(new)[1]
        return replace_non_finite(audio)[0]

    def _resampled(self, first: int, last: int) -> AudioArray:
        # a block that starts at a multiple of `down` input samples and `up` output samples is in phase with the whole
        # file; ten frames (one second) always are such a multiple
        aligned = first // FRAME_RATE_HZ * FRAME_RATE_HZ
        start_in = aligned * self._rate // FRAME_RATE_HZ
        margin = (-(-_HALF_LENGTH * max(self._up, self._down) // self._up) // self._down + 2) * self._down
        left = min(margin, start_in // self._down * self._down)
        end_in = -(-last * self._rate // FRAME_RATE_HZ) + margin
        audio = self._raw(start_in - left, end_in)
        out = np.asarray(signal.resample_poly(audio, self._up, self._down, axis=0), np.float32)
        skip = left // self._down * self._up + (first - aligned) * SAMPLES_PER_FRAME
        return out[skip : skip + (last - first) * SAMPLES_PER_FRAME]
