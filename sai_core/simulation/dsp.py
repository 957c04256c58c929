"""Small signal helpers of the sound synthesis: shaped noise, ringing modes, envelopes, slow random tracks.

Everything is mono at :data:`sai_core.geometry.SAMPLE_RATE_HZ`, float64, and takes its randomness from the generator
that is passed in, so that a seed fixes every sample.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from scipy import fft, signal

from sai_core.geometry import SAMPLE_RATE_HZ

FloatArray = npt.NDArray[np.float64]

CONTROL_RATE_HZ = 100
"""Rate of the control tracks (mouth opening, door angle) that accompany a sound, per second."""


def shaped_noise(n: int, rng: np.random.Generator, points: Sequence[tuple[float, float]]) -> FloatArray:
    """Gaussian noise with a spectrum through ``(frequency in Hz, level in dB)`` points, of RMS 1.

    Levels are interpolated over the logarithm of the frequency and held at both ends.

    Returns
    -------
    float64, shape (n,)
    """
    if n == 0:
        return np.zeros(0)
    size = fft.next_fast_len(n, real=True)
    spectrum = fft.rfft(rng.standard_normal(size))
    frequency = np.maximum(fft.rfftfreq(size, 1.0 / SAMPLE_RATE_HZ), 1.0)
    levels = np.interp(np.log(frequency), np.log([p[0] for p in points]), [p[1] for p in points])
    noise = fft.irfft(spectrum * 10.0 ** (levels / 20.0), size)[:n]
    return unit_rms(noise)


def band_noise(n: int, rng: np.random.Generator, low_hz: float, high_hz: float) -> FloatArray:
    """Noise between two frequencies with skirts of about 24 dB an octave, RMS 1, shape (n,)."""
    return shaped_noise(
        n,
        rng,
        [(low_hz / 4, -48), (low_hz / 2, -24), (low_hz, 0), (high_hz, 0), (high_hz * 2, -24), (high_hz * 4, -48)],
    )


def ringing(
    n: int, frequencies_hz: npt.ArrayLike, decays_s: npt.ArrayLike, amplitudes: npt.ArrayLike, rng: np.random.Generator
) -> FloatArray:
    """Sum of decaying sinusoids (modes of a struck body) with random phases, shape (n,).

    Parameters
    ----------
    n : int
        Samples.
    frequencies_hz, decays_s, amplitudes : array_like, shape (modes,)
        ``decays_s`` is the time to fall by 60 dB. Modes above 11 kHz are left out (they would fold back).
    rng : numpy.random.Generator
        For the phases.
    """
    frequency, decay, amplitude = np.broadcast_arrays(
        np.atleast_1d(np.asarray(frequencies_hz, dtype=np.float64)),
        np.asarray(decays_s, dtype=np.float64),
        np.asarray(amplitudes, dtype=np.float64),
    )
    phase = rng.uniform(0, 2 * np.pi, frequency.size)
    out = np.zeros(n)
    for f, d, a, p in zip(frequency, decay, amplitude, phase, strict=True):
        if f >= 11_000.0:
            continue
        # below -80 dB nothing is heard: stopping there makes a bar of hits cheap
        length = min(n, int(d * 1.35 * SAMPLE_RATE_HZ) + 1)
        t = np.arange(length) / SAMPLE_RATE_HZ
        out[:length] += a * np.exp(-6.9078 / d * t) * np.sin(2 * np.pi * f * t + p)
    return out


def add_at(out: FloatArray, piece: FloatArray, start: int) -> None:
    """Add ``piece`` into ``out`` (in place) from sample ``start``; what falls outside is dropped."""
    first, last = max(start, 0), min(start + piece.size, out.size)
    if first < last:
        out[first:last] += piece[first - start : last - start]


def fade(x: FloatArray, rise_s: float, fall_s: float) -> FloatArray:
    """Copy with raised-cosine ramps at both ends."""
    out = x.copy()
    for seconds, side in ((rise_s, slice(None)), (fall_s, slice(None, None, -1))):
        n = min(int(seconds * SAMPLE_RATE_HZ), x.size)
        if n:
            out[side][:n] *= 0.5 - 0.5 * np.cos(np.pi * np.arange(n) / n)
    return out


def slow_track(n: int, rng: np.random.Generator, rate_hz: float) -> FloatArray:
    """Smooth random track that turns about ``rate_hz`` times a second; standard deviation near 1, shape (n,)."""
    knots = int(n / SAMPLE_RATE_HZ * rate_hz * 2) + 4
    values = rng.standard_normal(knots)
    position = np.arange(n) / SAMPLE_RATE_HZ * rate_hz * 2 + 1
    index = np.minimum(position.astype(np.int64), knots - 2)
    part = position - index
    ease = 0.5 - 0.5 * np.cos(np.pi * part)
    return values[index] * (1 - ease) + values[index + 1] * ease


def highpass(x: FloatArray, cutoff_hz: float) -> FloatArray:
    """Second-order Butterworth high-pass, causal."""
    return signal.sosfilt(signal.butter(2, cutoff_hz, "highpass", fs=SAMPLE_RATE_HZ, output="sos"), x)


def lowpass(x: FloatArray, cutoff_hz: float) -> FloatArray:
    """Second-order Butterworth low-pass, causal."""
    return signal.sosfilt(signal.butter(2, cutoff_hz, "lowpass", fs=SAMPLE_RATE_HZ, output="sos"), x)


def unit_rms(x: FloatArray) -> FloatArray:
    """Copy scaled to RMS 1; silence stays silence."""
    rms = float(np.sqrt(np.mean(x**2))) if x.size else 0.0
    return x / rms if rms > 0 else x.copy()


def frame_power(x: FloatArray, frame: int) -> FloatArray:
    """Mean square of consecutive frames of ``frame`` samples; the last one may be shorter. Shape (ceil(n / frame),)."""
    n_frames = -(-x.size // frame)
    padded = np.zeros(n_frames * frame)
    padded[: x.size] = x**2
    counts = np.full(n_frames, float(frame))
    if n_frames:
        counts[-1] = x.size - (n_frames - 1) * frame
    return padded.reshape(n_frames, frame).sum(axis=1) / counts


def active_rms(x: FloatArray) -> float:
    """RMS over the 20 ms frames within 25 dB of the loudest one: the level of a sound while it sounds."""
    power = frame_power(x, SAMPLE_RATE_HZ // 50)
    if power.size == 0 or power.max() <= 0:
        return 0.0
    return float(np.sqrt(power[power > power.max() * 10**-2.5].mean()))


def envelope_track(x: FloatArray) -> FloatArray:
    """Loudness of ``x`` at :data:`CONTROL_RATE_HZ` in [0, 1]: square root of the RMS over its 95th percentile."""
    rms = np.sqrt(frame_power(x, SAMPLE_RATE_HZ // CONTROL_RATE_HZ))
    if rms.size == 0 or rms.max() <= 0:
        return np.zeros(rms.size)
    kernel = np.hanning(7)[1:-1]
    rms = np.convolve(rms, kernel / kernel.sum(), mode="same")
    loud = np.percentile(rms[rms > 0.02 * rms.max()], 95)
    return np.sqrt(np.clip(rms / loud, 0.0, 1.0))
