"""LAM and UpLAM: from visibilities to energy on the 484-point lattice; official files load, our own weights too.

LAM, per band: keep the positive part ``S+`` of the 32 x 32 matrix, take ``d_p^H S+ d_p - tau_p`` at every lattice point
``p`` (``D`` and ``tau`` are learned; ``D`` starts from nothing, not from the steering matrix), then four 1-D
convolutions along the lattice (kernels 3, 5, 7, 9; bands are the channels), each followed by adding the undenoised
values and ReLU. The published 32-channel checkpoint has no convolutions and ends in
``max(1e-6, tanh(x) / tanh(1))``.

UpLAM: a deep back-projection network enlarges the 4 x 4 matrix of each band to 32 x 32 (real and imaginary part have
networks of their own), then LAM. With official weights the enlarged matrix is not Hermitian, and the official
``eigh`` reads its lower triangle only: ``hermitian="lower"`` does the same. Our own weights use ``hermitian="mean"``,
``(S + S^H) / 2``, which wastes nothing of what the network says.

How this is computed
--------------------
* ``|| D^H V sqrt(L) ||^2`` of the official code is ``d^H S+ d``, which is linear in ``S+``: with matrices packed as
  real arrays (:mod:`sai_core.acoustics.hermitian`) the values at all 484 points are one real (frames x 1024) by
  (1024 x 484) product per band, a quarter of the arithmetic.
* ``S+`` comes from ``eigh`` (exact; the default on the CPU and in float64) or from a polynomial iteration of matrix
  products (``psd="polynomial"``; the default in float32 on a GPU and wherever gradients are wanted). ``psd="none"``
  skips it, for matrices that are known to be positive, such as visibilities themselves.
* The reconstruction ``A diag(latent) A^H`` of the official forward is a third of its cost and is read in training only:
  :meth:`LAM.decode` makes it on request.

Training with these modules
---------------------------
``model = UpLAM(UpLAMConfig(hermitian="mean"))``; inputs ``visibility_tensors(audio4).matrices`` and targets
``visibility_tensors(audio32).matrices``, both complex64, shape (batch, 9, 4, 4) and (batch, 9, 32, 32). Then::

    upsampled = model.upsample(inputs)                   # packed, (batch, 9, 32, 32), real
    latent = model.lam(upsampled, packed=True)           # (batch, 9, 484); polynomial psd, safe gradients
    estimate = model.lam.decode(latent, packed=True)     # packed
    loss = ((estimate - pack(targets)) ** 2).mean()      # equals the mean of |difference|^2 of the complex matrices

Float32 parameters throughout (``D`` is complex64). Frobenius norms of packed and complex matrices agree, so a loss on
packed matrices is a loss on the complex ones.

Magnitude
---------
Normalised visibilities make every map equally loud. ``features.extract(..., magnitude="power")`` multiplies the maps
by the level that was divided out, so that a quiet source looks quiet whatever the weights are.

References
----------
LAM: Roman, Roman, Bello, WASPAA 2025. Back-projection: Haris et al., CVPR 2018 (DBPN). Official code: ``lam_model.py``
of the DCASE 2026 Task 3 baseline, ``model/nbproj.py`` of the LAM repository.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import lru_cache
from itertools import groupby
from pathlib import Path
from typing import Annotated, Any, Final, Literal, NamedTuple

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from sai_core.acoustics.beamformer import plane_wave_steering
from sai_core.acoustics.hermitian import (
    PsdMethod,
    pack_lower,
    pack_mean,
    psd_part,
    quadratic_forms,
    unpack,
)
from sai_core.acoustics.names import HermitianRule, Normalise, Recipe
from sai_core.acoustics.visibility import N_BANDS
from sai_core.checkpoints import load_into, read_checkpoint
from sai_core.errors import InputError
from sai_core.files import atomic_write
from sai_core.geometry import N_LATTICE
from sai_core.settings import Settings, about, build_json

Activation = Literal["relu", "retanh"]
Psd = Literal["auto", "eigh", "polynomial", "none"]

N_CAPSULES: Final[int] = 32

_RETANH_FLOOR: Final[float] = 1e-6
"""Smallest value of the published LAM-32's activation."""

_DENOISE_KERNELS: Final[tuple[int, ...]] = (3, 5, 7, 9)

