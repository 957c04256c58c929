"""What trainings do alike: how a run begins or goes on, and epochs of steps with a measurement after each.

A kind of training that is made of epochs is a subclass of :class:`EpochTrainer` that says what a step learns from and
what is measured. Whatever a subclass draws must be a function of the seed and the step (or be kept in the checkpoint):
then a run that was killed and resumed makes the same steps as one that was not.
"""

from __future__ import annotations

import json
import math
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from functools import lru_cache
from typing import Any, Generic, Protocol, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from sai_core.errors import InputError, SaiError
from sai_core.runs.checkpoint import parts_of, save_state
from sai_core.runs.folder import RunFolder
from sai_core.runs.kinds import RunInputs, kind_of, split_config
from sai_core.runs.lifecycle import Life

Config = TypeVar("Config", bound=Any)
Network = TypeVar("Network", bound=nn.Module)


@contextmanager
def held_run(
    kind: str,
    folder: RunFolder,
    config: Config | None,
    inputs: RunInputs,
    *,
    resume: bool,
    faults: Callable[[Config, RunInputs], Sequence[SaiError]],
) -> Iterator[tuple[Config, RunInputs]]:
    """Hold a run's folder; gives its settings and inputs, which on ``resume`` are its own where nothing else is given.

    Raises
    ------
    InputError
        No settings for a new run, or a run in the folder already or running; nothing to resume.
    SaiError
        The first of the ``faults``, before a folder is made.
    """
    if resume:
        folder.config()  # nothing is made where there is no run
    else:
        if config is None:
            raise InputError("a new run needs settings.")
        folder.refuse_old()
        for error in faults(config, inputs):
            raise error
    settings: Any = config
    with folder.held():
        if resume:
            source = str(folder.path / "config.json")
            raw, kept = split_config(folder.config(), source)
            settings, inputs = kind_of(kind).config_from(raw, source), inputs.over(kept)
        else:
            folder.begin({"kind": kind, **asdict(settings), **inputs.as_dict()})
        yield settings, inputs


class EpochSettings(Protocol):
    """Settings that every training of epochs has."""

    @property
    def epochs(self) -> int:
        """Passes."""

    @property
    def rate(self) -> float:
        """Highest learning rate."""

    @property
    def weight_decay(self) -> float:
        """Of AdamW."""

    @property
    def checkpoint_minutes(self) -> float:
        """Between checkpoints."""


