"""AV-SELDnet: convolutions over time and frequency, a recurrent layer, self-attention, Multi-ACCDOA.

In
    ``spectral`` float32 (batch, channels, 5 * frames, 64); optionally ``visual`` float32 (batch, frames, 216).
Out
    float32 (batch, frames, 3 tracks, 13 classes, 4): a vector whose length is the activity and whose direction is the
    source's (x front, y left, z up), and the distance in units of 500 cm (>= 0).

References
----------
K. Shimada et al., "Multi-ACCDOA: localizing and detecting overlapping sounds from the same class with auxiliary
duplicating permutation invariant training", ICASSP 2022 (the loss); the DCASE 2023 Task 3 description (the network).
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from itertools import permutations, product
from pathlib import Path
from typing import Final

import numpy as np
import torch
from safetensors.torch import save
from torch import Tensor, nn

from sai_core.checkpoints import load_into, printable, read_metadata, read_state_dict
from sai_core.errors import InputError
from sai_core.files import atomic_write
from sai_core.settings import build_json
from sai_core.taxonomy import N_CLASSES
from sai_core.teacher.config import TeacherConfig
from sai_core.teacher.features import CHANNELS, HOPS_PER_FRAME, N_MELS, VISUAL_GRID_HW, AudioKind

N_TRACKS: Final[int] = 3
DISTANCE_UNIT_CM: Final[float] = 500.0
DEFAULT_THRESHOLD: Final[float] = 0.5
"""Least length of an active vector where nothing better is known (Multi-ACCDOA paper)."""
_VISUAL: Final[int] = VISUAL_GRID_HW[0] * VISUAL_GRID_HW[1] * 3


class AvSeldNet(nn.Module):
    """The teacher's network."""

    def __init__(self, config: TeacherConfig) -> None:
        super().__init__()
        self.config = config
        self.audio: AudioKind = config.audio
        self.threshold = DEFAULT_THRESHOLD
        width = config.filters
        blocks: list[nn.Module] = []
        channels = CHANNELS[config.audio]
        for time_pool, mel_pool in ((HOPS_PER_FRAME, 4), (1, 4), (1, 2)):
            blocks += [
                nn.Conv2d(channels, width, 3, padding=1, bias=False),
                nn.BatchNorm2d(width),
                nn.ReLU(),
                nn.MaxPool2d((time_pool, mel_pool)),
                nn.Dropout(config.dropout),
            ]
            channels = width
        self.convolutions = nn.Sequential(*blocks)
        inputs = width * (N_MELS // 32)
        self.see = nn.Sequential(nn.Linear(_VISUAL, 64), nn.ReLU()) if config.visual else None
        self.recurrent = nn.GRU(
            inputs + (64 if config.visual else 0),
            config.hidden // 2,
            num_layers=2,
            batch_first=True,
            bidirectional=True,
        )
        self.attention = nn.ModuleList(
            nn.MultiheadAttention(config.hidden, config.heads, dropout=config.dropout, batch_first=True)
            for _ in range(config.attention_layers)
        )
        self.norms = nn.ModuleList(nn.LayerNorm(config.hidden) for _ in range(config.attention_layers))
        self.head = nn.Sequential(nn.Linear(config.hidden, 128), nn.ReLU(), nn.Linear(128, N_TRACKS * N_CLASSES * 4))

    def forward(self, spectral: Tensor, visual: Tensor | None = None) -> Tensor:
        """Multi-ACCDOA of a batch; shapes in the module's description.

        Raises
        ------
        InputError
            Wrong shapes, or no pictures for a network that sees.
        """
        channels = CHANNELS[self.config.audio]
        if spectral.ndim != 4 or spectral.shape[1] != channels or spectral.shape[3] != N_MELS:
            raise InputError(
                f"teacher: features (batch, {channels}, time, {N_MELS}) are needed, got {tuple(spectral.shape)}."
            )
        x = self.convolutions(spectral)  # (batch, width, frames, 2)
        batch, _, frames, _ = x.shape
        x = x.permute(0, 2, 1, 3).reshape(batch, frames, -1)
        if self.see is not None:
            if visual is None or tuple(visual.shape) != (batch, frames, _VISUAL):
                raise InputError(f"teacher: pictures of shape ({batch}, {frames}, {_VISUAL}) are needed.")
            x = torch.cat([x, self.see(visual)], dim=2)
        x = self.recurrent(x)[0]
        for attention, norm in zip(self.attention, self.norms, strict=True):
            x = norm(x + attention(x, x, x, need_weights=False)[0])
        out = self.head(x).reshape(batch, frames, N_TRACKS, N_CLASSES, 4)
        return torch.cat([torch.tanh(out[..., :3]), torch.relu(out[..., 3:])], dim=-1)


def _assignments() -> tuple[tuple[tuple[int, int, int], ...], ...]:
    """For 0 to 3 sources of a class: which source each of the three tracks may stand for (-1: none)."""
    out: list[tuple[tuple[int, int, int], ...]] = [((-1, -1, -1),)]
    for n in (1, 2, 3):
        ways = [w for w in product(range(n), repeat=N_TRACKS) if set(w) == set(range(n))]
        out.append(tuple((w[0], w[1], w[2]) for w in ways))
    assert set(out[3]) == {(p[0], p[1], p[2]) for p in permutations(range(3))}
    return tuple(out)


ASSIGNMENTS: Final = _assignments()


def adpit_loss(predicted: Tensor, sources: Tensor, count: Tensor) -> Tensor:
    """Mean squared error under the best assignment of sources to tracks, chosen for each frame and class.

    With fewer sources than tracks, sources are duplicated, so that no track has to be silent by chance; with none, all
    tracks are pulled to zero.

    Parameters
    ----------
    predicted : Tensor, shape (batch, frames, 3, 13, 4)
    sources : Tensor, shape (batch, frames, 13, 3, 4)
        Unit vector and distance of up to three sources of each class; what is beyond ``count`` is ignored.
    count : int Tensor, shape (batch, frames, 13)
    """
    tracks = predicted.permute(0, 1, 3, 2, 4)  # (batch, frames, 13, 3, 4)
    total = predicted.new_zeros(count.shape)
    for n, ways in enumerate(ASSIGNMENTS):
        chosen = count == n
        if not bool(chosen.any()):
            continue
        mine = tracks[chosen]
        if n == 0:
            total[chosen] = mine[..., :3].square().mean(dim=(1, 2))
            continue
        wanted = sources[chosen]
        errors = torch.stack([(mine - wanted[:, list(way)]).square().mean(dim=(1, 2)) for way in ways])
        total[chosen] = errors.amin(dim=0)
    return total.mean()


def save_teacher(
    model: AvSeldNet,
    path: Path,
    *,
    threshold: float = DEFAULT_THRESHOLD,
    notes: Mapping[str, str] | None = None,
) -> None:
    """Write weights, configuration and activity threshold to one safetensors file, atomically."""
    settings = {"sai_teacher": json.dumps(dataclasses.asdict(model.config)), "threshold": repr(float(threshold))}
    metadata = {**settings, **(notes or {})}
    state = {k: v.detach().cpu().contiguous() for k, v in model.state_dict().items()}
    with atomic_write(Path(path)) as stream:
        stream.write(save(state, metadata=metadata))


def load_teacher(path: Path, *, device: str | torch.device = "cpu") -> AvSeldNet:
    """Open what :func:`save_teacher` wrote, in evaluation mode; the file's activity threshold becomes ``threshold``.

    Raises
    ------
    InputError
        No such file, or not a teacher of this program.
    """
    path = Path(path)
    metadata = read_metadata(path)
    try:
        config = build_json(TeacherConfig, metadata["sai_teacher"], f"{path}: teacher configuration")
        threshold = float(metadata.get("threshold", DEFAULT_THRESHOLD))
    except InputError:
        raise
    except (KeyError, ValueError) as error:
        raise InputError(
            f"{path}: not a teacher of this program, whose settings would be in its header ({printable(str(error))})."
        ) from error
    model = AvSeldNet(config)
    model.threshold = threshold
    load_into(model, read_state_dict(path), path, what="a teacher with this configuration")
    return model.to(device).eval()


@torch.inference_mode()
def output_of(model: AvSeldNet, spectral: np.ndarray, visual: np.ndarray | None) -> np.ndarray:
    """Multi-ACCDOA of a whole recording, float32 (frames, 3, 13, 4)."""
    model.eval()
    if spectral.shape[1] == 0:
        return np.zeros((0, N_TRACKS, N_CLASSES, 4), np.float32)
    device = next(model.parameters()).device
    seen = None if visual is None else torch.from_numpy(visual)[None].to(device)
    output: np.ndarray = model(torch.from_numpy(spectral.astype(np.float32))[None].to(device), seen)[0].cpu().numpy()
    return output
