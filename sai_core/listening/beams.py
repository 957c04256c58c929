"""Weights with which the harmonics of a recording become the sound of one direction.

A beam of order N is ``sum_n g_n (2 n + 1) P_n(cos theta) / sum_n g_n (2 n + 1)``: 1 in its direction, whatever the
kind, so that the sound that is aimed at keeps its level when beams are changed, or when the omnidirectional channel W
(the beam of order 0) is heard instead.

References
----------
J. Daniel, "Representation de champs acoustiques" (thesis, Paris 6, 2001), section 3.3 (max-rE, in-phase); F. Zotter and
M. Frank, "Ambisonics" (2019), chapter 4.
"""

from __future__ import annotations

from functools import lru_cache
from math import factorial
from typing import Final, Literal, get_args

import numpy as np
import numpy.typing as npt
from scipy import special

from sai_core.acoustics import rigid_sphere
from sai_core.errors import check_known
from sai_core.listening.encoding import Array, Encoder, design_frequencies, orders_of

FloatArray = npt.NDArray[np.float64]
Beam = Literal["max-re", "cardioid", "hypercardioid"]

BEAMS: Final[tuple[Beam, ...]] = get_args(Beam)

_ADAPTIVE_LOADING: Final[float] = 0.3
"""Diffuse sound that an adaptive beam reckons with, against the power of W: -18 dB without a room, 2 dB of its own
reflections lost in one (``docs/listening.md``)."""

_MOST_EQUALISED: Final[float] = 10.0 ** (25.0 / 20.0)
"""A beam of order 4 that has only W left at low frequencies is raised by 22 dB; more is nothing but noise."""


def order_weights(beam: Beam, order: int) -> FloatArray:
    """Weight ``g_n`` of each order, shape (order + 1,), ``g_0 = 1``.

    Parameters
    ----------
    beam : {"max-re", "cardioid", "hypercardioid"}
        Most energy in front (no back lobe worth the name); ``((1 + cos) / 2)^N``, without any side lobe; least diffuse
        sound, with the largest side lobes.
    order : int

    Raises
    ------
    InputError
        An unknown beam.
    """
    check_known("Beam", beam, BEAMS)
    n = np.arange(order + 1)
    if beam == "hypercardioid":
        return np.ones(order + 1)
    if beam == "cardioid":
        top = factorial(order) * factorial(order + 1)
        return np.array([top / (factorial(order + k + 1) * factorial(order - k)) for k in n.tolist()])
    # the largest root of P_(N+1) is the longest energy vector of order N
    longest = float(np.max(special.roots_legendre(order + 1)[0]))
    return np.asarray(special.eval_legendre(n, longest), dtype=np.float64)


def beam_weights(beam: Beam, order: int, azimuth_deg: npt.ArrayLike, elevation_deg: npt.ArrayLike) -> FloatArray:
    """Weights of SN3D harmonics for directions, shape (n_directions, (order + 1)^2).

    ``harmonics @ weights`` is the beam's signal; a plane wave from the direction itself has gain 1.
    """
    per_order = order_weights(beam, order) * (2 * np.arange(order + 1) + 1)
    harmonics = rigid_sphere.sh_matrix(order, azimuth_deg, elevation_deg, normalisation="sn3d")
    return harmonics * (per_order / per_order.sum())[orders_of(order)]


def adaptive_weights(covariance: FloatArray, azimuth_deg: float, elevation_deg: float) -> FloatArray:
    """Weights that pass a direction unchanged and let through least of what sounded: minimum variance, one gain each.

    The same gains at all frequencies, as of the other beams, so that a player can steer them; the zeros go to where
    the sound comes from.

    Parameters
    ----------
    covariance : float, shape (harmonics, harmonics)
        Of SN3D harmonics over some time.
    azimuth_deg, elevation_deg : float

    Returns
    -------
    float64, shape (harmonics,)
    """
    order = int(np.sqrt(len(covariance))) - 1
    aim = rigid_sphere.sh_matrix(order, azimuth_deg, elevation_deg, normalisation="sn3d")[0]
    # in a diffuse field SN3D harmonics have the mean square 1 / (2 n + 1)
    power = max(float(covariance[0, 0]), 1e-20)
    loaded = covariance / power + np.diag(_ADAPTIVE_LOADING / (2.0 * orders_of(order) + 1.0))
    weights = np.linalg.solve(loaded, aim)
    return np.asarray(weights / (weights @ aim))


def half_width_deg(beam: Beam, order: int) -> float:
    """Angle from a beam's direction at which it has fallen by 3 dB; 180 for order 0."""
    angle = np.linspace(0.0, 180.0, 18_001)
    per_order = order_weights(beam, order) * (2 * np.arange(order + 1) + 1)
    pattern = np.polynomial.legendre.legval(np.cos(np.deg2rad(angle)), per_order / per_order.sum())
    fallen = np.flatnonzero(pattern < np.sqrt(0.5))
    return float(angle[fallen[0]]) if fallen.size else 180.0


def beam_encoder(array: Array, beam: Beam, order: int | None = None) -> Encoder:
    """Encoder whose harmonics, weighted by :func:`beam_weights`, are flat in the beam's own direction.

    What the orders that fade out at low frequencies (:meth:`Encoder.order_gain`) leave missing in the sum is made up by
    one gain for all harmonics, the same for all directions: at its lowest frequencies a beam is omnidirectional.

    Raises
    ------
    InputError
        An unknown beam, or an order that the array does not carry.
    """
    plain = Encoder(array, order)
    if array == "foa":
        return plain
    return Encoder(array, plain.order, emphasis=emphasis(array, beam, plain.order))


def emphasis(array: Array, beam: Beam, order: int) -> FloatArray:
    """Gain of a beam's harmonics at :func:`~sai_core.listening.encoding.design_frequencies`: see :func:`beam_encoder`.

    Ones for FOA, which fades out nowhere.
    """
    weights = order_weights(beam, order) * (2 * np.arange(order + 1) + 1)
    gain = _order_gain(array, order) @ (weights / weights.sum())
    return np.asarray(1.0 / np.clip(gain, 1.0 / _MOST_EQUALISED, None))


@lru_cache(maxsize=8)
def _order_gain(array: Array, order: int) -> FloatArray:
    return Encoder(array, order).order_gain(design_frequencies())
