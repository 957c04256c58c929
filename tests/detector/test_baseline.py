"""The official baseline against the official code's outputs, and what happens to wrong checkpoints."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from sai_core.detector.baseline import OfficialBaseline, fold_norms, load_official_baseline
from sai_core.detector.region_align import RegionAlign
from sai_core.errors import InputError
from tests.benchmarks.literal_baseline import LiteralBaseline
from tests.detector.oracle_weights import oracle_input, oracle_state


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("checkpoint") / "energy_seg_best.pth"
    torch.save({"epoch": 3, "model_state_dict": oracle_state()}, path)
    return path


@pytest.mark.oracle
def test_keys_and_shapes_are_the_official_ones(oracle: Path) -> None:
    keys = json.loads((oracle / "model" / "baseline_model_keys.json").read_text())["keys"]
    own = OfficialBaseline().state_dict()
    assert set(own) == {k["key"] for k in keys}
    for entry in keys:
        # the list writes scalars' counters as [1]
        assert own[entry["key"]].numel() == int(np.prod(entry["shape"]))


@pytest.mark.oracle
@pytest.mark.parametrize("folded", [False, True])
def test_outputs_agree_with_the_official_code(oracle: Path, checkpoint: Path, folded: bool) -> None:
    expected = np.load(oracle / "model" / "f4_model_eval.npz", allow_pickle=False)
    report = json.loads((oracle / "model" / "f4_model_eval.json").read_text())
    model = load_official_baseline(checkpoint)
    if folded:
        model = fold_norms(model)
        assert not any(isinstance(m, torch.nn.BatchNorm2d) for m in model.modules())
    images = oracle_input()
    with torch.inference_mode():
        prepared = model.prepare(images)
        levels = model.pyramid(prepared)
        # intermediate tensors, to find a difference by
        np.testing.assert_allclose(prepared[0, 3].numpy(), expected["acn_ch0"], rtol=0, atol=1e-4)
        np.testing.assert_allclose(levels["3"].numpy(), expected["fpn3"], rtol=0, atol=1e-4)
        out = model(images)[0]
    np.testing.assert_array_equal(out["labels"].numpy(), expected["d05_labels"])
    # official float32 against its own float64: 3e-4 px, 5e-6, 3e-5
    np.testing.assert_allclose(out["boxes"].numpy(), expected["d05_boxes"], rtol=0, atol=1e-3)
    np.testing.assert_allclose(out["scores"].numpy(), expected["d05_scores"], rtol=0, atol=1e-4)
    np.testing.assert_allclose(out["dist_pred"].numpy(), expected["d05_dist_pred"], rtol=0, atol=1e-4)
    # stored as float16: half a unit in the last place below 1 is 2.5e-4
    np.testing.assert_allclose(out["energy_maps"].numpy(), expected["d05_energy_maps"], rtol=0, atol=3.5e-4)
    np.testing.assert_allclose(out["full_energy"].numpy(), expected["full_energy"], rtol=0, atol=1e-4)

    model.det.roi_heads.score_thresh = report["score_thresh_raised"]
    with torch.inference_mode():
        high = model(images)[0]
    np.testing.assert_array_equal(high["labels"].numpy(), expected["hi_labels"])
    np.testing.assert_allclose(high["boxes"].numpy(), expected["hi_boxes"], rtol=0, atol=1e-3)
    np.testing.assert_allclose(high["scores"].numpy(), expected["hi_scores"], rtol=0, atol=1e-4)
    np.testing.assert_allclose(high["energy_maps"].numpy(), expected["hi_energy_maps"], rtol=0, atol=1e-4)


@pytest.mark.oracle
def test_batch_equals_single_frames_and_stages_equal_forward(oracle: Path, checkpoint: Path) -> None:
    model = load_official_baseline(checkpoint)
    model.det.roi_heads.score_thresh = 0.97
    one = oracle_input()
    two = torch.cat([one, one.flip(-1)])
    with torch.inference_mode():
        together = model(two)
        alone = [model(two[i : i + 1])[0] for i in range(2)]
        levels = model.pyramid(model.prepare(one))
        some = alone[0]["boxes"][3:5]
        energy, distance = model.roi_outputs(levels, [some])
    for a, b in zip(together, alone, strict=True):
        np.testing.assert_array_equal(a["labels"].numpy(), b["labels"].numpy())
        np.testing.assert_allclose(a["boxes"].numpy(), b["boxes"].numpy(), rtol=0, atol=1e-3)
    # heads on a part of the boxes give that part of the output
    np.testing.assert_allclose(energy.numpy(), alone[0]["energy_maps"][3:5].numpy(), rtol=0, atol=1e-5)
    np.testing.assert_allclose(distance.numpy(), alone[0]["dist_pred"][3:5].numpy(), rtol=0, atol=1e-5)


@pytest.mark.oracle
def test_a_plain_torchvision_forward_agrees(oracle: Path, checkpoint: Path) -> None:
    """The benchmark's yardstick is the same network: what it is compared with must do the same work."""
    state = oracle_state()
    plain = LiteralBaseline(score_thresh=0.9)
    plain.load_state_dict(state)
    model = load_official_baseline(checkpoint)
    model.det.roi_heads.score_thresh = 0.9
    images = oracle_input()
    expected = plain.eval()(images[0])
    with torch.inference_mode():
        ours = model(images)[0]
    np.testing.assert_array_equal(ours["labels"].numpy(), expected["labels"].numpy())
    np.testing.assert_allclose(ours["boxes"].numpy(), expected["boxes"].numpy(), rtol=0, atol=1e-3)
    np.testing.assert_allclose(ours["energy_maps"].numpy(), expected["energy_maps"].numpy(), rtol=0, atol=1e-4)


