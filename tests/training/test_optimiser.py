"""Rates per layer, freezing, clipping and the plateau rule."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sai_core.detector.config import DetectorConfig
from sai_core.detector.models import SaiDetector
from sai_core.runs.kinds import KINDS
from sai_core.training.config import GROUPS, OptimiserSettings
from sai_core.training.optimiser import Plateau, Strategy, clip_gradients, group_of


def _model(track: str = "A", region: str = "roi") -> SaiDetector:
    changes = {"width": 16, "channels": 32, "acoustic_channels": 8, "neck": True, "conformer": True, "region": region}
    return SaiDetector(DetectorConfig.small(track, context_frames=1, **changes))  # type: ignore[arg-type]


@pytest.mark.parametrize("track", ["A", "B"])
def test_every_parameter_is_in_exactly_one_group(track: str) -> None:
    model = _model(track, region="field")
    groups = {group_of(name) for name, _ in model.named_parameters()}
    assert groups <= set(GROUPS)
    assert groups == set(GROUPS) - (set() if track == "B" else {"acoustic", "fusion"})
    strategy = Strategy(model, OptimiserSettings(), pretrained=False)
    ours = [id(p) for g in strategy.adamw.param_groups for p in g["params"]]
    assert sorted(ours) == sorted(id(p) for p in model.parameters())
    assert sorted(strategy.names) == sorted(n for n, _ in model.named_parameters())


def test_heads_and_stem_have_the_base_rate_and_the_rest_less() -> None:
    settings = KINDS["detector"].read_config("track_a").optimiser
    strategy = Strategy(_model(), settings, pretrained=True)
    rates = strategy.set_rates(10_000, 100_000)
    assert rates["heads"] == rates["stem"] == settings.rate
    assert rates["layer1"] < rates["layer3"] < rates["layer4"] <= rates["fpn"] < settings.rate
    in_use = {g["group"]: g["lr"] for g in strategy.adamw.param_groups}
    assert in_use == rates


def test_layers_begin_to_learn_at_epochs_2_and_10() -> None:
    model = _model()
    strategy = Strategy(model, KINDS["detector"].read_config("track_a").optimiser, pretrained=False)
    frozen = {epoch: set(strategy.freeze(epoch)) for epoch in (0, 1, 2, 9, 10, 30)}
    deep = {"layer1", "layer2"}
    assert frozen[0] == frozen[1] == {*deep, "layer3", "layer4", "fpn"}
    assert frozen[2] == frozen[9] == deep
    assert frozen[10] == frozen[30] == set()
    strategy.freeze(2)
    for name, parameter in model.named_parameters():
        assert parameter.requires_grad == (group_of(name) not in deep)


def test_frozen_for_good_counts_only_with_given_weights() -> None:
    settings = OptimiserSettings(frozen=("rpn", "layer1"), unfreeze={})
    assert Strategy(_model(), settings, pretrained=False).freeze(99) == []
    assert Strategy(_model(), settings, pretrained=True).freeze(99) == ["layer1", "rpn"]


def test_norms_biases_and_codes_do_not_decay() -> None:
    model = _model("B")
    strategy = Strategy(model, OptimiserSettings(weight_decay=0.1), pretrained=False)
    decays = {id(p): g["weight_decay"] for g in strategy.adamw.param_groups for p in g["params"]}
    for name, parameter in model.named_parameters():
        assert decays[id(parameter)] == (0.1 if parameter.ndim > 1 and "code" not in name else 0.0), name


def test_warm_up_and_final_fall() -> None:
    strategy = Strategy(_model(), OptimiserSettings(rate=1.0, warmup_steps=10, final_share=0.5), pretrained=False)
    rates = [strategy.set_rates(step, 100)["heads"] for step in range(100)]
    assert rates[0] == pytest.approx(0.1)
    assert rates[9:50] == pytest.approx([1.0] * 41)
    assert np.all(np.diff(rates[50:]) < 0)
    assert rates[-1] == pytest.approx(0.02)


def test_the_state_survives() -> None:
    def stepped(model: SaiDetector, strategy: Strategy, times: int) -> None:
        for _ in range(times):
            for p in model.parameters():
                p.grad = torch.sin(p.detach() + 1)
            strategy.adamw.step()

    torch.manual_seed(1)
    one = _model()
    first = Strategy(one, OptimiserSettings(), pretrained=False)
    stepped(one, first, 2)
    two = _model()
    two.load_state_dict(one.state_dict())
    second = Strategy(two, OptimiserSettings(), pretrained=False)
    second.load_state({k: v.clone() for k, v in first.state().items()})
    stepped(one, first, 2)
    stepped(two, second, 2)
    for a, b in zip(one.parameters(), two.parameters(), strict=True):
        assert torch.equal(a, b)


def test_gradients_are_clipped_to_2() -> None:
    a, b = torch.zeros(3, requires_grad=True), torch.zeros(2, requires_grad=True)
    a.grad = torch.tensor([3.0, 0.0, 4.0])
    assert clip_gradients([a, b], 2.0) == pytest.approx(5.0)
    assert float(a.grad.norm()) == pytest.approx(2.0, rel=1e-4)
    a.grad = torch.tensor([0.3, 0.0, 0.4])
    clip_gradients([a, b], 2.0)
    assert float(a.grad.norm()) == pytest.approx(0.5)


@given(
    losses=st.lists(st.floats(0.1, 10), min_size=1, max_size=40),
    patience=st.integers(0, 4),
    factor=st.sampled_from([0.1, 0.5, 0.9, 1.0]),
)
def test_the_plateau_rule_in_plain_words(losses: list[float], patience: int, factor: float) -> None:
    """Written out: as runs of before had it, to the bit, so that a resumed one goes on the same."""
    plateau = Plateau(factor=factor, patience=patience, smooth=5)
    best, waited, scale = float("inf"), 0, 1.0
    for k, loss in enumerate(losses):
        recent = losses[max(0, k - 4) : k + 1]
        mean = sum(recent) / len(recent)
        if mean < best * (1 - 1e-4):
            best, waited = mean, 0
        else:
            waited += 1
            if waited > patience:
                scale, waited = scale * factor, 0
        assert plateau.step(loss) == scale
        assert plateau.state()["best"] == best
        if factor < 1:
            assert plateau.state()["waited"] == waited


def test_the_plateau_survives_a_checkpoint() -> None:
    one, two = (Plateau(factor=0.5, patience=1, smooth=5) for _ in range(2))
    for loss in (3.0, 2.0, 2.5, 2.6, 2.7):
        one.step(loss)
    two.load_state(one.state())
    for loss in (2.6, 2.8, 3.0, 3.0):
        assert one.step(loss) == two.step(loss)
    assert one.scale < 1
