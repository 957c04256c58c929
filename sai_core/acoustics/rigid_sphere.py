"""What a rigid sphere with capsules on its surface hears: the array model of every simulated and measured thing here.

The pressure on the surface of a rigid sphere of radius ``a`` in a plane wave of unit pressure that arrives *from* the
direction ``u`` is, with ``cos theta = u . r`` for the capsule direction ``r`` and ``k = 2 pi f / c``,

    p = sum_n (2 n + 1) b_n(ka) P_n(cos theta),        b_n(x) = j^(n-1) / (x^2 h_n^(2)'(x)),

where ``h_n^(2)`` is the spherical Hankel function of the second kind. The phase reference is the sphere's centre.

Two conventions, one of which every function here asks for or names:

* ``"fft"``: time dependence ``exp(+j w t)``, the one of :func:`numpy.fft.rfft`: a spectrum that is multiplied by
  ``p`` and transformed back is the microphone signal; a later arrival has a falling phase. The formula above.
* ``"visibility"``: the complex conjugate. Visibilities are ``S = conj(x) x^T`` (domain notes, section 4), so a source
  of spectrum ``s`` adds ``|s|^2 conj(p) p^T = |s|^2 q q^H`` with ``q = conj(p)``: a beamformer ``a^H S a`` peaks at
  the true direction for ``a = q``. In the limit of an acoustically transparent array, ``q`` is the plane-wave
  steering matrix of LAM, ``exp(-1j 2 pi / wavelength * xyz . u)``; with the other sign the map peaks at the opposite
  side. This is the default of :func:`steering`.

References
----------
E. G. Williams, "Fourier Acoustics" (1999), chapter 6; B. Rafaely, "Fundamentals of Spherical Array Processing"
(2015), chapters 2 and 4; J. Meyer and G. Elko, ICASSP 2002. Spherical Bessel functions: DLMF chapter 10.47.
"""

from __future__ import annotations

from typing import Final, Literal

import numpy as np
import numpy.typing as npt
from scipy import special

from sai_core.errors import InputError
from sai_core.geometry import EM32_RADIUS_M, directions_to_vectors, em32_capsules_deg

FloatArray = npt.NDArray[np.float64]
ComplexArray = npt.NDArray[np.complex128]
Convention = Literal["visibility", "fft"]
Normalisation = Literal["orthonormal", "n3d", "sn3d"]

SPEED_OF_SOUND_M_S: Final[float] = 343.0
"""Speed of sound in air at 20 degrees Celsius in m/s, as used for all simulated scenes."""

_TAIL: Final[float] = 1e-12
"""Terms of the expansion below this share of a unit plane wave are left out."""

_MAX_ORDER: Final[int] = 400
"""Guard against a radius given in centimetres or a frequency in kHz: ka = 350 is 450 kHz for an Eigenmike."""


def mode_strength(
    order: int, wavenumber: npt.ArrayLike, radius_m: float = EM32_RADIUS_M, *, convention: Convention
) -> ComplexArray:
    """Strength ``b_n`` of each spherical-harmonic order on the surface of a rigid sphere.

    Normalised such that ``p = sum_n (2 n + 1) b_n P_n(cos theta)``; equally, with orthonormal spherical harmonics,
    ``p = 4 pi sum_n b_n sum_m Y_nm(u) Y_nm(r)``.

    Parameters
    ----------
    order : int
        Highest order, >= 0.
    wavenumber : array_like of float, shape (n_freq,)
        ``2 pi f / c`` in rad/m, >= 0; at 0 only order 0 is non-zero (and 1).
    radius_m : float
        Radius of the sphere in metres, > 0.
    convention : {"visibility", "fft"}
        Time convention, see the module's description; no default, since a wrong sign mirrors the scene.

    Returns
    -------
    complex128, shape (n_freq, order + 1)

    Raises
    ------
    InputError
        Negative order or wavenumber, radius not positive, anything not finite, unknown convention.
    """
    n = np.arange(_checked_order(order) + 1)
    x = _checked_wavenumber(wavenumber, radius_m)[:, None] * radius_m
    safe = np.where(x > 0, x, 1.0)
    with np.errstate(over="ignore", invalid="ignore"):
        derivative = special.spherical_jn(n, safe, derivative=True) - 1j * special.spherical_yn(
            n, safe, derivative=True
        )
        strength = _power_of_j(n - 1) / (safe**2 * derivative)
    # y_n' overflows far above n = x, where the mode is silent for any practical purpose
    strength = np.where(np.isfinite(strength), strength, 0.0)
    strength = np.where(x > 0, strength, (n == 0).astype(np.complex128))
    return _in_convention(strength, convention)


