"""What a region sounds like: band levels in its direction, over a second or two around the present frame.

A single frame's maps say where sound comes from, and hardly what it is: each band is normalised by itself, and 100 ms
hold no rhythm. The class of a source is in how its nine band levels move. So each region listens: the power maps of
the neighbouring frames are averaged over its box (a Gaussian in degrees), which gives a small spectrogram of that
direction, and a few one-dimensional convolutions turn it into a vector that is added to what classification sees.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor, nn

from sai_core.detector.backbone import group_norm
from sai_core.detector.cylinder import SCALE
from sai_core.geometry import ERP_WIDTH, fibonacci_lattice_deg

_FLOOR = 1e-9
"""Power below which a band counts as silent (mean square of samples in [-1, 1])."""


@dataclass(frozen=True)
class SoundContext:
    """Power maps around each frame of a batch.

    Attributes
    ----------
    power : float32 Tensor, shape (batch, 2 * context + 1, bands, 484)
        Lattice maps with magnitude ``power``; the present frame in the middle, the edge frames repeated at the ends
        of a recording.
    columns : float32 Tensor, shape (batch, 484)
        Canvas column of each lattice point (turned and mirrored with the frame in training).
    """

    power: Tensor
    columns: Tensor

    def __getitem__(self, part: slice) -> SoundContext:
        return SoundContext(self.power[part], self.columns[part])

    @classmethod
    def of(cls, power: Tensor) -> SoundContext:
        """Context of frames as they are."""
        columns = torch.as_tensor(lattice_pixels()[0], device=power.device)
        return cls(power, columns.expand(len(power), -1))


@lru_cache(maxsize=1)
def lattice_pixels() -> tuple[np.ndarray, np.ndarray]:
    """Columns and rows of the lattice points on the label grid, float32 (484,) each."""
    azimuth, elevation = fibonacci_lattice_deg()
    columns = np.mod(180.0 - azimuth, ERP_WIDTH).astype(np.float32)
    return columns, (90.0 - elevation).astype(np.float32)


def context_window(frame: int | np.ndarray, context: int, n_frames: int) -> np.ndarray:
    """Numbers of the frames around one or more frames, (..., 2 * context + 1), repeated at the ends."""
    around = np.arange(-context, context + 1)
    return np.clip(np.asarray(frame)[..., None] + around, 0, max(n_frames - 1, 0))


class RoiSpectrum(nn.Module):
    """Spectrogram of each region's direction, beside that of all directions, to one vector."""

    def __init__(self, n_bands: int, hidden: int, *, width: int = 96) -> None:
        super().__init__()
        self.net = nn.Sequential(
            nn.Conv1d(2 * n_bands, width, 5, padding=2, bias=False),
            group_norm(width),
            nn.ReLU(inplace=True),
            nn.Conv1d(width, width, 5, padding=2, bias=False),
            group_norm(width),
            nn.ReLU(inplace=True),
        )
        self.out = nn.Linear(3 * width, hidden)
        self.register_buffer("rows", torch.from_numpy(lattice_pixels()[1].copy()), persistent=False)

    def forward(self, context: SoundContext, boxes: Sequence[Tensor]) -> Tensor:
        """Listen to regions.

        Parameters
        ----------
        context : SoundContext
        boxes : one (n, 4) Tensor a frame
            Network cells.

        Returns
        -------
        vectors : Tensor, shape (all regions, hidden)
        """
        own, everywhere = [], []
        for power, columns, part in zip(context.power, context.columns, boxes, strict=True):
            heard = self.listen(power, columns, part.detach() / SCALE)
            own.append(heard)
            everywhere.append(power.mean(dim=-1)[None].expand(len(part), -1, -1))
        return self.encode(torch.cat(own), torch.cat(everywhere))

    def listen(self, power: Tensor, columns: Tensor, boxes_deg: Tensor) -> Tensor:
        """Spectrogram of some directions of one frame.

        Parameters
        ----------
        power : Tensor, shape (frames, bands, 484)
        columns : Tensor, shape (484,)
            Canvas column of each lattice point.
        boxes_deg : Tensor, shape (n, 4)
            Canvas degrees.

        Returns
        -------
        own : Tensor, shape (n, frames, bands)
        """
        frames, bands, points = power.shape
        weights = self._weights(boxes_deg, columns)
        return (weights @ power.reshape(frames * bands, points).T).reshape(len(boxes_deg), frames, bands)

    def encode(self, own: Tensor, everywhere: Tensor) -> Tensor:
        """Vectors (n, hidden) of spectrograms of directions and of all directions, (n, frames, bands) each."""
        both = torch.cat([own, everywhere], dim=-1)
        # 60 dB below full scale is the middle of what recordings hold
        levels = ((both.clamp(min=0) + _FLOOR).log10() + 5.0) / 2.0
        x = self.net(levels.transpose(1, 2))
        middle = x[..., x.shape[-1] // 2]
        vectors: Tensor = self.out(torch.cat([middle, x.mean(dim=-1), x.amax(dim=-1)], dim=1))
        return vectors

    def _weights(self, boxes_deg: Tensor, columns: Tensor) -> Tensor:
        """Share of each lattice point in each region, (n, 484)."""
        centre = (boxes_deg[:, :2] + boxes_deg[:, 2:]) / 2
        # a third of the side, at least the lattice's own spacing, at most what still is a direction
        spread = ((boxes_deg[:, 2:] - boxes_deg[:, :2]) / 3).clamp(6.0, 40.0)
        across = columns[None] - centre[:, :1]
        across = across - ERP_WIDTH * torch.round(across / ERP_WIDTH)
        down = self.rows[None] - centre[:, 1:]
        return torch.softmax(-0.5 * ((across / spread[:, :1]) ** 2 + (down / spread[:, 1:]) ** 2), dim=1)
