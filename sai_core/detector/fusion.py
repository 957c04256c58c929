"""How Track B lets sound guide sight: gated residual fusion at the pyramid, cross-modal attention at the RoI."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from sai_core.detector.backbone import LEVELS, Pyramid
from sai_core.detector.cylinder import make_circular


class GatedFusion(nn.Module):
    """Visual level + gate * projected acoustic level, per pyramid level.

    The projection starts at zero, so that the fused pyramid starts as the visual one and a pretrained visual detector
    stays stable while the audio learns where to help (report: "audio guides, visual stays stable").
    """

    def __init__(
        self, visual_channels: int, acoustic_channels: int, *, circular: bool, levels: Sequence[str] = LEVELS
    ) -> None:
        super().__init__()
        self.levels = tuple(levels)
        self.project = nn.ModuleList(nn.Conv2d(acoustic_channels, visual_channels, 1) for _ in levels)
        self.gate = nn.ModuleList(
            nn.Sequential(nn.Conv2d(visual_channels + acoustic_channels, visual_channels, 3, padding=1), nn.Sigmoid())
            for _ in levels
        )
        for layer in self.project:
            assert isinstance(layer, nn.Conv2d)
            nn.init.zeros_(layer.weight)
            assert layer.bias is not None
            nn.init.zeros_(layer.bias)
        if circular:
            make_circular(self)

    def forward(self, visual: Pyramid, acoustic: Pyramid) -> Pyramid:
        """Fuse level by level; shapes as the visual pyramid."""
        out: Pyramid = OrderedDict()
        for name, project, gate in zip(self.levels, self.project, self.gate, strict=True):
            v, a = visual[name], acoustic[name]
            out[name] = v + gate(torch.cat([v, a], dim=1)) * project(a)
        return out


class RoiCmaf(nn.Module):
    """RoI-level cross-modal attention fusion.

    In: visual (n, C, 7, 7) and acoustic (n, A, 7, 7) RoI features. Each modality's cells attend to the other's; the
    two answers are pooled, gated against the plain visual vector, and used for classification. Box regression keeps
    the visual vector, with the acoustic one added through a small learned factor that starts at 0 (visual-dominant).
    """

    def __init__(self, channels: int, acoustic_channels: int, hidden: int, *, heads: int = 4, width: int = 128) -> None:
        super().__init__()
        self.visual_in = nn.Linear(channels, width)
        self.acoustic_in = nn.Linear(acoustic_channels, width)
        self.cell_code = nn.Parameter(torch.randn(49, width) * 0.02)
        self.to_acoustic = nn.MultiheadAttention(width, heads, batch_first=True)
        self.to_visual = nn.MultiheadAttention(width, heads, batch_first=True)
        self.visual_norm = nn.LayerNorm(width)
        self.acoustic_norm = nn.LayerNorm(width)
        self.mix = nn.Sequential(nn.Linear(2 * width, hidden), nn.ReLU(inplace=True), nn.Linear(hidden, hidden))
        self.gate = nn.Sequential(nn.Linear(2 * hidden, hidden), nn.Sigmoid())
        self.box_share = nn.Parameter(torch.zeros(1))

    def forward(self, visual: Tensor, acoustic: Tensor, visual_vector: Tensor) -> tuple[Tensor, Tensor]:
        """Fuse RoI features.

        Parameters
        ----------
        visual, acoustic : Tensor, shape (n, C, 7, 7) and (n, A, 7, 7)
        visual_vector : Tensor, shape (n, hidden)
            What the box head made of the visual features.

        Returns
        -------
        for_class, for_box : Tensor, shape (n, hidden)
        """
        if visual.device.type == "cpu" and torch.is_autocast_enabled("cpu"):
            # torch's attention on a CPU goes backwards five times as fast in float32 as in bfloat16
            with torch.autocast("cpu", enabled=False):
                return self._fuse(visual.float(), acoustic.float(), visual_vector.float())
        return self._fuse(visual, acoustic, visual_vector)

    def _fuse(self, visual: Tensor, acoustic: Tensor, visual_vector: Tensor) -> tuple[Tensor, Tensor]:
        v = self.visual_in(visual.flatten(2).transpose(1, 2)) + self.cell_code
        a = self.acoustic_in(acoustic.flatten(2).transpose(1, 2)) + self.cell_code
        v_heard = self.visual_norm(v + self.to_acoustic(v, a, a, need_weights=False)[0])
        a_seen = self.acoustic_norm(a + self.to_visual(a, v, v, need_weights=False)[0])
        fused = self.mix(torch.cat([v_heard.mean(dim=1), a_seen.mean(dim=1)], dim=1))
        gate = self.gate(torch.cat([visual_vector, fused], dim=1))
        return visual_vector + gate * fused, visual_vector + self.box_share * fused
