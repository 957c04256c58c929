"""The field decoder: from what four capsules hear to the intensity field that labels are made from.

A label is a known function of one field of 484 intensities a frame (:mod:`sai_core.labelling`) and of a source's
direction. This network predicts the field, which all sources of a frame share; the code that makes labels then forms
each region. What it learns from is what the label recipe gives for 32 channels, so that no label is needed.

In
    Matrices of four capsules, three sets of nine bands: the official recipe at the *label* bands (1500, 1875 ...
    4500 Hz), the report's recipe and precedence at the feature bands
    (:mod:`sai_core.acoustics.visibility`). Of each: power of the beamformer and of minimum variance with the exact
    steering of a rigid sphere at every lattice point, eigenvalues, and levels against the frame's other bands and
    against the frame before. All of it is the same for a recording at any level.
Out
    Natural logarithm of the intensity at the lattice points, at least ``ln 1e-5`` (a quarter of the threshold of
    labels).

Layers look at a point, at the whole sphere through a filter of spherical harmonics that is the same in all directions
(one gain a degree and channel), and at the frames before and after. The idea of the filter: Esteves et al., ECCV 2018.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sai_core.acoustics.audio_input import AudioInput, held_bands
from sai_core.acoustics.hermitian import pack, quadratic_forms, unpack
from sai_core.acoustics.rigid_sphere import sh_matrix, steering
from sai_core.acoustics.visibility import (
    FEATURE_CENTRES_HZ,
    LABEL_CENTRES_HZ,
    N_BANDS,
    Recipe,
    halo_frames,
    visibility_tensors,
)
from sai_core.checkpoints import load_into, read_config, read_state_dict, save_network
from sai_core.detector.config import FieldConfig
from sai_core.geometry import N_LATTICE, SAMPLES_PER_FRAME, fibonacci_lattice_deg, uplam_capsules_deg
from sai_core.installation import asset

FloatArray = npt.NDArray[np.float32]

SHIPPED_FIELD: Final[Path] = asset("weights", "field.safetensors")
"""Weights trained by this project on simulated rooms."""

_MARK: Final[str] = "sai_field"
"""Entry of a file's metadata that holds the configuration."""

LEAST_INTENSITY: Final[float] = 1e-5
"""Intensities below count as this: a quarter of the threshold of labels, so that nothing that is seen changes."""

_SETS: Final[tuple[tuple[Recipe, tuple[float, ...]], ...]] = (
    ("official", LABEL_CENTRES_HZ),
    ("report", FEATURE_CENTRES_HZ),
    ("precedence", FEATURE_CENTRES_HZ),
)
N_MATRICES: Final[int] = N_BANDS * len(_SETS)
"""Matrices of a frame: three sets of nine bands."""

_LOADING: Final[float] = 0.01
"""Added to a matrix of trace 1, a quarter on each place of the diagonal, before it is inverted."""

_PLACE_DEGREE: Final[int] = 3
"""Spherical harmonics that tell a point where it is: four capsules do not hear all directions alike."""


def field_matrices(audio: Tensor, *, before: int = 0, after: int = 0, file_rate_hz: float | None = None) -> Tensor:
    """Matrices of four capsules that the network wants.

    Parameters
    ----------
    audio : float Tensor, shape (samples, 4)
        24 kHz, the four UpLAM capsules.
    before, after : int
        Frames at the beginning and at the end that are only heard (precedence needs those around a frame).
    file_rate_hz : float, optional
        Rate that the recording was made at: bands that it does not hold are zero.

    Returns
    -------
    float Tensor, shape (frames, 27, 16)
        Hermitian matrices, packed (:mod:`sai_core.acoustics.hermitian`), mean-square sample values.
    """
    parts = []
    for recipe, centres in _SETS:
        held = None if file_rate_hz is None else held_bands(file_rate_hz, centres)
        matrices = visibility_tensors(audio, recipe=recipe, normalise="none", centres_hz=centres, held=held).matrices
        parts.append(pack(matrices[before : len(matrices) - after]))
    return torch.cat(parts, dim=1).flatten(-2)


@lru_cache(maxsize=1)
def _forms() -> npt.NDArray[np.float64]:
    """Quadratic forms of unit steering vectors, shape (27, 16, 484)."""
    forms = []
    for _, centres in _SETS:
        vectors = steering(*fibonacci_lattice_deg(), centres, capsules_deg=uplam_capsules_deg())
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        forms.append(quadratic_forms(torch.from_numpy(vectors)).numpy())
    return np.concatenate(forms)


def _halves(logarithm: Tensor) -> Tensor:
    # from about -5..0 to about -1..1
    return logarithm * 0.4 + 1.0


