"""Steered response maps: what a plain beamformer hears from every lattice direction, without any learned weight.

``b_p = a_p^H S a_p / n^2`` for the steering vector ``a_p`` of lattice point ``p`` and ``n`` channels. With visibilities
``S = conj(x) x^T`` and the steering matrix below, the map peaks where the sound comes from (with its complex
conjugate it peaks on the opposite side). A plane wave of mean square ``p`` at every capsule gives ``p`` in its
direction; with matrices divided by their largest eigenvalue the map is at most ``1 / n``.

Steering matrices
-----------------
``plane_wave_steering`` is LAM's: capsules in free space, one wavelength for all bands, that of the highest band centre
plus 500 Hz. Any other matrix (channels, 484), or one per band (9, channels, 484), may be given instead, e.g. the rigid
sphere's (``rigid_sphere.steering``) or :func:`first_order_steering` for FOA.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import torch

from sai_core.acoustics.hermitian import pack, quadratic_forms
from sai_core.acoustics.visibility import FEATURE_CENTRES_HZ
from sai_core.errors import InputError
from sai_core.geometry import (
    UPLAM_CAPSULES,
    directions_to_vectors,
    em32_positions_m,
    fibonacci_lattice_deg,
)

ComplexArray = npt.NDArray[np.complexfloating[Any, Any]]

STEERING_SPEED_OF_SOUND_M_S: Final[float] = 340.5
"""Speed of sound of the official steering matrix in m/s (scipy.constants.speed_of_sound)."""

STEERING_WAVELENGTH_M: Final[float] = STEERING_SPEED_OF_SOUND_M_S / (FEATURE_CENTRES_HZ[-1] + 500.0)
"""The official steering matrix has one wavelength for all bands, in metres."""


@lru_cache(maxsize=1)
def _lattice_vectors() -> npt.NDArray[np.float64]:
    return directions_to_vectors(*fibonacci_lattice_deg())


def plane_wave_steering(
    capsules: tuple[int, ...] | None = None, *, wavelength_m: float = STEERING_WAVELENGTH_M
) -> npt.NDArray[np.complex128]:
    """Steering matrix of LAM: ``exp(-1j 2 pi / wavelength * xyz . u)``.

    Parameters
    ----------
    capsules : tuple of int, optional
        Zero-based Eigenmike capsules; all 32 if not given.
    wavelength_m : float
        In metres; the default is the official one.

    Returns
    -------
    complex128, shape (capsules, 484)
        Unit entries; columns in lattice order.
    """
    positions = em32_positions_m()
    if capsules is not None:
        positions = positions[list(capsules)]
    return np.exp(-2j * np.pi / wavelength_m * (positions @ _lattice_vectors().T))


def first_order_steering() -> npt.NDArray[np.complex128]:
    """Steering matrix for FOA (ACN order W, Y, Z, X; SN3D), shape (4, 484), frequency-independent.

    The columns are ``(1, 3 y, 3 z, 3 x)``, the beam of maximum directivity: a plane wave ``s (1, y, z, x)`` gives
    ``4 s`` in its own direction, so that :func:`steered_response` gives its mean square there.
    """
    x, y, z = _lattice_vectors().T
    return np.stack([np.ones_like(x), 3 * y, 3 * z, 3 * x]).astype(np.complex128)


def steered_response(matrices: torch.Tensor, steering: npt.ArrayLike | None = None) -> torch.Tensor:
    """Map of ``a^H S a / n^2`` over the lattice.

    Parameters
    ----------
    matrices : complex tensor, shape (frames, bands, n, n)
        Visibilities; Hermitian.
    steering : complex array_like, shape (n, points) or (bands, n, points), optional
        LAM's plane-wave matrix for 4 (UpLAM capsules) or 32 channels if not given.

    Returns
    -------
    real tensor, shape (frames, bands, points)
        Linear, >= 0 for positive semi-definite matrices.

    Raises
    ------
    InputError
        Shapes that do not go together.
    """
    if matrices.ndim != 4 or matrices.shape[-1] != matrices.shape[-2] or not matrices.is_complex():
        raise InputError(f"Visibilities are {tuple(matrices.shape)}; expected complex (frames, bands, n, n).")
    channels, bands = matrices.shape[-1], matrices.shape[1]
    if steering is None:
        if channels not in (4, 32):
            raise InputError(f"There is no steering matrix for {channels} channels; give one.")
        forms = _plane_wave_forms(channels, matrices.real.dtype, str(matrices.device))
    else:
        vectors = np.asarray(steering, dtype=np.complex128)
        if vectors.ndim not in (2, 3) or vectors.shape[-2] != channels or vectors.shape[:-2] not in ((), (bands,)):
            raise InputError(
                f"The steering matrix has shape {vectors.shape}; expected ({channels}, points) or "
                f"({bands}, {channels}, points)."
            )
        forms = quadratic_forms(torch.tensor(vectors)).to(matrices.device, matrices.real.dtype)
    flat = pack(matrices).flatten(2)
    if forms.ndim == 2:
        response = flat @ forms
    else:
        response = torch.bmm(flat.transpose(0, 1), forms).transpose(0, 1)
    return response.clamp_min(0.0) / channels**2


@lru_cache(maxsize=8)
def _plane_wave_forms(channels: int, dtype: torch.dtype, device: str) -> torch.Tensor:
    vectors = plane_wave_steering(UPLAM_CAPSULES if channels == 4 else None)
    with torch.inference_mode(mode=False):
        return quadratic_forms(torch.tensor(vectors)).to(device, dtype)
