"""Audio of a recording: pieces by seek, playback material, spectrogram.

Label frame ``k`` covers the time [k/10, (k+1)/10) s, in the file's own sample rate: the samples ``n`` with
``n / rate`` in that interval, i.e. from ``ceil(k rate / 10)`` up to ``ceil((k + 1) rate / 10)``. At 24 kHz these are
samples [2400 k, 2400 (k + 1)); at a rate that is not a multiple of 10 Hz, frames differ by one sample in length and
still tile the file. Frames are never resampled here.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Final, Protocol

import numpy as np
import numpy.typing as npt

from sai_core.cache import Cache, content_of, key_of
from sai_core.dataset.root import Recording
from sai_core.dataset.sound_file import look_at_sound, open_sound
from sai_core.errors import InputError
from sai_core.geometry import FRAME_RATE_HZ, UPLAM_CAPSULES
from sai_core.progress import Progress, no_progress

FloatArray = npt.NDArray[np.float32]

COLUMNS_PER_FRAME: Final[int] = 4
"""Spectrogram columns per label frame: 25 ms each, the usual step between analysis windows in the field."""

FLOOR_DB: Final[float] = -120.0
"""Lowest level of a spectrogram: below the quantisation noise of 16-bit audio in any band (about -113 dB)."""

_PIECE_VALUES: Final[int] = 1 << 20
"""Values of all channels read at a time: 11 s of four channels at 24 kHz, 8 MiB of float64."""

_spectrograms: Final = Cache("spectrograms", 3)
"""Its version is to be raised when levels come out differently."""


class AudioReader:
    """Random access to an audio file (whatever libsndfile reads), by label frames.

    The file is opened anew for each call, so that one reader may be used from several threads and never holds a file
    open; opening costs well under a millisecond.

    Parameters
    ----------
    path : Path
        Audio file.
    ambisonic : bool
        Its channels are W, Y, Z, X (ACN): what is played is W, the omnidirectional one, not their mean, which would be
        a beam.

    Attributes
    ----------
    path : Path
    sample_rate_hz : int
    n_samples : int
        Per channel; those that are really there (:mod:`sai_core.dataset.sound_file`).
    n_channels : int
    heard : tuple of int
        Channels whose mean is played: W of an ambisonic file, of 32 capsules the four that 4-channel recordings have
        (so that both sound alike), else all.
    notes : tuple of str
        Sentences on what of the file had to be mended or converted.

    Raises
    ------
    InputError
        Not an audio file, damaged, or unreadable.
    """

    def __init__(self, path: str | Path, *, ambisonic: bool = False) -> None:
        self.path = Path(path)
        facts = look_at_sound(self.path)
        self.sample_rate_hz = facts.sample_rate_hz
        self.n_samples = facts.n_samples
        self.n_channels = facts.n_channels
        capsules = UPLAM_CAPSULES if self.n_channels == 32 else tuple(range(self.n_channels))
        self.heard = (0,) if ambisonic else capsules
        self.notes = facts.notes

    @property
    def duration_s(self) -> float:
        """Length in seconds."""
        return self.n_samples / self.sample_rate_hz

    @property
    def n_frames(self) -> int:
        """Label frames that hold at least one sample; the last may be partly filled."""
        return -(-self.n_samples * FRAME_RATE_HZ // self.sample_rate_hz)

    def sample_range(self, start_frame: int, stop_frame: int) -> tuple[int, int]:
        """First sample and end of label frames [start, stop) in this file's rate, wherever the file ends."""
        if not 0 <= start_frame <= stop_frame:
            raise InputError(f"{self.path}: frames {start_frame} to {stop_frame} are not a range from 0 on.")
        rate = self.sample_rate_hz
        return -(-start_frame * rate // FRAME_RATE_HZ), -(-stop_frame * rate // FRAME_RATE_HZ)

    def read(self, start_frame: int, stop_frame: int, *, pad: bool = True) -> FloatArray:
        """Samples of label frames [start_frame, stop_frame), read by seek.

        Parameters
        ----------
        start_frame, stop_frame : int
            Zero-based, 0 <= start <= stop; may lie beyond the end of the file.
        pad : bool
            Beyond the end: zeros, so that the length depends on the frames alone (default), or nothing.

        Returns
        -------
        samples : float32, shape (n_samples, n_channels)
            Full scale is 1. Float files are passed on as they are, NaN and overload included.

        Raises
        ------
        InputError
            A range that is none, or a file that cannot be read there.
        """
        start, stop = self.sample_range(start_frame, stop_frame)
        return self.read_samples(start, stop, pad=pad)

    def read_samples(self, start: int, stop: int, *, pad: bool = True) -> FloatArray:
        """Samples [start, stop) of all channels; ``pad`` and errors as in :meth:`read`."""
        if not 0 <= start <= stop:
            raise InputError(f"{self.path}: samples {start} to {stop} are not a range from 0 on.")
        end = min(stop, self.n_samples)
        if start < end:
            with open_sound(self.path) as stream:
                samples = stream.read(start, end)
        else:
            samples = np.zeros((0, self.n_channels), dtype=np.float32)
        if samples.shape[1] != self.n_channels or (start < end and len(samples) < end - start):
            raise InputError(f"{self.path}: ends before the length in its header; the file is damaged or changing.")
        if pad and len(samples) < stop - start:
            padded = np.zeros((stop - start, self.n_channels), dtype=np.float32)
            padded[: len(samples)] = samples
            return padded
        return samples

    def pieces(self, n_samples: int | None = None) -> Iterator[FloatArray]:
        """The whole file in pieces of at most ``n_samples`` (8 MiB if not given), float32 (samples, channels)."""
        step = n_samples or max(1, _PIECE_VALUES // self.n_channels)
        for start in range(0, self.n_samples, step):
            yield self.read_samples(start, start + step, pad=False)

    def mono_pcm16(
        self, start_s: float, stop_s: float, rate: int = 24_000, *, gain_db: float = 0.0
    ) -> npt.NDArray[np.int16]:
        """Mean of the channels that are heard (``heard``) for playback, 16 bit, at any rate.

        Output sample ``m`` of the whole file lies at time ``m / rate``; the call returns those with
        ``start_s <= m / rate < stop_s``. Neighbouring calls therefore join without a gap or a click: each resamples
        with enough of the file around it that its samples are those of the whole file resampled at once.

        Parameters
        ----------
        start_s, stop_s : float
            Seconds, 0 <= start <= stop; zeros beyond the end of the file.
        rate : int
            Samples a second of the result, 8000 to 192000.
        gain_db : float
            Applied before rounding; what then exceeds full scale is clipped. NaN in a float file becomes 0.

        Returns
        -------
        pcm : int16, shape (n,)

        Raises
        ------
        InputError
            A range that is none, a rate out of range, or an unreadable file.
        """
        if not (math.isfinite(start_s) and math.isfinite(stop_s) and 0 <= start_s <= stop_s):
            raise InputError(f"{self.path}: {start_s} to {stop_s} s is not a range from 0 on.")
        if not 8_000 <= rate <= 192_000:
            raise InputError(f"{self.path}: a playback rate of {rate} Hz; choose 8000 to 192000.")
        # 1e-6 of a sample: times that are meant to be whole samples are rarely so in floating point
        first, last = math.ceil(start_s * rate - 1e-6), math.ceil(stop_s * rate - 1e-6)
        divisor = math.gcd(rate, self.sample_rate_hz)
        up, down = rate // divisor, self.sample_rate_hz // divisor
        if up == down:
            mono = self._mono(first, last)
        else:
            taps = _resampling_filter(up, down)
            # The filter reaches len / (2 up) input samples to each side; starting at a multiple of `down` keeps
            # the phase.
            reach = len(taps) // (2 * up) + 1
            begin = max(0, (first * down // up - reach) // down * down)
            end = last * down // up + reach + 1
            # the stubs do not know that `window` may be the filter itself
            # here, not at the top: it is half of the app's cold start and most pages never resample
            from scipy.signal import resample_poly

            whole = resample_poly(self._mono(begin, end), up, down, window=taps)  # type: ignore[call-overload]
            offset = begin // down * up
            mono = whole[first - offset : last - offset]
        scaled = np.nan_to_num(mono, nan=0.0, posinf=1.0, neginf=-1.0) * (10.0 ** (gain_db / 20.0) * 32767.0)
        return np.clip(np.rint(scaled), -32768, 32767).astype(np.int16)

    def _mono(self, start: int, stop: int) -> npt.NDArray[np.float64]:
        samples = self.read_samples(start, stop)[:, self.heard]
        # NaN before the mean and the filter, or one bad sample would silence a stretch
        return np.nan_to_num(samples.astype(np.float64), nan=0.0, posinf=1.0, neginf=-1.0).mean(axis=1)


def open_heard(recording: Recording) -> AudioReader | None:
    """Reader of the file that is played of a recording (``audio_path``); None where it has no sound.

    Raises
    ------
    InputError
        Not an audio file, damaged, or unreadable.
    """
    path = recording.audio_path
    return None if path is None else AudioReader(path, ambisonic=path == recording.foa_path)


class SampleSource(Protocol):
    """What a spectrogram is made of: samples from anywhere, zeros beyond the end."""

    @property
    def sample_rate_hz(self) -> int:
        """Samples a second."""

    @property
    def n_samples(self) -> int:
        """Per channel."""

    @property
    def n_channels(self) -> int:
        """Signals beside each other."""

    def read_samples(self, start: int, stop: int) -> FloatArray:
        """Samples [start, stop), 0 <= start, float32, shape (stop - start, n_channels)."""


@dataclass(frozen=True, eq=False)
class Spectrogram:
    """Mel spectrogram of a recording.

    Attributes
    ----------
    level_db : float32, shape (n_bins, n_columns)
        Level in dB; 0 dB is a sine of full scale (amplitude 1) at a band's centre. Row 0 is the lowest band. Never
        below ``FLOOR_DB``.
    centre_hz : float64, shape (n_bins,)
        Centre of each band, rising.
    columns_per_frame : int
        Column ``c`` covers the time [c, c + 1) / (10 columns_per_frame) s, so that label frame ``k`` owns the columns
        ``k * columns_per_frame`` up to ``(k + 1) * columns_per_frame``.
    """

    level_db: FloatArray
    centre_hz: npt.NDArray[np.float64]
    columns_per_frame: int


def spectrogram(
    path: str | Path,
    *,
    n_bins: int = 64,
    columns_per_frame: int = COLUMNS_PER_FRAME,
    low_hz: float = 50.0,
    high_hz: float = 12_000.0,
    use_cache: bool = True,
    progress: Progress = no_progress,
) -> Spectrogram:
    """Mel spectrogram of the mean over all channels, computed in pieces and kept on disk.

    Hann windows of about 43 ms are centred on the middle of each column. Bands are triangles, spaced evenly on the
    mel scale ``2595 log10(1 + f / 700)``; a band shows the strongest weighted bin under its triangle, not the sum, so
    that a tone has the same level in every band. Powers of the channels are averaged (not their samples), so that the
    level does not depend on phase differences between the microphones; of more than four channels, the four UpLAM
    capsules (32 channels) or the first four are taken.

    Parameters
    ----------
    path : Path
        Audio file.
    n_bins : int
        Number of bands.
    columns_per_frame : int
        Columns per 100 ms.
    low_hz, high_hz : float
        Range of band centres; ``high_hz`` is lowered to half the sample rate.
    use_cache : bool
        Reuse and keep the result in the cache (:mod:`sai_core.cache`).
    progress : Progress
        Told about once per 11 s of audio.

    Returns
    -------
    Spectrogram
        With ``ceil(duration * 10 columns_per_frame)`` columns; none for an empty file.

    Raises
    ------
    InputError
        Options out of range, or an unreadable file.
    """
    reader = AudioReader(path)
    high_hz = min(high_hz, reader.sample_rate_hz / 2)
    if not (0 < low_hz < high_hz and n_bins >= 1 and columns_per_frame >= 1):
        raise InputError(f"{path}: a spectrogram of {n_bins} bands from {low_hz} to {high_hz} Hz cannot be made.")
    key = key_of(content_of(reader.path), n_bins, columns_per_frame, low_hz, high_hz) if use_cache else ""
    entry = _spectrograms.get(key) if use_cache else None
    if entry is not None:
        return Spectrogram(entry.arrays["level"], _edges_hz(n_bins, low_hz, high_hz)[1:-1], columns_per_frame)
    result = spectrogram_of(
        reader, n_bins=n_bins, columns_per_frame=columns_per_frame, low_hz=low_hz, high_hz=high_hz, progress=progress
    )
    if use_cache:
        _spectrograms.put(key, {"level": result.level_db})
    return result


def spectrogram_of(
    source: SampleSource,
    *,
    n_bins: int = 64,
    columns_per_frame: int = COLUMNS_PER_FRAME,
    low_hz: float = 50.0,
    high_hz: float = 12_000.0,
    progress: Progress = no_progress,
) -> Spectrogram:
    """As :func:`spectrogram`, of any sound; not kept. ``high_hz`` is at most half the sample rate."""
    edges_hz = _edges_hz(n_bins, low_hz, high_hz)
    n_columns = -(-source.n_samples * FRAME_RATE_HZ * columns_per_frame // source.sample_rate_hz)
    level = _compute_spectrogram(source, edges_hz, columns_per_frame, n_columns, progress)
    return Spectrogram(level, edges_hz[1:-1], columns_per_frame)


def _edges_hz(n_bins: int, low_hz: float, high_hz: float) -> npt.NDArray[np.float64]:
    """Where bands begin, have their centre, and end."""
    edges_mel = np.linspace(_mel(low_hz), _mel(high_hz), n_bins + 2)
    return np.asarray(700.0 * (10.0 ** (edges_mel / 2595.0) - 1.0))


def _compute_spectrogram(
    reader: SampleSource, edges_hz: npt.NDArray[np.float64], columns_per_frame: int, n_columns: int, progress: Progress
) -> FloatArray:
    rate = reader.sample_rate_hz
    n_fft = 1 << max(5, round(math.log2(rate * 1024 / 24_000)))
    window = np.hanning(n_fft + 1)[:-1].astype(np.float32)
    # a full-scale sine puts |X|^2 = (sum(window) / 2)^2 into its bin
    weights, first_bins = _bands(edges_hz, rate, n_fft)
    weights = [w / (float(window.sum()) / 2) ** 2 for w in weights]
    floor_power = 10.0 ** (FLOOR_DB / 10.0)
    level = np.full((len(weights), n_columns), FLOOR_DB, dtype=np.float32)
    channels = UPLAM_CAPSULES if reader.n_channels == 32 else range(min(4, reader.n_channels))
    columns_per_piece = max(1, _PIECE_VALUES // max(4, reader.n_channels) * FRAME_RATE_HZ * columns_per_frame // rate)
    per_second = FRAME_RATE_HZ * columns_per_frame
    for begin in range(0, n_columns, columns_per_piece):
        progress(begin / n_columns, "spectrogram")
        columns = np.arange(begin, min(begin + columns_per_piece, n_columns))
        starts = (2 * columns + 1) * rate // (2 * per_second) - n_fft // 2
        low, high = int(starts[0]), int(starts[-1]) + n_fft
        samples = reader.read_samples(max(low, 0), high)
        if low < 0:
            samples = np.concatenate([np.zeros((-low, samples.shape[1]), dtype=np.float32), samples])
        samples = np.nan_to_num(samples, nan=0.0, posinf=1.0, neginf=-1.0)
        power = np.zeros((len(columns), n_fft // 2 + 1), dtype=np.float32)
        for channel in channels:
            blocks = np.lib.stride_tricks.sliding_window_view(samples[:, channel], n_fft)[starts - low]
            spectrum = np.fft.rfft(blocks * window, axis=1)
            power += spectrum.real**2 + spectrum.imag**2
        power /= len(channels)
        for row, (band, first) in enumerate(zip(weights, first_bins, strict=True)):
            strongest = (power[:, first : first + len(band)] * band).max(axis=1)
            level[row, columns] = 10.0 * np.log10(np.maximum(strongest, floor_power))
    np.maximum(level, FLOOR_DB, out=level)  # the logarithm of the floor is rounded
    progress(1.0, "spectrogram")
    return level


def _mel(hz: float) -> float:
    return 2595.0 * math.log10(1.0 + hz / 700.0)


def _bands(edges_hz: npt.NDArray[np.float64], rate: int, n_fft: int) -> tuple[list[npt.NDArray[np.float32]], list[int]]:
    """Weights of the FFT bins under each band's triangle (largest = 1) and the first bin of each band."""
    bin_hz = rate / n_fft
    weights, first_bins = [], []
    for low, centre, high in zip(edges_hz[:-2], edges_hz[1:-1], edges_hz[2:], strict=True):
        first = max(0, math.ceil(low / bin_hz))
        stop = min(n_fft // 2 + 1, math.floor(high / bin_hz) + 1)
        hz = np.arange(first, stop) * bin_hz
        triangle = np.minimum((hz - low) / (centre - low), (high - hz) / (high - centre))
        if not triangle.size or triangle.max() <= 0:
            # a band narrower than a bin: the bin next to its centre
            first, triangle = min(round(centre / bin_hz), n_fft // 2), np.ones(1)
        weights.append((triangle / triangle.max()).astype(np.float32))
        first_bins.append(first)
    return weights, first_bins


@lru_cache(maxsize=4)
def _resampling_filter(up: int, down: int) -> npt.NDArray[np.float64]:
    """Low-pass of odd length for ``resample_poly``: Kaiser window, about 80 dB, ten zero crossings to a side."""
    widest = max(up, down)
    from scipy.signal import firwin

    return firwin(2 * 10 * widest + 1, 1.0 / widest, window=("kaiser", 8.0))