_BACK_PROJECTION: Final[dict[int, tuple[int, int, int]]] = {2: (6, 2, 2), 4: (8, 4, 2), 8: (12, 8, 2)}
"""Kernel, stride and padding of the (transposed) convolutions for each scale factor."""


@dataclass(frozen=True, kw_only=True)
class LamConfig:
    """Shape of a LAM.

    Attributes
    ----------
    n_bands : int
    denoise : bool
        Whether the four convolutions along the lattice are there.
    activation : {"relu", "retanh"}
    """

    n_bands: int = N_BANDS
    denoise: bool = True
    activation: Activation = "relu"


@dataclass(frozen=True, kw_only=True)
class UpLAMConfig(Settings):
    """Shape of a UpLAM and what it was trained on; saved with our own weights. Defaults: the official network."""

    n_bands: Annotated[int, about("bands of the maps", ge=1, le=4096)] = N_BANDS
    base_filter: Annotated[int, about("channels of the first convolution", ge=1, le=4096)] = 32
    features: Annotated[int, about("width of the hidden layers", ge=1, le=4096)] = 128
    scale: Annotated[int, about("enlargement of the matrix: times 4 capsules it must be 32", ge=1, le=4096)] = 8
    hermitian: Annotated[
        HermitianRule,
        about("how the enlarged matrix becomes Hermitian: its lower triangle (official weights), or (S + S^H) / 2"),
    ] = "lower"
    recipe: Annotated[
        Recipe, about("visibilities that the weights were trained with; used when the caller does not choose")
    ] = "official"
    normalise: Annotated[Normalise, about("normalisation of the network's input")] = "largest_eigenvalue"
    positive: Annotated[
        bool,
        about(
            "remove negative eigenvalues of the enlarged matrix, as the official network does; weights that were "
            "trained without (ours) need none of it: their enlarged matrix is not a covariance"
        ),
    ] = True
    note: Annotated[str, about("what the weights are and where they come from, in one sentence, for the user")] = ""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.scale not in _BACK_PROJECTION:
            raise InputError(f"scale is {self.scale}; choose {' or '.join(map(str, _BACK_PROJECTION))}.")


