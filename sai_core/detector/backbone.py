"""Feature pyramids: ResNet + FPN for the main stream, a light one for the acoustic stream of Track B.

Every pyramid takes the network canvas (batch, channels, 192, 384) and gives four levels P2..P5 with strides 4, 8, 16
and 32, all with the same number of channels.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor, nn
from torchvision.models import resnet50
from torchvision.models._utils import IntermediateLayerGetter
from torchvision.models.resnet import BasicBlock, ResNet
from torchvision.ops import FeaturePyramidNetwork
from torchvision.ops.misc import FrozenBatchNorm2d

from sai_core.checkpoints import read_state_dict
from sai_core.detector.cylinder import make_circular
from sai_core.errors import InputError

LEVELS: tuple[str, ...] = ("p2", "p3", "p4", "p5")
STRIDES: tuple[int, ...] = (4, 8, 16, 32)

Pyramid = OrderedDict[str, Tensor]


def group_norm(channels: int) -> nn.GroupNorm:
    """Normalisation of everything that is trained from scratch: independent of the batch size."""
    return nn.GroupNorm(min(8, channels // 4), channels)


def levels_from(first: int) -> tuple[str, ...]:
    """Names of the levels from P2 or P3 to P5."""
    return LEVELS[first - 2 :]


class _NarrowResnet(ResNet):
    """torchvision's ResNet-18 with ``width`` channels in its first stage instead of 64; same keys."""

    def __init__(self, width: int, norm: Callable[..., nn.Module]) -> None:
        self.width = width
        super().__init__(BasicBlock, [2, 2, 2, 2], norm_layer=norm)
        self.conv1 = nn.Conv2d(3, width, 7, stride=2, padding=3, bias=False)
        nn.init.kaiming_normal_(self.conv1.weight, mode="fan_out", nonlinearity="relu")
        self.bn1 = norm(width)

    def _make_layer(
        self, block: type, planes: int, blocks: int, stride: int = 1, dilate: bool = False
    ) -> nn.Sequential:
        if planes == 64:
            self.inplanes = self.width
        made: nn.Sequential = super()._make_layer(block, planes * self.width // 64, blocks, stride, dilate)
        return made


class ResnetPyramid(nn.Module):
    """ResNet-18 or -50 with FPN P2..P5.

    Parameters
    ----------
    name : "resnet18" or "resnet50"
    in_channels : int
        Channels of the input; the first convolution is made for them.
    channels : int
        Channels of every level.
    circular : bool
        Circular padding in azimuth in every convolution.
    frozen_norm : bool
        Frozen batch norm, for visual streams that start from pretrained weights; group norm otherwise, which learns
        from scratch at small batches.
    width : int
        Channels of the first stage of a ResNet-18.
    first_level : int
        2 or 3: finest level that is made.
    coarse_stem : bool
        The input has 96 x 192 cells; a 5 x 5 convolution leads to stride 4 of the full canvas, without pooling.
    """

    def __init__(
        self,
        name: Literal["resnet18", "resnet50"],
        *,
        in_channels: int,
        channels: int,
        circular: bool,
        frozen_norm: bool,
        width: int = 64,
        first_level: int = 2,
        coarse_stem: bool = False,
    ) -> None:
        super().__init__()
        norm: Callable[..., nn.Module] = FrozenBatchNorm2d if frozen_norm else group_norm
        small = name == "resnet18"
        resnet = _NarrowResnet(width, norm) if small else resnet50(weights=None, norm_layer=norm)
        stem = width if small else 64
        if in_channels != 3 or coarse_stem:
            kernel = 5 if coarse_stem else 7
            resnet.conv1 = nn.Conv2d(in_channels, stem, kernel, stride=2, padding=kernel // 2, bias=False)
            nn.init.kaiming_normal_(resnet.conv1.weight, mode="fan_out", nonlinearity="relu")
        if coarse_stem:
            resnet.maxpool = nn.Identity()
        widths = [width, 2 * width, 4 * width, 8 * width] if small else [256, 512, 1024, 2048]
        levels = levels_from(first_level)
        made = {f"layer{i + 1}": p for i, p in enumerate(LEVELS) if p in levels}
        self.body = IntermediateLayerGetter(resnet, made)
        self.fpn = FeaturePyramidNetwork(widths[first_level - 2 :], channels)
        if circular:
            make_circular(self)

    def forward(self, x: Tensor) -> Pyramid:
        """Map (batch, in_channels, 192, 384) to P2..P5."""
        levels: Pyramid = self.fpn(self.body(x))
        return levels

    def load_torchvision(self, path: Path) -> list[str]:
        """Take over what fits from a torchvision ImageNet or COCO detector checkpoint; say what was left out.

        Returns
        -------
        names : list of str
            Parameters that the file did not have (they keep their initial values).

        Raises
        ------
        InputError
            Not a checkpoint, or nothing in it fits.
        """
        state = read_state_dict(path)
        own = self.state_dict()
        taken: dict[str, Tensor] = {}
        for key, value in state.items():
            name = key.removeprefix("backbone.")
            name = name if name.startswith(("body.", "fpn.")) else f"body.{name}"
            if name in own and own[name].shape == value.shape:
                taken[name] = value
        if len(taken) < len(own) // 4:
            raise InputError(f"{path}: only {len(taken)} of {len(own)} backbone tensors fit; choose the same ResNet.")
        self.load_state_dict(taken, strict=False)
        return sorted(set(own) - set(taken))


class AcousticPyramid(nn.Module):
    """Light pyramid of the nine acoustic maps, aligned with the FPN's levels (Track B, report section 4.1)."""

    def __init__(
        self, n_bands: int, channels: int, *, circular: bool, first_level: int = 2, coarse: bool = False
    ) -> None:
        super().__init__()
        self.levels = levels_from(first_level)

        def down(a: int, b: int, stride: int = 2) -> nn.Sequential:
            return nn.Sequential(
                nn.Conv2d(a, b, 3, stride=stride, padding=1, bias=False), group_norm(b), nn.ReLU(inplace=True)
            )

        def keep(c: int) -> nn.Sequential:
            return nn.Sequential(nn.Conv2d(c, c, 3, padding=1, bias=False), group_norm(c), nn.ReLU(inplace=True))

        half = max(channels // 2, 8)
        self.stem = nn.Sequential(down(n_bands, half, 1 if coarse else 2), down(half, channels), keep(channels))
        self.stages = nn.ModuleList(nn.Sequential(down(channels, channels), keep(channels)) for _ in range(3))
        if circular:
            make_circular(self)

    def forward(self, maps: Tensor) -> Pyramid:
        """Map (batch, n_bands, 192, 384), or half of that if ``coarse``, to P2..P5."""
        x = self.stem(maps)
        levels: Pyramid = OrderedDict([(LEVELS[0], x)])
        for name, stage in zip(LEVELS[1:], self.stages, strict=True):
            x = stage(x)
            levels[name] = x
        return OrderedDict((name, levels[name]) for name in self.levels)


def periodic_position(height: int, width: int, channels: int, *, device: torch.device, dtype: torch.dtype) -> Tensor:
    """Position code of a grid: sines of azimuth (whole periods, so that the seam is no edge) and of elevation.

    Returns
    -------
    code : Tensor, shape (channels, height, width)
        First half azimuth, second half elevation.
    """
    quarter = channels // 4
    order = torch.arange(1, quarter + 1, device=device, dtype=torch.float32)
    azimuth = 2 * torch.pi * (torch.arange(width, device=device) + 0.5) / width
    elevation = torch.pi * (torch.arange(height, device=device) + 0.5) / height
    # harmonics above the grid's resolution alias; order folds them back into what it can show
    across = order.remainder(width // 2) + 1
    a = across[:, None] * azimuth
    e = order.remainder(height)[:, None] * elevation
    code = torch.zeros(channels, height, width, device=device)
    code[:quarter] = a.sin()[:, None, :]
    code[quarter : 2 * quarter] = a.cos()[:, None, :]
    code[2 * quarter : 3 * quarter] = e.sin()[:, :, None]
    code[3 * quarter : 4 * quarter] = e.cos()[:, :, None]
    return code.to(dtype)
