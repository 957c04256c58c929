"""Context over the whole panorama: the Transformer neck and the ResNet-Conformer adapter.

Both work on the tokens of coarse levels, add what they find through a gate that starts at zero (so that switching one
on does not disturb a trained detector), and give the other levels their share by nearest upsampling.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sai_core.detector.backbone import LEVELS, Pyramid, periodic_position
from sai_core.detector.cylinder import pad_cylinder


class TransformerNeck(nn.Module):
    """Self-attention over P4 and P5 tokens of one frame (the report's Transformer neck)."""

    def __init__(self, channels: int, *, layers: int = 2, heads: int = 8) -> None:
        super().__init__()
        layer = nn.TransformerEncoderLayer(
            channels, heads, dim_feedforward=2 * channels, dropout=0.1, batch_first=True, norm_first=True
        )
        self.encoder = nn.TransformerEncoder(layer, layers, enable_nested_tensor=False)
        self.level_code = nn.Parameter(torch.zeros(2, channels))
        self.gate = nn.Parameter(torch.zeros(2, channels))

    def forward(self, levels: Pyramid) -> Pyramid:
        """Return the pyramid with P4 and P5 replaced by what attention makes of them; P2 and P3 unchanged."""
        tokens = []
        for i, name in enumerate(LEVELS[2:]):
            x = levels[name]
            code = periodic_position(x.shape[2], x.shape[3], x.shape[1], device=x.device, dtype=x.dtype)
            tokens.append((x + code + self.level_code[i][:, None, None]).flatten(2).transpose(1, 2))
        mixed = self.encoder(torch.cat(tokens, dim=1))
        out: Pyramid = OrderedDict(levels)
        start = 0
        for i, name in enumerate(LEVELS[2:]):
            x = levels[name]
            count = x.shape[2] * x.shape[3]
            part = mixed[:, start : start + count].transpose(1, 2).reshape(x.shape)
            out[name] = x + self.gate[i][:, None, None] * part
            start += count
        return out


class ConformerBlock(nn.Module):
    """Half feed-forward, self-attention, convolution over the grid, half feed-forward; pre-normed.

    The convolution is two-dimensional and circular in azimuth: the tokens are a panorama, not a sequence.
    """

    def __init__(self, channels: int, *, heads: int = 4, kernel: int = 5, dropout: float = 0.1) -> None:
        super().__init__()

        def feed_forward() -> nn.Sequential:
            return nn.Sequential(
                nn.LayerNorm(channels),
                nn.Linear(channels, 2 * channels),
                nn.SiLU(),
                nn.Dropout(dropout),
                nn.Linear(2 * channels, channels),
                nn.Dropout(dropout),
            )

        self.before = feed_forward()
        self.attention_norm = nn.LayerNorm(channels)
        self.attention = nn.MultiheadAttention(channels, heads, dropout=dropout, batch_first=True)
        self.convolution_norm = nn.LayerNorm(channels)
        self.expand = nn.Conv2d(channels, 2 * channels, 1)
        self.depthwise = nn.Conv2d(channels, channels, kernel, groups=channels)
        self.depthwise_norm = nn.GroupNorm(1, channels)
        self.project = nn.Conv2d(channels, channels, 1)
        self.after = feed_forward()
        self.out_norm = nn.LayerNorm(channels)
        self.half = kernel // 2

    def forward(self, tokens: Tensor, height: int, width: int) -> Tensor:
        """Map (batch, height * width, channels) to the same shape."""
        x = tokens + 0.5 * self.before(tokens)
        normed = self.attention_norm(x)
        x = x + self.attention(normed, normed, normed, need_weights=False)[0]
        grid = self.convolution_norm(x).transpose(1, 2).reshape(x.shape[0], x.shape[2], height, width)
        grid = F.glu(self.expand(grid), dim=1)
        grid = self.depthwise(pad_cylinder(grid, self.half, self.half, circular=True))
        grid = self.project(F.silu(self.depthwise_norm(grid)))
        x = x + grid.flatten(2).transpose(1, 2)
        x = x + 0.5 * self.after(x)
        out: Tensor = self.out_norm(x)
        return out


class ConformerAdapter(nn.Module):
    """ResNet-Conformer context adapter on compact pyramid tokens (report section 4.1).

    P3, P4 and P5 are pooled to the grid of P5 (6 x 12), summed and squeezed to ``width`` channels; Conformer blocks
    mix local patterns (convolution) and long-range ones (attention); the result is added to every level.
    """

    def __init__(self, channels: int, *, width: int = 128, blocks: int = 2, levels: Sequence[str] = LEVELS) -> None:
        super().__init__()
        self.levels = tuple(levels)
        self.squeeze = nn.ModuleList(nn.Conv2d(channels, width, 1) for _ in LEVELS[1:])
        self.blocks = nn.ModuleList(ConformerBlock(width) for _ in range(blocks))
        self.expand = nn.ModuleList(nn.Conv2d(width, channels, 1) for _ in levels)
        for layer in self.expand:
            assert isinstance(layer, nn.Conv2d)
            nn.init.zeros_(layer.weight)
            assert layer.bias is not None
            nn.init.zeros_(layer.bias)

    def forward(self, levels: Pyramid) -> Pyramid:
        """Return the pyramid with context added to every level."""
        coarse = levels[LEVELS[-1]]
        height, width = coarse.shape[-2:]
        grid = sum(
            squeeze(F.adaptive_avg_pool2d(levels[name], (height, width)))
            for name, squeeze in zip(LEVELS[1:], self.squeeze, strict=True)
        )
        assert isinstance(grid, Tensor)
        code = periodic_position(height, width, grid.shape[1], device=grid.device, dtype=grid.dtype)
        tokens = (grid + code).flatten(2).transpose(1, 2)
        for block in self.blocks:
            tokens = block(tokens, height, width)
        context = tokens.transpose(1, 2).reshape(grid.shape)
        out: Pyramid = OrderedDict()
        for name, expand in zip(self.levels, self.expand, strict=True):
            x = levels[name]
            out[name] = x + F.interpolate(expand(context), size=x.shape[-2:], mode="nearest")
        return out
