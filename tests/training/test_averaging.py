"""The running mean of the weights: what it is, and that it goes on after a checkpoint to the bit."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from sai_core.training.averaging import AveragedWeights


class Small(nn.Module):
    """Real and complex parameters, one that does not learn, and buffers."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4))
        self.phase = nn.Parameter(torch.randn(5, dtype=torch.complex64))
        self.fixed = nn.Parameter(torch.randn(2), requires_grad=False)


def _learn(model: nn.Module, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.add_(torch.randn(parameter.shape, generator=generator).to(parameter.dtype))


def test_the_mean_follows_fast_at_first_and_with_its_decay_later() -> None:
    model = Small()
    average = AveragedWeights(model, 0.8)
    start, weight = model.fixed.clone(), model.layer[0].weight
    expected = None
    for n in range(60):
        _learn(model, n)
        average.update()
        share = 1 - min(0.8, (1 + n) / (10 + n))
        now = weight.detach().numpy().astype(np.float64)
        expected = now if expected is None else expected + share * (now - expected)
        np.testing.assert_allclose(average.weights["layer.0.weight"].numpy(), expected, rtol=1e-4, atol=1e-4)
    assert torch.equal(average.weights["fixed"], start)
    assert set(average.weights) == {name for name, _ in model.named_parameters()}


def test_it_stands_in_for_the_weights_and_gives_them_back() -> None:
    model = Small()
    average = AveragedWeights(model, 0.9)
    for n in range(5):
        _learn(model, n)
        average.update()
    last = {name: p.detach().clone() for name, p in model.named_parameters()}

    def fails_meanwhile() -> None:
        with average.in_model():
            for name, parameter in model.named_parameters():
                assert torch.equal(parameter, average.weights[name])
            raise RuntimeError("in the middle")

    with pytest.raises(RuntimeError, match="in the middle"):
        fails_meanwhile()
    assert all(torch.equal(p, last[name]) for name, p in model.named_parameters())
    assert not torch.equal(average.weights["phase"], last["phase"])
    average.put_into_model()
    assert all(torch.equal(p, average.weights[name]) for name, p in model.named_parameters())


@pytest.mark.parametrize("at", [0, 1, 7])
def test_it_goes_on_after_a_checkpoint_to_the_bit(at: int) -> None:
    def run(model: Small, average: AveragedWeights, first: int, last: int) -> None:
        for n in range(first, last):
            _learn(model, n)
            average.update()

    torch.manual_seed(1)
    model = Small()
    average = AveragedWeights(model, 0.9)
    run(model, average, 0, at)
    again = Small()
    resumed = AveragedWeights(again, 0.9)
    again.load_state_dict(model.state_dict())
    for name, value in resumed.weights.items():
        value.copy_(average.weights[name])
    resumed.updated(at)
    run(model, average, at, 12)
    run(again, resumed, at, 12)
    for name, value in average.weights.items():
        assert torch.equal(value, resumed.weights[name])
