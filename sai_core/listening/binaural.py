"""Two ears in an encoded scene: rotation by the head, and a rigid sphere with an ear on each side.

The pressure at an ear on a rigid sphere is, for a field given by its harmonics ``s_nm`` (N3D), ``sum_nm b_n(k r)
Y_nm(ear) s_nm``: one filter per order, without measured responses of anybody. Orders that a recording does not carry
are missing at high frequencies (from about 700 Hz with order 1, 2.5 kHz with order 4): what that takes away in power,
averaged over all directions, one filter for both ears puts back.

The head turns, not the scene: yaw to the left, then pitch upwards, then roll to the right, in degrees, as the view
does.

References
----------
R. O. Duda and W. L. Martens, "Range dependence of the response of a spherical head model", JASA 104 (1998); ears at
100 degrees: J. Blauert, "Spatial Hearing" (1997); equalisation of truncated orders: Z. Ben-Hur et al., JASA 141 (2017).
"""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

from sai_core.acoustics import rigid_sphere
from sai_core.errors import InputError
from sai_core.geometry import directions_to_vectors, fibonacci_lattice_deg, vectors_to_directions
from sai_core.listening.encoding import Encoder, WindowFilter, design_frequencies, filters_of, orders_of

FloatArray = npt.NDArray[np.float64]
ComplexArray = npt.NDArray[np.complex128]

HEAD_RADIUS_M: Final[float] = 0.0875
EAR_AZIMUTH_DEG: Final[float] = 100.0
"""Left ear; the right one is at the opposite azimuth, both at elevation 0."""

_MOST_MADE_UP: Final[float] = 10.0 ** (12.0 / 20.0)


def head_matrix(yaw_deg: float, pitch_deg: float, roll_deg: float = 0.0) -> FloatArray:
    """Axes of a turned head as columns (ahead, left, up) in the array's frame, shape (3, 3).

    Raises
    ------
    InputError
        An angle that is not finite.
    """
    if not np.isfinite([yaw_deg, pitch_deg, roll_deg]).all():
        raise InputError(f"Yaw, pitch and roll are {yaw_deg}, {pitch_deg} and {roll_deg}; give degrees.")
    yaw, pitch, roll = np.deg2rad([yaw_deg, pitch_deg, roll_deg])
    turn = np.array([[np.cos(yaw), -np.sin(yaw), 0], [np.sin(yaw), np.cos(yaw), 0], [0, 0, 1]])
    nod = np.array([[np.cos(pitch), 0, -np.sin(pitch)], [0, 1, 0], [np.sin(pitch), 0, np.cos(pitch)]])
    # to the right: the left ear rises
    lean = np.array([[1, 0, 0], [0, np.cos(roll), -np.sin(roll)], [0, np.sin(roll), np.cos(roll)]])
    return turn @ nod @ lean


def rotation(order: int, yaw_deg: float, pitch_deg: float, roll_deg: float = 0.0) -> FloatArray:
    """Matrix that turns SN3D harmonics into those that a turned head hears, shape (harmonics, harmonics).

    ``turned = matrix @ harmonics``; a source at azimuth ``yaw_deg`` and elevation ``pitch_deg`` is then straight ahead.
    """
    azimuth, elevation = fibonacci_lattice_deg()
    seen = directions_to_vectors(azimuth, elevation) @ head_matrix(yaw_deg, pitch_deg, roll_deg)
    before = rigid_sphere.sh_matrix(order, azimuth, elevation, normalisation="sn3d")
    after = rigid_sphere.sh_matrix(order, *vectors_to_directions(seen), normalisation="sn3d")
    # harmonics of one order are turned among themselves: 484 directions give them exactly
    matrix = np.linalg.lstsq(before, after, rcond=None)[0].T
    orders = orders_of(order)
    return np.where(orders[:, None] == orders, matrix, 0.0)


def ear_response(order: int) -> ComplexArray:
    """From N3D harmonics to the left and the right ear, at :func:`design_frequencies`: (n_freq, 2, harmonics)."""
    wavenumber = 2 * np.pi * design_frequencies() / rigid_sphere.SPEED_OF_SOUND_M_S
    full = rigid_sphere.expansion_order(float(wavenumber[-1]) * HEAD_RADIUS_M, tail=1e-6)
    strength = rigid_sphere.mode_strength(full, wavenumber, HEAD_RADIUS_M, convention="fft")
    power = (2 * np.arange(full + 1) + 1) * np.abs(strength) ** 2
    lost = np.sqrt(power.sum(axis=1) / power[:, : order + 1].sum(axis=1))
    ears = np.array([EAR_AZIMUTH_DEG, -EAR_AZIMUTH_DEG])
    harmonics = rigid_sphere.sh_matrix(order, ears, np.zeros(2), normalisation="n3d")
    return strength[:, None, orders_of(order)] * harmonics * np.minimum(lost, _MOST_MADE_UP)[:, None, None]


def ears(encoder: Encoder, *, yaw_deg: float = 0.0, pitch_deg: float = 0.0, roll_deg: float = 0.0) -> WindowFilter:
    """Filter from the channels of a recording to the left and the right ear of a head in its place.

    Encoding, turning and listening are one filter of :data:`~sai_core.listening.encoding.TAPS` taps.

    Parameters
    ----------
    encoder : Encoder
        Of the recording.
    yaw_deg, pitch_deg, roll_deg : float
        Where the head looks.
    """
    turned = rotation(encoder.order, yaw_deg, pitch_deg, roll_deg)
    # rotation is within an order: N3D and SN3D have the same matrix
    return WindowFilter(filters_of(ear_response(encoder.order) @ turned @ encoder.matrix()))