class LAM(nn.Module):
    """Latent acoustic map: Hermitian 32 x 32 matrices to energy on the lattice.

    Parameters
    ----------
    config : LamConfig
    dtype : torch.float32 or torch.float64
        Of the real parameters; ``D`` is the complex type of the same precision.
    """

    def __init__(self, config: LamConfig | None = None, *, dtype: torch.dtype = torch.float32) -> None:
        super().__init__()
        self.config = config if config is not None else LamConfig()
        bands = self.config.n_bands
        self.tau = nn.Parameter(torch.empty(bands, N_LATTICE, dtype=dtype).normal_(0.0, 1e-7))
        self.D = nn.Parameter(torch.empty(bands, N_CAPSULES, N_LATTICE, dtype=dtype.to_complex()).normal_(0.0, 1e-5))
        if self.config.denoise:
            for index, kernel in enumerate(_DENOISE_KERNELS, start=1):
                layer = nn.Conv1d(bands, bands, kernel, padding=kernel // 2, dtype=dtype)
                with torch.no_grad():
                    nn.init.kaiming_uniform_(layer.weight, nonlinearity="relu").mul_(1e-6)
                    if layer.bias is not None:
                        layer.bias.fill_(1e-6)
                self.add_module(f"denoise{index}", layer)
        self._forms: tuple[tuple[Any, ...], torch.Tensor] | None = None

    def forward(self, matrices: torch.Tensor, *, packed: bool = False, psd: Psd = "auto") -> torch.Tensor:
        """Energy at the lattice points.

        Parameters
        ----------
        matrices : tensor, shape (batch, bands, 32, 32)
            Complex, of which the lower triangle is read as ``eigh`` does; or real packed Hermitian ones.
        packed : bool
            Which of the two.
        psd : {"auto", "eigh", "polynomial", "none"}
            How the negative part is removed; ``"auto"`` is polynomial where a gradient is wanted and for float32 on a
            GPU, else ``eigh``.

        Returns
        -------
        real tensor, shape (batch, bands, 484)
        """
        hermitian = matrices if packed else pack_lower(matrices.real, matrices.imag)
        if psd != "none":
            hermitian = psd_part(hermitian, method=self._method(psd, hermitian))
        forms = self._quadratic_forms()
        # (bands, batch, 1024) @ (bands, 1024, 484): bands are the batch of the product, frames its rows
        raw = torch.bmm(hermitian.flatten(2).transpose(0, 1), forms).transpose(0, 1)
        return self._activated(raw - self.tau)

    def decode(self, latent: torch.Tensor, *, packed: bool = False) -> torch.Tensor:
        """Reconstruct the matrices, ``A diag(latent) A^H`` with the plane-wave steering matrix ``A``.

        Parameters
        ----------
        latent : real tensor, shape (..., 484)
        packed : bool
            Give packed real matrices (for a loss) instead of complex ones.

        Returns
        -------
        tensor, shape (..., 32, 32)
        """
        packed_matrix = (latent @ _decoder(latent.dtype, str(latent.device))).unflatten(-1, (N_CAPSULES, N_CAPSULES))
        return packed_matrix if packed else unpack(packed_matrix)

    @staticmethod
    def _method(psd: Psd, hermitian: torch.Tensor) -> PsdMethod:
        if psd == "eigh" or psd == "polynomial":
            return psd
        fast_on_gpu = hermitian.is_cuda and hermitian.dtype == torch.float32
        return "polynomial" if hermitian.requires_grad or fast_on_gpu else "eigh"

    def _quadratic_forms(self) -> torch.Tensor:
        if torch.is_grad_enabled() and self.D.requires_grad:
            return quadratic_forms(self.D)
        if self.D.is_inference():
            # such a tensor does not count its changes, so that a copy could be stale
            return quadratic_forms(self.D)
        # the forms are 18 MB in float32 and constant while weights are; _version counts in-place changes
        key = (self.D.data_ptr(), self.D._version, self.D.dtype, self.D.device)
        if self._forms is None or self._forms[0] != key:
            with torch.inference_mode(mode=False), torch.no_grad():
                self._forms = (key, quadratic_forms(self.D.detach()))
        return self._forms[1]

    def _activated(self, raw: torch.Tensor) -> torch.Tensor:
        if self.config.activation == "retanh":
            return torch.clamp_min(torch.tanh(raw) / math.tanh(1.0), _RETANH_FLOOR)
        if not self.config.denoise:
            return functional.relu(raw)
        latent = raw
        for index in range(1, len(_DENOISE_KERNELS) + 1):
            latent = functional.relu(self.get_submodule(f"denoise{index}")(latent) + raw)
        return latent


class _Layer(nn.Module):
    """Convolution (``conv``) or transposed convolution (``deconv``), then PReLU (``act``) unless switched off."""

    def __init__(self, module: nn.Conv2d | nn.ConvTranspose2d, *, activation: bool = True) -> None:
        super().__init__()
        self._name = "deconv" if isinstance(module, nn.ConvTranspose2d) else "conv"
        with torch.no_grad():
            nn.init.kaiming_normal_(module.weight)
            if module.bias is not None:
                module.bias.zero_()
        self.add_module(self._name, module)
        self.act = nn.PReLU(dtype=module.weight.dtype) if activation else None
        self._tiles: tuple[tuple[Any, ...], list[_Tile]] | None = None

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        module = self.get_submodule(self._name)
        if self._name == "deconv" and x.device.type == "cpu" and not torch.is_grad_enabled():
            x = _tiled_transpose(x, self._tile_weights(module), module)
        else:
            x = module(x)
        return x if self.act is None else self.act(x)

    def _tile_weights(self, module: nn.ConvTranspose2d) -> list[_Tile]:
        weight = module.weight
        if weight.is_inference():
            return _tiles(weight, module.stride[0], module.padding[0])
        key = (weight.data_ptr(), weight._version, weight.dtype)
        if self._tiles is None or self._tiles[0] != key:
            with torch.inference_mode(mode=False), torch.no_grad():
                self._tiles = (key, _tiles(weight.detach(), module.stride[0], module.padding[0]))
        return self._tiles[1]


class _Tile(NamedTuple):
    """Rows ``first[0]`` to ``first[0] + size[0] - 1`` (columns alike) of every output tile, and what makes them."""

    first: tuple[int, int]
    size: tuple[int, int]
    rows: tuple[int, ...]
    columns: tuple[int, ...]
    weight: torch.Tensor


def _tiles(weight: torch.Tensor, stride: int, padding: int) -> list[_Tile]:
    """Cut the weights of a transposed convolution into one matrix per group of output pixels with the same inputs.

    The output falls into tiles of stride x stride pixels, one per input pixel. Pixel ``r`` of a tile gets input pixel
    ``t + shift`` by the kernel's entry ``r + padding - stride * shift``, for every shift for which that exists: with
    kernel 12, stride 8, padding 2 the middle four rows have one input, the outer two on each side have two.
    """
    kernel = weight.shape[-1]
    groups: list[tuple[int, tuple[int, ...]]] = []
    for r in range(stride):
        shifts = tuple(d for d in range(-kernel, kernel + 1) if 0 <= r + padding - stride * d < kernel)
        groups.append((r, shifts))
    runs = [
        (members[0][0], len(members), shifts)
        for shifts, members in ((k, list(g)) for k, g in groupby(groups, key=lambda item: item[1]))
    ]
    made = []
    for first_row, n_rows, rows in runs:
        for first_column, n_columns, columns in runs:
            pieces = []
            for down in rows:
                for right in columns:
                    i, j = first_row + padding - stride * down, first_column + padding - stride * right
                    piece = weight[:, :, i : i + n_rows, j : j + n_columns]
                    pieces.append(piece.permute(0, 2, 3, 1).reshape(weight.shape[0], -1))
            made.append(
                _Tile((first_row, first_column), (n_rows, n_columns), rows, columns, torch.cat(pieces).contiguous())
            )
    return made


def _tiled_transpose(x: torch.Tensor, tiles: list[_Tile], module: nn.ConvTranspose2d) -> torch.Tensor:
    """Transposed convolution as one matrix product per :class:`_Tile`: every output is written once, nothing is added.

    torch's own makes the 12 x 12 footprint of each input pixel and adds the footprints up; on the CPU this takes half
    of its time (0.058 against 0.105 ms a frame and thread, 32 filters, batches of 16). Shapes as the module's.
    """
    batch, _, height, width = x.shape
    stride, out_channels = module.stride[0], module.out_channels
    reach = max(max(map(abs, (*tile.rows, *tile.columns))) for tile in tiles)
    rows_first = x.permute(0, 2, 3, 1)
    padded = functional.pad(rows_first, (0, 0, reach, reach, reach, reach))
    out = x.new_empty(batch, height, stride, width, stride, out_channels)
    for first, size, rows, columns, weight in tiles:
        views = [
            padded[:, reach + down : reach + down + height, reach + right : reach + right + width]
            for down in rows
            for right in columns
        ]
        inputs = (torch.cat(views, dim=-1) if len(views) > 1 else views[0]).reshape(-1, weight.shape[0])
        values = (inputs @ weight).view(batch, height, width, *size, out_channels)
        out[:, :, first[0] : first[0] + size[0], :, first[1] : first[1] + size[1]] = values.permute(0, 1, 3, 2, 4, 5)
    out = out.view(batch, height * stride, width * stride, out_channels)
    if module.bias is not None:
        out += module.bias
    return out.permute(0, 3, 1, 2)


class _Up(nn.Module):
    """Enlarge, look back, add what was lost on the way."""

    def __init__(self, filters: int, scale: int, dtype: torch.dtype) -> None:
        super().__init__()
        kernel, stride, padding = _BACK_PROJECTION[scale]
        self.up_conv1 = _Layer(nn.ConvTranspose2d(filters, filters, kernel, stride, padding, dtype=dtype))
        self.up_conv2 = _Layer(nn.Conv2d(filters, filters, kernel, stride, padding, dtype=dtype))
        self.up_conv3 = _Layer(nn.ConvTranspose2d(filters, filters, kernel, stride, padding, dtype=dtype))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        large = self.up_conv1(x)
        return self.up_conv3(self.up_conv2(large) - x) + large


class _Down(nn.Module):
    """Shrink, look back, add what was lost on the way."""

    def __init__(self, filters: int, scale: int, dtype: torch.dtype) -> None:
        super().__init__()
        kernel, stride, padding = _BACK_PROJECTION[scale]
        self.down_conv1 = _Layer(nn.Conv2d(filters, filters, kernel, stride, padding, dtype=dtype))
        self.down_conv2 = _Layer(nn.ConvTranspose2d(filters, filters, kernel, stride, padding, dtype=dtype))
        self.down_conv3 = _Layer(nn.Conv2d(filters, filters, kernel, stride, padding, dtype=dtype))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        small = self.down_conv1(x)
        return self.down_conv3(self.down_conv2(small) - x) + small


class BackProjection(nn.Module):
    """The network in front of LAM: real and imaginary parts of 4 x 4 matrices to 32 x 32, each by its own path."""

    _PARTS = ("rel", "imag")

    def __init__(self, config: UpLAMConfig, *, dtype: torch.dtype = torch.float32) -> None:
        super().__init__()
        bands, filters, wide = config.n_bands, config.base_filter, config.features
        for part in self._PARTS:
            self.add_module(f"feat0_{part}", _Layer(nn.Conv2d(bands, wide, 3, 1, 1, dtype=dtype)))
            self.add_module(f"feat1_{part}", _Layer(nn.Conv2d(wide, filters, 1, dtype=dtype)))
            self.add_module(f"up1_{part}", _Up(filters, config.scale, dtype))
            self.add_module(f"down1_{part}", _Down(filters, config.scale, dtype))
            self.add_module(f"up2_{part}", _Up(filters, config.scale, dtype))
            last = nn.Conv2d(2 * filters, bands, 3, 1, 1, dtype=dtype)
            self.add_module(f"output_conv_{part}", _Layer(last, activation=False))

    def forward(self, real: torch.Tensor, imag: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Enlarge real and imaginary parts, each (batch, bands, n, n), to (batch, bands, scale n, scale n)."""
        return self._path("rel", real), self._path("imag", imag)

    def _path(self, part: str, x: torch.Tensor) -> torch.Tensor:
        module = self.get_submodule
        # oneDNN is up to twice as fast on this layout (transposed convolutions 0.11 -> 0.07 ms a frame and thread)
        x = x.contiguous(memory_format=torch.channels_last)
        x = module(f"feat1_{part}")(module(f"feat0_{part}")(x))
        first = module(f"up1_{part}")(x)
        second = module(f"up2_{part}")(module(f"down1_{part}")(first))
        return module(f"output_conv_{part}")(torch.cat((second, first), dim=1))


class UpLAM(nn.Module):
    """Four channels to energy on the lattice; keys of its state dict are those of the official ``UpLAM.pth``.

    Parameters
    ----------
    config : UpLAMConfig
        The default is the official network.
    dtype : torch.float32 or torch.float64
    """

    def __init__(self, config: UpLAMConfig | None = None, *, dtype: torch.dtype = torch.float32) -> None:
        super().__init__()
        self.config = config if config is not None else UpLAMConfig()
        self.cdbpn = BackProjection(self.config, dtype=dtype).to(memory_format=torch.channels_last)
        self.lam = LAM(LamConfig(n_bands=self.config.n_bands), dtype=dtype)

    def upsample(self, matrices: torch.Tensor) -> torch.Tensor:
        """Enlarge complex (batch, bands, 4, 4) matrices to packed Hermitian ones, real (batch, bands, 32, 32)."""
        real, imag = self.cdbpn(matrices.real, matrices.imag)
        return pack_lower(real, imag) if self.config.hermitian == "lower" else pack_mean(real, imag)

    def forward(self, matrices: torch.Tensor, *, psd: Psd = "auto") -> torch.Tensor:
        """Energy at the lattice points, shape (batch, bands, 484), of complex matrices (batch, bands, 4, 4)."""
        method: Psd = "none" if psd == "auto" and not self.config.positive else psd
        return self.lam(self.upsample(matrices), packed=True, psd=method)


@lru_cache(maxsize=8)
def _decoder(dtype: torch.dtype, device: str) -> torch.Tensor:
    """Packed outer products of the steering vectors, shape (484, 1024)."""
    steering = plane_wave_steering().astype(np.complex128)
    outer = steering.T[:, :, None] * steering.T.conj()[:, None, :]
    with torch.inference_mode(mode=False):
        return torch.tensor(outer.real + outer.imag, dtype=dtype, device=device).flatten(1)


def load_uplam(
    path: str | os.PathLike[str], *, dtype: torch.dtype = torch.float32, device: str | torch.device = "cpu"
) -> UpLAM:
    """Open UpLAM weights: an official ``UpLAM.pth`` or a safetensors file of this project.

    Nothing is unpickled but tensors. The official file is float64/complex128; ``dtype=torch.float64`` keeps that.

    Returns
    -------
    UpLAM
        In evaluation mode, parameters frozen, on ``device``.

    Raises
    ------
    InputError
        No such file, not a weights file, or other keys or shapes; one sentence says which.
    """
    file = Path(path)
    state, metadata = _read_state(file)
    config = _config_of(file, metadata)
    # what the published 32-channel file would give is a list of 98 wrong keys
    if any("bproj_layers." in key for key in state):
        raise InputError(f"{file}: these are weights of the 32-channel LAM; choose the kind lam32 for them.")
    # made outside inference mode whatever the caller's is, so that the weights can be used and changed anywhere
    with torch.inference_mode(mode=False):
        model = UpLAM(config, dtype=dtype)
        load_into(model, state, file, what="UpLAM")
        return model.to(device).eval().requires_grad_(False)


def load_lam32(
    path: str | os.PathLike[str], *, dtype: torch.dtype = torch.float32, device: str | torch.device = "cpu"
) -> LAM:
    """Open 32-channel LAM weights: the published ``lam_32_ch.pth`` (no convolutions) or an official ``LAM.pth``.

    Returns and raises as :func:`load_uplam`.
    """
    file = Path(path)
    state, _ = _read_state(file)
    layers = any("bproj_layers." in key for key in state)
    if any("cdbpn." in key for key in state):
        raise InputError(f"{file}: these are weights of UpLAM for 4 channels; choose the kind uplam for them.")
    if layers:
        state = _stacked_bands(state, file)
    with torch.inference_mode(mode=False):
        model = LAM(LamConfig(denoise=False, activation="retanh") if layers else None, dtype=dtype)
        load_into(model, state, file, what="the 32-channel LAM")
        return model.to(device).eval().requires_grad_(False)


def _stacked_bands(state: Mapping[str, torch.Tensor], file: Path) -> dict[str, torch.Tensor]:
    """One ``tau`` and one ``D`` for all bands from the published file's one per band."""
    layers = [nn.Module() for _ in range(N_BANDS)]
    for layer in layers:
        layer.register_buffer("tau", torch.empty(N_LATTICE, dtype=torch.float64))
        layer.register_buffer("D", torch.empty(N_CAPSULES, N_LATTICE, dtype=torch.complex128))
    published = nn.Module()
    published.add_module("bproj_layers", nn.ModuleList(layers))
    load_into(published, state, file, what="the published 32-channel LAM")
    return {name: torch.stack([layer.get_buffer(name) for layer in layers]) for name in ("tau", "D")}


def save_uplam(model: UpLAM, path: Path, *, metadata: Mapping[str, str] | None = None) -> None:
    """Write weights and configuration as safetensors, float32, complex ``D`` as pairs of reals; atomically.

    Parameters
    ----------
    model : UpLAM
    path : Path
    metadata : mapping of str to str
        Kept beside the configuration (training seed, hours, commit).
    """
    from safetensors.torch import save

    state = {
        key: (torch.view_as_real(value.detach()) if value.is_complex() else value.detach())
        .to("cpu", torch.float32)
        .contiguous()
        for key, value in model.state_dict().items()
    }
    header = {**(dict(metadata) if metadata else {}), "config": json.dumps(asdict(model.config), sort_keys=True)}
    with atomic_write(Path(path)) as stream:
        stream.write(save(state, metadata=header))


def _config_of(file: Path, metadata: Mapping[str, str]) -> UpLAMConfig:
    if "config" not in metadata:
        return UpLAMConfig()
    config: UpLAMConfig = build_json(UpLAMConfig, metadata["config"], f"{file}: the configuration in the header")
    return config


def _read_state(file: Path) -> tuple[dict[str, torch.Tensor], dict[str, str]]:
    """Tensors by plain name and the header's settings; complex values that are kept as pairs of reals are joined."""
    made = read_checkpoint(file)
    state = {
        key: torch.view_as_complex(value.float().contiguous())
        if key.rpartition(".")[2] == "D" and value.ndim == 4 and value.shape[-1] == 2 and not value.is_complex()
        else value
        for key, value in made.tensors.items()
    }
    return state, made.metadata
