"""From capsules on a rigid sphere to spherical harmonics, by windows.

The encoder of one frequency is the linear estimate of the harmonics with the least mean square error for waves from
everywhere and independent noise in the capsules,

    E = diag(conj(b_n)) Y^T (C + lambda I)^-1,        C = diffuse covariance of the capsules,

with the rigid sphere's mode strengths ``b_n`` and the harmonics ``Y`` at the capsules. ``lambda`` is a bound at the
same time: no harmonic is ever raised by more than ``1 / (2 sqrt(lambda))`` against the noise of a capsule
(:data:`NOISE_GAIN_LIMIT_DB`). Where an order would need more (low frequencies), it fades out instead of exploding;
:meth:`Encoder.order_gain` says by how much, and :mod:`sai_core.listening.beams` evens out what that does to a beam.

Filters are non-causal (no delay) and applied by overlap-save on a grid of blocks that is fixed to the recording: what
is asked for by any windows is the same to the last bit, and memory is that of one block.

References
----------
B. Rafaely, "Fundamentals of Spherical Array Processing" (2015), chapters 3 and 6; S. Moreau, J. Daniel and S. Bertet,
"3D sound field recording with higher order ambisonics", AES 120 (2006), section 3 (limited radial filters).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property, lru_cache
from typing import Final, Literal

import numpy as np
import numpy.typing as npt
from scipy import fft

from sai_core.acoustics import rigid_sphere
from sai_core.errors import InputError
from sai_core.geometry import EM32_RADIUS_M, SAMPLE_RATE_HZ, em32_capsules_deg, uplam_capsules_deg

FloatArray = npt.NDArray[np.float64]
Float32Array = npt.NDArray[np.float32]
ComplexArray = npt.NDArray[np.complex128]
Array = Literal["foa", "mic", "eigen"]
Reader = Callable[[int, int], Float32Array]
"""``read(start, stop)``: samples [start, stop) at 24 kHz, float32, shape (stop - start, channels); zeros outside."""

NOISE_GAIN_LIMIT_DB: Final[float] = 20.0
"""Largest gain of any encoded harmonic (N3D) against the noise of one capsule."""

MAX_ORDER: Final[dict[Array, int]] = {"foa": 1, "mic": 1, "eigen": 4}
"""Highest order of each kind of recording: 4 and 32 signals carry no more (4 and 25 harmonics)."""

TAPS: Final[int] = 1024
"""Length of every filter here: 43 ms, in which the limited radial filters have decayed by 60 dB."""

_ALIASING_LOADING: Final[float] = 1e-10
"""Noise power that keeps the covariance invertible where nothing but aliasing is asked about."""

_MOST_MADE_UP_DB: Final[float] = 15.0

_SIZE: Final[int] = 4096
BLOCK: Final[int] = _SIZE - TAPS
"""Samples that one transform gives: 128 ms."""


def n_harmonics(order: int) -> int:
    """Harmonics up to an order."""
    return (order + 1) ** 2


@lru_cache(maxsize=32)
def orders_of(order: int) -> npt.NDArray[np.int64]:
    """Order of each harmonic up to ``order``, shape ((order + 1)^2,), read-only."""
    orders = np.repeat(np.arange(order + 1), 2 * np.arange(order + 1) + 1)
    orders.flags.writeable = False
    return orders


def capsules_of(array: Array) -> tuple[FloatArray, FloatArray]:
    """Azimuth and elevation of the capsules of ``mic`` (four of the Eigenmike) or ``eigen``."""
    return uplam_capsules_deg() if array == "mic" else em32_capsules_deg()


def encoder_matrix(
    array: Literal["mic", "eigen"],
    order: int,
    freq_hz: npt.ArrayLike,
    *,
    noise_gain_limit_db: float = NOISE_GAIN_LIMIT_DB,
) -> ComplexArray:
    """Encoder of each frequency, N3D: harmonics = matrix @ capsule spectra ("fft" convention).

    Parameters
    ----------
    array : {"mic", "eigen"}
    order : int
        0 to :data:`MAX_ORDER`.
    freq_hz : array_like, shape (n_freq,)
    noise_gain_limit_db : float
        See :data:`NOISE_GAIN_LIMIT_DB`.

    Returns
    -------
    complex128, shape (n_freq, (order + 1)^2, capsules)

    Raises
    ------
    InputError
        An order that the array does not carry.
    """
    if not 0 <= order <= MAX_ORDER[array]:
        raise InputError(f"order is {order}; {array} recordings carry orders 0 to {MAX_ORDER[array]}.")
    frequency = np.atleast_1d(np.asarray(freq_hz, dtype=np.float64))
    capsules = capsules_of(array)
    loading = (10.0 ** (-noise_gain_limit_db / 20.0) / 2.0) ** 2
    covariance = rigid_sphere.diffuse_coherence(frequency, capsules_deg=capsules)
    covariance = covariance + loading * np.eye(len(capsules[0]))
    strength = rigid_sphere.mode_strength(
        order, 2 * np.pi * frequency / rigid_sphere.SPEED_OF_SOUND_M_S, convention="fft"
    )
    harmonics = rigid_sphere.sh_matrix(order, *capsules, normalisation="n3d")
    # mean over all directions of Y(u) conj(p(u)): orthogonality leaves the capsule's own harmonic
    cross = np.conj(strength)[:, orders_of(order), None] * harmonics.T
    # the covariance is real and symmetric
    solved = np.linalg.solve(covariance, cross.swapaxes(1, 2)).swapaxes(1, 2)
    return np.asarray(solved * _aliasing_gain(array, order, frequency)[:, :, None], dtype=np.complex128)


def _aliasing_gain(array: Literal["mic", "eigen"], order: int, frequency: FloatArray) -> FloatArray:
    """What makes up, in power over all directions, for the harmonics' loss where capsules lie too far apart.

    Above some 4 kHz (four capsules) and 7 kHz (32) waves of higher orders pass for lower ones, and the estimate with
    the least error shrinks towards silence. A dull sound is worse to listen to than a wrong pattern. Shape (n_freq,
    harmonics), 1 below ``ka = 1``.
    """
    capsules = capsules_of(array)
    wavenumber = 2 * np.pi * frequency / rigid_sphere.SPEED_OF_SOUND_M_S
    high = wavenumber * EM32_RADIUS_M >= 1.0
    gain = np.ones((frequency.size, n_harmonics(order)))
    if not high.any():
        return gain
    covariance = rigid_sphere.diffuse_coherence(frequency[high], capsules_deg=capsules)
    strength = rigid_sphere.mode_strength(order, wavenumber[high], convention="fft")
    harmonics = rigid_sphere.sh_matrix(order, *capsules, normalisation="n3d")
    solved = np.linalg.solve(covariance + _ALIASING_LOADING * np.eye(len(capsules[0])), harmonics)
    # power of the estimate: E C E^H, which without noise is the share that it explains
    share = np.abs(strength[:, orders_of(order)]) ** 2 * np.einsum("ch,fch->fh", harmonics, solved)
    gain[high] = 1.0 / np.sqrt(np.clip(share, 10.0 ** (-_MOST_MADE_UP_DB / 10.0), 1.0))
    return gain


def filters_of(response: ComplexArray, *, taps: int = TAPS) -> FloatArray:
    """Zero-delay impulse responses of responses at ``rfftfreq(2 taps)``; sample ``taps // 2`` is time 0.

    Designed at twice the length and windowed, so that what does not fit fades out rather than wraps around.

    Parameters
    ----------
    response : complex128, shape (taps + 1, ...)

    Returns
    -------
    float64, shape (..., taps)
    """
    impulse = np.moveaxis(fft.irfft(response, 2 * taps, axis=0), 0, -1)
    impulse = np.roll(impulse, taps // 2, axis=-1)[..., :taps]
    ramp = 0.5 - 0.5 * np.cos(np.pi * (np.arange(taps // 8) + 0.5) / (taps // 8))
    impulse[..., : ramp.size] *= ramp
    impulse[..., -ramp.size :] *= ramp[::-1]
    return impulse


def design_frequencies(taps: int = TAPS) -> FloatArray:
    """Frequencies at which :func:`filters_of` wants a response, shape (taps + 1,)."""
    return fft.rfftfreq(2 * taps, 1.0 / SAMPLE_RATE_HZ)


class WindowFilter:
    """Filters from channels to channels, applied to any window of a recording.

    Parameters
    ----------
    impulses : float, shape (out, channels, TAPS)
        Sample ``TAPS // 2`` is time 0.
    """

    def __init__(self, impulses: FloatArray) -> None:
        self.n_out, self.n_in = impulses.shape[:2]
        # (bins, out, in): one small product for each bin
        spectra = fft.rfft(impulses.astype(np.float32), _SIZE, axis=-1)
        self._spectra = np.ascontiguousarray(np.moveaxis(spectra, -1, 0))

    def apply(self, read: Reader, start: int, stop: int) -> Float32Array:
        """Filtered samples [start, stop), float32, shape (stop - start, out).

        The same samples to the last bit whatever window they are asked for in: blocks lie on a fixed grid.
        """
        check_window(start, stop)
        out = np.empty((stop - start, self.n_out), dtype=np.float32)
        for block in range(start // BLOCK, -(-stop // BLOCK)):
            first = block * BLOCK
            # out[i] = sum_j h[j] x[i + TAPS / 2 - j]
            samples = read(first + TAPS // 2 - TAPS, first + BLOCK + TAPS // 2)
            spectrum = fft.rfft(np.ascontiguousarray(samples.T), _SIZE, axis=1)
            product = np.matmul(self._spectra, spectrum.T[:, :, None])[:, :, 0]
            filtered = fft.irfft(np.ascontiguousarray(product.T), _SIZE, axis=1)[:, TAPS:]
            low, high = max(start, first), min(stop, first + BLOCK)
            out[low - start : high - start] = filtered[:, low - first : high - first].T
        return out


class Encoder:
    """Harmonics of a recording, window by window.

    Parameters
    ----------
    array : {"foa", "mic", "eigen"}
        What the channels are: FOA (ACN, SN3D) is passed on as it is.
    order : int, optional
        Highest order; what the array carries if not given.
    noise_gain_limit_db : float
        See :data:`NOISE_GAIN_LIMIT_DB`.
    emphasis : float, shape (TAPS + 1,), optional
        Gain of all harmonics at :func:`design_frequencies` (:func:`sai_core.listening.beams.beam_encoder`).

    Raises
    ------
    InputError
        An order that the array does not carry.
    """

    def __init__(
        self,
        array: Array,
        order: int | None = None,
        *,
        noise_gain_limit_db: float = NOISE_GAIN_LIMIT_DB,
        emphasis: FloatArray | None = None,
    ) -> None:
        self.array = array
        self.order = MAX_ORDER[array] if order is None else order
        self.noise_gain_limit_db = noise_gain_limit_db
        self.emphasis = emphasis
        if not 0 <= self.order <= MAX_ORDER[array]:
            raise InputError(f"order is {order}; {array} recordings carry orders 0 to {MAX_ORDER[array]}.")

    @property
    def n_out(self) -> int:
        """Number of harmonics."""
        return n_harmonics(self.order)

    def matrix(self) -> ComplexArray:
        """N3D harmonics from the channels at :func:`design_frequencies`: (n_freq, harmonics, channels)."""
        if self.array == "foa":
            scale = np.diag(np.sqrt(2.0 * orders_of(self.order) + 1.0))
            plain = np.concatenate([scale, np.zeros((self.n_out, 4 - self.n_out))], axis=1)
            matrix = np.broadcast_to(plain.astype(np.complex128), (TAPS + 1, *plain.shape))
        else:
            matrix = encoder_matrix(
                self.array, self.order, design_frequencies(), noise_gain_limit_db=self.noise_gain_limit_db
            )
        return matrix if self.emphasis is None else matrix * self.emphasis[:, None, None]

    @cached_property
    def _filter(self) -> WindowFilter:
        sn3d = 1.0 / np.sqrt(2.0 * orders_of(self.order) + 1.0)
        return WindowFilter(filters_of(self.matrix() * sn3d[:, None]))

    def order_gain(self, freq_hz: npt.ArrayLike) -> FloatArray:
        """Share of each order that the limited noise gain leaves, shape (n_freq, order + 1), real.

        1 for FOA; for capsules it falls towards low frequencies, the higher the order the earlier. What aliasing takes
        away at high frequencies is not in it: that is made up already, in power.
        """
        frequency = np.atleast_1d(np.asarray(freq_hz, dtype=np.float64))
        if self.array == "foa":
            return np.ones((frequency.size, self.order + 1))
        matrix = encoder_matrix(self.array, self.order, frequency, noise_gain_limit_db=self.noise_gain_limit_db)
        strength = rigid_sphere.mode_strength(
            self.order, 2 * np.pi * frequency / rigid_sphere.SPEED_OF_SOUND_M_S, convention="fft"
        )
        harmonics = rigid_sphere.sh_matrix(self.order, *capsules_of(self.array), normalisation="n3d")
        passed = np.einsum("fhc,ch->fh", matrix, harmonics) * strength[:, orders_of(self.order)]
        passed *= _aliasing_gain(self.array, self.order, frequency)
        return np.stack([passed[:, orders_of(self.order) == n].mean(axis=1).real for n in range(self.order + 1)], 1)

    def encode(self, read: Reader, start: int, stop: int) -> Float32Array:
        """Harmonics of samples [start, stop): float32, shape (stop - start, (order + 1)^2), SN3D.

        Parameters
        ----------
        read : callable
            ``read(start, stop)`` gives samples of all channels at 24 kHz, zeros outside of the recording.
        start, stop : int
            0 <= start <= stop; beyond the recording's end there is what rings on, then zeros.
        """
        check_window(start, stop)
        if self.array == "foa" and self.emphasis is None:
            return read(start, stop)[:, : self.n_out]
        return self._filter.apply(read, start, stop)


def check_window(start: int, stop: int) -> None:
    """Make sure that samples [start, stop) are a range from 0 on."""
    if not 0 <= start <= stop:
        raise InputError(f"Samples {start} to {stop} are not a range from 0 on.")
