"""Several processes on one run (``torchrun``): each takes its share of every batch, gradients are averaged.

Rank 0 alone writes the run folder, validates and decides when to stop; the others follow. Without ``torchrun`` all of
this does nothing.
"""

from __future__ import annotations

import datetime
import os
from collections.abc import Iterable
from typing import Final

import torch
from torch import Tensor, distributed

from sai_core.errors import InputError

_PATIENCE: Final[datetime.timedelta] = datetime.timedelta(hours=2)
"""How long the others wait for rank 0, which validates and decodes data on its own."""


class Workers:
    """The processes of a run, and which of them this one is.

    Attributes
    ----------
    rank, world : int
    local_rank : int
        Number on this machine, which is the number of its GPU.

    Raises
    ------
    InputError
        ``RANK`` and ``WORLD_SIZE`` are set to nonsense.
    """

    def __init__(self) -> None:
        try:
            self.rank, self.world = int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))
            self.local_rank = int(os.environ.get("LOCAL_RANK", str(self.rank)))
        except ValueError as error:
            raise InputError(
                "RANK and WORLD_SIZE must be whole numbers; start several processes by torchrun."
            ) from error
        if not 0 <= self.rank < self.world:
            raise InputError(f"RANK {self.rank} and WORLD_SIZE {self.world} do not fit; start processes by torchrun.")
        self._device = torch.device("cpu")

    @property
    def first(self) -> bool:
        """Whether this one writes."""
        return self.rank == 0

    def join(self, device: torch.device) -> None:
        """Meet the others."""
        self._device = device
        if self.world > 1 and not distributed.is_initialized():
            distributed.init_process_group("nccl" if device.type == "cuda" else "gloo", timeout=_PATIENCE)

    def leave(self) -> None:
        """Part from the others."""
        if self.world > 1 and distributed.is_initialized():
            distributed.destroy_process_group()

    def device(self, device: torch.device) -> torch.device:
        """GPU of this process where several share a machine."""
        if self.world > 1 and device.type == "cuda" and device.index is None:
            return torch.device("cuda", self.local_rank)
        return device

    def wait(self) -> None:
        """Wait until all are here."""
        self.mean([0.0])

    def mean(self, values: Iterable[float]) -> list[float]:
        """Means over all processes, the same for each."""
        mine = list(values)
        if self.world == 1:
            return mine
        together = torch.tensor(mine, dtype=torch.float64, device=self._device)
        distributed.all_reduce(together)
        return [float(v) for v in (together / self.world).tolist()]

    def average_gradients(self, parameters: Iterable[Tensor]) -> None:
        """Replace gradients by their mean over all processes; a missing one counts as zero."""
        if self.world == 1:
            return
        learning = [p for p in parameters if p.requires_grad]
        for p in learning:
            if p.grad is None:
                p.grad = torch.zeros_like(p)
        flat = torch.cat([p.grad.reshape(-1) for p in learning])
        distributed.all_reduce(flat)
        flat /= self.world
        start = 0
        for p in learning:
            p.grad.copy_(flat[start : start + p.numel()].view_as(p))
            start += p.numel()