def expansion_order(max_ka: float, *, tail: float = _TAIL) -> int:
    """Smallest order after which every term of the plane-wave expansion at ``ka <= max_ka`` is below ``tail``.

    Parameters
    ----------
    max_ka : float
        Largest product of wavenumber and radius, >= 0.
    tail : float
        Largest ``(2 n + 1) |b_n|`` that may be left out, relative to a unit plane wave.

    Raises
    ------
    InputError
        ``max_ka`` is negative, not finite, or far beyond any microphone array (a wrong unit).
    """
    if not (np.isfinite(max_ka) and 0 <= max_ka < _MAX_ORDER - 50):
        raise InputError(f"ka is {max_ka}; expected 0 to {_MAX_ORDER - 50} (radius in metres, frequency in hertz?).")
    n = np.arange(_MAX_ORDER + 1)
    terms = (2 * n + 1) * np.abs(mode_strength(_MAX_ORDER, np.array([max_ka]), 1.0, convention="fft")[0])
    return int(np.flatnonzero(terms >= tail).max())


def steering(
    azimuth_deg: npt.ArrayLike,
    elevation_deg: npt.ArrayLike,
    freq_hz: npt.ArrayLike,
    *,
    radius_m: float = EM32_RADIUS_M,
    capsules_deg: tuple[npt.ArrayLike, npt.ArrayLike] | None = None,
    order: int | None = None,
    speed_of_sound_m_s: float = SPEED_OF_SOUND_M_S,
    convention: Convention = "visibility",
) -> ComplexArray:
    """Pressure at the capsules of a unit plane wave arriving from each direction.

    Parameters
    ----------
    azimuth_deg, elevation_deg : array_like of float, shape (n_directions,)
        Where the wave comes from, degrees (scalars give one direction).
    freq_hz : array_like of float, shape (n_freq,)
        Frequencies in hertz, >= 0.
    radius_m : float
        Radius of the rigid sphere in metres.
    capsules_deg : pair of array_like, optional
        Azimuth and elevation of the capsules in degrees; the 32 of the Eigenmike if not given.
    order : int, optional
        Highest order of the expansion; chosen by :func:`expansion_order` if not given.
    speed_of_sound_m_s : float
        In metres per second.
    convention : {"visibility", "fft"}
        ``"visibility"`` (default) agrees with LAM's steering matrix and with ``S = conj(x) x^T``; ``"fft"``, its
        conjugate, is the transfer function to multiply spectra by. See the module's description.

    Returns
    -------
    complex128, shape (n_freq, n_capsules, n_directions)

    Raises
    ------
    InputError
        Shapes that do not fit, values that are not finite, an unknown convention.
    """
    k = _wavenumber(freq_hz, speed_of_sound_m_s)
    cosine = _cosines(azimuth_deg, elevation_deg, capsules_deg)
    if order is None:
        order = expansion_order(float(k.max(initial=0.0)) * _checked_radius(radius_m))
    strength = mode_strength(order, k, radius_m, convention=convention)
    return _legendre_sum(strength, cosine)


