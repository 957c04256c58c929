"""AdamW with a rate for each part of the network, and which parts learn when."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import ReduceLROnPlateau

from sai_core.training.config import GROUPS, OptimiserSettings

_HEADS = (
    "box_head",
    "classifier",
    "box_deltas",
    "energy_head",
    "distance_head",
    "embedding_head",
    "decoder",
    "frame_classifier",
    "spectrum",
)
_BY_MODULE = {
    **dict.fromkeys(_HEADS, "heads"),
    "rpn": "rpn",
    "field_head": "field",
    "input_norm": "acoustic",
    "acoustic_pyramid": "acoustic",
    "fusion": "fusion",
    "cmaf": "fusion",
    "neck": "context",
    "adapter": "context",
}


def group_of(name: str) -> str:
    """Group (one of ``GROUPS``) of a parameter of a detector, from its name."""
    first, *rest = name.split(".")
    if first != "backbone":
        return _BY_MODULE[first]
    if rest[0] == "fpn":
        return "fpn"
    part = rest[1]
    return part if part.startswith("layer") else "stem"


class Strategy:
    """The optimiser of a detector with its frozen groups and rates.

    Parameters
    ----------
    model : nn.Module
    settings : OptimiserSettings
    pretrained : bool
        Whether the run starts from given weights; ``settings.frozen`` counts only then.
    """

    def __init__(self, model: nn.Module, settings: OptimiserSettings, *, pretrained: bool) -> None:
        self.settings = settings
        self.frozen_for_good = frozenset(settings.frozen) if pretrained else frozenset()
        self._by_group: dict[str, list[Tensor]] = {}
        self.names: list[str] = []
        groups = []
        for group in GROUPS:
            for decayed in (True, False):
                chosen = [
                    (n, p)
                    for n, p in model.named_parameters()
                    if group_of(n) == group and (p.ndim > 1 and "code" not in n) == decayed
                ]
                if not chosen:
                    continue
                self.names += [n for n, _ in chosen]
                self._by_group.setdefault(group, []).extend(p for _, p in chosen)
                groups.append(
                    {
                        "params": [p for _, p in chosen],
                        "weight_decay": settings.weight_decay if decayed else 0.0,
                        "group": group,
                    }
                )
        self.adamw = torch.optim.AdamW(groups, lr=settings.rate)
        self.factor = 1.0

    @property
    def groups(self) -> tuple[str, ...]:
        """Groups that this network has."""
        return tuple(self._by_group)

    def freeze(self, epoch: int) -> list[str]:
        """Let the groups learn that are to learn in this epoch; returns those that do not."""
        frozen = [
            g for g in self._by_group if g in self.frozen_for_good or epoch < int(self.settings.unfreeze.get(g, 0))
        ]
        for group, parameters in self._by_group.items():
            for p in parameters:
                p.requires_grad_(group not in frozen)
                if group in frozen:
                    p.grad = None
        return frozen

    def set_rates(self, step: int, total_steps: int) -> dict[str, float]:
        """Rate of every group at a step (from 0); returns them."""
        s = self.settings
        warm = min(1.0, (step + 1) / s.warmup_steps) if s.warmup_steps else 1.0
        left = (total_steps - step) / max(s.final_share * total_steps, 1e-9)
        shape = warm * min(1.0, left) * self.factor
        rates = {g: s.rate * float(s.scales.get(g, 1.0)) * shape for g in self._by_group}
        for group in self.adamw.param_groups:
            group["lr"] = rates[group["group"]]
        return rates

    def state(self) -> dict[str, Tensor]:
        """Moments and step counts by parameter name."""
        out: dict[str, Tensor] = {}
        ordered = [p for group in self.adamw.param_groups for p in group["params"]]
        for name, parameter in zip(self.names, ordered, strict=True):
            for key, value in self.adamw.state.get(parameter, {}).items():
                out[f"{name}/{key}"] = value
        return out

    def load_state(self, tensors: Mapping[str, Tensor]) -> None:
        """Take up what :meth:`state` gave."""
        ordered = [p for group in self.adamw.param_groups for p in group["params"]]
        for name, parameter in zip(self.names, ordered, strict=True):
            found: dict[str, Any] = {}
            for key in ("step", "exp_avg", "exp_avg_sq"):
                value = tensors.get(f"{name}/{key}")
                if value is not None:
                    # the step count stays on the CPU, as AdamW keeps it
                    found[key] = value if key == "step" else value.to(parameter.device)
            if found:
                self.adamw.state[parameter] = found


class Plateau:
    """torch's ReduceLROnPlateau on the mean of the last few validation losses.

    It turns down the rate, 1 at first, of an optimiser of its own: the factor of all rates.
    """

    def __init__(self, *, factor: float, patience: int, smooth: int) -> None:
        self.smooth = smooth
        self.losses: list[float] = []
        self._rates = torch.optim.SGD([torch.zeros(1)], lr=1.0)
        # torch refuses a factor of 1: then the rule waits for ever
        factor, patience = (factor, patience) if factor < 1 else (0.5, sys.maxsize)
        self._rule = ReduceLROnPlateau(self._rates, factor=factor, patience=patience, eps=0.0)

    @property
    def scale(self) -> float:
        """Factor of all rates."""
        return float(self._rates.param_groups[0]["lr"])

    def step(self, loss: float) -> float:
        """Take in the validation loss of an epoch; returns the factor of all rates from now on."""
        self.losses = [*self.losses, loss][-self.smooth :]
        self._rule.step(sum(self.losses) / len(self.losses))
        return self.scale

    def state(self) -> dict[str, Any]:
        """Plain numbers, for the checkpoint."""
        rule = self._rule
        return {"losses": self.losses, "best": rule.best, "waited": rule.num_bad_epochs, "scale": self.scale}

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Take up what :meth:`state` gave."""
        self.losses = [float(x) for x in state["losses"]]
        self._rule.best, self._rule.num_bad_epochs = float(state["best"]), int(state["waited"])
        self._rates.param_groups[0]["lr"] = float(state["scale"])


def clip_gradients(parameters: Iterable[Tensor], limit: float) -> float:
    """Scale all gradients so that their norm is at most ``limit``; returns the norm before."""
    with_gradient = [p for p in parameters if p.grad is not None]
    return float(torch.nn.utils.clip_grad_norm_(with_gradient, limit))
