"""Heads of our own detectors; every one takes pooled or pyramid features and knows nothing of images."""

from __future__ import annotations

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor, nn

from sai_core.detector.backbone import LEVELS, Pyramid, group_norm
from sai_core.detector.cylinder import make_circular, to_erp_canvas
from sai_core.taxonomy import N_CLASSES

N_LABELS = N_CLASSES + 1


class RpnHead(nn.Module):
    """Objectness and box deltas of every anchor; shared over levels."""

    def __init__(self, channels: int, n_anchors: int, *, circular: bool) -> None:
        super().__init__()
        self.conv = nn.Sequential(nn.Conv2d(channels, channels, 3, padding=1), nn.ReLU(inplace=True))
        self.objectness = nn.Conv2d(channels, n_anchors, 1)
        self.deltas = nn.Conv2d(channels, 4 * n_anchors, 1)
        for layer in (self.objectness, self.deltas):
            nn.init.normal_(layer.weight, std=0.01)
            assert layer.bias is not None
            nn.init.zeros_(layer.bias)
        if circular:
            make_circular(self)

    def forward(self, level: Tensor) -> tuple[Tensor, Tensor]:
        """Map (batch, channels, h, w) to logits (batch, h * w * A) and deltas (batch, h * w * A, 4)."""
        x = self.conv(level)
        batch = x.shape[0]
        logits = self.objectness(x).permute(0, 2, 3, 1).reshape(batch, -1)
        deltas = self.deltas(x)
        _, _, height, width = deltas.shape
        deltas = deltas.view(batch, -1, 4, height, width).permute(0, 3, 4, 1, 2).reshape(batch, -1, 4)
        return logits, deltas


class BoxHead(nn.Module):
    """7 x 7 RoI features to one vector."""

    def __init__(self, channels: int, hidden: int = 512) -> None:
        super().__init__()
        self.fc6 = nn.Linear(channels * 49, hidden)
        self.fc7 = nn.Linear(hidden, hidden)

    def forward(self, roi: Tensor) -> Tensor:
        """Map (n, channels, 7, 7) to (n, hidden)."""
        return F.relu(self.fc7(F.relu(self.fc6(roi.flatten(1)))))


class EnergyHead(nn.Module):
    """14 x 14 RoI features to a 28 x 28 energy map in [0, 1]."""

    def __init__(self, channels: int, *, blocks: int = 4) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for _ in range(blocks):
            layers += [
                nn.Conv2d(channels, channels, 3, padding=1, bias=False),
                group_norm(channels),
                nn.ReLU(inplace=True),
            ]
        self.body = nn.Sequential(*layers)
        self.up = nn.ConvTranspose2d(channels, channels // 2, 2, stride=2)
        self.out = nn.Conv2d(channels // 2, 1, 1)

    def forward(self, roi: Tensor) -> Tensor:
        """Map (n, channels, 14, 14) to (n, 28, 28)."""
        return self.out(F.relu(self.up(self.body(roi)))).sigmoid()[:, 0]


class DistanceHead(nn.Module):
    """RoI vector to a distance >= 0, in units of 500 cm (Softplus, report section 3.1)."""

    def __init__(self, hidden: int) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Linear(hidden, 128), nn.ReLU(inplace=True), nn.Linear(128, 1))

    def forward(self, vector: Tensor) -> Tensor:
        """Map (n, hidden) to (n,)."""
        return F.softplus(self.net(vector)).squeeze(-1)


class FullEnergyDecoder(nn.Module):
    """Pyramid to the full-frame energy map, registered with the canvas (label grid) and closed at the seam."""

    def __init__(self, channels: int, mid: int, *, circular: bool, levels: Sequence[str] = LEVELS) -> None:
        super().__init__()
        self.levels = tuple(levels)
        self.lateral = nn.ModuleList(nn.Conv2d(channels, mid, 1) for _ in levels)
        self.smooth = nn.ModuleList(
            nn.Sequential(nn.Conv2d(mid, mid, 3, padding=1, bias=False), group_norm(mid), nn.ReLU(inplace=True))
            for _ in levels
        )
        self.head = nn.Sequential(
            nn.Conv2d(mid, mid // 2, 3, padding=1, bias=False),
            group_norm(mid // 2),
            nn.ReLU(inplace=True),
            nn.Conv2d(mid // 2, 1, 1),
        )
        if circular:
            make_circular(self)

    def low_resolution(self, levels: Pyramid) -> Tensor:
        """Energy at the stride of the finest level, (batch, 48, 96) for P2, in [0, 1]."""
        coarsest = len(self.levels) - 1
        x = self.smooth[coarsest](self.lateral[coarsest](levels[self.levels[coarsest]]))
        for i in range(coarsest - 1, -1, -1):
            x = F.interpolate(x, scale_factor=2.0, mode="nearest")
            x = self.smooth[i](x + self.lateral[i](levels[self.levels[i]]))
        return self.head(x).sigmoid()[:, 0]

    def forward(self, levels: Pyramid) -> Tensor:
        """Energy on the canvas: (batch, 180, 360), in [0, 1]."""
        return to_erp_canvas(self.low_resolution(levels)[:, None])[:, 0]
