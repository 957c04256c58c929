"""The field within a detector: it begins as its decoder, moves with turned frames, and its loss knows a label."""

from __future__ import annotations

from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest
import torch

from sai_core.detector.backbone import LEVELS
from sai_core.detector.config import DetectorConfig, FieldConfig
from sai_core.detector.field import FieldNetwork, save_field
from sai_core.detector.field_head import FieldHead, HeardFrames, take_field
from sai_core.detector.models import SaiDetector
from sai_core.errors import InputError
from sai_core.geometry import fibonacci_lattice_deg, great_circle_deg
from sai_core.labelling.differentiable import region_images
from sai_core.training.augment import Turn

SMALL = FieldConfig(channels=8, blocks=1, degree=3)


def packed(rng: np.random.Generator, *shape: int) -> torch.Tensor:
    """Matrices of noise at four capsules, (*shape, 27, 16)."""
    noise = rng.normal(size=(*shape, 27, 4, 6)) + 1j * rng.normal(size=(*shape, 27, 4, 6))
    matrices = 1e-3 * noise @ noise.conj().swapaxes(-1, -2)
    above = np.triu_indices(4, 1)
    square = matrices.real.copy()
    square[..., above[1], above[0]] = matrices.imag[..., above[0], above[1]]
    return torch.from_numpy(square.reshape(*shape, 27, 16)).float()


@pytest.fixture
def head() -> FieldHead:
    torch.manual_seed(1)
    return FieldHead(SMALL, 16).eval()


def pyramid(level: torch.Tensor) -> OrderedDict[str, torch.Tensor]:
    return OrderedDict([(LEVELS[1], level)])


@torch.no_grad()
def test_a_new_head_says_what_its_decoder_says(head: FieldHead, rng: np.random.Generator) -> None:
    matrices = packed(rng, 2, 5)
    level = torch.from_numpy(rng.normal(size=(2, 16, 24, 48))).float()
    field = head(HeardFrames(matrices), pyramid(level))
    expected = head.network(matrices)[:, 2]
    torch.testing.assert_close(field, expected)
    # what was heard may be given instead of what is to be heard
    hidden = head.network.hidden(matrices)[:, :, 2].transpose(0, 1)
    torch.testing.assert_close(head(HeardFrames(hidden), pyramid(level)), expected)
    # and what the pyramid sees counts as soon as the head has learned anything
    torch.nn.init.normal_(head.out.weight)
    assert not torch.allclose(head(HeardFrames(matrices), pyramid(level)), expected)
    assert not torch.allclose(
        head(HeardFrames(matrices), pyramid(level)), head(HeardFrames(matrices), pyramid(level.flip(1)))
    )


@pytest.mark.parametrize(("shift", "flip"), [(0, False), (30, False), (330, True), (0, True)])
@torch.no_grad()
def test_the_pyramid_is_read_where_a_lattice_point_came_to_lie(
    head: FieldHead, rng: np.random.Generator, shift: int, flip: bool
) -> None:
    level = torch.from_numpy(rng.normal(size=(1, 16, 24, 48))).float()
    moved = (level.flip(-1) if flip else level).roll(int(shift / 7.5), -1)
    as_it_was = head.read(HeardFrames(torch.zeros(1)), pyramid(level))
    turned = HeardFrames(torch.zeros(1), torch.tensor([shift]), torch.tensor([flip]))
    torch.testing.assert_close(head.read(turned, pyramid(moved)), as_it_was, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("shift", "flip"), [(0, False), (77, False), (200, True)])
@torch.no_grad()
def test_the_true_field_is_the_best(head: FieldHead, shift: int, flip: bool) -> None:
    """Labels of two sources, one over the seam; a field that is moved, or frames taken as not turned, are worse."""
    azimuth, elevation = fibonacci_lattice_deg()
    places = np.array([[178.0, 20.0], [-60.0, -35.0]])
    nearest = np.min([great_circle_deg(a, e, azimuth, elevation) for a, e in places], axis=0)
    field = torch.from_numpy(np.log(3e-3 * np.exp(-0.5 * (nearest / 20.0) ** 2) + 2e-5)).float()[None]
    where = torch.from_numpy(places)
    images = region_images(field.expand(2, -1).exp(), where[:, 0], where[:, 1])
    turn = Turn(shift, flip)
    maps = torch.zeros_like(images)
    maps[..., torch.from_numpy(turn.pixels(np.arange(360)))] = images
    column, row = torch.from_numpy(turn.positions(180.0 - places[:, 0])), torch.from_numpy(90.0 - places[:, 1])
    boxes = torch.stack([column - 15, row - 12, column + 15, row + 12], dim=1).float()
    frame = torch.zeros(2, dtype=torch.long)
    turned = HeardFrames(torch.zeros(1), torch.tensor([shift]), torch.tensor([flip]))
    best = float(head.loss(field, turned, boxes, frame, maps))
    assert best < 0.03
    assert float(head.loss(field.roll(40, -1), turned, boxes, frame, maps)) > best + 0.05
    if shift or flip:
        assert float(head.loss(field, HeardFrames(torch.zeros(1)), boxes, frame, maps)) > best + 0.05
    assert float(head.loss(field, turned, boxes[:0], frame[:0], maps[:0])) == 0.0


def test_a_decoder_is_taken_over_if_it_is_of_that_size(tmp_path: Path) -> None:
    torch.manual_seed(2)
    decoder = FieldNetwork(SMALL)
    save_field(decoder, tmp_path / "field.safetensors")
    size = {"field_channels": 8, "field_blocks": 1, "field_degree": 3}
    detector = SaiDetector(DetectorConfig.small("A", channels=32, width=16, region="field", **size))
    take_field(detector, tmp_path / "field.safetensors")
    assert detector.field_head is not None
    for name, value in decoder.state_dict().items():
        torch.testing.assert_close(detector.field_head.network.state_dict()[name], value)
    other = SaiDetector(DetectorConfig.small("A", channels=32, width=16, region="field"))
    with pytest.raises(InputError, match="8 channels, 1 blocks and degree 3; the network wants 64, 4 and 10"):
        take_field(other, tmp_path / "field.safetensors")
    with pytest.raises(InputError, match="no field decoder within"):
        take_field(SaiDetector(DetectorConfig.small("A", channels=32, width=16)), tmp_path / "field.safetensors")
