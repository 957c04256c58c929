"""What UpLAM is trained to reproduce: everything is computed from the 32-channel spectra of the same frame.

No direction of a source enters. From the block spectra ``x`` (snapshots, 32) of a band, with the rigid sphere's
steering vectors ``a_p`` of the lattice:

* ``beam = sum |a_p^T x|^2``: the 32-channel beamformer, which is also all that the reconstruction error needs to know
  of the 32-channel matrix. With ``S = sum conj(x) x^T``, ``|| S - A diag(l) A^H ||^2 = ||S||^2 - 2 l . beam
  + l^T G l`` with ``G_pq = |a_p^H a_q|^2``: 484 x 484 numbers a band instead of 32 x 32 matrices and their products.
* ``power = 1 / (a_p^H (S + e I)^-1 a_p)``: the minimum-variance (Capon) spectrum with a loading of ``e`` = 3 % of the
  trace, sharper than the beamformer; its unit is the power of a plane wave at one capsule. Ten snapshots make the
  matrix of rank ten, so the inverse is that of a 10 x 10 matrix (Woodbury).
* ``consensus``: the geometric mean of ``power`` over the bands. Sources are at one place in all bands, while noise,
  reflections' interference and side lobes move: on simulated rooms the strongest peak of the 32-channel map falls
  within 20 degrees more often by this mean than by the sum of beamformer maps.

The target of a band is ``power^(1 - share) consensus^share``: its own spectrum, drawn towards what the bands agree on.

Scale: the same one as the input's, so that a network that reproduces the target keeps the magnitude. The matrices
of a frame are divided by what the four-channel matrices are divided by, and multiplied by 4: one plane wave alone
then peaks at about 1.

References
----------
J. Capon, Proc. IEEE 57 (1969); decoder and self-supervision: Roman, Roman, Bello, WASPAA 2025 (LAM).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import torch

from sai_core.acoustics import rigid_sphere
from sai_core.geometry import UPLAM_CAPSULES, fibonacci_lattice_deg

LOADING: Final[float] = 0.03
"""Diagonal loading as a share of the trace; 0.003 to 0.1 localise alike on simulated rooms (see docs/uplam.md)."""

_TINY: Final[float] = 1e-20


@dataclass(frozen=True)
class Targets:
    """Network input and what it must reproduce, for a batch of frames.

    Attributes
    ----------
    inputs : complex64, shape (frames, bands, 4, 4)
        Normalised visibilities of the UpLAM capsules.
    maps : float32, shape (frames, bands, 484)
        The sharp 32-channel map, on the input's scale.
    beams : float32, shape (frames, bands, 484)
        32-channel beamformer ``a^H S a``, on the input's scale.
    energy : float32, shape (frames, bands)
        ``||S||^2`` (Frobenius) of the 32-channel matrix, on the input's scale.
    """

    inputs: torch.Tensor
    maps: torch.Tensor
    beams: torch.Tensor
    energy: torch.Tensor


class TargetMaker:
    """Holds the steering vectors of the lattice for the frequencies of the spectra.

    Parameters
    ----------
    frequency_hz : array, shape (bands * bins,)
        Of the spectra's sub-bands; bins of one band are neighbours.
    consensus_share : float
        In [0, 1], see the module's description.
    """

    def __init__(self, frequency_hz: np.ndarray, *, consensus_share: float = 0.67) -> None:
        lattice = fibonacci_lattice_deg()
        steering = rigid_sphere.steering(*lattice, frequency_hz)
        per_band = max(1, len(frequency_hz) // 9)
        # one steering vector a band: that of its middle bin (the same as the network can only have)
        self.steering = torch.tensor(steering[per_band // 2 :: per_band]).to(torch.complex64)
        self.consensus_share = consensus_share
        a = torch.tensor(steering[per_band // 2 :: per_band])
        self.gram = (a.mH @ a).abs().square().to(torch.float32)  # (bands, 484, 484)
        self._length = a.abs().square().sum(dim=1).to(torch.float32)  # (bands, 484)

    def __call__(self, spectra: torch.Tensor, *, per_frame_scale: torch.Tensor) -> Targets:
        """Make inputs and targets.

        Parameters
        ----------
        spectra : complex64, shape (frames, bands, snapshots, 32)
        per_frame_scale : bool tensor, shape (frames,)
            Where true, one scale for all bands (the largest eigenvalue of any band), else one per band.
        """
        four = spectra[..., list(UPLAM_CAPSULES)]
        inputs = four.mH @ four
        level = torch.linalg.eigvalsh(inputs)[..., -1].clamp_min(0.0)
        scale = torch.where(per_frame_scale[:, None], level.amax(dim=1, keepdim=True), level)
        inverse = torch.where(scale > _TINY, 1.0 / scale.clamp_min(_TINY), torch.zeros_like(scale))
        x = spectra * (2.0 * inverse.sqrt())[..., None, None]
        answers = x @ self.steering
        beams = _squared(answers).sum(dim=-2)
        small = x @ x.mH
        trace = small.diagonal(dim1=-2, dim2=-1).real.sum(-1)
        loading = LOADING * trace + 1e-12
        eye = torch.eye(small.shape[-1], dtype=small.dtype)
        factor = torch.linalg.cholesky(small + loading[..., None, None] * eye)
        explained = _squared(torch.linalg.solve_triangular(factor, answers, upper=False)).sum(dim=-2)
        power = loading[..., None] / (self._length - explained).clamp_min(1e-4)
        consensus = power.clamp_min(1e-12).log().mean(dim=1, keepdim=True).exp()
        maps = power.pow(1.0 - self.consensus_share) * consensus.pow(self.consensus_share)
        silent = (trace <= 1e-12)[..., None]
        return Targets(
            inputs=inputs * inverse[..., None, None],
            maps=torch.where(silent, torch.zeros_like(maps), maps),
            beams=beams,
            energy=_squared(small).sum(dim=(-1, -2)),
        )

    def reconstruction_error(self, latent: torch.Tensor, targets: Targets) -> torch.Tensor:
        """Share of ``||S||^2`` that ``c A diag(latent) A^H`` leaves with the best ``c`` of each frame and band.

        ``1 - (latent . beam)^2 / (||S||^2 latent^T G latent)``, in [0, 1]. The free factor ``c`` is needed because a
        map in units of power has as many points on a source as the lattice has within the beam.

        Parameters
        ----------
        latent : float32, shape (frames, bands, 484)

        Returns
        -------
        float32, shape (frames, bands)
        """
        quadratic = (torch.bmm(latent.transpose(0, 1), self.gram).transpose(0, 1) * latent).sum(dim=-1)
        overlap = (latent * targets.beams).sum(dim=-1)
        return 1.0 - overlap.square() / (targets.energy * quadratic).clamp_min(1e-9)


def _squared(values: torch.Tensor) -> torch.Tensor:
    """``|values|^2`` without the square root and its square that ``abs`` would cost."""
    pairs = torch.view_as_real(values)
    return pairs.square().sum(dim=-1)