def diffuse_coherence(
    freq_hz: npt.ArrayLike,
    *,
    radius_m: float = EM32_RADIUS_M,
    capsules_deg: tuple[npt.ArrayLike, npt.ArrayLike] | None = None,
    speed_of_sound_m_s: float = SPEED_OF_SOUND_M_S,
) -> FloatArray:
    """Covariance of the capsules in an isotropic diffuse field of unit mean square pressure (without the sphere).

    The mean of ``q q^H`` over all directions, by the addition theorem ``sum_n (2 n + 1) |b_n|^2 P_n(cos theta_ij)``:
    real and symmetric, so that no convention is needed.

    Parameters
    ----------
    freq_hz, radius_m, capsules_deg, speed_of_sound_m_s
        As in :func:`steering`.

    Returns
    -------
    float64, shape (n_freq, n_capsules, n_capsules)
        Positive semidefinite.
    """
    k = _wavenumber(freq_hz, speed_of_sound_m_s)
    capsules = em32_capsules_deg() if capsules_deg is None else capsules_deg
    cosine = _cosines(capsules[0], capsules[1], capsules)
    order = expansion_order(float(k.max(initial=0.0)) * _checked_radius(radius_m))
    power = np.abs(mode_strength(order, k, radius_m, convention="fft")) ** 2
    covariance = _legendre_sum(power.astype(np.complex128), cosine).real
    return 0.5 * (covariance + covariance.swapaxes(-1, -2))


def sh_matrix(
    order: int,
    azimuth_deg: npt.ArrayLike,
    elevation_deg: npt.ArrayLike,
    *,
    normalisation: Normalisation = "orthonormal",
) -> FloatArray:
    """Real spherical harmonics of directions, in ACN order, without the Condon-Shortley phase.

    Parameters
    ----------
    order : int
        Highest order, >= 0.
    azimuth_deg, elevation_deg : array_like of float, shape (n_directions,)
        Degrees.
    normalisation : {"orthonormal", "n3d", "sn3d"}
        ``"orthonormal"``: the square integrates to 1 over the sphere; ``"n3d"``: mean square 1 (times sqrt(4 pi));
        ``"sn3d"``: N3D divided by sqrt(2 n + 1), the one of the four-channel FOA files (W, Y, Z, X).

    Returns
    -------
    float64, shape (n_directions, (order + 1) ** 2)
        Column ``n^2 + n + m`` holds order n and degree m.

    Raises
    ------
    InputError
        Negative order, directions that are not finite or of different shapes, unknown normalisation.
    """
    _checked_order(order)
    azimuth, elevation = _directions(azimuth_deg, elevation_deg)
    if normalisation not in ("orthonormal", "n3d", "sn3d"):
        raise InputError(f"normalisation is {normalisation!r}; expected 'orthonormal', 'n3d' or 'sn3d'.")
    sine, cosine = np.sin(np.deg2rad(elevation)), np.cos(np.deg2rad(elevation))
    azimuth_rad = np.deg2rad(azimuth)
    result = np.empty((azimuth.size, (order + 1) ** 2))
    # fully normalised associated Legendre functions by the three-term recurrence in n, which is stable to orders of
    # hundreds; the diagonal P_mm starts each degree
    diagonal = np.full(azimuth.size, np.sqrt(1.0 / (4.0 * np.pi)))
    for m in range(order + 1):
        if m > 0:
            diagonal = diagonal * cosine * np.sqrt((2 * m + 1) / (2 * m))
        before, current = np.zeros_like(diagonal), diagonal
        for n in range(m, order + 1):
            if n > m:
                a = np.sqrt((4 * n * n - 1) / (n * n - m * m))
                b = np.sqrt(((n - 1) ** 2 - m * m) / (4 * (n - 1) ** 2 - 1)) if n > m + 1 else 0.0
                before, current = current, a * (sine * current - b * before)
            scale = 1.0
            if normalisation != "orthonormal":
                scale = np.sqrt(4 * np.pi / (1 if normalisation == "n3d" else 2 * n + 1))
            if m == 0:
                result[:, n * n + n] = scale * current
            else:
                result[:, n * n + n + m] = scale * np.sqrt(2.0) * current * np.cos(m * azimuth_rad)
                result[:, n * n + n - m] = scale * np.sqrt(2.0) * current * np.sin(m * azimuth_rad)
    return result


