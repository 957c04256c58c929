"""From a sound field in spherical harmonics to the 32 capsules of the Eigenmike and to first-order ambisonics.

A scene is summed in the spherical-harmonic domain (N3D, ACN, 121 channels of order 10), where a wave from a direction
is one row of weights, whatever the number of capsules; one filter per order then gives the pressure on the rigid
sphere (:mod:`sai_core.acoustics.rigid_sphere`). Order 10 is exact to 1.5 % up to 9 kHz; above, the highest orders are
missing (figures in ``docs/simulation.md``).
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final

import numpy as np
import numpy.typing as npt
from scipy import fft

from sai_core.acoustics import rigid_sphere
from sai_core.geometry import SAMPLE_RATE_HZ, em32_capsules_deg

FloatArray = npt.NDArray[np.float64]
Float32Array = npt.NDArray[np.float32]

ORDER: Final[int] = 10
N_SH: Final[int] = (ORDER + 1) ** 2
N_CAPSULES: Final[int] = 32
N_OUT: Final[int] = N_CAPSULES + 4
"""Channels of a rendered signal: the capsules, then W, Y, Z, X (ACN) in SN3D."""

_TAPS: Final[int] = 512
"""Length of the per-order filters: their ringing is below -80 dB well before."""

_LEAD: Final[int] = 64
"""Samples that the filters reach ahead of the sphere's centre (the near side hears a wave up to 3 samples early)."""


@lru_cache(maxsize=1)
def order_filters() -> FloatArray:
    """Impulse responses of each order on the sphere, delayed by 64 samples, shape (512, 11); read-only."""
    frequency = fft.rfftfreq(_TAPS, 1.0 / SAMPLE_RATE_HZ)
    wavenumber = 2 * np.pi * frequency / rigid_sphere.SPEED_OF_SOUND_M_S
    strength = rigid_sphere.mode_strength(ORDER, wavenumber, convention="fft")
    delay = np.exp(-2j * np.pi * frequency * _LEAD / SAMPLE_RATE_HZ)
    impulse = fft.irfft(strength * delay[:, None], _TAPS, axis=0)
    window = np.ones(_TAPS)
    ramp = 0.5 - 0.5 * np.cos(np.pi * np.arange(32) / 32)
    window[:32] = ramp
    window[-64:] = np.repeat(ramp, 2)[::-1]
    impulse *= window[:, None]
    impulse.flags.writeable = False
    return impulse


@lru_cache(maxsize=1)
def capsule_weights() -> Float32Array:
    """N3D harmonics at the capsules, shape (121, 32), float32; read-only."""
    weights = rigid_sphere.sh_matrix(ORDER, *em32_capsules_deg(), normalisation="n3d").T.astype(np.float32)
    weights.flags.writeable = False
    return weights


@lru_cache(maxsize=1)
def channel_orders() -> npt.NDArray[np.int64]:
    """Order of each of the 121 channels; read-only."""
    orders = np.floor(np.sqrt(np.arange(N_SH))).astype(np.int64)
    orders.flags.writeable = False
    return orders


def foa_scale() -> Float32Array:
    """Factors that turn the first four N3D channels into SN3D, shape (4,)."""
    third = 1.0 / np.sqrt(3.0)
    return np.array([1.0, third, third, third], dtype=np.float32)


@lru_cache(maxsize=8)
def _order_spectra(size: int) -> npt.NDArray[np.complex64]:
    """Spectra of :func:`order_filters` at an FFT size, one row per channel, shape (121, size / 2 + 1)."""
    spectra = fft.rfft(order_filters(), size, axis=0).T.astype(np.complex64)
    return spectra[channel_orders()]


def encode(azimuth_deg: npt.ArrayLike, elevation_deg: npt.ArrayLike) -> Float32Array:
    """N3D weights of plane waves from directions in the array's frame, shape (n, 121), float32."""
    return rigid_sphere.sh_matrix(ORDER, azimuth_deg, elevation_deg, normalisation="n3d").astype(np.float32)


def decode(field: Float32Array) -> Float32Array:
    """Signals of the capsules and of the FOA channels for a sound field in spherical harmonics.

    Parameters
    ----------
    field : float32, shape (121, n)
        N3D, ACN; a plane wave of unit pressure from a direction has the weights of :func:`encode`. Time 0 is the
        sphere's centre.

    Returns
    -------
    float32, shape (36, n)
        32 capsules, then W, Y, Z, X in SN3D. What rings on after sample n is cut off: pad the field.
    """
    n = field.shape[1]
    out = np.empty((N_OUT, n), dtype=np.float32)
    out[N_CAPSULES:] = field[:4] * foa_scale()[:, None]
    size = 1 << int(np.ceil(np.log2(min(max(n, 1), 12_000) + _TAPS + _LEAD)))
    block = size - _TAPS
    spectra = _order_spectra(size)
    weights = capsule_weights().T
    buffer = np.zeros((N_CAPSULES, n + _LEAD + size), dtype=np.float32)
    for start in range(0, n, block):
        spectrum = fft.rfft(field[:, start : start + block], size, axis=1)
        spectrum *= spectra
        # a real matrix on a complex spectrum: as real pairs, so that one single-precision product does it
        pairs = weights @ spectrum.view(np.float32)
        buffer[:, start : start + size] += fft.irfft(pairs.view(np.complex64), size, axis=1)
    out[:N_CAPSULES] = buffer[:, _LEAD : _LEAD + n]
    return out


def diffuse_noise(n: int, rng: np.random.Generator, magnitude: FloatArray) -> Float32Array:
    """Isotropic noise at the capsules and in FOA: independent noise in every harmonic channel.

    Parameters
    ----------
    n : int
        Samples.
    rng : numpy.random.Generator
        Fixes the noise.
    magnitude : float64, shape (1025,)
        Magnitude spectrum at ``rfftfreq(2048)``; 1 everywhere gives unit mean square pressure at the centre.

    Returns
    -------
    float32, shape (36, n)
    """
    size, hop = 2048, 1024
    window = np.sin(np.pi * (np.arange(size) + 0.5) / size).astype(np.float32)
    spectra = _order_spectra(size)
    weights = capsule_weights().T
    out = np.zeros((N_OUT, n + 2 * size), dtype=np.float32)
    shape = (magnitude * np.sqrt(size / 2)).astype(np.float32)
    for start in range(0, n + hop, hop):
        noise = rng.standard_normal((N_SH, 2 * (size // 2 + 1)), dtype=np.float32).view(np.complex64)
        noise *= shape
        foa = noise[:4] * foa_scale()[:, None]
        noise *= spectra
        pairs = (weights @ noise.view(np.float32)).view(np.complex64)
        block = fft.irfft(np.concatenate([pairs, foa]), size, axis=1)
        out[:, start : start + size] += block * window
    # sine windows at half overlap: their squares sum to one
    return out[:, hop : hop + n]
