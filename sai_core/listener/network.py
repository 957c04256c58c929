"""The network that listens, and its file."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import torch
from safetensors.torch import save
from torch import Tensor, nn

from sai_core.checkpoints import load_into, read_checkpoint
from sai_core.errors import InputError
from sai_core.files import atomic_write
from sai_core.listener.spectrum import N_BANDS
from sai_core.taxonomy import N_CLASSES

NOTHING: Final[int] = N_CLASSES
"""Index of the output for a direction in which nothing of the 13 classes sounds."""

FORMAT: Final[str] = "1"


class ListenerNet(nn.Module):
    """Convolutions over time and bands, then over time; what was found anywhere in the window counts.

    Parameters
    ----------
    width : int
        Channels of the first layer; the others follow.
    """

    def __init__(self, width: int = 16) -> None:
        super().__init__()

        def layer(before: int, after: int, stride: tuple[int, int]) -> nn.Sequential:
            return nn.Sequential(
                nn.Conv2d(before, after, 3, stride=stride, padding=1, bias=False), nn.BatchNorm2d(after), nn.ReLU()
            )

        self.width = width
        self.bands = nn.Sequential(
            layer(1, width, (2, 2)),
            layer(width, 2 * width, (2, 2)),
            layer(2 * width, 4 * width, (2, 2)),
            layer(4 * width, 6 * width, (1, 2)),
        )
        n = 6 * width * (N_BANDS // 16)
        self.time = nn.Sequential(
            nn.Conv1d(n, 10 * width, 3, padding=1, bias=False), nn.BatchNorm1d(10 * width), nn.ReLU()
        )
        self.out = nn.Sequential(nn.Dropout(0.2), nn.Linear(20 * width, N_CLASSES + 1))

    def forward(self, windows: Tensor) -> Tensor:
        """Logits (n, 14): the 13 classes, then nothing; of windows (n, 100, 64) as ``network_input`` gives them."""
        x = self.bands(windows[:, None])
        x = self.time(x.transpose(2, 3).flatten(1, 2))
        logits: Tensor = self.out(torch.cat([x.mean(dim=2), x.amax(dim=2)], dim=1))
        return logits


def save_listener(model: ListenerNet, path: Path, *, notes: Mapping[str, str]) -> None:
    """Write weights in half precision, with where they come from."""
    state = {k: v.detach().cpu().contiguous() for k, v in model.state_dict().items() if v.is_floating_point()}
    header = {"sai_listener": json.dumps({"format": FORMAT, "width": model.width}), **notes}
    with atomic_write(path) as stream:
        stream.write(save({k: v.half() for k, v in state.items()}, metadata=header))


def load_listener(path: Path) -> tuple[ListenerNet, dict[str, str]]:
    """Network (in evaluation mode) and metadata of a file.

    Raises
    ------
    InputError
        No such file, or not a listener of this program.
    """
    stored = read_checkpoint(path)
    try:
        facts = json.loads(stored.metadata["sai_listener"])
        version, width = str(facts["format"]), int(facts["width"])
    except (KeyError, TypeError, ValueError):
        raise InputError(f"{path}: is not a listener of this program; `train listener` makes one.") from None
    if version != FORMAT or not 1 <= width <= 256:
        raise InputError(f"{path}: is a listener of another version of this program (format {version}).")
    model = ListenerNet(width)
    counts = {k: v for k, v in model.state_dict().items() if k.endswith("num_batches_tracked")}
    load_into(model, {**stored.tensors, **counts}, path, what="the listener")
    return model.eval(), stored.metadata
