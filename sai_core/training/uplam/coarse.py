"""UpLAM on a coarse grid: the same network at a fiftieth of the cost, and the way back to full size.

UpLAM enlarges 4 x 4 matrices to 32 x 32 by (transposed) convolutions with kernels of 12 at a stride of 8. If the
transposed convolutions' kernels are constant over 8 / c x 8 / c cells and nought in their overlapping border, every
enlarged image is constant over those cells, and the whole network can be computed on 4 c x 4 c cells: transposed
convolutions with kernel and stride c, convolutions with kernel c + 2, stride c and padding 1. A coarse network with
c = 1 or 2 therefore *is* a UpLAM, whose full-size weights :func:`lift` writes down; nothing is approximated.

This makes training on two cores possible: a step at c = 1 costs about 0.4 ms a frame and core, one at full size 7.
What a coarse network cannot do is what only differences within cells can: with c = 1 a band's map is a combination
of 16 functions of direction (the products of four steering functions), with c = 2 of 64, at full size of 1024.

Convolutions along the lattice keep to their middle tap here: neighbours in Fibonacci order are 137.5 degrees apart, so
the other taps have nothing to mix that belongs together.
"""

from __future__ import annotations

import math
from typing import Any, Final

import torch
from torch import nn
from torch.autograd.function import FunctionCtx
from torch.nn import functional

from sai_core.acoustics.hermitian import pack_mean, quadratic_forms
from sai_core.acoustics.networks import UpLAM, UpLAMConfig
from sai_core.errors import InputError
from sai_core.geometry import N_LATTICE, UPLAM_CAPSULES, directions_to_vectors, em32_capsules_deg

PARTS: Final[tuple[str, str]] = ("rel", "imag")
_N_DENOISE: Final[int] = 4
_FULL: Final[int] = 8
"""Cells a side at full size: the scale factor."""
_OVERLAP: Final[int] = 2
"""Padding of the full-size kernels: pixels of the neighbouring tile that they reach."""


class _PRelu(torch.autograd.Function):
    """PReLU with one slope, whose backward is three passes over memory (torch's own takes a fifth of a step)."""

    @staticmethod
    def forward(ctx: FunctionCtx, x: torch.Tensor, slope: torch.Tensor) -> torch.Tensor:
        ctx.save_for_backward(x, slope)
        return torch.lerp(torch.relu(x), x, slope.to(x.dtype))

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        x, slope = ctx.saved_tensors
        (gradient,) = gradients
        positive = torch.ops.aten.threshold_backward(gradient, x, 0)
        flat = x.reshape(-1)
        of_slope = torch.dot(gradient.reshape(-1), flat) - torch.dot(positive.reshape(-1), flat)
        return torch.lerp(positive, gradient, slope.to(gradient.dtype)), of_slope.reshape(1)


class FastPReLU(nn.PReLU):
    """Drop-in for ``torch.nn.PReLU`` with a single slope."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Apply it."""
        return _PRelu.apply(x, self.weight)


class _Projection(nn.Module):
    """An up or a down block: there, back, and once more for what was lost."""

    def __init__(self, filters: int, cells: int, *, names: tuple[str, str, str]) -> None:
        super().__init__()
        self.names = names
        for name in names:
            self.add_module(name, _layer(filters, cells, enlarge=name in _ENLARGING))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        first = self.get_submodule(self.names[0])(x)
        back = self.get_submodule(self.names[1])(first)
        return self.get_submodule(self.names[2])(back - x) + first


_UP: Final[tuple[str, str, str]] = ("up_conv1", "up_conv2", "up_conv3")
_DOWN: Final[tuple[str, str, str]] = ("down_conv1", "down_conv2", "down_conv3")
_ENLARGING: Final[frozenset[str]] = frozenset({"up_conv1", "up_conv3", "down_conv2"})


class _Layer(nn.Module):
    def __init__(self, module: nn.Conv2d | nn.ConvTranspose2d) -> None:
        super().__init__()
        self.name = "deconv" if isinstance(module, nn.ConvTranspose2d) else "conv"
        self.add_module(self.name, module)
        self.act = FastPReLU()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.act(self.get_submodule(self.name)(x))


def _layer(filters: int, cells: int, *, enlarge: bool) -> _Layer:
    if enlarge:
        return _Layer(nn.ConvTranspose2d(filters, filters, cells, cells))
    return _Layer(nn.Conv2d(filters, filters, cells + 2, cells, 1))


