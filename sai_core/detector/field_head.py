"""The field decoder within a detector: what four capsules hear of a frame, put right by what its pyramid sees.

The decoder (:mod:`sai_core.detector.field`) hears where the intensity is, as well as four capsules can. A detector
knows more: its pyramid has looked at maps of several frames, and with a camera at the things that sound. So the finest
level that all detectors have is read at each lattice point, and a layer adds to the decoder's log-intensity what
follows from both. It begins with nothing: a new head says what its decoder says.

Frames of training are turned and mirrored, and four capsules are not: the decoder hears the frame as it was, and the
pyramid is read where each lattice point came to lie.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sai_core.detector.backbone import LEVELS, Pyramid
from sai_core.detector.config import FieldConfig
from sai_core.detector.field import LEAST_INTENSITY, FieldNetwork, SphereFilter, load_field
from sai_core.detector.losses import roi_overlap_loss
from sai_core.detector.spectrum import lattice_pixels
from sai_core.errors import InputError
from sai_core.geometry import ERP_HEIGHT, ERP_WIDTH
from sai_core.labelling.differentiable import region_images

_LEVEL: Final[str] = LEVELS[1]
"""The finest level of every pyramid of ours: a cell has 7.5 degrees, lattice points are 9 apart."""

_STEP_DEG: Final[int] = 4
"""Rows and columns of the canvas that regions of the loss are looked at: the evaluator looks at every 3.6."""


@dataclass(frozen=True)
class HeardFrames:
    """What the decoder is given of the frames of a batch, and how they were turned.

    Attributes
    ----------
    heard : Tensor
        Either what :meth:`FieldNetwork.hidden` made of the frames, (batch, 484, channels), or matrices that it is yet
        to be made of, (batch, frames, 27, 16) with each frame in the middle.
    shift : int64 Tensor, shape (batch,), or None
        Degrees that the canvas was turned to the right by, after mirroring. None: frames are as they were.
    flip : bool Tensor, shape (batch,), or None
        Whether the canvas was mirrored.
    """

    heard: Tensor
    shift: Tensor | None = None
    flip: Tensor | None = None

    def __getitem__(self, part: slice) -> HeardFrames:
        return HeardFrames(
            self.heard[part],
            None if self.shift is None else self.shift[part],
            None if self.flip is None else self.flip[part],
        )

    def moved(self, columns: Tensor) -> Tensor:
        """Where columns (positions in degrees, (n,) or (batch, n)) of frames as they were came to lie: (batch, n)."""
        wide = columns.expand(len(self.heard), -1)
        if self.shift is None or self.flip is None:
            return wide
        mirrored = torch.where(self.flip[:, None], ERP_WIDTH - wide, wide)
        return (mirrored + self.shift[:, None]) % ERP_WIDTH

    def moved_back(self, columns: Tensor, frame: Tensor) -> Tensor:
        """Where columns (n,) of the canvas lay before, each in the frame of the batch that ``frame`` (n,) names."""
        if self.shift is None or self.flip is None:
            return columns
        unturned = (columns - self.shift[frame]) % ERP_WIDTH
        return torch.where(self.flip[frame], ERP_WIDTH - unturned, unturned) % ERP_WIDTH


class FieldHead(nn.Module):
    """Log-intensity of the lattice of each frame.

    Parameters
    ----------
    config : FieldConfig
        Of the decoder.
    channels : int
        Of the pyramid.
    """

    rows: Tensor
    columns: Tensor

    def __init__(self, config: FieldConfig, channels: int) -> None:
        super().__init__()
        self.network = FieldNetwork(config)
        columns, rows = lattice_pixels()
        self.register_buffer("rows", torch.from_numpy(rows.copy()), persistent=False)
        self.register_buffer("columns", torch.from_numpy(columns.copy()), persistent=False)
        width = config.channels
        self.seen = nn.Sequential(nn.LayerNorm(channels), nn.Linear(channels, width))
        self.heard = nn.LayerNorm(width)
        self.around = SphereFilter(2 * width, config.degree)
        self.mix = nn.Linear(4 * width, 2 * width)
        self.mix2 = nn.Linear(2 * width, width)
        self.out = nn.Linear(width, 1)
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)

    def forward(self, frames: HeardFrames, pyramid: Pyramid) -> Tensor:
        """Natural logarithm of the intensity, (batch, 484), lattice as it was before any turn; at least ``ln 1e-5``."""
        hidden = frames.heard
        if hidden.ndim == 4:
            hidden = self.network.hidden(hidden)[:, :, hidden.shape[1] // 2].transpose(0, 1)
        decoded = self.network.of_hidden(hidden.transpose(0, 1)[:, None])[0]
        both = torch.cat([self.heard(hidden), self.seen(self.read(frames, pyramid))], dim=-1)
        near = self.around(both.transpose(0, 1)).transpose(0, 1)
        found = F.gelu(self.mix2(F.gelu(self.mix(torch.cat([both, near], dim=-1)))))
        field = decoded + self.out(found)[..., 0].float()
        return field.clamp(min=float(np.log(LEAST_INTENSITY)))

    def read(self, frames: HeardFrames, pyramid: Pyramid) -> Tensor:
        """The pyramid at each lattice point, (batch, 484, channels), between its cells."""
        level = pyramid[_LEVEL]
        batch, _, height, width = level.shape
        x = frames.moved(self.columns) * (width / ERP_WIDTH) - 0.5
        y = (self.rows * (height / ERP_HEIGHT) - 0.5).clamp(0.0, height - 1.0).expand(batch, -1)
        left, top = x.floor(), y.floor().clamp(max=height - 2.0)
        flat = level.flatten(2)
        parts = []
        for right in (0, 1):
            share_x = x - left if right else 1.0 - (x - left)
            column = (left.long() + right) % width
            for down in (0, 1):
                share_y = y - top if down else 1.0 - (y - top)
                index = (top.long() + down) * width + column
                value = flat.gather(2, index[:, None].expand(-1, flat.shape[1], -1))
                parts.append(value * (share_x * share_y)[:, None].to(value.dtype))
        return torch.stack(parts).sum(dim=0).transpose(1, 2)

    def loss(self, field: Tensor, frames: HeardFrames, boxes_deg: Tensor, frame: Tensor, maps: Tensor) -> Tensor:
        """What label code forms of the field at the middle of boxes, against labels.

        Parameters
        ----------
        field : Tensor, shape (batch, 484)
            From :meth:`forward`.
        frames : HeardFrames
        boxes_deg : Tensor, shape (n, 4)
            About where a source is, canvas degrees of the turned frames.
        frame : int64 Tensor, shape (n,)
            Frame of the batch that each box is in.
        maps : Tensor, shape (n, 180, 360)
            Energy of each label on the turned canvas.
        """
        if not len(boxes_deg):
            return field.sum() * 0.0
        middle = (boxes_deg[:, :2] + boxes_deg[:, 2:]) / 2
        column = frames.moved_back(middle[:, 0] % ERP_WIDTH, frame)
        azimuth, elevation = 180.0 - column, (90.0 - middle[:, 1]).clamp(-89.0, 89.0)
        formed = region_images(field[frame].exp(), azimuth, elevation, step=_STEP_DEG)
        # the middle of a pixel moves to the middle of a pixel
        pixels = torch.arange(0, ERP_WIDTH, _STEP_DEG, device=field.device)
        there = frames.moved(pixels + 0.5)[frame].floor().long() % ERP_WIDTH
        wanted = maps[:, ::_STEP_DEG].gather(2, there[:, None].expand(-1, formed.shape[1], -1))
        return roi_overlap_loss(formed, wanted.to(formed.dtype))


class HasField(Protocol):
    """A detector as :func:`take_field` sees it."""

    field_head: FieldHead | None


def take_field(detector: HasField, path: Path) -> None:
    """Give a detector with ``region = "field"`` the decoder that ``train field`` made.

    Raises
    ------
    InputError
        A detector without a field; not such a file; a decoder of another size.
    """
    decoder = load_field(path)
    if detector.field_head is None:
        raise InputError(f'{path}: this network has no field decoder within; set model.region = "field".')
    own = detector.field_head.network
    if own.config != decoder.config:
        wanted, found = own.config, decoder.config
        raise InputError(
            f"{path}: a field decoder of {found.channels} channels, {found.blocks} blocks and degree {found.degree}; "
            f"the network wants {wanted.channels}, {wanted.blocks} and {wanted.degree} (model.field_channels, "
            "model.field_blocks, model.field_degree)."
        )
    own.load_state_dict(decoder.state_dict())
