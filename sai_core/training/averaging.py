"""Running mean of a network's weights, which is what is validated and kept."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel


class AveragedWeights:
    """Exponential mean of a network's parameters, by torch's ``AveragedModel``.

    Parameters
    ----------
    model : nn.Module
        The network that learns, on its device.
    decay : float
        Share of the mean that a step leaves, in [0, 1). At the start less: the mean must forget the first weights.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        def follow(means: list[Tensor], weights: list[Tensor], updates: Tensor | int) -> None:
            n = int(updates)
            share = 1 - min(decay, (1 + n) / (10 + n))
            for mean, weight in zip(means, weights, strict=True):
                mean.lerp_(weight, share)

        self._model = model
        self._mean = AveragedModel(model, multi_avg_fn=follow)

    @property
    def weights(self) -> dict[str, Tensor]:
        """The mean of each parameter, by its name in the network."""
        return {name: mean.detach() for name, mean in self._mean.module.named_parameters()}

    def update(self) -> None:
        """Take in the weights after a step."""
        self._mean.update_parameters(self._model)

    def updated(self, updates: int) -> None:
        """Go on as after so many updates; the means themselves are put into :attr:`weights`."""
        self._mean.n_averaged.fill_(updates)

    def put_into_model(self) -> None:
        """Make the mean the network's weights."""
        _put(self.weights, self._model)

    @contextmanager
    def in_model(self) -> Iterator[None]:
        """The mean in the place of the network's weights, for as long as this lasts."""
        kept = {name: parameter.detach().clone() for name, parameter in self._model.named_parameters()}
        self.put_into_model()
        try:
            yield
        finally:
            _put(kept, self._model)


@torch.no_grad()
def _put(weights: Mapping[str, Tensor], model: nn.Module) -> None:
    for name, parameter in model.named_parameters():
        parameter.copy_(weights[name])