def test_region_align_is_torchvisions() -> None:
    generator = torch.Generator().manual_seed(0)
    levels = {str(i): torch.randn(2, 8, 192 // s, 384 // s, generator=generator) for i, s in enumerate((4, 8, 16, 32))}
    corner = torch.rand(200, 2, generator=generator) * torch.tensor([400.0, 200.0]) - 20
    size = torch.rand(200, 2, generator=generator) ** 3 * 200
    # regions that leave the canvas, that are smaller than a cell, and an image without any
    boxes = torch.cat([corner, corner + size], dim=1)
    boxes = torch.cat([boxes, torch.tensor([[-500.0, 10, -400, 20], [3, 3, 3, 3]])])
    for images in ([boxes[:150], boxes[150:]], [boxes, boxes[:0]], [boxes[:0], boxes[:0]]):
        for n in (7, 14):
            pool = RegionAlign(list(levels), n)
            slow = pool(levels, images, [(180, 360)] * 2)  # gradients are on: torchvision's own kernel
            with torch.inference_mode():
                fast = RegionAlign(list(levels), n)(levels, images, [(180, 360)] * 2)
            assert fast.shape == slow.shape
            np.testing.assert_allclose(fast.numpy(), slow.detach().numpy(), rtol=0, atol=1e-4)


def test_corrected_map_is_registered() -> None:
    torch.manual_seed(0)
    decoder = OfficialBaseline().eval().energy_decoder
    # a bump at 7/8 of the padded width in every level
    levels = []
    for stride in (4, 8, 16, 32):
        x = torch.zeros(1, 256, 192 // stride, 384 // stride)
        x[..., 96 // stride, 336 // stride] = 40.0
        levels.append(x)
    with torch.inference_mode():
        flat = decoder([torch.zeros_like(x) for x in levels])[0, 0]
        official = (decoder(levels)[0, 0] - flat).abs()
        corrected = (decoder(levels, corrected=True)[0, 0] - flat).abs()
    columns = torch.arange(360.0)

    def centre(energy: Tensor) -> float:
        weight = energy.sum(0)
        return float((columns * weight).sum() / weight.sum())

    # the official field is squeezed by 360 / 384; cutting keeps the bump where it is (a stride-32 cell is wide)
    assert centre(official) < centre(corrected) - 8


def test_empty_boxes_give_empty_heads() -> None:
    model = OfficialBaseline().eval()
    with torch.inference_mode():
        levels = model.pyramid(model.prepare(torch.rand(1, 12, 180, 360)))
        energy, distance = model.roi_outputs(levels, [torch.zeros(0, 4)])
    assert energy.shape == (0, 28, 28)
    assert distance.shape == (0,)


def test_wrong_input_shape_is_told() -> None:
    with pytest.raises(InputError, match="shape"):
        OfficialBaseline().prepare(torch.zeros(1, 9, 180, 360))


def test_wrong_checkpoints_are_told(tmp_path: Path) -> None:
    missing = tmp_path / "none.pth"
    with pytest.raises(InputError, match="no such file"):
        load_official_baseline(missing)
    text = tmp_path / "text.pth"
    text.write_text("not a checkpoint")
    with pytest.raises(InputError, match="opened safely"):
        load_official_baseline(text)
    broken = tmp_path / "broken.safetensors"
    broken.write_bytes(b"\x00" * 64)
    with pytest.raises(InputError, match="not a safetensors file"):
        load_official_baseline(broken)
    other = tmp_path / "other.safetensors"
    save_file({"a": torch.zeros(2), "class_weights": torch.zeros(9)}, other)
    with pytest.raises(InputError, match=r"380 missing.*1 unexpected \(a\).*1 misshaped"):
        load_official_baseline(other)
    evil = tmp_path / "evil.pth"
    torch.save({"model_state_dict": pytest.Item}, evil)
    with pytest.raises(InputError, match="opened safely"):
        load_official_baseline(evil)
