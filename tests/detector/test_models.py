"""Our own detectors: every part is there, learns, matters, and treats the seam as any other place."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from sai_core.detector.backbone import LEVELS, STRIDES, AcousticPyramid, ResnetPyramid
from sai_core.detector.config import DetectorConfig
from sai_core.detector.context import ConformerAdapter, TransformerNeck
from sai_core.detector.cylinder import (
    NET_WIDTH,
    canonical_boxes,
    cylinder_iou,
    make_circular,
    to_erp_canvas,
    to_network_canvas,
)
from sai_core.detector.fusion import GatedFusion, RoiCmaf
from sai_core.detector.models import SaiDetector, load_detector, save_detector
from sai_core.errors import InputError


def tiny(**changes: object) -> DetectorConfig:
    return DetectorConfig.small(**{"channels": 32, "acoustic_channels": 16, **changes})  # type: ignore[arg-type]


def pyramid(channels: int, seed: int = 0) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return {
        n: torch.randn(1, channels, 192 // s, 384 // s, generator=generator)
        for n, s in zip(LEVELS, STRIDES, strict=True)
    }


def blob(column: float, row: float, width: float = 12.0) -> Tensor:
    """Gaussian bump on the canvas, around the seam where need be: (180, 360)."""
    x = torch.arange(360.0) + 0.5
    dx = torch.remainder(x - column + 180, 360) - 180
    dy = torch.arange(180.0) + 0.5 - row
    energy = torch.exp(-(dx[None, :].square() + dy[:, None].square()) / (2 * width**2))
    return torch.where(energy > 0.1, energy, 0.0)


def target(columns: list[float], labels: list[int]) -> dict[str, Tensor]:
    maps = torch.stack([blob(c, 80.0) for c in columns]) if columns else torch.zeros(0, 180, 360)
    boxes = [[(c - 25) % 360, 55.0, (c - 25) % 360 + 50, 105.0] for c in columns]
    return {
        "boxes_deg": torch.tensor(boxes).reshape(-1, 4),
        "labels": torch.tensor(labels, dtype=torch.long),
        "instance_maps": maps,
        "distance_units": torch.full((len(columns),), 0.4),
        "instance_ids": torch.arange(len(columns)),
        "full_map": maps.amax(dim=0) if columns else torch.zeros(180, 360),
    }


# -- cylinder ----------------------------------------------------------------------------------------------------


@given(st.integers(0, 359))
@settings(max_examples=15)
def test_resampling_commutes_with_rotation_by_a_network_period(turn: int) -> None:
    maps = torch.rand(1, 1, 180, 360, generator=torch.Generator().manual_seed(turn))
    # 15 columns are exactly 16 network cells
    shift = turn % 24
    rolled = to_network_canvas(maps.roll(15 * shift, -1))
    np.testing.assert_allclose(rolled.numpy(), to_network_canvas(maps).roll(16 * shift, -1).numpy(), atol=2e-5)


def test_resampling_keeps_directions() -> None:
    for column in (0.5, 90.5, 200.5, 359.5):
        there = to_network_canvas(blob(column, 60.5)[None, None])
        back = to_erp_canvas(there)[0, 0]
        peak = int(back.argmax())
        assert abs(peak // 360 - 60) <= 1
        assert min(abs(peak % 360 - int(column)), 360 - abs(peak % 360 - int(column))) <= 1


def test_circular_convolutions_commute_with_rotation() -> None:
    torch.manual_seed(1)
    layers = make_circular(
        nn.Sequential(nn.Conv2d(2, 4, 7, stride=2, padding=3), nn.MaxPool2d(3, 2, 1), nn.Conv2d(4, 4, 3, padding=1))
    )
    x = torch.randn(1, 2, 32, 64)
    with torch.inference_mode():
        np.testing.assert_allclose(layers(x.roll(20, -1)).numpy(), layers(x).roll(5, -1).numpy(), atol=1e-5)


def test_boxes_on_the_cylinder() -> None:
    boxes = torch.tensor([[-10.0, -5, 20, 30], [380, 0, 500, 50], [390, 10, 400, 20], [40, 10, 60, 300]])
    canonical = canonical_boxes(boxes)
    assert canonical.tolist() == [[374, 0, 404, 30], [380, 0, 480, 50], [6, 10, 16, 20], [40, 10, 60, 192]]
    iou, shift = cylinder_iou(torch.tensor([[374.0, 0, 404, 30]]), torch.tensor([[-10.0, 0, 20, 30], [0, 0, 5, 5]]))
    assert iou[0, 0].item() == pytest.approx(1.0)
    assert shift[0].tolist() == [NET_WIDTH, NET_WIDTH]


# -- parts -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["resnet18", "resnet50"])
def test_pyramid_shapes_and_strides(name: str) -> None:
    net = ResnetPyramid(name, in_channels=9, channels=32, circular=True, frozen_norm=False)  # type: ignore[arg-type]
    with torch.inference_mode():
        levels = net(torch.randn(1, 9, 192, 384))
    assert list(levels) == list(LEVELS)
    assert [tuple(levels[n].shape) for n in LEVELS] == [(1, 32, 192 // s, 384 // s) for s in STRIDES]


def test_pretrained_weights_of_a_user_are_taken_and_the_rest_is_named(tmp_path: Path) -> None:
    from torchvision.models import resnet18
    from torchvision.ops.misc import FrozenBatchNorm2d

    donor = resnet18(weights=None, norm_layer=FrozenBatchNorm2d)
    path = tmp_path / "resnet18.pth"
    torch.save(donor.state_dict(), path)
    net = ResnetPyramid("resnet18", in_channels=3, channels=32, circular=True, frozen_norm=True)
    left_out = net.load_torchvision(path)
    torch.testing.assert_close(net.body.layer2[0].conv1.weight, donor.layer2[0].conv1.weight)
    assert all(name.startswith("fpn.") for name in left_out)
    wrong = tmp_path / "wrong.pth"
    torch.save({"x": torch.zeros(1)}, wrong)
    with pytest.raises(InputError, match="backbone tensors fit"):
        net.load_torchvision(wrong)


def test_acoustic_pyramid_is_aligned_with_the_fpn() -> None:
    with torch.inference_mode():
        levels = AcousticPyramid(9, 16, circular=True)(torch.randn(2, 9, 192, 384))
    assert [tuple(levels[n].shape) for n in LEVELS] == [(2, 16, 192 // s, 384 // s) for s in STRIDES]


@pytest.mark.parametrize("part", [TransformerNeck, ConformerAdapter])
def test_context_starts_silent_then_mixes_the_whole_panorama(part: type[nn.Module]) -> None:
    torch.manual_seed(0)
    module = part(32).eval()
    levels = pyramid(32)
    with torch.inference_mode():
        for name, before in module(dict(levels)).items():
            torch.testing.assert_close(before, levels[name])
        for parameter in module.parameters():
            if parameter.abs().sum() == 0:
                parameter.normal_(std=0.1)
        changed = {n: x.clone() for n, x in levels.items()}
        # not the same for all channels: layer norm would take a constant away
        changed["p5"][0, :, 0, 0] += 50.0 * torch.randn(32)
        difference = (module(changed)["p5"] - module(dict(levels))["p5"]).abs().sum(dim=1)[0]
    # the far side of the panorama hears of it
    assert difference[5, 6] > 1e-4


def test_gated_fusion_starts_as_the_visual_pyramid_and_then_listens() -> None:
    torch.manual_seed(0)
    fusion = GatedFusion(32, 16, circular=True)
    visual, acoustic = pyramid(32), pyramid(16, 1)
    for name, fused in fusion(visual, acoustic).items():
        torch.testing.assert_close(fused, visual[name])
    optimiser = torch.optim.SGD(fusion.parameters(), lr=0.1)
    sum(x.square().mean() for x in fusion(visual, acoustic).values()).backward()
    optimiser.step()
    assert (fusion(visual, acoustic)["p3"] - visual["p3"]).abs().max() > 1e-4


def test_roi_cmaf_hears_for_the_class_and_sees_for_the_box() -> None:
    torch.manual_seed(0)
    fusion = RoiCmaf(32, 16, 64).eval()
    visual, vector = torch.randn(3, 32, 7, 7), torch.randn(3, 64)
    quiet, loud = torch.zeros(3, 16, 7, 7), torch.randn(3, 16, 7, 7) * 3
    with torch.inference_mode():
        class_a, box_a = fusion(visual, quiet, vector)
        class_b, box_b = fusion(visual, loud, vector)
    assert (class_a - class_b).abs().max() > 1e-3
    torch.testing.assert_close(box_a, box_b)
    torch.testing.assert_close(box_a, vector)


# -- whole networks ----------------------------------------------------------------------------------------------

VARIANTS: dict[str, dict[str, object]] = {
    "A": {"track": "A"},
    "A with neck": {"track": "A", "neck": True},
    "A, plain image": {"track": "A", "seam": "zero"},
    "B": {"track": "B"},
    "B with everything": {"track": "B", "neck": True, "conformer": True},
    "B visual only": {"track": "B", "gated_fusion": False, "roi_cmaf": False},
    "A bare": {"track": "A", "full_decoder": False, "embedding_dim": 0, "aux_classifier": False},
}


@pytest.mark.parametrize("name", VARIANTS)
def test_every_parameter_learns_and_outputs_have_their_shapes(name: str) -> None:
    torch.manual_seed(0)
    model = SaiDetector(tiny(**VARIANTS[name])).train()
    acoustic = torch.rand(2, 9, 180, 360)
    rgb = torch.rand(2, 3, 180, 360) if model.config.track == "B" else None
    for parameter in model.parameters():
        # gates that start at zero would hide what is behind them from the gradient
        if parameter.abs().sum() == 0:
            nn.init.constant_(parameter, 0.01)
    terms = model.losses(acoustic, rgb, [target([355.0, 100.0], [3, 8]), target([], [])])
    assert all(torch.isfinite(v) for v in terms.values()), terms
    assert ("full_energy" in terms) == model.config.full_decoder
    assert ("cosine_margin" in terms) == (model.config.embedding_dim > 0)
    sum(terms.values()).backward()
    silent = [n for n, p in model.named_parameters() if p.requires_grad and (p.grad is None or not p.grad.any())]
    assert silent == []
    model.eval()
    features = model.features(acoustic, rgb)
    found = model.detect(features, floor=0.0, n_candidates=7)
    assert len(found) == 2
    for frame in found:
        n = len(frame.boxes_deg)
        assert 0 < n <= 7
        assert frame.class_scores.shape == (n, 13)
        assert frame.objectness.shape == (n,)
        assert frame.energy.shape == (n, 28, 28)
        assert frame.distance_units.shape == (n,)
        assert frame.embedding.shape == (n, model.config.embedding_dim)
        assert frame.distance_units.min() >= 0
        assert 0 <= frame.boxes_deg[:, 0].min() <= frame.boxes_deg[:, 0].max() <= 360
        strongest = frame.class_scores.amax(dim=1)
        assert torch.all(strongest.diff() <= 0)
    if model.config.full_decoder:
        assert model.full_energy(features).shape == (2, 180, 360)
        assert model.full_energy(features, low_resolution=True).shape == (2, 48, 96)


def test_detection_turns_with_the_panorama() -> None:
    torch.manual_seed(0)
    model = SaiDetector(tiny()).eval()
    nn.init.normal_(model.rpn.objectness.weight, std=0.5)  # distinct scores, so that the same anchors win
    acoustic = torch.rand(1, 9, 180, 360)
    # 30 columns are 32 network cells: a whole cell of the coarsest level
    with torch.inference_mode():
        plain = model.detect(model.features(acoustic), floor=0.0, n_candidates=10)[0]
        turned = model.detect(model.features(acoustic.roll(30, -1)), floor=0.0, n_candidates=10)[0]
    expected = plain.boxes_deg.clone()
    expected[:, [0, 2]] += 30
    expected[:, [0, 2]] -= torch.where(expected[:, :1] >= 360, 360.0, 0.0)
    expected[:, 2] = expected[:, 2].clamp(max=450)
    order = np.lexsort(expected.numpy().T.round(2))
    other = np.lexsort(turned.boxes_deg.numpy().T.round(2))
    np.testing.assert_allclose(turned.boxes_deg.numpy()[other], expected.numpy()[order], atol=0.05)


def test_a_true_box_over_the_seam_is_matched_from_both_sides() -> None:
    model = SaiDetector(tiny())
    truth = torch.tensor([[370.0, 60, 400, 110]])
    left, right = torch.tensor([[-14.0, 60, 16, 110]]), torch.tensor([[368.0, 60, 398, 110]])
    for ours in (left, right):
        iou, row, moved = model._match(ours, truth)
        assert iou.item() > 0.8
        assert row.item() == 0
        assert (moved - ours).abs().max() <= 2


def test_switching_the_sound_off_changes_a_track_b_network() -> None:
    torch.manual_seed(0)
    model = SaiDetector(tiny(track="B")).eval()
    rgb = torch.rand(1, 3, 180, 360)
    boxes = [torch.tensor([[20.0, 20, 80, 90]])]
    with torch.inference_mode():
        loud, _ = model.region_vectors(model.features(torch.rand(1, 9, 180, 360), rgb), boxes)
        quiet, _ = model.region_vectors(model.features(torch.zeros(1, 9, 180, 360), rgb), boxes)
    assert (loud - quiet).abs().max() > 1e-4


# -- files and mistakes ------------------------------------------------------------------------------------------


def test_saving_and_opening_gives_the_same_network(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = SaiDetector(tiny(track="B", conformer=True)).eval()
    path = tmp_path / "detector.safetensors"
    save_detector(model, path, notes={"seed": "7"})
    again = load_detector(path)
    assert again.config == model.config
    x, rgb = torch.rand(1, 9, 180, 360), torch.rand(1, 3, 180, 360)
    with torch.inference_mode():
        torch.testing.assert_close(again.features(x, rgb).main["p3"], model.features(x, rgb).main["p3"])


def test_mistakes_are_told(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="backbone is 'vgg'"):
        DetectorConfig(backbone="vgg")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="unknown settings colour"):
        DetectorConfig.from_json('{"colour": 1}')
    with pytest.raises(InputError, match="not JSON"):
        DetectorConfig.from_json("{")
    with pytest.raises(InputError, match="needs RGB"):
        SaiDetector(tiny(track="B")).features(torch.zeros(1, 9, 180, 360))
    with pytest.raises(InputError, match="acoustic maps: shape"):
        SaiDetector(tiny()).features(torch.zeros(1, 4, 180, 360))
    with pytest.raises(InputError, match="no such file"):
        load_detector(tmp_path / "none.safetensors")
    text = tmp_path / "text.safetensors"
    text.write_text("hello")
    with pytest.raises(InputError, match="not a weights file"):
        load_detector(text)


@pytest.mark.parametrize("track", ["A", "B"])
def test_one_scale_for_all_bands_keeps_their_proportions(track: str) -> None:
    torch.manual_seed(0)
    model = SaiDetector(tiny(track=track, band_scale="frame")).eval()
    assert model.input_norm is None
    acoustic, rgb = torch.rand(2, 9, 180, 360), torch.rand(2, 3, 180, 360)
    acoustic[1] = 0.0  # silence is no division by zero
    louder, other = acoustic * 1e-6, acoustic.clone()
    other[:, 3] *= 0.1

    def seen(maps: torch.Tensor) -> torch.Tensor:
        with torch.inference_mode():
            features = model.features(maps, rgb if track == "B" else None)
            return (features.main if features.acoustic is None else features.acoustic)["p3"]

    assert bool(torch.isfinite(seen(acoustic)).all())
    torch.testing.assert_close(seen(louder), seen(acoustic), rtol=0, atol=1e-4)
    assert float((seen(other) - seen(acoustic))[0].abs().max()) > 1e-3


def test_the_regions_may_learn_overlap_and_correlation() -> None:
    torch.manual_seed(0)
    squared, overlap = (SaiDetector(tiny(energy_loss=w)).eval() for w in ("squared", "overlap"))
    overlap.load_state_dict(squared.state_dict())
    maps, truth = torch.rand(1, 9, 180, 360), target([100.0], [3])
    found = []
    for model in (squared, overlap):
        torch.manual_seed(1)
        with torch.no_grad():
            found.append(model.losses(maps, None, [truth]))
    assert {k for k in found[0] if float(found[0][k]) != pytest.approx(float(found[1][k]))} == {"roi_energy"}
    assert 0 < float(found[1]["roi_energy"]) < 2.1


def test_the_two_readings_of_the_weights_of_energy_losses() -> None:
    torch.manual_seed(0)
    pixels, terms = (SaiDetector(tiny(energy_weights=w)).eval() for w in ("pixels", "terms"))
    terms.load_state_dict(pixels.state_dict())
    maps, truth = torch.rand(1, 9, 180, 360), target([100.0], [3])
    found = []
    for model in (pixels, terms):
        torch.manual_seed(1)  # the heads' boxes are jittered
        with torch.no_grad():
            found.append(model.losses(maps, None, [truth]))
    seen = pixels.full_energy(pixels.features(maps)).detach()
    squared, there = (seen - truth["full_map"]).square(), truth["full_map"] > 0
    assert float(found[1]["full_energy"]) == pytest.approx(10 * float(squared.mean()), rel=1e-4)
    by_pixel = (squared * torch.where(there, 10.0, 1.0)).mean()
    assert float(found[0]["full_energy"]) == pytest.approx(float(by_pixel), rel=1e-4)
    assert float(found[0]["roi_energy"]) != pytest.approx(float(found[1]["roi_energy"]), rel=1e-2)
    assert float(found[0]["distance"]) == pytest.approx(float(found[1]["distance"]), rel=1e-5)
