"""The panorama is a cylinder: padding, pooling, resampling and matching that know it.

Networks work on a canvas of 192 x 384 cells instead of 180 x 360, because the pyramid halves five times: 384 divides
by 32, so that every level closes on itself at the seam (360 would give 11.25 cells at stride 32). One degree is
``SCALE`` = 384 / 360 cells in both directions.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sai_core.geometry import ERP_HEIGHT, ERP_WIDTH

NET_HEIGHT, NET_WIDTH = 192, 384
SCALE = NET_WIDTH / ERP_WIDTH
EXTENSION = 96
"""Cells by which RoI features are continued past the right edge: the widest region over the seam, 90 degrees."""


def pad_cylinder(x: Tensor, rows: int, columns: int, *, circular: bool, value: float = 0.0) -> Tensor:
    """Pad (batch, channels, H, W): constant above and below, circular (or constant) left and right."""
    if not circular:
        return F.pad(x, (columns, columns, rows, rows), value=value)
    if columns:
        x = torch.cat([x[..., -columns:], x, x[..., :columns]], dim=-1)
    return F.pad(x, (0, 0, rows, rows), value=value) if rows else x


class CylinderConv2d(nn.Conv2d):
    """A convolution that pads circularly in azimuth; same parameters and keys as ``nn.Conv2d``."""

    def forward(self, x: Tensor) -> Tensor:
        """Convolve (batch, channels, H, W)."""
        rows, columns = self.padding
        assert isinstance(rows, int)
        assert isinstance(columns, int)
        x = pad_cylinder(x, rows, columns, circular=True)
        return F.conv2d(x, self.weight, self.bias, self.stride, 0, self.dilation, self.groups)


class CylinderMaxPool2d(nn.MaxPool2d):
    """ResNet's 3 x 3 stride-2 pooling with circular azimuth."""

    def forward(self, x: Tensor) -> Tensor:
        """Pool (batch, channels, H, W)."""
        padding = int(self.padding)
        x = pad_cylinder(x, padding, padding, circular=True, value=float("-inf"))
        return F.max_pool2d(x, self.kernel_size, self.stride, 0)


def make_circular(module: nn.Module) -> nn.Module:
    """Turn every padded convolution and max pooling inside ``module`` into its cylinder version, in place."""
    for child in module.modules():
        if type(child) is nn.Conv2d and isinstance(child.padding, tuple) and child.padding[1] > 0:
            child.__class__ = CylinderConv2d
        elif type(child) is nn.MaxPool2d and child.padding:
            child.__class__ = CylinderMaxPool2d
    return module


def to_network_canvas(maps: Tensor) -> Tensor:
    """Resample (batch, channels, 180, 360) to (batch, channels, 192, 384), bilinear, circular in azimuth.

    Cell centres keep their angle: network column ``c`` looks at canvas column ``(c + 0.5) / SCALE - 0.5``.
    """
    return _resample(maps, NET_HEIGHT, NET_WIDTH)


def to_half_canvas(maps: Tensor) -> Tensor:
    """Resample (batch, channels, 180, 360) to (batch, channels, 96, 192): the network canvas at half resolution."""
    return _resample(maps, NET_HEIGHT // 2, NET_WIDTH // 2)


def to_erp_canvas(maps: Tensor) -> Tensor:
    """Resample (batch, channels, h, w) of any size back to (batch, channels, 180, 360), circular in azimuth."""
    return _resample(maps, ERP_HEIGHT, ERP_WIDTH)


def _resample(maps: Tensor, height: int, width: int) -> Tensor:
    old = maps.shape[-1]
    columns = (torch.arange(width, device=maps.device, dtype=torch.float32) + 0.5) * (old / width) - 0.5
    low = columns.floor().long()
    weight = (columns - low).to(maps.dtype)
    horizontal = maps[..., low % old] * (1 - weight) + maps[..., (low + 1) % old] * weight
    return F.interpolate(horizontal, size=(height, width), mode="bilinear", align_corners=False)


def extend_right(level: Tensor, stride: int) -> Tensor:
    """Continue a level past its right edge with its own left columns, for RoIs over the seam."""
    return torch.cat([level, level[..., : EXTENSION // stride]], dim=-1)


def canonical_boxes(boxes_xyxy: Tensor) -> Tensor:
    """Shift boxes by whole turns so that x0 is in [0, NET_WIDTH); cut at the top, bottom and right limit."""
    turns = torch.floor(boxes_xyxy[:, 0:1] / NET_WIDTH) * NET_WIDTH
    x = boxes_xyxy[:, 0::2] - turns
    x = x.clamp(max=float(NET_WIDTH + EXTENSION))
    y = boxes_xyxy[:, 1::2].clamp(0.0, float(NET_HEIGHT))
    return torch.stack([x[:, 0], y[:, 0], x[:, 1], y[:, 1]], dim=1)


def cylinder_iou(a_xyxy: Tensor, b_xyxy: Tensor) -> tuple[Tensor, Tensor]:
    """IoU of boxes with circular columns, and the shift of ``b`` by which each pair overlaps most.

    Parameters
    ----------
    a_xyxy, b_xyxy : Tensor, shape (n, 4) and (m, 4)
        Network cells; columns may leave [0, NET_WIDTH).

    Returns
    -------
    iou : Tensor, shape (n, m)
    shift : Tensor, shape (n, m)
        -NET_WIDTH, 0 or NET_WIDTH, to be added to the columns of ``b``.
    """
    shifts = a_xyxy.new_tensor([0.0, -NET_WIDTH, NET_WIDTH])
    left = torch.maximum(a_xyxy[:, None, None, 0], b_xyxy[None, :, None, 0] + shifts)
    right = torch.minimum(a_xyxy[:, None, None, 2], b_xyxy[None, :, None, 2] + shifts)
    width, which = (right - left).clamp(min=0).max(dim=2)
    top = torch.maximum(a_xyxy[:, None, 1], b_xyxy[None, :, 1])
    bottom = torch.minimum(a_xyxy[:, None, 3], b_xyxy[None, :, 3])
    intersection = width * (bottom - top).clamp(min=0)
    area_a = (a_xyxy[:, 2] - a_xyxy[:, 0]) * (a_xyxy[:, 3] - a_xyxy[:, 1])
    area_b = (b_xyxy[:, 2] - b_xyxy[:, 0]) * (b_xyxy[:, 3] - b_xyxy[:, 1])
    union = area_a[:, None] + area_b[None, :] - intersection
    return intersection / union.clamp(min=1e-9), shifts[which]
