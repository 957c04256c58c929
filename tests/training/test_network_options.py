"""What makes the small networks small: narrow body, pyramid from P3, coarse maps, sound of a region."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from sai_core.detector.config import DetectorConfig
from sai_core.detector.models import SaiDetector, load_detector, save_detector
from sai_core.detector.spectrum import SoundContext, context_window
from sai_core.errors import InputError

SMALL: dict[str, Any] = {
    "width": 16,
    "channels": 32,
    "acoustic_channels": 8,
    "first_level": 3,
    "coarse_stem": True,
    "log_maps": True,
    "context_frames": 1,
    "cmaf_width": 16,
}


def _inputs(batch: int = 2) -> tuple[torch.Tensor, torch.Tensor, SoundContext]:
    generator = torch.Generator().manual_seed(4)
    acoustic = torch.rand(batch, 9, 180, 360, generator=generator)
    rgb = torch.rand(batch, 3, 180, 360, generator=generator)
    return acoustic, rgb, SoundContext.of(1e-4 * torch.rand(batch, 3, 9, 484, generator=generator))


def _network(track: str, **changes: Any) -> SaiDetector:
    torch.manual_seed(2)
    return SaiDetector(DetectorConfig.small(track, **{**SMALL, **changes})).eval()  # type: ignore[arg-type]


@pytest.mark.parametrize("track", ["A", "B"])
@pytest.mark.parametrize("changes", [{}, {"coarse_stem": False}, {"first_level": 2}, {"conformer": True, "neck": True}])
def test_shapes_and_that_turning_the_input_turns_the_output(track: str, changes: dict[str, Any]) -> None:
    model = _network(track, **changes)
    acoustic, rgb, context = _inputs(1)
    # 30 degrees are 32 cells: a whole number on every level
    turned_maps, turned_picture = (torch.roll(x, 30, dims=-1) for x in (acoustic, rgb))
    with torch.no_grad():
        levels = model.features(acoustic, rgb, context).main
        moved = model.features(turned_maps, turned_picture, context).main
        full = model.full_energy(model.features(acoustic, rgb, context))
    assert list(levels) == ["p2", "p3", "p4", "p5"][model.config.first_level - 2 :]
    assert levels["p3"].shape == (1, 32, 24, 48)
    assert full.shape == (1, 180, 360)
    if not changes.get("neck"):  # attention's position code knows azimuths
        assert torch.allclose(torch.roll(levels["p3"], 4, dims=-1), moved["p3"], atol=2e-4)


@pytest.mark.parametrize("track", ["A", "B"])
def test_candidates_and_gradients_reach_every_part(track: str) -> None:
    model = _network(track)
    acoustic, rgb, context = _inputs()
    found = model.detect(model.features(acoustic, rgb, context), floor=0.0)
    assert len(found) == 2
    assert found[0].class_scores.shape[1] == 13
    maps = torch.zeros(1, 180, 360)
    maps[0, 60:95, 100:140] = 0.6
    target = {
        "boxes_deg": torch.tensor([[100.0, 60.0, 140.0, 95.0]]),
        "labels": torch.tensor([3]),
        "instance_maps": maps,
        "distance_units": torch.tensor([0.5]),
        "instance_ids": torch.tensor([1]),
        "full_map": maps[0],
    }
    other = {**target, "instance_ids": torch.tensor([2])}
    for _ in range(2):  # parts behind weights that start at zero learn from the second step on
        terms = model.losses(acoustic, rgb, [target, other], context=context, proposals=20, regions=16)
        torch.stack(list(terms.values())).sum().backward()
        with torch.no_grad():
            for p in model.parameters():
                if p.grad is not None:
                    p -= 0.01 * p.grad / (p.grad.norm() + 1e-9)
    # the visual stream's box share stands behind a factor of its own
    still = [n for n, p in model.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    assert still == []


def test_the_sound_of_a_region_moves_its_class_and_nothing_else() -> None:
    model = _network("A")
    acoustic, _, context = _inputs(1)
    with torch.no_grad():
        quiet = model.features(acoustic, None, context)
        loud = model.features(acoustic, None, SoundContext(context.power * 100, context.columns))
        box = [torch.tensor([[100.0, 60.0, 140.0, 95.0]])]
        one, two = model.region_vectors(quiet, box), model.region_vectors(loud, box)
    assert not torch.allclose(one[0], two[0])
    assert torch.equal(one[1], two[1])


def test_a_network_that_listens_asks_for_its_context() -> None:
    model = _network("A")
    acoustic, _, context = _inputs(2)
    with pytest.raises(InputError, match=r"sound context: .* got none"):
        model.features(acoustic)
    with pytest.raises(InputError, match="sound context"):
        model.features(acoustic, None, context[:1])


def test_the_window_of_frames_repeats_at_the_ends() -> None:
    assert context_window(0, 2, 5).tolist() == [0, 0, 0, 1, 2]
    assert context_window(4, 2, 5).tolist() == [2, 3, 4, 4, 4]
    assert context_window(np.array([1, 2]), 1, 3).tolist() == [[0, 1, 2], [1, 2, 2]]


def test_small_networks_survive_their_file(tmp_path: Path) -> None:
    model = _network("B")
    save_detector(model, tmp_path / "net.safetensors")
    again = load_detector(tmp_path / "net.safetensors")
    assert again.config == model.config
    acoustic, rgb, context = _inputs(1)
    with torch.no_grad():
        a, b = (m.features(acoustic, rgb, context).main["p4"] for m in (model, again))
    assert torch.equal(a, b)


def test_frozen_norm_is_for_pretrained_weights() -> None:
    names = {type(m).__name__ for m in _network("B", frozen_norm=True).backbone.modules()}
    assert "FrozenBatchNorm2d" in names
    assert "GroupNorm" not in names


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"width": 20}, "width is 20; a multiple of 8 from 16 to 64"),
        ({"width": 32, "backbone": "resnet50"}, "64 is needed for resnet50"),
        ({"first_level": 4}, "first_level is 4"),
        ({"context_frames": -1}, "context_frames is -1"),
        ({"cmaf_width": 12}, "cmaf_width is 12"),
    ],
)
def test_options_out_of_range(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        DetectorConfig.small("A", **{**SMALL, **changes})