class EpochTrainer(ABC, Generic[Network]):
    """Epochs of steps with AdamW: learn, tell, save; resumable to the bit.

    Parameters
    ----------
    config : EpochSettings
    folder : RunFolder
    lived : Life
    model : Module
        On its device.
    per_epoch : int
        Steps.
    clip : float
        Largest norm of the gradients.
    prepared : float
        Share of the run's progress that was told before the first step.
    frames : int
        Of a step, for the pace; 0 where steps are not made of frames.

    Attributes
    ----------
    step, epoch : int
        Made and measured in all.
    seconds : float
        That steps and measurements took.
    losses : list
        Of the epoch's steps: numbers, or rows of them whose first is the loss.
    best : JSON value
        What the best weights are worth.
    """

    best: Any = -1.0

    def __init__(
        self,
        config: EpochSettings,
        folder: RunFolder,
        lived: Life,
        model: Network,
        *,
        per_epoch: int,
        clip: float,
        prepared: float,
        frames: int = 0,
    ) -> None:
        self._settings, self.folder, self.lived, self.model = config, folder, lived, model
        self.optimiser = torch.optim.AdamW(model.parameters(), lr=config.rate, weight_decay=config.weight_decay)
        self.per_epoch, self.total = per_epoch, per_epoch * config.epochs
        self._clip, self._prepared, self._frames = clip, prepared, frames
        self.step, self.epoch = 0, 0
        self.seconds = 0.0
        self.losses: list[Any] = []

    @abstractmethod
    def rate_at(self, step: int) -> float:
        """Learning rate of a step."""

    @abstractmethod
    def learn(self) -> tuple[Tensor, Any]:
        """Loss of the step :attr:`step`, and what of it goes into :attr:`losses`."""

    @abstractmethod
    def measure(self) -> None:
        """Measure the epoch, :meth:`append` its rows and keep the best weights."""

    @abstractmethod
    def summary(self) -> str:
        """The losses so far of the epoch, in a few words."""

    def begin_epoch(self) -> None:
        """What is to be done before the first step of an epoch, or before the first after a resume."""

    def run(self) -> None:
        """Train to the end, or until it is asked to stop."""
        saved = time.monotonic()
        if not self.folder.last.exists():
            self.save()  # a full disk shows now, not after an epoch
        while self.epoch < self._settings.epochs:
            self.begin_epoch()
            while self.step < (self.epoch + 1) * self.per_epoch:
                self._train_step()
                if self.folder.stop_wanted():
                    self.save()
                    self.lived.stopped = True
                    return
                if time.monotonic() - saved > 60 * self._settings.checkpoint_minutes:
                    self.save()
                    saved = time.monotonic()
            self.measure()
            self.epoch, self.losses = self.epoch + 1, []
            self.save()
            saved = time.monotonic()
            if self.folder.stop_wanted() and self.epoch < self._settings.epochs:
                self.lived.stopped = True
                return

    def _train_step(self) -> None:
        before, rate = self.seconds, self.rate_at(self.step)
        with self.timed():
            for group in self.optimiser.param_groups:
                group["lr"] = rate
            loss, shown = self.learn()
            if not bool(torch.isfinite(loss)):
                raise SaiError(
                    f"{self.folder.path}: the loss is not a number in epoch {self.epoch + 1}; start again with a "
                    "smaller rate (--set rate=...)."
                )
            self.optimiser.zero_grad(set_to_none=True)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(self.model.parameters(), self._clip)
            self.optimiser.step()
            self.losses.append(shown)
            self.step += 1
        pace = {"frames_per_s": self._frames / max(self.seconds - before, 1e-9)} if self._frames else {}
        self.lived.tell(
            self._prepared + (1.0 - self._prepared) * self.step / self.total,
            f"epoch {self.epoch + 1} of {self._settings.epochs}: {self.summary()}",
            epoch=self.epoch,
            step=self.step,
            steps=self.total,
            eta_s=(self.total - self.step) * self.seconds / self.step,
            rates={"all": rate},
            **pace,
        )

    @contextmanager
    def timed(self) -> Iterator[None]:
        """Count what is done meanwhile into :attr:`seconds`."""
        started = time.monotonic()
        yield
        self.seconds += time.monotonic() - started

    def mean_losses(self) -> Any:
        """Mean of the epoch's losses: a number, or a row of them."""
        return np.mean(self.losses, axis=0).tolist()

    def append(self, kind: str, **figures: float) -> None:
        """Add a row to ``metrics.csv``."""
        place = {"epoch": self.epoch, "step": self.step, "seconds": round(self.seconds, 2)}
        self.folder.append({**place, "kind": kind, **figures})

    def save(self, more: Mapping[str, Tensor] | None = None) -> None:
        """Write everything that going on needs, atomically."""
        tensors: dict[str, Tensor] = {f"model/{k}": v for k, v in self.model.state_dict().items()}
        for index, state in sorted(self.optimiser.state_dict()["state"].items()):
            tensors |= {f"optimiser/{index}/{k}": v for k, v in state.items()}
        header = {
            "step": str(self.step),
            "epoch": str(self.epoch),
            "seconds": repr(self.seconds),
            "losses": json.dumps(self.losses),
            "best": json.dumps(self.best),
        }
        save_state(self.folder, {**tensors, **(more or {})}, header)

    def take(self, header: Mapping[str, str], tensors: Mapping[str, Tensor]) -> None:
        """Take up what :meth:`save` wrote."""
        self.epoch = int(header["epoch"])
        # older teachers were saved between epochs alone, where nothing has been summed up
        self.step = int(header.get("step", self.epoch * self.per_epoch))
        self.best, self.seconds = json.loads(header["best"]), float(header["seconds"])
        self.losses = json.loads(header.get("losses", "[]"))
        parts = parts_of(tensors, "model", "optimiser", "chance")
        self.model.load_state_dict(parts["model"])
        state: dict[int, dict[str, Tensor]] = {}
        for key, value in parts["optimiser"].items():
            index, _, name = key.partition("/")
            state.setdefault(int(index), {})[name] = value
        self.optimiser.load_state_dict({"state": state, "param_groups": self.optimiser.state_dict()["param_groups"]})


def cosine_rate(peak: float, step: int, total: int, *, rise: int = 0, floor: float = 0.0) -> float:
    """Learning rate of a step: up along a line for ``rise`` steps, then down along a cosine to ``floor * peak``."""
    if step < rise:
        return peak * (step + 1) / rise
    return peak * (floor + (1.0 - floor) * 0.5 * (1.0 + math.cos(math.pi * (step - rise) / max(total - rise, 1))))


@lru_cache
def processor_has_bfloat16() -> bool:
    """Whether this CPU has instructions for products in bfloat16; without them, float32 trains 2.5 times as fast."""
    capabilities = torch.cpu.get_capabilities()
    return bool(capabilities.get("avx512_bf16") or capabilities.get("amx_bf16"))