class FieldFeatures(nn.Module):
    """What the network sees, from packed matrices; nothing in it is learned.

    ``points`` counts the features of a lattice point, ``frame`` those of a frame.
    """

    forms: Tensor
    place: Tensor

    points: Final[int] = 2 * N_MATRICES + 2 * N_BANDS + (_PLACE_DEGREE + 1) ** 2
    frame: Final[int] = 4 * N_MATRICES + N_MATRICES + 2 * N_BANDS

    def __init__(self) -> None:
        super().__init__()
        place = sh_matrix(_PLACE_DEGREE, *fibonacci_lattice_deg(), normalisation="n3d")
        self.register_buffer("forms", torch.from_numpy(_forms()).float(), persistent=False)
        self.register_buffer("place", torch.from_numpy(place).float(), persistent=False)

    def forward(self, packed: Tensor) -> tuple[Tensor, Tensor]:
        """Features of frames in a row.

        Parameters
        ----------
        packed : float Tensor, shape (batch, frames, 27, 16)
            From :func:`field_matrices`.

        Returns
        -------
        points : float Tensor, shape (484, batch, frames, features)
        frame : float Tensor, shape (batch, frames, features)
        """
        batch, frames = packed.shape[:2]
        square = packed.reshape(batch * frames, N_MATRICES, 4, 4)
        trace = square.diagonal(dim1=-2, dim2=-1).sum(-1)
        sounds = trace > 0
        unit = square / torch.where(sounds, trace, torch.ones_like(trace))[..., None, None]
        loaded = unpack(unit) + (0.25 * _LOADING) * torch.eye(4, device=packed.device)
        inverse = pack(torch.linalg.inv(loaded))
        both = torch.stack([unit, inverse]).flatten(-2)
        power, resistance = torch.einsum("knbi,bip->kpnb", both, self.forms)
        beamformer = _halves((power.clamp_min(0.0) + 0.005).log())
        variance = _halves(-resistance.clamp_min(1.0).log())
        # the label is a median over bands: the sorted values of a point say more of it than nine in a row
        ordered = [x[..., :N_BANDS].sort(dim=-1).values for x in (beamformer, variance)]
        place = self.place[:, None].expand(-1, batch * frames, -1)
        points = torch.cat([beamformer, variance, *ordered, place], dim=-1)
        shares = torch.linalg.eigvalsh(loaded).clamp_min(1e-6).log()
        level = torch.where(sounds, trace, torch.full_like(trace, 1e-12)).clamp_min(1e-12).log()
        in_sets = level.unflatten(-1, (len(_SETS), N_BANDS))
        relative = (in_sets - in_sets.amax(dim=-1, keepdim=True)).flatten(-2)
        line = level.reshape(batch, frames, N_MATRICES)
        rise = (line[:, 1:, :N_BANDS] - line[:, :-1, :N_BANDS]).clamp(-6.0, 6.0)
        rises = torch.cat([F.pad(rise, (0, 0, 1, 0)), F.pad(rise, (0, 0, 0, 1))], dim=-1)
        whole = torch.cat([_halves(shares.flatten(-2)), _halves(relative)], dim=-1).reshape(batch, frames, -1)
        return points.reshape(N_LATTICE, batch, frames, -1), torch.cat([whole, 0.4 * rises], dim=-1)


class SphereFilter(nn.Module):
    """Surroundings of each lattice point, at a scale of its own for each channel, alike in all directions.

    Parameters
    ----------
    channels : int
    degree : int
        Highest degree of spherical harmonics that is let through.
    """

    basis: Tensor
    degree_of: Tensor

    def __init__(self, channels: int, degree: int) -> None:
        super().__init__()
        basis = sh_matrix(degree, *fibonacci_lattice_deg()) * np.sqrt(4.0 * np.pi / N_LATTICE)
        self.register_buffer("basis", torch.from_numpy(basis).float(), persistent=False)
        degree_of = np.repeat(np.arange(degree + 1), 2 * np.arange(degree + 1) + 1)
        self.register_buffer("degree_of", torch.from_numpy(degree_of), persistent=False)
        # Gaussians of many widths to begin with
        width = torch.linspace(0.1, 0.6, channels)
        order = torch.arange(degree + 1)[:, None]
        self.gain = nn.Parameter(torch.exp(-0.5 * order * (order + 1) * width**2))

    def forward(self, x: Tensor) -> Tensor:
        """Same shape, (484, ..., channels)."""
        waves = (self.basis.T @ x.flatten(1)).unflatten(1, x.shape[1:])
        gain = self.gain[self.degree_of].reshape(len(self.degree_of), *([1] * (x.ndim - 2)), -1)
        return (self.basis @ (waves * gain).flatten(1)).reshape(x.shape)