class _Path(nn.Module):
    def __init__(self, config: UpLAMConfig, cells: int) -> None:
        super().__init__()
        bands, filters, wide = config.n_bands, config.base_filter, config.features
        self.feat0 = _Layer(nn.Conv2d(bands, wide, 3, 1, 1))
        self.feat1 = _Layer(nn.Conv2d(wide, filters, 1))
        self.up1 = _Projection(filters, cells, names=_UP)
        self.down1 = _Projection(filters, cells, names=_DOWN)
        self.up2 = _Projection(filters, cells, names=_UP)
        self.output_conv = nn.Conv2d(2 * filters, bands, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        first = self.up1(self.feat1(self.feat0(x)))
        return self.output_conv(torch.cat((self.up2(self.down1(first)), first), dim=1))


class CoarseUpLAM(nn.Module):
    """UpLAM whose images are constant over cells, computed on the cells.

    Parameters
    ----------
    config : UpLAMConfig
        Of the full-size network; ``hermitian`` is ``"mean"`` and negative eigenvalues stay.
    cells : {1, 2, 4}
        Cells a side for each of the 4 x 4 entries.
    steering : complex64 tensor, shape (bands, 32, 484)
        The rigid sphere's, of all capsules; ``D`` starts as that of the four UpLAM capsules.
    """

    def __init__(self, config: UpLAMConfig, cells: int, steering: torch.Tensor) -> None:
        super().__init__()
        if cells not in (1, 2, 4):
            raise InputError(f"cells is {cells}; expected 1, 2 or 4 (the full-size network is UpLAM itself).")
        self.config, self.cells = config, cells
        self.rel = _Path(config, cells)
        self.imag = _Path(config, cells)
        four = steering[:, list(UPLAM_CAPSULES)]
        four = four / four.abs().square().sum(dim=1, keepdim=True).sqrt()
        self.D = nn.Parameter(four.repeat_interleave(cells, dim=1) * (math.sqrt(0.7) / cells))
        self.tau = nn.Parameter(torch.full((config.n_bands, N_LATTICE), 0.3))
        self.mix = nn.Parameter(torch.randn(_N_DENOISE, config.n_bands, config.n_bands) * 0.003 + 0.03)
        self.offset = nn.Parameter(torch.zeros(_N_DENOISE, config.n_bands))
        for module in self.modules():
            if isinstance(module, nn.ConvTranspose2d):
                nn.init.normal_(module.weight, 0.0, math.sqrt(1.0 / config.base_filter))
                _zero_bias(module)
            elif isinstance(module, nn.Conv2d):
                nn.init.normal_(module.weight, 0.0, math.sqrt(1.5 / module.weight[0].numel()))
                _zero_bias(module)
        for part in PARTS:
            with torch.no_grad():
                self.get_submodule(part).output_conv.weight.mul_(0.3)

    def upsample(self, matrices: torch.Tensor) -> torch.Tensor:
        """Enlarge complex (batch, bands, 4, 4) to packed Hermitian (batch, bands, 4 cells, 4 cells)."""
        return pack_mean(self.rel(matrices.real.contiguous()), self.imag(matrices.imag.contiguous()))

    def forward(self, matrices: torch.Tensor) -> torch.Tensor:
        """Energy at the lattice points, (batch, bands, 484)."""
        enlarged = self.upsample(matrices).flatten(2).transpose(0, 1)
        raw = torch.bmm(enlarged, quadratic_forms(self.D)).transpose(0, 1) - self.tau
        latent = raw
        for mix, offset in zip(self.mix, self.offset, strict=True):
            latent = functional.relu(torch.matmul(mix, latent) + offset[:, None] + raw)
        return latent


def _zero_bias(module: nn.Conv2d | nn.ConvTranspose2d) -> None:
    if module.bias is not None:
        nn.init.zeros_(module.bias)


def resolvent(matrices: torch.Tensor, loading: float = 0.05) -> torch.Tensor:
    """``S (S + e I)^-1`` with ``e`` a share of the trace: what the coarse network learns first.

    ``a^H (1 - that) a`` is the reciprocal of the four-channel minimum-variance spectrum (times ``e``), so a network
    whose enlarged matrix is this one localises like that spectrum before it has seen a single 32-channel map.

    Parameters
    ----------
    matrices : complex tensor, shape (..., 4, 4)
        Positive semi-definite.
    loading : float

    Returns
    -------
    complex tensor, same shape
        Eigenvalues in [0, 1).
    """
    values, basis = torch.linalg.eigh(matrices)
    values = values.clamp_min(0.0)
    loaded = loading * values.sum(dim=-1, keepdim=True)
    gain = values / (values + loaded).clamp_min(1e-12)
    return (basis * gain.unsqueeze(-2)) @ basis.mH


def refine(model: CoarseUpLAM, cells: int, steering: torch.Tensor, *, spread: float = 1.0) -> CoarseUpLAM:
    """Same function on finer cells; the rows of ``D`` that come from one are made to differ, so that they can part.

    Parameters
    ----------
    model : CoarseUpLAM
    cells : int
        A multiple of the model's.
    steering : complex64 tensor, shape (bands, 32, 484)
    spread : float
        Size of the differences: each capsule's rows get the steering of its nearest em32 neighbours less their mean,
        which adds to nothing as long as the enlarged matrix is constant over a capsule's rows. 0 adds none.
    """
    times = cells // model.cells
    if times < 1 or cells % model.cells:
        raise InputError(f"{cells} cells cannot refine {model.cells}.")
    finer = CoarseUpLAM(model.config, cells, steering)
    with torch.no_grad():
        finer.load_state_dict({key: _finer(key, value, times) for key, value in model.state_dict().items()})
        if spread and times > 1:
            extra = _neighbour_differences(steering, cells)
            size = finer.D.abs().square().sum(dim=1).mean().sqrt() / math.sqrt(cells)
            finer.D.add_(extra * (spread * size))
    return finer


def lift(model: CoarseUpLAM) -> UpLAM:
    """Full-size UpLAM that computes exactly what the coarse one does (to rounding)."""
    full = UpLAM(model.config)
    source = model.state_dict()
    times = _FULL // model.cells
    state: dict[str, torch.Tensor] = {}
    for key, value in source.items():
        if key == "D":
            state["lam.D"] = _finer(key, value, times)
        elif key == "tau":
            state["lam.tau"] = value
        elif key in ("mix", "offset"):
            continue
        else:
            part, rest = key.split(".", 1)
            head, tail = rest.split(".", 1)
            state[f"cdbpn.{head}_{part}.{'conv.' if head == 'output_conv' else ''}{tail}"] = _full_size(
                key, value, times
            )
    for index in range(_N_DENOISE):
        for name in ("weight", "bias"):
            target = full.state_dict()[f"lam.denoise{index + 1}.{name}"]
            made = torch.zeros_like(target)
            if name == "weight":
                made[:, :, target.shape[-1] // 2] = source["mix"][index]
            else:
                made[:] = source["offset"][index]
            state[f"lam.denoise{index + 1}.{name}"] = made
    full.load_state_dict(state)
    return full


def _is_projection(key: str) -> bool:
    return key.endswith("conv.weight") and ("up" in key or "down" in key)


def _finer(key: str, value: torch.Tensor, times: int) -> torch.Tensor:
    if key == "D":
        return value.repeat_interleave(times, dim=1) / times
    if not _is_projection(key):
        return value
    if key.endswith("deconv.weight"):
        return value.repeat_interleave(times, dim=2).repeat_interleave(times, dim=3)
    for axis in (2, 3):
        first, core, last = value.split([1, value.shape[axis] - 2, 1], dim=axis)
        value = torch.cat([first, core.repeat_interleave(times, dim=axis) / times, last], dim=axis)
    return value


def _full_size(key: str, value: torch.Tensor, times: int) -> torch.Tensor:
    """Kernels of 12 with their border: nought for transposed convolutions, the border cells spread for convolutions."""
    if key.endswith("output_conv.weight"):
        return functional.pad(value, (1, 1, 1, 1))
    if not _is_projection(key):
        return value
    fine = _finer(key, value, times)
    if key.endswith("deconv.weight"):
        return functional.pad(fine, (_OVERLAP,) * 4)
    # the outermost cell of a coarse kernel is seen through two pixels of the neighbouring tile
    for axis in (2, 3):
        first, core, last = fine.split([1, fine.shape[axis] - 2, 1], dim=axis)
        fine = torch.cat([first / _OVERLAP] * _OVERLAP + [core] + [last / _OVERLAP] * _OVERLAP, dim=axis)
    return fine


def _neighbour_differences(steering: torch.Tensor, cells: int) -> torch.Tensor:
    """Steering of ``cells`` capsules near each UpLAM capsule, less their mean, (bands, 4 cells, 484)."""
    vectors = torch.tensor(directions_to_vectors(*em32_capsules_deg()))
    free = [index for index in range(vectors.shape[0]) if index not in UPLAM_CAPSULES]
    rows: list[int] = []
    for capsule in UPLAM_CAPSULES:
        nearest = sorted(free, key=lambda index: -float(vectors[index] @ vectors[capsule]))[:cells]
        free = [index for index in free if index not in nearest]
        rows += nearest
    four = steering[:, list(UPLAM_CAPSULES)].abs().square().sum(dim=1, keepdim=True).sqrt()
    chosen = (steering[:, rows] / four).unflatten(1, (4, cells))
    return (chosen - chosen.mean(dim=2, keepdim=True)).flatten(1, 2)