def _legendre_sum(strength: ComplexArray, cosine: FloatArray) -> ComplexArray:
    """``sum_n (2 n + 1) strength[f, n] P_n(cosine)``, shape (n_freq,) + cosine.shape."""
    n_orders = strength.shape[1]
    flat = cosine.ravel()
    legendre = np.empty((n_orders, flat.size))
    legendre[0] = 1.0
    if n_orders > 1:
        legendre[1] = flat
    for n in range(1, n_orders - 1):
        legendre[n + 1] = ((2 * n + 1) * flat * legendre[n] - n * legendre[n - 1]) / (n + 1)
    weighted = strength * (2 * np.arange(n_orders) + 1)
    # two real products instead of one complex product with a complex copy of the Legendre table
    summed = weighted.real @ legendre + 1j * (weighted.imag @ legendre)
    return summed.reshape(strength.shape[0], *cosine.shape)


def _cosines(
    azimuth_deg: npt.ArrayLike,
    elevation_deg: npt.ArrayLike,
    capsules_deg: tuple[npt.ArrayLike, npt.ArrayLike] | None,
) -> FloatArray:
    """Cosines of the angles between capsules (rows) and directions (columns)."""
    directions = directions_to_vectors(*_directions(azimuth_deg, elevation_deg))
    capsules = directions_to_vectors(*_directions(*(em32_capsules_deg() if capsules_deg is None else capsules_deg)))
    return np.clip(capsules @ directions.T, -1.0, 1.0)


def _directions(azimuth_deg: npt.ArrayLike, elevation_deg: npt.ArrayLike) -> tuple[FloatArray, FloatArray]:
    azimuth = np.atleast_1d(np.asarray(azimuth_deg, dtype=np.float64))
    elevation = np.atleast_1d(np.asarray(elevation_deg, dtype=np.float64))
    if azimuth.ndim != 1 or azimuth.shape != elevation.shape:
        raise InputError(
            f"Azimuth has shape {azimuth.shape} and elevation {elevation.shape}; give two lists of equal length."
        )
    if not (np.isfinite(azimuth).all() and np.isfinite(elevation).all()):
        raise InputError("A direction is NaN or infinite; give degrees.")
    return azimuth, elevation


def _wavenumber(freq_hz: npt.ArrayLike, speed_of_sound_m_s: float) -> FloatArray:
    if not (np.isfinite(speed_of_sound_m_s) and speed_of_sound_m_s > 0):
        raise InputError(f"The speed of sound is {speed_of_sound_m_s}; expected metres per second, above 0.")
    frequency = np.atleast_1d(np.asarray(freq_hz, dtype=np.float64))
    if frequency.ndim != 1 or not np.isfinite(frequency).all() or (frequency < 0).any():
        raise InputError("Frequencies must be a list of finite hertz values, none below 0.")
    return 2.0 * np.pi * frequency / speed_of_sound_m_s


def _checked_wavenumber(wavenumber: npt.ArrayLike, radius_m: float) -> FloatArray:
    k = np.atleast_1d(np.asarray(wavenumber, dtype=np.float64))
    if k.ndim != 1 or not np.isfinite(k).all() or (k < 0).any():
        raise InputError("Wavenumbers must be a list of finite values in rad/m, none below 0.")
    _checked_radius(radius_m)
    return k


def _checked_radius(radius_m: float) -> float:
    if not (np.isfinite(radius_m) and radius_m > 0):
        raise InputError(f"radius_m is {radius_m}; expected metres, above 0.")
    return float(radius_m)


def _checked_order(order: int) -> int:
    if not 0 <= order <= _MAX_ORDER:
        raise InputError(f"order is {order}; expected 0 to {_MAX_ORDER}.")
    return int(order)


def _power_of_j(n: npt.NDArray[np.int64]) -> ComplexArray:
    """Exact ``j ** n`` (the complex power function leaves 1e-16 in the part that is zero)."""
    return np.array([1, 1j, -1, -1j], dtype=np.complex128)[n % 4]


def _in_convention(values: ComplexArray, convention: Convention) -> ComplexArray:
    if convention == "fft":
        return values
    if convention == "visibility":
        return np.conj(values)
    raise InputError(f"convention is {convention!r}; expected 'visibility' or 'fft'.")