class _Layer(SphereFilter):
    """A point, its surroundings at all scales, and the frames beside it."""

    def __init__(self, channels: int, degree: int) -> None:
        super().__init__(channels, degree)
        self.norm = nn.LayerNorm(channels)
        self.mix = nn.Linear(4 * channels, 2 * channels)
        self.out = nn.Linear(2 * channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        """Same shape, (484, batch, frames, channels)."""
        y = self.norm(x)
        around = super().forward(y)
        earlier = F.pad(y[:, :, :-1], (0, 0, 1, 0))
        later = F.pad(y[:, :, 1:], (0, 0, 0, 1))
        hidden: Tensor = self.out(F.gelu(self.mix(torch.cat([y, around, earlier, later], dim=-1))))
        return x + hidden


class FieldNetwork(nn.Module):
    """Log-intensity of the lattice from packed matrices.

    Parameters
    ----------
    config : FieldConfig, optional
    """

    def __init__(self, config: FieldConfig | None = None) -> None:
        super().__init__()
        self.config = config or FieldConfig()
        self.features = FieldFeatures()
        self.of_point = nn.Linear(FieldFeatures.points, self.config.channels)
        self.of_frame = nn.Linear(FieldFeatures.frame, self.config.channels)
        self.layers = nn.ModuleList(_Layer(self.config.channels, self.config.degree) for _ in range(self.config.blocks))
        self.norm = nn.LayerNorm(self.config.channels)
        self.out = nn.Linear(self.config.channels, 1)
        nn.init.constant_(self.out.bias, -9.0)

    def hidden(self, packed: Tensor) -> Tensor:
        """What was heard at each point, (484, batch, frames, channels), of matrices (batch, frames, 27, 16)."""
        with torch.autocast(packed.device.type, enabled=False):
            points, frame = self.features(packed.float())
        x = F.gelu(self.of_point(points) + self.of_frame(frame))
        for layer in self.layers:
            x = layer(x)
        return x

    def of_hidden(self, hidden: Tensor) -> Tensor:
        """Log-intensity (batch, frames, 484) of what :meth:`hidden` gave, not yet kept above the least."""
        field: Tensor = self.out(self.norm(hidden))[..., 0]
        return field.float().permute(1, 2, 0)

    def forward(self, packed: Tensor) -> Tensor:
        """Log-intensity (batch, frames, 484) of matrices (batch, frames, 27, 16) of frames in a row."""
        return self.of_hidden(self.hidden(packed)).clamp(min=float(np.log(LEAST_INTENSITY)))

    @property
    def reach(self) -> int:
        """Frames before and after a frame whose matrices count for it."""
        return self.config.blocks + 1

    @torch.inference_mode()
    def of_frames(self, source: AudioInput, first: int, last: int) -> FloatArray:
        """Log-intensity of frames ``first`` to ``last - 1`` of a recording of four channels, the same in any pieces.

        Returns
        -------
        float32, shape (last - first, 484)
        """
        packed, chosen = self._around(source, first, last)
        field: FloatArray = self(packed)[0, chosen].cpu().numpy()
        return field

    @torch.inference_mode()
    def hidden_of_frames(self, source: AudioInput, first: int, last: int) -> Tensor:
        """What was heard in frames ``first`` to ``last - 1``, float32 (last - first, 484, channels), on the device."""
        packed, chosen = self._around(source, first, last)
        return self.hidden(packed)[:, 0, chosen].float().transpose(0, 1)

    def _around(self, source: AudioInput, first: int, last: int) -> tuple[Tensor, slice]:
        """Matrices (1, frames, 27, 16) of some frames and of all that count for them, and where the frames are."""
        behind, ahead = halo_frames("precedence")
        reach, n = self.reach, len(source)
        # frames that the layers look at, and those that their matrices need
        left, right = max(first - reach, 0), min(last + reach, n)
        start, stop = max(left - behind, 0), min(right + ahead, n)
        audio = torch.from_numpy(np.array(source.read(start, stop), dtype=np.float32))
        packed = field_matrices(
            audio.to(next(self.parameters()).device),
            before=left - start,
            after=stop - right,
            file_rate_hz=source.facts.file_rate_hz,
        )
        return packed[None], slice(first - left, last - left)


def matrices_of(samples: npt.NDArray[np.floating], *, file_rate_hz: float | None = None) -> FloatArray:
    """:func:`field_matrices` of a whole signal (samples, 4) at 24 kHz, as an array."""
    whole = samples[: len(samples) // SAMPLES_PER_FRAME * SAMPLES_PER_FRAME]
    with torch.inference_mode():
        audio = torch.from_numpy(np.array(whole, dtype=np.float32))
        packed: FloatArray = field_matrices(audio, file_rate_hz=file_rate_hz).numpy()
    return packed


def save_field(model: FieldNetwork, path: Path, *, notes: Mapping[str, str] | None = None, half: bool = False) -> None:
    """Write weights and configuration to one safetensors file, atomically.

    Parameters
    ----------
    model : FieldNetwork
    path : Path
    notes : mapping of str to str, optional
        Provenance, kept in the file's metadata.
    half : bool
        float16 instead of float32.
    """
    save_network(model, path, {_MARK: model.config.to_json(), **(notes or {})}, half=half)


def load_field(path: Path, *, device: str | torch.device = "cpu") -> FieldNetwork:
    """Open what :func:`save_field` wrote, in evaluation mode.

    Raises
    ------
    InputError
        No such file, not a field network of ours, or weights that do not fit its configuration.
    """
    path = Path(path)
    refusal = "not a field network; give what `train field` made."
    model = FieldNetwork(read_config(path, _MARK, FieldConfig.from_json, refusal=refusal))
    load_into(model, read_state_dict(path), path, what="a field network with this configuration")
    return model.to(device).eval()
